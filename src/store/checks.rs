//! Tests of the store against a real server, with real tables and partitions.

#[cfg(any(test, feature = "pg_test"))]
#[allow(clippy::unwrap_used, clippy::expect_used)]
#[pgrx::pg_schema]
mod tests {
    use pgrx::prelude::*;

    use perfmon_core::family::{FAMILIES, Family, RELATION, SERVER, STATEMENT};
    use perfmon_core::frame::{Frame, Quality, Span};

    use crate::store::period::{DAY_US, HOUR_US, Level};
    use crate::store::{change, chore, dictionary, gap, history, prior, read, size, source, sql};

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

    /// Objects 1 to `n`; column c of object i is i * (c + 1), but for every third column, which is zero.
    fn frame(family: &'static Family, n: u32) -> Frame {
        Frame {
            family,
            ids: (1..=n).collect(),
            columns: (0..family.columns.len())
                .map(|c| {
                    let value = |i: u32| u64::from(i) * (c as u64 + 1);
                    (c % 3 != 0).then(|| (1..=n).map(value).collect())
                })
                .collect(),
            known: (1 << family.columns.len()) - 1,
            totals: (0..family.totals.len()).map(|t| (t != 1).then_some(t as i64)).collect(),
        }
    }

    fn own() -> i64 {
        source::ensure_own(DAY, "here", 42)
    }

    fn count(query: &str) -> i64 {
        sql::first(query, &[], |row| row.get(1)).unwrap()
    }

    /// Reads back everything of a family as frames.
    fn stored(family: &'static Family, source: i64, level: Level) -> Vec<(Span, Frame)> {
        let mut all = Vec::new();
        read::whole(source, family, (level, 0, DAY * 2), &mut |span, frame| {
            all.push((span, frame))
        });
        all
    }

    #[pg_test]
    fn tables_have_the_columns_of_the_families() {
        for family in FAMILIES {
            for level in ["minute", "hour", "day"] {
                let found: Vec<(String, i8)> = sql::read(
                    &format!(
                        "SELECT attname::text, attstorage FROM pg_attribute
                         WHERE attrelid = 'perfmon.{}_{level}'::regclass AND attnum > 0
                         ORDER BY attnum",
                        family.name
                    ),
                    &[],
                    |row| (row.get(1).unwrap(), row.get(2).unwrap()),
                );
                let head = "source since until length_us quiet_us quality flags n known".split(' ');
                let packed = family.columns.iter().map(|c| history::column_name(c.name));
                let expected: Vec<&str> = head
                    .chain(family.totals.iter().copied())
                    .chain(["ids"])
                    .chain(packed)
                    .chain(["more"])
                    .collect();
                assert_eq!(found.iter().map(|f| f.0.as_str()).collect::<Vec<_>>(), expected);
                let plain = 9 + family.totals.len();
                assert!(found[plain..].iter().all(|f| f.1 == b'e' as i8), "{}", family.name);
            }
        }
    }

    #[pg_test]
    fn rows_come_back_as_they_went_in() {
        let source = own();
        for family in FAMILIES {
            let frame = frame(family, 300);
            history::append(Level::Minute, source, &span(DAY + MINUTE_US), &frame);
            assert_eq!(stored(family, source, Level::Minute), [(span(DAY + MINUTE_US), frame)]);
        }
    }

    #[pg_test]
    fn an_empty_row_is_a_row() {
        let source = own();
        let frame = Frame {
            family: &STATEMENT,
            ids: Vec::new(),
            columns: vec![None; STATEMENT.columns.len()],
            known: 3,
            totals: vec![None; STATEMENT.totals.len()],
        };
        history::append(Level::Minute, source, &span(DAY), &frame);
        assert_eq!(stored(&STATEMENT, source, Level::Minute), [(span(DAY), frame)]);
    }

    #[pg_test]
    fn rows_lie_in_the_table_of_their_day_and_keep_its_key() {
        let source = own();
        let frame = frame(&STATEMENT, 3);
        for until in [DAY - 1, DAY, DAY + DAY_US - 1, DAY + DAY_US] {
            history::append(Level::Minute, source, &span(until), &frame);
        }
        let stem = history::source_name(&STATEMENT, Level::Minute, source);
        for (suffix, rows) in [("20261120", 1), ("20261121", 2), ("20261122", 1)] {
            assert_eq!(count(&format!("SELECT count(*) FROM perfmon.{stem}_{suffix}")), rows);
        }
        let storage = format!(
            "SELECT count(*) FROM pg_attribute WHERE attrelid = 'perfmon.{stem}_20261121'::regclass
             AND atttypid = 'bytea'::regtype AND attstorage <> 'e'"
        );
        assert_eq!(count(&storage), 0);
        let keys = "SELECT count(*) FROM pg_constraint WHERE contype = 'p'
                    AND conrelid = 'perfmon.statement_minute'::regclass";
        assert_eq!(count(keys), 0);
    }

    #[pg_test(error = "duplicate key value violates unique constraint")]
    fn no_interval_is_stored_twice() {
        let source = own();
        let leaf = history::source_name(&STATEMENT, Level::Minute, source);
        history::append(Level::Minute, source, &span(DAY), &frame(&STATEMENT, 3));
        // The constraint's name holds the random source: catch it here and fail with a fixed text.
        PgTryBuilder::new(|| {
            history::append(Level::Minute, source, &span(DAY), &frame(&STATEMENT, 3));
        })
        .catch_when(PgSqlErrorCode::ERRCODE_UNIQUE_VIOLATION, |_| {
            assert!(!leaf.is_empty());
            error!("duplicate key value violates unique constraint");
        })
        .execute();
    }

    #[pg_test]
    fn only_the_asked_segment_and_columns_are_read() {
        let source = own();
        for minute in 1..=10 {
            let until = DAY + minute * MINUTE_US;
            history::append(Level::Minute, source, &span(until), &frame(&STATEMENT, 200));
        }
        let mut seen = Vec::new();
        let columns = [2, 3, 1];
        let segment = (Level::Minute, DAY + 3 * MINUTE_US, DAY + 5 * MINUTE_US);
        read::frames(&[source], &STATEMENT, &[segment], &columns, &mut |row| {
            assert_eq!(row.ids.len(), 200);
            assert_eq!(row.column(0).unwrap()[199], 600);
            assert_eq!(row.column(1), None);
            assert_eq!(row.column(2).unwrap()[0], 2);
            assert!(row.head.is_known(3));
            assert_eq!(row.head.totals[..2], [Some(0), None]);
            seen.push((row.head.span.until - DAY) / MINUTE_US);
        });
        assert_eq!(seen, [4, 5]);
        let mut rows = 0;
        read::frames(&[source], &STATEMENT, &[segment], &[], &mut |row| {
            assert!(row.ids.is_empty() && row.head.n == 200);
            rows += 1;
        });
        assert_eq!(rows, 2);
        // Other sources and empty segments have nothing.
        read::frames(&[source + 1], &STATEMENT, &[segment], &[1], &mut |_| panic!());
        read::frames(&[source], &STATEMENT, &[(Level::Day, 0, DAY)], &[1], &mut |_| panic!());
    }

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
                    assert_eq!(*value, Some(if present { wild(*c, row, id) } else { 0 }));
                }
                points += 1;
            });
            assert_eq!(points, sizes.len() * ids.len());
        }
    }

    #[pg_test]
    fn a_damaged_row_loses_only_itself() {
        let source = own();
        for minute in 1..=3 {
            let until = DAY + minute * MINUTE_US;
            history::append(Level::Minute, source, &span(until), &frame(&STATEMENT, 200));
        }
        for (minute, damage) in [(1, r"calls = '\x63'"), (3, "ids = substr(ids, 1, 5)")] {
            let table = history::parent_name(&STATEMENT, Level::Minute);
            sql::write(
                &format!("UPDATE perfmon.{table} SET {damage} WHERE until = $1"),
                &[sql::time(DAY + minute * MINUTE_US)],
            );
        }
        let mut seen = Vec::new();
        let segment = (Level::Minute, DAY, DAY + HOUR_US);
        read::frames(&[source], &STATEMENT, &[segment], &[1, 2], &mut |row| {
            seen.push((row.head.span.until - DAY) / MINUTE_US);
        });
        assert_eq!(seen, [2]);
        // Who does not ask for the damaged column does not lose the row.
        seen.clear();
        read::frames(&[source], &STATEMENT, &[segment], &[2], &mut |row| {
            seen.push((row.head.span.until - DAY) / MINUTE_US);
        });
        assert_eq!(seen, [1, 2]);
    }

    #[pg_test]
    fn extents_and_last_rows_are_found() {
        let source = own();
        let now = DAY + 10 * HOUR_US;
        assert_eq!(history::last_until(&STATEMENT, Level::Minute, source, now), None);
        assert_eq!(read::extents(&STATEMENT, &[source], now), [read::Extent::default(); 3]);
        history::prepare(&STATEMENT, Level::Minute, source, now, 7);
        for until in [DAY - 3 * DAY_US, DAY - DAY_US] {
            history::append(Level::Minute, source, &span(until), &frame(&STATEMENT, 2));
        }
        let last = DAY - DAY_US;
        assert_eq!(history::last_until(&STATEMENT, Level::Minute, source, now), Some(last));
        let extent = read::extents(&STATEMENT, &[source], now)[0];
        assert_eq!(extent.oldest_since, Some(DAY - 3 * DAY_US - MINUTE_US));
        assert_eq!(extent.newest_until, Some(last));
        // After the clock stepped back, the last row lies in the future.
        let future = DAY + 2 * DAY_US;
        history::append(Level::Minute, source, &span(future), &frame(&STATEMENT, 2));
        assert_eq!(history::last_until(&STATEMENT, Level::Minute, source, now), Some(future));
        assert_eq!(read::extents(&STATEMENT, &[source], now)[0].newest_until, Some(future));
    }

    fn names(list: &[(&str, i64, bool)]) -> Vec<dictionary::Names> {
        let word = |top: bool| String::from(if top { "t" } else { "f" });
        list.iter().map(|(u, q, top)| [(*u).to_owned(), q.to_string(), word(*top)]).collect()
    }

    #[pg_test]
    fn ids_are_handed_out_in_order_and_found_again() {
        let source = own();
        let first = names(&[("ann", 7, true), ("ann", -9, true), ("ann", 7, true)]);
        assert_eq!(dictionary::resolve(&STATEMENT, source, &first, DAY), [1, 2, 1]);
        let more = names(&[("bob", 7, true), ("ann", -9, true), ("ann", 7, false)]);
        assert_eq!(dictionary::resolve(&STATEMENT, source, &more, DAY), [3, 2, 4]);
        // Another source has ids of its own.
        assert_eq!(dictionary::resolve(&STATEMENT, source + 1, &more, DAY), [1, 2, 3]);
        let tables = [["public".into(), "o'rders\u{e9}".into(), "table".into()]];
        for _ in 0..2 {
            assert_eq!(dictionary::resolve(&RELATION, source, &tables, DAY), [1]);
        }
    }

    #[pg_test]
    fn texts_are_kept_once() {
        let source = own();
        dictionary::resolve(&STATEMENT, source, &names(&[("ann", 7, true), ("ann", 8, true)]), DAY);
        assert_eq!(dictionary::missing_texts(source, 10), [8, 7]);
        let text = |query: &str| dictionary::Text {
            queryid: 7,
            command: Some("SELECT".into()),
            query: Some(query.into()),
            note: None,
        };
        dictionary::enter_texts(source, &[text("SELECT 1")], DAY);
        dictionary::enter_texts(source, &[text("SELECT 2")], DAY);
        assert_eq!(dictionary::missing_texts(source, 10), [8]);
        assert_eq!(
            count("SELECT count(*) FROM perfmon.statement_text WHERE query = 'SELECT 1'"),
            1
        );
    }

    #[pg_test]
    fn priors_are_replaced_and_the_file_stays_small() {
        prior::lock(false);
        prior::save(&[("statement", vec![1; 10_000]), ("visit", b"{}".to_vec())]);
        prior::save(&[("statement", vec![2; 10_000])]);
        let mut all = prior::load();
        all.sort();
        assert_eq!(all, [("statement".into(), vec![2; 10_000]), ("visit".into(), b"{}".to_vec())]);
        for turn in 0..40 {
            prior::save(&[("statement", vec![turn; 1_000_000])]);
        }
        assert!(count("SELECT pg_table_size('perfmon.prior')") < 34 << 20);
        assert_eq!(prior::load().len(), 2);
    }

    #[pg_test]
    fn a_copied_database_draws_a_new_source() {
        let first = own();
        assert!(first > 0 && first < 1 << 53);
        assert_eq!(own(), first);
        sql::write("UPDATE perfmon.own_source SET database_oid = 1", &[]);
        assert_eq!(source::own(), None);
        let second = own();
        assert_ne!(first, second);
        assert_eq!(source::lineage(None), [second, first]);
        assert_eq!(source::lineage(Some(first)), [first]);
    }

    #[pg_test]
    fn a_restored_source_is_linked() {
        let own_id = own();
        sql::write(
            "INSERT INTO perfmon.source_info VALUES (5, 'a', 'x', 15, now() - interval '1 y', NULL),
                 (6, 'b', 'x', 15, now(), 5)",
            &[],
        );
        assert_eq!(own(), own_id);
        assert_eq!(source::lineage(None), [own_id, 6, 5]);
    }

    #[pg_test]
    fn gaps_and_changes_are_kept() {
        let source = own();
        let gap = gap::Gap {
            since: DAY,
            until: DAY + 5,
            subject: "statement".into(),
            kind: "missed".into(),
            detail: Some("caf\u{e9}".into()),
        };
        gap::record(source, &gap);
        gap::record(source, &gap);
        let kept = "SELECT count(*) FROM perfmon.gap WHERE until - since = '5 us'::interval
                    AND detail LIKE 'caf_'";
        assert_eq!(count(kept), 1);
        let change = perfmon_core::change::Change {
            kind: "setting".into(),
            name: "work_mem".into(),
            old: Some("4MB".into()),
            new: None,
        };
        change::record(source, DAY, std::slice::from_ref(&change));
        change::record(source, DAY, &[change]);
        assert_eq!(count("SELECT count(*) FROM perfmon.change WHERE new_value IS NULL"), 1);
    }

    #[pg_test]
    fn size_is_that_of_the_server() {
        let source = own();
        history::append(Level::Minute, source, &span(DAY), &frame(&STATEMENT, 5000));
        let expected = count(
            "SELECT sum(pg_total_relation_size(oid))::bigint FROM pg_class
             WHERE relnamespace = 'perfmon'::regnamespace AND relkind IN ('r', 'm')",
        );
        assert!((size::store_bytes() - expected).abs() < 1 << 20);
    }

    #[pg_test]
    fn reading_takes_no_transaction_id() {
        let source = 77;
        read::frames(&[source], &STATEMENT, &[(Level::Minute, 0, DAY)], &[1], &mut |_| ());
        read::extents(&STATEMENT, &[source], DAY);
        source::lineage(None);
        prior::load();
        let none = "SELECT count(*) FROM (SELECT pg_current_xact_id_if_assigned()) x (id)
                    WHERE id IS NULL";
        assert_eq!(count(none), 1);
    }

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
            let keep = (family == &STATEMENT).then_some(0.999);
            let hours: Vec<(Span, Frame)> = [from + HOUR_US, DAY]
                .iter()
                .map(|end| {
                    let parts = of(family, end - HOUR_US, *end, &all);
                    assert_eq!(parts.len(), 60);
                    perfmon_core::rollup::merge(family, &parts, *end, keep).unwrap()
                })
                .collect();
            assert_eq!(stored(family, source, Level::Hour), hours, "{}", family.name);
            let day = perfmon_core::rollup::merge(family, &hours, DAY, keep).unwrap();
            assert_eq!(stored(family, source, Level::Day), [day], "{}", family.name);
        }
        // Nothing is left to do until the next hour is over.
        assert_eq!(chore::maintenance_due(DAY + 30 * MINUTE_US, MINUTE_US), None);
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
        assert_eq!(chore::maintenance_due(DAY + 2, MINUTE_US), Some(chore::Step::Prepare(5)));
        chore::run_step(chore::Step::Prepare(5), DAY + 2);
        let leaves = "SELECT count(*) FROM pg_class WHERE relname ~ '^server_.*_[0-9]{8}$'
                      AND relkind = 'r'";
        assert_eq!(count(leaves), 8 + 3 + 2);
        assert_ne!(chore::maintenance_due(DAY + 2, MINUTE_US), Some(chore::Step::Prepare(5)));
        assert_eq!(chore::maintenance_due(DAY + DAY_US, MINUTE_US), Some(chore::Step::Prepare(5)));
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
