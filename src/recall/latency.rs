//! Execution times as the hooks counted them, over a window: interval by interval, or added up. Percentiles are taken
//! from sums of buckets only ([`Sum`]), with the bounds that a bucket allows ([`perfmon_core::histogram::ERROR`]).
//!
//! Nothing here says zero for unknown: a time that was not counted (no preloading, capture off, before the upgrade) has
//! no rows, and [`intervals`] says so.

use std::collections::{BTreeSet, HashMap, HashSet};

use perfmon_core::family::{LATENCY, SERVER};
use perfmon_core::frame::{Quality, Span};
use perfmon_core::histogram::{Latency, Sparse, Sum};
use perfmon_core::rollup::OTHER;
use perfmon_core::tally::Who;
use perfmon_core::window::Level;

use super::names;
use super::plan::Kept;
use super::query;
use super::scope::Scope;
use super::words::Raw;
use crate::error::Error;
use crate::store::read::Segment;
use crate::store::{latency, read};

/// Whose executions.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Whose<'a> {
    /// All that clients of the database sent. Reads only the sum that each row holds, so it is cheap.
    Database,
    /// All that clients sent as this user. What had no entry of its own in shared memory is nobody's.
    User(&'a str),
    /// Some statements, nested or not, by source and dictionary id.
    Statements(&'a [Who]),
}

/// One stretch of time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Interval {
    /// Start and end, microseconds since the Unix epoch.
    pub(crate) since: i64,
    pub(crate) until: i64,
    /// Time in it that was in fact covered.
    pub(crate) length_us: i64,
    /// What was executed, empty if nothing was; `None` where nothing is known of it.
    pub(crate) latency: Option<Latency>,
    /// That may be a part of it: the database had capture off, and only sessions that had it on all the same were counted.
    pub(crate) is_part: bool,
}

/// The intervals of a window as they were recorded, ascending, from rows no coarser than `coarsest` (where finer ones
/// are still kept): [`Level::Minute`] for those of single snapshots, hours or days for long windows.
///
/// The list has an interval for each row of history that ends in (since, until]. Time between two of them that none
/// covers is a gap of the history (the server was down, snapshots were off). An interval begins where the counters
/// did, so after a restart it is shorter than the one of the snapshot.
pub(crate) fn intervals(
    whose: Whose<'_>,
    scope: &Scope,
    coarsest: Level,
) -> Result<Vec<Interval>, Error> {
    let mut all: Vec<Interval> = Vec::new();
    // The plan of what is always there, so that rows of both are of the same level.
    let segments = Kept::of(&SERVER, scope).segments(scope, coarsest);
    rows(whose, scope, &segments, &mut |head, latency, _| {
        let Span { since, until, length_us, quality, .. } = head.span;
        let is_part = quality != Quality::Exact;
        all.push(Interval { since, until, length_us, latency: Some(latency), is_part });
    })?;
    let known: HashSet<i64> = all.iter().map(|interval| interval.until).collect();
    read::frames(&scope.sources, &SERVER, &segments, &[], &mut |row| {
        let span = row.head.span;
        if span.length_us > 0 && !known.contains(&span.until) {
            let (since, until, length_us) = (span.since, span.until, span.length_us);
            all.push(Interval { since, until, length_us, latency: None, is_part: false });
        }
    });
    all.sort_by_key(|interval| interval.until);
    Ok(all)
}

/// Row by row, in the order of the segments, what was executed; empty if nothing was. Of statements that have no name in the
/// row, it also says whether they may be in its rest, so that empty is not nothing.
pub(crate) fn rows(
    whose: Whose<'_>,
    scope: &Scope,
    segments: &[Segment],
    each: &mut dyn FnMut(&read::Head, Latency, bool),
) -> Result<(), Error> {
    match whose {
        Whose::Database => latency::overall(&scope.sources, segments, &mut |head, latency| {
            each(head, latency.clone(), false);
        }),
        Whose::Statements(objects) => {
            let rests: BTreeSet<Who> = objects.iter().map(|(source, _)| (*source, OTHER)).collect();
            let rests = rests.into_iter().filter(|rest| !objects.contains(rest));
            let asked: Vec<Who> = objects.iter().copied().chain(rests).collect();
            latency::of(&asked, segments, &mut |head, points| {
                let named = || points.iter().filter(|point| point.0 < objects.len());
                let in_rest = !points.is_empty() && named().next().is_none();
                each(head, joined(named().map(|point| &point.1)), in_rest);
            });
        }
        Whose::User(name) => {
            let ids = of_user(scope, name)?;
            latency::all(&scope.sources, segments, &mut |head, found, latencies| {
                let own = found.iter().zip(latencies);
                let own = own.filter(|(id, _)| ids.contains(&(head.source, **id)));
                each(head, joined(own.map(|pair| pair.1)), false);
            });
        }
    }
    Ok(())
}

fn joined<'a>(latencies: impl Iterator<Item = &'a Latency>) -> Latency {
    latencies.fold(Latency::default(), |mut sum, latency| {
        sum.add(latency);
        sum
    })
}

/// Top-level statements of a user, under all sources.
fn of_user(scope: &Scope, name: &str) -> Result<HashSet<Who>, Error> {
    let rows = query::rows(
        "SELECT s.source, s.statement_id FROM perfmon.statement s
         WHERE s.source OPERATOR(pg_catalog.=) ANY ($1)
             AND s.user_name OPERATOR(pg_catalog.=) $2 AND s.toplevel",
        &[scope.sources.clone().into(), Raw::from(name).into()],
    )?;
    Ok(rows.iter().filter_map(|row| names::who(row, 0)).collect())
}

/// Execution times added up, as the buckets that were hit: statements may be many.
#[derive(Debug, Clone, Default)]
pub(crate) struct Times(Latency);

impl Times {
    /// Adds an interval, or a statement.
    pub(crate) fn add(&mut self, latency: &Latency) {
        self.0.add(latency);
    }

    /// Adds others.
    pub(super) fn join(&mut self, others: &Self) {
        self.0.add(&others.0);
    }

    /// All executions.
    pub(crate) fn all(&self) -> Sum {
        let mut sum = Sum::default();
        sum.add(&self.0);
        sum
    }

    /// Those that found every block in the server's cache.
    pub(crate) fn cached(&self) -> Sum {
        half(&self.0.cached)
    }

    /// Those that read blocks.
    pub(crate) fn read(&self) -> Sum {
        half(&self.0.read)
    }
}

fn half(half: &Sparse) -> Sum {
    let mut sum = Sum::default();
    sum.add_half(half);
    sum
}

/// Rows to be added up over a window: the fewest that cover it. `None` where nothing at all was counted in it.
fn segments(scope: &Scope) -> Option<Vec<Segment>> {
    let kept = Kept::of(&LATENCY, scope);
    kept.oldest()
        .is_some_and(|oldest| oldest < scope.until)
        .then(|| kept.segments(scope, Level::Day))
}

/// What some statements did over the window, each with those that it was before a copy or a restore: `groups` holds
/// these by statement. One that did nothing, and everything where nothing was counted, is `None`.
pub(crate) fn sums(scope: &Scope, groups: &[Vec<Who>]) -> Vec<Option<Times>> {
    let mut sums: Vec<Option<Times>> = vec![None; groups.len()];
    let pairs = groups.iter().enumerate();
    let (objects, owners): (Vec<Who>, Vec<usize>) =
        pairs.flat_map(|(i, group)| group.iter().map(move |who| (*who, i))).unzip();
    let Some(segments) = segments(scope) else { return sums };
    latency::of(&objects, &segments, &mut |_, points| {
        for (index, latency) in points {
            let slot = owners.get(*index).and_then(|owner| sums.get_mut(*owner));
            if let Some(slot) = slot {
                slot.get_or_insert_default().add(latency);
            }
        }
    });
    sums
}

/// What all statements did over the window, by source and id.
pub(crate) fn all_sums(scope: &Scope) -> HashMap<Who, Times> {
    let mut sums: HashMap<Who, Times> = HashMap::new();
    let Some(segments) = segments(scope) else { return sums };
    latency::all(&scope.sources, &segments, &mut |head, ids, latencies| {
        for (id, latency) in ids.iter().zip(latencies) {
            sums.entry((head.source, *id)).or_default().add(latency);
        }
    });
    sums
}

/// All statements that have a histogram of their own anywhere in the window, which is much less to read.
pub(crate) fn all_ids(scope: &Scope) -> HashSet<Who> {
    let mut ids: HashSet<Who> = HashSet::new();
    let Some(segments) = segments(scope) else { return ids };
    latency::ids(&scope.sources, &segments, &mut |head, found| {
        ids.extend(found.iter().map(|id| (head.source, *id)));
    });
    ids
}

/// What clients sent over the window; `None` where nothing was counted.
pub(crate) fn overall(scope: &Scope) -> Option<Times> {
    let mut sum: Option<Times> = None;
    latency::overall(&scope.sources, &segments(scope)?, &mut |_, latency| {
        sum.get_or_insert_default().add(latency);
    });
    sum
}
