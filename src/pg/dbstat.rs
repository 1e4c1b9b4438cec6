//! The cumulative statistics of databases, read from shared memory without a connection to them.

use pgrx::pg_sys;

/// What moves when a database is used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Movement {
    /// Client sessions that came, and their time in statements: only clients move these two.
    pub(crate) sessions: i64,
    pub(crate) active_us: i64,
    /// Transactions of anybody, autovacuum and ourselves included.
    pub(crate) transactions: i64,
    /// Rows written by anybody.
    pub(crate) written: i64,
}

/// Forgets the values that this process saw, so that the next look is fresh.
pub(crate) fn refresh() {
    // SAFETY: frees this process's local copy of statistics.
    unsafe { pg_sys::pgstat_clear_snapshot() };
}

/// Counters of one database; `None` when nothing was ever counted.
pub(crate) fn movement(database: pg_sys::Oid) -> Option<Movement> {
    // SAFETY: returns a pointer into this process's local copy, or NULL.
    let entry = unsafe { pg_sys::pgstat_fetch_stat_dbentry(database).as_ref() }?;
    #[cfg(feature = "pg15")]
    let movement = Movement {
        sessions: entry.n_sessions,
        active_us: entry.total_active_time,
        transactions: entry.n_xact_commit + entry.n_xact_rollback,
        written: entry.n_tuples_inserted + entry.n_tuples_updated + entry.n_tuples_deleted,
    };
    #[cfg(not(feature = "pg15"))]
    let movement = Movement {
        sessions: entry.sessions,
        active_us: entry.active_time,
        transactions: entry.xact_commit + entry.xact_rollback,
        written: entry.tuples_inserted + entry.tuples_updated + entry.tuples_deleted,
    };
    Some(movement)
}

/// What a session other than autovacuum's does right now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Activity {
    pub(crate) database: u32,
    /// At work, or inside a transaction: long statements move no counter before they end.
    pub(crate) busy: bool,
    /// When its last statement began, microseconds since the Unix epoch. On 15, statements that touch no
    /// table move no counter either, until the session ends.
    pub(crate) began: i64,
}

/// The sessions of all databases.
pub(crate) fn activity() -> Vec<Activity> {
    // SAFETY: makes a local copy of the backend status array (refreshed by `refresh`), whose entries
    // stay valid until the next refresh.
    unsafe {
        (1..=pg_sys::pgstat_fetch_stat_numbackends())
            .filter_map(|index| backend(index).as_ref())
            .filter_map(|local| {
                use pg_sys::BackendState::{STATE_DISABLED, STATE_IDLE, STATE_UNDEFINED};
                let status = &local.backendStatus;
                let is_client = status.st_backendType == pg_sys::BackendType::B_BACKEND;
                let is_worker = status.st_backendType == pg_sys::BackendType::B_BG_WORKER;
                let at_rest =
                    [STATE_IDLE, STATE_UNDEFINED, STATE_DISABLED].contains(&status.st_state);
                let began = if is_client { status.st_activity_start_timestamp } else { 0 };
                (is_client || is_worker).then(|| Activity {
                    database: status.st_databaseid.to_u32(),
                    busy: !at_rest,
                    began: if began == 0 { 0 } else { super::clock::unix_us(began) },
                })
            })
            .collect()
    }
}

/// # Safety
/// Indexes count from 1 up to what `pgstat_fetch_stat_numbackends` said last.
#[cfg(feature = "pg15")]
pub(super) unsafe fn backend(index: i32) -> *mut pg_sys::LocalPgBackendStatus {
    // SAFETY: the index is within the local copy, as the caller counted.
    unsafe { pg_sys::pgstat_fetch_stat_local_beentry(index) }
}

/// # Safety
/// Indexes count from 1 up to what `pgstat_fetch_stat_numbackends` said last.
#[cfg(not(feature = "pg15"))]
pub(super) unsafe fn backend(index: i32) -> *mut pg_sys::LocalPgBackendStatus {
    // SAFETY: the index is within the local copy, as the caller counted.
    unsafe { pg_sys::pgstat_get_local_beentry_by_index(index) }
}
