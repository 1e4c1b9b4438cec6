//! Promises kept and broken, each beside one that differs in one thing only.

use proptest::prelude::*;

use super::judge::is_bad;
use super::*;
use crate::histogram::{Sparse, bucket, place};

mod asked;
mod least;
mod parts;
mod split;

const MINUTE: i64 = MINUTE_US;
const P95: Target = Target::Latency { quantile: 0.95, limit_ms: 200.0 };
const ERRORS: Target = Target::Errors { ratio: 0.005 };
const UP: Target = Target::Availability { ratio: 0.999 };

/// Executions of so many milliseconds each, all of which found their blocks in cache.
fn times(of: &[(u64, f64)]) -> Latency {
    let mut counts = [0_u64; crate::histogram::BUCKETS];
    let mut longest = 0;
    for (count, ms) in of {
        let ns = (ms * 1e6) as u64;
        counts[bucket(ns)] += count;
        if *count > 0 {
            longest = longest.max(ns);
        }
    }
    let peak = Some(place(bucket(longest), longest));
    Latency { cached: Sparse::new((0..).zip(counts)), read: Sparse::default(), peak }
}

/// The n-th minute, with executions of these times.
fn minute(n: i64, of: &[(u64, f64)]) -> Row {
    let executions = of.iter().map(|(count, _)| count).sum();
    Row {
        since_us: n * MINUTE,
        until_us: (n + 1) * MINUTE,
        length_us: MINUTE,
        quiet_us: 0,
        latency: Some(times(of)),
        errors: Some(Errors { errors: 0, of: executions }),
        ..Row::default()
    }
}

fn hour(each: impl Fn(i64) -> Row) -> History {
    History { rows: (0..60).map(each).collect(), ..History::default() }
}

fn checkout() -> Objective {
    Objective { name: "checkout".to_owned(), min_executions: 100, ..Objective::default() }
}

fn over_the_hour(target: Target, history: &History) -> Verdict {
    judge(&checkout(), target, history, 0, 60 * MINUTE)
}

#[test]
fn a_latency_is_kept_until_more_than_its_share_is_late() {
    let with =
        |late: u64| over_the_hour(P95, &hour(|n| minute(n, &[(100 - late, 20.0), (late, 900.0)])));
    let kept = with(5);
    assert_eq!((kept.status, kept.executions), (Status::Met, Some(6_000)));
    assert!((kept.actual.unwrap() / 20.0 - 1.0).abs() < 0.05, "{kept:?}");
    assert!(kept.budget_left_ratio.unwrap().abs() < 1e-9, "all of it is spent: {kept:?}");
    assert!(kept.burn.iter().flatten().all(|burn| (burn - 1.0).abs() < 1e-9), "{kept:?}");
    assert_eq!((kept.bad_us, kept.uncertain), (Some(0), false));

    let broken = with(6);
    assert_eq!(broken.status, Status::Missed);
    assert!((broken.actual.unwrap() / 900.0 - 1.0).abs() < 0.05, "{broken:?}");
    assert!((broken.budget_left_ratio.unwrap() + 0.2).abs() < 1e-9, "{broken:?}");
    assert_eq!(broken.bad_us, Some(60 * MINUTE));
    assert_eq!(with(0).budget_left_ratio, Some(1.0));
}

#[test]
fn a_target_within_the_error_of_the_histogram_is_said_to_be() {
    let all_at = |ms: f64| hour(|n| minute(n, &[(100, ms), (1, 5_000.0)]));
    let near = over_the_hour(P95, &all_at(199.0));
    assert!(near.uncertain, "{near:?}");
    assert!(near.low.unwrap() <= 199.0 && near.high.unwrap() > 199.0, "{near:?}");
    assert!(near.detail().contains("uncertain"), "{}", near.detail());
    for ms in [150.0, 260.0] {
        let clear = over_the_hour(P95, &all_at(ms));
        assert!(!clear.uncertain, "{clear:?}");
        assert_eq!(clear.status == Status::Met, ms < 200.0);
    }
    // The longest of all is known better than its bucket.
    let all = over_the_hour(P95, &hour(|n| minute(n, &[(100, 199.0)])));
    assert_eq!((all.status, all.uncertain), (Status::Met, false), "{all:?}");
}

#[test]
fn few_and_none_do_not_pass() {
    let once =
        |count: u64| History { rows: vec![minute(3, &[(count, 1.0)])], ..History::default() };
    assert_eq!(over_the_hour(P95, &once(100)).status, Status::Met);
    let few = over_the_hour(P95, &once(99));
    assert_eq!((few.status, few.executions), (Status::TooFew, Some(99)));
    assert!(few.actual.is_some(), "what there was is shown");
    assert!(few.detail().starts_with("99 executions, fewer than 100"), "{}", few.detail());
    let none = over_the_hour(P95, &once(0));
    assert_eq!((none.status, none.actual), (Status::NoData, None));
    assert_eq!(none.detail(), "nothing was executed; 1 of 60 minutes are known");
    let nothing = over_the_hour(P95, &History::default());
    assert_eq!((nothing.status, nothing.executions, nothing.bad_us), (Status::NoData, None, None));
    assert_eq!(nothing.detail(), "nothing is recorded of this time");
    let unknown = History {
        rows: vec![Row { latency: None, ..minute(3, &[(500, 1.0)]) }],
        no_latency: Some("not counted: add pg_perfmon to shared_preload_libraries".to_owned()),
        ..History::default()
    };
    let unknown = over_the_hour(P95, &unknown);
    assert_eq!((unknown.status, unknown.actual), (Status::NoData, None));
    assert!(unknown.detail().starts_with("not counted:"), "{}", unknown.detail());
}

#[test]
fn a_window_takes_the_rows_that_end_in_it() {
    let history = hour(|n| minute(n, if n == 30 { &[(200, 900.0)] } else { &[(200, 20.0)] }));
    let judged =
        |since: i64, until: i64| judge(&checkout(), P95, &history, since * MINUTE, until * MINUTE);
    assert_eq!(judged(30, 31).status, Status::Missed);
    assert_eq!(judged(31, 60).status, Status::Met);
    assert_eq!(judged(0, 30).status, Status::Met);
    assert_eq!(judged(60, 90).status, Status::NoData);
    assert_eq!(judged(30, 31).executions, Some(200));
}

#[test]
fn the_budget_burns_in_short_and_long_windows() {
    // All of the last five minutes late: the fastest that a p95 can burn is twenty times what is allowed.
    let history = hour(|n| minute(n, if n >= 55 { &[(100, 900.0)] } else { &[(100, 20.0)] }));
    let verdict = over_the_hour(P95, &history);
    let [five, hour, half, six] = verdict.burn.map(|burn| burn.unwrap());
    let close = |a: f64, b: f64| (a - b).abs() < 1e-9;
    assert!(
        close(five, 20.0) && close(hour, 20.0 / 12.0) && close(half, 20.0 / 6.0),
        "{verdict:?}"
    );
    assert!(close(six, hour), "six hours of which one is known");
    let earlier = judge(&checkout(), P95, &history, 0, 55 * MINUTE);
    assert_eq!(earlier.burn[0], Some(0.0), "what comes after the window is not looked at");
    // Nor what comes before, where a window is asked for.
    let late_first =
        self::hour(|n| minute(n, if n < 30 { &[(100, 900.0)] } else { &[(100, 20.0)] }));
    let observed = Observed { objective: checkout(), history: late_first };
    for verdict in observed.verdicts(30 * MINUTE, 60 * MINUTE) {
        assert!(verdict.burn.iter().flatten().all(|burn| *burn == 0.0), "{verdict:?}");
    }
}

#[test]
fn errors_count_against_what_they_are_a_share_of() {
    let with = |errors: u64, of: u64| {
        let row = Row { errors: Some(Errors { errors, of }), ..minute(0, &[]) };
        over_the_hour(ERRORS, &History { rows: vec![row], ..History::default() })
    };
    let kept = with(5, 1_000);
    assert_eq!(
        (kept.status, kept.actual, kept.budget_left_ratio),
        (Status::Met, Some(0.005), Some(0.0))
    );
    assert_eq!(with(6, 1_000).status, Status::Missed);
    assert_eq!(with(0, 99).status, Status::TooFew);
    assert_eq!(with(0, 0).status, Status::NoData);
    let unknown = History {
        rows: vec![Row { errors: None, ..minute(0, &[(1_000, 1.0)]) }],
        ..History::default()
    };
    assert_eq!(over_the_hour(ERRORS, &unknown).status, Status::NoData, "unknown is not zero");
    // No error at all is allowed.
    let strict = Target::Errors { ratio: 0.0 };
    let row = |errors| Row { errors: Some(Errors { errors, of: 1_000 }), ..minute(0, &[]) };
    let of = |errors| History { rows: vec![row(errors)], ..History::default() };
    let (clean, one) = (over_the_hour(strict, &of(0)), over_the_hour(strict, &of(1)));
    assert_eq!((clean.status, clean.budget_left_ratio), (Status::Met, Some(1.0)));
    assert_eq!((one.status, one.budget_left_ratio), (Status::Missed, None));
}

#[test]
fn only_a_missing_server_and_late_answers_are_not_available() {
    let fine = hour(|n| minute(n, &[(100, 20.0)]));
    let kept = over_the_hour(UP, &fine);
    assert_eq!(
        (kept.status, kept.actual, kept.budget_left_ratio),
        (Status::Met, Some(1.0), Some(1.0))
    );

    let mut down = fine.clone();
    down.rows.remove(10);
    assert_eq!(
        over_the_hour(UP, &down).status,
        Status::Met,
        "a minute that is not known is not held against it"
    );
    assert!(over_the_hour(UP, &down).uncertain, "but it could have been bad");
    down.down.push((10 * MINUTE, 11 * MINUTE));
    let verdict = over_the_hour(UP, &down);
    assert_eq!((verdict.status, verdict.bad_us), (Status::Missed, Some(MINUTE)));
    assert!((verdict.actual.unwrap() - 59.0 / 60.0).abs() < 1e-12, "{verdict:?}");

    let late =
        hour(|n| minute(n, if n == 7 { &[(90, 20.0), (10, 900.0)] } else { &[(100, 20.0)] }));
    assert_eq!(over_the_hour(UP, &late).status, Status::Missed);
    // One late answer among others is no bad minute.
    let one = hour(|n| minute(n, if n == 7 { &[(9, 20.0), (1, 900.0)] } else { &[(9, 20.0)] }));
    assert_eq!(over_the_hour(UP, &one).status, Status::Met);
    let only = hour(|n| minute(n, if n == 7 { &[(1, 900.0)] } else { &[(9, 20.0)] }));
    assert_eq!(over_the_hour(UP, &only).status, Status::Missed);
}

#[test]
fn who_gets_no_answer_finds_it_not_available() {
    // As if for an hour every statement, or some of them, ended with an error.
    let failing = |answered: u64, failed: u64, perhaps: u64| {
        let errors = Errors { errors: failed, of: answered + failed };
        let failed_perhaps = Errors { errors: perhaps, of: perhaps };
        let row =
            move |n| Row { errors: Some(errors), failed_perhaps, ..minute(n, &[(answered, 20.0)]) };
        over_the_hour(UP, &hour(row))
    };
    let out = failing(0, 53, 0);
    assert_eq!(
        (out.status, out.actual, out.executions),
        (Status::Missed, Some(0.0), Some(60 * 53))
    );
    assert_eq!(failing(40, 60, 0).status, Status::Missed);
    // Fewer failures than answers are a matter of errors.
    assert_eq!(failing(60, 40, 0).status, Status::Met);
    // Whose failures they were is not known.
    assert_eq!(failing(40, 0, 60).status, Status::NoData);
    assert_eq!(failing(60, 0, 40).status, Status::Met);
    // Nobody knows whose the errors were that nobody heard of, nor how many.
    let why = "errors are hidden";
    let hidden = |unseen| History {
        no_errors: Some(why.to_owned()),
        ..hour(|n| Row { errors: None, unseen, ..minute(n, &[(90, 20.0)]) })
    };
    for unseen in [0, 100] {
        let verdict = over_the_hour(UP, &hidden(unseen));
        assert_eq!((verdict.status, verdict.detail().as_str()), (Status::NoData, why));
    }
    let late = History {
        no_errors: Some(why.to_owned()),
        ..hour(|n| Row { errors: None, ..minute(n, &[(90, 900.0)]) })
    };
    assert_eq!(over_the_hour(UP, &late).status, Status::Missed, "whatever failed besides");
}

#[test]
fn nobody_asking_is_available_if_the_server_was_known_to_be_up() {
    let idle = |known: bool| {
        hour(|n| Row { latency: None, at_most: known.then_some(0), ..minute(n, &[]) })
    };
    assert_eq!(over_the_hour(UP, &idle(true)).status, Status::Met);
    assert_eq!(over_the_hour(UP, &idle(false)).status, Status::NoData);
    let quiet = Row {
        quiet_us: 59 * MINUTE,
        since_us: 0,
        until_us: 60 * MINUTE,
        length_us: 60 * MINUTE,
        ..minute(0, &[(50, 900.0)])
    };
    let verdict = over_the_hour(UP, &History { rows: vec![quiet], ..History::default() });
    assert_eq!(verdict.bad_us, Some(MINUTE), "the quiet hour before a late minute was available");
    assert_eq!(over_the_hour(UP, &History::default()).status, Status::NoData);
}

#[test]
fn availability_is_judged_when_most_of_the_time_is_known() {
    let known = |minutes: usize| {
        let mut all = hour(|n| minute(n, &[(100, 20.0)]));
        let last = all.rows.pop().unwrap();
        all.rows.truncate(minutes);
        all.rows.push(last);
        over_the_hour(UP, &all)
    };
    assert_eq!(known(50).status, Status::Met);
    assert_eq!(known(20).status, Status::NoData);
    assert!(known(20).detail().contains("too little is known"), "{}", known(20).detail());
    // All of the window counts, not what lies between the first and the last that is known.
    let mut late = hour(|n| minute(n, &[(100, 20.0)]));
    late.rows.drain(..44);
    let verdict = over_the_hour(UP, &late);
    assert_eq!(verdict.status, Status::NoData);
    assert!(verdict.detail().contains("16 of 60 minutes are known"), "{}", verdict.detail());
    // And of a row that began long before, what lies in the window.
    let long = Row {
        quiet_us: 17 * MINUTE,
        since_us: 0,
        until_us: 18 * MINUTE,
        length_us: 18 * MINUTE,
        ..minute(0, &[(50, 20.0)])
    };
    let history = History { rows: vec![long], ..History::default() };
    let verdict = judge(&checkout(), UP, &history, 18 * MINUTE - 5_000_000, 18 * MINUTE);
    assert_eq!(
        (verdict.status, verdict.known_us, verdict.looked_at_us),
        (Status::Met, 5_000_000, 5_000_000)
    );
    // A recovery that a row covers is no time that is up.
    let mut crashed = hour(|n| minute(n, &[(100, 20.0)]));
    crashed.down.push((10 * MINUTE, 10 * MINUTE + MINUTE / 2));
    let verdict = over_the_hour(UP, &crashed);
    assert_eq!((verdict.bad_us, verdict.known_us), (Some(MINUTE / 2), 60 * MINUTE));
    // Its own promise of latency decides what is late.
    let mut quick = checkout();
    quick.targets = vec![Target::Latency { quantile: 0.5, limit_ms: 10.0 }, UP];
    let history = hour(|n| minute(n, &[(100, 20.0)]));
    assert_eq!(judge(&quick, UP, &history, 0, 60 * MINUTE).status, Status::Missed);
    assert_eq!(judge(&checkout(), UP, &history, 0, 60 * MINUTE).status, Status::Met);
}

#[test]
fn a_stretch_is_broken_by_a_good_minute_and_not_by_an_idle_one() {
    let bad: &[(u64, f64)] = &[(50, 900.0)];
    let good: &[(u64, f64)] = &[(50, 20.0)];
    let stretch = |minutes: &[&[(u64, f64)]]| {
        let rows = (0..).zip(minutes).map(|(n, of)| minute(n, of)).collect();
        longest(P95, 1.0, &History { rows, ..History::default() }, 0, 60 * MINUTE)
    };
    let five = stretch(&[good, bad, bad, bad, bad, bad, good]).unwrap();
    assert_eq!((five.since_us, five.until_us, five.executions), (MINUTE, 6 * MINUTE, 250));
    assert!(five.lasts(5 * MINUTE) && !five.lasts(6 * MINUTE));
    let four = stretch(&[bad, bad, bad, good, bad, bad, bad, bad]).unwrap();
    assert!(!four.lasts(5 * MINUTE) && four.lasts(4 * MINUTE), "{four:?}");
    let idle = stretch(&[bad, bad, &[], bad, bad, bad]).unwrap();
    assert!(idle.lasts(5 * MINUTE), "five of six: {idle:?}");
    let rare = stretch(&[bad, &[], &[], &[], &[], bad]).unwrap();
    assert!(!rare.lasts(2 * MINUTE), "{rare:?}");
    assert_eq!(stretch(&[good, good]), None);
    assert_eq!(stretch(&[]), None);
}

#[test]
fn names_and_values_read_well() {
    let name = |quantile: f64| Target::Latency { quantile, limit_ms: 1.0 }.name();
    assert_eq!([name(0.95), name(0.99), name(0.999), name(0.5)], ["p95", "p99", "p99.9", "p50"]);
    assert_eq!(P95.promise(), "at most 200 ms");
    assert_eq!(ERRORS.promise(), "at most 0.5 %");
    assert_eq!(UP.promise(), "at least 99.9 %");
    assert_eq!(Target::Throughput { per_second: 12.5 }.promise(), "at least 12.5/s");
    assert_eq!(UP.show(0.999_96), "99.996 %");
    assert_eq!(UP.show(0.999_999_9), "99.999 %", "not quite all is not all");
    assert_eq!(UP.show(1.0), "100 %");
    assert_eq!(ERRORS.show(0.000_001), "1.0e-4 %", "not quite none is not none");
    assert_eq!(Scope::Statement(7).words(), "statement 7");
}

#[test]
fn a_table_has_one_line_for_each() {
    let objective = Objective { name: "two\nlines".to_owned(), ..checkout() };
    let verdict = over_the_hour(P95, &hour(|n| minute(n, &[(100, 20.0)])));
    let table = Objective::table(&[(&objective, &verdict), (&objective, &verdict)]);
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(lines.len(), 3, "{table}");
    assert!(lines[0].starts_with("name       objective"), "{table}");
    assert!(lines[1].starts_with("two lines  p95") && lines[1].contains("  met  "), "{table}");
}

fn any_target() -> impl Strategy<Value = Target> {
    prop_oneof![
        (0.01..0.9999_f64, 0.001..4e6_f64)
            .prop_map(|(quantile, limit_ms)| Target::Latency { quantile, limit_ms }),
        (0.0..1.0_f64).prop_map(|ratio| Target::Errors { ratio }),
        (0.0..1e4_f64).prop_map(|per_second| Target::Throughput { per_second }),
        (0.0..1.0_f64).prop_map(|ratio| Target::Availability { ratio }),
    ]
}

fn any_row(n: i64) -> impl Strategy<Value = Row> {
    let of = proptest::collection::vec((0..300_u64, 1e-5..5e6_f64), 0..6);
    let uncounted = prop_oneof![Just(0), 0..200_u64];
    (of, 0..MINUTE, 0..50_u64, uncounted, any::<bool>(), any::<bool>(), any::<bool>()).prop_map(
        move |(of, quiet_us, errors, uncounted, timed, counted, failed)| {
            let row = minute(n, &of);
            let all = of.iter().map(|(count, _)| count).sum();
            Row {
                quiet_us,
                latency: row.latency.filter(|_| timed),
                uncounted,
                at_most: counted.then_some(all),
                errors: failed.then_some(Errors { errors: errors.min(all), of: all }),
                ..row
            }
        },
    )
}

fn any_history() -> impl Strategy<Value = History> {
    let rows: Vec<_> = (0..12).map(|n| proptest::option::of(any_row(n))).collect();
    let down = proptest::option::of((0..12 * MINUTE, 1..3 * MINUTE));
    (rows, down).prop_map(|(rows, down)| History {
        rows: rows.into_iter().flatten().collect(),
        down: down.into_iter().map(|(at, length)| (at, at + length)).collect(),
        ..History::default()
    })
}

proptest! {
    #[test]
    fn a_latency_is_met_when_its_percentile_is_and_its_budget_is_not_overdrawn(
        of in proptest::collection::vec((1..300_u64, 1e-5..5e6_f64), 1..8),
        quantile in 0.01..0.9999_f64,
        limit_ms in 0.001..4e6_f64,
    ) {
        let target = Target::Latency { quantile, limit_ms };
        let mut objective = checkout();
        objective.min_executions = 1;
        let history = History { rows: vec![minute(0, &of)], ..History::default() };
        let verdict = judge(&objective, target, &history, 0, MINUTE);
        let met = verdict.status == Status::Met;
        // Limits are whole nanoseconds.
        prop_assert_eq!(met, verdict.actual.unwrap() <= (limit_ms * 1e6).round() / 1e6, "{:?}", verdict);
        prop_assert_eq!(met, verdict.budget_left_ratio.unwrap() >= -1e-9, "{:?}", verdict);
        // What the client saw is surely within the bounds that are told.
        let mut exact: Vec<f64> = Vec::new();
        for (count, ms) in &of {
            exact.extend(std::iter::repeat_n((ms * 1e6).trunc() / 1e6, usize::try_from(*count).unwrap()));
        }
        exact.sort_by(f64::total_cmp);
        let rank = ((quantile * exact.len() as f64).ceil() as usize).clamp(1, exact.len());
        let true_value = exact[rank - 1];
        prop_assert!(verdict.low.unwrap() <= true_value * 1.000_001, "{:?}", verdict);
        prop_assert!(verdict.high.is_none_or(|high| high >= true_value * 0.999), "{:?} {}", verdict, true_value);
        if !verdict.uncertain && (true_value / limit_ms - 1.0).abs() > 0.002 {
            prop_assert_eq!(met, true_value <= limit_ms, "{:?} {}", verdict, true_value);
        }
    }

    #[test]
    fn how_time_is_cut_into_rows_does_not_matter(
        of in proptest::collection::vec((0..300_u64, 1e-5..5e6_f64), 2..8),
        target in any_target().prop_filter("shares of time are by the row", |t| !matches!(t, Target::Availability { .. })),
    ) {
        let whole = Row { length_us: 10 * MINUTE, until_us: 10 * MINUTE, ..minute(0, &of) };
        let (a, b) = of.split_at(of.len() / 2);
        let parts = [(0, a), (5, b)].map(|(at, of)| Row {
            length_us: 5 * MINUTE,
            since_us: at * MINUTE,
            until_us: (at + 5) * MINUTE,
            ..minute(0, of)
        });
        let judged = |rows: Vec<Row>| {
            let history = History { rows, ..History::default() };
            let v = judge(&checkout(), target, &history, 0, 10 * MINUTE);
            (v.status, v.actual, v.low, v.high, v.executions, v.budget_left_ratio, v.uncertain)
        };
        prop_assert_eq!(judged(vec![whole]), judged(parts.to_vec()));
    }

    #[test]
    fn what_passes_is_known_and_enough(target in any_target(), history in any_history()) {
        let objective = checkout();
        let verdict = judge(&objective, target, &history, 0, 12 * MINUTE);
        let has = |known: bool| known && verdict.known_us > 0;
        if verdict.status == Status::Met {
            prop_assert!(has(verdict.actual.is_some()), "{:?}", verdict);
            let counted = matches!(target, Target::Latency { .. } | Target::Errors { .. });
            prop_assert!(!counted || verdict.executions >= Some(100), "{:?}", verdict);
        }
        prop_assert!(!verdict.detail().is_empty());
        prop_assert!(verdict.burn.iter().flatten().all(|burn| *burn >= 0.0 && burn.is_finite()));
        prop_assert!(verdict.budget_left_ratio.is_none_or(|left| left <= 1.0));
        if let (Some(low), Some(actual), Target::Availability { .. }) = (verdict.low, verdict.actual, target) {
            prop_assert!(low <= actual + 1e-12 && actual <= verdict.high.unwrap() + 1e-12, "{:?}", verdict);
        }
    }

    #[test]
    fn a_stretch_holds_bad_rows_only_to_its_ends(history in any_history(), target in any_target()) {
        let Some(stretch) = longest(target, 1.0, &history, 0, 12 * MINUTE) else {
            let any_bad = history.rows.iter().any(|row| is_bad(row, target, 1.0) == Some(true));
            prop_assert!(!any_bad);
            return Ok(());
        };
        for row in history.within(stretch.since_us, stretch.until_us) {
            prop_assert_ne!(is_bad(row, target, 1.0), Some(false));
        }
        prop_assert!(stretch.bad_us <= stretch.length_us());
    }

    #[test]
    fn a_looser_limit_is_broken_no_more_often(row in any_row(0), factor in 1.0..5.0_f64) {
        for target in [P95, ERRORS, Target::Throughput { per_second: 2.0 }] {
            if is_bad(&row, target, factor) == Some(true) {
                prop_assert_eq!(is_bad(&row, target, 1.0), Some(true));
            }
        }
    }
}
