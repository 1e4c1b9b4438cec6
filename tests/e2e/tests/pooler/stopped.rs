//! Clients that wait although their pool is not too small.

use std::thread;

use perfmon_e2e::{POOLER_PASSWORD, PgBouncer, Server, WINDOW, secs, wait_until};

#[test]
fn a_database_that_is_paused_is_told_as_such() {
    let server = Server::manual().conf("pg_perfmon.activity_interval = '100ms'").start();
    let mut db = server.new_db("app");
    db.run("CREATE ROLE alice LOGIN");
    let admin = ["admin_users = postgres"];
    let Some(pooler) = PgBouncer::start(&server, "scram-sha-256", &admin) else { return };
    pooler.declare(&mut db, pooler.dir().to_str().unwrap(), POOLER_PASSWORD);
    db.snapshot();
    let mut client = pooler.client("alice");
    client.run("BEGIN");
    // What no sample saw is no pool.
    wait_until("a sample saw its session", secs(30), || {
        db.val::<bool>(
            "SELECT count(*) > 0 FROM perfmon.recent_activity() WHERE user_name = 'alice'",
        )
    });
    client.run("COMMIT");
    let mut console = pooler.client_of("postgres", "pgbouncer");
    console.run("PAUSE app");
    let waiter = thread::spawn(move || client.run("SELECT 1"));
    wait_until("a client that waits", secs(30), || {
        db.val::<bool>(
            "SELECT count(*) FILTER (WHERE state = 'waiting') > 0 FROM perfmon.pooler_clients()",
        )
    });
    db.sampled_intervals(3, 3);
    let found = db.evaluate();
    let waiting = found.iter().find(|f| f.kind == "pooler_clients_waiting").unwrap();
    let cause = waiting.cause.as_deref().unwrap();
    assert!(cause.starts_with("The database is paused or disabled at the pooler"), "{cause}");
    assert!(waiting.remedy.contains("RESUME app"), "{}", waiting.remedy);
    let small: Vec<String> = db.list(&format!(
        "SELECT detail FROM perfmon.why_queued({WINDOW}) WHERE cause = 'pool_too_small'"
    ));
    assert_eq!(small, Vec::<String>::new());
    // The pause closed its server connections: what is left of it is the server's.
    let why = db.texts(&format!(
        "SELECT q.detail, e ->> 'metric', e ->> 'value' FROM perfmon.why_queued({WINDOW}) q, jsonb_array_elements(q.evidence) e
         WHERE q.level = 'server' AND q.cause = 'pooler' AND e ->> 'metric' IN ('pooler_state', 'clients_held_up')
         ORDER BY 2"
    ));
    let told: Vec<&str> = why.iter().flatten().flatten().map(String::as_str).collect();
    let detail = "1.0 clients wait at the pooler front, as its database app is paused or disabled";
    assert_eq!(
        told,
        [detail, "clients_held_up", "1.0", detail, "pooler_state", "paused or disabled"]
    );
    // And so it is of the pool that has no session left, and of one without an application's name, if a sample saw the session
    // before the pooler gave it one.
    let of_pool: Vec<String> = db.list(&format!(
        "SELECT DISTINCT cause || ': ' || detail FROM perfmon.why_queued({WINDOW}) WHERE level = 'pool' AND user_name = 'alice'"
    ));
    assert_eq!(of_pool, [format!("pooler: {detail}")]);
    console.run("RESUME app");
    waiter.join().unwrap();
    db.snapshot();
    let since: String = db.val("SELECT clock_timestamp()::text");
    db.sampled_intervals(2, 3);
    let causes: Vec<String> = db.list(&format!(
        "SELECT DISTINCT cause FROM perfmon.why_queued('{since}', clock_timestamp()) WHERE level = 'server'"
    ));
    assert_eq!(causes, ["nothing"]);
    assert!(!db.evaluate().iter().any(|f| f.kind == "pooler_clients_waiting"));
}
