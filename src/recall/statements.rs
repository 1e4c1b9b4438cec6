//! Statements, added up over a window.

use std::collections::HashMap;

use perfmon_core::family::STATEMENT;
use perfmon_core::tally::{Tally, Who, add_known, deviation};

use super::cell::Cell;
use super::names::{self, Statement};
use super::plan::Kept;
use super::scope::Scope;
use crate::error::Error;
use crate::store::read::{self, Segment};
use perfmon_core::window::Level;

/// What statements can be ordered by, and the columns whose sum that is. The mean is a special case.
pub(crate) const ORDERS: [(&str, &[&str]); 10] = [
    ("total_time", &["exec_us"]),
    ("mean_time", &["exec_us", "calls"]),
    ("calls", &["calls"]),
    ("rows", &["rows"]),
    ("plan_time", &["plan_us"]),
    ("io_time", &["shared_blk_read_us", "shared_blk_write_us"]),
    ("shared_blks_hit", &["shared_blks_hit"]),
    ("shared_blks_read", &["shared_blks_read"]),
    ("temp_blks_written", &["temp_blks_written"]),
    ("wal_bytes", &["wal_bytes"]),
];

/// Columns of each row of the result, in the order in which [`show`] takes them.
const SHOWN: [&str; 15] = [
    "quality",
    "calls",
    "exec_us",
    "exec_sq",
    "rows",
    "plan_us",
    "shared_blks_hit",
    "shared_blks_read",
    "shared_blks_dirtied",
    "shared_blks_written",
    "shared_blk_read_us",
    "shared_blk_write_us",
    "temp_blks_read",
    "temp_blks_written",
    "wal_bytes",
];

pub(crate) fn positions(names: &[&str]) -> Vec<usize> {
    names.iter().filter_map(|name| STATEMENT.position(name)).collect()
}

/// One of the top statements.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    pub(crate) who: Who,
    pub(crate) statement: Statement,
    /// The columns that were asked for, and their values.
    pub(crate) columns: &'static [&'static str],
    pub(crate) values: Vec<Option<u64>>,
    pub(crate) share_ratio: Option<f64>,
    pub(crate) covered_us: i64,
}

/// Milliseconds from microseconds.
#[allow(clippy::cast_precision_loss)]
pub(crate) fn ms(us: Option<u64>) -> Option<f64> {
    us.map(|us| us as f64 / 1000.0)
}

/// One over the other; unknown when the second is zero or either is unknown.
#[allow(clippy::cast_precision_loss)]
pub(crate) fn ratio(a: Option<u64>, b: Option<u64>) -> Option<f64> {
    let (a, b) = (a? as f64, b? as f64);
    (b > 0.0).then(|| a / b)
}

/// An amount over a length of time, per second.
#[allow(clippy::cast_precision_loss)]
pub(crate) fn per_s(amount: Option<u64>, us: i64) -> Option<f64> {
    (us > 0).then(|| amount.map(|n| n as f64 * 1e6 / us as f64)).flatten()
}

/// Part of a whole of two parts.
pub(crate) fn part(a: Option<u64>, b: Option<u64>) -> Option<f64> {
    ratio(a, Some(a?.saturating_add(b?)))
}

pub(crate) fn quality(code: Option<u64>) -> Cell {
    match code {
        None => Cell::Null,
        Some(0) => "exact".into(),
        Some(1) => "lower bound".into(),
        Some(_) => "doubtful".into(),
    }
}

impl Line {
    pub(crate) fn value(&self, name: &str) -> Option<u64> {
        self.values.get(self.columns.iter().position(|shown| *shown == name)?).copied().flatten()
    }

    pub(crate) fn mean_ms(&self) -> Option<f64> {
        ratio(self.value("exec_us"), self.value("calls")).map(|us| us / 1000.0)
    }

    #[allow(clippy::cast_precision_loss)]
    pub(crate) fn deviation_ms(&self) -> Option<f64> {
        let squares = self.value("exec_sq")? as f64 * 1000.0;
        deviation(self.value("calls")?, self.value("exec_us")? as f64, squares)
            .map(|us| us / 1000.0)
    }
}

/// All statements of the window, added up in some columns.
pub(crate) struct Sums {
    pub(crate) tally: Tally,
    segments: Vec<Segment>,
    /// Time that the rows cover.
    pub(crate) covered_us: i64,
    /// Execution time of top-level statements.
    pub(crate) total_exec_us: Option<i64>,
}

pub(crate) fn add_up(scope: &Scope, columns: &[usize]) -> Sums {
    let kept = Kept::of(&STATEMENT, scope);
    let segments = kept.segments(scope, Level::Day);
    let mut tally = Tally::new(&STATEMENT, columns);
    let (mut covered_us, mut total_exec_us) = (0_i64, None);
    let total = STATEMENT.totals.iter().position(|t| *t == "total_exec_us").unwrap_or(0);
    read::frames(&scope.sources, &STATEMENT, &segments, columns, &mut |row| {
        covered_us = covered_us.saturating_add(row.head.span.length_us);
        add_known(&mut total_exec_us, row.head.totals.get(total).copied().flatten());
        tally.add(row.head.source, row.ids, row.head.known, &|i| row.column(i));
    });
    Sums { tally, segments, covered_us, total_exec_us }
}

/// Folds statements of older sources into what they are called today; returns, by place, whether it
/// still stands for itself, and for those that took others in, which.
pub(crate) fn fold(scope: &Scope, tally: &mut Tally) -> Result<HashMap<Who, Vec<Who>>, Error> {
    let mut taken: HashMap<Who, Vec<Who>> = HashMap::new();
    let Some(newest) = scope.sources.first().copied() else { return Ok(taken) };
    if tally.who().iter().all(|(source, _)| *source == newest) {
        return Ok(taken);
    }
    let names = names::successors(&scope.sources)?;
    let places: HashMap<Who, usize> =
        tally.who().iter().enumerate().map(|(place, who)| (*who, place)).collect();
    for (old, new) in &names {
        // One that did nothing since keeps its old name here, and is found under it.
        if let (Some(from), Some(into)) = (places.get(old), places.get(new)) {
            tally.merge(*from, *into);
            taken.entry(*new).or_default().push(*old);
        }
    }
    Ok(taken)
}

/// The first statements by an order, with the columns of `top_statements`.
pub(crate) fn top(scope: &Scope, order: usize, most: Option<usize>) -> Result<Vec<Line>, Error> {
    top_with(scope, order, most, &SHOWN)
}

/// The first statements by an order, with some columns, `quality` the first of them.
pub(crate) fn top_with(
    scope: &Scope,
    order: usize,
    most: Option<usize>,
    columns: &'static [&'static str],
) -> Result<Vec<Line>, Error> {
    let (word, rank_names) = ORDERS[order];
    let mut sums = add_up(scope, &positions(rank_names));
    let taken = fold(scope, &mut sums.tally)?;
    let gone: std::collections::HashSet<Who> = taken.values().flatten().copied().collect();
    let rank = |place: usize| -> Option<f64> {
        let value = |i| sums.tally.get(place, i);
        #[allow(clippy::cast_precision_loss)]
        match word {
            "mean_time" => ratio(value(0), value(1)),
            _ => (0..rank_names.len()).map(value).map(|v| v.map(|v| v as f64)).sum(),
        }
    };
    let mut ranked: Vec<(Option<f64>, Who)> = sums
        .tally
        .who()
        .iter()
        .enumerate()
        .filter(|(_, who)| !gone.contains(who))
        .map(|(place, who)| (rank(place), *who))
        .collect();
    ranked.sort_by(|a, b| {
        let (x, y) = (a.0.unwrap_or(-1.0), b.0.unwrap_or(-1.0));
        y.total_cmp(&x).then(a.1.cmp(&b.1))
    });
    ranked.truncate(most.unwrap_or(usize::MAX));
    let chosen: Vec<Who> = ranked.into_iter().map(|(_, who)| who).collect();
    lines(&chosen, &taken, &sums, columns)
}

/// Reads some columns of the chosen statements.
fn lines(
    chosen: &[Who],
    taken: &HashMap<Who, Vec<Who>>,
    sums: &Sums,
    names: &'static [&'static str],
) -> Result<Vec<Line>, Error> {
    let mut objects: Vec<Who> = Vec::new();
    let mut owner: Vec<usize> = Vec::new();
    for (index, who) in chosen.iter().enumerate() {
        for one in std::iter::once(who).chain(taken.get(who).into_iter().flatten()) {
            objects.push(*one);
            owner.push(index);
        }
    }
    let columns = positions(names);
    let exec = names.iter().position(|name| *name == "exec_us").unwrap_or(0);
    let mut values = vec![vec![None::<u64>; columns.len()]; chosen.len()];
    read::series_of(&objects, &STATEMENT, &sums.segments, &columns, &mut |point| {
        let Some(target) = owner.get(point.index).and_then(|i| values.get_mut(*i)) else { return };
        for (i, (slot, value)) in target.iter_mut().zip(point.values).enumerate() {
            let Some(value) = value else { continue };
            let sum = slot.unwrap_or(0);
            *slot = Some(if i == 0 { sum.max(*value) } else { sum.saturating_add(*value) });
        }
    });
    let mut called = names::statements(chosen)?;
    Ok(chosen
        .iter()
        .zip(values)
        .map(|(who, values)| {
            let statement = called.remove(who).unwrap_or_else(|| Statement::unknown(who.1));
            let nested = statement.toplevel == Cell::Bool(false);
            let total = sums.total_exec_us.and_then(|us| u64::try_from(us).ok());
            let share_ratio = if nested { None } else { ratio(values[exec], total) };
            Line {
                who: *who,
                statement,
                columns: names,
                values,
                share_ratio,
                covered_us: sums.covered_us,
            }
        })
        .collect())
}
