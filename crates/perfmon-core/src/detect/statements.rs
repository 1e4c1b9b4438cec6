//! Slow statements: over the thresholds, what the time goes into, and the likely cause.

use super::{Detector, Judgement, per_hour, words};
use crate::facts::{Facts, Statement};
use crate::finding::{Effort, Evidence, Finding, Helped, Severity};
use crate::threshold::{Threshold, Thresholds};

mod cause;
mod elsewhere;
mod own;
mod plan;
#[cfg(test)]
mod tests;
mod told;
mod waits;

pub use cause::{Cause, Parts, Reason, parts, reason};
pub use elsewhere::Cures;
pub use own::is_own;
pub use plan::seen;
pub(super) use plan::{Source, written};
pub use told::in_words;
use told::told;
pub(super) use told::{kept, kept_remedy};
use waits::{waiting, waits};

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
/// From here on a 95th percentile is slow.
pub const P95: Threshold = Threshold::new(
    "slow_statement_p95_ms",
    100.0,
    "95th percentile of the execution time from which a statement is slow, whatever its mean.",
    "requirements: statement mean or p95, warning",
);
const TIMED: Threshold = Threshold::new(
    "slow_statement_min_timed_calls",
    100.0,
    "Executions below which a 95th percentile is made by a handful of them.",
    "pg_perfmon: five executions beyond it",
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
    "Mean execution time or 95th percentile from which a slow statement is critical, if it also takes time all the time.",
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

const SELDOM: Threshold = Threshold::new(
    "slow_statement_analysis_calls_per_hour",
    120.0,
    "Executions per hour below which a slow aggregate is analysis, and only for information.",
    "pg_perfmon: nobody waits for it with a page half drawn",
);

const ANALYSIS_SHARE: Threshold = Threshold::ratio(
    "slow_statement_analysis_max_share_ratio",
    0.5,
    "Share of the database's execution time from which a slow aggregate is no mere analysis, however seldom it runs.",
    "pg_perfmon: what takes half of the time, all others wait for",
);

static THRESHOLDS: &[Threshold] = &[
    MEAN,
    P95,
    TIMED,
    LOOKUP,
    CRITICAL,
    CALLS,
    SHARE,
    LOSS,
    CRITICAL_SHARE,
    SELDOM,
    ANALYSIS_SHARE,
    cause::PLANNING,
    cause::JIT,
    cause::SPILL_BLOCKS,
    cause::SPILL_SHARE,
    cause::SCAN_BLOCKS,
    cause::SCAN_PER_ROW,
    cause::MANY_ROWS,
    cause::MUCH_WAL,
    cause::READ,
    cause::LOCK_BLOCKS,
    cause::LOCK_BLOCKS_PER_MS,
    elsewhere::CURED,
    plan::MISJUDGED,
    waits::WAIT_MEAN,
    waits::WAIT_CALLS,
    waits::WAIT_SHARE,
    waits::WAIT_ROWS,
    waits::WAIT_BLOCK_MS,
    waits::WAIT_READ_MS,
    waits::WAIT_WORK,
];

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
    /// It is slow by its 95th percentile, ms, and not by its mean.
    pub by_p95_ms: Option<f64>,
    /// Where the time went.
    pub parts: Parts,
    /// Why, and what shows it.
    pub reason: Reason,
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
    let p95_ms = s.p95_ms.filter(|_| s.timed_calls as f64 >= t.of(&TIMED));
    let by_p95_ms = p95_ms.filter(|p95| mean_ms < threshold_ms && *p95 >= t.of(&P95));
    if (mean_ms < threshold_ms && by_p95_ms.is_none()) || share < t.of(&SHARE) {
        return None;
    }
    let threshold_ms = if by_p95_ms.is_some() { t.of(&P95) } else { threshold_ms };
    let per_hour_ms = per_hour(facts, s.exec_ms)?;
    let reason = plan::with_plans(reason(s, t), s, facts, t);
    let analysis = is_analysis(s, reason.cause, facts, t);
    let hurts = p95_ms.map_or(mean_ms, |p95| p95.max(mean_ms)) >= t.of(&CRITICAL)
        && share >= t.of(&CRITICAL_SHARE)
        && per_hour_ms >= t.of(&LOSS)
        // Analysis is long by its nature, and nobody waits for it with a page half drawn.
        && reason.cause != Cause::Aggregate
        && !analysis;
    let severity = match (hurts, analysis) {
        (true, _) => Severity::Critical,
        (false, true) => Severity::Info,
        (false, false) => Severity::Warning,
    };
    let saved = saved_share(s, reason.cause).map(|share| per_hour_ms * share);
    Some(Slow {
        statement: s,
        severity,
        threshold_ms,
        mean_ms,
        by_p95_ms,
        parts: parts(s),
        reason,
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

/// An aggregate that runs now and then, for which nobody waits with a page half drawn. Not one that takes most of the
/// time there is, nor one that is long by a form that should be another.
#[allow(clippy::cast_precision_loss)]
fn is_analysis(s: &Statement, cause: Cause, facts: &Facts, t: &Thresholds) -> bool {
    s.shape.as_ref().is_some_and(|shape| shape.aggregates)
        && cause != Cause::NotIn
        && s.share_ratio.is_none_or(|share| share < t.of(&ANALYSIS_SHARE))
        && per_hour(facts, s.calls as f64).is_some_and(|calls| calls < t.of(&SELDOM))
}

/// What share of the time goes when the cause does. Upper bounds, said as such.
fn saved_share(s: &Statement, cause: Cause) -> Option<f64> {
    let part = |part: Option<f64>| Some((part? / s.exec_ms).clamp(0.0, 1.0));
    match cause {
        Cause::Jit => part(s.jit_ms),
        Cause::Spill => part(s.temp_ms),
        Cause::Planning => part(s.plan_ms),
        Cause::Read => part(s.read_ms),
        Cause::Kept => part(s.temp_ms),
        // Found by the detector of scans, which knows the table; what a join would take, nobody does.
        Cause::Scan
        | Cause::NotIn
        | Cause::Command
        | Cause::Aggregate
        | Cause::Rows
        | Cause::Write
        | Cause::Lock
        | Cause::Estimate
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

#[allow(clippy::cast_precision_loss, clippy::cast_possible_wrap)]
fn finding(slow: &Slow<'_>, facts: &Facts, t: &Thresholds) -> Finding {
    let s = slow.statement;
    let calls = s.calls as f64;
    let (cause, remedy, gain, effort, risk) = told(slow);
    let mut title = format!(
        "Statement {} takes {} on average, {} of all execution time",
        s.statement_id,
        words::milliseconds(slow.mean_ms),
        words::percent(s.share_ratio.unwrap_or(0.0))
    );
    if let Some(p95) = slow.by_p95_ms {
        title = format!(
            "Statement {} takes {} or more in one of 20 executions ({} on average), {} of all execution time",
            s.statement_id,
            words::milliseconds(p95),
            words::milliseconds(slow.mean_ms),
            words::percent(s.share_ratio.unwrap_or(0.0))
        );
    }
    let object = format!("statement {}", s.statement_id);
    let mut finding =
        Finding::new(SLOW, slow.severity, object, title, remedy, "requirements: thresholds");
    finding.cause = Some(cause);
    finding.gain = gain;
    finding.effort = effort;
    finding.risk = risk.to_owned();
    finding.share_ratio = s.share_ratio;
    finding.impact.saved_ms_per_hour = slow.saved_ms_per_hour;
    finding.evidence.extend(times(slow, t));
    finding.evidence.extend(slow.reason.evidence.iter().cloned());
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
    let rows = s.rows as f64 / calls;
    for (metric, amount, unit) in
        [("blocks_per_call", blocks, "blocks"), ("rows_per_call", rows, "rows")]
    {
        // The cause may have told it.
        if !finding.evidence.iter().any(|told| told.metric == metric) {
            finding.evidence.push(Evidence::new(metric, amount, unit));
        }
    }
    if let Some(saved) = slow.saved_ms_per_hour {
        finding.helped.push(Helped { statement_id: s.statement_id, saved_ms_per_hour: saved });
    }
    finding
}

/// Mean and 95th percentile, that which crossed a threshold first, with the highest that it crossed.
#[allow(clippy::cast_possible_wrap)]
fn times(slow: &Slow<'_>, t: &Thresholds) -> Vec<Evidence> {
    let s = slow.statement;
    let critical = Some(t.of(&CRITICAL)).filter(|_| slow.severity == Severity::Critical);
    let told = |metric: &str, ms: f64, threshold: Option<f64>, samples: u64| {
        let crossed = critical.filter(|critical| ms >= *critical).or(threshold);
        let evidence = Evidence::new(metric, ms, "ms").out_of(samples as i64);
        match crossed {
            Some(crossed) => evidence.over(crossed),
            None => evidence,
        }
    };
    let own = Some(slow.threshold_ms);
    let by_p95 = slow.by_p95_ms.is_some();
    let mean = told("mean_exec_ms", slow.mean_ms, own.filter(|_| !by_p95), s.calls);
    let p95 = s.p95_ms.map(|ms| told("p95_ms", ms, own.filter(|_| by_p95), s.timed_calls));
    if by_p95 {
        p95.into_iter().chain([mean]).collect()
    } else {
        [mean].into_iter().chain(p95).collect()
    }
}

/// Has slow statements name the finding that explains most of their time.
pub(super) fn point_elsewhere(findings: &mut [Finding], facts: &Facts, t: &Thresholds) {
    let cures = Cures::among(findings);
    for finding in findings.iter_mut().filter(|finding| finding.kind == SLOW) {
        let is_it = |s: &&Statement| finding.object == format!("statement {}", s.statement_id);
        let statement = facts.statements.iter().flatten().find(is_it);
        if let Some((cause, remedy)) = statement.and_then(|s| cures.tell(s, facts, t)) {
            (finding.cause, finding.remedy) = (Some(cause), remedy);
            (finding.gain, finding.effort, finding.risk) = (None, Effort::Low, String::new());
        }
    }
}

/// The likely cause of a statement's time and what to do about it, whether or not it is over a threshold.
pub fn explain(s: &Statement, facts: &Facts, t: &Thresholds) -> (String, String) {
    in_words(&Slow {
        statement: s,
        severity: Severity::Info,
        threshold_ms: 0.0,
        mean_ms: s.mean_ms().unwrap_or(0.0),
        by_p95_ms: None,
        parts: parts(s),
        reason: plan::with_plans(reason(s, t), s, facts, t),
        saved_ms_per_hour: None,
    })
}
