//! Functions about time itself: gaps, intervals and changes. They hand rows through and judge nothing.

use pgrx::pg_sys;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;

use super::args::{Scope, Stamp};
use super::rows::{Cell, Sink};
use crate::recall::plan::Kept;
use crate::recall::statements::{ms, quality, ratio};
use crate::recall::times::{change_rows, gap_rows, total};
use crate::store::read;
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
    Ok(scope.put_or_notice(&mut sink, gap_rows(&scope)?)?)
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
    Ok(scope.put_or_notice(&mut sink, change_rows(&scope)?)?)
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
