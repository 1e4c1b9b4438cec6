//! What is missing from a window or from what is recorded now, and the line that turns it on. Readers ask here, so that all of them
//! say the same; it must never go by what the session at hand set for itself.

use perfmon_core::capture::failure::Class;
use perfmon_core::capture::named::NO_PLACE;
use perfmon_core::family::{FAILURE, LATENCY, ROUTE, SERVER, STATEMENT};
use perfmon_core::window::DAY_US;

use super::cell::Cell;
use super::counting::{self, Missing, Where};
use super::failures::Failures;
use super::plan::Kept;
use super::query;
use super::scope::{Scope, now, show_time};
use super::times::{gap_rows, is_noted, switched_off};
use super::uncounted::{Users, named, untimed_users};
use super::untracked::{are_few, is_untracked};
use crate::error::Error;
use crate::pg::{catalog, fmgr, session};
use crate::settings;

/// A snapshot that is so many intervals late does not come.
const LATE: i64 = 3;

/// Time of which nothing is recorded.
#[derive(Debug, Clone)]
pub(crate) struct Unrecorded {
    /// When it begins, if something of the window is recorded.
    since: Option<i64>,
    /// Why, and what turns it on.
    pub(crate) missing: Missing,
}

impl Unrecorded {
    /// What is not recorded: of this window, or since when.
    pub(crate) fn words(&self) -> String {
        let what = self.since.map_or_else(
            || "of this window".to_owned(),
            |since| format!("since {}", show_time(since)),
        );
        format!("nothing is recorded {what}: {}", self.missing.problem)
    }

    /// Whether that is all of the window.
    pub(crate) fn is_all(&self) -> bool {
        self.since.is_none()
    }
}

/// Whether nothing is recorded of a window, or nothing of its end, because nobody takes snapshots. A database without any
/// history says so elsewhere; until when nobody used it is known to whoever visits it.
pub(crate) fn unrecorded(scope: &Scope, quiet_until: i64) -> Result<Option<Unrecorded>, Error> {
    let end = scope.until.min(now());
    let Some(newest) = Kept::of(&SERVER, scope).newest().filter(|_| scope.since < end) else {
        return Ok(None);
    };
    let is_own = scope.is_own();
    let is_off = is_own && !settings::enabled();
    let is_after = newest <= scope.since;
    if !is_after && !ends_within(scope, newest)? {
        return Ok(Some(Unrecorded { since: None, missing: of_hole(scope)? }));
    }
    let is_late = newest.saturating_add(LATE * settings::snapshot_interval_us()) < end;
    let is_over = is_after || is_off && is_late;
    // On a standby nobody knows whether the primary was used since, and what is set here says nothing of it.
    if session::in_recovery() {
        return Ok(is_after.then(|| Unrecorded { since: None, missing: not_replayed(newest) }));
    }
    if !is_over {
        return Ok(None);
    }
    // A database that nobody uses is not visited.
    if is_own && quiet_until > scope.since.max(newest) {
        return Ok(None);
    }
    let missing = if is_off { off() } else { no_snapshot(is_own) };
    Ok(Some(Unrecorded { since: (!is_after).then_some(newest), missing }))
}

const SEE_GAPS: &str = "perfmon.gaps(since, until) lists the times of which nothing is known.";

fn off() -> Missing {
    Missing {
        problem: "pg_perfmon.enabled is off".to_owned(),
        fix: "ALTER SYSTEM SET pg_perfmon.enabled = on; SELECT pg_reload_conf();".to_owned(),
    }
}

fn not_replayed(newest: i64) -> Missing {
    let fix = "perfmon.status() on the primary says whether snapshots are taken.";
    Missing {
        problem: format!(
            "the last snapshot that is here was taken at {}, and the primary was idle since, takes none, or is ahead of this standby",
            show_time(newest)
        ),
        fix: fix.to_owned(),
    }
}

fn no_snapshot(is_own: bool) -> Missing {
    let fix = match (is_own, settings::preloaded()) {
        (false, _) => SEE_GAPS,
        (true, _) if session::in_recovery() => {
            "A longer window may have some. The primary takes them, and they come along: there SELECT perfmon.snapshot(); takes one now, and perfmon.status() says whether they are taken."
        }
        (true, true) => {
            "A longer window may have some. SELECT perfmon.snapshot(); takes one now, perfmon.status() says whether they are taken."
        }
        (true, false) => {
            "SELECT perfmon.snapshot(); takes one. To have them taken: in postgresql.conf add pg_perfmon to shared_preload_libraries, then restart the server."
        }
    };
    Missing { problem: "no snapshot was taken in it".to_owned(), fix: fix.to_owned() }
}

/// Why nothing is recorded of a time before the newest interval.
fn of_hole(scope: &Scope) -> Result<Missing, Error> {
    let text = |row: &Vec<Cell>, i: usize| row.get(i).and_then(Cell::text);
    let gaps = gap_rows(scope)?;
    let noted = gaps.iter().rfind(|row| text(row, 3).as_deref() == Some("all"));
    let Some(why) = noted.and_then(|row| text(row, 5)) else {
        return Ok(no_snapshot(scope.is_own()));
    };
    Ok(Missing { problem: format!("noted then: {why}"), fix: SEE_GAPS.to_owned() })
}

/// Whether an interval ends in a window, or one reaches beyond it that is known to have begun quietly. Of long windows, and of times of
/// which no single intervals are kept, it is taken for granted.
fn ends_within(scope: &Scope, newest: i64) -> Result<bool, Error> {
    if newest <= scope.until || scope.until.saturating_sub(scope.since) > DAY_US {
        return Ok(true);
    }
    // Before the first single interval finer rows are no longer kept, or there were none.
    if Kept::of(&SERVER, scope).oldest_single().is_none_or(|at| at > scope.since) {
        return Ok(true);
    }
    let row = query::row(
        "SELECT r.until, r.quiet_us FROM perfmon.server_minute r
         WHERE r.source OPERATOR(pg_catalog.=) ANY ($1)
             AND r.until OPERATOR(pg_catalog.>) $2
         ORDER BY r.until LIMIT 1",
        &[scope.sources.clone().into(), query::time(scope.since)],
    )?;
    let Some(row) = row else { return Ok(true) };
    let of = |i: usize| row.get(i).and_then(Cell::int).unwrap_or(0);
    Ok(of(0) <= scope.until || of(1) > 0)
}

/// Why the server's own statistics count no statement of sessions that set nothing for themselves.
pub(crate) fn statements() -> Result<Option<Missing>, Error> {
    let missing = |problem: &str, fix: &str| {
        Some(Missing { problem: problem.to_owned(), fix: fix.to_owned() })
    };
    // Its settings are no sign: one that stands in a configuration file is known without the library.
    if !fmgr::is_preloaded("pg_stat_statements") {
        return Ok(missing(
            "not preloaded: statements are not counted",
            "In postgresql.conf: add pg_stat_statements to shared_preload_libraries, then restart the server.",
        ));
    }
    if catalog::extension(c"pg_stat_statements").is_none() {
        return Ok(missing(
            "not installed in this database",
            "CREATE EXTENSION pg_stat_statements;",
        ));
    }
    let why = match counting::ids_of_all()? {
        None => counting::tracking_of_all()?,
        off => off,
    };
    Ok(why.map(|why| Missing {
        problem: format!("{}: statements are not counted", why.problem),
        fix: why.fix,
    }))
}

/// Whose statements the server's own statistics do not count though they do others'.
pub(crate) fn statements_of_some() -> Result<Option<Missing>, Error> {
    let all = counting::roles_without_statements()?;
    let join = |of: fn(&Missing) -> &str, by| all.iter().map(of).collect::<Vec<_>>().join(by);
    let problem = join(|one| &one.problem, "; ");
    let fix = join(|one| &one.fix, " ");
    Ok((!all.is_empty()).then_some(Missing { problem, fix }))
}

/// The same of a window of which not all are known, where settings of then were why.
pub(crate) fn statements_in(scope: &Scope) -> Result<Option<Missing>, Error> {
    if scope.is_own()
        && let Some(missing) = statements()?
    {
        return Ok(Some(missing));
    }
    if let Some(why) = switched_off(scope, STATEMENT.name)? {
        return Ok(Some(of_then(format!("noted then: {why}"))));
    }
    Ok(is_untracked(scope).then(|| of_then(UNTRACKED.to_owned())))
}

/// Nobody notes that setting, but what follows from it is there.
const UNTRACKED: &str = "pg_stat_statements counted nothing while executions were timed, as it does where \
     pg_stat_statements.track is none or pg_stat_statements.track_utility off, for all or for who was at work";

/// What settings of then were why of: no line changes that now.
fn of_then(problem: String) -> Missing {
    Missing { problem, fix: String::new() }
}

/// Whose execution times are not counted now, those of some roles or of all.
pub(crate) fn times() -> Result<Option<Missing>, Error> {
    let (what, missing) = if let Some(missing) = counting::missing(None)? {
        ("Execution times are not counted", Some(missing))
    } else if let Some(missing) = counting::without_ids(None)? {
        ("Not all statements are counted", Some(missing))
    } else {
        ("Execution times of some are not counted", counting::uncounted_by_roles(Where::Here)?)
    };
    Ok(missing
        .map(|Missing { problem, fix }| Missing { problem: format!("{what}: {problem}"), fix }))
}

/// Why not all execution times of a window are known: by the settings of now, else by what was noted then.
pub(crate) fn times_in(scope: &Scope) -> Result<Missing, Error> {
    if scope.is_own()
        && let Some(missing) = times()?
    {
        return Ok(missing);
    }
    let noted = match switched_off(scope, LATENCY.name)? {
        // What has no id is not timed.
        None => ids_then(scope)?,
        noted => noted,
    };
    if let Some(why) = noted {
        return Ok(of_then(format!(
            "Execution times were not counted in some of this time; noted then: {why}"
        )));
    }
    let users = untimed_users(scope)?;
    Ok(of_then(match users.is_empty() {
        true if are_few(scope) => {
            "None of the few statements of this time was timed in it".to_owned()
        }
        true => format!("Execution times were not counted in this time{}", so_far(scope)),
        false => format!(
            "Not all that {} executed in this time was timed, as pg_perfmon.capture or compute_query_id was off then, or the latter when it was prepared",
            named(&users)
        ),
    }))
}

/// Why nothing that was executed had an id in some of a window, as was noted then.
pub(crate) fn ids_then(scope: &Scope) -> Result<Option<String>, Error> {
    Ok(switched_off(scope, STATEMENT.name)?.filter(|why| why.contains("compute_query_id")))
}

/// Why the hooks did not count something in some of a window, as settings said then. Of a time without preloading only that of
/// their times is noted.
pub(crate) fn uncounted_then(scope: &Scope, subject: &str) -> Result<Option<String>, Error> {
    Ok(match switched_off(scope, subject)? {
        None => switched_off(scope, LATENCY.name)?,
        noted => noted,
    })
}

/// Since when what the hooks count is recorded, of a window before that of which other things are.
pub(crate) fn not_yet(scope: &Scope) -> Option<String> {
    let is_recorded = Kept::of(&SERVER, scope).oldest().is_some_and(|oldest| oldest < scope.until);
    let counted = Kept::of(&LATENCY, scope).oldest();
    (is_recorded && counted.is_none_or(|since| since >= scope.until)).then(|| {
        counted.map_or_else(
            || "none are recorded so far".to_owned(),
            |since| format!("they are recorded since {} only", show_time(since)),
        )
    })
}

/// The same behind other words.
fn so_far(scope: &Scope) -> String {
    not_yet(scope).map(|since| format!(": {since}")).unwrap_or_default()
}

/// Why it is not known how much was executed in some of a window, where the database found no place for it.
pub(crate) fn executions_in(scope: &Scope) -> Result<Option<Missing>, Error> {
    Ok(is_noted(scope, (ROUTE.name, NO_PLACE))?.then(|| Missing {
        problem: format!("how much was executed is not known: {NO_PLACE}"),
        fix: "Raise pg_perfmon.max_routes (2 kB each) and restart the server.".to_owned(),
    }))
}

/// Why errors are not counted now, or whose the server keeps from the hooks.
pub(crate) fn errors() -> Result<Option<Missing>, Error> {
    Ok(match counting::missing(None)? {
        None => counting::hidden_errors(None)?,
        switched_off => switched_off,
    })
}

/// Whose executions or errors are not counted now, in any database.
pub(crate) fn anywhere() -> Result<Option<Missing>, Error> {
    if let Some(missing) = counting::missing(None)? {
        return Ok(Some(missing));
    }
    if let Some(roles) = counting::uncounted_by_roles(Where::Anywhere)? {
        return Ok(Some(roles));
    }
    Ok(match counting::hidden_errors_in(Where::Anywhere)? {
        None => counting::without_ids_anywhere()?,
        hidden => hidden,
    })
}

/// Why not all errors of a window are known: by the settings of now, else by what was noted then.
pub(crate) fn errors_in(scope: &Scope) -> Result<Missing, Error> {
    if scope.is_own() {
        let missing = match errors()? {
            None => counting::uncounted_by_roles(Where::Here)?,
            missing => missing,
        };
        if let Some(missing) = missing {
            let problem = format!("Errors are not counted: {}", missing.problem);
            return Ok(Missing { problem, fix: missing.fix });
        }
    }
    if let Some(why) = uncounted_then(scope, FAILURE.name)? {
        return Ok(of_then(format!(
            "Errors were not counted in some of this time; noted then: {why}"
        )));
    }
    let all = Failures::of(scope)?.all;
    let unseen = all.iter().filter(|one| one.kind.class == Class::Unseen);
    let users: Users = unseen.map(|one| one.kind.user.text()).collect();
    if let Some(missing) = executions_in(scope)?.filter(|_| users.is_empty()) {
        let problem = format!("No share of failures is known, as {}", missing.problem);
        return Ok(Missing { problem, fix: missing.fix });
    }
    Ok(of_then(match users.is_empty() {
        true => format!("Errors were not counted in this time{}", so_far(scope)),
        false => hidden_then(&users),
    }))
}

/// Whose errors were kept from the hooks, where no setting of now tells it.
pub(crate) fn hidden_then(users: &Users) -> String {
    format!(
        "not all errors of this window are known: log_min_messages or pg_perfmon.capture kept those of {} from the hooks",
        named(users)
    )
}

/// Why plans of this database are not recorded, and the line that turns them on.
pub(crate) fn plans() -> Result<Option<Missing>, Error> {
    if let Some(missing) = counting::missing(None)? {
        return Ok(Some(missing));
    }
    // They are kept by the id of their statement.
    Ok(match counting::ids_of_all()? {
        None => counting::plans_of_all()?,
        off => off,
    })
}

/// Why what plans of this database read is not counted, and the line that turns it on.
pub(crate) fn scans() -> Result<Option<Missing>, Error> {
    Ok(match counting::missing(None)? {
        None => counting::scans_of_all()?,
        missing => missing,
    })
}
