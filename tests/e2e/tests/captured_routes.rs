//! Routes in the history: counts, times and transactions as the client made them; a flood of names; who may read.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;

use perfmon_e2e::{Db, Random, Server, secs, seed, wait_until};

#[path = "captured_routes/comments.rs"]
mod comments;
#[path = "captured_routes/failed.rs"]
mod failed;
#[path = "captured_routes/sync.rs"]
mod sync;

/// A session that is not counted itself.
fn unseen(server: &Server, database: &str) -> Db {
    let mut db = server.db(database);
    db.run("SET pg_perfmon.capture = 'off'");
    db
}

/// Application, route, and calls, errors, cancelled, transactions.
type Counts = BTreeMap<(String, String), [i64; 4]>;

fn routes(db: &mut Db) -> Counts {
    let rows = db.rows(
        "SELECT coalesce(application, ''), coalesce(route, ''), calls, errors, cancelled, transactions
         FROM perfmon.routes() WHERE user_name = 'alice' OR application IS NULL",
    );
    rows.iter().map(|r| ((r.get(0), r.get(1)), [2, 3, 4, 5].map(|i| r.get(i)))).collect()
}

#[test]
fn routes_are_counted_as_the_client_used_them() {
    let server = Server::manual().start();
    server.new_db("app").run(
        "CREATE ROLE alice LOGIN; CREATE TABLE t (a int PRIMARY KEY, b int); INSERT INTO t VALUES (1, 1), (2, 2);
         GRANT ALL ON t TO alice",
    );
    let mut watcher = unseen(&server, "app");
    watcher.snapshot();
    let mut alice = server.connect("alice", "app");
    let (mut random, mut expected) = (Random::new(seed()), Counts::new());
    let applications = ["shop", "admin", ""];
    let names = ["/orders/:id", "/a b", "users#show", ""];
    for round in 0..300 {
        let application = *random.pick(&applications);
        alice.run(&format!("SET application_name = '{application}'"));
        let name = *random.pick(&names);
        let comment = match name {
            "" => String::new(),
            "users#show" => "/*action='show',controller='users'*/".to_owned(),
            name => {
                format!("/*route='{}',traceparent='00-{round:032x}'*/", name.replace('/', "%2F"))
            }
        };
        // How it is sent, how many statements succeed and fail in it, and how many transactions that makes.
        let (calls, errors, cancelled, transactions) = match random.below(8) {
            0 => {
                alice.run(&format!("SELECT a FROM t {comment}"));
                (1, 0, 0, 1)
            }
            1 => {
                alice.run(&format!("{comment} UPDATE t SET b = b + 1 WHERE a = 1;"));
                (1, 0, 0, 1)
            }
            2 => {
                assert_eq!(
                    alice
                        .query(&format!("SELECT a FROM t WHERE b > $1 {comment}"), &[&0])
                        .unwrap()
                        .len(),
                    2
                );
                (1, 0, 0, 1)
            }
            3 => {
                for sql in ["BEGIN", "SELECT a FROM t", "SELECT count(*) FROM t", "COMMIT"] {
                    alice.run(&format!("{sql} {comment}"));
                }
                (2, 0, 0, 1)
            }
            4 => {
                alice.fails(&format!("SELECT 1 / 0 {comment}"));
                (0, 1, 0, 1)
            }
            5 => {
                alice.run("BEGIN");
                alice.run(&format!("SELECT a FROM t {comment}"));
                alice.fails(&format!("INSERT INTO t VALUES (1, 1) {comment}"));
                alice.run("ROLLBACK");
                (1, 1, 0, 1)
            }
            6 => {
                alice.run(&format!("SELECT 1; SELECT 2, 3 {comment}"));
                (2, 0, 0, 1)
            }
            _ => {
                alice.fails(&format!(
                    "SELECT pg_cancel_backend(pg_backend_pid()), pg_sleep(30) {comment}"
                ));
                (0, 0, 1, 1)
            }
        };
        let sums = expected.entry((application.to_owned(), name.to_owned())).or_default();
        *sums = [sums[0] + calls, sums[1] + errors, sums[2] + cancelled, sums[3] + transactions];
        if random.one_in(40) {
            watcher.snapshot();
        }
    }
    // Left over from the change of the application's name after the connection.
    watcher.snapshot();
    assert_eq!(routes(&mut watcher), expected);
    let ratios: i64 = watcher.val(
        "SELECT count(*) FROM perfmon.routes() WHERE error_ratio IS DISTINCT FROM errors::float8 / (calls + errors + cancelled)
             OR statements_per_transaction IS DISTINCT FROM (calls + errors + cancelled)::float8 / transactions",
    );
    assert_eq!(ratios, 0);
}

#[test]
fn times_are_those_that_the_client_waited() {
    let server = Server::manual().start();
    let mut watcher = {
        server.new_db("app");
        unseen(&server, "app")
    };
    watcher.snapshot();
    let mut db = server.db("app");
    for i in 1..=20 {
        db.run(&format!("SELECT pg_sleep({}) /*route='/sleep'*/", f64::from(i) / 200.0));
    }
    // A transaction lasts from its first message on, whatever its statements do.
    db.run("BEGIN /*route='/slow'*/");
    db.run("SELECT 1 /*route='/slow'*/");
    watcher.run("SELECT pg_sleep(0.3)");
    db.run("COMMIT /*route='/slow'*/");
    watcher.snapshot();
    let row = &watcher.rows(
        "SELECT calls, p50_ms, p95_ms, max_ms, transactions FROM perfmon.routes() WHERE route = '/sleep'",
    )[0];
    let near = |at: usize, least: f64, most: f64| {
        let found: f64 = row.get(at);
        assert!(found >= least * 0.95 && found <= most * 1.05 + 10.0, "{found}: {least} to {most}");
    };
    assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(4)), (20, 20));
    near(1, 50.0, 55.0);
    near(2, 95.0, 100.0);
    near(3, 100.0, 100.0);
    let row = &watcher.rows(
        "SELECT calls, max_ms, transactions, transaction_p95_ms FROM perfmon.routes() WHERE route = '/slow'",
    )[0];
    assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(2)), (1, 1));
    let (statement, transaction): (f64, f64) = (row.get(1), row.get(3));
    assert!(transaction > 285.0 && statement < 285.0, "{statement} {transaction}");
}

/// Calls, errors, transactions, and the median of these, of a route.
fn route(db: &mut Db, route: &str) -> (i64, i64, i64, Option<f64>) {
    let rows = db.rows(&format!(
        "SELECT coalesce(sum(calls), 0)::bigint, coalesce(sum(errors), 0)::bigint, coalesce(sum(transactions), 0)::bigint, max(transaction_p50_ms)
         FROM perfmon.routes() WHERE route = '{route}'"
    ));
    let row = &rows[0];
    (row.get(0), row.get(1), row.get(2), row.get(3))
}

#[test]
fn a_transaction_lasts_until_its_commit_is_safe() {
    let server = Server::manual().conf("fsync = on").conf("commit_siblings = 0").start();
    server.new_db("app").run(
        "CREATE TABLE t (a int);
         CREATE FUNCTION puts() RETURNS int VOLATILE LANGUAGE sql AS 'INSERT INTO t VALUES (1) RETURNING a'",
    );
    let mut watcher = unseen(&server, "app");
    watcher.snapshot();
    let mut db = server.db("app");
    // As a slow disk or a standby that is waited for.
    db.run("SET commit_delay = 100000");
    for _ in 0..3 {
        db.run("INSERT INTO t VALUES (1) /*route='alone'*/");
        db.query("INSERT INTO t VALUES ($1) /*route='extended'*/", &[&1]).unwrap();
        db.run("SELECT puts() /*route='select'*/");
        db.run("BEGIN");
        db.run("INSERT INTO t VALUES (1) /*route='block'*/");
        db.run("COMMIT");
        db.run("SELECT 1 /*route='reads'*/");
        // The second transaction begins with the message that ends the first one.
        db.run("BEGIN");
        db.run("INSERT INTO t VALUES (1)");
        db.run("COMMIT AND CHAIN");
        db.run("SELECT 1 /*route='chained'*/");
        db.run("COMMIT");
    }
    watcher.snapshot();
    let (_, _, transactions, p50) = route(&mut watcher, "chained");
    assert_eq!(transactions, 3);
    assert!(p50.unwrap() < 95.0, "{p50:?}");
    for name in ["alone", "extended", "select", "block"] {
        let (calls, _, transactions, p50) = route(&mut watcher, name);
        assert_eq!((calls, transactions), (3, 3), "{name}");
        assert!(p50.unwrap() > 95.0, "{name}: {p50:?}");
    }
    let (calls, _, transactions, p50) = route(&mut watcher, "reads");
    assert_eq!((calls, transactions), (3, 3));
    assert!(p50.unwrap() < 95.0, "{p50:?}");
}

#[test]
fn a_function_that_catches_errors_while_planning_hides_no_statement() {
    let server = Server::manual().start();
    server.new_db("app").run(
        "CREATE TABLE t (a int);
         CREATE FUNCTION safe(x text) RETURNS int IMMUTABLE LANGUAGE plpgsql AS
         $$ DECLARE r int; BEGIN SELECT x::int INTO r; RETURN r; EXCEPTION WHEN others THEN RETURN NULL; END $$",
    );
    let mut watcher = unseen(&server, "app");
    watcher.snapshot();
    let mut db = server.db("app");
    for _ in 0..10 {
        db.run("SELECT safe('12')");
    }
    for _ in 0..10 {
        db.run("INSERT INTO t VALUES (safe('abc')) /*route='simple'*/");
        db.query("SELECT a FROM t WHERE a = safe('zz') /*route='extended'*/", &[]).unwrap();
        // The inner block begins before the query that is undone, and ends after.
        db.run("SELECT coalesce(safe('q'), safe('7')) /*route='twice'*/");
    }
    watcher.snapshot();
    for name in ["simple", "extended", "twice"] {
        let (calls, errors, transactions, _) = route(&mut watcher, name);
        assert_eq!((calls, errors, transactions), (10, 0, 10), "{name}");
    }
}

#[test]
fn what_fails_at_the_commit_is_of_the_route_that_was_executed() {
    let server = Server::manual().start();
    server.new_db("app").run(
        "CREATE TABLE d (id int PRIMARY KEY, p int REFERENCES d DEFERRABLE INITIALLY DEFERRED);
         CREATE TABLE s (a int)",
    );
    let mut watcher = unseen(&server, "app");
    watcher.snapshot();
    let (mut db, mut other) = (server.db("app"), server.db("app"));
    db.query("INSERT INTO d VALUES (1, -1) /*route='sync'*/", &[]).unwrap_err();
    db.fails("INSERT INTO d VALUES (1, -1) /*route='simple'*/");
    for name in ["block", "commented"] {
        db.run("BEGIN");
        db.run("INSERT INTO d VALUES (1, -1) /*route='first'*/");
        db.run(&format!("SELECT 1 /*route='{name}'*/"));
        let comment = if name == "commented" { "/*route='end'*/" } else { "" };
        db.fails(&format!("COMMIT {comment}"));
    }
    other.run("SET pg_perfmon.capture = 'off'");
    for session in [&mut db, &mut other] {
        session.run("BEGIN ISOLATION LEVEL SERIALIZABLE");
        session.run("SELECT count(*) FROM s /*route='serial'*/");
    }
    other.run("INSERT INTO s VALUES (1)");
    db.run("INSERT INTO s VALUES (1) /*route='serial'*/");
    other.run("COMMIT");
    db.query("COMMIT", &[]).unwrap_err();
    // An error of a statement without a comment is none of the route before it.
    db.run("BEGIN");
    db.run("SELECT 1 /*route='before'*/");
    db.fails("SELECT 1 / 0");
    db.run("ROLLBACK");
    // What is refused after it makes no transaction of what follows.
    for _ in 0..4 {
        db.run("BEGIN");
        db.run("SELECT 1 /*route='failed'*/");
        db.fails("SELECT 1 / 0 /*route='failed'*/");
        db.fails("SELECT 2 /*route='failed'*/");
        db.run("COMMIT");
        db.run("SET work_mem = '5MB'");
        db.run("BEGIN");
        db.run("COMMIT");
    }
    watcher.snapshot();
    for (name, expected) in [
        ("sync", (1, 1, 1)),
        ("simple", (1, 1, 1)),
        ("first", (2, 0, 0)),
        ("block", (1, 1, 1)),
        ("commented", (1, 0, 0)),
        ("end", (0, 1, 1)),
        ("serial", (2, 1, 1)),
        ("before", (1, 0, 0)),
        ("failed", (4, 8, 4)),
    ] {
        let (calls, errors, transactions, _) = route(&mut watcher, name);
        assert_eq!((calls, errors, transactions), expected, "{name}");
    }
}

#[test]
fn what_is_executed_by_name_has_the_route_of_its_own_message() {
    let server = Server::manual().start();
    server.new_db("app");
    let mut watcher = unseen(&server, "app");
    watcher.snapshot();
    let mut db = server.db("app");
    db.run("PREPARE p(int) AS SELECT 1 / $1 /*route='prepare'*/");
    db.run("EXECUTE p(1) /*route='execute'*/");
    db.fails("EXECUTE p(0) /*route='execute'*/");
    db.run("EXECUTE p(2) /*route='execute'*/");
    db.run("SELECT 2 /*route='after'*/");
    db.run("EXECUTE p(2)");
    watcher.snapshot();
    for (name, expected) in [("prepare", (0, 0, 0)), ("execute", (2, 1, 3)), ("after", (1, 0, 1))] {
        let (calls, errors, transactions, _) = route(&mut watcher, name);
        assert_eq!((calls, errors, transactions), expected, "{name}");
    }
}

#[test]
fn a_flood_of_routes_goes_into_the_rest_and_none_is_lost() {
    let server = Server::manual().conf("pg_perfmon.max_routes = 20").start();
    server.new_db("app");
    let mut watcher = unseen(&server, "app");
    watcher.snapshot();
    let all = "SELECT (coalesce(sum(calls), 0) - (SELECT coalesce(sum(statements), 0) FROM perfmon.route_history()
                   WHERE bucket = 254))::bigint FROM perfmon.routes()";
    let before: i64 = watcher.val(all);
    let mut db = server.db("app");
    let mut calls = 0;
    wait_until("some are folded", secs(60), || {
        for i in 0..50 {
            db.run(&format!("SELECT {i} /*route='/{}/{i}'*/", calls / 50));
            db.run("SELECT 'hot' /*route='/hot'*/");
            calls += 1;
        }
        watcher.snapshot();
        watcher.val::<bool>("SELECT state = 'warning' AND value NOT LIKE '%; 0 of%' FROM perfmon.status() WHERE item = 'routes'")
    });
    watcher.snapshot();
    let sum: i64 = watcher.val(all);
    assert_eq!(sum - before, calls * 2);
    let hot: i64 = watcher.val("SELECT calls FROM perfmon.routes() WHERE route = '/hot'");
    assert!(hot > 0 && hot <= calls, "{hot} of {calls}");
    let rest: i64 =
        watcher.val("SELECT calls FROM perfmon.routes() WHERE route = '(all other routes)'");
    assert!(rest > calls / 2, "{rest} of {calls}");
}

#[test]
fn databases_that_are_gone_leave_room_for_others() {
    let server = Server::manual().conf("pg_perfmon.max_routes = 20").start();
    server.new_db("app");
    let mut watcher = unseen(&server, "app");
    watcher.snapshot();
    let mut admin = unseen(&server, "postgres");
    (0..24).for_each(|i| admin.run(&format!("CREATE DATABASE test{i}")));
    let hint = "SELECT coalesce(value || hint, '') FROM perfmon.status() WHERE item = 'routes'";
    wait_until("there is no place for a further one", secs(60), || {
        (0..24).for_each(|i| server.db(&format!("test{i}")).run("SELECT 1"));
        // The launcher looks at the table when there is something to do.
        watcher.snapshot();
        watcher.val::<String>(hint).contains("20 databases take one each")
    });
    server.new_db("late");
    let (mut late, notices) = server.noticing("late");
    late.run("SET pg_perfmon.capture = 'off'");
    late.run("SELECT perfmon.create_slo('all', error_ratio => 0.1)");
    late.snapshot();
    let work = |database| {
        let mut db = server.db(database);
        db.run("SET application_name = 'shop'");
        (0..20).for_each(|_| db.run("SELECT 1 /*route='/x'*/"));
        db.fails("SELECT 1 / 0 /*route='/x'*/");
    };
    let sums = "SELECT sum(executions)::bigint, sum(errors)::bigint FROM perfmon.error_series() WHERE errors > 0";
    let both = |db: &mut Db| {
        let rows = db.rows(sums);
        (rows[0].get::<_, Option<i64>>(0), rows[0].get::<_, Option<i64>>(1))
    };
    work("late");
    late.snapshot();
    notices.lock().unwrap().clear();
    assert_eq!(both(&mut late), (None, Some(1)), "how many there were is unknown");
    let told = notices.lock().unwrap().join("\n");
    assert!(told.contains("found no place in memory"), "{told}");
    assert!(told.contains("Raise pg_perfmon.max_routes"), "{told}");
    let detail: String = late.val(
        "SELECT status || ': ' || detail FROM perfmon.slo_status() WHERE objective = 'errors'",
    );
    assert!(detail.starts_with("no_data: how much was executed is not known"), "{detail}");
    assert!(detail.contains("Raise pg_perfmon.max_routes"), "{detail}");
    let hint: String = late.val(hint);
    assert!(hint.contains("no place at all") && hint.contains("databases take one each"), "{hint}");
    assert!(late.val::<bool>(
        "SELECT count(*) > 0 FROM perfmon.gaps() WHERE subject = 'route' AND detail LIKE '%max_routes%'"
    ));
    work("app");
    watcher.snapshot();
    assert_eq!(both(&mut watcher).1, Some(1));
    assert!(both(&mut watcher).0 >= Some(20), "of one that has its place all is known");
    for i in 0..24 {
        wait_until("nobody is there", secs(30), || {
            admin.batch_execute(&format!("DROP DATABASE IF EXISTS test{i}")).is_ok()
        });
    }
    wait_until("there is room again", secs(90), || {
        work("late");
        late.snapshot();
        late.val::<bool>("SELECT count(*) > 0 FROM perfmon.routes() WHERE route = '/x' AND application = 'shop' AND calls >= 20")
    });
    work("app");
    watcher.snapshot();
    let calls: i64 =
        watcher.val("SELECT sum(calls)::bigint FROM perfmon.routes() WHERE route = '/x'");
    assert!(calls >= 20, "{calls}");
    // There was room for statements all the time: what went with its database is no want of it.
    let memory: String = watcher
        .val("SELECT state || ': ' || value FROM perfmon.status() WHERE item = 'capture memory'");
    assert!(memory.starts_with("ok: ") && !memory.contains("coldest"), "{memory}");
}

#[test]
fn readers_see_routes_and_errors_but_no_texts() {
    let server = Server::manual().start();
    server
        .new_db("app")
        .run("CREATE ROLE alice LOGIN; CREATE ROLE reader LOGIN; CREATE ROLE nobody LOGIN");
    let mut watcher = unseen(&server, "app");
    watcher.run("SELECT perfmon.grant_reader('reader')");
    watcher.snapshot();
    let mut alice = server.connect("alice", "app");
    alice.fails("SELECT 'secret' = 'known', 1 / 0 AS hidden /*route='/pay'*/");
    alice.run("SELECT 'secret' AS hidden /*route='/pay'*/");
    watcher.snapshot();
    let mut reader = server.connect("reader", "app");
    assert_eq!(reader.val::<i64>("SELECT calls FROM perfmon.routes() WHERE route = '/pay'"), 1);
    let row = &reader.rows("SELECT sqlstate, errors, statement_id IS NOT NULL, query FROM perfmon.errors() WHERE user_name = 'alice'")[0];
    assert_eq!(
        (row.get::<_, String>(0).as_str(), row.get::<_, i64>(1), row.get::<_, bool>(2)),
        ("22012", 1, true)
    );
    assert_eq!(row.get::<_, Option<String>>(3).as_deref(), Some("<insufficient privilege>"));
    let names: String = reader.val("SELECT string_agg(o::text, ' ') FROM perfmon.object o WHERE family IN ('failure', 'route')");
    let queryids: Vec<i64> =
        watcher.list("SELECT queryid FROM perfmon.statement WHERE user_name = 'alice'");
    assert!(!queryids.is_empty() && names.contains("/pay"), "{names}");
    for queryid in queryids {
        assert!(!names.contains(&queryid.to_string()), "{names}");
    }
    let mut nobody = server.connect("nobody", "app");
    for function in ["errors", "error_series", "routes"] {
        assert_eq!(
            perfmon_e2e::code_of(&nobody.fails(&format!("SELECT * FROM perfmon.{function}()"))),
            "42501"
        );
    }
}
