//! What happened at poolers between two visits, as rows of history: one for each pooler (was it there?), each of its
//! databases (counters), and each pool (gauges, added up with the number of samples).

use std::collections::BTreeMap;

use super::{Known, Reading, Stats};
use crate::family::POOLER;
use crate::frame::Frame;

/// What became of asking a pooler.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    /// It answered.
    Answered(Reading),
    /// It did not, and why.
    Failed(String),
    /// It was left alone.
    Skipped,
}

/// A line of a row of history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Pooler, database, user; the last, or the last two, are empty for what concerns all.
    pub names: [String; 3],
    values: Vec<(&'static str, u64)>,
}

/// Lines of one pooler after `length_us`; `known` is what was remembered of it.
pub fn rows(name: &str, asked: &Asked, known: Option<&Known>, length_us: u64) -> Vec<Row> {
    let count = |is: bool| u64::from(is);
    let row = |database: &str, user: &str, values| Row {
        names: [name.to_owned(), database.to_owned(), user.to_owned()],
        values,
    };
    let mut found = vec![row(
        "",
        "",
        vec![
            ("asked", count(*asked != Asked::Skipped)),
            ("answered", count(matches!(asked, Asked::Answered(_)))),
            ("skipped", count(*asked == Asked::Skipped)),
        ],
    )];
    let Asked::Answered(reading) = asked else { return found };
    for (database, now) in &reading.stats {
        let before = known.and_then(|known| known.stats.get(database));
        let Some(values) = before.and_then(|before| counted(before, now, length_us)) else {
            continue;
        };
        found.push(row(database, "", values));
    }
    for pool in &reading.pools {
        let waiting = pool.clients_waiting.unwrap_or(0);
        let servers = pool.servers.unwrap_or(0);
        found.push(row(
            &pool.database,
            &pool.user,
            vec![
                ("samples", 1),
                ("clients_active", pool.clients_active.unwrap_or(0)),
                ("clients_waiting", waiting),
                ("clients_waiting_peak", waiting),
                ("max_wait_us", pool.max_wait_us.unwrap_or(0)),
                ("servers_active", pool.servers_active.unwrap_or(0)),
                ("servers_idle", pool.servers_idle.unwrap_or(0)),
                ("servers", servers),
                ("servers_peak", servers),
                ("pool_size", reading.pool_size(&pool.database).unwrap_or(0)),
            ],
        ));
    }
    found
}

/// `None` when the counters began anew.
fn counted(before: &Stats, now: &Stats, length_us: u64) -> Option<Vec<(&'static str, u64)>> {
    let all = [
        ("transactions", before.transactions, now.transactions),
        ("queries", before.queries, now.queries),
        ("transaction_us", before.transaction_us, now.transaction_us),
        ("query_us", before.query_us, now.query_us),
        ("wait_us", before.wait_us, now.wait_us),
        ("received_bytes", before.received_bytes, now.received_bytes),
        ("sent_bytes", before.sent_bytes, now.sent_bytes),
    ];
    let mut values = vec![("watched_us", length_us)];
    for (name, before, now) in all {
        let Some((before, now)) = before.zip(now) else { continue };
        values.push((name, now.checked_sub(before)?));
    }
    // Waiting is known apart: versions before 1.8 do not tell it.
    let waits = before.wait_us.and(now.wait_us).map_or(0, |_| length_us);
    values.push(("wait_watched_us", waits));
    Some(values)
}

/// The row of all lines, given their ids in the dictionary.
pub fn frame(rows: &[Row], ids: &[u32]) -> Frame {
    let by_id: BTreeMap<u32, &Row> = ids.iter().copied().zip(rows).collect();
    let columns = POOLER.columns.iter().map(|column| {
        let of = |row: &&Row| row.values.iter().find(|v| v.0 == column.name).map_or(0, |v| v.1);
        let values: Vec<u64> = by_id.values().map(of).collect();
        values.iter().any(|value| *value != 0).then_some(values)
    });
    let columns: Vec<Option<Vec<u64>>> = columns.collect();
    let known = (1 << columns.len()) - 1;
    Frame {
        family: &POOLER,
        ids: by_id.keys().copied().collect(),
        columns,
        known,
        totals: Vec::new(),
    }
}
