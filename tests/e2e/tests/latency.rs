//! Execution times in the history: what the client measured, every execution once, through restarts, crashes, dumps
//! and roll-ups; and what is not known is said.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

use std::time::Instant;

use perfmon_e2e::{Db, Random, Server, secs, seed, wait_until};

#[path = "latency/kept.rs"]
mod kept;
#[path = "latency/rest.rs"]
mod rest;

/// A window that holds everything.
const ALL: &str = "now() - interval '1 hour', clock_timestamp()";

/// A session that asks and is not counted itself, from its first statement on.
fn unseen(server: &Server, database: &str) -> Db {
    server.db("postgres").run(
        "DO $$ BEGIN
             IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'watcher') THEN
                 CREATE ROLE watcher LOGIN SUPERUSER;
                 ALTER ROLE watcher SET pg_perfmon.capture = off;
                 ALTER ROLE watcher SET pg_stat_statements.track = none;
             END IF;
         END $$",
    );
    server.connect("watcher", database)
}

/// Executions in the history, by their place in it: top-level ones as rows tell them, as the histogram does, and as
/// all statements do.
fn executions(db: &mut Db) -> [i64; 3] {
    [
        "SELECT coalesce(sum(total_calls), 0)::int8 FROM perfmon.latency_minute".to_owned(),
        format!("SELECT coalesce(sum(calls), 0)::int8 FROM perfmon.latency_histogram(NULL, {ALL})"),
        format!("SELECT coalesce(sum(timed_calls), 0)::int8 FROM perfmon.top_statements({ALL}, 'p95', NULL)"),
    ]
    .map(|query| db.val(&query))
}

/// The value of rank ceil(q n).
fn exact(sorted: &[f64], q: f64) -> f64 {
    sorted[((q * sorted.len() as f64).ceil() as usize).clamp(1, sorted.len()) - 1]
}

#[test]
fn percentiles_are_those_that_the_client_measured() {
    let server = Server::manual().start();
    let mut db = server.new_db("app");
    let mut watcher = unseen(&server, "app");
    watcher.snapshot();
    let statement = db.prepare("SELECT pg_sleep($1)").unwrap();
    let (mut asked, mut measured) = (vec![], vec![]);
    for i in 0..100 {
        let ms = match i % 20 {
            0..8 => 4.0,
            8..15 => 11.0,
            15..19 => 35.0,
            _ => 90.0 + f64::from(i) / 10.0,
        };
        let start = Instant::now();
        db.query(&statement, &[&(ms / 1000.0)]).unwrap();
        measured.push(start.elapsed().as_secs_f64() * 1000.0);
        asked.push(ms);
        // Over several intervals: percentiles come from the sum of all.
        if i % 30 == 29 {
            watcher.snapshot();
        }
    }
    watcher.snapshot();
    asked.sort_by(f64::total_cmp);
    measured.sort_by(f64::total_cmp);
    let row = &watcher.rows(&format!(
        "SELECT timed_calls, p50_ms, p75_ms, p90_ms, p95_ms, p99_ms, max_ms, percentile_error_ratio, statement_id, stddev_exec_ms
           FROM perfmon.top_statements({ALL}, 'p99') WHERE query LIKE '%pg_sleep%'"
    ))[0];
    assert_eq!(row.get::<_, i64>(0), 100);
    assert_eq!(row.get::<_, f64>(7), 0.05);
    for (i, q) in [(1, 0.5), (2, 0.75), (3, 0.9), (4, 0.95), (5, 0.99), (6, 1.0)] {
        let shown: f64 = row.get(i);
        // The server slept at least as long as asked, and at most as long as the client waited.
        let (least, most) = (exact(&asked, q) * 0.95, exact(&measured, q) * 1.05);
        assert!((least..=most).contains(&shown), "{q}: {shown} is not in {least}..{most}");
    }
    let id: i32 = row.get(8);
    let deviation: f64 = row.get(9);
    assert!((20.0..60.0).contains(&deviation), "{deviation}");
    // The same from the series, from the histogram and from the heat map.
    let whole = "now() - interval '1 hour', clock_timestamp() + interval '1 hour'";
    let of_series = watcher.rows(&format!(
        "SELECT sum(timed_calls)::int8, max(max_ms), max(p99_ms) FROM perfmon.statement_series({id}, {whole}, '1 day')"
    ));
    assert_eq!(of_series[0].get::<_, i64>(0), 100);
    assert_eq!(of_series[0].get::<_, f64>(1), row.get::<_, f64>(6));
    assert_eq!(of_series[0].get::<_, f64>(2), row.get::<_, f64>(5));
    let ranges = watcher.rows(&format!(
        "SELECT low_ms, high_ms, calls, cached_calls + read_calls FROM perfmon.latency_histogram({id}, {ALL})"
    ));
    let mut seen = 0;
    for range in &ranges {
        let (low, high, calls): (f64, f64, i64) = (range.get(0), range.get(1), range.get(2));
        assert_eq!(calls, range.get::<_, i64>(3));
        let slack = |ms: &&f64| **ms < high;
        seen += calls;
        let asked = asked.iter().filter(slack).count() as i64;
        assert!(seen <= asked, "{seen} executions below {high} ms, asked for {asked}");
        assert!(low < high && high / low < 1.12);
    }
    assert_eq!(seen, 100);
    let map: i64 = watcher.val(&format!(
        "SELECT sum(calls)::int8 FROM perfmon.latency_heatmap({whole}, '1 minute', {id})"
    ));
    assert_eq!(map, 100);
    let load = &watcher.rows(&format!(
        "SELECT timed_calls, p99_ms FROM perfmon.load_series({whole}, '1 day') WHERE timed_calls > 0"
    ))[0];
    assert!(load.get::<_, i64>(0) >= 100 && load.get::<_, f64>(1) > 80.0);
}

/// A statement that has its own queryid for each number below 512.
fn text(i: usize) -> String {
    let columns: Vec<&str> = (0..9).map(|bit| if i >> bit & 1 == 1 { "a" } else { "1" }).collect();
    format!("SELECT {} FROM t", columns.join(", "))
}

#[test]
fn every_execution_is_in_one_interval() {
    let server = Server::manual().conf("pg_perfmon.max_statements = 100").start();
    server.new_db("app").run("CREATE TABLE t AS SELECT 1 AS a");
    let mut random = Random::new(seed());
    let mut watcher = unseen(&server, "app");
    watcher.snapshot();
    let (mut db, mut pid) = session(&server);
    watcher.snapshot();
    let [before, ..] = executions(&mut watcher);
    let (mut executed, mut unread) = (0, 0);
    let (mut restarts, mut crashes) = (0, 0);
    while restarts < 2 || crashes < 2 || executed < 6_000 {
        match random.below(if executed > 1_500 { 12 } else { 8 }) {
            0..7 => {
                // Hundreds of statements for a hundred places: most end up in the rest.
                for _ in 0..200 {
                    db.run(&text(random.below(400)));
                }
                unread += 200;
            }
            7..9 => {
                watcher.snapshot();
                executed += unread;
                unread = 0;
                assert_eq!(executions(&mut watcher), [before + executed; 3]);
            }
            9..11 if restarts < 2 => {
                server.restart();
                restarts += 1;
                watcher = unseen(&server, "app");
                (db, pid) = session(&server);
                // Asking for the process is one.
                unread = 1;
                stated(&mut watcher, restarts + crashes);
                executed += unread;
                unread = 0;
            }
            _ if crashes < 2 => {
                server.expect_crash();
                server.kill_9(pid);
                crashes += 1;
                server.wait_ready();
                wait_until("the server is up again", secs(60), || {
                    server.try_connect("postgres", "app").is_ok()
                });
                watcher = unseen(&server, "app");
                (db, pid) = session(&server);
                // Asking for the process is one.
                unread = 1;
                stated(&mut watcher, restarts + crashes);
                executed += unread;
                unread = 0;
            }
            _ => {}
        }
    }
    let other: i64 = watcher.val(&format!(
        "SELECT timed_calls FROM perfmon.top_statements({ALL}, 'p95', NULL) WHERE statement_id = 0"
    ));
    assert!(other > 1_000, "folded: {other}");
    // Nothing is counted twice, and nothing of what the gaps tell is in a row.
    let overlaps: i64 = watcher.val(
        "SELECT count(*) FROM perfmon.latency_minute m JOIN perfmon.gap g
             ON g.subject = 'latency' AND m.since < g.until AND g.since < m.until",
    );
    assert_eq!(overlaps, 0);
}

/// A session that works, and its process.
fn session(server: &Server) -> (Db, i32) {
    let mut db = server.db("app");
    let pid = db.pid();
    (db, pid)
}

/// After a new start, what was unread is a gap as soon as somebody looks.
fn stated(db: &mut Db, starts: i64) {
    db.snapshot();
    let gaps: i64 =
        db.val("SELECT count(*) FROM perfmon.gap WHERE subject = 'latency' AND kind = 'reset'");
    assert_eq!(gaps, starts);
}

#[test]
fn nested_executions_are_theirs_only() {
    let server = Server::manual().conf("pg_perfmon.capture = all").start();
    let mut db = server.new_db("app");
    db.run("CREATE TABLE t AS SELECT 1 AS a;
            CREATE FUNCTION f() RETURNS int LANGUAGE plpgsql AS $$ BEGIN RETURN (SELECT sum(a) FROM t); END $$");
    let mut watcher = unseen(&server, "app");
    watcher.snapshot();
    for _ in 0..20 {
        db.run("SELECT f()");
    }
    watcher.snapshot();
    let row = &watcher.rows(
        "SELECT total_calls, nested_calls FROM perfmon.latency_minute ORDER BY until DESC LIMIT 1",
    )[0];
    assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(1)), (20, 20));
    let since: String =
        watcher.val("SELECT max(since)::text FROM perfmon.latency_minute WHERE total_calls > 0");
    let listed = watcher.rows(&format!(
        "SELECT toplevel, sum(timed_calls)::int8 FROM perfmon.top_statements('{since}', clock_timestamp(), 'p95')
          WHERE timed_calls > 0 GROUP BY toplevel ORDER BY toplevel"
    ));
    let listed: Vec<(bool, i64)> = listed.iter().map(|row| (row.get(0), row.get(1))).collect();
    assert_eq!(listed, [(false, 20), (true, 20)]);
}

#[test]
fn without_pg_stat_statements_there_are_still_times() {
    let server = Server::manual().preload("pg_perfmon").start();
    server.db("postgres").run("CREATE DATABASE app");
    let mut db = server.db("app");
    db.run("CREATE EXTENSION pg_perfmon; CREATE TABLE t AS SELECT 1 AS a");
    let mut watcher = unseen(&server, "app");
    watcher.snapshot();
    (0..50).for_each(|_| db.run("SELECT a FROM t"));
    watcher.snapshot();
    let row = &watcher.rows(&format!(
        "SELECT timed_calls, calls, p95_ms > 0, stddev_exec_ms >= 0, queryid, user_name FROM perfmon.top_statements({ALL})"
    ))[0];
    assert_eq!((row.get::<_, i64>(0), row.get::<_, Option<i64>>(1)), (50, None));
    assert!(row.get::<_, bool>(2) && row.get::<_, bool>(3));
    assert_eq!(
        row.get::<_, Option<i64>>(4),
        Some(watcher.val(
            "SELECT queryid FROM perfmon.latency_since_start() ORDER BY executions DESC LIMIT 1"
        ))
    );
    assert_eq!(row.get::<_, &str>(5), "postgres");
}

#[test]
fn what_pg_stat_statements_does_not_count_is_unknown_in_every_order() {
    let server = Server::manual().start();
    let mut db = server.new_db("app");
    db.run("CREATE TABLE t AS SELECT 1 AS a");
    let mut watcher = unseen(&server, "app");
    watcher.snapshot();
    (0..10).for_each(|_| db.run("SELECT a FROM t"));
    db.run("SET pg_stat_statements.track = none");
    (0..30).for_each(|_| db.run("SELECT a, pg_sleep(0.001) FROM t"));
    let mut client = server.db("app");
    client.run("SET pg_stat_statements.track_utility = off");
    (0..5).for_each(|_| client.run("DO $$ BEGIN PERFORM pg_sleep(0); END $$"));
    watcher.snapshot();
    let window =
        "(SELECT max(since) FROM perfmon.latency_minute WHERE total_calls > 0), clock_timestamp()";
    let all: i64 = watcher
        .val(&format!("SELECT sum(calls)::int8 FROM perfmon.latency_histogram(NULL, {window})"));
    let orders =
        "total_time mean_time calls rows plan_time io_time shared_blks_hit shared_blks_read
                  temp_blks_written wal_bytes p95 p99";
    for order in orders.split_whitespace() {
        let rows = watcher.rows(&format!(
            "SELECT coalesce(timed_calls, 0), calls, total_exec_ms IS NULL AND mean_exec_ms IS NULL AND share_ratio IS NULL
                 AND rows IS NULL AND quality IS NULL AND calls_per_s IS NULL AND shared_blks_hit IS NULL
             FROM perfmon.top_statements({window}, '{order}') WITH ORDINALITY AS s ORDER BY s.ordinality"
        ));
        let rows: Vec<(i64, Option<i64>, bool)> =
            rows.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect();
        assert_eq!(rows.iter().map(|row| row.0).sum::<i64>(), all, "{order} {rows:?}");
        for unknown in [(30, None, true), (5, None, true)] {
            assert!(rows.contains(&unknown), "{order} {rows:?}");
        }
        assert!(rows.contains(&(10, Some(10), false)), "{order} {rows:?}");
        if ["total_time", "mean_time", "calls"].contains(&order) {
            let known = rows.iter().rposition(|row| row.1.is_some()).unwrap();
            let unknown = rows.iter().position(|row| row.1.is_none()).unwrap();
            assert!(known < unknown, "{order} {rows:?}");
        }
    }
    let id: i32 = watcher.val(&format!(
        "SELECT statement_id FROM perfmon.top_statements({window}) WHERE timed_calls = 30"
    ));
    let steps = watcher.rows(&format!(
        "SELECT calls, timed_calls, quality FROM perfmon.statement_series({id}, {ALL}) WHERE timed_calls > 0"
    ));
    assert!(!steps.is_empty());
    for step in steps {
        assert_eq!((step.get::<_, Option<i64>>(0), step.get::<_, i64>(1)), (None, 30));
        assert_eq!(step.get::<_, Option<String>>(2), None);
    }
    let told: i64 = watcher.val(&format!(
        "SELECT count(*) FROM json_array_elements(perfmon.report({ALL}, 'json')::json -> 'statements') s
          WHERE (s ->> 'statement_id')::int = {id} AND s ->> 'calls' IS NULL AND s ->> 'total_exec_ms' IS NULL"
    ));
    assert_eq!(told, 1);
}

#[test]
fn what_is_not_counted_is_said() {
    let server = Server::manual().start();
    let mut db = server.new_db("app");
    db.run("CREATE TABLE t AS SELECT 1 AS a");
    let mut watcher = unseen(&server, "app");
    watcher.snapshot();
    // The collector may have been here before the table was made, so that this is counted.
    let before = executions(&mut watcher);
    db.run("SELECT a FROM t");
    watcher.snapshot();
    assert_eq!(executions(&mut watcher), before.map(|n| n + 1));
    // A session's own setting is not the server's.
    let gap = "SELECT coalesce(max(detail), '') FROM perfmon.gap WHERE subject = 'latency' AND kind = 'disabled'";
    assert_eq!(watcher.val::<String>(gap), "");
    server.append_conf(&["pg_perfmon.capture = off"]);
    server.reload();
    wait_until("the setting reaches the session", secs(20), || {
        db.val::<String>("SHOW pg_perfmon.capture") == "off"
    });
    watcher.snapshot();
    for _ in 0..2 {
        db.run("SELECT a FROM t");
        watcher.snapshot();
    }
    assert_eq!(watcher.val::<String>(gap), "pg_perfmon.capture is off");
    let gaps: i64 = watcher.val("SELECT count(*) FROM perfmon.gap WHERE subject = 'latency'");
    assert_eq!(gaps, 1, "one as long as it lasts");
    let (mut noticing, notices) = server.noticing("app");
    let later: String = noticing.val("SELECT (max(until) - interval '1 us')::text FROM perfmon.latency_minute WHERE total_calls > 0");
    noticing.run(&format!(
        "SELECT * FROM perfmon.top_statements('{later}'::timestamptz + interval '1 s', clock_timestamp() + interval '1 min');
         SELECT * FROM perfmon.latency_histogram(NULL, '{later}'::timestamptz + interval '1 s', clock_timestamp() + interval '1 min')"
    ));
    let said = notices.lock().unwrap().join("\n");
    assert!(said.matches("no execution times were counted").count() >= 1, "{said}");
    // Asking for the setting may have been counted before it was there.
    let [counted, ..] = executions(&mut watcher);
    // Not preloaded any more: what was counted stays to be seen, what follows is a gap.
    server.append_conf(&["shared_preload_libraries = 'pg_stat_statements'"]);
    server.restart();
    let (mut db, notices) = server.noticing("app");
    db.snapshot();
    db.run("SELECT a FROM t");
    db.snapshot();
    let last = db.snapshot();
    let history: i64 =
        db.val(&format!("SELECT sum(calls)::int8 FROM perfmon.latency_histogram(NULL, {ALL})"));
    assert_eq!(history, counted);
    assert_eq!(db.val::<String>(gap), "pg_perfmon.capture is off");
    let unloaded: Vec<i64> = db.list(
        "SELECT (extract(epoch FROM until) * 1e6)::int8 FROM perfmon.gap
          WHERE subject = 'latency' AND detail LIKE '%shared_preload_libraries'",
    );
    assert_eq!(unloaded, [last], "one, and it goes on to the last snapshot");
    let nulls: i64 = db.val("SELECT count(*) FROM perfmon.top_statements(clock_timestamp() - interval '100 us', clock_timestamp() + interval '1 min') WHERE p95_ms IS NOT NULL OR timed_calls IS NOT NULL");
    assert_eq!(nulls, 0);
    db.run("SELECT * FROM perfmon.latency_histogram(NULL, clock_timestamp() - interval '100 us', clock_timestamp() + interval '1 min')");
    let said = notices.lock().unwrap().join("\n");
    assert!(said.contains("no execution times were counted"), "{said}");
}

#[test]
fn readers_see_times_but_no_texts() {
    let server = Server::manual().start();
    let mut db = server.new_db("app");
    db.run("CREATE ROLE reader LOGIN; SELECT perfmon.grant_reader('reader'); CREATE TABLE t AS SELECT 1 AS a");
    db.snapshot();
    db.run("SELECT a FROM t");
    db.snapshot();
    let mut reader = server.connect("reader", "app");
    let rows = reader.rows(&format!(
        "SELECT query, queryid, p95_ms FROM perfmon.top_statements({ALL}, 'p95', NULL) WHERE timed_calls > 0"
    ));
    assert!(!rows.is_empty());
    for row in &rows {
        assert!(!row.get::<_, Option<&str>>(0).unwrap_or_default().contains("FROM t"));
        assert_eq!(row.get::<_, Option<i64>>(1), None);
        assert!(row.get::<_, Option<f64>>(2).is_some());
    }
    let calls: i64 =
        reader.val(&format!("SELECT sum(calls)::int8 FROM perfmon.latency_histogram(NULL, {ALL})"));
    let map: i64 = reader
        .val(&format!("SELECT sum(calls)::int8 FROM perfmon.latency_heatmap({ALL}, '1 min')"));
    assert!(calls > 0 && map == calls);
    assert!(reader.fails("SELECT * FROM perfmon.statement_entry").to_string().contains("db error"));
}
