//! What the hooks count. Everything here runs in users' backends on the way of their statements: it reads fields
//! and adds to atomics, nothing else.

use std::sync::atomic::{AtomicBool, Ordering};

use perfmon_core::capture::cache::Cache;
use perfmon_core::capture::failure::{self, Class, State};
use perfmon_core::capture::statement::{NESTED, TOPLEVEL, Times};
use perfmon_core::capture::table::Key;
use perfmon_core::histogram::bucket;

use super::memory::{self, Tables};
use super::routes::{self, Ended};
use super::{plans, scans};
use crate::pg::execution::{self, Execution, Report};
use crate::pg::hooks::Observer;
use crate::settings::{self, Capture as Mode};

/// Something panicked in this process: it counts no more.
static BROKEN: AtomicBool = AtomicBool::new(false);

static mut CACHE: Cache = Cache::new();

/// The observer of executions, commands and errors.
pub(super) struct Capture;

impl Observer for Capture {
    #[inline]
    fn wants(nested: bool) -> bool {
        match settings::capture() {
            Mode::Off => false,
            Mode::Top => !nested && !execution::is_parallel_worker(),
            Mode::All => !execution::is_parallel_worker(),
        }
    }

    #[inline]
    fn passes(execution: Execution, nested: bool) -> bool {
        let query_id = execution.query_id();
        if query_id == 0 || scans::is_off() || !Self::wants(nested) {
            return true;
        }
        // SAFETY: this process has one thread, and nothing in here comes back to this line.
        let Some(cache) = (unsafe { (&raw mut CACHE).as_mut() }) else { return true };
        scans::passes(cache, key(query_id, nested))
    }

    fn looks_into(execution: Execution, nested: bool) -> bool {
        let query_id = execution.query_id();
        if BROKEN.load(Ordering::Relaxed) {
            return false;
        }
        let Some(tables) = memory::tables() else { return false };
        // SAFETY: this process has one thread, and nothing in here comes back to this line.
        let Some(cache) = (unsafe { (&raw mut CACHE).as_mut() }) else { return false };
        scans::is_due(cache, &tables.statements, key(query_id, nested))
    }

    #[inline]
    fn executed(execution: Execution, nested: bool) {
        let query_id = execution.query_id();
        if query_id == 0 || !Self::wants(nested) {
            return;
        }
        let Some((ns, read)) = execution.measured() else { return };
        // EXPLAIN starts the executor for the statement that it explains, and does not run it.
        if nested && execution.only_explained() {
            return;
        }
        if execution.is_looked_into()
            && let Some(tables) = memory::tables()
            && !BROKEN.load(Ordering::Relaxed)
        {
            scans::look(&tables.scans, execution, whose(), !nested);
        }
        let counted = count(query_id, (ns, read), nested, |tables, whose, bucket| {
            let text = execution.text_with_comment();
            routes::executed(&tables.routes, whose, text, bucket, || execution.is_lone_select());
        });
        if let Some((statement, times)) = counted {
            plans::executed(statement, times, (ns, read), execution);
        }
    }

    fn commanded(command: &execution::Ended, nested: bool) {
        if command.control {
            routes::forget_application();
        }
        count(command.query_id, (command.ns, command.read), nested, |tables, whose, bucket| {
            if !command.control && !execution::is_outside_of_portals() {
                routes::executed(&tables.routes, whose, Some(command.text), bucket, || false);
            }
        });
    }

    fn failed(report: &Report) {
        if settings::capture() != Mode::Off && !BROKEN.load(Ordering::Relaxed) {
            count_failure(report);
        }
    }

    #[cold]
    fn starts_on_its_own(execution: Execution) {
        if execution.query_id() != 0 && Self::wants(false) {
            routes::starts_on_its_own();
        }
    }

    #[inline]
    fn transaction_ends() -> Option<bool> {
        match routes::transaction_ends() {
            Ended::Counted => None,
            Ended::Uncounted => Some(true),
            Ended::Empty => Some(false),
        }
    }

    fn transaction_ended(text: Option<&[u8]>) {
        let Some(tables) = memory::tables().filter(|_| !BROKEN.load(Ordering::Relaxed)) else {
            return;
        };
        match text {
            None => routes::transaction_ended(&tables.routes),
            Some(text) if Self::wants(false) => {
                routes::part_ended(&tables.routes, whose(), text);
            }
            Some(_) => {}
        }
    }

    #[cold]
    fn panicked() {
        BROKEN.store(true, Ordering::Relaxed);
        if let Some(tables) = memory::tables() {
            tables.count_panic();
        }
    }
}

/// Database and user of this process now, as in [`Key`].
#[inline]
fn whose() -> u64 {
    u64::from(execution::database()) << 32 | u64::from(execution::user())
}

#[inline]
fn key(query_id: u64, nested: bool) -> Key {
    Key { what: query_id, whose: whose(), kind: if nested { NESTED } else { TOPLEVEL } }
}

/// Counts an execution by its time and whether it read blocks; one that is not nested under its route too. Gives
/// where it was counted.
#[inline]
fn count(
    query_id: u64,
    (ns, read): (u64, bool),
    nested: bool,
    route: impl FnOnce(&Tables, u64, usize),
) -> Option<(Key, &'static Times)> {
    if BROKEN.load(Ordering::Relaxed) {
        return None;
    }
    let tables = memory::tables()?;
    let key = key(query_id, nested);
    let bucket = bucket(ns);
    // SAFETY: this process has one thread, and nothing in here comes back to this line.
    let cache = unsafe { (&raw mut CACHE).as_mut() };
    let entry = cache?.entry(&tables.statements, key);
    if let Some(entry) = entry {
        entry.payload.record_in(bucket, ns, read);
    }
    if !nested {
        route(tables, key.whose, bucket);
    }
    entry.map(|entry| (key, &entry.payload))
}

fn count_failure(report: &Report) {
    let Some(tables) = memory::tables() else { return };
    let state = State(report.state);
    let class = Class::of(state, report.message, report.ends);
    // A session that is ended while it does nothing is not the fault of its last statement.
    let idle = class.hits_sessions() && !report.in_statement;
    let query_id = if idle { 0 } else { report.query_id };
    let working = !idle && report.since > 0 && (report.in_statement || query_id != 0);
    let lost_us = if working { report.now.saturating_sub(report.since).max(0) } else { 0 };
    let kind = failure::kind(class, state);
    let place = tables.failures.place(Key::new(query_id, report.database, report.user, kind));
    if let Some(entry) = tables.failures.entry(place.entry) {
        entry.payload.record(report.now, lost_us.unsigned_abs());
    }
    if class.ends_statement() && report.database != 0 {
        let whose = u64::from(report.database) << 32 | u64::from(report.user);
        routes::failed(&tables.routes, whose, report.text, class == Class::Cancelled);
    }
}
