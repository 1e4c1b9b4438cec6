//! What was counted so far, for readers; and the worker's part in keeping entries free.

use perfmon_core::capture::table::Occupancy;
use perfmon_core::capture::tend::Tender;
use perfmon_core::capture::whole::{TimesOfAll, WorkOfAll};
use perfmon_core::capture::{failure, reading, route};

use super::memory;

/// When counting began, microseconds since the Unix epoch; two readings with the same are of the same life of the
/// counters. `None` without preloading.
pub(crate) fn began() -> Option<i64> {
    memory::tables().map(memory::Tables::began)
}

/// Execution times of a database's statements since the server started, in the order in which they came; with
/// `and_all` those of all that clients of any database sent, too. `None` without preloading. Two readings of the same
/// life of the server can be subtracted.
pub(crate) fn statements_and(
    database: u32,
    and_all: bool,
) -> Option<(Vec<reading::Counted>, Option<TimesOfAll>)> {
    let tables = memory::tables()?;
    let _shared = memory::lock(false)?;
    if and_all {
        let (own, all) = reading::read_with_all(&tables.statements, database);
        return Some((own, Some(all)));
    }
    Some((reading::read(&tables.statements, Some(database)), None))
}

/// Execution times of a database's statements alone.
pub(crate) fn statements(database: u32) -> Option<Vec<reading::Counted>> {
    statements_and(database, false).map(|(own, _)| own)
}

/// Failures of a database's sessions since the server started, or of all databases and of connections that never
/// got to one; `None` without preloading.
pub(crate) fn failures(database: Option<u32>) -> Option<Vec<failure::Counted>> {
    let tables = memory::tables()?;
    let _shared = memory::lock(false)?;
    Some(failure::read(&tables.failures, database))
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

/// How full the memory is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct State {
    pub(crate) statements: Occupancy,
    pub(crate) failures: Occupancy,
    pub(crate) routes: Occupancy,
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
        panics: tables.panics(),
    })
}

/// The worker that keeps entries free; there is one in the server.
#[derive(Default)]
pub(crate) struct Keeper {
    statements: Tender,
    failures: Tender,
    routes: Tender,
}

impl Keeper {
    /// One pass, to be made at most once a second: says whether there is more to do.
    pub(crate) fn pass(&mut self) -> bool {
        let Some(tables) = memory::tables() else { return false };
        let Some(_alone) = memory::lock(true) else { return false };
        let statements = self.statements.pass(&tables.statements);
        let failures = self.failures.pass(&tables.failures);
        self.routes.pass(&tables.routes) || statements || failures
    }
}
