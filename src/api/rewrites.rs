//! `rewrite_hints`: statements that could be written in a better way.

use std::collections::HashMap;

use perfmon_core::detect::rewrite;
use perfmon_core::tally::Who;
use pgrx::pg_sys;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;

use super::args::{Scope, Stamp};
use super::past::notice_if_lacking;
use super::rows::{Cell, Sink};
use super::statements::say_nothing_recorded;
use crate::judge;
use crate::recall::names;

#[pg_extern(
    schema = "perfmon",
    sql = r#"
CREATE FUNCTION perfmon.rewrite_hints(
    since timestamptz DEFAULT now() - interval '1 hour',
    until timestamptz DEFAULT now(),
    source bigint DEFAULT NULL
) RETURNS TABLE (
    statement_id int,
    severity text,
    kind text,
    user_name text,
    query text,
    table_name text,
    expression text,
    better_form text,
    same_meaning boolean,
    reason text,
    statement text,
    calls bigint,
    mean_exec_ms float8,
    total_exec_ms float8,
    share_ratio float8,
    rows_per_call float8,
    blocks_per_call float8,
    plan_ms_per_plan float8,
    table_rows float8,
    saved_ms_per_hour float8,
    effect text,
    remedy text
) LANGUAGE c STABLE PARALLEL UNSAFE AS 'MODULE_PATHNAME', '@FUNCTION_NAME@';
"#
)]
fn rewrite_hints(
    since: Stamp,
    until: Stamp,
    source: Option<i64>,
    fcinfo: pg_sys::FunctionCallInfo,
) -> Result<(), ErrorReport> {
    let scope = Scope::check(since, until, source)?;
    scope.must_be_own("rewrite_hints()")?;
    let mut sink = Sink::open(fcinfo);
    if !scope.has_history_or_notice()? {
        return Ok(());
    }
    let facts = judge::gather(&scope)?;
    // What was only timed is not looked at.
    if facts.statements.iter().flatten().all(|one| one.calls == 0) {
        say_nothing_recorded(&scope)?;
    } else {
        notice_if_lacking(&scope)?;
    }
    let thresholds = judge::thresholds();
    let hints = rewrite::hints(&facts, &thresholds);
    let who: Vec<Who> = (hints.iter())
        .filter_map(|one| u32::try_from(one.statement.statement_id).ok())
        .filter_map(|id| Some((*scope.sources.first()?, id)))
        .collect();
    let names: HashMap<i64, names::Statement> = (names::statements(&who)?.into_iter())
        .map(|((_, id), name)| (i64::from(id), name))
        .collect();
    for one in &hints {
        let s = one.statement;
        let name = names.get(&s.statement_id);
        // What the analyser said rests on a text that the caller may read.
        let rows = one.evidence.iter().find(|e| e.metric == "table_rows").map(|e| &e.value);
        sink.put([
            Cell::Int(s.statement_id),
            one.severity.word().into(),
            one.kind.into(),
            name.map_or(Cell::Null, |name| name.user_name.clone()),
            name.map_or(Cell::Null, |name| name.query.clone()),
            one.table.map(|table| table.name.as_str()).into(),
            one.expression.as_deref().into(),
            one.better.as_deref().into(),
            Cell::Bool(one.same_meaning),
            one.reason.as_str().into(),
            one.sql.as_deref().into(),
            s.calls.into(),
            s.mean_ms().into(),
            s.exec_ms.into(),
            s.share_ratio.into(),
            s.per_call(s.rows).into(),
            s.per_call(s.blks_hit.saturating_add(s.blks_read)).into(),
            per_plan(s.plan_ms, s.plans).into(),
            number(rows).into(),
            one.saved_ms_per_hour.into(),
            one.effect.as_str().into(),
            one.remedy.as_str().into(),
        ])?;
    }
    Ok(())
}

#[allow(clippy::cast_precision_loss)]
fn per_plan(ms: Option<f64>, plans: Option<u64>) -> Option<f64> {
    Some(ms? / plans? as f64)
}

fn number(value: Option<&perfmon_core::finding::Value>) -> Option<f64> {
    match value {
        Some(perfmon_core::finding::Value::Number(number)) => Some(*number),
        _ => None,
    }
}
