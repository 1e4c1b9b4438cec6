//! How fast error budgets are spent.

use super::availability::Time;
use super::judge::{Over, are_errors_known, are_times_known, failed, is_most, perhaps, total};
use super::least::surest;
use super::{History, Objective, Row, Target, WINDOWS_US};

/// How fast the error budget was spent in each of [`WINDOWS_US`] up to the end, none of them from before `earliest`.
pub(super) fn burns(
    objective: &Objective,
    target: Target,
    history: &History,
    earliest: i64,
    until: i64,
) -> [Option<f64>; 4] {
    WINDOWS_US.map(|window| {
        let since = until.saturating_sub(window).max(earliest);
        burn(objective, target, history, since, until)
    })
}

/// How fast the error budget was spent in a window: 1 is as fast as allowed.
fn burn(
    objective: &Objective,
    target: Target,
    history: &History,
    since: i64,
    until: i64,
) -> Option<f64> {
    let rows = history.within(since, until);
    let (bad, of) = match target {
        Target::Latency { limit_ms, .. } => {
            let all = total(rows)?;
            let untimed = rows.iter().map(Row::untimed).fold(0, u64::saturating_add);
            let of = all.executions().saturating_add(untimed);
            let late = Over::of(&all, limit_ms).guess;
            // That few were seen to be late is little where most were not seen.
            let is_told = late > 0 || is_most(all.executions(), untimed) && are_times_known(rows);
            is_told.then_some((late as f64, of as f64))?
        }
        Target::Errors { ratio } => {
            let known = surest(rows)?;
            let are_known = |seen| are_errors_known(history, rows, seen, ratio).0;
            let is_told = || perhaps(rows).errors == 0 && failed(rows).is_some_and(are_known);
            (known.errors > 0 || is_told()).then_some(())?;
            (known.errors as f64, known.of as f64)
        }
        Target::Availability { .. } => {
            let time = Time::of(objective, history, since, until);
            (time.down_us + time.slow_us > 0 || time.is_most_known()).then_some(())?;
            ((time.down_us + time.slow_us) as f64, time.known_us() as f64)
        }
        Target::Throughput { .. } => return None,
    };
    let allowed = target.allowed().filter(|allowed| *allowed > 0.0)?;
    (of > 0.0).then(|| bad / of / allowed)
}
