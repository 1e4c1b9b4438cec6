//! B-trees that take much more space than their content needs.

use super::scene::Scene;
use super::size::{self, Expected};
use super::{BLOATED, runnable, words};
use crate::detect::Judgement;
use crate::facts::Index;
use crate::finding::{Effort, Evidence, Finding, Severity};
use crate::threshold::Threshold;

pub(super) const BYTES: Threshold = Threshold::new(
    "bloated_index_bytes",
    10_485_760.0,
    "Space in vain from which a bloated index is told.",
    "pganalyze: 10 MB",
);
pub(super) const WARNING_BYTES: Threshold = Threshold::new(
    "bloated_index_warning_bytes",
    104_857_600.0,
    "Space in vain from which it is a warning.",
    "PgHero: 100 MB",
);
pub(super) const RATIO: Threshold = Threshold::ratio(
    "bloated_index_ratio",
    0.5,
    "Share of the index that must be in vain. After random inserts, a quarter is the healthy state.",
    "pg_perfmon: pages are two thirds full on the average after splits, where a new index fills 90 %",
);

/// Bytes of a page where the server did not say.
const BLOCK: f64 = 8192.0;

pub(super) fn look(scene: &Scene<'_>, going: impl Fn(&Index) -> bool, judgement: &mut Judgement) {
    let (mut large, mut estimated) = (0_u32, 0_u32);
    let block = match scene.facts.server.block_bytes {
        bytes if bytes > 0 => bytes as f64,
        _ => BLOCK,
    };
    for index in scene.judged() {
        let candidate =
            index.method == "btree" && index.usable() && !index.partitioned && !going(index);
        // Rows and pages were counted together; the size on disk is of another time.
        let Some(bytes) = index.pages.map(|pages| pages as f64 * block) else { continue };
        if !candidate || bytes < scene.limit(&BYTES) {
            continue;
        }
        large += 1;
        if let Some(expected) = estimate(scene, index, block) {
            estimated += 1;
            judgement.findings.extend(judge(scene, index, bytes, expected));
        }
    }
    if large > 0 && estimated == 0 {
        judgement.unknown(BLOATED);
    }
}

/// What it should take, rows that wait for a VACUUM included.
fn estimate(scene: &Scene<'_>, index: &Index, block: f64) -> Option<Expected> {
    let rows = index.rows?;
    let table = scene.table(index.table)?;
    let share = match table.rows {
        Some(all) if all > 0.0 => (rows / all).clamp(0.0, 1.0),
        _ => 1.0,
    };
    let dead = table.dead_rows.unwrap_or(0) as f64 * share;
    size::expected(index, rows + dead, block, scene.limits)
}

fn judge(scene: &Scene<'_>, index: &Index, bytes: f64, expected: Expected) -> Option<Finding> {
    let wasted = bytes - expected.most;
    let ratio = wasted / bytes;
    if wasted < scene.limit(&BYTES) || ratio < scene.limit(&RATIO) {
        return None;
    }
    let heavy = wasted >= scene.limit(&WARNING_BYTES);
    let (severity, limit) =
        if heavy { (Severity::Warning, &WARNING_BYTES) } else { (Severity::Info, &BYTES) };
    let name = words::name(&index.name);
    // A constraint that excludes cannot be rebuilt beside writers.
    let how = if index.exclusion { "" } else { "CONCURRENTLY " };
    let mut finding = Finding::new(
        BLOATED,
        severity,
        index.name.clone(),
        format!(
            "Index {name} is at least {} empty: {} of {}",
            words::percent(ratio),
            words::size(wasted),
            words::size(bytes)
        ),
        format!("Rebuild {name}."),
        "PostgreSQL manual, 25.2 and 67.4",
    );
    finding.cause = Some(
        "Many of its rows were deleted or updated faster than VACUUM made room for others; pages of a \
         B-tree are used again only when they are empty as a whole."
            .to_owned(),
    );
    finding.evidence = vec![
        Evidence::new("wasted_bytes", wasted.round(), "bytes").over(scene.limit(limit)),
        Evidence::new("wasted_ratio", ratio, "ratio").over(scene.limit(&RATIO)),
        Evidence::new("index_bytes", bytes, "bytes"),
        Evidence::new("expected_bytes", expected.bytes.round(), "bytes"),
        Evidence::new("expected_at_most_bytes", expected.most.round(), "bytes"),
        Evidence::new("rows", index.rows.unwrap_or(0.0).round(), "rows"),
    ];
    finding.impact.saved_bytes = Some(wasted as i64);
    finding.statement = runnable(format!("REINDEX INDEX {how}{};", index.name));
    finding.gain = Some(format!(
        "{} less to read and to keep in memory, and shorter scans",
        words::size(wasted)
    ));
    finding.effort = Effort::Low;
    finding.risk = if index.exclusion {
        "Writers, and queries that take the index, wait until it is rebuilt.".to_owned()
    } else {
        format!(
            "Needs room for a second copy (about {}) while it is built, reads the table twice, and waits for transactions that are older.",
            words::size(expected.bytes)
        )
    };
    Some(finding)
}
