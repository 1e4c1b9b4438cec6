//! What is off is told in the place of what is missing, as long as it is off with the line that turns it on, and once it is on again
//! with what was noted then.

use perfmon_e2e::Stop;

use super::absent::{in_one, section, set};
use super::*;

/// Both reports of the run that was made last, and of its time.
pub(super) fn reports(db: &mut Db, run: &str) -> [String; 2] {
    let window = window_of(db, run);
    [
        db.val(&format!("SELECT perfmon.report({window})")),
        db.val(&format!("SELECT perfmon.run_report('{run}')")),
    ]
}

pub(super) fn window_of(db: &mut Db, run: &str) -> String {
    db.val(&format!(
        "SELECT format('%L::timestamptz, %L::timestamptz', begun_at, ended_at) FROM perfmon.run WHERE name = '{run}'"
    ))
}

/// What the JSON of both reports has at a place.
pub(super) fn in_json(db: &mut Db, run: &str, path: &str) -> [Option<String>; 2] {
    let window = window_of(db, run);
    let of = |document: String| format!("SELECT perfmon.{document}::jsonb #>> '{{{path}}}'");
    [
        db.val(&of(format!("report({window}, 'json')"))),
        db.val(&of(format!("run_report('{run}', 'json')"))),
    ]
}

/// Sets something for all, this session too.
pub(super) fn set_for_all(server: &Server, db: &mut Db, setting: &str, value: &str) {
    set(server, db, setting, value);
    wait_until("this session knows it", secs(20), || {
        db.val::<String>(&format!("SHOW {setting}")) == value
    });
}

fn run(server: &Server, db: &mut Db, name: &str) {
    db.run(&format!("SELECT perfmon.begin_run('{name}')"));
    let mut bob = server.connect("bob", "app");
    bob.run("SET application_name = 'shop'");
    (0..50).for_each(|_| bob.run("SELECT 'of bob'::text"));
    (0..6).for_each(|_| bob.run("SELECT pg_sleep(0.12)"));
    bob.fails("SELECT 1 / 0");
    db.run(&format!("SELECT perfmon.end_run('{name}')"));
}

/// What is missing from reports while a setting is off: sections, words and, of JSON, where they are.
struct Off {
    setting: &'static str,
    off: &'static str,
    on: &'static str,
    sections: &'static [(&'static str, &'static str)],
    /// What stands in all of them once it is on again.
    then: &'static str,
    /// The same of the notices of these functions.
    functions: &'static [&'static str],
}

const LATENCY: (&str, &str) = ("Latency", "uncounted");
const COMMANDS: (&str, &str) = ("Time by kind of command", "missing");

const ALL: [Off; 3] = [
    Off {
        setting: "pg_perfmon.capture",
        off: "off",
        on: "top",
        sections: &[LATENCY, ("Errors", "unheard")],
        then: "noted then: pg_perfmon.capture is off",
        functions: &[
            "errors",
            "error_series",
            "routes",
            "load_series",
            "top_statements",
            "slow_statements",
            "scan_evidence",
            "plan_flips",
        ],
    },
    Off {
        setting: "compute_query_id",
        off: "off",
        on: "auto",
        sections: &[LATENCY, COMMANDS],
        then: "noted then: compute_query_id is off",
        functions: &["errors", "top_statements", "slow_statements", "commands", "rewrite_hints"],
    },
    Off {
        setting: "pg_stat_statements.track",
        off: "none",
        on: "top",
        sections: &[COMMANDS],
        then: "pg_stat_statements.track is none",
        functions: &[
            "top_statements",
            "slow_statements",
            "commands",
            "load_series",
            "rewrite_hints",
        ],
    },
];

/// What was counted since the server's start grows no more.
fn stand_still(db: &mut Db, said: &mut dyn FnMut() -> String, line: &str) {
    for function in ["latency_since_start", "errors_since_start", "scans_since_start"] {
        said();
        db.rows(&format!("SELECT * FROM perfmon.{function}()"));
        let told = said();
        assert!(told.contains(line), "{function}: {told}");
    }
}

#[test]
fn no_section_is_silently_lacking() {
    let server = Server::manual().start();
    app(&server);
    let (mut db, mut said) = watcher(&server);
    db.run("RESET pg_perfmon.capture");
    db.snapshot();
    run(&server, &mut db, "whole");
    for off in &ALL {
        let Off { setting, sections, functions, .. } = *off;
        let name = format!("without {setting}");
        set_for_all(&server, &mut db, setting, off.off);
        db.snapshot();
        run(&server, &mut db, &name);
        let line = format!("ALTER SYSTEM SET {setting} = '{}'", off.on);
        for report in reports(&mut db, &name) {
            for (title, _) in sections {
                let told = section(&report, title);
                assert!(told.contains(&format!("To fix it: {line}")), "{setting}: {told}");
            }
        }
        for (_, place) in sections {
            for fix in in_json(&mut db, &name, &format!("{place},fix")) {
                assert!(fix.as_ref().is_some_and(|fix| fix.starts_with(&line)), "{place}: {fix:?}");
            }
        }
        let window = window_of(&mut db, &name);
        for function in functions {
            said();
            db.rows(&format!("SELECT * FROM perfmon.{function}({window})"));
            let told = said();
            assert!(told.contains(&line), "{setting}, {function}: {told}");
        }
        if setting == "pg_perfmon.capture" {
            stand_still(&mut db, &mut said, &line);
        }
        set_for_all(&server, &mut db, setting, off.on);
        db.snapshot();
        for report in reports(&mut db, &name) {
            for (title, _) in sections {
                let told = section(&report, title);
                assert!(
                    told.contains(off.then) && !told.contains("To fix it"),
                    "{setting}: {told}"
                );
                assert!(!told.contains("| all |"), "{setting}: {told}");
            }
        }
        for (_, place) in sections {
            for why in in_json(&mut db, &name, &format!("{place},problem")) {
                assert!(why.as_ref().is_some_and(|why| why.contains(off.then)), "{place}: {why:?}");
            }
            let fixes = in_json(&mut db, &name, &format!("{place},fix"));
            assert_eq!(fixes, [Some(String::new()), Some(String::new())], "{place}");
        }
        for function in functions {
            said();
            db.rows(&format!("SELECT * FROM perfmon.{function}({window})"));
            let told = said();
            assert!(told.contains(off.then), "{setting}, {function}: {told}");
        }
    }
    // Of the first run all is known, whatever was off later.
    for place in ["uncounted", "missing", "unheard"] {
        assert_eq!(in_json(&mut db, "whole", place), [None, None], "{place}");
    }
    said();
    db.rows("SELECT * FROM perfmon.compare_runs('whole', 'without pg_perfmon.capture')");
    let told = said();
    assert!(told.contains("statements are not compared") && told.contains(ALL[0].then), "{told}");
}

#[test]
fn a_quiet_time_is_not_one_that_was_not_counted() {
    let server = Server::manual().preload("pg_perfmon").start();
    app(&server);
    let (mut db, _) = watcher(&server);
    db.run("RESET pg_perfmon.capture");
    db.snapshot();
    run(&server, &mut db, "busy");
    // In one message, of which nothing is over before the second.
    db.run("SELECT perfmon.snapshot(), perfmon.snapshot()");
    let window = LAST;
    let why: Option<String> = db.val(&format!(
        "SELECT perfmon.report({window}, 'json')::jsonb #>> '{{uncounted,problem}}'"
    ));
    assert_eq!(why, None);
}

#[test]
fn routes_say_why_errors_of_the_past_are_not_known() {
    let server = Server::manual().start();
    app(&server);
    let (mut db, mut said) = watcher(&server);
    db.run("RESET pg_perfmon.capture");
    db.snapshot();
    set_for_all(&server, &mut db, "log_min_messages", "fatal");
    run(&server, &mut db, "hidden");
    set_for_all(&server, &mut db, "log_min_messages", "warning");
    let window = window_of(&mut db, "hidden");
    let mut told = |function: &str| {
        said();
        db.rows(&format!("SELECT * FROM perfmon.{function}({window})"));
        said()
    };
    let series = told("error_series");
    assert!(series.contains("not all errors of this window are known"), "{series}");
    assert_eq!(told("routes"), series);
}

#[test]
fn time_without_preloading_is_told_to_be_that() {
    let server = Server::manual().start();
    app(&server);
    let preload = |libraries: &str| {
        server.stop(Stop::Fast);
        server.append_conf(&[format!("shared_preload_libraries = '{libraries}'")]);
        server.start();
    };
    server.db("app").snapshot();
    run(&server, &mut server.db("app"), "before");
    preload("pg_stat_statements");
    run(&server, &mut server.db("app"), "without");
    preload("pg_stat_statements,pg_perfmon");
    let (mut db, mut said) = watcher(&server);
    db.snapshot();
    let why = "pg_perfmon is not in shared_preload_libraries";
    for report in reports(&mut db, "without") {
        for title in ["Latency", "Errors"] {
            let told = section(&report, title);
            assert!(told.contains(&format!("noted then: {why}")), "{told}");
        }
    }
    let window = window_of(&mut db, "without");
    for function in
        ["errors", "error_series", "routes", "load_series", "slow_statements", "scan_evidence"]
    {
        said();
        db.rows(&format!("SELECT * FROM perfmon.{function}({window})"));
        let told = said();
        assert!(told.contains(why), "{function}: {told}");
    }
}

#[test]
fn what_was_not_counted_from_the_start_is_told_to_be_that() {
    let server = Server::unloaded().start();
    app(&server);
    server.db("app").snapshot();
    run(&server, &mut server.db("app"), "without");
    server.stop(Stop::Fast);
    server.append_conf(&["shared_preload_libraries = 'pg_stat_statements,pg_perfmon'"]);
    server.start();
    let (mut db, mut said) = watcher(&server);
    let window = window_of(&mut db, "without");
    for words in ["none are recorded so far", "they are recorded since"] {
        for function in ["errors", "error_series", "routes", "load_series"] {
            said();
            db.rows(&format!("SELECT * FROM perfmon.{function}({window})"));
            let told = said();
            assert!(told.contains(words), "{function}: {told}");
        }
        for report in reports(&mut db, "without") {
            for title in ["Latency", "Errors"] {
                let told = in_one(&section(&report, title));
                assert!(told.contains(words), "{told}");
            }
        }
        db.snapshot();
        db.snapshot();
    }
}

#[test]
fn errors_without_a_statement_name_the_line_that_gives_them_one() {
    let server = Server::manual().start();
    app(&server);
    let (mut db, mut said) = watcher(&server);
    db.run("RESET pg_perfmon.capture");
    let mut bob = server.connect("bob", "app");
    db.snapshot();
    (0..20).for_each(|_| bob.run("SELECT 'of bob'::text"));
    db.snapshot();
    let id = statement(&mut db, "SELECT $1::text");
    db.run(&format!(
        "SELECT perfmon.create_slo('stmt', error_ratio => 0.001, statement_id => {id}, min_executions => 1)"
    ));
    for (change, line) in [
        ("ALTER ROLE bob SET track_activities = off", "ALTER ROLE bob RESET track_activities;"),
        (
            "ALTER SYSTEM SET track_activities = off",
            "ALTER SYSTEM SET track_activities = on; SELECT pg_reload_conf();",
        ),
    ] {
        db.run(change);
        server.reload();
        wait_until("the setting is there", secs(20), || {
            server.connect("bob", "app").val::<String>("SHOW track_activities") == "off"
        });
        let mut bob = server.connect("bob", "app");
        db.snapshot();
        (0..50).for_each(|_| bob.run("SELECT 'of bob'::text"));
        (0..5).for_each(|_| drop(bob.fails("SELECT 1 / 0")));
        db.snapshot();
        let told: String = db.val(&format!(
            "SELECT status || ': ' || detail FROM perfmon.slo_status({LAST}) WHERE objective = 'errors'"
        ));
        assert!(told.starts_with("no_data") && told.contains(line), "{told}");
        assert!(!told.contains("status()"), "{told}");
        said();
        db.rows(&format!("SELECT * FROM perfmon.errors({LAST})"));
        let told = said();
        assert!(told.contains("without their statement") && told.contains(line), "{told}");
        db.run("ALTER ROLE bob RESET track_activities");
        db.run("ALTER SYSTEM RESET track_activities");
        server.reload();
        wait_until("the setting is back", secs(20), || {
            server.connect("bob", "app").val::<String>("SHOW track_activities") == "on"
        });
        // Nothing noted it, but what came of it is there.
        said();
        db.rows(&format!("SELECT * FROM perfmon.errors({LAST})"));
        let told = said();
        assert!(told.contains("errors of bob were counted without their statement"), "{told}");
        assert!(!told.contains("ALTER"), "{told}");
    }
    // What fails before anybody knows which statement it is has none in any case.
    let mut bob = server.connect("bob", "app");
    db.snapshot();
    drop(bob.fails("SELECT 1 / 0"));
    drop(bob.fails("SELECT FROM WHERE"));
    db.snapshot();
    said();
    db.rows(&format!("SELECT * FROM perfmon.errors({LAST})"));
    assert_eq!(said(), "");
}
