//! Statements, added up over a window.

use std::collections::{HashMap, HashSet};

use perfmon_core::family::STATEMENT;
use perfmon_core::frame::Quality;
use perfmon_core::histogram::Sum;
use perfmon_core::rollup::OTHER;
use perfmon_core::tally::{Tally, Who, add_known, deviation};

use super::cell::Cell;
use super::latency::{self, Times};
use super::names::{self, Statement};
use super::plan::Kept;
use super::scope::Scope;
use super::timed::mark_small_parts;
use crate::error::Error;
use crate::store::read::{self, Segment};
use perfmon_core::window::Level;

/// What statements can be ordered by, and the columns whose sum that is. The mean is a special case; percentiles
/// are of execution times, which are no column.
pub(crate) const ORDERS: [(&str, &[&str]); 12] = [
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
    ("p95", &[]),
    ("p99", &[]),
];

/// The share of executions that an order by a percentile is about.
fn percentile(word: &str) -> Option<f64> {
    match word {
        "p95" => Some(0.95),
        "p99" => Some(0.99),
        _ => None,
    }
}

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
    /// What it was called under older sources.
    also: Vec<Who>,
    /// Its execution times, if [`add_times`] was asked for them and any were counted.
    pub(crate) times: Option<Times>,
    /// They are those of a small part of what was executed.
    pub(crate) is_small_part: bool,
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

    /// What it is and was called, under this source and older ones.
    pub(crate) fn all_names(&self) -> Vec<Who> {
        [&[self.who], self.also.as_slice()].concat()
    }

    /// Its execution times, if they tell of all.
    pub(crate) fn known_times(&self) -> Option<&Times> {
        self.times.as_ref().filter(|_| !self.is_small_part)
    }

    pub(crate) fn mean_ms(&self) -> Option<f64> {
        ratio(self.value("exec_us"), self.value("calls")).map(|us| us / 1000.0)
    }

    /// From the sum of squares that pg_stat_statements gives, else from the buckets of execution times.
    pub(crate) fn deviation_ms(&self) -> Option<f64> {
        let counted = || self.known_times()?.all().deviation_ns().map(|ns| ns / 1e6);
        deviation_ms(self.value("calls"), self.value("exec_us"), self.value("exec_sq"))
            .or_else(counted)
    }
}

/// Standard deviation in milliseconds from sums of microseconds and of 1000 µs².
#[allow(clippy::cast_precision_loss)]
pub(crate) fn deviation_ms(
    calls: Option<u64>,
    exec_us: Option<u64>,
    exec_sq: Option<u64>,
) -> Option<f64> {
    let squares = exec_sq? as f64 * 1000.0;
    deviation(calls?, exec_us? as f64, squares).map(|us| us / 1000.0)
}

/// Adds their execution times to statements.
pub(crate) fn add_times(scope: &Scope, lines: &mut [Line]) -> Result<(), Error> {
    read_times(scope, lines, None).map(drop)
}

/// The same, and gives those of others: rows are read once for all of them.
fn read_times(
    scope: &Scope,
    lines: &mut [Line],
    others: Option<Vec<Who>>,
) -> Result<Option<Times>, Error> {
    let mut groups: Vec<Vec<Who>> = lines.iter().map(Line::all_names).collect();
    groups.extend(others);
    // The window was widened aloud once.
    let mut sums = latency::sums(&scope.quietly(scope.since, scope.until), &groups);
    let others = sums.split_off(lines.len()).pop().flatten();
    for (line, times) in lines.iter_mut().zip(sums) {
        line.times = times;
    }
    mark_small_parts(scope, lines)?;
    Ok(others)
}

/// All statements of the window, added up in some columns.
pub(crate) struct Sums {
    pub(crate) tally: Tally,
    segments: Vec<Segment>,
    /// Time that the rows cover.
    pub(crate) covered_us: i64,
    /// Execution time of top-level statements.
    pub(crate) total_exec_us: Option<i64>,
    /// Nested statements were counted too, or may have been.
    pub(crate) with_nested: bool,
}

pub(crate) fn add_up(scope: &Scope, columns: &[usize]) -> Sums {
    let kept = Kept::of(&STATEMENT, scope);
    let segments = kept.segments(scope, Level::Day);
    let mut tally = Tally::new(&STATEMENT, columns);
    let (mut covered_us, mut total_exec_us, mut with_nested) = (0_i64, None, false);
    let place = |name| STATEMENT.totals.iter().position(|t| *t == name).unwrap_or(0);
    let (total, nested) = (place("total_exec_us"), place("nested_exec_us"));
    read::frames(&scope.sources, &STATEMENT, &segments, columns, &mut |row| {
        covered_us = covered_us.saturating_add(row.head.span.length_us);
        let of = |place| row.head.totals.get(place).copied().flatten();
        add_known(&mut total_exec_us, of(total));
        with_nested |= of(total) != Some(0) && of(total).is_some() && of(nested) != Some(0);
        tally.add(row.head.source, row.ids, row.head.known, &|i| row.column(i));
    });
    Sums { tally, segments, covered_us, total_exec_us, with_nested }
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

/// The first statements by an order, with the columns of `top_statements` and their execution times.
pub(crate) fn top(scope: &Scope, order: usize, most: Option<usize>) -> Result<Vec<Line>, Error> {
    let mut lines = top_with(scope, (order, 0), most, &SHOWN)?;
    let is_told = lines.iter().any(|line| line.who.1 == OTHER);
    let rest = || scope.sources.iter().map(|source| (*source, OTHER)).collect();
    let rest = read_times(scope, &mut lines, (!is_told).then(rest))?;
    if let Some(rest) = rest.filter(|times| times.all().executions() > 0) {
        add_rest(scope, (order, most), &mut lines, rest);
    }
    Ok(lines)
}

/// What the hooks counted of statements without a place of their own, under id 0. pg_stat_statements knows these
/// apart, so that it is a line of times alone, at its place in the order.
fn add_rest(
    scope: &Scope,
    (order, most): (usize, Option<usize>),
    lines: &mut Vec<Line>,
    rest: Times,
) {
    let Some(newest) = scope.sources.first().copied() else { return };
    let (word, names) = ORDERS[order];
    let rank = rank_by_times(word, &rest.all()).unwrap_or(-1.0);
    let by_times =
        percentile(word).is_some() || lines.iter().all(|line| line.value("calls").is_none());
    let rank_of = |line: &Line| match by_times {
        true => line.times.as_ref().and_then(|times| rank_by_times(word, &times.all())),
        false => rank_of_line(word, names, line),
    };
    let place = lines.partition_point(|line| rank_of(line).unwrap_or(-1.0) >= rank);
    let line = Line {
        who: (newest, OTHER),
        statement: Statement::unknown(OTHER),
        columns: &SHOWN,
        values: vec![None; SHOWN.len()],
        share_ratio: None,
        covered_us: lines.first().map_or(0, |line| line.covered_us),
        also: Vec::new(),
        times: Some(rest),
        is_small_part: false,
    };
    lines.insert(place, line);
    lines.truncate(most.unwrap_or(usize::MAX));
}

#[allow(clippy::cast_precision_loss)]
fn rank_of_line(word: &str, names: &[&str], line: &Line) -> Option<f64> {
    match word {
        "mean_time" => ratio(line.value(names[0]), line.value(names[1])),
        _ => names.iter().map(|name| line.value(name).map(|v| v as f64)).sum(),
    }
}

/// The first statements by an order, with some columns, `quality` the first of them. By a percentile, those of fewer than
/// so many executions come last.
pub(crate) fn top_with(
    scope: &Scope,
    (order, least): (usize, u64),
    most: Option<usize>,
    columns: &'static [&'static str],
) -> Result<Vec<Line>, Error> {
    let (word, rank_names) = ORDERS[order];
    // Without a column, there would be no ids either.
    let asked = if rank_names.is_empty() { &["calls"] } else { rank_names };
    let mut sums = add_up(scope, &positions(asked));
    let mut taken = fold(scope, &mut sums.tally)?;
    let places: HashMap<Who, usize> =
        sums.tally.who().iter().enumerate().map(|(place, who)| (*who, place)).collect();
    // Where pg_stat_statements does not count, the hooks may.
    let by_times = percentile(word).is_some() || places.is_empty();
    let merged = taken.values().map(Vec::len).sum::<usize>();
    let counted = if by_times {
        counted(scope, &places, &mut taken)?
    } else if most.is_none_or(|most| most > places.len() - merged) {
        unlisted(scope, &places, &mut taken)?
    } else {
        // These would come last, and there is no room.
        HashMap::new()
    };
    let gone: HashSet<Who> = taken.values().flatten().copied().collect();
    let place_of = |who: &Who| {
        let older = || taken.get(who)?.iter().find_map(|old| places.get(old));
        places.get(who).or_else(older).copied()
    };
    let rank = |who: &Who| match place_of(who).filter(|_| !by_times) {
        Some(place) => rank_of(word, rank_names, &sums.tally, place).map(|rank| (true, rank)),
        None => {
            let all = counted.get(who).map(Times::all)?;
            let is_enough = percentile(word).is_none() || all.executions() >= least;
            rank_by_times(word, &all).filter(|_| is_enough).map(|rank| (by_times, rank))
        }
    };
    let only_counted = counted.keys().filter(|who| !places.contains_key(who));
    let mut ranked: Vec<((bool, f64), Who)> = (sums.tally.who().iter().chain(only_counted))
        .filter(|who| !gone.contains(who))
        .map(|who| (rank(who).unwrap_or((false, -1.0)), *who))
        .collect();
    ranked.sort_by(|(a, one), (b, other)| {
        b.0.cmp(&a.0).then(b.1.total_cmp(&a.1)).then(one.cmp(other))
    });
    ranked.truncate(most.unwrap_or(usize::MAX));
    let chosen: Vec<Who> = ranked.into_iter().map(|(_, who)| who).collect();
    let known: Vec<bool> = chosen.iter().map(|who| place_of(who).is_some()).collect();
    lines((&chosen, &known), &taken, &sums, columns)
}

/// Of statements that pg_stat_statements did not count, or that are apart in the history of times alone, their execution
/// times. Those of an older source are told as what they are called today, which is noted.
fn unlisted(
    scope: &Scope,
    places: &HashMap<Who, usize>,
    taken: &mut HashMap<Who, Vec<Who>>,
) -> Result<HashMap<Who, Times>, Error> {
    let quiet = scope.quietly(scope.since, scope.until);
    let mut others = latency::all_ids(&quiet);
    others.retain(|who| who.1 != OTHER && !places.contains_key(who));
    let newest = scope.sources.first();
    let is_old = |who: &Who| Some(&who.0) != newest;
    if others.iter().any(is_old) || (!others.is_empty() && places.keys().any(is_old)) {
        for (old, new) in names::successors(&scope.sources)? {
            let of_new = places.contains_key(&new) || others.contains(&new);
            let of_old =
                others.remove(&old) || (places.contains_key(&old) && others.contains(&new));
            if of_old && of_new {
                let olds = taken.entry(new).or_default();
                if !olds.contains(&old) {
                    olds.push(old);
                }
            } else if of_old {
                others.insert(old);
            }
        }
    }
    let others: Vec<Who> = others.into_iter().collect();
    let names = |who: &Who| -> Vec<Who> {
        std::iter::once(who).chain(taken.get(who).into_iter().flatten()).copied().collect()
    };
    let groups: Vec<Vec<Who>> = others.iter().map(names).collect();
    let times = latency::sums(&quiet, &groups);
    Ok(others.into_iter().zip(times).filter_map(|(who, times)| Some((who, times?))).collect())
}

#[allow(clippy::cast_precision_loss)]
fn rank_of(word: &str, names: &[&str], tally: &Tally, place: usize) -> Option<f64> {
    let value = |i| tally.get(place, i);
    match word {
        "mean_time" => ratio(value(0), value(1)),
        _ => (0..names.len()).map(value).map(|v| v.map(|v| v as f64)).sum(),
    }
}

/// The same from execution times, for what these tell; times in microseconds, but for percentiles.
#[allow(clippy::cast_precision_loss)]
fn rank_by_times(word: &str, sum: &Sum) -> Option<f64> {
    if let Some(q) = percentile(word) {
        return sum.quantile(q).map(|found| found.ns);
    }
    let calls = sum.executions() as f64;
    match word {
        "total_time" => Some(sum.total_ns() / 1000.0),
        "mean_time" => (calls > 0.0).then(|| sum.total_ns() / 1000.0 / calls),
        "calls" => Some(calls),
        _ => None,
    }
}

/// Execution times of all statements, each under the name that [`top`] gives it.
pub(crate) fn all_times(scope: &Scope) -> Result<HashMap<Who, Times>, Error> {
    let mut sums = add_up(scope, &positions(&["calls"]));
    let mut taken = fold(scope, &mut sums.tally)?;
    let places = sums.tally.who().iter().enumerate().map(|(place, who)| (*who, place)).collect();
    counted(scope, &places, &mut taken)
}

/// Execution times of all statements, those of older sources folded into what they are called today, which is
/// noted.
fn counted(
    scope: &Scope,
    places: &HashMap<Who, usize>,
    taken: &mut HashMap<Who, Vec<Who>>,
) -> Result<HashMap<Who, Times>, Error> {
    let mut sums = latency::all_sums(&scope.quietly(scope.since, scope.until));
    let newest = scope.sources.first();
    if sums.keys().all(|(source, _)| Some(source) == newest) {
        return Ok(sums);
    }
    for (old, new) in names::successors(&scope.sources)? {
        if !sums.contains_key(&new) && !places.contains_key(&new) {
            continue;
        }
        let from = sums.remove(&old);
        if from.is_some() || (places.contains_key(&old) && sums.contains_key(&new)) {
            sums.entry(new).or_default().join(&from.unwrap_or_default());
            let others = taken.entry(new).or_default();
            if !others.contains(&old) {
                others.push(old);
            }
        }
    }
    Ok(sums)
}

/// Reads some columns of the chosen statements; those that pg_stat_statements did not count are not `known`.
fn lines(
    (chosen, known): (&[Who], &[bool]),
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
    let calls = names.iter().position(|name| *name == "calls");
    let exec = names.iter().position(|name| *name == "exec_us").unwrap_or(0);
    let mut values = vec![vec![None::<u64>; columns.len()]; chosen.len()];
    read::series_of(&objects, &STATEMENT, &sums.segments, &columns, &mut |point| {
        let Some(target) = owner.get(point.index).and_then(|i| values.get_mut(*i)) else { return };
        for (i, (slot, value)) in target.iter_mut().zip(point.values).enumerate() {
            let Some(value) = value else { continue };
            let sum = slot.unwrap_or(0);
            *slot = Some(if i == 0 { sum.max(*value) } else { sum.saturating_add(*value) });
        }
        if let Some(quality) = target.first_mut()
            && calls.is_some_and(|at| point.may_be_in_rest(at, columns[at]))
        {
            *quality = (*quality).max(Some(Quality::LowerBound as u64));
        }
    });
    let mut called = names::statements(chosen)?;
    Ok(chosen
        .iter()
        .zip(values.into_iter().zip(known))
        .map(|(who, (mut values, known))| {
            if !known {
                values.fill(None);
            }
            let statement = called.remove(who).unwrap_or_else(|| Statement::unknown(who.1));
            // Of the rest, part may have run inside the time of others.
            let nested = match statement.toplevel {
                Cell::Bool(toplevel) => !toplevel,
                _ => sums.with_nested,
            };
            let total = sums.total_exec_us.and_then(|us| u64::try_from(us).ok());
            let share_ratio = if nested { None } else { ratio(values[exec], total) };
            Line {
                who: *who,
                statement,
                columns: names,
                values,
                share_ratio,
                covered_us: sums.covered_us,
                also: taken.get(who).cloned().unwrap_or_default(),
                times: None,
                is_small_part: false,
            }
        })
        .collect())
}
