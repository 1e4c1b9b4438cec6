//! Old history goes, by whole tables, without ever blocking readers or writers; the store stays under its bound.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::thread;

use perfmon_e2e::{Db, Server, never, secs, wait_until};

/// A database with some minutes of history.
fn with_history(server: &Server) -> Db {
    let mut db = server.new_db("app");
    db.run("CREATE TABLE t (a int)");
    for _ in 0..4 {
        db.run("SELECT a FROM t WHERE a = 1");
        db.snapshot();
    }
    db
}

/// Puts copies of today's minutes onto an earlier day, in a table as the extension itself would have made it.
/// `padding` bytes of noise make each row heavy.
fn age(db: &mut Db, days: i32, copies: i32, padding: i32) -> String {
    let parent: String = db.val(
        "SELECT c.oid::regclass::text FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
          WHERE i.inhparent = 'perfmon.statement_minute'::regclass",
    );
    let suffix: String =
        db.val(&format!("SELECT to_char((now() AT TIME ZONE 'UTC')::date - {days}, 'YYYYMMDD')"));
    let table = format!("{parent}_{suffix}");
    // "more" is for counters of later releases, which this one must be able to skip.
    db.run(&format!(
        "SET timezone = 'UTC';
         CREATE TABLE IF NOT EXISTS {table} (LIKE {parent} INCLUDING ALL);
         CREATE TEMP TABLE aged AS SELECT m.*, g AS copy FROM perfmon.statement_minute m, generate_series(1, {copies}) g
          WHERE m.until > now() - interval '1 day' AND m.until = (SELECT max(until) FROM perfmon.statement_minute);
         UPDATE aged SET until = (now()::date - {days})::timestamptz + copy * interval '30 s',
                         since = (now()::date - {days})::timestamptz + copy * interval '30 s' - interval '29 s';
         UPDATE aged SET more = (SELECT string_agg(sha256((random()::text || i || copy)::bytea), '')
                                   FROM generate_series(1, {padding} / 32) i) WHERE {padding} > 0;
         ALTER TABLE aged DROP COLUMN copy;
         INSERT INTO {table} SELECT * FROM aged;
         ALTER TABLE {parent} ATTACH PARTITION {table}
           FOR VALUES FROM ((now()::date - {days})::timestamptz) TO ((now()::date - {days} + 1)::timestamptz);
         DROP TABLE aged;
         -- Housekeeping notes how far it came: as if it had not come this far.
         DELETE FROM perfmon.chore"
    ));
    table
}

fn exists(db: &mut Db, table: &str) -> bool {
    db.val_with("SELECT to_regclass($1) IS NOT NULL", &[&table])
}

#[test]
fn a_long_reader_delays_the_drop_and_blocks_nothing() {
    let server = Server::builder().conf("pg_perfmon.retention = '1d'").start();
    let mut db = with_history(&server);
    let id = db.queryid_of("SELECT a FROM t WHERE a = 1");
    // Made in one transaction with the reader's lock, so that no collector can be quicker.
    db.run("BEGIN");
    let old = age(&mut db, 40, 5, 0);
    let newer = age(&mut db, 20, 5, 0);
    db.run("COMMIT; BEGIN; SELECT count(*) FROM perfmon.statement_minute");
    if !exists(&mut db, &old) {
        panic!("dropped before a reader could open it: retention must wait for its next turn");
    }
    let mut writer = server.db("app");
    let before = writer.stored_calls(id);
    never("the table is dropped under its reader", secs(16), || {
        writer.run("SELECT a FROM t WHERE a = 1");
        !exists(&mut writer, &old)
    });
    assert!(writer.stored_calls(id) > before, "rows are written meanwhile");
    let waiting: i64 = writer.val("SELECT count(*) FROM pg_locks WHERE NOT granted");
    assert_eq!(waiting, 0);
    db.run("COMMIT");
    wait_until("the oldest day is dropped", secs(150), || {
        writer.run("SELECT a FROM t WHERE a = 1");
        !exists(&mut writer, &old)
    });
    // One period per real day, so that a jump of the clock cannot wipe the history.
    never("a second day is dropped", secs(12), || {
        writer.run("SELECT a FROM t WHERE a = 1");
        !exists(&mut writer, &newer)
    });
    // What was dropped lives on by the hour.
    let hours: i64 = writer.val(
        "SELECT count(*) FROM perfmon.statement_hour WHERE until < now() - interval '39 days'",
    );
    assert!(hours > 0, "rolled up before it was dropped");
}

#[test]
fn the_store_stays_under_its_bound() {
    let server = Server::builder().conf("pg_perfmon.max_size = '16MB'").start();
    let mut db = with_history(&server);
    let id = db.queryid_of("SELECT a FROM t WHERE a = 1");
    let mut tables = vec![];
    for days in (1..=9).rev() {
        tables.push(age(&mut db, days, 25, 120_000));
    }
    let size = "SELECT sum(pg_total_relation_size(c.oid))::int8 FROM pg_class c WHERE relnamespace = 'perfmon'::regnamespace AND relkind = 'r'";
    let begin: i64 = db.val(size);
    assert!(begin > 20 << 20, "{begin}");
    wait_until("the store shrinks under its bound", secs(150), || {
        db.run("SELECT a FROM t WHERE a = 1");
        db.val::<i64>(size) <= 16 << 20
    });
    let left: Vec<bool> = tables.iter().map(|t| exists(&mut db, t)).collect();
    assert!(!left[0], "the oldest goes first: {left:?}");
    assert!(left.windows(2).all(|w| !w[0] || w[1]), "in order: {left:?}");
    assert!(left[8], "no more is dropped than must be: {left:?}");
    assert!(db.stored_calls(id) > 0, "today is kept");
    let hours: i64 = db.val("SELECT count(*) FROM perfmon.statement_hour");
    assert!(hours > 0, "hours are kept while there are minutes to drop");
}

#[test]
fn tables_are_made_ahead() {
    let server = Server::builder().start();
    let mut db = with_history(&server);
    let ahead = "SELECT count(*) FROM pg_class WHERE relnamespace = 'perfmon'::regnamespace AND relkind = 'r'
                  AND relname ~ '^statement_minute_s[0-9a-f]{16}_\\d{8}$' AND right(relname, 8) > to_char(now() AT TIME ZONE 'UTC', 'YYYYMMDD')";
    wait_until("a week of tables ahead", secs(60), || {
        db.run("SELECT a FROM t WHERE a = 1");
        db.val::<i64>(ahead) >= 7
    });
}

/// A visit that held a partition while it waits for its parent would meet whoever locks the parent and then the partition.
#[test]
fn whoever_changes_parent_and_partition_meets_no_deadlock() {
    // A table with a check is written by SQL, any other past it.
    for check in [true, false] {
        let server = Server::manual()
            .conf("pg_perfmon.lock_timeout = '10s'")
            .conf("deadlock_timeout = '100ms'")
            .start();
        let mut db = with_history(&server);
        let leaf: String = db.val(
            "SELECT tableoid::regclass::text FROM perfmon.statement_minute ORDER BY until DESC LIMIT 1",
        );
        if check {
            db.run(&format!("ALTER TABLE {leaf} ADD CHECK (n >= 0)"));
        }
        let id = db.queryid_of("SELECT a FROM t WHERE a = 1");
        let before = db.stored_calls(id);
        let mut other = server.db("app");
        other.run("BEGIN; LOCK TABLE ONLY perfmon.statement_minute IN ACCESS EXCLUSIVE MODE");
        let mut worker = server.db("app");
        let visit = thread::spawn(move || {
            worker.run("SELECT a FROM t WHERE a = 1");
            worker.snapshot();
        });
        let mut watch = server.db("postgres");
        wait_until("the visit waits for the parent, or is over", secs(60), || {
            let waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted";
            visit.is_finished() || watch.val::<i64>(waiting) > 0
        });
        other.run(&format!("LOCK TABLE {leaf} IN ACCESS EXCLUSIVE MODE"));
        other.run("COMMIT");
        visit.join().unwrap();
        assert!(!server.log().contains("deadlock detected"), "{}", server.log());
        assert_eq!(db.stored_calls(id), before + 1, "all was stored: {check}");
    }
}
