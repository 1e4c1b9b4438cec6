//! Work of which it is not known whose it was, or of which nobody keeps more than the number.

use super::*;

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
