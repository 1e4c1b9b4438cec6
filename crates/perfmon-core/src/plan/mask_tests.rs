use super::*;
use proptest::prelude::*;

fn masked(text: &str) -> String {
    String::from_utf8(expression(text.as_bytes())).unwrap()
}

#[test]
fn constants_are_masked_and_nothing_else() {
    let cases = [
        ("(a = 5)", "(a = ?)"),
        ("(a = '-5'::integer)", "(a = ?::integer)"),
        ("(x.a1 = 1.5e+10)", "(x.a1 = ?)"),
        ("(a = 1e-5)", "(a = ?)"),
        ("((name)::text = 'it''s 3'::text)", "((name)::text = ?::text)"),
        ("(b = E'a\\'b')", "(b = ?)"),
        ("(b = B'0101'::\"bit\")", "(b = ?::\"bit\")"),
        ("(a = ANY ('{1,2,3}'::integer[]))", "(a = ANY (?::integer[]))"),
        ("(a = $1)", "(a = $1)"),
        ("(a = $0)", "(a = $0)"),
        ("(NOT (hashed SubPlan 1))", "(NOT (hashed SubPlan 1))"),
        ("(a = (InitPlan 12).col1)", "(a = (InitPlan 12).col1)"),
        ("(\"o'clock 7\" = 7)", "(\"o'clock 7\" = ?)"),
        ("((a)::numeric(10,2) > 3)", "((a)::numeric(10,2) > ?)"),
        ("((a)::character varying(20) = 'x')", "((a)::character varying(20) = ?)"),
        ("((a)::integer OR lower(5))", "((a)::integer OR lower(?))"),
        ("((a)::integer IN (5))", "((a)::integer IN (?))"),
        ("date_trunc('day'::text, at)", "date_trunc(?::text, at)"),
        ("(a = '5", "(a = ?"),
        ("t2.b DESC NULLS LAST", "t2.b DESC NULLS LAST"),
        ("(a[1] > .5)", "(a[?] > ?)"),
        ("(ü1 = 'ü')", "(ü1 = ?)"),
        ("'10'::real", "?::real"),
    ];
    for (text, expected) in cases {
        assert_eq!(masked(text), expected);
    }
}

const JSON: &str = r#"[
  {
    "Plan": {
      "Node Type": "Sort",
      "Total Cost": 12.25,
      "Sort Key": ["(abs((a - 7)))", "b"],
      "Plans": [
        {
          "Node Type": "Seq Scan",
          "Relation Name": "o'clock 3",
          "Alias": "t 5",
          "Plan Rows": 5,
          "Filter": "((b = 'say \"x\"\n: y'::text) AND (a = 5))"
        }
      ]
    }
  }
]"#;

const TEXT: &str = "Sort  (cost=12.20..12.25 rows=5 width=4)
  Sort Key: (abs((a - 7))), b
  ->  Seq Scan on \"o'clock 3\" \"t 5\"  (cost=0.00..12.00 rows=5 width=4)
        Filter: ((b = 'say \"x\"
: y'::text) AND (a = 5))";

#[test]
fn a_plan_is_masked_in_both_forms() {
    let masked = json(JSON.as_bytes()).unwrap();
    let shown = String::from_utf8(masked.json.clone()).unwrap();
    assert!(shown.contains(r#""Sort Key": ["(abs((a - ?)))", "b"]"#), "{shown}");
    assert!(shown.contains(r#""Filter": "((b = ?::text) AND (a = ?))""#), "{shown}");
    assert!(shown.contains(r#""Relation Name": "o'clock 3""#), "{shown}");
    assert!(serde_json::from_str::<serde_json::Value>(&shown).is_ok());
    let text = String::from_utf8(masked.text(TEXT.as_bytes()).unwrap()).unwrap();
    assert!(text.ends_with("Filter: ((b = ?::text) AND (a = ?))"), "{text}");
    assert!(text.contains("Sort Key: (abs((a - ?))), b"), "{text}");
    assert!(text.contains("cost=12.20..12.25 rows=5"), "{text}");
}

#[test]
fn a_bare_number_is_found_where_it_stands() {
    let masked = json(br#"{"Plan": {"Node Type": "Group", "Group Key": ["5", "a"]}}"#).unwrap();
    let text = masked.text(b"Group  (cost=5..5 rows=5)\n  Group Key: 5, a").unwrap();
    assert_eq!(text, b"Group  (cost=5..5 rows=5)\n  Group Key: ?, a");
}

#[test]
fn a_text_that_says_something_else_is_not_shown() {
    let masked = json(JSON.as_bytes()).unwrap();
    assert_eq!(masked.text(b"Seq Scan on t\n  Filter: (a = 5)"), None);
    assert_eq!(json(b"{\"Plan\": \"open"), None);
}

proptest! {
    #[test]
    fn no_literal_survives(words in prop::collection::vec("[a-z]{8}[0-9'\\\\\"\n ]{0,4}", 1..6)) {
        let quote = |word: &String| format!("'{}'::text", word.replace('\'', "''"));
        let filter = words.iter().map(|w| format!("(a = {})", quote(w))).collect::<Vec<_>>().join(" AND ");
        let plan = serde_json::json!({ "Plan": { "Node Type": "Seq Scan", "Filter": &filter } });
        let masked = json(plan.to_string().as_bytes()).unwrap();
        let shown = String::from_utf8(masked.json.clone()).unwrap();
        let text = masked.text(format!("Seq Scan\n  Filter: {filter}").as_bytes()).unwrap();
        let text = String::from_utf8(text).unwrap();
        for word in &words {
            prop_assert!(!shown.contains(&word[..8]) && !text.contains(&word[..8]));
        }
        prop_assert!(serde_json::from_str::<serde_json::Value>(&shown).is_ok());
    }

    #[test]
    fn nothing_panics(text in ".{0,60}", cut in 0usize..400) {
        let _ = expression(text.as_bytes());
        let _ = json(text.as_bytes());
        let bytes = &JSON.as_bytes()[..cut.min(JSON.len())];
        if let Some(masked) = json(bytes) {
            let _ = masked.text(text.as_bytes());
        }
    }
}
