//! How dense samples are, and how intervals of them are put into the steps of a series.

use std::thread;

use perfmon_e2e::{Db, code_of, secs, wait_until};

use super::{sampled, store};

/// At the shortest interval samples are that dense, and what they add up to is right.
#[test]
fn a_hundred_milliseconds_are_ten_samples_a_second() {
    let server = sampled().start();
    let mut db = server.new_db("app");
    db.run("CREATE ROLE idle LOGIN; CREATE ROLE busy LOGIN");
    let mut idle: Vec<Db> = (0..3).map(|_| server.connect("idle", "app")).collect();
    idle.iter_mut().for_each(|one| one.run("SELECT 1"));
    store(&mut db);
    let since: String = db.val("SELECT clock_timestamp()::text");
    let mut busy = server.connect("busy", "app");
    thread::scope(|scope| {
        let works = scope.spawn(|| busy.batch_execute("SELECT pg_sleep(300)"));
        // A busy machine delays some: ten in a row within little more than a second are looked for.
        wait_until("samples are a tenth of a second apart", secs(60), || {
            db.val(
                "SELECT count(*) > 0 FROM (
                     SELECT time, lag(time, 9) OVER (ORDER BY time) AS ninth
                     FROM perfmon.recent_activity('1 minute') WHERE user_name = 'busy') s
                 WHERE time - ninth BETWEEN interval '0.8 s' AND interval '1.1 s'",
            )
        });
        store(&mut db);
        db.run("SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE usename = 'busy'");
        assert_eq!(code_of(&works.join().unwrap().unwrap_err()), "57014");
    });
    store(&mut db);
    // No interval holds more than fit into it, and each of them found the three.
    let rows = db.rows(&format!(
        "SELECT p.length_ms, p.idle, p.open_samples, p.idle_peak, s.samples
         FROM perfmon.pool_history('{since}', clock_timestamp()) p
         JOIN perfmon.pool_minute s ON s.until = p.time_end
         WHERE p.user_name = 'idle' AND p.database_name = '' AND p.idle IS NOT NULL AND p.idle > 0"
    ));
    assert!(!rows.is_empty());
    for row in &rows {
        let (length_ms, sessions): (f64, i64) = (row.get(0), row.get(1));
        let (peak, samples): (i64, i64) = (row.get(3), row.get(4));
        assert!(samples as f64 <= length_ms / 100.0 + 3.0, "{samples} in {length_ms} ms");
        assert_eq!((sessions, peak), (3 * samples, 3));
    }
    let open: f64 = db.val(&format!(
        "SELECT open_avg FROM perfmon.pool_activity('{since}', clock_timestamp(), '1 day')
         WHERE level = 'user' AND user_name = 'idle'"
    ));
    assert!((open - 3.0).abs() < 0.001, "{open}");
}

/// Steps have the part of an interval that lies in them, and no step within one is empty.
#[test]
fn an_interval_is_in_all_the_steps_that_it_covers() {
    let server = sampled().start();
    let mut db = server.new_db("app");
    db.run("CREATE ROLE idle LOGIN; CREATE ROLE busy LOGIN");
    let _idle = server.connect("idle", "app");
    store(&mut db);
    let since: String =
        db.val("SELECT (date_trunc('second', clock_timestamp()) + interval '2 s')::text");
    let mut busy = server.connect("busy", "app");
    busy.run("SELECT pg_sleep(5)");
    db.snapshot();
    let until: String =
        db.val("SELECT date_trunc('second', max(until))::text FROM perfmon.pool_minute");
    let steps = db.rows(&format!(
        "SELECT extract(epoch FROM time - '{since}'::timestamptz)::int, open_avg, covered_ratio, samples
         FROM perfmon.pool_activity('{since}', '{until}', '1 s')
         WHERE level = 'user' AND user_name = 'idle' ORDER BY 1"
    ));
    let of = |step: &postgres::Row| -> (i32, f64, f64) { (step.get(0), step.get(1), step.get(2)) };
    let all: Vec<(i32, f64, f64)> = steps.iter().map(of).collect();
    let length: i32 = db.val(&format!(
        "SELECT extract(epoch FROM '{until}'::timestamptz - '{since}'::timestamptz)::int"
    ));
    assert!(length >= 2, "{length}");
    assert_eq!(
        all.iter().map(|one| one.0).collect::<Vec<i32>>(),
        (0..length).collect::<Vec<i32>>()
    );
    for (_, open, covered) in &all {
        assert!((open - 1.0).abs() < 0.01 && *covered > 0.99, "{all:?}");
    }
    // The same of what was done, and nothing is counted twice.
    let active: Vec<f64> = db.list(&format!(
        "SELECT sum(average_sessions) FROM perfmon.activity('{since}', '{until}', '1 s')
         WHERE wait_event = 'PgSleep' GROUP BY time ORDER BY time"
    ));
    assert_eq!(active.len(), usize::try_from(length).unwrap(), "{active:?}");
    assert!(active.iter().all(|one| *one > 0.0 && *one <= 1.001), "{active:?}");
}

/// A peak is of one moment: steps within an interval do not each have it.
#[test]
fn a_storm_within_an_interval_is_no_peak_of_each_of_its_steps() {
    let server = sampled().start();
    let mut db = server.new_db("app");
    db.run("CREATE ROLE idle LOGIN; CREATE ROLE web LOGIN");
    let _idle = server.connect("idle", "app");
    store(&mut db);
    let since: String =
        db.val("SELECT (date_trunc('second', clock_timestamp()) + interval '2 s')::text");
    db.run("SELECT pg_sleep(3)");
    let storm: Vec<Db> = (0..12).map(|_| server.connect("web", "app")).collect();
    wait_until("samples saw them", secs(30), || {
        db.val::<i64>("SELECT count(*) FROM pg_stat_activity WHERE usename = 'web'") == 12
    });
    db.run("SELECT pg_sleep(0.5)");
    drop(storm);
    db.run("SELECT pg_sleep(4)");
    db.snapshot();
    let until: String =
        db.val("SELECT date_trunc('second', max(until))::text FROM perfmon.pool_minute");
    let row = &db.rows(&format!(
        "SELECT count(*) > 4, bool_and(open_peak IS NULL), bool_and(open_min IS NULL), bool_and(open_avg >= 1)
         FROM perfmon.pool_activity('{since}', '{until}', '1 s') WHERE level = 'server'"
    ))[0];
    let all: Vec<bool> = (0..4).map(|at| row.get(at)).collect();
    assert_eq!(all, [true; 4]);
    // Of one who was there all the time every step knows.
    let calm: Vec<String> = db.list(&format!(
        "SELECT DISTINCT format('%s %s %s', open_min, open_avg, open_peak)
         FROM perfmon.pool_activity('{since}', '{until}', '1 s') WHERE level = 'user' AND user_name = 'idle'"
    ));
    assert_eq!(calm, ["1 1 1"]);
    let peak: i32 = db.val(&format!(
        "SELECT max(open_peak) FROM perfmon.pool_activity('{since}', clock_timestamp(), '1 day') WHERE user_name = 'web' AND level = 'user'"
    ));
    assert_eq!(peak, 12);
}

/// What came in a part of an interval whose peak is counted in the next step is no more than the peak of this one.
#[test]
fn no_step_has_more_on_average_than_at_its_peak() {
    let server = sampled().start();
    let mut db = server.new_db("app");
    db.run("CREATE ROLE web LOGIN");
    store(&mut db);
    let late = "SELECT pg_sleep(extract(epoch FROM date_trunc('second', clock_timestamp()) + interval '1.7 s' - clock_timestamp()))";
    let mut storm: Vec<Db> = Vec::new();
    let since: String =
        db.val("SELECT (date_trunc('second', clock_timestamp()) + interval '2 s')::text");
    for nth in 0..6 {
        db.run(late);
        db.snapshot();
        if nth == 3 {
            storm = (0..12).map(|_| server.connect("web", "app")).collect();
        }
    }
    drop(storm);
    let until: String =
        db.val("SELECT date_trunc('second', max(until))::text FROM perfmon.pool_minute");
    let row = &db.rows(&format!(
        "SELECT count(*) FILTER (WHERE open_avg > open_peak OR open_avg < open_min), count(*) FILTER (WHERE open_peak IS NULL), max(open_peak)
         FROM perfmon.pool_activity('{since}', '{until}', '1 s') WHERE level = 'server'"
    ))[0];
    let (beyond, unknown, most): (i64, i64, i32) = (row.get(0), row.get(1), row.get(2));
    assert_eq!((beyond, most), (0, 13));
    // On a busy machine a snapshot may take until the next second, where nothing is in two steps.
    assert!(unknown <= 3, "{unknown}");
}
