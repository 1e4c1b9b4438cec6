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

#[test]
fn a_past_window_tells_whose_executions_were_not_timed() {
    let server = Server::manual().start();
    app(&server);
    let (mut db, mut said) = watcher(&server);
    db.run("RESET pg_perfmon.capture");
    let (mut alice, mut bob) = (server.connect("alice", "app"), server.connect("bob", "app"));
    db.snapshot();
    (0..20).for_each(|_| bob.run("SELECT 'of bob'::text"));
    db.run("ALTER ROLE bob SET pg_perfmon.capture = 'off'");
    let mut untimed = server.connect("bob", "app");
    db.snapshot();
    let id = statement(&mut db, "SELECT $1::text");
    let since: String = db.val("SELECT max(until)::text FROM perfmon.server_minute");
    (0..50).for_each(|_| untimed.run("SELECT 'of bob'::text"));
    (0..50).for_each(|_| alice.run("SELECT 1, 1"));
    db.snapshot();
    let until: String = db.val("SELECT max(until)::text FROM perfmon.server_minute");
    db.run("ALTER ROLE bob RESET pg_perfmon.capture");
    db.snapshot();
    let begin = "(SELECT min(until) FROM perfmon.server_minute)";
    for asked in [
        format!("top_statements('{since}', '{until}')"),
        format!("statement_series({id}, '{since}', '{until}')"),
        format!("latency_heatmap('{since}', '{until}', statement_id => {id})"),
        format!("latency_histogram({id}, '{since}', '{until}')"),
        format!("latency_histogram({id}, {begin}, '{until}')"),
        format!("routes('{since}', '{until}')"),
    ] {
        said();
        db.rows(&format!("SELECT * FROM perfmon.{asked}"));
        let told = said();
        assert!(told.contains("not all that bob executed"), "{asked}: {told}");
        assert_eq!(told.lines().count(), 1, "{asked}: {told}");
    }
    // Nothing of others is missing, nor of what came after.
    let hers = statement(&mut db, "SELECT $1, $2");
    db.snapshot();
    (0..20).for_each(|_| bob.run("SELECT 'of bob'::text"));
    db.snapshot();
    for asked in [
        format!("statement_series({hers}, '{since}', '{until}')"),
        format!("latency_histogram({hers}, '{since}', '{until}')"),
        format!("top_statements({LAST})"),
        format!("latency_histogram({id}, {LAST})"),
        format!("routes({LAST})"),
    ] {
        said();
        db.rows(&format!("SELECT * FROM perfmon.{asked}"));
        assert_eq!(said(), "", "{asked}");
    }
}

#[test]
fn errors_of_who_is_not_counted_name_the_line() {
    let server = Server::manual().start();
    app(&server);
    let (mut db, mut said) = watcher(&server);
    db.run("ALTER ROLE bob SET pg_perfmon.capture = 'off'");
    let mut bob = server.connect("bob", "app");
    bob.run("SET application_name = 'shop'");
    db.snapshot();
    (0..50).for_each(|_| bob.run("SELECT 'of bob'::text"));
    (0..5).for_each(|_| _ = bob.fails("SELECT 1 / 0"));
    db.snapshot();
    let mut told = |db: &mut Db, function: &str| {
        said();
        db.rows(&format!("SELECT * FROM perfmon.{function}({LAST})"));
        said()
    };
    for function in ["errors", "error_series", "routes"] {
        let told = told(&mut db, function);
        assert!(told.contains("ALTER ROLE bob RESET pg_perfmon.capture"), "{function}: {told}");
        assert!(!told.contains("log_min_messages"), "{function}: {told}");
    }
    // Once he is counted again, it is what was noted.
    db.run("ALTER ROLE bob RESET pg_perfmon.capture");
    for function in ["errors", "error_series"] {
        let told = told(&mut db, function);
        assert!(told.contains("kept those of bob from the hooks"), "{function}: {told}");
        assert!(!told.contains("ALTER"), "{function}: {told}");
    }
}
