//! What is stored of tables and indexes is never more than happened, whatever happens to the server's counters.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use perfmon_e2e::{Db, Server};

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
