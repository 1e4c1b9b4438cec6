//! Deadlocks, noted in the session that the server ended. Runs in the hook of the log: it reads fields and shared
//! memory and writes atomics, nothing else. The others still wait for this session's locks meanwhile, so that their
//! statements are those that took part.

use perfmon_core::lock::deadlock::{Board, Link, Member, PARTIES, links};
use perfmon_core::lock::{Party, Tag, UNKNOWN_KIND};

use crate::pg::execution;
use crate::pg::others;
use crate::pg::report::Report;

/// Notes one, as far as it is understood: this session at least.
#[cold]
pub(super) fn note(board: &Board<'_>, report: &Report<'_>) {
    let own = others::own(report.query_id, report.database);
    let mut members: [Option<Member>; PARTIES] = [None; PARTIES];
    let links = links(report.detail, execution::database());
    let of = |link: &Link, party: Party| Member { party, blocker: link.blocker, tag: link.tag };
    let ours = links.iter().flatten().find(|link| link.pid == own.pid);
    let unknown = Tag { kind: UNKNOWN_KIND, ..Tag::default() };
    members[0] = Some(match ours {
        Some(link) => of(link, own),
        None => Member { party: own, blocker: 0, tag: unknown },
    });
    if ours.is_some() {
        let rest = links.iter().flatten().filter(|link| link.pid != own.pid);
        for (place, link) in members[1..].iter_mut().zip(rest) {
            let party = others::party(link.pid).unwrap_or(Party::nobody(link.pid));
            *place = Some(of(link, party));
        }
    }
    board.post(report.now, &members);
}
