//! The lock on an extension as an object: DROP EXTENSION takes it before any other, and waits for whoever holds it.

use std::ffi::CStr;
use std::time::{Duration, Instant};

use pgrx::pg_sys;

use super::catalog;

/// How long whoever asks waits for a DROP EXTENSION to end.
const PATIENCE: Duration = Duration::from_secs(2);

/// Between two looks.
const PAUSE_MS: i64 = 5;

/// What became of the wish to keep an extension.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kept {
    /// It stays until this transaction ends.
    Yes,
    /// There is none.
    Gone,
    /// Somebody drops it, or waits to.
    Busy,
}

/// Keeps an extension from being dropped until this transaction ends. To be called before any of its tables is locked:
/// who drops it then waits while it holds nothing, and cannot meet us in the other order further down. A table may be locked
/// all the same, as one that the statement names beside us; so this never waits in the lock's queue, where it would be half of
/// a deadlock of which the other half is the DROP.
pub(crate) fn keep(name: &CStr) -> Kept {
    let began = Instant::now();
    loop {
        let Some(extension) = catalog::extension(name) else { return Kept::Gone };
        if try_lock(extension) {
            // It may have been dropped between the look-up and the lock, which was nobody's then.
            if catalog::extension(name) == Some(extension) {
                return Kept::Yes;
            }
        } else if began.elapsed() >= patience() {
            return Kept::Busy;
        } else {
            pause();
        }
    }
}

fn patience() -> Duration {
    // SAFETY: a setting of this session.
    let limit_ms = unsafe { pg_sys::LockTimeout };
    let limit = u64::try_from(limit_ms).ok().filter(|ms| *ms > 0).map(Duration::from_millis);
    limit.map_or(PATIENCE, |limit| limit.min(PATIENCE))
}

fn try_lock(extension: pg_sys::Oid) -> bool {
    // SAFETY: takes or refuses the lock that uses of an object take, and then learns what its holders before changed.
    unsafe {
        let tag = pg_sys::LOCKTAG {
            locktag_field1: pg_sys::MyDatabaseId.to_u32(),
            locktag_field2: pg_sys::ExtensionRelationId.to_u32(),
            locktag_field3: extension.to_u32(),
            locktag_field4: 0,
            locktag_type: pg_sys::LockTagType::LOCKTAG_OBJECT as u8,
            locktag_lockmethodid: pg_sys::DEFAULT_LOCKMETHOD as u8,
        };
        let got = pg_sys::LockAcquire(&tag, pg_sys::AccessShareLock as i32, false, true);
        if got == pg_sys::LockAcquireResult::LOCKACQUIRE_NOT_AVAIL {
            return false;
        }
        pg_sys::AcceptInvalidationMessages();
    }
    true
}

/// Waits a moment, and serves interrupts.
fn pause() {
    let events = pg_sys::WL_LATCH_SET | pg_sys::WL_TIMEOUT | pg_sys::WL_EXIT_ON_PM_DEATH;
    // SAFETY: this process's own latch.
    unsafe {
        pg_sys::WaitLatch(pg_sys::MyLatch, events as i32, PAUSE_MS, pg_sys::PG_WAIT_EXTENSION);
        pg_sys::ResetLatch(pg_sys::MyLatch);
    }
    pgrx::check_for_interrupts!();
}
