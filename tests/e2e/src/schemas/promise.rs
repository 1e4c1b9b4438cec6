//! Remedies run as a person would run them, and what they promised.

use std::time::Duration;

use super::{Flaw, Work};
use crate::{Db, Found, Server, secs, wait_until};

/// Kinds whose remedy is seen in the catalog or the settings, so that the next evaluation no longer finds them. Others
/// are judged by the last hour, in which the problem still stood.
pub const GONE_AT_ONCE: &[&str] = &[
    "foreign_key_without_index",
    "unused_index",
    "duplicate_index",
    "redundant_index",
    "invalid_index",
    "bloated_index",
    "write_heavy_index",
    "sequence_exhaustion",
    "autovacuum_disabled",
    "dead_rows",
    "stale_statistics",
];

/// Runs what a finding says, pasted into psql.
#[track_caller]
pub fn mend(server: &Server, database: &str, found: &Found) {
    let statement =
        found.statement.as_deref().unwrap_or_else(|| panic!("nothing to run: {found:?}"));
    let file = server.dir().join("remedy.sql");
    std::fs::write(&file, statement).unwrap();
    let file = file.to_str().unwrap();
    let out =
        server.client("psql", &["-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", database, "-f", file]);
    assert!(out.ok, "{}\n{statement}\n{}", found.head(), out.stderr);
}

/// What must survive every remedy: constraints, and the indexes that keep rows unique. Those of the server and of
/// pg_perfmon's own history come and go by themselves.
#[track_caller]
pub fn guards(db: &mut Db) -> Vec<String> {
    db.list(
        "SELECT format('%s %s %s', o.contype, c.oid::regclass, o.conname)
           FROM pg_constraint o JOIN pg_class c ON c.oid = o.conrelid
          WHERE o.convalidated AND c.relnamespace::regnamespace::text !~ '^(perfmon$|pg_)'
         UNION ALL
         SELECT format('unique %s', c.oid::regclass)
           FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
          WHERE i.indisunique AND i.indisvalid AND i.indislive
            AND c.relnamespace::regnamespace::text !~ '^(perfmon$|pg_)'
         ORDER BY 1",
    )
}

/// Rows read by sequential scans of a table, or of all partitions of one: an empty one is read that way, and harms
/// nobody.
#[track_caller]
fn read_in_sequence(db: &mut Db, table: &str) -> i64 {
    db.val_with(
        "SELECT sum(s.seq_tup_read)::int8 FROM pg_stat_user_tables s
          WHERE s.relid = $1::text::regclass
             OR s.relid IN (SELECT relid FROM pg_partition_tree($1::text::regclass))",
        &[&table],
    )
}

fn exists(db: &mut Db, name: &str) -> bool {
    db.val_with("SELECT to_regclass($1::text) IS NOT NULL", &[&name])
}

/// What can be measured of a finding's object before its remedy is run.
#[derive(Debug, Clone, PartialEq)]
pub struct Before {
    size: Option<i64>,
    setting: Option<String>,
}

impl Before {
    /// Measures.
    #[track_caller]
    pub fn of(db: &mut Db, found: &Found) -> Self {
        let size = (found.kind == "bloated_index").then(|| size(db, &found.object));
        Self { size, setting: setting(db, found) }
    }
}

fn size(db: &mut Db, name: &str) -> i64 {
    db.val_with("SELECT pg_relation_size($1::text::regclass)", &[&name])
}

fn setting(db: &mut Db, found: &Found) -> Option<String> {
    let name = found.object.strip_prefix("setting ")?;
    Some(db.val_with("SELECT current_setting($1)", &[&name]))
}

/// Checks that a remedy did what was promised.
#[track_caller]
pub fn check(server: &Server, db: &mut Db, database: &str, found: &Found, before: &Before) {
    let object = found.object.as_str();
    let counter = |db: &mut Db, column: &str| -> i64 {
        db.val_with(
            &format!("SELECT {column} FROM pg_stat_user_tables WHERE relid = $1::text::regclass"),
            &[&object],
        )
    };
    match found.kind.as_str() {
        "unused_index" | "duplicate_index" | "redundant_index" | "write_heavy_index" => {
            assert!(!exists(db, object), "still there: {}", found.head());
        }
        "invalid_index" => {
            let bad: i64 = db.val_with(
                "SELECT count(*) FROM pg_index
                  WHERE indexrelid = to_regclass($1::text) AND NOT indisvalid",
                &[&object],
            );
            assert_eq!(bad, 0, "{}", found.head());
        }
        "bloated_index" => {
            let now = size(db, object);
            assert!(before.size.is_some_and(|was| now * 2 < was), "{before:?} {now}");
        }
        "foreign_key_without_index" => foreign_keys_are_served(db, object),
        "sequence_exhaustion" => numbers_go_on(db, object),
        "autovacuum_disabled" => {
            let options: String = db.val_with(
                "SELECT coalesce(array_to_string(reloptions, ','), '') FROM pg_class
                  WHERE oid = $1::text::regclass",
                &[&object],
            );
            let off = ["enabled=off", "enabled=false", "enabled=0", "enabled=no"];
            assert!(!off.iter().any(|word| options.contains(word)), "{options}");
            assert_eq!(counter(db, "n_dead_tup"), 0, "{}", found.head());
        }
        "dead_rows" => assert_eq!(counter(db, "n_dead_tup"), 0, "{}", found.head()),
        "stale_statistics" => assert_eq!(counter(db, "n_mod_since_analyze"), 0, "{}", found.head()),
        kind if kind.starts_with("setting_") => {
            let name = object.trim_start_matches("setting ").to_owned();
            wait_until(&format!("{name} changes"), secs(10), || {
                // A session that was there before may have its own value.
                let mut fresh = server.db(database);
                setting(&mut fresh, found) != before.setting
                    || fresh.val_with(
                        "SELECT pending_restart FROM pg_settings WHERE name = $1",
                        &[&name],
                    )
            });
        }
        // Checked by the workload: see `no_longer_read` and `no_longer_spilt`.
        "seq_scan" | "temp_files" => {}
        other => panic!("nothing is known of what a remedy of {other} promises"),
    }
}

/// The plan of what the server asks when a parent goes, for each key of the table: by index.
#[track_caller]
fn foreign_keys_are_served(db: &mut Db, table: &str) {
    let conditions: Vec<String> = db
        .rows(&format!(
            "SELECT string_agg(format('x.%I = $%s', a.attname, k.n), ' AND ' ORDER BY k.n)
               FROM pg_constraint c, unnest(c.conkey) WITH ORDINALITY AS k (attnum, n), pg_attribute a
              WHERE c.contype = 'f' AND c.conrelid = {}::regclass
                AND a.attrelid = c.conrelid AND a.attnum = k.attnum GROUP BY c.oid",
            super::literal(table)
        ))
        .iter()
        .map(|r| r.get(0))
        .collect();
    assert!(!conditions.is_empty(), "no foreign keys on {table}");
    db.run("SET plan_cache_mode = force_generic_plan");
    for condition in conditions {
        let nulls = vec!["NULL"; condition.matches(" = $").count()].join(", ");
        db.run(&format!(
            "PREPARE ri AS SELECT 1 FROM ONLY {table} x WHERE {condition} FOR KEY SHARE OF x"
        ));
        let plan = format!("{:?}", db.texts(&format!("EXPLAIN (COSTS OFF) EXECUTE ri ({nulls})")));
        assert!(!plan.contains("Seq Scan"), "{table} {condition}: {plan}");
        db.run("DEALLOCATE ri");
    }
    db.run("RESET plan_cache_mode");
}

/// Numbers beyond the old end can be given out and stored.
#[track_caller]
fn numbers_go_on(db: &mut Db, sequence: &str) {
    let quoted = super::literal(sequence);
    let (table, column): (String, String) = {
        let row = db.rows(&format!(
            "SELECT d.refobjid::regclass::text, quote_ident(a.attname)
               FROM pg_depend d JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
              WHERE d.objid = {quoted}::regclass AND d.deptype IN ('a', 'i') AND d.refobjsubid > 0"
        ));
        (row[0].get(0), row[0].get(1))
    };
    // The end of the type that the column had: two bytes or four.
    let end: i64 = db.val(&format!(
        "SELECT CASE WHEN last_value > 32767 THEN 2147483647 ELSE 32767 END::int8 FROM {sequence}"
    ));
    db.run(&format!("SELECT setval({quoted}, {end})"));
    db.run(&format!(
        "UPDATE {table} SET {column} = nextval({quoted}) WHERE {column} = (SELECT max({column}) FROM {table})"
    ));
    let last: i64 = db.val(&format!("SELECT max({column})::int8 FROM {table}"));
    assert_eq!(last, end + 1, "{sequence}");
}

/// A part of the workload that wrote temporary files no longer does, in a new session.
#[track_caller]
pub fn no_longer_spilt(server: &Server, database: &str, flaw: &Flaw, work: &[Work]) {
    let work = work_called(work, flaw.shown_by.as_deref().unwrap_or_default());
    let mut db = server.db(database);
    let written = |db: &mut Db| -> i64 {
        db.flush();
        db.val("SELECT temp_bytes FROM pg_stat_database WHERE datname = current_database()")
    };
    let before = written(&mut db);
    work.run(&mut db, 1);
    assert_eq!(written(&mut db), before, "{} still spills", work.what);
}

fn work_called<'a>(work: &'a [Work], name: &str) -> &'a Work {
    work.iter().find(|work| work.what == name).unwrap_or_else(|| panic!("no work is called {name}"))
}

/// A part of the workload that read a table in vain no longer does, and is quicker for it.
#[track_caller]
pub fn no_longer_read(db: &mut Db, flaw: &Flaw, found: &Found, work: &[Work]) {
    let Some(shown_by) = &flaw.shown_by else { return };
    let work = work_called(work, shown_by);
    db.flush();
    let before = read_in_sequence(db, &found.object);
    let slow = work.first_took().unwrap_or_else(|| panic!("{shown_by} did not run before"));
    // Seldom less than ten times as quick; but others work on this machine too.
    let is_quick = |took: Duration| took * 3 < slow * 2;
    let mut quick = work.run(db, 1);
    for _ in 0..4 {
        if !is_quick(quick) {
            quick = quick.min(work.run(db, 1));
        }
    }
    db.flush();
    assert_eq!(read_in_sequence(db, &found.object), before, "{} by {shown_by}", found.head());
    assert!(is_quick(quick), "{}: {slow:?} before, {quick:?} after", found.head());
}
