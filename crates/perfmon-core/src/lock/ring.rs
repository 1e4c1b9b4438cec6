//! What lies in shared memory: episodes that go on are written to in place, the oldest that are over are overwritten.

use std::collections::BTreeSet;

use super::graph::MOST_WAITS;
use super::lasting::Longest;
use super::{Party, Tag};

/// Waits that are kept: twice as many as can go on at once, for those that ended since they were stored.
pub const WAITS: usize = 2 * MOST_WAITS;
/// Idle times inside transactions that are kept.
pub const IDLES: usize = 2048;

/// Something that lasts. Zeroes are valid.
pub trait Episode: Copy {
    /// When it was written last, counted in samples.
    fn tick(&self) -> u64;
    /// Whether it goes on.
    fn is_open(&self) -> bool;
}

/// A session that waited for a lock, and one that was in its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct Wait {
    /// See [`Episode::tick`].
    pub tick: u64,
    /// Since when it waits, when that was seen last, and when first no more (0: it goes on); microseconds since the
    /// Unix epoch.
    pub began: i64,
    /// See above.
    pub seen: i64,
    /// See above.
    pub ended: i64,
    /// Who waits.
    pub waiter: Party,
    /// Who is in the way.
    pub blocker: Party,
    /// Who is at the head of the chain.
    pub head: Party,
    /// What the lock is on.
    pub tag: Tag,
    /// Steps from the head.
    pub depth: u16,
    /// The mode waited for.
    pub wanted: u8,
    /// The blocker's; 0 where it only waits in front.
    pub held: u8,
}

impl Wait {
    /// Whether a session or an object of a database takes part.
    pub fn concerns(&self, database: u32) -> bool {
        let parties = [&self.waiter, &self.blocker, &self.head];
        self.tag.database == database || parties.iter().any(|party| party.database == database)
    }
}

/// Who waits, among these, for the prepared transaction at the head of a wait's chain; `None` where that is a process.
pub fn before_prepared(waits: &[Wait], wait: &Wait) -> Option<i32> {
    let mut seen = BTreeSet::new();
    let mut step = wait;
    while step.blocker.pid != 0 {
        let next = |other: &&Wait| other.is_open() && other.waiter.pid == step.blocker.pid;
        if wait.head.pid != 0 || !seen.insert(step.waiter.pid) {
            return None;
        }
        step = waits.iter().find(next)?;
    }
    Some(step.waiter.pid)
}

impl Episode for Wait {
    fn tick(&self) -> u64 {
        self.tick
    }

    fn is_open(&self) -> bool {
        self.ended == 0
    }
}

/// How idle time inside a transaction ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Ending {
    /// It goes on.
    Open = 0,
    /// The client went on with its transaction.
    Resumed = 1,
    /// The transaction is over.
    Finished = 2,
    /// The session is gone, and its client did not come back before: it left, or somebody ended it.
    Gone = 3,
    /// Nobody looked any more, or too many ended at once: how it went on is not known.
    Unseen = 4,
}

/// Time that a session idled inside a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct Idle {
    /// See [`Episode::tick`].
    pub tick: u64,
    /// Since when it idled, when that was seen last, and when first no more (0: it goes on).
    pub began: i64,
    /// See above.
    pub seen: i64,
    /// See above.
    pub ended: i64,
    /// Whose transaction, and the statement after which it idles.
    pub who: Party,
    /// An [`Ending`].
    pub ending: u8,
}

impl Episode for Idle {
    fn tick(&self) -> u64 {
        self.tick
    }

    fn is_open(&self) -> bool {
        self.ended == 0
    }
}

/// Episodes. Zeroes are valid, and stand for none.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct Ring<T, const N: usize> {
    /// The number of the next one; those of places that were passed by are not given to any.
    next: u64,
    /// One more than the number of what is in each place; 0 is nothing.
    numbers: [u64; N],
    items: [T; N],
}

impl<T: Episode, const N: usize> Ring<T, N> {
    /// An empty one, for tests; the memory of a server begins as zeroes.
    #[cfg(test)]
    pub(super) const fn empty(item: T) -> Self {
        Self { next: 0, numbers: [0; N], items: [item; N] }
    }

    fn place(number: u64) -> usize {
        (number % N as u64) as usize
    }

    /// Adds one, in place of the oldest that is over; gives its number. Only where all go on, one of them is lost.
    pub(super) fn push(&mut self, item: T) -> u64 {
        let goes_on = |place: usize| self.numbers[place] != 0 && self.items[place].is_open();
        let free = (self.next..).take(N).find(|number| !goes_on(Self::place(*number)));
        let number = free.unwrap_or(self.next);
        let place = Self::place(number);
        (self.numbers[place], self.items[place]) = (number + 1, item);
        self.next = number + 1;
        number
    }

    /// One that is still there.
    pub(super) fn get_mut(&mut self, number: u64) -> Option<&mut T> {
        let place = Self::place(number);
        (self.numbers[place] == number + 1).then(|| &mut self.items[place])
    }

    /// Those that are there, oldest first, with their numbers.
    pub(super) fn all(&self) -> impl Iterator<Item = (u64, &T)> {
        let mut kept: Vec<(u64, &T)> = self.numbers.iter().copied().zip(&self.items).collect();
        kept.retain(|(number, _)| *number != 0);
        kept.sort_unstable_by_key(|(number, _)| *number);
        kept.into_iter().map(|(number, item)| (number - 1, item))
    }

    /// Those that were written to after a tick.
    pub fn since(&self, tick: u64) -> Vec<T> {
        self.all().map(|(_, item)| *item).filter(|item| item.tick() > tick).collect()
    }

    /// The same with those that go on, whenever they were written to.
    pub fn open_or_since(&self, tick: u64) -> Vec<T> {
        let told = |item: &T| item.is_open() || item.tick() > tick;
        self.all().map(|(_, item)| *item).filter(told).collect()
    }
}

/// All of it.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct Shared {
    /// When it began, microseconds since the Unix epoch.
    pub began: i64,
    /// Samples so far.
    pub tick: u64,
    /// When the last one was taken.
    pub at: i64,
    /// How often locks were looked at, and what that cost, nanoseconds.
    pub looks: u64,
    /// See above.
    pub look_ns: u64,
    /// Waits for locks.
    pub waits: Ring<Wait, WAITS>,
    /// Idle times inside transactions.
    pub idles: Ring<Idle, IDLES>,
    /// Transactions that lasted and are over.
    pub longest: Longest,
}
