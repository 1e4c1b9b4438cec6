//! What history says about tables, indexes, the database and the server in a window.

use std::collections::HashMap;

use perfmon_core::facts::failure::{Failure, Failures, Interval};
use perfmon_core::facts::relation::Activity;
use perfmon_core::facts::{Checkpoints, Database, Server, Window};
use perfmon_core::family::{DATABASE, INDEX, RELATION, SERVER, STATEMENT};
use perfmon_core::tally::add_known;
use perfmon_core::window::Level;

use crate::error::Error;
use crate::recall::cell::Cell;
use crate::recall::failures;
use crate::recall::objects::{Object, Objects};
use crate::recall::plan::Kept;
use crate::recall::query;
use crate::recall::scope::Scope;
use crate::recall::statements::ms;
use crate::recall::times::total;
use crate::store::read;

/// A server that was just started reads everything anew for about this long.
const COLD_US: i64 = 600_000_000;

/// Plain names of a table or of an index and its table.
pub(super) type Name = (String, String);

/// What a window covers.
pub(super) fn window(scope: &Scope) -> Window {
    let kept = Kept::of(&SERVER, scope);
    let mut window =
        Window { since_us: scope.since, until_us: scope.until, covered_us: 0, intervals: 0 };
    let segments = kept.segments(scope, Level::Day);
    read::frames(&scope.sources, &SERVER, &segments, &[], &mut |row| {
        if row.head.span.until <= row.head.span.since {
            return;
        }
        window.covered_us = window.covered_us.saturating_add(row.head.span.length_us);
        let snapshots = total(&SERVER, row.head, "snapshots").and_then(|n| i64::try_from(n).ok());
        window.intervals = window.intervals.saturating_add(snapshots.unwrap_or(1));
    });
    window
}

/// All of history, from the oldest row to the end of the window.
pub(super) fn whole(scope: &Scope) -> Scope {
    let oldest = Kept::of(&SERVER, scope).oldest().unwrap_or(scope.since);
    scope.quietly(oldest.min(scope.since), scope.until)
}

/// A table in a window.
#[derive(Debug, Clone, Default)]
pub(super) struct TableCounters {
    pub(super) activity: Activity,
    pub(super) live_rows: Option<u64>,
    pub(super) dead_rows: Option<u64>,
    pub(super) mod_since_analyze: Option<u64>,
    pub(super) ins_since_vacuum: Option<u64>,
    pub(super) table_bytes: Option<i64>,
    pub(super) toast_bytes: Option<i64>,
}

const HIT: [&str; 4] = ["heap_blks_hit", "idx_blks_hit", "toast_blks_hit", "tidx_blks_hit"];
const READ: [&str; 4] = ["heap_blks_read", "idx_blks_read", "toast_blks_read", "tidx_blks_read"];

/// Tables by their plain schema and name; those that did nothing are not listed.
pub(super) fn tables(scope: &Scope) -> Result<HashMap<Name, TableCounters>, Error> {
    let objects = Objects::of(&RELATION, scope)?;
    Ok(objects.iter().filter_map(|o| Some((name(&o, 0, 1)?, table(&o)))).collect())
}

fn name(object: &Object<'_>, schema: usize, name: usize) -> Option<Name> {
    Some((object.names[schema].text()?, object.names[name].text()?))
}

fn table(o: &Object<'_>) -> TableCounters {
    let v = |name: &str| o.v(name).unwrap_or(0);
    let bytes = |name: &str| o.v(name).and_then(|n| i64::try_from(n).ok());
    TableCounters {
        activity: Activity {
            seq_scan: v("seq_scan"),
            seq_tup_read: v("seq_tup_read"),
            idx_scan: v("idx_scan"),
            idx_tup_fetch: v("idx_tup_fetch"),
            n_tup_ins: v("n_tup_ins"),
            n_tup_upd: v("n_tup_upd"),
            n_tup_hot_upd: v("n_tup_hot_upd"),
            n_tup_del: v("n_tup_del"),
            autovacuum_count: v("autovacuum_count"),
            vacuum_count: v("vacuum_count"),
            blks_hit: o.all_of(&HIT).unwrap_or(0),
            blks_read: o.all_of(&READ).unwrap_or(0),
            dead_rows: o.v("n_dead_tup"),
            mod_since_analyze: o.v("n_mod_since_analyze"),
        },
        live_rows: o.v("n_live_tup"),
        dead_rows: o.v("n_dead_tup"),
        mod_since_analyze: o.v("n_mod_since_analyze"),
        ins_since_vacuum: o.v("n_ins_since_vacuum"),
        table_bytes: bytes("table_bytes"),
        toast_bytes: bytes("toast_bytes"),
    }
}

/// An index in a window.
#[derive(Debug, Clone, Copy)]
pub(super) struct IndexCounters {
    pub(super) scans: Option<u64>,
    pub(super) bytes: Option<i64>,
}

/// Indexes by their plain schema and name; those that did nothing are not listed.
pub(super) fn indexes(scope: &Scope) -> Result<HashMap<Name, IndexCounters>, Error> {
    let objects = Objects::of(&INDEX, scope)?;
    let bytes = |o: &Object<'_>| o.v("index_bytes").and_then(|n| i64::try_from(n).ok());
    Ok(objects
        .iter()
        .filter_map(|o| {
            Some((name(&o, 0, 1)?, IndexCounters { scans: o.v("idx_scan"), bytes: bytes(&o) }))
        })
        .collect())
}

/// When each object of a family was first seen, by plain schema and name.
pub(super) fn first_seen(family: &str, scope: &Scope) -> Result<HashMap<Name, i64>, Error> {
    let rows = query::rows(
        "SELECT o.name1, o.name2, pg_catalog.min(o.first_seen)
         FROM perfmon.object o
         WHERE o.source OPERATOR(pg_catalog.=) ANY ($1)
             AND o.family OPERATOR(pg_catalog.=) $2
         GROUP BY o.name1, o.name2",
        &[scope.sources.clone().into(), crate::recall::words::Raw::from(family).into()],
    )?;
    let entry =
        |row: &Vec<Cell>| Some(((row.first()?.text()?, row.get(1)?.text()?), row.get(2)?.int()?));
    Ok(rows.iter().filter_map(entry).collect())
}

/// This database's counters.
#[allow(clippy::cast_precision_loss)]
pub(super) fn database(scope: &Scope, started_us: i64) -> Result<Database, Error> {
    let mut found = Database::default();
    let name = query::value(
        "SELECT pg_catalog.quote_ident(COALESCE(
             (SELECT s.database_name FROM perfmon.source_info s
              WHERE s.source OPERATOR(pg_catalog.=) $1),
             pg_catalog.current_database()::pg_catalog.text))",
        &[scope.sources.first().copied().into()],
    )?;
    found.name = name.text().unwrap_or_default();
    let objects = Objects::of(&DATABASE, scope)?;
    if let Some(o) = objects.own() {
        found.commits = o.v("xact_commit");
        found.rollbacks = o.v("xact_rollback");
        found.blks_hit = o.v("blks_hit");
        found.blks_read = o.v("blks_read");
        found.read_ms = ms(o.v("blk_read_us"));
        found.temp_files = o.v("temp_files");
        found.temp_bytes = o.v("temp_bytes");
        found.deadlocks = o.v("deadlocks");
        found.checksum_failures = o.v("checksum_failures");
        found.active_ms = ms(o.v("active_us"));
        found.idle_in_transaction_ms = ms(o.v("idle_in_transaction_us"));
        found.sessions_abandoned = o.v("sessions_abandoned");
        found.bytes = o.v("database_bytes").and_then(|n| i64::try_from(n).ok());
    }
    let kept = Kept::of(&STATEMENT, scope);
    let mut exec_us = None;
    let segments = kept.segments(scope, Level::Day);
    read::frames(&scope.sources, &STATEMENT, &segments, &[], &mut |row| {
        let value = total(&STATEMENT, row.head, "total_exec_us");
        add_known(&mut exec_us, value.and_then(|v| i64::try_from(v).ok()));
    });
    found.exec_ms = exec_us.map(|us| us as f64 / 1000.0);
    if started_us >= scope.since && started_us < scope.until {
        let end = started_us.saturating_add(COLD_US).min(scope.until);
        let blocks = |since: i64, until: i64| -> Result<Option<(u64, u64)>, Error> {
            let objects = Objects::of(&DATABASE, &scope.quietly(since, until))?;
            Ok(objects.own().and_then(|o| o.v("blks_read").zip(o.v("blks_hit"))))
        };
        found.after_restart = blocks(started_us, end)?;
        if end < scope.until {
            found.warmed_up = blocks(end, scope.until)?;
        }
    }
    Ok(found)
}

/// The server's counters, which the home database keeps; added to what the catalog says.
pub(super) fn server(scope: &Scope, server: &mut Server) -> Result<(), Error> {
    let objects = Objects::of(&SERVER, scope)?;
    let Some(o) = objects.iter().next() else { return Ok(()) };
    server.wal_bytes = o.v("wal_bytes");
    server.wal_fpi = o.v("wal_fpi");
    server.wal_records = o.v("wal_records");
    server.wal_buffers_full = o.v("wal_buffers_full");
    server.statement_deallocs = o.v("statement_deallocs");
    server.statement_entries = o.v("statement_entries");
    server.statement_capacity = o.v("statement_capacity");
    server.checkpoints =
        o.v("checkpoints_timed").zip(o.v("checkpoints_req")).map(|(timed, requested)| {
            Checkpoints {
                timed,
                requested,
                buffers: o.v("buffers_checkpoint").unwrap_or(0),
                backend_buffers: o.v("buffers_backend"),
                write_ms: ms(o.v("checkpoint_write_us")).unwrap_or(0.0),
                sync_ms: ms(o.v("checkpoint_sync_us")).unwrap_or(0.0),
            }
        });
    Ok(())
}

/// What failed; `None` where nobody counted it.
#[allow(clippy::cast_precision_loss)]
pub(super) fn failures(scope: &Scope) -> Result<Option<Failures>, Error> {
    let known = failures::Failures::of(scope)?;
    let interval = |one: &failures::Interval| {
        Some(Interval {
            since_us: one.since,
            until_us: one.until,
            length_us: one.length_us.saturating_sub(one.quiet_us).max(0),
            executions: one.executions?,
            errors: one.errors?,
            cancelled: one.cancelled?,
        })
    };
    let failure = |one: &failures::Failure| Failure {
        class: one.kind.class,
        state: one.kind.state.clone(),
        statement_id: one.kind.statement.map(|(_, id)| i64::from(id)),
        table: one.kind.table.text(),
        count: one.count,
        lost_ms: one.lost_us as f64 / 1000.0,
    };
    Ok(known.errors.is_some().then(|| Failures {
        intervals: known.intervals.iter().filter_map(interval).collect(),
        all: known.all.iter().map(failure).collect(),
        is_part: known.is_part() || has_hole(&known.intervals),
    }))
}

/// Whether there was time between these in which nobody counted what failed, as with capture off for all.
fn has_hole(intervals: &[failures::Interval]) -> bool {
    /// Shorter ones are no more than how two readings differ.
    const SHORT_US: i64 = 1_000_000;
    let all = intervals.iter().zip(intervals.iter().skip(1));
    all.into_iter().any(|(one, next)| next.since.saturating_sub(one.until) > SHORT_US)
}
