//! A real PgBouncer: what it says is kept and agrees with what clients do, clients that wait make a finding, one that does
//! not answer is told and never waited for, and nobody sees a password.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::net::TcpListener;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use perfmon_e2e::{
    Db, Found, POOLER_PASSWORD, PgBouncer, Server, code_of, message_of, secs, wait_until,
};

#[path = "pooler/limits.rs"]
mod limits;
#[path = "pooler/queue.rs"]
mod queue;
#[path = "pooler/stopped.rs"]
mod stopped;
#[path = "pooler/strangers.rs"]
mod strangers;

fn start(auth: &str) -> Option<(Server, PgBouncer, Db)> {
    let server = Server::manual().start();
    let mut db = server.new_db("app");
    db.run("CREATE ROLE alice LOGIN");
    let pooler = PgBouncer::start(&server, auth, &[])?;
    Some((server, pooler, db))
}

fn kinds(found: &[Found]) -> Vec<String> {
    let ours = found.iter().filter(|f| f.kind.starts_with("pooler_"));
    ours.map(|f| format!("{} {} {}", f.kind, f.severity, f.object)).collect()
}

#[test]
fn clients_that_wait_are_counted_found_and_named() {
    let Some((_server, pooler, mut db)) = start("scram-sha-256") else { return };
    pooler.declare(&mut db, pooler.dir().to_str().unwrap(), POOLER_PASSWORD);
    db.snapshot();
    // Two clients keep both server connections, and a third waits.
    let mut holders = [pooler.client("alice"), pooler.client("alice")];
    let backends: Vec<i32> = holders
        .iter_mut()
        .map(|holder| {
            holder.run("BEGIN");
            holder.pid()
        })
        .collect();
    let mut third = pooler.client("alice");
    let waiter = thread::spawn(move || {
        // No statement is prepared: each may run on another connection.
        for _ in 0..3 {
            third.run("SELECT 1");
        }
    });
    wait_until("a client that waits", secs(30), || {
        db.val::<bool>(
            "SELECT count(*) FILTER (WHERE state = 'waiting') > 0 FROM perfmon.pooler_clients()",
        )
    });
    db.snapshot();
    db.snapshot();
    let row = &db.rows(
        "SELECT clients_waiting, clients_waiting_peak, servers_active, servers_peak, pool_size, max_wait_ms > 0
         FROM perfmon.pooler_pools() WHERE user_name = 'alice'",
    )[0];
    assert_eq!((row.get::<_, f64>(0), row.get::<_, i64>(1)), (1.0, 1));
    assert_eq!((row.get::<_, f64>(2), row.get::<_, i64>(3), row.get::<_, f64>(4)), (2.0, 2, 2.0));
    assert!(row.get::<_, bool>(5));

    let mut pinned: Vec<i32> = db.list(
        "SELECT c.server_pid FROM perfmon.pooler_clients() c
         JOIN pg_stat_activity a ON a.pid = c.server_pid AND a.state = c.backend_state
         WHERE c.pins_server AND c.user_name = 'alice' AND c.application_name = 'true_client'
             AND c.client_addr = '127.0.0.1' AND c.transaction_ms > 0",
    );
    pinned.sort_unstable();
    let mut expected = backends;
    expected.sort_unstable();
    assert_eq!(pinned, expected);

    let found = db.evaluate();
    assert_eq!(kinds(&found), ["pooler_clients_waiting warning front database app, user alice"]);
    let waiting = found.iter().find(|f| f.kind == "pooler_clients_waiting").unwrap();
    assert!(waiting.title.starts_with("1 client on average waits"), "{waiting:?}");
    assert!(waiting.cause.as_ref().unwrap().starts_with("2 of at most 2 server connections"));

    for holder in &mut holders {
        holder.run("COMMIT");
    }
    waiter.join().unwrap();
    db.snapshot();
    assert_eq!(kinds(&db.evaluate()), Vec::<String>::new());
    // The counters of the database tell the wait exactly. Those that were there when it was first seen are not known.
    let mut fourth = pooler.client("alice");
    wait_until("the counters tell of transactions and of the wait", secs(30), || {
        fourth.run("SELECT 1");
        db.snapshot();
        db.val(
            "SELECT clients_waiting > 0 AND transactions_per_s > 0 AND mean_wait_ms > 0
             FROM perfmon.pooler_pools() WHERE database_name = 'app' AND user_name IS NULL",
        )
    });
    assert_eq!(
        db.val::<f64>(
            "SELECT answered_ratio FROM perfmon.pooler_pools() WHERE database_name IS NULL"
        ),
        1.0
    );
}

/// Sets it when dropped, also by a panic, so that threads that look at it end.
struct Raise<'a>(&'a AtomicBool);

impl Drop for Raise<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// What pool_saturation() and why_queued() say since a moment of the pool of these clients.
fn of_pool(db: &mut Db, since: &str) -> Vec<String> {
    let rows = db.texts(&format!(
        "SELECT s.limited_by, s.connections_limit, s.pooler_limit, s.saturation, s.headroom, s.open_peak, q.cause, q.detail
         FROM perfmon.pool_saturation('{since}', clock_timestamp()) s
         JOIN perfmon.why_queued('{since}', clock_timestamp()) q USING (level, user_name, application)
         WHERE level = 'pool' AND user_name = 'alice' AND application = 'true_client'"
    ));
    assert_eq!(rows.len(), 1, "{rows:?}");
    rows[0].iter().map(|cell| cell.clone().unwrap_or_default()).collect()
}

#[test]
fn a_pool_of_the_pooler_that_is_too_small_is_told_as_such_and_clears() {
    let server = Server::manual().conf("pg_perfmon.activity_interval = '100ms'").start();
    let mut db = server.new_db("app");
    db.run("CREATE ROLE alice LOGIN");
    let Some(pooler) = PgBouncer::sized(&server, 5, "scram-sha-256", &[]) else { return };
    pooler.declare(&mut db, pooler.dir().to_str().unwrap(), POOLER_PASSWORD);
    db.snapshot();
    let mut clients: Vec<Db> = (0..8).map(|_| pooler.client("alice")).collect();
    let done = AtomicBool::new(false);
    let executing =
        "SELECT count(*) FROM pg_stat_activity WHERE usename = 'alice' AND state = 'active'";
    thread::scope(|scope| {
        let _done = Raise(&done);
        for client in &mut clients {
            let done = &done;
            // Statements that wait and use nothing: the server has room for many more. They must not end all at once,
            // as the moment between two would weigh as much as a sample.
            scope.spawn(move || {
                while !done.load(Ordering::Relaxed) {
                    client.run("SELECT pg_sleep(0.4 + random() * 0.4)");
                }
            });
        }
        wait_until("five of eight work", secs(30), || db.val::<i64>(executing) == 5);
        // What was before belongs to another interval.
        db.snapshot();
        let since: String = db.val("SELECT clock_timestamp()::text");
        db.sampled_intervals(2, 20);
        let said = of_pool(&mut db, &since);
        assert_eq!(
            said[..7],
            ["pooler", "5", "5", "critical", "0", "5", "pool_too_small"],
            "{said:?}"
        );
        let told = "clients wait for a connection, while the server has room";
        assert!(said[7].contains(told), "{said:?}");
        let waiting: f64 = said[7].split(' ').next().unwrap().parse().unwrap();
        assert!((2.0..=3.0).contains(&waiting), "{said:?}");
        let found = kinds(&db.evaluate());
        assert_eq!(found, ["pooler_clients_waiting warning front database app, user alice"]);
    });
    wait_until("nobody works", secs(30), || db.val::<i64>(executing) == 0);
    // With it the interval ends in which they worked.
    db.snapshot();
    let since: String = db.val("SELECT clock_timestamp()::text");
    db.sampled_intervals(2, 10);
    let said = of_pool(&mut db, &since);
    assert_eq!(said[..7], ["pooler", "5", "5", "ok", "5", "5", "nothing"], "{said:?}");
    assert_eq!(kinds(&db.evaluate()), Vec::<String>::new());
}

#[test]
fn a_pool_whose_database_has_another_name_on_the_server_is_known() {
    let server = Server::manual().conf("pg_perfmon.activity_interval = '100ms'").start();
    let mut db = server.new_db("app");
    db.run("CREATE ROLE alice LOGIN");
    db.run("CREATE DATABASE shop");
    let front = format!(
        "front_rw = host={} port=5432 dbname=shop user=alice pool_size=4",
        server.dir().display()
    );
    let Some(pooler) = PgBouncer::sized(&server, 5, "md5", &["[databases]", &front]) else {
        return;
    };
    pooler.declare(&mut db, pooler.dir().to_str().unwrap(), POOLER_PASSWORD);
    db.snapshot();
    let mut clients: Vec<Db> = (0..3).map(|_| pooler.client_of("postgres", "front_rw")).collect();
    clients.iter_mut().for_each(|client| client.run("BEGIN"));
    let since: String = db.val("SELECT clock_timestamp()::text");
    db.sampled_intervals(2, 3);
    let limit: Vec<Option<i32>> = db.list(&format!(
        "SELECT DISTINCT pooler_limit FROM perfmon.pool_saturation('{since}', clock_timestamp())
         WHERE level = 'pool' AND database_name = 'shop' AND user_name = 'alice'"
    ));
    assert_eq!(limit, [Some(4)]);
    let named: Vec<String> = db.list(
        "SELECT DISTINCT database_name FROM perfmon.pooler_pools() WHERE user_name IS NOT NULL",
    );
    assert_eq!(named, ["front_rw"], "as its clients call it");
}

fn timed(mut work: impl FnMut()) -> Duration {
    let began = Instant::now();
    work();
    began.elapsed()
}

#[test]
fn one_that_is_frozen_is_told_and_not_waited_for() {
    let Some((_server, pooler, mut db)) = start("md5") else { return };
    pooler.declare(&mut db, "127.0.0.1", POOLER_PASSWORD);
    db.set_thresholds(&[("pooler_unanswered", 1.0)]);
    db.snapshot();
    db.snapshot();
    assert_eq!(kinds(&db.evaluate()), Vec::<String>::new());

    pooler.signal("STOP");
    let began = db.val::<f64>("SELECT coalesce(sum(length_ms), 0) FROM perfmon.server_history()");
    let took = timed(|| {
        db.snapshot();
    });
    assert!(took >= Duration::from_millis(900), "{took:?}: it was asked");
    // The time asked for is a second; the rest is the snapshot, on a machine that may be busy.
    assert!(took < secs(10), "{took:?}");
    assert!(
        db.val::<f64>("SELECT sum(length_ms) FROM perfmon.server_history()") > began,
        "it was stored"
    );
    let told = "SELECT coalesce(string_agg(s::text, ' '), '') FROM perfmon.status() s";
    let status: String = db.val(told);
    assert!(status.contains("PgBouncer front: it did not answer in time"), "{status}");
    assert_eq!(kinds(&db.evaluate()), ["pooler_unreachable warning front"]);
    let problem: Vec<String> = db.list("SELECT problem FROM perfmon.pooler_clients()");
    assert_eq!(problem, ["it did not answer in time"]);

    pooler.signal("CONT");
    db.snapshot();
    assert_eq!(kinds(&db.evaluate()), Vec::<String>::new());
    assert!(!db.val::<String>(told).contains("PgBouncer"));

    // Twice in vain, and it is left alone.
    pooler.signal("STOP");
    db.snapshot();
    db.snapshot();
    db.snapshot();
    let last = "SELECT asked || ' ' || answered || ' ' || skipped FROM perfmon.pooler_history()
                WHERE database_name = '' ORDER BY time DESC LIMIT 1";
    assert_eq!(db.val::<String>(last), "0 0 1");
    assert!(db.val::<String>(told).contains("front did not answer 2 times"));
    assert_eq!(kinds(&db.evaluate()), ["pooler_unreachable warning front"]);
    db.run("DROP SERVER front CASCADE");
    db.snapshot();
    assert_eq!(kinds(&db.evaluate()), Vec::<String>::new());
    assert!(!db.val::<String>(told).contains("PgBouncer"));
}

#[test]
fn nobody_waits_inside_a_transaction() {
    let Some((_server, pooler, mut db)) = start("trust") else { return };
    pooler.declare(&mut db, "localhost", POOLER_PASSWORD);
    db.snapshot();
    pooler.signal("STOP");
    let mut other = _server.db("app");
    let taken = thread::spawn(move || other.snapshot());
    let waiting = "SELECT count(xact_start), count(*) FROM pg_stat_activity
                   WHERE backend_type = 'pg_perfmon collector' AND wait_event_type = 'Extension'";
    let mut seen = 0_i64;
    wait_until("the snapshot", secs(60), || {
        let row = &db.rows(waiting)[0];
        assert_eq!(row.get::<_, i64>(0), 0, "a collector that waits in a transaction");
        seen += row.get::<_, i64>(1);
        taken.is_finished()
    });
    assert!(seen > 0, "it waited for what did not answer");
    taken.join().unwrap();
}

#[test]
fn logins_of_every_kind_work_and_no_password_is_seen() {
    for auth in ["scram-sha-256", "md5", "plain", "trust"] {
        let Some((server, pooler, mut db)) = start(auth) else { return };
        pooler.declare(&mut db, "127.0.0.1", POOLER_PASSWORD);
        db.snapshot();
        db.snapshot();
        let answered =
            "SELECT answered_ratio FROM perfmon.pooler_pools() WHERE database_name IS NULL";
        assert_eq!(db.val::<f64>(answered), 1.0, "{auth}");
        if auth == "trust" {
            continue;
        }
        db.run("ALTER USER MAPPING FOR CURRENT_USER SERVER front OPTIONS (SET password 'canary-that-is-wrong')");
        db.snapshot();
        let status: String = db.val("SELECT string_agg(s::text, ' ') FROM perfmon.status() s");
        assert!(status.contains("PgBouncer front: it says: "), "{auth}: {status}");
        // It is left alone then, and the reason stays.
        db.snapshot();
        db.snapshot();
        let status: String = db.val("SELECT string_agg(s::text, ' ') FROM perfmon.status() s");
        assert!(status.contains("front did not answer 2 times (it says: "), "{auth}: {status}");
        let problem: String = db.val("SELECT problem FROM perfmon.pooler_clients()");
        let seen = [status, problem, server.log(), db.val("SELECT perfmon.report()")].concat();
        assert!(!seen.contains("canary"), "{auth}");
        // Who corrects it need not wait until the pause is over.
        db.run(&format!(
            "ALTER USER MAPPING FOR CURRENT_USER SERVER front OPTIONS (SET password '{POOLER_PASSWORD}')"
        ));
        db.snapshot();
        let status: String = db.val("SELECT string_agg(s::text, ' ') FROM perfmon.status() s");
        assert!(!status.contains("PgBouncer"), "{auth}: {status}");
        db.run("DROP USER MAPPING FOR CURRENT_USER SERVER front");
        db.snapshot();
        let status: String = db.val("SELECT string_agg(s::text, ' ') FROM perfmon.status() s");
        assert!(status.contains("user mapping not found"), "{status}");
    }
}

#[test]
fn options_are_checked_and_the_wrapper_is_nobody_s() {
    let server = Server::manual().start();
    let mut db = server.new_db("app");
    let make = "CREATE SERVER front FOREIGN DATA WRAPPER pg_perfmon_pgbouncer";
    for options in [
        "host 'db.example.org'",
        "port '0'",
        "port 'many'",
        "dbname ''",
        "password 'canary-in-the-wrong-place'",
        "hostaddr '127.0.0.1'",
    ] {
        let error = db.fails(&format!("{make} OPTIONS ({options})"));
        assert_eq!(code_of(&error), "22023", "{options}");
        assert!(!message_of(&error).contains("canary"), "{}", message_of(&error));
    }
    db.run(&format!("{make} OPTIONS (host '::1', port '6432', dbname 'console')"));
    for options in ["host '127.0.0.1'", "user ''", "sslmode 'off'"] {
        let error =
            db.fails(&format!("CREATE USER MAPPING FOR PUBLIC SERVER front OPTIONS ({options})"));
        assert_eq!(code_of(&error), "22023", "{options}");
    }
    assert_eq!(
        code_of(&db.fails("ALTER FOREIGN DATA WRAPPER pg_perfmon_pgbouncer OPTIONS (x '1')")),
        "22023"
    );
    db.run("CREATE ROLE bob LOGIN; GRANT pg_monitor TO bob; GRANT CREATE ON DATABASE app TO bob");
    let mut bob = server.connect("bob", "app");
    assert_eq!(code_of(&bob.fails(&make.replace("front", "other"))), "42501");
    // Nothing listens there: told, not waited for.
    db.run("CREATE USER MAPPING FOR PUBLIC SERVER front OPTIONS (user 'stats', password 'canary-for-all')");
    db.snapshot();
    let status: String = db.val("SELECT string_agg(s::text, ' ') FROM perfmon.status() s");
    assert!(status.contains("PgBouncer front: "), "{status}");
    let seen: Vec<Option<String>> = bob.list(
        "SELECT c::text FROM perfmon.pooler_clients() c
         UNION ALL SELECT array_to_string(umoptions, ',') FROM pg_user_mappings",
    );
    assert!(seen.iter().flatten().all(|text| !text.contains("canary")), "{seen:?}");
}

/// As servers of before 0.4.0 may be, which a dump brings along: restored with a warning, and asked.
#[test]
fn a_server_without_a_host_is_warned_of_and_asked_at_localhost() {
    let server = Server::manual().start();
    server.new_db("app").snapshot();
    let (mut db, said) = server.noticing("app");
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    db.run(&format!(
        "CREATE SERVER front FOREIGN DATA WRAPPER pg_perfmon_pgbouncer OPTIONS (port '{nobody}')"
    ));
    let warned = |said: &Mutex<Vec<String>>| {
        let said = std::mem::take(&mut *said.lock().unwrap()).join(" ");
        let parts = ["WARNING", "is missing: localhost will be asked", "Give an IP address"];
        assert!(parts.iter().all(|part| said.contains(part)), "{said}");
    };
    warned(&said);
    db.run("CREATE USER MAPPING FOR PUBLIC SERVER front OPTIONS (user 'stats')");
    db.snapshot();
    let status: String = db.val("SELECT string_agg(s::text, ' ') FROM perfmon.status() s");
    let why = "is missing, so localhost was asked";
    assert!(status.contains("PgBouncer front") && status.contains(why), "{status}");
    let script = server.dir().join("dump.sql");
    let script = script.to_str().unwrap();
    server.client("pg_dump", &["-d", "app", "-f", script]).success();
    server.db("postgres").run("CREATE DATABASE copy");
    let out =
        server.client("psql", &["-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", "copy", "-f", script]);
    assert!(out.ok && out.stderr.contains("is missing: localhost will be asked"), "{}", out.stderr);
    let there: Vec<String> = server.db("copy").list("SELECT srvname::text FROM pg_foreign_server");
    assert_eq!(there, ["front"]);
    said.lock().unwrap().clear();
    db.run("ALTER SERVER front OPTIONS (ADD host '::1')");
    assert!(said.lock().unwrap().is_empty());
    db.run("ALTER SERVER front OPTIONS (DROP host)");
    warned(&said);
}
