//! What history says about poolers at the end of the window, for the detectors.

use std::collections::{BTreeMap, BTreeSet};

use perfmon_core::facts::{Pool, Pooler};
use perfmon_core::pooler::Seen;
use perfmon_core::window::Level;

use crate::error::Error;
use crate::probe;
use crate::recall::pooler::{self, Names};
use crate::recall::scope::Scope;

/// So much of the window's end is looked at.
const END_US: i64 = 3_600_000_000;
/// Rows that are older say nothing of now.
const STALE_US: i64 = 900_000_000;

/// Poolers that were declared at the end of the window. None where nothing is recorded: the caller knows whether this
/// is where they would be.
pub(super) fn poolers(scope: &Scope) -> Result<Vec<Pooler>, Error> {
    let end = scope.quietly(scope.since.max(scope.until.saturating_sub(END_US)), scope.until);
    let mut answers: BTreeMap<String, Vec<bool>> = BTreeMap::new();
    let mut rows: BTreeMap<Names, Vec<(i64, Seen)>> = BTreeMap::new();
    let mut newest = (0, BTreeSet::new());
    pooler::each(&end, Level::Minute, &mut |span, names, values| {
        let mut seen = Seen::default();
        seen.add(values);
        if !names[1].is_empty() {
            rows.entry(names.clone()).or_default().push((span.until, seen));
            return;
        }
        if span.until > newest.0 {
            newest = (span.until, BTreeSet::new());
        }
        newest.1.insert(names[0].clone());
        if seen.of("asked") > 0 {
            answers.entry(names[0].clone()).or_default().push(seen.of("answered") > 0);
        }
    })?;
    if scope.until.saturating_sub(newest.0) > STALE_US {
        return Ok(Vec::new());
    }
    if scope.is_own() {
        // Nobody can do anything about one that was dropped.
        let there = probe::pooler::names();
        newest.1.retain(|name| there.contains(name));
    }
    let remembered = if scope.is_own() { pooler::remembered() } else { Default::default() };
    let stopped = |names: &Names| {
        remembered.poolers.get(&names[0]).is_some_and(|known| known.stopped.contains(&names[1]))
    };
    let pools = |name: &String| {
        let own = rows.iter().filter(|(names, _)| names[0] == *name);
        // A pool that is not in the last row is gone.
        let own = own.filter(|(_, rows)| rows.last().is_some_and(|row| row.0 == newest.0));
        own.map(|(names, rows)| Pool {
            database: names[1].clone(),
            user: Some(names[2].clone()).filter(|user| !user.is_empty()),
            is_stopped: stopped(names),
            rows: rows.clone(),
        })
        .collect()
    };
    let pooler = |name: &String| Pooler {
        name: name.clone(),
        answers: answers.get(name).cloned().unwrap_or_default(),
        pools: pools(name),
        shared: remembered.poolers.get(name).map(|known| known.shared.clone()).unwrap_or_default(),
    };
    Ok(newest.1.iter().map(pooler).collect())
}
