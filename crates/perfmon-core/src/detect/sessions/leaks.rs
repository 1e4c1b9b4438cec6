//! Transactions that a program leaves open.

use std::collections::BTreeMap;

use super::{
    Evidence, Facts, Finding, IdleTimes, LEAK, LEAK_SECONDS, LEAK_SESSIONS, Left, Meaning,
    Sessions, Severity, Sum, Thresholds, Who, after, counted, describe, list, long_idle_us,
    look_there, name, span, transactions,
};

/// Whether a finding speaks of the transactions that are left open now.
pub(in crate::detect) fn speaks_of_leaks(facts: &Facts, thresholds: &Thresholds) -> bool {
    let speaks = |sessions: &Sessions| {
        sessions.idles.iter().any(|idle| is_leak(idle, thresholds))
            || !scattered(sessions, thresholds).is_empty()
    };
    facts.sessions.as_ref().is_some_and(speaks)
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
    let of_one = leaks.map(|idle| leak(facts, idle, thresholds));
    let of_several = scattered(sessions, thresholds);
    of_one.chain(of_several.iter().map(|all| scattered_leak(facts, all, thresholds))).collect()
}

/// Idle times that are a leak only together.
struct Scattered<'a> {
    /// What they share, beside database and user.
    shared: String,
    idles: Vec<&'a IdleTimes>,
}

/// Sessions that are left open, too few after each statement and of each name. A pool that hands connections on without a ROLLBACK
/// leaves them so after whatever came last, and many programs give each session, host or process a name of its own.
fn scattered<'a>(sessions: &'a Sessions, thresholds: &Thresholds) -> Vec<Scattered<'a>> {
    let is_left = |idle: &&IdleTimes| {
        idle.sum.meaning(long_idle_us(thresholds)) == Meaning::Leak
            && left(&idle.sum, thresholds).open > 0
            && !is_leak(idle, thresholds)
            && !was_leak(idle, thresholds)
    };
    let mut rest: Vec<&IdleTimes> = sessions.idles.iter().filter(is_left).collect();
    let mut found = Vec::new();
    let program = |who: &Who| Some(format!("{} after several", without_numbers(&who.application)));
    let statement = |who: &Who| who.statement().map(|statement| format!("after {statement}"));
    for shared in [&program as &dyn Fn(&Who) -> Option<String>, &statement] {
        let mut groups: BTreeMap<(&str, &str, String), Vec<&IdleTimes>> = BTreeMap::new();
        for idle in &rest {
            if let Some(shared) = shared(&idle.who) {
                let key = (idle.who.database.as_str(), idle.who.user.as_str(), shared);
                groups.entry(key).or_default().push(*idle);
            }
        }
        groups.retain(|_, idles| {
            open_in_all(idles, thresholds) as f64 >= thresholds.of(&LEAK_SESSIONS)
        });
        rest.retain(|idle| !groups.values().flatten().any(|told| std::ptr::eq(*told, *idle)));
        let groups = groups.into_iter();
        found.extend(groups.map(|((.., shared), idles)| Scattered { shared, idles }));
    }
    found
}

/// A name without what tells sessions, hosts and processes of one program apart: `worker 7` is `worker #`.
pub(super) fn without_numbers(name: &str) -> String {
    let part = |part: &str| {
        let stem = part.trim_end_matches(|c: char| c.is_ascii_digit());
        match (stem.len() == part.len(), stem.contains(|c: char| c.is_ascii_digit())) {
            (_, true) => "#".to_owned(),
            (true, _) => part.to_owned(),
            (false, _) => format!("{stem}#"),
        }
    };
    let mut parts = Vec::new();
    let mut rest = name;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_alphanumeric()).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        let mark = after.chars().next().map_or(0, char::len_utf8);
        let (mark, after) = after.split_at(mark);
        parts.push(part(word) + mark);
        rest = after;
    }
    parts.concat()
}

fn open_in_all(idles: &[&IdleTimes], thresholds: &Thresholds) -> i64 {
    idles.iter().map(|idle| left(&idle.sum, thresholds).open).sum()
}

/// What there are of, in the order in which it comes first.
fn several(all: impl Iterator<Item = String>) -> Vec<String> {
    let mut found = Vec::new();
    for one in all {
        if !found.contains(&one) {
            found.push(one);
        }
    }
    found
}

fn scattered_leak(facts: &Facts, scattered: &Scattered<'_>, thresholds: &Thresholds) -> Finding {
    /// So many statements and names are told.
    const NAMED: usize = 5;
    let mut idles = scattered.idles.clone();
    idles.sort_by_key(|idle| std::cmp::Reverse(idle.sum.longest_open_us));
    let mut who = idles.first().map(|idle| idle.who.clone()).unwrap_or_default();
    let statements = several(idles.iter().filter_map(|idle| idle.who.statement()));
    let names = several(idles.iter().map(|idle| name(&idle.who.application)));
    let under = if names.len() > 1 {
        who.application.clear();
        format!(" under {} names", names.len())
    } else {
        String::new()
    };
    let open = open_in_all(&idles, thresholds);
    let longest = idles.first().map_or(0.0, |idle| idle.sum.longest_open_us as f64 / 1e6);
    let at_least = idles.iter().any(|idle| left(&idle.sum, thresholds).at_least);
    let title = format!(
        "{}{} of {}{under} idle inside transactions after {}, for up to {}",
        if at_least { "At least " } else { "" },
        counted(open as f64, "session"),
        describe(&who),
        match statements.as_slice() {
            [one] => one.clone(),
            _ => counted(statements.len().max(1) as f64, "statement"),
        },
        span(longest),
    );
    let mut finding = Finding::new(
        LEAK,
        Severity::Warning,
        format!("database {}", who.database),
        title,
        "Have the pool take transactions back when connections are returned, and find the paths of the program that end neither with COMMIT \
         nor with ROLLBACK, most often those that an exception takes.",
        "PostgreSQL manual, idle_in_transaction_session_timeout",
    );
    finding.subject = format!("{} {} {}", who.database, who.user, scattered.shared);
    let those = match statements.is_empty() {
        true => String::new(),
        false => format!(", after {}", list(&statements, NAMED)),
    };
    let of = match names.len() {
        0 | 1 => String::new(),
        _ => format!(", of {}", list(&names, NAMED)),
    };
    finding.cause = Some(format!(
        "The client does not come back: {}{} go on{those}{of}, and a slow client would have ended them itself.",
        if at_least { "at least " } else { "" },
        counted(open as f64, "idle time")
    ));
    let evidence = Evidence::new("longest_idle_s", longest, "s");
    finding.evidence.push(evidence.over(thresholds.of(&LEAK_SECONDS)));
    finding.evidence.push(Evidence::new("open", open, ""));
    finding.evidence.push(Evidence::new("statements", statements.len() as i64, ""));
    finding.evidence.push(Evidence::new("application_names", names.len() as i64, ""));
    look_there(facts, &who.database, "perfmon.statement has the statements' texts", &mut finding);
    transactions::limit(facts, &mut finding);
    finding
}

fn leak(facts: &Facts, idle: &IdleTimes, thresholds: &Thresholds) -> Finding {
    let (who, sum) = (&idle.who, &idle.sum);
    let left = left(sum, thresholds);
    let number = if left.open > 0 { left.open } else { left.sessions };
    let longest_us = if left.open > 0 { sum.longest_open_us } else { sum.longest_us };
    let longest = longest_us as f64 / 1e6;
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
        span(longest),
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
