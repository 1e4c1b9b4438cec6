//! What was not counted in a window, told once it is counted again.

use super::*;

fn set_capture(server: &Server, value: &str, sessions: &mut [&mut Db]) {
    let sql = format!("ALTER SYSTEM SET pg_perfmon.capture = '{value}'");
    sessions[0].run(&sql);
    server.reload();
    sessions[0].run("RESET pg_perfmon.capture");
    for session in sessions {
        wait_until("the setting is there", secs(20), || {
            session.val::<String>("SHOW pg_perfmon.capture") == value
        });
    }
}

#[test]
fn a_past_window_without_capture_says_so() {
    let server = Server::manual().start();
    app(&server);
    let (mut db, mut said) = watcher(&server);
    let mut bob = server.connect("bob", "app");
    db.snapshot();
    set_capture(&server, "off", &mut [&mut db, &mut bob]);
    db.snapshot();
    let since: String = db.val("SELECT max(until)::text FROM perfmon.server_minute");
    (0..50).for_each(|_| bob.run("SELECT 'of bob'::text"));
    bob.fails("SELECT 1 / 0");
    db.snapshot();
    let until: String = db.val("SELECT max(until)::text FROM perfmon.server_minute");
    set_capture(&server, "top", &mut [&mut db, &mut bob]);
    db.snapshot();
    let window = "(SELECT min(until) FROM perfmon.server_minute), (SELECT max(until) FROM perfmon.server_minute)";
    for function in ["errors", "error_series", "routes"] {
        said();
        db.rows(&format!("SELECT * FROM perfmon.{function}({window})"));
        let told = said();
        assert!(told.contains("pg_perfmon.capture is off"), "{function}: {told}");
    }
    for function in ["load_series", "latency_heatmap"] {
        said();
        db.rows(&format!("SELECT * FROM perfmon.{function}('{since}', '{until}')"));
        assert!(said().contains("pg_perfmon.capture is off"), "{function}");
    }
    let report: String = db.val(&format!("SELECT perfmon.report({window})"));
    assert!(!report.contains("(all that clients sent)"), "{report}");
    // Of what came after nothing is missing.
    db.snapshot();
    let mut alice = server.connect("alice", "app");
    alice.run("SELECT 1");
    db.snapshot();
    for function in ["errors", "error_series", "routes"] {
        said();
        db.rows(&format!("SELECT * FROM perfmon.{function}({LAST})"));
        assert_eq!(said(), "", "{function}");
    }
    let report: String = db.val(&format!("SELECT perfmon.report({LAST})"));
    assert!(report.contains("(all that clients sent)"), "{report}");
}
