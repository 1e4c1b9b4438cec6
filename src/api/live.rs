//! `blocking_now`, `long_transactions` and `xmin_horizon`: sessions as they are now, with or without preloading.

use perfmon_core::detect::server::horizon;
use perfmon_core::facts::HolderKind;
use pgrx::datum::Interval;
use pgrx::pg_sys;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;

use super::rows::{Cell, Sink};
use crate::error::Error;
use crate::recall::live;

#[pg_extern(
    schema = "perfmon",
    sql = r#"
CREATE FUNCTION perfmon.blocking_now() RETURNS TABLE (
    process_id int,
    waited_ms float8,
    database_name text,
    user_name text,
    application text,
    query text,
    lock_type text,
    lock_mode text,
    relation_name text,
    blocker_process_id int,
    blocker_user_name text,
    blocker_application text,
    blocker_state text,
    blocker_query text,
    head_process_id int,
    head_user_name text,
    head_application text,
    head_state text,
    head_transaction_ms float8,
    head_query text,
    chain_depth int,
    blocker_gid text,
    head_gid text
) LANGUAGE c VOLATILE PARALLEL RESTRICTED ROWS 20 AS 'MODULE_PATHNAME', '@FUNCTION_NAME@';
"#
)]
fn blocking_now(fcinfo: pg_sys::FunctionCallInfo) -> Result<(), ErrorReport> {
    let mut sink = Sink::open(fcinfo);
    for row in live::blocking()? {
        sink.put_all(row)?;
    }
    Ok(())
}

#[pg_extern(
    schema = "perfmon",
    sql = r#"
CREATE FUNCTION perfmon.long_transactions(longer_than interval DEFAULT '1 minute') RETURNS TABLE (
    process_id int,
    backend_type text,
    database_name text,
    user_name text,
    application text,
    client_address text,
    state text,
    transaction_ms float8,
    state_ms float8,
    wait_class text,
    wait_event text,
    queryid bigint,
    query text,
    xid_age bigint,
    xmin_age bigint,
    sessions_waiting bigint
) LANGUAGE c VOLATILE PARALLEL RESTRICTED ROWS 20 AS 'MODULE_PATHNAME', '@FUNCTION_NAME@';
"#
)]
fn long_transactions(
    longer_than: Option<Interval>,
    fcinfo: pg_sys::FunctionCallInfo,
) -> Result<(), ErrorReport> {
    let mut sink = Sink::open(fcinfo);
    let seconds = longer_than.map_or(-1.0, |span| {
        let days = f64::from(span.months()) * 30.0 + f64::from(span.days());
        #[allow(clippy::cast_precision_loss)]
        let seconds = span.micros() as f64 / 1e6;
        days * 86_400.0 + seconds
    });
    if seconds < 0.0 {
        let wrong = Error::argument("longer_than must not be NULL or negative");
        return Err(wrong
            .detail("It is how long a transaction has been open at least; zero shows all.")
            .hint("For example: long_transactions('5 minutes').")
            .into());
    }
    for row in live::long_transactions(seconds)? {
        sink.put_all(row)?;
    }
    Ok(())
}

#[pg_extern(
    schema = "perfmon",
    sql = r#"
CREATE FUNCTION perfmon.xmin_horizon() RETURNS TABLE (
    rank int,
    kind text,
    name text,
    process_id int,
    database_name text,
    user_name text,
    application text,
    state text,
    xmin_age bigint,
    age_ms float8,
    keeps text,
    remedy text
) LANGUAGE c VOLATILE PARALLEL RESTRICTED ROWS 20 AS 'MODULE_PATHNAME', '@FUNCTION_NAME@';
"#
)]
fn xmin_horizon(fcinfo: pg_sys::FunctionCallInfo) -> Result<(), ErrorReport> {
    let mut sink = Sink::open(fcinfo);
    for (rank, row) in (1_i64..).zip(live::xmin_horizon()?) {
        let kind = row.first().and_then(Cell::text).unwrap_or_default();
        let remedy = horizon::remedy(match kind.as_str() {
            "replication slot" => HolderKind::Slot,
            "standby" => HolderKind::Standby,
            "prepared transaction" => HolderKind::Prepared,
            "idle transaction" => HolderKind::Idle,
            _ => HolderKind::Active,
        });
        sink.put_all([rank.into()].into_iter().chain(row).chain([remedy.into()]))?;
    }
    Ok(())
}
