//! What another session does, read from its status in shared memory where nothing may raise, wait or allocate.

use std::ffi::{CStr, c_char};
use std::sync::atomic::{Ordering, fence};

use perfmon_core::activity::State;
use perfmon_core::lock::Party;
use pgrx::pg_sys;

/// Place of this process in the array of all.
fn own_place() -> Option<usize> {
    // SAFETY: a variable of this process.
    #[cfg(any(feature = "pg15", feature = "pg16"))]
    let place = unsafe { pg_sys::MyBackendId }.checked_sub(1);
    // SAFETY: a variable of this process.
    #[cfg(not(any(feature = "pg15", feature = "pg16")))]
    let place = Some(unsafe { pg_sys::MyProcNumber });
    place.and_then(|place| usize::try_from(place).ok())
}

/// A session by its process, with its statement; the times are left out.
pub(crate) fn party(pid: i32) -> Option<Party> {
    /// As often as the server's own readers would not be content with.
    const TRIES: usize = 10;
    let place = own_place()?;
    // SAFETY: the array has a place for each backend, in which this process has the one that it is told; the places
    // are in shared memory as long as the server runs. Each is written to by its own process, which counts before and
    // after; what changed meanwhile is read again. Numbers only, and a name that ends within its own room.
    unsafe {
        let own = pg_sys::MyBEEntry;
        let backends = usize::try_from(pg_sys::MaxBackends).ok()?;
        if own.is_null() || place >= backends {
            return None;
        }
        let first = own.sub(place);
        let entry = (0..backends)
            .map(|at| first.add(at))
            .find(|entry| (&raw const (**entry).st_procpid).read_volatile() == pid)?;
        for _ in 0..TRIES {
            let before = (&raw const (*entry).st_changecount).read_volatile();
            fence(Ordering::Acquire);
            let party = read(entry);
            fence(Ordering::Acquire);
            let after = (&raw const (*entry).st_changecount).read_volatile();
            if before == after && before % 2 == 0 {
                return Some(party).filter(|party| party.pid == pid);
            }
        }
    }
    None
}

/// # Safety
/// A place in the array.
unsafe fn read(entry: *const pg_sys::PgBackendStatus) -> Party {
    // SAFETY: by the caller's word; any value of the fields is valid.
    unsafe {
        let mut party = Party::nobody((&raw const (*entry).st_procpid).read_volatile());
        party.queryid = (&raw const (*entry).st_query_id).read_volatile() as i64;
        party.database = (&raw const (*entry).st_databaseid).read_volatile().to_u32();
        party.user = (&raw const (*entry).st_userid).read_volatile().to_u32();
        party.state = State::Active as u8;
        let name = (&raw const (*entry).st_appname).read_volatile();
        copy(&mut party.application, name);
        party
    }
}

/// # Safety
/// NULL, or a text that ends with a zero within the room that the server has for a name.
unsafe fn copy(to: &mut [u8; 64], from: *const c_char) {
    if from.is_null() {
        return;
    }
    for (at, byte) in to.iter_mut().enumerate().take(pg_sys::NAMEDATALEN as usize - 1) {
        // SAFETY: by the caller's word, as nothing behind the zero is read.
        *byte = unsafe { from.add(at).read_volatile() } as u8;
        if *byte == 0 {
            break;
        }
    }
}

/// This session, with the statement that it was sent. Its user is who logged in, as others see it, whatever role is set.
pub(crate) fn own(query_id: u64, database: u32) -> Party {
    // SAFETY: variables of this process, its own place among all if it has one yet, and a C string of the server's.
    let (pid, entry, name) =
        unsafe { (pg_sys::MyProcPid, pg_sys::MyBEEntry.as_ref(), pg_sys::application_name) };
    let mut party = Party::nobody(pid);
    party.queryid = query_id as i64;
    party.user = entry.map_or(0, |entry| entry.st_userid.to_u32());
    (party.database, party.state) = (database, State::Active as u8);
    if !name.is_null() {
        // SAFETY: a C string, as above.
        let name = unsafe { CStr::from_ptr(name) }.to_bytes();
        let length = name.len().min(pg_sys::NAMEDATALEN as usize - 1);
        party.application[..length].copy_from_slice(&name[..length]);
    }
    party
}
