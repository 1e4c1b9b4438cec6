//! What the hooks count when things go wrong or are switched off: every error once and as what it is, memory sound
//! after crashes and cancels, nothing counted that shall not be, nothing lost when memory is full.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use perfmon_e2e::{Db, Random, Server, code_of, secs, seed, wait_until};

const CAPTURE_OFF: &str = "SELECT set_config('pg_stat_statements.track', 'none', false), \
    set_config('pg_perfmon.capture', 'off', false)";

/// A session whose own statements and errors are counted nowhere.
fn unseen(server: &Server, database: &str) -> Db {
    let mut db = server.db(database);
    db.run(CAPTURE_OFF);
    db
}

/// Errors by user, class and SQLSTATE.
fn errors(db: &mut Db) -> BTreeMap<(String, String, String), i64> {
    let rows = db.rows(
        "SELECT coalesce(user_name, ''), class, coalesce(sqlstate, ''), sum(errors)::bigint
         FROM perfmon.errors_since_start() GROUP BY 1, 2, 3",
    );
    rows.iter().map(|r| ((r.get(0), r.get(1), r.get(2)), r.get(3))).collect()
}

fn expected(list: &[(&str, &str, &str, i64)]) -> BTreeMap<(String, String, String), i64> {
    list.iter().map(|(u, c, s, n)| (((*u).into(), (*c).into(), (*s).into()), *n)).collect()
}

fn executions(db: &mut Db, condition: &str) -> i64 {
    db.val(&format!(
        "SELECT coalesce(sum(executions), 0)::bigint FROM perfmon.latency_since_start() WHERE {condition}"
    ))
}

fn wait_for_lock(db: &mut Db) {
    wait_until("somebody waits for a lock", secs(20), || {
        db.val::<bool>("SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)")
    });
}

#[test]
fn each_error_is_counted_once_as_what_it_is() {
    let server = Server::manual().conf("deadlock_timeout = '100ms'").start();
    server.new_db("app").run("CREATE ROLE alice LOGIN; CREATE ROLE bob LOGIN; CREATE TABLE k AS SELECT 1 AS a; GRANT ALL ON k TO PUBLIC; GRANT SET ON PARAMETER deadlock_timeout TO alice");
    let mut watcher = unseen(&server, "app");
    let mut alice = server.connect("alice", "app");
    for _ in 0..3 {
        alice.fails("SELECT 1 / 0");
    }
    alice.run("DO 'BEGIN PERFORM 1 / 0; EXCEPTION WHEN OTHERS THEN NULL; END'");
    alice.fails("SELECT nothing");
    alice.fails("SELEKT");
    alice.fails("DO $$ BEGIN RAISE 'x' USING ERRCODE = 'AB123'; END $$");
    let _ = alice.query("SELECT 1 / ($1::int - $1::int)", &[&4]).unwrap_err();
    alice.fails("SET statement_timeout = '50ms'; SELECT pg_sleep(30)");
    alice.run("SET statement_timeout = 0");
    alice.fails("SELECT pg_cancel_backend(pg_backend_pid()), pg_sleep(30)");
    alice.fails("BEGIN; SELECT 1 / 0");
    alice.fails("SELECT 25");
    alice.run("ROLLBACK");
    // Locks.
    let mut bob = server.connect("bob", "app");
    bob.run("BEGIN; LOCK TABLE k");
    alice.fails("SET lock_timeout = '10ms'; SELECT * FROM k");
    alice.fails("BEGIN; LOCK TABLE k NOWAIT");
    alice.run("ROLLBACK; RESET lock_timeout; CREATE TEMP TABLE mine (a int)");
    alice.run("BEGIN; SELECT pg_advisory_lock(7)");
    std::thread::scope(|scope| {
        // One of the two is the victim; it is made to be bob, who comes last.
        let waits = scope.spawn(|| {
            alice.batch_execute("SET deadlock_timeout = '1min'; SELECT * FROM k; COMMIT")
        });
        wait_for_lock(&mut watcher);
        assert_eq!(code_of(&bob.fails("SELECT pg_advisory_lock(7)")), "40P01");
        waits.join().unwrap().unwrap();
    });
    // Ends of sessions.
    let pid = bob.pid_after_rollback();
    watcher.run(&format!("SELECT pg_terminate_backend({pid})"));
    for setting in ["idle_in_transaction_session_timeout", "idle_session_timeout"] {
        let mut bob = server.connect("bob", "app");
        let pid = bob.pid();
        bob.run(&format!("SET {setting} = '20ms'"));
        if setting.contains("transaction") {
            let _ = bob.batch_execute("BEGIN");
        }
        let gone = format!("SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid = {pid})");
        wait_until("the idle session is ended", secs(20), || watcher.val::<bool>(&gone));
    }
    let gone = format!("SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid = {pid})");
    wait_until("the session is ended", secs(20), || watcher.val::<bool>(&gone));
    assert_eq!(
        errors(&mut watcher),
        expected(&[
            ("alice", "error", "22012", 5),
            ("alice", "error", "42703", 1),
            ("alice", "error", "42601", 1),
            ("alice", "error", "AB123", 1),
            ("alice", "error", "25P02", 1),
            ("alice", "error", "55P03", 1),
            ("alice", "statement_timeout", "57014", 1),
            ("alice", "cancelled", "57014", 1),
            ("alice", "lock_timeout", "55P03", 1),
            ("bob", "deadlock", "40P01", 1),
            ("bob", "terminated", "57P01", 1),
            ("bob", "idle_in_transaction_timeout", "25P03", 1),
            ("bob", "idle_session_timeout", "57P05", 1),
        ])
    );
    let blamed =
        "SELECT e.sqlstate, e.errors, e.lost_ms > 0, s.query FROM perfmon.errors_since_start() e
        LEFT JOIN pg_stat_statements s USING (queryid) WHERE e.class = 'statement_timeout'";
    let row = &watcher.rows(blamed)[0];
    assert!(row.get::<_, bool>(2), "the time of a failed statement is known");
    let idle: i64 = watcher.val(
        "SELECT count(*) FROM perfmon.errors_since_start() WHERE (class LIKE 'idle%' OR class = 'terminated') AND (queryid IS NOT NULL OR lost_ms > 0)",
    );
    assert_eq!(idle, 0, "the statement before an idle session's end is not to blame");
    // The statement is known, also of an error before its execution.
    let unknown: Vec<String> = watcher.list(
        "SELECT class || ' ' || sqlstate || ' ' || errors FROM perfmon.errors_since_start() WHERE queryid IS NULL ORDER BY 1",
    );
    // Tables are locked while a statement is analysed, when it has no identifier yet.
    let before_analysis =
        ["error 25P02 1", "error 42601 1", "error 42703 1", "lock_timeout 55P03 1"];
    let idle = [
        "idle_in_transaction_timeout 25P03 1",
        "idle_session_timeout 57P05 1",
        "terminated 57P01 1",
    ];
    let mut expected: Vec<&str> = before_analysis.into_iter().chain(idle).collect();
    expected.sort_unstable();
    assert_eq!(unknown, expected);
    // Without the right to see statements, numbers only.
    watcher.run("GRANT pg_monitor TO bob; REVOKE pg_read_all_stats FROM pg_monitor");
    let mut bob = server.connect("bob", "app");
    let masked = "SELECT bool_and(queryid IS NULL) FROM perfmon.errors_since_start() WHERE user_name = 'alice'";
    assert!(bob.val::<bool>(masked));
}

trait AfterRollback {
    fn pid_after_rollback(&mut self) -> i32;
}

impl AfterRollback for Db {
    fn pid_after_rollback(&mut self) -> i32 {
        self.run("ROLLBACK");
        self.pid()
    }
}

#[test]
fn refused_connections_are_counted() {
    let server = Server::manual()
        .conf("max_connections = 8")
        .conf("superuser_reserved_connections = 2")
        .conf("max_wal_senders = 0")
        .start();
    let mut db = server.new_db("app");
    db.run("CREATE ROLE alice LOGIN; CREATE ROLE bob LOGIN CONNECTION LIMIT 0");
    assert_eq!(code_of(&server.try_connect("bob", "app").err().unwrap()), "53300");
    let mut held = Vec::new();
    let refused = loop {
        match server.try_connect("alice", "app") {
            Ok(db) => held.push(db),
            Err(e) => break e,
        }
        assert!(held.len() < 20);
    };
    assert_eq!(code_of(&refused), "53300");
    // And past the reserve, where there is no room even to know who asks.
    let mut supers = Vec::new();
    while let Ok(db) = server.try_connect("postgres", "app") {
        supers.push(db);
        assert!(supers.len() < 20);
    }
    drop((held, supers));
    let refused: i64 = db.val("SELECT sum(errors)::bigint FROM perfmon.errors_since_start() WHERE class = 'refused' AND sqlstate = '53300'");
    assert_eq!(refused, 3, "{:?}", errors(&mut db));
    assert_eq!(db.val::<i64>("SELECT count(*) FROM perfmon.errors_since_start() WHERE lost_ms > 0 AND class = 'refused'"), 0);
}

#[test]
fn capture_is_switched_by_role_database_and_session() {
    let server = Server::manual().start();
    let mut db = server.new_db("app");
    db.run("CREATE ROLE alice LOGIN; CREATE ROLE bob LOGIN; CREATE TABLE t (a int); GRANT ALL ON t TO PUBLIC");
    db.run("CREATE DATABASE quiet");
    db.run("ALTER ROLE bob SET pg_perfmon.capture = off; ALTER DATABASE quiet SET pg_perfmon.capture = off");
    let mut quiet = server.db("quiet");
    quiet.run("CREATE EXTENSION pg_stat_statements; CREATE EXTENSION pg_perfmon; SELECT 1");
    quiet.fails("SELECT 1 / 0");
    assert_eq!(executions(&mut quiet, "true"), 0);
    // That something failed is all that is known of it.
    let unseen = "SELECT class || ' ' || errors FROM perfmon.errors_since_start()";
    assert_eq!(quiet.list::<String>(unseen), ["unseen 1"]);
    let mut bob = server.connect("bob", "app");
    bob.run("SELECT a FROM t");
    bob.fails("SELECT 1 / 0");
    assert_eq!(code_of(&bob.fails("SET pg_perfmon.capture = 'all'")), "42501");
    assert_eq!(executions(&mut db, "user_name = 'bob'"), 0);
    let unseen = format!("{unseen} WHERE user_name = 'bob'");
    assert_eq!(db.list::<String>(&unseen), ["unseen 2"]);
    let mut alice = server.connect("alice", "app");
    alice.run("SELECT a FROM t");
    alice.run("DO 'BEGIN PERFORM a FROM t; END'");
    assert_eq!(executions(&mut db, "user_name = 'alice' AND toplevel"), 2);
    assert_eq!(executions(&mut db, "NOT toplevel"), 0);
    let state: String = quiet.val("SELECT state FROM perfmon.status() WHERE item = 'capture'");
    assert_eq!(state, "warning");
    db.run("ALTER SYSTEM SET log_min_messages = 'fatal'");
    db.run("SELECT pg_reload_conf()");
    wait_until("the setting is there", secs(20), || {
        db.val::<String>("SELECT state FROM perfmon.status() WHERE item = 'capture of errors'")
            == "warning"
    });
}

#[test]
fn without_preloading_nothing_is_claimed() {
    let server = Server::manual().preload("pg_stat_statements").start();
    let mut db = server.new_db("app");
    for function in ["latency_since_start", "errors_since_start"] {
        let error = db.fails(&format!("SELECT * FROM perfmon.{function}()"));
        assert_eq!(code_of(&error), "55000");
        let hint = error.as_db_error().unwrap().hint().unwrap_or_default().to_owned();
        assert!(hint.contains("shared_preload_libraries"), "{hint}");
    }
    let state: String = db.val("SELECT state FROM perfmon.status() WHERE item = 'capture'");
    assert_eq!(state, "warning");
}

#[test]
fn a_full_memory_loses_no_execution() {
    let server = Server::manual().conf("pg_perfmon.max_statements = 100").start();
    let mut db = server.new_db("app");
    db.run("CREATE TABLE t AS SELECT 1 AS a");
    let mut watcher = unseen(&server, "app");
    let text = |i: i32| {
        let columns: Vec<&str> =
            (0..9).map(|bit| if i >> bit & 1 == 1 { "a" } else { "1" }).collect();
        format!("SELECT {} FROM t", columns.join(", "))
    };
    let mut round = 0;
    let folded = |watcher: &mut Db| -> bool {
        watcher.val("SELECT value LIKE '%went into the rest%' AND value NOT LIKE '%; 0 of%' FROM perfmon.status() WHERE item = 'capture memory'")
    };
    // One is hot from the beginning, another becomes so when there is no place any more.
    let (early, late) = (text(511), text(510));
    let ids = [&early, &late].map(|text| watcher.queryid_of(text));
    let start = Instant::now();
    while round < 3
        || !folded(&mut watcher)
        || executions(&mut watcher, &format!("queryid = {}", ids[1])) == 0
    {
        for i in 0..400 {
            db.run(&early);
            db.run(&text(i));
            if round > 0 {
                db.run(&late);
            }
        }
        round += 1;
        assert!(start.elapsed() < secs(120), "nothing was folded, or the new one got no place");
    }
    let by_others: i64 = watcher.val("SELECT sum(calls)::bigint FROM pg_stat_statements WHERE dbid = (SELECT oid FROM pg_database WHERE datname = 'app')");
    assert_eq!(executions(&mut watcher, "true"), by_others);
    assert!(executions(&mut watcher, "rest") > 300);
    assert_eq!(executions(&mut watcher, &format!("queryid = {}", ids[0])), 400 * round);
    let entries: i64 = watcher.val("SELECT count(*) FROM perfmon.latency_since_start()");
    assert!(entries <= 100);
}

#[test]
fn after_kill_9_counting_begins_anew() {
    let server = Server::manual().start();
    let mut db = server.new_db("app");
    for round in 1..=3 {
        let mut victim = server.db("app");
        for _ in 0..100 {
            victim.run("SELECT 1");
        }
        assert!(executions(&mut db, "true") >= 100);
        let pid = victim.pid();
        std::thread::scope(|scope| {
            let running = scope.spawn(|| {
                victim.batch_execute("SELECT count(*) FROM generate_series(1, 1000000000)")
            });
            wait_until("the statement runs", secs(20), || {
                db.val::<bool>(&format!("SELECT query LIKE '%1000000000%' AND state = 'active' FROM pg_stat_activity WHERE pid = {pid}"))
            });
            server.kill_9(pid);
            assert!(running.join().unwrap().is_err());
        });
        server.wait_ready();
        db = server.db("app");
        let left = executions(&mut db, "true");
        assert!(left < 20, "round {round}: {left} executions are left from before the crash");
        db.run("SELECT 1; SELECT 1");
        assert_eq!(executions(&mut db, "executions >= 2 AND p50_ms < 100") % 2, 0);
    }
}

/// Threads that are cancelled, time out and fail wherever they are; then both accounts agree.
#[test]
fn cancels_and_timeouts_leave_counts_right() {
    let server = Server::manual()
        .conf("pg_stat_statements.track = all")
        .conf("pg_perfmon.capture = all")
        .conf("max_connections = 30")
        .start();
    let mut db = server.new_db("app");
    db.run(
        "CREATE TABLE t AS SELECT g AS a FROM generate_series(1, 2000) g;
         CREATE FUNCTION caught(n int) RETURNS int LANGUAGE plpgsql AS $$
         BEGIN
             PERFORM count(*) FROM t;
             BEGIN PERFORM 1 / (n % 2); EXCEPTION WHEN division_by_zero THEN PERFORM pg_sleep(0.001); END;
             RETURN (SELECT max(a) FROM t);
         END $$",
    );
    let seed = seed();
    let until = Instant::now() + secs(6);
    let pids: Vec<(Db, i32)> = (0..4)
        .map(|_| {
            let mut db = server.db("app");
            let pid = db.pid();
            (db, pid)
        })
        .collect();
    let targets: Vec<i32> = pids.iter().map(|p| p.1).collect();
    std::thread::scope(|scope| {
        for (i, (mut db, _)) in pids.into_iter().enumerate() {
            scope.spawn(move || {
                let mut random = Random::new(seed ^ i as u64);
                while Instant::now() < until {
                    let ms = 1 + random.below(12);
                    let _ = db.batch_execute(&format!("SET statement_timeout = {ms}"));
                    let _ = db.batch_execute("SELECT sum(caught(a)) FROM t");
                    let _ = db.batch_execute(
                        "BEGIN; SAVEPOINT s; SELECT sum(caught(a)) FROM t WHERE a < 5",
                    );
                    let _ = db.batch_execute("ROLLBACK TO s; SELECT caught(3), caught(4); COMMIT");
                    let _ = db.batch_execute("ROLLBACK; SET statement_timeout = 0");
                }
            });
        }
        let (server, targets) = (&server, &targets);
        scope.spawn(move || {
            let mut db = unseen(server, "app");
            let mut random = Random::new(!seed);
            while Instant::now() < until {
                let pid = *random.pick(targets);
                let _ =
                    db.batch_execute(&format!("SELECT pg_cancel_backend({pid}), pg_sleep(0.002)"));
            }
        });
    });
    let mut watcher = unseen(&server, "app");
    let wrong = watcher.rows(
        "SELECT s.query, s.toplevel, s.calls, l.executions
         FROM (SELECT r.rolname::text AS user_name, p.* FROM pg_stat_statements p JOIN pg_roles r ON r.oid = p.userid
               WHERE p.dbid = (SELECT oid FROM pg_database WHERE datname = 'app')) s
         FULL JOIN (SELECT * FROM perfmon.latency_since_start() WHERE NOT rest) l USING (user_name, queryid, toplevel)
         WHERE s.calls IS DISTINCT FROM l.executions AND s.query NOT LIKE 'SELECT p.oid%'",
    );
    assert!(wrong.is_empty(), "{wrong:?}");
    let cancelled = errors(&mut watcher);
    assert!(
        cancelled.keys().any(|k| k.1 == "cancelled")
            && cancelled.keys().any(|k| k.1 == "statement_timeout")
    );
}

#[test]
fn percentiles_are_what_the_client_measured() {
    let server = Server::manual().start();
    let mut db = server.new_db("app");
    let statement = db.prepare("SELECT pg_sleep($1)").unwrap();
    let (mut asked, mut measured) = (Vec::new(), Vec::new());
    for i in 0..60 {
        let seconds = if i % 10 == 9 { 0.08 } else { 0.005 + 0.0002 * f64::from(i % 7) };
        let start = Instant::now();
        db.query(&statement, &[&seconds]).unwrap();
        asked.push(Duration::from_secs_f64(seconds));
        measured.push(start.elapsed());
    }
    asked.sort_unstable();
    measured.sort_unstable();
    let row = &db.rows("SELECT p50_ms, p75_ms, p90_ms, p95_ms, p99_ms, max_ms, executions FROM perfmon.latency_since_start() WHERE executions = 60")[0];
    for (i, q) in [0.5, 0.75, 0.9, 0.95, 0.99, 1.0].into_iter().enumerate() {
        let rank = (q * 60.0_f64).ceil() as usize - 1;
        let (least, most) =
            (asked[rank].as_secs_f64() * 950.0, measured[rank].as_secs_f64() * 1050.0);
        let found: f64 = row.get(i);
        assert!(
            (least..=most).contains(&found),
            "quantile {q}: {found} is not between {least} and {most}"
        );
    }
}

#[test]
fn reads_and_parallel_workers() {
    let server = Server::manual().start();
    let mut db = server.new_db("app");
    db.run("CREATE TABLE t WITH (parallel_workers = 2) AS SELECT g AS a, repeat('x', 200) AS b FROM generate_series(1, 20000) g; ANALYZE t; CHECKPOINT");
    server.restart();
    let mut db = server.db("app");
    db.run("SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0");
    let query = "SELECT count(*) FROM t WHERE length(b) > 3";
    let plan = db.texts(&format!("EXPLAIN {query}"));
    assert!(plan.iter().any(|row| row[0].as_deref().unwrap_or_default().contains("Gather")));
    let id = db.queryid_of(query);
    for _ in 0..10 {
        db.run(query);
    }
    assert_eq!(executions(&mut db, &format!("queryid = {id}")), 10, "workers are not counted");
    let row = &db.rows(&format!("SELECT read_executions, cached_p50_ms, read_p50_ms FROM perfmon.latency_since_start() WHERE queryid = {id}"))[0];
    let reads: i64 = row.get(0);
    assert!((1..10).contains(&reads), "{reads} of 10 executions read blocks");
    assert!(row.get::<_, Option<f64>>(1).is_some() && row.get::<_, Option<f64>>(2).is_some());
}

#[test]
fn a_backend_does_not_grow() {
    let server = Server::manual().conf("pg_perfmon.capture = all").start();
    let mut db = server.new_db("app");
    db.run("CREATE TABLE t AS SELECT 1 AS a");
    let mut app = server.db("app");
    let pid = app.pid();
    let resident = || -> u64 {
        let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let line = text.lines().find(|l| l.starts_with("RssAnon:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    };
    let work = "DO $$ DECLARE n int; BEGIN FOR i IN 1..50000 LOOP SELECT a INTO n FROM t; \
        IF i % 10 = 0 THEN BEGIN PERFORM 1 / 0; EXCEPTION WHEN OTHERS THEN NULL; END; END IF; END LOOP; END $$";
    app.run(work);
    let before = resident();
    for _ in 0..4 {
        app.run(work);
    }
    let after = resident();
    assert!(after < before + 1024, "{before} kB became {after} kB over 220,000 statements");
    assert!(executions(&mut db, "NOT toplevel") >= 250_000);
}
