//! The whole server against what was counted, through folding, rest and roll-up.

use proptest::prelude::*;

use super::super::cache::Cache;
use super::super::comment::Route;
use super::super::reading;
use super::super::route::{self, Last};
use super::super::statement::NESTED;
use super::super::table::{Key, Table};
use super::super::tend::Tender;
use super::super::tests::Memory;
use super::*;
use crate::frame::{Quality, Span};
use crate::rollup;

const STAMP: Stamp = Stamp { began: 5, at: 7 };

fn executions(latency: &Latency) -> u64 {
    latency.cached.executions() + latency.read.executions()
}

/// Some execution of some statement of some user in one of three databases.
#[derive(Debug, Clone)]
struct Execution {
    what: u64,
    database: u32,
    user: u32,
    ns: u64,
    read: bool,
    nested: bool,
}

fn execution() -> impl Strategy<Value = Execution> {
    (1u64..60, 1u32..4, 1u32..4, 0u64..1 << 42, any::<bool>(), any::<bool>()).prop_map(
        |(what, database, user, ns, read, nested)| Execution {
            what,
            database,
            user,
            ns,
            read,
            nested,
        },
    )
}

/// Counts as a backend does: nested ones under no route.
fn count<'a>(
    times: &Table<'a, Times>,
    work: &Table<'_, Work>,
    cache: &mut Cache<'a, Times>,
    one: &Execution,
) {
    let kind = if one.nested { NESTED } else { TOPLEVEL };
    let key = Key::new(one.what, one.database, one.user, kind);
    cache.entry(times, key).unwrap().payload.record(one.ns, one.read);
    if !one.nested {
        let application = one.what.to_string();
        let key = route::key(key.whose, application.as_bytes(), &Route::NONE);
        let last = Last::find(work, key, application.as_bytes(), &Route::NONE);
        let payload = &last.entry(key.whose).unwrap().payload;
        match one.ns % 7 {
            0 => payload.failure(one.read),
            _ => payload.statement(3),
        }
    }
}

fn whole(times: &Table<'_, Times>, work: &Table<'_, Work>) -> Whole {
    let (own, times) = reading::read_with_all(times, 2);
    assert!(own.entries().iter().all(|entry| entry.key.database() == 2));
    let (own, work) = route::read_with_all(work, 2);
    assert!(own.counted.iter().all(|entry| [0, 2].contains(&entry.key.database())));
    Whole { times, work }
}

fn moved(cached: &[(u8, u64)], read: &[(u8, u64)], counts: Option<[u64; 3]>) -> Moved {
    let half = |pairs: &[(u8, u64)]| Sparse::new(pairs.iter().copied());
    let latency = Latency { cached: half(cached), read: half(read), peak: None };
    Moved { latency, counts, ..Moved::default() }
}

fn stored(moved: &Moved) -> Moved {
    of_frame(&moved.frame())
}

fn of_frame(frame: &Frame) -> Moved {
    let value = |place: usize, column: usize| {
        frame.columns[column].as_ref().map_or(0, |values| values[place])
    };
    Moved::of_row(&frame.ids, frame.known, value)
}

#[test]
fn counters_that_wrapped_go_on_and_those_that_went_back_are_a_mistake() {
    let at = |n: u32| {
        let mut whole = Whole::default();
        whole.times.cached[9] = n;
        whole.work.errors = n;
        whole
    };
    let made = Moved::between(Some(&at(u32::MAX - 1)), &at(3));
    assert_eq!((executions(&made.latency), made.counts), (5, Some([0, 5, 0])));
    let back = Moved::between(Some(&at(9)), &at(3));
    assert!(back.is_empty(), "{back:?}");
}

#[test]
fn hidden_errors_are_unknown_in_every_longer_interval() {
    let hidden = moved(&[(30, 4)], &[], None);
    assert_eq!(stored(&hidden), hidden);
    let nothing = moved(&[], &[], Some([0; 3]));
    assert_eq!(stored(&nothing), nothing, "nothing happened, which is known");
    let span = |until| Span {
        since: until - 60,
        until,
        length_us: 60,
        quiet_us: 0,
        quality: Quality::Exact,
        flags: 0,
    };
    let shown = moved(&[(0, 2)], &[(30, 1)], Some([3, 1, 0]));
    let parts = [(span(60), shown.frame()), (span(120), hidden.frame())];
    let (_, hour) = rollup::merge(&CLUSTER, &parts, 3600, None).unwrap();
    let all = moved(&[(0, 2), (30, 4)], &[(30, 1)], None);
    assert_eq!(of_frame(&hour), Moved { heard: [1, 0], ..all });
    let heard = shown.hide();
    assert_eq!((heard.counts, heard.heard, &stored(&heard)), (None, [1, 0], &heard));
}

#[test]
fn errors_that_nobody_saw_are_not_none() {
    let at =
        |unseen| Whole { work: WorkOfAll { unseen, ..WorkOfAll::default() }, ..Whole::default() };
    assert_eq!(Moved::between(Some(&at(7)), &at(7)).counts, Some([0; 3]));
    let moved = Moved::between(Some(&at(u32::MAX)), &at(0));
    assert_eq!(moved.counts, None);
    // Nothing else happened, and yet no longer interval takes this one for quiet.
    let span =
        Span { since: 0, until: 60, length_us: 60, quiet_us: 0, quality: Quality::Exact, flags: 0 };
    let known = Moved { counts: Some([3, 1, 0]), ..Moved::default() };
    let parts = [(span, known.frame()), (Span { until: 120, ..span }, moved.frame())];
    let (_, hour) = rollup::merge(&CLUSTER, &parts, 3600, None).unwrap();
    assert_eq!(of_frame(&hour).counts, None);
    let kept = Kept { stamp: STAMP, off: false, whole: at(9) };
    assert_eq!(Kept::decode(&kept.encode()).unwrap(), kept);
}

#[test]
fn what_earlier_releases_kept_is_read() {
    for (counts, unseen) in [(3, 0), (4, 7)] {
        let counts = vec![7; counts];
        let bytes = kept::to_bytes(STAMP, &[vec![0], vec![1; BUCKETS], vec![1; BUCKETS], counts]);
        let work = Kept::decode(&bytes).unwrap().whole.work;
        let (executions, errors, cancelled) = (7, 7, 7);
        assert_eq!(work, WorkOfAll { executions, errors, cancelled, unseen, uncounted: 0 });
    }
}

#[test]
fn what_was_executed_with_the_hooks_off_is_no_execution_with_a_time() {
    for counts in [Some([2, 1, 0]), None] {
        let moved = Moved { uncounted: 40, ..moved(&[(9, 3)], &[], counts) };
        assert_eq!(stored(&moved), moved);
    }
}

#[test]
fn something_else_at_rest_is_refused() {
    let bytes = kept::to_bytes(STAMP, &[vec![0], vec![1; BUCKETS], vec![1; BUCKETS], vec![1; 2]]);
    assert!(Kept::decode(&bytes).is_err(), "a counter is missing");
    let wide = vec![1 << 40; BUCKETS];
    let bytes = kept::to_bytes(STAMP, &[vec![0], wide, vec![1; BUCKETS], vec![1; 4]]);
    assert!(Kept::decode(&bytes).is_err(), "too large");
    assert!(Kept::decode(&[]).is_err());
}

proptest! {
    /// Whatever was folded in between, and however small the tables are.
    #[test]
    fn nothing_is_lost_by_folding(
        rounds in prop::collection::vec(prop::collection::vec(execution(), 0..60), 1..6),
        room in 8usize..40,
    ) {
        let (times, work) = (Memory::<Times>::new(room), Memory::<Work>::new(room));
        let (times, work, mut cache) = (times.table(), work.table(), Cache::new());
        let (mut times_tender, mut work_tender) = (Tender::default(), Tender::default());
        let mut before = None;
        for round in &rounds {
            for one in round {
                count(&times, &work, &mut cache, one);
            }
            times_tender.pass(&times);
            work_tender.pass(&work);
            let kept = Kept { stamp: STAMP, off: false, whole: whole(&times, &work) };
            let kept = Kept::decode(&kept.encode()).unwrap().whole;
            let made = Moved::between(before.as_ref(), &kept);
            let sent: Vec<&Execution> = round.iter().filter(|one| !one.nested).collect();
            prop_assert_eq!(executions(&made.latency), sent.len() as u64);
            let reads = sent.iter().filter(|one| one.read).count();
            prop_assert_eq!(made.latency.read.executions(), reads as u64);
            let failed = sent.iter().copied().filter(|one| one.ns % 7 == 0);
            let (cancelled, errors): (Vec<&Execution>, Vec<&Execution>) = failed.partition(|one| one.read);
            let [e, c] = [errors.len() as u64, cancelled.len() as u64];
            prop_assert_eq!(made.counts, Some([sent.len() as u64 - e - c, e, c]));
            prop_assert_eq!(&stored(&made), &made);
            before = Some(kept);
        }
        let kept = Kept { stamp: STAMP, off: true, whole: before.unwrap_or_default() };
        prop_assert_eq!(Kept::decode(&kept.encode()).unwrap(), kept);
    }

    #[test]
    fn damage_never_panics(at in 0usize..10_000, with in 1u8.., cut in 0usize..10_000) {
        let kept = Kept { stamp: STAMP, off: false, whole: Whole::default() };
        let mut bytes = kept.encode();
        let n = bytes.len();
        bytes[at % n] ^= with;
        bytes.truncate(1 + cut % n);
        let _ = Kept::decode(&bytes);
    }
}
