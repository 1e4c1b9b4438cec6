//! Errors that the server keeps from the hooks.

use super::*;

#[test]
fn settings_of_roles_that_hide_errors_are_named() {
    let server = Server::manual().start();
    let mut db = app(&server);
    assert_eq!(item(&mut db, "capture of errors").0, "ok");
    db.run("SET log_min_messages = 'fatal'");
    assert_eq!(item(&mut db, "capture of errors").0, "ok", "of this session alone");
    for (setting, value) in
        [("log_min_messages", "fatal"), ("compute_query_id", "off"), ("track_activities", "off")]
    {
        for who in ["ROLE bob", "DATABASE app", "ROLE bob IN DATABASE app", "ROLE ALL"] {
            db.run(&format!("ALTER {who} SET {setting} = '{value}'"));
            let (state, said, hint) = item(&mut db, "capture of errors");
            assert!(state == "warning" && said.contains(setting), "{said}");
            assert_eq!(hint, Some(format!("ALTER {who} RESET {setting};")));
            db.run(&format!("ALTER {who} RESET {setting}"));
        }
    }
    assert_eq!(item(&mut db, "capture of errors").0, "ok");
}

#[test]
fn errors_that_the_server_keeps_to_itself_are_not_none() {
    let server = Server::manual().start();
    let mut db = app(&server);
    db.run(
        "ALTER ROLE bob SET log_min_messages = 'FATAL';
         SELECT perfmon.create_slo('bobs', username => 'bob', error_ratio => 0.5);
         SELECT perfmon.create_slo('alices', username => 'alice', error_ratio => 0.5);
         SELECT perfmon.create_slo('database', error_ratio => 0.5);
         SELECT perfmon.create_slo('cluster', cluster => true, error_ratio => 0.5);
         SELECT perfmon.create_slo('shop', application => 'shop', error_ratio => 0.5);
         SELECT perfmon.create_slo('jobs', application => 'jobs', error_ratio => 0.5)",
    );
    db.snapshot();
    let work = |role: &str, application: &str| {
        let mut client = server.connect(role, "app");
        client.run(&format!("SET application_name = '{application}'"));
        for _ in 0..120 {
            client.run("SELECT 1");
            client.fails("SELECT 1 / 0");
        }
    };
    work("alice", "shop");
    work("bob", "jobs");
    db.snapshot();
    for name in ["bobs", "database", "cluster", "jobs"] {
        let (status, actual, detail) = promise(&mut db, name, "errors");
        assert_eq!((status.as_str(), actual), ("no_data", None), "{name}: {detail}");
        assert!(detail.contains("ALTER ROLE bob RESET log_min_messages"), "{name}: {detail}");
    }
    for name in ["alices", "shop"] {
        assert_eq!(promise(&mut db, name, "errors").1, Some(0.5), "{name}");
    }
    let routes =
        "SELECT user_name, errors, error_ratio, statements_per_transaction FROM perfmon.routes()
         WHERE application IN ('shop', 'jobs') ORDER BY 1";
    type Failing = (String, Option<i64>, Option<f64>, Option<f64>);
    let of = |db: &mut Db| -> Vec<Failing> {
        db.rows(routes).iter().map(|row| (row.get(0), row.get(1), row.get(2), row.get(3))).collect()
    };
    let known = ("alice".to_owned(), Some(120), Some(0.5), Some(1.0));
    assert_eq!(of(&mut db), [known, ("bob".to_owned(), None, None, None)]);
    // What this test asked is executed, too, with capture off.
    let series = "SELECT (sum(executions) - (SELECT sum(statements) FROM perfmon.route_history() WHERE bucket = 254))::bigint,
             sum(errors)::bigint FROM perfmon.error_series()";
    let row = &db.rows(series)[0];
    assert_eq!((row.get::<_, Option<i64>>(0), row.get::<_, Option<i64>>(1)), (Some(240), None));
    let report: String = db.val("SELECT perfmon.report()");
    assert!(report.contains("120 statements failed at least"), "{report}");
    // What is known of others stands there, and it is said that this is not all.
    let (mut reader, notices) = server.noticing("app");
    let errors = "SELECT class, sum(errors)::text FROM perfmon.errors() GROUP BY 1 ORDER BY 1";
    let told = |class: &str| vec![Some(class.to_owned()), Some("120".to_owned())];
    assert_eq!(reader.texts(errors), [told("error"), told("unseen")]);
    let said = notices.lock().unwrap().join("\n");
    assert!(said.contains("log_min_messages is fatal for role bob"), "{said}");

    // The setting of nobody in particular.
    db.run(
        "ALTER ROLE bob RESET log_min_messages; ALTER DATABASE app SET log_min_messages = 'panic'",
    );
    let mut db = server.db("app");
    db.run(CAPTURE_OFF);
    work("alice", "shop");
    db.snapshot();
    assert_eq!(of(&mut db)[0], ("alice".to_owned(), None, None, None));
    let last = "(SELECT max(until) - interval '1 millisecond' FROM perfmon.server_minute)";
    for name in ["alices", "database", "shop"] {
        let sql = format!(
            "SELECT status || ': ' || detail FROM perfmon.slo_status({last}) WHERE slo_name = '{name}'"
        );
        let said: String = db.val(&sql);
        assert!(said.contains("no_data: "), "{name}: {said}");
        assert!(said.contains("ALTER DATABASE app RESET log_min_messages"), "{name}: {said}");
    }
    let detail: String =
        db.val(&format!("SELECT detail FROM perfmon.slo_status({last}) WHERE slo_name = 'shop'"));
    assert!(!detail.contains(";;"), "{detail}");
}

#[test]
fn errors_of_a_part_of_the_work_do_not_pass() {
    let server = Server::manual().start();
    let mut db = app(&server);
    db.run(
        "CREATE ROLE idle LOGIN;
         SELECT perfmon.create_slo('database', error_ratio => 0.5);
         SELECT perfmon.create_slo('alices', username => 'alice', error_ratio => 0.5)",
    );
    let work = |role: &str, times: usize| {
        let mut client = server.connect(role, "app");
        (0..times).for_each(|_| client.run("SELECT 1"));
        for _ in 0..times {
            client.fails("SELECT 1 / 0");
        }
    };
    db.snapshot();
    db.run("SELECT perfmon.begin_run('test')");
    work("alice", 60);
    db.snapshot();
    db.run(
        "ALTER ROLE idle SET log_min_messages = 'panic'; ALTER ROLE bob SET log_min_messages = 'fatal'",
    );
    work("alice", 60);
    work("bob", 60);
    db.snapshot();
    db.run("SELECT perfmon.end_run('test')");
    // What is known alone would have been kept.
    let (status, actual, detail) = promise(&mut db, "database", "errors");
    assert_eq!((status.as_str(), actual), ("no_data", None), "{detail}");
    let (_, said, hint) = item(&mut db, "capture of errors");
    for role in ["bob", "idle"] {
        let line = format!("ALTER ROLE {role} RESET log_min_messages;");
        assert!(detail.contains(&line), "{detail}");
        assert!(said.contains(&format!("for role {role}")), "{said}");
        assert!(hint.as_deref().unwrap().contains(&line), "{hint:?}");
    }
    db.fails("SELECT * FROM perfmon.assert_slo('database')");
    let report: String = db.val("SELECT perfmon.run_report('test')");
    assert!(report.contains("**unclear**") && !report.contains("**passed**"), "{report}");
    assert_eq!(promise(&mut db, "alices", "errors").1, Some(0.5));

    // Taken back: whose errors were hidden is still known.
    db.run("ALTER ROLE idle RESET log_min_messages; ALTER ROLE bob RESET log_min_messages");
    let (status, _, detail) = promise(&mut db, "database", "errors");
    assert_eq!(status, "no_data", "{detail}");
    assert!(detail.contains("errors were not counted, as log_min_messages"), "{detail}");
    assert_eq!(promise(&mut db, "alices", "errors").1, Some(0.5));
    let unknown = "SELECT bool_and(errors IS NULL) FROM perfmon.routes() WHERE user_name = 'bob'";
    assert!(db.val::<bool>(unknown));
}

#[test]
fn what_is_missed_by_the_errors_that_were_heard_is_missed() {
    let server = Server::manual().start();
    let mut db = app(&server);
    db.run("GRANT SET ON PARAMETER log_min_messages TO bob");
    let mut bob = server.connect("bob", "app");
    bob.run("SET application_name = 'shop'");
    bob.run("SELECT 7 / 1");
    db.snapshot();
    let statement: i64 = db.val(
        "SELECT max(statement_id)::bigint FROM perfmon.statement WHERE query = 'SELECT $1 / $2'",
    );
    let of_one = format!("statement_id => {statement},");
    let names = ["database", "cluster", "user", "application", "statement"];
    let whose = ["", "cluster => true,", "username => 'bob',", "application => 'shop',", &of_one];
    for (name, of) in names.iter().zip(whose) {
        db.run(&format!(
            "SELECT perfmon.create_slo('{name}', {of} error_ratio => 0.4, availability_ratio => 0.9, p95_ms => 10000)"
        ));
    }
    db.snapshot();
    (0..40).for_each(|_| bob.run("SELECT 7 / 1"));
    for _ in 0..90 {
        bob.fails("SELECT 7 / 0");
    }
    bob.run("SET log_min_messages = 'panic'");
    bob.fails("SELECT 7 / 0");
    db.snapshot();
    for name in names {
        let (status, detail) = of_the_last(&mut db, name, "errors");
        assert_eq!(status, "missed", "{name}: {detail}");
        assert!(detail.contains("or more failed; "), "{name}: {detail}");
        let (status, detail) = of_the_last(&mut db, name, "availability");
        assert_eq!(status, "missed", "{name}: {detail}");
        let sql =
            "SELECT actual IS NULL AND actual_low BETWEEN 0.5 AND 0.7 FROM perfmon.slo_status(
                       (SELECT max(until) - interval '1 ms' FROM perfmon.server_minute),
                       (SELECT max(until) FROM perfmon.server_minute))
                   WHERE slo_name = $1 AND objective = 'errors'";
        assert!(db.query_one(sql, &[&name]).unwrap().get::<_, bool>(0), "{name}: {detail}");
    }
    // As long as all that was not heard of may have ended well, it is not known.
    (0..200).for_each(|_| bob.run("SELECT 7 / 1"));
    bob.run("SET log_min_messages = 'warning'");
    for _ in 0..90 {
        bob.fails("SELECT 7 / 0");
    }
    bob.run("SET log_min_messages = 'panic'");
    bob.fails("SELECT 7 / 0");
    db.snapshot();
    for name in names {
        let (status, detail) = of_the_last(&mut db, name, "errors");
        assert_eq!(status, "no_data", "{name}: {detail}");
    }
}

#[test]
fn a_role_that_is_heard_though_others_are_not_is_judged() {
    let server = Server::manual().start();
    let mut db = app(&server);
    db.run(
        "GRANT SET ON PARAMETER log_min_messages TO bob;
         ALTER ROLE bob SET log_min_messages = 'warning'",
    );
    db.run("ALTER SYSTEM SET log_min_messages = 'panic'");
    server.reload();
    wait_until("the setting is there", secs(10), || {
        server.connect("alice", "app").val::<String>("SHOW log_min_messages") == "panic"
    });
    let work = |role: &str, application: &str| {
        let mut client = server.connect(role, "app");
        client.run(&format!("SET application_name = '{application}'"));
        (0..120).for_each(|_| client.run("SELECT 7 / 1"));
        for _ in 0..40 {
            client.fails("SELECT 7 / 0");
        }
        client
    };
    work("bob", "shop");
    db.snapshot();
    let statement: i64 = db.val(
        "SELECT max(statement_id)::bigint FROM perfmon.statement WHERE query = 'SELECT $1 / $2' AND user_name = 'bob'",
    );
    let of_one = format!("statement_id => {statement},");
    let names = ["user", "application", "statement", "database", "other"];
    let whose =
        ["username => 'bob',", "application => 'shop',", &of_one, "", "username => 'alice',"];
    for (name, of) in names.iter().zip(whose) {
        db.run(&format!(
            "SELECT perfmon.create_slo('{name}', {of} error_ratio => 0.3);
             SELECT perfmon.create_slo('{name}, strict', {of} error_ratio => 0.2)"
        ));
    }
    let mut bob = work("bob", "shop");
    work("alice", "jobs");
    db.snapshot();
    for name in ["user", "application", "statement"] {
        let (status, detail) = of_the_last(&mut db, name, "errors");
        assert_eq!(status, "met", "{name}: {detail}");
        let (status, detail) = of_the_last(&mut db, &format!("{name}, strict"), "errors");
        assert_eq!(status, "missed", "{name}: {detail}");
    }
    for name in ["database", "other"] {
        let (status, detail) = of_the_last(&mut db, name, "errors");
        assert_eq!(status, "no_data", "{name}: {detail}");
        assert!(detail.contains("ALTER SYSTEM SET log_min_messages"), "{name}: {detail}");
    }
    // What a session sets for itself is noticed by what it hides.
    bob.run("SET log_min_messages = 'panic'");
    (0..120).for_each(|_| bob.run("SELECT 7 / 1"));
    bob.fails("SELECT 7 / 0");
    db.snapshot();
    for name in ["user", "application", "statement"] {
        let (status, detail) = of_the_last(&mut db, name, "errors");
        assert_eq!(status, "no_data", "{name}: {detail}");
    }
}
