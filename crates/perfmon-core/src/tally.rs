//! Adds up what objects did over many rows of history: counters are summed, of gauges the first and the
//! last value are kept, of qualities the worst. What no row measured stays unknown. Memory is bounded
//! by the number of values handed in, whatever ids a damaged row claims.

use std::collections::HashMap;

use crate::family::{Family, Merge, UNKNOWN};

/// An object: the source it belongs to, and its id there.
pub type Who = (i64, u32);

/// Ids below this are looked up in a plain vector; no honest history comes near it.
const DENSE: u32 = 1 << 20;

/// Places of the objects of one source.
#[derive(Debug, Default)]
struct Places {
    /// By id: place + 1, or 0.
    dense: Vec<u32>,
    sparse: HashMap<u32, u32>,
}

impl Places {
    fn slot(&mut self, id: u32) -> &mut u32 {
        if id >= DENSE {
            return self.sparse.entry(id).or_insert(0);
        }
        let index = id as usize;
        if index >= self.dense.len() {
            self.dense.resize(index + 1, 0);
        }
        &mut self.dense[index]
    }
}

/// The sums of some columns of one family.
#[derive(Debug)]
pub struct Tally {
    columns: Vec<usize>,
    merges: Vec<Merge>,
    places: HashMap<i64, Places>,
    who: Vec<Who>,
    values: Vec<Vec<u64>>,
    /// First known values; empty but for gauges.
    firsts: Vec<Vec<u64>>,
    known: Vec<bool>,
    /// The ids of the row before, which the next one mostly repeats, and their places.
    last: (i64, Vec<u32>),
    scratch: Vec<u32>,
    /// The places are 0, 1, 2 and so on.
    in_order: bool,
}

impl Tally {
    /// For these columns, given by their positions in the family.
    pub fn new(family: &Family, columns: &[usize]) -> Self {
        let merges: Vec<Merge> = columns
            .iter()
            .map(|c| family.columns.get(*c).map_or(Merge::Sum, |column| column.merge))
            .collect();
        Self {
            columns: columns.to_vec(),
            places: HashMap::new(),
            who: Vec::new(),
            values: vec![Vec::new(); columns.len()],
            firsts: vec![Vec::new(); columns.len()],
            known: vec![false; columns.len()],
            last: (0, Vec::new()),
            scratch: Vec::new(),
            in_order: true,
            merges,
        }
    }

    /// Adds one row. `known` has the bit of every column (by its position in the family) that was
    /// measured; `column(i)` gives the values of the i-th column, `None` where all are zero or unknown.
    pub fn add<'a>(
        &mut self,
        source: i64,
        ids: &[u32],
        known: u64,
        column: &dyn Fn(usize) -> Option<&'a [u64]>,
    ) {
        self.place(source, ids);
        for index in 0..self.columns.len() {
            let values = column(index);
            let bit = self.columns[index];
            let measured = values.is_some() || (bit < 64 && known >> bit & 1 == 1);
            if !measured {
                continue;
            }
            self.known[index] = true;
            let target = &mut self.values[index];
            match (self.merges[index], values) {
                (Merge::Sum, Some(values)) if self.in_order => {
                    let there = self.scratch.len();
                    for (slot, value) in target.iter_mut().take(there).zip(values) {
                        *slot = slot.saturating_add(*value);
                    }
                }
                (Merge::Sum, Some(values)) => {
                    for (place, value) in self.scratch.iter().zip(values) {
                        let slot = &mut target[*place as usize];
                        *slot = slot.saturating_add(*value);
                    }
                }
                (Merge::Max, Some(values)) => {
                    for (place, value) in self.scratch.iter().zip(values) {
                        let slot = &mut target[*place as usize];
                        *slot = (*slot).max(*value);
                    }
                }
                (Merge::Sum | Merge::Max, None) => {}
                (Merge::Last, values) => {
                    for (i, place) in self.scratch.iter().enumerate() {
                        let value = values.map_or(0, |v| v.get(i).copied().unwrap_or(UNKNOWN));
                        if value == UNKNOWN {
                            continue;
                        }
                        let first = &mut self.firsts[index][*place as usize];
                        if *first == UNKNOWN {
                            *first = value;
                        }
                        target[*place as usize] = value;
                    }
                }
            }
        }
    }

    fn place(&mut self, source: i64, ids: &[u32]) {
        if self.last.0 == source && self.last.1 == ids {
            return;
        }
        self.last.0 = source;
        self.last.1.clear();
        self.last.1.extend_from_slice(ids);
        let places = self.places.entry(source).or_default();
        self.scratch.clear();
        for id in ids {
            let slot = places.slot(*id);
            if *slot == 0 {
                self.who.push((source, *id));
                *slot = u32::try_from(self.who.len()).unwrap_or(u32::MAX);
            }
            self.scratch.push(*slot - 1);
        }
        self.in_order = (0..).zip(&self.scratch).all(|(place, at)| place == *at);
        for (index, merge) in self.merges.iter().enumerate() {
            let empty = merge.nothing();
            self.values[index].resize(self.who.len(), empty);
            if *merge == Merge::Last {
                self.firsts[index].resize(self.who.len(), empty);
            }
        }
    }

    /// Number of objects seen.
    pub fn len(&self) -> usize {
        self.who.len()
    }

    /// Whether none was seen.
    pub fn is_empty(&self) -> bool {
        self.who.is_empty()
    }

    /// The objects, in the order in which they were first seen; positions here are places below.
    pub fn who(&self) -> &[Who] {
        &self.who
    }

    /// Sum, last or worst value of the `index`-th column for the object at `place`.
    pub fn get(&self, place: usize, index: usize) -> Option<u64> {
        if !*self.known.get(index)? {
            return None;
        }
        let gauge = self.merges[index] == Merge::Last;
        self.values[index].get(place).copied().filter(|v| !gauge || *v != UNKNOWN)
    }

    /// First value of a gauge.
    pub fn first(&self, place: usize, index: usize) -> Option<u64> {
        self.firsts.get(index)?.get(place).copied().filter(|v| *v != UNKNOWN)
    }

    /// Makes one object of two: what `from` did is added to `into`; `from` came before it.
    pub fn merge(&mut self, from: usize, into: usize) {
        for index in 0..self.columns.len() {
            let Some(old) = self.values[index].get(from).copied() else { continue };
            let Some(new) = self.values[index].get_mut(into) else { continue };
            match self.merges[index] {
                Merge::Sum => *new = new.saturating_add(old),
                Merge::Max => *new = (*new).max(old),
                Merge::Last if *new == UNKNOWN => *new = old,
                Merge::Last => {}
            }
            if self.merges[index] == Merge::Last {
                let first = self.firsts[index][from];
                if first != UNKNOWN {
                    self.firsts[index][into] = first;
                }
            }
        }
    }
}

/// A sum of numbers that may be unknown: unknown until one is known.
pub fn add_known(sum: &mut Option<i64>, value: Option<i64>) {
    if let Some(value) = value {
        *sum = Some(sum.unwrap_or(0).saturating_add(value));
    }
}

/// Standard deviation of `n` values from their sum and the sum of their squares; `None` where the two
/// cancel out to less than nothing.
#[allow(clippy::cast_precision_loss)]
pub fn deviation(n: u64, sum: f64, squares: f64) -> Option<f64> {
    match n {
        0 => return None,
        // Rounding would make something of nothing.
        1 => return Some(0.0),
        _ => {}
    }
    let n = n as f64;
    let variance = squares / n - (sum / n) * (sum / n);
    (variance >= 0.0).then(|| variance.sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::family::{DATABASE, RELATION};

    fn columns() -> Vec<usize> {
        ["quality", "seq_scan", "table_bytes", "n_tup_newpage_upd"]
            .iter()
            .map(|name| RELATION.position(name).unwrap())
            .collect()
    }

    fn bits(names: &[&str]) -> u64 {
        names.iter().map(|name| 1 << RELATION.position(name).unwrap()).sum()
    }

    #[test]
    fn counters_add_gauges_keep_their_ends_and_the_worst_quality_stands() {
        let mut tally = Tally::new(&RELATION, &columns());
        let first: [Option<&[u64]>; 4] = [None, Some(&[5, 7]), Some(&[100, 0]), None];
        tally.add(1, &[3, 9], bits(&["quality", "seq_scan", "table_bytes"]), &|i| first[i]);
        let second: [Option<&[u64]>; 4] = [Some(&[2]), Some(&[u64::MAX]), Some(&[140]), None];
        tally.add(1, &[3], 0, &|i| second[i]);
        assert_eq!(tally.who(), [(1, 3), (1, 9)]);
        assert_eq!(tally.get(0, 0), Some(2));
        assert_eq!(tally.get(0, 1), Some(u64::MAX));
        assert_eq!((tally.first(0, 2), tally.get(0, 2)), (Some(100), Some(140)));
        assert_eq!(tally.get(1, 2), Some(0));
        assert_eq!(tally.get(0, 3), None);
    }

    #[test]
    fn a_gauge_not_measured_in_a_row_keeps_its_value() {
        let mut tally = Tally::new(&RELATION, &columns());
        let row: [Option<&[u64]>; 4] = [None, None, Some(&[8]), None];
        tally.add(1, &[1], bits(&["seq_scan"]), &|i| row[i]);
        tally.add(1, &[1, 2], bits(&["seq_scan"]), &|_| None);
        assert_eq!(tally.get(0, 2), Some(8));
        assert_eq!(tally.get(1, 2), None);
        assert_eq!(tally.get(1, 1), Some(0));
    }

    #[test]
    fn a_gauge_not_known_of_one_object_keeps_its_value() {
        let mut tally = Tally::new(&RELATION, &columns());
        let first: [Option<&[u64]>; 4] = [None, None, Some(&[8, UNKNOWN]), None];
        tally.add(1, &[1, 2], 0, &|i| first[i]);
        let second: [Option<&[u64]>; 4] = [None, None, Some(&[UNKNOWN, UNKNOWN]), None];
        tally.add(1, &[1, 2], 0, &|i| second[i]);
        assert_eq!((tally.first(0, 2), tally.get(0, 2)), (Some(8), Some(8)));
        assert_eq!((tally.first(1, 2), tally.get(1, 2)), (None, None));
    }

    #[test]
    fn an_all_zero_gauge_is_a_zero_when_it_was_measured() {
        let mut tally = Tally::new(&RELATION, &columns());
        tally.add(1, &[4], bits(&["table_bytes"]), &|_| None);
        assert_eq!((tally.first(0, 2), tally.get(0, 2)), (Some(0), Some(0)));
    }

    #[test]
    fn wild_ids_cost_no_more_than_their_number() {
        let mut tally = Tally::new(&DATABASE, &[2]);
        tally.add(1, &[u32::MAX - 1, u32::MAX], 4, &|_| Some(&[1, 2]));
        tally.add(2, &[u32::MAX], 4, &|_| Some(&[5]));
        assert_eq!(tally.len(), 3);
        assert_eq!(tally.get(1, 0), Some(2));
        assert_eq!(tally.get(2, 0), Some(5));
    }

    #[test]
    fn an_object_can_continue_another() {
        let mut tally = Tally::new(&RELATION, &columns());
        let old: [Option<&[u64]>; 4] = [Some(&[1]), Some(&[5]), Some(&[100]), None];
        let new: [Option<&[u64]>; 4] = [None, Some(&[6]), Some(&[120]), None];
        tally.add(1, &[3], 0, &|i| old[i]);
        tally.add(2, &[8], bits(&["quality"]), &|i| new[i]);
        tally.merge(0, 1);
        assert_eq!(tally.get(1, 0), Some(1));
        assert_eq!(tally.get(1, 1), Some(11));
        assert_eq!((tally.first(1, 2), tally.get(1, 2)), (Some(100), Some(120)));
    }

    #[test]
    fn deviations() {
        assert_eq!(deviation(0, 0.0, 0.0), None);
        assert_eq!(deviation(2, 4.0, 10.0), Some(1.0));
        assert_eq!(deviation(1, 3.0, 8.9), Some(0.0));
        assert_eq!(deviation(2, 6.0, 17.9), None);
    }
}
