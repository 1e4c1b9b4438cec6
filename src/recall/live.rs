//! Sessions as they are now, as far as the caller may see them: the server itself hides those of other users from whoever
//! may not read all statistics.

use std::collections::HashMap;

use super::activity::statements;
use super::cell::Cell;
use super::query;
use super::scope::Scope;
use crate::error::Error;
use crate::pg::parse::{self, Shape};

/// A row as it is shown; its columns are those of the function that shows it.
type Row = Vec<Cell>;

/// Who waits for a lock now (`waiting`), prepared transactions under numbers below zero, as no process stands for them
/// (`prepared`), and which of them is in whose way (`prepared_edge`), by the locks that each keeps; modes that conflict
/// are those of the manual's table, a bit each.
const WAITING: &str = "
         waiting AS MATERIALIZED (
             SELECT l.pid, l.locktype, l.mode, l.relation, l.database, l.waitstart,
                 pg_catalog.format('%s %s %s %s %s %s %s %s %s %s', l.locktype, l.database, l.relation, l.page,
                     l.tuple, l.virtualxid, l.transactionid, l.classid, l.objid, l.objsubid) AS tag,
                 pg_catalog.pg_blocking_pids(l.pid) AS blockers
             FROM pg_catalog.pg_lock_status() l
             WHERE NOT l.granted AND l.pid IS NOT NULL),
         prepared AS MATERIALIZED (
             SELECT (OPERATOR(pg_catalog.-) pg_catalog.row_number() OVER (ORDER BY p.prepared, p.gid))
                     ::pg_catalog.int4 AS pid,
                 p.transaction, p.gid, p.prepared, d.datname::pg_catalog.text AS database_name,
                 pg_catalog.pg_get_userbyid(p.ownerid)::pg_catalog.text AS user_name
             FROM pg_catalog.pg_prepared_xact() p
             LEFT JOIN pg_catalog.pg_database d ON d.oid OPERATOR(pg_catalog.=) p.dbid),
         conflict (mode, bit, bits) AS (VALUES
             ('AccessShareLock', 2, 256), ('RowShareLock', 4, 384), ('RowExclusiveLock', 8, 480),
             ('ShareUpdateExclusiveLock', 16, 496), ('ShareLock', 32, 472), ('ShareRowExclusiveLock', 64, 504),
             ('ExclusiveLock', 128, 508), ('AccessExclusiveLock', 256, 510)),
         prepared_lock AS MATERIALIZED (
             SELECT p.pid, c.bit,
                 pg_catalog.format('%s %s %s %s %s %s %s %s %s %s', l.locktype, l.database, l.relation, l.page,
                     l.tuple, l.virtualxid, l.transactionid, l.classid, l.objid, l.objsubid) AS tag
             FROM pg_catalog.pg_lock_status() l
             JOIN pg_catalog.pg_lock_status() x
                 ON x.virtualtransaction OPERATOR(pg_catalog.=) l.virtualtransaction
             JOIN prepared p ON p.transaction OPERATOR(pg_catalog.=) x.transactionid
             JOIN conflict c ON c.mode OPERATOR(pg_catalog.=) l.mode
             WHERE l.pid IS NULL AND x.pid IS NULL AND x.locktype OPERATOR(pg_catalog.=) 'transactionid'),
         prepared_edge AS (
             SELECT DISTINCT w.pid, l.pid AS blocker
             FROM waiting w
             JOIN conflict c ON c.mode OPERATOR(pg_catalog.=) w.mode
             JOIN prepared_lock l ON l.tag OPERATOR(pg_catalog.=) w.tag
                 AND (c.bits OPERATOR(pg_catalog.&) l.bit) OPERATOR(pg_catalog.>) 0
             WHERE 0 OPERATOR(pg_catalog.=) ANY (w.blockers))";

/// Who waits for a lock now and who is in the way, those that are at the head of a chain first. The chain of each goes on
/// from whoever is in its way to one (`step`) that is in that one's: somebody who waits for nobody, or for the longest. All
/// ways through those that wait in a line would be too many: each is in the way of all behind it.
pub(crate) fn blocking() -> Result<Vec<Row>, Error> {
    const SHOWN: usize = 23;
    let mut rows = query::rows(
        &format!(
            "WITH RECURSIVE {WAITING},
         edge AS (
             SELECT DISTINCT w.pid, b.pid AS blocker
             FROM waiting w CROSS JOIN LATERAL pg_catalog.unnest(w.blockers) b (pid)
             WHERE b.pid OPERATOR(pg_catalog.<>) 0
                 OR NOT EXISTS (SELECT 1 FROM prepared_edge p WHERE p.pid OPERATOR(pg_catalog.=) w.pid)
             UNION ALL
             SELECT p.pid, p.blocker FROM prepared_edge p),
         chain AS (
             SELECT s.pid, s.blocker AS head, 1 AS depth, ARRAY[s.pid, s.blocker] AS path
             FROM step s
             UNION ALL
             SELECT c.pid, s.blocker, c.depth OPERATOR(pg_catalog.+) 1,
                 c.path OPERATOR(pg_catalog.||) s.blocker
             FROM chain c JOIN step s ON s.pid OPERATOR(pg_catalog.=) c.head
             WHERE NOT s.blocker OPERATOR(pg_catalog.=) ANY (c.path)),
         step AS MATERIALIZED (
             SELECT DISTINCT ON (e.pid) e.pid, e.blocker
             FROM edge e LEFT JOIN waiting f ON f.pid OPERATOR(pg_catalog.=) e.blocker
             ORDER BY e.pid, f.waitstart NULLS FIRST, e.blocker),
         longest AS MATERIALIZED (
             SELECT DISTINCT ON (c.pid) c.pid, c.head, c.depth
             FROM chain c
             ORDER BY c.pid, c.depth DESC),
         ended AS (
             SELECT e.pid, e.blocker, COALESCE(n.head, e.blocker) AS head,
                 COALESCE(n.depth, 0) OPERATOR(pg_catalog.+) 1 AS depth
             FROM edge e LEFT JOIN longest n ON n.pid OPERATOR(pg_catalog.=) e.blocker),
         session AS MATERIALIZED (
             SELECT a.pid, d.datname::pg_catalog.text AS database_name,
                 pg_catalog.pg_get_userbyid(a.usesysid)::pg_catalog.text AS user_name,
                 CASE WHEN a.application_name OPERATOR(pg_catalog.=) ''
                         AND a.backend_type OPERATOR(pg_catalog.<>) 'client backend'
                     THEN a.backend_type ELSE a.application_name END AS application_name,
                 a.state, a.query, a.query_id, a.xact_start, NULL::pg_catalog.text AS gid
             FROM pg_catalog.pg_stat_get_activity(NULL) a
             LEFT JOIN pg_catalog.pg_database d ON d.oid OPERATOR(pg_catalog.=) a.datid
             UNION ALL
             SELECT p.pid, p.database_name, p.user_name, NULL, 'prepared', NULL, NULL, p.prepared, p.gid
             FROM prepared p)
         SELECT w.pid,
             pg_catalog.date_part('epoch', pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-) w.waitstart)
                 OPERATOR(pg_catalog.*) 1000.0::pg_catalog.float8,
             s.database_name, s.user_name, s.application_name, s.query, w.locktype, w.mode,
             CASE WHEN COALESCE(w.relation, r.relation) IS NOT NULL
                 AND d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database()
                 THEN COALESCE(w.relation, r.relation)::pg_catalog.regclass::pg_catalog.text END,
             CASE WHEN e.blocker OPERATOR(pg_catalog.>) 0 THEN e.blocker END,
             b.user_name, b.application_name, b.state, b.query,
             CASE WHEN e.head OPERATOR(pg_catalog.>) 0 THEN e.head END,
             h.user_name, h.application_name, h.state,
             pg_catalog.date_part('epoch', pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-) h.xact_start)
                 OPERATOR(pg_catalog.*) 1000.0::pg_catalog.float8,
             h.query, e.depth, b.gid, h.gid,
             s.query_id, b.query_id, h.query_id, b.database_name, h.database_name
         FROM waiting w
         JOIN ended e ON e.pid OPERATOR(pg_catalog.=) w.pid
         LEFT JOIN LATERAL (
             SELECT t.relation, t.database FROM pg_catalog.pg_lock_status() t
             WHERE t.pid OPERATOR(pg_catalog.=) w.pid AND t.locktype OPERATOR(pg_catalog.=) 'tuple'
             LIMIT 1) r ON w.locktype OPERATOR(pg_catalog.=) 'transactionid'
         LEFT JOIN pg_catalog.pg_database d
             ON d.oid OPERATOR(pg_catalog.=) COALESCE(w.database, r.database)
         LEFT JOIN session s ON s.pid OPERATOR(pg_catalog.=) w.pid
         LEFT JOIN session b ON b.pid OPERATOR(pg_catalog.=) e.blocker
         LEFT JOIN session h ON h.pid OPERATOR(pg_catalog.=) e.head
         ORDER BY e.head, e.depth, w.waitstart, w.pid, e.blocker"
        ),
        &[],
    )?;
    let texts = [
        Text { text: 5, queryid: 23, database: 2, user: 3 },
        Text { text: 13, queryid: 24, database: 26, user: 10 },
        Text { text: 19, queryid: 25, database: 27, user: 15 },
    ];
    show_prepared(&mut rows, &texts)?;
    rows.iter_mut().for_each(|row| row.truncate(SHOWN));
    Ok(rows)
}

/// In which columns of a row a session's text is, and what tells which statement it executes.
#[derive(Clone, Copy)]
struct Text {
    text: usize,
    queryid: usize,
    database: usize,
    user: usize,
}

/// EXECUTE says only what somebody named a statement: in its place comes the one that was prepared, where the history of this
/// database has it and the caller may see it.
fn show_prepared(rows: &mut [Row], texts: &[Text]) -> Result<(), Error> {
    let names_one = |text: &Cell| {
        let text = text.text().unwrap_or_default();
        let shape = parse::shape(text.as_bytes());
        matches!(shape, Shape::Utility { command, .. } if command == "EXECUTE")
    };
    let mut wanted: Vec<(usize, Text)> = Vec::new();
    for (at, row) in rows.iter().enumerate() {
        let own = texts.iter().filter(|one| row.get(one.text).is_some_and(names_one));
        wanted.extend(own.map(|one| (at, *one)));
    }
    if wanted.is_empty() {
        return Ok(());
    }
    let cell = |rows: &[Row], at: usize, column: usize| {
        rows.get(at).and_then(|row| row.get(column)).cloned().unwrap_or(Cell::Null)
    };
    let queryids: Vec<i64> =
        wanted.iter().filter_map(|(at, one)| cell(rows, *at, one.queryid).int()).collect();
    let known = statements(&queryids, &Scope::of(0, 0, None).sources)?;
    for (at, one) in wanted {
        let name = |column: usize| cell(rows, at, column).text().unwrap_or_default();
        let queryid = cell(rows, at, one.queryid).int().unwrap_or(0);
        let found = known.get(&name(one.database), &name(one.user), queryid);
        let found = found.map(|(_, text)| text.clone()).filter(|text| *text != Cell::Null);
        if let Some((text, found)) = rows[at].get_mut(one.text).zip(found) {
            *text = found;
        }
    }
    Ok(())
}

/// A prepared transaction that is in somebody's way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Prepared {
    pub(crate) gid: String,
    pub(crate) user: String,
    pub(crate) database: String,
    /// Since when, microseconds since the Unix epoch.
    pub(crate) since: i64,
}

/// Who waits for a prepared transaction now: process, and the one that was prepared first of those in its way.
pub(crate) fn prepared() -> Result<HashMap<i32, Prepared>, Error> {
    let rows = query::rows(
        &format!(
            "WITH {WAITING}
         SELECT e.pid::pg_catalog.int8, p.gid, p.user_name, p.database_name, p.prepared
         FROM prepared_edge e JOIN prepared p ON p.pid OPERATOR(pg_catalog.=) e.blocker
         ORDER BY p.pid"
        ),
        &[],
    )?;
    let one = |row: Vec<Cell>| {
        let [pid, gid, user, database, since] = row.as_slice() else { return None };
        let prepared = Prepared {
            gid: gid.text()?,
            user: user.text().unwrap_or_default(),
            database: database.text().unwrap_or_default(),
            since: since.int()?,
        };
        Some((i32::try_from(pid.int()?).ok()?, prepared))
    };
    // In descending order of time, so that the last one to be put in stays.
    Ok(rows.into_iter().filter_map(one).collect())
}

/// Transactions that are longer than this many seconds, the oldest first.
pub(crate) fn long_transactions(seconds: f64) -> Result<Vec<Row>, Error> {
    let mut rows = query::rows(
        "WITH waiting AS MATERIALIZED (
             SELECT DISTINCT l.pid, b.pid AS blocker
             FROM pg_catalog.pg_lock_status() l
             CROSS JOIN LATERAL pg_catalog.unnest(pg_catalog.pg_blocking_pids(l.pid)) b (pid)
             WHERE NOT l.granted AND l.pid IS NOT NULL)
         SELECT a.pid, a.backend_type, d.datname::pg_catalog.text,
             pg_catalog.pg_get_userbyid(a.usesysid)::pg_catalog.text, a.application_name,
             pg_catalog.host(a.client_addr), a.state,
             pg_catalog.date_part('epoch', n.now OPERATOR(pg_catalog.-) a.xact_start)
                 OPERATOR(pg_catalog.*) 1000.0::pg_catalog.float8,
             pg_catalog.date_part('epoch', n.now OPERATOR(pg_catalog.-) a.state_change)
                 OPERATOR(pg_catalog.*) 1000.0::pg_catalog.float8,
             a.wait_event_type, a.wait_event, a.query_id, a.query,
             pg_catalog.age(a.backend_xid)::pg_catalog.int8, pg_catalog.age(a.backend_xmin)::pg_catalog.int8,
             (SELECT pg_catalog.count(*) FROM waiting w WHERE w.blocker OPERATOR(pg_catalog.=) a.pid)
         FROM pg_catalog.pg_stat_get_activity(NULL) a
         CROSS JOIN (SELECT pg_catalog.clock_timestamp() AS now) n
         LEFT JOIN pg_catalog.pg_database d ON d.oid OPERATOR(pg_catalog.=) a.datid
         WHERE a.xact_start IS NOT NULL AND a.pid OPERATOR(pg_catalog.<>) pg_catalog.pg_backend_pid()
             AND pg_catalog.date_part('epoch', n.now OPERATOR(pg_catalog.-) a.xact_start)
                 OPERATOR(pg_catalog.>=) $1
         ORDER BY a.xact_start, a.pid",
        &[seconds.into()],
    )?;
    show_prepared(&mut rows, &[Text { text: 12, queryid: 11, database: 2, user: 3 }])?;
    Ok(rows)
}

/// What keeps old row versions, the oldest first: kind, name, process, database, user, application, state, age in
/// transactions, age in milliseconds, and of which tables they are kept.
pub(crate) fn xmin_horizon() -> Result<Vec<Row>, Error> {
    query::rows(
        "SELECT h.kind, h.name, h.pid, h.database_name, h.user_name, h.application, h.state, h.xmin_age,
             h.age_ms, h.keeps
         FROM (
             SELECT CASE WHEN a.backend_type OPERATOR(pg_catalog.=) 'walsender' THEN 'standby'
                     WHEN pg_catalog.starts_with(a.state, 'idle in transaction') THEN 'idle transaction'
                     ELSE 'transaction' END AS kind,
                 COALESCE(NULLIF(a.application_name, ''), a.pid::pg_catalog.text) AS name, a.pid,
                 d.datname::pg_catalog.text AS database_name,
                 pg_catalog.pg_get_userbyid(a.usesysid)::pg_catalog.text AS user_name,
                 a.application_name AS application, a.state,
                 GREATEST(pg_catalog.age(a.backend_xid), pg_catalog.age(a.backend_xmin))::pg_catalog.int8
                     AS xmin_age,
                 CASE WHEN a.backend_type OPERATOR(pg_catalog.<>) 'walsender' THEN
                     pg_catalog.date_part('epoch',
                         pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-) a.xact_start)
                     OPERATOR(pg_catalog.*) 1000.0::pg_catalog.float8 END AS age_ms,
                 CASE WHEN a.backend_type OPERATOR(pg_catalog.=) 'walsender' THEN 'all tables'
                     ELSE 'tables of the database' END AS keeps
             FROM pg_catalog.pg_stat_get_activity(NULL) a
             LEFT JOIN pg_catalog.pg_database d ON d.oid OPERATOR(pg_catalog.=) a.datid
             WHERE (a.backend_xid IS NOT NULL OR a.backend_xmin IS NOT NULL)
                 AND a.pid OPERATOR(pg_catalog.<>) pg_catalog.pg_backend_pid()
                 AND a.backend_type OPERATOR(pg_catalog.<>) 'autovacuum worker'
                 AND NOT EXISTS (SELECT FROM pg_catalog.pg_stat_get_progress_info('VACUUM') v
                     WHERE v.pid OPERATOR(pg_catalog.=) a.pid OR v.pid OPERATOR(pg_catalog.=) a.leader_pid)
             UNION ALL
             SELECT 'prepared transaction', p.gid, NULL, d.datname::pg_catalog.text,
                 pg_catalog.pg_get_userbyid(p.ownerid)::pg_catalog.text, NULL, NULL,
                 pg_catalog.age(p.transaction)::pg_catalog.int8,
                 pg_catalog.date_part('epoch', pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-) p.prepared)
                     OPERATOR(pg_catalog.*) 1000.0::pg_catalog.float8,
                 'tables of the database'
             FROM pg_catalog.pg_prepared_xact() p
             LEFT JOIN pg_catalog.pg_database d ON d.oid OPERATOR(pg_catalog.=) p.dbid
             UNION ALL
             SELECT 'replication slot', s.slot_name::pg_catalog.text, s.active_pid, d.datname::pg_catalog.text,
                 NULL, NULL, CASE WHEN s.active THEN 'active' ELSE 'inactive' END, x.age, NULL, x.keeps
             FROM pg_catalog.pg_get_replication_slots() s
             LEFT JOIN pg_catalog.pg_database d ON d.oid OPERATOR(pg_catalog.=) s.datoid
             CROSS JOIN LATERAL (VALUES
                 (pg_catalog.age(s.xmin)::pg_catalog.int8, 'all tables'),
                 (pg_catalog.age(s.catalog_xmin)::pg_catalog.int8, 'system catalogs')) x (age, keeps)
             WHERE x.age IS NOT NULL) h
         ORDER BY h.xmin_age DESC NULLS LAST, h.age_ms DESC NULLS LAST, h.kind, h.name",
        &[],
    )
}
