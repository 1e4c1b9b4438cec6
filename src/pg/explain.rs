//! Prints the plan of an execution that is about to end, in the backend of its user. Printing may raise an error in
//! many ways; none of them may reach the user, and none may leave a trace in the session. See decision 20.

use std::ffi::CStr;
use std::panic::{AssertUnwindSafe, catch_unwind};

use perfmon_core::plan::shape;
use pgrx::pg_sys;

use super::{catalog, raw, shape as walk, share};

/// More than this is not looked at.
const MAX_BYTES: usize = 1 << 20;

/// A plan that was printed.
#[derive(Debug)]
pub(crate) struct Printed {
    /// Its identity, by names.
    pub(crate) plan: i64,
    pub(crate) text: Vec<u8>,
    pub(crate) json: Vec<u8>,
}

/// Why a plan was not printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Not now; the next execution will do.
    Later,
    /// An error came up, or it is too large.
    Failed,
}

/// Whether this is a moment at which the catalog may be read.
fn is_possible() -> bool {
    // SAFETY: variables of this process, and functions that only read some.
    unsafe {
        raw::IsTransactionState()
            && !raw::IsAbortedTransactionBlockState()
            && pg_sys::InterruptHoldoffCount == 0
            && pg_sys::CritSectionCount == 0
            && !pg_sys::CurrentResourceOwner.is_null()
            && !pg_sys::proc_exit_inprogress
    }
}

/// Prints the plan of a query.
///
/// # Safety
/// The query must have been executed and not ended yet; nothing of the server may be held that an error would
/// leave behind but what belongs to the transaction.
pub(super) unsafe fn print(query: *mut pg_sys::QueryDesc) -> Result<Printed, Refusal> {
    if !is_possible() {
        return Err(Refusal::Later);
    }
    // SAFETY: by the caller's word. Whatever happens inside, what was there before is put back.
    unsafe {
        let before = Before::note();
        let mut own = Own { context: std::ptr::null_mut(), owner: std::ptr::null_mut() };
        let result = catch_unwind(AssertUnwindSafe(|| {
            own.make();
            if !nobody_is_in_the_way() {
                return Err(Refusal::Later);
            }
            let json = run(query, pg_sys::ExplainFormat::EXPLAIN_FORMAT_JSON);
            let text = run(query, pg_sys::ExplainFormat::EXPLAIN_FORMAT_TEXT);
            let plan = walk::identity(query, &mut |table| name(table));
            match (plan, text, json) {
                (Some(plan), Some(text), Some(json)) => Ok(Printed { plan, text, json }),
                _ => Err(Refusal::Failed),
            }
        }));
        before.put_back(result.is_err());
        let freed = catch_unwind(AssertUnwindSafe(|| own.free()));
        before.put_back(freed.is_err());
        result.unwrap_or(Err(Refusal::Failed))
    }
}

/// What an error changes in a process beyond what belongs to the transaction.
struct Before {
    context: pg_sys::MemoryContext,
    owner: pg_sys::ResourceOwner,
    callbacks: *mut pg_sys::ErrorContextCallback,
    interrupts: [u32; 2],
}

impl Before {
    /// # Safety
    /// In a transaction.
    unsafe fn note() -> Self {
        // SAFETY: variables of this process. Interrupts stay pending meanwhile: a cancellation is not to be taken for
        // an error of printing. Callbacks would add their context to errors that nobody sees.
        unsafe {
            let before = Self {
                context: pg_sys::CurrentMemoryContext,
                owner: pg_sys::CurrentResourceOwner,
                callbacks: pg_sys::error_context_stack,
                interrupts: [pg_sys::InterruptHoldoffCount, pg_sys::QueryCancelHoldoffCount],
            };
            pg_sys::InterruptHoldoffCount += 1;
            pg_sys::error_context_stack = std::ptr::null_mut();
            before
        }
    }

    /// Puts it back. After an error, gives back what the end of a failed subtransaction would.
    ///
    /// # Safety
    /// What was noted must still be there.
    #[cfg_attr(feature = "pg18", allow(ffi_unwind_calls, reason = "it raises no error"))]
    unsafe fn put_back(&self, failed: bool) {
        // SAFETY: by the caller's word; the functions do nothing where nothing is held, and raise no error.
        unsafe {
            if failed {
                pg_sys::InterruptHoldoffCount = self.interrupts[0] + 1;
                pg_sys::LWLockReleaseAll();
                *pg_sys::my_wait_event_info = 0;
                #[cfg(feature = "pg18")]
                raw::pgaio_error_cleanup();
                pg_sys::UnlockBuffers();
                pg_sys::XLogResetInsertion();
                pg_sys::ConditionVariableCancelSleep();
                pg_sys::LockErrorCleanup();
            }
            pg_sys::CurrentMemoryContext = self.context;
            pg_sys::CurrentResourceOwner = self.owner;
            pg_sys::error_context_stack = self.callbacks;
            [pg_sys::InterruptHoldoffCount, pg_sys::QueryCancelHoldoffCount] = self.interrupts;
        }
    }
}

/// What printing allocates and opens.
struct Own {
    context: pg_sys::MemoryContext,
    owner: pg_sys::ResourceOwner,
}

impl Own {
    /// # Safety
    /// In a transaction; may raise.
    unsafe fn make(&mut self) {
        // SAFETY: by the caller's word; both live until `free`.
        unsafe {
            self.context = pg_sys::AllocSetContextCreateInternal(
                pg_sys::CurrentMemoryContext,
                c"pg_perfmon plan".as_ptr(),
                pg_sys::ALLOCSET_DEFAULT_MINSIZE as usize,
                pg_sys::ALLOCSET_DEFAULT_INITSIZE as usize,
                pg_sys::ALLOCSET_DEFAULT_MAXSIZE as usize,
            );
            let parent = pg_sys::CurrentResourceOwner;
            self.owner = pg_sys::ResourceOwnerCreate(parent, c"pg_perfmon plan".as_ptr());
            pg_sys::CurrentMemoryContext = self.context;
            pg_sys::CurrentResourceOwner = self.owner;
        }
    }

    /// Gives back everything, as after a failure: what printing left open is nobody's business, and gets no
    /// warning.
    ///
    /// # Safety
    /// Neither may be in use any more.
    unsafe fn free(&mut self) {
        use pg_sys::ResourceReleasePhase as Phase;
        // SAFETY: by the caller's word.
        unsafe {
            if !self.owner.is_null() {
                let phases = [
                    Phase::RESOURCE_RELEASE_BEFORE_LOCKS,
                    Phase::RESOURCE_RELEASE_LOCKS,
                    Phase::RESOURCE_RELEASE_AFTER_LOCKS,
                ];
                for phase in phases {
                    pg_sys::ResourceOwnerRelease(self.owner, phase, false, false);
                }
                pg_sys::ResourceOwnerDelete(self.owner);
            }
            if !self.context.is_null() {
                pg_sys::MemoryContextDelete(self.context);
            }
        }
    }
}

/// Catalogs that are read for printing expressions, and the indexes by which their caches read them. While each is
/// locked in the way of readers, nothing has to be waited for: who rewrites one of them, by VACUUM FULL or REINDEX, is
/// in the way of all other sessions too, but not of one that has finished its statement.
const CATALOGS: [u32; 9] = [1247, 1249, 1255, 1259, 2610, 2615, 2616, 2617, 3456];
const INDEXES: [u32; 18] = [
    2658, 2659, // pg_attribute
    2662, 2663, // pg_class
    2678, 2679, // pg_index
    2684, 2685, // pg_namespace
    2686, 2687, // pg_opclass
    2688, 2689, // pg_operator
    2690, 2691, // pg_proc
    2703, 2704, // pg_type
    3085, 3164, // pg_collation
];

/// Locks them, as far as that can be done at once.
fn nobody_is_in_the_way() -> bool {
    share::try_lock(&CATALOGS).len() == CATALOGS.len()
        && share::try_lock(&INDEXES).len() == INDEXES.len()
}

/// One form of the plan as EXPLAIN prints it; `None` if it is too long.
///
/// # Safety
/// As for `print`; may raise.
unsafe fn run(
    query: *mut pg_sys::QueryDesc,
    format: pg_sys::ExplainFormat::Type,
) -> Option<Vec<u8>> {
    let group = c"Query".as_ptr();
    // SAFETY: by the caller's word; all of it is allocated in the context of `Own`.
    unsafe {
        let explain = pg_sys::NewExplainState();
        (*explain).format = format;
        pg_sys::ExplainBeginOutput(explain);
        pg_sys::ExplainOpenGroup(group, std::ptr::null(), true, explain);
        pg_sys::ExplainPrintPlan(explain, query);
        pg_sys::ExplainPrintJITSummary(explain, query);
        pg_sys::ExplainCloseGroup(group, std::ptr::null(), true, explain);
        pg_sys::ExplainEndOutput(explain);
        let out = &*(*explain).str_;
        if usize::try_from(out.len).ok()? > MAX_BYTES {
            return None;
        }
        let bytes = CStr::from_ptr(out.data).to_bytes();
        Some(bytes.trim_ascii_end().to_vec())
    }
}

/// A word for a table that means the same in another session, and in another copy of the database. May raise.
fn name(table: pg_sys::Oid) -> u64 {
    let name = catalog::relation_name(table).unwrap_or_default();
    let temporary = name.strip_prefix("pg_temp_").and_then(|rest| rest.split_once('.'));
    shape::word(temporary.map_or(name.as_str(), |(_, name)| name).as_bytes())
}
