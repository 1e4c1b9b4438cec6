//! How a process of ours ends: the error it said last, for whom it leaves behind. What it catches is not said, so that what a
//! worker of ours logs as an error is what ends it.

use std::ffi::c_int;
use std::panic::{AssertUnwindSafe, catch_unwind};

use pgrx::pg_sys;

use super::execution::text_of;
use super::txn::{Caught, sqlstate};

/// Is handed what was given to [`follow`], and the error that ends the process, where one was logged. Must not raise.
pub(crate) type Ended = fn(u32, Option<Caught>);

/// Bytes of a message that are kept.
const LONGEST: usize = 160;

/// An error, kept without a piece of memory of its own: the server jumps over whoever logged it.
struct Said {
    state: c_int,
    bytes: [u8; LONGEST],
    length: usize,
}

static mut SAID: Said = Said { state: 0, bytes: [0; LONGEST], length: 0 };
static mut PREVIOUS: pg_sys::emit_log_hook_type = None;
static mut ENDED: Option<Ended> = None;

/// Has `ended` called when this process ends, however it does but for a crash, after its transaction was rolled back. To be
/// called once, before the process connects.
pub(crate) fn follow(argument: u32, ended: Ended) {
    // SAFETY: variables of this process, which has one thread; the hook that was there is called by ours. What is told at
    // the end lies in no memory of the process's that could be gone by then.
    unsafe {
        PREVIOUS = pg_sys::emit_log_hook;
        ENDED = Some(ended);
        pg_sys::emit_log_hook = Some(listen);
        pg_sys::before_shmem_exit(Some(at_end), pg_sys::Datum::from(argument));
    }
}

#[allow(ffi_unwind_calls, reason = "plain old frame: an error passes through")]
unsafe extern "C-unwind" fn listen(error: *mut pg_sys::ErrorData) {
    // SAFETY: the record is the server's own; the chain is called with what we were called with.
    unsafe {
        if (*error).elevel >= pgrx::PgLogLevel::ERROR as c_int {
            let text = text_of((*error).message);
            let said = &raw mut SAID;
            (*said).state = (*error).sqlerrcode;
            (*said).length = text.len().min(LONGEST);
            let kept = (&raw mut (*said).bytes).cast::<u8>();
            std::ptr::copy_nonoverlapping(text.as_ptr(), kept, (*said).length);
        }
        if let Some(previous) = PREVIOUS {
            previous(error);
        }
    }
}

unsafe extern "C-unwind" fn at_end(_code: c_int, argument: pg_sys::Datum) {
    let told = || {
        // SAFETY: variables of this process, which has one thread, and nobody writes them any more.
        let (ended, said) = unsafe { (ENDED, (&raw const SAID).read()) };
        let error = (said.state != 0).then(|| Caught {
            sqlstate: sqlstate(said.state),
            message: String::from_utf8_lossy(&said.bytes[..said.length]).into_owned(),
            hint: None,
        });
        if let Some(ended) = ended {
            ended(argument.value() as u32, error);
        }
    };
    // There is nobody left to tell of a panic.
    let _ = catch_unwind(AssertUnwindSafe(told));
}
