//! `perfmon.mark_change()`: writes a mark in the caller's own transaction, as the owner of the tables. It
//! must never wait for a snapshot, but for the very first one.

use pgrx::pg_sys;

use super::{ask, visit};
use crate::error::Error;
use crate::pg::{catalog, clock, session, txn};
use crate::{settings, store};

/// Sets a mark on this database's trends and returns its time.
pub(crate) fn set(label: &str, note: Option<&str>) -> i64 {
    if session::in_recovery() {
        Error::read_only("cannot set a mark on a standby")
            .detail("The history is written by the primary and arrives here by replication.")
            .hint("Call perfmon.mark_change() on the primary.")
            .raise();
    }
    // SAFETY: a variable of this session's transaction.
    if unsafe { pg_sys::XactReadOnly } {
        Error::read_only("a mark cannot be set in a read-only transaction")
            .detail("It is written in the caller's transaction.")
            .hint("Use SET TRANSACTION READ WRITE.")
            .raise();
    }
    let owner = match visit::owner() {
        Ok(owner) => owner,
        Err(error) => error.raise(),
    };
    let patience = settings::lock_timeout_ms().to_string();
    let mut limits = ask::OWN_SETTINGS.to_vec();
    limits.push(("lock_timeout", &patience));
    session::with_settings(&limits, || {
        session::as_user(owner, || {
            let now = clock::wall_us();
            store::change::mark(source(now), now, label, note)
        })
    })
}

/// The source of this database; drawn now if nobody did so yet, which only one may do at a time.
fn source(now: i64) -> i64 {
    store::source::own().unwrap_or_else(|| {
        store::prior::lock(true);
        let system = catalog::system_identifier();
        // Whoever held the lock may have drawn it meanwhile.
        txn::with_latest_snapshot(|| {
            store::source::ensure_own(now, &catalog::database_name(), system)
        })
    })
}
