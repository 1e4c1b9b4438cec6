//! What a hint promises, and what is promised nothing.

use super::*;

#[test]
fn no_more_blocks_are_told_than_are_read_now() {
    let better = Some("created_at >= $1".to_owned());
    let of = |rows: u64, tables: usize| {
        let mut facts =
            with(Form { better: better.clone(), ..form(FormKind::Dated { zoned: false }) });
        let s = third(&mut facts);
        s.rows = s.calls * rows;
        let others = (1..tables).map(|_| reading(2));
        s.shape.as_mut().expect("shape").tables.extend(others);
        facts
    };
    // 100,000 of a million rows, which lie side by side at best: a tenth of 5,000 blocks.
    let tenth = the(&DETECTOR, &of(100_000, 1), FUNCTION);
    assert!(
        tenth.gain.as_ref().expect("words").starts_with("About 510 blocks instead of 5,000"),
        "{tenth:?}"
    );
    let saved = tenth.impact.saved_ms_per_hour.expect("a promise");
    assert!((saved - 200_000.0 * (1.0 - 510.0 / 5000.0)).abs() < 1.0, "{saved}");
    silent(&DETECTOR, &of(690_000, 1), FUNCTION);
    // Of a join, nobody knows how many rows of the table are wanted.
    let joined = the(&DETECTOR, &of(2_000_000, 2), FUNCTION);
    assert_eq!(joined.impact.saved_ms_per_hour, None);
    assert!(
        joined.gain.as_ref().expect("words").contains("touches 5,000 blocks now"),
        "{joined:?}"
    );
}

#[test]
fn what_explains_a_statement_gets_no_hint() {
    let better = Some("created_at >= $1".to_owned());
    let mut facts = with(Form { better, ..form(FormKind::Dated { zoned: false }) });
    the(&DETECTOR, &facts, FUNCTION);
    third(&mut facts).command = Some("EXPLAIN".to_owned());
    silent(&DETECTOR, &facts, FUNCTION);
}
