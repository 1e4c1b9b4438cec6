//! How much of the database's time could be saved. Must never count a statement twice: what several
//! findings promise for the same statement is at most the largest of the promises.

use std::collections::HashMap;

use crate::finding::Finding;

/// What all remedies together would save.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Potential {
    /// Execution time that would be saved, milliseconds per hour of the period; never more than is spent.
    pub saved_ms_per_hour: Option<f64>,
    /// The same as a share of all execution time; `None` when that time is not known or zero.
    pub saved_ratio: Option<f64>,
    /// Statements that would be quicker.
    pub statements: usize,
}

/// Adds up what the findings promise. `busy_ms_per_hour` is the execution time spent in an hour.
#[allow(clippy::cast_precision_loss)]
pub fn potential(findings: &[Finding], busy_ms_per_hour: Option<f64>) -> Potential {
    let mut best: HashMap<i64, u64> = HashMap::new();
    for helped in findings.iter().flat_map(|finding| &finding.helped) {
        let saved = whole_us(helped.saved_ms_per_hour);
        let known = best.entry(helped.statement_id).or_insert(0);
        *known = saved.max(*known);
    }
    best.retain(|_, saved| *saved > 0);
    let sum = best.values().fold(0_u64, |sum, saved| sum.saturating_add(*saved)) as f64 / 1000.0;
    let busy = busy_ms_per_hour.filter(|busy| *busy > 0.0 && busy.is_finite());
    Potential {
        saved_ms_per_hour: busy.map(|busy| sum.min(busy)),
        saved_ratio: busy.map(|busy| (sum / busy).min(1.0)),
        statements: best.len(),
    }
}

/// Share of the database's time that one finding's remedy would save.
pub fn saved_ratio(finding: &Finding, busy_ms_per_hour: Option<f64>) -> Option<f64> {
    let busy = busy_ms_per_hour.filter(|busy| *busy > 0.0 && busy.is_finite())?;
    let saved = finding.impact.saved_ms_per_hour.filter(|saved| saved.is_finite())?;
    Some((saved / busy).clamp(0.0, 1.0))
}

/// Whole microseconds, so that the order of adding does not matter; what makes no sense is nothing.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn whole_us(ms: f64) -> u64 {
    if ms.is_finite() { (ms * 1000.0).clamp(0.0, 1e15) as u64 } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::{Helped, Severity};

    fn promises(helped: &[(i64, f64)]) -> Finding {
        let mut finding = Finding::new("seq_scan", Severity::Warning, "t", "t", "r", "manual");
        finding.helped = helped
            .iter()
            .map(|(statement_id, ms)| Helped {
                statement_id: *statement_id,
                saved_ms_per_hour: *ms,
            })
            .collect();
        finding.impact.saved_ms_per_hour = Some(helped.iter().map(|(_, ms)| ms).sum());
        finding
    }

    #[test]
    fn a_statement_counts_once_by_its_largest_promise() {
        let findings = [promises(&[(1, 100.0), (2, 50.0)]), promises(&[(1, 300.0)])];
        let both = potential(&findings, Some(1000.0));
        assert_eq!(both.saved_ms_per_hour, Some(350.0));
        assert_eq!(both.saved_ratio, Some(0.35));
        assert_eq!(both.statements, 2);
    }

    #[test]
    fn nobody_saves_more_than_is_spent() {
        let all = potential(&[promises(&[(1, 5e6), (2, 5e6)])], Some(1000.0));
        assert_eq!(all.saved_ratio, Some(1.0));
        assert_eq!(all.saved_ms_per_hour, Some(1000.0));
    }

    #[test]
    fn without_statements_it_is_unknown_and_without_promises_it_is_nothing() {
        assert_eq!(potential(&[promises(&[(1, 5.0)])], None).saved_ratio, None);
        assert_eq!(potential(&[promises(&[(1, 5.0)])], Some(0.0)).saved_ratio, None);
        assert_eq!(potential(&[], Some(10.0)).saved_ratio, Some(0.0));
    }

    #[test]
    fn numbers_that_make_no_sense_save_nothing() {
        let odd = [promises(&[(1, f64::NAN), (2, -5.0), (3, f64::INFINITY)])];
        assert_eq!(potential(&odd, Some(10.0)).saved_ratio, Some(0.0));
        assert_eq!(saved_ratio(&odd[0], Some(10.0)), None);
        assert_eq!(saved_ratio(&promises(&[(1, 5.0)]), Some(10.0)), Some(0.5));
    }
}
