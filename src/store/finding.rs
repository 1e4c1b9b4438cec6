//! Findings: what is open, what is found now, and writing the difference. It must never judge.

use std::collections::{HashMap, HashSet};

use perfmon_core::detect::Judgement;
use perfmon_core::finding::Finding;
use pgrx::datum::DatumWithOid;
use pgrx::prelude::*;

use super::{history, sql};

/// While nothing changes, an open finding is written at most this often.
const REFRESH_US: i64 = 3_600_000_000;
/// A problem that comes back within this time never went away.
const REOPEN_US: i64 = 3_600_000_000;

/// One that is open, or was a while ago.
struct Known {
    opened_at: i64,
    last_seen: i64,
    resolved: bool,
    severity: String,
    statement: Option<String>,
}

/// Makes this transaction the only one that writes findings, if nobody else is.
pub(crate) fn try_lock() -> bool {
    history::table_oid("finding")
        .is_some_and(|table| sql::try_lock(table, pg_sys::ShareRowExclusiveLock))
}

/// Writes what changed since the last evaluation: opens, refreshes, resolves. Nothing that stands as it
/// stood is written, so that most evaluations take no transaction id.
pub(crate) fn reconcile(source: i64, now: i64, judgement: &Judgement) {
    let known = known(source, now);
    let mut seen: HashSet<i64> = HashSet::new();
    for finding in &judgement.findings {
        let id = finding.identity(source);
        if !seen.insert(id) {
            continue;
        }
        match known.get(&id) {
            None => write(source, id, now, now, finding),
            Some(old) => {
                let stale = now.saturating_sub(old.last_seen) >= REFRESH_US || old.last_seen > now;
                let worse = old.severity != finding.severity.word();
                // Numbers move all the time; a statement that is no longer the right one must not be run.
                let other = old.statement != finding.statement;
                if old.resolved || stale || worse || other {
                    write(source, id, old.opened_at, now, finding);
                }
            }
        }
    }
    resolve(source, now, &seen, &judgement.unjudged);
}

fn known(source: i64, now: i64) -> HashMap<i64, Known> {
    sql::read(
        "SELECT f.finding_id, f.opened_at, f.last_seen, f.resolved_at IS NOT NULL, f.severity,
             f.statement
         FROM perfmon.finding f
         WHERE f.source OPERATOR(pg_catalog.=) $1
             AND (f.resolved_at IS NULL OR f.resolved_at OPERATOR(pg_catalog.>) $2)
         ORDER BY f.opened_at",
        &[source.into(), sql::time(now.saturating_sub(REOPEN_US))],
        |row| {
            let known = Known {
                opened_at: row.time(2)?,
                last_seen: row.time(3)?,
                resolved: row.get(4)?,
                severity: row.text(5)?,
                statement: row.text(6),
            };
            Some((row.get::<i64>(1)?, known))
        },
    )
    .into_iter()
    .flatten()
    .collect()
}

/// As the text of a `jsonb`; its own words are ASCII, and a name that is not loses its odd letters
/// rather than the row.
fn json<'a>(value: &impl serde::Serialize) -> DatumWithOid<'a> {
    let text = serde_json::to_string(value).unwrap_or_else(|_| "[]".to_owned());
    sql::text(&if sql::holds_all_text() {
        text
    } else {
        text.chars().map(|c| if c.is_ascii() { c } else { '?' }).collect()
    })
}

fn float<'a>(value: Option<f64>) -> DatumWithOid<'a> {
    value.filter(|v| v.is_finite()).into()
}

fn write(source: i64, id: i64, opened_at: i64, now: i64, finding: &Finding) {
    let outage = finding
        .impact
        .outage_at_us
        .map_or_else(|| DatumWithOid::null_oid(pg_sys::TIMESTAMPTZOID), sql::time);
    sql::write(
        "INSERT INTO perfmon.finding AS f (source, finding_id, opened_at, last_seen, kind, severity,
             object, subject, title, cause, evidence, saved_ms_per_hour, saved_bytes, outage_at,
             share_ratio, remedy, statement, gain, effort, risk, reference, helped)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11::pg_catalog.jsonb, $12, $13, $14, $15, $16, $17, $18, $19,
             $20, $21, $22::pg_catalog.jsonb)
         ON CONFLICT (source, finding_id, opened_at) DO UPDATE SET
             last_seen = EXCLUDED.last_seen, resolved_at = NULL, severity = EXCLUDED.severity,
             title = EXCLUDED.title, cause = EXCLUDED.cause, evidence = EXCLUDED.evidence,
             saved_ms_per_hour = EXCLUDED.saved_ms_per_hour, saved_bytes = EXCLUDED.saved_bytes,
             outage_at = EXCLUDED.outage_at, share_ratio = EXCLUDED.share_ratio,
             remedy = EXCLUDED.remedy, statement = EXCLUDED.statement, gain = EXCLUDED.gain,
             effort = EXCLUDED.effort, risk = EXCLUDED.risk, reference = EXCLUDED.reference,
             helped = EXCLUDED.helped",
        &[
            source.into(),
            id.into(),
            sql::time(opened_at),
            sql::time(now),
            sql::text(&finding.kind),
            sql::text(finding.severity.word()),
            sql::text(&finding.object),
            sql::text(&finding.subject),
            sql::text(&finding.title),
            sql::optional_text(finding.cause.as_deref()),
            json(&finding.evidence),
            float(finding.impact.saved_ms_per_hour),
            finding.impact.saved_bytes.into(),
            outage,
            float(finding.share_ratio),
            sql::text(&finding.remedy),
            sql::optional_text(finding.statement.as_deref()),
            sql::optional_text(finding.gain.as_deref()),
            sql::text(finding.effort.word()),
            sql::text(&finding.risk),
            sql::text(&finding.reference),
            json(&finding.helped),
        ],
    );
}

/// Closes what is open and was not found, but for kinds about which nothing could be said.
fn resolve(source: i64, now: i64, seen: &HashSet<i64>, unjudged: &[&'static str]) {
    let gone: Vec<i64> = sql::read(
        "SELECT f.finding_id, f.kind FROM perfmon.finding f
         WHERE f.source OPERATOR(pg_catalog.=) $1 AND f.resolved_at IS NULL",
        &[source.into()],
        |row| Some((row.get::<i64>(1)?, row.text(2)?)),
    )
    .into_iter()
    .flatten()
    .filter(|(id, kind)| !seen.contains(id) && !unjudged.contains(&kind.as_str()))
    .map(|(id, _)| id)
    .collect();
    if gone.is_empty() {
        return;
    }
    sql::write(
        "UPDATE perfmon.finding AS f SET resolved_at = $3
         WHERE f.source OPERATOR(pg_catalog.=) $1 AND f.finding_id OPERATOR(pg_catalog.=) ANY ($2)
             AND f.resolved_at IS NULL",
        &[source.into(), gone.into(), sql::time(now)],
    );
}

/// How many are open.
pub(crate) fn open(source: i64) -> i64 {
    sql::first(
        "SELECT pg_catalog.count(*) FROM perfmon.finding f
         WHERE f.source OPERATOR(pg_catalog.=) $1 AND f.resolved_at IS NULL",
        &[source.into()],
        |row| row.get(1),
    )
    .unwrap_or(0)
}

/// Thresholds that the user set.
pub(crate) fn thresholds() -> Vec<(String, f64)> {
    sql::read("SELECT t.name, t.value FROM perfmon.threshold t", &[], |row| {
        Some((row.text(1)?, row.get::<f64>(2)?))
    })
    .into_iter()
    .flatten()
    .collect()
}

/// Sets a threshold, or puts the default back.
pub(crate) fn set_threshold(name: &str, value: Option<f64>, now: i64) {
    match value {
        Some(value) => sql::write(
            "INSERT INTO perfmon.threshold AS t (name, value, set_at) VALUES ($1, $2, $3)
             ON CONFLICT (name) DO UPDATE SET value = EXCLUDED.value, set_at = EXCLUDED.set_at",
            &[sql::text(name), value.into(), sql::time(now)],
        ),
        None => sql::write(
            "DELETE FROM perfmon.threshold t WHERE t.name OPERATOR(pg_catalog.=) $1",
            &[sql::text(name)],
        ),
    };
}
