//! The launcher, the short visits of collectors to databases, and their schedule. No code here may
//! hold a transaction open while it waits.

pub(crate) mod ask;
pub(crate) mod board;
mod checks;
pub(crate) mod collector;
mod ending;
pub(crate) mod episodes;
mod header;
pub(crate) mod launcher;
pub(crate) mod mark;
mod notice;
pub(crate) mod sampling;
pub(crate) mod status;
pub(crate) mod visit;

use pgrx::pg_sys;

/// Name of the extension.
pub(crate) const EXTENSION: &std::ffi::CStr = c"pg_perfmon";

/// Sets up shared memory, the launcher and the notice of CREATE EXTENSION, if the library is being
/// preloaded; without preloading there is nothing to set up, and with binary upgrade nothing may run.
pub(crate) fn init() {
    // SAFETY: variables of the server that are set before libraries are loaded.
    let (preloading, upgrading) =
        unsafe { (pg_sys::process_shared_preload_libraries_in_progress, pg_sys::IsBinaryUpgrade) };
    if !preloading || upgrading {
        return;
    }
    board::init();
    notice::init();
    launcher::register();
}
