//! An error is of the statement that failed, whatever was set, executed or ended before it.

use super::{route, unseen};
use perfmon_e2e::{Db, Server, code_of};

const SCHEMA: &str = "
CREATE TABLE d (id int PRIMARY KEY, p int REFERENCES d DEFERRABLE INITIALLY DEFERRED);
CREATE FUNCTION sets(n int) RETURNS int LANGUAGE plpgsql AS
    $$ BEGIN SET LOCAL work_mem = '5MB'; RETURN 1 / n; END $$;
CREATE FUNCTION has_set(n int) RETURNS int LANGUAGE plpgsql SET work_mem = '5MB' AS 'BEGIN RETURN 1 / n; END';
CREATE PROCEDURE step(n int) LANGUAGE plpgsql AS
    $$ BEGIN SET LOCAL work_mem = '5MB'; PERFORM 1 / n; END $$;
";

/// What fails, by the simple protocol, and its SQLSTATE.
const SIMPLE: &[(&str, &str)] = &[
    ("SELECT sets(0)", "22012"),
    ("SELECT has_set(0)", "22012"),
    ("CALL step(0)", "22012"),
    ("DO $$ BEGIN SET LOCAL work_mem = '5MB'; PERFORM 1 / 0; END $$", "22012"),
    ("SET LOCAL work_mem = '5MB'; SELECT 1 / 0", "22012"),
    ("SET work_mem = 'a lot'", "22023"),
    ("SAVEPOINT s; SELECT 1 / 0", "22012"),
    ("SAVEPOINT s; ROLLBACK TO s; RELEASE s; SELECT 1 / 0", "22012"),
    ("RELEASE nothing", "3B001"),
    ("BEGIN; SELECT 1 / 0", "22012"),
    (
        "SET CONSTRAINTS ALL DEFERRED; INSERT INTO d VALUES (1, -1); SET CONSTRAINTS ALL IMMEDIATE",
        "23503",
    ),
    ("ROLLBACK; SELECT 1 / 0", "22012"),
    ("SELEKT", "42601"),
    ("SELECT * FROM nothing", "42P01"),
    ("EXECUTE nothing", "26000"),
];

/// By the extended one.
const EXTENDED: &[(&str, &str)] = &[
    ("SELECT sets(0)", "22012"),
    ("SELECT has_set(0)", "22012"),
    ("CALL step(0)", "22012"),
    ("SELEKT", "42601"),
    ("SELECT * FROM nothing", "42P01"),
    ("RELEASE nothing", "3B001"),
];

fn begins(db: &mut Db) {
    db.run("BEGIN");
    db.run("SELECT 1 /*route='before'*/");
}

/// As a pool does before another program gets the session.
fn ends(db: &mut Db) {
    db.run("ROLLBACK");
    db.run("DISCARD ALL");
}

/// Errors without a route.
fn without_route(db: &mut Db) -> i64 {
    db.val("SELECT coalesce(sum(errors), 0)::bigint FROM perfmon.routes() WHERE route IS NULL")
}

#[test]
fn an_error_is_of_the_statement_that_failed() {
    let server = Server::manual().start();
    server.new_db("app").run(SCHEMA);
    let mut watcher = unseen(&server, "app");
    watcher.snapshot();
    let mut db = server.db("app");
    let (mut blocks, mut own) = (0, 0);
    for comment in ["", " /*route='own'*/"] {
        for (sql, code) in SIMPLE {
            begins(&mut db);
            assert_eq!(code_of(&db.fails(&format!("{sql}{comment}"))), *code, "{sql}");
            ends(&mut db);
        }
        for (sql, code) in EXTENDED {
            begins(&mut db);
            let error = db.query(&format!("{sql}{comment}"), &[]).unwrap_err();
            assert_eq!(code_of(&error), *code, "{sql}");
            ends(&mut db);
        }
        blocks += SIMPLE.len() + EXTENDED.len();
        own = SIMPLE.len() + EXTENDED.len();
    }
    // What the server has no text for: of the message nothing is known.
    let gone = db.prepare("SELECT 2 /*route='gone'*/").unwrap();
    db.run("DEALLOCATE ALL");
    begins(&mut db);
    assert_eq!(code_of(&db.query(&gone, &[]).unwrap_err()), "26000");
    ends(&mut db);
    blocks += 1;
    watcher.snapshot();
    let (calls, errors, _, _) = route(&mut watcher, "before");
    assert_eq!((calls, errors), (i64::try_from(blocks).unwrap(), 0));
    let own = i64::try_from(own).unwrap();
    assert_eq!(route(&mut watcher, "own").1, own);
    assert_eq!(without_route(&mut watcher), own + 1);
}

#[test]
fn what_fails_in_the_end_is_of_what_was_executed() {
    let server = Server::manual().start();
    server.new_db("app").run(SCHEMA);
    let mut watcher = unseen(&server, "app");
    watcher.snapshot();
    let mut db = server.db("app");
    let bad = "INSERT INTO d VALUES (1, -1) /*route='late'*/";
    // A comment without a route is none.
    for end in ["COMMIT", "END /* a remark */", "/* a remark */ COMMIT;", "COMMIT AND CHAIN"] {
        db.run("BEGIN");
        db.run(bad);
        assert_eq!(code_of(&db.fails(end)), "23503", "{end}");
        db.run("ROLLBACK");
        db.run("BEGIN");
        db.query(bad, &[]).unwrap();
        assert_eq!(
            code_of(&db.query(end.trim_end_matches(';'), &[]).unwrap_err()),
            "23503",
            "{end}"
        );
        db.run("ROLLBACK");
    }
    // What was set in it before its end, and what a message of its own executed and failed with.
    db.run("BEGIN");
    db.run(bad);
    db.run("SET LOCAL work_mem = '5MB'");
    db.fails("COMMIT");
    db.query(bad, &[]).unwrap_err();
    db.fails(bad);
    watcher.snapshot();
    let (calls, errors, transactions, _) = route(&mut watcher, "late");
    assert_eq!((calls, errors, transactions), (11, 11, 11));
    assert_eq!(without_route(&mut watcher), 0);
}
