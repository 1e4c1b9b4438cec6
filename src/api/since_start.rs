//! `latency_since_start` and `errors_since_start`: what the hooks counted of this database so far.

use std::collections::{BTreeSet, HashMap};

use perfmon_core::capture::failure;
use perfmon_core::capture::reading::{self, Reading};
use perfmon_core::capture::statement::TOPLEVEL;
use perfmon_core::capture::table::Key;
use perfmon_core::histogram::{ERROR, Latency, Sum};
use pgrx::pg_sys;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;

use super::errors::notice_if_hidden;
use super::rows::{Cell, Sink, to_unix};
use crate::error::Error;
use crate::pg::execution;
use crate::recall::counting::Missing;
use crate::recall::words::Raw;
use crate::recall::{absent, query};
use crate::watch::live;

#[pg_extern(
    schema = "perfmon",
    sql = r#"
CREATE FUNCTION perfmon.latency_since_start() RETURNS TABLE (
    user_name text,
    queryid bigint,
    toplevel bool,
    rest bool,
    executions bigint,
    read_executions bigint,
    total_ms float8,
    p50_ms float8,
    p75_ms float8,
    p90_ms float8,
    p95_ms float8,
    p99_ms float8,
    max_ms float8,
    cached_p50_ms float8,
    cached_p95_ms float8,
    read_p50_ms float8,
    read_p95_ms float8,
    error_ratio float8
) LANGUAGE c VOLATILE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', '@FUNCTION_NAME@';
"#
)]
fn latency_since_start(fcinfo: pg_sys::FunctionCallInfo) -> Result<(), ErrorReport> {
    let mut sink = Sink::open(fcinfo);
    let counted = live::statements(execution::database()).ok_or_else(not_preloaded)?;
    notice_if_off(absent::times()?);
    let sums = reading::difference(&Reading::default(), &counted);
    let users = Users::of(sums.keys())?;
    let mut lines: Vec<(Key, Latency, f64)> = sums
        .into_iter()
        .map(|(key, latency)| {
            let total_ns = sum_of(&latency).total_ns();
            (key, latency, total_ns)
        })
        .collect();
    lines.sort_by(|a, b| b.2.total_cmp(&a.2));
    for (key, latency, total_ns) in &lines {
        sink.put(row(*key, latency, *total_ns, &users))?;
    }
    Ok(())
}

/// Says what is not counted now: numbers that stand still look like nothing happening.
pub(super) fn notice_if_off(missing: Option<Missing>) {
    if let Some(Missing { problem, fix }) = missing {
        ereport!(NOTICE, PgSqlErrorCode::ERRCODE_SUCCESSFUL_COMPLETION, problem, fix);
    }
}

fn sum_of(latency: &Latency) -> Sum {
    let mut sum = Sum::default();
    sum.add(latency);
    sum
}

const NS_PER_MS: f64 = 1e6;

fn row(key: Key, latency: &Latency, total_ns: f64, users: &Users) -> [Cell; 18] {
    let all = sum_of(latency);
    let (mut cached, mut read) = (Sum::default(), Sum::default());
    cached.add_half(&latency.cached);
    read.add_half(&latency.read);
    let at = |sum: &Sum, q: f64| Cell::from(sum.quantile(q).map(|found| found.ns / NS_PER_MS));
    [
        users.name(key),
        users.queryid(key),
        (key.kind == TOPLEVEL).into(),
        (key.what == 0).into(),
        all.executions().into(),
        read.executions().into(),
        (total_ns / NS_PER_MS).into(),
        at(&all, 0.5),
        at(&all, 0.75),
        at(&all, 0.9),
        at(&all, 0.95),
        at(&all, 0.99),
        all.max().map(|found| found.ns / NS_PER_MS).into(),
        at(&cached, 0.5),
        at(&cached, 0.95),
        at(&read, 0.5),
        at(&read, 0.95),
        ERROR.into(),
    ]
}

#[pg_extern(
    schema = "perfmon",
    sql = r#"
CREATE FUNCTION perfmon.errors_since_start() RETURNS TABLE (
    database_name text,
    user_name text,
    queryid bigint,
    rest bool,
    class text,
    sqlstate text,
    errors bigint,
    lost_ms float8,
    last_at timestamptz
) LANGUAGE c VOLATILE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', '@FUNCTION_NAME@';
"#
)]
fn errors_since_start(fcinfo: pg_sys::FunctionCallInfo) -> Result<(), ErrorReport> {
    let mut sink = Sink::open(fcinfo);
    let here = execution::database();
    let mut counted = live::failures(None).ok_or_else(not_preloaded)?;
    notice_if_hidden()?;
    // Connections that were refused belong to no database yet.
    counted.retain(|c| c.key.database() == here || c.key.database() == 0);
    let users = Users::of(counted.iter().map(|c| &c.key))?;
    let database = query::value("SELECT pg_catalog.current_database()::pg_catalog.text", &[])?;
    counted.sort_by_key(|c| std::cmp::Reverse(c.count));
    for c in &counted {
        sink.put(failure_row(c, &users, &database))?;
    }
    Ok(())
}

#[allow(clippy::cast_precision_loss)]
fn failure_row(c: &failure::Counted, users: &Users, database: &Cell) -> [Cell; 9] {
    let (class, state) = failure::of_kind(c.key.kind);
    // Of a refused connection the database stands in place of a statement.
    let key = match failure::refusal_of(c.key.kind) {
        Some(_) => Key { what: 0, ..c.key },
        None => c.key,
    };
    let state = String::from_utf8_lossy(&state.text()).into_owned();
    [
        if c.key.database() == 0 { Cell::Null } else { database.clone() },
        users.name(key),
        users.queryid(key),
        // What came from nobody in particular has neither user nor statement.
        (key.what == 0 && key.user() == 0).into(),
        class.name().into(),
        // Of what found no entry only the class is known.
        Some(state.as_str()).filter(|state| *state != "00000").into(),
        c.count.into(),
        (c.lost_us as f64 / 1000.0).into(),
        Cell::Time(to_unix(c.last_at)),
    ]
}

pub(super) fn not_preloaded() -> Error {
    Error::prerequisite("execution times and errors are not counted")
        .detail("pg_perfmon is not in shared_preload_libraries.")
        .hint("Add it to shared_preload_libraries in postgresql.conf, then restart the server.")
}

/// Users by oid: their names, and whether the caller may know what they executed.
pub(super) struct Users(HashMap<u32, (Cell, bool)>);

impl Users {
    pub(super) fn of<'a>(keys: impl Iterator<Item = &'a Key>) -> Result<Self, Error> {
        let oids: BTreeSet<i64> = keys.map(|key| i64::from(key.user())).collect();
        let oids: Vec<i64> = oids.into_iter().collect();
        let rows = query::rows(
            "SELECT u.oid::pg_catalog.int8, r.rolname::pg_catalog.text,
                 pg_catalog.pg_has_role('pg_read_all_stats'::pg_catalog.name, 'USAGE')
                     OR coalesce(r.rolname OPERATOR(pg_catalog.=) CURRENT_USER, false)
             FROM pg_catalog.unnest($1) AS u (oid)
             LEFT JOIN pg_catalog.pg_roles r ON r.oid OPERATOR(pg_catalog.=) u.oid::pg_catalog.oid",
            &[oids.into()],
        )?;
        let user = |row: Vec<Cell>| {
            let oid = row.first().and_then(Cell::int).and_then(|oid| u32::try_from(oid).ok())?;
            let visible = matches!(row.get(2), Some(Cell::Bool(true)));
            Some((oid, (row.get(1).cloned().unwrap_or(Cell::Null), visible)))
        };
        Ok(Self(rows.into_iter().filter_map(user).collect()))
    }

    /// The name; that of a user who is gone is the oid, as of nobody is none.
    pub(super) fn name(&self, key: Key) -> Cell {
        match self.0.get(&key.user()) {
            Some((Cell::Null, _)) | None if key.user() != 0 => {
                Cell::Text(Raw::from(key.user().to_string().as_str()))
            }
            Some((name, _)) => name.clone(),
            None => Cell::Null,
        }
    }

    /// The statement's identifier, by the rule of pg_stat_statements.
    fn queryid(&self, key: Key) -> Cell {
        self.queryid_of(key, key.what)
    }

    /// The identifier of a statement of a key's user, by the same rule.
    #[allow(clippy::cast_possible_wrap)]
    pub(super) fn queryid_of(&self, key: Key, query_id: u64) -> Cell {
        let visible = self.0.get(&key.user()).is_some_and(|(_, visible)| *visible);
        Some(query_id as i64).filter(|id| *id != 0 && visible).into()
    }
}
