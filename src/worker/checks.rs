//! Tests of the board, of which a whole one is too dear to fill with real databases.

#[cfg(any(test, feature = "pg_test"))]
#[allow(clippy::unwrap_used, clippy::expect_used)]
#[pgrx::pg_schema]
mod tests {
    use pgrx::prelude::*;

    use crate::worker::board::{Board, SLOTS, State};

    fn empty() -> Box<Board> {
        // SAFETY: the board says of itself that zero bytes are valid.
        unsafe { Box::new_zeroed().assume_init() }
    }

    fn databases(from: u32, count: usize) -> Vec<u32> {
        (from..).take(count).collect()
    }

    #[pg_test]
    fn databases_beyond_the_last_place_are_counted_until_there_is_one() {
        let mut board = empty();
        assert_eq!(board.take_in(&databases(10, SLOTS)), 0);
        assert_eq!(board.take_in(&databases(10, SLOTS + 37)), 37);
        assert_eq!(board.without_slot, 37);
        assert!(board.slot(10).is_some() && board.slot(10 + SLOTS as u32).is_none());
        // Who has a place keeps it; who comes first gets one that becomes free.
        board.slot(11).unwrap().state = State::Present;
        let mut left = databases(10, SLOTS + 37);
        left.remove(0);
        assert_eq!(board.take_in(&left), 36);
        assert_eq!(board.slot(11).unwrap().state, State::Present);
        let newcomer = board.slot(10 + SLOTS as u32).unwrap();
        assert_eq!(newcomer.state, State::Unknown);
        assert_eq!(board.take_in(&databases(10, 3)), 0);
        assert_eq!(board.slots.iter().filter(|slot| slot.database != 0).count(), 3);
    }

    #[pg_test]
    fn a_snapshot_says_nothing_about_housekeeping() {
        let mut board = empty();
        let slot = board.slot_or_new(10).unwrap();
        slot.set_house_message(&"ü".repeat(500));
        slot.set_message("");
        let kept = slot.house_message().unwrap();
        assert!(kept.len() <= 240 && kept.chars().all(|c| c == 'ü'), "{kept}");
        assert_eq!(slot.message(), None);
        slot.set_house_message("");
        assert_eq!(slot.house_message(), None);
    }
}
