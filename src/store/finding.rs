//! Findings: what is open, what is found now, and writing the difference. It must never judge.

use std::collections::{HashMap, HashSet};

use perfmon_core::detect::Judgement;
use perfmon_core::finding::Finding;
use pgrx::datum::DatumWithOid;
use pgrx::prelude::*;

use super::{history, sql};

/// While nothing changes, scheduled evaluations write an open finding at most this often.
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
    title: String,
    cause: Option<String>,
    remedy: String,
}

/// Makes this transaction the only one that writes findings, if nobody else is.
pub(crate) fn try_lock() -> bool {
    history::table_oid("finding")
        .is_some_and(|table| sql::try_lock(table, pg_sys::ShareRowExclusiveLock))
}

/// The same, waiting for whoever is at it as long as lock_timeout allows.
pub(crate) fn wait_for_lock() -> bool {
    history::table_oid("finding")
        .is_some_and(|table| sql::wait_for_locks(&[table], pg_sys::ShareRowExclusiveLock))
}

/// Writes what changed since the last evaluation: opens, refreshes, resolves. Nothing that stands as it
/// stood is written, so that most evaluations take no transaction id; unless somebody `asked`, who wants
/// all numbers as they are now.
pub(crate) fn reconcile(source: i64, now: i64, asked: bool, judgement: &Judgement) {
    let known = known(source, now);
    let mut seen: HashSet<i64> = HashSet::new();
    let mut rows: Vec<Row<'_>> = Vec::new();
    for finding in &judgement.findings {
        let id = finding.identity(source);
        if !seen.insert(id) {
            continue;
        }
        match known.get(&id) {
            None => rows.push(Row { id, opened_at: now, finding }),
            Some(old) => {
                let stale = now.saturating_sub(old.last_seen) >= REFRESH_US || old.last_seen > now;
                let worse = old.severity != finding.severity.word();
                // Numbers move all the time; a statement that is no longer the right one must not be run, nor a process be ended
                // that is in nobody's way any more.
                let other = old.statement != finding.statement
                    || !finding.says_the_same(&old.title, old.cause.as_deref(), &old.remedy);
                if asked || old.resolved || stale || worse || other {
                    rows.push(Row { id, opened_at: old.opened_at, finding });
                }
            }
        }
    }
    // Thousands at once would take thousands of statements, or one of many megabytes.
    for some in rows.chunks(AT_ONCE) {
        write(source, now, some);
    }
    resolve(source, now, &seen, &judgement.unjudged);
}

/// Findings written by one statement.
const AT_ONCE: usize = 500;

/// One that is to be written.
struct Row<'a> {
    id: i64,
    opened_at: i64,
    finding: &'a Finding,
}

fn known(source: i64, now: i64) -> HashMap<i64, Known> {
    sql::read(
        "SELECT f.finding_id, f.opened_at, f.last_seen, f.resolved_at IS NOT NULL, f.severity,
             f.statement, f.title, f.cause, f.remedy
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
                title: row.text(7)?,
                cause: row.text(8),
                remedy: row.text(9)?,
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
fn json(value: &impl serde::Serialize) -> String {
    let text = serde_json::to_string(value).unwrap_or_else(|_| "[]".to_owned());
    if sql::holds_all_text() {
        text
    } else {
        text.chars().map(|c| if c.is_ascii() { c } else { '?' }).collect()
    }
}

fn write(source: i64, now: i64, rows: &[Row<'_>]) {
    let all = |part: fn(&Finding) -> Option<&str>| sql::texts(rows.iter().map(|r| part(r.finding)));
    let floats = |part: fn(&Finding) -> Option<f64>| -> DatumWithOid<'_> {
        let known = |r: &Row<'_>| part(r.finding).filter(|v| v.is_finite());
        rows.iter().map(known).collect::<Vec<Option<f64>>>().into()
    };
    let times = |of: &dyn Fn(&Row<'_>) -> Option<i64>| sql::times(rows.iter().map(of));
    let saved_bytes: Vec<Option<i64>> = rows.iter().map(|r| r.finding.impact.saved_bytes).collect();
    let evidence: Vec<String> = rows.iter().map(|r| json(&r.finding.evidence)).collect();
    let helped: Vec<String> = rows.iter().map(|r| json(&r.finding.helped)).collect();
    let jsons = |texts: &[String]| sql::texts(texts.iter().map(|text| Some(text.as_str())));
    sql::write(
        WRITE,
        &[
            source.into(),
            sql::time(now),
            rows.iter().map(|r| r.id).collect::<Vec<i64>>().into(),
            times(&|r| Some(r.opened_at)),
            all(|f| Some(&f.kind)),
            all(|f| Some(f.severity.word())),
            all(|f| Some(&f.object)),
            all(|f| Some(&f.subject)),
            all(|f| Some(&f.title)),
            all(|f| f.cause.as_deref()),
            jsons(&evidence),
            floats(|f| f.impact.saved_ms_per_hour),
            saved_bytes.into(),
            times(&|r| r.finding.impact.outage_at_us),
            floats(|f| f.share_ratio),
            all(|f| Some(&f.remedy)),
            all(|f| f.statement.as_deref()),
            all(|f| f.gain.as_deref()),
            all(|f| Some(f.effort.word())),
            all(|f| Some(&f.risk)),
            all(|f| Some(&f.reference)),
            jsons(&helped),
        ],
    );
}

const WRITE: &str =
    "INSERT INTO perfmon.finding AS f (source, last_seen, finding_id, opened_at, kind, severity,
         object, subject, title, cause, evidence, saved_ms_per_hour, saved_bytes, outage_at,
         share_ratio, remedy, statement, gain, effort, risk, reference, helped)
     SELECT $1, $2, w.id, w.opened_at, w.kind, w.severity, w.object, w.subject, w.title, w.cause,
         w.evidence::pg_catalog.jsonb, w.saved_ms, w.saved_bytes, w.outage_at, w.share, w.remedy,
         w.statement, w.gain, w.effort, w.risk, w.reference, w.helped::pg_catalog.jsonb
     FROM ROWS FROM (pg_catalog.unnest($3), pg_catalog.unnest($4), pg_catalog.unnest($5),
         pg_catalog.unnest($6), pg_catalog.unnest($7), pg_catalog.unnest($8),
         pg_catalog.unnest($9), pg_catalog.unnest($10), pg_catalog.unnest($11),
         pg_catalog.unnest($12), pg_catalog.unnest($13), pg_catalog.unnest($14),
         pg_catalog.unnest($15), pg_catalog.unnest($16), pg_catalog.unnest($17),
         pg_catalog.unnest($18), pg_catalog.unnest($19), pg_catalog.unnest($20),
         pg_catalog.unnest($21), pg_catalog.unnest($22))
         AS w (id, opened_at, kind, severity, object, subject, title, cause, evidence, saved_ms,
             saved_bytes, outage_at, share, remedy, statement, gain, effort, risk, reference, helped)
     ON CONFLICT (source, finding_id, opened_at) DO UPDATE SET
         last_seen = EXCLUDED.last_seen, resolved_at = NULL, severity = EXCLUDED.severity,
         title = EXCLUDED.title, cause = EXCLUDED.cause, evidence = EXCLUDED.evidence,
         saved_ms_per_hour = EXCLUDED.saved_ms_per_hour, saved_bytes = EXCLUDED.saved_bytes,
         outage_at = EXCLUDED.outage_at, share_ratio = EXCLUDED.share_ratio,
         remedy = EXCLUDED.remedy, statement = EXCLUDED.statement, gain = EXCLUDED.gain,
         effort = EXCLUDED.effort, risk = EXCLUDED.risk, reference = EXCLUDED.reference,
         helped = EXCLUDED.helped";

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
