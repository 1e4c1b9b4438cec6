//! `cluster_history`: what clients of all databases executed, as the home database records it.

use perfmon_core::family::{CLUSTER, UNCOUNTED};
use perfmon_core::window::Level;
use pgrx::pg_sys;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;

use super::args::{Scope, Stamp};
use super::errors::notice_unless_counted;
use super::history::{Naming, put_history};
use super::past::{notice_if_was_off, notice_lacking};
use crate::error::Error;
use crate::recall::absent;
use crate::recall::counting::Missing;
use crate::recall::plan::Kept;
use crate::store::read;
use crate::watch::live;

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

/// What is missing without preloading, or where it was off.
const WHAT: &str = "statements of the whole server";

/// Says whose executions are not counted, by settings of now, or that some were not in the window.
pub(super) fn notice_of_rows(scope: &Scope) -> Result<(), Error> {
    notice_unless_counted(WHAT);
    let missing = match live::began() {
        Some(_) if scope.is_own() => absent::anywhere()?,
        _ => None,
    };
    if let Some(Missing { problem, fix }) = missing {
        notice_lacking(Missing { problem: format!("not all {WHAT} are counted: {problem}"), fix });
        return Ok(());
    }
    if !notice_if_was_off(scope, CLUSTER.name, WHAT)? && is_part(scope) {
        let problem = format!(
            "of some {WHAT} only the number is known (bucket {UNCOUNTED}), as pg_perfmon.capture or compute_query_id was off then"
        );
        notice_lacking(Missing { problem, fix: String::new() });
    }
    Ok(())
}

/// Whether some of what was executed in the window was not timed.
fn is_part(scope: &Scope) -> bool {
    let segments = Kept::of(&CLUSTER, scope).segments(scope, Level::Day);
    let mut found = false;
    read::frames(&scope.sources, &CLUSTER, &segments, &[0], &mut |row| {
        found |= row.ids.iter().any(|id| id & 255 == UNCOUNTED);
    });
    found
}
