//! Statements whose plan changed, for the detectors.

use perfmon_core::facts::{PlanFlip, PlanTimes};

use crate::error::Error;
use crate::recall::absent;
use crate::recall::cell::Cell;
use crate::recall::plans;
use crate::recall::scope::{Scope, show_time};

/// The last change of each statement in the window; `None` when plans are not recorded.
pub(super) fn flips(scope: &Scope) -> Result<Option<Vec<PlanFlip>>, Error> {
    if absent::plans()?.is_some() {
        return Ok(None);
    }
    let mut all: Vec<PlanFlip> = Vec::new();
    for row in plans::flips(scope)? {
        let int = |i: usize| row.get(i).and_then(Cell::int);
        let times = |at: usize| {
            let float = |i: usize| row.get(at + i).and_then(Cell::float);
            Some(PlanTimes {
                plan_id: int(at)?,
                calls: int(at + 1)?,
                mean_ms: float(2),
                sampled_calls: int(at + 3)?,
                sampled_mean_ms: float(4),
                heaviest_node: row.get(at + 5).and_then(Cell::text),
            })
        };
        // Nothing is known of a plan that was forgotten.
        let (Some(at_us), Some(statement_id)) = (int(0), int(1)) else { continue };
        all.retain(|flip| flip.statement_id != statement_id);
        if let (Some(before), Some(after)) = (times(3), times(10)) {
            all.push(PlanFlip { statement_id, at_us, at: show_time(at_us), before, after });
        }
    }
    Ok(Some(all))
}
