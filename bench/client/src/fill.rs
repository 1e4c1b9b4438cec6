//! A month out of what was recorded: the extension's own functions (built in by the feature `bench`) append
//! jittered rows through its own writer and roll them up. Here they are called, day by day, by two sessions.

use crate::figures::Figures;
use crate::{Options, Outcome, note};
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Instant;

/// Fills `--days` days before the recorded rows.
pub(crate) fn fill(options: &Options) -> Outcome<()> {
    let small = options.active < 1000;
    let before = Figures::read(options)?.word(small, "boundary")?;
    let mut client = options.connect(&options.dbname)?;
    let began = Instant::now();
    client.execute(
        "SELECT perfmon.bench_prepare($1::text::timestamptz, $2)",
        &[&before, &options.days],
    )?;
    let next = AtomicI32::new(1);
    std::thread::scope(|scope| {
        let threads: Vec<_> =
            (0..2).map(|_| scope.spawn(|| days(options, &before, &next))).collect();
        for thread in threads {
            thread.join().map_err(|_| "a session panicked")?.map_err(|e| e.to_string())?;
        }
        Ok::<(), Box<dyn std::error::Error>>(())
    })?;
    let filled = began.elapsed().as_secs_f64();
    note(&format!("{} days in {filled:.0} s", options.days));
    let began = Instant::now();
    // A roll-up that took place while recording would stand in the way of what lies before it.
    for family in ["statement", "latency", "relation", "index", "database", "io", "server"] {
        client.batch_execute(&format!(
            "DELETE FROM perfmon.{family}_hour; DELETE FROM perfmon.{family}_day;"
        ))?;
    }
    client.batch_execute("DELETE FROM perfmon.chore WHERE name LIKE 'rollup%'")?;
    let mut steps = 0;
    loop {
        let row = client
            .query_one("SELECT perfmon.bench_roll_up($1::text::timestamptz, 24)", &[&before])?;
        let done: i32 = row.get(0);
        steps += done;
        if done < 24 {
            break;
        }
    }
    note(&format!("{steps} steps of roll-up in {:.0} s", began.elapsed().as_secs_f64()));
    client.batch_execute("CHECKPOINT")?;
    sizes(options, &mut client, &before)
}

fn days(options: &Options, before: &str, next: &AtomicI32) -> Result<(), postgres::Error> {
    let mut client = options.connect(&options.dbname)?;
    client.batch_execute("SET synchronous_commit = off")?;
    loop {
        let day = next.fetch_add(1, Ordering::Relaxed);
        if day > options.days {
            return Ok(());
        }
        client.execute(
            "SELECT perfmon.bench_fill($1::text::timestamptz, $2, $3, $4)",
            &[&before, &day, &options.days, &options.parts],
        )?;
    }
}

/// Bytes per statement and interval in tables of whole days: heap, TOAST and indexes.
fn sizes(options: &Options, client: &mut postgres::Client, before: &str) -> Outcome<()> {
    let mut figures = Figures::open(options, options.active < 1000)?;
    let row = client.query_one(
        "WITH day AS (
             SELECT t.tableoid::regclass AS leaf, sum(t.n) AS n, count(*) AS rows
             FROM perfmon.statement_minute t
             WHERE until < date_trunc('day', $1::text::timestamptz, 'UTC')
             GROUP BY 1 HAVING count(*) >= 1439)
         SELECT (sum(pg_total_relation_size(leaf)) / sum(n))::float8, sum(rows)::float8,
             (sum(n) / sum(rows))::float8, (SELECT count(*)::float8 FROM perfmon.statement_hour),
             (SELECT count(*)::float8 FROM perfmon.statement_day)
         FROM day",
        &[&before],
    )?;
    let latency = client.query_one(
        "WITH day AS (
             SELECT t.tableoid::regclass AS leaf, sum(t.n) AS n
             FROM perfmon.latency_minute t
             WHERE until < date_trunc('day', $1::text::timestamptz, 'UTC')
             GROUP BY 1 HAVING count(*) >= 1439)
         SELECT (sum(pg_total_relation_size(leaf)) / sum(n))::float8 FROM day",
        &[&before],
    )?;
    let bytes: Option<f64> = latency.get(0);
    figures.number("bytes_per_timed_statement", bytes.unwrap_or(f64::NAN))?;
    for (index, name) in
        ["bytes_per_statement", "minutes", "filled_active", "hours", "days"].iter().enumerate()
    {
        figures.number(name, row.get::<_, Option<f64>>(index).unwrap_or(f64::NAN))?;
    }
    let row = client.query_one(
        "SELECT sum(pg_total_relation_size(c.oid))::float8 FROM pg_class c
         WHERE c.relnamespace = 'perfmon'::regnamespace AND c.relkind = 'r'",
        &[],
    )?;
    figures.number("all_bytes", row.get(0))
}
