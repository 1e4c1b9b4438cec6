-- From 0.2.0 to 0.3.0. Once 0.3.0 is released this file is frozen; a test holds what it makes against a fresh
-- installation.

DROP FUNCTION perfmon.statement_series(int, timestamptz, timestamptz, interval, bigint);

DROP FUNCTION perfmon.load_series(timestamptz, timestamptz, interval, bigint);

DROP FUNCTION perfmon.slow_statements(timestamptz, timestamptz, bigint);

DROP FUNCTION perfmon.top_statements(timestamptz, timestamptz, text, int, bigint);

DROP FUNCTION perfmon.seq_scans(timestamptz, timestamptz, bigint);

-- History of what is around the server: the machine and poolers, in the home database only. Made like the other families of
-- 20_history.sql, which makes hours and days of all.

-- The machine: processors, memory, control groups, the cache of ZFS; in the home database only.
CREATE TABLE perfmon.host_minute (
    source pg_catalog.int8 NOT NULL,
    since pg_catalog.timestamptz NOT NULL,
    until pg_catalog.timestamptz NOT NULL,
    length_us pg_catalog.int8 NOT NULL,
    quiet_us pg_catalog.int8 NOT NULL,
    quality pg_catalog.int2 NOT NULL,
    flags pg_catalog.int2 NOT NULL,
    n pg_catalog.int4 NOT NULL,
    known pg_catalog.int8 NOT NULL,
    ids pg_catalog.bytea,
    qualities pg_catalog.bytea,
    samples pg_catalog.bytea,
    cpu_user_us pg_catalog.bytea,
    cpu_system_us pg_catalog.bytea,
    cpu_steal_us pg_catalog.bytea,
    cpu_iowait_us pg_catalog.bytea,
    cpu_idle_us pg_catalog.bytea,
    cpu_peak_ppm pg_catalog.bytea,
    group_cpu_us pg_catalog.bytea,
    group_capacity_us pg_catalog.bytea,
    group_throttled_us pg_catalog.bytea,
    load_milli pg_catalog.bytea,
    load_peak_milli pg_catalog.bytea,
    memory_bytes pg_catalog.bytea,
    memory_used_bytes pg_catalog.bytea,
    group_memory_bytes pg_catalog.bytea,
    group_memory_used_bytes pg_catalog.bytea,
    memory_peak_ppm pg_catalog.bytea,
    swap_bytes pg_catalog.bytea,
    swap_used_bytes pg_catalog.bytea,
    arc_hits pg_catalog.bytea,
    arc_misses pg_catalog.bytea,
    arc_bytes pg_catalog.bytea,
    more pg_catalog.bytea
) PARTITION BY LIST (source);

-- File systems that the server writes to, by (mount point, device, what lies there); in the home database only.
CREATE TABLE perfmon.disk_minute (
    source pg_catalog.int8 NOT NULL,
    since pg_catalog.timestamptz NOT NULL,
    until pg_catalog.timestamptz NOT NULL,
    length_us pg_catalog.int8 NOT NULL,
    quiet_us pg_catalog.int8 NOT NULL,
    quality pg_catalog.int2 NOT NULL,
    flags pg_catalog.int2 NOT NULL,
    n pg_catalog.int4 NOT NULL,
    known pg_catalog.int8 NOT NULL,
    ids pg_catalog.bytea,
    qualities pg_catalog.bytea,
    space_samples pg_catalog.bytea,
    size_bytes pg_catalog.bytea,
    used_bytes pg_catalog.bytea,
    available_bytes pg_catalog.bytea,
    used_peak_ppm pg_catalog.bytea,
    watched_us pg_catalog.bytea,
    reads pg_catalog.bytea,
    writes pg_catalog.bytea,
    read_bytes pg_catalog.bytea,
    write_bytes pg_catalog.bytea,
    read_us pg_catalog.bytea,
    write_us pg_catalog.bytea,
    busy_us pg_catalog.bytea,
    busy_peak_ppm pg_catalog.bytea,
    more pg_catalog.bytea
) PARTITION BY LIST (source);

-- PgBouncers, by (pooler, database, user); in the home database only.
CREATE TABLE perfmon.pooler_minute (
    source pg_catalog.int8 NOT NULL,
    since pg_catalog.timestamptz NOT NULL,
    until pg_catalog.timestamptz NOT NULL,
    length_us pg_catalog.int8 NOT NULL,
    quiet_us pg_catalog.int8 NOT NULL,
    quality pg_catalog.int2 NOT NULL,
    flags pg_catalog.int2 NOT NULL,
    n pg_catalog.int4 NOT NULL,
    known pg_catalog.int8 NOT NULL,
    ids pg_catalog.bytea,
    qualities pg_catalog.bytea,
    asked pg_catalog.bytea,
    answered pg_catalog.bytea,
    skipped pg_catalog.bytea,
    samples pg_catalog.bytea,
    clients_active pg_catalog.bytea,
    clients_waiting pg_catalog.bytea,
    clients_waiting_peak pg_catalog.bytea,
    max_wait_us pg_catalog.bytea,
    servers_active pg_catalog.bytea,
    servers_idle pg_catalog.bytea,
    servers pg_catalog.bytea,
    servers_peak pg_catalog.bytea,
    pool_size pg_catalog.bytea,
    watched_us pg_catalog.bytea,
    wait_watched_us pg_catalog.bytea,
    transactions pg_catalog.bytea,
    queries pg_catalog.bytea,
    transaction_us pg_catalog.bytea,
    query_us pg_catalog.bytea,
    wait_us pg_catalog.bytea,
    received_bytes pg_catalog.bytea,
    sent_bytes pg_catalog.bytea,
    more pg_catalog.bytea
) PARTITION BY LIST (source);

-- Execution times as the hooks counted them, by the ids of the statements' dictionary. "histograms" holds one packed
-- histogram after the other, of as many bytes as "lengths" says, so that one is fetched without the others;
-- "overall" is the sum of all that clients sent.
CREATE TABLE perfmon.latency_minute (
    source pg_catalog.int8 NOT NULL,
    since pg_catalog.timestamptz NOT NULL,
    until pg_catalog.timestamptz NOT NULL,
    length_us pg_catalog.int8 NOT NULL,
    quiet_us pg_catalog.int8 NOT NULL,
    quality pg_catalog.int2 NOT NULL,
    flags pg_catalog.int2 NOT NULL,
    n pg_catalog.int4 NOT NULL,
    known pg_catalog.int8 NOT NULL,
    total_calls pg_catalog.int8,
    nested_calls pg_catalog.int8,
    ids pg_catalog.bytea,
    qualities pg_catalog.bytea,
    lengths pg_catalog.bytea,
    histograms pg_catalog.bytea,
    overall pg_catalog.bytea,
    more pg_catalog.bytea
) PARTITION BY LIST (source);

-- Failures by (user, statement or table, class and SQLSTATE), counted by the hooks.
CREATE TABLE perfmon.failure_minute (
    source pg_catalog.int8 NOT NULL,
    since pg_catalog.timestamptz NOT NULL,
    until pg_catalog.timestamptz NOT NULL,
    length_us pg_catalog.int8 NOT NULL,
    quiet_us pg_catalog.int8 NOT NULL,
    quality pg_catalog.int2 NOT NULL,
    flags pg_catalog.int2 NOT NULL,
    n pg_catalog.int4 NOT NULL,
    known pg_catalog.int8 NOT NULL,
    executions pg_catalog.int8,
    errors pg_catalog.int8,
    cancelled pg_catalog.int8,
    ids pg_catalog.bytea,
    qualities pg_catalog.bytea,
    failures pg_catalog.bytea,
    lost_us pg_catalog.bytea,
    last_s pg_catalog.bytea,
    more pg_catalog.bytea
) PARTITION BY LIST (source);

-- Statements and transactions by (application, user, route) and bucket of their time, counted by the hooks.
CREATE TABLE perfmon.route_minute (
    source pg_catalog.int8 NOT NULL,
    since pg_catalog.timestamptz NOT NULL,
    until pg_catalog.timestamptz NOT NULL,
    length_us pg_catalog.int8 NOT NULL,
    quiet_us pg_catalog.int8 NOT NULL,
    quality pg_catalog.int2 NOT NULL,
    flags pg_catalog.int2 NOT NULL,
    n pg_catalog.int4 NOT NULL,
    known pg_catalog.int8 NOT NULL,
    ids pg_catalog.bytea,
    qualities pg_catalog.bytea,
    statements pg_catalog.bytea,
    transactions pg_catalog.bytea,
    errors pg_catalog.bytea,
    cancelled pg_catalog.bytea,
    more pg_catalog.bytea
) PARTITION BY LIST (source);

-- What plans did in the executions that were looked into, by (statement, table, node and its conditions), counted by
-- the hooks.
CREATE TABLE perfmon.scan_minute (
    source pg_catalog.int8 NOT NULL,
    since pg_catalog.timestamptz NOT NULL,
    until pg_catalog.timestamptz NOT NULL,
    length_us pg_catalog.int8 NOT NULL,
    quiet_us pg_catalog.int8 NOT NULL,
    quality pg_catalog.int2 NOT NULL,
    flags pg_catalog.int2 NOT NULL,
    n pg_catalog.int4 NOT NULL,
    known pg_catalog.int8 NOT NULL,
    ids pg_catalog.bytea,
    qualities pg_catalog.bytea,
    executions pg_catalog.bytea,
    loops pg_catalog.bytea,
    rows_read pg_catalog.bytea,
    rows_kept pg_catalog.bytea,
    rows_estimated pg_catalog.bytea,
    spills pg_catalog.bytea,
    spilled_bytes pg_catalog.bytea,
    outer_rows pg_catalog.bytea,
    outer_rows_estimated pg_catalog.bytea,
    misestimates pg_catalog.bytea,
    more pg_catalog.bytea
) PARTITION BY LIST (source);

-- What clients of all databases executed, by bucket of its time, counted by the hooks; in the home database only.
CREATE TABLE perfmon.cluster_minute (
    source pg_catalog.int8 NOT NULL,
    since pg_catalog.timestamptz NOT NULL,
    until pg_catalog.timestamptz NOT NULL,
    length_us pg_catalog.int8 NOT NULL,
    quiet_us pg_catalog.int8 NOT NULL,
    quality pg_catalog.int2 NOT NULL,
    flags pg_catalog.int2 NOT NULL,
    n pg_catalog.int4 NOT NULL,
    known pg_catalog.int8 NOT NULL,
    ids pg_catalog.bytea,
    qualities pg_catalog.bytea,
    cached pg_catalog.bytea,
    read pg_catalog.bytea,
    executions pg_catalog.bytea,
    errors pg_catalog.bytea,
    cancelled pg_catalog.bytea,
    more pg_catalog.bytea
) PARTITION BY LIST (source);

-- Processes by what they are for, do and wait for, summed over samples; in the home database only.
CREATE TABLE perfmon.session_minute (
    source pg_catalog.int8 NOT NULL,
    since pg_catalog.timestamptz NOT NULL,
    until pg_catalog.timestamptz NOT NULL,
    length_us pg_catalog.int8 NOT NULL,
    quiet_us pg_catalog.int8 NOT NULL,
    quality pg_catalog.int2 NOT NULL,
    flags pg_catalog.int2 NOT NULL,
    n pg_catalog.int4 NOT NULL,
    known pg_catalog.int8 NOT NULL,
    samples pg_catalog.int8,
    sampled_us pg_catalog.int8,
    ids pg_catalog.bytea,
    qualities pg_catalog.bytea,
    sessions pg_catalog.bytea,
    more pg_catalog.bytea
) PARTITION BY LIST (source);

-- Sessions at work by statement, state and wait, summed over samples; in the home database only.
CREATE TABLE perfmon.wait_minute (
    source pg_catalog.int8 NOT NULL,
    since pg_catalog.timestamptz NOT NULL,
    until pg_catalog.timestamptz NOT NULL,
    length_us pg_catalog.int8 NOT NULL,
    quiet_us pg_catalog.int8 NOT NULL,
    quality pg_catalog.int2 NOT NULL,
    flags pg_catalog.int2 NOT NULL,
    n pg_catalog.int4 NOT NULL,
    known pg_catalog.int8 NOT NULL,
    samples pg_catalog.int8,
    sampled_us pg_catalog.int8,
    ids pg_catalog.bytea,
    qualities pg_catalog.bytea,
    sessions pg_catalog.bytea,
    more pg_catalog.bytea
) PARTITION BY LIST (source);

-- Clients' sessions by pool, database and user, and by how many there were: samples, sums over samples, peaks; in the
-- home database only.
CREATE TABLE perfmon.pool_minute (
    source pg_catalog.int8 NOT NULL,
    since pg_catalog.timestamptz NOT NULL,
    until pg_catalog.timestamptz NOT NULL,
    length_us pg_catalog.int8 NOT NULL,
    quiet_us pg_catalog.int8 NOT NULL,
    quality pg_catalog.int2 NOT NULL,
    flags pg_catalog.int2 NOT NULL,
    n pg_catalog.int4 NOT NULL,
    known pg_catalog.int8 NOT NULL,
    samples pg_catalog.int8,
    sampled_us pg_catalog.int8,
    ids pg_catalog.bytea,
    qualities pg_catalog.bytea,
    open_samples pg_catalog.bytea,
    busy_samples pg_catalog.bytea,
    active_samples pg_catalog.bytea,
    idle_samples pg_catalog.bytea,
    in_transaction_samples pg_catalog.bytea,
    active pg_catalog.bytea,
    idle pg_catalog.bytea,
    in_transaction pg_catalog.bytea,
    aborted pg_catalog.bytea,
    fastpath pg_catalog.bytea,
    disabled pg_catalog.bytea,
    starting pg_catalog.bytea,
    on_cpu pg_catalog.bytea,
    on_lock pg_catalog.bytea,
    on_client pg_catalog.bytea,
    on_io pg_catalog.bytea,
    opened pg_catalog.bytea,
    open_peak pg_catalog.bytea,
    busy_peak pg_catalog.bytea,
    active_peak pg_catalog.bytea,
    idle_peak pg_catalog.bytea,
    in_transaction_peak pg_catalog.bytea,
    on_lock_peak pg_catalog.bytea,
    more pg_catalog.bytea
) PARTITION BY LIST (source);

-- Packed bytes do not compress further: EXTERNAL keeps the server from trying. Hours and days are
-- like minutes.
DO $$
DECLARE
    family pg_catalog.text;
    level pg_catalog.text;
    packed pg_catalog.name;
BEGIN
    FOREACH family IN ARRAY ARRAY['host', 'disk', 'pooler', 'latency', 'failure', 'route', 'scan', 'cluster', 'session', 'wait', 'pool'] LOOP
        FOR packed IN
            SELECT a.attname
            FROM pg_catalog.pg_attribute a
            WHERE a.attrelid OPERATOR(pg_catalog.=)
                    pg_catalog.format('perfmon.%I', pg_catalog.concat(family, '_minute'))::pg_catalog.regclass
                AND a.atttypid OPERATOR(pg_catalog.=) 'pg_catalog.bytea'::pg_catalog.regtype
            ORDER BY a.attnum
        LOOP
            EXECUTE pg_catalog.format('ALTER TABLE perfmon.%I ALTER COLUMN %I SET STORAGE EXTERNAL',
                pg_catalog.concat(family, '_minute'), packed);
        END LOOP;
        FOREACH level IN ARRAY ARRAY['_hour', '_day'] LOOP
            EXECUTE pg_catalog.format(
                'CREATE TABLE perfmon.%I (LIKE perfmon.%I INCLUDING ALL) PARTITION BY LIST (source)',
                pg_catalog.concat(family, level), pg_catalog.concat(family, '_minute'));
        END LOOP;
        FOREACH level IN ARRAY ARRAY['_minute', '_hour', '_day'] LOOP
            PERFORM pg_catalog.pg_extension_config_dump(
                pg_catalog.format('perfmon.%I', pg_catalog.concat(family, level))::pg_catalog.regclass, '');
        END LOOP;
    END LOOP;
END
$$;

-- All findings, open and resolved, for those who may see numbers.
CREATE OR REPLACE VIEW perfmon.finding_shown WITH (security_barrier) AS
SELECT
    f.finding_id,
    f.kind,
    f.severity,
    f.object,
    f.subject,
    f.title,
    f.cause,
    f.evidence,
    f.saved_ms_per_hour,
    f.saved_bytes,
    f.outage_at,
    f.share_ratio,
    f.remedy,
    CASE WHEN pg_catalog.pg_has_role('pg_read_all_stats'::pg_catalog.name, 'USAGE')
        THEN f.statement
        WHEN f.statement IS NOT NULL THEN '<insufficient privilege>' END AS statement,
    f.gain,
    f.effort,
    -- The command that undoes the other one is masked alike.
    CASE WHEN pg_catalog.pg_has_role('pg_read_all_stats'::pg_catalog.name, 'USAGE')
        THEN f.risk
        ELSE pg_catalog.split_part(f.risk, ' To have it back: ', 1) END AS risk,
    f.reference,
    f.opened_at,
    f.last_seen,
    f.resolved_at,
    f.helped,
    f.source
FROM perfmon.finding f;

-- What was promised, and which stretches of time are looked at as one. Both hold what people declared: they
-- are part of a dump, and an update of the extension leaves them as they are.

-- Objectives of this database's executions, or of the whole server's. A target that is NULL was not promised.
CREATE TABLE perfmon.slo (
    name pg_catalog.text PRIMARY KEY,
    -- Under which source it was declared: statement_id is an id of that one.
    source pg_catalog.int8 NOT NULL,
    cluster pg_catalog.bool NOT NULL,
    user_name pg_catalog.text,
    application_name pg_catalog.text,
    statement_id pg_catalog.int4,
    p95_ms pg_catalog.float8,
    p99_ms pg_catalog.float8,
    percentile pg_catalog.float8,
    percentile_ms pg_catalog.float8,
    error_ratio pg_catalog.float8,
    throughput_per_second pg_catalog.float8,
    availability_ratio pg_catalog.float8,
    min_executions pg_catalog.int8 NOT NULL,
    period pg_catalog.interval NOT NULL,
    note pg_catalog.text,
    created_at pg_catalog.timestamptz NOT NULL
);

SELECT pg_catalog.pg_extension_config_dump('perfmon.slo'::pg_catalog.regclass, '');

-- Test runs and deployments: the stretches between two snapshots that were asked for. A name may be used again
-- once its run has ended; the latest is meant then.
CREATE TABLE perfmon.run (
    source pg_catalog.int8 NOT NULL,
    name pg_catalog.text NOT NULL,
    begun_at pg_catalog.timestamptz NOT NULL,
    ended_at pg_catalog.timestamptz,
    note pg_catalog.text,
    PRIMARY KEY (source, name, begun_at)
);

SELECT pg_catalog.pg_extension_config_dump('perfmon.run'::pg_catalog.regclass, '');

CREATE UNIQUE INDEX run_open ON perfmon.run (source, name) WHERE ended_at IS NULL;

-- Sizes of pools that nobody but their programs know. What is NULL matches any. People declare them: they are part of a
-- dump, and an update of the extension leaves them as they are.
CREATE TABLE perfmon.pool_declared (
    name pg_catalog.text PRIMARY KEY,
    size pg_catalog.int4 NOT NULL,
    database_name pg_catalog.text,
    user_name pg_catalog.text,
    application pg_catalog.text,
    client_address pg_catalog.text,
    note pg_catalog.text,
    created_at pg_catalog.timestamptz NOT NULL
);

SELECT pg_catalog.pg_extension_config_dump('perfmon.pool_declared'::pg_catalog.regclass, '');

-- Plans that statements were seen to have, at most a few of each. "calls" and what follows count the executions
-- that are known to have had the plan: those that took long, and some that were picked whatever they took, which
-- are counted apart. "stretch_since" begins the stretch of sightings that ends with last_seen. Granted to nobody:
-- the view below masks the forms of the plan as statements' texts are masked.
CREATE TABLE perfmon.plan (
    source pg_catalog.int8 NOT NULL,
    statement_id pg_catalog.int4 NOT NULL,
    plan_id pg_catalog.int8 NOT NULL,
    first_seen pg_catalog.timestamptz NOT NULL,
    last_seen pg_catalog.timestamptz NOT NULL,
    stretch_since pg_catalog.timestamptz NOT NULL,
    calls pg_catalog.int8 NOT NULL,
    total_us pg_catalog.int8 NOT NULL,
    max_us pg_catalog.int8 NOT NULL,
    sampled_calls pg_catalog.int8 NOT NULL,
    sampled_us pg_catalog.int8 NOT NULL,
    printed_at pg_catalog.timestamptz,
    cost pg_catalog.float8,
    heaviest_node pg_catalog.text,
    heaviest_ratio pg_catalog.float8,
    has_constants pg_catalog.bool,
    plan_text pg_catalog.text,
    plan_json pg_catalog.json,
    PRIMARY KEY (source, statement_id, plan_id)
)
-- Counts of a row are updated where it lies.
WITH (fillfactor = 50);

SELECT pg_catalog.pg_extension_config_dump('perfmon.plan'::pg_catalog.regclass, '');

-- Plans that took the place of another: between "last_before", when the one before was seen last, and "at", when
-- the one after was seen first.
CREATE TABLE perfmon.plan_flip (
    source pg_catalog.int8 NOT NULL,
    statement_id pg_catalog.int4 NOT NULL,
    at pg_catalog.timestamptz NOT NULL,
    before_plan_id pg_catalog.int8 NOT NULL,
    after_plan_id pg_catalog.int8 NOT NULL,
    last_before pg_catalog.timestamptz NOT NULL,
    PRIMARY KEY (source, statement_id, at)
);

SELECT pg_catalog.pg_extension_config_dump('perfmon.plan_flip'::pg_catalog.regclass, '');

CREATE VIEW perfmon.plan_shown WITH (security_barrier) AS
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
    p.cost,
    p.heaviest_node,
    p.heaviest_ratio,
    p.has_constants,
    CASE WHEN v.visible THEN p.plan_text
        WHEN p.plan_text IS NOT NULL THEN '<insufficient privilege>' END AS plan_text,
    CASE WHEN v.visible THEN p.plan_json END AS plan_json
FROM perfmon.plan p
LEFT JOIN perfmon.statement_entry e
    ON e.source OPERATOR(pg_catalog.=) p.source
    AND e.statement_id OPERATOR(pg_catalog.=) p.statement_id
CROSS JOIN LATERAL (
    SELECT pg_catalog.pg_has_role('pg_read_all_stats'::pg_catalog.name, 'USAGE')
        OR COALESCE(e.user_name OPERATOR(pg_catalog.=) CURRENT_USER::pg_catalog.text, false) AS visible
) v;

-- Waits for locks as samples saw them, a row for each session that waited and each that was in its way. "seen" is
-- when the wait was seen last, "ended" when it was first seen no more; until then it is NULL. Kept by the home
-- database for all of the server. Names instead of oids; no texts.
CREATE TABLE perfmon.lock_wait (
    source pg_catalog.int8 NOT NULL,
    began pg_catalog.timestamptz NOT NULL,
    process_id pg_catalog.int4 NOT NULL,
    blocker_process_id pg_catalog.int4 NOT NULL,
    seen pg_catalog.timestamptz NOT NULL,
    ended pg_catalog.timestamptz,
    database_name pg_catalog.text NOT NULL,
    user_name pg_catalog.text NOT NULL,
    application pg_catalog.text NOT NULL,
    queryid pg_catalog.int8 NOT NULL,
    lock_type pg_catalog.text NOT NULL,
    relation_name pg_catalog.text,
    lock_mode pg_catalog.text,
    held_mode pg_catalog.text,
    blocker_database_name pg_catalog.text NOT NULL,
    blocker_user_name pg_catalog.text NOT NULL,
    blocker_application pg_catalog.text NOT NULL,
    blocker_state pg_catalog.text NOT NULL,
    blocker_queryid pg_catalog.int8 NOT NULL,
    head_process_id pg_catalog.int4 NOT NULL,
    head_database_name pg_catalog.text NOT NULL,
    head_user_name pg_catalog.text NOT NULL,
    head_application pg_catalog.text NOT NULL,
    head_state pg_catalog.text NOT NULL,
    head_queryid pg_catalog.int8 NOT NULL,
    head_transaction_began pg_catalog.timestamptz,
    chain_depth pg_catalog.int4 NOT NULL,
    PRIMARY KEY (source, began, process_id, blocker_process_id)
);

SELECT pg_catalog.pg_extension_config_dump('perfmon.lock_wait'::pg_catalog.regclass, '');

-- Deadlocks, a row for each session that took part; member 0 is the one that the server ended. "number" counts
-- deadlocks since the server started.
CREATE TABLE perfmon.deadlock (
    source pg_catalog.int8 NOT NULL,
    at pg_catalog.timestamptz NOT NULL,
    number pg_catalog.int8 NOT NULL,
    member pg_catalog.int4 NOT NULL,
    process_id pg_catalog.int4 NOT NULL,
    waits_for_process_id pg_catalog.int4,
    database_name pg_catalog.text NOT NULL,
    user_name pg_catalog.text NOT NULL,
    application pg_catalog.text NOT NULL,
    queryid pg_catalog.int8 NOT NULL,
    lock_type pg_catalog.text,
    relation_name pg_catalog.text,
    PRIMARY KEY (source, at, number, member)
);

SELECT pg_catalog.pg_extension_config_dump('perfmon.deadlock'::pg_catalog.regclass, '');

-- Idle times of a second and more inside transactions, by the statement after which the sessions idled. "idle_us" is
-- what of them lies in the interval; "returned_us" and "gone_us" are the whole lengths of those that ended in it, with
-- the client going on or with the session's end; "open" are those that go on, and "open_us" how long they do.
-- "sessions" tells sessions apart, but not which they were; of more than 64 the rest is left out.
CREATE TABLE perfmon.idle_transaction (
    source pg_catalog.int8 NOT NULL,
    since pg_catalog.timestamptz NOT NULL,
    until pg_catalog.timestamptz NOT NULL,
    database_name pg_catalog.text NOT NULL,
    user_name pg_catalog.text NOT NULL,
    application pg_catalog.text NOT NULL,
    queryid pg_catalog.int8 NOT NULL,
    sessions pg_catalog.text NOT NULL,
    idle_us pg_catalog.int8 NOT NULL,
    longest_us pg_catalog.int8 NOT NULL,
    resumed pg_catalog.int8 NOT NULL,
    finished pg_catalog.int8 NOT NULL,
    gone pg_catalog.int8 NOT NULL,
    returned_us pg_catalog.int8 NOT NULL,
    gone_us pg_catalog.int8 NOT NULL,
    open pg_catalog.int8 NOT NULL,
    open_us pg_catalog.int8 NOT NULL,
    PRIMARY KEY (source, until, database_name, user_name, application, queryid)
);

SELECT pg_catalog.pg_extension_config_dump('perfmon.idle_transaction'::pg_catalog.regclass, '');

CREATE FUNCTION perfmon.assert_slo(
    name text DEFAULT NULL,
    since timestamptz DEFAULT NULL,
    until timestamptz DEFAULT now(),
    source bigint DEFAULT NULL
) RETURNS TABLE (
    slo_name text,
    objective text,
    scope text,
    target float8,
    actual float8,
    unit text,
    status text,
    executions bigint,
    budget_left_ratio float8,
    burn_rate_short float8,
    burn_rate_long float8,
    bad_minutes float8,
    actual_low float8,
    actual_high float8,
    "time" timestamptz,
    time_end timestamptz,
    detail text
) LANGUAGE c VOLATILE PARALLEL RESTRICTED ROWS 10 AS 'MODULE_PATHNAME', 'assert_slo_wrapper';

CREATE FUNCTION perfmon.predicates(
    since timestamptz DEFAULT now() - interval '1 hour',
    until timestamptz DEFAULT now(),
    source bigint DEFAULT NULL
) RETURNS TABLE (
    statement_id int,
    table_name text,
    expression text,
    usage text,
    operator text,
    pattern text,
    samples bigint,
    rows_read bigint,
    rows_kept bigint,
    kept_ratio float8,
    alone bool
) LANGUAGE c STABLE PARALLEL UNSAFE ROWS 100 AS 'MODULE_PATHNAME', 'predicates_wrapper';

CREATE FUNCTION perfmon.scans_since_start() RETURNS TABLE (
    user_name text,
    queryid bigint,
    toplevel bool,
    rest bool,
    node text,
    table_name text,
    index_name text,
    conditions text,
    statement_samples bigint,
    samples bigint,
    loops bigint,
    rows_read bigint,
    rows_kept bigint,
    rows_estimated bigint,
    spills bigint,
    spilled_bytes bigint,
    outer_rows bigint,
    outer_rows_estimated bigint,
    misestimates bigint
) LANGUAGE c VOLATILE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'scans_since_start_wrapper';

CREATE FUNCTION perfmon.declare_pool(
    name text,
    size int,
    database text DEFAULT NULL,
    username text DEFAULT NULL,
    application text DEFAULT NULL,
    client_address text DEFAULT NULL,
    note text DEFAULT NULL
) RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'declare_pool_wrapper';

CREATE FUNCTION perfmon.error_series(
    since timestamptz DEFAULT now() - interval '1 hour',
    until timestamptz DEFAULT now(),
    step interval DEFAULT NULL,
    source bigint DEFAULT NULL
) RETURNS TABLE (
    "time" timestamptz,
    executions bigint,
    errors bigint,
    error_ratio float8,
    errors_per_s float8,
    lost_ms float8,
    cancellations bigint,
    statement_timeouts bigint,
    lock_timeouts bigint,
    transaction_timeouts bigint,
    idle_in_transaction_timeouts bigint,
    idle_session_timeouts bigint,
    deadlocks bigint,
    refused bigint,
    terminated bigint,
    autovacuum_cancelled bigint,
    rollbacks bigint,
    rollbacks_per_s float8,
    rollback_ratio float8,
    covered_ratio float8,
    changes text
) LANGUAGE c STABLE PARALLEL RESTRICTED ROWS 400 AS 'MODULE_PATHNAME', 'error_series_wrapper';

CREATE FUNCTION perfmon.host_history(
    since timestamptz DEFAULT now() - interval '1 hour',
    until timestamptz DEFAULT now(),
    source bigint DEFAULT NULL
) RETURNS TABLE (
    "time" timestamptz,
    time_end timestamptz,
    length_ms float8,
    quality text,
    samples bigint,
    cpu_user_ms float8,
    cpu_system_ms float8,
    cpu_steal_ms float8,
    cpu_iowait_ms float8,
    cpu_idle_ms float8,
    cpu_peak_ratio float8,
    group_cpu_ms float8,
    group_capacity_ms float8,
    group_throttled_ms float8,
    load float8,
    load_peak float8,
    memory_bytes bigint,
    memory_used_bytes bigint,
    group_memory_bytes bigint,
    group_memory_used_bytes bigint,
    memory_peak_ratio float8,
    swap_bytes bigint,
    swap_used_bytes bigint,
    arc_hits bigint,
    arc_misses bigint,
    arc_bytes bigint,
    from_source bigint
) LANGUAGE c STABLE PARALLEL RESTRICTED ROWS 1000 AS 'MODULE_PATHNAME', 'host_history_wrapper';

CREATE FUNCTION perfmon.begin_run(name text, note text DEFAULT NULL) RETURNS timestamptz
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'begin_run_wrapper';

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
    place int,
    from_source bigint
) LANGUAGE c STABLE PARALLEL RESTRICTED ROWS 10000 AS 'MODULE_PATHNAME', 'pool_history_wrapper';

CREATE FUNCTION perfmon.pool_size_advice(
    since timestamptz DEFAULT now() - interval '1 hour',
    until timestamptz DEFAULT now(),
    source bigint DEFAULT NULL
) RETURNS TABLE (
    level text,
    database_name text,
    user_name text,
    application text,
    client_address text,
    monitoring bool,
    advised_size int,
    current_size int,
    current_size_from text,
    over_provision_factor float8,
    connections_freed int,
    change text,
    terms text,
    open_avg float8,
    open_peak int,
    busy_avg float8,
    busy_p99 float8,
    busy_peak int,
    busy_load float8,
    margin float8,
    limited_by_cpus bool,
    transactions_per_s float8,
    transaction_ms float8,
    little_busy_avg float8,
    little_ratio float8,
    quality text,
    samples bigint
) LANGUAGE c STABLE PARALLEL UNSAFE ROWS 20 AS 'MODULE_PATHNAME', 'pool_size_advice_wrapper';

CREATE FUNCTION perfmon.pool_saturation(
    since timestamptz DEFAULT now() - interval '1 hour',
    until timestamptz DEFAULT now(),
    source bigint DEFAULT NULL
) RETURNS TABLE (
    level text,
    database_name text,
    user_name text,
    application text,
    client_address text,
    monitoring bool,
    saturation text,
    saturation_ratio float8,
    peak_ratio float8,
    limited_by text,
    connections_limit int,
    connections_used float8,
    headroom float8,
    server_limit int,
    database_limit int,
    role_limit int,
    pooler_limit int,
    pool_limit int,
    pool_limit_from text,
    hours_to_exhaustion float8,
    growth_per_hour float8,
    queue_cause text,
    open_now int,
    open_avg float8,
    open_p95 float8,
    open_peak int,
    active_now int,
    active_avg float8,
    active_p95 float8,
    active_peak int,
    idle_now int,
    idle_avg float8,
    idle_p95 float8,
    idle_peak int,
    in_transaction_now int,
    in_transaction_avg float8,
    in_transaction_p95 float8,
    in_transaction_peak int,
    monitoring_avg float8,
    idle_ratio float8,
    in_transaction_ratio float8,
    on_lock_ratio float8,
    opened_per_s float8,
    sessions_per_s float8,
    session_ms float8,
    storms int,
    storm_peak_per_step bigint,
    refused bigint,
    refused_too_many_clients bigint,
    refused_reserved bigint,
    refused_role_limit bigint,
    refused_database_limit bigint,
    refused_starting_up bigint,
    refused_authentication bigint,
    samples bigint
) LANGUAGE c STABLE PARALLEL UNSAFE ROWS 50 AS 'MODULE_PATHNAME', 'pool_saturation_wrapper';

CREATE FUNCTION perfmon.run_report(
    name text,
    format text DEFAULT 'markdown',
    baseline text DEFAULT NULL
) RETURNS text LANGUAGE c STABLE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'run_report_wrapper';

CREATE FUNCTION perfmon.compare_runs(baseline text, name text) RETURNS TABLE (
    what text,
    subject text,
    metric text,
    unit text,
    before_value float8,
    after_value float8,
    change_ratio float8,
    verdict text,
    query text
) LANGUAGE c STABLE PARALLEL UNSAFE ROWS 50 AS 'MODULE_PATHNAME', 'compare_runs_wrapper';

CREATE FUNCTION perfmon.pgbouncer_validator(text[], oid) RETURNS void
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'pgbouncer_validator_wrapper';

CREATE FOREIGN DATA WRAPPER pg_perfmon_pgbouncer NO HANDLER VALIDATOR perfmon.pgbouncer_validator;

CREATE FUNCTION perfmon.disk_history(
    since timestamptz DEFAULT now() - interval '1 hour',
    until timestamptz DEFAULT now(),
    source bigint DEFAULT NULL
) RETURNS TABLE (
    "time" timestamptz,
    time_end timestamptz,
    length_ms float8,
    disk_id int,
    mount text,
    device text,
    uses text,
    quality text,
    space_samples bigint,
    size_bytes bigint,
    used_bytes bigint,
    available_bytes bigint,
    used_peak_ratio float8,
    watched_ms float8,
    reads bigint,
    writes bigint,
    read_bytes bigint,
    write_bytes bigint,
    read_ms float8,
    write_ms float8,
    busy_ms float8,
    busy_peak_ratio float8,
    from_source bigint
) LANGUAGE c STABLE PARALLEL RESTRICTED ROWS 1000 AS 'MODULE_PATHNAME', 'disk_history_wrapper';

CREATE FUNCTION perfmon.plan_flips(
    since timestamptz DEFAULT now() - interval '1 hour',
    until timestamptz DEFAULT now(),
    source bigint DEFAULT NULL
) RETURNS TABLE (
    "time" timestamptz,
    statement_id int,
    last_seen_before timestamptz,
    before_plan_id bigint,
    before_calls bigint,
    before_mean_ms float8,
    before_sampled_calls bigint,
    before_sampled_mean_ms float8,
    before_heaviest_node text,
    before_plan_text text,
    after_plan_id bigint,
    after_calls bigint,
    after_mean_ms float8,
    after_sampled_calls bigint,
    after_sampled_mean_ms float8,
    after_heaviest_node text,
    after_plan_text text,
    from_source bigint
) LANGUAGE c STABLE PARALLEL RESTRICTED ROWS 10 AS 'MODULE_PATHNAME', 'plan_flips_wrapper';

CREATE FUNCTION perfmon.plans(
    statement_id int DEFAULT NULL,
    source bigint DEFAULT NULL
) RETURNS TABLE (
    statement_id int,
    plan_id bigint,
    is_current bool,
    first_seen timestamptz,
    last_seen timestamptz,
    calls bigint,
    mean_ms float8,
    max_ms float8,
    sampled_calls bigint,
    sampled_mean_ms float8,
    cost float8,
    heaviest_node text,
    heaviest_cost_ratio float8,
    has_constants bool,
    plan_text text,
    plan_json json,
    from_source bigint
) LANGUAGE c STABLE PARALLEL RESTRICTED ROWS 10 AS 'MODULE_PATHNAME', 'plans_wrapper';

CREATE FUNCTION perfmon.scan_history(
    since timestamptz DEFAULT now() - interval '1 hour',
    until timestamptz DEFAULT now(),
    source bigint DEFAULT NULL
) RETURNS TABLE (
    "time" timestamptz,
    time_end timestamptz,
    length_ms float8,
    scan_id int,
    statement text,
    table_name text,
    node text,
    quality text,
    executions bigint,
    loops bigint,
    rows_read bigint,
    rows_kept bigint,
    rows_estimated bigint,
    spills bigint,
    spilled_bytes bigint,
    outer_rows bigint,
    outer_rows_estimated bigint,
    misestimates bigint,
    from_source bigint
) LANGUAGE c STABLE PARALLEL RESTRICTED ROWS 10000 AS 'MODULE_PATHNAME', 'scan_history_wrapper';

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

CREATE FUNCTION perfmon.drop_pool(name text) RETURNS void
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'drop_pool_wrapper';

CREATE FUNCTION perfmon.slo_status(
    since timestamptz DEFAULT NULL,
    until timestamptz DEFAULT now(),
    source bigint DEFAULT NULL
) RETURNS TABLE (
    slo_name text,
    objective text,
    scope text,
    target float8,
    actual float8,
    unit text,
    status text,
    executions bigint,
    budget_left_ratio float8,
    burn_rate_short float8,
    burn_rate_long float8,
    bad_minutes float8,
    actual_low float8,
    actual_high float8,
    "time" timestamptz,
    time_end timestamptz,
    detail text
) LANGUAGE c STABLE PARALLEL RESTRICTED ROWS 10 AS 'MODULE_PATHNAME', 'slo_status_wrapper';

CREATE FUNCTION perfmon.scan_evidence(
    since timestamptz DEFAULT now() - interval '1 hour',
    until timestamptz DEFAULT now(),
    source bigint DEFAULT NULL
) RETURNS TABLE (
    statement_id int,
    user_name text,
    query text,
    table_name text,
    node text,
    index_name text,
    conditions text,
    filter_columns text,
    calls bigint,
    statement_samples bigint,
    samples bigint,
    loops bigint,
    rows_read bigint,
    rows_kept bigint,
    rows_read_per_row_kept float8,
    rows_read_per_call float8,
    rows_kept_per_call float8,
    rows_read_scaled float8,
    table_share_ratio float8,
    rows_estimated bigint,
    spills bigint,
    spilled_bytes bigint,
    outer_rows bigint,
    outer_rows_estimated bigint,
    misestimates bigint
) LANGUAGE c STABLE PARALLEL RESTRICTED ROWS 100 AS 'MODULE_PATHNAME', 'scan_evidence_wrapper';

CREATE FUNCTION perfmon.why_queued(
    since timestamptz DEFAULT now() - interval '1 hour',
    until timestamptz DEFAULT now(),
    source bigint DEFAULT NULL
) RETURNS TABLE (
    level text,
    database_name text,
    user_name text,
    application text,
    client_address text,
    monitoring bool,
    cause text,
    detail text,
    evidence jsonb
) LANGUAGE c STABLE PARALLEL UNSAFE ROWS 20 AS 'MODULE_PATHNAME', 'why_queued_wrapper';

CREATE FUNCTION perfmon.statement_series(
    statement_id int,
    since timestamptz DEFAULT now() - interval '1 hour',
    until timestamptz DEFAULT now(),
    step interval DEFAULT NULL,
    source bigint DEFAULT NULL
) RETURNS TABLE (
    "time" timestamptz,
    calls bigint,
    calls_per_s float8,
    total_exec_ms float8,
    mean_exec_ms float8,
    stddev_exec_ms float8,
    p50_ms float8,
    p75_ms float8,
    p90_ms float8,
    p95_ms float8,
    p99_ms float8,
    max_ms float8,
    timed_calls bigint,
    cached_calls bigint,
    cached_p95_ms float8,
    read_calls bigint,
    read_p95_ms float8,
    active_ratio float8,
    rows bigint,
    total_plan_ms float8,
    shared_blks_hit bigint,
    shared_blks_read bigint,
    cache_hit_ratio float8,
    blk_read_ms float8,
    blk_write_ms float8,
    temp_blks_written bigint,
    wal_bytes bigint,
    quality text,
    covered_ratio float8,
    changes text
) LANGUAGE c STABLE PARALLEL RESTRICTED ROWS 400 AS 'MODULE_PATHNAME', 'statement_series_wrapper';

CREATE FUNCTION perfmon.create_slo(
    name text,
    p95_ms float8 DEFAULT NULL,
    p99_ms float8 DEFAULT NULL,
    error_ratio float8 DEFAULT NULL,
    throughput_per_second float8 DEFAULT NULL,
    availability_ratio float8 DEFAULT NULL,
    percentile float8 DEFAULT NULL,
    percentile_ms float8 DEFAULT NULL,
    database text DEFAULT NULL,
    username text DEFAULT NULL,
    application text DEFAULT NULL,
    statement_id int DEFAULT NULL,
    cluster bool DEFAULT false,
    min_executions bigint DEFAULT 100,
    period interval DEFAULT '1 hour',
    note text DEFAULT NULL
) RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'create_slo_wrapper';

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
    chain_depth int
) LANGUAGE c STABLE PARALLEL RESTRICTED ROWS 100 AS 'MODULE_PATHNAME', 'blocking_wrapper';

CREATE FUNCTION perfmon.pooler_pools(
    since timestamptz DEFAULT now() - interval '1 hour',
    until timestamptz DEFAULT now(),
    source bigint DEFAULT NULL
) RETURNS TABLE (
    pooler text,
    database_name text,
    user_name text,
    answered_ratio float8,
    clients_active float8,
    clients_waiting float8,
    clients_waiting_peak bigint,
    max_wait_ms float8,
    servers_active float8,
    servers_idle float8,
    servers float8,
    servers_peak bigint,
    pool_size float8,
    used_peak_ratio float8,
    transactions_per_s float8,
    queries_per_s float8,
    mean_transaction_ms float8,
    mean_query_ms float8,
    mean_wait_ms float8
) LANGUAGE c STABLE PARALLEL RESTRICTED ROWS 100 AS 'MODULE_PATHNAME', 'pooler_pools_wrapper';

CREATE FUNCTION perfmon.end_run(name text) RETURNS timestamptz
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'end_run_wrapper';

CREATE FUNCTION perfmon.pooler_history(
    since timestamptz DEFAULT now() - interval '1 hour',
    until timestamptz DEFAULT now(),
    source bigint DEFAULT NULL
) RETURNS TABLE (
    "time" timestamptz,
    time_end timestamptz,
    length_ms float8,
    pooler_id int,
    pooler text,
    database_name text,
    user_name text,
    quality text,
    asked bigint,
    answered bigint,
    skipped bigint,
    samples bigint,
    clients_active bigint,
    clients_waiting bigint,
    clients_waiting_peak bigint,
    max_wait_ms float8,
    servers_active bigint,
    servers_idle bigint,
    servers bigint,
    servers_peak bigint,
    pool_size bigint,
    watched_ms float8,
    wait_watched_ms float8,
    transactions bigint,
    queries bigint,
    transaction_ms float8,
    query_ms float8,
    wait_ms float8,
    received_bytes bigint,
    sent_bytes bigint,
    from_source bigint
) LANGUAGE c STABLE PARALLEL RESTRICTED ROWS 1000 AS 'MODULE_PATHNAME', 'pooler_history_wrapper';

CREATE FUNCTION perfmon.host_series(
    since timestamptz DEFAULT now() - interval '1 hour',
    until timestamptz DEFAULT now(),
    step interval DEFAULT NULL,
    source bigint DEFAULT NULL
) RETURNS TABLE (
    "time" timestamptz,
    cpu_ratio float8,
    cpu_peak_ratio float8,
    machine_cpu_ratio float8,
    user_ratio float8,
    system_ratio float8,
    iowait_ratio float8,
    steal_ratio float8,
    throttled_ms float8,
    load float8,
    load_peak float8,
    memory_ratio float8,
    memory_peak_ratio float8,
    memory_used_bytes bigint,
    memory_bytes bigint,
    swap_used_bytes bigint,
    arc_hit_ratio float8,
    covered_ratio float8
) LANGUAGE c STABLE PARALLEL RESTRICTED ROWS 400 AS 'MODULE_PATHNAME', 'host_series_wrapper';

CREATE FUNCTION perfmon.load_series(
    since timestamptz DEFAULT now() - interval '1 hour',
    until timestamptz DEFAULT now(),
    step interval DEFAULT NULL,
    source bigint DEFAULT NULL
) RETURNS TABLE (
    "time" timestamptz,
    calls bigint,
    calls_per_s float8,
    total_exec_ms float8,
    mean_exec_ms float8,
    p50_ms float8,
    p95_ms float8,
    p99_ms float8,
    timed_calls bigint,
    active_ratio float8,
    nested_exec_ms float8,
    rows bigint,
    rows_per_s float8,
    shared_blks_read bigint,
    wal_bytes bigint,
    wal_bytes_per_s float8,
    quality text,
    covered_ratio float8,
    changes text
) LANGUAGE c STABLE PARALLEL RESTRICTED ROWS 400 AS 'MODULE_PATHNAME', 'load_series_wrapper';

CREATE FUNCTION perfmon.slow_statements(
    since timestamptz DEFAULT now() - interval '1 hour',
    until timestamptz DEFAULT now(),
    source bigint DEFAULT NULL
) RETURNS TABLE (
    statement_id int,
    severity text,
    user_name text,
    query text,
    command text,
    calls bigint,
    mean_exec_ms float8,
    p95_ms float8,
    timed_calls bigint,
    threshold_ms float8,
    stddev_exec_ms float8,
    total_exec_ms float8,
    share_ratio float8,
    read_ms float8,
    write_ms float8,
    temp_ms float8,
    jit_ms float8,
    other_ms float8,
    plan_ms float8,
    rows_per_call float8,
    blocks_per_call float8,
    temp_bytes bigint,
    wal_bytes bigint,
    cause text,
    remedy text,
    plan_id bigint,
    plan_since timestamptz,
    plan_heaviest_node text,
    plan_heaviest_cost_ratio float8,
    plan_text text,
    plan_note text
) LANGUAGE c STABLE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'slow_statements_wrapper';

CREATE FUNCTION perfmon.deadlocks(
    since timestamptz DEFAULT now() - interval '1 hour',
    until timestamptz DEFAULT now(),
    source bigint DEFAULT NULL
) RETURNS TABLE (
    "time" timestamptz,
    deadlock bigint,
    is_victim bool,
    process_id int,
    waits_for_process_id int,
    database_name text,
    user_name text,
    application text,
    queryid bigint,
    statement_id int,
    query text,
    lock_type text,
    relation_name text
) LANGUAGE c STABLE PARALLEL RESTRICTED ROWS 20 AS 'MODULE_PATHNAME', 'deadlocks_wrapper';

CREATE FUNCTION perfmon.top_waits(
    since timestamptz DEFAULT now() - interval '1 hour',
    until timestamptz DEFAULT now(),
    max_rows int DEFAULT 50,
    source bigint DEFAULT NULL
) RETURNS TABLE (
    database_name text,
    user_name text,
    queryid bigint,
    statement_id int,
    query text,
    state text,
    wait_class text,
    wait_event text,
    average_sessions float8,
    session_ms float8,
    share_ratio float8,
    quality text
) LANGUAGE c STABLE PARALLEL RESTRICTED ROWS 50 AS 'MODULE_PATHNAME', 'top_waits_wrapper';

CREATE FUNCTION perfmon.cluster_history(
    since timestamptz DEFAULT now() - interval '1 hour',
    until timestamptz DEFAULT now(),
    source bigint DEFAULT NULL
) RETURNS TABLE (
    "time" timestamptz,
    time_end timestamptz,
    length_ms float8,
    quality text,
    cached bigint,
    read bigint,
    executions bigint,
    errors bigint,
    cancelled bigint,
    bucket int,
    from_source bigint
) LANGUAGE c STABLE PARALLEL RESTRICTED ROWS 10000 AS 'MODULE_PATHNAME', 'cluster_history_wrapper';

CREATE FUNCTION perfmon.routes(
    since timestamptz DEFAULT now() - interval '1 hour',
    until timestamptz DEFAULT now(),
    source bigint DEFAULT NULL
) RETURNS TABLE (
    application text,
    user_name text,
    route text,
    calls bigint,
    calls_per_s float8,
    total_ms float8,
    p50_ms float8,
    p95_ms float8,
    p99_ms float8,
    max_ms float8,
    errors bigint,
    cancelled bigint,
    error_ratio float8,
    transactions bigint,
    statements_per_transaction float8,
    transaction_p50_ms float8,
    transaction_p95_ms float8,
    transaction_p99_ms float8
) LANGUAGE c STABLE PARALLEL RESTRICTED ROWS 50 AS 'MODULE_PATHNAME', 'routes_wrapper';

CREATE FUNCTION perfmon.route_history(
    since timestamptz DEFAULT now() - interval '1 hour',
    until timestamptz DEFAULT now(),
    source bigint DEFAULT NULL
) RETURNS TABLE (
    "time" timestamptz,
    time_end timestamptz,
    length_ms float8,
    route_id int,
    application text,
    user_name text,
    route text,
    quality text,
    statements bigint,
    transactions bigint,
    errors bigint,
    cancelled bigint,
    bucket int,
    from_source bigint
) LANGUAGE c STABLE PARALLEL RESTRICTED ROWS 10000 AS 'MODULE_PATHNAME', 'route_history_wrapper';

CREATE FUNCTION perfmon.disk_series(
    since timestamptz DEFAULT now() - interval '1 hour',
    until timestamptz DEFAULT now(),
    step interval DEFAULT NULL,
    source bigint DEFAULT NULL
) RETURNS TABLE (
    "time" timestamptz,
    mount text,
    device text,
    uses text,
    used_ratio float8,
    used_bytes bigint,
    available_bytes bigint,
    size_bytes bigint,
    reads_per_s float8,
    writes_per_s float8,
    read_bytes_per_s float8,
    write_bytes_per_s float8,
    read_ms float8,
    write_ms float8,
    busy_ratio float8,
    busy_peak_ratio float8,
    covered_ratio float8
) LANGUAGE c STABLE PARALLEL RESTRICTED ROWS 1000 AS 'MODULE_PATHNAME', 'disk_series_wrapper';

CREATE FUNCTION perfmon.failure_history(
    since timestamptz DEFAULT now() - interval '1 hour',
    until timestamptz DEFAULT now(),
    source bigint DEFAULT NULL
) RETURNS TABLE (
    "time" timestamptz,
    time_end timestamptz,
    length_ms float8,
    failure_id int,
    user_name text,
    object text,
    kind text,
    quality text,
    failures bigint,
    lost_ms float8,
    last_s bigint,
    from_source bigint
) LANGUAGE c STABLE PARALLEL RESTRICTED ROWS 1000 AS 'MODULE_PATHNAME', 'failure_history_wrapper';

CREATE FUNCTION perfmon.top_statements(
    since timestamptz DEFAULT now() - interval '1 hour',
    until timestamptz DEFAULT now(),
    order_by text DEFAULT 'total_time',
    max_rows int DEFAULT 20,
    source bigint DEFAULT NULL
) RETURNS TABLE (
    statement_id int,
    user_name text,
    query text,
    command text,
    calls bigint,
    calls_per_s float8,
    total_exec_ms float8,
    mean_exec_ms float8,
    stddev_exec_ms float8,
    p50_ms float8,
    p75_ms float8,
    p90_ms float8,
    p95_ms float8,
    p99_ms float8,
    max_ms float8,
    timed_calls bigint,
    cached_calls bigint,
    cached_p95_ms float8,
    read_calls bigint,
    read_p95_ms float8,
    percentile_error_ratio float8,
    rows bigint,
    rows_per_call float8,
    share_ratio float8,
    toplevel bool,
    total_plan_ms float8,
    shared_blks_hit bigint,
    shared_blks_read bigint,
    shared_blks_dirtied bigint,
    shared_blks_written bigint,
    cache_hit_ratio float8,
    blk_read_ms float8,
    blk_write_ms float8,
    temp_blks_read bigint,
    temp_blks_written bigint,
    wal_bytes bigint,
    quality text,
    queryid bigint,
    from_source bigint
) LANGUAGE c STABLE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'top_statements_wrapper';

CREATE FUNCTION perfmon.wait_history(
    since timestamptz DEFAULT now() - interval '1 hour',
    until timestamptz DEFAULT now(),
    source bigint DEFAULT NULL
) RETURNS TABLE (
    "time" timestamptz,
    time_end timestamptz,
    length_ms float8,
    database_name text,
    user_name text,
    waited text,
    quality text,
    sessions bigint,
    from_source bigint
) LANGUAGE c STABLE PARALLEL RESTRICTED ROWS 10000 AS 'MODULE_PATHNAME', 'wait_history_wrapper';

CREATE FUNCTION perfmon.long_transactions(longer_than interval DEFAULT '1 minute') RETURNS TABLE (
    process_id int,
    backend_type text,
    database_name text,
    user_name text,
    application text,
    client_address text,
    state text,
    transaction_ms float8,
    state_ms float8,
    wait_class text,
    wait_event text,
    queryid bigint,
    query text,
    xid_age bigint,
    xmin_age bigint,
    sessions_waiting bigint
) LANGUAGE c VOLATILE PARALLEL RESTRICTED ROWS 20 AS 'MODULE_PATHNAME', 'long_transactions_wrapper';

CREATE FUNCTION perfmon.latency_heatmap(
    since timestamptz DEFAULT now() - interval '1 hour',
    until timestamptz DEFAULT now(),
    step interval DEFAULT NULL,
    statement_id int DEFAULT NULL,
    source bigint DEFAULT NULL
) RETURNS TABLE (
    "time" timestamptz,
    low_ms float8,
    high_ms float8,
    calls bigint
) LANGUAGE c STABLE PARALLEL RESTRICTED ROWS 5000 AS 'MODULE_PATHNAME', 'latency_heatmap_wrapper';

CREATE FUNCTION perfmon.session_history(
    since timestamptz DEFAULT now() - interval '1 hour',
    until timestamptz DEFAULT now(),
    source bigint DEFAULT NULL
) RETURNS TABLE (
    "time" timestamptz,
    time_end timestamptz,
    length_ms float8,
    backend_type text,
    state text,
    wait text,
    quality text,
    sessions bigint,
    from_source bigint
) LANGUAGE c STABLE PARALLEL RESTRICTED ROWS 10000 AS 'MODULE_PATHNAME', 'session_history_wrapper';

CREATE FUNCTION perfmon.latency_histogram(
    statement_id int DEFAULT NULL,
    since timestamptz DEFAULT now() - interval '1 hour',
    until timestamptz DEFAULT now(),
    source bigint DEFAULT NULL
) RETURNS TABLE (
    low_ms float8,
    high_ms float8,
    calls bigint,
    cached_calls bigint,
    read_calls bigint
) LANGUAGE c STABLE PARALLEL RESTRICTED ROWS 50 AS 'MODULE_PATHNAME', 'latency_histogram_wrapper';

CREATE FUNCTION perfmon.activity(
    since timestamptz DEFAULT now() - interval '1 hour',
    until timestamptz DEFAULT now(),
    step interval DEFAULT NULL,
    source bigint DEFAULT NULL
) RETURNS TABLE (
    "time" timestamptz,
    backend_type text,
    state text,
    wait_class text,
    wait_event text,
    average_sessions float8,
    share_ratio float8,
    samples bigint,
    covered_ratio float8,
    quality text
) LANGUAGE c STABLE PARALLEL RESTRICTED ROWS 2000 AS 'MODULE_PATHNAME', 'activity_wrapper';

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
    chain_depth int
) LANGUAGE c VOLATILE PARALLEL RESTRICTED ROWS 20 AS 'MODULE_PATHNAME', 'blocking_now_wrapper';

CREATE FUNCTION perfmon.drop_slo(name text) RETURNS void
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'drop_slo_wrapper';

CREATE FUNCTION perfmon.host_status() RETURNS TABLE (
    what text,
    name text,
    used float8,
    total float8,
    used_ratio float8,
    unit text,
    detail text
) LANGUAGE c VOLATILE PARALLEL RESTRICTED ROWS 10 AS 'MODULE_PATHNAME', 'host_status_wrapper';

CREATE FUNCTION perfmon.recent_activity(span interval DEFAULT '10 minutes') RETURNS TABLE (
    "time" timestamptz,
    process_id int,
    backend_type text,
    database_name text,
    user_name text,
    application text,
    client_address text,
    state text,
    wait_class text,
    wait_event text,
    queryid bigint,
    statement_id int,
    query text,
    state_ms float8,
    transaction_ms float8
) LANGUAGE c VOLATILE PARALLEL RESTRICTED ROWS 10000 AS 'MODULE_PATHNAME', 'recent_activity_wrapper';

CREATE FUNCTION perfmon.xmin_horizon() RETURNS TABLE (
    rank int,
    kind text,
    name text,
    process_id int,
    database_name text,
    user_name text,
    application text,
    state text,
    xmin_age bigint,
    age_ms float8,
    keeps text,
    remedy text
) LANGUAGE c VOLATILE PARALLEL RESTRICTED ROWS 20 AS 'MODULE_PATHNAME', 'xmin_horizon_wrapper';

CREATE FUNCTION perfmon.rewrite_hints(
    since timestamptz DEFAULT now() - interval '1 hour',
    until timestamptz DEFAULT now(),
    source bigint DEFAULT NULL
) RETURNS TABLE (
    statement_id int,
    severity text,
    kind text,
    user_name text,
    query text,
    table_name text,
    expression text,
    better_form text,
    same_meaning boolean,
    reason text,
    statement text,
    calls bigint,
    mean_exec_ms float8,
    total_exec_ms float8,
    share_ratio float8,
    rows_per_call float8,
    blocks_per_call float8,
    plan_ms_per_plan float8,
    table_rows float8,
    saved_ms_per_hour float8,
    effect text,
    remedy text
) LANGUAGE c STABLE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'rewrite_hints_wrapper';

CREATE FUNCTION perfmon.seq_scans(
    since timestamptz DEFAULT now() - interval '1 hour',
    until timestamptz DEFAULT now(),
    source bigint DEFAULT NULL
) RETURNS TABLE (
    table_name text,
    severity text,
    statement_id int,
    query text,
    filter_columns text,
    seq_scan bigint,
    seq_tup_read bigint,
    rows_per_seq_scan float8,
    rows_kept bigint,
    rows_read_per_row_kept float8,
    trend_ratio float8,
    calls bigint,
    wasted_ms float8,
    wasted_share_ratio float8,
    table_rows float8,
    table_bytes bigint,
    remedy text,
    statement text,
    samples bigint,
    rows_read_per_call float8,
    rows_kept_per_call float8,
    table_share_ratio float8
) LANGUAGE c STABLE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'seq_scans_wrapper';

CREATE FUNCTION perfmon.idle_in_transaction(
    since timestamptz DEFAULT now() - interval '1 hour',
    until timestamptz DEFAULT now(),
    source bigint DEFAULT NULL
) RETURNS TABLE (
    database_name text,
    user_name text,
    application text,
    queryid bigint,
    statement_id int,
    query text,
    meaning text,
    times bigint,
    sessions int,
    idle_ms float8,
    longest_ms float8,
    resumed bigint,
    finished bigint,
    gone bigint,
    open bigint,
    open_ms float8
) LANGUAGE c STABLE PARALLEL UNSAFE ROWS 20 AS 'MODULE_PATHNAME', 'idle_in_transaction_wrapper';

CREATE FUNCTION perfmon.pooler_clients() RETURNS TABLE (
    pooler text,
    database_name text,
    user_name text,
    state text,
    client_addr text,
    client_port int,
    application_name text,
    wait_ms float8,
    server_pid int,
    backend_state text,
    transaction_ms float8,
    pins_server bool,
    problem text
) LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 100 AS 'MODULE_PATHNAME', 'pooler_clients_wrapper';

CREATE FUNCTION perfmon.errors(
    since timestamptz DEFAULT now() - interval '1 hour',
    until timestamptz DEFAULT now(),
    source bigint DEFAULT NULL
) RETURNS TABLE (
    class text,
    sqlstate text,
    condition text,
    user_name text,
    statement_id int,
    query text,
    table_name text,
    errors bigint,
    per_hour float8,
    lost_ms float8,
    share_ratio float8,
    last_seen timestamptz,
    quality text
) LANGUAGE c STABLE PARALLEL RESTRICTED ROWS 50 AS 'MODULE_PATHNAME', 'errors_wrapper';

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
    perfmon.host_minute,
    perfmon.disk_minute,
    perfmon.pooler_minute,
    perfmon.latency_minute,
    perfmon.failure_minute,
    perfmon.route_minute,
    perfmon.scan_minute,
    perfmon.cluster_minute,
    perfmon.session_minute,
    perfmon.wait_minute,
    perfmon.pool_minute,
    perfmon.slo,
    perfmon.run,
    perfmon.pool_declared,
    perfmon.plan,
    perfmon.plan_flip,
    perfmon.plan_shown,
    perfmon.lock_wait,
    perfmon.deadlock,
    perfmon.idle_transaction,
    perfmon.finding_shown
FROM PUBLIC;

REVOKE ALL ON FUNCTION
    perfmon.assert_slo(text, timestamptz, timestamptz, bigint),
    perfmon.predicates(timestamptz, timestamptz, bigint),
    perfmon.scans_since_start(),
    perfmon.declare_pool(text, int, text, text, text, text, text),
    perfmon.error_series(timestamptz, timestamptz, interval, bigint),
    perfmon.host_history(timestamptz, timestamptz, bigint),
    perfmon.begin_run(text, text),
    perfmon.pool_history(timestamptz, timestamptz, bigint),
    perfmon.pool_size_advice(timestamptz, timestamptz, bigint),
    perfmon.pool_saturation(timestamptz, timestamptz, bigint),
    perfmon.run_report(text, text, text),
    perfmon.compare_runs(text, text),
    perfmon.pgbouncer_validator(text[], oid),
    perfmon.disk_history(timestamptz, timestamptz, bigint),
    perfmon.plan_flips(timestamptz, timestamptz, bigint),
    perfmon.plans(int, bigint),
    perfmon.scan_history(timestamptz, timestamptz, bigint),
    perfmon.errors_since_start(),
    perfmon.drop_pool(text),
    perfmon.slo_status(timestamptz, timestamptz, bigint),
    perfmon.scan_evidence(timestamptz, timestamptz, bigint),
    perfmon.why_queued(timestamptz, timestamptz, bigint),
    perfmon.create_slo(text, float8, float8, float8, float8, float8, float8, float8, text, text, text, int, bool, bigint, interval, text),
    perfmon.latency_since_start(),
    perfmon.blocking(timestamptz, timestamptz, bigint),
    perfmon.pooler_pools(timestamptz, timestamptz, bigint),
    perfmon.end_run(text),
    perfmon.pooler_history(timestamptz, timestamptz, bigint),
    perfmon.host_series(timestamptz, timestamptz, interval, bigint),
    perfmon.deadlocks(timestamptz, timestamptz, bigint),
    perfmon.top_waits(timestamptz, timestamptz, int, bigint),
    perfmon.cluster_history(timestamptz, timestamptz, bigint),
    perfmon.routes(timestamptz, timestamptz, bigint),
    perfmon.route_history(timestamptz, timestamptz, bigint),
    perfmon.disk_series(timestamptz, timestamptz, interval, bigint),
    perfmon.failure_history(timestamptz, timestamptz, bigint),
    perfmon.wait_history(timestamptz, timestamptz, bigint),
    perfmon.long_transactions(interval),
    perfmon.latency_heatmap(timestamptz, timestamptz, interval, int, bigint),
    perfmon.session_history(timestamptz, timestamptz, bigint),
    perfmon.latency_histogram(int, timestamptz, timestamptz, bigint),
    perfmon.activity(timestamptz, timestamptz, interval, bigint),
    perfmon.blocking_now(),
    perfmon.drop_slo(text),
    perfmon.host_status(),
    perfmon.recent_activity(interval),
    perfmon.xmin_horizon(),
    perfmon.rewrite_hints(timestamptz, timestamptz, bigint),
    perfmon.idle_in_transaction(timestamptz, timestamptz, bigint),
    perfmon.pooler_clients(),
    perfmon.errors(timestamptz, timestamptz, bigint),
    perfmon.pool_activity(timestamptz, timestamptz, interval, bigint),
    perfmon.statement_series(int, timestamptz, timestamptz, interval, bigint),
    perfmon.load_series(timestamptz, timestamptz, interval, bigint),
    perfmon.slow_statements(timestamptz, timestamptz, bigint),
    perfmon.top_statements(timestamptz, timestamptz, text, int, bigint),
    perfmon.seq_scans(timestamptz, timestamptz, bigint)
FROM PUBLIC;

GRANT SELECT ON TABLE
    perfmon.latency_minute,
    perfmon.latency_hour,
    perfmon.latency_day,
    perfmon.failure_minute,
    perfmon.failure_hour,
    perfmon.failure_day,
    perfmon.route_minute,
    perfmon.route_hour,
    perfmon.route_day,
    perfmon.cluster_minute,
    perfmon.cluster_hour,
    perfmon.cluster_day,
    perfmon.host_minute,
    perfmon.host_hour,
    perfmon.host_day,
    perfmon.disk_minute,
    perfmon.disk_hour,
    perfmon.disk_day,
    perfmon.pooler_minute,
    perfmon.pooler_hour,
    perfmon.pooler_day,
    perfmon.scan_minute,
    perfmon.scan_hour,
    perfmon.scan_day,
    perfmon.session_minute,
    perfmon.session_hour,
    perfmon.session_day,
    perfmon.wait_minute,
    perfmon.wait_hour,
    perfmon.wait_day,
    perfmon.pool_minute,
    perfmon.pool_hour,
    perfmon.pool_day,
    perfmon.slo,
    perfmon.pool_declared,
    perfmon.run,
    perfmon.finding_shown,
    perfmon.plan_shown,
    perfmon.plan_flip,
    perfmon.lock_wait,
    perfmon.deadlock,
    perfmon.idle_transaction
TO pg_monitor;

GRANT EXECUTE ON FUNCTION
    perfmon.slow_statements(timestamptz, timestamptz, bigint),
    perfmon.seq_scans(timestamptz, timestamptz, bigint),
    perfmon.rewrite_hints(timestamptz, timestamptz, bigint),
    perfmon.scan_evidence(timestamptz, timestamptz, bigint),
    perfmon.predicates(timestamptz, timestamptz, bigint),
    perfmon.plans(int, bigint),
    perfmon.plan_flips(timestamptz, timestamptz, bigint),
    perfmon.create_slo( text, float8, float8, float8, float8, float8, float8, float8, text, text, text, int, bool, bigint, interval, text),
    perfmon.drop_slo(text),
    perfmon.slo_status(timestamptz, timestamptz, bigint),
    perfmon.assert_slo(text, timestamptz, timestamptz, bigint),
    perfmon.begin_run(text, text),
    perfmon.end_run(text),
    perfmon.run_report(text, text, text),
    perfmon.compare_runs(text, text),
    perfmon.latency_since_start(),
    perfmon.errors_since_start(),
    perfmon.scans_since_start(),
    perfmon.errors(timestamptz, timestamptz, bigint),
    perfmon.error_series(timestamptz, timestamptz, interval, bigint),
    perfmon.routes(timestamptz, timestamptz, bigint),
    perfmon.top_statements(timestamptz, timestamptz, text, int, bigint),
    perfmon.statement_series(int, timestamptz, timestamptz, interval, bigint),
    perfmon.load_series(timestamptz, timestamptz, interval, bigint),
    perfmon.latency_histogram(int, timestamptz, timestamptz, bigint),
    perfmon.latency_heatmap(timestamptz, timestamptz, interval, int, bigint),
    perfmon.failure_history(timestamptz, timestamptz, bigint),
    perfmon.route_history(timestamptz, timestamptz, bigint),
    perfmon.cluster_history(timestamptz, timestamptz, bigint),
    perfmon.host_status(),
    perfmon.host_series(timestamptz, timestamptz, interval, bigint),
    perfmon.disk_series(timestamptz, timestamptz, interval, bigint),
    perfmon.host_history(timestamptz, timestamptz, bigint),
    perfmon.disk_history(timestamptz, timestamptz, bigint),
    perfmon.pooler_clients(),
    perfmon.pooler_pools(timestamptz, timestamptz, bigint),
    perfmon.pooler_history(timestamptz, timestamptz, bigint),
    perfmon.scan_history(timestamptz, timestamptz, bigint),
    perfmon.session_history(timestamptz, timestamptz, bigint),
    perfmon.wait_history(timestamptz, timestamptz, bigint),
    perfmon.pool_history(timestamptz, timestamptz, bigint),
    perfmon.recent_activity(interval),
    perfmon.activity(timestamptz, timestamptz, interval, bigint),
    perfmon.top_waits(timestamptz, timestamptz, int, bigint),
    perfmon.pool_activity(timestamptz, timestamptz, interval, bigint),
    perfmon.pool_saturation(timestamptz, timestamptz, bigint),
    perfmon.why_queued(timestamptz, timestamptz, bigint),
    perfmon.pool_size_advice(timestamptz, timestamptz, bigint),
    perfmon.declare_pool(text, int, text, text, text, text, text),
    perfmon.drop_pool(text),
    perfmon.blocking(timestamptz, timestamptz, bigint),
    perfmon.blocking_now(),
    perfmon.deadlocks(timestamptz, timestamptz, bigint),
    perfmon.idle_in_transaction(timestamptz, timestamptz, bigint),
    perfmon.long_transactions(interval),
    perfmon.xmin_horizon()
TO pg_monitor;

COMMENT ON COLUMN perfmon.gap.kind IS
'server_down, missed (no snapshot), reset (counters were reset, or lost with a restart or a crash before they were read), evicted, standby, disabled, or clock (the clock stepped).';

COMMENT ON TABLE perfmon.latency_minute IS
'Execution times that the hooks counted, one row per interval, one packed histogram per statement (by the ids of perfmon.statement). Read it through perfmon.top_statements(), statement_series(), latency_histogram() and latency_heatmap().';

COMMENT ON TABLE perfmon.latency_hour IS 'perfmon.latency_minute, rolled up to UTC hours: sums of buckets; what makes less than 0.1 % is summed under id 0.';

COMMENT ON TABLE perfmon.latency_day IS 'perfmon.latency_minute, rolled up to UTC days: sums of buckets; what makes less than 0.1 % is summed under id 0.';

COMMENT ON TABLE perfmon.session_minute IS
'Per interval all processes by type, state and wait, summed over samples; in the home database only. Read perfmon.activity() and session_history().';

COMMENT ON TABLE perfmon.session_hour IS 'perfmon.session_minute, rolled up to UTC hours.';

COMMENT ON TABLE perfmon.session_day IS 'perfmon.session_minute, rolled up to UTC days.';

COMMENT ON TABLE perfmon.wait_minute IS
'Per interval sessions at work by statement, state and wait, summed over samples; in the home database only. Read perfmon.top_waits() and wait_history().';

COMMENT ON TABLE perfmon.wait_hour IS 'perfmon.wait_minute, rolled up to UTC hours.';

COMMENT ON TABLE perfmon.wait_day IS 'perfmon.wait_minute, rolled up to UTC days.';

COMMENT ON TABLE perfmon.pool_minute IS
'Per interval clients'' sessions by pool, database, user and in all: samples by number of sessions, sums over samples, and peaks; in the home database only. Read perfmon.pool_activity() and pool_history().';

COMMENT ON TABLE perfmon.pool_hour IS 'perfmon.pool_minute, rolled up to UTC hours.';

COMMENT ON TABLE perfmon.pool_day IS 'perfmon.pool_minute, rolled up to UTC days.';

COMMENT ON TABLE perfmon.failure_minute IS
'Failures that reached clients, one row per interval, packed by (user, statement or table, class and SQLSTATE); read perfmon.errors() and perfmon.error_series().';

COMMENT ON TABLE perfmon.failure_hour IS 'perfmon.failure_minute, rolled up to UTC hours.';

COMMENT ON TABLE perfmon.failure_day IS 'perfmon.failure_minute, rolled up to UTC days.';

COMMENT ON TABLE perfmon.route_minute IS
'Statements and transactions by (application, user, route) and bucket of their time, one row per interval, packed; read perfmon.routes().';

COMMENT ON TABLE perfmon.route_hour IS 'perfmon.route_minute, rolled up to UTC hours.';

COMMENT ON TABLE perfmon.route_day IS 'perfmon.route_minute, rolled up to UTC days.';

COMMENT ON TABLE perfmon.cluster_minute IS
'Per interval what clients of all databases executed, by bucket of its time; in the home database only. Read perfmon.cluster_history().';

COMMENT ON TABLE perfmon.cluster_hour IS 'perfmon.cluster_minute, rolled up to UTC hours.';

COMMENT ON TABLE perfmon.cluster_day IS 'perfmon.cluster_minute, rolled up to UTC days.';

COMMENT ON TABLE perfmon.host_minute IS
'Per interval what the machine did: processors, load, memory, control groups, the cache of ZFS; in the home database only. Gauges are added up once for each of samples. Read perfmon.host_series().';

COMMENT ON TABLE perfmon.host_hour IS 'perfmon.host_minute, rolled up to UTC hours.';

COMMENT ON TABLE perfmon.host_day IS 'perfmon.host_minute, rolled up to UTC days.';

COMMENT ON TABLE perfmon.pooler_minute IS
'Per interval what PgBouncers said, by (pooler, database, user): whether they answered, counters of databases, gauges of pools; in the home database only. Read perfmon.pooler_pools().';

COMMENT ON TABLE perfmon.pooler_hour IS 'perfmon.pooler_minute, rolled up to UTC hours.';

COMMENT ON TABLE perfmon.pooler_day IS 'perfmon.pooler_minute, rolled up to UTC days.';

COMMENT ON TABLE perfmon.disk_minute IS
'Per interval the room in file systems that the server writes to, and what their devices did; in the home database only. Read perfmon.disk_series().';

COMMENT ON TABLE perfmon.disk_hour IS 'perfmon.disk_minute, rolled up to UTC hours.';

COMMENT ON TABLE perfmon.disk_day IS 'perfmon.disk_minute, rolled up to UTC days.';

COMMENT ON TABLE perfmon.scan_minute IS
'What plans did in the executions that were looked into, one row per interval, packed; read perfmon.scan_evidence().';

COMMENT ON TABLE perfmon.scan_hour IS 'perfmon.scan_minute, rolled up to UTC hours.';

COMMENT ON TABLE perfmon.scan_day IS 'perfmon.scan_minute, rolled up to UTC days.';

COMMENT ON FUNCTION perfmon.status() IS
'Is it working, and what is missing. One row per item: value in words, state ok, warning or error, and in hint the line that fixes it. Costs are means over the last 24 hours. names in statements: of how many statements, at the last evaluation, names mean nothing, or other tables than their executions read, so that nothing is advised for them.';

COMMENT ON FUNCTION perfmon.latency_since_start() IS
'Execution times of this database''s statements since the server started, from a histogram of every execution (in the executor, as pg_stat_statements counts; commands as a whole). One row per user, queryid and toplevel, longest total first; rest is true for the row of all that has no row of its own any more. Executions that read blocks from outside the server''s cache are apart (read_) from those that found all in it (cached_). Milliseconds. Percentiles and total_ms are at most error_ratio off, times below a microsecond and from an hour on excepted. queryid is NULL for other users'' statements unless the caller has pg_read_all_stats. 55000 without preloading. What is counted: pg_perfmon.capture; how many rows: pg_perfmon.max_statements.';

COMMENT ON FUNCTION perfmon.scans_since_start() IS
'What the nodes of plans did since the server started, in the executions of this database that were looked into: a share of all (pg_perfmon.scan_sample_rate), and each statement at least once in ten seconds in which it was executed. Counts are those of the samples, never scaled. node: seq_scan, index_scan, nested_loop and so on. Told are all scans of whole tables, every other node whose conditions threw away more rows than they kept, sorts and hash tables that wrote to disk, and nested loops of which an estimate was off by more than ten times; not those on the server''s own tables and on temporary ones. Of partitions, the table that the statement names stands for all. conditions: without constants; "index:" what the index found rows by, "join:" and "match:" conditions of joins, "sort:" and "group:" columns. statement_samples: executions of the statement that were looked into. samples: those in which the node did something. loops, rows_read (kept and thrown away) and rows_kept are sums over loops and parallel workers, as EXPLAIN ANALYZE counts them; rows_estimated: rows that the planner had expected in as many loops. spills: how often it wrote to disk; spilled_bytes: NULL where not known, as of hash joins. outer_rows, outer_rows_estimated and misestimates: of nested loops only. rest: all nodes that found no place. queryid is NULL unless the caller may see it by the rules of pg_stat_statements. Source: the executor''s counters. Errors: 55000 without preloading.';

COMMENT ON FUNCTION perfmon.errors_since_start() IS
'Errors that the server logged for clients of this database since it started, most frequent first, by user, statement (queryid; that which the client sent) and SQLSTATE. class tells errors of applications (error, deadlock) from cancelled, statement_timeout, lock_timeout, idle_in_transaction_timeout, idle_session_timeout, transaction_timeout, terminated, refused (connections; without a database) and login_failed (no session began: password, database or permission to connect). lost_ms: time of the failed statements since their message arrived. rest is true for what has no row of its own any more. queryid is NULL where it is unknown (syntax errors; compute_query_id or track_activities off), and for other users'' statements unless the caller has pg_read_all_stats. 55000 without preloading. Errors that log_min_messages keeps from the log are not counted.';

COMMENT ON FUNCTION perfmon.errors(timestamptz, timestamptz, bigint) IS
'What failed in a time window, most frequent first: one row for each class, SQLSTATE, user and statement. Arguments: since and until (default: the last hour), source. class: error, statement_timeout, lock_timeout, transaction_timeout and deadlock count as errors of statements; cancelled (on request), idle_in_transaction_timeout, idle_session_timeout, refused (too many connections, or the server takes none), login_failed (no session began: password, role, database or permission to connect) and terminated do not, nor does autovacuum_cancelled (autovacuum gave way to a lock; table_name is its table). condition: the standard name of the SQLSTATE, NULL for those of applications. statement_id and query: the statement that the client sent, where known; texts are shown as in top_statements(). user_name NULL and statement_id NULL: what found no place of its own, or has neither. What belongs to no database, such as refused connections, is in the home database. errors: how often it reached a client; what a function or block caught does not count. per_hour: over the time that intervals cover. lost_ms: from the arrival of the message to the error, all of it. share_ratio: of all rows. last_seen: within a second. quality: lower bound where the server was restarted in between.
No rows and a notice without preloading. Errors: 22023 for bad arguments. Source: emit_log_hook.';

COMMENT ON FUNCTION perfmon.error_series(timestamptz, timestamptz, interval, bigint) IS
'Errors over time, one row per step, for graphs. Arguments and steps as in statement_series(). executions: top-level statements that were executed to their end, but for BEGIN, COMMIT, ROLLBACK, SAVEPOINT and the like, SET and DISCARD. errors: statements that failed, timeouts and deadlocks included, cancellations not. error_ratio: errors over executions, errors and cancellations together. lost_ms: time of all failures. The classes apart as in errors(). rollbacks, rollbacks_per_s and rollback_ratio (of all transactions) come from pg_stat_database and say nothing about errors. changes: as in statement_series(). NULL where nothing is known: without preloading (a notice says so), or while log_min_messages hides errors.
Errors: 22023 for bad arguments.';

COMMENT ON FUNCTION perfmon.routes(timestamptz, timestamptz, bigint) IS
'Statements and transactions by application (application_name), user and route, most time first. Arguments: since and until (default: the last hour), source. route: what a comment in the form of sqlcommenter at the end or the start of a statement says: its key route, else controller#action; NULL without one. "(all other routes)": what found no place within pg_perfmon.max_routes. calls: top-level statements executed to their end, but for those that begin and end transactions or set something. Percentiles are of execution times (in the executor; commands as a whole), from a histogram with a relative error of at most 5 %; max_ms is the upper end of its bucket. errors, cancelled and error_ratio as in error_series(). transactions: those in which at least one statement was counted, under the route of the last; statements_per_transaction counts failed ones too. transaction_*_ms: from the arrival of the first message to the end; of a SELECT outside of a transaction block, the time of its execution.
No rows and a notice without preloading. Errors: 22023 for bad arguments.';

COMMENT ON FUNCTION perfmon.report(timestamptz, timestamptz, text, bigint) IS
'The story of a time window as a DBA would tell it: a rating out of ten with its formula, how much time could be saved, the top bottlenecks with cause, evidence, remedy and the statement to run, load, trend as a chart, time by kind of command, top statements, the plans of those that take most time with what in them cost the time and since when, better forms of statements (see rewrite_hints()), tables read most by sequential scans, changes, gaps, and what to do in which order. Arguments: since and until (default: the last hour), format markdown (at most 100 columns wide, but for SQL) or json (schema pg_perfmon.report/1, docs/report.schema.json), source (NULL: this database and those it continues; another one is not judged, since its catalog is not here). Statement texts and statements to run are for members of pg_read_all_stats. Says so where there is too little data. Errors: 22023 for arguments that cannot be right.';

COMMENT ON FUNCTION perfmon.top_statements(timestamptz, timestamptz, text, int, bigint) IS
'Statements that did most in a time window, largest first. Arguments: since and until (default: the last hour; NULL is the default), order_by one of total_time, mean_time, calls, rows, plan_time, io_time, shared_blks_hit, shared_blks_read, temp_blks_written, wal_bytes, p95, p99; max_rows (NULL: all); source (NULL: this database and those it continues).
Whole intervals that end in (since, until] are taken, nothing is pro-rated. Times in milliseconds, blocks in server blocks (8 kB), wal in bytes. calls_per_s: calls over the time that the intervals cover. stddev_exec_ms: from the sums of times and squared times; NULL where rounding leaves nothing; from the histogram of execution times where pg_stat_statements has none.
p50_ms to p99_ms: the time within which that share of executions ended, max_ms the longest, from histograms that the hooks fill at the end of each execution, added up over the window; at most percentile_error_ratio off between a microsecond and an hour. timed_calls: the executions in them. cached_calls and cached_p95_ms: those that found all blocks in the server''s cache; read_calls and read_p95_ms: those that read some. All NULL where nothing was counted (without preloading, with pg_perfmon.capture off); a notice names the line that turns it on. share_ratio: of the execution time of all top-level statements; NULL for nested ones. cache_hit_ratio: hits over hits and reads of shared buffers. quality: exact; lower bound (something may be missing); doubtful (the entry may have been evicted and come back). statement_id 0: all statements too small to be kept apart in hours and days.
Without pg_stat_statements the list is that of the histograms, and what only pg_stat_statements counts is NULL. Unknown is NULL. Errors: 22023 for arguments that cannot be right. Source: pg_stat_statements; hooks.';

COMMENT ON FUNCTION perfmon.statement_series(int, timestamptz, timestamptz, interval, bigint) IS
'One statement over time, one row per step, for graphs. Arguments: statement_id as in top_statements(); since and until (default: the last hour); step (NULL: one that gives at most 400 points; days and months begin in the session''s time zone, other steps are aligned to 1970-01-01 UTC); source.
time is the start of the step. An interval counts in the step in which it ends. NULL where nothing is known (a gap), 0 where the statement did not run. Rates divide by the time covered, covered_ratio is its share of the step. active_ratio: execution time over time, that is how many were running on average. Percentiles as in top_statements(), from the buckets of the step. changes: how many changes were noticed in the step, and the first of them by name (marks, settings, extensions, tables, indexes; perfmon.changes() has them all); NULL where none was.
Errors: 22023 for an unknown statement, a step that is not positive or makes more than 100,000 points.';

COMMENT ON FUNCTION perfmon.load_series(timestamptz, timestamptz, interval, bigint) IS
'All top-level statements together over time, one row per step, for graphs; reads row totals only, so it is quick over months. Arguments and steps as in statement_series(). active_ratio: execution time over time, that is how many were running on average. nested_exec_ms: time of statements inside others, contained in theirs and never added. p50_ms, p95_ms, p99_ms: of the timed_calls executions that the hooks counted (see top_statements()); NULL where they counted none. changes: as in statement_series(). NULL in gaps. Errors: 22023.';

COMMENT ON FUNCTION perfmon.latency_histogram(int, timestamptz, timestamptz, bigint) IS
'How many executions took how long in a time window, one row per range of times in which there were any, shortest first. Arguments: statement_id as in top_statements() (NULL, the default: all that clients sent); since and until (default: the last hour); source. An execution took low_ms or longer and less than high_ms (NULL: no end; from an hour on). Ranges are the same always and everywhere, so that rows of any two calls can be added. cached_calls found all blocks in the server''s cache, read_calls read some. No rows where nothing was counted. Errors: 22023.';

COMMENT ON FUNCTION perfmon.latency_heatmap(timestamptz, timestamptz, interval, int, bigint) IS
'How many executions took how long over time, for a heat map: one row per step and range of times in which there were any; a step in which nothing ran has one row of 0 calls without a range, one of which nothing is known has none. Arguments: since and until (default: the last hour), step as in statement_series(), statement_id (NULL, the default: all that clients sent), source. Ranges as in latency_histogram(). Changes are not told here, as a step has many rows: load_series() and statement_series() tell them by the same steps. Errors: 22023.';

COMMENT ON FUNCTION perfmon.tables(timestamptz, timestamptz, bigint) IS
'Tables and materialized views used in a time window, by name: scans, rows, writes, sizes. Arguments: since and until (default: the last hour), source. n_live_tup, n_dead_tup, n_mod_since_analyze and sizes are the last known values, everything else is what happened in the window. rows_per_seq_scan: rows read per sequential scan; the server counts each worker of a parallel scan as a scan of its own. hot_update_ratio: updates that needed no index entry. dead_ratio: dead over dead and live rows. blks_read and blks_hit include indexes and TOAST. growth_bytes: last less first known total size. Sizes in bytes, read every few minutes. Errors: 22023. Source: pg_stat_all_tables, pg_statio_all_tables, file sizes.';

COMMENT ON FUNCTION perfmon.gaps(timestamptz, timestamptz, bigint) IS
'Gaps that touch a time window, in order. Arguments: since and until (default: the last hour), source. kind: server_down, missed, reset (counters were reset, or lost with a restart or a crash before they were read), evicted, standby, disabled or clock. Only server_down says that the server was not there. Errors: 22023.';

COMMENT ON FUNCTION perfmon.changes(timestamptz, timestamptz, bigint) IS
'What changed in a time window, in order, with the time of the snapshot that saw it: it happened since the look before, usually within a minute, within five where temporary tables come and go all the time. Arguments: since and until (default: the last hour), source.
kind: setting, extension, table (materialized views and partitioned tables too), index, plan_flip (a statement''s plan took the place of another: see plan_flips()), or mark (see mark_change()). name: as it is written in a statement, with the schema. Created: old_value is NULL and new_value says how it is made; dropped: the other way round; altered: both; renamed: old_value is the name before, new_value says renamed to and the name. Partitions and children of one table that come or go together are one row, such as 12 partitions of public.events, and so is more than 50 of a kind. Left out: what belongs to an extension, to the system or to pg_perfmon, temporary tables, and what came and went between two snapshots; the same made anew under the same name is no change. Settings that only superusers may see are not recorded. Errors: 22023. Source: pg_settings, pg_extension, pg_class, pg_attribute, pg_index, pg_inherits.';

COMMENT ON TABLE perfmon.plan IS
'Plans that statements were seen to have, as plans() shows them. Bounded: of each statement the 10 seen last and those of its flips, 5,000 in all, for pg_perfmon.retention. The view plan_shown masks the forms.';

COMMENT ON VIEW perfmon.plan_shown IS
'Plans for those who may see numbers: plan_text and plan_json are shown to members of pg_read_all_stats and to the user of the statement. Read by plans().';

COMMENT ON TABLE perfmon.plan_flip IS
'Plans that took the place of another, as plan_flips() shows them: the 10 newest of each statement, for pg_perfmon.retention.';

COMMENT ON FUNCTION perfmon.plans(int, bigint) IS
'Plans that a statement was seen to have, the one seen last first; of all statements with NULL. A plan is recorded when an execution takes pg_perfmon.plan_min_duration, and of the 200 statements with most time since the last snapshot whatever they take: 8 executions of each are looked at between two snapshots. Columns: plan_id (the same for the same kinds of nodes, tables, columns of indexes and order of joins; costs, workers, names of indexes, and how many partitions there are do not count), is_current (the plan seen last), first_seen, last_seen, calls, mean_ms and max_ms (of the executions known to have had the plan: not all were looked at, and slow ones more often), sampled_calls and sampled_mean_ms (of those looked at whatever they took: an unbiased mean), cost (as estimated when it was printed), heaviest_node and heaviest_cost_ratio (the node with most of the estimated cost of its own, and its part, from 0 to 1), has_constants, plan_text and plan_json (as EXPLAIN prints them; constants are ? unless pg_perfmon.plan_constants was on; NULL when nothing was printed yet, and plan_json when it is longer than 64 kB), from_source. Readers without pg_read_all_stats see the forms of their own statements only. Errors: 22023. Source: the plans of the executions themselves.';

COMMENT ON FUNCTION perfmon.plan_flips(timestamptz, timestamptz, bigint) IS
'Plans that took the place of another in a window, oldest first. Columns: time (when the plan after was seen first), statement_id, last_seen_before (when the plan before was seen last), and of the plans before and after: id, calls, mean_ms, sampled_calls, sampled_mean_ms, heaviest_node and plan_text as in plans(), all of them up to now; from_source. Plans that are used side by side, for other parameters or in other sessions, are no flip; nor is a partition more or less. perfmon.changes() shows flips as kind plan_flip. Errors: 22023. Source: the plans of the executions themselves.';

COMMENT ON TABLE perfmon.pool_declared IS
'Sizes of pools as declare_pool() declared them: of each pool of this database name, user, application and client address; NULL matches any. Used by pool_saturation() and pool_size_advice().';

COMMENT ON FUNCTION perfmon.declare_pool(text, int, text, text, text, text, text) IS
'Declares the size of a pool that only its program knows. Arguments: name (unique), size (the most connections that each pool may open, at least 1), and whose pool: database, username, application, client_address (empty for a Unix socket); NULL matches any, at least one must be named; note. Where several match, the one that names most is meant. In the home database. For pg_monitor and the owner. Errors: 22023 for what cannot be meant, 42710 for a name that is taken, 55000 outside of the home database, 25006 on a standby and in read-only transactions.';

COMMENT ON FUNCTION perfmon.drop_pool(text) IS
'Takes the size of a pool back. For pg_monitor and the owner. Errors: 42704 when there is none of that name, 25006 on a standby and in read-only transactions.';

COMMENT ON FUNCTION perfmon.pool_saturation(timestamptz, timestamptz, bigint) IS
'How full the server, databases, users and pools are over a window, in the home database (55000 elsewhere). Whose a row is: as in pool_activity(). Limits: server_limit is max_connections less what is reserved for others (superuser_reserved_connections, from 16 on reserved_connections; less is reserved for those who may use it), database_limit and role_limit are their CONNECTION LIMIT (superusers have none), pooler_limit is the size of the pool of that database and user at a pooler that is asked (pooler_pools()), as it was on average, for sessions that are the pooler''s as far as their number and address tell, pool_limit was declared or, pool_limit_from inferred, is the number at which a pool stood for half of the window. They are as they are now, whatever the window; NULL is none. limited_by, connections_limit: the limit with least headroom. connections_used: of what is under that limit, what 95 % of samples did not exceed, or what there is now if that is more; open sessions for limits of the server, a database or a role, busy ones for those of a pool, and of a pooler''s what it says that it gave to clients. headroom, saturation_ratio: of that. saturation: ok, warning over 80 %, critical over 90 % (thresholds pool_saturation_ratio, pool_saturation_critical_ratio); always ok by an inferred size. peak_ratio: the same of the peak. hours_to_exhaustion, growth_per_hour: when the first of the limits of server, database and role is reached by the median of the slopes between all steps of the window (Theil, Sen), on top of what the same hours of the last seven days had where at least three are known; NULL where the data do not support it. queue_cause: as in why_queued(), NULL for nothing. _now: at this moment, NULL for windows that are over; _avg, _p95, _peak over samples, by state. monitoring_avg: of open_avg, those of pg_perfmon''s and Grafana''s own application names. idle_ratio, in_transaction_ratio, on_lock_ratio: shares of open_avg. opened_per_s: new sessions that samples saw; sessions_per_s and session_ms (how many began, how long one lasts): what pg_stat_database counted of the server or database; session_ms is of the intervals in which no session ended right after its login, which it counts as lasting since 2000. storms: steps (a sixtieth of the window) with more new sessions than the median by six median deviations, at least 10; storm_peak_per_step: the most in one. refused: connections that were refused, by cause, which no view of the server shows; refused_authentication is apart; NULL where errors are not counted, and for pools. Errors: 22023, 55000. Source of the formulas: the manual, Pools.';

COMMENT ON FUNCTION perfmon.why_queued(timestamptz, timestamptz, bigint) IS
'Why sessions queue, one verdict for the server and each database, user and pool, in the home database (55000 elsewhere); of the moments at which a limit was full or clients waited at a pooler, or else of the whole window. cause: nothing; cpu (more sessions want a processor than there are), lock (detail and evidence name the head of the chain, the one for which the sessions of the row waited longest in the window: process, user, application, state, statement and since when), io, client (sessions wait for their client inside a transaction), pool_too_small (a limit is reached, connections were refused or clients wait, while the server has room), pool_too_large (the connections of a full limit are held idle; a pooler''s only by clients that have them, or many times more sessions work than there are processors). detail: in words. evidence: metric, value, unit and threshold of all that decided. Errors: 22023, 55000. Source: the manual, Pools.';

COMMENT ON FUNCTION perfmon.pool_size_advice(timestamptz, timestamptz, bigint) IS
'How large pools need be over a window, in the home database (55000 elsewhere). advised_size: busy_load and margin, rounded up; NULL with fewer samples than the threshold pool_size_samples. busy_load: the sessions that the load keeps busy (inside a statement or a transaction) at its height: the largest load of which chance alone gives one of the percentiles 50, 75, 90, 95 and 99 of busy sessions, and no less than the average; where more sessions want a processor than the pool''s part of the processors (limited_by_cpus), the average less those beyond. margin: the square root of busy_load, times the threshold pool_size_margin; half of it where processors limit. current_size: that of the pooler, declared, inferred, or the peak of open sessions, as current_size_from says. over_provision_factor: open sessions (p95) for each busy one (p99). connections_freed: what the change would free. change: in words; terms: in those of the usual pools, and what their liveness probes cost. transactions_per_s, transaction_ms: what pg_stat_database counted of the database (of all for the server); little_busy_avg is their product, which by Little''s law is the average number of busy sessions; little_ratio is that over the average of samples. quality: good; doubtful where these differ by more than the threshold pool_size_little_ratio or cannot be compared; too few samples. Errors: 22023, 55000. Source: Little''s law; the manual, Pools.';

COMMENT ON TABLE perfmon.slo IS
'Objectives of this database, as create_slo() declared them. A target that is NULL is not promised. Judged by slo_status().';

COMMENT ON COLUMN perfmon.slo.source IS 'The source under which it was declared: statement_id is one of its ids.';

COMMENT ON COLUMN perfmon.slo.period IS 'The time over which it is judged when nobody names another.';

COMMENT ON TABLE perfmon.run IS
'Test runs and deployments: begun_at and ended_at are the ends of snapshots, so that a run is whole intervals. ended_at is NULL while it goes on. Read by run_report().';

COMMENT ON FUNCTION perfmon.create_slo(
    text, float8, float8, float8, float8, float8, float8, float8, text, text, text, int, bool, bigint,
    interval, text) IS
'Declares an objective: what is promised of the executions of this database, of one user, one application name, one statement, or (in the home database) of the whole server. Arguments: name (1 to 200 characters, unique); targets: p95_ms and p99_ms, another percentile (a share such as 0.999) with percentile_ms, error_ratio (a share such as 0.005), throughput_per_second (at least), availability_ratio (at least, such as 0.999); without any, p95 200 ms, p99 500 ms and errors 0.5 %. Scope: at most one of username, application, statement_id and cluster; database may only name this one. min_executions (default 100): with fewer, percentiles and errors are not judged; throughput and availability are, by time. period (default 1 hour): the time over which it is judged when nobody names another. For pg_monitor and the owner. Errors: 22023 for what cannot be meant, a statement that is not known among it, 42710 for a name that is taken, 55000 for another database and for cluster outside of the home database, 25006 on a standby and in read-only transactions.';

COMMENT ON FUNCTION perfmon.drop_slo(text) IS
'Takes an objective back. For pg_monitor and the owner. Errors: 42704 when there is none of that name, 25006 on a standby and in read-only transactions.';

COMMENT ON FUNCTION perfmon.slo_status(timestamptz, timestamptz, bigint) IS
'Whether the objectives were kept: one row for each promise. Arguments: since (default NULL: each objective over its own period before until), until (default now), source. target, actual: in unit (ms, ratio, per_s); actual_low, actual_high: between them it surely lies (the error of a histogram bucket, at most 5 %; what is not known of an availability). status: met, missed, no_data (nothing, or less than 80 % of the time of an availability, is known, or nothing was executed), too_few (fewer executions than min_executions); no_data and too_few do not pass. Percentiles are of summed buckets; one of rank ceil(q n). Executions are those that clients sent, without what only begins or ends transactions, SET and DISCARD (times of the cluster include these). errors: those that reached clients over all that clients tried. availability: share of the known time in which the server was up and no more than the promised share of answers came late (the objective''s own percentiles, else p95 200 ms; a single late answer among others does not make an interval bad); only time without a server and late answers count against it, quiet time counts as available. budget_left_ratio: share of the error budget (1 - percentile, error_ratio, 1 - availability_ratio) that is left, negative when overspent. burn_rate_short, burn_rate_long: how fast the budget was spent in the last 5 minutes and the last hour before until, 1 being as fast as allowed. bad_minutes: time of intervals in which it was not kept. Windows over 25 hours are read by the hour. Errors: 22023. Source of burn rates and windows: Site Reliability Workbook, chapter 5.';

COMMENT ON FUNCTION perfmon.assert_slo(text, timestamptz, timestamptz, bigint) IS
'The same rows as slo_status() if all promises were kept, else an error that ends a script: P0004 (assert_failure), whose detail is the table of target, actual and status, whose hint says where to look. Promises about which nothing can be said are not kept. Arguments: name (default NULL: all objectives), since and until as of slo_status(), source. In CI: psql -v ON_ERROR_STOP=1 -c "SELECT perfmon.snapshot()" -c "SELECT * FROM perfmon.assert_slo()". Errors: P0004; 42704 for an unknown name, 55000 when no objective is declared, 22023.';

COMMENT ON FUNCTION perfmon.begin_run(text, text) IS
'Begins a test run or a deployment: takes a snapshot, so that the run is whole intervals, and returns its time. Arguments: name (1 to 200 characters; it may be used again once its run has ended), note. For pg_monitor and the owner. Errors: 22023 for a name that is missing or too long, 55000 when a run of that name has not ended, those of snapshot().';

COMMENT ON FUNCTION perfmon.end_run(text) IS
'Ends the run of that name: takes a snapshot and returns its time. For pg_monitor and the owner. Errors: 22023, 55000 when no run of that name is going on, those of snapshot().';

COMMENT ON FUNCTION perfmon.run_report(text, text, text) IS
'The report of the latest run of that name: outcome, objectives, latency, statements over slow_statement_p95_ms with their likely cause, reads and writes apart, errors, and what was changed meanwhile. A run that has not ended is reported up to the last snapshot, and said to be unfinished; other runs during the same time are named. Arguments: name, format (markdown or json: schema pg_perfmon.run/1), baseline (name of another run to compare with, or NULL). Errors: 42704 for an unknown run, 22023.';

COMMENT ON FUNCTION perfmon.compare_runs(text, text) IS
'Two runs number by number: objectives, then the p95 of statements, most slowed down first. what: objective or statement; subject: its name or id; verdict: better, worse, same (less than 10 % apart), new, gone, or NULL where it cannot be told. Arguments: baseline and name of the runs. Errors: 42704 for an unknown run.';

COMMENT ON FUNCTION perfmon.failure_history(timestamptz, timestamptz, bigint) IS
'Plain rows of history: one per interval and kind of failure, as the hooks counted them. Arguments: since and until (default: the last hour), source. object: the id of the statement, of autovacuum_cancelled the table; kind: class and SQLSTATE (00000 where only the class is known). Times in milliseconds; last_s: when it happened last, seconds since 1970-01-01 UTC. NULL is unknown. Errors: 22023 for bad arguments.';

COMMENT ON FUNCTION perfmon.scan_history(timestamptz, timestamptz, bigint) IS
'Plain rows of history: one per interval and node of a plan, as the hooks counted it in the executions that were looked into; see scan_evidence(). Arguments: since and until (default: the last hour), source. scan_id 0: all nodes that were not counted apart. statement: the statement_id. node: kind, index and conditions as JSON; of kind execution are all executions of the statement that were looked into, of kind existence those in which every number of rows that was compared told only whether there were any. Errors: 22023 for bad arguments.';

COMMENT ON FUNCTION perfmon.predicates(timestamptz, timestamptz, bigint) IS
'By which columns and expressions of which tables statements look rows up, join, sort and group (GROUP BY, DISTINCT): what an index would have to serve. Arguments: since and until (default: the last hour), source. usage: equality, range, pattern, containment, null, truth, join, sort or group; of an operator by its name. pattern: of usage pattern, what the pattern begins with: leading_wildcard, which no btree finds, or fixed_beginning; from the pattern in the text, else from the first character of those that executions sought (nothing else of a pattern is looked at); NULL where neither tells. samples, rows_read and rows_kept: of the nodes of plans that applied it, in the executions that were looked into (see scan_evidence()); NULL for what only the text of a statement says. kept_ratio: the selectivity seen; alone: no other condition stood beside it, so that this is its own. Only of the database''s own source. Errors: 22023 for bad arguments, 55000 for another database''s source.';

COMMENT ON FUNCTION perfmon.scan_evidence(timestamptz, timestamptz, bigint) IS
'What the plans of statements read for nothing, from their own executions: one row for each statement, table and node, what read most first. Arguments: since and until (default: the last hour), source. Counts are those of the executions that were looked into (statement_samples; samples: those in which the node did something), as EXPLAIN ANALYZE tells them; see scans_since_start() for which nodes are told and what the columns mean. calls: executions of the statement by pg_stat_statements. rows_read_per_call and rows_kept_per_call: per execution that was looked into. rows_read_scaled: rows_read_per_call times calls, an estimate. table_share_ratio: of a sequential scan, its part of all rows that sequential scans of the table read in the window by the server''s own counters (its partitions and children together), an estimate too; NULL for another source. filter_columns: what rows are thrown away by. Source: the executor''s counters. Errors: 22023 for bad arguments.';

COMMENT ON FUNCTION perfmon.route_history(timestamptz, timestamptz, bigint) IS
'Plain rows of history: one per interval, route and bucket of the histogram, as the hooks counted them. Arguments: since and until (default: the last hour), source. route_id 0: all routes that were not counted apart. bucket 0: under 1 microsecond; bucket b from 1 on: up to about 1.104 to the power of b microseconds; 255: errors and cancellations, which have no time. Errors: 22023 for bad arguments.';

COMMENT ON FUNCTION perfmon.host_status() IS
'The machine now, as far as the server may use it: one row for each of cpu, load, memory, swap, arc (the cache of ZFS) and disk; name is machine or container (the control group that allows least, where it allows less than the machine has), of a disk where it is mounted. used and total: in unit; of a disk, total is what the server may use, so without what is kept for the administrator. used_ratio: used over total. cpu: of the last recorded interval of this database (NULL in all databases but the home database); everything else is read at the call. Memory is used that could not be had without taking it from somebody: MemTotal less MemAvailable, without what the cache of ZFS would give back; of a control group, its usage less inactive files. File systems of other machines (NFS and the like) are not asked, but for that of the data directory. No rows where there is no /proc. For readers. Errors: none.';

COMMENT ON FUNCTION perfmon.host_series(timestamptz, timestamptz, interval, bigint) IS
'The machine over time, as the home database records it; no values in other databases. Arguments: since and until (default: the last hour), step as in statement_series(), source. cpu_ratio: share of the processors'' time that the server may use that was used: of the control group''s quota where there is one, else machine_cpu_ratio; cpu_peak_ratio: the highest of one interval. machine_cpu_ratio: user_ratio + system_ratio + steal_ratio, shares of the time of the processors that the server may run on, from /proc/stat; iowait_ratio: idle while a disk was waited for; steal_ratio: taken by other guests of the same host. throttled_ms: time in which the control group was held back. load, load_peak: average and highest load of a minute. memory_ratio, memory_peak_ratio, memory_used_bytes, memory_bytes: of the control group''s limit where there is one, else of the machine, as in host_status(). arc_hit_ratio: share of reads found in the cache of ZFS, NULL where there is none. covered_ratio: share of the step that is recorded. NULL is unknown. Errors: 22023.';

COMMENT ON FUNCTION perfmon.disk_series(timestamptz, timestamptz, interval, bigint) IS
'File systems that the server writes to over time, one row for each step and file system, as the home database records them; none in other databases. Arguments: since and until (default: the last hour), step as in statement_series(), source. mount: where it is mounted; device: the whole block device under it, NULL where it has none (ZFS, NFS, overlay); uses: what of the server lies there (data directory, WAL, tablespaces). used_ratio: used over used and available, as df tells it; bytes are averages of the step. reads_per_s, writes_per_s, read_bytes_per_s, write_bytes_per_s, busy_ratio (share of the time in which at least one request was on its way), busy_peak_ratio (the highest of one interval), read_ms and write_ms (mean time of a request): of the whole device, whatever else uses it, from /proc/diskstats. covered_ratio: share of the step that is recorded. NULL is unknown. Errors: 22023.';

COMMENT ON FUNCTION perfmon.host_history(timestamptz, timestamptz, bigint) IS
'Plain rows of history: one per interval with the times of the machine''s processors, the control group''s use of its quota (group_cpu_ms of group_capacity_ms), load, memory, swap and the cache of ZFS. Arguments: since and until (default: the last hour), source. Gauges are averages of samples readings. NULL is unknown. Errors: 22023.';

COMMENT ON FUNCTION perfmon.disk_history(timestamptz, timestamptz, bigint) IS
'Plain rows of history: one per interval and file system with its room, and what its device did in watched_ms, the time in which its counters were known (0: it has none). Arguments: since and until (default: the last hour), source. Bytes of room are averages of space_samples readings. NULL is unknown. Errors: 22023.';

COMMENT ON FOREIGN DATA WRAPPER pg_perfmon_pgbouncer IS
'Names PgBouncers for pg_perfmon: a server has the options host (an IP address, localhost, or the directory of a socket; default localhost), port (default 6432) and dbname (default pgbouncer), its user mapping for the owner of the extension, or for PUBLIC, user and password. It has no tables. USAGE is granted to nobody.';

COMMENT ON FUNCTION perfmon.pgbouncer_validator(text[], oid) IS
'Checks options of the wrapper pg_perfmon_pgbouncer, its servers and user mappings; called by the server. Errors: 22023 for an option or a value that it does not know.';

COMMENT ON FUNCTION perfmon.pooler_pools(timestamptz, timestamptz, bigint) IS
'What PgBouncers said in the window, as the home database recorded it; no rows in other databases. Arguments: since and until (default: the last hour), source. One row for each pooler (database_name and user_name NULL: answered_ratio is the share of the times it was asked that it answered), for each of its databases (user_name NULL: transactions_per_s, queries_per_s, mean times, and clients_waiting from the time that clients waited, exactly) and for each pool (averages of samples, one for each interval: clients_active, clients_waiting, servers_active, servers_idle, servers in any state; peaks and max_wait_ms are the highest of the samples). pool_size: the least of pool_size and max_connections of the database, if told; used_peak_ratio: servers_peak over it. NULL is unknown: versions tell different columns. From SHOW POOLS, SHOW STATS and SHOW DATABASES. Errors: 22023.';

COMMENT ON FUNCTION perfmon.pooler_clients() IS
'Clients of the PgBouncers that foreign servers of pg_perfmon_pgbouncer in this database name, asked at the call (SHOW CLIENTS, SHOW SERVERS), and the backends of this server behind them: client_addr, client_port and application_name are the true client''s (NULL without the rights of pg_read_all_stats), wait_ms how long it waits for a server connection, server_pid, backend_state and transaction_ms those of the backend that it has now, NULL if it has none or one of another server. pins_server: the backend is idle in a transaction, so that the server connection is kept from others while nothing happens. problem: why a pooler did not answer, in a row of its own; each is waited for a second at most. A pid is believed only if the server''s port, and over TCP the client port, agree. Errors: none.';

COMMENT ON FUNCTION perfmon.pooler_history(timestamptz, timestamptz, bigint) IS
'Plain rows of history: one per interval and pooler, database or pool, as perfmon.pooler_pools() adds them up; gauges are sums over samples. Arguments: since and until (default: the last hour), source. watched_ms, wait_watched_ms: time in which counters, and the wait, were known. Errors: 22023.';

COMMENT ON FUNCTION perfmon.session_history(timestamptz, timestamptz, bigint) IS
'The plain rows of all processes by backend type, state and wait (class/event), in the home database: sessions is summed over the samples of the interval. Samples of an interval are column samples of perfmon.session_minute.';

COMMENT ON FUNCTION perfmon.wait_history(timestamptz, timestamptz, bigint) IS
'The plain rows of sessions at work, in the home database. waited is the queryid (* for statements that found no place of their own, 0 for one that is not known), the number of the state (2 active, 3 idle in transaction, 4 the same after an error, 5 fast path) and the wait (class/event); sessions is summed over the samples of the interval.';

COMMENT ON FUNCTION perfmon.pool_history(timestamptz, timestamptz, bigint) IS
'The plain rows of clients'' sessions by pool, database, user and server, in the home database. place below 255: how many samples found that many sessions (above 127 a sixteenth of an octave) open, busy, active, idle and in a transaction. place 255: sums over samples by state and wait, connections that came, and peaks.';

COMMENT ON FUNCTION perfmon.recent_activity(interval) IS
'The last samples of what sessions do, one row for each process at work in each, as long as shared memory holds them (32,768 rows): a client''s session inside a statement or a transaction, and any other process that does not wait for work. wait_class and wait_event are NULL where a session does not wait, which mostly means that it uses a processor. statement_id and query are known for statements of this database; state_ms and transaction_ms say since when it is in this state and in its transaction. Needs preloading (SQLSTATE 55000); a span of nothing is an error (22023). pg_perfmon.activity_interval is the time between two samples.';

COMMENT ON FUNCTION perfmon.activity(timestamptz, timestamptz, interval, bigint) IS
'Average number of processes at work by step, type, state and wait, as samples saw them, in the home database (SQLSTATE 55000 elsewhere): those that recent_activity() lists. average_sessions is the number found divided by samples; the average of client backends in state active is what pg_stat_database.active_time gives per second. share_ratio is the part of the step''s sum. A step in which nobody was at work is one row of zero, one without samples a row of NULL. quality is doubtful where samples were taken by snapshots only, without preloading.';

COMMENT ON FUNCTION perfmon.top_waits(timestamptz, timestamptz, int, bigint) IS
'What clients'' sessions and their parallel workers did and waited for, by statement, state and wait, most first, in the home database (SQLSTATE 55000 elsewhere). wait_class NULL is no wait. average_sessions is the number found divided by samples, session_ms that times the time covered, share_ratio the part of all sessions at work. Idle in transaction, the statement is the last one. statement_id and query are known for statements of this database.';

COMMENT ON TABLE perfmon.lock_wait IS
'Waits for locks in all databases, as samples saw them, a row for each session that waited and each in its way; in the home database only, for pg_perfmon.retention. Read perfmon.blocking().';

COMMENT ON TABLE perfmon.deadlock IS
'Deadlocks in all databases, a row for each session that took part; in the home database only, for pg_perfmon.retention. Read perfmon.deadlocks().';

COMMENT ON TABLE perfmon.idle_transaction IS
'Idle times of a second and more inside transactions, by interval, database, user, application and statement; in the home database only, for pg_perfmon.retention. Read perfmon.idle_in_transaction().';

COMMENT ON FUNCTION perfmon.blocking(timestamptz, timestamptz, bigint) IS
'Who waited for a lock and who was in the way, in all databases, in the order of time (when the wait began, as the server says), in the home database (SQLSTATE 55000 elsewhere). Locks are looked at when a sample shows a session that waits for one, at most once a second: shorter waits may be missed. ended is when the wait was first seen no more, NULL while it goes on; waited_ms is up to when it was seen last. A session with several in its way has a row for each. blocker: who holds the lock in a mode that conflicts (held_mode), or waits for it in front (held_mode NULL); without a process it is a prepared transaction. head: who is at the end of the chain and waits for nobody, when the chain was longest, with its state and the age of its transaction; chain_depth is the number of steps from there (1 is right behind it). The blocker''s and head''s statement is the last one where they idle in a transaction, which need not be the one that took the lock. lock_type and modes are those of pg_locks; relation_name is known for this database, of a wait for a row (transactionid) as long as it is the first in line. Of many that wait, the 64 that have waited longest are looked at. Errors: 22023 for bad arguments.';

COMMENT ON FUNCTION perfmon.blocking_now() IS
'Who waits for a lock now and who is in the way (pg_blocking_pids), in all databases, with or without preloading: process, waited_ms, statement, lock, blocker, and the head of the chain with its state, its statement and the age of its transaction; chain_depth is the number of steps from there. What of other users'' sessions may be seen is as in pg_stat_activity. Columns are those of blocking(); texts are what the sessions sent.';

COMMENT ON FUNCTION perfmon.deadlocks(timestamptz, timestamptz, bigint) IS
'Deadlocks in all databases, a row for each session that took part, in the home database (SQLSTATE 55000 elsewhere): is_victim is the one that the server ended, the others follow in the order of the circle, up to 8. Seen by the hook of the log in the session that was ended: one that an exception handler of a function caught is counted by databases() alone. The statements are those at that moment. lock_type and relation_name are what each waited for, as far as the error''s words tell it. deadlock counts since the server started. Needs preloading. Errors: 22023 for bad arguments.';

COMMENT ON FUNCTION perfmon.idle_in_transaction(timestamptz, timestamptz, bigint) IS
'After which statements sessions idled inside a transaction for a second and more, as samples saw it, most time first, in the home database (SQLSTATE 55000 elsewhere). meaning: pauses (none was as long as the threshold idle_leak_seconds); slow client (clients came back, after long); leak (more time in idle times that go on, or ended with the session, than in those from which the client came back). times is the number of idle times, sessions that of distinct sessions (up to 64 an interval), idle_ms their time within the window, longest_ms the longest. resumed: the client went on in its transaction; finished: the transaction ended; gone: the session ended, by its client or by a timeout; open: those that go on at the end of the last interval, and open_ms how long they do. statement_id and query are known for statements of this database. Errors: 22023 for bad arguments.';

COMMENT ON FUNCTION perfmon.long_transactions(interval) IS
'Transactions of all databases that began at least longer_than ago, oldest first, as they are now: who, how long (transaction_ms), since when in this state (state_ms), what it waits for, its statement, xid_age and xmin_age (in transactions: how far it holds back VACUUM), and sessions_waiting for its locks. What of other users'' sessions may be seen is as in pg_stat_activity. Errors: 22023 for NULL or a negative time.';

COMMENT ON FUNCTION perfmon.xmin_horizon() IS
'What keeps VACUUM from removing dead rows now, the oldest first: transaction and idle transaction (sessions), prepared transaction, replication slot, standby (with hot_standby_feedback and without a slot). xmin_age is in transactions, age_ms in time where it is known. keeps: tables of the database (database_name), all tables, or system catalogs (a logical slot). remedy is what to do about it. What of other users'' sessions may be seen is as in pg_stat_activity.';

COMMENT ON FUNCTION perfmon.pool_activity(timestamptz, timestamptz, interval, bigint) IS
'Clients'' sessions by step, in the home database (SQLSTATE 55000 elsewhere): level server, database, user, or pool, which is database, user and, as pg_perfmon.pool_grouping says, application and client''s address (empty for a Unix socket). Only client backends count, as only they take one of max_connections. open is all of them, busy those inside a statement or a transaction, active those inside a statement, in_transaction those that wait for their client inside one. avg, min, p95, p99 and peak are over samples; numbers are exact up to 127, above that min, p95 and p99 are off by 3 %; peaks are always exact. on_cpu, on_lock, on_client and on_io are busy sessions that wait for nothing, a lock, their client, a file. opened are connections that a sample saw for the first time. monitoring marks pg_perfmon''s and Grafana''s own. counted_ and sessions_ columns are what pg_stat_database says of a database, and in sum of the server: exact, but a statement counts when it ends. quality is doubtful where samples were taken by snapshots only.';

COMMENT ON FUNCTION perfmon.cluster_history(timestamptz, timestamptz, bigint) IS
'Plain rows of history: what clients of all databases of the server executed, one row per interval and bucket of the histogram, as the hooks counted them (home database only: status() names it). Arguments: since and until (default: the last hour), source. cached, read: executions that found every block in the server''s cache, and those that read some; nested ones are in neither. bucket 0: under 1 microsecond; bucket b from 1 on: up to about 1.104 to the power of b microseconds; 255: executions, errors and cancelled, which have no time and stand as in error_series(): executed to their end but for what only begins or ends transactions or sets something, failed, and cancelled; NULL where the server''s settings hide errors. Errors: 22023 for bad arguments.';

COMMENT ON VIEW perfmon.finding_shown IS
'All findings of all sources kept here, open and resolved; the statement to run is shown to members of pg_read_all_stats. Columns as in perfmon.findings.';

COMMENT ON COLUMN perfmon.findings.statement IS 'What to run; NULL where there is no such statement, or another finding has it, which the remedy names. Nothing here runs it.';

COMMENT ON COLUMN perfmon.findings.last_seen IS 'Last time it was written; while nothing changes, at most hourly, unless perfmon.evaluate() is called.';

COMMENT ON FUNCTION perfmon.evaluate() IS
'Judges the last hour now, opens, refreshes and resolves findings, and returns the number of open ones; every finding has the numbers of now afterwards. The collector does the same by itself, but writes hourly what stands as it stood. Errors: 55000 when there is no history yet or library and SQL objects differ, 55P03 when another session evaluates for longer than five seconds, 25006 in a read-only transaction.';

COMMENT ON FUNCTION perfmon.slow_statements(timestamptz, timestamptz, bigint) IS
'Statements whose mean execution time is over the thresholds, worst first, with what the time went into and the likely cause. read_ms, write_ms, temp_ms and jit_ms are parts of total_exec_ms, other_ms the rest; plan_ms comes on top. NULL where the server does not measure (track_io_timing, pg_stat_statements.track_planning). plan_id, plan_since (when it took the place of another plan, else when it was seen first), plan_heaviest_node, plan_heaviest_cost_ratio and plan_text: of the plans that the statement has in use, the one that took most time, as in plans(); without one plan_note says why, with the line that turns plans on. cause names work_mem for temporary files that a sort or hash wrote, by the executions that were looked into, or where none were; rows of a NOT IN and others that a plan keeps to read them again are told apart. severity: critical, warning, or info for an aggregate that runs seldom and takes less than half of all time (thresholds slow_statement_analysis_...). Errors: 22023 for bad arguments.';

COMMENT ON FUNCTION perfmon.seq_scans(timestamptz, timestamptz, bigint) IS
'Large tables that are read by sequential scans for a few of their rows, and the statements that most likely do it (those whose text looks rows of the table up and that touch at least half of its blocks per execution). trend_ratio is rows read in the second half of the window over the first. wasted_ms is the execution time spent on rows thrown away, an estimate. Scans are as the server counts them: each worker of a parallel scan is one. statement is the index that serves most of that time of the table, or, for a statement that it does not serve, the one that this lacks. Where executions of the statement were looked into (samples, at least 2), what they showed stands for what is likely: rows_read_per_call and rows_kept_per_call of the table, filter_columns, rows_kept and rows_read_per_row_kept; and one that does not scan the table is not told. table_share_ratio: the statement''s part of all rows that sequential scans of the table read, an estimate from the samples. Errors: 22023 for bad arguments.';

COMMENT ON FUNCTION perfmon.rewrite_hints(timestamptz, timestamptz, bigint) IS
'Statements that could be written in a better way, worst first. Arguments: since and until (default: the last hour), source. kind is that of the finding. expression is what is written and better_form what to write instead, both as the server deparses them, with parameters in place of constants; better_form is NULL where an index (statement) or the remedy in words is all. same_meaning: the better form gives the same rows whatever is stored; reason says why, or what to look at first (NULLs, rounding, time zones, and parameters whose type no cast in the text tells). Names mean the tables that executions were seen to read, where the search_path of new sessions leads to others. A conversion that only executions show (a parameter of another type than the column) has in expression what they showed. saved_ms_per_hour is an upper bound, NULL where nothing is promised; plan_ms_per_plan is NULL while pg_stat_statements.track_planning is off. Only statements whose text the caller may read, and only where tables are large and the statement takes time (thresholds rewrite_...). Errors: 22023 for bad arguments, 55000 for the history of another database. Source: the server''s parser and analyser, pg_stat_statements, the catalog.';
