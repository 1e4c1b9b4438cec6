//! Promises that are broken for minutes on end, and error budgets that are spent too fast. Only what was
//! declared is judged.

use super::{Detector, Judgement, words};
use crate::facts::Facts;
use crate::finding::{Effort, Evidence, Finding, Severity};
use crate::objective::words::figures;
use crate::objective::{
    KNOWN, Observed, Scope, Stretch, Target, Verdict, WINDOWS_US, judge, longest,
};
use crate::threshold::{Threshold, Thresholds};

#[cfg(test)]
mod tests;

/// Kind of the finding that a promise is broken.
pub const MISSED: &str = "slo_missed";
/// Kind of the finding that an error budget is spent too fast.
pub const BURN: &str = "slo_burn";

/// The detector.
pub static DETECTOR: Detector =
    Detector { name: "objectives", kinds: &[MISSED, BURN], thresholds: THRESHOLDS, detect };

const LONG: Threshold = Threshold::new(
    "slo_warning_minutes",
    5.0,
    "Minutes on end in which an objective is missed: warning.",
    "requirements: p95 over 200 ms, or errors over 0.5 %, for 5 minutes",
);
const SHORT: Threshold = Threshold::new(
    "slo_critical_minutes",
    2.0,
    "Minutes on end in which a p99 is missed, or another objective by far: critical.",
    "requirements: p99 over 500 ms, p95 over 500 ms, or errors over 1 %, for 2 minutes",
);
const FAR: Threshold = Threshold {
    name: "slo_critical_latency_factor",
    default: 2.5,
    range: (1.0, f64::MAX),
    what: "How many times its limit a percentile below p99 must be to be critical.",
    origin: "requirements: p95 warns over 200 ms and is critical over 500 ms",
};
const MANY: Threshold = Threshold {
    name: "slo_critical_error_factor",
    default: 2.0,
    range: (1.0, f64::MAX),
    what: "How many times its limit an error rate must be to be critical.",
    origin: "requirements: errors warn over 0.5 % and are critical over 1 %",
};
const FAST: Threshold = Threshold::new(
    "slo_burn_fast",
    14.4,
    "Burn rate over 5 minutes and over 1 hour: critical.",
    "Site Reliability Workbook, chapter 5: 2 % of a budget of 30 days in an hour",
);
const SLOW: Threshold = Threshold::new(
    "slo_burn_slow",
    6.0,
    "Burn rate over 30 minutes and over 6 hours: warning.",
    "Site Reliability Workbook, chapter 5: 5 % of a budget of 30 days in 6 hours",
);

static THRESHOLDS: &[Threshold] = &[LONG, SHORT, FAR, MANY, FAST, SLOW];

const REFERENCE: &str = "pg_perfmon manual, objectives; Site Reliability Workbook, chapter 5";
/// From here on a percentile is one of rare executions.
const RARE: f64 = 0.99;
const MINUTE_US: f64 = 60e6;

fn detect(facts: &Facts, thresholds: &Thresholds, judgement: &mut Judgement) {
    let Some(objectives) = &facts.objectives else {
        judgement.unknown(MISSED);
        judgement.unknown(BURN);
        return;
    };
    for observed in objectives {
        for target in &observed.objective.targets {
            let look = Look { facts, thresholds, observed, target: *target };
            if look.is_blind() {
                judgement.unknown(MISSED);
                judgement.unknown(BURN);
                continue;
            }
            match look.missed() {
                Some(finding) => judgement.add(finding),
                None => judgement.findings.extend(look.burning()),
            }
        }
    }
}

/// One promise under the magnifying glass.
struct Look<'a> {
    facts: &'a Facts,
    thresholds: &'a Thresholds,
    observed: &'a Observed,
    target: Target,
}

impl Look<'_> {
    fn verdict(&self) -> Verdict {
        let window = &self.facts.window;
        let Observed { objective, history } = self.observed;
        judge(objective, self.target, history, window.since_us, window.until_us)
    }

    /// Nobody counted what would tell.
    fn is_blind(&self) -> bool {
        self.verdict().known_us == 0
    }

    /// The longest time on end for which it was missed by a factor, if that is long and well known enough.
    fn stretch(&self, factor: f64, minutes: &Threshold) -> Option<Stretch> {
        let window = &self.facts.window;
        let history = &self.observed.history;
        let found = longest(self.target, factor, history, window.since_us, window.until_us)?;
        let few = self.observed.objective.min_executions;
        // Few executions are what a promise of throughput is about.
        let enough = found.executions >= few || matches!(self.target, Target::Throughput { .. });
        let us = (self.thresholds.of(minutes) * MINUTE_US) as i64;
        (enough && found.lasts(us)).then_some(found)
    }

    fn missed(&self) -> Option<Finding> {
        let of = |threshold| self.thresholds.of(threshold);
        let (warning, critical) = match self.target {
            Target::Latency { quantile, .. } if quantile >= RARE => (None, Some(1.0)),
            Target::Latency { .. } => (Some(1.0), Some(of(&FAR))),
            Target::Errors { .. } => (Some(1.0), Some(of(&MANY))),
            Target::Throughput { .. } => (Some(1.0), None),
            // A share of time is not missed for minutes: its budget is spent.
            Target::Availability { .. } => (None, None),
        };
        let critical = critical.and_then(|factor| Some((self.stretch(factor, &SHORT)?, factor)));
        let warning = || warning.and_then(|factor| Some((self.stretch(factor, &LONG)?, factor)));
        let (severity, (stretch, factor)) = match critical {
            Some(found) => (Severity::Critical, found),
            None => (Severity::Warning, warning()?),
        };
        Some(self.broken(severity, stretch, factor))
    }

    fn broken(&self, severity: Severity, stretch: Stretch, factor: f64) -> Finding {
        let (target, name) = (self.target, self.name());
        let Observed { objective, history } = self.observed;
        let during = judge(objective, target, history, stretch.since_us, stretch.until_us);
        let minutes = stretch.length_us() as f64 / MINUTE_US;
        let was = during.actual.map_or_else(String::new, |v| format!(" was {}", target.show(v)));
        let title = format!(
            "Objective {name}: {}{was} for {} minutes, promised is {}",
            target.name(),
            figures(minutes),
            target.promise()
        );
        let mut finding = self.finding(MISSED, severity, title);
        let limit = match target {
            Target::Throughput { per_second } => per_second / factor,
            other => other.value() * factor,
        };
        let executions = i64::try_from(stretch.executions).unwrap_or(i64::MAX);
        if let Some(actual) = during.actual {
            let measured = Evidence::new(target.name(), actual, target.unit());
            finding.evidence.push(measured.over(limit).out_of(executions));
        }
        finding.evidence.push(Evidence::new("missed_for_minutes", minutes, "min"));
        self.add_budget(&mut finding);
        finding
    }

    fn burning(&self) -> Option<Finding> {
        let verdict = self.verdict();
        let [five, hour, half, six] = verdict.burn;
        let of = |threshold| self.thresholds.of(threshold);
        let over = |short: Option<f64>, long: Option<f64>, window: usize, rate: f64| {
            let least = short?.min(long?);
            (least >= rate && self.is_known(WINDOWS_US[window])).then_some(least)
        };
        let (severity, words, rate, over) = match over(five, hour, 1, of(&FAST)) {
            Some(rate) => (Severity::Critical, "5 minutes and 1 hour", rate, of(&FAST)),
            None => {
                let rate = over(half, six, 3, of(&SLOW))?;
                (Severity::Warning, "30 minutes and 6 hours", rate, of(&SLOW))
            }
        };
        let title = format!(
            "Objective {}: the budget of {} is spent {} times as fast as allowed, over {words}",
            self.name(),
            self.target.name(),
            figures(rate)
        );
        let mut finding = self.finding(BURN, severity, title);
        let samples = i64::try_from(verdict.executions.unwrap_or(0)).unwrap_or(i64::MAX);
        finding.evidence.push(Evidence::new("burn_rate", rate, "").over(over).out_of(samples));
        self.add_budget(&mut finding);
        Some(finding)
    }

    /// Whether enough is known of the time before the end to say something about all of it.
    fn is_known(&self, us: i64) -> bool {
        let until = self.facts.window.until_us;
        let since = until.saturating_sub(us);
        let Observed { objective, history } = self.observed;
        let verdict = judge(objective, self.target, history, since, until);
        let is_time = matches!(self.target, Target::Availability { .. });
        let enough = is_time || verdict.executions >= Some(objective.min_executions);
        enough && verdict.known_us as f64 >= KNOWN * us as f64
    }

    fn name(&self) -> String {
        words::name(&self.observed.objective.name)
    }

    fn finding(&self, kind: &str, severity: Severity, title: String) -> Finding {
        let remedy = match self.target {
            Target::Errors { .. } => {
                "See what fails in perfmon.errors(), and what changed before in perfmon.changes()."
            }
            Target::Throughput { .. } => {
                "See perfmon.load_series() for when it fell and perfmon.changes() for what changed \
                 then; if nobody asked for more, lower the target."
            }
            Target::Latency { .. } | Target::Availability { .. } => {
                "See perfmon.slow_statements() for what is slow and why, and perfmon.changes() for \
                 what changed before."
            }
        };
        let object = format!("objective {}", self.observed.objective.name);
        let mut finding = Finding::new(kind, severity, object, title, remedy, REFERENCE);
        finding.subject = self.target.name();
        finding.cause = self.cause();
        finding.effort = Effort::Medium;
        finding.evidence.push(Evidence::new("scope", self.observed.objective.scope.words(), ""));
        finding
    }

    fn add_budget(&self, finding: &mut Finding) {
        let verdict = self.verdict();
        let ratios = [
            ("budget_left_ratio", verdict.budget_left_ratio, "ratio"),
            ("burn_rate_5_min", verdict.burn[0], ""),
            ("burn_rate_1_h", verdict.burn[1], ""),
        ];
        for (metric, value, unit) in ratios {
            finding.evidence.extend(value.map(|value| Evidence::new(metric, value, unit)));
        }
    }

    /// The statements that take most time, where they can be those of the objective.
    fn cause(&self) -> Option<String> {
        if !matches!(self.target, Target::Latency { .. } | Target::Availability { .. })
            || self.observed.objective.scope != Scope::Database
        {
            return None;
        }
        let statements = self.facts.statements.as_ref()?;
        let most = statements.iter().filter(|s| s.toplevel).filter_map(|s| {
            let share = s.share_ratio?;
            Some(format!("statement {} ({})", s.statement_id, words::percent(share)))
        });
        let most: Vec<String> = most.take(3).collect();
        (!most.is_empty())
            .then(|| format!("Most execution time of the window: {}.", words::list(&most, 3)))
    }
}
