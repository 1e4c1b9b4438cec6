use super::*;
use crate::capture::scan::Kind;
use crate::detect::samples::{found, healthy, silent, statement, table, the};
use crate::facts::evidence::tests::evidence;
use crate::facts::{
    Column, ForeignKey, Index, KeyPart, Offset, Order, Predicate, Returned, Shape, TableUse, Test,
};
use crate::finding::Value;

mod offsets;
mod promised;
mod seen;
mod unkept;
mod values;

fn column(attnum: i16, name: &str, not_null: bool) -> Column {
    Column { attnum, name: name.to_owned(), not_null, ..Column::default() }
}

fn key(attnum: i16, expression: &str) -> KeyPart {
    KeyPart { attnum, expression: expression.to_owned(), ..KeyPart::default() }
}

fn index(table: u32, key: Vec<KeyPart>) -> Index {
    Index { table, key, method: "btree".to_owned(), valid: true, ..Index::default() }
}

fn primary(table: u32) -> Index {
    Index { unique: true, primary: true, ..index(table, vec![key(1, "id")]) }
}

fn form(kind: FormKind) -> Form {
    Form {
        kind,
        tables: vec![1],
        attnum: 2,
        expression: "f(created_at) = $1".to_owned(),
        better: None,
        indexable: None,
        inside: false,
        guessed: false,
    }
}

fn reading(oid: u32) -> TableUse {
    TableUse { oid, read: true, ..TableUse::default() }
}

/// A shop whose third statement has this shape, touches thousands of blocks for two rows, and takes a tenth of
/// the time.
fn shop(shape: Shape) -> Facts {
    let mut facts = healthy();
    for (oid, table) in facts.tables.as_mut().expect("tables").iter_mut().enumerate() {
        table.columns =
            vec![column(1, "id", true), column(2, "created_at", true), column(3, "note", false)];
        assert_eq!(table.oid as usize, oid + 1);
    }
    facts.indexes = Some(vec![primary(1), primary(2), index(1, vec![key(2, "created_at")])]);
    let mut s = statement(3, 1_000, 200.0);
    s.rows = 2_000;
    s.blks_hit = 5_000_000;
    s.share_ratio = Some(0.1);
    s.plan_ms = Some(50.0);
    s.plans = Some(1_000);
    s.shape = Some(shape);
    facts.statements.as_mut().expect("statements").push(s);
    facts
}

fn with(form: Form) -> Facts {
    shop(Shape { tables: vec![reading(1)], forms: vec![form], ..Shape::default() })
}

fn third(facts: &mut Facts) -> &mut Statement {
    facts.statements.as_mut().expect("statements").last_mut().expect("one")
}

fn rows_of(facts: &mut Facts, rows: f64) {
    facts.tables.as_mut().expect("tables")[0].rows = Some(rows);
}

#[test]
fn a_function_on_an_indexed_column_has_its_range() {
    let better = Some("created_at >= $1 AND created_at < $1 + 1".to_owned());
    let dated = || Form { better: better.clone(), ..form(FormKind::Dated { zoned: false }) };
    let facts = with(dated());
    let finding = the(&DETECTOR, &facts, FUNCTION);
    assert_eq!((finding.object.as_str(), finding.severity), ("statement 3", Severity::Warning));
    assert_eq!(finding.subject, "public.orders.created_at");
    assert_eq!(finding.statement, None, "the index is there");
    assert!(finding.remedy.contains("perfmon.rewrite_hints()"), "{}", finding.remedy);
    assert!(finding.risk.is_empty(), "it means the same: {}", finding.risk);
    // 5,000 blocks for two rows: all but those of a look-up are saved.
    let saved = finding.impact.saved_ms_per_hour.expect("a promise");
    assert!((saved - 200_000.0 * (1.0 - 10.0 / 5000.0)).abs() < 1.0, "{saved}");
    assert!(
        !finding.title.contains('$') && !finding.remedy.contains('$'),
        "no text of a statement"
    );
    let t = Thresholds::default();
    let hints = hints(&facts, &t);
    assert_eq!(hints[0].better, better);
    // Where the column has no index, it is wanted too.
    let mut bare = with(dated());
    bare.indexes = Some(vec![primary(1)]);
    let sql = the(&DETECTOR, &bare, FUNCTION).statement.expect("an index");
    assert_eq!(sql, "CREATE INDEX CONCURRENTLY ON public.orders (created_at);");
    // Times with a zone are for a human to look at.
    let zoned = with(Form { better, ..form(FormKind::Dated { zoned: true }) });
    assert!(the(&DETECTOR, &zoned, FUNCTION).risk.contains("midnight"));
}

#[test]
fn an_expression_gets_an_index_unless_it_has_one() {
    let computed =
        Form { indexable: Some("lower(note)".to_owned()), attnum: 3, ..form(FormKind::Computed) };
    let facts = with(computed.clone());
    let finding = the(&DETECTOR, &facts, FUNCTION);
    let sql = finding.statement.expect("an index");
    assert_eq!(sql, "CREATE INDEX CONCURRENTLY ON public.orders ((lower(note)));");
    let mut served = facts.clone();
    served.indexes.as_mut().expect("indexes").push(index(1, vec![key(0, "(lower(note))")]));
    silent(&DETECTOR, &served, FUNCTION);
    let of_settings = Form { indexable: None, ..computed };
    silent(&DETECTOR, &with(of_settings), FUNCTION);
}

#[test]
fn what_is_small_quick_or_rare_is_left_in_peace() {
    let facts =
        || with(Form { better: Some("x".into()), ..form(FormKind::Dated { zoned: false }) });
    the(&DETECTOR, &facts(), FUNCTION);
    let mut small = facts();
    rows_of(&mut small, 500.0);
    silent(&DETECTOR, &small, FUNCTION);
    let mut unknown = facts();
    unknown.tables.as_mut().expect("tables")[0].rows = None;
    silent(&DETECTOR, &unknown, FUNCTION);
    let mut quick = facts();
    third(&mut quick).blks_hit = 4_000;
    silent(&DETECTOR, &quick, FUNCTION);
    let mut rare = facts();
    third(&mut rare).share_ratio = Some(0.001);
    silent(&DETECTOR, &rare, FUNCTION);
    let mut little = facts();
    third(&mut little).share_ratio = Some(0.02);
    assert_eq!(the(&DETECTOR, &little, FUNCTION).severity, Severity::Info);
    let mut nested = facts();
    third(&mut nested).toplevel = false;
    silent(&DETECTOR, &nested, FUNCTION);
}

#[test]
fn partitions_make_a_table_large() {
    let mut facts = with(Form { better: Some("x".into()), ..form(FormKind::Defaulted) });
    let tables = facts.tables.as_mut().expect("tables");
    (tables[0].partitioned, tables[0].rows) = (true, Some(0.0));
    silent(&DETECTOR, &facts, FUNCTION);
    for oid in [8, 9] {
        let part = Table { parent: Some(1), ..table(oid, "public.orders_1", 6_000) };
        facts.tables.as_mut().expect("tables").push(part);
    }
    the(&DETECTOR, &facts, FUNCTION);
}

#[test]
fn a_silent_conversion_is_told_with_both_types() {
    let kind = |joined| FormKind::Converted {
        column: "integer".to_owned(),
        to: "numeric".to_owned(),
        joined,
    };
    let better = Some("id = ($1)::integer".to_owned());
    let finding = the(&DETECTOR, &with(Form { better, ..form(kind(false)) }), CAST);
    assert!(finding.title.contains("as numeric, although it is integer"), "{}", finding.title);
    assert!(finding.risk.contains("round"), "{}", finding.risk);
    let joined = the(&DETECTOR, &with(form(kind(true))), CAST);
    assert!(joined.remedy.starts_with("Give both columns one type"), "{}", joined.remedy);
}

#[test]
fn between_is_one_finding_and_two_hints() {
    let half = |expression: &str| Form {
        better: Some("x".into()),
        expression: expression.to_owned(),
        ..form(FormKind::Dated { zoned: false })
    };
    let forms = vec![half("f >= $1"), half("f <= $2")];
    let facts = shop(Shape { tables: vec![reading(1)], forms, ..Shape::default() });
    the(&DETECTOR, &facts, FUNCTION);
    let t = Thresholds::default();
    assert_eq!(hints(&facts, &t).len(), 2);
}

#[test]
fn a_wildcard_at_the_beginning_wants_trigrams() {
    let pattern = Form {
        indexable: Some("note".to_owned()),
        attnum: 3,
        ..form(FormKind::Wildcard { known: true, of: crate::facts::Patterned::Text })
    };
    let mut facts = with(pattern);
    assert_eq!(the(&DETECTOR, &facts, WILDCARD).statement, None, "not on this machine");
    facts.server.available_extensions.push("pg_trgm".to_owned());
    let sql = the(&DETECTOR, &facts, WILDCARD).statement.expect("an index");
    assert!(sql.ends_with("ON public.orders USING gin (note gin_trgm_ops);"), "{sql}");
    let gin = Index { method: "gin".to_owned(), ..index(1, vec![key(3, "note")]) };
    facts.indexes.as_mut().expect("indexes").push(gin);
    silent(&DETECTOR, &facts, WILDCARD);
}

/// A pattern that is a parameter, in executions of which so many had a pattern of the kind.
fn sought(begins: Option<&str>, column: &str, executions: u64) -> Facts {
    let kind = FormKind::Wildcard { known: false, of: crate::facts::Patterned::Text };
    let mut facts = with(Form { indexable: Some("note".to_owned()), attnum: 3, ..form(kind) });
    let statement = third(&mut facts).statement_id;
    let mut seen = evidence(statement, Kind::SeqScan, "public.orders", column, executions);
    seen.statement_samples = 8;
    seen.node.conditions[0].usage = "pattern".to_owned();
    seen.node.conditions[0].pattern = begins.map(str::to_owned);
    facts.evidence = Some(vec![seen]);
    facts
}

#[test]
fn executions_say_whether_a_parameter_begins_with_a_wildcard() {
    let finding = the(&DETECTOR, &sought(Some("leading_wildcard"), "note", 6), WILDCARD);
    assert!(finding.title.contains("seeks patterns that begin with a wildcard"), "{finding:?}");
    let gain = finding.gain.expect("an effect");
    assert!(
        gain.ends_with("6 of 8 executions that were looked into had such a pattern."),
        "{gain}"
    );
    let all = the(&DETECTOR, &sought(Some("leading_wildcard"), "note", 8), WILDCARD);
    let saved = |of: &Finding| of.impact.saved_ms_per_hour.expect("something");
    let ratio = finding.impact.saved_ms_per_hour.expect("something") / saved(&all);
    assert!((ratio - 0.75).abs() < 1e-9, "an index serves those alone: {ratio}");
    for (begins, column, executions) in [
        (Some("fixed_beginning"), "note", 8),
        (None, "note", 8),
        (Some("leading_wildcard"), "note", 1),
        (Some("leading_wildcard"), "id", 8),
    ] {
        silent(&DETECTOR, &sought(begins, column, executions), WILDCARD);
    }
    let mut nobody = sought(Some("leading_wildcard"), "note", 8);
    nobody.evidence = None;
    silent(&DETECTOR, &nobody, WILDCARD);
    let mut elsewhere = sought(Some("leading_wildcard"), "note", 8);
    elsewhere.evidence.iter_mut().flatten().for_each(|e| e.table = "public.branches".to_owned());
    silent(&DETECTOR, &elsewhere, WILDCARD);
}

fn unconnected() -> Facts {
    let parts = vec![vec![(1, "orders".to_owned())], vec![(2, "b".to_owned())]];
    let form = Form { tables: vec![1, 2], attnum: 0, ..form(FormKind::Unconnected { parts }) };
    let tables = vec![reading(1), reading(2)];
    // What it counts, it does not return.
    shop(Shape { tables, forms: vec![form], aggregates: true, ..Shape::default() })
}

#[test]
fn tables_without_a_condition_between_them() {
    let mut facts = unconnected();
    let finding = the(&DETECTOR, &facts, JOIN);
    assert_eq!(
        finding.evidence[0].value,
        Value::Number(1e8),
        "a million orders, a hundred branches"
    );
    facts.foreign_keys = Some(vec![ForeignKey {
        table: 1,
        columns: vec![3],
        column_names: vec!["branch".to_owned()],
        referenced: 2,
        ..ForeignKey::default()
    }]);
    let t = Thresholds::default();
    assert_eq!(hints(&facts, &t)[0].better.as_deref(), Some("orders.branch = b.id"));
    // A second key between them: nobody knows which one is meant.
    let again = facts.foreign_keys.as_ref().expect("keys")[0].clone();
    facts.foreign_keys.as_mut().expect("keys").push(again);
    assert_eq!(hints(&facts, &t)[0].better, None);
    let mut single = facts.clone();
    single.tables.as_mut().expect("tables")[1].rows = Some(1.0);
    silent(&DETECTOR, &single, JOIN);
    let mut unknown = facts.clone();
    unknown.tables.as_mut().expect("tables")[1].rows = None;
    silent(&DETECTOR, &unknown, JOIN);
    let mut narrowed = facts;
    let shape = third(&mut narrowed).shape.as_mut().expect("shape");
    shape.tables[1].predicates = vec![Predicate {
        expression: "id".to_owned(),
        attnum: 1,
        test: Test::Equal,
        join: false,
        other: 0,
    }];
    silent(&DETECTOR, &narrowed, JOIN);
}

#[test]
fn not_in_says_what_nulls_do() {
    let of = |inner_nullable, outer_nullable| {
        let better = Some("NOT EXISTS (...)".to_owned());
        let kind = FormKind::NotIn { inner_nullable, outer_nullable, rows: false, hashable: true };
        with(Form { better, ..form(kind) })
    };
    silent(&DETECTOR, &of(false, false), NOT_IN);
    let mut large = of(false, false);
    third(&mut large).temp_blks_written = 1;
    assert_eq!(the(&DETECTOR, &large, NOT_IN).risk, "");
    assert!(the(&DETECTOR, &of(true, false), NOT_IN).risk.contains("one NULL"));
    assert!(the(&DETECTOR, &of(false, true), NOT_IN).risk.contains("what is sought is NULL"));
    let rows = |outer_nullable| {
        let inner_nullable = false;
        let kind = FormKind::NotIn { inner_nullable, outer_nullable, rows: true, hashable: false };
        with(form(kind))
    };
    assert_eq!(the(&DETECTOR, &rows(false), NOT_IN).risk, "");
    assert!(the(&DETECTOR, &rows(true), NOT_IN).risk.contains("its other columns are equal"));
    let mut small = of(true, true);
    rows_of(&mut small, 100.0);
    silent(&DETECTOR, &small, NOT_IN);
}

#[test]
fn planned_for_longer_than_run() {
    let mut facts = shop(Shape::default());
    silent(&DETECTOR, &facts, PLANNING);
    third(&mut facts).plan_ms = Some(400_000.0);
    let finding = the(&DETECTOR, &facts, PLANNING);
    assert_eq!(finding.impact.saved_ms_per_hour, Some(400_000.0));
    assert!(finding.title.contains("2 times"), "{}", finding.title);
    let mut prepared = facts.clone();
    third(&mut prepared).plans = Some(100);
    silent(&DETECTOR, &prepared, PLANNING);
    // Short to run, long to plan: it is not its execution that takes the time.
    let mut short = facts.clone();
    let s = third(&mut short);
    (s.share_ratio, s.exec_ms, s.plan_ms) = (Some(0.005), 1_000.0, Some(9_000.0));
    the(&DETECTOR, &short, PLANNING);
    // Nobody counts it.
    for s in facts.statements.iter_mut().flatten() {
        (s.plan_ms, s.plans) = (None, None);
    }
    let judged = crate::detect::judge_with(&[&DETECTOR], &facts, &Thresholds::default());
    assert!(judged.unjudged.contains(&PLANNING), "{:?}", judged.unjudged);
}

fn order(attnum: i16, expression: &str, descending: bool) -> Order {
    Order { expression: expression.to_owned(), attnum, descending, nulls_first: descending }
}

fn offset(rows: Option<i64>) -> Offset {
    let expression = "LIMIT $1 OFFSET $2".to_owned();
    Offset { rows, expression, inside: false, tables: vec![1] }
}

fn page(order_by: Vec<Order>) -> Facts {
    let one = TableUse { order_by, first_rows: true, ..reading(1) };
    shop(Shape {
        tables: vec![one],
        bounded: true,
        offset: Some(offset(None)),
        parameters: 2,
        ..Shape::default()
    })
}

fn keyset_of(facts: &Facts) -> Option<String> {
    hints(facts, &Thresholds::default()).remove(0).better
}

#[test]
fn deep_offset_gets_a_page_by_its_key() {
    let facts = page(vec![order(2, "created_at", true)]);
    the(&DETECTOR, &facts, OFFSET);
    assert_eq!(
        keyset_of(&facts).as_deref(),
        Some("(created_at, id) < ($3, $4) ORDER BY created_at DESC, id DESC LIMIT $5")
    );
    let t = Thresholds::default();
    let written = hints(&facts, &t).remove(0).expression;
    assert_eq!(written.as_deref(), Some("ORDER BY created_at DESC LIMIT $1 OFFSET $2"));
    let last = Order { nulls_first: false, ..order(2, "created_at", true) };
    let written = hints(&page(vec![last]), &t).remove(0).expression;
    assert_eq!(written.as_deref(), Some("ORDER BY created_at DESC NULLS LAST LIMIT $1 OFFSET $2"));
    let by_key = page(vec![order(1, "id", false)]);
    assert_eq!(keyset_of(&by_key).as_deref(), Some("id > $3 ORDER BY id LIMIT $4"));
    let mixed = page(vec![order(2, "created_at", true), order(1, "id", false)]);
    assert_eq!(
        keyset_of(&mixed).as_deref(),
        Some(
            "(created_at < $3 OR created_at = $3 AND id > $4) ORDER BY created_at DESC, id LIMIT $5"
        )
    );
    let nullable = page(vec![order(3, "note", false)]);
    assert!(the(&DETECTOR, &nullable, OFFSET).risk.contains("NULL"));
    // Sorted by what the client does not see, or by nothing.
    assert_eq!(keyset_of(&page(vec![order(0, "lower(note)", false)])), None);
    assert_eq!(keyset_of(&page(Vec::new())), None);
}

#[test]
fn shallow_offsets_are_left_in_peace() {
    let facts = page(vec![order(1, "id", false)]);
    let mut constant = facts.clone();
    third(&mut constant).shape.as_mut().expect("shape").offset = Some(offset(Some(40)));
    silent(&DETECTOR, &constant, OFFSET);
    let mut none = facts.clone();
    third(&mut none).shape.as_mut().expect("shape").offset = None;
    silent(&DETECTOR, &none, OFFSET);
    let mut many = facts;
    third(&mut many).rows = 1_000_000;
    silent(&DETECTOR, &many, OFFSET);
}

fn growing(rows: [u64; 4]) -> Facts {
    let one = TableUse { order_by: vec![order(1, "id", false)], ..reading(1) };
    let mut facts = shop(Shape { tables: vec![one], ..Shape::default() });
    let s = third(&mut facts);
    s.rows = s.calls * 4_000;
    s.returned =
        rows.iter().map(|rows| Returned { until_us: 1, calls: 100, rows: rows * 100 }).collect();
    facts
}

#[test]
fn a_result_without_limit_that_grows() {
    let facts = growing([1_000, 2_000, 3_000, 4_000]);
    let finding = the(&DETECTOR, &facts, UNLIMITED);
    assert!(finding.title.contains("grew from 1,000 to 4,000 rows"), "{}", finding.title);
    assert_eq!(keyset_of(&facts).as_deref(), Some("id > $1 ORDER BY id LIMIT $2"));
    let mut written = facts.clone();
    let result = Some("FROM public.orders ORDER BY id".to_owned());
    third(&mut written).shape.as_mut().expect("shape").result.clone_from(&result);
    assert_eq!(hints(&written, &Thresholds::default()).remove(0).expression, result);
    silent(&DETECTOR, &growing([4_000, 4_000, 4_000, 4_000]), UNLIMITED);
    silent(&DETECTOR, &growing([1_000, 5_000, 2_000, 4_000]), UNLIMITED);
    let mut bounded = facts.clone();
    third(&mut bounded).shape.as_mut().expect("shape").bounded = true;
    silent(&DETECTOR, &bounded, UNLIMITED);
    let mut sums = facts.clone();
    third(&mut sums).shape.as_mut().expect("shape").aggregates = true;
    silent(&DETECTOR, &sums, UNLIMITED);
    let mut young = facts.clone();
    young.history.covered_us = 3_600_000_000;
    silent(&DETECTOR, &young, UNLIMITED);
    let mut seldom = facts;
    third(&mut seldom).returned[0].calls = 1;
    silent(&DETECTOR, &seldom, UNLIMITED);
}

#[test]
fn what_is_not_known_is_not_judged() {
    let mut facts = shop(Shape::default());
    facts.tables = None;
    let judged = crate::detect::judge_with(&[&DETECTOR], &facts, &Thresholds::default());
    assert_eq!(judged.unjudged.len(), KINDS.len() - 1);
    facts.statements = None;
    let judged = crate::detect::judge_with(&[&DETECTOR], &facts, &Thresholds::default());
    assert_eq!(judged.unjudged, KINDS);
    assert!(found(&DETECTOR, &facts).is_empty());
}

#[test]
fn the_index_of_a_scan_stays_the_scans() {
    let sql = Some("CREATE INDEX ON public.orders ((lower(note)));".to_owned());
    let of = |kind: &str, saved: f64| {
        let mut one = Finding::new(kind, Severity::Warning, kind, "t", "Do it.", "r");
        one.statement.clone_from(&sql);
        one.impact.saved_ms_per_hour = Some(saved);
        one
    };
    let mut findings = vec![of(FUNCTION, 900.0), of(crate::detect::scans::SCAN, 10.0)];
    crate::detect::settle::settle(&mut findings, &Facts::default(), &Thresholds::default());
    assert_eq!(findings[0].statement, None);
    assert_eq!(findings[1].statement, sql);
    assert!(crate::detect::leaves_to(&findings[0], &findings[1]), "{}", findings[0].remedy);
}
