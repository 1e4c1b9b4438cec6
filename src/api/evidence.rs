//! `scan_evidence`: what plans of statements read for nothing, from their own executions.

use std::collections::HashMap;

use perfmon_core::capture::scan::{Counts, Kind, Slot};
use perfmon_core::facts::evidence::unexplained;
use perfmon_core::facts::{Evidence, predicate};
use perfmon_core::family;
use perfmon_core::tally::Who;
use pgrx::pg_sys;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;

use super::args::{Scope, Stamp};
use super::errors::notice_unless_counted;
use super::history::{Naming, put_history};
use super::past::notice_if_was_off;
use super::rows::{Cell, Sink};
use crate::error::Error;
use crate::judge;
use crate::recall::statements::ratio;
use crate::recall::{absent, evidence, names};
use crate::watch::live;

#[pg_extern(
    schema = "perfmon",
    sql = r#"
CREATE FUNCTION perfmon.scan_evidence(
    since timestamptz DEFAULT now() - interval '1 hour',
    until timestamptz DEFAULT now(),
    source bigint DEFAULT NULL
) RETURNS TABLE (
    statement_id int,
    user_name text,
    query text,
    table_name text,
    node text,
    index_name text,
    conditions text,
    filter_columns text,
    calls bigint,
    statement_samples bigint,
    samples bigint,
    loops bigint,
    rows_read bigint,
    rows_kept bigint,
    rows_read_per_row_kept float8,
    rows_read_per_call float8,
    rows_kept_per_call float8,
    rows_read_scaled float8,
    table_share_ratio float8,
    rows_estimated bigint,
    spills bigint,
    spilled_bytes bigint,
    outer_rows bigint,
    outer_rows_estimated bigint,
    misestimates bigint
) LANGUAGE c STABLE PARALLEL RESTRICTED ROWS 100 AS 'MODULE_PATHNAME', '@FUNCTION_NAME@';
"#
)]
fn scan_evidence(
    since: Stamp,
    until: Stamp,
    source: Option<i64>,
    fcinfo: pg_sys::FunctionCallInfo,
) -> Result<(), ErrorReport> {
    let scope = Scope::check(since, until, source)?;
    let mut sink = Sink::open(fcinfo);
    notice_unless_counted(NODES);
    if !scope.has_history_or_notice()? {
        return Ok(());
    }
    let found = evidence::evidence(&scope)?;
    notice_if_off(&scope, found.is_none())?;
    let Some(mut found) = found else { return Ok(()) };
    // What executions asked for is no node of a plan.
    found.retain(|one| one.kind() != Some(Kind::Existence));
    let calls = evidence::calls(&scope)?;
    // Which table is a partition of which is known of the database at hand only.
    let scanned = if scope.is_own() { evidence::rows_scanned(&scope)? } else { HashMap::new() };
    let newest = scope.sources.first().copied().unwrap_or_default();
    let id = |one: &Evidence| u32::try_from(one.statement_id).unwrap_or(0);
    let who: Vec<Who> = found.iter().map(|one| (newest, id(one))).collect();
    let named = names::statements(&who)?;
    for (one, who) in found.iter().zip(&who) {
        let calls = calls.get(&one.statement_id).copied();
        let scanned = scanned.get(&one.table).map(|table| table.rows);
        sink.put(cells(one, named.get(who), calls, scanned))?;
    }
    if let Some(counts) = evidence::rest(&scope)? {
        sink.put(without_statement("rest", "", Some(&counts), None))?;
    }
    for (table, rows, share) in unexplained(&found, &calls, &scanned) {
        sink.put(without_statement("unexplained", table, None, Some((rows, share))))?;
    }
    Ok(())
}

/// What is missing without preloading.
const NODES: &str = "what plans read";

/// Says what is missing beside their plain rows, and where judgements rest on them.
pub(super) fn notice_of_nodes(scope: &Scope, is_none: bool) -> Result<(), Error> {
    notice_unless_counted(NODES);
    notice_if_off(scope, is_none)
}

/// The same, by the window alone.
pub(super) fn notice_of_rows(scope: &Scope) -> Result<(), Error> {
    notice_of_nodes(scope, evidence::evidence(scope)?.is_none())
}

/// Says why nothing is known of what plans read, by a setting of now, or of some of the window, by one of then. Without
/// preloading that has been said.
fn notice_if_off(scope: &Scope, is_none: bool) -> Result<(), Error> {
    if is_none
        && scope.is_own()
        && live::began().is_some()
        && let Some(missing) = absent::scans()?
    {
        ereport!(
            NOTICE,
            PgSqlErrorCode::ERRCODE_SUCCESSFUL_COMPLETION,
            format!("nodes of plans are not counted: {}", missing.problem),
            missing.fix
        );
        return Ok(());
    }
    notice_if_was_off(scope, family::SCAN.name, "nodes of plans")?;
    Ok(())
}

/// What is of no statement, as far as anybody knows.
fn without_statement(
    node: &str,
    table: &str,
    counts: Option<&Counts>,
    unexplained: Option<(f64, f64)>,
) -> [Cell; 25] {
    let of = |slot: Slot| counts.map(|counts| counts.get(slot));
    let mut row = [const { Cell::Null }; 25];
    row[3] = Some(table).filter(|table| !table.is_empty()).into();
    row[4] = node.into();
    row[10] = of(Slot::Executions).into();
    row[11] = of(Slot::Loops).into();
    row[12] = of(Slot::Read).into();
    row[13] = of(Slot::Kept).into();
    row[17] = unexplained.map(|(rows, _)| rows).into();
    row[18] = unexplained.map(|(_, share)| share).into();
    row
}

fn cells(
    one: &Evidence,
    named: Option<&names::Statement>,
    calls: Option<u64>,
    scanned: Option<u64>,
) -> [Cell; 25] {
    let of = |slot: Slot| one.counts.get(slot);
    let filled = |text: &str| Cell::from(Some(text).filter(|text| !text.is_empty()));
    let scaled = calls.and_then(|calls| one.scaled(Slot::Read, calls));
    let hides = one.kind() != Some(Kind::NestedLoop);
    let of_loop = |slot: Slot| if hides { Cell::Null } else { of(slot).into() };
    let unknown = of(Slot::SpilledBytes) == 0 && of(Slot::Spills) > 0;
    [
        Cell::Int(one.statement_id),
        named.map_or(Cell::Null, |named| named.user_name.clone()),
        named.map_or(Cell::Null, |named| named.query.clone()),
        filled(&one.table),
        one.node.node.as_str().into(),
        one.node.index.as_deref().into(),
        filled(&one.node.line()),
        filled(&one.node.filters().join(", ")),
        calls.into(),
        one.statement_samples.into(),
        of(Slot::Executions).into(),
        of(Slot::Loops).into(),
        of(Slot::Read).into(),
        of(Slot::Kept).into(),
        ratio(Some(of(Slot::Read)), Some(of(Slot::Kept))).into(),
        one.per_call(Slot::Read).into(),
        one.per_call(Slot::Kept).into(),
        scaled.into(),
        share(one, scaled, scanned).into(),
        of(Slot::Estimated).into(),
        of(Slot::Spills).into(),
        if unknown { Cell::Null } else { of(Slot::SpilledBytes).into() },
        of_loop(Slot::Outer),
        of_loop(Slot::OuterEstimated),
        of_loop(Slot::Misestimates),
    ]
}

/// Part of what sequential scans of the table read; an estimate, which is not more than all.
#[allow(clippy::cast_precision_loss)]
fn share(one: &Evidence, scaled: Option<f64>, scanned: Option<u64>) -> Option<f64> {
    let scanned = scanned.filter(|rows| *rows > 0 && one.kind() == Some(Kind::SeqScan))?;
    Some((scaled? / scanned as f64).min(1.0))
}

#[pg_extern(
    schema = "perfmon",
    sql = r#"
CREATE FUNCTION perfmon.scan_history(
    since timestamptz DEFAULT now() - interval '1 hour',
    until timestamptz DEFAULT now(),
    source bigint DEFAULT NULL
) RETURNS TABLE (
    "time" timestamptz,
    time_end timestamptz,
    length_ms float8,
    scan_id int,
    statement text,
    table_name text,
    node text,
    quality text,
    executions bigint,
    loops bigint,
    rows_read bigint,
    rows_kept bigint,
    rows_estimated bigint,
    spills bigint,
    spilled_bytes bigint,
    outer_rows bigint,
    outer_rows_estimated bigint,
    misestimates bigint,
    from_source bigint
) LANGUAGE c STABLE PARALLEL RESTRICTED ROWS 10000 AS 'MODULE_PATHNAME', '@FUNCTION_NAME@';
"#
)]
fn scan_history(
    since: Stamp,
    until: Stamp,
    source: Option<i64>,
    fcinfo: pg_sys::FunctionCallInfo,
) -> Result<(), ErrorReport> {
    let naming = Naming { id: true, names: &[0, 1, 2] };
    Ok(put_history(&family::SCAN, naming, (since, until, source), fcinfo)?)
}

#[pg_extern(
    schema = "perfmon",
    sql = r#"
CREATE FUNCTION perfmon.predicates(
    since timestamptz DEFAULT now() - interval '1 hour',
    until timestamptz DEFAULT now(),
    source bigint DEFAULT NULL
) RETURNS TABLE (
    statement_id int,
    table_name text,
    expression text,
    usage text,
    operator text,
    pattern text,
    samples bigint,
    rows_read bigint,
    rows_kept bigint,
    kept_ratio float8,
    alone bool
) LANGUAGE c STABLE PARALLEL UNSAFE ROWS 100 AS 'MODULE_PATHNAME', '@FUNCTION_NAME@';
"#
)]
fn predicates(
    since: Stamp,
    until: Stamp,
    source: Option<i64>,
    fcinfo: pg_sys::FunctionCallInfo,
) -> Result<(), ErrorReport> {
    let scope = Scope::check(since, until, source)?;
    scope.must_be_own("predicates()")?;
    let mut sink = Sink::open(fcinfo);
    if !scope.has_history_or_notice()? {
        return Ok(());
    }
    let facts = judge::gather(&scope)?;
    notice_of_nodes(&scope, facts.evidence.is_none())?;
    for (one, seen) in predicate::usages(&facts) {
        sink.put([
            Cell::Int(one.statement_id),
            one.table.as_str().into(),
            one.expression.as_str().into(),
            one.usage.as_str().into(),
            one.operator.as_deref().into(),
            one.pattern.as_deref().into(),
            seen.map(|seen| seen.samples).into(),
            seen.map(|seen| seen.rows_read).into(),
            seen.and_then(|seen| seen.rows_kept).into(),
            ratio(seen.and_then(|seen| seen.rows_kept), seen.map(|seen| seen.rows_read)).into(),
            seen.map_or(Cell::Null, |seen| seen.alone.into()),
        ])?;
    }
    Ok(())
}
