//! Pauses that are shorter than the time between two samples.

use super::*;

#[test]
fn a_short_pause_is_not_as_long_as_until_the_end_of_a_later_transaction() {
    let ms = 1_000;
    let paused = session(1, State::InTransaction, 970 * ms, 5);
    let later = |state: State, transaction: i64| Session {
        since: 1_999 * ms,
        transaction,
        ..session(1, state, 0, 5)
    };
    // The next transaction, between two of them, and gone.
    let nexts = [
        vec![later(State::InTransaction, 1_990 * ms)],
        vec![later(State::Active, 1_990 * ms)],
        vec![later(State::Idle, 0)],
        vec![],
    ];
    for next in nexts {
        let (mut shared, mut tracker) = (shared(), Tracker::default());
        tracker.begin(&mut shared, 1_000 * ms);
        tracker.idles(&mut shared, std::slice::from_ref(&paused), 1_000 * ms);
        tracker.begin(&mut shared, 2_000 * ms);
        tracker.idles(&mut shared, &next, 2_000 * ms);
        assert_eq!(shared.idles.since(0), vec![], "30 ms were seen of it: {next:?}");
    }
}

#[test]
fn a_pause_that_ends_with_its_transaction_is_as_long_as_is_expected() {
    let ms = 1_000;
    // A second and a half each, looked at once a second, at every phase; then the session idles, or goes on with another transaction.
    let (mut count, mut all) = (0, 0);
    for phase in (20..=1_000).step_by(20) {
        let (began, over) = (phase * ms, (phase + 1_500) * ms);
        let after = [session(1, State::Idle, over, 0), session(1, State::Active, over, over)];
        let (mut shared, mut tracker) = (shared(), Tracker::default());
        for at in (1..=4).map(|second| second * 1_000 * ms) {
            let paused = session(1, State::InTransaction, began, 5);
            let now = if at < over { paused } else { after[(phase / 20 % 2) as usize].clone() };
            tracker.begin(&mut shared, at);
            tracker.idles(&mut shared, &[now], at);
        }
        let found = shared.idles.since(0);
        count += found.len();
        all += found.iter().map(|idle| idle.ended - idle.began).sum::<i64>();
    }
    assert_eq!(count, 50, "none is missed");
    let mean = all / 50 / ms;
    assert!((1_200..=1_500).contains(&mean), "{mean} ms");
}
