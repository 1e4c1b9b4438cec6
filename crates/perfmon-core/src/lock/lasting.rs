//! Transactions that lasted and are over: the longest of the last hour, as samples saw them. Those that go on are to be seen
//! by whoever asks.

use std::collections::HashMap;

use super::Party;
use crate::activity::{Kind, Session};

/// How many are kept.
pub const PLACES: usize = 64;
/// They are followed from this age on: a second.
pub const SHORTEST_US: i64 = 1_000_000;
/// For how long they are kept.
const KEPT_US: i64 = 3_600_000_000;

/// A transaction that is over. Zeroes are valid, and stand for none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct Lasted {
    /// Whose, since when, and what it did when it was seen last.
    pub who: Party,
    /// When that was, microseconds since the Unix epoch.
    pub seen: i64,
}

impl Lasted {
    /// None.
    pub const NONE: Self = Self { who: Party::nobody(0), seen: 0 };

    /// How long it lasted, as far as it was seen.
    pub fn length_us(&self) -> i64 {
        self.seen.saturating_sub(self.who.transaction).max(0)
    }
}

/// In shared memory. Zeroes are valid.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct Longest {
    items: [Lasted; PLACES],
}

impl Longest {
    /// An empty one, for tests; the memory of a server begins as zeroes.
    #[cfg(test)]
    pub(super) const EMPTY: Self = Self { items: [Lasted::NONE; PLACES] };

    /// Keeps one, in place of the shortest if that is shorter; what is long over goes first.
    fn keep(&mut self, one: Lasted) {
        let worth = |kept: &Lasted| match one.seen.saturating_sub(kept.seen) < KEPT_US {
            true => kept.length_us(),
            false => -1,
        };
        if let Some(place) = self.items.iter_mut().min_by_key(|kept| worth(kept))
            && worth(place) < one.length_us()
        {
            *place = one;
        }
    }

    /// Those that were seen after a time.
    pub fn since(&self, time: i64) -> Vec<Lasted> {
        let all = self.items.iter().copied();
        all.filter(|one| one.who.transaction > 0 && one.seen > time).collect()
    }
}

/// What the writer knows: transactions that go on, by process and beginning.
#[derive(Debug, Default)]
pub struct Follower {
    open: HashMap<(i32, i64), Lasted>,
}

impl Follower {
    /// What was known is of another life of the memory.
    pub fn forget(&mut self) {
        self.open.clear();
    }

    /// Takes a sample.
    pub fn follow(&mut self, longest: &mut Longest, sessions: &[Session], at: i64) {
        let lasts = |session: &&Session| {
            session.kind == Kind::Client
                && session.transaction > 0
                && at.saturating_sub(session.transaction) >= SHORTEST_US
        };
        let now = sessions.iter().filter(lasts).map(|session| {
            ((session.pid, session.transaction), Lasted { who: Party::of(session), seen: at })
        });
        let mut before = std::mem::replace(&mut self.open, now.collect());
        before.retain(|key, _| !self.open.contains_key(key));
        before.into_values().for_each(|over| longest.keep(over));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::activity::{State, group};

    const SECOND: i64 = 1_000_000;

    fn session(pid: i32, began_s: i64) -> Session {
        Session {
            pid,
            kind: Kind::Client,
            state: State::Active,
            database: 5,
            user: 10,
            application: [0; 64],
            address: group::LOCAL,
            wait: 0,
            queryid: 7,
            started: 1,
            transaction: began_s * SECOND,
            since: began_s * SECOND,
        }
    }

    fn told(longest: &Longest, since_s: i64) -> Vec<(i32, i64)> {
        let all = longest.since(since_s * SECOND);
        let mut all: Vec<_> =
            all.iter().map(|one| (one.who.pid, one.length_us() / SECOND)).collect();
        all.sort_unstable();
        all
    }

    #[test]
    fn what_is_over_is_told_with_its_length_until_it_is_long_over() {
        let (mut longest, mut follower) = (Longest::EMPTY, Follower::default());
        let other = Session { kind: Kind::AutovacuumWorker, ..session(4, 10) };
        let mut sample = |sessions: &[Session], at_s: i64| {
            follower.follow(&mut longest, sessions, at_s * SECOND);
            told(&longest, 0)
        };
        // The second begins its next transaction at once; the third does nothing.
        let all =
            [session(1, 10), session(2, 12), Session { transaction: 0, ..session(3, 9) }, other];
        assert_eq!(sample(&all, 20), []);
        assert_eq!(sample(&[session(1, 10), session(2, 25)], 30), [(2, 8)]);
        assert_eq!(sample(&[], 40), [(1, 20), (2, 5), (2, 8)]);
        assert_eq!(sample(&[], 41).len(), 3);
        assert_eq!(told(&longest, 25), [(1, 20), (2, 5)]);
    }

    #[test]
    fn the_longest_stay_and_give_way_after_an_hour() {
        let (mut longest, mut follower) = (Longest::EMPTY, Follower::default());
        let count = i32::try_from(PLACES).unwrap();
        for pid in 1..=3 * count {
            // Of lengths 2, 3, and so on.
            let at = 10_000 + i64::from(pid);
            let one = session(pid, at - i64::from(pid) - 1);
            follower.follow(&mut longest, &[one], at * SECOND);
        }
        follower.follow(&mut longest, &[], 11_000 * SECOND);
        let expected: Vec<(i32, i64)> =
            (2 * count + 1..=3 * count).map(|pid| (pid, i64::from(pid) + 1)).collect();
        assert_eq!(told(&longest, 0), expected);
        // A short one, much later.
        follower.follow(&mut longest, &[session(999, 19_995)], 20_000 * SECOND);
        follower.follow(&mut longest, &[], 20_001 * SECOND);
        assert_eq!(told(&longest, 19_000), [(999, 5)]);
    }
}
