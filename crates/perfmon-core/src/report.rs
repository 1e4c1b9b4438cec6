//! The report as text: facts in, Markdown or JSON out, at most 100 columns wide. It must never judge
//! silently: what is unknown is shown as unknown, and too little data is said in plain words.
//! Its own words are ASCII, which every database encoding can hold.

use std::fmt::Write as _;

use serde::Serialize;

/// Widest line of a report.
const WIDTH: usize = 100;
/// A statement's text is never squeezed below this.
const LEAST_TEXT: usize = 24;
/// Intervals and covered time below which averages mean little.
const FEW_INTERVALS: i64 = 3;
const SHORT_US: i64 = 180_000_000;
/// Completeness below which a good part of the load is not in the list of statements.
const INCOMPLETE: f64 = 0.8;

/// Everything that a report says. Times are ready to show, in the reader's zone.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Report {
    /// What was looked at.
    pub head: Head,
    /// How busy the database was.
    pub load: Load,
    /// What it spent its time on, most first.
    pub statements: Vec<Statement>,
    /// Tables whose rows were read most by sequential scans.
    pub tables: Vec<Table>,
    /// Time about which nothing is known.
    pub gaps: Vec<Gap>,
    /// Settings that changed.
    pub changes: Vec<Change>,
}

/// What was looked at, and how well it is known.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Head {
    /// Which server, as its administrator would call it.
    pub server: String,
    /// Version of the server.
    pub version: String,
    /// Name of the database.
    pub database: String,
    /// Start of the period.
    pub since: String,
    /// End of the period.
    pub until: String,
    /// Length of the period, microseconds.
    pub period_us: i64,
    /// Intervals recorded in it.
    pub intervals: i64,
    /// Time that these cover, microseconds.
    pub covered_us: i64,
    /// Number of gaps.
    pub gaps: i64,
    /// Worst quality of the intervals: 0 exact, 1 lower bound, 2 doubtful.
    pub quality: Option<i16>,
    /// Statement time over the clients' active time.
    pub completeness_ratio: Option<f64>,
    /// When history begins, if that is after the start of the period.
    pub history_begins: Option<String>,
}

/// Load of the database; `None` is unknown.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Load {
    /// Commits and rollbacks a second.
    pub transactions_per_s: Option<f64>,
    /// Share of transactions that rolled back.
    pub rollback_ratio: Option<f64>,
    /// Number of deadlocks.
    pub deadlocks: Option<i64>,
    /// Top-level statements a second.
    pub statements_per_s: Option<f64>,
    /// Time spent in statements over time passed: how many were running on average.
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

/// One of the top statements.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Statement {
    /// Id in this history.
    pub statement_id: i64,
    /// Share of all top-level execution time.
    pub share_ratio: Option<f64>,
    /// Total execution time.
    pub total_exec_ms: f64,
    /// Executions.
    pub calls: i64,
    /// Mean execution time.
    pub mean_exec_ms: Option<f64>,
    /// Rows per execution.
    pub rows_per_call: Option<f64>,
    /// Who ran it.
    pub user_name: Option<String>,
    /// Its text, as far as the reader may see it.
    pub query: Option<String>,
}

/// One table read by sequential scans.
#[derive(Debug, Clone, Default, Serialize)]
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
#[derive(Debug, Clone, Default, Serialize)]
pub struct Gap {
    /// Start.
    pub since: String,
    /// Length, microseconds.
    pub length_us: i64,
    /// What it concerns.
    pub subject: String,
    /// Kind of gap.
    pub kind: String,
    /// In words.
    pub detail: Option<String>,
}

/// One changed setting.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Change {
    /// When it was noticed.
    pub at: String,
    /// Name of the setting.
    pub name: String,
    /// Value before.
    pub old_value: Option<String>,
    /// Value since.
    pub new_value: Option<String>,
}

/// The report as JSON.
pub fn json(report: &Report) -> Result<String, serde_json::Error> {
    serde_json::to_string_pretty(report)
}

/// The report as Markdown.
pub fn markdown(report: &Report) -> String {
    let mut out = String::new();
    head(&mut out, &report.head);
    if report.head.intervals == 0 {
        gaps(&mut out, &report.gaps);
        changes(&mut out, &report.changes);
        return out;
    }
    load(&mut out, &report.load, &report.head);
    statements(&mut out, &report.statements);
    tables(&mut out, &report.tables);
    gaps(&mut out, &report.gaps);
    changes(&mut out, &report.changes);
    out
}

fn head(out: &mut String, head: &Head) {
    let _ = writeln!(out, "# Performance report: {}\n", plain(&head.database));
    let mut item = |name: &str, value: &str| wrapped(out, &format!("- {name}: "), value);
    item("Server", &format!("{}, {}", plain(&head.version), plain(&head.server)));
    let period = duration(head.period_us);
    item("Period", &format!("{} to {} ({period})", head.since, head.until));
    if let Some(begins) = &head.history_begins {
        item("History", &format!("begins at {begins}, after the start of this period"));
    }
    let intervals = match head.intervals {
        0 => "nothing".to_owned(),
        1 => format!("1 interval, {}", duration(head.covered_us)),
        n => format!("{n} intervals, {} in all", duration(head.covered_us)),
    };
    let gaps = match head.gaps {
        0 => "no gaps".to_owned(),
        1 => "1 gap".to_owned(),
        n => format!("{n} gaps"),
    };
    item("Recorded", &format!("{intervals}; {gaps}"));
    match head.quality {
        None => {}
        Some(0) => item("Quality", "exact: everything that was counted is here"),
        Some(1) => item("Quality", "lower bound: in some intervals, something may be missing"),
        Some(_) => item("Quality", "doubtful in part: entries may have been evicted and come back"),
    }
    match head.completeness_ratio {
        None => item("Completeness", "unknown"),
        Some(ratio) => item("Completeness", &completeness(ratio)),
    }
    out.push('\n');
    if head.intervals == 0 {
        wrapped(out, "", "Nothing was recorded in this period, so there is nothing to report.");
        wrapped(out, "", "perfmon.status() says whether snapshots are taken and what is missing.");
        out.push('\n');
    } else if head.intervals < FEW_INTERVALS || head.covered_us < SHORT_US {
        wrapped(
            out,
            "",
            "There is too little data for a judgement: read the numbers below as a first glimpse.",
        );
        out.push('\n');
    }
}

fn completeness(ratio: f64) -> String {
    let share = percent(Some(ratio));
    if ratio < INCOMPLETE {
        format!(
            "{share} of the clients' active time is in recorded statements; the rest, such as parsing, planning and commits, is not known"
        )
    } else {
        format!("{share} of the clients' active time is in recorded statements")
    }
}

fn load(out: &mut String, load: &Load, head: &Head) {
    out.push_str("## Load\n\n");
    let per_second = |bytes: Option<i64>| match (bytes, head.covered_us) {
        (Some(n), us) if us > 0 => {
            format!("{} ({} a second)", size(bytes), size(Some(rate(n, us))))
        }
        _ => size(bytes),
    };
    let rows = [
        ["Transactions a second", &number(load.transactions_per_s)],
        ["Rolled back", &percent(load.rollback_ratio)],
        ["Deadlocks", &count(load.deadlocks)],
        ["Statements a second", &number(load.statements_per_s)],
        ["Statements running, on average", &number(load.active_ratio)],
        ["Blocks found in shared buffers", &percent(load.cache_hit_ratio)],
        ["Read from disk or the system's cache", &per_second(load.read_bytes)],
        ["WAL written by statements", &per_second(load.wal_bytes)],
        ["Temporary files", &size(load.temp_bytes)],
        ["Size of the database", &size(load.database_bytes)],
    ]
    .map(|row| row.map(str::to_owned));
    grid(out, ["", "value"], ["l", "r"], &rows);
}

fn statements(out: &mut String, statements: &[Statement]) {
    out.push_str("## Top statements by execution time\n\n");
    if statements.is_empty() {
        out.push_str("No statement was recorded.\n\n");
        return;
    }
    let rows: Vec<[String; 7]> = statements
        .iter()
        .map(|s| {
            [
                s.statement_id.to_string(),
                percent(s.share_ratio),
                milliseconds(Some(s.total_exec_ms)),
                count(Some(s.calls)),
                milliseconds(s.mean_exec_ms),
                number(s.rows_per_call),
                s.query.as_deref().map_or_else(|| "text not known".to_owned(), code),
            ]
        })
        .collect();
    let heads = ["id", "share", "time", "calls", "mean", "rows/call", "statement"];
    grid(out, heads, ["r", "r", "r", "r", "r", "r", "l"], &rows);
    out.push_str("More on one of them: `SELECT * FROM perfmon.statement_series(<id>)`.\n\n");
}

fn tables(out: &mut String, tables: &[Table]) {
    if tables.is_empty() {
        return;
    }
    out.push_str("## Tables read most by sequential scans\n\n");
    let rows: Vec<[String; 6]> = tables
        .iter()
        .map(|t| {
            [
                count(t.rows_read),
                count(t.seq_scans),
                number(t.rows_per_scan),
                count(t.idx_scans),
                size(t.table_bytes),
                plain(&t.name),
            ]
        })
        .collect();
    let heads = ["rows read", "scans", "rows/scan", "index scans", "size", "table"];
    grid(out, heads, ["r", "r", "r", "r", "r", "l"], &rows);
}

fn gaps(out: &mut String, gaps: &[Gap]) {
    if gaps.is_empty() {
        return;
    }
    out.push_str("## Gaps\n\n");
    let rows: Vec<[String; 5]> = gaps
        .iter()
        .map(|g| {
            let detail = g.detail.as_deref().map_or_else(String::new, plain);
            [g.since.clone(), duration(g.length_us), plain(&g.subject), g.kind.clone(), detail]
        })
        .collect();
    grid(out, ["since", "length", "what", "kind", "detail"], ["l", "r", "l", "l", "l"], &rows);
}

fn changes(out: &mut String, changes: &[Change]) {
    if changes.is_empty() {
        return;
    }
    out.push_str("## Settings changed\n\n");
    let show = |v: &Option<String>| v.as_deref().map_or_else(|| "not set".to_owned(), plain);
    let rows: Vec<[String; 2]> = changes
        .iter()
        .map(|c| {
            let (old, new) = (show(&c.old_value), show(&c.new_value));
            [c.at.clone(), format!("{}: {old} -> {new}", plain(&c.name))]
        })
        .collect();
    grid(out, ["at", "change"], ["l", "l"], &rows);
}

/// A Markdown table, padded to be read in a terminal too; the last column gives way.
fn grid<const N: usize>(
    out: &mut String,
    heads: [&str; N],
    aligns: [&str; N],
    rows: &[[String; N]],
) {
    let mut widths = heads.map(width);
    for row in rows {
        for (w, cell) in widths.iter_mut().zip(row) {
            *w = (*w).max(width(cell));
        }
    }
    let fixed: usize = widths[..N - 1].iter().sum::<usize>() + 3 * N + 1;
    let last = &mut widths[N - 1];
    *last = (*last).clamp(3, WIDTH.saturating_sub(fixed).max(LEAST_TEXT));
    let line = |out: &mut String, cells: [&str; N]| {
        for ((cell, w), align) in cells.iter().zip(widths).zip(aligns) {
            let cell = cut(cell, w);
            let pad = " ".repeat(w - width(&cell).min(w));
            let _ = if align == "r" {
                write!(out, "| {pad}{cell} ")
            } else {
                write!(out, "| {cell}{pad} ")
            };
        }
        out.push_str("|\n");
    };
    line(out, heads);
    for (w, align) in widths.iter().zip(aligns) {
        let dashes = "-".repeat(w + 1);
        let _ = if align == "r" { write!(out, "|{dashes}:") } else { write!(out, "|:{dashes}") };
    }
    out.push_str("|\n");
    for row in rows {
        line(out, row.each_ref().map(String::as_str));
    }
    out.push('\n');
}

fn width(text: &str) -> usize {
    text.chars().count()
}

/// The text, shortened to `w` characters; a code span stays closed and an escape whole.
fn cut(text: &str, w: usize) -> String {
    if width(text) <= w {
        return text.to_owned();
    }
    let is_code = text.starts_with('`');
    let keep = w.saturating_sub(if is_code { 4 } else { 3 });
    let mut short: String = text.chars().take(keep).collect();
    if short.ends_with('\\') {
        short.pop();
    }
    short.push_str("...");
    if is_code {
        short.push('`');
    }
    short
}

/// Text on one line that cannot break a table.
fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut blank = false;
    for c in text.chars() {
        if c.is_whitespace() || c.is_control() {
            blank = !out.is_empty();
            continue;
        }
        if blank {
            out.push(' ');
            blank = false;
        }
        if c == '|' {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

/// A statement as a code span.
fn code(text: &str) -> String {
    // Longer than any line: the rest would be cut anyway.
    let start: String = text.chars().take(4 * WIDTH).collect();
    format!("`{}`", plain(&start).replace('`', "'"))
}

/// One paragraph or list item, broken at the widest line.
fn wrapped(out: &mut String, prefix: &str, text: &str) {
    let mut line = prefix.to_owned();
    let mut empty = true;
    for word in text.split(' ') {
        if !empty && width(&line) + 1 + width(word) > WIDTH {
            out.push_str(line.trim_end());
            out.push('\n');
            line = " ".repeat(if prefix.is_empty() { 0 } else { 2 });
            empty = true;
        }
        if !empty {
            line.push(' ');
        }
        line.push_str(word);
        empty = false;
    }
    out.push_str(line.trim_end());
    out.push('\n');
}

const UNKNOWN: &str = "unknown";

/// Three significant figures, never more than is known.
fn figures(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        v if v < 0.000_5 => format!("{value:.5}"),
        v if v < 0.1 => format!("{value:.3}"),
        v if v < 10.0 => format!("{value:.2}"),
        v if v < 100.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

fn scaled(value: f64, steps: &[(f64, &str)]) -> String {
    let (unit, name) = steps
        .iter()
        .rev()
        .find(|(unit, _)| value.abs() >= *unit)
        .or(steps.first())
        .copied()
        .unwrap_or((1.0, "?"));
    format!("{} {name}", figures(value / unit))
}

fn number(value: Option<f64>) -> String {
    let Some(v) = value else { return UNKNOWN.to_owned() };
    if v.abs() >= 1e4 { thousands(v) } else { figures(v) }
}

/// A number too long to read at a glance: 12,345 as 12.3 k.
fn thousands(value: f64) -> String {
    scaled(value, &[(1e3, "k"), (1e6, "M"), (1e9, "G")])
}

#[allow(clippy::cast_precision_loss)]
fn count(value: Option<i64>) -> String {
    match value {
        None => UNKNOWN.to_owned(),
        Some(n) if n.abs() < 10_000 => n.to_string(),
        Some(n) => thousands(n as f64),
    }
}

fn percent(ratio: Option<f64>) -> String {
    ratio.map_or_else(|| UNKNOWN.to_owned(), |r| format!("{:.1} %", r * 100.0))
}

fn milliseconds(value: Option<f64>) -> String {
    const STEPS: [(f64, &str); 4] = [(1.0, "ms"), (1e3, "s"), (60e3, "min"), (3_600e3, "h")];
    value.map_or_else(|| UNKNOWN.to_owned(), |v| scaled(v, &STEPS))
}

#[allow(clippy::cast_precision_loss)]
fn size(value: Option<i64>) -> String {
    const STEPS: [(f64, &str); 5] = [
        (1.0, "B"),
        (1024.0, "kB"),
        (1_048_576.0, "MB"),
        (1_073_741_824.0, "GB"),
        (1_099_511_627_776.0, "TB"),
    ];
    value.map_or_else(|| UNKNOWN.to_owned(), |v| scaled(v as f64, &STEPS))
}

/// Amount per second.
#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation)]
fn rate(amount: i64, us: i64) -> i64 {
    (amount as f64 / (us as f64 / 1e6)) as i64
}

/// A length of time in its two largest units.
fn duration(us: i64) -> String {
    let seconds = us.max(0) / 1_000_000;
    let two = |a: i64, a_name: &str, b: i64, b_name: &str| match b {
        0 => format!("{a} {a_name}"),
        b => format!("{a} {a_name} {b} {b_name}"),
    };
    match seconds {
        0..60 => scaled(us as f64 / 1e6, &[(1.0, "s")]),
        60..3_600 => two(seconds / 60, "min", seconds % 60, "s"),
        3_600..86_400 => two(seconds / 3_600, "h", seconds % 3_600 / 60, "min"),
        _ => two(seconds / 86_400, "d", seconds % 86_400 / 3_600, "h"),
    }
}

#[cfg(test)]
#[path = "report_tests.rs"]
mod tests;
