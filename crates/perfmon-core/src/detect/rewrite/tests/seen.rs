//! Hints that rest on what executions showed.

use super::*;
use crate::capture::scan::Slot;
use crate::facts::{Evidence as Seen, Given, Values};

fn equal(attnum: i16, expression: &str) -> Predicate {
    let expression = expression.to_owned();
    Predicate { expression, attnum, test: Test::Equal, join: false, other: 0 }
}

/// The orders of one note beside all branches, without a condition between them; so many notes there are.
fn unconnected_by_note(distinct: Option<f64>) -> Facts {
    let mut facts = unconnected();
    let table = &mut facts.tables.as_mut().expect("tables")[0];
    table.columns.iter_mut().find(|c| c.attnum == 3).expect("note").distinct = distinct;
    let shape = third(&mut facts).shape.as_mut().expect("shape");
    shape.tables[0].predicates = vec![equal(3, "note")];
    facts
}

#[test]
fn a_value_that_many_rows_have_narrows_a_product_little() {
    // A million orders of five notes, a hundred branches.
    let finding = the(&DETECTOR, &unconnected_by_note(Some(5.0)), JOIN);
    assert_eq!(finding.evidence[0].value, Value::Number(2e7));
    assert!(finding.title.contains("pairs rows of"), "{}", finding.title);
    // Ten of a note, or nobody knows how many.
    silent(&DETECTOR, &unconnected_by_note(Some(-0.1)), JOIN);
    silent(&DETECTOR, &unconnected_by_note(None), JOIN);
    // Of a unique key it is one, whatever the statistics.
    let mut unique = unconnected_by_note(Some(5.0));
    let by_note = Index { unique: true, ..index(1, vec![key(3, "note")]) };
    unique.indexes.as_mut().expect("indexes").push(by_note.clone());
    silent(&DETECTOR, &unique, JOIN);
    // Of a part of the table alone, or with another column, it is not.
    for other in [
        Index { predicate: Some("id > 5".to_owned()), ..by_note.clone() },
        Index { key: vec![key(3, "note"), key(2, "created_at")], ..by_note },
    ] {
        let mut facts = unconnected_by_note(Some(5.0));
        facts.indexes.as_mut().expect("indexes").push(other);
        the(&DETECTOR, &facts, JOIN);
    }
}

#[test]
fn executions_say_how_many_rows_a_product_is_made_of() {
    let seen = |facts: &mut Facts, rows: u64, change: &dyn Fn(&mut Seen)| {
        let id = third(facts).statement_id;
        let mut one = evidence(id, Kind::SeqScan, "public.orders", "note", 4);
        one.counts.set(Slot::Loops, 4);
        one.counts.set(Slot::Kept, 4 * rows);
        change(&mut one);
        facts.evidence = Some(vec![one]);
    };
    let with = |distinct, rows| {
        let mut facts = unconnected_by_note(distinct);
        seen(&mut facts, rows, &|_| {});
        facts
    };
    // Where statistics say nothing, and where they are wrong.
    let finding = the(&DETECTOR, &with(None, 50_000), JOIN);
    assert_eq!(finding.evidence[0].value, Value::Number(5e6));
    the(&DETECTOR, &with(Some(-0.1), 50_000), JOIN);
    silent(&DETECTOR, &with(Some(5.0), 20), JOIN);
    // A range narrows, too.
    let mut range = unconnected();
    seen(&mut range, 20, &|_| {});
    silent(&DETECTOR, &range, JOIN);
    // One execution is none, and rows that another table led to are not narrowed by the scan's own conditions.
    let mut once = range.clone();
    seen(&mut once, 20, &|one| one.statement_samples = 1);
    the(&DETECTOR, &once, JOIN);
    let mut led = range.clone();
    seen(&mut led, 20, &|one| one.node.conditions[0].usage = "join".to_owned());
    the(&DETECTOR, &led, JOIN);
    // No scan of the table, though others were seen: an index found the range.
    let mut found = range.clone();
    seen(&mut found, 20, &|one| one.table = "public.branches".to_owned());
    the(&DETECTOR, &found, JOIN);
    let shape = third(&mut found).shape.as_mut().expect("shape");
    shape.tables[0].predicates = vec![Predicate { test: Test::Range, ..equal(1, "id") }];
    silent(&DETECTOR, &found, JOIN);
    // Half of the table, by each of its parts.
    let mut parted = unconnected();
    let tables = parted.tables.as_mut().expect("tables");
    (tables[0].partitioned, tables[0].rows) = (true, None);
    for oid in [8, 9] {
        tables.push(Table { parent: Some(1), ..table(oid, "public.orders_1", 500_000) });
    }
    seen(&mut parted, 500_000, &|one| one.counts.set(Slot::Loops, 8));
    assert_eq!(the(&DETECTOR, &parted, JOIN).evidence[0].value, Value::Number(5e7));
    // What is returned is what was paired.
    let mut plain = unconnected();
    let s = third(&mut plain);
    s.shape.as_mut().expect("shape").aggregates = false;
    silent(&DETECTOR, &plain, JOIN);
    let s = third(&mut plain);
    s.rows = s.calls * 3_000_000;
    assert_eq!(the(&DETECTOR, &plain, JOIN).evidence[0].value, Value::Number(3e6));
}

/// A statement whose text compares a whole number as it is, and whose executions converted it.
fn converted(sign: &'static str, to: &str, of_type: &str) -> Facts {
    let given = Given { attnum: 2, of_type: of_type.to_owned(), sign, values: Values::One(4) };
    let one =
        TableUse { given: vec![given], predicates: vec![equal(2, "created_at")], ..reading(1) };
    let mut facts = shop(Shape { tables: vec![one], ..Shape::default() });
    let id = third(&mut facts).statement_id;
    let expression = format!("(created_at)::{to}");
    let mut seen = evidence(id, Kind::SeqScan, "public.orders", &expression, 4);
    seen.node.conditions[0].operator = Some(sign.to_owned());
    facts.evidence = Some(vec![seen]);
    facts
}

fn own(facts: &Facts) -> (Option<String>, Option<String>, bool) {
    let mut all = hints(facts, &Thresholds::default());
    assert_eq!(all.len(), 1, "{all:?}");
    let one = all.remove(0);
    assert_eq!(one.kind, CAST);
    (one.expression, one.better, one.same_meaning)
}

fn seen(facts: &mut Facts) -> &mut Seen {
    &mut facts.evidence.as_mut().expect("evidence")[0]
}

fn shape(facts: &mut Facts) -> &mut Shape {
    third(facts).shape.as_mut().expect("shape")
}

#[test]
fn executions_tell_a_conversion_that_the_text_does_not() {
    let facts = converted("=", "numeric", "integer");
    let finding = the(&DETECTOR, &facts, CAST);
    assert!(finding.title.contains("created_at as numeric, although it is integer"), "{finding:?}");
    assert!(finding.risk.contains("fraction"), "{}", finding.risk);
    assert_eq!(finding.statement, None, "the index is there");
    assert!(finding.gain.as_ref().expect("words").contains("4 of 4 executions"), "{finding:?}");
    let text = |text: &str| Some(text.to_owned());
    let written = text("(created_at)::numeric = $4");
    assert_eq!(own(&facts), (written, text("created_at = ($4)::integer"), false));
    // Whole numbers compare with a fraction as they do with the next whole number.
    for (sign, round) in [("<", "ceil"), ("<=", "floor"), (">=", "ceil"), (">", "floor")] {
        let (_, better, same) = own(&converted(sign, "numeric", "bigint"));
        let expected = format!("created_at {sign} {round}(($4)::numeric)::bigint");
        assert_eq!((better, same), (Some(expected), true));
    }
    let floating = converted("<", "double precision", "bigint");
    let (_, better, same) = own(&floating);
    let round = text("created_at < ceil(($4)::double precision)::bigint");
    assert_eq!((better, same), (round, false), "not all fit");
    assert!(the(&DETECTOR, &floating, CAST).risk.contains("2^53"));
    assert!(!the(&DETECTOR, &converted("=", "real", "smallint"), CAST).risk.contains("2^53"));
    // Two parameters: which one it was, nobody knows.
    let mut two = converted("=", "numeric", "integer");
    let given = &mut third(&mut two).shape.as_mut().expect("shape").tables[0].given;
    given.push(Given { values: Values::One(5), ..given[0].clone() });
    assert_eq!(own(&two), (text("((created_at)::numeric = ?)"), None, false));
}

/// The same between two values.
fn converted_between(other: Option<u32>) -> Facts {
    let mut facts = converted(">=", "numeric", "bigint");
    let condition = seen(&mut facts).node.conditions[0].clone();
    seen(&mut facts).node.conditions.push(crate::capture::scan::Condition {
        text: "((created_at)::numeric <= ?)".to_owned(),
        operator: Some("<=".to_owned()),
        ..condition
    });
    let given = &mut shape(&mut facts).tables[0].given;
    let first = given[0].clone();
    given.extend(other.map(|n| Given { sign: "<=", values: Values::One(n), ..first }));
    facts
}

#[test]
fn both_ends_of_a_range_are_told_in_one_form() {
    let (expression, better, same) = own(&converted_between(Some(5)));
    let both = "(created_at)::numeric >= $4 AND (created_at)::numeric <= $5";
    assert_eq!(expression.as_deref(), Some(both));
    let both =
        "created_at >= ceil(($4)::numeric)::bigint AND created_at <= floor(($5)::numeric)::bigint";
    assert_eq!((better.as_deref(), same), (Some(both), true));
    // Half of it would promise what both are needed for.
    assert_eq!(own(&converted_between(None)).1, None);
}

/// A statement that compares a whole number with several values, and whose executions converted it for these.
fn converted_for_any(values: Values, to: &str, of_type: &str) -> Facts {
    let mut facts = converted("=", to, of_type);
    shape(&mut facts).tables[0].given[0].values = values;
    let condition = &mut seen(&mut facts).node.conditions[0];
    condition.operator = Some("= ANY".to_owned());
    condition.text = format!("((created_at)::{to} = ANY (?))");
    facts
}

#[test]
fn lists_and_arrays_are_told_as_single_values_are() {
    let text = |text: &str| Some(text.to_owned());
    let array = converted_for_any(Values::Array(4), "numeric", "integer");
    assert_eq!(
        own(&array),
        (
            text("(created_at)::numeric = ANY ($4)"),
            text("created_at = ANY (($4)::integer[])"),
            false
        )
    );
    assert!(the(&DETECTOR, &array, CAST).risk.contains("fraction"));
    let list = converted_for_any(Values::List(vec![2, 3]), "text", "bpchar");
    assert_eq!(
        own(&list),
        (
            text("(created_at)::text IN ($2, $3)"),
            text("created_at IN (($2)::bpchar, ($3)::bpchar)"),
            false
        )
    );
    assert!(the(&DETECTOR, &list, CAST).risk.contains("is converted to the column's type"));
    // Too many to be written, or a list of which the text kept the first value alone, or one of two conditions.
    let mut two = converted_for_any(Values::Array(4), "numeric", "integer");
    let given = &mut shape(&mut two).tables[0].given;
    given.push(Given { values: Values::One(5), ..given[0].clone() });
    for facts in [
        converted_for_any(Values::List(Vec::new()), "numeric", "integer"),
        converted_for_any(Values::One(4), "numeric", "integer"),
        two,
    ] {
        assert_eq!(own(&facts), (text("((created_at)::numeric = ANY (?))"), None, false));
    }
    // No such list finds rows by an index of a range.
    let mut above = converted_for_any(Values::Array(4), "numeric", "integer");
    seen(&mut above).node.conditions[0].operator = Some("> ANY".to_owned());
    shape(&mut above).tables[0].given[0].sign = ">";
    silent(&DETECTOR, &above, CAST);
    // What is compared as it is.
    let mut plain = converted_for_any(Values::Array(4), "numeric", "integer");
    let condition = &mut seen(&mut plain).node.conditions[0];
    condition.expression = Some("created_at".to_owned());
    condition.text = "(created_at = ANY (?))".to_owned();
    silent(&DETECTOR, &plain, CAST);
}

#[test]
fn conversions_that_are_none_are_not_told() {
    let facts = || converted("=", "numeric", "integer");
    let change = |change: &dyn Fn(&mut Facts)| {
        let mut facts = facts();
        change(&mut facts);
        silent(&DETECTOR, &facts, CAST);
    };
    change(&|f| f.evidence = None);
    change(&|f| seen(f).node.conditions[0].expression = Some("created_at".to_owned()));
    change(&|f| seen(f).node.conditions[0].expression = Some("(id)::numeric".to_owned()));
    change(&|f| seen(f).node.conditions[0].operator = Some("<".to_owned()));
    change(&|f| seen(f).node.conditions[0].stage = "index".to_owned());
    change(&|f| seen(f).statement_samples = 1);
    change(&|f| seen(f).table = "public.branches".to_owned());
    // The conversion is in the text, on purpose, and told by its own form if at all.
    change(&|f| shape(f).tables[0].given.clear());
    change(&|f| rows_of(f, 500.0));
    change(&|f| third(f).blks_hit = 4_000);
    let mut turned = facts();
    let condition = &mut seen(&mut turned).node.conditions[0];
    condition.text = "(? > (created_at)::numeric)".to_owned();
    condition.operator = Some(">".to_owned());
    silent(&DETECTOR, &turned, CAST);
    shape(&mut turned).tables[0].given[0].sign = "<";
    assert_eq!(own(&turned).0.as_deref(), Some("(created_at)::numeric < $4"));
}
