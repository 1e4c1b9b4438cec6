//! `pooler_pools` and `pooler_clients`: what PgBouncer says of its pools and clients; and the wrapper's validator.

use std::collections::HashMap;

use perfmon_core::family::POOLER;
use perfmon_core::pooler::{Client, Seen, ServerLink, check_mapping, check_server};
use pgrx::pg_sys;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;

use super::args::{Scope, Stamp};
use super::history::{Naming, put_history};
use super::rows::{Cell, Sink};
use crate::error::Error;
use crate::judge;
use crate::pg::catalog;
use crate::probe::pooler;
use crate::recall::query;

#[pg_extern(
    schema = "perfmon",
    sql = r#"
CREATE FUNCTION perfmon.pgbouncer_validator(text[], oid) RETURNS void
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', '@FUNCTION_NAME@';

CREATE FOREIGN DATA WRAPPER pg_perfmon_pgbouncer NO HANDLER VALIDATOR perfmon.pgbouncer_validator;
"#
)]
fn pgbouncer_validator(options: Vec<String>, catalog: pg_sys::Oid) -> Result<(), ErrorReport> {
    let options: Vec<(String, String)> = options
        .iter()
        .map(|option| option.split_once('=').unwrap_or((option, "")))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let checked = match catalog {
        pg_sys::ForeignServerRelationId => check_server(&options).map(|doubt| {
            if let Some(doubt) = doubt {
                ErrorReport::new(PgSqlErrorCode::ERRCODE_WARNING, doubt.problem, "pg_perfmon")
                    .set_hint(doubt.hint)
                    .report(PgLogLevel::WARNING);
            }
        }),
        pg_sys::UserMappingRelationId => check_mapping(&options),
        _ => match options.first() {
            Some((name, _)) => {
                return Err(Error::argument(format!("invalid option \"{name}\""))
                    .hint("The wrapper itself has no options.")
                    .into());
            }
            None => Ok(()),
        },
    };
    checked.map_err(|refused| Error::argument(refused.problem).hint(refused.hint).into())
}

#[pg_extern(
    schema = "perfmon",
    sql = r#"
CREATE FUNCTION perfmon.pooler_pools(
    since timestamptz DEFAULT now() - interval '1 hour',
    until timestamptz DEFAULT now(),
    source bigint DEFAULT NULL
) RETURNS TABLE (
    pooler text,
    database_name text,
    user_name text,
    answered_ratio float8,
    clients_active float8,
    clients_waiting float8,
    clients_waiting_peak bigint,
    max_wait_ms float8,
    servers_active float8,
    servers_idle float8,
    servers float8,
    servers_peak bigint,
    pool_size float8,
    used_peak_ratio float8,
    transactions_per_s float8,
    queries_per_s float8,
    mean_transaction_ms float8,
    mean_query_ms float8,
    mean_wait_ms float8
) LANGUAGE c STABLE PARALLEL RESTRICTED ROWS 100 AS 'MODULE_PATHNAME', '@FUNCTION_NAME@';
"#
)]
fn pooler_pools(
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
    for (names, seen) in crate::recall::pooler::over(&scope)? {
        sink.put(pool_row(&names, &seen))?;
    }
    Ok(())
}

#[allow(clippy::cast_precision_loss)]
fn pool_row(names: &[String; 3], seen: &Seen) -> [Cell; 19] {
    let name = |i: usize| Some(names[i].as_str()).filter(|name| !name.is_empty()).into();
    let asked = seen.of("asked");
    let answered = (asked > 0).then(|| seen.of("answered") as f64 / asked as f64);
    let size = seen.pool_size();
    let peak = seen.peak("servers_peak");
    // Waits are counted only where the console tells them.
    let waits = seen.waiting().and_then(|_| seen.mean_ms("wait_us", "transactions"));
    [
        name(0),
        name(1),
        name(2),
        answered.into(),
        seen.average("clients_active").into(),
        seen.average("clients_waiting").or(seen.waiting()).into(),
        seen.peak("clients_waiting_peak").into(),
        seen.peak("max_wait_us").map(|us| us as f64 / 1000.0).into(),
        seen.average("servers_active").into(),
        seen.average("servers_idle").into(),
        seen.average("servers").into(),
        peak.into(),
        size.into(),
        peak.zip(size).map(|(peak, size)| peak as f64 / size).into(),
        seen.per_s("transactions").into(),
        seen.per_s("queries").into(),
        seen.mean_ms("transaction_us", "transactions").into(),
        seen.mean_ms("query_us", "queries").into(),
        waits.into(),
    ]
}

#[pg_extern(
    schema = "perfmon",
    sql = r#"
CREATE FUNCTION perfmon.pooler_clients() RETURNS TABLE (
    pooler text,
    database_name text,
    user_name text,
    state text,
    client_addr text,
    client_port int,
    application_name text,
    wait_ms float8,
    server_pid int,
    backend_state text,
    transaction_ms float8,
    pins_server bool,
    problem text
) LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 100 AS 'MODULE_PATHNAME', '@FUNCTION_NAME@';
"#
)]
fn pooler_clients(fcinfo: pg_sys::FunctionCallInfo) -> Result<(), ErrorReport> {
    let mut sink = Sink::open(fcinfo);
    let Some(owner) = catalog::extension(c"pg_perfmon").and_then(catalog::extension_owner) else {
        return Ok(());
    };
    let named = pooler::named(owner);
    if named.is_empty() {
        return Ok(());
    }
    let sees_all = judge::may_read_texts()?;
    let backends = backends()?;
    for one in named {
        let links = one.target.and_then(|target| pooler::links(&target));
        match links {
            Ok((clients, servers)) => {
                for client in &clients {
                    let row = client_row(&one.name, client, &servers, &backends, sees_all);
                    sink.put(row)?;
                }
            }
            Err(problem) => {
                let mut row = vec![Cell::from(one.name.as_str())];
                row.resize(12, Cell::Null);
                row.push(problem.as_str().into());
                sink.put_all(row)?;
            }
        }
    }
    Ok(())
}

/// A backend of this server.
struct Backend {
    database: Option<String>,
    state: Cell,
    transaction_ms: Cell,
    client_port: Option<i64>,
}

/// Backends of clients by their process ids. What the caller may not see is NULL, as in pg_stat_activity.
fn backends() -> Result<HashMap<u64, Backend>, Error> {
    let rows = query::rows(
        "SELECT a.pid::pg_catalog.int8, d.datname::pg_catalog.text, a.state,
             EXTRACT(EPOCH FROM pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-) a.xact_start)::pg_catalog.float8
                 OPERATOR(pg_catalog.*) 1000::pg_catalog.float8,
             a.client_port::pg_catalog.int8
         FROM pg_catalog.pg_stat_get_activity(NULL) a
         JOIN pg_catalog.pg_database d ON d.oid OPERATOR(pg_catalog.=) a.datid
         WHERE a.backend_type OPERATOR(pg_catalog.=) 'client backend'",
        &[],
    )?;
    let backend = |row: Vec<Cell>| {
        let at = |i: usize| row.get(i).cloned().unwrap_or(Cell::Null);
        let pid = u64::try_from(at(0).int()?).ok()?;
        let port = at(4).int().filter(|port| *port > 0);
        let backend = Backend {
            database: at(1).text(),
            state: at(2),
            transaction_ms: at(3),
            client_port: port,
        };
        Some((pid, backend))
    };
    Ok(rows.into_iter().filter_map(backend).collect())
}

/// The backend behind a server connection, if it is one of this server: process ids of others mean nothing here.
fn behind<'a>(
    server: &ServerLink,
    backends: &'a HashMap<u64, Backend>,
) -> Option<(u64, &'a Backend)> {
    let own_port = u64::try_from(catalog::own_port()).ok()?;
    if server.port != Some(own_port) {
        return None;
    }
    let pid = server.pid?;
    let backend = backends.get(&pid)?;
    let over_tcp = server.address.as_deref().is_some_and(|address| address != "unix");
    // A TCP connection is told by its own port on both sides.
    let same = backend
        .client_port
        .is_none_or(|port| !over_tcp || u64::try_from(port).ok() == server.local_port);
    same.then_some((pid, backend))
}

#[allow(clippy::cast_precision_loss)]
fn client_row(
    pooler: &str,
    client: &Client,
    servers: &[ServerLink],
    backends: &HashMap<u64, Backend>,
    sees_all: bool,
) -> [Cell; 13] {
    let linked = |server: &&ServerLink| {
        let by_client = client.link.is_some() && client.link == server.pointer;
        by_client || (server.link.is_some() && server.link == client.pointer)
    };
    let server = servers.iter().find(linked);
    let backend = server.and_then(|server| behind(server, backends));
    let text = |value: &Option<String>| Cell::from(value.as_deref());
    // As pg_stat_activity does: who a client is, not everybody may see.
    let hidden = |cell: Cell| if sees_all { cell } else { Cell::Null };
    let idle = backend.and_then(|(_, backend)| backend.state.text());
    let pins = idle.map(|state| state.starts_with("idle in transaction"));
    let database = backend.and_then(|(_, backend)| backend.database.as_deref());
    [
        pooler.into(),
        client.database.as_deref().or(database).into(),
        text(&client.user),
        text(&client.state),
        hidden(text(&client.address)),
        hidden(client.port.into()),
        hidden(text(&client.application)),
        client.wait_us.map(|us| us as f64 / 1000.0).into(),
        backend.map(|(pid, _)| pid).into(),
        backend.map_or(Cell::Null, |(_, backend)| backend.state.clone()),
        backend.map_or(Cell::Null, |(_, backend)| backend.transaction_ms.clone()),
        pins.into(),
        Cell::Null,
    ]
}

#[pg_extern(
    schema = "perfmon",
    sql = r#"
CREATE FUNCTION perfmon.pooler_history(
    since timestamptz DEFAULT now() - interval '1 hour',
    until timestamptz DEFAULT now(),
    source bigint DEFAULT NULL
) RETURNS TABLE (
    "time" timestamptz,
    time_end timestamptz,
    length_ms float8,
    pooler_id int,
    pooler text,
    database_name text,
    user_name text,
    quality text,
    asked bigint,
    answered bigint,
    skipped bigint,
    samples bigint,
    clients_active bigint,
    clients_waiting bigint,
    clients_waiting_peak bigint,
    max_wait_ms float8,
    servers_active bigint,
    servers_idle bigint,
    servers bigint,
    servers_peak bigint,
    pool_size bigint,
    watched_ms float8,
    wait_watched_ms float8,
    transactions bigint,
    queries bigint,
    transaction_ms float8,
    query_ms float8,
    wait_ms float8,
    received_bytes bigint,
    sent_bytes bigint,
    from_source bigint
) LANGUAGE c STABLE PARALLEL RESTRICTED ROWS 1000 AS 'MODULE_PATHNAME', '@FUNCTION_NAME@';
"#
)]
fn pooler_history(
    since: Stamp,
    until: Stamp,
    source: Option<i64>,
    fcinfo: pg_sys::FunctionCallInfo,
) -> Result<(), ErrorReport> {
    let naming = Naming { id: true, names: &[0, 1, 2] };
    Ok(put_history(&POOLER, naming, (since, until, source), fcinfo)?)
}
