//! The report as Markdown, at most 100 columns wide, SQL blocks apart. It must never judge silently:
//! what is unknown is shown as unknown, and too little data is said in plain words. Its own words are
//! ASCII, which every database encoding can hold.

use super::chart::chart;
use super::facts::{Change, Command, Gap, Head, Load, Missing, Report, Statement, Table, text_or};
use super::grid::Side::{Left, Right};
use super::grid::grid;
use super::machine::machine;
use super::text::{code, cut, plain, wrapped};
use super::verdict::Verdict;
use super::words::{
    bytes, count, duration, milliseconds, number, percent, plural, rate, seconds, sentence, size,
};
use crate::coverage::Coverage;

mod advice;
mod connections;
pub(super) mod errors;
mod judgement;
pub(super) mod latency;
mod locks;
mod plans;
pub(super) mod promises;
mod rewrites;

/// Completeness below which a good part of the load is not in the list of statements.
const INCOMPLETE: f64 = 0.8;
/// How much of each list is shown.
const STATEMENTS: usize = 15;
const TABLES: usize = 10;
const LINES: usize = 20;

/// Shows a time in the reader's zone, as `2026-11-21 08:34:00+00`.
pub(super) type Show<'a> = &'a dyn Fn(i64) -> String;

/// The report as Markdown; `show` gives a time in the reader's zone, in ISO 8601 with a blank.
pub fn markdown(report: &Report, show: Show<'_>) -> String {
    let verdict = Verdict::of(report);
    let show = &|us: i64| seconds(&show(us));
    let mut out = String::new();
    head(&mut out, report, show);
    if let Some(promises) = &report.objectives {
        promises::objectives(&mut out, promises, true);
    }
    if report.head.intervals > 0 {
        latency::latency(&mut out, report.latency.as_ref(), report.uncounted.as_ref());
    }
    judgement::verdict(&mut out, report, &verdict);
    // Without history, only what the catalog shows can have been found.
    let judged =
        report.findings.is_some() && (report.head.intervals > 0 || !verdict.ranked.is_empty());
    let mut printed = plans::Printed::default();
    if judged {
        advice::bottlenecks(&mut out, report, &verdict, &mut printed, show);
    }
    if report.head.intervals > 0 {
        load(&mut out, &report.load, &report.head);
        trend(&mut out, report, show);
        let missing = report.missing.as_ref().filter(|_| report.commands.is_empty());
        commands(&mut out, &report.commands, missing.or(report.lacking.as_ref()));
        statements(&mut out, report);
        plans::slowest(&mut out, report, &printed, show);
        rewrites::rewrites(&mut out, report.rewrites.as_deref());
        errors::errors(&mut out, report.errors.as_ref(), report.unheard.as_ref());
        connections::connections(&mut out, report.connections.as_ref());
        locks::locks(&mut out, report.locks.as_ref());
        tables(&mut out, &report.tables);
        machine(&mut out, report.machine.as_ref());
    }
    changes(&mut out, &report.changes, show);
    gaps(&mut out, &report.gaps, show);
    if judged {
        advice::priorities(&mut out, &verdict);
    }
    judgement::unjudged(&mut out, report);
    out
}

fn head(out: &mut String, report: &Report, show: Show<'_>) {
    let head = &report.head;
    out.push_str(&cut(&format!("# Performance report: {}", plain(&head.database)), 100));
    out.push_str("\n\n");
    let mut item = |name: &str, value: &str| wrapped(out, &format!("- {name}: "), value);
    item("Date", &show(head.now_us));
    item("Server", &format!("{}, {}", plain(&head.version), plain(&head.server)));
    item("Hardware", &hardware(head));
    let size =
        report.load.database_bytes.map_or_else(|| "size unknown".to_owned(), |b| size(Some(b)));
    item("Database", &format!("{}, {size}", plain(&head.database)));
    let (since, until) = (show(head.since_us), show(head.until_us));
    let period = duration(head.period_us());
    item("Period", &format!("{since} to {until} ({period}), time zone {}", plain(&head.time_zone)));
    if let Some(begins) = head.history_begins_us {
        item("History", &format!("begins at {}, after the start of this period", show(begins)));
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
    if let Some(missing) = &report.unrecorded {
        item("Not recorded", &plain(&format!("{}. To fix it: {}", missing.problem, missing.fix)));
    }
    match head.quality {
        None => {}
        Some(0) => item("Quality", "exact: everything that was counted is here"),
        Some(1) => item("Quality", "lower bound: in some intervals, something may be missing"),
        Some(_) => item("Quality", "doubtful in part: entries may have been evicted and come back"),
    }
    if head.intervals > 0 {
        item("Completeness", &completeness(report));
    }
    out.push('\n');
}

fn hardware(head: &Head) -> String {
    #[allow(clippy::cast_precision_loss)]
    let memory = head.memory_bytes.map(|all| format!("{} of memory", bytes(all as f64)));
    let cpus = head.cpus.map(|n| plural(usize::try_from(n).unwrap_or(0), "CPU", "CPUs"));
    match (cpus, memory) {
        (None, None) => "unknown".to_owned(),
        (Some(one), None) | (None, Some(one)) => one,
        (Some(cpus), Some(memory)) => format!("{cpus}, {memory}"),
    }
}

fn completeness(report: &Report) -> String {
    let ratio = match report.coverage() {
        Coverage::Known(ratio) => ratio,
        Coverage::Unknown => return "unknown".to_owned(),
        Coverage::Idle(active) => {
            return format!(
                "not told: clients were active for only {}",
                milliseconds(Some(active))
            );
        }
        Coverage::Late => {
            return "not told: sessions have yet to report active time, which they do between transactions".to_owned();
        }
    };
    let share = percent(Some(ratio));
    let rest = if ratio < INCOMPLETE {
        "; the rest, such as parsing, planning and commits, is not known"
    } else {
        ""
    };
    format!("{share} of the clients' active time is in recorded statements{rest}")
}

fn load(out: &mut String, load: &Load, head: &Head) {
    out.push_str("## Load\n\n");
    let per_second = |amount: Option<i64>| match (amount, head.covered_us) {
        (Some(n), us) if us > 0 => format!("{} ({} a second)", size(amount), bytes(rate(n, us))),
        _ => size(amount),
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
    ]
    .map(|row| row.map(str::to_owned));
    grid(out, [("", Left), ("value", Right)], &rows);
}

fn trend(out: &mut String, report: &Report, show: Show<'_>) {
    let Some(trend) = &report.trend else { return };
    if trend.points.len() > 1 {
        out.push_str("## Trend\n\n");
        if !chart(out, trend, &report.changes, show) {
            out.push_str("Nothing is known about the load over time.\n\n");
        }
    }
}

/// The kinds of command that have a line of their own.
const KINDS: [&str; 4] = ["SELECT", "INSERT", "UPDATE", "DELETE"];

/// Says that something is not known, why, and what turns it on.
fn absent(out: &mut String, what: &str, missing: &Missing) {
    wrapped(out, "", &sentence(&plain(&format!("{what}{}", missing.problem))));
    out.push('\n');
    if !missing.fix.is_empty() {
        wrapped(out, "", &format!("To fix it: {}", sentence(&plain(&missing.fix))));
        out.push('\n');
    }
}

/// Before the words that tell whose statements are missing where others are counted.
const LACKING: &str = "Statements are missing: ";

/// Says why statements are not recorded, or were not.
fn unrecorded(out: &mut String, missing: &Missing) {
    let what = match missing.fix.is_empty() {
        true => "Statements were not recorded in some of this time; ",
        false => "Statements are not recorded. pg_stat_statements: ",
    };
    absent(out, what, missing);
}

/// `missing` tells why there are none, or why not all are counted.
pub(super) fn commands(out: &mut String, commands: &[Command], missing: Option<&Missing>) {
    if commands.is_empty() {
        if let Some(missing) = missing {
            out.push_str("## Time by kind of command\n\n");
            unrecorded(out, missing);
        }
        return;
    }
    let mut kinds: Vec<(&str, Command)> =
        KINDS.iter().chain(&["other"]).map(|kind| (*kind, Command::default())).collect();
    for command in commands {
        let tag = command.command.as_deref();
        let place = KINDS.iter().position(|kind| Some(*kind) == tag).unwrap_or(KINDS.len());
        let sum = &mut kinds[place].1;
        sum.calls = sum.calls.saturating_add(command.calls);
        sum.slow_calls = sum.slow_calls.saturating_add(command.slow_calls);
        sum.slow_statements = sum.slow_statements.saturating_add(command.slow_statements);
        sum.total_exec_ms += command.total_exec_ms;
        sum.slow_exec_ms += command.slow_exec_ms;
    }
    let total: f64 = kinds.iter().map(|(_, sum)| sum.total_exec_ms).sum();
    kinds.retain(|(_, sum)| sum.calls > 0);
    kinds.sort_by(|a, b| b.1.total_exec_ms.total_cmp(&a.1.total_exec_ms));
    out.push_str("## Time by kind of command\n\n");
    if let Some(lacking) = missing {
        absent(out, LACKING, lacking);
    }
    #[allow(clippy::cast_precision_loss)]
    let row = |(kind, sum): &(&str, Command)| {
        let mean = (sum.calls > 0).then(|| sum.total_exec_ms / sum.calls as f64);
        let share = (total > 0.0).then(|| sum.total_exec_ms / total);
        [
            (*kind).to_owned(),
            count(Some(sum.calls)),
            milliseconds(Some(sum.total_exec_ms)),
            percent(share),
            milliseconds(mean),
            count(Some(sum.slow_statements)),
            count(Some(sum.slow_calls)),
            milliseconds(Some(sum.slow_exec_ms)),
        ]
    };
    let heads = [
        ("command", Left),
        ("calls", Right),
        ("time", Right),
        ("share", Right),
        ("mean", Right),
        ("slow ones", Right),
        ("their calls", Right),
        ("their time", Right),
    ];
    grid(out, heads, &kinds.iter().map(row).collect::<Vec<_>>());
}

fn statements(out: &mut String, report: &Report) {
    out.push_str("## Top statements by execution time\n\n");
    match (&report.missing, &report.lacking) {
        (Some(missing), _) => unrecorded(out, missing),
        (None, Some(lacking)) => absent(out, LACKING, lacking),
        (None, None) => {}
    }
    let Some(statements) = report.statements.as_deref() else {
        if report.missing.is_none() {
            out.push_str("Statements were not recorded in this period.\n\n");
        }
        return;
    };
    if statements.is_empty() {
        out.push_str("No statement ran.\n\n");
        return;
    }
    let row = |s: &Statement| {
        [
            s.statement_id.to_string(),
            percent(s.share_ratio),
            milliseconds(s.total_exec_ms),
            count(s.calls),
            milliseconds(s.mean_exec_ms),
            milliseconds(s.p95_ms),
            number(s.rows_per_call),
            text_or(s.query.as_deref(), code),
        ]
    };
    let heads = [
        ("id", Right),
        ("share", Right),
        ("time", Right),
        ("calls", Right),
        ("mean", Right),
        ("p95", Right),
        ("rows/call", Right),
        ("statement", Left),
    ];
    let shown = statements.iter().take(STATEMENTS);
    let rows: Vec<_> = shown.clone().map(row).collect();
    if shown.clone().any(|s| !s.is_hidden()) {
        grid(out, heads, &rows);
    } else {
        // A column in which nothing may be seen says nothing.
        let cells = rows.into_iter().map(|row| {
            let [first @ .., _] = row;
            first
        });
        let [first @ .., _] = heads;
        grid(out, first, &cells.collect::<Vec<_>>());
    }
    if shown.clone().any(Statement::is_hidden) {
        wrapped(
            out,
            "",
            "Texts of other users' statements are shown to members of pg_read_all_stats.",
        );
        out.push('\n');
    }
    out.push_str("More on one of them: `SELECT * FROM perfmon.statement_series(<id>)`.\n\n");
}

fn tables(out: &mut String, tables: &[Table]) {
    if tables.is_empty() {
        return;
    }
    out.push_str("## Tables read most by sequential scans\n\n");
    let row = |t: &Table| {
        [
            count(t.rows_read),
            count(t.seq_scans),
            number(t.rows_per_scan),
            count(t.idx_scans),
            size(t.table_bytes),
            plain(&t.name),
        ]
    };
    let heads = [
        ("rows read", Right),
        ("scans", Right),
        ("rows/scan", Right),
        ("index scans", Right),
        ("size", Right),
        ("table", Left),
    ];
    grid(out, heads, &tables.iter().take(TABLES).map(row).collect::<Vec<_>>());
}

pub(super) fn changes(out: &mut String, changes: &[Change], show: Show<'_>) {
    if changes.is_empty() {
        return;
    }
    out.push_str("## Changes in the period\n\n");
    let row = |c: &Change| [show(c.at_us), plain(&c.kind), changed(c)];
    let rows: Vec<_> = changes.iter().take(LINES).map(row).collect();
    grid(out, [("noticed", Left), ("kind", Left), ("change", Left)], &rows);
    more(out, changes.len(), "changes");
}

fn changed(change: &Change) -> String {
    let name = plain(&change.name);
    let (old, new) =
        (change.old_value.as_deref().map(plain), change.new_value.as_deref().map(plain));
    match (change.kind.as_str(), old, new) {
        ("mark", _, None) => name,
        ("mark", _, Some(note)) => format!("{name}: {note}"),
        ("setting", old, new) => {
            let shown = |v: Option<String>| v.unwrap_or_else(|| "not set".to_owned());
            format!("{name}: {} -> {}", shown(old), shown(new))
        }
        (_, None, None) => name,
        (_, None, Some(new)) => format!("{name} created: {new}"),
        (_, Some(old), None) => format!("{name} dropped, was: {old}"),
        (_, Some(old), Some(new)) => format!("{name} changed: {old} -> {new}"),
    }
}

pub(super) fn gaps(out: &mut String, gaps: &[Gap], show: Show<'_>) {
    if gaps.is_empty() {
        return;
    }
    out.push_str("## Gaps\n\n");
    let row = |g: &Gap| {
        let detail = g.detail.as_deref().map_or_else(String::new, plain);
        [show(g.since_us), duration(g.length_us), plain(&g.subject), plain(&g.kind), detail]
    };
    let heads =
        [("since", Left), ("length", Right), ("what", Left), ("kind", Left), ("detail", Left)];
    grid(out, heads, &gaps.iter().take(LINES).map(row).collect::<Vec<_>>());
    more(out, gaps.len(), "gaps");
}

/// What a list leaves out, and where it is.
fn more(out: &mut String, all: usize, function: &str) {
    if all > LINES {
        let rest = all - LINES;
        wrapped(out, "", &format!("And {rest} more: `SELECT * FROM perfmon.{function}(...)`."));
        out.push('\n');
    }
}
