//! Sessions of one role, or of one database, without ids (`compute_query_id` off), beside others that have them.

use super::*;

/// Status, actual, executions and detail of an objective over the last interval.
type Told = (String, Option<f64>, Option<i64>, String);

fn told(db: &mut Db, name: &str) -> Told {
    let sql = format!(
        "SELECT status, actual, executions, coalesce(detail, '') FROM perfmon.slo_status({LAST})
         WHERE slo_name = '{name}' AND objective = 'p95'"
    );
    let row = &db.rows(&sql)[0];
    (row.get(0), row.get(1), row.get(2), row.get(3))
}

/// Calls and quality of what is listed of a user in the last interval.
fn listed(db: &mut Db, user: &str) -> Vec<(Option<i64>, Option<String>)> {
    let sql = format!(
        "SELECT calls, quality FROM perfmon.top_statements({LAST}) WHERE user_name = '{user}'"
    );
    db.rows(&sql).iter().map(|row| (row.get(0), row.get(1))).collect()
}

#[test]
fn what_a_role_without_ids_executed_is_no_zero() {
    let server = Server::manual().start();
    app(&server);
    let (mut db, mut said) = watcher(&server);
    let (mut alice, mut bob) = (server.connect("alice", "app"), server.connect("bob", "app"));
    db.snapshot();
    (0..20).for_each(|_| bob.run("SELECT 'of bob'::text"));
    (0..20).for_each(|_| alice.run("SELECT 2, 2"));
    db.snapshot();
    let id = statement(&mut db, "SELECT $1::text");
    let hers = statement(&mut db, "SELECT $1, $2");
    db.run(&format!(
        "SELECT perfmon.create_slo('his', p95_ms => 1000, username => 'bob', min_executions => 10),
             perfmon.create_slo('one', p95_ms => 1000, statement_id => {id}, min_executions => 10);
         ALTER ROLE bob SET compute_query_id = off"
    ));
    let fix = "ALTER ROLE bob RESET compute_query_id;";
    let mut bob = server.connect("bob", "app");
    bob.run("SET application_name = 'shop'");
    db.snapshot();
    (0..500).for_each(|_| alice.run("SELECT 1, 1, 1"));
    (0..60).for_each(|_| bob.run("SELECT 'of bob'::text"));
    db.snapshot();

    said();
    assert_eq!(step(&mut db, "statement_series", &format!("{id},")), (None, None, None));
    assert!(said().contains(fix));
    assert_eq!(heatmap(&mut db, &id), []);
    assert!(said().contains(fix));
    let histogram = format!("SELECT * FROM perfmon.latency_histogram({id}, {LAST})");
    assert!(db.rows(&histogram).is_empty() && said().contains(fix));
    assert_eq!(listed(&mut db, "bob"), []);
    assert!(said().contains(fix));
    let routes =
        format!("SELECT calls, p95_ms FROM perfmon.routes({LAST}) WHERE application = 'shop'");
    let row = &db.rows(&routes)[0];
    assert_eq!((row.get(0), row.get(1)), (60_i64, None::<f64>));
    assert!(said().contains(fix));
    for name in ["his", "one"] {
        let (status, actual, executions, detail) = told(&mut db, name);
        assert_eq!((status.as_str(), actual, executions), ("no_data", None, None), "{name}");
        assert!(detail.contains(fix), "{name}: {detail}");
    }
    // Of others all is known, and what did not run is known not to have.
    said();
    let exact = |calls: i64| (Some(calls), Some(calls), Some("exact".to_owned()));
    assert_eq!(step(&mut db, "statement_series", &format!("{hers},")), exact(0));
    assert_eq!(heatmap(&mut db, &hers), [(None, 0)]);
    let all = statement(&mut db, "SELECT $1, $2, $3");
    said();
    assert_eq!(step(&mut db, "statement_series", &format!("{all},")), exact(500));
    assert_eq!(said(), "");

    // Some of his sessions have ids again.
    db.run("ALTER ROLE bob RESET compute_query_id");
    let mut again = server.connect("bob", "app");
    db.snapshot();
    (0..20).for_each(|_| again.run("SELECT 'of bob'::text"));
    (0..500).for_each(|_| bob.run("SELECT 'of bob'::text"));
    db.snapshot();
    let least = Some("lower bound".to_owned());
    let told = step(&mut db, "statement_series", &format!("{id},"));
    assert_eq!(told, (Some(20), Some(20), least.clone()));
    said();
    assert_eq!(listed(&mut db, "bob"), [(Some(20), least)]);
    let told = said();
    assert!(told.contains("bob") && told.contains("compute_query_id was off then"), "{told}");
}

#[test]
fn a_database_without_ids_says_so() {
    let server = Server::manual().start();
    app(&server);
    let (mut db, mut said) = watcher(&server);
    let mut alice = server.connect("alice", "app");
    let mut bob = server.connect("bob", "app");
    db.snapshot();
    (0..20).for_each(|_| bob.run("SELECT 'of bob'::text"));
    db.snapshot();
    let id = statement(&mut db, "SELECT $1::text");
    db.run("ALTER DATABASE app SET compute_query_id = off");
    let mut bob = server.connect("bob", "app");
    db.snapshot();
    (0..50).for_each(|_| bob.run("SELECT 'of bob'::text"));
    (0..50).for_each(|_| alice.run("SELECT 1 AS a"));
    db.snapshot();
    said();
    assert_eq!(step(&mut db, "statement_series", &format!("{id},")), (None, None, None));
    assert!(said().contains("ALTER DATABASE app RESET compute_query_id;"));
}

#[test]
fn what_begins_and_ends_transactions_stands_for_nothing_without_an_id() {
    let server = Server::manual().start();
    app(&server);
    let (mut db, _) = watcher(&server);
    db.run("ALTER ROLE bob SET compute_query_id = off");
    let (mut alice, mut bob) = (server.connect("alice", "app"), server.connect("bob", "app"));
    db.snapshot();
    for _ in 0..100 {
        for sql in ["BEGIN", "SELECT 1 AS a", "COMMIT"] {
            alice.run(sql);
        }
        bob.run("SELECT 1 AS b");
    }
    db.snapshot();
    let (calls, timed, quality) = step(&mut db, "load_series", "");
    assert!(calls >= Some(300) && timed >= Some(300), "{calls:?} {timed:?}");
    assert_eq!(quality.as_deref(), Some("lower bound"));
}

#[test]
fn a_gap_names_what_leaves_utility_commands_out() {
    let server = Server::manual().conf("pg_stat_statements.track_utility = off").start();
    app(&server);
    let (mut db, _) = watcher(&server);
    db.run("SET pg_stat_statements.track = 'none'");
    let mut other = server.connect("postgres", "app");
    other.run("SET pg_perfmon.capture = 'off'");
    db.snapshot();
    db.snapshot();
    (0..20).for_each(|_| other.run("CREATE TABLE passing (); DROP TABLE passing"));
    db.snapshot();
    let gaps: Vec<String> = db.list(
        "SELECT DISTINCT detail FROM perfmon.gaps() WHERE subject = 'statement' AND kind = 'disabled'",
    );
    let why = "pg_stat_statements.track was none in all sessions that executed something but utility commands, as \
               pg_stat_statements.track_utility is off";
    assert_eq!(gaps, [why]);
}

#[test]
fn the_cluster_names_who_has_none_in_another_database() {
    let server = Server::manual().start();
    app(&server);
    let (mut db, _) = watcher(&server);
    db.run("CREATE DATABASE other");
    db.run(
        "SELECT perfmon.create_slo('all', cluster => true, p95_ms => 10000, error_ratio => 0.4)",
    );
    db.snapshot();
    let line = "ALTER DATABASE other RESET compute_query_id;";
    for setting in ["DATABASE other", "ROLE bob IN DATABASE other"] {
        db.run(&format!("ALTER {setting} SET compute_query_id = 'off'"));
        let mut bob = server.connect("bob", "other");
        (0..200).for_each(|_| bob.run("SELECT 1"));
        drop(bob);
        db.snapshot();
        let said: String = db.val(&format!(
            "SELECT status || ': ' || detail FROM perfmon.slo_status({LAST}) WHERE objective = 'p95'"
        ));
        let line = line.replace("DATABASE other", setting);
        assert!(said.starts_with("no_data") && said.contains(&line), "{said}");
        db.run(&line);
        db.snapshot();
    }
}
