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
fn the_order_alone_must_find_them() {
    let silent = |why: &str, change: &dyn Fn(&mut Facts, &mut Shape)| {
        let mut facts = first(10, false);
        let mut shape = facts.statements.as_mut().unwrap()[0].shape.take().unwrap();
        change(&mut facts, &mut shape);
        facts.statements.as_mut().unwrap()[0].shape = Some(shape);
        assert_eq!(all_of(&facts), Vec::new(), "{why}");
    };
    let skips = |rows: Option<i64>| crate::facts::Offset {
        rows,
        expression: String::new(),
        inside: false,
        tables: Vec::new(),
    };
    silent("who knows how many are skipped", &|_, shape| shape.offset = Some(skips(None)));
    silent("many are skipped", &|_, shape| shape.offset = Some(skips(Some(50_000))));
    silent("another table says which", &|_, shape| {
        let predicates = vec![on(1, "id", Test::Range)];
        let other = TableUse { oid: 11, read: true, predicates, ..TableUse::default() };
        shape.tables.push(other);
    });
    silent("few rows of the order pass", &|facts, shape| {
        shape.tables[0].predicates = vec![on(4, "status", Test::Other)];
        // A scan that keeps too many to be wasted, of which an index in order would give one in ten.
        facts.statements.as_mut().unwrap()[0].rows = 400 * 2_000;
        facts.evidence.as_mut().unwrap()[0].counts.set(Slot::Kept, 20_000 * 10);
    });
    let mut skipped = first(10, false);
    let shape = skipped.statements.as_mut().unwrap()[0].shape.as_mut().unwrap();
    shape.offset = Some(skips(Some(20)));
    assert_eq!(all_of(&skipped).len(), 1, "the second page");
}

/// The same join; the other table's row is found by a unique key, and its scan kept so many rows.
fn led(rows: u64, leading: Option<u64>, change: &dyn Fn(&mut Shape)) -> Facts {
    let mut facts = joined(rows, change);
    let other = Table { oid: 11, name: "public.customers".to_owned(), ..Table::default() };
    facts.tables.as_mut().unwrap().push(other);
    match leading {
        Some(kept) => {
            let one = seen(Kind::SeqScan, "public.customers", 20_000, kept);
            facts.evidence.as_mut().unwrap().push(one);
        }
        None => {
            let part = crate::facts::KeyPart { attnum: 1, ..Default::default() };
            let (unique, valid) = (true, true);
            let key = Index { table: 11, key: vec![part], unique, valid, ..Index::default() };
            facts.indexes.as_mut().unwrap().push(key);
        }
    }
    facts
}

#[test]
fn rows_that_lead_to_others_are_counted_where_the_result_hides_them() {
    let sum = |shape: &mut Shape| shape.aggregates = true;
    let page = |shape: &mut Shape| shape.bounded = true;
    for facts in [led(1, None, &sum), led(1, Some(30), &sum), led(10, Some(30), &page)] {
        assert_eq!(all_of(&facts).len(), 1);
    }
    let silent = |why: &str, facts: Facts| assert_eq!(all_of(&facts), Vec::new(), "{why}");
    silent("a sum over half of them", led(1, Some(10_000), &sum));
    let by_three = |table_rows: f64| {
        let mut facts = led(1, Some(1_500), &sum);
        facts.tables.as_mut().unwrap()[1].rows = Some(table_rows);
        all_of(&facts).len()
    };
    let (one, three) = (by_three(20_000.0), by_three(20_000.0 / 3.0));
    assert_eq!((one, three), (0, 1), "three processes read the other table whole");
    silent("the first of half of them", led(10, Some(10_000), &page));
    // What is returned was thrown away above the join.
    silent("few of half of them", led(10, Some(10_000), &|_| {}));
}

#[test]
fn a_join_has_its_index_where_the_tables_own_condition_leaves_much() {
    let more = |shape: &mut Shape| {
        let open = on(4, "status", Test::Equal);
        shape.tables[0].predicates.push(open);
    };
    let mut facts = led(5, None, &more);
    // Twenty values by statistics, most rows in fact.
    facts.tables.as_mut().unwrap()[0].columns[2].distinct = Some(20.0);
    facts.evidence.as_mut().unwrap()[0].counts.set(Slot::Kept, 150_000 * 10);
    let all = all_of(&facts);
    let [f] = all.as_slice() else { panic!("{all:?}") };
    let ddl = "CREATE INDEX CONCURRENTLY ON public.orders (customer_id);";
    assert_eq!(f.statement.as_deref(), Some(ddl));
}

/// A scan by rows of a status that few have, of a column of two values.
fn rare(kept: u64, change: &dyn Fn(&mut Shape)) -> Facts {
    let mut shape = looks(vec![on(4, "status", Test::Equal)]);
    change(&mut shape);
    let mut facts = scanned(reader(shape), kept);
    facts.tables.as_mut().unwrap()[0].columns[2].distinct = Some(2.0);
    let mut shown = seen(Kind::SeqScan, "public.orders", 200_000, kept);
    shown.node.conditions[0].expression = Some("status".to_owned());
    facts.evidence = Some(vec![shown]);
    facts
}

#[test]
fn a_rare_value_has_its_index_whatever_the_statement_does_besides() {
    let joins = |shape: &mut Shape| {
        let id = Predicate { join: true, other: 10, ..on(1, "id", Test::Equal) };
        let predicates = vec![id];
        shape.tables.push(TableUse { oid: 11, read: true, predicates, ..TableUse::default() });
    };
    let changes: [&dyn Fn(&mut Shape); 4] =
        [&|_| {}, &joins, &|shape| (shape.bounded, shape.aggregates) = (true, true), &|shape| {
            shape.bounded = true
        }];
    let ddl = "CREATE INDEX CONCURRENTLY ON public.orders (status);";
    for change in changes {
        let all = all_of(&rare(13, change));
        let [f] = all.as_slice() else { panic!("{all:?}") };
        assert_eq!((f.statement.as_deref(), f.helped.len()), (Some(ddl), 1));
        assert_eq!(all_of(&rare(60_000, change)), Vec::new(), "of a value that many have");
    }
    // Another condition may be why so few were kept, unless it leaves nearly all by what is known of the column.
    let beside = |text: &str, distinct: Option<f64>| {
        let mut other = rare(13, &|shape| shape.bounded = true);
        let node = &mut other.evidence.as_mut().unwrap()[0].node;
        let mut condition = node.conditions[0].clone();
        (condition.expression, condition.usage) = (None, "other".to_owned());
        text.clone_into(&mut condition.text);
        node.conditions.push(condition);
        other.tables.as_mut().unwrap()[0].columns[1].distinct = distinct;
        all_of(&other).iter().filter(|f| f.statement.as_deref() == Some(ddl)).count()
    };
    let differs = "(created <> ?)";
    assert_eq!((beside("(f(created) = ?)", Some(500.0)), beside(differs, None)), (0, 0));
    assert_eq!((beside(differs, Some(3.0)), beside(differs, Some(500.0))), (0, 1));
    assert_eq!((beside(differs, Some(1.0)), beside("(created <> ALL (?))", Some(-0.5))), (1, 1));
}

#[test]
fn what_no_text_tells_executions_may() {
    let unread = |change: &dyn Fn(&mut Facts)| {
        let mut facts = scanned(Statement { shape: None, ..reader(Shape::default()) }, 6);
        facts.evidence = Some(vec![seen(Kind::SeqScan, "public.orders", 200_000, 6)]);
        change(&mut facts);
        let mut judgement = Judgement::default();
        detect(&facts, &Thresholds::default(), &mut judgement);
        (judgement.findings, judgement.unjudged)
    };
    let (all, unjudged) = unread(&|_| {});
    let [f] = all.as_slice() else { panic!("{all:?}") };
    let ddl = "CREATE INDEX CONCURRENTLY ON public.orders (customer_id);";
    assert_eq!((f.statement.as_deref(), f.helped.len(), unjudged.len()), (Some(ddl), 1, 0));
    assert!(f.cause.as_ref().is_some_and(|cause| cause.contains("5 looks")), "{f:?}");
    // An expression, whose constants no plan keeps, has words.
    let shown = |facts: &mut Facts, expression: &str, usage: &str| {
        let condition = &mut facts.evidence.as_mut().unwrap()[0].node.conditions[0];
        (condition.expression, condition.usage) = (Some(expression.to_owned()), usage.to_owned());
    };
    let (all, _) = unread(&|facts| shown(facts, "lower(mail)", "equality"));
    assert!(all.len() == 1 && all[0].statement.is_none(), "{all:?}");
    let silent = |why: &str, change: &dyn Fn(&mut Facts)| {
        assert_eq!(unread(change), (Vec::new(), vec![SCAN]), "{why}");
    };
    silent("nobody looked", &|facts| facts.evidence = Some(Vec::new()));
    silent("its names mean something else", &|facts| {
        facts.statements.as_mut().unwrap()[0].unresolved = true;
    });
    silent("many rows are kept", &|facts| {
        facts.evidence.as_mut().unwrap()[0].counts.set(Slot::Kept, 1_000_000);
    });
    silent("another table", &|facts| {
        facts.evidence.as_mut().unwrap()[0].table = "public.other".to_owned();
    });
    silent("conditions that no index serves", &|facts| shown(facts, "f(mail)", "other"));
    silent("somebody looks at a plan", &|facts| {
        facts.statements.as_mut().unwrap()[0].command = Some("EXPLAIN".to_owned());
    });
    silent("there is such an index", &|facts| {
        let part = crate::facts::KeyPart {
            attnum: 2,
            expression: "customer_id".to_owned(),
            ..Default::default()
        };
        let (valid, ready, live) = (true, true, true);
        let method = "btree".to_owned();
        let one =
            Index { table: 10, key: vec![part], method, valid, ready, live, ..Index::default() };
        facts.indexes = Some(vec![one]);
    });
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
        ..Condition::default()
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
    let filled = "COALESCE(status, ?)";
    let default = told(&odd(filled, Some(filled), Use::Truth, 13));
    assert!(default.contains("on the expression COALESCE(status, ?) with"), "{default}");
    // Twins.
    let silent = |why: &str, facts: Facts| assert_eq!(all_of(&facts), Vec::new(), "{why}");
    let call = "allowed(status)";
    silent("who knows what it does", odd(call, Some(call), Use::Truth, 13));
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

#[test]
fn patterns_that_no_index_of_text_is_searched_for_have_words() {
    use crate::facts::{Form, FormKind, Patterned};
    let of = |of: Patterned, kept: u64| {
        let mut facts = odd("(status ~~ ?)", Some("status"), Use::Pattern, kept);
        let form = Form {
            kind: FormKind::Wildcard { known: false, of },
            tables: vec![10],
            attnum: 4,
            expression: "status LIKE $1".to_owned(),
            better: None,
            indexable: None,
            inside: false,
            guessed: false,
        };
        facts.statements.as_mut().unwrap()[0].shape.as_mut().unwrap().forms.push(form);
        all_of(&facts).into_iter().map(|f| (f.remedy, f.statement)).collect::<Vec<_>>()
    };
    let told = of(Patterned::Caseless, 13);
    let [(words, None)] = &told[..] else { panic!("{told:?}") };
    assert!(
        words.starts_with("No index on status itself is searched for (status ~~ ?)"),
        "{words}"
    );
    let told = of(Patterned::Name, 13);
    let [(words, None)] = &told[..] else { panic!("{told:?}") };
    assert!(words.starts_with("An index on status is searched for (status ~~ ?) where"), "{words}");
    assert_eq!(of(Patterned::Caseless, 50_000), Vec::new(), "many are kept");
}
