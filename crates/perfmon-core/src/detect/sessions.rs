//! Sessions in each other's way: chains of locks, transactions that are left open, and those that last.

use super::server::{horizon, transactions};
use super::words::{counted, list, name, span};
use super::{Detector, Judgement};
use crate::activity::{Kind, State};
use crate::facts::session::{IdleTimes, Lasted, LockWait, Sessions, Who};
use crate::facts::{Facts, Holder, HolderKind};
use crate::finding::{Effort, Evidence, Finding, Severity};
use crate::lock::graph::MOST_WAITERS;
use crate::lock::idle::{Left, Meaning, Sum};
use crate::threshold::{Threshold, Thresholds};

mod chains;
mod leaks;

use chains::chains;
use leaks::leaks;
pub(super) use leaks::speaks_of_leaks;

/// Sessions wait for locks of one that does not let go.
pub const CHAIN: &str = "lock_chain";
/// A program leaves transactions open.
pub const LEAK: &str = "idle_transaction_leak";
/// A transaction at work lasts.
pub const LONG: &str = "long_transaction";

/// The detector.
pub static DETECTOR: Detector =
    Detector { name: "sessions", kinds: &[CHAIN, LEAK, LONG], thresholds: THRESHOLDS, detect };

const WAIT_SECONDS: Threshold = Threshold::new(
    "lock_wait_seconds",
    10.0,
    "wait for a lock: warning",
    "pg_perfmon: ten times deadlock_timeout, after which the server logs a wait",
);
const WAIT_CRITICAL_SECONDS: Threshold = Threshold::new(
    "lock_wait_critical_seconds",
    60.0,
    "wait for a lock behind which several sessions stand: critical",
    "pg_perfmon: clients give up after about as long",
);
const CRITICAL_SESSIONS: Threshold = Threshold::new(
    "lock_wait_critical_sessions",
    5.0,
    "sessions that wait behind one: critical, if it lasts",
    "pgEdge workbench: more than five blocked sessions",
);
/// What is over for so long is told no more.
pub(super) const RECENT_SECONDS: Threshold = Threshold::new(
    "lock_recent_seconds",
    300.0,
    "time for which a wait for a lock or a deadlock that is over is still told",
    "pg_perfmon: five snapshots",
);
const LEAK_SECONDS: Threshold = Threshold::new(
    "idle_leak_seconds",
    60.0,
    "idle time inside a transaction that is long",
    "pg_perfmon: more than a client that only is slow takes between two statements",
);
const LEAK_SESSIONS: Threshold = Threshold::new(
    "idle_leak_sessions",
    2.0,
    "sessions that a program leaves open: warning",
    "pg_perfmon: one may be somebody's console",
);
const LONG_SECONDS: Threshold = Threshold::new(
    "long_transaction_seconds",
    3_600.0,
    "age of a transaction that is at work: warning",
    "pg_perfmon: an hour of dead rows that stay",
);

static THRESHOLDS: &[Threshold] = &[
    WAIT_SECONDS,
    WAIT_CRITICAL_SECONDS,
    CRITICAL_SESSIONS,
    RECENT_SECONDS,
    LEAK_SECONDS,
    LEAK_SESSIONS,
    LONG_SECONDS,
];

/// From which length on an idle time inside a transaction is long, microseconds.
#[allow(clippy::cast_possible_truncation)]
pub fn long_idle_us(thresholds: &Thresholds) -> i64 {
    (thresholds.of(&LEAK_SECONDS) * 1e6) as i64
}

fn detect(facts: &Facts, thresholds: &Thresholds, judgement: &mut Judgement) {
    match &facts.sessions {
        None => [CHAIN, LEAK].into_iter().for_each(|kind| judgement.unknown(kind)),
        Some(sessions) => {
            judgement.findings.extend(chains(facts, sessions, thresholds));
            judgement.findings.extend(leaks(facts, sessions, thresholds));
        }
    }
    match &facts.server.holders {
        None => judgement.unknown(LONG),
        Some(holders) => {
            let found = long(facts, holders, thresholds).or_else(|| lasted(facts, thresholds));
            judgement.findings.extend(found);
        }
    }
}

/// Who somebody is, in words.
fn describe(who: &Who) -> String {
    let database = match who.database.as_str() {
        "" => String::new(),
        database => format!(" in database {database}"),
    };
    match (who.application.as_str(), who.user.as_str()) {
        ("", "") => format!("a session{database}"),
        ("", user) => format!("user {}{database}", name(user)),
        (application, "") => format!("{}{database}", name(application)),
        (application, user) => format!("{} (user {}){database}", name(application), name(user)),
    }
}

/// The statement, where it is known.
fn after(who: &Who) -> String {
    who.statement().map_or_else(String::new, |statement| format!(" after {statement}"))
}

fn seconds(from_us: i64, to_us: i64) -> f64 {
    to_us.saturating_sub(from_us).max(0) as f64 / 1e6
}

/// Where more is to be seen: the home database knows neither relations nor texts of statements of the others.
pub(super) fn look_there(facts: &Facts, database: &str, what: &str, finding: &mut Finding) {
    if !database.is_empty() && database != facts.database.name {
        finding.remedy.push_str(&format!(
            " In database {database}, if pg_perfmon is installed there, {what}."
        ));
    }
}

/// Transactions at work that began long ago, of which no other finding speaks.
fn long(facts: &Facts, holders: &[Holder], thresholds: &Thresholds) -> Option<Finding> {
    let over = thresholds.of(&LONG_SECONDS);
    let old = |h: &&Holder| h.kind == HolderKind::Active && h.age_s.is_some_and(|age| age >= over);
    let all: Vec<&Holder> = holders.iter().filter(old).collect();
    let oldest =
        all.iter().max_by(|a, b| a.age_s.unwrap_or(0.0).total_cmp(&b.age_s.unwrap_or(0.0)))?;
    if horizon::blames(facts, thresholds, oldest) {
        return None;
    }
    let age = oldest.age_s?;
    let others = match all.len() {
        1 => String::new(),
        more => format!(", and {} more", more - 1),
    };
    let mut finding = Finding::new(
        LONG,
        Severity::Warning,
        format!("database {}", facts.database.name),
        format!(
            "Process {} is at work in a transaction that began {} ago{others}",
            oldest.name,
            span(age)
        ),
        "See what it does (long_transactions()); split work that takes so long, or run it on a standby; end it if \
         nobody waits for it.",
        "PostgreSQL manual, Routine Vacuuming",
    );
    finding.cause = Some(
        "One statement runs for long, or many in one transaction; its locks and the rows that it may still see stay."
            .to_owned(),
    );
    finding.evidence.push(Evidence::new("transaction_age_s", age, "s").over(over));
    finding.evidence.push(Evidence::new("transactions", all.len() as i64, ""));
    if let Some(held) = oldest.xid_age {
        finding.evidence.push(Evidence::new("transactions_held_back", held, "transactions"));
    }
    finding.effort = Effort::Medium;
    finding.gain = Some("Locks are let go of, and dead rows can be removed.".to_owned());
    Some(finding)
}

/// The same that began and ended since findings were judged last, or ended since.
fn lasted(facts: &Facts, thresholds: &Thresholds) -> Option<Finding> {
    let over = thresholds.of(&LONG_SECONDS);
    let is_long = |one: &&Lasted| !one.idled && one.age_s >= over;
    let long: Vec<&Lasted> = facts.lasted.iter().filter(is_long).collect();
    let longest = long.iter().max_by(|a, b| a.age_s.total_cmp(&b.age_s))?;
    let others = match long.len() {
        1 => String::new(),
        more => format!(", and {} more did", more - 1),
    };
    let with = longest.who.statement().map(|statement| format!(", at last with {statement}"));
    let mut finding = Finding::new(
        LONG,
        Severity::Warning,
        format!("database {}", facts.database.name),
        format!(
            "A transaction of {} was at work for {}{}{others}; it is over",
            describe(&longest.who),
            span(longest.age_s),
            with.unwrap_or_default()
        ),
        "Split work that takes so long, or run it on a standby.",
        "PostgreSQL manual, Routine Vacuuming",
    );
    finding.cause = Some(
        "One statement ran for long, or many in one transaction; its locks and the rows that it might still see stayed."
            .to_owned(),
    );
    finding.evidence.push(Evidence::new("transaction_age_s", longest.age_s, "s").over(over));
    finding.evidence.push(Evidence::new("transactions", long.len() as i64, ""));
    finding.effort = Effort::Medium;
    finding.gain = Some("Locks are let go of, and dead rows can be removed.".to_owned());
    Some(finding)
}

#[cfg(test)]
mod tests;
