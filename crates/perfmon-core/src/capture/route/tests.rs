//! Routes against a model, folding included.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::super::named::{untimed_now, untimed_then};
use super::super::tend::Tender;
use super::super::tests::Memory;
use super::*;

fn of(route: &str) -> Route {
    super::super::comment::route(format!("route='{route}'").as_bytes())
}

fn whose(user: u32) -> u64 {
    5 << 32 | u64::from(user)
}

fn count(table: &Table<'_, Work>, user: u32, application: &str, route: &str) {
    let route = of(route);
    let key = key(whose(user), application.as_bytes(), &route);
    let last = Last::find(table, key, application.as_bytes(), &route);
    last.entry(key.whose).unwrap().payload.statement(30);
}

fn names(application: &str, route: &str) -> Names {
    Names { application: application.into(), route: route.into() }
}

#[test]
fn an_entry_is_a_whole_number_of_lines() {
    assert_eq!(size_of::<Entry<Work>>(), 64 + 256 + 1856);
    assert_eq!(std::mem::offset_of!(Entry<Work>, payload), 64);
}

#[test]
fn names_are_kept_and_users_applications_and_routes_are_apart() {
    let memory = Memory::<Work>::new(100);
    let table = memory.table();
    for (user, application, route) in
        [(1, "shop", "/a"), (1, "shop", "/b"), (2, "shop", "/a"), (1, "psql", ""), (1, "", "")]
    {
        count(&table, user, application, route);
        count(&table, user, application, route);
    }
    let reading = read(&table, 5);
    let mut found: Vec<_> = reading.names.iter().map(|(k, n)| (k.user(), n.clone())).collect();
    found.sort_by_key(|(user, names)| (*user, names.application.clone(), names.route.clone()));
    assert_eq!(
        found,
        [
            (1, names("", "")),
            (1, names("psql", "")),
            (1, names("shop", "/a")),
            (1, names("shop", "/b")),
            (2, names("shop", "/a")),
        ]
    );
    let moved = difference(&[], &reading.counted);
    assert_eq!(executions(&moved), 10);
    assert!(moved.values().all(|sums| *sums == [(Slot::Statements(30), 2)].into()));
    assert!(read(&table, 6).counted.is_empty());
}

#[test]
fn another_user_is_not_the_last_one() {
    let memory = Memory::<Work>::new(100);
    let table = memory.table();
    let key = key(whose(1), b"shop", &Route::NONE);
    let last = Last::find(&table, key, b"shop", &Route::NONE);
    assert!(last.entry(key.whose).is_some());
    assert!(last.entry(key.whose + 1).is_none());
    assert!(Last::NONE.entry(0).is_none());
}

#[test]
fn a_statement_that_is_a_transaction_is_counted_as_both() {
    let memory = Memory::<Work>::new(100);
    let table = memory.table();
    let key = key(whose(1), b"shop", &Route::NONE);
    let last = Last::find(&table, key, b"shop", &Route::NONE);
    let work = &last.entry(key.whose).unwrap().payload;
    let count = || work.all().filter(|(_, count)| *count > 0).collect::<Vec<_>>();
    work.took(3).lone();
    work.took(3).statement();
    work.transaction(3);
    work.transaction(3);
    work.took(4).lone();
    work.statement(5);
    let (statements, transactions) = (Slot::Statements, Slot::Transactions);
    let told = [
        (statements(3), 2),
        (statements(4), 1),
        (statements(5), 1),
        (transactions(3), 3),
        (transactions(4), 1),
    ];
    assert_eq!(count(), told);
    assert_eq!(last.anywhere().map(|entry| std::ptr::eq(&entry.payload, work)), Some(true));
}

/// The halves of a word wrap each for itself.
#[test]
fn a_half_that_wraps_leaves_the_other_alone() {
    let of = |statements: u32, transactions: u32| {
        Took(AtomicU64::new(u64::from(transactions) << 32 | u64::from(statements)))
    };
    let is = |took: &Took| (took.statements(), took.transactions());
    let took = of(u32::MAX, 7);
    took.statement();
    assert_eq!(is(&took), (0, 7));
    took.statement();
    assert_eq!(is(&took), (1, 7));
    let took = of(u32::MAX, u32::MAX);
    took.lone();
    assert_eq!(is(&took), (0, 0));
    let took = of(5, u32::MAX);
    took.transaction();
    assert_eq!(is(&took), (5, 0));
    let (mine, theirs) = (of(10, 2), of(u32::MAX - 3, u32::MAX));
    mine.move_to(&theirs);
    assert_eq!((is(&mine), is(&theirs)), ((0, 0), (6, 1)));
}

#[test]
fn a_flood_is_counted_with_the_rest() {
    let memory = Memory::<Work>::new(100);
    let table = memory.table();
    for i in 0..1000 {
        count(&table, 1, "shop", &format!("/{i}"));
    }
    let moved = difference(&[], &read(&table, 5).counted);
    assert_eq!(executions(&moved), 1000);
    assert!(moved[&Key::new(0, 5, 0, 0)][&Slot::Statements(30)] > 900);
}

#[derive(Debug, Clone)]
enum Op {
    Count {
        user: u32,
        route: u8,
        slot: Slot,
    },
    /// A statement that is a transaction of its own.
    Lone {
        user: u32,
        route: u8,
        bucket: u8,
    },
    Tend,
    Read,
}

fn op() -> impl Strategy<Value = Op> {
    let slot = prop_oneof![
        6 => (0u8..225).prop_map(Slot::Statements),
        3 => (0u8..225).prop_map(Slot::Transactions),
        1 => Just(Slot::Errors),
        1 => Just(Slot::Cancelled),
        1 => Just(Slot::Uncounted),
        1 => Just(Slot::Nameless),
    ];
    prop_oneof![
        20 => (0u32..3, any::<u8>(), slot).prop_map(|(user, route, slot)| Op::Count { user, route, slot }),
        10 => (0u32..3, any::<u8>(), 0u8..225).prop_map(|(user, route, bucket)| Op::Lone { user, route, bucket }),
        3 => Just(Op::Tend),
        2 => Just(Op::Read),
    ]
}

/// Has something counted under a route.
fn work_of(table: &Table<'_, Work>, user: u32, route: u8, count: impl FnOnce(&Work)) {
    let route = of(&format!("/{route}"));
    let key = key(whose(user), b"shop", &route);
    count(&Last::find(table, key, b"shop", &route).entry(key.whose).unwrap().payload);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
    /// Intervals add up to what was counted, slot by slot, whatever is folded; and what is counted under a name
    /// was counted there.
    #[test]
    fn intervals_add_up(ops in prop::collection::vec(op(), 1..400)) {
        let memory = Memory::<Work>::new(24);
        let (table, mut tender) = (memory.table(), Tender::default());
        let (mut truth, mut told) = (BTreeMap::<Slot, u64>::new(), BTreeMap::<Slot, u64>::new());
        let mut by_name = BTreeMap::<(u32, Names), u64>::new();
        let mut before = Vec::new();
        for op in ops.iter().chain([&Op::Read]) {
            match *op {
                Op::Count { user, route, slot } => {
                    work_of(&table, user, route, |work| match slot {
                        Slot::Statements(b) => work.statement(b.into()),
                        Slot::Transactions(b) => work.transaction(b.into()),
                        Slot::Errors => work.failure(false),
                        Slot::Cancelled => work.failure(true),
                        Slot::Uncounted => work.leave_out(false),
                        Slot::Nameless => work.leave_out(true),
                    });
                    *truth.entry(slot).or_default() += 1;
                    // What has no id is among what is not counted.
                    let twice = u64::from(slot == Slot::Nameless);
                    if twice > 0 {
                        *truth.entry(Slot::Uncounted).or_default() += twice;
                    }
                    *by_name.entry((user, names("shop", &format!("/{route}")))).or_default() += 1 + twice;
                }
                Op::Lone { user, route, bucket } => {
                    work_of(&table, user, route, |work| work.took(bucket.into()).lone());
                    *truth.entry(Slot::Statements(bucket)).or_default() += 1;
                    *truth.entry(Slot::Transactions(bucket)).or_default() += 1;
                    *by_name.entry((user, names("shop", &format!("/{route}")))).or_default() += 2;
                }
                Op::Tend => _ = tender.pass(&table),
                Op::Read => {
                    let now = read(&table, 5);
                    prop_assert_eq!(untimed_now(&table, 5), untimed_then(&now.counted));
                    for (key, sums) in difference(&before, &now.counted) {
                        let sum: u64 = sums.values().map(|n| u64::from(*n)).sum();
                        if key.what != 0 {
                            let left = by_name.get_mut(&(key.user(), now.names[&key].clone())).unwrap();
                            prop_assert!(*left >= sum);
                            *left -= sum;
                        }
                        for (slot, n) in sums {
                            *told.entry(slot).or_default() += u64::from(n);
                        }
                    }
                    before = from_columns(&to_columns(&now.counted)).unwrap();
                    prop_assert_eq!(&before, &now.counted);
                }
            }
        }
        prop_assert_eq!(told, truth);
    }
}

#[test]
fn of_what_found_no_place_everybody_knows_who_had_none() {
    let memory = Memory::<Work>::new(8);
    let table = memory.table();
    let count = |database: u64| {
        let key = key(database << 32 | 7, b"", &Route::NONE);
        table.entry(place(&table, key, b"", &Route::NONE).entry).unwrap().payload.statement(9);
    };
    count(1);
    let before = read(&table, 1).counted;
    (2..20).for_each(count);
    let moved = |database, before: &[Counted]| {
        let mut moved = difference(before, &read(&table, database).counted);
        let unplaced = take_unplaced(&mut moved, before, database);
        (executions(&moved), unplaced)
    };
    assert_eq!(moved(1, &before), (0, false), "it has a place for the rest");
    assert_eq!(moved(2, &[]), (1, true), "it may have had none for a while");
    assert_eq!(moved(19, &[]), (0, true));
    let now = read(&table, 19).counted;
    assert_eq!(moved(19, &now), (0, false), "nothing happened");
    count(19);
    assert_eq!(moved(19, &now), (0, true));
}

#[test]
fn numbers_alone_tell_of_nobody_who_was_counted() {
    let moved = |slots: &[Slot]| {
        let sums = slots.iter().map(|slot| (*slot, 1)).collect();
        Moved::from([(Key::default(), sums)])
    };
    assert!(!tells_more_than_numbers(&Moved::new()));
    assert!(!tells_more_than_numbers(&moved(&[Slot::Uncounted, Slot::Nameless])));
    for slot in [Slot::Statements(3), Slot::Transactions(3), Slot::Errors, Slot::Cancelled] {
        assert!(tells_more_than_numbers(&moved(&[Slot::Uncounted, slot])), "{slot:?}");
    }
}
