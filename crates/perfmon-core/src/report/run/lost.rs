//! What is not known of a run: time whose counters were lost, or that nobody recorded.

use super::Run;
use crate::objective::Scope;
use crate::report::facts::Gap;
use crate::report::markdown::{self as whole, Show};
use crate::report::text::wrapped;
use crate::report::words::{duration, percent};

/// What objectives, times and errors of a run are read from.
const SUBJECTS: [&str; 5] = ["all", "server", "latency", "failure", "route"];
/// What promises of the whole server are read from besides. Nothing else of a run is.
const OF_ALL: &str = "cluster";
/// Share of the time that no interval covers below which it is a matter of when snapshots are taken.
const SLACK: f64 = 0.05;

impl Run {
    fn length_us(&self) -> i64 {
        self.until_us.saturating_sub(self.begun_us).max(0)
    }

    /// Whether executions of that time are lost to it. Of one without snapshots only the order of things is.
    fn loses_by(&self, gap: &Gap) -> bool {
        let subject = gap.subject.as_str();
        let promises_all = || self.objectives.iter().any(|promise| promise.scope == Scope::Cluster);
        let is_read = SUBJECTS.contains(&subject) || subject == OF_ALL && promises_all();
        is_read && gap.kind != "missed"
    }

    /// Time within gaps that lose executions, of several at once only once.
    fn lost_us(&self) -> i64 {
        let mut parts: Vec<(i64, i64)> = self
            .gaps
            .iter()
            .filter(|gap| self.loses_by(gap))
            .map(|gap| {
                let until = gap.since_us.saturating_add(gap.length_us).min(self.until_us);
                (gap.since_us.max(self.begun_us), until)
            })
            .chain(self.forgotten.iter().copied())
            .collect();
        parts.sort_unstable();
        let mut seen = i64::MIN;
        let mut lost = 0_i64;
        for (since, until) in parts {
            lost = lost.saturating_add(until.saturating_sub(since.max(seen)).max(0));
            seen = seen.max(until);
        }
        lost
    }

    /// Time of it of which nothing is kept that is its alone.
    pub(super) fn forgotten_us(&self) -> i64 {
        self.forgotten.iter().map(|(since, until)| until.saturating_sub(*since)).sum()
    }

    /// The share of its time of which not everything is known.
    pub fn unknown_ratio(&self) -> f64 {
        let length = self.length_us();
        if length == 0 {
            return 0.0;
        }
        let unrecorded = length.saturating_sub(self.covered_us).max(0) as f64 / length as f64;
        // One that goes on is known up to the last snapshot.
        let unrecorded = if self.unfinished || unrecorded < SLACK { 0.0 } else { unrecorded };
        unrecorded.max(self.lost_us() as f64 / length as f64).min(1.0)
    }
}

pub(super) fn head(out: &mut String, run: &Run) {
    let unknown = run.unknown_ratio();
    if unknown > 0.0 {
        let lost = duration((unknown * run.length_us() as f64) as i64);
        let why = match run.forgotten.is_empty() {
            true => ", as the gaps below tell",
            false => "",
        };
        let text = format!("{} of the time ({lost}){why}", percent(Some(unknown)));
        wrapped(out, "- Not known: ", &text);
    }
    if !run.forgotten.is_empty() {
        let text = format!(
            "the intervals of {} of it. Hours and days, which are kept longer, hold what others did before and \
             after, and are left out where they are not the run's alone",
            duration(run.forgotten_us())
        );
        wrapped(out, "- No longer kept: ", &text);
    }
    let quality = match run.quality {
        Some(1) => "at least what is shown happened, some may be missing",
        Some(2..) => "a safe lower bound, as counters may have begun anew in between",
        _ => return,
    };
    wrapped(out, "- Quality: ", quality);
}

pub(super) fn gaps(out: &mut String, run: &Run, show: Show<'_>) {
    whole::gaps(out, &run.gaps, show);
}
