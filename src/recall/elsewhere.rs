//! For what sessions waited inside statements, of what groups do not count themselves, interval by interval. Statements are kept with
//! their parallel workers, which are no sessions: how many of those who waited for something were workers, processes tell by kind.

use std::collections::{BTreeMap, HashMap};

use perfmon_core::activity::rows::Waited;
use perfmon_core::activity::{Kind, State};
use perfmon_core::family::{SESSION, WAIT};
use perfmon_core::pool::elsewhere::{Event, is_wanted};
use perfmon_core::tally::Who;
use perfmon_core::window::Level;

use super::activity::{samples, texts};
use super::plan::Kept;
use super::scope::Scope;
use crate::error::Error;
use crate::store::read;

/// Database, user, and class and event.
type Named = [String; 3];

/// All that is kept of a window.
#[derive(Default)]
pub(super) struct Elsewhere {
    named: Vec<Named>,
    rows: Vec<Row>,
    kinds: Kinds,
}

/// Place of a wait, whether they were workers, and how many, summed over samples.
type Waiters = (usize, bool, u64);

/// Sessions and workers inside statements, by what they waited for, whosever they are.
#[derive(Default)]
struct Kinds {
    waits: Vec<String>,
    /// End of an interval, and who waited in it.
    rows: Vec<(i64, Vec<Waiters>)>,
}

impl Kinds {
    fn of(scope: &Scope) -> Result<Self, Error> {
        let mut found = Self::default();
        let mut known: HashMap<String, usize> = HashMap::new();
        let mut places: HashMap<Who, (usize, bool)> = HashMap::new();
        for (who, [kind, state, wait]) in texts(&SESSION, scope)? {
            let is_worker = kind == Kind::Parallel.name();
            let state = State::parse(&state).unwrap_or(State::Unknown);
            let executes = matches!(state, State::Active | State::FastPath);
            if executes && is_wanted(&wait) && (is_worker || kind == Kind::Client.name()) {
                let place = *known.entry(wait).or_insert_with_key(|wait| {
                    found.waits.push(wait.clone());
                    found.waits.len() - 1
                });
                places.insert(who, (place, is_worker));
            }
        }
        let segments = Kept::of(&SESSION, scope).segments(scope, Level::Day);
        read::frames(&scope.sources, &SESSION, &segments, &[1], &mut |row| {
            let counts = row.ids.iter().zip(row.column(0).unwrap_or_default());
            let own = counts.filter_map(|(id, count)| {
                let (place, is_worker) = places.get(&(row.head.source, *id))?;
                Some((*place, *is_worker, *count))
            });
            found.rows.push((row.head.span.until, own.collect()));
        });
        Ok(found)
    }

    /// Of those who waited for something, the share that were sessions.
    #[allow(clippy::cast_precision_loss)]
    fn shares(&self, (since, until): (i64, i64)) -> HashMap<&str, f64> {
        let mut sums = vec![[0_u64; 2]; self.waits.len()];
        let rows = self.rows.iter().filter(|row| row.0 > since && row.0 <= until);
        for (place, is_worker, count) in rows.flat_map(|row| &row.1) {
            let sum = &mut sums[*place][usize::from(*is_worker)];
            *sum = sum.saturating_add(*count);
        }
        let known = self.waits.iter().map(String::as_str).zip(sums);
        let share = |[sessions, workers]: [u64; 2]| {
            let all = sessions.saturating_add(workers);
            (all > 0).then(|| sessions as f64 / all as f64)
        };
        known.filter_map(|(wait, sums)| Some((wait, share(sums)?))).collect()
    }
}

/// One interval.
struct Row {
    until: i64,
    samples: u64,
    /// By the place of the name: sessions, summed over samples.
    sessions: Vec<(usize, u64)>,
}

impl Elsewhere {
    pub(super) fn of(scope: &Scope) -> Result<Self, Error> {
        let mut found = Self { kinds: Kinds::of(scope)?, ..Self::default() };
        let mut known: HashMap<Named, usize> = HashMap::new();
        let mut places: HashMap<Who, usize> = HashMap::new();
        for (who, [database, user, third]) in texts(&WAIT, scope)? {
            let Some(waited) = Waited::parse(&third) else { continue };
            let executes = matches!(waited.state, State::Active | State::FastPath);
            if executes && is_wanted(&waited.wait) {
                let place =
                    *known.entry([database, user, waited.wait]).or_insert_with_key(|named| {
                        found.named.push(named.clone());
                        found.named.len() - 1
                    });
                places.insert(who, place);
            }
        }
        let segments = Kept::of(&WAIT, scope).segments(scope, Level::Day);
        read::frames(&scope.sources, &WAIT, &segments, &[1], &mut |row| {
            let counts = row.ids.iter().zip(row.column(0).unwrap_or_default());
            let own = counts
                .filter_map(|(id, count)| Some((*places.get(&(row.head.source, *id))?, *count)));
            found.rows.push(Row {
                until: row.head.span.until,
                samples: samples(row.head),
                sessions: own.collect(),
            });
        });
        Ok(found)
    }

    /// Over a part of the time, of whole intervals.
    #[allow(clippy::cast_precision_loss)]
    pub(super) fn over(&self, (since, until): (i64, i64)) -> Vec<Event> {
        let mut sums: BTreeMap<usize, u64> = BTreeMap::new();
        let mut samples = 0_u64;
        for row in self.rows.iter().filter(|row| row.until > since && row.until <= until) {
            samples = samples.saturating_add(row.samples);
            for (place, count) in &row.sessions {
                let sum = sums.entry(*place).or_default();
                *sum = sum.saturating_add(*count);
            }
        }
        let shares = self.kinds.shares((since, until));
        let event = |(place, sum): (usize, u64)| {
            let [database, user, wait] = self.named.get(place)?.clone();
            let share = shares.get(wait.as_str()).copied().unwrap_or(1.0);
            let sessions = share * sum as f64 / samples.max(1) as f64;
            (sessions > 0.0).then_some(Event { database, user, wait, sessions })
        };
        sums.into_iter().filter_map(event).collect()
    }
}
