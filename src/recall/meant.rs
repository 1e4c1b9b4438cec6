//! Whose executions and failures an objective means. It must never count them.

use std::collections::HashSet;

use perfmon_core::family::ROUTE;
use perfmon_core::objective;
use perfmon_core::tally::Who;

use super::cell::Cell;
use super::objective::Declared;
use super::scope::Scope;
use super::untold::user_of;
use super::words::Raw;
use super::{failures, names, query};
use crate::error::Error;

/// The routes that an objective means.
pub(super) struct Routes {
    /// `None` for all.
    own: Option<HashSet<Who>>,
    /// Nothing else tells of those whom it is about.
    pub(super) are_all_there_is: bool,
    /// They are those of the user of the statement that is meant.
    pub(super) are_of_its_user: bool,
}

impl Routes {
    pub(super) fn of(scope: &Scope, of: &Declared) -> Result<Option<Self>, Error> {
        let is_statement = matches!(of.objective.scope, objective::Scope::Statement(_));
        let all = Self { own: None, are_all_there_is: false, are_of_its_user: is_statement };
        let (place, name) = match &of.objective.scope {
            objective::Scope::Database => return Ok(Some(all)),
            objective::Scope::Application(name) => (0, name.clone()),
            objective::Scope::User(name) => (1, name.clone()),
            objective::Scope::Statement(_) => match user_of(of)? {
                Some(name) => (1, name),
                None => return Ok(Some(all)),
            },
            objective::Scope::Cluster => return Ok(None),
        };
        let name = Cell::from(name.as_str());
        let names = names::objects(ROUTE.name, &scope.sources)?;
        let own = names.into_iter().filter(|(_, names)| names[place] == name);
        let is_application = place == 0;
        Ok(Some(Self {
            own: Some(own.map(|(who, _)| who).collect()),
            are_all_there_is: is_application,
            are_of_its_user: is_statement,
        }))
    }

    pub(super) fn are_meant(&self, source: i64, id: u32) -> bool {
        self.own.as_ref().is_none_or(|own| own.contains(&(source, id)))
    }
}

/// Whose failures are meant.
pub(super) enum Failing {
    User(Cell),
    Statements(HashSet<Who>),
}

impl Failing {
    /// Whether nothing is known of whose they were: they found no place of their own.
    pub(super) fn may_be_anybodys(kind: &failures::Kind) -> bool {
        kind.class.ends_statement() && kind.user == Cell::Null && kind.statement.is_none()
    }

    /// Whether it may have been any statement of its user: it was counted without one. A text that is no SQL is none.
    pub(super) fn may_be_any_statements(kind: &failures::Kind) -> bool {
        /// syntax_error
        const NO_SQL: &str = "42601";
        kind.class.ends_statement()
            && kind.statement.is_none()
            && kind.state.as_deref() != Some(NO_SQL)
    }

    pub(super) fn is_of(&self, kind: &failures::Kind) -> bool {
        kind.class.ends_statement()
            && match self {
                Self::User(name) => kind.user == *name,
                Self::Statements(all) => kind.statement.is_some_and(|who| all.contains(&who)),
            }
    }
}

/// The statements that an objective of a user or of a statement means, under all sources.
pub(super) fn statements_of(scope: &Scope, of: &Declared) -> Result<HashSet<Who>, Error> {
    let rows = match &of.objective.scope {
        objective::Scope::Statement(id) => query::rows(
            "SELECT $1, $2::pg_catalog.int4
             UNION
             SELECT a.other_source, a.other_id FROM perfmon.statement_alias a
             WHERE a.source OPERATOR(pg_catalog.=) $1
                 AND a.statement_id OPERATOR(pg_catalog.=) $2::pg_catalog.int4",
            &[of.source.into(), (*id).into()],
        )?,
        objective::Scope::User(name) => query::rows(
            "SELECT s.source, s.statement_id FROM perfmon.statement s
             WHERE s.source OPERATOR(pg_catalog.=) ANY ($1) AND s.toplevel
                 AND s.user_name OPERATOR(pg_catalog.=) $2",
            &[scope.sources.clone().into(), Raw::from(name.as_str()).into()],
        )?,
        _ => Vec::new(),
    };
    Ok(rows.iter().filter_map(|row| names::who(row, 0)).collect())
}
