//! The contract: every object is documented, in the catalog and in the manual, and the manual's examples run.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

use std::path::PathBuf;

use perfmon_e2e::{Db, Server, message_of};

fn manual() -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/manual.md");
    std::fs::read_to_string(path).expect("docs/manual.md")
}

/// Kind, identity, name and comment of every member of the extension. Row and array types are part of their
/// tables.
fn members(db: &mut Db) -> Vec<(String, String, String, Option<String>)> {
    db.rows(
        "SELECT i.type, i.identity, coalesce(i.name, p.proname::text, split_part(i.identity, '(', 1)),
                obj_description(d.objid, d.classid::regclass::name)
           FROM pg_depend d
           JOIN pg_extension e ON d.refclassid = 'pg_extension'::regclass AND e.oid = d.refobjid
           CROSS JOIN LATERAL pg_identify_object(d.classid, d.objid, 0) i
           LEFT JOIN pg_proc p ON d.classid = 'pg_proc'::regclass AND p.oid = d.objid
          WHERE e.extname = 'pg_perfmon' AND d.deptype = 'e' AND d.classid <> 'pg_type'::regclass ORDER BY 1, 2",
    )
    .iter()
    .map(|r| (r.get(0), r.get(1), r.get(2), r.get(3)))
    .collect()
}

#[test]
fn every_object_has_a_comment() {
    let server = Server::unloaded().start();
    let mut db = server.new_db("app");
    let members = members(&mut db);
    assert!(members.len() > 20, "{members:?}");
    let bare: Vec<String> = members
        .iter()
        .filter(|m| m.3.as_deref().unwrap_or_default().trim().is_empty())
        .map(|m| format!("{} {}", m.0, m.1))
        .collect();
    assert!(bare.is_empty(), "without COMMENT:\n{}", bare.join("\n"));
}

#[test]
fn every_object_and_setting_is_in_the_manual() {
    let server = Server::manual().start();
    let mut db = server.new_db("app");
    let manual = manual();
    let mut missing: Vec<String> = members(&mut db)
        .iter()
        .filter(|m| !manual.contains(&m.2))
        .map(|m| format!("{} {}", m.0, m.1))
        .collect();
    missing.extend(
        db.list::<String>("SELECT name FROM pg_settings WHERE name LIKE 'pg\\_perfmon.%'")
            .into_iter()
            .filter(|name| !manual.contains(name.as_str())),
    );
    assert!(missing.is_empty(), "not in docs/manual.md:\n{}", missing.join("\n"));
}

#[test]
fn every_name_in_the_manual_exists() {
    let server = Server::unloaded().start();
    let mut db = server.new_db("app");
    let names: Vec<String> = members(&mut db).into_iter().map(|m| m.2).collect();
    let manual = manual();
    let mut unknown = vec![];
    for (at, _) in manual.match_indices("perfmon.") {
        let before = manual[..at].chars().next_back();
        if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == '/') {
            continue;
        }
        let name: String = manual[at + 8..]
            .chars()
            .take_while(|c| c.is_ascii_alphanumeric() || *c == '_')
            .collect();
        let partition = names.iter().any(|n| name.starts_with(&format!("{n}_s")));
        if !name.is_empty() && !names.contains(&name) && !partition {
            unknown.push(name);
        }
    }
    assert!(unknown.is_empty(), "the manual speaks of what does not exist: {unknown:?}");
}

/// SQL between ```sql and ```.
fn examples(text: &str) -> Vec<String> {
    let mut found = vec![];
    let mut open: Option<String> = None;
    for line in text.lines() {
        match (&mut open, line.trim()) {
            (None, "```sql") => open = Some(String::new()),
            (Some(_), "```") => found.extend(open.take()),
            (Some(sql), _) => {
                sql.push_str(line);
                sql.push('\n');
            }
            _ => {}
        }
    }
    found
}

#[test]
fn the_manuals_examples_run() {
    let server = Server::manual().start();
    let mut db = server.new_db("app");
    db.run("CREATE TABLE orders (id int); INSERT INTO orders SELECT generate_series(1, 10)");
    db.run("CREATE ROLE grafana LOGIN; CREATE ROLE reporting LOGIN; CREATE ROLE alice LOGIN");
    db.snapshot();
    db.run("SELECT * FROM orders");
    db.snapshot();
    let examples = examples(&manual());
    assert!(examples.len() >= 5, "{}", examples.len());
    for sql in examples {
        // Installing it again is the one thing that cannot be run twice.
        let sql = sql.replace("CREATE EXTENSION pg_", "CREATE EXTENSION IF NOT EXISTS pg_");
        if let Err(e) = db.batch_execute(&sql) {
            panic!("{}\nin the manual's example:\n{sql}", message_of(&e));
        }
    }
}
