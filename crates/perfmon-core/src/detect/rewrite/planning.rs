//! Statements that are planned for longer than they run.

use super::{Hint, Look, PLANNING};
use crate::detect::{per_hour, words};
use crate::facts::Statement;
use crate::finding::{Effort, Evidence};
use crate::threshold::Threshold;

pub(super) const RATIO: Threshold = Threshold::new(
    "rewrite_planning_ratio",
    1.0,
    "Planning time over execution time from which a statement should be prepared.",
    "pg_perfmon: more than half of its time is spent before it runs",
);
pub(super) const PLANS: Threshold = Threshold::new(
    "rewrite_planning_min_plans",
    20.0,
    "Times planned below which preparing a statement saves little.",
    "PostgreSQL plans a prepared statement five times before it keeps a plan",
);

#[allow(clippy::cast_precision_loss, clippy::cast_possible_wrap)]
pub(super) fn hint<'a>(look: &Look<'a>, s: &'a Statement, found: &mut Vec<Hint<'a>>) {
    let (Some(plan_ms), Some(plans)) = (s.plan_ms, s.plans) else { return };
    let ratio = if s.exec_ms > 0.0 { plan_ms / s.exec_ms } else { return };
    // Where most executions went without planning, it is prepared already.
    let planned = plans as f64 / s.calls as f64;
    if ratio < look.t.of(&RATIO) || (plans as f64) < look.t.of(&PLANS) || planned < 0.5 {
        return;
    }
    // The first five executions of each session plan all the same.
    let saved = per_hour(look.facts, plan_ms);
    let effect = match saved {
        Some(ms) => format!(
            "At most {} of planning less per hour, {} per execution.",
            words::milliseconds(ms),
            words::milliseconds(plan_ms / plans as f64)
        ),
        None => String::new(),
    };
    let mut evidence = vec![
        Evidence::new("plan_to_exec_ratio", ratio, "ratio")
            .over(look.t.of(&RATIO))
            .out_of(plans as i64),
        Evidence::new("plan_ms_per_plan", plan_ms / plans as f64, "ms").out_of(plans as i64),
    ];
    evidence.extend(look.evidence(s, None));
    found.push(Hint {
        kind: PLANNING,
        statement: s,
        severity: look.severity(s),
        table: None,
        subject: String::new(),
        expression: None,
        better: None,
        same_meaning: true,
        reason: "A prepared statement gives the same rows; its plan may be one for all values of its parameters, which \
                 plan_cache_mode decides."
            .to_owned(),
        title: format!(
            "Statement {} is planned for {} times as long as it runs",
            s.statement_id,
            words::times(ratio)
        ),
        cause: "Each execution is planned anew.",
        remedy: "Prepare it once in each session: by PREPARE, or by the driver's prepared statements, which a connection pool must \
                 let through."
            .to_owned(),
        sql: None,
        saved_ms_per_hour: saved,
        effect,
        evidence,
        effort: Effort::Medium,
    });
}
