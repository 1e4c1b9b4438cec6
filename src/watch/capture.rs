//! What the hooks count. Everything here runs in users' backends on the way of their statements: it reads fields
//! and adds to atomics, nothing else.

use perfmon_core::capture::cache::Cache;
use perfmon_core::capture::failure::{self, Class, Refusal, State};
use perfmon_core::capture::statement::{NESTED, TOPLEVEL, Times};
use perfmon_core::capture::table::Key;
use perfmon_core::histogram::{BUCKETS, bucket};
use perfmon_core::lock::comeback::Comeback;

use super::memory::{self, Tables};
use super::routes::{self, Ended};
use super::{deadlocks, plans, scans};
use crate::pg::execution::{self, Execution};
use crate::pg::hooks::Observer;
use crate::pg::report::Report;
use crate::settings::{self, Capture as Mode};

static mut CACHE: Cache<'static, Times> = Cache::new();

#[inline]
fn cache() -> &'static mut Cache<'static, Times> {
    let cache = &raw mut CACHE;
    // SAFETY: this process has one thread, and no function that has it calls another that takes it too.
    unsafe { &mut *cache }
}

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
        // Most often; all else is looked at more closely.
        scans::passes(cache(), execution.query_id(), kind(nested))
    }

    fn looks_into(execution: Execution, nested: bool) -> bool {
        let query_id = execution.query_id();
        let Some(tables) = memory::counting().filter(|_| query_id != 0) else { return false };
        scans::is_due(cache(), &tables.statements, key(query_id, nested))
    }

    /// Looks before it counts, so that nothing is counted of what is then looked at closely; and calls nothing after the
    /// first look, so that nothing need be kept.
    #[inline]
    fn counts(execution: Execution) -> bool {
        if !execution.is_plain() || settings::capture() == Mode::Off {
            return false;
        }
        let user = execution::user();
        let Some((ns, read)) = execution.measured_simply() else { return false };
        // A process is in one database all its life. A parallel worker's cache knows nobody, nor does that of a
        // process that counts no more.
        let Some(known) = cache().known(execution.query_id(), user, TOPLEVEL) else { return false };
        let Some(half) = known.entry.payload.usual(ns, read) else { return false };
        if ns >= settings::plan_min_ns() || !execution.is_without_comment() {
            return false;
        }
        let bucket = bucket(ns).min(BUCKETS - 1);
        if !routes::counts(known.whose, bucket, execution.is_select()) {
            return false;
        }
        known.count();
        half.count(bucket);
        true
    }

    #[inline]
    fn executed(execution: Execution, nested: bool) {
        // What clients send is most of all, and has a way of its own that does not ask again.
        if nested { executed_within(execution) } else { executed::<false>(execution) }
    }

    fn commanded(command: &execution::Ended, nested: bool) {
        let Some(tables) = memory::counting() else { return };
        let took = (command.ns, command.read);
        count(tables, command.query_id, took, nested, |whose, bucket| {
            let sent = !execution::is_outside_of_portals() && !execution::is_starting();
            if !command.control && sent && !routes::is_executing() {
                routes::executed(&tables.routes, whose, Some(command.text), bucket, false);
            }
        });
    }

    #[cold]
    fn passed_over(nameless: bool) {
        if !routes::is_executing() {
            left_out(nameless, || true);
        }
    }

    fn controlled(ends: bool) {
        routes::controlled(ends);
        // The role may be another one.
        cache().look_again();
    }

    #[cold]
    fn executes(begins: bool) {
        routes::executes(begins);
    }

    fn failed(report: &Report) {
        if settings::capture() != Mode::Off {
            if let Some(tables) = memory::counting() {
                count_failure(tables, report);
            }
        } else if execution::is_client() {
            let class = Class::of(State(report.state), report.message, report.ends);
            if class.ends_statement() && report.database != 0 {
                Self::missed(report.since);
            }
        }
    }

    #[cold]
    fn missed(message: i64) {
        let Some(tables) = memory::counting() else { return };
        let (database, user) = (execution::database(), execution::outer_user());
        let key = Key::new(0, database, user, failure::kind(Class::Unseen, State(0)));
        let now = execution::now_us();
        let lost_us = now.saturating_sub(message).max(0);
        if let Some(entry) = tables.failures.entry(tables.failures.place(key).entry) {
            entry.payload.record(now, lost_us.unsigned_abs());
        }
    }

    #[cold]
    fn came_back(before: i64, at: i64) {
        if let Some(tables) = memory::tables() {
            tables.comebacks.post(Comeback { pid: execution::process() as i32, before, at });
        }
    }

    #[cold]
    fn undone(depth: i32) {
        routes::undone(depth);
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
        let Some(tables) = memory::counting() else { return };
        match text {
            None => routes::transaction_ended(),
            Some(text) if Self::wants(false) => {
                routes::part_ended(&tables.routes, whose(), text);
            }
            Some(_) => {}
        }
    }

    #[cold]
    fn panicked() {
        memory::stop_counting();
        cache().forget();
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
fn kind(nested: bool) -> u64 {
    const { assert!(NESTED == 0 && TOPLEVEL == 1) };
    u64::from(!nested)
}

#[inline]
fn key(query_id: u64, nested: bool) -> Key {
    Key { what: query_id, whose: whose(), kind: kind(nested) }
}

/// Something was not of interest, or has no id, and counts if a client sent it, which is asked last.
#[cold]
fn left_out(nameless: bool, is_sent: impl FnOnce() -> bool) {
    if execution::is_client()
        && let Some(tables) = memory::counting()
        && is_sent()
    {
        routes::left_out(&tables.routes, whose(), nameless);
    }
}

/// Whether no client sent what ends with nothing at work that it was nested in: it began within a statement which left it half
/// read, or the start of one, or on its own, or within an EXECUTE, whose own statement runs in a portal: its parameters and its
/// planning run functions too. What opened a cursor, and what fetched from it, were counted of their own.
#[inline]
fn is_nobodys(execution: Execution) -> bool {
    execution.has_begun_within() || routes::is_executing() && !execution.is_of_named_portal()
}

#[inline(never)]
fn executed_within(execution: Execution) {
    executed::<true>(execution);
}

/// Counts an execution that ended, and looks at it where that is due.
#[inline]
fn executed<const WITHIN: bool>(execution: Execution) {
    let query_id = execution.query_id();
    let has_none = query_id == 0;
    if has_none || !Capture::wants(WITHIN) {
        // Without ids statements cannot be told apart, but they are some, as is what was prepared while there were none.
        if !WITHIN {
            left_out(has_none, || !is_nobodys(execution));
        }
        return;
    }
    let Some(tables) = memory::counting() else { return };
    let Some((ns, read)) = execution.measured() else { return };
    // EXPLAIN starts the executor for the statement that it explains, and does not run it.
    if WITHIN && execution.only_explained() {
        return;
    }
    // As in pg_stat_statements, which calls it top-level, it stands among statements as one; routes are of what clients sent.
    let counted = count(tables, query_id, (ns, read), WITHIN, |whose, bucket| {
        if is_nobodys(execution) {
            return;
        }
        let text = execution.text_with_comment();
        routes::executed(&tables.routes, whose, text, bucket, execution.is_select());
    });
    let Some(times) = counted else { return };
    if execution.is_looked_into() || plans::is_due(times, (ns, read)) {
        look(tables, execution, times, (ns, read), WITHIN);
    }
}

/// Looks into an execution that was counted, at its plan, or both.
#[cold]
#[inline(never)]
fn look(tables: &Tables, execution: Execution, times: &Times, took: (u64, bool), nested: bool) {
    if execution.is_looked_into() {
        scans::look(&tables.scans, execution, whose(), !nested);
    }
    if plans::is_due(times, took) {
        plans::look(key(execution.query_id(), nested), times, took, execution);
    }
}

/// Counts an execution by its time and whether it read blocks; one that is not nested under its route too. Gives
/// where it was counted.
#[inline]
fn count(
    tables: &'static Tables,
    query_id: u64,
    (ns, read): (u64, bool),
    nested: bool,
    route: impl FnOnce(u64, usize),
) -> Option<&'static Times> {
    let key = key(query_id, nested);
    // Bounded once for all that follows.
    let bucket = bucket(ns).min(BUCKETS - 1);
    let times = &cache().entry(&tables.statements, key)?.payload;
    times.record_in(bucket, ns, read);
    if !nested {
        route(key.whose, bucket);
    }
    Some(times)
}

fn count_failure(tables: &Tables, report: &Report) {
    let state = State(report.state);
    let class = Class::of(state, report.message, report.ends);
    // A session that is ended while it does nothing is not the fault of its last statement.
    let idle = class.hits_sessions() && !report.in_statement;
    let query_id = if idle { 0 } else { report.query_id };
    let working = !idle && report.since > 0 && (report.in_statement || query_id != 0);
    let lost_us = if working { report.now.saturating_sub(report.since).max(0) } else { 0 };
    let key = if class == Class::Refused {
        // Limits are the server's affair, whatever the database: that stands in place of the statement.
        let why = Refusal::of(state, report.message);
        Key::new(u64::from(report.database), 0, report.user, failure::refused(state, why))
    } else {
        Key::new(query_id, report.database, report.user, failure::kind(class, state))
    };
    let place = tables.failures.place(key);
    if let Some(entry) = tables.failures.entry(place.entry) {
        entry.payload.record(report.now, lost_us.unsigned_abs());
    }
    if class == Class::Deadlock {
        deadlocks::note(&tables.deadlocks, report);
    }
    if class.ends_statement() && report.database != 0 {
        let whose = u64::from(report.database) << 32 | u64::from(report.user);
        let cancelled = class == Class::Cancelled;
        let at_sync = report.text.is_empty() && is_at_sync(state, report.since);
        routes::failed(&tables.routes, whose, (report.text, report.since), (cancelled, at_sync));
    }
}

/// Whether what failed without a text of its own failed at a Sync, which has the time of the message before: that may be
/// one which executed nothing. A Sync ends what is no block; messages that ask for a statement or a portal which is not
/// there, or that nobody understands, may come outside of a block too, but say so.
#[cold]
fn is_at_sync(state: State, message: i64) -> bool {
    let asked = ["26000", "34000", "08P01"].map(State::of).contains(&Some(state));
    let is_no_block = execution::is_in_transaction() && !execution::is_in_block();
    execution::message_at() == message || is_no_block && !asked
}
