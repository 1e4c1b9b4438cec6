//! Functions about time itself: gaps, intervals and changes. They hand rows through and judge nothing.

use pgrx::pg_sys;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;

use super::args::{Scope, Stamp};
use super::plan::Kept;
use super::query;
use super::rows::{Cell, Sink};
use super::statements::{ms, quality, ratio};
use crate::error::Error;
use crate::store::read;
use std::collections::HashMap;

use perfmon_core::family::SERVER;
use perfmon_core::window::Level;

#[pg_extern(
    schema = "perfmon",
    sql = r#"
CREATE FUNCTION perfmon.gaps(
    since timestamptz DEFAULT now() - interval '1 hour',
    until timestamptz DEFAULT now(),
    source bigint DEFAULT NULL
) RETURNS TABLE (
    "time" timestamptz,
    time_end timestamptz,
    length_ms float8,
    subject text,
    kind text,
    detail text
) LANGUAGE c STABLE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', '@FUNCTION_NAME@';
"#
)]
fn gaps(
    since: Stamp,
    until: Stamp,
    source: Option<i64>,
    fcinfo: pg_sys::FunctionCallInfo,
) -> Result<(), ErrorReport> {
    let scope = Scope::check(since, until, source)?;
    let mut sink = Sink::open(fcinfo);
    for row in gap_rows(&scope)? {
        sink.put_all(row)?;
    }
    Ok(())
}

/// Gaps that touch the window: start, end, length in milliseconds, subject, kind, detail.
pub(super) fn gap_rows(scope: &Scope) -> Result<Vec<Vec<Cell>>, Error> {
    query::rows(
        "SELECT g.since, g.until,
             (EXTRACT(EPOCH FROM g.until OPERATOR(pg_catalog.-) g.since)
                 OPERATOR(pg_catalog.*) 1000)::pg_catalog.float8,
             g.subject, g.kind, g.detail
         FROM perfmon.gap g
         WHERE g.source OPERATOR(pg_catalog.=) ANY ($1)
             AND g.until OPERATOR(pg_catalog.>) $2 AND g.since OPERATOR(pg_catalog.<) $3
         ORDER BY g.since, g.until, g.subject, g.kind",
        &[scope.sources.clone().into(), query::time(scope.since), query::time(scope.until)],
    )
}

/// How many gaps these rows tell of: what several subjects missed at the same time, for the same reason,
/// is one.
pub(super) fn distinct_gaps(rows: &[Vec<Cell>]) -> usize {
    let mut ends: HashMap<Option<String>, i64> = HashMap::new();
    let mut count = 0;
    // They come by their start.
    for row in rows {
        let at = |i: usize| row.get(i).and_then(Cell::int).unwrap_or(0);
        let kind = row.get(4).and_then(Cell::text);
        let end = ends.entry(kind).or_insert(i64::MIN);
        count += usize::from(at(0) > *end);
        *end = at(1).max(*end);
    }
    count
}

#[pg_extern(
    schema = "perfmon",
    sql = r#"
CREATE FUNCTION perfmon.changes(
    since timestamptz DEFAULT now() - interval '1 hour',
    until timestamptz DEFAULT now(),
    source bigint DEFAULT NULL
) RETURNS TABLE (
    "time" timestamptz,
    kind text,
    name text,
    old_value text,
    new_value text
) LANGUAGE c STABLE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', '@FUNCTION_NAME@';
"#
)]
fn changes(
    since: Stamp,
    until: Stamp,
    source: Option<i64>,
    fcinfo: pg_sys::FunctionCallInfo,
) -> Result<(), ErrorReport> {
    let scope = Scope::check(since, until, source)?;
    let mut sink = Sink::open(fcinfo);
    for row in change_rows(&scope)? {
        sink.put_all(row)?;
    }
    Ok(())
}

/// Changes in the window: time, kind, name, value before and since.
pub(super) fn change_rows(scope: &Scope) -> Result<Vec<Vec<Cell>>, Error> {
    query::rows(
        "SELECT c.at, c.kind, c.name, c.old_value, c.new_value
         FROM perfmon.change c
         WHERE c.source OPERATOR(pg_catalog.=) ANY ($1)
             AND c.at OPERATOR(pg_catalog.>) $2 AND c.at OPERATOR(pg_catalog.<=) $3
         ORDER BY c.at, c.kind, c.name",
        &[scope.sources.clone().into(), query::time(scope.since), query::time(scope.until)],
    )
}

#[pg_extern(
    schema = "perfmon",
    sql = r#"
CREATE FUNCTION perfmon.intervals(
    since timestamptz DEFAULT now() - interval '1 hour',
    until timestamptz DEFAULT now(),
    source bigint DEFAULT NULL
) RETURNS TABLE (
    "time" timestamptz,
    time_end timestamptz,
    length_ms float8,
    quiet_ms float8,
    snapshots bigint,
    quality text,
    completeness_ratio float8,
    active_ms float8,
    late bool,
    wall_clock bool,
    clock_stepped bool,
    cpu_ms float8,
    wall_ms float8,
    wal_bytes bigint,
    stored_bytes bigint,
    from_source bigint
) LANGUAGE c STABLE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', '@FUNCTION_NAME@';
"#
)]
fn intervals(
    since: Stamp,
    until: Stamp,
    source: Option<i64>,
    fcinfo: pg_sys::FunctionCallInfo,
) -> Result<(), ErrorReport> {
    let scope = Scope::check(since, until, source)?;
    let mut sink = Sink::open(fcinfo);
    if !scope.has_history_or_notice()? {
        return Ok(());
    }
    let kept = Kept::of(&SERVER, &scope);
    let segments = kept.segments(&scope, Level::Minute);
    let mut result = Ok(());
    read::frames(&scope.sources, &SERVER, &segments, &[], &mut |row| {
        // The first snapshot of all only sets where to count from: it has a row, but no interval.
        let is_interval = row.head.span.until > row.head.span.since;
        if is_interval && result.is_ok() {
            result = sink.put(interval(row.head));
        }
    });
    Ok(result?)
}

/// A plain total of a row, by its name; unknown is `None`.
pub(super) fn total(
    family: &perfmon_core::family::Family,
    head: &read::Head,
    name: &str,
) -> Option<u64> {
    let place = family.totals.iter().position(|total| *total == name)?;
    head.totals.get(place).copied().flatten().and_then(|v| u64::try_from(v).ok())
}

fn interval(head: &read::Head) -> [Cell; 16] {
    let span = head.span;
    let t = |name: &str| total(&SERVER, head, name);
    let us = |us: i64| ms(u64::try_from(us).ok());
    [
        Cell::Time(span.since),
        Cell::Time(span.until),
        us(span.length_us).into(),
        us(span.quiet_us).into(),
        t("snapshots").into(),
        quality(Some(span.quality as u64)),
        ratio(t("covered_exec_us"), t("active_us")).into(),
        ms(t("active_us")).into(),
        (span.flags & 4 != 0).into(),
        (span.flags & 1 != 0).into(),
        (span.flags & 2 != 0).into(),
        ms(t("visit_cpu_us")).into(),
        ms(t("visit_wall_us")).into(),
        t("visit_wal_bytes").into(),
        t("stored_bytes").into(),
        head.source.into(),
    ]
}
