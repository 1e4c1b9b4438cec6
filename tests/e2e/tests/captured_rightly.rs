//! What the hooks must not take for something else: logins that fail, SQLSTATEs that functions raise, errors between
//! statements, pipelines, blocks that commit, and what runs when a transaction ends.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use perfmon_e2e::{Db, Server, Stop, secs, wait_until};

/// A session that is not counted itself.
fn unseen(server: &Server, database: &str) -> Db {
    let mut db = server.db(database);
    db.run("SET pg_perfmon.capture = 'off'");
    db
}

/// Class, SQLSTATE, whether a statement is named, and how often.
fn errors(db: &mut Db) -> Vec<(String, String, bool, i64)> {
    let rows = db.rows(
        "SELECT class, sqlstate, statement_id IS NOT NULL, sum(errors)::bigint FROM perfmon.errors()
         GROUP BY 1, 2, 3 ORDER BY 1, 2, 3",
    );
    rows.iter().map(|r| (r.get(0), r.get(1), r.get(2), r.get(3))).collect()
}

fn error(class: &str, state: &str, named: bool, times: i64) -> (String, String, bool, i64) {
    (class.to_owned(), state.to_owned(), named, times)
}

#[test]
fn logins_that_fail_are_no_statements_that_fail() {
    let server = Server::manual().start();
    drop(server.new_db("app"));
    let mut db = unseen(&server, "app");
    db.run("CREATE ROLE alice LOGIN; REVOKE CONNECT ON DATABASE app FROM PUBLIC");
    db.snapshot();
    for (role, database) in [("nobody", "app"), ("alice", "app"), ("alice", "nowhere")] {
        assert!(server.try_connect(role, database).is_err(), "{role} {database}");
    }
    db.snapshot();
    let expected = [
        error("login_failed", "28000", false, 1),
        error("login_failed", "3D000", false, 1),
        error("login_failed", "42501", false, 1),
    ];
    assert_eq!(errors(&mut db), expected);
    let counted = "SELECT coalesce(sum(errors), 0)::bigint FROM perfmon.error_series()";
    assert_eq!(db.val::<i64>(counted), 0);
    let of_routes = "SELECT coalesce(sum(errors), 0)::bigint FROM perfmon.routes()";
    assert_eq!(db.val::<i64>(of_routes), 0);
}

#[test]
fn a_raised_sqlstate_is_an_error_like_any_other() {
    let server = Server::manual().start();
    drop(server.new_db("app"));
    let mut db = unseen(&server, "app");
    db.snapshot();
    let mut client = server.connect("postgres", "app");
    let states = ["25P03", "40P01", "53300", "57014", "57P01", "57P03", "57P05"];
    for state in states {
        let raise = format!("DO $$ BEGIN RAISE 'mine' USING ERRCODE = '{state}'; END $$");
        assert_eq!(perfmon_e2e::code_of(&client.fails(&raise)), state);
    }
    db.snapshot();
    assert_eq!(errors(&mut db), states.map(|state| error("error", state, true, 1)));
}

#[test]
fn an_error_between_statements_is_not_that_of_the_one_before() {
    let server = Server::manual().start();
    drop(server.new_db("app"));
    let mut db = unseen(&server, "app");
    db.run("CREATE TABLE parent (a int PRIMARY KEY); CREATE TABLE child (a int REFERENCES parent DEFERRABLE INITIALLY DEFERRED)");
    db.snapshot();
    let mut client = server.connect("postgres", "app");
    let prepared = client.prepare("SELECT 7 AS seven").unwrap();
    client.run("DEALLOCATE ALL");
    client.query("SELECT 8 AS eight", &[]).unwrap();
    let gone = client.query(&prepared, &[]).unwrap_err();
    assert_eq!(perfmon_e2e::code_of(&gone), "26000");
    // A deferred failure at the end of the message is that of the statement.
    let late = client.execute("INSERT INTO child VALUES ($1)", &[&1]).unwrap_err();
    assert_eq!(perfmon_e2e::code_of(&late), "23503");
    db.snapshot();
    assert_eq!(
        errors(&mut db),
        [error("error", "23503", true, 1), error("error", "26000", false, 1)]
    );
}

/// Calls and transactions of an application, and the longest median of its transactions.
fn work(db: &mut Db, application: &str) -> (i64, i64, Option<f64>) {
    let sql = "SELECT coalesce(sum(calls), 0)::bigint, coalesce(sum(transactions), 0)::bigint,
                   max(transaction_p50_ms) FROM perfmon.routes() WHERE application = $1";
    let row = db.query_one(sql, &[&application]).unwrap();
    (row.get(0), row.get(1), row.get(2))
}

fn message(kind: &[u8], body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).unwrap().to_be_bytes();
    [kind, &length, body].concat()
}

/// A session without a client library.
fn session(server: &Server, database: &str, application: &str) -> UnixStream {
    let mut socket = UnixStream::connect(server.dir().join(".s.PGSQL.5432")).unwrap();
    let names =
        format!("user\0postgres\0database\0{database}\0application_name\0{application}\0\0");
    let start = message(b"", &[&196_608_u32.to_be_bytes(), names.as_bytes()].concat());
    socket.write_all(&start).unwrap();
    until_ready(&mut socket);
    socket
}

/// Sends statements by the extended protocol with one Sync behind the last, which no client library here does.
fn pipeline(server: &Server, database: &str, application: &str, statements: &[&str]) {
    let mut socket = session(server, database, application);
    let mut sent = Vec::new();
    for sql in statements {
        sent.extend(message(b"P", format!("\0{sql}\0\0\0").as_bytes()));
        sent.extend(message(b"B", &[0; 8]));
        sent.extend(message(b"E", &[0; 5]));
    }
    sent.extend(message(b"S", b""));
    socket.write_all(&sent).unwrap();
    until_ready(&mut socket);
    socket.write_all(&message(b"X", b"")).unwrap();
}

/// Reads what the server answers up to the message that it waits.
fn until_ready(socket: &mut UnixStream) {
    loop {
        let mut head = [0; 5];
        socket.read_exact(&mut head).unwrap();
        let length = u32::from_be_bytes(head[1..].try_into().unwrap()) as usize;
        let mut body = vec![0; length - 4];
        socket.read_exact(&mut body).unwrap();
        assert_ne!(head[0], b'E', "{}", String::from_utf8_lossy(&body));
        if head[0] == b'Z' {
            return;
        }
    }
}

#[test]
fn transactions_take_as_long_as_they_do() {
    let server = Server::manual().start();
    drop(server.new_db("app"));
    let mut db = unseen(&server, "app");
    db.run("CREATE TABLE t (a int)");
    db.snapshot();
    let mut client = server.connect("postgres", "app");
    // Several statements before one Sync are one transaction.
    let statements = ["SELECT 1", "INSERT INTO t SELECT 1 FROM pg_sleep(0.05)"];
    pipeline(&server, "app", "pipeline", &statements);
    client.run("SET application_name = 'alone'");
    client.query("SELECT 1", &[]).unwrap();
    client.run("SET application_name = 'block'");
    client.run("DO $$ BEGIN PERFORM pg_sleep(0.05); COMMIT; END $$");
    db.snapshot();
    let (calls, transactions, p50) = work(&mut db, "pipeline");
    assert_eq!((calls, transactions), (2, 1));
    assert!(p50.is_some_and(|ms| ms >= 45.0), "{p50:?}");
    let (calls, transactions, p50) = work(&mut db, "alone");
    assert_eq!((calls, transactions), (1, 1));
    assert!(p50.is_some_and(|ms| ms < 45.0), "{p50:?}");
    let (calls, transactions, _) = work(&mut db, "block");
    assert_eq!((calls, transactions), (1, 2), "what it committed, and what it began then");
    let longest: f64 =
        db.val("SELECT max(transaction_p99_ms) FROM perfmon.routes() WHERE application = 'block'");
    assert!(longest >= 45.0, "{longest}");
    drop((client, db));
    server.stop(Stop::Fast);
}

#[test]
fn a_rollback_within_a_block_ends_a_transaction_as_a_commit_does() {
    let server = Server::manual().start();
    drop(server.new_db("app"));
    let mut db = unseen(&server, "app");
    db.run(
        "CREATE TABLE t (a int); INSERT INTO t VALUES (1);
         CREATE PROCEDURE undo() LANGUAGE plpgsql AS $$ BEGIN
             FOR i IN 1..3 LOOP UPDATE t SET a = a + 1; ROLLBACK; END LOOP; END $$;
         CREATE PROCEDURE keep() LANGUAGE plpgsql AS $$ BEGIN
             FOR i IN 1..3 LOOP UPDATE t SET a = a + 1; COMMIT; END LOOP; END $$",
    );
    db.snapshot();
    let mut client = server.connect("postgres", "app");
    for name in ["undo", "keep"] {
        client.run(&format!("SET application_name = '{name}'"));
        client.run(&format!("CALL {name}()"));
    }
    client.run("SET application_name = 'block'");
    client.run(
        "DO $$ BEGIN PERFORM pg_sleep(0.2); COMMIT; PERFORM pg_sleep(0.1); ROLLBACK;
             PERFORM pg_sleep(0.05); END $$",
    );
    // What rolls back a client's own block, or fails, ends one transaction.
    client.run("SET application_name = 'plain'");
    client.run("BEGIN; UPDATE t SET a = 5");
    client.run("ROLLBACK");
    client.run("SET application_name = 'failing'");
    client.fails("DO $$ BEGIN PERFORM 1 / 0; END $$");
    // An error that a block catches ends none; one behind a ROLLBACK ends what began there.
    client.run("SET application_name = 'caught'");
    client.run("DO $$ BEGIN PERFORM 1 / 0; EXCEPTION WHEN division_by_zero THEN NULL; END $$");
    client.run("SET application_name = 'both'");
    client.fails("DO $$ BEGIN UPDATE t SET a = 6; ROLLBACK; PERFORM 1 / 0; END $$");
    db.snapshot();
    let transactions = ["undo", "keep", "block", "plain", "failing", "caught", "both"]
        .map(|name| work(&mut db, name).1);
    assert_eq!(transactions, [4, 4, 3, 1, 1, 1, 2]);
    let row = &db.rows(
        "SELECT transaction_p50_ms, transaction_p99_ms FROM perfmon.routes() WHERE application = 'block'",
    )[0];
    let (middle, longest): (f64, f64) = (row.get(0), row.get(1));
    assert!((95.0..190.0).contains(&middle) && longest >= 190.0, "{middle} {longest}");
    drop((client, db));
    server.stop(Stop::Fast);
}

#[test]
fn deferred_triggers_are_no_statements_of_clients() {
    let server = Server::manual().start();
    drop(server.new_db("app"));
    let mut db = unseen(&server, "app");
    db.run(
        "CREATE TABLE parent (a int PRIMARY KEY); INSERT INTO parent VALUES (1);
         CREATE TABLE child (a int REFERENCES parent DEFERRABLE INITIALLY DEFERRED);
         CREATE FUNCTION look() RETURNS trigger LANGUAGE plpgsql AS $$
             BEGIN PERFORM a FROM parent; PERFORM a FROM child; RETURN NULL; END $$;
         CREATE CONSTRAINT TRIGGER look AFTER INSERT ON child DEFERRABLE INITIALLY DEFERRED
             FOR EACH ROW EXECUTE FUNCTION look()",
    );
    db.snapshot();
    let mut client = server.connect("postgres", "app");
    client.run("SET application_name = 'shop'");
    client.run("INSERT INTO child VALUES (1)");
    client.execute("INSERT INTO child VALUES ($1)", &[&1]).unwrap();
    client.run("BEGIN; INSERT INTO child VALUES (1); SELECT 2; COMMIT");
    client.run("BEGIN");
    client.run("INSERT INTO child VALUES (1)");
    client.run("COMMIT");
    client.run("SELECT 3");
    db.snapshot();
    let (calls, transactions, _) = work(&mut db, "shop");
    assert_eq!((calls, transactions), (6, 5));
}

/// Documented as it is: what fails at its own commit was executed, and failed.
#[test]
fn what_fails_at_its_own_commit_is_an_execution_and_an_error() {
    let server = Server::manual().start();
    drop(server.new_db("app"));
    let mut db = unseen(&server, "app");
    db.run("CREATE TABLE t (a int UNIQUE DEFERRABLE INITIALLY DEFERRED); INSERT INTO t VALUES (1)");
    db.snapshot();
    let mut client = server.connect("postgres", "app");
    client.run("SET application_name = 'shop'");
    let counted =
        "SELECT calls, errors, error_ratio FROM perfmon.routes() WHERE application = 'shop'";
    let of_shop = |db: &mut Db| -> (i64, i64, f64) {
        db.snapshot();
        let row = &db.rows(counted)[0];
        (row.get(0), row.get(1), row.get(2))
    };
    (0..10).for_each(|_| {
        client.fails("INSERT INTO t VALUES (1)");
    });
    assert_eq!(of_shop(&mut db), (10, 10, 0.5));
    // In a block it is COMMIT that fails, and only what came before was executed to its end.
    for _ in 0..10 {
        client.run("BEGIN");
        client.run("INSERT INTO t VALUES (1)");
        client.fails("COMMIT");
    }
    assert_eq!(of_shop(&mut db), (20, 20, 0.5));
}

/// A client that goes away does not get the answer: that is an error of what was not executed to its end.
#[test]
fn who_goes_away_makes_no_error_of_what_was_executed() {
    let server = Server::manual().start();
    drop(server.new_db("app"));
    let (mut db, mut holder) = (unseen(&server, "app"), unseen(&server, "app"));
    db.run("CREATE TABLE copied (a int)");
    db.snapshot();
    let mut socket = session(&server, "app", "amid");
    socket.write_all(&message(b"Q", b"COPY copied FROM STDIN\0")).unwrap();
    // CopyInResponse: the server waits for rows.
    let mut kind = [0];
    socket.read_exact(&mut kind).unwrap();
    assert_eq!(&kind, b"G");
    drop(socket);
    wait_until("it is gone", secs(30), || {
        db.val("SELECT count(*) = 0 FROM pg_stat_activity WHERE application_name = 'amid'")
    });
    let waits = "SELECT pg_advisory_lock(7)";
    let mut leaves = |application: &str, before: &str| {
        holder.run(waits);
        let mut socket = session(&server, "app", application);
        let sql = format!("{before}{waits}\0");
        socket.write_all(&message(b"Q", sql.as_bytes())).unwrap();
        let own = format!("FROM pg_stat_activity WHERE application_name = '{application}'");
        let at_work = format!("SELECT count(*) = 1 {own} AND wait_event_type = 'Lock'");
        wait_until("it waits", secs(30), || db.val::<bool>(&at_work));
        drop(socket);
        let gone = format!("SELECT count(*) = 0 {own}");
        // The server looks after its client only while it is told to, and otherwise when it answers.
        if before.is_empty() {
            holder.run("SELECT pg_advisory_unlock(7)");
        }
        wait_until("it is gone", secs(30), || db.val::<bool>(&gone));
        holder.run("SELECT pg_advisory_unlock_all()");
    };
    leaves("late", "");
    leaves("early", "SET client_connection_check_interval = '20ms'; ");
    db.snapshot();
    let sql = "SELECT application || ' ' || calls || ' ' || errors FROM perfmon.routes()
               WHERE application IN ('late', 'early', 'amid') ORDER BY 1";
    assert_eq!(db.list::<String>(sql), ["amid 0 1", "early 0 1", "late 1 0"]);
    // Of what a client was sending when it went away the server says, too, that it can follow no more.
    let expected = [
        error("error", "08006", true, 2),
        error("terminated", "08006", false, 1),
        error("terminated", "08P01", false, 1),
    ];
    assert_eq!(errors(&mut db), expected);
}
