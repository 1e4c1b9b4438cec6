//! Rows of the catalogs as they are found, each catalog for itself. It must never put two of them together.

use std::collections::{HashMap, HashSet};

use pgrx::pg_sys;

use super::{Extension, Hash, INHERITS, Relation, Schema};
use crate::pg::describe;
use crate::pg::scan::{self, Moment};

/// Schemas whose tables are nobody's own.
const LEFT_OUT: [&[u8]; 4] = [b"pg_catalog", b"pg_toast", b"information_schema", b"perfmon"];
const LEFT_OUT_PREFIXES: [&[u8]; 2] = [b"pg_temp_", b"pg_toast_temp_"];

pub(super) fn schemas(at: &Moment, members: &HashSet<u32>) -> HashMap<u32, Schema> {
    let mut found = HashMap::new();
    scan::rows(pg_sys::NamespaceRelationId, None, at, |row| {
        // SAFETY: the fixed part of a row of pg_namespace.
        let schema = unsafe { row.form::<pg_sys::FormData_pg_namespace>() };
        let (oid, name) = (schema.oid.to_u32(), describe::name(&schema.nspname));
        let bytes = name.to_bytes();
        let own = LEFT_OUT.contains(&bytes)
            || LEFT_OUT_PREFIXES.iter().any(|prefix| bytes.starts_with(prefix));
        let left_out = own || members.contains(&oid);
        found.insert(oid, Schema { name, own, left_out });
    });
    found
}

/// Relations that last, with the part of what they are that stands in pg_class; and those that are not
/// looked at.
pub(super) fn relations(
    at: &Moment,
    schemas: &HashMap<u32, Schema>,
) -> (HashMap<u32, Relation>, HashSet<u32>) {
    let kinds = [
        pg_sys::RELKIND_RELATION,
        pg_sys::RELKIND_PARTITIONED_TABLE,
        pg_sys::RELKIND_MATVIEW,
        pg_sys::RELKIND_INDEX,
        pg_sys::RELKIND_PARTITIONED_INDEX,
    ];
    let (mut found, mut unwatched) = (HashMap::new(), HashSet::new());
    scan::rows(pg_sys::RelationRelationId, None, at, |row| {
        // SAFETY: the fixed part of a row of pg_class.
        let class = unsafe { row.form::<pg_sys::FormData_pg_class>() };
        let (oid, kind) = (class.oid.to_u32(), class.relkind as u8);
        let temporary = class.relpersistence as u8 == pg_sys::RELPERSISTENCE_TEMP;
        if temporary || !kinds.contains(&kind) || oid < pg_sys::FirstNormalObjectId {
            return;
        }
        if schemas.get(&class.relnamespace.to_u32()).is_some_and(|schema| schema.own) {
            unwatched.insert(oid);
            return;
        }
        let mut shape = Hash::new();
        shape.add(&[kind, class.relpersistence as u8, u8::from(class.relispartition)]);
        shape.number(u64::from(class.relam.to_u32()));
        shape.number(u64::from(class.reltablespace.to_u32()));
        // SAFETY: an array and a tree, both of variable length.
        unsafe {
            shape.column(row, pg_sys::Anum_pg_class_reloptions);
            shape.column(row, pg_sys::Anum_pg_class_relpartbound);
        }
        let relation = Relation {
            name: describe::name(&class.relname),
            schema: class.relnamespace.to_u32(),
            kind,
            tablespace: class.reltablespace.to_u32(),
            table: 0,
            valid: true,
            shape,
        };
        found.insert(oid, relation);
    });
    (found, unwatched)
}

pub(super) fn extensions(at: &Moment) -> HashMap<u32, Extension> {
    let mut found = HashMap::new();
    scan::rows(pg_sys::ExtensionRelationId, None, at, |row| {
        // SAFETY: the fixed part of a row of pg_extension, and its version, a text.
        let (extension, version) = unsafe {
            (
                row.form::<pg_sys::FormData_pg_extension>(),
                row.bytes(pg_sys::Anum_pg_extension_extversion, <[u8]>::to_vec),
            )
        };
        found.insert(
            extension.oid.to_u32(),
            Extension {
                name: describe::name(&extension.extname),
                version: version.unwrap_or_default(),
                schema: extension.extnamespace.to_u32(),
            },
        );
    });
    found
}

pub(super) fn parents(at: &Moment) -> HashMap<u32, Vec<u32>> {
    let mut found: HashMap<u32, Vec<(i16, u32)>> = HashMap::new();
    scan::rows(INHERITS, None, at, |row| {
        // inhrelid, inhparent, inhseqno.
        let parent = (row.int(3).unwrap_or(0), row.oid(2));
        found.entry(row.oid(1)).or_default().push(parent);
    });
    found
        .into_iter()
        .map(|(child, mut parents)| {
            parents.sort_unstable();
            (child, parents.into_iter().map(|(_, parent)| parent).collect())
        })
        .collect()
}
