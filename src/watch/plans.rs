//! Plans of executions, in the hooks. An execution that took long, or whose plan the collector asked for, is counted
//! under its plan; a plan that was not seen before is printed and sent to the collector. All other executions pay for
//! two comparisons.

use perfmon_core::capture::mailbox::Letter;
use perfmon_core::capture::plan;
use perfmon_core::capture::statement::Times;
use perfmon_core::capture::table::Key;
use perfmon_core::plan::mask;

use super::memory::{self, Tables};
use crate::pg::execution::{self, Execution};
use crate::pg::explain::{Printed, Refusal};
use crate::settings;

/// Shortest time between two plans that one process prints, and that all print together, microseconds. A plan takes
/// about a millisecond.
const PAUSE_HERE_US: i64 = 200_000;
const PAUSE_ALL_US: i64 = 20_000;

struct State {
    /// A plan is being printed: nothing that runs meanwhile is looked at.
    busy: bool,
    /// When this process may print again.
    next_at: i64,
}

static mut STATE: State = State { busy: false, next_at: 0 };

fn state() -> *mut State {
    &raw mut STATE
}

/// Whether to look at an execution that was counted.
#[inline]
pub(super) fn is_due(times: &Times, (ns, read): (u64, bool)) -> bool {
    times.is_wanted(read) || ns >= settings::plan_min_ns()
}

/// Looks at an execution that was counted as one of a statement.
pub(super) fn look(statement: Key, times: &Times, (ns, read): (u64, bool), execution: Execution) {
    let wanted = times.is_wanted(read);
    let off = settings::plan_min_ns() > u64::MAX / 2;
    // SAFETY: a variable of this process, which has one thread.
    if off || unsafe { (*state()).busy } {
        times.looked_at(read);
        return;
    }
    let Some(tables) = memory::tables() else { return };
    let Some(fingerprint) = execution.fingerprint() else {
        times.looked_at(read);
        return;
    };
    let key = plan::key(statement, fingerprint);
    let place = tables.plans.place(key);
    // One that finds no place of its own waits until the coldest plans are forgotten.
    let Some(entry) = tables.plans.entry(place.entry).filter(|entry| entry.is_of(key)) else {
        return;
    };
    let now = execution::now_us();
    let us = ns / 1000;
    entry.payload.record(statement.what, now, us, wanted);
    if entry.payload.is_new() {
        match send(tables, execution, (statement, key), (now, us)) {
            Sent::Yes(plan) => entry.payload.sent(plan),
            // It stays wanted.
            Sent::Later => return,
            Sent::Never => {}
        }
    }
    if wanted {
        times.looked_at(read);
    }
}

/// What became of a plan.
enum Sent {
    Yes(i64),
    Later,
    Never,
}

fn send(
    tables: &Tables,
    execution: Execution,
    (statement, counted_as): (Key, Key),
    (now, us): (i64, u64),
) -> Sent {
    let unlimited = settings::plan_min_ns() == 0;
    // SAFETY: a variable of this process, which has one thread.
    let early = unsafe { now < (*state()).next_at && (*state()).next_at - now <= PAUSE_HERE_US };
    if !unlimited && early {
        tables.mailbox.hold_back();
        return Sent::Later;
    }
    if !unlimited && !tables.mailbox.may_print(now, PAUSE_ALL_US) {
        return Sent::Later;
    }
    // SAFETY: as above; printing does not panic, whatever fails in it.
    let printed = unsafe {
        (*state()).next_at = now + PAUSE_HERE_US;
        (*state()).busy = true;
        let printed = execution.print();
        (*state()).busy = false;
        printed
    };
    let constants = settings::plan_constants();
    let Printed { plan, text, json } = match printed {
        Ok(printed) => printed,
        Err(Refusal::Later) => return Sent::Later,
        Err(Refusal::Failed) => {
            tables.mailbox.fail();
            return Sent::Never;
        }
    };
    let (text, json) = if constants {
        (text, json)
    } else {
        let Some(masked) = mask::json(&json) else {
            tables.mailbox.fail();
            return Sent::Never;
        };
        (masked.text(&text).unwrap_or_default(), masked.json)
    };
    let mut letter = Letter { statement, counted_as, plan, at: now, us, constants, text, json };
    letter.fit();
    if tables.mailbox.send(&letter) { Sent::Yes(plan) } else { Sent::Later }
}
