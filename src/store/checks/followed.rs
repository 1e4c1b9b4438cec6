//! Tests of reading what single objects did, row by row, against a real server.

#[cfg(any(test, feature = "pg_test"))]
#[allow(clippy::unwrap_used, clippy::expect_used)]
#[pgrx::pg_schema]
mod tests {
    use pgrx::prelude::*;

    use perfmon_core::family::STATEMENT;
    use perfmon_core::squares::{EXEC_SQ, rounded};

    use super::super::made::{DAY, MINUTE_US, frame, own, span};
    use crate::store::period::{HOUR_US, Level};
    use crate::store::{history, read};

    #[pg_test]
    fn one_object_can_be_followed() {
        let source = own();
        for (minute, n) in [(1, 100), (2, 1000)] {
            let until = DAY + minute * MINUTE_US;
            history::append(Level::Minute, source, &span(until), &frame(&STATEMENT, n));
        }
        let mut seen = Vec::new();
        let segment = (Level::Minute, DAY, DAY + HOUR_US);
        let objects = [(source, 700), (source, 7), (source + 1, 7)];
        read::series_of(&objects, &STATEMENT, &[segment], &[1, 3], &mut |point| {
            seen.push((point.index, point.values.to_vec()));
        });
        assert_eq!(
            seen,
            // Row by row, and in each by id.
            [
                (1, vec![Some(14), Some(0)]),
                (0, vec![Some(0), Some(0)]),
                (1, vec![Some(14), Some(0)]),
                (0, vec![Some(1400), Some(0)]),
            ]
        );
    }

    /// Rows of as many objects, but not always the same ones.
    #[pg_test]
    fn objects_are_followed_where_their_neighbours_change() {
        let source = own();
        for n in [200_u32, 4000] {
            let firsts: [u32; 6] = [1, 1, 101, 101, 2, 1];
            let start = DAY + i64::from(n) * MINUTE_US;
            for (row, first) in (1_i64..).zip(firsts) {
                let mut frame = frame(&STATEMENT, n);
                // Gaps, so that many of them take room out of line.
                let id = |i: u32| first + i * 3 + i * i % 3;
                frame.ids = (0..n).map(id).collect();
                frame.columns[1] =
                    Some((0..n).map(|i| u64::from(id(i)) * 10 + row as u64).collect());
                let until = start + row * MINUTE_US;
                history::append(Level::Minute, source, &span(until), &frame);
            }
            let mut seen = Vec::new();
            let segment = (Level::Minute, start, start + HOUR_US);
            let wanted = [(source, 101), (source, 2), (source, 1), (source + 1, 1)];
            read::series_of(&wanted, &STATEMENT, &[segment], &[1], &mut |point| {
                let row = (point.head.span.until - start) / MINUTE_US;
                let first = firsts[row as usize - 1];
                let id = wanted[point.index].1;
                let there = (0..n).any(|i| first + i * 3 + i * i % 3 == id);
                let expected = if there { u64::from(id) * 10 + row as u64 } else { 0 };
                assert_eq!(point.values, [Some(expected)], "row {row}, id {id}");
                seen.push(there);
            });
            assert_eq!(seen.len(), 18);
            assert!(seen.contains(&true) && seen.contains(&false));
        }
    }

    /// Columns of several pieces out of line, of which only beginnings are read.
    #[pg_test]
    fn objects_can_be_followed_through_long_columns() {
        let source = own();
        let wild = |c: usize, row: i64, i: u32| {
            let mixed =
                (u64::from(i) + 7 * c as u64 + row as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
            // Wide at first, then narrow, then wide again.
            mixed >> if (2000..4000).contains(&i) { 60 } else { 24 + c as u32 % 30 }
        };
        let sizes: [u32; 6] = [5000, 5000, 4000, 5000, 130, 5000];
        for (row, n) in (1_i64..).zip(sizes) {
            let mut frame = frame(&STATEMENT, n);
            for c in 1..12 {
                frame.columns[c] = Some((1..=n).map(|i| wild(c, row, i)).collect());
            }
            history::append(Level::Minute, source, &span(DAY + row * MINUTE_US), &frame);
        }
        let columns: Vec<usize> = (1..12).collect();
        let segments = [
            (Level::Minute, DAY, DAY + 3 * MINUTE_US),
            (Level::Minute, DAY + 3 * MINUTE_US, DAY + HOUR_US),
        ];
        for ids in [vec![1], vec![2600], vec![5000], vec![4990, 3, 2600, 129, 128]] {
            let objects: Vec<(i64, u32)> = ids.iter().map(|id| (source, *id)).collect();
            let mut points = 0;
            read::series_of(&objects, &STATEMENT, &segments, &columns, &mut |point| {
                let row = (point.head.span.until - DAY) / MINUTE_US;
                let id = ids[point.index];
                let present = id <= sizes[row as usize - 1];
                for (value, c) in point.values.iter().zip(&columns) {
                    let mut expected = wild(*c, row, id);
                    if *c == EXEC_SQ {
                        expected = rounded(expected, wild(1, row, id), wild(2, row, id));
                    }
                    assert_eq!(*value, Some(if present { expected } else { 0 }));
                }
                points += 1;
            });
            assert_eq!(points, sizes.len() * ids.len());
        }
    }
}
