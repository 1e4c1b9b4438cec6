//! Two runs side by side: objectives by name, statements by id.

use super::Run;
use crate::objective::words::figures;
use crate::objective::{Status, Target};
use crate::report::facts::{Promise, StatementTimes, text_or};
use crate::report::grid::Side::{Left, Right};
use crate::report::grid::grid;
use crate::report::text::{code, plain};
use crate::report::words::{milliseconds, number};

/// A change by less than this share is within what a histogram can tell.
const NOISE: f64 = 0.1;

/// One number before and after.
#[derive(Debug, Clone, PartialEq)]
pub struct Pair {
    /// `objective` or `statement`.
    pub what: &'static str,
    /// Name of the objective, or id of the statement.
    pub name: String,
    /// `p95`, `errors`, …; `calls` of a statement.
    pub metric: String,
    /// Its unit.
    pub unit: &'static str,
    /// In the earlier run.
    pub before: Option<f64>,
    /// In the later one.
    pub after: Option<f64>,
    /// Whether it is known that nothing was executed, before and after.
    pub absent: (bool, bool),
    /// Whether more of it is worse.
    pub more_is_worse: bool,
    /// It is a share of what is good, of which only what is missing counts.
    pub is_share_of_good: bool,
    /// Whether the promise was kept, before and after, where both are known.
    pub kept: Option<(bool, bool)>,
    /// The statement's text, as far as the reader may see it.
    pub query: Option<String>,
}

impl Pair {
    /// By which share it grew.
    pub fn change_ratio(&self) -> Option<f64> {
        let (before, after) = (self.before?, self.after?);
        (before > 0.0).then(|| after / before - 1.0)
    }

    /// In one word: `better`, `worse`, `same`, `new`, `gone`, or nothing where it cannot be told. A promise that is
    /// kept no more is worse, by however little.
    pub fn word(&self) -> &'static str {
        let (before, after) = match (self.before, self.after) {
            (None, Some(_)) if self.absent.0 => return "new",
            (Some(_), None) if self.absent.1 => return "gone",
            // It may have been there, and was not measured.
            (None, _) | (_, None) => return "",
            // From 99.9 % to 99 % is ten times as much that is missing.
            (Some(before), Some(after)) if self.is_share_of_good => (1.0 - before, 1.0 - after),
            (Some(before), Some(after)) => (before, after),
        };
        let more_is_worse = self.more_is_worse || self.is_share_of_good;
        let grew = match self.kept {
            Some((true, false)) => more_is_worse,
            Some((false, true)) => !more_is_worse,
            _ if (after - before).abs() <= NOISE * before.abs() => return "same",
            _ => after > before,
        };
        if grew == more_is_worse { "worse" } else { "better" }
    }
}

/// Both runs, number by number: objectives first, then statements, worst first.
pub fn pairs(before: &Run, after: &Run) -> Vec<Pair> {
    let mut all = objectives(before, after);
    let mut statements = statements(before, after);
    let by = |pair: &Pair| pair.change_ratio().unwrap_or(f64::NEG_INFINITY);
    statements.sort_by(|a, b| by(b).total_cmp(&by(a)));
    all.append(&mut statements);
    all
}

fn objectives(before: &Run, after: &Run) -> Vec<Pair> {
    let same = |a: &Promise, b: &Promise| {
        a.name == b.name && a.verdict.target.name() == b.verdict.target.name()
    };
    let pair = |promise: &Promise| {
        let target = promise.verdict.target;
        let earlier = before.objectives.iter().find(|other| same(other, promise));
        let is_absent = |promise: &Promise| promise.verdict.executions == Some(0);
        let kept = |promise: &Promise| match promise.verdict.status {
            Status::Met => Some(true),
            Status::Missed => Some(false),
            Status::NoData | Status::TooFew => None,
        };
        Pair {
            what: "objective",
            name: promise.name.clone(),
            metric: target.name(),
            unit: target.unit(),
            before: earlier.and_then(|other| other.verdict.actual),
            after: promise.verdict.actual,
            absent: (earlier.is_none_or(is_absent), is_absent(promise)),
            more_is_worse: matches!(target, Target::Latency { .. } | Target::Errors { .. }),
            is_share_of_good: matches!(target, Target::Availability { .. }),
            kept: earlier.and_then(kept).zip(kept(promise)),
            query: None,
        }
    };
    after.objectives.iter().map(pair).collect()
}

fn statements(before: &Run, after: &Run) -> Vec<Pair> {
    let (Some(old), Some(new)) = (&before.latency, &after.latency) else { return Vec::new() };
    let (old, new) = (&old.statements, &new.statements);
    let find = |lines: &[StatementTimes], id: i64| {
        lines.iter().find(|line| line.statement_id == id).and_then(|line| line.times.p95_ms)
    };
    let gone = old.iter().filter(|line| !new.iter().any(|n| n.statement_id == line.statement_id));
    let pair = |line: &StatementTimes| Pair {
        what: "statement",
        name: line.statement_id.to_string(),
        metric: "p95".to_owned(),
        unit: "ms",
        before: find(old, line.statement_id),
        after: find(new, line.statement_id),
        absent: (before.executed.lacks(line.statement_id), after.executed.lacks(line.statement_id)),
        more_is_worse: true,
        is_share_of_good: false,
        kept: None,
        query: line.query.clone(),
    };
    new.iter().chain(gone).map(pair).collect()
}

/// How many statements are shown.
const STATEMENTS: usize = 20;

pub(super) fn tables(out: &mut String, before: &Run, after: &Run) {
    let all = pairs(before, after);
    let (promised, statements): (Vec<&Pair>, Vec<&Pair>) =
        all.iter().partition(|pair| pair.what == "objective");
    out.push_str("## Compared with the other run\n\n");
    if all.is_empty() {
        out.push_str("Nothing is known of both runs.\n\n");
        return;
    }
    if !promised.is_empty() {
        let row = |pair: &&Pair| {
            let shown = |value: Option<f64>| match (value, pair.unit) {
                (Some(v), "ratio") => format!("{} %", figures(v * 100.0)),
                (v, "ms") => milliseconds(v),
                (v, _) => number(v),
            };
            [
                pair.metric.clone(),
                shown(pair.before),
                shown(pair.after),
                change(pair),
                plain(&pair.name),
            ]
        };
        let heads = [
            ("objective", Left),
            ("before", Right),
            ("after", Right),
            ("change", Right),
            ("name", Left),
        ];
        grid(out, heads, &promised.iter().map(row).collect::<Vec<_>>());
    }
    if !statements.is_empty() {
        let row = |pair: &&Pair| {
            let query = text_or(pair.query.as_deref(), code);
            let shown = |value: Option<f64>, is_absent: bool| match value {
                None if is_absent => "-".to_owned(),
                value => milliseconds(value),
            };
            let before = shown(pair.before, pair.absent.0);
            let after = shown(pair.after, pair.absent.1);
            [pair.name.clone(), before, after, change(pair), query]
        };
        let heads = [
            ("id", Right),
            ("p95 before", Right),
            ("p95 after", Right),
            ("change", Right),
            ("statement", Left),
        ];
        grid(out, heads, &statements.iter().take(STATEMENTS).map(row).collect::<Vec<_>>());
    }
}

fn change(pair: &Pair) -> String {
    match pair.change_ratio() {
        Some(ratio) => format!("{:+.0} % {}", ratio * 100.0, pair.word()),
        None => pair.word().to_owned(),
    }
}
