-- From 0.1.0 to 0.2.0: findings and their thresholds, changes of objects, marks. Once 0.2.0 is released this
-- file is frozen; a test holds what it makes against a fresh installation.

-- What is wrong, since when, and what was wrong. A row is one stretch of time in which a problem stood;
-- it stays open until an evaluation no longer finds it. Written only when something changes, and at most
-- hourly for last_seen. Granted to nobody: the views mask the statement to run, which may hold what only
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
    f.risk,
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

-- Extensions, tables and indexes as last seen, so that a change can be told with what was before. Oids tell
-- a rename from a drop; they mean nothing in another database, whose first look therefore tells of no
-- change. "mark" is a hash of all that a definition may speak of, "shape" one of what the object is, whatever
-- it is called; definitions of different "form" (versions of the server and of ours) are not compared.
CREATE TABLE perfmon.seen_object (
    source pg_catalog.int8 NOT NULL,
    kind pg_catalog.text NOT NULL,
    object_oid pg_catalog.oid NOT NULL,
    name pg_catalog.text NOT NULL,
    definition pg_catalog.text,
    parent pg_catalog.text,
    table_oid pg_catalog.oid,
    mark pg_catalog.int8 NOT NULL,
    shape pg_catalog.int8 NOT NULL,
    form pg_catalog.int4 NOT NULL,
    PRIMARY KEY (source, kind, object_oid)
);
SELECT pg_catalog.pg_extension_config_dump('perfmon.seen_object'::pg_catalog.regclass, '');

CREATE FUNCTION perfmon.evaluate() RETURNS bigint
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'evaluate_wrapper';

CREATE FUNCTION perfmon.finding_history(
    since timestamptz DEFAULT now() - interval '1 hour',
    until timestamptz DEFAULT now(),
    source bigint DEFAULT NULL
) RETURNS TABLE (
    "time" timestamptz,
    resolved_at timestamptz,
    last_seen timestamptz,
    finding_id bigint,
    kind text,
    severity text,
    object text,
    subject text,
    title text,
    cause text,
    evidence jsonb,
    saved_ms_per_hour float8,
    saved_bytes bigint,
    outage_at timestamptz,
    share_ratio float8,
    remedy text,
    statement text,
    gain text,
    effort text,
    risk text,
    reference text,
    from_source bigint
) LANGUAGE c STABLE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'finding_history_wrapper';

CREATE FUNCTION perfmon.index_hygiene(
    source bigint DEFAULT NULL
) RETURNS TABLE (
    kind text,
    severity text,
    table_name text,
    index_name text,
    columns text,
    index_bytes bigint,
    index_scans bigint,
    history_days float8,
    problem text,
    cause text,
    remedy text,
    statement text,
    risk text,
    saved_bytes bigint,
    evidence jsonb
) LANGUAGE c STABLE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'index_hygiene_wrapper';

CREATE FUNCTION perfmon.mark_change(label text, note text DEFAULT NULL) RETURNS timestamptz
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'mark_change_wrapper';

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
    statement text
) LANGUAGE c STABLE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'seq_scans_wrapper';

CREATE FUNCTION perfmon.set_threshold(name text, value float8) RETURNS void
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'set_threshold_wrapper';

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
    remedy text
) LANGUAGE c STABLE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'slow_statements_wrapper';

CREATE FUNCTION perfmon.thresholds() RETURNS TABLE (
    name text,
    value float8,
    default_value float8,
    is_set bool,
    minimum float8,
    maximum float8,
    used_by text,
    decides text,
    origin text
) LANGUAGE c STABLE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'thresholds_wrapper';

-- It analyses texts in subtransactions, which parallel mode does not allow.
ALTER FUNCTION perfmon.report(timestamptz, timestamptz, text, bigint) PARALLEL UNSAFE;

REVOKE ALL ON TABLE perfmon.finding, perfmon.threshold, perfmon.seen_object, perfmon.finding_shown,
    perfmon.findings FROM PUBLIC;
REVOKE ALL ON FUNCTION
    perfmon.evaluate(),
    perfmon.finding_history(timestamptz, timestamptz, bigint),
    perfmon.index_hygiene(bigint),
    perfmon.mark_change(text, text),
    perfmon.seq_scans(timestamptz, timestamptz, bigint),
    perfmon.set_threshold(text, float8),
    perfmon.slow_statements(timestamptz, timestamptz, bigint),
    perfmon.thresholds()
FROM PUBLIC;
GRANT SELECT ON perfmon.threshold, perfmon.finding_shown, perfmon.findings TO pg_monitor;
GRANT EXECUTE ON FUNCTION
    perfmon.evaluate(),
    perfmon.thresholds(),
    perfmon.finding_history(timestamptz, timestamptz, bigint),
    perfmon.slow_statements(timestamptz, timestamptz, bigint),
    perfmon.index_hygiene(bigint),
    perfmon.seq_scans(timestamptz, timestamptz, bigint),
    perfmon.mark_change(text, text)
TO pg_monitor;

COMMENT ON TABLE perfmon.change IS
'What changed in the database and around it, and marks set by people: read it through perfmon.changes().';
COMMENT ON TABLE perfmon.seen_object IS
'Extensions, tables and indexes as last seen, so that a change can be told with what was before. Not for reading.';
COMMENT ON FUNCTION perfmon.report(timestamptz, timestamptz, text, bigint) IS
'The story of a time window as a DBA would tell it: a rating out of ten with its formula, how much time could be saved, the top bottlenecks with cause, evidence, remedy and the statement to run, load, trend as a chart, time by kind of command, top statements, tables read most by sequential scans, changes, gaps, and what to do in which order. Arguments: since and until (default: the last hour), format markdown (at most 100 columns wide, but for SQL) or json (schema pg_perfmon.report/1, docs/report.schema.json), source (NULL: this database and those it continues; another one is not judged, since its catalog is not here). Statement texts and statements to run are for members of pg_read_all_stats. Says so where there is too little data. Errors: 22023 for arguments that cannot be right.';
COMMENT ON FUNCTION perfmon.changes(timestamptz, timestamptz, bigint) IS
'What changed in a time window, in order, with the time of the snapshot that saw it: it happened since the look before, usually within a minute, within five where temporary tables come and go all the time. Arguments: since and until (default: the last hour), source.
kind: setting, extension, table (materialized views and partitioned tables too), index, or mark (see mark_change()). name: as it is written in a statement, with the schema. Created: old_value is NULL and new_value says how it is made; dropped: the other way round; altered: both; renamed: old_value is the name before, new_value says renamed to and the name. Partitions and children of one table that come or go together are one row, such as 12 partitions of public.events, and so is more than 50 of a kind. Left out: what belongs to an extension, to the system or to pg_perfmon, temporary tables, and what came and went between two snapshots; the same made anew under the same name is no change. Settings that only superusers may see are not recorded. Errors: 22023. Source: pg_settings, pg_extension, pg_class, pg_attribute, pg_index, pg_inherits.';
COMMENT ON FUNCTION perfmon.mark_change(text, text) IS
'Puts a mark on every trend: a release, a load test, anything that may explain a difference later. Returns its time, by the clock; it counts once the caller''s transaction commits. Arguments: label (1 to 200 characters, shown beside the line), note (any length, or NULL). perfmon.changes() shows it as kind mark, with the label as name and the note as new_value. For pg_monitor and the owner. Errors: 22023 for a label that is missing or too long, 25006 on a standby and in read-only transactions.';
COMMENT ON TABLE perfmon.finding IS
'What is or was wrong, one row for each stretch of time in which a problem stood. Granted to nobody; read perfmon.findings and perfmon.finding_history().';
COMMENT ON TABLE perfmon.threshold IS
'Thresholds that differ from their defaults: read perfmon.thresholds(), change with perfmon.set_threshold().';
COMMENT ON VIEW perfmon.finding_shown IS
'All findings of all sources kept here, open and resolved; the statement to run is shown to members of pg_read_all_stats. Columns as in perfmon.findings.';
COMMENT ON VIEW perfmon.findings IS
'What is wrong in this database now, worst first, as of the last evaluation (perfmon.evaluate(), or the collector at least every pg_perfmon.evaluation_interval).';
COMMENT ON COLUMN perfmon.findings.finding_id IS
'Identity: the same problem has the same id tomorrow (a hash of kind, source, object and subject).';
COMMENT ON COLUMN perfmon.findings.severity IS 'info, warning or critical.';
COMMENT ON COLUMN perfmon.findings.object IS 'What it is about, as the server quotes it: a table, an index, statement 17, setting work_mem, server.';
COMMENT ON COLUMN perfmon.findings.subject IS 'Which part of the object, where it can have several problems of a kind; else empty.';
COMMENT ON COLUMN perfmon.findings.evidence IS
'Array of {metric, value, unit, threshold, samples}: what was measured, the threshold that it crossed (perfmon.thresholds()), and how many executions, scans or intervals stand behind it.';
COMMENT ON COLUMN perfmon.findings.saved_ms_per_hour IS 'Execution time that the remedy would save at most, ms per hour; NULL when unknown.';
COMMENT ON COLUMN perfmon.findings.saved_bytes IS 'Disk space that the remedy would free; NULL when unknown.';
COMMENT ON COLUMN perfmon.findings.outage_at IS 'When the problem becomes an outage at the present pace; NULL when it does not or that is unknown.';
COMMENT ON COLUMN perfmon.findings.share_ratio IS 'Share of the execution time of all top-level statements that the object takes.';
COMMENT ON COLUMN perfmon.findings.statement IS 'What to run. Nothing here runs it.';
COMMENT ON COLUMN perfmon.findings.effort IS 'low (one statement), medium (a restart, a window, a test) or high (work on the application).';
COMMENT ON COLUMN perfmon.findings.reference IS 'Where the rule or its threshold comes from.';
COMMENT ON COLUMN perfmon.findings.last_seen IS 'Last time it was written; while nothing changes, at most hourly.';
COMMENT ON FUNCTION perfmon.evaluate() IS
'Judges the last hour now, opens, refreshes and resolves findings, and returns the number of open ones. The collector does the same by itself. Errors: 55000 when there is no history yet or library and SQL objects differ, 55P03 while another session evaluates, 25006 in a read-only transaction.';
COMMENT ON FUNCTION perfmon.finding_history(timestamptz, timestamptz, bigint) IS
'Findings that stood at some time between since and until, by when they were opened; resolved_at is NULL while they are open. Columns as in perfmon.findings. Errors: 22023 for bad arguments.';
COMMENT ON FUNCTION perfmon.thresholds() IS
'All thresholds: the value in force, the default, the range, which detector compares with it, what it decides, and where the default comes from. Units stand at the end of the names.';
COMMENT ON FUNCTION perfmon.set_threshold(text, float8) IS
'Sets a threshold for this database; NULL puts the default back. Takes effect with the next evaluation or report. Errors: 22023 for an unknown name or a value out of range, 25006 in a read-only transaction. Granted to nobody but the owner.';
COMMENT ON FUNCTION perfmon.slow_statements(timestamptz, timestamptz, bigint) IS
'Statements whose mean execution time is over the thresholds, worst first, with what the time went into and the likely cause. read_ms, write_ms, temp_ms and jit_ms are parts of total_exec_ms, other_ms the rest; plan_ms comes on top. NULL where the server does not measure (track_io_timing, pg_stat_statements.track_planning). Errors: 22023 for bad arguments.';
COMMENT ON FUNCTION perfmon.seq_scans(timestamptz, timestamptz, bigint) IS
'Large tables that are read by sequential scans for a few of their rows, and the statements that most likely do it (those whose text looks rows of the table up and that touch at least half of its blocks per execution). trend_ratio is rows read in the second half of the window over the first. wasted_ms is the execution time spent on rows thrown away, an estimate. Errors: 22023 for bad arguments.';
COMMENT ON FUNCTION perfmon.index_hygiene(bigint) IS
'Indexes that cost more than they give (unused_index over the whole history, duplicate_index, redundant_index, write_heavy_index), are broken (invalid_index, bloated_index) or are lacking (foreign_key_without_index), worst first, as the catalog is now. index_scans are those of the history, which history_days says the length of; saved_bytes is what the remedy frees; statement is what to run, quoted by the server. Never proposes to drop what enforces a constraint, is a replica identity or clusters a table. Errors: 22023 for an unknown source, 55000 for that of another database.';
