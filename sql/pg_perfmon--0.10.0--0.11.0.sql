-- From 0.10.0 to 0.11.0. Once 0.11.0 is released this file is frozen; a test holds what it makes against a fresh
-- installation.

DROP FUNCTION perfmon.process_limits(timestamptz, timestamptz, bigint);

CREATE FUNCTION perfmon.process_limits(
    since timestamptz DEFAULT now() - interval '1 hour',
    until timestamptz DEFAULT now(),
    source bigint DEFAULT NULL
) RETURNS TABLE (
    kind text,
    setting text,
    processes_limit int,
    open_now int,
    open_avg float8,
    open_peak_avg float8,
    headroom float8,
    saturation_ratio float8,
    saturation text,
    refused bigint,
    samples bigint
) LANGUAGE c STABLE PARALLEL UNSAFE ROWS 4 AS 'MODULE_PATHNAME', 'process_limits_wrapper';

REVOKE ALL ON FUNCTION
    perfmon.process_limits(timestamptz, timestamptz, bigint)
FROM PUBLIC;

GRANT EXECUTE ON FUNCTION
    perfmon.process_limits(timestamptz, timestamptz, bigint)
TO pg_monitor;

COMMENT ON FUNCTION perfmon.pool_saturation(timestamptz, timestamptz, bigint) IS
'How full the server, databases, users and pools are over a window, in the home database (55000 elsewhere). Whose a row is: as in pool_activity(). Limits: server_limit is max_connections less what is reserved for others (superuser_reserved_connections, from 16 on reserved_connections; less is reserved for those who may use it), database_limit and role_limit are their CONNECTION LIMIT (superusers have none), pooler_limit is, of the limits of a pooler that is asked (pooler_pools()), the one that is met first: the size of the pool of that database and user, with its reserve, as it was on average, or, shared with other pools of it, its max_db_connections or max_user_connections (limited_by: pooler; pooler, max_db_connections; pooler, max_user_connections); for sessions that are the pooler''s as far as their number and address tell (a database that PgBouncer calls otherwise, or for which it forces a user, is known by the server''s names), pool_limit was declared or, pool_limit_from inferred, is the number at which a pool stood for half of the window; "declared, exceeded" is a declared size which is not that of this pool, as more were open while it was there. They are as they are now, whatever the window; NULL is none. limited_by, connections_limit: the limit with least headroom, of several that leave as much the narrowest. connections_used: of what is under that limit, what 95 % of samples did not exceed, or what there is now if that is more; open sessions for limits of the server, a database or a role, busy ones for those of a pool, and of a pooler''s what it says that it gave to clients, of all pools together where they share a limit. headroom, saturation_ratio: of that. saturation: ok, warning over 80 %, critical over 90 % (thresholds pool_saturation_ratio, pool_saturation_critical_ratio); always ok by an inferred or exceeded size. Of sessions most of which do not say what they do (track_activities is off), only open_ columns and limits of open sessions are known. Pools of another pg_perfmon.pool_grouping than that of the end of the window are left out: pool_activity() shows them. peak_ratio: the same of the peak. hours_to_exhaustion, growth_per_hour: when the first of the limits of server, database and role is reached by the median of the slopes between all steps of the window (Theil, Sen), on top of what the same hours of the last seven days had where at least three are known; NULL where the data do not support it, or where the last third of the window grows by less than a quarter of that. queue_cause: as in why_queued(), NULL for nothing. _now: at this moment, NULL for windows that are over; _avg, _p95, _peak over samples, by state. monitoring_avg: of open_avg, those of pg_perfmon''s and Grafana''s own application names. idle_ratio, in_transaction_ratio, on_lock_ratio: shares of open_avg. opened_per_s: new sessions that samples saw; sessions_per_s and session_ms (how many began, how long one lasts): what pg_stat_database counted of the server or database; session_ms is of the intervals in which no session ended right after its login, which it counts as lasting since 2000. storms: steps (whole intervals, of a sixtieth of the window or more) with more new sessions than the median by six median deviations, at least 10, neighbouring ones being one storm; storm_peak_per_step: the most in one, or in both where a storm lies across the border of two. refused: connections that were refused, by cause, which no view of the server shows; refused_authentication is apart, and walsenders are in process_limits(); NULL where errors are not counted, and for pools. Errors: 22023, 55000. Source of the formulas: the manual, Pools.';

COMMENT ON FUNCTION perfmon.process_limits(timestamptz, timestamptz, bigint) IS
'Processes that take none of max_connections, under the settings that limit them, in the home database (55000 elsewhere): walsender (max_wal_senders), background worker (max_worker_processes: parallel workers, those of logical replication and of extensions; a worker without a database that is not shown in pg_stat_activity takes a place too, and is not counted), parallel worker (max_parallel_workers) and autovacuum worker (autovacuum_max_workers). Arguments: since and until (default: the last hour), source. processes_limit: the setting as it is now, whatever the window; NULL for another source. open_now: at this moment, NULL for windows that are over. open_avg: over samples; open_peak_avg: the highest average of one interval (of hours and days where the window is kept so). headroom, saturation_ratio: by open_peak_avg, or open_now if that is more; NULL where the limit is 0. saturation: ok, warning, critical by the thresholds pool_saturation_ratio and pool_saturation_critical_ratio. refused: walsenders that were refused because there were as many as max_wal_senders allows (from 0.11.0 on); NULL where errors are not counted, and for the others: who wants one of these waits, or does without. samples: of the window. Errors: 22023, 55000.';
COMMENT ON TABLE perfmon.object IS
'Names of tables, indexes, databases and kinds of I/O by id. relation: schema, table, kind; index: schema, index, table; database: oid (empty: this database), name, (empty); io: backend type, object, context.';

COMMENT ON TABLE perfmon.statement_hour IS 'perfmon.statement_minute, rolled up to UTC hours; of more than 10,000 statements, what makes less than 0.1 % is summed under id 0.';
COMMENT ON TABLE perfmon.statement_day IS 'perfmon.statement_minute, rolled up to UTC days; of more than 10,000 statements, what makes less than 0.1 % is summed under id 0.';
COMMENT ON TABLE perfmon.latency_hour IS 'perfmon.latency_minute, rolled up to UTC hours: sums of buckets; of more than 10,000 statements, what makes less than 0.1 % is summed under id 0.';
COMMENT ON TABLE perfmon.latency_day IS 'perfmon.latency_minute, rolled up to UTC days: sums of buckets; of more than 10,000 statements, what makes less than 0.1 % is summed under id 0.';
COMMENT ON FUNCTION perfmon.pool_activity(timestamptz, timestamptz, interval, bigint) IS
'Clients'' sessions by step, in the home database (SQLSTATE 55000 elsewhere): level server, database, user, or pool, which is database, user and, as pg_perfmon.pool_grouping says, application and client''s address (empty for a Unix socket). Only client backends count, as only they take one of max_connections. open is all of them, busy those inside a statement or a transaction, active those inside a statement, in_transaction those that wait for their client inside one. avg, min, p95, p99 and peak are over samples; numbers are exact up to 127, above that min, p95 and p99 are off by 3 %; peaks are always exact. on_cpu, on_lock, on_client and on_io are busy sessions that wait for nothing, a lock, their client, a file. hidden_avg: sessions that do not say what they do, as track_activities is off for them; they are in no state, and where they are more than half all columns of states are NULL. opened are connections that a sample saw for the first time. monitoring marks pg_perfmon''s and Grafana''s own. counted_ and sessions_ columns are what pg_stat_database says of a database, and in sum of the server: exact, but late: a statement counts when it ends, and the time of an idle session (counted_open_avg) when its client next sends something or leaves. An interval is in each step with the part that lies there, its peak in the one in which half of it lies or more. Where more than half of a step is of intervals that lie in several steps like that, peak and min are NULL, unless all samples of these found the same number; so is peak where such a part had more sessions than any peak that is known there, with min, and min where it had less. quality is doubtful where samples were taken by snapshots only.';
ALTER FUNCTION perfmon.grant_reader(text) CALLED ON NULL INPUT;
ALTER FUNCTION perfmon.revoke_reader(text) CALLED ON NULL INPUT;
