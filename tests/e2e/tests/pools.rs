//! Pools at their limits, with real clients: each limit is found with its numbers, its cause and who holds it, and the
//! finding goes when the clients do.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use perfmon_e2e::{Builder, Db, Found, Server, Stop, WINDOW, code_of, secs, wait_until};

#[path = "pools/churn.rs"]
mod churn;
#[path = "pools/quiet.rs"]
mod quiet;
#[path = "pools/refused.rs"]
mod refused;
#[path = "pools/renamed.rs"]
mod renamed;
#[path = "pools/stalled.rs"]
mod stalled;
#[path = "pools/standby.rs"]
mod standby;
#[path = "pools/starting.rs"]
mod starting;

/// Samples ten times a second; snapshots and evaluations by call.
fn sampled() -> Builder {
    Server::manual().conf("pg_perfmon.activity_interval = '100ms'").conf("max_wal_senders = 0")
}

/// Now, as a text.
fn now(db: &mut Db) -> String {
    db.val("SELECT clock_timestamp()::text")
}

/// Two intervals of at least three samples each, then a judgement.
fn two_intervals(db: &mut Db) -> Vec<Found> {
    db.sampled_intervals(2, 3);
    db.evaluate()
}

fn of<'a>(found: &'a [Found], kind: &str, object: &str) -> Option<&'a Found> {
    found.iter().find(|f| f.kind == kind && f.object == object)
}

#[track_caller]
fn the<'a>(found: &'a [Found], kind: &str, object: &str) -> &'a Found {
    let heads: Vec<String> = found.iter().map(Found::head).collect();
    of(found, kind, object).unwrap_or_else(|| panic!("no {kind} of {object} in {heads:#?}"))
}

/// One value of one row of pool_saturation.
fn saturation<T: for<'a> postgres::types::FromSql<'a>>(db: &mut Db, value: &str, whose: &str) -> T {
    db.val(&format!("SELECT {value} FROM perfmon.pool_saturation({WINDOW}) WHERE {whose}"))
}

fn named(server: &Server, role: &str, database: &str, application: &str) -> Db {
    let mut db = server.connect(role, database);
    db.run(&format!("SET application_name = '{application}'"));
    db
}

#[test]
fn a_role_at_its_limit_is_found_with_its_holder_and_clears() {
    let server = sampled().conf("max_connections = 60").start();
    let mut db = server.new_db("app");
    db.run(
        "CREATE ROLE web LOGIN CONNECTION LIMIT 10; CREATE TABLE t (a int); GRANT ALL ON t TO web",
    );
    db.snapshot();
    let mut held: Vec<Db> = (0..9).map(|_| named(&server, "web", "app", "leaky")).collect();
    held.push(named(&server, "web", "app", "worker"));
    let refused = server.try_connect("web", "app").err().unwrap();
    assert_eq!(code_of(&refused), "53300");
    for one in held.iter_mut().take(7) {
        one.run("BEGIN; INSERT INTO t VALUES (1)");
    }
    let found = two_intervals(&mut db);
    let full = the(&found, "pool_saturation", "role web");
    assert_eq!(full.severity, "critical", "{}", full.head());
    assert_eq!(full.title, "Role web: 10 of 10 connections in use (100 %)");
    let cause = full.cause.as_deref().unwrap();
    assert!(cause.starts_with("9 are held by leaky (user web, database app)"), "{cause}");
    assert!(full.evidence.contains("\"client\""), "{}", full.evidence);
    let refused = the(&found, "connections_refused", "role web");
    assert_eq!(refused.title, "Role web: 1 connection was refused: the role has as many as it may");
    assert_eq!(refused.subject, "role_limit");
    assert!(of(&found, "pool_saturation", "server").is_none());

    let leaky = "level = 'pool' AND application = 'leaky'";
    let user = "level = 'user' AND user_name = 'web'";
    assert_eq!(saturation::<String>(&mut db, "limited_by", leaky), "role");
    assert_eq!(saturation::<i32>(&mut db, "connections_limit", leaky), 10);
    assert_eq!(saturation::<i32>(&mut db, "open_now", leaky), 9);
    assert_eq!(saturation::<i32>(&mut db, "in_transaction_now", leaky), 7);
    assert_eq!(saturation::<i32>(&mut db, "open_peak", user), 10);
    assert_eq!(saturation::<f64>(&mut db, "headroom", leaky), 0.0);
    assert_eq!(saturation::<String>(&mut db, "saturation", leaky), "critical");
    assert_eq!(saturation::<i64>(&mut db, "refused_role_limit", user), 1);
    assert_eq!(saturation::<i64>(&mut db, "refused", "level = 'server'"), 1);
    assert_eq!(saturation::<i32>(&mut db, "server_limit", leaky), 57);
    assert!(saturation::<bool>(&mut db, "hours_to_exhaustion IS NULL", leaky));
    let report: String = db.val(&format!("SELECT perfmon.report({WINDOW})"));
    assert!(report.contains("## Connections") && report.contains("leaky"), "{report}");

    drop(held);
    wait_until("the clients are gone", secs(20), || {
        db.val::<i64>("SELECT count(*) FROM pg_stat_activity WHERE usename = 'web'") == 0
    });
    let found = two_intervals(&mut db);
    for kind in ["pool_saturation", "connections_refused"] {
        assert!(of(&found, kind, "role web").is_none(), "{kind}");
    }
    // What was is still told of the window.
    assert_eq!(saturation::<i64>(&mut db, "refused_role_limit", user), 1);
    assert_eq!(saturation::<i32>(&mut db, "open_peak", user), 10);
}

#[test]
fn limits_of_database_server_and_reserve_are_told_apart() {
    let server =
        sampled().conf("max_connections = 12").conf("superuser_reserved_connections = 2").start();
    let mut db = server.new_db("app");
    db.run("CREATE DATABASE small CONNECTION LIMIT 3");
    db.run("CREATE ROLE alice LOGIN");
    db.snapshot();
    let mut held: Vec<Db> = (0..3).map(|_| server.connect("alice", "small")).collect();
    assert_eq!(code_of(&server.try_connect("alice", "small").err().unwrap()), "53300");
    // The rest of what is not reserved, then a reserved one, then none at all.
    while let Ok(one) = server.try_connect("alice", "app") {
        held.push(one);
        assert!(held.len() < 20);
    }
    let mut supers = Vec::new();
    while let Ok(one) = server.try_connect("postgres", "app") {
        supers.push(one);
        assert!(supers.len() < 20);
    }
    let found = two_intervals(&mut db);
    assert_eq!(the(&found, "pool_saturation", "database small").severity, "critical");
    let full = the(&found, "pool_saturation", "server");
    assert_eq!(full.title, "Server: 10 of 10 connections in use (100 %)");
    let subjects: Vec<&str> = found
        .iter()
        .filter(|f| f.kind == "connections_refused")
        .map(|f| f.subject.as_str())
        .collect();
    for cause in ["database_limit", "reserved", "too_many_clients"] {
        assert!(subjects.contains(&cause), "{cause} in {subjects:?}");
    }
    the(&found, "connections_refused", "database small");
    let counts: Vec<Vec<Option<String>>> = db.texts(&format!(
        "SELECT refused, refused_too_many_clients, refused_reserved, refused_role_limit, refused_database_limit
         FROM perfmon.pool_saturation({WINDOW}) WHERE level = 'server'"
    ));
    let counts: Vec<&str> = counts[0].iter().map(|n| n.as_deref().unwrap()).collect();
    assert_eq!(counts, ["3", "1", "1", "0", "1"]);
    let small = "level = 'database' AND database_name = 'small'";
    assert_eq!(saturation::<i64>(&mut db, "refused_database_limit", small), 1);
    assert_eq!(saturation::<i32>(&mut db, "database_limit", small), 3);
    drop((held, supers));
    wait_until("the clients are gone", secs(20), || {
        db.val::<i64>("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'")
            == 1
    });
    let found = two_intervals(&mut db);
    let left: Vec<String> = found.iter().filter(|f| f.is_loud()).map(Found::head).collect();
    assert!(!left.iter().any(|f| f.contains("connection")), "{left:?}");
    // The server counts the one that was turned away as if it had lasted since the year 2000.
    let counted: f64 = db.val("SELECT session_time FROM pg_stat_database WHERE datname = 'small'");
    let told: Vec<bool> = db.list(&format!(
        "SELECT coalesce(session_ms, 0) < 24 * 3.6e6 FROM perfmon.pool_saturation({WINDOW}) WHERE level <> 'pool'
         UNION ALL SELECT coalesce(counted_open_avg, 0) < 100 FROM perfmon.pool_activity({WINDOW})
         UNION ALL SELECT coalesce(session_ms, 0) < 24 * 3.6e6 FROM perfmon.database_history()"
    ));
    assert!(told.len() > 6 && told.iter().all(|sound| *sound), "{told:?}");
    // Where it does, an interval is marked.
    let marked: i64 = db.val(
        "SELECT count(*) FROM perfmon.database_history() WHERE session_ms IS NULL
             AND database_name = 'small' AND quality = 'lower bound'",
    );
    assert_eq!(marked > 0, counted > 365.0 * 24.0 * 3.6e6, "{marked} {counted}");
}

#[test]
fn a_declared_pool_is_full_when_it_is_busy() {
    let server = sampled().start();
    let mut db = server.new_db("app");
    db.run("CREATE ROLE web LOGIN");
    db.snapshot();
    for (call, code) in [
        ("declare_pool('x', 0, username => 'web')", "22023"),
        ("declare_pool('x', 5)", "22023"),
        ("declare_pool('', 5, username => 'web')", "22023"),
        ("drop_pool('x')", "42704"),
    ] {
        assert_eq!(code_of(&db.fails(&format!("SELECT perfmon.{call}"))), code, "{call}");
    }
    db.run("SELECT perfmon.declare_pool('web', 4, username => 'web', application => 'shop')");
    let taken = db.fails("SELECT perfmon.declare_pool('web', 4, username => 'web')");
    assert_eq!(code_of(&taken), "42710");
    let mut held: Vec<Db> = (0..4).map(|_| named(&server, "web", "app", "shop")).collect();
    let object = "pool shop (user web, database app)";
    let found = two_intervals(&mut db);
    assert!(of(&found, "pool_saturation", object).is_none(), "four that idle are no full pool");
    for one in &mut held {
        one.run("BEGIN");
    }
    // The time in which they idled belongs to another interval.
    db.snapshot();
    let since = now(&mut db);
    let found = two_intervals(&mut db);
    let full = the(&found, "pool_saturation", object);
    assert_eq!(full.title, "Pool shop (user web, database app): 4 of 4 connections busy (100 %)");
    let pool = "level = 'pool' AND application = 'shop'";
    assert_eq!(saturation::<String>(&mut db, "pool_limit_from", pool), "declared");
    assert_eq!(saturation::<String>(&mut db, "limited_by", pool), "declared");
    let why: String =
        db.val(&format!("SELECT cause FROM perfmon.why_queued('{since}', now()) WHERE {pool}"));
    assert_eq!(why, "client");
    for one in &mut held {
        one.run("COMMIT");
    }
    let found = two_intervals(&mut db);
    assert!(of(&found, "pool_saturation", object).is_none());
    db.run("SELECT perfmon.drop_pool('web')");
    assert!(saturation::<bool>(&mut db, "pool_limit_from IS DISTINCT FROM 'declared'", pool));
}

#[test]
fn a_hundred_idle_pooled_sessions_are_no_trouble() {
    let server = sampled().conf("max_connections = 150").start();
    let mut db = server.new_db("app");
    db.run("CREATE ROLE web LOGIN");
    db.set_thresholds(&[("pool_size_samples", 20.0)]);
    db.snapshot();
    let held: Vec<Db> = (0..100).map(|_| named(&server, "web", "app", "shop")).collect();
    let since = now(&mut db);
    for _ in 0..3 {
        let found = two_intervals(&mut db);
        // Servers of these tests run without fsync, which is told.
        let loud = found.iter().filter(|f| f.is_loud() && f.kind != "setting_fsync");
        assert_eq!(loud.map(Found::head).collect::<Vec<String>>(), Vec::<String>::new());
    }
    let pool = "level = 'pool' AND application = 'shop'";
    let row: Vec<Vec<Option<String>>> = db.texts(&format!(
        "SELECT advised_size, current_size, connections_freed, over_provision_factor >= 90, change
         FROM perfmon.pool_size_advice('{since}', now()) WHERE {pool}"
    ));
    let row: Vec<&str> = row[0].iter().map(|cell| cell.as_deref().unwrap_or("")).collect();
    assert_eq!(row[..4], ["1", "100", "99", "t"], "{row:?}");
    assert!(row[4].starts_with("Set the pool to 1"), "{row:?}");
    drop(held);
}

#[test]
fn a_chain_of_locks_is_the_cause_and_its_head_is_named() {
    let server = sampled().start();
    let mut db = server.new_db("app");
    db.run("CREATE ROLE web LOGIN; CREATE TABLE t (a int); INSERT INTO t VALUES (1); GRANT ALL ON t TO web");
    db.snapshot();
    let mut holder = named(&server, "web", "app", "batch");
    let pid = holder.pid();
    let holds = db.queryid_of("UPDATE t SET a = 2");
    holder.run("BEGIN");
    holder.run("UPDATE t SET a = 2");
    let mut waiters: Vec<Db> = (0..4).map(|_| named(&server, "web", "app", "shop")).collect();
    std::thread::scope(|scope| {
        for one in &mut waiters {
            // Whatever becomes of the test, they end.
            scope.spawn(|| one.run("SET lock_timeout = '60s'; UPDATE t SET a = 3"));
        }
        wait_until("all wait", secs(20), || {
            db.val::<i64>("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
                == 4
        });
        let since = now(&mut db);
        // Locks are looked at once a second, however often sessions are.
        wait_until("locks were looked at since", secs(20), || {
            db.snapshot();
            db.val(&format!("SELECT count(*) = 4 FROM perfmon.blocking('{since}', now())"))
        });
        two_intervals(&mut db);
        let until = now(&mut db);
        let why: Vec<Vec<Option<String>>> = db.texts(&format!(
            "SELECT cause, detail FROM perfmon.why_queued('{since}', now()) WHERE level = 'server'"
        ));
        let why: Vec<&str> = why[0].iter().map(|cell| cell.as_deref().unwrap()).collect();
        assert_eq!(why[0], "lock", "{why:?}");
        assert!(
            why[1].contains(&format!("process {pid} of batch (idle in transaction")),
            "{why:?}"
        );
        let statement: i32 = db.val(&format!(
            "SELECT statement_id FROM perfmon.statement WHERE queryid = {holds} AND user_name = 'web'"
        ));
        assert!(why[1].contains(&format!("after statement {statement})")), "{why:?}");
        assert!(why[1].contains("4 behind it since 20"), "{why:?}");
        // The same of the pool that waits, some time later, when it is over; the holder's own waits for nobody.
        holder.run("COMMIT");
        wait_until("nobody waits", secs(20), || {
            db.val::<i64>("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
                == 0
        });
        let evidence = |metric: &str| {
            format!(
                "(SELECT e ->> 'value' FROM jsonb_array_elements(evidence) e WHERE e ->> 'metric' = '{metric}')"
            )
        };
        let head = db.texts(&format!(
            "SELECT cause, {}, {}, {}, {}, {}, {}::timestamptz <= '{since}'
             FROM perfmon.why_queued('{since}', '{until}') WHERE level = 'pool' AND application = 'shop'",
            evidence("lock_head_pid"),
            evidence("lock_head_application"),
            evidence("lock_head_user"),
            evidence("lock_head_statement_id"),
            evidence("sessions_behind_head"),
            evidence("lock_head_since"),
        ));
        let head: Vec<&str> = head[0].iter().map(|cell| cell.as_deref().unwrap_or("")).collect();
        let (pid, statement) = (pid.to_string(), statement.to_string());
        assert_eq!(head, ["lock", &pid, "batch", "web", &statement, "4", "t"]);
    });
    let others: i64 = db.val(&format!(
        "SELECT count(*) FROM perfmon.why_queued({WINDOW}) WHERE application = 'batch' AND cause = 'lock'"
    ));
    assert_eq!(others, 0);
}

#[test]
fn a_leak_is_forecast_from_its_course() {
    let server = sampled().conf("max_connections = 60").start();
    let mut db = server.new_db("app");
    db.run("CREATE ROLE web LOGIN CONNECTION LIMIT 50");
    db.snapshot();
    let since = now(&mut db);
    let mut held = Vec::new();
    // Two more in each of twenty intervals.
    for _ in 0..20 {
        held.extend((0..2).map(|_| server.connect("web", "app")));
        db.run("SELECT pg_sleep(0.3)");
        db.snapshot();
    }
    let hours = |db: &mut Db| -> Option<f64> {
        db.val(&format!(
            "SELECT hours_to_exhaustion FROM perfmon.pool_saturation('{since}', now())
             WHERE level = 'user' AND user_name = 'web'"
        ))
    };
    let left = hours(&mut db).expect("a forecast");
    // Ten are left, of which two come with each interval of some 0.4 s.
    assert!(left > 0.0 && left < 60.0 / 3600.0, "{left}");
    drop(held);
}

/// Recovery waits for what it asks an archive for, so that the server starts for as long as the test wants.
#[test]
fn connections_while_the_server_starts_are_refused_for_that() {
    let server = sampled().start();
    let mut db = server.new_db("app");
    db.sampled_intervals(1, 3);
    drop(db);
    server.stop(Stop::Fast);
    let (go, signal) = (server.dir().join("go"), server.data().join("recovery.signal"));
    let asked = format!("until test -e {}; do sleep 0.05; done; false", go.display());
    // Nor does it let anybody read before it has what it asked for.
    server.append_conf(&[format!("restore_command = '{asked}'"), "hot_standby = off".to_owned()]);
    server.programs.run("touch", &[signal.to_str().unwrap()]).success();
    server.begin_start();
    // Whether it took one; before there is a socket, nobody refuses.
    let taken = |refused: &mut i64| match server.try_connect("postgres", "app") {
        Ok(_) => true,
        Err(error) => {
            *refused += i64::from(code_of(&error) == "57P03");
            false
        }
    };
    let mut refused = 0;
    wait_until("some were refused", secs(60), || {
        assert!(!taken(&mut refused), "it was to wait");
        refused >= 3
    });
    std::fs::write(go, "").unwrap();
    wait_until("it takes connections", secs(60), || taken(&mut refused));
    // Told with the first snapshot.
    let mut db = server.db("app");
    db.snapshot();
    let found = db.evaluate();
    let told = the(&found, "connections_refused", "server");
    assert_eq!((told.subject.as_str(), told.severity.as_str()), ("starting_up", "info"));
    let title =
        format!("Server: {refused} connections were refused: the server was starting or stopping");
    assert_eq!(told.title, title);
    let all: i64 = saturation(&mut db, "refused_starting_up", "level = 'server'");
    assert_eq!(all, refused);
    let found = two_intervals(&mut db);
    assert!(of(&found, "connections_refused", "server").is_none());
}

#[test]
fn what_sessions_do_not_tell_is_unknown() {
    let server = sampled().start();
    let mut db = server.new_db("app");
    db.run("CREATE ROLE dark LOGIN; ALTER ROLE dark SET track_activities = off");
    db.set_thresholds(&[("pool_size_samples", 3.0)]);
    db.snapshot();
    let held: Vec<Db> = (0..4).map(|_| server.connect("dark", "app")).collect();
    let since = now(&mut db);
    two_intervals(&mut db);
    let dark = "level = 'user' AND user_name = 'dark'";
    let row = db.texts(&format!(
        "SELECT open_peak, busy_avg, busy_peak, active_avg, idle_p95, on_lock_avg, hidden_avg = open_avg
         FROM perfmon.pool_activity('{since}', now(), '1 hour') WHERE {dark}"
    ));
    let told: Vec<Option<&str>> = row[0].iter().map(Option::as_deref).collect();
    assert_eq!(told, [Some("4"), None, None, None, None, None, Some("t")]);
    let row = db.texts(&format!(
        "SELECT s.open_now, s.idle_now, s.active_peak, a.advised_size, a.quality
         FROM perfmon.pool_saturation('{since}', now()) s
         JOIN perfmon.pool_size_advice('{since}', now()) a USING (level, user_name)
         WHERE level = 'user' AND user_name = 'dark'"
    ));
    let told: Vec<Option<&str>> = row[0].iter().map(Option::as_deref).collect();
    assert_eq!(told, [Some("4"), None, None, None, Some("states are hidden")]);
    drop(held);
}

#[test]
fn a_declared_size_that_is_exceeded_is_told_and_a_former_grouping_is_left_out() {
    let server = sampled().start();
    let mut db = server.new_db("app");
    db.run("CREATE ROLE web LOGIN; SELECT perfmon.declare_pool('web', 3, username => 'web')");
    db.set_thresholds(&[("pool_size_samples", 3.0)]);
    db.snapshot();
    let held: Vec<Db> = (0..6).map(|_| named(&server, "web", "app", "shop")).collect();
    let since = now(&mut db);
    two_intervals(&mut db);
    let row = db.texts(&format!(
        "SELECT s.pool_limit, s.pool_limit_from, a.current_size, a.current_size_from, a.change LIKE '%3 is declared%'
         FROM perfmon.pool_saturation('{since}', now()) s
         JOIN perfmon.pool_size_advice('{since}', now()) a USING (level, user_name, application)
         WHERE level = 'pool' AND user_name = 'web' AND application = 'shop'"
    ));
    let told: Vec<&str> = row[0].iter().map(|cell| cell.as_deref().unwrap_or("")).collect();
    assert_eq!(told, ["3", "declared, exceeded", "6", "peak", "t"]);
    db.run("ALTER SYSTEM SET pg_perfmon.pool_grouping = 'application'; ");
    db.run("SELECT pg_reload_conf()");
    let pools = format!(
        "SELECT coalesce(client_address, 'none') FROM perfmon.pool_saturation('{since}', now())
         WHERE level = 'pool' AND user_name = 'web' AND open_avg IS NOT NULL"
    );
    wait_until("pools of the new grouping", secs(30), || {
        db.snapshot();
        db.list::<String>(&pools).contains(&"none".to_owned())
    });
    assert_eq!(db.list::<String>(&pools), ["none"], "the former ones are left out");
    drop(held);
}
