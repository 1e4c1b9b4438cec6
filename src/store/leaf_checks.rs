//! Tests of rows that are read past the planner: what a query would find, and when one is needed.

#[cfg(any(test, feature = "pg_test"))]
#[allow(clippy::unwrap_used, clippy::expect_used)]
#[pgrx::pg_schema]
mod tests {
    use pgrx::prelude::*;

    use perfmon_core::family::STATEMENT;
    use perfmon_core::frame::{Frame, Quality, Span};

    use crate::store::period::{DAY_US, HOUR_US, Level, Period};
    use crate::store::{extent, history, leaf, source, sql};

    /// 2026-11-21 00:00 UTC.
    const DAY: i64 = 1_795_219_200_000_000;

    fn put(source: i64, until: i64) {
        let since = until - HOUR_US;
        let span = Span {
            since,
            until,
            length_us: HOUR_US,
            quiet_us: 0,
            quality: Quality::Exact,
            flags: 0,
        };
        let columns = STATEMENT.columns.iter().map(|_| None).collect();
        let totals = vec![None; STATEMENT.totals.len()];
        let frame = Frame { family: &STATEMENT, ids: vec![], columns, known: 0, totals };
        history::append(Level::Minute, source, &span, &frame);
    }

    /// Ends of the rows of a window; `None` where a query is needed.
    fn found(sources: &[i64], since: i64, until: i64) -> Option<Vec<i64>> {
        let mut found = Vec::new();
        let segment = (Level::Minute, since, until);
        let done = leaf::rows(sources, &STATEMENT, segment, &["until"], &mut |raw| {
            found.extend(raw.time(0));
        });
        assert!(done || found.is_empty());
        done.then_some(found)
    }

    /// The same by a query.
    fn asked(sources: &[i64], since: i64, until: i64) -> Vec<i64> {
        let query = "SELECT until FROM perfmon.statement_minute
                     WHERE source = ANY ($1) AND until > $2 AND until <= $3 ORDER BY until";
        let arguments = [sources.to_vec().into(), sql::time(since), sql::time(until)];
        sql::read(query, &arguments, |row| row.time(1).unwrap())
    }

    #[pg_test]
    fn rows_past_the_planner_are_those_of_a_query() {
        let source = source::ensure_own(DAY, "here", 42);
        let other = source + 1;
        // Rows at the very start of a day, the last of a day, several a day, and a day without any.
        for at in [0, 1, HOUR_US, DAY_US - 1, DAY_US, 3 * DAY_US + 7, 3 * DAY_US + HOUR_US] {
            put(source, DAY + at);
        }
        put(other, DAY - 5);
        let edges =
            [-DAY_US, -5, -1, 0, 1, DAY_US - 1, DAY_US, 2 * DAY_US, 3 * DAY_US + 7, 9 * DAY_US];
        for sources in [&[source][..], &[other, source], &[other], &[source + 2], &[]] {
            for since in edges {
                for until in edges.into_iter().filter(|until| *until > since) {
                    let (since, until) = (DAY + since, DAY + until);
                    assert_eq!(found(sources, since, until), Some(asked(sources, since, until)));
                }
            }
        }
        // Whoever asks for all of time, or for sources that would have to be put in order, is left to SQL.
        assert_eq!(found(&[source], 0, DAY), None);
        put(other, DAY + 2);
        assert_eq!(found(&[source, other], DAY, DAY + DAY_US), None);
        assert_eq!(
            found(&[source, other], DAY + DAY_US, DAY + 4 * DAY_US).map(|f| f.len()),
            Some(2)
        );
    }

    #[pg_test]
    fn a_table_that_is_named_like_ours_hides_none() {
        let source = source::ensure_own(DAY, "here", 42);
        put(source, DAY + HOUR_US);
        let kept = || extent::extents(&STATEMENT, &[source], DAY + 2 * HOUR_US)[0];
        let before = kept();
        assert_eq!(before.newest_until, Some(DAY + HOUR_US));
        for suffix in ["00000001", "2026 or so", "99990101"] {
            let name = history::source_name(&STATEMENT, Level::Minute, source);
            sql::write(&format!("CREATE TABLE perfmon.\"{name}_{suffix}\" (a int)"), &[]);
        }
        assert_eq!(kept(), before);
    }

    #[pg_test]
    fn what_a_query_would_refuse_or_not_see_is_left_to_it() {
        let source = source::ensure_own(DAY, "here", 42);
        put(source, DAY + 1);
        put(source, DAY + DAY_US + 1);
        let all = || found(&[source], DAY, DAY + 2 * DAY_US);
        let newest = || extent::extents(&STATEMENT, &[source], DAY)[0].newest_until;
        let both = Some(vec![DAY + 1, DAY + DAY_US + 1]);
        assert_eq!((all(), newest()), (both.clone(), Some(DAY + DAY_US + 1)));
        Spi::run("CREATE ROLE leaf_stranger; SET LOCAL ROLE leaf_stranger").unwrap();
        assert_eq!(all(), None);
        Spi::run("RESET ROLE; ALTER TABLE perfmon.statement_minute ENABLE ROW LEVEL SECURITY")
            .unwrap();
        assert_eq!(all(), None);
        Spi::run("ALTER TABLE perfmon.statement_minute DISABLE ROW LEVEL SECURITY").unwrap();
        assert_eq!(all(), both);
        let middle = history::source_name(&STATEMENT, Level::Minute, source);
        let alter =
            format!("ALTER TABLE perfmon.statement_minute DETACH PARTITION perfmon.{middle}");
        Spi::run(&alter).unwrap();
        assert_eq!((all(), asked(&[source], DAY, DAY + 2 * DAY_US)), (Some(vec![]), vec![]));
        let attach = alter.replace("DETACH", "ATTACH");
        Spi::run(&format!("{attach} FOR VALUES IN ({source})")).unwrap();
        assert_eq!(all(), both);
        let last = Period::of(Level::Minute, DAY + DAY_US + 1);
        let leaf = history::leaf_name(&STATEMENT, Level::Minute, source, last);
        Spi::run(&format!("ALTER TABLE perfmon.{middle} DETACH PARTITION perfmon.{leaf}")).unwrap();
        assert_eq!((all(), newest()), (None, Some(DAY + 1)));
        assert_eq!(asked(&[source], DAY, DAY + 2 * DAY_US), [DAY + 1]);
    }
}
