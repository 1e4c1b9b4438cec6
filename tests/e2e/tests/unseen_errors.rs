//! Errors that the server keeps from the hooks, whoever asked for that, are known to be there, and nothing else is taken
//! for one.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use perfmon_e2e::{Db, Server, secs, wait_until};

const CAPTURE_OFF: &str = "SET pg_perfmon.capture = 'off'";

fn app(server: &Server) -> Db {
    let mut db = server.new_db("app");
    db.run(CAPTURE_OFF);
    db.run(
        "CREATE ROLE alice LOGIN SUPERUSER; CREATE ROLE bob LOGIN; CREATE ROLE carol LOGIN;
         CREATE FUNCTION fails() RETURNS int LANGUAGE plpgsql AS 'BEGIN RETURN 1 / 0; END';
         CREATE FUNCTION fails_unseen() RETURNS int LANGUAGE plpgsql SET log_min_messages = 'fatal' AS
             'BEGIN RETURN 1 / 0; END'",
    );
    db.snapshot();
    db
}

/// Users of whom errors were not seen, and how many, since the server started.
fn unseen(db: &mut Db) -> Vec<(String, i64)> {
    let sql = "SELECT user_name, sum(errors)::bigint FROM perfmon.errors_since_start()
               WHERE class = 'unseen' GROUP BY 1 ORDER BY 1";
    db.rows(sql).iter().map(|row| (row.get(0), row.get(1))).collect()
}

/// Status and detail of a promise about errors over the last hour.
fn promise(db: &mut Db, name: &str) -> (String, String) {
    let sql = "SELECT status, detail FROM perfmon.slo_status()
               WHERE slo_name = $1 AND objective = 'errors'";
    let row = db.query_one(sql, &[&name]).unwrap();
    (row.get(0), row.get(1))
}

#[test]
fn errors_are_noticed_whoever_hides_them() {
    let server = Server::manual().start();
    let mut db = app(&server);
    let mut alice = server.connect("alice", "app");
    // Heard.
    alice.fails("SELECT 1 / 0");
    assert_eq!(unseen(&mut db), []);
    let mut expected = 0;
    let mut fails = |alice: &mut Db, sql: &str, times: i64| {
        alice.fails(sql);
        // The client hears of an error before the transaction is undone.
        alice.run("ROLLBACK");
        expected += times;
        let told = if expected > 0 { vec![("alice".to_owned(), expected)] } else { vec![] };
        assert_eq!(unseen(&mut db), told, "{sql}");
    };
    fails(&mut alice, "SELECT fails()", 0);
    fails(&mut alice, "SELECT fails_unseen()", 1);
    fails(&mut alice, "BEGIN; SET LOCAL log_min_messages = 'panic'; SELECT 1 / 0", 1);
    // What that transaction had set is gone.
    fails(&mut alice, "SELECT 1 / 0", 0);
    alice.run("SET log_min_messages = 'fatal'");
    fails(&mut alice, "SELEKT", 1);
    fails(&mut alice, "SELECT 1 / 0", 1);
    fails(&mut alice, "SET statement_timeout = '10ms'; SELECT pg_sleep(30)", 1);
    alice.run("RESET statement_timeout");
    fails(&mut alice, "BEGIN; SAVEPOINT a; SELECT 1 / 0", 1);
    fails(&mut alice, "BEGIN; SAVEPOINT a; SAVEPOINT b; SELECT fails()", 1);
    fails(
        &mut alice,
        "DO 'BEGIN BEGIN PERFORM fails(); EXCEPTION WHEN OTHERS THEN RAISE; END; END'",
        1,
    );
    // As a message of its own.
    assert!(alice.query("SELECT 1 / $1::int", &[&0]).is_err());
    fails(&mut alice, "SELECT 1 / 0", 2);
    // At the end of the transaction.
    alice.run(
        "CREATE TABLE early (a int PRIMARY KEY);
         CREATE TABLE late (a int REFERENCES early DEFERRABLE INITIALLY DEFERRED)",
    );
    fails(&mut alice, "BEGIN; INSERT INTO late VALUES (1); COMMIT", 1);
}

#[test]
fn what_only_rolls_back_is_no_error() {
    let server = Server::manual().start();
    let mut db = app(&server);
    db.run(
        "CREATE PROCEDURE rolls_back() LANGUAGE plpgsql AS
             'BEGIN PERFORM 1; ROLLBACK; PERFORM 2; COMMIT; END'",
    );
    let mut alice = server.connect("alice", "app");
    alice.run("SET log_min_messages = 'fatal'");
    for sql in [
        "BEGIN; SELECT 1; ROLLBACK",
        "BEGIN; SAVEPOINT s; SELECT 1; ROLLBACK TO s; RELEASE s; COMMIT",
        "BEGIN; SAVEPOINT s; SAVEPOINT t; ROLLBACK TO s; ROLLBACK",
        "DO 'BEGIN PERFORM 1 / 0; EXCEPTION WHEN OTHERS THEN NULL; END'",
        "BEGIN; DO 'BEGIN PERFORM fails(); EXCEPTION WHEN division_by_zero THEN NULL; END'; COMMIT",
        "CALL rolls_back()",
        "BEGIN; ABORT",
    ] {
        alice.run(sql);
        assert_eq!(unseen(&mut db), [], "{sql}");
    }
    for sql in ["BEGIN", "SELECT 1", "ROLLBACK"] {
        alice.query(sql, &[]).unwrap();
    }
    let mut transaction = alice.transaction().unwrap();
    transaction.query("SELECT 1 WHERE 1 = $1::int", &[&1]).unwrap();
    transaction.rollback().unwrap();
    // Sessions that end inside of a transaction, as they please or not.
    alice.run("BEGIN; SELECT 1");
    let pid = alice.pid();
    drop(alice);
    let mut gone = |pid: i32| {
        wait_until("a session that ends", secs(20), || {
            db.val::<bool>(&format!(
                "SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid = {pid})"
            ))
        });
    };
    gone(pid);
    let mut alice = server.connect("alice", "app");
    alice.run("SET log_min_messages = 'panic'; BEGIN; SELECT 1");
    let pid = alice.pid();
    server.connect("alice", "app").run(&format!("SELECT pg_terminate_backend({pid})"));
    gone(pid);
    assert_eq!(unseen(&mut db), []);
}

#[test]
fn a_role_that_only_fails_unseen_meets_nothing() {
    let server = Server::manual().start();
    let mut db = app(&server);
    db.run(
        "ALTER ROLE bob SET log_min_messages = 'fatal';
         SELECT perfmon.create_slo('database', error_ratio => 0.5);
         SELECT perfmon.create_slo('cluster', cluster => true, error_ratio => 0.5);
         SELECT perfmon.create_slo('alice', username => 'alice', error_ratio => 0.5);
         SELECT perfmon.create_slo('bob', username => 'bob', error_ratio => 0.5);
         SELECT perfmon.create_slo('carol', username => 'carol', error_ratio => 0.5)",
    );
    let mut alice = server.connect("alice", "app");
    (0..150).for_each(|_| alice.run("SELECT 1"));
    db.snapshot();
    let mut bob = server.connect("bob", "app");
    for _ in 0..150 {
        bob.fails("SELECT 1 / 0");
    }
    wait_until("the last one", secs(20), || unseen(&mut db) == [("bob".to_owned(), 150)]);
    db.snapshot();
    // It completed nothing, so that nothing but its failures tells of it.
    for name in ["database", "bob"] {
        let (status, detail) = promise(&mut db, name);
        assert_eq!(status, "no_data", "{name}: {detail}");
        assert!(detail.contains("ALTER ROLE bob RESET log_min_messages"), "{detail}");
    }
    assert_eq!(promise(&mut db, "cluster").0, "no_data");
    assert_eq!(promise(&mut db, "alice").0, "met");
    // Whose errors were hidden is still known when the setting is taken back.
    db.run("ALTER ROLE bob RESET log_min_messages");
    assert_eq!(promise(&mut db, "alice").0, "met");
    assert_eq!(promise(&mut db, "bob").0, "no_data");
    let (mut reader, notices) = server.noticing("app");
    let errors = "SELECT sum(errors)::bigint FROM perfmon.errors() WHERE class = 'unseen' AND sqlstate IS NULL AND user_name = 'bob'";
    assert_eq!(reader.val::<i64>(errors), 150);
    let said = notices.lock().unwrap().clone();
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].contains("kept those of bob from the hooks"), "{said:?}");
}

#[test]
fn what_a_session_sets_for_itself_hides_nothing() {
    let server = Server::manual().start();
    let mut db = app(&server);
    db.run("CREATE DATABASE other");
    db.run(
        "SELECT perfmon.create_slo('database', error_ratio => 0.5);
         SELECT perfmon.create_slo('cluster', cluster => true, error_ratio => 0.5);
         SELECT perfmon.create_slo('shop', application => 'shop', error_ratio => 0.5);
         SELECT perfmon.create_slo('jobs', application => 'jobs', error_ratio => 0.5);
         SELECT perfmon.create_slo('bob', username => 'bob', error_ratio => 0.5);
         SELECT perfmon.create_slo('carol', username => 'carol', error_ratio => 0.5)",
    );
    db.snapshot();
    let work = |role: &str, application: &str, before: &str| {
        let mut client = server.connect(role, "app");
        client.run(&format!("SET application_name = '{application}'; {before}"));
        for _ in 0..120 {
            client.run("SELECT 1");
            client.fails("SELECT 1 / 0");
        }
    };
    work("bob", "shop", "");
    db.snapshot();
    for name in ["database", "cluster", "shop", "bob"] {
        assert_eq!(promise(&mut db, name).0, "met", "{name}");
    }
    work("alice", "jobs", "SET log_min_messages = 'fatal'; SET SESSION AUTHORIZATION carol");
    work("bob", "shop", "");
    db.snapshot();
    for name in ["database", "cluster", "jobs", "carol"] {
        let (status, detail) = promise(&mut db, name);
        assert_eq!(status, "no_data", "{name}: {detail}");
        assert!(detail.contains("log_min_messages kept them from the hooks"), "{name}: {detail}");
    }
    for name in ["shop", "bob"] {
        assert_eq!(promise(&mut db, name).0, "met", "{name}");
    }
    let routes = "SELECT user_name || ' ' || coalesce(errors::text, '?') FROM perfmon.routes()
                  WHERE application IN ('shop', 'jobs') ORDER BY 1";
    assert_eq!(db.list::<String>(routes), ["bob 240", "carol ?"]);
    let series = "SELECT bool_and(errors IS NULL) FROM perfmon.error_series(step => '1 hour') WHERE executions > 0";
    assert!(db.val::<bool>(series));

    // In another database, where only the cluster is concerned.
    let since: String = db.val("SELECT max(until)::text FROM perfmon.server_minute");
    let mut client = server.connect("alice", "other");
    client.run("SET log_min_messages = 'fatal'");
    client.fails("SELECT 1 / 0");
    client.run("ROLLBACK");
    work("bob", "shop", "");
    db.snapshot();
    let status = |db: &mut Db, name: &str| -> String {
        let sql = "SELECT status FROM perfmon.slo_status($1::text::timestamptz + interval '1 ms') WHERE slo_name = $2";
        db.query_one(sql, &[&since, &name]).unwrap().get(0)
    };
    assert_eq!(status(&mut db, "database"), "met");
    assert_eq!(status(&mut db, "cluster"), "no_data");
}

#[test]
fn what_is_kept_for_the_owner_of_the_cluster_says_nothing_of_others() {
    let server = Server::manual().start();
    let mut db = app(&server);
    let owner: String = db.val("SELECT rolname::text FROM pg_roles WHERE oid = 10");
    db.run("SELECT perfmon.create_slo('bob', username => 'bob', error_ratio => 0.6)");
    db.run(&format!(
        "ALTER ROLE {owner} SET log_min_messages = 'fatal';
         ALTER ROLE {owner} SET pg_perfmon.capture = 'off'"
    ));
    db.snapshot();
    let mut bob = server.connect("bob", "app");
    for _ in 0..120 {
        bob.run("SELECT 1");
        bob.fails("SELECT 1 / 0");
    }
    db.snapshot();
    let (status, detail) = promise(&mut db, "bob");
    assert_eq!(status, "met", "{detail}");

    // The other way around: errors of all are hidden, but the owner's.
    db.run(&format!(
        "ALTER ROLE {owner} SET log_min_messages = 'warning';
         ALTER ROLE {owner} RESET pg_perfmon.capture"
    ));
    db.run("ALTER SYSTEM SET log_min_messages = 'fatal'");
    db.run("SELECT pg_reload_conf()");
    wait_until("sessions that hide errors", secs(20), || {
        bob.val::<String>("SELECT current_setting('log_min_messages')") == "fatal"
    });
    db.snapshot();
    (0..120).for_each(|_| bob.run("SELECT 1"));
    db.snapshot();
    let last = "(SELECT max(until) - interval '1 ms' FROM perfmon.server_minute)";
    let status: String = db.val(&format!("SELECT status FROM perfmon.slo_status({last})"));
    assert_eq!(status, "no_data");
}
