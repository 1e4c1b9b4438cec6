//! `pool_saturation` and `why_queued`: how full pools are, of which limit they run out and when, and why sessions queue.

use perfmon_core::capture::failure::Refusal;
use perfmon_core::pool::limit::{Kind, Nearness};
use perfmon_core::pool::queue::Cause;
use perfmon_core::pool::{Figure, Group, Look, Pools, Whose, storms};
use perfmon_core::threshold::Thresholds;
use pgrx::pg_sys;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;

use super::activity::must_be_sampled;
use super::args::{Scope, Stamp};
use super::rows::{Cell, Sink};
use crate::error::Error;
use crate::judge;

/// Fewer new sessions in one step are no storm.
const STORM: u64 = 10;

#[pg_extern(
    schema = "perfmon",
    sql = r#"
CREATE FUNCTION perfmon.pool_saturation(
    since timestamptz DEFAULT now() - interval '1 hour',
    until timestamptz DEFAULT now(),
    source bigint DEFAULT NULL
) RETURNS TABLE (
    level text,
    database_name text,
    user_name text,
    application text,
    client_address text,
    monitoring bool,
    saturation text,
    saturation_ratio float8,
    peak_ratio float8,
    limited_by text,
    connections_limit int,
    connections_used float8,
    headroom float8,
    server_limit int,
    database_limit int,
    role_limit int,
    pooler_limit int,
    pool_limit int,
    pool_limit_from text,
    hours_to_exhaustion float8,
    growth_per_hour float8,
    queue_cause text,
    open_now int,
    open_avg float8,
    open_p95 float8,
    open_peak int,
    active_now int,
    active_avg float8,
    active_p95 float8,
    active_peak int,
    idle_now int,
    idle_avg float8,
    idle_p95 float8,
    idle_peak int,
    in_transaction_now int,
    in_transaction_avg float8,
    in_transaction_p95 float8,
    in_transaction_peak int,
    monitoring_avg float8,
    idle_ratio float8,
    in_transaction_ratio float8,
    on_lock_ratio float8,
    opened_per_s float8,
    sessions_per_s float8,
    session_ms float8,
    storms int,
    storm_peak_per_step bigint,
    refused bigint,
    refused_too_many_clients bigint,
    refused_reserved bigint,
    refused_role_limit bigint,
    refused_database_limit bigint,
    refused_starting_up bigint,
    refused_authentication bigint,
    samples bigint
) LANGUAGE c STABLE PARALLEL UNSAFE ROWS 50 AS 'MODULE_PATHNAME', '@FUNCTION_NAME@';
"#
)]
fn pool_saturation(
    since: Stamp,
    until: Stamp,
    source: Option<i64>,
    fcinfo: pg_sys::FunctionCallInfo,
) -> Result<(), ErrorReport> {
    let mut sink = Sink::open(fcinfo);
    let Some(pools) = known(since, until, source)? else { return Ok(()) };
    let thresholds = judge::thresholds();
    for group in &pools.window.groups {
        let mut cells: Vec<Cell> = named(&group.whose).into();
        cells.extend(limits(&pools, group, &thresholds));
        cells.extend(states(&pools.window, group));
        cells.extend(churn(&pools, group));
        cells.extend(refused(&pools.window, group));
        cells.push(pools.window.samples.into());
        sink.put_all(cells)?;
    }
    Ok(())
}

/// Pools over the window that is asked for; `None` where there is nothing yet, which is said.
pub(super) fn known(
    since: Stamp,
    until: Stamp,
    source: Option<i64>,
) -> Result<Option<Pools>, Error> {
    let scope = Scope::check(since, until, source)?;
    if !scope.has_history_or_notice()? {
        return Ok(None);
    }
    must_be_sampled("pools", &scope)?;
    judge::pools(&scope)
}

/// Whose a row is; of all that found no place, that is said.
pub(super) fn named(whose: &Whose) -> [Cell; 6] {
    let name = |name: &Option<String>| -> Cell {
        if whose.other { "(all others)".into() } else { name.as_deref().into() }
    };
    [
        whose.level.name().into(),
        name(&whose.database),
        name(&whose.user),
        whose.application.as_deref().into(),
        whose.address.as_deref().into(),
        whose.monitoring.into(),
    ]
}

fn limits(pools: &Pools, group: &Group, thresholds: &Thresholds) -> Vec<Cell> {
    let binding = group.binding();
    let most = |kind: Kind| -> Cell {
        group.limits.iter().find(|limit| limit.kind == kind).map(|limit| limit.most).into()
    };
    let of_pool = [Kind::Declared, Kind::Exceeded, Kind::Inferred];
    let of_pooler = group.limits.iter().find(|limit| limit.kind.is_of_pooler());
    let pool = group.limits.iter().find(|limit| of_pool.contains(&limit.kind));
    let exhaustion = pools.exhaustion_of(group);
    let verdict = pools.window.verdict(group, thresholds);
    let peak = binding.and_then(|limit| {
        let peak = limit.peak?;
        (limit.most > 0).then(|| f64::from(peak) / f64::from(limit.most))
    });
    vec![
        binding.map(|limit| Nearness::of(limit, thresholds).word()).into(),
        binding.map(perfmon_core::pool::limit::Limit::ratio).into(),
        peak.into(),
        binding.map(|limit| limit.kind.word()).into(),
        binding.map(|limit| limit.most).into(),
        binding.map(|limit| limit.used).into(),
        binding.map(perfmon_core::pool::limit::Limit::headroom).into(),
        most(Kind::Server),
        most(Kind::Database),
        most(Kind::Role),
        of_pooler.map(|limit| limit.most).into(),
        pool.map(|limit| limit.most).into(),
        pool.map(|limit| limit.kind.word()).into(),
        exhaustion.map(|found| found.hours).into(),
        exhaustion.map(|found| found.per_hour).into(),
        verdict.filter(|v| v.cause != Cause::Nothing).map(|v| v.cause.word()).into(),
    ]
}

fn states(look: &Look, group: &Group) -> Vec<Cell> {
    let mut cells = Vec::with_capacity(20);
    for figure in [&group.open, &group.active, &group.idle, &group.in_transaction] {
        let Figure { now, average, p95, peak, .. } = *figure;
        cells.extend([now.into(), average.into(), p95.into(), peak.into()]);
    }
    let monitors = look.groups.iter().filter(|pool| {
        pool.whose.monitoring && (pool.whose == group.whose || group.whose.holds(&pool.whose))
    });
    let monitoring: f64 =
        monitors.filter_map(|pool| pool.open.average).fold(0.0, |sum, open| sum + open);
    cells.extend([
        group.open.average.map(|_| monitoring).into(),
        group.share(&group.idle).into(),
        group.share(&group.in_transaction).into(),
        group.share_of(group.on_lock).into(),
    ]);
    cells
}

#[allow(clippy::cast_precision_loss)]
fn churn(pools: &Pools, group: &Group) -> Vec<Cell> {
    let look = &pools.window;
    let seconds = look.covered_us as f64 / 1e6;
    let course = pools.course_of(&group.whose);
    let storms = course.map(|course| storms(&course.opened, STORM));
    // What the server counts is of databases; a pool is not all of one.
    let of_pool = group.whose.level == perfmon_core::activity::group::Level::Pool;
    let counted = look.sessions_for(&group.whose).filter(|_| !of_pool);
    vec![
        (seconds > 0.0).then(|| group.opened as f64 / seconds).into(),
        counted.and_then(perfmon_core::pool::Sessions::per_s).into(),
        counted.and_then(|sessions| sessions.mean_ms).into(),
        storms.and_then(|(times, _)| i64::try_from(times).ok()).into(),
        storms.map(|(_, most)| most).into(),
    ]
}

fn refused(look: &Look, group: &Group) -> Vec<Cell> {
    let of = |why: Option<Refusal>| Cell::from(look.refused(&group.whose, why));
    vec![
        of(None),
        of(Some(Refusal::TooManyClients)),
        of(Some(Refusal::Reserved)),
        of(Some(Refusal::RoleLimit)),
        of(Some(Refusal::DatabaseLimit)),
        of(Some(Refusal::StartingUp)),
        look.unauthenticated(&group.whose).into(),
    ]
}

#[pg_extern(
    schema = "perfmon",
    sql = r#"
CREATE FUNCTION perfmon.why_queued(
    since timestamptz DEFAULT now() - interval '1 hour',
    until timestamptz DEFAULT now(),
    source bigint DEFAULT NULL
) RETURNS TABLE (
    level text,
    database_name text,
    user_name text,
    application text,
    client_address text,
    monitoring bool,
    cause text,
    detail text,
    evidence jsonb
) LANGUAGE c STABLE PARALLEL UNSAFE ROWS 20 AS 'MODULE_PATHNAME', '@FUNCTION_NAME@';
"#
)]
fn why_queued(
    since: Stamp,
    until: Stamp,
    source: Option<i64>,
    fcinfo: pg_sys::FunctionCallInfo,
) -> Result<(), ErrorReport> {
    let mut sink = Sink::open(fcinfo);
    let Some(pools) = known(since, until, source)? else { return Ok(()) };
    let thresholds = judge::thresholds();
    for group in &pools.window.groups {
        let Some(verdict) = pools.window.verdict(group, &thresholds) else { continue };
        let evidence = serde_json::to_string(&verdict.evidence)
            .map_err(|error| Error::internal(error.to_string()))?;
        let mut cells: Vec<Cell> = named(&group.whose).into();
        cells.extend([
            verdict.cause.word().into(),
            verdict.detail.as_str().into(),
            evidence.as_str().into(),
        ]);
        sink.put_all(cells)?;
    }
    Ok(())
}
