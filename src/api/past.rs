//! What a window lacks because of settings of then, which none of now tells.

use pgrx::prelude::*;

use super::args::Scope;
use crate::error::Error;
use crate::recall::times::switched_off;
use crate::recall::uncounted::{Users, named, untimed_users};
use crate::recall::{absent, counting};
use crate::watch::live;

/// Says that something was not counted in some of the window, and why; gives whether it did. Without preloading that has been
/// said.
pub(super) fn notice_if_was_off(scope: &Scope, subject: &str, what: &str) -> Result<bool, Error> {
    let why = if live::began().is_some() { switched_off(scope, subject)? } else { None };
    if let Some(why) = &why {
        ereport!(
            NOTICE,
            PgSqlErrorCode::ERRCODE_SUCCESSFUL_COMPLETION,
            format!("{what} were not counted in some of this window; noted then: {why}"),
            "perfmon.gaps(since, until) lists the times of which nothing is known."
        );
    }
    Ok(why.is_some())
}

/// Says that it is not known how much was executed, where the database found no place in memory for it.
pub(super) fn notice_if_unplaced(scope: &Scope) -> Result<(), Error> {
    if let Some(missing) = absent::executions_in(scope)? {
        ereport!(
            NOTICE,
            PgSqlErrorCode::ERRCODE_SUCCESSFUL_COMPLETION,
            format!("of some of this window {}", missing.problem),
            missing.fix
        );
    }
    Ok(())
}

/// Says whose executions were not all timed in the window, where no setting of now tells it.
pub(super) fn notice_untimed(scope: &Scope) -> Result<(), Error> {
    let users = untimed_users(scope)?;
    if !users.is_empty() {
        ereport!(
            NOTICE,
            PgSqlErrorCode::ERRCODE_SUCCESSFUL_COMPLETION,
            format!("not all that {} executed in this window was timed", named(&users)),
            "pg_perfmon.capture was off then, for a role, a database or the session itself, or compute_query_id was."
        );
    }
    Ok(())
}

/// Says that some of what these users executed is counted under no statement, as it had no id.
pub(super) fn notice_nameless(scope: &Scope, users: &Users) -> Result<(), Error> {
    let missing = if scope.is_own() { counting::without_ids(None)? } else { None };
    let why = match missing {
        Some(missing) => format!("{}: {}", missing.problem, missing.fix),
        None => "compute_query_id was off then.".to_owned(),
    };
    ereport!(
        NOTICE,
        PgSqlErrorCode::ERRCODE_SUCCESSFUL_COMPLETION,
        format!(
            "not all that {} executed in this window is counted by statement: some had no id",
            named(users)
        ),
        why
    );
    Ok(())
}
