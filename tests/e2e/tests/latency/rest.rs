//! Statements that were counted without their names.

use perfmon_e2e::Server;

use crate::{text, unseen};

/// Of one that may have been counted without its name, nothing is said as if it had not been executed. Who asks is told.
#[test]
fn who_may_be_in_the_rest_is_not_shown_as_silent() {
    const TOLD: &str = "there may be more executions of this statement in the window";
    let server =
        Server::manual().preload("pg_perfmon").conf("pg_perfmon.max_statements = 100").start();
    server.db("postgres").run("CREATE DATABASE app");
    let mut db = server.db("app");
    db.run("CREATE EXTENSION pg_perfmon; CREATE TABLE t AS SELECT 1 AS a");
    let mut watcher = unseen(&server, "app");
    watcher.snapshot();
    for part in [0..60, 60..400] {
        part.clone().for_each(|i| db.run(&text(i)));
        part.for_each(|i| db.run(&text(i)));
        watcher.snapshot();
    }
    let last: String = watcher.val(
        "SELECT quote_literal(max(since)) || ', ' || quote_literal(max(until)) FROM perfmon.latency_minute",
    );
    // Of the first ones some have their places still, and did nothing.
    let known: Vec<i32> = watcher.list("SELECT statement_id FROM perfmon.statement WHERE toplevel");
    assert!(known.len() > 50, "{known:?}");
    let (mut asker, notices) = server.noticing("app");
    asker.run("SET pg_perfmon.capture = off");
    let mut lost = 0;
    for id in known {
        let mut told = |call: &str| {
            notices.lock().unwrap().clear();
            let calls: i64 = asker.val(call);
            let told = notices.lock().unwrap().iter().filter(|one| one.contains(TOLD)).count();
            (calls, told)
        };
        let sum = "SELECT coalesce(sum(calls), -1)::int8 FROM perfmon";
        let ranges = told(&format!("{sum}.latency_histogram({id}, {last})"));
        let map = told(&format!("{sum}.latency_heatmap({last}, '1 day', {id})"));
        let series = format!("perfmon.statement_series({id}, {last}, '1 day')");
        let (timed, _) =
            told(&format!("SELECT coalesce(sum(timed_calls), -1)::int8 FROM {series}"));
        assert!([(2, 0), (1, 0), (-1, 1)].contains(&ranges), "{id}: {ranges:?}");
        assert_eq!((map, timed), (ranges, ranges.0), "{id}");
        lost += ranges.1;
    }
    assert!(lost > 0, "there is a rest");
}
