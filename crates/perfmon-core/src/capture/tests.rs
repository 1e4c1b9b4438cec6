//! The table against a model, folding and differences included.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;

use proptest::prelude::*;

use super::cache::Cache;
use super::failure::{self, Class, Ends, Failures, Refusal, State};
use super::reading::{self, Reading};
use super::statement::{TOPLEVEL, Times};
use super::table::{Entry, Header, Key, Payload, Shape, Table};
use super::tend::Tender;
use crate::histogram::{Latency, bucket};

/// Memory as it is at the start of the server.
pub(super) struct Memory<P> {
    header: Header,
    index: Vec<AtomicU64>,
    entries: Vec<Entry<P>>,
}

impl<P: Payload + Default> Memory<P> {
    pub(super) fn new(keys: usize) -> Self {
        let shape = Shape::of::<P>(keys);
        Self {
            header: Header::default(),
            index: std::iter::repeat_with(AtomicU64::default).take(shape.index).collect(),
            entries: std::iter::repeat_with(Entry::default).take(shape.entries).collect(),
        }
    }

    pub(super) fn table(&self) -> Table<'_, P> {
        Table::new(&self.header, &self.index, &self.entries)
    }
}

fn key(what: u64, user: u32) -> Key {
    Key::new(what, 5, user, TOPLEVEL)
}

fn record<'a>(
    table: &Table<'a, Times>,
    cache: &mut Cache<'a, Times>,
    key: Key,
    ns: u64,
    read: bool,
) {
    // As the hooks do it, within a database.
    if let Some(known) = cache.known(key.what, key.user(), key.kind)
        && known.whose == key.whose
        && let Some(half) = known.entry.payload.usual(ns, read)
    {
        half.count(bucket(ns));
        known.count();
        return;
    }
    cache.entry(table, key).unwrap().payload.record(ns, read);
}

/// Executions by key, all that is not asked for by name in one.
fn executions(entries: &BTreeMap<Key, Latency>) -> BTreeMap<Key, u64> {
    entries.iter().map(|(k, l)| (*k, l.cached.executions() + l.read.executions())).collect()
}

fn since_start(table: &Table<'_, Times>) -> BTreeMap<Key, Latency> {
    reading::difference(&Reading::default(), &reading::read(table, None))
}

#[test]
fn layout_keeps_keys_and_counters_in_lines_of_their_own() {
    assert_eq!(size_of::<Entry<Times>>(), 64 + 2 * 960);
    assert_eq!(std::mem::offset_of!(Entry<Times>, payload), 64);
    assert_eq!(size_of::<Entry<Failures>>(), 128);
    let shape = Shape::of::<Times>(5000);
    assert_eq!((shape.entries, shape.index), (5004, 16384));
}

/// The line that every execution reads must stay in every processor's cache.
#[test]
fn counting_writes_no_key() {
    let memory = Memory::<Times>::new(100);
    let (table, mut cache) = (memory.table(), Cache::new());
    record(&table, &mut cache, key(7, 10), 5_000, false);
    let place = table.find(key(7, 10)).unwrap();
    let line = || {
        let all = format!("{:?}", table.entry(place.entry).unwrap());
        all.split_once("payload").unwrap().0.to_owned()
    };
    let (header, before) = (format!("{:?}", memory.header), line());
    assert!(before.contains("what: 7"), "{before}");
    for i in 0..100_000 {
        record(&table, &mut cache, key(7, 10), i * 37, i % 5 == 0);
    }
    assert_eq!((format!("{:?}", memory.header), line()), (header, before));
}

#[test]
fn a_key_is_found_again_and_users_are_apart() {
    let memory = Memory::<Times>::new(100);
    let (table, mut cache) = (memory.table(), Cache::new());
    for _ in 0..3 {
        record(&table, &mut cache, key(7, 10), 5_000, false);
        record(&table, &mut cache, key(7, 11), 5_000, true);
    }
    let place = table.find(key(7, 10)).unwrap();
    assert_eq!(table.place(key(7, 10)), place);
    assert_eq!(executions(&since_start(&table)), [(key(7, 10), 3), (key(7, 11), 3)].into());
    let one = &since_start(&table)[&key(7, 11)];
    assert_eq!((one.cached.executions(), one.read.executions()), (0, 3));
    assert_eq!(table.occupancy().used, 3, "two and the rest of the database");
    assert!(table.find(key(8, 10)).is_none());
}

#[test]
fn what_finds_no_entry_is_counted_with_the_rest_of_its_database() {
    let memory = Memory::<Times>::new(100);
    let (table, mut cache) = (memory.table(), Cache::new());
    for what in 1..=300 {
        record(&table, &mut cache, key(what, 10), 5_000, false);
    }
    let counted = executions(&since_start(&table));
    let rest = counted[&key(0, 0)];
    assert_eq!(counted.values().sum::<u64>(), 300);
    assert_eq!(counted.len() as u64 - 1 + rest, 300);
    assert_eq!(table.occupancy().refused, rest);
    assert!(rest > 200 && rest < 215, "{rest}");
    // Other databases still get an entry for all of theirs.
    record(&table, &mut cache, Key::new(9, 6, 1, TOPLEVEL), 5_000, false);
    assert_eq!(executions(&since_start(&table))[&Key::new(0, 6, 0, TOPLEVEL)], 1);
    // Of very many databases only the sum is known.
    for database in 7..200 {
        record(&table, &mut cache, Key::new(9, database, 1, TOPLEVEL), 5_000, false);
    }
    let counted = executions(&since_start(&table));
    assert_eq!(counted.values().sum::<u64>(), 300 + 1 + 193);
    assert!(counted[&Key { kind: TOPLEVEL, ..Key::default() }] > 180);
}

#[test]
fn the_coldest_are_folded_and_make_room() {
    let memory = Memory::<Times>::new(200);
    let (table, mut cache, mut tender) = (memory.table(), Cache::new(), Tender::default());
    assert!(!tender.pass(&table), "an empty table needs nothing");
    for what in 1..=400 {
        record(&table, &mut cache, key(what, 10), 5_000, false);
    }
    let mut executed = 400u64;
    let named = |table: &Table<'_, Times>, what| table.find(key(what, 10)).is_some();
    assert!(named(&table, 3) && !named(&table, 390));
    for _ in 0..6 {
        // The first twenty stay hot.
        for what in (1..=20).chain([390]) {
            record(&table, &mut cache, key(what, 10), 5_000, false);
            executed += 1;
        }
        tender.pass(&table);
    }
    while tender.pass(&table) {}
    assert!((1..=20).all(|what| named(&table, what)), "the hot ones stay");
    assert!(
        named(&table, 390),
        "who counted with the rest got an entry of its own once there was room"
    );
    let state = table.occupancy();
    assert!(state.folded >= 10 && state.used < state.capacity, "{state:?}");
    assert_eq!(executions(&since_start(&table)).values().sum::<u64>(), executed);
    assert!(!tender.pass(&table), "and then there is peace");
}

#[test]
fn databases_that_are_gone_give_their_places_back() {
    let memory = Memory::<Times>::new(100);
    let (table, mut tender) = (memory.table(), Tender::default());
    fn execute<'a>(table: &Table<'a, Times>, cache: &mut Cache<'a, Times>, database: u32) {
        record(table, cache, Key::new(9, database, 1, TOPLEVEL), 5_000, false);
    }
    // A server on which tests make a database each: in the end none finds a place.
    let mut last = Cache::new();
    (5..400).for_each(|database| execute(&table, &mut Cache::new(), database));
    execute(&table, &mut last, 399);
    assert!(table.find(Key::new(0, 399, 0, TOPLEVEL)).is_none() && table.has_lost_places());
    let births = table.births();
    assert!(table.databases() > 50, "all that came have a place for the rest, while there was one");
    tender.learn([5, 6, 399].into(), births);
    for _ in 0..6 {
        tender.pass(&table);
    }
    assert_eq!(table.databases(), 2, "the others are gone");
    execute(&table, &mut last, 399);
    assert!(table.find(Key::new(0, 399, 0, TOPLEVEL)).is_some(), "there is room again");
    assert_eq!(executions(&since_start(&table)).values().sum::<u64>(), 397, "none was lost");
    // One that was made after the list was read is not gone.
    let births = table.births();
    execute(&table, &mut Cache::new(), 500);
    tender.learn([5].into(), births);
    for _ in 0..6 {
        tender.pass(&table);
    }
    let left = [6, 399, 500].map(|d| table.find(Key::new(0, d, 0, TOPLEVEL)).is_some());
    assert_eq!(left, [false, false, true]);
    assert_eq!(executions(&since_start(&table)).values().sum::<u64>(), 398);
    assert!(!tender.pass(&table), "and then there is peace");
}

#[test]
fn what_a_worker_left_half_done_is_finished_by_the_next() {
    let memory = Memory::<Times>::new(100);
    let (table, mut cache, mut first) = (memory.table(), Cache::new(), Tender::default());
    for what in 1..=200 {
        record(&table, &mut cache, key(what, 10), 5_000, false);
    }
    first.pass(&table);
    assert!(first.pass(&table), "some are retiring now");
    let before = table.occupancy();
    let mut second = Tender::default();
    for _ in 0..4 {
        second.pass(&table);
    }
    assert!(table.occupancy().folded > before.folded);
    assert_eq!(executions(&since_start(&table)).values().sum::<u64>(), 200);
}

#[test]
fn a_remembered_place_that_counts_something_else_is_noticed() {
    let memory = Memory::<Times>::new(64);
    let (table, mut cache, mut tender) = (memory.table(), Cache::new(), Tender::default());
    record(&table, &mut cache, key(1, 10), 5_000, false);
    for what in 2..=64 {
        table.place(key(what, 10));
    }
    for _ in 0..40 {
        for what in 2..=64 {
            table.entry(table.place(key(what, 10)).entry).unwrap().payload.record(9, false);
        }
        tender.pass(&table);
    }
    assert!(table.find(key(1, 10)).is_none(), "the coldest is gone");
    record(&table, &mut cache, key(1, 10), 5_000, false);
    let all = since_start(&table);
    let under: u64 = all.values().map(|l| l.cached.pairs().first().map_or(0, |p| p.1)).sum();
    let executions: u64 = executions(&all).values().sum();
    assert_eq!(executions, 2 + 40 * 63);
    assert!(under > 0);
}

#[test]
fn the_longest_time_is_known_where_it_is_the_longest_ever() {
    let memory = Memory::<Times>::new(64);
    let (table, mut cache) = (memory.table(), Cache::new());
    record(&table, &mut cache, key(1, 1), 7_000_000, false);
    let first = reading::read(&table, Some(5));
    let entry = first.entries().iter().find(|e| e.key == key(1, 1)).unwrap();
    assert_eq!(first.cached(entry).max_ns, 7_000_000);
    let latency = &reading::difference(&Reading::default(), &first)[&key(1, 1)];
    assert_eq!(latency.peak, Some(crate::histogram::place(bucket(7_000_000), 7_000_000)));
    record(&table, &mut cache, key(1, 1), 6_000_000, false);
    let second = reading::read(&table, Some(5));
    assert_eq!(reading::difference(&first, &second)[&key(1, 1)].peak, None);
    record(&table, &mut cache, key(1, 1), 8_000_000, true);
    let third = reading::read(&table, Some(5));
    assert!(reading::difference(&second, &third)[&key(1, 1)].peak.is_some());
    assert!(reading::difference(&third, &third).is_empty());
    assert!(reading::read(&table, Some(6)).is_empty());
}

#[test]
fn counters_wrap() {
    let key = key(1, 1);
    let entry = |count| {
        let mut reading = Reading::default();
        reading.push(9, key, [(&[(40, count)], 5), (&[], 0)]);
        reading
    };
    let moved = reading::difference(&entry(u32::MAX - 1), &entry(3));
    assert_eq!(moved[&key].cached.pairs(), [(40, 5)]);
    assert!(reading::difference(&entry(9), &entry(3)).is_empty(), "back is not forward");
}

#[test]
fn classes_of_failures() {
    let state = |text: &str| {
        State(text.bytes().rev().fold(0, |state, c| state << 6 | u32::from(c - b'0') & 0x3f))
    };
    assert_eq!(&state("40P01").text(), b"40P01");
    assert_eq!(state("00000"), State(0));
    let of = |text, message: &str| Class::of(state(text), message.as_bytes(), Ends::Statement);
    let fatal = |text| Class::of(state(text), b"x", Ends::Session);
    let login = |text| Class::of(state(text), b"x", Ends::Login);
    assert_eq!(
        of("57014", "canceling statement due to statement timeout"),
        Class::StatementTimeout
    );
    assert_eq!(of("57014", "canceling statement due to user request"), Class::Cancelled);
    assert_eq!(of("55P03", "canceling statement due to lock timeout"), Class::LockTimeout);
    assert_eq!(of("55P03", "could not obtain lock on row in relation \"%s\""), Class::Error);
    assert_eq!(fatal("53300"), Class::Refused);
    assert_eq!(login("53300"), Class::Refused);
    assert_eq!(login("57P03"), Class::Refused);
    assert_eq!(login("57P01"), Class::Terminated);
    for text in ["28000", "28P01", "3D000", "42501", "08P01", "57014"] {
        assert_eq!(login(text), Class::LoginFailed, "{text}");
    }
    assert_eq!(fatal("28000"), Class::Error);
    let pause = |text| Class::of(state(text), b"x", Ends::Pause);
    assert_eq!((pause("08006"), fatal("08006")), (Class::Terminated, Class::Error));
    assert_eq!((pause("08P01"), fatal("08P01")), (Class::Terminated, Class::Error));
    assert_eq!((pause("57P05"), pause("57P01")), (Class::IdleSessionTimeout, Class::Terminated));
    assert!(!Class::LoginFailed.is_error() && !Class::LoginFailed.ends_statement());
    assert!(!Class::Unseen.is_error(), "it may as well have been cancelled");
    // Any function may raise a SQLSTATE; the true ones end the session, or have the server's own message.
    for (text, class) in [
        ("53300", Class::Refused),
        ("57P03", Class::Refused),
        ("57P01", Class::Terminated),
        ("25P03", Class::IdleInTransactionTimeout),
        ("57P05", Class::IdleSessionTimeout),
        ("25P04", Class::TransactionTimeout),
    ] {
        assert_eq!((of(text, "x"), fatal(text)), (Class::Error, class), "{text}");
    }
    assert_eq!(of("40P01", "%s"), Class::Error);
    assert_eq!(of("57014", "%s"), Class::Error);
    let timeout = b"canceling statement due to statement timeout".as_slice();
    let meant = failure::meant;
    assert_eq!(meant(b"%s", timeout), timeout, "caught, and raised again");
    assert_eq!(meant(b"%s", b"mine"), b"%s");
    assert_eq!(meant(b"", b"mine"), b"%s");
    assert_eq!(meant(timeout, b"translated"), timeout);
    assert_eq!(of("40P01", "deadlock detected"), Class::Deadlock);
    assert_eq!(of("22012", ""), Class::Error);
    assert_eq!(of("57014", "canceling autovacuum task"), Class::AutovacuumCancelled);
    for (i, class) in Class::ALL.into_iter().enumerate() {
        assert_eq!(
            (class as usize, failure::of_kind(failure::kind(class, State(77)))),
            (i, (class, State(77)))
        );
        assert_eq!(Class::named(class.name()), Some(class));
    }
    for text in ["40P01", "00000", "AB123", "ZZZZZ"] {
        assert_eq!(
            State::of(text).map(|state| state.text().to_vec()),
            Some(text.as_bytes().to_vec())
        );
    }
    assert_eq!((State::of("4"), State::of("40p01 "), State::of("")), (None, None, None));
}

#[test]
fn failures_without_a_place_are_those_of_this_database_alone() {
    let key = |database, class, state| Key::new(0, database, 0, failure::kind(class, State(state)));
    let placed = [(key(5, Class::Error, 77), (10, 100)), (key(5, Class::Cancelled, 78), (2, 20))];
    let refused = (Key::new(5, 0, 9, failure::refused(State(1), Refusal::RoleLimit)), (3, 0));
    let of = |roots: &[(Class, (u64, u64))], work| {
        let roots = roots.iter().map(|(class, sum)| (key(0, *class, 0), *sum));
        let mut moved: failure::Moved = placed.into_iter().chain([refused]).chain(roots).collect();
        let unknown = failure::settle(&mut moved, 5, work);
        for (kept, sum) in placed.into_iter().chain([refused]) {
            assert_eq!(moved.remove(&kept), Some(sum));
        }
        (moved.into_iter().collect::<Vec<_>>(), unknown)
    };
    assert_eq!(of(&[], [99, 99]), (vec![], vec![]), "all found their place");
    // All of them are ours, so that it is known how, and how long it took.
    let roots = [(Class::Error, (4, 40)), (Class::Deadlock, (1, 70))];
    let ours = vec![(key(5, Class::Error, 0), (4, 40)), (key(5, Class::Deadlock, 0), (1, 70))];
    assert_eq!(of(&roots, [15, 2]), (ours, vec![]));
    // Some are another database's, or all.
    let (some, only_class) = of(&roots, [13, 2]);
    assert_eq!(some, [(key(5, Class::Error, 0), (3, 0))]);
    assert_eq!(only_class, [key(5, Class::Error, 0)]);
    assert_eq!(of(&roots, [10, 2]), (vec![], vec![]));
    let cancelled = [(Class::Cancelled, (6, 60))];
    assert_eq!(of(&cancelled, [10, 8]).0, [(key(5, Class::Cancelled, 0), (6, 60))]);
    assert_eq!(of(&cancelled, [10, 1]).0, [], "more has a place than the routes tell");
}

#[test]
fn failures_add_up_across_folds() {
    let memory = Memory::<Failures>::new(100);
    let (table, mut tender) = (memory.table(), Tender::default());
    let kind = failure::kind(Class::Error, State(123));
    let fail = |what: u64| {
        let place = table.place(Key::new(what, 5, 1, kind));
        table.entry(place.entry).unwrap().payload.record(17, 1000);
    };
    (1..=150).for_each(fail);
    let first = failure::read(&table, Some(5));
    for round in 0..5 {
        (1..=10).for_each(|what| fail(what + round % 2 * 150));
        tender.pass(&table);
    }
    let second = failure::read(&table, Some(5));
    assert!(table.occupancy().folded > 0);
    let sum = |moved: BTreeMap<Key, (u64, u64)>| {
        moved.values().fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
    };
    assert_eq!(sum(failure::difference(&[], &first)), (150, 150_000));
    assert_eq!(sum(failure::difference(&first, &second)), (50, 50_000));
    assert_eq!(second.iter().map(|c| c.last_at).max(), Some(17));
    assert_eq!(failure::from_columns(&failure::to_columns(&second)).as_ref(), Some(&second));
    assert_eq!(failure::from_columns(&[]), None);
}

#[derive(Debug, Clone)]
enum Step {
    Run(u64, u32, u64, bool),
    Pass,
    Read,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        20 => (1u64..120, 1u32..3, 0u64..4_000_000_000_000, any::<bool>())
            .prop_map(|(what, user, ns, read)| Step::Run(what, user, ns, read)),
        1 => Just(Step::Pass),
        1 => Just(Step::Read),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever is folded between readings, the differences hold each execution once: in its own bucket,
    /// under its own key or with the rest of its database.
    #[test]
    fn every_execution_is_in_one_difference(steps in prop::collection::vec(step(), 0..300)) {
        let memory = Memory::<Times>::new(64);
        let (table, mut cache, mut tender) = (memory.table(), Cache::new(), Tender::default());
        let mut executed: BTreeMap<(usize, bool), u64> = BTreeMap::new();
        let mut found = executed.clone();
        let mut own: BTreeMap<Key, u64> = BTreeMap::new();
        let mut before = Reading::default();
        for step in steps.into_iter().chain([Step::Read]) {
            match step {
                Step::Run(what, user, ns, read) => {
                    record(&table, &mut cache, key(what, user), ns, read);
                    *executed.entry((bucket(ns), read)).or_default() += 1;
                    *own.entry(key(what, user)).or_default() += 1;
                }
                Step::Pass => { tender.pass(&table); }
                Step::Read => {
                    let now = reading::read(&table, Some(5));
                    let kept = reading::from_bytes(&reading::to_bytes(&now)).unwrap();
                    prop_assert_eq!(&kept, &now);
                    for (key, latency) in reading::difference(&before, &now) {
                        let own = own.get(&key).copied();
                        let executions = latency.cached.executions() + latency.read.executions();
                        prop_assert!(key.what == 0 || own.is_some_and(|own| executions <= own));
                        for (half, read) in [(&latency.cached, false), (&latency.read, true)] {
                            for (bucket, count) in half.pairs() {
                                *found.entry((usize::from(*bucket), read)).or_default() += count;
                            }
                        }
                    }
                    before = kept;
                }
            }
        }
        prop_assert_eq!(found, executed);
    }

    #[test]
    fn a_damaged_kept_reading_is_an_error_or_a_reading(
        at in 0usize..4000, with in 1u8.., cut in 0usize..4000, keys in 1u64..60
    ) {
        let memory = Memory::<Times>::new(64);
        let (table, mut cache) = (memory.table(), Cache::new());
        for what in 1..=keys {
            record(&table, &mut cache, key(what, 1), what * 1000, what % 2 == 0);
        }
        let mut bytes = reading::to_bytes(&reading::read(&table, None));
        prop_assert!(reading::from_bytes(&bytes[..cut % bytes.len()]).is_err());
        let at = at % bytes.len();
        bytes[at] ^= with;
        let _ = reading::from_bytes(&bytes);
    }
}
