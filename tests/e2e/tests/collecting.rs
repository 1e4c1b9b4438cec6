//! What is collected, where, and when nothing is.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::HashMap;

use perfmon_e2e::{
    Db, Random, Server, Stop, code_of, message_of, never, secs, seed, wait_for, wait_until,
};

/// A snapshot to start from, so that what follows is a difference.
fn base(db: &mut Db) {
    db.snapshot();
}

#[test]
fn rows_appear_within_two_intervals() {
    let server = Server::builder().start();
    let mut db = server.new_db("app");
    db.run("CREATE TABLE t (a int)");
    let id = db.queryid_of("SELECT a FROM t WHERE a = 1");
    // Executed all the while, as only what ran after the first visit has a difference.
    wait_until("the statement is in the history", secs(13), || {
        db.run("SELECT a FROM t WHERE a = 2");
        db.stored_calls(id) > 0
    });
}

#[test]
fn create_extension_is_noticed_at_once() {
    let server = Server::manual().start();
    server.db("postgres").run("CREATE DATABASE app");
    let mut db = server.db("app");
    db.run("CREATE EXTENSION pg_stat_statements; CREATE TABLE t (a int)");
    let id = db.queryid_of("SELECT a FROM t WHERE a = 1");
    let before: i64 = commits(&mut server.db("postgres"), "app");
    db.run("CREATE EXTENSION pg_perfmon");
    // Nobody but a collector commits in this database now; its first visit is the base of all differences.
    drop(db);
    let mut other = server.db("postgres");
    wait_until("somebody visits the database", secs(15), || {
        commits(&mut other, "app") > before + 1
    });
    wait_until("the visit ends", secs(5), || server.collectors().is_empty());
    let mut db = server.db("app");
    for _ in 0..7 {
        db.run("SELECT a FROM t WHERE a = 3");
    }
    db.snapshot();
    assert_eq!(db.stored_calls(id), 7);
}

fn commits(db: &mut Db, name: &str) -> i64 {
    db.val_with("SELECT xact_commit FROM pg_stat_database WHERE datname = $1", &[&name])
}

#[test]
fn statements_are_counted_as_the_client_counts() {
    let mut random = Random::new(seed());
    let server = Server::manual().start();
    let mut db = server.new_db("app");
    db.run(
        "CREATE TABLE t (a int, b int); INSERT INTO t SELECT i, i FROM generate_series(1, 100) i",
    );
    let statements = [
        "SELECT a FROM t WHERE a = 1",
        "SELECT b FROM t WHERE a = 1",
        "UPDATE t SET b = b + 1 WHERE a = 1",
        "INSERT INTO t VALUES (200, 1)",
        "DELETE FROM t WHERE a = 200",
    ];
    let ids: Vec<i64> = statements.iter().map(|s| db.queryid_of(s)).collect();
    base(&mut db);
    let mut truth: HashMap<(i64, i64), i64> = HashMap::new();
    for _ in 0..12 {
        let mut calls = vec![0; statements.len()];
        for _ in 0..random.below(60) {
            let i = random.below(statements.len());
            db.run(statements[i]);
            calls[i] += 1;
        }
        let snapshot = db.snapshot();
        for (i, n) in calls.iter().enumerate().filter(|(_, n)| **n > 0) {
            truth.insert((snapshot, ids[i]), *n);
        }
    }
    let mut stored: HashMap<(i64, i64), i64> = HashMap::new();
    for row in db.history().iter().filter(|r| ids.contains(&r.queryid)) {
        assert_eq!(row.quality, "exact", "{row:?}");
        assert_eq!(row.user, "postgres");
        *stored.entry((row.until, row.queryid)).or_default() += row.calls;
    }
    assert_eq!(stored, truth);
    let total: i64 = truth.values().sum();
    let top: i64 = db
        .val_with(
            "SELECT sum(calls)::int8 FROM perfmon.top_statements(now() - interval '1 hour', clock_timestamp(), max_rows => 100)
              WHERE query LIKE '%t %' AND queryid = ANY ($1)",
            &[&ids],
        );
    assert_eq!(top, total);
}

#[test]
fn rows_are_counted_too() {
    let server = Server::manual().start();
    let mut db = server.new_db("app");
    db.run("CREATE TABLE t (a int); INSERT INTO t SELECT generate_series(1, 10)");
    let id = db.queryid_of("SELECT a FROM t WHERE a > 1");
    base(&mut db);
    db.run("SELECT a FROM t WHERE a > 4");
    db.run("SELECT a FROM t WHERE a > 6");
    db.snapshot();
    let rows: Vec<_> = db.history().into_iter().filter(|r| r.queryid == id).collect();
    assert_eq!(rows.len(), 1);
    assert_eq!((rows[0].calls, rows[0].rows), (2, 10));
    let query = rows[0].query.clone().unwrap();
    assert!(query.contains("WHERE a > $1"), "{query}");
}

#[test]
fn snapshot_ids_increase() {
    for server in [Server::manual().start(), Server::unloaded().start()] {
        let mut db = server.new_db("app");
        let mut last = 0;
        for _ in 0..8 {
            let id = db.snapshot();
            assert!(id > last, "{id} after {last}");
            last = id;
        }
        // Racing calls may share one snapshot or fail for being refused at once, but never disorder the rows.
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let mut db = server.db("app");
                    let mut last = 0;
                    for _ in 0..6 {
                        match db.query_one("SELECT perfmon.snapshot()", &[]) {
                            Ok(row) => {
                                let id: i64 = row.get(0);
                                assert!(id >= last);
                                last = id;
                            }
                            Err(e) => assert_eq!(code_of(&e), "55P03", "{}", message_of(&e)),
                        }
                    }
                });
            }
        });
        let intervals = db.intervals();
        assert!(intervals.len() >= 8);
        for pair in intervals.windows(2) {
            assert!(pair[0].until < pair[1].until);
            assert!(pair[0].until <= pair[1].since, "{pair:?}");
        }
    }
}

#[test]
fn two_databases_keep_apart() {
    let server = Server::manual().start();
    let mut one = server.new_db("one");
    let mut two = server.new_db("two");
    for db in [&mut one, &mut two] {
        db.run("CREATE TABLE t (a int)");
        base(db);
    }
    let id_one = one.queryid_of("SELECT a FROM t WHERE a = 1");
    let id_two = two.queryid_of("SELECT a FROM t WHERE a = 1");
    for _ in 0..3 {
        one.run("SELECT a FROM t WHERE a = 1");
    }
    for _ in 0..5 {
        two.run("SELECT a FROM t WHERE a = 1");
    }
    one.snapshot();
    two.snapshot();
    let total = |db: &mut Db| -> i64 {
        db.history()
            .iter()
            .filter(|r| r.query.as_deref().is_some_and(|q| q.starts_with("SELECT a FROM t")))
            .map(|r| r.calls)
            .sum()
    };
    assert_eq!((one.stored_calls(id_one), two.stored_calls(id_two)), (3, 5));
    assert_eq!((total(&mut one), total(&mut two)), (3, 5));
}

#[test]
fn an_idle_database_is_left_alone() {
    let server = Server::builder().conf("autovacuum = off").start();
    let mut busy = server.new_db("busy");
    drop(server.new_db("idle"));
    let mut watcher = server.db("postgres");
    // Settled: no transaction by anybody over more than two intervals.
    let mut seen = commits(&mut watcher, "idle");
    let mut since = std::time::Instant::now();
    wait_until("visits of the idle database end", secs(60), || {
        busy.run("SELECT count(*) FROM pg_am");
        let now = commits(&mut watcher, "idle");
        if now != seen {
            (seen, since) = (now, std::time::Instant::now());
        }
        since.elapsed() > secs(11)
    });
    let newest = busy.intervals().last().unwrap().until;
    never("a transaction in the idle database", secs(11), || {
        busy.run("SELECT count(*) FROM pg_am");
        commits(&mut watcher, "idle") != seen
    });
    assert!(busy.intervals().last().unwrap().until > newest, "the busy one is still visited");

    let mut idle = server.db("idle");
    let before = idle.intervals().len();
    idle.run("CREATE TABLE t (a int)");
    wait_until("it is visited again", secs(13), || idle.intervals().len() > before);
    let intervals = idle.intervals();
    let last = intervals.last().unwrap();
    assert!(last.quiet_ms > 10_000.0, "quiet is known: {last:?}");
    assert_eq!(last.quality, "exact", "quiet is no gap: {last:?}");
    assert!(idle.gaps().iter().all(|g| g.kind != "missed"), "{:?}", idle.gaps());
}

#[test]
fn idle_visits_take_no_transaction_ids() {
    let server = Server::builder().conf("autovacuum = off").start();
    drop(server.new_db("app"));
    let mut watcher = server.db("postgres");
    let next = "SELECT pg_snapshot_xmax(pg_current_snapshot())::text::int8";
    let mut seen: i64 = watcher.val(next);
    let mut since = std::time::Instant::now();
    wait_until("no transaction id is taken for two intervals", secs(60), || {
        let now: i64 = watcher.val(next);
        if now != seen {
            (seen, since) = (now, std::time::Instant::now());
        }
        since.elapsed() > secs(11)
    });
}

#[test]
fn databases_are_found_again_after_a_restart() {
    let server = Server::builder().start();
    let mut db = server.new_db("app");
    db.run("CREATE TABLE t (a int)");
    let id = db.queryid_of("SELECT a FROM t WHERE a = 1");
    drop(server.new_db("shut"));
    server.db("postgres").run("CREATE DATABASE mould IS_TEMPLATE true");
    server.db("postgres").run("ALTER DATABASE shut ALLOW_CONNECTIONS false");
    db.wait_for_next_interval(secs(13));
    let ended = "SELECT sum(xact_commit + xact_rollback)::int8 FROM pg_stat_database WHERE datname IN ('shut', 'mould')";
    let before = db.val::<i64>(ended);
    server.stop(Stop::Fast);
    let mark = server.log_mark();
    server.start();
    let mut db = server.db("app");
    for _ in 0..2 {
        let before = db.stored_calls(id);
        wait_until("collecting goes on", secs(15), || {
            db.run("SELECT a FROM t WHERE a = 1");
            db.stored_calls(id) > before
        });
    }
    // Those that nobody may connect to are left alone, and templates.
    let log = server.log_since(mark);
    assert!(!log.contains("not currently accepting connections"), "{log}");
    assert_eq!(db.val::<i64>(ended), before);
}

#[test]
fn a_copy_of_a_database_is_found_and_writes_its_own_history() {
    let server = Server::builder().start();
    let mut db = server.new_db("original");
    db.run("CREATE TABLE t (a int)");
    drop(db);
    server.db("postgres").run("CREATE DATABASE copy TEMPLATE original");
    let mut copy = server.db("copy");
    let id = copy.queryid_of("SELECT a FROM t WHERE a = 1");
    // No commit tells of it: it is found when the launcher next looks around, once a minute.
    wait_until("the copy is collected", secs(80), || {
        copy.run("SELECT a FROM t WHERE a = 1");
        copy.stored_calls(id) > 0
    });
    let sources = "SELECT source FROM perfmon.own_source";
    let own: i64 = copy.val(sources);
    let mut original = server.db("original");
    assert_ne!(own, original.val::<i64>(sources));
    let id = original.queryid_of("SELECT a FROM t WHERE a = 1");
    assert_eq!(original.stored_calls(id), 0);
}

#[test]
fn table_counters_match_the_servers() {
    let server = Server::manual().conf("autovacuum = off").start();
    let mut db = server.new_db("app");
    db.run("CREATE TABLE big (a int PRIMARY KEY, b text); CREATE TABLE small (a int)");
    base(&mut db);
    db.run("INSERT INTO big SELECT i, repeat('x', 100) FROM generate_series(1, 5000) i");
    db.run("UPDATE big SET b = 'y' WHERE a <= 700; DELETE FROM big WHERE a > 4900");
    for _ in 0..4 {
        db.run("SELECT count(*) FROM big WHERE b = 'z'");
    }
    db.run("SELECT pg_stat_force_next_flush()");
    // Table counters are read at most once a minute.
    let row = wait_for("the table's counters", secs(100), || {
        db.snapshot();
        let rows = db.rows(
            "SELECT seq_scan::int8, seq_tup_read::int8, n_tup_ins::int8, n_tup_upd::int8, n_tup_del::int8
               FROM perfmon.tables(now() - interval '1 hour', clock_timestamp())
              WHERE table_name = 'big' AND n_tup_ins > 0",
        );
        rows.into_iter().next()
    });
    let ours: [i64; 5] = [row.get(0), row.get(1), row.get(2), row.get(3), row.get(4)];
    let row = db
        .query_one(
            "SELECT seq_scan, seq_tup_read, n_tup_ins, n_tup_upd, n_tup_del FROM pg_stat_user_tables WHERE relname = 'big'",
            &[],
        )
        .unwrap();
    let servers: [i64; 5] = [row.get(0), row.get(1), row.get(2), row.get(3), row.get(4)];
    // The base may have been taken after the scan that built the primary key of the empty table, or before.
    assert!((servers[0] - 1..=servers[0]).contains(&ours[0]), "{ours:?} {servers:?}");
    assert_eq!(ours[1..], servers[1..]);
}

#[test]
fn database_counters_are_plausible() {
    let server = Server::manual().conf("autovacuum = off").start();
    let mut db = server.new_db("app");
    db.run("CREATE TABLE t (a int)");
    base(&mut db);
    for _ in 0..50 {
        db.run("INSERT INTO t SELECT generate_series(1, 10)");
    }
    for _ in 0..5 {
        db.run("BEGIN; INSERT INTO t VALUES (1); ROLLBACK");
    }
    db.run("SELECT pg_stat_force_next_flush()");
    db.snapshot();
    let row = db
        .query_one(
            "SELECT tup_inserted::int8, xact_commit::int8, xact_rollback::int8, database_bytes::int8
               FROM perfmon.databases(now() - interval '1 hour', clock_timestamp()) WHERE database_name = 'app'",
            &[],
        )
        .unwrap();
    let (inserted, commits, rollbacks): (i64, i64, i64) = (row.get(0), row.get(1), row.get(2));
    // Making the extension's own tables inserts into the catalogs, which the server counts too: how many were made by
    // the second snapshot, depends on how busy the machine is.
    assert!((505..40_000).contains(&inserted), "tuples inserted: {inserted}");
    assert!((50..120).contains(&commits), "commits: {commits}");
    assert!((5..10).contains(&rollbacks), "rollbacks: {rollbacks}");
    let bytes: Option<i64> = row.get(3);
    let real: i64 = db.val("SELECT pg_database_size('app')");
    if let Some(bytes) = bytes {
        assert!((real / 2..real * 2).contains(&bytes), "{bytes} of {real}");
    }
}

#[test]
fn we_do_not_count_ourselves() {
    let server = Server::builder().start();
    let mut db = server.new_db("app");
    for _ in 0..3 {
        db.run("SELECT count(*) FROM pg_am");
        db.wait_for_next_interval(secs(13));
    }
    let ours: Vec<String> = db
        .history()
        .into_iter()
        .filter_map(|r| r.query)
        .filter(|q| q.contains("perfmon.") && !q.contains("perfmon.intervals("))
        .collect();
    assert!(ours.is_empty(), "{ours:?}");
}

#[test]
fn changed_settings_are_told() {
    let server = Server::builder().start();
    let mut db = server.new_db("app");
    db.wait_for_next_interval(secs(13));
    server.append_conf(&["random_page_cost = 1.7"]);
    server.reload();
    wait_until("the change is known", secs(30), || {
        db.run("SELECT count(*) FROM pg_am");
        db.val::<i64>("SELECT count(*) FROM perfmon.changes() WHERE name = 'random_page_cost' AND new_value = '1.7'") == 1
    });
}

#[test]
fn snapshot_in_a_transaction_of_the_caller() {
    let server = Server::unloaded().start();
    let mut db = server.new_db("app");
    db.run("CREATE TABLE t (a int)");
    let id = db.queryid_of("SELECT a FROM t WHERE a = 1");
    base(&mut db);
    db.run("SELECT a FROM t WHERE a = 1");

    // A snapshot that is rolled back neither loses nor doubles what it counted.
    db.run("BEGIN");
    db.snapshot();
    db.run("ROLLBACK");
    assert_eq!(db.stored_calls(id), 0);
    db.run("BEGIN");
    db.snapshot();
    db.run("COMMIT");
    assert_eq!(db.stored_calls(id), 1);

    for mode in ["ISOLATION LEVEL REPEATABLE READ", "ISOLATION LEVEL SERIALIZABLE", "READ ONLY"] {
        db.run(&format!("BEGIN {mode}"));
        let e = db.fails("SELECT perfmon.snapshot()");
        let d = e.as_db_error().unwrap();
        assert!(
            ["55000", "25006", "25000"].contains(&d.code().code()),
            "{mode}: {}",
            message_of(&e)
        );
        assert!(d.hint().is_some_and(|h| !h.is_empty()), "{mode}: {}", message_of(&e));
        db.run("ROLLBACK");
    }

    // Another's snapshot in progress: an error at once instead of a wait.
    db.run("BEGIN");
    db.snapshot();
    let begin = std::time::Instant::now();
    let e = server.db("app").fails("SELECT perfmon.snapshot()");
    assert_eq!(code_of(&e), "55P03", "{}", message_of(&e));
    assert!(begin.elapsed() < secs(2));
    db.run("COMMIT");
}

#[test]
fn preloaded_snapshot_works_in_any_transaction_or_says_why_not() {
    let server = Server::manual().start();
    let mut db = server.new_db("app");
    base(&mut db);
    for mode in ["ISOLATION LEVEL REPEATABLE READ", "READ ONLY", "READ COMMITTED"] {
        db.run(&format!(
            "BEGIN {}",
            if mode == "READ COMMITTED" { "ISOLATION LEVEL READ COMMITTED" } else { mode }
        ));
        if let Err(e) = db.batch_execute("SELECT perfmon.snapshot()") {
            let d = e.as_db_error().unwrap();
            assert_eq!(d.code().code(), "55000", "{mode}: {}", message_of(&e));
            assert!(d.hint().is_some(), "{mode}: {}", message_of(&e));
        }
        db.run("ROLLBACK");
    }
}

#[test]
fn disabling_is_a_gap() {
    let server = Server::builder().start();
    let mut db = server.new_db("app");
    db.wait_for_next_interval(secs(13));
    server.append_conf(&["pg_perfmon.enabled = off"]);
    server.reload();
    wait_until("the setting arrives", secs(5), || {
        !db.val::<bool>("SELECT current_setting('pg_perfmon.enabled')::bool")
    });
    wait_until("no collector runs", secs(5), || server.collectors().is_empty());
    let before = db.intervals().len();
    never("a scheduled snapshot while disabled", secs(11), || {
        db.run("SELECT count(*) FROM pg_am");
        db.intervals().len() > before
    });
    let status = db.status();
    assert!(status.contains("pg_perfmon.enabled"), "{status}");
    server.append_conf(&["pg_perfmon.enabled = on"]);
    server.reload();
    db.wait_for_next_interval(secs(15));
    assert!(db.gaps().iter().any(|g| g.kind == "disabled"), "{:?}", db.gaps());
}
