//! What nobody looks at any more, and how many were left open.

use super::*;

#[test]
fn nothing_goes_on_as_far_as_is_known_when_nobody_looks_any_more() {
    let (mut shared, mut tracker) = (shared(), Tracker::default());
    assert!(!tracker.stop(&mut shared), "no sample was taken yet");
    let second = 1_000_000;
    let idle = [session(4, State::InTransaction, second, 5)];
    let look = |tracker: &mut Tracker, shared: &mut Shared, at: i64| {
        tracker.begin(shared, at);
        tracker.idles(shared, &idle, at);
        tracker.waits(shared, &[edge(2, 1)], &[], at);
    };
    look(&mut tracker, &mut shared, 3 * second);
    let seen = shared.tick;
    assert!(tracker.stop(&mut shared));
    assert!(!tracker.knows_waits());
    let waits = shared.waits.since(seen);
    assert_eq!(waits.iter().map(|wait| wait.ended).collect::<Vec<_>>(), [3 * second]);
    assert_eq!(shared.waits.open_or_since(shared.tick), []);
    let idles = shared.idles.since(seen);
    let sums = super::super::idle::sums(&idles, 0);
    let sum = sums.values().next().unwrap();
    assert_eq!((sum.times(), sum.open_us, sum.longest_us), (0, 0, 2 * second));
    assert!(!tracker.stop(&mut shared), "once is enough");
    // Whoever looks again finds what still goes on.
    look(&mut tracker, &mut shared, 9 * second);
    let open = shared.waits.open_or_since(shared.tick);
    assert_eq!(
        open.iter().map(|wait| (wait.began, wait.seen)).collect::<Vec<_>>(),
        [(2, 9 * second)]
    );
    assert!(shared.idles.since(shared.tick - 1).iter().all(|idle| idle.ended == 0));
}

#[test]
fn whoever_came_back_and_left_leaves_nothing_open() {
    let second = 1_000_000;
    let both = [1, 2].map(|pid| session(pid, State::InTransaction, second, 5));
    let ends = |lost: bool| {
        let (mut shared, mut tracker) = (shared(), Tracker::default());
        for at in [30, 61] {
            tracker.begin(&mut shared, at * second);
            tracker.idles(&mut shared, &both, at * second);
        }
        tracker.begin(&mut shared, 62 * second);
        let one = Comeback { pid: 1, before: second - 1, at: 61 * second + 500 };
        tracker.comebacks(Comebacks { all: vec![one], lost });
        tracker.idles(&mut shared, &[], 62 * second);
        let mut found = shared.idles.since(0);
        found.sort_by_key(|idle| idle.who.pid);
        found
    };
    let meant = |idle: &Idle| {
        let sums = super::super::idle::sums(std::slice::from_ref(idle), 0);
        let sum = sums.values().next().unwrap().clone();
        (sum.meaning(60 * second), sum.times(), sum.gone)
    };
    use super::super::idle::Meaning::{Leak, SlowClient};
    let found = ends(false);
    assert_eq!(found[0].ended, 61 * second + 500);
    assert_eq!(found.iter().map(meant).collect::<Vec<_>>(), [(SlowClient, 1, 0), (Leak, 1, 1)]);
    // Where some were lost nobody knows of the other one.
    let endings: Vec<u8> = ends(true).iter().map(|idle| idle.ending).collect();
    assert_eq!(endings, [Ending::Finished as u8, Ending::Unseen as u8]);
}

#[test]
fn sessions_that_are_left_open_count_however_many_they_are() {
    let many = super::super::idle::SESSIONS as i32 + 70;
    let idle = |pid: i32| Idle {
        tick: 1,
        began: 0,
        seen: 20_000_000,
        ended: 0,
        who: Party { queryid: 9, ..Party::of(&session(pid, State::InTransaction, 1, 1)) },
        ending: Ending::Open as u8,
    };
    let idles: Vec<Idle> = (1..=many).map(idle).collect();
    let sums = super::super::idle::sums(&idles, 0);
    let sum = sums.values().next().unwrap();
    assert_eq!((sum.times(), sum.distinct()), (i64::from(many), i64::from(many)));
    assert_eq!(sum.sessions.len(), super::super::idle::SESSIONS);
    // One session that pauses again and again is one.
    let again: Vec<Idle> =
        (0..5).map(|_| Idle { ending: Ending::Resumed as u8, ..idle(1) }).collect();
    let sums = super::super::idle::sums(&again, 0);
    assert_eq!(sums.values().next().unwrap().distinct(), 1);
}

/// What becomes of long idle times is told by long ones, however much time short ones come to.
#[test]
fn short_pauses_from_which_clients_come_back_hide_no_leak() {
    use super::super::idle::{Left, Meaning, Sum, sums};
    let second = 1_000_000;
    let idle = |pid: i32, length: i64, ending: Ending| Idle {
        tick: 1,
        began: 0,
        seen: length,
        ended: if ending == Ending::Open { 0 } else { length },
        who: Party { queryid: 9, ..Party::of(&session(pid, State::InTransaction, 1, 1)) },
        ending: ending as u8,
    };
    let sum = |idles: &[Idle]| sums(idles, 0).into_values().next().unwrap();
    let short = |pid: i32| idle(pid, 3 * second / 2, Ending::Finished);
    let earlier: Vec<Idle> = (0..200).map(|time| short(10 + time % 10)).collect();
    let now = |ending: Ending, length: i64| {
        let mut idles: Vec<Idle> =
            (0..10).map(|pid| idle(10 + pid, second, Ending::Open)).collect();
        idles.extend([1, 2].map(|pid| idle(pid, length, ending)));
        let mut both = sum(&earlier);
        both.then(&sum(&idles));
        both
    };
    let meant = |sum: &Sum| sum.meaning(60 * second);
    let leak = now(Ending::Open, 80 * second);
    assert!(leak.returned_us > leak.open_us);
    assert_eq!((meant(&leak), leak.longest_returned_us), (Meaning::Leak, 3 * second / 2));
    let left = leak.left(60 * second);
    assert_eq!(left, Left { open: 2, gone: 0, sessions: 2, at_least: true });
    let gone = now(Ending::Gone, 80 * second);
    assert_eq!((meant(&gone), gone.left(60 * second).gone), (Meaning::Leak, 2));
    assert_eq!(gone.left(60 * second).open, 0, "who pauses for a moment is not left");
    assert_eq!(meant(&now(Ending::Open, 59 * second)), Meaning::Pauses);
    // Where they come back from long ones, or nobody saw whether they do, it is none.
    for ending in [Ending::Resumed, Ending::Finished, Ending::Unseen] {
        assert_eq!(meant(&now(ending, 80 * second)), Meaning::SlowClient, "{ending:?}");
    }
    let mut mixed = now(Ending::Finished, 80 * second);
    mixed.then(&now(Ending::Open, 70 * second));
    assert_eq!((meant(&mixed), mixed.longest_returned_us), (Meaning::SlowClient, 80 * second));
    // Without any that came back all are left but short ones, of which nobody knows yet.
    let open = |lengths: &[i64]| {
        let idles =
            (1..).zip(lengths).map(|(pid, length)| idle(pid, *length * second, Ending::Open));
        sum(&idles.collect::<Vec<_>>())
    };
    let left = open(&[80, 2]).left(60 * second);
    assert_eq!(left, Left { open: 1, gone: 0, sessions: 1, at_least: false });
    assert_eq!(open(&[80, 60]).left(60 * second).sessions, 2);
    let mut dead = sum(&[idle(1, 61 * second, Ending::Gone)]);
    dead.then(&open(&[9]));
    assert_eq!((meant(&dead), dead.longest_open_us), (Meaning::Leak, 9 * second));
    let left = dead.left(60 * second);
    assert_eq!(left, Left { open: 0, gone: 1, sessions: 1, at_least: false });
    // Nor are they where the others came back from short ones, however many of them there are.
    let mut dead = sum(&[idle(1, 600 * second, Ending::Gone), short(2)]);
    dead.then(&open(&[9; 10]));
    assert_eq!(dead.left(60 * second).open, 0);
}

#[test]
fn what_is_no_client_s_session_is_told_by_what_it_is() {
    let vacuum = Session { kind: Kind::AutovacuumWorker, ..session(1, State::Active, 1, 1) };
    assert_eq!(Party::of(&vacuum).application_name(), "autovacuum worker");
    let mut named = Session { kind: Kind::WalSender, ..vacuum };
    named.application[0] = b'x';
    assert_eq!(Party::of(&named).application_name(), "x");
    assert_eq!(Party::of(&session(1, State::Active, 1, 1)).application_name(), "");
}
