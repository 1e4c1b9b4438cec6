//! Indexes that were built anew beside their work (REINDEX CONCURRENTLY): the new one takes the place of the old one, and
//! a copy of its counters, which are not what it did itself.
//!
//! No name tells which: index, table and schema may have been renamed meanwhile. But it is of the same table and the same
//! columns; and nobody uses the new one before, nor the old one from then on, but who began earlier.

use super::judge::is_gauge;
use super::{Prior, Sorted};
use crate::family::INDEX;
use std::collections::{HashMap, HashSet};

/// Among the marks of indexes: what those have in common of which one may have taken the other's place.
const KIN: usize = 1;
/// Whether queries pass it over, as it is being built or about to go.
const INVALID: usize = 2;

/// An index that holds a copy of what another counted, or of which that is not known.
pub(super) struct Copied {
    /// Its place in the order.
    pub(super) at: usize,
    /// Where the other lies in the prior; `None` if it is not known what this one did itself.
    pub(super) of: Option<usize>,
}

/// What may hold counters of another, and those others as long as they are still there.
///
/// An index that was dropped and made again, and has outgrown the old one, cannot be told from one built anew.
pub(super) fn heirs(prior: &Prior, now: &Sorted<'_>, positions: &[Option<usize>]) -> Vec<Copied> {
    let reading = &*now.reading;
    let (Some(kin), Some(invalid)) = (reading.marks.get(KIN), reading.marks.get(INVALID)) else {
        return Vec::new();
    };
    if reading.family.name != INDEX.name {
        return Vec::new();
    }
    let (candidates, mut found) = candidates(prior, now, positions, invalid);
    if candidates.is_empty() {
        return found;
    }
    let mut places: Vec<Option<usize>> = vec![None; prior.keys.len()];
    for (at, p) in positions.iter().enumerate() {
        if let Some(p) = *p {
            places[p] = Some(at);
        }
    }
    let Some(prior_kin) = prior.marks.get(KIN) else {
        // Kept by a library that did not know it.
        if places.contains(&None) {
            found.extend(candidates.into_iter().map(|at| Copied { at, of: None }));
        }
        return found;
    };
    let kin_of = |at: usize| kin[now.order.by_key[at]];
    let wanted: HashSet<u64> = candidates.iter().map(|at| kin_of(*at)).collect();
    let mut left: HashMap<u64, Vec<usize>> = HashMap::new();
    for (p, place) in places.iter().enumerate().filter(|(p, _)| wanted.contains(&prior_kin[*p])) {
        if place.is_none_or(|at| invalid[now.order.by_key[at]] != 0) {
            left.entry(prior_kin[p]).or_default().push(p);
        }
    }
    for at in candidates {
        let own = |c: usize| reading.columns[c].get(now.order.by_key[at]).copied();
        let before = |p: usize| move |c: usize| prior.columns[c].get(p).copied();
        let Some(left) = left.get(&kin_of(at)) else { continue };
        // What an old one counts at last lies in the copy as well.
        let still_there = left.iter().filter_map(|p| places[*p]);
        found.extend(still_there.map(|at| Copied { at, of: None }));
        // Counters that are below those of the old one began anew since.
        let of: Vec<usize> = left.iter().copied().filter(|p| holds(own, before(*p))).collect();
        let total = |p: &usize| counters().filter_map(before(*p)).map(u128::from).sum::<u128>();
        let Some(most) = of.iter().copied().max_by_key(total) else { continue };
        let holds_all = of.iter().all(|p| holds(before(most), before(*p)));
        found.push(Copied { at, of: holds_all.then_some(most) });
    }
    found
}

/// What may have taken the place of another: what nobody can have used when the prior was read. With it comes what nobody
/// can have used until now, and yet was.
fn candidates(
    prior: &Prior,
    now: &Sorted<'_>,
    positions: &[Option<usize>],
    invalid: &[u64],
) -> (Vec<usize>, Vec<Copied>) {
    let was_in_use = |p: usize| prior.marks.get(INVALID).is_none_or(|was| was[p] == 0);
    let scans = |columns: &[Vec<u64>], i: usize| {
        INDEX.position("idx_scan").and_then(|c| columns[c].get(i).copied()).unwrap_or(0)
    };
    let (mut candidates, mut found) = (Vec::new(), Vec::new());
    for (at, before) in positions.iter().enumerate() {
        let i = now.order.by_key[at];
        if before.is_some_and(was_in_use) {
            continue;
        }
        if invalid[i] == 0 {
            candidates.push(at);
        } else if scans(&now.reading.columns, i) > 0
            && before.is_none_or(|p| scans(&prior.columns, p) == 0)
        {
            // It took its place just after we had seen that it has none, or has given it away again.
            found.push(Copied { at, of: None });
        }
    }
    (candidates, found)
}

/// The columns that count.
fn counters() -> impl Iterator<Item = usize> {
    (1..INDEX.columns.len()).filter(|c| !is_gauge(&INDEX, *c))
}

/// Whether all counters that both know are no less than those of another.
fn holds(own: impl Fn(usize) -> Option<u64>, other: impl Fn(usize) -> Option<u64>) -> bool {
    counters().all(|c| own(c).zip(other(c)).is_none_or(|(own, other)| own >= other))
}
