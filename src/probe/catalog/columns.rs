//! Columns, with what the planner knows of them as far as the caller may see it.

use std::collections::HashMap;

use perfmon_core::facts::{Column, Table};

use super::{Listed, oids, read};
use crate::pg::statistic::{self, Statistic};
use crate::probe::ProbeError;

/// The columns of each table, by its oid.
pub(super) type Columns = HashMap<u32, Vec<Column>>;

/// Statistics by relation and attribute: of tables, and of indexes for their expressions.
#[derive(Default)]
pub(super) struct Statistics {
    by_column: HashMap<(u32, i16), Statistic>,
}

/// With the rights of the caller; the server's view shows each column that may be read.
const READABLE: &str = "
SELECT a.attrelid, a.attnum, s.inherited, s.null_frac, s.avg_width, s.n_distinct
FROM pg_catalog.pg_stats s
    JOIN pg_catalog.pg_namespace n ON n.nspname OPERATOR(pg_catalog.=) s.schemaname
    JOIN pg_catalog.pg_class c ON c.relnamespace OPERATOR(pg_catalog.=) n.oid
        AND c.relname OPERATOR(pg_catalog.=) s.tablename
    JOIN pg_catalog.pg_attribute a ON a.attrelid OPERATOR(pg_catalog.=) c.oid
        AND a.attname OPERATOR(pg_catalog.=) s.attname";

impl Statistics {
    pub(super) fn read() -> Result<Self, ProbeError> {
        let mut found = Self::default();
        if statistic::all_readable() {
            statistic::each(|one| found.add(one));
            return Ok(found);
        }
        read(READABLE, &[], |row| {
            if let (Some(relation), Some(attnum)) = (row.oid(0), row.int2(1)) {
                found.add(Statistic {
                    relation,
                    attnum,
                    inherited: row.is(2),
                    null_ratio: row.float4(3).unwrap_or(0.0),
                    width: row.int4(4).unwrap_or(0),
                    distinct: row.float4(5).unwrap_or(0.0),
                });
            }
        })?;
        Ok(found)
    }

    /// A table's own rows count, if there are any; a partitioned one has only its children's.
    fn add(&mut self, one: Statistic) {
        let place = self.by_column.entry((one.relation, one.attnum)).or_insert(one);
        if !one.inherited {
            *place = one;
        }
    }

    /// Of that column, or part of an index.
    pub(super) fn of(&self, relation: u32, attnum: i16) -> Option<&Statistic> {
        self.by_column.get(&(relation, attnum))
    }
}

impl Statistic {
    /// Share of NULLs.
    pub(super) fn nulls(&self) -> f64 {
        f64::from(self.null_ratio)
    }

    /// Distinct values; 0 is the planner's word for unknown.
    pub(super) fn known_distinct(&self) -> Option<f64> {
        (self.distinct != 0.0).then(|| f64::from(self.distinct))
    }
}

/// Alignment in bytes from the server's letter.
pub(super) fn align(letter: Option<char>) -> u8 {
    match letter {
        Some('d') => 8,
        Some('i') => 4,
        Some('s') => 2,
        _ => 1,
    }
}

/// Width: the type's where fixed, else the average.
pub(super) fn width(length: i16, statistic: Option<&Statistic>) -> Option<i32> {
    match length {
        1.. => Some(i32::from(length)),
        _ => statistic.map(|s| s.width),
    }
}

/// The columns of these tables.
pub(super) fn columns(tables: &[u32], statistics: &Statistics) -> Result<Columns, ProbeError> {
    let mut found = Columns::new();
    read(
        "SELECT a.attrelid, a.attnum, pg_catalog.quote_ident(a.attname::pg_catalog.text),
             a.attalign, a.attlen, a.attnotnull
         FROM pg_catalog.pg_attribute a
         WHERE a.attrelid OPERATOR(pg_catalog.=) ANY ($1)
             AND a.attnum OPERATOR(pg_catalog.>) 0 AND NOT a.attisdropped
         ORDER BY a.attrelid, a.attnum",
        &[oids(tables)],
        |row| {
            let (Some(table), Some(attnum)) = (row.oid(0), row.int2(1)) else { return };
            let statistic = statistics.of(table, attnum);
            found.entry(table).or_default().push(Column {
                attnum,
                name: row.text(2).unwrap_or_default(),
                width: width(row.int2(4).unwrap_or(-1), statistic),
                null_ratio: statistic.map(Statistic::nulls),
                distinct: statistic.and_then(Statistic::known_distinct),
                align: align(row.letter(3)),
                not_null: row.is(5),
            });
        },
    )?;
    Ok(found)
}

/// The name of a column, quoted.
pub(super) fn name(columns: &Columns, table: u32, attnum: i16) -> Option<String> {
    let found = columns.get(&table)?.iter().find(|c| c.attnum == attnum)?;
    Some(found.name.clone())
}

/// Gives each table its columns.
pub(super) fn hand_over(mut columns: Columns, tables: &mut [Listed<Table>]) {
    for table in tables {
        table.fact.columns = columns.remove(&table.fact.oid).unwrap_or_default();
    }
}
