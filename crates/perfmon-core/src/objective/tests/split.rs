//! Intervals of which something is known of a part.

use super::*;

#[test]
fn an_hour_of_which_a_part_was_counted_is_known_in_part() {
    let mut row =
        Row { until_us: 60 * MINUTE, length_us: 60 * MINUTE, ..minute(0, &[(5000, 1.0)]) };
    let whole = History { rows: vec![row.clone()], ..History::default() };
    assert_eq!(over_the_hour(UP, &whole).status, Status::Met);
    assert_eq!(row.split(60 * MINUTE), None);
    let rest = row.split(40 * MINUTE).unwrap();
    assert_eq!((rest.since_us, rest.until_us, row.since_us), (0, 20 * MINUTE, 20 * MINUTE));
    assert_eq!(
        (rest.length_us, row.length_us, rest.latency.is_some()),
        (20 * MINUTE, 40 * MINUTE, false)
    );
    let parted = History { rows: vec![rest, row], ..History::default() };
    for target in [P95, ERRORS, UP] {
        let verdict = over_the_hour(target, &parted);
        assert_eq!((verdict.status, verdict.known_us), (Status::NoData, 40 * MINUTE), "{target:?}");
    }
}
