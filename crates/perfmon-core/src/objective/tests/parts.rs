//! What is known of a part of the time only, and time without a server.

use super::*;

#[test]
fn throughput_is_by_the_time_that_is_known() {
    let target = |per_second| Target::Throughput { per_second };
    let history = hour(|n| minute(n, &[(600, 1.0)]));
    let kept = over_the_hour(target(10.0), &history);
    assert_eq!((kept.status, kept.actual, kept.budget_left_ratio), (Status::Met, Some(10.0), None));
    assert_eq!(kept.burn, [None; 4]);
    let broken = over_the_hour(target(10.1), &history);
    assert_eq!((broken.status, broken.bad_us), (Status::Missed, Some(60 * MINUTE)));
    // No execution is a throughput; no record is none.
    let idle = hour(|n| minute(n, &[]));
    assert_eq!(over_the_hour(target(0.1), &idle).status, Status::Missed);
    assert_eq!(over_the_hour(target(0.1), &History::default()).status, Status::NoData);
    // Half of the hour is missing, if only as the history is young: the other half does not tell of it.
    let half = History { rows: history.rows[30..].to_vec(), ..History::default() };
    let of_half = |per_second| over_the_hour(target(per_second), &half);
    assert_eq!((of_half(10.0).status, of_half(10.0).actual), (Status::NoData, Some(10.0)));
    let detail = of_half(10.0).detail();
    assert_eq!(detail, "too little is known of this time; 30 of 60 minutes are known");
    // But what is known may be enough for all.
    assert_eq!((of_half(5.0).status, of_half(5.0).uncertain), (Status::Met, false));
}

#[test]
fn what_may_have_begun_and_ended_transactions_only_meets_no_throughput() {
    let target = |per_second| Target::Throughput { per_second };
    let bounded = |n| Row { latency: None, at_most: Some(600), ..minute(n, &[]) };
    let verdict = over_the_hour(target(5.0), &hour(bounded));
    assert_eq!((verdict.status, verdict.actual), (Status::NoData, None));
    // With some that is known, what there was at most may be too little.
    let part = hour(|n| if n < 30 { bounded(n) } else { minute(n, &[(600, 1.0)]) });
    assert_eq!(over_the_hour(target(11.0), &part).status, Status::Missed);
    assert_eq!(over_the_hour(target(9.0), &part).status, Status::NoData);
    assert_eq!(over_the_hour(target(5.0), &part).status, Status::Met);
    // Nothing at all is known to be nothing.
    let none = hour(|n| Row { latency: None, at_most: Some(0), ..minute(n, &[]) });
    assert_eq!(over_the_hour(target(0.1), &none).status, Status::Missed);
}

#[test]
fn a_window_that_begins_in_quiet_time_takes_only_its_own_part_of_it() {
    let quiet = Row { quiet_us: 9 * MINUTE, ..minute(0, &[(600, 1.0)]) };
    let quiet = Row { until_us: 10 * MINUTE, length_us: 10 * MINUTE, ..quiet };
    let history = History { rows: vec![quiet], ..History::default() };
    let rate = |since| {
        let target = Target::Throughput { per_second: 1.0 };
        judge(&checkout(), target, &history, since, 10 * MINUTE).actual
    };
    assert_eq!(rate(8 * MINUTE), Some(5.0));
    assert_eq!(rate(9 * MINUTE), Some(10.0));
    // Where it begins among the work, all of that counts, with its time.
    assert_eq!(rate(9 * MINUTE + MINUTE / 2), Some(10.0));
    assert_eq!(rate(0), Some(1.0));
}

#[test]
fn a_throughput_of_a_few_known_minutes_is_not_that_of_the_hour() {
    let target = |per_second| Target::Throughput { per_second };
    let unknown = |n| Row { latency: None, ..minute(n, &[]) };
    // Busy for six minutes; of the others nobody knows whether there was anything.
    let busy = |minutes: i64| {
        hour(move |n| if n < minutes { minute(n, &[(600, 1.0)]) } else { unknown(n) })
    };
    let verdict = over_the_hour(target(5.0), &busy(6));
    assert_eq!(
        (verdict.status, verdict.actual, verdict.low),
        (Status::NoData, Some(10.0), Some(1.0))
    );
    let why = History { no_latency: Some("not counted, as so: SET it;".to_owned()), ..busy(6) };
    let detail = over_the_hour(target(5.0), &why).detail();
    assert_eq!(detail, "not counted, as so: SET it; 6 of 60 minutes are known");
    // What is known is enough, whatever the rest was.
    let verdict = over_the_hour(target(1.0), &busy(6));
    assert_eq!((verdict.status, verdict.uncertain), (Status::Met, false));
    // Most is known: judged by that, and said to be doubtful where the rest could turn it.
    let verdict = over_the_hour(target(9.5), &busy(54));
    assert_eq!((verdict.status, verdict.uncertain), (Status::Met, true));
    assert!(verdict.detail().contains("uncertain"), "{}", verdict.detail());
    let verdict = over_the_hour(target(11.0), &busy(54));
    assert_eq!((verdict.status, verdict.uncertain), (Status::Missed, false));
}

#[test]
fn nothing_is_executed_without_a_server() {
    const SECOND: i64 = 1_000_000;
    // 3,000 executions in two seconds, and then no server for 25.
    let busy = Row { until_us: 2 * SECOND, length_us: 2 * SECOND, ..minute(0, &[(3_000, 1.0)]) };
    let down = vec![(2 * SECOND, 27 * SECOND)];
    let after = Row {
        since_us: 27 * SECOND,
        until_us: 30 * SECOND,
        length_us: 3 * SECOND,
        ..minute(0, &[])
    };
    let history = History { rows: vec![busy, after], down, ..History::default() };
    let judged = |per_second, until| {
        let target = Target::Throughput { per_second };
        judge(&checkout(), target, &history, 0, until * SECOND)
    };
    let missed = judged(500.0, 30);
    assert_eq!((missed.status, missed.actual), (Status::Missed, Some(100.0)));
    assert_eq!((missed.bad_us, missed.low), (Some(28 * SECOND), None));
    assert_eq!(judged(500.0, 27).status, Status::Missed);
    assert_eq!(judged(100.0, 30).status, Status::Met);
    // Without a server all the time.
    let target = Target::Throughput { per_second: 1.0 };
    let none = judge(&checkout(), target, &history, 3 * SECOND, 26 * SECOND);
    assert_eq!((none.status, none.actual), (Status::Missed, Some(0.0)));
}

#[test]
fn errors_of_a_part_are_not_those_of_all() {
    let row = |n, errors, known: bool| {
        let row = minute(n, &[(100, 1.0)]);
        let errors = Errors { errors, of: 100 };
        Row { errors: known.then_some(errors), ..row }
    };
    let with = |errors, known| over_the_hour(ERRORS, &hour(move |n| row(n, errors, n < known)));
    // Nothing failed in the minutes that are known.
    let few = with(0, 47);
    assert_eq!((few.status, few.actual), (Status::NoData, None));
    assert_eq!((few.budget_left_ratio, few.bad_us, few.burn[1]), (None, None, None));
    assert_eq!(
        few.detail(),
        "errors were not counted, as log_min_messages kept them from the hooks then, pg_perfmon.capture was off, or what was \
         executed found no place (pg_perfmon.max_routes); 47 of 60 minutes are known"
    );
    let most = with(0, 48);
    assert_eq!((most.status, most.uncertain), (Status::Met, true));
    assert!(most.detail().contains("uncertain"), "{}", most.detail());
    assert_eq!((with(0, 60).status, with(0, 60).uncertain), (Status::Met, false));
    // What is known to be missed is.
    assert_eq!((with(1, 10).status, with(1, 10).uncertain), (Status::Missed, false));

    // Most of the time is known, but not of what was executed in it.
    let burst = Row { errors: None, ..minute(9, &[(5_000, 1.0)]) };
    let rows: Vec<Row> = (0..9).map(|n| row(n, 0, true)).chain([burst]).collect();
    let history = History { rows, ..History::default() };
    assert_eq!(judge(&checkout(), ERRORS, &history, 0, 10 * MINUTE).status, Status::NoData);
    // Nor does quiet time tell of the time in which something was executed.
    let quiet = |n| Row { quiet_us: MINUTE, ..minute(n, &[]) };
    let told = |n| row(n, 0, n == 58);
    let history = hour(|n| if n < 58 { quiet(n) } else { told(n) });
    assert_eq!(over_the_hour(ERRORS, &history).status, Status::NoData);

    // Intervals are missing: before all others, without a server, and while there was one.
    let rows: Vec<Row> = (30..60).map(|n| row(n, 0, true)).collect();
    let young = History { rows: rows.clone(), ..History::default() };
    assert_eq!(over_the_hour(ERRORS, &young).status, Status::Met);
    let rows: Vec<Row> =
        rows.into_iter().filter(|row| !(40..50).contains(&(row.since_us / MINUTE))).collect();
    let hole = History { rows: rows.clone(), ..History::default() };
    assert_eq!(over_the_hour(ERRORS, &hole).status, Status::NoData);
    let down = History { rows, down: vec![(40 * MINUTE, 50 * MINUTE)], ..History::default() };
    assert_eq!(over_the_hour(ERRORS, &down).status, Status::Met);
}

#[test]
fn times_of_a_part_are_not_those_of_all() {
    let off = |n, at_most| Row { latency: None, errors: None, at_most, ..minute(n, &[]) };
    let with = |known: i64, at_most| {
        let row = move |n| if n < known { minute(n, &[(100, 20.0)]) } else { off(n, at_most) };
        hour(row)
    };
    // Nobody but the hooks counts what the cluster executes.
    assert_eq!(over_the_hour(P95, &with(48, None)).status, Status::Met);
    let part = over_the_hour(P95, &with(47, None));
    assert_eq!((part.status, part.executions), (Status::NoData, Some(4_700)));
    assert_eq!((part.actual, part.budget_left_ratio, part.bad_us), (None, None, None));
    assert_eq!(part.burn, [None; 4]);
    assert!(part.detail().starts_with("nothing was counted then"), "{}", part.detail());
    // Few are not too few where most is not known.
    let few = |n| if n == 0 { minute(n, &[(9, 20.0)]) } else { off(n, None) };
    assert_eq!(over_the_hour(P95, &hour(few)).status, Status::NoData);
    // It is known that nothing else was executed, or that nothing happened.
    assert_eq!(over_the_hour(P95, &with(10, Some(0))).status, Status::Met);
    let quiet = |n| Row { quiet_us: MINUTE, ..off(n, None) };
    let idle = hour(|n| if n < 59 { quiet(n) } else { minute(n, &[(100, 20.0)]) });
    assert_eq!(over_the_hour(P95, &idle).status, Status::Met);
    // What is late stays late.
    let late = |n| if n < 10 { minute(n, &[(80, 20.0), (20, 900.0)]) } else { off(n, None) };
    let late = over_the_hour(P95, &hour(late));
    assert_eq!((late.status, late.bad_us), (Status::Missed, Some(10 * MINUTE)));
    assert!(late.burn[1].is_some_and(|burn| burn > 1.0), "{late:?}");
    // Nor was the server available all the time because it was in a part of it.
    let up = over_the_hour(UP, &with(20, None));
    assert_eq!((up.status, up.actual, up.low), (Status::NoData, None, Some(1.0 / 3.0)));
    assert_eq!((up.budget_left_ratio, up.bad_us, up.burn), (None, None, [None; 4]));
}

#[test]
fn statements_that_failed_unseen_are_work_that_is_not_known() {
    let unseen = |n| Row { errors: None, unseen: 2_000, ..minute(n, &[]) };
    let history = hour(|n| if n == 30 { unseen(n) } else { minute(n, &[(100, 1.0)]) });
    assert_eq!(over_the_hour(ERRORS, &history).status, Status::NoData);
    let few = |n| Row { errors: None, unseen: 20, ..minute(n, &[]) };
    let history = hour(|n| if n == 30 { few(n) } else { minute(n, &[(100, 1.0)]) });
    let verdict = over_the_hour(ERRORS, &history);
    assert!(verdict.status == Status::Met && verdict.uncertain, "{verdict:?}");
    // Few as they are beside all, they are more than may fail.
    let more = |n| Row { errors: None, unseen: 100, ..minute(n, &[]) };
    let history = hour(|n| if n == 30 { more(n) } else { minute(n, &[(100, 1.0)]) });
    assert_eq!(over_the_hour(ERRORS, &history).status, Status::NoData);
}

/// Minutes with so many executions in time, so many late, and so many of which only the number is known.
fn with_uncounted(quick: u64, late: u64, uncounted: u64) -> History {
    hour(move |n| Row { uncounted, ..minute(n, &[(quick, 1.0), (late, 900.0)]) })
}

#[test]
fn a_throughput_counts_what_was_executed_with_the_hooks_off() {
    let busy = Target::Throughput { per_second: 1.0 };
    let judged = |counted, uncounted| over_the_hour(busy, &with_uncounted(counted, 0, uncounted));
    assert_eq!(judged(50, 0).status, Status::Missed);
    assert_eq!(judged(50, 5).status, Status::Missed);
    let kept = judged(50, 10);
    assert_eq!((kept.status, kept.actual), (Status::Met, Some(1.0)));
    assert_eq!(judged(0, 60).status, Status::Met);
}

#[test]
fn what_was_not_timed_may_have_been_late_or_not() {
    let judged =
        |quick, late, uncounted| over_the_hour(P95, &with_uncounted(quick, late, uncounted)).status;
    assert_eq!(judged(100, 0, 5), Status::Met, "all of them late would be within the budget");
    assert_eq!(judged(100, 0, 6), Status::NoData);
    assert_eq!(judged(96, 4, 1), Status::Met);
    assert_eq!(judged(96, 4, 2), Status::NoData);
    assert_eq!(judged(90, 10, 99), Status::Missed, "nor would it be kept if all were in time");
    assert_eq!(judged(90, 10, 100), Status::NoData);
    assert_eq!(judged(0, 0, 100), Status::NoData);
    let detail = over_the_hour(P95, &with_uncounted(0, 0, 100)).detail();
    assert!(detail.starts_with("of 6000 executions only the number is known"), "{detail}");
    // Of whole intervals no time is known.
    let part = |many| {
        hour(move |n| match n {
            0 => Row { latency: None, executions: Some(many), ..minute(n, &[]) },
            _ => minute(n, &[(100, 1.0)]),
        })
    };
    assert_eq!(over_the_hour(P95, &part(300)).status, Status::Met);
    assert_eq!(over_the_hour(P95, &part(3_000)).status, Status::NoData);
}

#[test]
fn nothing_is_made_of_what_nobody_timed() {
    for target in [P95, UP, Target::Throughput { per_second: 5.0 }] {
        for unseen in
            [Row { uncounted: 100, ..Row::default() }, Row { perhaps: 400, ..Row::default() }]
        {
            let row =
                |n| Row { uncounted: unseen.uncounted, perhaps: unseen.perhaps, ..minute(n, &[]) };
            let of = over_the_hour(target, &hour(row));
            if matches!(target, Target::Throughput { .. }) && unseen.uncounted > 0 {
                assert_eq!((of.status, of.executions), (Status::Missed, Some(6_000)));
                continue;
            }
            assert_eq!(
                (of.status, of.actual, of.executions),
                (Status::NoData, None, None),
                "{of:?}"
            );
            assert_eq!(
                (of.bad_us, of.burn, of.budget_left_ratio),
                (None, [None; 4], None),
                "{of:?}"
            );
        }
    }
    // A percentile of a part lies between what it were if the rest were the shortest, and the longest.
    let told = |quick, late, uncounted| {
        let of = over_the_hour(P95, &with_uncounted(quick, late, uncounted));
        (of.actual.is_some(), of.low.map(f64::round), of.high.map(f64::round))
    };
    assert_eq!(told(2, 0, 500), (false, None, None));
    assert_eq!(told(100, 0, 5), (true, Some(1.0), Some(1.0)));
    assert_eq!(told(94, 4, 2), (true, Some(1.0), Some(900.0)));
    assert_eq!(told(90, 2, 20), (true, Some(1.0), None));
    // Where all were timed, what is told lies within, whatever the number.
    let median = Target::Latency { quantile: 0.5, limit_ms: 200.0 };
    for quick in 1..200 {
        let rows = vec![minute(0, &[(quick, 10.0), (quick - 1, 50.0)])];
        let of = judge(&checkout(), median, &History { rows, ..History::default() }, 0, MINUTE);
        assert!(of.low <= of.actual && of.actual <= of.high, "{quick}: {of:?}");
    }
    // The few that were timed tell of the most no good, but what they tell is no less bad.
    let burn = |quick, late| over_the_hour(P95, &with_uncounted(quick, late, 100)).burn;
    assert_eq!(burn(10, 0), [None; 4]);
    assert!(burn(0, 10).iter().all(|burn| burn.is_some_and(|burn| burn > 1.0)));
    assert_eq!(burn(400, 0), [Some(0.0); 4]);
}

#[test]
fn time_in_which_answers_may_have_been_late_is_not_known_to_be_good() {
    let judged =
        |quick, late, uncounted| over_the_hour(UP, &with_uncounted(quick, late, uncounted));
    assert_eq!(judged(100, 0, 5).status, Status::Met);
    let unknown = judged(100, 0, 20);
    assert_eq!((unknown.status, unknown.known_us), (Status::NoData, 0));
    assert!(unknown.detail().contains("pg_perfmon.capture was off"), "{}", unknown.detail());
    assert_eq!(judged(80, 20, 20).status, Status::Missed);
    let bad =
        |uncounted| is_bad(&Row { uncounted, ..minute(0, &[(90, 1.0), (10, 900.0)]) }, P95, 1.0);
    assert_eq!([bad(0), bad(99), bad(200)], [Some(true), Some(true), None]);
}

#[test]
fn what_was_not_counted_is_not_said_to_be_unrecorded() {
    let said = |target, row: &dyn Fn(i64) -> Row| over_the_hour(target, &hour(row)).detail();
    let hidden = |n| Row { errors: None, ..minute(n, &[(100, 1.0)]) };
    assert!(said(ERRORS, &hidden).starts_with("errors were not counted, as log_min_messages"));
    let off = |n| Row { errors: None, latency: None, ..minute(n, &[(100, 1.0)]) };
    for target in [ERRORS, P95] {
        let said = said(target, &off);
        assert!(
            said.starts_with("nothing was counted then, as pg_perfmon.capture was off"),
            "{said}"
        );
    }
    // Memory was full, and the hooks were on.
    let full = |n| Row { unplaced: 50, ..off(n) };
    for target in [ERRORS, P95] {
        let said = said(target, &full);
        assert!(said.contains("raise pg_perfmon.max_statements"), "{said}");
        assert!(!said.contains("capture"), "{said}");
    }
    // Of some intervals capture may be the reason.
    let both = |n| if n % 2 == 0 { off(n) } else { full(n) };
    for reason in ["pg_perfmon.capture was off", "raise pg_perfmon.max_statements"] {
        assert!(said(P95, &both).contains(reason));
    }
}

#[test]
fn what_a_user_executed_unseen_is_not_known_of_its_statement() {
    let of_one = Objective { scope: Scope::Statement(7), ..checkout() };
    let judged = |target, perhaps| {
        let row = move |n| Row { perhaps, ..minute(n, &[(100, 1.0)]) };
        judge(&of_one, target, &hour(row), 0, 60 * MINUTE)
    };
    assert_eq!(judged(P95, 0).status, Status::Met);
    let unseen = judged(P95, 400);
    assert_eq!(unseen.status, Status::NoData);
    assert!(unseen.detail().contains("executions of its user"), "{}", unseen.detail());
    let busy = |perhaps| judged(Target::Throughput { per_second: 5.0 }, perhaps);
    assert_eq!((busy(0).status, busy(400).status), (Status::Missed, Status::NoData));
    // It lies between what was seen and all of it; which, nobody knows.
    let told = |v: &Verdict| (v.actual, v.executions, v.low, v.high);
    let (least, most) = (100.0 / 60.0, 500.0 / 60.0);
    assert_eq!(told(&busy(400)), (None, Some(6_000), Some(least), Some(most)));
    assert_eq!(told(&busy(100)), (None, Some(6_000), Some(least), Some(200.0 / 60.0)));
    // That none was seen is no number.
    let unseen = hour(|n| Row { perhaps: 400, ..minute(n, &[]) });
    let target = Target::Throughput { per_second: 5.0 };
    let unseen = judge(&of_one, target, &unseen, 0, 60 * MINUTE);
    assert_eq!(unseen.status, Status::NoData);
    assert_eq!(told(&unseen), (None, None, None, Some(400.0 / 60.0)));
    // Nor is it where what its user executed would be too little.
    let too_few = |seen, perhaps| {
        let row = move |n| Row { perhaps, ..minute(n, &[(seen, 1.0)]) };
        judge(&of_one, Target::Throughput { per_second: 1e3 }, &hour(row), 0, 60 * MINUTE)
    };
    let missed = too_few(0, 400);
    assert_eq!(
        (missed.status, told(&missed)),
        (Status::Missed, (None, None, None, Some(400.0 / 60.0)))
    );
    assert_eq!(missed.detail(), "6.67/s at most; not kept in 60 minutes");
    let missed = too_few(100, 400);
    assert_eq!(missed.actual, None);
    assert_eq!(
        missed.detail(),
        "6000 executions seen; between 1.67/s and 8.33/s; not kept in 60 minutes"
    );
    assert_eq!(too_few(400, 100).actual, Some(400.0 / 60.0), "most of them");
    // Nor is it where the rest is not even bounded, and the server was away for a while.
    let full = |n| Row { latency: None, at_most: Some(9), may_be_more: true, ..minute(n, &[]) };
    let away = History { down: vec![(0, 2 * MINUTE)], ..hour(full) };
    let away = judge(&of_one, target, &away, 0, 60 * MINUTE);
    assert_eq!((away.status, told(&away)), (Status::NoData, (None, None, None, None)));
}

#[test]
fn what_was_forgotten_bounds_nothing() {
    // Capture was off in the second half, and pg_stat_statements counted this much of it, or more.
    let judged = |target, counted, may_be_more| {
        let row = move |n| match n {
            0..30 => minute(n, &[(600, 1.0)]),
            _ => Row { latency: None, at_most: Some(counted), may_be_more, ..minute(n, &[]) },
        };
        over_the_hour(target, &hour(row)).status
    };
    for counted in [0, 10] {
        assert_eq!(judged(P95, counted, false), Status::Met);
        assert_eq!(judged(P95, counted, true), Status::NoData);
        let busy = Target::Throughput { per_second: 6.0 };
        assert_eq!(judged(busy, counted, false), Status::Missed);
        assert_eq!(judged(busy, counted, true), Status::NoData);
    }
}

#[test]
fn errors_of_a_user_are_told_by_its_routes_where_their_kinds_are_too_many() {
    let errors = |errors, of| Errors { errors, of };
    let failed = Failed { known: errors(2, 3), perhaps: errors(500, 600) };
    // All failed under its own routes, or may have under those of nobody.
    let of_user = |own, nobodys| failed.within(own, nobodys, failed.known).at_least(own);
    let exact = Failed { known: errors(10, 12), perhaps: errors(0, 0) };
    assert_eq!(of_user(errors(10, 12), errors(0, 0)), exact);
    let perhaps = Failed { known: errors(10, 12), perhaps: errors(5, 5) };
    assert_eq!(of_user(errors(10, 12), errors(5, 5)), perhaps);
    let none = Failed { known: errors(2, 3), perhaps: errors(0, 0) };
    assert_eq!(of_user(errors(2, 3), errors(0, 0)), none);
    // A statement's are no more than its user's that have no place.
    let of_one = failed.within(errors(40, 40), errors(1, 1), errors(30, 31));
    assert_eq!(of_one, Failed { known: errors(2, 3), perhaps: errors(11, 11) });
    // Where all found a place nothing more is made of it.
    let placed = Failed { known: errors(2, 3), perhaps: errors(0, 0) };
    assert_eq!(
        placed.within(errors(9, 9), errors(0, 0), errors(2, 3)).at_least(errors(9, 9)),
        placed
    );
}

#[test]
fn what_may_be_others_turns_a_promise_only_if_it_does_whoever_it_is() {
    let of_shop = Objective { scope: Scope::Application("shop".to_owned()), ..checkout() };
    let judged =
        |target, row: &dyn Fn(i64) -> Row| judge(&of_shop, target, &hour(row), 0, 60 * MINUTE);
    let with = |quick, late, perhaps| {
        move |n| Row { perhaps, ..minute(n, &[(quick, 1.0), (late, 900.0)]) }
    };
    let p95 = |quick, late, perhaps| judged(P95, &with(quick, late, perhaps));
    assert_eq!(p95(100, 0, 5).status, Status::Met);
    assert_eq!(p95(100, 0, 6).status, Status::NoData);
    assert_eq!(p95(80, 20, 20).status, Status::Missed);
    assert_eq!(p95(80, 20, 400).status, Status::NoData);
    // Known to be late, but perhaps too few.
    assert_eq!(p95(0, 1, 1).status, Status::NoData);
    let nothing = p95(0, 0, 100);
    assert_eq!(nothing.status, Status::NoData);
    assert!(nothing.detail().contains("pg_perfmon.max_routes"), "{}", nothing.detail());
    let up = judged(UP, &with(0, 0, 100));
    assert_eq!((up.status, up.known_us), (Status::NoData, 0));
    assert!(up.detail().contains("pg_perfmon.max_routes"), "{}", up.detail());
    let busy = |per_second, known, perhaps| {
        judged(Target::Throughput { per_second }, &with(known, 0, perhaps))
    };
    assert_eq!(busy(1.0, 60, 0).status, Status::Met);
    assert_eq!(busy(1.0, 30, 30).status, Status::NoData);
    assert_eq!(busy(1.0, 30, 20).status, Status::Missed);

    let errors = |known: (u64, u64), perhaps: (u64, u64)| {
        let errors = |(errors, of)| Errors { errors, of };
        let row = move |n| Row {
            errors: Some(errors(known)),
            failed_perhaps: errors(perhaps),
            ..minute(n, &[])
        };
        judged(Target::Errors { ratio: 0.1 }, &row)
    };
    assert_eq!(errors((0, 100), (5, 500)).status, Status::Met);
    let unknown = errors((0, 100), (20, 20));
    assert_eq!((unknown.status, unknown.actual), (Status::NoData, None));
    assert_eq!((unknown.low, unknown.high), (Some(0.0), Some(20.0 / 120.0)));
    assert_eq!((unknown.burn, unknown.budget_left_ratio), ([None; 4], None));
    assert!(unknown.detail().contains("pg_perfmon.max_routes"), "{}", unknown.detail());
    assert_eq!(errors((0, 0), (20, 20)).executions, None);
    assert_eq!(errors((20, 100), (0, 50)).status, Status::Missed);
    assert_eq!(errors((20, 100), (0, 150)).status, Status::NoData);
    assert_eq!(errors((0, 0), (20, 20)).status, Status::NoData);
    assert_eq!(errors((0, 1), (0, 100)).status, Status::NoData);
}
