//! What to do about a scan, in words and as a statement.

use super::{Reader, Scan};
use crate::detect::idea::IndexIdea;
use crate::facts::Table;

/// What to do about it, in words and as a statement: the index that serves most of the time wasted.
pub fn remedy(scan: &Scan<'_>) -> (String, Option<String>) {
    let (mut words, statement) = advice(&scan.idea, &scan.table);
    let rest: Vec<_> = scan.readers.iter().filter(|r| !r.served).collect();
    if !rest.is_empty() {
        let known = |r: &Reader<'_>| {
            let by = |p: &crate::facts::Predicate| scan.idea.has(p.attnum, &p.expression);
            r.table.predicates.iter().any(by)
        };
        let how = match (rest.iter().any(|r| known(r)), rest.iter().all(|r| known(r))) {
            (false, _) => "by other columns",
            (true, true) => "in another way",
            (true, false) => "by other columns or in another way",
        };
        words.push_str(&format!(
            " Other statements look rows up {how}, for which it does not serve: see perfmon.seq_scans()."
        ));
    }
    (words, statement)
}

/// The same for one statement: the index that is proposed, if it serves it, or else the one that it lacks.
pub fn remedy_of(scan: &Scan<'_>, reader: &Reader<'_>) -> (String, Option<String>) {
    if reader.served { remedy(scan) } else { advice(&reader.idea, &scan.table) }
}

fn advice(idea: &IndexIdea, table: &Table) -> (String, Option<String>) {
    let mut words = format!("Create an index on {}.", idea.columns());
    if let Some(need) = idea.needs.as_ref().filter(|need| !need.installed) {
        let how = if need.available {
            "which CREATE EXTENSION brings"
        } else {
            "which must be installed on the server first"
        };
        words = format!(
            "Create a {} index on {}. It needs the extension {}, {how}.",
            idea.method.word(),
            idea.columns(),
            need.extension
        );
    }
    if idea.locks_writers(table) {
        words.push_str(" On a partitioned table it keeps writers waiting while it is built: with much data, create it CONCURRENTLY on each partition first, then ON ONLY the parent, and attach.");
    }
    (words, idea.statement(table))
}
