//! The tables and indexes of this database, by a scan of two catalogs, and the sizes of their files,
//! by the file system. It must never open a relation of a user, so no lock of a user is waited for.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::ffi::CStr;
use std::rc::Rc;

use pgrx::pg_sys;

use super::{changed, fmgr};

/// More relations than these are not remembered.
const MOST_REMEMBERED: usize = 10_000;

/// What a row of pg_class says about a relation that has storage of its own.
#[derive(Debug, Clone)]
pub(crate) struct Class {
    pub(crate) oid: u32,
    /// Nothing where it is kept for the sake of another, as TOAST tables and their indexes are.
    pub(crate) name: Rc<str>,
    pub(crate) schema: u32,
    pub(crate) kind: Storage,
    /// In the system's own database, shared by all others.
    pub(crate) shared: bool,
    /// The TOAST table, or 0.
    pub(crate) toast: u32,
    /// 0 is this database's default.
    pub(crate) tablespace: u32,
    /// 0 is a catalog whose file is kept elsewhere.
    pub(crate) file: u32,
}

/// Kinds of relations that have storage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Storage {
    Table,
    MaterializedView,
    Toast,
    Index,
}

impl Storage {
    fn of(kind: std::ffi::c_char) -> Option<Self> {
        match kind as u8 {
            pg_sys::RELKIND_RELATION => Some(Self::Table),
            pg_sys::RELKIND_MATVIEW => Some(Self::MaterializedView),
            pg_sys::RELKIND_TOASTVALUE => Some(Self::Toast),
            pg_sys::RELKIND_INDEX => Some(Self::Index),
            _ => None,
        }
    }
}

/// What an index is of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Owner {
    pub(crate) table: u32,
    /// The same number for the same columns.
    pub(crate) columns: u32,
}

/// Tables of this database, all that belongs to them, and of which table each index is.
#[derive(Debug)]
pub(crate) struct Classes {
    pub(crate) all: Vec<Class>,
    pub(crate) owners: HashMap<u32, Owner>,
    /// Indexes that queries do not use: they are being built, or that failed, or they are about to go.
    pub(crate) invalid: HashSet<u32>,
    left_out: Vec<u32>,
    /// What had happened to the catalog before it was read.
    changes: u64,
}

thread_local! {
    /// What was read last. Most of all rows are those of our own partitions, and nothing happens to a catalog most of
    /// the time: a session that lasts needs no second look.
    static LAST: RefCell<Option<Rc<Classes>>> = const { RefCell::new(None) };
}

/// What there is as of now, in all schemas but those that are left out.
pub(crate) fn classes(left_out: &[u32]) -> Rc<Classes> {
    // Before the look, so that what happens meanwhile is noticed afterwards.
    let changes = changed::count();
    let last = LAST.take().filter(|last| last.changes == changes && last.left_out == left_out);
    let found = last.unwrap_or_else(|| Rc::new(read(left_out, changes)));
    if found.all.len() <= MOST_REMEMBERED {
        LAST.set(Some(found.clone()));
    }
    found
}

fn read(left_out: &[u32], changes: u64) -> Classes {
    let mut all = relations(left_out);
    let tables =
        all.iter().filter(|c| matches!(c.kind, Storage::Table | Storage::MaterializedView));
    // With what holds that which is too long for them.
    let tables: HashSet<u32> = tables.flat_map(|class| [class.oid, class.toast]).collect();
    let (owners, invalid) = index_owners(|table| tables.contains(&table));
    all.retain(|class| match class.kind {
        Storage::Table | Storage::MaterializedView => true,
        Storage::Toast => tables.contains(&class.oid),
        Storage::Index => owners.contains_key(&class.oid),
    });
    Classes { all, owners, invalid, left_out: left_out.to_vec(), changes }
}

/// All relations with storage but those of the schemas that are left out. Temporary ones are left out, too: they belong
/// to one session.
fn relations(left_out: &[u32]) -> Vec<Class> {
    let mut found = Vec::new();
    let nameless: Rc<str> = "".into();
    scan(pg_sys::RelationRelationId, |tuple| {
        // SAFETY: the fixed part of a row of pg_class.
        let row = unsafe { &*pg_sys::GETSTRUCT(tuple).cast::<pg_sys::FormData_pg_class>() };
        let temporary = row.relpersistence as u8 == pg_sys::RELPERSISTENCE_TEMP;
        let schema = row.relnamespace.to_u32();
        if let Some(kind) = Storage::of(row.relkind)
            && !temporary
            && !left_out.contains(&schema)
        {
            let has_name = schema != pg_sys::PG_TOAST_NAMESPACE;
            found.push(Class {
                oid: row.oid.to_u32(),
                name: if has_name { fmgr::name_of(&row.relname).into() } else { nameless.clone() },
                schema,
                kind,
                shared: row.relisshared,
                toast: row.reltoastrelid.to_u32(),
                tablespace: row.reltablespace.to_u32(),
                file: row.relfilenode.to_u32(),
            });
        }
    });
    found
}

/// The table of each index of those that are wanted, and which of these are not valid.
fn index_owners(wanted: impl Fn(u32) -> bool) -> (HashMap<u32, Owner>, HashSet<u32>) {
    let (mut found, mut invalid) = (HashMap::new(), HashSet::new());
    scan(pg_sys::IndexRelationId, |tuple| {
        // SAFETY: the fixed part of a row of pg_index.
        let row = unsafe { &*pg_sys::GETSTRUCT(tuple).cast::<pg_sys::FormData_pg_index>() };
        let table = row.indrelid.to_u32();
        if wanted(table) {
            let width = usize::try_from(row.indnatts).unwrap_or(0);
            // SAFETY: the array has as many places as the index has columns.
            let columns = unsafe { row.indkey.values.as_slice(width) };
            let columns = columns.iter().fold(0x811C_9DC5, |hash: u32, column| {
                (hash ^ u32::from(column.cast_unsigned())).wrapping_mul(0x0100_0193)
            });
            found.insert(row.indexrelid.to_u32(), Owner { table, columns });
            if !row.indisvalid {
                invalid.insert(row.indexrelid.to_u32());
            }
        }
    });
    (found, invalid)
}

/// Hands every row of a system catalog to `row`, which must not keep it.
pub(super) fn scan(catalog: pg_sys::Oid, mut row: impl FnMut(pg_sys::HeapTuple)) {
    let share = pg_sys::AccessShareLock as pg_sys::LOCKMODE;
    // SAFETY: a catalog scan in the caller's transaction, under the lock that every query takes; on an
    // error the transaction gives lock and scan back.
    unsafe {
        let relation = pg_sys::table_open(catalog, share);
        let none = pg_sys::Oid::INVALID;
        let scan = pg_sys::systable_beginscan(
            relation,
            none,
            false,
            std::ptr::null_mut(),
            0,
            std::ptr::null_mut(),
        );
        let mut seen = 0_u32;
        loop {
            let tuple = pg_sys::systable_getnext(scan);
            if tuple.is_null() {
                break;
            }
            row(tuple);
            seen = seen.wrapping_add(1);
            if seen.is_multiple_of(1024) {
                pgrx::check_for_interrupts!();
            }
        }
        pg_sys::systable_endscan(scan);
        pg_sys::table_close(relation, share);
    }
}

/// The directory of a database in a tablespace, relative to the data directory, where every process
/// of the server stands.
pub(crate) fn database_path(database: u32, tablespace: u32) -> String {
    // SAFETY: builds a string; it is copied at once.
    unsafe {
        let path = pg_sys::GetDatabasePath(database.into(), tablespace.into());
        CStr::from_ptr(path).to_string_lossy().into_owned()
    }
}

/// Where a relation of this database keeps its files.
pub(crate) fn directory(class: &Class) -> String {
    // SAFETY: both are set once, when the process connects to its database.
    let (database, default) = unsafe { (pg_sys::MyDatabaseId, pg_sys::MyDatabaseTableSpace) };
    let tablespace = if class.tablespace == 0 { default.to_u32() } else { class.tablespace };
    if tablespace == pg_sys::GLOBALTABLESPACE_OID.to_u32() {
        return "global".to_owned();
    }
    database_path(database.to_u32(), tablespace)
}

/// The first file of a relation as of now, or `None` when the relation is gone.
pub(crate) fn path_now(relation: u32) -> Option<String> {
    // SAFETY: the function takes one oid, opens no relation and returns a text of ASCII or null.
    unsafe {
        let argument = Some(pg_sys::Datum::from(pg_sys::Oid::from_u32(relation)));
        pgrx::direct_function_call::<String>(pg_sys::pg_relation_filepath, &[argument])
    }
}
