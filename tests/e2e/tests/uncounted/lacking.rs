//! Statements of one role are not counted, beside others that are.

use super::absent::{in_one, section};
use super::*;

/// A setting, the value by which statements are not counted, and the words of a window in which it was so.
const ALL: [[&str; 3]; 2] = [
    ["compute_query_id", "off", "compute_query_id was off then"],
    ["pg_stat_statements.track", "'none'", "pg_stat_statements.track was none then"],
];

/// A run in which bob executes slow statements, and alice others; or he alone.
fn run(server: &Server, db: &mut Db, name: &str, with_alice: bool) -> String {
    let (mut alice, mut bob) = (server.connect("alice", "app"), server.connect("bob", "app"));
    db.run(&format!("SELECT perfmon.begin_run('{name}')"));
    (0..60).for_each(|_| bob.run("SELECT 'of bob'::text"));
    (0..6).for_each(|_| bob.run("SELECT pg_sleep(0.12)"));
    if with_alice {
        (0..500).for_each(|_| alice.run("SELECT 1, 1, 1"));
    }
    db.run(&format!("SELECT perfmon.end_run('{name}')"));
    db.val(&format!(
        "SELECT format('%L::timestamptz, %L::timestamptz', begun_at, ended_at) FROM perfmon.run WHERE name = '{name}'"
    ))
}

/// All that tells of statements of a window names him, with these words.
fn told(
    db: &mut Db,
    said: &mut dyn FnMut() -> String,
    (name, window): (&str, &str),
    (words, fix): (&str, Option<&str>),
) {
    for function in ["commands", "slow_statements", "load_series"] {
        said();
        db.rows(&format!("SELECT * FROM perfmon.{function}({window})"));
        let told = said();
        assert!(told.contains("bob") && told.contains(words), "{name}, {function}: {told}");
        assert!(fix.is_none_or(|fix| told.contains(fix)), "{name}, {function}: {told}");
        assert!(!told.contains("No execution"), "{name}, {function}: {told}");
    }
    let quality =
        format!("SELECT DISTINCT quality FROM perfmon.load_series({window}) WHERE calls > 0");
    assert_eq!(db.list::<String>(&quality), ["lower bound"], "{name}");
    for (asked, json) in [
        (format!("report({window})"), format!("report({window}, 'json')")),
        (format!("run_report('{name}')"), format!("run_report('{name}', 'json')")),
    ] {
        let report: String = db.val(&format!("SELECT perfmon.{asked}"));
        let title = "Time by kind of command";
        let told = if report.contains(title) { section(&report, title) } else { in_one(&report) };
        assert!(told.contains("bob") && told.contains(words), "{asked}: {told}");
        assert!(
            fix.is_none_or(|fix| told.contains(&format!("To fix it: {fix}"))),
            "{asked}: {told}"
        );
        let missing = |part: &str| format!("SELECT perfmon.{json}::jsonb #>> '{{missing,{part}}}'");
        let problem: Option<String> = db.val(&missing("problem"));
        assert!(problem.is_some_and(|problem| problem.contains(words)), "{json}");
        assert_eq!(
            db.val::<Option<String>>(&missing("fix")).as_deref(),
            fix.or(Some("")),
            "{json}"
        );
    }
}

#[test]
fn who_is_not_counted_is_named_by_all_that_count_statements() {
    let server = Server::manual().start();
    app(&server);
    let (mut db, mut said) = watcher(&server);
    db.run("RESET pg_perfmon.capture");
    db.snapshot();
    let whole = run(&server, &mut db, "whole", true);
    let id = statement(&mut db, "SELECT $1::text");
    let nothing = |db: &mut Db, said: &mut dyn FnMut() -> String, window: &str| {
        said();
        for function in ["commands", "slow_statements", "load_series"] {
            db.rows(&format!("SELECT * FROM perfmon.{function}({window})"));
        }
        assert_eq!(said(), "", "{window}");
    };
    nothing(&mut db, &mut said, &whole);
    for [setting, off, then] in ALL {
        for role in ["bob", "bob IN DATABASE app"] {
            db.run(&format!("ALTER ROLE {role} SET {setting} = {off}"));
            db.snapshot();
            let name = format!("{setting} {role}");
            let window = run(&server, &mut db, &name, true);
            let fix = format!("ALTER ROLE {role} RESET {setting};");
            let words = format!("{setting} is {} for role bob", off.trim_matches('\''));
            told(&mut db, &mut said, (&name, &window), (&words, Some(&fix)));
            // Of a time in which he was counted nothing is missing.
            nothing(&mut db, &mut said, &whole);
            if setting.ends_with("track") {
                for asked in ["top_statements(", &format!("statement_series({id}, ")] {
                    said();
                    db.rows(&format!("SELECT * FROM perfmon.{asked}{window})"));
                    assert!(said().contains(&fix), "{asked}");
                }
            }
            db.run(&format!("ALTER ROLE {role} RESET {setting}"));
            db.snapshot();
            told(&mut db, &mut said, (&name, &window), (then, None));
        }
    }
}

#[test]
fn who_alone_executed_something_and_was_not_counted_is_no_nobody() {
    let server = Server::manual().start();
    app(&server);
    let (mut db, mut said) = watcher(&server);
    db.snapshot();
    for [setting, off, _] in ALL {
        db.run(&format!("ALTER ROLE bob SET {setting} = {off}"));
        db.snapshot();
        let window = run(&server, &mut db, setting, false);
        for function in ["commands", "slow_statements"] {
            said();
            db.rows(&format!("SELECT * FROM perfmon.{function}({window})"));
            let told = said();
            let fix = format!("ALTER ROLE bob RESET {setting};");
            assert!(told.contains(&fix) && !told.contains("No execution"), "{function}: {told}");
        }
        db.run(&format!("ALTER ROLE bob RESET {setting}"));
    }
}

#[test]
fn who_is_counted_beside_a_database_that_is_not_is_no_whole() {
    let server = Server::manual().start();
    app(&server);
    let (mut db, mut said) = watcher(&server);
    db.snapshot();
    for [setting, off, _] in ALL {
        db.run(&format!("ALTER DATABASE app SET {setting} = {off}"));
        let on = if setting == "compute_query_id" { "on" } else { "top" };
        db.run(&format!("ALTER ROLE alice SET {setting} = '{on}'"));
        db.snapshot();
        let name = format!("but alice, {setting}");
        let window = run(&server, &mut db, &name, true);
        let fix = format!("ALTER DATABASE app RESET {setting};");
        for function in ["commands", "slow_statements", "load_series"] {
            said();
            db.rows(&format!("SELECT * FROM perfmon.{function}({window})"));
            let told = said();
            assert!(told.contains("bob") && told.contains(&fix), "{function}: {told}");
        }
        let report: String = db.val(&format!("SELECT perfmon.run_report('{name}')"));
        let told = section(&report, "Time by kind of command");
        assert!(told.contains(&fix), "{told}");
        db.run(&format!("ALTER DATABASE app RESET {setting}; ALTER ROLE alice RESET {setting}"));
    }
}

#[test]
fn a_handful_of_commands_is_not_told_to_be_a_setting() {
    let server = Server::manual().start();
    app(&server);
    let (mut db, mut said) = watcher(&server);
    // What is asked here is timed, and not counted: one snapshot in each interval.
    db.run("RESET pg_perfmon.capture; SET pg_stat_statements.track = 'none'");
    let mut admin = server.db("app");
    admin.run("SET pg_stat_statements.track_utility = off");
    for (commands, is_told) in [(2, false), (40, true)] {
        db.snapshot();
        db.snapshot();
        (0..commands).for_each(|_| admin.run("CREATE TEMP TABLE IF NOT EXISTS t ()"));
        db.snapshot();
        let why: Option<String> = db.val(&format!(
            "SELECT perfmon.report({LAST}, 'json')::jsonb #>> '{{missing,problem}}'"
        ));
        assert_eq!(why.is_some(), is_told, "{why:?}");
        assert!(why.is_none_or(|why| why.contains("track_utility")));
        said();
        db.rows(&format!("SELECT * FROM perfmon.load_series({LAST})"));
        assert_eq!(said().contains("pg_stat_statements.track"), is_told);
    }
}

#[test]
fn statements_that_a_reset_or_evictions_took_were_not_untracked() {
    let server = Server::manual().conf("pg_stat_statements.max = 100").start();
    app(&server);
    let (mut db, mut said) = watcher(&server);
    let mut bob = server.connect("bob", "app");
    for (taking, is_reset) in [
        (vec!["SELECT pg_stat_statements_reset()".to_owned()], true),
        ((1..300).map(|n| format!("SELECT 1{}", ", 1".repeat(n))).collect(), false),
    ] {
        db.snapshot();
        (0..8).for_each(|_| bob.run("SELECT 'before'::text"));
        taking.iter().for_each(|sql| db.run(sql));
        (0..8).for_each(|_| bob.run("SELECT 1, 'after'::text"));
        db.snapshot();
        for function in
            ["top_statements", "commands", "slow_statements", "load_series", "statement_history"]
        {
            said();
            db.rows(&format!("SELECT * FROM perfmon.{function}({LAST})"));
            let told = said();
            assert!(!told.contains("pg_stat_statements.track"), "{function}, {is_reset}: {told}");
        }
        let lost = match is_reset {
            true => format!("SELECT count(*) FROM perfmon.gaps({LAST}) WHERE kind = 'reset'"),
            false => "SELECT dealloc FROM pg_stat_statements_info".to_owned(),
        };
        assert!(db.val::<i64>(&lost) > 0);
    }
}
