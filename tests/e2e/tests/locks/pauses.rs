//! Pauses inside transactions: how long they were, however they ended.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use perfmon_e2e::{Db, Server, WINDOW, secs, wait_until};

use super::{app, client, found, gone, row, sampled, texts, two_intervals};

/// A second and a third each, looked at twice a second: none is missed, and each is as long as it was.
#[test]
fn pauses_are_as_long_as_they_were_however_they_end() {
    let server = Server::manual().conf("pg_perfmon.activity_interval = '500ms'").start();
    let mut db = app(&server);
    let mut clients: Vec<Db> = (0..3).map(|_| client(&server, "web", "shop")).collect();
    // And one whose transactions are short, with many pauses.
    let mut quick = client(&server, "batch", "importer");
    let truth: Duration = thread::scope(|scope| {
        let work = |one: &mut Db| -> Duration {
            let mut all = Duration::ZERO;
            for end in ["COMMIT", "ROLLBACK", "COMMIT; BEGIN; SELECT 1; COMMIT", "SELECT 1; COMMIT"]
            {
                one.run("BEGIN");
                one.run("SELECT v FROM t WHERE id = 1");
                let began = Instant::now();
                thread::sleep(Duration::from_millis(1_333));
                all += began.elapsed();
                one.run(end);
                one.run("SELECT 2");
            }
            all
        };
        let running: Vec<_> =
            clients.iter_mut().map(|one| scope.spawn(move || work(one))).collect();
        while !running.iter().all(thread::ScopedJoinHandle::is_finished) {
            quick.run("BEGIN");
            quick.run("SELECT v FROM t WHERE id = 1");
            thread::sleep(Duration::from_millis(20));
            quick.run("COMMIT");
        }
        running.into_iter().map(|one| one.join().unwrap()).sum()
    });
    let of = |db: &mut Db, what: &str| {
        db.snapshot();
        row(db, &format!(
            "SELECT coalesce(sum({what}), 0) FROM perfmon.idle_in_transaction({WINDOW}) WHERE user_name = 'web'"
        ))[0].clone().unwrap()
    };
    wait_until("all ends are stored", secs(20), || of(&mut db, "finished") == "12");
    let told: f64 = of(&mut db, "idle_ms").parse().unwrap();
    let truth = truth.as_secs_f64() * 1000.0;
    assert!((told - truth).abs() < truth * 0.05, "{told} {truth}");
    let all = db.texts(&format!(
        "SELECT user_name, meaning, times, sessions, resumed, finished, gone, open
         FROM perfmon.idle_in_transaction({WINDOW})"
    ));
    let ends: Vec<&str> = all.iter().flatten().flatten().map(String::as_str).collect();
    assert_eq!(ends, ["web", "pauses", "12", "3", "0", "12", "0", "0"], "short ones are none");
}

/// A client that ends its transaction and leaves at once came back; one that is ended, or leaves without a word, did not.
#[test]
fn who_ends_a_transaction_and_leaves_is_no_leak() {
    let server = Server::manual().conf("pg_perfmon.activity_interval = '1s'").start();
    let mut db = app(&server);
    let paused = |user: &str, application: &str| {
        let mut one = client(&server, user, application);
        one.run("BEGIN");
        one.run("SELECT v FROM t WHERE id = 1");
        one
    };
    let mut jobs: Vec<Db> = (0..3).map(|_| paused("web", "job")).collect();
    let failed = || {
        let mut one = paused("web", "failed");
        one.fails("SELECT 1 / 0");
        one
    };
    let (mut rolled_back, left_failed) = (failed(), failed());
    let left = [paused("batch", "left"), paused("batch", "left")];
    let mut killed = paused("batch", "killed");
    let pid = killed.pid();
    wait_until("all idled for long", secs(30), || {
        db.val(
            "SELECT count(*) = 8 FROM pg_stat_activity WHERE state ~ '^idle in transaction'
                 AND clock_timestamp() - state_change > interval '6 s'",
        )
    });
    for (one, end) in
        jobs.iter_mut().zip(["COMMIT", "ROLLBACK", "UPDATE t SET v = 9 WHERE id = 2; COMMIT"])
    {
        one.run(end);
    }
    rolled_back.run("ROLLBACK");
    db.run(&format!("SELECT pg_terminate_backend({pid})"));
    drop((jobs, left, killed, rolled_back, left_failed));
    let told = format!(
        "SELECT application, meaning, times, resumed + finished, gone, open
         FROM perfmon.idle_in_transaction({WINDOW}) WHERE application IN ('job', 'left', 'killed') ORDER BY 1"
    );
    let expected = [
        texts(&["job", "slow client", "3", "3", "0", "0"]),
        texts(&["killed", "leak", "1", "0", "1", "0"]),
        texts(&["left", "leak", "2", "0", "2", "0"]),
    ];
    wait_until("all ends are stored", secs(20), || {
        db.snapshot();
        !db.val::<bool>(&format!(
            "SELECT coalesce(sum(open), 1) > 0 FROM perfmon.idle_in_transaction({WINDOW})"
        ))
    });
    assert_eq!(db.texts(&told), expected);
    // After an error, too.
    let failed = db.texts(&format!(
        "SELECT sum(resumed + finished), sum(gone) FROM perfmon.idle_in_transaction({WINDOW}) WHERE application = 'failed'"
    ));
    assert_eq!(failed, [texts(&["1", "1"])]);
}

/// What was over before a restart stays as it was; only what went on then ended with its session.
#[test]
fn a_restart_ends_only_the_pauses_that_went_on() {
    let server = Server::manual().conf("pg_perfmon.activity_interval = '200ms'").start();
    let mut db = app(&server);
    let paused = |user: &str| {
        let mut one = client(&server, user, "shop");
        one.run("BEGIN");
        one.run("SELECT v FROM t WHERE id = 1");
        one
    };
    let mut over = paused("web");
    let open_ms = |db: &mut Db| -> f64 {
        db.snapshot();
        db.val(&format!(
            "SELECT coalesce(max(open_ms), 0) FROM perfmon.idle_in_transaction({WINDOW})"
        ))
    };
    // Open at the ends of several intervals.
    for seconds in [1.0, 2.0, 3.0] {
        wait_until("it goes on", secs(20), || open_ms(&mut db) > seconds * 1000.0);
    }
    over.run("COMMIT");
    let open = paused("batch");
    let told = format!(
        "SELECT user_name, times, sessions, finished, gone, open FROM perfmon.idle_in_transaction({WINDOW}) ORDER BY 1"
    );
    let before =
        [texts(&["batch", "1", "1", "0", "0", "1"]), texts(&["web", "1", "1", "1", "0", "0"])];
    wait_until("one is over, and one goes on", secs(20), || {
        db.snapshot();
        db.texts(&told) == before
    });
    drop(db);
    server.restart();
    drop((over, open));
    let mut db = server.db("app");
    let after = [texts(&["batch", "1", "1", "0", "1", "0"]), before[1].clone()];
    assert_eq!(db.texts(&told), after);
    db.snapshot();
    assert_eq!(db.texts(&told), after);
}

const SELECT: &str = "SELECT v FROM t WHERE id = 1";

/// Ends the work of others when it goes, however that comes.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// While ten workers pause for 1.2 s inside each of their transactions.
fn among_workers(server: &Server, check: impl FnOnce()) {
    let mut workers: Vec<Db> = (0..10).map(|_| client(server, "web", "worker")).collect();
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let _over = Over(&over);
        for one in &mut workers {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    one.run("BEGIN");
                    one.run(SELECT);
                    thread::sleep(Duration::from_millis(1_200));
                    one.run("COMMIT");
                }
            });
        }
        check();
    });
}

fn begin(all: &mut [Db]) {
    for one in all {
        one.run("BEGIN");
        one.run(SELECT);
    }
}

fn told(db: &mut Db) -> Vec<Option<String>> {
    row(
        db,
        &format!(
            "SELECT meaning, open >= 2, finished >= 20, times = resumed + finished + gone + open
             FROM perfmon.idle_in_transaction({WINDOW}) WHERE application = 'worker'"
        ),
    )
}

/// Two of a program's sessions never come back; ten others do, from short pauses after the same statement.
#[test]
fn short_pauses_of_others_hide_no_leak() {
    let server = sampled().start();
    let mut db = app(&server);
    let mut left = [(); 2].map(|()| client(&server, "web", "worker"));
    begin(&mut left);
    among_workers(&server, || {
        wait_until("short pauses come to more time", secs(60), || {
            db.snapshot();
            db.val(&format!(
                "SELECT count(*) = 1 FROM perfmon.idle_in_transaction({WINDOW})
                 WHERE finished >= 30 AND longest_ms > 3500 AND idle_ms > open_ms * 2"
            ))
        });
        let finding = found(&mut db, "idle_transaction_leak");
        let title =
            "At least 2 sessions of worker (user web) in database app idle inside a transaction";
        assert!(finding.title.starts_with(title), "{}", finding.title);
        assert_eq!(told(&mut db), texts(&["leak", "t", "t", "t"]));
        drop(left);
        gone(&mut db, "idle_transaction_leak");
        // Rows of 0.11.0 and before do not say how long those were from which clients came back.
        db.run("UPDATE perfmon.idle_transaction SET longest_returned_us = NULL");
        assert_eq!(told(&mut db)[0].as_deref(), Some("slow client"));
    });
}

/// The same, but the two come back from their long pauses.
#[test]
fn who_comes_back_from_long_pauses_is_no_leak_among_short_ones() {
    let server = sampled().start();
    let mut db = app(&server);
    let mut patient = [(); 2].map(|()| client(&server, "web", "worker"));
    let long = |db: &mut Db| {
        wait_until("both idled for long", secs(30), || {
            db.val(
                "SELECT count(*) = 2 FROM pg_stat_activity WHERE application_name = 'worker'
                     AND state = 'idle in transaction' AND clock_timestamp() - state_change > interval '6 s'",
            )
        });
    };
    among_workers(&server, || {
        begin(&mut patient);
        long(&mut db);
        for one in &mut patient {
            one.run("COMMIT");
        }
        wait_until("that they came back is stored", secs(30), || {
            db.snapshot();
            db.val("SELECT coalesce(max(longest_returned_us), 0) > 3000000 FROM perfmon.idle_transaction")
        });
        begin(&mut patient);
        long(&mut db);
        let heads: Vec<String> =
            two_intervals(&mut db).iter().map(perfmon_e2e::Found::head).collect();
        assert!(!heads.iter().any(|head| head.contains("idle_transaction_leak")), "{heads:#?}");
        assert_eq!(told(&mut db), texts(&["slow client", "t", "t", "t"]));
    });
}
