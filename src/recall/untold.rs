//! Why nothing is known of those whom an objective means: settings that switch counting off, or keep errors from the hooks.

use std::collections::HashSet;

use perfmon_core::family::ROUTE;
use perfmon_core::objective;

use super::cell::Cell;
use super::objective::Declared;
use super::scope::Scope;
use super::{counting, names, query};
use crate::error::Error;

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
fn is_nested(declared: &Declared) -> Result<bool, Error> {
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
pub(super) fn hidden(declared: &Declared) -> Result<Option<String>, Error> {
    let missing = match declared.objective.scope {
        objective::Scope::Cluster => counting::hidden_errors_in(counting::Where::Anywhere)?,
        _ => counting::hidden_errors(user_of(declared)?.as_deref())?,
    };
    Ok(missing.map(|missing| words(&missing.problem, &missing.fix)))
}

/// Why what those execute whom an objective means has no ids, and the line that changes that.
pub(super) fn without_ids(declared: &Declared) -> Result<Option<String>, Error> {
    let missing = counting::without_ids(user_of(declared)?.as_deref())?;
    Ok(missing.map(|missing| words(&missing.problem, &missing.fix)))
}

/// Who is left out of an objective of all, because no times and no errors of them are counted.
pub(super) fn without(declared: &Declared) -> Result<Option<String>, Error> {
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

/// Why nothing is counted of those whom an objective means, and the line that changes that.
pub(super) fn not_counted(declared: &Declared) -> Result<Option<String>, Error> {
    if let Some(missing) = counting::missing(user_of(declared)?.as_deref())? {
        return Ok(Some(words(&missing.problem, &missing.fix)));
    }
    if is_nested(declared)? {
        let missing = counting::missing_nested(user_of(declared)?.as_deref())?;
        return Ok(missing.map(|missing| words(&missing.problem, &missing.fix)));
    }
    let is_application = matches!(declared.objective.scope, objective::Scope::Application(_));
    let roles = if is_application { counting::uncounted_roles()? } else { Vec::new() };
    Ok(roles
        .first()
        .map(|(role, fix)| words(&format!("pg_perfmon.capture is off for role {role}"), fix)))
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
