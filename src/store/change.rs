//! What changed around the database: settings, objects, marks set by people. Must never judge a change.

use perfmon_core::change::Change;

use super::sql;

/// Writes changes found at one moment, told in their order. Of several of one kind and name, all but the
/// last are dated just before it, a microsecond apart.
pub(crate) fn record(source: i64, at: i64, changes: &[Change]) {
    if changes.is_empty() {
        return;
    }
    sql::write(
        "INSERT INTO perfmon.change (source, at, kind, name, old_value, new_value)
         SELECT $1,
             $2 OPERATOR(pg_catalog.-) ('1 microsecond'::pg_catalog.interval
                 OPERATOR(pg_catalog.*) (pg_catalog.count(*) OVER later)::pg_catalog.float8),
             c.kind, c.name, c.old_value, c.new_value
         FROM ROWS FROM (
             pg_catalog.unnest($3), pg_catalog.unnest($4), pg_catalog.unnest($5),
             pg_catalog.unnest($6)) WITH ORDINALITY AS c (kind, name, old_value, new_value, place)
         WINDOW later AS (
             PARTITION BY c.kind, c.name ORDER BY c.place
             ROWS BETWEEN 1 FOLLOWING AND UNBOUNDED FOLLOWING)
         ON CONFLICT DO NOTHING",
        &[
            source.into(),
            sql::time(at),
            sql::texts(changes.iter().map(|c| Some(c.kind.as_str()))),
            sql::texts(changes.iter().map(|c| Some(c.name.as_str()))),
            sql::texts(changes.iter().map(|c| c.old.as_deref())),
            sql::texts(changes.iter().map(|c| c.new.as_deref())),
        ],
    );
}

/// Writes a mark that somebody set, as the only one of its name at its moment, and returns that: at the
/// earliest `at`.
pub(crate) fn mark(source: i64, at: i64, label: &str, note: Option<&str>) -> i64 {
    let mut moment = at;
    loop {
        let written = sql::write(
            "INSERT INTO perfmon.change (source, at, kind, name, new_value)
             VALUES ($1, $2, 'mark', $3, $4) ON CONFLICT DO NOTHING",
            &[source.into(), sql::time(moment), sql::text(label), sql::optional_text(note)],
        );
        if written > 0 {
            return moment;
        }
        moment += 1;
    }
}
