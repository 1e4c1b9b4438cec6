//! All that lies in shared memory. One process writes sums into it; readers look at them under the same lock.

use super::count::{Counts, Doing, Waiting};
use super::group::{BLOCK_US, GROUPS, Group};
use super::ring::Ring;

/// Kinds, states and waits of processes that are counted apart.
pub const DOINGS: usize = 1024;
/// Statements, states and waits that are counted apart between two snapshots.
pub const WAITINGS: usize = 8192;

/// The memory. Zeroes are valid, and stand for no sample taken.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct Shared {
    /// When it began, microseconds since the Unix epoch: tells one life of the sums from the next.
    pub began: i64,
    /// Samples so far; the number of a sample is that of those so far, itself included.
    pub samples: u64,
    /// Time for which they stand, microseconds.
    pub sampled_us: u64,
    /// When the last one was taken, microseconds since the Unix epoch.
    pub last_at: i64,
    /// What taking them cost, nanoseconds, all and the dearest.
    pub cost_ns: u64,
    /// The dearest.
    pub most_ns: u64,
    /// Sessions of the last sample, of all kinds.
    pub sessions: u32,
    /// Number of the last sample that a reading to be stored has seen, and of the last that was stored.
    pub read: u64,
    /// Number of the last sample whose sums are stored.
    pub stored: u64,
    /// Samples of the block that is not over, and the time for which they stand, microseconds.
    pub block_samples: u32,
    /// The time.
    pub block_us: u64,
    /// Clients by whose they are.
    pub groups: [Group; GROUPS],
    /// Processes by what they do.
    pub doings: Counts<Doing, DOINGS>,
    /// Statements by what they wait for.
    pub waitings: Counts<Waiting, WAITINGS>,
    /// The last samples as they were.
    pub ring: Ring,
}

impl Shared {
    /// Ends a block of samples once it is long enough; `broken`: there is a hole in it, so that it tells nothing.
    pub(super) fn turn_block(&mut self, stands_for_us: u64, broken: bool) {
        if broken {
            // The sample of now is behind the hole, and so is the block that begins with the next one.
            (self.block_samples, self.block_us) = (0, 0);
            self.groups.iter_mut().for_each(|group| group.block = 0);
            return;
        }
        self.block_samples += 1;
        self.block_us = self.block_us.saturating_add(stands_for_us);
        if self.block_us >= BLOCK_US {
            let samples = std::mem::take(&mut self.block_samples);
            self.block_us = 0;
            self.groups
                .iter_mut()
                .filter(|group| group.block > 0)
                .for_each(|g| g.end_block(samples));
        }
    }

    /// Says that the reading which saw this sample is stored.
    pub fn note_stored(&mut self, sample: u64) {
        if sample != self.read || sample > self.samples {
            return;
        }
        self.stored = sample;
        for group in &mut self.groups {
            group.peaks[1] = Default::default();
        }
    }

    /// Makes the peaks so far those of a reading that is going to be stored.
    pub(super) fn turn_peaks(&mut self) {
        self.read = self.samples;
        for group in &mut self.groups {
            let [newer, older] = &mut group.peaks;
            for (older, newer) in older.iter_mut().zip(newer.iter_mut()) {
                *older = std::mem::take(newer).max(*older);
            }
        }
    }
}
