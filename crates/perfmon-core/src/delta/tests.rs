use super::*;
use crate::family::{DATABASE, Family, INDEX, IO, RELATION, SERVER};
use crate::frame::{Epoch, Key};

/// A reading of a few columns by name; the others are unknown.
pub(super) fn reading(
    family: &'static Family,
    at: i64,
    keys: &[u64],
    values: &[(&str, &[u64])],
) -> Reading {
    let mut columns = vec![Vec::new(); family.columns.len()];
    for (name, value) in values {
        columns[family.position(name).unwrap()] = value.to_vec();
    }
    Reading {
        family,
        epoch: Epoch { identity: "one".into(), began: None },
        at,
        keys: keys.iter().map(|&k| Key(k, 1)).collect(),
        labels: keys.to_vec(),
        columns,
        born: None,
        hides: false,
        floors: vec![],
        ceilings: vec![],
        marks: vec![],
        wholes: vec![],
        parts: None,
        executed: vec![],
        evictions: None,
        whole: false,
    }
}

pub(super) fn prior(reading: Reading) -> Prior {
    let ids: Vec<(usize, u32)> = (0..reading.keys.len()).map(|i| (i, i as u32 + 1)).collect();
    advance(reading, None, &ids)
}

pub(super) fn column(made: &Difference, now: &Reading, name: &str) -> Option<Vec<u64>> {
    made.columns[now.family.position(name).unwrap()].clone()
}

#[test]
fn time_since_the_servers_zero_is_no_time_of_sessions() {
    // 2026-11-21 12:00 UTC, and the time since 2000.
    let (at, since_2000) = (1_795_262_400_000_000_i64, 848_577_600_000_000_u64);
    let of = |at: i64, times: &[u64], sessions: &[u64]| {
        reading(&DATABASE, at, &[1, 2], &[("session_us", times), ("sessions", sessions)])
    };
    let before = prior(of(at, &[5_000, 70], &[10, 2]));
    let (second, later) = (1_000_000, at + 60_000_000);
    let known =
        |made: &Difference, name: &str| made.known >> DATABASE.position(name).unwrap() & 1 == 1;
    // One that was turned away, and one that lasted a second.
    let now = of(later, &[5_000 + since_2000 + 30_000_000 + second, 70], &[11, 5]);
    let made = difference(Some(&before), Some(at), &now);
    assert_eq!((column(&made, &now, "session_us"), known(&made, "session_us")), (None, false));
    assert_eq!(column(&made, &now, "sessions"), Some(vec![1, 3]));
    assert!(known(&made, "sessions"));
    assert_eq!(made.quality, Quality::LowerBound);
    // It is not carried on.
    let next = of(later + 60_000_000, &[now_of(&now, "session_us") + second, 70], &[11, 5]);
    let made = difference(Some(&prior(now)), Some(later), &next);
    assert_eq!(column(&made, &next, "session_us"), Some(vec![second]));
    assert_eq!((known(&made, "session_us"), made.quality), (true, Quality::Exact));
    // A thousand sessions that lasted for nine days and end together.
    let long = 1_000 * 9 * 86_400 * 1_000_000;
    let now = of(later, &[5_000 + long, 70], &[10, 2]);
    let made = difference(Some(&before), Some(at), &now);
    assert_eq!(column(&made, &now, "session_us"), Some(vec![long]));
}

fn now_of(reading: &Reading, name: &str) -> u64 {
    reading.columns[reading.family.position(name).unwrap()][0]
}

#[test]
fn the_first_reading_is_a_baseline() {
    let now = reading(&INDEX, 100, &[1], &[("idx_scan", &[5])]);
    let made = difference(None, None, &now);
    assert!(made.baseline && made.gap.is_none() && made.moved.is_empty());
}

#[test]
fn a_lost_prior_is_a_gap_unless_the_counters_say_when_they_began() {
    let mut now = reading(&INDEX, 100, &[1], &[("idx_scan", &[5])]);
    let made = difference(None, Some(40), &now);
    let gap = made.gap.unwrap();
    assert!(made.baseline);
    assert_eq!((gap.since, gap.until, gap.kind), (40, 100, GapKind::Reset));

    now.epoch.began = Some(60);
    let made = difference(None, Some(40), &now);
    let gap = made.gap.clone().unwrap();
    assert_eq!((made.since, made.quality, made.baseline), (60, Quality::Exact, false));
    assert_eq!((gap.since, gap.until, gap.kind), (40, 60, GapKind::Reset));
    assert_eq!(column(&made, &now, "idx_scan"), Some(vec![5]));

    now.epoch.began = Some(39);
    assert!(difference(None, Some(40), &now).baseline);
    now.epoch.began = Some(101);
    assert!(difference(None, Some(40), &now).baseline, "begun in the future: the clock was set");
}

/// A reading of database 1 alone, or of 1 and others.
pub(super) fn databases(at: i64, keys: &[u64], commits: &[u64]) -> Reading {
    let mut now = reading(&DATABASE, at, keys, &[("xact_commit", commits)]);
    let scope = if keys.len() > 1 { Epoch::ALL } else { "" };
    now.epoch.identity = format!("sys/1/x{scope}");
    now
}

#[test]
fn what_is_read_in_both_goes_on_when_more_or_less_is_read() {
    let readings = [
        databases(100, &[1], &[10]),
        databases(200, &[1, 2], &[20, 900]),
        databases(300, &[1, 2], &[21, 950]),
        databases(400, &[1], &[31]),
        databases(500, &[1], &[32]),
        databases(600, &[1, 2, 3], &[42, 5_000, 7]),
        databases(700, &[1, 2, 3, 4], &[43, 5_001, 7, 3]),
    ];
    // Each interval: commits by database, and the time in which the others were not read.
    type Expected = (&'static [u64], Option<(i64, i64)>);
    let expected: [Expected; 6] = [
        (&[10], Some((100, 200))),
        (&[1, 50], None),
        (&[10], Some((300, 400))),
        (&[1], None),
        (&[10], Some((400, 600))),
        (&[1, 1, 3], None),
    ];
    let mut before = advance(readings[0].clone(), None, &[(0, 1)]);
    for (now, (commits, unread)) in readings[1..].iter().zip(expected) {
        let made = difference(Some(&before), Some(before.at), now);
        assert_eq!(column(&made, now, "xact_commit"), Some(commits.to_vec()), "at {}", now.at);
        assert_eq!((made.since, made.baseline, made.quality), (before.at, false, Quality::Exact));
        assert_eq!(made.gap.as_ref().map(|gap| (gap.since, gap.until)), unread);
        if let Some(gap) = &made.gap {
            let told = (GapKind::Missed, "other databases were not read");
            assert_eq!((gap.kind, gap.detail.as_str()), told);
        }
        let next = advance(now.clone(), Some(before), &[]);
        before = Prior::decode(&DATABASE, &next.encode()).unwrap();
        assert_eq!(before.ids[0], 1, "the name is still the same");
    }
}

#[test]
fn a_size_is_kept_when_more_is_read() {
    let size = DATABASE.position("database_bytes").unwrap();
    let mut first = databases(100, &[1], &[10]);
    first.columns[size] = vec![8192];
    let next = advance(databases(200, &[1, 2], &[20, 900]), Some(prior(first)), &[]);
    assert_eq!(next.columns[size], [8192, UNKNOWN]);
}

#[test]
fn a_reset_is_one_however_much_is_read() {
    let mut now = databases(200, &[1, 2], &[20, 900]);
    now.epoch.identity = format!("sys/1/y{}", Epoch::ALL);
    let made = difference(Some(&prior(databases(100, &[1], &[10]))), Some(100), &now);
    assert!(made.baseline);
    assert_eq!(made.gap.unwrap().detail, "the counters were reset");
}

#[test]
fn another_epoch_is_never_subtracted() {
    let before = prior(reading(&INDEX, 50, &[1], &[("idx_scan", &[5])]));
    let mut now = reading(&INDEX, 100, &[1], &[("idx_scan", &[500])]);
    now.epoch.identity = "two".into();
    let made = difference(Some(&before), Some(50), &now);
    assert!(made.baseline);
    assert_eq!(made.gap.unwrap().kind, GapKind::Reset);
    now.epoch.began = Some(70);
    let made = difference(Some(&before), Some(50), &now);
    assert_eq!((made.since, column(&made, &now, "idx_scan")), (70, Some(vec![500])));
    assert_eq!(made.gap.as_ref().map(|g| (g.kind, g.until)), Some((GapKind::Reset, 70)));
    assert_eq!(made.id(0), Some(1), "the name is still the same");

    let mut before = before;
    before.epoch.identity = "sys/1/x".into();
    now.epoch = Epoch { identity: "sys/2/x".into(), began: None };
    assert_eq!(difference(Some(&before), Some(50), &now).gap.unwrap().kind, GapKind::Standby);
}

#[test]
fn a_clock_that_stepped_back_still_gives_a_row_after_the_last() {
    let before = prior(reading(&INDEX, 50, &[1], &[("idx_scan", &[5])]));
    let now = reading(&INDEX, 20, &[1], &[("idx_scan", &[7])]);
    let made = difference(Some(&before), Some(50), &now);
    assert_eq!((made.since, made.baseline), (50, false));
    assert_eq!(column(&made, &now, "idx_scan"), Some(vec![2]));
    let gap = difference(None, Some(50), &now).gap.unwrap();
    assert!(gap.since < gap.until);
}

#[test]
fn nothing_moved_is_a_row_and_not_a_baseline() {
    let before = prior(reading(&INDEX, 50, &[1], &[("idx_scan", &[5])]));
    let now = reading(&INDEX, 100, &[1], &[("idx_scan", &[5])]);
    let made = difference(Some(&before), Some(50), &now);
    assert!(!made.baseline && made.moved.is_empty() && made.gap.is_none());
    let frame = made.frame(&now, &|_| 9);
    assert!(frame.ids.is_empty());
    assert_eq!(frame.known, 0b11, "the column was measured though nothing moved");
}

#[test]
fn a_table_that_fell_is_a_lower_bound() {
    let before = prior(reading(
        &RELATION,
        50,
        &[1, 2, 3],
        &[("seq_scan", &[5, 6, 7]), ("n_tup_ins", &[1, 1, 1])],
    ));
    let now = reading(&RELATION, 100, &[2, 3], &[("seq_scan", &[2, 9]), ("n_tup_ins", &[1, 1])]);
    let made = difference(Some(&before), Some(50), &now);
    assert_eq!(made.vanished, 1);
    assert_eq!(made.quality, Quality::LowerBound);
    assert_eq!(column(&made, &now, "seq_scan"), Some(vec![2, 2]));
    assert_eq!(column(&made, &now, "n_tup_ins"), Some(vec![1, 0]), "it began anew as a whole");
    assert_eq!(column(&made, &now, "quality"), Some(vec![1, 0]));

    // Reset and idle since: a place that tells it.
    let now = reading(&RELATION, 100, &[3], &[("seq_scan", &[0]), ("n_tup_ins", &[0])]);
    let made = difference(Some(&before), Some(50), &now);
    assert_eq!((made.moved.len(), made.quality), (1, Quality::LowerBound));
}

#[test]
fn a_dropped_index_does_not_book_the_tables_lifetime() {
    let before = prior(reading(
        &RELATION,
        50,
        &[1],
        &[("seq_scan", &[1000]), ("idx_scan", &[900]), ("toast_blks_hit", &[70])],
    ));
    let now = reading(
        &RELATION,
        100,
        &[1],
        &[("seq_scan", &[1003]), ("idx_scan", &[400]), ("toast_blks_hit", &[71])],
    );
    let made = difference(Some(&before), Some(50), &now);
    assert_eq!(column(&made, &now, "seq_scan"), Some(vec![3]));
    assert_eq!(column(&made, &now, "idx_scan"), None);
    assert_eq!(column(&made, &now, "toast_blks_hit"), Some(vec![1]));
    assert_eq!(made.quality, Quality::LowerBound);
}

#[test]
fn the_clusters_counters_are_reset_apart() {
    let before =
        prior(reading(&SERVER, 50, &[0], &[("wal_bytes", &[1000]), ("checkpoints_timed", &[500])]));
    let now = reading(&SERVER, 100, &[0], &[("wal_bytes", &[10]), ("checkpoints_timed", &[501])]);
    let made = difference(Some(&before), Some(50), &now);
    assert_eq!(column(&made, &now, "wal_bytes"), Some(vec![10]));
    assert_eq!(column(&made, &now, "checkpoints_timed"), Some(vec![1]));
    assert_eq!(made.quality, Quality::LowerBound);
    let unnamed = difference(Some(&Prior { ids: vec![0], ..before }), Some(50), &now);
    assert!(unnamed.needs_name().is_empty(), "the server's row has no name");
}

#[test]
fn rounding_of_squares_is_not_a_reset() {
    let values = |calls, sq| -> Reading {
        let mut r = reading(&STATEMENT, 50, &[1], &[("calls", &[calls]), ("exec_sq", &[sq])]);
        r.evictions = Some(0);
        r
    };
    let before = prior(values(100, 1_000_000));
    let now = Reading { at: 100, ..values(101, 999_999) };
    let made = difference(Some(&before), Some(50), &now);
    assert_eq!(column(&made, &now, "calls"), Some(vec![1]));
    assert_eq!((column(&made, &now, "exec_sq"), made.quality), (None, Quality::Exact));
}

#[test]
fn gauges_tell_their_value_and_survive_a_reading_without_them() {
    let sizes: &[u64] = &[8192, 16384];
    let before = prior(reading(
        &RELATION,
        50,
        &[1, 2],
        &[("seq_scan", &[5, 6]), ("table_bytes", sizes), ("n_live_tup", &[3, 4])],
    ));
    let now = reading(&RELATION, 100, &[2, 3], &[("seq_scan", &[6, 0]), ("n_live_tup", &[5, 0])]);
    let made = difference(Some(&before), Some(50), &now);
    assert_eq!(made.moved, [0], "only the gauge moved; a new empty table did not");
    assert_eq!(column(&made, &now, "n_live_tup"), Some(vec![5]));
    let size = RELATION.position("table_bytes").unwrap();
    assert_eq!(made.known() >> size & 1, 0);
    let next = advance(now, Some(before), &[]);
    assert_eq!(next.columns[size], [16384, UNKNOWN], "carried; that of a new object is not known");
    assert_eq!(next.ids, [2, 0]);

    let mut now = reading(
        &RELATION,
        150,
        &[2, 3],
        &[("seq_scan", &[6, 0]), ("table_bytes", &[16384, 0]), ("n_live_tup", &[5, 0])],
    );
    assert_eq!(difference(Some(&next), Some(100), &now).moved, [1], "its size is known now");
    now.whole = true;
    let made = difference(Some(&next), Some(100), &now);
    assert_eq!(made.moved, [0, 1]);
    assert_eq!(column(&made, &now, "table_bytes"), Some(vec![16384, 0]));
    assert_eq!(made.known() >> size & 1, 1);
}

#[test]
fn a_counter_that_was_not_read_does_not_land_in_a_later_interval() {
    let before = prior(reading(&IO, 50, &[1], &[("reads", &[5]), ("read_us", &[100])]));
    let now = reading(&IO, 100, &[1], &[("reads", &[6])]);
    let us = IO.position("read_us").unwrap();
    let made = difference(Some(&before), Some(50), &now);
    assert_eq!(made.known() >> us & 1, 0);
    let next = advance(now, Some(before), &[]);
    let now = reading(&IO, 150, &[1], &[("reads", &[8]), ("read_us", &[300])]);
    let made = difference(Some(&next), Some(100), &now);
    assert_eq!((made.known() >> us & 1, column(&made, &now, "read_us")), (0, None));
    assert_eq!(column(&made, &now, "reads"), Some(vec![2]));
}

#[test]
fn eviction_makes_known_entries_doubtful_and_new_ones_lower_bounds() {
    let at = |at, keys: &[u64], calls: &[u64], evictions| Reading {
        evictions: Some(evictions),
        floors: vec![vec![500; keys.len()]],
        ceilings: vec![vec![1500; keys.len()]],
        ..reading(&STATEMENT, at, keys, &[("calls", calls), ("exec_us", calls)])
    };
    let before = prior(at(50, &[1, 2], &[10, 10], 3));
    let now = at(100, &[1, 3], &[12, 4], 4);
    let made = difference(Some(&before), Some(50), &now);
    assert_eq!(column(&made, &now, "quality"), Some(vec![2, 1]));
    assert_eq!((made.quality, made.vanished), (Quality::Doubtful, 1));
    // The same without eviction.
    let now = at(100, &[1, 2, 3], &[12, 10, 4], 3);
    let made = difference(Some(&before), Some(50), &now);
    assert_eq!((made.quality, column(&made, &now, "quality")), (Quality::Exact, None));
    // A minimum that rose or a maximum that fell is a new life, though all counters grew.
    let mut risen = at(100, &[1, 2], &[12, 10], 3);
    risen.floors[0][0] = 501;
    let made = difference(Some(&before), Some(50), &risen);
    assert_eq!(column(&made, &risen, "calls"), Some(vec![12]));
    assert_eq!(made.quality, Quality::LowerBound);
    let mut fallen = at(100, &[1, 2], &[12, 10], 3);
    fallen.ceilings[0][0] = 1499;
    assert_eq!(
        column(&difference(Some(&before), Some(50), &fallen), &fallen, "calls"),
        Some(vec![12])
    );
    // An entry that merely vanished was reset alone.
    let now = at(100, &[1], &[12], 3);
    let made = difference(Some(&before), Some(50), &now);
    assert_eq!((made.quality, column(&made, &now, "quality")), (Quality::LowerBound, None));
}

#[test]
fn births_settle_it() {
    let at = |at, keys: &[u64], calls: &[u64], born: &[i64]| Reading {
        evictions: Some(at as u64),
        born: Some(born.to_vec()),
        floors: vec![vec![at as u64; keys.len()]],
        ..reading(&STATEMENT, at, keys, &[("calls", calls)])
    };
    let before = Reading { hides: true, ..at(50, &[1, 2], &[10, 10], &[7, 8]) };
    let before = prior(before);
    let now = at(100, &[1, 2, 3, 4], &[12, 15, 4, 70], &[7, 60, 70, 9]);
    let made = difference(Some(&before), Some(50), &now);
    assert_eq!(made.moved, [0, 1, 2], "the last was there all along, hidden from us");
    assert_eq!(column(&made, &now, "calls"), Some(vec![2, 15, 4]));
    assert_eq!(column(&made, &now, "quality"), Some(vec![0, 1, 1]));
    // Where all were shown, it had not ended any execution: entries are made when a statement is planned.
    let seen = Prior { hides: false, evictions: now.evictions, ..before };
    let made = difference(Some(&seen), Some(50), &now);
    assert_eq!(column(&made, &now, "calls"), Some(vec![2, 15, 4, 70]));
    assert_eq!(column(&made, &now, "quality"), Some(vec![0, 1, 0, 0]));
}

#[test]
fn names_are_asked_in_descending_time_and_ids_follow_the_name() {
    let now = |at, calls: &[u64], us: &[u64]| {
        reading(&STATEMENT, at, &[5, 3, 9], &[("calls", calls), ("exec_us", us)])
    };
    let before = advance(now(50, &[1, 1, 1], &[1, 1, 1]), None, &[(0, 70)]);
    assert_eq!((&before.ids, before.position(Key(5, 1))), (&vec![0, 70, 0], Some(1)));
    let after = now(100, &[2, 2, 2], &[5, 6, 9]);
    let made = difference(Some(&before), Some(50), &after);
    assert_eq!(made.needs_name(), [2, 1]);
    assert_eq!((made.id(0), made.id(1)), (Some(70), None));
    let mut renamed = after.clone();
    renamed.labels[0] = 1;
    let made = difference(Some(&before), Some(50), &renamed);
    assert_eq!((made.needs_name(), made.id(0)), (&[2, 1, 0][..], None));
    let next = advance(renamed, Some(before), &[(1, 71), (0, 72)]);
    assert_eq!(next.ids, [71, 72, 0]);
}

#[test]
fn a_frame_is_sorted_and_totals_are_top_level_only() {
    let mut before = reading(
        &STATEMENT,
        50,
        &[1, 2, 3],
        &[("calls", &[1, 1, 1]), ("exec_us", &[10, 10, 10]), ("rows", &[0, 0, 0])],
    );
    before.keys[1].1 = 4;
    let mut now = before.clone();
    now.at = 100;
    now.columns[1] = vec![2, 3, 4];
    now.columns[2] = vec![110, 210, 310];
    let made = difference(Some(&prior(before)), Some(50), &now);
    let frame = made.frame(&now, &|i| [9, 5, 7][i]);
    assert_eq!(frame.ids, [5, 7, 9]);
    assert_eq!(frame.columns[1], Some(vec![2, 3, 1]));
    assert_eq!(frame.columns[2], Some(vec![200, 300, 100]));
    assert_eq!(frame.totals, [Some(4), Some(400), Some(0), None, None, Some(200)]);
    assert_eq!(frame.known, 0b10111);
    // Two users of one name are one statement.
    let frame = made.frame(&now, &|i| [5, 5, 7][i]);
    assert_eq!((&frame.ids[..], &frame.columns[1]), (&[5, 7][..], &Some(vec![3, 3])));
}

#[test]
fn twins_are_summed_before_they_are_subtracted() {
    let before = prior(reading(&DATABASE, 50, &[1], &[("xact_commit", &[10])]));
    let now = reading(&DATABASE, 100, &[1, 1], &[("xact_commit", &[6, 7])]);
    let made = difference(Some(&before), Some(50), &now);
    assert_eq!((&made.moved[..], column(&made, &now, "xact_commit")), (&[0][..], Some(vec![3])));
    let next = advance(now, Some(before), &[]);
    assert_eq!((next.keys.len(), next.columns[2][0], next.ids[0]), (1, 13, 1));
}

proptest::proptest! {
    /// Who puts a reading in order first gets the same, whatever came twice, went away or was not measured.
    #[test]
    fn order_makes_no_difference(
        before in proptest::collection::vec((0u64..12, 0u64..50), 0..14),
        now in proptest::collection::vec((0u64..12, 0u64..50), 0..14),
        of_statements: bool,
        (births_before, births_now, measured) in proptest::prelude::any::<(bool, bool, bool)>(),
    ) {
        let (family, count, state) = if of_statements {
            (&STATEMENT, "calls", "rows")
        } else {
            (&DATABASE, "xact_commit", "database_bytes")
        };
        let make = |at: i64, rows: &[(u64, u64)], births: bool, measured: bool| {
            let keys: Vec<u64> = rows.iter().map(|r| r.0).collect();
            let values: Vec<u64> = rows.iter().map(|r| r.1).collect();
            let states: Vec<u64> = values.iter().map(|v| v % 3).filter(|_| measured).collect();
            let mut made = reading(family, at, &keys, &[(count, &values), (state, &states)]);
            made.floors = vec![values.iter().map(|v| v % 5).collect()];
            made.ceilings = vec![values.iter().map(|v| v / 2).collect()];
            made.marks = vec![values.iter().map(|v| v % 4).collect()];
            made.born = births.then(|| values.iter().map(|v| (v % 2) as i64 * 150).collect());
            made
        };
        let before = prior(make(100, &before, births_before, true));
        let as_read = make(200, &now, births_now, measured);
        let mut in_order = as_read.clone();
        let order = in_order.put_in_order();
        assert!(in_order.keys.is_sorted());
        let one = difference(Some(&before), Some(100), &as_read);
        let other = difference(Some(&before), Some(100), &in_order);
        let id = |reading: &Reading, i: usize| reading.keys[i].0 as u32 + 1;
        assert_eq!(
            one.frame(&as_read, &|i| id(&as_read, i)),
            other.frame(&in_order, &|i| id(&in_order, i)),
        );
        assert_eq!((one.quality, one.vanished, &one.gap), (other.quality, other.vanished, &other.gap));
        // Of rows that came twice, either may speak for both.
        let keys = |made: &Difference, reading: &Reading, list: &[usize]| -> Vec<_> {
            list.iter().map(|&i| (reading.keys[i], made.id(i))).collect()
        };
        assert_eq!(keys(&one, &as_read, &one.moved), keys(&other, &in_order, &other.moved));
        assert_eq!(
            keys(&one, &as_read, one.needs_name()),
            keys(&other, &in_order, other.needs_name()),
        );
        let was: Vec<Key> = order.iter().map(|&i| as_read.keys[i]).collect();
        assert_eq!(was, in_order.keys);
        let (orders, anew) = (other.into_order(), one.into_order());
        assert_eq!(
            advance_in(anew, as_read, Some(before.clone()), &[]),
            advance_in(orders, in_order, Some(before), &[]),
        );
    }
}
