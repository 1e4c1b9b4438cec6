//! Functions of the server without the bindings' wrapper. That wrapper turns an error of the server into a panic
//! and back into a new error, which loses most of the error's fields and costs more than the hooks' own work. Only
//! for frames that have nothing to drop, through which an error may jump.

use std::ffi::c_int;

use pgrx::pg_sys;

unsafe extern "C-unwind" {
    pub(super) fn standard_ExecutorStart(query: *mut pg_sys::QueryDesc, flags: c_int);
    #[cfg(not(feature = "pg18"))]
    pub(super) fn standard_ExecutorRun(
        query: *mut pg_sys::QueryDesc,
        direction: pg_sys::ScanDirection::Type,
        count: u64,
        once: bool,
    );
    #[cfg(feature = "pg18")]
    pub(super) fn standard_ExecutorRun(
        query: *mut pg_sys::QueryDesc,
        direction: pg_sys::ScanDirection::Type,
        count: u64,
    );
    pub(super) fn standard_ExecutorFinish(query: *mut pg_sys::QueryDesc);
    pub(super) fn standard_ExecutorEnd(query: *mut pg_sys::QueryDesc);
    pub(super) fn standard_ProcessUtility(
        statement: *mut pg_sys::PlannedStmt,
        text: *const std::ffi::c_char,
        read_only: bool,
        context: pg_sys::ProcessUtilityContext::Type,
        params: pg_sys::ParamListInfo,
        environment: *mut pg_sys::QueryEnvironment,
        dest: *mut pg_sys::DestReceiver,
        completion: *mut pg_sys::QueryCompletion,
    );
    #[cfg(not(any(feature = "pg15", feature = "pg16")))]
    pub(super) fn standard_planner(
        query: *mut pg_sys::Query,
        text: *const std::ffi::c_char,
        options: c_int,
        params: pg_sys::ParamListInfo,
    ) -> *mut pg_sys::PlannedStmt;
    /// Gives up reads that were begun; raises no error.
    #[cfg(feature = "pg18")]
    pub(super) fn pgaio_error_cleanup();
    /// Allocates, and so may raise.
    pub(super) fn InstrAlloc(
        n: c_int,
        options: c_int,
        async_mode: bool,
    ) -> *mut pg_sys::Instrumentation;
}

// These only read variables and never raise.
unsafe extern "C" {
    pub(super) fn GetUserId() -> pg_sys::Oid;
    pub(super) fn GetOuterUserId() -> pg_sys::Oid;
    pub(super) fn GetCurrentStatementStartTimestamp() -> pg_sys::TimestampTz;
    pub(super) fn GetCurrentTimestamp() -> pg_sys::TimestampTz;
    pub(super) fn GetCurrentTransactionNestLevel() -> c_int;
    pub(super) fn GetPortalByName(name: *const std::ffi::c_char) -> pg_sys::Portal;
    pub(super) fn GetCurrentTransactionStartTimestamp() -> pg_sys::TimestampTz;
    /// Looks at the clock if nobody did at the end of the transaction.
    pub(super) fn GetCurrentTransactionStopTimestamp() -> pg_sys::TimestampTz;
    pub(super) fn GetTopTransactionIdIfAny() -> pg_sys::TransactionId;
    pub(super) fn IsTransactionBlock() -> bool;
    pub(super) fn IsTransactionState() -> bool;
    pub(super) fn IsAbortedTransactionBlockState() -> bool;
    pub(super) fn SPI_inside_nonatomic_context() -> bool;
    pub(super) fn pgstat_get_my_query_id() -> u64;
    pub(super) fn tuplesort_get_stats(
        state: *mut pg_sys::Tuplesortstate,
        stats: *mut pg_sys::TuplesortInstrumentation,
    );
}
