//! Faults: whoever is killed, locked, dropped or short of something, the server and its applications go on, no
//! committed snapshot is lost, and collecting comes back.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::Duration;

use perfmon_e2e::{Db, Server, secs, wait_for, wait_until};

mod databases;
mod limits;
mod processes;
mod readers;

/// A collector that waits for a lock may do so for long here, so that a test can catch it in the act.
fn patient() -> perfmon_e2e::Builder {
    Server::builder()
        .conf("pg_perfmon.lock_timeout = '10s'")
        .conf("pg_perfmon.statement_timeout = '60s'")
        .conf("max_prepared_transactions = 4")
}

/// Statements that lock all partitions of a table: to these a snapshot adds its rows. Not the table itself, of which
/// whoever holds a partition looks up the bounds.
fn locking(db: &mut Db, table: &str) -> String {
    let leaves: String = db.val(&format!(
        "SELECT string_agg(relid::regclass::text, ', ') FROM pg_partition_tree('{table}') WHERE isleaf"
    ));
    format!("BEGIN; LOCK TABLE {leaves} IN ACCESS EXCLUSIVE MODE")
}

/// A lock that no session holds: it survives the end of all of them, even a crash.
fn lock_for_good(db: &mut Db, table: &str) {
    let locking = locking(db, table);
    db.run(&format!("{locking}; PREPARE TRANSACTION 'blocker'"));
}

fn unlock(db: &mut Db) {
    db.run("ROLLBACK PREPARED 'blocker'");
}

/// A database whose history grows, with a statement to watch.
fn watched(server: &Server, name: &str) -> (Db, i64) {
    let mut db = server.new_db(name);
    db.run("CREATE TABLE t (a int)");
    let id = db.queryid_of("SELECT a FROM t WHERE a = 1");
    // The first snapshot stores no rows, and it may have been this one.
    wait_until("there is a table for rows", secs(20), || {
        db.snapshot();
        db.val(
            "SELECT EXISTS (SELECT FROM pg_partition_tree('perfmon.statement_minute') WHERE isleaf)",
        )
    });
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
