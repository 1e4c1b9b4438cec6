//! Percentiles as columns of other functions, `latency_histogram` and `latency_heatmap`.

use std::collections::BTreeSet;

use perfmon_core::family::{LATENCY, STATEMENT};
use perfmon_core::frame::{Quality, Span};
use perfmon_core::histogram::{BUCKETS, Sum, bounds};
use perfmon_core::objective::KNOWN;
use perfmon_core::report::ENOUGH;
use perfmon_core::series::Series;
use perfmon_core::tally::Who;
use perfmon_core::window::Level;
use pgrx::datum::Interval;
use pgrx::pg_sys;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;

use super::args::{Scope, Stamp};
use super::known;
use super::rows::{Cell, Sink};
use super::series;
use crate::error::Error;
use crate::recall::latency::{Times, Whose, rows};
use crate::recall::names;
use crate::recall::plan::{Kept, coarsest_for};
use crate::recall::statements::positions;
use crate::recall::times::total;
use crate::recall::uncounted::{Besides, nameless_users};
use crate::store::read;

mod said;

use said::{say_if_in_part, say_in_rest};
pub(super) use said::{say_not_counted, say_partly_counted};

const NS_PER_MS: f64 = 1e6;

/// The time within which a share of all executions ended, milliseconds.
pub(in crate::api) fn at(sum: &Sum, q: f64) -> Option<f64> {
    sum.quantile(q).map(|found| found.ns / NS_PER_MS)
}

/// p50, p75, p90, p95, p99, the longest, executions, and executions and p95 of those that found all in cache and of
/// those that read. All of it is NULL where nothing was counted; of a small part the numbers are told alone.
pub(super) fn cells(times: Option<&Times>, is_small_part: bool) -> [Cell; 11] {
    let Some(times) = times else { return [const { Cell::Null }; 11] };
    if is_small_part {
        let mut cells = [const { Cell::Null }; 11];
        let counts = [times.all(), times.cached(), times.read()].map(|sum| sum.executions().into());
        for (place, count) in [6, 7, 9].into_iter().zip(counts) {
            cells[place] = count;
        }
        return cells;
    }
    let (all, cached, read) = (&times.all(), &times.cached(), &times.read());
    let longest = all.max().map(|found| found.ns / NS_PER_MS);
    // Of a part the longest is known by its bucket only.
    let part = |sum: &Sum| at(sum, 0.95).map(|ms| longest.map_or(ms, |longest| ms.min(longest)));
    [
        at(all, 0.5).into(),
        at(all, 0.75).into(),
        at(all, 0.9).into(),
        at(all, 0.95).into(),
        at(all, 0.99).into(),
        longest.into(),
        all.executions().into(),
        cached.executions().into(),
        part(cached).into(),
        read.executions().into(),
        part(read).into(),
    ]
}

/// Execution times between edges.
pub(super) struct Timed {
    /// Of one column: executions, known where counting covered the time, if only with silence.
    series: Series,
    times: Vec<Option<Times>>,
    /// Whether there may be more, without a name.
    in_rest: Vec<bool>,
    /// Whether a row may be a part of what there was.
    partly: Vec<bool>,
    /// Where a row ends that was not all quiet.
    at_work: Vec<bool>,
    /// Whether times are those of a small part of what was executed.
    in_part: Vec<bool>,
    /// Of some time in which something was executed no times are known, or those of a small part.
    is_part: bool,
    /// Rows are no coarser.
    coarsest: Level,
    /// What may have been executed besides; once that was looked up.
    besides: Option<Besides>,
    /// All that clients sent is meant.
    are_all: bool,
    /// What was not timed was not executed, unless it was executed besides. Statements within others are timed at will.
    tells_silence: bool,
}

impl Timed {
    /// Adds them up, quietly: who asks for them has said where the window was widened.
    pub(super) fn of(whose: Whose<'_>, scope: &Scope, edges: &[i64]) -> Result<Self, Error> {
        let quiet = scope.quietly(scope.since, scope.until);
        let coarsest = coarsest_for(edges);
        let segments = Kept::of(&LATENCY, &quiet).segments(&quiet, coarsest);
        let mut series = Series::new(edges.to_vec(), 1);
        let mut times: Vec<Option<Times>> = vec![None; series.len()];
        let mut in_rest = vec![false; series.len()];
        let (mut at_work, mut partly) = (in_rest.clone(), in_rest.clone());
        let in_part = in_rest.clone();
        rows(whose, &quiet, &segments, &mut |head, latency, may_be| {
            let span = head.span;
            series.cover(span.since, span.until, span.length_us, span.quiet_us);
            series.add(0, span.until, Some(0));
            let Some(bucket) = series.bucket_of(span.until).filter(|at| *at < times.len()) else {
                return;
            };
            times[bucket].get_or_insert_default().add(&latency);
            in_rest[bucket] |= may_be;
            at_work[bucket] |= span.quiet_us < span.length_us;
            partly[bucket] |= span.quality != Quality::Exact;
        })?;
        // What was quiet is known without a row of its own.
        for (bucket, slot) in times.iter_mut().enumerate() {
            if slot.is_none() && series.sum(0, bucket).is_some() {
                *slot = Some(Times::default());
            }
        }
        Ok(Self {
            series,
            times,
            in_rest,
            partly,
            at_work,
            in_part,
            is_part: false,
            coarsest,
            besides: None,
            are_all: false,
            tells_silence: false,
        })
    }

    /// Looks up what was executed besides what was timed, by the user of the statements if that is what they are; where it
    /// matters: where steps are in question, where the server's own statistics know of more or of nothing, or `are_part`.
    pub(super) fn look_besides(
        &mut self,
        whose: Whose<'_>,
        scope: &Scope,
        edges: &[i64],
        (counted, are_part): (&Series, bool),
    ) -> Result<(), Error> {
        self.are_all = matches!(whose, Whose::Database);
        // What has no id is neither timed nor counted by the server: then its row is a lower bound, or there is none.
        let is_short = |bucket| counted.covered_us(bucket) < self.series.covered_us(bucket);
        let is_told = |bucket| !self.is_alone(bucket, counted) && !is_short(bucket);
        let lacks = |bucket| self.is_lacking(bucket, counted) || self.are_all && !is_told(bucket);
        let lacks_some = || (0..self.times.len()).any(lacks);
        let is_needed = are_part || self.is_in_question() || lacks_some();
        if !is_needed && (self.are_all || !may_be_nameless(whose, scope)?) {
            return Ok(());
        }
        let (user, are_toplevel) = user_of(whose)?;
        self.tells_silence = are_toplevel;
        let quiet = scope.quietly(scope.since, scope.until);
        let edges = edges.to_vec();
        self.besides = Some(Besides::of(&quiet, self.coarsest, edges, user.as_deref())?);
        Ok(())
    }

    /// Whether more executions were timed than the server counted, and not for the moment between the two readings.
    pub(super) fn are_more_than(&self, counted: &Series) -> bool {
        (0..self.times.len()).any(|bucket| self.is_more_than(bucket, counted))
    }

    /// The same of one bucket.
    pub(super) fn is_more_than(&self, bucket: usize, counted: &Series) -> bool {
        let timed = self.times(bucket).map_or(0, |times| times.all().executions());
        is_more(timed, counted.sum(0, bucket).unwrap_or(0))
    }

    /// Whether the server counted many more executions in a bucket than were timed, of which there are some.
    #[allow(clippy::cast_precision_loss)]
    fn is_lacking(&self, bucket: usize, counted: &Series) -> bool {
        let timed = self.times(bucket).map_or(0, |times| times.all().executions());
        let calls = counted.sum(0, bucket).filter(|_| timed > 0);
        calls.is_some_and(|calls| (timed as f64) < KNOWN * calls as f64)
    }

    /// Whether times of a bucket are those of a small part of what was executed, as sessions had the hooks off, or all of them in
    /// some of the time. Where nobody had, the server counted what the hooks do not, as inside functions, or a moment earlier.
    #[allow(clippy::cast_precision_loss)]
    fn has_small_part(&self, bucket: usize, counted: &Series) -> bool {
        let Some(besides) = &self.besides else { return false };
        let covered_us = |series: &Series| series.covered_us(bucket) as f64;
        let is_short = || covered_us(&self.series) < KNOWN * covered_us(counted);
        let is_lacking = self.is_lacking(bucket, counted);
        let any_timed = self.times(bucket).is_some_and(|times| times.all().executions() > 0);
        match self.are_all || counted.sum(0, bucket).is_none() {
            true => any_timed && besides.is_mostly_untimed(bucket) || is_lacking && is_short(),
            false => is_lacking && (besides.is_untimed(bucket) || is_short()),
        }
    }

    /// Whether times of a bucket are those of a small part, so that percentiles say nothing of all.
    pub(super) fn is_small_part(&self, bucket: usize) -> bool {
        self.in_part.get(bucket) == Some(&true)
    }

    /// Whether something was executed in a bucket that may be theirs and had no id, so that the server did not count it.
    pub(super) fn is_nameless(&self, bucket: usize) -> bool {
        self.besides.as_ref().is_some_and(|besides| besides.is_nameless(bucket))
    }

    /// Whether the hooks know that nothing was executed in a bucket that has no times.
    fn is_silent(&self, bucket: usize) -> bool {
        let covered_us = self.series.covered_us(bucket);
        let is_none = |besides: &Besides| besides.is_none(bucket, covered_us);
        let is_all = !self.partly[bucket] && !self.in_rest[bucket];
        self.tells_silence && is_all && self.besides.as_ref().is_some_and(is_none)
    }

    /// That nothing was timed is known to be nothing only where the server's own statistics say so too: others may have been at work
    /// with the hooks off, or without ids. `counted` tells how many executions these know, between the same edges.
    pub(super) fn believe(&mut self, counted: &Series) {
        for bucket in 0..self.times.len() {
            let is_told = counted.covered_us(bucket) >= self.series.covered_us(bucket)
                && !self.is_nameless(bucket);
            let is_none = match counted.sum(0, bucket) {
                Some(0) => is_told || !self.at_work[bucket],
                Some(_) => false,
                None => !self.at_work[bucket] || self.is_silent(bucket),
            };
            // What was not executed at all is in no rest.
            self.in_rest[bucket] &= !(is_told && counted.sum(0, bucket) == Some(0));
            let slot = &mut self.times[bucket];
            if !is_none && slot.as_ref().is_some_and(|times| times.all().executions() == 0) {
                *slot = None;
                self.is_part = true;
            }
            self.in_part[bucket] = self.has_small_part(bucket, counted);
            self.is_part |= self.in_part[bucket];
        }
    }

    /// Says why times are not known, of all or of some of them; gives whether that is so.
    pub(super) fn say_what_is_missing(&self, scope: &Scope) -> bool {
        if self.is_unknown() {
            say_not_counted(scope);
        } else if self.is_part {
            say_partly_counted(scope);
        }
        self.is_unknown() || self.is_part
    }

    /// Whether there are steps of which it is in question whether nothing was executed in them.
    fn is_in_question(&self) -> bool {
        let silent = |times: &Times| times.all().executions() == 0;
        let mut all = self.times.iter().zip(&self.at_work);
        all.any(|(times, at_work)| *at_work && times.as_ref().is_some_and(silent))
    }

    /// Whether executions of a bucket were timed of which the server counted none.
    pub(super) fn is_alone(&self, bucket: usize, counted: &Series) -> bool {
        let any = |times: &Times| times.all().executions() > 0;
        counted.sum(0, bucket).unwrap_or(0) == 0 && self.times(bucket).is_some_and(any)
    }

    /// What is known of one bucket.
    pub(super) fn times(&self, bucket: usize) -> Option<&Times> {
        self.times.get(bucket)?.as_ref()
    }

    /// Whether none is known of one bucket, and some may be that have no name.
    pub(super) fn may_be_in_rest(&self, bucket: usize) -> bool {
        let none = |times: &Times| times.all().executions() == 0;
        self.in_rest.get(bucket) == Some(&true) && self.times(bucket).is_none_or(none)
    }

    /// Whether nothing is known at all.
    fn is_unknown(&self) -> bool {
        self.times.iter().all(Option::is_none)
    }
}

/// Whether so many more executions were timed than counted that it is not for the moment between the two readings.
pub(super) fn is_more(timed: u64, calls: u64) -> bool {
    timed > calls.saturating_add(ENOUGH.max(calls / 100))
}

/// Whether some of what was executed in a window, by whoever executed these statements, had no id.
fn may_be_nameless(whose: Whose<'_>, scope: &Scope) -> Result<bool, Error> {
    let users = nameless_users(&scope.quietly(scope.since, scope.until))?;
    if users.is_empty() {
        return Ok(false);
    }
    let (user, _) = user_of(whose)?;
    Ok(user.is_none() || users.contains(&None) || users.contains(&user))
}

/// Whose statements they are, if one user's, and whether none is within others.
fn user_of(whose: Whose<'_>) -> Result<(Option<String>, bool), Error> {
    let Whose::Statements(objects) = whose else { return Ok((None, true)) };
    let named = names::statements(objects)?;
    let mut users: BTreeSet<Option<String>> =
        named.values().map(|one| one.user_name.text()).collect();
    let user = users.pop_first().flatten().filter(|_| users.is_empty());
    Ok((user, named.values().all(|one| one.toplevel == Cell::Bool(true))))
}

/// The ends of a bucket in milliseconds; the last has no upper one.
#[allow(clippy::cast_precision_loss)]
fn ends(bucket: usize) -> [Cell; 2] {
    let (low, high) = bounds(bucket);
    let ms = |ns: u64| ns as f64 / NS_PER_MS;
    [ms(low).into(), high.map(ms).into()]
}

#[pg_extern(
    schema = "perfmon",
    sql = r#"
CREATE FUNCTION perfmon.latency_histogram(
    statement_id int DEFAULT NULL,
    since timestamptz DEFAULT now() - interval '1 hour',
    until timestamptz DEFAULT now(),
    source bigint DEFAULT NULL
) RETURNS TABLE (
    low_ms float8,
    high_ms float8,
    calls bigint,
    cached_calls bigint,
    read_calls bigint
) LANGUAGE c STABLE PARALLEL RESTRICTED ROWS 50 AS 'MODULE_PATHNAME', '@FUNCTION_NAME@';
"#
)]
fn latency_histogram(
    statement_id: Option<i32>,
    since: Stamp,
    until: Stamp,
    source: Option<i64>,
    fcinfo: pg_sys::FunctionCallInfo,
) -> Result<(), ErrorReport> {
    let scope = Scope::check(since, until, source)?;
    let mut sink = Sink::open(fcinfo);
    let objects = asked(&scope, statement_id)?;
    if !scope.has_history_or_notice()? {
        return Ok(());
    }
    let whose = objects.as_deref().map_or(Whose::Database, Whose::Statements);
    let segments = Kept::of(&LATENCY, &scope).segments(&scope, Level::Day);
    let (mut sum, mut in_rest): (Option<Times>, bool) = (None, false);
    rows(whose, &scope, &segments, &mut |_, latency, may_be| {
        sum.get_or_insert_default().add(&latency);
        in_rest |= may_be;
    })?;
    if in_rest {
        say_in_rest();
    }
    let sum = sum.unwrap_or_default();
    let sums = [sum.all(), sum.cached(), sum.read()];
    if sums[0].executions() == 0 {
        say_not_counted(&scope);
    } else {
        say_if_in_part(whose, &scope, true)?;
    }
    for bucket in 0..BUCKETS {
        let counts = sums.each_ref().map(|sum| sum.counts()[bucket]);
        if counts[0] > 0 {
            let [low, high] = ends(bucket);
            let counts = counts.map(Cell::from);
            sink.put_all([low, high].into_iter().chain(counts))?;
        }
    }
    Ok(())
}

#[pg_extern(
    schema = "perfmon",
    sql = r#"
CREATE FUNCTION perfmon.latency_heatmap(
    since timestamptz DEFAULT now() - interval '1 hour',
    until timestamptz DEFAULT now(),
    step interval DEFAULT NULL,
    statement_id int DEFAULT NULL,
    source bigint DEFAULT NULL
) RETURNS TABLE (
    "time" timestamptz,
    low_ms float8,
    high_ms float8,
    calls bigint
) LANGUAGE c STABLE PARALLEL RESTRICTED ROWS 5000 AS 'MODULE_PATHNAME', '@FUNCTION_NAME@';
"#
)]
fn latency_heatmap(
    since: Stamp,
    until: Stamp,
    step: Option<Interval>,
    statement_id: Option<i32>,
    source: Option<i64>,
    fcinfo: pg_sys::FunctionCallInfo,
) -> Result<(), ErrorReport> {
    let scope = Scope::check(since, until, source)?;
    let mut sink = Sink::open(fcinfo);
    let objects = asked(&scope, statement_id)?;
    if !scope.has_history_or_notice()? {
        return Ok(());
    }
    let whose = objects.as_deref().map_or(Whose::Database, Whose::Statements);
    let edges = series::edges(&scope, step, &Kept::of(&LATENCY, &scope))?;
    let mut timed = Timed::of(whose, &scope, &edges)?;
    let (counted, are_part) = counted(&scope, edges.clone(), objects.as_deref());
    timed.look_besides(whose, &scope, &edges, (&counted, are_part))?;
    timed.believe(&counted);
    if !timed.say_what_is_missing(&scope) {
        // Roles that are kept out are told where percentiles of all are asked for, and by the sum.
        say_if_in_part(whose, &scope, objects.is_some())?;
    }
    if timed.in_rest.contains(&true) {
        say_in_rest();
    }
    for (bucket, times) in timed.times.iter().enumerate() {
        let is_known = !timed.may_be_in_rest(bucket) && !timed.is_small_part(bucket);
        let Some(times) = times.as_ref().filter(|_| is_known) else { continue };
        let time = Cell::Time(timed.series.time(bucket));
        let mut counted = false;
        for (range, count) in
            times.all().counts().iter().enumerate().filter(|(_, count)| **count > 0)
        {
            let [low, high] = ends(range);
            sink.put([time.clone(), low, high, (*count).into()])?;
            counted = true;
        }
        if !counted {
            // Known to be silent, unlike a step that is missing.
            sink.put([time, Cell::Null, Cell::Null, 0.into()])?;
        }
    }
    Ok(())
}

/// How many executions the server counted between edges, of some statements or of all.
fn counted(scope: &Scope, edges: Vec<i64>, of: Option<&[Who]>) -> (Series, bool) {
    let quiet = scope.quietly(scope.since, scope.until);
    let segments = Kept::of(&STATEMENT, &quiet).segments(&quiet, coarsest_for(&edges));
    let (mut series, mut are_part) = (Series::new(edges, 1), false);
    let mut add = |span: Span, calls: Option<u64>| {
        are_part |= span.quality != Quality::Exact;
        series.cover(span.since, span.until, span.length_us, span.quiet_us);
        series.add(0, span.until, calls);
    };
    match of {
        None => read::frames(&scope.sources, &STATEMENT, &segments, &[], &mut |row| {
            add(row.head.span, total(&STATEMENT, row.head, "total_calls"));
        }),
        Some(objects) => {
            let columns = positions(&["calls"]);
            read::series_of(objects, &STATEMENT, &segments, &columns, &mut |point| {
                add(point.head.span, point.values.first().copied().flatten());
            });
        }
    }
    (series, are_part)
}

/// The statement that is asked for, under every source; `None` for all that clients sent.
fn asked(scope: &Scope, statement_id: Option<i32>) -> Result<Option<Vec<Who>>, Error> {
    statement_id.map(|id| known::statement(scope, Some(id))).transpose()
}
