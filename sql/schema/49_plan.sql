-- Plans that statements were seen to have, at most a few of each. "calls" and what follows count the executions
-- that are known to have had the plan: those that took long, and some that were picked whatever they took, which
-- are counted apart. "stretch_since" begins the stretch of sightings that ends with last_seen. Every snapshot counts
-- on in some of the rows, so they hold no more than that: what a plan looks like is in the table behind.
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
    -- Until 0.3 forms stood here; dumps of then still bring them.
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
