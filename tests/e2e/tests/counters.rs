//! What is stored of tables and indexes is never more than happened, whatever happens to the server's counters.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use perfmon_e2e::{Db, Random, Server, secs, seed, wait_until};

/// The last row of history of a relation or an index: its time, what the columns count, and the quality.
fn last(db: &mut Db, family: &str, name: &str, column: &str) -> (i64, String) {
    let kind = if family == "index" { "index" } else { "table" };
    let rows = db.rows(&format!(
        "SELECT {column}, quality FROM perfmon.{family}_history(now() - interval '1 hour', clock_timestamp())
          WHERE {kind}_name = '{name}' ORDER BY time_end DESC LIMIT 1"
    ));
    rows.first().map_or((0, "none".into()), |row| (row.get(0), row.get(1)))
}

/// All rows of a table: what was inserted, and the quality.
fn inserted(db: &mut Db, table: &str) -> Vec<(i64, String)> {
    let rows = db.rows(&format!(
        "SELECT n_tup_ins, quality FROM perfmon.relation_history(now() - interval '1 hour', clock_timestamp())
          WHERE table_name = '{table}' ORDER BY time_end"
    ));
    rows.iter().map(|row| (row.get(0), row.get(1))).collect()
}

fn insert(db: &mut Db, rows: i64) {
    db.run(&format!("INSERT INTO t SELECT i FROM generate_series(1, {rows}) i"));
    flush(db);
}

/// Tells the counters now, rather than up to a second later.
fn flush(db: &mut Db) {
    db.run("SELECT pg_stat_force_next_flush()");
    db.run("SELECT 1");
}

fn exact(values: &[i64]) -> Vec<(i64, String)> {
    values.iter().map(|value| (*value, "exact".into())).collect()
}

#[test]
fn a_snapshot_does_not_count_by_what_its_transaction_saw_before() {
    for consistency in ["cache", "snapshot"] {
        let server = Server::unloaded().conf("autovacuum = off").start();
        let mut db = server.new_db("app");
        db.run("CREATE TABLE t (a int)");
        db.snapshot();
        insert(&mut db, 100);
        db.snapshot();

        let mut long = server.db("app");
        long.run(&format!("SET stats_fetch_consistency = {consistency}"));
        long.run("BEGIN");
        for view in ["pg_stat_wal", "pg_stat_database", "pg_stat_all_tables"] {
            long.run(&format!("SELECT * FROM {view}"));
        }
        insert(&mut db, 1000);
        db.snapshot();
        long.snapshot();
        insert(&mut db, 20);
        // What is rolled back is counted again, as of then.
        long.run("SAVEPOINT s");
        long.snapshot();
        long.run("ROLLBACK TO s");
        insert(&mut db, 3);
        long.snapshot();
        insert(&mut db, 50_000);
        long.snapshot();
        long.run("COMMIT");
        db.snapshot();
        assert_eq!(inserted(&mut db, "t"), exact(&[100, 1000, 23, 50_000]), "{consistency}");
        let marked = db.intervals().into_iter().filter(|i| i.quality != "exact").count();
        assert_eq!(marked, 0, "{consistency}");
    }
}

#[test]
fn counters_that_were_reset_and_outgrew_their_old_values_are_lower_bounds() {
    let server = Server::unloaded().conf("autovacuum = off").start();
    let mut db = server.new_db("app");
    db.run("CREATE TABLE t (a int); CREATE INDEX i ON t (a)");
    db.snapshot();
    insert(&mut db, 50);
    db.snapshot();
    for reset in ["pg_stat_reset()", "pg_stat_reset_single_table_counters('t'::regclass)"] {
        db.run(&format!("SELECT {reset}"));
        insert(&mut db, 1000);
        db.snapshot();
        let (rows, quality) = last(&mut db, "relation", "t", "n_tup_ins");
        assert!(
            (1..=1000).contains(&rows) && quality == "lower bound",
            "{reset}: {rows} {quality}"
        );
        let of_database: Vec<String> = db.list(
            "SELECT quality FROM perfmon.database_history(now() - interval '1 hour', clock_timestamp()) ORDER BY time_end DESC LIMIT 1",
        );
        assert_eq!(of_database, ["lower bound"], "{reset}");
        insert(&mut db, 2000);
        db.snapshot();
        assert_eq!(last(&mut db, "relation", "t", "n_tup_ins"), (2000, "exact".into()), "{reset}");
    }
    // Those of the whole server are reset apart from each other.
    for what in ["wal", "bgwriter"] {
        db.run(&format!("SELECT pg_stat_reset_shared('{what}')"));
        insert(&mut db, 1000);
        db.snapshot();
        let quality: String = db.val(
            "SELECT quality FROM perfmon.server_history(now() - interval '1 hour', clock_timestamp()) ORDER BY time_end DESC LIMIT 1",
        );
        assert_eq!(quality, "lower bound", "{what}");
    }
}

/// Looks up so many rows by an index.
fn look_up(db: &mut Db, column: &str, times: usize) {
    db.run("SET enable_seqscan = off; SET enable_bitmapscan = off");
    for _ in 0..times {
        db.run(&format!("SELECT * FROM t WHERE {column} = 1"));
    }
    flush(db);
}

#[test]
fn indexes_built_anew_beside_their_work_are_not_counted_twice() {
    let server = Server::unloaded().conf("autovacuum = off").start();
    let mut db = server.new_db("app");
    db.run("CREATE TABLE t (a int, b int); CREATE INDEX t_a ON t (a)");
    insert(&mut db, 10);
    db.snapshot();
    look_up(&mut db, "a", 70);
    db.snapshot();
    assert_eq!(last(&mut db, "index", "t_a", "idx_scan"), (70, "exact".into()));
    assert_eq!(last(&mut db, "relation", "t", "idx_scan"), (70, "exact".into()));

    look_up(&mut db, "a", 4);
    db.run("REINDEX INDEX CONCURRENTLY t_a");
    look_up(&mut db, "a", 5);
    db.snapshot();
    assert_eq!(last(&mut db, "index", "t_a", "idx_scan"), (9, "lower bound".into()));
    assert_eq!(last(&mut db, "relation", "t", "idx_scan"), (9, "lower bound".into()));
    look_up(&mut db, "a", 3);
    db.snapshot();
    assert_eq!(last(&mut db, "index", "t_a", "idx_scan"), (3, "exact".into()));
    assert_eq!(last(&mut db, "relation", "t", "idx_scan"), (3, "exact".into()));

    // A snapshot is taken before the new one takes the old one's place, and one while both are still there.
    for (isolation, other) in [("REPEATABLE READ", "t_a_ccnew"), ("READ COMMITTED", "t_a_ccold")] {
        let mut reader = server.db("app");
        reader.run(&format!("BEGIN ISOLATION LEVEL {isolation}; SELECT count(*) FROM t"));
        let mut builder = server.db("app");
        let building = std::thread::spawn(move || builder.run("REINDEX INDEX CONCURRENTLY t_a"));
        wait_until("it waits for the reader", secs(60), || {
            db.val(&format!("SELECT EXISTS (SELECT FROM pg_class WHERE relname = '{other}')"))
        });
        look_up(&mut db, "a", 2);
        db.snapshot();
        reader.run("COMMIT");
        building.join().unwrap();
        look_up(&mut db, "a", 6);
        db.snapshot();
        look_up(&mut db, "a", 1);
        db.snapshot();
        assert_eq!(last(&mut db, "relation", "t", "idx_scan"), (1, "exact".into()), "{other}");
    }
    let of = [("index", "index_name LIKE 't\\_a%'"), ("relation", "table_name = 't'")];
    for (family, name) in of {
        let stored: i64 = db.val(&format!(
            "SELECT sum(idx_scan)::int8 FROM perfmon.{family}_history(now() - interval '1 hour', clock_timestamp()) WHERE {name}"
        ));
        assert!((90..=100).contains(&stored), "{family}: {stored} of 100");
    }
}

#[test]
fn indexes_built_anew_are_not_counted_twice_by_another_name() {
    let server = Server::unloaded().conf("autovacuum = off").start();
    let mut db = server.new_db("app");
    db.run("CREATE SCHEMA s; CREATE TABLE s.t (a int, b int, c int)");
    db.run("CREATE INDEX t_a ON s.t (a); CREATE INDEX t_b ON s.t (b); CREATE INDEX t_c ON s.t (c)");
    db.run("INSERT INTO s.t SELECT i, i, i FROM generate_series(1, 10) i");
    flush(&mut db);
    db.snapshot();
    let look_up = |db: &mut Db, table: &str, column: &str, times: usize| {
        db.run(&format!("SET search_path = {}", table.split('.').next().unwrap()));
        db.run("SET enable_seqscan = off; SET enable_bitmapscan = off");
        (0..times).for_each(|_| db.run(&format!("SELECT * FROM {table} WHERE {column} = 1")));
        flush(db);
    };
    look_up(&mut db, "s.t", "a", 70);
    look_up(&mut db, "s.t", "b", 30);
    db.snapshot();
    let table: u32 = db.val("SELECT 's.t'::regclass::oid");
    let indexes = format!("SELECT indexrelid::int8 FROM pg_index WHERE indrelid = {table}");
    // What is done, how the table is called then, and how many of its indexes are others then.
    let cases = [
        ("ALTER INDEX t_a RENAME TO t_x; REINDEX INDEX CONCURRENTLY t_x", "s.t", 1),
        ("REINDEX INDEX CONCURRENTLY t_b; ALTER INDEX t_b RENAME TO t_y", "s.t", 1),
        ("ALTER TABLE t RENAME TO u; REINDEX TABLE CONCURRENTLY u", "s.u", 3),
        ("REINDEX TABLE CONCURRENTLY u; ALTER SCHEMA s RENAME TO r", "r.u", 3),
        (
            "ALTER INDEX t_x RENAME TO z; ALTER INDEX t_y RENAME TO t_x; ALTER INDEX z RENAME TO t_y; REINDEX TABLE CONCURRENTLY u",
            "r.u",
            3,
        ),
    ];
    for (change, table, others) in cases {
        let before: Vec<i64> = db.list(&indexes);
        change.split("; ").for_each(|command| db.run(command));
        look_up(&mut db, table, "a", 4);
        look_up(&mut db, table, "b", 3);
        let until = db.snapshot();
        let after: Vec<i64> = db.list(&indexes);
        assert_eq!(after.iter().filter(|oid| !before.contains(oid)).count(), others, "{change}");
        for family in ["index", "relation"] {
            let rows = db.rows(&format!(
                "SELECT idx_scan, quality FROM perfmon.{family}_history(now() - interval '1 hour', clock_timestamp())
                  WHERE (extract(epoch FROM time_end) * 1000000)::int8 = {until} AND schema_name IN ('s', 'r')"
            ));
            let told: Vec<(i64, String)> = rows.iter().map(|r| (r.get(0), r.get(1))).collect();
            let stored: i64 = told.iter().map(|(scans, _)| scans).sum();
            assert_eq!(stored, 7, "{change}: {told:?} of {family}");
            assert!(told.iter().any(|(_, quality)| quality == "lower bound"), "{change}: {told:?}");
        }
        look_up(&mut db, table, "b", 2);
        db.snapshot();
        let name = table.split('.').nth(1).unwrap();
        assert_eq!(last(&mut db, "relation", name, "idx_scan"), (2, "exact".into()), "{change}");
    }
}

#[test]
fn a_tables_index_counters_survive_the_change_of_its_indexes() {
    let server = Server::unloaded().conf("autovacuum = off").start();
    let mut db = server.new_db("app");
    db.run("CREATE TABLE t (a int, b int); CREATE INDEX t_a ON t (a)");
    insert(&mut db, 10);
    db.snapshot();
    look_up(&mut db, "a", 100);
    db.snapshot();

    db.run("DROP INDEX t_a; CREATE INDEX t_b ON t (b)");
    look_up(&mut db, "b", 150);
    db.snapshot();
    assert_eq!(last(&mut db, "index", "t_b", "idx_scan"), (150, "exact".into()));
    assert_eq!(last(&mut db, "relation", "t", "idx_scan"), (150, "lower bound".into()));

    // One more takes nothing away.
    db.run("CREATE INDEX t_a ON t (a)");
    look_up(&mut db, "a", 20);
    look_up(&mut db, "b", 3);
    db.snapshot();
    assert_eq!(last(&mut db, "relation", "t", "idx_scan"), (23, "exact".into()));

    // The same name is another index, which cannot be told from one built anew.
    db.run("DROP INDEX t_a; CREATE INDEX t_a ON t (a)");
    look_up(&mut db, "a", 30);
    db.snapshot();
    assert_eq!(last(&mut db, "index", "t_a", "idx_scan"), (10, "lower bound".into()));
    assert_eq!(last(&mut db, "relation", "t", "idx_scan"), (10, "lower bound".into()));
}

#[test]
fn what_a_rewrite_of_a_tables_long_values_read_is_a_lower_bound() {
    let server = Server::unloaded().conf("autovacuum = off").start();
    let mut db = server.new_db("app");
    db.run("CREATE TABLE t (a text); ALTER TABLE t ALTER a SET STORAGE EXTERNAL");
    db.run("INSERT INTO t SELECT repeat('x', 20000) FROM generate_series(1, 10)");
    flush(&mut db);
    db.snapshot();
    let read = |db: &mut Db, times: usize| {
        (0..times).for_each(|_| db.run("SELECT max(length(a || 'x')) FROM t"));
        flush(db);
    };
    read(&mut db, 5);
    db.snapshot();
    assert_eq!(last(&mut db, "relation", "t", "toast_blks_hit").1, "exact");
    db.run("ALTER TABLE t ADD b float8 DEFAULT random()");
    read(&mut db, 20);
    db.snapshot();
    let (hits, quality) = last(&mut db, "relation", "t", "toast_blks_hit");
    assert!(hits > 0 && quality == "lower bound", "{hits} {quality}");
    read(&mut db, 1);
    db.snapshot();
    assert_eq!(last(&mut db, "relation", "t", "toast_blks_hit").1, "exact");
}

/// Of a table and between two snapshots: what `tables()` counts, the live rows, the size, and the quality.
fn told(db: &mut Db, table: &str, (since, until): (i64, i64)) -> Option<(i64, i64, i64, String)> {
    let at = |us: i64| format!("timestamptz 'epoch' + {us} * interval '1 microsecond'");
    let rows = db.rows(&format!(
        "SELECT n_tup_ins, n_live_tup, table_bytes, quality FROM perfmon.tables({}, {})
          WHERE table_name = '{table}'",
        at(since),
        at(until)
    ));
    rows.first().map(|row| (row.get(0), row.get(1), row.get(2), row.get(3)))
}

#[test]
fn what_a_dropped_table_did_at_last_is_marked() {
    let server = Server::unloaded().conf("autovacuum = off").start();
    let mut db = server.new_db("app");
    db.run("CREATE TABLE t (a int); CREATE INDEX i ON t (a); CREATE TABLE other (a int)");
    let first = db.snapshot();
    insert(&mut db, 100);
    let seen = db.snapshot();
    let (exact, lower) = (|| "exact".to_owned(), || "lower bound".to_owned());
    let of_t = told(&mut db, "t", (first, seen)).unwrap();
    assert_eq!((of_t.0, of_t.1, of_t.3), (100, 100, exact()));
    let bytes = of_t.2;
    assert!(bytes > 0);

    insert(&mut db, 1000);
    db.run("INSERT INTO other SELECT 1; DROP TABLE t");
    flush(&mut db);
    let dropped = db.snapshot();
    // States are as they were when it was last seen.
    assert_eq!(told(&mut db, "t", (first, dropped)), Some((100, 100, bytes, lower())));
    assert_eq!(told(&mut db, "t", (seen, dropped)), Some((0, 100, bytes, lower())));
    let other = told(&mut db, "other", (first, dropped)).unwrap();
    assert_eq!((other.0, other.3), (1, exact()));
    for (family, name, column) in [("relation", "t", "n_tup_ins"), ("index", "i", "idx_scan")] {
        assert_eq!(last(&mut db, family, name, column), (0, lower()), "{family}");
    }
    let marked = db.intervals().into_iter().filter(|i| i.quality == "lower bound").count();
    assert_eq!(marked, 1, "the interval says so, too");

    db.run("INSERT INTO other SELECT 1; CREATE TABLE t (a int)");
    insert(&mut db, 7);
    let again = db.snapshot();
    let of_t = told(&mut db, "t", (dropped, again)).unwrap();
    assert_eq!((of_t.0, of_t.1, of_t.3), (7, 7, exact()));
    assert_eq!(told(&mut db, "t", (first, again)).unwrap().0, 107);
    assert_eq!(told(&mut db, "t", (first, again)).unwrap().3, lower());
}

#[test]
fn every_shortfall_of_a_dropped_table_is_marked() {
    let server = Server::unloaded().conf("autovacuum = off").start();
    let mut db = server.new_db("app");
    let (seed, names) = (seed(), ["a", "b", "c", "d"]);
    let mut random = Random::new(seed);
    names.iter().for_each(|name| db.run(&format!("CREATE TABLE {name} (i int)")));
    let mut since = db.snapshot();
    for round in 0..20 {
        // Rows that were inserted, and whether it was dropped.
        let mut truth = [(0_i64, false); 4];
        for _ in 0..random.below(10) {
            let which = random.below(4);
            let (name, rows) = (names[which], 1 + random.below(50) as i64);
            if random.one_in(5) {
                db.run(&format!("DROP TABLE {name}; CREATE TABLE {name} (i int)"));
                truth[which].1 = true;
            } else {
                db.run(&format!("INSERT INTO {name} SELECT generate_series(1, {rows})"));
                truth[which].0 += rows;
            }
        }
        flush(&mut db);
        let until = db.snapshot();
        for (name, (rows, was_dropped)) in names.iter().zip(truth) {
            let found = told(&mut db, name, (since, until));
            let (counted, quality) = found.map_or((0, "exact".into()), |t| (t.0, t.3));
            let context = format!("seed {seed}, round {round}, {name}: {counted} of {rows}");
            assert!(counted <= rows, "{context}");
            assert_eq!(quality, if was_dropped { "lower bound" } else { "exact" }, "{context}");
            assert!(was_dropped || counted == rows, "{context}");
        }
        since = until;
    }
}
