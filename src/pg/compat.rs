//! What differs between the versions of the server, in one place. It must never decide anything: it
//! gives one shape to the same thing, and says what a version does not have.

use std::ffi::{CStr, CString, c_int};

use pgrx::pg_sys;

/// An attribute of a row description.
///
/// # Safety
/// `position` counts from 0 and must be below the description's number of attributes.
pub(crate) unsafe fn attribute(
    description: pg_sys::TupleDesc,
    position: c_int,
) -> *mut pg_sys::FormData_pg_attribute {
    #[cfg(not(feature = "pg18"))]
    // SAFETY: within the array, by the caller's word.
    unsafe {
        (*description).attrs.as_mut_ptr().add(position as usize)
    }
    #[cfg(feature = "pg18")]
    // SAFETY: within the array, by the caller's word.
    unsafe {
        pg_sys::TupleDescAttr(description, position)
    }
}

/// The counters of a table or index. An index uses `scans`, `returned`, `fetched` and the blocks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct TableStats {
    pub(crate) scans: i64,
    pub(crate) returned: i64,
    pub(crate) fetched: i64,
    pub(crate) inserted: i64,
    pub(crate) updated: i64,
    pub(crate) deleted: i64,
    pub(crate) hot_updated: i64,
    /// Since 16, see `HAS_NEWPAGE`.
    pub(crate) newpage_updated: i64,
    pub(crate) live: i64,
    pub(crate) dead: i64,
    pub(crate) modified_since_analyze: i64,
    pub(crate) inserted_since_vacuum: i64,
    pub(crate) blocks_fetched: i64,
    pub(crate) blocks_hit: i64,
    /// How often: vacuum, autovacuum, analyze, autoanalyze.
    pub(crate) runs: [i64; 4],
    /// How long, in milliseconds, in the same order. Since 18, see `HAS_RUN_TIMES`.
    pub(crate) run_ms: [i64; 4],
}

/// Whether the server counts updates that went to another page.
pub(crate) const HAS_NEWPAGE: bool = cfg!(not(feature = "pg15"));
/// Whether the server adds up the time of vacuum and analyze.
pub(crate) const HAS_RUN_TIMES: bool = cfg!(feature = "pg18");

/// Counters of a relation of this database, or of a shared catalog; `None` if nothing was counted.
pub(crate) fn table_stats(shared: bool, relation: pg_sys::Oid) -> Option<TableStats> {
    // SAFETY: a pointer into this process's copy of statistics, or NULL; it is read at once.
    let entry = unsafe { pg_sys::pgstat_fetch_stat_tabentry_ext(shared, relation).as_ref() }?;
    let stats = TableStats {
        scans: entry.numscans,
        returned: entry.tuples_returned,
        fetched: entry.tuples_fetched,
        inserted: entry.tuples_inserted,
        updated: entry.tuples_updated,
        deleted: entry.tuples_deleted,
        hot_updated: entry.tuples_hot_updated,
        blocks_fetched: entry.blocks_fetched,
        blocks_hit: entry.blocks_hit,
        ..TableStats::default()
    };
    #[cfg(feature = "pg15")]
    let stats = TableStats {
        live: entry.n_live_tuples,
        dead: entry.n_dead_tuples,
        modified_since_analyze: entry.changes_since_analyze,
        inserted_since_vacuum: entry.inserts_since_vacuum,
        runs: [
            entry.vacuum_count,
            entry.autovac_vacuum_count,
            entry.analyze_count,
            entry.autovac_analyze_count,
        ],
        ..stats
    };
    #[cfg(not(feature = "pg15"))]
    let stats = TableStats {
        newpage_updated: entry.tuples_newpage_updated,
        live: entry.live_tuples,
        dead: entry.dead_tuples,
        modified_since_analyze: entry.mod_since_analyze,
        inserted_since_vacuum: entry.ins_since_vacuum,
        runs: [
            entry.vacuum_count,
            entry.autovacuum_count,
            entry.analyze_count,
            entry.autoanalyze_count,
        ],
        ..stats
    };
    #[cfg(feature = "pg18")]
    let stats = TableStats {
        run_ms: [
            entry.total_vacuum_time,
            entry.total_autovacuum_time,
            entry.total_analyze_time,
            entry.total_autoanalyze_time,
        ],
        ..stats
    };
    Some(stats)
}

/// The counters of a database by the names of pg_stat_database, times in microseconds. `blks_read`
/// is already what was fetched less what was hit.
pub(crate) type Named = Vec<(&'static str, i64)>;

/// Counters of a database; empty if nothing was counted.
pub(crate) fn database_stats(database: pg_sys::Oid) -> Named {
    // SAFETY: a pointer into this process's copy of statistics, or NULL; it is read at once.
    let Some(e) = (unsafe { pg_sys::pgstat_fetch_stat_dbentry(database).as_ref() }) else {
        return Named::new();
    };
    #[cfg(feature = "pg15")]
    let named = vec![
        ("xact_commit", e.n_xact_commit),
        ("xact_rollback", e.n_xact_rollback),
        ("blks_read", e.n_blocks_fetched - e.n_blocks_hit),
        ("blks_hit", e.n_blocks_hit),
        ("tup_returned", e.n_tuples_returned),
        ("tup_fetched", e.n_tuples_fetched),
        ("tup_inserted", e.n_tuples_inserted),
        ("tup_updated", e.n_tuples_updated),
        ("tup_deleted", e.n_tuples_deleted),
        (
            "conflicts",
            e.n_conflict_tablespace
                + e.n_conflict_lock
                + e.n_conflict_snapshot
                + e.n_conflict_bufferpin
                + e.n_conflict_startup_deadlock,
        ),
        ("temp_files", e.n_temp_files),
        ("temp_bytes", e.n_temp_bytes),
        ("deadlocks", e.n_deadlocks),
        ("checksum_failures", e.n_checksum_failures),
        ("blk_read_us", e.n_block_read_time),
        ("blk_write_us", e.n_block_write_time),
        ("session_us", e.total_session_time),
        ("active_us", e.total_active_time),
        ("idle_in_transaction_us", e.total_idle_in_xact_time),
        ("sessions", e.n_sessions),
        ("sessions_abandoned", e.n_sessions_abandoned),
        ("sessions_fatal", e.n_sessions_fatal),
        ("sessions_killed", e.n_sessions_killed),
    ];
    #[cfg(not(feature = "pg15"))]
    let named = vec![
        ("xact_commit", e.xact_commit),
        ("xact_rollback", e.xact_rollback),
        ("blks_read", e.blocks_fetched - e.blocks_hit),
        ("blks_hit", e.blocks_hit),
        ("tup_returned", e.tuples_returned),
        ("tup_fetched", e.tuples_fetched),
        ("tup_inserted", e.tuples_inserted),
        ("tup_updated", e.tuples_updated),
        ("tup_deleted", e.tuples_deleted),
        (
            "conflicts",
            e.conflict_tablespace
                + e.conflict_lock
                + e.conflict_snapshot
                + e.conflict_logicalslot
                + e.conflict_bufferpin
                + e.conflict_startup_deadlock,
        ),
        ("temp_files", e.temp_files),
        ("temp_bytes", e.temp_bytes),
        ("deadlocks", e.deadlocks),
        ("checksum_failures", e.checksum_failures),
        ("blk_read_us", e.blk_read_time),
        ("blk_write_us", e.blk_write_time),
        ("session_us", e.session_time),
        ("active_us", e.active_time),
        ("idle_in_transaction_us", e.idle_in_transaction_time),
        ("sessions", e.sessions),
        ("sessions_abandoned", e.sessions_abandoned),
        ("sessions_fatal", e.sessions_fatal),
        ("sessions_killed", e.sessions_killed),
        #[cfg(feature = "pg18")]
        ("parallel_workers_to_launch", e.parallel_workers_to_launch),
        #[cfg(feature = "pg18")]
        ("parallel_workers_launched", e.parallel_workers_launched),
    ];
    named
}

/// The counters of the whole server that this version has, by the names of our columns, times in
/// microseconds.
pub(crate) fn server_stats() -> Named {
    let mut named = wal_stats();
    named.extend(background_stats());
    named
}

/// When counters of a database were last reset, all of them or those of one object; 0 is never. Objects that all
/// databases share have those of no database.
pub(crate) fn database_reset(database: pg_sys::Oid) -> u64 {
    // SAFETY: a pointer into this process's copy of statistics, or NULL; it is read at once.
    let entry = unsafe { pg_sys::pgstat_fetch_stat_dbentry(database).as_ref() };
    entry.map_or(0, |entry| entry.stat_reset_timestamp as u64)
}

/// What changes when any of the counters of `server_stats` are reset: each kind has its own time of it.
pub(crate) fn server_resets() -> u64 {
    // SAFETY: pointers into this process's copy of statistics, or NULL; each is read at once.
    let (wal, background) = unsafe {
        let wal = pg_sys::pgstat_fetch_stat_wal().as_ref().map(|w| w.stat_reset_timestamp);
        let background = pg_sys::pgstat_fetch_stat_bgwriter().as_ref();
        (wal, background.map(|b| b.stat_reset_timestamp))
    };
    // Before 17, checkpoints are reset together with the background writer.
    #[cfg(any(feature = "pg15", feature = "pg16"))]
    let checkpoints = None;
    #[cfg(any(feature = "pg17", feature = "pg18"))]
    // SAFETY: a pointer into this process's copy of statistics, or NULL; it is read at once.
    let checkpoints = unsafe { pg_sys::pgstat_fetch_stat_checkpointer().as_ref() }
        .map(|c| c.stat_reset_timestamp);
    let all = [wal, background, checkpoints];
    all.iter().flatten().fold(0, |sum: u64, reset| sum.wrapping_add(*reset as u64))
}

/// When the counters of pg_stat_io were last reset; 0 where there are none.
#[cfg(feature = "pg15")]
pub(crate) fn io_reset() -> u64 {
    0
}

/// When the counters of pg_stat_io were last reset.
#[cfg(not(feature = "pg15"))]
pub(crate) fn io_reset() -> u64 {
    // SAFETY: a pointer into this process's copy of statistics, or NULL; it is read at once.
    let io = unsafe { pg_sys::pgstat_fetch_stat_io().as_ref() };
    io.map_or(0, |io| io.stat_reset_timestamp as u64)
}

#[cfg(not(feature = "pg18"))]
fn wal_stats() -> Named {
    // SAFETY: a pointer into this process's copy of statistics; it is read at once.
    let Some(w) = (unsafe { pg_sys::pgstat_fetch_stat_wal().as_ref() }) else {
        return Named::new();
    };
    vec![
        ("wal_records", w.wal_records),
        ("wal_fpi", w.wal_fpi),
        ("wal_bytes", w.wal_bytes as i64),
        ("wal_buffers_full", w.wal_buffers_full),
        ("wal_write", w.wal_write),
        ("wal_sync", w.wal_sync),
        ("wal_write_us", w.wal_write_time),
        ("wal_sync_us", w.wal_sync_time),
    ]
}

#[cfg(feature = "pg18")]
fn wal_stats() -> Named {
    // SAFETY: a pointer into this process's copy of statistics; it is read at once.
    let Some(w) = (unsafe { pg_sys::pgstat_fetch_stat_wal().as_ref() }) else {
        return Named::new();
    };
    // Writes and syncs moved to pg_stat_io.
    vec![
        ("wal_records", w.wal_counters.wal_records),
        ("wal_fpi", w.wal_counters.wal_fpi),
        ("wal_bytes", w.wal_counters.wal_bytes as i64),
        ("wal_buffers_full", w.wal_counters.wal_buffers_full),
    ]
}

fn background_stats() -> Named {
    // SAFETY: pointers into this process's copy of statistics; each is read at once, the first
    // before the second call.
    let (b, c) = unsafe {
        let Some(b) = pg_sys::pgstat_fetch_stat_bgwriter().as_ref() else {
            return Named::new();
        };
        let b = *b;
        let Some(c) = pg_sys::pgstat_fetch_stat_checkpointer().as_ref() else {
            return Named::new();
        };
        (b, c)
    };
    let mut named = vec![
        ("buffers_clean", b.buf_written_clean),
        ("maxwritten_clean", b.maxwritten_clean),
        ("buffers_alloc", b.buf_alloc),
    ];
    // The server keeps checkpoint times in milliseconds.
    #[cfg(any(feature = "pg15", feature = "pg16"))]
    named.extend([
        ("checkpoints_timed", c.timed_checkpoints),
        ("checkpoints_req", c.requested_checkpoints),
        ("checkpoint_write_us", c.checkpoint_write_time * 1000),
        ("checkpoint_sync_us", c.checkpoint_sync_time * 1000),
        ("buffers_checkpoint", c.buf_written_checkpoints),
        ("buffers_backend", c.buf_written_backend),
        ("buffers_backend_fsync", c.buf_fsync_backend),
    ]);
    #[cfg(any(feature = "pg17", feature = "pg18"))]
    named.extend([
        ("checkpoints_timed", c.num_timed),
        ("checkpoints_req", c.num_requested),
        ("restartpoints_timed", c.restartpoints_timed),
        ("restartpoints_req", c.restartpoints_requested),
        ("restartpoints_done", c.restartpoints_performed),
        ("checkpoint_write_us", c.write_time * 1000),
        ("checkpoint_sync_us", c.sync_time * 1000),
        ("buffers_checkpoint", c.buffers_written),
    ]);
    #[cfg(feature = "pg18")]
    named.extend([("checkpoints_done", c.num_performed), ("slru_written", c.slru_written)]);
    named
}

/// What a setting is by the configuration files and the command line; `None` when this session began
/// with another value, so that it is not known, or when there is no such setting.
pub(crate) fn server_wide(name: &CStr) -> Option<CString> {
    // SAFETY: the table of settings of this process; the value is copied before anything changes it.
    unsafe {
        let reset_source = (*setting(name)?).reset_source;
        if reset_source > pg_sys::GucSource::PGC_S_ARGV {
            return None;
        }
        let value = pg_sys::GetConfigOptionResetString(name.as_ptr());
        (!value.is_null()).then(|| CStr::from_ptr(value).to_owned())
    }
}

#[cfg(feature = "pg15")]
unsafe fn setting(name: &CStr) -> Option<*mut pg_sys::config_generic> {
    // SAFETY: an array of so many pointers to settings, each with a NUL-terminated name.
    unsafe {
        let count = usize::try_from(pg_sys::GetNumConfigOptions()).ok()?;
        let all = std::slice::from_raw_parts(pg_sys::get_guc_variables(), count);
        all.iter().copied().find(|&one| CStr::from_ptr((*one).name) == name)
    }
}

#[cfg(not(feature = "pg15"))]
unsafe fn setting(name: &CStr) -> Option<*mut pg_sys::config_generic> {
    // SAFETY: gives NULL instead of an error.
    let found = unsafe { pg_sys::find_option(name.as_ptr(), false, true, 0) };
    (!found.is_null()).then_some(found)
}

/// The condition that MERGE joins its tables on.
///
/// # Safety
/// An analysed MERGE.
pub(crate) unsafe fn merge_condition(query: *mut pg_sys::Query) -> *mut pg_sys::Node {
    // SAFETY: by the caller's word.
    unsafe {
        #[cfg(any(feature = "pg15", feature = "pg16"))]
        let condition = (*(*query).jointree).quals;
        #[cfg(any(feature = "pg17", feature = "pg18"))]
        let condition = (*query).mergeJoinCondition;
        condition
    }
}

/// What a column of the range table's entry for GROUP BY stands for, if the entry is that.
///
/// # Safety
/// An entry of an analysed query.
pub(crate) unsafe fn grouped_expression(
    entry: *mut pg_sys::RangeTblEntry,
    column: usize,
) -> Option<*mut pg_sys::Node> {
    #[cfg(feature = "pg18")]
    // SAFETY: by the caller's word.
    unsafe {
        if (*entry).rtekind == pg_sys::RTEKind::RTE_GROUP {
            return super::list::nodes((*entry).groupexprs).get(column).copied();
        }
    }
    let _ = (entry, column);
    None
}

/// Whether all rows are known to keep to a column's NOT NULL. Since 18, one may be declared for new rows alone.
#[cfg_attr(
    feature = "pg18",
    expect(ffi_unwind_calls, reason = "the call is inside pgrx's error boundary")
)]
pub(crate) fn not_null_is_valid(table: pg_sys::Oid, attnum: i16) -> bool {
    #[cfg(feature = "pg18")]
    // SAFETY: a look-up in the catalogs, which gives a copy of the row, or NULL.
    unsafe {
        /// `convalidated` in pg_constraint, fixed in the catalogs.
        const VALIDATED: i16 = 8;
        unsafe extern "C-unwind" {
            // Absent from the bindings (catalog/pg_constraint.h).
            #[link_name = "findNotNullConstraintAttnum"]
            fn constraint_of(table: pg_sys::Oid, attnum: i16) -> pg_sys::HeapTuple;
        }
        let tuple = pg_sys::ffi::pg_guard_ffi_boundary(|| constraint_of(table, attnum));
        if tuple.is_null() {
            return false;
        }
        let cache = pg_sys::SysCacheIdentifier::CONSTROID as c_int;
        let mut is_null = false;
        let value = pg_sys::SysCacheGetAttr(cache, tuple, VALIDATED, &mut is_null);
        !is_null && value.value() as u8 != 0
    }
    #[cfg(not(feature = "pg18"))]
    {
        let _ = (table, attnum);
        true
    }
}
