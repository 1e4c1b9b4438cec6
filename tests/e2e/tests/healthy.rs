//! Servers with nothing wrong: a judge that cries wolf is not heard.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

use perfmon_e2e::schemas::{assert_found, limits};
use perfmon_e2e::{Db, Server, secs};

/// Settings that a careful owner of a small server would have.
fn server() -> Server {
    Server::manual()
        .conf("shared_buffers = '128MB'")
        .conf("max_wal_size = '1GB'")
        .conf("track_io_timing = on")
        .conf("fsync = on")
        .conf("synchronous_commit = off")
        .start()
}

fn watched(server: &Server, name: &str) -> Db {
    let mut db = server.db(name);
    db.run("CREATE EXTENSION pg_stat_statements; CREATE EXTENSION pg_perfmon");
    // With the thresholds of the tests with flaws, which are lower than the default.
    db.set_thresholds(limits::SHORT_HISTORY);
    db.set_thresholds(limits::SMALL_TABLES);
    db.set_thresholds(limits::BUSY_MACHINE);
    db.snapshot();
    db
}

fn assert_quiet(db: &mut Db, what: &str) {
    db.flush();
    db.snapshot_with_texts(secs(20));
    let found = db.evaluate();
    for one in &found {
        println!("{}", one.head());
    }
    assert_found(&[], &found, what);
    assert!(found.iter().all(|f| !f.is_loud()), "{found:?}");
}

#[test]
fn a_healthy_pgbench_is_left_in_peace() {
    let server = server();
    server.db("postgres").run("CREATE DATABASE bench");
    server.client("pgbench", &["-i", "-q", "-s", "5", "bench"]).success();
    // What the loading session did is counted only now, after its own ANALYZE: autovacuum would be here in a minute.
    server.db("bench").run("VACUUM (ANALYZE)");
    let mut db = watched(&server, "bench");
    for mode in ["simple", "prepared"] {
        server
            .client(
                "pgbench",
                &[
                    "-n",
                    "-c",
                    "4",
                    "-T",
                    "3",
                    "-M",
                    mode,
                    "-b",
                    "tpcb-like@3",
                    "-b",
                    "select-only@5",
                    "bench",
                ],
            )
            .success();
    }
    assert_quiet(&mut db, "pgbench");
}

#[test]
fn an_idle_database_is_left_in_peace() {
    let server = server();
    server.db("postgres").run("CREATE DATABASE idle");
    let mut db = watched(&server, "idle");
    db.run("CREATE TABLE t (a int PRIMARY KEY); INSERT INTO t SELECT generate_series(1, 100)");
    db.run("SELECT count(*) FROM t");
    assert_quiet(&mut db, "idle");
}
