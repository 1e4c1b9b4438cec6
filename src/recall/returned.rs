//! How many rows statements returned over their history, in stretches of like length.

use perfmon_core::facts::Returned;
use perfmon_core::family::STATEMENT;
use perfmon_core::tally::Who;
use perfmon_core::window::Level;

use super::plan::Kept;
use super::scope::Scope;
use super::statements::positions;
use crate::store::read;

/// In how many stretches the history is parted.
const STRETCHES: i64 = 4;
/// Rows of the history that make a stretch, or more.
const ROWS: i64 = 8;

/// Of each group of names of one statement; stretches in which it was not run have no executions.
pub(crate) fn stretches(whole: &Scope, groups: &[Vec<Who>]) -> Vec<Vec<Returned>> {
    let length = whole.until.saturating_sub(whole.since);
    if groups.is_empty() || length < STRETCHES {
        return vec![Vec::new(); groups.len()];
    }
    let fine = |level: &Level| level.step_us().saturating_mul(STRETCHES * ROWS) <= length;
    let level = [Level::Day, Level::Hour].into_iter().find(fine).unwrap_or(Level::Minute);
    let segments = Kept::of(&STATEMENT, whole).segments(whole, level);
    let empty: Vec<Returned> = (1..=STRETCHES)
        .map(|nth| Returned {
            until_us: whole.since + length / STRETCHES * nth,
            ..Returned::default()
        })
        .collect();
    let mut found = vec![empty; groups.len()];
    let owners: Vec<usize> =
        groups.iter().enumerate().flat_map(|(i, names)| names.iter().map(move |_| i)).collect();
    let objects: Vec<Who> = groups.iter().flatten().copied().collect();
    let columns = positions(&["calls", "rows"]);
    read::series_of(&objects, &STATEMENT, &segments, &columns, &mut |point| {
        let [Some(calls), Some(rows)] = *point.values else { return };
        let middle = point.head.span.since.midpoint(point.head.span.until);
        let nth = middle.saturating_sub(whole.since) / (length / STRETCHES);
        let nth = usize::try_from(nth.clamp(0, STRETCHES - 1)).unwrap_or(0);
        let owner = owners.get(point.index).and_then(|owner| found.get_mut(*owner));
        if let Some(stretch) = owner.and_then(|stretches| stretches.get_mut(nth)) {
            stretch.calls = stretch.calls.saturating_add(calls);
            stretch.rows = stretch.rows.saturating_add(rows);
        }
    });
    found
}

#[cfg(any(test, feature = "pg_test"))]
#[allow(clippy::unwrap_used, clippy::expect_used)]
#[pgrx::pg_schema]
mod tests {
    use pgrx::prelude::*;

    use perfmon_core::family::STATEMENT;
    use perfmon_core::frame::{Frame, Quality, Span};
    use perfmon_core::window::Level;

    use crate::recall::returned::stretches;
    use crate::recall::scope::Scope;
    use crate::store::{dictionary, history, source};

    /// 2026-11-21 12:00 UTC.
    const NOON: i64 = 1_795_262_400_000_000;
    const MINUTE_US: i64 = 60_000_000;

    /// Eight minutes: the first statement returns ten rows more with each, the second runs in the last only.
    #[pg_test]
    fn rows_of_the_history_in_quarters() {
        let source = source::ensure_own(NOON, "here", 42);
        let names = ["1", "2"].map(|id| ["me", id, "t"].map(str::to_owned));
        let ids = dictionary::resolve(&STATEMENT, source, &names, NOON);
        for minute in 1..=8_u64 {
            let until = NOON + minute as i64 * MINUTE_US;
            let span = Span {
                since: until - MINUTE_US,
                until,
                length_us: MINUTE_US,
                quiet_us: 0,
                quality: Quality::Exact,
                flags: 0,
            };
            let both = minute == 8;
            let column = |name: &str| match name {
                "calls" => Some(if both { vec![2, 1] } else { vec![2] }),
                "rows" => Some(if both { vec![20 * minute, 7] } else { vec![20 * minute] }),
                _ => None,
            };
            let frame = Frame {
                family: &STATEMENT,
                ids: if both { ids.clone() } else { vec![ids[0]] },
                columns: STATEMENT.columns.iter().map(|one| column(one.name)).collect(),
                known: !0,
                totals: vec![None; STATEMENT.totals.len()],
            };
            history::append(Level::Minute, source, &span, &frame);
        }
        let whole = Scope::of(NOON, NOON + 8 * MINUTE_US, None);
        let groups: Vec<_> = ids.iter().map(|id| vec![(source, *id)]).collect();
        let found = stretches(&whole, &groups);
        let shown = |which: usize| -> Vec<(u64, u64)> {
            found[which].iter().map(|one| (one.calls, one.rows)).collect()
        };
        assert_eq!(shown(0), [(4, 60), (4, 140), (4, 220), (4, 300)]);
        assert_eq!(shown(1), [(0, 0), (0, 0), (0, 0), (1, 7)]);
        assert_eq!(found[0][3].until_us, whole.until);
        // Two names of one statement are added up.
        let together = stretches(&whole, &[vec![(source, ids[0]), (source, ids[1])]]);
        assert_eq!((together[0][3].calls, together[0][3].rows), (5, 307));
        assert!(stretches(&whole, &[]).is_empty());
    }
}
