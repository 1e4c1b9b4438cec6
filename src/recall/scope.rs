//! Where and when to look. It must never check what a user typed: that is done where SQL comes in.

use std::cell::Cell;
use std::rc::Rc;

use perfmon_core::window;
use pgrx::pg_sys;

use super::cell::{to_server, to_unix};
use super::query;
use crate::error::Error;
use crate::store;

/// Where and when to look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Scope {
    /// Start and end, microseconds since the Unix epoch.
    pub(crate) since: i64,
    pub(crate) until: i64,
    /// The source asked for and those it continues, newest first; empty before the first snapshot.
    pub(crate) sources: Vec<i64>,
    /// Somebody is there to be told when the window had to be widened, and has not been told yet.
    pub(crate) tells: Rc<Cell<bool>>,
}

impl Scope {
    /// A window of this database's own history, or of another source's.
    pub(crate) fn of(since: i64, until: i64, source: Option<i64>) -> Self {
        Self { since, until, sources: store::source::lineage(source), tells: Rc::default() }
    }

    /// Another window of the same history, read without a word.
    pub(crate) fn quietly(&self, since: i64, until: i64) -> Self {
        Self { since, until, sources: self.sources.clone(), tells: Rc::default() }
    }

    /// Whether it is so short that its rows are read one by one at no cost.
    pub(crate) fn is_short(&self) -> bool {
        self.until.saturating_sub(self.since) <= 3 * window::HOUR_US
    }

    /// Whether it is the history of this database.
    pub(crate) fn is_own(&self) -> bool {
        self.sources.first().copied() == store::source::own()
    }

    /// Whether any interval at all is stored; the first snapshot's row has no length yet.
    pub(crate) fn has_history(&self) -> Result<bool, Error> {
        if self.sources.is_empty() {
            return Ok(false);
        }
        // Nearly always there is one of these days, and a query would look at every table of three levels.
        if store::extent::is_measured(&self.sources, now()) {
            return Ok(true);
        }
        let found = query::row(
            "SELECT true
             WHERE EXISTS (SELECT 1 FROM perfmon.server_minute s
                           WHERE s.source OPERATOR(pg_catalog.=) ANY ($1)
                               AND s.length_us OPERATOR(pg_catalog.>) 0)
                OR EXISTS (SELECT 1 FROM perfmon.server_hour s
                           WHERE s.source OPERATOR(pg_catalog.=) ANY ($1)
                               AND s.length_us OPERATOR(pg_catalog.>) 0)
                OR EXISTS (SELECT 1 FROM perfmon.server_day s
                           WHERE s.source OPERATOR(pg_catalog.=) ANY ($1)
                               AND s.length_us OPERATOR(pg_catalog.>) 0)",
            &[self.sources.clone().into()],
        )?;
        Ok(found.is_some())
    }
}

/// Start of the transaction, as `now()` gives it.
pub(crate) fn now() -> i64 {
    // SAFETY: a variable of the session's transaction.
    to_unix(unsafe { pg_sys::GetCurrentTransactionStartTimestamp() })
}

/// A time as this session shows it.
pub(crate) fn show_time(unix_us: i64) -> String {
    // SAFETY: the text of a time is an ASCII C string in the current memory context, copied at once.
    unsafe {
        let text = pg_sys::timestamptz_to_str(to_server(unix_us));
        std::ffi::CStr::from_ptr(text).to_string_lossy().into_owned()
    }
}
