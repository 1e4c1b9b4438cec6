//! What went away: tables, indexes and databases that were dropped, entries of statements that were evicted or reset alone. What one
//! did since it was last read is in no counter any more, so the row of that interval has a place for it: it did at least nothing.

use super::judge::{Fate, is_gauge};
use super::{Difference, Prior, Sorted};
use crate::family::{DATABASE, Family, INDEX, RELATION, STATEMENT, UNKNOWN};
use crate::frame::{Key, Quality};
use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::iter::zip;

/// Whether everything has its name from the beginning, and so each loss is told by name.
pub(super) fn are_told(family: &Family) -> bool {
    [&RELATION, &INDEX, &DATABASE].iter().any(|told| told.name == family.name)
}

/// What the dictionary knows something by. The label of a statement is of its user alone, whose oid is the rest of its key.
fn name_of(family: &Family, key: Key, label: u64) -> (Key, u64) {
    match family.name == STATEMENT.name {
        true => (Key(key.0, key.1 & 1), label),
        false => (Key(0, 0), label),
    }
}

/// What the reading lacks.
#[derive(Debug, Default)]
pub(super) struct Left {
    /// In the prior, those whose names nothing has now.
    alone: Vec<usize>,
    /// In the order of the reading, what goes by the name of one.
    pub(super) heirs: Vec<usize>,
}

/// One of them: its dictionary id, and by column its states as last known.
#[derive(Debug, Clone)]
pub(super) struct Gone {
    id: u32,
    states: Vec<u64>,
}

impl Left {
    pub(super) fn find(
        prior: &Prior,
        now: &Sorted<'_>,
        positions: &[Option<usize>],
        fates: &[Fate],
    ) -> Self {
        let reading = &*now.reading;
        if !are_told(reading.family) && reading.family.name != STATEMENT.name {
            return Self::default();
        }
        let name = |key: Key, label: u64| name_of(reading.family, key, label);
        let still_there: HashSet<usize> = positions.iter().flatten().copied().collect();
        let mut alone: HashMap<(Key, u64), usize> = (0..prior.keys.len())
            .filter(|p| !still_there.contains(p))
            .map(|p| (name(prior.keys[p], prior.labels[p]), p))
            .collect();
        let mut heirs = Vec::new();
        // What is hidden has no row that could tell.
        for (at, (&i, _)) in zip(&now.order.by_key, fates)
            .enumerate()
            .filter(|(_, (_, fate))| **fate != Fate::Hidden)
        {
            if alone.remove(&name(reading.keys[i], reading.labels[i])).is_some() {
                heirs.push(at);
            }
        }
        let mut alone: Vec<usize> = alone.into_values().collect();
        alone.sort_unstable();
        Self { alone, heirs }
    }

    /// The places of those whose names nothing has now. One without an id never had a name.
    pub(super) fn places(&self, prior: &Prior, known: u64) -> Vec<Gone> {
        let named = self.alone.iter().filter(|p| prior.ids[**p] != 0);
        let state = |p: usize, c: usize| match known >> c & 1 == 1 && is_gauge(prior.family, c) {
            true => prior.columns[c].get(p).copied().unwrap_or(UNKNOWN),
            false => 0,
        };
        let columns = 0..prior.family.columns.len();
        named
            .map(|&p| Gone {
                id: prior.ids[p],
                states: columns.clone().map(|c| state(p, c)).collect(),
            })
            .collect()
    }
}

impl Difference {
    /// Ids of what has a place because it went away.
    pub(super) fn gone_ids(&self) -> impl Iterator<Item = u32> {
        self.gone.iter().map(|gone| gone.id)
    }

    /// A column with the values of what went away before those of what moved; `None` where all are zero or unknown.
    pub(super) fn with_gone(&self, c: usize) -> Option<Cow<'_, [u64]>> {
        let column = self.columns[c].as_deref();
        if self.gone.is_empty() {
            return column.map(Cow::Borrowed);
        }
        let of_gone = self.gone.iter().map(|gone| match c {
            0 => Quality::LowerBound as u64,
            _ => gone.states[c],
        });
        let mut all: Vec<u64> = of_gone.collect();
        match column {
            Some(column) => all.extend_from_slice(column),
            None => all.resize(all.len() + self.moved.len(), 0),
        }
        all.iter().any(|&value| value != 0).then_some(Cow::Owned(all))
    }
}
