//! Tables about which the planner knows too little: never analysed, or much changed since.

use std::collections::HashMap;

use super::tables::MIN_COVERED_MINUTES;
use super::trigger;
use crate::detect::Judgement;
use crate::detect::words::{count, counted, date, times};
use crate::facts::{Facts, Table};
use crate::finding::{Evidence, Finding, Severity};
use crate::threshold::{Threshold, Thresholds};

pub(super) const STALE: &str = "stale_statistics";

/// Changed rows over those that start autovacuum's ANALYZE.
pub(super) const STALE_RATIO: Threshold = Threshold::new(
    "stale_statistics_factor",
    3.0,
    "rows changed since the last ANALYZE over the number that should have started one",
    "pg_perfmon: three times the share at which autovacuum analyses",
);
/// See above.
pub(super) const MIN_CHANGED_ROWS: Threshold = Threshold::new(
    "stale_statistics_changed_rows_min",
    10_000.0,
    "changed rows below which statistics are never called stale",
    "pg_perfmon: plans for fewer rows hardly differ",
);
/// For tables that were never analysed.
pub(super) const MIN_ROWS: Threshold = Threshold::new(
    "never_analyzed_rows_min",
    1_000.0,
    "rows below which a table without statistics is left in peace",
    "pg_perfmon: the planner guesses well enough for a few pages",
);

const MANUAL: &str = "PostgreSQL manual, Routine Vacuuming, Updating Planner Statistics";

pub(super) fn detect(facts: &Facts, thresholds: &Thresholds, judgement: &mut Judgement) {
    let minutes = facts.window.hours().map_or(0.0, |hours| hours * 60.0);
    let known = minutes >= thresholds.of(&MIN_COVERED_MINUTES) && !facts.server.in_recovery;
    let Some(tables) = facts.tables.as_ref().filter(|_| known) else {
        judgement.unknown(STALE);
        return;
    };
    let mut below: HashMap<u32, u64> = HashMap::new();
    for table in tables {
        if let (Some(parent), Some(rows)) = (table.parent, table.live_rows) {
            *below.entry(parent).or_default() += rows;
        }
    }
    for table in tables.iter().filter(|t| !t.internal) {
        let finding = if table.partitioned {
            let rows = below.get(&table.oid).copied().unwrap_or(0);
            never_as_a_whole(table, rows, thresholds)
        } else {
            never(table, thresholds).or_else(|| stale(facts, table, thresholds))
        };
        finding.into_iter().for_each(|finding| judgement.add(finding));
    }
}

fn queried(table: &Table) -> bool {
    table.window.is_some_and(|a| a.seq_scan + a.idx_scan > 0)
}

fn finding(table: &Table, severity: Severity, title: String) -> Finding {
    let mut finding = Finding::new(
        STALE,
        severity,
        table.name.clone(),
        title,
        "Analyse the table, so that the planner knows how many rows a condition leaves.",
        MANUAL,
    );
    finding.statement = Some(format!("ANALYZE {};", table.name));
    finding.gain = Some("Plans that fit the data.".to_owned());
    finding.risk =
        "ANALYZE reads a sample of the table; plans may change, as they are meant to.".to_owned();
    finding
}

fn never(table: &Table, thresholds: &Thresholds) -> Option<Finding> {
    let rows = table.live_rows?;
    let least = thresholds.of(&MIN_ROWS);
    // Rows that came a moment ago are for autovacuum's next round.
    let lasts = trigger::lasted(table, rows, least, |_| None);
    if table.rows.is_some() || table.last_analyze_us.is_some() || !lasts || !queried(table) {
        return None;
    }
    let title =
        format!("{} has {} and was never analysed", table.name, counted(rows as f64, "row"));
    let mut finding = finding(table, Severity::Warning, title);
    finding.cause = Some(if trigger::ignored(table) {
        "Autovacuum was told to ignore the table; nobody else analyses it.".to_owned()
    } else {
        "Neither autovacuum nor anybody else has analysed it: the planner guesses.".to_owned()
    });
    finding.evidence.push(Evidence::new("live_rows", rows, "rows").over(least));
    Some(finding)
}

fn never_as_a_whole(table: &Table, rows: u64, thresholds: &Thresholds) -> Option<Finding> {
    let least = thresholds.of(&MIN_CHANGED_ROWS);
    if table.rows.is_some() || table.last_analyze_us.is_some() || (rows as f64) < least {
        return None;
    }
    let title = format!(
        "{} is partitioned, holds {} rows, and was never analysed as a whole",
        table.name,
        count(rows as f64)
    );
    let mut finding = finding(table, Severity::Info, title);
    finding.cause = Some(
        "Autovacuum analyses partitions, never the partitioned table: joins and groups over all \
         of it are planned on guesses."
            .to_owned(),
    );
    finding.remedy = "Analyse it, and again whenever its data has changed much.".to_owned();
    finding.evidence.push(Evidence::new("live_rows", rows, "rows").over(least));
    Some(finding)
}

fn stale(facts: &Facts, table: &Table, thresholds: &Thresholds) -> Option<Finding> {
    let changed = table.mod_since_analyze?;
    let starts_at = trigger::analyze(table, &facts.server)?;
    let level = (starts_at * thresholds.of(&STALE_RATIO)).max(thresholds.of(&MIN_CHANGED_ROWS));
    if !trigger::lasted(table, changed, level, |a| a.mod_since_analyze) || !queried(table) {
        return None;
    }
    let rows = table.live_rows.map(|rows| rows as f64).or(table.rows).unwrap_or(0.0);
    let all = changed as f64 >= rows;
    let title = format!(
        "{}: {} rows changed since the last ANALYZE, {} times what should start one",
        table.name,
        count(changed as f64),
        times(changed as f64 / starts_at.max(1.0))
    );
    let severity = if all { Severity::Warning } else { Severity::Info };
    let mut finding = finding(table, severity, title);
    finding.cause = Some(
        if trigger::ignored(table) {
            "Autovacuum was told to ignore the table."
        } else if !trigger::runs(&facts.server) {
            "Autovacuum is off for the server."
        } else {
            "Autovacuum has not come round to it: its workers are busy, or gave way to locks."
        }
        .to_owned(),
    );
    finding.evidence.push(Evidence::new("rows_changed", changed, "rows").over(level));
    finding.evidence.push(Evidence::new("rows", rows as i64, "rows"));
    finding.evidence.push(Evidence::new("autoanalyze_starts_at", starts_at as i64, "rows"));
    if let Some(last) = table.last_analyze_us {
        finding.evidence.push(Evidence::new("last_analyze", date(last), ""));
    }
    Some(finding)
}
