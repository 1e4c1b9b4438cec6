//! What the board says about this database, for `perfmon.status()`.

use super::board::{self, Slot};
use crate::error::Error;
use crate::pg::{catalog, session};
use crate::settings;

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

/// Whether this database keeps what belongs to the whole cluster.
pub(crate) fn is_home() -> bool {
    match (board::exists(), settings::home_database()) {
        (true, _) => read().slot.is_some_and(|slot| slot.home),
        (false, home) => home.is_none_or(|name| name == catalog::database_name()),
    }
}

/// Refuses what belongs to the whole cluster in any database but the home database, which keeps it.
pub(crate) fn must_be_home(what: &str) -> Result<(), Error> {
    if is_home() {
        return Ok(());
    }
    let home = settings::home_database().map_or_else(
        || "that of the lowest oid that has the extension".to_owned(),
        |name| format!("\"{name}\""),
    );
    Err(Error::prerequisite(format!("only the home database, {home}, keeps and judges {what}"))
        .detail("One database keeps what belongs to all of them.")
        .hint("perfmon.status() says there \"home database: here\"; pg_perfmon.database names it."))
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
