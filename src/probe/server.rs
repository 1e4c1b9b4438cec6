//! WAL, checkpoints and the background writer of the whole server, one row. It must never fill in
//! what a version does not count.

use perfmon_core::family::SERVER;
use perfmon_core::frame::{Key, Reading};

use super::{Columns, ProbeError, Probed, count, reading, statistics_epoch};
use crate::pg::{clock, compat, fmgr};

/// What only the visit as a whole knows: each `None` leaves its column unknown.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Extras {
    /// Evictions from pg_stat_statements so far.
    pub(crate) statement_deallocs: Option<u64>,
    /// Entries that vanished so far.
    pub(crate) statements_vanished: Option<u64>,
    pub(crate) statement_entries: Option<u64>,
    pub(crate) statement_capacity: Option<u64>,
}

/// Reads the server's counters.
pub(crate) fn server(extras: Extras) -> Result<Probed, ProbeError> {
    let at = clock::wall_us();
    let timed = fmgr::is_on(c"track_wal_io_timing");
    // Before the counters: what is reset in between is noticed by the next visit then.
    let resets = compat::server_resets();
    let mut columns = Columns::new(&SERVER);
    for (name, value) in compat::server_stats() {
        let counted = timed || !matches!(name, "wal_write_us" | "wal_sync_us");
        columns.put_timing(name, vec![count(value)], counted);
    }
    for (name, value) in [
        ("statement_deallocs", extras.statement_deallocs),
        ("statements_vanished", extras.statements_vanished),
        ("statement_entries", extras.statement_entries),
        ("statement_capacity", extras.statement_capacity),
    ] {
        if let Some(value) = value {
            columns.put(name, vec![value]);
        }
    }
    let reading = Reading {
        labels: vec![0],
        columns: columns.values,
        marks: vec![vec![resets]],
        ..reading(&SERVER, statistics_epoch(), at, vec![Key(0, 0)])
    };
    Ok(Probed { reading, name: Box::new(|_| Default::default()) })
}
