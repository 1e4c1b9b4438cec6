//! What the report lists: load, commands, statements, tables, gaps and changes, as core wants them. It
//! must never judge.

use perfmon_core::capture::condition;
use perfmon_core::detect::statements::seen;
use perfmon_core::facts::Facts;
use perfmon_core::family::{DATABASE, FAILURE, LATENCY, RELATION, ROUTE, STATEMENT};
use perfmon_core::histogram::ERROR;
use perfmon_core::report::{
    Change, Command, ErrorKind, Errors, Flip, Gap, Latency, Load, Machine, MachineDisk, Missing,
    Plan, Statement, StatementTimes, Table, Times,
};
use perfmon_core::tally::add_known;
use perfmon_core::threshold::Thresholds;
use perfmon_core::window::Level;
use pgrx::pg_sys;

use crate::api::args::Scope;
use crate::api::commands::kinds;
use crate::api::latency::at as percentile;
use crate::error::Error;
use crate::pg::catalog;
use crate::recall::absent;
use crate::recall::cell::Cell;
use crate::recall::failures::{Failure, Failures, Interval, error_ratio};
use crate::recall::host;
use crate::recall::latency;
use crate::recall::objects::{Object, Objects};
use crate::recall::plan::Kept;
use crate::recall::plans;
use crate::recall::statements::{Line, ms, part, per_s, ratio, top};
use crate::recall::timed::Timed;
use crate::recall::times::{switched_off, total};
use crate::recall::uncounted::Uncounted;
use crate::store::read;

/// How many statements and tables are handed over; Markdown shows the first of them.
const STATEMENTS: usize = 100;
const TABLES: usize = 50;
const ERRORS: usize = 50;
/// Nested statements are left out: so many more are read.
const NESTED: usize = 100;

/// Tables of which sequential scans read fewer rows than this are not worth a line.
const FEW_ROWS: u64 = 1000;

fn signed(v: Option<u64>) -> Option<i64> {
    v.and_then(|v| i64::try_from(v).ok())
}

fn unsigned(v: Option<i64>) -> Option<u64> {
    v.and_then(|v| u64::try_from(v).ok())
}

/// How busy the database was, and whether pg_stat_statements was read in the window.
pub(in crate::api) fn load(scope: &Scope) -> Result<(Load, bool), Error> {
    let mut load = Load::default();
    let kept = Kept::of(&STATEMENT, scope);
    let segments = kept.segments(scope, Level::Day);
    let (mut covered_us, mut sums) = (0_i64, [None; 3]);
    read::frames(&scope.sources, &STATEMENT, &segments, &[], &mut |row| {
        covered_us = covered_us.saturating_add(row.head.span.length_us);
        for (sum, name) in sums.iter_mut().zip(["total_calls", "total_exec_us", "total_wal_bytes"])
        {
            add_known(sum, signed(total(&STATEMENT, row.head, name)));
        }
    });
    // What was timed was executed, though pg_stat_statements does not count it.
    let is_untold = sums[0] == Some(0)
        && latency::overall(scope).is_some_and(|times| times.all().executions() > 0);
    let [calls, exec_us, wal] = if is_untold { [None; 3] } else { sums };
    load.statements_per_s = per_s(unsigned(calls), covered_us);
    load.total_exec_ms = ms(unsigned(exec_us));
    load.active_ratio = per_s(unsigned(exec_us), covered_us).map(|us| us / 1e6);
    load.wal_bytes = wal;
    let databases = Objects::of(&DATABASE, scope)?;
    if let Some(own) = databases.own() {
        let transactions = own.all_of(&["xact_commit", "xact_rollback"]);
        load.transactions_per_s = per_s(transactions, databases.covered_us);
        load.rollback_ratio = ratio(own.v("xact_rollback"), transactions);
        load.deadlocks = signed(own.v("deadlocks"));
        load.cache_hit_ratio = part(own.v("blks_hit"), own.v("blks_read"));
        load.read_bytes = signed(own.v("blks_read").map(|b| b.saturating_mul(block_bytes())));
        load.temp_bytes = signed(own.v("temp_bytes"));
        load.database_bytes = signed(own.v("database_bytes"));
    }
    Ok((load, sums[1].is_some()))
}

/// Bytes of a block of this server.
fn block_bytes() -> u64 {
    u64::from(pg_sys::BLCKSZ)
}

/// What the time went into, by kind of command.
pub(in crate::api) fn commands(scope: &Scope) -> Result<Vec<Command>, Error> {
    let whole = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    let all = kinds(scope)?;
    let command = |(tag, kind): &(_, crate::api::commands::Kind)| Command {
        command: Cell::from(Option::clone(tag)).text(),
        calls: whole(kind.calls),
        total_exec_ms: ms(Some(kind.exec_us)).unwrap_or(0.0),
        slow_calls: whole(kind.slow_calls),
        slow_statements: whole(kind.slow_statements),
        slow_exec_ms: ms(Some(kind.slow_exec_us)).unwrap_or(0.0),
    };
    Ok(all.kinds.iter().map(command).collect())
}

/// The statements that took most time, with what was seen of their plans; `known` is what was judged.
pub(in crate::api) fn statements(
    scope: &Scope,
    known: Option<(&Facts, &Thresholds)>,
) -> Result<Vec<Statement>, Error> {
    let is_shown = |line: &&Line| line.statement.toplevel != Cell::Bool(false);
    let mut lines = top(scope, 0, Some(STATEMENTS + NESTED))?;
    if lines.len() >= STATEMENTS + NESTED && lines.iter().filter(is_shown).count() < STATEMENTS {
        // More nested ones than there was room for.
        lines = top(scope, 0, None)?;
    }
    let shown = lines.iter().filter(is_shown);
    let mut all: Vec<Statement> = shown.take(STATEMENTS).map(statement).collect();
    let Some(source) = scope.sources.first() else { return Ok(all) };
    let plans = plans::current(*source, all.iter().map(|one| one.statement_id))?;
    for one in &mut all {
        one.plan = plans.get(&one.statement_id).map(|plan| Plan {
            plan_id: plan.plan_id,
            since_us: plan.since,
            heaviest_node: plan.heaviest_node.text(),
            heaviest_cost_ratio: plan.heaviest_ratio,
            text: plan.text.text(),
            beside: plan.beside,
        });
        let Some((facts, thresholds)) = known else { continue };
        one.seen = seen(facts, one.statement_id, thresholds);
        let mut flips = facts.plan_flips.iter().flatten();
        one.flip = flips.find(|flip| flip.statement_id == one.statement_id).map(Flip::of);
    }
    Ok(all)
}

fn statement(line: &Line) -> Statement {
    Statement {
        statement_id: i64::from(line.who.1),
        share_ratio: line.share_ratio,
        total_exec_ms: ms(line.value("exec_us")),
        calls: signed(line.value("calls")),
        mean_exec_ms: line.mean_ms(),
        p95_ms: line.known_times().and_then(|times| percentile(&times.all(), 0.95)),
        rows_per_call: ratio(line.value("rows"), line.value("calls")),
        user_name: line.statement.user_name.text(),
        query: line.statement.query.text(),
        ..Statement::default()
    }
}

/// How long executions took, and the first of the statements that were timed.
pub(in crate::api) fn latency(scope: &Scope, timed: &[Timed]) -> Result<Option<Latency>, Error> {
    let Some(overall) = latency::overall(scope) else { return Ok(None) };
    let routes = Kept::of(&ROUTE, scope).segments(scope, Level::Day);
    let is_part =
        Uncounted::of(scope, &routes).is_any() || switched_off(scope, LATENCY.name)?.is_some();
    // Nothing timed is nothing executed only where the server's own statistics say so, or, without these, the hooks.
    let may_be_some = |per_s: Option<f64>| per_s.map_or(is_part, |per_s| per_s > 0.0);
    if overall.all().executions() == 0 && may_be_some(load(scope)?.0.statements_per_s) {
        return Ok(None);
    }
    let statements = timed.iter().take(STATEMENTS).map(|one| StatementTimes {
        statement_id: i64::from(one.who.1),
        times: times_of(&one.times),
        user_name: one.statement.user_name.text(),
        query: one.statement.query.text(),
    });
    let statements = statements.collect();
    let overall = times_of(&overall);
    Ok(Some(Latency { overall, is_part, percentile_error_ratio: ERROR, statements }))
}

fn times_of(times: &latency::Times) -> Times {
    let all = times.all();
    Times {
        calls: signed(Some(all.executions())).unwrap_or(0),
        p50_ms: percentile(&all, 0.5),
        p95_ms: percentile(&all, 0.95),
        p99_ms: percentile(&all, 0.99),
        max_ms: all.max().map(|found| found.ns / 1e6),
    }
}

/// The machine, where it is recorded.
pub(in crate::api) fn machine(scope: &Scope) -> Result<Option<Machine>, Error> {
    let Some(seen) = host::over(scope) else { return Ok(None) };
    let disks = host::disks_over(scope)?;
    let disk = |one: host::DiskOver| MachineDisk::of(one.names, &one.seen, &one.last);
    Ok(Some(Machine::of(&seen, disks.into_iter().map(disk).collect())))
}

/// Why not all execution times are known, if they are not.
pub(in crate::api) fn uncounted(
    scope: &Scope,
    known: Option<&Latency>,
) -> Result<Option<Missing>, Error> {
    let is_all = known.is_some_and(|latency| !latency.is_part);
    (!is_all).then(|| absent::times_in(scope)).transpose()
}

/// What failed; `None` where nobody counted it. Where the server kept errors of some users, or for some time, from the
/// hooks, what is known is no share of anything.
pub(in crate::api) fn errors(scope: &Scope) -> Result<Option<Errors>, Error> {
    let failures = Failures::of(scope)?;
    // Of time in which the hooks were off for all there are no intervals to tell.
    let is_part = failures.is_part() || absent::uncounted_then(scope, FAILURE.name)?.is_some();
    let Some(errors) = (if is_part { failures.least() } else { failures.errors }) else {
        return Ok(None);
    };
    let kind = |one: &Failure| ErrorKind {
        class: one.kind.class.name().to_owned(),
        sqlstate: one.kind.state.clone(),
        condition: one.kind.state.as_deref().and_then(condition::name).map(str::to_owned),
        user_name: one.kind.user.text(),
        statement_id: one.kind.statement.map(|(_, id)| i64::from(id)),
        table: one.kind.table.text(),
        errors: signed(Some(one.count)).unwrap_or(i64::MAX),
        lost_ms: ms(Some(one.lost_us)).unwrap_or(0.0),
    };
    let cancelled = failures.cancelled.unwrap_or(0);
    // A share needs both parts of the same time.
    let is_tried = |one: &Interval| one.errors.is_none() || one.executions.is_some();
    let executions =
        failures.executions.filter(|_| !is_part && failures.intervals.iter().all(is_tried));
    Ok(Some(Errors {
        is_part,
        executions,
        errors,
        cancelled,
        error_ratio: error_ratio(
            unsigned(executions),
            unsigned(Some(errors)),
            unsigned(Some(cancelled)),
        ),
        kinds: failures.all.iter().take(ERRORS).map(kind).collect(),
    }))
}

/// Why not all errors are known, if they are not.
pub(in crate::api) fn unheard(
    scope: &Scope,
    known: Option<&Errors>,
) -> Result<Option<Missing>, Error> {
    let is_all = known.is_some_and(Errors::are_all);
    (!is_all).then(|| absent::errors_in(scope)).transpose()
}

/// The tables whose rows were read most by sequential scans.
pub(in crate::api) fn tables(scope: &Scope) -> Result<Vec<Table>, Error> {
    let relations = Objects::of(&RELATION, scope)?;
    // Nobody adds an index to a catalog.
    let system = Cell::from("pg_catalog");
    let mut read: Vec<_> = relations
        .iter()
        .filter(|t| t.v("seq_tup_read").unwrap_or(0) >= FEW_ROWS && t.names[0] != system)
        .collect();
    read.sort_by_key(|t| std::cmp::Reverse(t.v("seq_tup_read")));
    let table = |t: &Object<'_>| Table {
        name: format!(
            "{}.{}",
            catalog::quoted(&t.names[0].text().unwrap_or_default()),
            catalog::quoted(&t.names[1].text().unwrap_or_default())
        ),
        seq_scans: signed(t.v("seq_scan")),
        rows_read: signed(t.v("seq_tup_read")),
        rows_per_scan: ratio(t.v("seq_tup_read"), t.v("seq_scan")),
        idx_scans: signed(t.v("idx_scan")),
        table_bytes: signed(t.v("table_bytes")),
    };
    Ok(read.iter().take(TABLES).map(table).collect())
}

/// A row of `gaps`.
#[allow(clippy::cast_possible_truncation)]
pub(in crate::api) fn gap(row: &[Cell]) -> Gap {
    let text = |i: usize| row.get(i).and_then(Cell::text);
    Gap {
        since_us: row.first().and_then(Cell::int).unwrap_or(0),
        length_us: row.get(2).and_then(Cell::float).map_or(0, |ms| (ms * 1000.0) as i64),
        subject: text(3).unwrap_or_default(),
        kind: text(4).unwrap_or_default(),
        detail: text(5),
    }
}

/// A row of `changes`.
pub(in crate::api) fn change(row: &[Cell]) -> Change {
    let text = |i: usize| row.get(i).and_then(Cell::text);
    Change {
        at_us: row.first().and_then(Cell::int).unwrap_or(0),
        kind: text(1).unwrap_or_default(),
        name: text(2).unwrap_or_default(),
        old_value: text(3),
        new_value: text(4),
    }
}
