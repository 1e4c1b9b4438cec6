//! Tests of the store against a real server, with real tables and partitions.

mod findings;
mod followed;
mod house;
#[cfg(any(test, feature = "pg_test"))]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod made;
mod squares;

#[cfg(any(test, feature = "pg_test"))]
#[allow(clippy::unwrap_used, clippy::expect_used)]
#[pgrx::pg_schema]
mod tests {
    use std::collections::BTreeSet;

    use pgrx::prelude::*;

    use perfmon_core::family::{FAMILIES, RELATION, STATEMENT};
    use perfmon_core::frame::Frame;

    use super::made::{DAY, MINUTE_US, count, frame, names, own, span, stored};
    use crate::pg::heap;
    use crate::store::period::{DAY_US, HOUR_US, Level};
    use crate::store::prior::Places;
    use crate::store::{change, dictionary, extent, gap, history, prior, read, size, source, sql};

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
                    .chain(family.raw.iter().copied())
                    .chain(["more"])
                    .collect();
                // Columns that came with a later release stand behind the others.
                let names: BTreeSet<&str> = found.iter().map(|f| f.0.as_str()).collect();
                assert_eq!(names, expected.iter().copied().collect());
                assert_eq!(found.len(), expected.len());
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

    #[pg_test(error = "the row was refused")]
    fn what_somebody_added_to_a_table_is_honoured() {
        let source = own();
        let row = |minute: i64, n: u32| {
            let span = span(DAY + minute * MINUTE_US);
            history::append(Level::Minute, source, &span, &frame(&STATEMENT, n));
        };
        row(0, 3);
        let stem = history::source_name(&STATEMENT, Level::Minute, source);
        let leaf = format!("perfmon.{stem}_20261121");
        Spi::run(&format!("CREATE INDEX ON {leaf} ((n * 2))")).unwrap();
        row(1, 4);
        Spi::run(&format!("ALTER TABLE {leaf} ADD CHECK (n < 10)")).unwrap();
        row(2, 5);
        Spi::run("SET LOCAL enable_seqscan = off").unwrap();
        assert_eq!(count(&format!("SELECT sum(n) FROM {leaf} WHERE n * 2 > 6")), 9);
        // The constraint's name holds the random source: catch it here and fail with a fixed text.
        PgTryBuilder::new(|| row(3, 20))
            .catch_when(PgSqlErrorCode::ERRCODE_CHECK_VIOLATION, |_| error!("the row was refused"))
            .execute();
    }

    /// What SQL then writes takes its locks in the server's order, from the parents down.
    #[pg_test]
    fn a_row_that_is_refused_leaves_no_lock() {
        let source = own();
        history::append(Level::Minute, source, &span(DAY), &frame(&STATEMENT, 3));
        Spi::run("CREATE TABLE odd (id int PRIMARY KEY, v int NOT NULL)").unwrap();
        Spi::run("CREATE TABLE plain (id int PRIMARY KEY, v int NOT NULL)").unwrap();
        Spi::run("CREATE INDEX ON odd ((v * 2))").unwrap();
        let oid = |name: &str| {
            Spi::get_one::<pg_sys::Oid>(&format!("SELECT '{name}'::regclass::oid"))
                .unwrap()
                .unwrap()
        };
        let locks = || {
            count(
                "SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND mode = 'RowExclusiveLock'
                     AND relation::regclass::text ~ '^(odd|plain)'",
            )
        };
        let row = |columns: &[&str], table: &str| {
            let values: Vec<sql::Arg<'_>> = columns.iter().map(|_| 1_i32.into()).collect();
            heap::insert(oid(table), columns, &values)
        };
        assert!(!row(&["id", "v"], "odd"));
        assert_eq!(locks(), 0);
        // A column that may not be NULL is missing.
        assert!(!row(&["id"], "plain"));
        assert_eq!(locks(), 0);
        assert!(row(&["id", "v"], "plain"));
        assert_eq!(locks(), 2, "the table and its index");
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
        assert_eq!(extent::extents(&STATEMENT, &[source], now), [extent::Extent::default(); 3]);
        history::prepare(&STATEMENT, Level::Minute, source, now, 7);
        for until in [DAY - 3 * DAY_US, DAY - DAY_US] {
            history::append(Level::Minute, source, &span(until), &frame(&STATEMENT, 2));
        }
        let last = DAY - DAY_US;
        assert_eq!(history::last_until(&STATEMENT, Level::Minute, source, now), Some(last));
        let extent = extent::extents(&STATEMENT, &[source], now)[0];
        assert_eq!(extent.oldest_since, Some(DAY - 3 * DAY_US - MINUTE_US));
        assert_eq!(extent.newest_until, Some(last));
        // After the clock stepped back, the last row lies in the future.
        let future = DAY + 2 * DAY_US;
        history::append(Level::Minute, source, &span(future), &frame(&STATEMENT, 2));
        assert_eq!(history::last_until(&STATEMENT, Level::Minute, source, now), Some(future));
        assert_eq!(extent::extents(&STATEMENT, &[source], now)[0].newest_until, Some(future));
    }

    #[pg_test]
    fn what_is_kept_is_looked_up_once_for_one_piece_of_work() {
        let source = own();
        let now = DAY + 10 * HOUR_US;
        let newest = || extent::extents(&STATEMENT, &[source], now)[0].newest_until;
        let row = |until: i64| {
            history::append(Level::Minute, source, &span(until), &frame(&STATEMENT, 2));
        };
        row(DAY);
        let remembered = extent::remembering(|| {
            assert_eq!(newest(), Some(DAY));
            row(DAY + DAY_US);
            // Others are told from it, and so is what lies within.
            assert_eq!(
                extent::extents(&STATEMENT, &[source + 1], now),
                [extent::Extent::default(); 3]
            );
            assert_eq!(extent::extents(&RELATION, &[source], now), [extent::Extent::default(); 3]);
            (newest(), extent::remembering(newest), newest())
        });
        assert_eq!(remembered, (Some(DAY), Some(DAY), Some(DAY)));
        assert_eq!(newest(), Some(DAY + DAY_US));
        // Nothing is remembered of what failed.
        PgTryBuilder::new(|| {
            extent::remembering(|| {
                newest();
                error!("the work failed");
            });
        })
        .catch_others(|_| ())
        .execute();
        row(DAY + 2 * DAY_US);
        assert_eq!(newest(), Some(DAY + 2 * DAY_US));
    }

    #[pg_test]
    fn ids_are_handed_out_in_order_and_found_again() {
        let source = own();
        let first = names(&[("ann", 7, true), ("ann", -9, true), ("ann", 7, true)]);
        assert_eq!(dictionary::resolve(&STATEMENT, source, &first, DAY), [1, 2, 1]);
        let more = names(&[("bob", 7, true), ("ann", -9, true), ("ann", 7, false)]);
        assert_eq!(dictionary::resolve(&STATEMENT, source, &more, DAY), [3, 2, 4]);
        // Another source has ids of its own, which go on after all that there are.
        assert_eq!(dictionary::resolve(&STATEMENT, source + 1, &more, DAY), [5, 6, 7]);
        let tables = [["public".into(), "o'rders\u{e9}".into(), "table".into()]];
        for _ in 0..2 {
            assert_eq!(dictionary::resolve(&RELATION, source, &tables, DAY), [1]);
        }
    }

    #[pg_test]
    fn texts_are_kept_once() {
        let source = own();
        dictionary::resolve(&STATEMENT, source, &names(&[("ann", 7, true), ("ann", 8, true)]), DAY);
        assert_eq!(dictionary::missing_texts(source, 10, DAY), [8, 7]);
        let text = |query: &str| dictionary::Text {
            queryid: 7,
            command: Some("SELECT".into()),
            query: Some(query.into()),
            note: None,
        };
        dictionary::enter_texts(source, &[text("SELECT 1")], DAY);
        dictionary::enter_texts(source, &[text("SELECT 2")], DAY);
        assert_eq!(dictionary::missing_texts(source, 10, DAY), [8]);
        assert_eq!(
            count("SELECT count(*) FROM perfmon.statement_text WHERE query = 'SELECT 1'"),
            1
        );
    }

    #[pg_test]
    fn priors_are_replaced_and_the_file_stays_small() {
        prior::lock(false);
        prior::save(
            &[("statement", vec![1; 10_000]), ("visit", b"{}".to_vec())],
            Places::default(),
        );
        prior::save(&[("statement", vec![2; 10_000])], prior::load_to_replace().1);
        let mut all = prior::load();
        all.sort();
        assert_eq!(all, [("statement".into(), vec![2; 10_000]), ("visit".into(), b"{}".to_vec())]);
        for turn in 0..40 {
            let known = turn % 2 == 0;
            let places = if known { prior::load_to_replace().1 } else { Places::default() };
            prior::save(&[("statement", vec![turn; 1_000_000])], places);
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
        assert_eq!((source::own(), source::own_of_owner()), (None, None));
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
        assert_eq!(source::lineage_of(own_id), [own_id, 6, 5]);
        assert_eq!((source::lineage_of(5), source::lineage_of(7)), (vec![5], vec![7]));
        // A circle ends.
        sql::write("UPDATE perfmon.source_info SET predecessor = 6 WHERE source = 5", &[]);
        assert_eq!(source::lineage(None), [own_id, 6, 5]);
        assert_eq!(source::lineage_of(own_id), [own_id, 6, 5]);
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
        extent::extents(&STATEMENT, &[source], DAY);
        source::lineage(None);
        prior::load();
        let none = "SELECT count(*) FROM (SELECT pg_current_xact_id_if_assigned()) x (id)
                    WHERE id IS NULL";
        assert_eq!(count(none), 1);
    }
}
