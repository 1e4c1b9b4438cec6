//! Why nothing is known of those whom an objective means: settings that switch counting off, or keep errors from the hooks.

use std::collections::HashSet;

use perfmon_core::family::ROUTE;
use perfmon_core::objective::{self, History};

use super::cell::Cell;
use super::counting::{Missing, Where};
use super::objective::Declared;
use super::scope::Scope;
use super::{absent, counting, names, query};
use crate::error::Error;

/// Why errors of a statement inside a function are not known.
const ERRORS_OF_NESTED: &str = "an error is counted for the statement that the client sent, not for the one inside it that failed: promise the errors of \
     that one, or of the user";

/// Says why not all is known of a window, as far as settings of now tell it. `lacks_ids` where some of what was executed had none, and
/// until when nobody used the database.
pub(super) fn explain(
    history: &mut History,
    declared: &Declared,
    window: &Scope,
    (lacks_ids, quiet_until): (bool, i64),
) -> Result<(), Error> {
    let all = history.within(window.since, window.until);
    let is_empty = all.is_empty();
    let no_latency = is_empty || all.iter().any(|row| row.latency.is_none());
    let no_errors = is_empty || all.iter().any(|row| row.errors.is_none());
    let is_hidden = all.iter().any(|row| row.errors.is_none() && row.latency.is_some());
    let is_nameless = all.iter().any(|row| row.nameless_errors > 0);
    let is_untimed = all.iter().any(|row| row.uncounted.max(row.perhaps) > 0);
    history.without = without(declared)?;
    history.untimed = if is_untimed { untimed(declared)? } else { None };
    history.nameless = if is_nameless { nameless(declared)? } else { None };
    let unrecorded = unrecorded(window, quiet_until)?;
    if is_empty && unrecorded.is_some() {
        (history.no_latency, history.no_errors) = (unrecorded.clone(), unrecorded);
        return Ok(());
    }
    let why = if no_latency || no_errors { not_counted(declared)? } else { None };
    history.no_latency = why.clone().filter(|_| no_latency);
    if lacks_ids && history.no_latency.is_none() {
        history.no_latency = without_ids(declared)?;
    }
    history.no_latency = history.no_latency.take().or_else(|| unrecorded.clone());
    if no_errors {
        // What was executed was counted there: it is not for the hooks being off.
        let hidden = if is_hidden || why.is_none() { hidden(declared)? } else { None };
        history.no_errors = hidden.or(why);
        if is_nested(declared)? && history.no_latency.is_none() {
            history.no_errors = Some(ERRORS_OF_NESTED.to_owned());
        }
    }
    if no_errors && history.no_errors.is_none() {
        let unplaced = absent::executions_in(window)?;
        history.no_errors = unplaced.map(|one| format!("{}: {}", one.problem, one.fix));
    }
    history.no_errors = history.no_errors.take().or(unrecorded);
    Ok(())
}

/// Whose executions an objective means, where that is one user's.
pub(super) fn user_of(declared: &Declared) -> Result<Option<String>, Error> {
    Ok(match &declared.objective.scope {
        objective::Scope::User(name) => Some(name.clone()),
        objective::Scope::Statement(id) => query::value(
            "SELECT s.user_name FROM perfmon.statement s
             WHERE s.source OPERATOR(pg_catalog.=) $1
                 AND s.statement_id OPERATOR(pg_catalog.=) $2::pg_catalog.int4",
            &[declared.source.into(), (*id).into()],
        )?
        .text(),
        _ => None,
    })
}

/// Whether an objective means a statement inside functions.
pub(super) fn is_nested(declared: &Declared) -> Result<bool, Error> {
    let objective::Scope::Statement(id) = &declared.objective.scope else { return Ok(false) };
    let toplevel = query::value(
        "SELECT s.toplevel FROM perfmon.statement s
         WHERE s.source OPERATOR(pg_catalog.=) $1
             AND s.statement_id OPERATOR(pg_catalog.=) $2::pg_catalog.int4",
        &[declared.source.into(), (*id).into()],
    )?;
    Ok(toplevel == Cell::Bool(false))
}

fn words(problem: &str, fix: &str) -> String {
    format!("not counted, as {problem}: {fix}")
}

/// Why errors of those whom an objective means are kept from the hooks, and the line that changes that.
fn hidden(declared: &Declared) -> Result<Option<String>, Error> {
    let missing = match declared.objective.scope {
        objective::Scope::Cluster => counting::hidden_errors_in(Where::Anywhere)?,
        _ => counting::hidden_errors(user_of(declared)?.as_deref())?,
    };
    Ok(missing.map(|missing| words(&missing.problem, &missing.fix)))
}

/// Why what those execute whom an objective means has no ids, and the line that changes that.
fn without_ids(declared: &Declared) -> Result<Option<String>, Error> {
    Ok(no_ids(declared)?.map(|missing| words(&missing.problem, &missing.fix)))
}

fn no_ids(declared: &Declared) -> Result<Option<Missing>, Error> {
    match declared.objective.scope {
        objective::Scope::Cluster => counting::without_ids_anywhere(),
        _ => counting::without_ids(user_of(declared)?.as_deref()),
    }
}

/// Who is left out of an objective of all, because no times and no errors of them are counted.
fn without(declared: &Declared) -> Result<Option<String>, Error> {
    /// So many are named.
    const NAMED: usize = 3;
    let (kind, all) = match declared.objective.scope {
        objective::Scope::Database => {
            let roles = counting::uncounted_roles()?;
            ("role ", roles.into_iter().map(|(role, _)| role).collect())
        }
        objective::Scope::Cluster => ("", counting::uncounted_anywhere()?),
        _ => return Ok(None),
    };
    let named: Vec<&str> = all.iter().take(NAMED).map(String::as_str).collect();
    let more = all.len().saturating_sub(NAMED);
    let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
    Ok((!named.is_empty())
        .then(|| format!("{kind}{}{rest}, of which only the number is counted", named.join(", "))))
}

/// Why nothing is counted of those whom an objective means, or not all of it, and the line that changes that.
fn not_counted(declared: &Declared) -> Result<Option<String>, Error> {
    Ok(why_off(declared)?.map(|missing| words(&missing.problem, &missing.fix)))
}

fn why_off(declared: &Declared) -> Result<Option<Missing>, Error> {
    let user = user_of(declared)?;
    if let Some(missing) = counting::missing(user.as_deref())? {
        return Ok(Some(missing));
    }
    if is_nested(declared)? {
        return counting::missing_nested(user.as_deref());
    }
    match declared.objective.scope {
        objective::Scope::Application(_) | objective::Scope::Database => {
            counting::uncounted_by_roles(Where::Here)
        }
        objective::Scope::Cluster => counting::uncounted_by_roles(Where::Anywhere),
        objective::Scope::User(_) | objective::Scope::Statement(_) => Ok(None),
    }
}

/// The setting by which not all is timed of those whom an objective means, and the line that changes that.
fn untimed(declared: &Declared) -> Result<Option<String>, Error> {
    let missing = match why_off(declared)? {
        None => no_ids(declared)?,
        off => off,
    };
    Ok(missing.map(|missing| format!("as {}: {}", missing.problem, missing.fix)))
}

/// The setting by which errors are counted without their statement, and the line that changes that.
fn nameless(declared: &Declared) -> Result<Option<String>, Error> {
    let missing = counting::errors_without_ids(user_of(declared)?.as_deref())?;
    Ok(missing.map(|missing| format!("as {}: {}", missing.problem, missing.fix)))
}

/// Why nothing is recorded of a time, or nothing of its end.
fn unrecorded(scope: &Scope, quiet_until: i64) -> Result<Option<String>, Error> {
    let missing = absent::unrecorded(scope, quiet_until)?;
    Ok(missing.map(|one| format!("{}: {}", one.words(), one.missing.fix)))
}

/// The users whom an objective may mean; `None` for anybody.
pub(super) fn users_of(scope: &Scope, of: &Declared) -> Result<Option<HashSet<String>>, Error> {
    let objective::Scope::Application(name) = &of.objective.scope else {
        return Ok(user_of(of)?.map(|user| HashSet::from([user])));
    };
    let name = Cell::from(name.as_str());
    let routes = names::objects(ROUTE.name, &scope.sources)?.into_values();
    let own = routes.filter(|[application, _, _]| *application == name);
    Ok(Some(own.filter_map(|[_, user, _]| user.text()).collect()))
}
