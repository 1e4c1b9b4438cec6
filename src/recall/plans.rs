//! Plans of statements and their flips, as far as the caller may see them.

use std::collections::HashMap;

use perfmon_core::plan::flip;

use super::absent;
use super::cell::Cell;
use super::counting::Missing;
use super::scope::Scope;
use super::{names, query};
use crate::error::Error;

/// Of the plans that a statement has in use, the one that took most time.
#[derive(Debug, Clone)]
pub(crate) struct Current {
    pub(crate) plan_id: i64,
    /// When it took the place of another plan, else when it was seen first.
    pub(crate) since: i64,
    pub(crate) heaviest_node: Cell,
    pub(crate) heaviest_ratio: Option<f64>,
    pub(crate) text: Cell,
    /// How many others are in use.
    pub(crate) beside: i64,
}

/// The plans of some statements of a source, by their ids. Plans for other values of parameters, or in other sessions,
/// are in use side by side: those that were seen as lately as any, and whose place no other plan took.
pub(crate) fn current(
    source: i64,
    statements: impl Iterator<Item = i64>,
) -> Result<HashMap<i64, Current>, Error> {
    let ids: Vec<i32> = statements.filter_map(|id| i32::try_from(id).ok()).collect();
    let rows = query::rows(
        "WITH known AS (
             SELECT p.*, pg_catalog.max(p.last_seen) OVER (PARTITION BY p.statement_id) AS newest
             FROM perfmon.plan_shown p
             WHERE p.source OPERATOR(pg_catalog.=) $1 AND p.statement_id OPERATOR(pg_catalog.=) ANY ($2)
         ), used AS (
             SELECT k.*, pg_catalog.count(*) OVER (PARTITION BY k.statement_id) AS plans
             FROM known k
             WHERE k.last_seen OPERATOR(pg_catalog.=) k.newest
                 OR (k.last_seen OPERATOR(pg_catalog.>=)
                         (k.newest OPERATOR(pg_catalog.-) pg_catalog.make_interval(secs => $3::pg_catalog.float8))
                     AND NOT EXISTS (
                         SELECT FROM perfmon.plan_flip f
                         WHERE f.source OPERATOR(pg_catalog.=) k.source
                             AND f.statement_id OPERATOR(pg_catalog.=) k.statement_id
                             AND f.before_plan_id OPERATOR(pg_catalog.=) k.plan_id
                             AND f.at OPERATOR(pg_catalog.>) k.last_seen))
         )
         SELECT DISTINCT ON (u.statement_id) u.statement_id, u.plan_id,
             COALESCE((SELECT pg_catalog.max(f.at) FROM perfmon.plan_flip f
                       WHERE f.source OPERATOR(pg_catalog.=) u.source
                           AND f.statement_id OPERATOR(pg_catalog.=) u.statement_id
                           AND f.after_plan_id OPERATOR(pg_catalog.=) u.plan_id), u.first_seen),
             u.heaviest_node, u.heaviest_ratio, u.plan_text, u.plans OPERATOR(pg_catalog.-) 1
         FROM used u
         ORDER BY u.statement_id, u.total_us DESC, u.plan_id",
        &[source.into(), ids.into(), (flip::APART_US / 1_000_000).into()],
    )?;
    let plan = |row: Vec<Cell>| {
        let [statement, plan, since, node, ratio, text, beside] =
            <[Cell; 7]>::try_from(row).ok()?;
        let current = Current {
            plan_id: plan.int()?,
            since: since.int()?,
            heaviest_node: node,
            heaviest_ratio: ratio.float(),
            text,
            beside: beside.int()?,
        };
        Some((statement.int()?, current))
    };
    Ok(rows.into_iter().filter_map(plan).collect())
}

/// Why there is no plan of a statement.
pub(crate) fn why_none() -> Result<String, Error> {
    const NOT_YET: &str = "not seen yet: an execution that takes pg_perfmon.plan_min_duration, or one of the next of a statement with much of the time, shows it";
    let why = |missing: Missing| format!("not recorded, as {}: {}", missing.problem, missing.fix);
    Ok(absent::plans()?.map_or_else(|| NOT_YET.to_owned(), why))
}

/// A row as it is shown; its columns are those of the function that shows it.
type Row = Vec<Cell>;

/// Plans of one statement or of all, those of a statement with the newest first: statement, plan, whether it was the
/// last one seen, first and last seen, calls, mean and longest time, sampled calls and their mean, cost, heaviest
/// node and its share, whether constants were kept, text, JSON, source.
pub(crate) fn plans(sources: &[i64], statement: Option<i32>) -> Result<Vec<Row>, Error> {
    let meant = statement.map(|id| names::meant(sources, id)).transpose()?;
    let (of, ids) = names::split(meant.as_deref().unwrap_or_default());
    query::rows(
        "SELECT p.statement_id, p.plan_id,
             p.last_seen OPERATOR(pg_catalog.=) pg_catalog.max(p.last_seen) OVER (
                 PARTITION BY p.source, p.statement_id),
             p.first_seen, p.last_seen, p.calls,
             p.total_us OPERATOR(pg_catalog./) NULLIF(p.calls, 0)::pg_catalog.float8
                 OPERATOR(pg_catalog./) 1000.0::pg_catalog.float8,
             CASE WHEN p.calls OPERATOR(pg_catalog.>) 0
                 THEN p.max_us OPERATOR(pg_catalog./) 1000.0::pg_catalog.float8 END,
             p.sampled_calls,
             p.sampled_us OPERATOR(pg_catalog./) NULLIF(p.sampled_calls, 0)::pg_catalog.float8
                 OPERATOR(pg_catalog./) 1000.0::pg_catalog.float8,
             p.cost, p.heaviest_node, p.heaviest_ratio, p.has_constants, p.plan_text,
             p.plan_json::pg_catalog.text, p.source
         FROM perfmon.plan_shown p
         WHERE p.source OPERATOR(pg_catalog.=) ANY ($1)
             AND ($2 OR EXISTS (
                 SELECT FROM ROWS FROM (pg_catalog.unnest($3), pg_catalog.unnest($4)) AS m (source, statement_id)
                 WHERE m.source OPERATOR(pg_catalog.=) p.source
                     AND m.statement_id OPERATOR(pg_catalog.=) p.statement_id))
         ORDER BY p.statement_id, p.last_seen DESC, p.plan_id",
        &[sources.to_vec().into(), meant.is_none().into(), of.into(), ids.into()],
    )
}

/// Flips of the window, oldest first: time, statement, last time with the plan before; of the plan before and of the
/// one after: the plan, calls, mean of all known, sampled calls, mean of the sampled, heaviest node, text; source.
pub(crate) fn flips(scope: &Scope) -> Result<Vec<Row>, Error> {
    query::rows(
        "SELECT f.at, f.statement_id, f.last_before,
             f.before_plan_id, b.calls, b.mean_ms, b.sampled_calls, b.sampled_ms, b.heaviest_node, b.plan_text,
             f.after_plan_id, a.calls, a.mean_ms, a.sampled_calls, a.sampled_ms, a.heaviest_node, a.plan_text,
             f.source
         FROM perfmon.plan_flip f
         LEFT JOIN LATERAL (
             SELECT p.calls, p.sampled_calls, p.heaviest_node, p.plan_text,
                 p.total_us OPERATOR(pg_catalog./) NULLIF(p.calls, 0)::pg_catalog.float8
                     OPERATOR(pg_catalog./) 1000.0::pg_catalog.float8 AS mean_ms,
                 p.sampled_us OPERATOR(pg_catalog./) NULLIF(p.sampled_calls, 0)::pg_catalog.float8
                     OPERATOR(pg_catalog./) 1000.0::pg_catalog.float8 AS sampled_ms
             FROM perfmon.plan_shown p
             WHERE p.source OPERATOR(pg_catalog.=) f.source
                 AND p.statement_id OPERATOR(pg_catalog.=) f.statement_id
                 AND p.plan_id OPERATOR(pg_catalog.=) f.before_plan_id) b ON true
         LEFT JOIN LATERAL (
             SELECT p.calls, p.sampled_calls, p.heaviest_node, p.plan_text,
                 p.total_us OPERATOR(pg_catalog./) NULLIF(p.calls, 0)::pg_catalog.float8
                     OPERATOR(pg_catalog./) 1000.0::pg_catalog.float8 AS mean_ms,
                 p.sampled_us OPERATOR(pg_catalog./) NULLIF(p.sampled_calls, 0)::pg_catalog.float8
                     OPERATOR(pg_catalog./) 1000.0::pg_catalog.float8 AS sampled_ms
             FROM perfmon.plan_shown p
             WHERE p.source OPERATOR(pg_catalog.=) f.source
                 AND p.statement_id OPERATOR(pg_catalog.=) f.statement_id
                 AND p.plan_id OPERATOR(pg_catalog.=) f.after_plan_id) a ON true
         WHERE f.source OPERATOR(pg_catalog.=) ANY ($1)
             AND f.at OPERATOR(pg_catalog.>) $2 AND f.at OPERATOR(pg_catalog.<=) $3
         ORDER BY f.at, f.statement_id",
        &[scope.sources.clone().into(), query::time(scope.since), query::time(scope.until)],
    )
}
