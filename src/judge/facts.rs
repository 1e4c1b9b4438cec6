//! Everything that is known about this database and a window, put together for the detectors.

use perfmon_core::facts::{Facts, Index, Sequence, Server, Table, pattern};
use perfmon_core::objective::Observed;
use pgrx::pg_sys;

use super::counters::{self, Name};
use super::{host, plans, poolers, sessions, statements};
use crate::error::Error;
use crate::pg::{catalog, clock, session, txn};
use crate::probe;
use crate::probe::catalog::{Catalog, Listed};
use crate::recall::evidence::evidence;
use crate::recall::objective::{Observer, declared};
use crate::recall::scope::Scope;
use crate::store;

/// What is known, as far as the current user may know it. What cannot be read is left unknown.
pub(crate) fn gather(scope: &Scope) -> Result<Facts, Error> {
    let scope = scope.quietly(scope.since, scope.until);
    let whole = counters::whole(&scope);
    let mut facts = Facts {
        now_us: clock::wall_us(),
        window: counters::window(&scope),
        history: counters::window(&whole),
        ..Facts::default()
    };
    // The server and the catalog at hand say nothing about another database.
    let own = scope.is_own();
    let known = if own { apart(probe::environment::environment) } else { None };
    facts.server = known.unwrap_or_else(|| Server {
        started_us: catalog::server_started(),
        block_bytes: i64::from(pg_sys::BLCKSZ),
        ..Server::default()
    });
    counters::server(&scope, &mut facts.server)?;
    facts.database = counters::database(&scope, facts.server.started_us)?;
    facts.evidence = evidence(&scope)?;
    if facts.database.exec_ms.is_some() {
        let seen = facts.evidence.as_deref().unwrap_or_default();
        facts.statements = Some(statements::statements(&scope, &whole, seen, own)?);
    }
    facts.failures = counters::failures(&scope)?;
    facts.plan_flips = plans::flips(&scope)?;
    facts.host = host::machine(&scope)?;
    let poolers = poolers::poolers(&scope)?;
    let is_home = facts.host.is_some() || !poolers.is_empty();
    facts.poolers = is_home.then_some(poolers);
    facts.sessions = sessions::sessions(&scope)?;
    if !own {
        return Ok(facts);
    }
    facts.server.trigram_opclass = apart(|| Ok(crate::advise::trigram_opclass())).flatten();
    if let Some(catalog) = apart(probe::catalog::catalog) {
        relations(&scope, &whole, catalog, &mut facts)?;
        pattern::heed(&mut facts);
    }
    facts.sequences = sequences();
    facts.objectives = Some(objectives(&scope)?);
    positions(&mut facts);
    Ok(facts)
}

/// What was promised, with what is known of it over the window. Objectives of the whole server are judged
/// where that is asked for.
fn objectives(scope: &Scope) -> Result<Vec<Observed>, Error> {
    let mut observer = Observer::new(scope);
    let all = declared(None, scope.until)?;
    all.iter().map(|one| observer.observe(one, scope.since)).collect()
}

/// Where sequences stood when that was last kept, so that it is known how fast they run.
fn positions(facts: &mut Facts) {
    let Some(sequences) = facts.sequences.as_mut().filter(|all| !all.is_empty()) else { return };
    // A reader of findings may not read the notes of housekeeping.
    let kept = apart(|| Ok(store::sequence::kept(facts.now_us))).flatten();
    let Some(kept) = kept else { return };
    for sequence in sequences {
        sequence.before = kept.values.get(&sequence.name).map(|value| (*value, kept.at));
    }
}

/// One read of the catalog, whose failure is only its own.
fn apart<T>(read: impl FnOnce() -> Result<T, probe::ProbeError>) -> Option<T> {
    match txn::part(read) {
        Ok(Ok(value)) => Some(value),
        Ok(Err(_)) => None,
        Err(caught) if caught.is_cancel() => caught.rethrow(),
        Err(_) => None,
    }
}

/// Where sequences stand may be read by those who may read all data; the collector acts as one, and so do
/// evaluations that are asked for.
fn sequences() -> Option<Vec<Sequence>> {
    let monitor = pg_sys::Oid::from(pg_sys::ROLE_PG_MONITOR);
    if session::user() == monitor {
        let reader = pg_sys::Oid::from(pg_sys::ROLE_PG_READ_ALL_DATA);
        return session::as_user(reader, || apart(probe::catalog::sequences));
    }
    apart(probe::catalog::sequences)
}

/// Joins the catalog with what history says, by plain names.
fn relations(
    scope: &Scope,
    whole: &Scope,
    catalog: Catalog,
    facts: &mut Facts,
) -> Result<(), Error> {
    let middle = scope.since.midpoint(scope.until);
    let window = counters::tables(scope)?;
    let first_half = counters::tables(&scope.quietly(scope.since, middle))?;
    let history = counters::tables(whole)?;
    let of_window = counters::indexes(scope)?;
    let of_history = counters::indexes(whole)?;
    let first_seen = counters::first_seen("index", scope)?;
    let covered_us = facts.history.covered_us;
    let now_us = facts.now_us;
    let table = |listed: Listed<Table>| {
        let name = plain(&listed.plain);
        let mut table = listed.fact;
        // A table that did nothing has no row, which is not the same as not being known.
        let quiet = |known: bool| known.then(Default::default);
        table.window = window.get(&name).map(|c| c.activity).or(quiet(facts.window.covered_us > 0));
        table.first_half =
            first_half.get(&name).map(|c| c.activity).or(quiet(facts.window.covered_us > 0));
        table.history = history.get(&name).map(|c| c.activity).or(quiet(covered_us > 0));
        // Gauges stand until they move again.
        if let Some(last) = window.get(&name).or(history.get(&name)) {
            table.live_rows = last.live_rows;
            table.dead_rows = last.dead_rows;
            table.mod_since_analyze = last.mod_since_analyze;
            table.ins_since_vacuum = last.ins_since_vacuum;
            table.table_bytes = last.table_bytes.or(table.table_bytes);
            table.toast_bytes = last.toast_bytes.or(table.toast_bytes);
        }
        table
    };
    let index = |listed: Listed<Index>| {
        let name = plain(&listed.plain);
        let mut index = listed.fact;
        index.first_seen_us = first_seen.get(&name).copied();
        let known = |scans: Option<Option<u64>>, covered: i64| {
            scans.flatten().or((covered > 0 && index.first_seen_us.is_some()).then_some(0))
        };
        index.window_scans = known(of_window.get(&name).map(|o| o.scans), facts.window.covered_us);
        index.history_scans = known(of_history.get(&name).map(|o| o.scans), covered_us);
        let bytes = of_window.get(&name).and_then(|o| o.bytes);
        let bytes = bytes.or(of_history.get(&name).and_then(|o| o.bytes));
        index.bytes = bytes.or(index.bytes);
        let age_us = index.first_seen_us.map_or(0, |at| now_us.saturating_sub(at).max(0));
        index.history_covered_us = covered_us.min(age_us);
        index
    };
    facts.indexes = Some(catalog.indexes.into_iter().map(index).collect());
    facts.tables = Some(catalog.tables.into_iter().map(table).collect());
    facts.foreign_keys = Some(catalog.foreign_keys);
    Ok(())
}

fn plain(names: &[String; 3]) -> Name {
    (names[0].clone(), names[1].clone())
}
