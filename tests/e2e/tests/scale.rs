//! A thousand tables and five thousand indexes: judged and reported in under a second of one core.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use perfmon_e2e::schemas::limits;
use perfmon_e2e::{Db, Server, secs, wait_until};

const TABLES: i32 = 1000;

/// Every table has five indexes. Of ten tables one has the same index twice, one a foreign key without index, one
/// dead rows; and all indexes but the primary keys are unused, so that there is much to say.
fn tables(db: &mut Db) {
    for batch in 0..10 {
        let (first, last) = (batch * TABLES / 10 + 1, (batch + 1) * TABLES / 10);
        db.run(&format!(
            "DO $$ BEGIN
               FOR n IN {first}..{last} LOOP
                 EXECUTE format('CREATE TABLE %I (id int PRIMARY KEY, a int, b text, c int, parent int)', 'Table ' || n);
                 EXECUTE format('INSERT INTO %I SELECT k, k, k, k, 1 FROM generate_series(1, 20) k', 'Table ' || n);
                 EXECUTE format('CREATE INDEX ON %I (a)', 'Table ' || n);
                 EXECUTE format('CREATE INDEX ON %I (b, c)', 'Table ' || n);
                 EXECUTE format('CREATE INDEX ON %I (c DESC, id)', 'Table ' || n);
                 IF n % 10 = 1 THEN
                   EXECUTE format('CREATE INDEX ON %I (a)', 'Table ' || n);
                 ELSE
                   EXECUTE format('CREATE INDEX ON %I (lower(b)) WHERE a > 3', 'Table ' || n);
                 END IF;
                 IF n % 10 = 2 THEN
                   EXECUTE format('ALTER TABLE %I ADD FOREIGN KEY (parent) REFERENCES %I', 'Table ' || n, 'Table ' || n);
                 END IF;
                 IF n % 10 = 3 THEN
                   EXECUTE format('UPDATE %I SET c = c + 1', 'Table ' || n);
                 END IF;
               END LOOP;
             END $$"
        ));
    }
    let made: Vec<i64> = db.list(
        "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace
            AND relkind IN ('r', 'i') AND relname LIKE 'Table%' GROUP BY relkind ORDER BY 1",
    );
    assert_eq!(made, [i64::from(TABLES), i64::from(TABLES) * 5]);
}

/// The least of some. Time on a CPU, as others work on this machine too; nothing here waits for anything else.
fn least(times: usize, server: &Server, db: &mut Db, sql: &str) -> Duration {
    let pid = db.pid();
    (0..times)
        .map(|_| {
            let began = server.cpu_of(pid).unwrap();
            db.run(sql);
            server.cpu_of(pid).unwrap() - began
        })
        .min()
        .unwrap()
}

/// A debug build of the extension, as `PERFMON_PROFILE=dev` installs, takes several times as long.
fn limit() -> Duration {
    match std::env::var("PERFMON_PROFILE").as_deref() {
        Ok("dev") => secs(8),
        _ => secs(1),
    }
}

#[test]
fn a_thousand_tables_are_judged_in_a_second() {
    let server = Server::manual()
        .conf("max_locks_per_transaction = 256")
        .conf("shared_buffers = '256MB'")
        .start();
    let mut db = server.new_db("many");
    tables(&mut db);
    db.set_thresholds(limits::SHORT_HISTORY);
    db.set_thresholds(limits::SMALL_TABLES);
    // So that there is something to say about most of them.
    db.set_thresholds(&[("unused_index_bytes", 0.0), ("unused_index_min_table_uses", 1.0)]);
    db.set_thresholds(&[("foreign_key_index_min_rows", 10.0), ("foreign_key_index_min_uses", 0.0)]);
    db.snapshot();
    // All tables are in the window, and more statements than are analysed.
    db.run(&format!(
        "DO $$ BEGIN FOR n IN 1..{TABLES} LOOP
           EXECUTE format('UPDATE %I SET c = c WHERE id = 7', 'Table ' || n);
         END LOOP; END $$"
    ));
    for n in 1..=250 {
        db.run(&format!("SELECT t.id FROM \"Table {n}\" t WHERE t.c = 7 ORDER BY t.parent"));
    }
    db.flush();
    db.snapshot_with_texts(secs(20));
    let first = least(1, &server, &mut db, "SELECT perfmon.evaluate()");
    let evaluated = least(4, &server, &mut db, "SELECT perfmon.evaluate()");
    let kinds: Vec<String> = db.list(
        "SELECT format('%s %s', count(*), kind) FROM perfmon.findings GROUP BY kind ORDER BY kind",
    );
    let hygiene = least(3, &server, &mut db, "SELECT * FROM perfmon.index_hygiene()");
    let report = least(3, &server, &mut db, "SELECT perfmon.report()");
    let json = least(2, &server, &mut db, "SELECT perfmon.report(format => 'json')");
    println!(
        "evaluate {first:?} and writing it, {evaluated:?} again, index_hygiene {hygiene:?}, report {report:?} {json:?}: {kinds:?}"
    );
    let duplicates: i64 =
        db.val("SELECT count(*) FROM perfmon.findings WHERE kind = 'duplicate_index'");
    assert_eq!(duplicates, i64::from(TABLES) / 10, "{kinds:?}");
    let all: i64 = db.val("SELECT count(*) FROM perfmon.findings");
    assert!(all > 2000, "{kinds:?}");
    // Once, and with thousands of rows to be written.
    assert!(first < limit() * 3, "the first evaluation takes {first:?}");
    for (what, took) in [
        ("evaluate", evaluated),
        ("index_hygiene", hygiene),
        ("report", report),
        ("report in JSON", json),
    ] {
        assert!(took < limit(), "{what} takes {took:?}");
    }
}

/// Programs that call themselves otherwise all the time, as those do that put a request's number into their name: hundreds of
/// pools within an hour.
#[test]
fn hundreds_of_pools_are_judged_in_a_moment() {
    const CLIENTS: usize = 40;
    let server = Server::manual()
        .conf("pg_perfmon.activity_interval = '100ms'")
        .conf("max_connections = 100")
        .start();
    let mut db = server.new_db("app");
    db.snapshot();
    let mut clients: Vec<Db> = (0..CLIENTS).map(|_| server.db("app")).collect();
    let done = AtomicBool::new(false);
    let pools = "SELECT count(*) FROM perfmon.pool_saturation() WHERE level = 'pool'";
    thread::scope(|scope| {
        let _done = Raise(&done);
        for (which, client) in clients.iter_mut().enumerate() {
            let done = &done;
            scope.spawn(move || {
                for n in 0.. {
                    if done.load(Ordering::Relaxed) {
                        break;
                    }
                    client.run(&format!("SET application_name = 'program {which} {n}'"));
                    // No condition is awaited: it is a program that does something else.
                    thread::sleep(Duration::from_millis(300));
                }
            });
        }
        wait_until("there are hundreds of pools", secs(180), || {
            db.sampled_intervals(4, 10);
            db.val::<i64>(pools) >= 600
        });
    });
    drop(clients);
    db.sampled_intervals(2, 3);
    // The same again for each minute of today so far.
    db.run(
        "SET timezone = 'UTC';
         CREATE TEMP TABLE aged AS
             SELECT m.*, g AS copy FROM generate_series(1, 1439) g
             JOIN (SELECT p AS m, row_number() OVER () AS nth, count(*) OVER () AS rows
                   FROM perfmon.pool_minute p WHERE p.n > 300) r ON g % r.rows = r.nth - 1, LATERAL (SELECT (r.m).*) m;
         UPDATE aged SET length_us = 60000000,
             until = date_trunc('minute', now()) - (copy + 1) * interval '1 minute',
             since = date_trunc('minute', now()) - (copy + 2) * interval '1 minute';
         DELETE FROM aged WHERE since < date_trunc('day', now());
         ALTER TABLE aged DROP COLUMN copy;
         INSERT INTO perfmon.pool_minute SELECT * FROM aged",
    );
    let rows: i64 = db.val(
        "SELECT count(*) FROM perfmon.pool_minute WHERE until > now() - interval '1 hour' AND n > 300",
    );
    let found: i64 = db.val(pools);
    let told = least(3, &server, &mut db, "SELECT count(*) FROM perfmon.pool_saturation()");
    let judged = least(3, &server, &mut db, "SELECT perfmon.evaluate()");
    println!(
        "{found} pools, {rows} rows in an hour: pool_saturation() {told:?}, evaluate() {judged:?}"
    );
    assert!(told < limit() && judged < limit(), "{told:?}, {judged:?}");
}

/// Sets it when dropped, also by a panic, so that threads that look at it end.
struct Raise<'a>(&'a AtomicBool);

impl Drop for Raise<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
