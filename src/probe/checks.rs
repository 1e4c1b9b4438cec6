//! Tests of the probes against the server's own views, which say the same things more slowly.

#[allow(clippy::unwrap_used, clippy::expect_used)]
#[pgrx::pg_schema]
mod tests {
    use std::collections::HashMap;

    use perfmon_core::frame::Reading;
    use pgrx::prelude::*;

    use crate::pg::fmgr;
    use crate::probe::{self, Probed};

    fn run(sql: &str) {
        Spi::run(sql).unwrap();
    }

    fn one<T: FromDatum + IntoDatum>(sql: &str) -> Option<T> {
        Spi::connect(|c| c.select(sql, None, &[]).unwrap().first().get_one::<T>().unwrap())
    }

    fn has_transaction_id() -> bool {
        one::<bool>("SELECT pg_current_xact_id_if_assigned() IS NOT NULL").unwrap()
    }

    /// Rows of (key, value…) as the server's views give them.
    fn rows(sql: &str, columns: usize) -> HashMap<String, Vec<Option<i64>>> {
        Spi::connect(|c| {
            c.select(sql, None, &[])
                .unwrap()
                .map(|row| {
                    let key = row.get::<String>(1).unwrap().unwrap();
                    let values =
                        (0..columns).map(|i| row.get::<i64>(i + 2).unwrap()).collect::<Vec<_>>();
                    (key, values)
                })
                .collect()
        })
    }

    fn column<'a>(reading: &'a Reading, name: &str) -> &'a [u64] {
        &reading.columns[reading.family.position(name).unwrap()]
    }

    fn well_formed(probed: &Probed) {
        let reading = &probed.reading;
        let n = reading.keys.len();
        assert_eq!(reading.labels.len(), n);
        assert_eq!(reading.columns.len(), reading.family.columns.len());
        assert!(reading.columns[0].is_empty());
        for (column, meta) in reading.columns.iter().zip(reading.family.columns) {
            assert!(column.is_empty() || column.len() == n, "{}", meta.name);
        }
        for extreme in reading.floors.iter().chain(&reading.ceilings) {
            assert_eq!(extreme.len(), n);
        }
        assert!(reading.born.as_ref().is_none_or(|b| b.len() == n));
        let mut keys = reading.keys.clone();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), n, "every key once");
        for i in 0..n {
            (probed.name)(i);
        }
    }

    #[pg_test]
    fn numerics_become_integers() {
        for (text, value) in [
            ("0", Some(0)),
            ("1", Some(1)),
            ("9999", Some(9999)),
            ("10000", Some(10_000)),
            ("120000000", Some(120_000_000)),
            ("18446744073709551615", Some(u64::MAX)),
            ("18446744073709551616", None),
            ("12.75", Some(12)),
            ("0.5", Some(0)),
            ("0.00005", Some(0)),
            ("-3", None),
            ("NaN", None),
            ("1e30", None),
            ("40000000000000000", Some(40_000_000_000_000_000)),
        ] {
            let bytes = one::<Vec<u8>>(&format!("SELECT numeric_send('{text}'::numeric)"));
            assert!(bytes.is_some());
            let datum = one::<AnyNumeric>(&format!("SELECT '{text}'::numeric")).unwrap();
            let datum = datum.into_datum().unwrap();
            // SAFETY: a numeric made just now.
            let payload = unsafe {
                let plain = pg_sys::pg_detoast_datum(datum.cast_mut_ptr());
                pgrx::varlena::varlena_to_byte_slice(plain)
            };
            assert_eq!(fmgr::numeric_to_u64(payload), value, "{text}");
        }
    }

    #[pg_test]
    fn statements_want_their_extension() {
        let error = probe::statements::statements().err().unwrap();
        assert_eq!(error.hint.as_deref(), Some("CREATE EXTENSION pg_stat_statements"));
        assert!(!has_transaction_id());
    }

    /// The view's own numbers, in our units, for the same entries.
    const VIEW: &str = r#"
        SELECT pg_get_userbyid(userid) || '/' || queryid || '/' || CASE WHEN toplevel THEN 't' ELSE 'f' END,
            calls, floor(total_exec_time * 1000 + 0.5)::bigint, rows, shared_blks_hit, wal_bytes::bigint, wal_records,
            round((stddev_exec_time ^ 2 + mean_exec_time ^ 2) * calls * 1000)::bigint,
            round(min_exec_time * 1e6)::bigint, round(max_exec_time * 1e6)::bigint
        FROM pg_stat_statements(false)
        WHERE queryid IS NOT NULL AND dbid = (SELECT oid FROM pg_database WHERE datname = current_database())"#;

    #[pg_test]
    fn statements_agree_with_the_view() {
        run("CREATE SCHEMA \"odd place\"");
        run("CREATE EXTENSION pg_stat_statements SCHEMA \"odd place\"");
        run("SET search_path = public, \"odd place\", pg_catalog");
        run("SET pg_stat_statements.track = 'all'");
        run("CREATE TABLE probed_rows (a int, b text)");
        run("INSERT INTO probed_rows SELECT g, repeat('x', 500) FROM generate_series(1, 500) g");
        run("SELECT count(*) FROM probed_rows WHERE a < 7");
        run("SET pg_stat_statements.track = 'none'");
        let statements = probe::statements::statements().unwrap();
        well_formed(&statements.probed);
        let view = rows(VIEW, 9);
        let reading = &statements.probed.reading;
        assert_eq!(reading.keys.len(), view.len());
        assert!(statements.entries >= view.len() as u64);
        assert_eq!(statements.capacity, Some(5000));
        for i in 0..reading.keys.len() {
            let expected = &view[&(statements.probed.name)(i).join("/")];
            let found = ["calls", "exec_us", "rows", "shared_blks_hit", "wal_bytes", "wal_records"]
                .map(|name| Some(column(reading, name)[i] as i64));
            assert_eq!(expected[..6], found);
            let square = column(reading, "exec_sq")[i] as i64;
            assert!((expected[6].unwrap() - square).abs() <= 1);
            assert_eq!(expected[7], Some(reading.floors[0][i] as i64));
            assert_eq!(expected[8], Some(reading.ceilings[0][i] as i64));
        }
        assert!(column(reading, "wal_bytes").iter().any(|&bytes| bytes > 100_000));
        assert!(column(reading, "shared_blk_read_us").is_empty(), "track_io_timing is off");
        assert!(column(reading, "plans").is_empty(), "track_planning is off");
        assert!(!column(reading, "jit_functions").is_empty());
        assert!(reading.epoch.began.is_some() && reading.evictions.is_some());
        assert!(reading.epoch.identity.ends_with(" version=1.10") || reading.born.is_some());
    }

    #[pg_test]
    fn statements_of_a_dropped_role_are_kept() {
        run("CREATE EXTENSION pg_stat_statements");
        run("SET pg_stat_statements.track = 'all'");
        run("CREATE ROLE gone_soon");
        run("GRANT gone_soon TO CURRENT_USER");
        run("SET ROLE gone_soon");
        run("SELECT 4711 AS by_somebody");
        run("RESET ROLE");
        run("DROP ROLE gone_soon");
        let statements = probe::statements::statements().unwrap();
        let names = 0..statements.probed.reading.keys.len();
        assert!(names.map(|i| (statements.probed.name)(i)).any(|n| n[0].starts_with("oid ")));
    }

    /// Compares a probe's columns with a view whose first column is the joined names.
    fn agrees(probed: &Probed, names: &[&str], view: &HashMap<String, Vec<Option<i64>>>) {
        well_formed(probed);
        let reading = &probed.reading;
        assert_eq!(reading.keys.len(), view.len());
        for i in 0..reading.keys.len() {
            let key = (probed.name)(i).join("/");
            let found: Vec<_> = names.iter().map(|name| column(reading, name)[i] as i64).collect();
            let expected: Vec<_> = view[&key].iter().map(|v| v.unwrap_or(0)).collect();
            assert_eq!(found, expected, "{key}");
        }
    }

    /// What the server tells of is read anew, and nothing else needs to be.
    #[pg_test]
    fn what_is_remembered_of_relations_is_what_is_there() {
        let names = || {
            let found = probe::relations::relations(false).unwrap();
            let of = |probed: &Probed| -> Vec<String> {
                let all = (0..probed.reading.keys.len()).map(|i| (probed.name)(i)[1].clone());
                all.filter(|name| name.starts_with("remembered")).collect()
            };
            [of(&found.relations), of(&found.indexes)].concat()
        };
        assert!(names().is_empty());
        run("CREATE TABLE remembered (a int)");
        assert_eq!(names(), ["remembered"]);
        run("CREATE INDEX remembered_a ON remembered (a)");
        assert_eq!(names(), ["remembered", "remembered_a"]);
        run("ALTER TABLE remembered RENAME TO remembered_well");
        assert_eq!(names(), ["remembered_well", "remembered_a"]);
        run("DO $$ BEGIN DROP TABLE remembered_well; PERFORM 1 / 0;
             EXCEPTION WHEN division_by_zero THEN NULL; END $$");
        assert_eq!(names(), ["remembered_well", "remembered_a"]);
        run("ALTER TABLE remembered_well SET SCHEMA information_schema");
        assert!(names().is_empty());
        run("ALTER TABLE information_schema.remembered_well SET SCHEMA public");
        run("DROP INDEX remembered_a");
        assert_eq!(names(), ["remembered_well"]);
    }

    #[pg_test]
    fn relations_agree_with_the_views() {
        run("CREATE TEMP TABLE not_counted (a int PRIMARY KEY)");
        run("CREATE MATERIALIZED VIEW \"Odd/view\" AS SELECT 1 AS a");
        let found = probe::relations::relations(false).unwrap();
        assert!(!has_transaction_id() || found.relations.reading.keys.len() > 50);
        let kept = "schemaname NOT IN ('information_schema', 'perfmon') AND schemaname !~ '^pg_(toast|temp)'";
        let view = format!(
            "SELECT schemaname || '/' || s.relname || '/' ||
                CASE WHEN relkind = 'm' THEN 'materialized view' ELSE 'table' END,
                seq_scan, seq_tup_read, idx_scan, idx_tup_fetch, n_tup_ins, n_tup_upd, n_tup_del,
                n_tup_hot_upd, n_live_tup, n_dead_tup, n_mod_since_analyze, n_ins_since_vacuum,
                autovacuum_count, autoanalyze_count, heap_blks_read, heap_blks_hit, idx_blks_read,
                idx_blks_hit, toast_blks_read, toast_blks_hit, tidx_blks_read, tidx_blks_hit
            FROM pg_stat_all_tables s JOIN pg_statio_all_tables USING (relid, schemaname)
                JOIN pg_class c ON c.oid = relid AND relkind <> 'p' WHERE {kept}"
        );
        let names = "seq_scan seq_tup_read idx_scan idx_tup_fetch n_tup_ins n_tup_upd n_tup_del
            n_tup_hot_upd n_live_tup n_dead_tup n_mod_since_analyze n_ins_since_vacuum
            autovacuum_count autoanalyze_count heap_blks_read heap_blks_hit idx_blks_read
            idx_blks_hit toast_blks_read toast_blks_hit tidx_blks_read tidx_blks_hit";
        let names: Vec<_> = names.split_whitespace().collect();
        agrees(&found.relations, &names, &rows(&view, names.len()));
        assert!(column(&found.relations.reading, "idx_blks_hit").iter().any(|&n| n > 0));
        let view = format!(
            "SELECT schemaname || '/' || indexrelname || '/' || relname, idx_scan, idx_tup_read,
                idx_tup_fetch, idx_blks_read, idx_blks_hit
            FROM pg_stat_all_indexes JOIN pg_statio_all_indexes
                USING (indexrelid, schemaname, indexrelname, relname) WHERE {kept}"
        );
        let names = ["idx_scan", "idx_tup_read", "idx_tup_fetch", "idx_blks_read", "idx_blks_hit"];
        agrees(&found.indexes, &names, &rows(&view, names.len()));
        assert!(column(&found.relations.reading, "table_bytes").is_empty());
    }

    #[pg_test]
    fn sizes_agree_with_the_servers_functions() {
        run("CREATE TABLE sized (a int PRIMARY KEY, b text)");
        run("INSERT INTO sized SELECT g, repeat(md5(g::text), 200) FROM generate_series(1, 300) g");
        run("ALTER TABLE sized ALTER b SET STORAGE EXTERNAL");
        run(
            "INSERT INTO sized SELECT g, repeat(md5(g::text), 200) FROM generate_series(301, 600) g",
        );
        run("CREATE UNLOGGED TABLE sized_too AS SELECT * FROM sized");
        run("CREATE INDEX ON sized_too (a)");
        let found = probe::relations::relations(true).unwrap();
        let reading = &found.relations.reading;
        assert!(reading.whole && found.indexes.reading.whole);
        well_formed(&found.relations);
        let expected = rows(
            "SELECT relname::text, pg_table_size(oid) - coalesce(pg_total_relation_size(nullif(reltoastrelid, 0)), 0),
                coalesce(pg_total_relation_size(nullif(reltoastrelid, 0)), 0), pg_indexes_size(oid)
            FROM pg_class WHERE relname IN ('sized', 'sized_too', 'pg_class')",
            3,
        );
        let mut seen = 0;
        for i in 0..reading.keys.len() {
            let [schema, name, _] = (found.relations.name)(i);
            let found = ["table_bytes", "toast_bytes", "index_bytes"]
                .map(|name| Some(column(reading, name)[i] as i64));
            if name == "pg_class" {
                assert!(found[0] > Some(100_000) && found[2] > Some(10_000), "a mapped catalog");
            } else if let Some(expected) = expected.get(&name) {
                assert_eq!((schema.as_str(), &found[..]), ("public", &expected[..]), "{name}");
                assert!(name != "sized" || found[1] > Some(1_000_000));
                seen += 1;
            }
        }
        assert_eq!(seen, 2);
        let bytes = column(&found.indexes.reading, "index_bytes");
        let position =
            (0..bytes.len()).find(|&i| (found.indexes.name)(i)[1] == "sized_pkey").unwrap();
        assert_eq!(Some(bytes[position] as i64), one("SELECT pg_relation_size('sized_pkey')"));
    }

    #[pg_test]
    fn databases_agree_with_the_view() {
        let own = one::<String>("SELECT current_database()::text").unwrap();
        let alone = probe::database::databases(false, false).unwrap();
        let all = probe::database::databases(true, true).unwrap();
        assert!(!has_transaction_id());
        assert_eq!(alone.reading.keys.len(), 1);
        assert!(alone.reading.columns[27].is_empty(), "no size asked for");
        assert!(all.reading.keys.len() >= 2 && all.reading.whole);
        let view = rows(
            "SELECT concat(nullif(datid, (SELECT oid FROM pg_database WHERE datname = current_database())),
                    '/', datname, '/'), xact_commit, xact_rollback, blks_read, blks_hit, tup_returned,
                tup_fetched, tup_inserted, conflicts, temp_files, deadlocks, sessions,
                round(active_time * 1000)::bigint, round(session_time * 1000)::bigint
            FROM pg_stat_database WHERE datname IN (SELECT datname FROM pg_database WHERE NOT datistemplate)",
            13,
        );
        let names = "xact_commit xact_rollback blks_read blks_hit tup_returned tup_fetched
            tup_inserted conflicts temp_files deadlocks sessions active_us session_us";
        let names: Vec<_> = names.split_whitespace().collect();
        agrees(&all, &names, &view);
        assert_eq!(
            column(&alone.reading, "active_us")[0] as i64,
            view[&format!("/{own}/")][11].unwrap()
        );
        assert!(column(&alone.reading, "numbackends")[0] >= 1);
        assert!(column(&alone.reading, "blk_read_us").is_empty());
        assert!(column(&alone.reading, "checksum_failures").is_empty());
        let at = (0..view.len()).find(|&i| (all.name)(i)[1] == own).unwrap();
        let bytes = column(&all.reading, "database_bytes")[at] as i64;
        let size = one::<i64>("SELECT pg_database_size(current_database())").unwrap();
        assert!((bytes - size).abs() < size / 10, "{bytes} {size}");
    }

    #[pg_test]
    fn server_agrees_with_the_views() {
        let extras = probe::server::Extras { statement_entries: Some(7), ..Default::default() };
        let probed = probe::server::server(extras).unwrap();
        well_formed(&probed);
        let reading = &probed.reading;
        assert_eq!(column(reading, "statement_entries"), [7]);
        assert!(column(reading, "statement_capacity").is_empty());
        assert!(column(reading, "wal_write_us").is_empty(), "track_wal_io_timing is off");
        let bytes = one::<i64>("SELECT wal_bytes::bigint FROM pg_stat_wal").unwrap();
        assert_eq!(column(reading, "wal_bytes"), [bytes as u64]);
        let buffers = one::<i64>("SELECT buffers_alloc FROM pg_stat_bgwriter").unwrap();
        assert_eq!(column(reading, "buffers_alloc"), [buffers as u64]);
        let began = one::<i64>(
            "SELECT (extract(epoch FROM stats_reset) * 1000000)::bigint FROM pg_stat_wal",
        );
        assert_eq!(reading.epoch.began, began);
        assert!(reading.epoch.identity.ends_with("/1"));
        assert!(!has_transaction_id());
    }

    #[pg_test]
    fn io_is_read_where_there_is_any() {
        let probed = probe::io::io().unwrap();
        assert_eq!(probed.is_some(), cfg!(not(feature = "pg15")));
        if let Some(probed) = probed {
            well_formed(&probed);
            assert!(column(&probed.reading, "hits").iter().any(|&n| n > 0));
            assert!(column(&probed.reading, "read_bytes").len() == probed.reading.keys.len());
        }
    }

    #[pg_test]
    fn settings_leave_out_secrets() {
        one::<String>("SELECT set_config('role', 'pg_read_all_stats', true)");
        let probe::settings::Look { settings, untold } = probe::settings::settings().unwrap();
        one::<String>("SELECT set_config('role', 'none', true)");
        assert!(!has_transaction_id());
        let value = |name: &str| settings.iter().find(|s| s.name == name).map(|s| s.value.clone());
        assert_eq!(value("pg_stat_statements.max"), Some(Some("5000".into())));
        assert!(value("pg_perfmon.snapshot_interval").is_some());
        assert!(value("work_mem").is_some());
        assert_eq!(value("primary_conninfo"), None, "for superusers");
        assert_eq!(value("transaction_isolation"), None, "a session's own");
        assert_eq!(value("shared_memory_size"), None, "follows from others");
        assert_eq!(value("wal_buffers"), None, "automatic");
        assert!(untold.iter().any(|name| name == "wal_buffers"));
        assert!(settings.iter().any(|s| s.name == "work_mem" && s.unit.as_deref() == Some("kB")));
    }

    /// The kept text, command and note of the statement whose kept text or command holds `part`.
    fn all_texts() -> Vec<probe::texts::StatementText> {
        let statements = probe::statements::statements().unwrap();
        let wanted: Vec<i64> = statements.probed.reading.keys.iter().map(|k| k.0 as i64).collect();
        probe::texts::texts(&wanted).unwrap()
    }

    #[pg_test]
    fn settings_are_kept_where_parameters_stand_for_all_values() {
        let masked = |text: &str| probe::texts::is_masked_setting(text.as_bytes());
        for text in ["SET work_mem = $1", "set local a.b TO $1, $2", "SET SESSION x=$1"] {
            assert!(masked(text), "{text}");
        }
        for text in [
            "SET a = hunter2, $1",
            "SET a = $1, hunter2",
            "SET a = 'x$1",
            "SET TIME ZONE $1",
            "DROP a = $1",
            "SET a hunter2 = $1",
        ] {
            assert!(!masked(text), "{text}");
        }
    }

    #[pg_test]
    fn texts_hold_no_literals() {
        run("CREATE EXTENSION pg_stat_statements");
        run("CREATE PROCEDURE \"Say it\"(a text) LANGUAGE plpgsql AS $$ BEGIN END $$");
        run("SET pg_stat_statements.track = 'all'");
        for sql in [
            "SELECT 4711 AS plain, 'hunter2'",
            "SELECT now() + interval '4711 days'",
            "CREATE ROLE probe_secret PASSWORD 'hunter2'",
            "ALTER ROLE probe_secret SET app.token = hunter2",
            "SET app.token = hunter2",
            "CALL \"Say it\"('hunter2')",
            "DO $$ BEGIN PERFORM 'hunter2'; END $$",
            "CREATE TABLE probe_open (a int)",
            "CREATE TABLE probe_copy AS SELECT 'hunter2' AS a",
            "PREPARE probe_plan AS SELECT sinh(0.5), 'hunter2'::text",
            "EXECUTE probe_plan",
            "/* a comment */ VALUES (1), (2)",
        ] {
            run(sql);
        }
        run("SET pg_stat_statements.track = 'none'");
        let texts = all_texts();
        assert!(texts.iter().all(|t| !t.query.as_deref().unwrap_or("").contains("hunter2")));
        let kept = |part: &str| {
            texts
                .iter()
                .find(|t| t.query.as_deref().is_some_and(|q| q.contains(part)))
                .map(|t| (t.command.as_str(), t.note))
        };
        let all: Vec<_> = texts.iter().map(|t| (&t.query, &t.command, t.note)).collect();
        assert_eq!(kept("SELECT $1 AS plain"), Some(("SELECT", None)), "{all:?}");
        assert_eq!(kept("+ interval $1"), Some(("SELECT", None)), "{all:?}");
        assert_eq!(
            kept("CREATE TABLE probe_open (a int)"),
            Some(("CREATE TABLE", None)),
            "{all:?}"
        );
        assert_eq!(kept("CALL \"Say it\"(…)"), Some(("CALL", Some("redacted"))));
        assert_eq!(kept("CREATE ROLE"), Some(("CREATE ROLE", Some("redacted"))));
        assert_eq!(kept("ALTER ROLE"), Some(("ALTER ROLE", Some("redacted"))));
        assert_eq!(
            kept("PREPARE probe_plan AS SELECT sinh($1)"),
            Some(("SELECT", None)),
            "{all:?}"
        );
        assert_eq!(kept("VALUES ($1)"), Some(("SELECT", None)));
        for command in ["DO", "SET"] {
            assert!(texts.iter().any(|t| t.query.as_deref() == Some(command)), "{command}");
        }
        let copy = texts.iter().find(|t| t.command == "CREATE TABLE AS").unwrap();
        assert_eq!((copy.query.clone(), copy.note), (None, Some("redacted")));
    }

    #[pg_test]
    fn texts_in_another_encoding_harm_nobody() {
        run("CREATE EXTENSION pg_stat_statements");
        run("SET pg_stat_statements.track = 'all'");
        let long = format!("SELECT sign(1.5) AS long -- {}", "é".repeat(40_000));
        run(&long);
        Spi::connect(|_| {
            let _as_elsewhere = fmgr::WithoutEncoding::begin();
            // SAFETY: a NUL-terminated statement inside SPI.
            unsafe { pg_sys::SPI_execute(c"SELECT cosh(1.5) AS \"caf\xe9\"".as_ptr(), true, 0) };
        });
        run("SET pg_stat_statements.track = 'none'");
        let texts = all_texts();
        let bad = texts.iter().find(|t| t.note == Some("badly encoded"));
        let all: Vec<_> = texts.iter().map(|t| (&t.command, t.note)).collect();
        let bad = bad.unwrap_or_else(|| panic!("{all:?}"));
        assert_eq!((bad.command.as_str(), bad.query.as_deref()), ("SELECT", None));
        let long = texts.iter().find(|t| t.note == Some("truncated")).unwrap();
        assert!((65_000..=65_536).contains(&long.query.as_ref().unwrap().len()));
        // SAFETY: reads a process variable.
        assert_eq!(unsafe { pg_sys::GetDatabaseEncoding() }, pg_sys::pg_enc::PG_UTF8 as i32);
    }

    #[pg_test]
    fn the_encoding_comes_back_after_an_error() {
        let caught = std::panic::catch_unwind(|| {
            let _bytes = fmgr::WithoutEncoding::begin();
            panic!("as the server's errors do");
        });
        assert!(caught.is_err());
        // SAFETY: reads a process variable.
        assert_eq!(unsafe { pg_sys::GetDatabaseEncoding() }, pg_sys::pg_enc::PG_UTF8 as i32);
    }
}
