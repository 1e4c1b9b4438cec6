//! A database stays the same under another name, and another one is another under its name.

use perfmon_e2e::{Db, Server, secs, wait_until};

/// Rolls back so often, in a database that may have no extension.
fn roll_back(db: &mut Db, times: i64) {
    (0..times).for_each(|_| db.run("BEGIN; ROLLBACK"));
    // Reading a table leaves something to flush.
    db.run("SELECT pg_stat_force_next_flush() FROM pg_database");
}

/// As soon as those who were connected are gone.
fn alter(server: &Server, what: &str) {
    wait_until("nobody is connected", secs(20), || {
        server.db("postgres").batch_execute(what).is_ok()
    });
}

fn rename(server: &Server, from: &str, to: &str) {
    alter(server, &format!("ALTER DATABASE {from} RENAME TO {to}"));
}

/// Rows of `databases()` with their rollbacks; those who rolled back nothing are not told.
fn rollbacks(db: &mut Db) -> Vec<String> {
    db.list(
        "SELECT database_name || ': ' || xact_rollback FROM perfmon.databases()
         WHERE xact_rollback > 0 ORDER BY database_name, xact_rollback",
    )
}

/// Whoever asks how this database itself did gets the numbers of its row, which rolled back so often.
#[track_caller]
fn own_is(db: &mut Db, name: &str, times: i64) {
    let window = "now() - interval '1 hour', now()";
    let counted = format!("SELECT sum(rollbacks)::int8 FROM perfmon.error_series({window})");
    assert_eq!(db.val::<i64>(&counted), times);
    let ratio: f64 = db.val(&format!(
        "SELECT rollback_ratio FROM perfmon.databases({window}) WHERE (database_name, xact_rollback) = ('{name}', {times})"
    ));
    let told = "(perfmon.report(format => 'json')::jsonb #>> '{load,rollback_ratio}')::float8";
    let told: f64 = db.val(&format!("SELECT {told}"));
    assert!((told / ratio - 1.0).abs() < 1e-6, "{told}, {ratio}");
}

/// A database with the extension that keeps the counters of all.
fn home(server: &Server, name: &str) -> Db {
    let mut db = server.new_db(name);
    wait_until("all databases are read", secs(20), || {
        db.snapshot();
        db.val("SELECT value LIKE 'here:%' FROM perfmon.status() WHERE item = 'home database'")
    });
    db
}

#[test]
fn a_renamed_database_goes_by_its_new_name() {
    let server = Server::manual().start();
    let mut db = server.new_db("old");
    db.snapshot();
    roll_back(&mut db, 1);
    db.snapshot();
    roll_back(&mut db, 1);
    drop(db);
    rename(&server, "old", "new");
    let mut db = server.db("new");
    db.snapshot();
    let names = "SELECT string_agg(database_name, ',') FROM perfmon.source_info";
    assert_eq!(db.val::<String>(names), "new");
    roll_back(&mut db, 1);
    db.snapshot();
    // Before the rename, around it and after it.
    assert_eq!(rollbacks(&mut db), ["new: 3"]);
    own_is(&mut db, "new", 3);
}

#[test]
fn names_that_are_swapped_take_no_numbers_along() {
    let server = Server::manual().start();
    let mut db = home(&server, "app");
    server.db("postgres").run("CREATE DATABASE shop");
    roll_back(&mut db, 1);
    roll_back(&mut server.db("shop"), 10);
    db.snapshot();
    assert_eq!(rollbacks(&mut db), ["app: 1", "shop: 10"]);
    drop(db);
    rename(&server, "app", "other");
    rename(&server, "shop", "app");
    rename(&server, "other", "shop");
    let mut db = server.db("shop");
    db.snapshot();
    assert_eq!(rollbacks(&mut db), ["app: 10", "shop: 1"], "the other one did nothing since");
    roll_back(&mut db, 100);
    roll_back(&mut server.db("app"), 1000);
    db.snapshot();
    assert_eq!(rollbacks(&mut db), ["app: 1010", "shop: 101"]);
    own_is(&mut db, "shop", 101);
    drop(db);
    // And back.
    rename(&server, "shop", "other");
    rename(&server, "app", "shop");
    rename(&server, "other", "app");
    let mut db = server.db("app");
    roll_back(&mut db, 20);
    db.snapshot();
    assert_eq!(rollbacks(&mut db), ["app: 121", "shop: 1010"]);
    own_is(&mut db, "app", 121);
}

#[test]
fn names_of_dropped_databases_are_taken_without_their_numbers() {
    let server = Server::manual().start();
    let mut db = home(&server, "app");
    let create = |name: &str| alter(&server, &format!("CREATE DATABASE {name}"));
    let drop_it = |name: &str| alter(&server, &format!("DROP DATABASE {name}"));
    let work = |name: &str, times| roll_back(&mut server.db(name), times);
    create("shop");
    create("gone");
    roll_back(&mut db, 1);
    work("shop", 10);
    work("gone", 7);
    db.snapshot();
    rename(&server, "shop", "store");
    work("store", 20);
    db.snapshot();
    assert_eq!(rollbacks(&mut db), ["app: 1", "gone: 7", "store: 30"]);

    drop_it("gone");
    rename(&server, "store", "gone");
    work("gone", 40);
    db.snapshot();
    assert_eq!(rollbacks(&mut db), ["app: 1", "gone: 7", "gone: 70"]);

    // Under the name that it had, another one is new; restored under it, it is the same.
    create("store");
    work("store", 3);
    db.snapshot();
    drop_it("store");
    create("store");
    work("store", 2);
    db.snapshot();
    assert_eq!(rollbacks(&mut db), ["app: 1", "gone: 7", "gone: 70", "store: 5"]);

    drop_it("store");
    drop(db);
    rename(&server, "app", "store");
    let mut db = server.db("store");
    roll_back(&mut db, 100);
    db.snapshot();
    assert_eq!(rollbacks(&mut db), ["gone: 7", "gone: 70", "store: 5", "store: 101"]);
    own_is(&mut db, "store", 101);
    // None of them is in the way of what comes.
    drop(db);
    rename(&server, "store", "app");
    let mut db = server.db("app");
    roll_back(&mut db, 100);
    create("store");
    work("store", 1);
    db.snapshot();
    assert_eq!(rollbacks(&mut db), ["app: 201", "gone: 7", "gone: 70", "store: 6"]);
    own_is(&mut db, "app", 201);
}

/// As releases before 0.11 left it: all databases are known by their names alone.
fn by_name_alone(db: &mut Db) {
    db.run(
        "UPDATE perfmon.object SET name1 = '' WHERE family = 'database';
         DELETE FROM perfmon.prior WHERE subject = 'database'",
    );
}

#[test]
fn what_an_older_release_knew_by_name_goes_on() {
    let server = Server::manual().start();
    let mut db = home(&server, "app");
    for name in ["gone", "kept", "shop"] {
        server.db("postgres").run(&format!("CREATE DATABASE {name}"));
        roll_back(&mut server.db(name), 10);
    }
    roll_back(&mut db, 1);
    db.snapshot();
    let all = ["app: 1", "gone: 10", "kept: 10", "shop: 10"];
    assert_eq!(rollbacks(&mut db), all);
    by_name_alone(&mut db);
    assert_eq!(rollbacks(&mut db), all, "the same before a collector came");
    db.snapshot();
    roll_back(&mut server.db("shop"), 20);
    db.snapshot();
    assert_eq!(rollbacks(&mut db), ["app: 1", "gone: 10", "kept: 10", "shop: 30"]);
    // Those that did nothing since are known now, too.
    rename(&server, "kept", "still");
    roll_back(&mut server.db("still"), 20);
    db.snapshot();
    assert_eq!(rollbacks(&mut db), ["app: 1", "gone: 10", "shop: 30", "still: 30"]);

    // The own one takes the name of another that was dropped before it was known better.
    by_name_alone(&mut db);
    alter(&server, "DROP DATABASE gone");
    drop(db);
    rename(&server, "app", "gone");
    let mut db = server.db("gone");
    db.snapshot();
    roll_back(&mut db, 2);
    db.snapshot();
    assert_eq!(rollbacks(&mut db), ["gone: 3", "gone: 10", "shop: 30", "still: 30"]);
    own_is(&mut db, "gone", 3);
}

#[test]
fn restored_databases_are_told_by_their_names() {
    let server = Server::manual().start();
    let mut db = home(&server, "app");
    for name in ["shop", "old"] {
        server.db("postgres").run(&format!("CREATE DATABASE {name}"));
        roll_back(&mut server.db(name), 10);
    }
    roll_back(&mut db, 1);
    db.snapshot();
    roll_back(&mut db, 1);
    db.snapshot();
    for is_older in [false, true] {
        if is_older {
            by_name_alone(&mut db);
        }
        let script = server.dir().join("dump.sql");
        let script = script.to_str().unwrap();
        server.client("pg_dump", &["-d", "app", "-f", script]).success();
        let new = Server::unloaded().start();
        new.db("postgres").run("CREATE DATABASE copy");
        let out =
            new.client("psql", &["-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", "copy", "-f", script]);
        assert!(out.ok, "{}", out.stderr);
        let mut copy = new.db("copy");
        new.db("postgres").run("CREATE DATABASE shop");
        copy.snapshot();
        roll_back(&mut new.db("shop"), 100);
        roll_back(&mut copy, 20);
        copy.snapshot();
        assert_eq!(rollbacks(&mut copy), ["copy: 22", "old: 10", "shop: 110"], "{is_older}");
        own_is(&mut copy, "copy", 22);
    }
}

/// Rows of `databases()` of those that rolled something back, with their quality.
fn qualities(db: &mut Db) -> Vec<String> {
    db.list(
        "SELECT database_name || ': ' || xact_rollback || ' ' || quality FROM perfmon.databases()
         WHERE xact_rollback > 0 AND database_name <> 'app' ORDER BY database_name",
    )
}

#[test]
fn what_a_database_did_before_it_was_dropped_is_a_lower_bound() {
    let server = Server::manual().start();
    let mut db = home(&server, "app");
    let create = |name: &str| server.db("postgres").run(&format!("CREATE DATABASE {name}"));
    for name in ["again", "calm", "gone"] {
        create(name);
        roll_back(&mut server.db(name), 10);
    }
    db.snapshot();
    assert_eq!(qualities(&mut db), ["again: 10 exact", "calm: 10 exact", "gone: 10 exact"]);
    for name in ["again", "calm", "gone"] {
        roll_back(&mut server.db(name), 5);
    }
    for name in ["again", "gone"] {
        alter(&server, &format!("DROP DATABASE {name}"));
    }
    create("again");
    roll_back(&mut server.db("again"), 3);
    db.snapshot();
    let all = ["again: 13 lower bound", "calm: 15 exact", "gone: 10 lower bound"];
    assert_eq!(qualities(&mut db), all);
    // From then on it is exact again.
    let last = "(SELECT max(time_end) FROM perfmon.intervals())";
    let since: String = db.val(&format!("SELECT {last}::text"));
    roll_back(&mut server.db("again"), 2);
    db.snapshot();
    let later: Vec<String> = db.list(&format!(
        "SELECT database_name || ': ' || xact_rollback || ' ' || quality FROM perfmon.databases('{since}', now())
         WHERE xact_rollback > 0"
    ));
    assert_eq!(later, ["again: 2 exact"]);
}

#[test]
fn a_database_that_nobody_may_connect_to_goes_on_afterwards() {
    let server = Server::manual().start();
    let mut db = home(&server, "app");
    db.run("CREATE DATABASE shop");
    roll_back(&mut server.db("shop"), 10);
    db.snapshot();
    for (off, on) in [
        ("ALLOW_CONNECTIONS false", "ALLOW_CONNECTIONS true"),
        ("IS_TEMPLATE true", "IS_TEMPLATE false"),
    ] {
        alter(&server, &format!("ALTER DATABASE shop {off}"));
        db.snapshot();
        alter(&server, &format!("ALTER DATABASE shop {on}"));
        roll_back(&mut server.db("shop"), 5);
        db.snapshot();
    }
    assert_eq!(qualities(&mut db), ["shop: 20 exact"]);
}
