//! Tests of the board, of which a whole one is too dear to fill with real databases, and of what samples read.

#[cfg(any(test, feature = "pg_test"))]
#[allow(clippy::unwrap_used, clippy::expect_used)]
#[pgrx::pg_schema]
mod tests {
    use pgrx::prelude::*;

    use perfmon_core::activity::{Kind, wait};

    use crate::worker::board::{Board, SLOTS, State};
    use crate::worker::sampling;

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

    /// A database that is visited before a lower one was looked into would take itself for the home database.
    #[pg_test]
    fn who_is_lowest_is_known_when_lower_ones_were_looked_into() {
        let mut board = empty();
        board.take_in(&databases(10, 3));
        let told = |board: &Board| [10, 11, 12].map(|database| board.is_lowest(database));
        assert_eq!(told(&board), [Some(true), None, None]);
        board.slot(10).unwrap().state = State::Absent;
        assert_eq!(told(&board), [Some(true), Some(true), None]);
        board.slot(11).unwrap().state = State::Present;
        assert_eq!(told(&board), [Some(true), Some(true), Some(false)]);
        // Nobody waits for one that could not be visited, nor for one above a known one.
        board.slot(10).unwrap().state = State::Unknown;
        board.slot(11).unwrap().home = true;
        assert_eq!(told(&board), [Some(true), Some(true), Some(false)]);
        board.slot(11).unwrap().state = State::Unknown;
        assert_eq!(told(&board), [Some(true), None, None]);
        board.slot(10).unwrap().retry_at = 1;
        assert_eq!(told(&board), [Some(true), Some(true), None]);
    }

    /// What is read from shared memory is what the server itself shows of processes that stay as they are.
    #[pg_test]
    fn processes_are_as_the_server_shows_them() {
        Spi::run("SET LOCAL stats_fetch_consistency = 'none'").unwrap();
        let shown = |pid: i32| {
            Spi::get_three::<String, String, String>(&format!(
                "SELECT backend_type, coalesce(wait_event_type, ''), coalesce(state, '')
                 FROM pg_stat_activity WHERE pid = {pid}"
            ))
        };
        let own = Spi::get_one::<i32>("SELECT pg_backend_pid()").unwrap().unwrap();
        let sessions = sampling::once();
        assert!(sessions.iter().all(|session| session.pid != own));
        let mut names = Vec::new();
        for session in &sessions {
            // The server tells workers of other libraries apart, which the kind does not.
            let is_worker = session.kind == Kind::Worker;
            if is_worker || wait::class(session.wait) != Some(wait::Class::Activity) {
                continue;
            }
            let Ok((Some(kind), Some(class), Some(state))) = shown(session.pid) else { continue };
            assert_eq!(kind, session.kind.name());
            assert_eq!((class.as_str(), state.as_str()), ("Activity", session.state.name()));
            names.push(kind);
        }
        for kind in ["checkpointer", "background writer", "walwriter", "autovacuum launcher"] {
            assert!(names.iter().any(|name| name == kind), "{kind} {names:?}");
        }
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
