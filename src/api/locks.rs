//! `blocking`, `deadlocks` and `idle_in_transaction`: who was in whose way, as samples and the hooks saw it.

use perfmon_core::family::SESSION;
use perfmon_core::lock::graph::{MOST_WAITERS, at_once};
use perfmon_core::lock::idle::Sum;
use pgrx::pg_sys;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;

use super::activity::{must_be_sampled, some};
use super::args::{Scope, Stamp};
use super::rows::{Cell, Sink};
use crate::error::Error;
use crate::judge;
use crate::recall::activity::Statements;
use crate::recall::locks::{self, Member, Wait, Whose};
use crate::recall::plan::Kept;
use crate::recall::pools;
use crate::settings;
use crate::worker::status;

#[allow(clippy::cast_precision_loss)]
fn ms(us: i64) -> f64 {
    us as f64 / 1000.0
}

/// Queryid, dictionary id and text.
fn statement(statements: &Statements, whose: &Whose) -> [Cell; 3] {
    let (id, text) = locks::statement(statements, whose);
    [Some(whose.queryid).filter(|id| *id != 0).into(), id.into(), text]
}

/// No process stands for a prepared transaction.
fn process(pid: i64) -> Cell {
    Some(pid).filter(|pid| *pid != 0).into()
}

fn text(value: &Option<String>) -> Cell {
    value.as_deref().map_or(Cell::Null, some)
}

/// What the functions need: history. Those of the home database are of all databases, of others only of themselves.
fn ready(what: &str, scope: &Scope) -> Result<bool, Error> {
    if !scope.has_history_or_notice()? {
        return Ok(false);
    }
    let no_samples = || Kept::of(&SESSION, scope).oldest().is_none();
    if scope.is_own() && settings::preloaded() && !status::is_home() && no_samples() {
        ereport!(
            NOTICE,
            PgSqlErrorCode::ERRCODE_SUCCESSFUL_COMPLETION,
            format!("only {what} of this database are kept here"),
            "The home database keeps those of all databases, without names of other databases' relations."
        );
        return Ok(true);
    }
    must_be_sampled(what, scope)?;
    Ok(true)
}

#[pg_extern(
    schema = "perfmon",
    sql = r#"
CREATE FUNCTION perfmon.blocking(
    since timestamptz DEFAULT now() - interval '1 hour',
    until timestamptz DEFAULT now(),
    source bigint DEFAULT NULL
) RETURNS TABLE (
    "time" timestamptz,
    ended timestamptz,
    waited_ms float8,
    process_id int,
    database_name text,
    user_name text,
    application text,
    queryid bigint,
    statement_id int,
    query text,
    lock_type text,
    relation_name text,
    lock_mode text,
    blocker_process_id int,
    blocker_user_name text,
    blocker_application text,
    blocker_state text,
    blocker_queryid bigint,
    blocker_statement_id int,
    blocker_query text,
    held_mode text,
    head_process_id int,
    head_user_name text,
    head_application text,
    head_state text,
    head_transaction_ms float8,
    head_queryid bigint,
    head_statement_id int,
    head_query text,
    chain_depth int,
    blocker_gid text,
    head_gid text
) LANGUAGE c STABLE PARALLEL RESTRICTED ROWS 100 AS 'MODULE_PATHNAME', '@FUNCTION_NAME@';
"#
)]
fn blocking(
    since: Stamp,
    until: Stamp,
    source: Option<i64>,
    fcinfo: pg_sys::FunctionCallInfo,
) -> Result<(), ErrorReport> {
    let scope = Scope::check(since, until, source)?;
    let mut sink = Sink::open(fcinfo);
    if !ready("waits for locks", &scope)? {
        return Ok(());
    }
    let waits = locks::waits(&scope)?;
    let parties = waits.iter().flat_map(|wait| [&wait.waiter, &wait.blocker, &wait.head]);
    let statements = locks::texts(parties.map(|party| &party.whose), &scope)?;
    for wait in &waits {
        sink.put_all(wait_cells(wait, &statements))?;
    }
    tell_of_others(&waits, &scope)?;
    Ok(())
}

/// A look takes in no more than some sessions: that there were others is said.
fn tell_of_others(waits: &[Wait], scope: &Scope) -> Result<(), Error> {
    let told = at_once(waits.iter().map(|w| (w.waiter.process_id, w.began, w.seen)));
    if told < MOST_WAITERS {
        return Ok(());
    }
    let Some(most) = pools::lock_peak(scope)?.filter(|most| *most > told as u64) else {
        return Ok(());
    };
    ereport!(
        NOTICE,
        PgSqlErrorCode::ERRCODE_SUCCESSFUL_COMPLETION,
        format!("up to {most} sessions waited for locks at a time, not all of which are shown"),
        format!(
            "Of a crowd, the {MOST_WAITERS} that have waited longest are looked at, with those in front of them."
        )
    );
    Ok(())
}

fn wait_cells(wait: &Wait, statements: &Statements) -> Vec<Cell> {
    let (waiter, blocker, head) = (&wait.waiter, &wait.blocker, &wait.head);
    let transaction = wait.head_transaction.map(|at| ms((wait.seen - at).max(0)));
    let mut cells = vec![
        Cell::Time(wait.began),
        wait.ended.map_or(Cell::Null, Cell::Time),
        ms((wait.seen - wait.began).max(0)).into(),
        waiter.process_id.into(),
        some(&waiter.whose.database),
        some(&waiter.whose.user),
        some(&waiter.whose.application),
    ];
    cells.extend(statement(statements, &waiter.whose));
    cells.extend([some(&wait.lock_type), text(&wait.relation), text(&wait.wanted)]);
    cells.extend([
        process(blocker.process_id),
        some(&blocker.whose.user),
        some(&blocker.whose.application),
        text(&blocker.state),
    ]);
    cells.extend(statement(statements, &blocker.whose));
    cells.extend([
        text(&wait.held),
        process(head.process_id),
        some(&head.whose.user),
        some(&head.whose.application),
        text(&head.state),
        transaction.into(),
    ]);
    cells.extend(statement(statements, &head.whose));
    cells.extend([wait.depth.into(), text(&wait.blocker_gid), text(&wait.head_gid)]);
    cells
}

#[pg_extern(
    schema = "perfmon",
    sql = r#"
CREATE FUNCTION perfmon.deadlocks(
    since timestamptz DEFAULT now() - interval '1 hour',
    until timestamptz DEFAULT now(),
    source bigint DEFAULT NULL
) RETURNS TABLE (
    "time" timestamptz,
    deadlock bigint,
    is_victim bool,
    process_id int,
    waits_for_process_id int,
    database_name text,
    user_name text,
    application text,
    queryid bigint,
    statement_id int,
    query text,
    lock_type text,
    relation_name text
) LANGUAGE c STABLE PARALLEL RESTRICTED ROWS 20 AS 'MODULE_PATHNAME', '@FUNCTION_NAME@';
"#
)]
fn deadlocks(
    since: Stamp,
    until: Stamp,
    source: Option<i64>,
    fcinfo: pg_sys::FunctionCallInfo,
) -> Result<(), ErrorReport> {
    let scope = Scope::check(since, until, source)?;
    let mut sink = Sink::open(fcinfo);
    if !ready("deadlocks", &scope)? {
        return Ok(());
    }
    let members = locks::deadlocks(&scope)?;
    let statements = locks::texts(members.iter().map(|member| &member.party.whose), &scope)?;
    for member in &members {
        sink.put_all(member_cells(member, &statements))?;
    }
    Ok(())
}

fn member_cells(member: &Member, statements: &Statements) -> Vec<Cell> {
    let whose = &member.party.whose;
    let mut cells = vec![
        Cell::Time(member.at),
        member.number.into(),
        (member.member == 0).into(),
        member.party.process_id.into(),
        member.waits_for.into(),
        some(&whose.database),
        some(&whose.user),
        some(&whose.application),
    ];
    cells.extend(statement(statements, whose));
    cells.extend([text(&member.lock_type), text(&member.relation)]);
    cells
}

#[pg_extern(
    schema = "perfmon",
    sql = r#"
CREATE FUNCTION perfmon.idle_in_transaction(
    since timestamptz DEFAULT now() - interval '1 hour',
    until timestamptz DEFAULT now(),
    source bigint DEFAULT NULL
) RETURNS TABLE (
    database_name text,
    user_name text,
    application text,
    queryid bigint,
    statement_id int,
    query text,
    meaning text,
    times bigint,
    sessions int,
    idle_ms float8,
    longest_ms float8,
    resumed bigint,
    finished bigint,
    gone bigint,
    open bigint,
    open_ms float8
) LANGUAGE c STABLE PARALLEL UNSAFE ROWS 20 AS 'MODULE_PATHNAME', '@FUNCTION_NAME@';
"#
)]
fn idle_in_transaction(
    since: Stamp,
    until: Stamp,
    source: Option<i64>,
    fcinfo: pg_sys::FunctionCallInfo,
) -> Result<(), ErrorReport> {
    let scope = Scope::check(since, until, source)?;
    let mut sink = Sink::open(fcinfo);
    if !scope.has_history_or_notice()? {
        return Ok(());
    }
    must_be_sampled("idle times", &scope)?;
    let long_us = perfmon_core::detect::sessions::long_idle_us(&judge::thresholds());
    let idles = locks::idles(&scope)?;
    let statements = locks::texts(idles.iter().map(|(whose, _)| whose), &scope)?;
    for (whose, sum) in &idles {
        sink.put_all(idle_cells(whose, sum, &statements, long_us))?;
    }
    Ok(())
}

fn idle_cells(whose: &Whose, sum: &Sum, statements: &Statements, long_us: i64) -> Vec<Cell> {
    let mut cells = vec![some(&whose.database), some(&whose.user), some(&whose.application)];
    cells.extend(statement(statements, whose));
    let sessions = u32::try_from(sum.distinct()).unwrap_or(u32::MAX);
    cells.extend([
        sum.meaning(long_us).name().into(),
        sum.times().into(),
        sessions.into(),
        ms(sum.idle_us).into(),
        ms(sum.longest_us).into(),
        sum.resumed.into(),
        sum.finished.into(),
        sum.gone.into(),
        sum.open.into(),
        ms(sum.open_us).into(),
    ]);
    cells
}
