//! A collector: a background worker that connects to one database, does one piece of work in one
//! transaction, leaves a note on the board, and ends. It never stays connected, so that DROP DATABASE,
//! RENAME and CREATE DATABASE ... TEMPLATE get through.

use perfmon_core::evaluation::{self, Became};
use pgrx::pg_sys;
use pgrx::prelude::*;

use super::visit::poolers::{self, Answers};
use super::{ask, board, ending, episodes, sampling, visit};
use crate::pg::extension::{self, Kept};
use crate::pg::{backends, catalog, clock, dbstat, session, signal, txn};
use crate::store::prior::Held;
use crate::watch::live;
use crate::{judge, settings};

/// What a visit came to.
enum Outcome {
    /// The extension is not in this database.
    Absent,
    /// Its SQL objects are not those of this library.
    Mismatch(String),
    /// A standby, or a server that lets nobody write: nothing can be stored, and nothing is wrong.
    Closed(&'static str),
    /// Another transaction is in the way: what happens is counted in the interval that ends with the next visit.
    Held(Held),
    /// A snapshot was stored; more work may be due.
    Stored(visit::Stored),
    /// A piece of housekeeping was done; more may be due.
    Kept { due: bool },
}

/// Entry point of the process; the argument is the database's oid.
#[pg_guard]
#[unsafe(no_mangle)]
pub extern "C-unwind" fn pg_perfmon_collector_main(argument: pg_sys::Datum) {
    let database = pg_sys::Oid::from(argument.value() as u32);
    signal::install();
    ending::follow(database);
    session::spare_page_faults();
    // Connecting waits for whoever changes this database, before this worker can be told to stop.
    session::set("lock_timeout", &settings::lock_timeout_ms().max(1000).to_string());
    // SAFETY: the first thing that a worker with a database connection does. Without a role: the
    // visit takes on the rights that it needs, piece by piece.
    unsafe {
        pg_sys::BackgroundWorkerInitializeConnectionByOid(database, pg_sys::Oid::INVALID, 0);
    }
    backends::call_oneself(c"pg_perfmon collector");
    let mut order = Order::read(database);
    prepare(order.keep_house);
    dbstat::refresh();
    let before = dbstat::movement(database);
    let poolers = ask_poolers(&mut order);
    let result = txn::transaction(settings::statement_timeout_ms(), || work(&order, poolers));
    let stored = matches!(result, Ok(Outcome::Stored(_)));
    if let Ok(Outcome::Stored(stored)) = &result {
        live::take_out(&stored.letters);
        if let Some(samples) = stored.samples {
            sampling::note_stored(samples);
        }
    }
    let change = report(database, &order, before, result);
    // After the note is left, so that nothing waits for the log.
    match change {
        Some(Change::Failing(why)) => {
            warning!("pg_perfmon collector fails in this database: {why}");
        }
        Some(Change::Working) => log!("pg_perfmon collector works in this database again"),
        None => {}
    }
    // Whoever asked for the snapshot has it by now.
    if stored {
        evaluate(database);
    }
}

/// Evaluates the findings when it is time for that, in a transaction of its own that takes an id only when
/// something changed.
fn evaluate(database: pg_sys::Oid) {
    let now = clock::wall_us();
    let due = board::lock().map(|mut board| {
        let slot = board.slot(database.to_u32());
        slot.map(|slot| (slot.evaluation_due(now), slot.evaluated_at)).unwrap_or((true, 0))
    });
    let (due, last) = due.unwrap_or((true, 0));
    if !due {
        return;
    }
    let meter = judge::Meter::start();
    let result = txn::transaction(settings::statement_timeout_ms(), || {
        // Before any of its tables is locked, as DROP EXTENSION locks them in another order. It is made up for later.
        if extension::keep(super::EXTENSION) != Kept::Yes {
            return judge::Evaluated::Busy;
        }
        let lasted = |since| episodes::lasted(database.to_u32(), since);
        judge::evaluate(judge::By::Schedule((last > 0).then_some(last)), lasted)
            .unwrap_or_else(|error| error.raise())
    });
    let became = match &result {
        Ok(judge::Evaluated::Open { .. }) => Became::Judged,
        Ok(_) => Became::PutOff,
        Err(_) => Became::Failed,
    };
    let (mut was_failing, mut is_failing) = (false, became == Became::Failed);
    if let Some(mut board) = board::lock()
        && let Some(slot) = board.slot(database.to_u32())
    {
        slot.own_transactions += 1;
        slot.movement.transactions += 1;
        slot.evaluation_tried_at = now;
        slot.evaluation_us = meter.cost_us();
        was_failing = slot.evaluation_failing;
        is_failing = evaluation::fails(was_failing, became);
        slot.evaluation_failing = is_failing;
        // What happened before one that did not run is left for the next.
        if matches!(result, Ok(judge::Evaluated::Open { .. } | judge::Evaluated::NoHistory)) {
            slot.evaluated_at = now;
        }
        if let Ok(judge::Evaluated::Open { names, passing, .. }) = &result {
            (slot.names, slot.unsettled) = (*names, *passing);
        }
    }
    match result {
        Err(caught) if !was_failing => {
            warning!("pg_perfmon could not evaluate the findings of this database: {caught}");
        }
        Ok(_) if was_failing && !is_failing => {
            log!("pg_perfmon evaluates the findings of this database again")
        }
        _ => {}
    }
}

/// Transactions that a visit counts towards its database: the one that connects, and its own.
const OWN_TRANSACTIONS: i64 = 2;

/// Longest pause before the next try where another transaction was in the way.
const HELD_US: i64 = 60_000_000;

/// A change of state, worth one line in the log.
enum Change {
    Failing(String),
    Working,
}

/// What the launcher wants of this visit.
struct Order {
    asked: u64,
    touched: u64,
    keep_house: bool,
    request: visit::Request,
    /// Transactions that this visit counts towards its database.
    transactions: i64,
    /// Connections that were refused before this visit.
    refused: u64,
    /// Whether there are poolers to be asked, where that was looked up.
    asks_poolers: Option<bool>,
}

impl Order {
    fn read(database: pg_sys::Oid) -> Self {
        let mut order = Self {
            asked: 0,
            touched: 0,
            keep_house: false,
            request: visit::Request::default(),
            transactions: OWN_TRANSACTIONS,
            refused: live::refusals(),
            asks_poolers: None,
        };
        if let Some(mut board) = board::lock()
            && let Some(slot) = board.slot(database.to_u32())
        {
            order.asked = slot.asked;
            order.touched = slot.touched;
            order.keep_house = slot.due;
            order.request = visit::Request {
                home: slot.home,
                scheduled: true,
                asked: slot.asked > slot.answered,
                disabled: slot.disabled,
                quiet_until: slot.quiet_until,
                own_transactions: Some(slot.own_transactions),
                started_cpu_us: 0,
            };
        }
        order
    }
}

/// What pg_stat_statements tells comes as a set, which goes to a file where it does not fit: ten thousand entries take
/// some five megabytes.
const WORK_MEM_KB: i32 = 16 << 10;

/// Puts this session beyond the reach of settings that would make it hang, lie or be seen.
fn prepare(keep_house: bool) {
    session::set("search_path", "pg_catalog, pg_temp");
    session::set("synchronous_commit", "local");
    session::set("default_transaction_read_only", "off");
    session::set("default_transaction_isolation", "read committed");
    session::set("default_transaction_deferrable", "off");
    session::set("lock_timeout", &settings::lock_timeout_ms().to_string());
    // Event triggers and triggers of users stay out of what we write.
    session::set("session_replication_role", "replica");
    session::set("jit", "off");
    session::ensure_work_mem(WORK_MEM_KB);
    session::set("max_parallel_workers_per_gather", "0");
    session::set("row_security", "off");
    session::set("log_min_duration_statement", "-1");
    session::set("log_statement", "none");
    session::set("default_table_access_method", "heap");
    session::set("default_tablespace", "");
    // We do not count ourselves: neither rows nor statements. Housekeeping is counted, so that
    // autovacuum sees what it deleted.
    session::set("track_counts", if keep_house { "on" } else { "off" });
    session::set("pg_stat_statements.track", "none");
    session::set("pg_perfmon.capture", "off");
    session::set("compute_query_id", "off");
    session::set("pg_stat_statements.track_utility", "off");
}

/// Asks poolers, where this is the home database: not while a transaction is open.
fn ask_poolers(order: &mut Order) -> Option<Answers> {
    if order.keep_house || !order.request.home {
        return None;
    }
    order.transactions += 1;
    let plan = txn::transaction(settings::statement_timeout_ms(), || {
        let extension = catalog::extension(super::EXTENSION)?;
        let installed = catalog::extension_version(extension);
        let is_ours = installed.as_deref() == Some(visit::LIBRARY_VERSION);
        (is_ours && !session::in_recovery()).then(poolers::plan).flatten()
    });
    order.asks_poolers = plan.as_ref().ok().map(Option::is_some);
    // Whatever failed fails the snapshot as well, and is told there.
    Some(plan.ok().flatten().map(poolers::ask).unwrap_or_default())
}

fn work(order: &Order, poolers: Option<Answers>) -> Outcome {
    if session::in_recovery() {
        return Outcome::Closed("the server is a standby");
    }
    match extension::keep(super::EXTENSION) {
        Kept::Yes => {}
        Kept::Gone => return Outcome::Absent,
        Kept::Busy => return Outcome::Closed(ask::DROPPING),
    }
    let installed = catalog::extension(super::EXTENSION).and_then(catalog::extension_version);
    if installed.as_deref() != Some(visit::LIBRARY_VERSION) {
        return Outcome::Mismatch(installed.unwrap_or_default());
    }
    // SAFETY: a variable of this process.
    if unsafe { pg_sys::XactReadOnly } {
        return Outcome::Closed("transactions are read-only");
    }
    if order.keep_house {
        return Outcome::Kept { due: visit::keep_house() };
    }
    match visit::snapshot_with(&order.request, poolers) {
        Ok(Ok(stored)) => Outcome::Stored(stored),
        Ok(Err(held)) => Outcome::Held(held),
        Err(error) => error.raise(),
    }
}

/// Leaves the outcome on the board and wakes whoever waits for it.
fn report(
    database: pg_sys::Oid,
    order: &Order,
    before: Option<dbstat::Movement>,
    result: Result<Outcome, txn::Caught>,
) -> Option<Change> {
    let now = clock::wall_us();
    let mut change = None;
    if let Some(mut board) = board::lock()
        && let Some(slot) = board.slot(database.to_u32())
    {
        slot.running = false;
        slot.visited_at = now;
        slot.own_transactions += order.transactions;
        let held = matches!(result, Ok(Outcome::Held(_)));
        if let Some(mut movement) = before.filter(|_| !order.keep_house && !held) {
            movement.transactions += order.transactions;
            slot.movement = movement;
            slot.movement_known = true;
            slot.refused = order.refused;
            slot.asks_poolers = order.asks_poolers.unwrap_or(slot.asks_poolers);
        } else if order.keep_house || held {
            slot.movement.transactions += order.transactions;
        }
        let failing = slot.failures > 0 || slot.house_failures > 0;
        if order.keep_house {
            record_house(slot, order, &result);
        } else {
            record(slot, order, result);
        }
        let fails = slot.failures > 0 || slot.house_failures > 0;
        change = match (failing, fails) {
            (false, true) if order.keep_house => {
                slot.house_message().map(|why| Change::Failing(format!("housekeeping: {why}")))
            }
            (false, true) => slot.message().map(Change::Failing),
            (true, false) => Some(Change::Working),
            _ => None,
        };
    }
    board::broadcast();
    board::wake_launcher();
    change
}

/// What became of a snapshot.
fn record(slot: &mut board::Slot, order: &Order, result: Result<Outcome, txn::Caught>) {
    match result {
        Ok(outcome) => {
            slot.failures = 0;
            slot.retry_at = 0;
            slot.failed = false;
            slot.set_message("");
            match outcome {
                // Unless it was created while this visit looked.
                Outcome::Absent if slot.touched != order.touched => {}
                Outcome::Absent => slot.state = board::State::Absent,
                Outcome::Mismatch(version) => {
                    slot.state = board::State::Mismatch;
                    slot.failed = true;
                    slot.set_message(&visit::mismatch(&version));
                }
                Outcome::Closed(why) => {
                    slot.state = board::State::Present;
                    slot.failed = true;
                    slot.set_message(why);
                }
                Outcome::Held(held) => {
                    slot.state = board::State::Present;
                    slot.failed = true;
                    slot.set_message(&held.to_string());
                    // Also where nobody uses the database any more: what was done is not stored yet.
                    let pause = settings::snapshot_interval_us().min(HELD_US);
                    slot.retry_at = clock::steady_us() + pause;
                }
                Outcome::Stored(stored) => {
                    slot.state = board::State::Present;
                    slot.disabled = false;
                    slot.set_message(&stored.note.unwrap_or_default());
                    slot.snapshot_id = stored.id;
                    slot.quiet_until = 0;
                    slot.judges_cluster = stored.judges_cluster;
                    slot.due = stored.due && slot.house_retry_at <= clock::steady_us();
                }
                Outcome::Kept { .. } => {}
            }
        }
        // The extension was dropped or made anew while this visit was at work: no failure.
        Err(_) if slot.touched != order.touched => {
            slot.due = false;
            slot.state = board::State::Unknown;
            slot.failed = true;
            slot.set_message("the extension was changed during the visit");
        }
        Err(error) => {
            slot.due = false;
            slot.state = board::State::Present;
            slot.failures = slot.failures.saturating_add(1);
            slot.retry_at = clock::steady_us() + super::launcher::back_off_us(slot.failures);
            slot.failed = true;
            slot.set_message(&error.to_string());
        }
    }
    slot.answered = order.asked;
}

/// What became of a step of housekeeping. It says nothing about snapshots, nor they about it.
fn record_house(slot: &mut board::Slot, order: &Order, result: &Result<Outcome, txn::Caught>) {
    slot.due = false;
    match result {
        // Other steps than the one that failed may succeed: it works when nothing is left to do.
        Ok(Outcome::Kept { due: true }) => slot.due = true,
        Ok(Outcome::Kept { due: false }) => {
            slot.house_failures = 0;
            slot.house_retry_at = 0;
            slot.set_house_message("");
        }
        // Nothing could be done here now; the next snapshot finds out why, and says so.
        Ok(_) => {}
        // The extension was dropped or made anew meanwhile: no failure.
        Err(_) if slot.touched != order.touched => slot.state = board::State::Unknown,
        // Due again with the first snapshot after the pause, which it must not keep waiting.
        Err(error) => {
            slot.house_failures = slot.house_failures.saturating_add(1);
            let pause = super::launcher::back_off_us(slot.house_failures);
            slot.house_retry_at = clock::steady_us() + pause;
            slot.set_house_message(&error.to_string());
        }
    }
}
