//! The absolute counters as last read, kept packed in one unlogged table. Whoever wants to write
//! history holds this table's lock; it must never be taken while waiting for anything else.

use super::{history, sql};
use pgrx::prelude::*;

/// Excludes other writers, and nobody who reads.
const WRITERS_LOCK: i32 = pg_sys::ShareRowExclusiveLock as i32;

/// Replacing values leaves dead ones behind, which nobody vacuums; at this size the file is cut.
const LARGEST_BYTES: i64 = 32 << 20;

/// Makes this transaction the only one that writes history. Without `wait`, fails at once with 55P03
/// when another is at it; otherwise the session's lock_timeout counts.
pub(crate) fn lock(wait: bool) {
    let Some(table) = history::table_oid("prior") else {
        ereport!(ERROR, PgSqlErrorCode::ERRCODE_UNDEFINED_TABLE, "perfmon.prior does not exist");
    };
    // Taken directly: LOCK TABLE through SPI would assign a transaction id before anything is written.
    if wait {
        // SAFETY: waits for a heavyweight lock, interruptible; an error unwinds.
        unsafe { pg_sys::LockRelationOid(table, WRITERS_LOCK) };
    // SAFETY: takes or refuses a lock; never waits.
    } else if !unsafe { pg_sys::ConditionalLockRelationOid(table, WRITERS_LOCK) } {
        ereport!(
            ERROR,
            PgSqlErrorCode::ERRCODE_LOCK_NOT_AVAILABLE,
            "another session is writing history",
            "Only one snapshot of a database is taken at a time."
        );
    }
}

/// Everything that is kept, as (subject, payload). Empty after a crash, and at first.
pub(crate) fn load() -> Vec<(String, Vec<u8>)> {
    sql::read("SELECT p.subject, p.payload FROM perfmon.prior p", &[], |row| {
        Some((row.get(1)?, row.get(2)?))
    })
    .into_iter()
    .flatten()
    .collect()
}

/// What is kept of one subject.
pub(crate) fn one(subject: &str) -> Option<Vec<u8>> {
    let query = "SELECT p.payload FROM perfmon.prior p WHERE p.subject OPERATOR(pg_catalog.=) $1";
    sql::first(query, &[sql::text(subject)], |row| row.get(1))
}

/// Replaces these subjects. The caller holds the lock.
pub(crate) fn save(entries: &[(&str, Vec<u8>)]) {
    if entries.is_empty() {
        return;
    }
    let kept = if is_large() && may_truncate() {
        let all = load();
        sql::write("TRUNCATE perfmon.prior", &[]);
        all
    } else {
        Vec::new()
    };
    for (subject, payload) in &kept {
        if !entries.iter().any(|(s, _)| s == subject) {
            put(subject, payload);
        }
    }
    for (subject, payload) in entries {
        put(subject, payload);
    }
}

fn put(subject: &str, payload: &[u8]) {
    sql::write(
        "INSERT INTO perfmon.prior AS p (subject, payload) VALUES ($1, $2)
         ON CONFLICT (subject) DO UPDATE SET payload = EXCLUDED.payload",
        &[sql::text(subject), sql::bytes(Some(payload))],
    );
}

fn is_large() -> bool {
    let size: Option<i64> = sql::first(
        "SELECT pg_catalog.pg_table_size('perfmon.prior'::pg_catalog.regclass)",
        &[],
        |row| row.get(1),
    );
    size.is_some_and(|bytes| bytes > LARGEST_BYTES)
}

/// Truncation needs the strongest lock; when a reader is in the way, the next snapshot tries again.
fn may_truncate() -> bool {
    let table = history::table_oid("prior");
    table.is_some_and(|table| {
        // SAFETY: takes or refuses a lock; never waits.
        unsafe { pg_sys::ConditionalLockRelationOid(table, pg_sys::AccessExclusiveLock as i32) }
    })
}
