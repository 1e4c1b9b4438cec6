//! Detectors of upkeep: dead rows, statistics of the planner, ages of transaction ids, sequences.

use super::{Detector, Judgement};
use crate::facts::Facts;
use crate::threshold::{Threshold, Thresholds};

mod ages;
mod cancelled;
mod sequences;
mod statistics;
pub(super) mod tables;
mod trigger;

#[cfg(test)]
mod tests;

/// The detector.
pub static DETECTOR: Detector = Detector {
    name: "vacuum",
    kinds: &[
        tables::BEHIND,
        tables::DISABLED,
        tables::DEAD,
        cancelled::CANCELLED,
        statistics::STALE,
        ages::WRAPAROUND,
        ages::MULTIXACT,
        sequences::EXHAUSTION,
    ],
    thresholds: THRESHOLDS,
    detect,
};

static THRESHOLDS: &[Threshold] = &[
    tables::MIN_DEAD_ROWS,
    tables::BEHIND_RATIO,
    tables::DISABLED_MIN_DEAD_ROWS,
    tables::MIN_COVERED_MINUTES,
    tables::DEAD_BYTES,
    tables::DEAD_RATIO,
    cancelled::MIN_CANCELLED,
    statistics::STALE_RATIO,
    statistics::MIN_CHANGED_ROWS,
    statistics::MIN_ROWS,
    ages::WARNING_RATIO,
    ages::CRITICAL_RATIO,
    ages::FREEZE_RATIO,
    ages::DUE_RATIO,
    ages::CRITICAL_DAYS,
    sequences::WARNING_RATIO,
    sequences::CRITICAL_RATIO,
    sequences::USED_DAYS,
    sequences::WARNING_DAYS,
    sequences::CRITICAL_DAYS,
    sequences::FAR_DAYS,
    sequences::FORECAST_HOURS,
    sequences::PACE_HOURS,
];

fn detect(facts: &Facts, thresholds: &Thresholds, judgement: &mut Judgement) {
    tables::detect(facts, thresholds, judgement);
    cancelled::detect(facts, thresholds, judgement);
    statistics::detect(facts, thresholds, judgement);
    ages::detect(facts, thresholds, judgement);
    sequences::detect(facts, thresholds, judgement);
}
