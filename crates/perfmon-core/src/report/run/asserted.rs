//! A run as a gate: what is said where it did not pass.

use super::{Outcome, Run};
use crate::objective::{Objective, Status, Verdict};
use crate::report::words::percent;

impl Run {
    /// Why it is not passed, in a line, and the table of its objectives; `None` where it is. With nothing promised there is
    /// no table.
    pub fn failure(&self) -> Option<(String, String)> {
        let of = |status| self.objectives.iter().filter(|p| p.verdict.status == status).count();
        let (all, missed) = (self.objectives.len(), of(Status::Missed));
        let silent = of(Status::NoData) + of(Status::TooFew);
        let why = match self.outcome() {
            Outcome::Passed => return None,
            Outcome::Unjudged => "nothing is promised".to_owned(),
            Outcome::Failed => format!("{missed} of {all} objectives were missed"),
            Outcome::Unclear if silent > 0 => {
                format!("{silent} of {all} objectives could not be judged")
            }
            Outcome::Unclear => "not everything of it is known".to_owned(),
        };
        Some((why, self.table()))
    }

    /// What was promised, and how much is not known.
    fn table(&self) -> String {
        let named = |name: &str, scope: &crate::objective::Scope| Objective {
            name: name.to_owned(),
            scope: scope.clone(),
            ..Objective::default()
        };
        let promised: Vec<Objective> =
            self.objectives.iter().map(|p| named(&p.name, &p.scope)).collect();
        let lines: Vec<(&Objective, &Verdict)> =
            promised.iter().zip(self.objectives.iter().map(|p| &p.verdict)).collect();
        let mut table = Objective::table(&lines);
        if self.unknown_ratio() > 0.0 {
            let share = percent(Some(self.unknown_ratio()));
            table.push_str(&format!("\nNot known: {share} of the time of the run"));
        }
        if self.objectives.iter().any(|promise| self.may_hide(promise)) {
            table.push_str("\nErrors that are not known could break what was promised of them");
        }
        table
    }
}
