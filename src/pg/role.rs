//! Roles, and the settings that their sessions start with. It must never change one.

use std::ffi::{CStr, CString, c_int};
use std::sync::OnceLock;

use pgrx::pg_sys;

use super::{compat, txn};

/// pg_db_role_setting, its index, and the columns of both, fixed in the catalogs.
const SETTINGS: pg_sys::Oid = pg_sys::Oid::from_u32(2964);
const SETTINGS_INDEX: pg_sys::Oid = pg_sys::Oid::from_u32(2965);
const DATABASE_COLUMN: i16 = 1;
const ROLE_COLUMN: i16 = 2;
const VALUES_COLUMN: i32 = 3;

/// A role by its name, if there still is one.
pub(crate) fn oid_of(name: &str) -> Option<pg_sys::Oid> {
    let name = server_encoded(name)?;
    // SAFETY: a catalog look-up; missing_ok.
    let oid = unsafe { pg_sys::get_role_oid(name.as_ptr(), true) };
    (oid != pg_sys::Oid::INVALID).then_some(oid)
}

/// What a setting is when a role starts a session in this database: for the role here, for the role
/// anywhere, for the database, for all, else what the server was started or configured with.
pub(crate) fn starting_value(setting: &CStr, role: Option<pg_sys::Oid>) -> Option<CString> {
    // SAFETY: a variable of this process.
    let here = unsafe { pg_sys::MyDatabaseId };
    let all = pg_sys::Oid::INVALID;
    let of_role = role.into_iter().flat_map(|role| [(here, role), (all, role)]);
    of_role
        .chain([(here, all), (all, all)])
        .find_map(|(database, role)| value_for(setting, database, role))
        .or_else(|| configured(setting))
}

/// What the server was started or configured with, whatever is kept for databases and roles; `None` where this process began
/// with something else and nobody noted it.
pub(crate) fn configured(setting: &CStr) -> Option<CString> {
    let noted = || CString::new(NOTED.get()?(setting)?).ok();
    compat::server_wide(setting).or_else(noted)
}

/// Who noted what the server is configured with.
static NOTED: OnceLock<fn(&CStr) -> Option<String>> = OnceLock::new();

/// Names who noted what the server is configured with, for processes that begin with something else.
pub(crate) fn ask_for_configured(noted: fn(&CStr) -> Option<String>) {
    NOTED.get_or_init(|| noted);
}

/// The value set for a database and a role, of which each may be all.
fn value_for(setting: &CStr, database: pg_sys::Oid, role: pg_sys::Oid) -> Option<CString> {
    // SAFETY: what is lent is the list of settings, in which the value is copied from.
    with_list(database, role, |list| unsafe { named(list, setting) })?
}

/// All that is set for a database, or for all of them, whatever the role: the array as it is stored.
pub(crate) fn settings_of_all_in(database: pg_sys::Oid) -> Option<Vec<u8>> {
    // SAFETY: an array, which has a varlena header; it is copied, and what was made of it freed with the transaction.
    with_list(database, pg_sys::Oid::INVALID, |list| unsafe {
        let plain = pg_sys::pg_detoast_datum(list.cast_mut_ptr());
        pgrx::varlena::varlena_to_byte_slice(plain).to_vec()
    })
}

/// What a setting is for some database or some role: database and role, of which each may be all, and value.
pub(crate) fn kept(setting: &CStr) -> Vec<(pg_sys::Oid, pg_sys::Oid, CString)> {
    let lock = pg_sys::AccessShareLock as i32;
    let mut found = Vec::new();
    // SAFETY: a scan of a shared catalog under AccessShareLock; both oids are never NULL, and what is read of the list
    // is copied before the next row.
    unsafe {
        let relation = pg_sys::table_open(SETTINGS, lock);
        let (snapshot, keys) = (std::ptr::null_mut(), std::ptr::null_mut());
        let scan = pg_sys::systable_beginscan(relation, SETTINGS_INDEX, false, snapshot, 0, keys);
        loop {
            let tuple = pg_sys::systable_getnext(scan);
            if tuple.is_null() {
                break;
            }
            let mut is_null = false;
            let mut column = |n| pg_sys::heap_getattr(tuple, n, (*relation).rd_att, &mut is_null);
            let [database, role] = [DATABASE_COLUMN, ROLE_COLUMN]
                .map(|n| pg_sys::Oid::from(column(i32::from(n)).value() as u32));
            let list = column(VALUES_COLUMN);
            if !is_null && let Some(value) = named(list, setting) {
                found.push((database, role, value));
            }
        }
        pg_sys::systable_endscan(scan);
        pg_sys::table_close(relation, lock);
    }
    found
}

/// Lends what is set for a database and a role, of which each may be all.
fn with_list<T>(
    database: pg_sys::Oid,
    role: pg_sys::Oid,
    read: impl FnOnce(pg_sys::Datum) -> T,
) -> Option<T> {
    let lock = pg_sys::AccessShareLock as i32;
    let mut keys = [pg_sys::ScanKeyData::default(), pg_sys::ScanKeyData::default()];
    // SAFETY: an index scan of a shared catalog under AccessShareLock; what is lent is used before the scan ends.
    unsafe {
        let wanted = [(DATABASE_COLUMN, database), (ROLE_COLUMN, role)];
        for (key, (column, oid)) in keys.iter_mut().zip(wanted) {
            pg_sys::ScanKeyInit(
                key,
                column,
                pg_sys::BTEqualStrategyNumber as u16,
                pg_sys::F_OIDEQ.into(),
                pg_sys::Datum::from(oid),
            );
        }
        let relation = pg_sys::table_open(SETTINGS, lock);
        let none = std::ptr::null_mut();
        let scan =
            pg_sys::systable_beginscan(relation, SETTINGS_INDEX, true, none, 2, keys.as_mut_ptr());
        let tuple = pg_sys::systable_getnext(scan);
        let mut value = None;
        if !tuple.is_null() {
            let mut is_null = false;
            let list = pg_sys::heap_getattr(tuple, VALUES_COLUMN, (*relation).rd_att, &mut is_null);
            if !is_null {
                value = Some(read(list));
            }
        }
        pg_sys::systable_endscan(scan);
        pg_sys::table_close(relation, lock);
        value
    }
}

/// The value in an array of `name=value`.
unsafe fn named(list: pg_sys::Datum, setting: &CStr) -> Option<CString> {
    let (mut elements, mut nulls, mut count) = (std::ptr::null_mut(), std::ptr::null_mut(), 0);
    // SAFETY: the column is a text[]; the elements are copies in the current memory context.
    unsafe {
        let array = pg_sys::pg_detoast_datum(list.cast_mut_ptr()).cast::<pg_sys::ArrayType>();
        let align = pg_sys::TYPALIGN_INT as std::ffi::c_char;
        pg_sys::deconstruct_array(
            array,
            pg_sys::TEXTOID,
            -1,
            false,
            align,
            &mut elements,
            &mut nulls,
            &mut count,
        );
        (0..count as usize).filter(|&i| !*nulls.add(i)).find_map(|i| {
            let entry = pg_sys::text_to_cstring((*elements.add(i)).cast_mut_ptr());
            let entry = CStr::from_ptr(entry).to_bytes();
            let at = entry.iter().position(|&byte| byte == b'=')?;
            let is_it = entry[..at].eq_ignore_ascii_case(setting.to_bytes());
            is_it.then(|| CString::new(&entry[at + 1..]).ok()).flatten()
        })
    }
}

/// UTF-8 as NUL-terminated bytes in the database's encoding; `None` for what it cannot express.
fn server_encoded(text: &str) -> Option<CString> {
    let source = CString::new(text).ok()?;
    // SAFETY: reads a process variable.
    let encoding = unsafe { pg_sys::GetDatabaseEncoding() };
    let utf8 = pg_sys::pg_enc::PG_UTF8 as c_int;
    if text.is_ascii() || encoding == utf8 || encoding == pg_sys::pg_enc::PG_SQL_ASCII as c_int {
        return Some(source);
    }
    // SAFETY: the source is NUL-terminated and outlives the call, as does the result, which is made in the
    // current memory context. A character without a counterpart is an error of the server's.
    let converted = txn::trial(|| unsafe {
        let bytes = source.as_ptr().cast_mut().cast();
        let length = source.as_bytes().len() as c_int;
        let converted = pg_sys::pg_do_encoding_conversion(bytes, length, utf8, encoding);
        CStr::from_ptr(converted.cast()).to_owned()
    });
    converted.ok()
}
