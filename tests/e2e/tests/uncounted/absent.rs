//! What is missing is said to be, with the line that turns it on, by all that would show it.

use super::*;

const ENABLED: &str = "ALTER SYSTEM SET pg_perfmon.enabled = on";
const TRACKED: &str = "ALTER SYSTEM SET pg_stat_statements.track = 'top'";

/// Sets something for all, and waits until new sessions begin with it.
pub(super) fn set(server: &Server, db: &mut Db, setting: &str, value: &str) {
    db.run(&format!("ALTER SYSTEM SET {setting} = {value}"));
    server.reload();
    wait_until("the setting is there", secs(20), || {
        server.connect("bob", "app").val::<String>(&format!("SHOW {setting}"))
            == value.trim_matches('\'')
    });
}

fn report(db: &mut Db) -> String {
    db.val(&format!("SELECT perfmon.report({LAST})"))
}

/// Text that was wrapped, in one line.
pub(super) fn in_one(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A section, in one line.
pub(super) fn section(report: &str, title: &str) -> String {
    let found = report.split("\n## ").find(|part| part.starts_with(title));
    in_one(found.unwrap_or_else(|| panic!("no {title} in {report}")))
}

fn detail(db: &mut Db, name: &str, objective: &str, window: &str) -> String {
    db.val(&format!(
        "SELECT status || ': ' || detail FROM perfmon.slo_status({window})
         WHERE slo_name = '{name}' AND objective = '{objective}'"
    ))
}

#[test]
fn of_time_without_snapshots_the_line_that_turns_them_on_is_told() {
    let server = Server::manual().conf("pg_perfmon.enabled = off").start();
    app(&server);
    let (mut db, mut said) = watcher(&server);
    db.snapshot();
    let mut bob = server.connect("bob", "app");
    bob.run("SELECT 'of bob'::text");
    db.snapshot();
    db.run("SELECT perfmon.create_slo('all', p95_ms => 100, error_ratio => 0.1, availability_ratio => 0.5)");
    (0..50).for_each(|_| bob.run("SELECT 'of bob'::text"));
    bob.fails("SELECT 1 / 0");
    let window = "(SELECT max(until) FROM perfmon.server_minute), clock_timestamp()";
    let mut tell = |db: &mut Db, window: &str, line: &str| {
        for asked in [
            "errors",
            "error_series",
            "routes",
            "load_series",
            "top_statements",
            "commands",
            "latency_heatmap",
        ] {
            said();
            db.rows(&format!("SELECT * FROM perfmon.{asked}({window})"));
            let told = said();
            assert!(told.contains(line), "{asked}: {told}");
            assert!(!told.contains("No execution"), "{asked}: {told}");
        }
        db.rows(&format!("SELECT * FROM perfmon.latency_histogram(NULL, {window})"));
        assert!(said().contains(line));
        for objective in ["p95", "errors", "availability"] {
            let detail = detail(db, "all", objective, window);
            assert!(detail.contains(line), "{objective}: {detail}");
        }
        let report: String = db.val(&format!("SELECT perfmon.report({window})"));
        assert!(
            in_one(&report).contains("- Not recorded: nothing is recorded of this window: "),
            "{report}"
        );
        assert!(in_one(&report).contains(line), "{report}");
    };
    tell(&mut db, window, ENABLED);
    set(&server, &mut db, "pg_perfmon.enabled", "on");
    wait_until("this session knows it", secs(20), || {
        db.val::<String>("SHOW pg_perfmon.enabled") == "on"
    });
    tell(&mut db, window, "perfmon.snapshot()");
    // Nor is anything known of a part of an interval.
    db.snapshot();
    let (since, until): (String, String) = {
        let sql =
            "SELECT (until - (until - since) * 0.9)::text, (until - (until - since) * 0.1)::text
                   FROM perfmon.server_minute ORDER BY until DESC LIMIT 1";
        let row = &db.rows(sql)[0];
        (row.get(0), row.get(1))
    };
    said();
    let of_part = format!("SELECT * FROM perfmon.errors('{since}', '{until}')");
    db.rows(&of_part);
    let told = said();
    assert!(told.contains("nothing is recorded of this window: "), "{told}");
    db.rows(&format!("SELECT * FROM perfmon.errors({LAST})"));
    assert_eq!(said(), "");
}

#[test]
fn reports_say_why_errors_are_not_known() {
    let server = Server::manual().start();
    app(&server);
    let (mut db, _) = watcher(&server);
    db.run("RESET pg_perfmon.capture");
    db.snapshot();
    let fail = |db: &mut Db| {
        db.run("SELECT perfmon.begin_run('run')");
        let mut bob = server.connect("bob", "app");
        (0..50).for_each(|_| bob.run("SELECT 'of bob'::text"));
        bob.fails("SELECT 1 / 0");
        db.run("SELECT perfmon.end_run('run')");
    };
    let tell = |db: &mut Db, words: &[&str]| {
        for report in [report(db), db.val("SELECT perfmon.run_report('run')")] {
            let errors = section(&report, "Errors");
            for word in words {
                assert!(errors.contains(word), "{word} is not in {errors}");
            }
        }
    };
    set(&server, &mut db, "log_min_messages", "fatal");
    fail(&mut db);
    let fix = "To fix it: ALTER SYSTEM SET log_min_messages = 'error'; SELECT pg_reload_conf();";
    tell(&mut db, &["Errors are not counted: log_min_messages is fatal.", fix]);
    let found: bool = db.val(&format!(
        "SELECT (perfmon.report({LAST}, 'json')::jsonb #>> '{{unheard,fix}}') LIKE 'ALTER SYSTEM%'
             AND (perfmon.run_report('run', 'json')::jsonb #>> '{{unheard,fix}}') LIKE 'ALTER SYSTEM%'"
    ));
    assert!(found);
    // It was so then, and no longer is.
    set(&server, &mut db, "log_min_messages", "warning");
    tell(&mut db, &["log_min_messages"]);
    db.run("ALTER ROLE bob SET log_min_messages = 'log'");
    fail(&mut db);
    tell(
        &mut db,
        &["log_min_messages is log for role bob.", "ALTER ROLE bob RESET log_min_messages;"],
    );
    db.run("ALTER ROLE bob RESET log_min_messages");
    tell(&mut db, &["log_min_messages", "bob"]);
    db.run("ALTER ROLE bob SET pg_perfmon.capture = 'off'");
    fail(&mut db);
    tell(
        &mut db,
        &["pg_perfmon.capture is off for role bob.", "ALTER ROLE bob RESET pg_perfmon.capture;"],
    );
    db.run("ALTER ROLE bob RESET pg_perfmon.capture");
    fail(&mut db);
    assert!(section(&report(&mut db), "Errors").starts_with("Errors 1 of "));
}

#[test]
fn objectives_name_the_line_by_which_all_is_timed() {
    let server = Server::manual().conf("pg_perfmon.database = 'app'").start();
    app(&server);
    let (mut db, _) = watcher(&server);
    db.run("RESET pg_perfmon.capture");
    for (name, scope) in
        [("db", ""), ("all", "cluster => true, "), ("shop", "application => 'shop', ")]
    {
        let sql = format!(
            "SELECT perfmon.create_slo('{name}', {scope}p95_ms => 1000, error_ratio => 0.1)"
        );
        db.run(&sql);
    }
    let work = |db: &mut Db| {
        let mut bob = server.connect("bob", "app");
        bob.run("SET application_name = 'shop'");
        db.snapshot();
        (0..200).for_each(|_| bob.run("SELECT 'of bob'::text"));
        bob.fails("SELECT 1 / 0");
        db.snapshot();
    };
    let tell = |db: &mut Db, objectives: &[&str], line: &str| {
        for name in ["db", "all", "shop"] {
            for objective in objectives {
                let detail = detail(db, name, objective, LAST);
                assert!(detail.starts_with("no_data"), "{name} {objective}: {detail}");
                assert!(detail.contains(line), "{name} {objective}: {detail}");
            }
        }
    };
    db.run("ALTER ROLE bob SET pg_perfmon.capture = 'off'");
    work(&mut db);
    tell(&mut db, &["p95", "errors"], "ALTER ROLE bob RESET pg_perfmon.capture;");
    db.run("ALTER ROLE bob RESET pg_perfmon.capture; ALTER ROLE bob SET compute_query_id = 'off'");
    work(&mut db);
    tell(&mut db, &["p95"], "ALTER ROLE bob RESET compute_query_id;");
    db.run("ALTER ROLE bob RESET compute_query_id");
    set(&server, &mut db, "compute_query_id", "off");
    work(&mut db);
    tell(&mut db, &["p95"], "ALTER SYSTEM SET compute_query_id = 'auto'");
}

#[test]
fn what_is_not_tracked_is_no_zero() {
    let server = Server::manual().start();
    app(&server);
    let (mut db, mut said) = watcher(&server);
    db.snapshot();
    set(&server, &mut db, "pg_stat_statements.track", "none");
    let mut bob = server.connect("bob", "app");
    db.snapshot();
    db.run("SELECT perfmon.begin_run('run')");
    (0..100).for_each(|_| bob.run("SELECT 'of bob'::text"));
    db.run("SELECT perfmon.end_run('run')");
    let load: Option<f64> = db.val(&format!(
        "SELECT (perfmon.report({LAST}, 'json')::jsonb #>> '{{load,statements_per_s}}')::float8"
    ));
    assert_eq!(load, None);
    let report = report(&mut db);
    let run: String = db.val("SELECT perfmon.run_report('run')");
    for (report, title) in [
        (&report, "Top statements"),
        (&report, "Time by kind of command"),
        (&run, "Time by kind of command"),
    ] {
        let told = section(report, title);
        assert!(told.contains("pg_stat_statements.track is none"), "{told}");
        assert!(told.contains(TRACKED), "{told}");
    }
    assert!(section(&report, "Load").contains("unknown"), "{report}");
    assert!(!report.contains("- Quality: exact"), "{report}");
    for function in ["commands", "slow_statements"] {
        said();
        db.rows(&format!("SELECT * FROM perfmon.{function}({LAST})"));
        assert!(said().contains(TRACKED), "{function}");
    }
    let status =
        db.texts("SELECT state, hint FROM perfmon.status() WHERE item = 'pg_stat_statements'");
    assert!(status[0][1].as_ref().unwrap().starts_with(TRACKED), "{status:?}");
}

#[test]
fn a_run_without_statements_says_which_library_counts_them() {
    let server = Server::manual().preload("pg_perfmon").start();
    app(&server);
    let (mut db, _) = watcher(&server);
    db.snapshot();
    let mut bob = server.connect("bob", "app");
    db.run("SELECT perfmon.begin_run('run')");
    (0..20).for_each(|_| bob.run("SELECT 'of bob'::text"));
    db.run("SELECT perfmon.end_run('run')");
    let told =
        section(&db.val::<String>("SELECT perfmon.run_report('run')"), "Time by kind of command");
    assert!(told.contains("add pg_stat_statements to shared_preload_libraries"), "{told}");
    let missing: bool = db.val(
        "SELECT perfmon.run_report('run', 'json')::jsonb #>> '{missing,fix}' LIKE '%pg_stat_statements%'",
    );
    assert!(missing);
}

#[test]
fn a_past_window_without_ids_is_not_one_without_statements() {
    let server = Server::manual().start();
    app(&server);
    let (mut db, mut said) = watcher(&server);
    db.snapshot();
    set(&server, &mut db, "compute_query_id", "off");
    wait_until("this session knows it", secs(20), || {
        db.val::<String>("SHOW compute_query_id") == "off"
    });
    let mut bob = server.connect("bob", "app");
    db.snapshot();
    (0..100).for_each(|_| bob.run("SELECT 'of bob'::text"));
    db.snapshot();
    let window: String = db.val(&format!(
        "SELECT format('%L, %L', since, until) FROM (VALUES ({LAST})) AS last (since, until)"
    ));
    set(&server, &mut db, "compute_query_id", "auto");
    for function in
        ["top_statements", "commands", "slow_statements", "load_series", "latency_heatmap"]
    {
        said();
        db.rows(&format!("SELECT * FROM perfmon.{function}({window})"));
        let told = said();
        assert!(told.contains("compute_query_id"), "{function}: {told}");
        assert!(!told.contains("No execution of any statement"), "{function}: {told}");
    }
}

#[test]
fn what_the_asking_role_set_for_itself_is_not_the_servers() {
    let server = Server::manual().start();
    app(&server);
    let (mut db, _) = watcher(&server);
    db.run("CREATE ROLE mon LOGIN IN ROLE pg_monitor");
    db.snapshot();
    let mut bob = server.connect("bob", "app");
    (0..20).for_each(|_| bob.run("SELECT 'of bob'::text"));
    db.snapshot();
    for (setting, value) in [
        ("compute_query_id", "off"),
        ("pg_perfmon.capture", "off"),
        ("pg_stat_statements.track", "none"),
        ("pg_perfmon.plan_min_duration", "-1"),
    ] {
        db.run(&format!("ALTER ROLE mon SET {setting} = '{value}'"));
        let mut mon = server.connect("mon", "app");
        let items = mon.texts(
            "SELECT item, value FROM perfmon.status()
             WHERE item = 'pg_stat_statements' AND state = 'error' OR item = 'plans' AND state <> 'ok'",
        );
        assert_eq!(items, Vec::<Vec<Option<String>>>::new(), "{setting}");
        let report: String = mon.val(&format!("SELECT perfmon.report({LAST})"));
        assert!(!report.contains("are not recorded"), "{setting}: {report}");
        db.run(&format!("ALTER ROLE mon RESET {setting}"));
    }
    // What is so for all is told, in words that are said once.
    set(&server, &mut db, "pg_perfmon.capture", "off");
    let mut mon = server.connect("mon", "app");
    let report: String = mon.val(&format!("SELECT perfmon.report({LAST})"));
    let plans = section(&report, "Plans of the statements");
    assert!(plans.contains("Plans are not recorded: pg_perfmon.capture is off."), "{plans}");
    assert!(plans.contains("ALTER SYSTEM SET pg_perfmon.capture = 'top'"), "{plans}");
}
