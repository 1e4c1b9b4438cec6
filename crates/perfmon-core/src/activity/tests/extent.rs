//! What is said of a step against itself, and against what was there.

use proptest::prelude::*;

use crate::activity::extent::{Cut, Extent};
use crate::activity::group;
use crate::activity::spread::{Spread, place};
use crate::series::{Series, edges};

/// A step as it is shown: smallest, average and largest number, and what 95 % did not exceed.
type Shown = (Option<u32>, f64, Option<u64>, Option<f64>);

/// Intervals, each with how much of it was quiet and what its samples found, in steps. Times are in samples.
fn steps(rows: &[(usize, Vec<u32>)], offset: i64, step: i64) -> Vec<Option<Shown>> {
    steps_of(rows, offset, step, false)
}

/// The same of clients at work, if `of_work`.
fn steps_of(
    rows: &[(usize, Vec<u32>)],
    offset: i64,
    step: i64,
    of_work: bool,
) -> Vec<Option<Shown>> {
    const UNIT: u64 = 1000;
    let all: usize = rows.iter().map(|row| row.1.len()).sum();
    let mut series = Series::new(edges(0, offset + all as i64, step), 0);
    let mut found = vec![(Extent::default(), Spread::default(), 0_u64, 0_u64); series.len()];
    let mut since = offset;
    for (quiet, numbers) in rows {
        let length = numbers.len() as i64;
        let parts = series.spread((since, since + length), (length, *quiet as i64), i64::MAX);
        since += length;
        let most = u64::from(*numbers.iter().max().unwrap());
        for part in &parts {
            let samples = numbers.len() as u64;
            let cut = Cut { part: *part, unit: UNIT, peak: part.peak(&parts), samples };
            let (extent, spread, sum, count) = &mut found[part.bucket];
            let mut places: Vec<usize> = numbers.iter().map(|number| place(*number)).collect();
            places.sort_unstable();
            for same in places.chunk_by(|a, b| a == b).filter(|same| same[0] > 0) {
                extent.add(same[0], same.len() as u64, of_work, &cut);
                spread.add(same[0] as u8, cut.of(same.len() as u64, of_work));
            }
            extent.add_peak(most, true, of_work, &cut);
            *sum += cut.of(numbers.iter().map(|number| u64::from(*number)).sum(), of_work);
            *count += part.of(samples, UNIT);
        }
    }
    let shown = |(extent, spread, sum, count): (Extent, Spread, u64, u64)| {
        let peak = extent.peak(count);
        let p95 = match peak {
            Some(peak) => spread.quantile_below(0.95, count, peak),
            None => spread.quantile(0.95, count),
        };
        let mean = extent.within(sum as f64 / count as f64, count);
        (count > 0).then(|| (extent.least(count), mean, peak, p95))
    };
    found.into_iter().map(shown).collect()
}

#[test]
fn a_step_has_no_peak_below_what_its_parts_had() {
    // A hundred came in the second interval, which lies for the most part in the second step.
    let rows = [(0, vec![6; 9]), (0, [vec![6; 2], vec![106; 9]].concat())];
    let shown = steps(&rows, 0, 10);
    assert_eq!((shown[0].unwrap().0, shown[0].unwrap().2), (None, None));
    let second = shown[1].unwrap();
    assert_eq!((second.0, second.2), (Some(6), Some(106)));
    // Where fewer were, the largest number is known and the smallest is not.
    let rows = [(0, vec![6; 9]), (0, [vec![6; 2], vec![1; 9]].concat())];
    let shown = steps(&rows, 0, 10);
    assert_eq!((shown[0].unwrap().0, shown[0].unwrap().2), (None, Some(6)));
    // In quiet time there is what there was, though more come at the end of it.
    let shown = steps(&[(28, [vec![5; 28], vec![50; 12]].concat())], 0, 10);
    let first = shown[0].unwrap();
    assert_eq!((first.0, first.1, first.2), (Some(5), 5.0, Some(5)));
    let shown = steps(&[(28, [vec![5; 28], vec![2; 12]].concat())], 0, 10);
    let first = shown[0].unwrap();
    assert_eq!((first.0, first.1, first.2), (Some(5), 5.0, Some(5)));
}

#[test]
fn what_is_rounded_is_no_sample_that_found_none() {
    // Ten stay, others come and go; steps of seven samples, intervals of five that end elsewhere.
    let numbers = [[13, 14, 12, 11, 10], [11, 15, 12, 13, 14], [10, 12, 11, 13, 15]];
    let rows: Vec<(usize, Vec<u32>)> =
        numbers.iter().cycle().take(21).map(|row| (0, row.to_vec())).collect();
    let least: Vec<u32> = steps(&rows, 0, 7).into_iter().filter_map(|shown| shown?.0).collect();
    assert!(!least.is_empty() && least.iter().all(|least| *least >= 10), "{least:?}");
    // A sample that found none is one, however small the part of the step.
    let shown = steps(&[(0, vec![0; 21]), (0, vec![12; 20])], 0, 20);
    assert_eq!(shown[1].unwrap().0, Some(0));
}

#[test]
fn nobody_was_at_work_in_quiet_time() {
    // Nine begin to work at the end of it, and the row ends a moment later.
    let rows = [(28, [vec![0; 28], vec![9; 1]].concat())];
    let shown: Vec<Shown> = steps_of(&rows, 0, 10, true).into_iter().flatten().collect();
    let quiet = (Some(0), 0.0, Some(0), Some(0.0));
    assert_eq!(shown, [quiet, quiet, (Some(0), 1.0, Some(9), Some(9.0))]);
    // Some may be at work in each part of the rest.
    let rows = [(15, [vec![0; 15], vec![8; 30]].concat())];
    let means: Vec<f64> = steps_of(&rows, 0, 15, true).into_iter().flatten().map(|s| s.1).collect();
    assert_eq!(means, [0.0, 8.0, 8.0]);
    let of: Vec<&str> = group::SUMS
        .iter()
        .enumerate()
        .filter(|(at, _)| !group::is_sum_of_work(*at))
        .map(|(_, name)| *name)
        .collect();
    assert_eq!(of, ["idle", "disabled", "starting"]);
    let of: Vec<&str> = group::SPREADS
        .iter()
        .enumerate()
        .filter(|(at, _)| !group::is_number_of_work(*at))
        .map(|(_, name)| *name)
        .collect();
    assert_eq!(of, ["open", "idle"]);
}

fn rows() -> impl Strategy<Value = Vec<(usize, Vec<u32>)>> {
    let number = prop_oneof![0_u32..4, 0_u32..20, 0_u32..400];
    let row = (prop::collection::vec((number, 1_usize..9), 1..5), any::<bool>());
    let row = row.prop_map(|(runs, is_quiet)| {
        let quiet = if is_quiet { runs[0].1 } else { 0 };
        (quiet, runs.into_iter().flat_map(|(number, times)| vec![number; times]).collect())
    });
    prop::collection::vec(row, 1..8)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn nothing_contradicts_itself(rows in rows(), offset in 0_i64..10, step in 1_i64..30, of_work: bool) {
        for (least, mean, peak, p95) in steps_of(&rows, offset, step, of_work).into_iter().flatten() {
            let least = f64::from(least.unwrap_or(0));
            let most = peak.map_or(f64::MAX, |peak| peak as f64);
            prop_assert!(least <= mean && mean <= most, "{least} {mean} {most}");
            prop_assert!(p95.is_some_and(|p95| p95 <= most), "{p95:?} {most}");
        }
    }

    /// No step has fewer than every sample found.
    #[test]
    fn none_is_said_only_where_none_was_found(rows in rows(), offset in 0_i64..10, step in 1_i64..30) {
        let rows: Vec<(usize, Vec<u32>)> =
            rows.into_iter().map(|(quiet, row)| (quiet, row.into_iter().map(|n| n + 5).collect())).collect();
        for (least, ..) in steps(&rows, offset, step).into_iter().flatten() {
            prop_assert!(least.is_none_or(|least| least >= 5), "{least:?}");
        }
    }

    /// In steps that are ends of intervals all is as it was.
    #[test]
    fn whole_intervals_are_known(numbers in prop::collection::vec(prop::collection::vec(0_u32..120, 7), 1..9)) {
        let rows: Vec<(usize, Vec<u32>)> = numbers.iter().map(|row| (0, row.clone())).collect();
        for (shown, row) in steps(&rows, 0, 7).into_iter().zip(&numbers) {
            let (least, mean, peak, _) = shown.unwrap();
            let (low, high) = (*row.iter().min().unwrap(), *row.iter().max().unwrap());
            prop_assert_eq!((least, peak), (Some(low), Some(u64::from(high))));
            prop_assert!((mean - f64::from(row.iter().sum::<u32>()) / 7.0).abs() < 1e-9);
        }
    }
}
