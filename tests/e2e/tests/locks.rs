//! Who blocks whom, deadlocks and transactions that are left open: what real clients do against what is told of it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

use std::thread;

use perfmon_e2e::{Builder, Db, Found, Server, Stop, WINDOW, code_of, secs, wait_until};

#[path = "locks/ended.rs"]
mod ended;
#[path = "locks/pauses.rs"]
mod pauses;
#[path = "locks/told.rs"]
mod told;

/// Samples ten times a second; snapshots by call.
fn sampled() -> Builder {
    Server::manual()
        .conf("pg_perfmon.activity_interval = '100ms'")
        .conf("deadlock_timeout = '200ms'")
        .conf("max_prepared_transactions = 5")
}

const LONG: [(&str, f64); 4] = [
    ("lock_wait_seconds", 2.0),
    ("idle_leak_seconds", 3.0),
    ("long_transaction_seconds", 3.0),
    ("horizon_holder_seconds", 3.0),
];

/// An application's database with two rows that everybody may write.
fn app(server: &Server) -> Db {
    let mut db = server.new_db("app");
    db.run(
        "CREATE ROLE web LOGIN; CREATE ROLE batch LOGIN; CREATE TABLE t (id int PRIMARY KEY, v int);
         INSERT INTO t VALUES (1, 0), (2, 0), (3, 0); GRANT ALL ON t TO web, batch",
    );
    // A first snapshot has no interval before it.
    db.snapshot();
    db.snapshot();
    db.set_thresholds(&LONG);
    db
}

fn client(server: &Server, role: &str, application: &str) -> Db {
    let mut db = server.connect(role, "app");
    // Whoever waits in vain when a test fails is let go.
    db.run(&format!("SET application_name = '{application}'; SET lock_timeout = '45s'"));
    db
}

/// Two intervals of a second and more, then a judgement.
fn two_intervals(db: &mut Db) -> Vec<Found> {
    db.sampled_intervals(2, 10);
    db.evaluate()
}

/// The finding of a kind after two intervals.
#[track_caller]
fn found(db: &mut Db, kind: &str) -> Found {
    let all = two_intervals(db);
    let heads: Vec<String> = all.iter().map(Found::head).collect();
    let one = all.into_iter().find(|one| one.kind == kind);
    one.unwrap_or_else(|| panic!("no {kind} among {heads:#?}"))
}

/// It is no more after two intervals, apart from the time for which what is over is still told.
#[track_caller]
fn gone(db: &mut Db, kind: &str) {
    db.set_thresholds(&[("lock_recent_seconds", 0.0)]);
    let heads: Vec<String> = two_intervals(db).iter().map(Found::head).collect();
    assert!(!heads.iter().any(|head| head.contains(&format!(" {kind} "))), "{heads:#?}");
}

fn row(db: &mut Db, query: &str) -> Vec<Option<String>> {
    let mut rows = db.texts(query);
    assert_eq!(rows.len(), 1, "{query}: {rows:?}");
    rows.remove(0)
}

fn texts(values: &[&str]) -> Vec<Option<String>> {
    values.iter().map(|value| Some((*value).to_owned())).collect()
}

#[test]
fn a_chain_is_told_by_its_head() {
    let server = sampled().start();
    let mut db = app(&server);
    let (one, two) = ("UPDATE t SET v = 1 WHERE id = 1", "UPDATE t SET v = v + 2 WHERE id = 2");
    let [hold, middle] = [one, two].map(|sql| db.queryid_of(sql).to_string());
    let mut holder = client(&server, "batch", "importer");
    let [mut second, mut third, mut fourth] = [(); 3].map(|()| client(&server, "web", "shop"));
    let pids = [&mut holder, &mut second, &mut third, &mut fourth].map(|one| one.pid().to_string());
    holder.run("BEGIN");
    holder.run(one);
    second.run("BEGIN");
    second.run(two);
    thread::scope(|scope| {
        let waits = scope.spawn(move || {
            second.run(one);
            second
        });
        wait_until("the second waits", secs(20), || live(&mut db) == 1);
        let behind = scope.spawn(|| third.run(two));
        wait_until("the third waits", secs(20), || live(&mut db) == 2);
        let last = scope.spawn(|| fourth.run(two));
        wait_until("the fourth waits", secs(20), || live(&mut db) >= 3);
        let now = row(
            &mut db,
            &format!(
                "SELECT blocker_process_id, head_process_id, head_application, head_state, chain_depth, relation_name,
                     head_query
                 FROM perfmon.blocking_now() WHERE process_id = {}", pids[2]
            ),
        );
        assert_eq!(
            now,
            texts(&[&pids[1], &pids[0], "importer", "idle in transaction", "2", "t", one])
        );
        wait_until("the first wait is long", secs(30), || {
            db.val("SELECT count(*) > 0 FROM perfmon.blocking_now() WHERE waited_ms > 2000")
        });
        let finding = found(&mut db, "lock_chain");
        assert!(finding.title.starts_with("3 sessions wait"), "{}", finding.title);
        assert!(
            finding.title.contains(&format!("process {} of importer (user batch)", pids[0])),
            "{}",
            finding.title
        );
        let waits_for: i64 = db.val(&format!(
            "SELECT sessions_waiting FROM perfmon.long_transactions('0 s') WHERE process_id = {}",
            pids[0]
        ));
        assert_eq!(waits_for, 1);
        holder.run("ROLLBACK");
        let mut second = waits.join().unwrap();
        second.run("ROLLBACK");
        behind.join().unwrap();
        last.join().unwrap();
    });
    gone(&mut db, "lock_chain");
    let report: String = db.val(&format!("SELECT perfmon.report({WINDOW})"));
    let head = format!("process {} of importer (user batch)", pids[0]);
    assert!(
        report.contains("## Locks and open transactions") && report.contains(&head),
        "{report}"
    );
    let told: String =
        db.val("SELECT value FROM perfmon.status() WHERE item = 'samples of activity'");
    let looks = told.split("; ").find_map(|part| part.split_once(" looks at locks, "));
    let (looks, cost) = looks.expect(&told);
    assert!(looks.parse::<u64>().unwrap() > 0, "{told}");
    assert!(cost.trim_end_matches(" ms each").parse::<f64>().unwrap() > 0.0, "{told}");
    let of = |process: &str| {
        format!(
            "SELECT user_name, application, queryid, relation_name, blocker_process_id, blocker_queryid,
                 head_process_id, head_user_name, head_application, head_queryid, head_state, ended IS NOT NULL
             FROM perfmon.blocking({WINDOW})
             WHERE process_id = {process} AND held_mode IS NOT NULL AND head_process_id = {}
             ORDER BY time LIMIT 1", pids[0]
        )
    };
    let head = [&pids[0], "batch", "importer", &hold, "idle in transaction", "t"];
    let expect = |queryid: &str, blocker: [&str; 2]| {
        let mut row = vec!["web", "shop", queryid, "public.t", blocker[0], blocker[1]];
        row.extend(head);
        texts(&row)
    };
    assert_eq!(row(&mut db, &of(&pids[1])), expect(&hold, [&pids[0], &hold]));
    // What the second ran last is the statement with which it waits itself.
    assert_eq!(row(&mut db, &of(&pids[2])), expect(&middle, [&pids[1], &hold]));
    let (waited, between): (f64, f64) = {
        let row = &db.rows(&format!(
            "SELECT max(waited_ms), max(extract(epoch FROM ended - time)::float8 * 1000)
             FROM perfmon.blocking({WINDOW}) WHERE process_id = {}",
            pids[1]
        ))[0];
        (row.get(0), row.get(1))
    };
    assert!(waited >= 2_000.0 && waited <= between, "{waited} {between}");
    // Numbers are for readers, texts are not.
    db.run("CREATE ROLE reader LOGIN; SELECT perfmon.grant_reader('reader')");
    let mut reader = server.connect("reader", "app");
    let (rows, with_text): (i64, i64) = {
        let row = &reader.rows(&format!(
            "SELECT count(*), count(coalesce(query, blocker_query, head_query)) FROM perfmon.blocking({WINDOW})"
        ))[0];
        (row.get(0), row.get(1))
    };
    assert!(rows >= 3 && with_text == 0, "{rows} {with_text}");
}

fn live(db: &mut Db) -> i64 {
    db.val("SELECT count(DISTINCT process_id) FROM perfmon.blocking_now()")
}

#[test]
fn a_deadlock_names_both_statements() {
    // Long enough for samples to see the rows that are waited for.
    let server = sampled().conf("deadlock_timeout = '4s'").start();
    let mut db = app(&server);
    let (one, two) =
        ("UPDATE t SET v = 1 WHERE id = 1", "UPDATE t SET v = 2 WHERE id = 2 AND v < 9");
    let [first, other] = [one, two].map(|sql| db.queryid_of(sql).to_string());
    let mut left = client(&server, "web", "shop");
    let mut right = client(&server, "batch", "importer");
    let (left_pid, right_pid) = (left.pid(), right.pid());
    left.run("BEGIN");
    left.run(one);
    right.run("BEGIN");
    right.run(two);
    let victim = thread::scope(|scope| {
        let waits = scope.spawn(|| left.batch_execute(two));
        wait_until("one waits", secs(20), || live(&mut db) == 1);
        let also = scope.spawn(|| right.batch_execute(one));
        let (left, right) = (waits.join().unwrap(), also.join().unwrap());
        let failed = [left, right].map(|result| result.err().map(|error| code_of(&error)));
        assert_eq!(failed.iter().flatten().collect::<Vec<_>>(), ["40P01"]);
        if failed[0].is_some() { left_pid } else { right_pid }
    });
    let finding = found(&mut db, "deadlocks");
    assert_eq!(finding.severity, "info", "{}", finding.title);
    let rows = db.texts(&format!(
        "SELECT process_id, is_victim, waits_for_process_id, database_name, user_name, application, queryid,
             lock_type, relation_name
         FROM perfmon.deadlocks({WINDOW}) ORDER BY user_name"
    ));
    let (a, b) = (left_pid.to_string(), right_pid.to_string());
    let is_victim = |pid: i32| if pid == victim { "t" } else { "f" };
    assert_eq!(
        rows,
        [
            texts(&[
                &b,
                is_victim(right_pid),
                &a,
                "app",
                "batch",
                "importer",
                &first,
                "transactionid",
                "public.t"
            ]),
            texts(&[
                &a,
                is_victim(left_pid),
                &b,
                "app",
                "web",
                "shop",
                &other,
                "transactionid",
                "public.t"
            ]),
        ]
    );
    left.run("ROLLBACK");
    right.run("ROLLBACK");
    wait_until("the server counted it, too", secs(20), || {
        db.val("SELECT deadlocks = 1 FROM pg_stat_database WHERE datname = 'app'")
    });
    gone(&mut db, "deadlocks");

    // What a function catches did not reach the log.
    let again: i64 =
        db.val(&format!("SELECT count(DISTINCT deadlock) FROM perfmon.deadlocks({WINDOW})"));
    assert_eq!(again, 1);
    drop((left, right, db));
    server.stop(Stop::Fast);
    server.start();
    let mut db = server.db("app");
    db.snapshot();
    db.snapshot();
    let kept: i64 = db.val(&format!("SELECT count(*) FROM perfmon.deadlocks({WINDOW})"));
    assert_eq!(kept, 2, "kept over a restart, and not told twice");
}

#[test]
fn a_leak_is_told_apart_from_a_slow_client() {
    let server = sampled().start();
    let mut db = app(&server);
    let (leaked, slow) = ("SELECT v FROM t WHERE id = 1", "SELECT v + 1 FROM t WHERE id = 1");
    let [leaked_id, slow_id] = [leaked, slow].map(|sql| db.queryid_of(sql).to_string());
    let mut leaks: Vec<Db> = (0..3).map(|_| client(&server, "web", "shop")).collect();
    for one in &mut leaks {
        one.run("BEGIN");
        one.run(leaked);
    }
    let mut patient = client(&server, "batch", "console");
    let wait = |db: &mut Db, pid: i32| {
        wait_until("it idled", secs(20), || {
            db.val(&format!(
                "SELECT count(*) = 1 FROM pg_stat_activity WHERE pid = {pid} AND state = 'idle in transaction'
                     AND clock_timestamp() - state_change > interval '3.5 s'"
            ))
        });
    };
    let pid = patient.pid();
    for _ in 0..2 {
        patient.run("BEGIN");
        patient.run(slow);
        wait(&mut db, pid);
        patient.run(slow);
        patient.run("COMMIT");
    }
    let finding = found(&mut db, "idle_transaction_leak");
    assert!(finding.title.starts_with("3 sessions of shop (user web)"), "{}", finding.title);
    assert!(!finding.title.contains("console"));
    wait_until("the slow client's times are stored", secs(20), || {
        db.snapshot();
        db.val(&format!(
            "SELECT coalesce(sum(resumed + finished), 0) = 2 FROM perfmon.idle_in_transaction({WINDOW}) WHERE user_name = 'batch'"
        ))
    });
    let of = |user: &str| {
        format!(
            "SELECT application, queryid, meaning, times, sessions, resumed + finished, gone, open
             FROM perfmon.idle_in_transaction({WINDOW}) WHERE user_name = '{user}'"
        )
    };
    assert_eq!(
        row(&mut db, &of("web")),
        texts(&["shop", &leaked_id, "leak", "3", "3", "0", "0", "3"])
    );
    assert_eq!(
        row(&mut db, &of("batch")),
        texts(&["console", &slow_id, "slow client", "2", "1", "2", "0", "0"])
    );
    let idle: bool = db.val(&format!(
        "SELECT idle_ms BETWEEN longest_ms * 2 AND longest_ms * 3 + 1 AND longest_ms >= 6000
         FROM perfmon.idle_in_transaction({WINDOW}) WHERE user_name = 'web'"
    ));
    assert!(idle, "three sessions idle for as long as the longest, within a moment");
    drop(leaks);
    gone(&mut db, "idle_transaction_leak");
    assert_eq!(
        row(&mut db, &of("web")),
        texts(&["shop", &leaked_id, "leak", "3", "3", "0", "3", "0"])
    );
}

#[test]
fn what_holds_back_vacuum_is_one_list() {
    let server = sampled().start();
    let mut db = app(&server);
    let mut idle = client(&server, "web", "shop");
    idle.run("BEGIN ISOLATION LEVEL REPEATABLE READ");
    idle.run("SELECT count(*) FROM t");
    db.run("SELECT pg_create_physical_replication_slot('gone', true)");
    db.run("BEGIN; UPDATE t SET v = 5 WHERE id = 3; PREPARE TRANSACTION 'forgotten'");
    for _ in 0..5 {
        db.run("UPDATE t SET v = v + 1 WHERE id = 2");
    }
    let rows = db.texts(
        "SELECT kind, name, database_name, user_name, state, keeps, remedy <> '' FROM perfmon.xmin_horizon()
         WHERE name IN ('shop', 'forgotten') ORDER BY rank",
    );
    assert_eq!(
        rows,
        [
            texts(&[
                "idle transaction",
                "shop",
                "app",
                "web",
                "idle in transaction",
                "tables of the database",
                "t"
            ]),
            {
                let mut row = texts(&[
                    "prepared transaction",
                    "forgotten",
                    "app",
                    "postgres",
                    "",
                    "tables of the database",
                    "t",
                ]);
                row[4] = None;
                row
            },
        ]
    );
    let ages: Vec<i64> = db.list("SELECT xmin_age FROM perfmon.xmin_horizon() ORDER BY rank");
    assert!(ages[0] >= 6 && ages.is_sorted_by(|a, b| a >= b), "{ages:?}");
    idle.run("ROLLBACK");
    db.run("ROLLBACK PREPARED 'forgotten'");
    let left: i64 =
        db.val("SELECT count(*) FROM perfmon.xmin_horizon() WHERE name IN ('shop', 'forgotten')");
    assert_eq!(left, 0);
    let refused = db.fails("SELECT * FROM perfmon.long_transactions(NULL)");
    assert_eq!(code_of(&refused), "22023");
}

#[test]
fn a_transaction_that_lasts_is_found_while_it_does() {
    let server = sampled().start();
    let mut db = app(&server);
    let mut worker = client(&server, "batch", "importer");
    let pid = worker.pid();
    worker.run("BEGIN");
    worker.run("UPDATE t SET v = 7 WHERE id = 3");
    thread::scope(|scope| {
        let works = scope.spawn(move || worker.batch_execute("SELECT pg_sleep(60)"));
        wait_until("it lasts", secs(30), || {
            db.val(&format!(
                "SELECT count(*) = 1 FROM perfmon.long_transactions('3 s') WHERE process_id = {pid} AND state = 'active'"
            ))
        });
        let finding = found(&mut db, "long_transaction");
        let begin = format!("Process {pid} is at work in a transaction that began ");
        assert!(finding.title.starts_with(&begin), "{}", finding.title);
        db.run(&format!("SELECT pg_cancel_backend({pid})"));
        assert_eq!(code_of(&works.join().unwrap().unwrap_err()), "57014");
    });
    gone(&mut db, "long_transaction");
}

#[test]
fn dead_rows_that_stay_are_found_with_who_keeps_them() {
    let server = sampled().conf("autovacuum_naptime = '1s'").start();
    server.db("postgres").run("CREATE DATABASE app");
    let mut db = server.db("app");
    db.run(
        "CREATE ROLE web LOGIN; CREATE TABLE t (id int PRIMARY KEY, v int); GRANT ALL ON t TO web",
    );
    db.run("INSERT INTO t SELECT n, 0 FROM generate_series(1, 1000) n; ANALYZE t");
    let mut idle = client(&server, "web", "shop");
    let pid = idle.pid();
    idle.run("BEGIN ISOLATION LEVEL REPEATABLE READ");
    idle.run("SELECT count(*) FROM t");
    for _ in 0..5 {
        db.run("UPDATE t SET v = v + 1");
    }
    db.flush();
    // The rows are dead before anything is recorded, as those that died just now would be no sign of anything.
    db.run("CREATE EXTENSION pg_stat_statements; CREATE EXTENSION pg_perfmon");
    db.snapshot();
    db.snapshot();
    db.set_thresholds(&LONG);
    db.set_thresholds(&[("dead_rows_min", 1000.0), ("upkeep_covered_min_minutes", 0.0)]);
    wait_until("the transaction is old", secs(30), || {
        db.val(&format!(
            "SELECT count(*) = 1 FROM perfmon.xmin_horizon() WHERE process_id = {pid} AND age_ms > 3000"
        ))
    });
    // The number of dead rows is read when something moved.
    db.run("UPDATE t SET v = 0 WHERE id = 1");
    db.flush();
    let finding = found(&mut db, "horizon_held");
    let begin = format!("The idle transaction of process {pid} (");
    assert!(finding.title.starts_with(&begin), "{}", finding.title);
    assert!(finding.title.ends_with("of 1 table from being removed"), "{}", finding.title);
    idle.run("COMMIT");
    gone(&mut db, "horizon_held");
}

#[test]
fn without_preloading_the_live_views_work() {
    let server = Server::unloaded().start();
    let mut db = server.new_db("app");
    db.run("CREATE TABLE t (a int)");
    let mut holder = server.db("app");
    holder.run("BEGIN");
    holder.run("LOCK TABLE t");
    let mut waiter = server.db("app");
    thread::scope(|scope| {
        let waits = scope.spawn(|| waiter.run("SELECT * FROM t"));
        wait_until("it waits", secs(20), || live(&mut db) == 1);
        let now = row(
            &mut db,
            "SELECT relation_name, lock_mode, chain_depth FROM perfmon.blocking_now()",
        );
        assert_eq!(now, texts(&["t", "AccessShareLock", "1"]));
        holder.run("ROLLBACK");
        waits.join().unwrap();
    });
    db.snapshot();
    db.snapshot();
    let none: i64 = db.val(&format!("SELECT count(*) FROM perfmon.blocking({WINDOW})"));
    assert_eq!(none, 0);
}
