use super::tests::{column, prior, reading};
use super::*;
use crate::family::{DATABASE, INDEX, RELATION};
use crate::frame::{Key, Together};
use std::collections::HashMap;

/// Indexes of tables: the oid, the name, the table, scans. Those whose names have the same tens are of the same columns; one
/// whose name ends with another digit than zero is not used by queries.
fn indexes(at: i64, all: &[(u64, u64, u64, u64)]) -> Reading {
    let of = |f: fn(&(u64, u64, u64, u64)) -> u64| all.iter().map(f).collect::<Vec<u64>>();
    Reading {
        labels: of(|i| i.1),
        wholes: all.iter().map(|i| Key(i.2, 1)).collect(),
        marks: vec![
            vec![0; all.len()],
            of(|i| i.2 * 10 + i.1 / 10 % 10),
            of(|i| u64::from(i.1 % 10 != 0)),
        ],
        ..reading(&INDEX, at, &of(|i| i.0), &[("idx_scan", &of(|i| i.3))])
    }
}

/// Tables: the oid, its indexes, the sum of their scans.
fn tables(at: i64, all: &[(u64, u64, u64)], parts: Option<HashMap<Key, Together>>) -> Reading {
    let of = |f: fn(&(u64, u64, u64)) -> u64| all.iter().map(f).collect::<Vec<u64>>();
    let marks = vec![vec![0; all.len()], of(|t| t.1), of(|_| 5)];
    let made = reading(&RELATION, at, &of(|t| t.0), &[("idx_scan", &of(|t| t.2))]);
    Reading { marks, parts, ..made }
}

/// Scans and qualities of what moved.
fn scans(made: &Difference, now: &Reading) -> (Vec<u64>, Vec<u64>) {
    let of = |name| column(made, now, name).unwrap_or_else(|| vec![0; made.moved.len()]);
    (of("idx_scan"), of("quality"))
}

#[test]
fn a_copy_of_counters_is_not_counted_again() {
    let before = prior(indexes(50, &[(1, 10, 7, 100), (2, 20, 7, 5)]));
    let between = |all: &[(u64, u64, u64, u64)]| {
        let now = indexes(100, all);
        let made = difference(Some(&before), Some(50), &now);
        (scans(&made, &now), made.quality)
    };
    // Another index of the same columns, which holds what the old one had.
    assert_eq!(between(&[(2, 20, 7, 5), (3, 10, 7, 104)]).0, (vec![4], vec![1]));
    // Less than that is none; what the old one did at last is lost.
    assert_eq!(between(&[(2, 20, 7, 5), (3, 10, 7, 99)]).0, (vec![99], vec![1]));
    // The old one is still there by another name: what both counted is told once.
    let both = [(1, 11, 7, 103), (2, 20, 7, 5), (3, 10, 7, 104)];
    assert_eq!(between(&both), ((vec![4], vec![1]), Quality::LowerBound));
    // Names that were exchanged go on by their own counters.
    assert_eq!(between(&[(1, 20, 7, 101), (2, 10, 7, 6)]).0, (vec![1, 1], vec![0, 0]));
    // It was seen already while it was built.
    let before = prior(indexes(50, &[(1, 10, 7, 100), (3, 12, 7, 0)]));
    let now = indexes(100, &[(1, 11, 7, 103), (3, 10, 7, 104)]);
    let made = difference(Some(&before), Some(50), &now);
    assert_eq!(scans(&made, &now), (vec![4], vec![1]));
}

#[test]
fn a_copy_of_counters_is_known_by_any_name() {
    let before =
        prior(indexes(50, &[(1, 10, 7, 100), (2, 20, 7, 5), (3, 30, 7, 40), (4, 130, 7, 50)]));
    let rest = [(3, 30, 7, 40), (4, 130, 7, 50)];
    let between = |all: &[(u64, u64, u64, u64)]| {
        let now = indexes(100, all);
        let made = difference(Some(&before), Some(50), &now);
        (scans(&made, &now), made.quality)
    };
    let and_rest = |all: &[(u64, u64, u64, u64)]| between(&[&rest, all].concat());
    assert_eq!(and_rest(&[(5, 110, 7, 104), (6, 120, 7, 8)]).0, (vec![4, 3], vec![1, 1]));
    assert_eq!(
        and_rest(&[(1, 211, 7, 103), (2, 20, 7, 5), (5, 110, 7, 104)]).0,
        (vec![4], vec![1])
    );
    // Of other columns, or of another table.
    assert_eq!(and_rest(&[(2, 20, 7, 5), (5, 40, 7, 104)]).0, (vec![104], vec![0]));
    assert_eq!(and_rest(&[(2, 20, 7, 5), (5, 10, 8, 104)]).0.0, [104]);
    // Either of two may be it: no more than is beyond them both, if it can be told.
    let others = [(1, 10, 7, 100), (2, 20, 7, 5)];
    let and_others = |all: &[(u64, u64, u64, u64)]| between(&[&others, all].concat());
    assert_eq!(and_others(&[(5, 30, 7, 52), (6, 130, 7, 47)]).0, (vec![2, 7], vec![1, 1]));
    // Nobody can have used it: it took its place while we looked.
    let made = between(&[&others[..], &rest[..], &[(5, 12, 7, 100)]].concat());
    assert_eq!(made, ((vec![], vec![]), Quality::LowerBound));
    // Kept by a library that did not know it.
    let older = Prior { marks: vec![], ..before.clone() };
    let now = indexes(100, &[(2, 20, 7, 5), (3, 30, 7, 41), (4, 130, 7, 50), (5, 110, 7, 104)]);
    let made = difference(Some(&older), Some(50), &now);
    assert_eq!((scans(&made, &now).0, made.quality), (vec![1], Quality::LowerBound));
}

#[test]
fn a_copy_that_may_be_of_either_tells_nothing() {
    let of = |at: i64, keys: &[u64], scans: &[u64], rows: &[u64]| Reading {
        marks: vec![vec![0; keys.len()]; 3],
        ..reading(&INDEX, at, keys, &[("idx_scan", scans), ("idx_tup_read", rows)])
    };
    let before = prior(of(50, &[1, 2], &[100, 5], &[5, 100]));
    let now = of(100, &[3], &[110], &[110]);
    let made = difference(Some(&before), Some(50), &now);
    assert_eq!((made.moved.len(), made.quality), (0, Quality::LowerBound));
    let now = of(100, &[3], &[110], &[7]);
    let made = difference(Some(&before), Some(50), &now);
    assert_eq!(scans(&made, &now), (vec![10], vec![1]));
}

#[test]
fn a_table_counts_what_its_indexes_did() {
    let known = prior(indexes(50, &[(1, 10, 7, 100), (2, 20, 7, 5), (4, 40, 8, 50)]));
    let sums = prior(tables(50, &[(7, 2, 105), (8, 1, 50)], None));
    let between = |all: &[(u64, u64, u64, u64)], of_tables: &[(u64, u64, u64)]| {
        let now = indexes(100, all);
        let parts = difference(Some(&known), Some(50), &now).together(&now);
        let goes_on = parts.is_none();
        let now = tables(100, of_tables, parts);
        (scans(&difference(Some(&sums), Some(50), &now), &now), goes_on)
    };
    let eight = (4, 40, 8, 52);
    let more = [(1, 10, 7, 101), (2, 20, 7, 5), (3, 30, 7, 9), eight];
    assert_eq!(between(&more, &[(7, 3, 115), (8, 1, 52)]), ((vec![10, 2], vec![0, 0]), true));
    let other = [(2, 20, 7, 6), (3, 30, 7, 150), eight];
    assert_eq!(between(&other, &[(7, 2, 156), (8, 1, 52)]), ((vec![151, 2], vec![1, 0]), false));
    let anew = [(2, 20, 7, 6), (3, 10, 7, 104), eight];
    assert_eq!(between(&anew, &[(7, 2, 110), (8, 1, 52)]), ((vec![5, 2], vec![1, 0]), false));
    let both = [(1, 11, 7, 102), (2, 20, 7, 6), (3, 10, 7, 104), eight];
    assert_eq!(between(&both, &[(7, 3, 212), (8, 1, 52)]), ((vec![5, 2], vec![1, 0]), false));
    // Nothing is left, and nothing moved but the other.
    assert_eq!(between(&[eight], &[(7, 0, 0), (8, 1, 52)]), ((vec![0, 2], vec![1, 0]), false));
}

#[test]
fn other_long_values_make_a_lower_bound() {
    let of = |at: i64, toast: u64, hits: u64| Reading {
        marks: vec![vec![0], vec![1], vec![toast]],
        ..reading(&RELATION, at, &[7], &[("toast_blks_hit", &[hits])])
    };
    for (was, is, quality) in
        [(3, 3, Quality::Exact), (0, 3, Quality::Exact), (3, 4, Quality::LowerBound)]
    {
        let before = prior(of(50, was, 100));
        assert_eq!(difference(Some(&before), Some(50), &of(100, is, 120)).quality, quality);
    }
}

#[test]
fn a_reset_that_was_outgrown_is_a_lower_bound() {
    let of = |at: i64, keys: &[u64], scans: &[u64], reset: u64| Reading {
        marks: vec![vec![reset; keys.len()]],
        ..reading(&INDEX, at, keys, &[("idx_scan", scans)])
    };
    let before = prior(of(50, &[1, 2], &[5, 7], 30));
    let now = of(100, &[1, 2, 3], &[500, 7, 9], 30);
    let made = difference(Some(&before), Some(50), &now);
    assert_eq!(made.quality, Quality::Exact);
    let now = of(100, &[1, 2, 3], &[500, 7, 9], 60);
    let made = difference(Some(&before), Some(50), &now);
    assert_eq!(column(&made, &now, "idx_scan"), Some(vec![495, 0, 9]));
    assert_eq!(column(&made, &now, "quality"), Some(vec![1, 1, 1]));
    // Even if nothing moved.
    let now = of(100, &[2], &[7], 60);
    let made = difference(Some(&before), Some(50), &now);
    assert_eq!((made.moved.len(), made.quality), (1, Quality::LowerBound));
    // Kept by a library that did not know it.
    let older = Prior { marks: vec![], ..before };
    let now = of(100, &[1, 2], &[500, 7], 60);
    assert_eq!(difference(Some(&older), Some(50), &now).quality, Quality::Exact);
    // One of several that have each their own.
    let each = |resets: [u64; 3]| Reading {
        marks: vec![resets.to_vec()],
        ..reading(&DATABASE, 100, &[1, 2, 3], &[("xact_commit", &[9, 9, 9])])
    };
    let before = prior(Reading {
        marks: vec![vec![0, 40]],
        ..reading(&DATABASE, 50, &[1, 2], &[("xact_commit", &[1, 1])])
    });
    let qualities =
        |now: Reading| column(&difference(Some(&before), Some(50), &now), &now, "quality");
    assert_eq!(qualities(each([0, 40, 0])), None);
    assert_eq!(qualities(each([0, 41, 0])), Some(vec![0, 1, 0]));
    assert_eq!(qualities(each([41, 40, 42])), Some(vec![1, 0, 1]));
}

#[test]
fn what_was_made_again_by_the_same_name_is_a_lower_bound() {
    let of = |at: i64, key: u64, name: u64, scans: u64| Reading {
        labels: vec![name],
        ..reading(&INDEX, at, &[key], &[("idx_scan", &[scans])])
    };
    let before = prior(of(50, 1, 7, 100));
    let made = |now: Reading| {
        let made = difference(Some(&before), Some(50), &now);
        (column(&made, &now, "idx_scan"), column(&made, &now, "quality"))
    };
    assert_eq!(made(of(100, 2, 7, 40)), (Some(vec![40]), Some(vec![1])));
    assert_eq!(made(of(100, 2, 8, 40)), (Some(vec![40]), None), "another name");
}
