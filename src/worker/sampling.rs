//! Samples of what sessions do: the launcher takes them and adds them up in shared memory, collectors read the sums.
//! How they are added is the core's business. Nothing here may raise or wait while the memory is held.

use perfmon_core::activity::group::{Grouping, Key};
use perfmon_core::activity::reading::Reading;
use perfmon_core::activity::ring::Record;
use perfmon_core::activity::sampler::{Sample, Sampler};
use perfmon_core::activity::shared::Shared;
use perfmon_core::activity::{Session, due};

use super::episodes::Episodes;
use crate::pg::shmem::{Segment, Zeroed};
use crate::pg::{backends, clock, random};
use crate::settings;

// SAFETY: numbers, arrays of numbers, and truth values, all of which zero bytes are; no pointers.
unsafe impl Zeroed for Shared {}

static SHARED: Segment<Shared> = Segment::new(c"pg_perfmon_activity");

/// Asks for the memory, some 5 MB.
pub(super) fn request() {
    SHARED.request();
}

/// Finds the memory.
pub(super) fn startup() {
    SHARED.startup(|shared| {
        // SAFETY: fresh shared memory of this type, seen by nobody else yet.
        unsafe { (*shared).began = clock::wall_us() };
    });
}

/// What makes a pool, as is set.
pub(crate) fn grouping() -> Grouping {
    let (application, address) = settings::pool_grouping();
    Grouping { application, address }
}

/// The launcher's part.
#[derive(Default)]
pub(super) struct Samples {
    sampler: Sampler,
    sessions: Vec<Session>,
    /// When the last one was taken (`clock::steady_us`), and when the next is due.
    last: Option<i64>,
    next: i64,
    episodes: Episodes,
}

impl Samples {
    /// When the next sample is due, if there is to be one.
    pub(super) fn next(&self, steady: i64) -> Option<i64> {
        let interval = settings::activity_interval_us()?;
        // A longer interval may have been set when this time was drawn.
        Some(self.last.map_or(steady, |last| self.next.min(last + 2 * interval)))
    }

    /// Takes a sample if one is due; says whether clients did anything since the last one.
    pub(super) fn take(&mut self, steady: i64) -> bool {
        let Some(interval) = settings::activity_interval_us() else {
            if self.last.take().is_some() {
                self.sampler.pause();
                return self.episodes.stop();
            }
            return false;
        };
        if self.next(steady).is_some_and(|next| next > steady) {
            return false;
        }
        let began = clock::nanoseconds();
        let at = clock::wall_us();
        self.next = steady + due::after(at, interval, random::drawn());
        backends::sessions(&mut self.sessions);
        // A launcher that was kept from it did not see what happened meanwhile.
        let stands_for = self.last.map_or(interval, |last| (steady - last).clamp(0, 2 * interval));
        self.last = Some(steady);
        let changed = self.episodes.follow(&self.sessions, at);
        let Some(mut shared) = SHARED.lock() else { return false };
        let sample = Sample {
            sessions: &self.sessions,
            at,
            stands_for_us: stands_for.unsigned_abs(),
            grouping: grouping(),
        };
        let moved = self.sampler.add(&mut shared, sample);
        let cost = clock::nanoseconds().saturating_sub(began);
        shared.cost_ns = shared.cost_ns.wrapping_add(cost);
        shared.most_ns = shared.most_ns.max(cost);
        moved || changed
    }
}

/// All sums so far, to be stored; `None` without preloading.
pub(super) fn read() -> Option<Reading> {
    SHARED.lock().map(|mut shared| Reading::to_be_stored(&mut shared))
}

/// Says that the reading which had this many samples is stored.
pub(super) fn note_stored(samples: u64) {
    if let Some(mut shared) = SHARED.lock() {
        shared.note_stored(samples);
    }
}

/// One sample, for where nobody takes them regularly.
pub(super) fn once() -> Vec<Session> {
    let mut sessions = Vec::new();
    backends::sessions(&mut sessions);
    sessions
}

/// How sampling goes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cost {
    pub(crate) samples: u64,
    pub(crate) sessions: u32,
    pub(crate) cost_ns: u64,
    pub(crate) most_ns: u64,
}

/// What samples cost since the server started; `None` without preloading.
pub(crate) fn cost() -> Option<Cost> {
    let shared = SHARED.lock()?;
    Some(Cost {
        samples: shared.samples,
        sessions: shared.sessions,
        cost_ns: shared.cost_ns,
        most_ns: shared.most_ns,
    })
}

/// The sessions of the samples since a time, oldest first, and the pool of each where that is still known; `None`
/// without preloading.
pub(crate) fn recent(since: i64) -> Option<Vec<(Record, Option<Key>)>> {
    let shared = SHARED.lock()?;
    let pool = |record: &Record| {
        let group = shared.groups.get(usize::from(record.group))?;
        (group.used && group.born == record.born).then_some(group.key)
    };
    let records = shared.ring.since(since);
    Some(records.into_iter().map(|record| (record, pool(&record))).collect())
}
