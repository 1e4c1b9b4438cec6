//! What the hooks see of errors, read field by field. Nothing here can raise.

use perfmon_core::capture::failure::{AUTOVACUUM_GIVES_WAY, Ends, NO_WALSENDER, meant};
use pgrx::pg_sys;

use super::execution::{database, message_text, outer_user, text_of};
use super::{level, raw};

/// Whether this process stands in the list of sessions: until then its place there tells of the one before it.
///
/// # Safety
/// After the process got a place among the sessions, or none.
unsafe fn is_known() -> bool {
    // SAFETY: the place is in shared memory, and written by its own process.
    unsafe { !pg_sys::MyBEEntry.is_null() && (*pg_sys::MyBEEntry).st_procpid == pg_sys::MyProcPid }
}

/// What an error of this level ends in this process, now, whether it is in a statement or not.
fn ends(level: std::ffi::c_int, in_statement: bool) -> Ends {
    // SAFETY: a variable of this process.
    let starting = unsafe { pg_sys::Mode } == pg_sys::ProcessingMode::InitProcessing;
    match level < pgrx::PgLogLevel::FATAL as std::ffi::c_int {
        true => Ends::Statement,
        false if starting => Ends::Login,
        false if in_statement => Ends::Session,
        false => Ends::Pause,
    }
}

/// An error of a client's session on its way to the log.
pub(crate) struct Report<'a> {
    /// SQLSTATE as the server packs it.
    pub(crate) state: u32,
    /// What tells its class, without its values.
    pub(crate) message: &'a [u8],
    /// What the client is told beside it, values included.
    pub(crate) detail: &'a [u8],
    /// What it ends.
    pub(crate) ends: Ends,
    /// The statement that the client had sent, 0 if none or unknown, and whether one was running.
    pub(crate) query_id: u64,
    pub(crate) in_statement: bool,
    /// The text of the client's message; empty outside of one.
    pub(crate) text: &'a [u8],
    pub(crate) database: u32,
    /// The user of the session, or the role it had set; that of no function.
    pub(crate) user: u32,
    /// Now, and since when the client's message is being worked on (0 before the first), microseconds on the server's epoch.
    pub(crate) now: i64,
    pub(crate) since: i64,
}

impl Report<'_> {
    /// `None` without a client, but for an autovacuum that gives way (its statement is the table) and a walsender without a place.
    ///
    /// # Safety
    /// The record must be one being logged. It need not be after this process has a PGPROC.
    pub(super) unsafe fn of(error: *mut pg_sys::ErrorData) -> Option<Self> {
        // SAFETY: fields and variables of this process are read, by functions that do only that; all of
        // them are valid from the start of the process.
        unsafe {
            let message = meant(text_of((*error).message_id), text_of((*error).message));
            let in_statement = !pg_sys::debug_query_string.is_null();
            let (query_id, user) = match pg_sys::MyBackendType {
                pg_sys::BackendType::B_BACKEND => {
                    // Outside of a statement the last one's is still there. It is meant only if nothing was sent
                    // since: what is deferred fails when the transaction ends.
                    let meant = is_known() && (in_statement || level::executed_in_message());
                    let id = if meant { raw::pgstat_get_my_query_id() } else { 0 };
                    (id, outer_user())
                }
                pg_sys::BackendType::B_AUTOVAC_WORKER if message == AUTOVACUUM_GIVES_WAY => {
                    // Its progress is reported until the transaction is aborted, after the record.
                    let entry = pg_sys::MyBEEntry.as_ref();
                    (entry.map_or(0, |e| u64::from(e.st_progress_command_target.to_u32())), 0)
                }
                pg_sys::BackendType::B_WAL_SENDER if message.starts_with(NO_WALSENDER) => (0, 0),
                _ => return None,
            };
            Some(Self {
                state: (*error).sqlerrcode as u32,
                message,
                detail: text_of((*error).detail),
                ends: ends((*error).elevel, in_statement),
                query_id,
                in_statement,
                text: message_text(),
                database: database(),
                user,
                now: raw::GetCurrentTimestamp(),
                since: raw::GetCurrentStatementStartTimestamp(),
            })
        }
    }
}
