//! `routes`: statements and transactions by application, user and route.

use perfmon_core::family::ROUTE;
use perfmon_core::histogram::Sum;
use pgrx::pg_sys;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;

use super::args::{Scope, Stamp};
use super::errors::{notice_if_hidden, notice_of_unseen, notice_unless_counted};
use super::latency;
use super::past::notice_if_was_off;
use super::rows::{Cell, Sink};
use crate::error::Error;
use crate::recall::failures::{Failures, error_ratio};
use crate::recall::routes::{self, Route};
use crate::recall::statements::{per_s, ratio};

#[pg_extern(
    schema = "perfmon",
    sql = r#"
CREATE FUNCTION perfmon.routes(
    since timestamptz DEFAULT now() - interval '1 hour',
    until timestamptz DEFAULT now(),
    source bigint DEFAULT NULL
) RETURNS TABLE (
    application text,
    user_name text,
    route text,
    calls bigint,
    calls_per_s float8,
    total_ms float8,
    p50_ms float8,
    p95_ms float8,
    p99_ms float8,
    max_ms float8,
    errors bigint,
    cancelled bigint,
    error_ratio float8,
    transactions bigint,
    statements_per_transaction float8,
    transaction_p50_ms float8,
    transaction_p95_ms float8,
    transaction_p99_ms float8
) LANGUAGE c STABLE PARALLEL RESTRICTED ROWS 50 AS 'MODULE_PATHNAME', '@FUNCTION_NAME@';
"#
)]
fn routes(
    since: Stamp,
    until: Stamp,
    source: Option<i64>,
    fcinfo: pg_sys::FunctionCallInfo,
) -> Result<(), ErrorReport> {
    let scope = Scope::check(since, until, source)?;
    let mut sink = Sink::open(fcinfo);
    notice_unless_counted("statements by route");
    let told = notice_if_hidden()?;
    if !scope.has_history_or_notice()? {
        return Ok(());
    }
    let (routes, covered_us) = routes::routes(&scope)?;
    if !told {
        notice_if_missing(&scope, &routes)?;
    }
    for route in &routes {
        sink.put(cells(route, covered_us))?;
    }
    Ok(())
}

/// Says what is missing of routes in a window, where no setting of now that hides all told it.
fn notice_if_missing(scope: &Scope, routes: &[Route]) -> Result<(), Error> {
    if routes.iter().any(|route| route.uncounted > 0) {
        latency::say_partly_counted(scope);
    }
    let was_off = notice_if_was_off(scope, ROUTE.name, "statements by route")?;
    if !was_off && routes.iter().any(|route| route.errors.is_none()) {
        notice_of_unseen(scope, &Failures::of(scope)?)?;
    }
    Ok(())
}

/// The same beside their plain rows.
pub(super) fn notice_of_rows(scope: &Scope) -> Result<(), Error> {
    notice_unless_counted("statements by route");
    if notice_if_hidden()? {
        return Ok(());
    }
    notice_if_missing(scope, &routes::routes(scope)?.0)
}

const NS_PER_MS: f64 = 1e6;

fn cells(route: &Route, covered_us: i64) -> [Cell; 18] {
    let timed = Some(()).filter(|()| route.is_timed());
    let at = |sum: &Sum, q: f64| {
        Cell::from(timed.and_then(|()| sum.quantile(q)).map(|found| found.ns / NS_PER_MS))
    };
    let (statements, transactions) = (&route.statements, &route.transactions);
    let longest = timed.and_then(|()| statements.max());
    // Sums and numbers are those of all, or none.
    let whole = Some(()).filter(|()| route.uncounted == 0);
    let begun = whole.map(|()| transactions.executions());
    let calls = route.calls();
    let failed = route.errors.zip(route.cancelled).map(|(a, b)| a.saturating_add(b));
    let tried = failed.map(|failed| calls.saturating_add(failed));
    let [application, user, name] = match &route.names {
        Some(names) => names.clone(),
        None => [Cell::Null, Cell::Null, "(all other routes)".into()],
    };
    // A statement may name no route; one that has no name of its own is said so above.
    let name = if name == Cell::from("") { Cell::Null } else { name };
    [
        application,
        user,
        name,
        calls.into(),
        per_s(Some(calls), covered_us).into(),
        whole.map(|()| statements.total_ns() / NS_PER_MS).into(),
        at(statements, 0.5),
        at(statements, 0.95),
        at(statements, 0.99),
        longest.map(|found| found.ns / NS_PER_MS).into(),
        route.errors.into(),
        route.cancelled.into(),
        error_ratio(Some(calls), route.errors, route.cancelled).into(),
        begun.into(),
        ratio(tried, begun).into(),
        at(transactions, 0.5),
        at(transactions, 0.95),
        at(transactions, 0.99),
    ]
}
