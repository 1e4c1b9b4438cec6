//! SQL functions that only `make bench-store` uses; compiled in by the feature `bench`, never released.
//! Most multiply history that the collector recorded, through the store's own writer and its own
//! roll-up, so that a month of it need not be waited for. They must never invent a row from nothing.

use std::collections::HashSet;

use perfmon_core::family::{FAMILIES, Family, LATENCY, Merge, STATEMENT};
use perfmon_core::frame::{Frame, Span};
use perfmon_core::latency::{self as histograms, Row};
use perfmon_core::rollup;
use perfmon_core::squares::EXEC_SQ;
use pgrx::datum::TimestampWithTimeZone;
use pgrx::prelude::*;

use crate::pg::clock;
use crate::probe;
use crate::store::chore::{self, Step};
use crate::store::period::{DAY_US, Level, floor};
use crate::store::{history, latency, read, source};

/// Different minutes to draw from, before each is jittered.
const POOL: usize = 24;
const MINUTE_US: i64 = 60_000_000;
/// Microseconds from the Unix epoch to PostgreSQL's.
const PG_EPOCH_US: i64 = 946_684_800_000_000;

/// A row as the collector stored it.
struct Recorded {
    span: Span,
    frame: Frame,
}

fn unix_us(at: TimestampWithTimeZone) -> i64 {
    at.into_inner().saturating_add(PG_EPOCH_US)
}

/// A small generator: the same jitter in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// A value within 20 % of this one; what is small is rounded up or down at random, so that the sum
    /// stays true.
    fn jitter(&mut self, value: u64) -> u64 {
        if value == 0 {
            return 0;
        }
        let random = self.next();
        // 820 to 1,228 of 1,024.
        let factor = 820 + (((random & 0xFFFF) * 409) >> 16);
        let scaled = u128::from(value) * u128::from(factor) + u128::from(random >> 54);
        u64::try_from(scaled >> 10).unwrap_or(u64::MAX)
    }
}

/// The rows of one family that end after `after`.
fn recorded(family: &'static Family, own: i64, after: i64) -> Vec<Recorded> {
    let columns: Vec<usize> = (0..family.columns.len()).collect();
    let mut rows = Vec::new();
    let segment = (Level::Minute, after, i64::MAX / 2);
    read::frames(&[own], family, &[segment], &columns, &mut |row| {
        rows.push(Recorded {
            span: row.head.span,
            frame: Frame {
                family,
                ids: row.ids.to_vec(),
                columns: columns.iter().map(|c| row.column(*c).map(<[u64]>::to_vec)).collect(),
                known: row.head.known,
                totals: row.head.totals.clone(),
            },
        });
    });
    rows
}

/// The least sum of squared times that the calls of a statement can have.
fn least_squares(frame: &Frame, place: usize) -> u64 {
    let of = |name: &str| {
        let column = frame.family.position(name).and_then(|c| frame.columns[c].as_ref());
        column.map_or(0, |values| values[place]) as f64
    };
    (of("exec_us").powi(2) / (of("calls").max(1.0) * 1e3)) as u64
}

/// What the sums of squared times of statements are over that; calls and times that are jittered apart from them would
/// have another spread. Empty for what has none.
fn spreads(frame: &Frame) -> Vec<u64> {
    if frame.family.name != "statement" {
        return Vec::new();
    }
    let squares = frame.columns[EXEC_SQ].iter().flatten().enumerate();
    squares.map(|(place, sum)| sum.saturating_sub(least_squares(frame, place))).collect()
}

fn jittered(original: &Frame, random: &mut Random) -> Frame {
    let mut frame = original.clone();
    let spreads = spreads(original);
    for (column, how) in frame.columns.iter_mut().zip(original.family.columns) {
        // As many as were timed.
        if how.merge == Merge::Sum && how.name != "calls" {
            for value in column.iter_mut().flatten() {
                *value = random.jitter(*value);
            }
        }
    }
    for (place, spread) in spreads.into_iter().enumerate() {
        let least = least_squares(&frame, place);
        if let Some(square) = frame.columns[EXEC_SQ].as_mut().and_then(|c| c.get_mut(place)) {
            *square = least.saturating_add(random.jitter(spread));
        }
    }
    // Totals of a family without such columns of its own stay as they were.
    for (total, name) in frame.totals.iter_mut().zip(original.family.totals) {
        let stem = name.trim_start_matches("total_");
        let column = original.family.position(stem);
        if let (Some(_), Some(values)) = (&total, column.and_then(|c| frame.columns[c].as_ref())) {
            let sum = values.iter().fold(0_u64, |sum, value| sum.saturating_add(*value));
            *total = i64::try_from(sum).ok();
        }
    }
    frame
}

/// Makes the tables for so many days before a time, so that several sessions can fill them at once.
#[pg_extern(schema = "perfmon")]
fn bench_prepare(before: TimestampWithTimeZone, days: i32) {
    let Some(own) = source::own() else { return };
    let before = unix_us(before);
    for day in (0..=days).rev().step_by(7) {
        for (number, family) in FAMILIES.iter().enumerate() {
            // A family's tables are made with its first row.
            if history::table_oid(&format!("{}_minute_s{own:016x}", family.name)).is_none() {
                continue;
            }
            chore::run_step(Step::Prepare(number), before - i64::from(day) * DAY_US);
        }
    }
}

/// Rows to draw from: each is the sum of `parts` recorded rows chosen at random, as a minute is of
/// shorter intervals.
fn minutes(rows: &[Recorded], parts: i32, random: &mut Random) -> Vec<(Span, Frame)> {
    let Some(first) = rows.first() else { return Vec::new() };
    let one = |random: &mut Random| {
        let row = &rows[(random.next() % rows.len() as u64) as usize];
        (row.span, row.frame.clone())
    };
    let sum = |random: &mut Random| {
        let chosen: Vec<(Span, Frame)> = (0..parts.max(1)).map(|_| one(random)).collect();
        rollup::merge(first.frame.family, &chosen, first.span.until, None)
    };
    (0..POOL).filter_map(|_| sum(random)).collect()
}

/// Repeats what was recorded after `before` for the minutes of one of the `days` days that end there
/// (1 is the first of them), each the sum of `parts` recorded rows; returns the number of statement rows.
#[pg_extern(schema = "perfmon")]
fn bench_fill(before: TimestampWithTimeZone, day: i32, days: i32, parts: i32) -> i32 {
    let Some(own) = source::own() else { return 0 };
    let before = floor(unix_us(before), MINUTE_US);
    let first = before - i64::from(days - day + 1) * DAY_US;
    let seed = 0x9E37_79B9_7F4A_7C15 ^ (day as u64) << 32;
    let mut random = Random(seed);
    let mut written = 0;
    let both = in_both(own, before);
    // The same minutes for what was timed and what was counted: else the one would tell of what the other lacks.
    fill_latency(own, (before, first), parts, &both, &mut Random(seed));
    for family in FAMILIES.into_iter().filter(|family| family.name != LATENCY.name) {
        let is_counted = family.name == STATEMENT.name;
        let mut choice = Random(if is_counted { seed } else { random.next() });
        let mut rows = recorded(family, own, before);
        rows.retain(|row| !is_counted || both.contains(&row.span.until));
        let rows = minutes(&rows, parts, &mut choice);
        for minute in (0..DAY_US / MINUTE_US).filter(|_| !rows.is_empty()) {
            pgrx::check_for_interrupts!();
            let (span, frame) = &rows[(choice.next() % rows.len() as u64) as usize];
            let until = first + (minute + 1) * MINUTE_US;
            let since = until - MINUTE_US;
            let span = Span { since, until, length_us: MINUTE_US, quiet_us: 0, flags: 0, ..*span };
            history::append(Level::Minute, own, &span, &jittered(frame, &mut random));
            written += i32::from(is_counted);
        }
    }
    written
}

/// Ends of the intervals of which both the counted statements and their times were recorded.
fn in_both(own: i64, before: i64) -> HashSet<i64> {
    let mut timed = HashSet::new();
    let segment = (Level::Minute, before, i64::MAX / 2);
    latency::whole(own, segment, &mut |span, _| {
        timed.insert(span.until);
    });
    let counted = recorded(&STATEMENT, own, before).into_iter().map(|row| row.span.until);
    counted.filter(|until| timed.contains(until)).collect()
}

/// The same of execution times: each minute is the sum of recorded rows.
fn fill_latency(
    own: i64,
    (before, first): (i64, i64),
    parts: i32,
    both: &HashSet<i64>,
    choice: &mut Random,
) {
    let mut recorded: Vec<(Span, Row)> = Vec::new();
    let segment = (Level::Minute, before, i64::MAX / 2);
    latency::whole(own, segment, &mut |span, row| {
        recorded.extend(both.contains(&span.until).then_some((span, row)));
    });
    if recorded.is_empty() {
        return;
    }
    let one = |choice: &mut Random| (choice.next() % recorded.len() as u64) as usize;
    let sum = |choice: &mut Random| {
        let chosen: Vec<_> = (0..parts.max(1)).map(|_| recorded[one(choice)].clone()).collect();
        histograms::merge(&chosen, before, None)
    };
    let pool: Vec<(Span, Row)> = (0..POOL).filter_map(|_| sum(choice)).collect();
    for minute in 0..DAY_US / MINUTE_US {
        pgrx::check_for_interrupts!();
        let (span, row) = &pool[(choice.next() % pool.len() as u64) as usize];
        let until = first + (minute + 1) * MINUTE_US;
        let since = until - MINUTE_US;
        let span = Span { since, until, length_us: MINUTE_US, quiet_us: 0, flags: 0, ..*span };
        latency::append(Level::Minute, own, &span, row);
    }
}

/// Does up to `most` steps of the store's own roll-up as if it were `at`; returns how many were done.
#[pg_extern(schema = "perfmon")]
fn bench_roll_up(at: TimestampWithTimeZone, most: i32) -> i32 {
    let at = unix_us(at);
    for done in 0..most {
        pgrx::check_for_interrupts!();
        match chore::maintenance_due(at, MINUTE_US) {
            Some(step @ (Step::Prepare(_) | Step::RollUp(..))) => chore::run_step(step, at),
            _ => return done,
        }
    }
    most
}

/// How long it takes to read the catalog, and what was found.
#[pg_extern(schema = "perfmon")]
fn bench_catalog() -> String {
    let began = clock::steady_us();
    let (tables, indexes, texts) = match probe::catalog::catalog() {
        Ok(found) => {
            let texts = found.indexes.iter().filter(|i| !i.fact.unread).count();
            (found.tables.len(), found.indexes.len(), texts)
        }
        Err(error) => return error.to_string(),
    };
    let catalog = clock::steady_us() - began;
    let sequences = probe::catalog::sequences().map_or(0, |s| s.len());
    let all = clock::steady_us() - began;
    format!(
        "{catalog} us {tables} tables {indexes} indexes {texts} texts; {} us {sequences} sequences",
        all - catalog
    )
}
