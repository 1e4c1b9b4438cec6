//! The history survives dump, restore and upgrade, also beside a live collector.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

use perfmon_e2e::{
    Db, Programs, Server, Stop, code_of, message_of, named_history, secs, wait_until,
};

/// Everything that statement_history shows of a fixed window, for comparing.
fn fingerprint(db: &mut Db, until: &str) -> Vec<String> {
    db.list(&format!(
        "SELECT concat_ws('|', time_end, user_name, queryid, query, calls, rows, quality) FROM {}
          ORDER BY time_end, queryid, user_name",
        named_history(&format!("'{until}'::timestamptz - interval '10 hours', '{until}'"))
    ))
}

/// A database with some history, and the time up to which to compare it.
fn with_history(server: &Server, name: &str) -> (String, Vec<String>) {
    let mut db = server.new_db(name);
    db.run("CREATE TABLE t (a int, b text); INSERT INTO t VALUES (1, 'ü')");
    db.snapshot();
    for i in 0..4 {
        db.run("SELECT a FROM t WHERE a = 1");
        db.run("SELECT 'ünï', b FROM t WHERE a = 1");
        if i % 2 == 0 {
            db.run("INSERT INTO t VALUES (2, 'x')");
        }
        db.snapshot();
    }
    let until: String = db.val("SELECT max(time_end)::text FROM perfmon.intervals(now() - interval '1 hour', clock_timestamp())");
    let history = fingerprint(&mut db, &until);
    assert!(history.len() >= 10, "{history:?}");
    (until, history)
}

#[test]
fn plain_dump_and_restore_beside_a_live_collector() {
    let server = Server::builder().start();
    let (until, before) = with_history(&server, "app");
    let script = server.dir().join("dump.sql");
    let script = script.to_str().unwrap();
    // A collector works in the source while it is dumped, and starts to work in the copy while it is restored.
    server.client("pg_dump", &["-d", "app", "-f", script]).success();
    server.db("postgres").run("CREATE DATABASE copy");
    let out =
        server.client("psql", &["-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", "copy", "-f", script]);
    assert!(out.ok, "{}", out.stderr);
    let mut copy = server.db("copy");
    // The copy's collector began before the history was there: its next snapshot joins the two.
    copy.snapshot();
    assert_eq!(fingerprint(&mut copy, &until), before);
    collects_on(&mut copy);
    assert_eq!(fingerprint(&mut copy, &until), before, "old and new history stand side by side");
    assert_eq!(fingerprint(&mut server.db("app"), &until), before);
}

#[test]
fn custom_dump_and_parallel_restore_beside_a_live_collector() {
    let server = Server::builder().start();
    let (until, before) = with_history(&server, "app");
    let file = server.dir().join("dump.custom");
    let file = file.to_str().unwrap();
    server.client("pg_dump", &["-d", "app", "-Fc", "-f", file]).success();
    for jobs in ["2", "1"] {
        let name = format!("copy{jobs}");
        server.db("postgres").run(&format!("CREATE DATABASE {name}"));
        let out = server.client("pg_restore", &["-e", "-j", jobs, "-d", &name, file]);
        assert!(out.ok, "{}", out.stderr);
        let mut copy = server.db(&name);
        copy.snapshot();
        assert_eq!(fingerprint(&mut copy, &until), before);
        collects_on(&mut copy);
        assert_eq!(fingerprint(&mut copy, &until), before);
    }
}

/// People ask by the id alone: what came with a restore and what runs since must not share ids.
#[test]
fn ids_mean_the_same_statement_before_and_after_a_restore() {
    let server = Server::manual().start();
    with_history(&server, "app");
    let script = server.dir().join("dump.sql");
    let script = script.to_str().unwrap();
    server.client("pg_dump", &["-d", "app", "-f", script]).success();
    // No collector gives out ids here before those of the dump are there.
    let other = Server::unloaded().start();
    other.db("postgres").run("CREATE DATABASE copy");
    let out =
        other.client("psql", &["-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", "copy", "-f", script]);
    assert!(out.ok, "{}", out.stderr);
    let mut copy = other.db("copy");
    copy.snapshot();
    for i in 0..4 {
        copy.run(&format!("SELECT a, {i} AS new_here FROM t; SELECT a FROM t WHERE a = 1"));
        copy.snapshot();
    }
    ids_are_good(&mut copy);
    let twice = "SELECT count(*) FROM (SELECT statement_id FROM perfmon.statement
         GROUP BY statement_id HAVING count(*) > 1) d";
    assert_eq!(copy.val::<i64>(twice), 0, "no id twice");
    an_objective_is_of_any_id(&mut copy);
    let objects = "SELECT count(*) FROM (SELECT family, object_id FROM perfmon.object
         GROUP BY family, object_id HAVING count(*) > 1) d";
    assert_eq!(copy.val::<i64>(objects), 0, "no id twice");
}

/// Whatever statement is listed, of old sources and of the new one, its series and its histogram count what the list counts.
fn ids_are_good(db: &mut Db) {
    let window = "now() - interval '1 hour', clock_timestamp()";
    let listed = db.texts(&format!(
        "SELECT t.statement_id::text, t.query, t.calls::text, t.timed_calls::text,
             (SELECT sum(s.calls)::text FROM perfmon.statement_series(t.statement_id, {window}) s),
             (SELECT sum(h.calls)::text FROM perfmon.latency_histogram(t.statement_id, {window}) h)
         FROM (SELECT l.*, row_number() OVER (PARTITION BY l.from_source) AS place
               FROM perfmon.top_statements({window}, 'total_time', NULL) l) t
         WHERE t.statement_id > 0 AND t.place <= 6"
    ));
    assert!(listed.len() >= 7, "{listed:?}");
    for row in listed {
        let [_, _, calls, timed, series, histogram] = row.as_slice() else { panic!("{row:?}") };
        assert_eq!(series, calls, "{row:?}");
        assert_eq!(histogram, timed, "{row:?}");
    }
}

/// Whatever statement is listed may be promised about. One of the restored history is meant as it is executed here, under another
/// queryid, as its table is another; if it is not, that is said.
fn an_objective_is_of_any_id(db: &mut Db) {
    let id = |db: &mut Db, own: &str, query: &str| -> i32 {
        db.val(&format!(
            "SELECT max(statement_id) FROM perfmon.statement s, perfmon.own_source o
             WHERE s.source {own} o.source AND query = '{query}'"
        ))
    };
    let query = "SELECT a FROM t WHERE a = $1";
    let (own, restored) = (id(db, "=", query), id(db, "<>", query));
    for (name, id) in [("own", own), ("restored", restored)] {
        db.run(&format!("SELECT perfmon.create_slo('{name}', statement_id => {id})"));
    }
    let declared: Vec<i32> = db.list("SELECT statement_id FROM perfmon.slo");
    assert_eq!(declared, [own, own]);
    let gone = id(db, "<>", "INSERT INTO t VALUES ($1, $2)");
    for (id, code, words) in [
        (gone, "55000", "not known to have been executed"),
        (123_456_789, "22023", "there is no statement"),
        (-1, "22023", "statement"),
    ] {
        let e = db.fails(&format!("SELECT perfmon.create_slo('none', statement_id => {id})"));
        assert_eq!(code_of(&e), code, "{}", message_of(&e));
        assert!(message_of(&e).contains(words), "{}", message_of(&e));
    }
}

#[test]
fn restore_where_nothing_is_preloaded() {
    let server = Server::manual().start();
    let (until, before) = with_history(&server, "app");
    let script = server.dir().join("dump.sql");
    let script = script.to_str().unwrap();
    server.client("pg_dump", &["-d", "app", "-f", script]).success();
    let other = Server::unloaded().start();
    other.db("postgres").run("CREATE DATABASE copy");
    let out =
        other.client("psql", &["-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", "copy", "-f", script]);
    assert!(out.ok, "{}", out.stderr);
    let mut copy = other.db("copy");
    assert_eq!(
        fingerprint(&mut copy, &until),
        before,
        "to be read at once, before anything is collected here"
    );
    copy.snapshot();
    copy.run("SELECT a FROM t WHERE a = 1");
    copy.snapshot();
    assert_eq!(fingerprint(&mut copy, &until), before);
    assert!(copy.history().len() > before.len());
}

#[test]
fn schema_only_dump_makes_a_working_database() {
    let server = Server::manual().start();
    with_history(&server, "app");
    let script = server.dir().join("dump.sql");
    let script = script.to_str().unwrap();
    server.client("pg_dump", &["-d", "app", "-s", "-f", script]).success();
    server.db("postgres").run("CREATE DATABASE copy");
    let out =
        server.client("psql", &["-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", "copy", "-f", script]);
    assert!(out.ok, "{}", out.stderr);
    collects_on(&mut server.db("copy"));
}

#[test]
fn a_dump_of_the_dump_is_the_same() {
    let server = Server::manual().start();
    let (until, before) = with_history(&server, "app");
    let mut from = "app".to_owned();
    for i in 0..2 {
        let script = server.dir().join(format!("dump{i}.sql"));
        let script = script.to_str().unwrap();
        server.client("pg_dump", &["-d", &from, "-f", script]).success();
        from = format!("copy{i}");
        server.db("postgres").run(&format!("CREATE DATABASE {from}"));
        let out = server
            .client("psql", &["-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", &from, "-f", script]);
        assert!(out.ok, "{}", out.stderr);
        let mut copy = server.db(&from);
        copy.snapshot();
        assert_eq!(fingerprint(&mut copy, &until), before);
        collects_on(&mut copy);
    }
}

#[test]
fn pg_upgrade_keeps_the_history() {
    upgraded_from(&Programs::new());
}

/// Where the machine has an older server too: `tools/chroot-test.sh` brings one along.
#[test]
fn pg_upgrade_from_an_older_server_keeps_the_history() {
    match Programs::older() {
        Some(programs) => upgraded_from(&programs),
        None => println!("SKIPPED: PERFMON_OLD_PG_BIN names no older server"),
    }
}

/// Minor releases of one day mark every column with a version (option pg_attver), which minor releases before that
/// day cannot restore: between such a pair pg_upgrade fails for any table of anybody. The mark is not ours, so it is
/// taken off, and the rest is tested.
fn forget_column_versions(old: &Server, new: &Programs) {
    let pg_dump = std::fs::read(new.bin().join("pg_dump")).unwrap();
    if pg_dump.windows(9).any(|word| word == b"pg_attver") {
        return;
    }
    // Nothing may make tables any more.
    old.append_conf(&["pg_perfmon.enabled = off"]);
    old.restart();
    for database in ["app", "postgres", "template1"] {
        old.db(database).run(
            "UPDATE pg_attribute SET attoptions = NULL WHERE attoptions::text LIKE '{pg_attver=%}'",
        );
    }
}

fn upgraded_from(older: &Programs) {
    let mut old = Server::manual().programs(older.clone()).start();
    let (until, before) = with_history(&old, "app");
    let programs = Programs::new();
    forget_column_versions(&old, &programs);
    old.stop(Stop::Fast);
    let new_data = old.dir().join("new");
    let new_path = new_data.to_str().unwrap();
    let mut options = vec!["-D", new_path, "-U", "postgres", "--auth=trust", "-N", "-E", "UTF8"];
    options.extend(["--locale=C.UTF-8", "--wal-segsize=4"]);
    // From 18 on they are the default, and pg_upgrade wants both alike.
    if older.major() < 18 && programs.major() >= 18 {
        options.push("--no-data-checksums");
    }
    programs.run("initdb", &options).success();
    // As a user would: the new server's configuration names the library too.
    let conf = new_data.join("postgresql.conf");
    let text = std::fs::read_to_string(&conf).unwrap();
    std::fs::write(
        &conf,
        text + "\nshared_preload_libraries = 'pg_stat_statements,pg_perfmon'\nfsync = off\n",
    )
    .unwrap();
    let bin = programs.bin().to_str().unwrap().to_owned();
    let mut command = programs.command("pg_upgrade");
    let out = command
        .current_dir(old.dir())
        .args([
            "-b",
            older.bin().to_str().unwrap(),
            "-B",
            &bin,
            "-d",
            old.data().to_str().unwrap(),
            "-D",
            new_path,
            "-U",
            "postgres",
            "-k",
        ])
        .output()
        .unwrap();
    assert!(
        out.status.success(),
        "{}\n{}\n{}",
        String::from_utf8_lossy(&out.stdout),
        String::from_utf8_lossy(&out.stderr),
        programs.run("grep", &["-rhi", "-A3", "error", new_path]).stdout
    );
    old.move_to(&new_data);
    old.programs = programs;
    old.start();
    let mut db = old.db("app");
    assert_eq!(fingerprint(&mut db, &until), before);
    collects_on(&mut db);
    assert_eq!(fingerprint(&mut db, &until), before);
}

fn collects_on(db: &mut Db) {
    let id = db.queryid_of("SELECT a FROM t WHERE a = 1");
    let before = db.stored_calls(id);
    wait_until("collecting goes on", secs(25), || {
        db.run("SELECT a FROM t WHERE a = 1");
        db.snapshot();
        db.stored_calls(id) > before
    });
}
