//! What hangs on tables beside their columns: defaults, checks, foreign keys and triggers; other constraints
//! are told by their indexes. And what belongs to extensions. It must never open a table that somebody holds.

use std::collections::{HashMap, HashSet};

use pgrx::pg_sys;

use super::catalog::Hash;
use crate::pg::describe;
use crate::pg::scan::{self, Moment, Only, Row};

/// Catalogs that the bindings do not name, with an index that a table leads, and columns. Their numbers have
/// not changed since ever, but for what version 18 put into pg_constraint.
pub(super) const DEFAULTS: pg_sys::Oid = pg_sys::Oid::from_u32(2604);
const DEFAULTS_BY_TABLE: u32 = 2656;
pub(super) const CONSTRAINTS: pg_sys::Oid = pg_sys::Oid::from_u32(2606);
const CONSTRAINTS_BY_TABLE: u32 = 2665;
const DEPEND: pg_sys::Oid = pg_sys::Oid::from_u32(2608);
const DEPEND_BY_REFERENCE: u32 = 2674;
const CONTYPE: u32 = 4;
const CONDEFERRABLE: u32 = 5;
const CONRELID: u32 = if cfg!(feature = "pg18") { 9 } else { 8 };

/// Gives each part's table, and a hash of the part that stays as long as it does.
pub(super) fn each(at: &Moment, mut found: impl FnMut(u32, Hash)) {
    let mut part = |row: &Row<'_>, kind: u8, table: u32, numbers: &[u32], bytes: &[u32]| {
        let mut hash = Hash::new();
        hash.add(&[kind]);
        numbers.iter().for_each(|column| hash.add(&row.oid(*column).to_le_bytes()));
        bytes.iter().for_each(|column| hash.add(&[row.byte(*column)]));
        found(row.oid(table), hash);
    };
    // A default that is altered is made anew, and so is a constraint but for these flags.
    scan::rows(DEFAULTS, None, at, |row| part(row, b'd', 2, &[1], &[]));
    scan::rows(CONSTRAINTS, None, at, |row| {
        if is_told(row) {
            let flags: Vec<u32> = (CONDEFERRABLE..CONRELID).collect();
            part(row, b'c', CONRELID, &[1], &flags);
        }
    });
    scan::rows(pg_sys::TriggerRelationId, None, at, |row| {
        if row.byte(pg_sys::Anum_pg_trigger_tgisinternal) == 0 {
            let numbers = [pg_sys::Anum_pg_trigger_oid, pg_sys::Anum_pg_trigger_tgfoid];
            let bytes = [pg_sys::Anum_pg_trigger_tgtype, pg_sys::Anum_pg_trigger_tgenabled];
            part(row, b't', pg_sys::Anum_pg_trigger_tgrelid, &numbers, &bytes);
        }
    });
}

fn is_told(row: &Row<'_>) -> bool {
    matches!(row.byte(CONTYPE), b'c' | b'f')
}

/// Defaults of a table's columns; `None` if somebody holds it.
pub(super) fn defaults(table: u32, at: &Moment) -> Option<HashMap<i16, String>> {
    let mut found = Some(HashMap::new());
    let only = Only { index: DEFAULTS_BY_TABLE, column: 2, value: table.into() };
    scan::rows(DEFAULTS, Some(only), at, |row| {
        let words = row.argument(4).and_then(|tree| describe::expression(tree, table));
        match (words, &mut found) {
            (Some(words), Some(found)) => {
                found.insert(row.int(3).unwrap_or(0), words);
            }
            _ => found = None,
        }
    });
    found
}

/// Its checks and foreign keys, as they stand in CREATE TABLE.
pub(super) fn constraints(table: u32, at: &Moment) -> Option<Vec<String>> {
    let only = Only { index: CONSTRAINTS_BY_TABLE, column: CONRELID, value: table.into() };
    in_words(CONSTRAINTS, only, at, is_told, |row| describe::constraint(row.oid(1), table))
}

/// The statements that make its triggers.
pub(super) fn triggers(table: u32, at: &Moment) -> Option<Vec<String>> {
    let only = Only {
        index: pg_sys::TriggerRelidNameIndexId,
        column: pg_sys::Anum_pg_trigger_tgrelid,
        value: table.into(),
    };
    let own = |row: &Row<'_>| row.byte(pg_sys::Anum_pg_trigger_tgisinternal) == 0;
    in_words(pg_sys::TriggerRelationId, only, at, own, |row| {
        let mut words = describe::trigger(row.oid(pg_sys::Anum_pg_trigger_oid), table)?;
        if row.byte(pg_sys::Anum_pg_trigger_tgenabled) == b'D' {
            words.push_str(" (disabled)");
        }
        Some(words)
    })
}

/// Descriptions in a steady order; `None` if one of them could not be had.
fn in_words(
    catalog: pg_sys::Oid,
    only: Only,
    at: &Moment,
    counts: impl Fn(&Row<'_>) -> bool,
    words: impl Fn(&Row<'_>) -> Option<String>,
) -> Option<Vec<String>> {
    let mut all: Vec<Option<String>> = Vec::new();
    scan::rows(catalog, Some(only), at, |row| {
        if counts(row) {
            all.push(words(row));
        }
    });
    let mut all: Vec<String> = all.into_iter().collect::<Option<_>>()?;
    all.sort_unstable();
    Some(all)
}

/// Relations and schemas that are part of an extension.
pub(super) fn members(at: &Moment) -> HashSet<u32> {
    let mut found = HashSet::new();
    // refclassid leads the index.
    let only = Only { index: DEPEND_BY_REFERENCE, column: 4, value: pg_sys::ExtensionRelationId };
    scan::rows(DEPEND, Some(only), at, |row| {
        let class = pg_sys::Oid::from(row.oid(1));
        let kinds = [pg_sys::RelationRelationId, pg_sys::NamespaceRelationId];
        if row.byte(7) == b'e' && kinds.contains(&class) {
            found.insert(row.oid(2));
        }
    });
    found
}
