//! What is counted of a statement: a histogram of its execution times, those that found every block in the
//! server's cache apart from those that had to read.

use std::hint::cold_path;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use super::sample::{Sampled, Shared};
use super::table::Payload;
use crate::histogram::{BUCKETS, bucket};

/// Kind of a key: statements that a client sent, and those that a function, trigger or command ran.
pub const NESTED: u64 = 0;
/// See [`NESTED`].
pub const TOPLEVEL: u64 = 1;

/// Words of a bit for each bucket.
const MARKS: usize = BUCKETS.div_ceil(64);

/// One histogram. The counters wrap.
#[derive(Debug)]
#[repr(C, align(64))]
pub struct Half {
    counts: [AtomicU32; BUCKETS],
    max_ns: AtomicU64,
    /// Somebody wants to know the plan: executions that are still to be looked at. In the line of the maximum,
    /// which is read with each execution anyway.
    wanted: AtomicU32,
    /// When an execution was looked into last; here as it has room, in one of the two.
    turn: Shared,
    /// A bit for each bucket that was ever counted in, so that a reader passes over the others, which are most.
    marks: [AtomicU64; MARKS],
}

// The marks take room that alignment leaves: fifteen lines, of which a reader needs the last and those marked.
const _: () = assert!(size_of::<Half>() == 960);

impl Default for Half {
    fn default() -> Self {
        Self {
            counts: [const { AtomicU32::new(0) }; BUCKETS],
            max_ns: AtomicU64::new(0),
            wanted: AtomicU32::new(0),
            turn: Shared::new(0),
            marks: [const { AtomicU64::new(0) }; MARKS],
        }
    }
}

impl Half {
    #[inline]
    fn record(&self, bucket: usize, ns: u64) {
        self.count(bucket);
        // Almost never written, so the line stays with all who read it.
        if ns > self.max_ns.load(Ordering::Relaxed) {
            self.max_ns.fetch_max(ns, Ordering::Relaxed);
        }
    }

    /// Counts an execution that is not the longest.
    #[inline]
    pub fn count(&self, bucket: usize) {
        let bucket = bucket.min(BUCKETS - 1);
        if self.counts[bucket].fetch_add(1, Ordering::Relaxed) == 0 {
            cold_path();
            self.mark(bucket);
        }
    }

    // Written where it is needed: a call there would make all that counts keep what it would lose by it.
    #[inline(always)]
    fn mark(&self, bucket: usize) {
        self.marks[bucket / 64].fetch_or(1 << (bucket % 64), Ordering::Release);
    }

    /// The counters that may not be zero, ascending by bucket.
    fn counted(&self) -> impl Iterator<Item = (usize, &AtomicU32)> {
        self.counted_in(|mark| mark.load(Ordering::Acquire))
    }

    fn counted_in(
        &self,
        read: impl Fn(&AtomicU64) -> u64,
    ) -> impl Iterator<Item = (usize, &AtomicU32)> {
        let words = (0..).step_by(64).zip(&self.marks);
        words
            .flat_map(move |(first, mark)| {
                let mut left = read(mark);
                std::iter::from_fn(move || {
                    let bit = left.trailing_zeros() as usize;
                    left &= left.wrapping_sub(1);
                    Some(first + bit).filter(|_| bit < 64)
                })
            })
            .filter_map(|bucket| Some((bucket, self.counts.get(bucket)?)))
    }

    fn total(&self) -> u32 {
        let load = |(_, count): (usize, &AtomicU32)| count.load(Ordering::Relaxed);
        self.counted().map(load).fold(0, u32::wrapping_add)
    }

    fn move_to(&self, other: &Self) {
        // The marks go first: who counts meanwhile, late as that is, finds either a count that is taken with the
        // others, or none, and marks anew.
        for (bucket, mine) in self.counted_in(|mark| mark.swap(0, Ordering::AcqRel)) {
            let count = mine.swap(0, Ordering::AcqRel);
            if count > 0 {
                other.counts[bucket].fetch_add(count, Ordering::Relaxed);
                other.mark(bucket);
            }
        }
        other.max_ns.fetch_max(self.max_ns.swap(0, Ordering::Relaxed), Ordering::Relaxed);
    }

    /// Adds all counts to sums, which wrap.
    pub fn add_to(&self, sums: &mut [u32; BUCKETS]) {
        for (bucket, count) in self.counted() {
            sums[bucket] = sums[bucket].wrapping_add(count.load(Ordering::Relaxed));
        }
    }

    /// Hands over the buckets that are not zero, ascending, and their counts.
    #[inline]
    pub fn each(&self, mut each: impl FnMut(u8, u32)) {
        for (word, mark) in (0_usize..).zip(&self.marks) {
            let mut left = mark.load(Ordering::Acquire);
            while left != 0 {
                let bucket = word * 64 + left.trailing_zeros() as usize;
                left &= left - 1;
                let count = self.counts.get(bucket).map_or(0, |n| n.load(Ordering::Relaxed));
                if count > 0 {
                    each(bucket as u8, count);
                }
            }
        }
    }

    /// The longest time, nanoseconds.
    pub fn max_ns(&self) -> u64 {
        self.max_ns.load(Ordering::Relaxed)
    }
}

/// The counters of one statement.
#[derive(Debug, Default)]
#[repr(C)]
pub struct Times {
    /// Executions that read no block.
    pub cached: Half,
    /// Executions that read blocks from outside the server's cache.
    pub read: Half,
}

impl Times {
    /// Counts an execution.
    #[inline]
    pub fn record(&self, ns: u64, read: bool) {
        self.record_in(bucket(ns), ns, read);
    }

    /// Counts an execution whose bucket is known already.
    #[inline]
    pub fn record_in(&self, bucket: usize, ns: u64, read: bool) {
        let half = if read { &self.read } else { &self.cached };
        half.record(bucket.min(BUCKETS - 1), ns);
    }

    /// Where an execution is counted that took so long, if that is not the longest and its plan is not wanted: nothing
    /// but one count changes then. Cannot panic.
    #[inline]
    pub fn usual(&self, ns: u64, read: bool) -> Option<&Half> {
        let half = if read { &self.read } else { &self.cached };
        let usual =
            ns <= half.max_ns.load(Ordering::Relaxed) && half.wanted.load(Ordering::Relaxed) == 0;
        usual.then_some(half)
    }

    /// Whether the plan of an execution that read blocks, or did not, is wanted.
    #[inline]
    pub fn is_wanted(&self, read: bool) -> bool {
        let half = if read { &self.read } else { &self.cached };
        half.wanted.load(Ordering::Relaxed) != 0
    }

    /// So many executions of either kind are to be looked at.
    pub fn want(&self, executions: u32) {
        self.cached.wanted.store(executions, Ordering::Relaxed);
        self.read.wanted.store(executions, Ordering::Relaxed);
    }

    /// One of them was.
    pub fn looked_at(&self, read: bool) {
        let half = if read { &self.read } else { &self.cached };
        let less = |wanted: u32| wanted.checked_sub(1);
        let _ = half.wanted.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
    }
}

impl Payload for Times {
    const ROOTS: u32 = 4;

    fn root(kind: u64) -> u32 {
        u32::from(kind == TOPLEVEL)
    }

    fn activity(&self) -> u32 {
        self.cached.total().wrapping_add(self.read.total())
    }

    fn move_to(&self, other: &Self) {
        self.cached.move_to(&other.cached);
        self.read.move_to(&other.read);
        self.want(0);
        self.cached.turn.store(0, Ordering::Relaxed);
    }
}

impl Sampled for Times {
    fn turn(&self) -> &Shared {
        &self.cached.turn
    }
}
