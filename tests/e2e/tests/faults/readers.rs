//! The extension is dropped and made again beside sessions that ask it.

use std::sync::atomic::{AtomicBool, Ordering};

use perfmon_e2e::{Server, code_of, secs, wait_until};

const READERS: usize = 8;
const ROUNDS: usize = 6;

const QUESTIONS: [&str; 7] = [
    "SELECT count(*) FROM perfmon.top_statements(now() - interval '2 days')",
    "SELECT count(*) FROM perfmon.error_series(now() - interval '2 days')",
    "SELECT length(perfmon.report(now() - interval '2 days'))",
    "SELECT count(*) FROM perfmon.tables(now() - interval '2 days'), perfmon.databases()",
    "SELECT count(*) FROM perfmon.statement_history(), perfmon.status()",
    // A table is locked before the function is called.
    "SELECT count(*) FROM perfmon.gap g, perfmon.top_statements() t",
    "BEGIN; SELECT count(*) FROM perfmon.databases(); SELECT count(*) FROM perfmon.top_statements(); COMMIT",
];

/// What a session is told when what it asks went away before or while it asked: the server's words for what is not
/// there, or ours.
const GONE: [&str; 5] = ["42883", "3F000", "42P01", "55000", "55P03"];

/// A deadlock ends in an error for one of the two after `deadlock_timeout`, which is short here.
#[test]
fn drop_extension_gets_through_beside_readers() {
    let server = Server::manual().conf("deadlock_timeout = 50ms").start();
    let mut db = server.new_db("app");
    let ended = AtomicBool::new(false);
    let complaints = std::thread::scope(|threads| {
        let readers: Vec<_> = (0..READERS)
            .map(|reader| {
                let (server, ended) = (&server, &ended);
                threads.spawn(move || {
                    let mut db = server.db("app");
                    let mut complaints = Vec::new();
                    for at in reader.. {
                        if ended.load(Ordering::Relaxed) {
                            break;
                        }
                        if let Err(error) = db.batch_execute(QUESTIONS[at % QUESTIONS.len()]) {
                            if !GONE.contains(&code_of(&error).as_str()) {
                                complaints.push(format!("{at}: {error:?}"));
                            }
                            let _ = db.batch_execute("ROLLBACK");
                        }
                    }
                    complaints
                })
            })
            .collect();
        let mut failures = Vec::new();
        for _ in 0..ROUNDS {
            for _ in 0..3 {
                db.snapshot();
            }
            if let Err(error) = db.batch_execute("DROP EXTENSION pg_perfmon CASCADE") {
                failures.push(format!("DROP: {error:?}"));
                continue;
            }
            db.run("CREATE EXTENSION pg_perfmon");
        }
        ended.store(true, Ordering::Relaxed);
        failures.extend(readers.into_iter().flat_map(|reader| reader.join().unwrap()));
        failures
    });
    assert!(complaints.is_empty(), "{}: {:#?}", complaints.len(), complaints);
}

/// What declares, marks or takes a snapshot says the same as what reads.
#[test]
fn writers_are_told_that_the_extension_is_being_dropped() {
    const WAITS: &str = "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND classid = 'pg_extension'::regclass)";
    let server = Server::manual().start();
    let mut db = server.new_db("app");
    db.snapshot();
    db.run("BEGIN; SELECT count(*) FROM perfmon.databases()");
    let mut other = server.db("app");
    other.run("SET lock_timeout = '100ms'");
    let status = std::thread::scope(|threads| {
        let dropping = threads.spawn(|| {
            let mut db = server.db("app");
            db.run("SET statement_timeout = '60s'");
            db.run("DROP EXTENSION pg_perfmon");
        });
        wait_until("the drop waits", secs(10), || other.val(WAITS));
        for call in [
            "mark_change('told')",
            "create_slo('told', p95_ms => 5)",
            "create_slo('told', p95_ms => 5, statement_id => 1)",
            "drop_slo('told')",
            "declare_pool('told', 5, application => 'told')",
            "drop_pool('told')",
            "begin_run('told')",
            "evaluate()",
            "snapshot()",
        ] {
            let error = other.fails(&format!("SELECT perfmon.{call}"));
            assert_eq!(code_of(&error), "55P03", "{call}: {error:?}");
            let told = error.as_db_error().unwrap();
            assert_eq!(told.message(), "pg_perfmon is being dropped", "{call}");
            assert!(told.hint().is_some(), "{call}");
        }
        let status = db.status();
        db.run("ROLLBACK");
        dropping.join().unwrap();
        status
    });
    assert!(status.contains("took no snapshot: the extension is being dropped"), "{status}");
    assert!(!status.contains("failed 0 times"), "{status}");
}
