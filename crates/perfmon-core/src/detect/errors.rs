//! Statements that fail: how many of all that clients try.

use super::words::{counted, list, percent, span};
use super::{Detector, Judgement};
use crate::capture::failure::Class;
use crate::facts::Facts;
use crate::facts::failure::{Failures, Interval};
use crate::finding::{Effort, Evidence, Finding, Severity};
use crate::objective::KNOWN;
use crate::threshold::{Threshold, Thresholds};

/// Statements fail.
pub const RATE: &str = "error_rate";

/// The detector.
pub static DETECTOR: Detector =
    Detector { name: "errors", kinds: &[RATE], thresholds: THRESHOLDS, detect };

const WARNING_RATIO: Threshold =
    Threshold::ratio("error_ratio", 0.005, "share of failed statements: warning", "requirements");
const WARNING_MINUTES: Threshold = Threshold::new(
    "error_minutes",
    5.0,
    "minutes for which the share is looked at: warning",
    "requirements",
);
const CRITICAL_RATIO: Threshold = Threshold::ratio(
    "error_critical_ratio",
    0.01,
    "share of failed statements: critical",
    "requirements",
);
const CRITICAL_MINUTES: Threshold = Threshold::new(
    "error_critical_minutes",
    2.0,
    "minutes for which the share is looked at: critical",
    "requirements",
);
const MIN_STATEMENTS: Threshold = Threshold::new(
    "error_statements_min",
    200.0,
    "statements in that time below which a share of them says nothing",
    "pg_perfmon: one failure is then the share of a warning",
);

static THRESHOLDS: &[Threshold] =
    &[WARNING_RATIO, WARNING_MINUTES, CRITICAL_RATIO, CRITICAL_MINUTES, MIN_STATEMENTS];

/// Kinds of failure that a finding names.
const NAMED: usize = 3;

fn detect(facts: &Facts, thresholds: &Thresholds, judgement: &mut Judgement) {
    let Some(failures) = facts.failures.as_ref().filter(|f| !f.intervals.is_empty()) else {
        judgement.unknown(RATE);
        return;
    };
    let worst = |minutes: &Threshold| {
        let least = thresholds.of(&MIN_STATEMENTS);
        Stretch::worst(&failures.intervals, thresholds.of(minutes), least)
    };
    let levels = [
        (Severity::Critical, &CRITICAL_MINUTES, &CRITICAL_RATIO),
        (Severity::Warning, &WARNING_MINUTES, &WARNING_RATIO),
    ];
    for (severity, minutes, ratio) in levels {
        let limit = thresholds.of(ratio);
        if let Some(stretch) = worst(minutes).filter(|stretch| stretch.ratio() > limit) {
            judgement.add(finding(facts, failures, severity, &stretch, limit));
            return;
        }
    }
}

/// Some intervals one after the other.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Stretch {
    /// Time of what is known that was not quiet, and with the quiet time.
    length_us: i64,
    known_us: i64,
    tried: u64,
    errors: u64,
}

impl Stretch {
    fn ratio(&self) -> f64 {
        self.errors as f64 / self.tried.max(1) as f64
    }

    fn add(&mut self, interval: &Interval) {
        self.length_us = self.length_us.saturating_add(interval.length_us);
        self.known_us =
            self.known_us.saturating_add(interval.until_us.saturating_sub(interval.since_us));
        self.tried = self.tried.saturating_add(interval.tried());
        self.errors = self.errors.saturating_add(interval.errors);
    }

    /// The worst of all stretches that are just so long, or a little shorter: snapshots are not taken to the
    /// second. Each begins and ends with errors, in an interval of its own, so that a single burst is not what lasts.
    fn worst(intervals: &[Interval], minutes: f64, least: f64) -> Option<Self> {
        let needed_us = (minutes * 60e6 * 0.95) as i64;
        let mut worst: Option<Self> = None;
        for last in 0..intervals.len() {
            let mut stretch = Self::default();
            let mut first = last + 1;
            while (stretch.length_us < needed_us || first >= last) && first > 0 {
                first -= 1;
                stretch.add(&intervals[first]);
            }
            // What failed at both ends of a time of which nothing is known is not what failed all the time.
            let wall_us = intervals[last].until_us.saturating_sub(intervals[first].since_us);
            let is_known = stretch.known_us as f64 >= KNOWN * wall_us as f64;
            let lasts = is_known
                && first < last
                && intervals[first].errors > 0
                && intervals[last].errors > 0;
            if !lasts || stretch.length_us < needed_us || (stretch.tried as f64) < least {
                continue;
            }
            if worst.is_none_or(|worst| stretch.ratio() > worst.ratio()) {
                worst = Some(stretch);
            }
        }
        worst
    }
}

fn finding(
    facts: &Facts,
    failures: &Failures,
    severity: Severity,
    stretch: &Stretch,
    limit: f64,
) -> Finding {
    let (tried, errors) = (stretch.tried as f64, stretch.errors as f64);
    let title = format!(
        "{} of statements failed for {} ({} of {})",
        percent(stretch.ratio()),
        span(stretch.length_us as f64 / 1e6),
        counted(errors, "error"),
        counted(tried, "statement"),
    );
    let mut finding = Finding::new(
        RATE,
        severity,
        format!("database {}", facts.database.name),
        title,
        "Mend what fails most: perfmon.errors() lists it by SQLSTATE, user and statement, with the time \
         lost. The server's log has the message of each.",
        "requirements",
    );
    let counted: Vec<_> = failures.all.iter().filter(|f| f.class.is_error()).collect();
    let named: Vec<String> = counted
        .iter()
        .take(NAMED)
        .map(|f| match f.statement_id {
            Some(id) => format!("{} of statement {id}, {} times", f.name(), f.count),
            None => format!("{}, {} times", f.name(), f.count),
        })
        .collect();
    if !named.is_empty() {
        let not_all = if failures.is_part {
            " Errors were not counted in some of it; perfmon.errors() says why."
        } else {
            ""
        };
        let named = list(&named, NAMED);
        finding.cause = Some(format!("Most frequent in the window: {named}.{not_all}"));
    }
    finding.evidence.push(
        Evidence::new("error_ratio", stretch.ratio(), "ratio")
            .over(limit)
            .out_of(i64::try_from(stretch.tried).unwrap_or(i64::MAX)),
    );
    finding.evidence.push(Evidence::new("errors", stretch.errors, ""));
    let lost: f64 = counted.iter().map(|f| f.lost_ms).sum();
    finding.evidence.push(Evidence::new("lost_ms", lost, "ms"));
    for class in [Class::StatementTimeout, Class::LockTimeout, Class::Deadlock] {
        let n = failures.of_class(class);
        if n > 0 {
            finding.evidence.push(Evidence::new(format!("{}s", class.name()), n, ""));
        }
    }
    finding.effort = Effort::High;
    finding.gain = Some("Clients get answers instead of errors.".to_owned());
    finding
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::samples::{self, silent, the};
    use crate::facts::failure::Failure;

    const MINUTE_US: i64 = 60_000_000;

    /// An hour of a thousand statements a minute, of which so many fail from minute 30 on.
    fn failing(errors: u64, minutes: usize) -> Facts {
        let mut facts = samples::healthy();
        let interval = |i: usize| Interval {
            since_us: facts.window.since_us + i as i64 * MINUTE_US,
            until_us: facts.window.since_us + (i as i64 + 1) * MINUTE_US,
            length_us: MINUTE_US,
            executions: 1_000,
            errors: if (30..30 + minutes).contains(&i) { errors } else { 0 },
            cancelled: 0,
        };
        let failure = Failure {
            class: Class::Error,
            state: Some("23505".into()),
            statement_id: Some(17),
            table: None,
            count: errors * minutes as u64,
            lost_ms: 12.0,
        };
        facts.failures = Some(Failures {
            intervals: (0..60).map(interval).collect(),
            all: vec![failure],
            is_part: false,
        });
        facts
    }

    #[test]
    fn errors_that_last() {
        let finding = the(&DETECTOR, &failing(7, 5), RATE);
        assert_eq!(finding.severity, Severity::Warning);
        assert_eq!(
            finding.title,
            "0.7 % of statements failed for 5 min (35 errors of 5,035 statements)"
        );
        assert_eq!(
            finding.cause.unwrap(),
            "Most frequent in the window: unique_violation (23505) of statement 17, 35 times."
        );
        assert_eq!(finding.evidence[0].threshold, Some(0.005));
        let finding = the(&DETECTOR, &failing(15, 2), RATE);
        assert_eq!(finding.severity, Severity::Critical);
        assert_eq!(
            (finding.evidence[0].threshold, finding.evidence[0].samples),
            (Some(0.01), Some(2_030))
        );
        silent(&DETECTOR, &failing(4, 10), RATE);
        silent(&DETECTOR, &failing(9, 4), RATE);
        silent(&DETECTOR, &failing(200, 1), RATE);
        silent(&DETECTOR, &failing(0, 0), RATE);
    }

    #[test]
    fn a_burst_in_one_long_interval_does_not_last() {
        let mut facts = failing(0, 0);
        let burst = Interval {
            since_us: facts.window.since_us,
            until_us: facts.window.since_us + 10 * MINUTE_US,
            length_us: 10 * MINUTE_US,
            executions: 300,
            errors: 100,
            cancelled: 0,
        };
        let failures = facts.failures.as_mut().unwrap();
        failures.intervals = vec![burst];
        silent(&DETECTOR, &facts, RATE);
        // Again in the next, it is known to be more than one.
        let again = Interval {
            since_us: burst.until_us,
            until_us: burst.until_us + 10 * MINUTE_US,
            ..burst
        };
        facts.failures.as_mut().unwrap().intervals.push(again);
        assert_eq!(the(&DETECTOR, &facts, RATE).severity, Severity::Critical);
    }

    #[test]
    fn a_time_of_which_nothing_is_known_does_not_join_what_failed_before_and_after() {
        let mut facts = failing(50, 20);
        facts.failures.as_mut().unwrap().is_part = true;
        let cause = the(&DETECTOR, &facts, RATE).cause.unwrap();
        assert!(
            cause.ends_with("Errors were not counted in some of it; perfmon.errors() says why.")
        );
        // One in three: no two of them are next to each other.
        let mut nth = 0;
        facts.failures.as_mut().unwrap().intervals.retain(|_| {
            nth += 1;
            nth % 3 == 0
        });
        silent(&DETECTOR, &facts, RATE);
    }

    #[test]
    fn a_few_statements_say_nothing() {
        let mut facts = failing(3, 10);
        let few = |interval: &mut Interval| interval.executions = 5;
        facts.failures.as_mut().unwrap().intervals.iter_mut().for_each(few);
        silent(&DETECTOR, &facts, RATE);
        let mut short = failing(50, 60);
        short.failures.as_mut().unwrap().intervals.truncate(1);
        silent(&DETECTOR, &short, RATE);
    }

    #[test]
    fn without_counts_nothing_is_said() {
        let mut facts = failing(50, 20);
        facts.failures = None;
        assert_eq!(
            super::super::judge_with(&[&DETECTOR], &facts, &Thresholds::default()).unjudged,
            [RATE]
        );
    }
}
