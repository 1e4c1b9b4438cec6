//! What the report says of a statement's plan: what it is, since when, what it did for nothing, and what it took the
//! place of.

use crate::detect::plans::compared;
use crate::facts::{PlanFlip, PlanTimes};

/// Of the plans that a statement has in use, the one that took most time.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    /// Its identity.
    pub plan_id: i64,
    /// Since when the statement has it: when it took the place of another, else when it was seen first.
    pub since_us: i64,
    /// The node with most of the estimated cost.
    pub heaviest_node: Option<String>,
    /// Its part of that cost.
    pub heaviest_cost_ratio: Option<f64>,
    /// The plan as EXPLAIN prints it, as far as the reader may see it.
    pub text: Option<String>,
    /// How many other plans are in use.
    pub beside: i64,
}

/// A plan that took the place of another.
#[derive(Debug, Clone, Default)]
pub struct Flip {
    /// When the plan after was seen first.
    pub at_us: i64,
    /// The plan before.
    pub before: Side,
    /// The plan after.
    pub after: Side,
}

/// One of its two plans.
#[derive(Debug, Clone, Default)]
pub struct Side {
    /// Its identity.
    pub plan_id: i64,
    /// The node with most of the estimated cost.
    pub heaviest_node: Option<String>,
    /// Mean time of the executions with it that can be compared with those of the other; `None` where none can.
    pub mean_ms: Option<f64>,
}

impl Flip {
    /// As the history has it.
    pub fn of(flip: &PlanFlip) -> Self {
        let (before_ms, after_ms) = compared(flip).unzip();
        let side = |plan: &PlanTimes, mean_ms| Side {
            plan_id: plan.plan_id,
            heaviest_node: plan.heaviest_node.clone(),
            mean_ms,
        };
        Self {
            at_us: flip.at_us,
            before: side(&flip.before, before_ms),
            after: side(&flip.after, after_ms),
        }
    }
}
