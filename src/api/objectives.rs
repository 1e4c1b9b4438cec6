//! Objectives: `create_slo`, `drop_slo`, `slo_status`, `assert_slo`.

use perfmon_core::objective::declare::Draft;
use perfmon_core::objective::{self, Objective, Observed, Status, Verdict};
use pgrx::datum::Interval;
use pgrx::pg_sys;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;

use super::args::{Scope, Stamp};
use super::known;
use super::rows::{Cell, Sink};
use crate::error::Error;
use crate::pg::{catalog, session};
use crate::recall::objective::{Declared, Observer, declared};
use crate::recall::query;
use crate::recall::words::Raw;
use crate::{store, worker};

#[pg_extern(
    schema = "perfmon",
    sql = r#"
CREATE FUNCTION perfmon.create_slo(
    name text,
    p95_ms float8 DEFAULT NULL,
    p99_ms float8 DEFAULT NULL,
    error_ratio float8 DEFAULT NULL,
    throughput_per_second float8 DEFAULT NULL,
    availability_ratio float8 DEFAULT NULL,
    percentile float8 DEFAULT NULL,
    percentile_ms float8 DEFAULT NULL,
    database text DEFAULT NULL,
    username text DEFAULT NULL,
    application text DEFAULT NULL,
    statement_id int DEFAULT NULL,
    cluster bool DEFAULT false,
    min_executions bigint DEFAULT 100,
    period interval DEFAULT '1 hour',
    note text DEFAULT NULL
) RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', '@FUNCTION_NAME@';
"#
)]
#[allow(clippy::too_many_arguments)]
fn create_slo(
    name: Option<Vec<u8>>,
    p95_ms: Option<f64>,
    p99_ms: Option<f64>,
    error_ratio: Option<f64>,
    throughput_per_second: Option<f64>,
    availability_ratio: Option<f64>,
    percentile: Option<f64>,
    percentile_ms: Option<f64>,
    database: Option<Vec<u8>>,
    username: Option<Vec<u8>>,
    application: Option<Vec<u8>>,
    statement_id: Option<i32>,
    cluster: Option<bool>,
    min_executions: Option<i64>,
    period: Option<Interval>,
    note: Option<Vec<u8>>,
) -> Result<(), ErrorReport> {
    let text = |bytes: Vec<u8>| Raw(bytes).show();
    let draft = Draft {
        name: name.map(text).unwrap_or_default(),
        p95_ms,
        p99_ms,
        percentile,
        percentile_ms,
        error_ratio,
        throughput_per_second,
        availability_ratio,
        cluster: cluster.unwrap_or(false),
        user: username.map(text),
        application: application.map(text),
        statement_id: statement_id.map(i64::from),
        min_executions,
    };
    Ok(create(&draft, database.map(text), period, note.map(text).as_deref())?)
}

fn create(
    draft: &Draft,
    database: Option<String>,
    period: Option<Interval>,
    note: Option<&str>,
) -> Result<(), Error> {
    let objective = draft.check()?;
    let here = catalog::database_name();
    if let Some(other) = database.filter(|name| *name != here) {
        return Err(Error::prerequisite(
            "an objective is declared in the database that it is about",
        )
        .detail(format!("This is database \"{here}\", not \"{other}\"."))
        .hint("Connect to that database and call perfmon.create_slo() there."));
    }
    if objective.scope == objective::Scope::Cluster {
        worker::status::must_be_home("an objective of the whole cluster")?;
    }
    worker::ask::keep_extension()?;
    let meant = exists(&objective.scope)?;
    let period = checked(period)?;
    let min_executions = objective.min_executions;
    let written = worker::mark::as_owner("an objective", "declared", |source, now| {
        // What the defaults are today stays promised.
        let draft = Draft { statement_id: meant, ..draft.with_targets(&objective) };
        store::slo::insert(source, now, &draft, min_executions, period, note)
    });
    if written {
        return Ok(());
    }
    Err(Error::duplicate(format!("objective \"{}\" exists already", draft.name))
        .detail("The name of an objective is unique in a database.")
        .hint("Drop it first: SELECT perfmon.drop_slo(name)."))
}

/// Whether there is somebody, or something, to be judged: a role, which may still be made, or a statement, whose id is given.
fn exists(scope: &objective::Scope) -> Result<Option<i64>, Error> {
    match scope {
        objective::Scope::Statement(id) => return Ok(Some(known::executed_here(*id)?)),
        objective::Scope::User(name) => {
            let known = query::value(
                "SELECT true FROM pg_catalog.pg_roles r
                 WHERE r.rolname::pg_catalog.text OPERATOR(pg_catalog.=) $1",
                &[Raw::from(name.as_str()).into()],
            )?;
            if known == Cell::Null {
                ereport!(
                    NOTICE,
                    PgSqlErrorCode::ERRCODE_SUCCESSFUL_COMPLETION,
                    format!("there is no role \"{name}\""),
                    "The objective has no data until it exists and works."
                );
            }
        }
        _ => {}
    }
    Ok(None)
}

/// The time over which it is judged when nobody says.
fn checked(period: Option<Interval>) -> Result<Interval, Error> {
    let hour = || Interval::new(0, 0, 3_600_000_000);
    let period = match period {
        Some(period) => period,
        None => hour().map_err(|_| Error::internal("an hour is not a time"))?,
    };
    let all = [i64::from(period.months()), i64::from(period.days()), period.micros()];
    let positive = all.iter().all(|part| *part >= 0) && all.iter().any(|part| *part > 0);
    // So that its start is a time, whatever the end.
    if positive
        && period.months() <= 12_000
        && period.days() <= 366_000
        && period.micros() < 1 << 53
    {
        return Ok(period);
    }
    Err(Error::argument("\"period\" must be positive")
        .detail("It is the time over which the objective is judged when nobody names another.")
        .hint("Give a time such as interval '1 hour' or '30 days'."))
}

#[pg_extern(
    schema = "perfmon",
    sql = r#"
CREATE FUNCTION perfmon.drop_slo(name text) RETURNS void
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', '@FUNCTION_NAME@';
"#
)]
fn drop_slo(name: Option<Vec<u8>>) -> Result<(), ErrorReport> {
    let name = name.map(|bytes| Raw(bytes).show()).unwrap_or_default();
    if worker::mark::as_owner("an objective", "dropped", |_, _| store::slo::delete(&name)) {
        return Ok(());
    }
    Err(unknown(&name).into())
}

fn unknown(name: &str) -> Error {
    Error::undefined(format!("there is no objective \"{name}\""))
        .detail("Names are compared as they are written.")
        .hint("SELECT name FROM perfmon.slo lists them; perfmon.create_slo() declares one.")
}

#[pg_extern(
    schema = "perfmon",
    sql = r#"
CREATE FUNCTION perfmon.slo_status(
    since timestamptz DEFAULT NULL,
    until timestamptz DEFAULT now(),
    source bigint DEFAULT NULL
) RETURNS TABLE (
    slo_name text,
    objective text,
    scope text,
    target float8,
    actual float8,
    unit text,
    status text,
    executions bigint,
    budget_left_ratio float8,
    burn_rate_short float8,
    burn_rate_long float8,
    bad_minutes float8,
    actual_low float8,
    actual_high float8,
    "time" timestamptz,
    time_end timestamptz,
    detail text
) LANGUAGE c STABLE PARALLEL RESTRICTED ROWS 10 AS 'MODULE_PATHNAME', '@FUNCTION_NAME@';
"#
)]
fn slo_status(
    since: Stamp,
    until: Stamp,
    source: Option<i64>,
    fcinfo: pg_sys::FunctionCallInfo,
) -> Result<(), ErrorReport> {
    let mut sink = Sink::open(fcinfo);
    let judged = judged(None, since, until, source)?;
    if judged.is_empty() {
        ereport!(
            NOTICE,
            PgSqlErrorCode::ERRCODE_SUCCESSFUL_COMPLETION,
            "no objective is declared",
            "SELECT perfmon.create_slo('name') promises p95 200 ms, p99 500 ms and errors 0.5 % of this database."
        );
    }
    for one in &judged {
        one.put(&mut sink)?;
    }
    Ok(())
}

#[pg_extern(
    schema = "perfmon",
    sql = r#"
CREATE FUNCTION perfmon.assert_slo(
    name text DEFAULT NULL,
    since timestamptz DEFAULT NULL,
    until timestamptz DEFAULT now(),
    source bigint DEFAULT NULL
) RETURNS TABLE (
    slo_name text,
    objective text,
    scope text,
    target float8,
    actual float8,
    unit text,
    status text,
    executions bigint,
    budget_left_ratio float8,
    burn_rate_short float8,
    burn_rate_long float8,
    bad_minutes float8,
    actual_low float8,
    actual_high float8,
    "time" timestamptz,
    time_end timestamptz,
    detail text
) LANGUAGE c VOLATILE PARALLEL RESTRICTED ROWS 10 AS 'MODULE_PATHNAME', '@FUNCTION_NAME@';
"#
)]
fn assert_slo(
    name: Option<Vec<u8>>,
    since: Stamp,
    until: Stamp,
    source: Option<i64>,
    fcinfo: pg_sys::FunctionCallInfo,
) -> Result<(), ErrorReport> {
    let mut sink = Sink::open(fcinfo);
    let name = name.map(|bytes| Raw(bytes).show());
    let judged = judged(name.as_deref(), since, until, source)?;
    if let Some(name) = name.as_deref().filter(|_| judged.is_empty()) {
        return Err(unknown(name).into());
    }
    if judged.is_empty() {
        return Err(none().into());
    }
    if let Some(error) = broken(&judged) {
        return Err(error.into());
    }
    for one in &judged {
        one.put(&mut sink)?;
    }
    Ok(())
}

/// There is no promise at all.
pub(super) fn none() -> Error {
    Error::prerequisite("no objective is declared")
        .detail("There is nothing to assert.")
        .hint("SELECT perfmon.create_slo('name') promises p95 200 ms, p99 500 ms and errors 0.5 % of this database.")
}

/// One objective over its window.
pub(super) struct Judged {
    pub(super) objective: Objective,
    pub(super) since: i64,
    pub(super) until: i64,
    pub(super) verdicts: Vec<Verdict>,
}

/// Judges all objectives, or one, over a window; without a start, each over its own period.
pub(super) fn judged(
    name: Option<&str>,
    since: Stamp,
    until: Stamp,
    source: Option<i64>,
) -> Result<Vec<Judged>, Error> {
    let is_named = since.is_some();
    let scope = Scope::check(since.or_else(|| just_before(until)), until, source)?;
    judged_in(name, is_named, &scope)
}

/// Any start will do where each objective has its own.
fn just_before(until: Stamp) -> Stamp {
    let until = until.filter(|until| until.is_finite())?;
    TimestampWithTimeZone::try_from(until.into_inner().checked_sub(1)?).ok()
}

/// The same over a scope; its start counts only if somebody named it.
pub(super) fn judged_in(
    name: Option<&str>,
    named_since: bool,
    scope: &Scope,
) -> Result<Vec<Judged>, Error> {
    let all = declared(name, scope.until)?;
    let slot = worker::status::read().slot;
    let mut observer =
        Observer::new(scope).quiet(slot.map(|slot| (slot.snapshot_id, slot.quiet_until)));
    all.iter().map(|one| judged_one(one, named_since, scope, &mut observer)).collect()
}

fn judged_one(
    one: &Declared,
    named_since: bool,
    scope: &Scope,
    observer: &mut Observer<'_>,
) -> Result<Judged, Error> {
    let (since, until) = (if named_since { scope.since } else { one.since }, scope.until);
    let mut observed: Observed = observer.observe(one, since)?;
    // A standby has what its primary recorded, and no collectors that would know which database that was.
    if observed.objective.scope == objective::Scope::Cluster
        && !session::in_recovery()
        && let Err(error) = worker::status::must_be_home("an objective of the whole cluster")
    {
        let why = Some(error.to_string());
        observed.history = objective::History {
            no_latency: why.clone(),
            no_errors: why,
            ..objective::History::default()
        };
    }
    let verdicts = observed.verdicts(since, until);
    Ok(Judged { objective: observed.objective, since, until, verdicts })
}

/// The error that says which promises were not kept.
fn broken(judged: &[Judged]) -> Option<Error> {
    let all: Vec<(&Objective, &Verdict)> =
        judged.iter().flat_map(|one| one.verdicts.iter().map(|v| (&one.objective, v))).collect();
    let of = |status: Status| all.iter().filter(|(_, v)| v.status == status).count();
    let (missed, silent) = (of(Status::Missed), of(Status::NoData) + of(Status::TooFew));
    if missed + silent == 0 {
        return None;
    }
    let message = match (missed, silent, all.len()) {
        (0, silent, all) => format!("{silent} of {all} objectives could not be judged"),
        (missed, 0, all) => format!("{missed} of {all} objectives were missed"),
        (missed, silent, all) => {
            format!("{missed} of {all} objectives were missed, {silent} could not be judged")
        }
    };
    let hint = if missed > 0 {
        "SELECT * FROM perfmon.slow_statements(since, until) shows what was slow and why, perfmon.report(since, until) the whole story."
    } else {
        "Call perfmon.snapshot() in a transaction before, so that the last minute is recorded; perfmon.status() says what is missing."
    };
    Some(Error::assertion(message).detail(Objective::table(&all)).hint(hint))
}

impl Judged {
    fn put(&self, sink: &mut Sink) -> Result<(), Error> {
        for verdict in &self.verdicts {
            sink.put([
                self.objective.name.as_str().into(),
                verdict.target.name().as_str().into(),
                self.objective.scope.words().as_str().into(),
                verdict.target.value().into(),
                verdict.actual.into(),
                verdict.target.unit().into(),
                verdict.status.word().into(),
                verdict.executions.into(),
                verdict.budget_left_ratio.into(),
                verdict.burn[0].into(),
                verdict.burn[1].into(),
                verdict.bad_us.map(objective::words::minutes).into(),
                verdict.low.into(),
                verdict.high.into(),
                Cell::Time(self.since),
                Cell::Time(self.until),
                verdict.detail().as_str().into(),
            ])?;
        }
        Ok(())
    }
}
