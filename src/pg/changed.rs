//! Whether anything happened to any table or index: the server tells each session what others committed, so that it
//! forgets what it knew. Nobody is told of changes to schemas' names, extensions, and what belongs to them.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use pgrx::pg_sys;

static LISTENS: AtomicBool = AtomicBool::new(false);
static CHANGES: AtomicU64 = AtomicU64::new(0);

/// Counts what happened: as long as this says the same, nothing did that is committed, or this transaction's own. What
/// happened before the first call is not in it.
pub(crate) fn count() -> u64 {
    // SAFETY: the function is given once in a session, of whose ten places the server itself takes three, and stays as
    // long as the process, since libraries are never unloaded. Then takes in what is waiting, as each lock of a table does.
    unsafe {
        if !LISTENS.swap(true, Ordering::Relaxed) {
            pg_sys::CacheRegisterRelcacheCallback(Some(on_relation), pg_sys::Datum::from(0));
        }
        pg_sys::AcceptInvalidationMessages();
    }
    CHANGES.load(Ordering::Relaxed)
}

/// Of one relation or, where too much happened to tell, of all.
extern "C-unwind" fn on_relation(_argument: pg_sys::Datum, _relation: pg_sys::Oid) {
    CHANGES.fetch_add(1, Ordering::Relaxed);
}
