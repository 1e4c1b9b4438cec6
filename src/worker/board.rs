//! The board in shared memory on which launcher, collectors and sessions leave notes for each other:
//! one slot for each database. Nothing here is history; a restart starts with an empty board.

use std::sync::atomic::{AtomicPtr, Ordering};

use pgrx::pg_sys;
use pgrx::prelude::*;

use super::launcher::SLOW_US;
use crate::judge::{self, Names};
use crate::pg::dbstat::Movement;
use crate::pg::shmem::{Guard, Segment, Zeroed};

/// Databases that can be watched at the same time.
pub(crate) const SLOTS: usize = 1024;

/// Bytes of a message kept in a slot.
const MESSAGE: usize = 240;

/// What is known of a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum State {
    /// Nobody looked yet.
    Unknown = 0,
    /// The extension is there.
    Present = 1,
    /// The extension is not there; CREATE EXTENSION will say when it is.
    Absent = 2,
    /// The extension's SQL objects are of another version than the library.
    Mismatch = 3,
}

/// One database.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub(crate) struct Slot {
    /// Oid of the database; 0 marks a free slot.
    pub(crate) database: u32,
    pub(crate) state: State,
    /// A collector was started and has not reported yet.
    pub(crate) running: bool,
    /// Process of the collector that came last.
    pub(crate) collector: i32,
    /// More work (partitions, roll-ups, retention) waits for a visit.
    pub(crate) due: bool,
    /// The database keeps what belongs to the whole cluster.
    pub(crate) home: bool,
    /// An objective of the whole cluster is judged here: it is visited when any database is used.
    pub(crate) judges_cluster: bool,
    /// Scheduled snapshots were off at some time since the last one.
    pub(crate) disabled: bool,
    /// How often an extension was created, altered or dropped here: what a visit saw before is old.
    pub(crate) touched: u64,
    /// Snapshots asked for, and asked for when the last visit that ended began.
    pub(crate) asked: u64,
    pub(crate) answered: u64,
    /// Whether the last answer was a success.
    pub(crate) failed: bool,
    /// Failures in a row, and when to try again (`clock::steady_us`; 0: nothing to try).
    pub(crate) failures: u32,
    pub(crate) retry_at: i64,
    /// The same of housekeeping, which a good snapshot does not mend.
    pub(crate) house_failures: u32,
    pub(crate) house_retry_at: i64,
    /// Last snapshot that was committed here since the server started; its id is its time.
    pub(crate) snapshot_id: i64,
    /// Last end of a visit.
    pub(crate) visited_at: i64,
    /// When findings were last evaluated here and what that cost; 0 is never.
    pub(crate) evaluated_at: i64,
    pub(crate) evaluation_us: i64,
    /// The last evaluation that was not put off failed.
    pub(crate) evaluation_failing: bool,
    /// When an evaluation was tried last, whether it ran or not; 0 is never.
    pub(crate) evaluation_tried_at: i64,
    /// What was found then passes by itself, and is over only when somebody looks again.
    pub(crate) unsettled: bool,
    /// Poolers are asked here: that they do not answer moves no counter.
    pub(crate) asks_poolers: bool,
    /// Connections that were refused before the last visit, which move no counter either.
    pub(crate) refused: u64,
    /// What became then of names in the texts of statements.
    pub(crate) names: Names,
    /// Up to here the database is known to have been quiet since its last snapshot.
    pub(crate) quiet_until: i64,
    /// Counters at the last visit, our own transactions of it left out.
    pub(crate) movement: Movement,
    pub(crate) movement_known: bool,
    /// Transactions that collectors ran here, and those that the last stored snapshot knew of.
    pub(crate) own_transactions: i64,
    /// The last error of a snapshot, or what it could not read.
    message: Message,
    /// Why housekeeping failed, until it succeeds.
    house_message: Message,
}

/// A few words of no more than `MESSAGE` bytes.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
struct Message {
    bytes: [u8; MESSAGE],
    length: u8,
}

impl Message {
    fn get(&self) -> Option<String> {
        let bytes = self.bytes.get(..usize::from(self.length))?;
        (!bytes.is_empty()).then(|| String::from_utf8_lossy(bytes).into_owned())
    }

    fn set(&mut self, message: &str) {
        let mut end = message.len().min(MESSAGE);
        while !message.is_char_boundary(end) {
            end -= 1;
        }
        self.bytes[..end].copy_from_slice(&message.as_bytes()[..end]);
        self.length = u8::try_from(end).unwrap_or(u8::MAX);
    }
}

impl Slot {
    /// The last error of a snapshot, or what the last one could not read.
    pub(crate) fn message(&self) -> Option<String> {
        self.message.get()
    }

    /// Keeps an error; an empty one clears it.
    pub(crate) fn set_message(&mut self, message: &str) {
        self.message.set(message);
    }

    /// Whether somebody used the database since its last visit, by what moved in the server's statistics.
    pub(super) fn was_used(&self, movement: Option<Movement>, now: i64) -> bool {
        let Some(movement) = movement else { return !self.movement_known };
        if !self.movement_known {
            return true;
        }
        let before = self.movement;
        movement.sessions != before.sessions
            || movement.active_us != before.active_us
            || movement.written != before.written
            || (movement.transactions != before.transactions && now - self.visited_at >= SLOW_US)
    }

    /// Why housekeeping fails, while it does.
    pub(crate) fn house_message(&self) -> Option<String> {
        self.house_message.get()
    }

    /// Whether the home database has to be visited though no client moved: a pooler may stand still, clients may not get in, what
    /// was found may be over, and what was stored may not be judged yet.
    pub(super) fn is_to_be_followed(&self, refused: u64, now: i64) -> bool {
        let judged = self.evaluated_at >= self.snapshot_id;
        self.home
            && (self.asks_poolers
                || self.unsettled
                || self.refused != refused
                || (!judged && self.evaluation_due(now)))
    }

    /// Whether findings are to be evaluated. One that could not run is tried again no earlier than it would be after one that did.
    pub(super) fn evaluation_due(&self, now: i64) -> bool {
        let last = self.evaluated_at.max(self.evaluation_tried_at);
        judge::is_due(now, (last > 0).then_some((last, self.evaluation_us)))
    }

    /// Since when findings were not evaluated, where the last evaluation could not run; 0 is ever.
    pub(crate) fn unjudged_since(&self) -> Option<i64> {
        (self.evaluation_tried_at > self.evaluated_at).then_some(self.evaluated_at)
    }

    /// Keeps why housekeeping failed; an empty reason clears it.
    pub(crate) fn set_house_message(&mut self, message: &str) {
        self.house_message.set(message);
    }
}

/// The whole board.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Board {
    /// Latch of the launcher, NULL while there is none.
    launcher: *mut pg_sys::Latch,
    pub(crate) launcher_pid: i32,
    /// Databases may have come or gone.
    pub(crate) rescan: bool,
    /// No background worker could be had at the last try.
    pub(crate) starved: bool,
    /// Databases that found no slot free at the last look, and so are not watched.
    pub(crate) without_slot: u32,
    pub(crate) started_at: i64,
    /// Sessions that wait for an answer sleep on this.
    answered: pg_sys::ConditionVariable,
    pub(crate) slots: [Slot; SLOTS],
}

// SAFETY: zero bytes are valid: State has 0 as Unknown, pointers may be NULL, and the latch pointer
// lies in shared memory, which all processes map at the same address.
unsafe impl Zeroed for Board {}

static BOARD: Segment<Board> = Segment::new(c"pg_perfmon");

static PREVIOUS_REQUEST: AtomicPtr<()> = AtomicPtr::new(std::ptr::null_mut());
static PREVIOUS_STARTUP: AtomicPtr<()> = AtomicPtr::new(std::ptr::null_mut());

type Hook = unsafe extern "C-unwind" fn();

/// Joins the chain of shared memory hooks.
pub(crate) fn init() {
    // SAFETY: hooks are set while libraries are preloaded, by one thread; the previous ones are kept.
    unsafe {
        if let Some(previous) = pg_sys::shmem_request_hook {
            PREVIOUS_REQUEST.store(previous as *mut (), Ordering::Relaxed);
        }
        if let Some(previous) = pg_sys::shmem_startup_hook {
            PREVIOUS_STARTUP.store(previous as *mut (), Ordering::Relaxed);
        }
        pg_sys::shmem_request_hook = Some(request);
        pg_sys::shmem_startup_hook = Some(startup);
    }
}

#[allow(ffi_unwind_calls, reason = "plain old frame: an error passes through")]
fn chain(previous: &AtomicPtr<()>) {
    let previous = previous.load(Ordering::Relaxed);
    if !previous.is_null() {
        // SAFETY: holds only what was a hook of this type.
        let hook: Hook = unsafe { std::mem::transmute(previous) };
        // SAFETY: hooks are called with no arguments at the time that the server calls ours.
        unsafe { hook() };
    }
}

unsafe extern "C-unwind" fn request() {
    chain(&PREVIOUS_REQUEST);
    BOARD.request();
    super::sampling::request();
    super::episodes::request();
}

unsafe extern "C-unwind" fn startup() {
    chain(&PREVIOUS_STARTUP);
    BOARD.startup(|board| {
        // SAFETY: fresh shared memory of the board's size.
        unsafe { pg_sys::ConditionVariableInit(&raw mut (*board).answered) };
    });
    super::sampling::startup();
    super::episodes::startup();
}

/// Whether there is a board, which there is when the library was preloaded.
pub(crate) fn exists() -> bool {
    BOARD.attached()
}

/// Locks the board; `None` without preloading. Nothing that may raise can be done while it is held.
pub(crate) fn lock() -> Option<Guard<Board>> {
    BOARD.lock()
}

impl Board {
    /// The slot of a database.
    pub(crate) fn slot(&mut self, database: u32) -> Option<&mut Slot> {
        self.slots.iter_mut().find(|slot| slot.database == database && database != 0)
    }

    /// The slot of a database, taken if it has none; `None` when the board is full.
    pub(crate) fn slot_or_new(&mut self, database: u32) -> Option<&mut Slot> {
        let taken = self.slots.iter().position(|slot| slot.database == database);
        let index = taken.or_else(|| self.slots.iter().position(|slot| slot.database == 0))?;
        let slot = &mut self.slots[index];
        if slot.database != database {
            // SAFETY: a slot is valid when zeroed.
            *slot = unsafe { std::mem::zeroed() };
            slot.database = database;
        }
        Some(slot)
    }

    /// Whether no database of a lower oid has the extension, as far as is known. While nobody looked into one of them,
    /// unless that was tried in vain, it stays as it was; `None` if nobody looked into this one either.
    pub(super) fn is_lowest(&self, database: u32) -> Option<bool> {
        let lower = || self.slots.iter().filter(|slot| (1..database).contains(&slot.database));
        let is_there = |slot: &Slot| slot.state == State::Present;
        let is_next = |slot: &Slot| slot.state == State::Unknown && slot.retry_at == 0;
        if lower().any(is_there) || !lower().any(is_next) {
            return Some(!lower().any(is_there));
        }
        let own = self.slots.iter().find(|slot| slot.database == database);
        own.filter(|slot| is_there(slot)).map(|slot| slot.home)
    }

    /// Takes the list of databases that there are: slots of dropped ones become free, new ones get one
    /// while there are any. Says how many found none.
    pub(crate) fn take_in(&mut self, databases: &[u32]) -> u32 {
        for slot in &mut self.slots {
            if slot.database != 0 && !databases.contains(&slot.database) {
                slot.database = 0;
            }
        }
        let without = databases.iter().filter(|oid| self.slot_or_new(**oid).is_none()).count();
        self.without_slot = u32::try_from(without).unwrap_or(u32::MAX);
        self.without_slot
    }

    /// Makes the calling process the launcher.
    pub(crate) fn enter_launcher(&mut self, now: i64) {
        // SAFETY: variables of this process.
        unsafe {
            self.launcher = pg_sys::MyLatch;
            self.launcher_pid = pg_sys::MyProcPid;
        }
        self.started_at = now;
        self.rescan = true;
        // Collectors of a launcher before us either report or are gone.
        for slot in &mut self.slots {
            slot.running = false;
        }
    }
}

/// One line in the log when databases begin to find no place, and one when all have one again.
pub(super) fn note_without_slot(before: u32, without: u32) {
    if before == 0 && without > 0 {
        ereport!(
            PgLogLevel::WARNING,
            PgSqlErrorCode::ERRCODE_CONFIGURATION_LIMIT_EXCEEDED,
            format!(
                "pg_perfmon cannot watch {without} databases: it looks after at most {}",
                SLOTS
            ),
            "perfmon.snapshot() fails in those; drop databases that are not needed."
        );
    } else if before > 0 && without == 0 {
        log!("pg_perfmon has a place for every database again");
    }
}

/// Keeps what became of names in the texts of a database's statements.
pub(crate) fn note_names(database: pg_sys::Oid, names: Names) {
    if let Some(mut board) = lock()
        && let Some(slot) = board.slot(database.to_u32())
    {
        slot.names = names;
    }
}

/// Wakes the launcher.
pub(crate) fn wake_launcher() {
    let latch = lock().map(|board| board.launcher);
    if let Some(latch) = latch.filter(|latch| !latch.is_null()) {
        // SAFETY: latches of PGPROC live as long as shared memory; a stale one is only a spurious wake.
        unsafe { pg_sys::SetLatch(latch) };
    }
}

/// Wakes the sessions that wait for an answer.
pub(crate) fn broadcast() {
    let board = BOARD.as_ptr();
    if !board.is_null() {
        // SAFETY: the condition variable was set up at start-up of shared memory.
        unsafe { pg_sys::ConditionVariableBroadcast(&raw mut (*board).answered) };
    }
}

/// Sleeps until `done` or the timeout (milliseconds); returns whether it was done.
pub(crate) fn await_answer(timeout_ms: i64, mut done: impl FnMut() -> bool) -> bool {
    let board = BOARD.as_ptr();
    if board.is_null() {
        return false;
    }
    let deadline = crate::pg::clock::monotonic_us().unwrap_or(0) + timeout_ms * 1000;
    // SAFETY: the condition variable was set up at start-up of shared memory; the sleep serves
    // interrupts, and an error out of it cancels the sleep as part of aborting the transaction.
    unsafe {
        let answered = &raw mut (*board).answered;
        pg_sys::ConditionVariablePrepareToSleep(answered);
        let mut finished = done();
        while !finished {
            let left = deadline - crate::pg::clock::monotonic_us().unwrap_or(deadline);
            if left <= 0 {
                break;
            }
            // In slices, so that a launcher that died without a word is noticed.
            let slice = (left / 1000).clamp(1, 200);
            // A worker is awaited, and told as that: whoever waits so has nobody in the way.
            let what = pg_sys::WaitEventIPC::WAIT_EVENT_BGWORKER_SHUTDOWN;
            pg_sys::ConditionVariableTimedSleep(answered, slice, what);
            finished = done();
        }
        pg_sys::ConditionVariableCancelSleep();
        finished
    }
}
