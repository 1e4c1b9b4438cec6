//! What a statement's time goes into, and why it is slow: the cause that stands out most, with what shows
//! it and the threshold that it crossed.

use crate::facts::Statement;
use crate::finding::Evidence;
use crate::threshold::{Threshold, Thresholds};

pub(super) const PLANNING: Threshold = Threshold::new(
    "cause_planning_factor",
    1.0,
    "Planning time over execution time from which planning is the cause.",
    "pg_perfmon: more than half of the whole",
);
pub(super) const JIT: Threshold = Threshold::ratio(
    "cause_jit_share_ratio",
    0.3,
    "Share of the execution time that just-in-time compilation takes, from which it is the cause.",
    "pg_perfmon",
);
pub(super) const SPILL_BLOCKS: Threshold = Threshold::new(
    "cause_temp_blocks_per_call",
    128.0,
    "Blocks written to temporary files by one execution from which spilling can be the cause.",
    "pg_perfmon: a megabyte; fewer are written in a moment",
);
pub(super) const SPILL_SHARE: Threshold = Threshold::ratio(
    "cause_temp_share_ratio",
    0.15,
    "Share of the execution time that temporary files take, where it is measured, from which they are the cause.",
    "pg_perfmon: sorting in several passes takes as much again",
);
pub(super) const SCAN_BLOCKS: Threshold = Threshold::new(
    "cause_scan_blocks_per_call",
    128.0,
    "Blocks touched by one execution from which a scan can be the cause.",
    "pg_perfmon: a megabyte; fewer are read in a moment",
);
pub(super) const SCAN_PER_ROW: Threshold = Threshold::new(
    "cause_scan_blocks_per_row",
    50.0,
    "Blocks touched for each row kept from which most of the reading is for nothing.",
    "pg_perfmon: an index touches four or five; a usual block holds 100 rows",
);
pub(super) const MANY_ROWS: Threshold = Threshold::new(
    "cause_rows_per_call",
    1_000.0,
    "Rows returned by one execution from which their number is the cause.",
    "pg_perfmon: nobody looks at so many one by one",
);
pub(super) const MUCH_WAL: Threshold = Threshold::new(
    "cause_wal_bytes_per_call",
    16_777_216.0,
    "WAL written by one execution, bytes, from which writing is the cause.",
    "pg_perfmon: a segment of WAL",
);
pub(super) const READ: Threshold = Threshold::ratio(
    "cause_read_share_ratio",
    0.5,
    "Share of the execution time spent on reading blocks, from which reading is the cause.",
    "pg_perfmon: half of the whole",
);
pub(super) const LOCK_BLOCKS: Threshold = Threshold::new(
    "cause_lock_blocks_per_call",
    1_000.0,
    "Blocks touched by one execution of a change below which it most likely waits for locks.",
    "pg_perfmon: so many are touched well under a millisecond",
);
pub(super) const LOCK_BLOCKS_PER_MS: Threshold = Threshold::new(
    "cause_lock_blocks_per_ms",
    100.0,
    "Blocks touched per millisecond of a change below which it most likely waits for locks.",
    "pg_perfmon: a core touches far more",
);

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
    /// Rows that are kept to be read again, or an aggregate's own sort, go to disk; no node that sorts or hashes does.
    Kept,
    /// The same of the rows of a NOT IN, which should be a join.
    NotIn,
    /// Reads many blocks for few rows.
    Scan,
    /// A command that goes through tables as its work is: it builds an index, loads, vacuums, or calls a procedure.
    Command,
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
    /// A plan was chosen for far fewer rows than came.
    Estimate,
    /// Nothing stands out.
    Compute,
}

/// A statement's cause, and what shows it: the values that chose it, each with its threshold.
#[derive(Debug, Clone, PartialEq)]
pub struct Reason {
    /// Why.
    pub cause: Cause,
    /// What shows it; nothing where nothing stands out.
    pub evidence: Vec<Evidence>,
    /// What its own executions showed, in words.
    pub shown: Option<String>,
}

/// The likely cause, by what stands out most.
pub fn reason(s: &Statement, t: &Thresholds) -> Reason {
    let m = Measures::of(s);
    let found = m.by_time(s, t).or_else(|| m.by_work(s, t));
    found.unwrap_or(Reason { cause: Cause::Compute, evidence: Vec::new(), shown: None })
}

/// What is compared, per execution.
struct Measures {
    calls: f64,
    blocks: f64,
    rows: f64,
    writes: bool,
    /// Not planned: no index is missing where it goes through a table.
    is_utility: bool,
}

impl Measures {
    #[allow(clippy::cast_precision_loss)]
    fn of(s: &Statement) -> Self {
        let calls = s.calls.max(1) as f64;
        Self {
            calls,
            blocks: s.blks_hit.saturating_add(s.blks_read) as f64 / calls,
            rows: s.rows as f64 / calls,
            writes: !matches!(s.command.as_deref(), Some("SELECT") | None),
            is_utility: !matches!(
                s.command.as_deref(),
                Some("SELECT" | "INSERT" | "UPDATE" | "DELETE" | "MERGE") | None
            ),
        }
    }

    /// Parts of the time that are measured.
    #[allow(clippy::cast_precision_loss)]
    fn by_time(&self, s: &Statement, t: &Thresholds) -> Option<Reason> {
        let share = |ms: f64| ms / s.exec_ms.max(f64::MIN_POSITIVE);
        let planning = s.plan_ms.map(share).filter(|factor| *factor > t.of(&PLANNING));
        if let Some(factor) = planning {
            let shown = Evidence::new("planning_over_execution", factor, "");
            return Some(Reason::new(Cause::Planning, [shown.over(t.of(&PLANNING))]));
        }
        if let Some(jit) = s.jit_ms.map(share).filter(|jit| *jit >= t.of(&JIT)) {
            let shown = Evidence::new("jit_share_ratio", jit, "ratio").over(t.of(&JIT));
            return Some(Reason::new(Cause::Jit, [shown]));
        }
        let spilled = s.temp_blks_written as f64 / self.calls;
        let temp = s.temp_ms.map(share);
        let felt = temp.is_none_or(|share| share >= t.of(&SPILL_SHARE));
        if spilled >= t.of(&SPILL_BLOCKS) && felt {
            let blocks = Evidence::new("temp_blocks_written_per_call", spilled, "blocks");
            let part = temp.map(|share| {
                Evidence::new("temp_share_ratio", share, "ratio").over(t.of(&SPILL_SHARE))
            });
            let shown = [blocks.over(t.of(&SPILL_BLOCKS))].into_iter().chain(part);
            return Some(Reason::new(Cause::Spill, shown));
        }
        None
    }

    /// What it touches, returns and writes.
    #[allow(clippy::cast_precision_loss)]
    fn by_work(&self, s: &Statement, t: &Thresholds) -> Option<Reason> {
        let per_row = self.blocks / self.rows.max(1.0);
        if self.blocks >= t.of(&SCAN_BLOCKS) && self.is_utility {
            let shown = [self.blocks_per_call().over(t.of(&SCAN_BLOCKS))];
            return Some(Reason::new(Cause::Command, shown));
        }
        if self.blocks >= t.of(&SCAN_BLOCKS) && per_row >= t.of(&SCAN_PER_ROW) {
            let cause = if adds_up(s) { Cause::Aggregate } else { Cause::Scan };
            let shown = [
                Evidence::new("blocks_per_row", per_row, "blocks").over(t.of(&SCAN_PER_ROW)),
                self.blocks_per_call().over(t.of(&SCAN_BLOCKS)),
            ];
            return Some(Reason::new(cause, shown));
        }
        if self.rows >= t.of(&MANY_ROWS) && !self.writes {
            let shown = Evidence::new("rows_per_call", self.rows, "rows").over(t.of(&MANY_ROWS));
            return Some(Reason::new(Cause::Rows, [shown]));
        }
        let wal = s.wal_bytes as f64 / self.calls;
        if wal >= t.of(&MUCH_WAL) {
            let shown = Evidence::new("wal_bytes_per_call", wal, "bytes").over(t.of(&MUCH_WAL));
            return Some(Reason::new(Cause::Write, [shown]));
        }
        let read = s.read_ms.map(|ms| ms / s.exec_ms.max(f64::MIN_POSITIVE));
        if let Some(share) = read.filter(|share| *share >= t.of(&READ)) {
            let shown = Evidence::new("read_share_ratio", share, "ratio").over(t.of(&READ));
            return Some(Reason::new(Cause::Read, [shown]));
        }
        let pace = self.blocks / (s.exec_ms / self.calls).max(f64::MIN_POSITIVE);
        let idle = self.blocks < t.of(&LOCK_BLOCKS) && pace < t.of(&LOCK_BLOCKS_PER_MS);
        (idle && self.rows < t.of(&MANY_ROWS) && self.writes).then(|| {
            let shown = [
                Evidence::new("blocks_per_ms", pace, "blocks").over(t.of(&LOCK_BLOCKS_PER_MS)),
                self.blocks_per_call().over(t.of(&LOCK_BLOCKS)),
            ];
            Reason::new(Cause::Lock, shown)
        })
    }

    fn blocks_per_call(&self) -> Evidence {
        Evidence::new("blocks_per_call", self.blocks, "blocks")
    }
}

impl Reason {
    fn new(cause: Cause, evidence: impl IntoIterator<Item = Evidence>) -> Self {
        Self { cause, evidence: evidence.into_iter().collect(), shown: None }
    }
}

/// Whether it aggregates rows that no equality narrows down, so that they must all be read.
fn adds_up(s: &Statement) -> bool {
    s.shape.as_ref().is_some_and(|shape| {
        let narrow = |p: &crate::facts::Predicate| p.test.is_equality() && !p.join;
        shape.aggregates && !shape.tables.iter().flat_map(|t| &t.predicates).any(narrow)
    })
}
