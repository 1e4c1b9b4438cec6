//! Indexes that were built anew beside their work (REINDEX CONCURRENTLY): the new one takes over the name of the old one and a
//! copy of its counters, which are not what it did itself.

use super::judge::is_gauge;
use super::{Prior, Sorted};
use crate::family::INDEX;
use std::collections::HashMap;

/// What may have taken over the counters of another object: its place in the order, and that of the other in the prior.
///
/// An index that was dropped and created again by the same name, and has outgrown the old one, cannot be told from it.
pub(super) fn heirs(
    prior: &Prior,
    now: &Sorted<'_>,
    positions: &[Option<usize>],
) -> Vec<(usize, usize)> {
    let reading = &*now.reading;
    if reading.family.name != INDEX.name {
        return Vec::new();
    }
    let has_new_name = |at: &usize| {
        let label = reading.labels[now.order.by_key[*at]];
        positions[*at].is_none_or(|p| prior.labels[p] != label)
    };
    let candidates: Vec<usize> = (0..positions.len()).filter(has_new_name).collect();
    if candidates.is_empty() {
        return Vec::new();
    }
    let by_name: HashMap<u64, usize> = prior.labels.iter().copied().zip(0..).collect();
    let scans = INDEX.position("idx_scan");
    let found = candidates.into_iter().filter_map(|at| {
        let i = now.order.by_key[at];
        let from = *by_name.get(&reading.labels[i])?;
        // One that was seen while it was built has not been used until then.
        let scans = scans.and_then(|c| prior.columns.get(c)).filter(|before| !before.is_empty());
        let was_used = positions[at].is_some_and(|p| scans.is_none_or(|before| before[p] != 0));
        let holds_all = (1..reading.columns.len()).all(|c| {
            let (column, before) = (&reading.columns[c], &prior.columns[c]);
            is_gauge(reading.family, c)
                || column.is_empty()
                || before.is_empty()
                || column[i] >= before[from]
        });
        (holds_all && !was_used).then_some((at, from))
    });
    found.collect()
}
