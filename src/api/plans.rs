//! `plans` and `plan_flips`: which plans statements were seen to have, and when one took the place of another.

use perfmon_core::family::LATENCY;
use pgrx::pg_sys;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;

use super::args::{Scope, Stamp};
use super::past::notice_if_was_off;
use super::rows::Sink;
use crate::error::Error;
use crate::recall::{absent, plans};

#[pg_extern(
    schema = "perfmon",
    sql = r#"
CREATE FUNCTION perfmon.plans(
    statement_id int DEFAULT NULL,
    source bigint DEFAULT NULL
) RETURNS TABLE (
    statement_id int,
    plan_id bigint,
    is_current bool,
    first_seen timestamptz,
    last_seen timestamptz,
    calls bigint,
    mean_ms float8,
    max_ms float8,
    sampled_calls bigint,
    sampled_mean_ms float8,
    cost float8,
    heaviest_node text,
    heaviest_cost_ratio float8,
    has_constants bool,
    plan_text text,
    plan_json json,
    from_source bigint
) LANGUAGE c STABLE PARALLEL RESTRICTED ROWS 10 AS 'MODULE_PATHNAME', '@FUNCTION_NAME@';
"#
)]
fn plans(
    statement_id: Option<i32>,
    source: Option<i64>,
    fcinfo: pg_sys::FunctionCallInfo,
) -> Result<(), ErrorReport> {
    let scope = Scope::checked(i64::MIN, i64::MAX, source)?;
    let mut sink = Sink::open(fcinfo);
    let plans = plans::plans(&scope.sources, statement_id)?;
    if plans.is_empty() {
        say_not_recorded()?;
    }
    Ok(scope.put_or_notice(&mut sink, plans)?)
}

#[pg_extern(
    schema = "perfmon",
    sql = r#"
CREATE FUNCTION perfmon.plan_flips(
    since timestamptz DEFAULT now() - interval '1 hour',
    until timestamptz DEFAULT now(),
    source bigint DEFAULT NULL
) RETURNS TABLE (
    "time" timestamptz,
    statement_id int,
    last_seen_before timestamptz,
    before_plan_id bigint,
    before_calls bigint,
    before_mean_ms float8,
    before_sampled_calls bigint,
    before_sampled_mean_ms float8,
    before_heaviest_node text,
    before_plan_text text,
    after_plan_id bigint,
    after_calls bigint,
    after_mean_ms float8,
    after_sampled_calls bigint,
    after_sampled_mean_ms float8,
    after_heaviest_node text,
    after_plan_text text,
    from_source bigint
) LANGUAGE c STABLE PARALLEL RESTRICTED ROWS 10 AS 'MODULE_PATHNAME', '@FUNCTION_NAME@';
"#
)]
fn plan_flips(
    since: Stamp,
    until: Stamp,
    source: Option<i64>,
    fcinfo: pg_sys::FunctionCallInfo,
) -> Result<(), ErrorReport> {
    let scope = Scope::check(since, until, source)?;
    let mut sink = Sink::open(fcinfo);
    let flips = plans::flips(&scope)?;
    if flips.is_empty() && !say_not_recorded()? {
        notice_if_was_off(&scope, LATENCY.name, "plans")?;
    }
    Ok(scope.put_or_notice(&mut sink, flips)?)
}

/// Says why there are no plans, where a setting is the reason; gives whether it did.
fn say_not_recorded() -> Result<bool, Error> {
    let missing = absent::plans()?;
    let told = missing.is_some();
    if let Some(missing) = missing {
        ereport!(
            NOTICE,
            PgSqlErrorCode::ERRCODE_SUCCESSFUL_COMPLETION,
            format!("plans are not recorded: {}", missing.problem),
            missing.fix
        );
    }
    Ok(told)
}
