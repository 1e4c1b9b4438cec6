//! Tests of statements over a window: those of which counters and times do not know the same.

#[cfg(any(test, feature = "pg_test"))]
#[allow(clippy::unwrap_used, clippy::expect_used)]
#[pgrx::pg_schema]
mod tests {
    use std::collections::BTreeMap;

    use pgrx::prelude::*;

    use perfmon_core::family::STATEMENT;
    use perfmon_core::frame::{Frame, Quality, Span};
    use perfmon_core::histogram::{Latency, Sparse};
    use perfmon_core::latency::Row;
    use perfmon_core::window::Level;

    use crate::recall::scope::Scope;
    use crate::recall::statements::{Line, ORDERS, top};
    use crate::store::{dictionary, history, latency, source};

    /// 2026-11-21 12:00 UTC.
    const NOON: i64 = 1_795_262_400_000_000;
    const HOUR_US: i64 = 3_600_000_000;

    /// An hour in which the counters know two statements and the rest, and the times two and the rest, one of them the
    /// same.
    fn made() -> (Scope, [u32; 3]) {
        let source = source::ensure_own(NOON, "here", 42);
        let name = |id: &str| ["alice", id, "t"].map(str::to_owned);
        let names = [name("7"), name("8"), name("9")];
        let ids = dictionary::resolve(&STATEMENT, source, &names, NOON);
        let ids: [u32; 3] = ids.try_into().unwrap();
        let until = NOON + HOUR_US;
        let (length_us, quality) = (HOUR_US, Quality::Exact);
        let span = Span { since: NOON, until, length_us, quiet_us: 0, quality, flags: 0 };
        let mut columns = vec![None; STATEMENT.columns.len()];
        let mut put = |name: &str, values: [u64; 3]| {
            columns[STATEMENT.position(name).unwrap()] = Some(values.to_vec());
        };
        put("calls", [5, 10, 20]);
        put("exec_us", [50, 1000, 3000]);
        let counters = Frame {
            family: &STATEMENT,
            ids: vec![0, ids[0], ids[1]],
            columns,
            known: (1 << STATEMENT.columns.len()) - 1,
            totals: vec![Some(4050); STATEMENT.totals.len()],
        };
        history::append(Level::Hour, source, &span, &counters);
        let mut row = Row::default();
        let times = |count| Latency { cached: Sparse::new([(40, count)]), ..Latency::default() };
        for (id, count) in [(0, 23), (ids[0], 10), (ids[2], 2)] {
            row.add(id, true, &times(count));
        }
        latency::append(Level::Hour, source, &span, &row);
        (Scope::of(NOON, until, None), ids)
    }

    #[pg_test]
    fn what_may_be_among_the_small_ones_is_a_lower_bound() {
        let (scope, ids) = made();
        let until = scope.until + HOUR_US;
        let mut columns = vec![None; STATEMENT.columns.len()];
        columns[STATEMENT.position("calls").unwrap()] = Some(vec![4, 7]);
        let counters = Frame {
            family: &STATEMENT,
            ids: vec![ids[1], ids[2]],
            columns,
            known: (1 << STATEMENT.columns.len()) - 1,
            totals: vec![Some(11); STATEMENT.totals.len()],
        };
        let (since, length_us, quality) = (scope.until, HOUR_US, Quality::Exact);
        let span = Span { since, until, length_us, quiet_us: 0, quality, flags: 0 };
        history::append(Level::Hour, scope.sources[0], &span, &counters);
        let lines = top(&Scope::of(NOON, until, None), 0, None).unwrap();
        let found = ids.map(|id| {
            let line = lines.iter().find(|line| line.who.1 == id).unwrap();
            (line.value("calls"), line.value("quality"))
        });
        // The first hour has small ones, the second has none.
        let (exact, least) = (Some(0), Some(1));
        assert_eq!(found, [(Some(10), exact), (Some(24), exact), (Some(7), least)]);
    }

    fn timed(line: &Line) -> u64 {
        line.times.as_ref().map_or(0, |times| times.all().executions())
    }

    #[pg_test]
    fn every_order_lists_the_same_statements_and_all_executions() {
        let (scope, ids) = made();
        let known =
            [(0, Some(5), 23), (ids[0], Some(10), 10), (ids[1], Some(20), 0), (ids[2], None, 2)];
        for (order, (word, _)) in ORDERS.iter().enumerate() {
            let lines = top(&scope, order, None).unwrap();
            let found: BTreeMap<u32, _> =
                lines.iter().map(|l| (l.who.1, (l.value("calls"), timed(l)))).collect();
            let known = known.map(|(id, calls, times)| (id, (calls, times)));
            assert_eq!(found, BTreeMap::from(known), "{word}");
            let unknown = lines.iter().find(|line| line.who.1 == ids[2]).unwrap();
            assert_eq!((unknown.value("quality"), unknown.share_ratio), (None, None), "{word}");
            if ["total_time", "calls", "rows", "mean_time"].contains(word) {
                assert_eq!(lines.last().unwrap().who.1, ids[2], "{word}");
            }
        }
        // Where there is no room for all, what is unknown is left out first.
        let few = top(&scope, 0, Some(2)).unwrap();
        let few: Vec<u32> = few.iter().map(|line| line.who.1).collect();
        assert!(few.len() == 2 && few[0] == ids[1] && few[1] != ids[2], "{few:?}");
    }
}
