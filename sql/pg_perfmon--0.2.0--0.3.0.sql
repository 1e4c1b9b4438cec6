-- From 0.2.0 to 0.3.0. Once 0.3.0 is released this file is frozen; a test holds what it makes against a fresh
-- installation.


CREATE FUNCTION perfmon.latency_since_start() RETURNS TABLE (
    user_name text,
    queryid bigint,
    toplevel bool,
    rest bool,
    executions bigint,
    read_executions bigint,
    total_ms float8,
    p50_ms float8,
    p75_ms float8,
    p90_ms float8,
    p95_ms float8,
    p99_ms float8,
    max_ms float8,
    cached_p50_ms float8,
    cached_p95_ms float8,
    read_p50_ms float8,
    read_p95_ms float8,
    error_ratio float8
) LANGUAGE c VOLATILE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'latency_since_start_wrapper';

CREATE FUNCTION perfmon.errors_since_start() RETURNS TABLE (
    database_name text,
    user_name text,
    queryid bigint,
    rest bool,
    class text,
    sqlstate text,
    errors bigint,
    lost_ms float8,
    last_at timestamptz
) LANGUAGE c VOLATILE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'errors_since_start_wrapper';

REVOKE ALL ON FUNCTION
    perfmon.latency_since_start(),
    perfmon.errors_since_start()
FROM PUBLIC;

GRANT EXECUTE ON FUNCTION
    perfmon.latency_since_start(),
    perfmon.errors_since_start()
TO pg_monitor;

COMMENT ON FUNCTION perfmon.latency_since_start() IS
'Execution times of this database''s statements since the server started, from a histogram of every execution (in the executor, as pg_stat_statements counts; commands as a whole). One row per user, queryid and toplevel, longest total first; rest is true for the row of all that has no row of its own any more. Executions that read blocks from outside the server''s cache are apart (read_) from those that found all in it (cached_). Milliseconds. Percentiles and total_ms are at most error_ratio off, times below a microsecond and from an hour on excepted. queryid is NULL for other users'' statements unless the caller has pg_read_all_stats. 55000 without preloading. What is counted: pg_perfmon.capture; how many rows: pg_perfmon.max_statements.';

COMMENT ON FUNCTION perfmon.errors_since_start() IS
'Errors that the server logged for clients of this database since it started, most frequent first, by user, statement (queryid; that which the client sent) and SQLSTATE. class tells errors of applications (error, deadlock) from cancelled, statement_timeout, lock_timeout, idle_in_transaction_timeout, idle_session_timeout, transaction_timeout, terminated and refused (connections; without a database). lost_ms: time of the failed statements since their message arrived. rest is true for what has no row of its own any more. queryid is NULL where it is unknown (syntax errors; compute_query_id or track_activities off), and for other users'' statements unless the caller has pg_read_all_stats. 55000 without preloading. Errors that log_min_messages keeps from the log are not counted.';
