//! In which order findings are to be worked on: severity first, then what is at stake. Must never look
//! at anything but the finding, the database's time and the date.

use serde::Serialize;

use super::potential::saved_ratio;
use crate::finding::{Finding, Severity};
use crate::threshold::{Threshold, Thresholds};

const HIGH_SHARE: Threshold = Threshold::ratio(
    "priority_high_time_ratio",
    0.05,
    "a warning with this share of the database's time at stake has high priority",
    "pg_perfmon manual, the report",
);
const LOW_SHARE: Threshold = Threshold::ratio(
    "priority_low_time_ratio",
    0.005,
    "a warning with less than this share of the database's time at stake, and nothing else, has low priority",
    "pg_perfmon manual, the report",
);
const NEAR_DAYS: Threshold = Threshold::new(
    "priority_high_outage_days",
    30.0,
    "a warning that becomes an outage within so many days has high priority",
    "pg_perfmon manual, the report",
);

/// Of the clients, below which the share of it in statements says nothing.
pub(super) const ACTIVE_MS: Threshold = Threshold::new(
    "completeness_min_active_ms",
    10_000.0,
    "time that clients were active, ms, below which completeness is not told: an idle database parses more than it executes",
    "pg_perfmon manual, the report",
);

/// Thresholds of the report itself.
pub static THRESHOLDS: &[Threshold] = &[HIGH_SHARE, LOW_SHARE, NEAR_DAYS, ACTIVE_MS];

/// When to work on a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Priority {
    /// Today.
    Critical,
    /// This week.
    High,
    /// When there is time.
    Medium,
    /// Perhaps.
    Low,
}

impl Priority {
    /// All, most urgent first.
    pub const ALL: [Self; 4] = [Self::Critical, Self::High, Self::Medium, Self::Low];

    /// In one word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Critical => "critical",
            Self::High => "high",
            Self::Medium => "medium",
            Self::Low => "low",
        }
    }
}

/// The priority of a finding.
///
/// What is critical stays critical. A warning is high when much of the database's time is at stake or an
/// outage is near, low when hardly any time and nothing else is at stake, else medium. What only informs
/// is low, or medium where a warning would be high.
pub fn priority(
    finding: &Finding,
    busy_ms_per_hour: Option<f64>,
    now_us: i64,
    thresholds: &Thresholds,
) -> Priority {
    let at_stake = saved_ratio(finding, busy_ms_per_hour).or(finding.share_ratio);
    let outage = finding.impact.outage_at_us;
    #[allow(clippy::cast_precision_loss)]
    let near = outage
        .is_some_and(|at| at.saturating_sub(now_us) as f64 <= thresholds.of(&NEAR_DAYS) * 86_400e6);
    let much = near || at_stake.is_some_and(|share| share >= thresholds.of(&HIGH_SHARE));
    let frees = finding.impact.saved_bytes.is_some_and(|bytes| bytes > 0);
    let little = outage.is_none()
        && !frees
        && at_stake.is_some_and(|share| share < thresholds.of(&LOW_SHARE));
    match finding.severity {
        Severity::Critical => Priority::Critical,
        Severity::Warning if much => Priority::High,
        Severity::Warning if little => Priority::Low,
        Severity::Warning => Priority::Medium,
        Severity::Info if much => Priority::Medium,
        Severity::Info => Priority::Low,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400_000_000;

    fn of(severity: Severity, change: impl Fn(&mut Finding)) -> Priority {
        let mut finding = Finding::new("kind", severity, "o", "t", "r", "manual");
        change(&mut finding);
        priority(&finding, Some(1000.0), 0, &Thresholds::default())
    }

    #[test]
    fn severity_decides_where_nothing_is_measured() {
        assert_eq!(of(Severity::Critical, |_| ()), Priority::Critical);
        assert_eq!(of(Severity::Warning, |_| ()), Priority::Medium);
        assert_eq!(of(Severity::Info, |_| ()), Priority::Low);
    }

    #[test]
    fn time_at_stake_raises_and_lowers() {
        let saves = |ms: f64| move |f: &mut Finding| f.impact.saved_ms_per_hour = Some(ms);
        assert_eq!(of(Severity::Warning, saves(50.0)), Priority::High);
        assert_eq!(of(Severity::Warning, saves(49.0)), Priority::Medium);
        assert_eq!(of(Severity::Warning, saves(4.0)), Priority::Low);
        assert_eq!(of(Severity::Info, saves(50.0)), Priority::Medium);
        assert_eq!(of(Severity::Critical, saves(0.0)), Priority::Critical);
        // Without a promise, the share of the time that the object takes stands for it.
        assert_eq!(of(Severity::Warning, |f| f.share_ratio = Some(0.4)), Priority::High);
        assert_eq!(of(Severity::Warning, |f| f.share_ratio = Some(0.001)), Priority::Low);
    }

    #[test]
    fn a_near_outage_is_urgent_and_a_far_one_is_not_forgotten() {
        let fails = |days: i64| {
            move |f: &mut Finding| {
                f.impact.outage_at_us = Some(days * DAY);
                f.share_ratio = Some(0.0);
            }
        };
        assert_eq!(of(Severity::Warning, fails(30)), Priority::High);
        assert_eq!(of(Severity::Warning, fails(31)), Priority::Medium);
        assert_eq!(of(Severity::Info, fails(-1)), Priority::Medium);
    }

    #[test]
    fn space_keeps_a_warning_from_being_low() {
        let frees = |f: &mut Finding| {
            f.impact.saved_bytes = Some(1);
            f.impact.saved_ms_per_hour = Some(0.1);
        };
        assert_eq!(of(Severity::Warning, frees), Priority::Medium);
    }

    #[test]
    fn the_limits_can_be_set() {
        let mut finding = Finding::new("kind", Severity::Warning, "o", "t", "r", "manual");
        finding.share_ratio = Some(0.1);
        let set = Thresholds::with([("priority_high_time_ratio".to_owned(), 0.2)]);
        assert_eq!(priority(&finding, None, 0, &set), Priority::Medium);
        assert_eq!(priority(&finding, None, 0, &Thresholds::default()), Priority::High);
    }
}
