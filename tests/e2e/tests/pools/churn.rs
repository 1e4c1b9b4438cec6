//! Sessions that come and go are found, whoever else is there, and named.

use super::{of, sampled, saturation, the, two_intervals};

#[test]
fn churn_is_found_and_ends() {
    let server = sampled().start();
    let mut db = server.new_db("app");
    db.run("CREATE DATABASE bench");
    let script = server.dir().join("one.sql");
    std::fs::write(&script, "SELECT 1;\n").unwrap();
    db.snapshot();
    let args =
        ["-n", "-C", "-c", "2", "-j", "2", "-T", "3", "-f", script.to_str().unwrap(), "bench"];
    server.client("pgbench", &args).success();
    // The last ones count when they have ended.
    db.snapshot();
    let found = db.evaluate();
    let churn = the(&found, "connection_churn", "server");
    assert_eq!(churn.severity, "warning");
    let bench = "level = 'database' AND database_name = 'bench'";
    let per_s: f64 = saturation(&mut db, "sessions_per_s", bench);
    let ms: f64 = saturation(&mut db, "session_ms", bench);
    assert!(per_s > 2.0 && ms < 10_000.0, "{per_s} {ms}");
    let found = two_intervals(&mut db);
    assert!(of(&found, "connection_churn", "server").is_none());
}

#[test]
fn a_program_that_churns_is_named_among_sessions_that_stay() {
    let server = sampled().conf("max_connections = 100").start();
    let mut db = server.new_db("app");
    db.run(
        "CREATE ROLE shop LOGIN; CREATE ROLE web LOGIN; GRANT CONNECT ON DATABASE app TO web, shop",
    );
    let mut pool: Vec<_> = (0..40).map(|_| server.connect("shop", "app")).collect();
    db.sampled_intervals(1, 3);
    // The time of those that stay counts when they do something.
    let script = server.dir().join("one.sql");
    std::fs::write(&script, "SELECT 1;\n").unwrap();
    let script = script.to_str().unwrap();
    let churner = |seconds: &str| {
        let args =
            ["-n", "-C", "-c", "1", "-T", seconds, "-R", "8", "-f", script, "-U", "web", "app"];
        server.client("pgbench", &args).success();
    };
    churner("4");
    pool.iter_mut().for_each(|session| session.run("SELECT 1"));
    db.sampled_intervals(1, 3);
    pool.iter_mut().for_each(|session| session.run("SELECT 1"));
    db.snapshot();
    let found = db.evaluate();
    let churn = the(&found, "connection_churn", "server");
    assert!(
        churn.cause.as_deref().is_some_and(|c| c.contains("pgbench (user web")),
        "{:?}",
        churn.cause
    );
    assert!(
        churn.cause.as_deref().is_some_and(|c| c.contains("of database app")),
        "{:?}",
        churn.cause
    );
    let ms: f64 = db.val(
        "SELECT (e ->> 'value')::float8 FROM perfmon.findings, jsonb_array_elements(evidence::jsonb) e
         WHERE kind = 'connection_churn' AND e ->> 'metric' = 'session_ms'",
    );
    assert!(ms < 1_000.0, "{ms}");
    drop(pool);
    let found = two_intervals(&mut db);
    assert!(of(&found, "connection_churn", "server").is_none());
}

#[test]
fn a_storm_is_one_however_short_the_steps() {
    let server = sampled().conf("max_connections = 100").start();
    let mut db = server.new_db("app");
    db.run("CREATE ROLE web LOGIN");
    // Of each interval a step of the window, a sixtieth of it, is a small part.
    db.sampled_intervals(6, 3);
    let since: String = db.val("SELECT (clock_timestamp() - interval '20 seconds')::text");
    let held: Vec<_> = (0..40).map(|_| server.connect("web", "app")).collect();
    db.sampled_intervals(1, 3);
    drop(held);
    db.sampled_intervals(3, 3);
    let storms: Vec<String> = db.list(&format!(
        "SELECT format('%s: %s storm of %s, %s open', level, storms, storm_peak_per_step, open_peak)
         FROM perfmon.pool_saturation('{since}', now()) WHERE level IN ('user', 'pool') AND user_name = 'web' ORDER BY 1"
    ));
    assert_eq!(storms, ["pool: 1 storm of 40, 40 open", "user: 1 storm of 40, 40 open"]);
}
