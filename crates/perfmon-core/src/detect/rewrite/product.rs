//! Tables that no condition connects: each row of one goes with each row of the other.

use std::collections::HashSet;

use super::{Hint, JOIN, Look};
use crate::detect::words;
use crate::facts::{Form, Statement, Table};
use crate::finding::{Effort, Evidence, Severity};
use crate::threshold::Threshold;

pub(super) const PAIRS: Threshold = Threshold::new(
    "rewrite_product_min_pairs",
    1_000_000.0,
    "Pairs of rows from which tables without a condition between them are worth a finding.",
    "pg_perfmon: so many take a tenth of a second",
);

/// A part of the tables that conditions connect.
type Connected = [(u32, String)];

pub(super) fn hint<'a>(
    look: &Look<'a>,
    s: &'a Statement,
    form: &'a Form,
    parts: &'a [Vec<(u32, String)>],
) -> Option<Hint<'a>> {
    // A part that a constant narrows may be a single row.
    let large: Vec<_> = parts
        .iter()
        .filter(|part| !is_narrowed(s, part))
        .filter_map(|part| Some((part.as_slice(), largest(look, part)?)))
        .filter(|(_, (_, rows))| *rows >= 2.0)
        .collect();
    let pairs: f64 = large.iter().map(|(_, (_, rows))| rows).product();
    if large.len() < 2 || pairs < look.t.of(&PAIRS) {
        return None;
    }
    let (table, rows) = large.iter().map(|(_, one)| *one).max_by(|a, b| a.1.total_cmp(&b.1))?;
    let mut names: Vec<String> = large.iter().map(|(_, (table, _))| table.name.clone()).collect();
    names.sort();
    let better = keys(look, &large.iter().map(|(part, _)| *part).collect::<Vec<_>>());
    let mut evidence = vec![Evidence::new("row_pairs", pairs, "rows").over(look.t.of(&PAIRS))];
    evidence.extend(look.evidence(s, Some((table, rows))));
    let remedy = match better.is_some() {
        true => "Add the condition that joins them; a foreign key tells which it may be.",
        false => {
            "Add the condition that joins them; if all pairs are wanted, say so with CROSS JOIN."
        }
    };
    Some(Hint {
        kind: JOIN,
        statement: s,
        severity: look.severity(s).max(Severity::Warning),
        table: Some(table),
        title: format!(
            "Statement {} pairs all rows of {}",
            s.statement_id,
            words::name(&words::list(&names, 4))
        ),
        subject: names.join(", "),
        expression: Some(form.expression.clone()),
        better,
        same_meaning: false,
        reason: "Pairs that do not belong together are no longer returned: it is another question, most likely the one that \
                 was meant."
            .to_owned(),
        cause: "No condition connects these tables, so that each row of one is put beside each row of the other.",
        remedy: remedy.to_owned(),
        sql: None,
        saved_ms_per_hour: None,
        effect: format!("{} are not made any more.", words::amount(pairs, "pair")),
        evidence,
        effort: Effort::Medium,
    })
}

fn largest<'a>(look: &Look<'a>, part: &Connected) -> Option<(&'a Table, f64)> {
    // One whose size is not known may be the only row of a table of settings.
    let known: Option<Vec<_>> =
        part.iter().map(|(oid, _)| Some((*look.tables.get(oid)?, look.rows(*oid)?))).collect();
    known?.into_iter().max_by(|(_, a), (_, b)| a.total_cmp(b))
}

fn is_narrowed(s: &Statement, part: &Connected) -> bool {
    let among: HashSet<u32> = part.iter().map(|(oid, _)| *oid).collect();
    s.shape.iter().flat_map(|shape| &shape.tables).any(|one| {
        let equals = one.predicates.iter().any(|p| !p.join && p.test.is_equality());
        among.contains(&one.oid) && (equals || one.first_rows)
    })
}

/// The conditions that foreign keys between the parts would have.
fn keys(look: &Look<'_>, parts: &[&Connected]) -> Option<String> {
    let mut found = Vec::new();
    for key in look.facts.foreign_keys.iter().flatten() {
        let of = |oid: u32| {
            parts.iter().enumerate().find_map(|(i, part)| {
                part.iter().find(|(one, _)| *one == oid).map(|(_, name)| (i, name))
            })
        };
        let (Some((from, table)), Some((to, referenced))) = (of(key.table), of(key.referenced))
        else {
            continue;
        };
        let primary = look
            .facts
            .indexes
            .iter()
            .flatten()
            .find(|index| index.table == key.referenced && index.primary);
        // Which columns it refers to is known where they are the primary key.
        let Some(primary) = primary.filter(|p| p.key.len() == key.column_names.len()) else {
            continue;
        };
        if from != to {
            let pairs = key.column_names.iter().zip(&primary.key);
            let equal = pairs
                .map(|(own, other)| format!("{table}.{own} = {referenced}.{}", other.expression));
            found.push(equal.collect::<Vec<_>>().join(" AND "));
        }
    }
    // Several keys between the same tables leave the choice to whoever knows what is meant.
    match found.as_slice() {
        [one] => Some(one.clone()),
        _ => None,
    }
}
