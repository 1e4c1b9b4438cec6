//! Sums against a model that keeps every sample.

use super::count::{self, Counts, Doing, Waiting};
use super::group::{self, GROUPS, Grouping, Key, Level};
use super::reading::{Kept, Moved, Reading};
use super::ring::{NO_GROUP, RECORDS, Record, Ring};
use super::rows::{self, Lookup, Of, Waited};
use super::sampler::{Sample, Sampler};
use super::shared::Shared;
use super::spread::{self, Spread};
use super::{Kind, Session, State, wait};
use crate::family::{POOL, POOL_SUMS, SESSION};
use crate::frame::{Frame, Quality, Span};
use crate::rollup;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

mod extent;
mod starting;

const EVERY: Grouping = Grouping { application: true, address: true };

/// Copied from here: it is larger than the stack of a test.
static EMPTY: [Shared; 1] = {
    let record = Record {
        at: 0,
        queryid: 0,
        transaction: 0,
        since: 0,
        born: 0,
        pid: 0,
        database: 0,
        user: 0,
        wait: 0,
        group: 0,
        kind: 0,
        state: 0,
    };
    let group = group::Group {
        key: Key::other(Level::Server),
        used: false,
        born: 0,
        last: 0,
        sums: [0; group::SUMS.len()],
        peaks: [[0; group::PEAKS]; 2],
        spread: [[0; spread::PLACES]; group::SPREADS.len()],
        load: [0; spread::PLACES],
        block: 0,
    };
    [Shared {
        began: 1,
        samples: 0,
        sampled_us: 0,
        last_at: 0,
        cost_ns: 0,
        most_ns: 0,
        sessions: 0,
        block_samples: 0,
        block_us: 0,
        read: 0,
        stored: 0,
        groups: [group; GROUPS],
        doings: Counts::empty(Doing { kind: 0, state: 0, wait: 0 }),
        waitings: Counts::empty(Waiting { queryid: 0, database: 0, user: 0, wait: 0, state: 0 }),
        ring: Ring::empty(record),
    }]
};

fn application(name: &str) -> super::Application {
    let mut application = [0; 64];
    application[..name.len()].copy_from_slice(name.as_bytes());
    application
}

fn session(pid: i32, state: State) -> Session {
    Session {
        pid,
        kind: Kind::Client,
        state,
        database: 5,
        user: 10,
        application: application("shop"),
        address: group::LOCAL,
        wait: 0,
        queryid: 77,
        started: 1000,
        transaction: 0,
        since: 0,
    }
}

struct Taker {
    shared: Vec<Shared>,
    sampler: Sampler,
    at: i64,
}

impl Taker {
    fn new() -> Self {
        Self { shared: EMPTY.to_vec(), sampler: Sampler::default(), at: 0 }
    }

    fn take(&mut self, sessions: &[Session]) -> bool {
        self.at += 1_000_000;
        let sample = Sample { sessions, at: self.at, stands_for_us: 1_000_000, grouping: EVERY };
        self.sampler.add(&mut self.shared[0], sample)
    }

    fn read(&mut self) -> Reading {
        Reading::to_be_stored(&mut self.shared[0])
    }
}

fn of_level(moved: &Moved, level: Level) -> Vec<&super::reading::MovedGroup> {
    moved.groups.iter().filter(|group| group.key.level() == level).collect()
}

#[test]
fn a_storm_has_its_peak_and_a_calm_after_it_has_its_own() {
    let mut taker = Taker::new();
    let calm = [session(1, State::Idle), session(2, State::Active)];
    let storm: Vec<Session> = (1..=40).map(|pid| session(pid, State::Active)).collect();
    taker.take(&calm);
    let before = Kept::decode(&Kept::encode(0, &taker.read())).unwrap().1;
    taker.shared[0].note_stored(1);
    assert!(taker.take(&storm));
    assert!(taker.take(&storm));
    assert!(taker.take(&calm));
    let reading = taker.read();
    let moved = Moved::between(Some(&before), &reading);
    assert_eq!(moved.samples, 3);
    let server = of_level(&moved, Level::Server)[0];
    assert_eq!(server.peaks[..4], [40, 40, 40, 1]);
    assert_eq!(server.sums[0], 81, "active");
    assert_eq!(server.sums[11], 38, "those that came");
    // A reading that could not be stored leaves the peak to the next one.
    let again = Moved::between(Some(&before), &taker.read());
    assert_eq!(of_level(&again, Level::Server)[0].peaks[0], 40);
    let stored = taker.shared[0].samples;
    taker.shared[0].note_stored(stored);
    taker.take(&calm);
    let kept = Kept::decode(&Kept::encode(0, &reading)).unwrap().1;
    let moved = Moved::between(Some(&kept), &taker.read());
    assert_eq!(of_level(&moved, Level::Server)[0].peaks[0], 2);
}

#[test]
fn who_is_there_at_the_first_sample_came_since_the_server_started() {
    let two = [session(1, State::Idle), session(2, State::Idle)];
    let came = |taker: &mut Taker| {
        taker.take(&two);
        taker.take(&two);
        of_level(&Moved::between(None, &taker.read()), Level::Server)[0].sums[11]
    };
    assert_eq!(came(&mut Taker::new()), 2);
    // Samples were switched on later.
    assert_eq!(came(&mut Taker { at: 3_600_000_000, ..Taker::new() }), 0);
}

#[test]
fn idle_sessions_move_nothing() {
    let mut taker = Taker::new();
    let idle = [session(1, State::Idle), session(2, State::Idle)];
    taker.take(&idle);
    assert!(!taker.take(&idle));
    assert!(taker.take(&idle[..1]), "one left");
    assert!(taker.take(&[idle[0], session(3, State::Idle)]), "one came");
    assert!(taker.take(&[idle[0], session(3, State::Aborted)]), "a transaction is open");
}

#[test]
fn more_pools_than_places_go_together_and_places_become_free_again() {
    let mut taker = Taker::new();
    let many: Vec<Session> = (0..600_u32)
        .map(|n| Session { user: 10 + n, ..session(n as i32, State::Active) })
        .collect();
    taker.take(&many);
    let reading = taker.read();
    let moved = Moved::between(None, &reading);
    for level in Level::ALL {
        let groups = of_level(&moved, level);
        let sum: u64 = groups.iter().map(|group| group.sums[0]).sum();
        assert_eq!(sum, 600, "{level:?}");
    }
    let pools = of_level(&moved, Level::Pool);
    assert_eq!(pools.len(), Level::Pool.places().len());
    assert_eq!(pools.iter().find(|pool| pool.key.other).unwrap().sums[0], 600 - 256);
    // Nothing is let go of before it is stored.
    let late = [Session { user: 9000, ..session(7, State::Idle) }];
    taker.take(&late);
    let kept = Kept::decode(&Kept::encode(0, &reading)).unwrap().1;
    let moved = Moved::between(Some(&kept), &taker.read());
    assert!(of_level(&moved, Level::Pool)[0].key.other);
    let samples = taker.shared[0].samples;
    taker.shared[0].note_stored(samples);
    taker.take(&late);
    let moved = Moved::between(Some(&kept), &taker.read());
    assert!(of_level(&moved, Level::Pool).iter().any(|pool| pool.key.user == 9000));
}

#[test]
fn numbers_are_shown_as_they_are_or_three_percent_off() {
    for number in 0..16_000_u32 {
        let place = spread::place(number);
        assert!(place < spread::PLACES);
        assert!(spread::least(place) <= number);
        let shown = spread::middle(place);
        let off = (shown - f64::from(number)).abs();
        assert!(off <= if number < 128 { 0.0 } else { f64::from(number) * 0.032 }, "{number}");
    }
    assert_eq!(spread::place(u32::MAX), spread::PLACES - 1);
    let mut spread = Spread::default();
    spread.add(3, 1);
    assert_eq!(spread.quantile(0.95, 100), Some(0.0));
    assert_eq!(spread.quantile(0.995, 100), Some(3.0));
    // 130 sessions all the time: the middle of their place is more than there ever were.
    let mut full = Spread::default();
    full.add(spread::place(130) as u8, 90);
    full.add(9, 10);
    assert_eq!(full.quantile(0.95, 100), Some(131.5));
    let below = |q: f64, peak: u64| full.quantile_below(q, 100, peak);
    assert_eq!((below(0.95, 130), below(0.05, 130)), (Some(130.0), Some(9.0)));
    // What is at the top of its place is no less than that; a peak elsewhere says nothing of it.
    assert_eq!((below(0.95, 135), below(0.95, 600)), (Some(135.0), Some(131.5)));
    assert_eq!(full.quantile_below(0.95, 0, 130), None);
    assert_eq!((spread.min(100, 0), spread.min(1, 0), spread.min(0, 0)), (Some(0), Some(3), None));
}

#[test]
fn crowds_that_are_gone_at_once_are_averaged_into_a_load() {
    let loads = |moved: &Moved| -> Vec<(u8, u64)> {
        let server = of_level(moved, Level::Server)[0];
        let of = server.places.iter().filter(|((which, _), _)| *which == group::LOAD);
        of.map(|((_, place), samples)| (*place, *samples)).collect()
    };
    let mut taker = Taker::new();
    let crowd: Vec<Session> = (1..=20).map(|pid| session(pid, State::Active)).collect();
    let calm: Vec<Session> = (1..=20).map(|pid| session(pid, State::Idle)).collect();
    // Before the first sample nobody looked.
    taker.take(&crowd);
    for i in 0..10 {
        taker.take(if i % 2 == 0 { &crowd } else { &calm });
    }
    assert_eq!(loads(&Moved::between(None, &taker.read())), [(10, 10)], "20 for half of the time");
    for _ in 0..10 {
        taker.take(&crowd);
    }
    assert_eq!(loads(&Moved::between(None, &taker.read())), [(10, 10), (20, 10)]);
    // Who waits for a lock is at no work, however many there are.
    let behind = |pid: i32| {
        let wait = if pid > 3 { (wait::Class::Lock as u32) << 24 } else { 0 };
        Session { wait, ..session(pid, State::Active) }
    };
    let line: Vec<Session> = (1..=20).map(behind).collect();
    for _ in 0..10 {
        taker.take(&line);
    }
    let with_line = [(3, 10), (10, 10), (20, 10)];
    assert_eq!(loads(&Moved::between(None, &taker.read())), with_line);
    // A block with a hole in it tells nothing.
    for _ in 0..5 {
        taker.take(&crowd);
    }
    taker.sampler.pause();
    for _ in 0..10 {
        taker.take(&calm);
    }
    assert_eq!(loads(&Moved::between(None, &taker.read())), with_line);
}

fn pool_of(session: &Session, grouping: Grouping) -> Key {
    Key::of(session, grouping).last().unwrap()
}

#[test]
fn names_are_read_as_they_were_written() {
    let keys = [
        Key::other(Level::Server),
        Key::other(Level::Pool),
        pool_of(&session(1, State::Idle), EVERY),
        pool_of(&session(1, State::Idle), Grouping { application: false, address: true }),
        pool_of(
            &Session {
                address: group::address(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 10, 1, 2, 3]),
                application: application("two words =@ more"),
                ..session(1, State::Idle)
            },
            EVERY,
        ),
    ];
    for key in &keys {
        assert_eq!(Of::parse(&Of::key(key).join()), Some(Of::key(key)));
    }
    let last = Of::key(&keys[4]);
    assert_eq!(last.address.as_deref(), Some("10.1.2.3"));
    assert_eq!(last.application.as_deref(), Some("two words =@ more"));
    assert_eq!(Of::key(&keys[2]).address.as_deref(), Some(""));
    assert_eq!(Of::key(&keys[3]).application, None);
    let waited = Waited {
        queryid: Some(-5),
        state: State::Aborted,
        wait: wait::name("Client", "ClientRead"),
    };
    let mut names = Numbers;
    let made = rows::waiting_names(
        &Waiting { queryid: -5, database: 1, user: 2, wait: 6 << 24, state: State::Aborted as u8 },
        &mut names,
    );
    assert_eq!(made[..2], ["d1", "u2"]);
    assert_eq!(Waited::parse(&made[2]).unwrap().queryid, waited.queryid);
    assert_eq!(
        Waited::parse("* 2 "),
        Some(Waited { queryid: None, state: State::Active, wait: String::new() })
    );
    assert_eq!(wait::class(0), None);
    assert_eq!(wait::class(0x0A00_0003).map(wait::Class::name), Some("IO"));
    assert_eq!(wait::Class::parse("Lock"), Some(wait::Class::Lock));
}

struct Numbers;

impl Lookup for Numbers {
    fn database(&mut self, oid: u32) -> String {
        format!("d{oid}")
    }
    fn user(&mut self, oid: u32) -> String {
        format!("u{oid}")
    }
    fn wait(&mut self, wait: u32) -> String {
        wait::name("Class", &wait.to_string())
    }
}

#[test]
fn the_ring_keeps_the_newest() {
    let mut taker = Taker::new();
    let one = [session(1, State::Active), session(2, State::Idle)];
    for _ in 0..RECORDS + 10 {
        taker.take(&one);
    }
    let all = taker.shared[0].ring.since(0);
    assert_eq!(all.len(), RECORDS);
    assert_eq!(all[0].at, 11_000_000);
    assert!(all.windows(2).all(|w| w[0].at < w[1].at));
    assert_ne!(all[0].group, NO_GROUP);
    let last = taker.at;
    assert_eq!(taker.shared[0].ring.since(last - 2_000_000).len(), 3);
}

/// A small table shows what a large one does.
#[test]
fn a_full_table_keeps_sums_and_gets_free_places() {
    type Small = Counts<Doing, { 17 * 7 + 2 }>;
    let key = |state: u8, wait: u32| Doing { kind: 0, state, wait };
    let mut table = Small::empty(key(0, 0));
    let mut index = count::Index::default();
    for wait in 1..=5 {
        table.add(&mut index, key(1, wait), 1, 0);
    }
    let count = |table: &Small, wait: u32| {
        table.entries().iter().find(|e| e.key == key(1, wait)).map(|e| e.count)
    };
    assert_eq!(
        (count(&table, 1), count(&table, 3), count(&table, wait::OTHER)),
        (Some(1), None, Some(3))
    );
    table.add(&mut index, key(1, 1), 2, 1);
    table.add(&mut index, key(1, 9), 2, 1);
    assert_eq!((count(&table, 1), count(&table, 2), count(&table, 9)), (Some(2), None, Some(1)));
}

fn states() -> impl Strategy<Value = State> {
    prop::sample::select(State::ALL.to_vec())
}

fn sessions() -> impl Strategy<Value = Vec<Session>> {
    let one = (0..40_i32, states(), 1..4_u32, 0..3_u32, 0..12_u32, 0..5_i64, any::<bool>());
    prop::collection::btree_map(0..60_i32, one, 0..50).prop_map(|all| {
        all.into_iter()
            .map(|(pid, (started, state, database, user, class, queryid, client))| Session {
                kind: if client { Kind::Client } else { Kind::WalSender },
                database,
                user,
                wait: class << 24,
                queryid,
                started: i64::from(started),
                ..session(pid, state)
            })
            .collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 24, ..ProptestConfig::default() })]

    /// Whatever is read and stored when, the differences add up to what the samples held.
    #[test]
    fn differences_add_up(samples in prop::collection::vec((sessions(), any::<bool>(), any::<bool>()), 1..30)) {
        let mut taker = Taker::new();
        let mut kept: Option<Kept> = None;
        let mut doings: BTreeMap<Doing, u64> = BTreeMap::new();
        let mut frames: Vec<(Span, Frame)> = Vec::new();
        let mut peak = 0;
        let mut all_open: Vec<u32> = Vec::new();
        for (sessions, read, lost) in &samples {
            taker.take(sessions);
            let clients: Vec<&Session> = sessions.iter().filter(|s| s.kind == Kind::Client).collect();
            peak = peak.max(clients.len() as u64);
            all_open.push(clients.len() as u32);
            if !read {
                continue;
            }
            let reading = taker.read();
            if *lost {
                continue;
            }
            take_in(&mut taker, &mut kept, reading, &mut doings, &mut frames);
        }
        let reading = taker.read();
        take_in(&mut taker, &mut kept, reading, &mut doings, &mut frames);
        let mut expected: BTreeMap<Doing, u64> = BTreeMap::new();
        for session in samples.iter().flat_map(|(sessions, _, _)| sessions) {
            *expected.entry(Doing::of(session)).or_default() += 1;
        }
        prop_assert_eq!(&doings, &expected);
        // The server's group is object 1.
        let (_, whole) = rollup::merge(&POOL, &frames, 1_000_000, None).unwrap();
        let at = |name: &str, id: u32| {
            let column = POOL.position(name).unwrap();
            let place = whole.ids.binary_search(&id).ok()?;
            Some(whole.columns[column].as_ref().map_or(0, |values| values[place]))
        };
        prop_assert_eq!(whole.totals[0], Some(samples.len() as i64));
        prop_assert_eq!(at("open_peak", 1 << 8 | POOL_SUMS).unwrap_or(0), peak);
        let mut spread = Spread::default();
        for place in 1..=u8::MAX {
            if let Some(samples) = at("open_samples", 1 << 8 | u32::from(place)) {
                spread.add(place, samples);
            }
        }
        all_open.sort_unstable();
        for q in [0.5, 0.95, 0.99] {
            let rank = (q * all_open.len() as f64).ceil() as usize;
            let expected = f64::from(all_open[rank - 1]);
            prop_assert_eq!(spread.quantile(q, all_open.len() as u64), Some(expected));
        }
        prop_assert_eq!(spread.min(all_open.len() as u64, 0), all_open.first().copied());
    }

    #[test]
    fn damage_never_panics(sessions in sessions(), at in 0usize..4000, with in 1u8.., cut in 0usize..4000) {
        let mut taker = Taker::new();
        taker.take(&sessions);
        let mut bytes = Kept::encode(5, &taker.read());
        prop_assert_eq!(Kept::decode(&bytes).unwrap().1.samples(), 1);
        let n = bytes.len();
        bytes[at % n] ^= with;
        bytes.truncate(1 + cut % n);
        let _ = Kept::decode(&bytes);
    }
}

/// Stores what happened since the last reading that was stored.
fn take_in(
    taker: &mut Taker,
    kept: &mut Option<Kept>,
    reading: Reading,
    doings: &mut BTreeMap<Doing, u64>,
    frames: &mut Vec<(Span, Frame)>,
) {
    let moved = Moved::between(kept.as_ref(), &reading);
    *kept = Some(Kept::decode(&Kept::encode(1, &reading)).unwrap().1);
    taker.shared[0].note_stored(reading.samples);
    for (doing, count) in &moved.doings {
        *doings.entry(*doing).or_default() += count;
    }
    let mut seen = BTreeSet::new();
    assert!(moved.groups.iter().all(|group| seen.insert(group.key)));
    // Ids as a dictionary would give them: the server's is 1.
    let id = |key: &Key| match key.level() {
        Level::Server => 1,
        _ => 2 + (key.fingerprint() % 1_000_000) as u32,
    };
    let ids: Vec<u32> = moved.groups.iter().map(|group| id(&group.key)).collect();
    let until = frames.len() as i64 + 1;
    let span = Span {
        since: until - 1,
        until,
        length_us: 1,
        quiet_us: 0,
        quality: Quality::Exact,
        flags: 0,
    };
    frames.push((span, rows::pool_frame(&ids, &moved)));
    let ids: Vec<u32> = (1..).take(moved.doings.len()).collect();
    let counts = moved.doings.iter().map(|(_, count)| *count);
    let frame = rows::sums_frame(&SESSION, &ids, counts, moved.sampled());
    assert_eq!(frame.totals[0], Some(moved.samples as i64));
}
