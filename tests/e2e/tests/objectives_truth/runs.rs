//! What is known of a run, and stays so: what happens after it ended is nothing to it.

use super::*;

#[test]
fn a_finished_run_stays_as_it_was_in_a_database_that_is_not_the_home_database() {
    // All databases are looked into at the same time after a restart.
    let server = Server::manual().conf("pg_perfmon.max_workers = 8").start();
    let mut home = server.new_db("home");
    home.snapshot();
    let mut db = app(&server);
    db.run("SELECT perfmon.create_slo('latency', p95_ms => 10000)");
    // What such a database keeps of others now would be missed after the next restart.
    drop((home, db));
    server.restart();
    let mut db = server.db("app");
    db.run(CAPTURE_OFF);
    db.run("SELECT perfmon.begin_run('run')");
    let mut client = server.connect("alice", "app");
    (0..150).for_each(|_| client.run("SELECT 1"));
    db.run("SELECT perfmon.end_run('run')");
    let outcome = "SELECT perfmon.run_report('run', 'json')::jsonb ->> 'outcome'";
    assert_eq!(db.val::<String>(outcome), "passed");
    drop((client, db));
    server.restart();
    let mut db = server.db("app");
    db.run(CAPTURE_OFF);
    db.snapshot();
    assert_eq!(db.val::<String>(outcome), "passed");
    let is_of_others = |subject: &str| ["cluster", "session", "database"].contains(&subject);
    let gaps = db.gaps();
    assert!(!gaps.iter().any(|gap| is_of_others(&gap.subject)), "{gaps:?}");
}

#[test]
fn a_run_says_what_was_lost_of_it() {
    let server = Server::manual().start();
    let mut db = app(&server);
    db.run("SELECT perfmon.create_slo('latency', p95_ms => 1000); SELECT perfmon.begin_run('run')");
    let mut client = server.connect("alice", "app");
    (0..150).for_each(|_| client.run("SELECT 1"));
    db.snapshot();
    client.run("SELECT pg_sleep(0.5)");
    drop((client, db));
    server.restart();
    let mut db = server.db("app");
    db.run(CAPTURE_OFF);
    db.run("SELECT perfmon.end_run('run')");
    let report: String = db.val("SELECT perfmon.run_report('run')");
    for words in ["**unclear**", "Not known: ", "## Gaps", "reset", "server_down"] {
        assert!(report.contains(words), "{words}: {report}");
    }
    let json = "SELECT r ->> 'outcome', (r ->> 'unknown_ratio')::float8 > 0, jsonb_array_length(r -> 'gaps') > 1
                FROM (SELECT perfmon.run_report('run', 'json')::jsonb AS r) x";
    let row = db.query_one(json, &[]).unwrap();
    let said: (String, bool, bool) = (row.get(0), row.get(1), row.get(2));
    assert_eq!(said, ("unclear".into(), true, true));
    let asserted = db.fails("SELECT perfmon.assert_run('run')");
    assert_eq!(code_of(&asserted), "P0004", "{}", message_of(&asserted));
    let detail = asserted.as_db_error().unwrap().detail().unwrap().to_owned();
    assert!(detail.contains("latency") && detail.contains("Not known: "), "{detail}");
}

#[test]
fn what_is_no_longer_kept_of_a_run_is_not_made_of_what_others_did() {
    let server = Server::builder().conf("pg_perfmon.retention = '1d'").start();
    let mut db = app(&server);
    db.run("SELECT perfmon.create_slo('latency', p95_ms => 10000)");
    let mut client = server.connect("alice", "app");
    let sleep = |client: &mut Db| (0..6).for_each(|_| client.run("SELECT pg_sleep(0.11)"));
    sleep(&mut client);
    for run in ["first", "second"] {
        db.run(&format!("SELECT perfmon.begin_run('{run}')"));
        (0..150).for_each(|_| client.run("SELECT 1"));
        db.run(&format!("SELECT perfmon.end_run('{run}')"));
    }
    sleep(&mut client);
    db.snapshot();
    let report = "SELECT perfmon.run_report('first')";
    let said: String = db.val(report);
    assert!(said.contains("**passed**") && !said.contains("pg_sleep"), "{said}");
    db.run(THREE_DAYS_AGO);
    let left = "SELECT count(*) FROM pg_class
        WHERE relnamespace = 'perfmon'::regnamespace AND relkind = 'r'
            AND relname ~ ('^(server|latency|route|failure|statement)_minute_s.*_'
                || to_char((now() AT TIME ZONE 'UTC')::date - 3, 'YYYYMMDD'))";
    assert!(db.val::<i64>(left) >= 4);
    wait_until("the day is dropped", secs(200), || {
        client.run("SELECT 1");
        db.val::<i64>(left) == 0
    });
    assert!(db.val::<i64>("SELECT count(*) FROM perfmon.latency_hour") > 0);
    let said: String = db.val(report);
    for words in ["**unclear**", "Not known: 100.0 %", "No longer kept: "] {
        assert!(said.contains(words), "{words}: {said}");
    }
    assert!(!said.contains("pg_sleep") && !said.contains("| all |"), "{said}");
    assert!(said.contains("## Latency\n\nNot known, as what"), "{said}");
    let json = "SELECT (r ->> 'forgotten_ms')::float8 > 0 AND r ->> 'latency' IS NULL AND r ->> 'errors' IS NULL
                    AND r -> 'slow' = '[]' AND r -> 'commands' = '[]'
                FROM (SELECT perfmon.run_report('first', 'json')::jsonb AS r) x";
    assert!(db.val::<bool>(json));
    let verdicts: i64 =
        db.val("SELECT count(verdict) FROM perfmon.compare_runs('first', 'second')");
    assert_eq!(verdicts, 0);
    assert_eq!(code_of(&db.fails("SELECT perfmon.assert_run('first')")), "P0004");
}

/// Puts what was recorded today, and runs, three days back.
const THREE_DAYS_AGO: &str = "DO $$
    DECLARE part record; name text; day date := (now() AT TIME ZONE 'UTC')::date;
    BEGIN
        SET LOCAL timezone = 'UTC';
        FOR part IN
            SELECT c.relname, p.relname AS parent
              FROM pg_class c JOIN pg_inherits i ON i.inhrelid = c.oid JOIN pg_class p ON p.oid = i.inhparent
             WHERE c.relnamespace = 'perfmon'::regnamespace AND c.relkind = 'r'
                 AND c.relname ~ ('_minute_s[0-9a-f]{16}_' || to_char(day, 'YYYYMMDD'))
        LOOP
            name := part.parent || '_' || to_char(day - 3, 'YYYYMMDD');
            EXECUTE format('CREATE TABLE perfmon.%I (LIKE perfmon.%I INCLUDING ALL)', name, part.parent);
            EXECUTE format('INSERT INTO perfmon.%I SELECT * FROM perfmon.%I', name, part.relname);
            EXECUTE format('UPDATE perfmon.%I SET since = since - interval ''3 days'', until = until - interval ''3 days''', name);
            EXECUTE format('DELETE FROM perfmon.%I', part.relname);
            EXECUTE format('ALTER TABLE perfmon.%I ATTACH PARTITION perfmon.%I FOR VALUES FROM (%L) TO (%L)',
                part.parent, name, (day - 3)::timestamptz, (day - 2)::timestamptz);
        END LOOP;
        UPDATE perfmon.run SET begun_at = begun_at - interval '3 days', ended_at = ended_at - interval '3 days';
        DELETE FROM perfmon.chore;
    END $$";

#[test]
fn what_got_fast_and_what_is_rare_hide_nothing() {
    let server = Server::manual().start();
    let mut db = app(&server);
    db.run(
        "CREATE SCHEMA myperfmon CREATE TABLE t (our_own int);
         GRANT USAGE ON SCHEMA myperfmon TO alice; GRANT SELECT ON myperfmon.t TO alice",
    );
    let mut client = server.connect("alice", "app");
    // More statements than a list has, each of another shape.
    let shape = |i: usize| format!("SELECT pg_sleep(0.003){}", ", 1".repeat(i));
    for (run, seconds) in [("before", 0.1), ("after", 0.00001)] {
        db.run(&format!("SELECT perfmon.begin_run('{run}')"));
        for i in 1..=110 {
            (0..5).for_each(|_| client.run(&shape(i)));
        }
        (0..6).for_each(|_| client.run(&format!("SELECT pg_sleep({seconds}) AS mended")));
        db.run(&format!("SELECT perfmon.end_run('{run}')"));
    }
    let pair = db.query_one(
        "SELECT before_value > 2 * after_value, verdict FROM perfmon.compare_runs('before', 'after')
         WHERE query LIKE '%mended%'",
        &[],
    );
    let pair = pair.unwrap();
    let told: (Option<bool>, Option<String>) = (pair.get(0), pair.get(1));
    assert_eq!(told, (Some(true), Some("better".to_owned())));
    let moved: i64 = db.val(
        "SELECT count(*) FROM perfmon.compare_runs('before', 'after') WHERE verdict IN ('new', 'gone')",
    );
    assert_eq!(moved, 0);
    let report: String = db.val("SELECT perfmon.run_report('after', baseline => 'before')");
    assert!(report.contains("better") && report.contains("20 of "), "{report}");

    // Others took longer, once each.
    db.run("SELECT perfmon.begin_run('flood')");
    for i in 111..=330 {
        client.run(&format!("SELECT pg_sleep(0.03){}", ", 1".repeat(i)));
    }
    (0..6).for_each(|_| client.run("SELECT pg_sleep(0.02) AS mended"));
    (0..6).for_each(|_| client.run("SELECT our_own FROM myperfmon.t"));
    db.run("SELECT perfmon.end_run('flood')");
    let listed = "SELECT count(*) FROM jsonb_array_elements(
            perfmon.run_report('flood', 'json')::jsonb -> 'latency' -> 'statements') s
        WHERE s ->> 'query' LIKE '%mended%' OR s ->> 'query' LIKE '%our_own%'";
    assert_eq!(db.val::<i64>(listed), 2);
    let report: String = db.val("SELECT perfmon.report()");
    assert!(report.contains("AS mended`"), "{report}");
}

#[test]
fn a_script_ends_when_a_run_did_not_pass() {
    let server = Server::manual().start();
    let mut db = app(&server);
    let mut client = server.connect("alice", "app");
    let run = |db: &mut Db, client: &mut Db, name: &str, executions: usize| {
        db.run(&format!("SELECT perfmon.begin_run('{name}')"));
        (0..executions).for_each(|_| client.run("SELECT 1"));
        db.run(&format!("SELECT perfmon.end_run('{name}')"));
    };
    let asserted = |name: &str| server.psql("app", &format!("SELECT perfmon.assert_run('{name}')"));
    run(&mut db, &mut client, "full", 150);
    assert_eq!(code_of(&db.fails("SELECT perfmon.assert_run('full')")), "55000");
    db.run("SELECT perfmon.create_slo('latency', p95_ms => 1000)");
    assert_eq!(asserted("full").success().stdout.trim(), "passed");
    run(&mut db, &mut client, "tiny", 2);
    let tiny = asserted("tiny");
    assert!(!tiny.ok, "{}", tiny.stdout);
    for words in ["1 of 1 objectives could not be judged", "DETAIL:", "too_few"] {
        assert!(tiny.stderr.contains(words), "{words}: {}", tiny.stderr);
    }
    // Two of them are no ground for a verdict, either way.
    for (before, after) in [("full", "tiny"), ("tiny", "full")] {
        let sql = format!(
            "SELECT count(*) FILTER (WHERE verdict IS NULL), count(*) FROM perfmon.compare_runs('{before}', '{after}')
             WHERE what = 'objective'"
        );
        let row = db.query_one(&sql, &[]).unwrap();
        assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(1)), (1, 1), "{before} {after}");
    }
    db.run("SELECT perfmon.create_slo('strict', p95_ms => 0.000001)");
    let strict = asserted("full");
    assert!(
        !strict.ok && strict.stderr.contains("1 of 2 objectives were missed"),
        "{}",
        strict.stderr
    );
    for (call, code) in [("'none'", "42704"), ("NULL", "42704")] {
        let e = db.fails(&format!("SELECT perfmon.assert_run({call})"));
        assert_eq!(code_of(&e), code, "{call}");
    }
    db.run("SELECT perfmon.begin_run('open')");
    assert_eq!(code_of(&db.fails("SELECT perfmon.assert_run('open')")), "55000");
}
