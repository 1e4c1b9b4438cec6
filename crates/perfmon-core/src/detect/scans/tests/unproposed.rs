//! Scans for which no index can be composed, and tables that need several.

use super::*;

/// A statement that looks rows up by `extract(year from at)`, whose constant is not kept, and what it showed.
fn by_expression(read: u64, kept: u64) -> Facts {
    let mut shown = seen(Kind::SeqScan, "public.orders", read, kept);
    shown.node.conditions[0].expression = Some("\"extract\"(?, at)".to_owned());
    let shape = looks(vec![on(0, "\"extract\"($1, at)", Test::Other)]);
    let mut facts = facts(table(), reader(shape));
    facts.evidence = Some(vec![shown]);
    facts
}

fn all_of(facts: &Facts) -> Vec<Finding> {
    let mut judgement = Judgement::default();
    detect(facts, &Thresholds::default(), &mut judgement);
    judgement.findings
}

#[test]
fn a_proven_scan_is_told_where_no_index_can_be_composed() {
    let facts = by_expression(200_000, 10);
    let all = all_of(&facts);
    let [f] = all.as_slice() else { panic!("{all:?}") };
    assert_eq!((f.object.as_str(), f.statement.as_deref()), ("public.orders", None));
    assert!(f.remedy.starts_with("Create an index on the expression \"extract\"(?, at)"), "{f:?}");
    assert!(f.remedy.contains("in place of each question mark"), "{}", f.remedy);
    assert!(f.cause.as_ref().is_some_and(|cause| cause.contains("\"extract\"(?, at)")), "{f:?}");
    assert_eq!(f.helped.len(), 1);
    assert!(f.impact.saved_ms_per_hour.is_some_and(|ms| ms > 7_000.0), "{f:?}");
    let scans = scans(&facts, &Thresholds::default());
    let (words, ddl) = remedy_of(&scans[0], &scans[0].readers[0]);
    assert_eq!((words, ddl), (f.remedy.clone(), None));
}

#[test]
fn what_is_not_proven_of_an_expression_is_not_told() {
    let silent = |why: &str, facts: Facts| assert_eq!(all_of(&facts), Vec::new(), "{why}");
    silent("many rows are kept", by_expression(200_000, 20_000));
    silent("it stops early", by_expression(500, 1));
    let mut guessed = by_expression(200_000, 10);
    guessed.evidence = Some(Vec::new());
    silent("nobody looked", guessed);
    let mut anything = by_expression(200_000, 10);
    let shown = &mut anything.evidence.as_mut().unwrap()[0];
    shown.node.conditions[0].usage = "other".to_owned();
    silent("no index serves such a comparison", anything);
    let mut served = by_expression(200_000, 10);
    let part = |expression: &str| crate::facts::KeyPart {
        expression: expression.to_owned(),
        ..crate::facts::KeyPart::default()
    };
    let on = |expression: &str| Index {
        table: 10,
        key: vec![part(expression)],
        valid: true,
        ..Index::default()
    };
    served.indexes = Some(vec![on("EXTRACT(year FROM at)")]);
    silent("there is such an index", served.clone());
    served.indexes = Some(vec![on("EXTRACT(year FROM other)")]);
    assert_eq!(all_of(&served).len(), 1, "of another column");
    // The executions that were looked into passed it over, so that its unit of time is another one.
    let since_us = served.window.since_us;
    let first_seen = |at: i64| Index { first_seen_us: Some(at), ..on("EXTRACT(year FROM at)") };
    served.indexes = Some(vec![first_seen(since_us)]);
    assert_eq!(all_of(&served).len(), 1, "of another unit");
    served.indexes = Some(vec![first_seen(since_us + 1)]);
    silent("it was created meanwhile", served.clone());
    let shown = &mut served.evidence.as_mut().unwrap()[0];
    shown.node.conditions[0].expression = Some("lower(at)".to_owned());
    served.indexes = Some(vec![Index { first_seen_us: Some(since_us), ..on("lower(at)") }]);
    silent("the planner had its reasons", served);
}

#[test]
fn words_say_what_is_known_of_the_expression() {
    let words = |change: &dyn Fn(&mut Facts)| {
        let mut facts = by_expression(200_000, 10);
        change(&mut facts);
        all_of(&facts).remove(0).remedy
    };
    let form = |facts: &mut Facts, kind: crate::facts::FormKind, better: Option<&str>| {
        let shape = facts.statements.as_mut().unwrap()[0].shape.as_mut().unwrap();
        shape.forms.push(crate::facts::Form {
            kind,
            tables: vec![10],
            attnum: 2,
            expression: "f(at) = $1".to_owned(),
            better: better.map(str::to_owned),
            indexable: None,
            inside: false,
            guessed: false,
        });
    };
    let unstable = words(&|facts| form(facts, crate::facts::FormKind::Unstable, None));
    assert!(unstable.starts_with("No index can be on \"extract\"(?, at)"), "{unstable}");
    let dated = crate::facts::FormKind::Dated { zoned: false };
    let written = words(&|facts| form(facts, dated.clone(), Some("at >= $1")));
    assert!(written.contains("perfmon.rewrite_hints()"), "{written}");
    let day = crate::facts::FormKind::TruncatedDay;
    let day = words(&|facts| form(facts, day.clone(), Some("at >= $1")));
    assert!(day.contains("perfmon.rewrite_hints()"), "{day}");
    let contained = words(&|facts| {
        facts.evidence.as_mut().unwrap()[0].node.conditions[0].usage = "containment".to_owned();
    });
    assert!(contained.starts_with("Create a GIN index on the expression"), "{contained}");
    // Where another statement lacks an index that can be composed, each has its own remedy.
    let mut both = by_expression(200_000, 10);
    let other = Statement { statement_id: 6, ..reader(by(Test::Equal)) };
    both.statements.as_mut().unwrap().push(other);
    let all = scans(&both, &Thresholds::default());
    let remedies: Vec<_> = all[0].readers.iter().map(|r| remedy_of(&all[0], r)).collect();
    assert_eq!(remedies.len(), 2, "{all:?}");
    assert!(remedies[0].1.is_some() && remedies[1].1.is_none(), "{remedies:?}");
    assert!(remedies[1].0.contains("\"extract\"(?, at)"), "{remedies:?}");
}

#[test]
fn children_that_inherit_get_an_index_each() {
    let child = |oid: u32, rows: f64| Table {
        oid,
        name: format!("public.c{oid}"),
        parent: Some(10),
        rows: Some(rows),
        table_bytes: table().table_bytes.map(|bytes| bytes / 2),
        // A column of its own stands before the one that it inherits.
        columns: vec![crate::facts::Column {
            attnum: 7,
            name: "customer_id".to_owned(),
            ..Default::default()
        }],
        ..table()
    };
    let parent = Table {
        rows: Some(0.0),
        live_rows: Some(0),
        table_bytes: Some(0),
        window: None,
        ..table()
    };
    let mut facts = facts(parent, reader(by(Test::Equal)));
    facts.tables.as_mut().unwrap().extend([child(11, 70_000.0), child(12, 90_000.0)]);
    let proposed = |facts: &Facts| {
        let all = scans(facts, &Thresholds::default());
        all.first().map(|scan| remedy(scan))
    };
    let (words, ddl) = proposed(&facts).unwrap();
    assert!(words.contains("each needs its own"), "{words}");
    let ddl = ddl.unwrap();
    let expected = "CREATE INDEX CONCURRENTLY ON public.c12 (customer_id);\n\
                    CREATE INDEX CONCURRENTLY ON public.c11 (customer_id);";
    assert_eq!(ddl, expected, "the parent is empty");
    let index = |table: u32, attnum: i16| Index {
        table,
        method: "btree".to_owned(),
        key: vec![crate::facts::KeyPart {
            attnum,
            expression: "customer_id".to_owned(),
            ..Default::default()
        }],
        valid: true,
        ready: true,
        live: true,
        ..Index::default()
    };
    facts.indexes = Some(vec![index(10, 2), index(12, 7)]);
    assert!(proposed(&facts).is_some(), "neither the parent's index serves, nor that of one child");
    facts.indexes = Some(vec![index(11, 7), index(12, 7)]);
    assert_eq!(proposed(&facts), None, "each has it");
}

#[test]
fn values_that_may_be_too_long_are_warned_of() {
    let words = |width| {
        let mut wide = table();
        wide.columns[0].width = Some(width);
        found(wide, reader(by(Test::Equal))).remove(0).remedy
    };
    assert!(words(180).contains("USING hash"), "{}", words(180));
    assert!(!words(16).contains("hash"), "{}", words(16));
}
