//! What plans did, as the hooks counted it: the same rows as EXPLAIN ANALYZE's of the same execution, over queries in
//! the shape of TPC-H and every kind of node that filters, with parallel workers, JIT and partitions.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use perfmon_e2e::schemas::tpch;
use perfmon_e2e::{Db, Server};

/// What EXPLAIN says of an execution that the hooks look into at the same time, and the difference of the two. Rows of
/// a node that ran more than once are rounded by EXPLAIN, which it may be off by.
const COMPARISON: &str = r#"
CREATE TABLE explained (
    node text, table_name text, loops numeric, kept numeric, removed numeric, slack numeric, spills int, whole bool);

CREATE FUNCTION note_plan(query text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE plan json;
BEGIN
    EXECUTE 'EXPLAIN (ANALYZE, VERBOSE, TIMING OFF, FORMAT JSON) ' || query INTO plan;
    TRUNCATE explained;
    INSERT INTO explained
    WITH RECURSIVE nodes AS (
        SELECT plan::jsonb -> 0 -> 'Plan' AS n
        UNION ALL
        SELECT jsonb_array_elements(n -> 'Plans') FROM nodes
    ), counted AS (
        SELECT n, (n ->> 'Actual Loops')::numeric AS loops,
            CASE WHEN n ? 'Conflicting Tuples' THEN (n ->> 'Conflicting Tuples')::numeric - (n ->> 'Rows Removed by Conflict Filter')::numeric
                ELSE (n ->> 'Actual Rows')::numeric * (n ->> 'Actual Loops')::numeric END AS kept,
            (coalesce((n ->> 'Rows Removed by Filter')::numeric, 0) + coalesce((n ->> 'Rows Removed by Index Recheck')::numeric, 0)
                + coalesce((n ->> 'Rows Removed by Join Filter')::numeric, 0) + coalesce((n ->> 'Rows Removed by Conflict Filter')::numeric, 0)
                -- Of what comes to OFFSET, what does not leave it.
                + CASE n ->> 'Node Type' WHEN 'Limit' THEN
                    (n -> 'Plans' -> 0 ->> 'Actual Rows')::numeric - (n ->> 'Actual Rows')::numeric ELSE 0 END
            ) * (n ->> 'Actual Loops')::numeric AS removed,
            (n ->> 'Sort Space Type') IS NOT DISTINCT FROM 'Disk'
                OR (SELECT bool_or(w ->> 'Sort Space Type' = 'Disk' OR (w ->> 'Disk Usage')::int > 0)
                    FROM jsonb_array_elements(n -> 'Workers') w) IS TRUE
                OR coalesce((n ->> 'Disk Usage')::int, 0) > 0
                OR coalesce(n -> 'Full-sort Groups' -> 'Sort Space Disk', n -> 'Pre-sorted Groups' -> 'Sort Space Disk') IS NOT NULL
                OR (n ->> 'Node Type' = 'Hash' AND coalesce((n ->> 'Hash Batches')::int, 0) > 1) AS spilled
        FROM nodes
    )
    SELECT CASE n ->> 'Node Type' WHEN 'Seq Scan' THEN 'seq_scan' WHEN 'Sample Scan' THEN 'sample_scan'
            WHEN 'Index Scan' THEN 'index_scan' WHEN 'Index Only Scan' THEN 'index_only_scan' WHEN 'Bitmap Heap Scan' THEN 'bitmap_scan'
            WHEN 'Tid Scan' THEN 'tid_scan' WHEN 'Tid Range Scan' THEN 'tid_scan' WHEN 'Subquery Scan' THEN 'subquery_scan'
            WHEN 'Function Scan' THEN 'function_scan' WHEN 'Values Scan' THEN 'values_scan' WHEN 'CTE Scan' THEN 'cte_scan'
            WHEN 'WorkTable Scan' THEN 'other_scan' WHEN 'Table Function Scan' THEN 'other_scan'
            WHEN 'Named Tuplestore Scan' THEN 'other_scan' WHEN 'Nested Loop' THEN 'nested_loop'
            WHEN 'Merge Join' THEN 'merge_join' WHEN 'Hash Join' THEN 'hash_join' WHEN 'Aggregate' THEN 'aggregate' WHEN 'Group' THEN 'group'
            WHEN 'WindowAgg' THEN 'window' WHEN 'Result' THEN 'result' WHEN 'Gather' THEN 'gather' WHEN 'Gather Merge' THEN 'gather'
            WHEN 'Sort' THEN 'sort' WHEN 'Incremental Sort' THEN 'incremental_sort' WHEN 'Hash' THEN 'hash'
            WHEN 'ModifyTable' THEN 'on_conflict' WHEN 'Limit' THEN 'limit' ELSE 'none' END,
        coalesce((SELECT format('%I.%I', c.relnamespace::regnamespace::text, c.relname) FROM pg_class c
            WHERE c.oid = coalesce(pg_partition_root(format('%I.%I', n ->> 'Schema', n ->> 'Relation Name')::regclass),
                format('%I.%I', n ->> 'Schema', n ->> 'Relation Name')::regclass) AND n ? 'Relation Name'), ''),
        loops, kept, removed, CASE WHEN loops = 1 THEN 0 ELSE loops END, spilled::int,
        n ->> 'Node Type' IN ('Index Scan', 'Index Only Scan') AND n ? 'Filter' AND NOT n ? 'Index Cond'
    FROM counted
    WHERE loops > 0;
END $$;

-- Nodes of which more is thrown away than kept, scans of whole tables and indexes, and what spilled; nested loops are told too
-- when an estimate was off, so those that filter nothing are left out on both sides.
CREATE FUNCTION compare(who text, statement bigint) RETURNS TABLE (problem text) LANGUAGE sql AS $$
    WITH vague AS (
        -- Rounded by loop, nobody can tell whether more was thrown away than kept.
        SELECT node, table_name FROM explained WHERE slack > 0 AND abs(removed - kept) <= slack
    ), e AS (
        SELECT node, table_name, sum(loops) AS loops, sum(kept) AS kept, sum(removed) AS removed, sum(slack) AS slack, sum(spills) AS spills
        FROM explained
        WHERE node <> 'none' AND (node IN ('seq_scan', 'sample_scan') OR whole OR spills > 0 OR (node <> 'nested_loop' AND removed > kept))
        GROUP BY 1, 2
    ), o AS (
        SELECT node, coalesce(table_name, '') AS table_name, sum(loops) AS loops, sum(rows_kept) AS kept,
            sum(rows_read - rows_kept) AS removed, sum(spills) AS spills
        FROM perfmon.scans_since_start()
        WHERE user_name = who AND queryid = statement AND NOT toplevel AND node <> 'nested_loop'
        GROUP BY 1, 2
    )
    SELECT format('%s on %s: explained %s, counted %s', node, table_name, e, o)
    FROM e FULL JOIN o USING (node, table_name)
    WHERE (node, table_name) NOT IN (SELECT v.node, v.table_name FROM vague v) AND (e.loops IS DISTINCT FROM o.loops OR abs(e.kept - o.kept) > e.slack OR abs(e.removed - o.removed) > e.slack
        OR e.spills IS DISTINCT FROM o.spills)
$$;
"#;

fn prepared() -> (Server, Db) {
    let server = Server::manual()
        .conf("pg_perfmon.scan_sample_rate = 1")
        .conf("compute_query_id = on")
        .conf("max_parallel_workers = 4")
        .conf("jit = off")
        .start();
    let mut db = server.new_db("app");
    for statement in tpch::SCHEMA.split(";\n") {
        db.run(statement);
    }
    db.run(COMPARISON);
    (server, db)
}

/// What was counted for the statements of one user alone, who is new each time.
fn check(server: &Server, db: &mut Db, number: &mut u32, settings: &str, query: &str) {
    *number += 1;
    let user = format!("u{number}");
    db.run(&format!("CREATE ROLE {user} SUPERUSER LOGIN"));
    let mut session = server.connect(&user, "app");
    session.run(settings);
    session.run("SET pg_perfmon.capture = 'all'");
    let quoted = query.replace('\'', "''");
    session.run(&format!("SELECT note_plan('{quoted}')"));
    session.run("SET pg_perfmon.capture = 'off'");
    let id = session.queryid_of(query);
    let problems: Vec<String> =
        session.list(&format!("SELECT problem FROM compare('{user}', {id})"));
    assert!(problems.is_empty(), "{settings}\n{query}\n{problems:#?}");
}

#[test]
fn counts_are_those_of_explain_for_tpch() {
    let (server, mut db) = prepared();
    let mut number = 0;
    let settings = [
        "SELECT",
        // Other plans, on disk.
        "SET work_mem = '64kB'; SET hash_mem_multiplier = 1; SET enable_indexscan = off; SET enable_nestloop = off",
        "SET enable_hashjoin = off; SET enable_bitmapscan = off",
        // As parallel as can be, compiled.
        "SET debug_parallel_query = off; SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0;
         SET min_parallel_index_scan_size = 0; SET max_parallel_workers_per_gather = 3; SET jit = on; SET jit_above_cost = 0",
    ];
    for settings in settings {
        // The setting has another name before 16.
        let settings = settings.replace("SET debug_parallel_query = off; ", "");
        for query in tpch::QUERIES {
            check(&server, &mut db, &mut number, &settings, query);
        }
    }
}

/// A statement for each kind of node that can throw rows away, and how to have the planner take it.
const FILTERS: [(&str, &str, &str); 29] = [
    ("seq_scan", "", "SELECT count(*) FROM f WHERE c + 0 < 30"),
    (
        "sample_scan",
        "",
        "SELECT count(*) FROM f TABLESAMPLE system (50) REPEATABLE (1) WHERE c + 0 < 10",
    ),
    (
        "index_scan",
        "SET enable_seqscan = off; SET enable_bitmapscan = off",
        "SELECT sum(c) FROM f WHERE a < 3000 AND c = 7",
    ),
    (
        "index_only_scan",
        "SET enable_seqscan = off; SET enable_bitmapscan = off",
        "SELECT a FROM f WHERE a < 3000 AND a % 100 = 1",
    ),
    (
        "bitmap_scan",
        "SET enable_seqscan = off; SET enable_indexscan = off",
        "SELECT sum(c) FROM f WHERE a < 3000 AND c + 0 = 7",
    ),
    // Pages instead of rows: recheck.
    (
        "bitmap_scan",
        "SET enable_seqscan = off; SET enable_indexscan = off; SET work_mem = '64kB'",
        "SELECT count(*) FROM f WHERE b IN (SELECT generate_series(1, 500, 7)) AND t LIKE '%9'",
    ),
    (
        "tid_scan",
        "",
        "SELECT a FROM f WHERE ctid = ANY (ARRAY['(0,1)', '(0,2)', '(0,3)']::tid[]) AND c = 2",
    ),
    ("tid_scan", "", "SELECT a FROM f WHERE ctid < '(5,0)' AND c = 7"),
    (
        "subquery_scan",
        "",
        "SELECT * FROM (SELECT c, count(*) AS n, row_number() OVER (ORDER BY c) AS r FROM f GROUP BY c) s WHERE n % 7 = 5",
    ),
    ("function_scan", "", "SELECT count(*) FROM generate_series(1, 1000) g WHERE g % 9 = 1"),
    ("values_scan", "", "SELECT * FROM (VALUES (1), (2), (3), (4)) v (x) WHERE x % 4 = 3"),
    ("cte_scan", "", "WITH w AS MATERIALIZED (SELECT c FROM f) SELECT count(*) FROM w WHERE c = 9"),
    (
        "other_scan",
        "",
        "SELECT * FROM xmltable('/r/v' PASSING ('<r><v>1</v><v>2</v><v>3</v></r>'::xml) COLUMNS x int PATH '.') WHERE x = 2",
    ),
    (
        "other_scan",
        "",
        "WITH RECURSIVE w AS (SELECT g AS n FROM generate_series(1, 100) g UNION ALL SELECT n + 1 FROM w WHERE n = 50) SELECT count(*) FROM w",
    ),
    (
        "merge_join",
        "SET enable_hashjoin = off; SET enable_nestloop = off",
        "SELECT count(*) FROM f x JOIN f y ON x.a = y.a + 0 AND x.c + y.c = 50",
    ),
    (
        "hash_join",
        "SET enable_mergejoin = off; SET enable_nestloop = off",
        "SELECT count(*) FROM f x JOIN f y ON x.b = y.b AND x.c + y.c = 50",
    ),
    (
        "hash_join",
        "SET enable_mergejoin = off; SET enable_nestloop = off",
        "SELECT count(*) FROM f x LEFT JOIN f y ON x.a = y.b WHERE coalesce(y.c, 1) = 2",
    ),
    ("aggregate", "", "SELECT c, count(*) FROM f GROUP BY c HAVING sum(a) % 7 = 1"),
    (
        "group",
        "SET enable_hashagg = off",
        "SELECT c FROM f GROUP BY c HAVING c % 10 = 1 + floor(random())::int",
    ),
    (
        "window",
        "",
        "SELECT * FROM (SELECT a, row_number() OVER (PARTITION BY c ORDER BY a) AS r, count(*) OVER (PARTITION BY b ORDER BY a DESC) AS n FROM f) s WHERE r < 3 AND n < 3",
    ),
    ("sort", "SET work_mem = '64kB'", "SELECT a, t FROM f ORDER BY t"),
    (
        "incremental_sort",
        "SET work_mem = '64kB'; SET enable_seqscan = off; SET enable_sort = off",
        "SELECT c, t FROM halves ORDER BY c, t",
    ),
    (
        "aggregate",
        "SET work_mem = '64kB'; SET hash_mem_multiplier = 1; SET enable_sort = off",
        "SELECT t, count(*) FROM f GROUP BY t",
    ),
    (
        "hash",
        "SET work_mem = '64kB'; SET hash_mem_multiplier = 1; SET enable_mergejoin = off",
        "SELECT count(*) FROM f x JOIN f y ON x.t = y.t",
    ),
    ("seq_scan", "", "SELECT count(*) FROM parted WHERE b = 5"),
    (
        "index_only_scan",
        "SET enable_seqscan = off; SET enable_bitmapscan = off; SET enable_sort = off",
        "SELECT a FROM f WHERE a % 100 > 7 ORDER BY a",
    ),
    ("limit", "", "SELECT a FROM f ORDER BY a LIMIT 20 OFFSET 6000"),
    (
        "limit",
        "",
        "SELECT (SELECT max(x.a) FROM (SELECT a FROM f ORDER BY a LIMIT 5 OFFSET y.a * 100) x) FROM f y WHERE y.a < 4",
    ),
    (
        "on_conflict",
        "",
        "INSERT INTO f SELECT * FROM f WHERE a < 900 ON CONFLICT (a) DO UPDATE SET t = excluded.t WHERE f.c + excluded.c = 14",
    ),
];

#[test]
fn counts_are_those_of_explain_for_every_node_that_filters() {
    let (server, mut db) = prepared();
    db.run(
        "CREATE TABLE f (a int PRIMARY KEY, b int, c int, t text);
         INSERT INTO f SELECT g, g % 500, g % 100, 'text number ' || g FROM generate_series(1, 20000) g;
         CREATE INDEX ON f (b); CREATE INDEX ON f (c);
         CREATE TABLE halves AS SELECT a % 2 AS c, t FROM f;
         CREATE INDEX ON halves (c);
         CREATE TABLE parted (a int, b int) PARTITION BY RANGE (a);
         CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM (0) TO (1000);
         CREATE TABLE parted_2 (x int, b int, a int);
         ALTER TABLE parted_2 DROP COLUMN x;
         ALTER TABLE parted ATTACH PARTITION parted_2 FOR VALUES FROM (1000) TO (2000);
         CREATE TABLE parted_3 PARTITION OF parted FOR VALUES FROM (2000) TO (9000) PARTITION BY RANGE (a);
         CREATE TABLE parted_3_1 PARTITION OF parted_3 FOR VALUES FROM (2000) TO (9000);
         INSERT INTO parted SELECT g, g % 50 FROM generate_series(0, 2999) g",
    );
    db.run("VACUUM ANALYZE f");
    db.run("ANALYZE parted, halves");
    let mut number = 0;
    for (node, settings, query) in FILTERS {
        let settings = format!("SELECT; SET max_parallel_workers_per_gather = 0; {settings}");
        check(&server, &mut db, &mut number, &settings, query);
        let told: i64 = db.val(&format!(
            "SELECT count(*) FROM perfmon.scans_since_start() WHERE user_name = 'u{number}' AND node = '{node}'"
        ));
        assert!(
            told > 0,
            "{node}: {query}\n{:?}",
            db.texts(&format!(
                "SELECT * FROM perfmon.scans_since_start() WHERE user_name = 'u{number}'"
            ))
        );
    }
}
