//! `cluster_history`: what clients of all databases executed, as the home database records it.

use perfmon_core::family::CLUSTER;
use pgrx::pg_sys;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;

use super::args::Stamp;
use super::history::{Naming, put_history};

#[pg_extern(
    schema = "perfmon",
    sql = r#"
CREATE FUNCTION perfmon.cluster_history(
    since timestamptz DEFAULT now() - interval '1 hour',
    until timestamptz DEFAULT now(),
    source bigint DEFAULT NULL
) RETURNS TABLE (
    "time" timestamptz,
    time_end timestamptz,
    length_ms float8,
    quality text,
    cached bigint,
    read bigint,
    executions bigint,
    errors bigint,
    cancelled bigint,
    bucket int,
    from_source bigint
) LANGUAGE c STABLE PARALLEL RESTRICTED ROWS 10000 AS 'MODULE_PATHNAME', '@FUNCTION_NAME@';
"#
)]
fn cluster_history(
    since: Stamp,
    until: Stamp,
    source: Option<i64>,
    fcinfo: pg_sys::FunctionCallInfo,
) -> Result<(), ErrorReport> {
    let naming = Naming { id: false, names: &[] };
    Ok(put_history(&CLUSTER, naming, (since, until, source), fcinfo)?)
}
