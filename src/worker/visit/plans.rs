//! Plans that the hooks saw and printed since the last visit, and which statements they are to look at next.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use perfmon_core::capture::kept::{self, Stamp};
use perfmon_core::capture::mailbox::{Delivered, Waiting};
use perfmon_core::capture::plan::{self, Counted};
use perfmon_core::capture::reading::Moved;
use perfmon_core::capture::statement::TOPLEVEL;
use perfmon_core::capture::table::Key;
use perfmon_core::plan::flip::Stretch;
use perfmon_core::plan::share;

use super::Visit;
use super::captured::Users;
use crate::pg::{clock, fmgr, session};
use crate::store::plan::{Known, Printed, Seen};
use crate::watch::live;
use crate::{settings, store};

/// Subject among the kept readings.
const SUBJECT: &str = "plan";

/// Statements whose plans are looked at, by their time since the last visit: twice as many as are promised, as the
/// order changes from minute to minute.
const STATEMENTS: usize = 200;

/// Those of them that are promised a plan within a quarter of an hour.
const PROMISED: usize = 100;

/// Printed plans that are stored for each minute since the last visit: they take more room in the log than anything
/// else about a statement. In a quarter of an hour these are more than were promised, which come first.
const LETTERS: usize = 7;

/// How many of them may be of statements that are promised none.
const OTHERS: usize = 1;

/// Executions of each that are looked at between two visits.
const EXECUTIONS: u32 = 8;

/// How long what was seen of a plan in quick executions may wait to be written.
const PATIENCE_US: i64 = 5 * 60 * 1_000_000;

const HOUR_US: i64 = 3_600_000_000;

/// What was read.
pub(super) struct Plans {
    began: i64,
    counted: Vec<Counted>,
    /// Printed, and not stored yet.
    waiting: Vec<Waiting>,
}

impl Plans {
    /// Reads them; `None` without preloading.
    pub(super) fn read() -> Option<Self> {
        let (counted, waiting) = live::plans(session::database().to_u32())?;
        Some(Self { began: live::began()?, counted, waiting })
    }
}

/// The statements that took most time, at most so many, the longest first.
fn longest(moved: &[Moved], most: usize) -> Vec<Key> {
    let named = moved.iter().filter(|moved| moved.key.what != 0);
    let mut by_time: Vec<(f64, Key)> =
        named.map(|moved| (moved.latency.total_ns(), moved.key)).collect();
    if by_time.len() > most {
        by_time.select_nth_unstable_by(most, |a, b| b.0.total_cmp(&a.0));
        by_time.truncate(most);
    }
    by_time.sort_unstable_by(|a, b| b.0.total_cmp(&a.0));
    by_time.into_iter().map(|(_, key)| key).collect()
}

impl Visit {
    /// Asks for the plans of the statements that took most time; while many printed plans wait to be stored, for no
    /// more than are promised.
    pub(super) fn want_plans(&mut self, moved: &[Moved]) {
        if settings::plans_are_off() {
            return;
        }
        let waiting = self.plans.as_ref().map_or(0, |plans| plans.waiting.len());
        let mut keys = longest(moved, STATEMENTS.saturating_sub(waiting).max(PROMISED));
        live::want_plans(&keys, EXECUTIONS);
        keys.truncate(PROMISED);
        self.longest = keys.into_iter().collect();
    }

    /// The printed plans that are stored now, and those that wait for the next visit, as statement and plan.
    fn choose(&self, mut waiting: Vec<Waiting>) -> (Vec<Delivered>, HashSet<(Key, i64)>) {
        // Who asks wants to see what was just done.
        if self.request.asked || !self.request.scheduled {
            waiting.reverse();
        }
        waiting.sort_by_key(|one| !self.longest.contains(&one.statement));
        let promised = waiting.iter().filter(|one| self.longest.contains(&one.statement)).count();
        // Where more statements run than are promised a plan, and not too many others wait for theirs.
        let is_busy = self.longest.len() >= PROMISED && waiting.len() - promised <= PROMISED;
        let others = if is_busy { OTHERS } else { LETTERS } * self.minutes();
        let most = (LETTERS * self.minutes()).min(promised + others);
        let later = waiting.split_off(waiting.len().min(most));
        let places: Vec<(u32, u64)> = waiting.into_iter().map(|one| one.place).collect();
        let mut letters = live::letters(&places);
        letters.sort_unstable_by_key(|delivered| delivered.place.1);
        (letters, later.into_iter().map(|one| (one.statement, one.plan)).collect())
    }

    /// Writes what was seen and printed, and what took the place of what.
    pub(super) fn store_plans(&mut self) {
        let before = self.priors.remove(SUBJECT);
        let Some(now) = self.plans.take() else { return };
        let before = before.and_then(|bytes| {
            let (stamp, columns) = kept::from_bytes(&bytes).ok()?;
            let same_life = stamp.began == now.began;
            plan::from_columns(&columns).filter(|_| same_life)
        });
        let stamp = Stamp { began: now.began, at: self.until };
        let before = before.unwrap_or_default();
        let patience = (PATIENCE_US, settings::plan_min_ns() / 1000);
        let (moved, stands) = plan::due(&before, &now.counted, self.until, patience);
        self.next_priors.push((SUBJECT, kept::to_bytes(stamp, &plan::to_columns(&stands))));
        let (letters, later) = self.choose(now.waiting);
        self.letters = letters.iter().map(|delivered| delivered.place).collect();
        if moved.is_empty() && letters.is_empty() {
            return;
        }
        let ids = self.plan_statements(&moved, &letters);
        self.keep_printed(&letters, &ids);
        let crowded = self.keep_seen(&moved, &ids, &later);
        let [retention, ..] = settings::retention_us();
        let before = retention.map(|us| self.until.saturating_sub(us));
        // Of all statements seldom: that looks at every plan there is.
        let hour = |at: i64| at.div_euclid(HOUR_US);
        if self.before.as_ref().is_none_or(|before| hour(before.until) != hour(self.until)) {
            store::plan::trim(self.source, before, None);
        } else if !crowded.is_empty() {
            store::plan::trim(self.source, before, Some(&crowded));
        }
    }

    /// Dictionary ids of the statements.
    fn plan_statements(&mut self, moved: &[Counted], letters: &[Delivered]) -> HashMap<Key, u32> {
        let seen = moved.iter().map(|counted| counted.statement);
        let keys: BTreeSet<Key> =
            seen.chain(letters.iter().map(|delivered| delivered.letter.statement)).collect();
        let statements: Vec<(u32, u64, bool)> =
            keys.iter().map(|key| (key.user(), key.what, key.kind == TOPLEVEL)).collect();
        let mut users = Users::default();
        let ids = self.statement_ids_of(&statements, |user| users.name(user));
        keys.into_iter().zip(ids).collect()
    }

    fn keep_printed(&self, letters: &[Delivered], ids: &HashMap<Key, u32>) {
        // Of several letters with the same plan the last.
        let mut all: BTreeMap<(u32, i64), Printed> = BTreeMap::new();
        for Delivered { letter, .. } in letters {
            let Some(statement_id) = ids.get(&letter.statement).copied() else { continue };
            let json = fmgr::utf8(&letter.json);
            let found = share::heaviest(json.as_bytes());
            let printed = Printed {
                statement_id,
                plan: letter.plan,
                at: clock::unix_us(letter.at),
                cost: found.as_ref().map(|(_, cost)| *cost),
                // What could not be read is not worth keeping, and must not fail the snapshot.
                json: found.is_some().then_some(json),
                heaviest: found.map(|(heaviest, _)| (heaviest.node, heaviest.share_ratio)),
                constants: letter.constants,
                text: (!letter.text.is_empty()).then(|| fmgr::utf8(&letter.text)),
            };
            all.insert((statement_id, letter.plan), printed);
        }
        store::plan::keep(self.source, &all.into_values().collect::<Vec<Printed>>());
    }

    /// Adds what was seen, and says which statements may have more plans or flips now than are kept. `later` are printed
    /// and not stored yet.
    fn keep_seen(
        &self,
        moved: &[Counted],
        ids: &HashMap<Key, u32>,
        later: &HashSet<(Key, i64)>,
    ) -> Vec<u32> {
        let statements: Vec<u32> =
            moved.iter().filter_map(|c| ids.get(&c.statement).copied()).collect();
        let known = store::plan::known(self.source, &statements);
        let none = Vec::new();
        let of = |statement: u32, plan: i64| -> Option<&Known> {
            known.get(&statement).unwrap_or(&none).iter().find(|k| k.stretch.plan == plan)
        };
        let mut seen: BTreeMap<(u32, i64), Seen> = BTreeMap::new();
        let (mut unprinted, mut unstored) = (Vec::new(), HashSet::new());
        for counted in moved {
            let Some(statement) = ids.get(&counted.statement).copied() else { continue };
            let before = of(statement, counted.plan);
            // Its printed form was lost, or went with old ones: it has to be printed again.
            let waits = later.contains(&(counted.statement, counted.plan));
            match before.is_some_and(Known::is_printed) {
                false if waits => {
                    unstored.insert((statement, counted.plan));
                }
                false => unprinted.push(counted.born),
                true => {}
            }
            let fresh = Stretch {
                plan: counted.plan,
                since: clock::unix_us(counted.since),
                until: clock::unix_us(counted.until),
            };
            // A row that was made for the printed form alone is no sighting of its own.
            let stretch = before.map_or(fresh, |known| known.stretch.then(fresh));
            let one = seen.entry((statement, counted.plan)).or_insert(Seen {
                statement_id: statement,
                stretch,
                calls: 0,
                total_us: 0,
                max_us: 0,
                sampled: 0,
                sampled_us: 0,
            });
            one.stretch = one.stretch.then(stretch);
            one.calls += counted.calls;
            one.total_us += counted.total_us;
            one.max_us = one.max_us.max(counted.max_us);
            one.sampled += counted.sampled;
            one.sampled_us += counted.sampled_us;
        }
        let seen: Vec<Seen> = seen.into_values().collect();
        store::plan::add(self.source, &seen, &known);
        live::print_again(&unprinted);
        let mut crowded = self.keep_flips(&seen, &known, &unstored);
        let many = known.iter().filter(|(_, plans)| plans.len() >= store::plan::PLANS);
        crowded.extend(many.map(|(statement, _)| *statement));
        crowded
    }
}
