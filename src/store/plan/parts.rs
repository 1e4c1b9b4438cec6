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

/// Of some statements' plans, those that read parts and whose form is kept: one look for all of them, as many statements may
/// meet a new part at the same time. A read. Names in a plan have no schema: what is called so anywhere must be small.
pub(crate) fn parts(source: i64, plans: &[(u32, i64)]) -> HashMap<(u32, i64), Parts> {
    if plans.is_empty() {
        return HashMap::new();
    }
    let statements = super::ids(plans.iter().map(|(statement, _)| *statement));
    let plans: Vec<i64> = plans.iter().map(|(_, plan)| *plan).collect();
    sql::read(
        r#"WITH RECURSIVE named AS MATERIALIZED (
             SELECT DISTINCT f.statement_id, f.plan_id,
                 (n.name OPERATOR(pg_catalog.#>>) '{}')::pg_catalog.name AS name
             FROM ROWS FROM (pg_catalog.unnest($2), pg_catalog.unnest($3)) AS w (statement_id, plan_id)
             JOIN perfmon.plan_form f ON f.source OPERATOR(pg_catalog.=) $1
                 AND f.statement_id OPERATOR(pg_catalog.=) w.statement_id
                 AND f.plan_id OPERATOR(pg_catalog.=) w.plan_id
             CROSS JOIN LATERAL pg_catalog.jsonb_path_query(
                 f.plan_json::pg_catalog.jsonb, '$.**."Relation Name"') AS n(name)
         ), called AS MATERIALIZED (
             SELECT DISTINCT n.name FROM named n
         ), up AS (
             SELECT n.name, c.relpages AS pages, i.inhparent AS above, 1 AS level
             FROM called n
             JOIN pg_catalog.pg_class c ON c.relname OPERATOR(pg_catalog.=) n.name
                 AND c.relkind OPERATOR(pg_catalog.=) ANY ('{r,f}'::pg_catalog."char"[])
             JOIN pg_catalog.pg_inherits i ON i.inhrelid OPERATOR(pg_catalog.=) c.oid
             UNION ALL
             SELECT u.name, u.pages, i.inhparent, u.level OPERATOR(pg_catalog.+) 1
             FROM up u
             JOIN pg_catalog.pg_inherits i ON i.inhrelid OPERATOR(pg_catalog.=) u.above
             WHERE u.level OPERATOR(pg_catalog.<) 16
         ), read AS MATERIALIZED (
             SELECT u.name, u.pages, u.above FROM up u
             WHERE NOT EXISTS (
                 SELECT 1 FROM pg_catalog.pg_inherits i WHERE i.inhrelid OPERATOR(pg_catalog.=) u.above)
             UNION ALL
             -- One that others inherit from may hold rows itself.
             SELECT n.name, c.relpages, c.oid
             FROM called n
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
         ), small AS MATERIALIZED (
             SELECT r.name, pg_catalog.bool_and(
                 r.pages::pg_catalog.int8 OPERATOR(pg_catalog.*) 10 OPERATOR(pg_catalog.<) l.pages) AS small
             FROM read r
             JOIN largest l ON l.root OPERATOR(pg_catalog.=) r.above
             GROUP BY r.name
         ), of_root AS (
             SELECT n.statement_id, n.plan_id, r.above, pg_catalog.bool_and(s.small) AS small
             FROM named n
             JOIN (SELECT DISTINCT r.name, r.above FROM read r) r ON r.name OPERATOR(pg_catalog.=) n.name
             JOIN small s ON s.name OPERATOR(pg_catalog.=) n.name
             GROUP BY n.statement_id, n.plan_id, r.above
         )
         SELECT o.statement_id, o.plan_id, pg_catalog.bool_or(o.small) FROM of_root o
         GROUP BY o.statement_id, o.plan_id"#,
        &[source.into(), statements.into(), plans.into()],
        |row| {
            let statement = u32::try_from(row.get::<i32>(1)?).ok()?;
            Some(((statement, row.get(2)?), Parts { any: true, only_small: row.get(3)? }))
        },
    )
    .into_iter()
    .flatten()
    .collect()
}
