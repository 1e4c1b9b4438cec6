//! What the server calls its objects, and how it would make them anew, in its own words. Most of it is
//! looked up in catalogs; where the server opens a table to find the words, it is asked only if that cannot
//! mean to wait.

use std::ffi::{CStr, CString};

use pgrx::pg_sys;

use super::fmgr::utf8;

/// A name of an object as it stands in the catalog.
pub(crate) type Name = CString;

/// A name of the catalogs.
pub(crate) fn name(name: &pg_sys::NameData) -> Name {
    // SAFETY: the server keeps names NUL-terminated within their fixed length.
    unsafe { CStr::from_ptr(name.data.as_ptr()) }.to_owned()
}

/// A name as it is written in a statement.
pub(crate) fn quoted(name: &Name) -> String {
    // SAFETY: a C string; the result is the same or a palloc'd one, copied at once.
    unsafe { text(pg_sys::quote_identifier(name.as_ptr())) }.unwrap_or_default()
}

/// A name with its schema's, as the two are written in a statement.
pub(crate) fn qualified(schema: &Name, name: &Name) -> String {
    // SAFETY: two C strings; the result is a palloc'd one, copied at once.
    unsafe { text(pg_sys::quote_qualified_identifier(schema.as_ptr(), name.as_ptr())) }
        .unwrap_or_default()
}

/// Name of an access method, as it is written in a statement.
pub(crate) fn access_method(method: u32) -> Option<String> {
    // SAFETY: a catalog look-up that gives NULL for one that is gone.
    let name = unsafe { copied(pg_sys::get_am_name(method.into())) };
    name.map(|name| quoted(&name))
}

/// Name of a tablespace, as it is written in a statement.
pub(crate) fn tablespace(tablespace: u32) -> Option<String> {
    // SAFETY: a catalog look-up that gives NULL for one that is gone.
    let name = unsafe { copied(pg_sys::get_tablespace_name(tablespace.into())) };
    name.map(|name| quoted(&name))
}

/// A type with its modifier, as it is written in a statement.
pub(crate) fn type_name(type_oid: pg_sys::Oid, modifier: i32) -> String {
    // SAFETY: a catalog look-up that gives "???" for a type that is gone; copied at once.
    unsafe { text(pg_sys::format_type_with_typemod(type_oid, modifier)) }.unwrap_or_default()
}

/// The statement that makes an index.
pub(crate) fn index(index: u32, table: u32) -> Option<String> {
    without_waiting(table, || call(pg_sys::pg_get_indexdef, &[oid(index)]))
}

/// What a partitioned table is partitioned by.
pub(crate) fn partition_key(table: u32) -> Option<String> {
    without_waiting(table, || call(pg_sys::pg_get_partkeydef, &[oid(table)]))
}

/// The bounds of a partition, from their stored form. They speak of no table, so none is opened.
pub(crate) fn partition_bounds(bounds: pg_sys::Datum) -> Option<String> {
    call(pg_sys::pg_get_expr, &[Some(bounds), oid(0)])
}

/// An expression over the columns of a table, from its stored form.
pub(crate) fn expression(tree: pg_sys::Datum, table: u32) -> Option<String> {
    without_waiting(table, || call(pg_sys::pg_get_expr, &[Some(tree), oid(table)]))
}

/// A constraint of a table.
pub(crate) fn constraint(constraint: u32, table: u32) -> Option<String> {
    without_waiting(table, || call(pg_sys::pg_get_constraintdef, &[oid(constraint)]))
}

/// The statement that makes a trigger of a table.
pub(crate) fn trigger(trigger: u32, table: u32) -> Option<String> {
    without_waiting(table, || call(pg_sys::pg_get_triggerdef, &[oid(trigger)]))
}

/// Runs `ask` if nobody holds the table, or waits for it, in a way that it would have to wait for.
fn without_waiting<R>(table: u32, ask: impl FnOnce() -> Option<R>) -> Option<R> {
    let share = pg_sys::AccessShareLock as pg_sys::LOCKMODE;
    // SAFETY: takes or refuses a lock, never waits; an error gives it back with the transaction's others.
    unsafe {
        if !pg_sys::ConditionalLockRelationOid(table.into(), share) {
            return None;
        }
        let answer = ask();
        pg_sys::UnlockRelationOid(table.into(), share);
        answer
    }
}

fn oid(value: u32) -> Option<pg_sys::Datum> {
    Some(pg_sys::Datum::from(pg_sys::Oid::from(value)))
}

type Function = unsafe fn(pg_sys::FunctionCallInfo) -> pg_sys::Datum;

/// Calls one of the functions named above, all of which give a text or null.
fn call(function: Function, arguments: &[Option<pg_sys::Datum>]) -> Option<String> {
    // SAFETY: the arguments are those that the function is declared with; what it gives is a text in line
    // and uncompressed, copied at once.
    unsafe {
        let answer = pgrx::direct_function_call_as_datum(function, arguments)?;
        Some(utf8(pgrx::varlena::varlena_to_byte_slice(answer.cast_mut_ptr())))
    }
}

/// # Safety
/// NULL, or a valid C string.
unsafe fn text(string: *const std::ffi::c_char) -> Option<String> {
    // SAFETY: as the caller promises.
    (!string.is_null()).then(|| utf8(unsafe { CStr::from_ptr(string) }.to_bytes()))
}

/// # Safety
/// NULL, or a valid C string.
unsafe fn copied(string: *const std::ffi::c_char) -> Option<Name> {
    // SAFETY: as the caller promises.
    (!string.is_null()).then(|| unsafe { CStr::from_ptr(string) }.to_owned())
}
