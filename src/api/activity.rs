//! `recent_activity`, `activity` and `top_waits`: what sessions did and waited for, as samples saw it.

use perfmon_core::activity::ring::Record;
use perfmon_core::activity::rows::{Lookup, Of};
use perfmon_core::activity::{Kind, State, wait};
use perfmon_core::family::SESSION;
use perfmon_core::window::MINUTE_US;
use pgrx::datum::Interval;
use pgrx::pg_sys;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;

use super::args::{Scope, Stamp, now};
use super::rows::{Cell, Sink};
use super::series::edges;
use crate::error::Error;
use crate::pg::{backends, catalog};
use crate::recall::activity::{self, Doing, FINE, Statements, Step, Wait, Waits};
use crate::recall::plan::Kept;
use crate::recall::statements::{quality, ratio};
use crate::settings;
use crate::worker::{sampling, status};

/// Longest time that the ring is asked for: what it holds is less.
const LONGEST_US: i64 = 24 * 60 * MINUTE_US;

/// Sees to it that samples are kept here; says what they are worth.
pub(super) fn must_be_sampled(what: &str, scope: &Scope) -> Result<(), Error> {
    if scope.is_own() && Kept::of(&SESSION, scope).oldest().is_none() {
        status::must_be_home(what)?;
    }
    if !settings::preloaded() {
        ereport!(
            NOTICE,
            PgSqlErrorCode::ERRCODE_SUCCESSFUL_COMPLETION,
            "sessions are looked at only once a snapshot: pg_perfmon is not in shared_preload_libraries",
            "In postgresql.conf: add pg_perfmon to shared_preload_libraries, then restart the server."
        );
    }
    Ok(())
}

#[pg_extern(
    schema = "perfmon",
    sql = r#"
CREATE FUNCTION perfmon.recent_activity(span interval DEFAULT '10 minutes') RETURNS TABLE (
    "time" timestamptz,
    process_id int,
    backend_type text,
    database_name text,
    user_name text,
    application text,
    client_address text,
    state text,
    wait_class text,
    wait_event text,
    queryid bigint,
    statement_id int,
    query text,
    state_ms float8,
    transaction_ms float8
) LANGUAGE c VOLATILE PARALLEL RESTRICTED ROWS 10000 AS 'MODULE_PATHNAME', '@FUNCTION_NAME@';
"#
)]
fn recent_activity(
    span: Option<Interval>,
    fcinfo: pg_sys::FunctionCallInfo,
) -> Result<(), ErrorReport> {
    let mut sink = Sink::open(fcinfo);
    let us = span.map_or(0, |span| {
        let days = i64::from(span.months()) * 30 + i64::from(span.days());
        span.micros().saturating_add(days.saturating_mul(24 * 60 * MINUTE_US))
    });
    if us <= 0 {
        let wrong = Error::argument("the span of recent_activity() must be longer than nothing");
        return Err(wrong
            .detail("It is how far back from now to look; it was NULL, zero or negative.")
            .hint("For example: recent_activity('2 minutes').")
            .into());
    }
    // What is there now counts, however long the transaction has been running.
    let since = crate::pg::clock::wall_us().saturating_sub(us.min(LONGEST_US));
    let Some(records) = sampling::recent(since) else {
        let none = Error::prerequisite("no samples are taken")
            .detail("pg_perfmon is not in shared_preload_libraries.")
            .hint("In postgresql.conf: add pg_perfmon to shared_preload_libraries, then restart the server.");
        return Err(none.into());
    };
    let scope = Scope::of(0, now(), None);
    let mut queryids: Vec<i64> = records.iter().map(|(record, _)| record.queryid).collect();
    queryids.sort_unstable();
    queryids.dedup();
    let statements = activity::statements(&queryids, &scope.sources)?;
    let own = catalog::database_name();
    let mut names = backends::Names::default();
    for (record, pool) in &records {
        let of = pool.as_ref().map(Of::key);
        sink.put(recent(record, of, (&statements, &own), &mut names))?;
    }
    Ok(())
}

fn recent(
    record: &Record,
    of: Option<Of>,
    (statements, own): (&Statements, &str),
    names: &mut backends::Names,
) -> [Cell; 15] {
    let (database, user) = (names.database(record.database), names.user(record.user));
    let wait = names.wait(record.wait);
    let split = wait::split(&wait);
    let statement =
        (database == own).then(|| statements.get(&database, &user, record.queryid)).flatten();
    let since = |at: i64| (at > 0).then(|| (record.at - at).max(0)).map(ms);
    let (application, address) = of.map_or((None, None), |of| (of.application, of.address));
    [
        Cell::Time(record.at),
        record.pid.into(),
        Kind::of(record.kind).name().into(),
        some(&database),
        some(&user),
        application.as_deref().into(),
        address.as_deref().into(),
        some(State::of(record.state).name()),
        split.map(|(class, _)| class).into(),
        split.map(|(_, event)| event).into(),
        Some(record.queryid).filter(|id| *id != 0).into(),
        statement.and_then(|(id, _)| *id).into(),
        statement.map_or(Cell::Null, |(_, text)| text.clone()),
        since(record.since).into(),
        since(record.transaction).into(),
    ]
}

#[allow(clippy::cast_precision_loss)]
fn ms(us: i64) -> f64 {
    us as f64 / 1000.0
}

/// An empty text is none.
pub(super) fn some(text: &str) -> Cell {
    Some(text).filter(|text| !text.is_empty()).into()
}

#[pg_extern(
    schema = "perfmon",
    sql = r#"
CREATE FUNCTION perfmon.activity(
    since timestamptz DEFAULT now() - interval '1 hour',
    until timestamptz DEFAULT now(),
    step interval DEFAULT NULL,
    source bigint DEFAULT NULL
) RETURNS TABLE (
    "time" timestamptz,
    backend_type text,
    state text,
    wait_class text,
    wait_event text,
    average_sessions float8,
    share_ratio float8,
    samples bigint,
    covered_ratio float8,
    quality text
) LANGUAGE c STABLE PARALLEL RESTRICTED ROWS 2000 AS 'MODULE_PATHNAME', '@FUNCTION_NAME@';
"#
)]
fn activity(
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
    must_be_sampled("activity", &scope)?;
    let edges = edges(&scope, step, &Kept::of(&SESSION, &scope))?;
    let (series, steps) = activity::activity(&scope, edges)?;
    for (at, step) in steps.iter().enumerate() {
        let covered = (series.covered_us(at) > 0).then(|| series.covered_ratio(at));
        let place = (series.time(at), covered);
        if step.sums.is_empty() {
            sink.put(at_work(place, step, None))?;
        }
        for one in &step.sums {
            sink.put(at_work(place, step, Some(one)))?;
        }
    }
    Ok(())
}

/// A step in which nobody was at work is a zero, one without samples a gap.
#[allow(clippy::cast_precision_loss)]
fn at_work(
    (time, covered): (i64, Option<f64>),
    step: &Step,
    one: Option<(&Doing, &u64)>,
) -> [Cell; 10] {
    let known = covered.filter(|_| step.samples > 0);
    let sum = one.map_or(0, |(_, sum)| *sum);
    let all: u64 = step.sums.values().sum();
    let split = one.and_then(|(doing, _)| wait::split(&doing.wait));
    [
        Cell::Time(time),
        one.map_or(Cell::Null, |(doing, _)| some(&doing.kind)),
        one.map_or(Cell::Null, |(doing, _)| some(&doing.state)),
        split.map(|(class, _)| class).into(),
        split.map(|(_, event)| event).into(),
        known.map(|_| sum as f64 / step.samples as f64).into(),
        ratio(Some(sum), Some(all)).into(),
        (step.samples.saturating_add(FINE / 2) / FINE).into(),
        covered.unwrap_or(0.0).into(),
        covered.map_or(Cell::Null, |_| quality(Some(step.quality))),
    ]
}

#[pg_extern(
    schema = "perfmon",
    sql = r#"
CREATE FUNCTION perfmon.top_waits(
    since timestamptz DEFAULT now() - interval '1 hour',
    until timestamptz DEFAULT now(),
    max_rows int DEFAULT 50,
    source bigint DEFAULT NULL
) RETURNS TABLE (
    database_name text,
    user_name text,
    queryid bigint,
    statement_id int,
    query text,
    state text,
    wait_class text,
    wait_event text,
    average_sessions float8,
    session_ms float8,
    share_ratio float8,
    quality text
) LANGUAGE c STABLE PARALLEL RESTRICTED ROWS 50 AS 'MODULE_PATHNAME', '@FUNCTION_NAME@';
"#
)]
fn top_waits(
    since: Stamp,
    until: Stamp,
    max_rows: Option<i32>,
    source: Option<i64>,
    fcinfo: pg_sys::FunctionCallInfo,
) -> Result<(), ErrorReport> {
    let scope = Scope::check(since, until, source)?;
    let most = max_rows.unwrap_or(i32::MAX);
    let Some(most) = usize::try_from(most).ok().filter(|most| *most > 0) else {
        let wrong = Error::argument("max_rows must be at least 1");
        return Err(wrong.hint("NULL means all.").into());
    };
    let mut sink = Sink::open(fcinfo);
    if !scope.has_history_or_notice()? {
        return Ok(());
    }
    must_be_sampled("waits", &scope)?;
    let mut waits = activity::waits(&scope)?;
    let shown = waits.all.len().min(most);
    activity::add_statements(&mut waits.all[..shown], &scope)?;
    let all = waits.all.iter().map(|wait| wait.sessions).sum();
    for wait in &waits.all[..shown] {
        sink.put(wait_cells(wait, all, &waits))?;
    }
    Ok(())
}

#[allow(clippy::cast_precision_loss)]
fn wait_cells(wait: &Wait, all: u64, waits: &Waits) -> [Cell; 12] {
    let average = (waits.samples > 0).then(|| wait.sessions as f64 / waits.samples as f64);
    let split = wait::split(&wait.waited.wait);
    let text = match (&wait.statement, wait.waited.queryid) {
        (Some((_, text)), _) => text.clone(),
        (None, None) => "(all other statements)".into(),
        _ => Cell::Null,
    };
    [
        some(&wait.database),
        some(&wait.user),
        wait.waited.queryid.filter(|id| *id != 0).into(),
        wait.statement.as_ref().and_then(|(id, _)| *id).into(),
        text,
        some(wait.waited.state.name()),
        split.map(|(class, _)| class).into(),
        split.map(|(_, event)| event).into(),
        average.into(),
        average.map(|average| average * ms(waits.covered_us)).into(),
        ratio(Some(wait.sessions), Some(all)).into(),
        quality(Some(waits.quality)),
    ]
}
