//! Settings as last seen. Must never judge a change.

use std::collections::{HashMap, HashSet};

use perfmon_core::change::Change;

use super::sql;

/// Replaces what was seen of a source's settings, given as (name, value), and returns the changes; the
/// first look changes nothing. What is there but could not be told this time stays as it was seen.
pub(crate) fn replace(
    source: i64,
    at: i64,
    now: &[(String, String)],
    untold: &[String],
) -> Vec<Change> {
    let before: HashMap<String, String> = sql::read(
        "SELECT s.name, s.value FROM perfmon.setting s WHERE s.source OPERATOR(pg_catalog.=) $1",
        &[source.into()],
        |row| Some((row.text(1)?, row.text(2)?)),
    )
    .into_iter()
    .flatten()
    .collect();
    let moved: Vec<&(String, String)> =
        now.iter().filter(|(name, value)| before.get(name) != Some(value)).collect();
    let there: HashSet<&String> = now.iter().map(|(name, _)| name).chain(untold).collect();
    // A library's settings are there in sessions that have loaded it, and come and go with these.
    let of_library = |name: &str| name.contains('.');
    let is_gone = |name: &&String| !there.contains(name) && !of_library(name);
    let gone: Vec<&String> = before.keys().filter(is_gone).collect();
    keep(source, at, &moved);
    forget(source, &gone);
    if before.is_empty() {
        return Vec::new();
    }
    let change = |name: &str, new: Option<&String>| Change {
        kind: "setting".to_owned(),
        name: name.to_owned(),
        old: before.get(name).cloned(),
        new: new.cloned(),
    };
    let known = |name: &str| before.contains_key(name) || !of_library(name);
    let moved = moved.into_iter().filter(|(name, _)| known(name));
    let mut changes: Vec<Change> = moved.map(|(name, value)| change(name, Some(value))).collect();
    changes.extend(gone.iter().map(|name| change(name, None)));
    changes
}

fn keep(source: i64, at: i64, moved: &[&(String, String)]) {
    if moved.is_empty() {
        return;
    }
    sql::write(
        "INSERT INTO perfmon.setting AS s (source, name, value, seen_at)
         SELECT $1, k.name, k.value, $2
         FROM ROWS FROM (pg_catalog.unnest($3), pg_catalog.unnest($4)) AS k (name, value)
         ON CONFLICT (source, name) DO UPDATE SET value = EXCLUDED.value, seen_at = EXCLUDED.seen_at",
        &[
            source.into(),
            sql::time(at),
            sql::texts(moved.iter().map(|(name, _)| Some(name.as_str()))),
            sql::texts(moved.iter().map(|(_, value)| Some(value.as_str()))),
        ],
    );
}

fn forget(source: i64, gone: &[&String]) {
    if gone.is_empty() {
        return;
    }
    sql::write(
        "DELETE FROM perfmon.setting s
         WHERE s.source OPERATOR(pg_catalog.=) $1 AND s.name OPERATOR(pg_catalog.=) ANY ($2)",
        &[source.into(), sql::texts(gone.iter().map(|name| Some(name.as_str())))],
    );
}
