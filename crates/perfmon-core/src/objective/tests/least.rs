//! Errors that are known where not all are.

use super::*;

#[test]
fn what_is_missed_by_the_errors_that_are_known_is_missed() {
    let heard = |errors, of| Errors { errors, of };
    let with = |failed: u64, most: u64, unseen: u64| {
        let row = move |n| Row {
            errors: None,
            heard: heard(failed, failed),
            unseen,
            ..minute(n, &[(most, 1.0)])
        };
        let history = History { rows: vec![row(0)], ..History::default() };
        judge(&checkout(), Target::Errors { ratio: 0.01 }, &history, 0, MINUTE)
    };
    let missed = with(900, 400, 1);
    assert_eq!(
        (missed.status, missed.actual, missed.executions),
        (Status::Missed, None, Some(1300))
    );
    assert_eq!((missed.low, missed.high), (Some(900.0 / 1301.0), None));
    assert_eq!((missed.budget_left_ratio, missed.bad_us), (None, Some(MINUTE)));
    assert!(missed.burn[0].is_some_and(|burn| burn > 60.0), "{missed:?}");
    assert_eq!(
        missed.detail(),
        "1300 executions seen; 69.2 % or more failed; not all errors are known; not kept in 1 minutes"
    );
    // All that was not heard may have ended well.
    assert_eq!(with(4, 400, 1).status, Status::NoData);
    assert_eq!(with(4, 400, 1).bad_us, None);
    assert_eq!(with(5, 400, 1).status, Status::Missed);
    assert_eq!(with(5, 400, 100).status, Status::NoData);
    // Too few are known to have been tried.
    assert_eq!(with(50, 40, 900).status, Status::NoData);

    let row = |n, of: u64, failed: Option<u64>| Row {
        errors: failed.map(|errors| heard(errors, of)),
        ..minute(n, &[(of, 1.0)])
    };
    let over = |rows: Vec<Row>| {
        let history = History {
            rows,
            no_errors: Some("not counted, as so: SET it;".to_owned()),
            ..History::default()
        };
        judge(&checkout(), Target::Errors { ratio: 0.1 }, &history, 0, 3 * MINUTE)
    };
    let hidden = |failed| Row { heard: heard(failed, failed), ..row(2, 100, None) };
    // Beside others of which all is known, or nothing.
    let missed = over(vec![row(0, 100, Some(0)), row(1, 200, Some(1)), hidden(60)]);
    assert_eq!((missed.status, missed.low), (Status::Missed, Some(61.0 / 460.0)));
    assert!(
        missed.detail().contains("further errors were not counted, as so: SET it;"),
        "{}",
        missed.detail()
    );
    assert_eq!(over(vec![row(0, 900, Some(0)), hidden(60)]).status, Status::NoData);
    let untold = Row { latency: None, ..row(1, 0, None) };
    let missed = over(vec![row(0, 100, Some(0)), untold, hidden(60)]);
    assert_eq!((missed.status, missed.low), (Status::Missed, None));
    // How much was tried is not known.
    let any = Row { latency: None, at_most: Some(9), may_be_more: true, ..hidden(60) };
    assert_eq!(over(vec![row(0, 100, Some(0)), any]).status, Status::NoData);

    // Where more is known to have failed than was answered nothing was available.
    let up = |failed, unseen| {
        let history = hour(|n| Row {
            unseen,
            heard: heard(failed, failed),
            errors: None,
            ..minute(n, &[(400, 1.0)])
        });
        over_the_hour(UP, &history).status
    };
    assert_eq!(
        [up(900, 1), up(400, 1), up(0, 900)],
        [Status::Missed, Status::NoData, Status::NoData]
    );
}
