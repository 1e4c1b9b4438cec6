//! What one visit to a database does: read the counters, subtract what they were, store what happened
//! in between, and remember where they stand, all in one transaction that takes one transaction id.
//! No judgement is made here and nothing is read but through the probes.

mod activity;
mod captured;
mod cluster;
mod episodes;
mod flips;
mod host;
mod latency;
mod names;
mod off;
mod plans;
pub(super) mod poolers;
mod rare;
mod scans;
mod timing;
mod whole;

use std::collections::{HashMap, HashSet};

use perfmon_core::capture::table::Key;
use perfmon_core::delta::{self, Prior};
use perfmon_core::family::{self, Family};
use perfmon_core::frame::{self, Quality, Together};
use perfmon_core::host::Machine;
use perfmon_core::rollup;
use pgrx::pg_sys;
use whole::{elapsed_us, total};

use super::header::Header;
use crate::error::Error;
use crate::pg::{catalog, clock, dbstat, session, txn};
use crate::probe::{self, ProbeError, Probed};
use crate::store::period::Level;
use crate::store::prior::Held;
use crate::{judge, settings, store};

/// Version of this library, which must be that of the SQL objects.
pub(crate) const LIBRARY_VERSION: &str = env!("CARGO_PKG_VERSION");

/// What the launcher knows that a visit cannot see for itself.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Request {
    /// This database keeps what belongs to the whole cluster.
    pub(crate) home: bool,
    /// The visit is one of a schedule, so that a long interval is a late one.
    pub(crate) scheduled: bool,
    /// Somebody asked for this snapshot, and wants all of it.
    pub(crate) asked: bool,
    /// Scheduled snapshots were switched off at some time since the last visit.
    pub(crate) disabled: bool,
    /// Until when the database is known to have been quiet; 0 is unknown.
    pub(crate) quiet_until: i64,
    /// Transactions that collectors ran in this database since the server started.
    pub(crate) own_transactions: Option<i64>,
    /// CPU time of this process when the work began.
    pub(crate) started_cpu_us: i64,
}

/// A snapshot that will be there once the transaction commits.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    pub(crate) id: i64,
    /// What could not be read, in words.
    pub(crate) note: Option<String>,
    /// Housekeeping is due.
    pub(crate) due: bool,
    /// Printed plans that are in it, to be taken out of shared memory then.
    pub(crate) letters: Vec<(u32, u64)>,
    /// An objective of the whole cluster is judged here.
    pub(crate) judges_cluster: bool,
    /// Samples of what sessions do that are in it, counted since the server started.
    pub(crate) samples: Option<u64>,
}

/// What to say when library and SQL objects differ.
pub(crate) fn mismatch(installed: &str) -> String {
    format!(
        "the library is version {LIBRARY_VERSION}, the SQL objects are version {installed}: \
         run ALTER EXTENSION pg_perfmon UPDATE, or restart the server if the library is the older"
    )
}

/// Takes a snapshot of this database in the transaction of somebody who asked for it, and waits for nobody.
pub(crate) fn snapshot(request: &Request) -> Result<Stored, Error> {
    let owner = owner()?;
    session::as_user(owner, || store::prior::lock(false));
    // What the holder of the lock before stored must be seen, else it would be counted again.
    Ok(txn::with_latest_snapshot(|| snapshot_alone(request, owner, None)))
}

/// Takes a snapshot in a collector's, with what poolers said already; not while another session writes history.
pub(super) fn snapshot_with(
    request: &Request,
    poolers: Option<poolers::Answers>,
) -> Result<Result<Stored, Held>, Error> {
    let owner = owner()?;
    let locked = session::as_user(owner, store::prior::lock_in_time);
    Ok(locked.map(|()| txn::with_latest_snapshot(|| snapshot_alone(request, owner, poolers))))
}

/// The same, while no other session writes history.
fn snapshot_alone(
    request: &Request,
    owner: pg_sys::Oid,
    poolers: Option<poolers::Answers>,
) -> Stored {
    let mut visit = session::as_user(owner, || Visit::begin(request));
    visit.poolers = poolers;
    // The caller's transaction may have looked at counters long ago, and would see these again.
    dbstat::refresh();
    session::as_user(pg_monitor(), || visit.read());
    session::as_user(owner, || visit.store());
    if let Some(wanted) = session::as_user(owner, || visit.wanted_texts()) {
        let read = session::as_user(pg_monitor(), || visit.read_texts(&wanted));
        session::as_user(owner, || visit.store_texts(&wanted, read));
    }
    // Not pg_monitor: settings that only superusers may see stay unseen.
    let own = session::as_user(pg_read_all_stats(), || {
        visit.attempt("settings of the database", || Ok(probe::settings::of_database()))
    });
    if visit.header.settings_due(visit.until, catalog::configuration_loaded(), own) {
        let read = session::as_user(pg_read_all_stats(), || {
            visit.attempt("settings", probe::settings::settings)
        });
        session::as_user(owner, || visit.store_settings(read, own));
    }
    if let Some(standing) = visit.objects_due() {
        let seen = session::as_user(owner, || visit.seen_objects());
        let look = session::as_user(pg_monitor(), || visit.look_at_objects(&seen));
        session::as_user(owner, || visit.store_objects(&seen, look, &standing));
    }
    session::as_user(owner, || {
        visit.finish();
        let due =
            store::chore::maintenance_due(visit.until, settings::snapshot_interval_us()).is_some();
        let note = (!visit.problems.is_empty()).then(|| visit.problems.join("; "));
        let judges_cluster = request.home && store::slo::of_cluster();
        let letters = std::mem::take(&mut visit.letters);
        let samples = visit.stored_samples;
        Stored { id: visit.until, due, judges_cluster, note, letters, samples }
    })
}

/// Does one step of housekeeping; returns whether more is due.
pub(crate) fn keep_house() -> bool {
    let Ok(owner) = owner() else { return false };
    session::as_user(owner, || {
        let interval = settings::snapshot_interval_us();
        let now = clock::wall_us();
        let Some(step) = store::chore::maintenance_due(now, interval) else { return false };
        store::chore::run_step(step, now);
        store::chore::maintenance_due(now, interval).is_some()
    })
}

/// Evaluates the findings in the transaction of a snapshot that was asked for without a launcher; what
/// fails is told and loses only itself.
pub(crate) fn evaluate_in_passing() {
    let Ok(owner) = owner() else { return };
    let now = clock::wall_us();
    let last = session::as_user(owner, store::chore::evaluated);
    if !judge::is_due(now, last) {
        return;
    }
    let meter = judge::Meter::start();
    let result = txn::with_latest_snapshot(|| {
        txn::part(|| {
            judge::evaluate(judge::By::Schedule(last.map(|(at, _)| at)), |_| Vec::new())
                .unwrap_or_else(|error| error.raise())
        })
    });
    match result {
        Ok(judge::Evaluated::Open { .. }) => session::as_user(owner, || {
            store::chore::note_evaluated(now, meter.cost_us());
        }),
        Ok(_) => {}
        Err(caught) if caught.is_cancel() => caught.rethrow(),
        Err(caught) => pgrx::notice!("findings could not be evaluated: {caught}"),
    }
}

pub(super) fn owner() -> Result<pg_sys::Oid, Error> {
    catalog::extension(super::EXTENSION).and_then(catalog::extension_owner).ok_or_else(|| {
        Error::prerequisite("pg_perfmon is not installed in this database")
            .detail("Its history is kept in tables of the extension.")
            .hint("Run CREATE EXTENSION pg_perfmon.")
    })
}

fn pg_monitor() -> pg_sys::Oid {
    pg_sys::Oid::from(pg_sys::ROLE_PG_MONITOR)
}

fn pg_read_all_stats() -> pg_sys::Oid {
    pg_sys::Oid::from(pg_sys::ROLE_PG_READ_ALL_STATS)
}

/// Subject of the header among the prior counters.
const HEADER: &str = "visit";

/// Statements kept by name in a row when the store is over its bound.
const SQUEEZED_TO: usize = 500;

/// A snapshot in the making.
struct Visit {
    request: Request,
    source: i64,
    before: Option<Header>,
    header: Header,
    /// Monotonic clock, CPU time and WAL of this process when the visit began.
    began: Option<i64>,
    began_cpu_us: i64,
    began_wal_bytes: i64,
    /// End of the interval: the wall clock, nudged if it did not increase.
    until: i64,
    flags: i16,
    /// Time without a server since the last interval's end.
    downtime_us: i64,
    priors: HashMap<String, Vec<u8>>,
    places: store::prior::Places,
    next_priors: Vec<(&'static str, Vec<u8>)>,
    known: names::Known,
    subjects: Vec<Probed>,
    /// What the indexes of each table did.
    parts: Option<HashMap<frame::Key, Together>>,
    latency: Option<latency::Read>,
    captured: Option<captured::Captured>,
    off: off::Off,
    plans: Option<plans::Plans>,
    /// Statements that took most time since the last visit.
    longest: HashSet<Key>,
    host: Option<Machine>,
    poolers: Option<poolers::Answers>,
    activity: Option<activity::Activity>,
    stored_samples: Option<u64>,
    episodes: Option<episodes::Episodes>,
    /// Printed plans that are stored with this visit.
    letters: Vec<(u32, u64)>,
    /// What could not be read, in words.
    problems: Vec<String>,
    new_queryids: bool,
    /// Dictionary ids of the statements that were read, ascending by their keys there.
    statement_ids: (Vec<frame::Key>, Vec<u32>),
    has_statements: bool,
    /// Why statements could not be read, in words.
    no_statements: Option<String>,
    vanished: u64,
    /// The worst of all families': what the interval as a whole is worth.
    quality: Quality,
    stored_bytes: i64,
    squeezed: Option<bool>,
    active_us: Option<i64>,
    covered_exec_us: Option<i64>,
}

impl Visit {
    /// Loads what is known. The caller holds the lock that lets one snapshot at a time through.
    fn begin(request: &Request) -> Self {
        let began = clock::monotonic_us();
        let now = clock::wall_us();
        let system = catalog::system_identifier();
        let source = store::source::ensure_own(now, &catalog::database_name(), system);
        let (priors, places) = store::prior::load_to_replace();
        let mut priors: HashMap<String, Vec<u8>> = priors.into_iter().collect();
        let before = priors.remove(HEADER).and_then(|bytes| Header::decode(&bytes));
        let before = before.filter(|before| before.source == source);
        if before.is_none() {
            priors.clear();
        }
        let header =
            before.clone().unwrap_or_default().next(source, now, catalog::server_started());
        Self {
            request: *request,
            source,
            before,
            header,
            began,
            began_cpu_us: request.started_cpu_us,
            began_wal_bytes: session::wal_bytes(),
            until: now,
            flags: 0,
            downtime_us: 0,
            known: names::Known::decode(priors.remove(store::prior::NAMES)),
            priors,
            places,
            next_priors: Vec::new(),
            subjects: Vec::new(),
            parts: None,
            latency: None,
            captured: None,
            off: off::Off::default(),
            plans: None,
            longest: HashSet::new(),
            host: None,
            poolers: None,
            activity: None,
            stored_samples: None,
            episodes: None,
            letters: Vec::new(),
            problems: Vec::new(),
            new_queryids: false,
            statement_ids: Default::default(),
            has_statements: false,
            no_statements: None,
            vanished: 0,
            quality: Quality::Exact,
            stored_bytes: 0,
            squeezed: None,
            active_us: None,
            covered_exec_us: None,
        }
    }

    /// Reads all counters; a probe that fails leaves the others alone.
    fn read(&mut self) {
        let tables = !self.request.scheduled
            || self.request.asked
            || self.before.is_none()
            || self.header.tables_due(self.until);
        // The first visit of all stores no rows, so sizes would be lost on it.
        let sizes = tables && self.before.is_some() && self.header.sizes_due(self.until);
        let home = self.request.home;
        self.until = clock::wall_us();
        self.header = self.header.next(self.source, self.until, self.header.server_started);
        let scans_before = self.scans_before();
        self.captured = captured::Captured::read(home, scans_before);
        let mut extras = probe::server::Extras::default();
        if let Some(read) = self.attempt("statements", probe::statements::statements) {
            extras.statement_deallocs = read.probed.reading.evictions;
            extras.statement_entries = Some(read.entries);
            extras.statement_capacity = read.capacity;
            self.has_statements = true;
            self.subjects.push(read.probed);
        } else {
            // Whatever the other counters say of this interval, its statements are not in it.
            self.quality = Quality::LowerBound;
            self.no_statements = self.problems.last().cloned();
        }
        self.captured.iter_mut().for_each(captured::Captured::look_again);
        self.latency = latency::read(home);
        self.plans = plans::Plans::read();
        self.activity = activity::Activity::read(home);
        self.read_episodes(home);
        let sizing = clock::monotonic_us();
        if tables && let Some(read) = self.attempt("tables", || probe::relations::relations(sizes))
        {
            self.header.tables_at = self.until;
            // What a table's indexes did is asked of their own counters.
            self.subjects.extend([read.indexes, read.relations]);
        }
        if let Some(read) = self.attempt("databases", || probe::database::databases(home, sizes)) {
            self.subjects.push(read);
        }
        if sizes {
            self.header.sizes_at = self.until;
            self.header.sizes_cost_us = elapsed_us(sizing);
        }
        if home && let Some(Some(probed)) = self.attempt("I/O", probe::io::io) {
            self.subjects.push(probed);
        }
        if home {
            self.host = self.attempt("the machine", || Ok(probe::host::whole()));
            if self.poolers.is_none() {
                self.poolers = poolers::plan().map(poolers::ask);
            }
        }
        if let Some(probed) = self.attempt("server", || probe::server::server(extras)) {
            self.subjects.push(probed);
        }
    }

    /// Runs one read so that its failure is only its own.
    fn attempt<T>(
        &mut self,
        name: &str,
        read: impl FnOnce() -> Result<T, ProbeError>,
    ) -> Option<T> {
        match txn::part(read) {
            Ok(Ok(value)) => return Some(value),
            Ok(Err(problem)) => self.problems.push(problem.to_string()),
            // Cancelled or shut down: not this part's fault, and nothing that may be swallowed.
            Err(caught) if caught.is_cancel() => caught.rethrow(),
            Err(caught) => self.problems.push(format!("{name}: {caught}")),
        }
        None
    }

    /// Subtracts and writes; from here on the transaction has its id.
    fn store(&mut self) {
        self.nudge_clock();
        self.note_restart();
        self.note_no_statements();
        if !probe::database::is_counted() {
            self.note_disabled(family::DATABASE.name, "track_counts is off");
        }
        let subjects = std::mem::take(&mut self.subjects).into_iter();
        let (statements, others): (Vec<Probed>, Vec<Probed>) =
            subjects.partition(|probed| probed.reading.family.name == family::STATEMENT.name);
        statements.into_iter().for_each(|probed| self.store_subject(probed));
        // After the statements, which get their ids by descending time; before the server's row, which tells what
        // all of it took.
        self.store_cluster();
        self.store_host();
        self.store_poolers();
        self.store_latency();
        self.store_captured();
        self.store_plans();
        self.store_activity();
        self.store_episodes();
        others.into_iter().for_each(|probed| self.store_subject(probed));
    }

    fn store_subject(&mut self, mut probed: Probed) {
        probed.reading.at = self.until;
        probed.reading.executed = self.executed(&probed.reading);
        let family = probed.reading.family;
        let next = self.store_family(probed);
        self.next_priors.push((family.name, next));
    }

    fn last_until(&self, family: &Family) -> Option<i64> {
        store::history::last_until(family, Level::Minute, self.source, self.until)
    }

    /// One family: difference, ids, row. Returns the counters for the next visit.
    fn store_family(&mut self, probed: Probed) -> Vec<u8> {
        let Probed { mut reading, name } = probed;
        let order = reading.put_in_order();
        let name = |i: usize| name(order[i]);
        let family = reading.family;
        reading.parts = self.parts.take();
        let prior = self.priors.remove(family.name).and_then(|bytes| {
            let decoded = Prior::decode(family, &bytes);
            decoded
                .map_err(|e| self.problems.push(format!("last counters of {}: {e}", family.name)))
                .ok()
        });
        // Asking the rows means planning over every table of the present and the future: not if the
        // counters, saved with the last row, say it.
        let last = if prior.is_some() { None } else { self.last_until(family) };
        let difference = delta::difference(prior.as_ref(), last, &reading);
        if let Some(gap) = &difference.gap {
            self.tell_gap(family.name, gap);
        }
        self.parts = difference.together(&reading);
        let continues = prior.as_ref().is_some_and(|prior| prior.at == difference.since);
        let new_ids = self.name_objects(family, &difference, (order.len(), &name));
        // The server's row stands for the visit itself, so even a baseline leaves one.
        if !difference.baseline || family.name == family::SERVER.name {
            let given: HashMap<usize, u32> = new_ids.iter().copied().collect();
            let id_of = |i: usize| given.get(&i).copied().or_else(|| difference.id(i)).unwrap_or(0);
            let mut frame = difference.frame(&reading, &id_of);
            match family.name {
                "statement" => {
                    self.vanished = difference.vanished;
                    self.covered_exec_us = total(&frame, "total_exec_us");
                    if frame.ids.len() > SQUEEZED_TO && self.is_squeezed() {
                        rollup::keep_largest(&mut frame, SQUEEZED_TO);
                    }
                }
                "database" => {
                    let own = u64::from(session::database().to_u32());
                    let own = reading.keys.iter().position(|key| key.0 == own).map(id_of);
                    self.correct_database(&mut frame, own);
                }
                "server" => self.complete_server(&mut frame),
                _ => {}
            }
            let span = self.span(difference.since, difference.quality, continues);
            self.keep(span, &frame);
        }
        let next = delta::advance_in(difference.into_order(), reading, prior, &new_ids);
        let encoded = next.encode();
        if family.name == family::STATEMENT.name {
            self.statement_ids = (next.keys, next.ids);
        }
        encoded
    }

    /// Whether the store is over its bound, so that rows must be kept small. Asked once.
    fn is_squeezed(&mut self) -> bool {
        *self.squeezed.get_or_insert_with(store::retain::must_be_small)
    }

    /// Leaves the counters for the next visit, and says what was missed.
    fn finish(&mut self) {
        self.note_missed();
        self.header.until = self.until;
        let mut priors = std::mem::take(&mut self.next_priors);
        priors.extend(self.known.encode().map(|names| (store::prior::NAMES, names)));
        priors.push((HEADER, self.header.encode()));
        store::prior::save(&priors, std::mem::take(&mut self.places));
    }
}
