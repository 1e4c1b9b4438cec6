//! What the hooks look at for every statement, side by side. Between two statements the server, the client and the
//! kernel run some hundred thousand instructions, and the lines of memory that the hooks need are no longer at hand: each is
//! fetched again, and takes the place of one that the server needs. So these are few, and hold nothing else.

use std::ffi::{c_char, c_int};
use std::hint::black_box;

use pgrx::pg_sys;

use super::raw;

pub(super) type Start = unsafe extern "C-unwind" fn(*mut pg_sys::QueryDesc, c_int);
#[cfg(not(feature = "pg18"))]
pub(super) type Run =
    unsafe extern "C-unwind" fn(*mut pg_sys::QueryDesc, pg_sys::ScanDirection::Type, u64, bool);
#[cfg(feature = "pg18")]
pub(super) type Run =
    unsafe extern "C-unwind" fn(*mut pg_sys::QueryDesc, pg_sys::ScanDirection::Type, u64);
pub(super) type Finish = unsafe extern "C-unwind" fn(*mut pg_sys::QueryDesc);

/// What follows in the chain of the executor's hooks: the server's own functions if there is none.
#[derive(Clone, Copy)]
pub(super) struct Executor {
    pub(super) start: Start,
    pub(super) run: Run,
    pub(super) finish: Finish,
    pub(super) end: Finish,
}

/// Functions and variables of the server. Kept here, as the library's table of what others have is memory as well.
#[derive(Clone, Copy)]
struct Server {
    /// Start of the client's message.
    message: unsafe extern "C" fn() -> pg_sys::TimestampTz,
    user: unsafe extern "C" fn() -> pg_sys::Oid,
    transaction: unsafe extern "C" fn() -> pg_sys::TransactionId,
    portal: *const pg_sys::Portal,
    application: *const *mut c_char,
}

/// Level of nesting, and the message that it holds for: see [`super::level`].
pub(super) struct Level {
    pub(super) message: pg_sys::TimestampTz,
    pub(super) level: u64,
}

#[repr(C, align(64))]
struct Hot {
    next: Executor,
    level: Level,
    server: Server,
}

#[cfg_attr(target_os = "linux", unsafe(link_section = ".data.perfmon"))]
static mut HOT: Hot = Hot {
    next: Executor {
        start: raw::standard_ExecutorStart,
        run: raw::standard_ExecutorRun,
        finish: raw::standard_ExecutorFinish,
        end: raw::standard_ExecutorEnd,
    },
    level: Level { message: 0, level: 0 },
    server: Server {
        message: raw::GetCurrentStatementStartTimestamp,
        user: raw::GetUserId,
        transaction: raw::GetTopTransactionIdIfAny,
        portal: &raw const pg_sys::ActivePortal,
        application: &raw const pg_sys::application_name,
    },
};

/// Keeps what follows in the chain. To be called at start-up, by one thread.
pub(super) fn learn(next: Executor) {
    // What a compiler cannot follow it leaves in one piece, and in memory.
    let hot = black_box(&raw mut HOT);
    // SAFETY: a variable of this process, which has one thread.
    unsafe {
        (*hot).next = next;
        (*hot).server = black_box((*hot).server);
    }
}

/// What follows in the chain.
#[inline]
pub(super) fn next() -> Executor {
    // SAFETY: written once, before there were children.
    unsafe { HOT.next }
}

/// The level of nesting.
#[inline]
pub(super) fn level() -> *mut Level {
    // SAFETY: a place in memory, which is not looked at here.
    unsafe { &raw mut HOT.level }
}

/// Start of the client's message.
#[inline]
pub(super) fn message_at() -> pg_sys::TimestampTz {
    // SAFETY: the server's function only reads a variable.
    unsafe { (HOT.server.message)() }
}

/// The user whose rights hold now.
#[inline]
pub(super) fn user() -> pg_sys::Oid {
    // SAFETY: as above.
    unsafe { (HOT.server.user)() }
}

/// Whether the transaction at hand got a number, as those do that write.
#[inline]
pub(super) fn has_number() -> bool {
    // SAFETY: as above.
    unsafe { (HOT.server.transaction)() != pg_sys::InvalidTransactionId }
}

/// Whether a portal is being executed that a message of the client began, or its EXECUTE. Functions may begin others when no
/// statement is at work, for a loop or a cursor: in deferred triggers, and for the planner. Their cursors ask for a plan whose first
/// rows come fast, and the rest have such names, and are shown, unlike those of EXECUTE.
#[inline]
pub(super) fn is_in_portal_of_message() -> bool {
    let fast = pg_sys::CURSOR_OPT_FAST_PLAN as c_int;
    // SAFETY: a variable of the server's, in this process; a portal has a name.
    unsafe {
        (*HOT.server.portal).as_ref().is_some_and(|portal| {
            portal.cursorOptions & fast == 0 && (*portal.name as u8 != b'<' || !portal.visible)
        })
    }
}

/// The name of the application, as a place in memory that changes with it.
#[inline]
pub(super) fn application() -> *const c_char {
    // SAFETY: as above.
    unsafe { *HOT.server.application }
}
