//! Objectives and test runs on whole servers: kept, missed, not to be judged, asserted from psql, compared.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use perfmon_e2e::{Db, Server, Stop, code_of, message_of, secs, wait_until};

#[path = "objectives/cluster.rs"]
mod cluster;

const CAPTURE_OFF: &str = "SET pg_perfmon.capture = 'off'";
/// 63 bytes, as long as an identifier, with all that needs care.
const HOSTILE: &str = "it's \"one\"\nof two lines; DROP TABLE x; -- \\ 日本語 .........";

/// A session that is not counted itself, in a database with a first snapshot and a role that works.
fn app(server: &Server) -> Db {
    let mut db = server.new_db("app");
    db.run(CAPTURE_OFF);
    db.run("CREATE ROLE alice LOGIN; CREATE ROLE bob LOGIN");
    db.snapshot();
    db
}

/// `fast` executions of some tens of microseconds and `slow` ones of 60 ms.
fn work(server: &Server, role: &str, fast: usize, slow: usize) {
    let mut client = server.connect(role, "app");
    for _ in 0..fast {
        client.run("SELECT 1");
    }
    for _ in 0..slow {
        client.run("SELECT pg_sleep(0.06)");
    }
}

/// Name, objective, status, executions.
fn status(db: &mut Db) -> Vec<(String, String, String, Option<i64>)> {
    db.rows("SELECT slo_name, objective, status, executions FROM perfmon.slo_status()")
        .iter()
        .map(|r| (r.get(0), r.get(1), r.get(2), r.get(3)))
        .collect()
}

fn status_of(db: &mut Db, name: &str, objective: &str) -> String {
    let all = status(db);
    let found = all.iter().find(|(n, o, ..)| n == name && o == objective);
    found.unwrap_or_else(|| panic!("{name} {objective}: {all:?}")).2.clone()
}

/// Over all of history, since of an availability most of the time must be known.
fn availability_of(db: &mut Db, name: &str) -> String {
    let sql = "SELECT s.status FROM (SELECT min(until) AS since, max(until) AS until FROM perfmon.server_minute) r,
                   perfmon.slo_status(r.since, r.until) s WHERE s.slo_name = $1 AND s.objective = 'availability'";
    db.query_one(sql, &[&name]).unwrap().get(0)
}

#[test]
fn met_missed_no_data_and_too_few() {
    let server = Server::manual().start();
    let mut db = app(&server);
    db.run("SELECT perfmon.create_slo('all')");
    let names: Vec<String> = status(&mut db).into_iter().map(|row| row.1).collect();
    assert_eq!(names, ["p95", "p99", "errors"], "the defaults");
    // Creating the extension was work of this database too.
    let before = status(&mut db)[0].3.unwrap_or(0);
    assert!(before < 50, "{before}");
    let day = "SELECT DISTINCT status FROM perfmon.slo_status(until => now() - interval '1 day')";
    assert_eq!(db.list::<String>(day), ["no_data"]);

    work(&server, "alice", 40, 0);
    db.snapshot();
    assert_eq!(status(&mut db)[0].2, "too_few");
    assert_eq!(status(&mut db)[0].3, Some(before + 40), "as many as the client executed");
    work(&server, "alice", 360, 0);
    db.snapshot();
    assert_eq!(status(&mut db)[0].3, Some(before + 400));
    for objective in ["p95", "errors"] {
        assert_eq!(status_of(&mut db, "all", objective), "met", "{objective}");
    }
    // What this test asks is not timed, and more than one in a hundred.
    assert_eq!(status_of(&mut db, "all", "p99"), "no_data");
    db.run("SELECT perfmon.create_slo('alice', username => 'alice')");
    assert_eq!(status_of(&mut db, "alice", "p99"), "met");
    db.run("SELECT perfmon.drop_slo('alice')");

    // One in ten is late for a p95 of 30 ms, and in time for one of 100 ms; a p80 of 30 ms is kept.
    work(&server, "bob", 90, 10);
    db.snapshot();
    db.run(
        "SELECT perfmon.create_slo('bob', p95_ms => 30, percentile => 0.8, percentile_ms => 30, username => 'bob');
         SELECT perfmon.create_slo('bob at ease', p95_ms => 100, username => 'bob');
         SELECT perfmon.create_slo('alice', p95_ms => 30, username => 'alice');
         SELECT perfmon.create_slo('nobody', p95_ms => 30, username => 'nobody')",
    );
    assert_eq!(status_of(&mut db, "bob", "p95"), "missed");
    assert_eq!(status_of(&mut db, "bob", "p80"), "met");
    assert_eq!(status_of(&mut db, "bob at ease", "p95"), "met");
    assert_eq!(status_of(&mut db, "alice", "p95"), "met");
    assert_eq!(status_of(&mut db, "nobody", "p95"), "no_data");
    let row = &db.rows(
        "SELECT actual, actual_low, actual_high, budget_left_ratio, burn_rate_short, detail, executions
           FROM perfmon.slo_status() WHERE slo_name = 'bob' AND objective = 'p95'",
    )[0];
    let (actual, low, high): (f64, f64, f64) = (row.get(0), row.get(1), row.get(2));
    assert!(
        low <= actual && actual <= high && (57.0..90.0).contains(&actual),
        "{actual} {low} {high}"
    );
    assert_eq!(row.get::<_, i64>(6), 100);
    let (left, burn): (f64, f64) = (row.get(3), row.get(4));
    assert!(
        (left + 1.0).abs() < 1e-9 && (burn - 2.0).abs() < 1e-9,
        "twice what is allowed: {left} {burn}"
    );
    assert!(row.get::<_, String>(5).starts_with("100 executions"), "{}", row.get::<_, String>(5));
}

#[test]
fn errors_throughput_statements_and_applications() {
    let server = Server::manual().start();
    let mut db = app(&server);
    let mut client = server.connect("alice", "app");
    client.run("SET application_name = 'shop'");
    for i in 0..200 {
        if i % 10 == 0 {
            client.fails("SELECT 1 / 0");
        } else {
            client.run("SELECT 1 AS one");
        }
    }
    db.snapshot();
    let id: i32 = db.val("SELECT statement_id FROM perfmon.statement WHERE query LIKE '%AS one%'");
    db.run(&format!(
        "SELECT perfmon.create_slo('errors', error_ratio => 0.2);
         SELECT perfmon.create_slo('few errors', error_ratio => 0.05);
         SELECT perfmon.create_slo('fast', throughput_per_second => 1e9);
         SELECT perfmon.create_slo('slow', throughput_per_second => 1e-6);
         SELECT perfmon.create_slo('statement', p99_ms => 500, error_ratio => 0.5, statement_id => {id});
         SELECT perfmon.create_slo('shop', p99_ms => 500, error_ratio => 0.05, application => 'shop');
         SELECT perfmon.create_slo('other', p99_ms => 500, application => 'other');
         SELECT perfmon.create_slo('up', availability_ratio => 0.5)"
    ));
    for (name, objective, expected) in [
        ("errors", "errors", "met"),
        ("few errors", "errors", "missed"),
        // Seconds of history are no hour.
        ("fast", "throughput", "no_data"),
        ("slow", "throughput", "met"),
        ("statement", "p99", "met"),
        ("statement", "errors", "met"),
        ("shop", "p99", "met"),
        ("shop", "errors", "missed"),
        ("other", "p99", "no_data"),
        ("up", "availability", "no_data"),
    ] {
        assert_eq!(status_of(&mut db, name, objective), expected, "{name}: {:?}", status(&mut db));
    }
    // Of the last hour little is known, of the time since the first snapshot all.
    assert_eq!(availability_of(&mut db, "up"), "met");
    let failed: f64 =
        db.val("SELECT actual FROM perfmon.slo_status() WHERE slo_name = 'few errors'");
    assert!((failed - 0.1).abs() < 0.01, "20 of 200: {failed}");
    let ran: i64 =
        db.val("SELECT executions FROM perfmon.slo_status() WHERE slo_name = 'statement' LIMIT 1");
    assert_eq!(ran, 180);
}

#[test]
fn a_script_ends_with_the_table_when_a_promise_is_broken() {
    let server = Server::manual().start();
    let mut db = app(&server);
    let assertion = "SELECT slo_name, status FROM perfmon.assert_slo()";
    let none = server.psql("app", assertion);
    assert!(!none.ok && none.stderr.contains("no objective is declared"), "{}", none.stderr);
    db.run("SELECT perfmon.create_slo('latency', p95_ms => 30)");
    let silent = db.fails(assertion);
    assert_eq!(code_of(&silent), "P0004", "{}", message_of(&silent));
    assert!(message_of(&silent).contains("could not be judged"), "{}", message_of(&silent));
    work(&server, "alice", 200, 0);
    db.snapshot();
    let kept = server.psql("app", assertion).success();
    assert_eq!(kept.stdout.trim(), "latency|met");

    db.run("SELECT perfmon.create_slo('strict', p95_ms => 0.000001)");
    let broken = server.psql("app", assertion);
    assert!(!broken.ok, "{}", broken.stdout);
    for words in
        ["1 of 2 objectives were missed", "DETAIL:", "strict", "at most", "missed", "HINT:"]
    {
        assert!(broken.stderr.contains(words), "{words}: {}", broken.stderr);
    }
    server.psql("app", "SELECT * FROM perfmon.assert_slo('latency')").success();
    let unknown = db.fails("SELECT perfmon.assert_slo('nothing')");
    assert_eq!(code_of(&unknown), "42704");
    // A time of which nothing is known does not pass.
    let before =
        db.fails("SELECT perfmon.assert_slo('latency', until => now() - interval '1 day')");
    assert_eq!(code_of(&before), "P0004", "{}", message_of(&before));
    db.run("SELECT perfmon.drop_slo('strict')");
    server.psql("app", assertion).success();
}

#[test]
fn names_may_hold_anything_and_what_cannot_be_meant_is_refused() {
    let server = Server::manual().start();
    let mut db = app(&server);
    db.execute(
        "SELECT perfmon.create_slo($1, p95_ms => 10, application => $1, note => $1)",
        &[&HOSTILE],
    )
    .unwrap();
    assert_eq!(status(&mut db)[0].0, HOSTILE);
    let detail = db.fails("SELECT perfmon.assert_slo()");
    assert_eq!(detail.as_db_error().unwrap().detail().unwrap().lines().count(), 2);
    db.run("SELECT perfmon.report()");
    for (call, code) in [
        ("create_slo(NULL)", "22023"),
        ("create_slo('x', p95_ms => -1)", "22023"),
        ("create_slo('x', error_ratio => 5)", "22023"),
        ("create_slo('x', percentile => 95, percentile_ms => 1)", "22023"),
        ("create_slo('x', cluster => true, username => 'alice')", "22023"),
        ("create_slo('x', period => '-1 day')", "22023"),
        ("create_slo('x', min_executions => 0)", "22023"),
        ("create_slo('x', database => 'postgres')", "55000"),
        ("drop_slo('x')", "42704"),
        ("slo_status(now(), now() - interval '1 hour')", "22023"),
        ("run_report('x')", "42704"),
        ("end_run('x')", "55000"),
        ("begin_run('')", "22023"),
    ] {
        let e = db.fails(&format!("SELECT * FROM perfmon.{call}"));
        assert_eq!(code_of(&e), code, "{call}: {}", message_of(&e));
        assert!(e.as_db_error().unwrap().hint().is_some(), "{call}");
    }
    let twice = db.execute("SELECT perfmon.create_slo($1)", &[&HOSTILE]).unwrap_err();
    assert_eq!(code_of(&twice), "42710");
    db.execute("SELECT perfmon.drop_slo($1)", &[&HOSTILE]).unwrap();
    assert_eq!(status(&mut db), []);
}

#[test]
fn a_run_is_reported_and_compared_with_another() {
    let server = Server::manual().start();
    let mut db = app(&server);
    db.run("SELECT perfmon.create_slo('latency', p95_ms => 30)");
    work(&server, "alice", 7, 3);
    db.run("SELECT perfmon.begin_run('first', 'before the change')");
    work(&server, "alice", 150, 0);
    assert_eq!(code_of(&db.fails("SELECT perfmon.begin_run('first')")), "55000");
    let going_on: String = db.val("SELECT perfmon.run_report('first')");
    assert!(going_on.contains("Unfinished"), "{going_on}");
    db.run("SELECT perfmon.end_run('first')");
    let report: String = db.val("SELECT perfmon.run_report('first')");
    for words in [
        "# Test run: first",
        "**passed**",
        "before the change",
        "| met ",
        "Nothing was changed",
        "SELECT",
    ] {
        assert!(report.contains(words), "{words}: {report}");
    }
    let json: String = db.val("SELECT perfmon.run_report('first', 'json')");
    let executions: i64 = db.val(&format!(
        "SELECT (($json${json}$json$)::jsonb -> 'objectives' -> 0 ->> 'executions')::bigint"
    ));
    assert_eq!(executions, 150, "what ran before and after the run is not in it");

    db.run("SELECT perfmon.begin_run('second'); SELECT perfmon.begin_run('beside')");
    server.connect("postgres", "app").run("CREATE TABLE made (a int)");
    work(&server, "alice", 80, 30);
    db.run("SELECT perfmon.end_run('second')");
    let report: String = db.val("SELECT perfmon.run_report('second', 'markdown', 'first')");
    for words in [
        "**failed**",
        "At the same time: beside",
        "Compared with: first",
        "worse",
        "public.made",
        "p95",
    ] {
        assert!(report.contains(words), "{words}: {report}");
    }
    assert!(
        report.contains("Statements over 100 ms at p95\n\nNone of"),
        "60 ms is not over it: {report}"
    );
    db.run("SELECT perfmon.set_threshold('slow_statement_p95_ms', 20)");
    let report: String = db.val("SELECT perfmon.run_report('second')");
    assert!(report.contains("30 calls") && report.contains("pg_sleep"), "{report}");
    let rows = db.rows("SELECT what, verdict FROM perfmon.compare_runs('first', 'second') WHERE what = 'objective'");
    assert_eq!(
        (rows[0].get::<_, String>(0), rows[0].get::<_, String>(1)),
        ("objective".into(), "worse".into())
    );
    // A name may be used again; the latest is meant.
    db.run("SELECT perfmon.begin_run('first'); SELECT perfmon.end_run('first')");
    let again: String = db.val("SELECT perfmon.run_report('first', 'json')");
    assert!(again.contains("\"outcome\": \"unclear\""), "nothing ran: {again}");
}

#[test]
fn they_outlive_a_restart_and_a_dump() {
    let server = Server::manual().start();
    let mut db = app(&server);
    db.run("SELECT perfmon.create_slo('latency', p95_ms => 30)");
    work(&server, "alice", 150, 0);
    db.run("SELECT perfmon.begin_run('run'); SELECT perfmon.end_run('run')");
    drop(db);
    server.stop(Stop::Immediate);
    server.start();
    let mut db = server.db("app");
    db.run(CAPTURE_OFF);
    assert_eq!(status_of(&mut db, "latency", "p95"), "met");
    let script = server.dir().join("dump.sql");
    let script = script.to_str().unwrap();
    server.client("pg_dump", &["-d", "app", "-f", script]).success();
    server.db("postgres").run("CREATE DATABASE copy");
    server
        .client("psql", &["-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", "copy", "-f", script])
        .success();
    let mut copy = server.db("copy");
    copy.snapshot();
    assert_eq!(status_of(&mut copy, "latency", "p95"), "met");
    copy.run("SELECT perfmon.run_report('run')");
}

#[test]
fn a_broken_promise_is_a_finding_and_stands_on_top_of_the_report() {
    let server = Server::manual().start();
    let mut db = app(&server);
    assert!(db.val::<String>("SELECT perfmon.report()").contains("perfmon.create_slo('name')"));
    db.run("SELECT perfmon.create_slo('latency', p95_ms => 30)");
    // So short a time is long enough here.
    db.set_thresholds(&[("slo_critical_minutes", 0.001), ("slo_warning_minutes", 0.001)]);
    work(&server, "alice", 100, 20);
    db.snapshot();
    let found = db.evaluate();
    let missed: Vec<_> = found.iter().filter(|f| f.kind == "slo_missed").collect();
    assert_eq!(missed.len(), 1, "{found:?}");
    assert_eq!(
        (missed[0].object.as_str(), missed[0].subject.as_str()),
        ("objective latency", "p95")
    );
    let report: String = db.val("SELECT perfmon.report()");
    let (promised, verdict) = (report.find("## Objectives"), report.find("## Verdict"));
    assert!(promised.is_some() && promised < verdict, "{report}");
    assert!(report.contains("| missed ") && report.find("## Latency") < verdict, "{report}");
    db.run("SELECT perfmon.drop_slo('latency')");
    assert!(db.evaluate().iter().all(|f| f.kind != "slo_missed"));
}

#[test]
fn without_preloading_what_is_missing_is_said_with_the_line() {
    let server = Server::unloaded().start();
    let mut db = server.new_db("app");
    db.snapshot();
    db.run("SELECT perfmon.create_slo('all', p95_ms => 30, error_ratio => 0.1, throughput_per_second => 1e-9)");
    db.run("SELECT count(*) FROM pg_am");
    db.snapshot();
    // pg_stat_statements counts executions without the hooks, and what begins and ends transactions with them.
    for objective in ["p95", "errors", "throughput"] {
        assert_eq!(status_of(&mut db, "all", objective), "no_data", "{objective}");
    }
    for detail in db.list::<String>("SELECT detail FROM perfmon.slo_status()") {
        assert!(detail.contains("shared_preload_libraries"), "{detail}");
    }
}
