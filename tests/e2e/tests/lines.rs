//! Many sessions that wait for one lock, and whose statements sessions run: what real clients do against what is told.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

use std::thread;

use perfmon_e2e::{Db, Programs, Server, Stop, WINDOW, code_of, secs, wait_for, wait_until};

const WAITERS: usize = 60;

fn app(server: &Server) -> Db {
    let mut db = server.new_db("app");
    db.run("CREATE TABLE lane (id int); CREATE TABLE t (id int PRIMARY KEY, v int)");
    db.run("INSERT INTO t VALUES (1, 0), (2, 0)");
    db.snapshot();
    db.snapshot();
    db.set_thresholds(&[("lock_wait_seconds", 2.0)]);
    db
}

fn sampled() -> Server {
    let server = Server::manual().conf("pg_perfmon.activity_interval = '100ms'");
    server.conf("max_connections = 100").start()
}

/// What the last judgement says of chains.
#[track_caller]
fn chain(db: &mut Db) -> String {
    let found = db.evaluate().into_iter().find(|one| one.kind == "lock_chain");
    found.expect("lock_chain").title
}

#[test]
fn a_long_line_is_told_whole_and_ends() {
    let server = sampled();
    let mut db = app(&server);
    let mut holder = server.db("app");
    holder.run("SET application_name = 'holder'; BEGIN; LOCK TABLE lane");
    let head = holder.pid();
    let mut waiters: Vec<Db> = (0..WAITERS).map(|_| server.db("app")).collect();
    for one in &mut waiters {
        // Whoever waits in vain when a test fails is let go.
        one.run("SET application_name = 'line'; SET lock_timeout = '3min'");
    }
    thread::scope(|scope| {
        for one in &mut waiters {
            scope.spawn(move || one.run("BEGIN; LOCK TABLE lane; COMMIT"));
        }
        wait_until("all stand in line", secs(60), || {
            db.val(&format!(
                "SELECT count(*) = {WAITERS} FROM pg_locks WHERE relation = 'lane'::regclass AND NOT granted"
            ))
        });
        // Each waits for the holder and for all in front, which are many pairs, and few ways to the holder.
        let mut live = server.db("app");
        live.run("SET statement_timeout = '20s'; SET temp_file_limit = '1MB'");
        let now = live.texts(
            "SELECT count(*), count(DISTINCT process_id), min(head_process_id), max(head_process_id),
                 min(chain_depth), max(chain_depth) FROM perfmon.blocking_now()",
        );
        let pairs = WAITERS + WAITERS * (WAITERS - 1) / 2;
        let expected = [pairs.to_string(), WAITERS.to_string(), head.to_string(), head.to_string()];
        assert_eq!(now[0][..4], expected.map(Some));
        assert_eq!(now[0][4..], ["1", "2"].map(|depth| Some(depth.to_owned())));
        let behind: i64 = live.val(&format!(
            "SELECT sessions_waiting FROM perfmon.long_transactions('0 s') WHERE process_id = {head}"
        ));
        assert_eq!(behind, WAITERS as i64);
        wait_until("all have waited for long", secs(60), || {
            db.snapshot();
            db.val(&format!(
                "SELECT count(DISTINCT process_id) = {WAITERS} FROM perfmon.blocking({WINDOW})
                 WHERE application = 'line' AND waited_ms > 2000 AND ended IS NULL AND head_process_id = {head}"
            ))
        });
        let rows: i64 = db.val(&format!("SELECT count(*) FROM perfmon.blocking({WINDOW})"));
        assert_eq!(rows, WAITERS as i64, "a row for each, of who holds the lock");
        let title = chain(&mut db);
        assert!(title.starts_with("60 sessions wait up to "), "{title}");
        assert!(title.contains(&format!("process {head} of holder")), "{title}");
        holder.run("COMMIT");
    });
    wait_until("nobody waits any more", secs(60), || {
        db.snapshot();
        db.val(&format!("SELECT count(*) = count(ended) FROM perfmon.blocking({WINDOW})"))
    });
    let title = chain(&mut db);
    assert!(title.starts_with("60 sessions waited up to "), "{title}");
    let report: String = db.val(&format!("SELECT perfmon.report({WINDOW})"));
    assert!(report.contains("60 sessions waited up to "), "{report}");
    assert!(!report.contains(&format!("end process {head}")), "{report}");
}

#[test]
fn a_wait_whose_end_nobody_saw_is_over() {
    let server = sampled();
    let mut db = app(&server);
    let mut holder = server.db("app");
    holder.run("BEGIN; LOCK TABLE lane");
    let mut waiter = server.db("app");
    waiter.run("SET lock_timeout = '3min'");
    // Others may come to wait for a moment, autovacuum for one.
    let pid = waiter.pid();
    thread::scope(|scope| {
        let waits = scope.spawn(|| waiter.run("SELECT count(*) FROM lane"));
        wait_until("the wait is stored", secs(60), || {
            db.snapshot();
            db.val(&format!(
                "SELECT count(*) = 1 FROM perfmon.blocking({WINDOW}) WHERE process_id = {pid}"
            ))
        });
        // As if it had been stored before too many others came, and ended meanwhile.
        db.run(&format!(
            "INSERT INTO perfmon.lock_wait
             SELECT (jsonb_populate_record(w, '{{\"process_id\": 1}}')).* FROM perfmon.lock_wait w
             WHERE w.process_id = {pid}",
        ));
        db.snapshot();
        let open = db.texts(&format!(
            "SELECT process_id = 1, ended IS NULL, waited_ms > 0 FROM perfmon.blocking({WINDOW})
             WHERE process_id IN (1, {pid}) ORDER BY 1"
        ));
        let told = |one: [&str; 3]| one.map(|value| Some(value.to_owned())).to_vec();
        assert_eq!(open, [told(["f", "t", "t"]), told(["t", "f", "t"])]);
        holder.run("ROLLBACK");
        waits.join().unwrap();
    });
}

#[test]
fn statements_under_another_role_are_known() {
    let server = sampled();
    let mut db = app(&server);
    db.run(
        "CREATE ROLE cart; CREATE ROLE other LOGIN; CREATE ROLE auth LOGIN NOINHERIT; GRANT cart TO auth;
         GRANT ALL ON t TO cart, other",
    );
    let update = "UPDATE t SET v = v + 1 WHERE id = 1";
    let masked = "UPDATE t SET v = v + $1 WHERE id = $2";
    let [mut holder, mut waiter] = [(); 2].map(|()| server.connect("auth", "app"));
    for one in [&mut holder, &mut waiter] {
        one.run("SET lock_timeout = '3min'; SET ROLE cart; UPDATE t SET v = v + 1 WHERE id = 2");
    }
    db.snapshot_with_texts(secs(60));
    holder.run("BEGIN");
    holder.run(update);
    thread::scope(|scope| {
        let waits = scope.spawn(|| waiter.run(update));
        wait_until("the wait is stored", secs(60), || {
            db.snapshot();
            db.val(&format!("SELECT count(*) > 0 FROM perfmon.blocking({WINDOW})"))
        });
        holder.run("ROLLBACK");
        waits.join().unwrap();
    });
    db.snapshot_with_texts(secs(60));
    let of_cart: i32 = db.val(&format!(
        "SELECT statement_id FROM perfmon.statement WHERE user_name = 'cart' AND query = '{masked}'"
    ));
    let blocking = format!(
        "SELECT DISTINCT user_name, statement_id, query, head_statement_id, head_query
         FROM perfmon.blocking({WINDOW})"
    );
    let id = of_cart.to_string();
    let known = |id: Option<&str>| {
        vec![
            vec![Some("auth"), id, Some(masked), id, Some(masked)]
                .into_iter()
                .map(|value| value.map(str::to_owned))
                .collect::<Vec<_>>(),
        ]
    };
    assert_eq!(db.texts(&blocking), known(Some(&id)));
    let recent: i64 = db.val(&format!(
        "SELECT count(*) FROM perfmon.recent_activity() WHERE user_name = 'auth' AND query = '{masked}'
             AND statement_id = {id}"
    ));
    assert!(recent > 0);
    // Where several users run it, the text is the same, and whose it was is not known.
    server.connect("other", "app").run("UPDATE t SET v = v + 1 WHERE id = 2");
    db.snapshot_with_texts(secs(60));
    assert_eq!(db.texts(&blocking), known(None));
}

#[test]
fn both_sides_of_a_deadlock_are_who_logged_in() {
    let server = sampled();
    let mut db = app(&server);
    db.run("CREATE ROLE cart; CREATE ROLE auth LOGIN; GRANT cart TO auth; GRANT ALL ON t TO cart");
    let mut sides = [(); 2].map(|()| server.connect("auth", "app"));
    for (side, own) in sides.iter_mut().zip([1, 2]) {
        side.run("SET ROLE cart; BEGIN");
        side.run(&format!("UPDATE t SET v = v + 1 WHERE id = {own}"));
    }
    let failed: Vec<String> = thread::scope(|scope| {
        let both = sides.iter_mut().zip([2, 1]).map(|(side, other)| {
            let sql = format!("UPDATE t SET v = v + 1 WHERE id = {other}");
            scope.spawn(move || side.batch_execute(&sql).err().map(|error| code_of(&error)))
        });
        let both: Vec<_> = both.collect();
        both.into_iter().filter_map(|one| one.join().unwrap()).collect()
    });
    assert_eq!(failed, ["40P01"]);
    wait_until("it is stored", secs(60), || {
        db.snapshot_with_texts(secs(60));
        db.val(&format!("SELECT count(*) = 2 FROM perfmon.deadlocks({WINDOW})"))
    });
    let who =
        db.texts(&format!("SELECT DISTINCT user_name, query FROM perfmon.deadlocks({WINDOW})"));
    let expected = ["auth", "UPDATE t SET v = v + $1 WHERE id = $2"];
    assert_eq!(who, [expected.map(|value| Some(value.to_owned())).to_vec()]);
}

#[test]
fn why_a_statement_that_only_failed_has_no_text_is_said() {
    let server = sampled();
    let mut db = app(&server);
    let texts = "SELECT value FROM perfmon.status() WHERE item = 'statement texts'";
    let error = server.db("app").fails("SELECT v / 0 FROM t WHERE id = 1");
    assert_eq!(code_of(&error), "22012");
    let told = wait_for("it is stored", secs(60), || {
        db.snapshot();
        Some(db.val::<String>(texts)).filter(|told| told.contains("1 missing"))
    });
    assert!(told.contains("of statements that only failed"), "{told}");
    assert!(told.contains("the server's log has those"), "{told}");
}

#[test]
fn errors_of_the_server_keep_their_own_detail() {
    let server = Server::unloaded().start();
    let mut db = server.new_db("app");
    db.run(
        "CREATE ROLE nobody LOGIN; GRANT USAGE ON SCHEMA perfmon TO nobody;
         GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA perfmon TO nobody",
    );
    drop(db);
    server.stop(Stop::Fast);
    // As a service may have it that is written in Rust, too.
    let (data, log) = (server.data().to_str().unwrap(), server.log_path());
    let args = ["-D", data, "-l", log.to_str().unwrap(), "-w", "-t", "60", "start"];
    let started =
        Programs::new().command("pg_ctl").env("RUST_BACKTRACE", "1").args(args).status().unwrap();
    assert!(started.success());
    let error = server.connect("nobody", "app").fails("SELECT * FROM perfmon.thresholds()");
    let told = error.as_db_error().expect("the server's word");
    assert_eq!((code_of(&error).as_str(), told.detail()), ("42501", None));
    assert!(told.message().starts_with("permission denied for"), "{}", told.message());
}
