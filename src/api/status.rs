//! `status`: whether it works, what is missing, and the line that fixes it. Each item looks at one
//! thing; it must never fail because one of them is out of order.

mod worker;

use perfmon_core::coverage::Coverage;
use perfmon_core::family::SERVER;
use perfmon_core::tally::add_known;
use perfmon_core::window::Level;
use pgrx::pg_sys;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;

use super::args::{Scope, show_time};
use super::rows::{Cell, Sink};
use crate::error::Error;
use crate::pg::session;
use crate::recall::absent;
use crate::recall::counting::Missing;
use crate::recall::plan::Kept;
use crate::recall::query;
use crate::recall::statements::ratio;
use crate::recall::times::total;
use crate::recall::words::Raw;
use crate::store::read;
use crate::worker::status::{self, Status};
use crate::worker::visit::LIBRARY_VERSION;
use crate::{settings, store};

const DAY_US: i64 = 86_400_000_000;

/// Completeness below which a good part of the load is missing from the statements.
const INCOMPLETE: f64 = 0.8;
/// Active time below which completeness says nothing, in ms.
const ENOUGH_MS: f64 = 10_000.0;

/// Whether the library was preloaded, so that a launcher can exist.
pub(super) fn preloaded() -> bool {
    crate::worker::board::exists()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Ok,
    Warning,
    Error,
}

/// One line of the status.
pub(super) struct Item {
    item: &'static str,
    value: String,
    state: State,
    hint: Option<String>,
}

impl Item {
    pub(super) fn ok(item: &'static str, value: impl Into<String>) -> Self {
        Self { item, value: value.into(), state: State::Ok, hint: None }
    }

    pub(super) fn warning(
        item: &'static str,
        value: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        Self { item, value: value.into(), state: State::Warning, hint: Some(hint.into()) }
    }

    pub(super) fn error(
        item: &'static str,
        value: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        Self { item, value: value.into(), state: State::Error, hint: Some(hint.into()) }
    }

    fn cells(self) -> [Cell; 4] {
        let state = match self.state {
            State::Ok => "ok",
            State::Warning => "warning",
            State::Error => "error",
        };
        let hint = self.hint.as_deref().map(Raw::from);
        [self.item.into(), self.value.as_str().into(), state.into(), hint.into()]
    }
}

#[pg_extern(
    schema = "perfmon",
    sql = r#"
CREATE FUNCTION perfmon.status() RETURNS TABLE (
    item text,
    value text,
    state text,
    hint text
) LANGUAGE c STABLE PARALLEL RESTRICTED ROWS 20 AS 'MODULE_PATHNAME', '@FUNCTION_NAME@';
"#
)]
fn status(fcinfo: pg_sys::FunctionCallInfo) -> Result<(), ErrorReport> {
    let mut sink = Sink::open(fcinfo);
    for item in items()? {
        sink.put(item.cells())?;
    }
    Ok(())
}

fn items() -> Result<Vec<Item>, Error> {
    let board = status::read();
    // However long the transaction has been running.
    let now = crate::pg::clock::wall_us();
    let scope = Scope::of(now.saturating_sub(DAY_US), now, None);
    let day = Day::read(&scope);
    let mut items = vec![version()?, worker::library(&board)];
    items.extend([worker::launcher(&board), worker::schedule()].into_iter().flatten());
    items.extend([worker::collector(&board), worker::housekeeping(&board)].into_iter().flatten());
    items.extend(worker::samples(&board));
    items.extend(worker::places(&board));
    items.push(statements()?);
    items.extend([worker::evaluation(&board), worker::names(&board)].into_iter().flatten());
    items.extend(super::captured::items()?);
    items.push(last_snapshot(&board, &scope)?);
    items.push(gaps(&scope)?);
    items.push(day.completeness());
    items.extend(texts(&scope)?);
    items.push(disk());
    items.push(day.cost());
    items.extend(worker::home(&board));
    Ok(items)
}

fn version() -> Result<Item, Error> {
    let installed = query::value(
        "SELECT e.extversion FROM pg_catalog.pg_extension e
         WHERE e.extname OPERATOR(pg_catalog.=) 'pg_perfmon'",
        &[],
    )?;
    let installed = installed.text().unwrap_or_default();
    if installed == LIBRARY_VERSION {
        return Ok(Item::ok("version", installed));
    }
    Ok(Item::error(
        "version",
        format!("library {LIBRARY_VERSION}, SQL objects {installed}"),
        "ALTER EXTENSION pg_perfmon UPDATE; or restart the server if the library is the older.",
    ))
}

/// pg_stat_statements: the library, the extension, and the settings that silence it.
fn statements() -> Result<Item, Error> {
    let name = "pg_stat_statements";
    if let Some(missing) = absent::statements()? {
        return Ok(Item::error(name, missing.problem, missing.fix));
    }
    Ok(match absent::statements_of_some()? {
        Some(Missing { problem, fix }) => {
            Item::warning(name, format!("works, but not for all: {problem}"), fix)
        }
        None => Item::ok(name, "works"),
    })
}

fn last_snapshot(worker: &Status, scope: &Scope) -> Result<Item, Error> {
    let stored = query::value(
        "SELECT r.until FROM perfmon.server_minute r
         WHERE r.source OPERATOR(pg_catalog.=) ANY ($1)
             AND r.until OPERATOR(pg_catalog.>) $2
         ORDER BY r.until DESC LIMIT 1",
        &[scope.sources.clone().into(), query::time(scope.since)],
    )?;
    let known = worker.slot.map(|slot| slot.snapshot_id).filter(|id| *id > 0);
    let Some(last) = stored.int().max(known) else {
        let fix = match session::in_recovery() {
            true => "The primary takes them: perfmon.status() there says what is missing.",
            false => "SELECT perfmon.snapshot(); two calls make the first interval.",
        };
        return Ok(Item::warning("last snapshot", "none within a day", fix));
    };
    let age = scope.until.saturating_sub(last).max(0) / 1_000_000;
    let value = format!("{} ({age} s ago)", show_time(last));
    let quiet_until = worker.slot.map_or(0, |slot| slot.quiet_until);
    let known_until = last.max(quiet_until);
    let patience = 3 * settings::snapshot_interval_us();
    if !worker.preloaded || !settings::enabled() || session::in_recovery() {
        return Ok(Item::ok("last snapshot", value));
    }
    if scope.until.saturating_sub(known_until) > patience {
        return Ok(Item::warning(
            "last snapshot",
            value,
            "It is late. SELECT perfmon.snapshot(); says why if it cannot be taken.",
        ));
    }
    if quiet_until > last {
        return Ok(Item::ok("last snapshot", format!("{value}; nobody used the database since")));
    }
    Ok(Item::ok("last snapshot", value))
}

fn gaps(scope: &Scope) -> Result<Item, Error> {
    let rows = query::rows(
        // What several subjects missed at the same time is one gap.
        "SELECT d.kind, pg_catalog.count(*),
             pg_catalog.sum(EXTRACT(EPOCH FROM pg_catalog.upper(d.gap)
                 OPERATOR(pg_catalog.-) pg_catalog.lower(d.gap)))::pg_catalog.float8
         FROM (
             SELECT g.kind, pg_catalog.unnest(pg_catalog.range_agg(
                 pg_catalog.tstzrange(g.since, g.until, '[]'))) AS gap
             FROM perfmon.gap g
             WHERE g.source OPERATOR(pg_catalog.=) ANY ($1)
                 AND g.until OPERATOR(pg_catalog.>) $2 AND g.since OPERATOR(pg_catalog.<) $3
             GROUP BY g.kind) d
         GROUP BY d.kind ORDER BY d.kind",
        &[scope.sources.clone().into(), query::time(scope.since), query::time(scope.until)],
    )?;
    if rows.is_empty() {
        return Ok(Item::ok("gaps in 24 hours", "none"));
    }
    let kinds: Vec<String> = rows
        .iter()
        .map(|row| {
            let kind = row.first().and_then(Cell::text).unwrap_or_default();
            let count = row.get(1).and_then(Cell::int).unwrap_or(0);
            let seconds = row.get(2).and_then(Cell::float).unwrap_or(0.0);
            format!("{kind}: {count} ({seconds:.0} s)")
        })
        .collect();
    Ok(Item::warning(
        "gaps in 24 hours",
        kinds.join(", "),
        "SELECT * FROM perfmon.gaps(now() - interval '1 day');",
    ))
}

/// What the intervals of one day say about themselves.
#[derive(Debug, Default)]
struct Day {
    snapshots: u64,
    active_us: Option<i64>,
    covered_us: Option<i64>,
    /// Times that pg_stat_statements evicted entries.
    evicted: Option<u64>,
    cpu_us: Option<i64>,
    wall_us: Option<i64>,
    wal_bytes: Option<i64>,
    stored_bytes: Option<i64>,
}

impl Day {
    fn read(scope: &Scope) -> Self {
        let mut day = Self::default();
        if scope.sources.is_empty() {
            return day;
        }
        let segments = Kept::of(&SERVER, scope).segments(scope, Level::Hour);
        let evictions: Vec<usize> = SERVER.position("statement_deallocs").into_iter().collect();
        read::frames(&scope.sources, &SERVER, &segments, &evictions, &mut |row| {
            if let Some(times) = row.column(0).and_then(|values| values.first()) {
                day.evicted = Some(day.evicted.unwrap_or(0).saturating_add(*times));
            }
            let of = |name: &str| {
                total(&SERVER, row.head, name).and_then(|value| i64::try_from(value).ok())
            };
            day.snapshots += total(&SERVER, row.head, "snapshots").unwrap_or(1);
            // Both or neither, else the ratio would compare different times.
            if let (Some(active), Some(covered)) = (of("active_us"), of("covered_exec_us")) {
                add_known(&mut day.active_us, Some(active));
                add_known(&mut day.covered_us, Some(covered));
            }
            add_known(&mut day.cpu_us, of("visit_cpu_us"));
            add_known(&mut day.wall_us, of("visit_wall_us"));
            add_known(&mut day.wal_bytes, of("visit_wal_bytes"));
            add_known(&mut day.stored_bytes, of("stored_bytes"));
        });
        day
    }

    #[allow(clippy::cast_precision_loss)]
    fn completeness(&self) -> Item {
        let name = "completeness in 24 hours";
        let unsigned = |v: Option<i64>| v.and_then(|v| u64::try_from(v).ok());
        let active_ms = unsigned(self.active_us).map(|us| us as f64 / 1000.0);
        let ratio = ratio(unsigned(self.covered_us), unsigned(self.active_us));
        let ratio = match Coverage::of(ratio, active_ms, ENOUGH_MS) {
            Coverage::Known(ratio) => ratio,
            Coverage::Unknown => return Item::ok(name, "unknown"),
            Coverage::Idle(ms) => {
                let active = ms / 1000.0;
                return Item::ok(
                    name,
                    format!("not told: clients were active for only {active:.1} s"),
                );
            }
            Coverage::Late => {
                let why = "not told: sessions have yet to report active time, which they do between transactions";
                return Item::ok(name, why);
            }
        };
        let share =
            format!("{:.1} % of the clients' active time is in recorded statements", ratio * 100.0);
        match self.evicted {
            // What is missing is time outside of statements, unless entries were evicted.
            Some(evicted) if ratio < INCOMPLETE && evicted > 0 => Item::warning(
                name,
                format!("{share}, and entries were evicted {evicted} times"),
                "Raise pg_stat_statements.max and restart the server.",
            ),
            _ => Item::ok(name, share),
        }
    }

    #[allow(clippy::cast_precision_loss)]
    fn cost(&self) -> Item {
        let name = "own cost per snapshot";
        if self.snapshots == 0 {
            return Item::ok(name, "unknown");
        }
        let n = self.snapshots as f64;
        let mean = |sum: Option<i64>, unit: f64| {
            sum.map_or_else(|| "unknown".to_owned(), |v| format!("{:.1}", v as f64 / unit / n))
        };
        Item::ok(
            name,
            format!(
                "{} ms CPU, {} ms wall, {} kB WAL, {} kB stored (mean of {} in 24 hours)",
                mean(self.cpu_us, 1000.0),
                mean(self.wall_us, 1000.0),
                mean(self.wal_bytes, 1024.0),
                mean(self.stored_bytes, 1024.0),
                self.snapshots
            ),
        )
    }
}

fn texts(scope: &Scope) -> Result<Option<Item>, Error> {
    let Some(newest) = scope.sources.first().copied() else { return Ok(None) };
    let missing = query::value(
        "SELECT m.statements FROM perfmon.statement_missing m
         WHERE m.source OPERATOR(pg_catalog.=) $1",
        &[newest.into()],
    )?;
    Ok(Some(match missing.int().unwrap_or(0) {
        0 => Item::ok("statement texts", "all there"),
        n => Item::ok(
            "statement texts",
            format!(
                "{n} missing: not read yet, evicted before they could be, or of statements that only failed, of which pg_stat_statements keeps none: the server's log has those"
            ),
        ),
    }))
}

#[allow(clippy::cast_precision_loss)]
fn disk() -> Item {
    let (used, most) = (store::size::store_bytes(), settings::max_size_bytes());
    let mb = |bytes: i64| bytes as f64 / f64::from(1 << 20);
    let value = format!("{:.1} MB of at most {:.0} MB", mb(used), mb(most));
    if store::retain::is_squeezed() {
        return Item::warning(
            "disk",
            format!(
                "{value}; nothing is left to drop, so rows keep the 500 largest statements by name"
            ),
            "ALTER SYSTEM SET pg_perfmon.max_size = '...' to keep all of them.",
        );
    }
    if used > most {
        return Item::warning(
            "disk",
            value,
            "Oldest rows go first; ALTER SYSTEM SET pg_perfmon.max_size = '...' to keep more.",
        );
    }
    Item::ok("disk", value)
}
