//! Ends of transactions, for the hooks' observer.

use std::cell::Cell;

use pgrx::pg_sys;

use super::hooks::{Observer, quiet};
use super::{execution, hot, raw, unseen};

/// Follows transactions; once in the postmaster's life, for all its children.
pub(super) fn follow<W: Observer>() {
    // SAFETY: a callback that lives as long as the library, registered by one thread at start-up.
    unsafe { pg_sys::RegisterXactCallback(Some(on_transaction::<W>), std::ptr::null_mut()) };
}

#[cfg_attr(target_os = "linux", unsafe(link_section = ".text.perfmon"))]
unsafe extern "C-unwind" fn on_transaction<W: Observer>(
    event: pg_sys::XactEvent::Type,
    _argument: *mut std::ffi::c_void,
) {
    use pg_sys::XactEvent::{XACT_EVENT_ABORT, XACT_EVENT_COMMIT, XACT_EVENT_PREPARE};
    if !matches!(event, XACT_EVENT_COMMIT | XACT_EVENT_ABORT | XACT_EVENT_PREPARE) {
        return;
    }
    if event == XACT_EVENT_ABORT {
        unseen::look::<W>();
    }
    if let Some(executed) = W::transaction_ends() {
        ended::<W>(executed, event);
    }
}

/// Has what is still to be done about a transaction done; `executed` says whether something was, to its end.
#[inline(never)]
fn ended<W: Observer>(executed: bool, event: pg_sys::XactEvent::Type) {
    if executed {
        quiet::<W, ()>(|| W::transaction_ended(None));
    } else if goes_on(event) {
        // A block or a procedure commits or rolls back, and goes on.
        quiet::<W, ()>(|| W::transaction_ended(Some(execution::message_text())));
    }
}

/// Whether it is a block or a procedure that ends the transaction, and goes on. An error rolls back from outside of all
/// code, before the server forgets what was at work, and ends no part but the whole, as does the end of a session.
fn goes_on(event: pg_sys::XactEvent::Type) -> bool {
    use pg_sys::XactEvent::{XACT_EVENT_ABORT, XACT_EVENT_COMMIT};
    // SAFETY: the server's function and this one only read variables of this process.
    unsafe {
        let at_work = match event {
            XACT_EVENT_COMMIT => true,
            XACT_EVENT_ABORT => {
                !pg_sys::error_context_stack.is_null() && !pg_sys::proc_exit_inprogress
            }
            _ => false,
        };
        at_work && raw::SPI_inside_nonatomic_context()
    }
}

/// Whether the transaction that just ended wrote something, for which its commit may have had to wait.
#[inline]
pub(crate) fn wrote() -> bool {
    hot::has_number()
}

/// How long the transaction that just ended took, from the arrival of its first message, nanoseconds. What the server
/// keeps as its end is when its commit is written to the log, before it waits for the disk and for standbys. One that COMMIT AND CHAIN
/// began, with the message that ended the one before, begins when that one's commit was done.
pub(crate) fn length_ns() -> u64 {
    thread_local! {
        static COMMITTED: Cell<pg_sys::TimestampTz> = const { Cell::new(0) };
    }
    // SAFETY: the server's functions read variables and the clock.
    let (begin, kept, end) = unsafe {
        (
            raw::GetCurrentTransactionStartTimestamp(),
            raw::GetCurrentTransactionStopTimestamp(),
            if wrote() { Some(raw::GetCurrentTimestamp()) } else { None },
        )
    };
    let before = match end {
        Some(end) => COMMITTED.replace(end),
        None => COMMITTED.get(),
    };
    // A clock that was set back says nothing.
    let end = end.unwrap_or(kept);
    let begin = if before <= end { begin.max(before) } else { begin };
    u64::try_from(end - begin).unwrap_or(0).saturating_mul(1000)
}
