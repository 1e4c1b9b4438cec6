//! Who keeps old row versions and WAL in place, and who follows this server.

use perfmon_core::facts::{Holder, HolderKind, Server, Slot};

use super::read;
use crate::probe::ProbeError;

/// Adds standbys, slots, prepared transactions and, where the caller may see all sessions, holders.
pub(super) fn add(server: &mut Server) -> Result<(), ProbeError> {
    let slots = slots()?;
    server.standbys = Some(standbys(&slots)?);
    let prepared = prepared()?;
    server.oldest_prepared_s = prepared.iter().filter_map(|holder| holder.age_s).reduce(f64::max);
    if sees_sessions()? {
        let mut holders = sessions()?;
        holders.extend(prepared);
        holders.extend(slots.iter().filter_map(SlotRow::holder));
        holders.sort_by_key(|holder| std::cmp::Reverse(holder.xid_age));
        server.holders = Some(holders);
    }
    server.slots = Some(slots.into_iter().map(|row| row.slot).collect());
    Ok(())
}

struct SlotRow {
    slot: Slot,
    physical: bool,
    pid: Option<i32>,
    keeps_wal: bool,
    xid_age: Option<i64>,
}

impl SlotRow {
    fn holder(&self) -> Option<Holder> {
        let xid_age = Some(self.xid_age?);
        Some(Holder { kind: HolderKind::Slot, name: self.slot.name.clone(), age_s: None, xid_age })
    }
}

/// Slots that only hold rows of catalogs (`catalog_xmin`) are no holders.
const SLOTS: &str = "
SELECT s.slot_name, s.slot_type OPERATOR(pg_catalog.=) 'physical', s.active, s.active_pid,
    s.restart_lsn IS NOT NULL,
    pg_catalog.pg_wal_lsn_diff(
        CASE WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_last_wal_replay_lsn()
            ELSE pg_catalog.pg_current_wal_lsn() END,
        s.restart_lsn)::pg_catalog.int8,
    pg_catalog.age(s.xmin)
FROM pg_catalog.pg_get_replication_slots() s
ORDER BY s.slot_name";

fn slots() -> Result<Vec<SlotRow>, ProbeError> {
    let mut found = Vec::new();
    read(SLOTS, |row| {
        found.push(SlotRow {
            slot: Slot {
                name: row.name(0).unwrap_or_default(),
                active: row.is(2),
                retained_bytes: row.int8(5).map(|bytes| bytes.max(0)),
            },
            physical: row.is(1),
            pid: row.int4(3),
            keeps_wal: row.is(4),
            xid_age: row.int4(6).map(i64::from),
        });
    })?;
    Ok(found)
}

/// Those that stream now, but for logical subscribers and base backups as far as these can be told, and
/// those that will come back for what a physical slot keeps.
fn standbys(slots: &[SlotRow]) -> Result<i64, ProbeError> {
    let away = slots.iter().filter(|s| s.physical && !s.slot.active && s.keeps_wal).count();
    let logical: Vec<i32> = slots.iter().filter(|s| !s.physical).filter_map(|s| s.pid).collect();
    let mut streaming = 0;
    read("SELECT w.pid, w.state FROM pg_catalog.pg_stat_get_wal_senders() w", |row| {
        let backup = row.text(1).as_deref() == Some("backup");
        let subscriber = row.int4(0).is_some_and(|pid| logical.contains(&pid));
        streaming += i64::from(!backup && !subscriber);
    })?;
    Ok(streaming + i64::try_from(away).unwrap_or(0))
}

/// Of this database: those of others do not keep rows of this one.
const PREPARED: &str = "
SELECT p.gid,
    pg_catalog.date_part('epoch',
        pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-) p.prepared),
    pg_catalog.age(p.transaction)
FROM pg_catalog.pg_prepared_xact() p
    JOIN pg_catalog.pg_database d ON d.oid OPERATOR(pg_catalog.=) p.dbid
WHERE d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database()";

fn prepared() -> Result<Vec<Holder>, ProbeError> {
    let mut found = Vec::new();
    read(PREPARED, |row| {
        found.push(Holder {
            kind: HolderKind::Prepared,
            name: row.text(0).unwrap_or_default(),
            age_s: row.float8(1),
            xid_age: row.int4(2).map(i64::from),
        });
    })?;
    Ok(found)
}

fn sees_sessions() -> Result<bool, ProbeError> {
    let mut sees = false;
    read("SELECT pg_catalog.pg_has_role('pg_read_all_stats', 'USAGE')", |row| sees = row.is(0))?;
    Ok(sees)
}

/// Transactions of this database, and what standbys report. Vacuum holds nothing back, whoever runs it: the server leaves its
/// processes out when it looks for the oldest transaction.
const SESSIONS: &str = "
SELECT a.pid::pg_catalog.text,
    a.backend_type OPERATOR(pg_catalog.=) 'walsender', a.application_name,
    pg_catalog.starts_with(a.state, 'idle in transaction'),
    pg_catalog.date_part('epoch',
        pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-) a.xact_start),
    GREATEST(pg_catalog.age(a.backend_xid), pg_catalog.age(a.backend_xmin))
FROM pg_catalog.pg_stat_get_activity(NULL) a
    LEFT JOIN pg_catalog.pg_database d ON d.oid OPERATOR(pg_catalog.=) a.datid
WHERE a.pid OPERATOR(pg_catalog.<>) pg_catalog.pg_backend_pid()
    AND a.backend_type OPERATOR(pg_catalog.<>) 'autovacuum worker'
    AND NOT EXISTS (SELECT FROM pg_catalog.pg_stat_get_progress_info('VACUUM') v
        WHERE v.pid OPERATOR(pg_catalog.=) a.pid OR v.pid OPERATOR(pg_catalog.=) a.leader_pid)
    AND CASE WHEN a.backend_type OPERATOR(pg_catalog.=) 'walsender'
        THEN a.backend_xmin IS NOT NULL
        ELSE d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database()
            AND a.xact_start IS NOT NULL END";

fn sessions() -> Result<Vec<Holder>, ProbeError> {
    let mut found = Vec::new();
    read(SESSIONS, |row| {
        let pid = row.text(0).unwrap_or_default();
        let (kind, name) = match (row.is(1), row.is(3)) {
            (true, _) => {
                (HolderKind::Standby, row.text(2).filter(|n| !n.is_empty()).unwrap_or(pid))
            }
            (_, true) => (HolderKind::Idle, pid),
            _ => (HolderKind::Active, pid),
        };
        let age_s = row.float8(4).filter(|_| kind != HolderKind::Standby);
        found.push(Holder { kind, name, age_s, xid_age: row.int4(5).map(i64::from) });
    })?;
    Ok(found)
}
