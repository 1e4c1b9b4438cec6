//! The extension's public functions, in the shapes in which the tests compare them. The only place that knows
//! the names of their columns.

use std::time::Duration;

use crate::{Db, secs, wait_until};

/// Arguments `since, until` of everything that a test may have written.
pub const WINDOW: &str = "pg_catalog.now() - interval '20 hours', pg_catalog.clock_timestamp()";

/// `statement_history` with the names of the statements, as something to select FROM.
pub fn named_history(window: &str) -> String {
    format!(
        "(SELECT h.time_end, h.calls, h.rows, h.quality, s.user_name, s.queryid, s.query
            FROM perfmon.statement_history({window}) h
            JOIN perfmon.statement s ON s.source = h.from_source AND s.statement_id = h.statement_id) history"
    )
}

/// One row of `statement_history`.
#[derive(Debug, Clone, PartialEq)]
pub struct Statement {
    /// End of the interval, microseconds since 1970: the snapshot's id.
    pub until: i64,
    /// Who ran it.
    pub user: String,
    /// The server's identifier.
    pub queryid: i64,
    /// Its text.
    pub query: Option<String>,
    /// Executions that ended in the interval.
    pub calls: i64,
    /// Rows.
    pub rows: i64,
    /// Quality of this statement's difference.
    pub quality: String,
}

/// One row of `intervals`.
#[derive(Debug, Clone, PartialEq)]
pub struct Interval {
    /// Start, microseconds since 1970.
    pub since: i64,
    /// End.
    pub until: i64,
    /// Quality of the differences in it.
    pub quality: String,
    /// How long before its end the database was known to be quiet, milliseconds.
    pub quiet_ms: f64,
}

/// One row of `gaps`.
#[derive(Debug, Clone, PartialEq)]
pub struct Gap {
    /// Start, microseconds since 1970.
    pub since: i64,
    /// End.
    pub until: i64,
    /// Which counters.
    pub subject: String,
    /// Why.
    pub kind: String,
}

/// One row of `changes`.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// What changed.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// What it was.
    pub old: Option<String>,
    /// What it is.
    pub new: Option<String>,
}

impl Change {
    /// A change as it is expected.
    pub fn of(kind: &str, name: &str, old: Option<&str>, new: Option<&str>) -> Self {
        Self {
            kind: kind.to_owned(),
            name: name.to_owned(),
            old: old.map(str::to_owned),
            new: new.map(str::to_owned),
        }
    }
}

impl Db {
    /// All of changes but settings, in their order.
    #[track_caller]
    pub fn changes(&mut self) -> Vec<Change> {
        self.rows(&format!(
            "SELECT kind, name, old_value, new_value FROM perfmon.changes({WINDOW}) WHERE kind <> 'setting'"
        ))
        .iter()
        .map(|r| Change { kind: r.get(0), name: r.get(1), old: r.get(2), new: r.get(3) })
        .collect()
    }

    /// Takes a snapshot and gives the changes that it saw, settings left out.
    #[track_caller]
    pub fn new_changes(&mut self) -> Vec<Change> {
        let before = self.changes();
        self.snapshot();
        let mut all = self.changes();
        for change in before {
            let place = all.iter().position(|c| *c == change).expect("changes stay");
            all.remove(place);
        }
        all
    }

    /// Takes a snapshot and gives its id.
    #[track_caller]
    pub fn snapshot(&mut self) -> i64 {
        self.val("SELECT perfmon.snapshot()")
    }

    /// Takes snapshots until so many more intervals are stored, each with so many samples of sessions at least.
    #[track_caller]
    pub fn sampled_intervals(&mut self, intervals: usize, samples: i64) {
        let rows = format!("SELECT count(*) FROM perfmon.pool_minute WHERE samples >= {samples}");
        for _ in 0..intervals {
            let before: i64 = self.val(&rows);
            let mut wait = Duration::from_millis(150 * samples.unsigned_abs());
            wait_until("an interval of samples is stored", secs(90), || {
                // In no session: that would be a statement that takes long. Samples of a busy machine come late.
                std::thread::sleep(wait);
                wait = wait * 3 / 2;
                self.snapshot();
                self.val::<i64>(&rows) > before
            });
        }
    }

    /// All of statement_history.
    #[track_caller]
    pub fn history(&mut self) -> Vec<Statement> {
        self.rows(&format!(
            "SELECT (extract(epoch FROM time_end) * 1000000)::int8, user_name, queryid, query, calls, rows, quality
               FROM {}", named_history(WINDOW)
        ))
        .iter()
        .map(|r| Statement {
            until: r.get(0),
            user: r.get(1),
            queryid: r.get(2),
            query: r.get(3),
            calls: r.get(4),
            rows: r.get(5),
            quality: r.get(6),
        })
        .collect()
    }

    /// Calls stored of one statement, over all time and users.
    #[track_caller]
    pub fn stored_calls(&mut self, queryid: i64) -> i64 {
        self.val_with(
            &format!(
                "SELECT coalesce(sum(calls), 0)::int8 FROM {} WHERE queryid = $1",
                named_history(WINDOW)
            ),
            &[&queryid],
        )
    }

    /// All of intervals.
    #[track_caller]
    pub fn intervals(&mut self) -> Vec<Interval> {
        self.rows(&format!(
            "SELECT (extract(epoch FROM \"time\") * 1000000)::int8, (extract(epoch FROM time_end) * 1000000)::int8,
                    quality, quiet_ms
               FROM perfmon.intervals({WINDOW}) ORDER BY time_end"
        ))
        .iter()
        .map(|r| Interval { since: r.get(0), until: r.get(1), quality: r.get(2), quiet_ms: r.get(3) })
        .collect()
    }

    /// All of gaps.
    #[track_caller]
    pub fn gaps(&mut self) -> Vec<Gap> {
        self.rows(&format!(
            "SELECT (extract(epoch FROM \"time\") * 1000000)::int8, (extract(epoch FROM time_end) * 1000000)::int8,
                    subject, kind
               FROM perfmon.gaps({WINDOW}) ORDER BY time_end"
        ))
        .iter()
        .map(|r| Gap { since: r.get(0), until: r.get(1), subject: r.get(2), kind: r.get(3) })
        .collect()
    }

    /// status() as one text, for looking for words in it.
    #[track_caller]
    pub fn status(&mut self) -> String {
        self.list::<String>("SELECT s::text FROM perfmon.status() s").join("\n")
    }

    /// Waits until another scheduled snapshot than those before now has been stored.
    #[track_caller]
    pub fn wait_for_next_interval(&mut self, timeout: Duration) {
        let before = self.intervals().last().map_or(0, |i| i.until);
        wait_until("a new interval is stored", timeout, || {
            self.intervals().last().is_some_and(|i| i.until > before)
        });
    }
}
