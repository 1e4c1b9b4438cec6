//! Slow statements whose time goes into what another finding is about: a table that is read whole for
//! want of an index. They say so, in place of a cause that their own counters suggest.

use std::collections::HashMap;

use super::cause::{Cause, reason};
use crate::detect::indexes::{self, KEY_WITHOUT};
use crate::detect::scans::{self, SCAN};
use crate::detect::{judge_with, per_hour, words};
use crate::facts::{Facts, Statement};
use crate::finding::Finding;
use crate::threshold::{Threshold, Thresholds};

pub(super) const CURED: Threshold = Threshold::ratio(
    "cause_other_finding_share_ratio",
    0.5,
    "Share of a statement's time that the index of another finding must save to be told as its cause.",
    "pg_perfmon: half of the whole",
);

/// What would save most of a statement's time.
struct Cure {
    kind: String,
    object: String,
    saved_ms_per_hour: f64,
}

/// Such findings, by the statements that they help.
pub struct Cures {
    by_statement: HashMap<i64, Cure>,
}

impl Cures {
    /// Lets the detectors look that find them.
    pub fn of(facts: &Facts, thresholds: &Thresholds) -> Self {
        let detectors = [&scans::DETECTOR, &indexes::DETECTOR];
        Self::among(&judge_with(&detectors, facts, thresholds).findings)
    }

    /// Takes them from what was found.
    pub(in crate::detect) fn among(findings: &[Finding]) -> Self {
        let mut by_statement: HashMap<i64, Cure> = HashMap::new();
        let indexed = |f: &&Finding| f.kind == SCAN || f.kind == KEY_WITHOUT;
        for finding in findings.iter().filter(indexed) {
            for helped in &finding.helped {
                let known = by_statement.get(&helped.statement_id);
                if known.is_some_and(|known| known.saved_ms_per_hour >= helped.saved_ms_per_hour) {
                    continue;
                }
                let cure = Cure {
                    kind: finding.kind.clone(),
                    object: words::name(&finding.object),
                    saved_ms_per_hour: helped.saved_ms_per_hour,
                };
                by_statement.insert(helped.statement_id, cure);
            }
        }
        Self { by_statement }
    }

    /// Cause and remedy of a statement, if one of them explains most of its time. Parts of the time that
    /// are measured by themselves come first.
    pub fn tell(&self, s: &Statement, facts: &Facts, t: &Thresholds) -> Option<(String, String)> {
        let cure = self.by_statement.get(&s.statement_id)?;
        if matches!(reason(s, t).cause, Cause::Planning | Cause::Jit | Cause::Spill) {
            return None;
        }
        let all = per_hour(facts, s.exec_ms).filter(|ms| *ms > 0.0)?;
        let share = (cure.saved_ms_per_hour / all).min(1.0);
        let Cure { kind, object, .. } = cure;
        (share >= t.of(&CURED)).then(|| {
            (
                format!("Up to {} of its time goes into reading {object} whole, for want of an index: see the finding {kind} on {object}.", words::percent(share)),
                format!("Do what the finding {kind} on {object} says."),
            )
        })
    }
}
