//! `perfmon.snapshot()`: asks the launcher for a snapshot and waits until it is committed; without a
//! launcher takes it in the caller's own transaction.

use pgrx::pg_sys;

use super::{board, visit};
use crate::error::Error;
use crate::pg::extension::{self, Kept};
use crate::pg::{catalog, clock, session};
use crate::settings::{self, Capture};

/// What a caller wants who calls `snapshot()`.
const A_SNAPSHOT: &str = "a snapshot";

/// Longest wait for an answer.
const PATIENCE_MS: i64 = 60_000;

/// The same where the answer may be done without.
const FIRST_MS: i64 = 10_000;

/// Takes one snapshot of this database and returns its id.
pub(crate) fn snapshot() -> i64 {
    if session::in_recovery() {
        Error::read_only("cannot take a snapshot on a standby")
            .detail("The history is written by the primary and arrives here by replication.")
            .hint("Call perfmon.snapshot() on the primary.")
            .raise();
    }
    if launcher_lives() { by_launcher() } else { in_own_transaction() }
}

fn launcher_lives() -> bool {
    let pid = board::lock().map_or(0, |board| board.launcher_pid);
    // SAFETY: signal 0 only asks whether the process exists.
    pid != 0 && unsafe { libc::kill(pid, 0) } == 0
}

/// Orders a snapshot of this database; gives the number of the order.
fn order() -> Option<u64> {
    let ticket = board::lock().and_then(|mut board| {
        let slot = board.slot_or_new(session::database().to_u32())?;
        slot.asked += 1;
        slot.retry_at = 0;
        Some(slot.asked)
    });
    board::wake_launcher();
    ticket
}

fn is_answered(ticket: u64) -> bool {
    let database = session::database().to_u32();
    let answered = board::lock().and_then(|mut b| b.slot(database).map(|s| s.answered >= ticket));
    answered.unwrap_or(true)
}

/// Has a collector, where there is one, take a snapshot in a transaction of its own, for who can do without: it may fail, be
/// late, or not see the extension yet.
pub(super) fn have_snapshot() {
    if launcher_lives()
        && let Some(ticket) = order()
    {
        let is_starved = || board::lock().is_some_and(|board| board.starved);
        board::await_answer(FIRST_MS, || is_answered(ticket) || is_starved());
    }
}

fn by_launcher() -> i64 {
    let database = session::database().to_u32();
    let Some(ticket) = order() else { full().raise() };
    let is_starved = || board::lock().is_some_and(|board| board.starved);
    board::await_answer(PATIENCE_MS, || is_answered(ticket) || is_starved());
    let answered = is_answered(ticket);
    if !answered && is_starved() {
        // The launcher finds no free background worker; this session can do the work itself.
        return in_own_transaction();
    }
    let slot = board::lock().and_then(|mut board| board.slot(database).copied());
    match slot {
        Some(slot) if !answered => late(&slot).raise(),
        Some(slot) if slot.state == board::State::Absent => {
            Error::prerequisite("the collector does not see the extension in this database")
                .detail("It sees committed objects only.")
                .hint("Commit CREATE EXTENSION pg_perfmon first.")
                .raise()
        }
        Some(slot) if slot.failed && slot.message().as_deref() == Some(DROPPING) => {
            being_dropped().raise()
        }
        Some(slot) if slot.failed && slot.message().as_deref() == Some(TERMINATED) => {
            terminated().raise()
        }
        Some(slot) if slot.failed => Error::prerequisite("the snapshot failed")
            .detail(slot.message().unwrap_or_else(|| "The collector left no message.".to_owned()))
            .hint("See perfmon.status() and the server log.")
            .raise(),
        Some(slot) => {
            tell(slot.message());
            slot.snapshot_id
        }
        None => full().raise(),
    }
}

/// What could not be read is told to whoever asked.
fn tell(note: Option<String>) {
    if let Some(note) = note {
        pgrx::notice!("not everything was recorded: {note}");
    }
}

fn full() -> Error {
    Error::prerequisite("no more databases can be watched")
        .detail(format!("At most {} databases fit on the board.", board::SLOTS))
        .hint("Drop databases that are not needed.")
}

fn late(slot: &board::Slot) -> Error {
    let waited = format!("Waited {} seconds.", PATIENCE_MS / 1000);
    let detail = slot.message().map_or(waited.clone(), |m| format!("{waited} Last message: {m}"));
    Error::prerequisite("no collector answered in time").detail(detail).hint(
        "See perfmon.status(); look in pg_locks for a lock on this database, and for the pg_perfmon launcher in pg_stat_activity.",
    )
}

/// What holds while we work in a session of somebody's.
pub(super) fn own_settings() -> Vec<(&'static str, &'static str)> {
    // What we run is nested in a statement of the client's. Its errors are the client's: they are logged, and so
    // counted, before these settings are taken back.
    let capture = if settings::capture() == Capture::Off { "off" } else { "top" };
    vec![
        ("search_path", "pg_catalog, pg_temp"),
        ("pg_stat_statements.track", "none"),
        ("pg_perfmon.capture", capture),
        ("row_security", "off"),
        ("jit", "off"),
        ("default_tablespace", ""),
        ("default_table_access_method", "heap"),
    ]
}

fn in_own_transaction() -> i64 {
    must_be_writable("the snapshot is", A_SNAPSHOT);
    session::keep_freed_memory();
    let request = visit::Request {
        home: settings::home_database().is_none_or(|name| name == catalog::database_name()),
        started_cpu_us: clock::cpu_us(),
        ..visit::Request::default()
    };
    shielded(|| match visit::snapshot(&request) {
        Ok(mut stored) => {
            // There is no launcher to come back: the house is kept here, a few steps a call.
            for _ in 0..HOUSE_STEPS {
                if !stored.due {
                    break;
                }
                stored.due = visit::keep_house();
            }
            visit::evaluate_in_passing();
            tell(stored.note.take());
            stored.id
        }
        Err(error) => error.raise(),
    })
}

/// What a collector leaves on the board when somebody drops the extension.
pub(super) const DROPPING: &str = "the extension is being dropped";

fn being_dropped() -> Error {
    Error::busy("pg_perfmon is being dropped")
        .detail("Another session drops the extension, or waits to.")
        .hint("Ask again when that has ended. Sessions that wait for the lock are those of pg_locks with locktype 'object'.")
}

/// What a collector leaves on the board that somebody ended.
pub(super) const TERMINATED: &str =
    "the collector was terminated, as pg_terminate_backend() and DROP DATABASE ... WITH (FORCE) do";

fn terminated() -> Error {
    Error::prerequisite("the snapshot failed")
        .detail(format!("While it was being taken, {TERMINATED}."))
        .hint("Call perfmon.snapshot() again: the launcher starts another collector.")
}

/// Keeps the extension from being dropped for as long as this transaction reads it.
pub(crate) fn keep_extension() -> Result<(), Error> {
    match extension::keep(super::EXTENSION) {
        Kept::Yes => Ok(()),
        Kept::Gone => {
            Err(Error::prerequisite("pg_perfmon is no longer installed in this database")
                .detail("Its history was dropped with it.")
                .hint("Run CREATE EXTENSION pg_perfmon to begin a new one."))
        }
        Kept::Busy => Err(being_dropped()),
    }
}

/// Refuses transactions in which nothing can be stored, or that cannot see what others stored.
pub(crate) fn must_be_writable(what_is: &str, a_thing: &str) {
    if session::in_recovery() {
        Error::read_only(format!("{a_thing} cannot be stored on a standby"))
            .detail("The history is written by the primary and arrives here by replication.")
            .hint("Do it on the primary.")
            .raise();
    }
    // Preloaded, a collector takes snapshots in transactions of its own.
    let or = match a_thing == A_SNAPSHOT && !board::exists() {
        true => ", or preload pg_perfmon",
        false => "",
    };
    // SAFETY: variables of this session's transaction.
    let (isolation, read_only) = unsafe { (pg_sys::XactIsoLevel, pg_sys::XactReadOnly) };
    if isolation >= pg_sys::XACT_REPEATABLE_READ as i32 {
        Error::prerequisite(format!(
            "{a_thing} needs a transaction at isolation level read committed"
        ))
        .detail("This one would not see what others committed meanwhile.")
        .hint(format!("Use BEGIN ISOLATION LEVEL READ COMMITTED{or}."))
        .raise();
    }
    if read_only {
        Error::read_only(format!("{a_thing} cannot be stored in a read-only transaction"))
            .detail(format!("Here, {what_is} written in the caller's transaction."))
            .hint(format!("Use SET TRANSACTION READ WRITE{or}."))
            .raise();
    }
    keep_extension().unwrap_or_else(|error| error.raise());
}

/// Refuses to work on SQL objects of another version.
pub(crate) fn must_match() -> Result<(), Error> {
    let installed = catalog::extension(super::EXTENSION).and_then(catalog::extension_version);
    match installed.as_deref() {
        Some(visit::LIBRARY_VERSION) => Ok(()),
        installed => Err(Error::prerequisite("pg_perfmon's library and SQL objects differ")
            .detail(visit::mismatch(installed.unwrap_or_default()))
            .hint("Run ALTER EXTENSION pg_perfmon UPDATE, or restart the server.")),
    }
}

/// Runs `body` beyond the reach of the session's settings.
pub(crate) fn shielded<R>(body: impl FnOnce() -> R) -> R {
    session::with_settings(&own_settings(), body)
}

/// Steps of housekeeping in one call: catching up must not make a call slow.
const HOUSE_STEPS: usize = 4;
