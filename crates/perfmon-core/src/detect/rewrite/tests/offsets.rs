//! What OFFSET skips, as executions showed it, at the top of a statement and within it.

use super::*;
use crate::capture::scan::Slot;

/// A statement that joins a large table with a page of a smaller one, which skips so many rows of an execution.
fn within(skipped: Option<u64>) -> Facts {
    let one =
        TableUse { order_by: vec![order(2, "created_at", true)], first_rows: true, ..reading(1) };
    let inner = Offset { inside: true, ..offset(None) };
    let mut facts = shop(Shape {
        tables: vec![one, reading(2)],
        offset: Some(inner),
        parameters: 2,
        ..Shape::default()
    });
    // Each of its rows costs little: it is not blocks that tell.
    third(&mut facts).rows = 2_000_000;
    facts.evidence = skipped.map(|rows| limits(3, 8, rows));
    facts
}

/// What that many executions of a statement showed, each of which skipped so many rows and kept 20.
fn limits(statement_id: i64, samples: u64, rows: u64) -> Vec<crate::facts::Evidence> {
    let mut scan = evidence(statement_id, Kind::SeqScan, "public.order_items", "id", samples);
    scan.counts.set(Slot::Read, 100 * samples);
    let mut limit = evidence(statement_id, Kind::Limit, "", "", samples);
    limit.node.conditions.clear();
    limit.counts.set(Slot::Read, (rows + 20) * samples);
    limit.counts.set(Slot::Kept, 20 * samples);
    if rows > 20 { vec![scan, limit] } else { vec![scan] }
}

#[test]
fn what_a_query_within_skips_is_told_by_executions() {
    let facts = within(Some(60_000));
    let finding = the(&DETECTOR, &facts, OFFSET);
    assert_eq!(finding.title, "Statement 3 skips 60,000 rows by OFFSET within it");
    assert!(finding.remedy.contains("in the query that skips them"), "{}", finding.remedy);
    assert_eq!(finding.impact.saved_ms_per_hour, None, "what is around the page stays");
    let hint = hints(&facts, &Thresholds::default()).remove(0);
    let page = "(created_at, id) < ($3, $4) ORDER BY created_at DESC, id DESC LIMIT $5";
    assert_eq!(hint.better.as_deref(), Some(page));
    let written = "ORDER BY created_at DESC LIMIT $1 OFFSET $2";
    assert_eq!(hint.expression.as_deref(), Some(written));
    // Sums over such a page are told, too.
    let mut sums = facts.clone();
    third(&mut sums).shape.as_mut().expect("shape").aggregates = true;
    the(&DETECTOR, &sums, OFFSET);
    // Nobody looked, or too few times, or the page is one of the first.
    silent(&DETECTOR, &within(None), OFFSET);
    silent(&DETECTOR, &within(Some(40)), OFFSET);
    silent(&DETECTOR, &within(Some(0)), OFFSET);
    let mut once = facts.clone();
    once.evidence = Some(limits(3, 1, 60_000));
    silent(&DETECTOR, &once, OFFSET);
    let mut other = facts;
    other.evidence = Some(limits(1, 8, 60_000));
    silent(&DETECTOR, &other, OFFSET);
}

#[test]
fn a_constant_within_needs_no_executions() {
    let mut facts = within(None);
    let rows = |facts: &mut Facts, rows| {
        let shape = third(facts).shape.as_mut().expect("shape");
        shape.offset.as_mut().expect("offset").rows = Some(rows);
    };
    rows(&mut facts, 5_000);
    the(&DETECTOR, &facts, OFFSET);
    rows(&mut facts, 40);
    silent(&DETECTOR, &facts, OFFSET);
}

#[test]
fn blocks_are_not_taken_for_skipped_rows_where_executions_tell() {
    let mut facts = page(vec![order(1, "id", false)]);
    the(&DETECTOR, &facts, OFFSET);
    facts.evidence = Some(limits(3, 8, 60_000));
    the(&DETECTOR, &facts, OFFSET);
    // It is the scan that takes the blocks.
    facts.evidence = Some(limits(3, 8, 0));
    silent(&DETECTOR, &facts, OFFSET);
    facts.evidence = Some(limits(3, 8, 40));
    silent(&DETECTOR, &facts, OFFSET);
}

#[test]
fn a_page_saves_nothing_without_an_index_in_its_order() {
    let indexed = page(vec![order(2, "created_at", true)]);
    let finding = the(&DETECTOR, &indexed, OFFSET);
    assert!(finding.impact.saved_ms_per_hour.is_some_and(|ms| ms > 0.0), "{finding:?}");
    let told = |facts: &Facts| {
        let finding = the(&DETECTOR, facts, OFFSET);
        (finding.impact.saved_ms_per_hour.is_some(), finding.remedy.starts_with("Make an index"))
    };
    assert_eq!(told(&indexed), (true, false));
    let mut bare = page(vec![order(3, "note", false)]);
    assert_eq!(told(&bare), (false, true));
    // An index of what is compared with one value has the order behind it.
    let compared = |test| Predicate {
        expression: "created_at".to_owned(),
        attnum: 2,
        test,
        join: false,
        other: 0,
    };
    let behind = index(1, vec![key(2, "created_at"), key(3, "note")]);
    bare.indexes.as_mut().expect("indexes").push(behind);
    assert_eq!(told(&bare), (false, true), "created_at may be anything");
    let shape = third(&mut bare).shape.as_mut().expect("shape");
    shape.tables[0].predicates = vec![compared(Test::Range)];
    assert_eq!(told(&bare), (false, true), "several values have an order each");
    let shape = third(&mut bare).shape.as_mut().expect("shape");
    shape.tables[0].predicates = vec![compared(Test::Equal)];
    assert_eq!(told(&bare), (true, false));
}
