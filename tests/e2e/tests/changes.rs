//! What changed is noticed: extensions, tables and indexes, by the collector.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::Instant;

use perfmon_e2e::{Change, Db, Server, Stop, secs, wait_for, wait_until};

/// A database that was looked at once: what is there then is no change. The first look may come with CREATE EXTENSION.
fn looked_at(server: &Server, prepare: &str) -> Db {
    server.db("postgres").run("CREATE DATABASE app");
    let mut db = server.db("app");
    db.run(prepare);
    db.run("CREATE EXTENSION pg_stat_statements; CREATE EXTENSION pg_perfmon");
    assert_eq!(db.new_changes(), []);
    assert_eq!(db.new_changes(), []);
    db
}

fn created(kind: &str, name: &str, definition: &str) -> Change {
    Change::of(kind, name, None, Some(definition))
}

fn dropped(kind: &str, name: &str, definition: &str) -> Change {
    Change::of(kind, name, Some(definition), None)
}

fn altered(kind: &str, name: &str, old: &str, new: &str) -> Change {
    Change::of(kind, name, Some(old), Some(new))
}

fn renamed(kind: &str, old: &str, new: &str) -> Change {
    Change::of(kind, new, Some(old), Some(&format!("renamed to {new}")))
}

#[test]
fn extensions_tables_and_indexes_come_change_and_go() {
    let server = Server::manual().start();
    let mut db = looked_at(&server, "CREATE TABLE old (a int); CREATE INDEX old_idx ON old (a)");
    db.run(
        "CREATE EXTENSION citext VERSION '1.5';
         CREATE TABLE t (id bigint GENERATED ALWAYS AS IDENTITY, name varchar(20) NOT NULL, c citext)
             WITH (fillfactor = 70);
         CREATE UNLOGGED TABLE u (a int[]);
         CREATE MATERIALIZED VIEW m AS SELECT id FROM t;
         CREATE UNIQUE INDEX t_idx ON t (lower(name) DESC, id) WHERE id > 0;
         CREATE TEMP TABLE temporary (a int); CREATE INDEX ON temporary (a);
         CREATE VIEW v AS SELECT 1; CREATE SEQUENCE s;
         DROP INDEX old_idx",
    );
    let t = "(id bigint NOT NULL GENERATED ALWAYS AS IDENTITY, name character varying(20) NOT NULL, c public.citext) WITH (fillfactor=70)";
    let index = "CREATE UNIQUE INDEX t_idx ON public.t USING btree (lower((name)::text) DESC, id) WHERE (id > 0)";
    let old_index = "CREATE INDEX old_idx ON public.old USING btree (a)";
    assert_eq!(
        db.new_changes(),
        [
            created("extension", "citext", "version 1.5 in schema public"),
            dropped("index", "public.old_idx", old_index),
            created("index", "public.t_idx", index),
            created("table", "public.m", "MATERIALIZED VIEW (id bigint)"),
            created("table", "public.t", t),
            created("table", "public.u", "UNLOGGED (a integer[])"),
        ]
    );
    db.run(
        "ALTER EXTENSION citext UPDATE TO '1.6';
         ALTER TABLE t ALTER name TYPE text, ADD COLUMN more int;
         ALTER TABLE u SET LOGGED; ALTER TABLE u ALTER a SET STATISTICS 1000;
         ALTER INDEX t_idx SET (fillfactor = 50);
         GRANT SELECT ON t TO pg_monitor; ANALYZE; TRUNCATE u; COMMENT ON TABLE u IS 'x'",
    );
    let new_t = "(id bigint NOT NULL GENERATED ALWAYS AS IDENTITY, name text NOT NULL, c public.citext, more integer) WITH (fillfactor=70)";
    let new_index = "CREATE UNIQUE INDEX t_idx ON public.t USING btree (lower(name) DESC, id) WITH (fillfactor='50') WHERE (id > 0)";
    assert_eq!(
        db.new_changes(),
        [
            altered(
                "extension",
                "citext",
                "version 1.5 in schema public",
                "version 1.6 in schema public"
            ),
            altered("index", "public.t_idx", index, new_index),
            altered("table", "public.t", t, new_t),
            altered("table", "public.u", "UNLOGGED (a integer[])", "(a integer[] STATISTICS 1000)"),
        ]
    );
    db.run("DROP TABLE t CASCADE; DROP EXTENSION citext CASCADE");
    db.run("REINDEX DATABASE app");
    assert_eq!(
        db.new_changes(),
        [
            dropped("extension", "citext", "version 1.6 in schema public"),
            dropped("index", "public.t_idx", new_index),
            dropped("table", "public.m", "MATERIALIZED VIEW (id bigint)"),
            dropped("table", "public.t", new_t),
        ]
    );
    assert_eq!(db.new_changes(), []);
}

#[test]
fn defaults_constraints_and_triggers_come_and_go() {
    let server = Server::manual().start();
    let mut db = looked_at(
        &server,
        "CREATE TABLE p (id int PRIMARY KEY); CREATE TABLE t (a int, b int, \"C c\" text);
         CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$",
    );
    let mut before = "(a integer, b integer, \"C c\" text)".to_owned();
    for (change, after) in [
        ("ALTER a SET DEFAULT 7", "(a integer DEFAULT 7, b integer, \"C c\" text)"),
        (
            "ADD CONSTRAINT few CHECK (b < 100) NOT VALID",
            "(a integer DEFAULT 7, b integer, \"C c\" text, CHECK ((b < 100)) NOT VALID)",
        ),
        (
            "VALIDATE CONSTRAINT few",
            "(a integer DEFAULT 7, b integer, \"C c\" text, CHECK ((b < 100)))",
        ),
        (
            "ADD FOREIGN KEY (b) REFERENCES p ON DELETE CASCADE, ALTER a SET DEFAULT 8",
            "(a integer DEFAULT 8, b integer, \"C c\" text, CHECK ((b < 100)), FOREIGN KEY (b) REFERENCES public.p(id) ON DELETE CASCADE)",
        ),
        (
            "DROP CONSTRAINT few, DROP CONSTRAINT t_b_fkey, ALTER a DROP DEFAULT",
            "(a integer, b integer, \"C c\" text)",
        ),
    ] {
        db.run(&format!("ALTER TABLE t {change}"));
        assert_eq!(db.new_changes(), [altered("table", "public.t", &before, after)], "{change}");
        before = after.to_owned();
    }
    db.run("CREATE TRIGGER g BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION f()");
    let with = format!(
        "{before}; CREATE TRIGGER g BEFORE INSERT ON public.t FOR EACH ROW EXECUTE FUNCTION public.f()"
    );
    assert_eq!(db.new_changes(), [altered("table", "public.t", &before, &with)]);
    db.run("ALTER TABLE t DISABLE TRIGGER g");
    let disabled = format!("{with} (disabled)");
    assert_eq!(db.new_changes(), [altered("table", "public.t", &with, &disabled)]);
    db.run("DROP TRIGGER g ON t; DROP TABLE t; CREATE TABLE t (a int, b int, \"C c\" text)");
    assert_eq!(db.new_changes(), [altered("table", "public.t", &disabled, &before)]);
}

#[test]
fn a_rename_is_a_rename_and_the_same_made_anew_is_nothing() {
    let server = Server::manual().start();
    let mut db = looked_at(
        &server,
        "CREATE TABLE a (x int); CREATE INDEX a_idx ON a (x); CREATE TABLE b (y int); CREATE SCHEMA s",
    );
    db.run("ALTER TABLE a RENAME COLUMN x TO z; ALTER INDEX a_idx RENAME TO z_idx; ALTER TABLE b SET SCHEMA s");
    assert_eq!(
        db.new_changes(),
        [
            renamed("index", "public.a_idx", "public.z_idx"),
            altered("table", "public.a", "(x integer)", "(z integer)"),
            renamed("table", "public.b", "s.b"),
        ]
    );
    // The words of an index follow its table.
    db.run("ALTER TABLE a RENAME TO renamed");
    assert_eq!(db.new_changes(), [renamed("table", "public.a", "public.renamed")]);
    db.run("REINDEX TABLE CONCURRENTLY renamed");
    assert_eq!(db.new_changes(), []);
    db.run("DROP TABLE renamed; CREATE TABLE renamed (z int); CREATE INDEX z_idx ON renamed (z)");
    assert_eq!(db.new_changes(), []);
    db.run("DROP INDEX z_idx; DROP TABLE s.b; CREATE TABLE s.b (y text)");
    assert_eq!(
        db.new_changes(),
        [
            dropped(
                "index",
                "public.z_idx",
                "CREATE INDEX z_idx ON public.renamed USING btree (z)"
            ),
            altered("table", "s.b", "(y integer)", "(y text)"),
        ]
    );
    // One name, two changes at one time: both are kept, what went before what came.
    db.run("ALTER TABLE renamed RENAME TO other; ALTER TABLE s.b SET SCHEMA public; CREATE TABLE s.b (q int)");
    db.new_changes();
    db.run("DROP TABLE s.b; ALTER TABLE public.b SET SCHEMA s");
    assert_eq!(
        db.new_changes(),
        [dropped("table", "s.b", "(q integer)"), renamed("table", "public.b", "s.b")]
    );
}

/// What is given to an extension is no user's for that time, but neither does it go then, nor come when it is taken back.
#[test]
fn what_moves_into_an_extension_and_out_of_it_was_there() {
    let server = Server::manual().start();
    let mut db = looked_at(
        &server,
        "CREATE EXTENSION citext; CREATE TABLE t (a int); CREATE INDEX t_idx ON t (a);
         CREATE TABLE u (a int); CREATE INDEX u_idx ON u (a); CREATE SCHEMA s; CREATE TABLE s.v (a int)",
    );
    let extension = |db: &mut Db, action: &str| {
        for object in ["TABLE t", "TABLE u", "SCHEMA s"] {
            db.run(&format!("ALTER EXTENSION citext {action} {object}"));
        }
    };
    for _ in 0..2 {
        extension(&mut db, "ADD");
        assert_eq!(db.new_changes(), []);
        assert_eq!(db.new_changes(), []);
        extension(&mut db, "DROP");
        assert_eq!(db.new_changes(), []);
    }
    extension(&mut db, "ADD");
    assert_eq!(db.new_changes(), []);
    db.run("ALTER TABLE u ADD b int; ALTER EXTENSION citext DROP TABLE u");
    assert_eq!(
        db.new_changes(),
        [altered("table", "public.u", "(a integer)", "(a integer, b integer)")]
    );
    db.run("DROP EXTENSION citext CASCADE");
    let t_idx = "CREATE INDEX t_idx ON public.t USING btree (a)";
    let gone = db.new_changes();
    for change in
        [dropped("table", "public.t", "(a integer)"), dropped("index", "public.t_idx", t_idx)]
    {
        assert!(gone.contains(&change), "{gone:?}");
    }
    assert_eq!(gone.len(), 4, "the extension and the table of its schema too: {gone:?}");
}

#[test]
fn names_are_quoted_by_the_server() {
    let server = Server::manual().start();
    let mut db = looked_at(&server, "");
    let long = "é".repeat(31);
    db.run(&format!(
        "CREATE SCHEMA \"S p;\";
         CREATE TABLE \"S p;\".\"quo\"\"te'\n{{}}\" (\"Col \"\"1\"\"\" int, \"select\" text);
         CREATE INDEX \"{long}\" ON \"S p;\".\"quo\"\"te'\n{{}}\" (\"select\")"
    ));
    let table = "\"S p;\".\"quo\"\"te'\n{}\"";
    let index = format!("CREATE INDEX \"{long}\" ON {table} USING btree (\"select\")");
    assert_eq!(
        db.new_changes(),
        [
            created("index", &format!("\"S p;\".\"{long}\""), &index),
            created("table", table, "(\"Col \"\"1\"\"\" integer, \"select\" text)"),
        ]
    );
    // What stands there can be used as it stands.
    db.run(&format!("DROP TABLE {table}"));
    let gone = db.new_changes();
    assert_eq!(gone.len(), 2, "{gone:?}");
    db.run(&format!(
        "CREATE TABLE {table} {}; {}",
        gone[1].old.as_ref().unwrap(),
        gone[0].old.as_ref().unwrap()
    ));
}

#[test]
fn partitions_and_children_are_told_together() {
    let server = Server::manual().start();
    let mut db = looked_at(&server, "CREATE TABLE plain (at int)");
    db.run(
        "CREATE TABLE events (at int, b text) PARTITION BY RANGE (at);
         CREATE INDEX ON events (b);
         CREATE TABLE children (at int);
         DO $$ BEGIN FOR i IN 1..12 LOOP
             EXECUTE format('CREATE TABLE events_%s PARTITION OF events FOR VALUES FROM (%s) TO (%s)', i, i, i + 1);
             EXECUTE format('CREATE TABLE child_%s () INHERITS (children)', i);
         END LOOP; END $$",
    );
    let changes = db.new_changes();
    let names: Vec<&str> = changes.iter().map(|c| c.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "public.events_b_idx",
            "12 partitions of public.children",
            "12 partitions of public.events",
            "public.children",
            "public.events",
        ]
    );
    assert_eq!(changes[4].new.as_deref(), Some("(at integer, b text) PARTITION BY RANGE (at)"));
    assert!(changes[2].new.as_deref().unwrap().starts_with("public.events_1, public.events_10, "));

    db.run(
        "CREATE INDEX ON events (at); ALTER TABLE events ADD COLUMN c int;
         CREATE TABLE events_13 PARTITION OF events FOR VALUES FROM (13) TO (14)
             WITH (autovacuum_enabled = off)",
    );
    let changes = db.new_changes();
    let names: Vec<&str> = changes.iter().map(|c| c.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "12 indexes of partitions of public.events",
            "public.events_at_idx",
            "public.events",
            "public.events_13"
        ]
    );
    assert_eq!(
        changes[3].new.as_deref(),
        Some(
            "PARTITION OF public.events FOR VALUES FROM (13) TO (14) WITH (autovacuum_enabled=off)"
        )
    );

    db.run("DROP TABLE events_1, events_2; ALTER TABLE events DETACH PARTITION events_3");
    let changes = db.new_changes();
    assert_eq!(
        changes,
        [
            dropped("table", "2 partitions of public.events", "public.events_1, public.events_2"),
            altered(
                "table",
                "public.events_3",
                "PARTITION OF public.events FOR VALUES FROM (3) TO (4)",
                "(at integer, b text, c integer)"
            ),
        ]
    );
    // As chunks of a hypertable: in a schema of an extension, whose other tables are its own business.
    db.run(
        "CREATE SCHEMA chunks; ALTER EXTENSION pg_stat_statements ADD SCHEMA chunks;
         CREATE TABLE chunks.own_business (a int);
         DO $$ BEGIN FOR i IN 1..5 LOOP
             EXECUTE format('CREATE TABLE chunks.chunk_%s () INHERITS (plain)', i);
             EXECUTE format('CREATE INDEX ON chunks.chunk_%s (at)', i);
         END LOOP; END $$",
    );
    let changes = db.new_changes();
    assert!(
        matches!(&changes[..], [one] if one.name == "5 partitions of public.plain"),
        "{changes:?}"
    );
}

#[test]
fn a_thousand_at_once_are_few_rows() {
    let server = Server::manual().conf("max_locks_per_transaction = 500").start();
    let mut db = looked_at(&server, "");
    db.run(
        "DO $$ BEGIN FOR i IN 1..1000 LOOP
             EXECUTE format('CREATE TABLE t%s (a int, b text)', i);
             EXECUTE format('CREATE INDEX ON t%s (a)', i);
         END LOOP; END $$",
    );
    let names: Vec<String> = db.new_changes().into_iter().map(|c| c.name).collect();
    assert_eq!(names, ["1000 indexes", "1000 tables"]);
    // Definitions that were not read in time follow.
    wait_until("all definitions are known", secs(60), || {
        assert_eq!(db.new_changes(), []);
        db.val::<i64>("SELECT count(*) FROM perfmon.seen_object WHERE definition IS NULL") == 0
    });
}

#[test]
fn nobody_waits_for_a_locked_table() {
    let server = Server::manual().start();
    let mut db = server.new_db("app");
    db.run("CREATE TABLE t (a int); CREATE INDEX t_idx ON t (a)");
    let mut holder = server.db("app");
    holder.run("BEGIN; LOCK TABLE t IN ACCESS EXCLUSIVE MODE");
    let begin = Instant::now();
    assert_eq!(db.new_changes(), []);
    assert_eq!(db.new_changes(), []);
    assert!(begin.elapsed() < secs(3), "{:?}", begin.elapsed());
    holder.run("COMMIT");
    // What could not be read then was not there anew, and is read now.
    assert_eq!(db.new_changes(), []);
    db.run("DROP INDEX t_idx");
    let definition = "CREATE INDEX t_idx ON public.t USING btree (a)";
    assert_eq!(db.new_changes(), [dropped("index", "public.t_idx", definition)]);
}

#[test]
fn the_collector_notices_by_itself_also_across_restart_and_crash() {
    let server = Server::builder().start();
    server.db("postgres").run("CREATE DATABASE app");
    let mut db = server.db("app");
    // The first look comes as soon as there is an extension.
    db.run("CREATE TABLE before (a int)");
    db.run("CREATE EXTENSION pg_stat_statements; CREATE EXTENSION pg_perfmon");
    db.wait_for_next_interval(secs(20));
    let noticed = |db: &mut Db, table: &str| {
        wait_for(&format!("{table} is noticed"), secs(100), || {
            db.run("SELECT count(*) FROM pg_am");
            db.list::<i64>(&format!(
                "SELECT (extract(epoch FROM \"time\") * 1000000)::int8
                   FROM perfmon.changes(now() - interval '1 hour', clock_timestamp())
                  WHERE kind = 'table' AND name = 'public.{table}'"
            ))
            .first()
            .copied()
        })
    };
    db.run("CREATE TABLE later (a int)");
    let at = noticed(&mut db, "later");
    assert!(db.intervals().iter().any(|i| i.until == at), "at the time of a snapshot");
    assert!(!db.changes().iter().any(|c| c.name.contains("before")), "{:?}", db.changes());

    db.run("CREATE TABLE restarted (a int)");
    server.restart();
    let mut db = server.db("app");
    noticed(&mut db, "restarted");

    db.run("CREATE TABLE crashed (a int)");
    server.stop(Stop::Immediate);
    server.start();
    let mut db = server.db("app");
    noticed(&mut db, "crashed");
    let tables: Vec<Change> = db.changes();
    assert_eq!(tables.len(), 3, "each once, and nothing else: {tables:?}");
}

#[test]
fn a_restored_database_has_not_changed() {
    let server = Server::manual().start();
    let mut db = looked_at(&server, "CREATE TABLE t (a int)");
    db.run("CREATE INDEX t_idx ON t (a)");
    let before = db.new_changes();
    assert_eq!(before.len(), 1);
    let script = server.dir().join("dump.sql");
    let script = script.to_str().unwrap();
    server.client("pg_dump", &["-d", "app", "-f", script]).success();
    server.db("postgres").run("CREATE DATABASE copy");
    server
        .client("psql", &["-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", "copy", "-f", script])
        .success();
    let mut copy = server.db("copy");
    copy.snapshot();
    assert_eq!(copy.changes(), before, "they came along, and nothing was added");
    copy.run("DROP INDEX t_idx");
    let definition = "CREATE INDEX t_idx ON public.t USING btree (a)";
    assert_eq!(copy.new_changes(), [dropped("index", "public.t_idx", definition)]);
    // What came along once may come again.
    copy.run("CREATE INDEX t_idx ON t (a)");
    assert_eq!(copy.new_changes(), [created("index", "public.t_idx", definition)]);

    // A copy of the whole database, oids and all, begins anew too.
    drop((db, copy));
    server.db("postgres").run("CREATE DATABASE twin TEMPLATE app");
    let mut twin = server.db("twin");
    assert_eq!(twin.new_changes(), []);
    twin.run("DROP INDEX t_idx");
    assert_eq!(twin.new_changes(), [dropped("index", "public.t_idx", definition)]);
}

#[test]
fn without_preloading_too_and_nothing_stays_of_what_is_rolled_back() {
    let server = Server::unloaded().start();
    let mut db = looked_at(&server, "CREATE TABLE t (a int)");
    db.run("BEGIN; DROP TABLE t");
    assert_eq!(db.new_changes(), [dropped("table", "public.t", "(a integer)")]);
    db.run("ROLLBACK");
    assert_eq!(db.changes(), []);
    assert_eq!(db.new_changes(), []);
}

/// Whoever asks sees what was committed, however often nothing had been found before; and what was written before a look
/// and committed after it left no trace but at its commit.
#[test]
fn what_is_committed_after_a_look_is_found_by_the_next() {
    for server in [Server::unloaded(), Server::manual()] {
        let server = server.start();
        let mut db = looked_at(&server, "CREATE TABLE t (a int)");
        let mut other = server.db("app");
        other.run("BEGIN; CREATE TABLE late (a int)");
        for _ in 0..3 {
            assert_eq!(db.new_changes(), []);
        }
        other.run("COMMIT");
        assert_eq!(db.new_changes(), [created("table", "public.late", "(a integer)")]);
        for _ in 0..3 {
            assert_eq!(db.new_changes(), []);
        }
        db.run(
            "BEGIN; SAVEPOINT s; ALTER TABLE late ADD b int; ROLLBACK TO s; DROP TABLE t; COMMIT",
        );
        assert_eq!(db.new_changes(), [dropped("table", "public.t", "(a integer)")]);
        assert_eq!(db.new_changes(), []);
        other.run("VACUUM FULL pg_class");
        other.run("VACUUM FULL pg_attribute");
        assert_eq!(db.new_changes(), []);
        other.run("ALTER TABLE late ADD b int");
        assert_eq!(
            db.new_changes(),
            [altered("table", "public.late", "(a integer)", "(a integer, b integer)")]
        );
    }
}
