//! `commands`: what the time went into by kind of command, and how much of it is slow.

use std::collections::BTreeMap;

use perfmon_core::tally::Who;
use pgrx::pg_sys;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;

use super::args::{Scope, Stamp};
use super::past::notice_if_lacking;
use super::rows::{Cell, Sink};
use crate::error::Error;
use crate::recall::query;
use crate::recall::statements::{add_up, fold, ms, per_s, positions, ratio};
use crate::recall::words::Raw;

/// A statement is slow when its mean is above this; docs/manual.md names it.
pub(super) const SLOW_US: f64 = 100_000.0;

/// One kind of command.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Kind {
    statements: u64,
    pub(super) calls: u64,
    pub(super) exec_us: u64,
    rows: u64,
    pub(super) slow_statements: u64,
    pub(super) slow_calls: u64,
    pub(super) slow_exec_us: u64,
    /// Time of nested statements may be in it, which is no share of anything.
    mixed: bool,
}

/// Kinds of commands by their tag, most time first.
pub(super) struct Kinds {
    pub(super) kinds: Vec<(Option<Raw>, Kind)>,
    covered_us: i64,
    total_exec_us: Option<u64>,
}

#[pg_extern(
    schema = "perfmon",
    sql = r#"
CREATE FUNCTION perfmon.commands(
    since timestamptz DEFAULT now() - interval '1 hour',
    until timestamptz DEFAULT now(),
    source bigint DEFAULT NULL
) RETURNS TABLE (
    command text,
    statements bigint,
    calls bigint,
    calls_per_s float8,
    total_exec_ms float8,
    mean_exec_ms float8,
    rows bigint,
    share_ratio float8,
    slow_statements bigint,
    slow_calls bigint,
    slow_exec_ms float8,
    slow_ratio float8
) LANGUAGE c STABLE PARALLEL RESTRICTED ROWS 20 AS 'MODULE_PATHNAME', '@FUNCTION_NAME@';
"#
)]
fn commands(
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
    let all = kinds(&scope)?;
    if all.kinds.is_empty() {
        super::statements::say_nothing_recorded(&scope)?;
    } else {
        notice_if_lacking(&scope)?;
    }
    for (tag, kind) in all.kinds {
        sink.put(kind.cells(tag, all.covered_us, all.total_exec_us))?;
    }
    Ok(())
}

/// Adds top-level statements up by their command tag.
pub(super) fn kinds(scope: &Scope) -> Result<Kinds, Error> {
    let mut sums = add_up(scope, &positions(&["calls", "exec_us", "rows"]));
    let gone: Vec<Who> = fold(scope, &mut sums.tally)?.into_values().flatten().collect();
    let known = tags(scope)?;
    let mut kinds: BTreeMap<Option<Raw>, Kind> = BTreeMap::new();
    for (place, who) in sums.tally.who().iter().enumerate() {
        let of = known.get(who);
        // Nested statements ran inside the time of others.
        if gone.contains(who) || of.is_some_and(|(_, toplevel)| !toplevel) {
            continue;
        }
        let tag = match (who.1, of) {
            (0, _) => Some(Raw::from("(all other statements)")),
            (_, Some((tag, _))) => tag.clone(),
            (_, None) => None,
        };
        let [calls, exec_us, rows] =
            [0, 1, 2].map(|index| sums.tally.get(place, index).unwrap_or(0));
        let kind = kinds.entry(tag).or_default();
        kind.add(calls, exec_us, rows);
        // Of the rest, part may have run inside the time of others.
        kind.mixed |= of.is_none() && sums.with_nested;
    }
    let total_exec_us = sums.total_exec_us.and_then(|us| u64::try_from(us).ok());
    let mut kinds: Vec<(Option<Raw>, Kind)> = kinds.into_iter().collect();
    kinds.sort_by_key(|(_, kind)| std::cmp::Reverse(kind.exec_us));
    Ok(Kinds { kinds, covered_us: sums.covered_us, total_exec_us })
}

impl Kind {
    fn add(&mut self, calls: u64, exec_us: u64, rows: u64) {
        let slow = ratio(Some(exec_us), Some(calls)).is_some_and(|mean| mean > SLOW_US);
        self.statements += 1;
        self.calls = self.calls.saturating_add(calls);
        self.exec_us = self.exec_us.saturating_add(exec_us);
        self.rows = self.rows.saturating_add(rows);
        if slow {
            self.slow_statements += 1;
            self.slow_calls = self.slow_calls.saturating_add(calls);
            self.slow_exec_us = self.slow_exec_us.saturating_add(exec_us);
        }
    }

    fn cells(self, tag: Option<Raw>, covered_us: i64, total: Option<u64>) -> [Cell; 12] {
        [
            tag.into(),
            self.statements.into(),
            self.calls.into(),
            per_s(Some(self.calls), covered_us).into(),
            ms(Some(self.exec_us)).into(),
            ratio(Some(self.exec_us), Some(self.calls)).map(|us| us / 1000.0).into(),
            self.rows.into(),
            ratio(Some(self.exec_us), total.filter(|_| !self.mixed)).into(),
            self.slow_statements.into(),
            self.slow_calls.into(),
            ms(Some(self.slow_exec_us)).into(),
            ratio(Some(self.slow_exec_us), Some(self.exec_us)).into(),
        ]
    }
}

type Tags = std::collections::HashMap<Who, (Option<Raw>, bool)>;

/// Command tag of every statement, and whether it runs at top level.
fn tags(scope: &Scope) -> Result<Tags, Error> {
    let rows = query::rows(
        "SELECT s.source, s.statement_id, s.command, s.toplevel
         FROM perfmon.statement s WHERE s.source OPERATOR(pg_catalog.=) ANY ($1)",
        &[scope.sources.clone().into()],
    )?;
    let mut tags = Tags::new();
    for row in rows {
        let [Cell::Int(source), Cell::Int(id), tag, toplevel] = row.as_slice() else { continue };
        let Ok(id) = u32::try_from(*id) else { continue };
        let tag = if let Cell::Text(tag) = tag { Some(tag.clone()) } else { None };
        tags.insert((*source, id), (tag, *toplevel == Cell::Bool(true)));
    }
    Ok(tags)
}
