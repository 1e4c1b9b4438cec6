//! What happened between two readings of absolute counters, and how far that can be trusted.
//!
//! It must never claim more than happened: a lower bound is a promise, an exact value a stronger one,
//! and what cannot be known is either marked in the quality or covered by a gap.
//!
//! Some things cannot be seen, and what lacks them is called exact:
//! * of pg_stat_statements before 1.11 (no birth times), an entry that was reset alone and whose new life has outrun the old
//!   one in every counter, with a lower or equal minimum, a higher or equal maximum and a mean of what was added between
//!   these, unless our own count of its executions is known and says more (`outgrown`);
//! * an entry that was both born and reset alone between two readings;
//! * an index that was both made and dropped between two readings, in the sums of its table; and what one did that was made
//!   and built anew, as far as it was told after the copy was made (`heirs`).

mod gone;
#[cfg(test)]
mod gone_tests;
mod heirs;
#[cfg(test)]
mod index_model;
mod judge;
#[cfg(test)]
mod model;
mod outgrown;
mod parts;
#[cfg(test)]
mod parts_tests;
mod prior;
#[cfg(test)]
mod tests;

pub use prior::Prior;
pub(crate) use prior::checksum;

use crate::family::{Merge, SERVER, STATEMENT, UNKNOWN};
use crate::frame::{self, Frame, Quality, Reading};
use judge::is_gauge;
use std::borrow::Cow;

/// Why nothing is known about a stretch of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GapKind {
    /// The server was down, or came back without its counters.
    ServerDown,
    /// A snapshot should have been taken and was not.
    Missed,
    /// Somebody reset the counters.
    Reset,
    /// Entries were evicted before they were read.
    Evicted,
    /// The server was a standby, or became another one.
    Standby,
    /// Collecting was turned off.
    Disabled,
    /// The clock was set.
    Clock,
}

impl GapKind {
    /// As the table of gaps spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ServerDown => "server_down",
            Self::Missed => "missed",
            Self::Reset => "reset",
            Self::Evicted => "evicted",
            Self::Standby => "standby",
            Self::Disabled => "disabled",
            Self::Clock => "clock",
        }
    }
}

/// A stretch of time of which nothing is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// Start, microseconds since the Unix epoch.
    pub since: i64,
    /// End, always after the start.
    pub until: i64,
    /// Why.
    pub kind: GapKind,
    /// The same for people.
    pub detail: String,
}

/// What happened between a prior and a reading.
#[derive(Debug, Clone)]
pub struct Difference {
    /// Start of what is covered, microseconds since the Unix epoch.
    pub since: i64,
    /// Worst quality: of the objects that moved, and of losses that touch no single one of them.
    pub quality: Quality,
    /// The objects to be stored, as indices into the reading, ascending by key.
    pub moved: Vec<usize>,
    /// Objects of the prior that the reading lacks.
    pub vanished: u64,
    /// Those of them that have a place in the row.
    gone: Vec<gone::Gone>,
    /// What must be recorded as unknown, if anything.
    pub gap: Option<Gap>,
    /// The reading only serves as the next prior; there is no row to store.
    pub baseline: bool,
    /// Id by index into the reading; 0 = none.
    ids: Vec<u32>,
    unnamed: Vec<usize>,
    /// Objects that began to count since the prior, as indices into the reading.
    came: Vec<usize>,
    /// Those that took over the counters of another, and those others.
    copied: Vec<usize>,
    /// In the order of `moved`; `None` where every value is zero or unknown.
    columns: Vec<Option<Vec<u64>>>,
    known: u64,
    /// The reading by its keys, if each came once.
    order: Option<Vec<usize>>,
}

/// The order of a reading's keys: sorting thousands of them once is enough.
#[derive(Debug, Default)]
pub struct Order(Option<Vec<usize>>);

impl Difference {
    /// What [`advance_in`] wants of the same reading.
    pub fn into_order(self) -> Order {
        Order(self.order)
    }

    /// Moved objects without a dictionary id, as indices into the reading, and tables, indexes and databases whether they
    /// moved or not; statements in descending order of execution time, because ids handed out in that order pack better.
    pub fn needs_name(&self) -> &[usize] {
        &self.unnamed
    }

    /// The id that an object brought along from the prior.
    pub fn id(&self, index: usize) -> Option<u32> {
        self.ids.get(index).copied().filter(|&id| id != 0)
    }

    /// Bit c says that column c was measured.
    pub fn known(&self) -> u64 {
        self.known
    }

    /// The row to be stored, ascending by id. Objects of one id (an owner who was dropped and made
    /// again) become one. Totals are filled for statements only.
    pub fn frame(&self, now: &Reading, id_of: &dyn Fn(usize) -> u32) -> Frame {
        let family = now.family;
        // What went away comes first: of one name, the states of what is there stand.
        let all = self.gone_ids().chain(self.moved.iter().map(|&i| id_of(i)));
        // One number each, the id before the place: that sorts in a fraction of the time of pairs.
        let mut order: Vec<u64> = (0..).zip(all).map(|(at, id)| u64::from(id) << 32 | at).collect();
        order.sort_unstable();
        let mut ids: Vec<u32> = order.iter().map(|o| (o >> 32) as u32).collect();
        ids.dedup();
        let columns = family.columns.iter().enumerate().map(|(c, how)| {
            let column = self.with_gone(c)?;
            if ids.len() == order.len() {
                return Some(order.iter().map(|&o| column[o as u32 as usize]).collect());
            }
            Some(united(&column, &order, how.merge))
        });
        let columns = columns.collect();
        let mut totals = vec![None; family.totals.len()];
        if family.name == STATEMENT.name {
            self.statement_totals(now, &mut totals);
        }
        Frame { family, ids, columns, known: self.known, totals }
    }

    /// Ids of objects known by the same name, and the list of the others.
    fn find_names(&mut self, prior: Option<&Prior>, now: &Sorted<'_>) {
        let reading = &*now.reading;
        if let Some(prior) = prior {
            for (&i, position) in std::iter::zip(&now.order.by_key, now.positions(prior)) {
                if let Some(p) = position
                    && prior.labels[p] == reading.labels[i]
                {
                    self.ids[i] = prior.ids[p];
                }
            }
        }
        // The server's only row has no name.
        if reading.family.name == SERVER.name {
            return;
        }
        // Once it is gone, only its id tells what it was called, so it gets one whatever it did.
        if gone::are_told(reading.family) {
            self.unnamed = now.order.by_key.iter().copied().filter(|&i| self.ids[i] == 0).collect();
            return;
        }
        let mut unnamed: Vec<(u64, usize)> = Vec::new();
        let time = reading.family.position("exec_us").and_then(|c| self.columns[c].as_ref());
        for (at, &i) in self.moved.iter().enumerate() {
            if self.ids[i] == 0 {
                unnamed.push((time.map_or(0, |t| t[at]), i));
            }
        }
        unnamed.sort_by_key(|&(time, _)| std::cmp::Reverse(time));
        self.unnamed = unnamed.into_iter().map(|(_, i)| i).collect();
    }

    fn statement_totals(&self, now: &Reading, totals: &mut [Option<i64>]) {
        let add = |name: &str, top_level: bool| {
            let c = STATEMENT.position(name)?;
            if self.known >> c & 1 == 0 {
                return None;
            }
            let values = self.columns[c].iter().flatten();
            let sum = values
                .zip(&self.moved)
                .filter(|&(_, &i)| (now.keys[i].1 & 1 == 1) == top_level)
                .fold(0u64, |sum, (&value, _)| sum.saturating_add(value));
            Some(i64::try_from(sum).unwrap_or(i64::MAX))
        };
        let filled = [
            add("calls", true),
            add("exec_us", true),
            add("rows", true),
            add("shared_blks_read", true),
            add("wal_bytes", true),
            add("exec_us", false),
        ];
        for (total, value) in totals.iter_mut().zip(filled) {
            *total = value;
        }
    }
}

/// A column in the order of these ids and places, one value for each id.
fn united(column: &[u64], order: &[u64], how: Merge) -> Vec<u64> {
    let mut out: Vec<u64> = Vec::with_capacity(order.len());
    let mut last = None;
    for &o in order {
        let (id, value) = (o >> 32, column[o as u32 as usize]);
        match out.last_mut() {
            Some(same) if last == Some(id) => how.add(same, value),
            _ => out.push(value),
        }
        last = Some(id);
    }
    out
}

/// Subtracts. `last_until` is the end of the last stored row of this family, `None` when nothing was
/// ever stored. The interval reaches up to `now.at`, or just past `since` when the clock stepped back.
pub fn difference(prior: Option<&Prior>, last_until: Option<i64>, now: &Reading) -> Difference {
    let prior = prior.filter(|p| p.family.name == now.family.name);
    let now = Sorted::new(now);
    let mut made = match (prior.map(|p| p.at).max(last_until), prior) {
        (None, _) => now.baseline(None),
        (Some(start), Some(prior)) if now.reading.epoch.continues(&prior.epoch) => {
            judge::between(prior, start, &now)
        }
        (Some(start), prior) => judge::anew(prior, start, &now),
    };
    made.find_names(prior, &now);
    made.order = matches!(now.reading, Cow::Borrowed(_)).then_some(now.order.by_key);
    made
}

/// Turns the reading into the next prior. Ids are carried over where the object kept its name, gauges that
/// were not read this time where the object is still there. A counter that was not read becomes unknown:
/// what it counted meanwhile must not land in a later interval.
pub fn advance(now: Reading, old: Option<Prior>, new_ids: &[(usize, u32)]) -> Prior {
    advance_in(Order(None), now, old, new_ids)
}

/// The same for a reading whose order is known.
pub fn advance_in(
    order: Order,
    now: Reading,
    old: Option<Prior>,
    new_ids: &[(usize, u32)],
) -> Prior {
    let mut old = old.filter(|o| o.family.name == now.family.name);
    if let Some(old) = &mut old {
        // Only gauges are carried over; what the rest took makes room for what comes now.
        for (c, column) in old.columns.iter_mut().enumerate() {
            if !is_gauge(now.family, c) {
                *column = Vec::new();
            }
        }
        old.floors.clear();
        old.ceilings.clear();
        old.marks.clear();
    }
    let sorted = match order.0.filter(|order| order.len() == now.keys.len()) {
        Some(order) => Sorted::by(&now, order),
        None => Sorted::new(&now),
    };
    let reading = &*sorted.reading;
    let same_epoch = old.as_ref().is_some_and(|o| reading.epoch.continues(&o.epoch));
    let before: Vec<Option<usize>> = match &old {
        Some(old) => sorted.positions(old),
        None => vec![None; sorted.len()],
    };
    let mut given = vec![0u32; reading.keys.len()];
    for &(index, id) in new_ids {
        if let Some(slot) = given.get_mut(index) {
            *slot = id;
        }
    }
    let ids = std::iter::zip(&sorted.order.by_key, &before)
        .map(|(&i, &b)| match (given[i], b, &old) {
            (0, Some(b), Some(old)) if old.labels[b] == reading.labels[i] => old.ids[b],
            (id, ..) => id,
        })
        .collect();
    let told_until = match &old {
        Some(old) if old.epoch.is_of_all() => Some(reading.at),
        Some(old) => old.told_until,
        None => None,
    }
    .filter(|_| !reading.epoch.is_of_all());
    let (united, order) = sorted.into_parts();
    let reading = united.unwrap_or(now);
    let columns = reading.columns.into_iter().enumerate().map(|(c, column)| match &old {
        Some(old) if column.is_empty() && same_epoch && is_gauge(reading.family, c) => {
            let values = &old.columns[c];
            if values.is_empty() {
                return Vec::new();
            }
            before.iter().map(|b| b.map_or(UNKNOWN, |b| values[b])).collect()
        }
        _ => order.put(column),
    });
    Prior {
        family: reading.family,
        epoch: reading.epoch,
        at: reading.at,
        labels: order.put(reading.labels),
        ids,
        columns: columns.collect(),
        born: reading.born.map(|born| order.put(born)),
        hides: reading.hides,
        floors: reading.floors.into_iter().map(|c| order.put(c)).collect(),
        ceilings: reading.ceilings.into_iter().map(|c| order.put(c)).collect(),
        marks: reading.marks.into_iter().map(|c| order.put(c)).collect(),
        keys: order.put(reading.keys),
        evictions: reading.evictions,
        told_until,
    }
}

/// Where the objects of a reading lie, by their keys.
struct Places {
    by_key: Vec<usize>,
    /// The reading is in that order already.
    already: bool,
}

impl Places {
    fn new(by_key: Vec<usize>, n: usize) -> Self {
        let already = by_key.len() == n && by_key.iter().enumerate().all(|(at, &i)| at == i);
        Self { by_key, already }
    }

    /// A column of the reading, in order. An unknown one stays empty.
    fn put<T: Copy>(&self, column: Vec<T>) -> Vec<T> {
        if self.already || column.is_empty() {
            return column;
        }
        self.by_key.iter().map(|&i| column[i]).collect()
    }

    /// The same of one that is only lent.
    fn see<'c>(&self, column: &'c [u64]) -> Cow<'c, [u64]> {
        if self.already || column.is_empty() {
            return Cow::Borrowed(column);
        }
        Cow::Owned(self.by_key.iter().map(|&i| column[i]).collect())
    }
}

/// A reading with its keys in order and each only once.
struct Sorted<'a> {
    reading: Cow<'a, Reading>,
    order: Places,
}

impl<'a> Sorted<'a> {
    fn new(reading: &'a Reading) -> Self {
        let keys = &reading.keys;
        let order = frame::order_of(keys);
        if order.windows(2).all(|w| keys[w[0]] != keys[w[1]]) {
            return Self::by(reading, order);
        }
        let mut united = reading.clone();
        let mut kept: Vec<usize> = Vec::with_capacity(order.len());
        for i in order {
            match kept.last() {
                Some(&first) if keys[first] == keys[i] => unite(&mut united, first, i),
                _ => kept.push(i),
            }
        }
        let order = Places::new(kept, keys.len());
        Self { reading: Cow::Owned(united), order }
    }

    /// A reading of which each key is there once, in an order that is known.
    fn by(reading: &'a Reading, order: Vec<usize>) -> Self {
        Self { reading: Cow::Borrowed(reading), order: Places::new(order, reading.keys.len()) }
    }

    fn len(&self) -> usize {
        self.order.by_key.len()
    }

    /// The order, and the reading where it is another one now.
    fn into_parts(self) -> (Option<Reading>, Places) {
        match self.reading {
            Cow::Owned(reading) => (Some(reading), self.order),
            Cow::Borrowed(_) => (None, self.order),
        }
    }

    /// Where each object, in order, lies in the prior.
    fn positions(&self, prior: &Prior) -> Vec<Option<usize>> {
        if self.order.already && self.reading.keys == prior.keys {
            return (0..self.len()).map(Some).collect();
        }
        let mut next = 0;
        self.order
            .by_key
            .iter()
            .map(|&i| {
                let key = self.reading.keys[i];
                while prior.keys.get(next).is_some_and(|&k| k < key) {
                    next += 1;
                }
                (prior.keys.get(next) == Some(&key)).then_some(next)
            })
            .collect()
    }

    fn baseline(&self, gap: Option<Gap>) -> Difference {
        Difference {
            since: self.reading.at,
            quality: Quality::Exact,
            moved: Vec::new(),
            vanished: 0,
            gone: Vec::new(),
            gap,
            baseline: true,
            ids: vec![0; self.reading.keys.len()],
            unnamed: Vec::new(),
            came: Vec::new(),
            copied: Vec::new(),
            columns: vec![None; self.reading.columns.len()],
            known: 0,
            order: None,
        }
    }
}

/// Adds the second of two rows of one object to the first.
fn unite(reading: &mut Reading, first: usize, second: usize) {
    for (column, how) in reading.columns.iter_mut().zip(reading.family.columns) {
        if !column.is_empty() {
            let value = column[second];
            how.merge.add(&mut column[first], value);
        }
    }
    for column in reading.floors.iter_mut().filter(|c| !c.is_empty()) {
        column[first] = column[first].min(column[second]);
    }
    for column in reading.ceilings.iter_mut().filter(|c| !c.is_empty()) {
        column[first] = column[first].max(column[second]);
    }
    if let Some(born) = &mut reading.born {
        born[first] = born[first].min(born[second]);
    }
}
