//! What limits connections: settings, databases, roles, and the sizes of pools that people declared. As it is now,
//! whatever the window. It must never judge.

use std::collections::BTreeMap;

use perfmon_core::pool::head::Head;
use perfmon_core::pool::limit::{Declared, Limits, Role, Server};

use super::cell::Cell;
use super::live::{self, Prepared};
use super::query;
use crate::error::Error;
use crate::pg::clock;

/// All of them.
pub(crate) fn limits() -> Result<Limits, Error> {
    Ok(Limits {
        server: server()?,
        databases: databases()?,
        roles: roles()?,
        declared: declared()?,
        // Filled by whoever asks a pooler.
        pooler: Vec::new(),
    })
}

fn number(cell: Option<&Cell>) -> Option<u32> {
    cell.and_then(Cell::int).and_then(|number| u32::try_from(number).ok())
}

fn text(row: &[Cell], at: usize) -> Option<String> {
    row.get(at).and_then(Cell::text)
}

fn is(row: &[Cell], at: usize) -> bool {
    row.get(at) == Some(&Cell::Bool(true))
}

fn server() -> Result<Option<Server>, Error> {
    let row = query::row(
        "SELECT pg_catalog.current_setting('max_connections')::pg_catalog.int8,
             pg_catalog.current_setting('superuser_reserved_connections')::pg_catalog.int8,
             COALESCE(pg_catalog.current_setting('reserved_connections', true)::pg_catalog.int8, 0)",
        &[],
    )?;
    Ok(row.and_then(|row| {
        Some(Server {
            most: number(row.first())?,
            superusers: number(row.get(1))?,
            reserved: number(row.get(2))?,
        })
    }))
}

/// What settings allow, in the order of their names.
pub(crate) fn of_settings(names: &[&str]) -> Result<Vec<Option<u32>>, Error> {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let rows = query::rows(
        "SELECT pg_catalog.current_setting(n.name, true)::pg_catalog.int8
         FROM pg_catalog.unnest($1::pg_catalog.text[]) WITH ORDINALITY AS n (name, place) ORDER BY n.place",
        &[names.into()],
    )?;
    Ok(rows.iter().map(|row| number(row.first())).collect())
}

fn databases() -> Result<Vec<(String, u32)>, Error> {
    let rows = query::rows(
        "SELECT d.datname::pg_catalog.text, d.datconnlimit FROM pg_catalog.pg_database d
         WHERE d.datconnlimit OPERATOR(pg_catalog.>=) 0",
        &[],
    )?;
    Ok(rows.iter().filter_map(|row| Some((text(row, 0)?, number(row.get(1))?))).collect())
}

/// Whoever has the privileges of pg_use_reserved_connections (from 16 on) may use what is reserved for it.
fn roles() -> Result<Vec<Role>, Error> {
    let rows = query::rows(
        "SELECT r.rolname::pg_catalog.text, r.rolconnlimit, r.rolsuper,
             COALESCE(pg_catalog.pg_has_role(r.oid, p.oid, 'USAGE'), false)
         FROM pg_catalog.pg_roles r
         LEFT JOIN pg_catalog.pg_roles p
             ON p.rolname OPERATOR(pg_catalog.=) 'pg_use_reserved_connections'::pg_catalog.name",
        &[],
    )?;
    let role = |row: &Vec<Cell>| {
        Some(Role {
            name: text(row, 0)?,
            limit: number(row.get(1)),
            superuser: is(row, 2),
            reserve: is(row, 3),
        })
    };
    Ok(rows.iter().filter_map(role).collect())
}

fn declared() -> Result<Vec<Declared>, Error> {
    let rows = query::rows(
        "SELECT p.name, p.size, p.database_name, p.user_name, p.application, p.client_address
         FROM perfmon.pool_declared p ORDER BY p.name",
        &[],
    )?;
    let pool = |row: &Vec<Cell>| {
        Some(Declared {
            name: text(row, 0)?,
            size: number(row.get(1))?,
            database: text(row, 2),
            user: text(row, 3),
            application: text(row, 4),
            address: text(row, 5),
        })
    };
    Ok(rows.iter().filter_map(pool).collect())
}

/// The session behind which most others wait for locks now; `None` where nobody waits, or the caller may not see it.
pub(crate) fn lock_head() -> Result<Option<Head>, Error> {
    let row = query::row(
        "WITH RECURSIVE waiting AS MATERIALIZED (
             SELECT a.pid, b.blocker FROM pg_catalog.pg_stat_get_activity(NULL) a,
                 LATERAL pg_catalog.unnest(pg_catalog.pg_blocking_pids(a.pid)) AS b (blocker)
             WHERE a.wait_event_type OPERATOR(pg_catalog.=) 'Lock'
         ), behind (head, pid) AS (
             SELECT w.blocker, w.pid FROM waiting w
             WHERE NOT EXISTS (SELECT 1 FROM waiting o WHERE o.pid OPERATOR(pg_catalog.=) w.blocker)
             UNION
             SELECT h.head, w.pid FROM behind h JOIN waiting w ON w.blocker OPERATOR(pg_catalog.=) h.pid
         )
         SELECT h.head, a.application_name, r.rolname::pg_catalog.text, a.state,
             pg_catalog.max(EXTRACT(EPOCH FROM pg_catalog.clock_timestamp()
                 OPERATOR(pg_catalog.-) a.xact_start)::pg_catalog.float8),
             pg_catalog.count(DISTINCT h.pid)
         FROM behind h
         LEFT JOIN pg_catalog.pg_stat_get_activity(NULL) a ON a.pid OPERATOR(pg_catalog.=) h.head
         LEFT JOIN pg_catalog.pg_roles r ON r.oid OPERATOR(pg_catalog.=) a.usesysid
         GROUP BY 1, 2, 3, 4
         ORDER BY 6 DESC, 1 LIMIT 1",
        &[],
    )?;
    let head = row.and_then(|row| {
        Some(Head {
            pid: row.first()?.int()?,
            gid: None,
            application: text(&row, 1),
            user: text(&row, 2),
            state: text(&row, 3).unwrap_or_else(|| "unknown".to_owned()),
            age_s: row.get(4).and_then(Cell::float),
            // Known only when it is stored.
            statement_id: None,
            since_us: None,
            behind: row.get(5).and_then(Cell::int).unwrap_or(0),
        })
    });
    match head {
        Some(head) if head.pid == 0 => Ok(Some(named(head)?)),
        head => Ok(head),
    }
}

/// A prepared transaction, which has no process, by the one for which most wait.
#[allow(clippy::cast_precision_loss)]
fn named(head: Head) -> Result<Head, Error> {
    let mut waited_for: BTreeMap<String, (usize, Prepared)> = BTreeMap::new();
    for prepared in live::prepared()?.into_values() {
        waited_for.entry(prepared.gid.clone()).or_insert((0, prepared)).0 += 1;
    }
    let most = waited_for.into_values().max_by_key(|(waiting, _)| *waiting);
    Ok(match most {
        Some((_, prepared)) => Head {
            gid: Some(prepared.gid),
            user: Some(prepared.user),
            state: "prepared".to_owned(),
            age_s: Some(clock::wall_us().saturating_sub(prepared.since).max(0) as f64 / 1e6),
            ..head
        },
        None => head,
    })
}
