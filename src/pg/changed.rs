//! Whether anything happened to any table or index: the server tells each session what others committed, so that it
//! forgets what it knew. Nobody is told of changes to schemas' names, extensions, and what belongs to them.

use std::sync::atomic::{AtomicBool, Ordering};

use pgrx::pg_sys;

static LISTENS: AtomicBool = AtomicBool::new(false);
static CHANGED: AtomicBool = AtomicBool::new(false);

/// Listens from here on.
pub(crate) fn begin() {
    if !LISTENS.swap(true, Ordering::Relaxed) {
        // SAFETY: once in a session, of whose ten places the server itself takes three; the function stays as long as
        // the process, since libraries are never unloaded.
        unsafe {
            pg_sys::CacheRegisterRelcacheCallback(Some(on_relation), pg_sys::Datum::from(0));
        }
    }
    CHANGED.store(false, Ordering::Relaxed);
}

/// Whether something happened since then that is committed, or this transaction's own.
pub(crate) fn is_changed() -> bool {
    // SAFETY: takes in what is waiting, as each lock of a table does.
    unsafe { pg_sys::AcceptInvalidationMessages() };
    CHANGED.load(Ordering::Relaxed)
}

/// Of one relation or, where too much happened to tell, of all.
extern "C-unwind" fn on_relation(_argument: pg_sys::Datum, _relation: pg_sys::Oid) {
    CHANGED.store(true, Ordering::Relaxed);
}
