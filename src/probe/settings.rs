//! The server's settings, so that a change of one can be set beside a change of speed.
//!
//! Unlike the other probes this one must not run as pg_monitor: as a member of pg_read_all_settings
//! that role sees what is for superusers only, such as connection strings with passwords. Run as
//! pg_read_all_stats, which is a member of nothing, the server leaves those out by itself.

use pgrx::prelude::*;

use super::{ProbeError, hash};
use crate::pg::{role, session};

/// One setting, with the value that a new session gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Setting {
    pub(crate) name: String,
    pub(crate) value: Option<String>,
    pub(crate) unit: Option<String>,
}

/// What was seen of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Look {
    pub(crate) settings: Vec<Setting>,
    /// Those that are there, of which this session cannot tell what others get: its role or its client
    /// chose the value, or the server worked it out from others.
    pub(crate) untold: Vec<String>,
}

/// What differs between sessions, or moves without anybody having set it.
#[rustfmt::skip]
static VOLATILE: &[&str] = &[
    "application_name", "client_encoding", "in_hot_standby", "is_superuser", "num_os_semaphores", "role",
    "seed", "session_authorization", "shared_memory_size", "shared_memory_size_in_huge_pages",
    "transaction_deferrable", "transaction_isolation",
    "transaction_read_only",
];

/// All settings, and whether this session cannot tell their value for others. A session's own SET does not
/// change what it began with. A number by default that is not the default was worked out by the server.
const SETTINGS: &str = "
SELECT s.name, s.reset_val, s.unit,
    s.source OPERATOR(pg_catalog.=) ANY ('{user,database user,client}')
    OR s.source OPERATOR(pg_catalog.=) 'default' AND s.vartype OPERATOR(pg_catalog.=) 'integer'
        AND s.reset_val OPERATOR(pg_catalog.<>) s.boot_val
    OR EXISTS (
        SELECT 1
        FROM pg_catalog.pg_db_role_setting r
            JOIN pg_catalog.pg_roles o ON o.oid OPERATOR(pg_catalog.=) r.setrole,
            pg_catalog.unnest(r.setconfig) AS c (item)
        WHERE o.rolname OPERATOR(pg_catalog.=) SESSION_USER
            AND (r.setdatabase OPERATOR(pg_catalog.=) 0::pg_catalog.oid
                OR r.setdatabase OPERATOR(pg_catalog.=) (
                    SELECT d.oid FROM pg_catalog.pg_database d
                    WHERE d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database()))
            AND pg_catalog.lower(pg_catalog.split_part(c.item, '=', 1))
                OPERATOR(pg_catalog.=) pg_catalog.lower(s.name))
FROM pg_catalog.pg_show_all_settings() s";

/// What is set for this database and for all, as one number: moves whenever one of these settings is altered, which
/// sessions that begin then have without a reload.
pub(crate) fn of_database() -> i64 {
    let here = session::database();
    let kept = [pg_sys::Oid::INVALID, here].map(role::settings_of_all_in);
    hash(kept.iter().map(|values| values.as_deref().unwrap_or_default())) as i64
}

/// Reads all settings that are not secret, by name.
pub(crate) fn settings() -> Result<Look, ProbeError> {
    let mut untold = Vec::new();
    let mut found = Spi::connect(|client| {
        let mut found = Vec::new();
        for row in client.select(SETTINGS, None, &[])? {
            let Some(name) = row.get::<String>(1)? else {
                continue;
            };
            if VOLATILE.contains(&name.as_str()) || row.get::<bool>(4)? != Some(false) {
                untold.push(name);
            } else {
                found.push(Setting { name, value: row.get(2)?, unit: row.get(3)? });
            }
        }
        Ok::<_, spi::Error>(found)
    })
    .map_err(|error| ProbeError::unexpected(error.to_string()))?;
    found.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(Look { settings: found, untold })
}
