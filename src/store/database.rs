//! Which databases the names in `perfmon.object` mean. The own one has no first name there; every other one has its oid, and goes on
//! under the same id whatever it is called. Releases before 0.11 left the first name empty for all.

use std::collections::BTreeMap;

use perfmon_core::family::DATABASE;

use super::dictionary::Names;
use super::sql;
use crate::pg::{catalog, session};

/// The own database is called otherwise than at the last visit.
pub(super) fn rename_own(source: i64, before: &str, name: &str) {
    let arguments = [source.into(), sql::text(DATABASE.name), sql::text(before), sql::text(name)];
    // Another one that was called so, and of which no oid is known: that is none of a database. Names may differ in what this
    // database's encoding cannot hold, and be the same here.
    sql::write(
        "UPDATE perfmon.object o SET name1 = '0', name3 = o.object_id::pg_catalog.text
         WHERE o.source OPERATOR(pg_catalog.=) $1 AND o.family OPERATOR(pg_catalog.=) $2
             AND o.name1 OPERATOR(pg_catalog.=) '' AND o.name2 OPERATOR(pg_catalog.=) $4
             AND o.name2 OPERATOR(pg_catalog.<>) $3",
        &arguments,
    );
    sql::write(
        "UPDATE perfmon.object o SET name2 = $4
         WHERE o.source OPERATOR(pg_catalog.=) $1 AND o.family OPERATOR(pg_catalog.=) $2
             AND o.name1 OPERATOR(pg_catalog.=) '' AND o.name2 OPERATOR(pg_catalog.=) $3",
        &arguments,
    );
}

/// Brings up to date what the others are called, before unknown ones of those that were read are entered: who was renamed goes on
/// under the new name, and who is new goes on where a dropped one of that name ended, as after a restore.
pub(crate) fn follow(source: i64, read: &[Names]) {
    let mut others = read.iter().filter(|names| !names[0].is_empty()).peekable();
    if others.peek().is_none() {
        return;
    }
    let oid = |oid: pgrx::pg_sys::Oid| oid.to_u32().to_string();
    let all = catalog::all_databases().into_iter().map(|d| (oid(d.oid), d.name));
    let mut there: BTreeMap<String, String> = all.collect();
    there.remove(&oid(session::database()));
    // They will be entered as they were read, whatever became of them since.
    there.extend(others.map(|names| (names[0].clone(), names[1].clone())));
    let arguments = [
        source.into(),
        sql::text(DATABASE.name),
        sql::texts(there.keys().map(|oid| Some(oid.as_str()))),
        sql::texts(there.values().map(|name| Some(name.as_str()))),
    ];
    sql::write(
        "UPDATE perfmon.object o SET name2 = d.name
         FROM ROWS FROM (pg_catalog.unnest($3), pg_catalog.unnest($4)) AS d (oid, name)
         WHERE o.source OPERATOR(pg_catalog.=) $1 AND o.family OPERATOR(pg_catalog.=) $2
             AND o.name1 OPERATOR(pg_catalog.=) d.oid AND o.name2 OPERATOR(pg_catalog.<>) d.name",
        &arguments,
    );
    // Of several that are gone the one that came last. The own one is not gone.
    let own = [sql::text(&catalog::database_name())];
    sql::write(
        "UPDATE perfmon.object o SET name1 = d.oid, name3 = ''
         FROM ROWS FROM (pg_catalog.unnest($3), pg_catalog.unnest($4)) AS d (oid, name)
         WHERE o.source OPERATOR(pg_catalog.=) $1 AND o.family OPERATOR(pg_catalog.=) $2
             AND d.name OPERATOR(pg_catalog.<>) $5
             AND NOT EXISTS (
                 SELECT 1 FROM perfmon.object x
                 WHERE x.source OPERATOR(pg_catalog.=) $1 AND x.family OPERATOR(pg_catalog.=) $2
                     AND x.name1 OPERATOR(pg_catalog.=) d.oid)
             AND o.object_id OPERATOR(pg_catalog.=) (
                 SELECT pg_catalog.max(x.object_id) FROM perfmon.object x
                 WHERE x.source OPERATOR(pg_catalog.=) $1 AND x.family OPERATOR(pg_catalog.=) $2
                     AND x.name2 OPERATOR(pg_catalog.=) d.name
                     AND x.name1 OPERATOR(pg_catalog.<>) ALL ($3))",
        &arguments.into_iter().chain(own).collect::<Vec<_>>(),
    );
}
