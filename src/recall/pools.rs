//! Clients' sessions by pool, database and user, added up over windows and steps.

use std::collections::HashMap;

use perfmon_core::activity::extent::{Cut, Extent};
use perfmon_core::activity::group::{
    Level as Of, PEAKS, SPREADS, SUMS, is_number_of_work, is_sum_of_work,
};
use perfmon_core::activity::rows;
use perfmon_core::activity::spread::{self, Spread};
use perfmon_core::family::{DATABASE, POOL, POOL_SUMS};
use perfmon_core::frame::Span;
use perfmon_core::pool;
use perfmon_core::series::{Part, Peak, Series};
use perfmon_core::tally::Who;
use perfmon_core::window::Level;

use super::activity::{FINE, across, samples, spread, texts};
use super::plan::{Kept, coarsest_for};
use super::scope::Scope;
use crate::error::Error;
use crate::store::read;

/// Whose sessions.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Group {
    pub(crate) of: rows::Of,
    /// Empty where all databases are meant.
    pub(crate) database: String,
    /// Empty where all users are meant.
    pub(crate) user: String,
}

/// What samples found of a group.
#[derive(Debug, Clone, Default)]
pub(crate) struct Use {
    /// Summed over samples, in the order of `SUMS`.
    pub(crate) sums: [u64; SUMS.len()],
    /// Samples by number of sessions, in the order of `SPREADS`.
    pub(crate) spreads: [Spread; SPREADS.len()],
    /// What is known of the largest and smallest numbers, in the order of `SPREADS`, then those that wait for a lock.
    extents: [Extent; PEAKS],
    /// Samples by busy sessions on average over the block that each is of.
    pub(crate) load: Spread,
}

impl Use {
    /// Mean numbers of sessions in the order of `SPREADS`.
    #[allow(clippy::cast_precision_loss)]
    pub(crate) fn means(&self, samples: u64) -> Option<[f64; SPREADS.len()]> {
        let mean = |parts: &[usize]| {
            let sum = parts.iter().fold(0_u64, |sum, part| sum.saturating_add(self.sums[*part]));
            sum as f64 / samples as f64
        };
        // See `SUMS`: active, idle, in_transaction, aborted, fastpath, disabled, starting.
        let of = [&[0, 1, 2, 3, 4, 5, 6][..], &[0, 2, 3, 4], &[0, 4], &[1], &[2, 3]];
        (samples > 0).then(|| of.map(mean))
    }

    /// Mean of one of `SUMS`.
    #[allow(clippy::cast_precision_loss)]
    pub(crate) fn mean(&self, name: &str, samples: u64) -> Option<f64> {
        let at = SUMS.iter().position(|sum| *sum == name)?;
        (samples > 0).then(|| self.sums[at] as f64 / samples as f64)
    }

    /// The number of one of `SPREADS` that a share `q` of so many samples did not exceed.
    pub(crate) fn quantile(&self, at: usize, q: f64, samples: u64) -> Option<f64> {
        match self.peak(at, samples) {
            Some(peak) => self.spreads[at].quantile_below(q, samples, peak),
            None => self.spreads[at].quantile(q, samples),
        }
    }

    /// The largest number, where it is known.
    pub(crate) fn peak(&self, at: usize, samples: u64) -> Option<u64> {
        self.extents[at].peak(samples)
    }

    /// The largest number of whole rows.
    pub(crate) fn highest(&self, at: usize) -> u64 {
        self.extents[at].highest()
    }

    /// The smallest number of one of `SPREADS`, where it is known.
    pub(crate) fn least(&self, at: usize, samples: u64) -> Option<u32> {
        self.extents[at].least(samples)
    }

    /// Mean number of one of `SPREADS`, within what is known.
    pub(crate) fn mean_within(&self, at: usize, samples: u64) -> Option<f64> {
        let mean = self.means(samples)?[at];
        Some(self.extents[at].within(mean, samples))
    }

    /// Whether most sessions do not say what they do: nothing but their number is known.
    pub(crate) fn hides(&self, samples: u64) -> bool {
        pool::hides(self.mean("disabled", samples), self.means(samples).map(|means| means[0]))
    }

    /// Sum of one of `SUMS`.
    pub(crate) fn sum(&self, name: &str) -> Option<u64> {
        self.sums.get(SUMS.iter().position(|sum| *sum == name)?).copied()
    }
}

/// What is added up of a group.
pub(crate) trait Adds: Default {
    /// Columns of `POOL` that it needs.
    fn columns() -> Vec<usize>;
    /// Adds what of one place of a row belongs to a step; the value of each of these columns.
    fn add(&mut self, bucket: u32, value: &dyn Fn(usize) -> u64, cut: Cut);
    /// Whether any sample found it. Who came at the end of a row was not there before.
    fn was_there(&self) -> bool;
}

/// Place of the load among the columns that are read.
const LOAD: usize = POOL.columns.len() - 2;

impl Adds for Use {
    fn columns() -> Vec<usize> {
        (1..POOL.columns.len()).collect()
    }

    fn add(&mut self, bucket: u32, value: &dyn Fn(usize) -> u64, cut: Cut) {
        if bucket != POOL_SUMS {
            for (at, spread) in self.spreads.iter_mut().enumerate() {
                let of_work = is_number_of_work(at);
                spread.add(bucket as u8, cut.of(value(at), of_work));
                self.extents[at].add(bucket as usize, value(at), of_work, &cut);
            }
            self.load.add(bucket as u8, cut.of(value(LOAD), true));
            return;
        }
        for (at, sum) in self.sums.iter_mut().enumerate() {
            let value = value(SPREADS.len() + at);
            // Of those that came there is no part.
            let more = match SUMS[at] {
                "opened" => cut.part.of_work(value, 1),
                _ => cut.of(value, is_sum_of_work(at)),
            };
            *sum = sum.saturating_add(more);
        }
        for (at, extent) in self.extents.iter_mut().enumerate() {
            let peak = value(SPREADS.len() + SUMS.len() + at);
            extent.add_peak(peak, at < SPREADS.len(), is_number_of_work(at), &cut);
        }
    }

    fn was_there(&self) -> bool {
        self.sums.iter().any(|sum| *sum > 0)
    }
}

/// Open sessions alone, and those that came.
#[derive(Debug, Clone, Default)]
pub(crate) struct Opened {
    open: Spread,
    peak: u64,
    opened: u64,
}

impl Opened {
    /// The number that a share `q` of so many samples did not exceed.
    pub(crate) fn quantile(&self, q: f64, samples: u64) -> Option<f64> {
        self.open.quantile_below(q, samples, self.peak)
    }
}

impl Adds for Opened {
    fn columns() -> Vec<usize> {
        ["open_samples", "opened", "open_peak"].iter().filter_map(|n| POOL.position(n)).collect()
    }

    fn add(&mut self, bucket: u32, value: &dyn Fn(usize) -> u64, cut: Cut) {
        let part = cut.part;
        if bucket != POOL_SUMS {
            let samples = part.of(value(0), cut.unit);
            self.open.add(bucket as u8, samples);
            if samples > 0 {
                self.peak = self.peak.max(u64::from(spread::least(bucket as usize)));
            }
            return;
        }
        self.opened = self.opened.saturating_add(part.of_work(value(1), 1));
        if cut.peak == Peak::Here {
            self.peak = value(2).max(self.peak);
        }
    }

    fn was_there(&self) -> bool {
        self.open.samples() > 0 || self.opened > 0
    }
}

/// Groups of a history, by a number of their own: their names are read once and not copied with each row.
pub(crate) struct Groups {
    named: Vec<Group>,
    places: HashMap<Who, usize>,
}

impl Groups {
    pub(crate) fn of(scope: &Scope) -> Result<Self, Error> {
        let mut found = Self { named: Vec::new(), places: HashMap::new() };
        // Sources that follow each other know the same group by other ids.
        let mut known: HashMap<Group, usize> = HashMap::new();
        for (who, [database, user, third]) in texts(&POOL, scope)? {
            let Some(of) = rows::Of::parse(&third) else { continue };
            let group = Group { of, database, user };
            let place = *known.entry(group).or_insert_with_key(|group| {
                found.named.push(group.clone());
                found.named.len() - 1
            });
            found.places.insert(who, place);
        }
        Ok(found)
    }

    /// All of them, by their numbers.
    pub(crate) fn named(&self) -> &[Group] {
        &self.named
    }
}

/// One step of a series.
#[derive(Debug, Clone)]
pub(crate) struct Step<T = Use> {
    /// Whole ones of whole rows, else in parts of `FINE`.
    pub(crate) samples: u64,
    /// Of them, those of which the load is known.
    pub(crate) load_samples: u64,
    /// The worst quality of its rows.
    pub(crate) quality: u64,
    /// What was found, by the number of the group.
    found: Vec<Option<Box<T>>>,
}

impl<T: Adds> Step<T> {
    fn empty() -> Self {
        Self { samples: 0, load_samples: 0, quality: 0, found: Vec::new() }
    }

    fn of(&mut self, place: usize) -> &mut T {
        if place >= self.found.len() {
            self.found.resize_with(place + 1, || None);
        }
        self.found[place].get_or_insert_default()
    }

    /// A group, if any sample found it.
    pub(crate) fn get(&self, place: usize) -> Option<&T> {
        self.found.get(place)?.as_deref().filter(|found| found.was_there())
    }

    /// Groups that any sample found.
    pub(crate) fn groups<'a>(
        &'a self,
        groups: &'a Groups,
    ) -> impl Iterator<Item = (&'a Group, &'a T)> {
        let all = groups.named.iter().enumerate();
        all.filter_map(|(place, group)| Some((group, self.get(place)?)))
    }
}

impl Step {
    /// Sessions of a group that came.
    pub(crate) fn opened(&self, place: usize) -> u64 {
        self.get(place).and_then(|found| found.sum("opened")).unwrap_or(0)
    }
}

/// Groups by step; rows that lie in several steps are shared out to them.
pub(crate) fn series<T: Adds>(
    scope: &Scope,
    groups: &Groups,
    edges: Vec<i64>,
) -> (Series, Vec<Step<T>>) {
    let read = (&across(scope), coarsest_for(&edges));
    steps(scope, groups, read, edges, FINE)
}

/// Groups between ends of the coarsest rows that a window has, whole rows in each step. Two edges give the whole of a window.
pub(crate) fn pools(scope: &Scope, groups: &Groups, edges: Vec<i64>) -> (Series, Vec<Step>) {
    steps(scope, groups, (scope, Level::Day), edges, 1)
}

fn steps<T: Adds>(
    scope: &Scope,
    groups: &Groups,
    (read, coarsest): (&Scope, Level),
    edges: Vec<i64>,
    unit: u64,
) -> (Series, Vec<Step<T>>) {
    let segments = Kept::of(&POOL, scope).segments(read, coarsest);
    let mut series = Series::new(edges, 0);
    let mut steps: Vec<Step<T>> = (0..series.len()).map(|_| Step::empty()).collect();
    let columns = T::columns();
    let load = POOL.position("load_samples").unwrap_or(0);
    read::frames(&scope.sources, &POOL, &segments, &columns, &mut |row| {
        let span = row.head.span;
        let parts = if unit == 1 {
            series.whole(span.since, span.until, span.length_us, span.quiet_us)
        } else {
            spread(&mut series, &span, scope)
        };
        for part in &parts {
            let step = &mut steps[part.bucket];
            let all = samples(row.head);
            let samples = part.of(all, unit);
            step.samples = step.samples.saturating_add(samples);
            if row.head.is_known(load) {
                step.load_samples = step.load_samples.saturating_add(samples);
            }
            step.quality = step.quality.max(span.quality as u64);
            let cut = Cut { part: *part, unit, peak: part.peak(&parts), samples: all };
            // A group's numbers lie side by side.
            let mut last = None;
            for (place, id) in row.ids.iter().enumerate() {
                let object = POOL.object_of(*id);
                let group = match last {
                    Some((known, group)) if known == object => group,
                    _ => groups.places.get(&(row.head.source, object)).copied(),
                };
                last = Some((object, group));
                let Some(group) = group else { continue };
                let value =
                    |c: usize| row.column(c).and_then(|v| v.get(place).copied()).unwrap_or(0);
                step.of(group).add(id & 255, &value, cut);
            }
        }
    });
    (series, steps)
}

/// The most sessions of the whole server that waited for locks in one sample; `None` where none is kept.
pub(crate) fn lock_peak(scope: &Scope) -> Result<Option<u64>, Error> {
    let kept = Kept::of(&POOL, scope);
    let (Some(column), true) = (POOL.position("on_lock_peak"), kept.oldest().is_some()) else {
        return Ok(None);
    };
    let groups = Groups::of(scope)?;
    let is_server = |place: &usize| groups.named[*place].of.level == Of::Server;
    let mut most = None;
    let segments = kept.segments(scope, Level::Day);
    read::frames(&scope.sources, &POOL, &segments, &[column], &mut |row| {
        for (place, id) in row.ids.iter().enumerate() {
            let who = (row.head.source, POOL.object_of(*id));
            if groups.places.get(&who).is_some_and(is_server) {
                let value = row.column(0).and_then(|values| values.get(place).copied());
                most = most.max(value);
            }
        }
    });
    Ok(most)
}

/// What pg_stat_database counted, in the order of these columns: time in sessions, in statements and waiting inside
/// transactions, and sessions that came, and that ended by losing their client, by a fatal error and by being killed.
const COUNTED: [&str; 7] = [
    "session_us",
    "active_us",
    "idle_in_transaction_us",
    "sessions",
    "sessions_abandoned",
    "sessions_fatal",
    "sessions_killed",
];

/// Places among these: the first is not known of every row.
const TIME: usize = 0;
const CAME: usize = 3;

/// Sums of one step.
#[derive(Debug, Clone, Default)]
pub(crate) struct Counted {
    sums: [u64; COUNTED.len()],
    covered_us: i64,
    /// Of it, what rows cover that know the time in sessions, and the sessions that came in these.
    timed_us: i64,
    timed: u64,
    /// Of which database, and whether of two of one name, as where one was dropped and another got its name.
    who: Option<Who>,
    is_mixed: bool,
}

impl Counted {
    /// Mean number of sessions: 0 open, 1 active, 2 waiting for their client inside transactions.
    #[allow(clippy::cast_precision_loss)]
    pub(crate) fn mean(&self, which: usize) -> Option<f64> {
        let covered_us = if which == TIME { self.timed_us } else { self.covered_us };
        (covered_us > 0).then(|| self.sums[which] as f64 / covered_us as f64)
    }

    /// How long a session lasted, by the rows that know.
    #[allow(clippy::cast_precision_loss)]
    pub(crate) fn session_ms(&self) -> Option<f64> {
        (self.timed > 0).then(|| self.sums[TIME] as f64 / 1000.0 / self.timed as f64)
    }

    /// How many: 3 came, 4 lost their client, 5 ended by an error, 6 were killed.
    pub(crate) fn number(&self, which: usize) -> u64 {
        self.sums[which]
    }
}

/// What pg_stat_database counted by step, by database and, under an empty name, of all; rows that lie in several steps
/// are shared out to them.
pub(crate) fn counted_series(scope: &Scope, edges: &[i64]) -> Result<Sums, Error> {
    let read = (&across(scope), coarsest_for(edges));
    counted_of(scope, read, edges, |series, span| spread(series, span, scope))
}

/// The same over all of a window, of whole rows.
pub(crate) fn counted(scope: &Scope) -> Result<Sums, Error> {
    counted_of(scope, (scope, Level::Day), &[scope.since, scope.until], |series, span| {
        series.whole(span.since, span.until, span.length_us, 0)
    })
}

/// By step and database.
pub(crate) type Sums = HashMap<(usize, String), Counted>;

#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation)]
fn counted_of(
    scope: &Scope,
    (read, coarsest): (&Scope, Level),
    edges: &[i64],
    cut: impl Fn(&mut Series, &Span) -> Vec<Part>,
) -> Result<Sums, Error> {
    let segments = Kept::of(&DATABASE, scope).segments(read, coarsest);
    let named = texts(&DATABASE, scope)?;
    let columns: Vec<usize> = COUNTED.iter().filter_map(|name| DATABASE.position(name)).collect();
    let mut series = Series::new(edges.to_vec(), 0);
    let mut found = Sums::new();
    let mut covered: HashMap<usize, [i64; 2]> = HashMap::new();
    read::frames(&scope.sources, &DATABASE, &segments, &columns, &mut |row| {
        let timed = row.head.is_known(columns[TIME]);
        for part in cut(&mut series, &row.head.span) {
            let length_us = (part.share() * row.head.span.length_us as f64).round() as i64;
            let [all, known] = covered.entry(part.bucket).or_default();
            *all = all.saturating_add(length_us);
            *known = known.saturating_add(if timed { length_us } else { 0 });
            for (place, id) in row.ids.iter().enumerate() {
                let who = (row.head.source, *id);
                let Some([_, name, _]) = named.get(&who) else { continue };
                for name in [name.as_str(), ""] {
                    let counted = found.entry((part.bucket, name.to_owned())).or_default();
                    let before = counted.who.replace(who).filter(|_| !name.is_empty());
                    counted.is_mixed |= before.is_some_and(|it| it.0 == who.0 && it.1 != who.1);
                    for (at, sum) in counted.sums.iter_mut().enumerate() {
                        let value = row.column(at).and_then(|values| values.get(place).copied());
                        // Of a part of the row's time it is no sum for its length.
                        let value = value.filter(|_| at != TIME || timed).unwrap_or(0);
                        let value = part.of_work(value, 1);
                        *sum = sum.saturating_add(value);
                        if at == CAME && timed {
                            counted.timed = counted.timed.saturating_add(value);
                        }
                    }
                }
            }
        }
    });
    // Pools go by the names of their time, so who of the two is meant is not known.
    found.retain(|_, counted| !counted.is_mixed);
    for ((step, _), counted) in &mut found {
        [counted.covered_us, counted.timed_us] = covered.get(step).copied().unwrap_or_default();
    }
    Ok(found)
}

/// The key under which [`counted`] has a group, if it has.
pub(crate) fn counted_as(group: &Group) -> Option<String> {
    match group.of.level {
        Of::Server => Some(String::new()),
        Of::Database if !group.of.other => Some(group.database.clone()),
        _ => None,
    }
}
