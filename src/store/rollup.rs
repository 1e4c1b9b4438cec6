//! Adds minutes up to hours and hours to days: once, when the period is over, so that nothing is ever
//! rewritten. How values add up is the core's business.

use std::collections::HashMap;

use perfmon_core::family::{FAMILIES, Family, LATENCY, SERVER, STATEMENT};
use perfmon_core::frame::{Frame, Span};
use perfmon_core::latency::{self as histograms, Row};
use perfmon_core::rollup;

use super::chore::{self, Note};
use super::period::{DAY_US, HOUR_US, Level, Period, ceiling, floor, level_name};
use super::sql;
use super::{history, latency, read, source};

/// Statements that a row of an hour or a day has room for: it keeps them all. Of more, those that make this share of the time and of the
/// calls; the rest becomes "other".
const ROOM: usize = 10_000;
const KEEP: f64 = 0.999;
/// Frames added up at once: bounds memory to a few megabytes.
const AT_ONCE: usize = 8;

fn step_us(level: Level) -> i64 {
    if level == Level::Day { DAY_US } else { HOUR_US }
}

fn finer(level: Level) -> Level {
    if level == Level::Day { Level::Hour } else { Level::Minute }
}

fn note_name(level: Level, source: i64) -> String {
    format!("rollup_{}_{source:016x}", level_name(level))
}

/// The next thing to add up, and which end of a period is known to be past. Looks at history itself only
/// for some minutes after an hour's end.
pub(super) fn due(
    own: i64,
    notes: &HashMap<String, Note>,
    now: i64,
    interval_us: i64,
) -> Option<(Level, i64, i64)> {
    let behind = |level, source, by| {
        notes.get(&note_name(level, source)).is_none_or(|note| note.at < by || note.at > now)
    };
    for source in source::lineage_of(own) {
        if !FAMILIES.iter().any(|family| history::has_tables(family, Level::Minute, source)) {
            continue;
        }
        let hour = floor(now, HOUR_US);
        let closed = || {
            source != own
                || now >= hour.saturating_add(interval_us.saturating_mul(2))
                || history::last_until(&SERVER, Level::Minute, source, now)
                    .is_some_and(|until| until > hour)
        };
        if behind(Level::Hour, source, hour) {
            // A row of the last hour may still be on its way; those before cannot wait for it, since
            // what is not added up must not be let go.
            let by = if closed() { hour } else { hour - HOUR_US };
            if behind(Level::Hour, source, by) {
                return Some((Level::Hour, source, by));
            }
        }
        let day = floor(now, DAY_US);
        if !behind(Level::Hour, source, day) && behind(Level::Day, source, day) {
            return Some((Level::Day, source, day));
        }
    }
    None
}

/// Adds up the next period of a source that has rows and ended by then, or notes that there is none.
pub(super) fn run(level: Level, source: i64, by: i64) {
    let step = step_us(level);
    let name = note_name(level, source);
    // A note from the future is that of a clock which has stepped back since.
    let noted = chore::notes().get(&name).map(|note| note.at).filter(|at| *at <= by);
    let next = FAMILIES
        .iter()
        .filter_map(|family| {
            let done = noted.or_else(|| history::last_until(family, level, source, by));
            next_row(family, level, source, done)
        })
        .min();
    let Some(end) = next.map(|until| ceiling(until, step)).filter(|end| *end <= by) else {
        chore::note(&name, by, None);
        return;
    };
    for family in FAMILIES {
        roll_family(family, level, source, end);
    }
    chore::note(&name, end, None);
}

/// End of the first finer row after what is added up already.
fn next_row(family: &Family, level: Level, source: i64, done: Option<i64>) -> Option<i64> {
    let table = history::source_name(family, finer(level), source);
    history::table_oid(&table)?;
    let done = done.unwrap_or_else(|| Period::of(level, i64::MIN).start());
    sql::first(
        &format!(
            "SELECT t.until FROM perfmon.{table} t
             WHERE t.until OPERATOR(pg_catalog.>) $1 ORDER BY t.until LIMIT 1"
        ),
        &[sql::time(done)],
        |row| row.time(1),
    )
}

fn roll_family(family: &'static Family, level: Level, source: i64, end: i64) {
    if !history::has_tables(family, finer(level), source)
        || history::last_until(family, level, source, end).is_some_and(|until| until >= end)
    {
        return;
    }
    if family.name == LATENCY.name {
        roll_latency(level, source, end);
        return;
    }
    let mut parts: Vec<(Span, Frame)> = Vec::with_capacity(AT_ONCE);
    let segment = (finer(level), end - step_us(level), end);
    read::whole(source, family, segment, &mut |span, frame| {
        parts.push((span, frame));
        if parts.len() == AT_ONCE {
            // Still before the rows to come: of gauges, the last value stands.
            let so_far = parts.last().map_or(end, |(span, _)| span.until);
            let sum = rollup::merge(family, &parts, so_far, None);
            parts.clear();
            parts.extend(sum);
        }
    });
    let mut sum = rollup::merge(family, &parts, end, None);
    if let Some(large) = sum.take_if(|sum| family.name == STATEMENT.name && sum.1.ids.len() > ROOM)
    {
        sum = rollup::merge(family, &[large], end, Some(KEEP));
    }
    if let Some((span, frame)) = sum {
        history::append(level, source, &span, &frame);
    }
}

fn roll_latency(level: Level, source: i64, end: i64) {
    let mut parts: Vec<(Span, Row)> = Vec::with_capacity(2);
    let segment = (finer(level), end - step_us(level), end);
    latency::whole(source, segment, &mut |span, row| {
        parts.push((span, row));
        // One at a time: a row takes more memory than its bytes say.
        if parts.len() == 2 {
            let sum = histograms::merge(&parts, end, None);
            parts.clear();
            parts.extend(sum);
        }
    });
    let mut sum = histograms::merge(&parts, end, None);
    if let Some(large) = sum.take_if(|sum| sum.1.statements.len() > ROOM) {
        sum = histograms::merge(&[large], end, Some(KEEP));
    }
    if let Some((span, row)) = sum {
        latency::append(level, source, &span, &row);
    }
}
