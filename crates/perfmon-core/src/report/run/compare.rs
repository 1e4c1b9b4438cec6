//! Two runs side by side: objectives by name, statements by id.

use super::Run;
use crate::objective::words::figures;
use crate::objective::{Status, Target};
use crate::report::facts::{Missing, Promise, StatementTimes, text_or};
use crate::report::grid::Side::{Left, Right};
use crate::report::grid::grid;
use crate::report::text::{code, plain, wrapped};
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
    /// A number of it was not judged, as of too few executions: it is no ground for a verdict.
    pub unjudged: bool,
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
            _ if self.unjudged => return "",
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

/// What is not known of the times of a run that is compared, and why.
pub fn untimed(run: &Run) -> Option<(String, &Missing)> {
    let missing = run.uncounted.as_ref()?;
    let name = &run.name;
    let what = match &run.latency {
        None => {
            format!("statements are not compared, as their times in run \"{name}\" are not known")
        }
        Some(latency) if latency.is_part => {
            format!("the times of run \"{name}\" are those of a part of what was executed")
        }
        Some(_) => return None,
    };
    Some((what, missing))
}

fn objectives(before: &Run, after: &Run) -> Vec<Pair> {
    let same = |a: &Promise, b: &Promise| {
        a.name == b.name && a.verdict.target.name() == b.verdict.target.name()
    };
    let pair = |promise: &Promise| {
        let target = promise.verdict.target;
        let earlier = before.objectives.iter().find(|other| same(other, promise));
        // What is no longer kept may have been executed.
        let is_absent = |run: &Run, promise: &Promise| {
            run.forgotten.is_empty() && promise.verdict.executions == Some(0)
        };
        let kept = |promise: &Promise| match promise.verdict.status {
            Status::Met => Some(true),
            Status::Missed => Some(false),
            Status::NoData | Status::TooFew => None,
        };
        let is_unjudged =
            |promise: &Promise| promise.verdict.actual.is_some() && kept(promise).is_none();
        Pair {
            what: "objective",
            name: promise.name.clone(),
            metric: target.name(),
            unit: target.unit(),
            before: earlier.and_then(|other| other.verdict.actual),
            after: promise.verdict.actual,
            absent: (
                earlier.is_none_or(|earlier| is_absent(before, earlier)),
                is_absent(after, promise),
            ),
            more_is_worse: matches!(target, Target::Latency { .. } | Target::Errors { .. }),
            is_share_of_good: matches!(target, Target::Availability { .. }),
            kept: earlier.and_then(kept).zip(kept(promise)),
            unjudged: earlier.is_some_and(is_unjudged) || is_unjudged(promise),
            query: None,
        }
    };
    after.objectives.iter().map(pair).collect()
}

fn statements(before: &Run, after: &Run) -> Vec<Pair> {
    let (Some(old), Some(new)) = (&before.latency, &after.latency) else { return Vec::new() };
    let (old, new) = (&old.statements, &new.statements);
    // What got fast is far down in its list, or beyond its end.
    let find = |run: &Run, lines: &[StatementTimes], id: i64| {
        let listed = lines.iter().find(|line| line.statement_id == id);
        listed.and_then(|line| line.times.p95_ms).or_else(|| run.p95_ms.get(&id).copied())
    };
    let gone = old.iter().filter(|line| !new.iter().any(|n| n.statement_id == line.statement_id));
    let pair = |line: &StatementTimes| Pair {
        what: "statement",
        name: line.statement_id.to_string(),
        metric: "p95".to_owned(),
        unit: "ms",
        before: find(before, old, line.statement_id),
        after: find(after, new, line.statement_id),
        absent: (before.executed.lacks(line.statement_id), after.executed.lacks(line.statement_id)),
        more_is_worse: true,
        is_share_of_good: false,
        kept: None,
        unjudged: false,
        query: line.query.clone(),
    };
    new.iter().chain(gone).map(pair).collect()
}

/// How many statements are shown, and how many of these at least of which no change is known, if there are such.
const STATEMENTS: usize = 20;
const UNTOLD: usize = 5;

/// Those that are shown: that changed most, for the worse and for the better. They come by their change, those without
/// one last.
fn shown<'a>(all: &[&'a Pair]) -> Vec<&'a Pair> {
    let (told, untold) = all.split_at(all.partition_point(|pair| pair.change_ratio().is_some()));
    let untold = &untold[..untold.len().min(UNTOLD.max(STATEMENTS.saturating_sub(told.len())))];
    let room = STATEMENTS - untold.len();
    if told.len() <= room {
        return [told, untold].concat();
    }
    let better = room / 3;
    [&told[..room - better], &told[told.len() - better..], untold].concat()
}

pub(super) fn tables(out: &mut String, before: &Run, after: &Run) {
    let all = pairs(before, after);
    let (promised, statements): (Vec<&Pair>, Vec<&Pair>) =
        all.iter().partition(|pair| pair.what == "objective");
    out.push_str("## Compared with the other run\n\n");
    for (what, missing) in [before, after].into_iter().filter_map(untimed) {
        let text = format!("Not all of this is known: {what}: {}.", missing.problem);
        wrapped(out, "", &plain(&text));
        out.push('\n');
    }
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
        let shown = shown(&statements);
        grid(out, heads, &shown.iter().map(row).collect::<Vec<_>>());
        if shown.len() < statements.len() {
            let text = format!(
                "{} of {} statements: those that changed most, for the worse and for the better. All are in \
                 `SELECT * FROM perfmon.compare_runs(baseline, name)`.",
                shown.len(),
                statements.len()
            );
            wrapped(out, "", &text);
            out.push('\n');
        }
    }
}

fn change(pair: &Pair) -> String {
    if pair.unjudged {
        return "not judged".to_owned();
    }
    match pair.change_ratio() {
        Some(ratio) => format!("{:+.0} % {}", ratio * 100.0, pair.word()),
        None => pair.word().to_owned(),
    }
}
