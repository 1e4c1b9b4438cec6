//! Gaps, changes and plain totals of a window.

use std::collections::HashMap;

use perfmon_core::change::Noticed;
use perfmon_core::family::Family;

use super::cell::Cell;
use super::query;
use super::scope::Scope;
use crate::error::Error;
use crate::store::read;

/// Gaps that touch the window: start, end, length in milliseconds, subject, kind, detail.
pub(crate) fn gap_rows(scope: &Scope) -> Result<Vec<Vec<Cell>>, Error> {
    query::rows(
        "SELECT g.since, g.until,
             (EXTRACT(EPOCH FROM g.until OPERATOR(pg_catalog.-) g.since)
                 OPERATOR(pg_catalog.*) 1000)::pg_catalog.float8,
             g.subject, g.kind, g.detail
         FROM perfmon.gap g
         WHERE g.source OPERATOR(pg_catalog.=) ANY ($1)
             AND g.until OPERATOR(pg_catalog.>) $2 AND g.since OPERATOR(pg_catalog.<) $3
         ORDER BY g.since, g.until, g.subject, g.kind",
        &[scope.sources.clone().into(), query::time(scope.since), query::time(scope.until)],
    )
}

/// Why something was not recorded in some of the window though it could have been, as settings said then.
pub(crate) fn switched_off(scope: &Scope, subject: &str) -> Result<Option<String>, Error> {
    Ok(off_times(scope, subject)?.pop().map(|(_, _, why)| why))
}

/// The same with the times of which it is so: start, end, why.
pub(super) fn off_times(scope: &Scope, subject: &str) -> Result<Vec<(i64, i64, String)>, Error> {
    let time = |row: &Vec<Cell>| {
        let text = |i: usize| row.get(i).and_then(Cell::text);
        let at = |i: usize| row.get(i).and_then(Cell::int);
        let is_meant =
            text(3).as_deref() == Some(subject) && text(4).as_deref() == Some("disabled");
        is_meant.then(|| Some((at(0)?, at(1)?, text(5).unwrap_or_default())))?
    };
    Ok(gap_rows(scope)?.iter().filter_map(time).collect())
}

/// Whether something was not recorded in some of the window, for one reason.
pub(crate) fn is_noted(scope: &Scope, (subject, why): (&str, &str)) -> Result<bool, Error> {
    let is = |row: &Vec<Cell>, i: usize, meant: &str| {
        row.get(i).and_then(Cell::text).as_deref() == Some(meant)
    };
    Ok(gap_rows(scope)?.iter().any(|row| is(row, 3, subject) && is(row, 5, why)))
}

/// How many gaps these rows tell of: what several subjects missed at the same time, for the same reason,
/// is one.
pub(crate) fn distinct_gaps(rows: &[Vec<Cell>]) -> usize {
    let mut ends: HashMap<Option<String>, i64> = HashMap::new();
    let mut count = 0;
    // They come by their start.
    for row in rows {
        let at = |i: usize| row.get(i).and_then(Cell::int).unwrap_or(0);
        let kind = row.get(4).and_then(Cell::text);
        let end = ends.entry(kind).or_insert(i64::MIN);
        count += usize::from(at(0) > *end);
        *end = at(1).max(*end);
    }
    count
}

/// Changes in the window: time, kind, name, value before and since.
pub(crate) fn change_rows(scope: &Scope) -> Result<Vec<Vec<Cell>>, Error> {
    query::rows(
        "SELECT c.at, c.kind, c.name, c.old_value, c.new_value
         FROM perfmon.change c
         WHERE c.source OPERATOR(pg_catalog.=) ANY ($1)
             AND c.at OPERATOR(pg_catalog.>) $2 AND c.at OPERATOR(pg_catalog.<=) $3
         ORDER BY c.at, c.kind, c.name",
        &[scope.sources.clone().into(), query::time(scope.since), query::time(scope.until)],
    )
}

/// Changes in the window in few words, each with its time: no definitions, which can be long.
pub(crate) fn noticed(scope: &Scope) -> Result<Vec<(i64, Noticed)>, Error> {
    let rows = query::rows(
        "SELECT c.at, c.kind, c.name, c.old_value IS NOT NULL, c.new_value IS NOT NULL
         FROM perfmon.change c
         WHERE c.source OPERATOR(pg_catalog.=) ANY ($1)
             AND c.at OPERATOR(pg_catalog.>) $2 AND c.at OPERATOR(pg_catalog.<=) $3
         ORDER BY c.at, c.kind, c.name",
        &[scope.sources.clone().into(), query::time(scope.since), query::time(scope.until)],
    )?;
    let noticed = |row: &Vec<Cell>| {
        let text = |i: usize| row.get(i).and_then(Cell::text);
        let is = |i: usize| row.get(i) == Some(&Cell::Bool(true));
        let at = row.first().and_then(Cell::int)?;
        Some((at, Noticed { kind: text(1)?, name: text(2)?, was: is(3), is: is(4) }))
    };
    Ok(rows.iter().filter_map(noticed).collect())
}

/// A plain total of a row, by its name; unknown is `None`.
pub(crate) fn total(family: &Family, head: &read::Head, name: &str) -> Option<u64> {
    let place = family.totals.iter().position(|total| *total == name)?;
    head.totals.get(place).copied().flatten().and_then(|v| u64::try_from(v).ok())
}
