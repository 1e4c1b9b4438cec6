-- What is wrong, since when, and what was wrong. A row is one stretch of time in which a problem stood;
-- it stays open until an evaluation no longer finds it. Written only when something changes, and at most
-- hourly for last_seen, unless somebody asks for an evaluation. Granted to nobody: the views mask the statement to run, which may hold what only
-- readers of statement texts may see.
CREATE TABLE perfmon.finding (
    source pg_catalog.int8 NOT NULL,
    finding_id pg_catalog.int8 NOT NULL,
    opened_at pg_catalog.timestamptz NOT NULL,
    last_seen pg_catalog.timestamptz NOT NULL,
    resolved_at pg_catalog.timestamptz,
    kind pg_catalog.text NOT NULL,
    severity pg_catalog.text NOT NULL CHECK (severity OPERATOR(pg_catalog.=) ANY (ARRAY[
        'info', 'warning', 'critical'])),
    object pg_catalog.text NOT NULL,
    subject pg_catalog.text NOT NULL,
    title pg_catalog.text NOT NULL,
    cause pg_catalog.text,
    evidence pg_catalog.jsonb NOT NULL,
    saved_ms_per_hour pg_catalog.float8,
    saved_bytes pg_catalog.int8,
    outage_at pg_catalog.timestamptz,
    share_ratio pg_catalog.float8,
    remedy pg_catalog.text NOT NULL,
    statement pg_catalog.text,
    gain pg_catalog.text,
    effort pg_catalog.text NOT NULL,
    risk pg_catalog.text NOT NULL,
    reference pg_catalog.text NOT NULL,
    helped pg_catalog.jsonb NOT NULL,
    PRIMARY KEY (source, finding_id, opened_at)
);
SELECT pg_catalog.pg_extension_config_dump('perfmon.finding'::pg_catalog.regclass, '');

CREATE UNIQUE INDEX finding_open ON perfmon.finding (source, finding_id) WHERE resolved_at IS NULL;

-- Thresholds that differ from the defaults, which live in the library, so that an update can mend them.
CREATE TABLE perfmon.threshold (
    name pg_catalog.text PRIMARY KEY,
    value pg_catalog.float8 NOT NULL,
    set_at pg_catalog.timestamptz NOT NULL
);
SELECT pg_catalog.pg_extension_config_dump('perfmon.threshold'::pg_catalog.regclass, '');

-- All findings, open and resolved, for those who may see numbers.
CREATE VIEW perfmon.finding_shown WITH (security_barrier) AS
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

-- The open findings of this database, worst first.
CREATE VIEW perfmon.findings WITH (security_barrier) AS
SELECT f.finding_id, f.kind, f.severity, f.object, f.subject, f.title, f.cause, f.evidence,
    f.saved_ms_per_hour, f.saved_bytes, f.outage_at, f.share_ratio, f.remedy, f.statement, f.gain,
    f.effort, f.risk, f.reference, f.opened_at, f.last_seen, f.source
FROM perfmon.finding_shown f
JOIN perfmon.own_source o ON o.source OPERATOR(pg_catalog.=) f.source
WHERE f.resolved_at IS NULL
ORDER BY
    CASE f.severity WHEN 'critical' THEN 0 WHEN 'warning' THEN 1 ELSE 2 END,
    f.saved_ms_per_hour DESC NULLS LAST, f.saved_bytes DESC NULLS LAST, f.kind, f.object, f.subject;
