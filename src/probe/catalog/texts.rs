//! What the server deparses of an index. To do so it opens the index's table, and would wait for whoever
//! holds it: so each table is locked here first, if that can be had at once, and only while the server
//! deparses. It must never hold more than a handful of locks, nor any of them longer than that.

use std::collections::HashMap;

use perfmon_core::facts::Index;

use super::{Listed, oids, read};
use crate::pg::{share, txn};
use crate::probe::ProbeError;

/// Tables that are locked together: the lock table of a server holds thousands.
const TOGETHER: usize = 50;

/// Of an index that is gone meanwhile the server says nothing.
const TEXTS: &str = "
SELECT i.indexrelid, 0::pg_catalog.int2, pg_catalog.pg_get_indexdef(i.indexrelid), CASE
    WHEN i.indpred IS NOT NULL THEN pg_catalog.pg_get_expr(i.indpred, i.indrelid) END
FROM pg_catalog.pg_index i
WHERE i.indrelid OPERATOR(pg_catalog.=) ANY ($1)
    AND i.indexrelid OPERATOR(pg_catalog.=) ANY ($2)
UNION ALL
SELECT i.indexrelid, a.attnum,
    pg_catalog.pg_get_indexdef(i.indexrelid, a.attnum::pg_catalog.int4, false), NULL
FROM pg_catalog.pg_index i
    JOIN pg_catalog.pg_attribute a ON a.attrelid OPERATOR(pg_catalog.=) i.indexrelid
WHERE i.indrelid OPERATOR(pg_catalog.=) ANY ($1)
    AND i.indexrelid OPERATOR(pg_catalog.=) ANY ($2) AND i.indexprs IS NOT NULL
    AND i.indkey[a.attnum OPERATOR(pg_catalog.-) 1] OPERATOR(pg_catalog.=) 0";

/// Fills in definitions, predicates and expressions of the indexes that are marked as not read and whose
/// table nobody holds.
pub(super) fn deparse(indexes: &mut [Listed<Index>]) {
    let unread = || indexes.iter().enumerate().filter(|(_, index)| index.fact.unread);
    let places: HashMap<u32, usize> =
        unread().map(|(place, index)| (index.fact.oid, place)).collect();
    let mut tables: Vec<u32> = unread().map(|(_, index)| index.fact.table).collect();
    tables.sort_unstable();
    tables.dedup();
    let wanted: Vec<u32> = places.keys().copied().collect();
    for some in tables.chunks(TOGETHER) {
        // An index that the server cannot deparse takes its companions' texts with it, not the probe.
        match txn::part(|| texts_of(some, &wanted)) {
            Ok(Ok(texts)) => {
                for text in texts {
                    if let Some(&place) = places.get(&text.index) {
                        text.enter(&mut indexes[place].fact);
                    }
                }
            }
            Ok(Err(_)) => {}
            Err(error) if error.is_cancel() => error.rethrow(),
            Err(_) => {}
        }
    }
}

struct Text {
    index: u32,
    /// 0 for the whole, else the number of the part.
    part: usize,
    text: String,
    predicate: Option<String>,
}

fn texts_of(tables: &[u32], indexes: &[u32]) -> Result<Vec<Text>, ProbeError> {
    let locked = share::try_lock(tables);
    let mut texts = Vec::new();
    read(TEXTS, &[oids(&locked), oids(indexes)], |row| {
        if let (Some(index), Some(part), Some(text)) = (row.oid(0), row.int2(1), row.text(2)) {
            let part = usize::try_from(part).unwrap_or(0);
            texts.push(Text { index, part, text, predicate: row.text(3) });
        }
    })?;
    share::release(&locked);
    Ok(texts)
}

impl Text {
    fn enter(self, index: &mut Index) {
        match self.part.checked_sub(1) {
            None => {
                index.definition = self.text;
                index.predicate = self.predicate;
                index.unread = false;
            }
            Some(part) => {
                if let Some(part) = index.key.get_mut(part) {
                    part.expression = bare(&self.text);
                }
            }
        }
    }
}

/// The server puts an expression of an index into parentheses, unless it is a bare call of a function.
fn bare(expression: &str) -> String {
    let inner = expression.strip_prefix('(').and_then(|rest| rest.strip_suffix(')'));
    inner.unwrap_or(expression).to_owned()
}
