//! Waits for locks, deadlocks and idle times inside transactions of a window, as far as the caller may see them.

use std::collections::{BTreeMap, BTreeSet};

use perfmon_core::lock::idle::{self, Sum};
use perfmon_core::pool::head::{Blocked, Head};

use super::activity::{Statements, statements};
use super::cell::Cell;
use super::query;
use super::scope::Scope;
use crate::error::Error;
use crate::pg::catalog;

/// A session's statement: its database, user and queryid.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Whose {
    pub(crate) database: String,
    pub(crate) user: String,
    pub(crate) application: String,
    pub(crate) queryid: i64,
}

/// A session of a wait.
#[derive(Debug, Clone)]
pub(crate) struct Party {
    pub(crate) process_id: i64,
    pub(crate) whose: Whose,
    pub(crate) state: Option<String>,
}

/// A session that waited for a lock, and one that was in its way; times in microseconds since the Unix epoch.
#[derive(Debug, Clone)]
pub(crate) struct Wait {
    pub(crate) began: i64,
    pub(crate) seen: i64,
    pub(crate) ended: Option<i64>,
    pub(crate) waiter: Party,
    pub(crate) blocker: Party,
    pub(crate) head: Party,
    pub(crate) head_transaction: Option<i64>,
    pub(crate) lock_type: String,
    pub(crate) relation: Option<String>,
    pub(crate) wanted: Option<String>,
    pub(crate) held: Option<String>,
    pub(crate) depth: i64,
    /// What the blocker and the head are called if they are prepared transactions.
    pub(crate) blocker_gid: Option<String>,
    pub(crate) head_gid: Option<String>,
}

/// Takes the cells of a row one by one.
struct Row(std::vec::IntoIter<Cell>);

impl Row {
    fn cell(&mut self) -> Cell {
        self.0.next().unwrap_or(Cell::Null)
    }

    fn text(&mut self) -> Option<String> {
        self.cell().text()
    }

    fn int(&mut self) -> Option<i64> {
        self.cell().int()
    }

    fn whose(&mut self) -> Option<Whose> {
        Some(Whose {
            database: self.text()?,
            user: self.text()?,
            application: self.text()?,
            queryid: self.int()?,
        })
    }

    /// Process, state, and whose.
    fn party(&mut self) -> Option<Party> {
        let (process_id, state) = (self.int()?, self.text());
        Some(Party { process_id, state, whose: self.whose()? })
    }

    fn wait(&mut self) -> Option<Wait> {
        Some(Wait {
            began: self.int()?,
            seen: self.int()?,
            ended: self.int(),
            waiter: self.party()?,
            blocker: self.party()?,
            head: self.party()?,
            head_transaction: self.int(),
            lock_type: self.text()?,
            relation: self.text(),
            wanted: self.text(),
            held: self.text(),
            depth: self.int()?,
            blocker_gid: self.text(),
            head_gid: self.text(),
        })
    }
}

/// Waits of which any part lies in the window, in the order of their beginning.
pub(crate) fn waits(scope: &Scope) -> Result<Vec<Wait>, Error> {
    let rows = query::rows(
        "SELECT w.began, w.seen, w.ended,
             w.process_id, NULL::pg_catalog.text, w.database_name, w.user_name, w.application, w.queryid,
             w.blocker_process_id, w.blocker_state, w.blocker_database_name, w.blocker_user_name,
             w.blocker_application, w.blocker_queryid,
             w.head_process_id, w.head_state, w.head_database_name, w.head_user_name, w.head_application,
             w.head_queryid, w.head_transaction_began,
             w.lock_type, w.relation_name, w.lock_mode, w.held_mode, w.chain_depth,
             w.blocker_gid, w.head_gid
         FROM perfmon.lock_wait w
         WHERE w.source OPERATOR(pg_catalog.=) ANY ($1)
             AND w.began OPERATOR(pg_catalog.<) $3 AND w.seen OPERATOR(pg_catalog.>=) $2
         ORDER BY w.began, w.process_id, w.blocker_process_id",
        &[scope.sources.clone().into(), query::time(scope.since), query::time(scope.until)],
    )?;
    let started = catalog::server_started();
    let wait = |row: Vec<Cell>| {
        let wait = Row(row.into_iter()).wait()?;
        // Nobody saw the end of what a restart ended.
        let ended = wait.ended.or((wait.seen < started).then_some(wait.seen));
        Some(Wait { ended, ..wait })
    };
    Ok(rows.into_iter().filter_map(wait).collect())
}

/// The same with the statements of those at the heads, as pools are judged by them.
#[allow(clippy::cast_precision_loss)]
pub(crate) fn blocked(scope: &Scope) -> Result<Vec<Blocked>, Error> {
    let waits = waits(scope)?;
    let statements = texts(waits.iter().map(|wait| &wait.head.whose), scope)?;
    let blocked = |wait: Wait| {
        let known = |name: String| Some(name).filter(|name| !name.is_empty());
        let age = |began: i64| wait.seen.saturating_sub(began).max(0) as f64 / 1e6;
        Blocked {
            process_id: wait.waiter.process_id,
            began_us: wait.began,
            seen_us: wait.seen,
            head: Head {
                pid: wait.head.process_id,
                gid: wait.head_gid,
                statement_id: statement(&statements, &wait.head.whose).0,
                age_s: wait.head_transaction.map(age),
                state: wait.head.state.unwrap_or_default(),
                application: known(wait.head.whose.application),
                user: known(wait.head.whose.user),
                since_us: None,
                behind: 1,
            },
            database: wait.waiter.whose.database,
            user: wait.waiter.whose.user,
            application: wait.waiter.whose.application,
        }
    };
    Ok(waits.into_iter().map(blocked).collect())
}

/// One session of a deadlock; the first of each is the one that was ended.
#[derive(Debug, Clone)]
pub(crate) struct Member {
    pub(crate) at: i64,
    pub(crate) number: i64,
    pub(crate) member: i64,
    pub(crate) party: Party,
    pub(crate) waits_for: Option<i64>,
    pub(crate) lock_type: Option<String>,
    pub(crate) relation: Option<String>,
}

/// Deadlocks of the window, in the order of time.
pub(crate) fn deadlocks(scope: &Scope) -> Result<Vec<Member>, Error> {
    let rows = query::rows(
        "SELECT d.at, d.number, d.member, d.process_id, NULL::pg_catalog.text, d.database_name, d.user_name,
             d.application, d.queryid, d.waits_for_process_id, d.lock_type, d.relation_name
         FROM perfmon.deadlock d
         WHERE d.source OPERATOR(pg_catalog.=) ANY ($1)
             AND d.at OPERATOR(pg_catalog.>=) $2 AND d.at OPERATOR(pg_catalog.<) $3
         ORDER BY d.at, d.number, d.member",
        &[scope.sources.clone().into(), query::time(scope.since), query::time(scope.until)],
    )?;
    let member = |row: Vec<Cell>| {
        let mut row = Row(row.into_iter());
        Some(Member {
            at: row.int()?,
            number: row.int()?,
            member: row.int()?,
            party: row.party()?,
            waits_for: row.int(),
            lock_type: row.text(),
            relation: row.text(),
        })
    };
    Ok(rows.into_iter().filter_map(member).collect())
}

/// Idle times inside transactions over the window, by statement, most time first.
pub(crate) fn idles(scope: &Scope) -> Result<Vec<(Whose, Sum)>, Error> {
    let rows = query::rows(
        "SELECT i.database_name, i.user_name, i.application, i.queryid, i.sessions, i.idle_us, i.longest_us,
             i.resumed, i.finished, i.gone, i.returned_us, i.gone_us, i.open, i.open_us,
             COALESCE(i.longest_returned_us, LEAST(i.longest_us, i.returned_us)),
             CASE WHEN i.until OPERATOR(pg_catalog.=) (
                 SELECT pg_catalog.max(x.until) FROM perfmon.idle_transaction x
                 WHERE x.source OPERATOR(pg_catalog.=) i.source) THEN i.until END
         FROM perfmon.idle_transaction i
         WHERE i.source OPERATOR(pg_catalog.=) ANY ($1)
             AND i.until OPERATOR(pg_catalog.>) $2 AND i.until OPERATOR(pg_catalog.<=) $3
         ORDER BY i.until",
        &[scope.sources.clone().into(), query::time(scope.since), query::time(scope.until)],
    )?;
    let started = catalog::server_started();
    let mut sums: BTreeMap<Whose, Sum> = BTreeMap::new();
    for row in rows {
        let mut row = Row(row.into_iter());
        let (Some(whose), Some(sessions)) = (row.whose(), row.text()) else { continue };
        let mut number = || row.int().unwrap_or(0);
        let mut sum = Sum {
            sessions: idle::from_text(&sessions),
            idle_us: number(),
            longest_us: number(),
            resumed: number(),
            finished: number(),
            gone: number(),
            returned_us: number(),
            gone_us: number(),
            open: number(),
            open_us: number(),
            longest_returned_us: number(),
            longest_open_us: 0,
        };
        // None is longer than the longest of the interval, nor than all that go on.
        sum.longest_open_us = sum.longest_us.min(sum.open_us);
        // Nobody saw the end of what a restart ended, which was open at the end of the last interval of all; the next visit says
        // so in its rows.
        if row.int().is_some_and(|until| until < started) {
            sum.gone += std::mem::take(&mut sum.open);
            sum.gone_us += std::mem::take(&mut sum.open_us);
            sum.longest_open_us = 0;
        }
        sums.entry(whose).or_default().then(&sum);
    }
    let mut sums: Vec<(Whose, Sum)> = sums.into_iter().collect();
    sums.sort_by_key(|(_, sum)| std::cmp::Reverse(sum.idle_us));
    Ok(sums)
}

/// Statements of sessions, as far as they are known here: by database, user and queryid.
pub(crate) fn texts<'a>(
    whose: impl Iterator<Item = &'a Whose>,
    scope: &Scope,
) -> Result<Statements, Error> {
    let queryids: BTreeSet<i64> = whose.map(|one| one.queryid).filter(|id| *id != 0).collect();
    statements(&queryids.into_iter().collect::<Vec<i64>>(), &scope.sources)
}

/// The dictionary id and the text of a session's statement.
pub(crate) fn statement(statements: &Statements, whose: &Whose) -> (Option<i64>, Cell) {
    let known = statements.get(&whose.database, &whose.user, whose.queryid);
    known.map_or((None, Cell::Null), |(id, text)| (*id, text.clone()))
}
