//! What a window lacks because of settings of then, which none of now tells.

use perfmon_core::family::{CLUSTER, FAILURE, Family, ROUTE, SCAN, STATEMENT};
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;

use super::args::Scope;
use super::{cluster, errors, evidence, routes};
use crate::error::Error;
use crate::recall::counting::Missing;
use crate::recall::lacking::IDS_THEN;
use crate::recall::uncounted::{Users, named, untimed_users};
use crate::recall::{absent, counting, lacking};
use crate::watch::live;

/// Says that something was not counted in some of the window, and why; gives whether it did. Without preloading that has been
/// said.
pub(super) fn notice_if_was_off(scope: &Scope, subject: &str, what: &str) -> Result<bool, Error> {
    let why = match live::began() {
        Some(_) => absent::uncounted_then(scope, subject)?,
        None => None,
    };
    let Some(why) = why else { return Ok(notice_not_yet(scope, what)) };
    ereport!(
        NOTICE,
        PgSqlErrorCode::ERRCODE_SUCCESSFUL_COMPLETION,
        format!("{what} were not counted in some of this window; noted then: {why}"),
        "perfmon.gaps(since, until) lists the times of which nothing is known."
    );
    Ok(true)
}

/// Says since when the hooks count, of a window before that.
fn notice_not_yet(scope: &Scope, what: &str) -> bool {
    let since = live::began().and_then(|_| absent::not_yet(scope));
    if let Some(since) = &since {
        ereport!(
            NOTICE,
            PgSqlErrorCode::ERRCODE_SUCCESSFUL_COMPLETION,
            format!("{what} were not counted in this window: {since}"),
            "Before, pg_perfmon was most likely not in shared_preload_libraries, or of a version that did not count them."
        );
    }
    since.is_some()
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

/// Says what is missing beside plain rows, as the readers do that add them up.
pub(super) fn notice_of_rows(family: &Family, scope: &Scope) -> Result<(), Error> {
    match family.name {
        name if name == STATEMENT.name => match absent::statements_in(scope)? {
            Some(Missing { problem, fix }) => {
                notice_lacking(Missing { problem: format!("pg_stat_statements: {problem}"), fix });
            }
            None => notice_if_lacking(scope)?,
        },
        name if name == FAILURE.name => errors::notice_of_rows(scope)?,
        name if name == ROUTE.name => routes::notice_of_rows(scope)?,
        name if name == SCAN.name => evidence::notice_of_rows(scope)?,
        name if name == CLUSTER.name => cluster::notice_of_rows(scope)?,
        _ => {}
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
            "pg_perfmon.capture was off then, for a role, a database or the session itself, or compute_query_id was, then or when it was prepared."
        );
    }
    Ok(())
}

/// Says that some of what these users executed is counted under no statement, as it had no id.
pub(super) fn notice_nameless(scope: &Scope, users: &Users) -> Result<(), Error> {
    let missing = if scope.is_own() { counting::without_ids(None)? } else { None };
    let why = match missing {
        Some(missing) => format!("{}: {}", missing.problem, missing.fix),
        None => {
            format!("{IDS_THEN}: a session that goes on has ids for that when it connects anew.")
        }
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

/// Says whose statements are not all counted in the window, and why, where there are some that are.
pub(super) fn notice_if_lacking(scope: &Scope) -> Result<(), Error> {
    if let Some(missing) = lacking::missing(scope)? {
        notice_lacking(missing);
    }
    Ok(())
}

/// The same in words that are known.
pub(super) fn notice_lacking(missing: Missing) {
    let code = PgSqlErrorCode::ERRCODE_SUCCESSFUL_COMPLETION;
    let said = ErrorReport::new(code, missing.problem, "pg_perfmon");
    match missing.fix.is_empty() {
        true => said,
        false => said.set_hint(missing.fix),
    }
    .report(PgLogLevel::NOTICE);
}

/// Says why pg_stat_statements knows nothing of some of what was timed, if there is such: of statements of these users, where a
/// setting of now or of then was the reason. Gives whether it did.
pub(super) fn notice_if_untracked(
    scope: &Scope,
    is_some: bool,
    users: &Users,
) -> Result<bool, Error> {
    let missing = match is_some.then(|| absent::statements_in(scope)).transpose()?.flatten() {
        None if scope.is_own() => counting::untracked(users)?,
        missing => missing,
    };
    let Some(missing) = missing else { return Ok(false) };
    let why = match missing.fix.is_empty() {
        true => missing.problem,
        false => format!("{}: {}", missing.problem, missing.fix),
    };
    ereport!(
        NOTICE,
        PgSqlErrorCode::ERRCODE_SUCCESSFUL_COMPLETION,
        "in some of this window pg_stat_statements counted nothing, so calls and total times are NULL there",
        why
    );
    Ok(true)
}
