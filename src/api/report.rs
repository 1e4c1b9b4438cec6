//! `report`: gathers the facts for core's report and hands back its text.

use perfmon_core::ask;
use perfmon_core::family::{DATABASE, RELATION, SERVER, STATEMENT};
use perfmon_core::frame::Quality;
use perfmon_core::report::{self, Change, Gap, Head, Load, Report, Statement, Table};
use perfmon_core::tally::add_known;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;

use super::args::{Scope, Stamp, show_time};
use super::rows::Cell;
use crate::error::Error;
use crate::recall::objects::Objects;
use crate::recall::plan::Kept;
use crate::recall::query;
use crate::recall::statements::{Line, part, per_s, ratio, top};
use crate::recall::times::{change_rows, distinct_gaps, gap_rows, total};
use crate::recall::words::Raw;
use crate::store::read;
use perfmon_core::window::Level;

/// How much of each list a report shows.
const STATEMENTS: usize = 15;
const TABLES: usize = 10;
const LINES: usize = 20;

/// Tables of which sequential scans read fewer rows than this are not worth a line.
const FEW_ROWS: u64 = 1000;

#[pg_extern(
    schema = "perfmon",
    sql = r#"
CREATE FUNCTION perfmon.report(
    since timestamptz DEFAULT now() - interval '1 hour',
    until timestamptz DEFAULT now(),
    format text DEFAULT 'markdown',
    source bigint DEFAULT NULL
) RETURNS text LANGUAGE c STABLE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', '@FUNCTION_NAME@';
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
        report::markdown(&facts)
    } else {
        report::json(&facts).map_err(|e| Error::internal(e.to_string()))?
    };
    Ok(Raw::from(text.as_str()).0)
}

fn gather(scope: &Scope) -> Result<Report, Error> {
    let gaps = gap_rows(scope)?;
    let mut facts = Report { head: head(scope, distinct_gaps(&gaps))?, ..Report::default() };
    if facts.head.intervals > 0 {
        facts.load = load(scope)?;
        // Nested statements are left out below: read some more than are shown.
        let lines = top(scope, 0, Some(4 * STATEMENTS))?;
        let shown = lines.iter().filter(|line| line.statement.toplevel != Cell::Bool(false));
        facts.statements = shown.take(STATEMENTS).map(statement).collect();
        facts.tables = tables(scope)?;
    }
    facts.gaps = gaps.iter().take(LINES).map(|row| gap(row)).collect();
    facts.changes = change_rows(scope)?.iter().rev().take(LINES).map(|row| change(row)).collect();
    Ok(facts)
}

fn head(scope: &Scope, gaps: usize) -> Result<Head, Error> {
    let kept = Kept::of(&SERVER, scope);
    let segments = kept.segments(scope, Level::Day);
    let mut head = Head {
        since: show_time(scope.since),
        until: show_time(scope.until),
        period_us: scope.until.saturating_sub(scope.since),
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
    head.history_begins = first.filter(|at| *at > scope.since).map(show_time);
    name_server(scope, &mut head)?;
    Ok(head)
}

fn name_server(scope: &Scope, head: &mut Head) -> Result<(), Error> {
    let row = query::row(
        "SELECT pg_catalog.current_setting('server_version'),
             NULLIF(pg_catalog.current_setting('cluster_name'), ''),
             pg_catalog.current_setting('port'),
             COALESCE((SELECT s.database_name FROM perfmon.source_info s
                       WHERE s.source OPERATOR(pg_catalog.=) $1),
                      pg_catalog.current_database()::pg_catalog.text),
             (SELECT o.source OPERATOR(pg_catalog.=) $1 FROM perfmon.own_source o)",
        &[scope.sources.first().copied().into()],
    )?;
    let Some(row) = row else { return Ok(()) };
    let text = |i: usize| row.get(i).and_then(Cell::text).unwrap_or_default();
    head.version = format!("PostgreSQL {}", text(0));
    head.server = match text(1).as_str() {
        "" => format!("port {}", text(2)),
        name => format!("{name}, port {}", text(2)),
    };
    head.database = text(3);
    if row.get(4) == Some(&Cell::Bool(false)) {
        head.server.push_str(" (history of another database)");
    }
    Ok(())
}

#[allow(clippy::cast_precision_loss)]
fn load(scope: &Scope) -> Result<Load, Error> {
    let mut load = Load::default();
    let kept = Kept::of(&STATEMENT, scope);
    let segments = kept.segments(scope, Level::Day);
    let (mut covered_us, mut sums) = (0_i64, [None; 3]);
    read::frames(&scope.sources, &STATEMENT, &segments, &[], &mut |row| {
        covered_us = covered_us.saturating_add(row.head.span.length_us);
        for (sum, name) in sums.iter_mut().zip(["total_calls", "total_exec_us", "total_wal_bytes"])
        {
            let value = total(&STATEMENT, row.head, name).and_then(|v| i64::try_from(v).ok());
            add_known(sum, value);
        }
    });
    let [calls, exec_us, wal] = sums;
    let unsigned = |v: Option<i64>| v.and_then(|v| u64::try_from(v).ok());
    load.statements_per_s = per_s(unsigned(calls), covered_us);
    load.active_ratio = per_s(unsigned(exec_us), covered_us).map(|us| us / 1e6);
    load.wal_bytes = wal;
    let databases = Objects::of(&DATABASE, scope)?;
    let name = own_name(scope)?;
    if let Some(own) = databases.iter().find(|d| d.names[1] == name) {
        let signed = |v: Option<u64>| v.and_then(|v| i64::try_from(v).ok());
        let transactions = own.all_of(&["xact_commit", "xact_rollback"]);
        load.transactions_per_s = per_s(transactions, databases.covered_us);
        load.rollback_ratio = ratio(own.v("xact_rollback"), transactions);
        load.deadlocks = signed(own.v("deadlocks"));
        load.cache_hit_ratio = part(own.v("blks_hit"), own.v("blks_read"));
        load.read_bytes = signed(own.v("blks_read").map(|b| b.saturating_mul(block_bytes())));
        load.temp_bytes = signed(own.v("temp_bytes"));
        load.database_bytes = signed(own.v("database_bytes"));
    }
    Ok(load)
}

/// Bytes of a block of this server.
fn block_bytes() -> u64 {
    u64::from(pg_sys::BLCKSZ)
}

/// Name of the database that the scope is about.
fn own_name(scope: &Scope) -> Result<Cell, Error> {
    query::value(
        "SELECT s.database_name FROM perfmon.source_info s
         WHERE s.source OPERATOR(pg_catalog.=) $1",
        &[scope.sources.first().copied().into()],
    )
}

#[allow(clippy::cast_precision_loss)]
fn statement(line: &Line) -> Statement {
    let signed = |v: Option<u64>| v.and_then(|v| i64::try_from(v).ok()).unwrap_or(0);
    Statement {
        statement_id: i64::from(line.who.1),
        share_ratio: line.share_ratio,
        total_exec_ms: line.value("exec_us").unwrap_or(0) as f64 / 1000.0,
        calls: signed(line.value("calls")),
        mean_exec_ms: line.mean_ms(),
        rows_per_call: ratio(line.value("rows"), line.value("calls")),
        user_name: line.statement.user_name.text(),
        query: line.statement.query.text(),
    }
}

fn tables(scope: &Scope) -> Result<Vec<Table>, Error> {
    let relations = Objects::of(&RELATION, scope)?;
    // Nobody adds an index to a catalog.
    let catalog = Cell::from("pg_catalog");
    let mut read: Vec<_> = relations
        .iter()
        .filter(|t| t.v("seq_tup_read").unwrap_or(0) >= FEW_ROWS && t.names[0] != catalog)
        .collect();
    read.sort_by_key(|t| std::cmp::Reverse(t.v("seq_tup_read")));
    let signed = |v: Option<u64>| v.and_then(|v| i64::try_from(v).ok());
    let table = |t: &crate::recall::objects::Object<'_>| Table {
        name: format!(
            "{}.{}",
            t.names[0].text().unwrap_or_default(),
            t.names[1].text().unwrap_or_default()
        ),
        seq_scans: signed(t.v("seq_scan")),
        rows_read: signed(t.v("seq_tup_read")),
        rows_per_scan: ratio(t.v("seq_tup_read"), t.v("seq_scan")),
        idx_scans: signed(t.v("idx_scan")),
        table_bytes: signed(t.v("table_bytes")),
    };
    Ok(read.iter().take(TABLES).map(table).collect())
}

#[allow(clippy::cast_possible_truncation)]
fn gap(row: &[Cell]) -> Gap {
    let text = |i: usize| row.get(i).and_then(Cell::text);
    Gap {
        since: row.first().and_then(Cell::int).map(show_time).unwrap_or_default(),
        length_us: row.get(2).and_then(Cell::float).map_or(0, |ms| (ms * 1000.0) as i64),
        subject: text(3).unwrap_or_default(),
        kind: text(4).unwrap_or_default(),
        detail: text(5),
    }
}

fn change(row: &[Cell]) -> Change {
    let text = |i: usize| row.get(i).and_then(Cell::text);
    Change {
        at: row.first().and_then(Cell::int).map(show_time).unwrap_or_default(),
        name: text(2).unwrap_or_default(),
        old_value: text(3),
        new_value: text(4),
    }
}
