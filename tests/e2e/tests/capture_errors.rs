//! Errors stay what they are, to the last field, with the hooks as without; and each is counted once, as what it is.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use perfmon_e2e::Server;

const SCHEMA: &str = r#"
CREATE DOMAIN small AS int CONSTRAINT less_than_ten CHECK (VALUE < 10);
CREATE TABLE shelf (id int PRIMARY KEY, title varchar(8) NOT NULL, size small,
    pages int CONSTRAINT enough CHECK (pages > 2), EXCLUDE USING btree (pages WITH =));
INSERT INTO shelf VALUES (1, 'one', 1, 10);
CREATE TABLE note (shelf int REFERENCES shelf DEFERRABLE INITIALLY DEFERRED, other int REFERENCES shelf);
CREATE TABLE part (k int) PARTITION BY RANGE (k);
CREATE TABLE part_1 PARTITION OF part FOR VALUES FROM (0) TO (10);
CREATE VIEW thin AS SELECT * FROM shelf WHERE pages < 100 WITH CHECK OPTION;
CREATE TABLE queue (sql text);
CREATE FUNCTION run_it() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN EXECUTE NEW.sql; RETURN NULL; END $$;
CREATE TRIGGER run_it AFTER INSERT ON queue FOR EACH ROW EXECUTE FUNCTION run_it();
CREATE FUNCTION half(n int) RETURNS int LANGUAGE sql AS 'SELECT 10 / n';
CREATE FUNCTION quarter(n int) RETURNS int LANGUAGE plpgsql AS $$ BEGIN RETURN half(n) / 2; END $$;
CREATE FUNCTION fixed(n int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN RETURN half(n); END $$;
CREATE FUNCTION shout(state text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    RAISE NOTICE 'about to raise %', state USING DETAIL = 'a notice', HINT = 'wait';
    RAISE EXCEPTION 'raised % with "%"', state, E'ünï\tcode' USING ERRCODE = state, DETAIL = 'the detail', HINT = 'the hint',
        COLUMN = 'the column', CONSTRAINT = 'the constraint', DATATYPE = 'the type', TABLE = 'the table', SCHEMA = 'the schema';
END $$;
CREATE FUNCTION diagnose(sql text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE d1 text; d2 text; d3 text; d4 text; d5 text; d6 text; d7 text; d8 text; d9 text; d10 text;
BEGIN
    EXECUTE sql;
    RETURN 'no error';
EXCEPTION
    WHEN SQLSTATE 'AB123' THEN
        GET STACKED DIAGNOSTICS d1 = RETURNED_SQLSTATE, d2 = MESSAGE_TEXT, d3 = CONSTRAINT_NAME;
        RETURN 'the right handler: ' || concat_ws(' | ', d1, d2, d3);
    WHEN OTHERS THEN
        GET STACKED DIAGNOSTICS d1 = RETURNED_SQLSTATE, d2 = MESSAGE_TEXT, d3 = PG_EXCEPTION_DETAIL,
            d4 = PG_EXCEPTION_HINT, d5 = PG_EXCEPTION_CONTEXT, d6 = COLUMN_NAME, d7 = CONSTRAINT_NAME,
            d8 = PG_DATATYPE_NAME, d9 = TABLE_NAME, d10 = SCHEMA_NAME;
        RETURN concat_ws(' | ', d1, d2, d3, d4, d5, d6, d7, d8, d9, d10);
END $$;
CREATE PROCEDURE called(sql text) LANGUAGE plpgsql AS $$
BEGIN COMMIT; EXECUTE sql; ROLLBACK; END $$;
CREATE ROLE nobody;
"#;

/// Statements that fail, each in its own way; none of them shows an oid.
const FAILING: &[&str] = &[
    "SELECT 1 / 0",
    "SELECT 'x'::int",
    "SELECT pages / (pages - 10) FROM shelf",
    "INSERT INTO shelf VALUES (1, 'again', 1, 11)",
    "INSERT INTO shelf VALUES (2, NULL, 1, 11)",
    "INSERT INTO shelf VALUES (2, 'far too long a title', 1, 11)",
    "INSERT INTO shelf VALUES (2, 'two', 77, 11)",
    "INSERT INTO shelf VALUES (2, 'two', 7, 1)",
    "INSERT INTO shelf VALUES (2, 'two', 7, 10)",
    "INSERT INTO note VALUES (NULL, 99)",
    "INSERT INTO note VALUES (99, NULL); SET CONSTRAINTS ALL IMMEDIATE",
    "INSERT INTO part VALUES (10)",
    "UPDATE thin SET pages = 500",
    "DELETE FROM shelf WHERE id = 'one'",
    "SELECT * FROM shelff",
    "SELECT titel FROM shelf",
    "SELECT no_such_function(1, 'x')",
    "SELECT id FROM shelf, note WHERE shelf = id AND id / 0 > 1",
    "SELECT shelf.id FROM shelf s",
    "SELECT FROM WHERE",
    "SELECT 'unfinished",
    "SELECT half(0)",
    "SELECT quarter(0)",
    "SELECT fixed(0)",
    "SELECT quarter(n) FROM generate_series(-1, 1) n",
    "SELECT shout('AB123')",
    "SELECT shout('23505')",
    "SELECT shout('XX001')",
    "SELECT shout('P0001')",
    "DO $$ BEGIN ASSERT 1 = 2, 'so it is not'; END $$",
    "DO $$ DECLARE n int; BEGIN SELECT id INTO STRICT n FROM shelf WHERE id = 5; END $$",
    "DO $$ BEGIN CASE 4 WHEN 5 THEN NULL; END CASE; END $$",
    "DO $$ BEGIN EXECUTE 'SELECT ' || 'broken broken broken'; END $$",
    "DO $$ BEGIN EXECUTE 'SELECT pages FROM shelf WHERE titel = 1'; END $$",
    "DO $$ BEGIN PERFORM 1; RAISE; END $$",
    "SELECT '{\"a\": 1,, }'::json",
    "SELECT '{\"a\": 1}'::jsonb -> 'a' -> 0 || '5'::jsonb || 'x'",
    "SELECT 'a' ~ '('",
    "SELECT 99999999999999999999::int8",
    "SELECT 2147483647 + 1",
    "SELECT '2026-02-30'::date",
    "SELECT ('{1,2}'::int[])[1:2][3] + 'x'",
    "SELECT convert_from('\\xff'::bytea, 'UTF8')",
    "SELECT nextval('no_such_sequence')",
    "SET work_mem = 'a lot'",
    "SET ROLE nobody; SELECT * FROM shelf",
    "SET TRANSACTION READ ONLY; INSERT INTO shelf VALUES (3, 'three', 3, 3)",
    "SELECT pg_cancel_backend(pg_backend_pid()), pg_sleep(30)",
    "CREATE TABLE shelf (a int)",
    "DROP TABLE shelf",
    "ALTER TABLE shelf ADD CONSTRAINT more CHECK (pages > 50)",
    "COPY shelf FROM '/nonexistent'",
    "EXPLAIN ANALYZE SELECT half(id - 1) FROM shelf",
    "EXECUTE no_such_statement",
    "CREATE TEMP TABLE gone AS SELECT half(0) AS x",
    "WITH w AS (INSERT INTO shelf VALUES (1, 'one', 1, 12) RETURNING *) SELECT * FROM w",
    "INSERT INTO shelf VALUES (4, 'four', 4, 40) ON CONFLICT (title) DO NOTHING",
    "FETCH 1 FROM no_such_cursor",
    "RELEASE SAVEPOINT nothing",
    "LOCK TABLE nothing NOWAIT",
];

/// Ways to come to the statement. Each begins and ends outside of a transaction.
const WAYS: &[(&str, &str)] = &[
    ("", ""),
    ("BEGIN; SAVEPOINT s; ", ""),
    ("SELECT diagnose(", ")"),
    ("DO $way$ BEGIN EXECUTE ", "; EXCEPTION WHEN OTHERS THEN RAISE; END $way$"),
    (
        "DO $way$ BEGIN EXECUTE ",
        "; EXCEPTION WHEN division_by_zero THEN RAISE NOTICE 'caught %', SQLERRM; END $way$",
    ),
    ("INSERT INTO queue VALUES (", ")"),
    ("CALL called(", ")"),
];

fn quoted(sql: &str) -> String {
    format!("$quoted${sql}$quoted$")
}

fn told(result: Result<Vec<postgres::SimpleQueryMessage>, postgres::Error>) -> String {
    match result {
        Ok(messages) => format!("{messages:?}"),
        Err(e) => format!("{:?}", e.as_db_error().unwrap_or_else(|| panic!("{e:?}"))),
    }
}

/// Everything that the client sees of every case.
fn outcomes(server: &Server) -> Vec<String> {
    let (mut db, notices) = server.noticing("postgres");
    db.run(SCHEMA);
    let mut outcomes = Vec::new();
    for failing in FAILING {
        for (before, after) in WAYS {
            let inner = if after.is_empty() { (*failing).to_owned() } else { quoted(failing) };
            let sql = format!("{before}{inner}{after}");
            let result = told(db.simple_query(&sql));
            outcomes.push(format!("{sql}\n{result}"));
            // What follows shows whether anything was left behind.
            if before.starts_with("BEGIN") {
                outcomes.push(told(db.simple_query("SELECT 25")));
                outcomes.push(told(db.simple_query("ROLLBACK TO s; SELECT half(5); COMMIT")));
            }
            outcomes.push(told(
                db.simple_query("ROLLBACK; RESET ROLE; RESET ALL; SELECT count(*) FROM shelf"),
            ));
        }
        let extended = db.query(*failing, &[]).map(|rows| rows.len());
        outcomes.push(format!(
            "{failing}\n{:?}",
            extended.map_err(|e| format!("{:?}", e.as_db_error()))
        ));
        outcomes.push(told(db.simple_query("RESET ROLE; RESET ALL")));
    }
    for sql in [
        "SELECT pg_sleep(30)",
        "DO 'BEGIN PERFORM pg_sleep(30); EXCEPTION WHEN OTHERS THEN NULL; END'",
    ] {
        let timed = format!("SET LOCAL statement_timeout = '5ms'; {sql}");
        outcomes.push(told(db.simple_query(&timed)));
    }
    // Recursion ends at a depth of the stack that may differ: only what it is, not where.
    let endless =
        "CREATE FUNCTION endless() RETURNS int LANGUAGE plpgsql AS 'BEGIN RETURN endless(); END'";
    db.run(endless);
    let error = db.fails("SELECT endless()");
    let error = error.as_db_error().unwrap();
    outcomes.push(format!("{} {} {:?}", error.code().code(), error.message(), error.hint()));
    drop(db);
    outcomes.extend(notices.lock().unwrap().drain(..));
    outcomes
}

#[test]
fn every_field_of_every_error_is_the_same() {
    let without = Server::manual().plain().start();
    let expected = outcomes(&without);
    assert!(expected.len() > 800, "{}", expected.len());
    assert!(expected.iter().any(|o| o.contains("the right handler")));
    for (preload, capture) in [("pg_stat_statements,pg_perfmon", "top"), ("pg_perfmon", "all")] {
        let with = Server::manual()
            .preload(preload)
            .conf(&format!("pg_perfmon.capture = {capture}"))
            .start();
        with.expect_internal_errors();
        let found = outcomes(&with);
        for (expected, found) in expected.iter().zip(&found) {
            assert_eq!(expected, found, "{preload}, {capture}");
        }
        assert_eq!(expected.len(), found.len());
    }
    without.expect_internal_errors();
}
