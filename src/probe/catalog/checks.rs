//! Tests of the catalog's probe against the server's own words.

#[allow(clippy::unwrap_used, clippy::expect_used)]
#[pgrx::pg_schema]
mod tests {
    use std::collections::HashMap;

    use perfmon_core::facts::{Constraint, Index, Sequence, Table};
    use pgrx::prelude::*;

    use crate::pg::fmgr;
    use crate::probe::catalog::{self, Catalog, sequences};

    fn run(sql: &str) {
        Spi::run(sql).unwrap();
    }

    fn one<T: FromDatum + IntoDatum>(sql: &str) -> Option<T> {
        Spi::connect(|c| c.select(sql, None, &[]).unwrap().first().get_one::<T>().unwrap())
    }

    /// The catalog as of now: probes read under the snapshot of the statement that calls them.
    fn catalog() -> Result<Catalog, crate::probe::ProbeError> {
        // SAFETY: a snapshot of this transaction, popped again.
        unsafe { pg_sys::PushActiveSnapshot(pg_sys::GetTransactionSnapshot()) };
        let found = catalog::catalog();
        // SAFETY: see above.
        unsafe { pg_sys::PopActiveSnapshot() };
        found
    }

    fn table<'a>(catalog: &'a Catalog, plain: &str) -> &'a Table {
        let found = catalog.tables.iter().find(|t| t.plain[1] == plain);
        &found.unwrap_or_else(|| panic!("no table {plain}")).fact
    }

    fn index<'a>(catalog: &'a Catalog, plain: &str) -> &'a Index {
        let found = catalog.indexes.iter().find(|i| i.plain[1] == plain);
        &found.unwrap_or_else(|| panic!("no index {plain}")).fact
    }

    fn sequence<'a>(all: &'a [Sequence], name: &str) -> Option<&'a Sequence> {
        all.iter().find(|s| s.name == name)
    }

    /// A table with one index of each sort that is written differently.
    fn zoo() {
        run("CREATE EXTENSION IF NOT EXISTS pg_trgm");
        run("CREATE TYPE zoo_mood AS ENUM ('glad', 'sad')");
        run("CREATE DOMAIN zoo_count AS int");
        run("CREATE TABLE zoo (a int, b text, c varchar(9), d char(3), e zoo_mood, f zoo_count,
             g int[], h jsonb, i point, j timestamptz, k text COLLATE \"C\", l numeric, m oid)");
        for index in [
            "(a)",
            "(a DESC)",
            "(a DESC NULLS LAST, b NULLS FIRST)",
            "(b, c, d)",
            "(b text_pattern_ops)",
            "(c varchar_pattern_ops)",
            "(b COLLATE \"C\")",
            "(k)",
            "(k COLLATE \"POSIX\")",
            "(d bpchar_pattern_ops)",
            "(e)",
            "(f)",
            "(g)",
            "(h)",
            "(l) INCLUDE (b, j)",
            "(j) WITH (fillfactor = 70)",
            "(a) WHERE b IS NOT NULL",
            "(lower(b), a)",
            "(a, (l + 1))",
            "(m) WITH (deduplicate_items = off)",
            "USING hash (b)",
            "USING brin (j, a)",
            "USING gin (g, h jsonb_path_ops)",
            "USING gist (b gist_trgm_ops (siglen = 32))",
            "USING gist (i)",
            "USING spgist (i)",
        ] {
            run(&match index.strip_prefix("USING") {
                Some(rest) => format!("CREATE INDEX ON zoo USING {rest}"),
                None => format!("CREATE INDEX ON zoo {index}"),
            });
        }
        run("CREATE UNIQUE INDEX ON zoo (a, b)");
        run("CREATE UNIQUE INDEX ON zoo (c) NULLS NOT DISTINCT");
    }

    #[pg_test]
    fn definitions_are_the_servers() {
        zoo();
        run("CREATE TABLE zoo_parts (a int, b text) PARTITION BY RANGE (a)");
        run("CREATE TABLE zoo_part PARTITION OF zoo_parts FOR VALUES FROM (1) TO (9)");
        run("CREATE INDEX ON zoo_parts (b)");
        let found = catalog().unwrap();
        let expected: HashMap<String, String> = Spi::connect(|c| {
            c.select(
                "SELECT format('%I.%I', schemaname, indexname), indexdef FROM pg_indexes
                 WHERE tablename LIKE 'zoo%'
                 UNION ALL SELECT 'public.zoo_parts_b_idx',
                     pg_get_indexdef('public.zoo_parts_b_idx'::regclass)",
                None,
                &[],
            )
            .unwrap()
            .map(|row| (row.get(1).unwrap().unwrap(), row.get(2).unwrap().unwrap()))
            .collect()
        });
        assert!(expected.len() >= 30, "{}", expected.len());
        for (name, definition) in &expected {
            let index = &found.indexes.iter().find(|i| &i.fact.name == name).unwrap().fact;
            assert!(!index.unread);
            assert_eq!(&index.definition, definition);
        }
        assert!(index(&found, "zoo_parts_b_idx").partitioned);
        let part = index(&found, "zoo_part_b_idx");
        assert_eq!(part.parent, Some(index(&found, "zoo_parts_b_idx").oid));
        assert_eq!(table(&found, "zoo_part").parent, Some(table(&found, "zoo_parts").oid));
    }

    #[pg_test]
    fn parts_of_keys_are_told() {
        zoo();
        let found = catalog().unwrap();
        let part = index(&found, "zoo_a_b_idx").key.clone();
        assert_eq!(part.len(), 2);
        let of = |start: &str| {
            // Other tests of the same server commit indexes of their own.
            let all = found.indexes.iter().filter(|i| i.plain[1].starts_with("zoo_"));
            all.map(|i| &i.fact).filter(|i| i.definition.contains(start)).collect::<Vec<_>>()
        };
        let ordered = of("(a DESC NULLS LAST, b NULLS FIRST)")[0];
        let order: Vec<_> =
            ordered.key.iter().map(|k| (k.attnum, k.descending, k.nulls_first)).collect();
        assert_eq!(order, [(1, true, false), (2, false, true)]);
        assert_ne!(of("(b text_pattern_ops)")[0].key[0].opclass, part[1].opclass);
        assert_ne!(of("(b COLLATE \"C\")")[0].key[0].collation, part[1].collation);
        let expressions = of("lower(b), a")[0];
        assert_eq!(expressions.key[0].expression, "lower(b)");
        assert_eq!((expressions.key[0].attnum, expressions.key[1].attnum), (0, 1));
        assert_eq!(of("(l + ")[0].key[1].expression, "(l + (1)::numeric)");
        assert_eq!(of("WHERE")[0].predicate.as_deref(), Some("(b IS NOT NULL)"));
        let covering = of("INCLUDE")[0];
        assert_eq!((covering.key.len(), covering.include.join(",").as_str()), (1, "b,j"));
        assert_eq!(covering.stored.len(), 3);
        assert_eq!(covering.stored[2].width, Some(8));
        assert_eq!(of("siglen")[0].key[0].opclass_options, "siglen=32");
        assert_eq!(of("fillfactor")[0].options, [("fillfactor".into(), "70".into())]);
        assert_eq!(of("gist (i)")[0].method, "gist");
        assert!(of("NULLS NOT DISTINCT")[0].nulls_not_distinct);
        for (definition, merges) in [
            ("(a)", true),
            ("(b, c, d)", false),
            ("(lower(b), a)", true),
            ("INCLUDE", false),
            ("deduplicate_items", false),
            ("btree (h)", false),
            ("hash", false),
        ] {
            assert_eq!(of(definition)[0].deduplicates, merges, "{definition}");
        }
    }

    #[pg_test]
    fn tables_are_told() {
        run("CREATE TABLE told (a int PRIMARY KEY, b text, c numeric, dropped int)
             WITH (autovacuum_enabled = off, toast.autovacuum_vacuum_threshold = 7)");
        run("ALTER TABLE told DROP dropped");
        run("ALTER TABLE told REPLICA IDENTITY FULL");
        run("INSERT INTO told SELECT g, NULLIF(g % 4, 0)::text, g FROM generate_series(1, 1000) g");
        run("CREATE UNLOGGED TABLE told_not (a int)");
        run("CREATE MATERIALIZED VIEW told_view AS SELECT a FROM told");
        run("CREATE TABLE told_parts (a int) PARTITION BY RANGE (a)");
        run("CREATE TABLE told_part PARTITION OF told_parts DEFAULT");
        run("CREATE TEMP TABLE told_temp (a int)");
        let before = catalog().unwrap();
        let fresh = table(&before, "told_part");
        assert_eq!((fresh.rows, fresh.table_bytes), (None, None), "nobody looked yet");
        assert!(!table(&before, "told").published);
        run("ANALYZE told");
        run("CREATE PUBLICATION told_pub FOR TABLE told, told_parts");
        let found = catalog().unwrap();
        let told = table(&found, "told");
        assert_eq!(told.name, "public.told");
        assert_eq!(told.rows, Some(1000.0));
        assert_eq!(told.table_bytes, one("SELECT pg_relation_size('told')"));
        assert_eq!(told.toast_bytes, None, "its TOAST table was never vacuumed");
        assert_eq!(told.replica_identity, 'f');
        assert!(told.published && table(&found, "told_part").published);
        assert!(!table(&found, "told_not").published && !table(&found, "told_view").published);
        assert!(table(&found, "told_view").materialized);
        let options = [("autovacuum_enabled", "off"), ("toast.autovacuum_vacuum_threshold", "7")];
        assert_eq!(told.options, options.map(|(n, v)| (n.to_owned(), v.to_owned())));
        assert_eq!(told.xid_age.map(|age| age >= 0), Some(true));
        assert_eq!(told.mxid_age.map(|age| age >= 0), Some(true));
        let parent = table(&found, "told_parts");
        assert_eq!((parent.partitioned, parent.xid_age, parent.table_bytes), (true, None, None));
        let columns: Vec<_> = told.columns.iter().map(|c| (c.attnum, &*c.name)).collect();
        assert_eq!(columns, [(1, "a"), (2, "b"), (3, "c")]);
        let b = &told.columns[1];
        assert_eq!(
            (b.width, b.null_ratio, b.distinct, b.align),
            (Some(2), Some(0.25), Some(3.0), 4)
        );
        assert_eq!((told.columns[0].width, told.columns[0].distinct), (Some(4), Some(-1.0)));
        assert!(told.columns[0].not_null && !b.not_null && !told.internal);
        assert!(table(&found, "pg_class").internal && table(&found, "sql_features").internal);
        assert!(table(&found, "source_info").internal, "the schema belongs to this extension");
        assert!(!found.tables.iter().any(|t| t.plain[1] == "told_temp"));
        assert!(!found.indexes.iter().any(|i| i.plain[1] == "pg_class_oid_index"));
        let kinds = |name: &str| {
            found.tables.iter().find(|t| t.plain[1] == name).map(|t| t.plain.join("/"))
        };
        assert_eq!(kinds("told_view").as_deref(), Some("public/told_view/materialized view"));
        assert_eq!(kinds("told").as_deref(), Some("public/told/table"));
    }

    #[pg_test]
    fn statistics_follow_the_readers_rights() {
        run("CREATE TABLE secret (a int, b text)");
        run("INSERT INTO secret SELECT g, 'x' FROM generate_series(1, 100) g");
        run("CREATE INDEX secret_expr ON secret (lower(b))");
        run("ANALYZE secret");
        run("CREATE ROLE secret_reader");
        run("GRANT secret_reader TO CURRENT_USER");
        let seen = |role: &str| {
            one::<String>(&format!("SELECT set_config('role', '{role}', true)"));
            let found = catalog().unwrap();
            one::<String>("SELECT set_config('role', 'none', true)");
            let columns = &table(&found, "secret").columns;
            let key = index(&found, "secret_expr").stored[0].width;
            (columns[0].width, columns[0].null_ratio, columns[1].width, key)
        };
        // The planner measured the expression's values before they were packed.
        assert_eq!(seen("pg_monitor"), (Some(4), Some(0.0), Some(2), Some(5)));
        assert_eq!(seen("secret_reader"), (Some(4), None, None, None));
        run("GRANT SELECT (a) ON secret TO secret_reader");
        assert_eq!(seen("secret_reader"), (Some(4), Some(0.0), None, None));
    }

    #[pg_test]
    fn constraints_are_told() {
        run("CREATE EXTENSION IF NOT EXISTS btree_gist");
        run("CREATE TABLE led (a int CONSTRAINT \"The key\" PRIMARY KEY, b int UNIQUE DEFERRABLE,
             c int, EXCLUDE USING gist (c WITH =))");
        run("CREATE UNIQUE INDEX led_c ON led (c)");
        run("CREATE TABLE follows (x int REFERENCES led ON DELETE CASCADE, y int, z int,
             CONSTRAINT to_c FOREIGN KEY (y) REFERENCES led (c) ON UPDATE SET NULL)");
        run("CREATE TABLE follows_parts (x int REFERENCES led) PARTITION BY RANGE (x)");
        run("CREATE TABLE follows_part PARTITION OF follows_parts DEFAULT");
        run("CLUSTER led USING led_c");
        run("ALTER TABLE led ALTER c SET NOT NULL");
        run("ALTER TABLE led REPLICA IDENTITY USING INDEX led_c");
        let found = catalog().unwrap();
        let key = index(&found, "The key");
        let kinds = |index: &Index| index.constraints.iter().map(|c| c.kind).collect::<String>();
        assert!(key.primary && key.unique && key.immediate);
        let first = Constraint { kind: 'p', name: "\"The key\"".into() };
        assert!(key.constraints.contains(&first));
        assert_eq!(key.constraints.iter().filter(|c| c.kind == 'f').count(), 2);
        let deferrable = index(&found, "led_b_key");
        assert!(deferrable.unique && !deferrable.immediate && !deferrable.primary);
        assert_eq!(kinds(deferrable), "u");
        let exclusion = index(&found, "led_c_excl");
        assert!(exclusion.exclusion && !exclusion.unique);
        assert_eq!(kinds(exclusion), "x");
        let plain = index(&found, "led_c");
        assert_eq!(kinds(plain), "f");
        assert!(plain.clustered && plain.replica_identity);
        let keys: Vec<_> = found
            .foreign_keys
            .iter()
            .map(|k| (&*k.name, k.column_names.join(","), k.on_delete, k.on_update))
            .collect();
        assert_eq!(keys.len(), 3, "{keys:?}");
        for expected in [
            ("follows_x_fkey", "x".to_owned(), 'c', 'a'),
            ("to_c", "y".to_owned(), 'a', 'n'),
            ("follows_parts_x_fkey", "x".to_owned(), 'a', 'a'),
        ] {
            assert!(keys.contains(&expected), "{keys:?}");
        }
        let foreign = &found.foreign_keys[0];
        assert_eq!(foreign.referenced, table(&found, "led").oid);
    }

    #[pg_test]
    fn hostile_names_can_stand_in_a_statement() {
        let long = "ü".repeat(31);
        for (number, name) in
            ["x\"; DROP TABLE y; --", "two\nlines", "Upper", "it's", "select", &long, "a.b"]
                .into_iter()
                .enumerate()
        {
            let quoted = format!("\"{}\"", name.replace('"', "\"\""));
            run(&format!("CREATE SCHEMA {quoted}"));
            run(&format!("CREATE TABLE {quoted}.{quoted} ({quoted} int)"));
            run(&format!("CREATE INDEX ON {quoted}.{quoted} ({quoted})"));
            run(&format!("CREATE INDEX ON {quoted}.{quoted} (({quoted} + 1))"));
            let found = catalog().unwrap();
            let listed = found.tables.iter().find(|t| t.plain[1] == name).unwrap();
            assert_eq!(listed.plain[0], name);
            let of_table = found.indexes.iter().filter(|i| i.plain[2] == name);
            let indexes: Vec<&Index> = of_table.map(|i| &i.fact).collect();
            assert_eq!(indexes.len(), 2);
            for index in &indexes {
                run(&format!("DROP INDEX {}", index.name));
                run(&index.definition);
            }
            let column = &listed.fact.columns[0].name;
            run(&format!("CREATE INDEX ON {} ({column})", listed.fact.name));
            let sql = format!(
                "SELECT count(*) FROM pg_indexes WHERE tablename = '{}'",
                name.replace('\'', "''")
            );
            assert_eq!(one::<i64>(&sql), Some(3), "{number}");
        }
    }

    #[pg_test]
    fn badly_encoded_names_are_shown_with_a_mark() {
        let found = {
            let _as_elsewhere = fmgr::WithoutEncoding::begin();
            Spi::connect(|_| {
                for sql in
                    [c"CREATE TABLE \"caf\xe9\" (a int)", c"CREATE INDEX ON \"caf\xe9\" (a, (a+1))"]
                {
                    // SAFETY: a NUL-terminated statement inside SPI.
                    unsafe { pg_sys::SPI_execute(sql.as_ptr(), false, 0) };
                }
            });
            catalog().unwrap()
        };
        let listed = found.tables.iter().find(|t| t.plain[1].starts_with("caf")).unwrap();
        assert_eq!(listed.fact.name, "public.\"caf\u{FFFD}\"");
        let index = found.indexes.iter().find(|i| i.plain[2].starts_with("caf")).unwrap();
        assert!(index.fact.definition.contains('\u{FFFD}'));
    }

    /// A second session in this database, for what has to be committed or held by somebody else.
    struct Other;

    impl Other {
        fn connect() -> Self {
            // Not as an extension: two tests at once would wait for each other.
            for (name, arguments) in [
                ("connect", "text, text"),
                ("exec", "text, text"),
                ("send_query", "text, text"),
                ("cancel_query", "text"),
                ("disconnect", "text"),
            ] {
                let result = if name == "send_query" { "int" } else { "text" };
                run(&format!(
                    "CREATE OR REPLACE FUNCTION pg_temp.dblink_{name}({arguments})
                     RETURNS {result} LANGUAGE c AS '$libdir/dblink', 'dblink_{name}'"
                ));
            }
            run(
                "SELECT pg_temp.dblink_connect('other', format('host=%s port=%s dbname=%s user=%s',
                 split_part(current_setting('unix_socket_directories'), ',', 1),
                 current_setting('port'), current_database(), current_user))",
            );
            Self
        }

        fn run(&self, sql: &str) {
            run(&format!("SELECT pg_temp.dblink_exec('other', $other${sql}$other$)"));
        }
    }

    /// The first catalog of which something is true.
    fn until(wanted: impl Fn(&Catalog) -> bool) -> Catalog {
        for _ in 0..2000 {
            let found = catalog().unwrap();
            if wanted(&found) {
                return found;
            }
            // What others do is read once in a transaction, unless told otherwise.
            run("SELECT pg_sleep(0.01), pg_stat_clear_snapshot()");
        }
        panic!("it did not come to that");
    }

    #[pg_test]
    fn nobody_is_waited_for() {
        run("SET LOCAL lock_timeout = '20s'");
        let other = Other::connect();
        other.run("CREATE TABLE held (a serial, b text)");
        other.run("CREATE INDEX held_plain ON held (a)");
        other.run("CREATE INDEX held_expr ON held (lower(b)) WHERE a > 0");
        other.run("BEGIN");
        other.run("LOCK TABLE held IN ACCESS EXCLUSIVE MODE");
        other.run("ALTER SEQUENCE held_a_seq RENAME TO held_b_seq");
        run("SET LOCAL lock_timeout = '1ms'");
        let (found, positions) = (catalog().unwrap(), sequences().unwrap());
        run("SET LOCAL lock_timeout = '20s'");
        let plain = index(&found, "held_plain");
        assert!(!plain.unread && plain.definition.ends_with("(a)"));
        let held = index(&found, "held_expr");
        assert!(held.unread && held.definition.is_empty());
        assert_eq!((held.predicate.as_deref(), &*held.key[0].expression), (Some(""), ""));
        assert!(sequence(&positions, "public.held_a_seq").is_none());
        other.run("ROLLBACK");
        let (found, positions) = (catalog().unwrap(), sequences().unwrap());
        assert!(!index(&found, "held_expr").unread);
        assert!(sequence(&positions, "public.held_a_seq").is_some());
        let kept = one::<i64>(
            "SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid()
             AND relation IN ('held'::regclass, 'held_a_seq'::regclass)",
        );
        assert_eq!(kept, Some(0));
        other.run("DROP TABLE held");
    }

    #[pg_test]
    fn indexes_at_work_are_told_from_broken_ones() {
        run("SET LOCAL lock_timeout = '20s'");
        let other = Other::connect();
        other.run("CREATE TABLE worked (a int, b int)");
        other.run("CREATE INDEX worked_broken ON worked (b)");
        other.run(
            "UPDATE pg_index SET indisvalid = false
             WHERE indexrelid = 'worked_broken'::regclass",
        );
        run("SELECT pg_temp.dblink_send_query('other',
             'CREATE INDEX CONCURRENTLY worked_on ON worked (a)')");
        // It waits for this transaction, which is older, once it has made its entry in the catalog.
        let at_work = |i: &Index| i.name.ends_with("worked_on") && i.being_built;
        let found = until(|found| found.indexes.iter().any(|i| at_work(&i.fact)));
        assert!(!index(&found, "worked_on").valid);
        let broken = index(&found, "worked_broken");
        assert!(!broken.being_built && !broken.valid && broken.ready && broken.live);
        run("SELECT pg_temp.dblink_cancel_query('other')");
        run("SELECT pg_temp.dblink_disconnect('other')");
        let left = until(|found| !found.indexes.iter().any(|i| at_work(&i.fact)));
        assert!(!index(&left, "worked_on").valid);
        Other::connect().run("DROP TABLE worked");
    }

    #[pg_test]
    fn sequences_are_told() {
        run("CREATE TABLE fed (a serial, b bigint GENERATED ALWAYS AS IDENTITY, c smallint)");
        run("CREATE SEQUENCE \"By hand\" INCREMENT -2 MAXVALUE 10 MINVALUE -10 START 10 CYCLE");
        run("ALTER TABLE fed ALTER c SET DEFAULT nextval('\"By hand\"')");
        run("CREATE SEQUENCE alone AS int");
        run("CREATE TEMP SEQUENCE not_ours");
        run("INSERT INTO fed VALUES (DEFAULT, DEFAULT, DEFAULT), (DEFAULT, DEFAULT, DEFAULT)");
        run("SELECT setval('alone', 5, false)");
        run("CREATE ROLE fed_reader");
        run("GRANT fed_reader TO CURRENT_USER");
        run("GRANT USAGE ON SEQUENCE fed_a_seq TO fed_reader");
        let found = sequences().unwrap();
        let serial = sequence(&found, "public.fed_a_seq").unwrap();
        assert_eq!((serial.last_value, serial.max), (Some(2), i64::from(i32::MAX)));
        assert_eq!(serial.owned_by.as_deref(), Some("public.fed.a"));
        assert_eq!(serial.column_max, Some(i64::from(i32::MAX)));
        let identity = sequence(&found, "public.fed_b_seq").unwrap();
        assert_eq!((identity.last_value, identity.column_max), (Some(2), Some(i64::MAX)));
        let hand = sequence(&found, "public.\"By hand\"").unwrap();
        assert_eq!((hand.last_value, hand.start, hand.increment), (Some(8), 10, -2));
        assert_eq!((hand.min, hand.max, hand.cycle), (-10, 10, true));
        assert_eq!(hand.owned_by.as_deref(), Some("public.fed.c"));
        assert_eq!(hand.column_max, Some(i64::from(i16::MAX)));
        let alone = sequence(&found, "public.alone").unwrap();
        assert_eq!((alone.last_value, alone.owned_by.as_deref()), (None, None));
        assert!(!found.iter().any(|s| s.name.ends_with("not_ours")));
        one::<String>("SELECT set_config('role', 'fed_reader', true)");
        let readable = sequences().unwrap();
        one::<String>("SELECT set_config('role', 'none', true)");
        assert!(sequence(&readable, "public.fed_a_seq").is_some());
        assert!(sequence(&readable, "public.alone").is_none());
    }

    #[pg_test]
    fn reading_the_catalog_takes_no_transaction_id() {
        let found = catalog().unwrap();
        assert!(found.tables.len() > 50 && sequences().is_ok());
        let taken = one::<bool>("SELECT pg_current_xact_id_if_assigned() IS NOT NULL");
        assert_eq!(taken, Some(false));
    }
}
