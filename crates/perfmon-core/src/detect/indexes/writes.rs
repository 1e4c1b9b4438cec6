//! Indexes that are written much more often than they are scanned.

use super::scene::{Scene, entries};
use super::{WRITE_HEAVY, way_back, words};
use crate::detect::Judgement;
use crate::facts::{Activity, Index};
use crate::finding::{Effort, Evidence, Finding, Severity};
use crate::threshold::Threshold;

pub(super) const PER_SCAN: Threshold = Threshold::new(
    "write_heavy_index_writes_per_scan",
    1_000.0,
    "Entries written for each scan from which an index costs more than it saves, most likely.",
    "pg_perfmon: a scan saves the reading of a table, an entry costs microseconds and WAL",
);
pub(super) const ROWS: Threshold = Threshold::new(
    "write_heavy_index_min_writes",
    10_000.0,
    "Entries written in the window below which nothing is said.",
    "pg_perfmon",
);
pub(super) const HOURS: Threshold = Threshold::new(
    "write_heavy_index_min_hours",
    24.0,
    "Hours of history needed to say how often an index is scanned.",
    "pg_perfmon: covers nightly jobs",
);
pub(super) const BYTES: Threshold = Threshold::new(
    "write_heavy_index_min_bytes",
    1_048_576.0,
    "Size below which nothing is said: a small index stays in memory.",
    "pg_perfmon",
);

pub(super) fn look(scene: &Scene<'_>, going: impl Fn(&Index) -> bool, judgement: &mut Judgement) {
    if scene.facts.history.covered_us == 0 || scene.facts.window.covered_us == 0 {
        judgement.unknown(WRITE_HEAVY);
        return;
    }
    for index in scene.judged() {
        let candidate = index.usable()
            && !index.enforces()
            && !index.bound()
            && !going(index)
            && !scene.is_inherited(index.table);
        if candidate && let Some(finding) = judge(scene, index) {
            judgement.add(finding);
        }
    }
}

fn judge<'a>(scene: &Scene<'a>, index: &'a Index) -> Option<Finding> {
    let activity = scene.window(index.table)?;
    let written = entries(&activity);
    let per_hour = scene.writes_per_hour(index.table)?;
    let leaves = scene.leaf_indexes(index);
    let scans: Option<u64> = leaves.iter().map(|i| i.history_scans).sum();
    let scans = scans.filter(|scans| *scans > 0)?;
    let hours = leaves.iter().map(|i| i.history_covered_us).max()? as f64 / 3600e6;
    let bytes = scene.bytes(index)?;
    // A partial index gets an entry only for the rows that it is about.
    let small = index.predicate.is_some()
        || (written as f64) < scene.limit(&ROWS)
        || (bytes as f64) < scene.limit(&BYTES);
    if small || hours < scene.limit(&HOURS) {
        return None;
    }
    let scans_per_hour = scans as f64 / hours;
    let ratio = per_hour / scans_per_hour;
    let limit = scene.limit(&PER_SCAN);
    // It was needed in this very window: the history's mean says less.
    let lately = index.window_scans.is_some_and(|n| n > 0 && written as f64 / (n as f64) < limit);
    if ratio < limit || lately {
        return None;
    }
    let mut finding = written_up(index, ratio, &activity);
    finding.impact.saved_bytes = Some(bytes);
    finding.evidence = vec![
        Evidence::new("writes_per_scan", ratio, "")
            .over(limit)
            .out_of(i64::try_from(written).unwrap_or(i64::MAX)),
        Evidence::new("entries_written_per_hour", per_hour, "rows"),
        Evidence::new("scans_per_hour", scans_per_hour, ""),
        Evidence::new("history_days", hours / 24.0, "days"),
        Evidence::new("index_bytes", bytes, "bytes"),
    ];
    if let Some(share) = hot_ratio(&activity) {
        finding.evidence.push(Evidence::new("hot_update_ratio", share, "ratio"));
    }
    Some(finding)
}

fn hot_ratio(activity: &Activity) -> Option<f64> {
    let all = activity.n_tup_upd;
    (all > 0).then(|| activity.n_tup_hot_upd.min(all) as f64 / all as f64)
}

fn written_up(index: &Index, ratio: f64, activity: &Activity) -> Finding {
    let name = words::name(&index.name);
    let mut finding = Finding::new(
        WRITE_HEAVY,
        Severity::Info,
        index.name.clone(),
        format!("Index {name} is written {} for each scan", words::amount(ratio.round(), "time")),
        format!(
            "Find out which statement needs {name} that seldom. If it can wait, drop the index, or keep it \
             for the rows that are looked for only (WHERE ...); for ranges of a large table in order, BRIN costs next to nothing."
        ),
        "PostgreSQL manual, 11.1; README.HOT",
    );
    let hot = match hot_ratio(activity) {
        Some(share) => format!(
            " Updates of its columns cannot be done in place (HOT); {} of all updates of the table are.",
            words::percent(share)
        ),
        None => String::new(),
    };
    finding.cause = Some(format!(
        "Each new row, and each update that is not done in place, writes an entry and its WAL.{hot}"
    ));
    finding.effort = Effort::Medium;
    finding.risk =
        format!("The few statements that use it get slower without it.{}", way_back(index));
    finding
}
