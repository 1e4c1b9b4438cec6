//! Judgement of this database: gathers what is known (history, catalog, settings, what statements say),
//! lets the core crate's detectors look at it, and keeps what they find. It must never judge itself, and
//! never hold a lock that a user waits for.

use perfmon_core::detect::{self, Judgement};
use perfmon_core::evaluation::{self, Took};
use perfmon_core::lock::lasting::Lasted;
use perfmon_core::pool::Pools;
use perfmon_core::threshold::Thresholds;
use pgrx::pg_sys;

mod counters;
mod facts;
mod host;
mod plans;
mod poolers;
mod sessions;
mod statements;

pub(crate) use facts::gather;

use crate::error::Error;
use crate::pg::{catalog, clock, session};
use crate::recall::cell::Cell;
use crate::recall::scope::Scope;
use crate::recall::{query, saturation};
use crate::{settings, store};

/// What findings that are kept look at: the last hour.
const WINDOW_US: i64 = 3_600_000_000;
/// Two evaluations are at least this far apart.
const SHORTEST_US: i64 = 60_000_000;
/// What an evaluation rests on was read at most so long before.
const READ_BEFORE_US: i64 = 10_000_000;

/// What is to be run may hold constants of statements, and so follows their texts.
pub(crate) fn may_read_texts() -> Result<bool, Error> {
    let value = query::value(
        "SELECT pg_catalog.pg_has_role('pg_read_all_stats'::pg_catalog.name, 'USAGE')",
        &[],
    )?;
    Ok(value == Cell::Bool(true))
}

/// The thresholds in force.
pub(crate) fn thresholds() -> Thresholds {
    Thresholds::with(store::finding::thresholds())
}

/// Pools over a window, and when their limits will be reached; `None` where no samples of them are kept.
pub(crate) fn pools(scope: &Scope) -> Result<Option<Pools>, Error> {
    pools_since(scope, None)
}

/// The same; what is `recent` began no later than a time, if one is given.
fn pools_since(scope: &Scope, recent: Option<i64>) -> Result<Option<Pools>, Error> {
    let processors = crate::probe::environment::processors();
    let found = store::extent::remembering(|| saturation::pools(scope, processors, recent))?;
    Ok(found.map(|pools| pools.foreseen(&thresholds())))
}

/// What is wrong in a window, as far as the current user may know. Writes nothing.
pub(crate) fn judge(scope: &Scope) -> Result<(perfmon_core::facts::Facts, Judgement), Error> {
    store::extent::remembering(|| {
        let mut facts = gather(scope)?;
        facts.pools = pools(scope)?;
        Ok(judged(facts))
    })
}

/// The same for findings that are kept: of what comes and goes within moments only what stands at the end, and of what
/// happens once what happened since they were judged `last`.
fn judge_standing(
    scope: &Scope,
    last: Option<i64>,
    lasted: impl FnOnce(i64) -> Vec<Lasted>,
) -> Result<(perfmon_core::facts::Facts, Judgement), Error> {
    let mut facts = gather(scope)?;
    facts.pools = pools_since(scope, last)?.map(|pools| Pools { standing: true, ..pools });
    // Snapshots are read a moment before they are judged; what is older than the window is not looked at again.
    facts.judged_us = last.map(|last| last.saturating_sub(READ_BEFORE_US));
    if let (Some(last), Some(sessions)) = (last, &mut facts.sessions) {
        sessions::since(scope, last, sessions)?;
    }
    if let Some(last) = last {
        facts.lasted = sessions::lasted(scope, &lasted(last))?;
    }
    Ok(judged(facts))
}

fn judged(facts: perfmon_core::facts::Facts) -> (perfmon_core::facts::Facts, Judgement) {
    let judgement = detect::judge(&facts, &thresholds());
    (facts, judgement)
}

/// What an evaluation takes, while it runs.
pub(crate) struct Meter {
    cpu_us: i64,
    wall_us: i64,
}

impl Meter {
    /// It begins.
    pub(crate) fn start() -> Self {
        Self { cpu_us: clock::cpu_us(), wall_us: clock::steady_us() }
    }

    /// What it cost up to now.
    pub(crate) fn cost_us(&self) -> i64 {
        let cpu_us = clock::cpu_us().saturating_sub(self.cpu_us);
        Took { cpu_us, wall_us: clock::steady_us().saturating_sub(self.wall_us) }.cost_us()
    }
}

/// Whether it is time for the next evaluation, given when the last one was and what it cost.
pub(crate) fn is_due(now: i64, last: Option<(i64, i64)>) -> bool {
    let Some((at, cost_us)) = last else { return true };
    let shortest = SHORTEST_US.max(settings::snapshot_interval_us());
    let pause = evaluation::pause_us(cost_us, shortest, settings::evaluation_interval_us());
    // Snapshots are not taken to the microsecond.
    now.saturating_sub(at) >= pause.saturating_sub(SHORTEST_US / 10) || at > now
}

/// What an evaluation came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Evaluated {
    /// It ran.
    Open {
        /// This many findings are open.
        open: i64,
        /// See there.
        names: Names,
        /// Some tell of connections that were short: that passes without anybody's doing.
        passing: bool,
    },
    /// Another session is at it.
    Busy,
    /// There is no history to judge.
    NoHistory,
}

/// What became of names in the texts of statements.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Names {
    /// Statements that the server analysed, or would have, had it known their names.
    pub(crate) statements: u32,
    /// Those of them whose names mean nothing, or other tables than those that their executions read.
    pub(crate) unresolved: u32,
}

impl Names {
    fn of(facts: &perfmon_core::facts::Facts) -> Self {
        let mut names = Self::default();
        for s in facts.statements.iter().flatten() {
            names.statements += u32::from(s.shape.is_some() || s.unresolved);
            names.unresolved += u32::from(s.unresolved);
        }
        names
    }
}

/// Who wants an evaluation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum By {
    /// It was time for one, after the last that was at a time: what did not change is not written.
    Schedule(Option<i64>),
    /// Somebody who asked: all numbers are written as they are now.
    Request,
}

impl By {
    fn last(self) -> Option<i64> {
        match self {
            Self::Schedule(last) => last,
            Self::Request => None,
        }
    }
}

/// Waits until no other session evaluates, as long as lock_timeout allows; then none begins until this
/// transaction ends. False when that was not long enough.
pub(crate) fn wait_for_other() -> bool {
    let owner = catalog::extension(EXTENSION).and_then(catalog::extension_owner);
    owner.is_some_and(|owner| session::as_user(owner, store::finding::wait_for_lock))
}

/// Judges the last hour and writes what changed. The caller's transaction must be one that may write, and the caller knows
/// which transactions that lasted were over after a time.
pub(crate) fn evaluate(
    by: By,
    lasted: impl FnOnce(i64) -> Vec<Lasted>,
) -> Result<Evaluated, Error> {
    let Some(owner) = catalog::extension(EXTENSION).and_then(catalog::extension_owner) else {
        return Ok(Evaluated::NoHistory);
    };
    if !session::as_user(owner, store::finding::try_lock) {
        return Ok(Evaluated::Busy);
    }
    let Some(source) = session::as_user(owner, store::source::own) else {
        return Ok(Evaluated::NoHistory);
    };
    let now = clock::wall_us();
    let monitor = pg_sys::Oid::from(pg_sys::ROLE_PG_MONITOR);
    let judged = session::as_user(monitor, || {
        let scope = Scope::of(now.saturating_sub(WINDOW_US), now, None);
        if !scope.has_history()? {
            return Ok(None);
        }
        let judge = || judge_standing(&scope, by.last(), lasted);
        store::extent::remembering(judge).map(Some)
    });
    let Some((facts, judgement)) = judged? else { return Ok(Evaluated::NoHistory) };
    session::as_user(owner, || {
        store::finding::reconcile(source, now, by == By::Request, &judgement);
        let standing = facts.sequences.iter().flatten();
        let standing = standing.filter_map(|s| Some((s.name.as_str(), s.last_value?)));
        store::sequence::keep(facts.now_us, standing);
        Ok(Evaluated::Open {
            open: store::finding::open(source),
            names: Names::of(&facts),
            passing: judgement.findings.iter().any(detect::passes),
        })
    })
}

const EXTENSION: &std::ffi::CStr = c"pg_perfmon";
