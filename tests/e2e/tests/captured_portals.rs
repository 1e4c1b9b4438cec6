//! What ends late, or never: cursors and portals in all forms are counted as pg_stat_statements counts them, and alike
//! with identifiers of statements and without.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use perfmon_e2e::{Db, Server, code_of, secs, wait_until};

/// A session that is counted nowhere.
fn unseen(server: &Server) -> Db {
    let mut db = server.db("app");
    db.run(OFF);
    db
}

/// Name, what a session does, and how many executions that makes.
type Form = (&'static str, fn(Db, &Server), i64);

/// Messages of their own, by the simple protocol.
fn runs(mut db: Db, messages: &[&str]) {
    messages.iter().for_each(|sql| db.run(sql));
}

/// What becomes of a transaction.
#[derive(Clone, Copy)]
enum End {
    Commit,
    Rollback,
}

/// A portal that is read once, so many rows (0: all), and never closed.
fn reads(mut db: Db, sql: &str, rows: i32, end: End) {
    let mut transaction = db.transaction().unwrap();
    let portal = transaction.bind(sql, &[]).unwrap();
    transaction.query_portal(&portal, rows).unwrap();
    std::mem::forget(portal);
    match end {
        End::Commit => transaction.commit().unwrap(),
        End::Rollback => transaction.rollback().unwrap(),
    }
}

/// The server evaluates the function when it starts the statement, to leave partitions out.
const PRUNED: &str = "SELECT v FROM parts WHERE k = one()";

const PIECES: &str = "SELECT a FROM t WHERE a > 0";

const FORMS: &[Form] = &[
    (
        "cursor",
        |db, _| {
            runs(
                db,
                &[
                    "BEGIN",
                    "DECLARE c CURSOR FOR SELECT a FROM t",
                    "FETCH 2 c",
                    "CLOSE c",
                    "COMMIT",
                ],
            )
        },
        3,
    ),
    (
        "left",
        |db, _| runs(db, &["BEGIN", "DECLARE c CURSOR FOR SELECT a FROM t", "FETCH 2 c", "COMMIT"]),
        2,
    ),
    (
        "left, all",
        |db, _| {
            runs(db, &["BEGIN", "DECLARE c CURSOR FOR SELECT a FROM t", "FETCH ALL c", "COMMIT"])
        },
        2,
    ),
    (
        "one message",
        |db, _| runs(db, &["BEGIN; DECLARE c CURSOR FOR SELECT a FROM t; FETCH 2 c; COMMIT"]),
        2,
    ),
    (
        "rolled back",
        |db, _| {
            runs(db, &["BEGIN", "DECLARE c CURSOR FOR SELECT a FROM t", "FETCH 2 c", "ROLLBACK"])
        },
        2,
    ),
    ("unread", |db, _| runs(db, &["BEGIN", "DECLARE c CURSOR FOR SELECT a FROM t", "COMMIT"]), 1),
    (
        "unnamed",
        |db, _| {
            runs(
                db,
                &[
                    "BEGIN",
                    r#"DECLARE "<unnamed>" CURSOR FOR SELECT a FROM t"#,
                    "SELECT 1",
                    "COMMIT",
                ],
            )
        },
        2,
    ),
    (
        "held",
        |db, _| {
            runs(
                db,
                &[
                    "BEGIN",
                    "DECLARE c CURSOR WITH HOLD FOR SELECT a FROM t",
                    "COMMIT",
                    "FETCH ALL c",
                    "CLOSE c",
                ],
            )
        },
        3,
    ),
    (
        "held, left",
        |db, _| runs(db, &["DECLARE c CURSOR WITH HOLD FOR SELECT a FROM t", "SELECT 1"]),
        2,
    ),
    ("of a function", |db, _| runs(db, &["BEGIN", "SELECT opens('c')", "FETCH 2 c", "COMMIT"]), 2),
    (
        "two of a function",
        |db, _| runs(db, &["BEGIN", "SELECT opens('c'), opens('d')", "COMMIT"]),
        1,
    ),
    (
        "extended",
        |mut db, _| {
            for sql in ["BEGIN", "DECLARE c CURSOR FOR SELECT a FROM t", "FETCH 2 c", "COMMIT"] {
                db.query(sql, &[]).unwrap();
            }
        },
        2,
    ),
    (
        "portal",
        |mut db, _| {
            let mut transaction = db.transaction().unwrap();
            let portal = transaction.bind(PIECES, &[]).unwrap();
            for _ in 0..3 {
                transaction.query_portal(&portal, 2).unwrap();
            }
            drop(portal);
            transaction.commit().unwrap();
        },
        1,
    ),
    ("portal, left", |db, _| reads(db, PIECES, 2, End::Commit), 1),
    ("portal, left at its end", |db, _| reads(db, PIECES, 0, End::Commit), 1),
    ("portal, rolled back", |db, _| reads(db, PIECES, 0, End::Rollback), 0),
    (
        "portal, undone",
        |mut db, _| {
            let mut outer = db.transaction().unwrap();
            let mut inner = outer.transaction().unwrap();
            let portal = inner.bind(PIECES, &[]).unwrap();
            inner.query_portal(&portal, 0).unwrap();
            std::mem::forget(portal);
            inner.rollback().unwrap();
            outer.commit().unwrap();
        },
        0,
    ),
    ("writes", |db, _| reads(db, "UPDATE t SET b = b + 1 RETURNING a", 2, End::Rollback), 1),
    ("plain", |mut db, _| assert_eq!(db.query("SELECT a FROM t", &[]).unwrap().len(), 9), 1),
    (
        "block",
        |mut db, _| {
            db.run("BEGIN");
            db.query("SELECT a FROM t", &[]).unwrap();
            db.query("SELECT b FROM t", &[]).unwrap();
            db.run("ROLLBACK");
        },
        2,
    ),
    (
        "fails in the end",
        |mut db, _| {
            db.run("BEGIN");
            db.query("SELECT a FROM t", &[]).unwrap();
            // Before the server begins a portal, which would end the one before.
            assert_eq!(code_of(&db.query("SELEKT", &[]).unwrap_err()), "42601");
            db.run("ROLLBACK");
        },
        0,
    ),
    (
        "fails then",
        |mut db, _| {
            db.run("BEGIN");
            db.query("SELECT a FROM t", &[]).unwrap();
            db.query("SELECT 1 / (a - a) FROM t", &[]).unwrap_err();
            db.run("ROLLBACK");
        },
        1,
    ),
    (
        "leaves",
        |mut db, _| {
            db.run("BEGIN");
            db.query("SELECT a FROM t", &[]).unwrap();
        },
        0,
    ),
    (
        "terminated",
        |mut db, server| {
            db.run("BEGIN");
            let pid = db.query_one("SELECT pg_backend_pid()", &[]).unwrap().get::<_, i32>(0);
            db.query("SELECT a FROM t", &[]).unwrap();
            unseen(server).run(&format!("SELECT pg_terminate_backend({pid})"));
        },
        1,
    ),
    ("lazy", |db, _| runs(db, &["SELECT each_a() LIMIT 3"]), 1),
    ("lazy, at first", |db, _| runs(db, &["SELECT 1 WHERE EXISTS (SELECT each_a())"]), 1),
    ("lazy portal", |db, _| reads(db, "SELECT each_a() AS a", 2, End::Commit), 1),
    (
        "planned",
        |mut db, _| {
            db.run("PREPARE q (int) AS SELECT fixed() + $1");
            (0..6).for_each(|_| db.run("EXECUTE q (1)"));
        },
        6,
    ),
    (
        "given",
        |mut db, _| {
            db.run("PREPARE q (int) AS SELECT a FROM t WHERE a = $1");
            db.run("BEGIN");
            (0..6).for_each(|_| db.run("EXECUTE q (counted())"));
            db.run("SELECT 1; COMMIT");
        },
        7,
    ),
    ("pruned", |db, _| runs(db, &[PRUNED; 3]), 3),
    (
        "pruned, extended",
        |mut db, _| {
            let prepared = db.prepare(PRUNED).unwrap();
            (0..7).for_each(|_| assert_eq!(db.query(&prepared, &[]).unwrap().len(), 3));
        },
        7,
    ),
    (
        "pruned, executed",
        |mut db, _| {
            db.run("PREPARE q AS SELECT v FROM parts WHERE k = one() AND v > 0");
            (0..3).for_each(|_| db.run("EXECUTE q"));
        },
        3,
    ),
    ("pruned, writes", |db, _| runs(db, &["UPDATE parts SET v = v WHERE k = one()"; 3]), 3),
    ("pruned, catches", |db, _| runs(db, &["SELECT v FROM parts WHERE k = caught()"; 3]), 3),
    (
        "pruned, fails",
        |mut db, _| {
            for _ in 0..3 {
                db.run("BEGIN; SAVEPOINT s");
                db.fails("SELECT v FROM parts WHERE k = failing()");
                db.run("ROLLBACK TO s; SELECT a FROM t; COMMIT");
                db.fails("SELECT v FROM parts WHERE k = failing()");
                db.query("SELECT a FROM t", &[]).unwrap();
            }
        },
        6,
    ),
    (
        "pruned, deferred",
        |mut db, _| (0..3).for_each(|_| db.run("INSERT INTO child VALUES (7), (8)")),
        3,
    ),
    ("looped, pruned", |db, _| runs(db, &["SELECT v FROM parts WHERE k = looped()"; 3]), 3),
    ("looped, planned", |db, _| runs(db, &["SELECT a FROM t WHERE a = looped()"; 3]), 3),
    (
        "looped, given",
        |mut db, _| {
            db.run("PREPARE q (int) AS SELECT a FROM t WHERE a = $1");
            (0..3).for_each(|_| db.run("EXECUTE q (looped())"));
        },
        3,
    ),
    ("looped, deferred", |db, _| runs(db, &["INSERT INTO child VALUES (5), (6)"; 3]), 3),
    ("opened, deferred", |db, _| runs(db, &["INSERT INTO child VALUES (3), (4)"; 3]), 3),
    (
        "prepared without ids",
        |mut db, _| {
            db.run("SET compute_query_id = off");
            let [select, declare, command] = [
                "SELECT a FROM t",
                "DECLARE c CURSOR WITH HOLD FOR SELECT a FROM t",
                "LISTEN something",
            ]
            .map(|sql| db.prepare(sql).unwrap());
            db.run("PREPARE q AS SELECT b FROM t; RESET compute_query_id");
            for _ in 0..3 {
                for prepared in [&select, &declare, &command] {
                    db.query(prepared, &[]).unwrap();
                }
                db.run("EXECUTE q");
                db.run("FETCH 2 c; CLOSE c");
            }
        },
        18,
    ),
    (
        "checked without ids",
        |db, _| {
            let inserts = "INSERT INTO child VALUES (1), (2)";
            let off = "SET compute_query_id = off";
            runs(db, &[off, inserts, "RESET compute_query_id", inserts, inserts]);
        },
        3,
    ),
    (
        "commands",
        |db, _| {
            runs(
                db,
                &[
                    "EXPLAIN ANALYZE SELECT a FROM t",
                    "CREATE TEMP TABLE made AS SELECT a FROM t",
                    "DO $$ DECLARE r record; BEGIN FOR r IN SELECT a FROM t LOOP PERFORM r.a; END LOOP; END $$",
                    "PREPARE p AS SELECT a FROM t",
                    "EXECUTE p",
                ],
            )
        },
        4,
    ),
];

/// For neither of the two at the end of the statement.
const OFF: &str = "SELECT set_config('pg_stat_statements.track', 'none', false), set_config('pg_perfmon.capture', 'off', false)";

/// What holds for a session, in which all forms are counted alike.
const MODES: &[(&str, &str)] =
    &[("ids", ""), ("no ids", "SET compute_query_id = off"), ("off", OFF)];

/// Calls of an application.
fn calls(db: &mut Db, application: &str) -> i64 {
    let sql = "SELECT coalesce(sum(calls), 0)::bigint FROM perfmon.routes() WHERE application = $1";
    db.val_with(sql, &[&application])
}

#[test]
fn each_form_is_counted_once() {
    forms_are_counted_once(&Server::manual().start());
}

/// What functions leave half read ends when nothing is at work that it was nested in, and has a time then.
#[test]
fn each_form_is_counted_once_where_all_is_tracked() {
    forms_are_counted_once(&Server::manual().conf("pg_stat_statements.track = all").start());
}

fn forms_are_counted_once(server: &Server) {
    server.new_db("app").run(
        "CREATE TABLE t (a int, b int); INSERT INTO t SELECT g, g FROM generate_series(1, 9) g;
         CREATE ROLE alice LOGIN SUPERUSER;
         CREATE FUNCTION opens(c refcursor) RETURNS refcursor LANGUAGE plpgsql AS
             'BEGIN OPEN c FOR SELECT a FROM t; RETURN c; END';
         CREATE FUNCTION each_a() RETURNS SETOF int LANGUAGE sql AS 'SELECT a FROM t';
         CREATE FUNCTION fixed() RETURNS int IMMUTABLE LANGUAGE plpgsql AS
             'BEGIN RETURN (SELECT count(*) FROM t); END';
         CREATE FUNCTION counted() RETURNS int LANGUAGE plpgsql AS
             'DECLARE n int; BEGIN SELECT count(*) INTO n FROM t; RETURN n; END';
         CREATE TABLE parts (k int, v int) PARTITION BY LIST (k);
         CREATE TABLE parts_1 PARTITION OF parts FOR VALUES IN (1);
         CREATE TABLE parts_2 PARTITION OF parts FOR VALUES IN (2);
         INSERT INTO parts SELECT 1 + g % 2, g FROM generate_series(1, 6) g;
         CREATE FUNCTION one() RETURNS int STABLE LANGUAGE plpgsql AS
             'DECLARE n int; BEGIN SELECT min(a) INTO n FROM t; RETURN n; END';
         CREATE FUNCTION caught() RETURNS int STABLE LANGUAGE plpgsql AS
             'BEGIN RETURN (SELECT 1 / (a - a) FROM t LIMIT 1); EXCEPTION WHEN division_by_zero THEN RETURN one(); END';
         CREATE FUNCTION failing() RETURNS int STABLE LANGUAGE plpgsql AS
             'BEGIN RETURN (SELECT 1 / (a - a) FROM t LIMIT 1); END';
         CREATE FUNCTION looped() RETURNS int STABLE LANGUAGE plpgsql AS
             'DECLARE r record; BEGIN FOR r IN SELECT a FROM t ORDER BY a LOOP RETURN r.a; END LOOP; END';
         CREATE TABLE parent (a int PRIMARY KEY); INSERT INTO parent SELECT g FROM generate_series(1, 9) g;
         CREATE TABLE child (a int REFERENCES parent DEFERRABLE INITIALLY DEFERRED);
         CREATE FUNCTION looks() RETURNS trigger LANGUAGE plpgsql AS
             'BEGIN PERFORM v FROM parts WHERE k = one(); RETURN NULL; END';
         CREATE CONSTRAINT TRIGGER looks AFTER INSERT ON child DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
             WHEN (NEW.a > 6) EXECUTE FUNCTION looks();
         CREATE FUNCTION loops() RETURNS trigger LANGUAGE plpgsql AS
             'DECLARE r record; BEGIN FOR r IN SELECT a FROM t ORDER BY a LOOP RETURN NULL; END LOOP; END';
         CREATE CONSTRAINT TRIGGER loops AFTER INSERT ON child DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
             WHEN (NEW.a IN (5, 6)) EXECUTE FUNCTION loops();
         CREATE FUNCTION reads() RETURNS trigger LANGUAGE plpgsql AS
             'DECLARE c CURSOR FOR SELECT a FROM t; n int; BEGIN OPEN c; FETCH c INTO n; CLOSE c; OPEN c; RETURN NULL; END';
         CREATE CONSTRAINT TRIGGER reads AFTER INSERT ON child DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
             WHEN (NEW.a = 3) EXECUTE FUNCTION reads()",
    );
    let mut watcher = unseen(server);
    watcher.snapshot();
    for (mode, set) in MODES {
        for (name, form, _) in FORMS {
            let mut db = server.connect("alice", "app");
            db.run(&format!("{set}; SET application_name = '{name}, {mode}'"));
            form(db, server);
        }
    }
    wait_until("all are gone", secs(60), || {
        watcher
            .val::<bool>("SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE usename = 'alice')")
    });
    watcher.snapshot();
    for (mode, _) in MODES {
        let found: Vec<_> = FORMS
            .iter()
            .map(|(name, _, _)| (*name, calls(&mut watcher, &format!("{name}, {mode}"))))
            .collect();
        let expected: Vec<_> = FORMS.iter().map(|(name, _, calls)| (*name, *calls)).collect();
        assert_eq!(found, expected, "{mode}");
    }
    let different: Vec<String> = watcher.list(
        "SELECT concat_ws(' ', query, coalesce(calls, 0), coalesce(executions, 0))
         FROM (SELECT queryid, query, calls FROM pg_stat_statements
               WHERE userid = 'alice'::regrole AND toplevel) s
         FULL JOIN (SELECT queryid, executions FROM perfmon.latency_since_start()
                    WHERE user_name = 'alice' AND toplevel AND NOT rest) l USING (queryid)
         WHERE calls IS DISTINCT FROM executions",
    );
    assert_eq!(different, [""; 0]);
}
