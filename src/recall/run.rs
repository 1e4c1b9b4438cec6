//! Test runs as they were bracketed. It must never judge.

use super::cell::Cell;
use super::query;
use super::scope::Scope;
use super::words::Raw;
use crate::error::Error;

/// A run.
#[derive(Debug, Clone)]
pub(crate) struct Run {
    pub(crate) name: String,
    pub(crate) begun: i64,
    /// `None` while it goes on.
    pub(crate) ended: Option<i64>,
    pub(crate) note: Option<String>,
}

fn run(row: &[Cell]) -> Option<Run> {
    Some(Run {
        name: row.first()?.text()?,
        begun: row.get(1)?.int()?,
        ended: row.get(2).and_then(Cell::int),
        note: row.get(3).and_then(Cell::text),
    })
}

/// The latest run of that name in this history.
pub(crate) fn latest(scope: &Scope, name: &str) -> Result<Option<Run>, Error> {
    let row = query::row(
        "SELECT r.name, r.begun_at, r.ended_at, r.note FROM perfmon.run r
         WHERE r.source OPERATOR(pg_catalog.=) ANY ($1) AND r.name OPERATOR(pg_catalog.=) $2
         ORDER BY r.begun_at DESC LIMIT 1",
        &[scope.sources.clone().into(), Raw::from(name).into()],
    )?;
    Ok(row.as_deref().and_then(run))
}

/// The other runs during part of this time, in the order in which they began.
pub(crate) fn overlapping(scope: &Scope, one: &Run, until: i64) -> Result<Vec<Run>, Error> {
    let rows = query::rows(
        "SELECT r.name, r.begun_at, r.ended_at, r.note FROM perfmon.run r
         WHERE r.source OPERATOR(pg_catalog.=) ANY ($1)
             AND r.begun_at OPERATOR(pg_catalog.<) $3
             AND COALESCE(r.ended_at, 'infinity') OPERATOR(pg_catalog.>) $2
         ORDER BY r.begun_at, r.name",
        &[scope.sources.clone().into(), query::time(one.begun), query::time(until)],
    )?;
    let others = rows.iter().filter_map(|row| run(row));
    Ok(others.filter(|other| other.name != one.name || other.begun != one.begun).collect())
}
