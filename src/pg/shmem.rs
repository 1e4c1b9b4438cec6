//! One fixed piece of shared memory with one lightweight lock.
//!
//! Lock protocol: everything in the segment is read and written under the segment's lock, for a few
//! field accesses at a time. While it is held nothing may allocate from PostgreSQL, raise, or log.
//! The pointers are plain atomics set at every start-up of shared memory, so that a crash restart
//! finds a zeroed segment and not a stale one.

use std::ffi::CStr;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicPtr, Ordering};

use pgrx::pg_sys;

/// Types that are valid when all their bytes are zero, as fresh shared memory is.
///
/// # Safety
/// The implementer promises just that, and that the type holds no pointer into one process.
pub(crate) unsafe trait Zeroed: Copy {}

/// A named piece of shared memory holding one `T`.
pub(crate) struct Segment<T: Zeroed> {
    name: &'static CStr,
    data: AtomicPtr<T>,
    lock: AtomicPtr<pg_sys::LWLock>,
}

impl<T: Zeroed> Segment<T> {
    pub(crate) const fn new(name: &'static CStr) -> Self {
        Self {
            name,
            data: AtomicPtr::new(std::ptr::null_mut()),
            lock: AtomicPtr::new(std::ptr::null_mut()),
        }
    }

    /// Asks for the memory and the lock; for the server's shmem_request_hook.
    pub(crate) fn request(&self) {
        // SAFETY: called from shmem_request_hook, the time for these two calls; the name is static.
        unsafe {
            pg_sys::RequestAddinShmemSpace(size_of::<T>());
            pg_sys::RequestNamedLWLockTranche(self.name.as_ptr(), 1);
        }
    }

    /// Finds or makes the segment; for the server's shmem_startup_hook. `first` runs on new memory.
    pub(crate) fn startup(&self, first: impl FnOnce(*mut T)) {
        // SAFETY: called from shmem_startup_hook, where AddinShmemInitLock may be taken; the segment
        // has the size that was requested, and its type accepts zeroes.
        unsafe {
            let addin = &raw mut (*pg_sys::MainLWLockArray.add(ADDIN_SHMEM_INIT_LOCK)).lock;
            pg_sys::LWLockAcquire(addin, pg_sys::LWLockMode::LW_EXCLUSIVE);
            let mut found = false;
            let data = pg_sys::ShmemInitStruct(self.name.as_ptr(), size_of::<T>(), &mut found);
            let data = data.cast::<T>();
            if !found {
                std::ptr::write_bytes(data, 0, 1);
                first(data);
            }
            self.data.store(data, Ordering::Release);
            let tranche = pg_sys::GetNamedLWLockTranche(self.name.as_ptr());
            self.lock.store(&raw mut (*tranche).lock, Ordering::Release);
            pg_sys::LWLockRelease(addin);
        }
    }

    /// Whether this process has the segment, which it has when the library was preloaded.
    pub(crate) fn attached(&self) -> bool {
        !self.data.load(Ordering::Acquire).is_null()
    }

    /// Address of the data, for the parts that carry their own protocol (condition variables).
    pub(crate) fn as_ptr(&self) -> *mut T {
        self.data.load(Ordering::Acquire)
    }

    /// Takes the lock, if the segment is there.
    pub(crate) fn lock(&'static self) -> Option<Guard<T>> {
        let data = self.data.load(Ordering::Acquire);
        if data.is_null() {
            return None;
        }
        let lock = self.lock.load(Ordering::Acquire);
        // SAFETY: both pointers were set together from the server's own shared memory.
        unsafe { pg_sys::LWLockAcquire(lock, pg_sys::LWLockMode::LW_EXCLUSIVE) };
        Some(Guard { data, lock, _not_send: PhantomData })
    }
}

/// Position of AddinShmemInitLock in the main array, the same in 15 to 18.
pub(super) const ADDIN_SHMEM_INIT_LOCK: usize = 21;

/// The held lock. Nothing that can raise may run while it lives.
pub(crate) struct Guard<T> {
    data: *mut T,
    lock: *mut pg_sys::LWLock,
    _not_send: PhantomData<*mut T>,
}

impl<T> Deref for Guard<T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: the pointer is valid for the life of the server and the lock is held.
        unsafe { &*self.data }
    }
}

impl<T> DerefMut for Guard<T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: the pointer is valid for the life of the server and the lock is held exclusively.
        unsafe { &mut *self.data }
    }
}

impl<T> Drop for Guard<T> {
    fn drop(&mut self) {
        // SAFETY: this guard took the lock.
        unsafe { pg_sys::LWLockRelease(self.lock) };
    }
}
