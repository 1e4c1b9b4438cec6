//! `mark_change`: puts a mark on every trend. It must never write anything else.

use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;

use super::rows::to_server;
use crate::error::Error;
use crate::recall::words::Raw;
use crate::worker;

/// Longest label, in characters: it stands beside a line in a graph.
const LONGEST: usize = 200;

#[pg_extern(
    schema = "perfmon",
    sql = r#"
CREATE FUNCTION perfmon.mark_change(label text, note text DEFAULT NULL) RETURNS timestamptz
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', '@FUNCTION_NAME@';
"#
)]
fn mark_change(
    label: Option<Vec<u8>>,
    note: Option<Vec<u8>>,
) -> Result<TimestampWithTimeZone, ErrorReport> {
    let label = label.map(|bytes| Raw(bytes).show()).unwrap_or_default();
    let length = label.chars().count();
    if label.trim().is_empty() {
        return Err(Error::argument("a mark needs a label")
            .detail("The label is what stands on the trends.")
            .hint("Say in a few words what changed, as in perfmon.mark_change('release 2.4').")
            .into());
    }
    if length > LONGEST {
        return Err(Error::argument("the label of a mark is too long")
            .detail(format!("It has {length} characters; at most {LONGEST} are allowed."))
            .hint("Put the rest into the second argument, note, which may be of any length.")
            .into());
    }
    let note = note.map(|bytes| Raw(bytes).show());
    let at = to_server(worker::mark::set(&label, note.as_deref()));
    TimestampWithTimeZone::try_from(at)
        .map_err(|_| Error::internal("the clock stands beyond all times").into())
}
