//! What the server's own statistics lack of a window of which they have the rest: what some executed without ids, or were told to
//! keep from them.

use std::collections::{BTreeSet, HashMap, HashSet};

use perfmon_core::family::{SERVER, STATEMENT};
use perfmon_core::frame::Quality;
use perfmon_core::report::ENOUGH;
use perfmon_core::rollup::OTHER;
use perfmon_core::tally::Who;
use perfmon_core::window::Level;

use super::absent;
use super::cell::Cell;
use super::counting::{self, Missing, NO_UTILITY, Off, UNTRACKED};
use super::names;
use super::plan::Kept;
use super::scope::Scope;
use super::statements::positions;
use super::times::off_times;
use super::uncounted::{Users, named, nameless_users};
use crate::error::Error;
use crate::store::latency;
use crate::store::read::{self, Segment};

/// Why something had no id, where no setting of now tells it: what was prepared keeps what it got then.
pub(crate) const IDS_THEN: &str = "compute_query_id was off then, or when it was prepared";

/// Who executed something that is not counted by statement, and why.
#[derive(Debug, Default)]
pub(crate) struct Lacking {
    nameless: Option<Missing>,
    /// Times of which no statements were read at all, and why.
    holes: Vec<(i64, i64)>,
    hole: Option<Missing>,
    untracked: Vec<Missing>,
    /// Ends of the intervals in which something was timed that the server did not count.
    ends: HashSet<i64>,
}

impl Lacking {
    /// By rows no coarser than `coarsest`.
    pub(crate) fn of(scope: &Scope, coarsest: Level) -> Result<Self, Error> {
        Self::of_users(scope, coarsest, None)
    }

    /// The same of what some users executed, where their rows are to be read for it.
    pub(crate) fn of_some(scope: &Scope, users: &Users, are_read: bool) -> Result<Self, Error> {
        match are_read {
            true => Self::of_users(scope, Level::Day, Some(users)),
            false => Self::without_rows(scope, Some(users)),
        }
    }

    /// What is known of it without reading the rows of statements.
    pub(crate) fn without_rows(scope: &Scope, users: Option<&Users>) -> Result<Self, Error> {
        let mut lacking = Self::of_holes(scope)?;
        lacking.add_nameless(scope, users)?;
        Ok(lacking)
    }

    fn of_users(scope: &Scope, coarsest: Level, users: Option<&Users>) -> Result<Self, Error> {
        let scope = &scope.quietly(scope.since, scope.until);
        let mut lacking = Self::without_rows(scope, users)?;
        let segments = Kept::of(&STATEMENT, scope).segments(scope, coarsest);
        let mut unseen = unseen(scope, &segments);
        name(&mut unseen)?;
        unseen.retain(|one| users.is_none_or(|users| users.contains(&one.user)));
        if scope.is_own() {
            lacking.explain(&UNTRACKED, &mut unseen, "not all that")?;
        }
        // Without a setting of now by which it must be so, it may have been forgotten, or read a moment later.
        keep_certain(&mut unseen, &segments);
        if scope.is_own() {
            lacking.explain(&NO_UTILITY, &mut unseen, "not all commands that")?;
        }
        lacking.note(&unseen, |_| true);
        let users = users_of(&unseen);
        if !users.is_empty() {
            let why =
                "pg_stat_statements.track was none then, or pg_stat_statements.track_utility off";
            let problem = untracked("not all that", &users, why);
            lacking.untracked.push(Missing { problem, fix: String::new() });
        }
        Ok(lacking)
    }

    /// Of times without any statements only, of which no row needs to be read.
    pub(crate) fn of_holes(scope: &Scope) -> Result<Self, Error> {
        let times = off_times(scope, STATEMENT.name)?;
        let Some((_, _, then)) = times.last() else { return Ok(Self::default()) };
        let now = if scope.is_own() { absent::statements()? } else { None };
        let (why, fix) = match now {
            Some(now) => (format!("pg_stat_statements: {}", now.problem), now.fix),
            None => (format!("noted then: {then}"), String::new()),
        };
        let problem = format!("no statements were counted in some of this time; {why}");
        let holes = times.iter().map(|(since, until, _)| (*since, *until)).collect();
        Ok(Self { holes, hole: Some(Missing { problem, fix }), ..Self::default() })
    }

    fn add_nameless(&mut self, scope: &Scope, of: Option<&Users>) -> Result<(), Error> {
        let mut users = nameless_users(scope)?;
        users.retain(|user| user.is_none() || of.is_none_or(|of| of.contains(user)));
        self.nameless = of_nameless(scope, &users)?;
        // Where nobody had an id, nothing could be read.
        if self.nameless.is_some() {
            self.hole = self.hole.take().filter(|hole| !hole.problem.contains("compute_query_id"));
        }
        Ok(())
    }

    /// Whether no statements were read in some of this time.
    pub(crate) fn has_hole(&self, since: i64, until: i64) -> bool {
        self.holes.iter().any(|hole| hole.0 < until && since < hole.1)
    }

    /// Without what had no id, which was told.
    pub(crate) fn but_nameless(self) -> Self {
        Self { nameless: None, ..self }
    }

    /// Without times of which no statements were read, which was told.
    pub(crate) fn but_holes(self) -> Self {
        Self { hole: None, ..self }
    }

    /// Takes out what a setting of now explains.
    fn explain(
        &mut self,
        off: &Off<'_>,
        unseen: &mut Vec<Unseen>,
        what: &str,
    ) -> Result<(), Error> {
        let (whose, missing) = counting::off_of(off, &users_of(unseen))?;
        let Some(Missing { problem, fix }) = missing else { return Ok(()) };
        self.note(unseen, |user| whose.contains(user));
        unseen.retain(|one| !whose.contains(&one.user));
        self.untracked.push(Missing { problem: untracked(what, &whose, &problem), fix });
        Ok(())
    }

    fn note(&mut self, unseen: &[Unseen], is_meant: impl Fn(&Option<String>) -> bool) {
        self.ends.extend(unseen.iter().filter(|one| is_meant(&one.user)).map(|one| one.until));
    }

    /// Ends of intervals in which something was timed that the server did not count.
    pub(crate) fn ends(&self) -> impl Iterator<Item = i64> {
        self.ends.iter().copied()
    }

    /// In words, with the lines that change it; `None` if nothing is lacking.
    pub(crate) fn missing(self) -> Option<Missing> {
        let others = self.hole.into_iter().chain(self.untracked);
        let all: Vec<Missing> = self.nameless.into_iter().chain(others).collect();
        let join = |of: fn(&Missing) -> &str, by| {
            let parts: Vec<&str> = all.iter().map(of).filter(|part| !part.is_empty()).collect();
            parts.join(by)
        };
        let problem = join(|one| &one.problem, "; ");
        let fix = join(|one| &one.fix, " ");
        (!all.is_empty()).then_some(Missing { problem, fix })
    }
}

/// The same of a whole window.
pub(crate) fn missing(scope: &Scope) -> Result<Option<Missing>, Error> {
    Ok(Lacking::of(scope, Level::Day)?.missing())
}

fn untracked(what: &str, users: &Users, why: &str) -> String {
    format!("{what} {} executed is counted by pg_stat_statements: {why}", named(users))
}

fn of_nameless(scope: &Scope, users: &Users) -> Result<Option<Missing>, Error> {
    if users.is_empty() {
        return Ok(None);
    }
    let now = if scope.is_own() { counting::without_ids(None)? } else { None };
    let Missing { problem, fix } =
        now.unwrap_or_else(|| Missing { problem: IDS_THEN.to_owned(), fix: String::new() });
    let problem = format!(
        "not all that {} executed is counted by statement, as some had no id: {problem}",
        named(users)
    );
    Ok(Some(Missing { problem, fix }))
}

/// A statement that was timed in an interval in which the server counted no execution of it.
#[derive(Debug)]
struct Unseen {
    until: i64,
    who: Who,
    /// It is in no rest, and was not forgotten.
    is_certain: bool,
    user: Option<String>,
}

fn users_of(unseen: &[Unseen]) -> Users {
    unseen.iter().map(|one| one.user.clone()).collect()
}

/// What the server counted in an interval: ids, ascending.
struct Counted {
    since: i64,
    ids: Vec<u32>,
    are_all: bool,
}

impl Counted {
    /// Whether what was executed after `since` is among them, if the server counts it: where statistics were reset or entries
    /// evicted, what was executed before is not.
    fn has_all_after(&self, since: i64) -> bool {
        self.are_all && self.since <= since
    }
}

/// The intervals in which nothing was evicted from the server's statistics.
fn kept_all(scope: &Scope, segments: &[Segment]) -> HashSet<(i64, i64)> {
    let mut kept = HashSet::new();
    let evictions: Vec<usize> = SERVER.position("statement_deallocs").into_iter().collect();
    read::frames(&scope.sources, &SERVER, segments, &evictions, &mut |row| {
        let is_known = evictions.iter().all(|column| row.head.is_known(*column));
        if is_known && row.column(0).is_none_or(|values| values.iter().all(|value| *value == 0)) {
            kept.insert((row.head.source, row.head.span.until));
        }
    });
    kept
}

fn unseen(scope: &Scope, segments: &[Segment]) -> Vec<Unseen> {
    let kept_all = kept_all(scope, segments);
    let mut counted: HashMap<(i64, i64), Counted> = HashMap::new();
    read::frames(&scope.sources, &STATEMENT, segments, &positions(&["calls"]), &mut |row| {
        let calls = row.column(0).unwrap_or(&[]);
        let known = row.ids.iter().zip(calls).filter(|(_, calls)| **calls > 0);
        let mut ids: Vec<u32> = known.map(|(id, _)| *id).collect();
        ids.sort_unstable();
        let span = row.head.span;
        let interval = (row.head.source, span.until);
        let are_all = ids.first() != Some(&OTHER)
            && span.quality != Quality::Doubtful
            && kept_all.contains(&interval);
        counted.insert(interval, Counted { since: span.since, ids, are_all });
    });
    let mut unseen = Vec::new();
    latency::ids(&scope.sources, segments, &mut |head, ids| {
        // Where nothing was read of the server's own statistics, that is a gap.
        let Some(counted) = counted.get(&(head.source, head.span.until)) else { return };
        let others =
            ids.iter().filter(|id| **id != OTHER && counted.ids.binary_search(id).is_err());
        unseen.extend(others.map(|id| Unseen {
            until: head.span.until,
            who: (head.source, *id),
            is_certain: counted.has_all_after(head.span.since),
            user: None,
        }));
    });
    unseen
}

/// Names their users, and leaves out what is nested: the server may be told not to count that, which is no part of the whole.
fn name(unseen: &mut Vec<Unseen>) -> Result<(), Error> {
    let ids: BTreeSet<Who> = unseen.iter().map(|one| one.who).collect();
    let known = names::statements(&ids.into_iter().collect::<Vec<_>>())?;
    unseen.retain_mut(|one| {
        let statement = known.get(&one.who).filter(|known| known.toplevel == Cell::Bool(true));
        one.user = statement.and_then(|statement| statement.user_name.text());
        one.user.is_some()
    });
    Ok(())
}

/// Keeps those of users of which so many executions were timed and not counted that it is no matter of a moment.
fn keep_certain(unseen: &mut Vec<Unseen>, segments: &[Segment]) {
    unseen.retain(|one| one.is_certain);
    if unseen.is_empty() {
        return;
    }
    let ids: BTreeSet<Who> = unseen.iter().map(|one| one.who).collect();
    let ids: Vec<Who> = ids.into_iter().collect();
    let meant: HashMap<(i64, Who), Option<String>> =
        unseen.iter().map(|one| ((one.until, one.who), one.user.clone())).collect();
    let mut executed: HashMap<Option<String>, u64> = HashMap::new();
    latency::of(&ids, segments, &mut |head, points| {
        for (index, latency) in points {
            let user = ids.get(*index).and_then(|who| meant.get(&(head.span.until, *who)));
            let Some(user) = user else { continue };
            let timed = latency.cached.executions().saturating_add(latency.read.executions());
            let sum = executed.entry(user.clone()).or_default();
            *sum = sum.saturating_add(timed);
        }
    });
    unseen.retain(|one| executed.get(&one.user).is_some_and(|timed| *timed >= ENOUGH));
}
