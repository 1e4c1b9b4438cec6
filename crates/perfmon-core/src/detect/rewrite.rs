//! Statements that could be written in a better way: what is written, what to write instead, whether that
//! means the same, and what it would save. It looks at what the server's analyser and the history show; a
//! form matters only where tables are large and the statement takes time.

use std::collections::HashMap;

use super::idea::{IndexIdea, Method, Need, Part};
use super::{Detector, Judgement, per_hour, words};
use crate::facts::{Facts, Form, FormKind, Statement, Table};
use crate::finding::{Effort, Evidence, Finding, Helped, Severity};
use crate::threshold::{Threshold, Thresholds};

mod cast;
mod column;
pub mod pages;
mod pattern;
mod planning;
mod product;
mod subquery;
#[cfg(test)]
mod tests;

/// Results without limit that grow.
pub const UNLIMITED: &str = "rewrite_unlimited_result";
/// OFFSET over many rows.
pub const OFFSET: &str = "rewrite_deep_offset";
/// A function, cast or arithmetic on a column that is compared.
pub const FUNCTION: &str = "rewrite_function_on_column";
/// A silent conversion of a column that is compared.
pub const CAST: &str = "rewrite_cast_on_column";
/// A pattern that begins with a wildcard.
pub const WILDCARD: &str = "rewrite_leading_wildcard";
/// Tables that no condition connects.
pub const JOIN: &str = "rewrite_missing_join";
/// Planned for longer than run.
pub const PLANNING: &str = "rewrite_planning_time";
/// NOT IN of a subquery.
pub const NOT_IN: &str = "rewrite_not_in";
/// Counting to see whether there is any.
pub const COUNT: &str = "rewrite_count_for_existence";

/// The detector.
pub static DETECTOR: Detector =
    Detector { name: "rewrites", kinds: KINDS, thresholds: THRESHOLDS, detect };

pub(super) static KINDS: &[&str] =
    &[UNLIMITED, OFFSET, FUNCTION, CAST, WILDCARD, JOIN, PLANNING, NOT_IN, COUNT];

const SHARE: Threshold = Threshold::ratio(
    "rewrite_min_share_ratio",
    0.01,
    "Share of the database's execution time below which a better form of a statement is not worth a word.",
    "pg_perfmon: less than that cannot be felt",
);
const WARNING_SHARE: Threshold = Threshold::ratio(
    "rewrite_warning_share_ratio",
    0.05,
    "Share of the database's execution time from which a statement that has a better form is a warning.",
    "pg_perfmon: a twentieth can be felt",
);
const TABLE_ROWS: Threshold = Threshold::new(
    "rewrite_min_table_rows",
    10_000.0,
    "Rows of a table below which it does not matter how its columns are compared.",
    "pg_perfmon: so few are read within a millisecond or two",
);
const BLOCKS: Threshold = Threshold::new(
    "rewrite_min_blocks_per_call",
    100.0,
    "Blocks that an execution touches below which another form would not be felt.",
    "pg_perfmon: an index finds a row within five, so that a hundred are a search",
);

static THRESHOLDS: &[Threshold] = &[
    SHARE,
    WARNING_SHARE,
    TABLE_ROWS,
    BLOCKS,
    pages::GROWN,
    pages::MANY_ROWS,
    pages::CALLS,
    pages::HOURS,
    pages::BLOCKS_PER_ROW,
    pages::SKIPPED,
    planning::RATIO,
    planning::PLANS,
    product::PAIRS,
];

/// Blocks that a look-up by an index touches besides those of the rows that it finds.
const DESCENT: f64 = 10.0;
/// Part of a table from which on all of it is read at least as quickly as by an index.
const MOST: f64 = 0.5;

/// Something to write in another way.
#[derive(Debug, Clone, PartialEq)]
pub struct Hint<'a> {
    /// Which kind of finding it is.
    pub kind: &'static str,
    /// Whose text it is.
    pub statement: &'a Statement,
    /// How bad.
    pub severity: Severity,
    /// The table that makes it matter, quoted; `None` where it is about none.
    pub table: Option<&'a Table>,
    /// What of the statement, in names of the catalog alone: `public.orders.created_at`.
    pub subject: String,
    /// What is written, deparsed; `None` where it is about the whole statement, or cannot be deparsed.
    pub expression: Option<String>,
    /// What to write instead, where that could be composed.
    pub better: Option<String>,
    /// The better form gives the same rows, whatever is stored.
    pub same_meaning: bool,
    /// Why it does, or what must be looked at before it is taken.
    pub reason: String,
    /// The problem in one line.
    pub title: String,
    /// Why it costs.
    pub cause: &'static str,
    /// What to do, in words.
    pub remedy: String,
    /// SQL to run for it.
    pub sql: Option<String>,
    /// What it would save at most, ms per hour; `None` when nothing is promised.
    pub saved_ms_per_hour: Option<f64>,
    /// What to expect, in words with numbers.
    pub effect: String,
    /// What shows it.
    pub evidence: Vec<Evidence>,
    /// How much work it is.
    pub effort: Effort,
}

/// What the families of hints look at.
struct Look<'a> {
    facts: &'a Facts,
    t: Thresholds,
    tables: HashMap<u32, &'a Table>,
    children: HashMap<u32, Vec<u32>>,
}

/// All hints, those of the statements that take most time first.
pub fn hints<'a>(facts: &'a Facts, t: &Thresholds) -> Vec<Hint<'a>> {
    let mut found = Vec::new();
    let look = Look::of(facts, t);
    let catalog_known = facts.tables.is_some() && facts.indexes.is_some();
    for s in facts.statements.iter().flatten().filter(|s| look.matters(s)) {
        planning::hint(&look, s, &mut found);
        if !catalog_known {
            continue;
        }
        pages::hints(&look, s, &mut found);
        cast::hints(&look, s, &mut found);
        for form in s.shape.iter().flat_map(|shape| &shape.forms) {
            found.extend(of_form(&look, s, form));
        }
    }
    found.sort_by(|a: &Hint<'_>, b: &Hint<'_>| {
        b.severity.cmp(&a.severity).then(b.statement.exec_ms.total_cmp(&a.statement.exec_ms))
    });
    found
}

/// Whether a statement is told to write NOT EXISTS for a NOT IN.
pub(super) fn tells_not_in(facts: &Facts, t: &Thresholds, s: &Statement) -> bool {
    let forms = s.shape.iter().flat_map(|shape| &shape.forms);
    let mut forms = forms.filter(|form| matches!(form.kind, FormKind::NotIn { .. })).peekable();
    if forms.peek().is_none() {
        return false;
    }
    let look = Look::of(facts, t);
    look.matters(s) && forms.any(|form| of_form(&look, s, form).is_some())
}

fn of_form<'a>(look: &Look<'a>, s: &'a Statement, form: &'a Form) -> Option<Hint<'a>> {
    match &form.kind {
        FormKind::Wildcard { known, of } => pattern::hint(look, s, form, (*known, *of)),
        FormKind::Unconnected { parts } => product::hint(look, s, form, parts),
        FormKind::NotIn { inner_nullable, outer_nullable, rows, hashable } => {
            let nullable = (*inner_nullable, *outer_nullable);
            subquery::not_in(look, s, form, (nullable, *hashable), *rows)
        }
        FormKind::Counted { known, given } => subquery::counted(look, s, form, *known, *given),
        _ => column::hint(look, s, form),
    }
}

impl<'a> Look<'a> {
    fn of(facts: &'a Facts, t: &Thresholds) -> Self {
        let (mut tables, mut children) = (HashMap::new(), HashMap::<u32, Vec<u32>>::new());
        for table in facts.tables.iter().flatten() {
            tables.insert(table.oid, table);
            if let Some(parent) = table.parent {
                children.entry(parent).or_default().push(table.oid);
            }
        }
        Self { facts, t: t.clone(), tables, children }
    }

    /// Whether a statement takes enough time for another form to be felt. What is planned for longer than
    /// it runs takes more than its execution. Who types EXPLAIN looks into a statement already.
    fn matters(&self, s: &Statement) -> bool {
        s.toplevel && !s.explains() && s.calls > 0 && self.share(s) >= self.t.of(&SHARE)
    }

    /// Share of the database's execution time, with the time of planning where that is known.
    fn share(&self, s: &Statement) -> f64 {
        let own = s.share_ratio.unwrap_or(0.0);
        if s.exec_ms > 0.0 { own * (1.0 + s.plan_ms.unwrap_or(0.0) / s.exec_ms) } else { own }
    }

    fn severity(&self, s: &Statement) -> Severity {
        match self.share(s) >= self.t.of(&WARNING_SHARE) {
            true => Severity::Warning,
            false => Severity::Info,
        }
    }

    /// Rows of a table with all tables below it; `None` where no part of it was ever analysed.
    fn rows(&self, oid: u32) -> Option<f64> {
        let table = self.tables.get(&oid)?;
        let own = if table.partitioned { None } else { table.rows };
        let below = self.children.get(&oid).into_iter().flatten().filter_map(|&one| self.rows(one));
        own.into_iter().chain(below).reduce(|a, b| a + b)
    }

    /// The largest of these tables, if it is large.
    fn large(&self, tables: &[u32]) -> Option<(&'a Table, f64)> {
        let known =
            tables.iter().filter_map(|oid| Some((*self.tables.get(oid)?, self.rows(*oid)?)));
        let largest = known.max_by(|(_, a), (_, b)| a.total_cmp(b));
        largest.filter(|(table, rows)| *rows >= self.t.of(&TABLE_ROWS) && !table.internal)
    }

    /// Blocks that an execution touches, if they are many.
    fn blocks(&self, s: &Statement) -> Option<f64> {
        let blocks = s.per_call(s.blks_hit.saturating_add(s.blks_read))?;
        (blocks >= self.t.of(&BLOCKS)).then_some(blocks)
    }

    /// What is saved at most when only the rows that are returned are read, in ms per hour, and in words; `None` where
    /// a statement wants so many rows of the table that no index would read less.
    fn fewer_blocks(
        &self,
        s: &Statement,
        blocks: f64,
        table_rows: f64,
    ) -> Option<(Option<f64>, String)> {
        // How many rows an aggregate read, nobody knows.
        let gathers = s.shape.as_ref().is_none_or(|shape| shape.aggregates || shape.bounded);
        let rows = s.per_call(s.rows).filter(|_| !gathers);
        let part = rows.map_or(0.0, |rows| rows / table_rows.max(1.0));
        // A join may return many rows for each of the table's.
        let alone = s.shape.as_ref().is_some_and(|shape| shape.tables.len() == 1);
        if alone && part > MOST {
            return None;
        }
        let saved = rows.and_then(|rows| {
            // A block for each row, unless the rows lie side by side: it may be no more than is saved at most.
            let needed = rows.min(part * blocks) + DESCENT;
            let share = (1.0 - needed / blocks).clamp(0.0, 1.0);
            Some((needed, per_hour(self.facts, s.exec_ms)? * share))
        });
        Some(match saved.filter(|(needed, _)| *needed < blocks) {
            Some((needed, ms)) => (
                Some(ms),
                format!(
                    "About {} instead of {} per execution: at most {} less per hour.",
                    words::amount(needed.ceil(), "block"),
                    words::number(blocks),
                    words::milliseconds(ms)
                ),
            ),
            None => (
                None,
                format!(
                    "An execution touches {} now; an index reads only those of the rows that are wanted.",
                    words::amount(blocks, "block")
                ),
            ),
        })
    }

    /// The statement that makes an index on one column or expression.
    fn index(
        &self,
        table: &Table,
        expression: &str,
        attnum: i16,
        method: Method,
        needs: Option<Need>,
        opclass: Option<String>,
    ) -> Option<String> {
        let part = Part {
            expression: expression.to_owned(),
            attnum,
            opclass,
            descending: false,
            nulls_first: false,
        };
        let key = vec![part];
        let mut idea =
            IndexIdea { table: table.oid, method, key, rows_ratio: None, ordered: false, needs };
        let mut all = Vec::new();
        for oid in self.members(table.oid) {
            all.push(idea.statement(self.tables.get(&oid)?)?);
            // The first has made it.
            if let Some(need) = &mut idea.needs {
                need.installed = true;
            }
        }
        Some(all.join("\n"))
    }

    /// The table and those that inherit from it: an index on it is none on them, unless they are its partitions.
    fn members(&self, oid: u32) -> Vec<u32> {
        let mut found = vec![oid];
        let mut at = 0;
        while let Some(&one) = found.get(at) {
            let below = self.children.get(&one).into_iter().flatten();
            let partitioned = self.tables.get(&one).is_none_or(|table| table.partitioned);
            let new: Vec<u32> =
                below.filter(|oid| !partitioned && !found.contains(oid)).copied().collect();
            found.extend(new);
            at += 1;
        }
        found
    }

    /// Whether an index that queries may use has this column, or expression, at its beginning.
    fn has_index(&self, table: u32, attnum: i16, expression: &str) -> bool {
        self.facts.indexes.iter().flatten().any(|index| {
            let first = index.key.first();
            index.table == table
                && index.valid
                && first.is_some_and(|first| {
                    super::idea::same(first.attnum, &first.expression, attnum, expression)
                })
        })
    }

    /// Numbers that every hint shows.
    fn evidence(&self, s: &Statement, table: Option<(&Table, f64)>) -> Vec<Evidence> {
        let calls = i64::try_from(s.calls).unwrap_or(i64::MAX);
        let mut found = Vec::new();
        let mut add = |metric: &str, value: Option<f64>, unit: &str| {
            if let Some(value) = value {
                found.push(Evidence::new(metric, value, unit).out_of(calls));
            }
        };
        add("mean_exec_ms", s.mean_ms(), "ms");
        add("blocks_per_call", s.per_call(s.blks_hit.saturating_add(s.blks_read)), "blocks");
        add("rows_per_call", s.per_call(s.rows), "rows");
        if let Some((_, rows)) = table {
            found.push(Evidence::new("table_rows", rows, "rows"));
        }
        found
    }
}

fn detect(facts: &Facts, t: &Thresholds, judgement: &mut Judgement) {
    let Some(statements) = facts.statements.as_ref().filter(|_| facts.window.covered_us > 0) else {
        KINDS.iter().for_each(|kind| judgement.unknown(kind));
        return;
    };
    if facts.tables.is_none() || facts.indexes.is_none() {
        let kinds = KINDS.iter().filter(|kind| **kind != PLANNING);
        kinds.for_each(|kind| judgement.unknown(kind));
    }
    if !statements.is_empty() && statements.iter().all(|s| s.plan_ms.is_none()) {
        judgement.unknown(PLANNING);
    }
    let mut told: Vec<(&str, String, String)> = Vec::new();
    for hint in hints(facts, t) {
        let finding = finding(&hint);
        let key = (hint.kind, finding.object.clone(), finding.subject.clone());
        // BETWEEN is two comparisons of one column.
        if !told.contains(&key) {
            told.push(key);
            judgement.add(finding);
        }
    }
}

fn finding(hint: &Hint<'_>) -> Finding {
    let s = hint.statement;
    let remedy = match hint.better.is_some() {
        true => format!("{} perfmon.rewrite_hints() has it written out.", hint.remedy),
        false => hint.remedy.clone(),
    };
    let object = format!("statement {}", s.statement_id);
    let reference = "pg_perfmon manual, better forms";
    let mut finding =
        Finding::new(hint.kind, hint.severity, object, &hint.title, remedy, reference);
    hint.subject.clone_into(&mut finding.subject);
    finding.cause = Some(hint.cause.to_owned());
    finding.evidence.clone_from(&hint.evidence);
    finding.impact.saved_ms_per_hour = hint.saved_ms_per_hour;
    finding.share_ratio = s.share_ratio;
    finding.statement.clone_from(&hint.sql);
    finding.gain = Some(hint.effect.clone());
    finding.effort = hint.effort;
    finding.risk = if hint.same_meaning { String::new() } else { hint.reason.clone() };
    if let Some(saved) = hint.saved_ms_per_hour.filter(|_| hint.kind != PLANNING) {
        finding.helped.push(Helped { statement_id: s.statement_id, saved_ms_per_hour: saved });
    }
    finding
}

/// A table's column in words, or the table where it is about several.
fn column_of(table: &Table, attnum: i16) -> String {
    match table.columns.iter().find(|column| column.attnum == attnum && attnum > 0) {
        Some(column) => format!("{}.{}", table.name, column.name),
        None => table.name.clone(),
    }
}
