//! The report of real servers: what it must say, in every encoding, and in how many columns.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

use perfmon_e2e::{Db, Server};

/// Lines outside of blocks, which hold what is to be run as it is.
fn own_lines(report: &str) -> Vec<&str> {
    let mut inside = false;
    report
        .lines()
        .filter(|line| {
            let fence = line.starts_with("```");
            inside ^= fence;
            !inside && !fence
        })
        .collect()
}

fn json<T: for<'a> postgres::types::FromSql<'a>>(db: &mut Db, path: &str, kind: &str) -> T {
    db.val(&format!("SELECT (perfmon.report(format => 'json')::jsonb #>> '{path}')::{kind}"))
}

/// A statement that is slow whatever the machine.
fn be_slow(db: &mut Db) {
    db.run("CREATE TABLE waiting (a int)");
    db.snapshot();
    for _ in 0..6 {
        db.run("SELECT a FROM (SELECT 1 AS a) s, pg_sleep(0.15)");
    }
    db.run("INSERT INTO waiting VALUES (1)");
    db.snapshot();
}

#[test]
fn a_slow_statement_is_the_story() {
    let server = Server::manual().start();
    let mut db = server.new_db("app");
    be_slow(&mut db);
    let report: String = db.val("SELECT perfmon.report()");
    for part in [
        "# Performance report: app\n",
        "**There is too little data for a judgement:**",
        "slow_statement, statement ",
        "threshold 100 ms",
        "## Time by kind of command",
        "`SELECT a FROM (SELECT $1",
        "## What to do, in this order",
    ] {
        assert!(report.contains(part), "{part} is not in\n{report}");
    }
    for line in own_lines(&report) {
        assert!(line.chars().count() <= 100, "{line}");
    }
    assert_eq!(json::<String>(&mut db, "{schema}", "text"), "pg_perfmon.report/1");
    let rating: f64 = json(&mut db, "{verdict,rating,value}", "float8");
    assert!((1.0..9.5).contains(&rating), "{rating}");
    assert!(json::<bool>(&mut db, "{verdict,provisional}", "bool"));
    // The servers of tests have other flaws too, such as fsync = off.
    let shares: Vec<f64> = db.list(
        "SELECT (f ->> 'share_ratio')::float8
         FROM jsonb_array_elements(perfmon.report(format => 'json')::jsonb -> 'findings') AS f
         WHERE f ->> 'kind' = 'slow_statement' AND f ->> 'priority' = 'high'",
    );
    assert!(matches!(shares[..], [share] if share > 0.5), "{shares:?}");
    // A snapshot on a busy machine may be slow too.
    let slow: i64 = json(&mut db, "{commands,0,slow_calls}", "int8");
    assert!(slow >= 6, "{slow}");
    let time: bool = db.val(
        "SELECT (r #>> '{head,until}')::timestamptz = (r #>> '{head,made_at}')::timestamptz
         FROM (SELECT perfmon.report(format => 'json')::jsonb) AS x (r)",
    );
    assert!(time, "times in JSON are points in time");
}

#[test]
fn times_are_in_the_sessions_zone() {
    let server = Server::manual().start();
    let mut db = server.new_db("app");
    be_slow(&mut db);
    db.run("SET timezone = 'Asia/Kathmandu'; SET datestyle = 'SQL, DMY'");
    let report: String = db.val("SELECT perfmon.report()");
    assert!(report.contains("time zone Asia/Kathmandu"), "{report}");
    let date: String = db.val("SELECT to_char(now(), 'YYYY-MM-DD HH24:MI')");
    let line = report.lines().find(|line| line.starts_with("- Date: ")).unwrap();
    assert!(line.ends_with("+05:45"), "{line}");
    // The minute may have turned.
    assert!(line.contains(&date[..13]) || date.ends_with(":00"), "{line} {date}");
}

#[test]
fn what_keeps_statements_from_being_recorded_is_said() {
    let server = Server::manual().preload("pg_perfmon").start();
    server.db("postgres").run("CREATE DATABASE app");
    let mut db = server.db("app");
    db.run("CREATE EXTENSION pg_perfmon");
    db.snapshot();
    db.run("CREATE TABLE t (a int)");
    db.snapshot();
    let report: String = db.val("SELECT perfmon.report()");
    assert!(report.contains("Statements are not recorded."), "{report}");
    assert!(report.contains("shared_preload_libraries"), "{report}");
    let statements: Option<String> =
        db.val("SELECT perfmon.report(format => 'json')::jsonb ->> 'statements'");
    assert_eq!(statements, None);
}

#[test]
fn hostile_names_in_another_encoding_break_nothing() {
    let server = Server::manual().start();
    server.db("postgres").run(
        "CREATE DATABASE latin ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0",
    );
    let mut db = server.db("latin");
    db.run("CREATE EXTENSION pg_stat_statements; CREATE EXTENSION pg_perfmon");
    db.run("CREATE TABLE \"t\u{fc}r | `a`\n# b\" AS SELECT generate_series(1, 2000) AS a");
    db.snapshot();
    for _ in 0..3 {
        db.run("SELECT count(*) FROM \"t\u{fc}r | `a`\n# b\"");
    }
    db.run("SELECT pg_stat_force_next_flush()");
    db.snapshot();
    let report: String = db.val("SELECT perfmon.report()");
    assert!(report.contains("t\u{fc}r \\| \\`a\\` # b"), "{report}");
    assert!(!report.contains("\n# b"), "{report}");
    let name: String = json(&mut db, "{tables,0,name}", "text");
    assert_eq!(name, "public.\"t\u{fc}r | `a`\n# b\"");
}
