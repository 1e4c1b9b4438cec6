//! Scans by expressions whose constants are not kept, by arrays of numbers, in tables from which others inherit, and by
//! expressions that plans and texts write differently; and executions that are left before their end.

use perfmon_e2e::secs;

use super::seen::{by_mark, watched};

/// Mark of the statement, table, statement to run and remedy of each scan.
type Scan = (String, String, Option<String>, String);

fn scans(db: &mut perfmon_e2e::Db) -> Vec<Scan> {
    let rows = db.rows(
        "SELECT substring(query from '/[*] (\\w+) '), table_name, statement, remedy FROM perfmon.seq_scans() ORDER BY 1",
    );
    let scans: Vec<Scan> =
        rows.iter().map(|row| (row.get(0), row.get(1), row.get(2), row.get(3))).collect();
    scans.iter().for_each(|scan| println!("{scan:?}"));
    scans
}

#[test]
fn scans_by_expressions_with_constants_are_told_in_words() {
    let (_server, mut db) = watched(
        "CREATE TABLE visits (id int PRIMARY KEY, at timestamp, body text, j jsonb);
         INSERT INTO visits SELECT i, timestamp '2024-01-01' + i * interval '1 minute', 'body ' || i,
             jsonb_build_object('a', i) FROM generate_series(1, 30000) i;
         CREATE TABLE served (id int PRIMARY KEY, at timestamp);
         INSERT INTO served SELECT i, timestamp '2024-01-01' + i * interval '1 minute' FROM generate_series(1, 30000) i;
         CREATE INDEX ON visits (at); CREATE INDEX ON served ((extract(year FROM at)));
         CREATE INDEX ON visits ((j ->> 'b'));",
    );
    // As if the history were old: what was there before its window began is known.
    db.run("UPDATE perfmon.object SET first_seen = first_seen - interval '1 day' WHERE family = 'index'");
    for _ in 0..6 {
        db.run("SELECT /* year */ id FROM visits WHERE extract(year FROM at) = 2031");
        db.run("SELECT /* shown */ id FROM visits WHERE to_char(at, 'YYYY-MM') = '2031-01'");
        db.run("SELECT /* json */ id FROM visits WHERE j ->> 'a' = 'x'");
        db.run("SELECT /* piece */ id FROM visits WHERE substr(body, 6, 5) = '29999'");
        db.run("SELECT /* twin */ id FROM visits WHERE id % 2 = 1 AND id > 0");
        db.run("SELECT /* twin */ id FROM served WHERE extract(year FROM at) = 2031");
    }
    db.run("SELECT pg_stat_force_next_flush()");
    db.snapshot_with_texts(secs(30));
    let marks = ["json", "piece", "shown", "year"];
    let found = scans(&mut db);
    let told: Vec<&str> = found.iter().map(|scan| scan.0.as_str()).collect();
    assert_eq!(told, marks);
    for (mark, table, statement, remedy) in &found {
        assert_eq!((table.as_str(), statement), ("public.visits", &None), "{mark}");
        let no_index = remedy.starts_with("No index can be on to_char(");
        assert_eq!(no_index, mark == "shown", "{remedy}");
        assert!(no_index || remedy.starts_with("Create an index on the expression"), "{remedy}");
        let constants = ["2031", "29999", "'x'"].iter().filter(|one| remedy.contains(*one));
        assert_eq!(constants.count(), 0, "{remedy}");
    }
    let hints = by_mark(&mut db);
    for mark in marks {
        let [hint] = &hints[mark][..] else { panic!("{mark}: {hints:?}") };
        assert_eq!(hint.kind, "rewrite_function_on_column");
        assert!(hint.expression.as_ref().is_some_and(|text| text.contains('$')), "{hint:?}");
        assert_eq!((&hint.better, &hint.statement), (&None, &None), "{hint:?}");
    }
    // An index on date_part(…), which gives numbers of another type, would serve nothing of this.
    let year = hints["year"][0].expression.as_deref();
    assert_eq!(year, Some("\"extract\"($1, visits.at) = $2"));
    assert!(!hints.contains_key("twin"), "{hints:?}");
    db.evaluate();
    let finding =
        "SELECT cause FROM perfmon.findings WHERE kind = 'seq_scan' AND object = 'public.visits'";
    let cause: String = db.val(finding);
    assert!(cause.contains("for which no index serves"), "{cause}");
}

#[test]
fn arrays_children_and_silent_casts_have_their_index() {
    let (_server, mut db) = watched(
        "CREATE TABLE tagged (id int PRIMARY KEY, tags int[]);
         INSERT INTO tagged SELECT i, ARRAY[i, i + 1] FROM generate_series(1, 30000) i;
         CREATE TABLE p (id int, q int); CREATE TABLE c1 () INHERITS (p); CREATE TABLE c2 () INHERITS (p);
         INSERT INTO c1 SELECT i, i FROM generate_series(1, 20000) i;
         INSERT INTO c2 SELECT i, i FROM generate_series(1, 30000) i;
         CREATE TABLE named (id int PRIMARY KEY, vc varchar(40), filler text);
         INSERT INTO named SELECT i, 'Abc' || i, repeat('x', 80) FROM generate_series(1, 30000) i;",
    );
    for _ in 0..6 {
        db.run("SELECT /* array */ id FROM tagged WHERE tags @> ARRAY[77]");
        db.run("SELECT /* child */ id FROM p WHERE q = 55");
        db.run("SELECT /* lower */ id FROM named WHERE lower(vc) LIKE 'abc17%'");
    }
    db.run("SELECT pg_stat_force_next_flush()");
    db.snapshot_with_texts(secs(30));
    let found = scans(&mut db);
    let proposed: Vec<(&str, &str)> =
        found.iter().map(|scan| (scan.0.as_str(), scan.2.as_deref().unwrap_or(""))).collect();
    let expected = [
        ("array", "CREATE INDEX CONCURRENTLY ON public.tagged USING gin (tags);"),
        (
            "child",
            "CREATE INDEX CONCURRENTLY ON public.c2 (q);\nCREATE INDEX CONCURRENTLY ON public.c1 (q);",
        ),
        (
            "lower",
            "CREATE INDEX CONCURRENTLY ON public.named ((lower((vc)::text)) text_pattern_ops);",
        ),
    ];
    assert_eq!(proposed, expected);
    let named: Vec<String> = db.list(
        "SELECT expression FROM perfmon.predicates() WHERE table_name = 'public.named' AND usage = 'pattern'",
    );
    assert_eq!(named, ["lower(vc)"], "the text's own words for it are no other expression");
    for (_, statements) in expected {
        for statement in statements.lines() {
            db.run(statement);
        }
    }
    let plans = [
        ("SELECT id FROM tagged WHERE tags @> ARRAY[77]", "tagged_tags_idx"),
        ("SELECT id FROM p WHERE q = 55", "c1_q_idx"),
        ("SELECT id FROM named WHERE lower(vc) LIKE 'abc17%'", "named_lower_idx"),
    ];
    for (query, index) in plans {
        let plan = db.list::<String>(&format!("EXPLAIN {query}")).join("\n");
        assert!(plan.contains(index), "{plan}");
    }
}

#[test]
fn what_was_fetched_in_part_is_not_misjudged() {
    let (_server, mut db) = watched(
        "CREATE TABLE a (id int); INSERT INTO a SELECT generate_series(1, 2000);
         CREATE TABLE b (id int); INSERT INTO b SELECT generate_series(1, 200);",
    );
    for _ in 0..4 {
        let mut transaction = db.transaction().unwrap();
        let part = "SELECT /* part */ a.id, b.id FROM a CROSS JOIN b";
        let portal = transaction.bind(part, &[]).unwrap();
        for rows in [20, 10] {
            assert_eq!(transaction.query_portal(&portal, rows).unwrap().len(), rows as usize);
        }
        transaction.commit().unwrap();
    }
    db.run("SELECT /* whole */ count(*) FROM a JOIN b ON a.id + b.id < 0");
    db.snapshot_with_texts(secs(30));
    let seen: i64 = db.val(
        "SELECT count(*) FROM perfmon.scan_evidence() WHERE node = 'seq_scan' AND query LIKE '%/* part */%'",
    );
    assert!(seen > 0, "its executions are looked into");
    let misjudged: Vec<String> = db.list(
        "SELECT e.query FROM perfmon.scan_evidence() e WHERE e.node = 'nested_loop' AND e.misestimates > 0",
    );
    assert!(misjudged.iter().any(|query| query.contains("/* whole */")), "{misjudged:?}");
    assert!(!misjudged.iter().any(|query| query.contains("/* part */")), "{misjudged:?}");
}
