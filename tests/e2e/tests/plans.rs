//! Plans of statements: each kind of node as EXPLAIN prints it, flips with both plans and their moment, quick
//! statements too, and no constant of the workload anywhere.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

use perfmon_e2e::{Db, Server};

#[path = "plans/returned.rs"]
mod returned;

/// Every execution is looked at, and printing has no limit of rate.
fn everything() -> Server {
    Server::manual().conf("pg_perfmon.plan_min_duration = 0").start()
}

/// A session that is not counted itself.
fn watcher(server: &Server) -> Db {
    let mut db = server.db("app");
    db.run("SET pg_perfmon.capture = 'off'");
    db.snapshot();
    db
}

const TABLES: &str = "
    CREATE TABLE orders (id int PRIMARY KEY, customer int, day date, note text);
    INSERT INTO orders SELECT g, g % 500, date '2024-01-01' + g % 300, 'note ' || g FROM generate_series(1, 20000) g;
    CREATE INDEX orders_customer ON orders (customer);
    CREATE TABLE customers (id int PRIMARY KEY, name text);
    INSERT INTO customers SELECT g, 'customer ' || g FROM generate_series(0, 499) g;
    ANALYZE";

/// Statements with most kinds of nodes, and constants of many kinds.
const STATEMENTS: [&str; 12] = [
    "SELECT count(*) FROM orders o JOIN customers c ON c.id = o.customer WHERE o.day > '2024-05-05'",
    "SELECT note FROM orders WHERE id = 7077",
    "SELECT note FROM orders WHERE customer IN (333, 344) ORDER BY note DESC, day LIMIT 5",
    "WITH \"o'clock\" AS MATERIALIZED (SELECT customer, count(*) n FROM orders GROUP BY customer) SELECT * FROM \"o'clock\" WHERE n > 3939",
    "SELECT name, (SELECT max(day) FROM orders o WHERE o.customer = c.id AND note LIKE 'secret 1%') FROM customers c WHERE name <> 'it''s secret'",
    "SELECT a, rank() OVER (ORDER BY a - 7077) FROM generate_series(1, 5) a WHERE a NOT IN (SELECT id FROM customers WHERE id < 7077)",
    "SELECT EXTRACT(year FROM day), sum(id + 7077) FROM orders WHERE day BETWEEN '2024-02-01' AND '2024-03-01' GROUP BY 1 HAVING count(*) > 7077",
    "UPDATE orders SET note = 'changed secret' WHERE id = 7077",
    "SELECT id FROM orders WHERE id < 7077 UNION ALL SELECT id FROM customers WHERE id < 7078",
    "SELECT * FROM orders TABLESAMPLE SYSTEM (77) REPEATABLE (7077) WHERE note = E'multi secret\\nline'",
    "SELECT DISTINCT ON (customer) * FROM orders WHERE (customer, id) > (7077, 3) OR note ~ 'secret' ORDER BY customer, id + 7077",
    "INSERT INTO customers AS c VALUES (7, 'secret') ON CONFLICT (id) DO UPDATE SET name = 'secret' WHERE c.name > 'secret'",
];

const JIT: &str = "SET jit = on; SET jit_above_cost = 0";
const PARALLEL: &str = "SET jit = off; SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0;
    SET min_parallel_table_scan_size = 0; SET max_parallel_workers_per_gather = 2";

/// Runs a statement; gives what EXPLAIN says of it before, without what is said of compilation, and its queryid.
fn run(db: &mut Db, statement: &str) -> (String, i64) {
    let lines = db.list::<String>(&format!("EXPLAIN {statement}"));
    let lines: Vec<String> = lines.into_iter().take_while(|line| line != "JIT:").collect();
    let queryid = db.queryid_of(statement);
    db.run(statement);
    (lines.join("\n"), queryid)
}

/// The newest plan of a statement.
fn newest(db: &mut Db, queryid: i64) -> (Option<String>, Option<String>) {
    db.snapshot();
    let rows = db.rows(&format!(
        "SELECT p.plan_text, p.plan_json::text FROM perfmon.plans() p
         JOIN perfmon.statement s ON s.source = p.from_source AND s.statement_id = p.statement_id
         WHERE s.queryid = {queryid} ORDER BY p.first_seen DESC, p.last_seen DESC LIMIT 1"
    ));
    rows.first().map_or((None, None), |row| (row.get(0), row.get(1)))
}

#[test]
fn plans_print_as_explain_prints_them() {
    let server = everything();
    let mut db = server.new_db("app");
    db.run(TABLES);
    let mut watcher = watcher(&server);
    db.run("SET pg_perfmon.plan_constants = on");
    for settings in ["SET jit = off", JIT, PARALLEL] {
        db.run(settings);
        for statement in STATEMENTS {
            // Costs move with the table's size; a plan that is known is not printed again.
            watcher.run("DELETE FROM perfmon.plan; DELETE FROM perfmon.plan_form");
            let (explained, queryid) = run(&mut db, statement);
            run(&mut db, statement);
            let mut found = newest(&mut watcher, queryid);
            if found.0.is_none() {
                run(&mut db, statement);
                found = newest(&mut watcher, queryid);
            }
            let text = found.0.unwrap_or_else(|| panic!("no plan of {statement} with {settings}"));
            let text = text.split("\nJIT:").next().unwrap_or_default();
            assert_eq!(without_costs(text), without_costs(&explained), "{settings}: {statement}");
            let json = found.1.expect(statement);
            assert!(json.starts_with("[\n  {\n    \"Plan\": {"), "{json}");
        }
    }
}

/// The estimates of a table that is written to change between two looks. EXPLAIN shows hash tables that were made
/// while rows were counted, as they are in samples.
fn without_costs(plan: &str) -> String {
    let lines = plan.lines().filter(|line| !line.trim_start().starts_with("Buckets: "));
    let lines = lines.map(|line| line.split("  (cost=").next().unwrap_or_default());
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn no_constant_gets_into_a_table() {
    let server = everything();
    let mut db = server.new_db("app");
    db.run(TABLES);
    let mut watcher = watcher(&server);
    // The text of EXPLAIN itself keeps its constants on this version.
    db.run("SET pg_stat_statements.track_utility = off");
    for settings in ["SET jit = off", PARALLEL] {
        db.run(settings);
        for statement in STATEMENTS {
            let queryid = db.queryid_of(statement);
            db.run(statement);
            let (text, json) = newest(&mut watcher, queryid);
            assert!(text.is_some() && json.is_some(), "{statement}");
        }
    }
    let tables = watcher.list::<String>(
        "SELECT c.oid::regclass::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE n.nspname = 'perfmon' AND c.relkind IN ('r', 'p')",
    );
    assert!(tables.iter().any(|table| table == "perfmon.plan_form"), "{tables:?}");
    for table in tables {
        let leaks: i64 =
            watcher.val(&format!("SELECT count(*) FROM {table} t WHERE t::text ~ 'secret'"));
        assert_eq!(leaks, 0, "{table}");
    }
    let leaks = watcher.list::<String>(
        "SELECT plan_text FROM perfmon.plan_form
         WHERE plan_text || plan_json::text ~ '(= |< |> |- |\\+ |\\()''?(7077|7078|3939|333|344|2024)'",
    );
    assert!(leaks.is_empty(), "{leaks:#?}");
    let shown: i64 = watcher.val(
        "SELECT count(*) FROM perfmon.plans() WHERE plan_text LIKE '%?%' AND plan_json::text LIKE '%?%' AND NOT has_constants",
    );
    assert!(shown >= 10, "{shown}");
}

/// Runs a statement a few times in a session of its own and stores what was seen.
fn some(db: &mut Db, watcher: &mut Db, statement: &str) {
    for _ in 0..3 {
        db.run(statement);
    }
    watcher.snapshot();
}

/// Flips of all statements: heaviest nodes before and after, and whether the moment lies between the two.
fn flips(watcher: &mut Db, since: &str, until: &str) -> Vec<(String, String, bool)> {
    let rows = watcher.rows(&format!(
        "SELECT before_heaviest_node, after_heaviest_node,
             time > '{since}' AND time < '{until}' AND last_seen_before < time
             AND before_plan_text IS NOT NULL AND after_plan_text IS NOT NULL AND before_plan_text <> after_plan_text
         FROM perfmon.plan_flips()"
    ));
    rows.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect()
}

fn clock(db: &mut Db) -> String {
    db.val("SELECT clock_timestamp()::text")
}

#[test]
fn a_dropped_index_flips_the_plan() {
    let server = everything();
    let mut db = server.new_db("app");
    db.run(TABLES);
    let mut watcher = watcher(&server);
    let statement = "SELECT note FROM orders WHERE customer = 7";
    some(&mut db, &mut watcher, statement);
    some(&mut db, &mut watcher, statement);
    let since = clock(&mut watcher);
    db.run("DROP INDEX orders_customer");
    some(&mut db, &mut watcher, statement);
    let until = clock(&mut watcher);
    let (before, after) =
        ("Bitmap Heap Scan on orders".to_owned(), "Seq Scan on orders".to_owned());
    assert_eq!(flips(&mut watcher, &since, &until), [(before, after, true)]);
    let change: String = watcher.val(
        "SELECT old_value || ' -> ' || new_value FROM perfmon.changes() WHERE kind = 'plan_flip'",
    );
    assert!(change.contains("mostly Bitmap Heap Scan on orders -> plan"), "{change}");
    // The index under another name is the same plan again, but nobody saw it for less than it takes to be a return.
    db.run("CREATE INDEX other_name ON orders (customer)");
    some(&mut db, &mut watcher, statement);
    let plans: i64 =
        watcher.val("SELECT count(*) FROM perfmon.plans() WHERE heaviest_node LIKE '%orders'");
    assert_eq!(plans, 2);
}

#[test]
fn statistics_flip_the_plan() {
    let server = everything();
    let mut db = server.new_db("app");
    db.run(
        "CREATE TABLE t (a int, b text) WITH (autovacuum_enabled = off);
            INSERT INTO t SELECT g, repeat('x', 100) FROM generate_series(1, 20000) g;
            CREATE INDEX t_a ON t (a); ANALYZE t; SET enable_bitmapscan = off",
    );
    let mut watcher = watcher(&server);
    let statement = "SELECT b FROM t WHERE a < 20";
    some(&mut db, &mut watcher, statement);
    db.run("UPDATE t SET a = 1; ANALYZE t");
    some(&mut db, &mut watcher, statement);
    let flips = flips(&mut watcher, "2000-01-01", "3000-01-01");
    let (before, after) = ("Index Scan using t_a on t".to_owned(), "Seq Scan on t".to_owned());
    assert_eq!(flips, [(before, after, true)]);
}

#[test]
fn a_generic_plan_that_differs_is_a_flip_and_one_that_does_not_is_none() {
    let server = everything();
    let mut db = server.new_db("app");
    db.run("CREATE TABLE t (a int, b text) WITH (autovacuum_enabled = off);
            INSERT INTO t SELECT CASE WHEN g % 2000 = 0 THEN 1 ELSE 0 END, repeat('x', 100) FROM generate_series(1, 20000) g;
            CREATE INDEX t_one ON t (b) WHERE a = 1; ANALYZE t; SET enable_bitmapscan = off;
            PREPARE one(int) AS SELECT b FROM t WHERE a = $1 ORDER BY b;
            PREPARE two(int) AS SELECT count(*) FROM t WHERE a + 0 = $1");
    let mut watcher = watcher(&server);
    db.run("SET plan_cache_mode = force_custom_plan");
    some(&mut db, &mut watcher, "EXECUTE one(1); EXECUTE two(1)");
    db.run("SET plan_cache_mode = force_generic_plan");
    some(&mut db, &mut watcher, "EXECUTE one(1); EXECUTE two(1)");
    let flips = flips(&mut watcher, "2000-01-01", "3000-01-01");
    let plans = watcher
        .list::<String>("SELECT plan_text FROM perfmon.plans() WHERE heaviest_node LIKE '% t'");
    assert_eq!(flips.len(), 1, "{plans:#?}");
    assert_eq!((flips[0].0.as_str(), flips[0].2), ("Index Only Scan using t_one on t", true));
    assert_ne!(flips[0].1, flips[0].0);
}

#[test]
fn partitions_are_no_flip() {
    let server = everything();
    let mut db = server.new_db("app");
    db.run(
        "CREATE TABLE m (at int, device int, v float8) PARTITION BY RANGE (at);
            CREATE INDEX m_device ON m (device);
            CREATE TABLE m0 PARTITION OF m FOR VALUES FROM (0) TO (1000);
            INSERT INTO m SELECT g % 1000, g % 5000, g FROM generate_series(1, 50000) g; ANALYZE m",
    );
    let mut watcher = watcher(&server);
    let statement = "SELECT v FROM m WHERE device = 77 ORDER BY at";
    some(&mut db, &mut watcher, statement);
    for n in 1..6 {
        db.run(&format!(
            "CREATE TABLE m{n} PARTITION OF m FOR VALUES FROM ({n}000) TO ({}000)",
            n + 1
        ));
        some(&mut db, &mut watcher, statement);
    }
    db.run("INSERT INTO m SELECT 1000 + g % 1000, g % 5000, g FROM generate_series(1, 50000) g; ANALYZE m");
    some(&mut db, &mut watcher, statement);
    assert_eq!(flips(&mut watcher, "2000-01-01", "3000-01-01"), []);
    let plans = watcher.list::<String>("SELECT plan_text FROM perfmon.plans() WHERE plan_text LIKE '%m_device%' OR plan_text LIKE '%device_idx%'");
    assert_eq!(plans.len(), 1, "{plans:#?}");
    db.run("DROP INDEX m_device");
    some(&mut db, &mut watcher, statement);
    assert_eq!(flips(&mut watcher, "2000-01-01", "3000-01-01").len(), 1);
}

/// As TimescaleDB lays out the parts of a table: children by inheritance, in a schema of their own.
fn chunk(db: &mut Db, n: i32, rows: i32) {
    let name = format!("_timescaledb_internal._hyper_1_{n}_chunk");
    let (from, to) = (n * 1000, (n + 1) * 1000);
    db.run(&format!(
        "CREATE TABLE {name} (CHECK (at >= {from} AND at < {to})) INHERITS (m);
         CREATE INDEX _hyper_1_{n}_chunk_m_device ON {name} (device, at);
         INSERT INTO {name} SELECT {from} + g % 1000, g % 500, g FROM generate_series(1, {rows}) g"
    ));
}

#[test]
fn chunks_that_are_created_are_no_flip() {
    let server = everything();
    let mut db = server.new_db("app");
    db.run("CREATE SCHEMA _timescaledb_internal; CREATE TABLE m (at int, device int, v float8)");
    chunk(&mut db, 1, 20_000);
    db.run("ANALYZE");
    let mut watcher = watcher(&server);
    let statements = [
        "SELECT count(*) FROM m WHERE device = 77",
        "SELECT v FROM m WHERE device = 77 AND at > 10",
        "SELECT sum(v) FROM m WHERE device = 77 AND at BETWEEN 0 AND 100000",
    ]
    .join(";");
    some(&mut db, &mut watcher, &statements);
    for n in 2..6 {
        chunk(&mut db, n, 0);
        some(&mut db, &mut watcher, &statements);
        chunk(&mut db, n + 10, 20_000);
        db.run("ANALYZE");
        some(&mut db, &mut watcher, &statements);
    }
    assert_eq!(flips(&mut watcher, "2000-01-01", "3000-01-01"), []);
    let plans: i64 =
        watcher.val("SELECT count(*) FROM perfmon.plans() WHERE plan_text LIKE '%_chunk%' AND plan_text NOT LIKE 'Insert%'");
    assert_eq!(plans, 3, "of each statement the one that it began with");
}

#[test]
fn chunks_of_timescaledb_are_no_flip() {
    let server = everything();
    let mut db = server.new_db("app");
    let available: bool =
        db.val("SELECT count(*) > 0 FROM pg_available_extensions WHERE name = 'timescaledb'");
    if !available {
        println!("timescaledb is not available here: nothing was tested");
        return;
    }
    server.append_conf(&[
        "shared_preload_libraries = 'timescaledb,pg_stat_statements,pg_perfmon'",
        "timescaledb.telemetry_level = off",
    ]);
    drop(db);
    server.restart();
    let mut db = server.db("app");
    db.run(
        "CREATE EXTENSION timescaledb;
            CREATE TABLE m (at timestamptz NOT NULL, device int, v float8);
            SELECT create_hypertable('m', 'at', chunk_time_interval => interval '1 day');
            CREATE INDEX m_device ON m (device, at DESC)",
    );
    let mut watcher = watcher(&server);
    let statements = [
        "SELECT v FROM m WHERE device = 7 AND at > now() - interval '1000 days'",
        "SELECT v FROM m WHERE device = 7 ORDER BY at DESC LIMIT 5",
        "SELECT count(*) FROM m WHERE device = 7",
        "SELECT v FROM m WHERE device = 7 AND at >= '2020-01-01'",
    ]
    .join(";");
    // Before the first chunk there is nothing to read.
    some(&mut db, &mut watcher, &statements);
    for day in 1..5 {
        db.run(&format!(
            "INSERT INTO m SELECT date_trunc('day', now()) - interval '{} days' + g * interval '10 s', g % 50, g
             FROM generate_series(1, 8000) g; ANALYZE m",
            10 - day
        ));
        some(&mut db, &mut watcher, &statements);
        // One more that is new and empty but for a row.
        db.run(&format!(
            "INSERT INTO m VALUES (date_trunc('day', now()) + interval '{day} days', 7, 1)"
        ));
        some(&mut db, &mut watcher, &statements);
    }
    assert_eq!(flips(&mut watcher, "2000-01-01", "3000-01-01"), []);
    let plans: i64 =
        watcher.val("SELECT count(*) FROM perfmon.plans() WHERE plan_text LIKE '%_chunk%'");
    assert_eq!(plans, 4, "of each statement the one that it began with");
}

#[test]
fn of_plans_side_by_side_the_dearer_one_is_shown() {
    let server = everything();
    let mut db = server.new_db("app");
    db.run(
        "CREATE TABLE t (a int, b text) WITH (autovacuum_enabled = off);
            INSERT INTO t SELECT CASE WHEN g <= 20 THEN g ELSE 0 END, repeat('x', 100) FROM generate_series(1, 40000) g;
            CREATE INDEX t_a ON t (a); ANALYZE t; SET enable_bitmapscan = off",
    );
    let mut watcher = watcher(&server);
    let both = "SELECT b FROM t WHERE a = 0; SELECT b FROM t WHERE a = 7";
    for _ in 0..3 {
        some(&mut db, &mut watcher, both);
    }
    assert_eq!(flips(&mut watcher, "2000-01-01", "3000-01-01"), []);
    // The other one is seen last.
    some(&mut db, &mut watcher, "SELECT b FROM t WHERE a = 7");
    let report: String = watcher.val("SELECT perfmon.report()");
    let report = report.replace("\n  ", " ");
    assert!(
        report.contains("mostly Seq Scan on t (100.0 % of its estimated cost), since "),
        "{report}"
    );
    assert!(report.contains(", beside 1 other plan"), "{report}");
}

#[test]
fn a_first_partition_is_no_flip() {
    let server = everything();
    let mut db = server.new_db("app");
    db.run(
        "CREATE TABLE m (at int, device int, v float8) PARTITION BY RANGE (at);
            CREATE INDEX m_device ON m (device)",
    );
    let mut watcher = watcher(&server);
    let statement = "SELECT v FROM m WHERE device = 77 ORDER BY at";
    some(&mut db, &mut watcher, statement);
    db.run(
        "CREATE TABLE m0 PARTITION OF m FOR VALUES FROM (0) TO (1000);
            INSERT INTO m SELECT g % 1000, g % 5000, g FROM generate_series(1, 50000) g; ANALYZE m",
    );
    some(&mut db, &mut watcher, statement);
    assert_eq!(flips(&mut watcher, "2000-01-01", "3000-01-01"), []);
    let plans: i64 =
        watcher.val("SELECT count(*) FROM perfmon.plans() WHERE plan_text LIKE '%m0%'");
    assert_eq!(plans, 1);
}

#[test]
fn a_quick_statement_gets_its_plan_when_it_takes_much_of_the_time() {
    let server = Server::manual().start();
    let mut db = server.new_db("app");
    db.run(TABLES);
    let mut watcher = watcher(&server);
    let quick = "SELECT note FROM orders WHERE id = 5";
    let queryid = db.queryid_of(quick);
    db.run(quick);
    assert_eq!(newest(&mut watcher, queryid), (None, None), "it is quick, and nobody asked yet");
    for _ in 0..20 {
        db.run(quick);
    }
    let (text, json) = newest(&mut watcher, queryid);
    let text = text.unwrap();
    assert!(
        text.starts_with("Index Scan using orders_pkey on orders  (cost=") && json.is_some(),
        "{text}"
    );
    assert!(text.ends_with("Index Cond: (id = ?)"), "{text}");
    let rows = watcher.rows(
        "SELECT calls, sampled_calls, mean_ms = sampled_mean_ms, max_ms < 500, is_current
         FROM perfmon.plans() WHERE heaviest_node = 'Index Scan using orders_pkey on orders'",
    );
    let (calls, sampled): (i64, i64) = (rows[0].get(0), rows[0].get(1));
    assert!((1..=16).contains(&calls) && calls == sampled, "{calls} {sampled}");
    assert!((2..5).all(|i| rows[0].get(i)));
}

#[test]
fn a_flip_that_made_a_statement_slower_is_a_finding_with_both_times() {
    let server = everything();
    let mut db = server.new_db("app");
    db.run(
        "CREATE TABLE big (id int, filler text) WITH (autovacuum_enabled = off);
            INSERT INTO big SELECT g, repeat('x', 50) FROM generate_series(1, 300000) g;
            CREATE INDEX big_id ON big (id); ANALYZE big; SET max_parallel_workers_per_gather = 0;
            SET pg_perfmon.scan_sample_rate = 1",
    );
    let mut watcher = watcher(&server);
    let statement = "SELECT filler FROM big WHERE id = 77777";
    let many = statement.to_owned() + &format!(";{statement}").repeat(11);
    // What the collector sees of the first makes it ask for those that follow.
    for _ in 0..3 {
        some(&mut db, &mut watcher, &many);
    }
    db.run("DROP INDEX big_id");
    for _ in 0..2 {
        some(&mut db, &mut watcher, &many);
    }
    watcher.run("SELECT perfmon.evaluate()");
    let rows = watcher.rows(
        "SELECT severity, title, cause, evidence::text, object FROM perfmon.findings WHERE kind = 'plan_flip'",
    );
    assert_eq!(rows.len(), 1);
    let text = |i: usize| rows[0].get::<_, String>(i);
    assert_eq!(text(0), "critical", "{}", text(1));
    assert!(text(2).contains("mostly Seq Scan on big"), "{}", text(2));
    assert!(text(2).contains("in place of mostly Index Scan using big_id on big"), "{}", text(2));
    assert!(text(3).contains("mean_before_ms") && text(3).contains("mean_after_ms"), "{}", text(3));
    let report: String = watcher.val("SELECT perfmon.report()");
    assert!(
        report.contains("- Plan: mostly Seq Scan on big (100.0 % of its estimated cost)"),
        "{report}"
    );
    assert_eq!(report.matches("Filter: (id = ?)").count(), 1, "{report}");
    let plans = report.split("## Plans of the statements that take most time").nth(1).unwrap();
    let plans = plans.split("\n## ").next().unwrap().replace("\n  ", " ");
    for words in [
        "- Seen: A seq scan of public.big reads 300,000 rows per execution and keeps 1, by id.",
        "- Changed: at ",
        " from Index Scan using big_id on big (",
        " a call) to Seq Scan on big (",
    ] {
        assert!(plans.contains(words), "{words}: {plans}");
    }
    let known: bool = watcher.val(
        "SELECT bool_and(s ->> 'plan_flip' IS NULL OR (s #>> '{plan_flip,at}' = s #>> '{plan,since}'
             AND (s #>> '{plan_flip,after,mean_ms}')::float8 > (s #>> '{plan_flip,before,mean_ms}')::float8))
             AND count(s ->> 'plan_flip') = 1
         FROM jsonb_array_elements(perfmon.report(format => 'json')::jsonb -> 'statements') s",
    );
    assert!(known, "both times, and since when");
    watcher.run(
        "SELECT perfmon.set_threshold('slow_lookup_mean_ms', 1), perfmon.set_threshold('slow_statement_mean_ms', 1),
             perfmon.set_threshold('slow_statement_min_share_ratio', 0)",
    );
    let shown: bool = watcher.val(
        "SELECT plan_text LIKE 'Seq Scan on big%' AND plan_note IS NULL
             AND plan_since = (SELECT max(time) FROM perfmon.plan_flips())
         FROM perfmon.slow_statements() WHERE plan_heaviest_node = 'Seq Scan on big'",
    );
    assert!(shown);
}
