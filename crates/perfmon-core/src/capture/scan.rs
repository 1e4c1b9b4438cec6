//! What executions that were looked into say of their plans: rows read and kept by each scan, filter and join, what
//! spilled, and estimates that were off, by statement, table, kind of node and the conditions that it applied.

use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};

use super::by_key::ByKey;
use super::table::{Entry, Found, Key, Payload, Table};

pub mod code;
mod described;
mod kind;
mod word;

pub use code::Code;
use code::Token;
pub use described::{Condition, Described, Side};
pub use kind::Kind;
pub use word::{Compared, Names, Part, Pattern, UNKNOWN, Use, line, part_of};

/// Longest conditions that are kept; what is beyond is cut off, and said to be.
pub const LONGEST: usize = 208;

/// The counters of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(usize)]
pub enum Slot {
    /// Executions that were looked into and had the node do something.
    Executions = 0,
    /// How often the node ran within them, of all processes.
    Loops = 1,
    /// Rows that it looked at: those kept, and those that its conditions threw away.
    Read = 2,
    /// Rows that it gave on.
    Kept = 3,
    /// Rows that the planner had thought it would give on.
    Estimated = 4,
    /// Executions in which it wrote to disk for want of memory.
    Spills = 5,
    /// What it wrote, where that is known.
    SpilledBytes = 6,
    /// Of a nested loop: rows of its outer side.
    Outer = 7,
    /// Of a nested loop: rows that the planner had thought its outer side would have.
    OuterEstimated = 8,
    /// Of a nested loop: executions in which an estimate was off by more than ten times.
    Misestimates = 9,
}

/// How many counters there are.
pub const SLOTS: usize = 10;

/// What one node did in one execution, or several in all; by [`Slot`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts(pub [u64; SLOTS]);

impl Counts {
    /// One of them.
    pub fn get(&self, slot: Slot) -> u64 {
        self.0[slot as usize]
    }

    /// Sets one of them.
    pub fn set(&mut self, slot: Slot, value: u64) {
        self.0[slot as usize] = value;
    }

    /// Adds all of another, without an end.
    pub fn add(&mut self, other: &Self) {
        for (mine, theirs) in self.0.iter_mut().zip(other.0) {
            *mine = mine.saturating_add(theirs);
        }
    }
}

/// What is counted apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subject {
    /// The statement, and whether a client sent it.
    pub query_id: u64,
    /// See `query_id`.
    pub toplevel: bool,
    /// What kind of node.
    pub kind: Kind,
    /// The table as the statement names it: that of partitions is their parent. 0 for none.
    pub relation: u32,
    /// The table whose columns the conditions name: the table itself, or one of its partitions.
    pub columns_of: u32,
    /// The index of a scan that takes one.
    pub index: u32,
    /// The conditions.
    pub code: Code,
}

impl Subject {
    /// Its key, for a database and user as in [`Key`].
    pub fn key(&self, whose: u64) -> Key {
        let what = u64::from(self.kind as u8) | u64::from(self.toplevel) << 8;
        let objects = u64::from(self.relation) | u64::from(self.index) << 32;
        let mix = |hash: u64, word: u64| {
            let mixed = (hash.rotate_left(23) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            mixed ^ mixed >> 32
        };
        let hash = [what, objects].into_iter().fold(self.query_id, mix);
        let hash = self
            .code
            .bytes()
            .iter()
            .fold(hash, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01B3));
        // 0 is the rest.
        Key { what: (hash ^ hash >> 29) | 1, whose, kind: 0 }
    }
}

/// The subject of an entry: written by whoever first counted in it, and by nobody afterwards.
#[derive(Debug)]
#[repr(C, align(64))]
struct Label {
    /// Length of the code and a bit that says that all is there; 0 until then.
    state: AtomicU32,
    kind: AtomicU32,
    query_id: AtomicU64,
    relation: AtomicU32,
    columns_of: AtomicU32,
    index: AtomicU32,
    code: [AtomicU8; LONGEST],
}

const WRITTEN: u32 = 1 << 31;

impl Default for Label {
    fn default() -> Self {
        Self {
            state: AtomicU32::new(0),
            kind: AtomicU32::new(0),
            query_id: AtomicU64::new(0),
            relation: AtomicU32::new(0),
            columns_of: AtomicU32::new(0),
            index: AtomicU32::new(0),
            code: [const { AtomicU8::new(0) }; LONGEST],
        }
    }
}

impl Label {
    fn write(&self, subject: &Subject) {
        let toplevel = u32::from(subject.toplevel) << 8;
        self.kind.store(subject.kind as u32 | toplevel, Ordering::Relaxed);
        self.query_id.store(subject.query_id, Ordering::Relaxed);
        self.relation.store(subject.relation, Ordering::Relaxed);
        self.columns_of.store(subject.columns_of, Ordering::Relaxed);
        self.index.store(subject.index, Ordering::Relaxed);
        let bytes = subject.code.bytes();
        for (slot, byte) in self.code.iter().zip(bytes) {
            slot.store(*byte, Ordering::Relaxed);
        }
        self.state.store(WRITTEN | bytes.len() as u32, Ordering::Release);
    }

    fn read(&self) -> Option<Subject> {
        let state = self.state.load(Ordering::Acquire);
        if state & WRITTEN == 0 {
            return None;
        }
        let kind = self.kind.load(Ordering::Relaxed);
        let mut bytes = [0; LONGEST];
        let bytes = bytes.get_mut(..(state & !WRITTEN) as usize)?;
        for (byte, slot) in bytes.iter_mut().zip(&self.code) {
            *byte = slot.load(Ordering::Relaxed);
        }
        Some(Subject {
            query_id: self.query_id.load(Ordering::Relaxed),
            toplevel: kind >> 8 & 1 != 0,
            kind: Kind::numbered(kind as u8)?,
            relation: self.relation.load(Ordering::Relaxed),
            columns_of: self.columns_of.load(Ordering::Relaxed),
            index: self.index.load(Ordering::Relaxed),
            code: Code::of(bytes),
        })
    }
}

/// The counters of one node. They wrap.
#[derive(Debug, Default)]
#[repr(C)]
pub struct Evidence {
    label: Label,
    counts: [AtomicU64; SLOTS],
}

impl Evidence {
    fn add(&self, counts: &Counts) {
        for (slot, n) in self.counts.iter().zip(counts.0) {
            if n > 0 {
                slot.fetch_add(n, Ordering::Relaxed);
            }
        }
    }

    fn read(&self) -> Counts {
        Counts(std::array::from_fn(|i| self.counts[i].load(Ordering::Relaxed)))
    }
}

impl Payload for Evidence {
    const ROOTS: u32 = 1;

    fn root(_kind: u64) -> u32 {
        0
    }

    fn activity(&self) -> u32 {
        self.counts[Slot::Executions as usize].load(Ordering::Relaxed) as u32
    }

    fn move_to(&self, other: &Self) {
        for (mine, theirs) in self.counts.iter().zip(&other.counts) {
            theirs.fetch_add(mine.swap(0, Ordering::Relaxed), Ordering::Relaxed);
        }
        // Whoever has the entry next writes a label of its own.
        self.label.state.store(0, Ordering::Release);
    }
}

/// Adds what a node did; the first in an entry writes what it is about.
pub fn record(table: &Table<'_, Evidence>, key: Key, subject: &Subject, counts: &Counts) {
    let place = table.place(key);
    let Some(entry) = table.entry(place.entry) else { return };
    let payload: &Evidence = &entry.payload;
    if payload.label.state.load(Ordering::Acquire) == 0 && is_own(entry, key) {
        payload.label.write(subject);
    }
    payload.add(counts);
}

/// Adds to what is there already, and does nothing where there is nothing.
pub fn record_known(table: &Table<'_, Evidence>, key: Key, counts: &Counts) {
    if let Some(entry) = table.find(key).and_then(|place| table.entry(place.entry)) {
        entry.payload.add(counts);
    }
}

fn is_own(entry: &Entry<Evidence>, key: Key) -> bool {
    entry.is_of(key) && key.what != 0
}

/// One entry as it was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counted {
    /// Tells one use of an entry from the next.
    pub born: u32,
    /// Whose counts these are.
    pub key: Key,
    /// All since the server started; they wrap.
    pub counts: Counts,
}

/// What was read: the entries in the order of their births, and what those are about that are apart and moved.
#[derive(Debug, Clone, Default)]
pub struct Reading {
    /// The entries.
    pub counted: Vec<Counted>,
    /// Subjects by key.
    pub subjects: BTreeMap<Key, Subject>,
}

/// Reads one database. An entry whose label is just being written is left for the next reading. What an entry is about
/// is not read where it stands as it did `before`, in a reading of the same life of the server: that is most of them,
/// and most of what there is to read.
pub fn read(table: &Table<'_, Evidence>, database: u32, before: &[Counted]) -> Reading {
    let ours = |key: &Key| key.database() == database;
    let all = table.all().filter(|found| found.born >= Evidence::ROOTS && ours(&found.key));
    let mut all: Vec<Found<'_, Evidence>> = all.collect();
    all.sort_unstable_by_key(|found| found.born);
    let mut reading = Reading { counted: Vec::with_capacity(all.len()), ..Reading::default() };
    let mut earlier = before.iter().peekable();
    for found in all {
        let Found { born, key, payload } = found;
        let counted = Counted { born, key, counts: payload.read() };
        while earlier.next_if(|prior| prior.born < born).is_some() {}
        let stands = earlier.peek().is_some_and(|prior| **prior == counted);
        if !stands && key.what != 0 {
            let Some(subject) = payload.label.read() else { continue };
            reading.subjects.insert(key, subject);
        }
        reading.counted.push(counted);
    }
    reading
}

/// What moved, by key.
pub type Moved = BTreeMap<Key, Counts>;

/// What happened between two readings of the same life of the server, by key. What was folded in between counts
/// with the rest of its database, once.
pub fn difference(before: &[Counted], now: &[Counted]) -> Moved {
    let mut moved = Moved::new();
    let mut change = |key: Key, counted: &Counted, how: fn(u64, u64) -> u64| {
        let sums = moved.entry(key).or_default();
        for (sum, n) in sums.0.iter_mut().zip(counted.counts.0) {
            *sum = how(*sum, n);
        }
    };
    let mut earlier = before.iter().peekable();
    for counted in now {
        while let Some(gone) = earlier.next_if(|prior| prior.born < counted.born) {
            change(gone.key.coarse(), gone, u64::wrapping_sub);
        }
        let prior = earlier.next_if(|prior| prior.born == counted.born);
        // Most did not move.
        if prior.is_some_and(|prior| prior == counted) {
            continue;
        }
        change(counted.key, counted, u64::wrapping_add);
        if let Some(prior) = prior {
            let lives = prior.key == counted.key;
            let key = if lives { prior.key } else { prior.key.coarse() };
            change(key, prior, u64::wrapping_sub);
        }
    }
    earlier.for_each(|gone| change(gone.key.coarse(), gone, u64::wrapping_sub));
    // What went back is a mistake, no movement.
    moved.retain(|_, sums| {
        sums.0.iter().any(|n| *n > 0) && sums.0.iter().all(|n| *n <= u64::MAX / 2)
    });
    moved
}

/// The reading to be kept where some keys wait for a name: their entries stand as they stood before, or not at all, so that
/// what they counted since is in a later difference.
pub fn without(before: &[Counted], now: &[Counted], waiting: &HashSet<Key>) -> Vec<Counted> {
    if waiting.is_empty() {
        return now.to_vec();
    }
    let prior = |counted: &Counted| {
        let at = before.binary_search_by_key(&counted.born, |prior| prior.born).ok()?;
        before.get(at).filter(|prior| prior.key == counted.key).copied()
    };
    now.iter()
        .filter_map(
            |counted| {
                if waiting.contains(&counted.key) { prior(counted) } else { Some(*counted) }
            },
        )
        .collect()
}

/// Dictionary ids by key, each with the label of the names under which it was given.
pub type Ids = ByKey<(u64, u32)>;

/// A number that changes with any name by which a subject is described: those of its user, tables, index, columns,
/// operators, functions and types.
pub fn label(subject: &Subject, user: &str, names: &mut impl Names) -> u64 {
    let mut hash: u64 = 0xCBF2_9CE4_8422_2325;
    let mut add = |name: Option<&str>| {
        let bytes = name.unwrap_or("\u{1}").bytes().chain([0]);
        bytes.for_each(|byte| hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3));
    };
    add(Some(user));
    for relation in [subject.relation, subject.index].into_iter().filter(|oid| *oid != 0) {
        add(names.table(relation).as_deref());
    }
    for token in subject.code.tokens() {
        match token {
            Token::Column(number) => add(names.column(subject.columns_of, number).as_deref()),
            Token::Other(table, number) => {
                add(names.table(table).as_deref());
                add(names.column(table, number).as_deref());
            }
            Token::Operator(oid, _) | Token::Distinct(oid) | Token::Any(oid) | Token::All(oid) => {
                add(names.operator(oid).as_deref());
            }
            Token::Function(oid, _) => add(names.function(oid).as_deref()),
            Token::Cast(oid) => add(names.type_name(oid).as_deref()),
            _ => {}
        }
    }
    hash
}

/// Packs a reading, to be kept until the next.
pub fn to_columns(counted: &[Counted], ids: &Ids) -> Vec<Vec<u64>> {
    let all = |of: &dyn Fn(&Counted) -> u64| counted.iter().map(of).collect::<Vec<u64>>();
    let mut columns =
        vec![all(&|c| u64::from(c.born)), all(&|c| c.key.what), all(&|c| c.key.whose)];
    let id = |c: &Counted| ids.get(&c.key).copied().unwrap_or_default();
    columns.extend([all(&|c| id(c).0), all(&|c| u64::from(id(c).1))]);
    columns.extend((0..SLOTS).map(|slot| all(&|c| c.counts.0[slot])));
    columns
}

/// The reading of which these are the columns; `None` if they are those of something else.
pub fn from_columns(columns: &[Vec<u64>]) -> Option<(Vec<Counted>, Ids)> {
    let [born, what, whose, labels, ids, counts @ ..] = columns else { return None };
    let n = born.len();
    if counts.len() != SLOTS || columns.iter().any(|column| column.len() != n) {
        return None;
    }
    // Room for all at once: there are thousands, and growing step by step would move them as often.
    let mut all = Vec::with_capacity(n);
    let mut named = Ids::with_capacity_and_hasher(n, Default::default());
    for i in 0..n {
        let key = Key { what: what[i], whose: whose[i], kind: 0 };
        let counts = Counts(std::array::from_fn(|slot| counts[slot][i]));
        all.push(Counted { born: u32::try_from(born[i]).ok()?, key, counts });
        if ids[i] != 0 {
            named.insert(key, (labels[i], u32::try_from(ids[i]).ok()?));
        }
    }
    Some((all, named))
}

#[cfg(test)]
mod tests;
