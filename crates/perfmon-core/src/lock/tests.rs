//! Chains, episodes and deadlocks against what is known to be so.

use std::sync::atomic::AtomicU64;

use super::comeback::{self, Comeback, Comebacks};
use super::deadlock::{self, Board, Deadlock, Member, PARTIES, PLACES, WORDS};
use super::graph::{Blocked, Edge, Instance, MOST_PROCESSES, at_once, heads};
use super::lasting::Longest;
use super::ring::{self, Ending, Idle, Ring, Shared, WAITS, Wait};
use super::tracker::Tracker;
use super::{Party, TRANSACTION_KIND, TUPLE_KIND, Tag};
use crate::activity::{Kind, Session, State, group};

mod ended;
mod pauses;

fn shared() -> Box<Shared> {
    const NOBODY: Party = Party::nobody(0);
    const TAG: Tag = Tag { database: 0, relation: 0, kind: 0 };
    const WAIT: Wait = Wait {
        tick: 0,
        began: 0,
        seen: 0,
        ended: 0,
        waiter: NOBODY,
        blocker: NOBODY,
        head: NOBODY,
        tag: TAG,
        depth: 0,
        wanted: 0,
        held: 0,
    };
    const IDLE: Idle = Idle { tick: 0, began: 0, seen: 0, ended: 0, who: NOBODY, ending: 0 };
    static EMPTY: Shared = Shared {
        began: 1,
        tick: 0,
        at: 0,
        looks: 0,
        look_ns: 0,
        waits: Ring::empty(WAIT),
        idles: Ring::empty(IDLE),
        longest: Longest::EMPTY,
    };
    Box::new(EMPTY)
}

fn session(pid: i32, state: State, since: i64, transaction: i64) -> Session {
    Session {
        pid,
        kind: Kind::Client,
        state,
        database: 5,
        user: 10,
        application: [0; 64],
        address: group::LOCAL,
        wait: 0,
        queryid: i64::from(pid) * 100,
        started: 7,
        transaction,
        since,
    }
}

fn instance(pid: i32, held: &[u8], wanted: u8) -> Instance {
    let held = held.iter().map(|mode| 1 << mode).sum();
    Instance { pid, leader: pid, held, wanted, since: i64::from(wanted) }
}

fn blockers(blocked: &Blocked) -> Vec<(i32, u8)> {
    blocked.edges().iter().map(|edge| (edge.blocker, edge.held)).collect()
}

#[test]
fn those_block_whose_modes_conflict_and_those_who_wait_in_front() {
    let tag = Tag::of(0, [5, 16_384]);
    let all = vec![
        instance(1, &[1], 0),
        instance(2, &[3, 1], 0),
        instance(3, &[], 8),
        instance(4, &[1], 8),
        instance(5, &[], 1),
    ];
    let of = |pid: i32, ahead: Vec<i32>| Blocked { pid, tag, instances: all.clone(), ahead };
    // Who wants it alone waits for all who hold it, not for itself.
    assert_eq!(blockers(&of(3, vec![])), [(1, 1), (2, 3), (4, 1)]);
    // Who waits in front is in the way if the modes conflict, and is told of where nobody holds it: the first in line.
    assert_eq!(blockers(&of(4, vec![3])), [(1, 1), (2, 3)]);
    assert_eq!(blockers(&of(5, vec![4, 3])), [(4, 0)]);
    assert_eq!(blockers(&of(5, vec![1, 3, 4])), [(3, 0)]);
    assert_eq!(blockers(&of(5, vec![])), []);
    // A process that does not wait any more.
    assert_eq!(blockers(&of(1, vec![])), []);
    assert_eq!(blockers(&of(9, vec![])), []);
}

/// A process holds a lock alone, and these want the same, in this order.
fn line(pids: std::ops::Range<i32>) -> Vec<Edge> {
    let mut all = vec![instance(1, &[8], 0)];
    all.extend(pids.clone().map(|pid| instance(pid, &[], 8)));
    let of = |pid: i32| {
        let (tag, ahead) = (Tag::of(0, [5, 16_384]), (pids.start..pid).collect());
        Blocked { pid, tag, instances: all.clone(), ahead }
    };
    pids.clone().flat_map(|pid| of(pid).edges()).collect()
}

#[test]
fn a_long_line_is_one_pair_for_each_in_it() {
    let edges = line(2..MOST_PROCESSES as i32);
    let pairs: Vec<(i32, i32)> = edges.iter().map(|edge| (edge.waiter, edge.blocker)).collect();
    assert_eq!(pairs, (2..MOST_PROCESSES as i32).map(|pid| (pid, 1)).collect::<Vec<_>>());
    // Where as many hold a lock as want it alone, some of the holders stand for all.
    let mut all: Vec<Instance> = (1..=60).map(|pid| instance(pid, &[1], 0)).collect();
    all.extend((61..=120).map(|pid| instance(pid, &[], 8)));
    let last =
        Blocked { pid: 120, tag: Tag::default(), instances: all, ahead: (61..120).collect() };
    assert_eq!(blockers(&last), [(1, 1), (2, 1), (3, 1), (4, 1)]);
}

#[test]
fn what_goes_on_keeps_its_place_while_others_come_and_go() {
    let (mut shared, mut tracker) = (shared(), Tracker::default());
    let line = line(2..62);
    let mut at = 1_000_000;
    // Others wait a moment each, many times more than there are places.
    for other in 0..200 {
        at += 100_000;
        let mut edges = line.clone();
        edges.extend((0..20).map(|n| Edge { since: at, ..edge(1_000 + other * 20 + n, 900) }));
        tracker.begin(&mut shared, at);
        tracker.waits(&mut shared, &edges, &[], at);
    }
    let open = |shared: &Shared| {
        let told = shared.waits.open_or_since(shared.tick);
        told.into_iter().filter(|wait| wait.waiter.pid < 900).collect::<Vec<Wait>>()
    };
    let waits = open(&shared);
    let began: Vec<(i32, i64, i64)> =
        waits.iter().map(|wait| (wait.waiter.pid, wait.began, wait.seen)).collect();
    assert_eq!(began, (2..62).map(|pid| (pid, 8, at)).collect::<Vec<_>>());
    assert_eq!(shared.waits.since(0).len(), WAITS);
    at += 100_000;
    tracker.begin(&mut shared, at);
    tracker.waits(&mut shared, &[], &[], at);
    assert!(shared.waits.since(0).iter().all(|wait| wait.ended != 0));
    assert_eq!(shared.waits.since(shared.tick - 1).len(), 80);
    assert_eq!(shared.waits.open_or_since(shared.tick), []);
}

#[test]
fn a_group_does_not_block_itself_and_is_named_by_its_leader() {
    let worker = Instance { pid: 11, leader: 10, held: 0, wanted: 8, since: 4 };
    let instances =
        vec![instance(10, &[1], 0), worker, Instance { leader: 20, ..instance(21, &[3], 0) }];
    let blocked = Blocked { pid: 11, tag: Tag::default(), instances, ahead: vec![] };
    let edges = blocked.edges();
    assert_eq!(edges.iter().map(|e| (e.waiter, e.blocker)).collect::<Vec<_>>(), [(10, 20)]);
}

#[test]
fn prepared_transactions_block_without_a_process() {
    let prepared = Instance { pid: 0, leader: 0, held: 1 << 7, wanted: 0, since: 0 };
    let tag = Tag::of(TRANSACTION_KIND, [900, 0]);
    let blocked =
        Blocked { pid: 3, tag, instances: vec![prepared, instance(3, &[], 5)], ahead: vec![] };
    assert_eq!(blockers(&blocked), [(0, 7)]);
    assert_eq!((tag.database, tag.kind_name()), (0, "transactionid"));
}

fn edge(waiter: i32, blocker: i32) -> Edge {
    let tag = Tag { kind: TRANSACTION_KIND, ..Tag::default() };
    Edge { waiter, since: i64::from(waiter), blocker, tag, wanted: 5, held: 7 }
}

#[test]
fn the_head_of_a_chain_waits_for_nobody() {
    let edges = [edge(2, 1), edge(3, 2), edge(4, 3), edge(6, 5)];
    let told: Vec<(i32, u16)> = heads(&edges).iter().map(|head| (head.pid, head.depth)).collect();
    assert_eq!(told, [(1, 1), (1, 2), (1, 3), (5, 1)]);
    let circle = [edge(1, 2), edge(2, 3), edge(3, 1)];
    let told: Vec<(i32, u16)> = heads(&circle).iter().map(|head| (head.pid, head.depth)).collect();
    assert_eq!(told, [(3, 2), (1, 2), (2, 2)], "nobody is his own head");
}

#[test]
fn a_wait_is_one_episode_from_its_beginning_to_its_end() {
    let (mut shared, mut tracker) = (shared(), Tracker::default());
    let sessions = [session(1, State::InTransaction, 5, 4), session(2, State::Active, 6, 6)];
    let mut look = |edges: &[Edge], at: i64| {
        tracker.begin(&mut shared, at);
        let moved = tracker.waits(&mut shared, edges, &sessions, at);
        (moved, shared.waits.since(0))
    };
    let (moved, waits) = look(&[edge(2, 1)], 100);
    assert!(moved && waits.len() == 1);
    assert_eq!((waits[0].began, waits[0].seen, waits[0].ended), (2, 100, 0));
    assert_eq!((waits[0].waiter.queryid, waits[0].blocker.queryid, waits[0].depth), (200, 100, 1));
    let (moved, waits) = look(&[edge(2, 1)], 200);
    assert!(!moved);
    assert_eq!((waits[0].seen, waits[0].ended, waits[0].tick), (200, 0, 2));
    let (moved, waits) = look(&[], 300);
    assert!(moved);
    assert_eq!((waits[0].seen, waits[0].ended, waits[0].tick), (200, 300, 3));
    let (moved, waits) = look(&[], 400);
    assert!(!moved && waits[0].tick == 3);
    // A wait of which the server does not say yet when it began is told at the next look.
    let (moved, waits) = look(&[Edge { since: 0, ..edge(2, 1) }], 500);
    assert!(!moved && waits.len() == 1);
}

#[test]
fn the_head_is_that_of_now_and_in_the_end_that_of_the_longest_chain() {
    let (mut shared, mut tracker) = (shared(), Tracker::default());
    let mut look = |edges: &[Edge], at: i64| {
        tracker.begin(&mut shared, at);
        tracker.waits(&mut shared, edges, &[], at);
        let of = |wait: &Wait| (wait.waiter.pid, wait.head.pid, wait.depth, wait.seen, wait.ended);
        shared.waits.since(0).iter().map(of).collect::<Vec<_>>()
    };
    assert_eq!(look(&[edge(3, 2)], 100), [(3, 2, 1, 100, 0)]);
    let both = [edge(3, 2), edge(2, 1)];
    assert_eq!(look(&both, 200), [(3, 1, 2, 200, 0), (2, 1, 1, 200, 0)]);
    // Process 1 let go; whoever would end it would not help process 3.
    assert_eq!(look(&[edge(3, 2)], 300), [(3, 2, 1, 300, 0), (2, 1, 1, 200, 300)]);
    assert_eq!(look(&[], 400), [(3, 1, 2, 300, 400), (2, 1, 1, 200, 300)]);
}

#[test]
fn a_prepared_head_is_known_by_who_waits_for_it() {
    let (mut shared, mut tracker) = (shared(), Tracker::default());
    tracker.begin(&mut shared, 100);
    let edges = [edge(4, 3), edge(3, 2), edge(2, 0), edge(6, 5)];
    tracker.waits(&mut shared, &edges, &[session(2, State::Active, 1, 1)], 100);
    let waits = shared.waits.since(0);
    let before: Vec<Option<i32>> =
        waits.iter().map(|wait| ring::before_prepared(&waits, wait)).collect();
    assert_eq!(before, [Some(2), Some(2), Some(2), None]);
    // What of the chain is not there any more is not guessed.
    assert_eq!(ring::before_prepared(&waits[..1], &waits[0]), None);
    let concerned: Vec<bool> = waits.iter().map(|wait| wait.concerns(5)).collect();
    assert_eq!(concerned, [false, true, true, false]);
    let in_object = Wait { tag: Tag { database: 9, ..waits[0].tag }, ..waits[0] };
    assert!(in_object.concerns(9) && !in_object.concerns(5));
    let deadlock = Deadlock { number: 0, at: 1, members: vec![member(30), member(31)] };
    assert!(deadlock.concerns(5) && !deadlock.concerns(6));
}

#[test]
fn idle_times_are_added_up_by_statement() {
    let second = 1_000_000;
    let idle = |pid: i32, began: i64, seen: i64, ending: Ending| Idle {
        tick: 1,
        began,
        seen,
        ended: if ending == Ending::Open { 0 } else { seen },
        who: Party { queryid: 9, ..Party::of(&session(pid, State::InTransaction, 1, 1)) },
        ending: ending as u8,
    };
    let first = [idle(1, 0, 50 * second, Ending::Open), idle(2, 0, 40 * second, Ending::Resumed)];
    let later = [idle(1, 0, 90 * second, Ending::Gone)];
    let whose = (5, 10, String::new(), 9);
    let mut sum = super::idle::sums(&first, 10 * second)[&whose].clone();
    assert_eq!((sum.open, sum.open_us, sum.returned_us), (1, 50 * second, 40 * second));
    assert_eq!(sum.idle_us, 70 * second, "what was before belongs to the interval before");
    sum.then(&super::idle::sums(&later, 50 * second)[&whose]);
    assert_eq!((sum.open, sum.gone, sum.times(), sum.sessions.len()), (0, 1, 2, 2));
    assert_eq!((sum.idle_us, sum.longest_us), (110 * second, 90 * second));
    // Half a second old when the interval before ended, it was not told there.
    let young = [idle(3, 0, 2 * second, Ending::Finished)];
    assert_eq!(super::idle::sums(&young, second / 2)[&whose].idle_us, 2 * second);
    assert_eq!(super::idle::sums(&young, second)[&whose].idle_us, second);
    use super::idle::Meaning;
    assert_eq!(sum.meaning(60 * second), Meaning::Leak);
    assert_eq!(sum.meaning(91 * second), Meaning::Pauses);
    assert_eq!(sum.longest_returned_us, 40 * second);
    sum.returned_us += 60 * second;
    assert_eq!(sum.meaning(60 * second), Meaning::Leak, "none that came back was long");
    assert_eq!(sum.meaning(40 * second), Meaning::SlowClient);
    let text = super::idle::to_text(&sum.sessions);
    assert_eq!(super::idle::from_text(&text), sum.sessions);
    assert!(super::idle::from_text("x").is_empty());
}

#[test]
fn another_writer_goes_on_with_what_is_open() {
    let mut shared = shared();
    let mut first = Tracker::default();
    first.begin(&mut shared, 100);
    first.waits(&mut shared, &[edge(2, 1), edge(3, 1)], &[], 100);
    let mut second = Tracker::default();
    second.begin(&mut shared, 200);
    assert!(second.knows_waits());
    assert!(second.waits(&mut shared, &[edge(2, 1)], &[], 200));
    let waits = shared.waits.since(0);
    assert_eq!(waits.iter().map(|wait| wait.ended).collect::<Vec<_>>(), [0, 200]);
    assert_eq!(shared.waits.since(1).len(), 2);
    assert_eq!(shared.waits.since(2).len(), 0);
}

#[test]
fn more_waits_than_places_lose_the_oldest_only() {
    let (mut shared, mut tracker) = (shared(), Tracker::default());
    let many: Vec<Edge> = (2..WAITS as i32 + 12).map(|pid| edge(pid, 1)).collect();
    for at in [100_000, 200_000] {
        tracker.begin(&mut shared, at);
        tracker.waits(&mut shared, &many, &[], at);
        assert_eq!(shared.waits.since(0).len(), WAITS);
    }
    tracker.begin(&mut shared, 300_000);
    tracker.waits(&mut shared, &[], &[], 300_000);
    assert!(!tracker.knows_waits());
    assert!(shared.waits.since(0).iter().all(|wait| wait.ended == 300_000));
}

#[test]
fn idle_times_end_in_one_of_three_ways() {
    let (mut shared, mut tracker) = (shared(), Tracker::default());
    let second = 1_000_000;
    let idle = |pid: i32| session(pid, State::InTransaction, second, 5);
    let mut look = |sessions: &[Session], at: i64| {
        tracker.begin(&mut shared, at);
        let moved = tracker.idles(&mut shared, sessions, at);
        (moved, shared.idles.since(0))
    };
    // Round trips are not told.
    let all = [idle(1), idle(2), idle(3), idle(4), session(5, State::Idle, 1, 0)];
    assert_eq!(look(&all, second + second / 2), (false, vec![]));
    let (moved, found) = look(&all, 2 * second);
    assert!(moved && found.len() == 4);
    assert!(found.iter().all(|idle| idle.began == second && idle.ended == 0));
    let resumed = session(1, State::Active, 3 * second, 5);
    let finished = session(2, State::Idle, 3 * second, 0);
    let another = Session { started: 8, ..idle(3) };
    let (moved, found) =
        look(&[resumed, finished, Session { since: 3 * second, ..another }], 3 * second);
    assert!(moved);
    let ends: Vec<(i32, u8, i64)> =
        found.iter().map(|idle| (idle.who.pid, idle.ending, idle.ended)).collect();
    let of = |pid: i32, ending: Ending, at: i64| (pid, ending as u8, at);
    assert!(ends.contains(&of(1, Ending::Resumed, 3 * second)), "{ends:?}");
    // No client said that it came back after a second.
    assert!(ends.contains(&of(2, Ending::Finished, 2 * second)), "{ends:?}");
    // Of what ended between two samples unseen, half of the time is expected.
    assert!(ends.contains(&of(3, Ending::Gone, 2 * second + second / 2)), "{ends:?}");
    assert!(ends.contains(&of(4, Ending::Gone, 2 * second + second / 2)), "{ends:?}");
}

#[test]
fn a_pause_ends_when_the_session_says_not_when_it_is_looked_at() {
    let (mut shared, mut tracker) = (shared(), Tracker::default());
    let ms = 1_000;
    // Looked at once a second; the last is a round trip.
    let all = [1_500 * ms, 2_100 * ms, 2_900 * ms, 950 * ms];
    let lengths = &all[..3];
    for at in (1..=5).map(|second| second * 1_000 * ms) {
        let sessions: Vec<Session> = (1..)
            .zip(all)
            .map(|(pid, length)| {
                let over = 100 * ms + length;
                let state = if at < over { State::InTransaction } else { State::Active };
                session(pid, state, if at < over { 100 * ms } else { over }, 5)
            })
            .collect();
        tracker.begin(&mut shared, at);
        tracker.idles(&mut shared, &sessions, at);
    }
    let mut found: Vec<i64> =
        shared.idles.since(0).iter().map(|idle| idle.ended - idle.began).collect();
    found.sort_unstable();
    assert_eq!(found, lengths, "also of one that was shorter than a second when it was seen");
    // A clock that was set back makes no pause that ends before it was seen.
    let (mut shared, mut tracker) = (self::shared(), Tracker::default());
    tracker.begin(&mut shared, 2_000 * ms);
    tracker.idles(&mut shared, &[session(1, State::InTransaction, 500 * ms, 5)], 2_000 * ms);
    tracker.begin(&mut shared, 3_000 * ms);
    tracker.idles(&mut shared, &[session(1, State::Active, 400 * ms, 5)], 3_000 * ms);
    assert_eq!(shared.idles.since(0)[0].ended, 2_000 * ms);
}

const TWO: &str = "Process 30 waits for ShareLock on transaction 744; blocked by process 31.\n\
                   Process 31 waits for ExclusiveLock on tuple (0,7) of relation 16390 of database 5; blocked by process 30.";

#[test]
fn the_circle_is_read_from_the_error_in_any_language() {
    let read = |text: &str| -> Vec<(i32, i32, u8, u32)> {
        let links = deadlock::links(text.as_bytes(), 5);
        links
            .into_iter()
            .flatten()
            .map(|l| (l.pid, l.blocker, l.tag.kind, l.tag.relation))
            .collect()
    };
    assert_eq!(read(TWO), [(30, 31, TRANSACTION_KIND, 0), (31, 30, TUPLE_KIND, 16_390)]);
    let german = "Prozess 8 wartet auf AccessExclusiveLock-Sperre auf Relation 20000 der Datenbank 5; blockiert von Prozess 9.\n\
                  Prozess 9 wartet auf ExclusiveLock-Sperre auf Advisory-Lock [5,0,77,1]; blockiert von Prozess 8.";
    assert_eq!(read(german), [(8, 9, 0, 20_000), (9, 8, super::ADVISORY_KIND, 0)]);
    // Of another database's relation, or something else with as many numbers, nothing is said.
    let other = "Process 8 waits for X on relation 20000 of database 6; blocked by process 8.";
    assert_eq!(read(other), [(8, 8, super::UNKNOWN_KIND, 0)]);
    for broken in [
        "",
        "Process 1",
        "Process 1 waits; blocked by process 2 and 3 or 4\nProcess 7 waits on 5 for 8",
        "99999999999999999999 1 2 3",
    ] {
        assert_eq!(read(broken), [], "{broken}");
    }
    let long: Vec<String> =
        (1..=12).map(|i| format!("P {i} on {}; by {}", 900 + i, i % 12 + 1)).collect();
    assert_eq!(read(&long.join("\n")).len(), PARTIES);
}

fn member(pid: i32) -> Member {
    let mut party = Party::nobody(pid);
    party.queryid = -i64::from(pid);
    (party.database, party.user, party.state) = (5, 10, 2);
    party.application = [b'a'; 64];
    Member { party, blocker: pid + 1, tag: Tag { database: 5, relation: 16_390, kind: TUPLE_KIND } }
}

#[test]
fn what_was_noted_is_read_once_and_the_oldest_are_lost() {
    let words: Vec<AtomicU64> = (0..WORDS).map(|_| AtomicU64::new(0)).collect();
    let board = Board::new(&words);
    assert_eq!(board.since(0), []);
    let mut members = [None; PARTIES];
    members[0] = Some(member(30));
    members[1] = Some(member(31));
    board.post(77, &members);
    let found = board.since(0);
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].number, found[0].at), (0, 77));
    assert_eq!(found[0].members, [member(30), member(31)]);
    assert_eq!(board.since(1), []);
    for at in 0..2 * PLACES as i64 {
        board.post(at, &[Some(member(1)); PARTIES]);
    }
    let found = board.since(1);
    assert_eq!(found.len(), PLACES);
    assert_eq!(
        found.last().map(|last| (last.number, last.members.len())),
        Some((board.count() - 1, PARTIES))
    );
}

#[test]
fn rows_of_a_deadlock_are_named_by_the_waits_that_were_seen() {
    let (mut shared, mut tracker) = (shared(), Tracker::default());
    let row = Tag { database: 5, relation: 16_390, kind: TRANSACTION_KIND };
    let look = |shared: &mut Shared, tracker: &mut Tracker, edges: &[Edge], at: i64| {
        tracker.begin(shared, at);
        tracker.waits(shared, edges, &[], at);
    };
    // The same two waited for each other before, for a row of another table.
    let before = Edge { since: 50, tag: Tag { relation: 9, ..row }, ..edge(30, 31) };
    look(&mut shared, &mut tracker, &[before], 100);
    look(&mut shared, &mut tracker, &[], 200);
    let both = [
        Edge { since: 300, tag: row, ..edge(30, 31) },
        Edge { since: 350, tag: Tag { relation: 0, ..row }, ..edge(31, 30) },
    ];
    look(&mut shared, &mut tracker, &both, 400);
    look(&mut shared, &mut tracker, &[], 600);
    let told = |at: i64| {
        let on = |pid: i32, blocker: i32| Member {
            blocker,
            tag: Tag { kind: TRANSACTION_KIND, ..Tag::default() },
            ..member(pid)
        };
        let table = member(32);
        let members = vec![on(30, 31), on(31, 30), on(30, 32), table];
        let mut deadlock = Deadlock { number: 0, at: 1, members };
        deadlock.name_rows(at, &shared.waits.since(0));
        let relations: Vec<u32> = deadlock.members.iter().map(|m| m.tag.relation).collect();
        (relations, deadlock.members[0].tag.database)
    };
    assert_eq!(told(500), (vec![16_390, 0, 0, 16_390], 5));
    // Not by a wait that began later, or was over before.
    assert_eq!(told(150), (vec![9, 0, 0, 16_390], 5));
    assert_eq!(told(250), (vec![0, 0, 0, 16_390], 0));
    assert_eq!(told(700), (vec![0, 0, 0, 16_390], 0));
}

#[test]
fn how_many_waited_at_a_time_is_counted_by_process() {
    let of = |waits: &[(i64, i64, i64)]| at_once(waits.iter().copied());
    assert_eq!(of(&[]), 0);
    // Two in the way of one, and one that ended when the third began.
    assert_eq!(of(&[(1, 0, 10), (1, 0, 10), (2, 5, 20), (3, 10, 30)]), 2);
    assert_eq!(of(&[(1, 0, 10), (2, 0, 10), (3, 9, 30)]), 3);
}
