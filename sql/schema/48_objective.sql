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
