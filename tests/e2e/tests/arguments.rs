//! Bad input gets a clear error with a hint, or an empty answer; never an internal error.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

use std::sync::Mutex;

use perfmon_e2e::{Db, Random, Server, code_of, message_of, secs, seed, wait_until};

#[test]
fn bad_input_is_told_with_a_hint() {
    let server = Server::manual().start();
    let mut db = server.new_db("app");
    db.snapshot();
    db.run("SELECT count(*) FROM pg_am");
    db.snapshot();
    for (call, code) in [
        ("top_statements(now(), now() - interval '1 hour')", "22023"),
        ("top_statements('-infinity', now())", "22023"),
        ("top_statements(now() - interval '1 hour', 'infinity')", "22023"),
        ("top_statements(order_by => 'nonsense')", "22023"),
        ("top_statements(max_rows => -1)", "22023"),
        ("top_statements(source => -5)", "22023"),
        ("statement_series(-1)", "22023"),
        ("statement_series(1, now(), now() - interval '1 hour')", "22023"),
        ("statement_series(1, step => interval '-1 minute')", "22023"),
        ("statement_series(1, step => interval '0')", "22023"),
        ("load_series(step => interval '300000 years')", "22023"),
        ("load_series(step => interval '1001 years')", "22023"),
        ("load_series(step => interval '367000 days')", "22023"),
        ("recent_activity('-1 s')", "22023"),
        ("long_transactions('-1 s')", "22023"),
        ("statement_history('infinity', 'infinity')", "22023"),
        ("tables(now(), now() - interval '1 hour')", "22023"),
        ("databases(now(), now() - interval '1 hour')", "22023"),
        ("commands(now(), now() - interval '1 hour')", "22023"),
        ("intervals(now(), now() - interval '1 hour')", "22023"),
        ("gaps(now(), now() - interval '1 hour')", "22023"),
        ("report(now(), now() - interval '1 hour')", "22023"),
        ("report(format => 'pdf')", "22023"),
        ("grant_reader('no such role')", "22023"),
        ("grant_reader(NULL)", "22023"),
        ("revoke_reader(NULL)", "22023"),
    ] {
        let e = db.fails(&format!("SELECT * FROM perfmon.{call}"));
        assert_eq!(code_of(&e), code, "{call}: {}", message_of(&e));
        if code == "22023" {
            let error = e.as_db_error().unwrap();
            let told = error.hint().zip(error.detail());
            assert!(told.is_some(), "{call}: {}", message_of(&e));
        }
    }
}

/// Where a statement is recorded, none is said to be missing because nobody wants to see it.
#[test]
fn that_nothing_was_recorded_is_said_where_it_is_so() {
    let server = Server::manual().start();
    let mut db = server.new_db("app");
    for _ in 0..3 {
        db.run("SELECT count(*) FROM pg_am");
        db.snapshot();
    }
    let (mut asker, notices) = server.noticing("app");
    asker.run("SELECT * FROM perfmon.top_statements(max_rows => 0)");
    asker.run("SELECT * FROM perfmon.top_statements(max_rows => 1)");
    let told = notices.lock().unwrap().clone();
    assert!(told.is_empty(), "{told:?}");
}

/// A series that nobody gave a step for fits on a screen.
#[test]
fn a_series_of_years_has_400_points_at_most() {
    let server = Server::manual().start();
    let mut db = server.new_db("app");
    for _ in 0..2 {
        db.snapshot();
    }
    for zone in ["UTC", "Europe/Vienna", "Asia/Kathmandu"] {
        db.run(&format!("SET timezone = '{zone}'"));
        for days in [1, 16, 99, 399, 400, 401, 731, 5000, 700_000] {
            let points: i64 = db.val(&format!(
                "SELECT count(*) FROM perfmon.load_series(now() - interval '{days} days')"
            ));
            assert!((90..=400).contains(&points), "{zone}, {days} days: {points}");
        }
    }
}

/// However often its function reads a row.
#[test]
fn a_damaged_column_is_told_once_for_each_statement() {
    let server = Server::manual().start();
    let mut db = server.new_db("app");
    // A session tells its transactions once a second.
    wait_until("a transaction is counted", secs(20), || {
        db.snapshot();
        db.val("SELECT count(xact_commit) > 0 FROM perfmon.database_minute")
    });
    db.run(
        "UPDATE perfmon.database_minute SET xact_commit = '\\xff' WHERE xact_commit IS NOT NULL",
    );
    let (mut asker, notices) = server.noticing("app");
    for _ in 0..2 {
        notices.lock().unwrap().clear();
        asker.run("SELECT perfmon.report()");
        let mut told: Vec<String> = notices.lock().unwrap().clone();
        told.retain(|told| told.contains("xact_commit"));
        told.sort();
        let all = told.len();
        told.dedup();
        assert!(all > 0 && told.len() == all, "{told:?}");
    }
}

/// In a long transaction too, what happened is as long ago as the clock says.
#[test]
fn status_tells_time_by_the_clock() {
    let server = Server::manual().start();
    let mut db = server.new_db("app");
    db.run("BEGIN; SELECT now()");
    server.db("app").snapshot();
    wait_until("two seconds pass", secs(10), || {
        db.val("SELECT clock_timestamp() > now() + interval '3 seconds'")
    });
    let status = db.status();
    assert!(status.contains("s ago") && !status.contains("(0 s ago)"), "{status}");
}

#[test]
fn a_fresh_installation_answers_empty() {
    let server = Server::unloaded().start();
    let mut db = server.new_db("app");
    for call in [
        "top_statements()",
        "statement_history()",
        "tables()",
        "databases()",
        "commands()",
        "intervals()",
        "gaps()",
        "report()",
        "status()",
    ] {
        db.run(&format!("SELECT * FROM perfmon.{call}"));
    }
    assert_eq!(db.val::<i64>("SELECT count(*) FROM perfmon.top_statements()"), 0);
    assert!(!db.val::<String>("SELECT perfmon.report()").is_empty());
}

/// The calls of all functions that read history over a window, or all of it, and need nothing else to be said. Not those
/// that judge objectives, which say of each what is not known.
fn readers(db: &mut Db, window: &str) -> Vec<(String, String)> {
    const READERS: &str = "SELECT p.proname::text, 'since' = ANY (p.proargnames)
       FROM pg_proc p
      WHERE p.pronamespace = 'perfmon'::regnamespace AND p.proargnames @> '{source}'
          AND p.pronargs = p.pronargdefaults AND p.proname NOT IN ('slo_status', 'assert_slo')
      ORDER BY 1";
    let rows = db.rows(READERS);
    let call = |row: &postgres::Row| {
        let name: String = row.get(0);
        let window = if row.get(1) { window } else { "" };
        let call = format!("SELECT * FROM perfmon.{name}({window})");
        (name, call)
    };
    rows.iter().map(call).collect()
}

/// What is told beside an empty result.
fn told(asker: &mut Db, notices: &Mutex<Vec<String>>, call: &str) -> (i64, Vec<String>) {
    notices.lock().unwrap().clear();
    let rows = asker.rows(call).len();
    (i64::try_from(rows).unwrap(), notices.lock().unwrap().clone())
}

#[test]
fn whoever_reads_is_told_that_there_is_no_history_yet() {
    const YET: &str = "there is no history yet";
    let server = Server::unloaded().start();
    let mut db = server.new_db("app");
    let (mut asker, notices) = server.noticing("app");
    let readers = readers(&mut db, "");
    assert!(readers.len() > 40, "{readers:?}");
    // Before the first snapshot, and after it set where to count from.
    for _ in 0..2 {
        for (name, call) in &readers {
            let (rows, told) = told(&mut asker, &notices, call);
            let fits = told.iter().filter(|told| told.contains(YET)).count() == 1;
            assert!(fits && (rows == 0 || name == "report"), "{call}: {rows} rows, {told:?}");
        }
        db.snapshot();
    }
}

#[test]
fn whoever_reads_is_told_that_a_window_is_to_come() {
    const AHEAD: &str = "the window begins in the future";
    let server = Server::manual().start();
    let mut db = server.new_db("app");
    db.run("CREATE TABLE t (a int); CREATE INDEX one ON t (a); CREATE INDEX other ON t (a)");
    for _ in 0..3 {
        db.snapshot();
    }
    db.run("SELECT perfmon.mark_change('told')");
    let open: i64 = db.val("SELECT perfmon.evaluate()");
    assert!(open > 0, "two indexes are the same");
    let (mut asker, notices) = server.noticing("app");
    let ahead = "since => now() + interval '1 hour', until => now() + interval '2 hours'";
    for (name, call) in readers(&mut db, ahead) {
        if !call.contains(ahead) {
            continue;
        }
        let (rows, told) = told(&mut asker, &notices, &call);
        let fits = told.iter().filter(|told| told.contains(AHEAD)).count() == 1;
        let lists = ["changes", "finding_history", "gaps", "intervals", "plan_flips"];
        let fits = fits && (rows == 0 || !lists.contains(&name.as_str()));
        assert!(fits, "{call}: {rows} rows, {told:?}");
    }
    let found = |window: &str| format!("SELECT count(*) FROM perfmon.finding_history({window})");
    assert_eq!(db.val::<i64>(&found("now() - interval '1 s', now() + interval '1 hour'")), open);
    assert_eq!(db.val::<i64>(&found("now() - interval '2 h', now() - interval '1 h'")), 0);
}

/// Values to try for a type, as SQL; NULL is tried for all.
fn values(kind: &str) -> &'static [&'static str] {
    match kind {
        "timestamp with time zone" => &[
            "'infinity'",
            "'-infinity'",
            "now()",
            "now() - interval '1 hour'",
            "now() - interval '1 s'",
            "'4713-01-01 BC'",
            "'294276-12-31'",
            "'epoch'",
            "now() + interval '1 day'",
            "now() - interval '40 years'",
            "'2000-01-01'",
        ],
        "interval" => &[
            "'0'",
            "'-1 s'",
            "'1 month'",
            "'1 us'",
            "'1 hour'",
            "'178000000 years'",
            "'-178000000 years'",
            "'1 day -24 hours'",
            "'1 mon -30 days'",
        ],
        "integer" => &["0", "1", "-1", "2", "2147483647", "-2147483648", "1000"],
        "bigint" => {
            &["0", "1", "-1", "9223372036854775807", "-9223372036854775808", "9007199254740993"]
        }
        "double precision" | "real" | "numeric" => {
            &["0", "'NaN'", "'Infinity'", "'-Infinity'", "1e300", "-1", "0.5"]
        }
        "text" | "name" | "character varying" => &[
            "''",
            "'calls'",
            "'markdown'",
            "'x'",
            "'DROP TABLE y; --'",
            "'\u{1F418}'",
            "repeat('x', 10000)",
            "E'\\n'",
        ],
        "boolean" => &["true", "false"],
        "regrole" => &["'pg_monitor'", "'postgres'", "0", "4294967295"],
        "oid" | "regclass" => &["0", "1", "4294967295"],
        _ => &[],
    }
}

#[test]
fn random_arguments_never_reach_an_internal_error() {
    let mut random = Random::new(seed());
    // Not preloaded, so that a random snapshot() is cheap.
    let server = Server::unloaded().start();
    let mut db = server.new_db("app");
    for _ in 0..3 {
        db.snapshot();
        db.run("SELECT 1; SELECT 2, 3; SELECT count(*) FROM pg_am");
    }
    db.snapshot();
    let functions: Vec<(String, Vec<String>)> = db
        .rows(
            "SELECT p.proname::text, ARRAY(SELECT format_type(t, NULL) FROM unnest(p.proargtypes) WITH ORDINALITY u(t, o) ORDER BY o)
               FROM pg_proc p JOIN pg_depend d ON d.objid = p.oid AND d.classid = 'pg_proc'::regclass AND d.deptype = 'e'
               JOIN pg_extension e ON e.oid = d.refobjid AND d.refclassid = 'pg_extension'::regclass
              WHERE e.extname = 'pg_perfmon' AND p.prokind = 'f' AND p.prorettype NOT IN ('trigger'::regtype, 'internal'::regtype)",
        )
        .iter()
        .map(|r| (r.get(0), r.get(1)))
        .collect();
    assert!(functions.len() >= 10, "{functions:?}");
    db.run("SET statement_timeout = '20s'; CREATE ROLE somebody");
    let mut errors = 0;
    for _ in 0..4000 {
        let (name, kinds) = random.pick(&functions).clone();
        let arguments: Vec<String> = kinds
            .iter()
            .map(|kind| {
                let choices = values(kind);
                if choices.is_empty() || random.one_in(6) {
                    format!("NULL::{kind}")
                } else {
                    format!("{}::{kind}", random.pick(choices))
                }
            })
            .collect();
        let sql = format!("SELECT * FROM perfmon.{name}({})", arguments.join(", "));
        // Rolled back, so that grants do not add up.
        if let Err(e) = db.batch_execute(&format!("BEGIN; {sql}")) {
            let code = code_of(&e);
            assert!(
                ["22", "42", "55"].iter().any(|class| code.starts_with(class)),
                "{}\nin: {sql}",
                message_of(&e)
            );
            errors += 1;
        }
        db.run("ROLLBACK");
    }
    println!("{errors} of 4000 calls were refused");
    assert!(errors > 100, "bad arguments are refused");
}

#[test]
fn null_source_means_own_and_unknown_sources_are_empty_or_refused() {
    let server = Server::unloaded().start();
    let mut db = server.new_db("app");
    db.snapshot();
    db.run("SELECT count(*) FROM pg_am");
    db.snapshot();
    let all = db.val::<i64>("SELECT count(*) FROM perfmon.top_statements(source => NULL)");
    assert!(all > 0);
    match db.query_one("SELECT count(*) FROM perfmon.top_statements(source => 12345)", &[]) {
        Ok(row) => assert_eq!(row.get::<_, i64>(0), 0),
        Err(e) => assert_eq!(code_of(&e), "22023", "{}", message_of(&e)),
    }
}

#[test]
fn a_window_is_told_of_once_and_in_words_that_fit() {
    let server = Server::manual().start();
    let mut db = server.new_db("app");
    for _ in 0..3 {
        db.snapshot();
    }
    let (mut asker, notices) = server.noticing("app");
    for call in ["pool_saturation", "why_queued", "top_statements", "databases", "load_series"] {
        notices.lock().unwrap().clear();
        asker.run(&format!(
            "SELECT * FROM perfmon.{call}(now() - interval '3 days', now() - interval '2 days')"
        ));
        let told = notices.lock().unwrap().clone();
        let fits = |told: &&String| told.contains("the window ends before the history begins");
        assert_eq!(told.iter().filter(fits).count(), 1, "{call}: {told:?}");
        assert!(!told.iter().any(|told| told.contains("widened")), "{call}: {told:?}");
    }
    for call in ["tables", "databases", "statement_history", "top_statements", "why_queued"] {
        notices.lock().unwrap().clear();
        asker.run(&format!(
            "SELECT * FROM perfmon.{call}(now() + interval '1 hour', now() + interval '2 hours')"
        ));
        let told = notices.lock().unwrap().clone();
        let fits = told.len() == 1 && told[0].contains("the window begins in the future");
        assert!(fits, "{call}: {told:?}");
    }
    for (since, until) in [("'2026-01-01'", "'294276-12-31'"), ("'4713-01-01 BC'", "now()")] {
        let call = format!("SELECT count(*) FROM perfmon.load_series({since}, {until})");
        let error = asker.batch_execute(&call).unwrap_err();
        let told = error.as_db_error().unwrap();
        assert_eq!(told.code().code(), "22023");
        assert!(told.detail().is_some() && told.hint().is_some(), "{told:?}");
    }
}
