//! Findings and thresholds: `evaluate`, `finding_history`, `thresholds`, `set_threshold`.

use perfmon_core::detect;
use pgrx::pg_sys;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;

use super::args::{Scope, Stamp, now};
use super::rows::{Cell, Sink};
use crate::error::Error;
use crate::judge::{self, Evaluated};
use crate::pg::{catalog, clock, session, txn};
use crate::recall::query;
use crate::recall::words::Raw;
use crate::store;
use crate::worker;

/// How long an evaluation waits for another one to end.
const PATIENCE: &str = "5s";

#[pg_extern(
    schema = "perfmon",
    sql = r#"
CREATE FUNCTION perfmon.evaluate() RETURNS bigint
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', '@FUNCTION_NAME@';
"#
)]
fn evaluate() -> Result<i64, ErrorReport> {
    worker::ask::must_be_writable("findings are", "an evaluation");
    worker::ask::must_match()?;
    let evaluate = || worker::ask::shielded(|| judge::evaluate(judge::By::Request, |_| Vec::new()));
    let mut outcome = evaluate()?;
    // The collector evaluates now and then, for a moment.
    let wait = || session::with_settings(&[("lock_timeout", PATIENCE)], judge::wait_for_other);
    if outcome == Evaluated::Busy && wait() {
        // What the other one wrote must be seen, else it would be found anew.
        outcome = txn::with_latest_snapshot(evaluate)?;
    }
    match outcome {
        Evaluated::Open { open, names, .. } => {
            worker::board::note_names(session::database(), names);
            Ok(open)
        }
        Evaluated::Busy => Err(Error::busy("findings are being evaluated by another session")
            .detail("One evaluation at a time writes what it finds.")
            .hint("Read perfmon.findings in a moment.")
            .into()),
        Evaluated::NoHistory => Err(Error::prerequisite("there is no history to judge yet")
            .detail("Findings are judged by what happened between two snapshots.")
            .hint("Call perfmon.snapshot() twice, or wait for two scheduled snapshots.")
            .into()),
    }
}

#[pg_extern(
    schema = "perfmon",
    sql = r#"
CREATE FUNCTION perfmon.finding_history(
    since timestamptz DEFAULT now() - interval '1 hour',
    until timestamptz DEFAULT now(),
    source bigint DEFAULT NULL
) RETURNS TABLE (
    "time" timestamptz,
    resolved_at timestamptz,
    last_seen timestamptz,
    finding_id bigint,
    kind text,
    severity text,
    object text,
    subject text,
    title text,
    cause text,
    evidence jsonb,
    saved_ms_per_hour float8,
    saved_bytes bigint,
    outage_at timestamptz,
    share_ratio float8,
    remedy text,
    statement text,
    gain text,
    effort text,
    risk text,
    reference text,
    from_source bigint
) LANGUAGE c STABLE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', '@FUNCTION_NAME@';
"#
)]
fn finding_history(
    since: Stamp,
    until: Stamp,
    source: Option<i64>,
    fcinfo: pg_sys::FunctionCallInfo,
) -> Result<(), ErrorReport> {
    let scope = Scope::check(since, until, source)?;
    let mut sink = Sink::open(fcinfo);
    let rows = query::rows(
        "SELECT f.opened_at, f.resolved_at, f.last_seen, f.finding_id, f.kind, f.severity, f.object,
             f.subject, f.title, f.cause, f.evidence::pg_catalog.text, f.saved_ms_per_hour,
             f.saved_bytes, f.outage_at, f.share_ratio, f.remedy, f.statement, f.gain, f.effort,
             f.risk, f.reference, f.source
         FROM perfmon.finding_shown f
         WHERE f.source OPERATOR(pg_catalog.=) ANY ($1)
             AND f.opened_at OPERATOR(pg_catalog.<=) $3
             -- One that is open stands up to now; whether it will is not known.
             AND COALESCE(f.resolved_at, GREATEST(f.last_seen, $4)) OPERATOR(pg_catalog.>) $2
         ORDER BY f.opened_at, f.kind, f.object, f.subject",
        &[
            scope.sources.clone().into(),
            query::time(scope.since),
            query::time(scope.until),
            query::time(now()),
        ],
    )?;
    Ok(scope.put_or_notice(&mut sink, rows)?)
}

#[pg_extern(
    schema = "perfmon",
    sql = r#"
CREATE FUNCTION perfmon.thresholds() RETURNS TABLE (
    name text,
    value float8,
    default_value float8,
    is_set bool,
    minimum float8,
    maximum float8,
    used_by text,
    decides text,
    origin text
) LANGUAGE c STABLE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', '@FUNCTION_NAME@';
"#
)]
fn thresholds(fcinfo: pg_sys::FunctionCallInfo) -> Result<(), ErrorReport> {
    let mut sink = Sink::open(fcinfo);
    let in_force = judge::thresholds();
    let mut all: Vec<_> = detect::thresholds_by_user().collect();
    all.sort_by_key(|(_, threshold)| threshold.name);
    for (user, threshold) in all {
        let bound = |value: f64| if value == f64::MAX { Cell::Null } else { value.into() };
        sink.put([
            threshold.name.into(),
            in_force.of(threshold).into(),
            threshold.default.into(),
            in_force.is_set(threshold).into(),
            bound(threshold.range.0),
            bound(threshold.range.1),
            user.into(),
            threshold.what.into(),
            threshold.origin.into(),
        ])?;
    }
    Ok(())
}

#[pg_extern(
    schema = "perfmon",
    sql = r#"
CREATE FUNCTION perfmon.set_threshold(name text, value float8) RETURNS void
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', '@FUNCTION_NAME@';
"#
)]
fn set_threshold(name: Option<Vec<u8>>, value: Option<f64>) -> Result<(), ErrorReport> {
    let name = name.map_or_else(String::new, |bytes| Raw(bytes).show());
    let Some(threshold) = detect::thresholds().find(|t| t.name == name) else {
        return Err(Error::argument("unknown threshold")
            .detail(format!("There is no threshold \"{name}\"."))
            .hint("SELECT name, value, decides FROM perfmon.thresholds() lists them.")
            .into());
    };
    let (low, high) = threshold.range;
    if let Some(value) = value
        && !(low..=high).contains(&value)
    {
        let range = if high == f64::MAX {
            format!("{low} or more")
        } else {
            format!("from {low} to {high}")
        };
        return Err(Error::argument(format!("threshold \"{name}\" cannot be {value}"))
            .detail(format!("{} It may be {range}.", threshold.what))
            .hint(format!("The default is {}; NULL puts it back.", threshold.default))
            .into());
    }
    worker::ask::must_be_writable("thresholds are", "a threshold");
    let owner = catalog::extension(worker::EXTENSION).and_then(catalog::extension_owner);
    let Some(owner) = owner else {
        return Err(Error::prerequisite("pg_perfmon is not installed in this database").into());
    };
    session::as_user(owner, || {
        store::finding::set_threshold(threshold.name, value, clock::wall_us())
    });
    Ok(())
}
