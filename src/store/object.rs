//! Extensions, tables and indexes as last seen. Must never judge a change.

use std::collections::{HashMap, HashSet};

use perfmon_core::change::{Key, Kind, Object};
use pgrx::prelude::*;

use super::{history, source, sql};

/// The collector's rows are not counted, so nobody vacuums what it replaced: beyond this much for each
/// object, and in all, the file is cut.
const BYTES_EACH: i64 = 4096;
const LARGEST_BYTES: i64 = 16 << 20;

/// What a source's objects were when last seen: the mark, and whether the definition is known in words of
/// that form.
pub(crate) fn marks(source: i64, form: i32) -> HashMap<Key, (u64, bool)> {
    let mut found = HashMap::new();
    sql::scan(
        "SELECT s.kind, s.object_oid::pg_catalog.int8, s.mark, s.form,
             (s.definition IS NOT NULL)::pg_catalog.int4
         FROM perfmon.seen_object s WHERE s.source OPERATOR(pg_catalog.=) $1",
        &[source.into()],
        |row| {
            let kind = row.with_bytes(0, |name| std::str::from_utf8(name).ok().and_then(Kind::of));
            let oid = row.int8(1).and_then(|oid| u32::try_from(oid).ok());
            if let (Some(Some(kind)), Some(oid), Some(mark)) = (kind, oid, row.int8(2)) {
                let is_known = row.int4(3) == Some(form) && row.int4(4) == Some(1);
                found.insert((kind, oid), (mark as u64, is_known));
            }
        },
    );
    found
}

/// Some of a source's objects as last seen.
pub(crate) fn seen(source: i64, keys: &HashSet<Key>) -> Vec<Object> {
    if keys.is_empty() {
        return Vec::new();
    }
    let oids: Vec<pg_sys::Oid> = keys.iter().map(|(_, oid)| (*oid).into()).collect();
    let found = sql::read(
        "SELECT s.kind, s.object_oid::pg_catalog.int8, s.name, s.definition, s.parent,
             s.table_oid::pg_catalog.int8, s.mark, s.shape, s.form
         FROM perfmon.seen_object s
         WHERE s.source OPERATOR(pg_catalog.=) $1
             AND s.object_oid OPERATOR(pg_catalog.=) ANY ($2)",
        &[source.into(), oids.into()],
        object,
    );
    found.into_iter().flatten().filter(|object| keys.contains(&object.key())).collect()
}

fn object(row: &sql::Row<'_>) -> Option<Object> {
    Some(Object {
        kind: Kind::of(&row.text(1)?)?,
        oid: u32::try_from(row.get::<i64>(2)?).ok()?,
        name: row.text(3)?,
        definition: row.text(4),
        parent: row.text(5),
        table: row.get::<i64>(6).and_then(|oid| u32::try_from(oid).ok()).unwrap_or(0),
        mark: row.get::<i64>(7)? as u64,
        shape: row.get::<i64>(8)? as u64,
        form: row.get(9)?,
    })
}

/// Replaces what was seen of these objects, and forgets others.
pub(crate) fn replace(source: i64, objects: &[Object], left: &[Key]) {
    if objects.is_empty() && left.is_empty() {
        return;
    }
    forget(source, left);
    if !objects.is_empty() {
        keep(source, objects);
    }
    cut(source);
}

fn keep(source: i64, objects: &[Object]) {
    let oids = |value: &dyn Fn(&Object) -> u32| -> Vec<pg_sys::Oid> {
        objects.iter().map(|object| value(object).into()).collect()
    };
    let numbers =
        |value: &dyn Fn(&Object) -> i64| -> Vec<i64> { objects.iter().map(value).collect() };
    let forms: Vec<i32> = objects.iter().map(|object| object.form).collect();
    sql::write(
        "INSERT INTO perfmon.seen_object AS s
             (source, kind, object_oid, name, definition, parent, table_oid, mark, shape, form)
         SELECT $1, k.kind, k.object_oid, k.name, k.definition, k.parent, k.table_oid, k.mark,
             k.shape, k.form
         FROM ROWS FROM (
             pg_catalog.unnest($2), pg_catalog.unnest($3), pg_catalog.unnest($4),
             pg_catalog.unnest($5), pg_catalog.unnest($6), pg_catalog.unnest($7),
             pg_catalog.unnest($8), pg_catalog.unnest($9), pg_catalog.unnest($10))
             AS k (kind, object_oid, name, definition, parent, table_oid, mark, shape, form)
         ON CONFLICT (source, kind, object_oid) DO UPDATE
         SET name = EXCLUDED.name, definition = EXCLUDED.definition, parent = EXCLUDED.parent,
             table_oid = EXCLUDED.table_oid, mark = EXCLUDED.mark, shape = EXCLUDED.shape,
             form = EXCLUDED.form",
        &[
            source.into(),
            sql::texts(objects.iter().map(|o| Some(o.kind.as_str()))),
            oids(&|o| o.oid).into(),
            sql::texts(objects.iter().map(|o| Some(o.name.as_str()))),
            sql::texts(objects.iter().map(|o| o.definition.as_deref())),
            sql::texts(objects.iter().map(|o| o.parent.as_deref())),
            oids(&|o| o.table).into(),
            numbers(&|o| o.mark as i64).into(),
            numbers(&|o| o.shape as i64).into(),
            forms.into(),
        ],
    );
}

fn forget(source: i64, left: &[Key]) {
    if left.is_empty() {
        return;
    }
    let oids: Vec<pg_sys::Oid> = left.iter().map(|(_, oid)| (*oid).into()).collect();
    sql::write(
        "DELETE FROM perfmon.seen_object s
         USING ROWS FROM (pg_catalog.unnest($2), pg_catalog.unnest($3)) AS k (kind, object_oid)
         WHERE s.source OPERATOR(pg_catalog.=) $1 AND s.kind OPERATOR(pg_catalog.=) k.kind
             AND s.object_oid OPERATOR(pg_catalog.=) k.object_oid",
        &[source.into(), sql::texts(left.iter().map(|(kind, _)| Some(kind.as_str()))), oids.into()],
    );
}

/// Takes out what was seen, under the names of these objects, in databases of which this one is a copy: a
/// restore makes them one by one, and each that is there again has come along and was not created.
pub(crate) fn take_originals(own: i64, objects: &[&Object]) -> Vec<Object> {
    let others: Vec<i64> =
        source::lineage(Some(own)).into_iter().filter(|source| *source != own).collect();
    if others.is_empty() || objects.is_empty() {
        return Vec::new();
    }
    let found = sql::change(
        "DELETE FROM perfmon.seen_object s
         USING ROWS FROM (pg_catalog.unnest($2), pg_catalog.unnest($3)) AS k (kind, name)
         WHERE s.source OPERATOR(pg_catalog.=) ANY ($1)
             AND s.kind OPERATOR(pg_catalog.=) k.kind AND s.name OPERATOR(pg_catalog.=) k.name
         RETURNING s.kind, s.object_oid::pg_catalog.int8, s.name, s.definition, s.parent,
             s.table_oid::pg_catalog.int8, s.mark, s.shape, s.form",
        &[
            others.into(),
            sql::texts(objects.iter().map(|o| Some(o.kind.as_str()))),
            sql::texts(objects.iter().map(|o| Some(o.name.as_str()))),
        ],
        object,
    );
    found.into_iter().flatten().collect()
}

/// Writes the file anew when most of it is dead; not while a reader is in the way.
fn cut(source: i64) {
    let first = |query: &str| sql::first(query, &[], |row| row.get::<i64>(1)).unwrap_or(0);
    let bytes =
        first("SELECT pg_catalog.pg_table_size('perfmon.seen_object'::pg_catalog.regclass)");
    if bytes <= LARGEST_BYTES
        || bytes / BYTES_EACH <= first("SELECT pg_catalog.count(*) FROM perfmon.seen_object")
    {
        return;
    }
    let Some(table) = history::table_oid("seen_object") else { return };
    if sql::try_lock(table, pg_sys::AccessExclusiveLock) {
        let keys = marks(source, 0).into_keys().collect();
        let objects = seen(source, &keys);
        sql::write("TRUNCATE perfmon.seen_object", &[]);
        keep(source, &objects);
    }
}
