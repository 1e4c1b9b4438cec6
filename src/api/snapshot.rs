//! `snapshot`: takes one now. All of the work is the worker's.

use pgrx::prelude::*;

use crate::worker;

#[pg_extern(
    schema = "perfmon",
    sql = r#"
CREATE FUNCTION perfmon.snapshot() RETURNS bigint
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', '@FUNCTION_NAME@';
"#
)]
fn snapshot() -> i64 {
    worker::ask::snapshot()
}
