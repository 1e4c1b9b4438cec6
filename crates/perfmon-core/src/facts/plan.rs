//! Plans that took the place of another.

/// What is known of the executions with one plan.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PlanTimes {
    /// The plan.
    pub plan_id: i64,
    /// Executions that are known to have had it, and their mean: slow ones are known more often.
    pub calls: i64,
    /// See above.
    pub mean_ms: Option<f64>,
    /// Those that were looked at whatever they took, and their mean.
    pub sampled_calls: i64,
    /// See above.
    pub sampled_mean_ms: Option<f64>,
    /// What most of its estimated cost is.
    pub heaviest_node: Option<String>,
}

/// A statement whose plan changed.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PlanFlip {
    /// The statement.
    pub statement_id: i64,
    /// When the plan after was seen first, microseconds since the Unix epoch, and as text.
    pub at_us: i64,
    /// See above.
    pub at: String,
    /// The plan before.
    pub before: PlanTimes,
    /// The plan after.
    pub after: PlanTimes,
}
