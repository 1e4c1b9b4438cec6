//! Tables from which others inherit that are no partitions: each has indexes of its own, and a scan of the parent reads them
//! all.

use std::collections::{HashMap, HashSet};

use super::rows_of;
use crate::detect::idea::{IndexIdea, same};
use crate::facts::{Facts, Index, Table};

/// The table and all below it that hold rows, the largest first; none for one without children, and none for one that is
/// partitioned, whose indexes are those of its partitions too.
pub(super) fn members<'a>(
    table: &'a Table,
    children: &HashMap<u32, Vec<&'a Table>>,
) -> Vec<&'a Table> {
    if table.partitioned || !children.contains_key(&table.oid) {
        return Vec::new();
    }
    let (mut open, mut seen, mut found) = (vec![table], HashSet::new(), Vec::new());
    while let Some(one) = open.pop() {
        if seen.insert(one.oid) {
            open.extend(children.get(&one.oid).into_iter().flatten());
            found.push(one);
        }
    }
    let rows = |one: &Table| rows_of(one).unwrap_or(f64::INFINITY);
    // A parent is often empty.
    found.retain(|one| !one.partitioned && rows(one) > 0.0 && one.rows != Some(0.0));
    found.sort_by(|a, b| rows(b).total_cmp(&rows(a)).then(a.name.cmp(&b.name)));
    found
}

/// Indexes of a table that are there; of one with children, those that the largest has and all others have too.
pub(super) fn indexes(table: &Table, members: &[&Table], facts: &Facts) -> Vec<Index> {
    let of = |oid: u32| facts.indexes.iter().flatten().filter(move |index| index.table == oid);
    let Some((largest, others)) = members.split_first() else {
        return of(table.oid).cloned().collect();
    };
    let everywhere = |index: &&Index| {
        others.iter().all(|other| of(other.oid).any(|one| one.valid && is_alike(one, index)))
    };
    of(largest.oid).filter(everywhere).map(|index| as_of(table, index)).collect()
}

/// The same key by the same method; columns by their names, as their numbers may differ.
fn is_alike(a: &Index, b: &Index) -> bool {
    a.method == b.method
        && a.predicate == b.predicate
        && a.key.len() == b.key.len()
        && a.key.iter().zip(&b.key).all(|(a, b)| {
            same(0, &a.expression, 0, &b.expression)
                && (a.opclass, a.descending, a.nulls_first)
                    == (b.opclass, b.descending, b.nulls_first)
        })
}

/// A child's index, as if it were the parent's.
fn as_of(table: &Table, index: &Index) -> Index {
    let mut index = Index { table: table.oid, ..index.clone() };
    for key in index.key.iter_mut().filter(|key| key.attnum != 0) {
        let column = table.columns.iter().find(|column| column.name == key.expression);
        // A column that only the child has.
        key.attnum = column.map_or(i16::MIN, |column| column.attnum);
    }
    index
}

/// The statements that make an index on each member.
pub(super) fn statements(idea: &IndexIdea, members: &[&Table]) -> Option<String> {
    let mut idea = idea.clone();
    let mut all: Vec<String> = Vec::new();
    for member in members {
        all.push(idea.statement(member)?);
        // The first has made it.
        if let Some(need) = &mut idea.needs {
            need.installed = true;
        }
    }
    Some(all.join("\n"))
}
