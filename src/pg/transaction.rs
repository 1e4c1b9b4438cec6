//! Ends of transactions, for the hooks' observer.

use pgrx::pg_sys;

use super::hooks::{Observer, quiet};
use super::raw;

/// Follows transactions; once in the postmaster's life, for all its children.
pub(super) fn follow<W: Observer>() {
    // SAFETY: a callback that lives as long as the library, registered by one thread at start-up.
    unsafe { pg_sys::RegisterXactCallback(Some(on_transaction::<W>), std::ptr::null_mut()) };
}

unsafe extern "C-unwind" fn on_transaction<W: Observer>(
    event: pg_sys::XactEvent::Type,
    _argument: *mut std::ffi::c_void,
) {
    use pg_sys::XactEvent::{XACT_EVENT_ABORT, XACT_EVENT_COMMIT, XACT_EVENT_PREPARE};
    if matches!(event, XACT_EVENT_COMMIT | XACT_EVENT_ABORT | XACT_EVENT_PREPARE)
        && W::transaction_ends()
    {
        quiet::<W, ()>(W::transaction_ended);
    }
}

/// How long the transaction that just ended took, from the arrival of its first message, nanoseconds.
pub(crate) fn length_ns() -> u64 {
    // SAFETY: the server's functions read variables and the clock.
    let us = unsafe {
        raw::GetCurrentTransactionStopTimestamp() - raw::GetCurrentTransactionStartTimestamp()
    };
    u64::try_from(us).unwrap_or(0).saturating_mul(1000)
}
