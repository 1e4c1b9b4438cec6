//! Waits for locks and idle times inside transactions, followed from sample to sample: the launcher writes, collectors
//! read. What is told from what is the core's business. Nothing here may raise or wait while the memory is held.

use perfmon_core::activity::{Session, wait};
use perfmon_core::lock::graph::Edge;
use perfmon_core::lock::lasting::Lasted;
use perfmon_core::lock::ring::{Idle, Shared, Wait};
use perfmon_core::lock::tracker::Tracker;

use crate::pg::shmem::{Segment, Zeroed};
use crate::pg::{clock, locks};
use crate::watch::live;

// SAFETY: numbers and arrays of numbers, which zero bytes are; no pointers.
unsafe impl Zeroed for Shared {}

static SHARED: Segment<Shared> = Segment::new(c"pg_perfmon_episodes");

/// Locks are looked at once in each such time.
const LOOK_US: i64 = 1_000_000;

/// Asks for the memory, some 700 kB.
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

/// The launcher's part.
#[derive(Default)]
pub(super) struct Episodes {
    tracker: Tracker,
    /// In which second locks were looked at last.
    looked: Option<i64>,
    /// How many clients had come back to their transactions by the sample before the last one, and by the last one.
    back: (u64, u64),
}

impl Episodes {
    /// Takes in a sample; says whether anything began or ended.
    pub(super) fn follow(&mut self, sessions: &[Session], at: i64) -> bool {
        let began = clock::nanoseconds();
        let before = self.looked;
        let found = self.look(sessions, at / LOOK_US);
        let cost = clock::nanoseconds().saturating_sub(began);
        // After the sessions: whoever is not seen idle any more has said so.
        if let Some((back, count)) = live::comebacks(self.back.0) {
            self.tracker.comebacks(back);
            self.back = (self.back.1, count);
        }
        let Some(mut shared) = SHARED.lock() else { return false };
        self.tracker.begin(&mut shared, at);
        self.tracker.transactions(&mut shared, sessions, at);
        let mut moved = self.tracker.idles(&mut shared, sessions, at);
        if let Some(edges) = found {
            moved |= self.tracker.waits(&mut shared, &edges, sessions, at);
        }
        if self.looked != before {
            shared.looks += 1;
            shared.look_ns = shared.look_ns.wrapping_add(cost);
        }
        moved
    }

    /// No samples are taken from now on; says whether anything went on.
    pub(super) fn stop(&mut self) -> bool {
        self.looked = None;
        SHARED.lock().is_some_and(|mut shared| self.tracker.stop(&mut shared))
    }

    /// Who is in whose way, if somebody waits and it is time to look again. That nobody waits any more costs no look.
    fn look(&mut self, sessions: &[Session], second: i64) -> Option<Vec<Edge>> {
        let waits = |session: &&Session| wait::class(session.wait) == Some(wait::Class::Lock);
        let mut waiting: Vec<&Session> = sessions.iter().filter(waits).collect();
        if waiting.is_empty() {
            return self.tracker.knows_waits().then(Vec::new);
        }
        // Samples are due at any moment of their interval, a second or a part of it: one look in each, however far apart they are.
        if self.looked.replace(second) == Some(second) {
            return None;
        }
        waiting.sort_by_key(|session| session.since);
        let pids: Vec<i32> = waiting.iter().map(|session| session.pid).collect();
        Some(locks::edges(&pids))
    }
}

/// What was written to after a sample of this number, and all waits that go on; in which life of the memory, and the number of the last sample.
pub(super) struct Changed {
    pub(super) began: i64,
    pub(super) tick: u64,
    /// When that was taken.
    pub(super) at: i64,
    pub(super) waits: Vec<Wait>,
    pub(super) idles: Vec<Idle>,
}

/// What changed since a sample, where the memory is the one in which that was counted; `None` without preloading.
pub(super) fn changed(since: impl FnOnce(i64) -> u64) -> Option<Changed> {
    let shared = SHARED.lock()?;
    let tick = since(shared.began);
    Some(Changed {
        began: shared.began,
        tick: shared.tick,
        at: shared.at,
        waits: shared.waits.open_or_since(tick),
        idles: shared.idles.since(tick),
    })
}

/// Transactions of a database that lasted, and were over after a time; none without preloading.
pub(super) fn lasted(database: u32, since: i64) -> Vec<Lasted> {
    let all = SHARED.lock().map(|shared| shared.longest.since(since)).unwrap_or_default();
    all.into_iter().filter(|one| one.who.database == database).collect()
}

/// Looks at locks since the server started, and the nanoseconds that they took; `None` without preloading.
pub(crate) fn looks() -> Option<(u64, u64)> {
    SHARED.lock().map(|shared| (shared.looks, shared.look_ns))
}
