//! Slow statements: over the thresholds, what the time goes into, and the likely cause.

use super::{Detector, Judgement, per_hour, words};
use crate::facts::{Facts, Statement};
use crate::finding::{Effort, Evidence, Finding, Helped, Severity};
use crate::threshold::{Threshold, Thresholds};

/// Kind of these findings.
pub const SLOW: &str = "slow_statement";

/// Kind of the finding that a statement waits for rows that others hold.
pub const WAITS: &str = "lock_waits";

/// The detector.
pub static DETECTOR: Detector =
    Detector { name: "statements", kinds: &[SLOW, WAITS], thresholds: THRESHOLDS, detect };

const MEAN: Threshold = Threshold::new(
    "slow_statement_mean_ms",
    100.0,
    "Mean execution time from which a statement is slow.",
    "requirements: statement mean or p95, warning",
);
const LOOKUP: Threshold = Threshold::new(
    "slow_lookup_mean_ms",
    50.0,
    "The same for a look-up of at most one row by equality.",
    "requirements: simple look-ups by key",
);
const CRITICAL: Threshold = Threshold::new(
    "slow_statement_critical_ms",
    500.0,
    "Mean execution time from which a slow statement is critical, if it also takes time all the time.",
    "requirements: statement mean or p95, critical",
);
const CALLS: Threshold = Threshold::new(
    "slow_statement_min_calls",
    5.0,
    "Executions below which a mean says too little.",
    "pg_perfmon: a mean of fewer is one accident",
);
const SHARE: Threshold = Threshold::ratio(
    "slow_statement_min_share_ratio",
    0.01,
    "Share of the database's execution time below which a statement is not worth a finding.",
    "pg_perfmon: less than that cannot be felt",
);
/// A tenth of a session busy all the time.
pub(super) const LOSS: Threshold = Threshold::new(
    "critical_loss_ms_per_hour",
    360_000.0,
    "Time lost per hour from which a slow statement or scan can be critical.",
    "pg_perfmon: a tenth of one session, always",
);
const CRITICAL_SHARE: Threshold = Threshold::ratio(
    "slow_statement_critical_share_ratio",
    0.05,
    "Share of the database's execution time from which a slow statement can be critical.",
    "pg_perfmon",
);

const WAIT_MEAN: Threshold = Threshold::new(
    "lock_waits_mean_ms",
    2.0,
    "Mean execution time from which a change of a few rows that touches few blocks must have waited.",
    "pg_perfmon: the work itself takes some tens of microseconds",
);
const WAIT_CALLS: Threshold = Threshold::new(
    "lock_waits_min_calls",
    20.0,
    "Executions below which one slow moment can make the mean.",
    "pg_perfmon",
);
const WAIT_SHARE: Threshold = Threshold::ratio(
    "lock_waits_min_share_ratio",
    0.03,
    "Share of the database's execution time from which such waits are worth a finding.",
    "pg_perfmon",
);

static THRESHOLDS: &[Threshold] = &[
    MEAN,
    LOOKUP,
    CRITICAL,
    CALLS,
    SHARE,
    LOSS,
    CRITICAL_SHARE,
    WAIT_MEAN,
    WAIT_CALLS,
    WAIT_SHARE,
];

/// Where the execution time of a statement went; parts that are not measured are `None`. All in
/// milliseconds over the window.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Parts {
    /// Reading blocks.
    pub read_ms: Option<f64>,
    /// Writing blocks.
    pub write_ms: Option<f64>,
    /// Temporary files.
    pub temp_ms: Option<f64>,
    /// Just-in-time compilation.
    pub jit_ms: Option<f64>,
    /// The rest: processing, and waiting for locks and clients.
    pub other_ms: f64,
    /// Planning, which comes on top.
    pub plan_ms: Option<f64>,
}

/// Parts of a statement's time.
pub fn parts(s: &Statement) -> Parts {
    let known = [s.read_ms, s.write_ms, s.temp_ms, s.jit_ms].iter().flatten().sum::<f64>();
    Parts {
        read_ms: s.read_ms,
        write_ms: s.write_ms,
        temp_ms: s.temp_ms,
        jit_ms: s.jit_ms,
        other_ms: (s.exec_ms - known).max(0.0),
        plan_ms: s.plan_ms,
    }
}

/// Why a statement is slow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// Planning takes longer than executing.
    Planning,
    /// Compiling takes a good part of the time.
    Jit,
    /// Sorts or hashes do not fit into work_mem.
    Spill,
    /// Reads many blocks for few rows.
    Scan,
    /// Goes through a whole table, or a good part of it, to add it up.
    Aggregate,
    /// Returns very many rows.
    Rows,
    /// Blocks come from disk.
    Read,
    /// Writes much WAL for each execution.
    Write,
    /// Hardly touches data, so it waits, most likely for a row that others hold.
    Lock,
    /// Nothing stands out.
    Compute,
}

/// Blocks for each row from which most of the reading is for nothing; 100 rows fit into a usual block.
const BLOCKS_PER_ROW: f64 = 50.0;
/// A megabyte: fewer blocks are read in a moment.
const MANY_BLOCKS: f64 = 128.0;
/// Rows that nobody looks at one by one.
const MANY_ROWS: f64 = 1000.0;
/// WAL for one execution that takes a while to write, bytes.
const MUCH_WAL: f64 = 16.0 * 1_048_576.0;
/// Blocks that are touched well under a millisecond.
const FEW_BLOCKS: f64 = 1000.0;

/// The likely cause, by what stands out most.
#[allow(clippy::cast_precision_loss)]
pub fn cause(s: &Statement) -> Cause {
    let calls = s.calls.max(1) as f64;
    let mean = s.exec_ms / calls;
    let blocks = s.blks_hit.saturating_add(s.blks_read) as f64 / calls;
    let rows = s.rows as f64 / calls;
    let share = |part: Option<f64>| part.unwrap_or(0.0) / s.exec_ms.max(f64::MIN_POSITIVE);
    let writes = !matches!(s.command.as_deref(), Some("SELECT") | None);
    if s.plan_ms.is_some_and(|plan| plan > s.exec_ms) {
        return Cause::Planning;
    }
    if share(s.jit_ms) >= 0.3 {
        return Cause::Jit;
    }
    if s.temp_blks_written as f64 / calls >= MANY_BLOCKS
        && s.temp_ms.is_none_or(|ms| ms / s.exec_ms >= 0.15)
    {
        return Cause::Spill;
    }
    if blocks >= MANY_BLOCKS && blocks / rows.max(1.0) >= BLOCKS_PER_ROW {
        return if adds_up(s) { Cause::Aggregate } else { Cause::Scan };
    }
    if rows >= MANY_ROWS && !writes {
        return Cause::Rows;
    }
    if s.wal_bytes as f64 / calls >= MUCH_WAL {
        return Cause::Write;
    }
    if share(s.read_ms) >= 0.5 {
        return Cause::Read;
    }
    // A core touches far more than 100 blocks in a millisecond.
    if blocks < FEW_BLOCKS && blocks < mean * 100.0 && rows < MANY_ROWS && writes {
        return Cause::Lock;
    }
    Cause::Compute
}

/// Whether it aggregates rows that no equality narrows down, so that they must all be read.
fn adds_up(s: &Statement) -> bool {
    s.shape.as_ref().is_some_and(|shape| {
        let narrow = |p: &crate::facts::Predicate| p.test.is_equality() && !p.join;
        shape.aggregates && !shape.tables.iter().flat_map(|t| &t.predicates).any(narrow)
    })
}

/// A slow statement.
#[derive(Debug, Clone, PartialEq)]
pub struct Slow<'a> {
    /// Which.
    pub statement: &'a Statement,
    /// How bad.
    pub severity: Severity,
    /// The threshold that it crossed, ms.
    pub threshold_ms: f64,
    /// Its mean execution time, ms.
    pub mean_ms: f64,
    /// Where the time went.
    pub parts: Parts,
    /// Why.
    pub cause: Cause,
    /// Time that mending the cause would save at most, ms per hour; `None` when nothing is promised.
    pub saved_ms_per_hour: Option<f64>,
}

/// Statements over the thresholds, worst first.
pub fn slow<'a>(facts: &'a Facts, t: &Thresholds) -> Vec<Slow<'a>> {
    let mut found: Vec<Slow<'a>> =
        facts.statements.iter().flatten().filter_map(|s| is_slow(s, facts, t)).collect();
    found.sort_by(|a, b| {
        b.severity.cmp(&a.severity).then(b.statement.exec_ms.total_cmp(&a.statement.exec_ms))
    });
    found
}

/// Commands whose length is somebody's business: others are maintenance, long by their nature.
const JUDGED: [&str; 6] = ["SELECT", "INSERT", "UPDATE", "DELETE", "MERGE", "EXECUTE"];

#[allow(clippy::cast_precision_loss)]
fn is_slow<'a>(s: &'a Statement, facts: &Facts, t: &Thresholds) -> Option<Slow<'a>> {
    let judged = s.command.as_deref().is_none_or(|command| JUDGED.contains(&command));
    if !judged || !s.toplevel || (s.calls as f64) < t.of(&CALLS) {
        return None;
    }
    let mean_ms = s.mean_ms()?;
    let share = s.share_ratio?;
    let threshold_ms = if is_lookup(s) { t.of(&LOOKUP) } else { t.of(&MEAN) };
    if mean_ms < threshold_ms || share < t.of(&SHARE) {
        return None;
    }
    let per_hour_ms = per_hour(facts, s.exec_ms)?;
    let cause = cause(s);
    let hurts = mean_ms >= t.of(&CRITICAL)
        && share >= t.of(&CRITICAL_SHARE)
        && per_hour_ms >= t.of(&LOSS)
        // Analysis is long by its nature, and nobody waits for it with a page half drawn.
        && cause != Cause::Aggregate
        && !is_analysis(s, facts);
    let severity = match (hurts, is_analysis(s, facts)) {
        (true, _) => Severity::Critical,
        (false, true) => Severity::Info,
        (false, false) => Severity::Warning,
    };
    let saved = saved_share(s, cause).map(|share| per_hour_ms * share);
    Some(Slow {
        statement: s,
        severity,
        threshold_ms,
        mean_ms,
        parts: parts(s),
        cause,
        saved_ms_per_hour: saved,
    })
}

/// At most one row, found by equality.
#[allow(clippy::cast_precision_loss)]
fn is_lookup(s: &Statement) -> bool {
    let Some(shape) = &s.shape else { return false };
    let [table] = shape.tables.as_slice() else { return false };
    !shape.aggregates
        && s.command.as_deref() == Some("SELECT")
        && s.rows as f64 <= s.calls as f64
        && !table.predicates.is_empty()
        && table.predicates.iter().all(|p| p.test == crate::facts::Test::Equal)
}

/// An aggregate that runs now and then, for which nobody waits with a page half drawn.
#[allow(clippy::cast_precision_loss)]
fn is_analysis(s: &Statement, facts: &Facts) -> bool {
    const SELDOM_PER_HOUR: f64 = 120.0;
    s.shape.as_ref().is_some_and(|shape| shape.aggregates)
        && per_hour(facts, s.calls as f64).is_some_and(|calls| calls < SELDOM_PER_HOUR)
}

/// What share of the time goes when the cause does. Upper bounds, said as such.
fn saved_share(s: &Statement, cause: Cause) -> Option<f64> {
    let part = |part: Option<f64>| Some((part? / s.exec_ms).clamp(0.0, 1.0));
    match cause {
        Cause::Jit => part(s.jit_ms),
        Cause::Spill => part(s.temp_ms),
        Cause::Planning => part(s.plan_ms),
        Cause::Read => part(s.read_ms),
        // Found by the detector of scans, which knows the table.
        Cause::Scan
        | Cause::Aggregate
        | Cause::Rows
        | Cause::Write
        | Cause::Lock
        | Cause::Compute => None,
    }
}

fn detect(facts: &Facts, t: &Thresholds, judgement: &mut Judgement) {
    if facts.statements.is_none() || facts.window.covered_us == 0 {
        judgement.unknown(SLOW);
        judgement.unknown(WAITS);
        return;
    }
    let slow = slow(facts, t);
    for one in &slow {
        judgement.add(finding(one, facts, t));
    }
    for s in facts.statements.iter().flatten() {
        let told = slow.iter().any(|one| std::ptr::eq(one.statement, s));
        if !told && waits(s, t) {
            judgement.add(waiting(s, facts, t));
        }
    }
}

/// Whether a statement changes a few rows, touches few blocks, reads none from disk to speak of, and yet
/// takes far longer than that work does.
#[allow(clippy::cast_precision_loss)]
fn waits(s: &Statement, t: &Thresholds) -> bool {
    let changes = matches!(s.command.as_deref(), Some("UPDATE" | "DELETE" | "MERGE"));
    let calls = s.calls as f64;
    let (Some(mean), Some(share)) = (s.mean_ms(), s.share_ratio) else { return false };
    let blocks = s.blks_hit.saturating_add(s.blks_read) as f64 / calls.max(1.0);
    // Reading a block from disk takes up to some milliseconds where its time is not measured.
    let reads = s.read_ms.map_or(s.blks_read as f64 * 5.0, |ms| ms);
    changes
        && s.toplevel
        && calls >= t.of(&WAIT_CALLS)
        && mean >= t.of(&WAIT_MEAN)
        && share >= t.of(&WAIT_SHARE)
        && s.rows as f64 <= calls * 10.0
        // A hundredth of a millisecond for each block is plenty.
        && blocks * 0.01 < mean * 0.25
        && reads < s.exec_ms * 0.25
        && s.jit_ms.unwrap_or(0.0) < s.exec_ms * 0.25
        && s.temp_blks_written == 0
}

#[allow(clippy::cast_precision_loss, clippy::cast_possible_wrap)]
fn waiting(s: &Statement, facts: &Facts, t: &Thresholds) -> Finding {
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
    let saved = (s.exec_ms - calls * blocks * 0.01).max(0.0);
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
        Evidence::new("blocks_per_call", blocks, "blocks"),
        Evidence::new("rows_per_call", s.rows as f64 / calls, "rows"),
    ];
    finding
}

#[allow(clippy::cast_precision_loss, clippy::cast_possible_wrap)]
fn finding(slow: &Slow<'_>, facts: &Facts, t: &Thresholds) -> Finding {
    let s = slow.statement;
    let calls = s.calls as f64;
    let (cause, remedy, gain, effort, risk) = told(slow);
    let title = format!(
        "Statement {} takes {} on average, {} of all execution time",
        s.statement_id,
        words::milliseconds(slow.mean_ms),
        words::percent(s.share_ratio.unwrap_or(0.0))
    );
    let object = format!("statement {}", s.statement_id);
    let mut finding =
        Finding::new(SLOW, slow.severity, object, title, remedy, "requirements: thresholds");
    finding.cause = Some(cause);
    finding.gain = gain;
    finding.effort = effort;
    finding.risk = risk.to_owned();
    finding.share_ratio = s.share_ratio;
    finding.impact.saved_ms_per_hour = slow.saved_ms_per_hour;
    finding.evidence.push(
        Evidence::new("mean_exec_ms", slow.mean_ms, "ms")
            .over(slow.threshold_ms)
            .out_of(s.calls as i64),
    );
    if slow.severity == Severity::Critical {
        finding
            .evidence
            .push(Evidence::new("mean_exec_ms", slow.mean_ms, "ms").over(t.of(&CRITICAL)));
    }
    if let Some(hour) = per_hour(facts, calls) {
        finding.evidence.push(Evidence::new("calls_per_hour", hour, ""));
    }
    for (metric, part) in [
        ("read_ms_per_call", slow.parts.read_ms),
        ("write_ms_per_call", slow.parts.write_ms),
        ("temp_ms_per_call", slow.parts.temp_ms),
        ("jit_ms_per_call", slow.parts.jit_ms),
        ("other_ms_per_call", Some(slow.parts.other_ms)),
        ("plan_ms_per_call", slow.parts.plan_ms),
    ] {
        if let Some(ms) = part.filter(|ms| *ms > 0.0) {
            finding.evidence.push(Evidence::new(metric, ms / calls, "ms"));
        }
    }
    let blocks = s.blks_hit.saturating_add(s.blks_read) as f64 / calls;
    finding.evidence.push(Evidence::new("blocks_per_call", blocks, "blocks"));
    finding.evidence.push(Evidence::new("rows_per_call", s.rows as f64 / calls, "rows"));
    if let Some(saved) = slow.saved_ms_per_hour {
        finding.helped.push(Helped { statement_id: s.statement_id, saved_ms_per_hour: saved });
    }
    finding
}

/// Cause and remedy in words.
pub fn in_words(slow: &Slow<'_>) -> (String, String) {
    let (cause, remedy, ..) = told(slow);
    (cause, remedy)
}

/// Cause, remedy, gain, effort and risk in words.
#[allow(clippy::cast_precision_loss)]
fn told(slow: &Slow<'_>) -> (String, String, Option<String>, Effort, &'static str) {
    let s = slow.statement;
    let calls = s.calls.max(1) as f64;
    let blocks = s.blks_hit.saturating_add(s.blks_read) as f64 / calls;
    let rows = s.rows as f64 / calls;
    let of_time = |ms: Option<f64>| words::percent(ms.unwrap_or(0.0) / s.exec_ms);
    let up_to = |ms: Option<f64>| {
        ms.map(|ms| format!("up to {} per execution", words::milliseconds(ms / calls)))
    };
    match slow.cause {
        Cause::Planning => (
            format!("Planning takes {} per execution, longer than executing.", words::milliseconds(s.plan_ms.unwrap_or(0.0) / calls)),
            "Prepare the statement once per session and execute it with parameters; look for tables with very many partitions or indexes.".to_owned(),
            up_to(s.plan_ms),
            Effort::Medium,
            "A generic plan can be worse for unusual parameters; plan_cache_mode decides.",
        ),
        Cause::Jit => (
            format!("Just-in-time compilation takes {} of the execution time.", of_time(s.jit_ms)),
            "Raise jit_above_cost, or switch jit off for the role that runs it.".to_owned(),
            up_to(s.jit_ms),
            Effort::Low,
            "Long analytical statements may lose what compilation gives them.",
        ),
        Cause::Spill => (
            format!("Its sorts or hashes write {} blocks to temporary files per execution: they do not fit into work_mem.", words::number(s.temp_blks_written as f64 / calls)),
            "Give the role that runs it more work_mem, or an index in the order of the sort.".to_owned(),
            up_to(s.temp_ms),
            Effort::Low,
            "Each sort and hash of each session may use that much memory.",
        ),
        Cause::Scan => (
            format!("It goes through {} blocks for {} rows per execution: most of what it reads is thrown away.", words::number(blocks.round()), words::number(rows)),
            "Look for an index on what it filters and joins by: see the findings of kind seq_scan, and EXPLAIN (ANALYZE, BUFFERS).".to_owned(),
            None,
            Effort::Low,
            "",
        ),
        Cause::Aggregate => (
            format!(
                "It goes through {} blocks per execution to aggregate them: analysis, which no index makes much quicker.",
                words::number(blocks.round())
            ),
            "If its answer may be some minutes old, keep it in a materialized view or a summary table; else run it where it is in nobody's way.".to_owned(),
            None,
            Effort::Medium,
            "",
        ),
        Cause::Rows => (
            format!("It returns {} rows per execution.", words::number(rows)),
            "Ask for a page at a time (a key of the last row seen and LIMIT), or read with a cursor; aggregate in the database what is only counted.".to_owned(),
            None,
            Effort::High,
            "The application must be changed.",
        ),
        Cause::Read => (
            format!("{} of its time goes into reading {} blocks per execution from outside shared_buffers.", of_time(s.read_ms), words::number(s.blks_read as f64 / calls)),
            "Read fewer blocks (a narrower or covering index), or keep them in memory (shared_buffers, more RAM).".to_owned(),
            up_to(s.read_ms),
            Effort::Medium,
            "",
        ),
        Cause::Write => (
            format!("It writes {} of WAL per execution.", words::size(s.wal_bytes as f64 / calls)),
            "Change fewer rows at once, drop indexes that nobody uses, and keep updates HOT (fillfactor, no index on what changes).".to_owned(),
            None,
            Effort::Medium,
            "",
        ),
        Cause::Lock => (
            format!("It touches {} blocks and {} rows per execution, far too few for {}: it waits, most likely for rows that other transactions hold.", words::number(blocks.round()), words::number(rows), words::milliseconds(slow.mean_ms)),
            "Keep transactions that touch these rows short, touch the contended row last, or spread a counter over several rows.".to_owned(),
            None,
            Effort::High,
            "The application must be changed.",
        ),
        Cause::Compute => (
            "Nothing that is measured stands out: processing, a function, or waits for locks or the client.".to_owned(),
            "Look at EXPLAIN (ANALYZE, BUFFERS) of one execution.".to_owned(),
            None,
            Effort::Medium,
            "",
        ),
    }
}

#[cfg(test)]
#[path = "statements_tests.rs"]
mod tests;
