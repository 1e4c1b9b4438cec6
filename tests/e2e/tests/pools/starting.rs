//! Clients that connect and never say who they are.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use perfmon_e2e::{Db, Server, code_of, secs, wait_until};

use super::{named, of, sampled, saturation, the, two_intervals};

/// Says that somebody wants to log in, and no more; `None` if there is no place.
fn begin(server: &Server) -> Option<UnixStream> {
    let mut socket = UnixStream::connect(server.dir().join(".s.PGSQL.5432")).unwrap();
    socket.set_read_timeout(Some(secs(30))).unwrap();
    let names = b"user\0stuck\0database\0app\0\0";
    let length = u32::try_from(names.len() + 8).unwrap();
    socket.write_all(&length.to_be_bytes()).unwrap();
    socket.write_all(&196_608_u32.to_be_bytes()).unwrap();
    socket.write_all(names).unwrap();
    let mut kind = [0];
    socket.read_exact(&mut kind).unwrap();
    (kind == *b"R").then_some(socket)
}

fn rows(db: &mut Db, whose: &str) -> i64 {
    db.val(&format!("SELECT count(*) FROM perfmon.pool_saturation() WHERE {whose}"))
}

#[test]
fn clients_stuck_in_authentication_take_places_and_are_told() {
    let server =
        sampled().conf("max_connections = 40").conf("authentication_timeout = '10min'").start();
    let mut db = server.new_db("app");
    db.run("CREATE ROLE stuck LOGIN; CREATE ROLE web LOGIN");
    let hba = server.data().join("pg_hba.conf");
    let rules = std::fs::read_to_string(&hba).unwrap();
    std::fs::write(&hba, format!("local all stuck scram-sha-256\n{rules}")).unwrap();
    server.reload();
    let _idle = [named(&server, "web", "app", "calm"), named(&server, "web", "app", "calm")];
    // Without a password nobody gets in then.
    wait_until("the rule holds", secs(30), || server.try_connect("stuck", "app").is_err());
    db.snapshot();
    let mut stuck = Vec::new();
    while let Some(socket) = begin(&server) {
        stuck.push(socket);
        assert!(stuck.len() < 60);
    }
    assert!(stuck.len() >= 35, "{}", stuck.len());
    assert_eq!(code_of(&server.try_connect("web", "app").err().unwrap()), "53300");

    let found = two_intervals(&mut db);
    let full = the(&found, "pool_saturation", "server");
    assert_eq!(full.severity, "critical");
    assert_eq!(full.title, "Server: 37 of 37 connections in use (100 %)");
    let cause = full.cause.as_deref().unwrap();
    let told = format!(
        "{} of the places are taken by clients that have not finished authentication",
        stuck.len()
    );
    assert!(cause.contains(&told) && !cause.contains("idle"), "{cause}");
    assert!(full.remedy.contains("authentication_timeout"), "{}", full.remedy);
    let refused = the(&found, "connections_refused", "server");
    let cause = refused.cause.as_deref().unwrap();
    assert!(cause.ends_with("clients that had not finished authentication."), "{cause}");
    let row = "level = 'server'";
    assert_eq!(saturation::<String>(&mut db, "saturation", row), "critical");
    assert_eq!(saturation::<String>(&mut db, "queue_cause", row), "authentication");
    assert_eq!(
        saturation::<i32>(&mut db, "open_now", row),
        i32::try_from(stuck.len()).unwrap() + 3
    );
    // Nobody else has them: not a pool without a name, nor those that idle.
    assert_eq!(
        rows(&mut db, "level <> 'server' AND coalesce(user_name, database_name) IS NULL"),
        0
    );
    let calm = "level = 'pool' AND application = 'calm'";
    assert_eq!(saturation::<i32>(&mut db, "open_now", calm), 2);
    let wrong: i64 = db.val(
        "SELECT count(*) FROM perfmon.why_queued() WHERE cause = 'pool_too_large' OR detail LIKE '%idle outside%'",
    );
    assert_eq!(wrong, 0);

    drop(stuck);
    wait_until("the places are free", secs(30), || server.try_connect("web", "app").is_ok());
    db.snapshot();
    let found = two_intervals(&mut db);
    assert!(of(&found, "pool_saturation", "server").is_none());
    // Up to 16 a place that is free still has the number of its last process.
    assert!(saturation::<i32>(&mut db, "open_now", row) <= 4);
}
