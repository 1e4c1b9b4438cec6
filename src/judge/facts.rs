//! Everything that is known about this database and a window, put together for the detectors.

use perfmon_core::facts::Facts;

use super::{counters, statements};
use crate::error::Error;
use crate::pg::{catalog, clock};
use crate::recall::scope::Scope;

/// What is known, as far as the current user may know it.
pub(crate) fn gather(scope: &Scope) -> Result<Facts, Error> {
    let scope = scope.quietly(scope.since, scope.until);
    let whole = counters::whole(&scope);
    let mut facts = Facts {
        now_us: clock::wall_us(),
        window: counters::window(&scope),
        history: counters::window(&whole),
        ..Facts::default()
    };
    facts.server.started_us = catalog::server_started();
    counters::server(&scope, &mut facts.server)?;
    facts.database = counters::database(&scope, facts.server.started_us)?;
    if facts.database.exec_ms.is_some() {
        let told = statements::statements(&scope)?;
        facts.statements = Some(told.into_iter().map(|told| told.fact).collect());
    }
    Ok(facts)
}
