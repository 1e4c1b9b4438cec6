//! What the catalogs promise of a column's values. Nothing is opened, and no lock is waited for.

use std::ffi::c_int;

use pgrx::pg_sys;
use pgrx::pg_sys::Oid;

use super::compat;

/// Of a table with more tables below it, nothing is promised.
const MOST_CHILDREN: usize = 1_000;

/// Whether no row of a table, those of the tables below it included, can have NULL in a column: it is declared so, and
/// the server sees to it. Of a foreign table it does not; and up to 17, a table that inherits from another one need not
/// have what that one declares.
#[expect(ffi_unwind_calls, reason = "the call is inside pgrx's error boundary")]
pub(crate) fn is_never_null(table: Oid, attnum: i16) -> bool {
    // SAFETY: look-ups in the catalogs; names and lists are the caller's memory, and a list of oids holds `length` of
    // them.
    unsafe {
        let name = pg_sys::get_attname(table, attnum, true);
        if name.is_null() {
            return false;
        }
        let all = pg_sys::ffi::pg_guard_ffi_boundary(|| {
            find_all_inheritors(table, pg_sys::NoLock as c_int, std::ptr::null_mut())
        });
        let Some(all) = all.as_ref().filter(|all| (all.length as usize) <= MOST_CHILDREN) else {
            return false;
        };
        (0..all.length as usize).all(|i| {
            let one = (*all.elements.add(i)).oid_value;
            is_declared(one, pg_sys::get_attnum(one, name))
        })
    }
}

fn is_declared(table: Oid, attnum: i16) -> bool {
    // SAFETY: look-ups in the catalog cache; the row is read before it is released.
    unsafe {
        if pg_sys::get_rel_relkind(table) as u8 == pg_sys::RELKIND_FOREIGN_TABLE {
            return false;
        }
        let cache = pg_sys::SysCacheIdentifier::ATTNUM as c_int;
        let number = pg_sys::Datum::from(attnum);
        let tuple = pg_sys::SearchSysCache2(cache, pg_sys::Datum::from(table), number);
        if tuple.is_null() {
            return false;
        }
        let row = pg_sys::GETSTRUCT(tuple).cast::<pg_sys::FormData_pg_attribute>();
        let declared = (*row).attnotnull;
        pg_sys::ReleaseSysCache(tuple);
        declared && compat::not_null_is_valid(table, attnum)
    }
}

unsafe extern "C-unwind" {
    // Absent from the bindings (catalog/pg_inherits.h).
    fn find_all_inheritors(
        parent: Oid,
        lock: pg_sys::LOCKMODE,
        parents: *mut *mut pg_sys::List,
    ) -> *mut pg_sys::List;
}
