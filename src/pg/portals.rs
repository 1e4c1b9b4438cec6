//! The server's portals, in which statements of clients run. They are looked up and read, never opened or closed.

use std::ffi::CStr;

use pgrx::pg_sys;

use super::raw;

/// Whether an execution is the query of a portal that has a name, and not what a function runs.
///
/// # Safety
/// A query that the executor was started for.
pub(super) unsafe fn is_named(query: *const pg_sys::QueryDesc) -> bool {
    // SAFETY: a query has a state until it ends, in memory that lies within its portal's, which has the portal's name.
    unsafe {
        let Some(state) = (*query).estate.as_ref() else { return false };
        let memory = (*state.es_query_cxt).parent;
        let Some(name) = memory.as_ref().map(|memory| memory.ident) else { return false };
        if name.is_null() {
            return false;
        }
        let portal = raw::GetPortalByName(name).as_ref();
        portal.is_some_and(|portal| portal.portalContext == memory)
    }
}

/// The text of the SELECT that a client's messages executed last, while it is not ended: that is when its portal is
/// closed, which comes after what is deferred. Of a portal with a name nothing is known.
pub(crate) fn text_of_unended<'a>() -> Option<&'a [u8]> {
    // SAFETY: the text of a portal lives as long as it does; what ended has no query any more.
    unsafe {
        let portal = raw::GetPortalByName(c"".as_ptr()).as_ref()?;
        let was_read = !portal.atStart || portal.atEnd;
        if portal.queryDesc.is_null() || portal.sourceText.is_null() || !was_read {
            return None;
        }
        Some(CStr::from_ptr(portal.sourceText).to_bytes())
    }
}
