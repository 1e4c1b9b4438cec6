//! Shares of time: in which the server was up, and answers came as was promised.

use super::judge::{Over, broken, left};
use super::{History, KNOWN, Objective, Row, Status, Verdict, sum};
use crate::histogram::Sum;

/// How the time of a window was spent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Time {
    /// Up, and answers came in time, or nobody asked.
    good_us: i64,
    /// No server.
    pub(super) down_us: i64,
    /// Answers came late.
    pub(super) slow_us: i64,
    /// All of the window.
    all_us: i64,
    /// Of it, from its first interval to its last.
    recorded_us: i64,
    executions: Option<u64>,
}

impl Time {
    pub(super) fn of(objective: &Objective, history: &History, since: i64, until: i64) -> Self {
        let limits = objective.limits();
        let all_us = until.saturating_sub(since).max(0);
        let down_us = history.down_us(since, until);
        let rows = history.within(since, until);
        let recorded_us = rows
            .first()
            .zip(rows.last())
            .map_or(0, |(first, last)| last.until_us.saturating_sub(first.since_us.max(since)));
        let mut time = Self { all_us, recorded_us, down_us, ..Self::default() };
        for row in rows {
            time.add(row, history, since, &limits);
        }
        time
    }

    pub(super) fn known_us(&self) -> i64 {
        self.good_us + self.down_us + self.slow_us
    }

    /// Whether most of what was recorded tells something.
    pub(super) fn is_most_known(&self) -> bool {
        self.known_us() as f64 >= KNOWN * self.recorded_us as f64
    }

    /// Adds what a row knows of the time from `since` on. Its quiet time came first.
    fn add(&mut self, row: &Row, history: &History, since: i64, limits: &[(f64, f64)]) {
        let length_us = history.up_us(row, row.since_us.max(since));
        let active_us = row.active_us().min(length_us);
        // Quiet is known to be up.
        self.good_us += length_us - active_us;
        match (&row.latency, row.most()) {
            (Some(latency), _) => {
                let Some(kept) = kept(row, &sum(latency), limits) else { return };
                let place = if kept { &mut self.good_us } else { &mut self.slow_us };
                *place += active_us;
                let tried = row.executions().unwrap_or(0).saturating_add(failures(row));
                self.executions = Some(self.executions.unwrap_or(0).saturating_add(tried));
            }
            // Nobody asked, and the server was up.
            (None, Some(0)) if failures(row) == 0 && row.unseen == 0 => self.good_us += active_us,
            // How long the answers took is not known.
            (None, _) => {}
        }
    }
}

/// Statements of an interval that are known to have failed.
fn failures(row: &Row) -> u64 {
    row.errors.unwrap_or(row.heard).errors
}

/// Whether answers came in an interval, and as was promised. Where more failed than was answered, none came: fewer failures are
/// what a promise of errors is about. `None` where those that were not timed, or those that may have failed, could be too many, and
/// where errors are not known: anything may have failed.
fn kept(row: &Row, timed: &Sum, limits: &[(f64, f64)]) -> Option<bool> {
    let is_slow = |untimed: u64| {
        limits.iter().any(|(quantile, limit_ms)| {
            let late = Over::of(timed, *limit_ms).guess.saturating_add(untimed);
            let all = timed.executions().saturating_add(row.untimed());
            broken(late, all, 1.0 - quantile) == Some(true)
        })
    };
    let failed = failures(row);
    let answered = timed.executions().saturating_add(row.uncounted);
    if is_slow(0) || failed > answered.saturating_add(row.perhaps) {
        return Some(false);
    }
    let perhaps = failed.saturating_add(row.failed_perhaps.errors);
    let is_kept = !is_slow(row.untimed()) && perhaps <= answered;
    (row.errors.is_some() && is_kept).then_some(true)
}

pub(super) fn availability(verdict: &mut Verdict, time: &Time, ratio: f64) {
    verdict.known_us = time.known_us();
    verdict.looked_at_us = time.all_us;
    verdict.executions = time.executions;
    let bad_us = time.down_us + time.slow_us;
    if time.known_us() <= 0 {
        return;
    }
    let known = time.known_us() as f64;
    let actual = time.good_us as f64 / known;
    let all = (time.all_us as f64).max(known);
    let unknown = all - known;
    verdict.bad_us = Some(bad_us);
    verdict.actual = Some(actual);
    verdict.low = Some(time.good_us as f64 / all);
    verdict.high = Some((time.good_us as f64 + unknown) / all);
    verdict.budget_left_ratio = left(bad_us as f64, known, 1.0 - ratio);
    // What is bad for certain may be too much already, whatever the rest was.
    let is_missed = verdict.high.is_some_and(|most| most < ratio);
    verdict.status = match known >= KNOWN * all {
        _ if is_missed => Status::Missed,
        false => Status::NoData,
        true if actual >= ratio => Status::Met,
        true => Status::Missed,
    };
    if verdict.status == Status::NoData {
        // What is known of a part is in the bounds.
        (verdict.actual, verdict.budget_left_ratio) = (None, None);
        verdict.bad_us = verdict.bad_us.filter(|bad_us| *bad_us > 0);
    }
    verdict.uncertain = verdict.status == Status::Met && verdict.low.is_some_and(|low| low < ratio)
        || verdict.status == Status::Missed && !is_missed;
}
