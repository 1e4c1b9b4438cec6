//! Tests of sums of squared times, which are stored as what they are over the least, against a real server.

#[cfg(any(test, feature = "pg_test"))]
#[allow(clippy::unwrap_used, clippy::expect_used)]
#[pgrx::pg_schema]
mod tests {
    use pgrx::prelude::*;

    use perfmon_core::family::STATEMENT;
    use perfmon_core::frame::Frame;
    use perfmon_core::squares::{EXEC_SQ, rounded};

    use super::super::made::{DAY, MINUTE_US, count, frame, own, span};
    use crate::store::period::{HOUR_US, Level};
    use crate::store::{chore, history, read, sql};

    /// Statement i was called 3 i times, and took ever longer.
    fn times(n: u32, minute: i64) -> Frame {
        let column = |value: &dyn Fn(u64) -> u64| Some((1..=u64::from(n)).map(value).collect());
        let mut frame = frame(&STATEMENT, n);
        frame.columns[1] = column(&|i| i * 3);
        frame.columns[2] = column(&|i| i * 4_567 + minute as u64);
        frame.columns[EXEC_SQ] = column(&|i| i * 6_950 + i * i * 77 * (minute as u64 % 3));
        frame
    }

    /// What comes back of statement `id`.
    fn expected(minute: i64, id: u32) -> u64 {
        let frame = times(id, minute);
        let [calls, exec, sum] = [1, 2, EXEC_SQ]
            .map(|c| *frame.columns[c].as_ref().and_then(|values| values.last()).unwrap());
        rounded(sum, calls, exec)
    }

    const HOUR: [(Level, i64, i64); 1] = [(Level::Minute, DAY, DAY + HOUR_US)];

    #[pg_test]
    fn squares_come_back_whoever_asks() {
        let source = own();
        let sizes = [5_u32, 300, 5000];
        for (minute, n) in (1..).zip(sizes) {
            let until = DAY + minute * MINUTE_US;
            history::append(Level::Minute, source, &span(until), &times(n, minute));
        }
        // Alone, and among others in any order.
        for columns in [&[EXEC_SQ][..], &[2, EXEC_SQ, 1], &[7, EXEC_SQ], &[1, 2, EXEC_SQ]] {
            let place = columns.iter().position(|c| *c == EXEC_SQ).unwrap();
            let mut minute = 0;
            read::frames(&[source], &STATEMENT, &HOUR, columns, &mut |row| {
                minute += 1;
                let found = row.column(place).unwrap();
                assert_eq!(found.len(), sizes[minute as usize - 1] as usize);
                for id in [1, 2, 5, found.len() as u32] {
                    assert_eq!(found[id as usize - 1], expected(minute, id));
                }
            });
            assert_eq!(minute, 3);
            let ids = [4, 299, 4321];
            let objects = ids.map(|id| (source, id));
            let mut points = 0;
            read::series_of(&objects, &STATEMENT, &HOUR, columns, &mut |point| {
                let minute = (point.head.span.until - DAY) / MINUTE_US;
                let id = ids[point.index];
                let there = id <= sizes[minute as usize - 1];
                let value = if there { expected(minute, id) } else { 0 };
                assert_eq!((point.values.len(), point.values[place]), (columns.len(), Some(value)));
                points += 1;
            });
            assert_eq!(points, 9);
        }
    }

    #[pg_test]
    fn hours_hold_the_sums_of_minutes_to_the_last_digit() {
        let source = own();
        let mut sums = [0; 40];
        for minute in 1..=59 {
            let until = DAY + minute * MINUTE_US;
            history::append(Level::Minute, source, &span(until), &times(40, minute));
            for (id, sum) in (1..).zip(&mut sums) {
                *sum += expected(minute, id);
            }
        }
        let now = DAY + 30 * HOUR_US;
        while let Some(step @ (chore::Step::Prepare(_) | chore::Step::RollUp(..))) =
            chore::maintenance_due(now, MINUTE_US)
        {
            chore::run_step(step, now);
        }
        for level in [Level::Hour, Level::Day] {
            let mut rows = 0;
            let all = [(level, DAY, DAY + 24 * HOUR_US)];
            read::frames(&[source], &STATEMENT, &all, &[EXEC_SQ], &mut |row| {
                let named = row.ids.iter().zip(row.column(0).unwrap()).filter(|(id, _)| **id > 0);
                for (id, sum) in named {
                    assert_eq!(*sum, sums[*id as usize - 1], "{id}");
                }
                rows += 1;
            });
            assert_eq!(rows, 1);
        }
    }

    /// As releases up to 0.5.0 stored them, and as they are stored where nothing tells them by.
    #[pg_test]
    fn plain_squares_are_still_read() {
        let source = own();
        let old =
            r"ids = '\x010000', calls = '\x01020009', exec_us = NULL, exec_sq = '\x0103003a00'";
        history::append(Level::Minute, source, &span(DAY + MINUTE_US), &times(3, 1));
        sql::write(&format!("UPDATE perfmon.statement_minute SET {old}"), &[]);
        let mut seen = Vec::new();
        read::frames(&[source], &STATEMENT, &HOUR, &[EXEC_SQ], &mut |row| {
            seen.push(row.column(0).map(<[u64]>::to_vec));
        });
        assert_eq!(seen, [Some(vec![2, 7, 0])]);
    }

    #[pg_test]
    fn squares_without_what_they_are_told_by_lose_the_row_only() {
        let source = own();
        for minute in 1..=2 {
            let until = DAY + minute * MINUTE_US;
            history::append(Level::Minute, source, &span(until), &times(300, minute));
        }
        sql::write(
            "UPDATE perfmon.statement_minute SET exec_us = NULL WHERE until = $1",
            &[sql::time(DAY + MINUTE_US)],
        );
        let (mut squares, mut calls) = (0, 0);
        read::frames(&[source], &STATEMENT, &HOUR, &[EXEC_SQ], &mut |_| squares += 1);
        read::frames(&[source], &STATEMENT, &HOUR, &[1], &mut |_| calls += 1);
        assert_eq!((squares, calls), (1, 2));
        assert_eq!(count("SELECT count(*) FROM perfmon.statement_minute"), 2);
    }
}
