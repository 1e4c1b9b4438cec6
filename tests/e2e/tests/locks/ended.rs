//! What nobody looks at any more, and what holds nothing back.

use std::thread;

use perfmon_e2e::{Db, WINDOW, code_of, secs, wait_until};

use super::{app, client, sampled};

#[test]
fn what_nobody_looks_at_any_more_does_not_go_on() {
    let server = sampled().start();
    let mut db = app(&server);
    let mut holder = client(&server, "batch", "importer");
    holder.run("BEGIN");
    holder.run("UPDATE t SET v = 1 WHERE id = 1");
    let mut waiter = client(&server, "web", "shop");
    let open = |db: &mut Db| -> (i64, i64) {
        db.snapshot();
        let row = &db.rows(&format!(
            "SELECT (SELECT count(*) FROM perfmon.blocking({WINDOW}) WHERE ended IS NULL),
                 (SELECT coalesce(sum(open), 0)::bigint FROM perfmon.idle_in_transaction({WINDOW}))"
        ))[0];
        (row.get(0), row.get(1))
    };
    thread::scope(|scope| {
        scope.spawn(|| waiter.run("UPDATE t SET v = 2 WHERE id = 1"));
        wait_until("both are stored", secs(30), || open(&mut db) == (1, 1));
        db.run("ALTER SYSTEM SET pg_perfmon.activity_interval = 0");
        db.run("SELECT pg_reload_conf()");
        wait_until("neither is said to go on", secs(30), || open(&mut db) == (0, 0));
        // Whoever looks again sees that they do.
        db.run("ALTER SYSTEM RESET pg_perfmon.activity_interval");
        db.run("SELECT pg_reload_conf()");
        wait_until("both are seen again", secs(30), || open(&mut db) == (1, 1));
        holder.run("ROLLBACK");
    });
}

#[test]
fn a_vacuum_holds_nothing_back() {
    let server = sampled().start();
    let mut db = app(&server);
    db.run("CREATE TABLE big (id int, v text) WITH (autovacuum_enabled = off);
            INSERT INTO big SELECT i, repeat('x', 500) FROM generate_series(1, 20000) i; DELETE FROM big WHERE id % 2 = 0");
    let mut vacuum = server.db("app");
    vacuum.run("SET application_name = 'vacuumer'; SET vacuum_cost_delay = '100ms'; SET vacuum_cost_limit = 10");
    let pid = vacuum.pid();
    thread::scope(|scope| {
        let running = scope.spawn(move || vacuum.fails("VACUUM big"));
        wait_until("it has a snapshot", secs(30), || {
            db.val(&format!(
                "SELECT count(*) = 1 FROM pg_stat_activity a JOIN pg_stat_progress_vacuum USING (pid)
                 WHERE pid = {pid} AND a.backend_xmin IS NOT NULL"
            ))
        });
        let held: i64 =
            db.val("SELECT count(*) FROM perfmon.xmin_horizon() WHERE application = 'vacuumer'");
        let is_running: bool =
            db.val(&format!("SELECT count(*) = 1 FROM pg_stat_progress_vacuum WHERE pid = {pid}"));
        db.run(&format!("SELECT pg_cancel_backend({pid})"));
        drop(running.join().unwrap());
        assert!(is_running, "it ended while the list was made");
        assert_eq!(held, 0);
    });
}

#[test]
fn who_is_no_client_is_told_by_what_it_is() {
    let server =
        sampled().conf("autovacuum_naptime = '1s'").conf("deadlock_timeout = '5min'").start();
    // Of a database that is there from the start, autovacuum knows at once.
    let mut db = server.db("postgres");
    db.run(
        "CREATE EXTENSION pg_stat_statements; CREATE EXTENSION pg_perfmon;
         CREATE TABLE big WITH (autovacuum_vacuum_cost_delay = 100, autovacuum_vacuum_cost_limit = 1) AS
             SELECT g AS a, repeat('x', 200) AS b FROM generate_series(1, 20000) g;
         DELETE FROM big WHERE a % 2 = 0",
    );
    wait_until("autovacuum is at it", secs(120), || {
        db.val::<bool>(
            "SELECT EXISTS (SELECT FROM pg_stat_progress_vacuum p JOIN pg_stat_activity a USING (pid)
             WHERE p.relid = 'big'::regclass AND a.backend_type = 'autovacuum worker')",
        )
    });
    let mut waiter = server.db("postgres");
    let pid = waiter.pid();
    thread::scope(|scope| {
        let waits =
            scope.spawn(move || waiter.fails("BEGIN; LOCK TABLE big IN ACCESS EXCLUSIVE MODE"));
        let told = format!(
            "SELECT concat_ws(', ', blocker_application, blocker_user_name, head_application, head_user_name)
             FROM perfmon.blocking_now() WHERE process_id = {pid}"
        );
        let mut found = Vec::new();
        wait_until("it waits", secs(30), || {
            found = db.list::<String>(&told);
            !found.is_empty()
        });
        db.run(&format!("SELECT pg_cancel_backend({pid})"));
        assert_eq!(code_of(&waits.join().unwrap()), "57014");
        assert_eq!(found, ["autovacuum worker, autovacuum worker"]);
    });
}
