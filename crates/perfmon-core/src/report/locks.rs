//! Sessions in each other's way as facts of a report: for whose locks others waited, deadlocks, and transactions that
//! were left open.

use std::collections::{BTreeMap, BTreeSet};

use crate::detect::sessions::long_idle_us;
use crate::facts::session::{Deadlock, IdleTimes, LockWait, Sessions, Who};
use crate::threshold::Thresholds;

/// What samples and the hooks saw in the period.
#[derive(Debug, Clone, Default, serde::Serialize)]
pub struct Locks {
    /// Who was waited for at the heads of chains; most time waited first.
    pub heads: Vec<HeadOut>,
    /// Deadlocks, those of the same sessions' statements together; most often first.
    pub deadlocks: Vec<DeadlocksOut>,
    /// Idle times inside transactions; most time first.
    pub idles: Vec<IdleOut>,
}

/// Whose session, and with which statement.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct WhoOut {
    /// The database; empty where it is none.
    pub database_name: String,
    /// The user.
    pub user_name: String,
    /// What the client calls itself; may be empty.
    pub application: String,
    /// The statement's id in this history, where it is known.
    pub statement_id: Option<i64>,
}

/// A session for whose locks others waited.
#[derive(Debug, Clone, Default, serde::Serialize)]
pub struct HeadOut {
    /// Its process; `None`: a prepared transaction.
    pub process_id: Option<i64>,
    /// What the prepared transaction is called, where it is known.
    pub gid: Option<String>,
    /// Whose it is, and its last statement.
    pub who: WhoOut,
    /// What it did when it was seen last, as pg_stat_activity calls it.
    pub state: String,
    /// Sessions that waited behind it.
    pub sessions: u64,
    /// How long all of them waited together.
    pub waited_ms: f64,
    /// The longest wait.
    pub longest_ms: f64,
    /// Steps from it to the last in the chain.
    pub chain_depth: i64,
    /// Whose rows or locks were waited for, where that is known.
    pub relations: Vec<String>,
    /// Somebody waits still.
    pub goes_on: bool,
}

/// Deadlocks of the same sessions' statements.
#[derive(Debug, Clone, Default, serde::Serialize)]
pub struct DeadlocksOut {
    /// How many.
    pub deadlocks: u64,
    /// Who took part; the first was ended.
    pub members: Vec<MemberOut>,
}

/// A session of a deadlock.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct MemberOut {
    /// Whose it was, and its statement.
    pub who: WhoOut,
    /// What it waited for, where that is known.
    pub relation: Option<String>,
}

/// Idle times inside transactions after one statement.
#[derive(Debug, Clone, Default, serde::Serialize)]
pub struct IdleOut {
    /// Whose, and after which statement.
    pub who: WhoOut,
    /// `pauses`, `slow client` or `leak`.
    pub meaning: &'static str,
    /// How often, for a second and more.
    pub times: i64,
    /// Distinct sessions, as far as they are told apart.
    pub sessions: u64,
    /// Time in all.
    pub idle_ms: f64,
    /// The longest.
    pub longest_ms: f64,
    /// Those that go on.
    pub open: i64,
}

impl Locks {
    /// From what is known of sessions.
    pub fn of(sessions: &Sessions, thresholds: &Thresholds) -> Self {
        let long_us = long_idle_us(thresholds);
        let mut idles: Vec<IdleOut> =
            sessions.idles.iter().map(|idle| idle_out(idle, long_us)).collect();
        idles.sort_by(|a, b| b.idle_ms.total_cmp(&a.idle_ms).then_with(|| a.who.cmp(&b.who)));
        Self { heads: heads(&sessions.waits), deadlocks: deadlocks(&sessions.deadlocks), idles }
    }
}

fn who_out(who: &Who) -> WhoOut {
    WhoOut {
        database_name: who.database.clone(),
        user_name: who.user.clone(),
        application: who.application.clone(),
        statement_id: who.statement_id,
    }
}

#[allow(clippy::cast_precision_loss)]
fn ms(us: i64) -> f64 {
    us as f64 / 1000.0
}

fn heads(waits: &[LockWait]) -> Vec<HeadOut> {
    // Prepared transactions have no process, and are told apart by what they are called.
    type Key<'a> = (i64, Option<&'a str>, &'a Who);
    let mut by_head: BTreeMap<Key<'_>, Vec<&LockWait>> = BTreeMap::new();
    for wait in waits {
        let gid = wait.head_gid.as_deref().filter(|_| wait.head_process_id == 0);
        by_head.entry((wait.head_process_id, gid, &wait.head)).or_default().push(wait);
    }
    let of = |((process, gid, who), waits): (Key<'_>, Vec<&LockWait>)| HeadOut {
        gid: gid.map(str::to_owned),
        ..head(process, who, &waits)
    };
    let mut found: Vec<HeadOut> = by_head.into_iter().map(of).collect();
    found.sort_by(|a, b| {
        b.waited_ms.total_cmp(&a.waited_ms).then_with(|| a.process_id.cmp(&b.process_id))
    });
    found
}

fn head(process: i64, who: &Who, waits: &[&LockWait]) -> HeadOut {
    // One wait has a row for each session in its way.
    let mut lengths: BTreeMap<(i64, i64), i64> = BTreeMap::new();
    for wait in waits {
        let length = lengths.entry((wait.process_id, wait.began_us)).or_default();
        *length = (*length).max(wait.seen_us.saturating_sub(wait.began_us));
    }
    let sessions: BTreeSet<i64> = waits.iter().map(|wait| wait.process_id).collect();
    let relations: BTreeSet<&String> =
        waits.iter().filter_map(|wait| wait.relation.as_ref()).collect();
    let last = waits.iter().max_by_key(|wait| wait.seen_us);
    HeadOut {
        process_id: Some(process).filter(|process| *process != 0),
        gid: None,
        who: who_out(who),
        state: last.map(|wait| wait.head_state.clone()).unwrap_or_default(),
        sessions: sessions.len() as u64,
        waited_ms: lengths.values().copied().map(ms).sum(),
        longest_ms: ms(lengths.values().copied().max().unwrap_or(0)),
        chain_depth: waits.iter().map(|wait| wait.depth).max().unwrap_or(0),
        relations: relations.into_iter().cloned().collect(),
        goes_on: waits.iter().any(|wait| !wait.ended),
    }
}

fn deadlocks(all: &[Deadlock]) -> Vec<DeadlocksOut> {
    let mut counts: BTreeMap<Vec<MemberOut>, u64> = BTreeMap::new();
    for deadlock in all {
        let member = |(who, relation): &(Who, Option<String>)| MemberOut {
            who: who_out(who),
            relation: relation.clone(),
        };
        *counts.entry(deadlock.members.iter().map(member).collect()).or_default() += 1;
    }
    let mut found: Vec<DeadlocksOut> = counts
        .into_iter()
        .map(|(members, deadlocks)| DeadlocksOut { deadlocks, members })
        .collect();
    found.sort_by_key(|one| std::cmp::Reverse(one.deadlocks));
    found
}

fn idle_out(idle: &IdleTimes, long_us: i64) -> IdleOut {
    IdleOut {
        who: who_out(&idle.who),
        meaning: idle.sum.meaning(long_us).name(),
        times: idle.sum.times(),
        sessions: idle.sum.distinct().unsigned_abs(),
        idle_ms: ms(idle.sum.idle_us),
        longest_ms: ms(idle.sum.longest_us),
        open: idle.sum.open,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::float_cmp)]
mod tests {
    use super::*;
    use crate::lock::idle::Sum;

    fn who(application: &str) -> Who {
        Who { application: application.to_owned(), user: "web".to_owned(), ..Who::default() }
    }

    fn wait(process_id: i64, began_s: i64, seen_s: i64, head: i64) -> LockWait {
        LockWait {
            process_id,
            began_us: began_s * 1_000_000,
            seen_us: seen_s * 1_000_000,
            ended: true,
            head_process_id: head,
            head_gid: None,
            head: who("importer"),
            head_state: format!("state {seen_s}"),
            head_transaction_s: None,
            lock_type: "transactionid".to_owned(),
            relation: Some("t".to_owned()),
            depth: 1,
        }
    }

    #[test]
    fn a_wait_with_two_in_its_way_is_counted_once() {
        let waits =
            vec![wait(1, 10, 14, 7), wait(1, 10, 15, 7), wait(2, 11, 12, 7), wait(3, 0, 99, 0)];
        let locks = Locks::of(&Sessions { waits, ..Sessions::default() }, &Thresholds::default());
        let [prepared, head] = locks.heads.as_slice() else { panic!("{locks:?}") };
        assert_eq!((prepared.process_id, prepared.waited_ms), (None, 99_000.0));
        assert_eq!((head.process_id, head.sessions), (Some(7), 2));
        assert_eq!((head.waited_ms, head.longest_ms), (6_000.0, 5_000.0));
        assert_eq!((head.state.as_str(), head.goes_on), ("state 15", false));
        assert_eq!(head.relations, ["t"]);
    }

    #[test]
    fn prepared_transactions_are_told_apart_by_what_they_are_called() {
        let prepared = |gid: &str| LockWait { head_gid: Some(gid.to_owned()), ..wait(1, 0, 9, 0) };
        let process = LockWait { head_gid: Some("stale".to_owned()), ..wait(2, 0, 5, 7) };
        let waits = vec![prepared("b"), prepared("a"), prepared("a"), process, wait(3, 0, 1, 0)];
        let locks = Locks::of(&Sessions { waits, ..Sessions::default() }, &Thresholds::default());
        let told: Vec<(Option<i64>, Option<&str>)> =
            locks.heads.iter().map(|head| (head.process_id, head.gid.as_deref())).collect();
        assert_eq!(told, [(None, Some("a")), (None, Some("b")), (Some(7), None), (None, None)]);
    }

    #[test]
    fn the_same_deadlock_is_told_once_and_a_leak_as_such() {
        let one = |other: &str| Deadlock {
            at_us: 1,
            members: vec![(who("a"), None), (who(other), Some("t".to_owned()))],
        };
        let sum = Sum { open: 1, open_us: 600_000_000, longest_us: 600_000_000, ..Sum::default() };
        let sessions = Sessions {
            deadlocks: vec![one("c"), one("b"), one("b")],
            idles: vec![IdleTimes { who: who("a"), sum, since_judged: None }],
            ..Sessions::default()
        };
        let locks = Locks::of(&sessions, &Thresholds::default());
        let counts: Vec<(u64, &str)> = locks
            .deadlocks
            .iter()
            .map(|d| (d.deadlocks, d.members[1].who.application.as_str()))
            .collect();
        assert_eq!(counts, [(2, "b"), (1, "c")]);
        assert_eq!((locks.idles[0].meaning, locks.idles[0].times), ("leak", 1));
    }
}
