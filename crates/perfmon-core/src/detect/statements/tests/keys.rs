//! What sorts and groups are by.

use super::*;
use crate::facts::Order;

#[test]
fn a_sort_by_what_the_plan_does_not_say_is_named_by_the_text() {
    let sort: (Kind, &[(Slot, u64)]) = (Kind::Sort, &[(Slot::Spills, 10)]);
    let by = |seen: &[&str], text: &[&str], grouped: &[&str]| {
        let mut facts = writing(false, &[sort]);
        let node = &mut facts.evidence.as_mut().expect("evidence")[0].node;
        let key = node.conditions.remove(0);
        let of = |expression: &&str| {
            let mut one = key.clone();
            (one.stage, one.usage) = ("sort".to_owned(), "sort".to_owned());
            one.expression = Some((*expression).to_owned());
            one
        };
        node.conditions = seen.iter().map(of).collect();
        let order = |text: &&str| Order {
            expression: (*text).to_owned(),
            attnum: 0,
            descending: false,
            nulls_first: false,
        };
        let order_by = text.iter().map(order).collect();
        let group_by = grouped.iter().map(|text| (*text).to_owned()).collect();
        let table = TableUse { order_by, group_by, ..TableUse::default() };
        let shape = facts.statements.as_mut().expect("statements")[0].shape.as_mut();
        shape.expect("a shape").tables = vec![table, TableUse::default()];
        plan::seen(&facts, 7, &Thresholds::default()).remove(0)
    };
    let told = |what: &str| format!("The {what} did not fit into memory, and went to disk.");
    assert_eq!(by(&["public.orders.id"], &["id"], &[]), told("sort by public.orders.id"));
    assert_eq!(by(&["(unknown)"], &["lower(mail)"], &[]), told("sort by lower(mail)"));
    assert_eq!(
        by(&["public.orders.id", "(unknown)"], &["id", "lower(mail)"], &[]),
        told("sort by id, lower(mail)")
    );
    assert_eq!(by(&["(unknown)"], &[], &["lower(mail)"]), told("sort by lower(mail)"));
    // The text says nothing of it either, or of several.
    assert_eq!(by(&["(unknown)"], &[], &[]), told("sort"));
    assert_eq!(by(&["(unknown)"], &["id", "lower(mail)"], &[]), told("sort"));
    assert_eq!(by(&["(unknown)"], &["id"], &["lower(mail)"]), told("sort"));
}
