//! The figures of a run: a file of lines "name, tab, value", and the table that compares them with their
//! limits and with PoWA. Those of the small database begin with "small_".

use crate::{Options, Outcome};
use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::Write;

pub(crate) struct Figures {
    file: File,
    prefix: &'static str,
}

pub(crate) struct Read(HashMap<String, String>);

impl Figures {
    /// To add figures.
    pub(crate) fn open(options: &Options, small: bool) -> Outcome<Figures> {
        let file = OpenOptions::new().create(true).append(true).open(&options.figures)?;
        Ok(Figures { file, prefix: if small { "small_" } else { "" } })
    }

    pub(crate) fn word(&mut self, name: &str, value: &str) -> Outcome<()> {
        Ok(writeln!(self.file, "{}{name}\t{value}", self.prefix)?)
    }

    pub(crate) fn number(&mut self, name: &str, value: f64) -> Outcome<()> {
        self.word(name, &value.to_string())
    }

    /// All figures so far; of those noted twice, the last.
    pub(crate) fn read(options: &Options) -> Outcome<Read> {
        let text = std::fs::read_to_string(&options.figures)?;
        let pairs = text.lines().filter_map(|line| line.split_once('\t'));
        Ok(Read(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()))
    }
}

impl Read {
    pub(crate) fn word(&self, small: bool, name: &str) -> Outcome<String> {
        let key = format!("{}{name}", if small { "small_" } else { "" });
        self.0.get(&key).cloned().ok_or_else(|| format!("no figure {key}").into())
    }

    pub(crate) fn number(&self, name: &str) -> Option<f64> {
        self.0.get(name)?.parse().ok().filter(|value: &f64| value.is_finite())
    }
}

/// One line of the table: what it is called, its name in the file, the limit, PoWA's name, and how to divide.
struct Line(&'static str, &'static str, f64, Option<&'static str>, f64);

const NO_LIMIT: f64 = f64::INFINITY;

const LINES: &[Line] = &[
    Line(
        "snapshot of the server's counters, in a session, ms",
        "counters_ms",
        20.0,
        Some("powa_ms"),
        1.0,
    ),
    Line("  its CPU, ms (median)", "counters_cpu_ms", NO_LIMIT, Some("powa_cpu_ms"), 1.0),
    Line("  its WAL, kB (median)", "counters_wal_bytes", 110.0, Some("powa_wal_bytes"), 1000.0),
    Line("  statements active in each", "counters_active", NO_LIMIT, None, 1.0),
    Line(
        "snapshot of all, by a new collector: wall, ms (median)",
        "visit_wall_ms",
        NO_LIMIT,
        Some("powa_ms"),
        1.0,
    ),
    Line(
        "snapshot() as called, commit waited for, ms (median)",
        "call_ms",
        NO_LIMIT,
        Some("powa_ms"),
        1.0,
    ),
    Line(
        "snapshot: CPU of the visit's work, ms (median)",
        "visit_cpu_ms",
        NO_LIMIT,
        Some("powa_cpu_ms"),
        1.0,
    ),
    Line(
        "collector from fork to exit: CPU, ms (mean)",
        "process_cpu_ms",
        60.0,
        Some("powa_cpu_ms"),
        1.0,
    ),
    Line(
        "WAL per snapshot, kB (median)",
        "outside_wal_bytes",
        110.0,
        Some("powa_wal_bytes"),
        1000.0,
    ),
    Line(
        "WAL per snapshot as the visit counts it, kB",
        "wal_bytes",
        110.0,
        Some("powa_wal_bytes"),
        1000.0,
    ),
    Line("  the most of any interval, kB", "most_wal_bytes", NO_LIMIT, None, 1000.0),
    Line("  while plans are first found, kB", "beginning_wal_bytes", NO_LIMIT, None, 1000.0),
    Line("disk per statement and interval, bytes", "bytes_per_statement", 20.0, None, 1.0),
    Line("same at 50 active statements, bytes", "small_bytes_per_statement", 45.0, None, 1.0),
    Line(
        "histograms: disk per statement and interval, bytes",
        "bytes_per_timed_statement",
        16.0,
        None,
        1.0,
    ),
    Line(
        "same at 50 active statements, bytes",
        "small_bytes_per_timed_statement",
        NO_LIMIT,
        None,
        1.0,
    ),
    Line("top_statements, last hour, ms", "top_hour_ms", 20.0, None, 1.0),
    Line("top_statements, 30 days, ragged ends, ms", "top_month_ms", 50.0, None, 1.0),
    Line(
        "statement_series with percentiles, 30 days by hour, ms",
        "series_month_ms",
        40.0,
        None,
        1.0,
    ),
    Line("statement_series with percentiles, 24 h by minute, ms", "series_day_ms", 75.0, None, 1.0),
    Line("latencies of one statement, 30 days by hour, ms", "heatmap_month_ms", 60.0, None, 1.0),
    Line("load_series of all, 30 days, ms", "load_month_ms", 20.0, None, 1.0),
    Line("  first call after a restart: top, last hour, ms", "top_hour_cold_ms", 250.0, None, 1.0),
    Line("  first call after a restart: top, 30 days, ms", "top_month_cold_ms", 250.0, None, 1.0),
    Line(
        "  first call after a restart: series, 30 days, ms",
        "series_month_cold_ms",
        250.0,
        None,
        1.0,
    ),
    Line("  first call after a restart: series, 24 h, ms", "series_day_cold_ms", 250.0, None, 1.0),
    Line(
        "  first call after a restart: latencies, 30 days",
        "heatmap_month_cold_ms",
        250.0,
        None,
        1.0,
    ),
    Line("  first call after a restart: load, 30 days, ms", "load_month_cold_ms", 250.0, None, 1.0),
];

/// Prints the table; an error when a limit was missed.
pub(crate) fn table(options: &Options) -> Outcome<()> {
    let read = Figures::read(options)?;
    let mut out = std::io::stdout();
    let shown =
        |name: &str| read.number(name).map_or("?".to_owned(), |value| format!("{value:.0}"));
    writeln!(
        out,
        "{} intervals of {} executions, at least {} statements active in each; history: {} minutes of {} \
         statements (each the sum of {} recorded intervals, jittered), {} hours, {} days, {:.2} GB in all",
        shown("rows"),
        shown("executions"),
        shown("active"),
        shown("minutes"),
        shown("filled_active"),
        options.parts,
        shown("hours"),
        shown("days"),
        read.number("all_bytes").unwrap_or(f64::NAN) / 1e9
    )?;
    writeln!(out, "{:<54} {:>9} {:>7} {:>9} {:>7}", "", "measured", "limit", "PoWA", "ratio")?;
    let mut missed = 0;
    for Line(title, name, limit, peer, divide) in LINES {
        let Some(value) = read.number(name).map(|value| value / divide) else {
            writeln!(out, "{title:<54} {:>9}", "-")?;
            continue;
        };
        let peer = peer.and_then(|peer| read.number(peer)).map(|peer| peer / divide);
        let (limit_text, verdict) = if limit.is_finite() {
            (format!("{limit:.0}"), if value < *limit { "ok" } else { "MISSED" })
        } else {
            (String::new(), "")
        };
        missed += usize::from(verdict == "MISSED");
        let theirs = peer.map_or(String::new(), |peer| format!("{peer:.1}"));
        let ratio = match peer {
            Some(peer) => format!("1:{:.1}", peer / value),
            None if limit.is_finite() => format!("{:.2}", value / limit),
            None => String::new(),
        };
        writeln!(out, "{title:<54} {value:>9.1} {limit_text:>7} {theirs:>9} {ratio:>7} {verdict}")?;
    }
    writeln!(out, "ratio: PoWA's over ours where PoWA was measured, else measured over limit")?;
    if missed > 0 {
        return Err(format!("{missed} limits missed").into());
    }
    Ok(())
}
