//! Promises of one statement of a user of whose sessions some have the hooks off: which statements these executed nobody knows.

use super::*;

/// The id of bob's statement.
fn id(db: &mut Db) -> i32 {
    db.val("SELECT statement_id FROM perfmon.statement WHERE user_name = 'bob' AND query LIKE '%AS meant%'")
}

#[test]
fn what_its_user_executed_unseen_is_not_a_statements() {
    let server = Server::manual().start();
    let mut db = app(&server);
    db.run("GRANT SET ON PARAMETER pg_perfmon.capture TO bob");
    let mut bob = server.connect("bob", "app");
    bob.run("SELECT 1 AS meant");
    db.snapshot();
    let id = id(&mut db);
    db.run(&format!(
        "SELECT perfmon.create_slo('meant', statement_id => {id}, p95_ms => 10000, error_ratio => 0.3,
             availability_ratio => 0.5, throughput_per_second => 1, min_executions => 10)"
    ));
    // By far more often than a statement need be executed, but not this one.
    (0..100).for_each(|_| bob.run("SELECT 1 AS meant"));
    for _ in 0..50 {
        bob.fails("SELECT 1 / (1 - 1) AS meant");
    }
    bob.run(CAPTURE_OFF);
    bob.run("SELECT pg_sleep(1)");
    (0..5_000).for_each(|_| bob.run("SELECT 2, 3"));
    db.snapshot();
    let sql = "SELECT executions FROM perfmon.slo_status(
                   (SELECT max(until) - interval '1 ms' FROM perfmon.server_minute),
                   (SELECT max(until) FROM perfmon.server_minute))
               WHERE objective = 'throughput'";
    assert_eq!(db.val::<i64>(sql), 100, "those that are known to be its");
    for objective in ["p95", "availability"] {
        let (status, detail) = of_the_last(&mut db, "meant", objective);
        assert_eq!(status, "no_data", "{objective}: {detail}");
        assert!(detail.contains("of its user"), "{objective}: {detail}");
        assert!(detail.contains("pg_perfmon.capture was off"), "{objective}: {detail}");
    }
}

#[test]
fn what_pg_stat_statements_does_not_tell_is_not_none() {
    let server = Server::manual().start();
    let mut db = app(&server);
    db.run("GRANT SET ON PARAMETER pg_perfmon.capture TO bob");
    let mut bob = server.connect("bob", "app");
    bob.run("SELECT 1 AS meant");
    db.snapshot();
    let id = id(&mut db);
    db.run(&format!(
        "SELECT perfmon.create_slo('meant', statement_id => {id}, p95_ms => 10000, min_executions => 10);
         ALTER ROLE bob SET pg_stat_statements.track = 'none'"
    ));
    let mut bob = server.connect("bob", "app");
    (0..50).for_each(|_| bob.run("SELECT 1 AS meant"));
    bob.run(CAPTURE_OFF);
    (0..500).for_each(|_| bob.run("SELECT 1 AS meant"));
    db.snapshot();
    let (status, detail) = of_the_last(&mut db, "meant", "p95");
    assert_eq!(status, "no_data", "{detail}");
}

#[test]
fn a_throughput_of_which_nothing_was_seen_is_no_zero() {
    let server = Server::manual().start();
    let mut db = app(&server);
    server.connect("bob", "app").run("SELECT 1 AS meant");
    db.snapshot();
    let id = id(&mut db);
    db.run(&format!(
        "SELECT perfmon.create_slo('meant', statement_id => {id}, throughput_per_second => 1e-6);
         ALTER ROLE bob SET pg_perfmon.capture = 'off'"
    ));
    let mut bob = server.connect("bob", "app");
    (0..500).for_each(|_| bob.run("SELECT 1 AS meant"));
    db.snapshot();
    let mut told = |per_second: f64| {
        db.run(&format!(
            "SELECT perfmon.drop_slo('meant');
             SELECT perfmon.create_slo('meant', statement_id => {id}, throughput_per_second => {per_second})"
        ));
        let row = db.query_one(
            "SELECT status, actual, executions, actual_low, actual_high > 0, detail, bad_minutes
             FROM perfmon.slo_status((SELECT max(until) - interval '1 ms' FROM perfmon.server_minute),
                                     (SELECT max(until) FROM perfmon.server_minute))",
            &[],
        );
        let row = row.unwrap();
        let (status, detail): (String, String) = (row.get(0), row.get(5));
        assert_eq!(row.get::<_, Option<f64>>(1), None, "{detail}");
        assert_eq!(row.get::<_, Option<i64>>(2), None, "{detail}");
        assert_eq!(row.get::<_, Option<f64>>(3), None, "{detail}");
        assert_eq!(row.get::<_, Option<bool>>(4), Some(true), "no more than its user executed");
        (status, detail, row.get::<_, Option<f64>>(6))
    };
    let (status, detail, bad) = told(1e-6);
    assert_eq!((status.as_str(), bad), ("no_data", None), "{detail}");
    assert!(detail.contains("ALTER ROLE bob RESET pg_perfmon.capture"), "{detail}");
    // Even all of it is too little.
    let (status, detail, _) = told(1e6);
    assert_eq!(status, "missed", "{detail}");
    assert!(detail.contains("/s at most") && !detail.contains("nothing was executed"), "{detail}");
}

#[test]
fn errors_that_lost_their_statement_may_be_its() {
    let server = Server::manual().start();
    let mut db = app(&server);
    db.run("ALTER ROLE bob SET track_activities = off");
    let mut bob = server.connect("bob", "app");
    let divide = bob.prepare("SELECT 10 / $1::int AS meant").unwrap();
    bob.query_one(&divide, &[&5]).unwrap();
    db.snapshot();
    let id = id(&mut db);
    for (name, ratio) in [("strict", 0.01), ("lenient", 0.5)] {
        db.run(&format!(
            "SELECT perfmon.create_slo('{name}', statement_id => {id}, error_ratio => {ratio})"
        ));
    }
    (0..150).for_each(|_| drop(bob.query_one(&divide, &[&5]).unwrap()));
    (0..50).for_each(|_| drop(bob.query_one(&divide, &[&0]).unwrap_err()));
    // No SQL is no statement.
    for _ in 0..300 {
        bob.fails("SELEC 1");
    }
    db.snapshot();
    let (status, detail) = of_the_last(&mut db, "strict", "errors");
    assert_eq!(status, "no_data", "{detail}");
    assert!(detail.contains("50 errors") && detail.contains("track_activities"), "{detail}");
    let (status, detail) = of_the_last(&mut db, "lenient", "errors");
    assert_eq!(status, "met", "whosever they are: {detail}");
}

#[test]
fn errors_of_a_nested_statement_are_not_known() {
    let server = Server::manual()
        .conf("pg_perfmon.capture = 'all'")
        .conf("pg_stat_statements.track = 'all'")
        .start();
    let mut db = app(&server);
    db.run(
        "CREATE FUNCTION divided(x int) RETURNS int LANGUAGE plpgsql AS
         $$BEGIN RETURN (SELECT 10 / x AS meant); END$$;
         GRANT EXECUTE ON FUNCTION divided TO bob",
    );
    let mut bob = server.connect("bob", "app");
    bob.run("SELECT divided(5)");
    db.snapshot();
    let id: i32 = db.val(
        "SELECT statement_id FROM perfmon.statement
         WHERE user_name = 'bob' AND query LIKE '%AS meant%' AND NOT toplevel",
    );
    db.run(&format!(
        "SELECT perfmon.create_slo('inside', statement_id => {id}, p95_ms => 10000, error_ratio => 0.5)"
    ));
    (0..150).for_each(|_| bob.run("SELECT divided(5)"));
    db.snapshot();
    assert_eq!(of_the_last(&mut db, "inside", "p95").0, "met");
    let (status, detail) = of_the_last(&mut db, "inside", "errors");
    assert_eq!(status, "no_data", "{detail}");
    assert!(detail.contains("that the client sent"), "{detail}");
}
