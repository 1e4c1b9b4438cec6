//! Who may see what, and what other people's objects can do to us: nothing.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

use std::path::PathBuf;

use perfmon_e2e::{Db, Server, WINDOW, code_of, message_of, named_history, secs, wait_until};

fn prepared(server: &Server) -> Db {
    let mut db = server.new_db("app");
    db.run(
        "CREATE ROLE nobody LOGIN; CREATE ROLE monitor LOGIN; GRANT pg_monitor TO monitor;
         CREATE ROLE reader LOGIN; CREATE ROLE stats LOGIN; GRANT pg_read_all_stats TO stats;
         CREATE TABLE t (a int); GRANT SELECT ON t TO PUBLIC",
    );
    db.snapshot();
    db.run("SELECT a FROM t WHERE a = 1");
    server.connect("reader", "app").run("SELECT a FROM t WHERE a > 5");
    db.snapshot();
    db
}

/// Functions of the extension that can be called without arguments.
fn calls(db: &mut Db) -> Vec<String> {
    db.list(
        "SELECT p.oid::regproc::text || '()' FROM pg_proc p
          WHERE pronamespace = 'perfmon'::regnamespace AND pronargs = pronargdefaults AND prokind = 'f'
            AND prorettype NOT IN ('trigger'::regtype, 'event_trigger'::regtype)",
    )
}

fn relations(db: &mut Db) -> Vec<String> {
    db.list("SELECT oid::regclass::text FROM pg_class WHERE relnamespace = 'perfmon'::regnamespace AND relkind IN ('r', 'p', 'v', 'm', 'S')")
}

#[test]
fn an_unprivileged_role_sees_nothing() {
    let server = Server::manual().start();
    let mut db = prepared(&server);
    let (calls, relations) = (calls(&mut db), relations(&mut db));
    assert!(calls.len() >= 8 && relations.len() >= 20, "{calls:?} {relations:?}");
    let mut nobody = server.connect("nobody", "app");
    for call in calls {
        let e = nobody.fails(&format!("SELECT * FROM {call}"));
        assert_eq!(code_of(&e), "42501", "{call}: {}", message_of(&e));
    }
    for relation in relations {
        for sql in [format!("SELECT 1 FROM {relation}"), format!("COPY {relation} TO STDOUT")] {
            let e = nobody.fails(&sql);
            assert!(
                ["42501", "42809"].contains(&code_of(&e).as_str()),
                "{sql}: {}",
                message_of(&e)
            );
        }
    }
    // Nor by a role that may only read statistics of sessions.
    let usable: Vec<String> = db.list(
        "SELECT p.oid::regprocedure::text FROM pg_proc p WHERE pronamespace = 'perfmon'::regnamespace
            AND has_function_privilege('nobody', p.oid, 'EXECUTE')",
    );
    assert!(usable.is_empty(), "{usable:?}");
    assert!(!db.val::<bool>("SELECT has_schema_privilege('nobody', 'perfmon', 'CREATE')"));
}

#[test]
fn a_monitor_sees_everything_and_writes_nothing() {
    let server = Server::manual().start();
    prepared(&server);
    let mut monitor = server.connect("monitor", "app");
    for call in [
        "status()",
        "top_statements()",
        "statement_history()",
        "tables()",
        "databases()",
        "commands()",
        "intervals()",
        "gaps()",
        "report()",
    ] {
        monitor.run(&format!("SELECT * FROM perfmon.{call}"));
    }
    let texts: Vec<Option<String>> =
        monitor.list(&format!("SELECT query FROM {}", named_history(WINDOW)));
    assert!(
        !texts.is_empty()
            && texts
                .iter()
                .any(|t| t.as_deref().is_some_and(|t| t.contains("FROM t WHERE a = $1"))),
        "{texts:?}"
    );
    assert!(monitor.snapshot() > 0);
    let mut db = server.db("app");
    let writable: Vec<String> = db.list(
        "SELECT c.oid::regclass::text FROM pg_class c WHERE relnamespace = 'perfmon'::regnamespace AND relkind IN ('r', 'p')
            AND (has_table_privilege('monitor', c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER')
              OR has_table_privilege('reader', c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER'))",
    );
    assert!(writable.is_empty(), "{writable:?}");
}

#[test]
fn a_monitor_takes_snapshots_without_preloading() {
    let server = Server::unloaded().start();
    let mut db = prepared(&server);
    let mut monitor = server.connect("monitor", "app");
    let id = db.queryid_of("SELECT a FROM t WHERE a = 1");
    let before = db.stored_calls(id);
    db.run("SELECT a FROM t WHERE a = 1");
    monitor.snapshot();
    assert_eq!(db.stored_calls(id), before + 1);
    assert_eq!(
        monitor.val::<String>("SELECT current_user::text"),
        "monitor",
        "the caller is itself again"
    );
    monitor.run("BEGIN; SAVEPOINT s");
    monitor.snapshot();
    monitor.run("ROLLBACK TO s");
    assert_eq!(monitor.val::<String>("SELECT current_user::text"), "monitor");
    assert_eq!(code_of(&monitor.fails("SELECT * FROM perfmon.statement_text")), "42501");
}

#[test]
fn a_reader_sees_numbers_without_texts() {
    let server = Server::manual().start();
    let mut db = prepared(&server);
    let mut reader = server.connect("reader", "app");
    assert_eq!(code_of(&reader.fails("SELECT * FROM perfmon.top_statements()")), "42501");
    db.run("SELECT perfmon.grant_reader('reader')");
    let calls: i64 = reader.val_with(
        &format!("SELECT sum(calls)::int8 FROM perfmon.statement_history({WINDOW})"),
        &[],
    );
    assert!(calls >= 2, "{calls}");
    for call in [
        "top_statements()",
        "tables()",
        "databases()",
        "commands()",
        "status()",
        "intervals()",
        "gaps()",
    ] {
        reader.run(&format!("SELECT * FROM perfmon.{call}"));
    }
    // Other people's texts are hidden, the own ones are not, as in pg_stat_statements itself.
    let texts: Vec<Option<String>> =
        reader.list(&format!("SELECT query FROM {}", named_history(WINDOW)));
    let texts: Vec<&str> = texts.iter().flatten().map(String::as_str).collect();
    assert!(texts.iter().all(|t| !t.contains("a = $1")), "{texts:?}");
    assert!(texts.iter().any(|t| t.contains("a > $1")), "{texts:?}");
    let everything: Vec<String> = ["top_statements()", "commands()", "tables()", "databases()"]
        .iter()
        .flat_map(|f| reader.list::<String>(&format!("SELECT x::text FROM perfmon.{f} x")))
        .collect();
    assert!(everything.iter().all(|t| !t.contains("WHERE a = $1")), "{everything:?}");
    if let Ok(row) = reader.query_one("SELECT perfmon.report()", &[]) {
        assert!(!row.get::<_, String>(0).contains("WHERE a = $1"));
    }
    for table in ["statement_text", "prior"] {
        let e = reader.fails(&format!("SELECT * FROM perfmon.{table}"));
        assert_eq!(code_of(&e), "42501");
    }
    // A leaky function of the reader's own is not evaluated before the rows are masked.
    db.run("CREATE SCHEMA AUTHORIZATION reader");
    reader.run(
        "CREATE FUNCTION reader.leak(text) RETURNS bool LANGUAGE plpgsql COST 0.0000001 AS
         $$ BEGIN RAISE EXCEPTION 'leaked: %', $1; END $$",
    );
    for relation in relations(&mut db) {
        let has_text: bool = db.val_with(
            "SELECT EXISTS (SELECT FROM pg_attribute WHERE attrelid = $1::text::regclass AND attname = 'query' AND NOT attisdropped)",
            &[&relation],
        );
        if has_text
            && let Err(e) =
                reader.batch_execute(&format!("SELECT * FROM {relation} WHERE reader.leak(query)"))
        {
            assert!(!message_of(&e).contains("a = $1"), "{relation}: {}", message_of(&e));
        }
    }
    // Not everybody may hand it on.
    let e = reader.fails("SELECT perfmon.grant_reader('nobody')");
    assert_eq!(code_of(&e), "42501", "{}", message_of(&e));
}

#[test]
fn a_history_of_another_installer_works() {
    // The installer, not the bootstrap superuser, owns the objects; the collector writes as that owner.
    let server = Server::builder().start();
    server.db("postgres").run("CREATE ROLE installer LOGIN SUPERUSER");
    server.db("postgres").run("CREATE DATABASE app");
    let mut db = server.connect("installer", "app");
    db.run(
        "CREATE EXTENSION pg_stat_statements; CREATE EXTENSION pg_perfmon; CREATE TABLE t (a int)",
    );
    let id = db.queryid_of("SELECT a FROM t WHERE a = 1");
    wait_until("it is collected", secs(15), || {
        db.run("SELECT a FROM t WHERE a = 1");
        db.stored_calls(id) > 0
    });
    let owners: Vec<String> = db.list(
        "SELECT DISTINCT pg_get_userbyid(relowner)::text FROM pg_class WHERE relnamespace = 'perfmon'::regnamespace",
    );
    assert_eq!(owners, ["installer"]);
}

/// Every member of the extension with its privileges, one line each.
fn acl(db: &mut Db) -> String {
    let lines: Vec<String> = db.list(
        "SELECT format('%s %s: %s', i.type, i.identity, coalesce(
                  (SELECT string_agg(format('%s=%s', CASE WHEN a.grantee = 0 THEN 'PUBLIC' ELSE pg_get_userbyid(a.grantee) END, a.privilege_type),
                                     ', ' ORDER BY a.grantee <> 10, a.grantee, a.privilege_type)
                     FROM aclexplode(x.acl) a), 'none'))
           FROM pg_depend d
           JOIN pg_extension e ON d.refclassid = 'pg_extension'::regclass AND e.oid = d.refobjid AND e.extname = 'pg_perfmon'
           CROSS JOIN LATERAL pg_identify_object(d.classid, d.objid, 0) i
           CROSS JOIN LATERAL (
             SELECT coalesce(proacl, acldefault('f', proowner)) AS acl FROM pg_proc WHERE d.classid = 'pg_proc'::regclass AND oid = d.objid
             UNION ALL
             SELECT coalesce(relacl, acldefault(CASE WHEN relkind = 'S' THEN 's' ELSE 'r' END::\"char\", relowner)) FROM pg_class
              WHERE d.classid = 'pg_class'::regclass AND oid = d.objid
             UNION ALL
             SELECT coalesce(nspacl, acldefault('n', nspowner)) FROM pg_namespace WHERE d.classid = 'pg_namespace'::regclass AND oid = d.objid
           ) x
          WHERE d.deptype = 'e' ORDER BY i.type COLLATE \"C\", i.identity COLLATE \"C\"",
    );
    // MAINTAIN came with 17; owners' rights are told by the release, not by us.
    lines.join("\n").replace(", postgres=MAINTAIN", "").replace("postgres=MAINTAIN, ", "") + "\n"
}

#[test]
fn privileges_are_those_that_were_reviewed() {
    let server = Server::unloaded().start();
    let mut db = server.new_db("app");
    let acl = acl(&mut db);
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("expected/privileges.txt");
    if std::env::var_os("PERFMON_BLESS").is_some() {
        std::fs::write(&path, &acl).unwrap();
    }
    let reviewed = std::fs::read_to_string(&path).unwrap_or_default();
    let added: Vec<&str> = acl.lines().filter(|l| !reviewed.lines().any(|r| r == *l)).collect();
    let gone: Vec<&str> = reviewed.lines().filter(|r| !acl.lines().any(|l| l == *r)).collect();
    assert!(
        added.is_empty() && gone.is_empty(),
        "privileges differ from tests/e2e/expected/privileges.txt (review, then run with PERFMON_BLESS=1)\nnew: {added:#?}\ngone: {gone:#?}"
    );
    assert!(!acl.contains("PUBLIC"), "PUBLIC gets nothing");
}

/// Objects that catch every careless name: operators, casts, functions and a table for what they did.
const TRAPS: &str = "
CREATE TABLE public.canary (what text);
CREATE FUNCTION public.sing(text) RETURNS text LANGUAGE plpgsql AS
  $$ BEGIN INSERT INTO public.canary VALUES (pg_catalog.concat($1, ' as ', current_user)); RETURN $1; END $$;
CREATE FUNCTION public.bad_eq(int8, int8) RETURNS bool LANGUAGE plpgsql AS $$ BEGIN PERFORM public.sing('int8 ='); RETURN false; END $$;
CREATE FUNCTION public.bad_eq(text, text) RETURNS bool LANGUAGE plpgsql AS $$ BEGIN PERFORM public.sing('text ='); RETURN false; END $$;
CREATE FUNCTION public.bad_eq(name, text) RETURNS bool LANGUAGE plpgsql AS $$ BEGIN PERFORM public.sing('name ='); RETURN false; END $$;
CREATE FUNCTION public.bad_eq(oid, oid) RETURNS bool LANGUAGE plpgsql AS $$ BEGIN PERFORM public.sing('oid ='); RETURN false; END $$;
CREATE FUNCTION public.bad_eq(timestamptz, timestamptz) RETURNS bool LANGUAGE plpgsql AS $$ BEGIN PERFORM public.sing('timestamptz'); RETURN false; END $$;
CREATE OPERATOR public.= (LEFTARG = int8, RIGHTARG = int8, FUNCTION = public.bad_eq);
CREATE OPERATOR public.= (LEFTARG = text, RIGHTARG = text, FUNCTION = public.bad_eq);
CREATE OPERATOR public.= (LEFTARG = name, RIGHTARG = text, FUNCTION = public.bad_eq);
CREATE OPERATOR public.= (LEFTARG = oid, RIGHTARG = oid, FUNCTION = public.bad_eq);
CREATE OPERATOR public.= (LEFTARG = timestamptz, RIGHTARG = timestamptz, FUNCTION = public.bad_eq);
CREATE OPERATOR public.< (LEFTARG = timestamptz, RIGHTARG = timestamptz, FUNCTION = public.bad_eq);
CREATE OPERATOR public.> (LEFTARG = timestamptz, RIGHTARG = timestamptz, FUNCTION = public.bad_eq);
CREATE OPERATOR public.<= (LEFTARG = timestamptz, RIGHTARG = timestamptz, FUNCTION = public.bad_eq);
CREATE OPERATOR public.>= (LEFTARG = timestamptz, RIGHTARG = timestamptz, FUNCTION = public.bad_eq);
CREATE OPERATOR public.<> (LEFTARG = text, RIGHTARG = text, FUNCTION = public.bad_eq);
CREATE FUNCTION public.bad_text(text, text) RETURNS text LANGUAGE plpgsql AS $$ BEGIN PERFORM public.sing('text ||'); RETURN ''; END $$;
CREATE OPERATOR public.|| (LEFTARG = text, RIGHTARG = text, FUNCTION = public.bad_text);
CREATE FUNCTION public.now() RETURNS timestamptz LANGUAGE plpgsql AS $$ BEGIN PERFORM public.sing('now'); RETURN pg_catalog.now(); END $$;
CREATE FUNCTION public.clock_timestamp() RETURNS timestamptz LANGUAGE plpgsql AS $$ BEGIN PERFORM public.sing('clock'); RETURN pg_catalog.clock_timestamp(); END $$;
CREATE FUNCTION public.current_setting(text) RETURNS text LANGUAGE plpgsql AS $$ BEGIN PERFORM public.sing('current_setting'); RETURN ''; END $$;
CREATE FUNCTION public.format(text, VARIADIC text[]) RETURNS text LANGUAGE plpgsql AS $$ BEGIN PERFORM public.sing('format'); RETURN ''; END $$;
CREATE FUNCTION public.coalesce_int(int8) RETURNS int8 LANGUAGE sql AS 'SELECT $1';
CREATE FUNCTION public.sum(int8) RETURNS int8 LANGUAGE plpgsql AS $$ BEGIN PERFORM public.sing('sum'); RETURN 0; END $$;
CREATE FUNCTION public.pg_extension_config_dump(regclass, text) RETURNS void LANGUAGE plpgsql AS $$ BEGIN PERFORM public.sing('config_dump'); END $$;
CREATE FUNCTION public.pg_has_role(name, name, text) RETURNS bool LANGUAGE plpgsql AS $$ BEGIN PERFORM public.sing('pg_has_role'); RETURN true; END $$;
CREATE VIEW public.pg_class AS SELECT c.*, public.sing('pg_class') FROM pg_catalog.pg_class c;
CREATE VIEW public.pg_database AS SELECT c.*, public.sing('pg_database') FROM pg_catalog.pg_database c;
CREATE VIEW public.pg_stat_database AS SELECT c.*, public.sing('pg_stat_database') FROM pg_catalog.pg_stat_database c;
CREATE VIEW public.pg_settings AS SELECT c.*, public.sing('pg_settings') FROM pg_catalog.pg_settings c;
CREATE VIEW public.pg_stat_all_tables AS SELECT c.*, public.sing('pg_stat_all_tables') FROM pg_catalog.pg_stat_all_tables c;
CREATE FUNCTION public.on_ddl() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM public.sing('event trigger ' || tg_tag); END $$;
";

#[test]
fn hostile_objects_do_nothing() {
    let server = Server::builder().start();
    server.db("postgres").run("CREATE DATABASE app");
    let mut db = server.db("app");
    db.run("CREATE EXTENSION pg_stat_statements");
    db.run(TRAPS);
    db.run("CREATE TABLE public.t (a int)");
    db.run("ALTER DATABASE app SET search_path = public, pg_catalog");
    db.run("SET search_path = public, pg_catalog; CREATE EXTENSION pg_perfmon");
    db.run("GRANT USAGE ON SCHEMA perfmon TO PUBLIC");
    let no_song = |db: &mut Db, when: &str| {
        let songs: Vec<String> = db.list("SELECT DISTINCT what FROM public.canary");
        assert!(songs.is_empty(), "{when}: {songs:?}");
    };
    no_song(&mut db, "CREATE EXTENSION");
    // The test's own questions are asked beside the traps.
    db.run("SET search_path = pg_catalog, public");
    let id = db.queryid_of("SELECT a FROM public.t LIMIT 1");
    wait_until("it is collected all the same", secs(20), || {
        db.run("SELECT a FROM public.t LIMIT 1");
        db.stored_calls(id) > 0
    });
    no_song(&mut db, "collecting");
    db.run("SET search_path = public, pg_catalog");
    for call in calls(&mut db) {
        // That very list came from the test's own careless query; only what the functions do counts.
        db.run("TRUNCATE public.canary");
        db.run(&format!(
            "SELECT * FROM {}",
            if call.starts_with("perfmon.") { call.clone() } else { format!("perfmon.{call}") }
        ));
        no_song(&mut db, &call);
    }
    db.run("CREATE EVENT TRIGGER listen ON ddl_command_end EXECUTE FUNCTION public.on_ddl(); TRUNCATE public.canary");
    db.run("SET search_path = pg_catalog, public");
    db.wait_for_next_interval(secs(15));
    no_song(&mut db, "DDL of the collector");
}

#[test]
fn a_schema_made_beforehand_by_somebody_else_is_refused() {
    let server = Server::unloaded().start();
    server.db("postgres").run("CREATE ROLE mallory LOGIN");
    server.db("postgres").run("CREATE DATABASE app");
    let mut db = server.db("app");
    db.run("CREATE EXTENSION pg_stat_statements; CREATE SCHEMA perfmon AUTHORIZATION mallory");
    let e = db.fails("CREATE EXTENSION pg_perfmon");
    assert!(["42710", "42P06", "55000"].contains(&code_of(&e).as_str()), "{}", message_of(&e));
}

#[test]
fn secrets_are_not_kept() {
    let server = Server::manual().start();
    let mut db = server.new_db("app");
    db.snapshot();
    db.run("CREATE ROLE secretive PASSWORD 'canary-one'");
    db.run("ALTER ROLE secretive PASSWORD 'canary-two'");
    db.run("ALTER ROLE secretive SET search_path = 'canary-three'");
    db.run("CREATE FOREIGN DATA WRAPPER w; CREATE SERVER s FOREIGN DATA WRAPPER w OPTIONS (password 'canary-four')");
    db.run("CREATE USER MAPPING FOR postgres SERVER s OPTIONS (password 'canary-five')");
    db.run("CREATE SUBSCRIPTION sub CONNECTION 'host=nowhere password=canary-six' PUBLICATION p WITH (connect = false)");
    db.run("ALTER SYSTEM SET primary_conninfo = 'password=canary-seven'");
    db.run("DO $$ BEGIN PERFORM 'canary-eight'; END $$");
    db.run("COPY (SELECT 'canary-nine') TO PROGRAM 'cat >/dev/null'");
    db.run("SET app.token = 'canary-ten'");
    db.run("SELECT 'canary-eleven' AS x, a FROM (VALUES (1)) v(a)");
    db.run("PREPARE p AS SELECT 'canary-twelve'; EXECUTE p; DEALLOCATE p");
    db.run("COMMENT ON SCHEMA public IS 'canary-thirteen'");
    db.snapshot();
    let stored: Vec<String> = db.list(&format!(
        "SELECT DISTINCT query FROM {} WHERE query IS NOT NULL",
        named_history(WINDOW)
    ));
    assert!(
        stored.iter().any(|q| q.contains("FROM (VALUES ($2)) v(a)") || q.contains("v(a)")),
        "{stored:?}"
    );
    let dump = server
        .client("pg_dump", &["-d", "app", "-n", "perfmon", "-e", "pg_perfmon", "--inserts"])
        .success();
    assert!(dump.stdout.contains("statement_text"), "the dump holds the texts");
    let found: Vec<&str> = dump.stdout.lines().filter(|l| l.contains("canary")).collect();
    assert!(found.is_empty(), "{found:#?}");
    // Counted they are, under their command.
    let commands: i64 = db.val(&format!(
        "SELECT count(*) FROM perfmon.commands({WINDOW}) c WHERE c::text LIKE '%CREATE ROLE%'"
    ));
    assert_eq!(commands, 1);
    db.run("ALTER SUBSCRIPTION sub SET (slot_name = NONE); DROP SUBSCRIPTION sub");
}

#[test]
fn who_may_declare_objectives_and_who_may_read_them() {
    let server = Server::manual().start();
    let mut db = server.new_db("app");
    db.run("CREATE ROLE bob LOGIN");
    db.snapshot();
    db.run(
        "CREATE ROLE monitor LOGIN IN ROLE pg_monitor; CREATE ROLE reader LOGIN;
         SELECT perfmon.grant_reader('reader')",
    );
    let mut monitor = server.connect("monitor", "app");
    monitor.run("SELECT perfmon.create_slo('m'); SELECT perfmon.begin_run('r'); SELECT perfmon.end_run('r')");
    monitor.run("SELECT * FROM perfmon.slo_status(); SELECT perfmon.run_report('r')");
    let mut reader = server.connect("reader", "app");
    reader.run("SELECT * FROM perfmon.slo_status(); SELECT perfmon.run_report('r', 'json')");
    assert_eq!(code_of(&reader.fails("SELECT perfmon.assert_slo()")), "P0004");
    for call in ["create_slo('x')", "drop_slo('m')", "begin_run('x')", "end_run('r')"] {
        assert_eq!(code_of(&reader.fails(&format!("SELECT perfmon.{call}"))), "42501", "{call}");
    }
    let mut nobody = server.connect("bob", "app");
    for call in ["slo_status()", "assert_slo()", "run_report('r')", "create_slo('x')"] {
        assert_eq!(code_of(&nobody.fails(&format!("SELECT perfmon.{call}"))), "42501", "{call}");
    }
}
