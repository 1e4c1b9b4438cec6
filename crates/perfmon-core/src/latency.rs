//! What one row of the history of execution times holds, and how several rows become one.
//!
//! Sums of buckets come out exactly, whatever is left out by name, and merging in several steps gives the same as
//! merging at once.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use crate::family::LATENCY;
use crate::frame::{Frame, Span};
use crate::histogram::{Latency, Sum, Total, pack};
use crate::pack::Corrupt;
use crate::rollup::{self, OTHER};

/// Place of the column `lengths` in the family.
pub const LENGTHS: usize = 1;
/// Place of the column `histograms` among the stored ones.
pub const HISTOGRAMS: usize = 2;
/// Place of the column `overall` among the stored ones.
pub const OVERALL: usize = 3;

/// The execution times of one interval.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Row {
    /// By dictionary id; under [`OTHER`] what has no id of its own, nested or not.
    pub statements: BTreeMap<u32, Latency>,
    /// All executions that clients asked for.
    pub overall: Latency,
    /// Executions inside of others.
    pub nested: u64,
}

impl Row {
    /// From what statements did: dictionary id, whether a client sent it, times. An id may come more than once.
    pub fn of(mut parts: Vec<(u32, bool, Latency)>) -> Self {
        let (mut overall, mut nested) = (Total::default(), 0_u64);
        for (_, toplevel, latency) in &parts {
            if *toplevel {
                overall.add(latency);
            } else {
                nested = nested.saturating_add(latency.executions());
            }
        }
        parts.sort_unstable_by_key(|part| part.0);
        let mut statements: Vec<(u32, Latency)> = Vec::with_capacity(parts.len());
        for (id, _, latency) in parts {
            match statements.last_mut() {
                Some((last, sum)) if *last == id => sum.add(&latency),
                _ => statements.push((id, latency)),
            }
        }
        Self { statements: statements.into_iter().collect(), overall: overall.latency(), nested }
    }

    /// Adds what one statement did.
    pub fn add(&mut self, id: u32, toplevel: bool, latency: &Latency) {
        self.count(toplevel, latency);
        self.put(id, latency);
    }

    fn count(&mut self, toplevel: bool, latency: &Latency) {
        if toplevel {
            self.overall.add(latency);
        } else {
            self.nested = self.nested.saturating_add(latency.executions());
        }
    }

    fn put(&mut self, id: u32, latency: &Latency) {
        match self.statements.entry(id) {
            Entry::Vacant(entry) => {
                entry.insert(latency.clone());
            }
            Entry::Occupied(mut entry) => entry.get_mut().add(latency),
        }
    }

    /// Adds another row.
    pub fn join(&mut self, other: &Self) {
        self.overall.add(&other.overall);
        self.nested = self.nested.saturating_add(other.nested);
        for (id, latency) in &other.statements {
            self.put(*id, latency);
        }
    }

    /// As it is stored: ids, lengths (of pieces, so fewer than ids) and totals, and the two columns of bytes.
    pub fn pack(&self) -> (Frame, [Option<Vec<u8>>; 2]) {
        let ids: Vec<u32> = self.statements.keys().copied().collect();
        let packed = pack::pack(self.statements.values());
        let executions = self.overall.cached.executions() + self.overall.read.executions();
        let total = |n: u64| Some(i64::try_from(n).unwrap_or(i64::MAX));
        let overall = pack::pack([&self.overall]);
        let frame = Frame {
            family: &LATENCY,
            columns: vec![None, (!ids.is_empty()).then_some(packed.lengths)],
            known: (1 << LATENCY.columns.len()) - 1,
            totals: vec![total(executions), total(self.nested)],
            ids,
        };
        let some = |there: bool, bytes: Vec<u8>| there.then_some(bytes);
        let raw = [
            some(!frame.ids.is_empty(), packed.bytes),
            some(!self.overall.is_empty(), overall.bytes),
        ];
        (frame, raw)
    }

    /// From what was stored.
    pub fn unpack(
        ids: &[u32],
        lengths: &[u64],
        [histograms, overall]: [Option<&[u8]>; 2],
        nested: u64,
    ) -> Result<Self, Corrupt> {
        let latencies = match histograms {
            Some(bytes) => pack::unpack(ids.len(), lengths, bytes)?,
            None if ids.is_empty() => Vec::new(),
            None => return Err(Corrupt::new("histograms are missing")),
        };
        let overall = overall.map(unpack_whole).transpose()?.unwrap_or_default();
        Ok(Self { statements: ids.iter().copied().zip(latencies).collect(), overall, nested })
    }

    /// Keeps the names of those with the most execution time, and adds the others up as [`OTHER`]: for a store that
    /// is out of room.
    pub fn keep_largest(&mut self, most: usize) {
        if self.statements.len() <= most {
            return;
        }
        let mut sizes = self.sizes();
        sizes.sort_by(|a, b| b.time_ns.total_cmp(&a.time_ns));
        self.fold(sizes.iter().skip(most).map(|size| size.id));
    }

    /// Keeps the names of the biggest that make up this share of both executions and time.
    fn keep_share(&mut self, keep: f64) {
        let sizes = self.sizes();
        let small = |of: fn(&Size) -> f64| {
            let mut order: Vec<&Size> = sizes.iter().collect();
            order.sort_by(|a, b| of(a).total_cmp(&of(b)));
            let mut allowed = order.iter().map(|size| of(size)).sum::<f64>() * (1.0 - keep);
            order
                .into_iter()
                .take_while(|size| {
                    allowed -= of(size);
                    allowed >= 0.0
                })
                .map(|size| size.id)
                .collect::<std::collections::BTreeSet<u32>>()
        };
        let (short, rare) = (small(|size| size.time_ns), small(|size| size.executions));
        self.fold(short.intersection(&rare).copied());
    }

    #[allow(clippy::cast_precision_loss)]
    fn sizes(&self) -> Vec<Size> {
        let named = self.statements.iter().filter(|(id, _)| **id != OTHER);
        named
            .map(|(id, latency)| {
                let mut sum = Sum::default();
                sum.add(latency);
                Size { id: *id, time_ns: sum.total_ns(), executions: sum.executions() as f64 }
            })
            .collect()
    }

    fn fold(&mut self, ids: impl Iterator<Item = u32>) {
        for id in ids {
            if let Some(latency) = self.statements.remove(&id) {
                self.put(OTHER, &latency);
            }
        }
    }
}

/// How much one statement did.
struct Size {
    id: u32,
    time_ns: f64,
    executions: f64,
}

/// One histogram and its codec byte.
pub fn unpack_whole(bytes: &[u8]) -> Result<Latency, Corrupt> {
    let (codec, own) = bytes.split_first().ok_or_else(|| Corrupt::new("histogram is empty"))?;
    pack::unpack_one(*codec, own)
}

/// Makes one row of several, that ends at `until`; `None` if there are none. With `keep` (say 0.999) the biggest
/// statements that make up this share of both executions and time keep their names.
pub fn merge(parts: &[(Span, Row)], until: i64, keep: Option<f64>) -> Option<(Span, Row)> {
    let span = rollup::merge_spans(parts.iter().map(|part| part.0), until)?;
    let mut row = Row::default();
    for (_, part) in parts {
        row.join(part);
    }
    if let Some(keep) = keep {
        row.keep_share(keep);
    }
    Some((span, row))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::Quality;
    use crate::histogram::{BUCKETS, Sparse};
    use proptest::prelude::*;

    fn span(until: i64) -> Span {
        let (since, length_us) = (until - 60, 60);
        Span { since, until, length_us, quiet_us: 0, quality: Quality::Exact, flags: 0 }
    }

    fn latency(cached: &[(u8, u64)], read: &[(u8, u64)]) -> Latency {
        Latency {
            cached: Sparse::new(cached.iter().copied()),
            read: Sparse::new(read.iter().copied()),
            peak: None,
        }
    }

    fn half() -> impl Strategy<Value = Sparse> {
        prop::collection::btree_map(0..BUCKETS as u8, 1u64..1_000_000, 0..8).prop_map(Sparse::new)
    }

    fn any_row() -> impl Strategy<Value = Row> {
        let statement = (0u32..40, any::<bool>(), half(), half(), any::<Option<u8>>());
        prop::collection::vec(statement, 0..30).prop_map(|statements| {
            let mut row = Row::default();
            for (id, toplevel, cached, read, peak) in statements {
                let latency = Latency { cached, read, peak };
                if !latency.is_empty() {
                    row.add(id, toplevel, &latency);
                }
            }
            row
        })
    }

    fn everything(row: &Row) -> Latency {
        let mut all = Latency::default();
        row.statements.values().for_each(|latency| all.add(latency));
        all
    }

    #[test]
    fn nested_executions_are_not_of_the_whole() {
        let mut row = Row::default();
        row.add(1, true, &latency(&[(5, 2)], &[(9, 1)]));
        row.add(2, false, &latency(&[(5, 7)], &[]));
        row.add(0, true, &latency(&[(3, 1)], &[]));
        row.add(0, false, &latency(&[(3, 4)], &[]));
        assert_eq!(row.overall, latency(&[(3, 1), (5, 2)], &[(9, 1)]));
        assert_eq!((row.nested, row.statements[&0].cached.executions()), (11, 5));
        assert_eq!(row.pack().0.totals, [Some(4), Some(11)]);
    }

    #[test]
    fn what_is_small_in_both_ways_goes_into_the_rest() {
        let mut row = Row::default();
        row.add(1, true, &latency(&[(100, 1_000_000)], &[]));
        row.add(2, true, &latency(&[(20, 3)], &[]));
        row.add(3, true, &latency(&[(220, 1)], &[]));
        let (_, merged) = merge(&[(span(60), row.clone())], 3600, Some(0.999)).unwrap();
        assert_eq!(merged.statements.keys().copied().collect::<Vec<_>>(), [0, 1, 3]);
        assert_eq!(merged.statements[&0], latency(&[(20, 3)], &[]));
        row.keep_largest(1);
        assert_eq!(row.statements.keys().copied().collect::<Vec<_>>(), [0, 1]);
        assert_eq!(row.statements[&0].cached.executions(), 4);
    }

    #[test]
    fn lost_histograms_are_an_error() {
        assert!(Row::unpack(&[1], &[3], [None, None], 0).is_err());
        assert!(Row::unpack(&[1, 2], &[0], [Some(&[pack::CODEC]), None], 0).is_err());
        assert!(Row::unpack(&[1], &[0], [Some(&[pack::GROUPED]), None], 0).is_err());
        assert!(Row::unpack(&[], &[], [None, Some(&[])], 0).is_err());
        assert_eq!(Row::unpack(&[], &[], [None, None], 3).unwrap().nested, 3);
    }

    proptest! {
        #[test]
        fn a_row_is_made_at_once_or_step_by_step(
            parts in prop::collection::vec((0u32..10, any::<bool>(), half(), half(), any::<Option<u8>>()), 0..30)
        ) {
            let parts: Vec<(u32, bool, Latency)> = parts
                .into_iter()
                .map(|(id, toplevel, cached, read, peak)| (id, toplevel, Latency { cached, read, peak }))
                .filter(|(_, _, latency)| !latency.is_empty())
                .collect();
            let mut row = Row::default();
            parts.iter().for_each(|(id, toplevel, latency)| row.add(*id, *toplevel, latency));
            prop_assert_eq!(Row::of(parts), row);
        }

        #[test]
        fn a_row_comes_back(row in any_row()) {
            let (frame, raw) = row.pack();
            let lengths = frame.columns[LENGTHS].clone().unwrap_or_default();
            let raw = raw.each_ref().map(Option::as_deref);
            prop_assert_eq!(Row::unpack(&frame.ids, &lengths, raw, row.nested).unwrap(), row);
        }

        /// Minutes to hours to days: the sums stay, and steps do not matter, whatever loses its name.
        #[test]
        fn sums_stay(rows in prop::collection::vec(any_row(), 1..8), cut in 0usize..8, keep in 0.5..1f64) {
            let parts: Vec<(Span, Row)> = (1..).map(|i| span(i * 60)).zip(rows).collect();
            let (whole_span, whole) = merge(&parts, 3600, None).unwrap();
            let cut = cut.min(parts.len());
            let halves: Vec<(Span, Row)> =
                [&parts[..cut], &parts[cut..]].iter().filter_map(|p| merge(p, 3600, None)).collect();
            prop_assert_eq!(&merge(&halves, 3600, None).unwrap(), &(whole_span, whole.clone()));
            let (_, kept) = merge(&parts, 3600, Some(keep)).unwrap();
            prop_assert_eq!(&kept.overall, &whole.overall);
            prop_assert_eq!(kept.nested, whole.nested);
            prop_assert_eq!(everything(&kept), everything(&whole));
            let mut squeezed = whole.clone();
            squeezed.keep_largest(3);
            prop_assert!(squeezed.statements.len() <= 5);
            prop_assert_eq!(everything(&squeezed), everything(&whole));
        }
    }
}
