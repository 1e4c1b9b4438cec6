//! Waits for locks, deadlocks and idle times inside transactions. Must never judge one.

use super::sql::{self, Arg};

/// A session in a row.
#[derive(Debug, Clone)]
pub(crate) struct Party {
    pub(crate) process_id: i32,
    pub(crate) database: String,
    pub(crate) user: String,
    pub(crate) application: String,
    pub(crate) state: &'static str,
    pub(crate) queryid: i64,
    pub(crate) transaction: Option<i64>,
    /// What a prepared transaction is called.
    pub(crate) gid: Option<String>,
}

/// A wait; times in microseconds since the Unix epoch.
#[derive(Debug, Clone)]
pub(crate) struct Wait {
    pub(crate) began: i64,
    pub(crate) seen: i64,
    pub(crate) ended: Option<i64>,
    pub(crate) waiter: Party,
    pub(crate) blocker: Party,
    pub(crate) head: Party,
    pub(crate) lock_type: &'static str,
    pub(crate) relation: Option<String>,
    pub(crate) wanted: Option<&'static str>,
    pub(crate) held: Option<&'static str>,
    pub(crate) depth: i32,
}

/// A member of a deadlock.
#[derive(Debug, Clone)]
pub(crate) struct Member {
    pub(crate) at: i64,
    pub(crate) number: i64,
    pub(crate) member: i32,
    pub(crate) party: Party,
    pub(crate) waits_for: Option<i32>,
    pub(crate) lock_type: Option<&'static str>,
    pub(crate) relation: Option<String>,
}

/// Idle times by statement.
#[derive(Debug, Clone)]
pub(crate) struct Idle {
    pub(crate) database: String,
    pub(crate) user: String,
    pub(crate) application: String,
    pub(crate) queryid: i64,
    pub(crate) sessions: String,
    /// In the order of the table's columns from "idle_us" on.
    pub(crate) numbers: [i64; 10],
}

/// One column of many rows.
fn words<'a, T>(rows: &'a [T], column: impl Fn(&'a T) -> Option<&'a str>) -> Arg<'a> {
    sql::texts(rows.iter().map(column))
}

fn ints<'a, T>(rows: &[T], column: impl Fn(&T) -> i32) -> Arg<'a> {
    rows.iter().map(column).collect::<Vec<i32>>().into()
}

fn longs<'a, T>(rows: &[T], column: impl Fn(&T) -> i64) -> Arg<'a> {
    rows.iter().map(column).collect::<Vec<i64>>().into()
}

/// What is said of the blocker and of the head is what was seen last; of a prepared transaction that is ended
/// nothing is seen any more, and what was known of it stays.
fn last_seen() -> String {
    let columns = [
        ("blocker", &["database_name", "user_name", "state", "gid"][..]),
        (
            "head",
            &[
                "process_id",
                "database_name",
                "user_name",
                "application",
                "state",
                "queryid",
                "transaction_began",
                "gid",
            ],
        ),
    ];
    let set = |(party, columns): (&str, &[&str])| {
        let one = |column: &&str| {
            format!(
                "{party}_{column} = CASE WHEN EXCLUDED.{party}_process_id OPERATOR(pg_catalog.=) 0
                     AND EXCLUDED.{party}_gid IS NULL AND w.{party}_gid IS NOT NULL
                     THEN w.{party}_{column} ELSE EXCLUDED.{party}_{column} END"
            )
        };
        columns.iter().map(one).collect::<Vec<String>>().join(", ")
    };
    columns.map(set).join(", ")
}

/// Writes waits, those that went on in place of what was known of them.
pub(crate) fn keep_waits(source: i64, rows: &[Wait]) {
    sql::write(
        &format!(
            "INSERT INTO perfmon.lock_wait AS w (source, began, seen, ended, process_id, database_name, user_name,
             application, queryid, lock_type, relation_name, lock_mode, held_mode, chain_depth,
             blocker_process_id, blocker_database_name, blocker_user_name, blocker_application, blocker_state,
             blocker_queryid, head_process_id, head_database_name, head_user_name, head_application, head_state,
             head_queryid, head_transaction_began, blocker_gid, head_gid)
         SELECT $1, u.* FROM ROWS FROM (
             pg_catalog.unnest($2), pg_catalog.unnest($3), pg_catalog.unnest($4), pg_catalog.unnest($5),
             pg_catalog.unnest($6), pg_catalog.unnest($7), pg_catalog.unnest($8), pg_catalog.unnest($9),
             pg_catalog.unnest($10), pg_catalog.unnest($11), pg_catalog.unnest($12), pg_catalog.unnest($13),
             pg_catalog.unnest($14), pg_catalog.unnest($15), pg_catalog.unnest($16), pg_catalog.unnest($17),
             pg_catalog.unnest($18), pg_catalog.unnest($19), pg_catalog.unnest($20), pg_catalog.unnest($21),
             pg_catalog.unnest($22), pg_catalog.unnest($23), pg_catalog.unnest($24), pg_catalog.unnest($25),
             pg_catalog.unnest($26), pg_catalog.unnest($27), pg_catalog.unnest($28), pg_catalog.unnest($29)) u
         ON CONFLICT (source, began, process_id, blocker_process_id) DO UPDATE SET
             seen = EXCLUDED.seen, ended = EXCLUDED.ended, chain_depth = EXCLUDED.chain_depth, {}",
            last_seen()
        ),
        &[
            source.into(),
            sql::times(rows.iter().map(|r| Some(r.began))),
            sql::times(rows.iter().map(|r| Some(r.seen))),
            sql::times(rows.iter().map(|r| r.ended)),
            ints(rows, |r| r.waiter.process_id),
            words(rows, |r| Some(&r.waiter.database)),
            words(rows, |r| Some(&r.waiter.user)),
            words(rows, |r| Some(&r.waiter.application)),
            longs(rows, |r| r.waiter.queryid),
            words(rows, |r| Some(r.lock_type)),
            words(rows, |r| r.relation.as_deref()),
            words(rows, |r| r.wanted),
            words(rows, |r| r.held),
            ints(rows, |r| r.depth),
            ints(rows, |r| r.blocker.process_id),
            words(rows, |r| Some(&r.blocker.database)),
            words(rows, |r| Some(&r.blocker.user)),
            words(rows, |r| Some(&r.blocker.application)),
            words(rows, |r| Some(r.blocker.state)),
            longs(rows, |r| r.blocker.queryid),
            ints(rows, |r| r.head.process_id),
            words(rows, |r| Some(&r.head.database)),
            words(rows, |r| Some(&r.head.user)),
            words(rows, |r| Some(&r.head.application)),
            words(rows, |r| Some(r.head.state)),
            longs(rows, |r| r.head.queryid),
            sql::times(rows.iter().map(|r| r.head.transaction)),
            words(rows, |r| r.blocker.gid.as_deref()),
            words(rows, |r| r.head.gid.as_deref()),
        ],
    );
}

/// Ends waits that go on as far as is known here, but are not among those that do: their ends were not seen, as the server
/// was stopped or there were too many at once. They went on until they were seen last.
pub(crate) fn end_others(source: i64, rows: &[Wait]) {
    let open: Vec<&Wait> = rows.iter().filter(|row| row.ended.is_none()).collect();
    sql::write(
        "UPDATE perfmon.lock_wait w SET ended = w.seen
         WHERE w.source OPERATOR(pg_catalog.=) $1 AND w.ended IS NULL AND NOT EXISTS (
             SELECT 1 FROM ROWS FROM (
                 pg_catalog.unnest($2), pg_catalog.unnest($3), pg_catalog.unnest($4)) u (began, waiter, blocker)
             WHERE u.began OPERATOR(pg_catalog.=) w.began AND u.waiter OPERATOR(pg_catalog.=) w.process_id
                 AND u.blocker OPERATOR(pg_catalog.=) w.blocker_process_id)",
        &[
            source.into(),
            sql::times(open.iter().map(|r| Some(r.began))),
            ints(&open, |r| r.waiter.process_id),
            ints(&open, |r| r.blocker.process_id),
        ],
    );
}

/// Writes deadlocks; those that are there stay.
pub(crate) fn keep_deadlocks(source: i64, rows: &[Member]) {
    sql::write(
        "INSERT INTO perfmon.deadlock (source, at, number, member, process_id, waits_for_process_id,
             database_name, user_name, application, queryid, lock_type, relation_name)
         SELECT $1, u.at, u.number, u.member, u.process_id, NULLIF(u.waits_for, 0), u.database_name, u.user_name,
             u.application, u.queryid, u.lock_type, u.relation_name
         FROM ROWS FROM (
             pg_catalog.unnest($2), pg_catalog.unnest($3), pg_catalog.unnest($4), pg_catalog.unnest($5),
             pg_catalog.unnest($6), pg_catalog.unnest($7), pg_catalog.unnest($8), pg_catalog.unnest($9),
             pg_catalog.unnest($10), pg_catalog.unnest($11), pg_catalog.unnest($12))
             u (at, number, member, process_id, waits_for, database_name, user_name, application, queryid,
                lock_type, relation_name)
         ON CONFLICT DO NOTHING",
        &[
            source.into(),
            sql::times(rows.iter().map(|r| Some(r.at))),
            longs(rows, |r| r.number),
            ints(rows, |r| r.member),
            ints(rows, |r| r.party.process_id),
            ints(rows, |r| r.waits_for.unwrap_or(0)),
            words(rows, |r| Some(&r.party.database)),
            words(rows, |r| Some(&r.party.user)),
            words(rows, |r| Some(&r.party.application)),
            longs(rows, |r| r.party.queryid),
            words(rows, |r| r.lock_type),
            words(rows, |r| r.relation.as_deref()),
        ],
    );
}

/// Writes the idle times of an interval.
pub(crate) fn add_idles(source: i64, (since, until): (i64, i64), rows: &[Idle]) {
    let number = |at: usize| longs(rows, move |row: &Idle| row.numbers[at]);
    sql::write(
        "INSERT INTO perfmon.idle_transaction (source, since, until, database_name, user_name, application,
             queryid, sessions, idle_us, longest_us, resumed, finished, gone, returned_us, gone_us, open, open_us,
             longest_returned_us)
         SELECT $1, $2, $3, u.* FROM ROWS FROM (
             pg_catalog.unnest($4), pg_catalog.unnest($5), pg_catalog.unnest($6), pg_catalog.unnest($7),
             pg_catalog.unnest($8), pg_catalog.unnest($9), pg_catalog.unnest($10), pg_catalog.unnest($11),
             pg_catalog.unnest($12), pg_catalog.unnest($13), pg_catalog.unnest($14), pg_catalog.unnest($15),
             pg_catalog.unnest($16), pg_catalog.unnest($17), pg_catalog.unnest($18)) u
         ON CONFLICT DO NOTHING",
        &[
            source.into(),
            sql::time(since),
            sql::time(until),
            words(rows, |r| Some(&r.database)),
            words(rows, |r| Some(&r.user)),
            words(rows, |r| Some(&r.application)),
            longs(rows, |r| r.queryid),
            words(rows, |r| Some(&r.sessions)),
            number(0),
            number(1),
            number(2),
            number(3),
            number(4),
            number(5),
            number(6),
            number(7),
            number(8),
            number(9),
        ],
    );
}

/// Ends idle times that went on when they were stored last: their sessions ended with the server's memory.
pub(crate) fn end_idles(source: i64) {
    sql::write(
        "UPDATE perfmon.idle_transaction i SET gone = i.gone OPERATOR(pg_catalog.+) i.open,
             gone_us = i.gone_us OPERATOR(pg_catalog.+) i.open_us, open = 0, open_us = 0
         WHERE i.source OPERATOR(pg_catalog.=) $1 AND i.open OPERATOR(pg_catalog.>) 0
             AND i.until OPERATOR(pg_catalog.=) (
                 SELECT pg_catalog.max(x.until) FROM perfmon.idle_transaction x
                 WHERE x.source OPERATOR(pg_catalog.=) $1)",
        &[source.into()],
    );
}

/// Removes what ended before a time, a thousand rows of each at most.
pub(crate) fn trim(source: i64, before: i64) {
    for (table, column) in
        [("lock_wait", "seen"), ("deadlock", "at"), ("idle_transaction", "until")]
    {
        sql::write(
            &format!(
                "DELETE FROM perfmon.{table} t WHERE t.ctid OPERATOR(pg_catalog.=) ANY (ARRAY(
                     SELECT x.ctid FROM perfmon.{table} x
                     WHERE x.source OPERATOR(pg_catalog.=) $1 AND x.{column} OPERATOR(pg_catalog.<) $2
                     LIMIT 1000))"
            ),
            &[source.into(), sql::time(before)],
        );
    }
}
