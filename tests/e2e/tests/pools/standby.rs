//! Sessions that wait inside the server for what is neither a lock nor a file.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use perfmon_e2e::{Db, Server, code_of, secs, wait_until};

use super::{named, of, the, two_intervals};

/// Sessions whose commits wait for a standby, until there need be none.
struct Waiting {
    goes_on: Arc<AtomicBool>,
    all: Vec<JoinHandle<()>>,
}

/// A commit waits once the checkpointer has told the others of the setting, later than this session knows it.
fn waiting(sessions: Vec<Db>) -> Waiting {
    let goes_on = Arc::new(AtomicBool::new(true));
    let writes = |mut one: Db| {
        let goes_on = Arc::clone(&goes_on);
        thread::spawn(move || {
            one.run("SET synchronous_commit = on");
            while goes_on.load(Ordering::Relaxed) {
                one.run("INSERT INTO t VALUES (1)");
            }
        })
    };
    Waiting { all: sessions.into_iter().map(writes).collect(), goes_on }
}

impl Waiting {
    /// Once nobody keeps them.
    fn end(self) {
        self.goes_on.store(false, Ordering::Relaxed);
        self.all.into_iter().for_each(|one| one.join().unwrap());
    }
}

#[test]
fn a_missing_standby_is_why_connections_are_short() {
    // Commits wait for standbys only where there may be one.
    let server = Server::manual().conf("pg_perfmon.activity_interval = '100ms'").start();
    let mut db = server.new_db("app");
    db.run("CREATE ROLE batch LOGIN CONNECTION LIMIT 5; CREATE TABLE t (a int); GRANT ALL ON t TO batch");
    let held: Vec<Db> = (0..5).map(|_| named(&server, "batch", "app", "writer")).collect();
    db.snapshot();
    db.run("SET synchronous_commit = local");
    db.run("ALTER SYSTEM SET synchronous_standby_names = 'gone'");
    db.run("SELECT pg_reload_conf()");
    wait_until("commits wait for a standby", secs(30), || {
        db.val("SELECT current_setting('synchronous_standby_names') = 'gone'")
    });
    let writers = waiting(held);
    wait_until("all of them wait", secs(30), || {
        db.val::<i64>("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'") == 5
    });
    // What was before belongs to another interval.
    db.snapshot();
    let since: String = db.val("SELECT clock_timestamp()::text");
    let refused = server.try_connect("batch", "app").err().unwrap();
    assert_eq!(code_of(&refused), "53300");
    let found = two_intervals(&mut db);
    let full = the(&found, "pool_saturation", "role batch");
    let cause = full.cause.as_deref().unwrap();
    assert!(cause.contains("5.0 sessions wait inside the server, for IPC/SyncRep"), "{cause}");
    assert!(full.remedy.contains("synchronous_standby_names"), "{}", full.remedy);
    let why: Vec<String> = db.list(&format!(
        "SELECT DISTINCT cause FROM perfmon.why_queued('{since}', clock_timestamp())
         WHERE user_name = 'batch' OR level = 'server'"
    ));
    assert_eq!(why, ["wait"]);
    db.run("ALTER SYSTEM RESET synchronous_standby_names");
    db.run("SELECT pg_reload_conf()");
    writers.end();
    db.snapshot();
    let found = two_intervals(&mut db);
    assert!(of(&found, "pool_saturation", "role batch").is_none());
}

/// Parallel workers that wait are no sessions, and take nothing from those that wait for a standby.
#[test]
fn parallel_workers_are_not_counted_as_sessions_that_wait() {
    let server = Server::manual().conf("pg_perfmon.activity_interval = '100ms'").start();
    let mut db = server.new_db("app");
    db.run("CREATE ROLE batch LOGIN; CREATE TABLE t (a int); GRANT ALL ON t TO batch");
    db.run("INSERT INTO t SELECT generate_series(1, 20000); ANALYZE t");
    db.run("SET synchronous_commit = local");
    let writers: Vec<Db> = (0..4).map(|_| named(&server, "batch", "app", "writer")).collect();
    let mut reader = named(&server, "batch", "app", "reader");
    db.snapshot();
    db.run("ALTER SYSTEM SET synchronous_standby_names = 'gone'");
    db.run("SELECT pg_reload_conf()");
    wait_until("commits wait for a standby", secs(30), || {
        db.val("SELECT current_setting('synchronous_standby_names') = 'gone'")
    });
    let writers = waiting(writers);
    let reads = thread::spawn(move || {
        reader.run(
            "SET max_parallel_workers_per_gather = 2; SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0;
             SET min_parallel_table_scan_size = 0; SET statement_timeout = '10min'",
        );
        reader.batch_execute("SELECT count(*) FROM t WHERE pg_sleep(0.1) IS NOT NULL")
    });
    wait_until("all of them wait", secs(30), || {
        db.val(
            "SELECT count(*) FILTER (WHERE wait_event = 'SyncRep') = 4
                AND count(*) FILTER (WHERE backend_type = 'parallel worker') = 2 FROM pg_stat_activity",
        )
    });
    db.snapshot();
    let since: String = db.val("SELECT clock_timestamp()::text");
    db.sampled_intervals(2, 5);
    let said: Vec<String> = db.list(&format!(
        "SELECT detail FROM perfmon.why_queued('{since}', clock_timestamp())
         WHERE level = 'user' AND user_name = 'batch'"
    ));
    assert_eq!(
        said,
        [
            "4.0 sessions wait inside the server, for IPC/SyncRep (a standby of synchronous_standby_names that does not answer in time)"
        ]
    );
    db.run("SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE application_name = 'reader'");
    assert_eq!(code_of(&reads.join().unwrap().unwrap_err()), "57014");
    db.run("ALTER SYSTEM RESET synchronous_standby_names");
    db.run("SELECT pg_reload_conf()");
    writers.end();
}
