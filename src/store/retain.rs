//! Lets go of old history, one table at a time, and only when nobody is in the way. It must never make
//! a reader or a writer wait longer than a tenth of a second, never drop today or what is not yet added
//! up, and never believe a clock that jumped.

use std::collections::HashMap;

use perfmon_core::family::FAMILIES;
use pgrx::prelude::*;

use super::chore::{self, Note};
use super::history::table_oid;
use super::period::{DAY_US, HOUR_US, Level, Period, level_name};
use super::{size, sql};
use crate::pg::lookup::Lookup;
use crate::settings;

/// When nothing was found to be due, look again after this.
const LOOK_EVERY: i64 = HOUR_US;
/// A table that is in use is tried again after this.
const TRY_EVERY: i64 = 60_000_000;
/// Refused that long, a lock is waited for.
const PATIENCE: i64 = DAY_US;
/// Set while the store is over its bound and there is nothing left to drop.
const SQUEEZED: &str = "squeezed";
const LOOKED: &str = "retain";
const REFUSED: &str = "refused_";

/// A table of history.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Leaf {
    name: String,
    /// The table it is a partition of.
    parent: String,
    level: Level,
    period: Period,
    /// Made ahead, and never written to.
    empty: bool,
}

/// Whether it is time to look for tables to drop.
pub(super) fn is_due(notes: &HashMap<String, Note>, now: i64) -> bool {
    chore::is_older(notes.get(LOOKED), now, LOOK_EVERY)
        || notes.iter().any(|(name, note)| name.starts_with(REFUSED) && now - note.at >= TRY_EVERY)
}

/// Drops at most one table.
pub(super) fn run(now: i64) {
    let notes = chore::notes();
    let leaves = leaves();
    let mut refused = false;
    let candidates = candidates(&leaves, &notes, now);
    note_squeeze(candidates.is_empty(), now);
    for leaf in candidates {
        let refusal = notes.get(&format!("{REFUSED}{}", leaf.name));
        if refusal.is_some_and(|note| now - note.at < TRY_EVERY && note.at <= now) {
            refused = true;
            continue;
        }
        let patient = refusal.and_then(|n| n.since).is_none_or(|since| now - since < PATIENCE);
        if drop_leaf(leaf, !patient) {
            if refusal.is_some() {
                chore::forget(&format!("{REFUSED}{}", leaf.name));
            }
            begin_period(leaf, &notes, now);
            // There may be more: look again at once.
            chore::forget(LOOKED);
            return;
        }
        refused = true;
        let since = refusal.and_then(|note| note.since).unwrap_or(now);
        chore::note(&format!("{REFUSED}{}", leaf.name), now, Some(since));
        if !patient {
            break;
        }
    }
    if !refused {
        forget_refusals(&notes);
    }
    chore::note(LOOKED, now, None);
}

/// Over the bound with nothing left to drop, rows are kept smaller until there is room again.
fn note_squeeze(nothing_to_drop: bool, now: i64) {
    let bytes = size::store_bytes();
    let bound = settings::max_size_bytes();
    if is_squeezed() {
        if bytes < bound / 10 * 9 {
            chore::forget(SQUEEZED);
        }
    } else if nothing_to_drop && bytes > bound {
        chore::note(SQUEEZED, now, None);
    }
}

/// Whether the store is over its bound and nothing can be dropped, so that rows must be kept small.
pub(crate) fn is_squeezed() -> bool {
    sql::first(
        "SELECT true FROM perfmon.chore c WHERE c.name OPERATOR(pg_catalog.=) $1",
        &[sql::text(SQUEEZED)],
        |row| row.get::<bool>(1),
    )
    .is_some()
}

/// The same for a visit, past the executor and its checks of privileges.
pub(crate) fn must_be_small() -> bool {
    let lookup = table_oid("chore").and_then(|table| Lookup::open(table, &["name"], &[]));
    let mut found = false;
    if lookup.is_some_and(|lookup| lookup.each(&[sql::text(SQUEEZED)], |_| found = true)) {
        return found;
    }
    is_squeezed()
}

/// Notes of tables that are no longer due, because someone dropped them or the setting changed.
fn forget_refusals(notes: &HashMap<String, Note>) {
    for name in notes.keys().filter(|name| name.starts_with(REFUSED)) {
        chore::forget(name);
    }
}

/// All tables of history, whatever their source.
fn leaves() -> Vec<Leaf> {
    let names = sql::read(
        "SELECT c.relname::pg_catalog.text, pg_catalog.pg_relation_filepath(c.oid)
         FROM pg_catalog.pg_class c
         WHERE c.relnamespace OPERATOR(pg_catalog.=) 'perfmon'::pg_catalog.regnamespace
             AND c.relkind OPERATOR(pg_catalog.=) 'r' AND c.relispartition",
        &[],
        |row| Some((row.get::<String>(1)?, row.get::<String>(2)?)),
    );
    let leaf = |(name, path): (String, String)| parse(&name, size::file_bytes(&path) == 0);
    names.into_iter().flatten().filter_map(leaf).collect()
}

fn parse(name: &str, empty: bool) -> Option<Leaf> {
    let (parent, suffix) = name.rsplit_once('_')?;
    let (stem, source) = parent.rsplit_once("_s")?;
    if source.len() != 16 || !source.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    let level = Level::ALL.into_iter().find(|level| {
        stem.strip_suffix(level_name(*level))
            .and_then(|family| family.strip_suffix('_'))
            .is_some_and(|family| FAMILIES.iter().any(|f| f.name == family))
    })?;
    let period = Period::parse(level, suffix)?;
    Some(Leaf { name: name.to_owned(), parent: parent.to_owned(), level, period, empty })
}

/// What may be dropped now, most urgent first.
fn candidates<'l>(leaves: &'l [Leaf], notes: &HashMap<String, Note>, now: i64) -> Vec<&'l Leaf> {
    let mut due: Vec<&Leaf> = Vec::new();
    for (level, keep_us) in Level::ALL.into_iter().zip(settings::retention_us()) {
        let Some(keep_us) = keep_us else {
            continue;
        };
        let mut of_level: Vec<&Leaf> = leaves.iter().filter(|leaf| leaf.level == level).collect();
        of_level.sort_by_key(|leaf| leaf.period);
        let oldest = of_level
            .iter()
            .find(|leaf| leaf.period.end() <= now.saturating_sub(keep_us))
            .map(|leaf| leaf.period);
        if let Some(period) = oldest
            && may_begin(level, period, &of_level, keep_us, notes, now)
        {
            due.extend(of_level.into_iter().filter(|leaf| leaf.period == period));
        }
    }
    if due.is_empty() && size::store_bytes() > settings::max_size_bytes() {
        due = over_size(leaves, now);
    }
    due
}

/// A clock that jumped ahead makes everything look old. So one period goes per real day, unless as many
/// newer ones are kept as shall be. What was never written to may always go.
fn may_begin(
    level: Level,
    period: Period,
    of_level: &[&Leaf],
    keep_us: i64,
    notes: &HashMap<String, Note>,
    now: i64,
) -> bool {
    if of_level.iter().all(|leaf| leaf.period != period || leaf.empty) {
        return true;
    }
    let last = notes.get(&drop_note(level));
    if last.is_none_or(|note| note.since == Some(period.start()) || now - note.at >= DAY_US) {
        return true;
    }
    let mut newer: Vec<Period> = of_level
        .iter()
        .filter(|leaf| !leaf.empty && leaf.period > period && leaf.period.start() <= now)
        .map(|leaf| leaf.period)
        .collect();
    newer.dedup();
    let kept: i64 = newer.iter().map(|p| p.end() - p.start()).sum();
    kept > keep_us
}

fn drop_note(level: Level) -> String {
    format!("drop_{}", level_name(level))
}

fn begin_period(leaf: &Leaf, notes: &HashMap<String, Note>, now: i64) {
    if leaf.empty {
        return;
    }
    let name = drop_note(leaf.level);
    let start = leaf.period.start();
    if notes.get(&name).is_none_or(|note| note.since != Some(start)) {
        chore::note(&name, now, Some(start));
    }
}

/// Above the size limit: the oldest minutes, then the oldest hours; never days, never what is being
/// written or may not be added up yet.
fn over_size(leaves: &[Leaf], now: i64) -> Vec<&Leaf> {
    for level in [Level::Minute, Level::Hour] {
        let settled = now.saturating_sub(2 * level.step_us().max(HOUR_US));
        let current = Period::of(level, settled);
        let mut past: Vec<&Leaf> =
            leaves.iter().filter(|leaf| leaf.level == level && leaf.period < current).collect();
        past.sort_by_key(|leaf| leaf.period);
        if let Some(oldest) = past.first().map(|leaf| leaf.period) {
            past.retain(|leaf| leaf.period == oldest);
            return past;
        }
    }
    Vec::new()
}

/// Drops a table unless somebody uses it or its siblings: dropping a partition excludes everybody from
/// the parent, so asking for that lock would put all readers in a queue behind it.
fn drop_leaf(leaf: &Leaf, wait: bool) -> bool {
    let (Some(parent), Some(table)) = (table_oid(&leaf.parent), table_oid(&leaf.name)) else {
        return true;
    };
    let mode = pg_sys::AccessExclusiveLock;
    let locked = if wait {
        sql::write("SELECT pg_catalog.set_config('lock_timeout', '100ms', true)", &[]);
        sql::wait_for_locks(&[parent, table], mode)
    } else {
        sql::try_lock(parent, mode) && sql::try_lock(table, mode)
    };
    if locked && table_oid(&leaf.name).is_some() {
        sql::write(&format!("DROP TABLE perfmon.{}", leaf.name), &[]);
    }
    locked
}
