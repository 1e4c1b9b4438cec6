//! What a statement's own executions show of why it is slow: the node of its plans that did most for nothing.

use super::super::scans::{RETURNED, ROWS};
use super::super::{rewrite, words};
use super::cause::{Cause, Reason};
use crate::capture::scan::{Condition, Kind, Slot, UNKNOWN};
use crate::facts::evidence::ENOUGH;
use crate::facts::{self, Facts, Statement};
use crate::finding::Evidence;
use crate::threshold::{Threshold, Thresholds};

pub(super) const MISJUDGED: Threshold = Threshold::new(
    "cause_misestimate_factor",
    10.0,
    "Rows that drive a nested loop over those that the planner had expected, from which the estimate is the cause.",
    "pg_perfmon: other joins would have been chosen",
);

/// The cause as the executions show it, else the one that was guessed. What takes time that is measured stays the
/// cause; a spill is told with what spilled.
pub(super) fn with_plans(guess: Reason, s: &Statement, facts: &Facts, t: &Thresholds) -> Reason {
    let own = own(facts, s.statement_id);
    match guess.cause {
        Cause::Spill => match source(&own, s, facts, t) {
            Source::Seen(what) => {
                Reason { shown: Some(format!("It was the {what} that did not fit.")), ..guess }
            }
            Source::Unknown => guess,
            Source::Kept => Reason { cause: Cause::Kept, ..guess },
            Source::NotIn => Reason { cause: Cause::NotIn, ..guess },
        },
        Cause::Planning | Cause::Jit => guess,
        _ => wasted(&own, t).or_else(|| misjudged(&own, t)).unwrap_or(guess),
    }
}

/// What executions of a statement that were looked into showed of what its plans do for nothing, in words.
pub fn seen(facts: &Facts, statement_id: i64, t: &Thresholds) -> Vec<String> {
    let own = own(facts, statement_id);
    let shown = [wasted(&own, t), misjudged(&own, t)].into_iter().flatten();
    let statement = facts.statements.iter().flatten().find(|s| s.statement_id == statement_id);
    let spilled = spilled(&own, statement)
        .map(|what| format!("The {what} did not fit into memory, and went to disk."));
    shown.filter_map(|reason| reason.shown).chain(spilled).collect()
}

/// What a statement writes to temporary files.
pub(in crate::detect) enum Source {
    /// A sort or hash table, in words.
    Seen(String),
    /// A sort or hash, most likely: nobody looked.
    Unknown,
    /// Rows that are kept to be read again, or what an aggregate sorts within itself: no sort or hash of the executions
    /// that were looked into went to disk.
    Kept,
    /// The same, of the rows of a NOT IN, which another form would not keep.
    NotIn,
}

/// What a statement that writes temporary files writes to them.
pub(in crate::detect) fn written(s: &Statement, facts: &Facts, t: &Thresholds) -> Source {
    source(&own(facts, s.statement_id), s, facts, t)
}

fn source(own: &[&facts::Evidence], s: &Statement, facts: &Facts, t: &Thresholds) -> Source {
    match spilled(own, Some(s)) {
        Some(what) => Source::Seen(what),
        None if rewrite::tells_not_in(facts, t, s) => Source::NotIn,
        None if own.is_empty() => Source::Unknown,
        None => Source::Kept,
    }
}

/// What was seen of a statement, if of enough executions.
fn own(facts: &Facts, statement_id: i64) -> Vec<&facts::Evidence> {
    let all = facts.evidence.iter().flatten();
    all.filter(|e| e.statement_id == statement_id && e.statement_samples >= ENOUGH).collect()
}

/// The scan or join that threw most rows away, if they were many and few were kept.
#[allow(clippy::cast_possible_wrap)]
fn wasted(own: &[&facts::Evidence], t: &Thresholds) -> Option<Reason> {
    let removed =
        |e: &facts::Evidence| e.counts.get(Slot::Read).saturating_sub(e.counts.get(Slot::Kept));
    let is_wasteful = |e: &&&facts::Evidence| {
        e.per_call(Slot::Read).is_some_and(|read| read >= t.of(&ROWS))
            && e.kept_ratio().is_some_and(|kept| kept <= t.of(&RETURNED))
            && e.kind().is_some_and(is_scan_or_join)
    };
    let worst = own.iter().filter(is_wasteful).max_by_key(|e| removed(e))?;
    let (read, kept) = (worst.per_call(Slot::Read)?, worst.per_call(Slot::Kept)?);
    let by = worst.node.filters().join(", ");
    let node = article(&worst.node.node.replace('_', " "));
    let mut shown = format!(
        "{node}{} reads {} per execution and keeps {}",
        place(worst),
        words::amount(read.round(), "row"),
        words::number(kept.round()),
    );
    if !by.is_empty() {
        shown.push_str(&format!(", by {by}"));
    }
    shown.push('.');
    let samples = worst.statement_samples as i64;
    let evidence = vec![
        Evidence::new("rows_read_per_call", read, "rows").over(t.of(&ROWS)).out_of(samples),
        Evidence::new("kept_share_ratio", worst.kept_ratio()?, "ratio").over(t.of(&RETURNED)),
        Evidence::new("node", worst.node.node.as_str(), ""),
        Evidence::new("table", worst.table.as_str(), ""),
        Evidence::new("filter_columns", by.as_str(), ""),
    ];
    Some(Reason { cause: Cause::Scan, evidence, shown: Some(shown) })
}

fn is_scan_or_join(kind: Kind) -> bool {
    (Kind::SeqScan..=Kind::HashJoin).contains(&kind)
}

/// The nested loop that was driven by far more rows than expected.
#[allow(clippy::cast_precision_loss, clippy::cast_possible_wrap)]
fn misjudged(own: &[&facts::Evidence], t: &Thresholds) -> Option<Reason> {
    let factor = |e: &facts::Evidence| {
        let (found, expected) = (e.counts.get(Slot::Outer), e.counts.get(Slot::OuterEstimated));
        found as f64 / expected.max(1) as f64
    };
    let is_wrong = |e: &&&facts::Evidence| {
        e.kind() == Some(Kind::NestedLoop)
            && factor(e) >= t.of(&MISJUDGED)
            && e.per_call(Slot::Outer).is_some_and(|rows| rows >= t.of(&ROWS))
    };
    let worst = own.iter().filter(is_wrong).max_by(|a, b| factor(a).total_cmp(&factor(b)))?;
    let rows = worst.per_call(Slot::Outer)?;
    let shown = format!(
        "A nested loop ran its inner side for {} per execution, {} times as many as the planner had expected.",
        words::amount(rows.round(), "row"),
        words::number(factor(worst).round()),
    );
    let samples = worst.statement_samples as i64;
    let evidence = vec![
        Evidence::new("rows_over_expected", factor(worst), "")
            .over(t.of(&MISJUDGED))
            .out_of(samples),
        Evidence::new("outer_rows_per_call", rows, "rows").over(t.of(&ROWS)),
    ];
    Some(Reason { cause: Cause::Estimate, evidence, shown: Some(shown) })
}

/// What wrote most to disk.
fn spilled(own: &[&facts::Evidence], s: Option<&Statement>) -> Option<String> {
    let worst = own
        .iter()
        .filter(|e| e.counts.get(Slot::Spills) > 0)
        .max_by_key(|e| (e.counts.get(Slot::SpilledBytes), e.counts.get(Slot::Spills)))?;
    let what = match worst.kind()? {
        Kind::Hash => "hash table of a join".to_owned(),
        Kind::Aggregate => "hash table of an aggregate".to_owned(),
        _ => "sort".to_owned(),
    };
    let keys = keys(worst, s);
    let by = if keys.is_empty() { String::new() } else { format!(" by {}", keys.join(", ")) };
    Some(format!("{what}{by}"))
}

/// What a node sorts or groups by. A plan does not say above the tables what was computed at them; the text does, of one
/// table. Where neither does, it is left out.
fn keys<'a>(e: &'a facts::Evidence, s: Option<&'a Statement>) -> Vec<&'a str> {
    let conditions = || e.node.conditions.iter();
    let gathers = |c: &&'a Condition| c.stage == "sort" || c.stage == "group";
    let keys: Vec<&str> =
        conditions().filter(gathers).filter_map(|c| c.expression.as_deref()).collect();
    let all = conditions().filter(gathers).count();
    if keys.len() == all && !keys.iter().any(|key| key.contains(UNKNOWN)) {
        return keys;
    }
    let uses = || s.iter().flat_map(|s| &s.shape).flat_map(|shape| &shape.tables);
    let sorted = uses().map(|one| one.order_by.iter().map(|o| o.expression.as_str()).collect());
    let grouped = uses().map(|one| one.group_by.iter().map(String::as_str).collect());
    let sorts = conditions().any(|c| c.stage == "sort");
    // A sort may be for the sake of groups.
    let sorted = sorted.filter(|_| sorts);
    let mut fit = sorted.chain(grouped).filter(|keys: &Vec<&str>| keys.len() == all);
    match (fit.next(), fit.next()) {
        (Some(keys), None) => keys,
        _ => Vec::new(),
    }
}

fn place(e: &facts::Evidence) -> String {
    if e.table.is_empty() { String::new() } else { format!(" of {}", e.table) }
}

fn article(node: &str) -> String {
    let an = node.starts_with(['a', 'e', 'i', 'o', 'u']);
    format!("{} {node}", if an { "An" } else { "A" })
}
