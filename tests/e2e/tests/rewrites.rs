//! Better forms of statements on a live server: those that cost time are told, with what to write instead, and
//! their twins are not.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

use perfmon_e2e::{Db, Server, secs};

#[path = "rewrites/as_text.rs"]
mod as_text;
#[path = "rewrites/seen.rs"]
mod seen;
#[path = "rewrites/unkept.rs"]
mod unkept;

/// What was told, of one statement.
#[derive(Debug)]
struct Hint {
    kind: String,
    query: String,
    expression: Option<String>,
    better: Option<String>,
    same: bool,
    statement: Option<String>,
}

/// What must be told of, by words in its text, and its kind.
const TOLD: [(&str, &str); 20] = [
    (
        "SELECT /* day */ * FROM \"My Shop\".\"Orders\" WHERE placed_at::date = date '2024-02-03'",
        "rewrite_function_on_column",
    ),
    (
        "SELECT /* month */ count(*) FROM \"My Shop\".\"Orders\" o WHERE date_trunc('month', o.placed_at) = '2024-02-01'",
        "rewrite_function_on_column",
    ),
    (
        "SELECT /* lower */ * FROM \"My Shop\".\"Orders\" WHERE lower(mail) = 'm17'",
        "rewrite_function_on_column",
    ),
    (
        "SELECT /* cast */ * FROM \"My Shop\".\"Orders\" WHERE id = 17::numeric",
        "rewrite_cast_on_column",
    ),
    (
        "SELECT /* wide */ * FROM \"My Shop\".\"Orders\" WHERE id::bigint = 17",
        "rewrite_function_on_column",
    ),
    ("SELECT /* view */ * FROM ends WHERE customer = 4711", "rewrite_leading_wildcard"),
    (
        "SELECT /* pairs */ count(*) FROM \"My Shop\".\"Orders\" o, \"My Shop\".\"Customers\" c WHERE o.id < 0 OR o.id > 10",
        "rewrite_missing_join",
    ),
    (
        "SELECT /* notin */ count(*) FROM \"My Shop\".\"Customers\" WHERE id NOT IN (SELECT customer FROM \"My Shop\".\"Orders\")",
        "rewrite_not_in",
    ),
    (
        "SELECT /* any */ (SELECT count(*) FROM \"My Shop\".\"Orders\" o WHERE o.customer > 5) > 0",
        "rewrite_count_for_existence",
    ),
    (
        "SELECT /* none */ count(*) = 0 FROM \"My Shop\".\"Orders\" o WHERE o.note = 'y'",
        "rewrite_count_for_existence",
    ),
    (
        "SELECT /* having */ 'orders' AS there FROM \"My Shop\".\"Orders\" WHERE note <> 'y' HAVING count(*) >= 1",
        "rewrite_count_for_existence",
    ),
    (
        "SELECT /* case */ CASE WHEN count(*) > 0 THEN 'some' ELSE 'none' END FROM \"My Shop\".\"Orders\" WHERE note <> 'y'",
        "rewrite_count_for_existence",
    ),
    (
        "SELECT /* values */ count(o.customer) > 0 FROM \"My Shop\".\"Orders\" o WHERE o.note <> 'y'",
        "rewrite_count_for_existence",
    ),
    (
        "SELECT /* inner */ (SELECT CASE count(1) > 0 WHEN true THEN 'some' ELSE 'none' END FROM \"My Shop\".\"Orders\" o WHERE o.note > c.name) FROM \"My Shop\".\"Customers\" c WHERE c.id < 4",
        "rewrite_count_for_existence",
    ),
    (
        "SELECT /* month of */ id FROM days WHERE date_trunc('month', day) = '2024-03-01'",
        "rewrite_function_on_column",
    ),
    (
        "SELECT /* before */ count(*) FROM \"My Shop\".\"Orders\" WHERE localtimestamp - placed_at < interval '1 day' AND id * 2 = 34",
        "rewrite_function_on_column",
    ),
    (
        "SELECT /* page */ id FROM \"My Shop\".\"Orders\" ORDER BY placed_at DESC LIMIT 20 OFFSET 25000",
        "rewrite_deep_offset",
    ),
    ("SELECT /* parts */ * FROM parts WHERE lower(note) = 'n17'", "rewrite_function_on_column"),
    (
        "SELECT /* within */ o.id, c.name FROM (SELECT id, customer FROM \"My Shop\".\"Orders\" ORDER BY placed_at DESC LIMIT 20 OFFSET 25000) o JOIN \"My Shop\".\"Customers\" c ON c.id = o.customer",
        "rewrite_deep_offset",
    ),
    (
        "SELECT /* rows */ count(*) FROM \"My Shop\".\"Customers\" WHERE (id, name) NOT IN (SELECT customer, note FROM \"My Shop\".\"Orders\")",
        "rewrite_not_in",
    ),
];

/// What must not be.
const TWINS: [&str; 17] = [
    "SELECT /* twin */ * FROM \"My Shop\".\"Orders\" WHERE placed_at >= '2024-02-03' AND placed_at < '2024-02-04'",
    "SELECT /* twin */ * FROM \"My Shop\".\"Orders\" WHERE id = 17",
    "SELECT /* twin */ * FROM \"My Shop\".\"Orders\" WHERE id = 17 AND lower(mail) = 'm17'",
    "SELECT /* twin */ * FROM small WHERE lower(note) = 'n17'",
    "SELECT /* twin */ count(*) FROM \"My Shop\".\"Customers\" c WHERE NOT EXISTS (SELECT FROM \"My Shop\".\"Orders\" o WHERE o.customer = c.id)",
    "SELECT /* twin */ count(*) FROM \"My Shop\".\"Customers\" c WHERE id NOT IN (SELECT id FROM \"My Shop\".\"Orders\" WHERE customer > 5)",
    "SELECT /* twin */ count(*) FROM \"My Shop\".\"Orders\" o JOIN \"My Shop\".\"Customers\" c ON o.customer = c.id",
    "SELECT /* twin */ EXISTS (SELECT FROM \"My Shop\".\"Orders\" o WHERE o.customer > 5)",
    "SELECT /* twin */ id FROM \"My Shop\".\"Orders\" ORDER BY id DESC LIMIT 20 OFFSET 40",
    "SELECT /* twin */ (SELECT count(*) FROM \"My Shop\".\"Orders\" o WHERE o.customer < 500) > 100",
    "SELECT /* twin */ count(*) = 5 FROM \"My Shop\".\"Orders\" o WHERE o.note < 'y'",
    "SELECT /* twin */ CASE WHEN count(*) > 100 THEN 'many' ELSE 'few' END FROM \"My Shop\".\"Orders\" WHERE note > 'w'",
    "SELECT /* twin */ CASE WHEN count(*) > 0 THEN max(id) END FROM \"My Shop\".\"Orders\" WHERE note <> 'y'",
    "SELECT /* twin */ id FROM days WHERE day >= '2024-03-01' AND day < '2024-04-01'",
    "SELECT /* twin */ name FROM \"My Shop\".\"Customers\" c WHERE (SELECT count(*) FROM \"My Shop\".\"Orders\" o WHERE o.customer = c.id) > 1 AND c.id < 5",
    "SELECT /* twin */ o.id, c.name FROM (SELECT id, customer FROM \"My Shop\".\"Orders\" ORDER BY placed_at DESC LIMIT 20 OFFSET 40) o JOIN \"My Shop\".\"Customers\" c ON c.id = o.customer",
    "SELECT /* twin */ count(*) FROM \"My Shop\".\"Customers\" c WHERE NOT EXISTS (SELECT FROM \"My Shop\".\"Orders\" o WHERE o.customer = c.id AND o.note = c.name)",
];

fn load(db: &mut Db) {
    db.run(
        "CREATE EXTENSION pg_trgm;
         CREATE SCHEMA \"My Shop\";
         CREATE TABLE \"My Shop\".\"Customers\" (id int PRIMARY KEY, name text);
         INSERT INTO \"My Shop\".\"Customers\" SELECT i, 'c' || i FROM generate_series(1, 200) i;
         CREATE TABLE \"My Shop\".\"Orders\" (id int PRIMARY KEY, customer int REFERENCES \"My Shop\".\"Customers\",
             placed_at timestamp NOT NULL, mail text, note text);
         INSERT INTO \"My Shop\".\"Orders\" SELECT i, CASE WHEN i % 7 > 0 THEN i % 190 + 1 END,
             timestamp '2024-01-01' + i * interval '3 minutes', 'M' || i, repeat('x', 80) FROM generate_series(1, 30000) i;
         CREATE INDEX ON \"My Shop\".\"Orders\" (placed_at);
         CREATE INDEX ON \"My Shop\".\"Orders\" (customer);
         CREATE VIEW ends AS SELECT * FROM \"My Shop\".\"Orders\" WHERE mail LIKE '%17';
         CREATE TABLE days (id int PRIMARY KEY, day date NOT NULL, filler text);
         INSERT INTO days SELECT i, date '2024-01-01' + i / 50, repeat('x', 80) FROM generate_series(1, 30000) i;
         CREATE INDEX ON days (day);
         CREATE TABLE small (note text); INSERT INTO small SELECT 'N' || i FROM generate_series(1, 50) i;
         CREATE TABLE parts (id int, note text, filler text) PARTITION BY RANGE (id);
         CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (15000);
         CREATE TABLE parts_2 PARTITION OF parts FOR VALUES FROM (15000) TO (30000);
         INSERT INTO parts SELECT i, 'N' || i, repeat('x', 80) FROM generate_series(1, 29999) i;
         ANALYZE",
    );
    db.run("DROP INDEX \"My Shop\".\"Orders_customer_idx\"");
}

fn hints(db: &mut Db) -> Vec<Hint> {
    db.rows(
        "SELECT kind, query, expression, better_form, same_meaning, statement FROM perfmon.rewrite_hints()",
    )
    .iter()
    .map(|row| Hint {
        kind: row.get(0),
        query: row.get(1),
        expression: row.get(2),
        better: row.get(3),
        same: row.get(4),
        statement: row.get(5),
    })
    .collect()
}

/// What marks a statement among others: the comment that it begins with.
fn mark(query: &str) -> &str {
    let (_, rest) = query.split_once("/*").unwrap();
    rest.split_once("*/").unwrap().0
}

#[test]
fn better_forms_are_told_and_twins_are_not() {
    let server = Server::manual().conf("jit = off").conf("pg_perfmon.scan_sample_rate = 1").start();
    let mut db = server.new_db("app");
    load(&mut db);
    db.run("CREATE ROLE reader LOGIN; SELECT perfmon.grant_reader('reader')");
    // On a machine that is busy with other things, shares shift; each statement counts here.
    db.set_thresholds(&[("rewrite_min_share_ratio", 0.0)]);
    db.snapshot();
    for _ in 0..3 {
        TOLD.iter().for_each(|(query, _)| db.run(query));
        TWINS.iter().for_each(|query| db.run(query));
    }
    db.snapshot_with_texts(secs(30));
    let told = hints(&mut db);
    for hint in &told {
        println!("{hint:?}");
    }
    for (query, kind) in TOLD {
        let found: Vec<_> = told.iter().filter(|one| mark_of(&one.query) == mark(query)).collect();
        if !found.iter().any(|one| one.kind == kind) {
            let plan = db.list::<String>(&format!("EXPLAIN (ANALYZE, TIMING OFF) {query}"));
            panic!("{query}: {found:?}\n{}", plan.join("\n"));
        }
        assert!(found.iter().all(|one| one.kind == kind), "{query}: {found:?}");
    }
    let twins: Vec<_> = told.iter().filter(|one| mark_of(&one.query) == " twin ").collect();
    assert!(twins.is_empty(), "{twins:?}");
    let of = |word: &str| told.iter().find(|one| mark_of(&one.query).trim() == word).unwrap();
    let day = of("day");
    assert!(
        day.same && day.better.as_ref().is_some_and(|b| b.contains("\"Orders\".placed_at >= ")),
        "{day:?}"
    );
    assert!(!of("month").same, "the text does not tell the type of the value");
    assert!(!of("notin").same && !of("any").same && !of("page").same && !of("rows").same);
    assert_eq!(
        of("within").better.as_deref(),
        Some("(placed_at, id) < ($3, $4) ORDER BY placed_at DESC, id DESC LIMIT $5")
    );
    assert_eq!(
        of("pairs").expression.as_deref(),
        Some("FROM \"My Shop\".\"Orders\" o, \"My Shop\".\"Customers\" c")
    );
    assert_eq!(
        of("page").expression.as_deref(),
        Some("ORDER BY placed_at DESC LIMIT $1 OFFSET $2")
    );
    assert_eq!(
        of("pairs").better.as_deref(),
        Some("o.customer = c.id"),
        "a foreign key tells what is missing"
    );
    assert!(of("month of").same, "in any time zone");
    assert_eq!(
        of("case").better.as_deref(),
        Some(
            "SELECT CASE WHEN (EXISTS (SELECT FROM \"My Shop\".\"Orders\" WHERE (\"Orders\".note <> $4))) THEN $2 ELSE $3 END AS \"case\""
        )
    );
    assert!(of("values").better.as_ref().is_some_and(|b| b.contains("(o.customer IS NOT NULL)")));
    assert!(of("inner").better.as_ref().is_some_and(|b| b.contains("(o.note > c.name)")));
    assert!(of("lower").statement.as_ref().is_some_and(|s| s.contains("(lower(mail))")));
    assert!(of("view").statement.as_ref().is_some_and(|s| s.contains("gin_trgm_ops")));
    let expressions = told.iter().filter_map(|one| one.expression.as_deref());
    let data = ["17", "2024"];
    assert!(
        expressions.into_iter().all(|e| data.iter().all(|word| !e.contains(word))),
        "constants are data"
    );
    forms_do_what_they_promise(&mut db, &told);
    findings_hold_no_text(&mut db);
    // A reader of numbers has no texts, and nothing that was learned from them.
    let mut reader = server.connect("reader", "app");
    assert_eq!(reader.val::<i64>("SELECT count(*) FROM perfmon.rewrite_hints()"), 0);
}

/// Patterns that are parameters, and whether they begin with a wildcard.
const SOUGHT: [(&str, &str, bool); 6] = [
    (
        "PREPARE p1(text) AS SELECT /* lead */ count(*) FROM notes WHERE note LIKE $1",
        "'%secret9%'",
        true,
    ),
    (
        "PREPARE p2(text) AS SELECT /* join */ count(*) FROM notes WHERE note ILIKE '%' || $1 || '%'",
        "'secret9'",
        true,
    ),
    (
        "PREPARE p3(varchar) AS SELECT /* low */ count(*) FROM notes WHERE lower(note) LIKE lower($1)",
        "'_SECRET9'",
        true,
    ),
    (
        "PREPARE p4(text) AS SELECT /* twin */ count(id) FROM notes WHERE note LIKE $1",
        "'secret9%'",
        false,
    ),
    (
        "PREPARE p5(text) AS SELECT /* twin */ count(*) FROM notes WHERE note ILIKE $1 || '%'",
        "'secret9'",
        false,
    ),
    (
        "PREPARE p6(text) AS SELECT /* twin */ count(*) FROM notes WHERE mail LIKE $1",
        "'\\%secret9'",
        false,
    ),
];

#[test]
fn executions_tell_whether_a_pattern_begins_with_a_wildcard() {
    let server = Server::manual()
        .conf("jit = off")
        .conf("pg_perfmon.scan_sample_rate = 1")
        .conf("pg_perfmon.plan_min_duration = 0")
        .start();
    let mut db = server.new_db("app");
    db.run(
        "CREATE TABLE notes (id int, note text, mail varchar(80));
            INSERT INTO notes SELECT i, 'note ' || md5(i::text), repeat('y', 40) FROM generate_series(1, 30000) i;
            ANALYZE",
    );
    db.set_thresholds(&[("rewrite_min_share_ratio", 0.0)]);
    db.snapshot();
    for (number, (prepare, pattern, _)) in (1..).zip(SOUGHT) {
        db.run(prepare);
        for mode in ["force_custom_plan", "force_generic_plan"] {
            db.run(&format!("SET plan_cache_mode = {mode}"));
            for _ in 0..3 {
                db.run(&format!("EXECUTE p{number}({pattern})"));
            }
        }
    }
    db.snapshot_with_texts(secs(30));
    let told: Vec<Hint> =
        hints(&mut db).into_iter().filter(|h| h.kind == "rewrite_leading_wildcard").collect();
    let mut marks: Vec<&str> = told.iter().map(|one| mark_of(&one.query).trim()).collect();
    marks.sort_unstable();
    assert_eq!(marks, ["join", "lead", "low"], "{told:?}");
    let seen = db.list::<String>(
        "SELECT p.pattern || ' ' || p.samples FROM perfmon.predicates() p JOIN perfmon.statement s USING (statement_id)
         WHERE p.usage = 'pattern' AND s.query LIKE '%/* %' ORDER BY s.query LIKE '%/* twin%', 1",
    );
    assert_eq!(seen[..3], ["leading_wildcard 6"; 3].map(str::to_owned), "in both kinds of plans");
    assert_eq!(seen[3..], ["fixed_beginning 6"; 3].map(str::to_owned));
    // Nothing else of the patterns is kept.
    let tables = db.list::<String>(
        "SELECT c.oid::regclass::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE n.nspname = 'perfmon' AND c.relkind IN ('r', 'p')",
    );
    for table in tables {
        let leaks: i64 =
            db.val(&format!("SELECT count(*) FROM {table} t WHERE t::text ~* 'secret9'"));
        assert_eq!(leaks, 0, "{table}");
    }
    let report: String = db.val("SELECT perfmon.report()");
    assert!(report.contains("## Better forms of statements"), "{report}");
    assert!(
        report.contains("It seeks patterns that begin with a wildcard in public.notes.note"),
        "{report}"
    );
}

fn mark_of(query: &str) -> &str {
    if query.contains("/*") { mark(query) } else { "" }
}

/// The better form finds the same rows through the index.
fn forms_do_what_they_promise(db: &mut Db, told: &[Hint]) {
    let day = told.iter().find(|one| mark_of(&one.query) == " day ").unwrap();
    let better = day.better.as_ref().unwrap().replace("$1", "'2024-02-03'");
    let table = "\"My Shop\".\"Orders\"";
    let rows: i64 = db.val(&format!("SELECT count(*) FROM {table} WHERE {better}"));
    let before: i64 =
        db.val(&format!("SELECT count(*) FROM {table} WHERE placed_at::date = '2024-02-03'"));
    assert_eq!((rows, before), (480, 480));
    let plan =
        db.list::<String>(&format!("EXPLAIN SELECT * FROM {table} WHERE {better}")).join("\n");
    assert!(plan.contains("Orders_placed_at_idx"), "{plan}");
    // All of them can be put in their place.
    for hint in told.iter().filter(|hint| hint.better.is_some()) {
        let better = hint.better.as_ref().unwrap();
        let better = (1..=9).fold(better.clone(), |text, n| text.replace(&format!("${n}"), "NULL"));
        let from = match mark_of(&hint.query).trim() {
            "pairs" => format!("{table} o, \"My Shop\".\"Customers\" c"),
            "month" => format!("{table} o"),
            "month of" => "days".to_owned(),
            "inner" => {
                let query = format!("SELECT ({better}) FROM \"My Shop\".\"Customers\" c");
                assert!(!db.list::<String>(&format!("EXPLAIN {query}")).is_empty(), "{query}");
                continue;
            }
            "notin" | "rows" => "\"My Shop\".\"Customers\"".to_owned(),
            _ => table.to_owned(),
        };
        let whole = match better.starts_with("SELECT") {
            true => better,
            false => format!("SELECT FROM {from} WHERE {better}"),
        };
        assert!(!db.list::<String>(&format!("EXPLAIN {whole}")).is_empty(), "{whole}");
    }
}

fn findings_hold_no_text(db: &mut Db) {
    let found = db.evaluate();
    let rewrites: Vec<_> = found.iter().filter(|one| one.kind.starts_with("rewrite_")).collect();
    assert!(rewrites.len() >= TOLD.len() - 1, "{}", rewrites.len());
    for one in rewrites {
        assert!(!one.title.contains('$') && !one.remedy.contains('$'), "{one:?}");
    }
    let report: String = db.val("SELECT perfmon.report()");
    assert!(report.contains("NOT IN"), "{report}");
}

#[test]
fn planning_over_execution_is_told_where_it_is_counted() {
    let server =
        Server::manual().conf("pg_stat_statements.track_planning = on").conf("jit = off").start();
    let mut db = server.new_db("app");
    db.run("CREATE TABLE p (id int) PARTITION BY RANGE (id)");
    for i in 0..60 {
        db.run(&format!("CREATE TABLE p{i} PARTITION OF p FOR VALUES FROM ({i}) TO ({})", i + 1));
    }
    db.set_thresholds(&[("rewrite_min_share_ratio", 0.0)]);
    db.snapshot();
    // The join of all parts takes long to plan and nothing to run.
    let slow = "SELECT /* plan */ a.id FROM p a JOIN p b USING (id) JOIN p c USING (id) WHERE false OR a.id < 0";
    for _ in 0..25 {
        db.run(slow);
    }
    db.run("PREPARE twin AS SELECT /* twin */ a.id FROM p a JOIN p b USING (id) WHERE a.id < 0");
    db.run("SET plan_cache_mode = force_generic_plan");
    for _ in 0..50 {
        db.run("EXECUTE twin");
    }
    db.snapshot_with_texts(secs(30));
    let told = hints(&mut db);
    let planned: Vec<_> = told.iter().filter(|one| one.kind == "rewrite_planning_time").collect();
    assert!(planned.iter().any(|one| one.query.contains("/* plan */")), "{told:?}");
    assert!(planned.iter().all(|one| !one.query.contains("twin")), "{planned:?}");
}
