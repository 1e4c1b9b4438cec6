//! `top_statements` and `commands`: what the time went into.

use std::collections::HashMap;

use perfmon_core::ask;
use perfmon_core::family::STATEMENT;
use perfmon_core::tally::{Tally, Who, add_known, deviation};
use pgrx::pg_sys;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;

use super::args::{Scope, Stamp};
use super::names::{self, Statement};
use super::plan::Kept;
use super::rows::{Cell, Sink};
use super::words::Raw;
use crate::error::Error;
use crate::store::read::{self, Segment};
use perfmon_core::window::Level;

/// What statements can be ordered by, and the columns whose sum that is. The mean is a special case.
const ORDERS: [(&str, &[&str]); 10] = [
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

pub(super) fn positions(names: &[&str]) -> Vec<usize> {
    names.iter().filter_map(|name| STATEMENT.position(name)).collect()
}

#[pg_extern(
    schema = "perfmon",
    sql = r#"
CREATE FUNCTION perfmon.top_statements(
    since timestamptz DEFAULT now() - interval '1 hour',
    until timestamptz DEFAULT now(),
    order_by text DEFAULT 'total_time',
    max_rows int DEFAULT 20,
    source bigint DEFAULT NULL
) RETURNS TABLE (
    statement_id int,
    user_name text,
    query text,
    command text,
    calls bigint,
    calls_per_s float8,
    total_exec_ms float8,
    mean_exec_ms float8,
    stddev_exec_ms float8,
    rows bigint,
    rows_per_call float8,
    share_ratio float8,
    toplevel bool,
    total_plan_ms float8,
    shared_blks_hit bigint,
    shared_blks_read bigint,
    shared_blks_dirtied bigint,
    shared_blks_written bigint,
    cache_hit_ratio float8,
    blk_read_ms float8,
    blk_write_ms float8,
    temp_blks_read bigint,
    temp_blks_written bigint,
    wal_bytes bigint,
    quality text,
    queryid bigint,
    from_source bigint
) LANGUAGE c STABLE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', '@FUNCTION_NAME@';
"#
)]
fn top_statements(
    since: Stamp,
    until: Stamp,
    order_by: Option<Vec<u8>>,
    max_rows: Option<i32>,
    source: Option<i64>,
    fcinfo: pg_sys::FunctionCallInfo,
) -> Result<(), ErrorReport> {
    let scope = Scope::check(since, until, source)?;
    let words = ORDERS.map(|(word, _)| word);
    let order = order_by.map_or_else(|| words[0].to_owned(), |bytes| Raw(bytes).show());
    let order = ask::choice("order_by", &order, &words).map_err(Error::from)?;
    let most = ask::max_rows(max_rows).map_err(Error::from)?;
    let mut sink = Sink::open(fcinfo);
    if !scope.has_history_or_notice()? {
        return Ok(());
    }
    for line in top(&scope, order, most)? {
        sink.put(line.cells())?;
    }
    Ok(())
}

/// One of the top statements.
#[derive(Debug, Clone)]
pub(super) struct Line {
    pub(super) who: Who,
    pub(super) statement: Statement,
    /// In the order of [`SHOWN`].
    pub(super) values: [Option<u64>; SHOWN.len()],
    pub(super) share_ratio: Option<f64>,
    covered_us: i64,
}

/// Milliseconds from microseconds.
#[allow(clippy::cast_precision_loss)]
pub(super) fn ms(us: Option<u64>) -> Option<f64> {
    us.map(|us| us as f64 / 1000.0)
}

/// One over the other; unknown when the second is zero or either is unknown.
#[allow(clippy::cast_precision_loss)]
pub(super) fn ratio(a: Option<u64>, b: Option<u64>) -> Option<f64> {
    let (a, b) = (a? as f64, b? as f64);
    (b > 0.0).then(|| a / b)
}

/// An amount over a length of time, per second.
#[allow(clippy::cast_precision_loss)]
pub(super) fn per_s(amount: Option<u64>, us: i64) -> Option<f64> {
    (us > 0).then(|| amount.map(|n| n as f64 * 1e6 / us as f64)).flatten()
}

/// Part of a whole of two parts.
pub(super) fn part(a: Option<u64>, b: Option<u64>) -> Option<f64> {
    ratio(a, Some(a?.saturating_add(b?)))
}

pub(super) fn quality(code: Option<u64>) -> Cell {
    match code {
        None => Cell::Null,
        Some(0) => "exact".into(),
        Some(1) => "lower bound".into(),
        Some(_) => "doubtful".into(),
    }
}

impl Line {
    pub(super) fn value(&self, name: &str) -> Option<u64> {
        self.values[SHOWN.iter().position(|shown| *shown == name)?]
    }

    pub(super) fn mean_ms(&self) -> Option<f64> {
        ratio(self.value("exec_us"), self.value("calls")).map(|us| us / 1000.0)
    }

    #[allow(clippy::cast_precision_loss)]
    fn deviation_ms(&self) -> Option<f64> {
        let squares = self.value("exec_sq")? as f64 * 1000.0;
        deviation(self.value("calls")?, self.value("exec_us")? as f64, squares)
            .map(|us| us / 1000.0)
    }

    fn cells(self) -> [Cell; 27] {
        let v = |name: &str| self.value(name);
        let hit = part(v("shared_blks_hit"), v("shared_blks_read"));
        [
            Cell::from(self.who.1),
            self.statement.user_name.clone(),
            self.statement.query.clone(),
            self.statement.command.clone(),
            v("calls").into(),
            per_s(v("calls"), self.covered_us).into(),
            ms(v("exec_us")).into(),
            self.mean_ms().into(),
            self.deviation_ms().into(),
            v("rows").into(),
            ratio(v("rows"), v("calls")).into(),
            self.share_ratio.into(),
            self.statement.toplevel.clone(),
            ms(v("plan_us")).into(),
            v("shared_blks_hit").into(),
            v("shared_blks_read").into(),
            v("shared_blks_dirtied").into(),
            v("shared_blks_written").into(),
            hit.into(),
            ms(v("shared_blk_read_us")).into(),
            ms(v("shared_blk_write_us")).into(),
            v("temp_blks_read").into(),
            v("temp_blks_written").into(),
            v("wal_bytes").into(),
            quality(v("quality")),
            self.statement.queryid.clone(),
            self.who.0.into(),
        ]
    }
}

/// All statements of the window, added up in some columns.
pub(super) struct Sums {
    pub(super) tally: Tally,
    segments: Vec<Segment>,
    /// Time that the rows cover.
    pub(super) covered_us: i64,
    /// Execution time of top-level statements.
    pub(super) total_exec_us: Option<i64>,
}

pub(super) fn add_up(scope: &Scope, columns: &[usize]) -> Sums {
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
    if tally.is_empty() && !scope.sources.is_empty() {
        ereport!(
            NOTICE,
            PgSqlErrorCode::ERRCODE_SUCCESSFUL_COMPLETION,
            "no statement was recorded in this window",
            "SELECT * FROM perfmon.status() says whether pg_stat_statements is missing, and the line that fixes it."
        );
    }
    Sums { tally, segments, covered_us, total_exec_us }
}

/// Folds statements of older sources into what they are called today; returns, by place, whether it
/// still stands for itself, and for those that took others in, which.
pub(super) fn fold(scope: &Scope, tally: &mut Tally) -> Result<HashMap<Who, Vec<Who>>, Error> {
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

/// The first statements by an order.
pub(super) fn top(scope: &Scope, order: usize, most: Option<usize>) -> Result<Vec<Line>, Error> {
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
    lines(&chosen, &taken, &sums)
}

/// Reads all shown columns of the chosen statements.
fn lines(chosen: &[Who], taken: &HashMap<Who, Vec<Who>>, sums: &Sums) -> Result<Vec<Line>, Error> {
    let mut objects: Vec<Who> = Vec::new();
    let mut owner: Vec<usize> = Vec::new();
    for (index, who) in chosen.iter().enumerate() {
        for one in std::iter::once(who).chain(taken.get(who).into_iter().flatten()) {
            objects.push(*one);
            owner.push(index);
        }
    }
    let columns = positions(&SHOWN);
    let mut values = vec![[None::<u64>; SHOWN.len()]; chosen.len()];
    read::series_of(&objects, &STATEMENT, &sums.segments, &columns, &mut |point| {
        let Some(target) = owner.get(point.index).and_then(|i| values.get_mut(*i)) else { return };
        for (i, (slot, value)) in target.iter_mut().zip(point.values).enumerate() {
            let Some(value) = value else { continue };
            let sum = slot.unwrap_or(0);
            *slot = Some(if i == 0 { sum.max(*value) } else { sum.saturating_add(*value) });
        }
    });
    let mut names = names::statements(chosen)?;
    Ok(chosen
        .iter()
        .zip(values)
        .map(|(who, values)| {
            let statement = names.remove(who).unwrap_or_else(|| Statement::unknown(who.1));
            let nested = statement.toplevel == Cell::Bool(false);
            let total = sums.total_exec_us.and_then(|us| u64::try_from(us).ok());
            let share_ratio = if nested { None } else { ratio(values[2], total) };
            Line { who: *who, statement, values, share_ratio, covered_us: sums.covered_us }
        })
        .collect())
}
