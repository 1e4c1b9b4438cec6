//! What is off is told with the line that turns it on, by plain rows, findings and the status too.

use super::absent::{in_one, set};
use super::*;

/// What is told beside the rows of a function.
fn told(db: &mut Db, said: &mut impl FnMut() -> String, function: &str, window: &str) -> String {
    said();
    db.rows(&format!("SELECT * FROM perfmon.{function}({window})"));
    said()
}

/// The last interval, for good.
fn last(db: &mut Db) -> String {
    let row = &db.rows(&format!(
        "SELECT quote_literal(since), quote_literal(until) FROM (VALUES ({LAST})) AS last (since, until)"
    ))[0];
    format!("{}::timestamptz, {}::timestamptz", row.get::<_, String>(0), row.get::<_, String>(1))
}

/// Something of bob's that is executed, and something that fails.
fn work(server: &Server, db: &mut Db) -> String {
    let mut bob = server.connect("bob", "app");
    db.snapshot();
    (0..20).for_each(|_| bob.run("SELECT 'of bob'::text"));
    (0..5).for_each(|_| drop(bob.fails("SELECT 1 / 0")));
    db.snapshot();
    last(db)
}

#[test]
fn plain_rows_say_what_is_off() {
    let server = Server::manual().start();
    app(&server);
    let (mut db, mut said) = watcher(&server);
    db.snapshot();
    let of_hooks = ["failure_history", "route_history", "cluster_history"];
    let of_nodes = ["scan_history", "predicates", "seq_scans"];
    set(&server, &mut db, "pg_perfmon.capture", "'off'");
    let line = "ALTER SYSTEM SET pg_perfmon.capture = 'top'";
    let window = work(&server, &mut db);
    for function in of_hooks.into_iter().chain(of_nodes) {
        let told = told(&mut db, &mut said, function, &window);
        assert!(told.contains(line), "{function}: {told}");
    }
    set(&server, &mut db, "pg_perfmon.capture", "'top'");
    for function in of_hooks {
        let told = told(&mut db, &mut said, function, &window);
        assert!(told.contains("were not counted in some of this window"), "{function}: {told}");
        assert!(!told.contains("ALTER"), "{function}: {told}");
    }
    db.run("ALTER ROLE bob SET pg_perfmon.capture = 'off'");
    let line = "ALTER ROLE bob RESET pg_perfmon.capture;";
    let window = work(&server, &mut db);
    for function in of_hooks {
        let told = told(&mut db, &mut said, function, &window);
        assert!(told.contains(line), "{function}: {told}");
    }
    db.run("ALTER ROLE bob RESET pg_perfmon.capture");
    for (function, then) in [
        ("failure_history", "kept those of bob from the hooks"),
        ("route_history", "executed in this window was timed"),
        ("cluster_history", "only the number is known"),
    ] {
        let told = told(&mut db, &mut said, function, &window);
        assert!(told.contains(then) && !told.contains("ALTER"), "{function}: {told}");
    }
    // The watching session must not be a part of what is missing.
    db.run("RESET pg_perfmon.capture");
    db.snapshot();
    set(&server, &mut db, "pg_perfmon.scan_sample_rate", "0");
    let line = "ALTER SYSTEM SET pg_perfmon.scan_sample_rate = 0.01";
    let window = work(&server, &mut db);
    for function in of_nodes {
        let told = told(&mut db, &mut said, function, &window);
        assert!(told.contains(line), "{function}: {told}");
    }
    // Where nothing is off, nothing is said.
    set(&server, &mut db, "pg_perfmon.scan_sample_rate", "0.01");
    let window = work(&server, &mut db);
    for function in of_hooks.into_iter().chain(["statement_history"]) {
        assert_eq!(told(&mut db, &mut said, function, &window), "", "{function}");
    }
}

#[test]
fn roles_without_statements_are_named_by_the_status() {
    let server = Server::manual().start();
    app(&server);
    let (mut db, mut said) = watcher(&server);
    let status = |db: &mut Db| -> (String, String, Option<String>) {
        let row = &db.rows(
            "SELECT state, value, hint FROM perfmon.status() WHERE item = 'pg_stat_statements'",
        )[0];
        (row.get(0), row.get(1), row.get(2))
    };
    assert_eq!(status(&mut db), ("ok".to_owned(), "works".to_owned(), None));
    for (setting, off) in [("pg_stat_statements.track", "none"), ("compute_query_id", "off")] {
        db.run(&format!("ALTER ROLE bob SET {setting} = {off}"));
        let (state, value, hint) = status(&mut db);
        assert_eq!(state, "warning");
        assert!(value.contains(&format!("{setting} is {off} for role bob")), "{value}");
        let line = format!("ALTER ROLE bob RESET {setting};");
        assert_eq!(hint.as_deref(), Some(line.as_str()));
        let window = work(&server, &mut db);
        let told = told(&mut db, &mut said, "statement_history", &window);
        assert!(told.contains(&line), "{setting}: {told}");
        db.run(&format!("ALTER ROLE bob RESET {setting}"));
    }
}

#[test]
fn findings_alter_a_setting_where_it_is_kept() {
    let server = Server::manual().start();
    app(&server);
    let mut db = server.db("app");
    work(&server, &mut db);
    for (setting, off, good) in [
        ("compute_query_id", "off", "'auto'"),
        ("pg_stat_statements.track", "none", "'top'"),
        ("track_activities", "off", "on"),
        ("enable_seqscan", "off", "on"),
    ] {
        for whose in ["DATABASE app", "ROLE ALL"] {
            db.run(&format!("ALTER {whose} SET {setting} = {off}"));
            // A session has what it began with.
            let mut reader = server.db("app");
            let report = in_one(&reader.val::<String>("SELECT perfmon.report()"));
            let line = format!("ALTER {whose} SET {setting} = {good};");
            assert!(report.contains(&line), "{line}: {report}");
            assert!(!report.contains(&format!("ALTER SYSTEM SET {setting}")), "{report}");
            db.run(&line);
            let now = server.connect("bob", "app").val::<String>(&format!("SHOW {setting}"));
            assert_eq!(now, good.trim_matches('\''), "{line}");
            db.run(&format!("ALTER {whose} RESET {setting}"));
        }
    }
    // What is for a role says nothing of others, whatever its session set besides.
    db.run("CREATE ROLE eve LOGIN SUPERUSER; ALTER ROLE eve SET compute_query_id = off");
    let mut eve = server.connect("eve", "app");
    eve.run("SET compute_query_id = 'auto'");
    let report = in_one(&eve.val::<String>("SELECT perfmon.report()"));
    assert!(!report.contains("ALTER SYSTEM SET compute_query_id"), "{report}");
}

#[test]
fn transactions_that_are_not_counted_are_no_zero() {
    let server = Server::manual().start();
    app(&server);
    let (mut db, mut said) = watcher(&server);
    let work = |db: &mut Db, is_counted: bool| {
        const ROLLBACKS: &str =
            "SELECT xact_rollback FROM pg_stat_database WHERE datname = current_database()";
        db.snapshot();
        let before: i64 = db.val(ROLLBACKS);
        let mut bob = server.connect("bob", "app");
        (0..20).for_each(|_| bob.run("BEGIN; SELECT 1; ROLLBACK"));
        // They are reported when it ends.
        drop(bob);
        if is_counted {
            wait_until("they are counted", secs(30), || db.val::<i64>(ROLLBACKS) >= before + 20);
        }
        db.snapshot();
        last(db)
    };
    let mut rollbacks = |db: &mut Db, window: &str| -> (Option<i64>, String) {
        said();
        let sql = format!(
            "SELECT rollbacks, rollback_ratio FROM perfmon.error_series({window}, '1 year')"
        );
        let rows = db.rows(&sql);
        assert_eq!(
            rows[0].get::<_, Option<f64>>(1).is_some(),
            rows[0].get::<_, Option<i64>>(0).is_some()
        );
        (rows[0].get(0), said())
    };
    set(&server, &mut db, "track_counts", "'off'");
    let window = work(&mut db, false);
    let (count, told) = rollbacks(&mut db, &window);
    assert!(
        count.is_none() && told.contains("ALTER SYSTEM SET track_counts = on"),
        "{count:?} {told}"
    );
    let report = in_one(&db.val::<String>(&format!("SELECT perfmon.report({window})")));
    assert!(!report.contains("Rolled back 0"), "{report}");
    set(&server, &mut db, "track_counts", "'on'");
    let (count, told) = rollbacks(&mut db, &window);
    assert!(count.is_none() && told.contains("track_counts is off"), "{count:?} {told}");
    let window = work(&mut db, true);
    let (count, told) = rollbacks(&mut db, &window);
    assert!(count.is_some_and(|count| count >= 20) && told.is_empty(), "{count:?} {told}");
    // Transactions are the server's to count, whatever the hooks do.
    set(&server, &mut db, "pg_perfmon.capture", "'off'");
    let window = work(&mut db, true);
    let (count, told) = rollbacks(&mut db, &window);
    assert!(count.is_some() && !told.contains("rollbacks"), "{count:?} {told}");
}
