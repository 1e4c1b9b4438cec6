//! What a reader saw of the statements in shared memory, and what happened between two readings.
//!
//! Counters are cumulative and wrap, so a difference is right as long as no counter moved by more than 2^31.
//! An entry that is gone was folded into the rest of its database with all it ever counted: what the earlier
//! reading knew of it is taken off the rest again, so that sums are exact whatever the worker folded in between.

use std::collections::BTreeMap;
use std::ops::Range;

use super::statement::{Half, Times};
use super::table::{Found, Key, Payload, Table};
use super::whole::TimesOfAll;
use crate::histogram::{BUCKETS, Latency, Sparse, bucket, place};
use crate::pack::{self, Corrupt};

/// One half of an entry as it was read: where its histogram lies among those of all, and the longest time so far.
#[derive(Debug, Clone, Copy, Default)]
struct Part {
    at: u32,
    n: u32,
    max_ns: u64,
}

impl Part {
    fn range(self) -> Range<usize> {
        self.at as usize..(self.at + self.n) as usize
    }
}

/// One entry as it was read.
#[derive(Debug, Clone)]
pub struct Counted {
    /// Tells one use of an entry from the next.
    pub born: u32,
    /// Whose counts these are.
    pub key: Key,
    cached: Part,
    read: Part,
}

/// One histogram: buckets, ascending, their counts, which wrap, and the longest time so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts<'a> {
    /// Buckets that are not zero.
    pub buckets: &'a [u8],
    /// How often each was hit.
    pub counts: &'a [u32],
    /// Longest time, nanoseconds.
    pub max_ns: u64,
}

impl<'a> Counts<'a> {
    fn pairs(self) -> impl Iterator<Item = (u8, u32)> + use<'a> {
        std::iter::zip(self.buckets, self.counts).map(|(bucket, count)| (*bucket, *count))
    }

    /// Adds all counts to sums, which wrap.
    pub fn add_to(self, sums: &mut [u32; BUCKETS]) {
        self.apply(sums, u32::wrapping_add);
    }

    fn apply(self, to: &mut [u32; BUCKETS], how: fn(u32, u32) -> u32) {
        for (bucket, count) in self.pairs() {
            let slot = &mut to[usize::from(bucket).min(BUCKETS - 1)];
            *slot = how(*slot, count);
        }
    }
}

/// The entries of a database as they were read, in the order of their births. The histograms of all of them lie one
/// behind the other: there are thousands, and most are short.
#[derive(Debug, Clone, Default)]
pub struct Reading {
    entries: Vec<Counted>,
    buckets: Vec<u8>,
    counts: Vec<u32>,
}

/// Where the histograms lie does not count.
impl PartialEq for Reading {
    fn eq(&self, other: &Self) -> bool {
        let all = |reading: &Self| reading.entries.len();
        let same = |(a, b): (&Counted, &Counted)| {
            (a.born, a.key) == (b.born, b.key)
                && self.cached(a) == other.cached(b)
                && self.read(a) == other.read(b)
        };
        all(self) == all(other) && self.entries.iter().zip(&other.entries).all(same)
    }
}

impl Eq for Reading {}

impl Reading {
    /// The entries.
    pub fn entries(&self) -> &[Counted] {
        &self.entries
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Executions of one of its entries that read no block.
    pub fn cached(&self, entry: &Counted) -> Counts<'_> {
        self.counts(entry.cached)
    }

    /// Executions that did.
    pub fn read(&self, entry: &Counted) -> Counts<'_> {
        self.counts(entry.read)
    }

    /// Adds an entry that was born after all others; of each half buckets and counts, ascending, and the longest time.
    pub fn push(&mut self, born: u32, key: Key, halves: [(&[(u8, u32)], u64); 2]) {
        let [cached, read] = halves.map(|(pairs, max_ns)| {
            let at = self.buckets.len() as u32;
            self.buckets.extend(pairs.iter().map(|pair| pair.0));
            self.counts.extend(pairs.iter().map(|pair| pair.1));
            Part { at, n: pairs.len() as u32, max_ns }
        });
        self.entries.push(Counted { born, key, cached, read });
    }

    /// Growing step by step would move thousands of entries as often.
    fn with_room_for(table: &Table<'_, Times>) -> Self {
        let entries = table.occupancy().used as usize + Times::ROOTS as usize;
        Self {
            entries: Vec::with_capacity(entries),
            buckets: Vec::with_capacity(4 * entries),
            counts: Vec::with_capacity(4 * entries),
        }
    }

    fn counts(&self, part: Part) -> Counts<'_> {
        let (buckets, counts) = (self.buckets.get(part.range()), self.counts.get(part.range()));
        let (buckets, counts) = buckets.zip(counts).unwrap_or_default();
        Counts { buckets, counts, max_ns: part.max_ns }
    }

    fn halves(&self, entry: &Counted) -> [Counts<'_>; 2] {
        [self.cached(entry), self.read(entry)]
    }

    fn take(&mut self, half: &Half) -> Part {
        let at = self.buckets.len();
        half.each(|bucket, count| {
            self.buckets.push(bucket);
            self.counts.push(count);
        });
        let n = self.buckets.len() - at;
        Part { at: at as u32, n: n as u32, max_ns: half.max_ns() }
    }

    fn add(&mut self, found: &Found<'_, Times>) {
        // Of the roots only the kind is known.
        let key = if found.born < Times::ROOTS {
            Key { kind: u64::from(found.born % (Times::ROOTS / 2)), ..Key::default() }
        } else {
            found.key
        };
        let cached = self.take(&found.payload.cached);
        let read = self.take(&found.payload.read);
        self.entries.push(Counted { born: found.born, key, cached, read });
    }

    fn sort(&mut self) {
        self.entries.sort_unstable_by_key(|entry| entry.born);
    }
}

/// Reads the entries of one database, or of all. The roots, which belong to no database, are in the second only.
pub fn read(table: &Table<'_, Times>, database: Option<u32>) -> Reading {
    let mut reading = Reading::with_room_for(table);
    for found in table.all() {
        if database.is_none_or(|database| found.key.database() == database) {
            reading.add(&found);
        }
    }
    reading.sort();
    reading
}

/// The same in one walk with the sum over what clients of all databases sent.
pub fn read_with_all(table: &Table<'_, Times>, database: u32) -> (Reading, TimesOfAll) {
    let (mut reading, mut sum) = (Reading::with_room_for(table), TimesOfAll::default());
    for found in table.all() {
        if found.key.database() == database {
            reading.add(&found);
            if let Some(entry) = reading.entries.last() {
                sum.add_counted(entry.key.kind, reading.cached(entry), reading.read(entry));
            }
        } else {
            sum.add(&found);
        }
    }
    reading.sort();
    (reading, sum)
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

/// What happened between two readings of the same life of the server, by key.
pub fn difference(before: &Reading, now: &Reading) -> BTreeMap<Key, Latency> {
    let mut sums: BTreeMap<Key, Latency> = BTreeMap::new();
    for moved in moves(before, now) {
        sums.entry(moved.key).or_default().add(&moved.latency);
    }
    sums
}

/// The same, entry by entry.
pub fn moves(before: &Reading, now: &Reading) -> Vec<Moved> {
    let mut rest: BTreeMap<Key, Rest> = BTreeMap::new();
    let mut all = Vec::with_capacity(now.len());
    let mut room = Vec::with_capacity(BUCKETS);
    let mut earlier = before.entries.iter().peekable();
    for (at, entry) in now.entries.iter().enumerate() {
        while let Some(gone) = earlier.next_if(|e| e.born < entry.born) {
            rest.entry(gone.key.coarse()).or_default().take_off(before.halves(gone));
        }
        let prior = earlier.next_if(|e| e.born == entry.born && e.key == entry.key);
        let prior = prior.map(|prior| before.halves(prior));
        if entry.key.what == 0 {
            rest.entry(entry.key).or_default().add(now.halves(entry), prior);
            continue;
        }
        let latency = moved(prior.unwrap_or_default(), now.halves(entry), &mut room);
        if !latency.is_empty() {
            all.push(Moved { key: entry.key, at: Some(at), latency });
        }
    }
    for gone in earlier {
        rest.entry(gone.key.coarse()).or_default().take_off(before.halves(gone));
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

/// What one entry counted since it was read before. `room` is there to be used again.
fn moved(before: [Counts<'_>; 2], now: [Counts<'_>; 2], room: &mut Vec<(u8, u64)>) -> Latency {
    let mut half = |i: usize| subtract(before[i], now[i], room);
    let latency = Latency { cached: half(0), read: half(1), peak: None };
    // The longest time of the interval is known where it is the longest ever.
    let risen = |i: usize| (now[i].max_ns > before[i].max_ns).then_some(now[i].max_ns);
    let longest = risen(0).max(risen(1));
    let top = latency.cached.top().max(latency.read.top());
    let peak = longest.filter(|ns| top == Some(bucket(*ns))).map(|ns| place(bucket(ns), ns));
    Latency { peak, ..latency }
}

fn subtract(before: Counts<'_>, now: Counts<'_>, room: &mut Vec<(u8, u64)>) -> Sparse {
    // Most statements read no block in most intervals.
    if before.counts == now.counts && before.buckets == now.buckets {
        return Sparse::default();
    }
    room.clear();
    let mut earlier = 0;
    for (bucket, count) in now.pairs() {
        while before.buckets.get(earlier).is_some_and(|b| *b < bucket) {
            earlier += 1;
        }
        let known = before.buckets.get(earlier) == Some(&bucket);
        let prior = if known { before.counts[earlier] } else { 0 };
        let moved = count.wrapping_sub(prior);
        if moved != 0 && moved <= PLAUSIBLE {
            room.push((bucket, u64::from(moved)));
        }
    }
    Sparse::of(room)
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
    fn add(&mut self, [cached, read]: [Counts<'_>; 2], before: Option<[Counts<'_>; 2]>) {
        cached.add_to(&mut self.cached);
        read.add_to(&mut self.read);
        if let Some(before) = before {
            self.take_off(before);
        }
    }

    fn take_off(&mut self, [cached, read]: [Counts<'_>; 2]) {
        cached.apply(&mut self.cached, u32::wrapping_sub);
        read.apply(&mut self.read, u32::wrapping_sub);
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
pub fn to_bytes(reading: &Reading) -> Vec<u8> {
    let entries = &reading.entries;
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
        all(&|e| u64::from(e.cached.n)),
        all(&|e| u64::from(e.read.n)),
    ];
    let (mut buckets, mut counts) =
        (Vec::with_capacity(reading.buckets.len()), Vec::with_capacity(reading.counts.len()));
    for half in entries.iter().flat_map(|entry| reading.halves(entry)) {
        buckets.extend_from_slice(half.buckets);
        counts.extend(half.counts.iter().map(|count| u64::from(*count)));
    }
    let births: Vec<u32> = entries.iter().map(|e| e.born).collect();
    let histograms = [buckets, pack::pack(&counts)];
    let births = [pack::pack_ids(&births)];
    let parts = || births.iter().chain(&columns).chain(&histograms);
    let mut out = Vec::with_capacity(5 + parts().map(|part| part.len() + 4).sum::<usize>());
    out.push(VERSION);
    out.extend_from_slice(&(entries.len() as u32).to_le_bytes());
    for part in parts() {
        out.extend_from_slice(&(part.len() as u32).to_le_bytes());
        out.extend_from_slice(part);
    }
    out
}

/// Unpacks a kept reading.
pub fn from_bytes(bytes: &[u8]) -> Result<Reading, Corrupt> {
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
    let narrow = |count: &u64| u32::try_from(*count).ok().filter(|count| *count > 0);
    let counts: Option<Vec<u32>> = counts.iter().map(narrow).collect();
    let mut reading = Reading {
        entries: Vec::with_capacity(n),
        buckets: buckets.to_vec(),
        counts: counts.ok_or_else(broken)?,
    };
    let [what, changed, kind, cached_max, read_max, cached_n, read_n] = &columns;
    let (mut whose, mut at) = (0, 0);
    for (i, born) in births.into_iter().enumerate() {
        whose ^= changed[i];
        let cached = next_part(buckets, &mut at, cached_n[i], cached_max[i])?;
        let read = next_part(buckets, &mut at, read_n[i], read_max[i])?;
        let key = Key { what: what[i], whose, kind: kind[i] };
        reading.entries.push(Counted { born, key, cached, read });
    }
    if at != buckets.len() {
        return Err(Corrupt::new("kept reading of latencies has histograms of no entry"));
    }
    Ok(reading)
}

fn broken() -> Corrupt {
    Corrupt::new("kept reading of latencies has a broken histogram")
}

/// The next `n` of the histograms one behind the other.
fn next_part(buckets: &[u8], at: &mut usize, n: u64, max_ns: u64) -> Result<Part, Corrupt> {
    let end = usize::try_from(n).ok().and_then(|n| at.checked_add(n)).ok_or_else(broken)?;
    let own = buckets.get(*at..end).ok_or_else(broken)?;
    let ascend = own.windows(2).all(|two| two[0] < two[1]);
    if !ascend || own.last().is_some_and(|last| usize::from(*last) >= BUCKETS) {
        return Err(broken());
    }
    let part = Part { at: *at as u32, n: own.len() as u32, max_ns };
    *at = end;
    Ok(part)
}
