//! A table of counters in shared memory, by open addressing, without locks.
//!
//! Protocol. An entry is claimed, lives, retires, is folded, and is free again.
//! * Whoever finds a key nowhere takes a free entry, writes its key, and publishes it by one compare-and-swap
//!   in the index. Two who claim the same key at the same time may both succeed: readers add up entries of the
//!   same key, so that nothing is lost.
//! * An entry's `life` changes whenever what a backend remembers of it may be out of date. Backends compare
//!   it before each use; they write the counters and never the key's line.
//! * Only one worker at a time retires entries: it takes them out of the index and ends their life. It folds
//!   them, that is moves their counts into the entry of the coarser key, only a pass later, when those who were
//!   about to count have done so. Readers and the worker exclude each other by a lock of the caller's.
//! * An entry of a coarser key (all else of one database) exists before any entry that may be folded into it, and
//!   as long as its database does. What finds no place at all is counted in one of the first entries, the roots,
//!   which always exist. All that a database counted that is gone goes into others of them, so that sums over all
//!   stay what they were and nobody takes it for something new.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

mod upkeep;

/// What is counted apart.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// The statement; 0 for all that has no entry of its own.
    pub what: u64,
    /// The database in the upper half, the user in the lower; 0 for all.
    pub whose: u64,
    /// What kind of counting it is.
    pub kind: u64,
}

impl Key {
    /// A key from its parts.
    pub fn new(what: u64, database: u32, user: u32, kind: u64) -> Self {
        Self { what, whose: u64::from(database) << 32 | u64::from(user), kind }
    }

    /// The database, 0 for none.
    pub fn database(self) -> u32 {
        (self.whose >> 32) as u32
    }

    /// The user, 0 for none.
    pub fn user(self) -> u32 {
        self.whose as u32
    }

    /// The key under which what has no entry of its own is counted: all else of the database.
    pub fn coarse(self) -> Self {
        Self { what: 0, whose: self.whose & !u64::from(u32::MAX), ..self }
    }

    fn hash(self) -> u64 {
        let mixed = self.what ^ self.whose.rotate_left(29) ^ self.kind.rotate_left(47);
        let mixed = (mixed ^ mixed >> 32).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        mixed ^ mixed >> 29
    }
}

/// What an entry counts. Zeroed memory counts nothing.
pub trait Payload {
    /// How many roots there are.
    const ROOTS: u32;
    /// The root for a kind, below `ROOTS`.
    fn root(kind: u64) -> u32;
    /// That of what databases counted that are gone.
    fn gone(kind: u64) -> u32 {
        Self::root(kind) + Self::ROOTS / 2
    }
    /// Grows (and wraps) with what was counted, to tell cold entries.
    fn activity(&self) -> u32;
    /// Adds all counts to another and leaves zeroes.
    fn move_to(&self, other: &Self);
}

/// State of an entry. Zeroed memory is free.
const FREE: u32 = 0;
const LIVE: u32 = 1;
const RETIRING: u32 = 2;

/// How far from its place a key may lie.
const PROBES: usize = 64;
/// A place in the index whose entry retired: searches go on behind it.
const GONE: u64 = u64::MAX;

/// The key of an entry, and what rarely changes; in a cache line of its own.
#[derive(Debug, Default)]
#[repr(C, align(64))]
struct Line {
    life: AtomicU32,
    state: AtomicU32,
    what: AtomicU64,
    whose: AtomicU64,
    kind: AtomicU64,
    born: AtomicU32,
    home: AtomicU32,
    next: AtomicU32,
}

/// One entry.
#[derive(Debug, Default)]
#[repr(C, align(64))]
pub struct Entry<P> {
    line: Line,
    /// What it counts.
    pub payload: P,
}

impl<P> Entry<P> {
    /// Which of its lives the entry is in.
    #[inline]
    pub fn life(&self) -> u32 {
        self.line.life.load(Ordering::Acquire)
    }

    /// Whether this entry is a key's own, and not that of the rest.
    pub fn is_of(&self, key: Key) -> bool {
        self.key() == key
    }

    fn key(&self) -> Key {
        Key {
            what: self.line.what.load(Ordering::Relaxed),
            whose: self.line.whose.load(Ordering::Relaxed),
            kind: self.line.kind.load(Ordering::Relaxed),
        }
    }

    fn state(&self) -> u32 {
        self.line.state.load(Ordering::Acquire)
    }

    fn end_life(&self) {
        self.line.life.fetch_add(1, Ordering::AcqRel);
    }
}

/// The table's own counters.
#[derive(Debug, Default)]
#[repr(C, align(64))]
pub struct Header {
    /// The freed entry on top of the stack (its number plus 1) and a tag against reuse in between.
    free: AtomicU64,
    /// Entries that were ever used, and those in use; the roots are in neither.
    fresh: AtomicU32,
    taken: AtomicU32,
    /// Entries that were ever claimed.
    births: AtomicU32,
    folded: AtomicU64,
    refused: AtomicU64,
}

/// How full a table is, and what it had to do about that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Occupancy {
    /// Entries in use.
    pub used: u32,
    /// Entries that there are.
    pub capacity: u32,
    /// How often an entry was folded into the rest of its database.
    pub folded: u64,
    /// How often something new found no free entry and was counted with the rest.
    pub refused: u64,
}

/// Sizes of a table's parts in shared memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Entries, roots included.
    pub entries: usize,
    /// Places in the index.
    pub index: usize,
}

impl Shape {
    /// For so many keys of a payload.
    pub fn of<P: Payload>(keys: usize) -> Self {
        Self {
            entries: keys + P::ROOTS as usize,
            index: (keys * 2).next_power_of_two().max(PROBES),
        }
    }
}

/// Where a key is counted, and how to notice that this has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Number of the entry.
    pub entry: u32,
    /// Its life when it was found.
    pub life: u32,
}

/// One entry as a reader finds it.
#[derive(Debug)]
pub struct Found<'a, P> {
    /// Tells one use of an entry from the next; the roots have the lowest numbers.
    pub born: u32,
    /// What is counted.
    pub key: Key,
    /// The counts.
    pub payload: &'a P,
}

/// The table over its parts. Any number of processes may have one over the same memory.
#[derive(Debug)]
pub struct Table<'a, P> {
    header: &'a Header,
    index: &'a [AtomicU64],
    entries: &'a [Entry<P>],
}

impl<P> Clone for Table<'_, P> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<P> Copy for Table<'_, P> {}

impl<'a, P: Payload> Table<'a, P> {
    /// A table over memory of the sizes of a [`Shape`], zeroed before its first use.
    pub fn new(header: &'a Header, index: &'a [AtomicU64], entries: &'a [Entry<P>]) -> Self {
        Self { header, index, entries }
    }

    /// An entry by its number.
    #[inline]
    pub fn entry(&self, number: u32) -> Option<&'a Entry<P>> {
        self.entries.get(number as usize)
    }

    /// Where a key is to be counted from now on; a new entry if there is none yet and room for one.
    pub fn place(&self, key: Key) -> Place {
        if let Some(place) = self.find(key) {
            return place;
        }
        let coarse = key.coarse();
        let room = self.entries.len() - P::ROOTS as usize;
        let rest = self.find(coarse).or_else(|| self.claim(coarse, room));
        let own = if key == coarse || rest.is_none() {
            rest
        } else {
            self.claim(key, room - self.reserve())
        };
        if let Some(place) = own {
            return place;
        }
        self.header.refused.fetch_add(1, Ordering::Relaxed);
        rest.unwrap_or_else(|| self.root(key.kind))
    }

    /// Entries that only coarse keys may take.
    fn reserve(&self) -> usize {
        (self.entries.len() / 32).clamp(4, 256).min(self.entries.len() / 2)
    }

    fn root(&self, kind: u64) -> Place {
        self.first(P::root(kind))
    }

    fn first(&self, number: u32) -> Place {
        let entry = number.min(P::ROOTS - 1);
        Place { entry, life: self.entry(entry).map_or(0, Entry::life) }
    }

    /// Where a key is counted, if it has an entry.
    pub fn find(&self, key: Key) -> Option<Place> {
        let hash = key.hash();
        for at in self.probes(hash) {
            match self.index[at].load(Ordering::Acquire) {
                0 => return None,
                GONE => {}
                found if found >> 32 == hash >> 32 => {
                    if let Some(place) = self.check(found as u32, key) {
                        return Some(place);
                    }
                }
                _ => {}
            }
        }
        None
    }

    fn probes(&self, hash: u64) -> impl Iterator<Item = usize> + use<P> {
        let mask = self.index.len() - 1;
        let start = hash as usize;
        (0..PROBES).map(move |step| start.wrapping_add(step) & mask)
    }

    /// What the index says is an entry (its number plus 1) of the key.
    fn check(&self, found: u32, key: Key) -> Option<Place> {
        let number = found.checked_sub(1)?;
        let entry = self.entry(number)?;
        let life = entry.life();
        let same = entry.state() == LIVE && entry.key() == key && entry.life() == life;
        same.then_some(Place { entry: number, life })
    }

    /// Makes an entry for a key while fewer than `room` are taken.
    fn claim(&self, key: Key, room: usize) -> Option<Place> {
        let number = self.take(room)?;
        let entry = self.entry(number)?;
        let line = &entry.line;
        line.what.store(key.what, Ordering::Relaxed);
        line.whose.store(key.whose, Ordering::Relaxed);
        line.kind.store(key.kind, Ordering::Relaxed);
        let born = self.header.births.fetch_add(1, Ordering::Relaxed).wrapping_add(P::ROOTS);
        line.born.store(born, Ordering::Relaxed);
        entry.end_life();
        let place = Place { entry: number, life: entry.life() };
        line.state.store(LIVE, Ordering::Release);
        let published = self.publish(key, number);
        if published != Some(place.entry) {
            // Somebody else was faster, or there is no place in the index.
            self.release(number);
        }
        published.filter(|other| *other == number).map(|_| place).or_else(|| self.find(key))
    }

    /// Puts an entry into the index; gives the number of the one that is there for the key.
    fn publish(&self, key: Key, number: u32) -> Option<u32> {
        let hash = key.hash();
        let mine = hash & !u64::from(u32::MAX) | (u64::from(number) + 1);
        for at in self.probes(hash) {
            let place = &self.index[at];
            let mut there = place.load(Ordering::Acquire);
            while there == 0 || there == GONE {
                self.entries[number as usize].line.home.store(at as u32, Ordering::Relaxed);
                match place.compare_exchange(there, mine, Ordering::AcqRel, Ordering::Acquire) {
                    Ok(_) => return Some(number),
                    Err(now) => there = now,
                }
            }
            if there >> 32 == hash >> 32
                && let Some(other) = self.check(there as u32, key)
            {
                return Some(other.entry);
            }
        }
        None
    }

    /// Takes a free entry while fewer than `room` are taken.
    fn take(&self, room: usize) -> Option<u32> {
        let taken = &self.header.taken;
        let grant = |n: u32| ((n as usize) < room).then(|| n + 1);
        taken.fetch_update(Ordering::AcqRel, Ordering::Relaxed, grant).ok()?;
        // Whoever has a grant finds an entry: it is given back only after the entry is.
        let found = self.pop().or_else(|| {
            let most = self.entries.len() as u32;
            let next = |n: u32| (n + P::ROOTS < most).then(|| n + 1);
            let fresh = self.header.fresh.fetch_update(Ordering::AcqRel, Ordering::Relaxed, next);
            fresh.ok().map(|n| n + P::ROOTS)
        });
        if found.is_none() {
            taken.fetch_sub(1, Ordering::AcqRel);
        }
        found
    }

    fn pop(&self) -> Option<u32> {
        let mut head = self.header.free.load(Ordering::Acquire);
        loop {
            let number = (head as u32).checked_sub(1)?;
            let next = self.entry(number)?.line.next.load(Ordering::Relaxed);
            let after = ((head >> 32).wrapping_add(1) << 32) | u64::from(next);
            match self.header.free.compare_exchange_weak(
                head,
                after,
                Ordering::AcqRel,
                Ordering::Acquire,
            ) {
                Ok(_) => return Some(number),
                Err(now) => head = now,
            }
        }
    }

    /// Makes an entry free again.
    fn release(&self, number: u32) {
        let Some(entry) = self.entry(number) else { return };
        entry.line.state.store(FREE, Ordering::Release);
        entry.end_life();
        let mut head = self.header.free.load(Ordering::Acquire);
        loop {
            entry.line.next.store(head as u32, Ordering::Relaxed);
            let after = ((head >> 32).wrapping_add(1) << 32) | (u64::from(number) + 1);
            match self.header.free.compare_exchange_weak(
                head,
                after,
                Ordering::AcqRel,
                Ordering::Acquire,
            ) {
                Ok(_) => break,
                Err(now) => head = now,
            }
        }
        self.header.taken.fetch_sub(1, Ordering::AcqRel);
    }

    /// Everything that is counted, the roots first. Nothing may be folded meanwhile.
    pub fn all(&self) -> impl Iterator<Item = Found<'a, P>> + use<'a, P> {
        (0u32..).zip(self.entries).filter_map(|(number, entry)| {
            if number < P::ROOTS {
                return Some(Found { born: number, key: Key::default(), payload: &entry.payload });
            }
            let born = entry.line.born.load(Ordering::Relaxed);
            let used = entry.state() != FREE;
            used.then(|| Found { born, key: entry.key(), payload: &entry.payload })
        })
    }

    /// How full the table is.
    pub fn occupancy(&self) -> Occupancy {
        Occupancy {
            used: self.header.taken.load(Ordering::Relaxed),
            capacity: self.entries.len() as u32 - P::ROOTS,
            folded: self.header.folded.load(Ordering::Relaxed),
            refused: self.header.refused.load(Ordering::Relaxed),
        }
    }
}
