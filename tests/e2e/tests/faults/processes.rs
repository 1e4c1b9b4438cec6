//! Processes are killed, cancelled and shut down.

use perfmon_e2e::{Server, Stop, secs, wait_for, wait_until};

use crate::{caught_collector, goes_on, healthy, lock_for_good, patient, unlock, watched};

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
        server.kill_9(launcher);
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
            server.kill_9(pid);
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

/// Whoever asked for a snapshot is told why there is none, at once and with what to do.
#[test]
fn who_asked_is_told_that_the_collector_was_terminated() {
    let server = patient().start();
    let (mut db, id) = watched(&server, "app");
    lock_for_good(&mut db, "perfmon.statement_minute");
    let told = std::thread::scope(|threads| {
        let asking = threads.spawn(|| {
            let mut db = server.db("app");
            // The visit that is caught may be the one before this call's.
            let mut told = (String::new(), String::new(), None);
            for _ in 0..5 {
                let error = db.fails("SELECT perfmon.snapshot()");
                let error = error.as_db_error().unwrap();
                let detail = error.detail().unwrap_or_default().to_owned();
                told = (error.code().code().to_owned(), detail, error.hint().map(str::to_owned));
                if told.1.contains("terminated") {
                    break;
                }
            }
            told
        });
        let pid = caught_collector(&server, &mut db);
        db.run(&format!("SELECT pg_terminate_backend({pid})"));
        asking.join().unwrap()
    });
    let (code, detail, hint) = told;
    assert_eq!(code, "55000");
    assert!(detail.contains("the collector was terminated, as pg_terminate_backend()"), "{detail}");
    assert!(hint.unwrap().contains("Call perfmon.snapshot() again"));
    let status = db.status();
    assert!(status.contains("in a row: the collector was terminated"), "{status}");
    unlock(&mut db);
    db.snapshot();
    goes_on(&mut db, id, secs(30));
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
