//! Sessions that hold connections others are refused, and wait for their client inside a statement.

use std::io::Write;

use perfmon_e2e::{Db, WINDOW, code_of, secs, wait_until};

use super::{named, sampled, the, two_intervals};

#[test]
fn copies_whose_programs_send_nothing_wait_for_their_client() {
    let server = sampled().start();
    let mut db = server.new_db("app");
    db.run("CREATE ROLE loader LOGIN CONNECTION LIMIT 5; CREATE TABLE inbox (a int); GRANT ALL ON inbox TO loader");
    db.snapshot();
    let mut held: Vec<Db> = (0..5).map(|_| named(&server, "loader", "app", "load")).collect();
    let writers: Vec<_> = held
        .iter_mut()
        .map(|one| {
            let mut writer = one.copy_in("COPY inbox FROM STDIN").unwrap();
            writer.write_all(b"1\n").unwrap();
            writer.flush().unwrap();
            writer
        })
        .collect();
    wait_until("all of them wait for more", secs(30), || {
        db.val::<i64>(
            "SELECT count(*) FROM pg_stat_activity
             WHERE usename = 'loader' AND state = 'active' AND wait_event = 'ClientRead'",
        ) == 5
    });
    // What was before belongs to another interval.
    db.snapshot();
    let refused = server.try_connect("loader", "app").err().unwrap();
    assert_eq!(code_of(&refused), "53300");
    let found = two_intervals(&mut db);
    let full = the(&found, "pool_saturation", "role loader");
    let cause = full.cause.as_deref().unwrap();
    assert!(cause.contains("wait for their client inside a statement"), "{cause}");
    let why: String = db.val(&format!(
        "SELECT cause FROM perfmon.why_queued({WINDOW}) WHERE level = 'user' AND user_name = 'loader'"
    ));
    assert_eq!(why, "client");
    drop(writers);
}
