//! Chains of locks, one finding for each program at the head of some.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use super::{
    CHAIN, CRITICAL_SESSIONS, Effort, Evidence, Facts, Finding, Kind, LockWait, MOST_WAITERS,
    RECENT_SECONDS, Sessions, Severity, State, Thresholds, WAIT_CRITICAL_SECONDS, WAIT_SECONDS,
    Who, after, counted, describe, list, look_there, name, seconds, span,
};

/// All that stand behind one head.
struct Chain {
    /// In words, and in few; and what it did last.
    head: String,
    short: String,
    state: String,
    goes_on: bool,
    longest: f64,
    waiters: BTreeSet<i64>,
    finding: Finding,
}

impl Chain {
    /// Of several of one program it is this one that is told first: what goes on matters more than what is over.
    fn worse(&self, other: &Self) -> Ordering {
        let rank = |chain: &Self| (chain.goes_on, chain.finding.severity);
        rank(self).cmp(&rank(other)).then(self.longest.total_cmp(&other.longest))
    }
}

/// Chains of now, of a moment ago, or of the time since findings were judged last.
pub(super) fn chains(facts: &Facts, sessions: &Sessions, thresholds: &Thresholds) -> Vec<Finding> {
    let recent = thresholds.of(&RECENT_SECONDS);
    let mut by_head: BTreeMap<(i64, Option<&str>, &Who), Vec<&LockWait>> = BTreeMap::new();
    for wait in &sessions.waits {
        let unjudged = facts.judged_us.is_some_and(|judged| wait.seen_us >= judged);
        if unjudged || seconds(wait.seen_us, facts.now_us) <= recent {
            let head = (wait.head_process_id, wait.head_gid.as_deref(), &wait.head);
            by_head.entry(head).or_default().push(wait);
        }
    }
    let crowd = crowd(facts, sessions);
    // One program that does it again and again is one finding.
    let mut found: BTreeMap<(String, String), Vec<Chain>> = BTreeMap::new();
    let heads = by_head.into_iter().flat_map(|((process, _, who), waits)| {
        by_transaction(waits).into_iter().map(move |waits| (process, who, waits))
    });
    for (process, who, waits) in heads {
        if let Some(mut chain) = chain(process, who, &waits, crowd, thresholds) {
            look_there(facts, &who.database, BLOCKING, &mut chain.finding);
            let key = (chain.finding.object.clone(), chain.finding.subject.clone());
            found.entry(key).or_default().push(chain);
        }
    }
    found.into_values().filter_map(told).collect()
}

/// The worst one, and in few words the others that go on.
fn told(mut chains: Vec<Chain>) -> Option<Finding> {
    /// So many are named, and so many in the title.
    const NAMED: usize = 5;
    const IN_TITLE: usize = 2;
    chains.sort_by(|a, b| b.worse(a));
    let mut chains = chains.into_iter();
    let Chain { waiters: told, mut finding, .. } = chains.next()?;
    let others: Vec<Chain> = chains.filter(|chain| chain.goes_on).collect();
    if others.is_empty() {
        return Some(finding);
    }
    let all = others.iter().flat_map(|chain| &chain.waiters);
    let more = all.filter(|waiter| !told.contains(waiter)).collect::<BTreeSet<_>>().len();
    let heads: Vec<String> = others.iter().map(|chain| chain.short.clone()).collect();
    let more = format!(", and {more} more for those of {}", list(&heads, IN_TITLE));
    finding.title.push_str(&more);
    let each = others.iter().map(|chain| {
        let waiters = counted(chain.waiters.len() as f64, "session");
        format!("{} ({}): {waiters}, up to {}", chain.head, chain.state, span(chain.longest))
    });
    let each = list(&each.collect::<Vec<_>>(), NAMED);
    finding.evidence.push(Evidence::new("other_heads", each, ""));
    Some(finding)
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

fn chain(
    process: i64,
    who: &Who,
    waits: &[&LockWait],
    crowd: Option<u32>,
    thresholds: &Thresholds,
) -> Option<Chain> {
    let longest = waits.iter().map(|w| seconds(w.began_us, w.seen_us)).fold(0.0, f64::max);
    let over = thresholds.of(&WAIT_SECONDS);
    if longest < over {
        return None;
    }
    let waiters: BTreeSet<i64> = waits.iter().map(|w| w.process_id).collect();
    let blocked = waiters.len();
    let last = waits.iter().max_by_key(|w| w.seen_us)?;
    let critical = !keeps_for_its_session(last)
        && longest >= thresholds.of(&WAIT_CRITICAL_SECONDS)
        && blocked as f64 >= thresholds.of(&CRITICAL_SESSIONS);
    let goes_on = waits.iter().any(|w| !w.ended);
    let head = match process {
        0 => prepared(who, last),
        _ if is_vacuum(who) && goes_on => format!("process {process}, an {},", describe(who)),
        _ if is_vacuum(who) => format!("an {}", describe(who)),
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
    let (head, short, state) = match process {
        0 => (head, "a prepared transaction".to_owned(), "prepared".to_owned()),
        _ => (format!("process {process}"), format!("process {process}"), last.head_state.clone()),
    };
    Some(Chain { head, short, state, goes_on, longest, waiters, finding })
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

/// What vacuums and analyzes by itself has no user.
fn is_vacuum(who: &Who) -> bool {
    who.user.is_empty() && who.application == Kind::AutovacuumWorker.name()
}

/// Why the head does not let go, and what to do.
fn why(process: i64, who: &Who, last: &LockWait, goes_on: bool) -> (String, String) {
    let statement = after(who);
    if process != 0 && is_vacuum(who) {
        let cause = if goes_on {
            "Autovacuum is at work on a table and keeps its lock until it is through with it"
        } else {
            "Autovacuum was at work on a table and kept its lock until it was through with it"
        };
        return (
            format!("{cause}: one that prevents wraparound gives way to nobody."),
            VACUUM.to_owned(),
        );
    }
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
const VACUUM: &str = "Let it end: it would begin again. Do changes of tables under lock_timeout, so that nobody waits behind one that \
                      waits; have the table vacuumed before its age makes autovacuum do it (VACUUM FREEZE at a quiet time), and \
                      faster (autovacuum_vacuum_cost_delay, autovacuum_vacuum_cost_limit).";
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
