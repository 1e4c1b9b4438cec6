use super::*;
use crate::capture::scan::{Kind, Slot};
use crate::facts::Evidence as Shown;
use crate::facts::{Database, Predicate, Server, Shape, Window};
use crate::finding::Finding;

mod beyond;
mod conditions;
mod unproposed;

fn table() -> Table {
    Table {
        oid: 10,
        name: "public.orders".to_owned(),
        rows: Some(200_000.0),
        table_bytes: Some(2_000 * 8192),
        window: Some(Activity { seq_scan: 400, seq_tup_read: 80_000_000, ..Activity::default() }),
        first_half: Some(Activity {
            seq_scan: 100,
            seq_tup_read: 20_000_000,
            ..Activity::default()
        }),
        columns: vec![crate::facts::Column {
            attnum: 2,
            name: "customer_id".to_owned(),
            distinct: Some(20_000.0),
            ..Default::default()
        }],
        ..Table::default()
    }
}

fn by(test: Test) -> Shape {
    let predicate =
        Predicate { expression: "customer_id".to_owned(), attnum: 2, test, join: false, other: 0 };
    let table =
        TableUse { oid: 10, read: true, predicates: vec![predicate], ..TableUse::default() };
    Shape { tables: vec![table], ..Shape::default() }
}

fn reader(shape: Shape) -> Statement {
    Statement {
        statement_id: 5,
        toplevel: true,
        command: Some("SELECT".to_owned()),
        calls: 400,
        exec_ms: 400.0 * 20.0,
        rows: 400 * 10,
        blks_hit: 400 * 2_000,
        shape: Some(shape),
        ..Statement::default()
    }
}

fn facts(table: Table, statement: Statement) -> Facts {
    Facts {
        window: Window {
            since_us: 0,
            until_us: 3_600_000_000,
            covered_us: 3_600_000_000,
            intervals: 60,
        },
        database: Database { exec_ms: Some(20_000.0), ..Database::default() },
        server: Server { block_bytes: 8192, ..Server::default() },
        statements: Some(vec![statement]),
        tables: Some(vec![table]),
        indexes: Some(Vec::new()),
        ..Facts::default()
    }
}

fn found(table: Table, statement: Statement) -> Vec<Finding> {
    let mut judgement = Judgement::default();
    detect(&facts(table, statement), &Thresholds::default(), &mut judgement);
    judgement.findings
}

#[test]
fn a_look_up_without_an_index_is_found_with_its_statement_and_column() {
    let all = found(table(), reader(by(Test::Equal)));
    assert_eq!(all.len(), 1);
    let f = &all[0];
    assert_eq!((f.object.as_str(), f.severity), ("public.orders", Severity::Warning));
    let ddl = "CREATE INDEX CONCURRENTLY ON public.orders (customer_id);";
    assert_eq!(f.statement.as_deref(), Some(ddl));
    assert!(
        f.cause.as_ref().is_some_and(|c| c.contains("Statement 5") && c.contains("customer_id")),
        "{f:?}"
    );
    let saved = f.impact.saved_ms_per_hour.unwrap();
    assert!((7_900.0..=8_000.0).contains(&saved), "{saved}");
    assert_eq!(f.helped.len(), 1);
    let trend = f.evidence.iter().find(|e| e.metric.starts_with("second_half")).unwrap();
    assert_eq!(trend.value, crate::finding::Value::Number(3.0));
}

#[test]
fn near_twins_stay_silent() {
    let silent = |why: &str, table: Table, s: Statement| {
        assert_eq!(found(table, s), Vec::new(), "{why}");
    };
    let with = |change: &dyn Fn(&mut Table)| {
        let mut t = table();
        change(&mut t);
        t
    };
    let reads = |change: &dyn Fn(&mut Statement)| {
        let mut s = reader(by(Test::Equal));
        change(&mut s);
        s
    };
    silent("a small table", with(&|t| t.rows = Some(900.0)), reads(&|_| {}));
    silent("few bytes", with(&|t| t.table_bytes = Some(100_000)), reads(&|_| {}));
    silent("a catalog", with(&|t| t.internal = true), reads(&|_| {}));
    let seldom = Activity { seq_scan: 2, seq_tup_read: 400_000, ..Activity::default() };
    silent("read twice", with(&|t| t.window = Some(seldom)), reads(&|s| s.calls = 2));
    let early = Activity { seq_scan: 400, seq_tup_read: 4_000, ..Activity::default() };
    silent("scans that stop early", with(&|t| t.window = Some(early)), reads(&|_| {}));
    silent("rows that are all wanted", table(), reads(&|s| s.rows = 400 * 150_000));
    silent("no condition", table(), reads(&|s| s.shape = Some(by(Test::Other))));
    silent("served by an index", table(), reads(&|s| s.blks_hit = 400 * 5));
    silent("a share that nobody feels", table(), reads(&|s| s.exec_ms = 50.0));
    silent(
        "another table's statement",
        table(),
        reads(&|s| {
            s.shape = Some(Shape::default());
        }),
    );
    let all = Shape { aggregates: true, ..by(Test::Range) };
    silent("an analysis over a range", table(), reads(&|s| s.shape = Some(all.clone())));
}

#[test]
fn an_aggregate_over_a_few_rows_is_a_look_up_too() {
    let count = Shape { aggregates: true, ..by(Test::Equal) };
    assert_eq!(found(table(), reader(count.clone())).len(), 1);
    let mut coarse = table();
    coarse.columns[0].distinct = Some(4.0);
    assert_eq!(found(coarse, reader(count)), Vec::new(), "a quarter of the table");
}

#[test]
fn an_index_that_serves_ends_it_at_once() {
    let mut facts = facts(table(), reader(by(Test::Equal)));
    facts.indexes = Some(vec![Index {
        table: 10,
        method: "btree".to_owned(),
        key: vec![crate::facts::KeyPart {
            attnum: 2,
            expression: "customer_id".to_owned(),
            ..Default::default()
        }],
        valid: true,
        ready: true,
        live: true,
        ..Index::default()
    }]);
    assert_eq!(scans(&facts, &Thresholds::default()), Vec::new());
}

#[test]
fn partitions_stand_together_under_their_parent() {
    let half = |oid: u32| {
        let one = Activity { seq_scan: 400, seq_tup_read: 40_000_000, ..Activity::default() };
        Table {
            oid,
            name: format!("public.part_{oid}"),
            parent: Some(10),
            rows: Some(100_000.0),
            table_bytes: Some(1_000 * 8192),
            window: Some(one),
            first_half: None,
            ..table()
        }
    };
    let parent = Table {
        partitioned: true,
        rows: None,
        table_bytes: None,
        window: None,
        first_half: None,
        ..table()
    };
    let mut facts = facts(parent, reader(by(Test::Equal)));
    facts.tables.as_mut().unwrap().extend([half(11), half(12)]);
    let all = scans(&facts, &Thresholds::default());
    assert_eq!(all.len(), 1);
    assert_eq!(
        (all[0].table.name.as_str(), all[0].activity.seq_tup_read),
        ("public.orders", 80_000_000)
    );
    assert_eq!(all[0].activity.seq_scan, 400, "each execution scans each partition");
    let (_, ddl) = remedy(&all[0]);
    assert_eq!(ddl.as_deref(), Some("CREATE INDEX ON public.orders (customer_id);"));
}

#[test]
fn critical_needs_a_real_loss() {
    let mut busy = reader(by(Test::Equal));
    busy.exec_ms = 15_000.0;
    assert_eq!(found(table(), busy.clone())[0].severity, Severity::Warning);
    let mut facts = facts(table(), Statement { exec_ms: 1_500_000.0, ..busy });
    facts.database.exec_ms = Some(2_000_000.0);
    let mut judgement = Judgement::default();
    detect(&facts, &Thresholds::default(), &mut judgement);
    assert_eq!(judgement.findings[0].severity, Severity::Critical);
}

#[test]
fn nothing_is_said_where_nothing_is_known() {
    let mut judgement = Judgement::default();
    detect(&Facts::default(), &Thresholds::default(), &mut judgement);
    assert_eq!((judgement.findings.len(), judgement.unjudged), (0, vec![SCAN]));
    let unread = facts(table(), Statement { shape: None, ..reader(by(Test::Equal)) });
    let mut judgement = Judgement::default();
    detect(&unread, &Thresholds::default(), &mut judgement);
    assert_eq!(judgement.unjudged, vec![SCAN], "texts that may not be read");
}

/// The table's look-ups by customer, and another statement of the same time that reads it too.
fn with_another(shape: Shape) -> Facts {
    let one = reader(by(Test::Equal));
    let other = Statement { statement_id: 6, exec_ms: one.exec_ms / 2.0, ..reader(shape) };
    let mut facts = facts(table(), one);
    facts.statements.as_mut().unwrap().push(other);
    facts
}

fn on(attnum: i16, expression: &str, test: Test) -> Predicate {
    Predicate { expression: expression.to_owned(), attnum, test, join: false, other: 0 }
}

fn looks(predicates: Vec<Predicate>) -> Shape {
    let table = TableUse { oid: 10, read: true, predicates, ..TableUse::default() };
    Shape { tables: vec![table], ..Shape::default() }
}

fn judged(facts: &Facts) -> Finding {
    let mut judgement = Judgement::default();
    detect(facts, &Thresholds::default(), &mut judgement);
    assert_eq!(judgement.findings.len(), 1);
    judgement.findings.remove(0)
}

#[test]
fn only_what_the_index_serves_counts_as_gain() {
    let alone = judged(&facts(table(), reader(by(Test::Equal))));
    let rest = "Other statements";
    assert!(!alone.remedy.contains(rest));
    // A pattern is not found by a B-tree in the order of the type, nor is another column.
    for (what, shape, how) in [
        ("a pattern", by(Test::Pattern), "in another way"),
        ("another column", looks(vec![on(3, "status", Test::Equal)]), "by other columns"),
    ] {
        let both = judged(&with_another(shape));
        assert_eq!(both.impact.saved_ms_per_hour, alone.impact.saved_ms_per_hour, "{what}");
        assert_eq!(both.helped, alone.helped, "{what}");
        assert_eq!(both.statement, alone.statement, "{what}");
        assert!(both.share_ratio > alone.share_ratio, "{what}: all that is wasted");
        assert!(both.remedy.contains(&format!("{rest} look rows up {how},")), "{}", both.remedy);
    }
}

#[test]
fn what_the_index_serves_too_counts_as_gain() {
    let alone = judged(&facts(table(), reader(by(Test::Equal))));
    // A wider index serves both; the narrow one alone would not.
    let wide = looks(vec![on(2, "customer_id", Test::Equal), on(3, "status", Test::Range)]);
    let mut facts = with_another(wide);
    facts.tables.as_mut().unwrap()[0].columns[0].distinct = Some(1_000.0);
    let both = judged(&facts);
    assert_eq!(both.helped.len(), 2, "{both:?}");
    let ddl = "CREATE INDEX CONCURRENTLY ON public.orders (customer_id, status);";
    assert_eq!(both.statement.as_deref(), Some(ddl));
    assert!(both.impact.saved_ms_per_hour > alone.impact.saved_ms_per_hour);
    assert!(!both.remedy.contains("Other statements"), "{}", both.remedy);
}

#[test]
fn an_index_for_prefixes_finds_whole_values_too() {
    let both = judged(&with_another(by(Test::Prefix)));
    let ddl = "CREATE INDEX CONCURRENTLY ON public.orders (customer_id text_pattern_ops);";
    assert_eq!(both.statement.as_deref(), Some(ddl));
    assert_eq!(both.helped.len(), 2);
    // Ranges in the order of the type are not found by it.
    let apart = judged(&{
        let mut facts = with_another(by(Test::Prefix));
        facts.statements.as_mut().unwrap()[0].shape = Some(by(Test::Between));
        facts
    });
    assert_eq!(apart.helped.len(), 1, "{apart:?}");
}

#[test]
fn a_statement_that_the_index_does_not_serve_has_its_own() {
    let facts = with_another(looks(vec![on(3, "status", Test::Equal)]));
    let all = scans(&facts, &Thresholds::default());
    let ddl: Vec<_> = all[0].readers.iter().map(|r| remedy_of(&all[0], r).1.unwrap()).collect();
    let on = |column| format!("CREATE INDEX CONCURRENTLY ON public.orders ({column});");
    assert_eq!(ddl, [on("customer_id"), on("status")]);
}

/// What executions of the reader showed.
fn seen(kind: Kind, table: &str, read: u64, kept: u64) -> Shown {
    let mut one = crate::facts::evidence::tests::evidence(5, kind, table, "customer_id", 10);
    one.counts.set(Slot::Read, read * 10);
    one.counts.set(Slot::Kept, kept * 10);
    one
}

fn with_evidence(statement: Statement, evidence: Vec<Shown>) -> Vec<Finding> {
    let mut facts = facts(table(), statement);
    facts.evidence = Some(evidence);
    let mut judgement = Judgement::default();
    detect(&facts, &Thresholds::default(), &mut judgement);
    judgement.findings
}

#[test]
fn what_was_seen_is_believed_more_than_what_is_likely() {
    let scan = |read, kept| vec![seen(Kind::SeqScan, "public.orders", read, kept)];
    let own = || reader(by(Test::Equal));
    let found = with_evidence(own(), scan(200_000, 10));
    assert_eq!(found.len(), 1);
    let value = |metric: &str| {
        found[0].evidence.iter().find(|e| e.metric == metric).map(|e| e.value.clone())
    };
    assert_eq!(value("rows_read_per_row_kept"), Some(crate::finding::Value::Number(20_000.0)));
    assert!(value("samples").is_some());
    // Many rows of a join result say nothing of what the scan kept.
    let joined = Statement { rows: 400 * 150_000, ..own() };
    assert_eq!(with_evidence(joined.clone(), Vec::new()), Vec::new());
    assert_eq!(with_evidence(joined, scan(200_000, 10)).len(), 1);
    // An aggregate over a column that tells little apart, of which few rows are asked for.
    let count = Statement { shape: Some(Shape { aggregates: true, ..by(Test::Equal) }), ..own() };
    assert_eq!(with_evidence(count, scan(200_000, 10)).len(), 1);
}

#[test]
fn what_was_seen_silences_what_is_likely() {
    let own = || reader(by(Test::Equal));
    let silent = |why: &str, evidence: Vec<Shown>| {
        assert_eq!(with_evidence(own(), evidence), Vec::new(), "{why}");
    };
    let scan = |read, kept| vec![seen(Kind::SeqScan, "public.orders", read, kept)];
    silent("most rows are kept", scan(200_000, 150_000));
    silent("it stops early", scan(500, 1));
    silent("an index is taken", vec![seen(Kind::IndexScan, "public.orders", 200_000, 10)]);
    silent("another table is scanned", vec![seen(Kind::SeqScan, "public.other", 200_000, 10)]);
    let mut once = seen(Kind::SeqScan, "public.other", 200_000, 10);
    once.statement_samples = 1;
    assert_eq!(
        with_evidence(own(), vec![once]).len(),
        1,
        "one execution says nothing of the others"
    );
    let mut other = seen(Kind::SeqScan, "public.orders", 500, 1);
    other.statement_id = 6;
    assert_eq!(with_evidence(own(), vec![other]).len(), 1, "nor does another statement");
}

#[test]
fn partitions_are_counted_once() {
    let part = |oid, parent, partitioned, rows| Table {
        oid,
        parent,
        partitioned,
        rows: Some(rows),
        // The server knows the whole of what is partitioned: by ANALYZE, since 14.
        table_bytes: Some(if partitioned { 0 } else { 1_000 * 8192 }),
        window: (!partitioned).then(|| table().window.unwrap()),
        name: format!("public.p{oid}"),
        ..table()
    };
    let mut facts = facts(part(10, None, true, 200_000.0), reader(by(Test::Equal)));
    facts.tables.as_mut().unwrap().extend([
        part(11, Some(10), true, 100_000.0),
        part(12, Some(11), false, 100_000.0),
        part(13, Some(10), false, 100_000.0),
    ]);
    let all = scans(&facts, &Thresholds::default());
    let [whole] = all.as_slice() else { panic!("{all:?}") };
    assert_eq!(whole.table.rows, Some(200_000.0));
    assert_eq!(whole.table.table_bytes, Some(2_000 * 8192));
    // Children of a table that holds rows itself come on top of them.
    let tables = facts.tables.as_mut().unwrap();
    tables.iter_mut().for_each(|t| t.partitioned = false);
    let all = scans(&facts, &Thresholds::default());
    assert_eq!(all[0].table.rows, Some(500_000.0));
}
