//! Work of which it is not known whose it was, or of which nobody keeps more than the number.

use super::*;

fn reach(server: &Server, value: &str) {
    wait_until("the setting is there", secs(10), || {
        server.connect("bob", "app").val::<String>("SHOW pg_perfmon.capture") == value
    });
}

/// Status and detail of a promise over the time since a moment.
fn since(db: &mut Db, moment: &str, name: &str, objective: &str) -> (String, String) {
    let sql = "SELECT status, detail FROM perfmon.slo_status($1::text::timestamptz,
                   (SELECT max(until) FROM perfmon.server_minute))
               WHERE slo_name = $2 AND objective = $3";
    let row = db.query_one(sql, &[&moment, &name, &objective]).unwrap();
    (row.get(0), row.get(1))
}

#[test]
fn what_found_no_route_of_its_own_may_be_an_applications() {
    let server = Server::manual().conf("pg_perfmon.max_routes = 20").start();
    let mut db = app(&server);
    let targets = "p95_ms => 5, error_ratio => 0.05, availability_ratio => 0.5, throughput_per_second => 1e-6";
    for name in ["shop", "late", "idle"] {
        db.run(&format!("SELECT perfmon.create_slo('{name}', application => '{name}', {targets})"));
    }
    db.run("SELECT perfmon.create_slo('lenient', application => 'shop', error_ratio => 0.5)");
    db.snapshot();
    let mut client = server.connect("alice", "app");
    client.run("SET application_name = 'shop'");
    (0..200).for_each(|_| client.run("SELECT 1"));
    for i in 0..300 {
        client.run(&format!("SELECT pg_sleep(0.01) /*route='/orders/{i}'*/"));
    }
    for i in 0..50 {
        client.fails(&format!("SELECT 1 / 0 /*route='/failing/{i}'*/"));
    }
    let mut client = server.connect("alice", "app");
    client.run("SET application_name = 'late'");
    for i in 0..200 {
        client.run(&format!("SELECT pg_sleep(0.007) /*route='/late/{i}'*/"));
    }
    db.snapshot();
    for name in ["shop", "late", "idle"] {
        for objective in ["p95", "errors", "availability"] {
            let (status, detail) = of_the_last(&mut db, name, objective);
            assert_eq!(status, "no_data", "{name} {objective}: {detail}");
            assert!(detail.contains("pg_perfmon.max_routes"), "{name} {objective}: {detail}");
        }
    }
    let (status, detail) = of_the_last(&mut db, "shop", "throughput");
    assert_eq!(status, "met", "{detail}");
    let (status, detail) = of_the_last(&mut db, "idle", "throughput");
    assert!(status == "no_data" && detail.contains("pg_perfmon.max_routes"), "{status}: {detail}");
    // Whoever it was, it is kept.
    let (status, detail) = of_the_last(&mut db, "lenient", "errors");
    assert_eq!(status, "met", "{detail}");
}

#[test]
fn an_application_keeps_no_promise_while_capture_is_off_for_all() {
    let server = Server::manual().start();
    let mut db = app(&server);
    let names = ["database", "user", "application"];
    for (name, of) in names.iter().zip(["", "username => 'bob', ", "application => 'shop', "]) {
        db.run(&format!(
            "SELECT perfmon.create_slo('{name}', {of} p95_ms => 10000, error_ratio => 0.4,
                 availability_ratio => 0.5, min_executions => 10)"
        ));
    }
    let work = || {
        let mut client = server.connect("bob", "app");
        client.run("SET application_name = 'shop'");
        (0..200).for_each(|_| client.run("SELECT 1"));
        client
    };
    db.snapshot();
    let moment: String = db.val("SELECT max(until)::text FROM perfmon.server_minute");
    work();
    db.snapshot();
    db.run("ALTER SYSTEM SET pg_perfmon.capture = 'off'");
    server.reload();
    reach(&server, "off");
    let mut client = work();
    (0..40).for_each(|_| {
        client.fails("SELECT 1 / 0");
    });
    client.run("SELECT pg_sleep(1)");
    db.snapshot();
    db.run("ALTER SYSTEM RESET pg_perfmon.capture");
    server.reload();
    reach(&server, "top");
    work();
    db.snapshot();
    for name in names {
        for objective in ["p95", "errors", "availability"] {
            let (status, detail) = since(&mut db, &moment, name, objective);
            assert_eq!(status, "no_data", "{name} {objective}: {detail}");
            assert!(detail.contains("pg_perfmon.capture was off"), "{name} {objective}: {detail}");
        }
    }
}

#[test]
fn errors_that_found_no_place_may_be_anybodys() {
    let server = Server::manual().start();
    let mut db = app(&server);
    db.run(
        "SELECT perfmon.create_slo('bobs', username => 'bob', error_ratio => 0.05);
         SELECT perfmon.create_slo('lenient', username => 'bob', error_ratio => 0.9999)",
    );
    let mut bob = server.connect("bob", "app");
    bob.run("SELECT 1");
    db.snapshot();
    // Each is a statement of its own.
    let mut alice = server.connect("alice", "app");
    for i in 0..4_300 {
        let constants = (0..13).map(|bit| if i >> bit & 1 == 0 { "1" } else { "'x'" });
        alice.fails(&format!("SELECT 1 / 0, {}", constants.collect::<Vec<_>>().join(", ")));
    }
    (0..400).for_each(|_| bob.run("SELECT 1"));
    for _ in 0..120 {
        bob.fails("SELECT 2, 3, 1 / 0");
    }
    db.snapshot();
    let (status, detail) = of_the_last(&mut db, "bobs", "errors");
    let is_said = detail.contains("found no place of their own");
    assert!(status == "missed" || status == "no_data" && is_said, "{status}: {detail}");
    let (status, detail) = of_the_last(&mut db, "lenient", "errors");
    assert_eq!(status, "met", "{detail}");
}

#[test]
fn what_has_no_id_is_counted_all_the_same() {
    let server = Server::manual().start();
    let mut db = app(&server);
    db.run("ALTER ROLE bob SET compute_query_id = 'off'");
    let names = ["database", "user", "application"];
    for (name, of) in names.iter().zip(["", "username => 'bob', ", "application => 'shop', "]) {
        db.run(&format!(
            "SELECT perfmon.create_slo('{name}', {of} p95_ms => 10000, error_ratio => 0.05,
                 availability_ratio => 0.5, throughput_per_second => 1e-6)"
        ));
    }
    db.run("CREATE FUNCTION within() RETURNS int LANGUAGE plpgsql AS 'BEGIN PERFORM count(*) FROM pg_class; RETURN 1; END'");
    db.snapshot();
    let mut bob = server.connect("bob", "app");
    bob.run("SET application_name = 'shop'");
    for _ in 0..150 {
        bob.run("BEGIN");
        bob.run("SELECT within()");
        bob.run("COMMIT");
    }
    bob.run("CREATE TEMP TABLE t AS SELECT 1 AS a");
    bob.run("PREPARE p AS SELECT 1");
    bob.run("EXECUTE p");
    bob.run("DECLARE c CURSOR WITH HOLD FOR SELECT 1");
    (0..2).for_each(|_| {
        bob.fails("SELECT 1 / 0");
    });
    db.snapshot();
    for name in ["user", "application"] {
        let sql = "SELECT executions FROM perfmon.slo_status(
                       (SELECT max(until) - interval '1 ms' FROM perfmon.server_minute),
                       (SELECT max(until) FROM perfmon.server_minute))
                   WHERE slo_name = $1 AND objective = 'throughput'";
        let executions: i64 = db.query_one(sql, &[&name]).unwrap().get(0);
        assert_eq!(executions, 153, "{name}");
    }
    for name in names {
        for (objective, expected) in [
            ("p95", "no_data"),
            ("availability", "no_data"),
            ("errors", "met"),
            ("throughput", "met"),
        ] {
            let (status, detail) = of_the_last(&mut db, name, objective);
            assert_eq!(status, expected, "{name} {objective}: {detail}");
            let is_said = detail.contains("compute_query_id");
            assert!(is_said || expected == "met", "{name} {objective}: {detail}");
        }
    }
}

#[test]
fn who_gets_no_answer_finds_nothing_available() {
    let server = Server::manual().start();
    let mut db = app(&server);
    for (name, of) in [
        ("database", ""),
        ("user", "username => 'bob',"),
        ("application", "application => 'shop',"),
    ] {
        db.run(&format!(
            "SELECT perfmon.create_slo('{name}', {of} p95_ms => 10000, availability_ratio => 0.5)"
        ));
    }
    let mut bob = server.connect("bob", "app");
    bob.run("SET application_name = 'shop'; SET statement_timeout = '20ms'");
    db.snapshot();
    for _ in 0..30 {
        bob.fails("SELECT pg_sleep(10)");
    }
    db.snapshot();
    let of_it = "SELECT status, actual, executions FROM perfmon.slo_status(
                     (SELECT max(until) - interval '1 ms' FROM perfmon.server_minute),
                     (SELECT max(until) FROM perfmon.server_minute))
                 WHERE slo_name = $1 AND objective = 'availability'";
    for name in ["database", "user", "application"] {
        let row = db.query_one(of_it, &[&name]).unwrap();
        let (status, actual, tried): (String, Option<f64>, Option<i64>) =
            (row.get(0), row.get(1), row.get(2));
        assert_eq!((status.as_str(), actual), ("missed", Some(0.0)), "{name}");
        assert!(tried.is_some_and(|n| n >= 30), "{name}: {tried:?}");
    }
}

#[test]
fn an_application_did_nothing_where_nothing_of_its_own_was_executed() {
    let server = Server::manual().start();
    let mut db = app(&server);
    db.run(
        "SELECT perfmon.create_slo('shop', application => 'shop', throughput_per_second => 1e-6)",
    );
    db.snapshot();
    let moment: String = db.val("SELECT max(until)::text FROM perfmon.server_minute");
    let mut alice = server.connect("alice", "app");
    (0..50).for_each(|_| alice.run("SELECT 1"));
    db.run("SELECT pg_sleep(1)");
    db.snapshot();
    // Of a role that has it off the number is counted, with the application.
    db.run("ALTER ROLE bob SET pg_perfmon.capture = 'off'");
    let mut bob = server.connect("bob", "app");
    bob.run("SET application_name = 'shop'");
    (0..200).for_each(|_| bob.run("SELECT 1"));
    db.snapshot();
    let sql = "SELECT executions, actual, extract(epoch FROM max - $1::text::timestamptz)::float8
               FROM (SELECT max(until) FROM perfmon.server_minute) m,
                   perfmon.slo_status($1::text::timestamptz, max)";
    let row = db.query_one(sql, &[&moment]).unwrap();
    let (executions, actual, seconds): (i64, Option<f64>, f64) =
        (row.get(0), row.get(1), row.get(2));
    assert_eq!(executions, 200);
    let share = actual.unwrap() * seconds / 200.0;
    assert!((0.9..1.1).contains(&share), "{actual:?} over {seconds} s");
}
