//! Changes of settings: those of the server and the database are told, once each; a role's own are not.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use perfmon_e2e::{Db, Server, code_of, secs, wait_until};

/// Changed settings since the first look: name, old and new value.
fn told(db: &mut Db) -> Vec<(String, Option<String>, Option<String>)> {
    let query = "SELECT name, old_value, new_value FROM perfmon.changes(now() - interval '1 day')
                 WHERE kind = 'setting' ORDER BY time, name";
    db.rows(query).iter().map(|r| (r.get(0), r.get(1), r.get(2))).collect()
}

fn change(name: &str, old: &str, new: &str) -> (String, Option<String>, Option<String>) {
    (name.to_owned(), Some(old.to_owned()), Some(new.to_owned()))
}

#[test]
fn a_database_s_settings_are_seen_without_a_reload() {
    let server = Server::manual().start();
    let mut db = server.new_db("app");
    db.snapshot();
    db.run("ALTER DATABASE app SET work_mem = '9MB'");
    db.snapshot();
    assert_eq!(told(&mut db), [change("work_mem", "4096 kB", "9216 kB")]);
    db.run(
        "ALTER DATABASE postgres SET work_mem = '10MB'; CREATE ROLE other; ALTER ROLE other SET work_mem = '1MB'",
    );
    db.snapshot();
    assert_eq!(told(&mut db).len(), 1, "of others");
    db.run("ALTER ROLE ALL SET random_page_cost = 1.5");
    db.snapshot();
    assert_eq!(told(&mut db)[1..], [change("random_page_cost", "4", "1.5")]);
}

#[test]
fn a_role_s_own_settings_are_not_the_server_s() {
    let server = Server::unloaded().start();
    let mut db = server.new_db("app");
    db.snapshot();
    db.run(
        "ALTER ROLE postgres SET work_mem = '33MB';
         ALTER ROLE postgres IN DATABASE app SET \"TimeZone\" = 'Asia/Kathmandu';
         ALTER DATABASE app SET random_page_cost = 1.7",
    );
    let mut own = server.db("app");
    assert_eq!(own.val::<String>("SHOW work_mem"), "33MB");
    // What this session has besides by its own SET hides nothing.
    own.run("SET work_mem = '55MB'; SET jit = off");
    own.snapshot();
    assert_eq!(told(&mut own), [change("random_page_cost", "4", "1.7")]);
}

#[test]
fn what_changed_stands_beside_errors_too() {
    let server = Server::manual().start();
    let mut db = server.new_db("app");
    db.snapshot();
    db.run("ALTER DATABASE app SET work_mem = '9MB'");
    db.snapshot();
    let beside: Vec<String> =
        db.list("SELECT changes FROM perfmon.error_series() WHERE changes IS NOT NULL");
    assert_eq!(beside.len(), 1, "{beside:?}");
    assert!(beside[0].contains("work_mem"), "{beside:?}");
}

#[test]
fn an_evaluation_waits_for_another_one_for_a_moment() {
    let server = Server::manual().start();
    let mut db = server.new_db("app");
    db.snapshot();
    db.run("SELECT count(*) FROM pg_am");
    db.snapshot();
    let mut other = server.db("app");
    other.run("BEGIN");
    other.run("SELECT perfmon.evaluate()");
    let waiting = std::thread::spawn(move || db.val::<i64>("SELECT perfmon.evaluate()"));
    let waits = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'perfmon.finding'::regclass";
    wait_until("the other one waits", secs(5), || other.val::<i64>(waits) == 1);
    other.run("COMMIT");
    assert!(waiting.join().unwrap() >= 0);
    // Not for ever.
    other.run("BEGIN");
    other.run("SELECT perfmon.evaluate()");
    let begin = std::time::Instant::now();
    let refused = server.db("app").fails("SELECT perfmon.evaluate()");
    assert_eq!(code_of(&refused), "55P03");
    assert!(begin.elapsed() < secs(15), "{:?}", begin.elapsed());
}

#[test]
fn what_follows_from_a_setting_is_not_told_beside_it() {
    let server = Server::manual().start();
    let mut db = server.new_db("app");
    db.snapshot();
    server.append_conf(&["shared_buffers = '96MB'"]);
    server.restart();
    let mut db = server.db("app");
    db.snapshot();
    wait_until("the change is told", secs(20), || !told(&mut db).is_empty());
    let names: Vec<String> = told(&mut db).into_iter().map(|one| one.0).collect();
    assert_eq!(names, ["shared_buffers"]);
}
