//! What sessions do and wait for, and how many there are: samples against what the test knows to be so.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

use std::thread;

use perfmon_e2e::{
    Builder, Db, Server, Stop, WINDOW, code_of, message_of, never, secs, wait_until,
};

#[path = "activity/steps.rs"]
mod steps;

/// Samples ten times a second; snapshots by call.
fn sampled() -> Builder {
    Server::manual().conf("pg_perfmon.activity_interval = '100ms'")
}

/// Sessions of a role in one sample of the last minute that are in a state, the most there were.
fn seen(db: &mut Db, condition: &str) -> i64 {
    db.val(&format!(
        "SELECT coalesce(max(n), 0) FROM (SELECT count(*) AS n
         FROM perfmon.recent_activity('1 minute') WHERE {condition} GROUP BY time) s"
    ))
}

/// One value of a level over all that was stored.
fn pool<T: for<'a> postgres::types::FromSql<'a>>(db: &mut Db, value: &str, whose: &str) -> T {
    db.val(&format!(
        "SELECT {value} FROM perfmon.pool_activity({WINDOW}, '1 day') WHERE {whose} AND samples > 0"
    ))
}

/// Snapshots, until samples taken from now on are stored.
fn store(db: &mut Db) {
    let samples = |db: &mut Db| -> i64 {
        db.val("SELECT coalesce(sum(samples), 0)::bigint FROM perfmon.session_minute")
    };
    db.snapshot();
    let before = samples(db);
    wait_until("two more samples are stored", secs(30), || {
        db.snapshot();
        samples(db) >= before + 2
    });
}

#[test]
fn a_storm_of_two_seconds_shows_its_peak() {
    let server = sampled().conf("max_connections = 60").start();
    let mut db = server.new_db("app");
    db.run("CREATE ROLE storm LOGIN; CREATE ROLE calm LOGIN");
    let mut calm = server.connect("calm", "app");
    store(&mut db);
    let mut storm: Vec<Db> = (0..40).map(|_| server.connect("storm", "app")).collect();
    thread::scope(|scope| {
        for one in &mut storm {
            scope.spawn(|| one.run("SELECT pg_sleep(2)"));
        }
    });
    assert_eq!(seen(&mut db, "user_name = 'storm'"), 40);
    drop(storm);
    calm.run("SELECT 1");
    store(&mut db);
    let storm = "level = 'user' AND user_name = 'storm'";
    for (column, expected) in [
        ("open_peak", 40),
        ("busy_peak", 40),
        ("active_peak", 40),
        ("open_min", 0),
        ("in_transaction_peak", 0),
    ] {
        assert_eq!(pool::<i32>(&mut db, column, storm), expected, "{column}");
    }
    assert_eq!(pool::<i64>(&mut db, "opened", storm), 40);
    assert_eq!(
        pool::<i64>(&mut db, "sum(opened)::bigint", "level = 'pool' AND user_name = 'storm'"),
        40
    );
    // The calm session was there all the time, and so did not come.
    let calm = "level = 'pool' AND user_name = 'calm'";
    assert_eq!(pool::<i32>(&mut db, "open_peak", calm), 1);
    assert_eq!(pool::<f64>(&mut db, "open_p99", calm), 1.0);
    // On the whole server: the storm, the calm one, and this session.
    assert_eq!(pool::<i32>(&mut db, "open_peak", "level = 'server'"), 42);
    let parts: f64 = pool(&mut db, "sum(open_avg)", "level = 'pool'");
    let whole: f64 = pool(&mut db, "open_avg", "level = 'server'");
    // Those that log in are nobody's yet.
    let samples: i64 = pool(&mut db, "samples", "level = 'server'");
    let starting: i64 =
        db.val(&format!("SELECT sum(starting)::bigint FROM perfmon.pool_history({WINDOW})"));
    let parts = parts + starting as f64 / samples as f64;
    assert!((parts - whole).abs() < 1e-9, "{parts} {whole}");

    // What comes after the storm has a peak of its own.
    let after: String = db.val("SELECT (clock_timestamp())::text");
    store(&mut db);
    let peak: i32 = db.val(&format!(
        "SELECT max(open_peak) FROM perfmon.pool_activity('{after}', clock_timestamp(), '1 day') WHERE level = 'server'"
    ));
    assert_eq!(peak, 2);
}

#[test]
fn waits_are_what_sessions_wait_for() {
    let server = sampled().start();
    let mut db = server.new_db("app");
    db.run("CREATE ROLE w LOGIN; CREATE TABLE t (a int); INSERT INTO t VALUES (1); GRANT ALL ON t TO w");
    let sleep = db.queryid_of("SELECT pg_sleep(4)");
    let update = db.queryid_of("UPDATE t SET a = 2");
    store(&mut db);
    let mut holder = server.connect("w", "app");
    holder.run("BEGIN");
    holder.run("UPDATE t SET a = 2");
    let mut sleeper = server.connect("w", "app");
    let mut waiter = server.connect("w", "app");
    thread::scope(|scope| {
        let slept = scope.spawn(|| sleeper.run("SELECT pg_sleep(4)"));
        scope.spawn(|| waiter.run("UPDATE t SET a = 2"));
        wait_until("all three are seen", secs(30), || seen(&mut db, "user_name = 'w'") == 3);
        store(&mut db);
        slept.join().unwrap();
        holder.run("ROLLBACK");
    });
    let row = |of: [&str; 6]| of.map(|text| Some(text.to_owned())).to_vec();
    let (sleep, update) = (sleep.to_string(), update.to_string());
    let mut expected = vec![
        row([&sleep, "active", "Timeout", "PgSleep", "t", "app"]),
        row([&update, "active", "Lock", "transactionid", "t", "app"]),
        row([&update, "idle in transaction", "Client", "ClientRead", "t", "app"]),
    ];
    expected.sort();
    let mut rows = Vec::new();
    // Texts are known once their statements have ended.
    wait_until("texts are known", secs(30), || {
        db.snapshot();
        rows = db.texts(&format!(
            "SELECT queryid, state, wait_class, wait_event, query IS NOT NULL, database_name
             FROM perfmon.top_waits({WINDOW}) WHERE user_name = 'w'
                 AND wait_class IN ('Timeout', 'Lock', 'Client') AND queryid IN ({sleep}, {update})"
        ));
        rows.sort();
        rows.iter().all(|row| row[4].as_deref() == Some("t"))
    });
    assert_eq!(rows, expected);
    // The same in sum, and by pools.
    let by_class: Vec<Vec<Option<String>>> = db.texts(&format!(
        "SELECT wait_class, count(*) FROM perfmon.activity({WINDOW}, '1 day')
         WHERE backend_type = 'client backend' AND wait_class IN ('Timeout', 'Lock') GROUP BY 1 ORDER BY 1"
    ));
    assert_eq!(by_class.len(), 2, "{by_class:?}");
    let mine = "level = 'user' AND user_name = 'w'";
    assert_eq!(pool::<i32>(&mut db, "on_lock_peak", mine), 1);
    assert_eq!(pool::<i32>(&mut db, "in_transaction_peak", mine), 1);
    assert!(pool::<bool>(&mut db, "on_client_avg > 0 AND on_lock_avg > 0", mine));
    let share: f64 =
        db.val(&format!("SELECT sum(share_ratio) FROM perfmon.top_waits({WINDOW}, NULL)"));
    assert!((share - 1.0).abs() < 1e-9);

    // Whoever may read numbers reads them, and no texts.
    db.run("CREATE ROLE reader LOGIN; SELECT perfmon.grant_reader('reader')");
    let mut reader = server.connect("reader", "app");
    let texts: i64 = reader.val(&format!(
        "SELECT count(query) FROM perfmon.top_waits({WINDOW}) WHERE user_name = 'w'"
    ));
    let waits: i64 = reader
        .val(&format!("SELECT count(*) FROM perfmon.top_waits({WINDOW}) WHERE user_name = 'w'"));
    assert!(texts == 0 && waits >= 3, "{texts} {waits}");
    let recent: i64 = reader.val("SELECT count(query) FROM perfmon.recent_activity()");
    assert_eq!(recent, 0);
    assert!(reader.val::<i64>("SELECT count(*) FROM perfmon.recent_activity()") > 0);
}

#[test]
fn samples_agree_with_the_time_that_the_server_counts() {
    let server = sampled().start();
    let mut db = server.new_db("app");
    db.run("CREATE DATABASE bench");
    let script = server.dir().join("load.sql");
    std::fs::write(&script, "SELECT pg_sleep(0.09);\n\\sleep 10 ms\n").unwrap();
    store(&mut db);
    let args = ["-n", "-c", "8", "-j", "2", "-T", "15", "-f", script.to_str().unwrap(), "bench"];
    server.client("pgbench", &args).success();
    store(&mut db);
    let bench = "level = 'database' AND database_name = 'bench'";
    for (sampled, counted) in
        [("active_avg", "counted_active_avg"), ("open_avg", "counted_open_avg")]
    {
        let sampled: f64 = pool(&mut db, sampled, bench);
        let counted: f64 = pool(&mut db, counted, bench);
        println!("sampled {sampled}, counted {counted}");
        assert!((sampled / counted - 1.0).abs() < 0.05, "{sampled} {counted}");
    }
    // pgbench first asks in a session of its own, which ends at once: a sample may miss it, the server does not.
    assert_eq!(pool::<i64>(&mut db, "counted_sessions", bench), 9);
    let opened: i64 = pool(&mut db, "opened", bench);
    assert!(opened == 8 || opened == 9, "{opened}");
    assert_eq!(pool::<i32>(&mut db, "open_peak", bench), 8);
}

/// The same over a run of pgbench's own transactions. `make test-soak` has it run for ten minutes, in which samples find an
/// average more exactly than in a short one.
#[test]
fn average_sessions_agree_over_a_run_of_pgbench() {
    let asked = std::env::var("PERFMON_AGREE_SECONDS").ok();
    let seconds: u64 = asked.as_ref().map_or(20, |seconds| seconds.parse().unwrap());
    // As on a real server, commits are written to disk.
    let server = sampled().conf("fsync = on").start();
    let mut db = server.new_db("app");
    db.run("CREATE DATABASE bench");
    server.client("pgbench", &["-i", "-q", "-s", "5", "bench"]).success();
    store(&mut db);
    let since: String = db.val("SELECT clock_timestamp()::text");
    // As fast as it can, so that there are sessions enough at any time: of a tenth of one, chance alone is 4 % of 6,000 samples.
    let time = seconds.to_string();
    let args = ["-n", "-c", "8", "-j", "2", "-T", &time, "bench"];
    server.client("pgbench", &args).success();
    store(&mut db);
    let mut off = Vec::new();
    for what in ["active", "in_transaction", "open"] {
        let row = &db.rows(&format!(
            "SELECT {what}_avg, counted_{what}_avg, samples
             FROM perfmon.pool_activity('{since}', clock_timestamp(), '1 day')
             WHERE level = 'database' AND database_name = 'bench' AND samples > 0"
        ))[0];
        let (sampled, counted): (f64, f64) = (row.get(0), row.get(1));
        let ratio = sampled / counted;
        println!(
            "{what}: {sampled:.4} by {} samples, {counted:.4} counted: ratio {ratio:.4}",
            row.get::<_, i64>(2)
        );
        // A short run has few samples, and other tests beside it.
        let chance = 4.0 / (counted * 10.0 * seconds as f64).sqrt();
        if (ratio - 1.0).abs() > if seconds >= 600 { 0.05 } else { chance.max(0.15) } {
            off.push(format!("{what}: {sampled} {counted}"));
        }
    }
    assert_eq!(off, Vec::<String>::new());
}

#[test]
fn sums_begin_anew_with_the_server_and_nothing_is_counted_twice() {
    let server = sampled().start();
    let mut db = server.new_db("app");
    store(&mut db);
    let samples = "SELECT sum(samples)::bigint FROM perfmon.session_minute";
    let before: i64 = db.val(samples);
    drop(db);
    server.stop(Stop::Fast);
    server.start();
    let mut db = server.db("app");
    store(&mut db);
    let after: i64 = db.val(samples);
    assert!(after > before);
    assert!(
        db.gaps().iter().any(|gap| gap.subject == "session" && gap.kind == "reset"),
        "{:?}",
        db.gaps()
    );
    // An interval holds no more samples than fit into it.
    let too_many: i64 = db
        .val("SELECT count(*) FROM perfmon.session_minute WHERE samples > length_us / 100000 + 3");
    assert_eq!(too_many, 0);

    server.expect_crash();
    let mut victim = server.db("app");
    let pid = victim.pid();
    server.kill_9(pid);
    server.wait_ready();
    let mut db = server.db("app");
    store(&mut db);
    assert!(db.val::<i64>("SELECT count(*) FROM perfmon.recent_activity()") > 0);
    let peak: i32 = db.val(&format!(
        "SELECT max(open_peak) FROM perfmon.pool_activity({WINDOW}) WHERE level = 'server'"
    ));
    assert!(peak <= 2, "{peak}");

    // A launcher that is sent away comes back and goes on with the sums.
    let launcher = server.launcher().unwrap();
    db.run(&format!("SELECT pg_terminate_backend({launcher})"));
    wait_until("there is another launcher", secs(40), || {
        server.launcher().is_some_and(|pid| pid != launcher)
    });
    store(&mut db);
}

#[test]
fn without_preloading_a_snapshot_is_a_coarse_sample() {
    let server = Server::unloaded().start();
    let mut db = server.new_db("app");
    db.run("CREATE ROLE other LOGIN");
    let mut idle = server.connect("other", "app");
    idle.run("BEGIN");
    db.snapshot();
    db.snapshot();
    let whose = "level = 'user' AND user_name = 'other'";
    assert_eq!(pool::<String>(&mut db, "quality", whose), "doubtful");
    assert_eq!(pool::<i64>(&mut db, "samples", whose), 1);
    assert_eq!(pool::<i32>(&mut db, "in_transaction_peak", whose), 1);
    let (mut noticed, notices) = server.noticing("app");
    noticed.run("SELECT count(*) FROM perfmon.activity()");
    assert!(notices.lock().unwrap().iter().any(|n| n.contains("only once a snapshot")));
    let refused = db.fails("SELECT * FROM perfmon.recent_activity()");
    assert_eq!(code_of(&refused), "55000", "{}", message_of(&refused));
}

#[test]
fn settings_say_how_often_and_what_a_pool_is() {
    let server = sampled().start();
    let mut db = server.new_db("app");
    store(&mut db);
    assert_eq!(
        pool::<i64>(&mut db, "count(application)", "level = 'pool'"),
        pool::<i64>(&mut db, "count(*)", "level = 'pool'")
    );
    server.append_conf(&["pg_perfmon.pool_grouping = 'user'"]);
    server.reload();
    let since: String = db.val("SELECT clock_timestamp()::text");
    wait_until("pools are told apart by database and user only", secs(30), || {
        store(&mut db);
        db.val(&format!(
            "SELECT count(*) > 0 FROM perfmon.pool_activity('{since}', clock_timestamp(), '1 day')
             WHERE level = 'pool' AND application IS NULL AND client_address IS NULL AND user_name = 'postgres'"
        ))
    });
    // What makes no sense is refused, and the last value stands.
    let mark = server.log_mark();
    server.append_conf(&["pg_perfmon.activity_interval = '50ms'"]);
    server.reload();
    server.wait_for_log(mark, "pg_perfmon.activity_interval", secs(10));
    store(&mut db);
    server.append_conf(&["pg_perfmon.activity_interval = 0"]);
    server.reload();
    wait_until("it is off", secs(10), || db.status().contains("activity_interval = '1s'"));
    db.snapshot();
    let taken = "SELECT sum(samples)::bigint FROM perfmon.session_minute";
    let before: i64 = db.val(taken);
    db.snapshot();
    db.snapshot();
    assert_eq!(db.val::<i64>(taken), before);
    assert!(db.gaps().iter().any(|gap| gap.subject == "session" && gap.kind == "disabled"));
    server.append_conf(&["pg_perfmon.activity_interval = '100ms'"]);
    server.reload();
    store(&mut db);
}

/// What begins after a quiet time is not mixed with it.
#[test]
fn a_quiet_time_is_stored_when_it_ends() {
    let server = Server::builder().conf("pg_perfmon.activity_interval = '100ms'").start();
    let mut home = server.new_db("home");
    home.run("CREATE ROLE idle LOGIN; CREATE ROLE busy LOGIN");
    home.wait_for_next_interval(secs(20));
    let idle = server.connect("idle", "postgres");
    drop(home);
    // Quiet is what the launcher finds at its ticks, 5 seconds apart: nobody looks meanwhile.
    never("the server ends", secs(17), || server.postmaster().is_none());
    let mut busy = server.connect("busy", "postgres");
    busy.run("SELECT pg_sleep(2)");
    let mut home = server.db("home");
    home.snapshot();
    drop((busy, idle));
    let active: f64 = home.val(&format!(
        "SELECT max(active_avg) FROM perfmon.pool_activity({WINDOW}, '1 s') WHERE user_name = 'busy' AND level = 'user'"
    ));
    assert!(active > 0.5, "diluted: {active}");
    let quiet: i64 = home.val(&format!(
        "SELECT count(*) FROM perfmon.pool_activity({WINDOW}, '1 s')
         WHERE user_name = 'idle' AND level = 'user' AND open_avg = 1 AND open_min = 1 AND idle_peak = 1"
    ));
    assert!(quiet >= 8, "the idle session is there all the time: {quiet}");
    let zeros: i64 = home.val(&format!(
        "SELECT count(DISTINCT time) FROM perfmon.activity({WINDOW}, '1 s') WHERE average_sessions = 0"
    ));
    assert!(zeros >= 5, "quiet is no gap: {zeros}");
}

#[test]
fn clients_of_other_databases_are_stored_at_home() {
    let server = Server::builder().conf("pg_perfmon.activity_interval = '200ms'").start();
    let mut home = server.new_db("home");
    home.wait_for_next_interval(secs(20));
    drop(home);
    let mut other = server.new_db("other");
    other.run("CREATE ROLE busy LOGIN");
    let mut busy = server.connect("busy", "other");
    let stored = || -> i64 {
        server.db("home").val(&format!(
            "SELECT count(*) FROM perfmon.pool_activity({WINDOW}, '1 day')
             WHERE level = 'pool' AND user_name = 'busy' AND database_name = 'other' AND active_peak > 0"
        ))
    };
    wait_until("home has what happened elsewhere", secs(40), || {
        busy.run("SELECT pg_sleep(1)");
        stored() == 1
    });
    // Before the first interval there is no history, and so nothing to refuse.
    other.wait_for_next_interval(secs(20));
    let refused = other.fails("SELECT * FROM perfmon.activity()");
    assert_eq!(code_of(&refused), "55000", "{}", message_of(&refused));
    let refused = other.fails("SELECT * FROM perfmon.recent_activity('0 s')");
    assert_eq!(code_of(&refused), "22023");
}

#[test]
fn names_of_any_bytes_do_no_harm() {
    let server = sampled().start();
    let mut db = server.new_db("app");
    db.run(
        "CREATE DATABASE ascii ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0",
    );
    store(&mut db);
    let script = server.dir().join("odd.sql");
    let mut bytes = b"CREATE DATABASE \"odd_\xff\" ENCODING 'SQL_ASCII' ".to_vec();
    bytes.extend_from_slice(b"LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0;\n");
    bytes.extend_from_slice(b"\\connect \"odd_\xff\"\n");
    bytes.extend_from_slice(b"SET application_name = 'm\xfcller';\nSELECT pg_sleep(2);\n");
    std::fs::write(&script, bytes).unwrap();
    let args = ["-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", "ascii", "-f", script.to_str().unwrap()];
    let launcher = server.launcher();
    server.client("psql", &args).success();
    assert!(seen(&mut db, "database_name LIKE 'odd%' AND wait_event = 'PgSleep'") > 0);
    store(&mut db);
    let odd = "level = 'database' AND database_name LIKE 'odd%'";
    assert_eq!(pool::<i32>(&mut db, "active_peak", odd), 1);
    let pools = "level = 'pool' AND database_name LIKE 'odd%' AND application LIKE 'm%ller'";
    assert_eq!(pool::<i64>(&mut db, "count(*)", pools), 1);
    assert_eq!(server.launcher(), launcher, "the launcher is the same process");
}

#[test]
fn processes_of_other_kinds_stand_under_limits_of_their_own() {
    let server = sampled().start();
    let mut db = server.new_db("app");
    db.snapshot();
    db.sampled_intervals(1, 3);
    let row = |kind: &str| {
        format!(
            "SELECT setting, processes_limit = current_setting(setting)::int, open_now,
                 saturation_ratio = open_now::float8 / processes_limit
             FROM perfmon.process_limits() WHERE kind = '{kind}'"
        )
    };
    let told: Vec<Option<String>> = db.texts(&row("walsender")).remove(0);
    let told: Vec<&str> = told.iter().map(|cell| cell.as_deref().unwrap_or("")).collect();
    assert_eq!(told, ["max_wal_senders", "t", "0", "t"]);
    // Whoever connects for replication is one.
    let sender = "dbname=app replication=database";
    let out = server.client("psql", &["-XAtc", &row("walsender"), sender]);
    assert_eq!(out.stdout.trim(), "max_wal_senders|t|1|t", "{}", out.stderr);
    let kinds: Vec<String> = db.list(
        "SELECT kind FROM perfmon.process_limits() WHERE processes_limit > 0 AND open_avg >= 0",
    );
    assert_eq!(kinds, ["walsender", "background worker", "parallel worker", "autovacuum worker"]);
    // The launcher, which takes the samples, takes a place as well.
    let all: bool = db.val(
        "SELECT open_avg >= 2 AND open_peak_avg >= 2 FROM perfmon.process_limits() WHERE kind = 'background worker'",
    );
    assert!(all, "one of the launchers is missing");
}
