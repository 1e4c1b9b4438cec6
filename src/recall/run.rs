//! Test runs as they were bracketed. It must never judge.

use std::collections::HashSet;

use perfmon_core::family::STATEMENT;
use perfmon_core::frame::Quality;
use perfmon_core::report::Executed;
use perfmon_core::rollup::OTHER;
use perfmon_core::tally::Who;
use perfmon_core::window::Level;

use super::cell::Cell;
use super::plan::Kept;
use super::scope::Scope;
use super::words::Raw;
use super::{counting, latency, names, query, statements, times};
use crate::error::Error;
use crate::store::read;

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

/// Which statements ran, as the server's own statistics and the hooks tell; `are_timed` where the latter missed nothing.
pub(crate) fn executed(scope: &Scope, are_timed: bool) -> Result<Executed, Error> {
    let tally = statements::add_up(scope, &statements::positions(&["calls"])).tally;
    let ran = |place: &usize| tally.get(*place, 0).is_some_and(|calls| calls > 0);
    let places = (0..tally.who().len()).filter(ran);
    let counted: HashSet<Who> = places.map(|place| tally.who()[place]).collect();
    let timed = latency::all_ids(scope);
    let is_rest = |all: &HashSet<Who>| all.iter().any(|who| who.1 == OTHER);
    let are_all = are_timed && !is_rest(&timed) || are_counted(scope)? && !is_rest(&counted);
    let newer = names::successors(&scope.sources)?;
    let id = |who: &Who| i64::from(newer.get(who).unwrap_or(who).1);
    Ok(Executed { ids: counted.iter().chain(&timed).map(id).collect(), are_all })
}

/// Whether the server counted all that was executed in the window, and forgot nothing.
fn are_counted(scope: &Scope) -> Result<bool, Error> {
    let segments = Kept::of(&STATEMENT, scope).segments(scope, Level::Day);
    let (mut any, mut are_exact) = (false, true);
    read::frames(&scope.sources, &STATEMENT, &segments, &[], &mut |row| {
        any = true;
        are_exact &= row.head.span.quality == Quality::Exact;
    });
    let text = |row: &Vec<Cell>, i: usize| row.get(i).and_then(Cell::text).unwrap_or_default();
    let is_lost = |row: &Vec<Cell>| {
        let subject = text(row, 3);
        subject == STATEMENT.name || subject == "all" && text(row, 4) != "missed"
    };
    Ok(any
        && are_exact
        && !times::gap_rows(scope)?.iter().any(is_lost)
        && !counting::is_untracked(None)?)
}
