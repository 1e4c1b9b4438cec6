//! Scans whose waste their own conditions do not show, and conditions for which no usual index is.

use super::*;
use crate::capture::scan::{Condition, Use};
use crate::facts::{Column, Order};

fn all_of(facts: &Facts) -> Vec<Finding> {
    let mut judgement = Judgement::default();
    detect(facts, &Thresholds::default(), &mut judgement);
    judgement.findings
}

/// A table with a column that orders it, read whole in ten executions that were looked into.
fn scanned(statement: Statement, kept: u64) -> Facts {
    let mut table = table();
    for (attnum, name) in [(3, "created"), (4, "status")] {
        table.columns.push(Column { attnum, name: name.to_owned(), ..Column::default() });
    }
    let mut facts = facts(table, statement);
    let mut one = seen(Kind::SeqScan, "public.orders", 200_000, kept);
    one.node.conditions.clear();
    facts.evidence = Some(vec![one]);
    facts
}

/// The first rows in an order: so many of them, the only one of an aggregate.
fn first(rows: u64, aggregates: bool) -> Facts {
    let order =
        Order { expression: "created".to_owned(), attnum: 3, descending: true, nulls_first: true };
    let one = TableUse {
        oid: 10,
        read: true,
        order_by: vec![order],
        first_rows: true,
        ..TableUse::default()
    };
    let shape = Shape { tables: vec![one], bounded: true, aggregates, ..Shape::default() };
    scanned(Statement { rows: 400 * rows, ..reader(shape) }, 200_000)
}

#[test]
fn an_order_of_which_the_first_rows_are_wanted_has_its_index() {
    let ddl = "CREATE INDEX CONCURRENTLY ON public.orders (created);";
    for facts in [first(10, false), first(1, true)] {
        let all = all_of(&facts);
        let [f] = all.as_slice() else { panic!("{all:?}") };
        assert_eq!(f.statement.as_deref(), Some(ddl));
        assert!(f.cause.as_ref().is_some_and(|cause| cause.contains("created")), "{f:?}");
        assert!(f.impact.saved_ms_per_hour.is_some_and(|ms| ms > 7_000.0), "{f:?}");
    }
    // Most of the rows are wanted, or there is such an index.
    assert_eq!(all_of(&first(150_000, false)), Vec::new());
    let mut served = first(10, false);
    let part = crate::facts::KeyPart {
        attnum: 3,
        expression: "created".to_owned(),
        ..crate::facts::KeyPart::default()
    };
    let (valid, ready, live) = (true, true, true);
    let method = "btree".to_owned();
    let one = Index { table: 10, key: vec![part], method, valid, ready, live, ..Index::default() };
    served.indexes = Some(vec![one]);
    assert_eq!(all_of(&served), Vec::new());
}

/// A row of another table that leads to rows of this one, of which so many are returned.
fn joined(rows: u64, change: &dyn Fn(&mut Shape)) -> Facts {
    let mut to = on(2, "customer_id", Test::Equal);
    (to.join, to.other) = (true, 11);
    let own = TableUse { oid: 10, read: true, predicates: vec![to], ..TableUse::default() };
    let id = on(1, "id", Test::Equal);
    let other = TableUse { oid: 11, read: true, predicates: vec![id], ..TableUse::default() };
    let mut shape = Shape { tables: vec![own, other], ..Shape::default() };
    change(&mut shape);
    scanned(Statement { rows: 400 * rows, ..reader(shape) }, 200_000)
}

#[test]
fn a_column_that_another_table_leads_to_has_its_index() {
    let all = all_of(&joined(5, &|_| {}));
    let [f] = all.as_slice() else { panic!("{all:?}") };
    let ddl = "CREATE INDEX CONCURRENTLY ON public.orders (customer_id);";
    assert_eq!(f.statement.as_deref(), Some(ddl));
    assert!(f.cause.as_ref().is_some_and(|cause| cause.contains("customer_id")), "{f:?}");
    // Most rows are returned; how many there were a sum or a limit does not tell; nothing picks the other table's.
    let silent = |why: &str, facts: Facts| assert_eq!(all_of(&facts), Vec::new(), "{why}");
    silent("most are wanted", joined(150_000, &|_| {}));
    silent("a sum", joined(1, &|shape| shape.aggregates = true));
    silent("a limit", joined(10, &|shape| shape.bounded = true));
    silent("all of the other", joined(5, &|shape| shape.tables[1].predicates.clear()));
}

#[test]
fn one_scan_that_does_not_stop_early_is_told_among_many_that_do() {
    let mut facts = facts(table(), reader(by(Test::Equal)));
    let whole = seen(Kind::SeqScan, "public.orders", 200_000, 10);
    facts.evidence = Some(vec![whole]);
    let early = Activity { seq_scan: 400_000, seq_tup_read: 80_400_000, ..Activity::default() };
    facts.tables.as_mut().unwrap()[0].window = Some(early);
    assert_eq!(all_of(&facts).len(), 1);
    // Where nobody looked, it is most likely one of those.
    facts.evidence = Some(Vec::new());
    assert_eq!(all_of(&facts), Vec::new());
}

/// A scan by a condition that is no search, which kept so many rows.
fn odd(text: &str, expression: Option<&str>, usage: Use, kept: u64) -> Facts {
    let mut facts = scanned(reader(looks(vec![on(4, "status", Test::Other)])), kept);
    let condition = Condition {
        stage: "filter".to_owned(),
        text: text.to_owned(),
        expression: expression.map(str::to_owned),
        operator: None,
        usage: usage.name().to_owned(),
        pattern: None,
    };
    facts.evidence.as_mut().unwrap()[0].node.conditions.push(condition);
    facts
}

#[test]
fn conditions_that_are_no_search_have_words() {
    let status = Some("status");
    let told = |facts: &Facts| {
        let all = all_of(facts);
        let [f] = all.as_slice() else { panic!("{all:?}") };
        assert_eq!(f.statement, None);
        f.remedy.clone()
    };
    let differs = told(&odd("(status <> ?)", status, Use::Other, 13));
    assert!(
        differs.contains("WHERE (status <> ?), with the statement's own constant"),
        "{differs}"
    );
    let set = told(&odd("(status IS NOT NULL)", status, Use::Null, 13));
    assert!(set.contains("WHERE (status IS NOT NULL), on columns"), "{set}");
    told(&odd("(status < created)", status, Use::Other, 13));
    let either = told(&odd("((status = ?) OR (customer_id = ?))", None, Use::Other, 13));
    assert!(either.contains("an index for each of the conditions in ((status = ?) OR"), "{either}");
    // Twins.
    let silent = |why: &str, facts: Facts| assert_eq!(all_of(&facts), Vec::new(), "{why}");
    silent("many are kept", odd("(status <> ?)", status, Use::Other, 50_000));
    silent("of nothing in the table", odd("(random() < ?)", None, Use::Other, 13));
    silent("of a subquery", odd("(status <> (subquery))", status, Use::Other, 13));
    let mut partial = odd("(status <> ?)", status, Use::Other, 13);
    let predicate = Some("(status <> 'done'::text)".to_owned());
    partial.indexes = Some(vec![Index { table: 10, predicate, valid: true, ..Index::default() }]);
    silent("there is an index of some rows", partial);
    let mut guessed = odd("(status <> ?)", status, Use::Other, 13);
    guessed.evidence = Some(Vec::new());
    silent("nobody looked", guessed);
}
