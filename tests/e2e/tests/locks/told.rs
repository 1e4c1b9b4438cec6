//! What is told of waits: where which names are known, what a prepared transaction is called, and of a crowd a part.

use std::thread;

use perfmon_e2e::{Db, WINDOW, code_of, secs, wait_until};

use super::{app, client, found, live, sampled, texts, two_intervals};

#[test]
fn each_database_names_its_own_locks() {
    let server = sampled().start();
    let mut home = app(&server);
    let mut there = server.new_db("billing");
    there.run("CREATE TABLE bill (id int PRIMARY KEY, v int); INSERT INTO bill VALUES (1, 0)");
    there.snapshot();
    there.snapshot();
    let update = "UPDATE bill SET v = 1 WHERE id = 1";
    let queryid = there.queryid_of(update);
    let mut holder = server.db("billing");
    holder.run("BEGIN");
    holder.run("UPDATE bill SET v = 7 WHERE id = 1");
    let mut waiter = server.db("billing");
    waiter.run("SET application_name = 'shop'; SET lock_timeout = '45s'");
    // Somebody of another database waits at the same time.
    let mut other_holder = client(&server, "batch", "importer");
    other_holder.run("BEGIN");
    other_holder.run("LOCK TABLE t");
    let mut other = client(&server, "web", "shop");
    thread::scope(|scope| {
        let waits = scope.spawn(|| waiter.run(update));
        let others = scope.spawn(|| other.run("SELECT count(*) FROM t"));
        wait_until("both wait for long", secs(30), || {
            home.val(
                "SELECT count(DISTINCT process_id) = 2 FROM perfmon.blocking_now() WHERE waited_ms > 2500",
            )
        });
        let findings = two_intervals(&mut home);
        let billing =
            findings.iter().find(|f| f.kind == "lock_chain" && f.object == "database billing");
        let billing = billing.unwrap_or_else(|| panic!("{findings:?}"));
        let remedy: String = home.val(
            "SELECT remedy FROM perfmon.findings WHERE kind = 'lock_chain' AND object = 'database billing'",
        );
        assert!(
            remedy.contains("In database billing, if pg_perfmon is installed there"),
            "{remedy} {billing:?}"
        );
        holder.run("ROLLBACK");
        other_holder.run("ROLLBACK");
        waits.join().unwrap();
        others.join().unwrap();
    });
    let of = |db: &mut Db| {
        db.texts(&format!(
            "SELECT DISTINCT database_name, relation_name, queryid, query FROM perfmon.blocking({WINDOW})
             WHERE application = 'shop' ORDER BY 1"
        ))
    };
    wait_until("all is stored", secs(30), || {
        there.snapshot();
        there.val(&format!(
            "SELECT count(*) > 0 FROM perfmon.blocking({WINDOW})
             WHERE application = 'shop' AND ended IS NOT NULL"
        ))
    });
    let masked = "UPDATE bill SET v = $1 WHERE id = $2";
    assert_eq!(of(&mut there), [texts(&["billing", "public.bill", &queryid.to_string(), masked])]);
    home.snapshot();
    let at_home = of(&mut home);
    assert_eq!(at_home.len(), 2, "{at_home:?}");
    assert_eq!(at_home[0][1].as_deref(), Some("public.t"));
    assert_eq!(at_home[1][..2], [Some("billing".to_owned()), None]);
    // Idle times are a matter of the home database alone.
    let refused = there.fails("SELECT * FROM perfmon.idle_in_transaction()");
    assert_eq!(code_of(&refused), "55000");
}

#[test]
fn a_prepared_transaction_in_the_way_is_named() {
    let server = sampled().start();
    let mut db = app(&server);
    let mut manager = client(&server, "batch", "");
    manager.run("BEGIN");
    manager.run("UPDATE t SET v = 1 WHERE id = 1");
    manager.run("PREPARE TRANSACTION 'order-17'");
    // Another one, in nobody's way, though it keeps a lock on the same table.
    manager.run("BEGIN");
    manager.run("UPDATE t SET v = 1 WHERE id = 3");
    manager.run("PREPARE TRANSACTION 'order-16'");
    drop(manager);
    let mut second = client(&server, "web", "shop");
    let mut third = client(&server, "web", "shop");
    let pids = [&mut second, &mut third].map(|one| one.pid().to_string());
    second.run("BEGIN");
    second.run("UPDATE t SET v = 2 WHERE id = 2");
    thread::scope(|scope| {
        let waits = scope.spawn(move || {
            second.run("UPDATE t SET v = 2 WHERE id = 1");
            second
        });
        wait_until("the second waits", secs(20), || live(&mut db) == 1);
        let behind = scope.spawn(|| third.run("UPDATE t SET v = 3 WHERE id = 2"));
        wait_until("the third waits long enough", secs(30), || {
            db.val(
                "SELECT count(DISTINCT process_id) = 2 FROM perfmon.blocking_now() WHERE waited_ms > 2500",
            )
        });
        let now = db.texts(
            "SELECT process_id, blocker_process_id, blocker_gid, blocker_user_name, blocker_state, head_process_id,
                 head_gid, head_user_name, head_state, head_transaction_ms > 0, chain_depth
             FROM perfmon.blocking_now() ORDER BY chain_depth",
        );
        let mut first = texts(&[
            &pids[0], "", "order-17", "batch", "prepared", "", "order-17", "batch", "prepared",
            "t", "1",
        ]);
        (first[1], first[5]) = (None, None);
        let mut behind_it = texts(&[
            &pids[1], &pids[0], "", "web", "active", "", "order-17", "batch", "prepared", "t", "2",
        ]);
        (behind_it[2], behind_it[5]) = (None, None);
        assert_eq!(now, [first, behind_it]);
        let finding = found(&mut db, "lock_chain");
        let head = "the prepared transaction order-17 of user batch in database app holds";
        assert!(finding.title.ends_with(head), "{}", finding.title);
        db.run("COMMIT PREPARED 'order-17'");
        let mut second = waits.join().unwrap();
        second.run("ROLLBACK");
        behind.join().unwrap();
    });
    // What it was called is kept when it is no more.
    wait_until("the end is stored", secs(30), || {
        db.snapshot();
        db.val(&format!(
            "SELECT count(*) >= 2 AND count(ended) = count(*) FROM perfmon.blocking({WINDOW})"
        ))
    });
    let kept = db.texts(&format!(
        "SELECT DISTINCT blocker_process_id, blocker_gid, blocker_user_name, blocker_state, head_gid, head_user_name
         FROM perfmon.blocking({WINDOW}) WHERE process_id = {} AND held_mode IS NOT NULL",
        pids[0]
    ));
    let mut expected = texts(&["", "order-17", "batch", "prepared", "order-17", "batch"]);
    expected[0] = None;
    assert_eq!(kept, [expected]);
    let report: String = db.val(&format!("SELECT perfmon.report({WINDOW})"));
    assert!(report.contains("the prepared transaction order-17 of user batch"), "{report}");
    db.run("ROLLBACK PREPARED 'order-16'");
}

/// A crowd in one queue: those that wait longest are told, each with who holds the lock and who is right before it.
#[test]
fn a_crowd_that_waits_is_told_in_part() {
    const CROWD: usize = 200;
    let server = sampled().conf("max_connections = 230").start();
    let mut db = app(&server);
    let mut holder = client(&server, "batch", "importer");
    holder.run("BEGIN");
    holder.run("UPDATE t SET v = 1 WHERE id = 1");
    let mut crowd: Vec<Db> = (0..CROWD).map(|_| server.connect("web", "app")).collect();
    thread::scope(|scope| {
        for one in &mut crowd {
            scope.spawn(|| one.run("UPDATE t SET v = 2 WHERE id = 1"));
        }
        wait_until("all of them wait", secs(60), || {
            db.val::<i64>("SELECT count(*) FROM pg_locks WHERE NOT granted")
                == i64::try_from(CROWD).unwrap()
        });
        db.sampled_intervals(2, 10);
        holder.run("ROLLBACK");
    });
    let told: String =
        db.val("SELECT value FROM perfmon.status() WHERE item = 'samples of activity'");
    println!("{CROWD} sessions wait: {told}");
    let (sessions, rows, depth): (i64, i64, i32) = {
        let row = &db.rows(&format!(
            "SELECT count(DISTINCT process_id), max(rows), max(depth) FROM (
                 SELECT process_id, count(*) AS rows, max(chain_depth) AS depth
                 FROM perfmon.blocking({WINDOW}) GROUP BY process_id, time) s"
        ))[0];
        (row.get(0), row.get(1), row.get(2))
    };
    assert!((64..=128).contains(&sessions), "{sessions}");
    println!("{sessions} sessions, up to {rows} rows for one, chains of up to {depth}");
    assert!(rows <= 4, "{rows}");
    let (mut reader, said) = server.noticing("app");
    reader.run(&format!("SELECT count(*) FROM perfmon.blocking({WINDOW})"));
    let notices = said.lock().unwrap().join(" ");
    let wanted =
        format!("up to {CROWD} sessions waited for locks at a time, not all of which are shown");
    assert!(notices.contains(&wanted), "{notices}");
    // Before there was a crowd nothing is left out.
    said.lock().unwrap().clear();
    reader.run("SELECT count(*) FROM perfmon.blocking(now() - interval '3 hours', now() - interval '2 hours')");
    assert!(!said.lock().unwrap().concat().contains("at a time"), "{said:?}");
}

#[test]
fn what_never_ran_to_its_end_has_no_text_and_shows_no_constant() {
    let server = sampled().start();
    let mut db = app(&server);
    let mut holder = client(&server, "batch", "importer");
    holder.run("BEGIN");
    holder.run("UPDATE t SET v = 7 WHERE id = 1");
    let mut waiter = client(&server, "web", "shop");
    waiter.run("SET lock_timeout = '1500ms'");
    let update = "UPDATE t SET v = 4711 WHERE id = 1 AND v::text <> 'secret'";
    assert_eq!(code_of(&waiter.fails(update)), "55P03");
    let of_waits = format!(
        "SELECT DISTINCT queryid IS NOT NULL, query FROM perfmon.blocking({WINDOW})
         WHERE application = 'shop' AND ended IS NOT NULL"
    );
    wait_until("the wait is stored", secs(30), || {
        db.snapshot();
        !db.texts(&of_waits).is_empty()
    });
    let unnamed = [vec![Some("t".to_owned()), None]];
    assert_eq!(db.texts(&of_waits), unnamed);
    // As the manual tells how to find it: the server's log has the statement, with its queryid where that is asked for.
    let of_errors = format!(
        "SELECT s.queryid IS NOT NULL, coalesce(e.query, s.query, s.note)
         FROM perfmon.errors({WINDOW}) e JOIN perfmon.statement s USING (statement_id)
         WHERE e.sqlstate = '55P03'"
    );
    assert_eq!(db.texts(&of_errors), unnamed);
    let kept = "SELECT count(*) FROM perfmon.statement s WHERE s::text ~ '4711|secret'";
    assert_eq!(db.val::<i64>(kept), 0);
    // The server's own text is there, as soon as it has one.
    holder.run("ROLLBACK");
    waiter.run(update);
    let masked = "UPDATE t SET v = $1 WHERE id = $2 AND v::text <> $3";
    wait_until("the server knows it", secs(30), || {
        db.snapshot();
        db.texts(&of_waits) == [texts(&["t", masked])]
    });
    assert_eq!(db.texts(&of_errors), [texts(&["t", masked])]);
    assert_eq!(db.val::<i64>(kept), 0);
}

#[test]
fn a_transaction_that_ended_between_two_evaluations_is_told_by_the_next() {
    let server = sampled().conf("pg_perfmon.evaluation_interval = '1min'").start();
    let mut db = app(&server);
    db.evaluate();
    let mut worker = client(&server, "batch", "importer");
    worker.run("SELECT pg_sleep(6)");
    let told = "SELECT count(*) = 1 FROM perfmon.findings
         WHERE kind = 'long_transaction' AND title LIKE 'A transaction of importer (user batch) in database app was at work for %it is over'";
    wait_until("an evaluation on schedule tells it", secs(200), || {
        db.run("SELECT pg_sleep(1)");
        db.snapshot();
        db.val(told)
    });
}

#[test]
fn transactions_left_open_end_with_a_crash() {
    let server = sampled().start();
    let mut db = app(&server);
    let select = "SELECT v FROM t WHERE id = 1";
    let mut leaks: Vec<Db> = (0..3).map(|_| client(&server, "web", "shop")).collect();
    for one in &mut leaks {
        one.run("BEGIN");
        one.run(select);
    }
    wait_until("the leak is found", secs(60), || {
        two_intervals(&mut db).iter().any(|one| one.kind == "idle_transaction_leak")
    });
    let pid = leaks[0].pid();
    drop(db);
    server.kill_9(pid);
    server.wait_ready();
    let mut db = server.db("app");
    let told = format!(
        "SELECT meaning, open, gone FROM perfmon.idle_in_transaction({WINDOW}) WHERE user_name = 'web'"
    );
    wait_until("they are told as gone", secs(30), || {
        db.snapshot();
        db.texts(&told) == [texts(&["leak", "0", "3"])]
    });
    let heads: Vec<String> = db.evaluate().iter().map(perfmon_e2e::Found::head).collect();
    assert!(!heads.iter().any(|head| head.contains("idle_transaction_leak")), "{heads:?}");
}

#[test]
fn of_execute_the_statement_that_was_prepared_is_shown() {
    let server = sampled().start();
    let mut db = app(&server);
    let mut waiter = client(&server, "web", "shop");
    waiter.run("SET lock_timeout = '45s'");
    waiter.run("PREPARE change (int) AS UPDATE t SET v = $1 WHERE id = 1");
    waiter.run("EXECUTE change (5)");
    let mut holder = client(&server, "batch", "importer");
    holder.run("PREPARE import (int) AS UPDATE t SET v = v + $1 WHERE id = 1");
    holder.run("BEGIN");
    holder.run("EXECUTE import (6)");
    let known = "SELECT count(*) FROM perfmon.statement WHERE query ~ 'AS UPDATE t SET v'";
    wait_until("the history has both texts", secs(60), || {
        db.snapshot();
        db.val::<i64>(known) >= 2
    });
    thread::scope(|scope| {
        scope.spawn(|| waiter.run("EXECUTE change (7)"));
        let now = "SELECT query, blocker_query, head_query FROM perfmon.blocking_now()";
        wait_until("somebody waits", secs(30), || !db.texts(now).is_empty());
        let (change, import) = (
            "PREPARE change (int) AS UPDATE t SET v = $1 WHERE id = $2",
            "PREPARE import (int) AS UPDATE t SET v = v + $1 WHERE id = $2",
        );
        assert_eq!(db.texts(now), [texts(&[change, import, import])]);
        let long =
            "SELECT query FROM perfmon.long_transactions('0') WHERE application = 'importer'";
        assert_eq!(db.texts(long), [texts(&[import])]);
        holder.run("ROLLBACK");
    });
}
