//! The hooks in every backend: an observer hears of executions, commands and errors, and nobody else notices.
//!
//! Four rules keep an application's errors what they are, to the last field, and the cost low:
//! 1. A hook is a plain `extern "C-unwind"` function that holds nothing to drop, so that the server may jump over it.
//! 2. Our own work stands in closures that catch panics and end before the next hook in the chain is called.
//! 3. In these closures nothing of the server is called that can raise: fields are read, and functions that only read
//!    variables.
//! 4. What must be allocated is allocated outside of them.
//!
//! Most executions take no closer look: for them the hooks that every statement goes through read and compare, count,
//! and go on to the next hook, in one piece of code without a way back from anything else, since at this rate lines of code
//! that the processor does not have at hand cost more than instructions. That part cannot panic, and stands together;
//! all else stands elsewhere.
//!
//! Each hook calls the next one, or the server's own function, exactly once on every path, watching or not. They
//! are put in place when shared memory is set up: every preloaded library has its hooks by then, whatever the order,
//! and ours come first.

use std::ffi::{c_char, c_int};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};

use pgrx::pg_sys;

use super::execution::{Command, Ended, Execution, is_client, is_outside_of_portals};
use super::hot::{self, Executor};
use super::report::Report;
use super::{level, raw, transaction, unseen};

/// What is done on each occasion. Nothing here may call the server; a panic is caught and told to `panicked`.
pub(crate) trait Observer {
    /// Whether an execution or a command is of interest, nested in another or not.
    fn wants(nested: bool) -> bool;
    /// Whether an execution that begins can be passed over without a closer look; must not panic.
    fn passes(execution: Execution, nested: bool) -> bool;
    /// Whether one that was not is to be looked into: its nodes' rows are counted then.
    fn looks_into(execution: Execution, nested: bool) -> bool;
    /// The same of a statement that a client sent, if that takes no closer look: says whether it was counted. Must not
    /// panic.
    fn counts(execution: Execution) -> bool;
    /// A statement was executed to its end, or its portal was closed, and was not counted by the above.
    fn executed(execution: Execution, nested: bool);
    /// A command ended.
    fn commanded(command: &Ended, nested: bool);
    /// A command that a client sent ended, and was not of interest, or has no id, which is told.
    fn passed_over(nameless: bool);
    /// One that begins or ends transactions, or sets something, ended, watched or not. `ends` says that the client's
    /// transaction is to end now.
    fn controlled(ends: bool);
    /// A client's EXECUTE begins, which is counted as the statement that it executes, or came to its end.
    fn executes(begins: bool);
    /// An error is being logged.
    fn failed(report: &Report);
    /// A client's statement failed, and the server kept the error from the hook; `message` is when the client's
    /// message came, microseconds on the server's epoch.
    fn missed(message: i64);
    /// A client came back to a transaction that is a second old or older, with a message at a time, a second or more after
    /// the one before; microseconds on the server's epoch.
    fn came_back(before: i64, at: i64);
    /// A subtransaction is undone, with everything that was executed in it; how deep it lay.
    fn undone(depth: i32);
    /// The transaction is over, with everything that was executed in it. Says whether something is still to be done
    /// about it: `Some(true)`, and `Some(false)` if nothing was executed to its end. Must not panic.
    fn transaction_ends() -> Option<bool>;
    /// It was: what is to be done then. `text` is given where a statement with that text goes on.
    fn transaction_ended(text: Option<&[u8]>);
    /// One of these functions panicked.
    fn panicked();
}

/// What follows in the chain of the hooks that not every statement goes through; the server's own functions if there
/// is none.
#[derive(Clone, Copy)]
struct Previous {
    utility: pg_sys::ProcessUtility_hook_type,
    log: pg_sys::emit_log_hook_type,
    #[cfg(not(any(feature = "pg15", feature = "pg16")))]
    planner: pg_sys::planner_hook_type,
}

static mut PREVIOUS: Previous = Previous {
    utility: None,
    log: None,
    #[cfg(not(any(feature = "pg15", feature = "pg16")))]
    planner: None,
};

static INSTALLED: AtomicBool = AtomicBool::new(false);

/// Puts the hooks in place, once in the postmaster's life: start-up is repeated after a crash.
pub(crate) fn install<W: Observer>() {
    if INSTALLED.swap(true, Ordering::Relaxed) {
        return;
    }
    // SAFETY: set at start-up by one thread; what was there before is called by ours.
    unsafe {
        PREVIOUS = Previous {
            utility: pg_sys::ProcessUtility_hook,
            log: pg_sys::emit_log_hook,
            #[cfg(not(any(feature = "pg15", feature = "pg16")))]
            planner: pg_sys::planner_hook,
        };
        hot::learn(Executor {
            start: pg_sys::ExecutorStart_hook.unwrap_or(raw::standard_ExecutorStart),
            run: pg_sys::ExecutorRun_hook.unwrap_or(raw::standard_ExecutorRun),
            finish: pg_sys::ExecutorFinish_hook.unwrap_or(raw::standard_ExecutorFinish),
            end: pg_sys::ExecutorEnd_hook.unwrap_or(raw::standard_ExecutorEnd),
        });
        pg_sys::ExecutorStart_hook = Some(start::<W>);
        pg_sys::ExecutorRun_hook = Some(run::<W>);
        pg_sys::ExecutorFinish_hook = Some(finish);
        pg_sys::ExecutorEnd_hook = Some(end::<W>);
        pg_sys::ProcessUtility_hook = Some(utility::<W>);
        pg_sys::emit_log_hook = Some(log::<W>);
        #[cfg(not(any(feature = "pg15", feature = "pg16")))]
        {
            pg_sys::planner_hook = Some(plan::<W>);
        }
    }
    level::follow_subtransactions::<W>();
    transaction::follow::<W>();
}

#[inline]
fn previous() -> Previous {
    // SAFETY: written once, before there were children.
    unsafe { PREVIOUS }
}

/// Does our own work, and keeps what goes wrong in it from the application.
#[inline]
pub(crate) fn quiet<W: Observer, R>(work: impl FnOnce() -> R) -> Option<R> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(result) => Some(result),
        Err(_) => {
            W::panicked();
            None
        }
    }
}

#[allow(ffi_unwind_calls, reason = "plain old frame: an error passes through")]
#[cfg_attr(target_os = "linux", unsafe(link_section = ".text.perfmon"))]
unsafe extern "C-unwind" fn start<W: Observer>(query: *mut pg_sys::QueryDesc, flags: c_int) {
    level::refresh::<W>();
    let level = level::whole();
    // SAFETY: the chain is called with what we were called with; the query is the server's own.
    unsafe {
        if flags & pg_sys::EXEC_FLAG_EXPLAIN_ONLY as c_int == 0
            && !W::passes(Execution::of(query), level::is_nested(level))
        {
            look_closely::<W>(Execution::of(query));
        }
        level::set_starting(level);
        (hot::next().start)(query, flags);
        level::set(level);
        if level != 0 {
            Execution::of(query).began_within();
        }
        if (*query).totaltime.is_null() || !hot::is_in_portal_of_message() {
            started::<W>(query);
        }
    }
}

/// Has the rows of an execution that begins counted, if it is to be looked into.
///
/// # Safety
/// To be called before the executor is started.
#[cold]
#[inline(never)]
unsafe fn look_closely<W: Observer>(execution: Execution) {
    let due = || {
        let nested = level::now() > 0;
        W::wants(nested) && W::looks_into(execution, nested)
    };
    if quiet::<W, bool>(due) == Some(true) {
        // SAFETY: by the caller's word.
        unsafe { execution.count_rows() };
    }
}

/// What is to be done about an execution that was started, and not measured by anybody or not in a portal that a message
/// began. May raise for want of memory.
///
/// # Safety
/// To be called from a plain old frame, when the executor has just been started.
#[cold]
#[inline(never)]
#[allow(ffi_unwind_calls, reason = "plain old frame: an error passes through")]
unsafe fn started<W: Observer>(query: *mut pg_sys::QueryDesc) {
    // SAFETY: by the caller's word.
    unsafe {
        if (*query).totaltime.is_null() {
            measure::<W>(Execution::of(query));
        }
        // No client's statement is at work that this one could belong to: a deferred trigger's.
        if level::whole() == 0 && !hot::is_in_portal_of_message() && is_client() {
            Execution::of(query).began_within();
        }
    }
}

/// Has an execution measured that nobody else measures, if it is of interest. May raise for want of memory.
///
/// # Safety
/// To be called from a plain old frame, when the executor has just been started.
#[inline(never)]
#[allow(ffi_unwind_calls, reason = "plain old frame: an error passes through")]
unsafe fn measure<W: Observer>(execution: Execution) {
    let wanted =
        quiet::<W, bool>(|| execution.query_id() != 0 && W::wants(level::now() > 0)) == Some(true);
    if wanted {
        // SAFETY: by the caller's word; this frame holds nothing to drop.
        unsafe { execution.measure() };
    }
}

#[cfg(not(feature = "pg18"))]
#[allow(ffi_unwind_calls, reason = "plain old frame: an error passes through")]
#[cfg_attr(target_os = "linux", unsafe(link_section = ".text.perfmon"))]
unsafe extern "C-unwind" fn run<W: Observer>(
    query: *mut pg_sys::QueryDesc,
    direction: pg_sys::ScanDirection::Type,
    count: u64,
    once: bool,
) {
    level::refresh::<W>();
    let level = level::whole();
    level::set(level + 1);
    // SAFETY: the chain is called with what we were called with.
    unsafe {
        (hot::next().run)(query, direction, count, once);
        if direction != pg_sys::ScanDirection::NoMovementScanDirection {
            Execution::of(query).ran(count);
        }
    }
    level::set(level);
}

#[cfg(feature = "pg18")]
#[allow(ffi_unwind_calls, reason = "plain old frame: an error passes through")]
#[cfg_attr(target_os = "linux", unsafe(link_section = ".text.perfmon"))]
unsafe extern "C-unwind" fn run<W: Observer>(
    query: *mut pg_sys::QueryDesc,
    direction: pg_sys::ScanDirection::Type,
    count: u64,
) {
    level::refresh::<W>();
    let level = level::whole();
    level::set(level + 1);
    // SAFETY: the chain is called with what we were called with.
    unsafe {
        (hot::next().run)(query, direction, count);
        if direction != pg_sys::ScanDirection::NoMovementScanDirection {
            Execution::of(query).ran(count);
        }
    }
    level::set(level);
}

#[allow(ffi_unwind_calls, reason = "plain old frame: an error passes through")]
#[cfg_attr(target_os = "linux", unsafe(link_section = ".text.perfmon"))]
unsafe extern "C-unwind" fn finish(query: *mut pg_sys::QueryDesc) {
    // What runs here was written by the statement, whose run, in the same message, looked at the level. A portal
    // that only reads may be finished by a later message, but then nothing runs.
    let level = level::whole();
    level::set(level + 1);
    // SAFETY: the chain is called with what we were called with.
    unsafe {
        (hot::next().finish)(query);
    }
    level::set(level);
}

#[allow(ffi_unwind_calls, reason = "plain old frame: an error passes through")]
#[cfg_attr(target_os = "linux", unsafe(link_section = ".text.perfmon"))]
unsafe extern "C-unwind" fn end<W: Observer>(query: *mut pg_sys::QueryDesc) {
    // SAFETY: the query is the server's own; the chain is called with what we were called with.
    unsafe {
        if level::now() == 0 && W::counts(Execution::of(query)) {
            (hot::next().end)(query);
        } else {
            end_closely::<W>(query);
        }
    }
}

/// Ends what takes a closer look.
///
/// # Safety
/// As of the hook.
#[inline(never)]
#[allow(ffi_unwind_calls, reason = "plain old frame: an error passes through")]
unsafe extern "C-unwind" fn end_closely<W: Observer>(query: *mut pg_sys::QueryDesc) {
    // SAFETY: as above.
    unsafe {
        quiet::<W, ()>(|| W::executed(Execution::of(query), level::now() > 0));
        (hot::next().end)(query);
    }
}

#[allow(clippy::too_many_arguments, reason = "the server's signature")]
#[allow(ffi_unwind_calls, reason = "plain old frame: an error passes through")]
unsafe extern "C-unwind" fn utility<W: Observer>(
    statement: *mut pg_sys::PlannedStmt,
    text: *const c_char,
    read_only: bool,
    context: pg_sys::ProcessUtilityContext::Type,
    params: pg_sys::ParamListInfo,
    environment: *mut pg_sys::QueryEnvironment,
    dest: *mut pg_sys::DestReceiver,
    completion: *mut pg_sys::QueryCompletion,
) {
    level::refresh::<W>();
    let (whole, level) = (level::whole(), level::now());
    // The statement may be gone when the command ends. And the chain gets a copy of it, since pg_stat_statements
    // takes the identifier off: of a prepared command it would be gone for every later execution.
    // SAFETY: it is there now; the copy lives as long as the call, and what it points to as before.
    let (command, mut copy) = unsafe { (Command::of(statement), *statement) };
    let statement = &raw mut copy;
    let watched = command.counted && quiet::<W, bool>(|| W::wants(level > 0)) == Some(true);
    let before = if watched { Command::clocks() } else { Command::NO_CLOCKS };
    let is_one = (command.counted || command.unnamed) && !command.control;
    let executes = command.executes && whole == 0;
    if executes {
        quiet::<W, ()>(|| W::executes(true));
    }
    level::set(whole + u64::from(command.contains));
    // SAFETY: the chain is called with what we were called with.
    unsafe {
        match previous().utility {
            Some(previous) => {
                previous(statement, text, read_only, context, params, environment, dest, completion)
            }
            None => raw::standard_ProcessUtility(
                statement,
                text,
                read_only,
                context,
                params,
                environment,
                dest,
                completion,
            ),
        }
    }
    level::set(whole);
    if executes {
        quiet::<W, ()>(|| W::executes(false));
    }
    if watched {
        // SAFETY: the text of a command outlives it.
        let ended = unsafe { command.ended(before, text) };
        quiet::<W, ()>(|| W::commanded(&ended, level > 0));
    } else if is_one && whole == 0 && !is_outside_of_portals() {
        quiet::<W, ()>(|| W::passed_over(command.unnamed));
    }
    if command.control {
        quiet::<W, ()>(|| W::controlled(command.ends && level == 0));
    }
}

/// Functions that the planner evaluates run nested statements. pg_stat_statements sees it so from 17 on, and the
/// counts of the two are to be the same.
#[cfg(not(any(feature = "pg15", feature = "pg16")))]
#[allow(ffi_unwind_calls, reason = "plain old frame: an error passes through")]
unsafe extern "C-unwind" fn plan<W: Observer>(
    query: *mut pg_sys::Query,
    text: *const c_char,
    options: c_int,
    params: pg_sys::ParamListInfo,
) -> *mut pg_sys::PlannedStmt {
    level::refresh::<W>();
    let level = level::whole();
    level::set(level + 1);
    // SAFETY: the chain is called with what we were called with.
    let plan = unsafe {
        match previous().planner {
            Some(previous) => previous(query, text, options, params),
            None => raw::standard_planner(query, text, options, params),
        }
    };
    level::set(level);
    plan
}

#[allow(ffi_unwind_calls, reason = "plain old frame: an error passes through")]
unsafe extern "C-unwind" fn log<W: Observer>(error: *mut pg_sys::ErrorData) {
    // SAFETY: the record is the server's own; the chain is called with what we were called with.
    unsafe {
        if (*error).elevel >= pgrx::PgLogLevel::ERROR as c_int {
            unseen::heard();
            quiet::<W, ()>(|| {
                if let Some(report) = Report::of(error) {
                    W::failed(&report);
                }
            });
        }
        if let Some(previous) = previous().log {
            previous(error);
        }
    }
}
