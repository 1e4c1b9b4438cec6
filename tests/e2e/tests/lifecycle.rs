//! A finding's life: opened, kept, resolved, opened again; the same tomorrow, and seen by those who may see it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

use perfmon_e2e::schemas::limits;
use perfmon_e2e::{Db, Found, Server, code_of, never, secs, wait_until};

/// A database in which one index is there twice, and judged nothing yet.
fn prepared(server: &Server) -> Db {
    let mut db = server.new_db("app");
    db.run(
        "CREATE TABLE t (a int PRIMARY KEY, b int); INSERT INTO t SELECT n, n FROM generate_series(1, 3000) n;
         CREATE INDEX one ON t (b); CREATE INDEX two ON t (b)",
    );
    db.run("VACUUM ANALYZE t");
    db.set_thresholds(limits::SHORT_HISTORY);
    db.set_thresholds(limits::SMALL_TABLES);
    db.snapshot();
    db.run("SELECT a FROM t WHERE b = 7");
    db.flush();
    db.snapshot();
    db
}

fn twice(found: Vec<Found>) -> Vec<Found> {
    found.into_iter().filter(|f| f.kind == "duplicate_index").collect()
}

#[test]
fn opened_kept_resolved_and_opened_again() {
    let server = Server::manual().start();
    let mut db = prepared(&server);
    assert!(db.findings().is_empty(), "nothing is found before anybody judges");

    let opened = twice(db.evaluate());
    let [first] = &opened[..] else { panic!("{opened:?}") };
    assert!(["public.one", "public.two"].contains(&first.object.as_str()), "{first:?}");
    let again = twice(db.evaluate());
    let [same] = &again[..] else { panic!("{again:?}") };
    assert_eq!((same.id, &same.opened_at), (first.id, &first.opened_at));
    assert!(same.last_seen > first.last_seen, "who asks sees the numbers of now: {same:?}");

    // Over a restart, with another session, it is the same.
    drop(db);
    server.restart();
    let mut db = server.db("app");
    db.snapshot();
    db.snapshot();
    let still = twice(db.evaluate());
    assert_eq!((still[0].id, &still[0].opened_at), (first.id, &first.opened_at));

    // An hour later it is written that it still stands. The clock cannot be moved, so the row is made older.
    db.run("UPDATE perfmon.finding SET last_seen = last_seen - interval '2 hours', opened_at = opened_at - interval '2 hours'");
    let older = twice(db.findings());
    let later = twice(db.evaluate());
    assert_eq!(later[0].opened_at, older[0].opened_at);
    assert!(later[0].last_seen > older[0].last_seen, "{later:?}");

    let name = first.object.clone();
    db.run(&format!("DROP INDEX {name}"));
    assert!(twice(db.evaluate()).is_empty());
    let history = twice(db.finding_history());
    assert_eq!(history.len(), 1, "{history:?}");
    assert!(history[0].resolved_at.is_some() && history[0].id == first.id, "{history:?}");

    // The same problem is the same finding. Back within the hour, it was never really gone.
    let again = format!("CREATE INDEX {} ON t (b)", name.trim_start_matches("public."));
    db.run(&again);
    let reopened = twice(db.evaluate());
    assert_eq!(reopened.iter().map(|f| f.id).collect::<Vec<_>>(), [first.id]);
    assert_eq!(reopened[0].opened_at, later[0].opened_at);
    assert_eq!(twice(db.finding_history()).len(), 1);

    // Later, it is in a life of its own.
    db.run(&format!("DROP INDEX {name}"));
    assert!(twice(db.evaluate()).is_empty());
    db.run("UPDATE perfmon.finding SET resolved_at = resolved_at - interval '90 minutes' WHERE kind = 'duplicate_index'");
    db.run(&again);
    let reopened = twice(db.evaluate());
    assert_eq!(reopened.iter().map(|f| f.id).collect::<Vec<_>>(), [first.id]);
    assert!(reopened[0].opened_at > later[0].opened_at);
    let history = twice(db.finding_history());
    assert_eq!(history.len(), 2, "{history:?}");
    assert_eq!(history.iter().filter(|f| f.resolved_at.is_none()).count(), 1);
}

#[test]
fn a_threshold_decides() {
    let server = Server::manual().start();
    let mut db = prepared(&server);
    let row = db
        .rows("SELECT name, value, default_value, is_set FROM perfmon.thresholds() ORDER BY name");
    assert!(row.len() > 10, "{}", row.len());
    // Numbers to one side of any threshold: what is found changes, and what is said about it with it.
    let name = "slow_statement_mean_ms";
    for _ in 0..8 {
        db.run("SELECT pg_sleep(0.03)");
    }
    db.snapshot();
    let slow = |found: Vec<Found>| found.into_iter().filter(|f| f.kind == "slow_statement").count();
    assert_eq!(slow(db.evaluate()), 0);
    db.set_thresholds(&[(name, 20.0)]);
    let found: Vec<Found> =
        db.evaluate().into_iter().filter(|f| f.kind == "slow_statement").collect();
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].evidence.contains("\"threshold\": 20"), "{}", found[0].evidence);
    db.run(&format!("SELECT perfmon.set_threshold('{name}', NULL)"));
    assert_eq!(slow(db.evaluate()), 0);
    assert_eq!(code_of(&db.fails("SELECT perfmon.set_threshold('no_such', 1)")), "22023");
    assert_eq!(code_of(&db.fails(&format!("SELECT perfmon.set_threshold('{name}', -1)"))), "22023");
}

#[test]
fn readers_see_findings_without_statements_and_others_nothing() {
    let server = Server::manual().start();
    let mut db = prepared(&server);
    db.run(
        "CREATE ROLE nobody LOGIN; CREATE ROLE reader LOGIN; CREATE ROLE monitor LOGIN;
         GRANT pg_monitor TO monitor; SELECT perfmon.grant_reader('reader')",
    );
    let all = twice(db.evaluate());
    assert!(all[0].statement.as_deref().is_some_and(|s| s.contains("DROP INDEX")), "{all:?}");
    let mut monitor = server.connect("monitor", "app");
    assert_eq!(twice(monitor.findings()), all);

    let mut reader = server.connect("reader", "app");
    let seen = twice(reader.findings());
    assert_eq!(seen.len(), 1);
    assert_eq!((&seen[0].title, seen[0].id), (&all[0].title, all[0].id));
    for one in reader.findings().iter().chain(&reader.finding_history()) {
        let shown = one.statement.as_deref().unwrap_or("<insufficient privilege>");
        assert_eq!(shown, "<insufficient privilege>", "{one:?}");
    }
    for sql in [
        "SELECT * FROM perfmon.finding",
        "SELECT perfmon.set_threshold('slow_statement_mean_ms', 1)",
    ] {
        assert_eq!(code_of(&reader.fails(sql)), "42501", "{sql}");
    }
    let mut nobody = server.connect("nobody", "app");
    for sql in [
        "SELECT * FROM perfmon.findings",
        "SELECT * FROM perfmon.finding_history()",
        "SELECT * FROM perfmon.thresholds()",
        "SELECT * FROM perfmon.seq_scans()",
        "SELECT * FROM perfmon.slow_statements()",
        "SELECT * FROM perfmon.rewrite_hints()",
        "SELECT perfmon.evaluate()",
        "SELECT perfmon.set_threshold('slow_statement_mean_ms', 1)",
    ] {
        assert_eq!(code_of(&nobody.fails(sql)), "42501", "{sql}");
    }
}

/// However often they do, whoever else evaluates meanwhile, and whether the launcher is another one.
#[test]
fn that_evaluations_fail_is_told_once() {
    const FAILS: &str = "could not evaluate the findings";
    let server = Server::builder().start();
    let mut db = server.new_db("app");
    // The first visits make tables meanwhile: whoever changes the same row of the catalog has an error that is no news.
    db.run(
        "DO $$ BEGIN
             LOOP
                 BEGIN
                     REVOKE SELECT ON ALL TABLES IN SCHEMA perfmon FROM pg_monitor;
                     EXIT;
                 EXCEPTION WHEN internal_error THEN PERFORM pg_sleep(0.1);
                 END;
             END LOOP;
         END $$",
    );
    db.snapshot();
    db.snapshot();
    let mark = server.log_mark();
    // A minute later, if one was done before.
    wait_until("it fails", secs(100), || {
        db.run("SELECT count(*) FROM pg_am");
        server.log().contains(FAILS)
    });
    let launcher = server.launcher().unwrap();
    db.run(&format!("SELECT pg_terminate_backend({launcher})"));
    let mut other = server.db("app");
    other.run("BEGIN; LOCK TABLE perfmon.finding IN SHARE ROW EXCLUSIVE MODE");
    never("that they work again", secs(70), || {
        db.run("SELECT count(*) FROM pg_am");
        server.log_since(mark).contains("evaluates the findings of this database again")
    });
    other.run("ROLLBACK");
    assert_eq!(server.log().matches(FAILS).count(), 1);
}

#[test]
fn an_evaluation_that_could_not_run_is_made_up_for() {
    let server = Server::builder().start();
    let mut db = server.new_db("app");
    // What is judged happened between two.
    db.snapshot();
    db.snapshot();
    let findings =
        "SELECT count(*) FROM perfmon.status() WHERE item = 'findings' AND state = 'warning'";
    // Whoever evaluates keeps others from it until the end of the transaction.
    let mut other = server.db("app");
    other.run("BEGIN");
    other.run("SELECT perfmon.evaluate()");
    wait_until("one is tried in vain, and that is told", secs(120), || {
        db.val::<i64>(findings) == 1
    });
    db.run("ALTER SYSTEM SET full_page_writes = off");
    db.run("SELECT pg_reload_conf()");
    other.run("COMMIT");
    wait_until("it is made up for", secs(120), || db.val::<i64>(findings) == 0);
    assert!(db.findings().iter().any(|found| found.kind == "setting_full_page_writes"));
}
