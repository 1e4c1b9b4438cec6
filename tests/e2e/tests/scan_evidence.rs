//! Evidence of wasteful plans in the history: that it is there soon however rare or frequent a statement is, that near
//! twins are no findings, and that nobody notices that executions are looked into.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use perfmon_e2e::{Db, Server, secs, wait_until};

const TABLES: &str = "
CREATE TABLE big (id int PRIMARY KEY, owner int, state text, note text);
INSERT INTO big SELECT g, g % 5000, CASE g % 50 WHEN 0 THEN 'open' ELSE 'done' END, repeat('x', 60)
FROM generate_series(1, 50000) g;
CREATE TABLE small (id int PRIMARY KEY, owner int);
INSERT INTO small SELECT g, g FROM generate_series(1, 200) g;
CREATE TABLE parted (id int, owner int, note text) PARTITION BY RANGE (id);
CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM (0) TO (10000);
CREATE TABLE parted_2 PARTITION OF parted FOR VALUES FROM (10000) TO (20000);
INSERT INTO parted SELECT g, g % 2000, repeat('y', 60) FROM generate_series(0, 19999) g;
";

fn app(server: &Server) -> Db {
    let mut db = server.new_db("app");
    db.run("SET pg_perfmon.capture = 'off'");
    db.run(TABLES);
    db.run("VACUUM ANALYZE");
    db
}

/// Samples, rows read and rows kept of the statement that looks a table up by its owner.
fn evidence(watcher: &mut Db, table: &str) -> Option<(i64, i64, i64)> {
    let rows = watcher.rows(&format!(
        "SELECT samples, rows_read, rows_kept FROM perfmon.scan_evidence()
         WHERE table_name = 'public.{table}' AND node = 'seq_scan' AND filter_columns = 'owner'"
    ));
    rows.first().map(|row| (row.get(0), row.get(1), row.get(2)))
}

#[test]
fn rare_and_frequent_statements_have_evidence_soon() {
    // A share that never comes to pass here: what is left is that every statement has its turn.
    let server = Server::builder().conf("pg_perfmon.scan_sample_rate = 0.000000001").start();
    let mut watcher = app(&server);
    watcher.snapshot();
    wait_until("a statement that each client executes once is seen", secs(60), || {
        server.db("app").run("SELECT note FROM big WHERE owner = 17");
        watcher.snapshot();
        evidence(&mut watcher, "big").is_some()
    });
    let (samples, read, kept) = evidence(&mut watcher, "big").unwrap();
    assert_eq!((read, kept), (50_000 * samples, 10 * samples));
    // Ten thousand executions are looked into by their share, and not much more often.
    watcher.run("ALTER SYSTEM SET pg_perfmon.scan_sample_rate = 0.01");
    watcher.run("SELECT pg_reload_conf()");
    let mut frequent = server.db("app");
    wait_until("the setting is known", secs(10), || {
        frequent.val::<String>("SHOW pg_perfmon.scan_sample_rate") == "0.01"
    });
    for _ in 0..10 {
        frequent.run(&"SELECT id FROM small WHERE owner = 7;".repeat(1000));
    }
    watcher.snapshot();
    let (samples, read, kept) = evidence(&mut watcher, "small").unwrap();
    assert!((40..250).contains(&samples), "{samples} of 10,000");
    assert_eq!((read, kept), (200 * samples, samples));
    let scaled: f64 = watcher.val(
        "SELECT rows_read_scaled FROM perfmon.scan_evidence() WHERE table_name = 'public.small' AND node = 'seq_scan'",
    );
    assert!((scaled - 2_000_000.0).abs() < 1.0, "{scaled}");
}

#[test]
fn what_is_kept_for_the_owner_of_the_cluster_says_nothing_of_others() {
    let server = Server::manual().conf("pg_perfmon.scan_sample_rate = 1").start();
    let mut watcher = app(&server);
    let owner: String = watcher.val("SELECT rolname::text FROM pg_roles WHERE oid = 10");
    watcher.run("CREATE ROLE bob LOGIN; GRANT SELECT ON small TO bob");
    watcher.run(&format!("ALTER ROLE {owner} SET pg_perfmon.scan_sample_rate = 0"));
    watcher.snapshot();
    server.connect("bob", "app").run("SELECT id FROM small WHERE owner = 1");
    watcher.snapshot();
    assert_eq!(evidence(&mut watcher, "small"), Some((1, 200, 1)));
    // The other way around: of all but the owner nothing is looked into.
    watcher.run(&format!("ALTER ROLE {owner} SET pg_perfmon.scan_sample_rate = 1"));
    watcher.run("ALTER SYSTEM SET pg_perfmon.scan_sample_rate = 0");
    watcher.run("SELECT pg_reload_conf()");
    wait_until("a gap says so", secs(20), || {
        watcher.snapshot();
        let gaps = "SELECT detail FROM perfmon.gap WHERE subject = 'scan' AND kind = 'disabled'";
        watcher.list::<String>(gaps) == ["pg_perfmon.scan_sample_rate is 0"]
    });
}

#[test]
fn a_renamed_table_goes_on_under_its_new_name() {
    let server = Server::manual().conf("pg_perfmon.scan_sample_rate = 1").start();
    let mut watcher = app(&server);
    watcher.snapshot();
    let mut db = server.db("app");
    db.run("SELECT id FROM small WHERE owner = 1");
    watcher.snapshot();
    assert_eq!(evidence(&mut watcher, "small"), Some((1, 200, 1)));
    db.run("ALTER TABLE small RENAME TO little");
    db.run("SELECT id FROM little WHERE owner = 2");
    watcher.snapshot();
    assert_eq!(evidence(&mut watcher, "little"), Some((1, 200, 1)));
    assert_eq!(evidence(&mut watcher, "small"), Some((1, 200, 1)));
}

#[test]
fn findings_rest_on_evidence_and_twins_are_silent() {
    let server = Server::manual().conf("pg_perfmon.scan_sample_rate = 1").start();
    let mut watcher = app(&server);
    watcher.snapshot();
    let mut db = server.db("app");
    for i in 0..40 {
        // Wasteful; the join hides how few rows the scan keeps.
        db.run(&format!("SELECT b.id, s.id FROM big b CROSS JOIN small s WHERE b.owner = {i}"));
        db.run(&format!("SELECT id FROM parted WHERE owner = {i}"));
        // Twins: a small table, most of a table, an index.
        db.run(&format!("SELECT id FROM small WHERE owner = {i}"));
        db.run(&format!("SELECT count(*) FROM big WHERE state = 'done' AND note <> '{i}'"));
        db.run(&format!("SELECT note FROM big WHERE id = {i}"));
        db.run(&format!("SELECT DISTINCT state FROM big WHERE id < {i}"));
        db.run(&format!("SELECT owner, count(*) FROM small WHERE id < {i} GROUP BY owner"));
    }
    db.run("SELECT pg_stat_force_next_flush()");
    watcher.snapshot();
    let found: Vec<(String, String, i64, f64, f64, f64)> = watcher
        .rows(
            "SELECT table_name, filter_columns, samples, rows_read_per_call, rows_kept_per_call, table_share_ratio
             FROM perfmon.seq_scans() ORDER BY 1, 2",
        )
        .iter()
        .map(|r| (r.get(0), r.get(1), r.get(2), r.get(3), r.get(4), r.get(5)))
        .collect();
    let tables: Vec<&str> = found.iter().map(|f| f.0.as_str()).collect();
    assert_eq!(tables, ["public.big", "public.parted"], "{found:?}");
    let big = &found[0];
    assert_eq!((big.1.as_str(), big.2, big.3, big.4), ("owner", 40, 50_000.0, 10.0));
    // Half of what was read of the table is the other statement's.
    assert!((big.5 - 0.5).abs() < 0.01, "{big:?}");
    let parted = &found[1];
    assert_eq!((parted.2, parted.3, parted.4, parted.5), (40, 20_000.0, 10.0, 1.0));
    // Nothing of what was looked for is kept.
    let texts: Vec<String> =
        watcher.list("SELECT coalesce(conditions, '') FROM perfmon.scan_evidence()");
    assert!(texts.iter().any(|t| t == "(owner = ?)"), "{texts:?}");
    let constants = texts.iter().filter(|t| t.contains(['1', '2', '3', '\'']));
    assert_eq!(constants.count(), 0, "{texts:?}");
    predicates_are_listed(&mut watcher);
    let shown: i64 =
        watcher.val("SELECT count(*) FROM perfmon.scan_history() WHERE table_name = 'public.big'");
    assert!(shown > 0);
}

/// Tables, each read whole by one statement whose scan alone does not tell what index it lacks.
const BEYOND: &str = "
CREATE TABLE joined AS SELECT id, owner AS k FROM big;
CREATE TABLE counted AS SELECT id, owner AS k FROM big;
CREATE TABLE ordered AS SELECT id, 50001 - id AS made FROM big;
CREATE TABLE cased AS SELECT id, owner AS k, state FROM big;
CREATE TABLE unread AS SELECT id, owner AS k, state FROM big;
CREATE TABLE lists AS SELECT id, owner AS k FROM big;
CREATE TABLE rare AS SELECT id, CASE WHEN id % 4000 = 0 THEN 'open' ELSE 'done' END AS state FROM big;
CREATE TABLE marked AS SELECT id, CASE WHEN id % 4000 = 0 THEN now() END AS gone FROM big;
CREATE TABLE either AS SELECT id, owner AS a, id % 4999 AS b FROM big;
CREATE TABLE arrays AS SELECT id, ARRAY[id, id + 1] AS tags FROM big;
CREATE TABLE days AS SELECT id, date '1950-01-01' + id AS born FROM big;
CREATE TABLE truth AS SELECT id, id % 4000 = 0 AS done FROM big;
CREATE TABLE twice AS SELECT id, id AS k FROM big;
CREATE TABLE years AS SELECT id, date '1950-01-01' + id AS born FROM big;
CREATE TABLE filled AS SELECT id, CASE WHEN id % 4000 = 0 THEN true END AS open FROM big;
CREATE TABLE hidden AS SELECT id, owner AS k, id % 50 AS state FROM big;
CREATE TABLE never AS SELECT id, id % 4000 <> 0 AS done FROM big;
CREATE TABLE paged AS SELECT id, owner AS k FROM big;
CREATE TABLE firsts AS SELECT id, ARRAY[owner, id] AS pair FROM big;
CREATE EXTENSION citext;
CREATE TABLE mails AS SELECT id, ('M' || id || '@example.org')::citext AS mail FROM big;
CREATE TABLE twin AS SELECT id, id % 200 AS k, id % 7 AS made, state FROM big;
VACUUM ANALYZE;
";

#[test]
fn scans_are_judged_by_what_the_statement_wants_of_them() {
    let server = Server::manual().conf("pg_perfmon.scan_sample_rate = 1").start();
    let mut watcher = app(&server);
    BEYOND.split_terminator(';').for_each(|sql| watcher.run(sql));
    // What share of the time each takes depends on the machine, and on what else it does.
    watcher.set_thresholds(&[("seq_scan_min_share_ratio", 0.0001)]);
    watcher.snapshot();
    let mut db = server.db("app");
    for i in 1..=20 {
        for query in [
            format!("SELECT j.id FROM small s JOIN joined j ON j.k = s.owner WHERE s.id = {i}"),
            format!(
                "SELECT count(*) FROM counted WHERE k IN (SELECT owner FROM small WHERE id = {i})"
            ),
            "SELECT id FROM ordered ORDER BY made DESC LIMIT 10".to_owned(),
            format!(
                "SELECT sum(CASE WHEN state = 'open' THEN 1 ELSE 0 END) FROM cased WHERE k = {i}"
            ),
            format!(
                "SELECT stddev(CASE WHEN state = 'open' THEN 1 ELSE 0 END) FROM unread WHERE k = {i}"
            ),
            format!(
                "SELECT l.id FROM lists l JOIN (VALUES ({i}, 'a'), (77, 'b')) v(k, n) ON v.k = l.k"
            ),
            "SELECT count(*) FROM rare WHERE state = 'open'".to_owned(),
            "SELECT id FROM marked WHERE gone IS NOT NULL".to_owned(),
            format!("SELECT id FROM either WHERE a = {i} OR b = {i}"),
            format!("SELECT id FROM arrays WHERE {i} = ANY (tags)"),
            format!("SELECT id FROM days WHERE born::text LIKE '1950-01-{i:02}%'"),
            "SELECT count(*) FROM truth WHERE done".to_owned(),
            format!("SELECT count(*) FROM twice WHERE k = (SELECT max(k) - {i} FROM twice)"),
            "SELECT id FROM years WHERE date_trunc('year', born) = '1951-01-01'".to_owned(),
            "SELECT count(*) FROM filled WHERE coalesce(open, false)".to_owned(),
            // What leaves rows out hides nothing.
            format!(
                "SELECT id FROM hidden WHERE NOT (id BETWEEN 5 AND 9) AND (state < 3 OR state > 4) AND k = {i}"
            ),
            "SELECT count(*) FROM never WHERE done IS NOT TRUE".to_owned(),
            format!("SELECT count(*) FROM paged WHERE (k, id) > (4990, {i})"),
            format!("SELECT id FROM firsts WHERE pair[1] = {i}"),
            format!("SELECT id FROM mails WHERE mail LIKE 'm{i}@%'"),
            // Twins: most of what is read is wanted.
            format!("SELECT count(*) FROM small s JOIN twin t ON t.k = s.owner WHERE s.id > {i}"),
            format!("SELECT id FROM twin ORDER BY made LIMIT {}", 30_000 + i),
            "SELECT sum(id) FROM twin WHERE state IS NOT NULL".to_owned(),
        ] {
            db.run(&query);
        }
    }
    db.run("SELECT pg_stat_force_next_flush()");
    watcher.snapshot();
    let rows = watcher.rows(
        "SELECT table_name, coalesce(statement, 'words: ' || remedy), filter_columns FROM perfmon.seq_scans() ORDER BY 1",
    );
    let found: Vec<(String, String, String)> =
        rows.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect();
    let expected = [
        ("arrays", "words: No index serves ? = ANY (tags)", "tags"),
        ("cased", "(k);", "k"),
        ("counted", "(k);", "k"),
        ("days", "words: No index can be on (born)::text", "born"),
        ("either", "words: Create an index for each of the conditions in", "a, b"),
        ("filled", "words: Create an index on the expression COALESCE(open, ?)", "open"),
        ("firsts", "words: Create an index on the expression pair[?]", "pair[?]"),
        ("hidden", "(k);", "k"),
        ("joined", "(k);", "k"),
        ("lists", "(k);", "k"),
        ("mails", "words: No index on mail itself is searched for (mail ~~ ?)", "mail"),
        ("marked", "words: Create an index of the wanted rows alone", "gone"),
        ("never", "words: Create an index of the wanted rows alone", "done"),
        ("ordered", "(made);", "made"),
        ("paged", "(k);", "k"),
        ("rare", "(state);", "state"),
        ("truth", "(done);", "done"),
        ("twice", "(k);", "k"),
        ("unread", "(k);", "k"),
        ("years", "words: No index on a column serves", "born"),
    ];
    assert_eq!(found.len(), expected.len(), "{found:?}");
    for ((table, words, by), (name, wanted, column)) in found.iter().zip(expected) {
        assert_eq!(table, &format!("public.{name}"), "{found:?}");
        assert!(words.contains(wanted) && by.contains(column), "{table}: {words} by {by}");
    }
    let sides = watcher.list::<String>(
        "SELECT format('%s %s %s %s', expression, usage, operator, samples) FROM perfmon.predicates()
         WHERE table_name = 'public.either' AND rows_read > 0 AND rows_kept IS NULL ORDER BY 1",
    );
    assert_eq!(sides, ["a equality = 20", "b equality = 20"]);
}

#[test]
fn reads_that_nobody_explains_are_told() {
    let server = Server::manual().conf("pg_perfmon.scan_sample_rate = 1").start();
    let mut watcher = app(&server);
    watcher.snapshot();
    let (mut seen, mut unseen) = (server.db("app"), server.db("app"));
    unseen.run("SET pg_perfmon.capture = 'off'");
    for i in 0..4 {
        seen.run(&format!("SELECT id FROM parted WHERE owner = {i}"));
        seen.run(&format!("SELECT count(*) FROM small WHERE owner > {i}"));
        unseen.run(&format!("SELECT count(*) FROM big WHERE owner = {i}"));
        unseen.run(&format!("SELECT count(id) FROM small WHERE owner = {i}"));
    }
    seen.flush();
    unseen.flush();
    watcher.snapshot();
    let rows = watcher.rows(
        "SELECT table_name, rows_read_scaled, table_share_ratio, statement_id FROM perfmon.scan_evidence()
         WHERE node = 'unexplained'",
    );
    let told: Vec<(&str, f64, f64, Option<i32>)> =
        rows.iter().map(|row| (row.get(0), row.get(1), row.get(2), row.get(3))).collect();
    let expected = [("public.big", 200_000.0, 1.0, None), ("public.small", 800.0, 0.5, None)];
    assert_eq!(told, expected);
}

#[test]
fn parallel_scans_are_estimated_as_a_whole_and_results_of_subqueries_are_values() {
    let server = Server::manual()
        .conf("pg_perfmon.scan_sample_rate = 1")
        .conf("compute_query_id = on")
        .conf("max_parallel_workers = 4")
        .start();
    let mut watcher = app(&server);
    watcher.run(
        "CREATE TABLE long AS SELECT id, owner AS k FROM big CROSS JOIN generate_series(1, 4)",
    );
    watcher.run("VACUUM ANALYZE long");
    watcher.snapshot();
    let mut db = server.db("app");
    let shared = "SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = '1MB';
        SET enable_hashjoin = off; SET enable_mergejoin = off";
    let alone = "SET max_parallel_workers_per_gather = 0";
    let mut estimated = Vec::new();
    for (aggregate, settings) in [
        ("count(*)", alone.to_owned()),
        ("sum(l.id)", format!("{shared}; SET max_parallel_workers_per_gather = 3")),
        ("max(l.id)", "SET parallel_leader_participation = off".to_owned()),
    ] {
        db.run(&settings);
        let scan = format!("SELECT {aggregate} FROM long l WHERE k < 17");
        let join =
            format!("SELECT {aggregate} FROM long l JOIN small s ON s.id = l.k WHERE l.id > 49000");
        let plan = db.list::<String>(&format!("EXPLAIN {scan}")).join("\n");
        assert_eq!(plan.contains("Parallel Seq Scan"), settings != alone, "{plan}");
        db.run(&scan);
        db.run(&join);
        let of = |db: &mut Db, query: &str, what: &str| -> i64 {
            let id = db.queryid_of(query);
            db.val(&format!("SELECT {what} FROM perfmon.scans_since_start() WHERE queryid = {id} AND table_name = 'public.long'"))
        };
        estimated
            .push([of(&mut db, &scan, "rows_estimated"), of(&mut db, &join, "rows_estimated")]);
    }
    for more in &estimated[1..] {
        for (one, whole) in more.iter().zip(estimated[0]) {
            assert!((one - whole).abs() <= 4, "of one process and of several: {estimated:?}");
        }
    }
    db.run("SELECT count(*) FROM big WHERE owner = (SELECT max(owner) - 1 FROM small)");
    db.run("SELECT count(*) FROM small s, big b WHERE s.owner + b.owner = 77");
    watcher.snapshot_with_texts(secs(30));
    let uses = watcher.list::<String>(
        "SELECT concat_ws(' ', usage, operator, samples) FROM perfmon.predicates() WHERE table_name = 'public.big' AND expression = 'owner'",
    );
    // What is computed of two tables is found by no index.
    assert_eq!(uses, ["equality = 1"]);
}

#[test]
fn a_window_that_stops_early_is_no_misestimate() {
    let server = Server::manual().conf("pg_perfmon.scan_sample_rate = 1").start();
    let mut watcher = app(&server);
    watcher.snapshot();
    let mut db = server.db("app");
    db.run("SET enable_hashjoin = off; SET enable_mergejoin = off; SET enable_sort = off");
    let first = |mark: &str, condition: &str| {
        format!(
            "SELECT /* {mark} */ * FROM (SELECT b.id, row_number() OVER (ORDER BY s.id) AS r FROM big b JOIN small s ON s.id = b.id {condition}) x
             WHERE r <= 100"
        )
    };
    let few = first("few", "").replace("100", "3");
    // By statistics there is one row.
    let wrong = first("wrong", "WHERE b.id % 5000 = b.owner");
    let plan = db.list::<String>(&format!("EXPLAIN {few}")).join("\n");
    assert!(plan.contains("Run Condition") && plan.contains("Nested Loop"), "{plan}");
    for _ in 0..3 {
        db.run(&few);
        db.run(&wrong);
    }
    watcher.snapshot_with_texts(secs(30));
    let told = watcher.list::<String>(
        "SELECT substring(query from '/[*] (\\w+) ') FROM perfmon.scan_evidence()
         WHERE node = 'nested_loop' AND misestimates > 0",
    );
    assert_eq!(told, ["wrong"]);
}

fn predicates_are_listed(watcher: &mut Db) {
    // What an index would have to serve.
    let uses: Vec<(String, String, String, i64, f64, bool)> = watcher
        .rows(
            "SELECT table_name, expression, usage, samples, kept_ratio, alone FROM perfmon.predicates()
             WHERE samples IS NOT NULL AND expression = 'owner' ORDER BY 1",
        )
        .iter()
        .map(|r| (r.get(0), r.get(1), r.get(2), r.get(3), r.get(4), r.get(5)))
        .collect();
    let of = |table: &str, kept: f64| {
        (format!("public.{table}"), "owner".to_owned(), "equality".to_owned(), 40, kept, true)
    };
    // Of the small table there is one owner a row, and none has number 0.
    assert_eq!(uses, [of("big", 0.0002), of("parted", 0.0005), of("small", 39.0 / 8000.0)]);
    let key: i64 = watcher.val(
        "SELECT count(*) FROM perfmon.predicates()
         WHERE table_name = 'public.big' AND expression = 'id' AND usage = 'equality' AND samples IS NULL",
    );
    assert_eq!(key, 1, "what no plan was told of is known by the text");
    let grouped = watcher.list::<String>(
        "SELECT table_name || '.' || expression FROM perfmon.predicates() WHERE usage = 'group' ORDER BY 1",
    );
    assert_eq!(grouped, ["public.big.state", "public.small.owner"]);
}

/// What somebody who asks for a plan sees.
const ASKED: [&str; 4] = [
    "EXPLAIN (ANALYZE, TIMING OFF, SUMMARY OFF) SELECT note FROM big WHERE owner = 17",
    "EXPLAIN (ANALYZE, TIMING OFF, SUMMARY OFF, BUFFERS, WAL, VERBOSE) SELECT owner, count(*) FROM big WHERE id > 40000 GROUP BY owner HAVING count(*) > 1 ORDER BY 1 LIMIT 3",
    "EXPLAIN SELECT note FROM big WHERE owner = 17",
    "EXPLAIN (ANALYZE, TIMING OFF, SUMMARY OFF, FORMAT JSON) SELECT b.id FROM big b JOIN small s ON s.owner = b.owner AND s.id + b.id = 30",
];

#[test]
fn plans_that_others_ask_for_are_unchanged() {
    let server = Server::manual()
        .preload("pg_stat_statements,auto_explain,pg_perfmon")
        .conf("auto_explain.log_min_duration = -1")
        .conf("auto_explain.log_timing = off")
        .conf("max_parallel_workers_per_gather = 0")
        .start();
    drop(app(&server));
    let mut db = server.db("app");
    let (mut asked, mut logged) = (Vec::new(), Vec::new());
    for rate in ["0", "1"] {
        db.run(&format!(
            "SET pg_perfmon.scan_sample_rate = {rate}; SET pg_perfmon.capture = 'all'"
        ));
        // The first execution of all reads the catalogs.
        let plans = |db: &mut Db| ASKED.map(|sql| db.texts(sql));
        plans(&mut db);
        asked.push(plans(&mut db));
        let mark = server.log_mark();
        for analyze in ["off", "on"] {
            db.run(&format!(
                "SET auto_explain.log_analyze = {analyze}; SET auto_explain.log_min_duration = 0"
            ));
            for sql in &ASKED[..1] {
                db.run(sql.rsplit(") ").next().unwrap());
            }
            db.run("SET auto_explain.log_min_duration = -1");
        }
        let log = server.log_since(mark);
        let plans = log.split(" plan:").skip(1).map(|plan| {
            let lines = plan.lines().skip(1).take_while(|line| line.starts_with(['\t', ' ']));
            lines.collect::<Vec<_>>().join("\n")
        });
        logged.push(plans.collect::<Vec<String>>());
    }
    assert_eq!(asked[0], asked[1]);
    assert_eq!(logged[0].len(), 2, "{logged:#?}");
    assert_eq!(logged[0], logged[1]);
    assert!(!logged[1][0].contains("actual") && logged[1][1].contains("actual"), "{logged:#?}");
}

#[test]
fn errors_cursors_and_many_executions_leave_nothing_behind() {
    let server = Server::manual().conf("pg_perfmon.scan_sample_rate = 1").start();
    drop(app(&server));
    let mut db = server.db("app");
    db.run("PREPARE look AS SELECT note FROM big WHERE owner = $1 AND id < 2000");
    let round = |db: &mut Db| {
        db.run(&"EXECUTE look(5);".repeat(500));
        db.fails("SELECT 1 / (owner - 17) FROM big");
        db.run("BEGIN; DECLARE c CURSOR FOR SELECT id FROM big WHERE owner < 17; FETCH 5 FROM c; COMMIT");
        db.run("DO $$ BEGIN FOR i IN 1..20 LOOP BEGIN PERFORM 1 / (owner - i) FROM big; EXCEPTION WHEN division_by_zero THEN NULL; END; END LOOP; END $$");
        db.val::<i64>("SELECT sum(total_bytes)::bigint FROM pg_backend_memory_contexts")
    };
    round(&mut db);
    let first = round(&mut db);
    let mut last = first;
    for _ in 0..6 {
        last = round(&mut db);
    }
    assert!(last - first <= 65_536, "memory grew from {first} to {last}");
    let counted: i64 = db.val(
        "SELECT samples FROM perfmon.scans_since_start() WHERE table_name = 'public.big' AND node IN ('index_scan', 'bitmap_scan', 'seq_scan')
             AND conditions LIKE '%(owner = ?)%'",
    );
    assert_eq!(counted, 4000);
    let panics: bool = db.val("SELECT state = 'ok' FROM perfmon.status() WHERE item = 'capture'");
    assert!(panics);
}
