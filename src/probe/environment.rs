//! The server as it stands: version, settings, machine, extensions, and what it must keep for whom. What
//! the caller may not see, and what was counted over time, stays unknown.
//!
//! Values are those that a new session of this database gets. Nothing here waits for a lock of a user.

use perfmon_core::facts::{Horizon, Server, Setting};
use pgrx::pg_sys;

use super::{ProbeError, host};
use crate::pg::{catalog, reading, session, txn};

mod holders;

#[cfg(any(test, feature = "pg_test"))]
mod checks;

/// Reads all of it, with the rights of the caller.
pub(crate) fn environment() -> Result<Server, ProbeError> {
    let settings = settings()?;
    let machine = host::machine();
    let memory = machine.memory_in_force();
    let mut server = Server {
        in_recovery: session::in_recovery(),
        started_us: catalog::server_started(),
        block_bytes: i64::from(pg_sys::BLCKSZ),
        memory_bytes: memory.and_then(|memory| i64::try_from(memory.total).ok()),
        cpus: host::processors(&machine),
        extensions: extensions()?,
        available_extensions: available(),
        horizon: horizon()?,
        settings,
        ..Server::default()
    };
    server.version = server.setting("server_version").map(|s| s.shown.clone()).unwrap_or_default();
    server.major = server.number("server_version_num").map_or(0, |number| number as u32 / 10_000);
    server.checksums = server.is_on("data_checksums");
    holders::add(&mut server)?;
    Ok(server)
}

/// Processors that this server may use.
pub(crate) fn processors() -> Option<i64> {
    host::processors(&host::machine())
}

/// Reads rows of a SELECT.
fn read(query: &str, row: impl FnMut(&reading::Row<'_>)) -> Result<(), ProbeError> {
    reading::each(query, &[], row).map_err(|error| ProbeError::unexpected(error.to_string()))
}

/// `reset_val` is what a session begins with, whatever it set since. What was set for this role or this
/// connection alone says nothing about others. The server leaves out by itself what is for superusers.
const SETTINGS: &str = "
SELECT s.name, s.reset_val, s.unit, s.vartype OPERATOR(pg_catalog.=) ANY ('{integer,real}'),
    s.context OPERATOR(pg_catalog.=) 'postmaster', s.pending_restart,
    s.boot_val,
    CASE WHEN s.setting OPERATOR(pg_catalog.=) s.reset_val
        THEN pg_catalog.current_setting(s.name, true) END
FROM pg_catalog.pg_show_all_settings() s
WHERE s.source OPERATOR(pg_catalog.<>) ALL ('{user,database user,client}')
ORDER BY s.name";

/// What is set for this database and for all, and for the role of this session: by name, with the command that alters it where
/// it is for all roles. The strongest first.
const KEPT: &str = "
SELECT pg_catalog.lower(pg_catalog.split_part(c.item, '=', 1)),
    CASE WHEN r.setrole OPERATOR(pg_catalog.=) 0::pg_catalog.oid THEN
        CASE WHEN r.setdatabase OPERATOR(pg_catalog.=) 0::pg_catalog.oid THEN 'ALTER ROLE ALL'
        ELSE 'ALTER DATABASE ' OPERATOR(pg_catalog.||) pg_catalog.quote_ident(d.datname) END
    END
FROM pg_catalog.pg_db_role_setting r
    JOIN pg_catalog.pg_database d ON d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database(),
    pg_catalog.unnest(r.setconfig) AS c (item)
WHERE (r.setdatabase OPERATOR(pg_catalog.=) 0::pg_catalog.oid OR r.setdatabase OPERATOR(pg_catalog.=) d.oid)
    AND (r.setrole OPERATOR(pg_catalog.=) 0::pg_catalog.oid
        OR pg_catalog.pg_get_userbyid(r.setrole) OPERATOR(pg_catalog.=) SESSION_USER)
ORDER BY r.setrole OPERATOR(pg_catalog.=) 0::pg_catalog.oid, r.setdatabase OPERATOR(pg_catalog.=) 0::pg_catalog.oid";

fn settings() -> Result<Vec<Setting>, ProbeError> {
    let mut kept: Vec<(String, Option<String>)> = Vec::new();
    read(KEPT, |row| kept.extend(row.text(0).map(|name| (name, row.text(1)))))?;
    let mut found = Vec::new();
    read(SETTINGS, |row| {
        let (Some(name), Some(value)) = (row.text(0), row.text(1)) else { return };
        let strongest = kept.iter().find(|(kept, _)| kept.eq_ignore_ascii_case(&name));
        let kept_by = match strongest {
            // A session that set it for itself began with what is for its role, which says nothing about others.
            Some((_, None)) => return,
            strongest => strongest.and_then(|(_, alter)| alter.clone()),
        };
        let unit = row.text(2);
        let number = if row.is(3) { value.parse().ok() } else { None };
        found.push(Setting {
            is_set: row.text(6).as_deref() != Some(value.as_str()),
            shown: row.text(7).unwrap_or_else(|| shown(&value, unit.as_deref())),
            kept_by,
            needs_restart: row.is(4),
            pending_restart: row.is(5),
            name,
            number,
            unit,
        });
    })?;
    Ok(found)
}

/// A value with its unit, of which the server keeps some in multiples: `16` of `8kB` are `128kB`.
fn shown(value: &str, unit: Option<&str>) -> String {
    let unit = unit.unwrap_or_default();
    let digits = unit.find(|c: char| !c.is_ascii_digit()).unwrap_or(0);
    let multiple = unit[..digits].parse::<i64>().unwrap_or(1);
    match value.parse::<i64>() {
        Ok(number) if number >= 0 => {
            format!("{}{}", number.saturating_mul(multiple), &unit[digits..])
        }
        _ => value.to_owned(),
    }
}

fn extensions() -> Result<Vec<(String, String)>, ProbeError> {
    let mut found = Vec::new();
    read(
        "SELECT e.extname, e.extversion FROM pg_catalog.pg_extension e ORDER BY e.extname",
        |row| found.extend(row.name(0).zip(row.text(1))),
    )?;
    Ok(found)
}

/// The server reads the control files of all extensions for it, and fails as a whole when one of them is
/// broken: then none is known to be available.
fn available() -> Vec<String> {
    let mut found = Vec::new();
    let query = "SELECT a.name FROM pg_catalog.pg_available_extensions() a ORDER BY a.name";
    match txn::part(|| read(query, |row| found.extend(row.name(0)))) {
        Err(caught) if caught.is_cancel() => caught.rethrow(),
        _ => found,
    }
}

/// Transaction ids taken per second since the last checkpoint, if that is a while ago. No counter of them is
/// kept anywhere, but the control file tells where they stood.
const XID_PACE: &str = "
SELECT (x.next OPERATOR(pg_catalog.-)
        ((pg_catalog.split_part(c.next_xid, ':', 1)::pg_catalog.int8 OPERATOR(pg_catalog.*) 4294967296)
            OPERATOR(pg_catalog.+) pg_catalog.split_part(c.next_xid, ':', 2)::pg_catalog.int8)
    )::pg_catalog.float8 OPERATOR(pg_catalog./) x.seconds
FROM pg_catalog.pg_control_checkpoint() c,
    LATERAL (SELECT
        pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot())::pg_catalog.text::pg_catalog.int8 AS next,
        EXTRACT(EPOCH FROM pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-) c.checkpoint_time)::pg_catalog.float8
            AS seconds) x
WHERE x.seconds OPERATOR(pg_catalog.>=) 60::pg_catalog.float8";

fn xid_pace() -> Option<f64> {
    let mut found = None;
    let take = |row: &reading::Row<'_>| found = row.float8(0).filter(|pace| *pace >= 0.0);
    match txn::part(|| read(XID_PACE, take)) {
        Err(caught) if caught.is_cancel() => caught.rethrow(),
        _ => found,
    }
}

/// The oldest ids over all databases, and how fast they are taken.
fn horizon() -> Result<Option<Horizon>, ProbeError> {
    let mut found: Option<Horizon> = None;
    read(
        "SELECT pg_catalog.quote_ident(d.datname), pg_catalog.age(d.datfrozenxid),
             pg_catalog.mxid_age(d.datminmxid)
         FROM pg_catalog.pg_database d ORDER BY d.datname",
        |row| {
            let (Some(name), Some(xids), Some(mxids)) = (row.text(0), row.int4(1), row.int4(2))
            else {
                return;
            };
            let (xids, mxids) = (i64::from(xids), i64::from(mxids));
            let oldest = found.get_or_insert_with(|| Horizon {
                database: name.clone(),
                mxid_database: name.clone(),
                xid_age: xids,
                mxid_age: mxids,
                xids_per_s: None,
            });
            if xids > oldest.xid_age {
                (oldest.database, oldest.xid_age) = (name.clone(), xids);
            }
            if mxids > oldest.mxid_age {
                (oldest.mxid_database, oldest.mxid_age) = (name, mxids);
            }
        },
    )?;
    if let Some(oldest) = &mut found {
        oldest.xids_per_s = xid_pace();
    }
    Ok(found)
}
