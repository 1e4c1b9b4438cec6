//! Who this session acts as, and the settings it works under.

use std::ffi::{CStr, CString};

use pgrx::pg_sys;

/// Runs `body` as another user who can do nothing lasting to the session; the user before is put
/// back, by unwinding too (an aborted transaction puts it back as well).
pub(crate) fn as_user<R>(user: pg_sys::Oid, body: impl FnOnce() -> R) -> R {
    struct Back(pg_sys::Oid, i32);
    impl Drop for Back {
        fn drop(&mut self) {
            // SAFETY: the values that were in force before.
            unsafe { pg_sys::SetUserIdAndSecContext(self.0, self.1) };
        }
    }
    let mut before = Back(pg_sys::Oid::INVALID, 0);
    // SAFETY: reads, then sets, this session's user; the drop guard restores it.
    unsafe {
        pg_sys::GetUserIdAndSecContext(&mut before.0, &mut before.1);
        let restricted = before.1 | pg_sys::SECURITY_RESTRICTED_OPERATION as i32;
        pg_sys::SetUserIdAndSecContext(user, restricted);
    }
    let result = body();
    drop(before);
    result
}

/// Asks the system to let this process run as soon as it is woken, in turns that are as short as may be: whoever looks at others
/// and has to wait until one of them leaves the processor finds that one always at rest. Linux heeds this from 6.12 on;
/// before 6.6 it let processes that slept run first anyway. Takes nothing from others: the share of time stays the same.
pub(crate) fn run_at_once() {
    #[cfg(target_os = "linux")]
    {
        const TURN_NS: u64 = 100_000;
        let size = size_of::<libc::sched_attr>() as libc::c_uint;
        // SAFETY: numbers only, of which zero is a valid value; the calls read and write the struct of the size that they are told,
        // for this process. That they may fail is fine.
        unsafe {
            let mut attributes: libc::sched_attr = std::mem::zeroed();
            let got = libc::syscall(libc::SYS_sched_getattr, 0, &raw mut attributes, size, 0);
            // Others were chosen by an administrator.
            if got == 0 && attributes.sched_policy == libc::SCHED_OTHER as u32 {
                attributes.sched_runtime = TURN_NS;
                libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0);
            }
        }
    }
}

/// Sets a configuration parameter for the rest of this worker's life.
pub(crate) fn set(name: &str, value: &str) {
    let (Ok(name), Ok(value)) = (CString::new(name), CString::new(value)) else { return };
    // SAFETY: two C strings that outlive the call.
    unsafe {
        pg_sys::SetConfigOption(
            name.as_ptr(),
            value.as_ptr(),
            pg_sys::GucContext::PGC_SUSET,
            pg_sys::GucSource::PGC_S_SESSION,
        );
    }
}

/// Gives sorts and sets of this worker at least so much memory each.
pub(crate) fn ensure_work_mem(kilobytes: i32) {
    // SAFETY: a variable of this process.
    if unsafe { pg_sys::work_mem } < kilobytes {
        set("work_mem", &kilobytes.to_string());
    }
}

/// Runs `body` with settings that end with it (or with its transaction, when it fails).
pub(crate) fn with_settings<R>(settings: &[(&str, &str)], body: impl FnOnce() -> R) -> R {
    // SAFETY: opens a nest level, which the matching call below (or an abort) closes.
    let level = unsafe { pg_sys::NewGUCNestLevel() };
    for (name, value) in settings {
        let (Ok(name), Ok(value)) = (CString::new(*name), CString::new(*value)) else { continue };
        set_for_now(&name, &value);
    }
    let result = body();
    // SAFETY: closes the level opened above.
    unsafe { pg_sys::AtEOXact_GUC(true, level) };
    result
}

/// Sets a configuration parameter until the subtransaction that is open is rolled back.
pub(crate) fn set_for_now(name: &CStr, value: &CStr) {
    // SAFETY: two C strings that outlive the call; errors are raised as usual.
    unsafe {
        pg_sys::set_config_option(
            name.as_ptr(),
            value.as_ptr(),
            pg_sys::GucContext::PGC_SUSET,
            pg_sys::GucSource::PGC_S_SESSION,
            pg_sys::GucAction::GUC_ACTION_SAVE,
            true,
            pgrx::PgLogLevel::ERROR as i32,
            false,
        );
    }
}

/// Acts as another user, who can do nothing lasting to the session, until the subtransaction that is
/// open is rolled back.
pub(crate) fn become_for_now(user: pg_sys::Oid) {
    let (mut before, mut context) = (pg_sys::Oid::INVALID, 0);
    // SAFETY: reads, then sets, this session's user; the rollback puts back what it found.
    unsafe {
        pg_sys::GetUserIdAndSecContext(&mut before, &mut context);
        let restricted = context | pg_sys::SECURITY_RESTRICTED_OPERATION as i32;
        pg_sys::SetUserIdAndSecContext(user, restricted);
    }
}

/// A configuration parameter's current value, if there is such a parameter.
pub(crate) fn get(name: &str) -> Option<String> {
    let name = CString::new(name).ok()?;
    // SAFETY: with missing_ok the call returns NULL instead of raising.
    let value = unsafe { pg_sys::GetConfigOption(name.as_ptr(), true, false) };
    if value.is_null() {
        return None;
    }
    // SAFETY: a C string of the server's, copied at once.
    Some(unsafe { CStr::from_ptr(value) }.to_string_lossy().into_owned())
}

/// A configuration parameter as it is when nobody sets it within the session. It must be there.
pub(crate) fn configured(name: &CStr) -> Option<String> {
    // SAFETY: the name of a parameter that everybody may read.
    let value = unsafe { pg_sys::GetConfigOptionResetString(name.as_ptr()) };
    if value.is_null() {
        return None;
    }
    // SAFETY: a C string of the server's, copied at once.
    Some(unsafe { CStr::from_ptr(value) }.to_string_lossy().into_owned())
}

/// Who this session acts as.
pub(crate) fn user() -> pg_sys::Oid {
    // SAFETY: reads a variable of this process.
    unsafe { pg_sys::GetUserId() }
}

/// The database that this session is connected to.
pub(crate) fn database() -> pg_sys::Oid {
    // SAFETY: a variable of this process.
    unsafe { pg_sys::MyDatabaseId }
}

/// Whether the server is a standby in recovery.
pub(crate) fn in_recovery() -> bool {
    // SAFETY: no requirement.
    unsafe { pg_sys::RecoveryInProgress() }
}

/// WAL that this process wrote so far, bytes.
pub(crate) fn wal_bytes() -> i64 {
    // SAFETY: a counter of this process.
    i64::try_from(unsafe { pg_sys::pgWalUsage.wal_bytes }).unwrap_or(i64::MAX)
}

/// Makes memory cheap for a process that lives for the blink of an eye: what it frees it keeps for the
/// next use, and what it is going to need comes from the kernel in huge pages, if it has any, instead of
/// thousands of small ones. Found to save a quarter of a visit.
pub(crate) fn spare_page_faults() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        const HUGE: usize = 2 << 20;
        const ROOM: usize = 16 << 20;
        // More than a heap mostly has left at its end.
        const BLOCK: usize = 256 << 10;
        // SAFETY: settings of the allocator of this process, which runs one thread; then a block that
        // makes its heap grow, and is given back to it. Advice changes nothing but speed.
        unsafe {
            libc::mallopt(libc::M_MMAP_THRESHOLD, (ROOM as i32) << 1);
            libc::mallopt(libc::M_TRIM_THRESHOLD, (ROOM as i32) << 2);
            libc::mallopt(libc::M_TOP_PAD, ROOM as i32);
            let (before, mut size) = (libc::sbrk(0), BLOCK);
            let mut block = libc::malloc(size);
            if libc::sbrk(0) == before {
                libc::free(block);
                size = HUGE;
                block = libc::malloc(size);
            }
            if block.is_null() {
                return;
            }
            // Where the allocator has written behind the block there is a small page already.
            let start = (block as usize + size + 64).next_multiple_of(HUGE);
            let end = (libc::sbrk(0) as usize) / HUGE * HUGE;
            // Only when the block came from the heap, and this is its end.
            if (start..=start + 2 * ROOM).contains(&end) && end > start {
                libc::madvise(start as *mut libc::c_void, end - start, libc::MADV_HUGEPAGE);
            }
            libc::free(block);
        }
    }
}

/// Lets a session of somebody's that takes snapshots again and again keep what one frees for the next, instead of giving
/// it back to the kernel and asking for it again, page by page.
pub(crate) fn keep_freed_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        use std::sync::atomic::{AtomicU8, Ordering};
        static TIMES: AtomicU8 = AtomicU8::new(0);
        // What a snapshot of five thousand statements takes, and as much again.
        const MOST: i32 = 16 << 20;
        // Who takes a single one pays for nothing that stays.
        let times = TIMES.load(Ordering::Relaxed);
        if times < 2 {
            TIMES.store(times + 1, Ordering::Relaxed);
        }
        if times == 1 {
            // SAFETY: settings of the allocator of this process, which runs one thread.
            unsafe {
                libc::mallopt(libc::M_MMAP_THRESHOLD, MOST);
                libc::mallopt(libc::M_TRIM_THRESHOLD, MOST);
            }
        }
    }
}
