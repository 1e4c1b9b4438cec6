//! What executions of a statement showed of its sequential scans of a table, which is better than any guess.

use std::collections::HashMap;

use super::{RETURNED, Reader};
use crate::capture::scan::{Condition, Kind, Slot, UNKNOWN, Use};
use crate::facts::evidence::ENOUGH;
use crate::facts::{
    Evidence, Facts, FormKind, Patterned, Predicate, Shape, Statement, Table, TableUse, Test,
};
use crate::threshold::Thresholds;

/// Between conditions of which one is enough.
pub(super) const OR: &str = " OR ";

/// Sequential scans of one table in the executions of one statement that were looked into.
#[derive(Debug, Clone, PartialEq)]
pub struct Seen {
    /// Executions that were looked into.
    pub samples: u64,
    /// Rows read by one execution.
    pub read_per_call: f64,
    /// Rows of them that it kept.
    pub kept_per_call: f64,
    /// Rows that one scan read, of the largest of them.
    pub read_per_scan: f64,
    /// Columns and expressions by which the others were thrown away, as SQL writes them.
    pub filters: Vec<String>,
    /// Those of them that are no columns as they are, in one sort of comparison that an index could serve.
    pub computed: Vec<Computed>,
    /// Conditions of the scan that read most, as an index sees them.
    pub conditions: Vec<Predicate>,
    /// Conditions on columns as they are for which no index can be searched, with `?` for each value: those that leave out a
    /// value or NULLs, that compare two columns, that seek a value in an array of the row, or that OR joins.
    pub odd: Vec<String>,
    /// Columns that are no text and are compared with patterns, each with the condition and what it is.
    pub patterned: Vec<(String, String, Patterned)>,
}

/// An expression that is compared, in whose place no column is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Computed {
    /// With `?` for each value.
    pub expression: String,
    /// How it is compared.
    pub usage: Use,
}

/// Asks the executions: `None` if they did not scan the table, nothing if too few were looked into.
#[allow(clippy::cast_precision_loss)]
pub(in crate::detect) fn seen(
    facts: &Facts,
    statement_id: i64,
    table: &Table,
    t: &Thresholds,
) -> Option<Option<Seen>> {
    let own = |e: &&Evidence| e.statement_id == statement_id;
    let all: Vec<&Evidence> = facts.evidence.iter().flatten().filter(own).collect();
    let samples = all.iter().map(|e| e.statement_samples).max().unwrap_or(0);
    if samples < ENOUGH {
        return Some(None);
    }
    let mut scans: Vec<&Evidence> = all
        .into_iter()
        .filter(|e| e.kind() == Some(Kind::SeqScan) && e.table == table.name)
        .collect();
    if scans.is_empty() {
        return None;
    }
    wasteful_alone(&mut scans, t);
    let sum = |slot| sum(&scans, slot);
    let per_scan = |e: &&Evidence| {
        e.counts.get(Slot::Read) as f64 / e.counts.get(Slot::Executions).max(1) as f64
    };
    let mut filters: Vec<String> = Vec::new();
    for filter in scans.iter().flat_map(|e| e.node.filters()) {
        if !filters.iter().any(|known| known == filter) {
            filters.push(filter.to_owned());
        }
    }
    Some(Some(Seen {
        samples,
        read_per_call: sum(Slot::Read),
        kept_per_call: sum(Slot::Kept),
        read_per_scan: scans.iter().map(per_scan).fold(0.0, f64::max),
        filters,
        computed: computed(&scans, table),
        odd: odd(&scans, table),
        patterned: patterned(&scans, facts, statement_id, table),
        conditions: conditions(&scans, table),
    }))
}

fn sum(scans: &[&Evidence], slot: Slot) -> f64 {
    scans.iter().filter_map(|e| e.per_call(slot)).sum()
}

/// Part of what a statement reads of a table that wasteful scans must read to be looked at by themselves.
const PART: f64 = 0.2;

/// A statement may read a table whole in one place, and for a few rows in another: then it is the latter that is judged.
fn wasteful_alone(scans: &mut Vec<&Evidence>, t: &Thresholds) {
    let few = |scans: &[&Evidence]| {
        sum(scans, Slot::Kept) <= sum(scans, Slot::Read).max(1.0) * t.of(&RETURNED)
    };
    if few(scans) {
        return;
    }
    let wasteful: Vec<&Evidence> = scans.iter().copied().filter(|e| few(&[*e])).collect();
    if sum(&wasteful, Slot::Read) >= sum(scans, Slot::Read) * PART {
        *scans = wasteful;
    }
}

/// Statements whose texts say nothing, though their names do mean something, with the tables that their executions were seen to scan.
pub(super) fn users(facts: &Facts) -> HashMap<u32, Vec<&Statement>> {
    let statements = facts.statements.iter().flatten();
    let unread: HashMap<i64, &Statement> = statements
        .filter(|s| s.shape.is_none() && !s.unresolved && !s.explains())
        .map(|s| (s.statement_id, s))
        .collect();
    let mut users: HashMap<u32, Vec<&Statement>> = HashMap::new();
    if unread.is_empty() {
        return users;
    }
    let tables = facts.tables.iter().flatten();
    let oids: HashMap<&str, u32> = tables.map(|table| (table.name.as_str(), table.oid)).collect();
    for e in facts.evidence.iter().flatten().filter(|e| e.kind() == Some(Kind::SeqScan)) {
        let known = unread.get(&e.statement_id).zip(oids.get(e.table.as_str()));
        let Some((s, oid)) = known else { continue };
        let of_table = users.entry(*oid).or_default();
        if !of_table.iter().any(|one| one.statement_id == s.statement_id) {
            of_table.push(s);
        }
    }
    users
}

/// What a plan tells of columns as they are: the text would tell more, such as what type a constant has.
fn conditions(scans: &[&Evidence], table: &Table) -> Vec<Predicate> {
    let Some(most) = scans.iter().max_by_key(|e| e.counts.get(Slot::Read)) else {
        return Vec::new();
    };
    let read = |condition: &Condition| {
        let expression = condition.expression.clone().unwrap_or_else(|| condition.text.clone());
        let column = table.columns.iter().find(|column| column.name == expression);
        let is = |usage: Use| condition.usage == usage.name();
        let operator = condition.operator.as_deref().unwrap_or("");
        let test = match operator {
            _ if column.is_none() || condition.text.contains("(subquery)") => Test::Other,
            "=" if is(Use::Equality) => Test::Equal,
            "= ANY" if is(Use::Equality) && !condition.text.starts_with(IN_ARRAY) => Test::In,
            "" if is(Use::Truth) && is_truth(&condition.text, &expression) => Test::Equal,
            "<" | "<=" | ">" | ">=" if is(Use::Range) => Test::Range,
            "IS NULL" => Test::Null,
            _ => Test::Other,
        };
        let attnum = column.map_or(0, |column| column.attnum);
        Predicate { expression, attnum, test, join: false, other: 0 }
    };
    let narrows = |condition: &&Condition| !passes_most(condition, table);
    let all = most.node.conditions.iter().filter(narrows);
    let mut told: Vec<(bool, Predicate)> =
        all.map(|condition| (leaves_out(&condition.text), read(condition))).collect();
    // What leaves something out is seldom why few rows were kept, where a condition stands beside it that picks some.
    if told.iter().any(|(_, predicate)| predicate.test != Test::Other) {
        told.retain(|(leaves_out, _)| !leaves_out);
    }
    let mut found: Vec<Predicate> = told.into_iter().map(|(_, predicate)| predicate).collect();
    if most.node.cut {
        let (expression, test) = (String::new(), Test::Other);
        found.push(Predicate { expression, attnum: 0, test, join: false, other: 0 });
    }
    found
}

/// Values in a column from which on leaving out one of them, or a few, leaves nearly all rows.
const VALUES: f64 = 10.0;

/// Whether a condition leaves out values of a column that has many, so that it is not why few rows were kept; nor is it
/// where the column has only one, as then none would have been.
fn passes_most(condition: &Condition, table: &Table) -> bool {
    let out = |name: &str| {
        [format!("({name} <> ?)"), format!("({name} <> ALL (?))")].contains(&condition.text)
    };
    let column = table.columns.iter().find(|column| out(&column.name));
    let distinct = column.and_then(|column| column.distinct);
    distinct.is_some_and(|values| values < 0.0 || (values - 1.0).abs() < 0.5 || values >= VALUES)
}

/// A value that is sought in an array of the row.
const IN_ARRAY: &str = "(? = ANY (";

/// The column in which a condition seeks a value as an element of an array.
pub(super) fn array_of(text: &str) -> Option<&str> {
    text.strip_prefix(IN_ARRAY)?.strip_suffix("))")
}

/// Whether a condition on a column of truth values is one that an index on it serves; that it is not true, or not false,
/// is none.
fn is_truth(text: &str, column: &str) -> bool {
    text == column
        || ["NOT {}", "{} IS TRUE", "{} IS FALSE"]
            .iter()
            .any(|form| text == format!("({})", form.replace("{}", column)))
}

/// Whether a condition says what rows must not be: NOT, or outside of a range.
fn leaves_out(text: &str) -> bool {
    (text.starts_with(NOT) && is_own(text)) || is_outside(text).unwrap_or(false)
}

/// The beginning of a condition that is the opposite of another.
const NOT: &str = "(NOT (";

/// Whether it is `((column < ?) OR (column > ?))`.
fn is_outside(text: &str) -> Option<bool> {
    let (one, other) = text.strip_prefix('(')?.strip_suffix(')')?.split_once(OR)?;
    let end = |text: &str| {
        let (column, rest) = text.strip_prefix('(')?.strip_suffix(" ?)")?.rsplit_once(' ')?;
        let sign = rest.chars().next().filter(|_| ["<", "<=", ">", ">="].contains(&rest))?;
        Some((column.to_owned(), sign))
    };
    let ((one, below), (other, above)) = (end(one)?, end(other)?);
    Some(one == other && below != above)
}

/// What other parts of the plan give is not of this table alone.
fn is_own(text: &str) -> bool {
    !["(subquery)", "(outer)", UNKNOWN].iter().any(|word| text.contains(word))
}

/// Whether there are operators alone in a condition: functions and casts may change with settings, and then are in no index.
fn is_plain(text: &str) -> bool {
    let calls = text.match_indices('(').any(|(at, _)| {
        text[..at].chars().next_back().is_some_and(|before| !matches!(before, ' ' | '('))
    });
    !calls && !text.contains("::")
}

fn odd(scans: &[&Evidence], table: &Table) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for condition in scans.iter().flat_map(|e| &e.node.conditions) {
        let of = condition.expression.as_deref();
        let column = table.columns.iter().any(|column| of == Some(column.name.as_str()));
        let text = &condition.text;
        let other = condition.usage == Use::Other.name();
        let is_odd = (column && (other || text.starts_with(IN_ARRAY)))
            || (column
                && condition.usage == Use::Truth.name()
                && !of.is_some_and(|c| is_truth(text, c)))
            || (of.is_none() && other && text.contains(OR))
            || (of.is_none() && text.starts_with(NOT) && is_plain(text))
            || (column && condition.usage == Use::Null.name() && text.ends_with("IS NOT NULL)"));
        if is_odd && is_own(text) && condition.stage == "filter" && !found.contains(text) {
            found.push(text.clone());
        }
    }
    found
}

/// Columns of other types than text that are compared with patterns, as the text of the statement says.
fn patterned(
    scans: &[&Evidence],
    facts: &Facts,
    statement_id: i64,
    table: &Table,
) -> Vec<(String, String, Patterned)> {
    let own = facts.statements.iter().flatten().filter(|s| s.statement_id == statement_id);
    let forms = own.flat_map(|s| &s.shape).flat_map(|shape| &shape.forms);
    let mut found: Vec<(String, String, Patterned)> = Vec::new();
    for form in forms.filter(|form| form.tables.contains(&table.oid)) {
        let FormKind::Wildcard { of, .. } = form.kind else { continue };
        let Some(column) = table.columns.iter().find(|c| c.attnum == form.attnum) else { continue };
        let by = |c: &&Condition| {
            c.usage == Use::Pattern.name() && c.expression.as_deref() == Some(&column.name)
        };
        let condition = scans.iter().flat_map(|e| &e.node.conditions).find(by);
        if let Some(condition) = condition.filter(|_| of != Patterned::Text)
            && !found.iter().any(|(known, ..)| *known == column.name)
        {
            found.push((column.name.clone(), condition.text.clone(), of));
        }
    }
    found
}

fn computed(scans: &[&Evidence], table: &Table) -> Vec<Computed> {
    const SERVED: [Use; 5] =
        [Use::Equality, Use::Range, Use::Pattern, Use::Containment, Use::Truth];
    // Whether an index can be on another function nobody knows here.
    let is_sure = |condition: &Condition| {
        let inner = condition.text.strip_prefix("COALESCE");
        condition.usage != Use::Truth.name() || inner.is_some_and(is_plain)
    };
    let mut found: Vec<Computed> = Vec::new();
    for condition in scans.iter().flat_map(|e| &e.node.conditions) {
        let Some(expression) = condition.expression.as_deref() else { continue };
        let usage = SERVED.into_iter().find(|usage| usage.name() == condition.usage);
        let column = table.columns.iter().any(|column| column.name == expression);
        let Some(usage) = usage.filter(|_| !column && is_sure(condition)) else { continue };
        let one = Computed { expression: expression.to_owned(), usage };
        if !found.contains(&one) {
            found.push(one);
        }
    }
    found
}

impl Seen {
    /// A statement that does nothing but this scan.
    pub(super) fn shape(&self, table: &Table) -> Shape {
        let predicates = self.conditions.clone();
        let one = TableUse { oid: table.oid, read: true, predicates, ..TableUse::default() };
        Shape { tables: vec![one], ..Shape::default() }
    }

    /// Few of the rows that were read were kept.
    pub(in crate::detect) fn kept_few(&self, t: &Thresholds) -> bool {
        self.kept_per_call <= self.read_per_call.max(1.0) * t.of(&RETURNED)
    }
}

impl Reader<'_> {
    /// How it uses the table.
    pub fn table(&self) -> &TableUse {
        &self.shape.tables[self.place]
    }

    /// Rows read for each that was wanted; `None` where none was.
    pub fn read_per_kept(&self) -> Option<f64> {
        (self.kept_ratio > 0.0).then(|| 1.0 / self.kept_ratio)
    }

    /// Part of all rows that sequential scans of the table read: an estimate, and so never more than all.
    #[allow(clippy::cast_precision_loss)]
    pub fn table_share(&self, seq_tup_read: u64) -> Option<f64> {
        let read = self.seen.as_ref()?.read_per_call * self.statement.calls as f64;
        (seq_tup_read > 0).then(|| (read / seq_tup_read as f64).min(1.0))
    }
}

/// Columns and expressions that statements look rows up by, as SQL writes them.
pub fn filters(reader: &Reader<'_>) -> Vec<String> {
    if let Some(idea) = reader.idea.as_ref().filter(|_| reader.beyond) {
        return idea.key.iter().map(|part| part.expression.clone()).collect();
    }
    if let Some(seen) = reader.seen.as_ref().filter(|seen| !seen.filters.is_empty()) {
        return seen.filters.clone();
    }
    let mut all: Vec<String> = Vec::new();
    for p in reader.table().predicates.iter().filter(|p| p.test != Test::Other) {
        if !all.contains(&p.expression) {
            all.push(p.expression.clone());
        }
    }
    if all.is_empty() {
        all.extend(reader.seen.iter().flat_map(|seen| seen.odd.clone()));
    }
    all
}
