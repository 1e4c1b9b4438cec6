//! Memory that is full: what is counted with the rest is not forgotten, and the reason that is told is the true one.

use super::*;

/// Fails with so many SQLSTATEs in turn, from one on.
fn raise(client: &mut Db, from: u32, count: u32) {
    let digit = |n: u32| char::from_digit(n % 36, 36).unwrap().to_ascii_uppercase();
    for n in from..from + count {
        let state: String = [n / 1296, n / 36, n].map(digit).iter().collect();
        client.fails(&format!("SELECT raise('X0{state}')"));
    }
}

#[test]
fn errors_of_too_many_kinds_are_counted_in_their_database() {
    const KINDS: u32 = 4_200;
    // What finds a place, whatever max_statements says.
    const PLACES: u32 = 4_096;
    const MORE: u32 = 300;
    let server = Server::manual().conf("pg_perfmon.max_statements = 1000").start();
    let mut home = server.new_db("home");
    home.run(CAPTURE_OFF);
    home.snapshot();
    let mut db = app(&server);
    db.run(
        "CREATE FUNCTION raise(state text) RETURNS int LANGUAGE plpgsql AS
             $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = state; END $$;
         SELECT perfmon.create_slo('database', error_ratio => 0.4);
         SELECT perfmon.create_slo('alice', username => 'alice', error_ratio => 0.4);
         SELECT perfmon.create_slo('bob', username => 'bob', error_ratio => 0.01)",
    );
    db.snapshot();
    let mut alice = server.connect("alice", "app");
    raise(&mut alice, 0, KINDS);
    db.snapshot();
    raise(&mut alice, KINDS, MORE);
    (0..MORE).for_each(|_| alice.run("SELECT 1"));
    let mut bob = server.connect("bob", "app");
    (0..MORE).for_each(|_| bob.run("SELECT 1"));
    home.snapshot();
    db.snapshot();
    let all = i64::from(KINDS + MORE);
    let counted = "SELECT sum(errors)::bigint FROM perfmon.errors() WHERE class = 'error'";
    assert_eq!(db.val::<i64>(counted), all);
    assert_eq!(db.val::<i64>("SELECT sum(errors)::bigint FROM perfmon.error_series()"), all);
    let unknown = "SELECT sum(errors)::bigint FROM perfmon.errors() WHERE sqlstate IS NULL";
    assert!(db.val::<i64>(unknown) >= i64::from(KINDS + MORE - PLACES));
    let elsewhere =
        "SELECT coalesce(sum(errors), 0)::bigint FROM perfmon.errors() WHERE class = 'error'";
    assert_eq!(home.val::<i64>(elsewhere), 0, "they are not the home database's");
    for (name, expected) in [("database", "met"), ("alice", "missed"), ("bob", "met")] {
        let (status, detail) = of_the_last(&mut db, name, "errors");
        assert_eq!(status, expected, "{name}: {detail}");
    }
    let (state, value, hint) = item(&mut db, "capture memory");
    assert!(state == "warning" && value.contains("kinds of error"), "{value}");
    assert!(hint.as_deref().unwrap().contains("pg_perfmon.max_statements"), "{hint:?}");
}

#[test]
fn what_found_no_place_is_not_said_to_be_for_capture() {
    let server = Server::manual().conf("pg_perfmon.max_statements = 100").start();
    let mut db = app(&server);
    let mut alice = server.connect("alice", "app");
    server.connect("bob", "app").run("SELECT 'x'");
    db.snapshot();
    let id: i32 = db.val(
        "SELECT statement_id FROM perfmon.statement WHERE user_name = 'bob' AND query LIKE 'SELECT%'",
    );
    db.run(&format!(
        "SELECT perfmon.create_slo('statement', statement_id => {id}, p95_ms => 1000, min_executions => 10);
         SELECT perfmon.create_slo('user', username => 'bob', p95_ms => 1000, min_executions => 10)"
    ));
    let mut given = 0;
    let mut flood = move |count: usize| {
        for _ in 0..count {
            given += 1;
            let constants = (0..13).map(|bit| if given >> bit & 1 == 0 { "1" } else { "'x'" });
            alice.run(&format!("SELECT {}", constants.collect::<Vec<_>>().join(", ")));
        }
    };
    let is_there = "SELECT count(*) > 0 FROM perfmon.latency_since_start() WHERE user_name = 'bob'";
    wait_until("its statement has no place", secs(100), || {
        flood(150);
        if db.val::<bool>(is_there) {
            return false;
        }
        // None is left when it comes.
        flood(150);
        let mut bob = server.connect("bob", "app");
        (0..50).for_each(|_| bob.run("SELECT 'x'"));
        db.snapshot();
        of_the_last(&mut db, "statement", "p95").0 == "no_data"
    });
    let (_, detail) = of_the_last(&mut db, "statement", "p95");
    assert!(detail.contains("pg_perfmon.max_statements"), "{detail}");
    assert!(!detail.contains("capture was off"), "{detail}");
    // Sums of a user do not need its statements.
    let (status, detail) = of_the_last(&mut db, "user", "p95");
    assert_eq!(status, "met", "{detail}");
    // Nor do windows that are read by the hour tell anything else.
    let (status, detail) = by_the_hour(&mut db, "statement", "p95");
    assert_eq!(status, "no_data", "{detail}");
    assert!(detail.contains("pg_perfmon.max_statements"), "{detail}");
    assert!(!detail.contains("capture was off"), "{detail}");
    let (status, detail) = by_the_hour(&mut db, "user", "p95");
    assert_eq!(status, "met", "{detail}");
}
