//! Execution times that were kept: through a dump and a restore, and through roll-ups.

use perfmon_e2e::{Db, Server, secs, wait_until};

use crate::{ALL, text, unseen};

/// All ranges of all statements in a window.
fn fingerprint(db: &mut Db, window: &str) -> Vec<String> {
    db.list(&format!(
        "SELECT concat_ws('|', e.queryid, e.user_name, h.*) FROM perfmon.statement e,
             perfmon.latency_histogram(e.statement_id, {window}) h
          WHERE e.source = (SELECT source FROM perfmon.own_source) ORDER BY 1"
    ))
}

#[test]
fn dumped_and_restored_times_are_the_same() {
    // A restore runs some thousand statements of which each is another one, and what is counted here comes after them.
    let server = Server::manual().conf("pg_perfmon.max_statements = 20000").start();
    let mut db = server.new_db("app");
    db.run("CREATE TABLE t AS SELECT 1 AS a");
    let mut watcher = unseen(&server, "app");
    watcher.snapshot();
    for i in 0..60 {
        db.run(&text(i % 7));
        db.run("SELECT pg_sleep(0.002)");
    }
    watcher.snapshot();
    let until: String = watcher.val("SELECT max(until)::text FROM perfmon.latency_minute");
    let window = format!("'{until}'::timestamptz - interval '1 hour', '{until}'");
    let before = fingerprint(&mut watcher, &window);
    assert!(before.len() >= 8, "{before:?}");
    let script = server.dir().join("dump.sql");
    let script = script.to_str().unwrap();
    server.client("pg_dump", &["-d", "app", "-f", script]).success();
    server.db("postgres").run("CREATE DATABASE copy");
    server
        .client("psql", &["-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", "copy", "-f", script])
        .success();
    let mut copy = unseen(&server, "copy");
    copy.snapshot();
    let all = |db: &mut Db, window: &str| -> Vec<String> {
        db.list(&format!(
            "SELECT concat_ws('|', h.*) FROM perfmon.latency_histogram(NULL, {window}) h"
        ))
    };
    assert_eq!(all(&mut copy, &window), all(&mut watcher, &window));
    // The copy goes on where the original was, under the same statements.
    server.db("copy").run("SELECT pg_sleep(0.002)");
    copy.snapshot();
    let calls: Vec<i64> = copy.list(&format!(
        "SELECT timed_calls FROM perfmon.top_statements({ALL}, 'p95', NULL) WHERE query LIKE '%pg_sleep%'"
    ));
    assert_eq!(calls, [61]);
    let id: i32 = copy.val(&format!(
        "SELECT statement_id FROM perfmon.top_statements({ALL}, 'p95', NULL) WHERE query LIKE '%pg_sleep%'"
    ));
    let of_one: i64 =
        copy.val(&format!("SELECT sum(calls)::int8 FROM perfmon.latency_histogram({id}, {ALL})"));
    assert_eq!(of_one, 61);
}

/// Puts copies of the last minute onto an earlier day, as the extension itself would have.
fn age(db: &mut Db, family: &str, days: i32, copies: i32) -> String {
    let parent: String = db.val(&format!(
        "SELECT c.oid::regclass::text FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
          WHERE i.inhparent = 'perfmon.{family}_minute'::regclass"
    ));
    let suffix: String =
        db.val(&format!("SELECT to_char((now() AT TIME ZONE 'UTC')::date - {days}, 'YYYYMMDD')"));
    let table = format!("{parent}_{suffix}");
    db.run(&format!(
        "SET timezone = 'UTC';
         CREATE TABLE {table} (LIKE {parent} INCLUDING ALL);
         CREATE TEMP TABLE aged AS SELECT m.*, g AS copy FROM perfmon.{family}_minute m, generate_series(1, {copies}) g
          WHERE m.until = (SELECT max(until) FROM perfmon.{family}_minute WHERE length_us > 0 AND n > 0);
         UPDATE aged SET until = (now()::date - {days})::timestamptz + copy * interval '7 min',
                         since = (now()::date - {days})::timestamptz + copy * interval '7 min' - interval '29 s';
         ALTER TABLE aged DROP COLUMN copy;
         INSERT INTO {table} SELECT * FROM aged;
         ALTER TABLE {parent} ATTACH PARTITION {table}
           FOR VALUES FROM ((now()::date - {days})::timestamptz) TO ((now()::date - {days} + 1)::timestamptz);
         DROP TABLE aged; DELETE FROM perfmon.chore; RESET timezone"
    ));
    table
}

#[test]
fn hours_and_days_hold_what_minutes_did_and_minutes_go() {
    let server = Server::builder().conf("pg_perfmon.retention = '1d'").start();
    let mut db = server.new_db("app");
    db.run("CREATE TABLE t AS SELECT 1 AS a");
    let mut watcher = unseen(&server, "app");
    watcher.snapshot();
    for i in 0..200 {
        db.run(&text(i % 5));
    }
    watcher.snapshot();
    // With the drop held up, so that no collector can be quicker than the first look.
    watcher.run("BEGIN");
    let table = age(&mut watcher, "latency", 40, 30);
    age(&mut watcher, "server", 40, 30);
    watcher.run("COMMIT; BEGIN; SELECT count(*) FROM perfmon.latency_minute");
    let day: String = watcher.val("SELECT ((now() AT TIME ZONE 'UTC')::date - 40)::text");
    let window = format!("'{day} 00:00+00', '{day} 24:00+00'");
    let all = |db: &mut Db| -> Vec<String> {
        db.list(&format!(
            "SELECT concat_ws('|', h.*) FROM perfmon.latency_histogram(NULL, {window}) h"
        ))
    };
    let (before, of_minutes) = (all(&mut watcher), fingerprint(&mut watcher, &window));
    let calls: i64 = watcher
        .val(&format!("SELECT sum(calls)::int8 FROM perfmon.latency_histogram(NULL, {window})"));
    assert_eq!(calls % 30, 0);
    assert!(calls >= 30 * 200);
    watcher.run("COMMIT");
    wait_until("the minutes are added up and dropped", secs(150), || {
        db.run(&text(1));
        !watcher.val::<bool>(&format!("SELECT to_regclass('{table}') IS NOT NULL"))
    });
    let rows = watcher.rows(&format!(
        "SELECT (SELECT count(*) FROM perfmon.latency_minute WHERE until <= '{day} 24:00+00'),
                (SELECT count(*) FROM perfmon.latency_hour WHERE until <= '{day} 24:00+00'),
                (SELECT count(*) FROM perfmon.latency_day WHERE until <= '{day} 24:00+00'),
                (SELECT sum(total_calls)::int8 FROM perfmon.latency_day WHERE until <= '{day} 24:00+00')"
    ));
    let counts: Vec<i64> = (0..4).map(|i| rows[0].get(i)).collect();
    assert_eq!(counts, [0, 4, 1, calls]);
    assert_eq!(all(&mut watcher), before);
    // Nothing here is small enough to lose its name... but what is may only add to the rest.
    let of_days = fingerprint(&mut watcher, &window);
    assert!(of_days.iter().all(|line| of_minutes.contains(line)), "{of_days:?}\n{of_minutes:?}");
}
