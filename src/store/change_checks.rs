//! Tests of what is kept about changes, against a real server.

#[cfg(any(test, feature = "pg_test"))]
#[allow(clippy::unwrap_used, clippy::expect_used)]
#[pgrx::pg_schema]
mod tests {
    use std::collections::HashSet;

    use perfmon_core::change::{Change, Key, Kind, Object};
    use pgrx::prelude::*;

    use crate::store::{change, chore, gap, object, source, sql};

    /// 2026-11-21 00:00 UTC.
    const DAY: i64 = 1_795_219_200_000_000;

    fn own() -> i64 {
        source::ensure_own(DAY, "here", 42)
    }

    fn count(query: &str) -> i64 {
        sql::first(query, &[], |row| row.get(1)).unwrap()
    }

    fn seen(oid: u32, name: &str) -> Object {
        Object {
            kind: Kind::Index,
            oid,
            name: name.to_owned(),
            definition: Some(format!("CREATE INDEX {name}")),
            parent: oid.is_multiple_of(2).then(|| "public.events".to_owned()),
            table: oid / 2,
            // Hashes use all bits.
            mark: u64::MAX - u64::from(oid),
            shape: 1 << 63,
            form: 1501,
        }
    }

    #[pg_test]
    fn changes_of_one_name_are_kept_in_their_order_before_their_moment() {
        let change = |name: &str, old: Option<&str>, new: Option<&str>| Change {
            kind: "table".to_owned(),
            name: name.to_owned(),
            old: old.map(str::to_owned),
            new: new.map(str::to_owned),
        };
        let told = [
            change("a", Some("1"), None),
            change("b", Some("1"), None),
            change("a", Some("b"), Some("renamed to a")),
            change("a", None, Some("2")),
        ];
        let source = own();
        change::record(source, DAY, &told);
        let rows: Vec<(String, i64)> = sql::read(
            "SELECT c.name || coalesce(c.new_value, '-'),
                 (extract(epoch FROM c.at) * 1000000)::int8 FROM perfmon.change c ORDER BY c.at, c.name",
            &[],
            |row| (row.get(1).unwrap(), row.get(2).unwrap()),
        );
        let expected = [("a-", DAY - 2), ("arenamed to a", DAY - 1), ("a2", DAY), ("b-", DAY)];
        assert_eq!(rows, expected.map(|(name, at)| (name.to_owned(), at)));
    }

    #[pg_test]
    fn marks_of_one_moment_are_all_kept() {
        let source = own();
        assert_eq!(change::mark(source, DAY, "release", None), DAY);
        assert_eq!(change::mark(source, DAY, "release", Some("again")), DAY + 1);
        assert_eq!(change::mark(source, DAY, "release", None), DAY + 2);
        assert_eq!(change::mark(source, DAY, "another", None), DAY);
        assert_eq!(count("SELECT count(*) FROM perfmon.change WHERE kind = 'mark'"), 4);
    }

    #[pg_test]
    fn too_many_changes_lose_the_oldest_but_no_mark() {
        let source = own();
        Spi::run(&format!(
            "INSERT INTO perfmon.change (source, at, kind, name)
             SELECT {source}, now() + i * interval '1 s',
                 (ARRAY['table', 'index', 'mark', 'setting'])[1 + i % 4], 'n' || i
             FROM generate_series(1, 50000) i"
        ))
        .unwrap();
        let steps = (1..100).find(|_| {
            chore::run_step(chore::Step::Clean, DAY);
            count("SELECT count(*) FROM perfmon.chore WHERE name = 'clean'") > 0
        });
        assert_eq!(steps, Some(6), "five times a thousand, then none");
        let kept = |kinds: &str| {
            count(&format!("SELECT count(*) FROM perfmon.change WHERE kind IN ({kinds})"))
        };
        assert_eq!([kept("'mark', 'setting'"), kept("'table', 'index'")], [25_000, 20_000]);
        let gone = "SELECT count(*) FROM perfmon.change WHERE kind IN ('table', 'index')
                    AND at < now() + interval '10000 s'";
        assert_eq!(count(gone), 0);
    }

    #[pg_test]
    fn a_gap_that_goes_on_stays_one() {
        let source = own();
        let minutes = |since: i64, until: i64, detail: &str| gap::Gap {
            since: DAY + since * 60_000_000,
            until: DAY + until * 60_000_000,
            subject: "statement".to_owned(),
            kind: "disabled".to_owned(),
            detail: Some(detail.to_owned()),
        };
        for minute in 0..10 {
            gap::extend(source, &minutes(minute, minute + 1, "why"));
        }
        // Its plan is kept, but not beyond what it stands on.
        Spi::run("ALTER TABLE perfmon.gap DROP CONSTRAINT gap_pkey").unwrap();
        gap::extend(source, &minutes(10, 11, "why"));
        Spi::run("ALTER TABLE perfmon.gap ADD PRIMARY KEY (source, until, subject, kind)").unwrap();
        gap::extend(source, &minutes(11, 12, "another reason"));
        gap::extend(source, &minutes(20, 21, "another reason"));
        let lengths: Vec<i64> = sql::read(
            "SELECT (extract(epoch FROM g.until - g.since) / 60)::int8
             FROM perfmon.gap g ORDER BY g.since",
            &[],
            |row| row.get(1).unwrap(),
        );
        assert_eq!(lengths, [11, 1, 1]);
    }

    #[pg_test]
    fn objects_come_back_as_they_were_seen() {
        let source = own();
        let objects: Vec<Object> = (1..=300).map(|i| seen(i, &format!("public.i{i}"))).collect();
        object::replace(source, &objects, &[]);
        let keys: HashSet<Key> = objects.iter().map(Object::key).collect();
        let mut back = object::seen(source, &keys);
        back.sort_by_key(|o| o.oid);
        assert_eq!(back, objects);
        let marks = object::marks(source, 1501);
        assert_eq!(marks.len(), 300);
        assert_eq!(marks[&(Kind::Index, 7)], (u64::MAX - 7, true));
        assert!(object::marks(source, 1601).values().all(|(_, known)| !known), "other words");

        let unread = Object { definition: None, ..seen(7, "public.renamed") };
        object::replace(
            source,
            std::slice::from_ref(&unread),
            &[(Kind::Index, 1), (Kind::Table, 2)],
        );
        let marks = object::marks(source, 1501);
        assert_eq!(marks.len(), 299, "only what was named is forgotten");
        assert!(!marks[&(Kind::Index, 7)].1);
        assert_eq!(object::seen(source, &HashSet::from([unread.key()])), [unread]);
        assert_eq!(object::marks(source + 1, 1501).len(), 0);
    }

    #[pg_test]
    fn what_a_restore_brought_is_found_once_by_name() {
        Spi::run(
            "INSERT INTO perfmon.source_info
             VALUES (5, 'original', '42', 150000, '2026-11-01 00:00+00', NULL)",
        )
        .unwrap();
        object::replace(5, &[seen(1, "public.a"), seen(2, "public.b")], &[]);
        let source = own();
        assert_eq!(source::lineage(Some(source)), [source, 5]);
        let here = [seen(71, "public.a"), seen(72, "public.c")];
        let here: Vec<&Object> = here.iter().collect();
        assert_eq!(object::take_originals(source, &here), [seen(1, "public.a")]);
        assert_eq!(object::take_originals(source, &here), []);
        assert_eq!(count("SELECT count(*) FROM perfmon.seen_object"), 1);
    }

    #[pg_test]
    fn a_file_full_of_what_was_replaced_is_cut() {
        let source = own();
        let size = "SELECT pg_table_size('perfmon.seen_object')";
        let mut largest = 0;
        for round in 0..200 {
            let objects: Vec<Object> = (1..=100)
                // Too short to be compressed.
                .map(|i| Object {
                    definition: Some(format!("{}{round}", "x".repeat(1800))),
                    ..seen(i, "public.a")
                })
                .collect();
            object::replace(source, &objects, &[]);
            largest = largest.max(count(size));
        }
        assert!(largest > 8 << 20, "{largest}");
        assert!(count(size) < largest, "{} of {largest}", count(size));
        assert_eq!(object::marks(source, 1501).len(), 100);
    }
}
