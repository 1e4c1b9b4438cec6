//! Stretches of time that somebody brackets: test runs, deployments. Must never judge what happened in them.

use super::sql;

/// Begins a run; false when one of that name has not ended.
pub(crate) fn begin(source: i64, name: &str, at: i64, note: Option<&str>) -> bool {
    let written = sql::write(
        "INSERT INTO perfmon.run (source, name, begun_at, note) VALUES ($1, $2, $3, $4)
         ON CONFLICT DO NOTHING",
        &[source.into(), sql::text(name), sql::time(at), sql::optional_text(note)],
    );
    written > 0
}

/// Ends the run of that name; false when none is going on.
pub(crate) fn end(source: i64, name: &str, at: i64) -> bool {
    let written = sql::write(
        "UPDATE perfmon.run AS r SET ended_at = $3
         WHERE r.source OPERATOR(pg_catalog.=) $1 AND r.name OPERATOR(pg_catalog.=) $2
             AND r.ended_at IS NULL",
        &[source.into(), sql::text(name), sql::time(at)],
    );
    written > 0
}
