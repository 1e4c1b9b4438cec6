//! Pauses inside transactions: how long they were, however they ended.

use std::thread;
use std::time::{Duration, Instant};

use perfmon_e2e::{Db, Server, WINDOW, secs, wait_until};

use super::{app, client, row};

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
    wait_until("all are stored", secs(20), || of(&mut db, "times") == "12");
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
