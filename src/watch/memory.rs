//! The tables in shared memory, as this process sees them.

use std::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering};

use perfmon_core::capture::failure::Failures;
use perfmon_core::capture::mailbox::{self, Mailbox};
use perfmon_core::capture::plan::Sightings;
use perfmon_core::capture::route::Work;
use perfmon_core::capture::scan::Evidence;
use perfmon_core::capture::statement::Times;
use perfmon_core::capture::table::{Entry, Header, Payload, Shape, Table};
use perfmon_core::lock::comeback;
use perfmon_core::lock::deadlock::{self, Board};

use crate::pg::area::{Area, Held};
use crate::pg::clock;
use crate::settings;

/// Kinds of failure, by statement and SQLSTATE, that are counted apart; as many as statements if these are more.
const LEAST_FAILURES: usize = 4096;

/// Plans of statements that are counted apart.
const MAX_PLANS: usize = 2048;
/// Nodes of plans that are counted apart.
const MAX_NODES: usize = 4096;

static AREA: Area = Area::new(c"pg_perfmon_capture");

/// What is of no table.
#[repr(C, align(64))]
struct Common {
    /// Panics in hooks, of all processes.
    panics: AtomicU64,
    /// When everything here began at zero, microseconds since the Unix epoch.
    began: AtomicI64,
    /// When the server was ready for the first time since then, by the same clock; 0 until it is.
    ready: AtomicI64,
    /// Settings as the launcher found them.
    configured: [AtomicU32; CONFIGURED],
}

/// How many settings the launcher notes.
pub(super) const CONFIGURED: usize = 3;

/// All of it. The pointers behind it are the same in every process, and are set anew when a crash made the
/// server set up its memory again.
#[derive(Clone, Copy)]
pub(super) struct Tables {
    common: &'static Common,
    pub(super) statements: Table<'static, Times>,
    pub(super) failures: Table<'static, Failures>,
    pub(super) routes: Table<'static, Work>,
    pub(super) plans: Table<'static, Sightings>,
    pub(super) mailbox: Mailbox<'static>,
    pub(super) scans: Table<'static, Evidence>,
    pub(super) deadlocks: Board<'static>,
    pub(super) comebacks: comeback::Board<'static>,
}

static mut TABLES: Option<Tables> = None;

/// The tables; `None` without preloading.
#[inline]
pub(super) fn tables() -> Option<&'static Tables> {
    // SAFETY: written at the server's start-up only, before this process existed.
    unsafe { (&raw const TABLES).as_ref() }?.as_ref()
}

static mut COUNTING: Option<&'static Tables> = None;

/// The tables, as long as this process counts in them.
#[inline]
pub(super) fn counting() -> Option<&'static Tables> {
    // SAFETY: a variable of this process, which has one thread.
    unsafe { COUNTING }
}

/// This process counts no more.
#[cold]
pub(super) fn stop_counting() {
    // SAFETY: as above.
    unsafe { COUNTING = None }
}

impl Tables {
    /// Counts a panic in a hook.
    pub(super) fn count_panic(&self) {
        self.common.panics.fetch_add(1, Ordering::Relaxed);
    }

    /// When counting began, microseconds since the Unix epoch: tells one life of the counters from the next.
    pub(super) fn began(&self) -> i64 {
        self.common.began.load(Ordering::Relaxed)
    }

    /// When the server was first ready since then, if it was.
    pub(super) fn ready(&self) -> Option<i64> {
        Some(self.common.ready.load(Ordering::Relaxed)).filter(|at| *at != 0)
    }

    /// The server is ready: keeps the time if it is the first.
    pub(super) fn note_ready(&self, now: i64) {
        let ready = &self.common.ready;
        let _ = ready.compare_exchange(0, now, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Numbers that stand for what settings are; 0 is not known.
    pub(super) fn configured(&self) -> &[AtomicU32; CONFIGURED] {
        &self.common.configured
    }

    /// Panics in hooks since the server started.
    pub(super) fn panics(&self) -> u64 {
        self.common.panics.load(Ordering::Relaxed)
    }
}

/// Keeps the worker that folds entries, or those who read, apart from each other.
pub(super) fn lock(alone: bool) -> Option<Held> {
    AREA.lock(alone)
}

/// Takes one part after the other of a piece of memory.
struct Cutter {
    at: *mut u8,
    used: usize,
}

impl Cutter {
    /// Room for `n` values; a start beyond zero is a multiple of 64 bytes, as all parts are.
    fn part<T>(&mut self, n: usize) -> *mut T {
        // Nothing is there yet when only the size is asked for.
        let part = self.at.wrapping_add(self.used).cast::<T>();
        self.used += (n * size_of::<T>()).next_multiple_of(64);
        part
    }

    fn table<P: Payload>(&mut self, keys: usize) -> (Shape, [*mut u8; 3]) {
        let shape = Shape::of::<P>(keys);
        let parts = [
            self.part::<Header>(1).cast(),
            self.part::<AtomicU64>(shape.index).cast(),
            self.part::<Entry<P>>(shape.entries).cast(),
        ];
        (shape, parts)
    }
}

/// The parts of one table.
type Parts = (Shape, [*mut u8; 3]);

/// The parts of the mailbox.
type Letters = (*mut mailbox::Header, *mut AtomicU64);

/// What [`Cutter`] makes of the whole.
fn layout(at: *mut u8) -> (usize, *mut Common, [Parts; 5], Letters, [*mut AtomicU64; 2]) {
    let mut cutter = Cutter { at, used: 0 };
    let common = cutter.part::<Common>(1);
    let statements = cutter.table::<Times>(settings::max_statements());
    let failures = cutter.table::<Failures>(LEAST_FAILURES.max(settings::max_statements()));
    let routes = cutter.table::<Work>(settings::max_routes());
    let plans = cutter.table::<Sightings>(MAX_PLANS);
    let scans = cutter.table::<Evidence>(MAX_NODES);
    let letters = (cutter.part(1), cutter.part(mailbox::WORDS));
    let boards = [cutter.part(deadlock::WORDS), cutter.part(comeback::WORDS)];
    (cutter.used, common, [statements, failures, routes, plans, scans], letters, boards)
}

/// Asks for the memory; one more line, as the server's areas start at multiples of fewer bytes.
pub(super) fn request() {
    AREA.request(layout(std::ptr::null_mut()).0 + 64);
}

/// Finds the memory.
pub(super) fn start() {
    let bytes = layout(std::ptr::null_mut()).0 + 64;
    let data = AREA.startup(bytes);
    let data = data.wrapping_add(data.align_offset(64));
    let (_, common, [statements, failures, routes, plans, scans], letters, [deadlocks, comebacks]) =
        layout(data);
    let now = clock::wall_us();
    // SAFETY: the parts lie within the memory that was made for them, apart from each other and aligned; they
    // consist of atomics, for which zeroes are valid, and live as long as the server. One thread, at start-up.
    unsafe {
        let tables = Tables {
            common: &*common,
            statements: table(statements),
            failures: table(failures),
            routes: table(routes),
            plans: table(plans),
            mailbox: Mailbox::new(
                &*letters.0,
                std::slice::from_raw_parts(letters.1, mailbox::WORDS),
            ),
            scans: table(scans),
            deadlocks: Board::new(std::slice::from_raw_parts(deadlocks, deadlock::WORDS)),
            comebacks: comeback::Board::new(std::slice::from_raw_parts(comebacks, comeback::WORDS)),
        };
        // Memory that is new is zero; one that a process only finds was begun by another.
        let began = &tables.common.began;
        let _ = began.compare_exchange(0, now, Ordering::Relaxed, Ordering::Relaxed);
        TABLES = Some(tables);
        COUNTING = self::tables();
    }
}

/// # Safety
/// The parts must be those of a table of this payload, zeroed or used as such before.
unsafe fn table<P: Payload>((shape, [header, index, entries]): Parts) -> Table<'static, P> {
    // SAFETY: by the caller's word.
    unsafe {
        Table::new(
            &*header.cast::<Header>(),
            std::slice::from_raw_parts(index.cast::<AtomicU64>(), shape.index),
            std::slice::from_raw_parts(entries.cast::<Entry<P>>(), shape.entries),
        )
    }
}
