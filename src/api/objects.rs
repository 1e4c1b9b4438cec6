//! `tables` and `databases`: what was read and written where, and how large it is.

use perfmon_core::family::{DATABASE, RELATION};
use pgrx::pg_sys;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;

use super::args::{Scope, Stamp};
use super::rows::{Cell, Sink};
use crate::recall::objects::{Object, Objects};
use crate::recall::statements::{ms, part, per_s, quality, ratio};

const SIZES: [&str; 3] = ["table_bytes", "toast_bytes", "index_bytes"];
const HIT: [&str; 4] = ["heap_blks_hit", "idx_blks_hit", "toast_blks_hit", "tidx_blks_hit"];
const READ: [&str; 4] = ["heap_blks_read", "idx_blks_read", "toast_blks_read", "tidx_blks_read"];

#[pg_extern(
    schema = "perfmon",
    sql = r#"
CREATE FUNCTION perfmon.tables(
    since timestamptz DEFAULT now() - interval '1 hour',
    until timestamptz DEFAULT now(),
    source bigint DEFAULT NULL
) RETURNS TABLE (
    schema_name text,
    table_name text,
    kind text,
    seq_scan bigint,
    seq_tup_read bigint,
    rows_per_seq_scan float8,
    idx_scan bigint,
    idx_tup_fetch bigint,
    n_tup_ins bigint,
    n_tup_upd bigint,
    n_tup_del bigint,
    n_tup_hot_upd bigint,
    hot_update_ratio float8,
    n_live_tup bigint,
    n_dead_tup bigint,
    dead_ratio float8,
    n_mod_since_analyze bigint,
    vacuum_count bigint,
    autovacuum_count bigint,
    analyze_count bigint,
    autoanalyze_count bigint,
    blks_read bigint,
    blks_hit bigint,
    cache_hit_ratio float8,
    table_bytes bigint,
    toast_bytes bigint,
    index_bytes bigint,
    total_bytes bigint,
    growth_bytes bigint,
    quality text
) LANGUAGE c STABLE PARALLEL RESTRICTED ROWS 200 AS 'MODULE_PATHNAME', '@FUNCTION_NAME@';
"#
)]
fn tables(
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
    for table in Objects::of(&RELATION, &scope)?.iter() {
        sink.put(table_cells(&table))?;
    }
    Ok(())
}

fn table_cells(t: &Object<'_>) -> [Cell; 30] {
    let v = |name: &str| t.v(name);
    let (read, hit) = (t.all_of(&READ), t.all_of(&HIT));
    [
        t.names[0].clone(),
        t.names[1].clone(),
        t.names[2].clone(),
        v("seq_scan").into(),
        v("seq_tup_read").into(),
        ratio(v("seq_tup_read"), v("seq_scan")).into(),
        v("idx_scan").into(),
        v("idx_tup_fetch").into(),
        v("n_tup_ins").into(),
        v("n_tup_upd").into(),
        v("n_tup_del").into(),
        v("n_tup_hot_upd").into(),
        ratio(v("n_tup_hot_upd"), v("n_tup_upd")).into(),
        v("n_live_tup").into(),
        v("n_dead_tup").into(),
        part(v("n_dead_tup"), v("n_live_tup")).into(),
        v("n_mod_since_analyze").into(),
        v("vacuum_count").into(),
        v("autovacuum_count").into(),
        v("analyze_count").into(),
        v("autoanalyze_count").into(),
        read.into(),
        hit.into(),
        part(hit, read).into(),
        v("table_bytes").into(),
        v("toast_bytes").into(),
        v("index_bytes").into(),
        t.all_of(&SIZES).into(),
        t.growth(&SIZES).into(),
        quality(v("quality")),
    ]
}

#[pg_extern(
    schema = "perfmon",
    sql = r#"
CREATE FUNCTION perfmon.databases(
    since timestamptz DEFAULT now() - interval '1 hour',
    until timestamptz DEFAULT now(),
    source bigint DEFAULT NULL
) RETURNS TABLE (
    database_name text,
    database_bytes bigint,
    growth_bytes bigint,
    tps float8,
    xact_commit bigint,
    xact_rollback bigint,
    rollback_ratio float8,
    deadlocks bigint,
    deadlock_ratio float8,
    tup_returned bigint,
    tup_fetched bigint,
    tup_inserted bigint,
    tup_updated bigint,
    tup_deleted bigint,
    blks_read bigint,
    blks_hit bigint,
    cache_hit_ratio float8,
    blk_read_ms float8,
    blk_write_ms float8,
    temp_files bigint,
    temp_bytes bigint,
    conflicts bigint,
    checksum_failures bigint,
    session_ms float8,
    active_ms float8,
    active_ratio float8,
    idle_in_transaction_ms float8,
    sessions bigint,
    sessions_abandoned bigint,
    sessions_fatal bigint,
    sessions_killed bigint,
    backends bigint,
    quality text
) LANGUAGE c STABLE PARALLEL RESTRICTED ROWS 20 AS 'MODULE_PATHNAME', '@FUNCTION_NAME@';
"#
)]
fn databases(
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
    let databases = Objects::of(&DATABASE, &scope)?;
    for database in databases.iter() {
        sink.put(database_cells(&database))?;
    }
    Ok(())
}

fn database_cells(d: &Object<'_>) -> [Cell; 33] {
    let v = |name: &str| d.v(name);
    let covered_us = d.covered_us();
    let transactions = d.all_of(&["xact_commit", "xact_rollback"]);
    [
        d.names[1].clone(),
        v("database_bytes").into(),
        d.growth(&["database_bytes"]).into(),
        per_s(transactions, covered_us).into(),
        v("xact_commit").into(),
        v("xact_rollback").into(),
        ratio(v("xact_rollback"), transactions).into(),
        v("deadlocks").into(),
        ratio(v("deadlocks"), transactions).into(),
        v("tup_returned").into(),
        v("tup_fetched").into(),
        v("tup_inserted").into(),
        v("tup_updated").into(),
        v("tup_deleted").into(),
        v("blks_read").into(),
        v("blks_hit").into(),
        part(v("blks_hit"), v("blks_read")).into(),
        ms(v("blk_read_us")).into(),
        ms(v("blk_write_us")).into(),
        v("temp_files").into(),
        v("temp_bytes").into(),
        v("conflicts").into(),
        v("checksum_failures").into(),
        ms(v("session_us")).into(),
        ms(v("active_us")).into(),
        per_s(v("active_us"), covered_us).map(|us| us / 1e6).into(),
        ms(v("idle_in_transaction_us")).into(),
        v("sessions").into(),
        v("sessions_abandoned").into(),
        v("sessions_fatal").into(),
        v("sessions_killed").into(),
        v("numbackends").into(),
        quality(v("quality")),
    ]
}
