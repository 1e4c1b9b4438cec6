//! What people declare: marks on trends, objectives, test runs. It is written in the caller's own
//! transaction, as the owner of the tables. It must never wait for a snapshot, but for the very first one.

use pgrx::pg_sys;

use super::{ask, visit};
use crate::error::Error;
use crate::pg::{catalog, clock, session, txn};
use crate::{settings, store};

/// How long the first mark of a database waits for its first snapshot, which makes tables for days.
const FIRST: &str = "10s";

/// Sets a mark on this database's trends and returns its time.
pub(crate) fn set(label: &str, note: Option<&str>) -> i64 {
    as_owner("a mark", "set", |source, now| store::change::mark(source, now, label, note))
}

/// Writes as the owner of the tables; `body` is given this database's source and the time. `what` and `done` say
/// in a refusal what cannot be done.
pub(crate) fn as_owner<T>(what: &str, done: &str, body: impl FnOnce(i64, i64) -> T) -> T {
    if session::in_recovery() {
        Error::read_only(format!("{what} cannot be {done} on a standby"))
            .detail("The history is written by the primary and arrives here by replication.")
            .hint("Do it on the primary.")
            .raise();
    }
    // SAFETY: a variable of this session's transaction.
    if unsafe { pg_sys::XactReadOnly } {
        Error::read_only(format!("{what} cannot be {done} in a read-only transaction"))
            .detail("It is written in the caller's transaction.")
            .hint("Use SET TRANSACTION READ WRITE.")
            .raise();
    }
    ask::keep_extension().unwrap_or_else(|error| error.raise());
    let owner = match visit::owner() {
        Ok(owner) => owner,
        Err(error) => error.raise(),
    };
    let patience = settings::lock_timeout_ms().to_string();
    let mut limits = ask::own_settings();
    limits.push(("lock_timeout", &patience));
    session::with_settings(&limits, || {
        session::as_user(owner, || {
            let now = clock::wall_us();
            body(source(now), now)
        })
    })
}

/// The source of this database. Where nobody drew it yet a collector does, whose transaction ends, so that the caller's, which
/// may go on for hours, holds up no snapshot. Without one it is drawn here, which only one may do at a time.
fn source(now: i64) -> i64 {
    // What others committed since the statement began is to be seen.
    let known = || txn::with_latest_snapshot(store::source::own_of_owner);
    let asked = || {
        ask::have_snapshot();
        known()
    };
    known().or_else(asked).unwrap_or_else(|| {
        session::with_settings(&[("lock_timeout", FIRST)], || store::prior::lock(true));
        let system = catalog::system_identifier();
        // Whoever held the lock may have drawn it meanwhile.
        txn::with_latest_snapshot(|| {
            store::source::ensure_own(now, &catalog::database_name(), system)
        })
    })
}
