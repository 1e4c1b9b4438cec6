//! The report of a test run or a deployment: what was promised, how long statements took, which were slow and
//! why, what failed, and what was changed meanwhile; beside another run, if there is one to compare with.

use std::collections::{BTreeMap, BTreeSet};

use super::facts::{Change, Command, ENOUGH, Errors, Gap, Latency, Missing, Promise, text_or};
use super::markdown::{self as whole, Show, latency, promises};
use super::text::{code, cut, plain, wrapped};
use super::words::{count, duration, milliseconds, seconds};
use crate::objective::{Scope, Status, Target};

mod asserted;
mod compare;
pub(super) mod json;
mod lost;
#[cfg(test)]
mod tests;

pub use compare::{Pair, pairs, untimed};

/// A run, and what is known of it.
#[derive(Debug, Clone, Default)]
pub struct Run {
    /// Its name.
    pub name: String,
    /// What was said when it began.
    pub note: Option<String>,
    /// The database.
    pub database: String,
    /// When it began.
    pub begun_us: i64,
    /// When it ended, or until when it was looked at.
    pub until_us: i64,
    /// It has not ended.
    pub unfinished: bool,
    /// Names of other runs during part of the same time.
    pub overlapping: Vec<String>,
    /// Time that recorded intervals cover.
    pub covered_us: i64,
    /// Parts of it of which no rows are kept that hold nothing else, begin and end: they are left out.
    pub forgotten: Vec<(i64, i64)>,
    /// Times of which nothing, or not everything, is known.
    pub gaps: Vec<Gap>,
    /// Worst quality of the intervals: 0 exact, 1 lower bound, 2 doubtful.
    pub quality: Option<i16>,
    /// What was promised and whether it was kept.
    pub objectives: Vec<Promise>,
    /// How long statements took; `None` when that was not counted.
    pub latency: Option<Latency>,
    /// The 95th percentile by statement, milliseconds: of all with [`ENOUGH`] executions, listed or not.
    pub p95_ms: BTreeMap<i64, f64>,
    /// Why it is not counted, and what turns it on.
    pub uncounted: Option<Missing>,
    /// Which statements ran, timed or not.
    pub executed: Executed,
    /// Statements over the limit, with their cause.
    pub slow: Vec<Slow>,
    /// From which p95 on a statement is slow, milliseconds.
    pub slow_ms: f64,
    /// Why nothing is known of these, if nothing is, or not all.
    pub uncommanded: Option<Missing>,
    /// Reads, inserts, updates, deletes.
    pub commands: Vec<Command>,
    /// What failed; `None` when that was not counted.
    pub errors: Option<Errors>,
    /// Why not all of it is known, if it is not.
    pub unheard: Option<Missing>,
    /// What was changed during the run, latest first.
    pub changes: Vec<Change>,
}

/// Which statements ran.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Executed {
    /// Ids of those that are known to have run.
    pub ids: BTreeSet<i64>,
    /// No other did.
    pub are_all: bool,
}

impl Executed {
    /// Whether a statement is known not to have run.
    fn lacks(&self, id: i64) -> bool {
        self.are_all && !self.ids.contains(&id)
    }
}

/// A slow statement of a run.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize)]
pub struct Slow {
    /// Id in this history.
    pub statement_id: i64,
    /// Its 95th percentile, milliseconds; `None` where its executions were not timed one by one.
    pub p95_ms: Option<f64>,
    /// Its mean, milliseconds, where the server's statistics of statements have it.
    pub mean_ms: Option<f64>,
    /// Executions.
    pub calls: i64,
    /// Why, in words.
    pub cause: String,
    /// What to do.
    pub remedy: String,
    /// Its text, as far as the reader may see it.
    pub query: Option<String>,
}

/// What a run comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// All that was promised was kept.
    Passed,
    /// Something was not.
    Failed,
    /// Nothing was missed, but not all could be judged.
    Unclear,
    /// Nothing was promised.
    Unjudged,
}

impl Outcome {
    /// In one word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::Unclear => "unclear",
            Self::Unjudged => "unjudged",
        }
    }
}

impl Run {
    /// What it comes to. What is not known does not pass.
    pub fn outcome(&self) -> Outcome {
        let any = |status| self.objectives.iter().any(|p| p.verdict.status == status);
        match self.objectives.is_empty() {
            true => Outcome::Unjudged,
            false if any(Status::Missed) => Outcome::Failed,
            false if any(Status::NoData) || any(Status::TooFew) => Outcome::Unclear,
            false if self.unknown_ratio() > 0.0 => Outcome::Unclear,
            false if self.objectives.iter().any(|p| self.may_hide(p)) => Outcome::Unclear,
            false => Outcome::Passed,
        }
    }

    /// Whether errors that are not known could break a promise.
    fn may_hide(&self, promise: &Promise) -> bool {
        let is_of_all = matches!(promise.scope, Scope::Database | Scope::Cluster);
        let of_some = self.errors.as_ref().is_some_and(|errors| !errors.are_all());
        matches!(promise.verdict.target, Target::Errors { .. })
            && (promise.verdict.uncertain || is_of_all && of_some)
    }
}

/// How many lines of a list are shown.
const LINES: usize = 20;

/// The report as Markdown; `show` gives a time in the reader's zone.
pub fn markdown(run: &Run, baseline: Option<&Run>, show: &dyn Fn(i64) -> String) -> String {
    let show = &|us: i64| seconds(&show(us));
    let mut out = String::new();
    head(&mut out, run, baseline, show);
    // The last hour is more than the run.
    promises::objectives(&mut out, &run.objectives, false);
    if let Some(baseline) = baseline {
        compare::tables(&mut out, baseline, run);
    }
    match run.latency.is_none() && run.uncounted.is_none() {
        true => unknown(&mut out, "Latency", run),
        false => latency::latency(&mut out, run.latency.as_ref(), run.uncounted.as_ref()),
    }
    slow(&mut out, run);
    match run.commands.is_empty() && run.uncommanded.is_none() {
        true => unknown(&mut out, "Time by kind of command", run),
        false => whole::commands(&mut out, &run.commands, run.uncommanded.as_ref()),
    }
    errors(&mut out, run);
    if run.changes.is_empty() {
        out.push_str("## Changes in the period\n\nNothing was changed.\n\n");
    }
    whole::changes(&mut out, &run.changes, show);
    lost::gaps(&mut out, run, show);
    out
}

fn head(out: &mut String, run: &Run, baseline: Option<&Run>, show: Show<'_>) {
    out.push_str(&cut(&format!("# Test run: {}", plain(&run.name)), 100));
    out.push_str("\n\n");
    let mut item = |name: &str, value: &str| wrapped(out, &format!("- {name}: "), value);
    let outcome = match run.outcome() {
        Outcome::Passed => "**passed**: everything that was promised was kept",
        Outcome::Failed => "**failed**: something that was promised was not kept",
        Outcome::Unclear => "**unclear**: nothing was missed, but not everything is known",
        Outcome::Unjudged => "not judged: nothing is promised",
    };
    item("Outcome", outcome);
    item("Database", &plain(&run.database));
    let length = run.until_us.saturating_sub(run.begun_us);
    let (since, until) = (show(run.begun_us), show(run.until_us));
    item("Time", &format!("{since} to {until} ({})", duration(length)));
    if run.unfinished {
        item(
            "Unfinished",
            "it goes on; this is what is recorded so far. perfmon.end_run() ends it",
        );
    }
    if !run.overlapping.is_empty() {
        let names: Vec<String> = run.overlapping.iter().map(|name| plain(name)).collect();
        let text = "their load is in these numbers too";
        item("At the same time", &format!("{}: {text}", names.join(", ")));
    }
    if let Some(note) = &run.note {
        item("Note", &plain(note));
    }
    item("Recorded", &duration(run.covered_us));
    lost::head(out, run);
    let mut item = |name: &str, value: &str| wrapped(out, &format!("- {name}: "), value);
    if let Some(baseline) = baseline {
        let when = show(baseline.begun_us);
        let length = duration(baseline.until_us.saturating_sub(baseline.begun_us));
        item("Compared with", &format!("{}, {when} ({length})", plain(&baseline.name)));
    }
    out.push('\n');
}

fn slow(out: &mut String, run: &Run) {
    let limit = milliseconds(Some(run.slow_ms));
    out.push_str(&format!("## Statements over {limit} at p95\n\n"));
    if run.slow.is_empty() {
        let timed = match &run.latency {
            None => {
                out.push_str("Not known, as execution times are not.\n\n");
                return;
            }
            Some(latency) if latency.is_part && run.uncommanded.is_some() => {
                " that were timed; of the others, none by the mean that pg_stat_statements has, which did not count all"
            }
            Some(latency) if latency.is_part => {
                " that were timed; of the others, none by the mean that pg_stat_statements has"
            }
            Some(_) => "",
        };
        wrapped(out, "", &format!("None of those with {ENOUGH} executions or more{timed}."));
        out.push('\n');
        return;
    }
    for slow in run.slow.iter().take(LINES) {
        let query = text_or(slow.query.as_deref(), code);
        let p95 = match slow.p95_ms {
            None => format!("unknown, mean {}", milliseconds(slow.mean_ms)),
            p95 => milliseconds(p95),
        };
        let calls = count(Some(slow.calls));
        wrapped(
            out,
            "- ",
            &format!(
                "Statement {}, p95 {p95}, {calls} calls: {}",
                slow.statement_id,
                cut(&query, 60)
            ),
        );
        wrapped(out, "  ", &plain(&format!("{} {}", slow.cause, slow.remedy)));
    }
    out.push('\n');
}

fn errors(out: &mut String, run: &Run) {
    if run.errors.is_some() || run.unheard.is_some() {
        whole::errors::errors(out, run.errors.as_ref(), run.unheard.as_ref());
        return;
    }
    unknown(out, "Errors", run);
}

/// A section of which nothing is known.
fn unknown(out: &mut String, title: &str, run: &Run) {
    let why = match run.forgotten.is_empty() {
        true => "Not known: nothing of it was recorded during the run.",
        false => "Not known, as what they were counted in is no longer kept.",
    };
    out.push_str(&format!("## {title}\n\n{why}\n\n"));
}
