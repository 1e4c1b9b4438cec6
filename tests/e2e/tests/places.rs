//! Unusual places: not preloaded, without pg_stat_statements, odd encodings, standbys, many databases.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

use std::time::{Duration, Instant};

use perfmon_e2e::{
    Server, Stop, WINDOW, code_of, message_of, named_history, never, secs, wait_for, wait_until,
};

#[test]
fn without_preloading() {
    let server = Server::unloaded().start();
    let mut db = server.new_db("app");
    assert!(server.launcher().is_none());
    db.run("CREATE TABLE t (a int)");
    let id = db.queryid_of("SELECT a FROM t WHERE a = 1");
    db.snapshot();
    for _ in 0..4 {
        db.run("SELECT a FROM t WHERE a = 1");
    }
    db.snapshot();
    assert_eq!(db.stored_calls(id), 4);
    let status = db.status();
    assert!(status.contains("shared_preload_libraries"), "{status}");
    assert!(db.val::<String>("SELECT perfmon.report()").contains("SELECT a FROM t"));
    // Loading the library in a session changes nothing for the others.
    db.run("LOAD 'pg_perfmon'");
    never("a worker without preloading", secs(1), || !server.processes("").is_empty());
}

#[test]
fn preloaded_status_is_content() {
    let server = Server::builder().start();
    let mut db = server.new_db("app");
    db.run("SELECT count(*) FROM pg_am");
    db.wait_for_next_interval(secs(13));
    let status = db.status();
    assert!(!status.contains("shared_preload_libraries ="), "{status}");
    assert!(!status.contains("CREATE EXTENSION"), "{status}");
}

#[test]
fn without_pg_stat_statements() {
    let server = Server::builder().preload("pg_perfmon").interval("5s").start();
    server.db("postgres").run("CREATE DATABASE app");
    let mut db = server.db("app");
    db.run("CREATE EXTENSION pg_perfmon; CREATE TABLE t (a int)");
    db.wait_for_next_interval(secs(13));
    let status = db.status();
    assert!(status.contains("pg_stat_statements"), "{status}");
    db.run("INSERT INTO t SELECT generate_series(1, 500); SELECT pg_stat_force_next_flush()");
    // The rest is collected all the same; table counters at most once a minute.
    wait_until("the table is collected", secs(100), || {
        db.snapshot();
        db.list::<i64>(&format!(
            "SELECT n_tup_ins::int8 FROM perfmon.tables({WINDOW}) WHERE table_name = 't'"
        ))
        .contains(&500)
    });
    assert!(db.history().is_empty());
    // Settings may stand in the configuration without the library.
    server.append_conf(&["pg_stat_statements.max = 5000"]);
    server.reload();
    wait_until("the setting is there", secs(10), || {
        db.val::<bool>("SELECT current_setting('pg_stat_statements.max', true) = '5000'")
    });
    let state: String =
        db.val("SELECT state FROM perfmon.status() WHERE item = 'pg_stat_statements'");
    assert_eq!(state, "error");
    let mark = server.log_mark();
    never("complaints about it in the log", secs(6), || server.log_since(mark).contains("ERROR"));

    // The time without statements is one gap, and nobody calls it exact.
    let gaps = db.gaps();
    let intervals = db.intervals();
    assert!(intervals.len() > 1, "{intervals:?}");
    assert!(intervals.iter().all(|i| i.quality == "lower bound"), "{intervals:?}");
    let first = intervals.first().unwrap().since;
    // One may have been stored since the gaps were read.
    assert!(
        matches!(&gaps[..], [gap] if gap.subject == "statement" && gap.kind == "disabled" && gap.since == first
            && intervals.iter().rev().take(2).any(|one| one.until == gap.until)),
        "{gaps:?} {intervals:?}"
    );
    let report: String = db.val("SELECT perfmon.report()");
    let report = report.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(report.contains("add pg_stat_statements to shared_preload_libraries"), "{report}");
    assert!(report.contains("Quality: lower bound"), "{report}");

    // Loaded, but not created in this database: the line that fixes it, then it works without any restart.
    server.append_conf(&["shared_preload_libraries = 'pg_stat_statements,pg_perfmon'"]);
    server.restart();
    let mut db = server.db("app");
    wait_until("status() names the line", secs(15), || {
        db.run("SELECT count(*) FROM pg_am");
        db.status().contains("CREATE EXTENSION pg_stat_statements")
    });
    db.run("CREATE SCHEMA elsewhere; CREATE EXTENSION pg_stat_statements SCHEMA elsewhere");
    let id = db.queryid_of("SELECT a FROM t WHERE a = 1");
    wait_until("statements are collected", secs(20), || {
        db.run("SELECT a FROM t WHERE a = 1");
        db.stored_calls(id) > 0
    });
    assert!(!db.status().contains("CREATE EXTENSION pg_stat_statements"));
    // The gap ends where statements begin: whoever looks at a later time is not bothered with it.
    let end = db.gaps().iter().filter(|g| g.subject == "statement").map(|g| g.until).max().unwrap();
    db.wait_for_next_interval(secs(20));
    assert!(db.intervals().last().unwrap().until > end);
    let report: String = db.val(&format!(
        "SELECT perfmon.report(to_timestamp({end} / 1e6) + interval '1 ms', clock_timestamp())"
    ));
    assert!(!report.contains("not recorded"), "{report}");
    assert!(report.contains("SELECT a FROM t"), "{report}");
}

#[test]
fn one_badly_encoded_text_loses_only_itself() {
    let server = Server::manual().start();
    server.db("postgres").run(
        "CREATE DATABASE ascii ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0",
    );
    server
        .psql("ascii", "CREATE EXTENSION pg_stat_statements; CREATE EXTENSION pg_perfmon; CREATE TABLE t (a text)")
        .success();
    let mut utf8 = server.new_db("utf8");
    utf8.run("CREATE TABLE good (a int)");
    let good = utf8.queryid_of("SELECT a FROM good WHERE a = 1");
    utf8.snapshot();
    server.psql("ascii", "SELECT perfmon.snapshot()").success();

    let script = server.dir().join("bad.sql");
    let mut bytes = b"SELECT a AS \"bad_\xff_name\" FROM t WHERE a = 'x';\n".to_vec();
    bytes.extend_from_slice(b"SELECT a AS fine FROM t WHERE a = 'y' LIMIT 3;\n");
    std::fs::write(&script, bytes).unwrap();
    for _ in 0..3 {
        server
            .client(
                "psql",
                &[
                    "-X",
                    "-q",
                    "-v",
                    "ON_ERROR_STOP=1",
                    "-d",
                    "ascii",
                    "-f",
                    script.to_str().unwrap(),
                ],
            )
            .success();
    }
    for _ in 0..5 {
        utf8.run("SELECT a FROM good WHERE a = 1");
    }
    // The view itself is broken now; that is the trap.
    assert!(utf8.batch_execute("SELECT query FROM pg_stat_statements").is_err());

    utf8.snapshot();
    assert_eq!(utf8.stored_calls(good), 5);
    assert!(utf8.history().iter().any(|s| s.queryid == good && s.query.is_some()));

    server.psql("ascii", "SELECT perfmon.snapshot()").success();
    let out = server
        .psql(
            "ascii",
            &format!(
                "SELECT sum(calls) FROM {} WHERE query LIKE '%AS fine%'",
                named_history(WINDOW)
            ),
        )
        .success();
    assert_eq!(out.stdout.trim(), "3", "{}", out.stderr);
    let out = server
        .psql(
            "ascii",
            &format!(
                "SELECT sum(calls) FROM {} WHERE calls = 3 AND query IS NULL",
                named_history(WINDOW)
            ),
        )
        .success();
    assert_eq!(out.stdout.trim(), "3", "the statement itself is counted, without its text");
    // Nothing ill-encoded was stored: the dump of the database can be restored in another encoding.
    let dump =
        server.client_command("pg_dump").args(["-d", "ascii", "--inserts"]).output().unwrap();
    assert!(dump.status.success());
    assert!(!dump.stdout.contains(&0xff), "bad bytes in the dump");
}

#[test]
fn other_encodings_are_converted() {
    let server = Server::manual().start();
    server.db("postgres").run(
        "CREATE DATABASE latin ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0",
    );
    let mut db = server.db("latin");
    db.run("CREATE EXTENSION pg_stat_statements; CREATE EXTENSION pg_perfmon; CREATE TABLE \"tür\" (a int)");
    db.snapshot();
    db.run("SELECT a FROM \"tür\"");
    db.snapshot();
    assert!(
        db.history().iter().any(|s| s.query.as_deref() == Some("SELECT a FROM \"tür\"")),
        "{:?}",
        db.history()
    );
}

#[test]
fn statements_of_other_databases_are_not_mixed_in() {
    let server = Server::manual().start();
    let mut app = server.new_db("app");
    let mut other = server.db("postgres");
    other.run("CREATE TABLE foreign_table_of_postgres (a int)");
    app.snapshot();
    for _ in 0..5 {
        other.run("SELECT a FROM foreign_table_of_postgres");
    }
    app.run("SELECT count(*) FROM pg_am");
    app.snapshot();
    assert!(!app.history().is_empty());
    assert!(
        app.history().iter().all(|s| !s.query.as_deref().unwrap_or("").contains("foreign_table"))
    );
}

#[test]
fn standby_reads_and_starts_to_collect_when_promoted() {
    let primary = Server::builder().start();
    let mut db = primary.new_db("app");
    db.run("CREATE TABLE t (a int)");
    let id = db.queryid_of("SELECT a FROM t WHERE a = 1");
    wait_until("history on the primary", secs(15), || {
        db.run("SELECT a FROM t WHERE a = 1");
        db.stored_calls(id) > 0
    });
    let standby = Server::builder().make_standby_of(&primary);
    standby.start();
    let mut db = standby.db("app");
    let stored = db.stored_calls(id);
    assert!(stored > 0, "the history has come along");
    assert!(db.val::<String>("SELECT perfmon.report()").contains("SELECT a FROM t"));
    for call in ["status()", "top_statements()", "databases()", "tables()"] {
        db.run(&format!("SELECT * FROM perfmon.{call}"));
    }
    what_is_not_recorded_is_told(&standby);
    let e = db.fails("SELECT perfmon.snapshot()");
    assert!(
        ["55000", "25006"].contains(&e.as_db_error().unwrap().code().code()),
        "{}",
        message_of(&e)
    );
    let e = db.fails("SELECT perfmon.mark_change('release')");
    assert_eq!(code_of(&e), "25006", "{}", message_of(&e));
    assert!(message_of(&e).contains("on the primary"), "{}", message_of(&e));
    let mark = standby.log_mark();
    never("a collector on a standby", secs(7), || !standby.collectors().is_empty());
    assert!(!standby.log_since(mark).contains("ERROR"));

    primary.stop(Stop::Fast);
    let before = db.intervals().len();
    standby.promote();
    wait_until("collecting starts upon promotion", secs(25), || {
        db.run("SELECT a FROM t WHERE a = 1");
        db.intervals().len() > before + 1 && db.stored_calls(id) > stored
    });
    // The standby's own counters are another epoch than the primary's: never subtracted from them.
    let newest = db.intervals().last().unwrap().clone();
    assert!(newest.until > newest.since);
    assert!(!db.gaps().is_empty(), "the time between is a gap");
}

/// A standby cannot take a snapshot, and does not know whether anybody uses the primary.
fn what_is_not_recorded_is_told(standby: &Server) {
    let (mut db, notices) = standby.noticing("app");
    let said = || std::mem::take(&mut *notices.lock().unwrap()).join("\n");
    db.run("SELECT pg_sleep(0.1)");
    let since = "(SELECT max(until) FROM perfmon.server_minute)";
    for asked in ["errors", "routes", "load_series", "top_statements", "latency_heatmap"] {
        db.rows(&format!("SELECT * FROM perfmon.{asked}({since}, clock_timestamp())"));
        let told = said();
        assert!(!told.contains("perfmon.snapshot()"), "{asked}: {told}");
        assert!(told.contains("nothing is recorded of this window: the last"), "{asked}: {told}");
        assert!(told.contains("perfmon.status() on the primary"), "{asked}: {told}");
    }
    // Of a part of an interval nothing is known.
    db.rows(
        "SELECT e.* FROM (SELECT until - (until - since) * 0.9 AS since, until - (until - since) * 0.1 AS until
             FROM perfmon.server_minute WHERE length_us > 0 AND quiet_us = 0 ORDER BY until DESC LIMIT 1) r,
             perfmon.errors(r.since, r.until) e",
    );
    let told = said();
    assert!(told.contains("nothing is recorded of this window: "), "{told}");
    assert!(told.contains("The primary takes them"), "{told}");
}

#[test]
fn many_idle_databases_cost_next_to_nothing() {
    let server = Server::manual()
        .conf("pg_perfmon.snapshot_interval = '20s'")
        .conf("autovacuum = off")
        .conf("max_wal_size = '4GB'")
        .make();
    server.start();
    server.new_db("model").run("SELECT count(*) FROM pg_am");
    let begin = Instant::now();
    let mut admin = server.db("postgres");
    for i in 0..200 {
        admin.run(&format!("CREATE DATABASE d{i} TEMPLATE model STRATEGY file_copy"));
    }
    println!("200 databases made in {:?}", begin.elapsed());
    // Each is visited at least once: a source of its own proves it, seen as a commit from outside.
    let visited =
        "SELECT count(*) FROM pg_stat_database WHERE datname ~ '^d\\d+$' AND xact_commit > 0";
    wait_until("every database was visited", secs(240), || admin.val::<i64>(visited) == 200);
    // A session is work for a collector, when it comes and when it goes: from here on there is none. What it used is
    // added to the postmaster's account when it is gone, which must not be later.
    let session: i32 = admin.val("SELECT pg_backend_pid()");
    drop(admin);
    wait_until("the session is gone", secs(10), || {
        !std::path::Path::new(&format!("/proc/{session}")).exists()
    });
    // New databases have tables made ahead for days, step by step. Idle they are when no collector has run for more
    // than two intervals; ended ones show in the postmaster's account of its children.
    let postmaster = server.postmaster().unwrap();
    let spent = || server.children_cpu_of(postmaster).unwrap();
    let (mut seen, mut since) = (spent(), Instant::now());
    wait_until("nobody works in them for more than two intervals", secs(500), || {
        if spent() != seen || !server.collectors().is_empty() {
            (seen, since) = (spent(), Instant::now());
        }
        since.elapsed() > secs(45)
    });
    // What is promised is promised for the default interval.
    let mark = server.log_mark();
    server.append_conf(&["pg_perfmon.snapshot_interval = '60s'"]);
    server.reload();
    wait_until("the setting arrives", secs(5), || {
        server.log_since(mark).contains("\"pg_perfmon.snapshot_interval\" changed to")
    });

    let cost = || {
        let launcher = wait_for("the launcher", secs(5), || server.launcher());
        server.cpu_of(launcher).unwrap() + server.children_cpu_of(postmaster).unwrap()
    };
    let (before, begin) = (cost(), Instant::now());
    while begin.elapsed() < secs(65) {
        std::thread::sleep(Duration::from_millis(500));
    }
    let (used, over) = (cost() - before, begin.elapsed());
    let share = used.as_secs_f64() / over.as_secs_f64();
    println!("200 idle databases: {:.3} % of a core ({used:?} in {over:?})", share * 100.0);
    // A debug build of the extension takes many times as long.
    let debug = std::env::var("PERFMON_PROFILE").as_deref() == Ok("dev");
    assert!(share < if debug { 0.03 } else { 0.003 }, "{used:?} in {over:?}");
}
