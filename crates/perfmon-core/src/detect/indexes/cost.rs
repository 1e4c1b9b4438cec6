//! What it costs that a foreign key has no index: the time of the statements that read the referring
//! table whole for it.

use std::collections::HashMap;

use super::scene::Scene;
use crate::detect::per_hour;
use crate::facts::{ForeignKey, Predicate, Statement, Table, TableUse};
use crate::finding::Helped;
use crate::threshold::Threshold;

pub(super) const SCANNED_RATIO: Threshold = Threshold::ratio(
    "foreign_key_scanned_ratio",
    0.5,
    "Share of the referring table's blocks, for each row deleted or looked up, that a statement must touch to have read the table whole for it.",
    "pg_perfmon: an index touches a few blocks, a scan all of them",
);

/// The statements that read a table whole for one of its keys, and what each would save per hour; `None`
/// when none was seen to.
pub(super) fn of(scene: &Scene<'_>, table: &Table, keys: &[&ForeignKey]) -> Option<Vec<Helped>> {
    let block = scene.facts.server.block_bytes.max(1) as f64;
    let bytes: Option<i64> =
        scene.table(table.oid).map(|t| scene.leaves(t))?.iter().map(|t| t.table_bytes).sum();
    let pages = (bytes? as f64 / block).max(1.0);
    let scans = scene.window(table.oid).map_or(0, |activity| activity.seq_scan) as f64;
    let mut saved: HashMap<i64, f64> = HashMap::new();
    for statement in scene.facts.statements.iter().flatten().filter(|s| s.toplevel && !s.explains())
    {
        let wasted = keys
            .iter()
            .filter_map(|key| wasted(scene, statement, key, pages, scans))
            .fold(None, |most: Option<f64>, ms| Some(most.map_or(ms, |most| most.max(ms))));
        if let Some(ms) = wasted.and_then(|ms| per_hour(scene.facts, ms)) {
            saved.insert(statement.statement_id, ms);
        }
    }
    let mut all: Vec<Helped> = saved
        .into_iter()
        .map(|(statement_id, saved_ms_per_hour)| Helped { statement_id, saved_ms_per_hour })
        .collect();
    all.sort_by_key(|helped| helped.statement_id);
    (!all.is_empty()).then_some(all)
}

/// Whether rows are looked up by a value that the statement brings along. A join tells nothing: it may
/// begin with all rows of the other table, and then reads this one whole whatever indexes it has.
pub(super) fn looks_up(predicate: &Predicate) -> bool {
    predicate.test.is_equality() && !predicate.join
}

/// Time that one statement spends on scans of the referring table for this key, ms over the window.
fn wasted(
    scene: &Scene<'_>,
    s: &Statement,
    key: &ForeignKey,
    pages: f64,
    scans: f64,
) -> Option<f64> {
    let calls = s.calls.max(1) as f64;
    let rows = s.rows as f64 / calls;
    let uses = s.shape.iter().flat_map(|shape| &shape.tables);
    // The server looks for referring rows when a row goes, or when an update sets a column of the key.
    let moves = |one: &TableUse| match s.command.as_deref() {
        Some("DELETE") => true,
        Some("UPDATE") => one.set.iter().any(|n| key.referenced_columns.contains(n)),
        _ => false,
    };
    let parent = uses.clone().any(|one| one.oid == key.referenced && one.written && moves(one));
    let by_key = |one: &TableUse| {
        let looks = |n: &i16| one.predicates.iter().any(|p| p.attnum == *n && looks_up(p));
        one.oid == key.table && one.read && key.columns.iter().all(looks)
    };
    // Each row deleted is looked for once; a look-up reads the table once.
    let reads = match (parent, uses.clone().any(by_key)) {
        (true, _) => rows,
        (false, true) => 1.0,
        (false, false) => return None,
    };
    let blocks = s.blks_hit.saturating_add(s.blks_read) as f64 / calls;
    let least = scene.limit(&SCANNED_RATIO);
    // An update that sets a key to what it was looks for nothing: the table was not scanned so often.
    let seen = scans >= reads * calls * least;
    (reads > 0.0 && seen && blocks >= pages * reads * least)
        .then(|| s.exec_ms * (pages * reads / blocks).min(1.0))
}
