//! Promises broken just long enough, beside those that are not.

use super::*;
use crate::detect::samples::{self, healthy};
use crate::histogram::{Latency, Sparse, bucket};
use crate::objective::{Errors, History, Objective, Row};

const MINUTE: i64 = 60_000_000;
const P95: Target = Target::Latency { quantile: 0.95, limit_ms: 200.0 };
const P99: Target = Target::Latency { quantile: 0.99, limit_ms: 500.0 };
const ERRORS: Target = Target::Errors { ratio: 0.005 };
const UP: Target = Target::Availability { ratio: 0.999 };

/// Six hours up to now, of minutes in each of which 100 executions took this long and so many failed.
fn facts(target: Target, each: impl Fn(i64) -> (f64, u64)) -> Facts {
    let mut facts = healthy();
    let until = facts.window.until_us;
    let row = |ago: i64| {
        let (ms, errors) = each(ago);
        let latency = Latency {
            cached: Sparse::new([(bucket((ms * 1e6) as u64) as u8, 100)]),
            ..Latency::default()
        };
        Row {
            since_us: until - (ago + 1) * MINUTE,
            until_us: until - ago * MINUTE,
            length_us: MINUTE,
            quiet_us: 0,
            latency: Some(latency),
            errors: Some(Errors { errors, of: 100 }),
            ..Row::default()
        }
    };
    let objective = Objective {
        name: "checkout".to_owned(),
        targets: vec![target],
        min_executions: 100,
        ..Objective::default()
    };
    let history = History { rows: (0..360).rev().map(row).collect(), ..History::default() };
    facts.objectives = Some(vec![Observed { objective, history }]);
    facts
}

fn found(facts: &Facts) -> Vec<Finding> {
    samples::found(&DETECTOR, facts)
}

fn severities(target: Target, each: impl Fn(i64) -> (f64, u64)) -> Vec<(String, Severity)> {
    found(&facts(target, each)).into_iter().map(|f| (f.kind, f.severity)).collect()
}

fn one(severity: Severity) -> Vec<(String, Severity)> {
    vec![(MISSED.to_owned(), severity)]
}

#[test]
fn a_p95_over_its_limit_for_five_minutes_warns() {
    let late = |minutes: i64, ms: f64| {
        move |ago: i64| (if (20..20 + minutes).contains(&ago) { ms } else { 20.0 }, 0)
    };
    assert_eq!(severities(P95, late(5, 300.0)), one(Severity::Warning));
    assert_eq!(severities(P95, late(4, 300.0)), []);
    assert_eq!(severities(P95, late(2, 600.0)), one(Severity::Critical));
    assert_eq!(severities(P95, late(1, 600.0)), []);
    assert_eq!(severities(P99, late(2, 600.0)), one(Severity::Critical));
    assert_eq!(severities(P99, late(60, 400.0)), []);
}

#[test]
fn what_it_says() {
    let mut ten = facts(P95, |ago| (if ago < 10 { 300.0 } else { 20.0 }, 0));
    ten.statements.as_mut().unwrap()[0].share_ratio = Some(0.6);
    let all = found(&ten);
    let [finding] = &all[..] else { panic!("{all:?}") };
    assert_eq!((finding.object.as_str(), finding.subject.as_str()), ("objective checkout", "p95"));
    let title = &finding.title;
    assert!(title.starts_with("Objective checkout: p95 was "), "{title}");
    assert!(title.ends_with(" ms for 10 minutes, promised is at most 200 ms"), "{title}");
    let decisive = finding.evidence.iter().find(|e| e.threshold.is_some()).unwrap();
    assert_eq!((decisive.threshold, decisive.samples), (Some(200.0), Some(1_000)));
    assert!(finding.cause.as_ref().unwrap().contains("statement 1"), "{finding:?}");
    let mut hostile = facts(P95, |_| (300.0, 0));
    hostile.objectives.as_mut().unwrap()[0].objective.name = "a\nb".to_owned();
    assert!(!found(&hostile)[0].title.contains('\n'));
}

#[test]
fn errors_warn_and_twice_as_many_are_critical() {
    let failing =
        |errors: u64, minutes: i64| move |ago: i64| (20.0, if ago < minutes { errors } else { 0 });
    let mut thresholds = facts(Target::Errors { ratio: 0.02 }, failing(3, 5));
    assert_eq!(found(&thresholds)[0].severity, Severity::Warning);
    thresholds = facts(Target::Errors { ratio: 0.02 }, failing(3, 4));
    assert_eq!(found(&thresholds), []);
    assert_eq!(severities(Target::Errors { ratio: 0.02 }, failing(5, 2)), one(Severity::Critical));
    assert_eq!(severities(ERRORS, failing(0, 60)), []);
}

#[test]
fn few_executions_are_no_evidence() {
    let mut few = facts(P95, |_| (300.0, 0));
    few.objectives.as_mut().unwrap()[0].objective.min_executions = 36_001;
    assert_eq!(found(&few), []);
    few.objectives.as_mut().unwrap()[0].objective.min_executions = 6_000;
    assert_eq!(found(&few).len(), 1);
}

#[test]
fn a_budget_that_burns_fast_is_told_when_nothing_else_is() {
    // Every other minute is late: never for long, but half of all executions.
    let every = |n: i64| move |ago: i64| (if ago % n == 0 { 900.0 } else { 20.0 }, 0);
    let burns = |severity| vec![(BURN.to_owned(), severity)];
    assert_eq!(severities(P95, every(2)), burns(Severity::Warning), "ten times as fast");
    assert_eq!(severities(P99, every(2)), burns(Severity::Critical), "fifty times");
    assert_eq!(severities(P95, every(4)), [], "five times");
    // Not enough of the six hours is known.
    let mut young = facts(P95, every(2));
    young.objectives.as_mut().unwrap()[0].history.rows.drain(..100);
    assert_eq!(found(&young), []);
}

#[test]
fn a_server_that_was_down_spends_the_budget_of_availability() {
    let down = |seconds: i64| {
        let mut facts = facts(UP, |_| (20.0, 0));
        let until = facts.window.until_us;
        let history = &mut facts.objectives.as_mut().unwrap()[0].history;
        history.rows.retain(|row| row.until_us != until - MINUTE);
        history.down.push((until - 2 * MINUTE, until - 2 * MINUTE + seconds * 1_000_000));
        facts
    };
    let found_kinds = |seconds: i64| -> Vec<String> {
        found(&down(seconds)).into_iter().map(|f| f.kind).collect()
    };
    assert_eq!(found_kinds(55), [BURN]);
    assert_eq!(found_kinds(40), [""; 0]);
}

#[test]
fn what_is_not_known_is_not_judged() {
    let unjudged = |facts: &Facts| {
        let mut judgement = Judgement::default();
        detect(facts, &Thresholds::default(), &mut judgement);
        assert_eq!(judgement.findings, []);
        judgement.unjudged
    };
    let mut none = healthy();
    assert_eq!(unjudged(&none), [""; 0], "nothing was promised");
    none.objectives = None;
    assert_eq!(unjudged(&none), [MISSED, BURN]);
    let mut blind = facts(P95, |_| (300.0, 0));
    for row in &mut blind.objectives.as_mut().unwrap()[0].history.rows {
        row.latency = None;
    }
    assert_eq!(unjudged(&blind), [MISSED, BURN]);
}
