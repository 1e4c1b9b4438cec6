//! What we need is locked, lacking or refused: applications do not notice, and collecting comes back.

use std::process::Stdio;
use std::time::{Duration, Instant};

use perfmon_e2e::{Server, Stop, code_of, message_of, never, secs, wait_for, wait_until};

use crate::{goes_on, locking, watched};

#[test]
fn a_missing_synchronous_standby_stops_nobody() {
    let server = Server::builder().start();
    let (mut db, id) = watched(&server, "app");
    server.append_conf(&["synchronous_standby_names = 'nobody'"]);
    server.reload();
    db.run("SET synchronous_commit = local");
    wait_until("the setting arrives", secs(5), || {
        db.val::<String>("SELECT current_setting('synchronous_standby_names')") == "nobody"
    });
    goes_on(&mut db, id, secs(15));
    wait_until("no collector hangs", secs(10), || server.collectors().is_empty());
    drop(db);
    assert!(server.stop(Stop::Fast) < secs(5));
}

#[test]
fn default_transaction_read_only() {
    let server = Server::builder().start();
    let (mut db, id) = watched(&server, "app");
    server.append_conf(&["default_transaction_read_only = on"]);
    server.reload();
    wait_until("the setting arrives", secs(5), || {
        db.val::<String>("SELECT current_setting('default_transaction_read_only')") == "on"
    });
    goes_on(&mut db, id, secs(15));
}

#[test]
fn settings_of_database_and_role_do_not_reach_the_collector() {
    let server = Server::builder().start();
    let (mut db, id) = watched(&server, "app");
    db.run(
        "ALTER DATABASE app SET search_path = nowhere; ALTER DATABASE app SET statement_timeout = '1ms';
         ALTER DATABASE app SET default_transaction_isolation = 'serializable';
         ALTER DATABASE app SET datestyle = 'SQL, DMY'; ALTER DATABASE app SET timezone = 'Asia/Kathmandu';
         ALTER DATABASE app SET intervalstyle = 'sql_standard'; ALTER DATABASE app SET bytea_output = 'escape';
         ALTER DATABASE app SET extra_float_digits = -15; ALTER DATABASE app SET row_security = off;
         ALTER DATABASE app SET default_transaction_deferrable = on; ALTER DATABASE app SET standard_conforming_strings = off",
    );
    goes_on(&mut db, id, secs(15));
}

#[test]
fn a_database_held_by_a_command_holds_up_no_other() {
    let server = Server::builder().conf("pg_perfmon.max_workers = 1").start();
    let (mut db, id) = watched(&server, "app");
    let mut held = server.new_db("held");
    held.run("CREATE TABLE t (a int); INSERT INTO t VALUES (1); SELECT * FROM t");
    drop(held);
    let mut holder = server.db("postgres");
    holder.run("BEGIN");
    holder.run("ALTER DATABASE held RENAME TO renamed");
    // The held one was used, so its turn comes; whoever connects to it would wait for the command's end.
    goes_on(&mut db, id, secs(20));
    goes_on(&mut db, id, secs(20));
    let begin = Instant::now();
    db.snapshot();
    assert!(begin.elapsed() < secs(5), "{:?}", begin.elapsed());
    never("a process that waits for the held database", secs(6), || {
        db.val::<i64>(
            "SELECT count(*) FROM pg_locks WHERE NOT granted AND classid = 'pg_database'::regclass",
        ) > 0
    });
    holder.run("ROLLBACK");
    let mut held = server.db("held");
    wait_until("the held one is visited again", secs(20), || {
        held.run("SELECT * FROM t");
        !held.intervals().is_empty()
    });
}

#[test]
fn too_few_workers() {
    // The launcher takes the only one.
    let server = Server::builder()
        .conf("max_worker_processes = 1")
        .conf("max_logical_replication_workers = 0")
        .start();
    let mark = server.log_mark();
    let mut db = server.new_db("app");
    wait_until("the launcher runs", secs(10), || server.launcher().is_some());
    db.run("SET statement_timeout = '30s'");
    let begin = Instant::now();
    if let Err(e) = db.batch_execute("SELECT perfmon.snapshot()") {
        assert!(["53000", "53400", "55000"].contains(&code_of(&e).as_str()), "{}", message_of(&e));
    }
    assert!(begin.elapsed() < secs(20));
    let status = wait_for("status() to name the setting", secs(15), || {
        Some(db.status()).filter(|s| s.contains("max_worker_processes"))
    });
    assert!(status.contains("max_worker_processes"));
    never("a flood in the log", secs(11), || {
        server.log_since(mark).matches("max_worker_processes").count() > 3
    });

    // None at all: the server starts nevertheless, and snapshot() does not hang.
    server.append_conf(&["max_worker_processes = 0"]);
    server.restart();
    let mut db = server.db("app");
    db.run("SET statement_timeout = '30s'");
    if let Err(e) = db.batch_execute("SELECT perfmon.snapshot()") {
        assert!(["53000", "53400", "55000"].contains(&code_of(&e).as_str()), "{}", message_of(&e));
    }
    assert!(db.status().contains("max_worker_processes"), "{}", db.status());
}

#[test]
fn nobody_waits_behind_us_for_a_locked_user_table() {
    let server = Server::builder().start();
    let (mut db, id) = watched(&server, "app");
    db.run("CREATE TABLE locked (a int PRIMARY KEY); CREATE MATERIALIZED VIEW seen AS SELECT * FROM locked");
    let mut holder = server.db("app");
    holder.run(
        "BEGIN; LOCK TABLE locked IN ACCESS EXCLUSIVE MODE; LOCK TABLE t IN ROW EXCLUSIVE MODE",
    );
    // Statements go on being counted while the lock is held.
    goes_on(&mut db, id, secs(12));
    let begin = Instant::now();
    db.snapshot();
    assert!(begin.elapsed() < secs(3), "{:?}", begin.elapsed());
    // A collector that waited would keep the holder's next wish waiting too; none may wait longer than its timeout.
    let mut waiting_since: Option<Instant> = None;
    never("a collector waits for a user's lock", secs(8), || {
        let waits: i64 = db.val(
            "SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a USING (pid)
              WHERE NOT l.granted AND a.backend_type LIKE '%pg_perfmon%'",
        );
        waiting_since = if waits > 0 { waiting_since.or(Some(Instant::now())) } else { None };
        waiting_since.is_some_and(|t| t.elapsed() > Duration::from_millis(400))
    });
    holder.run("ROLLBACK");
}

#[test]
fn a_locked_table_of_ours_delays_only_us() {
    let server = Server::builder().start();
    let (mut db, id) = watched(&server, "app");
    let mut holder = server.db("app");
    holder.run(&locking(&mut db, "perfmon.statement_minute"));
    let mark = server.log_mark();
    let mut calls = 0;
    let start = Instant::now();
    while start.elapsed() < secs(12) {
        let begin = Instant::now();
        db.run("SELECT a FROM t WHERE a = 1");
        calls += 1;
        assert!(begin.elapsed() < secs(1), "the application waits");
        std::thread::sleep(Duration::from_millis(20));
    }
    let complaints =
        server.log_since(mark).lines().filter(|l| l.contains("pg_perfmon collector")).count();
    assert!(complaints <= 4, "one line per change of state:\n{}", server.log_since(mark));
    holder.run("ROLLBACK");
    // What could not be written then is written now, as one longer interval: nothing is lost.
    wait_until("all calls are in the history", secs(40), || db.stored_calls(id) >= calls);
    assert_eq!(db.stored_calls(id), calls);
}

#[test]
fn failing_housekeeping_is_said_until_it_works_and_tried_less_and_less_often() {
    let server = Server::builder().start();
    let mut holder = server.new_db("app");
    // Housekeeping wants to be alone at it; who reads its notes is not in the way.
    holder.run("BEGIN; LOCK TABLE perfmon.chore IN ROW EXCLUSIVE MODE");
    let mark = server.log_mark();
    let mut db = server.db("app");
    let tries = |words: &str| server.log_since(mark).matches(words).count();
    wait_until("it fails for the second time", secs(60), || {
        db.run("SELECT count(*) FROM pg_am");
        db.status().contains("failed 2 times in a row: another session is keeping house")
    });
    // Many good snapshots later that still stands there, and was not tried with each of them.
    for _ in 0..3 {
        db.snapshot();
        let status = db.status();
        assert!(status.contains("failed 2 times in a row: another session"), "{status}");
        assert!(status.contains("(collector,works,") || status.contains("\"at work\""), "{status}");
    }
    assert_eq!(tries("another session is keeping house"), 1, "{}", server.log_since(mark));
    holder.run("ROLLBACK");
    wait_until("it works again", secs(60), || {
        db.run("SELECT count(*) FROM pg_am");
        !db.status().contains("housekeeping")
    });
    assert_eq!(tries("works in this database again"), 1, "{}", server.log_since(mark));
}

#[test]
fn snapshot_refuses_to_wait_when_not_preloaded() {
    let server = Server::unloaded().start();
    let (mut db, _) = watched(&server, "app");
    let mut holder = server.db("app");
    holder.run("BEGIN; LOCK TABLE perfmon.prior IN ACCESS EXCLUSIVE MODE");
    let begin = Instant::now();
    let e = db.fails("SELECT perfmon.snapshot()");
    assert_eq!(code_of(&e), "55P03", "{}", message_of(&e));
    assert!(begin.elapsed() < secs(2));
}

#[test]
fn applications_see_no_error() {
    let server = Server::builder().conf("pg_stat_statements.track = all").start();
    server.client("createdb", &["bench"]).success();
    server.client("pgbench", &["-i", "-q", "-s", "2", "bench"]).success();
    let mut db = server.db("bench");
    db.run("CREATE EXTENSION pg_stat_statements; CREATE EXTENSION pg_perfmon");
    let bench = server
        .client_command("pgbench")
        .args(["-c", "3", "-T", "12", "-n", "bench"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    while db.intervals().len() < 2 {
        db.snapshot();
    }
    let out = bench.wait_with_output().unwrap();
    let said =
        String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{said}");
    assert!(said.contains("number of failed transactions: 0"), "{said}");
    assert!(!server.log().contains("ERROR"), "{}", server.log_tail());
}
