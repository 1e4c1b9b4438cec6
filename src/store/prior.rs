//! The absolute counters as last read, kept packed in one unlogged table. Whoever wants to write
//! history holds this table's lock; it must never be taken while waiting for anything else.

use std::collections::HashMap;

use pgrx::prelude::*;

use super::{history, sql};
use crate::error::Error;
use crate::pg::lookup::Lookup;
use crate::pg::{heap, session, txn};

/// Excludes other writers, and nobody who reads.
const WRITERS_LOCK: i32 = pg_sys::ShareRowExclusiveLock as i32;

/// Replacing values leaves dead ones behind, which nobody vacuums; at this size the file is cut.
const LARGEST_BYTES: i64 = 32 << 20;

/// Subject of names that are known from one visit to the next.
pub(crate) const NAMES: &str = "name";

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
        Error::busy("another session is writing history")
            .detail("Only one snapshot of a database is taken at a time.")
            .hint("Call it again when the transaction of the other one has ended.")
            .raise();
    }
}

/// Another transaction writes history: its process, where that was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Held(Option<i32>);

impl std::fmt::Display for Held {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Some(pid) => write!(f, "a transaction of process {pid}")?,
            None => f.write_str("another transaction, perhaps a prepared one,")?,
        }
        f.write_str(" holds the history and has not ended")
    }
}

/// The same as [`lock`] for who can come again: waits as the session's lock_timeout says, and tells who has it then.
pub(crate) fn lock_in_time() -> Result<(), Held> {
    match txn::part(|| lock(true)) {
        Ok(()) => Ok(()),
        Err(caught) if caught.is_lock_refused() => Err(holder()),
        Err(caught) if caught.is_cancel() => caught.rethrow(),
        Err(caught) => {
            Error::internal("cannot lock the history").detail(caught.to_string()).raise()
        }
    }
}

/// Lets others write before the transaction ends: for who wrote no history.
pub(crate) fn unlock() {
    if let Some(table) = history::table_oid("prior") {
        // SAFETY: gives back a lock that this transaction took.
        unsafe { pg_sys::UnlockRelationOid(table, WRITERS_LOCK) };
    }
}

fn holder() -> Held {
    Held(sql::first(
        "SELECT l.pid FROM pg_catalog.pg_locks l
         WHERE l.locktype OPERATOR(pg_catalog.=) 'relation'
             AND l.database OPERATOR(pg_catalog.=) $1
             AND l.relation OPERATOR(pg_catalog.=) 'perfmon.prior'::pg_catalog.regclass
             AND l.granted
             AND l.mode OPERATOR(pg_catalog.<>) ALL (ARRAY['AccessShareLock', 'RowShareLock'])
         ORDER BY l.pid LIMIT 1",
        &[session::database().into()],
        |row| row.get(1),
    ))
}

/// Everything that is kept, as (subject, payload). Empty after a crash, and at first.
pub(crate) fn load() -> Vec<(String, Vec<u8>)> {
    load_to_replace().0
}

/// Where the rows lie; good for as long as the lock is held, and nothing was saved.
#[derive(Default)]
pub(crate) struct Places(HashMap<String, pg_sys::ItemPointerData>);

/// What is kept, and where it lies.
type Loaded = (Vec<(String, Vec<u8>)>, Places);

/// The same, to be replaced later in this transaction by the holder of the lock.
pub(crate) fn load_to_replace() -> Loaded {
    if let Some(found) = load_past_sql() {
        return found;
    }
    let mut places = Places::default();
    let rows = sql::read("SELECT p.subject, p.payload, p.ctid FROM perfmon.prior p", &[], |row| {
        let subject: String = row.get(1)?;
        if let Some(place) = row.get(3) {
            places.0.insert(subject.clone(), place);
        }
        Some((subject, row.get(2)?))
    });
    (rows.into_iter().flatten().collect(), places)
}

fn load_past_sql() -> Option<Loaded> {
    let (mut all, mut places) = (Vec::new(), Places::default());
    let lookup = Lookup::open(history::table_oid("prior")?, &[], &["subject", "payload"])?;
    let looked = lookup.each(&[], |row| {
        // SAFETY: a text and a bytea, as the table was made.
        let (subject, payload) =
            unsafe { (row.bytes(0, <[u8]>::to_vec), row.bytes(1, <[u8]>::to_vec)) };
        let subject = subject.and_then(|subject| String::from_utf8(subject).ok());
        if let (Some(subject), Some(payload)) = (subject, payload) {
            places.0.insert(subject.clone(), row.place());
            all.push((subject, payload));
        }
    });
    looked.then_some((all, places))
}

/// What is kept of one subject.
pub(crate) fn one(subject: &str) -> Option<Vec<u8>> {
    let query = "SELECT p.payload FROM perfmon.prior p WHERE p.subject OPERATOR(pg_catalog.=) $1";
    sql::first(query, &[sql::text(subject)], |row| row.get(1))
}

/// Forgets what is kept of one subject. The caller holds the lock.
pub(super) fn forget(subject: &str) {
    sql::write(
        "DELETE FROM perfmon.prior WHERE subject OPERATOR(pg_catalog.=) $1",
        &[sql::text(subject)],
    );
}

/// Replaces these subjects. The caller holds the lock, and has held it since the places were found.
pub(crate) fn save(entries: &[(&str, Vec<u8>)], places: Places) {
    if entries.is_empty() {
        return;
    }
    let (kept, places) = if is_large() && may_truncate() {
        let all = load();
        sql::write("TRUNCATE perfmon.prior", &[]);
        (all, Places::default())
    } else {
        (Vec::new(), places)
    };
    for (subject, payload) in &kept {
        if !entries.iter().any(|(s, _)| s == subject) {
            put(subject, payload, &places);
        }
    }
    for (subject, payload) in entries {
        put(subject, payload, &places);
    }
}

fn put(subject: &str, payload: &[u8], places: &Places) {
    let row = [sql::text(subject), sql::bytes(Some(payload))];
    let place = places.0.get(subject).copied();
    let replaced = place
        .zip(history::table_oid("prior"))
        .is_some_and(|(place, table)| heap::replace(table, place, &["subject", "payload"], &row));
    if !replaced {
        sql::write(
            "INSERT INTO perfmon.prior AS p (subject, payload) VALUES ($1, $2)
             ON CONFLICT (subject) DO UPDATE SET payload = EXCLUDED.payload",
            &row,
        );
    }
}

fn is_large() -> bool {
    let table = history::table_oid("prior").map(pg_sys::Datum::from);
    // SAFETY: the server's function of one oid; it takes the lock of readers for as long as it looks.
    let size = unsafe { pgrx::direct_function_call::<i64>(pg_sys::pg_table_size, &[table]) };
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
