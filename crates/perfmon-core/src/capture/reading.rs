//! What a reader saw of the statements in shared memory, and what happened between two readings.
//!
//! Counters are cumulative and wrap, so a difference is right as long as no counter moved by more than 2^31.
//! An entry that is gone was folded into the rest of its database with all it ever counted: what the earlier
//! reading knew of it is taken off the rest again, so that sums are exact whatever the worker folded in between.

use std::collections::BTreeMap;

use super::statement::{Half, Times};
use super::table::{Found, Key, Payload, Table};
use super::whole::TimesOfAll;
use crate::histogram::{BUCKETS, Latency, Sparse, bucket, place};
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

/// What one entry, or the rest of a database, counted between two readings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moved {
    /// Whose counts these are. Two that claimed an entry at the same time may have the same.
    pub key: Key,
    /// Where the entry is in the later reading; `None` for what has no entry of its own.
    pub at: Option<usize>,
    /// What was executed; never nothing.
    pub latency: Latency,
}

/// What happened between two readings of the same life of the server, by key. Both in the order of births.
pub fn difference(before: &[Counted], now: &[Counted]) -> BTreeMap<Key, Latency> {
    let mut sums: BTreeMap<Key, Latency> = BTreeMap::new();
    for moved in moves(before, now) {
        sums.entry(moved.key).or_default().add(&moved.latency);
    }
    sums
}

/// The same, entry by entry.
pub fn moves(before: &[Counted], now: &[Counted]) -> Vec<Moved> {
    let mut rest: BTreeMap<Key, Rest> = BTreeMap::new();
    let mut all = Vec::with_capacity(now.len());
    let mut earlier = before.iter().peekable();
    for (at, entry) in now.iter().enumerate() {
        while let Some(gone) = earlier.next_if(|e| e.born < entry.born) {
            rest.entry(gone.key.coarse()).or_default().take_off(gone);
        }
        let prior = earlier.next_if(|e| e.born == entry.born && e.key == entry.key);
        if entry.key.what == 0 {
            rest.entry(entry.key).or_default().add(entry, prior);
            continue;
        }
        let latency = moved(prior, entry);
        if !latency.is_empty() {
            all.push(Moved { key: entry.key, at: Some(at), latency });
        }
    }
    for gone in earlier {
        rest.entry(gone.key.coarse()).or_default().take_off(gone);
    }
    for (key, rest) in rest {
        let latency = rest.latency();
        if !latency.is_empty() {
            all.push(Moved { key, at: None, latency });
        }
    }
    all
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
    // Most statements read no block in most intervals.
    if before.pairs == now.pairs {
        return Sparse::default();
    }
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
const VERSION: u8 = 2;
/// Columns of a kept reading with a value for each entry, births left out.
const COLUMNS: usize = 7;

/// Packs a reading, to be kept until the next. It is read and written with each snapshot and never goes to the log of
/// the server, so time counts more than room.
pub fn to_bytes(entries: &[Counted]) -> Vec<u8> {
    let all =
        |of: &dyn Fn(&Counted) -> u64| pack::pack(&entries.iter().map(of).collect::<Vec<_>>());
    let mut whose = 0;
    let changed: Vec<u64> =
        entries.iter().map(|e| std::mem::replace(&mut whose, e.key.whose) ^ e.key.whose).collect();
    let columns: [Vec<u8>; COLUMNS] = [
        all(&|e| e.key.what),
        pack::pack(&changed),
        all(&|e| e.key.kind),
        all(&|e| e.cached.max_ns),
        all(&|e| e.read.max_ns),
        all(&|e| e.cached.pairs.len() as u64),
        all(&|e| e.read.pairs.len() as u64),
    ];
    let pairs = || entries.iter().flat_map(|e| e.cached.pairs.iter().chain(&e.read.pairs));
    let buckets: Vec<u8> = pairs().map(|(bucket, _)| *bucket).collect();
    let counts: Vec<u64> = pairs().map(|(_, count)| u64::from(*count)).collect();
    let births: Vec<u32> = entries.iter().map(|e| e.born).collect();
    let mut out = vec![VERSION];
    out.extend_from_slice(&(entries.len() as u32).to_le_bytes());
    let histograms = [buckets, pack::pack(&counts)];
    for part in [pack::pack_ids(&births)].iter().chain(&columns).chain(&histograms) {
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
    let buckets = part()?;
    let mut counts = Vec::new();
    pack::unpack(part()?, buckets.len(), &mut counts)?;
    if !rest.is_empty() {
        return Err(Corrupt::new("kept reading of latencies is followed by something else"));
    }
    let mut histograms = Histograms { buckets, counts: &counts };
    let [what, changed, kind, cached_max, read_max, cached_n, read_n] = &columns;
    let mut whose = 0;
    let mut entries = Vec::with_capacity(n);
    for (i, born) in births.into_iter().enumerate() {
        whose ^= changed[i];
        entries.push(Counted {
            born,
            key: Key { what: what[i], whose, kind: kind[i] },
            cached: histograms.next(cached_n[i], cached_max[i])?,
            read: histograms.next(read_n[i], read_max[i])?,
        });
    }
    if !histograms.buckets.is_empty() {
        return Err(Corrupt::new("kept reading of latencies has histograms of no entry"));
    }
    Ok(entries)
}

/// Histograms one behind the other.
struct Histograms<'a> {
    buckets: &'a [u8],
    counts: &'a [u64],
}

impl Histograms<'_> {
    fn next(&mut self, n: u64, max_ns: u64) -> Result<Counts, Corrupt> {
        let wrong = || Corrupt::new("kept reading of latencies has a broken histogram");
        let n = usize::try_from(n).map_err(|_| wrong())?;
        let (buckets, more_buckets) = self.buckets.split_at_checked(n).ok_or_else(wrong)?;
        let (counts, more_counts) = self.counts.split_at_checked(n).ok_or_else(wrong)?;
        (self.buckets, self.counts) = (more_buckets, more_counts);
        let ascend = buckets.windows(2).all(|two| two[0] < two[1]);
        if !ascend || buckets.last().is_some_and(|last| usize::from(*last) >= BUCKETS) {
            return Err(wrong());
        }
        let narrow = |(bucket, count): (&u8, &u64)| {
            Some((*bucket, u32::try_from(*count).ok().filter(|n| *n > 0)?))
        };
        let pairs: Option<Vec<(u8, u32)>> = buckets.iter().zip(counts).map(narrow).collect();
        Ok(Counts { pairs: pairs.ok_or_else(wrong)?, max_ns })
    }
}
