//! A model of indexes that are made, used, renamed, built anew and dropped, with the true totals beside it: of no index
//! and of no table more is told than was done, and what is called exact is.

use super::{Difference, Prior, advance, difference, tests::reading};
use crate::family::{Family, INDEX, RELATION};
use crate::frame::{Key, Quality, Reading};
use proptest::prelude::*;
use std::collections::BTreeMap;

const TABLES: u64 = 2;

#[derive(Debug, Clone)]
enum Op {
    Scan {
        pick: usize,
        rows: u64,
    },
    /// By somebody who began before the index lost its place.
    LateScan {
        rows: u64,
    },
    Create {
        table: u64,
        columns: u64,
    },
    Drop(usize),
    Rename {
        pick: usize,
        name: u64,
    },
    RenameTable(u64),
    /// REINDEX CONCURRENTLY step by step.
    Build(usize),
    Swap,
    Finish,
    Reset,
    Sample,
    /// The new index takes its place after it was seen and before its counters are read.
    SwapAndSample,
}

#[derive(Debug, Clone)]
struct Index {
    table: u64,
    columns: u64,
    name: u64,
    scans: u64,
    rows: u64,
    invalid: bool,
    /// The first of those that were built anew from each other.
    stands_for: u64,
}

#[derive(Default)]
struct Model {
    clock: i64,
    oids: u64,
    resets: u64,
    indexes: BTreeMap<u64, Index>,
    /// When each was made.
    born: BTreeMap<u64, i64>,
    table_names: [u64; TABLES as usize],
    /// The old one, the new one, and when they changed places.
    building: Option<(u64, u64, Option<i64>)>,
    /// (when, what was used, of which table, rows): the truth.
    scans: Vec<(i64, u64, u64, u64)>,
    /// (when, what, of which table, since when it was about to go): what was dropped, or built anew.
    gone: Vec<(i64, u64, u64, i64)>,
    priors: Option<[Prior; 2]>,
    /// By name.
    ids: BTreeMap<u64, u32>,
}

impl Model {
    fn step(&mut self, op: &Op) {
        self.clock += 1;
        match *op {
            Op::Scan { pick, rows } => self.scan(self.pick(pick), rows),
            Op::LateScan { rows } => {
                let old =
                    self.building.filter(|(.., swapped)| swapped.is_some()).map(|(old, ..)| old);
                self.scan(old, rows);
            }
            Op::Create { table, columns } => {
                self.oids += 1;
                let index = Index {
                    table: table % TABLES,
                    columns,
                    name: self.oids,
                    scans: 0,
                    rows: 0,
                    invalid: false,
                    stands_for: self.oids,
                };
                self.born.insert(self.oids, self.clock);
                self.indexes.insert(self.oids, index);
            }
            Op::Drop(pick) => {
                // No database is without indexes.
                if let Some(oid) = self.free(pick).filter(|_| self.indexes.len() > 1) {
                    self.remove(oid, self.clock);
                }
            }
            Op::Rename { pick, name } => {
                if let Some(index) = self.free(pick).and_then(|oid| self.indexes.get_mut(&oid)) {
                    index.name = 1000 + name;
                }
            }
            Op::RenameTable(table) => self.table_names[(table % TABLES) as usize] += 1,
            Op::Build(pick) => {
                if self.building.is_none()
                    && let Some(old) = self.pick(pick)
                {
                    self.oids += 1;
                    let as_old = self.indexes[&old].clone();
                    let new = Index { name: self.oids, scans: 0, rows: 0, invalid: true, ..as_old };
                    self.indexes.insert(self.oids, new);
                    self.building = Some((old, self.oids, None));
                }
            }
            Op::Swap => self.swap(),
            Op::Finish => {
                if let Some((old, _, Some(swapped))) = self.building {
                    self.remove(old, swapped);
                    self.building = None;
                }
            }
            Op::Reset => {
                self.resets += 1;
                self.indexes.values_mut().for_each(|i| (i.scans, i.rows) = (0, 0));
            }
            Op::Sample => self.sample(false),
            Op::SwapAndSample => self.sample(true),
        }
    }

    /// One that queries use.
    fn pick(&self, pick: usize) -> Option<u64> {
        let valid: Vec<u64> =
            self.indexes.iter().filter(|(_, i)| !i.invalid).map(|(oid, _)| *oid).collect();
        (!valid.is_empty()).then(|| valid[pick % valid.len()])
    }

    /// One that is not locked by being built anew.
    fn free(&self, pick: usize) -> Option<u64> {
        let locked =
            |oid: u64| self.building.is_some_and(|(old, new, _)| [old, new].contains(&oid));
        self.pick(pick).filter(|oid| !locked(*oid))
    }

    fn scan(&mut self, oid: Option<u64>, rows: u64) {
        if let Some(index) = oid.and_then(|oid| self.indexes.get_mut(&oid)) {
            index.scans += 1;
            index.rows += rows;
            self.scans.push((self.clock, index.stands_for, index.table, rows));
        }
    }

    fn swap(&mut self) {
        let Some((old, new, None)) = self.building else { return };
        let before = self.indexes[&old].clone();
        self.indexes.insert(new, before);
        if let Some(index) = self.indexes.get_mut(&old) {
            (index.name, index.invalid) = (2000 + old, true);
            self.gone.push((self.clock, index.stands_for, index.table, self.clock));
        }
        self.building = Some((old, new, Some(self.clock)));
    }

    fn remove(&mut self, oid: u64, about_to_go: i64) {
        if let Some(index) = self.indexes.remove(&oid) {
            self.gone.push((self.clock, index.stands_for, index.table, about_to_go));
        }
    }

    fn read(&mut self, swaps: bool) -> [Reading; 2] {
        let seen = self.indexes.clone();
        if swaps {
            self.swap();
        }
        let all: Vec<(u64, Index)> = seen
            .into_iter()
            .map(|(oid, seen)| {
                let now = &self.indexes[&oid];
                (oid, Index { scans: now.scans, rows: now.rows, ..seen })
            })
            .collect();
        let of = |f: &dyn Fn(&Index) -> u64| all.iter().map(|(_, i)| f(i)).collect::<Vec<u64>>();
        let oids: Vec<u64> = all.iter().map(|(oid, _)| *oid).collect();
        let (scans, rows) = (of(&|i| i.scans), of(&|i| i.rows));
        let label = |i: &Index| i.name << 16 | self.table_names[i.table as usize] << 8 | i.table;
        let marks = vec![
            vec![self.resets; all.len()],
            of(&|i| i.table << 8 | i.columns),
            of(&|i| i.invalid.into()),
        ];
        let indexes = Reading {
            labels: of(&label),
            marks,
            wholes: all.iter().map(|(_, i)| Key(i.table, 1)).collect(),
            ..reading(&INDEX, self.clock, &oids, &[("idx_scan", &scans), ("idx_tup_read", &rows)])
        };
        let tables: Vec<u64> = (0..TABLES).collect();
        let sum = |f: &dyn Fn(&Index) -> u64| -> Vec<u64> {
            tables
                .iter()
                .map(|t| all.iter().filter(|(_, i)| i.table == *t).map(|(_, i)| f(i)).sum())
                .collect()
        };
        let marks = vec![vec![self.resets; tables.len()], sum(&|_| 1), vec![0; tables.len()]];
        let tables = Reading {
            marks,
            ..reading(&RELATION, self.clock, &tables, &[("idx_scan", &sum(&|i| i.scans))])
        };
        [indexes, tables]
    }

    fn sample(&mut self, swaps: bool) {
        let [indexes, mut tables] = self.read(swaps);
        if let Some([old_indexes, old_tables]) = self.priors.take() {
            let since = old_indexes.at;
            let made = difference(Some(&old_indexes), Some(since), &indexes);
            self.check_indexes(since, &indexes, &made);
            self.check_gone(&old_indexes, &indexes, &made);
            tables.parts = made.together(&indexes);
            let made = difference(Some(&old_tables), Some(since), &tables);
            self.check_tables(since, &tables, &made);
        }
        let mut keep = |family: &'static Family, reading: Reading| {
            let ids: Vec<(usize, u32)> =
                reading.labels.iter().map(|label| self.id_of(*label)).enumerate().collect();
            Prior::decode(family, &advance(reading, None, &ids).encode()).unwrap()
        };
        self.priors = Some([keep(&INDEX, indexes), keep(&RELATION, tables)]);
    }

    /// Scans and rows since then, by what was used or by its table.
    fn truth(&self, since: i64, by_table: bool) -> BTreeMap<u64, [u64; 2]> {
        let mut truth: BTreeMap<u64, [u64; 2]> = BTreeMap::new();
        for (_, what, table, rows) in self.scans.iter().filter(|s| s.0 > since) {
            let sum = truth.entry(if by_table { *table } else { *what }).or_default();
            *sum = [sum[0] + 1, sum[1] + rows];
        }
        truth
    }

    /// What was made and used and then built anew or dropped between two readings was never seen as it was; and what one
    /// did at last that was about to go is not missed, as of any that was dropped.
    fn is_excused(&self, since: i64, is_meant: impl Fn(u64, u64) -> bool) -> bool {
        let mut gone =
            self.gone.iter().filter(|(at, what, of, _)| *at > since && is_meant(*what, *of));
        gone.any(|(_, what, _, last)| *last <= since || self.born[what] > since)
    }

    fn check_indexes(&self, since: i64, now: &Reading, made: &Difference) {
        let truth = self.truth(since, false);
        let rows = moved(now, made, ["idx_scan", "idx_tup_read"]);
        for index in self.indexes.values() {
            let is_one = |oid: &u64| self.indexes[oid].stands_for == index.stands_for;
            let own: Vec<_> = rows.iter().filter(|row| is_one(&row.0)).collect();
            let told = own
                .iter()
                .fold([0, 0], |sum, (_, values, _)| [sum[0] + values[0], sum[1] + values[1]]);
            let truth = truth.get(&index.stands_for).copied().unwrap_or_default();
            assert!(told[0] <= truth[0] && told[1] <= truth[1], "{index:?}: {told:?} of {truth:?}");
            // The row speaks for what has none of its own in it.
            let all_told = own.len() == self.indexes.keys().filter(|oid| is_one(oid)).count();
            let worst = own.iter().map(|row| row.2).max().filter(|_| all_told);
            let is_exact = worst.unwrap_or(made.quality as u64) == Quality::Exact as u64;
            if is_exact && !self.is_excused(since, |what, _| what == index.stands_for) {
                assert_eq!(told, truth, "{index:?} claims to be exact");
            }
        }
    }

    fn id_of(&mut self, label: u64) -> u32 {
        let next = self.ids.len() as u32 + 1;
        *self.ids.entry(label).or_insert(next)
    }

    /// Each that was read before and is not there now has a place by its name of then, which is a lower bound.
    fn check_gone(&mut self, before: &Prior, now: &Reading, made: &Difference) {
        let ids: Vec<u32> = now.labels.iter().map(|label| self.id_of(*label)).collect();
        let frame = made.frame(now, &|i| ids[i]);
        for (key, id) in std::iter::zip(&before.keys, &before.ids) {
            if !now.keys.contains(key) {
                let at = frame.ids.binary_search(id).unwrap();
                let quality = frame.columns[0].as_ref().map(|qualities| qualities[at]);
                assert_eq!(quality, Some(Quality::LowerBound as u64), "{key:?}");
            }
        }
    }

    fn check_tables(&self, since: i64, now: &Reading, made: &Difference) {
        let all = self.truth(since, true);
        let rows = moved(now, made, ["idx_scan", "idx_scan"]);
        for table in 0..TABLES {
            let row = rows.iter().find(|row| row.0 == table);
            let (told, quality) = row.map_or((0, made.quality as u64), |row| (row.1[0], row.2));
            let truth = all.get(&table).map_or(0, |sums| sums[0]);
            assert!(told <= truth, "table {table}: {told} of {truth}");
            if quality == Quality::Exact as u64 && !self.is_excused(since, |_, of| of == table) {
                assert_eq!(told, truth, "table {table} claims to be exact");
            }
        }
    }
}

/// What moved: the oid, two columns, and the quality.
fn moved(now: &Reading, made: &Difference, names: [&str; 2]) -> Vec<(u64, [u64; 2], u64)> {
    let value = |c: usize, at: usize| made.columns[c].as_ref().map_or(0, |values| values[at]);
    let columns = names.map(|name| now.family.position(name).unwrap());
    let rows = made.moved.iter().enumerate();
    rows.map(|(at, i)| (now.keys[*i].0, columns.map(|c| value(c, at)), value(0, at))).collect()
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        30 => (0usize..9, 0u64..20).prop_map(|(pick, rows)| Op::Scan { pick, rows }),
        4 => (0u64..20).prop_map(|rows| Op::LateScan { rows }),
        5 => (0u64..TABLES, 0u64..2).prop_map(|(table, columns)| Op::Create { table, columns }),
        2 => (0usize..9).prop_map(Op::Drop),
        3 => (0usize..9, 0u64..4).prop_map(|(pick, name)| Op::Rename { pick, name }),
        1 => (0..TABLES).prop_map(Op::RenameTable),
        5 => (0usize..9).prop_map(Op::Build),
        6 => Just(Op::Swap),
        6 => Just(Op::Finish),
        1 => Just(Op::Reset),
        10 => Just(Op::Sample),
        1 => Just(Op::SwapAndSample),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn of_indexes_no_more_is_told_than_was_done(ops in prop::collection::vec(op(), 1..150)) {
        let mut model = Model::default();
        (0..TABLES).for_each(|table| model.step(&Op::Create { table, columns: 0 }));
        for op in &ops {
            model.step(op);
        }
        model.step(&Op::Sample);
    }
}
