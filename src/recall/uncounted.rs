//! What the hooks cannot have counted: statements within others, and the time without a server.

use std::collections::{HashMap, HashSet};

use perfmon_core::family::STATEMENT;
use perfmon_core::tally::Who;

use super::cell::Cell;
use super::scope::Scope;
use super::statements::positions;
use super::{names, query};
use crate::error::Error;
use crate::store::read::{self, Segment};

/// How often statements were executed by others, not by clients, by the ends of intervals.
pub(super) fn nested(scope: &Scope, segments: &[Segment]) -> Result<HashMap<i64, u64>, Error> {
    let rows = query::rows(
        "SELECT s.source, s.statement_id FROM perfmon.statement s
         WHERE s.source OPERATOR(pg_catalog.=) ANY ($1) AND NOT s.toplevel",
        &[scope.sources.clone().into()],
    )?;
    let nested: HashSet<Who> = rows.iter().filter_map(|row| names::who(row, 0)).collect();
    let mut calls = HashMap::new();
    if nested.is_empty() {
        return Ok(calls);
    }
    read::frames(&scope.sources, &STATEMENT, segments, &positions(&["calls"]), &mut |row| {
        let ids = row.ids.iter().enumerate();
        let own = ids.filter(|(_, id)| nested.contains(&(row.head.source, **id)));
        let sum: u64 = own.filter_map(|(place, _)| row.column(0)?.get(place)).sum();
        *calls.entry(row.head.span.until).or_default() += sum;
    });
    Ok(calls)
}

/// Times without a server. What single families missed is no such time.
pub(super) fn down(scope: &Scope, since: i64) -> Result<Vec<(i64, i64)>, Error> {
    let rows = query::rows(
        "SELECT g.since, g.until FROM perfmon.gap g
         WHERE g.source OPERATOR(pg_catalog.=) ANY ($1)
             AND g.kind OPERATOR(pg_catalog.=) 'server_down'
             AND g.subject OPERATOR(pg_catalog.=) ANY (ARRAY['all', 'server'])
             AND g.until OPERATOR(pg_catalog.>) $2 AND g.since OPERATOR(pg_catalog.<) $3
         ORDER BY g.since, g.until",
        &[scope.sources.clone().into(), query::time(since), query::time(scope.until)],
    )?;
    let mut down: Vec<(i64, i64)> = Vec::new();
    for row in rows {
        let at = |i: usize| row.get(i).and_then(Cell::int).unwrap_or(0);
        match down.last_mut() {
            Some(last) if at(0) <= last.1 => last.1 = last.1.max(at(1)),
            _ => down.push((at(0), at(1))),
        }
    }
    Ok(down)
}
