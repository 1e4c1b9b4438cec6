//! Pauses inside transactions: how long they were, however they ended.

use std::thread;
use std::time::{Duration, Instant};

use perfmon_e2e::{Db, Server, WINDOW, secs, wait_until};

use super::{app, client, row, texts};

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
                 AND clock_timestamp() - state_change > interval '3.5 s'",
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
