//! Statements with their plans in JSON.

use serde::Serialize;

use super::iso;
use crate::report::facts::Statement;
use crate::report::planned::{Flip, Plan, Side};

pub(super) fn all(statements: &[Statement]) -> Vec<StatementOut<'_>> {
    statements.iter().map(StatementOut::of).collect()
}

#[derive(Serialize)]
pub(super) struct StatementOut<'a> {
    #[serde(flatten)]
    statement: &'a Statement,
    plan: Option<PlanOut<'a>>,
    plan_flip: Option<FlipOut<'a>>,
}

impl<'a> StatementOut<'a> {
    fn of(statement: &'a Statement) -> Self {
        Self {
            statement,
            plan: statement.plan.as_ref().map(PlanOut::of),
            plan_flip: statement.flip.as_ref().map(FlipOut::of),
        }
    }
}

#[derive(Serialize)]
struct PlanOut<'a> {
    plan_id: i64,
    since: String,
    heaviest_node: Option<&'a str>,
    heaviest_cost_ratio: Option<f64>,
    text: Option<&'a str>,
    beside: i64,
}

impl<'a> PlanOut<'a> {
    fn of(plan: &'a Plan) -> Self {
        Self {
            plan_id: plan.plan_id,
            since: iso(plan.since_us),
            heaviest_node: plan.heaviest_node.as_deref(),
            heaviest_cost_ratio: plan.heaviest_cost_ratio,
            text: plan.text.as_deref(),
            beside: plan.beside,
        }
    }
}

#[derive(Serialize)]
struct FlipOut<'a> {
    at: String,
    before: SideOut<'a>,
    after: SideOut<'a>,
}

impl<'a> FlipOut<'a> {
    fn of(flip: &'a Flip) -> Self {
        Self {
            at: iso(flip.at_us),
            before: SideOut::of(&flip.before),
            after: SideOut::of(&flip.after),
        }
    }
}

#[derive(Serialize)]
struct SideOut<'a> {
    plan_id: i64,
    heaviest_node: Option<&'a str>,
    mean_ms: Option<f64>,
}

impl<'a> SideOut<'a> {
    fn of(side: &'a Side) -> Self {
        Self {
            plan_id: side.plan_id,
            heaviest_node: side.heaviest_node.as_deref(),
            mean_ms: side.mean_ms,
        }
    }
}
