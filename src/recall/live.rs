//! Sessions as they are now, as far as the caller may see them: the server itself hides those of other users from whoever
//! may not read all statistics.

use super::cell::Cell;
use super::query;
use crate::error::Error;

/// A row as it is shown; its columns are those of the function that shows it.
type Row = Vec<Cell>;

/// Who waits for a lock now and who is in the way, those that are at the head of a chain first.
pub(crate) fn blocking() -> Result<Vec<Row>, Error> {
    query::rows(
        "WITH RECURSIVE waiting AS MATERIALIZED (
             SELECT l.pid, l.locktype, l.mode, l.relation, l.database, l.waitstart,
                 pg_catalog.pg_blocking_pids(l.pid) AS blockers
             FROM pg_catalog.pg_lock_status() l
             WHERE NOT l.granted AND l.pid IS NOT NULL),
         edge AS (
             SELECT DISTINCT w.pid, b.pid AS blocker
             FROM waiting w CROSS JOIN LATERAL pg_catalog.unnest(w.blockers) b (pid)),
         chain AS (
             SELECT e.pid, e.blocker, e.blocker AS head, 1 AS depth, ARRAY[e.pid, e.blocker] AS path
             FROM edge e
             UNION ALL
             SELECT c.pid, c.blocker, e.blocker, c.depth OPERATOR(pg_catalog.+) 1,
                 c.path OPERATOR(pg_catalog.||) e.blocker
             FROM chain c JOIN edge e ON e.pid OPERATOR(pg_catalog.=) c.head
             WHERE NOT e.blocker OPERATOR(pg_catalog.=) ANY (c.path)),
         ended AS (
             SELECT DISTINCT ON (c.pid, c.blocker) c.pid, c.blocker, c.head, c.depth
             FROM chain c
             ORDER BY c.pid, c.blocker, c.depth DESC, c.head),
         session AS MATERIALIZED (
             SELECT a.pid, d.datname::pg_catalog.text AS database_name,
                 pg_catalog.pg_get_userbyid(a.usesysid)::pg_catalog.text AS user_name,
                 a.application_name, a.state, a.query, a.xact_start
             FROM pg_catalog.pg_stat_get_activity(NULL) a
             LEFT JOIN pg_catalog.pg_database d ON d.oid OPERATOR(pg_catalog.=) a.datid)
         SELECT w.pid,
             pg_catalog.date_part('epoch', pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-) w.waitstart)
                 OPERATOR(pg_catalog.*) 1000.0::pg_catalog.float8,
             s.database_name, s.user_name, s.application_name, s.query, w.locktype, w.mode,
             CASE WHEN COALESCE(w.relation, r.relation) IS NOT NULL
                 AND d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database()
                 THEN COALESCE(w.relation, r.relation)::pg_catalog.regclass::pg_catalog.text END,
             NULLIF(e.blocker, 0), b.user_name, b.application_name, b.state, b.query,
             NULLIF(e.head, 0), h.user_name, h.application_name, h.state,
             pg_catalog.date_part('epoch', pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-) h.xact_start)
                 OPERATOR(pg_catalog.*) 1000.0::pg_catalog.float8,
             h.query, e.depth
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
         ORDER BY e.head, e.depth, w.waitstart, w.pid, e.blocker",
        &[],
    )
}

/// Transactions that are longer than this many seconds, the oldest first.
pub(crate) fn long_transactions(seconds: f64) -> Result<Vec<Row>, Error> {
    query::rows(
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
    )
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
