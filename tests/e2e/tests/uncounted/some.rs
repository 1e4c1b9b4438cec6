//! The hooks are off for all, and on for one role.

use super::*;

/// How they are switched off for all, how on again, and the line that is told.
const OFF: [[&str; 3]; 3] = [
    [
        "ALTER SYSTEM SET pg_perfmon.capture = 'off'",
        "ALTER SYSTEM RESET pg_perfmon.capture",
        "ALTER SYSTEM SET pg_perfmon.capture = 'top'; SELECT pg_reload_conf();",
    ],
    [
        "ALTER DATABASE app SET pg_perfmon.capture = 'off'",
        "ALTER DATABASE app RESET pg_perfmon.capture",
        "ALTER DATABASE app RESET pg_perfmon.capture;",
    ],
    [
        "ALTER ROLE ALL SET pg_perfmon.capture = 'off'",
        "ALTER ROLE ALL RESET pg_perfmon.capture",
        "ALTER ROLE ALL RESET pg_perfmon.capture;",
    ],
];

/// Sets something, and waits until sessions of bob and alice begin with what they should.
fn set(server: &Server, db: &mut Db, sql: &str, expected: [&str; 2]) {
    db.run(sql);
    server.reload();
    for (user, expected) in ["bob", "alice"].into_iter().zip(expected) {
        wait_until("the setting is there", secs(20), || {
            server.connect(user, "app").val::<String>("SHOW pg_perfmon.capture") == expected
        });
    }
}

/// Status, actual value and detail of a promise over the last interval.
fn promise(db: &mut Db, name: &str, objective: &str) -> (String, Option<f64>, String) {
    let sql = format!(
        "SELECT status, actual, detail FROM perfmon.slo_status({LAST})
         WHERE slo_name = '{name}' AND objective = '{objective}'"
    );
    let row = &db.rows(&sql)[0];
    (row.get(0), row.get(1), row.get(2))
}

#[test]
fn who_is_counted_though_others_are_not_is_judged() {
    let server = Server::manual().start();
    app(&server);
    let (mut db, mut said) = watcher(&server);
    db.snapshot();
    server.connect("bob", "app").run("SELECT 'of bob'::text");
    db.snapshot();
    let id = statement(&mut db, "SELECT $1::text");
    for (name, scope) in [
        ("bob", "username => 'bob', ".to_owned()),
        ("alice", "username => 'alice', ".to_owned()),
        ("shop", "application => 'shop', ".to_owned()),
        ("his", format!("statement_id => {id}, ")),
        ("db", String::new()),
    ] {
        db.run(&format!(
            "SELECT perfmon.create_slo('{name}', {scope}p95_ms => 1000, error_ratio => 0.001)"
        ));
    }
    for ([off, on, line], role) in OFF.into_iter().zip(["bob", "bob", "bob IN DATABASE app"]) {
        db.run(&format!("ALTER ROLE {role} SET pg_perfmon.capture = 'top'"));
        set(&server, &mut db, off, ["top", "off"]);
        let (mut alice, mut bob) = (server.connect("alice", "app"), server.connect("bob", "app"));
        alice.run("SET application_name = 'web'");
        bob.run("SET application_name = 'shop'");
        db.snapshot();
        (0..200).for_each(|_| bob.run("SELECT 'of bob'::text"));
        (0..5).for_each(|_| drop(bob.fails("SELECT 1 / 0")));
        (0..150).for_each(|_| alice.run("SELECT 2 AS b, 3"));
        db.snapshot();
        what_he_did_is_known(&mut db, &id, line, &mut said);
        what_others_did_is_not(&mut db, line, &mut said);
        // What fails of others is not known, and of him it is.
        db.snapshot();
        (0..150).for_each(|_| bob.run("SELECT 'of bob'::text"));
        drop(alice.fails("SELECT 1 / 0"));
        db.snapshot();
        for name in ["bob", "shop"] {
            let (status, actual, detail) = promise(&mut db, name, "errors");
            assert_eq!((status.as_str(), actual), ("met", Some(0.0)), "{name}: {detail}");
        }
        let (status, _, detail) = promise(&mut db, "db", "errors");
        assert!(status == "no_data" && detail.contains(line), "{status}: {detail}");
        // Nothing is lost as the others are counted again.
        set(&server, &mut db, on, ["top", "top"]);
        (0..150).for_each(|_| bob.run("SELECT 'of bob'::text"));
        db.snapshot();
        let (status, _, detail) = promise(&mut db, "bob", "p95");
        assert_eq!(status, "met", "{detail}");
        db.run(&format!("ALTER ROLE {role} RESET pg_perfmon.capture"));
        db.snapshot();
    }
}

fn what_he_did_is_known(db: &mut Db, id: &str, line: &str, said: &mut dyn FnMut() -> String) {
    said();
    let errors: Vec<String> = db.list(&format!(
        "SELECT class || ' ' || user_name || ' ' || errors FROM perfmon.errors({LAST})"
    ));
    assert_eq!(errors, ["error bob 5"]);
    let told = said();
    assert!(told.contains("but for role bob") && told.contains(line), "{told}");
    let routes = format!(
        "SELECT calls, p95_ms, errors FROM perfmon.routes({LAST}) WHERE application IN ('shop', 'web') ORDER BY application"
    );
    let rows = db.rows(&routes);
    let row = |at: usize| -> (i64, bool, i64) {
        (rows[at].get(0), rows[at].get::<_, Option<f64>>(1).is_some(), rows[at].get(2))
    };
    assert_eq!([row(0), row(1)], [(200, true, 5), (150, false, 0)]);
    let exact = (Some(200), Some(200), Some("exact".to_owned()));
    assert_eq!(step(db, "statement_series", &format!("{id},")), exact);
    for name in ["bob", "shop", "his"] {
        let (status, actual, detail) = promise(db, name, "p95");
        assert!(status == "met" && actual.is_some(), "{name}: {status} {detail}");
        // None of these failed, and all of those have another statement.
        let (status, actual, detail) = promise(db, name, "errors");
        let failed = name != "his";
        assert_eq!(status, if failed { "missed" } else { "met" }, "{name}: {detail}");
        assert!(actual.is_some_and(|ratio| (ratio > 0.0) == failed), "{name}: {actual:?}");
    }
}

fn what_others_did_is_not(db: &mut Db, line: &str, said: &mut dyn FnMut() -> String) {
    for name in ["alice", "db"] {
        let (status, actual, detail) = promise(db, name, "p95");
        assert_eq!((status.as_str(), actual), ("no_data", None), "{name}: {detail}");
        assert!(detail.contains(line), "{name}: {detail}");
    }
    said();
    let load = format!(
        "SELECT p95_ms FROM (VALUES ({LAST})) AS last (since, until),
             perfmon.load_series(since, until, until - since) WHERE calls > 0"
    );
    assert_eq!(db.val::<Option<f64>>(&load), None);
    let told = said();
    assert!(told.contains(line), "{told}");
    // Of errors that are no statement's nothing is known.
    let series = format!(
        "SELECT executions, errors, statement_timeouts, idle_session_timeouts, refused
         FROM (VALUES ({LAST})) AS last (since, until), perfmon.error_series(since, until, until - since)
         WHERE executions > 0"
    );
    let row = &db.rows(&series)[0];
    let of = |at: usize| row.get::<_, Option<i64>>(at);
    assert!(of(0) >= Some(350), "{:?}", of(0));
    assert_eq!([of(1), of(2), of(3), of(4)], [Some(5), Some(0), None, None]);
    let items = "SELECT coalesce(hint, '') FROM perfmon.status()
                 WHERE item IN ('capture', 'capture of errors', 'plans')";
    assert_eq!(db.list::<String>(items), [line; 3]);
    let report: String = db.val(&format!("SELECT perfmon.report({LAST})"));
    let report = report.split_whitespace().collect::<Vec<_>>().join(" ");
    let plans = "Plans are not recorded: pg_perfmon.capture is off, but for role bob.";
    assert!(report.contains(plans) && report.contains(line), "{report}");
}

#[test]
fn the_line_that_is_told_switches_it_on() {
    let server = Server::manual().start();
    app(&server);
    let (mut db, _) = watcher(&server);
    db.run("SELECT perfmon.create_slo('bob', username => 'bob', p95_ms => 1000)");
    db.snapshot();
    db.snapshot();
    let hint = |item: &str| {
        // A session that begins with what is set for its database.
        let sql = format!("SELECT coalesce(hint, '') FROM perfmon.status() WHERE item = '{item}'");
        server.db("app").val::<String>(&sql)
    };
    for (off, lines) in [
        (
            "ALTER SYSTEM SET pg_perfmon.capture = 'off'",
            [
                "ALTER SYSTEM SET pg_perfmon.capture = 'top'; SELECT pg_reload_conf();",
                "ALTER SYSTEM SET pg_perfmon.capture = 'top'",
            ],
        ),
        (
            "ALTER DATABASE app SET pg_perfmon.capture = 'off'",
            [
                "ALTER DATABASE app SET pg_perfmon.capture = 'top';",
                "ALTER DATABASE app SET pg_perfmon.capture = 'top';",
            ],
        ),
        (
            "ALTER ROLE bob SET pg_perfmon.capture = 'off'",
            [
                "ALTER DATABASE app SET pg_perfmon.capture = 'top';",
                "ALTER ROLE bob SET pg_perfmon.capture = 'top';",
            ],
        ),
    ] {
        set(&server, &mut db, off, ["off", "off"]);
        for item in ["capture", "capture of errors", "plans"] {
            wait_until("the launcher has noted it", secs(20), || hint(item) == lines[0]);
        }
        server.connect("bob", "app").run("SELECT 'of bob'::text");
        db.snapshot();
        let detail = promise(&mut db, "bob", "p95").2;
        assert!(detail.contains(lines[1]), "{detail}");
        let report: String = server.db("app").val("SELECT perfmon.report()");
        let report = report.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(
            report.contains(lines[0].trim_end_matches(" SELECT pg_reload_conf();")),
            "{report}"
        );
    }
    // What is told is done, from the weakest to the strongest.
    for line in [
        "ALTER ROLE bob SET pg_perfmon.capture = 'top'",
        "ALTER DATABASE app SET pg_perfmon.capture = 'top'",
    ] {
        db.run(line);
    }
    assert_eq!(server.connect("bob", "app").val::<String>("SHOW pg_perfmon.capture"), "top");
    assert_eq!(server.connect("alice", "app").val::<String>("SHOW pg_perfmon.capture"), "top");
    // So is it of plans.
    set(
        &server,
        &mut db,
        "ALTER DATABASE app SET pg_perfmon.plan_min_duration = -1",
        ["top", "top"],
    );
    assert_eq!(hint("plans"), "ALTER DATABASE app SET pg_perfmon.plan_min_duration = '500ms';");
}
