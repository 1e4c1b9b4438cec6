//! Names for ids, as far as the caller may see them: statements through the masking view, everything
//! else from the dictionary.

use std::collections::HashMap;

use perfmon_core::tally::Who;

use super::cell::Cell;
use super::query;
use crate::error::Error;

/// What is shown of a statement.
#[derive(Debug, Clone)]
pub(crate) struct Statement {
    pub(crate) user_name: Cell,
    pub(crate) toplevel: Cell,
    pub(crate) command: Cell,
    pub(crate) query: Cell,
    pub(crate) queryid: Cell,
}

impl Statement {
    /// A statement of which the dictionary knows nothing (any more), or the rest of them all.
    pub(crate) fn unknown(id: u32) -> Self {
        let query = if id == 0 { Cell::from("(all other statements)") } else { Cell::Null };
        let toplevel = Cell::Null;
        Self { user_name: Cell::Null, toplevel, command: Cell::Null, query, queryid: Cell::Null }
    }
}

pub(super) fn split(wanted: &[Who]) -> (Vec<i64>, Vec<i32>) {
    wanted.iter().map(|(source, id)| (*source, i32::try_from(*id).unwrap_or(-1))).unzip()
}

pub(super) fn who(row: &[Cell], at: usize) -> Option<Who> {
    Some((row.get(at)?.int()?, u32::try_from(row.get(at + 1)?.int()?).ok()?))
}

/// Statements by source and id.
pub(crate) fn statements(wanted: &[Who]) -> Result<HashMap<Who, Statement>, Error> {
    let (sources, ids) = split(wanted);
    let mut found = HashMap::new();
    for source in distinct(&sources) {
        let of_source: Vec<i32> =
            sources.iter().zip(&ids).filter(|(s, _)| **s == source).map(|(_, id)| *id).collect();
        let rows = query::rows(
            "SELECT s.source, s.statement_id, s.user_name, s.toplevel, s.command,
                 CASE WHEN s.query IS NULL AND s.note IS NOT NULL
                     THEN pg_catalog.format('(%s)', s.note) ELSE s.query END,
                 s.queryid
             FROM perfmon.statement s
             WHERE s.source OPERATOR(pg_catalog.=) $1
                 AND s.statement_id OPERATOR(pg_catalog.=) ANY ($2)",
            &[source.into(), of_source.into()],
        )?;
        for row in rows {
            let Some(key) = who(&row, 0) else { continue };
            let mut cells = row.into_iter().skip(2);
            let mut next = || cells.next().unwrap_or(Cell::Null);
            let statement = Statement {
                user_name: next(),
                toplevel: next(),
                command: next(),
                query: next(),
                queryid: next(),
            };
            found.insert(key, statement);
        }
    }
    Ok(found)
}

/// Those of these sources that have a statement of this id, in their order.
pub(crate) fn sources_of(sources: &[i64], id: i32) -> Result<Vec<i64>, Error> {
    let rows = query::rows(
        "SELECT s.source
         FROM perfmon.statement s
         WHERE s.source OPERATOR(pg_catalog.=) ANY ($1)
             AND s.statement_id OPERATOR(pg_catalog.=) $2",
        &[sources.to_vec().into(), id.into()],
    )?;
    let found: Vec<i64> = rows.iter().filter_map(|row| row.first()?.int()).collect();
    Ok(sources.iter().copied().filter(|source| found.contains(source)).collect())
}

/// Every statement of this id, under all of these sources.
pub(super) fn meant(sources: &[i64], id: i32) -> Result<Vec<Who>, Error> {
    let mut all = Vec::new();
    let Ok(id_u32) = u32::try_from(id) else { return Ok(all) };
    for source in sources_of(sources, id)? {
        all.push((source, id_u32));
        all.extend(aliases(sources, (source, id_u32))?);
    }
    Ok(all)
}

/// What a statement is called under the others of these sources.
pub(crate) fn aliases(sources: &[i64], (source, id): Who) -> Result<Vec<Who>, Error> {
    if sources.len() < 2 {
        return Ok(Vec::new());
    }
    let rows = query::rows(
        "SELECT a.other_source, a.other_id
         FROM perfmon.statement_alias a
         WHERE a.source OPERATOR(pg_catalog.=) $1
             AND a.statement_id OPERATOR(pg_catalog.=) $2
             AND a.other_source OPERATOR(pg_catalog.=) ANY ($3)",
        &[source.into(), i32::try_from(id).unwrap_or(-1).into(), sources.to_vec().into()],
    )?;
    Ok(rows.iter().filter_map(|row| who(row, 0)).collect())
}

/// For statements of older sources, what they are called under the newest; those that never came back
/// are not listed.
pub(crate) fn successors(sources: &[i64]) -> Result<HashMap<Who, Who>, Error> {
    let Some((newest, older)) = sources.split_first() else { return Ok(HashMap::new()) };
    if older.is_empty() {
        return Ok(HashMap::new());
    }
    let rows = query::rows(
        "SELECT a.source, a.statement_id, a.other_source, a.other_id
         FROM perfmon.statement_alias a
         WHERE a.other_source OPERATOR(pg_catalog.=) $1
             AND a.source OPERATOR(pg_catalog.=) ANY ($2)",
        &[(*newest).into(), older.to_vec().into()],
    )?;
    Ok(rows.iter().filter_map(|row| Some((who(row, 0)?, who(row, 2)?))).collect())
}

/// The three names of objects of a family, by source and id. Few enough to be read whole.
pub(crate) fn objects(family: &str, sources: &[i64]) -> Result<HashMap<Who, [Cell; 3]>, Error> {
    let rows = query::rows(
        "SELECT o.source, o.object_id, o.name1, o.name2, o.name3
         FROM perfmon.object o
         WHERE o.source OPERATOR(pg_catalog.=) ANY ($1)
             AND o.family OPERATOR(pg_catalog.=) $2",
        &[sources.to_vec().into(), super::words::Raw::from(family).into()],
    )?;
    let mut found = HashMap::new();
    for row in rows {
        let Some(key) = who(&row, 0) else { continue };
        let mut names = row.into_iter().skip(2);
        let mut next = || names.next().unwrap_or(Cell::Null);
        found.insert(key, [next(), next(), next()]);
    }
    Ok(found)
}

fn distinct(sources: &[i64]) -> Vec<i64> {
    let mut all = sources.to_vec();
    all.sort_unstable();
    all.dedup();
    all
}
