//! Signal handlers of our background workers.
//!
//! pgrx's own SIGTERM handler only sets a flag, so a worker inside a query could not be stopped, and
//! its SIGINT handler breaks statement_timeout and lock_timeout: neither is used.

use pgrx::pg_sys;

unsafe extern "C-unwind" {
    #[link_name = "die"]
    fn server_die(signal: std::ffi::c_int);
    #[link_name = "SignalHandlerForConfigReload"]
    fn server_reload(signal: std::ffi::c_int);
}

#[cfg(any(feature = "pg15", feature = "pg16", feature = "pg17"))]
use pg_sys::pqsignal as set_handler;
#[cfg(feature = "pg18")]
use pg_sys::pqsignal_be as set_handler;

/// SIGTERM ends the worker at its next chance, SIGHUP asks for a reload, SIGINT stays the server's.
pub(crate) fn install() {
    // SAFETY: the server's own handlers, installed before signals are unblocked in this process.
    unsafe {
        set_handler(pg_sys::SIGHUP as i32, Some(server_reload));
        set_handler(pg_sys::SIGTERM as i32, Some(server_die));
        pg_sys::BackgroundWorkerUnblockSignals();
    }
}

/// Rereads the configuration file if SIGHUP asked for it.
pub(crate) fn reload_if_asked() -> bool {
    // SAFETY: a flag of this process, and the call that the server makes on seeing it.
    unsafe {
        let is_asked = pg_sys::ConfigReloadPending != 0;
        if is_asked {
            pg_sys::ConfigReloadPending = 0;
            pg_sys::ProcessConfigFile(pg_sys::GucContext::PGC_SIGHUP);
        }
        is_asked
    }
}

/// Waits for this process's latch or the time, and serves interrupts: DROP DATABASE anywhere in the
/// cluster waits for every process to do so. Exits when the postmaster died. A cancel request finds
/// nothing to cancel here, and must not end the process. Says whether somebody woke it.
pub(crate) fn wait(timeout_us: i64) -> bool {
    let events = pg_sys::WL_LATCH_SET | pg_sys::WL_TIMEOUT | pg_sys::WL_EXIT_ON_PM_DEATH;
    let timeout_ms = (timeout_us.saturating_add(999) / 1000).clamp(1, 3_600_000);
    // SAFETY: MyLatch is this process's own latch.
    let woken = unsafe {
        let latch = pg_sys::MyLatch;
        let why = pg_sys::WaitLatch(latch, events as i32, timeout_ms, pg_sys::PG_WAIT_EXTENSION);
        pg_sys::ResetLatch(latch);
        pg_sys::QueryCancelPending = 0;
        why as u32 & pg_sys::WL_LATCH_SET != 0
    };
    pg_sys::check_for_interrupts!();
    woken
}

/// Runs something that waits for the world outside, and shows that in pg_stat_activity.
pub(crate) fn waiting<T>(wait: impl FnOnce() -> T) -> T {
    // SAFETY: this process's own word, in shared memory or, before that, a variable.
    unsafe { pg_sys::my_wait_event_info.write_volatile(pg_sys::PG_WAIT_EXTENSION) };
    let result = wait();
    // SAFETY: the same word.
    unsafe { pg_sys::my_wait_event_info.write_volatile(0) };
    result
}
