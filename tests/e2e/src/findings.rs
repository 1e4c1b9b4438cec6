//! Findings as the extension shows them, and the calls that make them. The only place that knows the columns of
//! `perfmon.findings`.

use std::time::{Duration, Instant};

use crate::{Db, WINDOW};

/// One row of `perfmon.findings` or of `finding_history`.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// Identity.
    pub id: i64,
    /// Which kind of problem.
    pub kind: String,
    /// `info`, `warning` or `critical`.
    pub severity: String,
    /// What it is about, as the server quotes it.
    pub object: String,
    /// What of it.
    pub subject: String,
    /// In one line.
    pub title: String,
    /// Likely cause.
    pub cause: Option<String>,
    /// What shows it: jsonb as text.
    pub evidence: String,
    /// What to do, in words.
    pub remedy: String,
    /// What to run.
    pub statement: Option<String>,
    /// First seen, as text in UTC.
    pub opened_at: String,
    /// Last seen.
    pub last_seen: String,
    /// Gone since.
    pub resolved_at: Option<String>,
    /// Text of the statement that it is about, where it is about one and the text may be seen.
    pub query: Option<String>,
}

impl Found {
    /// Kind and object in one line, for messages.
    pub fn head(&self) -> String {
        format!("{} {} {}: {}", self.severity, self.kind, self.object, self.title)
    }

    /// Whether somebody should act on it, as far as the server is concerned.
    pub fn is_loud(&self) -> bool {
        self.severity != "info" && !self.is_of_machine()
    }

    /// Whether it is of the machine that the tests run on, which may be busy, or nearly full.
    pub fn is_of_machine(&self) -> bool {
        ["host_", "disk_", "zfs_"].iter().any(|prefix| self.kind.starts_with(prefix))
    }
}

/// Columns that the view and the function have in common, and the statement's text.
const COLUMNS: &str =
    "f.finding_id, f.kind, f.severity, f.object, f.subject, f.title, f.cause, f.evidence::text,
    f.remedy, f.statement, f.last_seen::text,
    (SELECT s.query FROM perfmon.statement s
      WHERE f.object = 'statement ' || s.statement_id ORDER BY s.first_seen DESC LIMIT 1)";

impl Db {
    fn found(&mut self, opened: &str, resolved: &str, from: &str) -> Vec<Found> {
        self.rows(&format!(
            "SELECT {COLUMNS}, {opened}::text, {resolved}::text FROM {from} f
              ORDER BY f.kind, f.object, f.subject, 13"
        ))
        .iter()
        .map(|r| Found {
            id: r.get(0),
            kind: r.get(1),
            severity: r.get(2),
            object: r.get(3),
            subject: r.get(4),
            title: r.get(5),
            cause: r.get(6),
            evidence: r.get(7),
            remedy: r.get(8),
            statement: r.get(9),
            last_seen: r.get(10),
            query: r.get(11),
            opened_at: r.get(12),
            resolved_at: r.get(13),
        })
        .collect()
    }

    /// Open findings.
    #[track_caller]
    pub fn findings(&mut self) -> Vec<Found> {
        self.found("f.opened_at", "NULL", "perfmon.findings")
    }

    /// All findings of the last hours, resolved ones too.
    #[track_caller]
    pub fn finding_history(&mut self) -> Vec<Found> {
        self.found("f.time", "f.resolved_at", &format!("perfmon.finding_history({WINDOW})"))
    }

    /// Judges now and gives the open findings.
    #[track_caller]
    pub fn evaluate(&mut self) -> Vec<Found> {
        self.run("SELECT * FROM perfmon.evaluate()");
        self.findings()
    }

    /// Sets thresholds.
    #[track_caller]
    pub fn set_thresholds(&mut self, values: &[(&str, f64)]) {
        for (name, value) in values {
            self.run(&format!("SELECT perfmon.set_threshold('{name}', {value:?})"));
        }
    }

    /// Makes this session's counters of tables and indexes visible to all, without waiting for the next report.
    #[track_caller]
    pub fn flush(&mut self) {
        self.run("SELECT pg_catalog.pg_stat_force_next_flush()");
    }

    /// Takes snapshots until the texts of all recorded statements are stored: they are read apart from the
    /// counters, and not with every snapshot.
    #[track_caller]
    pub fn snapshot_with_texts(&mut self, timeout: Duration) {
        let start = Instant::now();
        loop {
            self.snapshot();
            // What is missing is told with what pg_stat_statements has of it.
            let missing: Vec<String> = self.list(
                "SELECT concat_ws(' ', s.statement_id, s.user_name, s.queryid, s.toplevel, s.command, (
                     SELECT string_agg(concat_ws(' ', p.queryid, p.toplevel, left(p.query, 60)), '; ')
                     FROM pg_stat_statements p WHERE p.queryid = s.queryid))
                 FROM perfmon.statement s WHERE s.query IS NULL",
            );
            if missing.is_empty() {
                return;
            }
            assert!(start.elapsed() < timeout, "texts are missing after {timeout:?}: {missing:?}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}
