//! Tests of the harness itself, on a server without pg_perfmon: a harness that cannot see a fault proves nothing.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Command, Stdio};

use perfmon_e2e::{Server, Stop, code_of, never, secs, wait_until};

/// Before the folder of a server whose test is about to be killed.
const FOLDER: &str = "folder of a server: ";

#[test]
fn starts_stops_and_breaks_a_server() {
    let server = Server::builder().plain().start();
    let mut db = server.db("postgres");
    assert_eq!(db.val::<i32>("select 1"), 1);
    assert_eq!(code_of(&db.fails("select nothing")), "42703");
    let mark = server.log_mark();
    let victim = server.db("postgres").pid();
    assert!(victim > 0);

    server.kill_postmaster();
    assert!(server.postmaster().is_none());
    assert!(server.try_connect("postgres", "postgres").is_err());
    server.start();
    server.wait_for_log(mark, "was not properly shut down", secs(5));

    let mut db = server.db("postgres");
    let pid = db.pid();
    server.kill_9(pid);
    server.wait_ready();
    assert!(server.stop(Stop::Fast) < secs(10));
    assert!(server.postmaster().is_none());
}

#[test]
fn follows_a_primary() {
    let primary = Server::builder().plain().start();
    primary.db("postgres").run("create table t (a int); insert into t values (1)");
    let standby = Server::builder().plain().make_standby_of(&primary);
    standby.start();
    assert!(standby.db("postgres").val::<bool>("select pg_is_in_recovery()"));
    wait_until("the row arrives", secs(10), || {
        standby.db("postgres").val::<i64>("select count(*) from t") == 1
    });
    standby.promote();
    wait_until("promotion", secs(10), || {
        !standby.db("postgres").val::<bool>("select pg_is_in_recovery()")
    });
    never("a collector without the library", secs(1), || standby.launcher().is_some());
}

#[test]
fn knows_query_identifiers() {
    let server = Server::builder().plain().start();
    let mut db = server.db("postgres");
    db.run("create extension pg_stat_statements; create table t (a int)");
    let id = db.queryid_of("select a from t where a = 1");
    db.run("select a from t where a = 2");
    let calls: i64 = db.val_with("select calls from pg_stat_statements where queryid = $1", &[&id]);
    assert_eq!(calls, 1);
    assert!(
        server.client("pg_dump", &["postgres"]).success().stdout.contains("CREATE TABLE public.t")
    );
}

#[test]
#[should_panic(expected = "tells of trouble")]
fn sees_a_crash() {
    let server = Server::builder().plain().start();
    let pid = server.db("postgres").pid();
    assert!(pid > 0);
    let mark = server.log_mark();
    let mut victim = server.db("postgres");
    server.signal(victim.pid(), "SEGV");
    server.wait_for_log(mark, "terminated by signal", secs(10));
}

#[test]
fn a_killed_test_leaves_nothing() {
    let mut test = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "waits_to_be_killed", "--ignored", "--nocapture"])
        .env("PERFMON_KILLED", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(test.stdout.take().unwrap()).lines();
    let told = lines.map_while(Result::ok).find_map(|line| {
        let at = line.find(FOLDER)? + FOLDER.len();
        line.get(at..).map(str::to_owned)
    });
    let dir = told.expect("the folder");
    let data = Path::new(&dir).join("data");
    let pid = std::fs::read_to_string(data.join("postmaster.pid")).unwrap();
    let process = Path::new("/proc").join(pid.lines().next().unwrap());
    assert!(process.exists());
    test.kill().unwrap();
    test.wait().unwrap();
    wait_until("its server and folder are gone", secs(20), || {
        !process.exists() && !Path::new(&dir).exists()
    });
}

#[test]
#[ignore = "a_killed_test_leaves_nothing runs and kills it"]
fn waits_to_be_killed() {
    if std::env::var_os("PERFMON_KILLED").is_none() {
        return;
    }
    let server = Server::builder().plain().start();
    println!("{FOLDER}{}", server.dir().display());
    // Until whoever runs it is gone.
    let _ = std::io::stdin().read(&mut [0]);
}
