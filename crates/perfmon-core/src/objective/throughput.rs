//! Whether enough was executed: by all of a window's time, of which a part may be unknown.

use super::{History, KNOWN, Row, Status, Verdict};

/// What was executed in a window, and how much of its time tells so.
pub(super) struct Spent {
    executions: u64,
    /// Time of intervals of which it is known how much was executed.
    counted_us: i64,
    /// Executed besides, at most, and the time of intervals of which no more is known.
    at_most: u64,
    bounded_us: i64,
    /// No server, which executed nothing.
    down_us: i64,
    /// All of the window, from the start of the work in its first interval if that is earlier.
    all_us: i64,
}

impl Spent {
    pub(super) fn of(history: &History, rows: &[Row], since: i64, until: i64) -> Self {
        let begin = rows.first().map_or(since, |row| begun_by(row, since).min(since));
        let down_us = history.down_us(begin, until);
        let mut spent =
            Self { executions: 0, counted_us: 0, at_most: 0, bounded_us: 0, down_us, all_us: 0 };
        for row in rows {
            let us = history.up_us(row, begun_by(row, since));
            match (row.executions(), row.bound()) {
                (Some(executions), _) => {
                    spent.executions = spent.executions.saturating_add(executions);
                    spent.at_most = spent.at_most.saturating_add(row.perhaps);
                    spent.counted_us = spent.counted_us.saturating_add(us);
                }
                (None, Some(most)) => {
                    spent.at_most = spent.at_most.saturating_add(most);
                    spent.bounded_us = spent.bounded_us.saturating_add(us);
                }
                (None, None) => {}
            }
        }
        spent.all_us = until.saturating_sub(begin).max(spent.known_us());
        spent
    }

    /// Whether fewer were executed in most of the time, whatever is not known.
    fn is_less(&self, per_second: f64) -> bool {
        let us = self.told_us() as f64;
        us >= KNOWN * self.all_us as f64 && self.most() < per_second
    }

    /// No more than so many a second, in the time of which that is known.
    fn most(&self) -> f64 {
        self.executions.saturating_add(self.at_most) as f64 / (self.told_us() as f64 / 1e6)
    }

    fn told_us(&self) -> i64 {
        self.known_us().saturating_add(self.bounded_us)
    }

    fn known_us(&self) -> i64 {
        self.counted_us.saturating_add(self.down_us)
    }
}

/// From when on all of an interval's work is in a window that begins at `since`: its quiet time came first, and is
/// left out as far as it was before.
fn begun_by(row: &Row, since: i64) -> i64 {
    let is_idle = row.most() == Some(0);
    let work = if is_idle { row.until_us } else { row.until_us.saturating_sub(row.active_us()) };
    row.since_us.max(since.min(work))
}

/// Judges it.
pub(super) fn throughput(verdict: &mut Verdict, spent: &Spent, per_second: f64) {
    let known_us = spent.known_us();
    if known_us <= 0 {
        return;
    }
    if per_second > 0.0 && spent.down_us > 0 {
        verdict.bad_us = Some(verdict.bad_us.unwrap_or(0).saturating_add(spent.down_us));
    }
    verdict.known_us = known_us;
    let rate = |us: i64| spent.executions as f64 / (us as f64 / 1e6);
    // Time of which it is not known whether anything was executed is not like the rest: that may be known only because
    // something was. This holds for the time before the history, too.
    let (actual, least) = (rate(known_us), rate(spent.all_us));
    let is_known = known_us as f64 >= KNOWN * spent.all_us as f64;
    verdict.status = match actual >= per_second {
        _ if least >= per_second => Status::Met,
        _ if spent.is_less(per_second) => Status::Missed,
        true if is_known => Status::Met,
        _ => Status::NoData,
    };
    verdict.uncertain = verdict.status == Status::Met && least < per_second;
    // What nobody saw may have been executed: a number of some of it is that of all only as far as it decides.
    let seen = spent.executions as f64;
    let is_told = match verdict.status {
        Status::Met => true,
        Status::Missed => seen >= KNOWN * spent.executions.saturating_add(spent.at_most) as f64,
        _ => spent.executions > 0 && spent.at_most == 0,
    };
    verdict.executions = Some(spent.executions).filter(|seen| is_told || *seen > 0);
    verdict.actual = is_told.then_some(actual);
    let is_between = spent.all_us > known_us || spent.at_most > 0;
    verdict.low = is_between.then_some(least).filter(|least| is_told || *least > 0.0);
    verdict.high = (spent.at_most > 0 && spent.told_us() >= spent.all_us).then(|| spent.most());
}
