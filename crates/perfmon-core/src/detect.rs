//! The detectors: each looks at the facts of one database over one window and says what is wrong.
//! A detector is a pure function; one that panics is itself a finding, and the others still run.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::facts::Facts;
use crate::finding::{Finding, Severity};
use crate::threshold::{Threshold, Thresholds};

pub mod errors;
pub mod host;
pub mod idea;
pub mod indexes;
pub mod objectives;
pub mod plans;
pub mod pooler;
pub mod pools;
pub mod rewrite;
pub mod scans;
pub mod server;
pub mod sessions;
pub mod settings;
pub mod statements;
pub mod vacuum;

mod reads;
#[cfg(test)]
mod samples;
mod settle;
pub(crate) mod words;

pub use settle::leaves_to;

/// What the detectors found.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Judgement {
    /// Worst first.
    pub findings: Vec<Finding>,
    /// Kinds about which nothing can be said, because what they need is not known: findings of these
    /// kinds that are open stay open.
    pub unjudged: Vec<&'static str>,
}

impl Judgement {
    /// Adds a finding.
    pub fn add(&mut self, finding: Finding) {
        self.findings.push(finding);
    }

    /// Says that nothing can be said about a kind.
    pub fn unknown(&mut self, kind: &'static str) {
        self.unjudged.push(kind);
    }
}

/// A detector.
#[derive(Debug)]
pub struct Detector {
    /// Its name, the `object` of the finding when it fails.
    pub name: &'static str,
    /// Kinds of findings that it can give.
    pub kinds: &'static [&'static str],
    /// Thresholds that it compares with.
    pub thresholds: &'static [Threshold],
    /// Looks.
    pub detect: fn(&Facts, &Thresholds, &mut Judgement),
}

/// All detectors.
pub static DETECTORS: &[&Detector] = &[
    &statements::DETECTOR,
    &scans::DETECTOR,
    &plans::DETECTOR,
    &indexes::DETECTOR,
    &vacuum::DETECTOR,
    &server::DETECTOR,
    &host::DETECTOR,
    &pooler::DETECTOR,
    &pools::DETECTOR,
    &sessions::DETECTOR,
    &errors::DETECTOR,
    &settings::DETECTOR,
    &objectives::DETECTOR,
    &rewrite::DETECTOR,
];

/// All thresholds, each with who compares with it: the detectors, what they share, and the report that
/// orders what they find.
pub fn thresholds_by_user() -> impl Iterator<Item = (&'static str, &'static Threshold)> {
    let detectors = DETECTORS.iter().flat_map(|d| d.thresholds.iter().map(|t| (d.name, t)));
    let shared = idea::THRESHOLDS.iter().map(|t| ("index ideas", t));
    let shared = shared.chain([("rates", &RATE_MINUTES)]);
    detectors.chain(shared).chain(crate::report::THRESHOLDS.iter().map(|t| ("report", t)))
}

/// All thresholds.
pub fn thresholds() -> impl Iterator<Item = &'static Threshold> {
    thresholds_by_user().map(|(_, threshold)| threshold)
}

/// Kind of the finding that a detector failed.
pub const FAILED: &str = "detector_failed";

/// Whether a finding tells of connections that are short at a time. Who gets none moves no counter, so that somebody has to look
/// whether that is over.
pub fn passes(finding: &Finding) -> bool {
    let kinds = pools::DETECTOR.kinds.iter().chain(pooler::DETECTOR.kinds);
    finding.severity > Severity::Info && kinds.copied().any(|kind| kind == finding.kind)
}

/// Lets all detectors look.
pub fn judge(facts: &Facts, thresholds: &Thresholds) -> Judgement {
    judge_with(DETECTORS, facts, thresholds)
}

/// Lets some detectors look.
pub fn judge_with(
    detectors: &[&'static Detector],
    facts: &Facts,
    thresholds: &Thresholds,
) -> Judgement {
    let mut all = Judgement::default();
    for detector in detectors {
        let look = || {
            let mut one = Judgement::default();
            (detector.detect)(facts, thresholds, &mut one);
            one
        };
        match catch_unwind(AssertUnwindSafe(look)) {
            Ok(one) => {
                all.findings.extend(one.findings);
                all.unjudged.extend(one.unjudged);
            }
            Err(panic) => {
                let said = panic
                    .downcast_ref::<String>()
                    .map(String::as_str)
                    .or_else(|| panic.downcast_ref::<&str>().copied())
                    .unwrap_or("no message");
                all.unjudged.extend(detector.kinds);
                all.findings.push(failed(detector.name, said));
            }
        }
    }
    all.findings.iter_mut().for_each(in_lines);
    all.findings.sort_by_cached_key(Finding::rank);
    statements::point_elsewhere(&mut all.findings, facts, thresholds);
    settle::settle(&mut all.findings, facts, thresholds);
    all
}

/// Names may hold line breaks; what is said stays on the line that it begins.
fn in_lines(finding: &mut Finding) {
    let said = [&mut finding.title, &mut finding.remedy, &mut finding.risk];
    for text in said.into_iter().chain(&mut finding.cause).chain(&mut finding.gain) {
        if text.contains(char::is_control) {
            *text = words::name(text);
        }
    }
}

/// A load of data, or a minute of traffic, is no rate.
static RATE_MINUTES: Threshold = Threshold::new(
    "rate_min_minutes",
    15.0,
    "Recorded minutes of the window below which WAL, index entries and evictions are not extrapolated to an hour.",
    "pg_perfmon: a load of data takes minutes",
);

/// The same for amounts that come in bursts: `None` where the window is too short to tell.
fn rate(facts: &Facts, thresholds: &Thresholds, amount: f64) -> Option<f64> {
    let minutes = facts.window.hours()? * 60.0;
    per_hour(facts, amount).filter(|_| minutes >= thresholds.of(&RATE_MINUTES))
}

/// An amount over the window as an amount per hour.
fn per_hour(facts: &Facts, amount: f64) -> Option<f64> {
    facts.window.per_hour(amount)
}

fn failed(detector: &str, said: &str) -> Finding {
    let mut finding = Finding::new(
        FAILED,
        Severity::Warning,
        format!("detector {detector}"),
        format!("pg_perfmon could not judge {detector}: {said}"),
        "Report this as a bug of pg_perfmon; findings of other kinds are not affected.",
        "pg_perfmon manual, findings",
    );
    finding.cause = Some("An error in pg_perfmon itself.".to_owned());
    finding
}
