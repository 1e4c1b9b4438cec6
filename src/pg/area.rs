//! A piece of shared memory whose size a setting gives, with one lightweight lock, and the chain of hooks by
//! which it is asked for and found.
//!
//! The lock is for workers and readers. What backends do in the memory on their way is the business of those
//! who lay it out, and takes no lock.

use std::ffi::CStr;
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering};

use pgrx::pg_sys;

use super::shmem::ADDIN_SHMEM_INIT_LOCK;

/// A named piece of shared memory.
pub(crate) struct Area {
    name: &'static CStr,
    data: AtomicPtr<u8>,
    lock: AtomicPtr<pg_sys::LWLock>,
}

impl Area {
    pub(crate) const fn new(name: &'static CStr) -> Self {
        Self {
            name,
            data: AtomicPtr::new(std::ptr::null_mut()),
            lock: AtomicPtr::new(std::ptr::null_mut()),
        }
    }

    /// Asks for the memory and the lock; for `request` of [`join`].
    pub(crate) fn request(&self, bytes: usize) {
        // SAFETY: called from shmem_request_hook, the time for these two calls; the name is static.
        unsafe {
            pg_sys::RequestAddinShmemSpace(bytes);
            pg_sys::RequestNamedLWLockTranche(self.name.as_ptr(), 1);
        }
    }

    /// Finds or makes the memory, zeroed when it is new; for `startup` of [`join`].
    pub(crate) fn startup(&self, bytes: usize) -> *mut u8 {
        // SAFETY: called from shmem_startup_hook, where AddinShmemInitLock may be taken; the memory has
        // the size that was requested.
        unsafe {
            let addin = &raw mut (*pg_sys::MainLWLockArray.add(ADDIN_SHMEM_INIT_LOCK)).lock;
            pg_sys::LWLockAcquire(addin, pg_sys::LWLockMode::LW_EXCLUSIVE);
            let mut found = false;
            let data = pg_sys::ShmemInitStruct(self.name.as_ptr(), bytes, &mut found).cast::<u8>();
            if !found {
                std::ptr::write_bytes(data, 0, bytes);
            }
            self.data.store(data, Ordering::Release);
            let tranche = pg_sys::GetNamedLWLockTranche(self.name.as_ptr());
            self.lock.store(&raw mut (*tranche).lock, Ordering::Release);
            pg_sys::LWLockRelease(addin);
            data
        }
    }

    /// Waits for the lock, alone or with other readers; `None` without the memory. Nothing that may raise
    /// can be done while it is held.
    pub(crate) fn lock(&self, alone: bool) -> Option<Held> {
        let lock = self.lock.load(Ordering::Acquire);
        if lock.is_null() {
            return None;
        }
        let mode =
            if alone { pg_sys::LWLockMode::LW_EXCLUSIVE } else { pg_sys::LWLockMode::LW_SHARED };
        // SAFETY: set at start-up of shared memory; this is no hook on the way of an execution.
        unsafe { pg_sys::LWLockAcquire(lock, mode) };
        Some(Held(lock))
    }
}

/// The held lock.
pub(crate) struct Held(*mut pg_sys::LWLock);

impl Drop for Held {
    fn drop(&mut self) {
        // SAFETY: this guard took the lock.
        unsafe { pg_sys::LWLockRelease(self.0) };
    }
}

type Hook = unsafe extern "C-unwind" fn();

static mut PREVIOUS: [Option<Hook>; 2] = [None, None];
static mut OURS: [fn(); 2] = [|| (), || ()];
static JOINED: AtomicBool = AtomicBool::new(false);

/// Joins the chain of shared memory hooks, once: `request` asks for areas, `startup` finds them, at every start
/// of the server and after every crash. Every other preloaded library has set up its hooks by then.
pub(crate) fn join(request: fn(), startup: fn()) {
    if JOINED.swap(true, Ordering::Relaxed) {
        return;
    }
    // SAFETY: hooks are set while libraries are preloaded, by one thread; the previous ones are kept.
    unsafe {
        PREVIOUS = [pg_sys::shmem_request_hook, pg_sys::shmem_startup_hook];
        OURS = [request, startup];
        pg_sys::shmem_request_hook = Some(on_request);
        pg_sys::shmem_startup_hook = Some(on_startup);
    }
}

unsafe extern "C-unwind" fn on_request() {
    chain(0);
}

unsafe extern "C-unwind" fn on_startup() {
    chain(1);
}

#[allow(ffi_unwind_calls, reason = "plain old frame: an error passes through")]
fn chain(which: usize) {
    // SAFETY: set once at preload; hooks are called with no arguments when the server calls ours.
    unsafe {
        if let Some(previous) = PREVIOUS[which] {
            previous();
        }
        OURS[which]();
    }
}
