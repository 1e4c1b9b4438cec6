//! Test runs: `begin_run`, `end_run`, `run_report`, `compare_runs`, `assert_run`.

use perfmon_core::ask;
use perfmon_core::detect::statements;
use perfmon_core::facts::{Facts, Statement};
use perfmon_core::family::SERVER;
use perfmon_core::objective::KNOWN;
use perfmon_core::report::{self, Latency, Slow};
use perfmon_core::tally::Who;
use perfmon_core::threshold::Thresholds;
use perfmon_core::window::Level;
use pgrx::pg_sys;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;

use super::args::{Scope, now, show_time};
use super::objectives;
use super::report::{lists, promises};
use super::rows::{Sink, to_server};
use crate::error::Error;
use crate::pg::catalog;
use crate::recall::plan::Kept;
use crate::recall::run::{Run, executed, latest, overlapping};
use crate::recall::timed::timed;
use crate::recall::times::{change_rows, gap_rows};
use crate::recall::words::Raw;
use crate::recall::{absent, lacking, names};
use crate::store::read;
use crate::{judge, store, worker};

/// Longest name, in characters.
const LONGEST: usize = 200;

#[pg_extern(
    schema = "perfmon",
    sql = r#"
CREATE FUNCTION perfmon.begin_run(name text, note text DEFAULT NULL) RETURNS timestamptz
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', '@FUNCTION_NAME@';
"#
)]
fn begin_run(
    name: Option<Vec<u8>>,
    note: Option<Vec<u8>>,
) -> Result<TimestampWithTimeZone, ErrorReport> {
    let name = checked(name)?;
    let note = note.map(|bytes| Raw(bytes).show());
    let going_on = || {
        Error::prerequisite(format!("run \"{name}\" has not ended"))
            .detail("Of one name, one run goes on at a time.")
            .hint("SELECT perfmon.end_run(name) ends it.")
    };
    let own = own_scope();
    if latest(&own, &name)?.is_some_and(|run| run.ended.is_none()) {
        return Err(going_on().into());
    }
    let at = worker::ask::snapshot();
    let begun = worker::mark::as_owner("a run", "begun", |source, _| {
        store::run::begin(source, &name, at, note.as_deref())
    });
    if begun { stamp(at) } else { Err(going_on().into()) }
}

#[pg_extern(
    schema = "perfmon",
    sql = r#"
CREATE FUNCTION perfmon.end_run(name text) RETURNS timestamptz
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', '@FUNCTION_NAME@';
"#
)]
fn end_run(name: Option<Vec<u8>>) -> Result<TimestampWithTimeZone, ErrorReport> {
    let name = checked(name)?;
    let not_begun = || {
        Error::prerequisite(format!("run \"{name}\" is not going on"))
            .detail("There is no run of that name that was begun and has not ended.")
            .hint("SELECT name, begun_at, ended_at FROM perfmon.run lists them.")
    };
    if latest(&own_scope(), &name)?.is_none_or(|run| run.ended.is_some()) {
        return Err(not_begun().into());
    }
    let at = worker::ask::snapshot();
    let ended =
        worker::mark::as_owner("a run", "ended", |source, _| store::run::end(source, &name, at));
    if ended { stamp(at) } else { Err(not_begun().into()) }
}

fn stamp(at: i64) -> Result<TimestampWithTimeZone, ErrorReport> {
    TimestampWithTimeZone::try_from(to_server(at))
        .map_err(|_| Error::internal("the clock stands beyond all times").into())
}

fn checked(name: Option<Vec<u8>>) -> Result<String, Error> {
    let name = name.map(|bytes| Raw(bytes).show()).unwrap_or_default();
    let length = name.chars().count();
    if name.trim().is_empty() {
        return Err(Error::argument("a run needs a name")
            .detail("The name is how its report is asked for.")
            .hint("Say what is run, as in perfmon.begin_run('load test 12')."));
    }
    if length > LONGEST {
        return Err(Error::argument("the name of a run is too long")
            .detail(format!("It has {length} characters; at most {LONGEST} are allowed."))
            .hint("Put the rest into the second argument, note, which may be of any length."));
    }
    Ok(name)
}

/// All of this database's own history.
fn own_scope() -> Scope {
    worker::ask::keep_extension().unwrap_or_else(|error| error.raise());
    Scope::of(i64::MIN, now(), None)
}

#[pg_extern(
    schema = "perfmon",
    sql = r#"
CREATE FUNCTION perfmon.run_report(
    name text,
    format text DEFAULT 'markdown',
    baseline text DEFAULT NULL
) RETURNS text LANGUAGE c STABLE PARALLEL UNSAFE AS 'MODULE_PATHNAME', '@FUNCTION_NAME@';
"#
)]
fn run_report(
    name: Option<Vec<u8>>,
    format: Option<Vec<u8>>,
    baseline: Option<Vec<u8>>,
) -> Result<Vec<u8>, ErrorReport> {
    let formats = ["markdown", "json"];
    let format = format.map_or_else(|| formats[0].to_owned(), |bytes| Raw(bytes).show());
    let format = ask::choice("format", &format, &formats).map_err(Error::from)?;
    let run = gathered(&name.map(|bytes| Raw(bytes).show()).unwrap_or_default())?;
    let baseline = baseline.map(|bytes| gathered(&Raw(bytes).show())).transpose()?;
    let text = if format == 0 {
        report::run_markdown(&run, baseline.as_ref(), &show_time)
    } else {
        report::run_json(&run, baseline.as_ref()).map_err(|e| Error::internal(e.to_string()))?
    };
    Ok(Raw::from(text.as_str()).0)
}

#[pg_extern(
    schema = "perfmon",
    sql = r#"
CREATE FUNCTION perfmon.compare_runs(baseline text, name text) RETURNS TABLE (
    what text,
    subject text,
    metric text,
    unit text,
    before_value float8,
    after_value float8,
    change_ratio float8,
    verdict text,
    query text
) LANGUAGE c STABLE PARALLEL UNSAFE ROWS 50 AS 'MODULE_PATHNAME', '@FUNCTION_NAME@';
"#
)]
fn compare_runs(
    baseline: Option<Vec<u8>>,
    name: Option<Vec<u8>>,
    fcinfo: pg_sys::FunctionCallInfo,
) -> Result<(), ErrorReport> {
    let mut sink = Sink::open(fcinfo);
    let named = |name: Option<Vec<u8>>| name.map(|bytes| Raw(bytes).show()).unwrap_or_default();
    let (before, after) = (gathered(&named(baseline))?, gathered(&named(name))?);
    for run in [&before, &after].into_iter().filter(|run| !run.forgotten.is_empty()) {
        ereport!(
            NOTICE,
            PgSqlErrorCode::ERRCODE_SUCCESSFUL_COMPLETION,
            format!(
                "what was recorded of run \"{}\" is no longer kept, or not all of it",
                run.name
            ),
            "Hours and days, which are kept longer, hold what others did before and after the run."
        );
    }
    for (what, missing) in [&before, &after].into_iter().filter_map(report::untimed) {
        ereport!(
            NOTICE,
            PgSqlErrorCode::ERRCODE_SUCCESSFUL_COMPLETION,
            what,
            format!("{}. {}", missing.problem, missing.fix)
        );
    }
    for pair in report::pairs(&before, &after) {
        sink.put([
            pair.what.into(),
            pair.name.as_str().into(),
            pair.metric.as_str().into(),
            pair.unit.into(),
            pair.before.into(),
            pair.after.into(),
            pair.change_ratio().into(),
            Some(pair.word()).filter(|word| !word.is_empty()).into(),
            pair.query.as_deref().into(),
        ])?;
    }
    Ok(())
}

#[pg_extern(
    schema = "perfmon",
    sql = r#"
CREATE FUNCTION perfmon.assert_run(name text) RETURNS text
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', '@FUNCTION_NAME@';
"#
)]
fn assert_run(name: Option<Vec<u8>>) -> Result<Vec<u8>, ErrorReport> {
    let run = gathered(&name.map(|bytes| Raw(bytes).show()).unwrap_or_default())?;
    if run.unfinished {
        return Err(Error::prerequisite(format!("run \"{}\" has not ended", run.name))
            .detail("What is executed until then belongs to it, too.")
            .hint("SELECT perfmon.end_run(name) ends it.")
            .into());
    }
    if run.objectives.is_empty() {
        return Err(objectives::none().into());
    }
    match run.failure() {
        None => Ok(Raw::from(run.outcome().word()).0),
        Some((why, table)) => Err(Error::assertion(format!("run \"{}\": {why}", run.name))
            .detail(table)
            .hint("SELECT perfmon.run_report(name) tells what was slow or failed, and what is not known.")
            .into()),
    }
}

/// All that a report of the latest run of that name says.
fn gathered(name: &str) -> Result<report::Run, Error> {
    let own = own_scope();
    let Some(run) = latest(&own, name)? else {
        return Err(Error::undefined(format!("there is no run \"{name}\""))
            .detail("Names are compared as they are written; of several runs of one name the latest is meant.")
            .hint("SELECT name, begun_at, ended_at FROM perfmon.run lists them; perfmon.begin_run() begins one."));
    };
    // A run that goes on is known up to the last snapshot.
    let until = run.ended.unwrap_or_else(now);
    if until <= run.begun {
        return empty(&own, &run, until);
    }
    let whole = own.quietly(run.begun, until);
    let (first, last) = Kept::of(&SERVER, &whole).inside(&whole);
    let mut parts = vec![(run.begun, first), (last, until)];
    parts.retain(|(since, until)| since < until);
    if first >= last {
        return forgotten(&own, &run, &whole);
    }
    let scope = own.quietly(first, last);
    let judged = objectives::judged_in(None, true, &scope)?;
    let facts = judge::gather(&scope)?;
    let thresholds = judge::thresholds();
    let timed = timed(&scope)?;
    let latency = lists::latency(&scope, &timed)?;
    let (slow_ms, slow) = slow(&scope, &facts, &thresholds, latency.as_ref())?;
    let are_timed = latency.as_ref().is_some_and(|latency| !latency.is_part);
    let mut executed = executed(&scope, are_timed)?;
    executed.are_all &= parts.is_empty();
    let (covered_us, quality) = covered(&scope);
    let (commands, errors) = (lists::commands(&scope)?, lists::errors(&scope)?);
    Ok(report::Run {
        covered_us,
        quality,
        forgotten: parts,
        gaps: gaps_of(&whole)?,
        objectives: promises(judged),
        slow,
        slow_ms,
        p95_ms: timed.iter().map(|one| (i64::from(one.who.1), one.p95_ns / 1e6)).collect(),
        executed,
        uncommanded: match commands.is_empty() {
            true => absent::statements_in(&scope)?,
            false => lacking::missing(&scope)?,
        },
        commands,
        unheard: lists::unheard(&scope, errors.as_ref())?,
        errors,
        changes: changes_of(&whole)?,
        uncounted: lists::uncounted(&scope, latency.as_ref())?,
        latency,
        ..empty(&own, &run, until)?
    })
}

fn gaps_of(scope: &Scope) -> Result<Vec<report::Gap>, Error> {
    Ok(gap_rows(scope)?.iter().map(|row| lists::gap(row)).collect())
}

/// Latest first.
fn changes_of(scope: &Scope) -> Result<Vec<report::Change>, Error> {
    Ok(change_rows(scope)?.iter().rev().map(|row| lists::change(row)).collect())
}

/// What is known of a run of which only rows are kept that hold what others did before and after.
fn forgotten(own: &Scope, run: &Run, whole: &Scope) -> Result<report::Run, Error> {
    Ok(report::Run {
        forgotten: vec![(whole.since, whole.until)],
        gaps: gaps_of(whole)?,
        objectives: promises(objectives::judged_in(None, true, whole)?),
        changes: changes_of(whole)?,
        uncounted: None,
        ..empty(own, run, whole.until)?
    })
}

/// What is known of a run of which nothing is recorded yet.
fn empty(own: &Scope, run: &Run, until: i64) -> Result<report::Run, Error> {
    let others = overlapping(own, run, until.max(run.begun.saturating_add(1)))?;
    Ok(report::Run {
        name: run.name.clone(),
        note: run.note.clone(),
        database: catalog::database_name(),
        begun_us: run.begun,
        until_us: until,
        unfinished: run.ended.is_none(),
        overlapping: others.into_iter().map(|other| other.name).collect(),
        uncounted: absent::times()?,
        slow_ms: judge::thresholds().of(&statements::P95),
        ..report::Run::default()
    })
}

/// Time that recorded intervals cover, and the worst of their qualities.
fn covered(scope: &Scope) -> (i64, Option<i16>) {
    let segments = Kept::of(&SERVER, scope).segments(scope, Level::Day);
    let (mut covered_us, mut worst) = (0_i64, None);
    read::frames(&scope.sources, &SERVER, &segments, &[], &mut |row| {
        covered_us = covered_us.saturating_add(row.head.span.length_us);
        worst = worst.max(Some(row.head.span.quality));
    });
    (covered_us, worst.map(|quality| quality as i16))
}

/// Statements over the limit at p95, longest first, then those that were not timed and are over it by their mean, with
/// their likely cause.
fn slow(
    scope: &Scope,
    facts: &Facts,
    thresholds: &Thresholds,
    latency: Option<&Latency>,
) -> Result<(f64, Vec<Slow>), Error> {
    let limit = thresholds.of(&statements::P95);
    let over = |line: &&report::StatementTimes| line.times.p95_ms.is_some_and(|ms| ms > limit);
    let lines = latency.map(|latency| latency.statements.as_slice()).unwrap_or_default();
    let of = |line: &report::StatementTimes| Slow {
        statement_id: line.statement_id,
        p95_ms: line.times.p95_ms,
        calls: line.times.calls,
        query: line.query.clone(),
        ..Slow::default()
    };
    let mut all: Vec<Slow> = lines.iter().filter(over).map(of).collect();
    let listed = |fact: &Statement| all.iter().any(|one| one.statement_id == fact.statement_id);
    let mut others: Vec<&Statement> = facts.statements.iter().flatten().collect();
    others.retain(|fact| is_slow_untimed(fact, limit) && !listed(fact));
    all.append(&mut untimed(scope, &others)?);
    let cures = statements::Cures::of(facts, thresholds);
    for one in &mut all {
        let mut known = facts.statements.iter().flatten();
        let fact = known.find(|fact| fact.statement_id == one.statement_id);
        one.mean_ms = fact.and_then(Statement::mean_ms);
        let told = fact.map(|fact| {
            let elsewhere = cures.tell(fact, facts, thresholds);
            elsewhere.unwrap_or_else(|| statements::explain(fact, facts, thresholds))
        });
        (one.cause, one.remedy) = told.unwrap_or_else(|| {
            let unknown = "The cause is not known, as pg_stat_statements did not record it, or it took too little time to \
                           be looked into.";
            (unknown.to_owned(), String::new())
        });
    }
    Ok((limit, all))
}

/// Whether a percentile is unknown, or that of a few, and the mean of all is over the limit.
#[allow(clippy::cast_precision_loss)]
fn is_slow_untimed(fact: &Statement, limit: f64) -> bool {
    let is_timed = fact.timed_calls as f64 >= KNOWN * fact.calls as f64;
    fact.toplevel
        && fact.calls >= report::ENOUGH
        && !is_timed
        && fact.mean_ms().is_some_and(|ms| ms > limit)
}

/// What is told of such statements of the newest source, slowest first, but for our own.
fn untimed(scope: &Scope, facts: &[&Statement]) -> Result<Vec<Slow>, Error> {
    let Some(source) = scope.sources.first() else { return Ok(Vec::new()) };
    let who = |fact: &Statement| Some((*source, u32::try_from(fact.statement_id).ok()?));
    let ids: Vec<Who> = facts.iter().filter_map(|fact| who(fact)).collect();
    let named = names::statements(&ids)?;
    let mean_ms = |fact: &Statement| fact.mean_ms().unwrap_or(0.0);
    let mut facts = facts.to_vec();
    facts.sort_by(|a, b| mean_ms(b).total_cmp(&mean_ms(a)));
    let slow = |fact: &Statement| Slow {
        statement_id: fact.statement_id,
        calls: i64::try_from(fact.calls).unwrap_or(i64::MAX),
        query: who(fact).and_then(|who| named.get(&who)?.query.text()),
        ..Slow::default()
    };
    let is_own = |one: &Slow| one.query.as_ref().is_some_and(|query| statements::is_own(query));
    Ok(facts.into_iter().map(slow).filter(|one| !is_own(one)).collect())
}
