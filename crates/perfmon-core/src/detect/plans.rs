//! Statements that became slower when their plan changed.

use super::words::{counted, milliseconds as ms};
use super::{Detector, Judgement};
use crate::facts::{Facts, PlanFlip, PlanTimes};
use crate::finding::{Effort, Evidence, Finding, Helped, Severity};
use crate::threshold::{Threshold, Thresholds};

/// A statement is slower with its new plan.
pub const FLIP: &str = "plan_flip";

/// The detector.
pub static DETECTOR: Detector =
    Detector { name: "plans", kinds: &[FLIP], thresholds: THRESHOLDS, detect };

const MIN_CALLS: Threshold = Threshold::new(
    "plan_flip_calls_min",
    5.0,
    "executions that must be known with each of two plans before they are compared",
    "pg_perfmon: the first executions with a plan may find nothing in cache",
);
const MIN_MS: Threshold = Threshold::new(
    "plan_flip_ms",
    5.0,
    "mean time with the new plan below which a change of plan is not reported, ms",
    "pg_perfmon: what is as quick as that is no trouble",
);
const WARNING_RATIO: Threshold = Threshold {
    name: "plan_flip_ratio",
    default: 2.0,
    range: (1.0, f64::MAX),
    what: "mean time with the new plan over that with the one before: warning",
    origin: "pg_perfmon: less is within what other values of parameters make",
};
const CRITICAL_RATIO: Threshold = Threshold {
    name: "plan_flip_critical_ratio",
    default: 10.0,
    range: (1.0, f64::MAX),
    what: "the same: critical",
    origin: "pg_perfmon: a lost index makes as much",
};

static THRESHOLDS: &[Threshold] = &[MIN_CALLS, MIN_MS, WARNING_RATIO, CRITICAL_RATIO];

fn detect(facts: &Facts, thresholds: &Thresholds, judgement: &mut Judgement) {
    let Some(flips) = &facts.plan_flips else {
        judgement.unknown(FLIP);
        return;
    };
    for flip in flips {
        let Some(times) = Times::of(flip, thresholds.of(&MIN_CALLS)) else { continue };
        let slower = times.after_ms >= thresholds.of(&MIN_MS)
            && times.ratio() >= thresholds.of(&WARNING_RATIO);
        if slower {
            judgement.add(finding(facts, thresholds, flip, &times));
        }
    }
}

/// Mean times with the plan before and with the one after, ms, as far as they can be compared.
pub fn compared(flip: &PlanFlip) -> Option<(f64, f64)> {
    Times::of(flip, 1.0).map(|times| (times.before_ms, times.after_ms))
}

/// Mean times that can be compared.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Times {
    before_ms: f64,
    before_calls: i64,
    after_ms: f64,
    after_calls: i64,
}

impl Times {
    /// Those of executions that were picked whatever they took, where there are enough with both plans; else those
    /// of all that are known, if they came to be known in the same way.
    fn of(flip: &PlanFlip, least: f64) -> Option<Self> {
        let (before, after) = (&flip.before, &flip.after);
        let enough = |calls: i64| calls as f64 >= least;
        let made = |b: Option<f64>, bn: i64, a: Option<f64>, an: i64| {
            let times = Self { before_ms: b?, before_calls: bn, after_ms: a?, after_calls: an };
            (enough(bn) && enough(an)).then_some(times)
        };
        let all_slow = |plan: &PlanTimes| plan.sampled_calls == 0;
        made(
            before.sampled_mean_ms,
            before.sampled_calls,
            after.sampled_mean_ms,
            after.sampled_calls,
        )
        .or_else(|| {
            (all_slow(before) == all_slow(after))
                .then(|| made(before.mean_ms, before.calls, after.mean_ms, after.calls))?
        })
    }

    fn ratio(&self) -> f64 {
        if self.before_ms > 0.0 { self.after_ms / self.before_ms } else { f64::INFINITY }
    }
}

fn finding(facts: &Facts, thresholds: &Thresholds, flip: &PlanFlip, times: &Times) -> Finding {
    let (id, ratio) = (flip.statement_id, times.ratio());
    let (severity, limit) = if ratio >= thresholds.of(&CRITICAL_RATIO) {
        (Severity::Critical, &CRITICAL_RATIO)
    } else {
        (Severity::Warning, &WARNING_RATIO)
    };
    let title = format!(
        "Statement {id} takes {} since its plan changed, {} before",
        ms(times.after_ms),
        ms(times.before_ms)
    );
    let mut finding = Finding::new(
        FLIP,
        severity,
        format!("statement {id}"),
        title,
        "Compare the two plans with perfmon.plan_flips(). Create an index again that was dropped; ANALYZE tables whose \
         statistics are old; where a generic plan does worse, plan_cache_mode = force_custom_plan.",
        "PostgreSQL manual, EXPLAIN",
    );
    finding.cause = Some(format!(
        "From {} on: {} (plan {}) in place of {} (plan {}).",
        flip.at,
        node(&flip.after),
        flip.after.plan_id,
        node(&flip.before),
        flip.before.plan_id
    ));
    finding.evidence = vec![
        Evidence::new("slower_ratio", ratio.min(1e9), "ratio")
            .over(thresholds.of(limit))
            .out_of(times.after_calls),
        Evidence::new("mean_before_ms", times.before_ms, "ms").out_of(times.before_calls),
        Evidence::new("mean_after_ms", times.after_ms, "ms").out_of(times.after_calls),
        Evidence::new("changed_at", flip.at.as_str(), ""),
    ];
    let statement = facts.statements.iter().flatten().find(|s| s.statement_id == id);
    if let Some(statement) = statement {
        finding.share_ratio = statement.share_ratio;
        let extra = (times.after_ms - times.before_ms) * statement.calls as f64;
        // Executions with the old plan are in the window too.
        let extra = extra.min(statement.exec_ms);
        finding.impact.saved_ms_per_hour = facts.window.per_hour(extra);
        let helped = |saved_ms_per_hour| Helped { statement_id: id, saved_ms_per_hour };
        finding.helped.extend(facts.window.per_hour(extra).map(helped));
    }
    finding.gain =
        Some(format!("{} to {} a call, as before.", ms(times.after_ms), ms(times.before_ms)));
    finding.effort = Effort::Medium;
    finding.risk = format!(
        "Known from {} before and {} after; other values of parameters may explain a part.",
        counted(times.before_calls as f64, "execution"),
        counted(times.after_calls as f64, "execution")
    );
    finding
}

fn node(plan: &PlanTimes) -> String {
    plan.heaviest_node
        .as_deref()
        .map_or_else(|| "a plan".to_owned(), |node| format!("mostly {node}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::samples::{self, silent, the};

    fn times(plan_id: i64, calls: i64, mean: f64, sampled: i64, sampled_mean: f64) -> PlanTimes {
        PlanTimes {
            plan_id,
            calls,
            mean_ms: (calls > 0).then_some(mean),
            sampled_calls: sampled,
            sampled_mean_ms: (sampled > 0).then_some(sampled_mean),
            heaviest_node: Some(format!("node {plan_id}")),
        }
    }

    fn flipped(before: PlanTimes, after: PlanTimes) -> Facts {
        let mut facts = samples::healthy();
        let at_us = facts.now_us - 600_000_000;
        let at = "2026-11-21 12:00:00+00".to_owned();
        facts.plan_flips = Some(vec![PlanFlip { statement_id: 1, at_us, at, before, after }]);
        facts
    }

    #[test]
    fn a_slower_plan_is_reported_with_both_times() {
        let facts = flipped(times(7, 50, 3.0, 50, 3.0), times(8, 90, 400.0, 30, 29.0));
        let finding = the(&DETECTOR, &facts, FLIP);
        assert_eq!(finding.severity, Severity::Warning);
        assert_eq!(finding.title, "Statement 1 takes 29 ms since its plan changed, 3 ms before");
        let cause = finding.cause.unwrap();
        assert!(
            cause.contains("mostly node 8 (plan 8) in place of mostly node 7 (plan 7)"),
            "{cause}"
        );
        assert_eq!(finding.evidence[0].threshold, Some(2.0));
        assert_eq!(finding.evidence[0].samples, Some(30));
        assert!(finding.impact.saved_ms_per_hour.unwrap() > 0.0);
        let much = flipped(times(7, 50, 3.0, 50, 3.0), times(8, 90, 400.0, 30, 31.0));
        assert_eq!(the(&DETECTOR, &much, FLIP).severity, Severity::Critical);
    }

    #[test]
    fn slow_ones_are_compared_with_slow_ones() {
        let facts = flipped(times(7, 20, 600.0, 0, 0.0), times(8, 20, 1900.0, 0, 0.0));
        assert_eq!(the(&DETECTOR, &facts, FLIP).severity, Severity::Warning);
        // The first are known for having been picked, the second for having been slow: not the same.
        silent(&DETECTOR, &flipped(times(7, 20, 3.0, 20, 3.0), times(8, 20, 900.0, 0, 0.0)), FLIP);
    }

    #[test]
    fn other_changes_are_none_of_its_business() {
        let before = || times(7, 50, 30.0, 50, 30.0);
        silent(&DETECTOR, &flipped(before(), times(8, 50, 59.0, 50, 59.0)), FLIP);
        silent(&DETECTOR, &flipped(before(), times(8, 50, 3.0, 50, 3.0)), FLIP);
        silent(&DETECTOR, &flipped(before(), times(8, 4, 3000.0, 4, 3000.0)), FLIP);
        silent(&DETECTOR, &flipped(times(7, 4, 1.0, 4, 1.0), before()), FLIP);
        silent(&DETECTOR, &flipped(times(7, 50, 0.2, 50, 0.2), times(8, 50, 4.9, 50, 4.9)), FLIP);
        silent(&DETECTOR, &samples::healthy(), FLIP);
    }

    #[test]
    fn without_plans_nothing_is_said() {
        let mut facts = samples::healthy();
        facts.plan_flips = None;
        let judged = super::super::judge_with(&[&DETECTOR], &facts, &Thresholds::default());
        assert_eq!(judged.unjudged, [FLIP]);
    }
}
