//! The plain rows of history: one per interval and object, in plain units, so that nobody has to know
//! how they are packed. All families go through one mechanism; what differs is only what names an object.

use perfmon_core::family::{self, Family};
use perfmon_core::host::SAMPLED;
use pgrx::pg_sys;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;

use super::args::{Scope, Stamp};
use super::past::notice_of_rows;
use super::rows::{Cell, Sink};
use crate::error::Error;
use crate::recall::names;
use crate::recall::plan::Kept;
use crate::recall::statements::{ms, quality};
use crate::store::read;
use perfmon_core::window::Level;

/// Which of an object's three names are shown; the id comes first where there is one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Naming {
    pub(super) id: bool,
    pub(super) names: &'static [usize],
}

/// Puts all rows of a family in the window into the result of the call.
pub(super) fn put_history(
    family: &Family,
    naming: Naming,
    window: (Stamp, Stamp, Option<i64>),
    fcinfo: pg_sys::FunctionCallInfo,
) -> Result<(), Error> {
    let scope = Scope::check(window.0, window.1, window.2)?;
    let mut sink = Sink::open(fcinfo);
    if !scope.has_history_or_notice()? {
        return Ok(());
    }
    notice_of_rows(family, &scope)?;
    let kept = Kept::of(family, &scope);
    let segments = kept.segments(&scope, Level::Minute);
    let named = match naming.names {
        [] => std::collections::HashMap::new(),
        _ => names::objects(family.name, &scope.sources)?,
    };
    let columns: Vec<usize> = (0..family.columns.len()).collect();
    let mut result = Ok(());
    read::frames(&scope.sources, family, &segments, &columns, &mut |row| {
        for (place, id) in row.ids.iter().enumerate() {
            if result.is_err() {
                return;
            }
            let span = row.head.span;
            let length = ms(u64::try_from(span.length_us).ok());
            let mut cells: Vec<Cell> = Vec::with_capacity(columns.len() + 8);
            cells.extend([Cell::Time(span.since), Cell::Time(span.until), length.into()]);
            let object = family.object_of(*id);
            if naming.id {
                cells.push(object.into());
            }
            let names = named.get(&(row.head.source, object));
            for name in naming.names {
                cells.push(names.map_or(Cell::Null, |names| names[*name].clone()));
            }
            for (index, column) in family.columns.iter().enumerate() {
                let zero = row.head.is_known(index).then_some(0);
                let value = row.column(index).map_or(zero, |v| v.get(place).copied());
                let is_state = column.merge == family::Merge::Last;
                let value = value.filter(|value| !(is_state && *value == family::UNKNOWN));
                let value =
                    if SAMPLED.contains(&column.name) { mean(value, &row, place) } else { value };
                cells.push(plain(column.name, value));
            }
            if family.has_places() || family.name == family::CLUSTER.name {
                cells.push((*id & 255).into());
            }
            cells.push(row.head.source.into());
            result = sink.put_all(cells);
        }
    });
    result
}

/// Gauges that were added up once for each sample, as an average; `samples` counts them, in the first column.
fn mean(sum: Option<u64>, row: &read::Row<'_>, place: usize) -> Option<u64> {
    let samples = row.column(1)?.get(place).copied().filter(|samples| *samples > 0)?;
    sum.map(|sum| sum / samples)
}

/// A counter in the unit in which it is shown.
#[allow(clippy::cast_precision_loss)]
fn plain(name: &str, value: Option<u64>) -> Cell {
    match name {
        "quality" => quality(value),
        // Thousands of square microseconds.
        "exec_sq" => value.map(|v| v as f64 / 1000.0).into(),
        _ if name.ends_with("_ppm") => value.map(|v| v as f64 / 1e6).into(),
        _ if name.ends_with("_milli") => value.map(|v| v as f64 / 1e3).into(),
        _ if name.ends_with("_us") => ms(value).into(),
        _ => value.into(),
    }
}

#[pg_extern(
    schema = "perfmon",
    sql = r#"
CREATE FUNCTION perfmon.statement_history(
    since timestamptz DEFAULT now() - interval '1 hour',
    until timestamptz DEFAULT now(),
    source bigint DEFAULT NULL
) RETURNS TABLE (
    "time" timestamptz,
    time_end timestamptz,
    length_ms float8,
    statement_id int,
    quality text,
    calls bigint,
    total_exec_ms float8,
    exec_sq_ms2 float8,
    rows bigint,
    plans bigint,
    total_plan_ms float8,
    shared_blks_hit bigint,
    shared_blks_read bigint,
    shared_blks_dirtied bigint,
    shared_blks_written bigint,
    local_blks_hit bigint,
    local_blks_read bigint,
    local_blks_dirtied bigint,
    local_blks_written bigint,
    temp_blks_read bigint,
    temp_blks_written bigint,
    shared_blk_read_ms float8,
    shared_blk_write_ms float8,
    local_blk_read_ms float8,
    local_blk_write_ms float8,
    temp_blk_read_ms float8,
    temp_blk_write_ms float8,
    wal_records bigint,
    wal_fpi bigint,
    wal_bytes bigint,
    wal_buffers_full bigint,
    jit_functions bigint,
    jit_generation_ms float8,
    jit_inlining_count bigint,
    jit_inlining_ms float8,
    jit_optimization_count bigint,
    jit_optimization_ms float8,
    jit_emission_count bigint,
    jit_emission_ms float8,
    jit_deform_count bigint,
    jit_deform_ms float8,
    parallel_workers_to_launch bigint,
    parallel_workers_launched bigint,
    from_source bigint
) LANGUAGE c STABLE PARALLEL RESTRICTED ROWS 10000 AS 'MODULE_PATHNAME', '@FUNCTION_NAME@';
"#
)]
fn statement_history(
    since: Stamp,
    until: Stamp,
    source: Option<i64>,
    fcinfo: pg_sys::FunctionCallInfo,
) -> Result<(), ErrorReport> {
    let naming = Naming { id: true, names: &[] };
    Ok(put_history(&family::STATEMENT, naming, (since, until, source), fcinfo)?)
}

#[pg_extern(
    schema = "perfmon",
    sql = r#"
CREATE FUNCTION perfmon.relation_history(
    since timestamptz DEFAULT now() - interval '1 hour',
    until timestamptz DEFAULT now(),
    source bigint DEFAULT NULL
) RETURNS TABLE (
    "time" timestamptz,
    time_end timestamptz,
    length_ms float8,
    relation_id int,
    schema_name text,
    table_name text,
    kind text,
    quality text,
    seq_scan bigint,
    seq_tup_read bigint,
    idx_scan bigint,
    idx_tup_fetch bigint,
    n_tup_ins bigint,
    n_tup_upd bigint,
    n_tup_del bigint,
    n_tup_hot_upd bigint,
    n_tup_newpage_upd bigint,
    n_live_tup bigint,
    n_dead_tup bigint,
    n_mod_since_analyze bigint,
    n_ins_since_vacuum bigint,
    vacuum_count bigint,
    autovacuum_count bigint,
    analyze_count bigint,
    autoanalyze_count bigint,
    vacuum_ms float8,
    autovacuum_ms float8,
    analyze_ms float8,
    autoanalyze_ms float8,
    heap_blks_read bigint,
    heap_blks_hit bigint,
    idx_blks_read bigint,
    idx_blks_hit bigint,
    toast_blks_read bigint,
    toast_blks_hit bigint,
    tidx_blks_read bigint,
    tidx_blks_hit bigint,
    table_bytes bigint,
    toast_bytes bigint,
    index_bytes bigint,
    from_source bigint
) LANGUAGE c STABLE PARALLEL RESTRICTED ROWS 10000 AS 'MODULE_PATHNAME', '@FUNCTION_NAME@';
"#
)]
fn relation_history(
    since: Stamp,
    until: Stamp,
    source: Option<i64>,
    fcinfo: pg_sys::FunctionCallInfo,
) -> Result<(), ErrorReport> {
    let naming = Naming { id: true, names: &[0, 1, 2] };
    Ok(put_history(&family::RELATION, naming, (since, until, source), fcinfo)?)
}

#[pg_extern(
    schema = "perfmon",
    sql = r#"
CREATE FUNCTION perfmon.index_history(
    since timestamptz DEFAULT now() - interval '1 hour',
    until timestamptz DEFAULT now(),
    source bigint DEFAULT NULL
) RETURNS TABLE (
    "time" timestamptz,
    time_end timestamptz,
    length_ms float8,
    index_id int,
    schema_name text,
    index_name text,
    table_name text,
    quality text,
    idx_scan bigint,
    idx_tup_read bigint,
    idx_tup_fetch bigint,
    idx_blks_read bigint,
    idx_blks_hit bigint,
    index_bytes bigint,
    from_source bigint
) LANGUAGE c STABLE PARALLEL RESTRICTED ROWS 10000 AS 'MODULE_PATHNAME', '@FUNCTION_NAME@';
"#
)]
fn index_history(
    since: Stamp,
    until: Stamp,
    source: Option<i64>,
    fcinfo: pg_sys::FunctionCallInfo,
) -> Result<(), ErrorReport> {
    let naming = Naming { id: true, names: &[0, 1, 2] };
    Ok(put_history(&family::INDEX, naming, (since, until, source), fcinfo)?)
}

#[pg_extern(
    schema = "perfmon",
    sql = r#"
CREATE FUNCTION perfmon.database_history(
    since timestamptz DEFAULT now() - interval '1 hour',
    until timestamptz DEFAULT now(),
    source bigint DEFAULT NULL
) RETURNS TABLE (
    "time" timestamptz,
    time_end timestamptz,
    length_ms float8,
    database_id int,
    database_name text,
    quality text,
    numbackends bigint,
    xact_commit bigint,
    xact_rollback bigint,
    blks_read bigint,
    blks_hit bigint,
    tup_returned bigint,
    tup_fetched bigint,
    tup_inserted bigint,
    tup_updated bigint,
    tup_deleted bigint,
    conflicts bigint,
    temp_files bigint,
    temp_bytes bigint,
    deadlocks bigint,
    checksum_failures bigint,
    blk_read_ms float8,
    blk_write_ms float8,
    session_ms float8,
    active_ms float8,
    idle_in_transaction_ms float8,
    sessions bigint,
    sessions_abandoned bigint,
    sessions_fatal bigint,
    sessions_killed bigint,
    parallel_workers_to_launch bigint,
    parallel_workers_launched bigint,
    database_bytes bigint,
    from_source bigint
) LANGUAGE c STABLE PARALLEL RESTRICTED ROWS 10000 AS 'MODULE_PATHNAME', '@FUNCTION_NAME@';
"#
)]
fn database_history(
    since: Stamp,
    until: Stamp,
    source: Option<i64>,
    fcinfo: pg_sys::FunctionCallInfo,
) -> Result<(), ErrorReport> {
    let naming = Naming { id: true, names: &[1] };
    Ok(put_history(&family::DATABASE, naming, (since, until, source), fcinfo)?)
}

#[pg_extern(
    schema = "perfmon",
    sql = r#"
CREATE FUNCTION perfmon.io_history(
    since timestamptz DEFAULT now() - interval '1 hour',
    until timestamptz DEFAULT now(),
    source bigint DEFAULT NULL
) RETURNS TABLE (
    "time" timestamptz,
    time_end timestamptz,
    length_ms float8,
    io_id int,
    backend_type text,
    object text,
    context text,
    quality text,
    reads bigint,
    read_bytes bigint,
    read_ms float8,
    writes bigint,
    write_bytes bigint,
    write_ms float8,
    writebacks bigint,
    writeback_ms float8,
    extends bigint,
    extend_bytes bigint,
    extend_ms float8,
    hits bigint,
    evictions bigint,
    reuses bigint,
    fsyncs bigint,
    fsync_ms float8,
    from_source bigint
) LANGUAGE c STABLE PARALLEL RESTRICTED ROWS 10000 AS 'MODULE_PATHNAME', '@FUNCTION_NAME@';
"#
)]
fn io_history(
    since: Stamp,
    until: Stamp,
    source: Option<i64>,
    fcinfo: pg_sys::FunctionCallInfo,
) -> Result<(), ErrorReport> {
    let naming = Naming { id: true, names: &[0, 1, 2] };
    Ok(put_history(&family::IO, naming, (since, until, source), fcinfo)?)
}

#[pg_extern(
    schema = "perfmon",
    sql = r#"
CREATE FUNCTION perfmon.failure_history(
    since timestamptz DEFAULT now() - interval '1 hour',
    until timestamptz DEFAULT now(),
    source bigint DEFAULT NULL
) RETURNS TABLE (
    "time" timestamptz,
    time_end timestamptz,
    length_ms float8,
    failure_id int,
    user_name text,
    object text,
    kind text,
    quality text,
    failures bigint,
    lost_ms float8,
    last_s bigint,
    from_source bigint
) LANGUAGE c STABLE PARALLEL RESTRICTED ROWS 1000 AS 'MODULE_PATHNAME', '@FUNCTION_NAME@';
"#
)]
fn failure_history(
    since: Stamp,
    until: Stamp,
    source: Option<i64>,
    fcinfo: pg_sys::FunctionCallInfo,
) -> Result<(), ErrorReport> {
    let naming = Naming { id: true, names: &[0, 1, 2] };
    Ok(put_history(&family::FAILURE, naming, (since, until, source), fcinfo)?)
}

#[pg_extern(
    schema = "perfmon",
    sql = r#"
CREATE FUNCTION perfmon.route_history(
    since timestamptz DEFAULT now() - interval '1 hour',
    until timestamptz DEFAULT now(),
    source bigint DEFAULT NULL
) RETURNS TABLE (
    "time" timestamptz,
    time_end timestamptz,
    length_ms float8,
    route_id int,
    application text,
    user_name text,
    route text,
    quality text,
    statements bigint,
    transactions bigint,
    errors bigint,
    cancelled bigint,
    bucket int,
    from_source bigint
) LANGUAGE c STABLE PARALLEL RESTRICTED ROWS 10000 AS 'MODULE_PATHNAME', '@FUNCTION_NAME@';
"#
)]
fn route_history(
    since: Stamp,
    until: Stamp,
    source: Option<i64>,
    fcinfo: pg_sys::FunctionCallInfo,
) -> Result<(), ErrorReport> {
    let naming = Naming { id: true, names: &[0, 1, 2] };
    Ok(put_history(&family::ROUTE, naming, (since, until, source), fcinfo)?)
}

#[pg_extern(
    schema = "perfmon",
    sql = r#"
CREATE FUNCTION perfmon.server_history(
    since timestamptz DEFAULT now() - interval '1 hour',
    until timestamptz DEFAULT now(),
    source bigint DEFAULT NULL
) RETURNS TABLE (
    "time" timestamptz,
    time_end timestamptz,
    length_ms float8,
    quality text,
    wal_records bigint,
    wal_fpi bigint,
    wal_bytes bigint,
    wal_buffers_full bigint,
    wal_write bigint,
    wal_sync bigint,
    wal_write_ms float8,
    wal_sync_ms float8,
    checkpoints_timed bigint,
    checkpoints_req bigint,
    checkpoints_done bigint,
    restartpoints_timed bigint,
    restartpoints_req bigint,
    restartpoints_done bigint,
    checkpoint_write_ms float8,
    checkpoint_sync_ms float8,
    buffers_checkpoint bigint,
    slru_written bigint,
    buffers_clean bigint,
    maxwritten_clean bigint,
    buffers_backend bigint,
    buffers_backend_fsync bigint,
    buffers_alloc bigint,
    statement_deallocs bigint,
    statements_vanished bigint,
    statement_entries bigint,
    statement_capacity bigint,
    from_source bigint
) LANGUAGE c STABLE PARALLEL RESTRICTED ROWS 10000 AS 'MODULE_PATHNAME', '@FUNCTION_NAME@';
"#
)]
fn server_history(
    since: Stamp,
    until: Stamp,
    source: Option<i64>,
    fcinfo: pg_sys::FunctionCallInfo,
) -> Result<(), ErrorReport> {
    let naming = Naming { id: false, names: &[] };
    Ok(put_history(&family::SERVER, naming, (since, until, source), fcinfo)?)
}
