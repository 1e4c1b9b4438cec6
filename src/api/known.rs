//! Which statement an id means.

use std::collections::BTreeSet;

use perfmon_core::family::STATEMENT;
use perfmon_core::tally::Who;
use perfmon_core::window::Level;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;

use super::args::Scope;
use crate::error::Error;
use crate::recall::names;
use crate::recall::plan::Kept;
use crate::recall::statements::positions;
use crate::store::read;

/// The statement under every source in the scope. Two sources may have the same id: releases before 0.9.0 began with 1 again,
/// and so does a collector before a restore has brought the ids of another source. Then it is that of the newest source that
/// has something of it in the window.
pub(super) fn statement(scope: &Scope, statement_id: Option<i32>) -> Result<Vec<Who>, Error> {
    let unknown = |id: String| {
        Error::argument("unknown statement")
            .detail(format!("There is no statement {id} in this history."))
            .hint("perfmon.top_statements() and the view perfmon.statement list the ids.")
    };
    let Some(id) = statement_id else { return Err(unknown("NULL".to_owned())) };
    let Ok(id_u32) = u32::try_from(id) else { return Err(unknown(id.to_string())) };
    if id_u32 == 0 && !scope.sources.is_empty() {
        return Ok(scope.sources.iter().map(|source| (*source, 0)).collect());
    }
    let meant = names::sources_of(&scope.sources, id)?;
    let meant: Vec<Who> = meant.into_iter().map(|source| (source, id_u32)).collect();
    let who = match meant.as_slice() {
        [] => return Err(unknown(id.to_string())),
        [only] => *only,
        several => first_recorded(scope, several),
    };
    let mut all = vec![who];
    all.extend(names::aliases(&scope.sources, who)?);
    Ok(all)
}

/// The first of these statements of which the window has executions; else the first of them. Where it has some of others
/// too, that is said.
fn first_recorded(scope: &Scope, several: &[Who]) -> Who {
    // The caller says it, if the window has to be widened.
    let quiet = scope.quietly(scope.since, scope.until);
    let segments = Kept::of(&STATEMENT, &quiet).segments(&quiet, Level::Day);
    let mut recorded = BTreeSet::new();
    read::series_of(several, &STATEMENT, &segments, &positions(&["calls"]), &mut |point| {
        // Every row is handed over, those that the statement is not in as well.
        if point.values.iter().flatten().any(|calls| *calls > 0) {
            recorded.insert(point.index);
        }
    });
    let at = |index: &usize| several.get(*index);
    let found = recorded.first().and_then(at).or(several.first()).copied().unwrap_or_default();
    if recorded.len() > 1 {
        ErrorReport::new(
            PgSqlErrorCode::ERRCODE_SUCCESSFUL_COMPLETION,
            format!("{} is the id of several statements", found.1),
            "pg_perfmon",
        )
        .set_detail(format!("This is the one of source {}.", found.0))
        .set_hint("Name the source for another: from_source of perfmon.top_statements().")
        .report(PgLogLevel::NOTICE);
    }
    found
}
