//! What is stored of tables and indexes is never more than happened, whatever happens to the server's counters.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use perfmon_e2e::{Db, Server};

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
