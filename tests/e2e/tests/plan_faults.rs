//! Plans when things go wrong: an error while one is printed, catalogs that are locked, crashes, cancellations. No
//! statement of a user notices, and nothing stays behind. And who may see what of a plan.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use perfmon_e2e::{Db, Server, code_of, secs, wait_until};

/// A session that is not counted itself.
fn watcher(server: &Server) -> Db {
    let mut db = server.db("app");
    db.run("SET pg_perfmon.capture = 'off'");
    db.snapshot();
    db
}

fn status(db: &mut Db) -> String {
    db.val("SELECT value FROM perfmon.status() WHERE item = 'plans'")
}

/// What the session of a user must be after anything that happened to its plans.
fn assert_sound(db: &mut Db) {
    let left: i64 = db
        .val("SELECT count(*) FROM pg_backend_memory_contexts WHERE name LIKE 'pg_perfmon plan%'");
    assert_eq!(left, 0, "memory");
    let locks: i64 = db.val(
        "SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'relation'
             AND relation NOT IN (SELECT oid FROM pg_class WHERE relname ~ '^pg_(locks|class)')",
    );
    assert_eq!(locks, 0, "locks");
    let e = db.fails("SET statement_timeout = '50ms'; SELECT pg_sleep(30)");
    assert_eq!(code_of(&e), "57014", "interrupts are held no more");
    db.run("SET statement_timeout = 0; SELECT 1");
}

#[test]
fn an_error_while_printing_is_nobodys() {
    let server = Server::manual().conf("pg_perfmon.plan_min_duration = 0").start();
    let mut db = server.new_db("app");
    // When the plan is printed, a function in it is gone.
    db.run(
        "CREATE TABLE t AS SELECT g AS a FROM generate_series(1, 10) g;
         CREATE FUNCTION again() RETURNS void LANGUAGE sql AS
             'CREATE FUNCTION g(int) RETURNS int LANGUAGE internal IMMUTABLE STRICT AS ''int4abs''';
         CREATE FUNCTION killer(a int) RETURNS bool LANGUAGE plpgsql AS
             'BEGIN IF a = 10 THEN DROP FUNCTION g(int); END IF; RETURN true; END'",
    );
    let mut watcher = watcher(&server);
    for round in 1..=5 {
        db.run("SELECT again()");
        db.run("BEGIN; INSERT INTO t VALUES (0); SAVEPOINT s");
        let rows: i64 = db.val("SELECT count(*) FROM t WHERE g(a) >= 0 AND killer(a)");
        assert_eq!(rows, 10 + round);
        db.run("RELEASE s; INSERT INTO t VALUES (-1); COMMIT; DELETE FROM t WHERE a = -1");
        assert_sound(&mut db);
    }
    let said = status(&mut watcher);
    assert!(said.contains("5 could not be printed"), "{said}");
    watcher.snapshot();
    let plans: i64 =
        watcher.val("SELECT count(*) FROM perfmon.plans() WHERE plan_text LIKE '%killer%'");
    assert_eq!(plans, 0);
}

#[test]
fn of_many_plans_a_snapshot_stores_some_and_none_is_printed_twice() {
    let server = Server::manual().conf("pg_perfmon.plan_min_duration = 0").start();
    let mut db = server.new_db("app");
    db.run("CREATE TABLE t AS SELECT g AS a FROM generate_series(1, 10) g");
    let mut watcher = watcher(&server);
    let printed = |watcher: &mut Db| {
        let said = status(watcher);
        let count = said.split("; ").find(|part| part.ends_with("were printed"));
        count.map(str::to_owned).expect("how many plans were printed")
    };
    let run = |db: &mut Db| {
        for terms in 1..=20 {
            db.run(&format!("SELECT {} FROM t", vec!["a"; terms].join(" + ")));
        }
    };
    let counted = "SELECT count(*) FROM perfmon.plan WHERE calls > 0";
    let stored = "SELECT count(*) FROM perfmon.plan_form WHERE plan_text LIKE 'Seq Scan on t%'";
    let before: i64 = watcher.val(counted);
    run(&mut db);
    let first = printed(&mut watcher);
    watcher.snapshot();
    let some: i64 = watcher.val(stored);
    assert!((1..=8).contains(&some), "{some}");
    assert!(watcher.val::<i64>(counted) >= before + 20, "what waits is counted");
    for _ in 0..4 {
        // Seen again while it waits.
        run(&mut db);
        watcher.snapshot();
    }
    assert_eq!(watcher.val::<i64>(stored), 20);
    assert_eq!(printed(&mut watcher), first);
}

#[test]
fn a_locked_catalog_is_not_waited_for() {
    let server = Server::manual().conf("pg_perfmon.plan_min_duration = 0").start();
    let mut db = server.new_db("app");
    db.run("CREATE TABLE t AS SELECT g AS a FROM generate_series(1, 10) g; SET pg_perfmon.plan_min_duration = -1;
            PREPARE p AS SELECT pg_advisory_xact_lock(1), count(*) FROM t WHERE a > 3; EXECUTE p;
            SET pg_perfmon.plan_min_duration = 0");
    let pid = db.pid();
    let mut watcher = watcher(&server);
    let mut other = server.db("app");
    let count = "SELECT count(*) FROM perfmon.plans() WHERE plan_text LIKE '%Filter: (a > ?)'";
    for held in [
        "LOCK TABLE pg_collation IN ACCESS EXCLUSIVE MODE",
        "REINDEX INDEX pg_catalog.pg_operator_oid_index",
    ] {
        // The catalog is locked while the statement runs: its own analysis and planning are over.
        other.run("SELECT pg_advisory_lock(1)");
        std::thread::scope(|scope| {
            let run = scope.spawn(|| db.run("EXECUTE p"));
            let waits =
                format!("SELECT EXISTS (SELECT FROM pg_locks WHERE pid = {pid} AND NOT granted)");
            wait_until("the statement runs", secs(20), || other.val(&waits));
            other.run(&format!("BEGIN; {held}; SELECT pg_advisory_unlock(1)"));
            wait_until(&format!("the statement ends in spite of {held}"), secs(20), || {
                run.is_finished()
            });
            other.run("COMMIT");
        });
        watcher.snapshot();
        assert_eq!(watcher.val::<i64>(count), 0, "{held}");
    }
    db.run("EXECUTE p");
    watcher.snapshot();
    assert_eq!(watcher.val::<i64>(count), 1);
    assert_sound(&mut db);
}

#[test]
fn cancellations_and_timeouts_leave_all_sound() {
    let server = Server::manual().conf("pg_perfmon.plan_min_duration = 0").start();
    let mut db = server.new_db("app");
    db.run("CREATE TABLE t (a int, b int) PARTITION BY LIST (a);
            DO $$ BEGIN FOR i IN 1..150 LOOP EXECUTE format('CREATE TABLE t%s PARTITION OF t FOR VALUES IN (%s)', i, i); END LOOP; END $$");
    let mut watcher = watcher(&server);
    let (mut done, mut cancelled) = (0, 0);
    for n in 1..=60 {
        // Every statement is new, so that each plan is printed.
        while db.batch_execute(&format!("SET statement_timeout = {}", 1 + n % 12)).is_err() {}
        match db.batch_execute(&format!("SELECT sum(b) AS c{n} FROM t WHERE b <> {n}")) {
            Ok(()) => done += 1,
            Err(e) => {
                assert_eq!(code_of(&e), "57014");
                cancelled += 1;
            }
        }
    }
    while db.batch_execute("SET statement_timeout = 0").is_err() {}
    assert!(done + cancelled == 60);
    assert_sound(&mut db);
    db.run("SELECT max(b) AS last FROM t WHERE b <> 77");
    watcher.snapshot();
    let last = "SELECT count(*) FROM perfmon.plans() p JOIN perfmon.statement s
         ON s.source = p.from_source AND s.statement_id = p.statement_id WHERE s.query LIKE '%AS last%' AND p.plan_text LIKE '%Aggregate%'";
    assert_eq!(watcher.val::<i64>(last), 1);
}

#[test]
fn a_crash_while_plans_are_printed_loses_no_more_than_them() {
    let server = Server::manual().conf("pg_perfmon.plan_min_duration = 0").start();
    server.new_db("app").run("CREATE TABLE t AS SELECT g AS a FROM generate_series(1, 100) g");
    watcher(&server);
    for round in 0..3 {
        let mut victim = server.db("app");
        let pid = victim.pid();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for n in 0..100_000 {
                    if victim
                        .batch_execute(&format!("SELECT a AS c{n} FROM t WHERE a = {n}"))
                        .is_err()
                    {
                        return;
                    }
                }
            });
            let mut db = server.db("app");
            let printing =
                "SELECT value !~ '; 0 were printed' FROM perfmon.status() WHERE item = 'plans'";
            wait_until("plans are printed", secs(30), || db.val::<bool>(printing));
            server.kill_9(pid);
        });
        server.wait_ready();
        let mut db = server.db("app");
        let statement = format!("SELECT a AS back{round} FROM t WHERE a = 5");
        db.run(&statement);
        let queryid = db.queryid_of(&statement);
        let mut watcher = watcher(&server);
        let found: i64 = watcher.val(&format!(
            "SELECT count(*) FROM perfmon.plans() p JOIN perfmon.statement s
             ON s.source = p.from_source AND s.statement_id = p.statement_id WHERE s.queryid = {queryid} AND p.plan_text LIKE 'Seq Scan on t%'"
        ));
        assert_eq!(found, 1);
        assert_sound(&mut db);
    }
}

#[test]
fn explain_and_auto_explain_print_what_they_did() {
    let plain = Server::manual()
        .preload("pg_stat_statements,pg_perfmon,auto_explain")
        .conf("pg_perfmon.plan_min_duration = 0")
        .conf("auto_explain.log_min_duration = 0")
        .conf("auto_explain.log_analyze = on")
        .conf("auto_explain.log_timing = off")
        .start();
    let mut db = plain.new_db("app");
    db.run("CREATE TABLE t AS SELECT g AS a FROM generate_series(1, 1000) g; ANALYZE t");
    let analyze = "EXPLAIN (ANALYZE, BUFFERS off, TIMING off, SUMMARY off) SELECT count(*) FROM t x JOIN t y USING (a) WHERE x.a > 10";
    let with = db.list::<String>(analyze);
    db.run("SET pg_perfmon.plan_min_duration = -1");
    assert_eq!(db.list::<String>(analyze), with);
    // From 18 on rows have decimals.
    let ran = |text: &str, rows: &str| {
        ["", ".00"].iter().any(|rest| text.contains(&format!("(actual rows={rows}{rest} loops=1)")))
    };
    assert!(ran(&with[0], "1"), "{with:?}");
    db.run("SET pg_perfmon.plan_min_duration = 0; SELECT count(*) AS logged FROM t WHERE a > 10");
    let log = plain.log();
    let logged = log.split("AS logged").nth(1).expect("a plan in the log");
    assert!(ran(logged, "990"), "{logged}");
    let mut watcher = watcher(&plain);
    let text: String = watcher.val(
        "SELECT plan_text FROM perfmon.plans() p JOIN perfmon.statement s
         ON s.source = p.from_source AND s.statement_id = p.statement_id WHERE s.query LIKE '%AS logged%'",
    );
    assert!(!text.contains("actual"), "{text}");
}

#[test]
fn readers_see_numbers_and_users_their_own_plans() {
    let server = Server::manual().conf("pg_perfmon.plan_min_duration = 0").start();
    let mut db = server.new_db("app");
    db.run("CREATE ROLE reader LOGIN; CREATE ROLE alice LOGIN; CREATE TABLE t AS SELECT 1 AS a; GRANT SELECT ON t TO alice;
            SELECT perfmon.grant_reader('reader'); SELECT perfmon.grant_reader('alice')");
    let mut watcher = watcher(&server);
    server.connect("alice", "app").run("SELECT a AS hers FROM t WHERE a = 5");
    db.run("SELECT a AS his FROM t WHERE a <> 6");
    watcher.snapshot();
    let seen = "SELECT count(*), count(heaviest_node), count(nullif(plan_text, '<insufficient privilege>')), count(plan_json)
        FROM perfmon.plans() WHERE heaviest_node = 'Seq Scan on t'";
    let counts = |db: &mut Db| -> Vec<i64> {
        let rows = db.rows(seen);
        (0..4).map(|i| rows[0].get(i)).collect()
    };
    assert_eq!(counts(&mut watcher), [2, 2, 2, 2]);
    assert_eq!(counts(&mut server.connect("reader", "app")), [2, 2, 0, 0]);
    assert_eq!(counts(&mut server.connect("alice", "app")), [2, 2, 1, 1]);
    for what in [
        "SELECT * FROM perfmon.plan",
        "SELECT * FROM perfmon.plan_form",
        "SET pg_perfmon.plan_constants = on",
        "SET pg_perfmon.plan_min_duration = 0",
    ] {
        let e = server.connect("alice", "app").fails(what);
        assert_eq!(code_of(&e), "42501", "{what}");
    }
}
