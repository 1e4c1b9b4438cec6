//! Tables, materialized views and indexes of this database: their counters from shared memory, their
//! sizes from the file system. It must never open a relation: not one lock on a user's table.

use std::collections::HashMap;
use std::ffi::CStr;
use std::rc::Rc;

use perfmon_core::family::{Family, INDEX, RELATION};
use perfmon_core::frame::{Key, Reading};
use pgrx::pg_sys;

use super::files::Sizes;
use super::{Columns, ProbeError, Probed, count, label, reading, statistics_epoch};
use crate::pg::classes::{self, Class, Classes, Storage};
use crate::pg::compat::{self, TableStats};
use crate::pg::{catalog, clock, fmgr};

/// Tables and indexes are read together, since a table's row needs its indexes.
pub(crate) struct Relations {
    pub(crate) relations: Probed,
    pub(crate) indexes: Probed,
}

/// Schemas that are not looked at: we do not count ourselves, and the other holds four tables of
/// constants.
const LEFT_OUT: [&CStr; 2] = [c"perfmon", c"information_schema"];

/// A table or materialized view with all that belongs to it.
struct Table {
    oid: u32,
    name: Rc<str>,
    kind: Storage,
    schema: Rc<str>,
    stats: TableStats,
    indexes: TableStats,
    toast: TableStats,
    toast_indexes: TableStats,
    bytes: Bytes,
    index_count: u64,
    /// Another where its long values are kept elsewhere, 0 where there are none.
    toast_mark: u64,
}

/// An index of such a table.
struct Index {
    oid: u32,
    table_oid: u32,
    name: Rc<str>,
    schema: Rc<str>,
    table: Rc<str>,
    stats: TableStats,
    bytes: u64,
    /// Another for each table and list of columns.
    kin: u64,
    valid: bool,
}

#[derive(Default)]
struct Bytes {
    table: u64,
    toast: u64,
    indexes: u64,
}

/// Reads the counters of all relations; with `sizes`, also what they take on disk.
pub(crate) fn relations(sizes: bool) -> Result<Relations, ProbeError> {
    let at = clock::wall_us();
    // Before the counters: what is reset in between is noticed by the next visit then.
    let resets = resets();
    let left_out: Vec<u32> = LEFT_OUT.iter().filter_map(|name| catalog::schema(name)).collect();
    let classes = classes::classes(&left_out);
    let mut sizes = sizes.then(Sizes::default);
    let mut tables = tables(&classes.all, sizes.as_mut());
    fold_toast(&classes.all, &mut tables, sizes.as_mut());
    let indexes = indexes(&classes, &mut tables, sizes.as_mut());
    let as_read = AsRead { at, resets, sizes: sizes.is_some() };
    Ok(Relations {
        relations: table_reading(&tables.list, as_read),
        indexes: index_reading(&indexes, as_read),
    })
}

/// When relations were read, when some of their counters had been reset before, and whether with sizes.
#[derive(Clone, Copy)]
struct AsRead {
    at: i64,
    resets: u64,
    sizes: bool,
}

/// Tables, and where to find them by their own oid and by that of their TOAST table.
struct Tables {
    list: Vec<Table>,
    by_oid: HashMap<u32, usize>,
    by_toast: HashMap<u32, usize>,
}

/// Size of a relation where sizes are wanted. `None`: wanted, but the relation is gone.
fn size(sizes: Option<&mut Sizes>, class: &Class) -> Option<u64> {
    sizes.map_or(Some(0), |sizes| sizes.of(class))
}

fn stats(class: &Class) -> TableStats {
    compat::table_stats(class.shared, class.oid.into()).unwrap_or_default()
}

fn tables(classes: &[Class], mut sizes: Option<&mut Sizes>) -> Tables {
    let mut schemas: HashMap<u32, Option<Rc<str>>> = HashMap::new();
    let mut found = Tables { list: Vec::new(), by_oid: HashMap::new(), by_toast: HashMap::new() };
    for class in classes {
        if !matches!(class.kind, Storage::Table | Storage::MaterializedView) {
            continue;
        }
        let schema = schemas
            .entry(class.schema)
            .or_insert_with(|| fmgr::schema_name(class.schema.into()).map(Rc::from));
        let Some(schema) = schema.clone() else {
            continue;
        };
        let Some(bytes) = size(sizes.as_deref_mut(), class) else {
            continue;
        };
        found.by_oid.insert(class.oid, found.list.len());
        if class.toast != 0 {
            found.by_toast.insert(class.toast, found.list.len());
        }
        found.list.push(Table {
            oid: class.oid,
            name: class.name.clone(),
            kind: class.kind,
            schema,
            stats: stats(class),
            indexes: TableStats::default(),
            toast: TableStats::default(),
            toast_indexes: TableStats::default(),
            bytes: Bytes { table: bytes, ..Bytes::default() },
            index_count: 0,
            toast_mark: u64::from(class.toast) << 32,
        });
    }
    found
}

fn fold_toast(classes: &[Class], tables: &mut Tables, mut sizes: Option<&mut Sizes>) {
    for class in classes.iter().filter(|c| c.kind == Storage::Toast) {
        if let Some(&owner) = tables.by_toast.get(&class.oid) {
            let owner = &mut tables.list[owner];
            owner.toast = stats(class);
            owner.bytes.toast += size(sizes.as_deref_mut(), class).unwrap_or(0);
        }
    }
}

/// All indexes of the tables; their sums go to their tables, as in the server's views.
fn indexes(classes: &Classes, tables: &mut Tables, mut sizes: Option<&mut Sizes>) -> Vec<Index> {
    let mut found = Vec::new();
    for class in classes.all.iter().filter(|c| c.kind == Storage::Index) {
        let Some(owner) = classes.owners.get(&class.oid) else {
            continue;
        };
        let own = tables.by_oid.get(&owner.table).copied();
        let Some(position) = own.or_else(|| tables.by_toast.get(&owner.table).copied()) else {
            continue;
        };
        let Some(bytes) = size(sizes.as_deref_mut(), class) else {
            continue;
        };
        let (table, stats) = (&mut tables.list[position], stats(class));
        if own.is_none() {
            table.bytes.toast += bytes;
            // One that is built anew does not count before it is valid, nor the old one thereafter: both hold the same.
            if !classes.invalid.contains(&class.oid) {
                add(&mut table.toast_indexes, &stats);
                table.toast_mark = table.toast_mark.wrapping_add(class.oid.into());
            }
            continue;
        }
        add(&mut table.indexes, &stats);
        table.index_count += 1;
        table.bytes.indexes += bytes;
        found.push(Index {
            oid: class.oid,
            table_oid: table.oid,
            name: class.name.clone(),
            schema: table.schema.clone(),
            table: table.name.clone(),
            stats,
            bytes,
            kin: u64::from(owner.table) << 32 | u64::from(owner.columns),
            valid: !classes.invalid.contains(&class.oid),
        });
    }
    found
}

/// Adds what counts for an index.
fn add(into: &mut TableStats, index: &TableStats) {
    into.scans += index.scans;
    into.returned += index.returned;
    into.fetched += index.fetched;
    into.blocks_fetched += index.blocks_fetched;
    into.blocks_hit += index.blocks_hit;
}

fn blocks_read(stats: &TableStats) -> i64 {
    stats.blocks_fetched - stats.blocks_hit
}

/// A counter of a family: its column, and where it comes from.
type Source<T> = (&'static str, fn(&T) -> i64);

#[rustfmt::skip]
static TABLE_COUNTERS: &[Source<Table>] = &[
    ("seq_scan", |t| t.stats.scans),
    ("seq_tup_read", |t| t.stats.returned),
    ("idx_scan", |t| t.indexes.scans),
    // Rows that bitmap scans fetched are counted with the table.
    ("idx_tup_fetch", |t| t.indexes.fetched + t.stats.fetched),
    ("n_tup_ins", |t| t.stats.inserted),
    ("n_tup_upd", |t| t.stats.updated),
    ("n_tup_del", |t| t.stats.deleted),
    ("n_tup_hot_upd", |t| t.stats.hot_updated),
    ("n_live_tup", |t| t.stats.live),
    ("n_dead_tup", |t| t.stats.dead),
    ("n_mod_since_analyze", |t| t.stats.modified_since_analyze),
    ("n_ins_since_vacuum", |t| t.stats.inserted_since_vacuum),
    ("vacuum_count", |t| t.stats.runs[0]),
    ("autovacuum_count", |t| t.stats.runs[1]),
    ("analyze_count", |t| t.stats.runs[2]),
    ("autoanalyze_count", |t| t.stats.runs[3]),
    ("heap_blks_read", |t| blocks_read(&t.stats)),
    ("heap_blks_hit", |t| t.stats.blocks_hit),
    ("idx_blks_read", |t| blocks_read(&t.indexes)),
    ("idx_blks_hit", |t| t.indexes.blocks_hit),
    ("toast_blks_read", |t| blocks_read(&t.toast)),
    ("toast_blks_hit", |t| t.toast.blocks_hit),
    ("tidx_blks_read", |t| blocks_read(&t.toast_indexes)),
    ("tidx_blks_hit", |t| t.toast_indexes.blocks_hit),
];

static NEWPAGE: &[Source<Table>] = &[("n_tup_newpage_upd", |t| t.stats.newpage_updated)];

#[rustfmt::skip]
static RUN_TIMES: &[Source<Table>] = &[
    ("vacuum_us", |t| t.stats.run_ms[0] * 1000),
    ("autovacuum_us", |t| t.stats.run_ms[1] * 1000),
    ("analyze_us", |t| t.stats.run_ms[2] * 1000),
    ("autoanalyze_us", |t| t.stats.run_ms[3] * 1000),
];

#[rustfmt::skip]
static TABLE_SIZES: &[Source<Table>] = &[
    ("table_bytes", |t| t.bytes.table as i64),
    ("toast_bytes", |t| t.bytes.toast as i64),
    ("index_bytes", |t| t.bytes.indexes as i64),
];

#[rustfmt::skip]
static INDEX_COUNTERS: &[Source<Index>] = &[
    ("idx_scan", |i| i.stats.scans),
    ("idx_tup_read", |i| i.stats.returned),
    ("idx_tup_fetch", |i| i.stats.fetched),
    ("idx_blks_read", |i| blocks_read(&i.stats)),
    ("idx_blks_hit", |i| i.stats.blocks_hit),
];

static INDEX_SIZES: &[Source<Index>] = &[("index_bytes", |i| i.bytes as i64)];

fn table_reading(tables: &[Table], as_read: AsRead) -> Probed {
    let mut sources = vec![TABLE_COUNTERS];
    sources.extend(compat::HAS_NEWPAGE.then_some(NEWPAGE));
    sources.extend(compat::HAS_RUN_TIMES.then_some(RUN_TIMES));
    sources.extend(as_read.sizes.then_some(TABLE_SIZES));
    let names = tables.iter().map(|t| {
        let word = match t.kind {
            Storage::MaterializedView => "materialized view",
            Storage::Table | Storage::Toast | Storage::Index => "table",
        };
        [t.schema.clone(), t.name.clone(), word.into()]
    });
    let keys = tables.iter().map(|t| Key(u64::from(t.oid), 0));
    let columns = columns(&RELATION, tables, &sources);
    let mut probed = finish(&RELATION, as_read, keys.collect(), names.collect(), columns);
    probed.reading.marks.push(tables.iter().map(|t| t.index_count).collect());
    probed.reading.marks.push(tables.iter().map(|t| t.toast_mark).collect());
    probed
}

fn index_reading(indexes: &[Index], as_read: AsRead) -> Probed {
    let mut sources = vec![INDEX_COUNTERS];
    sources.extend(as_read.sizes.then_some(INDEX_SIZES));
    let names = indexes.iter().map(|i| [i.schema.clone(), i.name.clone(), i.table.clone()]);
    let keys = indexes.iter().map(|i| Key(u64::from(i.oid), 0));
    let columns = columns(&INDEX, indexes, &sources);
    let mut probed = finish(&INDEX, as_read, keys.collect(), names.collect(), columns);
    probed.reading.marks.push(indexes.iter().map(|i| i.kin).collect());
    probed.reading.marks.push(indexes.iter().map(|i| u64::from(!i.valid)).collect());
    probed.reading.wholes = indexes.iter().map(|i| Key(u64::from(i.table_oid), 0)).collect();
    probed
}

fn columns<T>(family: &'static Family, objects: &[T], sources: &[&[Source<T>]]) -> Columns {
    let mut columns = Columns::new(family);
    for (name, value) in sources.iter().copied().flatten() {
        columns.put(name, objects.iter().map(|object| count(value(object))).collect());
    }
    columns
}

/// What changes when counters of this database's relations, or of those that all databases share, are reset.
fn resets() -> u64 {
    // SAFETY: set once, when the process connects to its database.
    let own = unsafe { pg_sys::MyDatabaseId };
    compat::database_reset(own).wrapping_add(compat::database_reset(pg_sys::Oid::INVALID))
}

fn finish(
    family: &'static Family,
    as_read: AsRead,
    keys: Vec<Key>,
    names: Vec<[Rc<str>; 3]>,
    columns: Columns,
) -> Probed {
    let reading = Reading {
        labels: names.iter().map(|parts| label(parts.iter().map(|p| &**p))).collect(),
        columns: columns.values,
        marks: vec![vec![as_read.resets; keys.len()]],
        whole: as_read.sizes,
        ..reading(family, statistics_epoch(), as_read.at, keys)
    };
    Probed { reading, name: Box::new(move |i| names[i].clone().map(|part| part.to_string())) }
}
