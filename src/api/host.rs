//! `host_series`, `disk_series` and `host_status`: the machine over time, and as it is now.

use std::collections::{BTreeMap, HashMap};

use perfmon_core::family::{DISK, HOST};
use perfmon_core::host::{DiskSeen, HostSeen, Machine, Memory};
use perfmon_core::series::Series;
use perfmon_core::tally::Who;
use pgrx::datum::Interval;
use pgrx::pg_sys;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;

use super::args::{Scope, Stamp};
use super::history::{Naming, put_history};
use super::rows::{Cell, Sink};
use super::series::edges;
use crate::error::Error;
use crate::probe;
use crate::recall::host;
use crate::recall::plan::{Kept, coarsest_for};
use crate::recall::scope::now;

/// How long the last recorded interval stands for the time now.
const RECENT_US: i64 = 3_600_000_000;

#[pg_extern(
    schema = "perfmon",
    sql = r#"
CREATE FUNCTION perfmon.host_series(
    since timestamptz DEFAULT now() - interval '1 hour',
    until timestamptz DEFAULT now(),
    step interval DEFAULT NULL,
    source bigint DEFAULT NULL
) RETURNS TABLE (
    "time" timestamptz,
    cpu_ratio float8,
    cpu_peak_ratio float8,
    machine_cpu_ratio float8,
    user_ratio float8,
    system_ratio float8,
    iowait_ratio float8,
    steal_ratio float8,
    throttled_ms float8,
    load float8,
    load_peak float8,
    memory_ratio float8,
    memory_peak_ratio float8,
    memory_used_bytes bigint,
    memory_bytes bigint,
    swap_used_bytes bigint,
    arc_hit_ratio float8,
    covered_ratio float8
) LANGUAGE c STABLE PARALLEL RESTRICTED ROWS 400 AS 'MODULE_PATHNAME', '@FUNCTION_NAME@';
"#
)]
fn host_series(
    since: Stamp,
    until: Stamp,
    step: Option<Interval>,
    source: Option<i64>,
    fcinfo: pg_sys::FunctionCallInfo,
) -> Result<(), ErrorReport> {
    let scope = Scope::check(since, until, source)?;
    let mut sink = Sink::open(fcinfo);
    if !scope.has_history_or_notice()? {
        return Ok(());
    }
    let kept = host::kept(&scope);
    let edges = edges(&scope, step, &kept)?;
    let segments = kept.segments(&scope, coarsest_for(&edges));
    let mut series = Series::new(edges, 0);
    let mut seen: Vec<HostSeen> = vec![HostSeen::default(); series.len()];
    host::machine(&scope, &segments, &mut |span, values| {
        series.cover(span.since, span.until, span.length_us, 0);
        if let Some(bucket) = series.bucket_of(span.until) {
            seen[bucket].add(values);
        }
    });
    for (bucket, seen) in seen.iter().enumerate() {
        sink.put(host_point(&series, bucket, seen))?;
    }
    Ok(())
}

#[allow(clippy::cast_precision_loss)]
fn host_point(series: &Series, bucket: usize, seen: &HostSeen) -> [Cell; 18] {
    [
        Cell::Time(series.time(bucket)),
        seen.cpu_ratio().into(),
        seen.cpu_peak_ratio().into(),
        seen.machine_cpu_ratio().into(),
        seen.user_ratio().into(),
        seen.system_ratio().into(),
        seen.iowait_ratio().into(),
        seen.steal_ratio().into(),
        seen.throttled_us().map(|us| us as f64 / 1000.0).into(),
        seen.load().into(),
        seen.load_peak().into(),
        seen.memory_ratio().into(),
        seen.memory_peak_ratio().into(),
        bytes(seen.memory_used_bytes()),
        bytes(seen.memory_bytes()),
        bytes(seen.swap_used_bytes()),
        seen.arc_hit_ratio().map(|(ratio, _)| ratio).into(),
        series.covered_ratio(bucket).into(),
    ]
}

#[allow(clippy::cast_possible_truncation)]
fn bytes(value: Option<f64>) -> Cell {
    value.map(|bytes| bytes.round() as i64).into()
}

#[pg_extern(
    schema = "perfmon",
    sql = r#"
CREATE FUNCTION perfmon.disk_series(
    since timestamptz DEFAULT now() - interval '1 hour',
    until timestamptz DEFAULT now(),
    step interval DEFAULT NULL,
    source bigint DEFAULT NULL
) RETURNS TABLE (
    "time" timestamptz,
    mount text,
    device text,
    uses text,
    used_ratio float8,
    used_bytes bigint,
    available_bytes bigint,
    size_bytes bigint,
    reads_per_s float8,
    writes_per_s float8,
    read_bytes_per_s float8,
    write_bytes_per_s float8,
    read_ms float8,
    write_ms float8,
    busy_ratio float8,
    busy_peak_ratio float8,
    covered_ratio float8
) LANGUAGE c STABLE PARALLEL RESTRICTED ROWS 1000 AS 'MODULE_PATHNAME', '@FUNCTION_NAME@';
"#
)]
fn disk_series(
    since: Stamp,
    until: Stamp,
    step: Option<Interval>,
    source: Option<i64>,
    fcinfo: pg_sys::FunctionCallInfo,
) -> Result<(), ErrorReport> {
    let scope = Scope::check(since, until, source)?;
    let mut sink = Sink::open(fcinfo);
    if !scope.has_history_or_notice()? {
        return Ok(());
    }
    let kept = Kept::of(&DISK, &scope);
    let edges = edges(&scope, step, &kept)?;
    let segments = kept.segments(&scope, coarsest_for(&edges));
    // A file system that comes and goes has gaps of its own.
    let mut all: HashMap<Who, (Series, Vec<DiskSeen>)> = HashMap::new();
    let named = host::disks(&scope, &segments, &mut |span, who, values| {
        let (series, seen) = all.entry(who).or_insert_with(|| {
            let series = Series::new(edges.clone(), 0);
            let buckets = series.len();
            (series, vec![DiskSeen::default(); buckets])
        });
        series.cover(span.since, span.until, span.length_us, 0);
        if let Some(bucket) = series.bucket_of(span.until) {
            seen[bucket].add(values);
        }
    })?;
    let all: BTreeMap<Who, (Series, Vec<DiskSeen>)> = all.into_iter().collect();
    for bucket in 0..edges.len().saturating_sub(1) {
        for (who, (series, seen)) in &all {
            let names = named.get(who).cloned().unwrap_or([Cell::Null, Cell::Null, Cell::Null]);
            sink.put(disk_point(series, bucket, names, &seen[bucket]))?;
        }
    }
    Ok(())
}

fn disk_point(series: &Series, bucket: usize, names: [Cell; 3], seen: &DiskSeen) -> [Cell; 17] {
    let [mount, device, uses] = names;
    [
        Cell::Time(series.time(bucket)),
        mount,
        if device.text().is_some_and(|name| name.is_empty()) { Cell::Null } else { device },
        uses,
        seen.used_ratio().into(),
        bytes(seen.used_bytes()),
        bytes(seen.available_bytes()),
        bytes(seen.size_bytes()),
        seen.reads_per_s().into(),
        seen.writes_per_s().into(),
        seen.read_bytes_per_s().into(),
        seen.write_bytes_per_s().into(),
        seen.read_ms().into(),
        seen.write_ms().into(),
        seen.busy_ratio().into(),
        seen.busy_peak_ratio().into(),
        series.covered_ratio(bucket).into(),
    ]
}

#[pg_extern(
    schema = "perfmon",
    sql = r#"
CREATE FUNCTION perfmon.host_status() RETURNS TABLE (
    what text,
    name text,
    used float8,
    total float8,
    used_ratio float8,
    unit text,
    detail text
) LANGUAGE c VOLATILE PARALLEL RESTRICTED ROWS 10 AS 'MODULE_PATHNAME', '@FUNCTION_NAME@';
"#
)]
fn host_status(fcinfo: pg_sys::FunctionCallInfo) -> Result<(), ErrorReport> {
    let mut sink = Sink::open(fcinfo);
    let machine = probe::host::whole();
    let scope = Scope::of(now().saturating_sub(RECENT_US), now(), None);
    let seen = last_interval(&scope)?;
    for line in processors(&machine, seen.as_ref()) {
        sink.put(line)?;
    }
    for line in memories(&machine) {
        sink.put(line)?;
    }
    for disk in &machine.disks {
        let space =
            disk.space.map(|space| (space.used, space.used.saturating_add(space.available)));
        let on = disk.device.as_ref().map(|device| format!(" on {device}")).unwrap_or_default();
        // The kernel does not tell it to a process whose root directory is no mount point.
        let kind = Some(disk.kind.as_str()).filter(|kind| !kind.is_empty()).unwrap_or("unknown");
        let detail = format!("{}; {kind}{on}", disk.uses.join(", "));
        sink.put(line("disk", &disk.mount, space, Some(detail)))?;
    }
    Ok(())
}

/// What the last recorded interval says, since counters tell nothing by themselves.
fn last_interval(scope: &Scope) -> Result<Option<HostSeen>, Error> {
    if !scope.has_history()? {
        return Ok(None);
    }
    let segments = host::kept(scope).segments(scope, perfmon_core::window::Level::Minute);
    let mut last: Option<HostSeen> = None;
    host::machine(scope, &segments, &mut |_, values| {
        let seen = last.insert(HostSeen::default());
        seen.add(values);
    });
    Ok(last)
}

#[allow(clippy::cast_precision_loss)]
fn processors(machine: &Machine, seen: Option<&HostSeen>) -> Vec<[Cell; 7]> {
    let line = |what: &str, name: &str, ratio: Option<f64>, cores: f64, detail: Option<String>| {
        [
            what.into(),
            name.into(),
            ratio.map(|ratio| ratio * cores).into(),
            cores.into(),
            ratio.into(),
            if what == "cpu" { "processors".into() } else { "processes".into() },
            detail.as_deref().into(),
        ]
    };
    let mut lines = Vec::new();
    let Some(cpu) = &machine.cpu else { return lines };
    let all = cpu.count as f64;
    let during = seen.map(|_| "in the last recorded interval".to_owned());
    let busy = seen.and_then(HostSeen::machine_cpu_ratio);
    lines.push(line("cpu", "machine", busy, all, during.clone()));
    if let Some(group) = &machine.group_cpu {
        let busy = seen.and_then(HostSeen::group_cpu_ratio);
        lines.push(line("cpu", "container", busy, group.cores, during));
    }
    if let Some(load) = machine.load {
        let detail = format!("{} in 5 minutes, {} in 15 minutes", load[1], load[2]);
        lines.push(line("load", "machine", Some(load[0] / all), all, Some(detail)));
    }
    lines
}

fn memories(machine: &Machine) -> Vec<[Cell; 7]> {
    let of = |memory: Memory| (memory.used, memory.total);
    let mut lines = Vec::new();
    for (what, name, memory) in [
        ("memory", "machine", machine.memory),
        ("memory", "container", machine.group_memory),
        ("swap", "machine", machine.swap),
    ] {
        lines.extend(memory.map(|memory| line(what, name, Some(of(memory)), None)));
    }
    if let Some(arc) = machine.arc {
        let detail = format!("shrinks to {} bytes when memory is wanted", arc.least);
        let mut cells = line("arc", "machine", None, Some(detail));
        cells[2] = arc.size.into();
        lines.push(cells);
    }
    lines
}

/// A line of bytes.
#[allow(clippy::cast_precision_loss)]
fn line(what: &str, name: &str, bytes: Option<(u64, u64)>, detail: Option<String>) -> [Cell; 7] {
    let ratio =
        bytes.filter(|(_, total)| *total > 0).map(|(used, total)| used as f64 / total as f64);
    [
        what.into(),
        name.into(),
        bytes.map(|bytes| bytes.0).into(),
        bytes.map(|bytes| bytes.1).into(),
        ratio.into(),
        "bytes".into(),
        detail.as_deref().into(),
    ]
}

#[pg_extern(
    schema = "perfmon",
    sql = r#"
CREATE FUNCTION perfmon.host_history(
    since timestamptz DEFAULT now() - interval '1 hour',
    until timestamptz DEFAULT now(),
    source bigint DEFAULT NULL
) RETURNS TABLE (
    "time" timestamptz,
    time_end timestamptz,
    length_ms float8,
    quality text,
    samples bigint,
    cpu_user_ms float8,
    cpu_system_ms float8,
    cpu_steal_ms float8,
    cpu_iowait_ms float8,
    cpu_idle_ms float8,
    cpu_peak_ratio float8,
    group_cpu_ms float8,
    group_capacity_ms float8,
    group_throttled_ms float8,
    load float8,
    load_peak float8,
    memory_bytes bigint,
    memory_used_bytes bigint,
    group_memory_bytes bigint,
    group_memory_used_bytes bigint,
    memory_peak_ratio float8,
    swap_bytes bigint,
    swap_used_bytes bigint,
    arc_hits bigint,
    arc_misses bigint,
    arc_bytes bigint,
    from_source bigint
) LANGUAGE c STABLE PARALLEL RESTRICTED ROWS 1000 AS 'MODULE_PATHNAME', '@FUNCTION_NAME@';
"#
)]
fn host_history(
    since: Stamp,
    until: Stamp,
    source: Option<i64>,
    fcinfo: pg_sys::FunctionCallInfo,
) -> Result<(), ErrorReport> {
    let naming = Naming { id: false, names: &[] };
    Ok(put_history(&HOST, naming, (since, until, source), fcinfo)?)
}

#[pg_extern(
    schema = "perfmon",
    sql = r#"
CREATE FUNCTION perfmon.disk_history(
    since timestamptz DEFAULT now() - interval '1 hour',
    until timestamptz DEFAULT now(),
    source bigint DEFAULT NULL
) RETURNS TABLE (
    "time" timestamptz,
    time_end timestamptz,
    length_ms float8,
    disk_id int,
    mount text,
    device text,
    uses text,
    quality text,
    space_samples bigint,
    size_bytes bigint,
    used_bytes bigint,
    available_bytes bigint,
    used_peak_ratio float8,
    watched_ms float8,
    reads bigint,
    writes bigint,
    read_bytes bigint,
    write_bytes bigint,
    read_ms float8,
    write_ms float8,
    busy_ms float8,
    busy_peak_ratio float8,
    from_source bigint
) LANGUAGE c STABLE PARALLEL RESTRICTED ROWS 1000 AS 'MODULE_PATHNAME', '@FUNCTION_NAME@';
"#
)]
fn disk_history(
    since: Stamp,
    until: Stamp,
    source: Option<i64>,
    fcinfo: pg_sys::FunctionCallInfo,
) -> Result<(), ErrorReport> {
    let naming = Naming { id: true, names: &[0, 1, 2] };
    Ok(put_history(&DISK, naming, (since, until, source), fcinfo)?)
}
