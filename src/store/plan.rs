//! Plans of statements and what is known of each, and plans that took the place of another. Must never judge one.

use std::collections::HashMap;

use perfmon_core::plan::flip::{Flip, Stretch};

use super::sql;

/// Plans and flips kept of a statement, and plans of a source.
pub(crate) const PLANS: usize = 10;
const FLIPS: i64 = 10;
const PLANS_IN_ALL: i64 = 5_000;

/// A plan as it stands in the table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Known {
    pub(crate) first_seen: i64,
    pub(crate) stretch: Stretch,
    /// One of its forms is there.
    pub(crate) printed: bool,
}

/// What was seen of a plan since it was written last; times in microseconds since the Unix epoch.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seen {
    pub(crate) statement_id: u32,
    pub(crate) stretch: Stretch,
    pub(crate) calls: u64,
    pub(crate) total_us: u64,
    pub(crate) max_us: u64,
    pub(crate) sampled: u64,
    pub(crate) sampled_us: u64,
}

/// A plan that was printed.
#[derive(Debug, Clone)]
pub(crate) struct Printed {
    pub(crate) statement_id: u32,
    pub(crate) plan: i64,
    pub(crate) at: i64,
    pub(crate) cost: Option<f64>,
    pub(crate) heaviest: Option<(String, f64)>,
    pub(crate) constants: bool,
    pub(crate) text: Option<String>,
    pub(crate) json: Option<String>,
}

/// The plans of some statements. A read.
pub(crate) fn known(source: i64, statements: &[u32]) -> HashMap<u32, Vec<Known>> {
    let rows = sql::read(
        "SELECT p.statement_id, p.plan_id, p.first_seen, p.stretch_since, p.last_seen,
             p.printed_at IS NOT NULL
         FROM perfmon.plan p
         WHERE p.source OPERATOR(pg_catalog.=) $1
             AND p.statement_id OPERATOR(pg_catalog.=) ANY ($2)",
        &[source.into(), ids(statements.iter().copied()).into()],
        |row| {
            let stretch = Stretch { plan: row.get(2)?, since: row.time(4)?, until: row.time(5)? };
            let known = Known { first_seen: row.time(3)?, stretch, printed: row.get(6)? };
            Some((u32::try_from(row.get::<i32>(1)?).ok()?, known))
        },
    );
    let mut all: HashMap<u32, Vec<Known>> = HashMap::new();
    for (statement, known) in rows.into_iter().flatten() {
        all.entry(statement).or_default().push(known);
    }
    all
}

/// The plans that some statements flipped to last. A read.
pub(crate) fn flipped_to(source: i64, statements: &[u32]) -> HashMap<u32, i64> {
    sql::read(
        "SELECT DISTINCT ON (f.statement_id) f.statement_id, f.after_plan_id
         FROM perfmon.plan_flip f
         WHERE f.source OPERATOR(pg_catalog.=) $1
             AND f.statement_id OPERATOR(pg_catalog.=) ANY ($2)
         ORDER BY f.statement_id, f.at DESC",
        &[source.into(), ids(statements.iter().copied()).into()],
        |row| Some((u32::try_from(row.get::<i32>(1)?).ok()?, row.get::<i64>(2)?)),
    )
    .into_iter()
    .flatten()
    .collect()
}

fn ids(statements: impl Iterator<Item = u32>) -> Vec<i32> {
    statements.filter_map(|id| i32::try_from(id).ok()).collect()
}

/// Adds what was seen. A plan and statement may come once only.
pub(crate) fn add(source: i64, seen: &[Seen]) {
    if seen.is_empty() {
        return;
    }
    let counts = |of: fn(&Seen) -> u64| {
        seen.iter().map(|s| i64::try_from(of(s)).unwrap_or(i64::MAX)).collect::<Vec<i64>>()
    };
    let arguments: [sql::Arg<'_>; 10] = [
        source.into(),
        seen.iter().map(|s| s.statement_id as i32).collect::<Vec<i32>>().into(),
        seen.iter().map(|s| s.stretch.plan).collect::<Vec<i64>>().into(),
        sql::times(seen.iter().map(|s| Some(s.stretch.since))),
        sql::times(seen.iter().map(|s| Some(s.stretch.until))),
        counts(|s| s.calls).into(),
        counts(|s| s.total_us).into(),
        counts(|s| s.max_us).into(),
        counts(|s| s.sampled).into(),
        counts(|s| s.sampled_us).into(),
    ];
    const SEEN: &str = "ROWS FROM (pg_catalog.unnest($2), pg_catalog.unnest($3), pg_catalog.unnest($4),
             pg_catalog.unnest($5), pg_catalog.unnest($6), pg_catalog.unnest($7),
             pg_catalog.unnest($8), pg_catalog.unnest($9), pg_catalog.unnest($10))
             AS s (statement_id, plan_id, since, until, calls, total_us, max_us, sampled_calls, sampled_us)";
    // Nobody else writes here, and an update writes less to the log than an insertion that finds a conflict. The list
    // keeps the planner, which does not know how few there are, from reading the whole table.
    let known = sql::write(
        &format!(
            "UPDATE perfmon.plan p SET
                 stretch_since = s.since,
                 last_seen = GREATEST(p.last_seen, s.until),
                 calls = p.calls OPERATOR(pg_catalog.+) s.calls,
                 total_us = p.total_us OPERATOR(pg_catalog.+) s.total_us,
                 max_us = GREATEST(p.max_us, s.max_us),
                 sampled_calls = p.sampled_calls OPERATOR(pg_catalog.+) s.sampled_calls,
                 sampled_us = p.sampled_us OPERATOR(pg_catalog.+) s.sampled_us
             FROM {SEEN}
             WHERE p.source OPERATOR(pg_catalog.=) $1
                 AND p.statement_id OPERATOR(pg_catalog.=) ANY ($2)
                 AND p.statement_id OPERATOR(pg_catalog.=) s.statement_id
                 AND p.plan_id OPERATOR(pg_catalog.=) s.plan_id"
        ),
        &arguments,
    );
    if known == seen.len() as u64 {
        return;
    }
    sql::write(
        &format!(
            "INSERT INTO perfmon.plan AS p (source, statement_id, plan_id, first_seen, stretch_since, last_seen,
                 calls, total_us, max_us, sampled_calls, sampled_us)
             SELECT $1, s.statement_id, s.plan_id, s.since, s.since, s.until, s.calls, s.total_us, s.max_us,
                 s.sampled_calls, s.sampled_us
             FROM {SEEN}
             ON CONFLICT DO NOTHING"
        ),
        &arguments,
    );
}

/// Keeps the forms of plans, the newest in place of earlier ones. A plan and statement may come once only.
pub(crate) fn keep(source: i64, printed: &[Printed]) {
    if printed.is_empty() {
        return;
    }
    let heaviest = |p: &Printed| p.heaviest.as_ref().map(|(_, ratio)| *ratio);
    sql::write(
        "INSERT INTO perfmon.plan AS p (source, statement_id, plan_id, first_seen, stretch_since, last_seen,
             calls, total_us, max_us, sampled_calls, sampled_us, printed_at, cost, heaviest_node,
             heaviest_ratio, has_constants, plan_text, plan_json)
         SELECT $1, k.statement_id, k.plan_id, k.at, k.at, k.at, 0, 0, 0, 0, 0, k.at, k.cost, k.node, k.ratio,
             k.constants, k.plan_text, k.plan_json::pg_catalog.json
         FROM ROWS FROM (pg_catalog.unnest($2), pg_catalog.unnest($3), pg_catalog.unnest($4),
             pg_catalog.unnest($5), pg_catalog.unnest($6), pg_catalog.unnest($7),
             pg_catalog.unnest($8), pg_catalog.unnest($9), pg_catalog.unnest($10))
             AS k (statement_id, plan_id, at, cost, node, ratio, constants, plan_text, plan_json)
         ON CONFLICT (source, statement_id, plan_id) DO UPDATE SET
             printed_at = EXCLUDED.printed_at, cost = EXCLUDED.cost, heaviest_node = EXCLUDED.heaviest_node,
             heaviest_ratio = EXCLUDED.heaviest_ratio, has_constants = EXCLUDED.has_constants,
             plan_text = EXCLUDED.plan_text, plan_json = EXCLUDED.plan_json",
        &[
            source.into(),
            printed.iter().map(|p| p.statement_id as i32).collect::<Vec<i32>>().into(),
            printed.iter().map(|p| p.plan).collect::<Vec<i64>>().into(),
            sql::times(printed.iter().map(|p| Some(p.at))),
            printed.iter().map(|p| p.cost).collect::<Vec<Option<f64>>>().into(),
            sql::texts(printed.iter().map(|p| p.heaviest.as_ref().map(|(node, _)| node.as_str()))),
            printed.iter().map(heaviest).collect::<Vec<Option<f64>>>().into(),
            printed.iter().map(|p| p.constants).collect::<Vec<bool>>().into(),
            sql::texts(printed.iter().map(|p| p.text.as_deref())),
            sql::texts(printed.iter().map(|p| p.json.as_deref())),
        ],
    );
}

/// Writes flips.
pub(crate) fn record(source: i64, flips: &[(u32, Flip)]) {
    for (statement, flip) in flips {
        sql::write(
            "INSERT INTO perfmon.plan_flip (source, statement_id, at, before_plan_id, after_plan_id, last_before)
             VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING",
            &[
                source.into(),
                (*statement as i32).into(),
                sql::time(flip.at),
                flip.before.into(),
                flip.after.into(),
                sql::time(flip.last_before),
            ],
        );
    }
}

/// What a plan mostly does, in words.
pub(crate) fn heaviest(source: i64, statement: u32, plan: i64) -> Option<String> {
    sql::first(
        "SELECT p.heaviest_node FROM perfmon.plan p
         WHERE p.source OPERATOR(pg_catalog.=) $1 AND p.statement_id OPERATOR(pg_catalog.=) $2
             AND p.plan_id OPERATOR(pg_catalog.=) $3",
        &[source.into(), (statement as i32).into(), plan.into()],
        |row| row.text(1),
    )
}

/// Removes what was seen last before a time, and of a statement with many plans or flips the oldest; of some statements
/// only, or of all. The plans of a flip stay as long as it does.
pub(crate) fn trim(source: i64, before: Option<i64>, statements: Option<&[u32]>) {
    let only: Option<Vec<i32>> = statements.map(|statements| ids(statements.iter().copied()));
    let (of, at_most) = match only {
        Some(_) => ("AND x.statement_id OPERATOR(pg_catalog.=) ANY ($4)", i64::MAX),
        None => ("AND $4::pg_catalog.int4[] IS NULL", PLANS_IN_ALL),
    };
    let limit = || before.map_or_else(sql::no_time, sql::time);
    sql::write(
        &format!("DELETE FROM perfmon.plan_flip f USING (
                 SELECT x.statement_id, x.at, pg_catalog.row_number() OVER (
                 PARTITION BY x.statement_id ORDER BY x.at DESC) AS place
             FROM perfmon.plan_flip x WHERE x.source OPERATOR(pg_catalog.=) $1 {of}) o
         WHERE f.source OPERATOR(pg_catalog.=) $1
             AND f.statement_id OPERATOR(pg_catalog.=) o.statement_id AND f.at OPERATOR(pg_catalog.=) o.at
             AND (o.place OPERATOR(pg_catalog.>) $2 OR f.at OPERATOR(pg_catalog.<) $3)"),
        &[source.into(), FLIPS.into(), limit(), only.clone().into()],
    );
    sql::write(
        &format!("DELETE FROM perfmon.plan p USING (
             SELECT x.statement_id, x.plan_id,
                 pg_catalog.row_number() OVER (
                     PARTITION BY x.statement_id ORDER BY x.last_seen DESC) AS place,
                 pg_catalog.row_number() OVER (ORDER BY x.last_seen DESC) AS place_in_all
             FROM perfmon.plan x WHERE x.source OPERATOR(pg_catalog.=) $1 {of}) o
         WHERE p.source OPERATOR(pg_catalog.=) $1
             AND p.statement_id OPERATOR(pg_catalog.=) o.statement_id
             AND p.plan_id OPERATOR(pg_catalog.=) o.plan_id
             AND (o.place_in_all OPERATOR(pg_catalog.>) $5
                 OR ((o.place OPERATOR(pg_catalog.>) $2 OR p.last_seen OPERATOR(pg_catalog.<) $3)
                     AND NOT EXISTS (
                         SELECT 1 FROM perfmon.plan_flip f
                         WHERE f.source OPERATOR(pg_catalog.=) $1
                             AND f.statement_id OPERATOR(pg_catalog.=) p.statement_id
                             AND p.plan_id OPERATOR(pg_catalog.=) ANY (ARRAY[f.before_plan_id, f.after_plan_id]))))"),
        &[source.into(), (PLANS as i64).into(), limit(), only.into(), at_most.into()],
    );
}
