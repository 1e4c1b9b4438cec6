//! Trouble that moves no counter: clients that do not get in, and a pooler that stands still, while nobody does anything.

use perfmon_e2e::{POOLER_PASSWORD, PgBouncer, Server, never, secs, wait_until};

#[test]
fn refused_logins_of_a_quiet_server_are_stored_when_they_happen() {
    let server = Server::builder().start();
    let mut home = server.new_db("home");
    home.run("CREATE ROLE tiny LOGIN CONNECTION LIMIT 2");
    home.wait_for_next_interval(secs(30));
    drop(home);
    let held = [server.connect("tiny", "postgres"), server.connect("tiny", "postgres")];
    // Visits end, since nobody does anything.
    never("the server ends", secs(17), || server.postmaster().is_none());
    for _ in 0..5 {
        assert!(server.try_connect("tiny", "postgres").is_err());
    }
    never("the server ends", secs(12), || server.postmaster().is_none());
    let mut home = server.db("home");
    // Of intervals that ended before this session came.
    let refused: i64 = home.val(
        "SELECT coalesce(max(refused_role_limit), 0)::bigint
         FROM perfmon.pool_saturation(now() - interval '1 hour',
             (SELECT backend_start - interval '1 s' FROM pg_stat_activity WHERE pid = pg_backend_pid()))
         WHERE level = 'user' AND user_name = 'tiny'",
    );
    assert_eq!(refused, 5);
    drop(held);
}

#[test]
fn a_pooler_is_asked_while_nobody_does_anything() {
    let server = Server::builder().start();
    let mut home = server.new_db("home");
    let Some(pooler) = PgBouncer::start(&server, "md5", &[]) else { return };
    pooler.declare(&mut home, "127.0.0.1", POOLER_PASSWORD);
    wait_until("it is asked", secs(30), || {
        home.val("SELECT coalesce(sum(answered), 0) > 0 FROM perfmon.pooler_history()")
    });
    drop(home);
    never("the server ends", secs(12), || server.postmaster().is_none());
    pooler.signal("STOP");
    never("the server ends", secs(17), || server.postmaster().is_none());
    let mut home = server.db("home");
    let unanswered: i64 = home.val(
        "SELECT count(*) FROM perfmon.pooler_history()
         WHERE database_name = '' AND asked > answered AND time_end <
             (SELECT backend_start - interval '1 s' FROM pg_stat_activity WHERE pid = pg_backend_pid())",
    );
    assert!(unanswered >= 1, "nobody looked: {unanswered}");
    pooler.signal("CONT");
}
