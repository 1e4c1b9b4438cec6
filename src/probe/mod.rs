//! Probes: one file per subject, each reading the server's cumulative counters into core's shapes.
//!
//! They only read, wait for no lock of a user's, burn no transaction id and judge nothing. They
//! run as pg_monitor, one subtransaction each: whoever calls switches user, and counts on errors of
//! the server passing through as such.

use perfmon_core::family::Family;
use perfmon_core::frame::{Epoch, Key, Reading};
use pgrx::pg_sys;

use crate::pg::{clock, fmgr};

pub(crate) mod catalog;
pub(crate) mod database;
pub(crate) mod environment;
pub(crate) mod files;
pub(crate) mod host;
pub(crate) mod io;
pub(crate) mod objects;
pub(crate) mod pooler;
pub(crate) mod relations;
pub(crate) mod server;
pub(crate) mod settings;
pub(crate) mod statements;
pub(crate) mod texts;

#[cfg(any(test, feature = "pg_test"))]
mod checks;

/// A reading, and what its objects are called.
pub(crate) struct Probed {
    pub(crate) reading: Reading,
    /// The names of the object at that position, as the dictionary keeps them.
    pub(crate) name: Box<dyn Fn(usize) -> [String; 3]>,
}

/// A probe that could not read, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ProbeError {
    pub(crate) message: String,
    pub(crate) hint: Option<String>,
}

impl ProbeError {
    pub(crate) fn missing(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { message: message.into(), hint: Some(hint.into()) }
    }

    pub(crate) fn unexpected(message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: None }
    }
}

impl std::fmt::Display for ProbeError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)?;
        self.hint.iter().try_for_each(|hint| write!(f, ": {hint}"))
    }
}

/// Columns of a reading on their way in, by the names of the family.
struct Columns {
    family: &'static Family,
    values: Vec<Vec<u64>>,
}

impl Columns {
    fn new(family: &'static Family) -> Self {
        Self { family, values: vec![Vec::new(); family.columns.len()] }
    }

    /// Puts a whole column; a name that the family does not have is left out (a test sees to it that
    /// there is none).
    fn put(&mut self, name: &str, values: Vec<u64>) {
        if let Some(position) = self.family.position(name) {
            self.values[position] = values;
        }
    }

    /// Puts a column of times that the server counts only while `counted`. All zeros without it mean
    /// that nobody looked, not that nothing happened.
    fn put_timing(&mut self, name: &str, values: Vec<u64>, counted: bool) {
        if counted || values.iter().any(|&v| v != 0) {
            self.put(name, values);
        }
    }
}

/// A reading of counters that are neither born nor evicted one by one.
fn reading(family: &'static Family, epoch: Epoch, at: i64, keys: Vec<Key>) -> Reading {
    Reading {
        family,
        epoch,
        at,
        labels: Vec::with_capacity(keys.len()),
        keys,
        columns: Vec::new(),
        born: None,
        hides: false,
        floors: Vec::new(),
        ceilings: Vec::new(),
        marks: Vec::new(),
        wholes: Vec::new(),
        parts: None,
        executed: Vec::new(),
        evictions: None,
        whole: false,
    }
}

/// Which server, and which branch of its history, counts: the part of every epoch's identity, in the
/// words that core looks for.
fn lineage() -> String {
    // SAFETY: reads of shared memory; which function knows the timeline depends on recovery.
    let (system, timeline) = unsafe {
        let mut timeline: pg_sys::TimeLineID = 0;
        if pg_sys::RecoveryInProgress() {
            pg_sys::GetXLogReplayRecPtr(&mut timeline);
        } else {
            timeline = pg_sys::GetWALInsertionTimeLine();
        }
        (pg_sys::GetSystemIdentifier(), timeline)
    };
    format!("{system}/{timeline}")
}

/// The epoch of the cumulative statistics (pg_stat_*). No reset time is part of its identity: the
/// reset of one table moves its database's, and each view has its own. `began` is that of the WAL
/// statistics, which starts with all the others when they are lost in a crash.
fn statistics_epoch() -> Epoch {
    // SAFETY: a pointer into this process's copy of statistics, valid until the next refresh.
    let reset = unsafe { pg_sys::pgstat_fetch_stat_wal().as_ref() }.map(|s| s.stat_reset_timestamp);
    Epoch { identity: lineage(), began: reset.filter(|&t| t > 0).map(clock::unix_us) }
}

/// Whether the server measures the time of blocks read and written, and of WAL.
fn times_io() -> bool {
    fmgr::is_on(c"track_io_timing")
}

/// A hash of names that stays the same across versions of Rust and of this extension (FNV-1a); parts
/// are kept apart by a byte that no name has.
pub(crate) fn label<'a>(parts: impl IntoIterator<Item = &'a str>) -> u64 {
    hash(parts.into_iter().map(str::as_bytes))
}

/// The same of bytes.
fn hash<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> u64 {
    let mut hash: u64 = 0xCBF2_9CE4_8422_2325;
    let mut add = |byte: u8| hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3);
    for part in parts {
        part.iter().copied().for_each(&mut add);
        add(0);
    }
    hash
}

/// A count that is kept signed by the server.
fn count(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

/// Milliseconds as the server gives them in whole units of `per_ms`; what is not a time is zero.
fn scaled(milliseconds: f64, per_ms: f64) -> u64 {
    // The cast saturates, and turns what is negative or not a number into zero. Half a unit more and cut off is a
    // rounding that needs no call, for thousands of statements.
    (milliseconds * per_ms + 0.5) as u64
}
