//! Released SQL is frozen: each release, updated, must equal a fresh installation.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

use std::path::PathBuf;

use perfmon_e2e::{Db, Server};

/// The members of the extension as the catalog describes them, without anything that depends on the order of
/// creation.
fn catalog(db: &mut Db) -> Vec<String> {
    db.list(
        "SELECT concat_ws(' | ', i.type, i.identity, obj_description(d.objid, d.classid::regclass::name),
                  (SELECT pg_get_functiondef(oid) || coalesce(proacl::text, '') FROM pg_proc
                    WHERE d.classid = 'pg_proc'::regclass AND oid = d.objid AND prokind <> 'a'),
                  (SELECT concat(relkind, relpersistence, reloptions, relacl, pg_get_viewdef(oid), (
                            SELECT string_agg(format('%s %s %s %s %s', attname, format_type(atttypid, atttypmod), attnotnull, attstorage, attacl), ', ' ORDER BY attnum)
                              FROM pg_attribute WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped))
                     FROM pg_class c WHERE d.classid = 'pg_class'::regclass AND oid = d.objid))
           FROM pg_depend d
           JOIN pg_extension e ON d.refclassid = 'pg_extension'::regclass AND e.oid = d.refobjid AND e.extname = 'pg_perfmon'
           CROSS JOIN LATERAL pg_identify_object(d.classid, d.objid, 0) i
          WHERE d.deptype = 'e'
         UNION ALL
         SELECT 'dumped | ' || c.oid::regclass::text || coalesce(condition, '')
           FROM pg_extension, unnest(extconfig, extcondition) u(rel, condition) JOIN pg_class c ON c.oid = u.rel WHERE extname = 'pg_perfmon'
          ORDER BY 1",
    )
}

/// Releases with their scripts, oldest first.
fn released() -> Vec<(String, PathBuf)> {
    let archive = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../sql/archive");
    let mut released: Vec<(Vec<u32>, PathBuf)> = std::fs::read_dir(&archive)
        .unwrap()
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let name = path.file_name()?.to_str()?;
            let version = name.strip_prefix("pg_perfmon--")?.strip_suffix(".sql")?;
            let parts = version.split('.').map(str::parse).collect::<Result<Vec<u32>, _>>().ok()?;
            Some((parts, path))
        })
        .collect();
    released.sort();
    let dotted = |parts: Vec<u32>| parts.iter().map(u32::to_string).collect::<Vec<_>>().join(".");
    released.into_iter().map(|(parts, path)| (dotted(parts), path)).collect()
}

#[test]
fn each_release_updated_equals_a_fresh_installation() {
    let server = Server::unloaded().start();
    let mut fresh = server.new_db("fresh");
    let current: String =
        fresh.val("SELECT extversion FROM pg_extension WHERE extname = 'pg_perfmon'");
    let fresh = catalog(&mut fresh);
    assert!(fresh.len() > 20);
    let released = released();
    assert!(!released.is_empty());
    for (i, (version, script)) in released.iter().enumerate() {
        // The newest release may have nothing to be updated to: under a name of its own, the frozen script must
        // make just what the sources make today. Whoever changes the SQL then needs a new version and an
        // update script.
        let (name, update) = if *version == current {
            (format!("{version}.archived"), "")
        } else {
            (version.clone(), "; ALTER EXTENSION pg_perfmon UPDATE")
        };
        let installed = server.programs.extension_dir().join(format!("pg_perfmon--{name}.sql"));
        std::fs::copy(script, &installed).unwrap();
        server.db("postgres").run(&format!("CREATE DATABASE updated{i}"));
        let mut updated = server.db(&format!("updated{i}"));
        updated.run(&format!(
            "CREATE EXTENSION pg_stat_statements; CREATE EXTENSION pg_perfmon VERSION '{name}'{update}"
        ));
        std::fs::remove_file(&installed).unwrap();
        let updated = catalog(&mut updated);
        let missing: Vec<_> = fresh.iter().filter(|l| !updated.contains(l)).collect();
        let extra: Vec<_> = updated.iter().filter(|l| !fresh.contains(l)).collect();
        assert!(
            missing.is_empty() && extra.is_empty(),
            "from {version}: missing: {missing:#?}\nextra: {extra:#?}"
        );
    }
}
