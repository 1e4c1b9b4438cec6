//! The arguments that all reading functions share: a window of time and a source. What is wrong with
//! them is said here, before anything is read.

use std::cell::Cell;
use std::rc::Rc;

use perfmon_core::ask::{self, Instant};
use perfmon_core::family::SERVER;
use pgrx::prelude::*;

use super::rows::{Cell as Value, Sink, to_unix};
use crate::error::Error;
use crate::recall::absent::{self, Unrecorded};
use crate::recall::plan::Kept;
pub(crate) use crate::recall::scope::now;
pub(crate) use crate::recall::scope::{Scope, show_time};
use crate::{settings, store, worker};

/// A time argument as SQL hands it in.
pub(crate) type Stamp = Option<TimestampWithTimeZone>;

impl Scope {
    /// Checks the arguments; a source that is not named is this database's own.
    pub(crate) fn check(since: Stamp, until: Stamp, source: Option<i64>) -> Result<Self, Error> {
        let (since, until) = ask::window(instant(since), instant(until), now(), &show_time)?;
        Self::checked(since, until, source)
    }

    /// A window that needs no check, of a source that does.
    pub(crate) fn checked(since: i64, until: i64, source: Option<i64>) -> Result<Self, Error> {
        worker::ask::keep_extension()?;
        if let Some(source) = source.filter(|source| !store::source::exists(*source)) {
            return Err(Error::argument("unknown source")
                .detail(format!("No history of source {source} is kept here."))
                .hint("SELECT source, database_name FROM perfmon.source_info lists those known; NULL is this database."));
        }
        Ok(Self { tells: Rc::new(Cell::new(true)), ..Self::of(since, until, source) })
    }

    /// Refuses histories of other databases, for what is judged with the catalog at hand.
    pub(crate) fn must_be_own(&self, what: &str) -> Result<(), Error> {
        if self.sources.is_empty() || self.is_own() {
            return Ok(());
        }
        Err(Error::prerequisite(format!("{what} judges its own database only"))
            .detail("It compares the history with the catalog, and that history is of another database.")
            .hint("Call it there."))
    }

    /// Whether there is any history. Says when it will begin, if not; the result is empty then.
    pub(crate) fn has_history_or_notice(&self) -> Result<bool, Error> {
        if self.has_history()? {
            self.notice_if_beside_history();
            self.notice_if_unrecorded()?;
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

    /// Hands over what has a time of its own, as changes have, and so may be there before any interval. Where nothing is,
    /// it says why, as all others do.
    pub(crate) fn put_or_notice(
        &self,
        sink: &mut Sink,
        rows: Vec<Vec<Value>>,
    ) -> Result<(), Error> {
        if rows.is_empty() {
            self.has_history_or_notice()?;
        }
        rows.into_iter().try_for_each(|row| sink.put_all(row))
    }

    /// A window that ends before the first row has nothing in it, and none to be widened to; one that is to come neither.
    fn notice_if_beside_history(&self) {
        if !self.tells.get() {
            return;
        }
        let now = now();
        let (what, detail) = if self.since >= now {
            let detail = format!(
                "It begins at {}, and it is {} now.",
                show_time(self.since),
                show_time(now)
            );
            ("the window begins in the future", detail)
        } else {
            // Most windows end now.
            let is_past = self.until < now;
            let oldest = is_past.then(|| Kept::of(&SERVER, self).oldest()).flatten();
            let Some(oldest) = oldest.filter(|at| self.until <= *at) else { return };
            let (end, oldest) = (show_time(self.until), show_time(oldest));
            let detail = format!("It ends at {end}, the history begins at {oldest}.");
            ("the window ends before the history begins", detail)
        };
        self.tells.set(false);
        ereport!(NOTICE, PgSqlErrorCode::ERRCODE_SUCCESSFUL_COMPLETION, what, detail);
    }
}

impl Scope {
    /// Why nothing is recorded of the window, or of its end, if that is so.
    pub(crate) fn unrecorded(&self) -> Result<Option<Unrecorded>, Error> {
        let slot = worker::status::read().slot;
        absent::unrecorded(self, slot.map_or(0, |slot| slot.quiet_until))
    }

    /// Nothing recorded is not nothing done.
    fn notice_if_unrecorded(&self) -> Result<(), Error> {
        if !self.tells.get() {
            return Ok(());
        }
        if let Some(unrecorded) = self.unrecorded()? {
            let fix = unrecorded.missing.fix.clone();
            ereport!(
                NOTICE,
                PgSqlErrorCode::ERRCODE_SUCCESSFUL_COMPLETION,
                unrecorded.words(),
                fix
            );
        }
        Ok(())
    }
}

fn instant(stamp: Stamp) -> Option<Instant> {
    stamp.map(|stamp| {
        let at = stamp.into_inner();
        if stamp.is_finite() { Instant::At(to_unix(at)) } else { Instant::Infinite }
    })
}
