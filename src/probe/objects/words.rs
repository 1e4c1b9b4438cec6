//! Definitions in short, from the server's own words for names, types and indexes.

use perfmon_core::change::{Kind, Object};
use pgrx::pg_sys;

use super::catalog::{Catalog, Relation, statistics_target};
use super::parts;
use crate::pg::describe;
use crate::pg::fmgr::utf8;
use crate::pg::scan::{self, Moment, Only, Row};

/// How an object is made; `None` if that cannot be read now.
pub(super) fn definition(catalog: &Catalog, object: &Object, at: &Moment) -> Option<String> {
    match object.kind {
        Kind::Extension => {
            let (schema, version) = catalog.extension(object.oid)?;
            Some(format!("version {} in schema {schema}", utf8(version)))
        }
        Kind::Index => index(object.oid, catalog.relations.get(&object.oid)?),
        Kind::Table => table(catalog, object.oid, at),
    }
}

fn index(oid: u32, index: &Relation) -> Option<String> {
    let mut words = describe::index(oid, index.table)?;
    if let Some(name) = tablespace(index.tablespace) {
        words.push_str(&name);
    }
    if !index.valid {
        words.push_str(" (invalid)");
    }
    Some(words)
}

fn tablespace(tablespace: u32) -> Option<String> {
    let named = (tablespace != 0).then(|| describe::tablespace(tablespace)).flatten();
    named.map(|name| format!(" TABLESPACE {name}"))
}

/// A table's columns, or whose partition it is, and where and how it is kept.
fn table(catalog: &Catalog, oid: u32, at: &Moment) -> Option<String> {
    let only = Only {
        index: pg_sys::ClassOidIndexId,
        column: pg_sys::Anum_pg_class_oid,
        value: oid.into(),
    };
    let mut words = None;
    scan::rows(pg_sys::RelationRelationId, Some(only), at, |row| {
        words = table_words(catalog, oid, row, at);
    });
    words
}

fn table_words(catalog: &Catalog, oid: u32, row: &Row<'_>, at: &Moment) -> Option<String> {
    // SAFETY: the fixed part of a row of pg_class.
    let class = unsafe { row.form::<pg_sys::FormData_pg_class>() };
    let mut words = String::new();
    if class.relpersistence as u8 == pg_sys::RELPERSISTENCE_UNLOGGED {
        words.push_str("UNLOGGED ");
    }
    if class.relkind as u8 == pg_sys::RELKIND_MATVIEW {
        words.push_str("MATERIALIZED VIEW ");
    }
    let parents: Vec<String> =
        catalog.parents(oid).iter().map(|parent| catalog.qualified(*parent)).collect();
    let parents = parents.join(", ");
    if class.relispartition {
        let bounds = row.argument(pg_sys::Anum_pg_class_relpartbound);
        let bounds = bounds.and_then(describe::partition_bounds).unwrap_or_default();
        words.push_str(&format!("PARTITION OF {parents} {bounds}"));
    } else {
        words.push_str(&columns(oid, at)?);
        if !parents.is_empty() {
            words.push_str(&format!(" INHERITS ({parents})"));
        }
    }
    if class.relkind as u8 == pg_sys::RELKIND_PARTITIONED_TABLE {
        words.push_str(&format!(" PARTITION BY {}", describe::partition_key(oid)?));
    }
    let method = class.relam;
    if method != pg_sys::Oid::INVALID
        && method != pg_sys::HEAP_TABLE_AM_OID
        && let Some(name) = describe::access_method(method.to_u32())
    {
        words.push_str(&format!(" USING {name}"));
    }
    // SAFETY: a text[].
    let options = unsafe { row.texts(pg_sys::Anum_pg_class_reloptions) };
    if !options.is_empty() {
        let options: Vec<String> = options.iter().map(|option| utf8(option)).collect();
        words.push_str(&format!(" WITH ({})", options.join(", ")));
    }
    words.push_str(&tablespace(class.reltablespace.to_u32()).unwrap_or_default());
    if !class.relispartition {
        parts::triggers(oid, at)?.iter().for_each(|one| words.push_str(&format!("; {one}")));
    }
    Some(words)
}

/// The columns of a table, and its constraints; `None` if somebody holds it.
fn columns(table: u32, at: &Moment) -> Option<String> {
    let only = super::catalog::columns_of(table);
    let defaults = parts::defaults(table, at)?;
    let mut columns: Vec<(i16, String)> = Vec::new();
    scan::rows(pg_sys::AttributeRelationId, Some(only), at, |row| {
        // SAFETY: the fixed part of a row of pg_attribute.
        let column = unsafe { row.form::<pg_sys::FormData_pg_attribute>() };
        if column.attnum > 0 && !column.attisdropped {
            let default = defaults.get(&column.attnum).map(String::as_str);
            columns.push((column.attnum, column_words(column, row, default)));
        }
    });
    columns.sort_unstable();
    let columns = columns.into_iter().map(|(_, words)| words);
    let all: Vec<String> = columns.chain(parts::constraints(table, at)?).collect();
    Some(format!("({})", all.join(", ")))
}

fn column_words(
    column: &pg_sys::FormData_pg_attribute,
    row: &Row<'_>,
    default: Option<&str>,
) -> String {
    let name = describe::quoted(&describe::name(&column.attname));
    let mut words = format!("{name} {}", describe::type_name(column.atttypid, column.atttypmod));
    if column.attnotnull {
        words.push_str(" NOT NULL");
    }
    words.push_str(match column.attidentity as u8 {
        b'a' => " GENERATED ALWAYS AS IDENTITY",
        b'd' => " GENERATED BY DEFAULT AS IDENTITY",
        _ => "",
    });
    let default = default.unwrap_or("NULL");
    match column.attgenerated as u8 {
        b's' => words.push_str(&format!(" GENERATED ALWAYS AS ({default}) STORED")),
        b'v' => words.push_str(&format!(" GENERATED ALWAYS AS ({default}) VIRTUAL")),
        _ if default != "NULL" => words.push_str(&format!(" DEFAULT {default}")),
        _ => {}
    }
    if let Some(target) = statistics_target(row) {
        words.push_str(&format!(" STATISTICS {target}"));
    }
    words
}
