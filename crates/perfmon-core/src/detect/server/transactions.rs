//! Transactions that end in deadlocks or are taken back, and those that idle.

use std::collections::{BTreeMap, BTreeSet};

use super::horizon::long_idle;
use crate::capture::failure::Class;
use crate::detect::Judgement;
use crate::detect::sessions::{RECENT_SECONDS, look_there, speaks_of_leaks};
use crate::detect::words::{count, counted, effect, list, percent, set, span, times};
use crate::facts::failure::Failure;
use crate::facts::session::{Deadlock, Who};
use crate::facts::{Facts, Holder};
use crate::finding::{Effort, Evidence, Finding, Severity};
use crate::threshold::{Threshold, Thresholds};

pub(in crate::detect) const DEADLOCKS: &str = "deadlocks";
pub(super) const ROLLBACKS: &str = "rollbacks";
pub(super) const IDLE: &str = "idle_in_transaction";

/// Of all transactions.
pub(super) const DEADLOCK_RATIO: Threshold = Threshold::ratio(
    "deadlock_ratio",
    0.001,
    "deadlocks over transactions: warning",
    "requirements",
);
/// Evidence.
pub(super) const MIN_DEADLOCKS: Threshold = Threshold::new(
    "deadlocks_min",
    3.0,
    "deadlocks in the window from which they are a warning; of fewer, those of the last minutes are information",
    "pg_perfmon: one may be chance",
);
/// Of all transactions.
pub(super) const ROLLBACK_RATIO: Threshold = Threshold::ratio(
    "rollback_ratio",
    0.1,
    "share of transactions taken back: information",
    "postgres_exporter's rules",
);
/// Evidence.
pub(super) const MIN_TRANSACTIONS: Threshold = Threshold::new(
    "transactions_min",
    1_000.0,
    "transactions in the window below which shares of them say nothing",
    "pg_perfmon",
);
/// Of the time that clients spent in transactions.
pub(super) const IDLE_RATIO: Threshold = Threshold::ratio(
    "idle_in_transaction_ratio",
    0.5,
    "share of the time in transactions that clients idled",
    "pg_perfmon",
);
/// On average.
pub(super) const IDLE_SESSIONS: Threshold = Threshold::new(
    "idle_in_transaction_sessions",
    1.0,
    "sessions idle in a transaction on average below which nothing is said",
    "pg_perfmon",
);
/// Round trips of a network are no trouble.
pub(super) const IDLE_MS: Threshold = Threshold::new(
    "idle_in_transaction_ms",
    50.0,
    "idle time per transaction below which nothing is said",
    "pg_perfmon: dozens of round trips",
);
/// One transaction, now.
pub(super) const IDLE_SECONDS: Threshold = Threshold::new(
    "idle_in_transaction_seconds",
    1_800.0,
    "age of the transaction of an idle session: warning",
    "pganalyze",
);

pub(super) fn detect(facts: &Facts, thresholds: &Thresholds, judgement: &mut Judgement) {
    let database = &facts.database;
    let transactions = database.commits.zip(database.rollbacks).map(|(c, r)| (c + r) as f64);
    let hours = facts.window.hours();
    match (database.deadlocks, transactions, hours) {
        (Some(deadlocks), Some(all), Some(_)) => {
            let many = dead(facts, thresholds, deadlocks as f64, all);
            let few = || recent(facts, &facts.database.name, thresholds);
            judgement.findings.extend(many.or_else(few));
        }
        _ => match recent(facts, &facts.database.name, thresholds) {
            Some(finding) => judgement.add(finding),
            None => judgement.unknown(DEADLOCKS),
        },
    }
    let elsewhere = elsewhere(facts);
    judgement.findings.extend(elsewhere.iter().filter_map(|name| recent(facts, name, thresholds)));
    match (database.rollbacks, transactions.filter(|n| *n >= thresholds.of(&MIN_TRANSACTIONS))) {
        (Some(rollbacks), Some(all)) => {
            judgement.findings.extend(taken_back(facts, thresholds, rollbacks as f64, all));
        }
        _ => judgement.unknown(ROLLBACKS),
    }
    // A program that leaves many open is told with its name and statement.
    let told = speaks_of_leaks(facts, thresholds);
    let idle = long_idle(facts, thresholds).filter(|_| !told);
    if database.idle_in_transaction_ms.is_none() && facts.server.holders.is_none() {
        judgement.unknown(IDLE);
    }
    judgement.findings.extend(idle.map(|holder| one_idles(facts, thresholds, holder)));
    judgement.findings.extend(many_idle(facts, thresholds));
}

fn dead(facts: &Facts, thresholds: &Thresholds, deadlocks: f64, all: f64) -> Option<Finding> {
    let ratio = deadlocks / all.max(1.0);
    let enough = deadlocks >= thresholds.of(&MIN_DEADLOCKS);
    if !enough || ratio <= thresholds.of(&DEADLOCK_RATIO) {
        return None;
    }
    let title = format!(
        "{} in {} ({})",
        counted(deadlocks, "deadlock"),
        counted(all, "transaction"),
        percent(ratio)
    );
    let mut finding = Finding::new(
        DEADLOCKS,
        Severity::Warning,
        format!("database {}", facts.database.name),
        title,
        "Have transactions lock rows and tables in the same order, keep them short, and repeat \
         those that end with SQLSTATE 40P01. The server's log names the statements of each \
         deadlock.",
        "requirements; PostgreSQL manual, Deadlocks",
    );
    finding.cause = Some("Transactions take the same locks in different order.".to_owned());
    finding.evidence.push(
        Evidence::new("deadlock_ratio", ratio, "ratio")
            .over(thresholds.of(&DEADLOCK_RATIO))
            .out_of(all as i64),
    );
    finding.evidence.push(Evidence::new("deadlocks", deadlocks as i64, ""));
    let victims = victims(facts);
    if !victims.is_empty() {
        finding.evidence.push(Evidence::new("victims", list(&victims, 3), ""));
    }
    name_members(&deadlocks_of(facts, &facts.database.name), &mut finding);
    Some(finding)
}

/// Who took part, as the hooks saw it.
fn name_members(deadlocks: &[&Deadlock], finding: &mut Finding) {
    let mut circles: BTreeMap<String, usize> = BTreeMap::new();
    let mut relations: BTreeSet<&str> = BTreeSet::new();
    for deadlock in deadlocks {
        let mut members: Vec<String> =
            deadlock.members.iter().map(|(who, _)| member(who)).collect();
        members.sort();
        *circles.entry(members.join(" and ")).or_default() += 1;
        relations.extend(deadlock.members.iter().filter_map(|(_, r)| r.as_deref()));
    }
    let mut circles: Vec<(String, usize)> = circles.into_iter().collect();
    circles.sort_by_key(|(_, n)| std::cmp::Reverse(*n));
    let told = |(circle, n): &(String, usize)| format!("{circle} ({})", counted(*n as f64, "time"));
    if !circles.is_empty() {
        let circles: Vec<String> = circles.iter().map(told).collect();
        finding.evidence.push(Evidence::new("between", list(&circles, 3), ""));
    }
    if !relations.is_empty() {
        let relations: Vec<String> = relations.into_iter().map(str::to_owned).collect();
        finding.evidence.push(Evidence::new("relations", list(&relations, 5), ""));
    }
    finding.effort = Effort::High;
    finding.gain = Some("Each deadlock costs its victim's work and deadlock_timeout.".to_owned());
}

fn member(who: &Who) -> String {
    let statement = who.statement();
    let application = Some(who.application.clone()).filter(|name| !name.is_empty());
    match (statement, application) {
        (Some(statement), Some(application)) => format!("{statement} of {application}"),
        (Some(statement), None) => statement,
        (None, Some(application)) => format!("a statement of {application}"),
        (None, None) => format!("a statement of user {}", who.user),
    }
}

/// The database of a deadlock's victim.
fn victims_database(deadlock: &Deadlock) -> Option<&str> {
    deadlock.members.first().map(|(who, _)| who.database.as_str())
}

/// Those whose victim was a session of a database.
fn deadlocks_of<'a>(facts: &'a Facts, database: &str) -> Vec<&'a Deadlock> {
    let all = facts.sessions.iter().flat_map(|sessions| &sessions.deadlocks);
    all.filter(|deadlock| victims_database(deadlock) == Some(database)).collect()
}

/// Other databases with deadlocks; the home database alone hears of them, so that only there some are known.
fn elsewhere(facts: &Facts) -> BTreeSet<&str> {
    let all = facts.sessions.iter().flat_map(|sessions| &sessions.deadlocks);
    all.filter_map(victims_database).filter(|name| *name != facts.database.name).collect()
}

/// Too few to be of weight, or of a database whose transactions are not counted here, but just now.
fn recent(facts: &Facts, database: &str, thresholds: &Thresholds) -> Option<Finding> {
    let recent_us = (thresholds.of(&RECENT_SECONDS) * 1e6) as i64;
    let own = deadlocks_of(facts, database);
    let last = own.iter().map(|deadlock| deadlock.at_us).max()?;
    let unjudged = facts.judged_us.is_some_and(|judged| last >= judged);
    if !unjudged && facts.now_us.saturating_sub(last) > recent_us {
        return None;
    }
    let mut finding = Finding::new(
        DEADLOCKS,
        Severity::Info,
        if database.is_empty() { "server".to_owned() } else { format!("database {database}") },
        format!("{} in the window", counted(own.len() as f64, "deadlock")),
        "Have transactions lock rows and tables in the same order, and repeat those that end with SQLSTATE 40P01.",
        "PostgreSQL manual, Deadlocks",
    );
    finding.cause = Some("Transactions take the same locks in different order.".to_owned());
    finding.evidence.push(Evidence::new("deadlocks", own.len() as i64, ""));
    name_members(&own, &mut finding);
    look_there(facts, database, "deadlocks() names relations and statements", &mut finding);
    Some(finding)
}

/// Statements that deadlocks ended, most frequent first, where the hooks saw them.
fn victims(facts: &Facts) -> Vec<String> {
    let all = facts.failures.iter().flat_map(|failures| &failures.all);
    let dead = all.filter(|failure| failure.class == Class::Deadlock);
    let name = |failure: &Failure| {
        let id = failure.statement_id?;
        Some(format!("statement {id} ({})", counted(failure.count as f64, "time")))
    };
    dead.filter_map(name).collect()
}

fn taken_back(facts: &Facts, thresholds: &Thresholds, rollbacks: f64, all: f64) -> Option<Finding> {
    let ratio = rollbacks / all;
    if ratio <= thresholds.of(&ROLLBACK_RATIO) {
        return None;
    }
    let mut finding = Finding::new(
        ROLLBACKS,
        Severity::Info,
        format!("database {}", facts.database.name),
        format!(
            "{} of transactions are rolled back ({} of {})",
            percent(ratio),
            count(rollbacks),
            count(all)
        ),
        "Look for errors in the server's log. If there are few, a driver or pool ends \
         transactions that only read by ROLLBACK, which does no harm.",
        "postgres_exporter's rules",
    );
    finding.cause =
        Some("Errors, or programs that end transactions by ROLLBACK as a rule.".to_owned());
    finding.evidence.push(
        Evidence::new("rollback_ratio", ratio, "ratio")
            .over(thresholds.of(&ROLLBACK_RATIO))
            .out_of(all as i64),
    );
    finding.effort = Effort::Medium;
    finding.gain = Some("Work that is taken back was in vain.".to_owned());
    Some(finding)
}

/// Sets a limit, unless there is one.
pub(in crate::detect) fn limit(facts: &Facts, finding: &mut Finding) {
    let name = "idle_in_transaction_session_timeout";
    if facts.server.number(name) == Some(0.0) {
        finding.statement = Some(set(&facts.server, name, "'10min'"));
        finding.risk =
            "Sessions that idle longer in a transaction are ended, and what they did not commit \
             is lost; see that no program relies on it."
                .to_owned();
    }
    finding.effort = Effort::Medium;
    finding.gain = Some("Locks are let go of, and dead rows can be removed.".to_owned());
}

fn many_idle(facts: &Facts, thresholds: &Thresholds) -> Option<Finding> {
    let database = &facts.database;
    let idle = database.idle_in_transaction_ms?;
    let active = database.active_ms?;
    let sessions = idle / (facts.window.hours()? * 3.6e6);
    let ratio = idle / (idle + active).max(1.0);
    let each = idle / ((database.commits? + database.rollbacks?) as f64).max(1.0);
    let over = thresholds.of(&IDLE_RATIO);
    let felt = sessions >= thresholds.of(&IDLE_SESSIONS) && each >= thresholds.of(&IDLE_MS);
    if ratio < over || !felt {
        return None;
    }
    let title = format!(
        "On average {} sessions idle within a transaction, {} of the time that transactions last",
        times(sessions),
        percent(ratio)
    );
    let mut finding = Finding::new(
        IDLE,
        Severity::Warning,
        format!("database {}", database.name),
        title,
        format!(
            "Have programs finish their transactions before they wait for anything else, and set a \
             limit. {}",
            effect(&facts.server, "idle_in_transaction_session_timeout")
        ),
        "PostgreSQL manual, idle_in_transaction_session_timeout",
    );
    finding.cause = Some(
        "Programs open a transaction and do other work, or wait for a user or a service, before \
         they end it."
            .to_owned(),
    );
    finding.evidence.push(
        Evidence::new("idle_in_transaction_ratio", ratio, "ratio")
            .over(over)
            .out_of((database.commits? + database.rollbacks?).try_into().unwrap_or(i64::MAX)),
    );
    finding.evidence.push(
        Evidence::new("sessions_idle_in_transaction", sessions, "")
            .over(thresholds.of(&IDLE_SESSIONS)),
    );
    finding
        .evidence
        .push(Evidence::new("idle_ms_per_transaction", each, "ms").over(thresholds.of(&IDLE_MS)));
    limit(facts, &mut finding);
    Some(finding)
}

fn one_idles(facts: &Facts, thresholds: &Thresholds, holder: &Holder) -> Finding {
    let age = holder.age_s.unwrap_or(0.0);
    let title = format!(
        "Process {} has been idle in a transaction that began {} ago",
        holder.name,
        span(age)
    );
    let mut finding = Finding::new(
        IDLE,
        Severity::Warning,
        "server",
        title,
        format!(
            "Find out what process {} waits for and end its transaction (pg_terminate_backend), \
             then have the program end its transactions in time.",
            holder.name
        ),
        "PostgreSQL manual, idle_in_transaction_session_timeout",
    );
    finding.cause = Some("A program opened a transaction and has not come back to it.".to_owned());
    finding
        .evidence
        .push(Evidence::new("transaction_age_s", age, "s").over(thresholds.of(&IDLE_SECONDS)));
    if let Some(held) = holder.xid_age {
        finding.evidence.push(Evidence::new("transactions_held_back", held, "transactions"));
    }
    limit(facts, &mut finding);
    finding
}
