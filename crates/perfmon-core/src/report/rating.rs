//! The rating out of ten. A product of four parts, each 1 when there is nothing to say and smaller the
//! worse it is, so that it can be worked out by hand and no finding can ever raise it. docs/manual.md
//! explains the formula; the numbers are fixed, so that ratings of different servers can be compared.

use serde::Serialize;

use crate::finding::{Finding, Severity};

/// The first critical finding leaves this share of the points; every further one leaves less.
const FIRST_CRITICAL: f64 = 0.6;
const NEXT_CRITICAL: f64 = 0.75;
/// What is lost when all of the time could be saved, when there are endless warnings, endless notes.
const MOST_FOR_TIME: f64 = 0.5;
const MOST_FOR_WARNINGS: f64 = 0.4;
const MOST_FOR_NOTES: f64 = 0.05;
/// Weight of a warning in thousandths: of itself, and for the share of time that it concerns.
const WARNING: u64 = 400;
const WARNING_TIME: f64 = 600.0;
/// Weight of warnings, and number of notes, at which half of the most is lost.
const HALF_WARNINGS: u64 = 2_000;
const HALF_NOTES: u64 = 10;

/// How well the database does.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Rating {
    /// Out of ten, to one decimal.
    pub value: f64,
    /// In a word.
    pub word: &'static str,
    /// The value is ten times these.
    pub parts: [Part; 4],
    /// Number of critical findings.
    pub critical: usize,
    /// Number of warnings.
    pub warning: usize,
    /// Number of findings that only inform.
    pub info: usize,
}

/// One part of a rating.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Part {
    /// `critical`, `time`, `warning` or `info`.
    pub name: &'static str,
    /// From 0 to 1.
    pub factor: f64,
}

/// Rates a judgement. `saved_ratio` is the share of the database's time that could be saved, if known.
#[allow(clippy::cast_precision_loss)]
pub fn rate(findings: &[Finding], saved_ratio: Option<f64>) -> Rating {
    let count = |severity| findings.iter().filter(|f| f.severity == severity).count();
    let (critical, warning, info) =
        (count(Severity::Critical), count(Severity::Warning), count(Severity::Info));
    let further = i32::try_from(critical).unwrap_or(i32::MAX).saturating_sub(1);
    let of_critical =
        if critical == 0 { 1.0 } else { FIRST_CRITICAL * NEXT_CRITICAL.powi(further) };
    let saved = saved_ratio.filter(|share| share.is_finite()).unwrap_or(0.0).clamp(0.0, 1.0);
    let weight = findings.iter().filter(|f| f.severity == Severity::Warning).map(weight);
    let weight = weight.fold(0_u64, u64::saturating_add);
    let parts = [
        Part { name: "critical", factor: of_critical },
        Part { name: "time", factor: 1.0 - MOST_FOR_TIME * saved },
        Part { name: "warning", factor: 1.0 - MOST_FOR_WARNINGS * part(weight, HALF_WARNINGS) },
        Part { name: "info", factor: 1.0 - MOST_FOR_NOTES * part(info as u64, HALF_NOTES) },
    ];
    let product = parts.iter().fold(10.0, |product, part| product * part.factor);
    let value = (product * 10.0).round() / 10.0;
    Rating { value, word: word(value), parts, critical, warning, info }
}

/// Grows from 0 towards 1; one half at `half`.
#[allow(clippy::cast_precision_loss)]
fn part(amount: u64, half: u64) -> f64 {
    amount as f64 / amount.saturating_add(half) as f64
}

/// Weight of a warning, in thousandths: whole numbers, so that the order of findings does not matter.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn weight(finding: &Finding) -> u64 {
    let share = finding.share_ratio.filter(|share| share.is_finite()).unwrap_or(0.0);
    WARNING + (share.clamp(0.0, 1.0) * WARNING_TIME) as u64
}

fn word(value: f64) -> &'static str {
    match value {
        v if v >= 9.5 => "healthy",
        v if v >= 8.0 => "good",
        v if v >= 6.0 => "fair",
        v if v >= 4.0 => "poor",
        v if v >= 2.0 => "bad",
        _ => "on fire",
    }
}

#[cfg(test)]
#[path = "rating_tests.rs"]
mod tests;
