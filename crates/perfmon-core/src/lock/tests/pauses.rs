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

/// Clients that came back: process, when the message before came, and the one after the pause.
fn back(all: &[(i32, i64, i64)]) -> Comebacks {
    let one = |&(pid, before, at): &(i32, i64, i64)| Comeback { pid, before, at };
    Comebacks { all: all.iter().map(one).collect(), lost: false }
}

#[test]
fn a_pause_that_ends_with_its_transaction_is_as_long_as_it_was() {
    let ms = 1_000;
    // A second and a half each, looked at once a second, at every phase; then the session idles, or goes on with another
    // transaction, or waits for its client in that.
    for phase in (20..=1_000).step_by(20) {
        let (began, over) = (phase * ms, (phase + 1_500) * ms);
        let later = over + 100 * ms;
        let nexts = [
            session(1, State::Idle, over, 0),
            session(1, State::Active, over, over),
            session(1, State::InTransaction, later, later),
        ];
        for next in nexts {
            let (mut shared, mut tracker) = (shared(), Tracker::default());
            for at in (1..=4).map(|second| second * 1_000 * ms) {
                let paused = session(1, State::InTransaction, began, 5);
                let next = Session { since: next.since.min(at), ..next };
                tracker.begin(&mut shared, at);
                if at >= over {
                    // Another one's, an earlier one, and the one after the next.
                    let all = [(2, began, over), (1, 0, began - 1), (1, began - 9, over)];
                    tracker.comebacks(back(&[&all[..], &[(1, over, over + ms)]].concat()));
                }
                tracker.idles(&mut shared, &[if at < over { paused } else { next }], at);
            }
            let found = shared.idles.since(0);
            let first: Vec<(i64, u8)> = found
                .iter()
                .filter(|idle| idle.began == began)
                .map(|idle| (idle.ended - idle.began, idle.ending))
                .collect();
            assert_eq!(first, [(1_500 * ms, Ending::Finished as u8)], "{phase} {next:?}");
        }
    }
}

#[test]
fn who_came_back_is_told_once_and_the_oldest_are_lost() {
    let words: Vec<AtomicU64> = (0..comeback::WORDS).map(|_| AtomicU64::new(0)).collect();
    let board = comeback::Board::new(&words);
    assert_eq!((board.count(), board.between(0, 0).all.len()), (0, 0));
    let one = |at: i64| Comeback { pid: 7, before: at - 2_000_000, at };
    (1..=3).for_each(|at| board.post(one(at)));
    let found = board.between(1, board.count());
    assert_eq!((found.all, found.lost), (vec![one(2), one(3)], false));
    let many = comeback::PLACES as i64;
    (4..=many + 3).for_each(|at| board.post(one(at)));
    let found = board.between(2, board.count());
    assert_eq!((found.all.len(), found.all[0], found.lost), (comeback::PLACES, one(4), true));
}
