//! What people declare, marks on trends above all: it is there at once, and holds nobody up.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use perfmon_e2e::{Change, Server, code_of, message_of, secs, wait_until};

#[test]
fn the_first_mark_waits_for_the_first_snapshot() {
    let server = Server::manual().conf("pg_perfmon.enabled = off").start();
    let mut db = server.new_db("app");
    // As the first snapshot does, for longer than pg_perfmon.lock_timeout.
    let mut first = server.db("app");
    first.run("BEGIN; LOCK TABLE perfmon.prior IN SHARE ROW EXCLUSIVE MODE");
    let mut marking = server.db("app");
    let process = marking.pid();
    std::thread::scope(|scope| {
        let marked = scope.spawn(move || marking.run("SELECT perfmon.mark_change('release 1')"));
        wait_until("the mark has waited", secs(8), || {
            marked.is_finished()
                || db.val(&format!(
                    "SELECT count(*) = 1 FROM pg_stat_activity WHERE pid = {process} AND wait_event_type = 'Lock'
                        AND clock_timestamp() - query_start > 3 * current_setting('pg_perfmon.lock_timeout')::interval"
                ))
        });
        first.run("COMMIT");
    });
    assert_eq!(db.changes().len(), 1);
}

#[test]
fn marks_are_set_by_hand() {
    let server = Server::manual().start();
    let mut db = server.new_db("app");
    // Before any snapshot, and many at once: none is lost.
    db.run("SELECT perfmon.mark_change('release 2.4')");
    db.run("SELECT perfmon.mark_change('same') FROM generate_series(1, 100)");
    assert_eq!(db.changes().len(), 101);
    let distinct: i64 = db.val("SELECT count(DISTINCT at) FROM perfmon.change WHERE name = 'same'");
    assert_eq!(distinct, 100);
    db.snapshot();
    let is_now: bool = db.val(
        "SELECT perfmon.mark_change(repeat('ü', 200), E'a note\nof two lines')
             BETWEEN now() AND clock_timestamp()",
    );
    assert!(is_now);
    let last = db.changes().pop().unwrap();
    assert_eq!(last, Change::of("mark", &"ü".repeat(200), None, Some("a note\nof two lines")));
    db.run("SELECT perfmon.mark_change(label => 'of a transaction')");
    db.run("BEGIN; SELECT perfmon.mark_change('rolled back'); ROLLBACK");
    assert!(!db.changes().iter().any(|c| c.name == "rolled back"));
    assert_eq!(db.val::<i64>("SELECT count(DISTINCT source) FROM perfmon.change"), 1);

    for label in ["NULL", "''", "E' \\t\\n'", "repeat('x', 201)"] {
        let e = db.fails(&format!("SELECT perfmon.mark_change({label})"));
        assert_eq!(code_of(&e), "22023", "{}", message_of(&e));
        assert!(e.as_db_error().unwrap().hint().is_some());
    }
    let e = db.fails("BEGIN READ ONLY; SELECT perfmon.mark_change('x')");
    assert_eq!(code_of(&e), "25006", "{}", message_of(&e));
    assert!(message_of(&e).contains("READ WRITE"), "{}", message_of(&e));
    db.run("ROLLBACK");

    db.run(
        "CREATE ROLE monitor LOGIN IN ROLE pg_monitor; CREATE ROLE reader LOGIN; CREATE ROLE nobody LOGIN;
         SELECT perfmon.grant_reader('reader')",
    );
    let mut monitor = server.connect("monitor", "app");
    monitor.run(
        "BEGIN ISOLATION LEVEL SERIALIZABLE; SELECT perfmon.mark_change('by a monitor'); COMMIT",
    );
    for role in ["reader", "nobody"] {
        let e = server.connect(role, "app").fails("SELECT perfmon.mark_change('x')");
        assert_eq!(code_of(&e), "42501", "{}", message_of(&e));
    }
    let names: Vec<String> = server
        .connect("reader", "app")
        .list("SELECT name FROM perfmon.changes() WHERE kind = 'mark' AND name ~ 'monitor'");
    assert_eq!(names, ["by a monitor"]);
}

/// What is declared before the first snapshot of all is so in a transaction that may go on for hours.
#[test]
fn declarations_in_an_open_transaction_hold_up_no_snapshot() {
    let server = Server::manual().conf("pg_perfmon.enabled = off").start();
    let declarations = [
        "mark_change('release 1')",
        "create_slo('quick', p95_ms => 100)",
        "begin_run('load test')",
    ];
    for (number, declaration) in declarations.iter().enumerate() {
        for isolation in ["READ COMMITTED", "SERIALIZABLE"] {
            let name = format!("app{number}_{}", &isolation[..4].to_lowercase());
            let mut db = server.new_db(&name);
            let mut open = server.db(&name);
            // Its snapshot of the data is older than all that is written here.
            open.run(&format!(
                "BEGIN ISOLATION LEVEL {isolation}; SELECT count(*) FROM perfmon.slo"
            ));
            open.run(&format!("SELECT perfmon.{declaration}"));
            open.run("SELECT perfmon.mark_change('once more')");
            db.snapshot();
            db.run("SELECT perfmon.mark_change('another')");
            db.snapshot();
            open.run("COMMIT");
            let sources = "SELECT count(DISTINCT source) FROM perfmon.change WHERE kind = 'mark'";
            assert_eq!(db.val::<i64>(sources), 1, "{declaration}, {isolation}");
            assert_eq!(db.val::<i64>("SELECT count(*) FROM perfmon.source_info"), 1);
        }
    }
}

/// The extension itself may be as new as the mark.
#[test]
fn a_mark_is_set_where_no_collector_sees_the_extension_yet() {
    let server = Server::manual().start();
    let mut db = server.db("postgres");
    db.run("BEGIN; CREATE EXTENSION pg_perfmon; SELECT perfmon.mark_change('installed'); COMMIT");
    db.snapshot();
    assert_eq!(db.changes(), [Change::of("mark", "installed", None, None)]);
}

/// Who reads is changed in the catalog, in rows that the first snapshot changes as well.
#[test]
fn a_grant_in_an_open_transaction_holds_up_the_first_snapshot_only() {
    let server = Server::manual().conf("pg_perfmon.enabled = off").start();
    let mut db = server.new_db("app");
    db.run("CREATE ROLE reader LOGIN");
    let mut open = server.db("app");
    let process = open.pid();
    let collector = "SELECT state || ': ' || value FROM perfmon.status() WHERE item = 'collector'";
    open.run("BEGIN; SELECT perfmon.grant_reader('reader')");
    let e = db.fails("SELECT perfmon.snapshot()");
    let whom = format!("a transaction of process {process} holds the history and has not ended");
    assert!(message_of(&e).contains(&whom), "{}", message_of(&e));
    assert_eq!(db.val::<String>(collector), format!("warning: took no snapshot: {whom}"));
    open.run("COMMIT");
    db.snapshot();
    assert_eq!(db.val::<String>(collector), "ok: works");

    // Whatever is recorded for the first time meanwhile.
    open.run(
        "BEGIN; SELECT perfmon.grant_reader('reader'); SELECT perfmon.revoke_reader('reader')",
    );
    db.run("CREATE TABLE t (a int PRIMARY KEY); INSERT INTO t VALUES (1)");
    db.snapshot();
    db.fails("SELECT 1 / 0");
    db.run("SELECT pg_stat_force_next_flush() FROM t");
    db.snapshot();
    open.run("COMMIT");
    assert_eq!(db.val::<String>(collector), "ok: works");
}
