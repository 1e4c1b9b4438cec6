//! What the board says about this database, for `perfmon.status()`.

use super::board::{self, Slot};
use crate::pg::session;

/// The worker's side of the status.
pub(crate) struct Status {
    /// The library was preloaded, so there is a board.
    pub(crate) preloaded: bool,
    /// Process id of the launcher, if one runs.
    pub(crate) launcher: Option<i32>,
    /// Collectors could not be started for want of a background worker.
    pub(crate) starved: bool,
    /// Databases that are not watched, since there is no place for more.
    pub(crate) without_slot: u32,
    /// What is known of this database; none before the launcher first saw it.
    pub(crate) slot: Option<Slot>,
    /// Databases on the board in which the extension is.
    pub(crate) watched: usize,
}

/// Reads the board.
pub(crate) fn read() -> Status {
    let mut status = Status {
        preloaded: board::exists(),
        launcher: None,
        starved: false,
        without_slot: 0,
        slot: None,
        watched: 0,
    };
    if let Some(mut board) = board::lock() {
        status.launcher = Some(board.launcher_pid).filter(|pid| *pid != 0);
        status.starved = board.starved;
        status.without_slot = board.without_slot;
        status.slot = board.slot(session::database().to_u32()).copied();
        status.watched = board
            .slots
            .iter()
            .filter(|slot| slot.database != 0 && slot.state == board::State::Present)
            .count();
    }
    // SAFETY: signal 0 only asks whether the process exists.
    status.launcher = status.launcher.filter(|pid| unsafe { libc::kill(*pid, 0) } == 0);
    status
}
