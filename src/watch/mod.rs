//! The hooks inside every user's own backend, and what they count in shared memory: execution times of statements
//! and errors. No code here that runs in a hook may raise an error, wait, allocate without bound, or run SQL.

mod capture;
mod checks;
mod deadlocks;
pub(crate) mod live;
mod memory;
mod plans;
mod routes;
mod scans;

use pgrx::pg_sys;

use crate::pg::{area, hooks, role};

/// Sets up memory and hooks, if the library is being preloaded.
pub(crate) fn init() {
    // SAFETY: variables of the server that are set before libraries are loaded.
    let (preloading, upgrading) =
        unsafe { (pg_sys::process_shared_preload_libraries_in_progress, pg_sys::IsBinaryUpgrade) };
    if !preloading || upgrading {
        return;
    }
    // Statements have an identifier only if somebody asks for it.
    // SAFETY: for libraries that are being preloaded.
    unsafe { pg_sys::EnableQueryId() };
    area::join(memory::request, start);
    role::ask_for_configured(live::configured);
}

fn start() {
    memory::start();
    hooks::install::<capture::Capture>();
}
