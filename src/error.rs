//! The one error type of everything that SQL can call: it always has a SQLSTATE of its own and says
//! what to do. It must never be raised from a hook.

use std::fmt;

use perfmon_core::ask::Fault;
use pgrx::PgSqlErrorCode;
use pgrx::pg_sys::panic::{CaughtError, ErrorReport};

/// An error on its way to the client.
#[derive(Debug, Clone)]
pub(crate) struct Error {
    code: PgSqlErrorCode,
    message: String,
    detail: Option<String>,
    hint: Option<String>,
}

impl Error {
    fn new(code: PgSqlErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), detail: None, hint: None }
    }

    /// An argument that cannot be right (22023).
    pub(crate) fn argument(message: impl Into<String>) -> Self {
        Self::new(PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE, message)
    }

    /// The caller may not (42501).
    pub(crate) fn privilege(message: impl Into<String>) -> Self {
        Self::new(PgSqlErrorCode::ERRCODE_INSUFFICIENT_PRIVILEGE, message)
    }

    /// Something that must come first is missing (55000).
    pub(crate) fn prerequisite(message: impl Into<String>) -> Self {
        Self::new(PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE, message)
    }

    /// The transaction or the server takes no writes (25006).
    pub(crate) fn read_only(message: impl Into<String>) -> Self {
        Self::new(PgSqlErrorCode::ERRCODE_READ_ONLY_SQL_TRANSACTION, message)
    }

    /// Somebody else is at it (55P03).
    pub(crate) fn busy(message: impl Into<String>) -> Self {
        Self::new(PgSqlErrorCode::ERRCODE_LOCK_NOT_AVAILABLE, message)
    }

    /// There is one of that name already (42710).
    pub(crate) fn duplicate(message: impl Into<String>) -> Self {
        Self::new(PgSqlErrorCode::ERRCODE_DUPLICATE_OBJECT, message)
    }

    /// There is none of that name (42704).
    pub(crate) fn undefined(message: impl Into<String>) -> Self {
        Self::new(PgSqlErrorCode::ERRCODE_UNDEFINED_OBJECT, message)
    }

    /// What was asserted does not hold (P0004, as of ASSERT in PL/pgSQL).
    pub(crate) fn assertion(message: impl Into<String>) -> Self {
        Self::new(PgSqlErrorCode::ERRCODE_ASSERT_FAILURE, message)
    }

    /// A failure of our own (XX000).
    pub(crate) fn internal(message: impl Into<String>) -> Self {
        Self::new(PgSqlErrorCode::ERRCODE_INTERNAL_ERROR, message)
    }

    /// Adds what exactly was found.
    pub(crate) fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// Adds what to do.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        Self::argument(fault.message).detail(fault.detail).hint(fault.hint)
    }
}

impl From<pgrx::spi::SpiError> for Error {
    fn from(error: pgrx::spi::SpiError) -> Self {
        Self::internal("could not read the history of pg_perfmon").detail(error.to_string())
    }
}

impl Error {
    /// Raises it where no result can carry it.
    #[track_caller]
    pub(crate) fn raise(self) -> ! {
        ErrorReport::from(self).report(pgrx::PgLogLevel::ERROR);
        unreachable!()
    }
}

impl From<Error> for ErrorReport {
    #[track_caller]
    fn from(error: Error) -> Self {
        let mut report = Self::new(error.code, error.message, "pg_perfmon");
        if let Some(detail) = error.detail {
            report = report.set_detail(detail);
        }
        if let Some(hint) = error.hint {
            report = report.set_hint(hint);
        }
        report
    }
}

/// Errors of the server's own that pass through here, such as a statement's end by its timeout, keep their own detail.
/// Where the server was started with RUST_BACKTRACE, pgrx puts a trace of this library's functions into each, which it
/// takes in the hook for panics.
pub(crate) fn without_traces() {
    let traced = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if !info.payload().is::<CaughtError>() {
            traced(info);
        }
    }));
}
