//! What plans did since the last visit, in the executions that were looked into.

use std::collections::BTreeMap;

use perfmon_core::capture::kept::{self, Stamp};
use perfmon_core::capture::scan::{
    self, Counted, Counts, Described, Ids, Moved, Names, Reading, SLOTS, Subject,
};
use perfmon_core::capture::table::Key;
use perfmon_core::family::SCAN;
use perfmon_core::frame::Frame;

use super::Visit;
use super::captured::{Users, earlier, switched_off};
use crate::pg::session;
use crate::pg::wording::Wording;
use crate::probe::objects;
use crate::store;

/// Of how many nodes it is looked up in each visit whether everything in them is still called as it was: what counts
/// alterations can be switched off, and does not count roles, functions and operators.
const NAMES_AT_ONCE: usize = 64;

/// Why nothing is looked into, if a setting says so.
fn looked_away() -> Option<String> {
    let rate = session::configured(c"pg_perfmon.scan_sample_rate")?;
    let none = rate.parse::<f64>().is_ok_and(|rate| rate <= 0.0);
    none.then(|| "pg_perfmon.scan_sample_rate is 0".to_owned())
}

/// The reading that the last visit left, and the ids that went with it.
#[derive(Default)]
pub(super) struct Before {
    pub(super) prior: Option<(Stamp, Vec<Counted>)>,
    ids: Ids,
}

impl Visit {
    /// Unpacks what the last visit left.
    pub(super) fn scans_before(&mut self) -> Before {
        let mut ids = Ids::default();
        let prior = self.before(&SCAN, |columns| {
            let (counted, known) = scan::from_columns(columns)?;
            ids = known;
            Some(counted)
        });
        Before { prior, ids }
    }

    /// Subtracts and writes.
    pub(super) fn store_scans(&mut self, began: i64, now: &Reading, before: Before) {
        let stamp = Stamp { began, at: self.until };
        let Before { prior: before, mut ids } = before;
        if let Some(interval) = self.interval(&SCAN, &before, began) {
            if let Some(why) = switched_off().or_else(looked_away) {
                self.extend_gap(SCAN.name, interval.0, why);
            } else {
                let moved = scan::difference(earlier(&before, began), &now.counted);
                self.name_scans(&moved, &now.subjects, &mut ids);
                let mut frame = scan_frame(&moved, &ids);
                self.append_captured(interval, &mut frame);
            }
        }
        let columns = scan::to_columns(&now.counted, &ids);
        self.next_priors.push((SCAN.name, kept::to_bytes(stamp, &columns)));
    }

    /// Dictionary ids of those that moved: of the statement by its own id in the history, the table, and what the node
    /// was about. Describing and looking up all of them in each visit would cost more than all else about them, so ids
    /// are kept for as long as everything is called as it was, and whether it is so is looked up for all when something
    /// was altered, and otherwise for some in turn.
    fn name_scans(&mut self, moved: &Moved, subjects: &BTreeMap<Key, Subject>, ids: &mut Ids) {
        let (mut users, mut names) = (Users::default(), Wording::default());
        let mut unnamed: Vec<(Key, u64, &Subject)> = Vec::new();
        let parts = self.parts_of_names(moved.len());
        let turn = self.header.names_turn % parts;
        for key in moved.keys() {
            let Some(subject) = subjects.get(key) else { continue };
            // The lower bits of keys are not all in use.
            if (key.what >> 8) % parts != turn && ids.contains_key(key) {
                continue;
            }
            let label = scan::label(subject, &users.name(key.user()), &mut names);
            if ids.get(key).is_none_or(|(known, _)| *known != label) {
                unnamed.push((*key, label, subject));
            }
        }
        let statements: Vec<(u32, u64, bool)> = unnamed
            .iter()
            .map(|(key, _, subject)| (key.user(), subject.query_id, subject.toplevel))
            .collect();
        let statements = self.statement_ids_of(&statements, |user| users.name(user));
        let called: Vec<[String; 3]> = unnamed
            .iter()
            .zip(statements)
            .map(|((_, _, subject), statement)| {
                let table = Some(subject.relation).filter(|oid| *oid != 0);
                let table = table.and_then(|oid| names.table(oid)).unwrap_or_default();
                let described = Described::of(subject, &mut names).to_text();
                [statement.to_string(), table, described]
            })
            .collect();
        let given = store::dictionary::resolve(&SCAN, self.source, &called, self.until);
        ids.extend(unnamed.into_iter().zip(given).map(|((key, label, _), id)| (key, (label, id))));
    }
}

impl Visit {
    /// In how many visits all of so many names are looked up once.
    fn parts_of_names(&mut self, names: usize) -> u64 {
        let counters = objects::counters();
        let altered = counters != self.header.names_counters;
        self.header.names_counters = counters;
        self.header.names_turn = self.header.names_turn.wrapping_add(1);
        if altered { 1 } else { names.div_ceil(NAMES_AT_ONCE).max(1) as u64 }
    }
}

fn scan_frame(moved: &Moved, ids: &Ids) -> Frame {
    let mut rows: BTreeMap<u32, Counts> = BTreeMap::new();
    for (key, counts) in moved {
        // The rest of them all is 0.
        rows.entry(ids.get(key).map_or(0, |(_, id)| *id)).or_default().add(counts);
    }
    let column = |slot: usize| rows.values().map(|counts| counts.0[slot]).collect::<Vec<u64>>();
    Frame {
        family: &SCAN,
        ids: rows.keys().copied().collect(),
        columns: [None].into_iter().chain((0..SLOTS).map(|i| Some(column(i)))).collect(),
        known: (1 << SCAN.columns.len()) - 1,
        totals: Vec::new(),
    }
}
