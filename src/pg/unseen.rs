//! Errors of clients' statements that the server kept from the hook, as `log_min_messages` says, whoever set it: a role, a
//! database, a session, a function or a transaction for itself.
//!
//! An error that nobody catches is first reported, which calls the hook if it is to be logged, and then undoes the
//! transaction or the subtransaction. So what is undone by an error of which the hook did not hear tells that there was one. That
//! it is an error which undoes it is told by two variables, both of which the server clears before: no statement is at work any
//! more, and no code that would add its context to errors. Where a command rolls back, or a block catches an error, one of
//! them is set; a session that ends says so.
//!
//! Not noticed are errors that undo nothing: those that follow the first one in a failed transaction block, those that end
//! the session, and those that come before a transaction begins (an unknown prepared statement at Bind, text that is not
//! validly encoded).

use std::sync::atomic::{AtomicI64, Ordering};

use pgrx::pg_sys;

use super::hooks::{Observer, quiet};
use super::hot;

/// Start of the client's message of which an error was heard last.
static HEARD: AtomicI64 = AtomicI64::new(0);

/// The hook hears of an error.
pub(super) fn heard() {
    HEARD.store(hot::message_at(), Ordering::Relaxed);
}

/// Looks why a transaction or subtransaction is undone. A message has one such error at most.
#[cold]
#[inline(never)]
pub(super) fn look<W: Observer>() {
    let message = hot::message_at();
    if is_by_error() && HEARD.swap(message, Ordering::Relaxed) != message {
        quiet::<W, ()>(|| W::missed(message));
    }
}

/// Whether it is an error of a client's statement that undoes what is being undone.
fn is_by_error() -> bool {
    // SAFETY: variables of this process.
    unsafe {
        pg_sys::MyBackendType == pg_sys::BackendType::B_BACKEND
            && pg_sys::debug_query_string.is_null()
            && pg_sys::error_context_stack.is_null()
            && !pg_sys::proc_exit_inprogress
    }
}
