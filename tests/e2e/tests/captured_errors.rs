//! Errors in the history: each as the client saw it, through restarts and crashes, told from what is not known.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;

use perfmon_e2e::{Db, Random, Server, Stop, code_of, message_of, secs, seed, wait_until};

const CAPTURE_OFF: &str = "SET pg_perfmon.capture = 'off'";

/// How much was executed with capture off.
const UNCOUNTED: &str =
    "coalesce((SELECT sum(statements) FROM perfmon.route_history() WHERE bucket = 254), 0)";

/// A session that is not counted itself.
fn unseen(server: &Server, role: &str, database: &str) -> Db {
    let mut db = server.connect(role, database);
    db.run(CAPTURE_OFF);
    db
}

/// What a client did and saw.
#[derive(Default, PartialEq, Eq, Debug)]
struct Seen {
    executions: i64,
    /// By class and SQLSTATE.
    failures: BTreeMap<(String, String), i64>,
}

/// Statements, whether each is counted as an execution when it succeeds, and the class of its error.
const STATEMENTS: &[(&str, i64, &str)] = &[
    ("SELECT a FROM t WHERE a = 1", 1, ""),
    ("SELECT a FROM t WHERE a = 2 /*route='two'*/", 1, ""),
    ("UPDATE t SET b = b + 1 WHERE a = 1", 1, ""),
    ("SELECT 1; SELECT 2 AS b", 2, ""),
    ("BEGIN; SELECT a FROM t; COMMIT", 1, ""),
    ("BEGIN; SAVEPOINT s; ROLLBACK TO s; RELEASE s; ROLLBACK", 0, ""),
    ("SET work_mem = '4MB'; RESET work_mem", 0, ""),
    ("DISCARD PLANS", 0, ""),
    ("SHOW work_mem", 1, ""),
    ("DO 'BEGIN PERFORM 1 / 0; EXCEPTION WHEN OTHERS THEN NULL; END'", 1, ""),
    ("SELECT 1 / 0", 0, "error"),
    ("INSERT INTO t VALUES (1, 1)", 0, "error"),
    ("SELEKT", 0, "error"),
    ("SELECT nothing FROM t", 0, "error"),
    ("SELECT 3 AS c; SELECT a / 0 FROM t", 1, "error"),
    ("DO $$ BEGIN RAISE 'x' USING ERRCODE = 'AB123'; END $$", 0, "error"),
    ("SET statement_timeout = '50ms'; SELECT pg_sleep(30)", 0, "statement_timeout"),
    ("SELECT pg_cancel_backend(pg_backend_pid()), pg_sleep(30)", 0, "cancelled"),
];

fn work(db: &mut Db, random: &mut Random, seen: &mut Seen, rounds: usize) {
    for _ in 0..rounds {
        let (sql, executions, class) = random.pick(STATEMENTS);
        let result = db.batch_execute(sql);
        let code = result.err().map(|e| code_of(&e));
        assert_eq!(code.is_none(), class.is_empty(), "{sql}: {code:?}");
        seen.executions += executions;
        if let Some(code) = code {
            *seen.failures.entry(((*class).to_owned(), code)).or_default() += 1;
        }
        if sql.starts_with("SET statement_timeout") {
            db.run("SET statement_timeout = 0");
        }
    }
}

fn kept(db: &mut Db) -> Seen {
    let rows = db.rows(
        "SELECT class, sqlstate, sum(errors)::bigint FROM perfmon.errors() WHERE user_name = 'alice' GROUP BY 1, 2",
    );
    Seen {
        // Without those of sessions like this one.
        executions: db.val(&format!(
            "SELECT (coalesce(sum(executions), 0) - {UNCOUNTED})::bigint FROM perfmon.error_series()"
        )),
        failures: rows.iter().map(|r| ((r.get(0), r.get(1)), r.get(2))).collect(),
    }
}

#[test]
fn errors_are_kept_as_the_client_saw_them() {
    let server = Server::manual().start();
    server.new_db("app").run(
        "CREATE ROLE alice LOGIN; CREATE TABLE t (a int PRIMARY KEY, b int); INSERT INTO t VALUES (1, 1), (2, 2);
         GRANT ALL ON t TO alice",
    );
    let (mut random, mut seen) = (Random::new(seed()), Seen::default());
    let mut watcher = unseen(&server, "postgres", "app");
    let mut alice = server.connect("alice", "app");
    watcher.snapshot();
    // What the set-up did may be in the first interval or before it.
    seen.executions = kept(&mut watcher).executions;
    for _ in 0..4 {
        let rounds = 40 + random.below(60);
        work(&mut alice, &mut random, &mut seen, rounds);
        watcher.snapshot();
        assert_eq!(kept(&mut watcher), seen);
    }
    let ratio = format!(
        "SELECT sum(errors)::float8 / (sum(executions + errors + cancellations) - {UNCOUNTED})::float8 FROM perfmon.error_series()"
    );
    let errors: i64 = seen.failures.iter().filter(|f| f.0.0 != "cancelled").map(|f| f.1).sum();
    let cancelled: i64 = seen.failures.iter().filter(|f| f.0.0 == "cancelled").map(|f| f.1).sum();
    #[allow(clippy::cast_precision_loss)]
    let expected = errors as f64 / (seen.executions + errors + cancelled) as f64;
    assert!((watcher.val::<f64>(&ratio) - expected).abs() < 1e-9);
    // The statement and the condition are known where the server knows them.
    let named: Vec<String> = watcher.list(
        "SELECT concat_ws(' ', sqlstate, condition, query) FROM perfmon.errors() WHERE class = 'error' ORDER BY sqlstate, query",
    );
    let begins = |start: &str| named.iter().any(|line| line.starts_with(start));
    assert!(begins("22012 division_by_zero") && begins("23505 unique_violation"), "{named:#?}");
    assert!(begins("42601 syntax_error") && begins("AB123"), "{named:#?}");
    let lost: f64 =
        watcher.val("SELECT sum(lost_ms) FROM perfmon.errors() WHERE class = 'statement_timeout'");
    #[allow(clippy::cast_precision_loss)]
    let least = seen.failures[&("statement_timeout".into(), "57014".into())] as f64 * 49.0;
    assert!(lost >= least, "{lost} of {least}");
    let recent: bool = watcher.val("SELECT bool_and(last_seen BETWEEN now() - interval '10 minutes' AND now()) FROM perfmon.errors()");
    assert!(recent);

    // A restart begins anew: what came after the last snapshot is lost, and said to be.
    drop((alice, watcher));
    server.restart();
    let mut watcher = unseen(&server, "postgres", "app");
    let mut alice = server.connect("alice", "app");
    work(&mut alice, &mut random, &mut seen, 50);
    watcher.snapshot();
    assert_eq!(kept(&mut watcher), seen);
    let gap = "SELECT count(*) FROM perfmon.gaps() WHERE kind = 'reset' AND subject IN ('failure', 'route')";
    assert_eq!(watcher.val::<i64>(gap), 2);
    // So does a crash.
    server.expect_crash();
    let pid = alice.pid();
    seen.executions += 1;
    watcher.snapshot();
    assert_eq!(kept(&mut watcher), seen);
    server.kill_9(pid);
    drop((alice, watcher));
    server.wait_ready();
    let mut watcher = unseen(&server, "postgres", "app");
    let mut alice = server.connect("alice", "app");
    work(&mut alice, &mut random, &mut seen, 50);
    watcher.snapshot();
    assert_eq!(kept(&mut watcher), seen);
    assert_eq!(watcher.val::<i64>(gap), 4);
    server.stop(Stop::Fast);
}

#[test]
fn refused_connections_are_in_the_home_database() {
    let server = Server::manual()
        .conf("max_connections = 8")
        .conf("superuser_reserved_connections = 2")
        .conf("max_wal_senders = 0")
        .start();
    let mut home = server.new_db("app");
    let mut other = server.new_db("other");
    home.run(CAPTURE_OFF);
    other.run(CAPTURE_OFF);
    for db in [&mut home, &mut other] {
        db.snapshot();
    }
    let mut held = Vec::new();
    while let Ok(db) = server.try_connect("postgres", "app") {
        held.push(db);
        assert!(held.len() < 20);
    }
    drop(held);
    for db in [&mut home, &mut other] {
        db.snapshot();
    }
    let refused = "SELECT coalesce(sum(errors), 0)::bigint FROM perfmon.errors() WHERE class = 'refused' AND condition = 'too_many_connections'";
    assert_eq!((home.val::<i64>(refused), other.val::<i64>(refused)), (1, 0));
    let series = "SELECT sum(refused)::bigint FROM perfmon.error_series()";
    assert_eq!((home.val::<i64>(series), other.val::<i64>(series)), (1, 0));
    let failed = "SELECT count(*) FROM perfmon.error_series() WHERE error_ratio > 0";
    assert_eq!(home.val::<i64>(failed), 0, "no statement failed");
}

#[test]
fn what_is_not_counted_is_not_zero() {
    let server = Server::manual().preload("pg_stat_statements").start();
    let (mut db, notices) = server.noticing("postgres");
    db.run("CREATE EXTENSION pg_stat_statements; CREATE EXTENSION pg_perfmon");
    for _ in 0..3 {
        db.snapshot();
        db.fails("SELECT 1 / 0");
    }
    let known = "SELECT count(errors) + count(executions) + count(deadlocks) + count(error_ratio) FROM perfmon.error_series()";
    for query in
        ["SELECT count(*) FROM perfmon.errors()", "SELECT count(*) FROM perfmon.routes()", known]
    {
        notices.lock().unwrap().clear();
        assert_eq!(db.val::<i64>(query), 0, "{query}");
        let said = notices.lock().unwrap().join("\n");
        assert!(said.contains("shared_preload_libraries"), "{query}: {said}");
    }
    assert!(db.val::<i64>("SELECT count(rollbacks) FROM perfmon.error_series()") > 0);

    let server = Server::manual().start();
    let mut db = server.new_db("app");
    let mut watcher = unseen(&server, "postgres", "app");
    watcher.snapshot();
    let reload = |db: &mut Db, name: &str, value: &str| {
        db.run(&format!("ALTER SYSTEM SET {name} = {value}"));
        db.run("SELECT pg_reload_conf()");
        let value = value.trim_matches('\'').to_owned();
        wait_until("the setting is there", secs(20), || {
            db.val_with::<String>("SELECT reset_val FROM pg_settings WHERE name = $1", &[&name])
                == value
        });
    };
    // The server keeps errors from the hook.
    reload(&mut watcher, "log_min_messages", "'fatal'");
    db.fails("SELECT 1 / 0");
    watcher.snapshot();
    let series = "SELECT sum(executions)::bigint, sum(errors)::bigint, max(error_ratio), sum(deadlocks)::bigint FROM perfmon.error_series()";
    let row = &watcher.rows(series)[0];
    assert!(row.get::<_, Option<i64>>(0).is_some());
    assert_eq!(
        (row.get::<_, Option<i64>>(1), row.get::<_, Option<f64>>(2), row.get::<_, Option<i64>>(3)),
        (None, None, None)
    );
    // Capture is off: a gap, and nothing of it comes later.
    reload(&mut watcher, "log_min_messages", "'warning'");
    watcher.snapshot();
    reload(&mut watcher, "pg_perfmon.capture", "'off'");
    wait_until("the session is not counted", secs(20), || {
        db.val::<String>("SHOW pg_perfmon.capture") == "off"
    });
    for _ in 0..3 {
        db.fails("SELECT 1 / 0");
        watcher.snapshot();
    }
    let gaps =
        "SELECT count(*) FROM perfmon.gaps() WHERE kind = 'disabled' AND subject = 'failure'";
    assert_eq!(watcher.val::<i64>(gaps), 1, "one gap, as long as it lasts");
    reload(&mut watcher, "pg_perfmon.capture", "'top'");
    wait_until("the session is counted", secs(20), || {
        db.val::<String>("SHOW pg_perfmon.capture") == "top"
    });
    db.fails("SELECT 1 / 0");
    watcher.snapshot();
    let errors =
        "SELECT coalesce(sum(errors), 0)::bigint FROM perfmon.errors() WHERE sqlstate = '22012'";
    assert_eq!(watcher.val::<i64>(errors), 1);
}

#[test]
fn autovacuum_that_gives_way_is_counted_with_its_table() {
    let server = Server::manual()
        .conf("autovacuum_naptime = '1s'")
        .conf("deadlock_timeout = '50ms'")
        .start();
    // Of a database that is there from the start, autovacuum knows at once.
    let mut db = server.db("postgres");
    db.run(CAPTURE_OFF);
    db.run(
        "CREATE EXTENSION pg_stat_statements; CREATE EXTENSION pg_perfmon;
         CREATE TABLE big WITH (autovacuum_vacuum_cost_delay = 100, autovacuum_vacuum_cost_limit = 1) AS SELECT g AS a, repeat('x', 200) AS b FROM generate_series(1, 20000) g;
         DELETE FROM big WHERE a % 2 = 0",
    );
    db.snapshot();
    wait_until("autovacuum is at it", secs(120), || {
        db.val::<bool>(
            "SELECT EXISTS (SELECT FROM pg_stat_progress_vacuum p JOIN pg_stat_activity a USING (pid)
             WHERE p.relid = 'big'::regclass AND a.backend_type = 'autovacuum worker')",
        )
    });
    db.run("BEGIN; LOCK TABLE big IN ACCESS EXCLUSIVE MODE; COMMIT");
    let given_up = "SELECT table_name FROM perfmon.errors() WHERE class = 'autovacuum_cancelled'";
    wait_until("it is counted", secs(60), || {
        db.snapshot();
        db.list::<String>(given_up) == ["public.big"]
    });
    let other =
        "SELECT coalesce(sum(errors) + sum(cancellations), 0)::bigint FROM perfmon.error_series()";
    assert_eq!(db.val::<i64>(other), 0, "no client saw it");
    assert!(
        db.val::<i64>("SELECT sum(autovacuum_cancelled)::bigint FROM perfmon.error_series()") > 0
    );
}

/// Our functions keep their own statements out of the counts, but an error in one is one of the client's.
#[test]
fn errors_in_our_own_functions_count() {
    for capture in ["all", "off"] {
        let server = Server::manual().conf("pg_perfmon.lock_timeout = 100").start();
        let mut db = server.new_db("app");
        db.run("SELECT perfmon.snapshot()");
        db.run(&format!("ALTER DATABASE app SET pg_perfmon.capture = '{capture}'"));
        let mut holder = server.db("app");
        holder.run("BEGIN; LOCK TABLE perfmon.change IN ACCESS EXCLUSIVE MODE");
        let mut client = server.db("app");
        let error = client.fails("SELECT perfmon.mark_change('release 7')");
        assert_eq!(code_of(&error), "55P03", "{}", message_of(&error));
        holder.run("ROLLBACK");
        let counted: i64 = db.val(
            "SELECT coalesce(sum(errors), 0)::bigint FROM perfmon.errors_since_start()
             WHERE class = 'lock_timeout' AND sqlstate = '55P03' AND user_name = 'postgres'",
        );
        assert_eq!(counted, i64::from(capture == "all"), "capture = {capture}");
        let nested: bool =
            db.val("SELECT coalesce(bool_or(NOT toplevel), false) FROM perfmon.latency_since_start() WHERE NOT rest");
        assert!(!nested, "our own statements");
    }
}
