//! What the hooks count is what pg_stat_statements counts, statement by statement, and what the client did:
//! whatever the protocol, wherever errors are caught, in whatever order libraries are preloaded.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

use perfmon_e2e::{Db, Random, Server, seed};
use postgres::types::ToSql;

const SCHEMA: &str = "
CREATE ROLE alice LOGIN;
CREATE ROLE bob LOGIN;
GRANT bob TO alice;
CREATE TABLE t (a int PRIMARY KEY, b int, c text) WITH (parallel_workers = 2);
INSERT INTO t SELECT g, g % 97, repeat('x', g % 50) FROM generate_series(1, 3000) g;
CREATE TABLE parent (id int PRIMARY KEY);
INSERT INTO parent SELECT g FROM generate_series(1, 50) g;
CREATE TABLE child (id serial PRIMARY KEY, parent int REFERENCES parent DEFERRABLE INITIALLY DEFERRED, note text);
CREATE TABLE noted (what text);
CREATE MATERIALIZED VIEW sums AS SELECT b, count(*) FROM t GROUP BY b;
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN INSERT INTO noted VALUES (TG_OP); RETURN NULL; END $$;
CREATE TRIGGER note AFTER INSERT OR UPDATE ON child FOR EACH ROW EXECUTE FUNCTION note();
CREATE FUNCTION divided(n int) RETURNS int LANGUAGE plpgsql AS $$
BEGIN RETURN (SELECT max(b) FROM t WHERE a = n) / (n - n); EXCEPTION WHEN division_by_zero THEN RETURN -1; END $$;
CREATE FUNCTION deep(n int) RETURNS int LANGUAGE plpgsql AS $$
BEGIN
    IF n = 0 THEN PERFORM 1 / (SELECT 0 FROM parent LIMIT 1); END IF;
    BEGIN
        RETURN deep(n - 1);
    EXCEPTION WHEN division_by_zero THEN
        IF n % 2 = 1 THEN RAISE; END IF;
        RETURN (SELECT count(*) FROM parent WHERE id > n);
    END;
END $$;
CREATE FUNCTION planned(n int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS $$
BEGIN
    PERFORM 1 FROM parent WHERE id = n;
    BEGIN PERFORM 1 / (SELECT 0 FROM parent LIMIT 1); EXCEPTION WHEN division_by_zero THEN NULL; END;
    PERFORM 2 FROM parent WHERE id = n;
    RETURN n;
END $$;
CREATE FUNCTION simple(n int) RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM parent WHERE id < n; SELECT 7::bigint';
CREATE FUNCTION trusted() RETURNS bigint SECURITY DEFINER LANGUAGE plpgsql AS $$
BEGIN RETURN (SELECT count(*) FROM parent); END $$;
CREATE PROCEDURE steps(n int) LANGUAGE plpgsql AS $$
BEGIN
    FOR i IN 1..n LOOP
        INSERT INTO child (parent, note) VALUES (1 + i % 50, 'steps');
        IF i % 2 = 0 THEN COMMIT; ELSE ROLLBACK; END IF;
        PERFORM count(*) FROM parent WHERE id = i;
    END LOOP;
END $$;
GRANT ALL ON ALL TABLES IN SCHEMA public TO PUBLIC;
GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO PUBLIC;
ALTER MATERIALIZED VIEW sums OWNER TO bob;
";

/// What a client may do, by the simple protocol; some of it fails, as it should.
const SIMPLE: &[&str] = &[
    "SELECT count(*) FROM t WHERE b = 5",
    "SELECT a FROM t WHERE a < 20; SELECT b FROM t WHERE a = 3; UPDATE t SET c = 'y' WHERE a = 9",
    "SELECT 1; SELECT 1 / 0; SELECT 2",
    "SELECT 1 / 0",
    "SELECT no_such_column FROM t",
    "SELEKT",
    "INSERT INTO child (parent, note) VALUES (3, 'x'), (4, 'y')",
    "INSERT INTO child (parent, note) VALUES (999, 'no such parent')",
    "INSERT INTO parent VALUES (1)",
    "WITH moved AS (UPDATE child SET note = 'z' WHERE id < 5 RETURNING id) SELECT count(*) FROM moved",
    "BEGIN; INSERT INTO child (parent) VALUES (999); COMMIT",
    "BEGIN; SAVEPOINT s; SELECT 1 / 0",
    "ROLLBACK TO s; SELECT a FROM t WHERE a = 1; RELEASE s; COMMIT",
    "BEGIN; SAVEPOINT one; SELECT deep(2); SAVEPOINT two; ROLLBACK TO one; SELECT simple(4); COMMIT",
    "ROLLBACK",
    "SELECT divided(a) FROM t WHERE a < 4; SELECT divided(5)",
    "SELECT deep(4), deep(6)",
    "SELECT deep(3)",
    "SELECT planned(3) + planned(4) FROM parent WHERE id = 1",
    "SELECT simple(3)",
    "SELECT trusted()",
    "CALL steps(5)",
    "DO $$ BEGIN FOR i IN 1..3 LOOP BEGIN PERFORM 1 / 0; EXCEPTION WHEN OTHERS THEN PERFORM count(*) FROM parent; END; END LOOP; END $$",
    "DO $$ DECLARE r record; BEGIN FOR r IN SELECT id FROM parent WHERE id < 5 LOOP PERFORM divided(r.id); END LOOP; END $$",
    "DO $$ BEGIN EXECUTE 'SELECT 1 / 0'; END $$",
    "BEGIN; DECLARE k CURSOR FOR SELECT a, divided(a) FROM t ORDER BY a; FETCH 3 FROM k; FETCH 4 FROM k; CLOSE k; COMMIT",
    "BEGIN; DECLARE h CURSOR WITH HOLD FOR SELECT a FROM t WHERE b = 1; FETCH 1 FROM h; COMMIT; FETCH ALL FROM h; CLOSE h",
    "BEGIN; DECLARE bad CURSOR FOR SELECT 1 / (a - 3) FROM t ORDER BY a; FETCH 2 FROM bad; FETCH 5 FROM bad; COMMIT",
    "EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF) SELECT count(*), max(divided(a)) FROM t WHERE a < 3",
    "CREATE TEMP TABLE made AS SELECT a FROM t WHERE a < 100; SELECT count(*) FROM made; DROP TABLE made",
    "SELECT a INTO TEMP made FROM t WHERE a < 10; DROP TABLE made",
    "PREPARE p(int) AS SELECT b FROM t WHERE a = $1; EXECUTE p(4); EXECUTE p(5); DEALLOCATE p",
    "PREPARE p AS SELECT 1 / (SELECT 0 FROM parent LIMIT 1); EXECUTE p",
    "DEALLOCATE ALL",
    "SET statement_timeout = '50ms'; SELECT pg_sleep(10), deep(2); SELECT 5",
    "SET statement_timeout = 0",
    "SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0; SELECT count(*) FROM t WHERE length(c) > 3",
    "RESET ALL",
    "MERGE INTO t USING (VALUES (1, 2)) v (a, b) ON t.a = v.a WHEN MATCHED THEN UPDATE SET b = v.b",
    "ANALYZE parent",
    "SHOW work_mem",
    "LISTEN x; NOTIFY x; UNLISTEN x",
    "SET ROLE bob; SELECT count(*) FROM parent; RESET ROLE",
    "SELECT set_config('work_mem', '4MB', false)",
    "LOCK TABLE parent; SELECT 1",
    "BEGIN; LOCK TABLE parent IN SHARE MODE; SELECT 1 FROM parent WHERE id = 2; ABORT",
];

const PREPARED: &[&str] = &[
    "SELECT b FROM t WHERE a = $1",
    "SELECT a, c FROM t WHERE b > $1 ORDER BY a",
    "UPDATE t SET c = 'z' WHERE a = $1",
    "SELECT deep($1 % 3)",
    "SELECT divided($1), simple($1)",
    "SELECT 1 / ($1 - $1)",
];

fn app(db: &mut Db, random: &mut Random) {
    match random.below(10) {
        0..5 => {
            let _ = db.batch_execute(random.pick::<&str>(SIMPLE));
        }
        5 => {
            let n = i32::try_from(random.below(50)).unwrap();
            let _ = db.query(*random.pick(PREPARED), &[&n]);
        }
        6 => prepared(db, random),
        7 => pieces(db, random),
        8 => {
            if let Ok(mut writer) = db.copy_in("COPY noted FROM STDIN") {
                use std::io::Write;
                let bad = if random.one_in(3) { "a\tb\n" } else { "a\n" };
                let _ = writer.write_all(bad.as_bytes());
                let _ = writer.finish();
            }
        }
        _ => {
            use std::io::Read;
            let mut text = String::new();
            let copied = db.copy_out("COPY (SELECT a, divided(a) FROM t WHERE a < 5) TO STDOUT");
            let _ = copied.map(|mut reader| reader.read_to_string(&mut text));
        }
    }
}

/// A statement prepared once and executed often; a command too.
fn prepared(db: &mut Db, random: &mut Random) {
    let command = random.one_in(3);
    let text = if command { "CALL steps(2)" } else { *random.pick(PREPARED) };
    let Ok(statement) = db.prepare(text) else { return };
    for n in 0..=random.below(8) {
        let n = i32::try_from(n).unwrap();
        let arguments: &[&(dyn ToSql + Sync)] = if command { &[] } else { &[&n] };
        let _ = db.query(&statement, arguments);
    }
}

/// A portal that is read in pieces, and maybe not to its end.
fn pieces(db: &mut Db, random: &mut Random) {
    let Ok(mut transaction) = db.transaction() else { return };
    let Ok(statement) = transaction.prepare("SELECT a, divided(a) FROM t WHERE b < $1") else {
        return;
    };
    let limit = i32::try_from(random.below(9)).unwrap();
    let Ok(portal) = transaction.bind(&statement, &[&limit]) else { return };
    for _ in 0..random.below(5) {
        let _ = transaction.query_portal(&portal, 10);
        let _ = transaction.batch_execute("SELECT count(*) FROM parent");
    }
    let _ = if random.one_in(3) { transaction.rollback() } else { transaction.commit() };
}

/// One statement by both accounts.
#[derive(Debug)]
struct Line {
    who: String,
    query: Option<String>,
    calls: i64,
    executions: i64,
    exec_ms: f64,
    total_ms: f64,
}

/// A session that counts for neither.
fn unseen(server: &Server, database: &str) -> Db {
    let mut db = server.db(database);
    db.run("SELECT set_config('pg_stat_statements.track', 'none', false), set_config('pg_perfmon.capture', 'off', false)");
    db
}

fn lines(db: &mut Db) -> Vec<Line> {
    let rows = db.rows(
        "SELECT s.query, coalesce(s.calls, 0), coalesce(l.executions, 0),
             coalesce(s.total_exec_time, 0), coalesce(l.total_ms, 0),
             concat_ws(' ', user_name, queryid, CASE WHEN toplevel THEN 'top' ELSE 'nested' END)
         FROM (SELECT r.rolname::text AS user_name, p.queryid, p.toplevel, p.calls, p.total_exec_time, p.query
               FROM pg_stat_statements p JOIN pg_roles r ON r.oid = p.userid
               WHERE p.dbid = (SELECT oid FROM pg_database WHERE datname = current_database())) s
         FULL JOIN (SELECT * FROM perfmon.latency_since_start() WHERE NOT rest) l
         USING (user_name, queryid, toplevel)",
    );
    rows.iter()
        .map(|r| Line {
            who: r.get(5),
            query: r.get(0),
            calls: r.get(1),
            executions: r.get(2),
            exec_ms: r.get(3),
            total_ms: r.get(4),
        })
        .collect()
}

fn is_command(query: Option<&str>) -> bool {
    let plain = ["SELECT", "INSERT", "UPDATE", "DELETE", "WITH", "MERGE", "PREPARE"];
    let plain =
        |q: &str| plain.iter().any(|word| q.starts_with(word)) && !q.contains(" INTO TEMP ");
    !query.is_some_and(plain)
}

fn same_counts(preload: &str, track: &str) {
    let server = Server::manual()
        .preload(preload)
        .conf(&format!("pg_stat_statements.track = {track}"))
        .conf(&format!("pg_perfmon.capture = {track}"))
        .conf("auto_explain.log_min_duration = 0")
        .conf("auto_explain.log_nested_statements = on")
        .conf("auto_explain.log_analyze = on")
        .conf("log_min_messages = error")
        .start();
    let mut db = server.new_db("app");
    db.run(SCHEMA);
    drop(db);
    let mut random = Random::new(seed());
    let mut sessions: Vec<Db> =
        ["postgres", "alice", "bob"].iter().map(|role| server.connect(role, "app")).collect();
    for _ in 0..600 {
        let which = random.below(sessions.len());
        app(&mut sessions[which], &mut random);
    }
    // A portal that was never run to its end ends with its transaction.
    sessions.iter_mut().for_each(|db| drop(db.batch_execute("ROLLBACK")));
    let lines = lines(&mut unseen(&server, "app"));
    println!(
        "{} statements, {} executions",
        lines.len(),
        lines.iter().map(|l| l.calls).sum::<i64>()
    );
    assert!(lines.len() > 60 && lines.iter().map(|l| l.calls).max() > Some(20));
    let wrong = lines.iter().filter(|l| l.calls != l.executions);
    let wrong: Vec<String> = wrong
        .map(|l| format!("{}: {} or {}: {:?}", l.who, l.calls, l.executions, l.query))
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    for line in &lines {
        let slack = 0.05 * line.exec_ms + 0.001 * line.calls as f64;
        if !is_command(line.query.as_deref()) {
            assert!((line.exec_ms - line.total_ms).abs() <= slack, "{line:?}");
        } else {
            // Of a command we measure all that the chain of hooks does.
            assert!(line.total_ms >= line.exec_ms - slack, "{line:?}");
        }
    }
}

#[test]
fn counts_are_those_of_pg_stat_statements() {
    same_counts("pg_stat_statements,pg_perfmon", "top");
}

#[test]
fn counts_are_the_same_in_the_other_order() {
    same_counts("pg_perfmon,auto_explain,pg_stat_statements", "top");
}

#[test]
fn nested_statements_are_counted_apart() {
    same_counts("pg_stat_statements,auto_explain,pg_perfmon", "all");
}

#[test]
fn nested_statements_are_counted_apart_in_the_other_order() {
    same_counts("pg_perfmon,pg_stat_statements,auto_explain", "all");
}
