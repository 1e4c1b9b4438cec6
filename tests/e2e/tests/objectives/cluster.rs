//! Promises of all databases of the server.

use super::*;

/// Status and executions of a promise of the cluster.
fn of_cluster(db: &mut Db, objective: &str) -> (String, Option<i64>) {
    let all = status(db);
    let found = all.iter().find(|row| row.0 == "cluster" && row.1 == objective);
    let found = found.unwrap_or_else(|| panic!("{objective}: {all:?}"));
    (found.2.clone(), found.3)
}

#[test]
fn the_cluster_is_judged_at_home() {
    let server = Server::manual().start();
    // Making a database may take long, and is not what is looked at.
    server.db("postgres").run("CREATE DATABASE plain");
    let mut home = app(&server);
    let mut other = server.new_db("other");
    other.run(CAPTURE_OFF);
    other.snapshot();
    // In a session that is counted: otherwise there would be an error of which nothing is known.
    let e = server.db("other").fails("SELECT perfmon.create_slo('cluster', cluster => true)");
    assert_eq!(code_of(&e), "55000", "{}", message_of(&e));
    assert!(message_of(&e).contains("home database"), "{}", message_of(&e));
    // The other database's extension was made in one of the intervals, and took long.
    home.run(
        "SELECT perfmon.create_slo('cluster', cluster => true, p95_ms => 30, error_ratio => 0.06,
             throughput_per_second => 1e-6, availability_ratio => 0.05)",
    );
    home.snapshot();
    let before = of_cluster(&mut home, "p95").1.unwrap_or(0);
    let kept: i64 = other.val("SELECT count(*) FROM perfmon.cluster_history()");
    assert_eq!(kept, 0, "nothing is kept in other databases");

    // 4 of 80 fail in each; one has no extension. A snapshot in the other asks and takes nothing away.
    let mut tried = 0;
    for database in ["app", "other", "plain"] {
        let mut client = server.connect("alice", database);
        for i in 0..80 {
            match i {
                0..4 => drop(client.fails("SELECT 1 / 0")),
                _ => client.run("BEGIN; SELECT 1; COMMIT"),
            }
        }
        tried += 80;
        drop(client);
        other.snapshot();
    }
    home.snapshot();
    let executed = tried - 12 + 2 * 228;
    assert_eq!(of_cluster(&mut home, "p95"), ("met".into(), Some(before + executed)));
    let (status, of) = of_cluster(&mut home, "errors");
    assert_eq!(status, "met");
    assert!(of.unwrap_or(0) >= tried, "{of:?} {tried}");
    let sums = |db: &mut Db, column: &str| {
        db.val::<i64>(&format!("SELECT sum({column})::bigint FROM perfmon.cluster_history()"))
    };
    assert_eq!((sums(&mut home, "errors"), sums(&mut home, "cancelled")), (13, 0));
    assert_eq!(of_cluster(&mut home, "throughput").0, "met");
    assert_eq!(availability_of(&mut home, "cluster"), "met");

    // What another database does breaks it, and home's own objective stays.
    home.run(
        "SELECT perfmon.create_slo('own', p95_ms => 30, min_executions => 50, username => 'alice')",
    );
    let mut client = server.connect("alice", "other");
    for _ in 0..50 {
        client.run("SELECT pg_sleep(0.06)");
        client.fails("SELECT 1 / 0");
    }
    home.snapshot();
    assert_eq!(of_cluster(&mut home, "p95"), ("missed".into(), Some(before + executed + 50)));
    assert_eq!(of_cluster(&mut home, "errors").0, "missed");
    assert_eq!(status_of(&mut home, "own", "p95"), "met");
}

#[test]
fn the_cluster_outlives_a_restart_and_says_what_was_lost() {
    let server = Server::manual().start();
    let mut home = app(&server);
    drop(server.new_db("other"));
    home.run("SELECT perfmon.create_slo('cluster', cluster => true, p95_ms => 30)");
    let work = |database: &str, times: usize| {
        let mut client = server.connect("alice", database);
        (0..times).for_each(|_| client.run("SELECT 1"));
    };
    work("other", 150);
    home.snapshot();
    let before = of_cluster(&mut home, "p95").1.unwrap();
    // Never read, so lost.
    work("other", 40);
    drop(home);
    for how in [Stop::Fast, Stop::Immediate] {
        server.stop(how);
        server.start();
        work("other", 30);
        work("app", 5);
        let mut home = server.db("app");
        home.run(CAPTURE_OFF);
        home.snapshot();
        work("other", 7);
        home.snapshot();
    }
    let mut home = server.db("app");
    home.run(CAPTURE_OFF);
    // The session that switches its own counting off is counted with that command.
    let (status, executions) = of_cluster(&mut home, "p95");
    assert_eq!((status.as_str(), executions), ("met", Some(before + 2 * (30 + 5 + 7) + 2)));
    let gaps = "SELECT count(*) FROM perfmon.gaps() WHERE subject = 'cluster' AND kind = 'reset'";
    assert_eq!(home.val::<i64>(gaps), 2, "what was not read before each stop is a gap");
}

#[test]
fn home_is_visited_while_others_work() {
    let server = Server::builder().conf("autovacuum = off").start();
    let mut home = server.new_db("app");
    home.run(CAPTURE_OFF);
    home.run("SELECT perfmon.create_slo('cluster', cluster => true, p95_ms => 30)");
    home.snapshot();
    drop(home);
    // Whoever looks into a database is a reason to visit it, so it is told from the other one, by what home's collectors commit.
    let mut other = server.new_db("other");
    let mut look = || -> (i64, i64) {
        let rows = other.rows(
            "SELECT (SELECT count(*) FROM perfmon.intervals()), xact_commit
             FROM pg_stat_database WHERE datname = 'app'",
        );
        (rows[0].get(0), rows[0].get(1))
    };
    let ((mut visits, mut commits), mut moved) = (look(), 0);
    wait_until("home was visited between six visits of the other database", secs(120), || {
        let now = look();
        if now.0 > visits && now.1 > commits {
            (visits, commits) = now;
            moved += 1;
        }
        moved == 6
    });
    let recorded: i64 = server.db("app").val(
        "SELECT count(*) FROM (SELECT time FROM perfmon.cluster_history() GROUP BY time HAVING sum(cached) > 5) t",
    );
    assert!(recorded >= 4, "each with the work of others: {recorded}");
}
