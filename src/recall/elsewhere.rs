//! For what sessions waited inside statements, of what groups do not count themselves, interval by interval.

use std::collections::{BTreeMap, HashMap};

use perfmon_core::activity::State;
use perfmon_core::activity::rows::Waited;
use perfmon_core::family::WAIT;
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
        let mut found = Self::default();
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
        let event = |(place, sum): (usize, u64)| {
            let [database, user, wait] = self.named.get(place)?.clone();
            Some(Event { database, user, wait, sessions: sum as f64 / samples.max(1) as f64 })
        };
        sums.into_iter().filter_map(event).collect()
    }
}
