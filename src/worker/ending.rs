//! What becomes of a visit whose collector ended before it: whoever waits for it is told why, as far as that is known.

use pgrx::pg_sys;

use super::board::{self, Slot};
use super::{ask, launcher};
use crate::pg::txn::Caught;
use crate::pg::{clock, ending};

/// Notes that the calling process is the collector of a database, and why it ends, where it does before its visit.
pub(super) fn follow(database: pg_sys::Oid) {
    let database = database.to_u32();
    if let Some(mut board) = board::lock()
        && let Some(slot) = board.slot(database)
    {
        slot.collector = own_pid();
    }
    ending::follow(database, ended);
}

fn own_pid() -> i32 {
    // SAFETY: a variable of this process.
    unsafe { pg_sys::MyProcPid }
}

fn ended(database: u32, error: Option<Caught>) {
    // Without an error in the log the launcher says that it ended.
    let Some(error) = error else { return };
    let why = match error.is_terminated() {
        true => ask::TERMINATED.to_owned(),
        false => format!("the collector ended: {error}"),
    };
    let pid = own_pid();
    let is_told = board::lock().is_some_and(|mut board| {
        // One that came after this one, or who was given up, tells for itself.
        let slot = board.slot(database).filter(|slot| slot.collector == pid);
        slot.is_some_and(|slot| note(slot, &why))
    });
    if is_told {
        board::broadcast();
        board::wake_launcher();
    }
}

/// Notes of a database that the collector at work there ended before its visit did; says whether there was one.
pub(super) fn note(slot: &mut Slot, why: &str) -> bool {
    if !slot.running {
        return false;
    }
    slot.running = false;
    let steady = clock::steady_us();
    // What it was sent for.
    if std::mem::take(&mut slot.due) {
        slot.house_failures = slot.house_failures.saturating_add(1);
        slot.house_retry_at = steady + launcher::back_off_us(slot.house_failures);
        slot.set_house_message(why);
        return true;
    }
    slot.failed = true;
    slot.failures = slot.failures.saturating_add(1);
    slot.retry_at = steady + launcher::back_off_us(slot.failures);
    slot.answered = slot.asked;
    slot.set_message(why);
    true
}
