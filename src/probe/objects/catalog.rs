//! The catalogs, scanned once, with a hash of what each object is.

mod found;

use std::collections::{HashMap, HashSet};

use perfmon_core::change::{Key, Kind, Object};
use pgrx::pg_sys;

use super::parts;
use crate::pg::describe::{self, Name};
use crate::pg::scan::{self, Moment, Only, Row};
use found::{extensions, parents, relations, schemas};

/// Catalogs that the bindings do not name; their numbers and columns have not changed since ever.
const INHERITS: pg_sys::Oid = pg_sys::Oid::from_u32(2611);
const PARTITIONED: pg_sys::Oid = pg_sys::Oid::from_u32(3350);

/// What moves when an object changes.
pub(super) const CATALOGS: [pg_sys::Oid; 9] = [
    pg_sys::RelationRelationId,
    pg_sys::AttributeRelationId,
    pg_sys::IndexRelationId,
    pg_sys::ExtensionRelationId,
    pg_sys::NamespaceRelationId,
    INHERITS,
    parts::DEFAULTS,
    parts::CONSTRAINTS,
    pg_sys::TriggerRelationId,
];

/// Up to so many tables their columns are looked up; all columns are read at once for more.
const FEW_TABLES: usize = 500;

/// Names of an index that is being rebuilt end so, and perhaps a number.
const REBUILT: [&[u8]; 2] = [b"_ccnew", b"_ccold"];
/// Partitions of partitions are followed this far up.
const DEEPEST: usize = 32;

/// A hash that stays the same (FNV-1a).
#[derive(Clone, Copy)]
pub(super) struct Hash(u64);

impl Hash {
    pub(super) fn new() -> Self {
        Self(0xCBF2_9CE4_8422_2325)
    }

    /// Adds one part, kept apart from the next by its length.
    pub(super) fn add(&mut self, part: &[u8]) {
        let length = (part.len() as u64).to_le_bytes();
        for byte in part.iter().chain(&length) {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01B3);
        }
    }

    fn number(&mut self, number: u64) {
        self.add(&number.to_le_bytes());
    }

    /// Adds a value of variable length; one that is NULL differs from an empty one.
    ///
    /// # Safety
    /// The column must be of a type with a varlena header.
    unsafe fn column(&mut self, row: &Row<'_>, column: u32) {
        // SAFETY: as the caller promises.
        if unsafe { row.bytes(column, |bytes| self.add(bytes)) }.is_none() {
            self.number(u64::MAX);
        }
    }
}

struct Schema {
    name: Name,
    /// The system's own, or this extension's: nothing in it is looked at.
    own: bool,
    /// That, or an extension's.
    left_out: bool,
}

/// A table, materialized view or index.
pub(super) struct Relation {
    name: Name,
    schema: u32,
    pub(super) kind: u8,
    pub(super) tablespace: u32,
    /// The table of an index.
    pub(super) table: u32,
    /// Of an index: it can be used.
    pub(super) valid: bool,
    shape: Hash,
}

impl Relation {
    fn is_index(&self) -> bool {
        [pg_sys::RELKIND_INDEX, pg_sys::RELKIND_PARTITIONED_INDEX].contains(&self.kind)
    }

    /// An index that a REINDEX CONCURRENTLY is at work on.
    fn is_passing(&self) -> bool {
        let name = self.name.to_bytes();
        let end = name.len() - name.iter().rev().take_while(|b| b.is_ascii_digit()).count();
        !self.valid && REBUILT.iter().any(|suffix| name[..end].ends_with(suffix))
    }
}

struct Extension {
    name: Name,
    version: Vec<u8>,
    schema: u32,
}

/// All of it, as of one moment.
pub(super) struct Catalog {
    schemas: HashMap<u32, Schema>,
    pub(super) relations: HashMap<u32, Relation>,
    /// Relations in schemas that are not looked at.
    unwatched: HashSet<u32>,
    extensions: HashMap<u32, Extension>,
    /// Tables that a table is a partition or child of, the first one first.
    parents: HashMap<u32, Vec<u32>>,
    /// Relations and schemas that belong to an extension.
    members: HashSet<u32>,
}

/// Of what the server does not tell other sessions when it changes, all that a look reads, as one number: extensions,
/// schemas, and what belongs to extensions.
pub(super) fn untold(at: &Moment) -> u64 {
    let members = parts::members(at);
    let mut hash = Hash::new();
    hash.number(members.iter().fold(0, |sum: u64, oid| sum.wrapping_add(mixed(*oid))));
    let mut add = |oid: u32, words: &[&[u8]]| {
        let mut one = Hash::new();
        one.number(u64::from(oid));
        words.iter().for_each(|word| one.add(word));
        // In whatever order they are found.
        hash.0 = hash.0.wrapping_add(one.0);
    };
    for (oid, schema) in schemas(at, &members) {
        add(oid, &[schema.name.to_bytes()]);
    }
    for (oid, extension) in extensions(at) {
        let schema = extension.schema.to_le_bytes();
        add(oid, &[extension.name.as_bytes(), &extension.version, &schema]);
    }
    hash.0
}

/// A number of which sums say which numbers they are of.
fn mixed(oid: u32) -> u64 {
    let mut hash = Hash::new();
    hash.number(u64::from(oid));
    hash.0
}

impl Catalog {
    pub(super) fn read(at: &Moment) -> Self {
        let members = parts::members(at);
        let schemas = schemas(at, &members);
        let (relations, unwatched) = relations(at, &schemas);
        let mut catalog = Self {
            schemas,
            relations,
            unwatched,
            extensions: extensions(at),
            parents: parents(at),
            members,
        };
        catalog.add_indexes(at);
        catalog.add_columns(at);
        catalog.add_parts(at);
        catalog.add_partition_keys(at);
        for (child, parents) in &catalog.parents {
            if let Some(relation) = catalog.relations.get_mut(child) {
                parents.iter().for_each(|parent| relation.shape.number(u64::from(*parent)));
            }
        }
        catalog
    }

    /// What indexes are. Those without a row are being dropped or not yet there.
    fn add_indexes(&mut self, at: &Moment) {
        scan::rows(pg_sys::IndexRelationId, None, at, |row| {
            let index = row.oid(pg_sys::Anum_pg_index_indexrelid);
            let Some(relation) = self.relations.get_mut(&index) else { return };
            relation.table = row.oid(pg_sys::Anum_pg_index_indrelid);
            relation.valid = row.byte(pg_sys::Anum_pg_index_indisvalid) != 0;
            let hash = &mut relation.shape;
            for column in [
                pg_sys::Anum_pg_index_indnkeyatts,
                pg_sys::Anum_pg_index_indisunique,
                pg_sys::Anum_pg_index_indnullsnotdistinct,
                pg_sys::Anum_pg_index_indisprimary,
                pg_sys::Anum_pg_index_indisexclusion,
                pg_sys::Anum_pg_index_indisvalid,
            ] {
                hash.number(u64::from(row.byte(column)));
            }
            for column in [
                pg_sys::Anum_pg_index_indkey,
                pg_sys::Anum_pg_index_indcollation,
                pg_sys::Anum_pg_index_indclass,
                pg_sys::Anum_pg_index_indoption,
                pg_sys::Anum_pg_index_indexprs,
                pg_sys::Anum_pg_index_indpred,
            ] {
                // SAFETY: vectors and trees, all of variable length.
                unsafe { hash.column(row, column) };
            }
        });
    }

    /// What the columns of tables are, in whatever order they are found. Our own partitions have most of all
    /// columns in a small database, so those of a few tables are looked up.
    fn add_columns(&mut self, at: &Moment) {
        let tables = self.relations.iter().filter(|(_, relation)| !relation.is_index());
        let tables: Vec<u32> = tables.map(|(oid, _)| *oid).collect();
        if tables.len() > FEW_TABLES {
            self.add_columns_of(None, at);
            return;
        }
        for table in tables {
            self.add_columns_of(Some(columns_of(table)), at);
        }
    }

    fn add_columns_of(&mut self, only: Option<Only>, at: &Moment) {
        scan::rows(pg_sys::AttributeRelationId, only, at, |row| {
            // SAFETY: the fixed part of a row of pg_attribute.
            let column = unsafe { row.form::<pg_sys::FormData_pg_attribute>() };
            if column.attnum <= 0 || column.attisdropped {
                return;
            }
            let Some(relation) = self.relations.get_mut(&column.attrelid.to_u32()) else { return };
            if relation.is_index() {
                return;
            }
            let mut hash = Hash::new();
            hash.number(column.attnum as u64);
            hash.add(describe::name(&column.attname).to_bytes());
            hash.number(u64::from(column.atttypid.to_u32()));
            hash.number(column.atttypmod as u64);
            hash.add(&[
                u8::from(column.attnotnull),
                column.attidentity as u8,
                column.attgenerated as u8,
            ]);
            hash.number(statistics_target(row).map_or(u64::MAX, |target| target as u64));
            relation.shape.0 = relation.shape.0.wrapping_add(hash.0);
        });
    }

    fn add_parts(&mut self, at: &Moment) {
        parts::each(at, |table, hash| {
            if let Some(relation) = self.relations.get_mut(&table) {
                relation.shape.0 = relation.shape.0.wrapping_add(hash.0);
            }
        });
    }

    fn add_partition_keys(&mut self, at: &Moment) {
        scan::rows(PARTITIONED, None, at, |row| {
            let Some(relation) = self.relations.get_mut(&row.oid(1)) else { return };
            // partstrat, then partattrs, partclass, partcollation, partexprs.
            relation.shape.add(&[row.byte(2)]);
            for column in 5..=8 {
                // SAFETY: vectors and a tree, all of variable length.
                unsafe { relation.shape.column(row, column) };
            }
        });
    }

    /// Whether an object is there at all.
    pub(super) fn has(&self, (kind, oid): Key) -> bool {
        match kind {
            Kind::Extension => self.extensions.contains_key(&oid),
            Kind::Table | Kind::Index => {
                self.relations.contains_key(&oid) || self.unwatched.contains(&oid)
            }
        }
    }

    /// Whether a table, or an index of one, is there and an extension's: ALTER EXTENSION may take it out again.
    pub(super) fn is_members(&self, (kind, oid): Key) -> bool {
        let of_table =
            |index: &Relation| self.relations.contains_key(&index.table) && !index.is_passing();
        let relation = self.relations.get(&oid).filter(|_| kind != Kind::Extension);
        relation.is_some_and(|relation| !relation.is_index() || of_table(relation))
    }

    /// The schema's and the own name of a relation, as they are written in a statement.
    pub(super) fn qualified(&self, oid: u32) -> String {
        let Some(relation) = self.relations.get(&oid) else { return String::new() };
        match self.schemas.get(&relation.schema) {
            Some(schema) => describe::qualified(&schema.name, &relation.name),
            None => describe::quoted(&relation.name),
        }
    }

    /// The name of an extension's schema, as it is written in a statement, and the extension's version.
    pub(super) fn extension(&self, oid: u32) -> Option<(String, &[u8])> {
        let extension = self.extensions.get(&oid)?;
        let schema = self.schemas.get(&extension.schema)?;
        Some((describe::quoted(&schema.name), &extension.version))
    }

    /// Tables that a table is a partition or child of.
    pub(super) fn parents(&self, table: u32) -> &[u32] {
        self.parents.get(&table).map_or(&[], Vec::as_slice)
    }

    /// The topmost table above a table, if there is any.
    fn root(&self, table: u32) -> Option<u32> {
        let mut root = None;
        let mut next = self.parents(table).first().copied();
        for _ in 0..DEEPEST {
            let Some(parent) = next else { break };
            root = Some(parent);
            next = self.parents(parent).first().copied();
        }
        root
    }

    fn is_left_out(&self, oid: u32, relation: &Relation) -> bool {
        self.members.contains(&oid)
            || self.schemas.get(&relation.schema).is_none_or(|schema| schema.left_out)
    }

    /// Whether a table is one of the users. Those that an extension made in its own schema are not, unless
    /// they are parts of one that is.
    fn is_watched(&self, oid: u32, table: &Relation) -> bool {
        let root = self.root(oid).and_then(|root| Some((root, self.relations.get(&root)?)));
        !self.is_left_out(oid, table)
            || root.is_some_and(|(oid, root)| !self.is_left_out(oid, root))
    }

    /// All that is watched; names of tables and indexes, and definitions, are left to be filled in.
    pub(super) fn objects(&self) -> impl Iterator<Item = Object> {
        let extensions = self.extensions.iter().map(|(oid, extension)| {
            let mut shape = Hash::new();
            shape.add(&extension.version);
            shape.number(u64::from(extension.schema));
            let mut mark = shape;
            if let Some(schema) = self.schemas.get(&extension.schema) {
                mark.add(schema.name.to_bytes());
            }
            Object {
                name: describe::quoted(&extension.name),
                ..object(Kind::Extension, *oid, mark.0, shape.0)
            }
        });
        extensions.chain(self.relations.iter().filter_map(|(oid, relation)| {
            if relation.is_index() {
                self.index(*oid, relation)
            } else {
                self.table(*oid, relation)
            }
        }))
    }

    fn table(&self, oid: u32, table: &Relation) -> Option<Object> {
        if !self.is_watched(oid, table) {
            return None;
        }
        let root = self.root(oid);
        let mut mark = self.named(table);
        // Its definition names these.
        for parent in self.parents(oid).iter().chain(root.as_ref()) {
            if let Some(parent) = self.relations.get(parent) {
                mark.number(self.named(parent).0);
            }
        }
        let parent = root.map(|root| self.qualified(root));
        Some(Object { parent, ..object(Kind::Table, oid, mark.0, table.shape.0) })
    }

    fn index(&self, oid: u32, index: &Relation) -> Option<Object> {
        let table = self.relations.get(&index.table)?;
        let own = !self.members.contains(&oid) && !index.is_passing();
        if !own || !self.is_watched(index.table, table) {
            return None;
        }
        let mut mark = self.named(index);
        // Its definition names the table and its columns.
        mark.number(self.named(table).0);
        let parent = self.root(index.table).map(|root| self.qualified(root));
        Some(Object {
            parent,
            table: index.table,
            ..object(Kind::Index, oid, mark.0, index.shape.0)
        })
    }

    /// Hash of what a relation is, and is called.
    fn named(&self, relation: &Relation) -> Hash {
        let mut hash = relation.shape;
        hash.add(relation.name.to_bytes());
        if let Some(schema) = self.schemas.get(&relation.schema) {
            hash.add(schema.name.to_bytes());
        }
        hash
    }
}

fn object(kind: Kind, oid: u32, mark: u64, shape: u64) -> Object {
    Object {
        kind,
        oid,
        name: String::new(),
        definition: None,
        parent: None,
        table: 0,
        mark,
        shape,
        form: super::form(),
    }
}

/// The rows of pg_attribute of one table.
pub(super) fn columns_of(table: u32) -> Only {
    Only {
        index: pg_sys::AttributeRelidNumIndexId,
        column: pg_sys::Anum_pg_attribute_attrelid,
        value: table.into(),
    }
}

/// The target of a column's statistics, where it has one of its own.
pub(super) fn statistics_target(row: &Row<'_>) -> Option<i16> {
    row.int(pg_sys::Anum_pg_attribute_attstattarget).filter(|target| *target >= 0)
}
