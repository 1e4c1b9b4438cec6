//! What is said of a scan.

use super::{CRITICAL_SHARE, ROWS, SCAN, SHARE, Scan, WARNING_SHARE, filters, remedy, rows_of};
use crate::detect::{per_hour, words};
use crate::facts::Facts;
use crate::finding::{Effort, Evidence, Finding, Helped, Severity};
use crate::threshold::Thresholds;

#[allow(clippy::cast_precision_loss, clippy::cast_possible_wrap)]
pub(super) fn finding(scan: &Scan<'_>, facts: &Facts, t: &Thresholds) -> Finding {
    let table = &scan.table;
    let rows_read = scan.activity.seq_tup_read;
    let kept: u64 = scan.readers.iter().map(|r| r.rows_kept).sum();
    let served = || scan.readers.iter().filter(|r| r.served);
    let ids: Vec<String> = served().take(5).map(|r| r.statement.statement_id.to_string()).collect();
    let by = filters(&scan.readers[0]).join(", ");
    let title = format!(
        "{} is read row by row: {} in {}, for {} kept",
        table.name,
        words::amount(rows_read as f64, "row"),
        words::amount(scan.activity.seq_scan as f64, "scan"),
        words::amount(kept as f64, "row")
    );
    let (statements, verb) =
        if ids.len() == 1 { ("Statement", "looks") } else { ("Statements", "look") };
    let (remedy, ddl) = remedy(scan);
    let mut finding = Finding::new(
        SCAN,
        scan.severity,
        table.name.clone(),
        title,
        remedy,
        "PostgreSQL manual, 11.1 and 14.1",
    );
    finding.cause = Some(format!(
        "{statements} {} {verb} rows up by {by}, for which no index serves.",
        ids.join(", ")
    ));
    finding.statement = ddl;
    finding.effort = Effort::Low;
    finding.risk = "Each index makes inserts and updates of its columns slower and takes space; building it reads the table once.".to_owned();
    finding.share_ratio = scan.share_ratio;
    let hourly = |ms: f64| per_hour(facts, ms);
    finding.impact.saved_ms_per_hour = hourly(scan.saved_ms);
    let saved_share = scan.share_ratio.map(|share| share * scan.saved_ms / scan.wasted_ms);
    finding.gain =
        saved_share.map(|share| format!("up to {} of all execution time", words::percent(share)));
    finding.helped = served()
        .filter_map(|r| {
            Some(Helped {
                statement_id: r.statement.statement_id,
                saved_ms_per_hour: hourly(r.wasted_ms)?,
            })
        })
        .collect();
    finding.evidence = evidence(scan, &by, &ids, saved_share, t);
    finding
}

#[allow(clippy::cast_precision_loss, clippy::cast_possible_wrap)]
fn evidence(
    scan: &Scan<'_>,
    by: &str,
    ids: &[String],
    saved_share: Option<f64>,
    t: &Thresholds,
) -> Vec<Evidence> {
    let table = &scan.table;
    let kept: u64 = scan.readers.iter().map(|r| r.rows_kept).sum();
    let crossed = match scan.severity {
        Severity::Critical => t.of(&CRITICAL_SHARE),
        Severity::Warning => t.of(&WARNING_SHARE),
        Severity::Info => t.of(&SHARE),
    };
    let scans = scan.activity.seq_scan as i64;
    let mut evidence = vec![
        Evidence::new("wasted_share_ratio", scan.share_ratio.unwrap_or(0.0), "ratio")
            .over(crossed)
            .out_of(scans),
        Evidence::new("seq_tup_read", scan.activity.seq_tup_read, "rows").out_of(scans),
        Evidence::new("rows_kept", kept, "rows"),
        Evidence::new("table_rows", rows_of(table).unwrap_or(0.0).round(), "rows")
            .over(t.of(&ROWS)),
        Evidence::new("filter_columns", by, ""),
        Evidence::new("statement_ids", ids.join(", "), ""),
    ];
    if let Some(seen) = scan.readers[0].seen.as_ref() {
        evidence.push(Evidence::new("samples", seen.samples, "executions"));
        let kept = seen.read_per_call * scan.readers[0].kept_ratio;
        let per_row = seen.read_per_call / kept.max(1.0 / seen.samples as f64);
        let per_row = Evidence::new("rows_read_per_row_kept", per_row, "rows");
        evidence.push(per_row.out_of(i64::try_from(seen.samples).unwrap_or(i64::MAX)));
    }
    if let Some(share) = saved_share.filter(|_| scan.saved_ms < scan.wasted_ms) {
        evidence.push(Evidence::new("served_share_ratio", share, "ratio"));
    }
    if let Some(bytes) = table.table_bytes {
        evidence.push(Evidence::new("table_bytes", bytes, "bytes"));
    }
    if let Some(trend) = scan.trend_ratio {
        evidence.push(Evidence::new("second_half_over_first_ratio", trend, "ratio"));
    }
    evidence
}
