//! `errors` and `error_series`: what failed, how often, and what it cost.

use perfmon_core::capture::condition;
use perfmon_core::capture::failure::Class;
use perfmon_core::family::{DATABASE, FAILURE};
use perfmon_core::series::Series;
use perfmon_core::tally::Who;
use pgrx::datum::Interval;
use pgrx::pg_sys;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;

use super::args::{Scope, Stamp};
use super::past::{notice_if_unplaced, notice_if_was_off};
use super::rows::{Cell, Sink};
use super::series::{Changes, edges};
use crate::error::Error;
use crate::recall::failures::{Failure, Failures, error_ratio, interval, kinds};
use crate::recall::plan::{Kept, coarsest_for};
use crate::recall::query;
use crate::recall::statements::{ms, per_s, quality, ratio};
use crate::recall::times::switched_off;
use crate::recall::uncounted::{Uncounted, Users, named};
use crate::recall::{absent, counting, names};
use crate::store::read;
use crate::watch::live;

/// How many lines that change a setting are told at most.
const LINES: usize = 5;

/// Says what is missing where nothing is counted: it would look like no errors.
pub(super) fn notice_unless_counted(what: &str) {
    if live::began().is_some() {
        return;
    }
    ereport!(
        NOTICE,
        PgSqlErrorCode::ERRCODE_SUCCESSFUL_COMPLETION,
        format!("{what} are not counted: pg_perfmon is not in shared_preload_libraries"),
        "In postgresql.conf: add pg_perfmon to shared_preload_libraries, then restart the server."
    );
}

/// Says that errors are not counted now, or whose the server keeps from the hooks, and the line that changes that. Gives
/// whether there was something to say.
pub(super) fn notice_if_hidden() -> Result<bool, Error> {
    if live::began().is_none() {
        return Ok(false);
    }
    let missing = absent::errors()?;
    let told = missing.is_some();
    if let Some(missing) = missing {
        ereport!(
            NOTICE,
            PgSqlErrorCode::ERRCODE_SUCCESSFUL_COMPLETION,
            format!("errors are not counted: {}", missing.problem),
            missing.fix
        );
    }
    Ok(told)
}

/// Says whose errors were kept from the hooks in the window: by a setting of now, with the line that changes it, or by one of then.
fn notice_of_past(scope: &Scope, users: &Users) -> Result<(), Error> {
    let mut off = if scope.is_own() { counting::uncounted_roles()? } else { Vec::new() };
    off.retain(|(role, _)| users.contains(&Some(role.clone())));
    let is_off = |user: &Option<String>| off.iter().any(|(role, _)| Some(role) == user.as_ref());
    let (now, then): (Users, Users) = users.iter().cloned().partition(is_off);
    if !now.is_empty() {
        let lines: Vec<&str> = off.iter().take(LINES).map(|(_, line)| line.as_str()).collect();
        ereport!(
            NOTICE,
            PgSqlErrorCode::ERRCODE_SUCCESSFUL_COMPLETION,
            format!(
                "errors of {} are not counted: pg_perfmon.capture is off for them",
                named(&now)
            ),
            lines.join(" ")
        );
        if then.is_empty() {
            return Ok(());
        }
    }
    ereport!(
        NOTICE,
        PgSqlErrorCode::ERRCODE_SUCCESSFUL_COMPLETION,
        absent::hidden_then(&then),
        "A role, a database, a function or the session itself had the first set to log, fatal or panic, or the second to \
off; rows of class unseen say how many there were at least."
    );
    Ok(())
}

/// The same of errors that were added up.
pub(super) fn notice_of_unseen(scope: &Scope, failures: &Failures) -> Result<(), Error> {
    let unseen = failures.all.iter().filter(|one| one.kind.class == Class::Unseen);
    notice_of_past(scope, &unseen.map(|one| one.kind.user.text()).collect())
}

#[pg_extern(
    schema = "perfmon",
    sql = r#"
CREATE FUNCTION perfmon.errors(
    since timestamptz DEFAULT now() - interval '1 hour',
    until timestamptz DEFAULT now(),
    source bigint DEFAULT NULL
) RETURNS TABLE (
    class text,
    sqlstate text,
    condition text,
    user_name text,
    statement_id int,
    query text,
    table_name text,
    errors bigint,
    per_hour float8,
    lost_ms float8,
    share_ratio float8,
    last_seen timestamptz,
    quality text
) LANGUAGE c STABLE PARALLEL RESTRICTED ROWS 50 AS 'MODULE_PATHNAME', '@FUNCTION_NAME@';
"#
)]
fn errors(
    since: Stamp,
    until: Stamp,
    source: Option<i64>,
    fcinfo: pg_sys::FunctionCallInfo,
) -> Result<(), ErrorReport> {
    let scope = Scope::check(since, until, source)?;
    let mut sink = Sink::open(fcinfo);
    notice_unless_counted("errors");
    let told = notice_if_hidden()?;
    if !scope.has_history_or_notice()? {
        return Ok(());
    }
    let failures = Failures::of(&scope)?;
    if !told {
        notice_if_missing(&scope, &failures)?;
    }
    let statements: Vec<Who> = failures.all.iter().filter_map(|f| f.kind.statement).collect();
    let called = names::statements(&statements)?;
    for failure in &failures.all {
        let statement = failure.kind.statement.and_then(|who| called.get(&who));
        let text = statement.map_or(Cell::Null, |s| s.query.clone());
        sink.put(failure_cells(&failures, failure, text))?;
    }
    Ok(())
}

/// Says what is missing of errors in a window, where no setting of now that hides those of all told it.
fn notice_if_missing(scope: &Scope, failures: &Failures) -> Result<(), Error> {
    if failures.is_part() {
        notice_of_unseen(scope, failures)?;
    }
    notice_if_was_off(scope, FAILURE.name, "errors")?;
    if failures.all.iter().any(is_nameless) {
        notice_if_without_ids(scope, failures)?;
    }
    Ok(())
}

/// The same beside their plain rows.
pub(super) fn notice_of_rows(scope: &Scope) -> Result<(), Error> {
    notice_unless_counted("errors");
    if notice_if_hidden()? {
        return Ok(());
    }
    notice_if_missing(scope, &Failures::of(scope)?)
}

/// Whether it is of a statement, and of which one is not known.
fn is_nameless(failure: &Failure) -> bool {
    failure.kind.statement.is_none() && failure.kind.class.ends_statement()
}

/// Says by which setting errors are counted without their statement, and the line that changes that.
fn notice_if_without_ids(scope: &Scope, failures: &Failures) -> Result<(), Error> {
    let now = if scope.is_own() { counting::errors_without_ids(None)? } else { None };
    if let Some(missing) = now {
        ereport!(
            NOTICE,
            PgSqlErrorCode::ERRCODE_SUCCESSFUL_COMPLETION,
            format!("errors are counted without their statement: {}", missing.problem),
            missing.fix
        );
    } else if let Some(why) = absent::ids_then(scope)? {
        ereport!(
            NOTICE,
            PgSqlErrorCode::ERRCODE_SUCCESSFUL_COMPLETION,
            format!(
                "errors were counted without their statement in some of this window; noted then: {why}"
            )
        );
    } else {
        notice_of_begun(failures);
    }
    Ok(())
}

/// Says whose statements had begun and are not known though they failed: settings of roles and sessions, and track_activities,
/// are noted nowhere.
fn notice_of_begun(failures: &Failures) {
    let has_begun =
        |one: &&Failure| one.kind.state.as_deref().is_some_and(condition::is_of_execution);
    let begun = failures.all.iter().filter(|one| is_nameless(one)).filter(has_begun);
    let users: Users = begun.map(|one| one.kind.user.text()).collect();
    if !users.is_empty() {
        ereport!(
            NOTICE,
            PgSqlErrorCode::ERRCODE_SUCCESSFUL_COMPLETION,
            format!(
                "errors of {} were counted without their statement in some of this window",
                named(&users)
            ),
            "track_activities or compute_query_id was off then, for all or for some; or they came before their statement was \
executed, as those of its parameters do, or after it, as their transaction ended."
        );
    }
}

fn failure_cells(all: &Failures, failure: &Failure, query: Cell) -> [Cell; 13] {
    let kind = &failure.kind;
    let total = all.all.iter().map(|f| f.count).sum::<u64>();
    [
        kind.class.name().into(),
        kind.state.as_deref().into(),
        kind.state.as_deref().and_then(condition::name).into(),
        kind.user.clone(),
        kind.statement.map(|(_, id)| id).into(),
        query,
        kind.table.clone(),
        failure.count.into(),
        per_s(Some(failure.count), all.covered_us).map(|n| n * 3600.0).into(),
        ms(Some(failure.lost_us)).into(),
        ratio(Some(failure.count), Some(total)).into(),
        failure.last.map_or(Cell::Null, Cell::Time),
        quality(failure.quality),
    ]
}

/// Classes that have a column of their own in a series, in the order of these columns.
const SHOWN: [Class; 9] = [
    Class::StatementTimeout,
    Class::LockTimeout,
    Class::TransactionTimeout,
    Class::IdleInTransactionTimeout,
    Class::IdleSessionTimeout,
    Class::Deadlock,
    Class::Refused,
    Class::Terminated,
    Class::AutovacuumCancelled,
];
/// Columns of the series behind these.
const EXECUTIONS: usize = SHOWN.len();
const ERRORS: usize = EXECUTIONS + 1;
const CANCELLED: usize = ERRORS + 1;
const LOST: usize = CANCELLED + 1;

#[pg_extern(
    schema = "perfmon",
    sql = r#"
CREATE FUNCTION perfmon.error_series(
    since timestamptz DEFAULT now() - interval '1 hour',
    until timestamptz DEFAULT now(),
    step interval DEFAULT NULL,
    source bigint DEFAULT NULL
) RETURNS TABLE (
    "time" timestamptz,
    executions bigint,
    errors bigint,
    error_ratio float8,
    errors_per_s float8,
    lost_ms float8,
    cancellations bigint,
    statement_timeouts bigint,
    lock_timeouts bigint,
    transaction_timeouts bigint,
    idle_in_transaction_timeouts bigint,
    idle_session_timeouts bigint,
    deadlocks bigint,
    refused bigint,
    terminated bigint,
    autovacuum_cancelled bigint,
    rollbacks bigint,
    rollbacks_per_s float8,
    rollback_ratio float8,
    covered_ratio float8,
    changes text
) LANGUAGE c STABLE PARALLEL RESTRICTED ROWS 400 AS 'MODULE_PATHNAME', '@FUNCTION_NAME@';
"#
)]
fn error_series(
    since: Stamp,
    until: Stamp,
    step: Option<Interval>,
    source: Option<i64>,
    fcinfo: pg_sys::FunctionCallInfo,
) -> Result<(), ErrorReport> {
    let scope = Scope::check(since, until, source)?;
    let mut sink = Sink::open(fcinfo);
    notice_unless_counted("errors");
    let told = notice_if_hidden()?;
    if !scope.has_history_or_notice()? {
        return Ok(());
    }
    // Transactions are known longer than errors, and without hooks too.
    let kept = Kept::of(&DATABASE, &scope);
    let edges = edges(&scope, step, &kept)?;
    let transactions = transactions(&scope, edges.clone(), &kept)?;
    notice_of_transactions(&scope)?;
    let changes = Changes::of(&scope, &transactions)?;
    let (failures, hidden, users) = failures(&scope, edges)?;
    if hidden.iter().any(|step| step.errors) && !told {
        notice_of_past(&scope, &users)?;
    }
    if !told {
        notice_if_was_off(&scope, FAILURE.name, "errors")?;
    }
    if hidden.iter().any(|step| step.executions) {
        notice_if_unplaced(&scope)?;
    }
    for (bucket, hidden) in hidden.into_iter().enumerate() {
        sink.put(point((&failures, hidden), &transactions, &changes, bucket))?;
    }
    Ok(())
}

/// Of which a part at most is known in a step.
#[derive(Clone, Copy, Default)]
struct Hidden {
    errors: bool,
    executions: bool,
    /// What hits sessions, and no statement.
    sessions: bool,
}

/// Failures by step, whether some of a step's were not counted, and of whom some were not seen at all.
type Steps = (Series, Vec<Hidden>, Users);

fn failures(scope: &Scope, edges: Vec<i64>) -> Result<Steps, Error> {
    let segments = Kept::of(&FAILURE, scope).segments(scope, coarsest_for(&edges));
    let kinds = kinds(scope)?;
    let uncounted = Uncounted::of(scope, &segments);
    let mut series = Series::new(edges, LOST + 1);
    let mut hidden = vec![Hidden::default(); series.len()];
    let mut users = Users::new();
    let columns = ["failures", "lost_us"].map(|name| FAILURE.position(name).unwrap_or(0));
    read::frames(&scope.sources, &FAILURE, &segments, &columns, &mut |row| {
        let (span, known) = (row.head.span, row.head.is_known(columns[0]));
        series.cover(span.since, span.until, span.length_us, 0);
        let all = interval(row.head).with(&uncounted);
        // Of some users errors may be known though those of others are not.
        let is_hidden = !known || all.errors.is_none();
        if let Some(bucket) = series.bucket_of(span.until).and_then(|at| hidden.get_mut(at)) {
            bucket.errors |= is_hidden;
            bucket.executions |= all.executions.is_none();
            bucket.sessions |= all.some_only;
        }
        series.add(EXECUTIONS, span.until, all.executions);
        series.add(ERRORS, span.until, all.errors);
        series.add(CANCELLED, span.until, all.cancelled);
        for column in (0..SHOWN.len()).chain([LOST]).filter(|_| known) {
            series.add(column, span.until, Some(0));
        }
        for (place, id) in row.ids.iter().enumerate() {
            let value = |i: usize| row.column(i).and_then(|v| v.get(place).copied());
            series.add(LOST, span.until, value(1));
            let kind = kinds.get(&(row.head.source, *id));
            let class = kind.map(|kind| kind.class);
            let is_unseen = class == Some(Class::Unseen);
            users.extend(kind.filter(|_| is_unseen).map(|kind| kind.user.text()));
            let column = SHOWN.iter().position(|shown| Some(*shown) == class);
            if let Some(column) = column {
                series.add(column, span.until, value(0));
            }
        }
    });
    Ok((series, hidden, users))
}

fn notice_of_transactions(scope: &Scope) -> Result<(), Error> {
    let now = if scope.is_own() { counting::without_transactions()? } else { None };
    let (problem, fix) = match now {
        Some(missing) => (missing.problem, missing.fix),
        None => match switched_off(scope, DATABASE.name)? {
            Some(then) => (then, String::from("It was so in some of this window.")),
            None => return Ok(()),
        },
    };
    ereport!(
        NOTICE,
        PgSqlErrorCode::ERRCODE_SUCCESSFUL_COMPLETION,
        format!("commits and rollbacks are not all counted: {problem}"),
        fix
    );
    Ok(())
}

/// Commits and rollbacks of the database whose history it is.
fn transactions(scope: &Scope, edges: Vec<i64>, kept: &Kept) -> Result<Series, Error> {
    let segments = kept.segments(scope, coarsest_for(&edges));
    let rows = query::rows(
        "SELECT o.source, o.object_id FROM perfmon.object o
         JOIN perfmon.source_info s ON s.source OPERATOR(pg_catalog.=) o.source
             AND s.database_name OPERATOR(pg_catalog.=) o.name2
         WHERE o.source OPERATOR(pg_catalog.=) ANY ($1)
             AND o.family OPERATOR(pg_catalog.=) 'database'
             AND o.name1 OPERATOR(pg_catalog.=) ''",
        &[scope.sources.clone().into()],
    )?;
    let who = |row: &Vec<Cell>| Some((row.first()?.int()?, row.get(1)?.int()?.try_into().ok()?));
    let own: Vec<Who> = rows.iter().filter_map(who).collect();
    let names = ["xact_commit", "xact_rollback"];
    let columns: Vec<usize> = names.iter().filter_map(|name| DATABASE.position(name)).collect();
    let mut series = Series::new(edges, columns.len());
    read::series_of(&own, &DATABASE, &segments, &columns, &mut |point| {
        let span = point.head.span;
        series.cover(span.since, span.until, span.length_us, span.quiet_us);
        for (column, value) in point.values.iter().enumerate() {
            series.add(column, span.until, *value);
        }
    });
    Ok(series)
}

fn point(
    (failures, hidden): (&Series, Hidden),
    transactions: &Series,
    changes: &Changes,
    bucket: usize,
) -> [Cell; 21] {
    // What is known of a part only would look like fewer errors.
    let known = |column: &usize| match *column {
        EXECUTIONS => !hidden.executions,
        column => {
            let is_of_statements = SHOWN.get(column).is_none_or(|class| class.is_error());
            !hidden.errors && (is_of_statements || !hidden.sessions)
        }
    };
    let of = |column: usize| Some(column).filter(known).and_then(|c| failures.sum(c, bucket));
    let [executions, errors, cancelled] = [EXECUTIONS, ERRORS, CANCELLED].map(of);
    let [commits, rollbacks] = [0, 1].map(|column| transactions.sum(column, bucket));
    let all = commits.zip(rollbacks).map(|(commits, rollbacks)| commits.saturating_add(rollbacks));
    let mut shown = (0..SHOWN.len()).map(|column| Cell::from(of(column)));
    let mut next = || shown.next().unwrap_or(Cell::Null);
    [
        Cell::Time(failures.time(bucket)),
        executions.into(),
        errors.into(),
        error_ratio(executions, errors, cancelled).into(),
        per_s(errors, failures.covered_us(bucket)).into(),
        ms(of(LOST)).into(),
        cancelled.into(),
        next(),
        next(),
        next(),
        next(),
        next(),
        next(),
        next(),
        next(),
        next(),
        rollbacks.into(),
        per_s(rollbacks, transactions.covered_us(bucket)).into(),
        ratio(rollbacks, all).into(),
        failures.covered_ratio(bucket).into(),
        changes.cell(bucket),
    ]
}
