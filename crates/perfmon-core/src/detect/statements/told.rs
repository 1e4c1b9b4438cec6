//! The cause of a slow statement, what to do about it, and what to expect, in words.

use super::{Cause, Slow};
use crate::detect::words;
use crate::finding::Effort;

/// Cause and remedy in words.
pub fn in_words(slow: &Slow<'_>) -> (String, String) {
    let (cause, remedy, ..) = told(slow);
    (cause, remedy)
}

/// Cause, remedy, gain, effort and risk in words.
type Told = (String, String, Option<String>, Effort, &'static str);

pub(super) fn told(slow: &Slow<'_>) -> Told {
    let told = by_time(slow).unwrap_or_else(|| by_work(slow));
    match &slow.reason.shown {
        // What was seen stands for what the counters make likely.
        Some(shown) if slow.reason.cause == Cause::Spill => {
            (format!("{} {shown}", told.0), told.1, told.2, told.3, told.4)
        }
        Some(shown) => (shown.clone(), told.1, told.2, told.3, told.4),
        None => told,
    }
}

/// Where a part of the time that is measured is the cause.
#[allow(clippy::cast_precision_loss)]
fn by_time(slow: &Slow<'_>) -> Option<Told> {
    let s = slow.statement;
    let calls = s.calls.max(1) as f64;
    let of_time = |ms: Option<f64>| words::percent(ms.unwrap_or(0.0) / s.exec_ms);
    let up_to = |ms: Option<f64>| {
        ms.map(|ms| format!("up to {} per execution", words::milliseconds(ms / calls)))
    };
    Some(match slow.reason.cause {
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
            format!("Its sorts or hashes write {} to temporary files per execution: they do not fit into work_mem.", words::amount(s.temp_blks_written as f64 / calls, "block")),
            "Give the role that runs it more work_mem, or an index in the order of the sort.".to_owned(),
            up_to(s.temp_ms),
            Effort::Low,
            "Each sort and hash of each session may use that much memory.",
        ),
        Cause::Kept | Cause::NotIn => {
            let not_in = slow.reason.cause == Cause::NotIn;
            let written = words::amount(s.temp_blks_written as f64 / calls, "block");
            (
                format!("It writes {written} to temporary files per execution. {}", kept(not_in)),
                kept_remedy(not_in).to_owned(),
                up_to(s.temp_ms).filter(|_| !not_in),
                if not_in { Effort::Low } else { Effort::Medium },
                "",
            )
        }
        Cause::Read => (
            format!("{} of its time goes into reading {} per execution from outside shared_buffers.", of_time(s.read_ms), words::amount(s.blks_read as f64 / calls, "block")),
            "Read fewer blocks (a narrower or covering index), or keep them in memory (shared_buffers, more RAM).".to_owned(),
            up_to(s.read_ms),
            Effort::Medium,
            "",
        ),
        _ => return None,
    })
}

/// Why rows go to disk that no sort and no hash wrote.
pub(in crate::detect) fn kept(not_in: bool) -> &'static str {
    match not_in {
        true => {
            "They are the rows of its NOT IN: those of the subquery do not fit into memory, and are gone through again for each row."
        }
        false => {
            "No sort and no hash of the plans that were looked into did that: it is the own sort of an aggregate with DISTINCT or ORDER BY, or rows that a plan keeps to read them again (of a subquery, of WITH, of a function, of a join's inner side)."
        }
    }
}

/// What to do about it.
pub(in crate::detect) fn kept_remedy(not_in: bool) -> &'static str {
    match not_in {
        true => {
            "Write NOT EXISTS instead, which is planned as a join: see the finding rewrite_not_in of this statement, and perfmon.rewrite_hints()."
        }
        false => {
            "Find it in its plan (perfmon.plans(): Aggregate, Materialize, CTE Scan, Function Scan, WindowAgg), and have it work on fewer rows or columns, or be joined by an index; a finding temp_files of the statement says what memory it would take."
        }
    }
}

/// Where it is what the statement touches, returns or writes.
#[allow(clippy::cast_precision_loss)]
fn by_work(slow: &Slow<'_>) -> Told {
    let s = slow.statement;
    let calls = s.calls.max(1) as f64;
    let blocks = s.blks_hit.saturating_add(s.blks_read) as f64 / calls;
    let rows = s.rows as f64 / calls;
    match slow.reason.cause {
        Cause::Scan => (
            format!("It goes through {} for {} per execution: most of what it reads is thrown away.", words::amount(blocks.round(), "block"), words::amount(rows, "row")),
            "Look for an index on what it filters and joins by: see the findings of kind seq_scan, and EXPLAIN (ANALYZE, BUFFERS).".to_owned(),
            None,
            Effort::Low,
            "",
        ),
        Cause::Command => (
            format!(
                "It goes through {} per execution, as a command like {} does.",
                words::amount(blocks.round(), "block"),
                s.command.as_deref().unwrap_or("this")
            ),
            "Run it when there is little else to do, or, where the command has one, in the form that is in nobody's way (CONCURRENTLY); maintenance_work_mem and max_parallel_maintenance_workers decide how long an index takes. Of CALL and DO, the statements inside tell more: pg_stat_statements.track = all.".to_owned(),
            None,
            Effort::Low,
            "",
        ),
        Cause::Estimate => (
            slow.reason.shown.clone().unwrap_or_default(),
            "ANALYZE the tables of its plan; where columns depend on each other, CREATE STATISTICS on them, so that the planner expects what comes.".to_owned(),
            None,
            Effort::Low,
            "Other statements on these tables may get other plans too.",
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
        Cause::Write => (
            format!("It writes {} of WAL per execution.", words::size(s.wal_bytes as f64 / calls)),
            "Change fewer rows at once, drop indexes that nobody uses, and keep updates HOT (fillfactor, no index on what changes).".to_owned(),
            None,
            Effort::Medium,
            "",
        ),
        Cause::Lock => (
            format!("It touches {} and {} per execution, far too few for {}: it waits, most likely for rows that other transactions hold.", words::amount(blocks.round(), "block"), words::amount(rows, "row"), words::milliseconds(slow.mean_ms)),
            "Keep transactions that touch these rows short, touch the contended row last, or spread a counter over several rows.".to_owned(),
            None,
            Effort::High,
            "The application must be changed.",
        ),
        _ => (
            "Nothing that is measured stands out: processing, a function, or waits for locks or the client.".to_owned(),
            "Look at EXPLAIN (ANALYZE, BUFFERS) of one execution.".to_owned(),
            None,
            Effort::Medium,
            "",
        ),
    }
}
