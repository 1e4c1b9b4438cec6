//! The report as JSON keeps to docs/report.schema.json, that of a run to docs/run.schema.json: every field is there,
//! described, of its type.

use perfmon_core::report::{Report, Run, SCHEMA, Slow, json, run_json};
use serde_json::{Map, Value, json as value};

use crate::{samples, shop};

fn schema_of(what: &str) -> Value {
    let file = format!("{}/../../docs/{what}.schema.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap()
}

fn schema() -> Value {
    schema_of("report")
}

/// A run of which as much is known as of a window.
fn run_of(report: Report) -> Run {
    let slow = Slow {
        statement_id: 1,
        p95_ms: Some(120.0),
        calls: 7,
        cause: "reads".to_owned(),
        ..Slow::default()
    };
    let untimed = Slow { p95_ms: None, mean_ms: Some(150.0), ..slow.clone() };
    Run {
        name: "nightly".to_owned(),
        database: report.head.database,
        begun_us: report.head.since_us,
        until_us: report.head.until_us,
        covered_us: report.head.covered_us,
        gaps: report.gaps,
        quality: report.head.quality,
        objectives: report.objectives.unwrap_or_default(),
        latency: report.latency,
        uncounted: report.uncounted,
        slow: vec![slow, untimed],
        slow_ms: 100.0,
        commands: report.commands,
        errors: report.errors,
        changes: report.changes,
        ..Run::default()
    }
}

/// What JSON Schema means, as far as the schema uses it, and stricter: no field may be there that the
/// schema does not have. A word that is not known here fails, so that nothing goes unchecked.
fn check(schema: &Value, root: &Value, value: &Value, at: &str, faults: &mut Vec<String>) {
    for (word, rule) in schema.as_object().unwrap() {
        let fits = match word.as_str() {
            "$schema" | "$id" | "$defs" | "title" | "description" => true,
            "$ref" => {
                let target = root.pointer(rule.as_str().unwrap().trim_start_matches('#'));
                check(target.expect("a definition"), root, value, at, faults);
                true
            }
            "type" => types(rule).iter().any(|kind| is_a(kind, value)),
            "const" => rule == value,
            "enum" => rule.as_array().unwrap().contains(value),
            "minimum" => value.as_f64().is_none_or(|v| v >= rule.as_f64().unwrap()),
            "maximum" => value.as_f64().is_none_or(|v| v <= rule.as_f64().unwrap()),
            "format" => *rule == "date-time" && value.as_str().is_none_or(is_time),
            "pattern" => *rule == "^[a-z][a-z0-9_]*$" && value.as_str().is_none_or(is_name),
            "required" => value.as_object().is_none_or(|fields| {
                rule.as_array()
                    .unwrap()
                    .iter()
                    .all(|name| fields.contains_key(name.as_str().unwrap()))
            }),
            "properties" => {
                let none = Map::new();
                for (name, field) in value.as_object().unwrap_or(&none) {
                    match rule.get(name) {
                        Some(schema) => check(schema, root, field, &format!("{at}.{name}"), faults),
                        None => faults.push(format!("{at}.{name} is not in the schema")),
                    }
                }
                true
            }
            "items" => {
                for (i, item) in value.as_array().into_iter().flatten().enumerate() {
                    check(rule, root, item, &format!("{at}[{i}]"), faults);
                }
                true
            }
            "anyOf" => rule.as_array().unwrap().iter().any(|one| {
                let mut why = Vec::new();
                check(one, root, value, at, &mut why);
                why.is_empty()
            }),
            other => panic!("this test does not know what {other} means"),
        };
        if !fits {
            faults.push(format!("{at}: {value} does not fit {word} {rule}"));
        }
    }
}

fn types(rule: &Value) -> Vec<&str> {
    match rule {
        Value::Array(all) => all.iter().map(|kind| kind.as_str().unwrap()).collect(),
        one => vec![one.as_str().unwrap()],
    }
}

fn is_a(kind: &str, value: &Value) -> bool {
    match kind {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        "number" => value.is_number(),
        "integer" => value.is_i64() || value.is_u64(),
        other => panic!("{other} is no type"),
    }
}

/// RFC 3339 in UTC.
fn is_time(text: &str) -> bool {
    let shape: String = text.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    shape == "0000-00-00T00:00:00.000000Z"
}

fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

fn faults(schema: &Value, value: &Value) -> Vec<String> {
    let mut faults = Vec::new();
    check(schema, schema, value, "$", &mut faults);
    faults
}

#[test]
fn every_report_keeps_to_the_schema() {
    let schema = schema();
    for (name, report) in samples::all() {
        let value: Value = serde_json::from_str(&json(&report).unwrap()).unwrap();
        assert_eq!(faults(&schema, &value), Vec::<String>::new(), "{name}");
    }
}

#[test]
fn every_report_of_a_run_keeps_to_its_schema() {
    let schema = schema_of("run");
    let sick = run_of(shop::sick_shop());
    for (name, report) in samples::all() {
        let run = run_of(report);
        for baseline in [None, Some(&sick)] {
            let value: Value = serde_json::from_str(&run_json(&run, baseline).unwrap()).unwrap();
            assert_eq!(faults(&schema, &value), Vec::<String>::new(), "{name}");
        }
    }
    let mut bad: Value = serde_json::from_str(&run_json(&sick, Some(&sick)).unwrap()).unwrap();
    bad["outcome"] = value!("fine");
    bad["compared"]["numbers"][0]["host"] = value!("db1");
    // In the first word of `anyOf` that does not fit, and for the outcome.
    assert_eq!(faults(&schema, &bad).len(), 2);
}

#[test]
fn a_report_that_does_not_is_noticed() {
    let schema = schema();
    let good: Value = serde_json::from_str(&json(&shop::sick_shop()).unwrap()).unwrap();
    let broken = |path: &str, value: Value| {
        let mut bad = good.clone();
        *bad.pointer_mut(path).unwrap() = value;
        faults(&schema, &bad).len()
    };
    assert_eq!(broken("/schema", value!("pg_perfmon.report/2")), 1);
    assert_eq!(broken("/head/since", value!("2026-11-21 12:00:00+00")), 1);
    assert_eq!(broken("/findings/0/severity", value!("bad")), 1);
    assert_eq!(broken("/findings/0/evidence/0/samples", value!("many")), 1);
    assert_eq!(broken("/load/rollback_ratio", value!(1.5)), 1);
    assert_eq!(broken("/verdict/rating", value!({"value": 3})), 1);
    assert_eq!(broken("/trend", value!(null)), 0);
    let mut more = good.clone();
    more["head"]["host"] = value!("db1");
    assert_eq!(faults(&schema, &more), ["$.head.host is not in the schema"]);
}

/// Every object names all of its fields as required, and describes each.
#[test]
fn the_schema_describes_every_field() {
    fn walk(schema: &Value, at: &str) {
        let Some(fields) = schema.as_object() else { return };
        if let Some(properties) = fields.get("properties").and_then(Value::as_object) {
            let required: Vec<&str> =
                fields["required"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
            for (name, field) in properties {
                assert!(required.contains(&name.as_str()), "{at}.{name} is not required");
                let said = field["description"].as_str().unwrap_or_default();
                assert!(said.len() > 5 && said.ends_with('.'), "{at}.{name} is not described");
            }
        }
        for (name, inner) in fields {
            walk(inner, &format!("{at}/{name}"));
        }
    }
    walk(&schema(), "#");
    walk(&schema_of("run"), "#");
}

#[test]
fn json_holds_what_markdown_judges() {
    let value: Value = serde_json::from_str(&json(&shop::sick_shop()).unwrap()).unwrap();
    assert_eq!(value["schema"], SCHEMA);
    assert_eq!(value["head"]["until"], "2026-11-21T12:00:00.000000Z");
    assert_eq!(value["head"]["source"], "-4611686018427387904");
    assert_eq!(value["verdict"]["rating"]["value"], 3.3);
    assert_eq!(value["verdict"]["saved_statements"], 3);
    let saved = value["verdict"]["saved_ratio"].as_f64().unwrap();
    assert!((0.64..0.65).contains(&saved), "{saved}");
    assert_eq!(value["findings"][0]["priority"], "critical");
    assert_eq!(value["findings"][0]["object"], "public.customers");
    assert_eq!(value["findings"][3]["outage_at"], "2026-12-09T18:00:00.000000Z");
    assert_eq!(value["findings"].as_array().unwrap().len(), 6);
    assert_eq!(value["trend"]["points"].as_array().unwrap().len(), 30);
    assert_eq!(value["trend"]["points"][7]["mean_exec_ms"], Value::Null);
    assert_eq!(value["missing"], Value::Null);
    assert_eq!(value["rewrites"][0]["same_meaning"], true);
    assert_eq!(value["rewrites"].as_array().unwrap().len(), 3);
    assert_eq!(value["statements"][0]["plan"]["since"], "2026-11-21T11:20:00.440923Z");
    assert_eq!(value["statements"][0]["plan_flip"]["before"]["mean_ms"], 0.031);
    assert_eq!(value["statements"][1]["seen"].as_array().unwrap().len(), 2);
}

#[test]
fn what_is_not_known_is_null() {
    let value: Value = serde_json::from_str(&json(&samples::no_statements()).unwrap()).unwrap();
    for path in ["/findings", "/statements", "/trend", "/verdict/rating", "/verdict/saved_ratio"] {
        assert_eq!(value.pointer(path), Some(&Value::Null), "{path}");
    }
    assert_eq!(value["missing"]["problem"], "not preloaded: statements are not counted");
}
