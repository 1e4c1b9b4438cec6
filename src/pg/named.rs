//! Tables by their names, in the order of the catalog's index on them. It must never open one.

use std::ffi::{CStr, CString};

use pgrx::pg_sys;

const SHARE: pg_sys::LOCKMODE = pg_sys::AccessShareLock as pg_sys::LOCKMODE;
const RELNAME: i16 = pg_sys::Anum_pg_class_relname as i16;

/// The first and the last plain table of a schema whose name lies between two others, these included; one that is part of
/// no other table, as a user's is, does not count.
pub(crate) fn first_and_last(
    schema: pg_sys::Oid,
    [low, high]: [&str; 2],
) -> Option<(String, String)> {
    let bounds = [CString::new(low).ok()?, CString::new(high).ok()?];
    let first = edge(schema, &bounds, pg_sys::ScanDirection::ForwardScanDirection)?;
    let last = edge(schema, &bounds, pg_sys::ScanDirection::BackwardScanDirection)?;
    Some((first, last))
}

fn edge(
    schema: pg_sys::Oid,
    bounds: &[CString; 2],
    direction: pg_sys::ScanDirection::Type,
) -> Option<String> {
    let mut names = [pg_sys::NameData::default(); 2];
    let mut keys = [pg_sys::ScanKeyData::default(); 2];
    let conditions = [
        (pg_sys::BTGreaterEqualStrategyNumber, pg_sys::F_NAMEGE),
        (pg_sys::BTLessEqualStrategyNumber, pg_sys::F_NAMELE),
    ];
    let mut found = None;
    // SAFETY: a catalog scan in the caller's transaction, by an index that begins with the name; names and keys outlive the
    // scan, and each row is looked at while the scan stands on it. On an error the transaction gives all back.
    unsafe {
        for ((name, bound), (key, condition)) in
            names.iter_mut().zip(bounds).zip(keys.iter_mut().zip(conditions))
        {
            pg_sys::namestrcpy(name, bound.as_ptr());
            let value = pg_sys::Datum::from(&raw mut *name);
            pg_sys::ScanKeyInit(key, RELNAME, condition.0 as u16, condition.1.into(), value);
        }
        let classes = pg_sys::table_open(pg_sys::RelationRelationId, SHARE);
        let index = pg_sys::index_open(pg_sys::Oid::from(pg_sys::ClassNameNspIndexId), SHARE);
        let now = std::ptr::null_mut();
        let scan = pg_sys::systable_beginscan_ordered(classes, index, now, 2, keys.as_mut_ptr());
        loop {
            let tuple = pg_sys::systable_getnext_ordered(scan, direction);
            if tuple.is_null() {
                break;
            }
            let class = &*pg_sys::GETSTRUCT(tuple).cast::<pg_sys::FormData_pg_class>();
            let is_part = class.relispartition && class.relkind as u8 == pg_sys::RELKIND_RELATION;
            if class.relnamespace == schema && is_part {
                let name = CStr::from_ptr(class.relname.data.as_ptr());
                found = Some(name.to_string_lossy().into_owned());
                break;
            }
        }
        pg_sys::systable_endscan_ordered(scan);
        pg_sys::index_close(index, SHARE);
        pg_sys::table_close(classes, SHARE);
    }
    found
}
