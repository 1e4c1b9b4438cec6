//! What the hooks see of executions and commands, read field by field. Nothing here can raise but
//! `measure`, which allocates.

use std::ffi::CStr;

use perfmon_core::capture::scan::Code;
use pgrx::pg_sys;

use super::explain::{self, Printed, Refusal};
use super::planned::{self, Done};
use super::{hot, level, portals, raw, shape};

/// Among the options of an execution's counters: that it is looked into. The server knows no such option, and the
/// sum of all that it knows leaves it out.
const LOOKED_INTO: i32 = i32::MIN;

/// Beside it: that the last run gave as many rows as were asked for, so that more may have been left.
const LEFT_EARLY: i32 = 1 << 30;

/// That it began within another, or for no statement of a client. Only of one that was started, as the executor counts
/// something where it finds an option.
const BEGAN_WITHIN: i32 = 1 << 29;

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

    /// The same of what was measured in one go. Cannot panic.
    #[inline]
    pub(crate) fn measured_simply(self) -> Option<(u64, bool)> {
        // SAFETY: as above.
        let total = unsafe { (*self.0).totaltime.as_ref() }?;
        let usage = &total.bufusage;
        let read = usage.shared_blks_read | usage.local_blks_read != 0;
        (total.total.to_bits() == 0).then(|| (last_round(total), read))
    }

    /// Whether the text of the client's whole message is known to hold no comment at its start or its end, from a look
    /// at a few of its bytes.
    #[inline]
    pub(crate) fn is_without_comment(self) -> bool {
        // SAFETY: the text lives as long as the query, which outlives what hooks do with it; a statement's place
        // and length are those in its text, or negative and zero where they are not known.
        unsafe {
            let (text, plan) = ((*self.0).sourceText, (*self.0).plannedstmt);
            let (at, length) = ((*plan).stmt_location, (*plan).stmt_len);
            if text.is_null() || length <= 1 || at < 0 {
                return false;
            }
            // Where the statement ends is known if a semicolon follows it: then nobody has to count the bytes.
            let end = text.offset(at as isize + length as isize);
            let last = *end.sub(1) as u8;
            // Most begin with a letter, which is beyond a slash and all blanks.
            (*text as u8 > b'/' || !begins_with_slash(text))
                && *end as u8 == b';'
                && *end.add(1) == 0
                && last != b'/'
                && last > b' '
        }
    }

    /// The text of the client's whole message; `None` if it is known to hold no comment at its start or its end.
    pub(crate) fn text_with_comment<'a>(self) -> Option<&'a [u8]> {
        if self.is_without_comment() {
            return None;
        }
        // SAFETY: the text lives as long as the query, which outlives what hooks do with it.
        let text = unsafe { text_of((*self.0).sourceText) };
        let commented = text.trim_ascii_start().first() == Some(&b'/')
            || text
                .last()
                .is_some_and(|last| matches!(last, b'/' | b';') || last.is_ascii_whitespace());
        commented.then_some(text)
    }

    /// Whether it is a SELECT.
    #[inline]
    pub(crate) fn is_select(self) -> bool {
        // SAFETY: a field is read.
        unsafe { (*self.0).operation == pg_sys::CmdType::CMD_SELECT }
    }

    /// Whether it is the query of a portal that has a name, as EXECUTE gives each of its own: what functions run lies deeper.
    #[cold]
    pub(crate) fn is_of_named_portal(self) -> bool {
        // SAFETY: by what this value is.
        unsafe { portals::is_named(self.0) }
    }

    /// Remembers that it began within another, or for no client's statement, as in a deferred trigger. What a function left
    /// half read ends when nothing is at work any more that it was nested in, while the client's statement is cleared away or
    /// the transaction ends; so do cursors, as at COMMIT.
    ///
    /// # Safety
    /// To be called when the executor has just been started.
    #[inline]
    pub(super) unsafe fn began_within(self) {
        // SAFETY: by the caller's word the query is there.
        unsafe { (*self.0).instrument_options |= BEGAN_WITHIN };
    }

    /// Whether it is known to have begun within another, or on its own.
    #[inline]
    pub(crate) fn has_begun_within(self) -> bool {
        // SAFETY: a field is read.
        unsafe { (*self.0).instrument_options & BEGAN_WITHIN != 0 }
    }

    /// Whether it neither is looked into nor began within another.
    #[inline]
    pub(crate) fn is_plain(self) -> bool {
        // SAFETY: as above.
        unsafe { (*self.0).instrument_options & (LOOKED_INTO | BEGAN_WITHIN) == 0 }
    }

    /// Whether the plan was only to be shown.
    pub(crate) fn only_explained(self) -> bool {
        // SAFETY: a query in the executor has a state until it ends.
        unsafe { (*self.0).estate.as_ref() }
            .is_some_and(|state| state.es_top_eflags & pg_sys::EXEC_FLAG_EXPLAIN_ONLY as i32 != 0)
    }

    /// What tells its plan from others of the same statement, in this database as it is; `None` if the plan is too
    /// large to look at, or if nothing was left of it to execute.
    pub(crate) fn fingerprint(self) -> Option<u64> {
        // SAFETY: a query that was executed and not ended.
        let plan = unsafe { shape::identity(self.0, &mut |table| u64::from(table.to_u32())) };
        plan.map(i64::unsigned_abs)
    }

    /// Prints its plan. No error gets out.
    pub(crate) fn print(self) -> Result<Printed, Refusal> {
        // SAFETY: a query that was executed and not ended; at its end no lock of memory is held.
        unsafe { explain::print(self.0) }
    }

    /// Has the executor count the rows of each node, and remembers that.
    ///
    /// # Safety
    /// To be called before the executor is started.
    #[inline]
    pub(super) unsafe fn count_rows(self) {
        let rows = pg_sys::InstrumentOption::INSTRUMENT_ROWS as i32;
        // SAFETY: by the caller's word the query is there.
        unsafe { (*self.0).instrument_options |= rows | LOOKED_INTO };
    }

    /// Remembers whether a run of an execution that is looked into may have left rows, having been asked for so many;
    /// 0 for all.
    ///
    /// # Safety
    /// To be called when the run is over.
    #[inline]
    pub(super) unsafe fn ran(self, wanted: u64) {
        // SAFETY: by the caller's word the query is there, and so is its state until it ends.
        unsafe {
            if (*self.0).instrument_options & LOOKED_INTO == 0 {
                return;
            }
            let given = (*self.0).estate.as_ref().map_or(0, |state| state.es_processed);
            match wanted != 0 && given >= wanted {
                true => (*self.0).instrument_options |= LEFT_EARLY,
                false => (*self.0).instrument_options &= !LEFT_EARLY,
            }
        }
    }

    /// Whether the rows of each node were counted for us.
    #[inline]
    pub(crate) fn is_looked_into(self) -> bool {
        // SAFETY: a field is read.
        unsafe { (*self.0).instrument_options & LOOKED_INTO != 0 }
    }

    /// Hands each node of its plan that tells something to `each`, with what writes its conditions. Only of one that
    /// is looked into, when it ended.
    pub(crate) fn nodes(self, each: impl FnMut(&Done, &mut dyn FnMut(&mut Code))) {
        // SAFETY: the executor holds the nodes until after the hook.
        unsafe {
            let left_early = (*self.0).instrument_options & LEFT_EARLY != 0;
            planned::walk(self.0, left_early, each);
        }
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
    let rest = last_round(total);
    // Most often there were none, which its bits say at once.
    if total.total.to_bits() == 0 { rest } else { with_rounds(total, rest) }
}

#[inline]
fn last_round(total: &pg_sys::Instrumentation) -> u64 {
    #[cfg(feature = "pg15")]
    let ns = total.counter.tv_sec.wrapping_mul(1_000_000_000).wrapping_add(total.counter.tv_nsec);
    #[cfg(not(feature = "pg15"))]
    let ns = total.counter.ticks;
    ns as u64
}

#[cold]
#[inline(never)]
fn with_rounds(total: &pg_sys::Instrumentation, rest: u64) -> u64 {
    rest.saturating_add((total.total * 1e9) as u64)
}

/// Whether a slash is the first that is no blank. Inlined into what most statements go through, which calls nothing.
///
/// # Safety
/// A C string.
#[inline(always)]
unsafe fn begins_with_slash(mut text: *const std::ffi::c_char) -> bool {
    // SAFETY: by the caller's word; its end is no blank.
    unsafe {
        while (*text as u8).is_ascii_whitespace() {
            text = text.add(1);
        }
        *text as u8 == b'/'
    }
}

/// # Safety
/// A C string that lives long enough, or null.
#[inline]
pub(super) unsafe fn text_of<'a>(text: *const std::ffi::c_char) -> &'a [u8] {
    // SAFETY: by the caller's word.
    if text.is_null() { &[] } else { unsafe { CStr::from_ptr(text) }.to_bytes() }
}

/// A command that ended.
pub(crate) struct Ended<'a> {
    pub(crate) query_id: u64,
    /// How long it took, and whether blocks were read for it.
    pub(crate) ns: u64,
    pub(crate) read: bool,
    /// It only begins or ends transactions or sets something for the session.
    pub(crate) control: bool,
    /// The text of the client's whole message.
    pub(crate) text: &'a [u8],
}

/// A command that the executor does not run.
#[derive(Clone, Copy)]
pub(super) struct Command {
    pub(super) query_id: u64,
    /// It is counted itself. EXECUTE is counted as the statement it executes.
    pub(super) counted: bool,
    /// The same without an id, as it was prepared or sent while statements got none.
    pub(super) unnamed: bool,
    /// What runs within it is nested.
    pub(super) contains: bool,
    /// It is EXECUTE.
    pub(super) executes: bool,
    /// See [`Ended`].
    pub(super) control: bool,
    /// With it a client's transaction ends.
    pub(super) ends: bool,
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
        let control = matches!(
            tag,
            pg_sys::NodeTag::T_TransactionStmt
                | pg_sys::NodeTag::T_VariableSetStmt
                | pg_sys::NodeTag::T_DiscardStmt
        );
        // SAFETY: as above.
        let ends = tag == pg_sys::NodeTag::T_TransactionStmt
            && unsafe { ends_transaction((*statement).utilityStmt.cast()) };
        let is_one = !prepared && !uncounted;
        let executes = tag == pg_sys::NodeTag::T_ExecuteStmt;
        let (counted, unnamed) = (is_one && query_id != 0, is_one && query_id == 0);
        Self { query_id, counted, unnamed, contains: !prepared, executes, control, ends }
    }

    /// What it was, now that it is over.
    ///
    /// # Safety
    /// The text is the one that the command was called with.
    pub(super) unsafe fn ended<'a>(
        self,
        before: (u64, i64),
        text: *const std::ffi::c_char,
    ) -> Ended<'a> {
        let (ns, read) = Self::since(before);
        // SAFETY: by the caller's word.
        let text = unsafe { text_of(text) };
        Ended { query_id: self.query_id, ns, read, control: self.control, text }
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

/// Whether the transaction is to end when this command is over, which only asks for it.
///
/// # Safety
/// The command must be there.
unsafe fn ends_transaction(command: *const pg_sys::TransactionStmt) -> bool {
    use pg_sys::TransactionStmtKind::{TRANS_STMT_COMMIT, TRANS_STMT_PREPARE, TRANS_STMT_ROLLBACK};
    // SAFETY: by the caller's word.
    let kind = unsafe { (*command).kind };
    matches!(kind, TRANS_STMT_COMMIT | TRANS_STMT_PREPARE | TRANS_STMT_ROLLBACK)
}

/// The user whose rights a statement has.
#[inline]
pub(crate) fn user() -> u32 {
    hot::user().to_u32()
}

/// The database of this process; 0 before there is one.
#[inline]
pub(crate) fn database() -> u32 {
    // SAFETY: a variable of this process.
    unsafe { pg_sys::MyDatabaseId }.to_u32()
}

/// The name of the application, as a place in memory that changes with it.
#[inline]
pub(crate) fn application() -> *const std::ffi::c_char {
    hot::application()
}

/// The name there, at most as long as the server allows.
///
/// # Safety
/// The place is one that [`application`] just gave.
pub(crate) unsafe fn application_at<'a>(place: *const std::ffi::c_char) -> &'a [u8] {
    // SAFETY: a C string of the server's, or null.
    let name = unsafe { text_of(place) };
    &name[..name.len().min(pg_sys::NAMEDATALEN as usize - 1)]
}

/// The user of the session, or the role that it set; that of no function.
pub(crate) fn outer_user() -> u32 {
    // SAFETY: the server's function only reads a variable.
    unsafe { raw::GetOuterUserId() }.to_u32()
}

/// Now, on the server's epoch.
pub(crate) fn now_us() -> i64 {
    // SAFETY: reads the clock.
    unsafe { raw::GetCurrentTimestamp() }
}

/// When the client's message came that is being worked on, microseconds on the server's epoch.
#[inline]
pub(crate) fn message_at() -> i64 {
    level::message_at()
}

/// Number of this process.
pub(crate) fn process() -> u32 {
    // SAFETY: a variable of this process.
    unsafe { pg_sys::MyProcPid.unsigned_abs() }
}

/// Whether a client's session does something that no statement of the client's asked for: these run in portals, from
/// their start to their end, though not always while they are cleared away.
#[inline]
pub(crate) fn is_outside_of_portals() -> bool {
    // SAFETY: variables of this process.
    unsafe {
        pg_sys::ActivePortal.is_null() && pg_sys::MyBackendType == pg_sys::BackendType::B_BACKEND
    }
}

/// Whether an execution is being started, for which the server may evaluate functions.
pub(crate) fn is_starting() -> bool {
    level::is_starting()
}

/// Whether this process works for a client.
pub(crate) fn is_client() -> bool {
    // SAFETY: a variable of this process.
    unsafe { pg_sys::MyBackendType == pg_sys::BackendType::B_BACKEND }
}

/// Whether a block of several statements is open, which are one transaction.
pub(crate) fn is_in_block() -> bool {
    // SAFETY: the server's function only reads a variable.
    unsafe { raw::IsTransactionBlock() }
}

/// Whether a transaction is at work that has not failed yet.
pub(crate) fn is_in_transaction() -> bool {
    // SAFETY: the server's function only reads a variable.
    unsafe { raw::IsTransactionState() }
}

/// How deep subtransactions are nested; 1 outside of any.
pub(crate) fn depth() -> i32 {
    // SAFETY: the server's function only reads a variable.
    unsafe { raw::GetCurrentTransactionNestLevel() }
}

/// The text of the client's message; empty outside of one.
pub(crate) fn message_text<'a>() -> &'a [u8] {
    // SAFETY: a C string of the server's that lives as long as the message is worked on, or null.
    unsafe { text_of(pg_sys::debug_query_string) }
}

/// Whether this process helps another with its statement, who counts it.
#[inline]
pub(crate) fn is_parallel_worker() -> bool {
    // SAFETY: a variable of this process.
    unsafe { pg_sys::ParallelWorkerNumber >= 0 }
}
