//! The judgement of the whole: rating, potential, and the findings in the order of work.

use std::cmp::Reverse;

use super::facts::Report;
use super::potential::{Potential, potential, saved_ratio};
use super::priority::{Priority, priority};
use super::rating::{Rating, rate};
use crate::finding::Finding;

/// Intervals and covered time below which averages mean little.
const FEW_INTERVALS: i64 = 3;
const SHORT_US: i64 = 180_000_000;

/// What the facts come to.
#[derive(Debug, Clone)]
pub struct Verdict<'a> {
    /// Out of ten; `None` when nothing was recorded, or nobody judged.
    pub rating: Option<Rating>,
    /// What could be saved.
    pub potential: Potential,
    /// Whether there is too little data to rely on.
    pub provisional: bool,
    /// Most urgent first, then what saves most.
    pub ranked: Vec<Ranked<'a>>,
}

/// A finding in the order of work.
#[derive(Debug, Clone, Copy)]
pub struct Ranked<'a> {
    /// What was found.
    pub finding: &'a Finding,
    /// How urgent it is.
    pub priority: Priority,
    /// Share of the database's time that its remedy would save.
    pub saved_ratio: Option<f64>,
}

impl<'a> Verdict<'a> {
    /// Judges a report.
    pub fn of(report: &'a Report) -> Self {
        let busy = report.busy_ms_per_hour();
        let head = &report.head;
        let findings = report.findings.as_deref().unwrap_or_default();
        let potential = match report.findings {
            Some(_) => potential(findings, busy),
            None => Potential::default(),
        };
        let judged = report.findings.is_some() && head.intervals > 0;
        Self {
            rating: judged.then(|| rate(findings, potential.saved_ratio)),
            potential,
            provisional: head.intervals < FEW_INTERVALS || head.covered_us < SHORT_US,
            ranked: ranked(report, findings, busy),
        }
    }
}

fn ranked<'a>(report: &Report, findings: &'a [Finding], busy: Option<f64>) -> Vec<Ranked<'a>> {
    let rank = |finding: &'a Finding| Ranked {
        finding,
        priority: priority(finding, busy, report.head.now_us, &report.thresholds),
        saved_ratio: saved_ratio(finding, busy),
    };
    let mut ranked: Vec<Ranked<'a>> = findings.iter().map(rank).collect();
    ranked.sort_by_cached_key(|r| {
        let stake = r.saved_ratio.or(r.finding.share_ratio).unwrap_or(0.0);
        let bytes = r.finding.impact.saved_bytes.unwrap_or(0);
        (r.priority, Reverse(millionths(stake)), Reverse(bytes), r.finding.rank())
    });
    ranked
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn millionths(ratio: f64) -> u64 {
    (ratio.clamp(0.0, 1.0) * 1e6) as u64
}
