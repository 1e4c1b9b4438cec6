//! A model of pg_stat_statements with the true totals beside it: whatever happens to the entries, what
//! we store must be true, and what we miss must be marked.

use super::{Difference, Prior, advance, difference};
use crate::family::STATEMENT;
use crate::frame::{Epoch, Key, Quality, Reading};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::iter::zip;

/// Entries that fit before some are evicted.
const CAPACITY: usize = 6;
const CALLS: usize = 1;
const TIME: usize = 2;
const ROWS: usize = 4;

#[derive(Debug, Clone)]
enum Op {
    Run {
        key: u8,
        us: u64,
        rows: u64,
    },
    /// Planned, and not yet executed to its end: the entry is there, and nobody is shown it.
    Begin(u8),
    ResetAll,
    ResetOne(u8),
    Evict(usize),
    Crash,
    CleanRestart,
    RestartWithoutSave,
    LosePrior,
    ToggleView(u8),
    ResetMinMax,
    Sample,
    /// The same, while a statement ends after the entries were read and before our own count is.
    BusySample {
        key: u8,
        us: u64,
        rows: u64,
    },
    FailedSample,
}

#[derive(Debug, Clone)]
struct Entry {
    calls: u64,
    us: u64,
    rows: u64,
    least: u64,
    most: u64,
    born: i64,
}

#[derive(Default)]
struct Model {
    births_known: bool,
    /// There is a count of our own, which begins at zero when the server starts; when it did, and when it was read last.
    captures: bool,
    counted_from: i64,
    counted_until: i64,
    clock: i64,
    entries: BTreeMap<u8, Entry>,
    /// Entries that our role cannot see; only with births can a return be told from a birth.
    unseen: BTreeSet<u8>,
    evictions: u64,
    began: i64,
    prior: Option<Prior>,
    last_until: Option<i64>,
    first: Option<i64>,
    /// (when, key, us, rows): the truth.
    runs: Vec<(i64, u8, u64, u64)>,
    /// (when, key) of entries reset alone.
    resets: Vec<(i64, u8)>,
    /// (since, until) of rows and of gaps.
    rows: Vec<(i64, i64)>,
    gaps: Vec<(i64, i64)>,
}

impl Model {
    fn tick(&mut self) -> i64 {
        self.clock += 1;
        self.clock
    }

    fn step(&mut self, op: &Op) {
        match *op {
            Op::Run { key, us, rows } => self.run(key, us, rows),
            Op::Begin(key) => _ = self.begin(key),
            Op::ResetAll => self.begin_anew(),
            Op::ResetOne(key) => {
                let at = self.tick();
                if self.entries.remove(&key).is_some() {
                    self.resets.push((at, key));
                    if self.entries.is_empty() {
                        self.begin_anew();
                    }
                }
            }
            Op::Evict(n) => self.evict(n),
            Op::Crash => {
                self.begin_anew();
                self.counted_from = self.clock;
                self.prior = None;
            }
            Op::FailedSample => _ = self.tick(),
            Op::CleanRestart => self.counted_from = self.tick(),
            Op::RestartWithoutSave => {
                self.begin_anew();
                self.counted_from = self.clock;
            }
            Op::LosePrior => self.prior = None,
            Op::ToggleView(key) => {
                if self.births_known && !self.unseen.remove(&key) {
                    self.unseen.insert(key);
                }
            }
            Op::ResetMinMax => {
                if self.births_known {
                    for e in self.entries.values_mut() {
                        (e.least, e.most) = (0, 0);
                    }
                }
            }
            Op::Sample => self.sample(None),
            Op::BusySample { key, us, rows } => self.sample(Some((key, us, rows))),
        }
    }

    fn run(&mut self, key: u8, us: u64, rows: u64) {
        let at = self.begin(key);
        let Some(e) = self.entries.get_mut(&key) else { return };
        e.calls += 1;
        e.us += us;
        e.rows += rows;
        e.least = if e.least == 0 { us } else { e.least.min(us) };
        e.most = e.most.max(us);
        self.runs.push((at, key, us, rows));
    }

    fn begin(&mut self, key: u8) -> i64 {
        let born = self.tick();
        if !self.entries.contains_key(&key) && self.entries.len() >= CAPACITY {
            self.evict(2);
        }
        let new = Entry { calls: 0, us: 0, rows: 0, least: 0, most: 0, born };
        self.entries.entry(key).or_insert(new);
        born
    }

    fn begin_anew(&mut self) {
        self.entries.clear();
        self.evictions = 0;
        self.began = self.tick();
    }

    fn evict(&mut self, n: usize) {
        let mut by_use: Vec<(u64, u8)> = self.entries.iter().map(|(&k, e)| (e.calls, k)).collect();
        by_use.sort_unstable();
        for (_, key) in by_use.into_iter().take(n) {
            self.entries.remove(&key);
        }
        self.evictions += 1;
    }

    fn read(&mut self) -> Reading {
        let at = self.tick();
        let seen: Vec<(u8, &Entry)> = self
            .entries
            .iter()
            .map(|(&k, e)| (k, e))
            .filter(|(k, e)| e.calls > 0 && !self.unseen.contains(k))
            // Out of order on purpose.
            .rev()
            .collect();
        let of = |f: &dyn Fn(&Entry) -> u64| seen.iter().map(|(_, e)| f(e)).collect::<Vec<u64>>();
        let mut columns = vec![Vec::new(); STATEMENT.columns.len()];
        columns[CALLS] = of(&|e| e.calls);
        columns[TIME] = of(&|e| e.us);
        columns[ROWS] = of(&|e| e.rows);
        Reading {
            family: &STATEMENT,
            epoch: Epoch { identity: format!("reset={}", self.began), began: Some(self.began) },
            at,
            keys: seen.iter().map(|&(k, _)| Key(u64::from(k), 1)).collect(),
            // Of one user.
            labels: vec![1; seen.len()],
            columns,
            born: self.births_known.then(|| seen.iter().map(|(_, e)| e.born).collect()),
            hides: self.entries.keys().any(|k| self.unseen.contains(k)),
            floors: vec![of(&|e| e.least * 1000)],
            ceilings: vec![of(&|e| e.most * 1000)],
            marks: vec![],
            wholes: vec![],
            parts: None,
            executed: vec![],
            evictions: Some(self.evictions),
            whole: false,
        }
    }

    /// How often each statement was executed since our own count was read before.
    fn executed(&self) -> Vec<(Key, u64)> {
        let since = self.counted_from.max(self.counted_until);
        let known = self.captures && !self.births_known && self.prior.is_some();
        let sums = self.truth(if known { since } else { self.clock }, self.clock);
        sums.into_iter().map(|(key, sum)| (Key(key.into(), 1), sum[0])).rev().collect()
    }

    fn sample(&mut self, meanwhile: Option<(u8, u64, u64)>) {
        let mut now = self.read();
        if let Some((key, us, rows)) = meanwhile {
            self.run(key, us, rows);
        }
        now.executed = self.executed();
        self.counted_until = self.clock;
        let made = difference(self.prior.as_ref(), self.last_until, &now);
        if let Some(gap) = &made.gap {
            assert!(gap.since < gap.until, "{gap:?}");
            self.gaps.push((gap.since, gap.until));
        }
        if made.baseline {
            assert!(made.moved.is_empty());
            // With nothing stored and no prior, history begins here, perhaps once more.
            if made.gap.is_none() {
                self.first = Some(now.at);
            }
        } else {
            assert!(made.since >= self.last_until.unwrap_or(i64::MIN), "rows overlap");
            self.check(&now, &made);
            self.rows.push((made.since, now.at));
            self.last_until = Some(now.at);
        }
        let new: Vec<(usize, u32)> =
            made.needs_name().iter().map(|&i| (i, now.keys[i].0 as u32 + 1)).collect();
        let id = |i: usize| now.keys[i].0 as u32 + 1;
        let frame = made.frame(&now, &id);
        let places = made.moved.iter().map(|&i| id(i)).chain(made.gone_ids());
        assert_eq!(frame.ids, places.collect::<BTreeSet<u32>>().into_iter().collect::<Vec<_>>());
        // What went away is told by its name, if it has one.
        for gone in made.gone_ids() {
            assert!(!now.keys.iter().any(|key| key.0 as u32 + 1 == gone), "{gone} is there");
            let at = frame.ids.binary_search(&gone).unwrap();
            assert_eq!(frame.columns[0].as_ref().unwrap()[at], Quality::LowerBound as u64);
        }
        let past = self.prior.as_ref().filter(|prior| now.epoch.continues(&prior.epoch));
        let is_missing = |key: &Key| !now.keys.contains(key);
        let missing = past.into_iter().flat_map(|prior| {
            zip(&prior.keys, &prior.ids).filter(|(key, id)| is_missing(key) && **id != 0)
        });
        let missing: BTreeSet<u32> = missing.map(|(_, id)| *id).collect();
        assert_eq!(made.gone_ids().collect::<BTreeSet<u32>>(), missing, "all of them");
        let prior = advance(now, self.prior.take(), &new);
        self.prior = Some(Prior::decode(&STATEMENT, &prior.encode()).unwrap());
    }

    /// What the runs after `since` and up to `until` come to.
    fn truth(&self, since: i64, until: i64) -> BTreeMap<u8, [u64; 3]> {
        let mut truth = BTreeMap::new();
        for &(_, key, us, rows) in self.runs.iter().filter(|r| r.0 > since && r.0 <= until) {
            let sum: &mut [u64; 3] = truth.entry(key).or_default();
            *sum = [sum[0] + 1, sum[1] + us, sum[2] + rows];
        }
        truth
    }

    fn check(&self, now: &Reading, made: &Difference) {
        let truth = self.truth(made.since, now.at);
        let mut told: BTreeMap<u8, [u64; 3]> = BTreeMap::new();
        for (at, &i) in made.moved.iter().enumerate() {
            let key = now.keys[i].0 as u8;
            let value = |c: usize| made.columns[c].as_ref().map_or(0, |v| v[at]);
            let values = [value(CALLS), value(TIME), value(ROWS)];
            let quality = value(0);
            let true_values = truth.get(&key).copied().unwrap_or_default();
            for (told, truth) in values.iter().zip(true_values) {
                assert!(*told <= truth, "key {key}: {values:?} of {true_values:?}");
            }
            if quality == Quality::Exact as u64 && !self.excused(key, i, now, made) {
                assert_eq!(values, true_values, "key {key} claims to be exact");
            }
            assert!(quality <= made.quality as u64);
            told.insert(key, values);
        }
        if made.quality == Quality::Exact {
            // Nothing is promised of what we were not allowed to see.
            for (&key, true_values) in truth.iter().filter(|(k, _)| !self.unseen.contains(k)) {
                let place = now.keys.iter().position(|k| k.0 == u64::from(key));
                if !self.excused(key, place.unwrap_or(usize::MAX), now, made) {
                    assert_eq!(told.get(&key), Some(true_values), "key {key} in an exact row");
                }
            }
        }
    }

    /// The two cases that nobody can see; see the head of [`super`].
    fn excused(&self, key: u8, i: usize, now: &Reading, made: &Difference) -> bool {
        if !self.resets.iter().any(|&(at, k)| k == key && at > made.since) {
            return false;
        }
        let prior = self.prior.as_ref().filter(|p| now.epoch.continues(&p.epoch));
        let Some((prior, p)) = prior.and_then(|p| Some((p, p.position(Key(key.into(), 1))?)))
        else {
            return true;
        };
        if self.captures && self.counted_from <= made.since {
            return false;
        }
        let outran = |c: usize| now.columns[c].get(i).is_some_and(|&v| v >= prior.columns[c][p]);
        !self.births_known
            && [CALLS, TIME, ROWS].into_iter().all(outran)
            && now.floors[0][i] <= prior.floors[0][p]
            && now.ceilings[0][i] >= prior.ceilings[0][p]
    }

    /// Every run lies in a row or in a gap, and in one row at most.
    fn check_cover(&self) {
        let Some(first) = self.first else { return };
        let last = self.rows.iter().chain(&self.gaps).map(|r| r.1).max().unwrap_or(first);
        for &(at, ..) in self.runs.iter().filter(|r| r.0 > first && r.0 <= last) {
            let within = |spans: &[(i64, i64)]| {
                spans.iter().filter(|&&(since, until)| since < at && at <= until).count()
            };
            let rows = within(&self.rows);
            assert!(rows <= 1 && rows + within(&self.gaps) >= 1, "run at {at} in {rows} rows");
        }
    }
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        40 => (0u8..10, 1u64..50, 0u64..4).prop_map(|(key, us, rows)| Op::Run { key, us, rows }),
        4 => (0u8..10).prop_map(Op::Begin),
        12 => Just(Op::Sample),
        2 => (0u8..10, 1u64..50, 0u64..4)
            .prop_map(|(key, us, rows)| Op::BusySample { key, us, rows }),
        1 => Just(Op::ResetAll),
        3 => (0u8..10).prop_map(Op::ResetOne),
        2 => (1usize..5).prop_map(Op::Evict),
        1 => Just(Op::Crash),
        1 => Just(Op::CleanRestart),
        1 => Just(Op::RestartWithoutSave),
        1 => Just(Op::LosePrior),
        1 => (0u8..10).prop_map(Op::ToggleView),
        1 => Just(Op::ResetMinMax),
        1 => Just(Op::FailedSample),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn what_is_stored_is_true(
        births_known: bool,
        captures: bool,
        ops in prop::collection::vec(op(), 1..150),
    ) {
        let mut model = Model { births_known, captures, ..Model::default() };
        for op in &ops {
            model.step(op);
        }
        model.step(&Op::Sample);
        model.check_cover();
    }

    /// Without any of the mishaps everything is exact: no false modesty.
    #[test]
    fn quiet_days_are_exact(
        births_known: bool,
        captures: bool,
        ops in prop::collection::vec(
            prop_oneof![
                9 => (0u8..6, 1u64..50, 0u64..4).prop_map(|(key, us, rows)| Op::Run { key, us, rows }),
                2 => (0u8..6).prop_map(Op::Begin),
                2 => Just(Op::Sample),
                1 => Just(Op::CleanRestart),
                1 => Just(Op::FailedSample),
            ],
            1..100,
        ),
    ) {
        let mut model = Model { births_known, captures, ..Model::default() };
        for op in &ops {
            model.step(op);
            if matches!(op, Op::Sample) {
                let now = Reading { executed: model.executed(), ..model.read() };
                let made = difference(model.prior.as_ref(), model.last_until, &now);
                prop_assert_eq!(made.quality, Quality::Exact);
                prop_assert!(made.gap.is_none());
            }
        }
    }
}
