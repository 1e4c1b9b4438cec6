//! Faults: whoever is killed, locked, dropped or short of something, the server and its applications go on, no
//! committed snapshot is lost, and collecting comes back.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::process::Stdio;
use std::time::{Duration, Instant};

use perfmon_e2e::{Db, Server, Stop, code_of, message_of, never, secs, wait_for, wait_until};

/// A collector that waits for a lock may do so for long here, so that a test can catch it in the act.
fn patient() -> perfmon_e2e::Builder {
    Server::builder()
        .conf("pg_perfmon.lock_timeout = '10s'")
        .conf("pg_perfmon.statement_timeout = '60s'")
        .conf("max_prepared_transactions = 4")
}

/// A lock that no session holds: it survives the end of all of them, even a crash.
fn lock_for_good(db: &mut Db, table: &str) {
    db.run(&format!(
        "BEGIN; LOCK TABLE ONLY {table} IN ACCESS EXCLUSIVE MODE; PREPARE TRANSACTION 'blocker'"
    ));
}

fn unlock(db: &mut Db) {
    db.run("ROLLBACK PREPARED 'blocker'");
}

/// A database whose history grows, with a statement to watch.
fn watched(server: &Server, name: &str) -> (Db, i64) {
    let mut db = server.new_db(name);
    db.run("CREATE TABLE t (a int)");
    let id = db.queryid_of("SELECT a FROM t WHERE a = 1");
    db.snapshot();
    (db, id)
}

fn goes_on(db: &mut Db, id: i64, timeout: Duration) {
    let before = db.stored_calls(id);
    wait_until("collecting goes on", timeout, || {
        db.run("SELECT a FROM t WHERE a = 1");
        db.stored_calls(id) > before
    });
}

/// A collector caught while it waits for a lock in the middle of its snapshot.
fn caught_collector(server: &Server, db: &mut Db) -> i32 {
    wait_for("a collector that waits for a lock", secs(20), || {
        db.run("SELECT a FROM t WHERE a = 1");
        db.list::<i32>(
            "SELECT pid FROM pg_stat_activity WHERE backend_type LIKE '%collector%' AND wait_event_type = 'Lock'",
        )
        .first()
        .copied()
        .or_else(|| {
            // A worker without a role may be invisible in pg_stat_activity's wait columns: ask the lock table.
            db.list::<i32>("SELECT pid FROM pg_locks WHERE NOT granted")
                .into_iter()
                .find(|pid| server.collectors().contains(pid))
        })
    })
}

/// What holds after every fault: intervals in order, one launcher, nothing left open.
fn healthy(server: &Server, db: &mut Db) {
    let intervals = db.intervals();
    for pair in intervals.windows(2) {
        assert!(pair[0].until < pair[1].until && pair[0].until <= pair[1].since, "{pair:?}");
    }
    wait_until("one launcher runs", secs(20), || server.processes("launcher").len() == 1);
    let launcher = server.launcher().unwrap();
    let open: Vec<i32> = db.list(&format!(
        "SELECT pid FROM pg_stat_activity WHERE pid = {launcher} AND (xact_start < now() - interval '2 s' OR backend_xmin IS NOT NULL AND xact_start < now() - interval '2 s')"
    ));
    assert!(open.is_empty(), "the launcher holds a transaction");
}

#[test]
fn kill_9_of_a_collector_in_the_middle_of_a_snapshot() {
    let server = patient().start();
    let (mut db, id) = watched(&server, "app");
    db.run("SELECT a FROM t WHERE a = 1");
    db.snapshot();
    let kept = db.stored_calls(id);
    let intervals = db.intervals().len();
    for _ in 0..3 {
        lock_for_good(&mut db, "perfmon.statement_minute");
        let pid = caught_collector(&server, &mut db);
        server.kill_9(pid);
        wait_until("the crash", secs(5), || {
            db.is_closed() || db.batch_execute("SELECT 1").is_err()
        });
        server.wait_ready();
        db = server.db("app");
        unlock(&mut db);
        assert_eq!(
            db.stored_calls(id),
            kept.max(db.stored_calls(id)),
            "no committed snapshot is lost"
        );
        goes_on(&mut db, id, secs(25));
    }
    assert!(db.intervals().len() > intervals);
    healthy(&server, &mut db);
    assert!(
        db.gaps().iter().any(|g| ["server_down", "reset", "missed"].contains(&g.kind.as_str())),
        "the crash is a gap: {:?}",
        db.gaps()
    );
}

#[test]
fn kill_9_of_the_launcher() {
    let server = Server::builder().start();
    let (mut db, id) = watched(&server, "app");
    for _ in 0..2 {
        let launcher = wait_for("the launcher", secs(20), || server.launcher());
        let mark = server.log_mark();
        server.kill_9(launcher);
        server.wait_for_log(mark, "all server processes terminated", secs(10));
        server.wait_ready();
        db = server.db("app");
        wait_until("another launcher", secs(20), || {
            server.launcher().is_some_and(|l| l != launcher)
        });
        goes_on(&mut db, id, secs(20));
    }
    healthy(&server, &mut db);
}

#[test]
fn kill_9_of_a_backend_while_snapshots_run() {
    let server = Server::builder().start();
    let (_db, id) = watched(&server, "app");
    for _ in 0..5 {
        let mut snapping = server.db("app");
        let mut victim = server.db("app");
        let pid = victim.pid();
        std::thread::scope(|scope| {
            scope.spawn(|| while snapping.batch_execute("SELECT perfmon.snapshot()").is_ok() {});
            let mark = server.log_mark();
            server.kill_9(pid);
            server.wait_for_log(mark, "all server processes terminated", secs(10));
        });
        server.wait_ready();
    }
    let mut db = server.db("app");
    goes_on(&mut db, id, secs(25));
    healthy(&server, &mut db);
}

#[test]
fn terminate_and_cancel_of_launcher_and_collectors() {
    let server = patient().start();
    let (mut db, id) = watched(&server, "app");
    let launcher = server.launcher().expect("a launcher");
    for _ in 0..5 {
        db.run(&format!("SELECT pg_cancel_backend({launcher})"));
    }
    goes_on(&mut db, id, secs(15));
    assert_eq!(server.launcher(), Some(launcher), "a cancelled launcher goes on");

    for action in ["pg_cancel_backend", "pg_terminate_backend"] {
        lock_for_good(&mut db, "perfmon.statement_minute");
        let pid = caught_collector(&server, &mut db);
        db.run(&format!("SELECT {action}({pid})"));
        wait_until("the collector gives up", secs(3), || !server.collectors().contains(&pid));
        unlock(&mut db);
        goes_on(&mut db, id, secs(30));
        assert_eq!(server.launcher(), Some(launcher));
    }

    db.run(&format!("SELECT pg_terminate_backend({launcher})"));
    wait_until("the launcher ends", secs(5), || server.launcher() != Some(launcher));
    wait_until("and comes back", secs(20), || server.launcher().is_some());
    goes_on(&mut db, id, secs(20));
    healthy(&server, &mut db);
}

#[test]
fn fast_shutdown_in_the_middle_of_a_snapshot() {
    let server = patient().start();
    let (mut db, id) = watched(&server, "app");
    lock_for_good(&mut db, "perfmon.statement_minute");
    caught_collector(&server, &mut db);
    drop(db);
    let took = server.stop(Stop::Fast);
    assert!(took < secs(5), "{took:?}");
    server.start();
    let mut db = server.db("app");
    unlock(&mut db);
    goes_on(&mut db, id, secs(30));
}

#[test]
fn smart_shutdown_does_not_wait_for_us() {
    let server = Server::builder().start();
    let (db, _) = watched(&server, "app");
    drop(db);
    let took = server.stop(Stop::Smart);
    assert!(took < secs(5), "{took:?}");
}

/// Makes a database that is being visited all the time, then lets `act` do its work right when a collector runs.
fn beside_a_collector(server: &Server, name: &str, act: impl Fn(&mut Db)) {
    let mut admin = server.db("postgres");
    let mut db = server.new_db(name);
    db.run("SELECT count(*) FROM pg_am");
    drop(db);
    // The visit after CREATE EXTENSION, or one of the next; if none can be caught, act anyway.
    let start = Instant::now();
    while server.collectors().is_empty() && start.elapsed() < secs(3) {
        std::thread::sleep(Duration::from_millis(2));
    }
    let begin = Instant::now();
    act(&mut admin);
    let took = begin.elapsed();
    assert!(took < secs(5), "took {took:?}");
}

#[test]
fn drop_database_gets_through() {
    let server = Server::builder().start();
    let (mut other, id) = watched(&server, "other");
    for i in 0..6 {
        let how = if i % 2 == 0 { "" } else { "WITH (FORCE)" };
        beside_a_collector(&server, "victim", |admin| {
            admin.run(&format!("DROP DATABASE victim {how}"))
        });
    }
    goes_on(&mut other, id, secs(15));
    // No try to visit what is gone.
    let mark = server.log_mark();
    never("a visit of a dropped database", secs(6), || server.log_since(mark).contains("victim"));
    healthy(&server, &mut other);
}

#[test]
fn drop_database_force_ends_a_stuck_collector() {
    let server = patient().start();
    let (mut db, _) = watched(&server, "victim");
    // Held by a session here: a prepared transaction would itself forbid the drop.
    let mut holder = server.db("victim");
    holder.run("BEGIN; LOCK TABLE ONLY perfmon.statement_minute IN ACCESS EXCLUSIVE MODE");
    caught_collector(&server, &mut db);
    let begin = Instant::now();
    server.db("postgres").run("DROP DATABASE victim WITH (FORCE)");
    assert!(begin.elapsed() < secs(4), "{:?}", begin.elapsed());
    drop((db, holder));
    wait_until("no collector is left", secs(3), || server.collectors().is_empty());
}

#[test]
fn rename_and_template_get_through() {
    let server = Server::builder().start();
    for i in 0..3 {
        beside_a_collector(&server, &format!("old{i}"), |admin| {
            admin.run(&format!("ALTER DATABASE old{i} RENAME TO new{i}"));
        });
        beside_a_collector(&server, &format!("model{i}"), |admin| {
            admin.run(&format!("CREATE DATABASE copy{i} TEMPLATE model{i}"));
        });
    }
    for name in ["new0", "copy0", "model0"] {
        let mut db = server.db(name);
        db.run("CREATE TABLE t (a int)");
        let id = db.queryid_of("SELECT a FROM t WHERE a = 1");
        // The copy is found when the launcher next looks around.
        goes_on(&mut db, id, secs(80));
    }
}

#[test]
fn drop_extension_while_collecting_and_create_again() {
    let server = Server::builder().start();
    let (mut db, id) = watched(&server, "app");
    for _ in 0..8 {
        let start = Instant::now();
        while server.collectors().is_empty() && start.elapsed() < Duration::from_millis(600) {
            std::thread::sleep(Duration::from_millis(2));
        }
        let begin = Instant::now();
        db.run("DROP EXTENSION pg_perfmon");
        assert!(begin.elapsed() < secs(3), "{:?}", begin.elapsed());
        assert_eq!(db.val::<i64>("SELECT count(*) FROM pg_namespace WHERE nspname = 'perfmon'"), 0);
        db.run("CREATE EXTENSION pg_perfmon");
    }
    db.run("DROP EXTENSION pg_perfmon");
    let mark = server.log_mark();
    never("a complaint about the missing extension", secs(7), || {
        server.log_since(mark).contains("ERROR")
    });
    db.run("CREATE EXTENSION pg_perfmon");
    goes_on(&mut db, id, secs(15));

    // A drop that is rolled back changes nothing.
    db.run("BEGIN; DROP EXTENSION pg_perfmon; ROLLBACK");
    goes_on(&mut db, id, secs(15));
    db.run("BEGIN; DROP EXTENSION pg_perfmon; CREATE EXTENSION pg_perfmon; ROLLBACK");
    goes_on(&mut db, id, secs(15));
    healthy(&server, &mut db);
}

#[test]
fn create_extension_rolled_back() {
    let server = Server::builder().start();
    server.db("postgres").run("CREATE DATABASE app");
    let mut db = server.db("app");
    db.run("BEGIN; CREATE EXTENSION pg_perfmon; ROLLBACK");
    let mark = server.log_mark();
    never("a complaint", secs(6), || {
        db.run("SELECT count(*) FROM pg_am");
        server.log_since(mark).contains("ERROR")
    });
    db.run(
        "CREATE EXTENSION pg_stat_statements; CREATE EXTENSION pg_perfmon; CREATE TABLE t (a int)",
    );
    let id = db.queryid_of("SELECT a FROM t WHERE a = 1");
    goes_on(&mut db, id, secs(15));
}

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
    holder.run("BEGIN; LOCK TABLE ONLY perfmon.statement_minute IN ACCESS EXCLUSIVE MODE");
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
