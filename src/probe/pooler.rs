//! Poolers that foreign servers of our wrapper name: who they are, and what their consoles say. Asking needs no
//! transaction, and should have none.

use std::ffi::CStr;
use std::time::{Duration, Instant};

use perfmon_core::pooler::{
    Asked, Client, Reading, ServerLink, Table, Target, Version, clients, servers,
};
use pgrx::pg_sys;

use crate::pg::{foreign, txn};

mod wire;

use wire::{Console, Failed};

/// The wrapper that the extension makes.
pub(crate) const WRAPPER: &CStr = c"pg_perfmon_pgbouncer";
/// For connecting, logging in and all answers of one visit.
const PATIENCE: Duration = Duration::from_secs(1);

/// A pooler that is to be asked, or why that cannot be.
pub(crate) struct Named {
    pub(crate) name: String,
    pub(crate) target: Result<Target, String>,
    pub(crate) version: Version,
}

/// The poolers of this database, with what the extension's owner logs in with.
pub(crate) fn named(owner: pg_sys::Oid) -> Vec<Named> {
    let named = |(oid, name): (pg_sys::Oid, String)| {
        let target = match txn::part(|| foreign::options(oid, owner)) {
            Ok((server, mapping)) => Target::of(&name, &server, &mapping)
                .map_err(|refused| format!("{}: {}", refused.problem, refused.hint)),
            Err(caught) if caught.is_cancel() => caught.rethrow(),
            Err(caught) => Err(caught.to_string()),
        };
        Named { name, target, version: foreign::version(oid, owner) }
    };
    found().into_iter().map(named).collect()
}

/// The names of all that there are in this database.
pub(crate) fn names() -> Vec<String> {
    found().into_iter().map(|(_, name)| name).collect()
}

fn found() -> Vec<(pg_sys::Oid, String)> {
    foreign::wrapper(WRAPPER).map(foreign::servers).unwrap_or_default()
}

/// What a pooler says of its pools.
pub(crate) fn ask(target: &Target) -> Asked {
    let ask = || -> Result<Reading, Failed> {
        let mut console = Console::open(target, Instant::now() + PATIENCE)?;
        let pools = console.ask("SHOW POOLS")?;
        let stats = console.ask("SHOW STATS")?;
        let reading = Reading::of(&pools, &stats, &console.ask("SHOW DATABASES")?)?;
        // What speaks like PgBouncer need not know these.
        let [users, config, servers] = ["SHOW USERS", "SHOW CONFIG", "SHOW SERVERS"]
            .map(|command| console.ask(command).unwrap_or_else(|_| Table::default()));
        Ok(reading.with_shared(&users, &config).with_links(&servers))
    };
    ask().map_or_else(|why| Asked::Failed(target.failure(why)), Asked::Answered)
}

/// Its clients, and its connections to servers.
pub(crate) fn links(target: &Target) -> Result<(Vec<Client>, Vec<ServerLink>), String> {
    let ask = || -> Result<_, Failed> {
        let mut console = Console::open(target, Instant::now() + PATIENCE)?;
        let clients = clients(&console.ask("SHOW CLIENTS")?)?;
        Ok((clients, servers(&console.ask("SHOW SERVERS")?)?))
    };
    ask().map_err(|why| target.failure(why))
}
