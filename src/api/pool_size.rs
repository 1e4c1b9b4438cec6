//! `pool_size_advice`: how large pools need be. And the sizes that people declare.

use perfmon_core::pool::advice::Advice;
use perfmon_core::pool::limit::Declared;
use perfmon_core::pool::{Group, Look, hides};
use perfmon_core::threshold::Thresholds;
use pgrx::pg_sys;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;

use super::args::Stamp;
use super::rows::{Cell, Sink};
use super::saturation::{known, named};
use crate::error::Error;
use crate::recall::words::Raw;
use crate::{judge, store, worker};

#[pg_extern(
    schema = "perfmon",
    sql = r#"
CREATE FUNCTION perfmon.pool_size_advice(
    since timestamptz DEFAULT now() - interval '1 hour',
    until timestamptz DEFAULT now(),
    source bigint DEFAULT NULL
) RETURNS TABLE (
    level text,
    database_name text,
    user_name text,
    application text,
    client_address text,
    monitoring bool,
    advised_size int,
    current_size int,
    current_size_from text,
    over_provision_factor float8,
    connections_freed int,
    change text,
    terms text,
    open_avg float8,
    open_peak int,
    busy_avg float8,
    busy_p99 float8,
    busy_peak int,
    busy_load float8,
    margin float8,
    limited_by_cpus bool,
    transactions_per_s float8,
    transaction_ms float8,
    little_busy_avg float8,
    little_ratio float8,
    quality text,
    samples bigint
) LANGUAGE c STABLE PARALLEL UNSAFE ROWS 20 AS 'MODULE_PATHNAME', '@FUNCTION_NAME@';
"#
)]
fn pool_size_advice(
    since: Stamp,
    until: Stamp,
    source: Option<i64>,
    fcinfo: pg_sys::FunctionCallInfo,
) -> Result<(), ErrorReport> {
    let mut sink = Sink::open(fcinfo);
    let Some(pools) = known(since, until, source)? else { return Ok(()) };
    let thresholds = judge::thresholds();
    for group in pools.window.groups.iter().filter(|group| group.open.average.is_some()) {
        sink.put_all(cells(&pools.window, group, &thresholds))?;
    }
    Ok(())
}

fn cells(look: &Look, group: &Group, thresholds: &Thresholds) -> Vec<Cell> {
    let advice = look.advice(group, thresholds);
    let advice = advice.as_ref();
    let counted = look.sessions_for(&group.whose).and_then(|found| found.counted());
    let sampled = look.sampled_busy(&group.whose).filter(|busy| *busy > 0.0);
    let little = counted.as_ref().zip(sampled).map(|(counted, busy)| counted.busy() / busy);
    let quality = match advice {
        None if hides(group.hidden, group.open.average) => "states are hidden",
        None => "too few samples",
        Some(Advice { doubtful: true, .. }) => "doubtful",
        Some(_) => "good",
    };
    let mut cells: Vec<Cell> = named(&group.whose).into();
    cells.extend([
        advice.map(|advice| advice.size).into(),
        advice.map(|advice| advice.current).into(),
        advice.map(|advice| advice.current_from).into(),
        advice.map(|advice| advice.factor).into(),
        advice.map(|advice| advice.frees).into(),
        advice.map(|advice| advice.change(group)).as_deref().into(),
        advice.map(Advice::terms).as_deref().into(),
        group.while_there(group.open.average).into(),
        group.open.peak.into(),
        group.while_there(group.busy.average).into(),
        group.busy_there_p99().into(),
        group.busy.peak.into(),
        advice.map(|advice| advice.load).into(),
        advice.map(|advice| advice.margin).into(),
        advice.map(|advice| advice.by_cpus).into(),
        counted.map(|counted| counted.transactions_per_s).into(),
        counted.map(|counted| counted.transaction_ms).into(),
        counted.map(|counted| counted.busy()).into(),
        little.into(),
        quality.into(),
        group.there.into(),
    ]);
    cells
}

#[pg_extern(
    schema = "perfmon",
    sql = r#"
CREATE FUNCTION perfmon.declare_pool(
    name text,
    size int,
    database text DEFAULT NULL,
    username text DEFAULT NULL,
    application text DEFAULT NULL,
    client_address text DEFAULT NULL,
    note text DEFAULT NULL
) RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', '@FUNCTION_NAME@';
"#
)]
fn declare_pool(
    name: Option<Vec<u8>>,
    size: Option<i32>,
    database: Option<Vec<u8>>,
    username: Option<Vec<u8>>,
    application: Option<Vec<u8>>,
    client_address: Option<Vec<u8>>,
    note: Option<Vec<u8>>,
) -> Result<(), ErrorReport> {
    let text = |bytes: Vec<u8>| Raw(bytes).show();
    let name = name.map(text).filter(|name| !name.is_empty());
    let Some(name) = name else {
        let wrong = Error::argument("a pool needs a name");
        return Err(wrong
            .hint("For example: perfmon.declare_pool('shop', 20, username => 'shop').")
            .into());
    };
    let Some(size) = size.and_then(|size| u32::try_from(size).ok()).filter(|size| *size > 0) else {
        return Err(Error::argument("the size of a pool must be at least 1")
            .hint("It is the most connections that the pool may open.")
            .into());
    };
    let pool = Declared {
        name,
        size,
        database: database.map(text),
        user: username.map(text),
        application: application.map(text),
        address: client_address.map(text),
    };
    if [&pool.database, &pool.user, &pool.application, &pool.address].iter().all(|p| p.is_none()) {
        return Err(Error::argument("whose pool it is must be said")
            .detail("Database, username, application and client_address are all NULL.")
            .hint("Name at least one of them; those that are NULL match any.")
            .into());
    }
    worker::status::must_be_home("a pool")?;
    let note = note.map(text);
    let written = worker::mark::as_owner("a pool", "declared", |_, now| {
        store::pool::insert(now, &pool, note.as_deref())
    });
    if written {
        return Ok(());
    }
    Err(Error::duplicate(format!("pool \"{}\" is declared already", pool.name))
        .detail("The name of a pool is unique in a database.")
        .hint("Drop it first: SELECT perfmon.drop_pool(name).")
        .into())
}

#[pg_extern(
    schema = "perfmon",
    sql = r#"
CREATE FUNCTION perfmon.drop_pool(name text) RETURNS void
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', '@FUNCTION_NAME@';
"#
)]
fn drop_pool(name: Option<Vec<u8>>) -> Result<(), ErrorReport> {
    let name = name.map(|bytes| Raw(bytes).show()).unwrap_or_default();
    if worker::mark::as_owner("a pool", "dropped", |_, _| store::pool::delete(&name)) {
        return Ok(());
    }
    Err(Error::undefined(format!("there is no declared pool \"{name}\""))
        .detail("Names are compared as they are written.")
        .hint("SELECT name FROM perfmon.pool_declared lists them; perfmon.declare_pool() declares one.")
        .into())
}
