//! What was counted so far, for readers; and the worker's part in keeping entries free.

use perfmon_core::capture::table::Occupancy;
use perfmon_core::capture::tend::Tender;
use perfmon_core::capture::{failure, reading};

use super::memory;

/// Execution times of a database's statements since the server started, in the order in which they came; `None`
/// without preloading. Two readings of the same life of the server can be subtracted.
pub(crate) fn statements(database: u32) -> Option<Vec<reading::Counted>> {
    let tables = memory::tables()?;
    let _shared = memory::lock(false)?;
    Some(reading::read(&tables.statements, Some(database)))
}

/// Failures of a database's sessions since the server started, or of all databases and of connections that never
/// got to one; `None` without preloading.
pub(crate) fn failures(database: Option<u32>) -> Option<Vec<failure::Counted>> {
    let tables = memory::tables()?;
    let _shared = memory::lock(false)?;
    Some(failure::read(&tables.failures, database))
}

/// How full the memory is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct State {
    pub(crate) statements: Occupancy,
    pub(crate) failures: Occupancy,
    /// Panics in hooks, after each of which one process counts no more.
    pub(crate) panics: u64,
}

/// How full the memory is; `None` without preloading.
pub(crate) fn state() -> Option<State> {
    let tables = memory::tables()?;
    Some(State {
        statements: tables.statements.occupancy(),
        failures: tables.failures.occupancy(),
        panics: tables.panics(),
    })
}

/// The worker that keeps entries free; there is one in the server.
#[derive(Default)]
pub(crate) struct Keeper {
    statements: Tender,
    failures: Tender,
}

impl Keeper {
    /// One pass, to be made at most once a second: says whether there is more to do.
    pub(crate) fn pass(&mut self) -> bool {
        let Some(tables) = memory::tables() else { return false };
        let Some(_alone) = memory::lock(true) else { return false };
        let more = self.statements.pass(&tables.statements);
        self.failures.pass(&tables.failures) || more
    }
}
