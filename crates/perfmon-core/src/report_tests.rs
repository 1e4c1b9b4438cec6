//! The report as readers see it, compared with whole expected texts.

use super::*;

fn sample() -> Report {
    Report {
        head: Head {
            server: "port 5432".to_owned(),
            version: "PostgreSQL 15.20".to_owned(),
            database: "shop".to_owned(),
            since: "2026-11-21 05:00:00+00".to_owned(),
            until: "2026-11-21 06:00:00+00".to_owned(),
            period_us: 3_600_000_000,
            intervals: 59,
            covered_us: 3_540_000_000,
            gaps: 1,
            quality: Some(0),
            completeness_ratio: Some(0.982),
            history_begins: None,
        },
        load: Load {
            transactions_per_s: Some(123.456),
            rollback_ratio: Some(0.0012),
            deadlocks: Some(2),
            statements_per_s: Some(15_432.1),
            active_ratio: Some(1.25),
            cache_hit_ratio: Some(0.9876),
            read_bytes: Some(987_654_321),
            wal_bytes: Some(123_456_789),
            temp_bytes: Some(0),
            database_bytes: None,
        },
        statements: vec![
            Statement {
                statement_id: 12,
                share_ratio: Some(0.4312),
                total_exec_ms: 1_903_000.0,
                calls: 54_321,
                mean_exec_ms: Some(35.03),
                rows_per_call: Some(1.0),
                user_name: Some("shop".to_owned()),
                query: Some(
                    "SELECT *\n  FROM orders o JOIN order_items i USING (order_id)\n WHERE a || b = $1"
                        .to_owned(),
                ),
            },
            Statement {
                statement_id: 7,
                total_exec_ms: 12.5,
                calls: 1,
                mean_exec_ms: Some(12.5),
                query: None,
                ..Statement::default()
            },
        ],
        tables: vec![Table {
            name: "public.orders".to_owned(),
            seq_scans: Some(4),
            rows_read: Some(400_000),
            rows_per_scan: Some(100_000.0),
            idx_scans: None,
            table_bytes: Some(26_214_400),
        }],
        gaps: vec![Gap {
            since: "2026-11-21 05:10:00+00".to_owned(),
            length_us: 61_000_000,
            subject: "all".to_owned(),
            kind: "server_down".to_owned(),
            detail: Some("The server\nwas down.".to_owned()),
        }],
        changes: vec![Change {
            at: "2026-11-21 05:30:00+00".to_owned(),
            name: "work_mem".to_owned(),
            old_value: Some("4MB".to_owned()),
            new_value: None,
        }],
    }
}

#[test]
fn a_full_report() {
    let expected = include_str!("report_expected.md");
    assert_eq!(markdown(&sample()), expected);
}

#[test]
fn no_line_is_wider_than_a_terminal() {
    let mut report = sample();
    report.statements[0].query = Some("x".repeat(10_000));
    report.statements[1].query = Some("`|\\".repeat(1_000));
    report.gaps[0].detail = Some("long ".repeat(100));
    report.changes[0].new_value = Some("a, ".repeat(100));
    report.tables[0].name = "n".repeat(200);
    for line in markdown(&report).lines() {
        assert!(width(line) <= WIDTH, "{} columns: {line}", width(line));
    }
}

#[test]
fn nothing_recorded_is_said_plainly() {
    let report = Report {
        head: Head { database: "empty".to_owned(), period_us: 60_000_000, ..Head::default() },
        ..Report::default()
    };
    let text = markdown(&report);
    assert!(text.contains("Nothing was recorded in this period"), "{text}");
    assert!(!text.contains("## Load"), "{text}");
}

#[test]
fn too_little_data_is_said_plainly() {
    let mut report = sample();
    report.head.intervals = 1;
    assert!(markdown(&report).contains("too little data"));
}

#[test]
fn shortening_keeps_code_spans_closed_and_escapes_whole() {
    assert_eq!(cut("`abcdef`", 7), "`ab...`");
    assert_eq!(cut("ab\\|cdefg", 6), "ab...");
    assert_eq!(cut("abc", 3), "abc");
}

#[test]
fn numbers_are_short_and_have_units() {
    assert_eq!(milliseconds(Some(0.0)), "0 ms");
    assert_eq!(milliseconds(Some(0.3141)), "0.31 ms");
    assert_eq!(milliseconds(Some(90_000.0)), "1.50 min");
    assert_eq!(size(Some(1_536)), "1.50 kB");
    assert_eq!(count(Some(9_999)), "9999");
    assert_eq!(count(Some(12_345)), "12.3 k");
    assert_eq!(number(None), "unknown");
    assert_eq!(duration(0), "0 s");
    assert_eq!(duration(3_661_000_000), "1 h 1 min");
    assert_eq!(duration(86_400_000_000 * 30), "30 d");
}

#[test]
fn json_is_the_same_facts() {
    let text = json(&sample()).unwrap();
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(value["head"]["intervals"], 59);
    assert_eq!(value["load"]["database_bytes"], serde_json::Value::Null);
}
