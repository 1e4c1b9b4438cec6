//! The server's settings, so that a change of one can be set beside a change of speed.
//!
//! Unlike the other probes this one must not run as pg_monitor: as a member of pg_read_all_settings
//! that role sees what is for superusers only, such as connection strings with passwords. Run as
//! pg_read_all_stats, which is a member of nothing, the server leaves those out by itself.

use pgrx::prelude::*;

use super::ProbeError;

/// One setting, with the value that a new session gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Setting {
    pub(crate) name: String,
    pub(crate) value: Option<String>,
    pub(crate) unit: Option<String>,
}

/// What differs between sessions, or moves without anybody having set it.
#[rustfmt::skip]
static VOLATILE: &[&str] = &[
    "application_name", "client_encoding", "in_hot_standby", "is_superuser", "role", "seed",
    "session_authorization", "transaction_deferrable", "transaction_isolation",
    "transaction_read_only",
];

/// Reads all settings that are not secret, by name.
pub(crate) fn settings() -> Result<Vec<Setting>, ProbeError> {
    let sql = "SELECT name, reset_val, unit FROM pg_catalog.pg_show_all_settings()";
    let mut found = Spi::connect(|client| {
        let mut found = Vec::new();
        for row in client.select(sql, None, &[])? {
            let Some(name) = row.get::<String>(1)? else {
                continue;
            };
            if !VOLATILE.contains(&name.as_str()) {
                found.push(Setting { name, value: row.get(2)?, unit: row.get(3)? });
            }
        }
        Ok::<_, spi::Error>(found)
    })
    .map_err(|error| ProbeError::unexpected(error.to_string()))?;
    found.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}
