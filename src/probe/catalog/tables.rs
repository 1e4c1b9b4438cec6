//! Tables, partitioned tables and materialized views.

use std::collections::{HashMap, HashSet};

use perfmon_core::facts::Table;

use super::{Common, Listed, bytes, estimate, read};
use crate::probe::ProbeError;

/// Relations below this number were made by initdb.
const FIRST_NORMAL: u32 = 16384;

const TABLES: &str = r#"
SELECT c.oid, n.nspname, c.relname, pg_catalog.format('%I.%I', n.nspname, c.relname),
    c.relnamespace, c.relkind, c.relreplident, c.reltoastrelid,
    c.reltuples, c.relpages, t.reltuples, t.relpages,
    CASE WHEN c.relkind OPERATOR(pg_catalog.<>) 'p'
        THEN GREATEST(pg_catalog.age(c.relfrozenxid), pg_catalog.age(t.relfrozenxid)) END,
    CASE WHEN c.relkind OPERATOR(pg_catalog.<>) 'p'
        THEN GREATEST(pg_catalog.mxid_age(c.relminmxid), pg_catalog.mxid_age(t.relminmxid)) END,
    c.relpersistence
FROM pg_catalog.pg_class c
    JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
    LEFT JOIN pg_catalog.pg_class t ON t.oid OPERATOR(pg_catalog.=) c.reltoastrelid
WHERE c.relkind OPERATOR(pg_catalog.=) ANY ('{r,p,m}'::pg_catalog."char"[])
    AND c.relpersistence OPERATOR(pg_catalog.<>) 't'"#;

/// What can be published by "all tables": kept with WAL, and not the system's.
pub(super) struct Persistent {
    /// Schema of each.
    schemas: HashMap<u32, u32>,
}

/// All of them, columns not yet filled in.
pub(super) fn tables(common: &Common) -> Result<(Vec<Listed<Table>>, Persistent), ProbeError> {
    let members = Members::read()?;
    let mut found = Vec::new();
    let mut persistent = Persistent { schemas: HashMap::new() };
    read(TABLES, &[], |row| {
        let (Some(oid), Some(schema), Some(name)) = (row.oid(0), row.name(1), row.name(2)) else {
            return;
        };
        let (namespace, kind) = (row.oid(4).unwrap_or(0), row.letter(5).unwrap_or('r'));
        let (toast, partitioned) = (row.oid(7).unwrap_or(0), kind == 'p');
        let mut options = common.options_of(oid, "");
        options.extend(common.options_of(toast, "toast."));
        let fact = Table {
            oid,
            name: row.text(3).unwrap_or_default(),
            partitioned,
            parent: common.parents.get(&oid).copied(),
            materialized: kind == 'm',
            rows: estimate(row.float4(8)),
            table_bytes: (!partitioned).then(|| bytes(row.int4(9), row.float4(8))).flatten(),
            toast_bytes: match toast {
                0 => Some(0),
                _ => bytes(row.int4(11), row.float4(10)),
            },
            replica_identity: row.letter(6).unwrap_or('d'),
            options,
            xid_age: row.int4(12).map(i64::from),
            mxid_age: row.int4(13).map(i64::from),
            internal: oid < FIRST_NORMAL || members.have(oid, namespace),
            ..Table::default()
        };
        if row.letter(14) == Some('p') && kind != 'm' && oid >= FIRST_NORMAL {
            persistent.schemas.insert(oid, namespace);
        }
        let word = match kind {
            'm' => "materialized view",
            'p' => "partitioned table",
            _ => "table",
        };
        found.push(Listed { plain: [schema, name, word.to_owned()], fact });
    })?;
    Ok((found, persistent))
}

/// What belongs to extensions.
#[derive(Default)]
struct Members {
    relations: HashSet<u32>,
    schemas: HashSet<u32>,
}

impl Members {
    fn read() -> Result<Self, ProbeError> {
        let mut members = Self::default();
        read(
            "SELECT d.objid,
                 d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass
             FROM pg_catalog.pg_depend d
             WHERE d.refclassid OPERATOR(pg_catalog.=)
                     'pg_catalog.pg_extension'::pg_catalog.regclass
                 AND d.deptype OPERATOR(pg_catalog.=) 'e'
                 AND (d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass
                     OR d.classid OPERATOR(pg_catalog.=)
                         'pg_catalog.pg_namespace'::pg_catalog.regclass)",
            &[],
            |row| {
                if let Some(oid) = row.oid(0) {
                    if row.is(1) { &mut members.relations } else { &mut members.schemas }
                        .insert(oid);
                }
            },
        )?;
        Ok(members)
    }

    fn have(&self, relation: u32, schema: u32) -> bool {
        self.relations.contains(&relation) || self.schemas.contains(&schema)
    }
}

/// What publications name.
#[derive(Default)]
struct Published {
    everything: bool,
    relations: HashSet<u32>,
    schemas: HashSet<u32>,
}

/// Marks the published ones: a table that is named, or its schema, or one of its parents is.
pub(super) fn publish(
    tables: &mut [Listed<Table>],
    persistent: &Persistent,
) -> Result<(), ProbeError> {
    let mut published = Published::default();
    read(
        "SELECT 0, p.oid FROM pg_catalog.pg_publication p WHERE p.puballtables
         UNION ALL SELECT 1, r.prrelid FROM pg_catalog.pg_publication_rel r
         UNION ALL SELECT 2, s.pnnspid FROM pg_catalog.pg_publication_namespace s",
        &[],
        |row| match (row.int4(0), row.oid(1)) {
            (Some(1), Some(relation)) => drop(published.relations.insert(relation)),
            (Some(2), Some(schema)) => drop(published.schemas.insert(schema)),
            _ => published.everything = true,
        },
    )?;
    let parents: HashMap<u32, Option<u32>> =
        tables.iter().map(|t| (t.fact.oid, t.fact.parent)).collect();
    for table in tables.iter_mut() {
        let Some(schema) = persistent.schemas.get(&table.fact.oid) else { continue };
        let mut line = std::iter::successors(Some(table.fact.oid), |oid| *parents.get(oid)?);
        table.fact.published = published.everything
            || published.schemas.contains(schema)
            || line.any(|oid| published.relations.contains(&oid));
    }
    Ok(())
}
