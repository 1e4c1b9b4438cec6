//! Wall clock, a monotonic clock that all processes of one boot share, and this process's own cost.

use pgrx::pg_sys;

/// Microseconds between the epochs of Unix and of PostgreSQL.
const POSTGRES_EPOCH_US: i64 = 946_684_800_000_000;

/// Now, in microseconds since the Unix epoch.
pub(crate) fn wall_us() -> i64 {
    // SAFETY: reads the clock.
    unsafe { pg_sys::GetCurrentTimestamp() }.saturating_add(POSTGRES_EPOCH_US)
}

/// When the statement began that the client sent, in microseconds since the Unix epoch.
pub(crate) fn statement_us() -> i64 {
    // SAFETY: reads a variable of this process.
    unix_us(unsafe { pg_sys::GetCurrentStatementStartTimestamp() })
}

/// The server's timestamptz as microseconds since the Unix epoch.
pub(crate) fn unix_us(timestamp: pg_sys::TimestampTz) -> i64 {
    timestamp.saturating_add(POSTGRES_EPOCH_US)
}

fn clock_ns(id: libc::clockid_t) -> Option<i64> {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: fills the struct that it is given.
    let result = unsafe { libc::clock_gettime(id, &mut time) };
    (result == 0).then(|| time.tv_sec * 1_000_000_000 + time.tv_nsec)
}

fn clock(id: libc::clockid_t) -> Option<i64> {
    clock_ns(id).map(|ns| ns / 1000)
}

/// A clock for what takes less than a microsecond; 0 where there is none.
pub(crate) fn nanoseconds() -> u64 {
    clock_ns(libc::CLOCK_MONOTONIC).unwrap_or(0).unsigned_abs()
}

/// Microseconds on a clock that never steps and is the same for all processes since boot.
pub(crate) fn monotonic_us() -> Option<i64> {
    clock(libc::CLOCK_MONOTONIC)
}

/// A clock for pauses: monotonic where there is one.
pub(crate) fn steady_us() -> i64 {
    monotonic_us().unwrap_or_else(wall_us)
}

/// CPU time that this process used so far, microseconds.
pub(crate) fn cpu_us() -> i64 {
    clock(libc::CLOCK_PROCESS_CPUTIME_ID).unwrap_or(0)
}

/// What tells one boot of the machine from another, where the system says so.
pub(crate) fn boot() -> Option<String> {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok().map(|id| id.trim().to_owned())
}
