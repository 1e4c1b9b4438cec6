//! What was counted so far, for readers; and the worker's part in keeping entries free.

use std::ffi::CStr;
use std::rc::Rc;
use std::sync::atomic::Ordering;

use perfmon_core::capture::mailbox::{Delivered, Post, Waiting};
use perfmon_core::capture::reading::{self, Reading};
use perfmon_core::capture::table::{Key, Occupancy};
use perfmon_core::capture::tend::Tender;
use perfmon_core::capture::whole::{TimesOfAll, WorkOfAll};
use perfmon_core::capture::{failure, named, plan, route, scan};
use perfmon_core::lock::comeback::Comebacks;
use perfmon_core::lock::deadlock::Deadlock;

use super::memory;
use crate::pg::{clock, execution, session};

/// When counting began, microseconds since the Unix epoch; two readings with the same are of the same life of the
/// counters. `None` without preloading.
pub(crate) fn began() -> Option<i64> {
    memory::tables().map(memory::Tables::began)
}

/// When counting began and when the server was first ready for clients after that.
pub(crate) fn recovery() -> Option<(i64, i64)> {
    let tables = memory::tables()?;
    Some((tables.began(), tables.ready()?))
}

/// To be told when the server is ready.
pub(crate) fn note_ready(now: i64) {
    if let Some(tables) = memory::tables() {
        tables.note_ready(now);
    }
}

/// Settings that decide what the hooks hear of, and what they may be. A session, and a collector with them, may begin
/// with others than the server is configured with, as some are kept for its role; the launcher has no role.
const CONFIGURED: [(&CStr, &[&str]); memory::CONFIGURED] = [
    (
        c"log_min_messages",
        &[
            "debug5", "debug4", "debug3", "debug2", "debug1", "info", "notice", "warning", "error",
            "log", "fatal", "panic",
        ],
    ),
    (c"pg_perfmon.capture", &["off", "top", "all"]),
    (c"pg_perfmon.scan_sample_rate", &["0", "1"]),
];

/// Notes what the server is configured with, for processes that begin with something else.
pub(crate) fn note_configured() {
    let Some(tables) = memory::tables() else { return };
    for ((name, values), place) in CONFIGURED.into_iter().zip(tables.configured()) {
        let value = session::configured(name).map(whole);
        let at = values.iter().zip(1..).find(|(one, _)| Some(**one) == value.as_deref());
        place.store(at.map_or(0, |(_, number)| number), Ordering::Relaxed);
    }
}

/// Of a share, whether there is any: 0 or 1. Other values stay as they are.
fn whole(value: String) -> String {
    match value.parse::<f64>() {
        Ok(share) => u8::from(share > 0.0).to_string(),
        Err(_) => value,
    }
}

/// What the launcher noted of a setting.
pub(super) fn configured(name: &CStr) -> Option<String> {
    let mut noted = CONFIGURED.into_iter().zip(memory::tables()?.configured());
    let ((_, values), place) = noted.find(|((one, _), _)| *one == name)?;
    let at = usize::try_from(place.load(Ordering::Relaxed)).ok()?.checked_sub(1)?;
    values.get(at).map(|value| (*value).to_owned())
}

/// Execution times of a database's statements since the server started, in the order in which they came; with
/// `and_all` those of all that clients of any database sent, too. `None` without preloading. Two readings of the same
/// life of the server can be subtracted.
pub(crate) fn statements_and(
    database: u32,
    and_all: bool,
) -> Option<(Reading, Option<TimesOfAll>)> {
    let tables = memory::tables()?;
    let _shared = memory::lock(false)?;
    if and_all {
        let (own, all) = reading::read_with_all(&tables.statements, database);
        return Some((own, Some(all)));
    }
    Some((reading::read(&tables.statements, Some(database)), None))
}

/// Execution times of a database's statements alone.
pub(crate) fn statements(database: u32) -> Option<Reading> {
    statements_and(database, false).map(|(own, _)| own)
}

/// Failures of a database's sessions since the server started, or of all databases and of connections that never
/// got to one; `None` without preloading.
pub(crate) fn failures(database: Option<u32>) -> Option<Vec<failure::Counted>> {
    let tables = memory::tables()?;
    let _shared = memory::lock(false)?;
    Some(failure::read(&tables.failures, database))
}

/// Connections that were refused since the server started, or that did not get in for another reason.
pub(crate) fn refusals() -> u64 {
    let is_one = |one: &failure::Counted| {
        let (class, _) = failure::of_kind(one.key.kind);
        matches!(class, failure::Class::Refused | failure::Class::LoginFailed)
    };
    let all = failures(None).unwrap_or_default();
    all.iter().filter(|one| is_one(one)).fold(0, |sum, one| sum.wrapping_add(one.count))
}

/// Work of a database's routes since the server started, with `and_all` that of all databases in sum, too; `None`
/// without preloading.
pub(crate) fn routes(database: u32, and_all: bool) -> Option<(route::Reading, Option<WorkOfAll>)> {
    let tables = memory::tables()?;
    let _shared = memory::lock(false)?;
    if and_all {
        let (own, all) = route::read_with_all(&tables.routes, database);
        return Some((own, Some(all)));
    }
    Some((route::read(&tables.routes, database), None))
}

/// Statements executed with the hooks off, of a database since the server started; `None` without preloading.
pub(crate) fn untimed(database: u32) -> Option<u64> {
    let tables = memory::tables()?;
    let _shared = memory::lock(false)?;
    Some(named::untimed_now(&tables.routes, database))
}

/// Plans of a database's statements that were seen since the server started, and those that were printed and that no
/// collector has taken yet, oldest first; `None` without preloading.
pub(crate) fn plans(database: u32) -> Option<(Vec<plan::Counted>, Vec<Waiting>)> {
    let tables = memory::tables()?;
    let _shared = memory::lock(false)?;
    Some((plan::read(&tables.plans, database), tables.mailbox.waiting(Some(database))))
}

/// Some of the plans that were printed.
pub(crate) fn letters(places: &[(u32, u64)]) -> Vec<Delivered> {
    let Some(tables) = memory::tables() else { return Vec::new() };
    let Some(_shared) = memory::lock(false) else { return Vec::new() };
    places.iter().filter_map(|place| tables.mailbox.letter(*place)).collect()
}

/// Deadlocks since the server started of this number on, and how many there were; `None` without preloading.
pub(crate) fn deadlocks(number: u64) -> Option<(Vec<Deadlock>, u64)> {
    let board = memory::tables()?.deadlocks;
    let count = board.count();
    Some((board.since(number).into_iter().filter(|one| one.number < count).collect(), count))
}

/// Clients that came back to their transactions, of this number on, in microseconds since the Unix epoch, and how many did
/// since the server started; `None` without preloading.
pub(crate) fn comebacks(number: u64) -> Option<(Comebacks, u64)> {
    let board = memory::tables()?.comebacks;
    let count = board.count();
    let mut found = board.between(number, count);
    for one in &mut found.all {
        (one.before, one.at) = (clock::unix_us(one.before), clock::unix_us(one.at));
    }
    Some((found, count))
}

/// Takes out the printed plans that were stored.
pub(crate) fn take_out(letters: &[(u32, u64)]) {
    let Some(tables) = memory::tables() else { return };
    let Some(_alone) = memory::lock(true) else { return };
    for letter in letters {
        tables.mailbox.remove(*letter);
    }
}

/// Has some plans, by the births of their entries, printed again when they are seen next.
pub(crate) fn print_again(born: &[u32]) {
    if born.is_empty() {
        return;
    }
    let Some(tables) = memory::tables() else { return };
    let Some(_shared) = memory::lock(false) else { return };
    for found in tables.plans.all().filter(|found| born.contains(&found.born)) {
        found.payload.lost();
    }
}

/// Asks for the plans of the next executions of some statements.
pub(crate) fn want_plans(statements: &[Key], executions: u32) {
    let Some(tables) = memory::tables() else { return };
    let Some(_shared) = memory::lock(false) else { return };
    for key in statements {
        let entry =
            tables.statements.find(*key).and_then(|place| tables.statements.entry(place.entry));
        if let Some(entry) = entry {
            entry.payload.want(executions);
        }
    }
}

/// What the plans of a database's statements did since the server started, in the executions that were looked into;
/// `None` without preloading. `before` is an earlier reading of the same life of the counters, or nothing.
pub(crate) fn scans(database: u32, before: &[scan::Counted]) -> Option<scan::Reading> {
    let tables = memory::tables()?;
    let _shared = memory::lock(false)?;
    Some(scan::read(&tables.scans, database, before))
}

/// How full the memory is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct State {
    pub(crate) statements: Occupancy,
    pub(crate) failures: Occupancy,
    pub(crate) routes: Occupancy,
    /// Databases that have a place for what has no route of its own, and whether one found none since the server started.
    pub(crate) databases: u32,
    pub(crate) has_lost_routes: bool,
    pub(crate) plans: Occupancy,
    /// What became of the printed plans.
    pub(crate) post: Post,
    pub(crate) scans: Occupancy,
    /// Panics in hooks, after each of which one process counts no more.
    pub(crate) panics: u64,
}

/// How full the memory is; `None` without preloading.
pub(crate) fn state() -> Option<State> {
    let tables = memory::tables()?;
    Some(State {
        statements: tables.statements.occupancy(),
        failures: tables.failures.occupancy(),
        routes: tables.routes.occupancy(),
        databases: tables.routes.databases(),
        has_lost_routes: tables.routes.has_lost_places(),
        plans: tables.plans.occupancy(),
        post: tables.mailbox.post(),
        scans: tables.scans.occupancy(),
        panics: tables.panics(),
    })
}

/// The worker that keeps entries free; there is one in the server.
#[derive(Default)]
pub(crate) struct Keeper {
    statements: Tender,
    failures: Tender,
    routes: Tender,
    plans: Tender,
    scans: Tender,
}

/// A printed plan that no collector came for in this time is thrown away, microseconds.
const EXPIRES_AFTER_US: i64 = 2 * 3_600_000_000;

/// How many entries were ever claimed in each table.
#[derive(Clone, Copy)]
pub(crate) struct Births([u32; 5]);

/// What is counted now was claimed by then. `None` without preloading.
pub(crate) fn births() -> Option<Births> {
    let tables = memory::tables()?;
    Some(Births([
        tables.statements.births(),
        tables.failures.births(),
        tables.routes.births(),
        tables.plans.births(),
        tables.scans.births(),
    ]))
}

impl Keeper {
    /// Learns which databases there are, ascending, as was read after so much had been claimed.
    pub(crate) fn learn(&mut self, databases: &[u32], Births(births): Births) {
        let databases: Rc<[u32]> = databases.into();
        let tenders = [
            &mut self.statements,
            &mut self.failures,
            &mut self.routes,
            &mut self.plans,
            &mut self.scans,
        ];
        for (tender, births) in tenders.into_iter().zip(births) {
            tender.learn(Rc::clone(&databases), births);
        }
    }

    /// One pass, to be made at most once a second: says whether there is more to do.
    pub(crate) fn pass(&mut self) -> bool {
        let Some(tables) = memory::tables() else { return false };
        let Some(_alone) = memory::lock(true) else { return false };
        let statements = self.statements.pass(&tables.statements);
        let failures = self.failures.pass(&tables.failures);
        let routes = self.routes.pass(&tables.routes);
        if !tables.mailbox.is_empty() {
            let before = execution::now_us().saturating_sub(EXPIRES_AFTER_US);
            for key in tables.mailbox.expire(before) {
                let place = tables.plans.find(key);
                if let Some(entry) = place.and_then(|place| tables.plans.entry(place.entry)) {
                    entry.payload.lost();
                }
            }
        }
        let scans = self.scans.pass(&tables.scans);
        self.plans.pass(&tables.plans) || routes || statements || failures || scans
    }
}
