//! Sequential scans that waste work: large tables read row by row for a few of their rows, and the
//! statements that do it. Silent for small tables, for tables that are read whole on purpose, and for
//! analysis that an index would not help.

use std::borrow::Cow;
use std::collections::HashMap;

use super::statements::LOSS;
use super::{Detector, Judgement, per_hour};
use crate::detect::idea::IndexIdea;
use crate::facts::relation::Activity;
use crate::facts::{Facts, Index, Shape, Statement, Table, TableUse, Test};
use crate::finding::Severity;
use crate::threshold::{Threshold, Thresholds};

mod lack;
mod members;
mod remedy;
mod seen;
#[cfg(test)]
mod tests;
mod told;

use lack::Lack;
pub use remedy::{remedy, remedy_of};
pub(in crate::detect) use seen::seen;
pub use seen::{Computed, Seen, filters};

/// Kind of these findings.
pub const SCAN: &str = "seq_scan";

/// The detector.
pub static DETECTOR: Detector =
    Detector { name: "scans", kinds: &[SCAN], thresholds: THRESHOLDS, detect };

pub(super) const ROWS: Threshold = Threshold::new(
    "seq_scan_min_table_rows",
    1_000.0,
    "Rows below which a table is small: reading it whole is quick.",
    "pg_perfmon: a tenth of a millisecond of reading",
);
const BYTES: Threshold = Threshold::new(
    "seq_scan_min_table_bytes",
    131_072.0,
    "Size below which a table is small.",
    "pg_perfmon: sixteen pages are read in a moment",
);
const SCANS: Threshold = Threshold::new(
    "seq_scan_min_scans",
    5.0,
    "Scans in the window below which nobody reads the table often enough to care.",
    "pg_perfmon",
);
pub(super) const RETURNED: Threshold = Threshold::ratio(
    "seq_scan_max_returned_ratio",
    0.05,
    "Share of the table's rows up to which an index would serve a statement better than reading all.",
    "PostgreSQL manual, 14.1: the planner's own choice turns at a few per cent of random pages",
);
const SHARE: Threshold = Threshold::ratio(
    "seq_scan_min_share_ratio",
    0.005,
    "Share of the database's execution time that wasted scans must take to be worth a finding.",
    "pg_perfmon: less than that cannot be felt",
);
const WARNING_SHARE: Threshold = Threshold::ratio(
    "seq_scan_warning_share_ratio",
    0.02,
    "The same, for a warning.",
    "pg_perfmon",
);
const CRITICAL_SHARE: Threshold = Threshold::ratio(
    "seq_scan_critical_share_ratio",
    0.25,
    "The same, for a critical finding.",
    "pg_perfmon: a quarter of all work for nothing",
);

static THRESHOLDS: &[Threshold] =
    &[ROWS, BYTES, SCANS, RETURNED, SHARE, WARNING_SHARE, CRITICAL_SHARE];

/// A statement that most likely reads a table by sequential scans.
#[derive(Debug, Clone, PartialEq)]
pub struct Reader<'a> {
    /// Which.
    pub statement: &'a Statement,
    /// What its text says, or, where that is not understood, what its executions showed.
    pub shape: Cow<'a, Shape>,
    /// Which of the tables in `shape` it is.
    pub place: usize,
    /// Rows returned or changed, of those read.
    pub rows_kept: u64,
    /// The same as a share of those that it read.
    pub kept_ratio: f64,
    /// Few rows are wanted for what the scan itself does not know: another table leads to them, or an order begins with them.
    pub beyond: bool,
    /// Share of the blocks of each execution that the table's scan accounts for.
    pub scan_share: f64,
    /// Execution time that goes into throwing rows away, ms over the window.
    pub wasted_ms: f64,
    /// What its executions showed; `None` where too few were looked into, and all is a guess.
    pub seen: Option<Seen>,
    /// The index that it lacks; `None` where its executions prove the waste, and none can be composed.
    pub idea: Option<IndexIdea>,
    /// The conditions of the scan that the idea comes from, where the text as a whole gives none.
    pub by_scan: Option<Shape>,
    /// What is proposed for the table serves it.
    pub served: bool,
}

/// A table that is read by sequential scans for a few of its rows.
#[derive(Debug, Clone, PartialEq)]
pub struct Scan<'a> {
    /// Which; one that has partitions or children stands for them all.
    pub table: Table,
    /// Itself and the children that inherit from it, where it has such: an index on it is none on them.
    pub members: Vec<&'a Table>,
    /// What happened to it.
    pub activity: Activity,
    /// How bad.
    pub severity: Severity,
    /// Statements that most likely do it: those that the proposed index serves first, worst first.
    pub readers: Vec<Reader<'a>>,
    /// The index that serves most of the time wasted; `None` where none can be composed for any of it.
    pub idea: Option<IndexIdea>,
    /// Rows read in the second half of the window over those of the first.
    pub trend_ratio: Option<f64>,
    /// Time wasted, ms over the window.
    pub wasted_ms: f64,
    /// The same as a share of all execution time.
    pub share_ratio: Option<f64>,
    /// Time that what is proposed would save at most, ms over the window: what the statements that it
    /// serves waste.
    pub saved_ms: f64,
}

/// Such tables, worst first.
pub fn scans<'a>(facts: &'a Facts, t: &Thresholds) -> Vec<Scan<'a>> {
    let mut children: HashMap<u32, Vec<&Table>> = HashMap::new();
    for table in facts.tables.iter().flatten() {
        if let Some(parent) = table.parent {
            children.entry(parent).or_default().push(table);
        }
    }
    // Statements that look into each table, so that not every pair is tried.
    let mut users = seen::users(facts);
    for s in facts.statements.iter().flatten().filter(|s| !s.explains()) {
        for one in s.shape.iter().flat_map(|shape| &shape.tables) {
            let of_table = users.entry(one.oid).or_default();
            if one.read && of_table.last().is_none_or(|last| !std::ptr::eq(*last, s)) {
                of_table.push(s);
            }
        }
    }
    let mut found: Vec<Scan<'a>> = facts
        .tables
        .iter()
        .flatten()
        .filter(|table| !table.internal)
        .filter_map(|table| {
            let users = users.get(&table.oid)?;
            let members = members::members(table, &children);
            scan(with_children(table, &children), members, users, facts, t)
        })
        .collect();
    found.sort_by(|a, b| b.severity.cmp(&a.severity).then(b.wasted_ms.total_cmp(&a.wasted_ms)));
    found
}

/// A table with its partitions or children added up: statements name the parent, counters are kept of the
/// children.
fn with_children(table: &Table, children: &HashMap<u32, Vec<&Table>>) -> Table {
    let mut whole = table.clone();
    if table.partitioned {
        // Without rows of its own: what is told of it as a whole is what its partitions hold.
        (whole.rows, whole.live_rows, whole.table_bytes) = (None, None, None);
    }
    let mut open: Vec<&Table> = children.get(&table.oid).into_iter().flatten().copied().collect();
    let mut seen = std::collections::HashSet::from([table.oid]);
    while let Some(child) = open.pop() {
        if !seen.insert(child.oid) {
            continue;
        }
        open.extend(children.get(&child.oid).into_iter().flatten());
        if child.partitioned {
            continue;
        }
        whole.rows = sum(whole.rows.filter(|rows| *rows >= 0.0), rows_of(child));
        whole.table_bytes = sum(whole.table_bytes, child.table_bytes);
        whole.window = together(whole.window, child.window);
        whole.first_half = together(whole.first_half, child.first_half);
    }
    whole
}

fn sum<T: std::ops::Add<Output = T>>(a: Option<T>, b: Option<T>) -> Option<T> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a + b),
        (a, b) => a.or(b),
    }
}

/// Scans of partitions belong together: one execution scans each of them once.
fn together(a: Option<Activity>, b: Option<Activity>) -> Option<Activity> {
    let (Some(mut a), Some(b)) = (a, b) else { return a.or(b) };
    a.seq_scan = a.seq_scan.max(b.seq_scan);
    a.seq_tup_read = a.seq_tup_read.saturating_add(b.seq_tup_read);
    a.idx_scan = a.idx_scan.max(b.idx_scan);
    a.idx_tup_fetch = a.idx_tup_fetch.saturating_add(b.idx_tup_fetch);
    Some(a)
}

/// Rows of a table, by the planner or by the statistics system.
#[allow(clippy::cast_precision_loss)]
fn rows_of(table: &Table) -> Option<f64> {
    table.rows.filter(|rows| *rows > 0.0).or(table.live_rows.map(|rows| rows as f64))
}

#[allow(clippy::cast_precision_loss)]
fn scan<'a>(
    table: Table,
    members: Vec<&'a Table>,
    users: &[&'a Statement],
    facts: &'a Facts,
    t: &Thresholds,
) -> Option<Scan<'a>> {
    let activity = table.window?;
    let rows = rows_of(&table)?;
    let bytes = table.table_bytes.unwrap_or(0) as f64;
    let small = rows < t.of(&ROWS) || bytes < t.of(&BYTES);
    if small || (activity.seq_scan as f64) < t.of(&SCANS) {
        return None;
    }
    let own = members::indexes(&table, &members, facts);
    let mut readers = readers(&table, rows, &own, users, facts, t);
    // A scan that stops early (LIMIT, EXISTS) is cheap however large the table is. Where most do, others need not: of these
    // executions know.
    let per_scan = activity.seq_tup_read as f64 / activity.seq_scan as f64;
    if per_scan < t.of(&ROWS).min(rows * 0.2) {
        readers.retain(|reader| reader.seen.is_some());
    }
    if readers.is_empty() {
        return None;
    }
    let idea = propose(&mut readers, &table, &own, facts, t);
    let wasted_ms: f64 = readers.iter().map(|r| r.wasted_ms).sum();
    let share_ratio =
        facts.database.exec_ms.filter(|ms| *ms > 0.0).map(|all| (wasted_ms / all).min(1.0));
    let share = share_ratio.unwrap_or(0.0);
    if share < t.of(&SHARE) {
        return None;
    }
    let loss = per_hour(facts, wasted_ms).unwrap_or(0.0);
    let severity = if share >= t.of(&CRITICAL_SHARE) && loss >= t.of(&LOSS) {
        Severity::Critical
    } else if share >= t.of(&WARNING_SHARE) {
        Severity::Warning
    } else {
        Severity::Info
    };
    let trend_ratio = trend(&table);
    let saved_ms = readers.iter().filter(|r| r.served).map(|r| r.wasted_ms).sum();
    Some(Scan {
        table,
        members,
        activity,
        severity,
        readers,
        idea,
        trend_ratio,
        wasted_ms,
        share_ratio,
        saved_ms,
    })
}

/// The index that serves most of the time that the readers waste; marks those that it serves, and puts
/// them first. `None` where none lacks an index that can be composed: words then serve all of them.
fn propose(
    readers: &mut [Reader<'_>],
    table: &Table,
    own: &[Index],
    facts: &Facts,
    t: &Thresholds,
) -> Option<IndexIdea> {
    let serves = |idea: &IndexIdea, reader: &Reader<'_>| {
        let shape = reader.by_scan.as_ref().unwrap_or(&reader.shape);
        reader.idea.as_ref() == Some(idea)
            || idea.serves(shape, table, own, &facts.server, t, reader.kept_ratio)
    };
    let gain = |idea: &IndexIdea| -> f64 {
        readers.iter().filter(|r| serves(idea, r)).map(|r| r.wasted_ms).sum()
    };
    let mut best: Option<(f64, IndexIdea)> = None;
    for (place, reader) in readers.iter().enumerate() {
        if readers[..place].iter().any(|before| before.idea == reader.idea) {
            continue;
        }
        let Some(own) = &reader.idea else { continue };
        let gain = gain(own);
        // The worst reader's, unless another one is worth more.
        if best.as_ref().is_none_or(|(most, _)| gain > *most) {
            best = Some((gain, own.clone()));
        }
    }
    let Some((_, idea)) = best else {
        readers.iter_mut().for_each(|reader| reader.served = true);
        return None;
    };
    let served: Vec<bool> = readers.iter().map(|r| serves(&idea, r)).collect();
    for (reader, served) in readers.iter_mut().zip(served) {
        reader.served = served;
    }
    readers.sort_by_key(|r| !r.served);
    Some(idea)
}

/// How the rows read in the second half of the window compare with those in the first.
#[allow(clippy::cast_precision_loss)]
fn trend(table: &Table) -> Option<f64> {
    let (all, first) = (table.window?.seq_tup_read, table.first_half?.seq_tup_read);
    (first > 0).then(|| all.saturating_sub(first) as f64 / first as f64)
}

/// Statements whose reading is explained by scans of this table, that keep few of its rows, and that an
/// index would serve.
fn readers<'a>(
    table: &Table,
    rows: f64,
    own: &[Index],
    users: &[&'a Statement],
    facts: &'a Facts,
    t: &Thresholds,
) -> Vec<Reader<'a>> {
    let mut found: Vec<Reader<'a>> =
        users.iter().copied().filter_map(|s| reader(s, table, (rows, own), facts, t)).collect();
    found.sort_by(|a, b| b.wasted_ms.total_cmp(&a.wasted_ms));
    found
}

#[allow(clippy::cast_precision_loss)]
fn reader<'a>(
    s: &'a Statement,
    table: &Table,
    (rows, own): (f64, &[Index]),
    facts: &'a Facts,
    t: &Thresholds,
) -> Option<Reader<'a>> {
    if s.calls == 0 {
        return None;
    }
    let seen = seen(facts, s.statement_id, table, t)?;
    // What is not understood of a text may still be known of its executions.
    let shape = match (&s.shape, &seen) {
        (Some(shape), _) => Cow::Borrowed(shape),
        (None, Some(seen)) => Cow::Owned(seen.shape(table)),
        (None, None) => return None,
    };
    let place = place(&shape, table, seen.is_some())?;
    let calls = s.calls as f64;
    let block = facts.server.block_bytes.max(1) as f64;
    let pages = (table.table_bytes.unwrap_or(0) as f64 / block).max(1.0);
    let blocks = s.blks_hit.saturating_add(s.blks_read) as f64 / calls;
    // A scan of the table touches all of its blocks: a statement that touches far fewer takes an index,
    // or stops early.
    let early = match &seen {
        Some(seen) => seen.read_per_scan < t.of(&ROWS).min(rows * 0.2),
        None => blocks < pages * 0.5,
    };
    if early {
        return None;
    }
    let lack = Lack { s, shape: &shape, place, table, rows, own, facts, t }.found(seen.as_ref())?;
    // Of all that an execution read; without evidence, of the table, which it is thought to have read once.
    let read = seen.as_ref().map_or(rows, |seen| seen.read_per_call.max(1.0));
    let kept_ratio = (lack.kept / read).clamp(0.0, 1.0);
    // An execution may scan a table more than once.
    let scans = seen.as_ref().map_or(1.0, |seen| (seen.read_per_call / rows).max(1.0));
    let scan_share = (pages * scans / blocks.max(1.0)).min(1.0);
    Some(Reader {
        statement: s,
        rows_kept: if seen.is_some() { (lack.kept * calls).round() as u64 } else { s.rows },
        kept_ratio,
        scan_share,
        wasted_ms: s.exec_ms * scan_share * (1.0 - kept_ratio),
        beyond: lack.beyond,
        idea: lack.idea,
        by_scan: lack.by_scan,
        seen,
        place,
        shape,
        served: false,
    })
}

/// Which of the uses of a table in a statement is meant: one that looks rows up, if there is one.
fn place(shape: &Shape, table: &Table, seen: bool) -> Option<usize> {
    let of_table = |u: &TableUse| u.oid == table.oid && u.read;
    let searched = |u: &TableUse| of_table(u) && u.predicates.iter().any(|p| p.test != Test::Other);
    let first = || shape.tables.iter().position(of_table).filter(|_| seen);
    shape.tables.iter().position(searched).or_else(first)
}

fn detect(facts: &Facts, t: &Thresholds, judgement: &mut Judgement) {
    let known = facts.tables.is_some() && facts.statements.is_some();
    if !known || facts.window.covered_us == 0 {
        judgement.unknown(SCAN);
        return;
    }
    let found = scans(facts, t);
    let mut statements = facts.statements.iter().flatten().peekable();
    // Readers without the right to see texts: nobody knows what a statement looks for, unless executions showed it.
    let unread = statements.peek().is_some() && statements.all(|s| s.shape.is_none());
    if unread && found.is_empty() {
        judgement.unknown(SCAN);
    }
    for one in found {
        judgement.add(told::finding(&one, facts, t));
    }
}
