//! Follows waits and idle times from sample to sample; the only writer of [`Shared`].

use std::collections::HashMap;

use super::Party;
use super::comeback::Comebacks;
use super::graph::{self, Edge};
use super::lasting::Follower;
use super::ring::{Ending, Episode, Idle, Ring, Shared, Wait};
use crate::activity::{Kind, Session};

/// Idle times inside transactions are kept from this length on: a second.
pub const SHORTEST_IDLE_US: i64 = 1_000_000;

/// What tells one wait from another: who waits since when, and who is in the way.
type WaitKey = (i32, i64, i32);
/// What tells one idle time from another: who idles since when.
type IdleKey = (i32, i64);

/// What the writer knows beside what is shared.
#[derive(Debug, Default)]
pub struct Tracker {
    /// The life of the memory that it knows.
    began: Option<i64>,
    waits: HashMap<WaitKey, u64>,
    /// Of waits that go on, by their numbers: the head when the chain was longest, and how far it was.
    longest: HashMap<u64, (Party, u16)>,
    idles: HashMap<IdleKey, u64>,
    /// Idle times that are too short to be kept, so far.
    short: HashMap<IdleKey, Idle>,
    /// Clients that came back since the sample before the last one.
    back: Comebacks,
    lasting: Follower,
}

fn wait_key(wait: &Wait) -> WaitKey {
    (wait.waiter.pid, wait.began, wait.blocker.pid)
}

fn idle_key(idle: &Idle) -> IdleKey {
    (idle.who.pid, idle.began)
}

fn open<T: Episode, K: std::hash::Hash + Eq, const N: usize>(
    ring: &Ring<T, N>,
    key: impl Fn(&T) -> K,
) -> HashMap<K, u64> {
    let open = ring.all().filter(|(_, item)| item.is_open());
    open.map(|(number, item)| (key(item), number)).collect()
}

/// When idle time ended that was seen last at `seen` and is over at `at`: a session that is still there tells since when
/// it is in its present state, by which the time was over; of one that is gone, half way between the samples is expected.
fn end(seen: i64, changed: Option<i64>, at: i64) -> i64 {
    let latest = at.max(seen);
    match changed {
        Some(changed) if changed > 0 => changed.clamp(seen, latest),
        Some(_) => latest,
        None => seen + (latest - seen) / 2,
    }
}

impl Tracker {
    /// A sample begins.
    pub fn begin(&mut self, shared: &mut Shared, at: i64) {
        shared.tick += 1;
        shared.at = at;
        if self.began != Some(shared.began) {
            self.began = Some(shared.began);
            self.waits = open(&shared.waits, wait_key);
            self.longest.clear();
            self.idles = open(&shared.idles, idle_key);
            self.short.clear();
            self.lasting.forget();
        }
    }

    /// Takes which transactions go on.
    pub fn transactions(&mut self, shared: &mut Shared, sessions: &[Session], at: i64) {
        self.lasting.follow(&mut shared.longest, sessions, at);
    }

    /// Takes which clients came back since the sample before the last one: one that did while the last was taken was seen
    /// idle by it.
    pub fn comebacks(&mut self, back: Comebacks) {
        self.back = back;
    }

    /// Whether any wait goes on, as far as is known.
    pub fn knows_waits(&self) -> bool {
        !self.waits.is_empty()
    }

    /// Takes who is in whose way now; says whether any wait began or ended.
    pub fn waits(
        &mut self,
        shared: &mut Shared,
        edges: &[Edge],
        sessions: &[Session],
        at: i64,
    ) -> bool {
        let by_pid: HashMap<i32, &Session> = sessions.iter().map(|s| (s.pid, s)).collect();
        let party =
            |pid: i32| by_pid.get(&pid).map_or_else(|| Party::nobody(pid), |s| Party::of(s));
        let mut before = std::mem::take(&mut self.waits);
        let mut longest_before = std::mem::take(&mut self.longest);
        let mut moved = false;
        let heads = graph::heads(edges);
        for (edge, head) in edges.iter().zip(heads).filter(|(edge, _)| edge.since > 0) {
            let fresh = Wait {
                tick: shared.tick,
                began: edge.since,
                seen: at.max(edge.since),
                ended: 0,
                waiter: party(edge.waiter),
                blocker: party(edge.blocker),
                head: party(head.pid),
                tag: edge.tag,
                depth: head.depth,
                wanted: edge.wanted,
                held: edge.held,
            };
            let known = before.remove(&wait_key(&fresh));
            moved |= known.is_none();
            let number = match known.and_then(|n| Some((n, shared.waits.get_mut(n)?))) {
                Some((number, place)) => {
                    // What the blocker did when it got in the way stays, unless it was not known yet.
                    let fresh_blocker = place.blocker.queryid == 0;
                    let blocker = if fresh_blocker { fresh.blocker } else { place.blocker };
                    // Who is to be ended is the head of now.
                    *place = Wait { blocker, ..fresh };
                    place.blocker.state = fresh.blocker.state;
                    number
                }
                None => shared.waits.push(fresh),
            };
            let longest = longest_before.remove(&number).filter(|(_, depth)| *depth > fresh.depth);
            self.longest.insert(number, longest.unwrap_or((fresh.head, fresh.depth)));
            self.waits.insert(wait_key(&fresh), number);
        }
        for number in before.into_values() {
            moved = true;
            if let Some(wait) = shared.waits.get_mut(number) {
                // When all is over, the chain counts as it was when it was longest.
                if let Some((head, depth)) = longest_before.remove(&number) {
                    (wait.head, wait.depth) = (head, depth);
                }
                wait.ended = at.max(wait.seen);
                wait.tick = shared.tick;
            }
        }
        moved
    }

    /// Samples are taken no more: of what goes on nobody will see the end. Says whether anything did.
    pub fn stop(&mut self, shared: &mut Shared) -> bool {
        if self.began.take().is_none() {
            return false;
        }
        shared.tick += 1;
        let tick = shared.tick;
        let waits = open(&shared.waits, wait_key);
        let idles = open(&shared.idles, idle_key);
        let any = !(waits.is_empty() && idles.is_empty());
        for number in waits.into_values() {
            if let Some(wait) = shared.waits.get_mut(number) {
                (wait.ended, wait.tick) = (wait.seen, tick);
            }
        }
        for number in idles.into_values() {
            if let Some(idle) = shared.idles.get_mut(number) {
                (idle.ended, idle.tick, idle.ending) = (idle.seen, tick, Ending::Unseen as u8);
            }
        }
        self.waits.clear();
        any
    }

    /// Takes who idles inside a transaction now; says whether any idle time began to count or ended.
    pub fn idles(&mut self, shared: &mut Shared, sessions: &[Session], at: i64) -> bool {
        let mut before = std::mem::take(&mut self.idles);
        let mut short = std::mem::take(&mut self.short);
        let mut moved = false;
        let idle =
            |s: &&Session| s.kind == Kind::Client && s.state.is_in_transaction() && s.since > 0;
        for session in sessions.iter().filter(idle) {
            let fresh = Idle {
                tick: shared.tick,
                began: session.since,
                seen: at,
                ended: 0,
                who: Party::of(session),
                ending: Ending::Open as u8,
            };
            let key = idle_key(&fresh);
            short.remove(&key);
            if at - session.since < SHORTEST_IDLE_US {
                self.short.insert(key, fresh);
                continue;
            }
            let known = before.remove(&key);
            moved |= known.is_none();
            let number = match known.and_then(|n| Some((n, shared.idles.get_mut(n)?))) {
                Some((number, place)) => {
                    *place = fresh;
                    number
                }
                None => shared.idles.push(fresh),
            };
            self.idles.insert(key, number);
        }
        for number in before.into_values() {
            moved = true;
            let tick = shared.tick;
            let Some(idle) = shared.idles.get_mut(number) else { continue };
            *idle = Idle { tick, ..over(idle, sessions, &self.back, at) };
        }
        // What was short when it was seen last may have become long enough since, as far as its session told.
        let ended = short.into_values().map(|idle| over(&idle, sessions, &self.back, at));
        let returned = [Ending::Resumed as u8, Ending::Finished as u8];
        let ended = ended.filter(|idle| returned.contains(&idle.ending));
        for idle in ended.filter(|idle| idle.ended - idle.began >= SHORTEST_IDLE_US) {
            moved = true;
            shared.idles.push(Idle { tick: shared.tick, ..idle });
        }
        moved
    }
}

/// Idle time that is over, by whether its client came back, and by what its session does now.
fn over(idle: &Idle, sessions: &[Session], back: &Comebacks, at: i64) -> Idle {
    let now = sessions.iter().find(|s| s.pid == idle.who.pid);
    let now = now.filter(|s| s.started == idle.who.started);
    let lost = back.lost;
    let back = back.after(idle.who.pid, idle.began);
    let ending = match now {
        // Its client ended the transaction, or went on with it, before it left.
        None if back.is_some() => Ending::Finished,
        None if lost => Ending::Unseen,
        None => Ending::Gone,
        Some(now) if now.transaction == idle.who.transaction => Ending::Resumed,
        Some(_) => Ending::Finished,
    };
    let ended = match (back, ending) {
        (Some(back), _) => back.clamp(idle.seen, at.max(idle.seen)),
        // It was over within a second. What its session does now began with a later transaction, if not after several.
        (None, Ending::Finished) => idle.seen,
        (None, _) => end(idle.seen, now.map(|now| now.since), at),
    };
    Idle { ended, ending: ending as u8, ..*idle }
}
