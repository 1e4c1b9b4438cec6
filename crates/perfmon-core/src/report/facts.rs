//! What a report says, as plain values. Times are microseconds since the Unix epoch; what is not known is
//! `None`.

use super::better::Rewrite;
use super::machine::Machine;
use super::planned::{Flip, Plan};
use super::priority::ACTIVE_MS;
use crate::coverage::Coverage;
use crate::finding::Finding;
use crate::objective::{Scope, Verdict};
use crate::threshold::Thresholds;

/// Everything that a report says.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// What was looked at.
    pub head: Head,
    /// What was promised and whether it was kept; `None` when it was not judged, as of another database.
    pub objectives: Option<Vec<Promise>>,
    /// How busy the database was.
    pub load: Load,
    /// What is wrong, worst first; `None` when nobody judged.
    pub findings: Option<Vec<Finding>>,
    /// Kinds of findings about which nothing can be said, because what they need is not known.
    pub unjudged: Vec<String>,
    /// The thresholds in force.
    pub thresholds: Thresholds,
    /// There are statements to run that this reader may not see.
    pub hidden: bool,
    /// The load over time.
    pub trend: Option<Trend>,
    /// What the time went into, by kind of command; empty when statements are not recorded.
    pub commands: Vec<Command>,
    /// What it spent its time on, most first; `None` when no statements are recorded.
    pub statements: Option<Vec<Statement>>,
    /// What could be written in a better way, most expensive statements first; `None` when nobody judged.
    pub rewrites: Option<Vec<Rewrite>>,
    /// Why statements are not recorded now.
    pub missing: Option<Missing>,
    /// Whose statements are not all recorded, and why, where others' are.
    pub lacking: Option<Missing>,
    /// How long executions took; `None` where they were not counted.
    pub latency: Option<Latency>,
    /// Why they are not counted now.
    pub uncounted: Option<Missing>,
    /// Why plans are not recorded now.
    pub unplanned: Option<Missing>,
    /// Why nothing is recorded of the period, or of its end.
    pub unrecorded: Option<Missing>,
    /// What failed; `None` when failures were not counted.
    pub errors: Option<Errors>,
    /// Why not all failures are known, if they are not.
    pub unheard: Option<Missing>,
    /// The machine; `None` where it is not recorded, as in all databases but the home database.
    pub machine: Option<Machine>,
    /// Clients' connections; `None` where no samples of them are kept.
    pub connections: Option<super::connections::Connections>,
    /// Sessions in each other's way; `None` where no samples of them are kept.
    pub locks: Option<super::locks::Locks>,
    /// Tables whose rows were read most by sequential scans.
    pub tables: Vec<Table>,
    /// Time about which nothing is known.
    pub gaps: Vec<Gap>,
    /// What changed around the database, latest first.
    pub changes: Vec<Change>,
}

/// What stands for the text of a statement that a reader may not see.
const HIDDEN: &str = "<insufficient privilege>";

impl Statement {
    /// Its text, unless it is hidden from this reader.
    pub(super) fn text(&self) -> Option<&str> {
        self.query.as_deref().filter(|query| *query != HIDDEN)
    }

    /// It has a text that this reader may not see.
    pub(super) fn is_hidden(&self) -> bool {
        is_hidden(self.query.as_deref())
    }
}

/// What stands for a statement's text in a list: nothing where it may not be seen.
pub(super) fn text_or(query: Option<&str>, show: impl Fn(&str) -> String) -> String {
    match query {
        _ if is_hidden(query) => String::new(),
        Some(text) => show(text),
        None => "text not known".to_owned(),
    }
}

pub(super) fn is_hidden(query: Option<&str>) -> bool {
    query == Some(HIDDEN)
}

impl Report {
    /// Statement time over the clients' active time; `None` where they were hardly active, or have yet to report it.
    pub fn completeness_ratio(&self) -> Option<f64> {
        self.coverage().known()
    }

    pub(super) fn coverage(&self) -> Coverage {
        let enough = self.thresholds.of(&ACTIVE_MS);
        Coverage::of(self.head.completeness_ratio, self.head.active_ms, enough)
    }

    /// Execution time of top-level statements, milliseconds in an hour of the period; `None` when
    /// statements are not recorded or none ran.
    #[allow(clippy::cast_precision_loss)]
    pub fn busy_ms_per_hour(&self) -> Option<f64> {
        // Over the recorded time, as the findings' savings are: the statements' own is shorter where their
        // counters were reset.
        let hours = self.head.covered_us as f64 / 3.6e9;
        let spent = self.load.total_exec_ms.filter(|_| hours > 0.0).map(|ms| ms / hours);
        spent.or(self.load.active_ratio.map(|running| running * 3.6e6)).filter(|busy| *busy > 0.0)
    }
}

/// What was looked at, and how well it is known.
#[derive(Debug, Clone, Default)]
pub struct Head {
    /// When the report was made.
    pub now_us: i64,
    /// Which server, as its administrator would call it.
    pub server: String,
    /// Version of the server.
    pub version: String,
    /// Processors of the machine.
    pub cpus: Option<i64>,
    /// Memory of the machine, or of its control group, bytes.
    pub memory_bytes: Option<i64>,
    /// Name of the database.
    pub database: String,
    /// The history's source.
    pub source: Option<i64>,
    /// Time zone in which times are shown.
    pub time_zone: String,
    /// Start of the period.
    pub since_us: i64,
    /// End of the period.
    pub until_us: i64,
    /// Intervals recorded in it.
    pub intervals: i64,
    /// Time that these cover.
    pub covered_us: i64,
    /// Number of gaps.
    pub gaps: i64,
    /// Worst quality of the intervals: 0 exact, 1 lower bound, 2 doubtful.
    pub quality: Option<i16>,
    /// Statement time over the clients' active time.
    pub completeness_ratio: Option<f64>,
    /// That active time, milliseconds.
    pub active_ms: Option<f64>,
    /// When history begins, if that is after the start of the period.
    pub history_begins_us: Option<i64>,
}

impl Head {
    /// Length of the period.
    pub fn period_us(&self) -> i64 {
        self.until_us.saturating_sub(self.since_us)
    }
}

/// One promise, judged.
#[derive(Debug, Clone, PartialEq)]
pub struct Promise {
    /// Name of the objective.
    pub name: String,
    /// Whose executions are meant.
    pub scope: Scope,
    /// Start of the time over which it was judged.
    pub since_us: i64,
    /// End.
    pub until_us: i64,
    /// Whether it was kept.
    pub verdict: Verdict,
}

/// Load of the database; `None` is unknown.
#[derive(Debug, Clone, Default, serde::Serialize)]
pub struct Load {
    /// Commits and rollbacks a second.
    pub transactions_per_s: Option<f64>,
    /// Share of transactions that rolled back.
    pub rollback_ratio: Option<f64>,
    /// Number of deadlocks.
    pub deadlocks: Option<i64>,
    /// Top-level statements a second.
    pub statements_per_s: Option<f64>,
    /// Execution time of all top-level statements, milliseconds.
    pub total_exec_ms: Option<f64>,
    /// That time over time passed: how many statements were running on average.
    pub active_ratio: Option<f64>,
    /// Share of block reads answered by shared buffers.
    pub cache_hit_ratio: Option<f64>,
    /// Blocks read from outside shared buffers, bytes.
    pub read_bytes: Option<i64>,
    /// WAL written by statements, bytes.
    pub wal_bytes: Option<i64>,
    /// Temporary files, bytes.
    pub temp_bytes: Option<i64>,
    /// Size of the database, bytes.
    pub database_bytes: Option<i64>,
}

/// The load over time, in steps of one length.
#[derive(Debug, Clone, Default)]
pub struct Trend {
    /// Length of a step; a day of the session's zone counts as 24 hours.
    pub step_us: i64,
    /// The mean time of a statement that should not be exceeded, milliseconds.
    pub target_ms: Option<f64>,
    /// The steps, in order.
    pub points: Vec<Point>,
}

/// One step of a trend.
#[derive(Debug, Clone, Copy, Default)]
pub struct Point {
    /// Start.
    pub since_us: i64,
    /// End.
    pub until_us: i64,
    /// Share of the step that recorded intervals cover; 0 is a gap.
    pub covered_ratio: f64,
    /// Executions of top-level statements.
    pub calls: Option<i64>,
    /// Their execution time, milliseconds.
    pub total_exec_ms: Option<f64>,
    /// Statements running on average.
    pub active_ratio: Option<f64>,
}

impl Point {
    /// Mean time of a statement, milliseconds.
    #[allow(clippy::cast_precision_loss)]
    pub fn mean_exec_ms(&self) -> Option<f64> {
        let calls = self.calls.filter(|calls| *calls > 0)?;
        Some(self.total_exec_ms? / calls as f64)
    }
}

/// One kind of command; top-level statements only.
#[derive(Debug, Clone, Default, serde::Serialize)]
pub struct Command {
    /// Command tag; `None` is unknown.
    pub command: Option<String>,
    /// Executions.
    pub calls: i64,
    /// Execution time, milliseconds.
    pub total_exec_ms: f64,
    /// Executions of statements whose mean time is slow.
    pub slow_calls: i64,
    /// Number of these statements.
    pub slow_statements: i64,
    /// Their execution time, milliseconds.
    pub slow_exec_ms: f64,
}

/// One of the top statements.
#[derive(Debug, Clone, Default, serde::Serialize)]
pub struct Statement {
    /// Id in this history.
    pub statement_id: i64,
    /// Share of all top-level execution time.
    pub share_ratio: Option<f64>,
    /// Total execution time.
    pub total_exec_ms: Option<f64>,
    /// Executions.
    pub calls: Option<i64>,
    /// Mean execution time.
    pub mean_exec_ms: Option<f64>,
    /// Time within which 95 of 100 executions ended, where it was counted.
    pub p95_ms: Option<f64>,
    /// Rows per execution.
    pub rows_per_call: Option<f64>,
    /// Who ran it.
    pub user_name: Option<String>,
    /// Its text, as far as the reader may see it.
    pub query: Option<String>,
    /// Of its plans in use, the one that took most time.
    #[serde(skip)]
    pub plan: Option<Plan>,
    /// What executions that were looked into showed of what the plan does for nothing, in words.
    pub seen: Vec<String>,
    /// The last time that another plan took over, in the period.
    #[serde(skip)]
    pub flip: Option<Flip>,
}

/// Executions below which a list of long ones would be one of single accidents.
pub const ENOUGH: u64 = 5;

/// How long executions took, as percentiles of single executions.
#[derive(Debug, Clone, Default, serde::Serialize)]
pub struct Latency {
    /// All that clients sent and that was timed.
    pub overall: Times,
    /// Some was executed that was not timed, or for some time nothing was.
    pub is_part: bool,
    /// How far a percentile may be off at most.
    pub percentile_error_ratio: f64,
    /// Statements of [`ENOUGH`] executions or more, longest p95 first.
    pub statements: Vec<StatementTimes>,
}

/// Percentiles; `None` without executions.
#[derive(Debug, Clone, Copy, Default, serde::Serialize)]
pub struct Times {
    /// Executions that they are taken from.
    pub calls: i64,
    /// Half of the executions ended within this time.
    pub p50_ms: Option<f64>,
    /// 95 of 100 did.
    pub p95_ms: Option<f64>,
    /// 99 of 100 did.
    pub p99_ms: Option<f64>,
    /// The longest.
    pub max_ms: Option<f64>,
}

/// One statement's.
#[derive(Debug, Clone, Default, serde::Serialize)]
pub struct StatementTimes {
    /// Id in this history.
    pub statement_id: i64,
    /// Its times.
    #[serde(flatten)]
    pub times: Times,
    /// Who ran it.
    pub user_name: Option<String>,
    /// Its text, as far as the reader may see it.
    pub query: Option<String>,
}

/// Why something is not recorded.
#[derive(Debug, Clone, Default, serde::Serialize)]
pub struct Missing {
    /// What is wrong.
    pub problem: String,
    /// The line that fixes it; empty where settings of then were why, and none of now is.
    pub fix: String,
}

/// What failed.
#[derive(Debug, Clone, Default, serde::Serialize)]
pub struct Errors {
    /// Top-level statements executed to their end, but for those that begin and end transactions or set something.
    pub executions: Option<i64>,
    /// Statements that failed.
    pub errors: i64,
    /// Statements that were cancelled on request.
    pub cancelled: i64,
    /// Errors over all that were tried.
    pub error_ratio: Option<f64>,
    /// By class, SQLSTATE, user and statement, most frequent first.
    pub kinds: Vec<ErrorKind>,
    /// Errors of some roles, or of a part of the time, were not counted.
    #[serde(skip)]
    pub is_part: bool,
}

impl Errors {
    /// Errors of all are known, of all of the time.
    pub fn are_all(&self) -> bool {
        !self.is_part
    }
}

/// One kind of failure.
#[derive(Debug, Clone, Default, serde::Serialize)]
pub struct ErrorKind {
    /// Its class, as `perfmon.errors()` spells it.
    pub class: String,
    /// Its SQLSTATE; `None` where only the class is known.
    pub sqlstate: Option<String>,
    /// The standard name of that.
    pub condition: Option<String>,
    /// Whose.
    pub user_name: Option<String>,
    /// Id of the statement in this history.
    pub statement_id: Option<i64>,
    /// The table that autovacuum gave up.
    pub table: Option<String>,
    /// How often.
    pub errors: i64,
    /// Time of the failed statements, milliseconds.
    pub lost_ms: f64,
}

/// One table read by sequential scans.
#[derive(Debug, Clone, Default, serde::Serialize)]
pub struct Table {
    /// Schema and name.
    pub name: String,
    /// Sequential scans.
    pub seq_scans: Option<i64>,
    /// Rows that these read.
    pub rows_read: Option<i64>,
    /// Rows per scan.
    pub rows_per_scan: Option<f64>,
    /// Index scans.
    pub idx_scans: Option<i64>,
    /// Size, bytes.
    pub table_bytes: Option<i64>,
}

/// One gap.
#[derive(Debug, Clone, Default)]
pub struct Gap {
    /// Start.
    pub since_us: i64,
    /// Length.
    pub length_us: i64,
    /// What it concerns.
    pub subject: String,
    /// Kind of gap.
    pub kind: String,
    /// In words.
    pub detail: Option<String>,
}

/// One change around the database.
#[derive(Debug, Clone, Default)]
pub struct Change {
    /// When it was noticed.
    pub at_us: i64,
    /// `setting`, `extension`, `table`, `index`, `mark`.
    pub kind: String,
    /// Name of what changed; the label of a mark.
    pub name: String,
    /// Before; `None` when it was not there, or not set.
    pub old_value: Option<String>,
    /// Since; `None` when it is gone.
    pub new_value: Option<String>,
}
