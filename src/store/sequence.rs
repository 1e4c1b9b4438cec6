//! Where sequences stood a day ago, so that their pace can be told. Two notes of housekeeping hold the
//! positions at two moments: one is always at least a day old once there are two. Lost with a copy of the
//! database, which begins anew. It must never judge a pace.

use std::collections::HashMap;

use super::{chore, sql};

/// Time between two such moments.
const APART_US: i64 = 86_400_000_000;
/// The note of the last moment, and that of the one before it.
const LAST: &str = "sequences";
const BEFORE: &str = "sequences before";

/// Positions at a moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Kept {
    pub(crate) at: i64,
    /// Last values by quoted names.
    pub(crate) values: HashMap<String, i64>,
}

/// The older of the moments that are kept; `None` where none is, or the clock went back behind it.
pub(crate) fn kept(now: i64) -> Option<Kept> {
    let mut found: HashMap<String, Kept> = sql::read(
        "SELECT c.name, c.at, c.detail FROM perfmon.chore c
         WHERE c.name OPERATOR(pg_catalog.=) ANY ($1)",
        &[sql::texts([LAST, BEFORE].into_iter().map(Some))],
        |row| {
            let values = serde_json::from_str(&row.text(3)?).ok()?;
            Some((row.text(1)?, Kept { at: row.time(2)?, values }))
        },
    )
    .into_iter()
    .flatten()
    .collect();
    let kept = found.remove(BEFORE).or_else(|| found.remove(LAST));
    kept.filter(|kept| kept.at <= now)
}

/// Keeps where sequences stand now, if what is kept is a day old; the caller is the tables' owner.
pub(crate) fn keep<'a>(now: i64, standing: impl Iterator<Item = (&'a str, i64)>) {
    if !chore::is_older(chore::notes().get(LAST), now, APART_US) {
        return;
    }
    let values: HashMap<&str, i64> = standing.collect();
    if values.is_empty() {
        return;
    }
    sql::write(
        "INSERT INTO perfmon.chore AS c (name, at, detail)
         SELECT $1, b.at, b.detail FROM perfmon.chore b WHERE b.name OPERATOR(pg_catalog.=) $2
         ON CONFLICT (name) DO UPDATE SET at = EXCLUDED.at, detail = EXCLUDED.detail",
        &[sql::text(BEFORE), sql::text(LAST)],
    );
    let detail = serde_json::to_string(&values).unwrap_or_default();
    sql::write(
        "INSERT INTO perfmon.chore AS c (name, at, detail) VALUES ($1, $2, $3)
         ON CONFLICT (name) DO UPDATE SET at = EXCLUDED.at, detail = EXCLUDED.detail",
        &[sql::text(LAST), sql::time(now), sql::text(&detail)],
    );
}
