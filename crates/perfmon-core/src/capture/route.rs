//! What is counted by application and route: times of statements and of transactions, and errors.

use std::collections::BTreeMap;
use std::hint::cold_path;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};

use super::comment::{MAX_ROUTE, Route};
use super::table::{Entry, Found, Key, Payload, Place, Table};
use super::whole::WorkOfAll;
use crate::histogram::BUCKETS;

/// Longest name of an application, as the server keeps them.
pub const MAX_APPLICATION: usize = 64;

/// Room for both names: a whole number of cache lines with their lengths.
const NAMES: usize = 252;
const _: () = assert!(MAX_APPLICATION + MAX_ROUTE <= NAMES);

/// The names behind a key: written by whoever first counted in the entry, and by nobody afterwards.
#[derive(Debug)]
#[repr(C, align(64))]
struct Label {
    /// Lengths of both names and a bit that says that they are there; 0 until then.
    lengths: AtomicU32,
    bytes: [AtomicU8; NAMES],
}

const WRITTEN: u32 = 1 << 31;

impl Label {
    fn write(&self, application: &[u8], route: &[u8]) {
        let application = &application[..application.len().min(MAX_APPLICATION)];
        let route = &route[..route.len().min(NAMES - application.len())];
        for (slot, byte) in self.bytes.iter().zip(application.iter().chain(route)) {
            slot.store(*byte, Ordering::Relaxed);
        }
        let lengths = (application.len() as u32) << 8 | route.len() as u32;
        self.lengths.store(WRITTEN | lengths, Ordering::Release);
    }

    fn read(&self) -> Option<Names> {
        let lengths = self.lengths.load(Ordering::Acquire);
        if lengths & WRITTEN == 0 {
            return None;
        }
        let (first, second) = ((lengths >> 8 & 0xff) as usize, (lengths & 0xff) as usize);
        let bytes: Vec<u8> = self.bytes.iter().map(|byte| byte.load(Ordering::Relaxed)).collect();
        Some(Names {
            application: bytes.get(..first)?.to_vec(),
            route: bytes.get(first..first + second)?.to_vec(),
        })
    }
}

/// What took the time of one bucket: statements in the lower half of the word, transactions in the upper. Most
/// statements are a transaction of their own, of the same bucket, and are counted at once as both.
#[derive(Debug, Default)]
pub struct Took(AtomicU64);

const TRANSACTION: u64 = 1 << 32;

impl Took {
    /// Counts a statement.
    #[inline]
    pub fn statement(&self) {
        self.add(1);
    }

    /// Counts a statement that was a transaction of its own.
    #[inline]
    pub fn lone(&self) {
        self.add(TRANSACTION | 1);
    }

    /// Adds one statement at most.
    #[inline]
    fn add(&self, more: u64) {
        if self.0.fetch_add(more, Ordering::Relaxed) as u32 == u32::MAX {
            cold_path();
            self.carried();
        }
    }

    fn transaction(&self) {
        self.0.fetch_add(TRANSACTION, Ordering::Relaxed);
    }

    /// The lower half wrapped and ran over into the upper.
    #[inline]
    fn carried(&self) {
        self.0.fetch_sub(TRANSACTION, Ordering::Relaxed);
    }

    fn statements(&self) -> u32 {
        self.0.load(Ordering::Relaxed) as u32
    }

    fn transactions(&self) -> u32 {
        (self.0.load(Ordering::Relaxed) >> 32) as u32
    }

    fn move_to(&self, other: &Self) {
        if self.0.load(Ordering::Relaxed) == 0 {
            return;
        }
        let mine = self.0.swap(0, Ordering::Relaxed);
        let theirs = other.0.fetch_add(mine, Ordering::Relaxed);
        if (theirs as u32).checked_add(mine as u32).is_none() {
            other.carried();
        }
    }
}

/// The counters of one route. They wrap.
#[derive(Debug)]
#[repr(C)]
pub struct Work {
    label: Label,
    took: [Took; BUCKETS],
    errors: AtomicU32,
    cancelled: AtomicU32,
    uncounted: AtomicU32,
    nameless: AtomicU32,
}

impl Default for Work {
    fn default() -> Self {
        let bytes = [const { AtomicU8::new(0) }; NAMES];
        Self {
            label: Label { lengths: AtomicU32::new(0), bytes },
            took: [const { Took(AtomicU64::new(0)) }; BUCKETS],
            errors: AtomicU32::new(0),
            cancelled: AtomicU32::new(0),
            uncounted: AtomicU32::new(0),
            nameless: AtomicU32::new(0),
        }
    }
}

impl Work {
    /// What took the time of a bucket.
    #[inline]
    pub fn took(&self, bucket: usize) -> &Took {
        &self.took[bucket.min(BUCKETS - 1)]
    }

    /// Counts a statement by the bucket of its time.
    #[inline]
    pub fn statement(&self, bucket: usize) {
        self.took(bucket).statement();
    }

    /// Counts a transaction by the bucket of its time.
    pub fn transaction(&self, bucket: usize) {
        self.took(bucket).transaction();
    }

    /// Counts a statement that failed, or was cancelled.
    pub fn failure(&self, cancelled: bool) {
        let counter = if cancelled { &self.cancelled } else { &self.errors };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a statement that was executed with the hooks off, or without an id: its number is all that is kept.
    pub fn leave_out(&self, nameless: bool) {
        self.uncounted.fetch_add(1, Ordering::Relaxed);
        self.nameless.fetch_add(u32::from(nameless), Ordering::Relaxed);
    }

    /// Statements executed with ids, but with the hooks off, so far.
    pub(super) fn untimed(&self) -> u64 {
        let [all, nameless] = [&self.uncounted, &self.nameless].map(|n| n.load(Ordering::Relaxed));
        // A statement that is just being counted may be in one of them only.
        u64::from(all.saturating_sub(nameless))
    }

    /// Hands over every counter.
    pub fn each(&self, mut each: impl FnMut(Slot, u32)) {
        self.all().for_each(|(slot, count)| each(slot, count));
    }

    fn all(&self) -> impl Iterator<Item = (Slot, u32)> {
        let took = || (0u8..).zip(&self.took);
        let statements = took().map(|(b, took)| (Slot::Statements(b), took.statements()));
        let transactions = took().map(|(b, took)| (Slot::Transactions(b), took.transactions()));
        let others = [
            (Slot::Errors, &self.errors),
            (Slot::Cancelled, &self.cancelled),
            (Slot::Uncounted, &self.uncounted),
            (Slot::Nameless, &self.nameless),
        ];
        let others = others.map(|(slot, count)| (slot, count.load(Ordering::Relaxed)));
        statements.chain(transactions).chain(others)
    }
}

/// One of the counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Slot {
    /// Statements of a bucket.
    Statements(u8),
    /// Transactions of a bucket.
    Transactions(u8),
    /// Statements that failed.
    Errors,
    /// Statements that were cancelled.
    Cancelled,
    /// Statements executed with the hooks off, or without an id.
    Uncounted,
    /// Of these, those without an id, which the server's own statistics do not know either.
    Nameless,
}

impl Slot {
    fn number(self) -> u64 {
        match self {
            Self::Statements(bucket) => u64::from(bucket),
            Self::Transactions(bucket) => 256 + u64::from(bucket),
            Self::Errors => 512,
            Self::Cancelled => 513,
            Self::Uncounted => 514,
            Self::Nameless => 515,
        }
    }

    fn numbered(number: u64) -> Option<Self> {
        let bucket = number as u8;
        Some(match number {
            0..256 => Self::Statements(bucket),
            256..512 => Self::Transactions(bucket),
            512 => Self::Errors,
            513 => Self::Cancelled,
            514 => Self::Uncounted,
            515 => Self::Nameless,
            _ => return None,
        })
    }
}

impl Payload for Work {
    const ROOTS: u32 = 2;

    fn root(_kind: u64) -> u32 {
        0
    }

    fn activity(&self) -> u32 {
        self.all().fold(0, |sum: u32, (_, count)| sum.wrapping_add(count))
    }

    fn move_to(&self, other: &Self) {
        self.took.iter().zip(&other.took).for_each(|(mine, theirs)| mine.move_to(theirs));
        for (mine, theirs) in [
            (&self.errors, &other.errors),
            (&self.cancelled, &other.cancelled),
            (&self.uncounted, &other.uncounted),
            (&self.nameless, &other.nameless),
        ] {
            theirs.fetch_add(mine.swap(0, Ordering::Relaxed), Ordering::Relaxed);
        }
        // Whoever has the entry next writes names of its own.
        self.label.lengths.store(0, Ordering::Release);
    }
}

/// The key of a route, by its database and user (as in [`Key`]) and its names; that of an application without one has an empty route.
pub fn key(whose: u64, application: &[u8], route: &Route) -> Key {
    let mut hash: u64 = 0xCBF2_9CE4_8422_2325;
    let mut add = |byte: u8| hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3);
    application.iter().copied().for_each(&mut add);
    add(0);
    route.bytes().iter().copied().for_each(&mut add);
    // 0 is the rest.
    Key { what: (hash ^ hash >> 29) | 1, whose, kind: 0 }
}

/// Where a key is counted from now on. The first in an entry writes the names.
pub fn place(table: &Table<'_, Work>, key: Key, application: &[u8], route: &Route) -> Place {
    let place = table.place(key);
    if let Some(entry) = table.entry(place.entry)
        && entry.payload.label.lengths.load(Ordering::Acquire) == 0
        && entry.is_of(key)
    {
        entry.payload.label.write(application, route.bytes());
    }
    place
}

/// Where one process counted last, so that the next statement of the same user, application and route finds it
/// by a comparison.
#[derive(Debug)]
pub struct Last<'a> {
    whose: u64,
    entry: Option<&'a Entry<Work>>,
    life: u32,
}

impl Clone for Last<'_> {
    fn clone(&self) -> Self {
        *self
    }
}

impl Copy for Last<'_> {}

impl<'a> Last<'a> {
    /// Nowhere yet.
    pub const NONE: Self = Self { whose: u64::MAX, entry: None, life: 0 };

    /// The entry, if it still counts what it did, and for the same user.
    #[inline]
    pub fn entry(&self, whose: u64) -> Option<&'a Entry<Work>> {
        if self.whose == whose { self.anywhere() } else { None }
    }

    /// The entry, if it still counts what it did.
    #[inline]
    pub fn anywhere(&self) -> Option<&'a Entry<Work>> {
        self.entry.filter(|entry| entry.life() == self.life)
    }

    /// Looks for the entry of a key.
    pub fn find(table: &Table<'a, Work>, key: Key, application: &[u8], route: &Route) -> Self {
        let place = place(table, key, application, route);
        Self { whose: key.whose, entry: table.entry(place.entry), life: place.life }
    }
}

/// The names behind a key, as the client wrote them.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Names {
    /// The application's.
    pub application: Vec<u8>,
    /// The route's; empty where the statement names none.
    pub route: Vec<u8>,
}

/// One entry as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counted {
    /// Tells one use of an entry from the next.
    pub born: u32,
    /// Whose counts these are.
    pub key: Key,
    /// Counters that are not zero, ascending; they wrap.
    pub counts: Vec<(Slot, u32)>,
}

/// What was read: the entries in the order of their births, and the names of those that have some.
#[derive(Debug, Clone, Default)]
pub struct Reading {
    /// The entries.
    pub counted: Vec<Counted>,
    /// Names by key.
    pub names: BTreeMap<Key, Names>,
}

/// Reads the routes of one database. One whose names are just being written is left for the next reading.
pub fn read(table: &Table<'_, Work>, database: u32) -> Reading {
    of(table.all(), database)
}

/// The same in one walk with the sum over all databases.
pub fn read_with_all(table: &Table<'_, Work>, database: u32) -> (Reading, WorkOfAll) {
    let mut sum = WorkOfAll::default();
    let all = table.all().inspect(|found| sum.add(found.payload));
    (of(all, database), sum)
}

fn of<'a>(all: impl Iterator<Item = Found<'a, Work>>, database: u32) -> Reading {
    let mut reading = Reading::default();
    let ours = |found: &Found<'a, Work>| match found.born {
        // What found no place may be of any database.
        root if root < Work::ROOTS => root == Work::root(0),
        _ => found.key.database() == database,
    };
    for found in all.filter(ours) {
        if found.key.what != 0 {
            let Some(names) = found.payload.label.read() else { continue };
            reading.names.insert(found.key, names);
        }
        let counts: Vec<_> = found.payload.all().filter(|(_, count)| *count != 0).collect();
        if found.born >= Work::ROOTS || !counts.is_empty() {
            reading.counted.push(Counted { born: found.born, key: found.key, counts });
        }
    }
    reading.counted.sort_unstable_by_key(|counted| counted.born);
    reading
}

/// More than this is no movement but a mistake: counters that went back.
const PLAUSIBLE: u32 = u32::MAX / 2;

/// What moved, by key.
pub type Moved = BTreeMap<Key, BTreeMap<Slot, u32>>;

/// What happened between two readings of the same life of the server, by key. What was folded in between counts
/// with the rest of its database, once.
pub fn difference(before: &[Counted], now: &[Counted]) -> Moved {
    let mut moved = Moved::new();
    let mut change = |key: Key, counted: &Counted, how: fn(u32, u32) -> u32| {
        let sums = moved.entry(key).or_default();
        for (slot, count) in &counted.counts {
            let sum = sums.entry(*slot).or_default();
            *sum = how(*sum, *count);
        }
    };
    now.iter().for_each(|counted| change(counted.key, counted, u32::wrapping_add));
    for prior in before {
        let at = now.binary_search_by_key(&prior.born, |counted| counted.born);
        let lives = at.is_ok_and(|at| now[at].key == prior.key);
        let key = if lives { prior.key } else { prior.key.coarse() };
        change(key, prior, u32::wrapping_sub);
    }
    for sums in moved.values_mut() {
        sums.retain(|_, sum| *sum > 0 && *sum <= PLAUSIBLE);
    }
    moved.retain(|_, sums| !sums.is_empty());
    moved
}

/// Takes out what found no place at all, and says whether some of it may be of this database: not if there was an entry
/// for the rest of it already when was read before, which stays as long as the database does.
pub fn take_unplaced(moved: &mut Moved, before: &[Counted], database: u32) -> bool {
    let rest = Key::new(0, database, 0, 0);
    moved.remove(&Key::default()).is_some() && !before.iter().any(|counted| counted.key == rest)
}

/// Statements that were executed to their end, of all routes.
pub fn executions(moved: &Moved) -> u64 {
    let counts = moved.values().flatten();
    counts.filter(|(slot, _)| matches!(slot, Slot::Statements(_))).map(|(_, n)| u64::from(*n)).sum()
}

/// Statements that were executed with ids, but with the hooks off, of all routes.
/// `is_meant` is asked for the user of each, 0 where that is not known.
pub fn untimed(moved: &Moved, mut is_meant: impl FnMut(u32) -> bool) -> u64 {
    let count = |sums: &BTreeMap<Slot, u32>| {
        let [all, nameless] = [Slot::Uncounted, Slot::Nameless].map(|slot| sums.get(&slot));
        // A statement that is just being counted may be in one of them only.
        Some(all?.saturating_sub(nameless.copied().unwrap_or(0))).filter(|n| *n > 0)
    };
    let counts = moved.iter().filter_map(|(key, sums)| Some((key, count(sums)?)));
    counts.filter(|(key, _)| is_meant(key.user())).map(|(_, n)| u64::from(n)).sum()
}

/// Statements that were executed without an id, of all routes.
pub fn nameless(moved: &Moved) -> u64 {
    moved.values().filter_map(|sums| sums.get(&Slot::Nameless)).map(|n| u64::from(*n)).sum()
}

/// Whether something is known of what clients did besides how many statements they executed with the hooks off.
pub fn tells_more_than_numbers(moved: &Moved) -> bool {
    let mut slots = moved.values().flat_map(BTreeMap::keys);
    slots.any(|slot| !matches!(slot, Slot::Uncounted | Slot::Nameless))
}

/// Statements that failed and that were cancelled, of all routes.
pub fn failures(moved: &Moved) -> [u64; 2] {
    let sum = |meant: Slot| {
        let counts = moved.values().filter_map(|sums| sums.get(&meant));
        counts.map(|n| u64::from(*n)).sum()
    };
    [sum(Slot::Errors), sum(Slot::Cancelled)]
}

/// Packs a reading, to be kept until the next.
pub fn to_columns(counted: &[Counted]) -> Vec<Vec<u64>> {
    let all = |of: fn(&Counted) -> u64| counted.iter().map(of).collect::<Vec<u64>>();
    let pairs = || counted.iter().flat_map(|c| &c.counts);
    vec![
        all(|c| u64::from(c.born)),
        all(|c| c.key.what),
        all(|c| c.key.whose),
        all(|c| c.counts.len() as u64),
        pairs().map(|(slot, _)| slot.number()).collect(),
        pairs().map(|(_, count)| u64::from(*count)).collect(),
    ]
}

/// The reading of which these are the columns; `None` if they are those of something else.
pub fn from_columns(columns: &[Vec<u64>]) -> Option<Vec<Counted>> {
    let [born, what, whose, lengths, slots, counts] = columns else { return None };
    let n = born.len();
    if [what, whose, lengths].iter().any(|column| column.len() != n) || slots.len() != counts.len()
    {
        return None;
    }
    let mut pairs = slots.iter().zip(counts);
    let mut one = |i: usize| {
        let take = usize::try_from(lengths[i]).ok()?;
        let own = pairs.by_ref().take(take);
        let own = own.map(|(slot, n)| Some((Slot::numbered(*slot)?, u32::try_from(*n).ok()?)));
        Some(Counted {
            born: u32::try_from(born[i]).ok()?,
            key: Key { what: what[i], whose: whose[i], kind: 0 },
            counts: own.collect::<Option<_>>()?,
        })
    };
    (0..n).map(&mut one).collect()
}

#[cfg(test)]
mod tests;
