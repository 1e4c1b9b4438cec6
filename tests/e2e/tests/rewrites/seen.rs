//! What executions show and texts do not: which tables names meant, what was converted, how many rows were paired, what
//! went to disk, and what patterns began with.

use std::collections::HashMap;

use perfmon_e2e::{Db, Server, secs};

use super::{Hint, hints, mark_of};

/// A server that looks into every execution, with what is there before anything is watched.
pub(super) fn watched(setup: &str) -> (Server, Db) {
    let server = Server::manual().conf("jit = off").conf("pg_perfmon.scan_sample_rate = 1").start();
    let mut db = server.new_db("app");
    db.run(setup);
    db.run("VACUUM ANALYZE");
    // On a machine that is busy with other things, shares shift; each statement counts here.
    db.set_thresholds(&[
        ("rewrite_min_share_ratio", 0.0),
        ("seq_scan_min_share_ratio", 0.0),
        ("slow_statement_min_share_ratio", 0.0),
        ("slow_statement_mean_ms", 1.0),
        ("slow_lookup_mean_ms", 1.0),
    ]);
    db.snapshot();
    (server, db)
}

/// Hints by the mark of their statement.
pub(super) fn by_mark(db: &mut Db) -> HashMap<String, Vec<Hint>> {
    let mut all: HashMap<String, Vec<Hint>> = HashMap::new();
    for hint in hints(db) {
        println!("{hint:?}");
        all.entry(mark_of(&hint.query).trim().to_owned()).or_default().push(hint);
    }
    all
}

#[test]
fn names_mean_the_tables_that_executions_read() {
    // Since 18 statements are told apart by the names of tables without their schema: the alias makes each its own.
    let table = |name: &str| {
        let alias = name.replace('.', "_");
        format!(
            "CREATE TABLE {name} (id int, mail text, note text);
             INSERT INTO {name} AS {alias} SELECT i, 'M' || i, repeat('x', 80) FROM generate_series(1, 30000) i;"
        )
    };
    let names =
        ["public.orders", "tenant.orders", "tenant.only_here", "public.gone", "tenant.gone"];
    let tables: String = names.into_iter().map(table).collect();
    let (server, mut db) = watched(&format!("CREATE SCHEMA tenant; {tables}"));
    let mut session = server.db("app");
    session.run("SET search_path = tenant");
    for _ in 0..3 {
        session.run("SELECT /* set */ id, note FROM orders WHERE lower(mail) = 'm17'");
        session.run("SELECT /* hidden */ id FROM only_here WHERE lower(mail) = 'm17'");
        session.run("SELECT /* gone */ id FROM gone WHERE lower(mail) = 'm17'");
        db.run("SELECT /* own */ id FROM orders WHERE lower(mail) = 'm17'");
    }
    // What it read is known by then.
    db.snapshot();
    session.run("DROP TABLE tenant.gone");
    db.snapshot_with_texts(secs(30));
    let mut told = db.texts(
        "SELECT substring(query from '/[*] (\\w+) '), table_name, statement FROM perfmon.rewrite_hints()",
    );
    told.sort();
    let told: Vec<(String, String)> = told
        .into_iter()
        .map(|row| {
            let [mark, table, statement] = <[Option<String>; 3]>::try_from(row).unwrap();
            let table = table.unwrap();
            assert!(statement.unwrap().contains(&format!("ON {table} ((lower(mail)))")));
            (mark.unwrap(), table)
        })
        .collect();
    let expected =
        [("hidden", "tenant.only_here"), ("own", "public.orders"), ("set", "tenant.orders")];
    let expected = expected.map(|(mark, table)| (mark.to_owned(), table.to_owned()));
    assert_eq!(told, expected, "of the table that is gone, nothing is said of its namesake");
    db.evaluate();
    let item = "SELECT value FROM perfmon.status() WHERE item = 'names in statements'";
    let value: String = db.val(item);
    // The one that filled the table, and the one that read it.
    assert!(value.starts_with("2 of ") && value.contains("name what is not there"), "{value}");
}

#[test]
fn a_column_that_a_value_converts_is_told() {
    let (_server, mut db) = watched(
        "CREATE TABLE items (id int PRIMARY KEY, qty bigint, price numeric, note text);
         INSERT INTO items SELECT i, i % 5000, i / 10.0, repeat('x', 80) FROM generate_series(1, 30000) i;
         ALTER TABLE items ADD code char(8), ADD word varchar(9);
         UPDATE items SET code = 'c' || id, word = 'w' || id;
         CREATE INDEX ON items (qty); CREATE INDEX ON items (price); CREATE INDEX ON items (code); CREATE INDEX ON items (word);",
    );
    for (name, types, condition) in [
        ("array", "numeric[]", "/* array */ id = ANY ($1)"),
        ("chars", "text[]", "/* chars */ code = ANY ($1)"),
        ("wide", "bigint[]", "/* twin */ id = ANY ($1)"),
        ("words", "text[]", "/* twin */ word = ANY ($1)"),
    ] {
        db.run(&format!("PREPARE of_{name}({types}) AS SELECT note FROM items WHERE {condition}"));
    }
    let signs = [("<", "ceil"), ("<=", "floor"), (">=", "ceil"), (">", "floor")];
    for _ in 0..3 {
        db.run("SELECT /* equal */ note FROM items WHERE id = 17.5");
        for (n, (sign, _)) in signs.iter().enumerate() {
            let value = if sign.starts_with('<') { 2.5 } else { 4997.5 };
            db.run(&format!(
                "SELECT /* range{n} */ max(note) || {n} FROM items WHERE qty {sign} {value}"
            ));
        }
        db.run("SELECT /* list */ note FROM items WHERE id IN (17.5, 18, 19.25)");
        db.run("EXECUTE of_array('{17.5,18}')");
        db.run("EXECUTE of_chars('{c17,c18}')");
        db.run("EXECUTE of_wide('{17,18}')");
        db.run("EXECUTE of_words('{w17,w18}')");
        db.run("SELECT /* twin */ note, qty FROM items WHERE id IN (17, 18, 19)");
        db.run("SELECT /* twin */ note, code FROM items WHERE code IN ('c17', 'c18')");
        db.run("SELECT /* twin */ note FROM items WHERE id = 17");
        db.run("SELECT /* twin */ count(*) FROM items WHERE price < 17");
        db.run("SELECT /* twin */ max(qty) FROM items WHERE price > 17.5");
        db.run("SELECT /* twin */ note, id FROM items WHERE id = 17 AND qty = 2.5");
    }
    db.snapshot_with_texts(secs(30));
    let told = by_mark(&mut db);
    assert!(!told.contains_key("twin"), "{:?}", told["twin"]);
    let [equal] = &told["equal"][..] else { panic!("{told:?}") };
    assert_eq!((equal.kind.as_str(), equal.same), ("rewrite_cast_on_column", false));
    assert_eq!(equal.expression.as_deref(), Some("(id)::numeric = $1"));
    assert_eq!(equal.better.as_deref(), Some("id = ($1)::integer"));
    assert_eq!(equal.statement, None, "the index is there");
    for (mark, written, better) in [
        ("array", "(id)::numeric = ANY ($1)", "id = ANY (($1)::integer[])"),
        ("chars", "(code)::text = ANY ($1)", "code = ANY (($1)::bpchar[])"),
        (
            "list",
            "(id)::numeric IN ($1, $2, $3)",
            "id IN (($1)::integer, ($2)::integer, ($3)::integer)",
        ),
    ] {
        let [one] = &told[mark][..] else { panic!("{mark}: {told:?}") };
        assert_eq!((one.kind.as_str(), one.same), ("rewrite_cast_on_column", false));
        assert_eq!(one.statement, None, "the index is there");
        // Since 18, a list is told by its first value alone.
        if mark == "list" && one.better.is_none() {
            assert!(db.val::<i32>("SELECT current_setting('server_version_num')::int") >= 180_000);
            assert_eq!(one.expression.as_deref(), Some("((id)::numeric = ANY (?))"));
            continue;
        }
        assert_eq!(
            (one.expression.as_deref(), one.better.as_deref()),
            (Some(written), Some(better))
        );
        let array = mark != "list";
        let bare = better.replace("$1", if array { "'{17,18}'" } else { "17" });
        let bare = bare.replace("$2", "18").replace("$3", "19");
        let plan =
            db.list::<String>(&format!("EXPLAIN SELECT * FROM items WHERE {bare}")).join("\n");
        assert!(plan.contains("Index"), "{plan}");
    }
    // What is put behind max(note) is a parameter, too.
    for (n, (sign, round)) in signs.iter().enumerate() {
        let [range] = &told[&format!("range{n}")][..] else { panic!("{told:?}") };
        let better = range.better.as_ref().unwrap();
        assert!(range.same, "{range:?}");
        assert_eq!(*better, format!("qty {sign} {round}(($2)::numeric)::bigint"));
        // The same rows, of whole numbers and fractions, within the column's values and beyond.
        let wrong: i64 = db.val(&format!(
            "SELECT count(*) FROM (SELECT v, (SELECT count(*) FROM items WHERE qty {sign} v) AS written,
                 (SELECT count(*) FROM items WHERE {}) AS better
             FROM (SELECT round((random() * 5100 - 50)::numeric, n % 3) AS v FROM generate_series(1, 40) n) v) c
             WHERE written <> better",
            better.replace("$2", "v")
        ));
        assert_eq!(wrong, 0, "{better}");
    }
    let better = told["range3"][0].better.as_ref().unwrap().replace("$2", "4997.5");
    let plan = db.list::<String>(&format!("EXPLAIN SELECT * FROM items WHERE {better}")).join("\n");
    assert!(plan.contains("items_qty_idx"), "{plan}");
}

#[test]
fn pairs_are_counted_by_the_rows_that_conditions_left() {
    let (_server, mut db) = watched(
        "CREATE TABLE customers (id int PRIMARY KEY, name text);
         INSERT INTO customers SELECT i, 'c' || i FROM generate_series(1, 200) i;
         CREATE TABLE orders (id int PRIMARY KEY, kind text, state text, note text);
         INSERT INTO orders SELECT i, CASE i % 2 WHEN 0 THEN 'a' ELSE 'b' END,
             CASE WHEN i % 10000 = 0 THEN 'rare' ELSE 'usual' END, repeat('x', 80) FROM generate_series(1, 30000) i;",
    );
    for _ in 0..3 {
        db.run("SELECT /* pairs */ count(*) FROM orders o, customers c WHERE o.kind = 'a'");
        // By statistics, half of them are.
        db.run("SELECT /* twin */ count(*) FROM orders o, customers c WHERE o.state = 'rare'");
        db.run("SELECT /* twin */ count(*) FROM orders o, customers c WHERE o.id = 17");
        db.run("SELECT /* twin */ count(*) FROM orders o, customers c WHERE o.id < 17");
    }
    db.snapshot_with_texts(secs(30));
    let told = by_mark(&mut db);
    assert!(!told.contains_key("twin"), "{:?}", told["twin"]);
    assert!(told["pairs"].iter().any(|one| one.kind == "rewrite_missing_join"), "{told:?}");
}

#[test]
fn work_mem_is_blamed_for_sorts_and_hashes_alone() {
    let (_server, mut db) = watched(
        "CREATE TABLE customers (id int PRIMARY KEY, mail text);
         INSERT INTO customers SELECT i, repeat('m', 60) || i FROM generate_series(1, 60) i;
         CREATE TABLE orders (id int PRIMARY KEY, mail text);
         INSERT INTO orders SELECT i, repeat('m', 60) || -i FROM generate_series(1, 30000) i;",
    );
    db.run("SET work_mem = '64kB'; SET hash_mem_multiplier = 1");
    for _ in 0..6 {
        db.run("SELECT /* notin */ count(*) FROM customers WHERE mail NOT IN (SELECT mail FROM orders)");
        db.run("SELECT /* sort */ max(m) FROM (SELECT mail AS m FROM orders ORDER BY mail OFFSET 10) s");
        db.run(
            "WITH o AS MATERIALIZED (SELECT mail FROM orders) SELECT /* with */ count(*) FROM o",
        );
    }
    db.snapshot_with_texts(secs(30));
    let rows = db.texts(
        "SELECT substring(query from '/[*] (\\w+) '), cause, remedy, severity FROM perfmon.slow_statements()",
    );
    let row = |mark: &str| {
        let found = rows.iter().find(|row| row[0].as_deref() == Some(mark));
        let row = found.unwrap_or_else(|| panic!("{mark}: {rows:#?}"));
        [1, 2, 3].map(|column: usize| row[column].clone().unwrap())
    };
    let [cause, remedy, severity] = row("notin");
    assert!(cause.contains("NOT IN") && !cause.contains("work_mem"), "{cause}");
    assert!(remedy.contains("rewrite_not_in") && !remedy.contains("work_mem"), "{remedy}");
    assert_ne!(severity, "info", "however seldom it runs");
    let [cause, remedy, _] = row("sort");
    assert!(cause.contains("The sort") || cause.contains("the sort"), "{cause}");
    assert!(remedy.contains("work_mem"), "{remedy}");
    let [cause, remedy, _] = row("with");
    assert!(cause.contains("No sort and no hash"), "{cause}");
    assert!(!remedy.contains("work_mem"), "{remedy}");
    let told = by_mark(&mut db);
    assert!(told["notin"].iter().any(|one| one.kind == "rewrite_not_in"), "{told:?}");
}

#[test]
fn fixed_beginnings_need_no_trigrams() {
    let table = |name: &str| {
        format!(
            "CREATE TABLE {name} (id int PRIMARY KEY, mail text, note text);
             INSERT INTO {name} SELECT i, 'M' || i, repeat('x', 80) FROM generate_series(1, 30000) i;"
        )
    };
    let (_server, mut db) = watched(
        &["beginning", "within", "mixed", "folded"].map(table).join("").replace("note", "filler"),
    );
    db.run("CREATE EXTENSION pg_trgm");
    for i in 0..8 {
        db.run("SELECT id FROM beginning WHERE mail LIKE 'M171%'");
        db.run("SELECT id FROM within WHERE mail LIKE '%171%'");
        let pattern = if i % 2 == 0 { "M171%" } else { "%171" };
        db.run(&format!("SELECT id FROM mixed WHERE mail LIKE '{pattern}'"));
        db.run("SELECT id FROM folded WHERE mail ILIKE 'm171%'");
    }
    db.flush();
    db.snapshot_with_texts(secs(30));
    let rows = db.texts("SELECT table_name, statement FROM perfmon.seq_scans()");
    let of = |table: &str| {
        let row = rows.iter().find(|row| row[0].as_deref() == Some(table));
        row.and_then(|row| row[1].clone()).unwrap_or_else(|| panic!("{table}: {rows:#?}"))
    };
    assert!(of("public.beginning").ends_with("ON public.beginning (mail text_pattern_ops);"));
    for table in ["public.within", "public.mixed", "public.folded"] {
        assert!(of(table).contains("gin_trgm_ops"), "{table}: {rows:#?}");
    }
    // It does what it promises.
    let count = "SELECT count(*) FROM beginning WHERE mail LIKE 'M171%'";
    db.run(&of("public.beginning"));
    let plan = db.list::<String>(&format!("EXPLAIN {count}")).join("\n");
    assert!(plan.contains("beginning_mail_idx"), "{plan}");
}
