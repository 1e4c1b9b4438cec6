//! Sessions in each other's way: chains of locks, transactions that are left open, and those that last.

use std::collections::{BTreeMap, BTreeSet};

use super::server::{horizon, transactions};
use super::words::{counted, list, name, span};
use super::{Detector, Judgement};
use crate::activity::State;
use crate::facts::session::{IdleTimes, Lasted, LockWait, Sessions, Who};
use crate::facts::{Facts, Holder, HolderKind};
use crate::finding::{Effort, Evidence, Finding, Severity};
use crate::lock::graph::MOST_WAITERS;
use crate::lock::idle::{Left, Meaning, Sum};
use crate::threshold::{Threshold, Thresholds};

mod leaks;

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

/// All that stand behind one head, of now, of a moment ago, or of the time since findings were judged last.
fn chains(facts: &Facts, sessions: &Sessions, thresholds: &Thresholds) -> Vec<Finding> {
    let recent = thresholds.of(&RECENT_SECONDS);
    let mut by_head: BTreeMap<(i64, &Who), Vec<&LockWait>> = BTreeMap::new();
    for wait in &sessions.waits {
        let unjudged = facts.judged_us.is_some_and(|judged| wait.seen_us >= judged);
        if unjudged || seconds(wait.seen_us, facts.now_us) <= recent {
            by_head.entry((wait.head_process_id, &wait.head)).or_default().push(wait);
        }
    }
    let crowd = crowd(facts, sessions);
    let mut found: BTreeMap<(String, String), (f64, Finding)> = BTreeMap::new();
    let heads = by_head.into_iter().flat_map(|((process, who), waits)| {
        by_transaction(waits).into_iter().map(move |waits| (process, who, waits))
    });
    for (process, who, waits) in heads {
        if let Some((longest, mut finding)) = chain(process, who, &waits, crowd, thresholds) {
            look_there(facts, &who.database, BLOCKING, &mut finding);
            // One program that does it again and again is one finding, of its worst time.
            let key = (finding.object.clone(), finding.subject.clone());
            match found.get(&key) {
                Some((worst, _)) if *worst >= longest => {}
                _ => drop(found.insert(key, (longest, finding))),
            }
        }
    }
    found.into_values().map(|(_, finding)| finding).collect()
}

/// Waits behind one process, told apart by its transactions: what one did says nothing of those before and after it.
fn by_transaction(mut waits: Vec<&LockWait>) -> Vec<Vec<&LockWait>> {
    waits.sort_by_key(|wait| wait.seen_us);
    let mut found: Vec<(i64, Vec<&LockWait>)> = Vec::new();
    for wait in waits {
        match found.last_mut() {
            // That transaction began before the one of this wait, or is the same: it was seen in it.
            Some((seen, same)) if head_began_us(wait) <= *seen => {
                *seen = wait.seen_us;
                same.push(wait);
            }
            _ => found.push((wait.seen_us, vec![wait])),
        }
    }
    found.into_iter().map(|(_, waits)| waits).collect()
}

/// When the head's transaction began; one whose age is not known may have gone on for ever.
fn head_began_us(wait: &LockWait) -> i64 {
    #[allow(clippy::cast_possible_truncation)]
    let us = |seconds: f64| (seconds * 1e6) as i64;
    wait.head_transaction_s.map_or(i64::MIN, |age| wait.seen_us.saturating_sub(us(age)))
}

/// How many waited at once on the whole server, by samples, where that is more than a look at locks takes in.
fn crowd(facts: &Facts, sessions: &Sessions) -> Option<u32> {
    /// A look may miss some of those that began to wait a moment ago.
    const MISSED: usize = 4;
    let open = sessions.waits.iter().filter(|wait| !wait.ended).map(|wait| wait.process_id);
    let seen = open.collect::<BTreeSet<i64>>().len();
    let peak = facts.pools.as_ref()?.last.server()?.lock_peak?;
    (seen + MISSED >= MOST_WAITERS && peak as usize > seen).then_some(peak)
}

/// Where more is to be seen: the home database knows neither relations nor texts of statements of the others.
pub(super) fn look_there(facts: &Facts, database: &str, what: &str, finding: &mut Finding) {
    if !database.is_empty() && database != facts.database.name {
        finding.remedy.push_str(&format!(
            " In database {database}, if pg_perfmon is installed there, {what}."
        ));
    }
}

fn chain(
    process: i64,
    who: &Who,
    waits: &[&LockWait],
    crowd: Option<u32>,
    thresholds: &Thresholds,
) -> Option<(f64, Finding)> {
    let longest = waits.iter().map(|w| seconds(w.began_us, w.seen_us)).fold(0.0, f64::max);
    let over = thresholds.of(&WAIT_SECONDS);
    if longest < over {
        return None;
    }
    let blocked = waits.iter().map(|w| w.process_id).collect::<BTreeSet<i64>>().len();
    let last = waits.iter().max_by_key(|w| w.seen_us)?;
    let critical = !keeps_for_its_session(last)
        && longest >= thresholds.of(&WAIT_CRITICAL_SECONDS)
        && blocked as f64 >= thresholds.of(&CRITICAL_SESSIONS);
    let goes_on = waits.iter().any(|w| !w.ended);
    let head = match process {
        0 => prepared(who, last),
        _ if goes_on => format!("process {process} of {}", describe(who)),
        _ => describe(who),
    };
    let crowd = crowd.filter(|_| goes_on);
    let title = format!(
        "{}{} {} up to {} for locks that {head} {}",
        if crowd.is_some() { "At least " } else { "" },
        counted(blocked as f64, "session"),
        match (goes_on, blocked) {
            (true, 1) => "waits",
            (true, _) => "wait",
            (false, _) => "waited",
        },
        span(longest),
        if goes_on { "holds" } else { "held" },
    );
    let (cause, remedy) = why(process, who, last, goes_on);
    let severity = if critical { Severity::Critical } else { Severity::Warning };
    let object = match who.database.as_str() {
        "" => "server".to_owned(),
        database => format!("database {database}"),
    };
    let mut finding = Finding::new(
        CHAIN,
        severity,
        object,
        title,
        remedy,
        "PostgreSQL manual, Explicit Locking; pg_blocking_pids",
    );
    finding.subject = format!("{} {}", who.user, who.application);
    finding.cause = Some(cause);
    show_chain(&mut finding, (longest, over), waits, last);
    if let Some(peak) = crowd {
        let evidence = Evidence::new("sessions_waiting_on_server_peak", i64::from(peak), "");
        finding.evidence.push(evidence);
    }
    finding.effort = Effort::Medium;
    let gain = if goes_on { "The sessions behind it go on." } else { "Nobody waits for it again." };
    finding.gain = Some(gain.to_owned());
    Some((longest, finding))
}

/// A prepared transaction, as far as it is known.
fn prepared(who: &Who, last: &LockWait) -> String {
    match &last.head_gid {
        None => "a prepared transaction".to_owned(),
        Some(gid) => format!("the prepared transaction {} of {}", name(gid), describe(who)),
    }
}

/// What shows it.
fn show_chain(
    finding: &mut Finding,
    (longest, over): (f64, f64),
    waits: &[&LockWait],
    last: &LockWait,
) {
    let blocked = waits.iter().map(|w| w.process_id).collect::<BTreeSet<i64>>().len();
    let depth = waits.iter().map(|w| w.depth).max().unwrap_or(1);
    finding.evidence.push(Evidence::new("longest_wait_s", longest, "s").over(over));
    finding.evidence.push(Evidence::new("sessions_waiting", blocked as i64, ""));
    finding.evidence.push(Evidence::new("chain_depth", depth, ""));
    let relations: BTreeSet<String> = waits.iter().filter_map(|w| w.relation.clone()).collect();
    if !relations.is_empty() {
        let relations: Vec<String> = relations.into_iter().collect();
        finding.evidence.push(Evidence::new("relations", list(&relations, 5), ""));
    }
    if let Some(queryid) = last.head.queryid {
        finding.evidence.push(Evidence::new("head_queryid", queryid, ""));
    }
    if let Some(age) = last.head_transaction_s {
        finding.evidence.push(Evidence::new("head_transaction_age_s", age, "s"));
    }
}

/// The head does nothing and is in no transaction: what it keeps are advisory locks of its session, as those do who elect a
/// leader.
fn keeps_for_its_session(last: &LockWait) -> bool {
    last.head_process_id != 0 && State::parse(&last.head_state) == Some(State::Idle)
}

/// Why the head does not let go, and what to do.
fn why(process: i64, who: &Who, last: &LockWait, goes_on: bool) -> (String, String) {
    let statement = after(who);
    if !goes_on {
        return why_it_was(process, who, last);
    }
    if process == 0 {
        return (
            "A transaction was prepared and has not been ended; it keeps its locks.".to_owned(),
            format!(
                "Commit it or roll it back{} (COMMIT PREPARED, ROLLBACK PREPARED); pg_prepared_xacts lists it.",
                match who.database.as_str() {
                    "" => String::new(),
                    database => format!(" in database {database}"),
                }
            ),
        );
    }
    if keeps_for_its_session(last) {
        return (
            "The head of the chain does nothing and is in no transaction: its session keeps an advisory lock until it \
             lets go of it or ends."
                .to_owned(),
            format!("{ADVISORY} End process {process} if it should not have the lock (pg_terminate_backend)."),
        );
    }
    if State::parse(&last.head_state).is_some_and(State::is_in_transaction) {
        return (
            format!(
                "The head of the chain idles inside its transaction{statement}: its program does not end it."
            ),
            format!(
                "Have the program end its transactions before it does anything else; end process {process} if it does not come back (pg_terminate_backend), and set idle_in_transaction_session_timeout."
            ),
        );
    }
    let statement = who.statement().unwrap_or_else(|| "a statement".to_owned());
    (
        format!(
            "The head of the chain is at work with {statement} and keeps its locks until its transaction ends."
        ),
        SHORTER.to_owned(),
    )
}

const ADVISORY: &str = "Programs that elect a leader wait so on purpose. Others should let go of advisory locks before they give \
                        their connection back (pg_advisory_unlock), or take them for a transaction (pg_advisory_xact_lock).";
const BLOCKING: &str = "blocking() names relations and statements";
const SHORTER: &str = "Make the statement faster or its transaction shorter; take locks late, and do changes of tables \
                       under lock_timeout.";

/// The same of a wait that is over: nobody is there to be ended.
fn why_it_was(process: i64, who: &Who, last: &LockWait) -> (String, String) {
    if process == 0 {
        return (
            "A transaction was prepared and not ended for that long; it kept its locks.".to_owned(),
            "Have the transaction manager end what it prepared at once.".to_owned(),
        );
    }
    if keeps_for_its_session(last) {
        return (
            "The head of the chain did nothing and was in no transaction: its session kept an advisory lock.".to_owned(),
            ADVISORY.to_owned(),
        );
    }
    if State::parse(&last.head_state).is_some_and(State::is_in_transaction) {
        return (
            format!(
                "The head of the chain idled inside its transaction{}: its program did not end it.",
                after(who)
            ),
            "Have the program end its transactions before it does anything else, and set \
             idle_in_transaction_session_timeout."
                .to_owned(),
        );
    }
    let statement = who.statement().unwrap_or_else(|| "a statement".to_owned());
    (
        format!(
            "The head of the chain was at work with {statement} and kept its locks until its transaction ended."
        ),
        SHORTER.to_owned(),
    )
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
