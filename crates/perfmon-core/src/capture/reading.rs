//! What a reader saw of the statements in shared memory, and what happened between two readings.
//!
//! Counters are cumulative and wrap, so a difference is right as long as no counter moved by more than 2^31.
//! An entry that is gone was folded into the rest of its database with all it ever counted: what the earlier
//! reading knew of it is taken off the rest again, so that sums are exact whatever the worker folded in between.

use std::collections::BTreeMap;

use super::statement::{Half, Times};
use super::table::{Found, Key, Payload, Table};
use super::whole::TimesOfAll;
use crate::histogram::{self, BUCKETS, Latency, Sparse, bucket, place};
use crate::pack::{self, Corrupt};

/// One histogram as it was read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// Bucket and count, ascending; counts wrap.
    pub pairs: Vec<(u8, u32)>,
    /// Longest time so far, nanoseconds.
    pub max_ns: u64,
}

impl Counts {
    fn of(half: &Half) -> Self {
        Self { pairs: half.pairs(), max_ns: half.max_ns() }
    }

    fn sparse(&self) -> Sparse {
        Sparse::new(self.pairs.iter().map(|(bucket, count)| (*bucket, u64::from(*count))))
    }
}

/// One entry as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counted {
    /// Tells one use of an entry from the next.
    pub born: u32,
    /// Whose counts these are.
    pub key: Key,
    /// Executions that read no block.
    pub cached: Counts,
    /// Executions that did.
    pub read: Counts,
}

impl Counted {
    /// All that was ever counted, as one interval.
    pub fn latency(&self) -> Latency {
        let (cached, read) = (self.cached.sparse(), self.read.sparse());
        let longest = self.cached.max_ns.max(self.read.max_ns);
        let top = cached.top().max(read.top());
        let peak = top.filter(|top| *top == bucket(longest)).map(|top| place(top, longest));
        Latency { cached, read, peak }
    }
}

/// Reads the entries of one database, or of all, in the order of their births. The roots, which belong to
/// no database, are in the second only.
pub fn read(table: &Table<'_, Times>, database: Option<u32>) -> Vec<Counted> {
    of(table.all(), database)
}

/// The same in one walk with the sum over what clients of all databases sent.
pub fn read_with_all(table: &Table<'_, Times>, database: u32) -> (Vec<Counted>, TimesOfAll) {
    let mut sum = TimesOfAll::default();
    let all = table.all().inspect(|found| sum.add(found));
    (of(all, Some(database)), sum)
}

fn of<'a>(all: impl Iterator<Item = Found<'a, Times>>, database: Option<u32>) -> Vec<Counted> {
    let ours = |key: &Key| database.is_none_or(|database| key.database() == database);
    let mut entries: Vec<Counted> = all
        .filter(|found| ours(&found.key))
        .map(|found| Counted {
            born: found.born,
            // Of the roots only the kind is known.
            key: if found.born < Times::ROOTS {
                Key { kind: u64::from(found.born), ..Key::default() }
            } else {
                found.key
            },
            cached: Counts::of(&found.payload.cached),
            read: Counts::of(&found.payload.read),
        })
        .collect();
    entries.sort_unstable_by_key(|entry| entry.born);
    entries
}

/// What happened between two readings of the same life of the server, by key. Both in the order of births.
pub fn difference(before: &[Counted], now: &[Counted]) -> BTreeMap<Key, Latency> {
    let mut rest: BTreeMap<Key, Rest> = BTreeMap::new();
    let mut sums: BTreeMap<Key, Latency> = BTreeMap::new();
    let mut earlier = before.iter().peekable();
    for entry in now {
        while let Some(gone) = earlier.next_if(|e| e.born < entry.born) {
            rest.entry(gone.key.coarse()).or_default().take_off(gone);
        }
        let prior = earlier.next_if(|e| e.born == entry.born && e.key == entry.key);
        if entry.key.what == 0 {
            rest.entry(entry.key).or_default().add(entry, prior);
        } else {
            let latency = moved(prior, entry);
            if !latency.is_empty() {
                sums.entry(entry.key).or_default().add(&latency);
            }
        }
    }
    for gone in earlier {
        rest.entry(gone.key.coarse()).or_default().take_off(gone);
    }
    for (key, rest) in rest {
        let latency = rest.latency();
        if !latency.is_empty() {
            sums.insert(key, latency);
        }
    }
    sums
}

/// More than this is no movement but a mistake: counters that went back.
const PLAUSIBLE: u32 = u32::MAX / 2;

/// What one entry counted since it was read before.
fn moved(before: Option<&Counted>, now: &Counted) -> Latency {
    let none = Counts::default();
    let (cached, read) = before.map_or((&none, &none), |b| (&b.cached, &b.read));
    let latency = Latency {
        cached: subtract(cached, &now.cached),
        read: subtract(read, &now.read),
        peak: None,
    };
    // The longest time of the interval is known where it is the longest ever.
    let risen = |before: &Counts, now: &Counts| (now.max_ns > before.max_ns).then_some(now.max_ns);
    let longest = risen(cached, &now.cached).max(risen(read, &now.read));
    let top = latency.cached.top().max(latency.read.top());
    let peak = longest.filter(|ns| top == Some(bucket(*ns))).map(|ns| place(bucket(ns), ns));
    Latency { peak, ..latency }
}

fn subtract(before: &Counts, now: &Counts) -> Sparse {
    let mut earlier = before.pairs.iter().peekable();
    Sparse::new(now.pairs.iter().map(|(bucket, count)| {
        while earlier.next_if(|e| e.0 < *bucket).is_some() {}
        let prior = earlier.next_if(|e| e.0 == *bucket).map_or(0, |e| e.1);
        let moved = count.wrapping_sub(prior);
        (*bucket, u64::from(if moved > PLAUSIBLE { 0 } else { moved }))
    }))
}

/// The rest of a database while the difference is made.
struct Rest {
    cached: [u32; BUCKETS],
    read: [u32; BUCKETS],
}

impl Default for Rest {
    fn default() -> Self {
        Self { cached: [0; BUCKETS], read: [0; BUCKETS] }
    }
}

impl Rest {
    fn add(&mut self, now: &Counted, before: Option<&Counted>) {
        Self::apply(&mut self.cached, &now.cached, u32::wrapping_add);
        Self::apply(&mut self.read, &now.read, u32::wrapping_add);
        if let Some(before) = before {
            self.take_off(before);
        }
    }

    fn take_off(&mut self, known: &Counted) {
        Self::apply(&mut self.cached, &known.cached, u32::wrapping_sub);
        Self::apply(&mut self.read, &known.read, u32::wrapping_sub);
    }

    fn apply(to: &mut [u32; BUCKETS], counts: &Counts, how: fn(u32, u32) -> u32) {
        for (bucket, count) in &counts.pairs {
            let slot = &mut to[usize::from(*bucket).min(BUCKETS - 1)];
            *slot = how(*slot, *count);
        }
    }

    /// The longest time may be that of something folded, so it is known by its bucket only.
    fn latency(&self) -> Latency {
        let sparse = |counts: &[u32; BUCKETS]| {
            let plausible = |count: &u32| u64::from(if *count > PLAUSIBLE { 0 } else { *count });
            Sparse::new((0..).zip(counts.iter().map(plausible)))
        };
        Latency { cached: sparse(&self.cached), read: sparse(&self.read), peak: None }
    }
}

/// Version of the bytes of a kept reading.
const VERSION: u8 = 1;
/// Columns of a kept reading that `pack` packs, births and histograms left out.
const COLUMNS: usize = 6;

/// Packs a reading, to be kept until the next.
pub fn to_bytes(entries: &[Counted]) -> Vec<u8> {
    let all = |of: fn(&Counted) -> u64| pack::pack(&entries.iter().map(of).collect::<Vec<_>>());
    let histograms: Vec<Latency> = entries
        .iter()
        .map(|e| Latency { cached: e.cached.sparse(), read: e.read.sparse(), peak: None })
        .collect();
    let packed = histogram::pack::pack(&histograms);
    let columns: [Vec<u8>; COLUMNS] = [
        all(|e| e.key.what),
        all(|e| e.key.whose),
        all(|e| e.key.kind),
        all(|e| e.cached.max_ns),
        all(|e| e.read.max_ns),
        pack::pack(&packed.lengths),
    ];
    let births: Vec<u32> = entries.iter().map(|e| e.born).collect();
    let mut out = vec![VERSION];
    out.extend_from_slice(&(entries.len() as u32).to_le_bytes());
    for part in [pack::pack_ids(&births)].iter().chain(&columns).chain([&packed.bytes]) {
        out.extend_from_slice(&(part.len() as u32).to_le_bytes());
        out.extend_from_slice(part);
    }
    out
}

/// Unpacks a kept reading.
pub fn from_bytes(bytes: &[u8]) -> Result<Vec<Counted>, Corrupt> {
    let short = || Corrupt::new("kept reading of latencies ends too early");
    let (&version, mut rest) = bytes.split_first().ok_or_else(short)?;
    if version != VERSION {
        return Err(Corrupt::new(format!(
            "kept reading of latencies has version {version}, this library knows only {VERSION}"
        )));
    }
    let number = |rest: &mut &[u8]| {
        let (four, after) = rest.split_first_chunk::<4>().ok_or_else(short)?;
        *rest = after;
        Ok::<usize, Corrupt>(u32::from_le_bytes(*four) as usize)
    };
    let n = number(&mut rest)?;
    let mut part = || {
        let length = number(&mut rest)?;
        let (own, after) = rest.split_at_checked(length).ok_or_else(short)?;
        rest = after;
        Ok::<&[u8], Corrupt>(own)
    };
    let mut births = Vec::new();
    pack::unpack_ids(part()?, n, &mut births)?;
    let mut columns: [Vec<u64>; COLUMNS] = Default::default();
    for column in &mut columns {
        pack::unpack(part()?, n, column)?;
    }
    let histograms = histogram::pack::unpack(&columns[5], part()?)?;
    if !rest.is_empty() {
        return Err(Corrupt::new("kept reading of latencies is followed by something else"));
    }
    let entries = births.into_iter().zip(histograms).enumerate();
    entries
        .map(|(i, (born, latency))| {
            Ok(Counted {
                born,
                key: Key { what: columns[0][i], whose: columns[1][i], kind: columns[2][i] },
                cached: counts(&latency.cached, columns[3][i])?,
                read: counts(&latency.read, columns[4][i])?,
            })
        })
        .collect()
}

fn counts(sparse: &Sparse, max_ns: u64) -> Result<Counts, Corrupt> {
    let narrow = |pair: &(u8, u64)| {
        let count = u32::try_from(pair.1).ok();
        let count = count.ok_or_else(|| Corrupt::new("kept reading has a count that is too large"));
        count.map(|count| (pair.0, count))
    };
    Ok(Counts { pairs: sparse.pairs().iter().map(narrow).collect::<Result<_, _>>()?, max_ns })
}
