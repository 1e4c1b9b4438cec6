//! Entries of pg_stat_statements that were reset alone and have outgrown all that was known of them, where the server
//! does not say when each one was born.

use super::Prior;
use super::judge::{Fate, Judge};
use crate::family::STATEMENT;
use std::iter::zip;

impl Judge<'_> {
    /// Marks entries that cannot be what the prior had and nothing but more of it.
    pub(super) fn find_outgrown(&mut self, prior: &Prior) {
        let now = self.now;
        let reading = &*now.reading;
        let births_known = reading.born.is_some() && prior.born.is_some();
        if reading.family.name != STATEMENT.name || births_known {
            return;
        }
        let column = |name| {
            let c = STATEMENT.position(name)?;
            let both = (&reading.columns[c], &prior.columns[c]);
            (!both.0.is_empty() && !both.1.is_empty()).then_some(both)
        };
        let Some((calls, calls_before)) = column("calls") else { return };
        let extremes = reading.floors.first().zip(reading.ceilings.first());
        let times = column("exec_us").zip(extremes.filter(|(floors, _)| !floors.is_empty()));
        let mut executed = reading.executed.clone();
        executed.sort_unstable();
        let mut executed = executed.into_iter().peekable();
        let marks = zip(&mut self.anew, &mut self.lost);
        for ((&i, fate), (anew, lost)) in zip(zip(&now.order.by_key, &self.fates), marks) {
            let Fate::Same(p, _) = *fate else { continue };
            let key = reading.keys[i];
            while executed.next_if(|(k, _)| *k < key).is_some() {}
            // Two that claimed an entry at the same time may both count.
            let mut runs = 0_u64;
            while let Some((_, n)) = executed.next_if(|(k, _)| *k == key) {
                runs = runs.saturating_add(n);
            }
            let Some(more) = calls[i].checked_sub(calls_before[p]).filter(|_| !*anew) else {
                continue;
            };
            if let Some(((us, us_before), (floors, ceilings))) = times {
                let added = us[i].saturating_sub(us_before[p]);
                *anew = !is_possible((more, added), us[i], (floors[i], ceilings[i]));
            }
            *lost |= is_too_little(calls_before[p], more, runs);
        }
    }
}

/// Whether so many executions can have taken so many microseconds together, if none was shorter or longer than these
/// nanoseconds. `total_us` is the time of all there were.
fn is_possible((calls, us): (u64, u64), total_us: u64, (floor, ceiling): (u64, u64)) -> bool {
    let (calls, ns) = (u128::from(calls), u128::from(us) * 1000);
    // Times were rounded, the two sums to microseconds; and the server adds up in floating point, each time with an error
    // of up to half of the sum's last bit.
    let rounding = calls.saturating_mul(u128::from(total_us) * 1000) >> 52;
    let slack = 2000 + calls + rounding;
    calls * u128::from(floor) <= ns + slack && ns <= calls * u128::from(ceiling) + slack
}

/// Whether an entry that had so many calls, and has so many more now, lacks some of those that were executed meanwhile.
///
/// If it goes on, both counts of what was executed are the same, but for what ended between the two readings. If it was
/// reset alone, all that it holds was executed meanwhile, and it seems to have grown by less: by what it had. Halfway
/// between the two both ways of telling are as safe. Its growth is a lower bound in either case, so that nothing is claimed
/// that did not happen where an entry that had few calls is taken for one that was reset.
fn is_too_little(had: u64, more: u64, executed: u64) -> bool {
    had > 0 && executed >= more.saturating_add(had - had / 2)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{column, prior, reading};
    use super::super::{Reading, difference};
    use super::*;
    use crate::frame::{Key, Quality};
    use proptest::prelude::*;

    /// An entry: calls, microseconds, the shortest and the longest in nanoseconds.
    fn entry(at: i64, calls: u64, us: u64, floor: u64, ceiling: u64) -> Reading {
        Reading {
            floors: vec![vec![floor]],
            ceilings: vec![vec![ceiling]],
            evictions: Some(0),
            ..reading(&STATEMENT, at, &[1], &[("calls", &[calls]), ("exec_us", &[us])])
        }
    }

    /// What is told of an entry that had three calls of 1200 microseconds.
    fn calls(now: Reading) -> (Option<Vec<u64>>, Quality) {
        let before = prior(entry(50, 3, 1200, 100_000, 1_000_000));
        let made = difference(Some(&before), Some(50), &now);
        (column(&made, &now, "calls"), made.quality)
    }

    #[test]
    fn more_time_than_the_longest_or_less_than_the_shortest_is_another_life() {
        let now = |calls, us, floor| entry(100, calls, us, floor, 1_100_000);
        assert_eq!(calls(now(4, 2300, 90_000)), (Some(vec![1]), Quality::Exact));
        assert_eq!(calls(now(4, 2390, 90_000)), (Some(vec![4]), Quality::LowerBound));
        assert_eq!(calls(now(13, 2100, 90_000)), (Some(vec![10]), Quality::Exact));
        assert_eq!(calls(now(13, 2000, 90_000)), (Some(vec![13]), Quality::LowerBound));
        // As many as before, in more time.
        assert_eq!(calls(now(3, 1300, 90_000)), (Some(vec![3]), Quality::LowerBound));
        assert_eq!(calls(now(3, 1200, 100_000)), (None, Quality::Exact));
        // Where it is known when each was born, extremes may be those of a shorter time.
        let born = |mut now: Reading| {
            now.born = Some(vec![7]);
            now
        };
        let before = prior(born(entry(50, 3, 1200, 100_000, 1_000_000)));
        let now = born(now(4, 2390, 90_000));
        assert_eq!(difference(Some(&before), Some(50), &now).quality, Quality::Exact);
    }

    #[test]
    fn what_was_executed_and_is_not_in_it_was_lost() {
        let now = |executed: &[u64]| Reading {
            executed: executed.iter().map(|n| (Key(1, 1), *n)).chain([(Key(0, 1), 90)]).collect(),
            ..entry(100, 10, 4000, 100_000, 1_000_000)
        };
        for (executed, quality) in [
            (&[][..], Quality::Exact),
            (&[7], Quality::Exact),
            (&[8], Quality::Exact),
            (&[9], Quality::LowerBound),
            (&[10], Quality::LowerBound),
            (&[500], Quality::LowerBound),
            (&[6, 4], Quality::LowerBound),
        ] {
            assert_eq!(calls(now(executed)), (Some(vec![7]), quality), "{executed:?}");
        }
        // Nothing seems to have happened.
        let same =
            Reading { executed: vec![(Key(1, 1), 3)], ..entry(100, 3, 1200, 100_000, 1_000_000) };
        assert_eq!(calls(same), (None, Quality::LowerBound));
    }

    proptest! {
        /// Whatever the server's arithmetic and our rounding do to the sum.
        #[test]
        fn what_goes_on_is_possible(
            exponent in -6i32..13,
            base in 1.0f64..10.0,
            times in prop::collection::vec((-6i32..5, 1.0f64..10.0), 1..200),
        ) {
            let scaled = |ms: f64, per_ms: f64| (ms * per_ms + 0.5) as u64;
            let before = base * 10f64.powi(exponent);
            let times: Vec<f64> = times.into_iter().map(|(e, t)| t * 10f64.powi(e)).collect();
            let after = times.iter().fold(before, |sum, t| sum + t);
            let floor = times.iter().copied().fold(f64::INFINITY, f64::min);
            let ceiling = times.iter().copied().fold(0.0, f64::max);
            let total = scaled(after, 1e3);
            let added = (times.len() as u64, total - scaled(before, 1e3));
            prop_assert!(is_possible(added, total, (scaled(floor, 1e6), scaled(ceiling, 1e6))));
        }
    }
}
