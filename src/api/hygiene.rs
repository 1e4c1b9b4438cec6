//! `index_hygiene`: what is wrong with indexes, judged now.

use perfmon_core::detect::{self, indexes};
use perfmon_core::facts::Facts;
use perfmon_core::finding::Finding;
use pgrx::pg_sys;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;

use super::args::{Scope, now};
use super::rows::{Cell, Sink};
use crate::error::Error;
use crate::judge;

/// The window that counts writes and scans; whether an index is used is asked of the whole history.
const WINDOW_US: i64 = 3_600_000_000;

#[pg_extern(
    schema = "perfmon",
    sql = r#"
CREATE FUNCTION perfmon.index_hygiene(
    source bigint DEFAULT NULL
) RETURNS TABLE (
    kind text,
    severity text,
    table_name text,
    index_name text,
    columns text,
    index_bytes bigint,
    index_scans bigint,
    history_days float8,
    problem text,
    cause text,
    remedy text,
    statement text,
    risk text,
    saved_bytes bigint,
    evidence jsonb
) LANGUAGE c STABLE PARALLEL UNSAFE AS 'MODULE_PATHNAME', '@FUNCTION_NAME@';
"#
)]
fn index_hygiene(source: Option<i64>, fcinfo: pg_sys::FunctionCallInfo) -> Result<(), ErrorReport> {
    let now = now();
    let scope = Scope::checked(now.saturating_sub(WINDOW_US), now, source)?;
    scope.must_be_own("index_hygiene()")?;
    let mut sink = Sink::open(fcinfo);
    // What the catalog alone tells is told all the same.
    scope.has_history_or_notice()?;
    let facts = judge::gather(&scope)?;
    let judgement = detect::judge_with(&[&indexes::DETECTOR], &facts, &judge::thresholds());
    let texts = judge::may_read_texts()?;
    for mut finding in judgement.findings {
        let hidden = !texts && finding.hide_commands();
        sink.put(row(&finding, &facts, hidden)?)?;
    }
    Ok(())
}

fn row(finding: &Finding, facts: &Facts, hidden: bool) -> Result<[Cell; 15], Error> {
    let index = facts.indexes.iter().flatten().find(|index| index.name == finding.object);
    let table = index.map_or(finding.object.as_str(), |index| {
        let mut tables = facts.tables.iter().flatten();
        tables.find(|table| table.oid == index.table).map_or("", |table| table.name.as_str())
    });
    let key = |index: &perfmon_core::facts::Index| {
        index.key.iter().map(|part| part.expression.as_str()).collect::<Vec<_>>().join(", ")
    };
    let columns = index.map_or_else(|| finding.subject.clone(), key);
    #[allow(clippy::cast_precision_loss)]
    let days = index.map(|index| index.history_covered_us as f64 / 86_400e6);
    let evidence = serde_json::to_string(&finding.evidence)
        .map_err(|error| Error::internal(error.to_string()))?;
    let statement = match &finding.statement {
        None if hidden => Cell::from("<insufficient privilege>"),
        statement => statement.as_deref().into(),
    };
    Ok([
        finding.kind.as_str().into(),
        finding.severity.word().into(),
        table.into(),
        index.map(|index| index.name.as_str()).into(),
        columns.as_str().into(),
        index.and_then(|index| index.bytes).into(),
        index.and_then(|index| index.history_scans).into(),
        days.into(),
        finding.title.as_str().into(),
        finding.cause.as_deref().into(),
        finding.remedy.as_str().into(),
        statement,
        finding.risk.as_str().into(),
        finding.impact.saved_bytes.into(),
        evidence.as_str().into(),
    ])
}
