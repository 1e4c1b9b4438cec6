//! What lies in shared memory: episodes that go on are written to in place, the oldest are overwritten.

use super::{Party, Tag};

/// Waits that are kept: a hundred sessions that wait for ten others each minute.
pub const WAITS: usize = 1024;
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
    /// The session is gone: its client left, or somebody ended it.
    Gone = 3,
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
    written: u64,
    items: [T; N],
}

impl<T: Episode, const N: usize> Ring<T, N> {
    /// An empty one, for tests; the memory of a server begins as zeroes.
    #[cfg(test)]
    pub(super) const fn empty(item: T) -> Self {
        Self { written: 0, items: [item; N] }
    }

    fn kept(&self) -> std::ops::Range<u64> {
        self.written.saturating_sub(N as u64)..self.written
    }

    /// Adds one; gives its number.
    pub(super) fn push(&mut self, item: T) -> u64 {
        let number = self.written;
        self.items[(number % N as u64) as usize] = item;
        self.written += 1;
        number
    }

    /// One that is still there.
    pub(super) fn get_mut(&mut self, number: u64) -> Option<&mut T> {
        self.kept().contains(&number).then(|| &mut self.items[(number % N as u64) as usize])
    }

    /// Those that are there, oldest first, with their numbers.
    pub(super) fn all(&self) -> impl Iterator<Item = (u64, &T)> {
        self.kept().map(|number| (number, &self.items[(number % N as u64) as usize]))
    }

    /// Those that were written to after a tick.
    pub fn since(&self, tick: u64) -> Vec<T> {
        self.all().map(|(_, item)| *item).filter(|item| item.tick() > tick).collect()
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
}
