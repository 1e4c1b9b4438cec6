//! Writes a row of a table past the parser, the planner and the executor, which in a session as short as a collector's
//! cost several times what the row does: a partition, for one, has its bound looked up through all its parents. It must
//! never be the only way: a table with anything that only the executor honours is refused, and the caller asks SQL.

use std::ffi::{CStr, c_char};

use pgrx::datum::DatumWithOid;
use pgrx::pg_sys;

use super::compat;
use super::list;

/// Held until the transaction ends, as by an INSERT.
const LOCK: pg_sys::LOCKMODE = pg_sys::RowExclusiveLock as pg_sys::LOCKMODE;
const KEEP: pg_sys::LOCKMODE = pg_sys::NoLock as pg_sys::LOCKMODE;

/// Adds one row of these columns, and NULL for all others; false, and nothing done, where only the executor can. The
/// caller answers for the privilege, and for the bound of a partition.
pub(crate) fn insert(table: pg_sys::Oid, columns: &[&str], values: &[DatumWithOid<'_>]) -> bool {
    write(table, None, columns, values)
}

/// The same in place of a row that was found here. The caller holds a lock since, under which nobody else changes any.
pub(crate) fn replace(
    table: pg_sys::Oid,
    place: pg_sys::ItemPointerData,
    columns: &[&str],
    values: &[DatumWithOid<'_>],
) -> bool {
    write(table, Some(place), columns, values)
}

fn write(
    table: pg_sys::Oid,
    place: Option<pg_sys::ItemPointerData>,
    columns: &[&str],
    values: &[DatumWithOid<'_>],
) -> bool {
    // SAFETY: a table under the lock of those who write to it; what `form` gives is a row of just this table. On an
    // error the transaction gives everything back.
    unsafe {
        pg_sys::PreventCommandIfReadOnly(c"INSERT".as_ptr());
        let relation = pg_sys::table_open(table, LOCK);
        let plain = is_plain(relation);
        let Some(row) = (if plain { form(relation, columns, values) } else { None }) else {
            if plain {
                release(&list::oids(pg_sys::RelationGetIndexList(relation)));
            }
            pg_sys::table_close(relation, LOCK);
            return false;
        };
        match place {
            Some(mut place) => pg_sys::CatalogTupleUpdate(relation, &mut place, row),
            None => pg_sys::CatalogTupleInsert(relation, row),
        }
        pg_sys::heap_freetuple(row);
        pg_sys::table_close(relation, KEEP);
        pg_sys::CommandCounterIncrement();
        true
    }
}

/// Takes the lock that reading takes, waiting for it as long as the session's settings allow.
pub(crate) fn lock_to_read(table: pg_sys::Oid) {
    // SAFETY: waits for a heavyweight lock, interruptible; an error unwinds.
    unsafe { pg_sys::LockRelationOid(table, pg_sys::AccessShareLock as pg_sys::LOCKMODE) };
}

/// Lets go of indexes of a table that is written to otherwise: who then takes locks does so in its own order.
fn release(indexes: &[pg_sys::Oid]) {
    // SAFETY: locks that were taken a moment ago, once more than before.
    indexes.iter().for_each(|index| unsafe { pg_sys::UnlockRelationOid(*index, LOCK) });
}

/// Whether a row of the right types is all that a table asks for.
///
/// # Safety
/// The relation must be open and locked.
unsafe fn is_plain(relation: pg_sys::Relation) -> bool {
    // SAFETY: an open relation, whose description and class row live as long.
    unsafe {
        let class = &*(*relation).rd_rel;
        let of_its_own = class.relhasrules || class.relhastriggers || class.relrowsecurity;
        let rules = (*(*relation).rd_att).constr.as_ref();
        class.relkind as u8 == pg_sys::RELKIND_RELATION
            && class.relam == pg_sys::HEAP_TABLE_AM_OID
            && !of_its_own
            // Generated columns count as defaults.
            && rules.is_none_or(|rules| rules.num_check == 0 && rules.num_defval == 0)
            && has_plain_indexes(relation)
    }
}

/// # Safety
/// The relation must be open and locked.
unsafe fn has_plain_indexes(relation: pg_sys::Relation) -> bool {
    // SAFETY: the list is ours; each index is opened, looked at and closed, its lock kept as by an INSERT.
    unsafe {
        let indexes = pg_sys::RelationGetIndexList(relation);
        let all = list::oids(indexes);
        pg_sys::list_free(indexes);
        let mut locked = 0;
        let plain = all.iter().all(|oid| {
            locked += 1;
            let index = pg_sys::index_open(*oid, LOCK);
            let form = &*(*index).rd_index;
            let plain = form.indimmediate
                && !form.indisexclusion
                && pg_sys::RelationGetIndexExpressions(index).is_null()
                && pg_sys::RelationGetIndexPredicate(index).is_null();
            pg_sys::index_close(index, KEEP);
            plain
        });
        if !plain {
            release(&all[..locked]);
        }
        plain
    }
}

/// The row; `None` where a column is not there or of another type, or another one may not be NULL.
///
/// # Safety
/// The relation must be open; the values are what their types say.
unsafe fn form(
    relation: pg_sys::Relation,
    columns: &[&str],
    values: &[DatumWithOid<'_>],
) -> Option<pg_sys::HeapTuple> {
    // SAFETY: as many values and marks as the description has attributes; positions are below that number.
    unsafe {
        let description = (*relation).rd_att;
        let width = (*description).natts;
        let mut row = vec![pg_sys::Datum::null(); width as usize];
        let mut nulls = vec![true; width as usize];
        // Columns mostly come in the table's order.
        let mut next = 0;
        let mut found = 0;
        for position in 0..width {
            let attribute = &*compat::attribute(description, position);
            if attribute.attisdropped {
                continue;
            }
            let name = CStr::from_ptr(attribute.attname.data.as_ptr()).to_bytes();
            let is_it = |at: &usize| columns[*at].as_bytes() == name;
            let at = (next..columns.len()).chain(0..next).find(is_it);
            let value = at.map(|at| &values[at]);
            if let Some(at) = at {
                next = at + 1;
                found += 1;
            }
            match value.and_then(DatumWithOid::datum) {
                Some(datum) => {
                    row[position as usize] = compressed(attribute, datum.sans_lifetime());
                    nulls[position as usize] = false;
                }
                None if attribute.attnotnull => return None,
                None => {}
            }
            if value.is_some_and(|value| value.oid() != attribute.atttypid) {
                return None;
            }
        }
        if found != columns.len() || columns.len() != values.len() {
            return None;
        }
        Some(pg_sys::heap_form_tuple(description, row.as_mut_ptr(), nulls.as_mut_ptr()))
    }
}

/// The value as a column keeps it. By itself the server compresses nothing in a row of less than two thousand bytes;
/// where a column is to be kept in the row, STORAGE MAIN, many short rows are worth it.
///
/// # Safety
/// The value must be of the column's type.
#[expect(ffi_unwind_calls, reason = "the call is inside pgrx's error boundary")]
unsafe fn compressed(
    attribute: &pg_sys::FormData_pg_attribute,
    value: pg_sys::Datum,
) -> pg_sys::Datum {
    if attribute.attlen != -1 || attribute.attstorage as u8 != pg_sys::TYPSTORAGE_MAIN {
        return value;
    }
    // SAFETY: a value of variable length, whole and in line as the caller made it; what comes back is a copy in this
    // memory context, or nothing where the value does not get shorter.
    unsafe {
        let method = attribute.attcompression;
        let short = pg_sys::ffi::pg_guard_ffi_boundary(|| toast_compress_datum(value, method));
        if short.is_null() { value } else { short }
    }
}

unsafe extern "C-unwind" {
    // The server's own, which the bindings do not have.
    fn toast_compress_datum(value: pg_sys::Datum, method: c_char) -> pg_sys::Datum;
}
