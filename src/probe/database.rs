//! pg_stat_database: this database, or all of them for the home database. It must never connect to
//! another database; everything here is in shared memory or in the file system.

use perfmon_core::family::DATABASE;
use perfmon_core::frame::{Epoch, Key, Reading};
use pgrx::pg_sys;

use super::{
    Columns, ProbeError, Probed, count, files, label, reading, statistics_epoch, times_io,
};
use crate::pg::catalog::{self, Database};
use crate::pg::{clock, compat, role, session};

/// Reads this database, or with `all` every database; with `sizes`, also what they take on disk.
pub(crate) fn databases(all: bool, sizes: bool) -> Result<Probed, ProbeError> {
    let at = clock::wall_us();
    let own = own()?;
    let mut list = if all { catalog::databases() } else { Vec::new() };
    if !list.iter().any(|d| d.oid == own.oid) {
        list.insert(0, own.clone());
    }
    let stats: Vec<compat::Named> = list.iter().map(|d| compat::database_stats(d.oid)).collect();
    let mut columns = Columns::new(&DATABASE);
    put_counters(&mut columns, &stats);
    columns.put("numbackends", list.iter().map(|d| backends(d.oid)).collect());
    if sizes {
        let bytes = list.iter().map(|d| files::database(d.oid.to_u32())).collect();
        columns.put("database_bytes", bytes);
    }
    // Who begins to look at all databases has no earlier values of the others; the own one goes on.
    let mut epoch = statistics_epoch();
    if all {
        epoch.identity.push_str(Epoch::ALL);
    }
    let keys = list.iter().map(|d| Key(u64::from(d.oid.to_u32()), 0)).collect();
    let names: Vec<[String; 3]> = list.iter().map(|d| names(d, &own)).collect();
    let reading = Reading {
        labels: names.iter().map(|names| label(names.each_ref().map(String::as_str))).collect(),
        columns: columns.values,
        marks: vec![list.iter().map(|d| compat::database_reset(d.oid)).collect()],
        whole: sizes,
        ..reading(&DATABASE, epoch, at, keys)
    };
    Ok(Probed { reading, name: Box::new(move |i: usize| names[i].clone()) })
}

/// A database stays the same under another name, and one that takes its name is another: others than the own one are known by
/// their oids. The own one is, whatever its oid, whose history this is.
fn names(database: &Database, own: &Database) -> [String; 3] {
    let which =
        if database.oid == own.oid { String::new() } else { database.oid.to_u32().to_string() };
    [which, database.name.clone(), String::new()]
}

fn own() -> Result<Database, ProbeError> {
    let own = Database { oid: session::database(), name: catalog::database_name() };
    if own.name.is_empty() {
        return Err(ProbeError::unexpected("this database has no row in pg_database"));
    }
    Ok(own)
}

fn value(stats: &compat::Named, name: &str) -> Option<u64> {
    stats.iter().find(|(n, _)| *n == name).map(|&(_, value)| count(value))
}

/// Whether the server counts what sessions do. Our own have that off.
pub(crate) fn is_counted() -> bool {
    role::configured(c"track_counts").is_none_or(|value| value.as_c_str() != c"off")
}

/// What is counted of sessions, whatever is counted of their work.
fn is_of_sessions(name: &str) -> bool {
    name.starts_with("session") || matches!(name, "active_us" | "idle_in_transaction_us")
}

/// Puts what this version counts; a database of which nothing was counted yet stands at zero.
fn put_counters(columns: &mut Columns, stats: &[compat::Named]) {
    let io = times_io();
    let is_counted = is_counted();
    // SAFETY: reads shared memory.
    let checksums = unsafe { pg_sys::DataChecksumsEnabled() };
    let Some(names) = stats.iter().find(|s| !s.is_empty()) else {
        return;
    };
    for &(name, _) in names {
        let values = stats.iter().map(|s| value(s, name).unwrap_or(0)).collect();
        match name {
            // Transactions are reported with what else is counted, or when their session ends.
            _ if !is_counted && !is_of_sessions(name) => {}
            "checksum_failures" if !checksums => {}
            "blk_read_us" | "blk_write_us" => columns.put_timing(name, values, io),
            _ => columns.put(name, values),
        }
    }
}

/// Processes connected to a database, as pg_stat_database counts them.
fn backends(database: pg_sys::Oid) -> u64 {
    // SAFETY: the function takes one oid and only reads shared memory.
    let number = unsafe {
        let argument = Some(pg_sys::Datum::from(database));
        pgrx::direct_function_call::<i32>(pg_sys::pg_stat_get_db_numbackends, &[argument])
    };
    number.and_then(|n| u64::try_from(n).ok()).unwrap_or(0)
}
