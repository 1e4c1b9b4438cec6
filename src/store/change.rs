//! What changed around the database: settings, marks set by people. Must never judge a change.

use super::sql;

/// One change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) kind: String,
    pub(crate) name: String,
    pub(crate) old: Option<String>,
    pub(crate) new: Option<String>,
}

/// Writes changes found at one moment.
pub(crate) fn record(source: i64, at: i64, changes: &[Change]) {
    if changes.is_empty() {
        return;
    }
    sql::write(
        "INSERT INTO perfmon.change (source, at, kind, name, old_value, new_value)
         SELECT $1, $2, c.kind, c.name, c.old_value, c.new_value
         FROM ROWS FROM (
             pg_catalog.unnest($3), pg_catalog.unnest($4), pg_catalog.unnest($5),
             pg_catalog.unnest($6)) AS c (kind, name, old_value, new_value)
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
