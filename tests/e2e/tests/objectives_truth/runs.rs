//! What is known of a run, and stays so: what happens after it ended is nothing to it.

use super::*;

#[test]
fn a_finished_run_stays_as_it_was_in_a_database_that_is_not_the_home_database() {
    // All databases are looked into at the same time after a restart.
    let server = Server::manual().conf("pg_perfmon.max_workers = 8").start();
    let mut home = server.new_db("home");
    home.snapshot();
    let mut db = app(&server);
    db.run("SELECT perfmon.create_slo('latency', p95_ms => 10000)");
    // What such a database keeps of others now would be missed after the next restart.
    drop((home, db));
    server.restart();
    let mut db = server.db("app");
    db.run(CAPTURE_OFF);
    db.run("SELECT perfmon.begin_run('run')");
    let mut client = server.connect("alice", "app");
    (0..150).for_each(|_| client.run("SELECT 1"));
    db.run("SELECT perfmon.end_run('run')");
    let outcome = "SELECT perfmon.run_report('run', 'json')::jsonb ->> 'outcome'";
    assert_eq!(db.val::<String>(outcome), "passed");
    drop((client, db));
    server.restart();
    let mut db = server.db("app");
    db.run(CAPTURE_OFF);
    db.snapshot();
    assert_eq!(db.val::<String>(outcome), "passed");
    let is_of_others = |subject: &str| ["cluster", "session", "database"].contains(&subject);
    let gaps = db.gaps();
    assert!(!gaps.iter().any(|gap| is_of_others(&gap.subject)), "{gaps:?}");
}

#[test]
fn a_run_says_what_was_lost_of_it() {
    let server = Server::manual().start();
    let mut db = app(&server);
    db.run("SELECT perfmon.create_slo('latency', p95_ms => 1000); SELECT perfmon.begin_run('run')");
    let mut client = server.connect("alice", "app");
    (0..150).for_each(|_| client.run("SELECT 1"));
    db.snapshot();
    client.run("SELECT pg_sleep(0.5)");
    drop((client, db));
    server.restart();
    let mut db = server.db("app");
    db.run(CAPTURE_OFF);
    db.run("SELECT perfmon.end_run('run')");
    let report: String = db.val("SELECT perfmon.run_report('run')");
    for words in ["**unclear**", "Not known: ", "## Gaps", "reset", "server_down"] {
        assert!(report.contains(words), "{words}: {report}");
    }
    let json = "SELECT r ->> 'outcome', (r ->> 'unknown_ratio')::float8 > 0, jsonb_array_length(r -> 'gaps') > 1
                FROM (SELECT perfmon.run_report('run', 'json')::jsonb AS r) x";
    let row = db.query_one(json, &[]).unwrap();
    let said: (String, bool, bool) = (row.get(0), row.get(1), row.get(2));
    assert_eq!(said, ("unclear".into(), true, true));
}
