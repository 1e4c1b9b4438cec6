//! What clients of all databases executed, for objectives of the whole server: one histogram and three counters.
//!
//! They are sums over all entries of the tables in shared memory. Folding moves counts from one entry to another and
//! leaves the sum as it is, so that nothing needs to be known of single entries, and two readings of the same life of
//! the server can be subtracted whatever came and went in between. The sums wrap as their parts do.

use super::kept::{self, Stamp};
use super::reading::Counts;
use super::route::{Slot, Work};
use super::statement::{TOPLEVEL, Times};
use super::table::{Found, Payload};
use crate::family::{CLUSTER, CLUSTER_COUNTS, UNCOUNTED};
use crate::frame::Frame;
use crate::histogram::{BUCKETS, Latency, Sparse};
use crate::pack::Corrupt;

/// Execution times of what clients sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimesOfAll {
    cached: [u32; BUCKETS],
    read: [u32; BUCKETS],
}

impl Default for TimesOfAll {
    fn default() -> Self {
        Self { cached: [0; BUCKETS], read: [0; BUCKETS] }
    }
}

impl TimesOfAll {
    /// Adds an entry, if clients sent its statement.
    pub fn add(&mut self, found: &Found<'_, Times>) {
        let is_root = found.born < Times::ROOTS;
        let kind =
            if is_root { u64::from(found.born % (Times::ROOTS / 2)) } else { found.key.kind };
        if kind == TOPLEVEL {
            found.payload.cached.add_to(&mut self.cached);
            found.payload.read.add_to(&mut self.read);
        }
    }

    /// Adds an entry of this kind that was read already.
    pub fn add_counted(&mut self, kind: u64, cached: Counts<'_>, read: Counts<'_>) {
        if kind == TOPLEVEL {
            cached.add_to(&mut self.cached);
            read.add_to(&mut self.read);
        }
    }
}

/// What clients tried, but for what only begins or ends transactions or sets something.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WorkOfAll {
    /// Executed to the end.
    pub executions: u32,
    /// Failed.
    pub errors: u32,
    /// Cancelled on request.
    pub cancelled: u32,
    /// Failed or cancelled, which of both the hooks did not hear of.
    pub unseen: u32,
    /// Executed to the end with the hooks off.
    pub uncounted: u32,
}

impl WorkOfAll {
    /// Adds an entry.
    pub fn add(&mut self, work: &Work) {
        work.each(|slot, count| {
            let sum = match slot {
                Slot::Statements(_) => &mut self.executions,
                Slot::Errors => &mut self.errors,
                Slot::Cancelled => &mut self.cancelled,
                Slot::Uncounted => &mut self.uncounted,
                Slot::Transactions(_) | Slot::Nameless => return,
            };
            *sum = sum.wrapping_add(count);
        });
    }
}

/// One reading.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Whole {
    /// How long executions took.
    pub times: TimesOfAll,
    /// How many were tried.
    pub work: WorkOfAll,
}

/// A reading at rest until the next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// When it was made.
    pub stamp: Stamp,
    /// Capture was switched off then.
    pub off: bool,
    /// The sums.
    pub whole: Whole,
}

impl Kept {
    /// Bytes to be kept until the next snapshot.
    pub fn encode(&self) -> Vec<u8> {
        let Whole { times, work } = &self.whole;
        let wide = |counts: &[u32]| counts.iter().copied().map(u64::from).collect::<Vec<u64>>();
        let counts = [work.executions, work.errors, work.cancelled, work.unseen, work.uncounted];
        let columns =
            [vec![u64::from(self.off)], wide(&times.cached), wide(&times.read), wide(&counts)];
        kept::to_bytes(self.stamp, &columns)
    }

    /// Reads what [`Kept::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, Corrupt> {
        let (stamp, columns) = kept::from_bytes(bytes)?;
        let foreign = || Corrupt::new("kept executions of all databases are something else");
        let [off, cached, read, counts] = columns.as_slice() else { return Err(foreign()) };
        let [off] = off.as_slice() else { return Err(foreign()) };
        // 0.8.0 kept three, 0.9.0 four.
        let later = [0; 2].get(..5_usize.saturating_sub(counts.len())).unwrap_or(&[]);
        let counts = [counts.as_slice(), later].concat();
        let [executions, errors, cancelled, unseen, uncounted] =
            narrow(&counts).ok_or_else(foreign)?;
        let times = TimesOfAll {
            cached: narrow(cached).ok_or_else(foreign)?,
            read: narrow(read).ok_or_else(foreign)?,
        };
        let work = WorkOfAll { executions, errors, cancelled, unseen, uncounted };
        Ok(Self { stamp, off: *off != 0, whole: Whole { times, work } })
    }
}

fn narrow<const N: usize>(wide: &[u64]) -> Option<[u32; N]> {
    let narrow: Option<Vec<u32>> = wide.iter().map(|n| u32::try_from(*n).ok()).collect();
    narrow?.try_into().ok()
}

/// What happened in between two readings.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Moved {
    /// How long executions took.
    pub latency: Latency,
    /// Executed to the end, failed, cancelled, as in [`WorkOfAll`]; `None` where not all errors are known.
    pub counts: Option<[u64; 3]>,
    /// Failed and cancelled, as far as the hooks heard of it, where not all errors are known.
    pub heard: [u64; 2],
    /// Executed to the end with the hooks off.
    pub uncounted: u64,
}

/// More than this is no movement but a mistake: counters that went back.
const PLAUSIBLE: u32 = u32::MAX / 2;

fn subtract(before: u32, now: u32) -> u64 {
    let moved = now.wrapping_sub(before);
    u64::from(if moved > PLAUSIBLE { 0 } else { moved })
}

impl Moved {
    /// Between two readings of the same life of the counters; before the first one all were zero.
    pub fn between(before: Option<&Whole>, now: &Whole) -> Self {
        let none = Whole::default();
        let before = before.unwrap_or(&none);
        let half = |before: &[u32; BUCKETS], now: &[u32; BUCKETS]| {
            let counts = before.iter().zip(now).map(|(before, now)| subtract(*before, *now));
            Sparse::new((0..).zip(counts))
        };
        let latency = Latency {
            cached: half(&before.times.cached, &now.times.cached),
            read: half(&before.times.read, &now.times.read),
            peak: None,
        };
        let (b, n) = (&before.work, &now.work);
        let counts = [
            subtract(b.executions, n.executions),
            subtract(b.errors, n.errors),
            subtract(b.cancelled, n.cancelled),
        ];
        // Of errors that nobody saw only their number is known.
        let is_known = subtract(b.unseen, n.unseen) == 0;
        let uncounted = subtract(b.uncounted, n.uncounted);
        let moved = Self { latency, counts: Some(counts), heard: [0; 2], uncounted };
        if is_known { moved } else { moved.hide() }
    }

    /// Some errors were kept from the hooks: those that are counted are not all.
    #[must_use]
    pub fn hide(self) -> Self {
        let heard = self.counts.map_or(self.heard, |[_, errors, cancelled]| [errors, cancelled]);
        Self { counts: None, heard, ..self }
    }

    /// Whether nothing was counted.
    pub fn is_empty(&self) -> bool {
        self.latency.is_empty()
            && self.heard == [0; 2]
            && self.counts.is_none_or(|counts| counts == [0; 3])
    }

    /// As it is stored: an id is a bucket, [`CLUSTER_COUNTS`] stands for what has no time, and [`UNCOUNTED`] for what
    /// was executed with the hooks off.
    pub fn frame(&self) -> Frame {
        let mut rows = std::collections::BTreeMap::<u32, [u64; 5]>::new();
        for (column, half) in [&self.latency.cached, &self.latency.read].into_iter().enumerate() {
            for (bucket, count) in half.pairs() {
                rows.entry(u32::from(*bucket)).or_default()[column] = *count;
            }
        }
        if let Some(counts) = self.counts.filter(|counts| *counts != [0; 3]) {
            let [executions, errors, cancelled] = counts;
            rows.insert(CLUSTER_COUNTS, [0, 0, executions, errors, cancelled]);
        }
        if self.uncounted > 0 {
            // In a column that is known where errors are not.
            rows.insert(UNCOUNTED, [self.uncounted, 0, 0, 0, 0]);
        }
        if self.counts.is_none() {
            // A row without any is taken for one in which nothing happened.
            let [errors, cancelled] = self.heard;
            rows.insert(CLUSTER_COUNTS, [0, 0, 0, errors, cancelled]);
        }
        let all = (1_u64 << CLUSTER.columns.len()) - 1;
        // The quality and both halves.
        let known = if self.counts.is_some() { all } else { 0b111 };
        let column = |i: usize| {
            let values: Vec<u64> = rows.values().map(|row| row[i]).collect();
            values.iter().any(|v| *v != 0).then_some(values)
        };
        Frame {
            family: &CLUSTER,
            ids: rows.keys().copied().collect(),
            columns: [None].into_iter().chain((0..5).map(column)).collect(),
            known,
            totals: Vec::new(),
        }
    }

    /// From a stored row: `value` gives that of a place and a column of the family, 0 where it is unknown.
    pub fn of_row(ids: &[u32], known: u64, value: impl Fn(usize, usize) -> u64) -> Self {
        let half = |column: usize| {
            let pairs = (0..).zip(ids).filter(|(_, id)| **id < UNCOUNTED);
            Sparse::new(pairs.map(|(place, id)| (*id as u8, value(place, column))))
        };
        let place = ids.iter().position(|id| *id == CLUSTER_COUNTS);
        let counts = [3, 4, 5].map(|column| place.map_or(0, |place| value(place, column)));
        let uncounted = ids.iter().position(|id| *id == UNCOUNTED);
        let is_counted = (3..6).all(|column| known >> column & 1 == 1);
        Self {
            latency: Latency { cached: half(1), read: half(2), peak: None },
            counts: is_counted.then_some(counts),
            heard: if is_counted { [0; 2] } else { [counts[1], counts[2]] },
            uncounted: uncounted.map_or(0, |place| value(place, 1)),
        }
    }
}

#[cfg(test)]
mod tests;
