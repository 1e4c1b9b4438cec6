//! What columns, operators, functions and types are called, for conditions that were written by number. Looked up in
//! catalogs without opening a relation; what is gone has no name.

use std::collections::HashMap;
use std::ffi::{CStr, c_char};

use perfmon_core::capture::scan::Names;
use pgrx::pg_sys;

use super::{catalog, fmgr};

/// Names that were looked up already.
#[derive(Default)]
pub(crate) struct Wording {
    columns: HashMap<(u32, i16), Option<String>>,
    operators: HashMap<u32, Option<String>>,
    functions: HashMap<u32, Option<String>>,
    tables: HashMap<u32, Option<String>>,
}

/// # Safety
/// NULL, or a C string of the server's.
unsafe fn plain(name: *const c_char) -> Option<String> {
    // SAFETY: by the caller's word.
    (!name.is_null()).then(|| fmgr::utf8(unsafe { CStr::from_ptr(name) }.to_bytes()))
}

/// # Safety
/// NULL, or a C string of the server's.
unsafe fn quoted(name: *const c_char) -> Option<String> {
    if name.is_null() {
        return None;
    }
    // SAFETY: by the caller's word; the result is the same or a palloc'd one, copied at once.
    unsafe { plain(pg_sys::quote_identifier(name)) }
}

fn column(table: u32, number: i16) -> Option<String> {
    if number == 0 {
        return Some("*".to_owned());
    }
    // SAFETY: a catalog look-up that gives NULL for what is gone.
    unsafe { quoted(pg_sys::get_attname(table.into(), number, true)) }
}

fn function(oid: u32) -> Option<String> {
    // SAFETY: catalog look-ups that give NULL or 0 for what is gone.
    unsafe {
        let name = quoted(pg_sys::get_func_name(oid.into()))?;
        let schema = pg_sys::get_func_namespace(oid.into());
        if schema.to_u32() == pg_sys::PG_CATALOG_NAMESPACE {
            return Some(name);
        }
        let schema = quoted(pg_sys::get_namespace_name(schema))?;
        Some(format!("{schema}.{name}"))
    }
}

impl Names for Wording {
    fn column(&mut self, table: u32, number: i16) -> Option<String> {
        self.columns.entry((table, number)).or_insert_with(|| column(table, number)).clone()
    }

    fn operator(&mut self, oid: u32) -> Option<String> {
        // SAFETY: a catalog look-up that gives NULL for what is gone.
        let look = || unsafe { plain(pg_sys::get_opname(oid.into())) };
        self.operators.entry(oid).or_insert_with(look).clone()
    }

    fn function(&mut self, oid: u32) -> Option<String> {
        self.functions.entry(oid).or_insert_with(|| function(oid)).clone()
    }

    fn type_name(&mut self, oid: u32) -> Option<String> {
        // SAFETY: a catalog look-up that gives "???" for what is gone; a palloc'd string, copied at once.
        unsafe { plain(pg_sys::format_type_be(oid.into())) }
    }

    fn table(&mut self, oid: u32) -> Option<String> {
        let look = || catalog::relation_name(oid.into());
        self.tables.entry(oid).or_insert_with(look).clone()
    }
}
