//! Clients that ask and get no answer: no execution tells of them.

use super::*;

/// Status and detail of an availability in the last interval.
fn last(db: &mut Db, name: &str) -> (String, String) {
    let row = &db.rows(&format!(
        "SELECT s.status, s.detail
         FROM (SELECT since, until FROM perfmon.server_minute ORDER BY until DESC LIMIT 1) m,
             perfmon.slo_status(m.since, m.until) s
         WHERE s.slo_name = '{name}' AND s.objective = 'availability'",
    ))[0];
    (row.get(0), row.get(1))
}

fn asked(server: &Server) -> Db {
    let mut db = app(server);
    for (name, of) in [
        ("bobs", "username => 'bob'"),
        ("shops", "application => 'shop'"),
        ("all", "cluster => true"),
    ] {
        db.run(&format!(
            "SELECT perfmon.create_slo('{name}', {of}, p95_ms => 50, availability_ratio => 0.9)"
        ));
    }
    db.run("CREATE TABLE t (a int); GRANT ALL ON t TO bob");
    db.snapshot();
    db
}

#[test]
fn who_is_refused_finds_nothing_available() {
    let server = Server::manual().conf("max_connections = 20").start();
    let mut db = asked(&server);
    db.run("ALTER ROLE bob CONNECTION LIMIT 1");
    let mut bob = server.connect("bob", "app");
    bob.run("SET application_name = 'shop'; SELECT 1");
    db.snapshot();
    let refuse = |server: &Server, n: usize| {
        for _ in 0..n {
            let refused = server.try_connect("bob", "app").err().unwrap();
            assert_eq!(code_of(&refused), "53300");
        }
    };
    refuse(&server, 30);
    db.snapshot();
    let (status, detail) = last(&mut db, "bobs");
    assert_eq!(status, "missed", "{detail}");
    assert!(detail.contains("30 connections refused"), "{detail}");
    // Where many more answers came it is a pool that is too large.
    (0..300).for_each(|_| bob.run("SELECT 1"));
    refuse(&server, 30);
    db.snapshot();
    let (status, detail) = last(&mut db, "bobs");
    assert_eq!(status, "met", "{detail}");
    // To which database those were to go is not known.
    drop(bob);
    db.run("ALTER ROLE bob CONNECTION LIMIT -1");
    let mut held = Vec::new();
    while let Ok(one) = server.try_connect("alice", "app") {
        held.push(one);
    }
    refuse(&server, 30);
    db.snapshot();
    for (name, expected, words) in [
        ("bobs", "missed", "30 connections refused"),
        // And alice was.
        ("all", "missed", "31 connections refused"),
        ("shops", "no_data", "may have been for others"),
    ] {
        let (status, detail) = last(&mut db, name);
        assert_eq!(status, expected, "{name}: {detail}");
        assert!(detail.contains(words), "{name}: {detail}");
    }
}

#[test]
fn who_waits_all_the_time_finds_nothing_available() {
    let server = Server::manual().conf("pg_perfmon.activity_interval = '100ms'").start();
    let mut db = asked(&server);
    let mut locker = server.connect("postgres", "app");
    let wait = |sql: &'static str| {
        let mut bob = server.connect("bob", "app");
        std::thread::spawn(move || bob.run(sql))
    };
    let at_work = |db: &mut Db, count: i64| {
        wait_until("it is at work", secs(30), || {
            db.val::<i64>(
                "SELECT count(*) FROM pg_stat_activity WHERE usename = 'bob' AND state = 'active'",
            ) == count
        });
    };
    locker.run("BEGIN; LOCK TABLE t");
    let waiting: Vec<_> = (0..3).map(|_| wait("SELECT * FROM t")).collect();
    at_work(&mut db, 3);
    db.snapshot();
    db.sampled_intervals(1, 5);
    let (status, detail) = last(&mut db, "bobs");
    assert_eq!(status, "missed", "{detail}");
    assert!(detail.contains("waited for locks"), "{detail}");
    locker.run("COMMIT");
    waiting.into_iter().for_each(|one| one.join().unwrap());
    db.snapshot();
    // What works for long may be meant to.
    let long = wait("SELECT pg_sleep(1000)");
    at_work(&mut db, 1);
    db.snapshot();
    db.sampled_intervals(1, 5);
    let (status, detail) = last(&mut db, "bobs");
    assert_eq!(status, "no_data", "{detail}");
    assert!(detail.contains("were at work"), "{detail}");
    db.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'bob'");
    assert!(long.join().is_err());
    // Nobody asks.
    db.snapshot();
    db.sampled_intervals(1, 5);
    let (status, detail) = last(&mut db, "bobs");
    assert_eq!(status, "met", "{detail}");
}
