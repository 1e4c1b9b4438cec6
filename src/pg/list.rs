//! The server's lists. It must never change one.

use pgrx::pg_sys;

/// The nodes of a list of pointers; none of NULL, which is the empty list.
///
/// # Safety
/// The list must be alive and hold pointers to nodes.
pub(crate) unsafe fn nodes(list: *mut pg_sys::List) -> Vec<*mut pg_sys::Node> {
    // SAFETY: a list has `length` cells from `elements` on.
    unsafe {
        let Some(list) = list.as_ref() else {
            return Vec::new();
        };
        let cells = std::slice::from_raw_parts(list.elements, list.length as usize);
        cells.iter().map(|cell| cell.ptr_value.cast()).collect()
    }
}

/// The oids of a list of oids; none of NULL, which is the empty list.
///
/// # Safety
/// The list must be alive and hold oids.
pub(crate) unsafe fn oids(list: *mut pg_sys::List) -> Vec<pg_sys::Oid> {
    // SAFETY: a list has `length` cells from `elements` on.
    unsafe {
        let Some(list) = list.as_ref() else {
            return Vec::new();
        };
        let cells = std::slice::from_raw_parts(list.elements, list.length as usize);
        cells.iter().map(|cell| cell.oid_value).collect()
    }
}
