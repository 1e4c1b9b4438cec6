//! What the store's tests put into it, and how they look at what is there.

use perfmon_core::family::Family;
use perfmon_core::frame::{Frame, Quality, Span};

use crate::store::period::Level;
use crate::store::{dictionary, read, source, sql};

/// 2026-11-21 00:00 UTC.
pub(super) const DAY: i64 = 1_795_219_200_000_000;
pub(super) const MINUTE_US: i64 = 60_000_000;

pub(super) fn span(until: i64) -> Span {
    Span {
        since: until - MINUTE_US,
        until,
        length_us: MINUTE_US,
        quiet_us: 0,
        quality: Quality::Exact,
        flags: 0,
    }
}

/// Objects 1 to `n`; column c of object i is i * (c + 1), but for every third column, which is zero.
pub(super) fn frame(family: &'static Family, n: u32) -> Frame {
    Frame {
        family,
        ids: (1..=n).collect(),
        columns: (0..family.columns.len())
            .map(|c| {
                let value = |i: u32| u64::from(i) * (c as u64 + 1);
                (c % 3 != 0).then(|| (1..=n).map(value).collect())
            })
            .collect(),
        known: (1 << family.columns.len()) - 1,
        totals: (0..family.totals.len()).map(|t| (t != 1).then_some(t as i64)).collect(),
    }
}

pub(super) fn own() -> i64 {
    source::ensure_own(DAY, "here", 42)
}

pub(super) fn count(query: &str) -> i64 {
    sql::first(query, &[], |row| row.get(1)).unwrap()
}

/// Reads back everything of a family as frames.
pub(super) fn stored(family: &'static Family, source: i64, level: Level) -> Vec<(Span, Frame)> {
    let mut all = Vec::new();
    read::whole(source, family, (level, 0, DAY * 2), &mut |span, frame| all.push((span, frame)));
    all
}

pub(super) fn names(list: &[(&str, i64, bool)]) -> Vec<dictionary::Names> {
    let word = |top: bool| String::from(if top { "t" } else { "f" });
    list.iter().map(|(u, q, top)| [(*u).to_owned(), q.to_string(), word(*top)]).collect()
}
