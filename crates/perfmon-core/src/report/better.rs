//! Statements that could be written in a better way, as the report lists them.

use crate::detect::rewrite::{self, Hint};
use crate::facts::Facts;
use crate::finding::Severity;
use crate::threshold::Thresholds;

/// One thing of one statement to write in another way.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Rewrite {
    /// Id of the statement in this history.
    pub statement_id: i64,
    /// Which kind of finding it is.
    pub kind: String,
    /// How bad.
    pub severity: Severity,
    /// The problem in one line.
    pub title: String,
    /// The statement's text, as far as the reader may see it.
    pub query: Option<String>,
    /// The table that makes it matter.
    pub table: Option<String>,
    /// What is written; `None` where it is about the whole statement.
    pub expression: Option<String>,
    /// What to write instead, where that could be composed.
    pub better_form: Option<String>,
    /// The better form gives the same rows, whatever is stored.
    pub same_meaning: bool,
    /// Why it does, or what must be looked at before it is taken.
    pub reason: String,
    /// What to do, in words.
    pub remedy: String,
    /// SQL to run for it.
    pub statement: Option<String>,
    /// What to expect.
    pub effect: String,
    /// What it would save at most, ms per hour; `None` when nothing is promised.
    pub saved_ms_per_hour: Option<f64>,
    /// Share of all top-level execution time.
    pub share_ratio: Option<f64>,
    /// Mean execution time.
    pub mean_exec_ms: Option<f64>,
    /// Executions.
    pub calls: u64,
}

impl Rewrite {
    fn of(hint: &Hint<'_>) -> Self {
        let s = hint.statement;
        Self {
            statement_id: s.statement_id,
            kind: hint.kind.to_owned(),
            severity: hint.severity,
            title: hint.title.clone(),
            query: None,
            table: hint.table.map(|table| table.name.clone()),
            expression: hint.expression.clone(),
            better_form: hint.better.clone(),
            same_meaning: hint.same_meaning,
            reason: hint.reason.clone(),
            remedy: hint.remedy.clone(),
            statement: hint.sql.clone(),
            effect: hint.effect.clone(),
            saved_ms_per_hour: hint.saved_ms_per_hour,
            share_ratio: s.share_ratio,
            mean_exec_ms: s.mean_ms(),
            calls: s.calls,
        }
    }
}

/// All of them, those of one statement together, the statement that takes most time first.
pub fn rewrites(facts: &Facts, thresholds: &Thresholds) -> Vec<Rewrite> {
    let hints = rewrite::hints(facts, thresholds);
    let mut order: Vec<i64> = Vec::new();
    for hint in &hints {
        if !order.contains(&hint.statement.statement_id) {
            order.push(hint.statement.statement_id);
        }
    }
    let mut all: Vec<Rewrite> = hints.iter().map(Rewrite::of).collect();
    all.sort_by_key(|one| order.iter().position(|id| *id == one.statement_id));
    all
}
