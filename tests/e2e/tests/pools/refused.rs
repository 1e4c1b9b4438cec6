//! Connections that were refused for what is no limit of clients' sessions.

use perfmon_e2e::{Server, WINDOW, code_of, secs, wait_until};

use super::{of, sampled, saturation, the, two_intervals};

/// Tries to log in by a password; whether that is what kept it out.
fn is_wrong(server: &Server, password: &str) -> bool {
    let told = server
        .client("psql", &["-X", "-c", "", &format!("user=nologin dbname=app password={password}")]);
    told.stderr.contains("password authentication failed")
}

#[test]
fn failed_logins_are_a_cause_of_their_own() {
    let server = sampled().start();
    let mut db = server.new_db("app");
    db.run("CREATE ROLE nologin NOLOGIN");
    db.set_thresholds(&[("refused_authentication_min", 3.0)]);
    db.snapshot();
    for _ in 0..3 {
        assert_eq!(code_of(&server.try_connect("nologin", "app").err().unwrap()), "28000");
    }
    let hba = server.data().join("pg_hba.conf");
    let rules = std::fs::read_to_string(&hba).unwrap();
    let own = "local all nologin scram-sha-256\nlocal all barred reject\n";
    std::fs::write(&hba, format!("{own}{rules}")).unwrap();
    server.reload();
    wait_until("the rules hold", secs(30), || is_wrong(&server, "guess"));
    assert_eq!(code_of(&server.try_connect("barred", "app").err().unwrap()), "28000");
    let found = two_intervals(&mut db);
    let refused = the(&found, "connections_refused", "server");
    assert_eq!(refused.subject, "authentication");
    let server_row = "level = 'server'";
    let all: i64 = saturation(&mut db, "refused_authentication", server_row);
    assert!(all >= 5, "{all}");
    assert_eq!(saturation::<i64>(&mut db, "refused", server_row), 0);
    // One cause, whatever clients were told; of few it is known who they said they were.
    let report: String = db.val(&format!("SELECT perfmon.report({WINDOW})"));
    let mut lines: Vec<&str> =
        report.lines().filter(|line| line.contains("Refused connections")).collect();
    lines.sort_unstable();
    let own = "- Refused connections of user nologin: 3 (authentication: 28000).";
    let nobody = format!("- Refused connections: {} (authentication: 28000, 28P01).", all - 3);
    assert_eq!(lines, [own, nobody.as_str()]);
}

#[test]
fn walsenders_that_find_no_place_are_told_beside_their_limit() {
    // None may connect for replication.
    let server = sampled().start();
    let mut db = server.new_db("app");
    db.snapshot();
    for _ in 0..2 {
        let told = server.client("psql", &["-X", "-c", "", "dbname=app replication=database"]);
        assert!(told.stderr.contains("max_wal_senders"), "{}", told.stderr);
    }
    let found = two_intervals(&mut db);
    let refused = the(&found, "connections_refused", "server");
    let title = "Server: 2 walsenders were refused: there are as many as max_wal_senders allows";
    assert_eq!((refused.subject.as_str(), refused.title.as_str()), ("wal_senders", title));
    // They are no clients' sessions.
    assert_eq!(saturation::<i64>(&mut db, "refused", "level = 'server'"), 0);
    let told: Vec<Vec<Option<String>>> = db.texts(&format!(
        "SELECT kind, refused FROM perfmon.process_limits({WINDOW}) WHERE refused IS NOT NULL"
    ));
    assert_eq!(told, [[Some("walsender".to_owned()), Some("2".to_owned())]]);
    let report: String = db.val(&format!("SELECT perfmon.report({WINDOW})"));
    assert!(report.contains("- Refused connections: 2 (wal senders)."), "{report}");
    let found = two_intervals(&mut db);
    assert!(of(&found, "connections_refused", "server").is_none());
}
