//! `statement_series` and `load_series`: the same over time, in steps, for graphs.

use std::collections::HashMap;

use perfmon_core::ask;
use perfmon_core::change::{self, Noticed};
use perfmon_core::family::STATEMENT;
use perfmon_core::frame::Quality;
use perfmon_core::histogram::Sum;
use perfmon_core::series::{self, Series};
use perfmon_core::window;
use pgrx::datum::Interval;
use pgrx::pg_sys;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;

use super::args::{Scope, Stamp};
use super::known;
use super::latency::{self, Timed};
use super::past::{notice_if_untracked, notice_lacking};
use super::rows::{Cell, Sink};
use crate::error::Error;
use crate::recall::lacking::Lacking;
use crate::recall::latency::{Times, Whose};
use crate::recall::names;
use crate::recall::plan::{Kept, coarsest_for};
use crate::recall::query;
use crate::recall::statements::{deviation_ms, ms, part, per_s, positions, quality, ratio};
use crate::recall::times::{noticed, total};
use crate::recall::uncounted::Users;
use crate::store::read;

pub(super) mod trend;

/// Edges of the buckets: aligned to the UTC epoch, or, for steps of days and months, to the session's
/// time zone.
pub(super) fn edges(scope: &Scope, step: Option<Interval>, kept: &Kept) -> Result<Vec<i64>, Error> {
    let step = match step {
        Some(step) => {
            let given =
                ask::Step { months: step.months(), days: step.days(), micros: step.micros() };
            ask::step(given, scope.since, scope.until)?
        }
        None => default_step(scope, kept),
    };
    if step.months == 0 && step.days == 0 {
        return Ok(series::edges(scope.since, scope.until, step.micros));
    }
    calendar_edges(scope, step)
}

fn default_step(scope: &Scope, kept: &Kept) -> ask::Step {
    let us = window::default_step(scope.since, scope.until).max(kept.finest(scope).step_us());
    if us % window::DAY_US == 0 {
        return ask::Step {
            months: 0,
            days: i32::try_from(us / window::DAY_US).unwrap_or(1),
            micros: 0,
        };
    }
    ask::Step { months: 0, days: 0, micros: us }
}

/// Days count from a Monday, months from a January.
fn calendar_edges(scope: &Scope, step: ask::Step) -> Result<Vec<i64>, Error> {
    let (query, n) = if step.months > 0 {
        (
            "WITH first (local) AS (
              SELECT pg_catalog.date_trunc('month', $1::pg_catalog.timestamp)
          ), start (at) AS (
              SELECT f.local OPERATOR(pg_catalog.-) pg_catalog.make_interval(months =>
                  ((EXTRACT(YEAR FROM f.local)::pg_catalog.int4
                      OPERATOR(pg_catalog.*) 12
                      OPERATOR(pg_catalog.+) EXTRACT(MONTH FROM f.local)::pg_catalog.int4
                      OPERATOR(pg_catalog.-) 1) OPERATOR(pg_catalog.%) $3))
              FROM first f
          )
          SELECT e.at::pg_catalog.timestamptz
          FROM start s, pg_catalog.generate_series(s.at,
              $2::pg_catalog.timestamp OPERATOR(pg_catalog.+)
                  pg_catalog.make_interval(months => $3),
              pg_catalog.make_interval(months => $3)) AS e (at)
          ORDER BY 1",
            step.months,
        )
    } else {
        ("WITH first (local) AS (SELECT $1::pg_catalog.timestamp::pg_catalog.date), start (at) AS (
              SELECT f.local OPERATOR(pg_catalog.-)
                  ((f.local OPERATOR(pg_catalog.-) '0001-01-01'::pg_catalog.date)
                      OPERATOR(pg_catalog.%) $3)
              FROM first f
          )
          SELECT e.at::pg_catalog.timestamptz
          FROM start s, pg_catalog.generate_series(s.at::pg_catalog.timestamp,
              $2::pg_catalog.timestamp OPERATOR(pg_catalog.+)
                  pg_catalog.make_interval(days => $3),
              pg_catalog.make_interval(days => $3)) AS e (at)
          ORDER BY 1", step.days)
    };
    let rows = query::rows(query, &[query::time(scope.since), query::time(scope.until), n.into()])?;
    let mut edges: Vec<i64> = rows.iter().filter_map(|row| row.first()?.int()).collect();
    edges.dedup();
    // One edge at or after the end is enough.
    let enough = edges.partition_point(|edge| *edge < scope.until) + 1;
    edges.truncate(enough);
    Ok(edges)
}

/// A later row may tell that the end of the window was quiet.
fn cover_end(scope: &Scope, series: &mut Series) -> Result<(), Error> {
    let rows = query::rows(
        "SELECT r.since, r.until, r.length_us, r.quiet_us
         FROM perfmon.statement_minute r
         WHERE r.source OPERATOR(pg_catalog.=) ANY ($1)
             AND r.until OPERATOR(pg_catalog.>) $2 AND r.since OPERATOR(pg_catalog.<) $2
             AND r.quiet_us OPERATOR(pg_catalog.>) 0
         ORDER BY r.until LIMIT 1",
        &[scope.sources.clone().into(), query::time(scope.until)],
    )?;
    for row in rows {
        let of = |i: usize| row.get(i).and_then(Cell::int);
        let (Some(since), Some(length), Some(quiet)) = (of(0), of(2), of(3)) else { continue };
        // The row itself lies outside: only its quiet part up to the window's end counts.
        let quiet = quiet.min(scope.until.saturating_sub(since));
        series.cover(since, i64::MAX, length, quiet);
    }
    Ok(())
}

/// The worst quality in each bucket.
struct Worst(Vec<Option<u64>>);

impl Worst {
    fn note(&mut self, series: &Series, until: i64, value: Option<u64>) {
        if let (Some(bucket), Some(value)) = (series.bucket_of(until), value)
            && let Some(slot) = self.0.get_mut(bucket)
        {
            *slot = Some(slot.map_or(value, |old| old.max(value)));
        }
    }

    fn cell(&self, series: &Series, bucket: usize) -> Cell {
        if series.covered_us(bucket) == 0 {
            return Cell::Null;
        }
        quality(Some(self.0.get(bucket).copied().flatten().unwrap_or(0)))
    }
}

/// What changed in each bucket.
pub(super) struct Changes(HashMap<usize, Vec<Noticed>>);

impl Changes {
    /// Those that were noticed in the window. A change stands where it was noticed, whether the bucket is a
    /// gap or not.
    pub(super) fn of(scope: &Scope, series: &Series) -> Result<Self, Error> {
        let mut of_bucket: HashMap<usize, Vec<Noticed>> = HashMap::new();
        for (at, change) in noticed(scope)? {
            if let Some(bucket) = series.bucket_of(at) {
                of_bucket.entry(bucket).or_default().push(change);
            }
        }
        Ok(Self(of_bucket))
    }

    pub(super) fn cell(&self, bucket: usize) -> Cell {
        let here: Vec<&Noticed> = self.0.get(&bucket).into_iter().flatten().collect();
        change::brief(&here).as_deref().into()
    }
}

/// Columns of a statement's series, in the order in which they are summed. Each is fetched from every
/// row of the window, so only what graphs show is here; statement_history() has them all.
const SHOWN: [&str; 12] = [
    "calls",
    "exec_us",
    "rows",
    "plan_us",
    "shared_blks_hit",
    "shared_blks_read",
    "shared_blk_read_us",
    "shared_blk_write_us",
    "temp_blks_written",
    "wal_bytes",
    "exec_sq",
    "quality",
];

#[pg_extern(
    schema = "perfmon",
    sql = r#"
CREATE FUNCTION perfmon.statement_series(
    statement_id int,
    since timestamptz DEFAULT now() - interval '1 hour',
    until timestamptz DEFAULT now(),
    step interval DEFAULT NULL,
    source bigint DEFAULT NULL
) RETURNS TABLE (
    "time" timestamptz,
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
    active_ratio float8,
    rows bigint,
    total_plan_ms float8,
    shared_blks_hit bigint,
    shared_blks_read bigint,
    cache_hit_ratio float8,
    blk_read_ms float8,
    blk_write_ms float8,
    temp_blks_written bigint,
    wal_bytes bigint,
    quality text,
    covered_ratio float8,
    changes text
) LANGUAGE c STABLE PARALLEL RESTRICTED ROWS 400 AS 'MODULE_PATHNAME', '@FUNCTION_NAME@';
"#
)]
fn statement_series(
    statement_id: Option<i32>,
    since: Stamp,
    until: Stamp,
    step: Option<Interval>,
    source: Option<i64>,
    fcinfo: pg_sys::FunctionCallInfo,
) -> Result<(), ErrorReport> {
    let scope = Scope::check(since, until, source)?;
    let mut sink = Sink::open(fcinfo);
    let objects = known::statement(&scope, statement_id)?;
    if !scope.has_history_or_notice()? {
        return Ok(());
    }
    let kept = Kept::of(&STATEMENT, &scope);
    let edges = edges(&scope, step, &kept)?;
    let segments = kept.segments(&scope, coarsest_for(&edges));
    let whose = Whose::Statements(&objects);
    let mut timed = Timed::of(whose, &scope, &edges)?;
    let columns = positions(&SHOWN);
    let (mut series, mut are_part) = (Series::new(edges.clone(), SHOWN.len() - 1), false);
    let mut worst = Worst(vec![None; series.len()]);
    read::series_of(&objects, &STATEMENT, &segments, &columns, &mut |point| {
        let span = point.head.span;
        series.cover(span.since, span.until, span.length_us, span.quiet_us);
        for (column, value) in point.values.iter().enumerate().take(SHOWN.len() - 1) {
            series.add(column, span.until, *value);
        }
        worst.note(&series, span.until, point.values.last().copied().flatten());
        are_part |= span.quality != Quality::Exact;
        if point.may_be_in_rest(0, columns[0]) {
            worst.note(&series, span.until, Some(Quality::LowerBound as u64));
        }
    });
    cover_end(&scope, &mut series)?;
    timed.look_besides(whose, &scope, &edges, (&series, are_part))?;
    timed.believe(&series);
    let (changes, lacking) = (Changes::of(&scope, &series)?, Lacking::of_holes(&scope)?);
    for bucket in 0..series.len() {
        if timed.is_more_than(bucket, &series) || lacks(&lacking, &timed, &series, bucket) {
            worst.note(&series, series.end(bucket), Some(Quality::LowerBound as u64));
        }
        sink.put_all(statement_point(&series, &worst, &timed, &changes, bucket))?;
    }
    let is_told = timed.say_what_is_missing(&scope);
    let is = |what: &dyn Fn(usize) -> bool| (0..series.len()).any(what);
    let is_alone = is(&|bucket| timed.is_alone(bucket, &series));
    let is_lower = timed.are_more_than(&series)
        || is(&|bucket| lacking.has_hole(series.time(bucket), series.end(bucket)))
        || !is_told && is(&|bucket| timed.is_nameless(bucket));
    if !is_alone && !is_lower {
        return Ok(());
    }
    let known = names::statements(&objects)?;
    let users: Users = known.values().map(|one| one.user_name.text()).collect();
    if !notice_if_untracked(&scope, is_alone, &users)? && is_lower {
        let are_read = scope.is_short() || timed.are_more_than(&series);
        let lacking = Lacking::of_some(&scope, &users, are_read)?;
        let lacking = if is_told { lacking.but_nameless() } else { lacking };
        lacking.missing().into_iter().for_each(notice_lacking);
    }
    Ok(())
}

/// Whether something that may be theirs and was executed in a bucket was not counted by statement.
fn lacks(lacking: &Lacking, timed: &Timed, series: &Series, bucket: usize) -> bool {
    timed.is_nameless(bucket) || lacking.has_hole(series.time(bucket), series.end(bucket))
}

/// Whether executions were timed of which pg_stat_statements knows none: it does not count them, or, in hours and days, not
/// apart. Then it knows nothing of them, and no zero.
fn is_unseen(calls: Option<u64>, times: Option<&Times>) -> bool {
    calls == Some(0) && times.is_some_and(|times| times.all().executions() > 0)
}

fn statement_point(
    series: &Series,
    worst: &Worst,
    timed: &Timed,
    changes: &Changes,
    bucket: usize,
) -> impl Iterator<Item = Cell> {
    let times = timed.times(bucket);
    let is_none = series.sum(0, bucket) == Some(0);
    let unseen = is_unseen(series.sum(0, bucket), times) || is_none && timed.is_nameless(bucket);
    // What was not executed at all is in no rest.
    let lost = timed.may_be_in_rest(bucket) && series.sum(0, bucket) != Some(0);
    let times = times.filter(|_| !lost);
    let v = |name: &str| {
        let place = SHOWN.iter().position(|shown| *shown == name).filter(|_| !unseen);
        place.and_then(|i| series.sum(i, bucket))
    };
    let covered = series.covered_us(bucket);
    let is_small_part = timed.is_small_part(bucket);
    let told = times.filter(|_| !is_small_part);
    let counted = || told.and_then(|times| times.all().deviation_ns()).map(|ns| ns / 1e6);
    let deviation = deviation_ms(v("calls"), v("exec_us"), v("exec_sq")).or_else(counted);
    let before = [
        Cell::Time(series.time(bucket)),
        v("calls").into(),
        per_s(v("calls"), covered).into(),
        ms(v("exec_us")).into(),
        ratio(v("exec_us"), v("calls")).map(|us| us / 1000.0).into(),
        deviation.into(),
    ];
    let after = [
        per_s(v("exec_us"), covered).map(|us| us / 1e6).into(),
        v("rows").into(),
        ms(v("plan_us")).into(),
        v("shared_blks_hit").into(),
        v("shared_blks_read").into(),
        part(v("shared_blks_hit"), v("shared_blks_read")).into(),
        ms(v("shared_blk_read_us")).into(),
        ms(v("shared_blk_write_us")).into(),
        v("temp_blks_written").into(),
        v("wal_bytes").into(),
        if unseen { Cell::Null } else { worst.cell(series, bucket) },
        series.covered_ratio(bucket).into(),
        changes.cell(bucket),
    ];
    before.into_iter().chain(latency::cells(times, is_small_part)).chain(after)
}

/// Row totals of the load series, in the order in which [`load_point`] takes them.
const TOTALS: [&str; 6] = [
    "total_calls",
    "total_exec_us",
    "total_rows",
    "total_blks_read",
    "total_wal_bytes",
    "nested_exec_us",
];

#[pg_extern(
    schema = "perfmon",
    sql = r#"
CREATE FUNCTION perfmon.load_series(
    since timestamptz DEFAULT now() - interval '1 hour',
    until timestamptz DEFAULT now(),
    step interval DEFAULT NULL,
    source bigint DEFAULT NULL
) RETURNS TABLE (
    "time" timestamptz,
    calls bigint,
    calls_per_s float8,
    total_exec_ms float8,
    mean_exec_ms float8,
    p50_ms float8,
    p95_ms float8,
    p99_ms float8,
    timed_calls bigint,
    active_ratio float8,
    nested_exec_ms float8,
    rows bigint,
    rows_per_s float8,
    shared_blks_read bigint,
    wal_bytes bigint,
    wal_bytes_per_s float8,
    quality text,
    covered_ratio float8,
    changes text
) LANGUAGE c STABLE PARALLEL RESTRICTED ROWS 400 AS 'MODULE_PATHNAME', '@FUNCTION_NAME@';
"#
)]
fn load_series(
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
    let kept = Kept::of(&STATEMENT, &scope);
    let edges = edges(&scope, step, &kept)?;
    let mut timed = Timed::of(Whose::Database, &scope, &edges)?;
    let (series, mut worst) = load(&scope, edges.clone(), &kept)?;
    let are_part = worst.0.iter().flatten().any(|quality| *quality != Quality::Exact as u64);
    // Row by row, which takes a while: of longer windows where totals show it.
    let are_read = scope.is_short() || timed.are_more_than(&series);
    let lacking = match (are_read, are_part) {
        (true, _) => Lacking::of(&scope, coarsest_for(&edges))?,
        (false, true) => Lacking::without_rows(&scope, None)?,
        (false, false) => Lacking::of_holes(&scope)?,
    };
    for end in lacking.ends() {
        worst.note(&series, end, Some(Quality::LowerBound as u64));
    }
    timed.look_besides(Whose::Database, &scope, &edges, (&series, are_part || are_read))?;
    timed.believe(&series);
    let changes = Changes::of(&scope, &series)?;
    let mut is_any = false;
    for bucket in 0..series.len() {
        if lacks(&lacking, &timed, &series, bucket) {
            worst.note(&series, series.end(bucket), Some(Quality::LowerBound as u64));
        }
        is_any |= series.sum(0, bucket).is_some_and(|calls| calls > 0);
        sink.put(load_point(&series, &worst, &timed, &changes, bucket))?;
    }
    timed.say_what_is_missing(&scope);
    let is_alone = (0..series.len()).any(|bucket| timed.is_alone(bucket, &series));
    let is_told = notice_if_untracked(&scope, is_alone, &Users::new())?;
    let lacking = if is_told { lacking.but_holes() } else { lacking };
    if let Some(missing) = lacking.missing().filter(|_| is_any) {
        notice_lacking(missing);
    }
    Ok(())
}

/// The row totals between the edges.
fn load(scope: &Scope, edges: Vec<i64>, kept: &Kept) -> Result<(Series, Worst), Error> {
    let segments = kept.segments(scope, coarsest_for(&edges));
    let mut series = Series::new(edges, TOTALS.len());
    let mut worst = Worst(vec![None; series.len()]);
    read::frames(&scope.sources, &STATEMENT, &segments, &[], &mut |row| {
        let span = row.head.span;
        series.cover(span.since, span.until, span.length_us, span.quiet_us);
        for (column, name) in TOTALS.iter().enumerate() {
            series.add(column, span.until, total(&STATEMENT, row.head, name));
        }
        worst.note(&series, span.until, Some(span.quality as u64));
    });
    cover_end(scope, &mut series)?;
    Ok((series, worst))
}

fn load_point(
    series: &Series,
    worst: &Worst,
    timed: &Timed,
    changes: &Changes,
    bucket: usize,
) -> [Cell; 19] {
    let covered = series.covered_us(bucket);
    let times = timed.times(bucket);
    let unseen = is_unseen(series.sum(0, bucket), times);
    let [calls, exec_us, rows, blks_read, wal_bytes, nested_us] =
        std::array::from_fn(|column| series.sum(column, bucket).filter(|_| !unseen));
    let all = times.map(Times::all);
    let told = all.as_ref().filter(|_| !timed.is_small_part(bucket));
    let at = |q| told.and_then(|all| latency::at(all, q)).into();
    [
        Cell::Time(series.time(bucket)),
        calls.into(),
        per_s(calls, covered).into(),
        ms(exec_us).into(),
        ratio(exec_us, calls).map(|us| us / 1000.0).into(),
        at(0.5),
        at(0.95),
        at(0.99),
        all.as_ref().map(Sum::executions).into(),
        per_s(exec_us, covered).map(|us| us / 1e6).into(),
        ms(nested_us).into(),
        rows.into(),
        per_s(rows, covered).into(),
        blks_read.into(),
        wal_bytes.into(),
        per_s(wal_bytes, covered).into(),
        if unseen { Cell::Null } else { worst.cell(series, bucket) },
        series.covered_ratio(bucket).into(),
        changes.cell(bucket),
    ]
}
