//! The time without a server.

use super::cell::Cell;
use super::query;
use super::scope::Scope;
use crate::error::Error;

/// Times without a server. What single families missed is no such time.
pub(super) fn times(scope: &Scope, since: i64) -> Result<Vec<(i64, i64)>, Error> {
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
