//! The launcher: attached to no database, it finds the databases that have the extension, notices
//! which were used, and starts a collector in each when its time has come.

use pgrx::pg_sys;
use pgrx::prelude::*;

use super::board::{self, Slot, State};
use super::ending;
use super::sampling::Samples;
use crate::pg::{backends, catalog, clock, dbstat, signal, txn};
use crate::settings;
use crate::watch::live::{self, Keeper};

/// Most time between two looks at the list of databases, whatever the interval.
const RESCAN_US: i64 = 60_000_000;
/// A collector that runs this much longer than any statement may is ended.
const LOST_US: i64 = 60_000_000;
/// A database that lets nobody in is asked again after this.
const LOCKED_US: i64 = 1_000_000;
/// A database in which only autovacuum or background workers moved is visited this often.
pub(super) const SLOW_US: i64 = 3_600_000_000;
/// Least time between two passes over the statements that are counted.
const KEEP_US: i64 = 1_000_000;
/// First pause after a failure, doubled with each further one up to `SLOW_US`.
const FIRST_PAUSE_US: i64 = 5_000_000;

/// How long to leave a database alone after so many failures in a row.
pub(super) fn back_off_us(failures: u32) -> i64 {
    FIRST_PAUSE_US.saturating_mul(1 << failures.saturating_sub(1).min(10)).min(SLOW_US)
}

/// Registers the launcher with the postmaster.
pub(super) fn register() {
    let mut worker = worker(c"pg_perfmon launcher", c"pg_perfmon_launcher_main");
    worker.bgw_restart_time = 10;
    // SAFETY: called while libraries are preloaded, with a struct that is copied.
    unsafe { pg_sys::RegisterBackgroundWorker(&mut worker) };
}

fn worker(name: &std::ffi::CStr, function: &std::ffi::CStr) -> pg_sys::BackgroundWorker {
    fn copy<const N: usize>(to: &mut [std::ffi::c_char; N], from: &std::ffi::CStr) {
        for (slot, byte) in to.iter_mut().take(N - 1).zip(from.to_bytes()) {
            *slot = *byte as std::ffi::c_char;
        }
    }
    let mut worker = pg_sys::BackgroundWorker {
        bgw_flags: (pg_sys::BGWORKER_SHMEM_ACCESS | pg_sys::BGWORKER_BACKEND_DATABASE_CONNECTION)
            as i32,
        // Not on a hot standby; upon promotion the postmaster starts it.
        bgw_start_time: pg_sys::BgWorkerStartTime::BgWorkerStart_RecoveryFinished,
        bgw_restart_time: pg_sys::BGW_NEVER_RESTART,
        ..Default::default()
    };
    copy(&mut worker.bgw_name, name);
    copy(&mut worker.bgw_type, name);
    copy(&mut worker.bgw_library_name, c"pg_perfmon");
    copy(&mut worker.bgw_function_name, function);
    worker
}

/// A collector that was started and may not have ended.
struct Started {
    database: u32,
    handle: *mut pg_sys::BackgroundWorkerHandle,
    at: i64,
    keeps_house: bool,
}

struct Launcher {
    started: Vec<Started>,
    names: Vec<catalog::Database>,
    scanned_at: i64,
    /// The last look at the list of databases failed; when to look again (`clock::steady_us`).
    scan_failed: bool,
    scan_retry_at: i64,
    next_tick: i64,
    /// Databases whose turn came with the current tick, in order.
    queue: Vec<u32>,
    starved_until: i64,
    /// What clients of all databases had moved at the last tick.
    moved: i64,
    /// Keeps entries free in which statements are counted; when the next pass may be.
    keeper: Keeper,
    keep_at: i64,
    /// Samples saw clients do something since the last tick.
    clients_moved: bool,
}

/// Entry point of the process.
#[pg_guard]
#[unsafe(no_mangle)]
pub extern "C-unwind" fn pg_perfmon_launcher_main(_argument: pg_sys::Datum) {
    signal::install();
    // Each sample takes and frees half a megabyte and more.
    crate::pg::session::spare_page_faults();
    crate::pg::session::run_at_once();
    // SAFETY: the first thing that a worker does; no database: shared catalogs only.
    unsafe {
        pg_sys::BackgroundWorkerInitializeConnectionByOid(
            pg_sys::Oid::INVALID,
            pg_sys::Oid::INVALID,
            0,
        );
    }
    backends::call_oneself(c"pg_perfmon launcher");
    crate::pg::session::set("lock_timeout", &settings::lock_timeout_ms().to_string());
    let now = clock::wall_us();
    live::note_ready(now);
    live::note_configured();
    if let Some(mut board) = board::lock() {
        board.enter_launcher(now);
    }
    let mut launcher = Launcher {
        started: Vec::new(),
        names: Vec::new(),
        scanned_at: 0,
        scan_failed: false,
        scan_retry_at: 0,
        next_tick: now,
        queue: Vec::new(),
        starved_until: 0,
        moved: 0,
        keeper: Keeper::default(),
        keep_at: 0,
        clients_moved: false,
    };
    let mut samples = Samples::default();
    let mut round_at = clock::steady_us();
    let mut woken = true;
    loop {
        if signal::reload_if_asked() {
            live::note_configured();
        }
        if samples.take(clock::steady_us()) {
            woken |= launcher.note_moved(clock::wall_us());
        }
        if woken || clock::steady_us() >= round_at {
            let pause = launcher.round(clock::wall_us());
            round_at = clock::steady_us() + pause;
        }
        let steady = clock::steady_us();
        let next = samples.next(steady).map_or(round_at, |at| at.min(round_at));
        woken = signal::wait((next - steady).max(0));
    }
}

impl Launcher {
    /// Does what is to be done now; returns how long there is nothing to do.
    fn round(&mut self, now: i64) -> i64 {
        self.reap();
        let steady = clock::steady_us();
        let asked = board::lock().is_some_and(|board| board.rescan);
        let old = now - self.scanned_at >= RESCAN_US || now < self.scanned_at;
        if (asked || old) && steady >= self.scan_retry_at {
            self.scan(now, steady);
        }
        let interval = settings::snapshot_interval_us();
        if now >= self.next_tick || self.next_tick - now > interval {
            self.tick(now);
            self.next_tick = (now / interval + 1) * interval;
        }
        let next_retry = self.enqueue_urgent(steady);
        self.start(steady);
        let mut pause = self.next_tick - now;
        if steady >= self.keep_at {
            self.keep_at = steady + KEEP_US;
            if self.keeper.pass() {
                pause = pause.min(KEEP_US);
            }
        }
        let rescan = if self.scan_failed {
            self.scan_retry_at - steady
        } else {
            self.scanned_at + RESCAN_US - now
        };
        pause = pause.min(rescan);
        if let Some(at) = next_retry {
            pause = pause.min(at - steady);
        }
        if !self.queue.is_empty() {
            pause = pause.min((self.starved_until - steady).max(1_000_000));
        }
        pause.max(10_000)
    }

    /// Takes the list of databases into the board; slots of dropped ones become free.
    fn scan(&mut self, now: i64, steady: i64) {
        // Taken back before the look, so that what comes during it is looked at next.
        if let Some(mut board) = board::lock() {
            board.rescan = false;
        }
        let births = live::births();
        let look = || (catalog::open_databases(), catalog::all_databases());
        match txn::transaction(settings::statement_timeout_ms(), look) {
            Ok((open, all)) => {
                self.names = open;
                // What is counted of databases that are gone makes room.
                births.into_iter().for_each(|births| self.keeper.learn(&oids(&all), births));
            }
            Err(error) => {
                self.scan_retry_at = steady + FIRST_PAUSE_US;
                if let Some(mut board) = board::lock() {
                    board.rescan = true;
                }
                if !std::mem::replace(&mut self.scan_failed, true) {
                    warning!("pg_perfmon could not read the list of databases: {error}");
                }
                return;
            }
        }
        if std::mem::take(&mut self.scan_failed) {
            log!("pg_perfmon reads the list of databases again");
        }
        self.scanned_at = now;
        let databases = oids(&self.names);
        let counts = board::lock().map(|mut board| (board.without_slot, board.take_in(&databases)));
        if let Some((before, without)) = counts {
            board::note_without_slot(before, without);
        }
    }

    /// The turn of every database that has the extension and was used since its last visit.
    fn tick(&mut self, now: i64) {
        let steady = clock::steady_us();
        if !settings::enabled() {
            if let Some(mut board) = board::lock() {
                board.slots.iter_mut().for_each(|slot| slot.disabled = true);
            }
            return;
        }
        dbstat::refresh();
        let activity = dbstat::activity();
        let moved: Vec<(u32, Option<dbstat::Movement>)> =
            self.names.iter().map(|d| (d.oid.to_u32(), dbstat::movement(d.oid))).collect();
        let by_clients = moved.iter().filter_map(|(_, movement)| *movement);
        let by_clients =
            by_clients.fold(0_i64, |sum, m| sum.wrapping_add(m.sessions).wrapping_add(m.active_us));
        let anywhere = std::mem::replace(&mut self.moved, by_clients) != by_clients;
        let sampled = std::mem::take(&mut self.clients_moved);
        let refused = live::refusals();
        let Some(mut board) = board::lock() else { return };
        for (database, movement) in moved {
            let Some(slot) = board.slot(database) else { continue };
            if slot.state != State::Present || slot.running || slot.retry_at > steady {
                continue;
            }
            let at_work = activity
                .iter()
                .any(|a| a.database == database && (a.busy || a.began > slot.snapshot_id));
            // Clients of any database are this one's business too, if it judges them all.
            let elsewhere = || {
                let of_client =
                    |a: &dbstat::Activity| a.began > 0 && (a.busy || a.began > slot.snapshot_id);
                slot.judges_cluster && (anywhere || activity.iter().any(of_client))
            };
            // What samples saw is stored at home.
            let elsewhere = || elsewhere() || (slot.home && sampled);
            let follow = slot.is_to_be_followed(refused, now);
            if at_work || elsewhere() || follow || slot.was_used(movement, now) {
                if !self.queue.contains(&database) {
                    self.queue.push(database);
                }
            } else {
                slot.quiet_until = now;
            }
        }
    }

    /// Samples saw clients do something. Where the time before was quiet, it is stored at once, so that what begins now is
    /// not mixed with it; says whether there is something to do.
    fn note_moved(&mut self, now: i64) -> bool {
        if std::mem::replace(&mut self.clients_moved, true) || !settings::enabled() {
            return false;
        }
        let steady = clock::steady_us();
        let Some(mut board) = board::lock() else { return false };
        let is_quiet = |slot: &&mut Slot| {
            slot.home
                && slot.state == State::Present
                && !slot.running
                && slot.retry_at <= steady
                && slot.quiet_until > slot.snapshot_id
        };
        let Some(slot) = board.slots.iter_mut().find(is_quiet) else { return false };
        // Up to the sample before this one.
        let sampled = settings::activity_interval_us().unwrap_or(0);
        slot.quiet_until = slot.quiet_until.max(now.saturating_sub(sampled.saturating_mul(2)));
        if !self.queue.contains(&slot.database) {
            self.queue.push(slot.database);
        }
        // What was seen now is in the sums that this visit reads.
        self.clients_moved = false;
        true
    }

    /// Whether a database keeps what belongs to the whole cluster: the named one, else the one of the
    /// lowest oid among those known to have the extension. `None` until lower ones were looked into.
    fn is_home(&self, database: u32) -> Option<bool> {
        if let Some(name) = settings::home_database() {
            return Some(self.names.iter().any(|d| d.name == name && d.oid.to_u32() == database));
        }
        let is_lowest = board::lock()?.is_lowest(database);
        // Nobody looks into them while visits are switched off.
        is_lowest.or((!settings::enabled()).then_some(true))
    }

    /// What does not wait for a tick: databases nobody looked into, questions, housekeeping, retries.
    /// Returns when the next retry is.
    fn enqueue_urgent(&mut self, steady: i64) -> Option<i64> {
        let enabled = settings::enabled();
        let board = board::lock()?;
        let mut next_retry: Option<i64> = None;
        for slot in board.slots.iter().filter(|slot| slot.database != 0 && !slot.running) {
            let waiting = slot.asked > slot.answered;
            let unknown = enabled && slot.state == State::Unknown;
            let retry = enabled && slot.retry_at != 0;
            let house = enabled && slot.due && slot.state == State::Present;
            if !(waiting || unknown || retry || house) {
                continue;
            }
            if slot.retry_at > steady {
                next_retry = Some(next_retry.map_or(slot.retry_at, |at| at.min(slot.retry_at)));
            } else if !self.queue.contains(&slot.database) {
                self.queue.push(slot.database);
            }
        }
        next_retry
    }

    /// Starts collectors as far as the settings allow.
    fn start(&mut self, steady: i64) {
        if steady < self.starved_until {
            return;
        }
        while self.started.len() < settings::max_workers()
            && let Some((next, home)) = self.next()
        {
            let database = self.queue.remove(next);
            if !lets_in(database) {
                put_off(database, steady);
                continue;
            }
            let Some(keeps_house) = claim(database, home) else { continue };
            match start_collector(database) {
                Some(handle) => {
                    self.started.push(Started { database, handle, at: steady, keeps_house })
                }
                None => {
                    self.queue.insert(0, database);
                    self.starve(database, steady);
                    return;
                }
            }
        }
        self.note_starved(false);
    }

    /// The first of the queue that can be visited now, by its place, and whether it is the home database. One of which that
    /// is not known yet waits: it would take itself for it.
    fn next(&self) -> Option<(usize, bool)> {
        let mut free = self.queue.iter().enumerate().filter(|(_, one)| !self.is_there(**one));
        free.find_map(|(at, database)| Some((at, self.is_home(*database)?)))
    }

    /// Whether a collector of this database has not ended yet, though it may have reported.
    fn is_there(&self, database: u32) -> bool {
        self.started.iter().any(|started| started.database == database)
    }

    fn starve(&mut self, database: u32, steady: i64) {
        if let Some(mut board) = board::lock()
            && let Some(slot) = board.slot(database)
        {
            slot.running = false;
        }
        self.starved_until = steady + FIRST_PAUSE_US;
        self.note_starved(true);
    }

    /// One line in the log for each change.
    fn note_starved(&self, starved: bool) {
        let changed = board::lock()
            .is_some_and(|mut board| std::mem::replace(&mut board.starved, starved) != starved);
        if changed && starved {
            ereport!(
                PgLogLevel::WARNING,
                PgSqlErrorCode::ERRCODE_CONFIGURATION_LIMIT_EXCEEDED,
                "pg_perfmon could not start a collector: no background worker is free",
                "Snapshots wait until one is. Raise max_worker_processes if this lasts."
            );
        } else if changed {
            log!("pg_perfmon starts collectors again");
        }
    }

    /// Forgets collectors that ended; one that ended without a word had failed.
    fn reap(&mut self) {
        let steady = clock::steady_us();
        let patience = i64::from(settings::statement_timeout_ms()) * 1000 + LOST_US;
        self.started.retain(|started| {
            let mut pid = 0;
            // SAFETY: the handle came from RegisterDynamicBackgroundWorker and was not freed.
            let status = unsafe { pg_sys::GetBackgroundWorkerPid(started.handle, &mut pid) };
            let ended = status == pg_sys::BgwHandleStatus::BGWH_STOPPED;
            if !ended && steady - started.at < patience {
                return true;
            }
            // SAFETY: a valid handle, freed once, as the entry leaves the list; a worker that hangs is
            // told to end.
            unsafe {
                if !ended {
                    pg_sys::TerminateBackgroundWorker(started.handle);
                }
                pg_sys::pfree(started.handle.cast());
            }
            forget(started, (!ended).then_some(patience));
            false
        });
    }
}

fn oids(databases: &[catalog::Database]) -> Vec<u32> {
    databases.iter().map(|d| d.oid.to_u32()).collect()
}

fn lets_in(database: u32) -> bool {
    let look = || catalog::lets_in(pg_sys::Oid::from(database));
    txn::transaction(settings::statement_timeout_ms(), look).unwrap_or(false)
}

/// Leaves a database for a moment, since a command that changes it holds it.
fn put_off(database: u32, steady: i64) {
    if let Some(mut board) = board::lock()
        && let Some(slot) = board.slot(database)
    {
        slot.retry_at = steady + LOCKED_US;
        slot.set_message("a command that changes this database holds it (see pg_locks)");
    }
}

/// Marks a database as being visited; `None` if it is gone, or being visited, meanwhile.
fn claim(database: u32, home: bool) -> Option<bool> {
    let mut board = board::lock()?;
    let slot = board.slot(database).filter(|slot| !slot.running)?;
    slot.running = true;
    // What an older one says at its late end is not about this visit.
    slot.collector = 0;
    slot.home = home;
    // A question is answered before the house is kept.
    if slot.asked > slot.answered {
        slot.due = false;
    }
    Some(slot.due)
}

/// Forgets a collector that ended, or was told to after so much time; why, where nobody else said it.
fn forget(started: &Started, waited_us: Option<i64>) {
    let movement = started.keeps_house.then(|| {
        dbstat::refresh();
        dbstat::movement(pg_sys::Oid::from(started.database))
    });
    let why = match waited_us {
        None => "the collector ended without a word: see the server log".to_owned(),
        Some(us) => {
            format!("the collector took more than {} s and was told to end", us / 1_000_000)
        }
    };
    let Some(mut board) = board::lock() else { return };
    let Some(slot) = board.slot(started.database) else { return };
    if let Some(Some(movement)) = movement {
        // What housekeeping wrote is ours.
        slot.movement.written = movement.written;
    }
    if ending::note(slot, &why) {
        drop(board);
        board::broadcast();
    }
}

fn start_collector(database: u32) -> Option<*mut pg_sys::BackgroundWorkerHandle> {
    let mut worker = worker(c"pg_perfmon collector", c"pg_perfmon_collector_main");
    worker.bgw_main_arg = pg_sys::Datum::from(u64::from(database));
    let mut handle = std::ptr::null_mut();
    // SAFETY: the struct is copied; the handle must outlive this call, so it is made in the context
    // that lives as long as the process.
    let registered = unsafe {
        worker.bgw_notify_pid = pg_sys::MyProcPid;
        let before = pg_sys::MemoryContextSwitchTo(pg_sys::TopMemoryContext);
        let registered = pg_sys::RegisterDynamicBackgroundWorker(&mut worker, &mut handle);
        pg_sys::MemoryContextSwitchTo(before);
        registered
    };
    registered.then_some(handle)
}
