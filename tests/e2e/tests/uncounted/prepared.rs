//! What was prepared while there were no ids, and is executed while there are, has none for as long as its session goes on.

use super::*;

#[test]
fn what_was_prepared_without_an_id_is_no_zero() {
    let server = Server::manual().start();
    app(&server);
    let (mut db, mut said) = watcher(&server);
    let mut bob = server.connect("bob", "app");
    bob.run("SET application_name = 'shop'");
    db.run(
        "SELECT perfmon.create_slo('his', throughput_per_second => 0.0001, error_ratio => 0.5, username => 'bob')",
    );
    let set = |value: &str, sessions: [&mut Db; 2]| {
        sessions[0].run(&format!("ALTER SYSTEM SET compute_query_id = '{value}'"));
        server.reload();
        for session in sessions {
            wait_until("the setting is there", secs(20), || {
                session.val::<String>("SHOW compute_query_id") == value
            });
        }
    };
    set("off", [&mut db, &mut bob]);
    let [select, command] =
        ["SELECT 7 AS seven", "LISTEN something"].map(|sql| bob.prepare(sql).unwrap());
    bob.run("PREPARE q AS SELECT 8 AS eight");
    set("auto", [&mut db, &mut bob]);
    let executes = |bob: &mut Db| {
        for _ in 0..100 {
            bob.query(&select, &[]).unwrap();
            bob.query(&command, &[]).unwrap();
            bob.run("EXECUTE q");
        }
    };
    db.snapshot();
    executes(&mut bob);
    db.snapshot();
    let routes = format!(
        "SELECT calls, p95_ms FROM perfmon.routes({LAST}) WHERE application = 'shop' AND user_name = 'bob'"
    );
    said();
    let row = &db.rows(&routes)[0];
    assert_eq!((row.get(0), row.get(1)), (300_i64, None::<f64>));
    assert!(said().contains("or when it was prepared"));
    let tried = format!(
        "SELECT max(executions)::bigint FROM (VALUES ({LAST})) AS last (since, until),
             perfmon.error_series(since, until, until - since)"
    );
    assert!(db.val::<i64>(&tried) >= 300);
    let promised: Vec<String> = db.list(&format!(
        "SELECT status || ' ' || executions FROM perfmon.slo_status({LAST}) ORDER BY objective"
    ));
    assert_eq!(promised, ["met 300", "met 300"]);
    said();
    db.rows(&format!("SELECT * FROM perfmon.top_statements({LAST})"));
    let told = said();
    assert!(told.contains("bob") && told.contains("or when it was prepared"), "{told}");
    // Once it is planned anew it has one.
    bob.run("DISCARD PLANS");
    db.snapshot();
    (0..20).for_each(|_| assert_eq!(bob.query(&select, &[]).unwrap().len(), 1));
    db.snapshot();
    let row = &db.rows(&routes)[0];
    assert!((row.get::<_, i64>(0), row.get::<_, Option<f64>>(1).is_some()) == (20, true));
}
