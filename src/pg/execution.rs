//! What the hooks see of executions, commands and errors, read field by field. Nothing here can raise but
//! `measure`, which allocates.

use std::ffi::CStr;

use pgrx::pg_sys;

use super::raw;

/// A statement in the executor.
#[derive(Clone, Copy)]
pub(crate) struct Execution(*mut pg_sys::QueryDesc);

impl Execution {
    /// # Safety
    /// The query must be one that the executor was started for, and must outlive this value.
    #[inline]
    pub(super) unsafe fn of(query: *mut pg_sys::QueryDesc) -> Self {
        Self(query)
    }

    /// Identifier of the statement; 0 for none.
    #[inline]
    pub(crate) fn query_id(self) -> u64 {
        // SAFETY: a query in the executor has a plan.
        unsafe { id_of((*self.0).plannedstmt) }
    }

    /// Time in the executor, and whether blocks were read from outside the server's cache; `None` if
    /// nobody measured it.
    #[inline]
    pub(crate) fn measured(self) -> Option<(u64, bool)> {
        // SAFETY: the measure lives as long as the query.
        let total = unsafe { (*self.0).totaltime.as_ref() }?;
        let usage = &total.bufusage;
        Some((nanoseconds(total), usage.shared_blks_read | usage.local_blks_read != 0))
    }

    /// Whether the plan was only to be shown.
    pub(crate) fn only_explained(self) -> bool {
        // SAFETY: a query in the executor has a state until it ends.
        unsafe { (*self.0).estate.as_ref() }
            .is_some_and(|state| state.es_top_eflags & pg_sys::EXEC_FLAG_EXPLAIN_ONLY as i32 != 0)
    }

    /// Has the executor measure the query, everything of it, as the others in the chain that look at the
    /// same measure may need. May raise for want of memory.
    ///
    /// # Safety
    /// To be called from a plain old frame, when the executor has just been started.
    #[allow(ffi_unwind_calls, reason = "plain old frame: an error passes through")]
    pub(super) unsafe fn measure(self) {
        // SAFETY: by the caller's word; the measure is allocated where the query's state is.
        unsafe {
            let before = pg_sys::CurrentMemoryContext;
            pg_sys::CurrentMemoryContext = (*(*self.0).estate).es_query_cxt;
            let all = pg_sys::InstrumentOption::INSTRUMENT_ALL as i32;
            (*self.0).totaltime = raw::InstrAlloc(1, all, false);
            pg_sys::CurrentMemoryContext = before;
        }
    }
}

/// # Safety
/// The plan must be valid.
#[inline]
unsafe fn id_of(plan: *mut pg_sys::PlannedStmt) -> u64 {
    // SAFETY: by the caller's word.
    let id = unsafe { (*plan).queryId };
    #[cfg(feature = "pg18")]
    let id = id as u64;
    id
}

/// What was measured so far: rounds that were added up already (another hook may have done so), and the rest.
#[inline]
fn nanoseconds(total: &pg_sys::Instrumentation) -> u64 {
    #[cfg(feature = "pg15")]
    let rest = total.counter.tv_sec * 1_000_000_000 + total.counter.tv_nsec;
    #[cfg(not(feature = "pg15"))]
    let rest = total.counter.ticks;
    let rest = rest as u64;
    if total.total == 0.0 { rest } else { rest.saturating_add((total.total * 1e9) as u64) }
}

/// A command that the executor does not run.
#[derive(Clone, Copy)]
pub(super) struct Command {
    pub(super) query_id: u64,
    /// It is counted itself. EXECUTE is counted as the statement it executes.
    pub(super) counted: bool,
    /// What runs within it is nested.
    pub(super) contains: bool,
}

impl Command {
    pub(super) const NO_CLOCKS: (u64, i64) = (0, 0);

    /// # Safety
    /// The statement must be that of a command about to run.
    pub(super) unsafe fn of(statement: *mut pg_sys::PlannedStmt) -> Self {
        // SAFETY: by the caller's word it has a parse tree.
        let (query_id, tag) = unsafe { (id_of(statement), (*(*statement).utilityStmt).type_) };
        let prepared =
            matches!(tag, pg_sys::NodeTag::T_ExecuteStmt | pg_sys::NodeTag::T_PrepareStmt);
        // pg_stat_statements counts DEALLOCATE from 17 on.
        let uncounted = cfg!(any(feature = "pg15", feature = "pg16"))
            && tag == pg_sys::NodeTag::T_DeallocateStmt;
        Self { query_id, counted: query_id != 0 && !prepared && !uncounted, contains: !prepared }
    }

    /// Time and blocks read so far.
    pub(super) fn clocks() -> (u64, i64) {
        let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: fills the struct that it is given; the counters are this process's own.
        unsafe {
            libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut time);
            let usage = &raw const pg_sys::pgBufferUsage;
            let read = (*usage).shared_blks_read + (*usage).local_blks_read;
            (time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64, read)
        }
    }

    /// Time since then, and whether blocks were read.
    pub(super) fn since(before: (u64, i64)) -> (u64, bool) {
        let (time, read) = Self::clocks();
        (time.saturating_sub(before.0), read != before.1)
    }
}

/// The user whose rights a statement has.
#[inline]
pub(crate) fn user() -> u32 {
    // SAFETY: reads a variable.
    unsafe { raw::GetUserId() }.to_u32()
}

/// The database of this process; 0 before there is one.
#[inline]
pub(crate) fn database() -> u32 {
    // SAFETY: a variable of this process.
    unsafe { pg_sys::MyDatabaseId }.to_u32()
}

/// Whether this process helps another with its statement, who counts it.
#[inline]
pub(crate) fn is_parallel_worker() -> bool {
    // SAFETY: a variable of this process.
    unsafe { pg_sys::ParallelWorkerNumber >= 0 }
}

/// Whether this process stands in the list of sessions: until then its place there tells of the one before it.
///
/// # Safety
/// After the process got a place among the sessions, or none.
unsafe fn is_known() -> bool {
    // SAFETY: the place is in shared memory, and written by its own process.
    unsafe { !pg_sys::MyBEEntry.is_null() && (*pg_sys::MyBEEntry).st_procpid == pg_sys::MyProcPid }
}

/// An error of a client's session on its way to the log.
pub(crate) struct Report<'a> {
    /// SQLSTATE as the server packs it.
    pub(crate) state: u32,
    /// The untranslated message, without its values.
    pub(crate) message: &'a [u8],
    /// The statement that the client had sent, 0 if none or unknown, and whether one was running.
    pub(crate) query_id: u64,
    pub(crate) in_statement: bool,
    pub(crate) database: u32,
    /// The user of the session, or the role it had set; that of no function.
    pub(crate) user: u32,
    /// Now, and since when the client's message is being worked on, microseconds on the server's epoch; the
    /// second is 0 before the first.
    pub(crate) now: i64,
    pub(crate) since: i64,
}

impl Report<'_> {
    /// `None` for processes without a client.
    ///
    /// # Safety
    /// The record must be one being logged. It need not be after this process has a PGPROC.
    pub(super) unsafe fn of(error: *mut pg_sys::ErrorData) -> Option<Self> {
        // SAFETY: fields and variables of this process are read, by functions that do only that; all of
        // them are valid from the start of the process.
        unsafe {
            if pg_sys::MyBackendType != pg_sys::BackendType::B_BACKEND {
                return None;
            }
            let message = (*error).message_id;
            let message = if message.is_null() { c"" } else { CStr::from_ptr(message) };
            Some(Self {
                state: (*error).sqlerrcode as u32,
                message: message.to_bytes(),
                query_id: if is_known() { raw::pgstat_get_my_query_id() } else { 0 },
                in_statement: !pg_sys::debug_query_string.is_null(),
                database: database(),
                user: raw::GetOuterUserId().to_u32(),
                now: raw::GetCurrentTimestamp(),
                since: raw::GetCurrentStatementStartTimestamp(),
            })
        }
    }
}
