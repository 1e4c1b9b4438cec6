//! Transactions that a program leaves open.

use super::{
    Evidence, Facts, Finding, IdleTimes, LEAK, LEAK_SECONDS, LEAK_SESSIONS, Left, Meaning,
    Sessions, Severity, Sum, Thresholds, after, counted, describe, long_idle_us, look_there, span,
    transactions,
};

/// Whether a finding speaks of the transactions that are left open now.
pub(in crate::detect) fn speaks_of_leaks(facts: &Facts, thresholds: &Thresholds) -> bool {
    let idles = facts.sessions.iter().flat_map(|sessions| &sessions.idles);
    idles.into_iter().any(|idle| is_leak(idle, thresholds))
}

fn left(sum: &Sum, thresholds: &Thresholds) -> Left {
    sum.left(long_idle_us(thresholds))
}

/// Idle times that are a leak.
fn leaks_so(sum: &Sum, thresholds: &Thresholds) -> bool {
    sum.meaning(long_idle_us(thresholds)) == Meaning::Leak
        && left(sum, thresholds).sessions as f64 >= thresholds.of(&LEAK_SESSIONS)
}

/// One that goes on.
fn is_leak(idle: &IdleTimes, thresholds: &Thresholds) -> bool {
    left(&idle.sum, thresholds).open > 0 && leaks_so(&idle.sum, thresholds)
}

/// One that ended with its sessions since findings were judged last.
fn was_leak(idle: &IdleTimes, thresholds: &Thresholds) -> bool {
    let ended = |sum: &Sum| left(sum, thresholds).gone > 0 && leaks_so(sum, thresholds);
    idle.since_judged.as_ref().is_some_and(ended)
}

pub(super) fn leaks(facts: &Facts, sessions: &Sessions, thresholds: &Thresholds) -> Vec<Finding> {
    let told = |idle: &&IdleTimes| is_leak(idle, thresholds) || was_leak(idle, thresholds);
    let leaks = sessions.idles.iter().filter(told);
    leaks.map(|idle| leak(facts, idle, thresholds)).collect()
}

fn leak(facts: &Facts, idle: &IdleTimes, thresholds: &Thresholds) -> Finding {
    let (who, sum) = (&idle.who, &idle.sum);
    let left = left(sum, thresholds);
    let number = if left.open > 0 { left.open } else { left.sessions };
    let title = format!(
        "{}{} of {} {} inside a transaction{}, for up to {}",
        if left.at_least { "At least " } else { "" },
        counted(number as f64, "session"),
        describe(who),
        match (left.open, number) {
            (0, _) => "idled",
            (_, 1) => "idles",
            _ => "idle",
        },
        after(who),
        span(sum.longest_us as f64 / 1e6),
    );
    let object = match who.statement_id {
        Some(id) => format!("statement {id}"),
        None => format!("database {}", who.database),
    };
    let mut finding = Finding::new(
        LEAK,
        Severity::Warning,
        object,
        title,
        "Find the path of the program that runs this statement and ends neither with COMMIT nor with ROLLBACK, \
         most often one that an exception takes; have the pool take transactions back when connections are returned.",
        "PostgreSQL manual, idle_in_transaction_session_timeout",
    );
    finding.subject = format!("{} {} {}", who.database, who.user, who.application);
    if let (None, Some(queryid)) = (who.statement_id, who.queryid) {
        finding.subject.push_str(&format!(" {queryid}"));
    }
    finding.cause = Some(cause(sum, left));
    let longest = sum.longest_us as f64 / 1e6;
    let longest = Evidence::new("longest_idle_s", longest, "s");
    finding.evidence.push(longest.over(thresholds.of(&LEAK_SECONDS)));
    if let Some(queryid) = who.queryid {
        finding.evidence.push(Evidence::new("queryid", queryid, ""));
    }
    finding.evidence.push(Evidence::new("sessions", sum.distinct(), ""));
    finding.evidence.push(Evidence::new("open", sum.open, ""));
    if left.at_least {
        finding.evidence.push(Evidence::new("left_at_least", left.sessions, ""));
    }
    finding.evidence.push(Evidence::new("times", sum.times(), ""));
    finding.evidence.push(Evidence::new("resumed_or_finished", sum.resumed + sum.finished, ""));
    look_there(facts, &who.database, "perfmon.statement has the statement's text", &mut finding);
    transactions::limit(facts, &mut finding);
    finding
}

fn cause(sum: &Sum, left: Left) -> String {
    let number = counted((left.gone + left.open) as f64, "idle time");
    if left.at_least {
        return format!(
            "The client comes back from short idle times (up to {}), but not from long ones: at least {number} that ended with the \
             session or go on took longer.",
            span(sum.longest_returned_us as f64 / 1e6)
        );
    }
    format!(
        "The client does not come back: {number} ended with the session or go on, and a slow client would have ended them itself."
    )
}
