//! Expressions whose values are not kept, and forms whose index or gain is not the plain one.

use super::*;

#[test]
fn an_expression_whose_values_are_not_kept_waits_for_executions() {
    let proven = |kind: FormKind, kept: u64| {
        let mut facts = with(form(kind));
        let mut shown = evidence(3, Kind::SeqScan, "public.orders", "substr(created_at, ?)", 5);
        shown.counts.set(crate::capture::scan::Slot::Read, 500_000);
        shown.counts.set(crate::capture::scan::Slot::Kept, kept);
        facts.evidence = Some(vec![shown]);
        facts
    };
    silent(&DETECTOR, &with(form(FormKind::Templated)), FUNCTION);
    silent(&DETECTOR, &proven(FormKind::Templated, 400_000), FUNCTION);
    let templated = proven(FormKind::Templated, 5);
    let finding = the(&DETECTOR, &templated, FUNCTION);
    assert_eq!(finding.statement, None, "nobody knows the values");
    assert!(finding.remedy.starts_with("Make an index on the expression"), "{finding:?}");
    assert!(finding.impact.saved_ms_per_hour.is_some());
    let finding = the(&DETECTOR, &proven(FormKind::Unstable, 5), FUNCTION);
    assert!(finding.remedy.starts_with("No index can be on the expression"), "{finding:?}");
    assert!(!finding.risk.is_empty(), "another comparison");
    let mut served = templated.clone();
    served.indexes.as_mut().expect("indexes").push(index(1, vec![key(0, "substr(created_at, 3)")]));
    silent(&DETECTOR, &served, FUNCTION);
    let mut other = templated;
    other.evidence.as_mut().expect("one")[0].node.conditions[0].expression =
        Some("substr(note, ?)".to_owned());
    silent(&DETECTOR, &other, FUNCTION);
}

#[test]
fn a_page_that_nobody_knows_the_order_of_is_promised_nothing() {
    let sorted = the(&DETECTOR, &page(vec![order(2, "created_at", true)]), OFFSET);
    assert!(sorted.impact.saved_ms_per_hour.is_some());
    // So are those of window functions and of UNION.
    let windowed = the(&DETECTOR, &page(Vec::new()), OFFSET);
    assert_eq!(windowed.impact.saved_ms_per_hour, None);
    assert!(
        windowed.helped.is_empty() && windowed.risk.contains("window function"),
        "{windowed:?}"
    );
}

#[test]
fn trigrams_of_char_n_need_a_cast_in_the_statement() {
    let padded = Form {
        better: Some("(note)::text LIKE $1".to_owned()),
        indexable: Some("(note)::text".to_owned()),
        attnum: 3,
        ..form(FormKind::Wildcard { known: true, of: crate::facts::Patterned::Padded })
    };
    let mut facts = with(padded);
    facts.server.available_extensions.push("pg_trgm".to_owned());
    let finding = the(&DETECTOR, &facts, WILDCARD);
    let sql = finding.statement.expect("an index");
    assert!(sql.ends_with("USING gin (((note)::text) gin_trgm_ops);"), "{sql}");
    assert!(finding.risk.contains("blanks"), "not the same: {}", finding.risk);
    let t = Thresholds::default();
    assert_eq!(hints(&facts, &t)[0].better.as_deref(), Some("(note)::text LIKE $1"));
}

#[test]
fn patterns_of_names_and_of_types_that_ignore_case_are_sought_as_text() {
    use crate::facts::Patterned::{Caseless, Name};
    let of = |of, known| {
        let kind = FormKind::Wildcard { known, of };
        let better = Some("(note)::text ILIKE $1".to_owned());
        let mut facts = with(Form {
            better,
            indexable: Some("(note)::text".to_owned()),
            attnum: 3,
            ..form(kind)
        });
        facts.server.available_extensions.push("pg_trgm".to_owned());
        facts
    };
    // Whatever it begins with; of a name, executions have to tell.
    for (facts, word) in [(of(Caseless, false), "ignores case"), (of(Name, true), "name")] {
        let finding = the(&DETECTOR, &facts, WILDCARD);
        let sql = finding.statement.expect("an index");
        assert!(sql.ends_with("USING gin (((note)::text) gin_trgm_ops);"), "{sql}");
        let t = Thresholds::default();
        let hint = &hints(&facts, &t)[0];
        assert!(hint.same_meaning && hint.reason.contains(word), "{}", hint.reason);
    }
    silent(&DETECTOR, &of(Name, false), WILDCARD);
}

#[test]
fn an_index_of_a_parent_is_none_of_its_children() {
    let dated = Form { better: Some("x".into()), ..form(FormKind::Dated { zoned: false }) };
    let mut facts = with(dated);
    let child = Table {
        parent: Some(1),
        columns: vec![column(5, "created_at", true)],
        ..table(8, "public.old_orders", 600_000)
    };
    facts.tables.as_mut().expect("tables").push(child);
    let sql = the(&DETECTOR, &facts, FUNCTION).statement.expect("the child has none");
    let expected = "CREATE INDEX CONCURRENTLY ON public.orders (created_at);\n\
                    CREATE INDEX CONCURRENTLY ON public.old_orders (created_at);";
    assert_eq!(sql, expected);
    facts.indexes.as_mut().expect("indexes").push(index(8, vec![key(5, "created_at")]));
    assert_eq!(the(&DETECTOR, &facts, FUNCTION).statement, None, "each has it");
}
