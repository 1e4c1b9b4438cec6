//! What is told of execution times that are not known, with the line that turns them on.

use perfmon_core::family::LATENCY;
use perfmon_core::window::Level;
use pgrx::prelude::*;

use super::user_of;
use crate::api::args::Scope;
use crate::api::past::{notice_if_was_off, notice_nameless, notice_untimed};
use crate::error::Error;
use crate::recall::counting::{self, Missing};
use crate::recall::latency::Whose;
use crate::recall::times::switched_off;
use crate::recall::uncounted::{Besides, nameless_users};

/// Tells a caller why percentiles are NULL, with the line that turns them on.
pub(in crate::api) fn say_not_counted(scope: &Scope) {
    say("no execution times were counted in this window, so percentiles are NULL", scope);
}

/// The same where they are those of a part.
pub(in crate::api) fn say_partly_counted(scope: &Scope) {
    say(
        "in some of this window no execution times were counted, or those of a small part only, so percentiles are NULL there",
        scope,
    );
}

fn say(what: &'static str, scope: &Scope) {
    let missing = if scope.is_own() { counting::untimed() } else { Ok(None) };
    let Ok(Some(Missing { problem, fix })) = missing else {
        return say_of_past(scope).unwrap_or_else(|error| error.raise());
    };
    ereport!(
        NOTICE,
        PgSqlErrorCode::ERRCODE_SUCCESSFUL_COMPLETION,
        what,
        format!("{problem}: {fix}")
    );
}

fn say_of_past(scope: &Scope) -> Result<(), Error> {
    if notice_if_was_off(scope, LATENCY.name, "execution times")? {
        return Ok(());
    }
    notice_untimed(scope)
}

/// Tells a caller that executions of a statement may be missing.
pub(super) fn say_in_rest() {
    ereport!(
        NOTICE,
        PgSqlErrorCode::ERRCODE_SUCCESSFUL_COMPLETION,
        "there may be more executions of this statement in the window",
        "It has no name in some of the rows, and they have a rest: hours and days name 10,000 statements and add up the others, and so do the hooks beyond pg_perfmon.max_statements."
    );
}

/// Says that some of what is asked for is not in what is shown, if that is so: what had no id, what was executed while the hooks were
/// off for all, of which no row tells, and, `with_untimed`, by sessions that had them off.
pub(super) fn say_if_in_part(
    whose: Whose<'_>,
    scope: &Scope,
    with_untimed: bool,
) -> Result<(), Error> {
    let quiet = scope.quietly(scope.since, scope.until);
    if switched_off(&quiet, LATENCY.name)?.is_some() {
        say(
            "what was executed in some of this window is not in it: execution times were not counted then",
            scope,
        );
        return Ok(());
    }
    let (user, _) = user_of(whose)?;
    let edges = vec![scope.since, scope.until];
    let besides = Besides::of(&quiet, Level::Day, edges, user.as_deref())?;
    if with_untimed && besides.is_off(0) {
        say("not all that was executed in this window is in it: some was not timed", scope);
    } else if besides.is_nameless(0) {
        let mut users = nameless_users(&quiet)?;
        users.retain(|one| user.is_none() || one.is_none() || *one == user);
        notice_nameless(scope, &users)?;
    }
    Ok(())
}
