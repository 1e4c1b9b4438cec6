//! What plans did in the executions that were looked into, added up over a window.

use std::collections::HashMap;

use perfmon_core::capture::scan::{Counts, Described, Kind, Slot};
use perfmon_core::facts::Evidence;
use perfmon_core::facts::evidence::Scanned;
use perfmon_core::family::{RELATION, SCAN, STATEMENT};
use perfmon_core::tally::{Tally, Who};
use perfmon_core::window::Level;

use super::cell::Cell;
use super::objects::Objects;
use super::plan::Kept;
use super::scope::Scope;
use super::{names, query};
use crate::error::Error;
use crate::pg::catalog;
use crate::store::read;

/// Everything that was counted of nodes in the window; `None` while nothing was looked into.
fn counted(scope: &Scope) -> Result<Option<Tally>, Error> {
    let segments = Kept::of(&SCAN, scope).segments(scope, Level::Day);
    let columns: Vec<usize> = (1..SCAN.columns.len()).collect();
    let mut tally = Tally::new(&SCAN, &columns);
    let mut rows = 0;
    read::frames(&scope.sources, &SCAN, &segments, &columns, &mut |row| {
        rows += 1;
        tally.add(row.head.source, row.ids, row.head.known, &|i| row.column(i));
    });
    Ok((rows > 0).then_some(tally))
}

fn counts(tally: &Tally, place: usize) -> Counts {
    Counts(std::array::from_fn(|slot| tally.get(place, slot).unwrap_or(0)))
}

/// What nodes did that found no place of their own, or no name yet; `None` while there are none.
pub(crate) fn rest(scope: &Scope) -> Result<Option<Counts>, Error> {
    let Some(tally) = counted(scope)? else { return Ok(None) };
    let mut all = Counts::default();
    for (place, _) in tally.who().iter().enumerate().filter(|(_, who)| who.1 == 0) {
        all.add(&counts(&tally, place));
    }
    Ok((all != Counts::default()).then_some(all))
}

/// Nodes of the window, those that read most first; `None` while nothing was looked into.
pub(crate) fn evidence(scope: &Scope) -> Result<Option<Vec<Evidence>>, Error> {
    let Some(tally) = counted(scope)? else { return Ok(None) };
    let objects = names::objects(SCAN.name, &scope.sources)?;
    let newer = names::successors(&scope.sources)?;
    let mut samples: HashMap<u32, u64> = HashMap::new();
    let mut nodes: HashMap<(u32, String, String), (Described, Counts)> = HashMap::new();
    for (place, who) in tally.who().iter().enumerate() {
        let Some((statement, table, text)) = objects.get(who).and_then(|o| parts(who.0, o)) else {
            continue;
        };
        let Some(described) = Described::from_text(&text) else { continue };
        let counts = counts(&tally, place);
        // The same under an older source is the same.
        let statement = newer.get(&statement).copied().unwrap_or(statement).1;
        if described.kind() == Some(Kind::Execution) {
            *samples.entry(statement).or_default() += counts.get(Slot::Executions);
            continue;
        }
        let entry = nodes.entry((statement, table, text));
        entry.or_insert_with(|| (described, Counts::default())).1.add(&counts);
    }
    let mut all: Vec<Evidence> = nodes
        .into_iter()
        .map(|((statement, table, _), (node, counts))| Evidence {
            statement_id: i64::from(statement),
            statement_samples: samples.get(&statement).copied().unwrap_or(0),
            table,
            node,
            counts,
        })
        .collect();
    all.sort_by(|a, b| {
        let read = |e: &Evidence| e.counts.get(Slot::Read);
        let id = |e: &Evidence| (e.statement_id, e.table.clone(), e.node.to_text());
        read(b).cmp(&read(a)).then_with(|| id(a).cmp(&id(b)))
    });
    Ok(Some(all))
}

/// Statement, table and node of an object.
fn parts(source: i64, [statement, table, node]: &[Cell; 3]) -> Option<(Who, String, String)> {
    let statement: u32 = statement.text()?.parse().ok()?;
    Some(((source, statement), table.text().unwrap_or_default(), node.text()?))
}

/// Executions of statements in the window, by pg_stat_statements; empty where it is not known.
pub(crate) fn calls(scope: &Scope) -> Result<HashMap<i64, u64>, Error> {
    let segments = Kept::of(&STATEMENT, scope).segments(scope, Level::Day);
    let columns: Vec<usize> = STATEMENT.position("calls").into_iter().collect();
    let mut tally = Tally::new(&STATEMENT, &columns);
    read::frames(&scope.sources, &STATEMENT, &segments, &columns, &mut |row| {
        tally.add(row.head.source, row.ids, row.head.known, &|i| row.column(i));
    });
    let newer = names::successors(&scope.sources)?;
    let mut all: HashMap<i64, u64> = HashMap::new();
    for (place, who) in tally.who().iter().enumerate() {
        let id = newer.get(who).copied().unwrap_or(*who).1;
        if let Some(n) = tally.get(place, 0).filter(|_| id != 0) {
            *all.entry(i64::from(id)).or_default() += n;
        }
    }
    Ok(all)
}

/// Schemas whose tables are left out of the evidence.
const OF_THE_SERVER: [&str; 4] = ["pg_catalog", "pg_toast", "information_schema", "perfmon"];

/// Rows that sequential scans read in the window by the server's own counters, by the quoted name of the table; those
/// of partitions and children count for the tables above them too.
pub(crate) fn rows_scanned(scope: &Scope) -> Result<HashMap<String, Scanned>, Error> {
    let mut own: HashMap<String, u64> = HashMap::new();
    for object in Objects::of(&RELATION, scope)?.iter() {
        let (Some(schema), Some(name)) = (object.names[0].text(), object.names[1].text()) else {
            continue;
        };
        if OF_THE_SERVER.contains(&schema.as_str()) {
            continue;
        }
        let name = format!("{}.{}", catalog::quoted(&schema), catalog::quoted(&name));
        *own.entry(name).or_default() += object.v("seq_tup_read").unwrap_or(0);
    }
    let table = |rows: &u64| Scanned { rows: *rows, ..Scanned::default() };
    let mut all: HashMap<String, Scanned> =
        own.iter().map(|(name, rows)| (name.clone(), table(rows))).collect();
    for row in query::rows(CHILDREN, &[])? {
        let (Some(root), Some(child)) =
            (row.first().and_then(Cell::text), row.get(1).and_then(Cell::text))
        else {
            continue;
        };
        if let Some(child) = all.get_mut(&child) {
            child.is_part = true;
        }
        let root = all.entry(root).or_default();
        root.rows += own.get(&child).copied().unwrap_or(0);
        root.parts.push(child);
    }
    Ok(all)
}

/// Every table that has partitions or children, with all that are below it.
const CHILDREN: &str = "
    WITH RECURSIVE below (root, child) AS (
        SELECT i.inhparent, i.inhrelid FROM pg_catalog.pg_inherits i
        UNION
        SELECT b.root, i.inhrelid FROM below b
        JOIN pg_catalog.pg_inherits i ON i.inhparent OPERATOR(pg_catalog.=) b.child
    )
    SELECT pg_catalog.format('%I.%I', rn.nspname, r.relname), pg_catalog.format('%I.%I', cn.nspname, c.relname)
    FROM below b
    JOIN pg_catalog.pg_class r ON r.oid OPERATOR(pg_catalog.=) b.root
        AND r.relkind OPERATOR(pg_catalog.<>) 'I'
    JOIN pg_catalog.pg_namespace rn ON rn.oid OPERATOR(pg_catalog.=) r.relnamespace
    JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) b.child
    JOIN pg_catalog.pg_namespace cn ON cn.oid OPERATOR(pg_catalog.=) c.relnamespace";
