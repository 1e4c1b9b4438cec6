//! Statements that change a few rows and take far longer than that work does, because they wait.

use super::WAITS;
use crate::detect::{per_hour, words};
use crate::facts::{Facts, Statement};
use crate::finding::{Effort, Evidence, Finding, Helped, Severity};
use crate::threshold::{Threshold, Thresholds};

pub(super) const WAIT_MEAN: Threshold = Threshold::new(
    "lock_waits_mean_ms",
    2.0,
    "Mean execution time from which a change of a few rows that touches few blocks must have waited.",
    "pg_perfmon: the work itself takes some tens of microseconds",
);
pub(super) const WAIT_CALLS: Threshold = Threshold::new(
    "lock_waits_min_calls",
    20.0,
    "Executions below which one slow moment can make the mean.",
    "pg_perfmon",
);
pub(super) const WAIT_SHARE: Threshold = Threshold::ratio(
    "lock_waits_min_share_ratio",
    0.03,
    "Share of the database's execution time from which such waits are worth a finding.",
    "pg_perfmon",
);

pub(super) const WAIT_ROWS: Threshold = Threshold::new(
    "lock_waits_max_rows_per_call",
    10.0,
    "Rows changed by one execution up to which a change is one of a few rows.",
    "pg_perfmon",
);
pub(super) const WAIT_BLOCK_MS: Threshold = Threshold::new(
    "lock_waits_block_ms",
    0.01,
    "Time that touching one block takes at most, ms: what is left is waiting.",
    "pg_perfmon: ten times what a slow core takes",
);
pub(super) const WAIT_READ_MS: Threshold = Threshold::new(
    "lock_waits_read_ms",
    5.0,
    "Time that reading one block from disk takes at most, ms, where it is not measured.",
    "pg_perfmon: a disk with moving parts",
);
pub(super) const WAIT_WORK: Threshold = Threshold::ratio(
    "lock_waits_max_work_share_ratio",
    0.25,
    "Share of the execution time that touching blocks, reading or compiling may take, each, for the rest to be waiting.",
    "pg_perfmon",
);

/// Whether a statement changes a few rows, touches few blocks, reads none from disk to speak of, and yet
/// takes far longer than that work does.
#[allow(clippy::cast_precision_loss)]
pub(super) fn waits(s: &Statement, t: &Thresholds) -> bool {
    let changes = matches!(s.command.as_deref(), Some("UPDATE" | "DELETE" | "MERGE"));
    let calls = s.calls as f64;
    let (Some(mean), Some(share)) = (s.mean_ms(), s.share_ratio) else { return false };
    let blocks = s.blks_hit.saturating_add(s.blks_read) as f64 / calls.max(1.0);
    let reads = s.read_ms.unwrap_or(s.blks_read as f64 * t.of(&WAIT_READ_MS));
    let work = t.of(&WAIT_WORK);
    changes
        && s.toplevel
        && calls >= t.of(&WAIT_CALLS)
        && mean >= t.of(&WAIT_MEAN)
        && share >= t.of(&WAIT_SHARE)
        && s.rows as f64 <= calls * t.of(&WAIT_ROWS)
        && blocks * t.of(&WAIT_BLOCK_MS) < mean * work
        && reads < s.exec_ms * work
        && s.jit_ms.unwrap_or(0.0) < s.exec_ms * work
        && s.temp_blks_written == 0
}

#[allow(clippy::cast_precision_loss, clippy::cast_possible_wrap)]
pub(super) fn waiting(s: &Statement, facts: &Facts, t: &Thresholds) -> Finding {
    let mean = s.mean_ms().unwrap_or(0.0);
    let calls = s.calls.max(1) as f64;
    let share = s.share_ratio.unwrap_or(0.0);
    let title = format!(
        "Statement {} mostly waits: {} to change {}, {} of all execution time",
        s.statement_id,
        words::milliseconds(mean),
        words::counted((s.rows as f64 / calls).round(), "row"),
        words::percent(share)
    );
    let object = format!("statement {}", s.statement_id);
    let remedy = "Find who holds the row (pg_blocking_pids() while it waits). Keep transactions that touch it short, touch it last before COMMIT, or spread a counter over several rows.";
    let mut finding =
        Finding::new(WAITS, Severity::Warning, object, title, remedy, "PostgreSQL manual, 13.3.2");
    finding.cause = Some("Its work touches a few blocks, which takes microseconds; the rest is waiting, most likely for a row lock that other transactions hold.".to_owned());
    finding.effort = Effort::High;
    finding.risk = "The application must be changed.".to_owned();
    finding.share_ratio = s.share_ratio;
    let blocks = s.blks_hit.saturating_add(s.blks_read) as f64 / calls;
    // What the work itself may take stays.
    let saved = (s.exec_ms - calls * blocks * t.of(&WAIT_BLOCK_MS)).max(0.0);
    finding.impact.saved_ms_per_hour = per_hour(facts, saved);
    finding.gain = Some(format!("up to {} per execution", words::milliseconds(saved / calls)));
    finding.helped = finding
        .impact
        .saved_ms_per_hour
        .map(|saved| Helped { statement_id: s.statement_id, saved_ms_per_hour: saved })
        .into_iter()
        .collect();
    finding.evidence = vec![
        Evidence::new("mean_exec_ms", mean, "ms").over(t.of(&WAIT_MEAN)).out_of(s.calls as i64),
        Evidence::new("share_ratio", share, "ratio").over(t.of(&WAIT_SHARE)),
        Evidence::new("work_share_ratio", blocks * t.of(&WAIT_BLOCK_MS) / mean, "ratio")
            .over(t.of(&WAIT_WORK)),
        Evidence::new("blocks_per_call", blocks, "blocks"),
        Evidence::new("rows_per_call", s.rows as f64 / calls, "rows").over(t.of(&WAIT_ROWS)),
    ];
    finding
}
