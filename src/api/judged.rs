//! `slow_statements` and `seq_scans`: what the detectors say about a window, row by row.

use std::collections::HashMap;

use perfmon_core::detect::{scans, statements};
use perfmon_core::tally::Who;
use pgrx::pg_sys;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;

use super::args::{Scope, Stamp};
use super::evidence::notice_of_nodes;
use super::latency;
use super::past::notice_if_lacking;
use super::rows::{Cell, Sink};
use super::statements::say_nothing_recorded;
use crate::error::Error;
use crate::judge;
use crate::recall::{names, plans};

#[pg_extern(
    schema = "perfmon",
    sql = r#"
CREATE FUNCTION perfmon.slow_statements(
    since timestamptz DEFAULT now() - interval '1 hour',
    until timestamptz DEFAULT now(),
    source bigint DEFAULT NULL
) RETURNS TABLE (
    statement_id int,
    severity text,
    user_name text,
    query text,
    command text,
    calls bigint,
    mean_exec_ms float8,
    p95_ms float8,
    timed_calls bigint,
    threshold_ms float8,
    stddev_exec_ms float8,
    total_exec_ms float8,
    share_ratio float8,
    read_ms float8,
    write_ms float8,
    temp_ms float8,
    jit_ms float8,
    other_ms float8,
    plan_ms float8,
    rows_per_call float8,
    blocks_per_call float8,
    temp_bytes bigint,
    wal_bytes bigint,
    cause text,
    remedy text,
    plan_id bigint,
    plan_since timestamptz,
    plan_heaviest_node text,
    plan_heaviest_cost_ratio float8,
    plan_text text,
    plan_note text
) LANGUAGE c STABLE PARALLEL UNSAFE AS 'MODULE_PATHNAME', '@FUNCTION_NAME@';
"#
)]
fn slow_statements(
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
    let facts = judge::gather(&scope)?;
    // What was only timed is not judged.
    if facts.statements.iter().flatten().all(|one| one.calls == 0) {
        say_nothing_recorded(&scope)?;
    } else {
        notice_if_lacking(&scope)?;
    }
    let thresholds = judge::thresholds();
    let slow = statements::slow(&facts, &thresholds);
    let cures = statements::Cures::of(&facts, &thresholds);
    let ids = || slow.iter().map(|one| one.statement.statement_id);
    let names = named(&scope, ids())?;
    let plans = match scope.sources.first() {
        Some(source) => plans::current(*source, ids())?,
        None => HashMap::new(),
    };
    let unplanned = plans::why_none()?;
    let untimed = slow.iter().filter(|one| one.statement.p95_ms.is_none()).count();
    match untimed {
        0 => {}
        all if all == slow.len() => latency::say_not_counted(&scope),
        _ => latency::say_partly_counted(&scope),
    }
    for one in &slow {
        let s = one.statement;
        let who = names.get(&s.statement_id);
        let elsewhere = cures.tell(s, &facts, &thresholds);
        let (cause, remedy) = elsewhere.unwrap_or_else(|| statements::in_words(one));
        let plan = plans.get(&s.statement_id);
        #[allow(clippy::cast_precision_loss)]
        let blocks = s.per_call(s.blks_hit.saturating_add(s.blks_read));
        let block = u64::from(pg_sys::BLCKSZ);
        sink.put([
            Cell::Int(s.statement_id),
            one.severity.word().into(),
            who.map_or(Cell::Null, |who| who.user_name.clone()),
            who.map_or(Cell::Null, |who| who.query.clone()),
            who.map_or(Cell::Null, |who| who.command.clone()),
            s.calls.into(),
            one.mean_ms.into(),
            s.p95_ms.into(),
            Some(s.timed_calls).filter(|calls| *calls > 0).into(),
            one.threshold_ms.into(),
            s.stddev_ms.into(),
            s.exec_ms.into(),
            s.share_ratio.into(),
            one.parts.read_ms.into(),
            one.parts.write_ms.into(),
            one.parts.temp_ms.into(),
            one.parts.jit_ms.into(),
            one.parts.other_ms.into(),
            one.parts.plan_ms.into(),
            s.per_call(s.rows).into(),
            blocks.into(),
            s.temp_blks_written.saturating_mul(block).into(),
            s.wal_bytes.into(),
            cause.as_str().into(),
            remedy.as_str().into(),
            plan.map(|plan| plan.plan_id).into(),
            plan.map_or(Cell::Null, |plan| Cell::Time(plan.since)),
            plan.map_or(Cell::Null, |plan| plan.heaviest_node.clone()),
            plan.and_then(|plan| plan.heaviest_ratio).into(),
            plan.map_or(Cell::Null, |plan| plan.text.clone()),
            if plan.is_some() { Cell::Null } else { unplanned.as_str().into() },
        ])?;
    }
    Ok(())
}

/// Names of statements of the newest source, by id.
fn named(
    scope: &Scope,
    ids: impl Iterator<Item = i64>,
) -> Result<HashMap<i64, names::Statement>, Error> {
    let Some(source) = scope.sources.first().copied() else { return Ok(HashMap::new()) };
    let who: Vec<Who> =
        ids.filter_map(|id| u32::try_from(id).ok()).map(|id| (source, id)).collect();
    Ok(names::statements(&who)?.into_iter().map(|((_, id), name)| (i64::from(id), name)).collect())
}

#[pg_extern(
    schema = "perfmon",
    sql = r#"
CREATE FUNCTION perfmon.seq_scans(
    since timestamptz DEFAULT now() - interval '1 hour',
    until timestamptz DEFAULT now(),
    source bigint DEFAULT NULL
) RETURNS TABLE (
    table_name text,
    severity text,
    statement_id int,
    query text,
    filter_columns text,
    seq_scan bigint,
    seq_tup_read bigint,
    rows_per_seq_scan float8,
    rows_kept bigint,
    rows_read_per_row_kept float8,
    trend_ratio float8,
    calls bigint,
    wasted_ms float8,
    wasted_share_ratio float8,
    table_rows float8,
    table_bytes bigint,
    remedy text,
    statement text,
    samples bigint,
    rows_read_per_call float8,
    rows_kept_per_call float8,
    table_share_ratio float8
) LANGUAGE c STABLE PARALLEL UNSAFE AS 'MODULE_PATHNAME', '@FUNCTION_NAME@';
"#
)]
fn seq_scans(
    since: Stamp,
    until: Stamp,
    source: Option<i64>,
    fcinfo: pg_sys::FunctionCallInfo,
) -> Result<(), ErrorReport> {
    let scope = Scope::check(since, until, source)?;
    scope.must_be_own("seq_scans()")?;
    let mut sink = Sink::open(fcinfo);
    if !scope.has_history_or_notice()? {
        return Ok(());
    }
    let facts = judge::gather(&scope)?;
    notice_of_nodes(&scope, facts.evidence.is_none())?;
    let scans = scans::scans(&facts, &judge::thresholds());
    let ids = scans.iter().flat_map(|scan| &scan.readers).map(|r| r.statement.statement_id);
    let names = named(&scope, ids)?;
    for scan in &scans {
        for reader in &scan.readers {
            let (remedy, ddl) = scans::remedy_of(scan, reader);
            let id = reader.statement.statement_id;
            let activity = &scan.activity;
            sink.put([
                scan.table.name.as_str().into(),
                scan.severity.word().into(),
                Cell::Int(id),
                names.get(&id).map_or(Cell::Null, |name| name.query.clone()),
                scans::filters(reader).join(", ").as_str().into(),
                activity.seq_scan.into(),
                activity.seq_tup_read.into(),
                ratio(activity.seq_tup_read, activity.seq_scan).into(),
                reader.rows_kept.into(),
                read_per_kept(scan, reader).into(),
                scan.trend_ratio.into(),
                reader.statement.calls.into(),
                reader.wasted_ms.into(),
                scan.share_ratio.into(),
                scan.table.rows.into(),
                scan.table.table_bytes.into(),
                remedy.as_str().into(),
                ddl.as_deref().into(),
                reader.seen.as_ref().map(|seen| seen.samples).into(),
                reader.seen.as_ref().map(|seen| seen.read_per_call).into(),
                reader.seen.as_ref().map(|seen| seen.kept_per_call).into(),
                reader.table_share(activity.seq_tup_read).into(),
            ])?;
        }
    }
    Ok(())
}

/// By the statement's own executions, else by all that was read of the table.
fn read_per_kept(scan: &scans::Scan<'_>, reader: &scans::Reader<'_>) -> Option<f64> {
    match &reader.seen {
        Some(_) => reader.read_per_kept(),
        None => ratio(scan.activity.seq_tup_read, reader.rows_kept),
    }
}

fn ratio(a: u64, b: u64) -> Option<f64> {
    crate::recall::statements::ratio(Some(a), Some(b))
}
