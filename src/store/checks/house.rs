//! Tests of roll-up, retention and what else keeps the history in order, against a real server.

#[cfg(any(test, feature = "pg_test"))]
#[allow(clippy::unwrap_used, clippy::expect_used)]
#[pgrx::pg_schema]
mod tests {
    use pgrx::prelude::*;

    use perfmon_core::family::{FAMILIES, Family, RELATION, SERVER, STATEMENT};
    use perfmon_core::frame::{Frame, Span};

    use super::super::made::{DAY, MINUTE_US, count, frame, names, own, span, stored};
    use crate::store::period::{DAY_US, HOUR_US, Level};
    use crate::store::{chore, dictionary, history, read, sql};

    /// Minutes of two hours and a bit, with gauges and counters that differ from minute to minute.
    fn two_hours(source: i64, from: i64) -> Vec<(Span, Frame)> {
        let mut all = Vec::new();
        for minute in 1..=125 {
            for family in [&STATEMENT, &RELATION, &SERVER] {
                let mut frame = frame(family, 20 + minute as u32 % 7);
                for values in frame.columns.iter_mut().flatten() {
                    values.iter_mut().for_each(|v| *v += minute as u64);
                }
                frame.totals.iter_mut().for_each(|t| *t = Some(minute));
                let span = span(from + minute * MINUTE_US);
                history::append(Level::Minute, source, &span, &frame);
                all.push((span, frame));
            }
        }
        all
    }

    fn of(family: &Family, from: i64, until: i64, all: &[(Span, Frame)]) -> Vec<(Span, Frame)> {
        let inside =
            |p: &&(Span, Frame)| p.1.family == family && p.0.until > from && p.0.until <= until;
        all.iter().filter(inside).cloned().collect()
    }

    /// Does every step that is due, as a collector does over time.
    fn keep_house(now: i64) -> Vec<chore::Step> {
        let mut steps = Vec::new();
        while let Some(step) = chore::maintenance_due(now, MINUTE_US) {
            chore::run_step(step, now);
            steps.push(step);
            assert!(steps.len() < 200, "{steps:?}");
        }
        steps
    }

    #[pg_test]
    fn hours_and_days_are_sums_of_what_is_finer() {
        let source = own();
        let from = DAY - 2 * HOUR_US;
        let all = two_hours(source, from);
        keep_house(DAY + 10 * MINUTE_US);
        for family in [&STATEMENT, &RELATION, &SERVER] {
            let hours: Vec<(Span, Frame)> = [from + HOUR_US, DAY]
                .iter()
                .map(|end| {
                    let parts = of(family, end - HOUR_US, *end, &all);
                    assert_eq!(parts.len(), 60);
                    perfmon_core::rollup::merge(family, &parts, *end, None).unwrap()
                })
                .collect();
            assert_eq!(stored(family, source, Level::Hour), hours, "{}", family.name);
            let day = perfmon_core::rollup::merge(family, &hours, DAY, None).unwrap();
            assert_eq!(stored(family, source, Level::Day), [day], "{}", family.name);
        }
        // Nothing is left to do until the next hour is over.
        assert_eq!(chore::maintenance_due(DAY + 30 * MINUTE_US, MINUTE_US), None);
    }

    #[pg_test]
    fn what_lost_its_name_in_a_large_hour_is_unknown_and_not_zero() {
        let (source, from) = (own(), DAY - 2 * HOUR_US);
        for (hour, n) in [(0, 10_000), (1, 10_001)] {
            let span = span(from + hour * HOUR_US + MINUTE_US);
            history::append(Level::Minute, source, &span, &frame(&STATEMENT, n));
        }
        keep_house(DAY + 10 * MINUTE_US);
        let mut seen = Vec::new();
        let asked = [(source, 1), (source, 10_000), (source, 20_000)];
        let hours = (Level::Hour, from, DAY);
        read::series_of(&asked, &STATEMENT, &[hours], &[1], &mut |point| {
            seen.push((point.index, point.values[0]));
        });
        let room = [(0, Some(2)), (1, Some(20_000)), (2, Some(0))];
        assert_eq!(seen, [room, [(0, None), room[1], (2, None)]].concat());
    }

    #[pg_test]
    fn an_hour_is_added_up_when_it_is_over_and_not_before() {
        let source = own();
        two_hours(source, DAY);
        let steps = keep_house(DAY + HOUR_US + 30 * MINUTE_US);
        assert!(steps.contains(&chore::Step::RollUp(Level::Hour, source, DAY + HOUR_US)));
        assert_eq!(stored(&SERVER, source, Level::Hour).len(), 1);
        // A minute row beyond the end closes the hour at once; else two intervals have to pass.
        let end = DAY + 2 * HOUR_US;
        assert_eq!(
            chore::maintenance_due(end + 1, MINUTE_US),
            Some(chore::Step::RollUp(Level::Hour, source, end))
        );
        let end = DAY + 3 * HOUR_US;
        keep_house(end - 1);
        assert_eq!(chore::maintenance_due(end + MINUTE_US, MINUTE_US), None);
        keep_house(end + 2 * MINUTE_US);
        assert_eq!(stored(&SERVER, source, Level::Hour).len(), 3);
    }

    #[pg_test]
    fn downtime_is_caught_up_and_a_copy_finishes_the_rest() {
        let first = own();
        two_hours(first, DAY);
        two_hours(first, DAY + 30 * HOUR_US);
        sql::write("UPDATE perfmon.own_source SET database_oid = 1", &[]);
        let second = own();
        keep_house(DAY + 50 * HOUR_US);
        assert_ne!(first, second);
        let ends = |level| {
            let mut ends = Vec::new();
            let all = (level, 0, DAY * 2);
            read::frames(&[first], &SERVER, &[all], &[], &mut |row| {
                ends.push((row.head.span.until - DAY) / HOUR_US);
            });
            ends
        };
        assert_eq!(ends(Level::Hour), [1, 2, 3, 31, 32, 33]);
        assert_eq!(ends(Level::Day), [24, 48]);
    }

    #[pg_test]
    fn tables_are_made_ahead() {
        let source = own();
        history::append(Level::Minute, source, &span(DAY + 1), &frame(&SERVER, 1));
        let step = chore::Step::Prepare(FAMILIES.len() - 1);
        assert_eq!(chore::maintenance_due(DAY + 2, MINUTE_US), Some(step));
        chore::run_step(step, DAY + 2);
        let leaves = "SELECT count(*) FROM pg_class WHERE relname ~ '^server_.*_[0-9]{8}$'
                      AND relkind = 'r'";
        assert_eq!(count(leaves), 8 + 3 + 2);
        assert_ne!(chore::maintenance_due(DAY + 2, MINUTE_US), Some(step));
        assert_eq!(chore::maintenance_due(DAY + DAY_US, MINUTE_US), Some(step));
    }

    /// Days whose minute rows are kept, counted from `DAY`.
    fn days_kept(source: i64) -> Vec<i64> {
        let mut days = Vec::new();
        let all = (Level::Minute, 0, DAY * 2);
        read::frames(&[source], &SERVER, &[all], &[], &mut |row| {
            days.push((row.head.span.until - DAY).div_euclid(DAY_US));
        });
        days
    }

    #[pg_test]
    fn old_minutes_go_and_a_jumping_clock_takes_one_day_at_most() {
        let source = own();
        for day in 0..35 {
            let noon = DAY + day * DAY_US + 12 * HOUR_US;
            history::append(Level::Minute, source, &span(noon), &frame(&SERVER, 1));
        }
        // Thirty newer days are kept, so all that are older may go at once.
        keep_house(DAY + 34 * DAY_US + 13 * HOUR_US);
        assert_eq!(days_kept(source), (4..35).collect::<Vec<_>>());
        assert_eq!(stored(&SERVER, source, Level::Hour).len(), 35);
        // Months later by a wrong clock, all are old, but one a day goes.
        let jumped = DAY + 300 * DAY_US;
        keep_house(jumped);
        assert_eq!(days_kept(source), (5..35).collect::<Vec<_>>());
        keep_house(jumped + 2 * HOUR_US);
        assert_eq!(days_kept(source), (5..35).collect::<Vec<_>>());
        keep_house(jumped + 26 * HOUR_US);
        assert_eq!(days_kept(source), (6..35).collect::<Vec<_>>());
        // Their hours were added up before and stay.
        assert_eq!(stored(&SERVER, source, Level::Hour).len(), 35);
    }

    #[pg_test]
    fn names_that_no_row_uses_are_removed() {
        let source = own();
        let many: Vec<dictionary::Names> =
            (1..=12_000).map(|q: i64| ["ann".into(), q.to_string(), "t".into()]).collect();
        let ids = dictionary::resolve(&STATEMENT, source, &many, DAY);
        assert_eq!(ids.last(), Some(&12_000));
        let texts: Vec<dictionary::Text> = (1..=12_000)
            .map(|queryid| dictionary::Text {
                queryid,
                command: None,
                query: Some("x".into()),
                note: None,
            })
            .collect();
        dictionary::enter_texts(source, &texts, DAY);
        let mut used = frame(&STATEMENT, 1000);
        used.ids = (1..=1000).map(|i| i * 5).collect();
        history::append(Level::Minute, source, &span(DAY), &used);
        chore::run_step(chore::Step::Clean, DAY);
        assert_eq!(count("SELECT count(*) FROM perfmon.statement_entry"), 11_000);
        assert_eq!(count("SELECT count(*) FROM perfmon.statement_text"), 11_000);
        chore::run_step(chore::Step::Clean, DAY);
        chore::run_step(chore::Step::Clean, DAY);
        // Few names are not worth the look.
        assert_eq!(count("SELECT count(*) FROM perfmon.statement_entry"), 10_000);
        let kept = "SELECT count(*) FROM perfmon.statement_entry
                    WHERE statement_id % 5 = 0 AND statement_id <= 5000";
        assert_eq!(count(kept), 1000);
        // The highest id is never given away again.
        let new = dictionary::resolve(&STATEMENT, source, &names(&[("bob", 1, true)]), DAY);
        assert_eq!(new, [12_001]);
    }

    #[pg_test]
    fn reading_a_month_does_not_pile_up_memory() {
        let source = own();
        let wide = frame(&STATEMENT, 5_000);
        for minute in 1..=100 {
            history::append(Level::Minute, source, &span(DAY + minute * MINUTE_US), &wide);
        }
        let columns: Vec<usize> = (0..STATEMENT.columns.len()).collect();
        let used = "SELECT sum(total_bytes)::bigint FROM pg_backend_memory_contexts";
        let (mut rows, mut sizes) = (0, Vec::new());
        let segment = (Level::Minute, 0, DAY * 2);
        read::frames(&[source], &STATEMENT, &[segment], &columns, &mut |_| {
            rows += 1;
            if [2, 100].contains(&rows) {
                sizes.push(count(used));
            }
        });
        assert_eq!(sizes.len(), 2);
        assert!(sizes[1] < sizes[0] + (1 << 20), "{sizes:?}");
    }

    #[pg_test]
    fn names_of_any_encoding_are_kept() {
        let source = own();
        // A script that LATIN1 has not; a nul, which no text has.
        let odd = [["\u{4e2d}\u{6587} \u{e9}".into(), "a\0b".into(), String::new()]];
        for _ in 0..2 {
            assert_eq!(dictionary::resolve(&RELATION, source, &odd, DAY), [1]);
        }
        assert_eq!(count("SELECT count(*) FROM perfmon.object WHERE name2 = 'ab'"), 1);
    }
}
