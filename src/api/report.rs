//! `report`: gathers the facts for core's report and hands back its text.

use std::collections::HashMap;

use perfmon_core::ask;
use perfmon_core::facts::Facts;
use perfmon_core::family::{SERVER, STATEMENT};
use perfmon_core::finding::Finding;
use perfmon_core::frame::Quality;
use perfmon_core::report::{self, Head, Missing, Promise, Report};
use perfmon_core::tally::add_known;
use perfmon_core::window::Level;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;

use super::args::{Scope, Stamp, now, show_time};
use super::objectives;
use super::series::trend::trend;
use crate::error::Error;
use crate::judge;
use crate::recall::cell::Cell;
use crate::recall::plan::Kept;
use crate::recall::query;
use crate::recall::statements::{ms, ratio};
use crate::recall::timed::timed;
use crate::recall::times::{change_rows, distinct_gaps, gap_rows, total};
use crate::recall::words::Raw;
use crate::recall::{absent, lacking};
use crate::store::read;

pub(super) mod lists;

#[pg_extern(
    schema = "perfmon",
    sql = r#"
CREATE FUNCTION perfmon.report(
    since timestamptz DEFAULT now() - interval '1 hour',
    until timestamptz DEFAULT now(),
    format text DEFAULT 'markdown',
    source bigint DEFAULT NULL
) RETURNS text LANGUAGE c STABLE PARALLEL UNSAFE AS 'MODULE_PATHNAME', '@FUNCTION_NAME@';
"#
)]
fn report(
    since: Stamp,
    until: Stamp,
    format: Option<Vec<u8>>,
    source: Option<i64>,
) -> Result<Vec<u8>, ErrorReport> {
    let scope = Scope::check(since, until, source)?;
    let formats = ["markdown", "json"];
    let format = format.map_or_else(|| formats[0].to_owned(), |bytes| Raw(bytes).show());
    let format = ask::choice("format", &format, &formats).map_err(Error::from)?;
    scope.has_history_or_notice()?;
    let facts = gather(&scope)?;
    let text = if format == 0 {
        report::markdown(&facts, &show_time)
    } else {
        report::json(&facts).map_err(|e| Error::internal(e.to_string()))?
    };
    Ok(Raw::from(text.as_str()).0)
}

fn gather(scope: &Scope) -> Result<Report, Error> {
    let gaps = gap_rows(scope)?;
    let mut facts = Report { head: head(scope, distinct_gaps(&gaps))?, ..Report::default() };
    let own = name_server(scope, &mut facts.head)?;
    let mut known = None;
    facts.unrecorded =
        scope.unrecorded()?.map(|one| Missing { problem: one.words(), fix: one.missing.fix });
    if own {
        facts.objectives = Some(promises(objectives::judged_in(None, true, scope)?));
        known = Some(findings(scope, &mut facts)?);
        facts.unplanned = absent::plans()?;
        facts.uncounted = absent::times()?;
    }
    facts.missing = absent::statements_in(scope)?;
    if facts.head.intervals > 0 {
        // The window was widened aloud once.
        let scope = &scope.quietly(scope.since, scope.until);
        let is_counted;
        (facts.load, is_counted) = lists::load(scope)?;
        if facts.load.total_exec_ms.is_some() {
            facts.trend = Some(trend(scope, facts.head.history_begins_us)?);
            facts.commands = lists::commands(scope)?;
            facts.lacking = lacking::missing(scope)?;
        }
        if is_counted {
            let judged = known.as_ref().map(|known| (known, &facts.thresholds));
            facts.statements = Some(lists::statements(scope, judged)?);
        }
        quote(&mut facts);
        facts.latency = lists::latency(scope, &timed(scope)?)?;
        facts.uncounted = lists::uncounted(scope, facts.latency.as_ref())?;
        facts.errors = lists::errors(scope)?;
        facts.unheard = lists::unheard(scope, facts.errors.as_ref())?;
        facts.machine = lists::machine(scope)?;
        facts.tables = lists::tables(scope)?;
        // Sizes are read every few minutes: a window may hold none.
        let mut sizes = known.map(sizes).unwrap_or_default();
        for table in facts.tables.iter_mut().filter(|table| table.table_bytes.is_none()) {
            table.table_bytes = sizes.remove(&table.name);
        }
    }
    facts.gaps = gaps.iter().map(|row| lists::gap(row)).collect();
    let unrecorded = |gap: &report::Gap| gap.subject == STATEMENT.name && gap.kind == "disabled";
    let lacks_some = facts.missing.is_some() || facts.lacking.is_some();
    if lacks_some || facts.gaps.iter().any(unrecorded) {
        // Intervals stored by version 0.1 were called exact without their statements.
        let incomplete = Quality::LowerBound as i16;
        facts.head.quality = facts.head.quality.map(|worst| worst.max(incomplete));
    }
    facts.changes = change_rows(scope)?.iter().rev().map(|row| lists::change(row)).collect();
    Ok(facts)
}

/// Gives better forms the texts of their statements.
fn quote(facts: &mut Report) {
    let statements = facts.statements.as_deref().unwrap_or_default();
    for one in facts.rewrites.iter_mut().flatten() {
        let own = statements.iter().find(|s| s.statement_id == one.statement_id);
        one.query = own.and_then(|s| s.query.clone());
    }
}

/// Judged objectives, promise by promise.
pub(super) fn promises(judged: Vec<objectives::Judged>) -> Vec<Promise> {
    let of = |one: objectives::Judged| {
        let promise = move |verdict| Promise {
            name: one.objective.name.clone(),
            scope: one.objective.scope.clone(),
            since_us: one.since,
            until_us: one.until,
            verdict,
        };
        one.verdicts.into_iter().map(promise)
    };
    judged.into_iter().flat_map(of).collect()
}

/// Lets the detectors look at the window. Only this database's own history can be judged: they compare it
/// with the catalog. Gives what they looked at.
fn findings(scope: &Scope, facts: &mut Report) -> Result<Facts, Error> {
    let (known, judgement) = judge::judge(scope)?;
    facts.head.cpus = known.server.cpus;
    facts.head.memory_bytes = known.server.memory_bytes;
    facts.thresholds = judge::thresholds();
    let pools = known.pools.as_ref();
    facts.connections = pools.and_then(|p| report::Connections::of(p, &facts.thresholds));
    let sessions = known.sessions.as_ref();
    facts.locks = sessions.map(|s| report::Locks::of(s, &facts.thresholds));
    facts.unjudged = judgement.unjudged.iter().map(|kind| (*kind).to_owned()).collect();
    let mut found = judgement.findings;
    if !judge::may_read_texts()? {
        let hidden = found
            .iter_mut()
            .filter_map(|finding: &mut Finding| finding.hide_commands().then_some(()));
        facts.hidden = hidden.count() > 0;
    }
    facts.findings = Some(found);
    facts.rewrites = Some(report::rewrites(&known, &facts.thresholds));
    Ok(known)
}

/// Sizes of tables by name.
fn sizes(known: Facts) -> HashMap<String, i64> {
    let size = |table: perfmon_core::facts::Table| Some((table.name, table.table_bytes?));
    known.tables.into_iter().flatten().filter_map(size).collect()
}

fn head(scope: &Scope, gaps: usize) -> Result<Head, Error> {
    let kept = Kept::of(&SERVER, scope);
    let segments = kept.segments(scope, Level::Day);
    let mut head = Head {
        now_us: now(),
        source: scope.sources.first().copied(),
        since_us: scope.since,
        until_us: scope.until,
        gaps: i64::try_from(gaps).unwrap_or(i64::MAX),
        ..Head::default()
    };
    let (mut active, mut covered) = (None, None);
    let mut first: Option<i64> = None;
    let mut worst: Option<Quality> = None;
    read::frames(&scope.sources, &SERVER, &segments, &[], &mut |row| {
        let of = |name: &str| total(&SERVER, row.head, name).and_then(|v| i64::try_from(v).ok());
        head.intervals = head.intervals.saturating_add(of("snapshots").unwrap_or(1));
        head.covered_us = head.covered_us.saturating_add(row.head.span.length_us);
        // Both or neither, else the ratio would compare different times.
        if let (Some(a), Some(c)) = (of("active_us"), of("covered_exec_us")) {
            add_known(&mut active, Some(a));
            add_known(&mut covered, Some(c));
        }
        first = Some(first.map_or(row.head.span.since, |f| f.min(row.head.span.since)));
        worst = worst.max(Some(row.head.span.quality));
    });
    head.quality = worst.map(|quality| quality as i16);
    let unsigned = |v: Option<i64>| v.and_then(|v| u64::try_from(v).ok());
    head.completeness_ratio = ratio(unsigned(covered), unsigned(active));
    head.active_ms = ms(unsigned(active));
    head.history_begins_us = first.filter(|at| *at > scope.since);
    Ok(head)
}

/// Names server and database; returns whether the history is this database's own.
fn name_server(scope: &Scope, head: &mut Head) -> Result<bool, Error> {
    let row = query::row(
        "SELECT pg_catalog.current_setting('server_version'),
             NULLIF(pg_catalog.current_setting('cluster_name'), ''),
             pg_catalog.current_setting('port'),
             COALESCE((SELECT s.database_name FROM perfmon.source_info s
                       WHERE s.source OPERATOR(pg_catalog.=) $1),
                      pg_catalog.current_database()::pg_catalog.text),
             COALESCE((SELECT o.source OPERATOR(pg_catalog.=) $1 FROM perfmon.own_source o), true),
             pg_catalog.current_setting('TimeZone')",
        &[scope.sources.first().copied().into()],
    )?;
    let Some(row) = row else { return Ok(false) };
    let text = |i: usize| row.get(i).and_then(Cell::text).unwrap_or_default();
    head.version = format!("PostgreSQL {}", text(0));
    head.server = match text(1).as_str() {
        "" => format!("port {}", text(2)),
        name => format!("{name}, port {}", text(2)),
    };
    head.database = text(3);
    head.time_zone = text(5);
    let own = row.get(4) != Some(&Cell::Bool(false));
    if !own {
        head.server.push_str(" (history of another database)");
    }
    Ok(own)
}
