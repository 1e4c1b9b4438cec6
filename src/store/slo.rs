//! Objectives that were declared. Must never judge whether they are kept.

use perfmon_core::objective::declare::Draft;
use pgrx::prelude::*;

use super::{history, sql};
use crate::pg::lookup::Lookup;

/// Writes an objective; false when there is one of that name.
pub(crate) fn insert(
    source: i64,
    now: i64,
    draft: &Draft,
    min_executions: u64,
    period: Interval,
    note: Option<&str>,
) -> bool {
    let statement_id = draft.statement_id.and_then(|id| i32::try_from(id).ok());
    let written = sql::write(
        "INSERT INTO perfmon.slo (name, source, cluster, user_name, application_name, statement_id, p95_ms,
             p99_ms, percentile, percentile_ms, error_ratio, throughput_per_second, availability_ratio,
             min_executions, period, note, created_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)
         ON CONFLICT DO NOTHING",
        &[
            sql::text(&draft.name),
            source.into(),
            draft.cluster.into(),
            sql::optional_text(draft.user.as_deref()),
            sql::optional_text(draft.application.as_deref()),
            statement_id.into(),
            draft.p95_ms.into(),
            draft.p99_ms.into(),
            draft.percentile.into(),
            draft.percentile_ms.into(),
            draft.error_ratio.into(),
            draft.throughput_per_second.into(),
            draft.availability_ratio.into(),
            i64::try_from(min_executions).unwrap_or(i64::MAX).into(),
            sql::interval(period),
            sql::optional_text(note),
            sql::time(now),
        ],
    );
    written > 0
}

/// Takes an objective back; false when there is none of that name.
pub(crate) fn delete(name: &str) -> bool {
    let gone = sql::write(
        "DELETE FROM perfmon.slo s WHERE s.name OPERATOR(pg_catalog.=) $1",
        &[sql::text(name)],
    );
    gone > 0
}

/// Whether an objective of the whole cluster is declared here, for the owner.
pub(crate) fn of_cluster() -> bool {
    let lookup = history::table_oid("slo").and_then(|slo| Lookup::open(slo, &[], &["cluster"]));
    let mut found = false;
    if lookup.is_some_and(|lookup| lookup.each(&[], |row| found |= row.is(0))) {
        return found;
    }
    sql::first("SELECT true FROM perfmon.slo s WHERE s.cluster LIMIT 1", &[], |row| row.get(1))
        .unwrap_or(false)
}
