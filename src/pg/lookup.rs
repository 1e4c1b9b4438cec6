//! Rows of the extension's own tables by an index, past the parser and the planner: in a session as short as a
//! collector's a query costs some hundred times what the row does. It must never look into a table of a user, and its
//! callers answer for the privilege. Where a table is not as expected they ask SQL.

mod range;

use std::ffi::CStr;

use pgrx::datum::DatumWithOid;
use pgrx::pg_sys;

use super::compat;
use super::fmgr;
use super::list;
use super::scan::{Moment, Row};

pub(crate) use range::{Columns, Order, is_part, may_read};

const SHARE: pg_sys::LOCKMODE = pg_sys::AccessShareLock as pg_sys::LOCKMODE;
const KEEP: pg_sys::LOCKMODE = pg_sys::NoLock as pg_sys::LOCKMODE;

/// A column that rows are looked up by.
struct Key {
    number: i16,
    type_oid: pg_sys::Oid,
    collation: pg_sys::Oid,
}

/// A table that is open, as of one moment: what this transaction wrote before is seen.
pub(crate) struct Lookup {
    relation: pg_sys::Relation,
    index: pg_sys::Oid,
    keys: Vec<Key>,
    wanted: Vec<u32>,
    at: Moment,
}

/// A row that was found. Its columns are those that were wanted, counted from 0.
pub(crate) struct Found<'a> {
    row: Row<'a>,
    tuple: pg_sys::HeapTuple,
    wanted: &'a [u32],
}

impl Found<'_> {
    /// A bigint, or a timestamp with its microseconds.
    pub(crate) fn int8(&self, column: usize) -> Option<i64> {
        self.row.argument(*self.wanted.get(column)?).map(|datum| datum.value() as i64)
    }

    /// An integer, or an oid.
    pub(crate) fn int4(&self, column: usize) -> Option<i32> {
        self.row.argument(*self.wanted.get(column)?).map(|datum| datum.value() as i32)
    }

    /// A boolean; false where it is NULL.
    pub(crate) fn is(&self, column: usize) -> bool {
        let datum = self.wanted.get(column).and_then(|number| self.row.argument(*number));
        datum.is_some_and(|datum| datum.value() & 0xFF != 0)
    }

    /// A text as UTF-8; nothing where the column is of another type.
    pub(crate) fn text(&self, column: usize) -> Option<String> {
        let number = *self.wanted.get(column)?;
        if self.row.type_of(number) != pg_sys::TEXTOID {
            return None;
        }
        // SAFETY: a text has such a header.
        unsafe { self.row.bytes(number, fmgr::utf8) }
    }

    /// Lends the content of a value of variable length.
    ///
    /// # Safety
    /// The column must be of a type with a varlena header.
    pub(crate) unsafe fn bytes<T>(
        &self,
        column: usize,
        read: impl FnOnce(&[u8]) -> T,
    ) -> Option<T> {
        // SAFETY: as the caller promises.
        unsafe { self.row.bytes(*self.wanted.get(column)?, read) }
    }

    /// Where the row lies.
    pub(crate) fn place(&self) -> pg_sys::ItemPointerData {
        // SAFETY: a tuple that stays as long as the scan stands on it.
        unsafe { (*self.tuple).t_self }
    }
}

impl Lookup {
    /// A table to be looked into by columns with which one of its indexes begins, in that order; by none, all rows are
    /// found. `None` where there is no such index, or a column is missing.
    pub(crate) fn open(table: pg_sys::Oid, by: &[&str], wanted: &[&str]) -> Option<Self> {
        Self::open_at(table, by, wanted, Moment::now())
    }

    /// The same as a query of the caller would see it; `None` also where the caller may not read the table.
    pub(crate) fn open_as_asked(table: pg_sys::Oid, by: &[&str], wanted: &[&str]) -> Option<Self> {
        let at = Moment::of_query()?;
        may_read(table).then(|| Self::open_at(table, by, wanted, at))?
    }

    fn open_at(table: pg_sys::Oid, by: &[&str], wanted: &[&str], at: Moment) -> Option<Self> {
        // SAFETY: a table under the lock of those who read it.
        unsafe {
            let relation = pg_sys::table_open(table, SHARE);
            let opened = Self::of(relation, by, wanted, at);
            if opened.is_none() {
                pg_sys::table_close(relation, KEEP);
            }
            opened
        }
    }

    /// The same by the first so many of the columns, for the last in the order of them all.
    pub(crate) fn open_ordered(
        table: pg_sys::Oid,
        by: &[&str],
        first: usize,
        wanted: &[&str],
    ) -> Option<Self> {
        let mut opened = Self::open(table, by, wanted)?;
        opened.keys.truncate(first);
        Some(opened)
    }

    /// # Safety
    /// The relation must be open and locked.
    unsafe fn of(
        relation: pg_sys::Relation,
        by: &[&str],
        wanted: &[&str],
        at: Moment,
    ) -> Option<Self> {
        // SAFETY: as the caller promises; the list is ours.
        unsafe {
            if (*(*relation).rd_rel).relkind as u8 != pg_sys::RELKIND_RELATION {
                return None;
            }
            let number = |name: &&str| number_of(relation, name);
            let by: Vec<i16> = by.iter().map(number).collect::<Option<_>>()?;
            let wanted: Vec<i16> = wanted.iter().map(number).collect::<Option<_>>()?;
            let (mut index, mut keys) = (pg_sys::Oid::INVALID, Vec::new());
            if !by.is_empty() {
                let indexes = pg_sys::RelationGetIndexList(relation);
                let found = list::oids(indexes)
                    .into_iter()
                    .find_map(|oid| Some((oid, keys_of(relation, oid, &by)?)));
                pg_sys::list_free(indexes);
                (index, keys) = found?;
            }
            let wanted = wanted.into_iter().map(|number| number as u32).collect();
            Some(Self { relation, index, keys, wanted, at })
        }
    }

    /// Hands over the rows with these values in the columns that they are looked up by; false, and nothing done, where the
    /// values are not of the columns' types.
    pub(crate) fn each(
        &self,
        values: &[DatumWithOid<'_>],
        mut each: impl FnMut(&Found<'_>),
    ) -> bool {
        let Some(mut keys) = self.scan_keys(values) else { return false };
        // SAFETY: an open table; the keys outlive the scan, and each tuple is used while the scan stands on it.
        unsafe {
            let has_index = self.index != pg_sys::Oid::INVALID;
            let count = keys.len() as i32;
            let scan = pg_sys::systable_beginscan(
                self.relation,
                self.index,
                has_index,
                self.at.snapshot(),
                count,
                keys.as_mut_ptr(),
            );
            loop {
                let tuple = pg_sys::systable_getnext(scan);
                if tuple.is_null() {
                    break;
                }
                each(&self.found(tuple));
            }
            pg_sys::systable_endscan(scan);
        }
        true
    }

    /// Hands over the last of these rows in the order of the index.
    pub(crate) fn last(&self, values: &[DatumWithOid<'_>], each: impl FnOnce(&Found<'_>)) -> bool {
        let keys = self.scan_keys(values).filter(|keys| !keys.is_empty());
        let Some(mut keys) = keys else { return false };
        // SAFETY: as above; the index is the table's, and is kept locked until the transaction ends.
        unsafe {
            let index = pg_sys::index_open(self.index, SHARE);
            let scan = pg_sys::systable_beginscan_ordered(
                self.relation,
                index,
                self.at.snapshot(),
                keys.len() as i32,
                keys.as_mut_ptr(),
            );
            let backward = pg_sys::ScanDirection::BackwardScanDirection;
            let tuple = pg_sys::systable_getnext_ordered(scan, backward);
            if !tuple.is_null() {
                each(&self.found(tuple));
            }
            pg_sys::systable_endscan_ordered(scan);
            pg_sys::index_close(index, KEEP);
        }
        true
    }

    /// # Safety
    /// A tuple of this table, of a scan that stands on it.
    unsafe fn found(&self, tuple: pg_sys::HeapTuple) -> Found<'_> {
        // SAFETY: as the caller promises.
        let row = unsafe { Row::of(tuple, (*self.relation).rd_att) };
        Found { row, tuple, wanted: &self.wanted }
    }

    /// Made anew for each scan, which writes to them.
    fn scan_keys(&self, values: &[DatumWithOid<'_>]) -> Option<Vec<pg_sys::ScanKeyData>> {
        if values.len() != self.keys.len() {
            return None;
        }
        self.keys.iter().zip(values).map(|(key, value)| scan_key(key, value)).collect()
    }
}

impl Drop for Lookup {
    fn drop(&mut self) {
        // While an error passes, the transaction's own clean-up closes it.
        if !std::thread::panicking() {
            // SAFETY: opened by us; the lock is kept, as a query would.
            unsafe { pg_sys::table_close(self.relation, KEEP) };
        }
    }
}

fn scan_key(key: &Key, value: &DatumWithOid<'_>) -> Option<pg_sys::ScanKeyData> {
    if value.oid() != key.type_oid {
        return None;
    }
    let equal = match key.type_oid {
        pg_sys::INT8OID => pg_sys::F_INT8EQ,
        pg_sys::INT4OID => pg_sys::F_INT4EQ,
        pg_sys::TEXTOID => pg_sys::F_TEXTEQ,
        pg_sys::BOOLOID => pg_sys::F_BOOLEQ,
        _ => return None,
    };
    let datum = value.datum()?.sans_lifetime();
    let mut made = pg_sys::ScanKeyData::default();
    // SAFETY: fills the struct; the function is that of the type's equality.
    unsafe {
        pg_sys::ScanKeyEntryInitialize(
            &mut made,
            0,
            key.number,
            pg_sys::BTEqualStrategyNumber as u16,
            pg_sys::Oid::INVALID,
            key.collation,
            equal.into(),
            datum,
        );
    }
    Some(made)
}

/// # Safety
/// The relation must be open.
unsafe fn number_of(relation: pg_sys::Relation, name: &str) -> Option<i16> {
    // SAFETY: an open relation's description, positions below its width.
    unsafe {
        let description = (*relation).rd_att;
        let is_it = |position: &i32| {
            let attribute = &*compat::attribute(description, *position);
            let its = CStr::from_ptr(attribute.attname.data.as_ptr());
            !attribute.attisdropped && its.to_bytes() == name.as_bytes()
        };
        let position = (0..(*description).natts).find(is_it)?;
        i16::try_from(position + 1).ok()
    }
}

/// The columns by which an index begins, if they are these.
///
/// # Safety
/// The relation must be open, and the index one of its own.
unsafe fn keys_of(relation: pg_sys::Relation, index: pg_sys::Oid, by: &[i16]) -> Option<Vec<Key>> {
    // SAFETY: an index that is opened, looked at and closed, its lock kept; its arrays have as many places as it has
    // columns.
    unsafe {
        let index = pg_sys::index_open(index, SHARE);
        let form = &*(*index).rd_index;
        let width = usize::try_from(form.indnkeyatts).unwrap_or(0);
        let fits = form.indisvalid
            && !form.indcheckxmin
            && (*(*index).rd_rel).relam == pg_sys::BTREE_AM_OID
            && pg_sys::RelationGetIndexPredicate(index).is_null()
            && width >= by.len()
            && form.indkey.values.as_slice(width).starts_with(by);
        let keys = fits.then(|| {
            let key = |(place, number): (usize, &i16)| Key {
                number: *number,
                type_oid: (*compat::attribute((*relation).rd_att, i32::from(*number) - 1)).atttypid,
                collation: *(*index).rd_indcollation.add(place),
            };
            by.iter().enumerate().map(key).collect()
        });
        pg_sys::index_close(index, KEEP);
        keys
    }
}
