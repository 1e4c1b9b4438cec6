//! The only writer: adds one sample after the other to the sums.

use super::count::{Doing, Index, Waiting};
use super::group::{self, GROUPS, Grouping, Key, Level, Tally};
use super::hash::Map;
use super::ring::{NO_GROUP, Record};
use super::shared::Shared;
use super::{Kind, Session};

/// No interval between samples is longer: a first sample that is later is one before which none were wanted.
const FIRST_US: i64 = 60_000_000;

/// What the writer knows beside the sums.
#[derive(Debug, Default)]
pub struct Sampler {
    /// The life of the sums that it knows.
    began: Option<i64>,
    groups: Map<Key, u16>,
    doings: Index<Doing>,
    waitings: Index<Waiting>,
    /// Clients of the last sample, by process and when they were started; `None` before the first.
    known: Option<Vec<(i32, i64)>>,
    /// Clients of the last sample that had not said who they are.
    starting: usize,
    tallies: Vec<Tally>,
    touched: Vec<u16>,
    /// By level, the number of the sample that found no place.
    full: [u64; Level::ALL.len()],
}

/// One sample.
#[derive(Debug, Clone, Copy)]
pub struct Sample<'a> {
    /// All processes.
    pub sessions: &'a [Session],
    /// When they were looked at, microseconds since the Unix epoch.
    pub at: i64,
    /// For how much time they stand, microseconds.
    pub stands_for_us: u64,
    /// What makes a pool.
    pub grouping: Grouping,
}

impl Sampler {
    /// Adds a sample; says whether clients did anything since the last one.
    pub fn add(&mut self, shared: &mut Shared, sample: Sample<'_>) -> bool {
        if self.began != Some(shared.began) {
            self.look_around(shared);
        }
        shared.samples += 1;
        shared.sampled_us = shared.sampled_us.wrapping_add(sample.stands_for_us);
        shared.last_at = sample.at;
        shared.sessions = u32::try_from(sample.sessions.len()).unwrap_or(u32::MAX);
        let (number, stored) = (shared.samples, shared.stored);
        let is_first = number == 1 && sample.at.saturating_sub(shared.began) <= FIRST_US;
        let mut moved = false;
        let mut seen: Vec<(i32, i64)> = Vec::with_capacity(sample.sessions.len());
        let starting = sample.sessions.iter().filter(|session| session.is_starting()).count();
        moved |= std::mem::replace(&mut self.starting, starting) != starting;
        for session in sample.sessions {
            shared.doings.add(&mut self.doings, Doing::of(session), number, stored);
            let is_at_work = session.is_at_work();
            let mut pool = None;
            if session.kind == Kind::Client {
                // Sessions can be seen before it is known whose they are: they come when it is.
                let known = !session.is_starting();
                let opened = known && self.is_new(session, is_first);
                if known {
                    seen.push((session.pid, session.started));
                }
                moved |= opened || is_at_work;
                pool = Some(self.tally(shared, session, sample.grouping, opened));
            }
            if is_at_work && session.kind.is_for_client() {
                shared.waitings.add(&mut self.waitings, Waiting::of(session), number, stored);
            }
            if is_at_work {
                shared.ring.push(record(shared, session, sample.at, pool));
            }
        }
        for place in self.touched.drain(..) {
            let tally = std::mem::take(&mut self.tallies[usize::from(place)]);
            shared.groups[usize::from(place)].add(&tally, number);
        }
        shared.turn_block(sample.stands_for_us, self.known.is_none());
        seen.sort_unstable();
        moved |= self.known.as_ref().is_some_and(|known| known.len() != seen.len());
        self.known = Some(seen);
        moved
    }

    /// Samples are not taken for a while: who is there after that need not have come just then.
    pub fn pause(&mut self) {
        self.known = None;
    }

    /// Whether no sample before saw it. Of those that were there at the first after a pause, nothing is known; those at the first
    /// since the server started came since then.
    fn is_new(&self, session: &Session, is_first: bool) -> bool {
        let id = (session.pid, session.started);
        let known = self.known.as_ref();
        known.map_or(is_first, |known| known.binary_search(&id).is_err())
    }

    /// Forgets what it knew of another life of the sums, or of another process that wrote them.
    fn look_around(&mut self, shared: &Shared) {
        let groups = shared.groups.iter().enumerate().filter(|(_, group)| group.used);
        *self = Self {
            began: Some(shared.began),
            groups: groups.map(|(place, group)| (group.key, place as u16)).collect(),
            doings: shared.doings.index(),
            waitings: shared.waitings.index(),
            known: None,
            starting: 0,
            tallies: vec![Tally::default(); GROUPS],
            touched: Vec::with_capacity(GROUPS),
            full: Default::default(),
        };
    }

    /// Counts a client in its groups; says the place of its pool.
    fn tally(
        &mut self,
        shared: &mut Shared,
        session: &Session,
        grouping: Grouping,
        opened: bool,
    ) -> u16 {
        let mut place = 0;
        for key in Key::of(session, grouping) {
            place = self.place(shared, key);
            let tally = &mut self.tallies[usize::from(place)];
            if tally.iter().all(|count| *count == 0) {
                self.touched.push(place);
            }
            group::tally(tally, session, opened);
        }
        place
    }

    /// The place of a group, that of all others if there is none free.
    fn place(&mut self, shared: &mut Shared, key: Key) -> u16 {
        if let Some(place) = self.groups.get(&key) {
            return *place;
        }
        let level = key.level();
        let places = level.places();
        let first = places.start;
        if self.full[level as usize] == shared.samples {
            return first as u16;
        }
        let own = if places.len() == 1 { first..first + 1 } else { first + 1..places.end };
        let free = own.clone().find(|place| !shared.groups[*place].used);
        // Nobody was there since its sums were stored.
        let idle = |place: &usize| {
            shared.groups[*place].last <= shared.stored && !self.touched.contains(&(*place as u16))
        };
        let Some(place) = free.or_else(|| own.clone().find(idle)) else {
            self.full[level as usize] = shared.samples;
            return self.other(shared, Key::other(level), first);
        };
        if shared.groups[place].used {
            self.groups.remove(&shared.groups[place].key);
        }
        shared.groups[place].begin(key, shared.samples);
        self.groups.insert(key, place as u16);
        place as u16
    }

    fn other(&mut self, shared: &mut Shared, key: Key, place: usize) -> u16 {
        if !shared.groups[place].used {
            shared.groups[place].begin(key, shared.samples);
            self.groups.insert(key, place as u16);
        }
        place as u16
    }
}

fn record(shared: &Shared, session: &Session, at: i64, pool: Option<u16>) -> Record {
    let group = pool.and_then(|place| shared.groups.get(usize::from(place)));
    Record {
        at,
        queryid: session.queryid,
        transaction: session.transaction,
        since: session.since,
        born: group.map_or(0, |group| group.born),
        pid: session.pid,
        database: session.database,
        user: session.user,
        wait: session.wait,
        group: pool.unwrap_or(NO_GROUP),
        kind: session.kind as u8,
        state: session.state as u8,
    }
}
