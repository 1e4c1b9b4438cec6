//! Tests of execution times over a window: whose they are, and what is not known.

#[cfg(any(test, feature = "pg_test"))]
#[allow(clippy::unwrap_used, clippy::expect_used)]
#[pgrx::pg_schema]
mod tests {
    use pgrx::prelude::*;

    use perfmon_core::family::{LATENCY, SERVER, STATEMENT};
    use perfmon_core::frame::{Frame, Quality, Span};
    use perfmon_core::histogram::{Latency, Sparse};
    use perfmon_core::latency::Row;
    use perfmon_core::tally::Who;
    use perfmon_core::window::Level;

    use crate::recall::latency::{Interval, Whose, all_sums, intervals, overall, rows, sums};
    use crate::recall::plan::Kept;
    use crate::recall::scope::Scope;
    use crate::store::{dictionary, history, latency, source};

    /// 2026-11-21 12:00 UTC.
    const NOON: i64 = 1_795_262_400_000_000;
    const MINUTE_US: i64 = 60_000_000;

    fn span(minute: i64) -> Span {
        let until = NOON + minute * MINUTE_US;
        Span {
            since: until - MINUTE_US,
            until,
            length_us: MINUTE_US,
            quiet_us: 0,
            quality: Quality::Exact,
            flags: 0,
        }
    }

    fn times(bucket: u8, count: u64) -> Latency {
        Latency { cached: Sparse::new([(bucket, count)]), ..Latency::default() }
    }

    fn executions(interval: &Interval) -> Option<u64> {
        interval.latency.as_ref().map(|latency| latency.cached.executions())
    }

    /// Two users in minutes 1 and 2; minute 3 without anything, minute 4 without counting.
    fn made() -> (Scope, [u32; 3]) {
        let source = source::ensure_own(NOON, "here", 42);
        let name = |user: &str, id: &str, top: &str| [user, id, top].map(str::to_owned);
        let names = [name("alice", "7", "t"), name("bob", "7", "t"), name("alice", "8", "f")];
        let ids = dictionary::resolve(&STATEMENT, source, &names, NOON);
        for minute in 1..=4 {
            let server = Frame {
                family: &SERVER,
                ids: vec![0],
                columns: vec![None; SERVER.columns.len()],
                known: 1,
                totals: vec![None; SERVER.totals.len()],
            };
            history::append(Level::Minute, source, &span(minute), &server);
            let mut row = Row::default();
            if minute < 3 {
                row.add(ids[0], true, &times(40, 10));
                row.add(ids[1], true, &times(50, 3));
                row.add(ids[2], false, &times(30, 100));
                row.add(0, true, &times(20, 1));
            }
            if minute < 4 {
                latency::append(Level::Minute, source, &span(minute), &row);
            }
        }
        (Scope::of(NOON, NOON + 10 * MINUTE_US, None), ids.try_into().unwrap())
    }

    #[pg_test]
    fn intervals_are_somebodys_or_unknown() {
        let (scope, ids) = made();
        let source = scope.sources[0];
        let of = |whose: Whose<'_>| -> Vec<Option<u64>> {
            intervals(whose, &scope, Level::Minute).unwrap().iter().map(executions).collect()
        };
        assert_eq!(of(Whose::Database), [Some(14), Some(14), Some(0), None]);
        assert_eq!(of(Whose::User("alice")), [Some(10), Some(10), Some(0), None]);
        assert_eq!(of(Whose::User("nobody")), [Some(0), Some(0), Some(0), None]);
        let two = [(source, ids[1]), (source, ids[2])];
        assert_eq!(of(Whose::Statements(&two)), [Some(103), Some(103), Some(0), None]);
        let all = intervals(Whose::Database, &scope, Level::Day).unwrap();
        assert_eq!(all[3].since, NOON + 3 * MINUTE_US);
        assert_eq!(all[3].length_us, MINUTE_US);
    }

    /// Where others were counted without their names, one that has none may be among them.
    #[pg_test]
    fn who_has_no_name_may_be_in_the_rest() {
        let (scope, ids) = made();
        let source = scope.sources[0];
        let of = |objects: &[Who]| {
            let mut seen = Vec::new();
            let segments = Kept::of(&LATENCY, &scope).segments(&scope, Level::Minute);
            let whose = Whose::Statements(objects);
            rows(whose, &scope, &segments, &mut |_, latency, in_rest| {
                seen.push((latency.cached.executions(), in_rest));
            })
            .unwrap();
            seen
        };
        assert_eq!(of(&[(source, ids[1])]), [(3, false), (3, false), (0, false)]);
        assert_eq!(of(&[(source, 99)]), [(0, true), (0, true), (0, false)]);
        assert_eq!(of(&[(source, 0)]), [(1, false), (1, false), (0, false)]);
    }

    #[pg_test]
    fn sums_are_over_the_window() {
        let (scope, ids) = made();
        let source = scope.sources[0];
        let asked =
            [vec![(source, ids[0])], vec![(source, 99)], vec![(source, ids[1]), (source, 0)]];
        let found = sums(&scope, &asked);
        let counts: Vec<_> =
            found.iter().map(|t| t.as_ref().map(|t| t.all().executions())).collect();
        assert_eq!(counts, [Some(20), None, Some(8)]);
        assert_eq!(overall(&scope).unwrap().all().executions(), 28);
        assert_eq!(all_sums(&scope)[&(source, ids[2])].cached().executions(), 200);
        let before = scope.quietly(NOON - MINUTE_US, NOON);
        assert!(overall(&before).is_none());
        // Where counting covered a time in which nothing ran, that is known.
        let silent = scope.quietly(NOON + 2 * MINUTE_US, NOON + 3 * MINUTE_US);
        assert_eq!(overall(&silent).unwrap().all().executions(), 0);
    }
}
