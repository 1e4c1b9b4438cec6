//! For how long on end a promise was broken: a problem that lasts is told from a moment's.

use super::judge::is_bad;
use super::{History, KNOWN, Row, Target};

/// A stretch of time in which a promise was broken in every interval that says anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stretch {
    /// Start.
    pub since_us: i64,
    /// End.
    pub until_us: i64,
    /// Time of its intervals.
    pub bad_us: i64,
    /// Executions in these.
    pub executions: u64,
}

impl Stretch {
    fn begun(row: &Row) -> Self {
        Self {
            since_us: row.until_us.saturating_sub(row.active_us()),
            until_us: row.until_us,
            bad_us: 0,
            executions: 0,
        }
    }

    fn add(&mut self, row: &Row) {
        self.until_us = row.until_us;
        self.bad_us = self.bad_us.saturating_add(row.active_us());
        self.executions = self.executions.saturating_add(row.executions().unwrap_or(0));
    }

    /// From its start to its end.
    pub fn length_us(&self) -> i64 {
        self.until_us.saturating_sub(self.since_us)
    }

    /// Whether it says that something stood for so long: snapshots are not taken to the microsecond, and most of
    /// the time must be known.
    pub fn lasts(&self, us: i64) -> bool {
        let (length, us) = (self.length_us() as f64, us as f64);
        length >= 0.95 * us && self.bad_us as f64 >= KNOWN * length.max(us)
    }
}

/// The longest stretch of the window in which a promise was broken, its limit taken so many times. Intervals in
/// which nothing was executed neither end nor lengthen it, unless they outweigh the rest.
pub fn longest(
    target: Target,
    factor: f64,
    history: &History,
    since: i64,
    until: i64,
) -> Option<Stretch> {
    let judged = history.within(since, until).iter().map(|row| (row, is_bad(row, target, factor)));
    let told: Vec<(&Row, bool)> = judged.filter_map(|(row, is_bad)| Some((row, is_bad?))).collect();
    told.split(|(_, is_bad)| !is_bad)
        .filter_map(densest)
        .reduce(|a, b| if b.bad_us > a.bad_us { b } else { a })
}

/// The longest stretch of bad rows of which most of the time is known.
fn densest(rows: &[(&Row, bool)]) -> Option<Stretch> {
    let mut best: Option<Stretch> = None;
    for (at, (first, _)) in rows.iter().enumerate() {
        let mut stretch = Stretch::begun(first);
        for (row, _) in &rows[at..] {
            stretch.add(row);
            let is_dense = stretch.bad_us as f64 >= KNOWN * stretch.length_us() as f64;
            if is_dense && best.is_none_or(|best| stretch.bad_us > best.bad_us) {
                best = Some(stretch);
            }
        }
        // None that begins later can be longer than what is left.
        if best.is_some_and(|best| best.until_us == rows[rows.len() - 1].0.until_us) {
            break;
        }
    }
    best
}
