//! Indexes and the parts of their keys, as far as no lock is needed.

use std::collections::{HashMap, HashSet};

use perfmon_core::facts::{Index, KeyPart, Stored, Table};

use super::columns::{self, Columns, Statistics};
use super::{Common, Listed, bytes, estimate, oids, read};
use crate::pg::statistic::Statistic;
use crate::probe::ProbeError;

const INDEXES: &str = "
SELECT i.indexrelid, i.indrelid, c.relname,
    pg_catalog.format('%I.%I', n.nspname, c.relname), a.amname,
    i.indisunique, i.indnullsnotdistinct, i.indimmediate, i.indisprimary, i.indisexclusion,
    i.indisvalid, i.indisready, i.indislive, i.indisclustered, i.indisreplident,
    c.relkind OPERATOR(pg_catalog.=) 'I', c.relpages, c.reltuples,
    i.indpred IS NOT NULL, pg_catalog.quote_ident(c.relname::pg_catalog.text)
FROM pg_catalog.pg_index i
    JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) i.indexrelid
    JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
    JOIN pg_catalog.pg_am a ON a.oid OPERATOR(pg_catalog.=) c.relam
WHERE i.indrelid OPERATOR(pg_catalog.=) ANY ($1)";

/// The indexes of these tables.
pub(super) fn indexes(
    own: &[u32],
    tables: &[Listed<Table>],
    common: &Common,
    columns: &Columns,
    statistics: &Statistics,
) -> Result<Vec<Listed<Index>>, ProbeError> {
    let by_oid: HashMap<u32, &Listed<Table>> = tables.iter().map(|t| (t.fact.oid, t)).collect();
    let (mut found, mut short) = heads(own, &by_oid, common)?;
    parts(own, columns, statistics, &mut found, &mut short)?;
    for index in found.iter_mut().map(|i| &mut i.fact) {
        if let (Some(name), Some(table)) = (short.get(&index.oid), by_oid.get(&index.table)) {
            index.definition = definition(index, name, &table.fact.name);
            index.unread = false;
        }
    }
    building(&mut found)?;
    Ok(found)
}

/// By index, its name without the schema, quoted.
type Short = HashMap<u32, String>;

/// The indexes without their parts, all marked as not read.
fn heads(
    own: &[u32],
    tables: &HashMap<u32, &Listed<Table>>,
    common: &Common,
) -> Result<(Vec<Listed<Index>>, Short), ProbeError> {
    let (mut found, mut short) = (Vec::new(), Short::new());
    read(INDEXES, &[oids(own)], |row| {
        let (Some(oid), Some(table), Some(name)) = (row.oid(0), row.oid(1), row.name(2)) else {
            return;
        };
        let Some([schema, table_name, _]) = tables.get(&table).map(|t| &t.plain) else { return };
        let partitioned = row.is(15);
        let fact = Index {
            oid,
            name: row.text(3).unwrap_or_default(),
            table,
            method: row.name(4).unwrap_or_default(),
            unique: row.is(5),
            nulls_not_distinct: row.is(6),
            immediate: row.is(7),
            primary: row.is(8),
            exclusion: row.is(9),
            valid: row.is(10),
            ready: row.is(11),
            live: row.is(12),
            clustered: row.is(13),
            replica_identity: row.is(14),
            partitioned,
            parent: common.parents.get(&oid).copied(),
            options: common.options_of(oid, ""),
            bytes: (!partitioned).then(|| bytes(row.int4(16), row.float4(17))).flatten(),
            pages: estimate(row.float4(17)).and(row.int4(16)).map(i64::from),
            rows: estimate(row.float4(17)),
            predicate: row.is(18).then(String::new),
            unread: true,
            ..Index::default()
        };
        short.insert(oid, row.text(19).unwrap_or_default());
        found.push(Listed { plain: [schema.clone(), name, table_name.clone()], fact });
    })?;
    Ok((found, short))
}

/// What decides whether a B-tree can merge equal keys.
struct Merging {
    /// Operator classes under which equal keys are equal bytes. Those of char(n) say so too, and are
    /// yet not trusted by the server.
    exact: HashSet<u32>,
    /// Collations under which they need not be.
    loose: HashSet<u32>,
}

impl Merging {
    fn read() -> Result<Self, ProbeError> {
        let mut merging = Self { exact: HashSet::new(), loose: HashSet::new() };
        read(
            "SELECT true, o.oid
             FROM pg_catalog.pg_opclass o JOIN pg_catalog.pg_amproc p
                 ON p.amprocfamily OPERATOR(pg_catalog.=) o.opcfamily
                 AND p.amproclefttype OPERATOR(pg_catalog.=) o.opcintype
                 AND p.amprocrighttype OPERATOR(pg_catalog.=) o.opcintype
                 AND p.amprocnum OPERATOR(pg_catalog.=) 4
                 JOIN pg_catalog.pg_am a ON a.oid OPERATOR(pg_catalog.=) o.opcmethod
                 AND a.amname OPERATOR(pg_catalog.=) 'btree'
             WHERE o.opcintype OPERATOR(pg_catalog.<>) 'pg_catalog.bpchar'::pg_catalog.regtype
             UNION ALL
             SELECT false, c.oid FROM pg_catalog.pg_collation c WHERE NOT c.collisdeterministic",
            &[],
            |row| {
                let set = if row.is(0) { &mut merging.exact } else { &mut merging.loose };
                set.extend(row.oid(1));
            },
        )?;
        Ok(merging)
    }

    fn possible(&self, index: &Index) -> bool {
        let off = |(name, value): &(String, String)| {
            name == "deduplicate_items" && matches!(value.as_str(), "off" | "false" | "no" | "0")
        };
        index.method == "btree"
            && index.include.is_empty()
            && !index.options.iter().any(off)
            && index
                .key
                .iter()
                .all(|k| self.exact.contains(&k.opclass) && !self.loose.contains(&k.collation))
    }
}

/// The last column says whether the part is written as nothing but the column: its operator class is
/// that of the column's type, its collation the column's own.
const PARTS: &str = "
SELECT a.attrelid, a.attnum, a.attnum OPERATOR(pg_catalog.<=) i.indnkeyatts,
    i.indkey[a.attnum OPERATOR(pg_catalog.-) 1], i.indclass[a.attnum OPERATOR(pg_catalog.-) 1],
    i.indcollation[a.attnum OPERATOR(pg_catalog.-) 1],
    i.indoption[a.attnum OPERATOR(pg_catalog.-) 1],
    pg_catalog.array_to_string(a.attoptions, ', '), a.attalign, a.attlen,
    a.attoptions IS NULL AND (a.attnum OPERATOR(pg_catalog.>) i.indnkeyatts
        OR o.opcdefault AND t.attcollation OPERATOR(pg_catalog.=)
                i.indcollation[a.attnum OPERATOR(pg_catalog.-) 1]
            AND (o.opcintype OPERATOR(pg_catalog.=) t.atttypid
                OR o.opcintype OPERATOR(pg_catalog.=) 'pg_catalog.text'::pg_catalog.regtype
                    AND t.atttypid OPERATOR(pg_catalog.=) 'pg_catalog.varchar'::pg_catalog.regtype))
FROM pg_catalog.pg_index i
    JOIN pg_catalog.pg_attribute a ON a.attrelid OPERATOR(pg_catalog.=) i.indexrelid
    LEFT JOIN pg_catalog.pg_attribute t ON t.attrelid OPERATOR(pg_catalog.=) i.indrelid
        AND t.attnum OPERATOR(pg_catalog.=) i.indkey[a.attnum OPERATOR(pg_catalog.-) 1]
    LEFT JOIN pg_catalog.pg_opclass o
        ON o.oid OPERATOR(pg_catalog.=) i.indclass[a.attnum OPERATOR(pg_catalog.-) 1]
WHERE i.indrelid OPERATOR(pg_catalog.=) ANY ($1)
ORDER BY a.attrelid, a.attnum";

/// Bits of `pg_index.indoption`.
const DESCENDING: i16 = 1;
const NULLS_FIRST: i16 = 2;

/// Fills in the parts of the keys and the included columns; expressions are left empty. Names of indexes
/// that only the server can write down are taken out of `short`.
fn parts(
    own: &[u32],
    columns: &Columns,
    statistics: &Statistics,
    indexes: &mut [Listed<Index>],
    short: &mut Short,
) -> Result<(), ProbeError> {
    let places: HashMap<u32, usize> =
        indexes.iter().enumerate().map(|(place, index)| (index.fact.oid, place)).collect();
    read(PARTS, &[oids(own)], |row| {
        let (Some(oid), Some(number), Some(attnum)) = (row.oid(0), row.int2(1), row.int2(3)) else {
            return;
        };
        let Some(&place) = places.get(&oid) else { return };
        let index = &mut indexes[place].fact;
        if !row.is(10) || index.predicate.is_some() || !index.options.is_empty() {
            short.remove(&oid);
        }
        let statistic = match attnum {
            0 => statistics.of(oid, number),
            _ => statistics.of(index.table, attnum),
        };
        let name = columns::name(columns, index.table, attnum).unwrap_or_default();
        let length = row.int2(9).unwrap_or(-1);
        index.stored.push(Stored {
            align: columns::align(row.letter(8)),
            length,
            width: columns::width(length, statistic),
            null_ratio: statistic.map(Statistic::nulls),
        });
        if !row.is(2) {
            index.include.push(name);
            return;
        }
        let option = row.int2(6).unwrap_or(0);
        index.key.push(KeyPart {
            attnum,
            expression: name,
            distinct: statistic.and_then(Statistic::known_distinct),
            opclass: row.oid(4).unwrap_or(0),
            opclass_options: row.text(7).unwrap_or_default(),
            collation: row.oid(5).unwrap_or(0),
            descending: option & DESCENDING != 0,
            nulls_first: option & NULLS_FIRST != 0,
        });
    })?;
    let merging = Merging::read()?;
    for index in indexes {
        index.fact.deduplicates = merging.possible(&index.fact);
    }
    Ok(())
}

/// The command that made an index of which each part is nothing but a column, as the server writes it. Most
/// indexes are like that; for them the server, which would lock the table, need not be asked.
fn definition(index: &Index, name: &str, table: &str) -> String {
    let unique = if index.unique { "UNIQUE " } else { "" };
    let only = if index.partitioned { "ONLY " } else { "" };
    let key: Vec<String> = index
        .key
        .iter()
        .map(|part| {
            let order = match (part.descending, part.nulls_first) {
                (true, true) => " DESC",
                (true, false) => " DESC NULLS LAST",
                (false, true) => " NULLS FIRST",
                (false, false) => "",
            };
            format!("{}{order}", part.expression)
        })
        .collect();
    let include = match index.include.as_slice() {
        [] => String::new(),
        columns => format!(" INCLUDE ({})", columns.join(", ")),
    };
    let nulls = if index.nulls_not_distinct { " NULLS NOT DISTINCT" } else { "" };
    let (method, key) = (&index.method, key.join(", "));
    format!("CREATE {unique}INDEX {name} ON {only}{table} USING {method} ({key}){include}{nulls}")
}

/// Marks the invalid indexes on which somebody is at work: building is told by the progress view,
/// dropping by the lock that it takes on the index. Who may not see the progress of others is told
/// that there is some: then any strong lock on the table is taken for it.
fn building(indexes: &mut [Listed<Index>]) -> Result<(), ProbeError> {
    let suspects = || indexes.iter().filter(|i| !i.fact.valid);
    let watched: Vec<u32> = suspects().flat_map(|i| [i.fact.oid, i.fact.table]).collect();
    if watched.is_empty() {
        return Ok(());
    }
    let (mut built, mut hidden) = (HashSet::new(), false);
    read(
        "SELECT p.index_relid FROM pg_catalog.pg_stat_progress_create_index p
         WHERE p.datname OPERATOR(pg_catalog.=) pg_catalog.current_database()",
        &[],
        |row| match row.oid(0) {
            Some(index) => drop(built.insert(index)),
            None => hidden = true,
        },
    )?;
    let mut locked = HashSet::new();
    read(
        "SELECT l.relation FROM pg_catalog.pg_locks l
         WHERE l.locktype OPERATOR(pg_catalog.=) 'relation'
             AND l.relation OPERATOR(pg_catalog.=) ANY ($1)
             AND l.database OPERATOR(pg_catalog.=) (SELECT d.oid FROM pg_catalog.pg_database d
                 WHERE d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database())
             AND l.mode OPERATOR(pg_catalog.=) ANY (ARRAY['ShareUpdateExclusiveLock', 'ShareLock',
                 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock'])",
        &[oids(&watched)],
        |row| locked.extend(row.oid(0)),
    )?;
    for index in indexes.iter_mut().map(|i| &mut i.fact).filter(|i| !i.valid) {
        index.being_built = built.contains(&index.oid)
            || locked.contains(&index.oid)
            || hidden && locked.contains(&index.table);
    }
    Ok(())
}
