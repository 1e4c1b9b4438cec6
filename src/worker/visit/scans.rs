//! What plans did since the last visit, in the executions that were looked into.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashSet};

use perfmon_core::capture::kept::{self, Stamp};
use perfmon_core::capture::scan::{
    self, Counted, Counts, Described, Ids, Moved, Names, Reading, SLOTS, Slot, Subject,
};
use perfmon_core::capture::table::Key;
use perfmon_core::family::SCAN;
use perfmon_core::frame::Frame;

use super::Visit;
use super::captured::{Users, configured, earlier};
use super::off::{Off, WHY_OFF};
use crate::pg::wording::Wording;
use crate::probe::objects;
use crate::store;

/// Of how many nodes it is looked up in each visit whether everything in them is still called as it was: what counts
/// alterations can be switched off, and does not count roles, functions and operators.
const NAMES_AT_ONCE: usize = 64;

/// Most nodes that wait for a name; what others did counts with the rest.
const MOST_WAITING: usize = 256;

/// Why nothing is looked into, if a setting says so.
fn looked_away() -> Option<String> {
    let rate = configured(c"pg_perfmon.scan_sample_rate")?;
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
    pub(super) fn store_scans(&mut self, began: i64, now: &Reading, before: Before, off: Off) {
        let stamp = Stamp { began, at: self.until };
        let Before { prior: before, mut ids } = before;
        let mut waiting = HashSet::new();
        if let Some(interval) = self.interval(&SCAN, &before, began) {
            let looked_away = looked_away();
            let is_none = off == Off::All || looked_away.is_some();
            let why_off = (off != Off::Nobody).then(|| WHY_OFF.to_owned());
            if let Some(why) = why_off.or(looked_away) {
                self.extend_gap(SCAN.name, interval.0, why);
            }
            if !is_none {
                let mut moved = scan::difference(earlier(&before, began), &now.counted);
                waiting = self.name_scans(&moved, &now.subjects, &mut ids);
                moved.retain(|key, _| !waiting.contains(key));
                let mut frame = scan_frame(&moved, &ids);
                self.append_captured(interval, &mut frame);
            }
        }
        let counted = scan::without(earlier(&before, began), &now.counted, &waiting);
        let columns = scan::to_columns(&counted, &ids);
        self.next_priors.push((SCAN.name, kept::to_bytes(stamp, &columns)));
    }

    /// Dictionary ids of those that moved: of the statement by its own id in the history, the table, and what the node
    /// was about. Describing and looking up all of them in each visit would cost more than all else about them, so ids
    /// are kept for as long as everything is called as it was, and whether it is so is looked up for all when something
    /// was altered, and otherwise for some in turn. Returns those that wait for a name.
    fn name_scans(
        &mut self,
        moved: &Moved,
        subjects: &BTreeMap<Key, Subject>,
        ids: &mut Ids,
    ) -> HashSet<Key> {
        let mut callers = Callers::default();
        let parts = self.parts_of_names(moved.len());
        let turn = self.header.names_turn % parts;
        let mut unnamed: Vec<(u64, Key, &Subject)> = Vec::new();
        for (key, counts) in moved {
            let Some(subject) = subjects.get(key) else { continue };
            if let Some((known, _)) = ids.get(key) {
                // The lower bits of keys are not all in use.
                if (key.what >> 8) % parts != turn || *known == callers.label(key, subject) {
                    continue;
                }
                // What waits is not to be taken for what it was called before.
                ids.remove(key);
            }
            unnamed.push((weight(counts), *key, subject));
        }
        unnamed.sort_unstable_by_key(|(weight, key, _)| (Reverse(*weight), *key));
        let minutes = self.minutes();
        let mut left = self.header.names_left(minutes);
        let allowed = left;
        let mut waiting = HashSet::new();
        for some in unnamed.chunks(NAMES_AT_ONCE) {
            if left > 0 {
                left -= self.name_some(some, &mut callers, (&mut *ids, left));
            }
            let wait = some.iter().map(|(_, key, _)| *key).filter(|key| !ids.contains_key(key));
            waiting.extend(wait.take(MOST_WAITING.saturating_sub(waiting.len())));
        }
        self.header.names_spent += i64::try_from(allowed - left).unwrap_or(0);
        waiting
    }

    /// Looks up some, and enters so many of those that are new, the first; returns how many.
    fn name_some(
        &self,
        some: &[(u64, Key, &Subject)],
        callers: &mut Callers,
        (ids, left): (&mut Ids, usize),
    ) -> usize {
        let of = |(_, key, subject): &(u64, Key, &Subject)| {
            (key.user(), subject.query_id, subject.toplevel)
        };
        let statements: Vec<(u32, u64, bool)> = some.iter().map(of).collect();
        let statements = self.statement_ids_of(&statements, |user| callers.users.name(user));
        let called: Vec<[String; 3]> = some
            .iter()
            .zip(statements)
            .map(|((.., subject), statement)| callers.names_of(subject, statement))
            .collect();
        let mut given = store::dictionary::find(&SCAN, self.source, &called);
        let new: Vec<usize> = (0..given.len()).filter(|at| given[*at] == 0).take(left).collect();
        let names: Vec<[String; 3]> = new.iter().map(|at| called[*at].clone()).collect();
        if !names.is_empty() {
            let none = vec![0; names.len()];
            let entered = store::dictionary::enter(&SCAN, self.source, (&names, none), self.until);
            for (at, id) in new.iter().zip(entered) {
                given[*at] = id;
            }
        }
        for ((_, key, subject), id) in some.iter().zip(given).filter(|(_, id)| *id != 0) {
            ids.insert(*key, (callers.label(key, subject), id));
        }
        new.len()
    }
}

/// How nodes are called, by names that are looked up once.
#[derive(Default)]
struct Callers {
    users: Users,
    names: Wording,
}

impl Callers {
    fn label(&mut self, key: &Key, subject: &Subject) -> u64 {
        scan::label(subject, &self.users.name(key.user()), &mut self.names)
    }

    fn names_of(&mut self, subject: &Subject, statement: u32) -> [String; 3] {
        let table = Some(subject.relation).filter(|oid| *oid != 0);
        let table = table.and_then(|oid| self.names.table(oid)).unwrap_or_default();
        let described = Described::of(subject, &mut self.names).to_text();
        [statement.to_string(), table, described]
    }
}

/// Of new nodes those that handled most rows are named first.
fn weight(counts: &Counts) -> u64 {
    let slots = [Slot::Read, Slot::Kept, Slot::Outer, Slot::Executions];
    slots.iter().fold(0, |sum, slot| sum.saturating_add(counts.get(*slot)))
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
