//! Sums of sessions over samples by some key, in a table of fixed size. What finds no place is added under a key that
//! says less, for which room is held free.

use std::hash::Hash;

use super::hash::Map;
use super::{Kind, Session, State, wait};

/// What is counted, and what it becomes where there is no room.
pub trait Key: Copy + Eq + Hash {
    /// Keys that say less and less. The last is one of so few that there is always room for it.
    fn instead(&self) -> [Self; 2];
    /// How many places are kept for these.
    const RESERVED: [usize; 2];
}

/// Processes by what they are for, what they do and what they wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(C)]
pub struct Doing {
    /// A [`Kind`].
    pub kind: u8,
    /// A [`State`].
    pub state: u8,
    /// See [`wait`].
    pub wait: u32,
}

impl Doing {
    /// What a session does.
    pub fn of(session: &Session) -> Self {
        Self { kind: session.kind as u8, state: session.state as u8, wait: session.wait }
    }
}

impl Key for Doing {
    fn instead(&self) -> [Self; 2] {
        [Self { wait: wait::OTHER, ..*self }; 2]
    }

    // One for each kind in each state.
    const RESERVED: [usize; 2] = [Kind::ALL.len() * State::ALL.len(), 0];
}

/// Statements by what their sessions do and wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(C)]
pub struct Waiting {
    /// The statement; 0 is unknown.
    pub queryid: i64,
    /// Oids; 0 where the statement found no place.
    pub database: u32,
    /// The user's.
    pub user: u32,
    /// See [`wait`].
    pub wait: u32,
    /// A [`State`].
    pub state: u8,
}

impl Waiting {
    /// What a session does.
    pub fn of(session: &Session) -> Self {
        Self {
            queryid: session.queryid,
            database: session.database,
            user: session.user,
            wait: session.wait,
            state: session.state as u8,
        }
    }

    /// What it is where the statement finds no place.
    pub fn unnamed(&self) -> Self {
        Self { queryid: 0, database: 0, user: 0, ..*self }
    }

    /// The statement found no place of its own.
    pub fn is_other(&self) -> bool {
        (self.database, self.user, self.queryid) == (0, 0, 0)
    }
}

impl Key for Waiting {
    fn instead(&self) -> [Self; 2] {
        let event = self.unnamed();
        [event, Self { wait: wait::OTHER, ..event }]
    }

    const RESERVED: [usize; 2] = [256, State::ALL.len()];
}

/// One entry.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct Entry<K> {
    /// What is counted.
    pub key: K,
    /// Number of the sample for which it was made.
    pub born: u64,
    /// Number of the last sample that counted here.
    pub last: u64,
    /// Sessions, summed over samples.
    pub count: u64,
}

/// A table in shared memory. Zeroes are valid, and stand for an empty one.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct Counts<K, const N: usize> {
    /// Entries in use are the first so many.
    used: u32,
    entries: [Entry<K>; N],
}

/// Where the keys of a table are, for its only writer.
#[derive(Debug)]
pub struct Index<K> {
    places: Map<K, u32>,
    /// What was stored when the table was swept last.
    swept: u64,
}

impl<K> Default for Index<K> {
    fn default() -> Self {
        Self { places: Map::default(), swept: 0 }
    }
}

impl<K: Key, const N: usize> Counts<K, N> {
    /// An empty table, for tests; the memory of a server begins as zeroes. The key says nothing.
    #[cfg(test)]
    pub(super) const fn empty(key: K) -> Self {
        Self { used: 0, entries: [Entry { key, born: 0, last: 0, count: 0 }; N] }
    }

    /// The entries in use.
    pub fn entries(&self) -> &[Entry<K>] {
        self.entries.get(..self.used as usize).unwrap_or_default()
    }

    /// Finds the keys anew.
    pub fn index(&self) -> Index<K> {
        let places = self.entries().iter().enumerate();
        Index { places: places.map(|(i, e)| (e.key, i as u32)).collect(), swept: 0 }
    }

    /// Counts sessions in a sample. Up to sample `stored`, counts are in the history.
    pub fn add(&mut self, index: &mut Index<K>, key: K, sample: u64, stored: u64) {
        let [less, least] = key.instead();
        let [first, second] = K::RESERVED;
        for (key, room) in [(key, N - first), (less, N - second), (least, N)] {
            if let Some(at) = self.place(index, key, sample, stored, room) {
                let entry = &mut self.entries[at];
                entry.count = entry.count.wrapping_add(1);
                entry.last = sample;
                return;
            }
        }
    }

    fn place(
        &mut self,
        index: &mut Index<K>,
        key: K,
        sample: u64,
        stored: u64,
        room: usize,
    ) -> Option<usize> {
        if let Some(at) = index.places.get(&key) {
            return Some(*at as usize);
        }
        if self.used as usize >= room && index.swept < stored {
            self.sweep(index, stored);
        }
        let at = self.used as usize;
        if at >= room.min(N) {
            return None;
        }
        self.entries[at] = Entry { key, born: sample, last: sample, count: 0 };
        self.used += 1;
        index.places.insert(key, at as u32);
        Some(at)
    }

    /// Frees the places of what was not seen since it was stored.
    fn sweep(&mut self, index: &mut Index<K>, stored: u64) {
        let mut kept = 0;
        for at in 0..self.used as usize {
            if self.entries[at].last > stored {
                self.entries[kept] = self.entries[at];
                kept += 1;
            }
        }
        self.used = kept as u32;
        *index = Index { swept: stored, ..self.index() };
    }
}
