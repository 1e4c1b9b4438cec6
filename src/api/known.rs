//! Which statement an id means.

use std::collections::BTreeSet;

use perfmon_core::family::STATEMENT;
use perfmon_core::tally::Who;
use perfmon_core::window::Level;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;

use super::args::Scope;
use crate::error::Error;
use crate::recall::plan::Kept;
use crate::recall::statements::positions;
use crate::recall::{names, query};
use crate::store::{self, read};

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

/// The id that a statement has under this database's own source, which is that of what is executed from now on. Where the id is
/// one of what a restore brought, that of the same statement: after a dump its tables are others, and so is its queryid, so
/// that the text tells; of several the newest.
pub(super) fn executed_here(id: i64) -> Result<i64, Error> {
    let sources = store::source::lineage(None);
    let id_i32 = i32::try_from(id).unwrap_or(-1);
    let own = store::source::own();
    let meant = names::sources_of(&sources, id_i32)?;
    let Some(source) = meant.first().copied() else {
        return Err(Error::argument(format!("there is no statement {id}"))
            .detail("\"statement_id\" is that of this database's history.")
            .hint("SELECT statement_id, query FROM perfmon.top_statements() lists them."));
    };
    if Some(source) == own {
        return Ok(id);
    }
    let same = query::value(
        "SELECT s.statement_id
         FROM perfmon.statement r
         JOIN perfmon.statement s ON s.user_name OPERATOR(pg_catalog.=) r.user_name
             AND s.toplevel OPERATOR(pg_catalog.=) r.toplevel
             AND (s.queryid OPERATOR(pg_catalog.=) r.queryid OR s.query OPERATOR(pg_catalog.=) r.query)
         WHERE r.source OPERATOR(pg_catalog.=) $1 AND r.statement_id OPERATOR(pg_catalog.=) $2
             AND s.source OPERATOR(pg_catalog.=) $3
             -- Texts that may not be seen are all alike.
             AND r.queryid IS NOT NULL AND s.queryid IS NOT NULL
         ORDER BY s.queryid OPERATOR(pg_catalog.=) r.queryid DESC, s.statement_id DESC LIMIT 1",
        &[source.into(), id_i32.into(), own.unwrap_or(0).into()],
    )?;
    let Some(same) = same.int() else {
        return Err(Error::prerequisite(format!(
            "statement {id} is not known to have been executed since its history came here"
        ))
        .detail(format!("Its id is one of source {source}, of which this database is a copy or was restored."))
        .hint("Declare it after it was executed and perfmon.snapshot() was called: perfmon.top_statements() lists the new id."));
    };
    ErrorReport::new(
        PgSqlErrorCode::ERRCODE_SUCCESSFUL_COMPLETION,
        format!("statement {id} is statement {same} since its history came here"),
        "pg_perfmon",
    )
    .report(PgLogLevel::NOTICE);
    Ok(same)
}
