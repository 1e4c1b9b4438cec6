//! The catalog as it is now: tables, indexes, foreign keys and sequences, in core's shapes. Sizes and
//! numbers of rows are the planner's; what was counted comes from history.
//!
//! Nothing here waits for a lock on a relation of a user. What the server deparses only under such a
//! lock is left out while somebody holds the relation (`catalog/texts.rs`).

use std::collections::HashMap;

use perfmon_core::facts::{ForeignKey, Index, Table};
use pgrx::pg_sys;

use super::ProbeError;

mod columns;
mod indexes;
mod keys;
mod sequences;
mod tables;
mod texts;

#[cfg(any(test, feature = "pg_test"))]
mod checks;

pub(crate) use sequences::sequences;

/// An object, and its names as the dictionary of the history keeps them (not quoted): of a table its
/// schema, itself and what it is; of an index its schema, itself and its table.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Listed<T> {
    pub(crate) plain: [String; 3],
    pub(crate) fact: T,
}

/// What was found, each list by name.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Catalog {
    /// Those of the system and of extensions too, marked as internal.
    pub(crate) tables: Vec<Listed<Table>>,
    /// Of the tables that are not internal.
    pub(crate) indexes: Vec<Listed<Index>>,
    /// Between tables that are not internal. Of a partitioned table only its own.
    pub(crate) foreign_keys: Vec<ForeignKey>,
}

/// Reads them, with the rights of the caller. Temporary tables, foreign tables and views are left out.
pub(crate) fn catalog() -> Result<Catalog, ProbeError> {
    let common = Common::read()?;
    let (mut tables, persistent) = tables::tables(&common)?;
    let own: Vec<u32> = tables.iter().filter(|t| !t.fact.internal).map(|t| t.fact.oid).collect();
    tables::publish(&mut tables, &persistent)?;
    let statistics = columns::Statistics::read()?;
    let columns = columns::columns(&own, &statistics)?;
    let mut indexes = indexes::indexes(&own, &tables, &common, &columns, &statistics)?;
    let foreign_keys = keys::constraints(&columns, &mut indexes)?;
    texts::deparse(&mut indexes);
    columns::hand_over(columns, &mut tables);
    tables.sort_by(|a, b| a.plain.cmp(&b.plain));
    indexes.sort_by(|a, b| a.plain.cmp(&b.plain));
    Ok(Catalog { tables, indexes, foreign_keys })
}

/// What more than one part needs.
#[derive(Default)]
struct Common {
    /// First parent of each relation that has one.
    parents: HashMap<u32, u32>,
    /// Storage parameters, by relation.
    options: HashMap<u32, Vec<(String, String)>>,
}

impl Common {
    fn read() -> Result<Self, ProbeError> {
        let mut common = Self::default();
        read(
            "SELECT h.inhrelid, h.inhparent FROM pg_catalog.pg_inherits h
             ORDER BY h.inhrelid, h.inhseqno",
            &[],
            |row| {
                if let (Some(child), Some(parent)) = (row.oid(0), row.oid(1)) {
                    common.parents.entry(child).or_insert(parent);
                }
            },
        )?;
        read(
            "SELECT c.oid, o.option_name, o.option_value
             FROM pg_catalog.pg_class c, LATERAL pg_catalog.pg_options_to_table(c.reloptions) o
             WHERE c.reloptions IS NOT NULL",
            &[],
            |row| {
                if let (Some(relation), Some(name)) = (row.oid(0), row.text(1)) {
                    let option = (name, row.text(2).unwrap_or_default());
                    common.options.entry(relation).or_default().push(option);
                }
            },
        )?;
        Ok(common)
    }

    /// Storage parameters of a relation, each after a prefix.
    fn options_of(&self, relation: u32, prefix: &str) -> Vec<(String, String)> {
        let options = self.options.get(&relation).into_iter().flatten();
        options.map(|(name, value)| (format!("{prefix}{name}"), value.clone())).collect()
    }
}

/// Reads rows of a SELECT.
fn read(
    query: &str,
    arguments: &[pgrx::datum::DatumWithOid<'_>],
    row: impl FnMut(&crate::pg::reading::Row<'_>),
) -> Result<(), ProbeError> {
    crate::pg::reading::each(query, arguments, row)
        .map_err(|error| ProbeError::unexpected(error.to_string()))
}

/// A list of oids as a parameter.
fn oids<'a>(list: &[u32]) -> pgrx::datum::DatumWithOid<'a> {
    list.iter().map(|&oid| pg_sys::Oid::from(oid)).collect::<Vec<_>>().into()
}

/// Bytes of so many pages, where these are known: a relation that was never vacuumed, analyzed or
/// indexed stands at no pages and less than no rows.
fn bytes(pages: Option<i32>, rows: Option<f32>) -> Option<i64> {
    estimate(rows)?;
    pages.map(|pages| i64::from(pages) * i64::from(pg_sys::BLCKSZ))
}

/// The planner's number of rows, where it has one.
fn estimate(rows: Option<f32>) -> Option<f64> {
    rows.filter(|&rows| rows >= 0.0).map(f64::from)
}
