//! What nobody timed, or counted under its name, is not nothing.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use perfmon_e2e::{Db, Server, secs, wait_until};

#[path = "uncounted/absent.rs"]
mod absent;
#[path = "uncounted/halves.rs"]
mod halves;
#[path = "uncounted/ids.rs"]
mod ids;
#[path = "uncounted/lacking.rs"]
mod lacking;
#[path = "uncounted/middle.rs"]
mod middle;
#[path = "uncounted/parts.rs"]
mod parts;
#[path = "uncounted/past.rs"]
mod past;
#[path = "uncounted/prepared.rs"]
mod prepared;
#[path = "uncounted/rows.rs"]
mod rows;
#[path = "uncounted/runs.rs"]
mod runs;
#[path = "uncounted/some.rs"]
mod some;
#[path = "uncounted/then.rs"]
mod then;

/// The last interval.
const LAST: &str = "(SELECT max(until) FROM perfmon.server_minute WHERE until < (SELECT max(until) FROM perfmon.server_minute)),
     (SELECT max(until) FROM perfmon.server_minute)";

/// A session that is not counted itself, and what it is told.
fn watcher(server: &Server) -> (Db, impl FnMut() -> String + use<>) {
    let (mut db, notices) = server.noticing("app");
    db.run("SET pg_perfmon.capture = 'off'");
    (db, move || std::mem::take(&mut *notices.lock().unwrap()).join("\n"))
}

fn app(server: &Server) {
    server.new_db("app").run("CREATE ROLE alice LOGIN; CREATE ROLE bob LOGIN");
}

/// Time, lower end, and executions of a heat map.
type Squares = Vec<(Option<f64>, i64)>;

fn heatmap(db: &mut Db, id: &str) -> Squares {
    let sql = format!(
        "SELECT low_ms, calls FROM (VALUES ({LAST})) AS last (since, until),
             perfmon.latency_heatmap(since, until, until - since, {id})"
    );
    db.rows(&sql).iter().map(|row| (row.get(0), row.get(1))).collect()
}

/// Calls, timed calls and quality of the only step of a series.
fn step(db: &mut Db, function: &str, id: &str) -> (Option<i64>, Option<i64>, Option<String>) {
    let sql = format!(
        "SELECT max(calls), max(timed_calls)::bigint, max(quality)
         FROM (VALUES ({LAST})) AS last (since, until), perfmon.{function}({id} since, until, until - since)"
    );
    let row = &db.rows(&sql)[0];
    (row.get(0), row.get(1), row.get(2))
}

fn statement(db: &mut Db, text: &str) -> String {
    let sql = format!(
        "SELECT max(statement_id)::text FROM perfmon.top_statements() WHERE query LIKE '{text}%'"
    );
    db.val(&sql)
}

#[test]
fn a_step_of_which_nothing_was_timed_is_not_silent() {
    let server = Server::manual().start();
    app(&server);
    let (mut db, mut said) = watcher(&server);
    db.snapshot();
    db.run("ALTER ROLE bob SET pg_perfmon.capture = 'off'");
    let mut bob = server.connect("bob", "app");
    bob.run("SELECT 'of bob'::text");
    db.snapshot();
    let id = statement(&mut db, "SELECT $1::text");
    (0..200).for_each(|_| bob.run("SELECT 'of bob'::text"));
    db.snapshot();
    said();
    assert_eq!(heatmap(&mut db, &id), []);
    let told = said();
    assert!(told.contains("ALTER ROLE bob RESET pg_perfmon.capture"), "{told}");
    // Nobody was timed in it, as this session is not either.
    assert_eq!(heatmap(&mut db, "NULL"), []);
    let (calls, timed, _) = step(&mut db, "statement_series", &format!("{id},"));
    assert_eq!((calls, timed), (Some(200), None));
    let (calls, timed, _) = step(&mut db, "load_series", "");
    assert!(calls >= Some(200) && timed.is_none(), "{calls:?} {timed:?}");
    // A statement that did not run is known not to have.
    db.snapshot();
    said();
    assert_eq!(heatmap(&mut db, &id), [(None, 0)]);
    let (calls, timed, quality) = step(&mut db, "statement_series", &format!("{id},"));
    assert_eq!((calls, timed, quality.as_deref()), (Some(0), Some(0), Some("exact")));
    assert_eq!(said(), "");
    // Nor is it said of times that are known.
    let mut alice = server.connect("alice", "app");
    (0..20).for_each(|_| alice.run("SELECT 2 AS b"));
    db.snapshot();
    let all: i64 = heatmap(&mut db, "NULL").iter().map(|square| square.1).sum();
    assert!(all >= 20, "{all}");
    assert_eq!(said(), "");
}

#[test]
fn errors_are_of_all_that_was_tried() {
    let server = Server::manual().start();
    app(&server);
    let (mut db, _) = watcher(&server);
    db.run(
        "SELECT perfmon.create_slo('all', error_ratio => 0.5);
         ALTER ROLE bob SET pg_perfmon.capture = 'off'",
    );
    db.snapshot();
    let (mut alice, mut bob) = (server.connect("alice", "app"), server.connect("bob", "app"));
    for client in [&mut alice, &mut bob] {
        client.run("SET application_name = 'shop'");
    }
    (0..500).for_each(|_| bob.run("SELECT 1"));
    alice.fails("SELECT 1 / 0");
    db.snapshot();
    let promised = format!(
        "SELECT executions || ' ' || round(actual::numeric, 9) FROM perfmon.slo_status({LAST}) WHERE objective = 'errors'"
    );
    let series = format!(
        "SELECT sum(executions + errors + cancellations) || ' ' || round(max(error_ratio)::numeric, 9)
         FROM (VALUES ({LAST})) AS last (since, until), perfmon.error_series(since, until, until - since)"
    );
    let told: String = db.val(&series);
    assert_eq!(told, db.val::<String>(&promised));
    let all: i64 = told.split(' ').next().unwrap().parse().unwrap();
    assert!(all > 500, "{told}");
    let report: String = db.val(&format!("SELECT perfmon.report({LAST})"));
    assert!(report.contains(&format!("1 of {all} statements failed")), "{report}");
    let routes = format!(
        "SELECT user_name, calls, total_ms, p95_ms, errors, error_ratio, transactions, statements_per_transaction
         FROM perfmon.routes({LAST}) WHERE application = 'shop' ORDER BY 1"
    );
    let rows = db.rows(&routes);
    let numbers = |at: usize| -> (String, i64, Option<i64>, Option<i64>) {
        (rows[at].get(0), rows[at].get(1), rows[at].get(4), rows[at].get(6))
    };
    let shares = |at: usize| [2, 3, 5, 7].map(|column| rows[at].get::<_, Option<f64>>(column));
    assert_eq!(numbers(0), ("alice".to_owned(), 0, Some(1), Some(1)));
    assert_eq!(shares(0), [Some(0.0), None, Some(1.0), Some(1.0)]);
    assert_eq!(numbers(1), ("bob".to_owned(), 500, Some(0), None));
    assert_eq!(shares(1), [None, None, Some(0.0), None]);
}

#[test]
fn who_is_kept_from_all_statistics_makes_no_gap() {
    let server = Server::manual().start();
    app(&server);
    let (mut db, _) = watcher(&server);
    db.run(
        "ALTER ROLE bob SET pg_perfmon.capture = 'off'; ALTER ROLE bob SET pg_stat_statements.track = 'none'",
    );
    db.snapshot();
    let mut bob = server.connect("bob", "app");
    (0..200).for_each(|_| bob.run("SELECT 1"));
    db.snapshot();
    let last = "SELECT quality FROM perfmon.intervals() ORDER BY time_end DESC LIMIT 1";
    assert_eq!(db.val::<String>(last), "exact");
    let gaps: Vec<String> =
        db.list("SELECT kind || ': ' || detail FROM perfmon.gaps() WHERE subject = 'statement'");
    assert_eq!(gaps, [""; 0]);
}

#[test]
fn without_ids_nothing_is_no_zero() {
    let server = Server::manual().start();
    app(&server);
    let (mut db, mut said) = watcher(&server);
    let mut bob = server.connect("bob", "app");
    db.snapshot();
    (0..20).for_each(|_| bob.run("SELECT 'of bob'::text"));
    db.snapshot();
    let id = statement(&mut db, "SELECT $1::text");
    for value in ["off", "auto"] {
        db.run(&format!("ALTER SYSTEM SET compute_query_id = '{value}'"));
        server.reload();
        for session in [&mut db, &mut bob] {
            wait_until("the setting is there", secs(20), || {
                session.val::<String>("SHOW compute_query_id") == value
            });
        }
        db.snapshot();
        if value == "off" {
            db.snapshot();
            bob.run("SET application_name = 'shop'");
            (0..500).for_each(|_| bob.run("SELECT 'of bob'::text"));
            bob.fails("SELECT 1 / 0");
            db.snapshot();
            nothing_was_told(&mut db, &id, &mut said);
        }
    }
    // Told from what was known before and is known again.
    db.snapshot();
    (0..20).for_each(|_| bob.run("SELECT 'of bob'::text"));
    db.snapshot();
    let (calls, timed, quality) = step(&mut db, "statement_series", &format!("{id},"));
    assert_eq!((calls, timed, quality.as_deref()), (Some(20), Some(20), Some("exact")));
    let gaps: Vec<String> = db.list(
        "SELECT DISTINCT detail FROM perfmon.gaps() WHERE subject = 'statement' AND kind = 'disabled'",
    );
    assert_eq!(gaps, ["compute_query_id is off"]);
}

/// Of the last interval, in which all was without ids.
fn nothing_was_told(db: &mut Db, id: &str, said: &mut dyn FnMut() -> String) {
    let fix = "ALTER SYSTEM SET compute_query_id = 'auto'";
    for (function, of) in [("load_series", String::new()), ("statement_series", format!("{id},"))] {
        said();
        assert_eq!(step(db, function, &of), (None, None, None), "{function}");
        let told = said();
        assert!(told.contains("compute_query_id is off") && told.contains(fix), "{told}");
    }
    for of in ["NULL", id] {
        said();
        assert_eq!(heatmap(db, of), [], "{of}");
        assert!(said().contains(fix));
    }
    let series = format!(
        "SELECT executions, errors, error_ratio FROM (VALUES ({LAST})) AS last (since, until),
             perfmon.error_series(since, until, until - since)"
    );
    let row = db.rows(&series).into_iter().find(|row| row.get::<_, Option<i64>>(0).is_some());
    let row = row.unwrap();
    let (executions, errors, ratio): (i64, i64, f64) = (row.get(0), row.get(1), row.get(2));
    assert!(executions >= 500 && errors == 1 && ratio < 0.002, "{executions} {errors} {ratio}");
    said();
    let routes = format!(
        "SELECT calls, p95_ms, errors, error_ratio FROM perfmon.routes({LAST}) WHERE application = 'shop'"
    );
    let row = &db.rows(&routes)[0];
    assert_eq!(
        (row.get::<_, i64>(0), row.get::<_, Option<f64>>(1), row.get::<_, i64>(2)),
        (500, None, 1)
    );
    assert!(row.get::<_, f64>(3) < 0.002);
    assert!(said().contains(fix));
    let report: String = db.val(&format!("SELECT perfmon.report({LAST})"));
    assert!(report.contains("1 of 5") && report.contains(fix), "{report}");
    for zero in ["| all |", "Statements a second | 0", "Statements a second: 0", "100 %)"] {
        assert!(!report.contains(zero), "{zero}: {report}");
    }
}
