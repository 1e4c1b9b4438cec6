-- From 0.3.0 to 0.4.0. Once 0.4.0 is released this file is frozen; a test holds what it makes against a fresh
-- installation.

DROP FUNCTION perfmon.blocking_now();

DROP FUNCTION perfmon.pool_history(timestamptz, timestamptz, bigint);

DROP FUNCTION perfmon.blocking(timestamptz, timestamptz, bigint);

DROP FUNCTION perfmon.pool_activity(timestamptz, timestamptz, interval, bigint);

ALTER TABLE perfmon.pool_minute ADD COLUMN load_samples pg_catalog.bytea;
ALTER TABLE perfmon.pool_minute ALTER COLUMN load_samples SET STORAGE EXTERNAL;
ALTER TABLE perfmon.pool_hour ADD COLUMN load_samples pg_catalog.bytea;
ALTER TABLE perfmon.pool_hour ALTER COLUMN load_samples SET STORAGE EXTERNAL;
ALTER TABLE perfmon.pool_day ADD COLUMN load_samples pg_catalog.bytea;
ALTER TABLE perfmon.pool_day ALTER COLUMN load_samples SET STORAGE EXTERNAL;

-- What plans look like, written once for most. Granted to nobody: the view below masks the forms of the plan as
-- statements' texts are masked. Forms are words that repeat: they are compressed however short they are.
CREATE TABLE perfmon.plan_form (
    source pg_catalog.int8 NOT NULL,
    statement_id pg_catalog.int4 NOT NULL,
    plan_id pg_catalog.int8 NOT NULL,
    cost pg_catalog.float8,
    heaviest_node pg_catalog.text,
    heaviest_ratio pg_catalog.float8,
    has_constants pg_catalog.bool,
    plan_text pg_catalog.text,
    plan_json pg_catalog.json,
    PRIMARY KEY (source, statement_id, plan_id)
);

ALTER TABLE perfmon.plan_form
    ALTER COLUMN plan_text SET STORAGE MAIN,
    ALTER COLUMN plan_json SET STORAGE MAIN;

SELECT pg_catalog.pg_extension_config_dump('perfmon.plan_form'::pg_catalog.regclass, '');

-- What plans look like is looked for there, and what counts on in the old rows empties them.
INSERT INTO perfmon.plan_form (source, statement_id, plan_id, cost, heaviest_node, heaviest_ratio, has_constants,
    plan_text, plan_json)
SELECT p.source, p.statement_id, p.plan_id, p.cost, p.heaviest_node, p.heaviest_ratio, p.has_constants, p.plan_text,
    p.plan_json
FROM perfmon.plan p
WHERE p.cost IS NOT NULL OR p.plan_text IS NOT NULL OR p.plan_json IS NOT NULL;

CREATE OR REPLACE VIEW perfmon.plan_shown WITH (security_barrier) AS
SELECT
    p.source,
    p.statement_id,
    p.plan_id,
    p.first_seen,
    p.last_seen,
    p.calls,
    p.total_us,
    p.max_us,
    p.sampled_calls,
    p.sampled_us,
    p.printed_at,
    COALESCE(f.cost, p.cost) AS cost,
    COALESCE(f.heaviest_node, p.heaviest_node) AS heaviest_node,
    COALESCE(f.heaviest_ratio, p.heaviest_ratio) AS heaviest_ratio,
    COALESCE(f.has_constants, p.has_constants) AS has_constants,
    CASE WHEN v.visible THEN COALESCE(f.plan_text, p.plan_text)
        WHEN COALESCE(f.plan_text, p.plan_text) IS NOT NULL THEN '<insufficient privilege>' END AS plan_text,
    CASE WHEN v.visible THEN COALESCE(f.plan_json, p.plan_json) END AS plan_json
FROM perfmon.plan p
LEFT JOIN perfmon.plan_form f
    ON f.source OPERATOR(pg_catalog.=) p.source
    AND f.statement_id OPERATOR(pg_catalog.=) p.statement_id
    AND f.plan_id OPERATOR(pg_catalog.=) p.plan_id
LEFT JOIN perfmon.statement_entry e
    ON e.source OPERATOR(pg_catalog.=) p.source
    AND e.statement_id OPERATOR(pg_catalog.=) p.statement_id
CROSS JOIN LATERAL (
    SELECT pg_catalog.pg_has_role('pg_read_all_stats'::pg_catalog.name, 'USAGE')
        OR COALESCE(e.user_name OPERATOR(pg_catalog.=) CURRENT_USER::pg_catalog.text, false) AS visible
) v;

ALTER TABLE perfmon.lock_wait
    ADD COLUMN blocker_gid pg_catalog.text,
    ADD COLUMN head_gid pg_catalog.text;

-- Those that go on are asked for at each snapshot, and are few.
CREATE INDEX lock_wait_open ON perfmon.lock_wait (source) WHERE ended IS NULL;

CREATE FUNCTION perfmon.blocking_now() RETURNS TABLE (
    process_id int,
    waited_ms float8,
    database_name text,
    user_name text,
    application text,
    query text,
    lock_type text,
    lock_mode text,
    relation_name text,
    blocker_process_id int,
    blocker_user_name text,
    blocker_application text,
    blocker_state text,
    blocker_query text,
    head_process_id int,
    head_user_name text,
    head_application text,
    head_state text,
    head_transaction_ms float8,
    head_query text,
    chain_depth int,
    blocker_gid text,
    head_gid text
) LANGUAGE c VOLATILE PARALLEL RESTRICTED ROWS 20 AS 'MODULE_PATHNAME', 'blocking_now_wrapper';

CREATE FUNCTION perfmon.pool_history(
    since timestamptz DEFAULT now() - interval '1 hour',
    until timestamptz DEFAULT now(),
    source bigint DEFAULT NULL
) RETURNS TABLE (
    "time" timestamptz,
    time_end timestamptz,
    length_ms float8,
    database_name text,
    user_name text,
    group_name text,
    quality text,
    open_samples bigint,
    busy_samples bigint,
    active_samples bigint,
    idle_samples bigint,
    in_transaction_samples bigint,
    active bigint,
    idle bigint,
    in_transaction bigint,
    aborted bigint,
    fastpath bigint,
    disabled bigint,
    starting bigint,
    on_cpu bigint,
    on_lock bigint,
    on_client bigint,
    on_io bigint,
    opened bigint,
    open_peak bigint,
    busy_peak bigint,
    active_peak bigint,
    idle_peak bigint,
    in_transaction_peak bigint,
    on_lock_peak bigint,
    load_samples bigint,
    place int,
    from_source bigint
) LANGUAGE c STABLE PARALLEL RESTRICTED ROWS 10000 AS 'MODULE_PATHNAME', 'pool_history_wrapper';

CREATE FUNCTION perfmon.blocking(
    since timestamptz DEFAULT now() - interval '1 hour',
    until timestamptz DEFAULT now(),
    source bigint DEFAULT NULL
) RETURNS TABLE (
    "time" timestamptz,
    ended timestamptz,
    waited_ms float8,
    process_id int,
    database_name text,
    user_name text,
    application text,
    queryid bigint,
    statement_id int,
    query text,
    lock_type text,
    relation_name text,
    lock_mode text,
    blocker_process_id int,
    blocker_user_name text,
    blocker_application text,
    blocker_state text,
    blocker_queryid bigint,
    blocker_statement_id int,
    blocker_query text,
    held_mode text,
    head_process_id int,
    head_user_name text,
    head_application text,
    head_state text,
    head_transaction_ms float8,
    head_queryid bigint,
    head_statement_id int,
    head_query text,
    chain_depth int,
    blocker_gid text,
    head_gid text
) LANGUAGE c STABLE PARALLEL RESTRICTED ROWS 100 AS 'MODULE_PATHNAME', 'blocking_wrapper';

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
    samples bigint
) LANGUAGE c STABLE PARALLEL UNSAFE ROWS 4 AS 'MODULE_PATHNAME', 'process_limits_wrapper';

CREATE FUNCTION perfmon.pool_activity(
    since timestamptz DEFAULT now() - interval '1 hour',
    until timestamptz DEFAULT now(),
    step interval DEFAULT NULL,
    source bigint DEFAULT NULL
) RETURNS TABLE (
    "time" timestamptz,
    level text,
    database_name text,
    user_name text,
    application text,
    client_address text,
    monitoring bool,
    samples bigint,
    open_avg float8,
    open_min int,
    open_p95 float8,
    open_p99 float8,
    open_peak int,
    busy_avg float8,
    busy_min int,
    busy_p95 float8,
    busy_p99 float8,
    busy_peak int,
    active_avg float8,
    active_min int,
    active_p95 float8,
    active_p99 float8,
    active_peak int,
    idle_avg float8,
    idle_min int,
    idle_p95 float8,
    idle_p99 float8,
    idle_peak int,
    in_transaction_avg float8,
    in_transaction_min int,
    in_transaction_p95 float8,
    in_transaction_p99 float8,
    in_transaction_peak int,
    aborted_avg float8,
    on_cpu_avg float8,
    on_lock_avg float8,
    on_lock_peak int,
    on_client_avg float8,
    on_io_avg float8,
    hidden_avg float8,
    opened bigint,
    opened_per_s float8,
    counted_open_avg float8,
    counted_active_avg float8,
    counted_in_transaction_avg float8,
    counted_sessions bigint,
    sessions_abandoned bigint,
    sessions_fatal bigint,
    sessions_killed bigint,
    covered_ratio float8,
    quality text
) LANGUAGE c STABLE PARALLEL RESTRICTED ROWS 2000 AS 'MODULE_PATHNAME', 'pool_activity_wrapper';

REVOKE ALL ON TABLE
    perfmon.plan_form,
    perfmon.plan_shown
FROM PUBLIC;

REVOKE ALL ON FUNCTION
    perfmon.process_limits(timestamptz, timestamptz, bigint),
    perfmon.blocking_now(),
    perfmon.pool_history(timestamptz, timestamptz, bigint),
    perfmon.blocking(timestamptz, timestamptz, bigint),
    perfmon.pool_activity(timestamptz, timestamptz, interval, bigint)
FROM PUBLIC;

GRANT SELECT ON TABLE
    perfmon.plan_shown
TO pg_monitor;

GRANT EXECUTE ON FUNCTION
    perfmon.pool_history(timestamptz, timestamptz, bigint),
    perfmon.pool_activity(timestamptz, timestamptz, interval, bigint),
    perfmon.process_limits(timestamptz, timestamptz, bigint),
    perfmon.blocking(timestamptz, timestamptz, bigint),
    perfmon.blocking_now()
TO pg_monitor;

COMMENT ON TABLE perfmon.plan IS
'Plans that statements were seen to have, as plans() shows them. Bounded: of each statement the 10 seen last and those of its flips, 5,000 in all, for pg_perfmon.retention. What they look like is in plan_form.';

COMMENT ON TABLE perfmon.plan_form IS
'What the plans of the table plan look like, as EXPLAIN prints them. The view plan_shown masks them.';

COMMENT ON VIEW perfmon.plan_shown IS
'Plans for those who may see numbers: plan_text and plan_json are shown to members of pg_read_all_stats and to the user of the statement. Read by plans().';

COMMENT ON FUNCTION perfmon.pool_saturation(timestamptz, timestamptz, bigint) IS
'How full the server, databases, users and pools are over a window, in the home database (55000 elsewhere). Whose a row is: as in pool_activity(). Limits: server_limit is max_connections less what is reserved for others (superuser_reserved_connections, from 16 on reserved_connections; less is reserved for those who may use it), database_limit and role_limit are their CONNECTION LIMIT (superusers have none), pooler_limit is the size of the pool of that database and user at a pooler that is asked (pooler_pools()), as it was on average, for sessions that are the pooler''s as far as their number and address tell (a database that PgBouncer calls otherwise, or for which it forces a user, is known by the server''s names), pool_limit was declared or, pool_limit_from inferred, is the number at which a pool stood for half of the window; "declared, exceeded" is a declared size which is not that of this pool, as more were open while it was there. They are as they are now, whatever the window; NULL is none. limited_by, connections_limit: the limit with least headroom, of several that leave as much the narrowest. connections_used: of what is under that limit, what 95 % of samples did not exceed, or what there is now if that is more; open sessions for limits of the server, a database or a role, busy ones for those of a pool, and of a pooler''s what it says that it gave to clients. headroom, saturation_ratio: of that. saturation: ok, warning over 80 %, critical over 90 % (thresholds pool_saturation_ratio, pool_saturation_critical_ratio); always ok by an inferred or exceeded size. Of sessions most of which do not say what they do (track_activities is off), only open_ columns and limits of open sessions are known. Pools of another pg_perfmon.pool_grouping than that of the end of the window are left out: pool_activity() shows them. peak_ratio: the same of the peak. hours_to_exhaustion, growth_per_hour: when the first of the limits of server, database and role is reached by the median of the slopes between all steps of the window (Theil, Sen), on top of what the same hours of the last seven days had where at least three are known; NULL where the data do not support it, or where the last third of the window grows by less than a quarter of that. queue_cause: as in why_queued(), NULL for nothing. _now: at this moment, NULL for windows that are over; _avg, _p95, _peak over samples, by state. monitoring_avg: of open_avg, those of pg_perfmon''s and Grafana''s own application names. idle_ratio, in_transaction_ratio, on_lock_ratio: shares of open_avg. opened_per_s: new sessions that samples saw; sessions_per_s and session_ms (how many began, how long one lasts): what pg_stat_database counted of the server or database; session_ms is of the intervals in which no session ended right after its login, which it counts as lasting since 2000. storms: steps (a sixtieth of the window) with more new sessions than the median by six median deviations, at least 10; storm_peak_per_step: the most in one. refused: connections that were refused, by cause, which no view of the server shows; refused_authentication is apart; NULL where errors are not counted, and for pools. Errors: 22023, 55000. Source of the formulas: the manual, Pools.';

COMMENT ON FUNCTION perfmon.why_queued(timestamptz, timestamptz, bigint) IS
'Why sessions queue, one verdict for the server and each database, user and pool, in the home database (55000 elsewhere); of the moments at which a limit was full or clients waited at a pooler, or else of the whole window. Moments at which a limit was full and those at which clients waited although none was are not averaged: the verdict is of those that lasted longer, and detail names the others. Clients that wait at a pooler count for the pools that come by way of it, and for the database, the user and the server; no row where most sessions do not say what they do (track_activities is off). cause: nothing; cpu (more sessions want a processor than there are), lock (detail and, for this cause alone, evidence name the head of the chain, the one for which the sessions of the row waited longest in the window: process, user, application, state, statement and since when), io, client (sessions wait for their client inside a transaction), pool_too_small (a limit is reached, connections were refused or clients wait, while the server has room), pool_too_large (the connections of a full limit are held idle; a pooler''s only by clients that have them, or many times more sessions work than there are processors). detail: in words. evidence: metric, value, unit and threshold of all that decided. Errors: 22023, 55000. Source: the manual, Pools.';

COMMENT ON FUNCTION perfmon.process_limits(timestamptz, timestamptz, bigint) IS
'Processes that take none of max_connections, under the settings that limit them, in the home database (55000 elsewhere): walsender (max_wal_senders), background worker (max_worker_processes: parallel workers, those of logical replication and of extensions; a worker without a database that is not shown in pg_stat_activity takes a place too, and is not counted), parallel worker (max_parallel_workers) and autovacuum worker (autovacuum_max_workers). Arguments: since and until (default: the last hour), source. processes_limit: the setting as it is now, whatever the window; NULL for another source. open_now: at this moment, NULL for windows that are over. open_avg: over samples; open_peak_avg: the highest average of one interval (of hours and days where the window is kept so). headroom, saturation_ratio: by open_peak_avg, or open_now if that is more; NULL where the limit is 0. saturation: ok, warning, critical by the thresholds pool_saturation_ratio and pool_saturation_critical_ratio. samples: of the window. Errors: 22023, 55000.';

COMMENT ON FUNCTION perfmon.pool_size_advice(timestamptz, timestamptz, bigint) IS
'How large pools need be over a window, in the home database (55000 elsewhere). All but open_peak and busy_peak is of the time in which there was any session, which samples counts. advised_size: busy_load and margin, rounded up; NULL with fewer samples than the threshold pool_size_samples, and where most sessions do not say what they do (track_activities is off). busy_load: the sessions that the load keeps busy (inside a statement or a transaction) at its height: the largest load of which chance alone gives one of the percentiles 50, 75, 90, 95 and 99 of busy sessions, no more than percentiles of averages over ten seconds tell, and no less than the average; sessions that wait for a lock are not counted; where more sessions want a processor than the pool''s part of the processors (limited_by_cpus), the average less those beyond. margin: the square root of busy_load, times the threshold pool_size_margin; half of it where processors limit. current_size: that of the pooler, declared (unless more were open), inferred, or the peak of open sessions, as current_size_from says. over_provision_factor: open sessions (p95) for each busy one (p99). connections_freed: what the change would free. change: in words, with what speaks against it (a declared size that is exceeded, sessions that wait for locks, or that do not say what they do); terms: in those of the usual pools, and what their liveness probes cost. transactions_per_s, transaction_ms: what pg_stat_database counted of the database (of all for the server); little_busy_avg is their product, which by Little''s law is the average number of busy sessions; little_ratio is that over the average of samples. quality: good; doubtful where these differ by more than the threshold pool_size_little_ratio or cannot be compared, where a tenth of the busy sessions waits for locks, or where some do not say what they do; too few samples; states are hidden. Errors: 22023, 55000. Source: Little''s law; the manual, Pools.';

COMMENT ON FUNCTION perfmon.pool_history(timestamptz, timestamptz, bigint) IS
'The plain rows of clients'' sessions by pool, database, user and server, in the home database. place below 255: how many samples found that many sessions (above 127 a sixteenth of an octave) open, busy, active, idle and in a transaction. place 255: sums over samples by state and wait, connections that came, and peaks. load_samples: how many samples are of a block of ten seconds in which so many were busy, and waited for no lock, on average.';

COMMENT ON TABLE perfmon.lock_wait IS
'Waits for locks in all databases, as samples saw them, a row for each session that waited and each in its way; in the home database those of all databases, in others their own, for pg_perfmon.retention. Read perfmon.blocking().';

COMMENT ON TABLE perfmon.deadlock IS
'Deadlocks, a row for each session that took part; in the home database those of all databases, in others their own, for pg_perfmon.retention. Read perfmon.deadlocks().';

COMMENT ON FUNCTION perfmon.blocking(timestamptz, timestamptz, bigint) IS
'Who waited for a lock and who was in the way, in the order of time (when the wait began, as the server says): in the home database in all databases, in others what concerns them, which a notice says. Relations and statements of another database are named in that one alone. Locks are looked at when a sample shows a session that waits for one, at most once a second: shorter waits may be missed. ended is when the wait was first seen no more, NULL while it goes on; waited_ms is up to when it was seen last. A session has a row for each that holds the lock, up to four, and where nobody does for the first that waits in front. blocker: who holds the lock in a mode that conflicts (held_mode), or waits for it in front (held_mode NULL); without a process it is a prepared transaction, with blocker_gid, its owner and the state prepared where it was still there at the end of an interval. head: who is at the end of the chain and waits for nobody, when the chain was longest, with its state and the age of its transaction (of a prepared one, since it was prepared; head_gid); chain_depth is the number of steps from there (1 is right behind it). The blocker''s and head''s statement is the last one where they idle in a transaction, which need not be the one that took the lock. lock_type and modes are those of pg_locks; relation_name is known for this database, of a wait for a row (transactionid) as long as it is the first in line. Of many that wait, the 64 that have waited longest are looked at. Errors: 22023 for bad arguments.';

COMMENT ON FUNCTION perfmon.blocking_now() IS
'Who waits for a lock now and who is in the way (pg_blocking_pids), in all databases, with or without preloading: process, waited_ms, statement, lock, blocker, and the head of the chain with its state, its statement and the age of its transaction; chain_depth is the number of steps from there. A prepared transaction has a gid in place of a process; of several in the way each has a row. What of other users'' sessions may be seen is as in pg_stat_activity. Columns are those of blocking(); texts are what the sessions sent.';

COMMENT ON FUNCTION perfmon.deadlocks(timestamptz, timestamptz, bigint) IS
'Deadlocks, a row for each session that took part, in the home database those of all databases, in others their own, with names of their relations and statements: is_victim is the one that the server ended, the others follow in the order of the circle, up to 8. Seen by the hook of the log in the session that was ended: one that an exception handler of a function caught is counted by databases() alone. The statements are those at that moment. lock_type and relation_name are what each waited for, as far as the error''s words tell it. deadlock counts since the server started. Needs preloading. Errors: 22023 for bad arguments.';

COMMENT ON FUNCTION perfmon.idle_in_transaction(timestamptz, timestamptz, bigint) IS
'After which statements sessions idled inside a transaction for a second and more, as samples saw it, most time first, in the home database (SQLSTATE 55000 elsewhere). meaning: pauses (none was as long as the threshold idle_leak_seconds); slow client (clients came back, after long); leak (more time in idle times that go on, or ended with the session, than in those from which the client came back). times is the number of idle times, sessions that of distinct sessions (up to 64 an interval), idle_ms their time within the window, longest_ms the longest. resumed: the client went on in its transaction; finished: the transaction ended; gone: the session ended, by its client or by a timeout; open: those that go on at the end of the last interval, and open_ms how long they do. An idle time ends when the session changed its state, as far as it says; of a session that is gone, half way between the samples. One is missed if no sample fell into it. statement_id and query are known for statements of this database. Errors: 22023 for bad arguments.';

COMMENT ON FUNCTION perfmon.pool_activity(timestamptz, timestamptz, interval, bigint) IS
'Clients'' sessions by step, in the home database (SQLSTATE 55000 elsewhere): level server, database, user, or pool, which is database, user and, as pg_perfmon.pool_grouping says, application and client''s address (empty for a Unix socket). Only client backends count, as only they take one of max_connections. open is all of them, busy those inside a statement or a transaction, active those inside a statement, in_transaction those that wait for their client inside one. avg, min, p95, p99 and peak are over samples; numbers are exact up to 127, above that min, p95 and p99 are off by 3 %; peaks are always exact. on_cpu, on_lock, on_client and on_io are busy sessions that wait for nothing, a lock, their client, a file. hidden_avg: sessions that do not say what they do, as track_activities is off for them; they are in no state, and where they are more than half all columns of states are NULL. opened are connections that a sample saw for the first time. monitoring marks pg_perfmon''s and Grafana''s own. counted_ and sessions_ columns are what pg_stat_database says of a database, and in sum of the server: exact, but late: a statement counts when it ends, and the time of an idle session (counted_open_avg) when its client next sends something or leaves. An interval is in each step with the part that lies there, its peaks in one of them. quality is doubtful where samples were taken by snapshots only.';

COMMENT ON FUNCTION perfmon.seq_scans(timestamptz, timestamptz, bigint) IS
'Large tables that are read by sequential scans for a few of their rows, and the statements that most likely do it (those whose text looks rows of the table up and that touch at least half of its blocks per execution). trend_ratio is rows read in the second half of the window over the first. wasted_ms is the execution time spent on rows thrown away, an estimate. Scans are as the server counts them: each worker of a parallel scan is one. statement is the index that serves most of that time of the table, or, for a statement that it does not serve, the one that this lacks; NULL where none can be composed, since constants are not kept, and remedy says in words what to do. severity and wasted_share_ratio are the table''s. Where executions of the statement were looked into (samples, at least 2), what they showed stands for what is likely: rows_read_per_call and rows_kept_per_call of the table, filter_columns, rows_kept and rows_read_per_row_kept; and one that does not scan the table is not told. table_share_ratio: the statement''s part of all rows that sequential scans of the table read, an estimate from the samples. Errors: 22023 for bad arguments.';
