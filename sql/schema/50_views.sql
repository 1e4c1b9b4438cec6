-- What may be seen of statements by those who may see numbers only. The tables below these views are
-- granted to nobody: text and queryid follow the rule of pg_stat_statements.

CREATE VIEW perfmon.statement WITH (security_barrier) AS
SELECT
    e.source,
    e.statement_id,
    e.user_name,
    CASE WHEN v.visible THEN e.queryid END AS queryid,
    e.toplevel,
    t.command,
    CASE WHEN v.visible THEN t.query ELSE '<insufficient privilege>' END AS query,
    CASE WHEN v.visible THEN t.note END AS note,
    e.first_seen
FROM perfmon.statement_entry e
LEFT JOIN perfmon.statement_text t
    ON t.source OPERATOR(pg_catalog.=) e.source AND t.queryid OPERATOR(pg_catalog.=) e.queryid
CROSS JOIN LATERAL (
    SELECT pg_catalog.pg_has_role('pg_read_all_stats'::pg_catalog.name, 'USAGE')
        OR e.user_name OPERATOR(pg_catalog.=) CURRENT_USER::pg_catalog.text AS visible
) v;

-- The same statement under two sources: a restored or copied database goes on under a new one. Holds
-- ids only, which tell nothing about a statement.
CREATE VIEW perfmon.statement_alias WITH (security_barrier) AS
SELECT e.source, e.statement_id, o.source AS other_source, o.statement_id AS other_id
FROM perfmon.statement_entry e
JOIN perfmon.statement_entry o
    ON o.queryid OPERATOR(pg_catalog.=) e.queryid
    AND o.user_name OPERATOR(pg_catalog.=) e.user_name
    AND o.toplevel OPERATOR(pg_catalog.=) e.toplevel
    AND o.source OPERATOR(pg_catalog.<>) e.source;

-- Where the history of tables, indexes and databases gets its names from is the table perfmon.object;
-- it holds no secrets and needs no view.

-- How many statements have no text, for status(): a number only.
CREATE VIEW perfmon.statement_missing WITH (security_barrier) AS
SELECT e.source, pg_catalog.count(*) AS statements, pg_catalog.max(e.first_seen) AS newest
FROM perfmon.statement_entry e
WHERE NOT EXISTS (
    SELECT 1 FROM perfmon.statement_text t
    WHERE t.source OPERATOR(pg_catalog.=) e.source
        AND t.queryid OPERATOR(pg_catalog.=) e.queryid)
GROUP BY e.source;
