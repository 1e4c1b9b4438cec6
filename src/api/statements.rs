//! `top_statements`: what the time went into.

use perfmon_core::ask;
use perfmon_core::frame::Quality;
use perfmon_core::histogram::ERROR;
use perfmon_core::rollup::OTHER;
use pgrx::pg_sys;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;

use super::args::{Scope, Stamp, now};
use super::latency;
use super::past::{notice_if_untracked, notice_lacking, notice_nameless};
use super::rows::{Cell, Sink};
use crate::error::Error;
use crate::recall::absent;
use crate::recall::lacking::{self, Lacking};
use crate::recall::statements::{Line, ORDERS, ms, part, per_s, quality, ratio, top};
use crate::recall::uncounted::{Users, nameless_users};
use crate::recall::words::Raw;
use perfmon_core::window::Level;

#[pg_extern(
    schema = "perfmon",
    sql = r#"
CREATE FUNCTION perfmon.top_statements(
    since timestamptz DEFAULT now() - interval '1 hour',
    until timestamptz DEFAULT now(),
    order_by text DEFAULT 'total_time',
    max_rows int DEFAULT 20,
    source bigint DEFAULT NULL
) RETURNS TABLE (
    statement_id int,
    user_name text,
    query text,
    command text,
    calls bigint,
    calls_per_s float8,
    total_exec_ms float8,
    mean_exec_ms float8,
    stddev_exec_ms float8,
    p50_ms float8,
    p75_ms float8,
    p90_ms float8,
    p95_ms float8,
    p99_ms float8,
    max_ms float8,
    timed_calls bigint,
    cached_calls bigint,
    cached_p95_ms float8,
    read_calls bigint,
    read_p95_ms float8,
    percentile_error_ratio float8,
    rows bigint,
    rows_per_call float8,
    share_ratio float8,
    toplevel bool,
    total_plan_ms float8,
    shared_blks_hit bigint,
    shared_blks_read bigint,
    shared_blks_dirtied bigint,
    shared_blks_written bigint,
    cache_hit_ratio float8,
    blk_read_ms float8,
    blk_write_ms float8,
    temp_blks_read bigint,
    temp_blks_written bigint,
    wal_bytes bigint,
    quality text,
    queryid bigint,
    from_source bigint
) LANGUAGE c STABLE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', '@FUNCTION_NAME@';
"#
)]
fn top_statements(
    since: Stamp,
    until: Stamp,
    order_by: Option<Vec<u8>>,
    max_rows: Option<i32>,
    source: Option<i64>,
    fcinfo: pg_sys::FunctionCallInfo,
) -> Result<(), ErrorReport> {
    let scope = Scope::check(since, until, source)?;
    let words = ORDERS.map(|(word, _)| word);
    let order = order_by.map_or_else(|| words[0].to_owned(), |bytes| Raw(bytes).show());
    let order = ask::choice("order_by", &order, &words).map_err(Error::from)?;
    let most = ask::max_rows(max_rows).map_err(Error::from)?;
    let mut sink = Sink::open(fcinfo);
    if !scope.has_history_or_notice()? {
        return Ok(());
    }
    if most == Some(0) {
        return Ok(());
    }
    let lines = top(&scope, order, most)?;
    if lines.is_empty() {
        say_nothing_recorded(&scope)?;
    }
    let nameless = nameless_users(&scope)?;
    if !nameless.is_empty() {
        notice_nameless(&scope, &nameless)?;
    } else if lines.iter().all(|line| line.times.is_none()) {
        latency::say_not_counted(&scope);
    } else if lines.iter().any(is_untimed) {
        latency::say_partly_counted(&scope);
    }
    let untracked: Users = lines
        .iter()
        .filter(|line| is_untracked(line))
        .map(|line| line.statement.user_name.text())
        .collect();
    let is_some = nameless.is_empty() && !untracked.is_empty();
    let is_told = notice_if_untracked(&scope, is_some, &untracked)?;
    let lacking = lacking_in(&scope, &lines)?;
    let has_hole = lacking.has_hole(scope.since, scope.until);
    for line in &lines {
        sink.put_all(row(line, &nameless, has_hole))?;
    }
    if let Some(missing) =
        lacking.but_nameless().missing().filter(|_| !is_told && !lines.is_empty())
    {
        notice_lacking(missing);
    }
    Ok(())
}

/// What the server's statistics lack; of a long window row by row only where lines show that they lack something.
fn lacking_in(scope: &Scope, lines: &[Line]) -> Result<Lacking, Error> {
    let is_shown = || lines.iter().any(|line| is_untracked(line) || is_counted_in_part(line));
    match !lines.is_empty() && (scope.is_short() || is_shown()) {
        true => Lacking::of(scope, Level::Day),
        false => Lacking::of_holes(scope),
    }
}

/// Whether more was timed of it than the server counted.
fn is_counted_in_part(line: &Line) -> bool {
    let timed = line.times.as_ref().map_or(0, |times| times.all().executions());
    line.value("calls").is_some_and(|calls| latency::is_more(timed, calls))
}

/// Whether nobody timed what clients sent, or a small part only.
fn is_untimed(line: &Line) -> bool {
    let is_sent = line.statement.toplevel == Cell::Bool(true);
    is_sent && line.known_times().is_none() && line.value("calls").is_some_and(|calls| calls > 0)
}

/// Whether only the hooks know of it. They add up what has no name, which the server knows by its names.
fn is_untracked(line: &Line) -> bool {
    line.who.1 != OTHER && line.value("calls").is_none()
}

/// The row of `top_statements`. Who executed something without an id may have executed this more often, and so may all where
/// statements were not read for some time.
fn row(line: &Line, nameless: &Users, has_hole: bool) -> impl Iterator<Item = Cell> {
    let user = line.statement.user_name.text();
    let is_nameless = user.is_some() && nameless.contains(&user) || nameless.contains(&None);
    let is_part = is_nameless || has_hole || is_counted_in_part(line);
    let least = is_part.then_some(Quality::LowerBound as u64);
    let v = |name: &str| line.value(name);
    let hit = part(v("shared_blks_hit"), v("shared_blks_read"));
    let before = [
        Cell::from(line.who.1),
        line.statement.user_name.clone(),
        line.statement.query.clone(),
        line.statement.command.clone(),
        v("calls").into(),
        per_s(v("calls"), line.covered_us).into(),
        ms(v("exec_us")).into(),
        line.mean_ms().into(),
        line.deviation_ms().into(),
    ];
    let after = [
        v("rows").into(),
        ratio(v("rows"), v("calls")).into(),
        line.share_ratio.into(),
        line.statement.toplevel.clone(),
        ms(v("plan_us")).into(),
        v("shared_blks_hit").into(),
        v("shared_blks_read").into(),
        v("shared_blks_dirtied").into(),
        v("shared_blks_written").into(),
        hit.into(),
        ms(v("shared_blk_read_us")).into(),
        ms(v("shared_blk_write_us")).into(),
        v("temp_blks_read").into(),
        v("temp_blks_written").into(),
        v("wal_bytes").into(),
        quality(v("quality").map(|told| told.max(least.unwrap_or(0)))),
        line.statement.queryid.clone(),
        line.who.0.into(),
    ];
    let times = latency::cells(line.times.as_ref(), line.is_small_part);
    let error = line.known_times().map(|_| ERROR).into();
    before.into_iter().chain(times).chain([error]).chain(after)
}

/// Tells a caller why there is nothing to see; that a window is of the future, or nothing of it recorded, was told.
pub(super) fn say_nothing_recorded(scope: &Scope) -> Result<(), Error> {
    if scope.since >= now() || scope.unrecorded()?.is_some_and(|one| one.is_all()) {
        return Ok(());
    }
    let (detail, hint) = match absent::statements_in(scope)? {
        Some(missing) if missing.fix.is_empty() => (missing.problem, HOLES.to_owned()),
        Some(missing) => (format!("pg_stat_statements: {}", missing.problem), missing.fix),
        None => match lacking::missing(scope)? {
            Some(missing) if missing.fix.is_empty() => (missing.problem, HOLES.to_owned()),
            Some(missing) => (missing.problem, missing.fix),
            None => (NONE_COUNTED.to_owned(), SEE_STATUS.to_owned()),
        },
    };
    ErrorReport::new(
        PgSqlErrorCode::ERRCODE_SUCCESSFUL_COMPLETION,
        "no statement was recorded in this window",
        "pg_perfmon",
    )
    .set_detail(detail)
    .set_hint(hint)
    .report(PgLogLevel::NOTICE);
    Ok(())
}

const NONE_COUNTED: &str = "No execution of any statement was counted in it.";
const SEE_STATUS: &str = "SELECT * FROM perfmon.status() says whether pg_stat_statements is missing, and the line that fixes it.";
const HOLES: &str = "perfmon.gaps(since, until) lists the times of which nothing is known; perfmon.load_series(since, until) has NULL there.";
