//! What the planner knows of columns in numbers: width, share of NULLs, distinct values. It must never
//! read the values that it keeps besides, which are other people's data.

use pgrx::pg_sys;

use super::classes;

/// One column of a table, or one expression of an index.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Statistic {
    pub(crate) relation: u32,
    pub(crate) attnum: i16,
    /// Of the table with all its children.
    pub(crate) inherited: bool,
    pub(crate) null_ratio: f32,
    pub(crate) width: i32,
    /// As `pg_stats.n_distinct` has it.
    pub(crate) distinct: f32,
}

/// Whether the caller may read numbers about all of the server, by being a member of pg_read_all_stats.
pub(crate) fn all_readable() -> bool {
    // SAFETY: a look-up of role memberships.
    unsafe { pg_sys::has_privs_of_role(pg_sys::GetUserId(), pg_sys::ROLE_PG_READ_ALL_STATS.into()) }
}

/// Hands over every row of pg_statistic. The server lets nobody but superusers read that catalog, because
/// of the values in it: `all_readable` is what must have been asked first.
pub(crate) fn each(mut found: impl FnMut(Statistic)) {
    classes::scan(pg_sys::StatisticRelationId, |tuple| {
        // SAFETY: the fixed part of a row of pg_statistic.
        let row = unsafe { &*pg_sys::GETSTRUCT(tuple).cast::<pg_sys::FormData_pg_statistic>() };
        found(Statistic {
            relation: row.starelid.to_u32(),
            attnum: row.staattnum,
            inherited: row.stainherit,
            null_ratio: row.stanullfrac,
            width: row.stawidth,
            distinct: row.stadistinct,
        });
    });
}
