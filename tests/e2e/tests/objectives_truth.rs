//! What objectives must not take for known: work that is not counted, statements that are none, time that nobody saw.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use perfmon_e2e::{Db, Server, Stop, code_of, message_of, secs, wait_until};

#[path = "objectives_truth/asked.rs"]
mod asked;
#[path = "objectives_truth/full.rs"]
mod full;
#[path = "objectives_truth/hidden.rs"]
mod hidden;
#[path = "objectives_truth/hours.rs"]
mod hours;
#[path = "objectives_truth/runs.rs"]
mod runs;
#[path = "objectives_truth/statements.rs"]
mod statements;
#[path = "objectives_truth/whose.rs"]
mod whose;

const CAPTURE_OFF: &str = "SET pg_perfmon.capture = 'off'";

fn app(server: &Server) -> Db {
    let mut db = server.new_db("app");
    db.run(CAPTURE_OFF);
    db.run("CREATE ROLE alice LOGIN; CREATE ROLE bob LOGIN");
    db.snapshot();
    db
}

/// Status, actual and detail of a promise over the time since an hour ago.
fn promise(db: &mut Db, name: &str, objective: &str) -> (String, Option<f64>, String) {
    let sql = "SELECT status, actual, detail FROM perfmon.slo_status() WHERE slo_name = $1 AND objective = $2";
    let row = db.query_one(sql, &[&name, &objective]).unwrap();
    (row.get(0), row.get(1), row.get(2))
}

fn item(db: &mut Db, name: &str) -> (String, String, Option<String>) {
    let row =
        db.query_one("SELECT state, value, hint FROM perfmon.status() WHERE item = $1", &[&name]);
    let row = row.unwrap();
    (row.get(0), row.get(1), row.get(2))
}

#[test]
fn a_role_that_is_not_counted_is_unknown() {
    let server = Server::manual().start();
    let mut db = app(&server);
    db.run(
        "ALTER ROLE bob SET pg_perfmon.capture = 'off';
         SELECT perfmon.create_slo('bobs', username => 'bob', throughput_per_second => 1e-6, p95_ms => 10,
             error_ratio => 0.01, availability_ratio => 0.99);
         SELECT perfmon.create_slo('shop', application => 'shop', throughput_per_second => 1e-6, p95_ms => 10);
         SELECT perfmon.create_slo('alice', username => 'alice', p95_ms => 1000, error_ratio => 0.5);
         SELECT perfmon.create_slo('everybody', p95_ms => 1000)",
    );
    for role in ["alice", "bob"] {
        let mut client = server.connect(role, "app");
        (0..150).for_each(|_| client.run("SELECT 1"));
    }
    db.snapshot();
    for objective in ["p95", "errors", "availability"] {
        let (status, actual, detail) = promise(&mut db, "bobs", objective);
        assert_eq!(status, "no_data", "{objective}: {detail}");
        // He did nothing yet in the time that is known to have been available.
        assert!(actual.is_none() || objective == "availability", "{objective}: {actual:?}");
        assert!(detail.contains("ALTER ROLE bob RESET pg_perfmon.capture"), "{detail}");
    }
    // pg_stat_statements knows how much he did.
    let (status, actual, _) = promise(&mut db, "bobs", "throughput");
    assert!(status == "met" && actual > Some(0.0), "{status} {actual:?}");
    // How much of what the role did was of this application is counted: nothing.
    let (status, actual, detail) = promise(&mut db, "shop", "p95");
    assert_eq!((status.as_str(), actual), ("no_data", None), "{detail}");
    assert!(detail.contains("nothing was executed"), "{detail}");
    let (status, actual, detail) = promise(&mut db, "shop", "throughput");
    // Most of the hour is before all that is recorded.
    assert_eq!((status.as_str(), actual), ("no_data", None), "{detail}");
    for objective in ["p95", "errors"] {
        assert_eq!(promise(&mut db, "alice", objective).0, "met", "{objective}");
    }
    // What is left out of all is said.
    let (status, _, detail) = promise(&mut db, "everybody", "p95");
    assert!(
        status == "no_data"
            && detail.ends_with("without role bob, of which only the number is counted"),
        "{detail}"
    );
    assert!(detail.contains("only the number is known"), "{detail}");
    let report: String = db.val("SELECT regexp_replace(perfmon.report(), '\\s+', ' ', 'g')");
    assert!(report.contains("without role bob") && report.contains("off for role bob"), "{report}");
    assert!(!report.contains("all that clients sent") && !report.contains(";."), "{report}");
    let (state, value, hint) = item(&mut db, "capture");
    assert!(state == "warning" && value.contains("bob"), "{value}");
    assert_eq!(hint.as_deref(), Some("ALTER ROLE bob RESET pg_perfmon.capture;"));

    // Of the cluster, who is left out in any database.
    db.run("CREATE DATABASE other");
    db.run(
        "ALTER ROLE alice IN DATABASE other SET pg_perfmon.capture = 'off';
         ALTER DATABASE other SET pg_perfmon.capture = 'off';
         SELECT perfmon.create_slo('cluster', cluster => true, p95_ms => 1000)",
    );
    let (_, _, detail) = promise(&mut db, "cluster", "p95");
    for whose in ["role alice in database other", "role bob", "database other"] {
        assert!(
            detail.contains(whose) && detail.ends_with("of which only the number is counted"),
            "{detail}"
        );
    }
    assert!(
        promise(&mut db, "everybody", "p95")
            .2
            .ends_with("without role bob, of which only the number is counted")
    );

    let mut old = server.connect("alice", "app");
    old.run("SELECT 1");
    db.run("ALTER ROLE bob RESET pg_perfmon.capture; ALTER DATABASE app SET pg_perfmon.capture = 'off'");
    let mut db = server.db("app");
    for name in ["capture", "capture of errors"] {
        let (state, value, hint) = item(&mut db, name);
        assert_eq!(state, "warning", "{value}");
        assert_eq!(hint.as_deref(), Some("ALTER DATABASE app RESET pg_perfmon.capture;"), "{name}");
    }
    let report: String = db.val("SELECT perfmon.report()");
    assert!(report.contains("ALTER DATABASE app RESET pg_perfmon.capture"), "{report}");
    let mut client = server.connect("alice", "app");
    client.run("SELECT 1");
    db.run("SELECT pg_sleep(0.01)");
    db.snapshot();
    // Over this time alone, though what came before it was counted.
    let last = "(SELECT max(until) - interval '1 millisecond' FROM perfmon.server_minute)";
    let detail: String = db.val(&format!(
        "SELECT detail FROM perfmon.slo_status({last}) WHERE slo_name = 'alice' AND objective = 'p95'"
    ));
    assert!(detail.contains("ALTER DATABASE app RESET pg_perfmon.capture"), "{detail}");
    // Sessions from before go on counting: they are a part of all.
    for nth in 0..150 {
        old.run("SELECT 1");
        // However few the others are.
        if nth % 15 == 0 {
            client.run("SELECT 2, 2");
        }
    }
    db.snapshot();
    let (status, detail) = of_the_last(&mut db, "everybody", "p95");
    assert_eq!(status, "no_data", "{detail}");
    assert!(detail.contains("ALTER DATABASE app RESET pg_perfmon.capture"), "{detail}");
    let untimed = "FROM perfmon.statement_series((SELECT max(statement_id) FROM perfmon.statement WHERE query = 'SELECT $1, $2'))
                   WHERE calls > 0";
    let told: Vec<Option<i64>> = db.list(&format!("SELECT timed_calls {untimed}"));
    assert_eq!(told, [None]);
}

/// Status and detail of a promise over the last interval.
fn of_the_last(db: &mut Db, name: &str, objective: &str) -> (String, String) {
    let sql = "SELECT status, detail FROM perfmon.slo_status(
                   (SELECT max(until) - interval '1 ms' FROM perfmon.server_minute),
                   (SELECT max(until) FROM perfmon.server_minute))
               WHERE slo_name = $1 AND objective = $2";
    let row = db.query_one(sql, &[&name, &objective]).unwrap();
    (row.get(0), row.get(1))
}

/// The same of a window that begins with the last interval and is so long that it is read by the hour, but for its end.
fn by_the_hour(db: &mut Db, name: &str, objective: &str) -> (String, String) {
    let sql = "SELECT status, detail FROM perfmon.slo_status(
                   (SELECT max(until) - interval '1 ms' FROM perfmon.server_minute),
                   (SELECT max(until) + interval '26 hours' FROM perfmon.server_minute))
               WHERE slo_name = $1 AND objective = $2";
    let row = db.query_one(sql, &[&name, &objective]).unwrap();
    (row.get(0), row.get(1))
}

#[test]
fn what_sessions_do_with_capture_off_keeps_no_promise() {
    let server = Server::manual().start();
    let mut db = app(&server);
    db.run("GRANT SET ON PARAMETER pg_perfmon.capture TO bob");
    db.run("CREATE DATABASE other");
    for (name, of) in [
        ("database", ""),
        ("cluster", "cluster => true, "),
        ("user", "username => 'bob', "),
        ("application", "application => 'shop', "),
    ] {
        db.run(&format!(
            "SELECT perfmon.create_slo('{name}', {of} p95_ms => 10000, error_ratio => 0.4, availability_ratio => 0.5,
                 throughput_per_second => 0.001)"
        ));
    }
    let names = ["database", "cluster", "user", "application"];
    let objectives = ["p95", "errors", "availability", "throughput"];
    db.snapshot();
    let mut bob = server.connect("bob", "app");
    bob.run("SET application_name = 'shop'");
    (0..300).for_each(|_| bob.run("SELECT 1"));
    db.snapshot();
    for (name, objective) in names.iter().flat_map(|n| objectives.map(|o| (n, o))) {
        let (status, detail) = of_the_last(&mut db, name, objective);
        assert_eq!(status, "met", "{name} {objective}: {detail}");
        // Of the time to come nothing is known, which decides for those that are about time.
        if ["p95", "errors"].contains(&objective) {
            let (status, detail) = by_the_hour(&mut db, name, objective);
            assert_eq!(status, "met", "by the hour, {name} {objective}: {detail}");
        }
    }
    // Some are counted, and most are not.
    bob.run("SELECT 1");
    bob.run(CAPTURE_OFF);
    for _ in 0..300 {
        bob.run("BEGIN");
        bob.run("SELECT 1");
        bob.run("COMMIT");
    }
    db.snapshot();
    for (name, objective) in names.iter().flat_map(|n| objectives.map(|o| (n, o))) {
        let (status, detail) = of_the_last(&mut db, name, objective);
        let expected = match (objective, *name) {
            // They were executed to their end, which is all that is known of them.
            ("throughput", _) => "met",
            ("errors", "user") => "no_data",
            ("errors", _) => "met",
            _ => "no_data",
        };
        assert_eq!(status, expected, "{name} {objective}: {detail}");
        let why = detail.contains("pg_perfmon.capture was off");
        assert!(why || expected == "met", "{name} {objective}: {detail}");
    }
    // What began and ended transactions is none of it.
    for name in ["user", "application"] {
        let sql = "SELECT executions FROM perfmon.slo_status(
                       (SELECT max(until) - interval '1 ms' FROM perfmon.server_minute),
                       (SELECT max(until) FROM perfmon.server_minute))
                   WHERE slo_name = $1 AND objective = 'throughput'";
        assert_eq!(db.query_one(sql, &[&name]).unwrap().get::<_, i64>(0), 301, "{name}");
    }
    // Of what fails it is known that there was something.
    for _ in 0..300 {
        bob.fails("SELECT 1 / 0");
    }
    bob.run("BEGIN");
    bob.run("ROLLBACK");
    db.snapshot();
    for name in names {
        let (status, detail) = of_the_last(&mut db, name, "errors");
        assert_eq!(status, "no_data", "{name}: {detail}");
    }
    let (mut reader, notices) = server.noticing("app");
    let series = "SELECT errors IS NULL FROM perfmon.error_series(
                      (SELECT max(since) FROM perfmon.server_minute),
                      (SELECT max(until) FROM perfmon.server_minute), '1 day')";
    assert!(reader.val::<bool>(series));
    let said = notices.lock().unwrap().join("\n");
    assert!(said.contains("kept those of bob from the hooks"), "{said}");
    // Elsewhere, of which the cluster alone is told.
    let mut other = server.connect("bob", "other");
    other.run(CAPTURE_OFF);
    (0..300).for_each(|_| other.run("SELECT 1"));
    db.snapshot();
    let (status, detail) = of_the_last(&mut db, "cluster", "p95");
    assert!(status == "no_data" && detail.contains("pg_perfmon.capture was off"), "{detail}");
}

#[test]
fn a_throughput_counts_the_time_without_a_server() {
    let server = Server::manual().start();
    let mut db = app(&server);
    db.run("SELECT perfmon.create_slo('busy', throughput_per_second => 1)");
    db.snapshot();
    let since: String = db.val("SELECT max(until)::text FROM perfmon.server_minute");
    let mut client = server.connect("alice", "app");
    (0..150).for_each(|_| client.run("SELECT 1"));
    db.snapshot();
    drop((client, db));
    server.restart();
    let mut db = server.db("app");
    db.run(CAPTURE_OFF);
    db.snapshot();
    let down: f64 = db.val(
        "SELECT sum(length_ms) / 1000 FROM perfmon.gaps() WHERE kind = 'server_down' AND subject = 'all'",
    );
    let (executions, actual): (i64, f64) = {
        let sql = "SELECT executions, actual FROM perfmon.slo_status($1::text::timestamptz)";
        let row = db.query_one(sql, &[&since]).unwrap();
        (row.get(0), row.get(1))
    };
    assert!(executions >= 150 && down > 0.0, "{executions} {down}");
    #[allow(clippy::cast_precision_loss)]
    let most = executions as f64 / down;
    assert!(actual <= most, "nothing was executed for {down} s: {actual}");
}

#[test]
fn what_only_begins_or_ends_transactions_thins_nothing_out() {
    let server = Server::manual().start();
    let mut db = app(&server);
    db.run(
        "SELECT perfmon.create_slo('user', username => 'alice', error_ratio => 0.05, p95_ms => 30);
         SELECT perfmon.create_slo('application', application => 'shop', error_ratio => 0.05, p95_ms => 30);
         SELECT perfmon.create_slo('database', error_ratio => 0.05, p95_ms => 30)",
    );
    let mut client = server.connect("alice", "app");
    client.run("SET application_name = 'shop'");
    for i in 0..200 {
        client.run("BEGIN");
        client.run("SET LOCAL work_mem = '5MB'");
        if i % 10 == 0 {
            client.fails("SELECT 1 / 0");
            client.run("ROLLBACK");
        } else {
            client.run(if i % 10 == 1 { "SELECT pg_sleep(0.04)" } else { "SELECT 1" });
            client.run("COMMIT");
        }
    }
    db.snapshot();
    for name in ["user", "application", "database"] {
        let (status, actual, detail) = promise(&mut db, name, "errors");
        let actual = actual.unwrap();
        assert!(status == "missed" && (actual - 0.1).abs() < 0.01, "{name} {actual} {detail}");
        let (status, actual, detail) = promise(&mut db, name, "p95");
        assert!(status == "missed" && actual > Some(30.0), "{name} {actual:?} {detail}");
    }
}

#[test]
fn a_crash_is_down_for_its_recovery_only() {
    let server = Server::manual().start();
    let mut db = app(&server);
    db.run("SELECT perfmon.create_slo('up', availability_ratio => 0.5)");
    let since: String = db.val("SELECT clock_timestamp()::text");
    db.snapshot();
    server.connect("alice", "app").run("SELECT 1");
    db.run("SELECT pg_sleep(2)");
    server.expect_crash();
    let pid = server.connect("alice", "app").pid();
    let mut victim = server.connect("alice", "app");
    let victim_pid = victim.pid();
    assert_ne!(pid, victim_pid);
    server.kill_9(victim_pid);
    drop((db, victim));
    server.wait_ready();
    let mut db = server.db("app");
    db.run(CAPTURE_OFF);
    db.snapshot();
    server.connect("alice", "app").run("SELECT 1");
    db.snapshot();
    let gaps =
        db.rows("SELECT subject, length_ms / 1000 FROM perfmon.gaps() WHERE kind = 'server_down'");
    assert_eq!(gaps.len(), 1, "the recovery alone");
    let (subject, seconds): (String, f64) = (gaps[0].get(0), gaps[0].get(1));
    assert!(subject == "all" && seconds < 1.9, "{subject} {seconds}");
    let lost: f64 = db.val(
        "SELECT max(length_ms) / 1000 FROM perfmon.gaps()
         WHERE kind = 'reset' AND subject = 'server'",
    );
    assert!(lost >= 1.9, "what was not read is unknown: {lost}");
    let bad: f64 = db
        .query_one(
            "SELECT coalesce(bad_minutes, 0) FROM perfmon.slo_status($1::text::timestamptz)",
            &[&since],
        )
        .unwrap()
        .get(0);
    assert!((bad * 60.0 - seconds).abs() < 0.01, "{bad} {seconds}");
    drop(db);
    server.stop(Stop::Fast);
}

#[test]
fn objectives_of_nobody_are_refused_or_said() {
    let server = Server::manual().start();
    let mut db = app(&server);
    let unknown = db.fails("SELECT perfmon.create_slo('x', statement_id => 4711)");
    assert_eq!(code_of(&unknown), "22023", "{}", message_of(&unknown));
    assert!(unknown.as_db_error().unwrap().hint().is_some());
    let long = "x".repeat(70);
    let too_long = db.fails(&format!("SELECT perfmon.create_slo('x', application => '{long}')"));
    assert_eq!(code_of(&too_long), "22023", "{}", message_of(&too_long));
    let (mut noticing, notices) = server.noticing("app");
    noticing.run("SELECT perfmon.create_slo('x', username => 'nobody at all')");
    let said = notices.lock().unwrap().join("\n");
    assert!(said.contains("nobody at all"), "{said}");
}

#[test]
fn what_found_no_place_of_its_own_is_a_line_of_the_top_statements() {
    let server = Server::manual().conf("pg_perfmon.max_statements = 100").start();
    let mut db = app(&server);
    let mut client = server.connect("alice", "app");
    let rest = "SELECT query, calls, timed_calls, p95_ms IS NOT NULL FROM perfmon.top_statements(max_rows => 1000)
                WHERE statement_id = 0";
    let mut columns = 0;
    wait_until("some were folded", secs(60), || {
        for _ in 0..100 {
            columns += 1;
            client.run(&format!("SELECT {}", vec!["1"; columns].join(", ")));
        }
        db.snapshot();
        !db.rows(rest).is_empty()
    });
    let rows = db.rows(rest);
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0].get::<_, String>(0), "(all other statements)");
    assert_eq!(rows[0].get::<_, Option<i64>>(1), None, "pg_stat_statements knows them apart");
    assert!(rows[0].get::<_, i64>(2) > 0 && rows[0].get::<_, bool>(3));
    let first = "SELECT count(*) FROM perfmon.top_statements(max_rows => 1)";
    assert_eq!(db.val::<i64>(first), 1);
}
