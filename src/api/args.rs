//! The arguments that all reading functions share: a window of time and a source. What is wrong with
//! them is said here, before anything is read.

use perfmon_core::ask::{self, Instant};
use pgrx::pg_sys;
use pgrx::prelude::*;

use super::query;
use super::rows::{to_server, to_unix};
use crate::error::Error;
use crate::{settings, store};

/// A time argument as SQL hands it in.
pub(crate) type Stamp = Option<TimestampWithTimeZone>;

/// Where and when to look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Scope {
    /// Start and end, microseconds since the Unix epoch.
    pub(crate) since: i64,
    pub(crate) until: i64,
    /// The source asked for and those it continues, newest first; empty before the first snapshot.
    pub(crate) sources: Vec<i64>,
}

impl Scope {
    /// Checks the arguments; a source that is not named is this database's own.
    pub(crate) fn check(since: Stamp, until: Stamp, source: Option<i64>) -> Result<Self, Error> {
        let (since, until) = ask::window(instant(since), instant(until), now(), &show_time)?;
        if let Some(source) = source.filter(|source| !store::source::exists(*source)) {
            return Err(Error::argument("unknown source")
                .detail(format!("No history of source {source} is kept here."))
                .hint("SELECT source, database_name FROM perfmon.source_info lists those known; NULL is this database."));
        }
        Ok(Self { since, until, sources: store::source::lineage(source) })
    }

    /// Whether there is any history. Says when it will begin, if not; the result is empty then.
    pub(crate) fn has_history_or_notice(&self) -> Result<bool, Error> {
        if self.has_history()? {
            return Ok(true);
        }
        let preloaded = super::status::preloaded();
        let when = if preloaded && settings::enabled() {
            let seconds = settings::snapshot_interval_us() / 1_000_000;
            format!(
                "The first interval is stored by the second snapshot of this database; they are {seconds} seconds apart while it is in use."
            )
        } else {
            "The first interval is stored by the second call of perfmon.snapshot().".to_owned()
        };
        ereport!(
            NOTICE,
            PgSqlErrorCode::ERRCODE_SUCCESSFUL_COMPLETION,
            "there is no history yet",
            when
        );
        Ok(false)
    }

    /// Whether any interval at all is stored; the first snapshot's row has no length yet.
    pub(crate) fn has_history(&self) -> Result<bool, Error> {
        if self.sources.is_empty() {
            return Ok(false);
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

fn instant(stamp: Stamp) -> Option<Instant> {
    stamp.map(|stamp| {
        let at = stamp.into_inner();
        if stamp.is_finite() { Instant::At(to_unix(at)) } else { Instant::Infinite }
    })
}

/// A time as this session shows it.
pub(crate) fn show_time(unix_us: i64) -> String {
    // SAFETY: the text of a time is an ASCII C string in the current memory context, copied at once.
    unsafe {
        let text = pg_sys::timestamptz_to_str(to_server(unix_us));
        std::ffi::CStr::from_ptr(text).to_string_lossy().into_owned()
    }
}
