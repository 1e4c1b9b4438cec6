//! Who writes here: the own source, its predecessors, and how a copied or restored database comes by a
//! new one. Must never reuse a source id for another database.

use std::collections::HashMap;

use super::sql::{self, optional_text};
use super::{database, history};
use crate::pg::lookup::Lookup;
use pgrx::prelude::*;

/// Ids stay below 2^53, so that JavaScript keeps them.
const ID_BITS: u32 = 53;
/// Columns of the row that says whose history this is.
const OWN: [&str; 2] = ["database_oid", "source"];
/// Columns that say what a source continues.
const CHAIN: [&str; 2] = ["source", "predecessor"];

/// The source of this database, if one was drawn. A read: also right on a standby.
pub(crate) fn own() -> Option<i64> {
    let table = history::table_oid("own_source");
    let looked = table
        .and_then(|table| Lookup::open_as_asked(table, &[], &OWN))
        .and_then(|lookup| own_in(&lookup));
    looked.unwrap_or_else(own_by_query)
}

fn own_by_query() -> Option<i64> {
    sql::first(
        "SELECT o.source FROM perfmon.own_source o WHERE o.database_oid OPERATOR(pg_catalog.=) $1",
        &[database_oid().into()],
        |row| row.get(1),
    )
}

/// The same for the owner, past SQL where that can be.
pub(crate) fn own_of_owner() -> Option<i64> {
    look_at_own().map(|found| found.source)
}

/// What a visit wants to know of its source: one look, since every visit takes it.
struct Own {
    source: i64,
    /// There is no other.
    alone: bool,
    /// What the database was called.
    name: Option<String>,
}

fn look_at_own() -> Option<Own> {
    look_up().unwrap_or_else(own_by_owners_query)
}

/// The same past SQL; the outer `None` where only that can.
fn look_up() -> Option<Option<Own>> {
    let lookup = Lookup::open(history::table_oid("own_source")?, &[], &OWN)?;
    let Some(own) = own_in(&lookup)? else { return Some(None) };
    let table = history::table_oid("source_info")?;
    let lookup = Lookup::open(table, &[], &["source", "database_name"])?;
    let mut found = Own { source: own, alone: true, name: None };
    let looked = lookup.each(&[], |row| match row.int8(0) {
        Some(source) if source == own => found.name = row.text(1),
        _ => found.alone = false,
    });
    looked.then_some(Some(found))
}

/// The source of this database by the only row there is; the outer `None` where it cannot be looked at.
fn own_in(lookup: &Lookup) -> Option<Option<i64>> {
    let (database, mut own) = (database_oid().to_u32(), None);
    let looked = lookup.each(&[], |row| {
        own = own.or(row.int8(1).filter(|_| row.int4(0).map(|oid| oid as u32) == Some(database)));
    });
    looked.then_some(own)
}

fn own_by_owners_query() -> Option<Own> {
    sql::first(
        "SELECT o.source, NOT EXISTS (
             SELECT 1 FROM perfmon.source_info s WHERE s.source OPERATOR(pg_catalog.<>) o.source),
             (SELECT s.database_name FROM perfmon.source_info s
              WHERE s.source OPERATOR(pg_catalog.=) o.source)
         FROM perfmon.own_source o WHERE o.database_oid OPERATOR(pg_catalog.=) $1",
        &[database_oid().into()],
        |row| Some(Own { source: row.get(1)?, alone: row.get(2)?, name: row.get(3) }),
    )
}

/// The database goes by another name since the last visit, and so does its history from now on, what databases did among it.
fn rename(source: i64, before: &str, database_name: &str) {
    for table in ["source_info", "own_source"] {
        let update = format!(
            "UPDATE perfmon.{table} s SET database_name = $2
             WHERE s.source OPERATOR(pg_catalog.=) $1"
        );
        sql::write(&update, &[source.into(), sql::text(database_name)]);
    }
    database::rename_own(source, before, database_name);
}

/// The source of this database; drawn anew when there is none yet or when the one written here is that
/// of another database, of which this one is a copy.
pub(crate) fn ensure_own(now: i64, database_name: &str, system_identifier: u64) -> i64 {
    if let Some(own) = look_at_own() {
        if !own.alone {
            link_restored(own.source);
        }
        if let Some(before) = own.name.filter(|name| name != database_name) {
            rename(own.source, &before, database_name);
        }
        return own.source;
    }
    let copied: Option<i64> =
        sql::first("SELECT o.source FROM perfmon.own_source o", &[], |row| row.get(1));
    let source = draw();
    sql::write(
        "INSERT INTO perfmon.own_source AS o (source, database_oid, database_name)
         VALUES ($1, $2, $3)
         ON CONFLICT (only_row) DO UPDATE
         SET source = EXCLUDED.source, database_oid = EXCLUDED.database_oid,
             database_name = EXCLUDED.database_name",
        &[source.into(), database_oid().into(), sql::text(database_name)],
    );
    sql::write(
        "INSERT INTO perfmon.source_info
             (source, database_name, system_identifier, server_version, created_at, predecessor)
         VALUES ($1, $2, $3, $4, $5, $6)",
        &[
            source.into(),
            sql::text(database_name),
            optional_text(Some(&system_identifier.to_string())),
            server_version().into(),
            sql::time(now),
            copied.into(),
        ],
    );
    link_restored(source);
    history::expect_tables();
    source
}

/// A source and those it continues, newest first; the own one when none is named.
pub(crate) fn lineage(source: Option<i64>) -> Vec<i64> {
    // Restored, and nothing was collected here yet: the newest of what came is what will be continued.
    let Some(start) = source.or_else(own).or_else(newest) else {
        return Vec::new();
    };
    let table = history::table_oid("source_info");
    let past_sql = table
        .and_then(|table| Lookup::open_as_asked(table, &[], &CHAIN))
        .and_then(|lookup| chain_in(&lookup, start));
    past_sql.unwrap_or_else(|| lineage_by_query(start))
}

fn lineage_by_query(start: i64) -> Vec<i64> {
    // UNION, not UNION ALL: a circle, however it came about, must end.
    let chain = sql::read(
        "WITH RECURSIVE chain (source) AS (
             SELECT $1
             UNION
             SELECT s.predecessor
             FROM chain c
             JOIN perfmon.source_info s ON s.source OPERATOR(pg_catalog.=) c.source
             WHERE s.predecessor IS NOT NULL
         )
         SELECT c.source FROM chain c",
        &[start.into()],
        |row| row.get(1),
    );
    chain.into_iter().flatten().collect()
}

/// Every source that is known here, for the owner: past SQL where that can be.
pub(super) fn all() -> Vec<i64> {
    let table = history::table_oid("source_info");
    let lookup = table.and_then(|table| Lookup::open(table, &[], &["source"]));
    let mut all = Vec::new();
    if lookup.is_some_and(|lookup| lookup.each(&[], |row| all.extend(row.int8(0)))) {
        return all;
    }
    let sources = sql::read("SELECT s.source FROM perfmon.source_info s", &[], |row| row.get(1));
    sources.into_iter().flatten().collect()
}

/// The own source and those it continues, newest first, for the owner: past SQL where that can be.
pub(super) fn lineage_of(own: i64) -> Vec<i64> {
    let table = history::table_oid("source_info");
    let past_sql = table
        .and_then(|table| Lookup::open(table, &[], &CHAIN))
        .and_then(|lookup| chain_in(&lookup, own));
    past_sql.unwrap_or_else(|| lineage_by_query(own))
}

/// A source and those it continues, newest first; `None` where the table cannot be looked at.
fn chain_in(lookup: &Lookup, start: i64) -> Option<Vec<i64>> {
    let mut before: HashMap<i64, i64> = HashMap::new();
    let looked = lookup.each(&[], |row| before.extend(row.int8(0).zip(row.int8(1))));
    let mut chain = vec![start];
    // Each link is taken once: a circle, however it came about, must end.
    while let Some(next) = chain.last().and_then(|source| before.remove(source)) {
        if chain.contains(&next) {
            break;
        }
        chain.push(next);
    }
    looked.then_some(chain)
}

/// The newest source that no other continues.
fn newest() -> Option<i64> {
    sql::first(
        "SELECT o.source FROM perfmon.source_info o
         WHERE NOT EXISTS (
             SELECT 1 FROM perfmon.source_info c
             WHERE c.predecessor OPERATOR(pg_catalog.=) o.source)
         ORDER BY o.created_at DESC, o.source DESC",
        &[],
        |row| row.get(1),
    )
}

/// Every source of which anything is kept, as (id, is it a known one).
pub(crate) fn exists(source: i64) -> bool {
    sql::first(
        "SELECT true FROM perfmon.source_info s WHERE s.source OPERATOR(pg_catalog.=) $1",
        &[source.into()],
        |row| row.get::<bool>(1),
    )
    .is_some()
}

/// History that a restore brought continues here: when the own source has no predecessor, the newest
/// other source becomes it. Almost always nothing is to be done, so this looks before it writes.
fn link_restored(source: i64) {
    let newest: Option<i64> = sql::first(
        "SELECT o.source
         FROM perfmon.source_info s, perfmon.source_info o
         WHERE s.source OPERATOR(pg_catalog.=) $1 AND s.predecessor IS NULL
             AND o.source OPERATOR(pg_catalog.<>) $1
             AND NOT EXISTS (
                 SELECT 1 FROM perfmon.source_info c
                 WHERE c.predecessor OPERATOR(pg_catalog.=) o.source)
         ORDER BY o.created_at DESC, o.source DESC LIMIT 1",
        &[source.into()],
        |row| row.get(1),
    );
    if let Some(newest) = newest {
        sql::write(
            "UPDATE perfmon.source_info SET predecessor = $2
             WHERE source OPERATOR(pg_catalog.=) $1 AND predecessor IS NULL",
            &[source.into(), newest.into()],
        );
    }
}

/// A random id, never zero.
fn draw() -> i64 {
    let mut seed = [0_u8; 8];
    loop {
        // SAFETY: writes exactly the eight bytes of `seed`.
        let strong = unsafe { pg_sys::pg_strong_random(seed.as_mut_ptr().cast(), seed.len()) };
        if !strong {
            pgrx::error!("no source of randomness");
        }
        let id = (u64::from_le_bytes(seed) >> (64 - ID_BITS)) as i64;
        if id != 0 && !exists(id) {
            return id;
        }
    }
}

fn database_oid() -> pg_sys::Oid {
    // SAFETY: set once when the session connected to its database.
    unsafe { pg_sys::MyDatabaseId }
}

fn server_version() -> i32 {
    i32::try_from(pg_sys::PG_VERSION_NUM).unwrap_or(i32::MAX)
}
