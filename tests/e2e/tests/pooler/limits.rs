//! Limits that pools of a PgBouncer share, and servers that are not this one.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use perfmon_e2e::{Db, POOLER_PASSWORD, PgBouncer, Server, secs, wait_until};

use super::Raise;

const EXECUTING: &str =
    "SELECT count(*) FROM pg_stat_activity WHERE usename = 'alice' AND state = 'active'";

/// What binds the pool of alice's clients through the pooler, and why they queue.
fn said(db: &mut Db, since: &str) -> Vec<String> {
    let rows = db.texts(&format!(
        "SELECT s.limited_by, s.pooler_limit, s.saturation, q.cause, q.detail
         FROM perfmon.pool_saturation('{since}', clock_timestamp()) s
         JOIN perfmon.why_queued('{since}', clock_timestamp()) q USING (level, user_name, application)
         WHERE level = 'pool' AND user_name = 'alice' AND application = 'true_client'"
    ));
    assert_eq!(rows.len(), 1, "{rows:?}");
    rows[0].iter().map(|cell| cell.clone().unwrap_or_default()).collect()
}

#[test]
fn limits_that_pools_share_bind_and_are_why_clients_wait() {
    for setting in ["max_db_connections", "max_user_connections"] {
        let server = Server::manual().conf("pg_perfmon.activity_interval = '100ms'").start();
        let mut db = server.new_db("app");
        db.run("CREATE ROLE alice LOGIN");
        let line = format!("{setting} = 2");
        let Some(pooler) = PgBouncer::sized(&server, 20, "md5", &[&line]) else { return };
        pooler.declare(&mut db, pooler.dir().to_str().unwrap(), POOLER_PASSWORD);
        db.snapshot();
        let mut clients: Vec<Db> = (0..6).map(|_| pooler.client("alice")).collect();
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            let _done = Raise(&done);
            for client in &mut clients {
                let done = &done;
                scope.spawn(move || {
                    while !done.load(Ordering::Relaxed) {
                        client.run("SELECT pg_sleep(0.4 + random() * 0.4)");
                    }
                });
            }
            wait_until("two of six work", secs(30), || db.val::<i64>(EXECUTING) == 2);
            let since: String = db.val("SELECT clock_timestamp()::text");
            db.sampled_intervals(3, 10);
            let said = said(&mut db, &since);
            let by = format!("pooler, {setting}");
            assert_eq!(said[..4], [&by, "2", "critical", "pooler"], "{said:?}");
            let told = format!(
                "clients wait for a connection at the pooler front, as the pooler's {setting} allows 2"
            );
            assert!(said[4].contains(&told), "{said:?}");
            let found = db.evaluate();
            let waiting = found.iter().find(|f| f.kind == "pooler_clients_waiting").unwrap();
            assert!(waiting.remedy.starts_with(&format!("Raise {setting}")), "{waiting:?}");
        });
        wait_until("nobody works", secs(30), || db.val::<i64>(EXECUTING) == 0);
        db.snapshot();
        let since: String = db.val("SELECT clock_timestamp()::text");
        db.sampled_intervals(2, 5);
        assert_eq!(said(&mut db, &since)[2..4], ["ok", "nothing"]);
    }
}

#[test]
fn a_full_pool_for_which_nobody_waits_has_its_level_and_no_finding() {
    let server = Server::manual().conf("pg_perfmon.activity_interval = '100ms'").start();
    let mut db = server.new_db("app");
    db.run("CREATE ROLE alice LOGIN");
    let Some(pooler) = PgBouncer::sized(&server, 5, "md5", &[]) else { return };
    pooler.declare(&mut db, pooler.dir().to_str().unwrap(), POOLER_PASSWORD);
    let mut clients: Vec<Db> = (0..5).map(|_| pooler.client("alice")).collect();
    clients.iter_mut().for_each(|client| client.run("BEGIN"));
    db.snapshot();
    let since: String = db.val("SELECT clock_timestamp()::text");
    db.sampled_intervals(2, 10);
    let said = said(&mut db, &since);
    assert_eq!(said[..4], ["pooler", "5", "critical", "client"], "{said:?}");
    let found = db.evaluate();
    let found: Vec<String> =
        found.iter().filter(|f| f.kind.starts_with("pool")).map(|f| f.head()).collect();
    assert_eq!(found, Vec::<String>::new());
    let report: String = db.val("SELECT perfmon.report(now() - interval '1 hour', now())");
    assert!(report.contains("is at 100.0 % of its limit"), "{report}");
}

#[test]
fn pools_of_another_server_on_the_same_port_are_not_ours() {
    let server = Server::manual().conf("pg_perfmon.activity_interval = '100ms'").start();
    let other = Server::manual().start();
    let mut db = server.new_db("app");
    db.run("CREATE ROLE alice LOGIN");
    other.db("postgres").run("CREATE ROLE alice LOGIN");
    other.db("postgres").run("CREATE DATABASE app");
    // Both listen on the same port, each in its own directory.
    let far = format!("far = host={} port=5432 dbname=app pool_size=3", other.dir().display());
    let Some(pooler) = PgBouncer::sized(&server, 5, "md5", &["[databases]", &far]) else { return };
    pooler.declare(&mut db, pooler.dir().to_str().unwrap(), POOLER_PASSWORD);
    db.snapshot();
    let [mut near, mut away] = [pooler.client("alice"), pooler.client_of("alice", "far")];
    near.run("SELECT 1");
    let mut also = [pooler.client_of("alice", "far"), pooler.client_of("alice", "far")];
    away.run("BEGIN");
    also.iter_mut().for_each(|client| client.run("BEGIN"));
    // A fourth waits there for a place.
    let mut fourth = pooler.client_of("alice", "far");
    thread::scope(|scope| {
        let waiter = scope.spawn(move || fourth.run("SELECT 1"));
        wait_until("a client that waits", secs(30), || {
            db.val::<bool>(
                "SELECT count(*) FILTER (WHERE state = 'waiting') > 0 FROM perfmon.pooler_clients()",
            )
        });
        db.snapshot();
        let since: String = db.val("SELECT clock_timestamp()::text");
        db.sampled_intervals(3, 3);
        let said = said(&mut db, &since);
        assert_eq!(said[..4], ["pooler", "5", "ok", "nothing"], "{said:?}");
        let queued: Vec<String> = db.list(&format!(
            "SELECT detail FROM perfmon.why_queued('{since}', clock_timestamp()) WHERE cause <> 'nothing'"
        ));
        assert_eq!(queued, Vec::<String>::new());
        also.iter_mut().for_each(|client| client.run("ROLLBACK"));
        waiter.join().unwrap();
    });
}
