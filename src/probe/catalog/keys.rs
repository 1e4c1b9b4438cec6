//! Constraints: those that need an index, and foreign keys.

use std::collections::HashMap;

use perfmon_core::facts::{Constraint, ForeignKey, Index};

use super::columns::{self, Columns};
use super::{Listed, read};
use crate::probe::ProbeError;

/// A foreign key that is not enforced needs nothing; one over a period of time is not looked at. Both
/// came with version 18.
const PLAIN: &str =
    if cfg!(feature = "pg18") { "c.conenforced AND NOT c.conperiod" } else { "true" };

/// Gives each index the constraints that need it, and returns the foreign keys. Those that a partition
/// has from its parent are told for the parent only.
pub(super) fn constraints(
    columns: &Columns,
    indexes: &mut [Listed<Index>],
) -> Result<Vec<ForeignKey>, ProbeError> {
    let query = format!(
        r#"SELECT c.contype, pg_catalog.quote_ident(c.conname::pg_catalog.text), c.conrelid,
             c.conindid, c.confrelid, pg_catalog.array_to_string(c.conkey, ' '),
             c.confdeltype, c.confupdtype,
             c.conparentid OPERATOR(pg_catalog.=) 0::pg_catalog.oid AND {PLAIN},
             pg_catalog.array_to_string(c.confkey, ' ')
         FROM pg_catalog.pg_constraint c
         WHERE c.contype OPERATOR(pg_catalog.=) ANY ('{{p,u,x,f}}'::pg_catalog."char"[])
         ORDER BY c.conrelid, c.conname"#
    );
    let places: HashMap<u32, usize> =
        indexes.iter().enumerate().map(|(place, index)| (index.fact.oid, place)).collect();
    let mut foreign_keys = Vec::new();
    read(&query, &[], |row| {
        let (Some(kind), Some(name), Some(table)) = (row.letter(0), row.text(1), row.oid(2)) else {
            return;
        };
        if let Some(&place) = row.oid(3).and_then(|index| places.get(&index)) {
            let constraint = Constraint { kind, name: name.clone() };
            let known = &mut indexes[place].fact.constraints;
            if !known.contains(&constraint) {
                known.push(constraint);
            }
        }
        let numbers = |column: usize| -> Option<Vec<i16>> {
            row.text(column)?.split_whitespace().map(|n| n.parse().ok()).collect()
        };
        if kind != 'f' || !row.is(8) || !columns.contains_key(&table) {
            return;
        }
        let Some(columns_of_key) = numbers(5) else { return };
        let names = columns_of_key.iter().map(|&n| columns::name(columns, table, n));
        let Some(column_names) = names.collect() else { return };
        foreign_keys.push(ForeignKey {
            name,
            table,
            columns: columns_of_key,
            column_names,
            referenced: row.oid(4).unwrap_or(0),
            referenced_columns: numbers(9).unwrap_or_default(),
            on_delete: row.letter(6).unwrap_or('a'),
            on_update: row.letter(7).unwrap_or('a'),
        });
    })?;
    Ok(foreign_keys)
}
