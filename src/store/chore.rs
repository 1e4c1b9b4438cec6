//! Housekeeping: what is to be done next, and doing one step of it. Each step is one short transaction,
//! so that snapshots and readers never wait for more than that. It must never take part in a snapshot.

use std::collections::HashMap;

use perfmon_core::family::FAMILIES;
use pgrx::prelude::*;

use super::period::Level;
use super::{clean, history, prior, retain, rollup, source, sql};
use crate::pg::clock;
use crate::pg::lookup::Lookup;

/// How far ahead tables are made, by level: days, months, years. A collector that cannot make tables for
/// a while then still finds where to write.
const AHEAD: [usize; 3] = [7, 2, 1];

/// One step of housekeeping.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Make tables ahead for the family of this number in `FAMILIES`.
    Prepare(usize),
    /// Add up the next hour or day of a source that ended by then.
    RollUp(Level, i64, i64),
    /// Drop at most one table that is due, or note that none is.
    Retain,
    /// Remove names that no kept row uses.
    Clean,
}

/// What housekeeping remembers between its steps, by name.
#[derive(Debug, Clone, Copy)]
pub(super) struct Note {
    /// Last done or tried, or how far it got.
    pub(super) at: i64,
    /// Since when it has been so.
    pub(super) since: Option<i64>,
}

/// All notes, for the owner.
pub(super) fn notes() -> HashMap<String, Note> {
    look_up().unwrap_or_else(notes_by_query)
}

/// The same past the executor, as each visit asks; `None` where only SQL can.
fn look_up() -> Option<HashMap<String, Note>> {
    let lookup = Lookup::open(history::table_oid("chore")?, &[], &["name", "at", "since"])?;
    let mut notes = HashMap::new();
    let looked = lookup.each(&[], |row| {
        let time = |column: usize| row.int8(column).map(clock::unix_us);
        if let (Some(name), Some(at)) = (row.text(0), time(1)) {
            notes.insert(name, Note { at, since: time(2) });
        }
    });
    looked.then_some(notes)
}

fn notes_by_query() -> HashMap<String, Note> {
    sql::read("SELECT c.name, c.at, c.since FROM perfmon.chore c", &[], |row| {
        Some((row.get::<String>(1)?, Note { at: row.time(2)?, since: row.time(3) }))
    })
    .into_iter()
    .flatten()
    .collect()
}

/// Writes a note.
pub(super) fn note(name: &str, at: i64, since: Option<i64>) {
    let since = since
        .map_or_else(|| pgrx::datum::DatumWithOid::null_oid(pg_sys::TIMESTAMPTZOID), sql::time);
    sql::write(
        "INSERT INTO perfmon.chore AS c (name, at, since) VALUES ($1, $2, $3)
         ON CONFLICT (name) DO UPDATE SET at = EXCLUDED.at, since = EXCLUDED.since",
        &[sql::text(name), sql::time(at), since],
    );
}

/// Forgets a note.
pub(super) fn forget(name: &str) {
    sql::write(
        "DELETE FROM perfmon.chore WHERE name OPERATOR(pg_catalog.=) $1",
        &[sql::text(name)],
    );
}

/// Whether a note is older than `age`, or missing. A clock that stepped back makes it old, too.
pub(super) fn is_older(note: Option<&Note>, now: i64, age: i64) -> bool {
    note.is_none_or(|note| now.saturating_sub(note.at) >= age || note.at > now)
}

/// Name of the note that says when findings were last evaluated, and that of what it cost, kept as time.
const EVALUATED: &str = "evaluated";

/// When findings were last evaluated, and what it cost.
pub(crate) fn evaluated() -> Option<(i64, i64)> {
    let note = notes().remove(EVALUATED)?;
    Some((note.at, note.since.map_or(0, |began| note.at.saturating_sub(began).max(0))))
}

/// Notes an evaluation at `now` and its cost.
pub(crate) fn note_evaluated(now: i64, cost_us: i64) {
    note(EVALUATED, now, Some(now.saturating_sub(cost_us)));
}

/// What is to be done next, if anything. A read of a few catalog entries and one small table.
pub(crate) fn maintenance_due(now: i64, interval_us: i64) -> Option<Step> {
    let own = source::own_of_owner()?;
    let unprepared = FAMILIES.iter().position(|family| {
        history::has_tables(family, Level::Minute, own)
            && Level::ALL
                .iter()
                .zip(AHEAD)
                .any(|(level, ahead)| !history::is_prepared(family, *level, own, now, ahead))
    });
    if let Some(number) = unprepared {
        return Some(Step::Prepare(number));
    }
    let notes = notes();
    // What is not added up yet must not be dropped, so this comes first.
    if let Some((level, source, by)) = rollup::due(own, &notes, now, interval_us) {
        return Some(Step::RollUp(level, source, by));
    }
    if retain::is_due(&notes, now) {
        return Some(Step::Retain);
    }
    clean::is_due(&notes, now).then_some(Step::Clean)
}

/// Does one step. The caller is the tables' owner and commits.
pub(crate) fn run_step(step: Step, now: i64) {
    match step {
        Step::Prepare(number) => {
            // Snapshots make the table that they need themselves; two must not make the same one.
            prior::lock(true);
            let (Some(family), Some(own)) = (FAMILIES.get(number), source::own()) else {
                return;
            };
            for (level, ahead) in Level::ALL.into_iter().zip(AHEAD) {
                history::prepare(family, level, own, now, ahead);
            }
        }
        Step::RollUp(level, source, by) => {
            lock_chores();
            rollup::run(level, source, by);
        }
        Step::Retain => {
            lock_chores();
            retain::run(now);
        }
        Step::Clean => {
            lock_chores();
            clean::run(now);
        }
    }
}

/// Makes this transaction the only one that keeps house.
fn lock_chores() {
    let Some(table) = history::table_oid("chore") else {
        ereport!(ERROR, PgSqlErrorCode::ERRCODE_UNDEFINED_TABLE, "perfmon.chore does not exist");
    };
    if !sql::try_lock(table, pg_sys::ShareRowExclusiveLock) {
        ereport!(
            ERROR,
            PgSqlErrorCode::ERRCODE_LOCK_NOT_AVAILABLE,
            "another session is keeping house in perfmon"
        );
    }
}
