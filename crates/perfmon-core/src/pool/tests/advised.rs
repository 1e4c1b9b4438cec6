//! How large pools need be, and what must not make them larger or smaller.

use super::super::advice::Counted;
use super::*;
use crate::activity::spread::{self, Spread};

#[test]
fn a_pool_need_be_as_large_as_it_is_busy() {
    let mut web = group(pool("app", "web"), 120, 9);
    let counted = Counted { transactions_per_s: 900.0, transaction_ms: 10.0 };
    let advise = |group: &Group, counted: Option<&Counted>| {
        advice::advise(group, counted, Some(9.0), Some(16.0), &thresholds())
    };
    let found = advise(&web, Some(&counted)).unwrap();
    assert_eq!((found.size, found.current, found.current_from), (12, 120, "peak"));
    assert_eq!((found.load, found.margin), (9.0, 2.25));
    assert_eq!((found.frees, found.by_cpus, found.doubtful), (108, false, false));
    assert!((found.factor - 120.0 / 9.0).abs() < 1e-9);
    assert_eq!(
        found.change(&web),
        "Set the pool to 12: 120 open at most, a load of 9.0 sessions at its height (9 busy in 99 % of samples, never \
         seen more than 9), and 2.2 for chance."
    );
    assert!(found.terms().contains("pool_size=10, max_overflow=2"), "{}", found.terms());
    // What Little's law contradicts is doubtful, and so is what nothing checks.
    let other = Counted { transaction_ms: 30.0, ..counted };
    assert!(advise(&web, Some(&other)).unwrap().doubtful);
    assert!(advise(&web, None).unwrap().doubtful);
    web.there = 10;
    assert_eq!(advise(&web, Some(&counted)), None);
}

/// A group as samples of so many busy sessions make it, in blocks of ten.
fn sampled(busy: &[u32]) -> Group {
    let spread = |numbers: &mut dyn Iterator<Item = u32>| {
        let mut spread = Spread::default();
        numbers.for_each(|number| spread.add(spread::place(number) as u8, 1));
        spread
    };
    let samples = busy.len() as u64;
    let all = spread(&mut busy.iter().copied());
    let average = |block: &[u32]| (block.iter().sum::<u32>() as f64 / 10.0).round() as u32;
    let blocks = spread(&mut busy.chunks(10).flat_map(|block| [average(block); 10]));
    let percentiles = |of: &Spread| advice::PERCENTILES.map(|(part, _)| of.quantile(part, samples));
    let mut web = group(pool("app", "web"), 60, 0);
    (web.samples, web.there) = (samples, samples);
    web.busy_percentiles = percentiles(&all);
    web.busy.p99 = web.busy_percentiles[4];
    web.busy.average = Some(f64::from(busy.iter().sum::<u32>()) / samples as f64);
    web.load = Some(advice::Blocks {
        percentiles: percentiles(&blocks),
        samples: 10.0,
        variance: [all.variance(samples).unwrap(), blocks.variance(samples).unwrap()],
    });
    web
}

#[test]
fn a_crowd_of_moments_is_no_load_and_one_that_stays_is() {
    let load =
        |group: &Group| advice::advise(group, None, None, Some(16.0), &thresholds()).unwrap().load;
    // Clients in step: for a third of the time 27, and nobody else; no sample knows of the one before.
    let mut dice = 1_u64;
    let mut thrown = || {
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        dice >> 33
    };
    let in_step: Vec<u32> = (0..3_600).map(|_| if thrown() % 3 == 0 { 27 } else { 0 }).collect();
    let mut web = sampled(&in_step);
    assert!((9.0..11.0).contains(&load(&web)), "{}", load(&web));
    web.load = None;
    assert!(load(&web) > 15.0, "single samples cannot tell: {}", load(&web));
    // The same numbers, but each lasts for a minute.
    let lasting: Vec<u32> = (0..3_600).map(|i| if i / 60 % 3 == 0 { 27 } else { 0 }).collect();
    let web = sampled(&lasting);
    assert!(load(&web) > 15.0, "{}", load(&web));
}

#[test]
fn sessions_that_wait_for_processors_do_not_count() {
    let mut web = group(pool("app", "web"), 100, 100);
    web.on_cpu = Some(98.0);
    web.limits =
        vec![Limit { kind: Kind::Declared, most: 100, used: 100.0, peak: None, idle: None }];
    let found = advice::advise(&web, None, None, Some(2.0), &thresholds()).unwrap();
    // Four, and half of the margin: what waits for a connection would wait for a processor.
    assert_eq!((found.size, found.by_cpus, found.current_from), (5, true, "declared"));
    let found = advice::advise(&web, None, None, None, &thresholds()).unwrap();
    assert_eq!(
        (found.size, found.by_cpus),
        (108, false),
        "without processors known, none is counted out"
    );
}

fn advice_of(group: &Group) -> advice::Advice {
    advice::advise(group, None, None, Some(16.0), &thresholds()).unwrap()
}

#[test]
fn time_without_the_pool_says_nothing_of_its_size() {
    // Three are always busy, for ten minutes of an hour.
    let mut job = group(pool("app", "job"), 3, 3);
    let part = |average: f64| Some(average / 6.0);
    (job.open.average, job.busy.average, job.on_cpu) = (part(3.0), part(3.0), part(3.0));
    (job.busy.p95, job.busy.p99, job.open.p95) = (Some(3.0), Some(3.0), Some(3.0));
    (job.there, job.open_there_p95) = (600, Some(3.0));
    let found = advice_of(&job);
    assert!(found.size >= 3 && found.load >= 2.5, "{found:?}");
    assert_eq!(found.factor, 1.0);
    // A minute of it is too little to say anything.
    job.there = 60;
    assert_eq!(advice::advise(&job, None, None, Some(16.0), &thresholds()), None);
    job.there = 0;
    assert_eq!(job.while_there(Some(0.0)), None);
}

#[test]
fn a_declared_size_that_is_exceeded_is_not_the_size() {
    let declared = |groups: &mut [Group]| {
        let size = Declared {
            name: "r".to_owned(),
            size: 10,
            application: Some("web".to_owned()),
            ..Declared::default()
        };
        Limits { declared: vec![size], ..Limits::default() }.judge(groups);
    };
    let mut groups = [group(pool("app", "web"), 43, 1)];
    declared(&mut groups);
    let found = advice_of(&groups[0]);
    assert_eq!((found.current, found.current_from), (43, "peak"));
    let said = found.change(&groups[0]);
    assert!(
        said.starts_with("Set the pool to 2: 43 open at most")
            && said.ends_with(" 10 is declared, which is not the size of this pool: 43 were open."),
        "{said}"
    );
    let limit = groups[0].binding().unwrap();
    assert_eq!((limit.kind.word(), limit.most), ("declared, exceeded", 10));
    // All of it is busy, but it is no limit.
    let mut busy = [group(pool("app", "web"), 43, 43)];
    declared(&mut busy);
    assert_eq!(Nearness::of(busy[0].binding().unwrap(), &thresholds()), Nearness::Ok);
    let mut within = [group(pool("app", "web"), 10, 1)];
    declared(&mut within);
    let found = advice_of(&within[0]);
    assert_eq!((found.current, found.current_from), (10, "declared"));
    assert!(!found.change(&within[0]).contains("declared,"));
}

#[test]
fn sessions_that_wait_for_a_lock_are_no_load() {
    let mut web = group(pool("app", "web"), 60, 55);
    (web.on_lock, web.on_cpu) = (Some(54.0), Some(0.0));
    let found = advice_of(&web);
    assert_eq!((found.size, found.load, found.locked), (2, 1.0, 54.0));
    assert!(found.doubtful);
    let said = found.change(&web);
    assert!(
        said.ends_with(
            " Not counted: 54.0 that wait for locks on average (perfmon.blocking() says for whom)."
        ),
        "{said}"
    );
    // Of blocks it is known who waits: a load of 6, and for a tenth of the time 50 more that wait.
    let mut now_and_then =
        sampled(&(0..3_600).map(|i| if i % 600 < 60 { 56 } else { 6 }).collect::<Vec<u32>>());
    now_and_then.on_lock = Some(5.0);
    let steady = sampled(&[6; 3_600]);
    now_and_then.load = steady.load;
    let found = advice_of(&now_and_then);
    assert_eq!((found.load, found.size, found.doubtful), (6.0, 8, true));
    // Now and then one waits: that is not worth a word.
    let counted = Counted { transactions_per_s: 600.0, transaction_ms: 10.0 };
    let mut calm = steady;
    calm.on_lock = Some(0.01);
    let found = advice::advise(&calm, Some(&counted), Some(6.0), None, &thresholds()).unwrap();
    assert!(!found.doubtful && !found.change(&calm).contains("Not counted"), "{found:?}");
}

#[test]
fn who_does_not_say_what_it_does_may_be_busy() {
    // track_activities is off: samples find four that are open, and nothing else.
    let mut dark = group(pool("dark", "web"), 4, 0);
    dark.idle = steady(0);
    dark.hidden = Some(4.0);
    let dark = dark.as_far_as_told();
    assert_eq!(dark.busy, Figure::default());
    assert_eq!((dark.open.peak, dark.idle.average, dark.on_cpu), (Some(4), None, None));
    assert_eq!(advice::advise(&dark, None, None, Some(16.0), &thresholds()), None);
    assert!(Load::of(&dark, &dark, None).is_none());
    // Of one among many nobody knows.
    let counted = Counted { transactions_per_s: 600.0, transaction_ms: 10.0 };
    let advise = |group: &Group| {
        advice::advise(group, Some(&counted), Some(6.0), None, &thresholds()).unwrap()
    };
    let mut some = group(whose(Level::Database, "shop", ""), 20, 6);
    assert!(!advise(&some).doubtful);
    some.hidden = Some(2.0);
    let some = some.as_far_as_told();
    let found = advise(&some);
    assert!(found.doubtful && found.change(&some).contains("track_activities is off"), "{found:?}");
}
