//! What the hooks count. Everything here runs in users' backends on the way of their statements: it reads fields
//! and adds to atomics, nothing else.

use std::sync::atomic::{AtomicBool, Ordering};

use perfmon_core::capture::cache::Cache;
use perfmon_core::capture::failure::{self, Class, State};
use perfmon_core::capture::statement::{NESTED, TOPLEVEL};
use perfmon_core::capture::table::Key;

use super::memory;
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
        count(query_id, ns, read, nested);
    }

    fn commanded(query_id: u64, ns: u64, read: bool, nested: bool) {
        count(query_id, ns, read, nested);
    }

    fn failed(report: &Report) {
        if settings::capture() != Mode::Off && !BROKEN.load(Ordering::Relaxed) {
            count_failure(report);
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

#[inline]
fn count(query_id: u64, ns: u64, read: bool, nested: bool) {
    if BROKEN.load(Ordering::Relaxed) {
        return;
    }
    let Some(tables) = memory::tables() else { return };
    let kind = if nested { NESTED } else { TOPLEVEL };
    let key = Key::new(query_id, execution::database(), execution::user(), kind);
    // SAFETY: this process has one thread, and nothing in here comes back to this line.
    let cache = unsafe { (&raw mut CACHE).as_mut() };
    let Some(cache) = cache else { return };
    if let Some(entry) = cache.entry(&tables.statements, key) {
        entry.payload.record(ns, read);
    }
}

fn count_failure(report: &Report) {
    let Some(tables) = memory::tables() else { return };
    let state = State(report.state);
    let class = Class::of(state, report.message);
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
}
