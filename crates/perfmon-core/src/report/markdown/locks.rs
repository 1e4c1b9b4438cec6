//! Sessions in each other's way: for whose locks others waited, deadlocks, and transactions that were left open.

use super::super::grid::Side::{Left, Right};
use super::super::grid::grid;
use super::super::locks::{DeadlocksOut, HeadOut, IdleOut, Locks, MemberOut, WhoOut};
use super::super::text::{plain, wrapped};
use super::super::words::{milliseconds, plural, sentence, whole};

/// How many of each are shown.
const SHOWN: usize = 8;

/// The section; nothing where nobody was in anybody's way.
pub(in crate::report) fn locks(out: &mut String, locks: Option<&Locks>) {
    let Some(locks) = locks else { return };
    let lines = said(locks);
    if locks.heads.is_empty() && lines.is_empty() {
        return;
    }
    out.push_str("## Locks and open transactions\n\n");
    if !locks.heads.is_empty() {
        let heads = [
            ("waited", Right),
            ("longest", Right),
            ("sessions", Right),
            ("depth", Right),
            ("for locks of", Left),
        ];
        let rows: Vec<_> = locks.heads.iter().take(SHOWN).map(row).collect();
        grid(out, heads, &rows);
    }
    for line in &lines {
        wrapped(out, "- ", line);
    }
    if !lines.is_empty() {
        out.push('\n');
    }
}

fn row(head: &HeadOut) -> [String; 5] {
    let who = who(&head.who);
    let head_is = match (head.process_id, &head.gid) {
        (Some(process), _) => format!("process {process} of {who}"),
        (None, Some(gid)) => format!("the prepared transaction {} of {who}", plain(gid)),
        (None, None) => "a prepared transaction".to_owned(),
    };
    [
        milliseconds(Some(head.waited_ms)),
        milliseconds(Some(head.longest_ms)),
        head.sessions.to_string(),
        whole(head.chain_depth),
        head_is,
    ]
}

/// Who somebody is, in words.
fn who(who: &WhoOut) -> String {
    match (who.application.as_str(), who.user_name.as_str()) {
        ("", "") => "a session".to_owned(),
        ("", user) => format!("user {}", plain(user)),
        // What is no client's session, as autovacuum, has none.
        (application, "") => plain(application),
        (application, user) => format!("{} (user {})", plain(application), plain(user)),
    }
}

fn said(locks: &Locks) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let left_out = locks.heads.len().saturating_sub(SHOWN);
    if left_out > 0 {
        lines.push(format!("{} not shown.", plural(left_out, "more head", "more heads")));
    }
    lines.extend(locks.heads.iter().take(SHOWN).filter_map(head));
    lines.extend(locks.deadlocks.iter().take(SHOWN).map(deadlock));
    let told = locks.idles.iter().filter(|idle| idle.meaning != "pauses");
    lines.extend(told.take(SHOWN).map(idle));
    lines
}

/// What a session did for whose locks others wait still.
fn head(head: &HeadOut) -> Option<String> {
    let process = head.process_id.filter(|_| head.goes_on)?;
    let relations: Vec<String> = head.relations.iter().map(|name| plain(name)).collect();
    let of = match relations.len() {
        0 => String::new(),
        _ => format!(" of {}", relations.join(", ")),
    };
    Some(sentence(&format!("process {process} holds locks{of} and is {}", plain(&head.state))))
}

fn deadlock(one: &DeadlocksOut) -> String {
    let member = |member: &MemberOut| {
        let id = member.who.statement_id.map(|id| format!(", statement {id}"));
        let on = member.relation.as_deref().map(|name| format!(", waiting for {}", plain(name)));
        format!("{}{}{}", who(&member.who), id.unwrap_or_default(), on.unwrap_or_default())
    };
    let members: Vec<String> = one.members.iter().map(member).collect();
    let count = usize::try_from(one.deadlocks).unwrap_or(usize::MAX);
    sentence(&format!("{}: {}", plural(count, "deadlock", "deadlocks"), members.join("; ")))
}

fn idle(idle: &IdleOut) -> String {
    let after = idle.who.statement_id.map(|id| format!(" after statement {id}"));
    let sessions = usize::try_from(idle.sessions).unwrap_or(usize::MAX);
    let open = match idle.open {
        0 => String::new(),
        open => format!(", {} go on", whole(open)),
    };
    sentence(&format!(
        "{} ({}): idle in transactions {} times{}, {} in all, the longest {}, in {}{open}",
        who(&idle.who),
        idle.meaning,
        whole(idle.times),
        after.unwrap_or_default(),
        milliseconds(Some(idle.idle_ms)),
        milliseconds(Some(idle.longest_ms)),
        plural(sessions, "session", "sessions"),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_known_of_somebody_is_told() {
        for (application, user, told) in [
            ("web", "shop", "web (user shop)"),
            ("", "shop", "user shop"),
            ("autovacuum worker", "", "autovacuum worker"),
            ("", "", "a session"),
        ] {
            let one = WhoOut {
                database_name: String::new(),
                user_name: user.to_owned(),
                application: application.to_owned(),
                statement_id: None,
            };
            assert_eq!(who(&one), told);
        }
    }
}
