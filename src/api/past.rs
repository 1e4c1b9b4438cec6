//! What a window lacks because of settings of then, which none of now tells.

use pgrx::prelude::*;

use super::args::Scope;
use crate::error::Error;
use crate::recall::times::switched_off;
use crate::watch::live;

/// Says that something was not counted in some of the window, and why. Without preloading that has been said.
pub(super) fn notice_if_was_off(scope: &Scope, subject: &str, what: &str) -> Result<(), Error> {
    if live::began().is_none() {
        return Ok(());
    }
    if let Some(why) = switched_off(scope, subject)? {
        ereport!(
            NOTICE,
            PgSqlErrorCode::ERRCODE_SUCCESSFUL_COMPLETION,
            format!("{what} were not counted in some of this window; noted then: {why}"),
            "perfmon.gaps(since, until) lists the times of which nothing is known."
        );
    }
    Ok(())
}
