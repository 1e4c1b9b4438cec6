//! Statements by how long single executions took, of which there were enough that a percentile says something.

use perfmon_core::detect::statements::is_own;
use perfmon_core::family::LATENCY;
use perfmon_core::objective::KNOWN;
use perfmon_core::report::ENOUGH;
use perfmon_core::rollup::OTHER;
use perfmon_core::tally::Who;

use super::cell::Cell;
use super::latency::Times;
use super::names::{self, Statement};
use super::scope::Scope;
use super::statements::{Line, all_times};
use super::times::switched_off;
use super::uncounted::untimed_users;
use crate::error::Error;

/// A statement that clients sent, and its times.
#[derive(Debug, Clone)]
pub(crate) struct Timed {
    pub(crate) who: Who,
    pub(crate) statement: Statement,
    pub(crate) times: Times,
    pub(crate) p95_ns: f64,
}

/// All of them, longest p95 first, but for the rest, nested ones and our own: however many others took longer once, none
/// of these is missing.
pub(crate) fn timed(scope: &Scope) -> Result<Vec<Timed>, Error> {
    let mut times = all_times(scope)?;
    times.retain(|who, times| who.1 != OTHER && times.all().executions() >= ENOUGH);
    let ids: Vec<Who> = times.keys().copied().collect();
    let mut named = names::statements(&ids)?;
    let timed = |(who, times): (Who, Times)| {
        let statement = named.remove(&who)?;
        let own = statement.query.text().is_some_and(|query| is_own(&query));
        let p95_ns = times.all().quantile(0.95)?.ns;
        let matters = statement.toplevel == Cell::Bool(true) && !own;
        matters.then_some(Timed { who, statement, times, p95_ns })
    };
    let mut all: Vec<Timed> = times.into_iter().filter_map(timed).collect();
    all.sort_by(|a, b| b.p95_ns.total_cmp(&a.p95_ns).then(a.who.cmp(&b.who)));
    Ok(all)
}

/// Marks those of which the hooks timed a small part only, where their users had sessions with the hooks off. Where nobody had, the
/// server counted what the hooks do not, as inside functions, or a moment earlier.
#[allow(clippy::cast_precision_loss)]
pub(super) fn mark_small_parts(scope: &Scope, lines: &mut [Line]) -> Result<(), Error> {
    let is_lacking = |line: &Line| {
        let timed = line.times.as_ref().map_or(0, |times| times.all().executions());
        let calls = line.value("calls").filter(|_| timed > 0);
        calls.is_some_and(|calls| (timed as f64) < KNOWN * calls as f64)
    };
    if !lines.iter().any(is_lacking) {
        return Ok(());
    }
    let quiet = scope.quietly(scope.since, scope.until);
    let users = untimed_users(&quiet)?;
    let was_off = switched_off(&quiet, LATENCY.name)?.is_some();
    for line in lines.iter_mut().filter(|line| is_lacking(line)) {
        let user = line.statement.user_name.text();
        line.is_small_part = was_off || users.contains(&None) || users.contains(&user);
    }
    Ok(())
}
