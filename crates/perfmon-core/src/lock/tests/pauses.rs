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
