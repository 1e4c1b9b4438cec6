//! Notices CREATE, ALTER and DROP of extensions and databases (of any: they are rare) when they commit,
//! so that the launcher looks at once. It never raises and runs no SQL.

use std::cell::Cell;

use pgrx::pg_sys;

use super::board;

thread_local! {
    /// This transaction touched an extension.
    static EXTENSION: Cell<bool> = const { Cell::new(false) };
    /// This transaction touched a database.
    static DATABASE: Cell<bool> = const { Cell::new(false) };
    /// The commit callback is in place in this session.
    static REGISTERED: Cell<bool> = const { Cell::new(false) };
}

static mut PREVIOUS: pg_sys::object_access_hook_type = None;

/// Joins the chain of object access hooks.
pub(super) fn init() {
    // SAFETY: done while libraries are preloaded, by one thread.
    unsafe {
        PREVIOUS = pg_sys::object_access_hook;
        pg_sys::object_access_hook = Some(on_object_access);
    }
}

#[allow(ffi_unwind_calls, reason = "plain old frame: an error passes through")]
unsafe extern "C-unwind" fn on_object_access(
    access: pg_sys::ObjectAccessType::Type,
    class: pg_sys::Oid,
    object: pg_sys::Oid,
    sub: std::ffi::c_int,
    argument: *mut std::ffi::c_void,
) {
    // The server comes here for each function of a plan, too.
    if class == pg_sys::ExtensionRelationId || class == pg_sys::DatabaseRelationId {
        touched(class);
    }
    // SAFETY: set once at preload.
    if let Some(previous) = unsafe { PREVIOUS } {
        // SAFETY: the chain is called with what we were called with.
        unsafe { previous(access, class, object, sub, argument) };
    }
}

#[cold]
#[inline(never)]
fn touched(class: pg_sys::Oid) {
    if class == pg_sys::ExtensionRelationId {
        EXTENSION.set(true);
    } else {
        DATABASE.set(true);
    }
    if !REGISTERED.replace(true) {
        // SAFETY: a callback that lives as long as the library.
        unsafe { pg_sys::RegisterXactCallback(Some(at_end), std::ptr::null_mut()) };
    }
}

unsafe extern "C-unwind" fn at_end(event: pg_sys::XactEvent::Type, _: *mut std::ffi::c_void) {
    let committed = event == pg_sys::XactEvent::XACT_EVENT_COMMIT;
    if !committed && event != pg_sys::XactEvent::XACT_EVENT_ABORT {
        return;
    }
    let (extension, database) = (EXTENSION.replace(false), DATABASE.replace(false));
    if (extension || database) && committed {
        if let Some(mut board) = board::lock() {
            board.rescan = true;
            let here = crate::pg::session::database().to_u32();
            if extension && let Some(slot) = board.slot_or_new(here) {
                slot.touched += 1;
                slot.state = board::State::Unknown;
                slot.retry_at = 0;
                slot.house_failures = 0;
                slot.house_retry_at = 0;
                slot.set_house_message("");
            }
        }
        board::wake_launcher();
    }
}
