//! Which of a statement's plans read partitions or children of a table, as they were printed, and whether these hold
//! enough of it for a plan to say how the table is read.

use std::collections::HashMap;

use super::super::sql;

/// What a plan reads of tables that have parts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Parts {
    /// It reads some.
    pub(crate) any: bool,
    /// Of one of the tables it reads none but such as hold less than a tenth of what its largest part holds: parts that are
    /// new, as a rule, and planned as small tables are.
    pub(crate) only_small: bool,
}

/// Of some plans of a statement, those that read parts and whose form is kept. A read. Names in a plan have no schema: what
/// is called so anywhere must be small.
pub(crate) fn parts(source: i64, statement: u32, plans: &[i64]) -> HashMap<i64, Parts> {
    let Ok(statement) = i32::try_from(statement) else { return HashMap::new() };
    sql::read(
        r#"WITH RECURSIVE named AS (
             SELECT DISTINCT f.plan_id, (n.name OPERATOR(pg_catalog.#>>) '{}')::pg_catalog.name AS name
             FROM perfmon.plan_form f
             CROSS JOIN LATERAL pg_catalog.jsonb_path_query(
                 f.plan_json::pg_catalog.jsonb, '$.**."Relation Name"') AS n(name)
             WHERE f.source OPERATOR(pg_catalog.=) $1 AND f.statement_id OPERATOR(pg_catalog.=) $2
                 AND f.plan_id OPERATOR(pg_catalog.=) ANY ($3)
         ), up AS (
             SELECT n.plan_id, n.name, c.relpages AS pages, i.inhparent AS above, 1 AS level
             FROM named n
             JOIN pg_catalog.pg_class c ON c.relname OPERATOR(pg_catalog.=) n.name
                 AND c.relkind OPERATOR(pg_catalog.=) ANY ('{r,f}'::pg_catalog."char"[])
             JOIN pg_catalog.pg_inherits i ON i.inhrelid OPERATOR(pg_catalog.=) c.oid
             UNION ALL
             SELECT u.plan_id, u.name, u.pages, i.inhparent, u.level OPERATOR(pg_catalog.+) 1
             FROM up u
             JOIN pg_catalog.pg_inherits i ON i.inhrelid OPERATOR(pg_catalog.=) u.above
             WHERE u.level OPERATOR(pg_catalog.<) 16
         ), read AS (
             SELECT u.plan_id, u.name, u.pages, u.above FROM up u
             WHERE NOT EXISTS (
                 SELECT 1 FROM pg_catalog.pg_inherits i WHERE i.inhrelid OPERATOR(pg_catalog.=) u.above)
             UNION ALL
             -- One that others inherit from may hold rows itself.
             SELECT n.plan_id, n.name, c.relpages, c.oid
             FROM named n
             JOIN pg_catalog.pg_class c ON c.relname OPERATOR(pg_catalog.=) n.name
                 AND c.relkind OPERATOR(pg_catalog.=) 'r' AND c.relpages OPERATOR(pg_catalog.>) 0
             WHERE EXISTS (
                     SELECT 1 FROM pg_catalog.pg_inherits i WHERE i.inhparent OPERATOR(pg_catalog.=) c.oid)
                 AND NOT EXISTS (
                     SELECT 1 FROM pg_catalog.pg_inherits i WHERE i.inhrelid OPERATOR(pg_catalog.=) c.oid)
         ), down AS (
             SELECT DISTINCT r.above AS root, r.above AS part, 1 AS level FROM read r
             UNION ALL
             SELECT d.root, i.inhrelid, d.level OPERATOR(pg_catalog.+) 1
             FROM down d
             JOIN pg_catalog.pg_inherits i ON i.inhparent OPERATOR(pg_catalog.=) d.part
             WHERE d.level OPERATOR(pg_catalog.<) 16
         ), largest AS (
             SELECT d.root, pg_catalog.max(c.relpages) AS pages
             FROM down d
             JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) d.part
             GROUP BY d.root
         ), named_small AS (
             SELECT r.plan_id, r.name, pg_catalog.bool_and(
                 r.pages::pg_catalog.int8 OPERATOR(pg_catalog.*) 10 OPERATOR(pg_catalog.<) l.pages) AS small
             FROM read r
             JOIN largest l ON l.root OPERATOR(pg_catalog.=) r.above
             GROUP BY r.plan_id, r.name
         ), of_root AS (
             SELECT r.plan_id, r.above, pg_catalog.bool_and(s.small) AS small
             FROM read r
             JOIN named_small s ON s.plan_id OPERATOR(pg_catalog.=) r.plan_id
                 AND s.name OPERATOR(pg_catalog.=) r.name
             GROUP BY r.plan_id, r.above
         )
         SELECT o.plan_id, pg_catalog.bool_or(o.small) FROM of_root o GROUP BY o.plan_id"#,
        &[source.into(), statement.into(), plans.to_vec().into()],
        |row| Some((row.get(1)?, Parts { any: true, only_small: row.get(2)? })),
    )
    .into_iter()
    .flatten()
    .collect()
}
