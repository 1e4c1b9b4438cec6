//! Drives the workload interval by interval; after each, the collector takes a snapshot, and so does PoWA
//! where it is, in turns, so that drift of the machine falls on both. Costs are read from outside: the wall
//! clock here, the WAL position, the CPU time of the server's ended children (the collector's process from
//! fork to exit, since nothing else ends meanwhile), and that of PoWA's session.

use crate::figures::Figures;
use crate::{Options, Outcome, load, median, note};
use postgres::Client;
use std::time::{Duration, Instant};

/// Intervals before those that count: a baseline, new names, tables ahead.
const WARM_UP: u64 = 3;
/// Snapshots after which all plans that were printed before must be stored.
const MOST_SNAPSHOTS: u32 = 200;
/// A process needs a moment to end and to be waited for.
const SETTLE: Duration = Duration::from_millis(400);

/// What one snapshot cost.
#[derive(Default)]
struct Costs {
    wall_ms: Vec<f64>,
    cpu_ms: Vec<f64>,
    wal_bytes: Vec<f64>,
}

/// Fields of /proc/PID/stat behind the name.
fn stat(pid: u32) -> Outcome<Vec<f64>> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let rest = text.rsplit_once(')').map_or("", |(_, rest)| rest);
    Ok(rest.split_whitespace().map(|word| word.parse().unwrap_or(0.0)).collect())
}

/// CPU time of the children of a process that ended, ms; the kernel tells it in ticks of 10 ms.
fn children_ms(pid: u32) -> Outcome<f64> {
    let fields = stat(pid)?;
    Ok((fields.get(13).unwrap_or(&0.0) + fields.get(14).unwrap_or(&0.0)) * 10.0)
}

/// CPU time of a process, ms, to the microsecond.
pub(crate) fn own_ms(pid: i32) -> Outcome<f64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/schedstat"))?;
    let ns: f64 = text.split_whitespace().next().unwrap_or("0").parse()?;
    Ok(ns / 1e6)
}

fn wal_position(client: &mut Client) -> Outcome<f64> {
    let row = client.query_one("SELECT (pg_current_wal_insert_lsn() - '0/0')::float8", &[])?;
    Ok(row.get(0))
}

fn ours(watch: &mut Client, postmaster: u32, costs: &mut Costs) -> Outcome<()> {
    let (wal, cpu) = (wal_position(watch)?, children_ms(postmaster)?);
    let began = Instant::now();
    watch.query_one("SELECT perfmon.snapshot()", &[])?;
    costs.wall_ms.push(began.elapsed().as_secs_f64() * 1e3);
    std::thread::sleep(SETTLE);
    costs.cpu_ms.push(children_ms(postmaster)? - cpu);
    costs.wal_bytes.push(wal_position(watch)? - wal);
    Ok(())
}

fn theirs(powa: &mut Client, watch: &mut Client, costs: &mut Costs) -> Outcome<()> {
    let pid: i32 = powa.query_one("SELECT pg_backend_pid()", &[])?.get(0);
    let (wal, cpu) = (wal_position(watch)?, own_ms(pid)?);
    let began = Instant::now();
    powa.query_one("SELECT powa_take_snapshot()", &[])?;
    costs.wall_ms.push(began.elapsed().as_secs_f64() * 1e3);
    costs.cpu_ms.push(own_ms(pid)? - cpu);
    costs.wal_bytes.push(wal_position(watch)? - wal);
    Ok(())
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// Has the plans stored that were printed so far, some with each snapshot: most statements have theirs printed once,
/// when a server begins, which is not what an interval costs.
fn settle(watch: &mut Client) -> Outcome<u32> {
    let mut known: i64 = -1;
    for snapshots in 0..MOST_SNAPSHOTS {
        let plans = watch.query_one("SELECT count(*) FROM perfmon.plan_form", &[])?.get(0);
        if plans == known {
            return Ok(snapshots);
        }
        known = plans;
        watch.query_one("SELECT perfmon.snapshot()", &[])?;
    }
    Err("printed plans do not come to an end".into())
}

/// Runs the intervals and notes the figures.
pub(crate) fn record(options: &Options) -> Outcome<()> {
    let mut drivers = load::clients(options)?;
    let mut watch = options.connect(&options.dbname)?;
    let mut powa = options.powa.as_deref().map(|name| options.connect(name)).transpose()?;
    let (mut own, mut peer) = (Costs::default(), Costs::default());
    let (mut boundary, mut beginning) = (String::new(), f64::NAN);
    let intervals = WARM_UP + options.intervals as u64;
    for interval in 0..intervals {
        if interval == WARM_UP {
            beginning = own.wal_bytes.last().copied().unwrap_or(f64::NAN);
            note(&format!("printed plans are stored after {} snapshots", settle(&mut watch)?));
            (own, peer) = (Costs::default(), Costs::default());
            let row = watch.query_one("SELECT clock_timestamp()::text", &[])?;
            boundary = row.get(0);
        }
        let took = load::drive(&mut drivers, options, interval)?;
        // What the drivers' sessions counted is in shared memory with their last statement.
        if interval % 2 == 0 {
            ours(&mut watch, options.postmaster, &mut own)?;
        }
        if let Some(powa) = &mut powa {
            theirs(powa, &mut watch, &mut peer)?;
        }
        if interval % 2 == 1 {
            ours(&mut watch, options.postmaster, &mut own)?;
        }
        let theirs = peer.wall_ms.last().map_or(String::new(), |ms| format!(", PoWA {ms:.0} ms"));
        note(&format!(
            "interval {} of {intervals}: {} executions in {:.1} s; snapshot {:.1} ms{theirs}",
            interval + 1,
            options.executions,
            took.as_secs_f64(),
            own.wall_ms.last().unwrap_or(&f64::NAN),
        ));
    }
    let mut figures = Figures::open(options, options.active < 1000)?;
    figures.word("boundary", &boundary)?;
    figures.number("call_ms", median(own.wall_ms))?;
    figures.number("process_cpu_ms", mean(&own.cpu_ms))?;
    figures.number("beginning_wal_bytes", beginning)?;
    figures.number("most_wal_bytes", own.wal_bytes.iter().copied().fold(f64::NAN, f64::max))?;
    figures.number("outside_wal_bytes", median(own.wal_bytes))?;
    figures.number("executions", options.executions as f64)?;
    if powa.is_some() {
        figures.number("powa_ms", median(peer.wall_ms))?;
        figures.number("powa_cpu_ms", median(peer.cpu_ms))?;
        figures.number("powa_wal_bytes", median(peer.wal_bytes))?;
    }
    told_by_history(&mut watch, &boundary, &mut figures)
}

/// Times snapshots of the server's counters alone, by call in a session that lasts: what PoWA's session does. The
/// server must not have the library preloaded.
pub(crate) fn call(options: &Options) -> Outcome<()> {
    let mut drivers = load::clients(options)?;
    let mut caller = options.connect(&options.dbname)?;
    let pid: i32 = caller.query_one("SELECT pg_backend_pid()", &[])?.get(0);
    let mut costs = Costs::default();
    let intervals = WARM_UP + options.intervals as u64;
    for interval in 0..intervals {
        load::drive(&mut drivers, options, interval)?;
        if interval == WARM_UP {
            costs = Costs::default();
        }
        let (wal, cpu) = (wal_position(&mut caller)?, own_ms(pid)?);
        let began = Instant::now();
        caller.query_one("SELECT perfmon.snapshot()", &[])?;
        let wall = began.elapsed().as_secs_f64() * 1e3;
        note(&format!("interval {} of {intervals}: snapshot {wall:.1} ms", interval + 1));
        costs.wall_ms.push(wall);
        costs.cpu_ms.push(own_ms(pid)? - cpu);
        costs.wal_bytes.push(wal_position(&mut caller)? - wal);
    }
    let row = caller.query_one(
        "SELECT min(n)::float8
         FROM (SELECT n FROM perfmon.statement_minute ORDER BY until DESC LIMIT $1) last",
        &[&(options.intervals as i64)],
    )?;
    let mut figures = Figures::open(options, false)?;
    figures.number("counters_active", row.get::<_, Option<f64>>(0).unwrap_or(0.0))?;
    figures.number("counters_ms", median(costs.wall_ms))?;
    figures.number("counters_cpu_ms", median(costs.cpu_ms))?;
    figures.number("counters_wal_bytes", median(costs.wal_bytes))
}

/// What the rows themselves say.
fn told_by_history(watch: &mut Client, boundary: &str, figures: &mut Figures) -> Outcome<()> {
    let row = watch.query_one(
        "SELECT percentile_disc(0.5) WITHIN GROUP (ORDER BY visit_wall_us)::float8 / 1000,
             percentile_disc(0.5) WITHIN GROUP (ORDER BY visit_cpu_us)::float8 / 1000,
             percentile_disc(0.5) WITHIN GROUP (ORDER BY visit_wal_bytes)::float8,
             percentile_disc(0.5) WITHIN GROUP (ORDER BY stored_bytes)::float8
         FROM perfmon.server_minute WHERE until > $1::text::timestamptz",
        &[&boundary],
    )?;
    for (index, name) in
        ["visit_wall_ms", "visit_cpu_ms", "wal_bytes", "stored_bytes"].iter().enumerate()
    {
        figures.number(name, row.get::<_, Option<f64>>(index).unwrap_or(f64::NAN))?;
    }
    let row = watch.query_one(
        "SELECT min(n)::float8, count(*)::float8, (SELECT dealloc::float8 FROM pg_stat_statements_info)
         FROM perfmon.statement_minute WHERE until > $1::text::timestamptz",
        &[&boundary],
    )?;
    let (least, rows, evicted): (Option<f64>, f64, f64) = (row.get(0), row.get(1), row.get(2));
    figures.number("active", least.unwrap_or(0.0))?;
    figures.number("rows", rows)?;
    if evicted > 0.0 {
        return Err(
            "pg_stat_statements evicted entries: the figures would not be comparable".into()
        );
    }
    Ok(())
}
