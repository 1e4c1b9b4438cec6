//! Tables that are made, used, renamed and dropped, with the true totals beside them: of no name more is told than was
//! done under it, and what is called exact is.

use super::tests::{column, databases, prior, reading};
use super::*;
use crate::family::{INDEX, IO, RELATION, STATEMENT, UNKNOWN};
use crate::frame::{Frame, Key, Span};
use crate::rollup::merge;
use proptest::prelude::*;
use std::collections::BTreeMap;

/// Tables: the key, which is also the name, scans, live rows; with sizes where they were read.
fn tables(at: i64, all: &[(u64, u64, u64)], sizes: Option<&[u64]>) -> Reading {
    let of = |f: fn(&(u64, u64, u64)) -> u64| all.iter().map(f).collect::<Vec<u64>>();
    let (keys, scans, live) = (of(|t| t.0), of(|t| t.1), of(|t| t.2));
    let mut values: Vec<(&str, &[u64])> = vec![("seq_scan", &scans), ("n_live_tup", &live)];
    values.extend(sizes.map(|sizes| ("table_bytes", sizes)));
    Reading { whole: sizes.is_some(), ..reading(&RELATION, at, &keys, &values) }
}

/// The value of a place; `None` is unknown, or no place.
fn value(frame: &Frame, id: u32, name: &str) -> Option<u64> {
    let c = frame.family.position(name).unwrap();
    let at = frame.ids.binary_search(&id).ok().filter(|_| frame.known >> c & 1 == 1)?;
    let value = frame.columns[c].as_ref().map_or(0, |column| column[at]);
    (frame.family.columns[c].merge != Merge::Last || value != UNKNOWN).then_some(value)
}

/// The row, where ids are those that `prior` gives: one more than the place in the first reading.
fn row(before: &Prior, now: &Reading, new_id: u32) -> (Frame, Quality) {
    let made = difference(Some(before), Some(before.at), now);
    (made.frame(now, &|i| made.id(i).unwrap_or(new_id)), made.quality)
}

#[test]
fn what_was_dropped_has_a_place_that_says_so() {
    let before = prior(tables(50, &[(1, 5, 30), (2, 6, 70), (3, 7, 0)], None));
    let (frame, quality) = row(&before, &tables(100, &[(1, 9, 31), (3, 7, 0)], None), 0);
    assert_eq!(frame.ids, [1, 2]);
    assert_eq!(frame.columns[0], Some(vec![0, 1]));
    assert_eq!((value(&frame, 1, "seq_scan"), value(&frame, 2, "seq_scan")), (Some(4), Some(0)));
    assert_eq!(value(&frame, 2, "n_live_tup"), Some(70), "as last known");
    assert_eq!((value(&frame, 2, "table_bytes"), quality), (None, Quality::LowerBound));
    // All of them, and nothing else is known of now.
    let (frame, _) = row(&before, &tables(100, &[], None), 0);
    assert_eq!((frame.ids, frame.columns[0].clone()), (vec![1, 2, 3], Some(vec![1; 3])));
    // One whose name is not known.
    let nameless = Prior { ids: vec![1, 0, 3], ..before };
    let (frame, quality) = row(&nameless, &tables(100, &[(1, 5, 30), (3, 7, 0)], None), 0);
    assert_eq!((frame.ids, quality), (vec![], Quality::LowerBound));
}

#[test]
fn databases_are_gone_only_where_all_are_read() {
    let before = prior(databases(50, &[1, 2, 3], &[5, 6, 7]));
    let (frame, quality) = row(&before, &databases(100, &[1, 3], &[6, 7]), 0);
    assert_eq!((frame.ids, frame.columns[0].clone()), (vec![1, 2], Some(vec![0, 1])));
    assert_eq!(quality, Quality::LowerBound);
    let (frame, quality) = row(&before, &databases(100, &[1], &[6]), 0);
    assert_eq!((frame.ids, frame.columns[0].clone(), quality), (vec![1], None, Quality::Exact));
    // Dropped and made again, which goes on in the row of the first.
    let (frame, _) = row(&before, &databases(100, &[1, 3, 9], &[6, 7, 4]), 2);
    assert_eq!(
        (value(&frame, 2, "xact_commit"), frame.columns[0].clone()),
        (Some(4), Some(vec![0, 1]))
    );
}

#[test]
fn what_was_reset_where_it_stood_has_a_place() {
    let at = |at: i64, reset: u64| Reading {
        marks: vec![vec![reset; 2]],
        ..tables(at, &[(1, 0, 30), (2, 6, 70)], None)
    };
    let before = prior(at(50, 0));
    let (frame, quality) = row(&before, &at(100, 60), 0);
    assert_eq!((frame.ids.clone(), frame.columns[0].clone()), (vec![1, 2], Some(vec![1, 1])));
    assert_eq!((value(&frame, 1, "seq_scan"), quality), (Some(0), Quality::LowerBound));
    let (frame, quality) = row(&before, &at(100, 0), 0);
    assert_eq!((frame.ids, quality), (vec![], Quality::Exact));
}

#[test]
fn an_entry_that_was_evicted_has_a_place() {
    let at = |at: i64, keys: &[u64], calls: &[u64], evictions: u64| Reading {
        evictions: Some(evictions),
        ..reading(&STATEMENT, at, keys, &[("calls", calls)])
    };
    let before = prior(at(50, &[1, 2], &[5, 6], 0));
    let (frame, _) = row(&before, &at(100, &[1], &[7], 1), 0);
    assert_eq!((frame.ids.clone(), frame.columns[0].clone()), (vec![1, 2], Some(vec![2, 1])));
    assert_eq!((value(&frame, 1, "calls"), value(&frame, 2, "calls")), (Some(2), Some(0)));
    // It has come back by the next reading.
    let (frame, _) = row(&before, &at(100, &[1, 9], &[7, 1], 1), 2);
    assert_eq!(value(&frame, 2, "calls"), Some(1));
}

#[test]
fn statements_of_one_user_are_told_apart() {
    // Keys end with the user and whether they are top-level; labels are of users alone.
    let (alice, bob) = (10 << 1 | 1, 11 << 1 | 1);
    let at = |at: i64, entries: &[(u64, u64, u64, u64)]| {
        let calls: Vec<u64> = entries.iter().map(|entry| entry.3).collect();
        Reading {
            keys: entries.iter().map(|entry| Key(entry.0, entry.1)).collect(),
            labels: entries.iter().map(|entry| entry.2).collect(),
            evictions: Some(0),
            ..reading(&STATEMENT, at, &vec![0; entries.len()], &[("calls", &calls)])
        }
    };
    let all = [
        (7, alice, 1, 5),
        (8, alice, 1, 6),
        (9, alice, 1, 6),
        (9, alice & !1, 1, 6),
        (9, bob, 2, 1),
    ];
    let before = prior(at(50, &all));
    let id = |key: Key| before.ids[before.keys.iter().position(|k| *k == key).unwrap()];
    // Reset alone: one among others of its user, and one that ran on by the same text of others.
    let now = at(100, &[all[0], (8, alice, 1, 7), all[3], all[4]]);
    let (frame, quality) = row(&before, &now, 0);
    assert_eq!(frame.ids, [id(Key(8, alice)), id(Key(9, alice))]);
    assert_eq!((frame.columns[0].clone(), quality), (Some(vec![0, 1]), Quality::LowerBound));
    assert_eq!(frame.columns[STATEMENT.position("calls").unwrap()], Some(vec![1, 0]));
    // A user who was made anew by the same name goes on in the same row.
    let mut entries = all;
    entries[4] = (9, 12 << 1 | 1, 2, 3);
    let bobs = id(Key(9, bob));
    let (frame, _) = row(&before, &at(100, &entries), bobs);
    assert_eq!((&frame.ids[..], frame.columns[0].clone()), (&[bobs][..], Some(vec![1])));
    assert_eq!(value(&frame, bobs, "calls"), Some(3));
}

#[test]
fn hours_tell_it_too() {
    let span = |until, quality| Span {
        since: until - 50,
        until,
        length_us: 50,
        quiet_us: 0,
        quality,
        flags: 0,
    };
    let first = prior(tables(50, &[(1, 5, 30), (2, 6, 70)], Some(&[8192, 16384])));
    let now = tables(100, &[(1, 5, 30), (2, 9, 90)], None);
    let (before_the_end, quality) = row(&first, &now, 0);
    assert_eq!(quality, Quality::Exact);
    let next = advance(now, Some(first), &[]);
    let (last, quality) = row(&next, &tables(150, &[(1, 8, 30)], Some(&[8192])), 0);
    let parts = [(span(100, Quality::Exact), before_the_end), (span(150, quality), last)];
    let (of_hour, hour) = merge(&RELATION, &parts, 150, None).unwrap();
    assert_eq!((of_hour.quality, &hour.ids[..]), (Quality::LowerBound, &[1, 2][..]));
    assert_eq!(hour.columns[0], Some(vec![0, 1]));
    let told = |name: &str| [1, 2].map(|id| value(&hour, id, name));
    assert_eq!(told("seq_scan"), [Some(3), Some(3)]);
    assert_eq!(told("n_live_tup"), [Some(30), Some(90)]);
    assert_eq!(told("table_bytes"), [Some(8192), Some(16384)]);
}

#[test]
fn nobody_knows_the_size_of_what_was_dropped_before_it_was_measured() {
    let first = prior(tables(50, &[(1, 5, 30), (2, 6, 70)], Some(&[8192, 16384])));
    let second = tables(100, &[(1, 5, 30), (2, 6, 71), (3, 9, 9)], None);
    let next = advance(second, Some(first), &[(2, 3)]);
    let next = Prior::decode(&RELATION, &next.encode()).unwrap();
    let (frame, _) = row(&next, &tables(150, &[(1, 5, 30)], Some(&[24576])), 0);
    assert_eq!(frame.ids, [1, 2, 3]);
    let sizes = [1, 2, 3].map(|id| value(&frame, id, "table_bytes"));
    assert_eq!(sizes, [Some(24576), Some(16384), None]);
    assert_eq!([2, 3].map(|id| value(&frame, id, "n_live_tup")), [Some(71), Some(9)]);
}

#[test]
fn what_goes_by_the_name_of_a_dropped_one_tells_it() {
    let before = prior(tables(50, &[(1, 5, 30), (2, 6, 70)], None));
    // Made again, and nothing was done with it.
    let mut now = tables(100, &[(1, 5, 30), (3, 0, 0)], None);
    now.labels[1] = 2;
    let (frame, quality) = row(&before, &now, 2);
    assert_eq!((&frame.ids[..], quality), (&[2][..], Quality::LowerBound));
    assert_eq!(value(&frame, 2, "n_live_tup"), Some(0));
    assert_eq!(frame.columns[0], Some(vec![1]));
    // Another one took its name, and lost its own.
    let mut now = tables(100, &[(1, 8, 33)], None);
    now.labels[0] = 2;
    let (frame, _) = row(&before, &now, 2);
    assert_eq!((&frame.ids[..], frame.columns[0].clone()), (&[2][..], Some(vec![1])));
    assert_eq!([value(&frame, 2, "seq_scan"), value(&frame, 2, "n_live_tup")], [Some(3), Some(33)]);
    // From then on it is exact.
    let next = advance(now.clone(), Some(before), &[(0, 2)]);
    now = Reading { at: 150, ..now };
    now.columns[1] = vec![9];
    let made = difference(Some(&next), Some(100), &now);
    assert_eq!((made.quality, column(&made, &now, "seq_scan")), (Quality::Exact, Some(vec![1])));
}

#[test]
fn all_tables_get_a_name_when_they_are_first_seen() {
    let now = tables(50, &[(1, 0, 0), (2, 6, 70)], None);
    assert_eq!(difference(None, None, &now).needs_name(), [0, 1]);
    let before = prior(now);
    let now = tables(100, &[(1, 0, 0), (2, 6, 70), (3, 0, 0)], None);
    let made = difference(Some(&before), Some(50), &now);
    assert_eq!((made.needs_name(), made.moved.len()), (&[2][..], 0));
}

#[test]
fn only_tables_and_indexes_are_told() {
    for (family, name, ids) in [(&INDEX, "idx_scan", vec![2]), (&IO, "reads", vec![])] {
        let before = prior(reading(family, 50, &[1, 2], &[(name, &[5, 6])]));
        let (frame, _) = row(&before, &reading(family, 100, &[1], &[(name, &[5])]), 0);
        assert_eq!(frame.ids, ids, "{}", family.name);
    }
}

const NAMES: u64 = 5;

#[derive(Debug, Clone)]
enum Op {
    Scan {
        pick: usize,
        rows: u64,
    },
    Create(u64),
    Drop(usize),
    /// To a name that is free.
    Rename {
        pick: usize,
        name: u64,
    },
    /// Another takes the place of one that is dropped.
    Replace(usize, usize),
    Sample {
        sizes: bool,
    },
}

#[derive(Debug, Clone)]
struct Table {
    name: u64,
    scans: u64,
    live: u64,
    size: u64,
    read: Option<Read>,
}

/// What a table was when it was last read.
#[derive(Debug, Clone, Copy)]
struct Read {
    name: u64,
    scans: u64,
    live: u64,
    /// When sizes were last read.
    size: Option<u64>,
}

#[derive(Default)]
struct Model {
    clock: i64,
    oids: u64,
    tables: BTreeMap<u64, Table>,
    /// Those that were read and dropped since, by the name that they had then, and their scans since.
    dropped: BTreeMap<u64, (Read, u64)>,
    prior: Option<Prior>,
}

impl Model {
    fn pick(&self, pick: usize) -> Option<u64> {
        let n = self.tables.len();
        (n > 0).then(|| *self.tables.keys().nth(pick % n).unwrap())
    }

    fn is_free(&self, name: u64) -> bool {
        self.tables.values().all(|table| table.name != name)
    }

    fn drop_table(&mut self, oid: u64) -> u64 {
        let table = self.tables.remove(&oid).unwrap();
        if let Some(read) = table.read {
            self.dropped.insert(read.name, (read, table.scans - read.scans));
        }
        table.name
    }

    fn step(&mut self, op: &Op) {
        self.clock += 1;
        match *op {
            Op::Scan { pick, rows } => {
                if let Some(table) = self.pick(pick).and_then(|oid| self.tables.get_mut(&oid)) {
                    table.scans += 1;
                    table.live += rows;
                    table.size = table.live.div_ceil(3) * 8192;
                }
            }
            Op::Create(name) => {
                if self.is_free(name) {
                    self.oids += 1;
                    let table = Table { name, scans: 0, live: 0, size: 0, read: None };
                    self.tables.insert(self.oids, table);
                }
            }
            Op::Drop(pick) => {
                self.pick(pick).map(|oid| self.drop_table(oid));
            }
            Op::Rename { pick, name } => {
                let oid = self.pick(pick).filter(|_| self.is_free(name));
                if let Some(table) = oid.and_then(|oid| self.tables.get_mut(&oid)) {
                    table.name = name;
                }
            }
            Op::Replace(old, new) => {
                if let Some((old, new)) = self.pick(old).zip(self.pick(new)).filter(|(a, b)| a != b)
                {
                    let name = self.drop_table(old);
                    self.tables.get_mut(&new).unwrap().name = name;
                }
            }
            Op::Sample { sizes } => self.sample(sizes),
        }
    }

    fn sample(&mut self, sizes: bool) {
        let all: Vec<(u64, u64, u64)> =
            self.tables.iter().map(|(oid, t)| (*oid, t.scans, t.live)).collect();
        let bytes: Vec<u64> = self.tables.values().map(|t| t.size).collect();
        let mut now = tables(self.clock, &all, sizes.then_some(&bytes));
        now.labels = self.tables.values().map(|t| t.name).collect();
        let name_of = |i: usize| now.labels[i] as u32 + 1;
        let since = self.prior.as_ref().map(|prior| prior.at);
        let made = difference(self.prior.as_ref(), since, &now);
        let frame = made.frame(&now, &name_of);
        if !made.baseline {
            (0..NAMES).for_each(|name| self.check(name, &frame, made.quality));
        }
        let new: Vec<(usize, u32)> = made.needs_name().iter().map(|&i| (i, name_of(i))).collect();
        let next = advance(now, self.prior.take(), &new);
        self.prior = Some(Prior::decode(&RELATION, &next.encode()).unwrap());
        for table in self.tables.values_mut() {
            let size = if sizes { Some(table.size) } else { table.read.and_then(|read| read.size) };
            let (name, scans, live) = (table.name, table.scans, table.live);
            table.read = Some(Read { name, scans, live, size });
        }
        self.dropped.clear();
    }

    fn check(&self, name: u64, frame: &Frame, of_row: Quality) {
        let told = |column: &str| value(frame, name as u32 + 1, column);
        let own = self.tables.values().find(|table| table.name == name);
        let dropped = self.dropped.get(&name);
        let scans = own.map_or(0, |t| t.scans - t.read.map_or(0, |read| read.scans));
        let truth = scans + dropped.map_or(0, |(_, scans)| *scans);
        let counted = told("seq_scan").unwrap_or(0);
        assert!(counted <= truth, "{name}: {counted} of {truth}");
        let quality = told("quality").unwrap_or(0);
        assert!(quality <= of_row as u64);
        assert_eq!(quality, u64::from(dropped.is_some()), "{name}: no more and no less is marked");
        assert!(dropped.is_some() || counted == truth, "{name} claims to be exact");
        // States are those of what is there, else as they were when they were last read.
        let (live, size) = match (own, dropped) {
            (Some(table), _) => (table.live, Some(table.size)),
            (None, Some((read, _))) => (read.live, read.size),
            (None, None) => (0, None),
        };
        assert!(told("n_live_tup").is_none_or(|told| told == live), "{name}");
        assert!(told("table_bytes").is_none_or(|told| Some(told) == size), "{name}");
    }
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        20 => (0usize..9, 0u64..20).prop_map(|(pick, rows)| Op::Scan { pick, rows }),
        6 => (0..NAMES).prop_map(Op::Create),
        4 => (0usize..9).prop_map(Op::Drop),
        3 => (0usize..9, 0..NAMES).prop_map(|(pick, name)| Op::Rename { pick, name }),
        2 => (0usize..9, 0usize..9).prop_map(|(old, new)| Op::Replace(old, new)),
        8 => any::<bool>().prop_map(|sizes| Op::Sample { sizes }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn every_shortfall_of_a_table_is_marked(ops in prop::collection::vec(op(), 1..150)) {
        let mut model = Model::default();
        model.step(&Op::Create(0));
        ops.iter().for_each(|op| model.step(op));
        model.step(&Op::Sample { sizes: false });
    }
}
