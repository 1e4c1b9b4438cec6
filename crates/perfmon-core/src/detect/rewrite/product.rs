//! Tables that no condition connects: each row of one goes with each row of the other.

use std::collections::HashSet;

use super::{Hint, JOIN, Look};
use crate::capture::scan::{Kind, Slot, Use};
use crate::detect::idea;
use crate::detect::words;
use crate::facts::evidence::ENOUGH;
use crate::facts::{Evidence as Seen, Form, Index, Statement, Table, TableUse, Test};
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

/// Values that a list is thought to have.
const LIST: f64 = 10.0;

/// Such a part, and how many rows it brings into the product.
struct Part<'a> {
    tables: &'a Connected,
    /// Its largest table.
    table: &'a Table,
    /// Rows of this table.
    all: f64,
    /// Rows that its own conditions leave.
    rows: f64,
}

pub(super) fn hint<'a>(
    look: &Look<'a>,
    s: &'a Statement,
    form: &'a Form,
    parts: &'a [Vec<(u32, String)>],
) -> Option<Hint<'a>> {
    // A single row is beside each of the others without a condition.
    let large: Vec<Part<'_>> = parts
        .iter()
        .filter_map(|part| Part::of(look, s, part))
        .filter(|part| part.rows >= 2.0)
        .collect();
    let pairs: f64 = large.iter().map(|part| part.rows).product();
    let pairs = returned(s, form).map_or(pairs, |rows| rows.min(pairs));
    if large.len() < 2 || pairs < look.t.of(&PAIRS) {
        return None;
    }
    let largest = large.iter().max_by(|a, b| a.all.total_cmp(&b.all))?;
    let (table, all) = (largest.table, largest.all);
    let mut names: Vec<String> = large.iter().map(|part| part.table.name.clone()).collect();
    names.sort();
    let better = keys(look, &large.iter().map(|part| part.tables).collect::<Vec<_>>());
    let mut evidence = vec![Evidence::new("row_pairs", pairs, "rows").over(look.t.of(&PAIRS))];
    evidence.extend(look.evidence(s, Some((table, all))));
    let whole = large.iter().all(|part| part.rows >= part.all);
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
            "Statement {} pairs {} of {}",
            s.statement_id,
            if whole { "all rows" } else { "rows" },
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
        effect: format!("{} are not made any more.", words::amount(pairs.round(), "pair")),
        evidence,
        effort: Effort::Medium,
    })
}

/// Rows of an execution, where the pairs are what it returns: a plain SELECT of these tables alone.
fn returned(s: &Statement, form: &Form) -> Option<f64> {
    let shape = s.shape.as_ref().filter(|shape| !shape.aggregates && !shape.bounded)?;
    let alone = shape.tables.iter().all(|one| form.tables.contains(&one.oid));
    let plain = alone && s.command.as_deref() == Some("SELECT");
    s.per_call(s.rows).filter(|_| plain)
}

fn largest<'a>(look: &Look<'a>, part: &Connected) -> Option<(&'a Table, f64)> {
    // One whose size is not known may be the only row of a table of settings.
    let known: Option<Vec<_>> =
        part.iter().map(|(oid, _)| Some((*look.tables.get(oid)?, look.rows(*oid)?))).collect();
    known?.into_iter().max_by(|(_, a), (_, b)| a.total_cmp(b))
}

impl<'a> Part<'a> {
    /// `None` where nobody knows how many rows it brings: it may be a single one.
    fn of(look: &Look<'a>, s: &Statement, tables: &'a Connected) -> Option<Self> {
        let (table, all) = largest(look, tables)?;
        let among: HashSet<u32> = tables.iter().map(|(oid, _)| *oid).collect();
        // What narrows one of the tables narrows all that are joined with it.
        let left: Option<Vec<f64>> = among.iter().map(|oid| left(look, s, *oid)).collect();
        Some(Self { tables, table, all, rows: all * left?.iter().product::<f64>() })
    }
}

/// Share of a table's rows that the statement's own conditions on it leave: of a unique key a single row; else what
/// executions kept that were looked into; else what statistics say of values that are compared for equality. `None`
/// where none of them knows.
fn left(look: &Look<'_>, s: &Statement, oid: u32) -> Option<f64> {
    let table = *look.tables.get(&oid)?;
    let all = look.rows(oid)?.max(1.0);
    let uses = || s.shape.iter().flat_map(|shape| &shape.tables).filter(move |one| one.oid == oid);
    if uses().any(|one| one.first_rows) {
        return None;
    }
    if uses().any(|one| is_by_unique_key(look, one)) {
        return Some(1.0 / all);
    }
    if let Some(kept) = kept(look, s, table) {
        return Some((kept / all).min(1.0));
    }
    // No scan of it threw more away than it kept: an index found what a range, say, leaves, be it much or little.
    let ranged = |one: &TableUse| one.predicates.iter().any(|p| !p.join && !p.test.is_equality());
    if is_looked_into(look, s) && uses().any(ranged) {
        return None;
    }
    // Of several uses of a table it is not known which one is meant: that which leaves least.
    uses().try_fold(1.0_f64, |least, one| Some(least.min(by_statistics(table, one)?)))
}

/// Whether all columns of a unique key are compared with one value each.
fn is_by_unique_key(look: &Look<'_>, one: &TableUse) -> bool {
    let equal = |attnum: i16| {
        let by =
            |p: &crate::facts::Predicate| p.attnum == attnum && p.test == Test::Equal && !p.join;
        attnum > 0 && one.predicates.iter().any(by)
    };
    let is_key = |index: &&Index| {
        index.table == one.oid
            && index.unique
            && index.valid
            && index.predicate.is_none()
            && !index.unread
            && !index.key.is_empty()
    };
    let mut keys = look.facts.indexes.iter().flatten().filter(is_key);
    keys.any(|index| index.key.iter().all(|part| equal(part.attnum)))
}

/// Rows that one scan of a table kept, in the executions that were looked into; of several scans the fewest. Processes
/// that share a scan count as scans of their own, so that it is rather too few.
#[allow(clippy::cast_precision_loss)]
fn kept(look: &Look<'_>, s: &Statement, table: &Table) -> Option<f64> {
    // Where a row of another table leads to rows of this one, it is not its own condition that narrows it.
    let led = |e: &Seen| e.node.conditions.iter().any(|c| c.usage == Use::Join.name());
    let scans = |e: &&Seen| {
        e.statement_id == s.statement_id
            && e.statement_samples >= ENOUGH
            && e.table == table.name
            && e.kind().is_some_and(|kind| (Kind::SeqScan..=Kind::BitmapScan).contains(&kind))
            && !led(e)
    };
    // Each part of a partitioned table is scanned by itself.
    let parts = look.children.get(&table.oid).map_or(1, Vec::len).max(1) as f64;
    let rounds = |e: &Seen| {
        let executions = e.counts.get(Slot::Executions).max(1) as f64;
        (e.counts.get(Slot::Loops) as f64 / parts).max(executions)
    };
    let all = look.facts.evidence.iter().flatten().filter(scans);
    all.map(|e| e.counts.get(Slot::Kept) as f64 / rounds(e)).reduce(f64::min)
}

/// Whether enough of a statement's executions were looked into, and told something.
pub(super) fn is_looked_into(look: &Look<'_>, s: &Statement) -> bool {
    let mut seen = look.facts.evidence.iter().flatten();
    seen.any(|e| e.statement_id == s.statement_id && e.statement_samples >= ENOUGH)
}

/// Share of the rows that equalities leave, by the planner's statistics.
fn by_statistics(table: &Table, one: &TableUse) -> Option<f64> {
    let mut seen: HashSet<&str> = HashSet::new();
    let equal = one.predicates.iter().filter(|p| !p.join && p.test.is_equality());
    equal.filter(|p| seen.insert(p.expression.as_str())).try_fold(1.0, |share, p| {
        let values = if p.test == Test::In { LIST } else { 1.0 };
        Some(share * (idea::known_share(table, p)? * values).min(1.0))
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
