//! What plans did since the last visit, in the executions that were looked into.

use std::collections::{BTreeMap, HashMap};

use perfmon_core::capture::kept::{self, Stamp};
use perfmon_core::capture::scan::{self, Counts, Described, Moved, Names, Reading, SLOTS, Subject};
use perfmon_core::capture::table::Key;
use perfmon_core::family::{SCAN, STATEMENT};
use perfmon_core::frame::Frame;

use super::Visit;
use super::captured::{Users, earlier, switched_off};
use crate::pg::session;
use crate::pg::wording::Wording;
use crate::store;

/// Why nothing is looked into, if a setting says so.
fn looked_away() -> Option<String> {
    let rate = session::configured(c"pg_perfmon.scan_sample_rate")?;
    let none = rate.parse::<f64>().is_ok_and(|rate| rate <= 0.0);
    none.then(|| "pg_perfmon.scan_sample_rate is 0".to_owned())
}

impl Visit {
    /// Subtracts and writes.
    pub(super) fn store_scans(&mut self, began: i64, now: &Reading) {
        let stamp = Stamp { began, at: self.until };
        let before = self.before(&SCAN, scan::from_columns);
        self.next_priors.push((SCAN.name, kept::to_bytes(stamp, &scan::to_columns(&now.counted))));
        let Some(interval) = self.interval(&SCAN, &before, began) else { return };
        if let Some(why) = switched_off().or_else(looked_away) {
            self.extend_gap(SCAN.name, interval.0, why);
            return;
        }
        let moved = scan::difference(earlier(&before, began), &now.counted);
        let mut frame = self.scan_frame(&moved, &now.subjects);
        self.append_captured(interval, &mut frame);
    }

    fn scan_frame(&self, moved: &Moved, subjects: &BTreeMap<Key, Subject>) -> Frame {
        let known: Vec<(&Key, &Subject)> =
            moved.keys().filter_map(|key| Some((key, subjects.get(key)?))).collect();
        let ids: HashMap<&Key, u32> =
            known.iter().map(|(key, _)| *key).zip(self.scan_ids(&known)).collect();
        let mut rows: BTreeMap<u32, Counts> = BTreeMap::new();
        for (key, counts) in moved {
            // The rest of them all is 0.
            rows.entry(ids.get(key).copied().unwrap_or(0)).or_default().add(counts);
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

    /// Dictionary ids: of the statement by its own id in the history, the table, and what the node was about.
    fn scan_ids(&self, known: &[(&Key, &Subject)]) -> Vec<u32> {
        let (mut users, mut names) = (Users::default(), Wording::default());
        let statements: Vec<[String; 3]> = known
            .iter()
            .map(|(key, subject)| {
                let top = if subject.toplevel { "t" } else { "f" };
                let queryid = (subject.query_id as i64).to_string();
                [users.name(key.user()), queryid, top.to_owned()]
            })
            .collect();
        let statements =
            store::dictionary::resolve(&STATEMENT, self.source, &statements, self.until);
        let called: Vec<[String; 3]> = known
            .iter()
            .zip(statements)
            .map(|((_, subject), statement)| {
                let table = Some(subject.relation).filter(|oid| *oid != 0);
                let table = table.and_then(|oid| names.table(oid)).unwrap_or_default();
                let described = Described::of(subject, &mut names).to_text();
                [statement.to_string(), table, described]
            })
            .collect();
        store::dictionary::resolve(&SCAN, self.source, &called, self.until)
    }
}
