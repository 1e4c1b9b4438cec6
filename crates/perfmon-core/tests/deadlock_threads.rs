//! Many write deadlocks to the board at once while somebody reads.

use std::sync::atomic::AtomicU64;

use perfmon_core::lock::deadlock::{Board, Member, PARTIES, WORDS};
use perfmon_core::lock::{Party, TUPLE_KIND, Tag};

fn member(pid: i32) -> Member {
    let mut party = Party::nobody(pid);
    party.queryid = -i64::from(pid);
    party.application = [u8::try_from(pid).unwrap_or(0); 64];
    Member { party, blocker: pid + 1, tag: Tag { database: 5, relation: 16_390, kind: TUPLE_KIND } }
}

#[test]
fn readers_never_see_half_of_a_record() {
    let words: Vec<AtomicU64> = (0..WORDS).map(|_| AtomicU64::new(0)).collect();
    let board = Board::new(&words);
    std::thread::scope(|scope| {
        let writers: Vec<_> = (1..4)
            .map(|pid| {
                scope.spawn(move || {
                    for _ in 0..2_000 {
                        board.post(i64::from(pid), &[Some(member(pid)); PARTIES]);
                    }
                })
            })
            .collect();
        while writers.iter().any(|writer| !writer.is_finished()) {
            for found in board.since(0) {
                let pid = i32::try_from(found.at).unwrap_or(0);
                assert!(found.members.iter().all(|m| *m == member(pid)), "{found:?}");
            }
        }
    });
    assert_eq!(board.count(), 6_000);
}
