//! Sizes of pools that were declared. Must never judge them.

use perfmon_core::pool::limit::Declared;

use super::sql;

/// Writes one; false when there is one of that name.
pub(crate) fn insert(now: i64, pool: &Declared, note: Option<&str>) -> bool {
    let written = sql::write(
        "INSERT INTO perfmon.pool_declared
             (name, size, database_name, user_name, application, client_address, note, created_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
         ON CONFLICT DO NOTHING",
        &[
            sql::text(&pool.name),
            i32::try_from(pool.size).unwrap_or(i32::MAX).into(),
            sql::optional_text(pool.database.as_deref()),
            sql::optional_text(pool.user.as_deref()),
            sql::optional_text(pool.application.as_deref()),
            sql::optional_text(pool.address.as_deref()),
            sql::optional_text(note),
            sql::time(now),
        ],
    );
    written > 0
}

/// Takes one back; false when there is none of that name.
pub(crate) fn delete(name: &str) -> bool {
    let gone = sql::write(
        "DELETE FROM perfmon.pool_declared p WHERE p.name OPERATOR(pg_catalog.=) $1",
        &[sql::text(name)],
    );
    gone > 0
}
