//! Databases and the extension are dropped, renamed and made while they are read.

use std::time::{Duration, Instant};

use perfmon_e2e::{Db, Server, never, secs, wait_until};

use crate::{caught_collector, goes_on, healthy, locking, patient, watched};

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
    holder.run(&locking(&mut db, "perfmon.statement_minute"));
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
