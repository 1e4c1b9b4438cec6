//! `pool_activity`: clients' sessions by pool, database, user and in all, over time; and the plain rows of all that
//! samples told.

use perfmon_core::activity::group::SPREADS;
use perfmon_core::family::{POOL, SESSION, WAIT};
use pgrx::datum::Interval;
use pgrx::pg_sys;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;

use super::activity::{must_be_sampled, some};
use super::args::{Scope, Stamp};
use super::history::{Naming, put_history};
use super::rows::{Cell, Sink};
use super::series::edges;
use crate::recall::activity::FINE;
use crate::recall::plan::Kept;
use crate::recall::pools::{self, Counted, Group, Step, Use};
use crate::recall::statements::{per_s, quality};

#[pg_extern(
    schema = "perfmon",
    sql = r#"
CREATE FUNCTION perfmon.pool_activity(
    since timestamptz DEFAULT now() - interval '1 hour',
    until timestamptz DEFAULT now(),
    step interval DEFAULT NULL,
    source bigint DEFAULT NULL
) RETURNS TABLE (
    "time" timestamptz,
    level text,
    database_name text,
    user_name text,
    application text,
    client_address text,
    monitoring bool,
    samples bigint,
    open_avg float8,
    open_min int,
    open_p95 float8,
    open_p99 float8,
    open_peak int,
    busy_avg float8,
    busy_min int,
    busy_p95 float8,
    busy_p99 float8,
    busy_peak int,
    active_avg float8,
    active_min int,
    active_p95 float8,
    active_p99 float8,
    active_peak int,
    idle_avg float8,
    idle_min int,
    idle_p95 float8,
    idle_p99 float8,
    idle_peak int,
    in_transaction_avg float8,
    in_transaction_min int,
    in_transaction_p95 float8,
    in_transaction_p99 float8,
    in_transaction_peak int,
    aborted_avg float8,
    on_cpu_avg float8,
    on_lock_avg float8,
    on_lock_peak int,
    on_client_avg float8,
    on_io_avg float8,
    hidden_avg float8,
    opened bigint,
    opened_per_s float8,
    counted_open_avg float8,
    counted_active_avg float8,
    counted_in_transaction_avg float8,
    counted_sessions bigint,
    sessions_abandoned bigint,
    sessions_fatal bigint,
    sessions_killed bigint,
    covered_ratio float8,
    quality text
) LANGUAGE c STABLE PARALLEL RESTRICTED ROWS 2000 AS 'MODULE_PATHNAME', '@FUNCTION_NAME@';
"#
)]
fn pool_activity(
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
    must_be_sampled("pools", &scope)?;
    let edges = edges(&scope, step, &Kept::of(&POOL, &scope))?;
    let counted = pools::counted_series(&scope, &edges)?;
    let groups = pools::Groups::of(&scope)?;
    let (series, steps) = pools::series::<Use>(&scope, &groups, edges);
    for (at, step) in steps.iter().enumerate() {
        let place = (series.time(at), series.covered_us(at), series.covered_ratio(at));
        let mut found: Vec<(&Group, &Use)> = step.groups(&groups).collect();
        found.sort_by_key(|(group, _)| *group);
        for (group, found) in found {
            let counted = pools::counted_as(group).and_then(|name| counted.get(&(at, name)));
            sink.put_all(cells(place, step, (group, found), counted))?;
        }
    }
    Ok(())
}

fn cells(
    (time, covered_us, covered): (i64, i64, f64),
    step: &Step,
    (group, found): (&Group, &Use),
    counted: Option<&Counted>,
) -> Vec<Cell> {
    let samples = step.samples;
    let mut cells = vec![
        Cell::Time(time),
        group.of.level.name().into(),
        name(group, &group.database),
        name(group, &group.user),
        group.of.application.as_deref().into(),
        group.of.address.as_deref().into(),
        group.of.is_monitor().into(),
        (samples.saturating_add(FINE / 2) / FINE).into(),
    ];
    let hides = found.hides(samples);
    for at in 0..SPREADS.len() {
        if hides && at > 0 {
            // All there is to know is that they are open.
            cells.extend([Cell::Null, Cell::Null, Cell::Null, Cell::Null, Cell::Null]);
            continue;
        }
        cells.extend([
            found.mean_within(at, samples).into(),
            found.least(at, samples).into(),
            found.quantile(at, 0.95, samples).into(),
            found.quantile(at, 0.99, samples).into(),
            found.peak(at, samples).into(),
        ]);
    }
    let mean = |name: &str| Cell::from(found.mean(name, samples).filter(|_| !hides));
    cells.extend([
        mean("aborted"),
        mean("on_cpu"),
        mean("on_lock"),
        found.peak(SPREADS.len(), samples).filter(|_| !hides).into(),
        mean("on_client"),
        mean("on_io"),
        found.mean("disabled", samples).into(),
        found.sum("opened").into(),
        per_s(found.sum("opened"), covered_us).into(),
    ]);
    for which in 0..3 {
        cells.push(counted.and_then(|counted| counted.mean(which)).into());
    }
    for which in 3..7 {
        cells.push(counted.map(|counted| counted.number(which)).into());
    }
    cells.extend([covered.into(), quality(Some(step.quality))]);
    cells
}

/// Of a group of all that found no place, that is said in place of a name.
fn name(group: &Group, name: &str) -> Cell {
    if group.of.other { "(all others)".into() } else { some(name) }
}

#[pg_extern(
    schema = "perfmon",
    sql = r#"
CREATE FUNCTION perfmon.session_history(
    since timestamptz DEFAULT now() - interval '1 hour',
    until timestamptz DEFAULT now(),
    source bigint DEFAULT NULL
) RETURNS TABLE (
    "time" timestamptz,
    time_end timestamptz,
    length_ms float8,
    backend_type text,
    state text,
    wait text,
    quality text,
    sessions bigint,
    from_source bigint
) LANGUAGE c STABLE PARALLEL RESTRICTED ROWS 10000 AS 'MODULE_PATHNAME', '@FUNCTION_NAME@';
"#
)]
fn session_history(
    since: Stamp,
    until: Stamp,
    source: Option<i64>,
    fcinfo: pg_sys::FunctionCallInfo,
) -> Result<(), ErrorReport> {
    let naming = Naming { id: false, names: &[0, 1, 2] };
    Ok(put_history(&SESSION, naming, (since, until, source), fcinfo)?)
}

#[pg_extern(
    schema = "perfmon",
    sql = r#"
CREATE FUNCTION perfmon.wait_history(
    since timestamptz DEFAULT now() - interval '1 hour',
    until timestamptz DEFAULT now(),
    source bigint DEFAULT NULL
) RETURNS TABLE (
    "time" timestamptz,
    time_end timestamptz,
    length_ms float8,
    database_name text,
    user_name text,
    waited text,
    quality text,
    sessions bigint,
    from_source bigint
) LANGUAGE c STABLE PARALLEL RESTRICTED ROWS 10000 AS 'MODULE_PATHNAME', '@FUNCTION_NAME@';
"#
)]
fn wait_history(
    since: Stamp,
    until: Stamp,
    source: Option<i64>,
    fcinfo: pg_sys::FunctionCallInfo,
) -> Result<(), ErrorReport> {
    let naming = Naming { id: false, names: &[0, 1, 2] };
    Ok(put_history(&WAIT, naming, (since, until, source), fcinfo)?)
}

#[pg_extern(
    schema = "perfmon",
    sql = r#"
CREATE FUNCTION perfmon.pool_history(
    since timestamptz DEFAULT now() - interval '1 hour',
    until timestamptz DEFAULT now(),
    source bigint DEFAULT NULL
) RETURNS TABLE (
    "time" timestamptz,
    time_end timestamptz,
    length_ms float8,
    database_name text,
    user_name text,
    group_name text,
    quality text,
    open_samples bigint,
    busy_samples bigint,
    active_samples bigint,
    idle_samples bigint,
    in_transaction_samples bigint,
    active bigint,
    idle bigint,
    in_transaction bigint,
    aborted bigint,
    fastpath bigint,
    disabled bigint,
    starting bigint,
    on_cpu bigint,
    on_lock bigint,
    on_client bigint,
    on_io bigint,
    opened bigint,
    open_peak bigint,
    busy_peak bigint,
    active_peak bigint,
    idle_peak bigint,
    in_transaction_peak bigint,
    on_lock_peak bigint,
    load_samples bigint,
    place int,
    from_source bigint
) LANGUAGE c STABLE PARALLEL RESTRICTED ROWS 10000 AS 'MODULE_PATHNAME', '@FUNCTION_NAME@';
"#
)]
fn pool_history(
    since: Stamp,
    until: Stamp,
    source: Option<i64>,
    fcinfo: pg_sys::FunctionCallInfo,
) -> Result<(), ErrorReport> {
    let naming = Naming { id: false, names: &[0, 1, 2] };
    Ok(put_history(&POOL, naming, (since, until, source), fcinfo)?)
}
