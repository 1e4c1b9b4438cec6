//! Answers that did not come though somebody asked.

use super::*;
use crate::objective::Unanswered;

fn of(latency: &[(u64, f64)], unanswered: Unanswered) -> Verdict {
    let row = Row { unanswered, ..minute(0, latency) };
    let history = History { rows: vec![row], ..History::default() };
    judge(&checkout(), UP, &history, 0, MINUTE)
}

#[test]
fn whoever_was_refused_got_no_answer() {
    let refused =
        |refused, refused_perhaps| Unanswered { refused, refused_perhaps, ..Unanswered::default() };
    assert_eq!(of(&[], refused(0, 0)).status, Status::Met);
    let missed = of(&[], refused(300, 0));
    assert_eq!((missed.status, missed.bad_us), (Status::Missed, Some(MINUTE)));
    assert!(missed.detail().contains("300 connections refused"), "{}", missed.detail());
    assert_eq!(of(&[(1000, 1.0)], refused(300, 0)).status, Status::Met);
    assert_eq!(of(&[(100, 1.0)], refused(300, 0)).status, Status::Missed);
    let unknown = of(&[], refused(0, 300));
    assert_eq!(unknown.status, Status::NoData);
    assert!(unknown.detail().contains("may have been for others"), "{}", unknown.detail());
    assert_eq!(of(&[(1000, 1.0)], refused(0, 300)).status, Status::Met);
}

#[test]
fn whoever_waits_all_the_time_got_no_answer() {
    let at_work = |on_lock| Unanswered { at_work: true, on_lock, ..Unanswered::default() };
    let locked = of(&[], at_work(true));
    assert_eq!((locked.status, locked.locked_us), (Status::Missed, MINUTE));
    assert!(locked.detail().contains("waited for locks"), "{}", locked.detail());
    // A report that takes hours may be meant to.
    let long = of(&[], at_work(false));
    assert_eq!(long.status, Status::NoData);
    assert!(long.detail().contains("were at work"), "{}", long.detail());
    // Others got theirs.
    assert_eq!(of(&[(50, 1.0)], at_work(true)).status, Status::Met);
}
