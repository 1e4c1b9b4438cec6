//! Sessions that wait inside the server for what is neither a lock nor a file.

use std::thread;

use perfmon_e2e::{Db, Server, code_of, secs, wait_until};

use super::{named, of, the, two_intervals};

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
    let writers: Vec<_> = held
        .into_iter()
        .map(|mut one| {
            thread::spawn(move || {
                one.run("SET synchronous_commit = on");
                one.run("INSERT INTO t VALUES (1)");
                one
            })
        })
        .collect();
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
    let held: Vec<Db> = writers.into_iter().map(|one| one.join().unwrap()).collect();
    drop(held);
    db.snapshot();
    let found = two_intervals(&mut db);
    assert!(of(&found, "pool_saturation", "role batch").is_none());
}
