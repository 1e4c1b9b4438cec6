//! Shares of time: in which the server was up, and answers came as was promised.

use super::judge::{Over, broken, left};
use super::{History, KNOWN, Objective, Row, Status, Verdict, sum};
use crate::histogram::Sum;

/// What clients asked for in an interval of which no execution tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Unanswered {
    /// Connections that were refused, as there were too many.
    pub refused: u64,
    /// The same, theirs or others'.
    pub refused_perhaps: u64,
    /// In most of the time some of their statements were at work.
    pub at_work: bool,
    /// In most of the time some waited for locks.
    pub on_lock: bool,
}

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
    /// Connections that were refused, and those that may be theirs or others'.
    refused: (u64, u64),
    /// Up, and clients waited for locks and got no answer.
    locked_us: i64,
    /// Of the time of which nothing is known, that in which statements were at work and none ended.
    at_work_us: i64,
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
        let Unanswered { refused, refused_perhaps, .. } = row.unanswered;
        self.refused.0 = self.refused.0.saturating_add(refused);
        self.refused.1 = self.refused.1.saturating_add(refused_perhaps);
        let kept = match (&row.latency, row.most()) {
            (Some(latency), _) => kept(row, &sum(latency), limits),
            // Nobody asked, and the server was up.
            (None, Some(0)) => match is_unanswered(row, 0, limits) {
                Some(false) => (row.unseen == 0).then_some(true),
                unanswered => unanswered.map(|unanswered| !unanswered),
            },
            // How long the answers took is not known.
            (None, _) => return,
        };
        let is_at_work = is_at_work(row, row.executions().unwrap_or(0), limits);
        let Some(kept) = kept else {
            self.at_work_us += if is_at_work { active_us } else { 0 };
            return;
        };
        self.locked_us += if is_at_work && !kept { active_us } else { 0 };
        let place = if kept { &mut self.good_us } else { &mut self.slow_us };
        *place += active_us;
        if row.latency.is_some() {
            let tried = row.executions().unwrap_or(0).saturating_add(failures(row));
            self.executions = Some(self.executions.unwrap_or(0).saturating_add(tried));
        }
    }
}

/// Statements of an interval that are known to have failed.
fn failures(row: &Row) -> u64 {
    row.errors.unwrap_or(row.heard).errors
}

/// Whether statements were at work for longer than was promised, and none was executed to its end.
fn is_at_work(row: &Row, answered: u64, limits: &[(f64, f64)]) -> bool {
    let is_long = |limit_ms: f64| row.length_us as f64 > limit_ms * 1000.0;
    let none = answered == 0 && row.perhaps == 0 && failures(row) == 0;
    none && row.unanswered.at_work && limits.iter().all(|(_, limit_ms)| is_long(*limit_ms))
}

/// Whether clients asked in an interval, and hardly any got an answer. Who waits for a lock all the time gets none; what else was
/// at work all the time may be as long as it is to be.
fn is_unanswered(row: &Row, answered: u64, limits: &[(f64, f64)]) -> Option<bool> {
    let failed = failures(row).saturating_add(row.unanswered.refused);
    if failed > answered.saturating_add(row.perhaps) {
        return Some(true);
    }
    let perhaps = failed.saturating_add(row.failed_perhaps.errors);
    if perhaps.saturating_add(row.unanswered.refused_perhaps) > answered {
        return None;
    }
    match is_at_work(row, answered, limits) {
        true => row.unanswered.on_lock.then_some(true),
        false => Some(false),
    }
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
    let answered = timed.executions().saturating_add(row.uncounted);
    let unanswered = is_unanswered(row, answered, limits);
    if is_slow(0) || unanswered == Some(true) {
        return Some(false);
    }
    let is_kept = !is_slow(row.untimed()) && unanswered == Some(false);
    (row.errors.is_some() && is_kept).then_some(true)
}

pub(super) fn availability(verdict: &mut Verdict, time: &Time, ratio: f64) {
    verdict.known_us = time.known_us();
    verdict.looked_at_us = time.all_us;
    verdict.executions = time.executions;
    (verdict.refused, verdict.locked_us) = (time.refused, time.locked_us);
    if time.at_work_us > 0 {
        let why = "statements were at work in some of this time, and none ended then";
        verdict.missing = verdict.missing.take().or_else(|| Some(why.to_owned()));
    }
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
