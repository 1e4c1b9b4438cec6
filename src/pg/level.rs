//! How deep the statement being executed lies: 0 for what the client sent, more for what functions, triggers and
//! commands run. Kept without sigsetjmp, which would cost more than all else that hooks do here.
//!
//! An error jumps over the hooks' frames, so that nobody counts back. Three things put the level right:
//! * a frame that ends normally restores the level that it found;
//! * a new message of the client starts at 0: no frame of an earlier one can be left;
//! * the end of a failed subtransaction restores the level at which it began, which is all that code which
//!   catches errors needs.

use perfmon_core::lock::tracker::SHORTEST_IDLE_US;
use pgrx::pg_sys;

use super::hooks::{Observer, quiet};
use super::{hot, raw, unseen};

/// Runs of subtransactions that began at the same level. Levels rise with the depth of subtransactions, so that
/// there are no more runs than levels; beyond this many only the lower ones are known, which is deep enough.
const RUNS: usize = 64;

/// Beside the level, in one word with it: an execution is being started. What the server evaluates then is nested in it, but
/// not by its level, as pg_stat_statements calls it top-level.
const STARTING: u64 = 1 << 32;

/// Levels at which subtransactions began.
struct Begun {
    /// Depth of the first subtransaction of each run, and its level, with all that stands beside it.
    runs: [(i32, u64); RUNS],
    used: usize,
}

static mut BEGUN: Begun = Begun { runs: [(0, 0); RUNS], used: 0 };

/// The level now.
#[inline]
pub(super) fn now() -> u32 {
    // SAFETY: a variable of this process, which has one thread.
    unsafe { (*hot::level()).level as u32 }
}

/// The level with what stands beside it, to be set again: 0 where nothing is at work that what begins now would be nested in.
#[inline]
pub(super) fn whole() -> u64 {
    // SAFETY: as above.
    unsafe { (*hot::level()).level }
}

/// Whether an execution is being started.
pub(super) fn is_starting() -> bool {
    whole() & STARTING != 0
}

/// Whether what begins with this is nested by its level.
#[inline]
pub(super) fn is_nested(whole: u64) -> bool {
    whole as u32 > 0
}

/// Notes that an execution is being started, with what stood there before.
#[inline]
pub(super) fn set_starting(before: u64) {
    set(before | STARTING);
}

/// Start of the client's message, as it was known when the level was last looked at.
#[inline]
pub(super) fn message_at() -> pg_sys::TimestampTz {
    // SAFETY: as above.
    unsafe { (*hot::level()).message }
}

/// Sets the level, with what stands beside it.
#[inline]
pub(super) fn set(level: u64) {
    // SAFETY: as above.
    unsafe { (*hot::level()).level = level }
}

/// Starts at 0 with each message of the client. Every frame that raises the level does this first: a portal may be
/// started by one message and run by the next.
#[inline]
pub(super) fn refresh<W: Observer>() {
    // SAFETY: the server's function only reads a variable; the state is this process's.
    unsafe {
        let message = hot::message_at();
        let state = hot::level();
        let before = (*state).message;
        if message != before {
            (*state).message = message;
            (*state).level = 0;
            if message.wrapping_sub(before) >= SHORTEST_IDLE_US {
                look_back::<W>(before, message);
            }
        }
    }
}

/// The client sends something a second or more after it did so last: says whether it comes back to its transaction.
#[cold]
#[inline(never)]
fn look_back<W: Observer>(before: pg_sys::TimestampTz, message: pg_sys::TimestampTz) {
    // SAFETY: a variable of this process, and a function of the server that only reads one. After an error it is the
    // transaction that failed.
    let (is_client, began) = unsafe {
        let is_client = pg_sys::MyBackendType == pg_sys::BackendType::B_BACKEND;
        (is_client, raw::GetCurrentTransactionStartTimestamp())
    };
    // The first message comes back to nothing.
    if is_client && before != 0 && message.saturating_sub(began) >= SHORTEST_IDLE_US {
        quiet::<W, ()>(|| W::came_back(before, message));
    }
}

/// Whether something was executed for the last message of the client.
pub(super) fn executed_in_message() -> bool {
    // SAFETY: as above.
    unsafe { hot::message_at() == (*hot::level()).message }
}

/// Follows subtransactions; once in the postmaster's life, for all its children.
pub(super) fn follow_subtransactions<W: Observer>() {
    // SAFETY: a callback that lives as long as the library, registered by one thread at start-up.
    unsafe { pg_sys::RegisterSubXactCallback(Some(on_subtransaction::<W>), std::ptr::null_mut()) };
}

unsafe extern "C-unwind" fn on_subtransaction<W: Observer>(
    event: pg_sys::SubXactEvent::Type,
    _own: pg_sys::SubTransactionId,
    _parent: pg_sys::SubTransactionId,
    _argument: *mut std::ffi::c_void,
) {
    let begins = event == pg_sys::SubXactEvent::SUBXACT_EVENT_START_SUB;
    if !begins && event != pg_sys::SubXactEvent::SUBXACT_EVENT_ABORT_SUB {
        return;
    }
    if !begins {
        unseen::look::<W>();
    }
    // SAFETY: the server's function only reads a variable; the state is this process's.
    unsafe {
        let depth = raw::GetCurrentTransactionNestLevel();
        let begun = &raw mut BEGUN;
        let begun = &mut *begun;
        if begins {
            begun.begins(depth, whole());
        } else {
            if let Some(level) = begun.fails(depth) {
                set(level);
            }
            quiet::<W, ()>(|| W::undone(depth));
        }
    }
}

impl Begun {
    fn begins(&mut self, depth: i32, level: u64) {
        while self.used > 0 && self.runs[self.used - 1].0 >= depth {
            self.used -= 1;
        }
        let known = self.used > 0 && self.runs[self.used - 1].1 == level;
        if !known && self.used < RUNS {
            self.runs[self.used] = (depth, level);
            self.used += 1;
        }
    }

    /// The level at which a subtransaction began, as far as it is known.
    fn fails(&mut self, depth: i32) -> Option<u64> {
        while self.used > 0 && self.runs[self.used - 1].0 > depth {
            self.used -= 1;
        }
        self.used.checked_sub(1).map(|last| self.runs[last].1)
    }
}
