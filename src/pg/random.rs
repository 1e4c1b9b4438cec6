//! The server's random numbers.

use pgrx::pg_sys;

/// Any number, from the generator that the server seeded for this process.
pub(crate) fn drawn() -> u64 {
    // SAFETY: only this process has this generator, and its one thread is here.
    unsafe { pg_sys::pg_prng_uint64(&raw mut pg_sys::pg_global_prng_state) }
}
