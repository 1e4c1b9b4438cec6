//! Conditions that no index serves as they are written, and those that stand beside them.

use super::*;
use crate::capture::scan::Condition;

/// A condition with its expression, operator and use.
type Text<'a> = (&'a str, Option<&'a str>, Option<&'a str>, &'a str);

const RANGE: Text<'_> = ("(weight > ?)", Some("weight"), Some(">"), "range");
const WHOLE: Text<'_> = ("(weight < ?)", Some("weight"), Some("<"), "range");

fn wide() -> Table {
    let column = |attnum, name: &str, distinct| crate::facts::Column {
        attnum,
        name: name.to_owned(),
        distinct,
        ..Default::default()
    };
    let columns = vec![
        column(3, "tags", None),
        column(4, "done", Some(2.0)),
        column(5, "weight", Some(-1.0)),
        column(6, "id", Some(-1.0)),
    ];
    Table { columns, ..table() }
}

fn scan(conditions: &[Text<'_>], read: u64, kept: u64) -> Shown {
    let mut one = seen(Kind::SeqScan, "public.orders", read, kept);
    let text = |text: &str| text.to_owned();
    let condition = |(all, expression, operator, usage): &Text<'_>| Condition {
        stage: "filter".to_owned(),
        text: text(all),
        expression: expression.map(text),
        operator: operator.map(text),
        usage: text(usage),
        ..Condition::default()
    };
    one.node.conditions = conditions.iter().map(condition).collect();
    one
}

/// What is told of an aggregate over what these scans find.
fn told(scans: Vec<Shown>) -> Option<(String, Option<String>)> {
    let shape = Shape { aggregates: true, ..looks(Vec::new()) };
    let mut facts = facts(wide(), reader(shape));
    facts.evidence = Some(scans);
    let mut judgement = Judgement::default();
    detect(&facts, &Thresholds::default(), &mut judgement);
    assert!(judgement.findings.len() <= 1, "{:?}", judgement.findings);
    judgement.findings.pop().map(|finding| (finding.remedy, finding.statement))
}

fn few(conditions: &[Text<'_>]) -> (String, Option<String>) {
    told(vec![scan(conditions, 200_000, 20)]).expect("a finding")
}

fn on(column: &str) -> Option<String> {
    Some(format!("CREATE INDEX CONCURRENTLY ON public.orders ({column});"))
}

#[test]
fn a_value_in_an_array_of_the_row_is_written_in_another_way() {
    for usage in ["other", "equality"] {
        let array = ("(? = ANY (tags))", Some("tags"), Some("= ANY"), usage);
        let (words, sql) = few(&[array]);
        assert!(words.contains("write tags @> ARRAY[?]") && words.contains("GIN"), "{words}");
        assert_eq!(sql, None, "no B-tree");
        assert!(!words.contains("WHERE"), "{words}");
        let (words, sql) = few(&[array, RANGE]);
        assert!(words.contains("tags @> ARRAY[?]") && sql.is_none(), "{words}: {sql:?}");
        assert!(words.contains("condition on weight leaves few rows"), "{words}");
    }
    let any = ("(id = ANY (?))", Some("id"), Some("= ANY"), "equality");
    assert_eq!(few(&[any]).1, on("id"), "the twin: any of several values");
}

#[test]
fn what_leaves_something_out_hides_no_condition_that_picks() {
    let outside = ("((id < ?) OR (id > ?))", None, None, "other");
    assert_eq!(few(&[RANGE, outside]).1, on("weight"));
    let not = ("(NOT (tags @> ?))", None, None, "other");
    assert_eq!(few(&[not, RANGE]).1, on("weight"));
    // By themselves they are why few were kept.
    let (words, sql) = few(&[outside]);
    assert!(words.contains("an index for each") && sql.is_none(), "{words}");
    let (words, sql) = few(&[not]);
    assert!(words.contains("WHERE (NOT (tags @> ?))") && sql.is_none(), "{words}");
    // Either of two values may pick as well as the range: both are told.
    let either = ("((id = ?) OR (done = ?))", None, None, "other");
    let (words, sql) = few(&[either, RANGE]);
    assert!(words.contains("an index for each") && words.contains("on weight"), "{words}");
    assert_eq!(sql, None);
    // What may change with settings is in no index.
    for text in ["(NOT (lower(note) ~~ ?))", "(NOT ((at)::text ~~ ?))", "(NOT (subquery))"] {
        assert_eq!(told(vec![scan(&[(text, None, None, "other")], 200_000, 20)]), None, "{text}");
    }
}

#[test]
fn truth_values_are_looked_up_too() {
    for text in ["done", "(NOT done)", "(done IS TRUE)", "(done IS FALSE)"] {
        assert_eq!(few(&[(text, Some("done"), None, "truth")]).1, on("done"), "{text}");
    }
    for text in ["(done IS NOT TRUE)", "(done IS NOT FALSE)"] {
        let (words, sql) = few(&[(text, Some("done"), None, "truth")]);
        assert!(words.contains(&format!("WHERE {text}")) && sql.is_none(), "{words}");
    }
    let half = scan(&[("(NOT done)", Some("done"), None, "truth")], 200_000, 100_000);
    assert_eq!(told(vec![half]), None, "many are wanted");
}

#[test]
fn each_scan_of_a_table_is_judged_by_itself() {
    let whole = || scan(&[], 200_000, 200_000);
    let (_, sql) = told(vec![whole(), scan(&[RANGE], 200_000, 1)]).expect("a finding");
    assert_eq!(sql, on("weight"));
    assert_eq!(
        told(vec![whole(), scan(&[WHOLE], 200_000, 100_000)]),
        None,
        "none throws much away"
    );
    assert_eq!(
        told(vec![whole(), scan(&[RANGE], 2_000, 1)]),
        None,
        "it is the other that takes time"
    );
}
