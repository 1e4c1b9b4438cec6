//! Tests of rows of execution times against a real server, small ones in line and large ones out of line.

#[cfg(any(test, feature = "pg_test"))]
#[allow(clippy::unwrap_used, clippy::expect_used)]
#[pgrx::pg_schema]
mod tests {
    use pgrx::prelude::*;

    use perfmon_core::family::LATENCY;
    use perfmon_core::frame::{Quality, Span};
    use perfmon_core::histogram::{Latency, Sparse};
    use perfmon_core::latency::Row;

    use crate::store::period::{HOUR_US, Level};
    use crate::store::{chore, history, latency, source, sql};

    /// 2026-11-21 00:00 UTC.
    const DAY: i64 = 1_795_219_200_000_000;
    const MINUTE_US: i64 = 60_000_000;

    fn span(until: i64) -> Span {
        Span {
            since: until - MINUTE_US,
            until,
            length_us: MINUTE_US,
            quiet_us: 0,
            quality: Quality::Exact,
            flags: 0,
        }
    }

    /// Statements 1 to `n`, each with its own times.
    fn row(n: u32) -> Row {
        let mut row = Row::default();
        for id in 1..=n {
            let half = |seed: u32| {
                let first = (id * 7 + seed) % 180;
                Sparse::new((0..id % 9).map(|i| ((first + i * 3) as u8, u64::from(id * (i + 1)))))
            };
            let latency = Latency { cached: half(0), read: half(31), peak: Some(id as u8) };
            if !latency.is_empty() {
                row.add(id, id % 5 != 0, &latency);
            }
        }
        row
    }

    const HOUR: [(Level, i64, i64); 1] = [(Level::Minute, DAY, DAY + HOUR_US)];

    #[pg_test]
    fn rows_of_any_size_are_read_in_every_way() {
        let source = source::ensure_own(DAY, "here", 42);
        let rows = [row(0), row(3), row(60), row(3000), row(5000)];
        for (minute, row) in (1..).zip(&rows) {
            latency::append(Level::Minute, source, &span(DAY + minute * MINUTE_US), row);
        }
        let mut seen = Vec::new();
        latency::whole(source, HOUR[0], &mut |_, row| seen.push(row));
        assert_eq!(seen, rows);
        let mut overall = Vec::new();
        latency::overall(&[source], &HOUR, &mut |_, latency| overall.push(latency.clone()));
        assert_eq!(overall, rows.each_ref().map(|row| row.overall.clone()));
        let mut all: Vec<std::collections::BTreeMap<u32, Latency>> = Vec::new();
        latency::all(&[source], &HOUR, &mut |_, ids, latencies| {
            all.push(ids.iter().copied().zip(latencies.iter().cloned()).collect());
        });
        assert_eq!(all, rows.each_ref().map(|row| row.statements.clone()));
        // One, some, many; and such as are not there, or in another source.
        let many: Vec<u32> = (1..=5000).step_by(97).collect();
        for ids in [&[2][..], &[2500], &[1, 2, 4999], &[7, 9999], &many] {
            let mut objects: Vec<(i64, u32)> = ids.iter().map(|id| (source, *id)).collect();
            objects.push((source + 1, 1));
            let mut at = 0;
            latency::of(&objects, &HOUR, &mut |_, points| {
                let found: Vec<(usize, Latency)> = ids
                    .iter()
                    .enumerate()
                    .filter_map(|(i, id)| Some((i, rows[at].statements.get(id)?.clone())))
                    .collect();
                assert_eq!(points, found);
                at += 1;
            });
            assert_eq!(at, rows.len());
        }
        let out_of_line: i64 = sql::first(
            "SELECT count(*) FROM perfmon.latency_minute
             WHERE n > 1000 AND pg_column_size(histograms) > 10000",
            &[],
            |row| row.get(1),
        )
        .unwrap();
        assert_eq!(out_of_line, 2);
    }

    /// As releases up to 0.5.0 stored them, each statement apart, beside rows of now.
    #[pg_test]
    fn rows_of_older_releases_are_still_read() {
        let source = source::ensure_own(DAY, "here", 42);
        for minute in 1..=2 {
            latency::append(Level::Minute, source, &span(DAY + minute * MINUTE_US), &row(3));
        }
        let table = history::source_name(&LATENCY, Level::Minute, source);
        Spi::run(&format!(
            r"UPDATE perfmon.{table} SET lengths = '\x0103008601', overall = '\x014f6de9d00630',
                 histograms = '\x014f6de9d00630910100010700' WHERE until = (SELECT min(until) FROM perfmon.{table})"
        ))
        .unwrap();
        let half = |pairs: &[(u8, u64)]| Sparse::new(pairs.iter().copied());
        let first = Latency {
            cached: half(&[(45, 1), (46, 1), (69, 1)]),
            read: half(&[(0, 1)]),
            peak: Some(169),
        };
        let third = Latency { cached: half(&[(50, 900)]), ..Latency::default() };
        let old = std::collections::BTreeMap::from([
            (1, first.clone()),
            (2, Latency::default()),
            (3, third.clone()),
        ]);
        let mut whole = Vec::new();
        latency::whole(source, HOUR[0], &mut |_, row| whole.push(row.statements));
        assert_eq!(whole, [old, row(3).statements]);
        let mut points = Vec::new();
        let objects = [3, 1].map(|id| (source, id));
        latency::of(&objects, &HOUR, &mut |_, found| points.push(found.to_vec()));
        assert_eq!(points[0], [(1, first.clone()), (0, third)]);
        assert_eq!(points[1].len(), 2);
        let mut overall = Vec::new();
        latency::overall(&[source], &HOUR, &mut |_, latency| overall.push(latency.clone()));
        assert_eq!(overall, [first, row(3).overall]);
    }

    #[pg_test]
    fn hours_and_days_are_the_sums_of_minutes() {
        let source = source::ensure_own(DAY, "here", 42);
        let mut sum = Row::default();
        for minute in [1, 7, 59, 61, 200, 1439] {
            let row = row(10 + minute as u32);
            latency::append(Level::Minute, source, &span(DAY + minute * MINUTE_US), &row);
            sum.join(&row);
        }
        let now = DAY + 30 * HOUR_US;
        for _ in 0..50 {
            match chore::maintenance_due(now, MINUTE_US) {
                Some(step @ (chore::Step::Prepare(_) | chore::Step::RollUp(..))) => {
                    chore::run_step(step, now);
                }
                _ => break,
            }
        }
        for (level, rows) in [(Level::Hour, 4), (Level::Day, 1)] {
            let (mut found, mut n) = (Row::default(), 0);
            latency::whole(source, (level, DAY, DAY + 24 * HOUR_US), &mut |_, row| {
                found.join(&row);
                n += 1;
            });
            assert_eq!((n, &found.overall, found.nested), (rows, &sum.overall, sum.nested));
            let everything = |row: &Row| {
                row.statements.values().fold(Latency::default(), |mut all, one| {
                    all.add(one);
                    all
                })
            };
            assert_eq!(everything(&found), everything(&sum));
        }
    }

    #[pg_test]
    fn a_damaged_row_is_left_out() {
        let source = source::ensure_own(DAY, "here", 42);
        for minute in 1..=3 {
            latency::append(Level::Minute, source, &span(DAY + minute * MINUTE_US), &row(3000));
        }
        let table = history::source_name(&LATENCY, Level::Minute, source);
        for damage in [
            "histograms = substr(histograms, 1, 5000)",
            "histograms = set_byte(histograms, 0, 99), overall = set_byte(overall, 0, 99)",
            "lengths = NULL",
        ] {
            Spi::run(&format!(
                "UPDATE perfmon.{table} SET {damage} WHERE until = (SELECT min(until) FROM perfmon.{table})"
            ))
            .unwrap();
            let (mut whole, mut some, mut all) = (0, 0, 0);
            latency::whole(source, HOUR[0], &mut |_, _| whole += 1);
            latency::of(&[(source, 2999)], &HOUR, &mut |_, _| some += 1);
            latency::all(&[source], &HOUR, &mut |_, _, _| all += 1);
            assert_eq!((whole, some, all), (2, 2, 2), "{damage}");
        }
    }
}
