//! Transactions and subtransactions that always end: an error inside is caught, rolled back, and
//! handed to the caller as a value.

use std::panic::AssertUnwindSafe;

use pgrx::pg_sys::panic::CaughtError;
use pgrx::prelude::*;
use pgrx::{PgMemoryContexts, pg_sys};

/// An error that the server raised, caught.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Caught {
    pub(crate) sqlstate: String,
    pub(crate) message: String,
    pub(crate) hint: Option<String>,
}

impl Caught {
    /// Whether somebody asked this process to stop what it does (57014, 57P01), or a limit did.
    pub(crate) fn is_cancel(&self) -> bool {
        self.sqlstate.starts_with("57")
    }

    /// Whether somebody asked this process to end (57P01).
    pub(crate) fn is_terminated(&self) -> bool {
        self.sqlstate == "57P01"
    }

    /// Whether somebody held what was to be locked for too long (55P03), or for ever (40P01).
    pub(crate) fn is_lock_refused(&self) -> bool {
        ["55P03", "40P01"].contains(&self.sqlstate.as_str())
    }

    /// Raises it again, in the transaction around.
    pub(crate) fn rethrow(self) -> ! {
        let code = match self.sqlstate.as_str() {
            "57P01" => PgSqlErrorCode::ERRCODE_ADMIN_SHUTDOWN,
            _ => PgSqlErrorCode::ERRCODE_QUERY_CANCELED,
        };
        pg_sys::panic::ErrorReport::new(code, self.message, "pg_perfmon").report(PgLogLevel::ERROR);
        unreachable!()
    }
}

impl std::fmt::Display for Caught {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} (SQLSTATE {})", self.message, self.sqlstate)
    }
}

impl From<CaughtError> for Caught {
    fn from(error: CaughtError) -> Self {
        let report = match &error {
            CaughtError::PostgresError(report)
            | CaughtError::ErrorReport(report)
            | CaughtError::RustPanic { ereport: report, .. } => report,
        };
        Self {
            sqlstate: sqlstate(report.sql_error_code() as i32),
            message: report.message().to_owned(),
            hint: report.hint().map(str::to_owned),
        }
    }
}

/// The five characters of a packed error code.
pub(super) fn sqlstate(mut code: i32) -> String {
    let mut text = String::with_capacity(5);
    for _ in 0..5 {
        text.push(char::from(((code & 0x3F) as u8) + b'0'));
        code >>= 6;
    }
    text
}

/// Runs `body` with errors caught; the caller must end whatever was begun.
fn caught<R>(body: impl FnOnce() -> R) -> Result<R, Caught> {
    PgTryBuilder::new(AssertUnwindSafe(|| Ok(body())))
        .catch_others(|error| Err(Caught::from(error)))
        .catch_rust_panic(|error| Err(Caught::from(error)))
        .execute()
}

/// One top-level transaction of a background worker, with an active snapshot, under a time limit.
pub(crate) fn transaction<R>(limit_ms: i32, body: impl FnOnce() -> R) -> Result<R, Caught> {
    // SAFETY: no transaction is open in this worker; statement_timeout does not arm itself in
    // workers, so it is armed by hand here.
    unsafe {
        pg_sys::SetCurrentStatementStartTimestamp();
        pg_sys::StartTransactionCommand();
        pg_sys::PushActiveSnapshot(pg_sys::GetTransactionSnapshot());
        enable_timeout_after(STATEMENT_TIMEOUT, limit_ms);
    }
    let result = caught(|| {
        let value = body();
        // SAFETY: the snapshot is the one pushed above; committing may raise, so it is in here.
        unsafe {
            pg_sys::PopActiveSnapshot();
            pg_sys::CommitTransactionCommand();
        }
        value
    });
    // SAFETY: ends what was begun above, on both paths.
    unsafe {
        disable_timeout(STATEMENT_TIMEOUT, false);
        if result.is_err() {
            pg_sys::AbortCurrentTransaction();
        }
    }
    result
}

/// Runs `body` with a snapshot that sees what this transaction did so far.
pub(crate) fn with_latest_snapshot<R>(body: impl FnOnce() -> R) -> R {
    // SAFETY: in a transaction; the snapshot is popped below, or by the abort that an error brings.
    unsafe {
        pg_sys::CommandCounterIncrement();
        pg_sys::PushActiveSnapshot(pg_sys::GetTransactionSnapshot());
    }
    let result = body();
    // SAFETY: the one pushed above.
    unsafe { pg_sys::PopActiveSnapshot() };
    result
}

/// A subtransaction that writes nothing (so takes no transaction id), for a part that may fail alone.
pub(crate) fn part<R>(body: impl FnOnce() -> R) -> Result<R, Caught> {
    // SAFETY: a transaction is open; context and owner are put back as PL languages do.
    let (context, owner) = unsafe {
        let saved = (pg_sys::CurrentMemoryContext, pg_sys::CurrentResourceOwner);
        pg_sys::BeginInternalSubTransaction(std::ptr::null());
        pg_sys::MemoryContextSwitchTo(saved.0);
        saved
    };
    let result = caught(body);
    // SAFETY: ends the subtransaction begun above.
    unsafe {
        match result {
            Ok(_) => pg_sys::ReleaseCurrentSubTransaction(),
            Err(_) => pg_sys::RollbackAndReleaseCurrentSubTransaction(),
        }
        pg_sys::MemoryContextSwitchTo(context);
        pg_sys::CurrentResourceOwner = owner;
    }
    result
}

/// Runs `body` in a subtransaction that is always rolled back, with what it locked, set, became and
/// allocated. The result must not point into the server's memory.
pub(crate) fn trial<R>(body: impl FnOnce() -> R) -> Result<R, CaughtError> {
    // SAFETY: a transaction is open; context and owner are put back as PL languages do.
    let (context, owner, mut memory) = unsafe {
        let saved = (pg_sys::CurrentMemoryContext, pg_sys::CurrentResourceOwner);
        pg_sys::BeginInternalSubTransaction(std::ptr::null());
        pg_sys::MemoryContextSwitchTo(saved.0);
        (saved.0, saved.1, PgMemoryContexts::new("pg_perfmon trial"))
    };
    let result = PgTryBuilder::new(AssertUnwindSafe(|| {
        // SAFETY: the context outlives the closure.
        Ok(unsafe { memory.switch_to(|_| body()) })
    }))
    .catch_others(Err)
    .execute();
    // SAFETY: ends the subtransaction begun above; the context is the one from before it.
    unsafe {
        pg_sys::MemoryContextSwitchTo(context);
        pg_sys::RollbackAndReleaseCurrentSubTransaction();
        pg_sys::MemoryContextSwitchTo(context);
        pg_sys::CurrentResourceOwner = owner;
    }
    result
}

/// Position in the server's TimeoutId, the same in 15 to 18.
const STATEMENT_TIMEOUT: std::ffi::c_int = 3;

unsafe extern "C" {
    // Absent from the bindings (utils/timeout.h). Both raise nothing below FATAL, which never unwinds.
    fn enable_timeout_after(id: std::ffi::c_int, delay_ms: std::ffi::c_int);
    fn disable_timeout(id: std::ffi::c_int, keep_indicator: bool);
}
