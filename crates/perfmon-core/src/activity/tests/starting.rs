//! Clients that have not said who they are.

use super::*;

#[test]
fn who_has_not_said_who_he_is_counts_for_the_server_alone() {
    let mut taker = Taker::new();
    let mut all = vec![session(1, State::Idle)];
    taker.take(&all);
    assert!(!taker.take(&all));
    all.extend((2..=9).map(|pid| Session::starting(pid, 0)));
    assert!(taker.take(&all), "they came");
    assert!(!taker.take(&all));
    let moved = Moved::between(None, &taker.read());
    let server = of_level(&moved, Level::Server)[0];
    assert_eq!(server.peaks[..4], [9, 0, 0, 1]);
    assert_eq!((server.sums[1], server.sums[6]), (4, 16), "idle, starting");
    assert_eq!(server.sums[11], 1, "those that came to be somebody's");
    for level in [Level::Database, Level::User, Level::Pool] {
        let groups = of_level(&moved, level);
        assert_eq!((groups.len(), groups[0].peaks[0]), (1, 1), "{level:?}");
    }
    assert!(taker.take(&all[..1]), "they left");
    // One is somebody's now.
    assert!(taker.take(&[all[0], session(2, State::Idle)]));
    let moved = Moved::between(None, &taker.read());
    assert_eq!(of_level(&moved, Level::Server)[0].sums[11], 2);
}
