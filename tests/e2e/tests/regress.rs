//! PostgreSQL's own regression suite and SQLsmith with all hooks on: nothing prints another byte, everything is
//! counted, and nothing breaks.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::mpsc;
use std::time::Duration;

use perfmon_e2e::suite::{Outcome, SETTINGS, Suite};
use perfmon_e2e::{Builder, Server, secs, seed, wait_until};

/// Runs of the suite without us and with us, at most: a test of the suite may depend on what runs beside it, and then
/// gives now one result, now another.
const ROUNDS: usize = 2;

fn with_settings(builder: Builder) -> Builder {
    SETTINGS.iter().fold(builder, |builder, line| builder.conf(line))
}

/// A server that counts everything, and has room for `statements`.
fn counting(statements: u32) -> Builder {
    with_settings(Server::builder())
        .conf("pg_perfmon.capture = all")
        .conf(&format!("pg_perfmon.max_statements = {statements}"))
        // As often as it may be, every execution looked into, and every plan printed.
        .conf("pg_perfmon.evaluation_interval = '1min'")
        .conf("pg_perfmon.scan_sample_rate = 1")
        .conf("pg_perfmon.plan_min_duration = 0")
}

/// Runs something while a client works in a database, so that it gets its snapshots.
fn beside_a_client<R>(server: &Server, database: &str, work: impl FnOnce() -> R) -> R {
    let (done, wait) = mpsc::channel::<()>();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let mut db = server.db(database);
            let pace = Duration::from_millis(500);
            while wait.recv_timeout(pace) == Err(mpsc::RecvTimeoutError::Timeout) {
                db.run("SELECT count(*) FROM pg_catalog.pg_class");
            }
        });
        let result = work();
        drop(done);
        result
    })
}

/// What the suite gives without us.
fn baseline(suite: &Suite) -> Outcome {
    suite.run(&with_settings(Server::builder().plain()).start(), &[])
}

/// What it gives with us. The extension is in another database of the cluster: a schema more in the suite's own would
/// show in its tests of the catalog. The hooks work everywhere.
fn watched(suite: &Suite) -> Outcome {
    let server = counting(50_000).start();
    let mut watch = server.new_db("watch");
    watch.run("SELECT perfmon.snapshot()");
    let outcome = beside_a_client(&server, "watch", || suite.run(&server, &[]));
    let intervals = watch.intervals().len();
    assert!(intervals >= 2, "snapshots went on meanwhile: {intervals}");
    assert_sound(&server, "watch");
    assert_counts(&server);
    assert_errors(&server);
    outcome
}

/// Whoever has to count counts, and whoever has to collect collects.
fn assert_sound(server: &Server, database: &str) {
    let mut db = server.db(database);
    for item in ["launcher", "collector", "capture", "capture of errors"] {
        let state: String =
            db.val(&format!("SELECT state FROM perfmon.status() WHERE item = '{item}'"));
        assert_eq!(state, "ok", "{item}: {}", db.status());
    }
}

/// Every statement that a client sent was counted as often as pg_stat_statements says. Nested ones too, but for
/// those that EXPLAIN only shows: pg_stat_statements takes them for executed.
fn assert_counts(server: &Server) {
    let mut db = server.db("regression");
    db.run(
        "CREATE EXTENSION pg_stat_statements; CREATE EXTENSION pg_perfmon;
         SELECT set_config('pg_stat_statements.track', 'none', false), set_config('pg_perfmon.capture', 'off', false)",
    );
    let rows = db.rows(
        "WITH theirs AS MATERIALIZED (
             SELECT coalesce(r.rolname, s.userid::text)::text AS user_name, queryid, toplevel, calls, query
             FROM pg_stat_statements s LEFT JOIN pg_roles r ON r.oid = s.userid
             WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database())),
         ours AS MATERIALIZED (SELECT * FROM perfmon.latency_since_start() WHERE NOT rest)
         SELECT toplevel, coalesce(calls, 0), coalesce(executions, 0), coalesce(query, ''), user_name
         FROM theirs FULL JOIN ours USING (user_name, queryid, toplevel)",
    );
    println!("{} statements", rows.len());
    assert!(rows.len() > 10_000);
    let wrong: Vec<String> = rows
        .iter()
        .filter_map(|row| {
            let (top, theirs, ours): (bool, i64, i64) = (row.get(0), row.get(1), row.get(2));
            let (query, who): (String, String) = (row.get(3), row.get(4));
            let right = ours == theirs || (!top && ours < theirs);
            (!right).then(|| format!("{who}, top {top}: {theirs}, and {ours} by us: {query}"))
        })
        .collect();
    assert!(wrong.is_empty(), "{} differ: {:#?}", wrong.len(), &wrong[..wrong.len().min(30)]);
}

/// Tests whose output with us is none of those that were seen without us.
fn differing(without: &[Outcome], with: &Outcome) -> BTreeSet<String> {
    let tests: BTreeSet<&String> =
        with.printed.keys().chain(without.iter().flat_map(|o| o.printed.keys())).collect();
    let same = |name: &String| {
        let output = with.printed.get(name);
        without
            .iter()
            .any(|o| o.printed.get(name) == output && o.passed.get(name) == with.passed.get(name))
    };
    tests.into_iter().filter(|name| !same(name)).cloned().collect()
}

/// The first lines that differ.
fn difference(name: &str, without: &Outcome, with: &Outcome) -> String {
    let lines = |outputs: &BTreeMap<String, String>| {
        outputs.get(name).map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>())
    };
    let (Some(a), Some(b)) = (lines(&without.printed), lines(&with.printed)) else {
        return format!("{name}: printed by one of the two only");
    };
    let at = a.iter().zip(&b).position(|(x, y)| x != y).unwrap_or(a.len().min(b.len()));
    let from = at.saturating_sub(3);
    let show = |lines: &[String]| lines.iter().skip(from).take(12).cloned().collect::<Vec<_>>();
    format!("{name}, line {}: without {:#?}\nwith {:#?}", at + 1, show(&a), show(&b))
}

#[test]
fn the_servers_own_regression_suite_gives_the_same_as_without_us() {
    let suite = Suite::find();
    let mut without = vec![baseline(&suite)];
    let (total, failing): (usize, Vec<String>) = {
        let passed = &without[0].passed;
        (passed.len(), passed.iter().filter(|(_, ok)| !**ok).map(|(n, _)| n.clone()).collect())
    };
    // The source may be of another minor release than the server.
    println!("{} of {total} tests fail without the library: {failing:?}", failing.len());
    assert!(failing.len() * 10 < total, "too many fail even without the library: {failing:?}");
    let mut wrong: Option<BTreeSet<String>> = None;
    let mut words = Vec::new();
    for round in 0..ROUNDS {
        if round > 0 {
            println!("again, since these differ: {wrong:?}");
            without.push(baseline(&suite));
        }
        let with = watched(&suite);
        let now = differing(&without, &with);
        words = now.iter().map(|name| difference(name, &without[round], &with)).collect();
        let still: BTreeSet<String> =
            wrong.map_or(now.clone(), |before| before.intersection(&now).cloned().collect());
        if still.is_empty() {
            return;
        }
        wrong = Some(still);
    }
    panic!("other results with the library: {wrong:?}\n{}", words.join("\n"));
}

/// How many statements SQLsmith sends.
fn smith_statements() -> u64 {
    std::env::var("PERFMON_SQLSMITH").map_or(10_000, |n| n.parse().expect("a number"))
}

/// One session of SQLsmith: how many statements it sent. It sets a statement_timeout of a second itself.
fn smith(server: &Server, statements: u64, seed: u64) -> u64 {
    // It would wait for a server that is gone for ever.
    let limit = (120 + statements / 5).to_string();
    let target = format!("host={} port=5432 user=smith dbname=regression", server.dir().display());
    let out = server
        .client_command("timeout")
        .args([&limit, "sqlsmith", "--verbose", &format!("--target={target}")])
        .args([format!("--max-queries={statements}"), format!("--seed={seed}")])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "SQLsmith ended with {}: {said}", out.status);
    let sent = said.lines().filter_map(|line| line.strip_prefix("queries: ")).next_back();
    sent.and_then(|n| n.trim().parse().ok())
        .unwrap_or_else(|| panic!("no word of SQLsmith: {said}"))
}

/// Every error of the database's clients that is in the server's log was counted, once, by its SQLSTATE.
fn assert_errors(server: &Server) {
    let mut logged: BTreeMap<String, i64> = BTreeMap::new();
    for line in server.log().lines() {
        // After the database stand the SQLSTATE and the level; other messages may quote an error.
        let Some((_, rest)) = line.split_once(" client backend regression ") else { continue };
        if let Some((state, rest)) = rest.split_once(' ')
            && (rest.starts_with("ERROR:  ") || rest.starts_with("FATAL:  "))
        {
            *logged.entry(state.to_owned()).or_default() += 1;
        }
    }
    let mut db = server.db("regression");
    let counted: BTreeMap<String, i64> = db
        .rows("SELECT sqlstate, sum(errors)::bigint FROM perfmon.errors_since_start() GROUP BY sqlstate")
        .iter()
        .map(|row| (row.get(0), row.get(1)))
        .collect();
    println!("{} errors of {} kinds", counted.values().sum::<i64>(), counted.len());
    assert!(counted.len() > 50);
    let both: BTreeSet<&String> = logged.keys().chain(counted.keys()).collect();
    let wrong: Vec<_> = both
        .into_iter()
        .filter(|state| logged.get(*state) != counted.get(*state))
        .map(|state| (state, logged.get(state), counted.get(state)))
        .collect();
    assert!(wrong.is_empty(), "SQLSTATE, how often logged and counted: {wrong:?}");
}

/// The extension in the suite's own database, the number of statements as it is by default: collectors and evaluations
/// work among all that the suite leaves, and entries are folded all the time. SQLsmith may do what a user of all tables
/// may, and not what breaks a server by design.
#[test]
fn regression_tests_and_sqlsmith_break_nothing() {
    let suite = Suite::find();
    let server = counting(5000).conf("log_min_error_statement = panic").start();
    server.db("postgres").run(
        "CREATE ROLE smith LOGIN; GRANT pg_monitor, pg_read_all_data, pg_write_all_data TO smith",
    );
    let postmaster = server.postmaster();
    let outcome = suite.run(&server, &["pg_stat_statements", "pg_perfmon"]);
    let failed = outcome.passed.values().filter(|ok| !**ok).count();
    println!("{failed} of {} tests fail with the schema among theirs", outcome.passed.len());
    assert!(failed * 5 < outcome.passed.len());
    assert_sound(&server, "regression");
    assert_errors(&server);

    let (sessions, seed) = (2, seed());
    let statements = smith_statements().div_ceil(sessions);
    let sent: u64 = std::thread::scope(|scope| {
        let smiths: Vec<_> = (0..sessions)
            .map(|n| {
                let server = &server;
                scope.spawn(move || smith(server, statements, (seed + n) % 1_000_000))
            })
            .collect();
        smiths.into_iter().map(|smith| smith.join().unwrap()).sum()
    });
    println!("SQLsmith sent {sent} statements");
    assert!(sent >= smith_statements());
    assert_eq!(server.postmaster(), postmaster, "the server is the same");
    assert_sound(&server, "regression");
    let mut db = server.db("regression");
    // Sessions end a moment after their clients.
    wait_until("SQLsmith's sessions are gone", secs(20), || {
        db.val("SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE usename = 'smith')")
    });
    assert_errors(&server);
    let folded: bool = db.val("SELECT bool_or(rest) FROM perfmon.latency_since_start()");
    assert!(folded, "there were more statements than places");
}
