//! Reports of runs that pass, fail, overlap, and are compared.

use super::*;
use crate::objective::{History, Objective, Scope, Target, judge};
use crate::report::{StatementTimes, Times};

fn promise(target: Target, actual: Option<f64>, status: Status) -> Promise {
    let mut verdict = judge(&Objective::default(), target, &History::default(), 0, 1);
    (verdict.actual, verdict.status) = (actual, status);
    Promise {
        name: "check|out\n".to_owned(),
        scope: Scope::Database,
        since_us: 0,
        until_us: 1,
        verdict,
    }
}

fn p95(actual: f64, status: Status) -> Promise {
    promise(Target::Latency { quantile: 0.95, limit_ms: 200.0 }, Some(actual), status)
}

fn line(id: i64, p95_ms: f64) -> StatementTimes {
    let times = Times { calls: 100, p95_ms: Some(p95_ms), ..Times::default() };
    StatementTimes { statement_id: id, times, ..StatementTimes::default() }
}

fn lines(all: &[(i64, f64)]) -> Option<Latency> {
    let statements = all.iter().map(|(id, p95_ms)| line(*id, *p95_ms)).collect();
    Some(Latency { statements, ..Latency::default() })
}

fn ran(ids: &[i64]) -> Executed {
    Executed { ids: ids.iter().copied().collect(), are_all: true }
}

fn run() -> Run {
    Run {
        executed: ran(&[1, 2]),
        name: "nightly".to_owned(),
        database: "shop".to_owned(),
        until_us: 90_000_000,
        covered_us: 90_000_000,
        slow_ms: 100.0,
        objectives: vec![p95(20.0, Status::Met)],
        latency: lines(&[(1, 20.0), (2, 90.0)]),
        errors: Some(Errors::default()),
        ..Run::default()
    }
}

fn text(run: &Run, baseline: Option<&Run>) -> String {
    markdown(run, baseline, &|us| format!("<{us}>"))
}

#[test]
fn what_is_not_known_does_not_pass() {
    assert_eq!(run().outcome(), Outcome::Passed);
    let with = |status| {
        let objectives = vec![p95(20.0, Status::Met), p95(1.0, status)];
        Run { objectives, ..run() }.outcome()
    };
    assert_eq!(with(Status::Missed), Outcome::Failed);
    assert_eq!(with(Status::NoData), Outcome::Unclear);
    assert_eq!(with(Status::TooFew), Outcome::Unclear);
    assert_eq!(Run { objectives: Vec::new(), ..run() }.outcome(), Outcome::Unjudged);
}

#[test]
fn errors_of_a_part_do_not_pass() {
    let counted = |executions| {
        Some(Errors { executions, is_part: executions.is_none(), ..Errors::default() })
    };
    let kept = |scope, uncertain| {
        let mut kept = promise(Target::Errors { ratio: 0.01 }, Some(0.0), Status::Met);
        (kept.scope, kept.verdict.uncertain) = (scope, uncertain);
        kept
    };
    let of = |promise, executions| {
        let errors = counted(executions);
        let run = Run { objectives: vec![promise], errors, ..run() };
        (run.outcome(), text(&run, None))
    };
    assert_eq!(of(kept(Scope::Database, false), Some(900)).0, Outcome::Passed);
    for (promise, executions) in [
        (kept(Scope::Database, false), None),
        (kept(Scope::Cluster, false), None),
        (kept(Scope::Database, true), Some(900)),
        (kept(Scope::User("alice".to_owned()), true), Some(900)),
    ] {
        let (outcome, said) = of(promise, executions);
        assert_eq!(outcome, Outcome::Unclear, "{said}");
        assert!(said.contains("**unclear**") && !said.contains("**passed**"), "{said}");
    }
    // What nobody else does is nothing to her.
    assert_eq!(of(kept(Scope::User("alice".to_owned()), false), None).0, Outcome::Passed);
}

#[test]
fn a_report_says_what_is_missing_and_what_is_none() {
    let said = text(&run(), None);
    for words in
        ["# Test run: nightly", "**passed**", "1 of 1 objectives were met", "Nothing was changed"]
    {
        assert!(said.contains(words), "{words}: {said}");
    }
    assert_eq!(said.matches("\nNone of those with 5").count(), 1, "no slow statements: {said}");
    let part = Latency { is_part: true, ..lines(&[(1, 20.0)]).unwrap() };
    let said_of = |latency: Option<Latency>, slow: &[Slow]| {
        text(&Run { latency, slow: slow.to_vec(), ..run() }, None)
    };
    let said = said_of(Some(part.clone()), &[]);
    assert!(said.contains("executions or more that were timed;"), "{said}");
    assert!(said.contains("(all that was counted)") && said.contains("Not all that"), "{said}");
    let untimed = [Slow { statement_id: 7, mean_ms: Some(150.0), calls: 9, ..Slow::default() }];
    for latency in [Some(part), None] {
        let said = said_of(latency, &untimed);
        assert!(said.contains("Statement 7, p95 unknown, mean 150 ms, 9 calls"), "{said}");
    }
    let blind = Run {
        latency: None,
        uncounted: Some(Missing {
            problem: "not counted".to_owned(),
            fix: "add the library".to_owned(),
        }),
        errors: None,
        unfinished: true,
        overlapping: vec!["other".to_owned()],
        ..run()
    };
    let said = text(&blind, None);
    assert_eq!(said.matches("add the library").count(), 1, "{said}");
    assert!(said.contains("Not known: nothing of it was recorded"), "{said}");
    assert!(!said.contains("\nNone.\n"), "unknown is not none: {said}");
    assert!(
        said.contains("Unfinished: it goes on") && said.contains("At the same time: other"),
        "{said}"
    );
    assert!(said.lines().all(|line| line.chars().count() <= 100), "{said}");
}

#[test]
fn no_section_of_a_run_is_silently_lacking() {
    let none = Run { latency: None, uncounted: None, errors: None, ..run() };
    let sections = ["## Latency", "## Time by kind of command", "## Errors"];
    for (forgotten, why) in [
        (Vec::new(), "Not known: nothing of it was recorded during the run."),
        (vec![(0, 1)], "Not known, as what they were counted in is no longer kept."),
    ] {
        let said = text(&Run { forgotten, commands: Vec::new(), ..none.clone() }, None);
        for title in sections {
            assert!(said.contains(&format!("{title}\n\n{why}\n")), "{title}: {said}");
        }
    }
    let then = Missing { problem: "noted then: it was off".to_owned(), fix: String::new() };
    let said = text(&Run { commands: Vec::new(), uncommanded: Some(then), ..none }, None);
    let words = "Statements were not recorded in some of this time; noted then: it was off.";
    assert!(said.contains(words) && !said.contains("To fix it"), "{said}");
}

#[test]
fn a_part_of_what_was_executed_is_told_to_be_one() {
    let commands =
        vec![Command { command: Some("SELECT".to_owned()), calls: 151, ..Command::default() }];
    let part = Missing {
        problem: "not all that bob executed is counted".to_owned(),
        fix: "ALTER ROLE bob RESET compute_query_id;".to_owned(),
    };
    let said = text(&Run { commands, uncommanded: Some(part), ..run() }, None);
    let (_, told) = said.split_once("## Time by kind of command").unwrap();
    assert!(
        told.contains("Statements are missing: not all that bob executed is counted."),
        "{said}"
    );
    assert!(told.contains("To fix it: ALTER ROLE bob RESET compute_query_id;"), "{said}");
    assert!(told.contains("| SELECT ") && !told.contains("are not recorded"), "{said}");
}

#[test]
fn two_runs_are_compared_number_by_number() {
    let after = Run {
        objectives: vec![p95(40.0, Status::Met)],
        latency: lines(&[(1, 21.0), (2, 45.0), (3, 5.0)]),
        executed: ran(&[1, 2, 3]),
        ..run()
    };
    let words: Vec<(String, &str)> =
        pairs(&run(), &after).iter().map(|p| (p.name.clone(), p.word())).collect();
    let expected = [("check|out\n", "worse"), ("1", "same"), ("2", "better"), ("3", "new")];
    assert_eq!(words, expected.map(|(name, word)| (name.to_owned(), word)));
    let back: Vec<&str> = pairs(&after, &run()).iter().map(Pair::word).collect();
    assert_eq!(back, ["better", "worse", "same", "gone"]);
    // What ran and was not timed is not new, nor gone; nor what may have run.
    for executed in [ran(&[1, 2, 3]), Executed { are_all: false, ..ran(&[1, 2]) }] {
        let untimed = Run { executed, ..run() };
        for (one, other) in [(&untimed, &after), (&after, &untimed)] {
            let words: Vec<&str> = pairs(one, other).iter().map(Pair::word).collect();
            assert_eq!(words[3], "", "{words:?}");
        }
        assert!(text(&after, Some(&untimed)).contains("|  3 |    unknown |"));
    }
    let said = text(&after, Some(&run()));
    assert!(said.contains("Compared with: nightly") && said.contains("+100 % worse"), "{said}");
    // Availability and throughput are better when there is more.
    let up = |actual| promise(Target::Throughput { per_second: 1.0 }, Some(actual), Status::Met);
    let more = Run { objectives: vec![up(20.0)], latency: None, ..run() };
    let less = Run { objectives: vec![up(10.0)], latency: None, ..run() };
    assert_eq!(pairs(&less, &more)[0].word(), "better");
    assert_eq!(pairs(&more, &less)[0].word(), "worse");
}

#[test]
fn what_got_fast_is_looked_up_beyond_the_list() {
    let before = Run { p95_ms: [(1, 20.0), (2, 90.0), (3, 0.5)].into(), ..run() };
    let after = Run {
        latency: lines(&[(3, 50.0), (2, 45.0)]),
        p95_ms: [(1, 0.04), (2, 45.0), (3, 50.0)].into(),
        executed: ran(&[1, 2, 3]),
        ..run()
    };
    let told: Vec<(String, &str)> =
        pairs(&before, &after).into_iter().skip(1).map(|p| (p.name.clone(), p.word())).collect();
    let expected = [("3", "worse"), ("2", "better"), ("1", "better")];
    assert_eq!(told, expected.map(|(name, word)| (name.to_owned(), word)));
}

#[test]
fn of_many_statements_the_worst_and_the_best_are_shown() {
    let many = |slow: i64| {
        let all: Vec<(i64, f64)> =
            (1..=60).map(|id| (id, if id <= slow { 100.0 } else { 10.0 })).collect();
        let p95_ms = all.iter().copied().collect();
        let executed = ran(&(1..=60).collect::<Vec<_>>());
        Run { latency: lines(&all), p95_ms, executed, ..run() }
    };
    let (before, mut after) = (many(20), many(40));
    after.p95_ms.insert(60, 0.1);
    if let Some(latency) = &mut after.latency {
        latency.statements.retain(|line| line.statement_id != 60);
        latency.statements.push(line(61, 10.0));
        latency.statements.push(line(62, 10.0));
    }
    let said = text(&after, Some(&before));
    assert!(said.contains("| 60 |    10.0 ms |   0.10 ms |"), "{said}");
    assert!(said.contains("20 of 62 statements: those"), "{said}");
    for words in ["| 61 |", "| 62 |", "+900 % worse"] {
        assert!(said.contains(words), "{words}: {said}");
    }
}

#[test]
fn what_is_no_longer_kept_is_not_known() {
    let hour = 3_600_000_000;
    let gone = Run {
        latency: None,
        errors: None,
        covered_us: 0,
        forgotten: vec![(0, 90_000_000)],
        objectives: vec![promise(Target::Errors { ratio: 0.1 }, None, Status::NoData)],
        ..run()
    };
    let said = text(&gone, Some(&run()));
    for words in [
        "**unclear**",
        "Not known: 100.0 % of the time",
        "No longer kept: the intervals of 1 min 30 s",
    ] {
        assert!(said.contains(words), "{words}: {said}");
    }
    assert!(said.lines().all(|line| line.chars().count() <= 100), "{said}");
    // Of a long one its edges.
    let edges = Run {
        until_us: 10 * hour,
        covered_us: 9 * hour,
        forgotten: vec![(0, hour / 2), (9 * hour + hour / 2, 10 * hour)],
        ..run()
    };
    assert!((edges.unknown_ratio() - 0.1).abs() < 1e-9, "{}", edges.unknown_ratio());
    assert_eq!(edges.outcome(), Outcome::Unclear);
    // Nothing executed, and nothing kept, is not the same.
    let mut zero = p95(20.0, Status::NoData);
    (zero.verdict.actual, zero.verdict.executions) = (None, Some(0));
    let silent = Run { objectives: vec![zero], ..run() };
    assert_eq!(pairs(&silent, &run())[0].word(), "new");
    let gone = Run { forgotten: vec![(0, 90_000_000)], ..silent };
    assert_eq!(pairs(&gone, &run())[0].word(), "");
}

#[test]
fn a_run_that_did_not_pass_says_why_as_a_gate() {
    assert_eq!(run().failure(), None);
    let of = |objectives, covered_us| Run { objectives, covered_us, ..run() }.failure().unwrap();
    let whole = 90_000_000;
    let (why, table) = of(vec![p95(20.0, Status::Met), p95(300.0, Status::Missed)], whole);
    assert_eq!(why, "1 of 2 objectives were missed");
    assert!(table.contains("check|out") && table.contains("missed"), "{table}");
    assert_eq!(table.lines().count(), 3);
    let (why, _) = of(vec![p95(20.0, Status::TooFew)], whole);
    assert_eq!(why, "1 of 1 objectives could not be judged");
    let (why, table) = of(vec![p95(20.0, Status::Met)], whole / 2);
    assert_eq!(why, "not everything of it is known");
    assert!(table.ends_with("Not known: 50.0 % of the time of the run"), "{table}");
    assert_eq!(of(Vec::new(), whole).0, "nothing is promised");
}

#[test]
fn what_was_lost_of_a_run_stands_in_it_and_does_not_pass() {
    let gap = |since_s: i64, length_s: i64, subject: &str, kind: &str| Gap {
        since_us: since_s * 1_000_000,
        length_us: length_s * 1_000_000,
        subject: subject.to_owned(),
        kind: kind.to_owned(),
        detail: Some("told".to_owned()),
    };
    // What two lost at the same time is lost once; what lies outside of the run is not its.
    let gaps = vec![
        gap(-10, 19, "latency", "reset"),
        gap(5, 13, "failure", "reset"),
        gap(60, 5, "io", "reset"),
    ];
    let crashed = Run { gaps, quality: Some(1), ..run() };
    assert!((crashed.unknown_ratio() - 0.2).abs() < 1e-9, "{}", crashed.unknown_ratio());
    assert_eq!(crashed.outcome(), Outcome::Unclear);
    let said = text(&crashed, None);
    for words in ["**unclear**", "Not known: 20", "Quality: at least", "## Gaps", "| latency"] {
        assert!(said.contains(words), "{words}: {said}");
    }
    assert!(said.lines().all(|line| line.chars().count() <= 100), "{said}");
    let late = Run { gaps: vec![gap(0, 80, "all", "missed")], ..run() };
    assert_eq!(late.outcome(), Outcome::Passed, "all of it was counted, in one interval");
    // What is kept of all databases is nothing to a run that promises nothing of them.
    let moved = Run { gaps: vec![gap(-900, 1_000, "cluster", "reset")], ..run() };
    assert_eq!(moved.outcome(), Outcome::Passed);
    let mut of_all = p95(20.0, Status::Met);
    of_all.scope = Scope::Cluster;
    let promised = Run { objectives: vec![of_all], ..moved };
    assert_eq!(promised.outcome(), Outcome::Unclear);
    let part = Run { covered_us: 45_000_000, ..run() };
    assert_eq!((part.outcome(), part.unknown_ratio()), (Outcome::Unclear, 0.5));
    assert_eq!(Run { unfinished: true, ..part }.outcome(), Outcome::Passed);
    assert_eq!(Run { covered_us: 89_000_000, ..run() }.outcome(), Outcome::Passed);
}

#[test]
fn of_availability_what_is_missing_is_compared() {
    let run_of = |actual, status| {
        let up = promise(Target::Availability { ratio: 0.9 }, Some(actual), status);
        Run { objectives: vec![up], latency: None, ..run() }
    };
    let word = |before: (f64, Status), after: (f64, Status)| {
        pairs(&run_of(before.0, before.1), &run_of(after.0, after.1))[0].word()
    };
    let (met, missed) = (Status::Met, Status::Missed);
    assert_eq!(word((1.0, met), (0.928, met)), "worse");
    assert_eq!(word((0.928, met), (1.0, met)), "better");
    assert_eq!(word((0.95, met), (0.951, met)), "same");
    assert_eq!(word((1.0, met), (1.0, met)), "same");
    assert_eq!(word((0.901, met), (0.899, missed)), "worse", "kept no more");
    assert_eq!(word((0.899, missed), (0.901, met)), "better");
    // Of what was not judged nothing is said.
    assert_eq!(word((0.9, Status::NoData), (0.5, missed)), "");
    assert_eq!(word((1.0, met), (0.9, Status::TooFew)), "");
}

#[test]
fn the_same_as_json() {
    let said: serde_json::Value =
        serde_json::from_str(&json::json(&run(), Some(&run())).unwrap()).unwrap();
    assert_eq!(said["schema"], "pg_perfmon.run/1");
    assert_eq!(said["outcome"], "passed");
    assert_eq!(
        (said["unknown_ratio"].as_f64(), said["gaps"].as_array().unwrap().len()),
        (Some(0.0), 0)
    );
    assert_eq!(said["objectives"][0]["status"], "met");
    assert_eq!(said["compared"]["numbers"][0]["verdict"], "same");
    assert_eq!(said["errors"]["errors"], 0);
}

#[test]
fn names_stand_whole_beside_the_widest_targets() {
    let target = Target::Availability { ratio: 0.9999 };
    let mut broken = promise(target, Some(0.951), Status::Missed);
    broken.name = "checkout in all of Asia".to_owned();
    broken.scope = Scope::Cluster;
    broken.verdict.budget_left_ratio = Some(-43.02);
    broken.verdict.burn = [Some(0.014); 4];
    let mut said = String::new();
    promises::objectives(&mut said, &[broken], true);
    for words in ["checkout in all of Asia", "| min 99.99 %", "-4302 %", "0.014 |", "all databases"]
    {
        assert!(said.contains(words), "{words}: {said}");
    }
    assert!(said.lines().all(|line| line.chars().count() <= 100), "{said}");
}

#[test]
fn a_comparison_says_which_times_are_those_of_a_part() {
    let part = || {
        let latency = lines(&[(1, 25.0)]).map(|of| Latency { is_part: true, ..of });
        let why = Missing { problem: "capture was off".to_owned(), fix: String::new() };
        Run { name: "partly".to_owned(), latency, uncounted: Some(why), ..run() }
    };
    let words = "Not all of this is known: the times of run \"partly\" are those of a part";
    let one_line = |text: String| text.replace('\n', " ");
    assert!(one_line(text(&run(), Some(&part()))).contains(words));
    assert!(one_line(text(&part(), Some(&run()))).contains(words));
    assert!(!text(&run(), Some(&run())).contains("Not all of this is known"));
}
