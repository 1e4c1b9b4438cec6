//! Reports of runs in which some were not timed.

use super::*;

#[test]
fn statements_that_nobody_timed_are_slow_by_their_mean() {
    let server = Server::manual().start();
    app(&server);
    let (mut db, _) = watcher(&server);
    db.run("ALTER ROLE bob SET pg_perfmon.capture = 'off'");
    let (mut alice, mut bob) = (server.connect("alice", "app"), server.connect("bob", "app"));
    db.snapshot();
    db.run("SELECT perfmon.begin_run('slow')");
    (0..6).for_each(|_| bob.run("SELECT pg_sleep(0.15)"));
    (0..6).for_each(|_| alice.run("SELECT 1 AS quick"));
    db.run("SELECT perfmon.end_run('slow'); SELECT perfmon.begin_run('quick')");
    (0..6).for_each(|_| bob.run("SELECT 2 AS quick"));
    (0..6).for_each(|_| alice.run("SELECT 1 AS quick"));
    db.run("SELECT perfmon.end_run('quick')");
    let mut of = |run: &str, format: &str| -> String {
        db.val(&format!("SELECT perfmon.run_report('{run}', '{format}')"))
    };
    let report = of("slow", "markdown");
    assert!(report.contains("p95 unknown, mean "), "{report}");
    assert!(report.contains("(all that was counted)"), "{report}");
    let report = of("quick", "markdown");
    assert!(
        report.contains("None of those with 5 executions or more that were timed; "),
        "{report}"
    );
    let json = of("slow", "json");
    let slow: Vec<(bool, Option<f64>, i64)> = db
        .rows(&format!(
            "SELECT s->'p95_ms' = 'null', (s->>'mean_ms')::float8, (s->>'calls')::bigint
             FROM jsonb_array_elements($json${json}$json$::jsonb->'slow') s"
        ))
        .iter()
        .map(|row| (row.get(0), row.get(1), row.get(2)))
        .collect();
    assert!(matches!(slow[..], [(true, Some(ms), 6)] if ms > 149.0), "{slow:?}");
    assert!(db.val::<bool>(&format!(
        "SELECT ($json${json}$json$::jsonb #> '{{latency,is_part}}')::bool"
    )));

    // Once he is timed, it is by p95, and nothing is missing.
    db.run("ALTER ROLE bob RESET pg_perfmon.capture");
    let mut bob = server.connect("bob", "app");
    db.run("SELECT perfmon.snapshot(); SELECT perfmon.begin_run('timed')");
    (0..6).for_each(|_| bob.run("SELECT pg_sleep(0.15)"));
    (0..6).for_each(|_| alice.run("SELECT 3, 3"));
    db.run("SELECT perfmon.end_run('timed')");
    let report: String = db.val("SELECT perfmon.run_report('timed')");
    let p95 =
        report.split("p95 ").nth(1).map(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    assert!(p95 == Some(true) && !report.contains("unknown, mean"), "{report}");

    // He ran it before, too, when it was not timed; what she runs now she did not.
    let mut verdicts = |before: &str, after: &str| -> Vec<(String, String)> {
        let sql = format!(
            "SELECT query, coalesce(verdict, 'unknown') FROM perfmon.compare_runs('{before}', '{after}')
             WHERE what = 'statement' ORDER BY 1"
        );
        db.rows(&sql).iter().map(|row| (row.get(0), row.get(1))).collect()
    };
    let told = |all: &[(&str, &str)]| -> Vec<(String, String)> {
        all.iter().map(|(query, word)| ((*query).to_owned(), (*word).to_owned())).collect()
    };
    let (fresh, sleep) = ("SELECT $1, $2", "SELECT pg_sleep($1)");
    let quick = "SELECT $1 AS quick";
    let forth = verdicts("slow", "timed");
    assert_eq!(forth, told(&[(quick, "gone"), (fresh, "new"), (sleep, "unknown")]));
    let back = verdicts("timed", "slow");
    assert_eq!(back, told(&[(quick, "new"), (fresh, "gone"), (sleep, "unknown")]));
}

#[test]
fn without_pg_stat_statements_nothing_timed_is_no_zero() {
    let server = Server::manual().preload("pg_perfmon").start();
    app(&server);
    let (mut db, _) = watcher(&server);
    let mut bob = server.connect("bob", "app");
    db.snapshot();
    (0..20).for_each(|_| bob.run("SELECT 'of bob'::text"));
    db.snapshot();
    let id: String = db.val(
        "SELECT max(statement_id)::text FROM perfmon.top_statements() WHERE user_name = 'bob'",
    );
    db.run("ALTER ROLE bob SET pg_perfmon.capture = 'off'");
    let mut bob = server.connect("bob", "app");
    db.snapshot();
    (0..300).for_each(|_| bob.run("SELECT 'of bob'::text"));
    db.snapshot();
    let (calls, timed, _) = step(&mut db, "statement_series", &format!("{id},"));
    assert_eq!((calls, timed), (None, None));
    assert_eq!(heatmap(&mut db, &id), []);
    // Where nobody had the hooks off, what was not timed was not executed.
    db.run("RESET pg_perfmon.capture");
    db.snapshot();
    let mut alice = server.connect("alice", "app");
    (0..20).for_each(|_| alice.run("SELECT 1 AS a"));
    db.snapshot();
    let (calls, timed, quality) = step(&mut db, "statement_series", &format!("{id},"));
    assert_eq!((calls, timed, quality), (None, Some(0), None));
    assert_eq!(heatmap(&mut db, &id), [(None, 0)]);
    // Others had them off, which is nothing to him.
    db.run("SET pg_perfmon.capture = 'off'; SELECT 1");
    alice.run("SELECT 1 AS a");
    db.snapshot();
    let (calls, timed, _) = step(&mut db, "statement_series", &format!("{id},"));
    assert_eq!((calls, timed), (None, Some(0)));
}

#[test]
fn an_objective_of_a_nested_statement_names_what_counts_it() {
    let server = Server::manual().conf("pg_stat_statements.track = all").start();
    app(&server);
    let mut db = server.db("app");
    db.run(
        "CREATE FUNCTION nested() RETURNS bigint LANGUAGE plpgsql AS
             $$ BEGIN RETURN (SELECT count(*) FROM pg_am WHERE amname = 'nested'); END $$",
    );
    db.snapshot();
    let mut bob = server.connect("bob", "app");
    (0..20).for_each(|_| bob.run("SELECT nested()"));
    db.snapshot();
    let nested = "SELECT perfmon.create_slo('nested', p95_ms => 1000, statement_id => statement_id)
        FROM perfmon.top_statements() WHERE NOT toplevel AND user_name = 'bob'";
    db.run(nested);
    let told = format!(
        "SELECT status || ': ' || detail FROM perfmon.slo_status({LAST}) WHERE objective = 'p95'"
    );
    let said: String = db.val(&told);
    assert!(said.starts_with("no_data"), "{said}");
    assert!(said.contains("ALTER SYSTEM SET pg_perfmon.capture = 'all'"), "{said}");
    db.run("ALTER ROLE bob SET pg_perfmon.capture = 'top'");
    let said: String = db.val(&told);
    assert!(said.contains("ALTER ROLE bob SET pg_perfmon.capture = 'all';"), "{said}");
    db.run("ALTER ROLE bob SET pg_perfmon.capture = 'all'");
    let mut bob = server.connect("bob", "app");
    db.snapshot();
    (0..200).for_each(|_| bob.run("SELECT nested()"));
    db.snapshot();
    let said: String = db.val(&told.replace("status || ': ' || detail", "status"));
    assert_eq!(said, "met");
}
