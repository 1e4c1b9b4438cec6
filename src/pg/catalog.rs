//! Looks into shared catalogs that need no connection to a database, and a few into the local ones.

use std::ffi::CStr;

use pgrx::pg_sys;

/// One row of pg_database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Database {
    pub(crate) oid: pg_sys::Oid,
    pub(crate) name: String,
}

/// Databases that people made, by ascending oid: also those that nobody may connect to for now, and templates, as they may be
/// used again, with all that was counted before.
pub(crate) fn databases() -> Vec<Database> {
    // Of those that came with the server, "postgres" is no template for long.
    let is_own = |row: &pg_sys::FormData_pg_database| {
        let is_old = row.oid.to_u32() < pg_sys::FirstNormalObjectId;
        row.datistemplate && is_old && name_of(row) != "postgres"
    };
    databases_that(|row| !is_own(row) && !is_half_dropped(row))
}

/// Databases that can be connected to, templates left out, by ascending oid.
pub(crate) fn open_databases() -> Vec<Database> {
    databases_that(|row| row.datallowconn && !row.datistemplate && !is_half_dropped(row))
}

fn name_of(row: &pg_sys::FormData_pg_database) -> String {
    // SAFETY: a name ends with a zero byte, within the row that is lent.
    unsafe { CStr::from_ptr(row.datname.data.as_ptr()) }.to_string_lossy().into_owned()
}

/// Whether its DROP was interrupted.
fn is_half_dropped(row: &pg_sys::FormData_pg_database) -> bool {
    row.datconnlimit == -2
}

/// Every database there is, by ascending oid.
pub(crate) fn all_databases() -> Vec<Database> {
    databases_that(|_| true)
}

fn databases_that(is_meant: impl Fn(&pg_sys::FormData_pg_database) -> bool) -> Vec<Database> {
    let mut found = Vec::new();
    // SAFETY: a plain scan of a shared catalog under AccessShareLock inside the caller's
    // transaction, as the autovacuum launcher does; the tuples are copied from before the next call.
    unsafe {
        let relation =
            pg_sys::table_open(pg_sys::DatabaseRelationId, pg_sys::AccessShareLock as i32);
        let scan = pg_sys::table_beginscan_catalog(relation, 0, std::ptr::null_mut());
        loop {
            let tuple = pg_sys::heap_getnext(scan, pg_sys::ScanDirection::ForwardScanDirection);
            if tuple.is_null() {
                break;
            }
            let row = &*pg_sys::GETSTRUCT(tuple).cast::<pg_sys::FormData_pg_database>();
            if is_meant(row) {
                found.push(Database { oid: row.oid, name: name_of(row) });
            }
        }
        pg_sys::table_endscan(scan);
        pg_sys::table_close(relation, pg_sys::AccessShareLock as i32);
    }
    found.sort_by_key(|d| d.oid.to_u32());
    found
}

/// Whether a connection to a database would get through at once: it is there, and no command that changes
/// databases (RENAME, DROP, as a template) holds it. A worker that connects waits for that lock before it
/// can say anything. To be called in a transaction, whose end lets go of the lock.
pub(crate) fn lets_in(database: pg_sys::Oid) -> bool {
    let tag = pg_sys::LOCKTAG {
        locktag_field1: 0,
        locktag_field2: pg_sys::DatabaseRelationId.to_u32(),
        locktag_field3: database.to_u32(),
        locktag_field4: 0,
        locktag_type: pg_sys::LockTagType::LOCKTAG_OBJECT as u8,
        locktag_lockmethodid: pg_sys::DEFAULT_LOCKMETHOD as u8,
    };
    // SAFETY: asks for the lock that connecting takes, on a shared object, without waiting for it.
    let got = unsafe {
        pg_sys::LockAcquire(&tag, pg_sys::RowExclusiveLock as i32, false, true)
            != pg_sys::LockAcquireResult::LOCKACQUIRE_NOT_AVAIL
    };
    got && open_databases().iter().any(|d| d.oid == database)
}

/// Oid of an extension in this database.
pub(crate) fn extension(name: &CStr) -> Option<pg_sys::Oid> {
    // SAFETY: a catalog look-up in the caller's transaction; missing_ok.
    let oid = unsafe { pg_sys::get_extension_oid(name.as_ptr(), true) };
    (oid != pg_sys::Oid::INVALID).then_some(oid)
}

/// Version of an extension's SQL objects in this database.
pub(crate) fn extension_version(extension: pg_sys::Oid) -> Option<String> {
    let row = extension_row(extension)?;
    row.version
}

/// Owner of an extension in this database.
pub(crate) fn extension_owner(extension: pg_sys::Oid) -> Option<pg_sys::Oid> {
    extension_row(extension).map(|row| row.owner)
}

/// The schema of that name, if there is one.
pub(crate) fn schema(name: &CStr) -> Option<u32> {
    // SAFETY: a catalog look-up that gives no oid for a schema that is not there.
    let schema = unsafe { pg_sys::get_namespace_oid(name.as_ptr(), true) };
    (schema != pg_sys::Oid::INVALID).then(|| schema.to_u32())
}

/// Schema that an extension's objects lie in.
pub(crate) fn extension_schema(extension: pg_sys::Oid) -> Option<pg_sys::Oid> {
    extension_row(extension).map(|row| row.schema)
}

struct ExtensionRow {
    owner: pg_sys::Oid,
    schema: pg_sys::Oid,
    version: Option<String>,
}

fn extension_row(extension: pg_sys::Oid) -> Option<ExtensionRow> {
    // SAFETY: an index scan of pg_extension by oid under AccessShareLock; the values are copied
    // before the scan ends.
    unsafe {
        let relation =
            pg_sys::table_open(pg_sys::ExtensionRelationId, pg_sys::AccessShareLock as i32);
        let mut key = pg_sys::ScanKeyData::default();
        pg_sys::ScanKeyInit(
            &mut key,
            pg_sys::Anum_pg_extension_oid as i16,
            pg_sys::BTEqualStrategyNumber as u16,
            pg_sys::F_OIDEQ.into(),
            pg_sys::Datum::from(extension),
        );
        let scan = pg_sys::systable_beginscan(
            relation,
            pg_sys::Oid::from(pg_sys::ExtensionOidIndexId),
            true,
            std::ptr::null_mut(),
            1,
            &mut key,
        );
        let tuple = pg_sys::systable_getnext(scan);
        let row = (!tuple.is_null()).then(|| {
            let form = &*pg_sys::GETSTRUCT(tuple).cast::<pg_sys::FormData_pg_extension>();
            let mut is_null = false;
            let version = pg_sys::heap_getattr(
                tuple,
                pg_sys::Anum_pg_extension_extversion as i32,
                (*relation).rd_att,
                &mut is_null,
            );
            let version = (!is_null)
                .then(|| pg_sys::text_to_cstring(version.cast_mut_ptr()))
                .map(|text| CStr::from_ptr(text).to_string_lossy().into_owned());
            ExtensionRow { owner: form.extowner, schema: form.extnamespace, version }
        });
        pg_sys::systable_endscan(scan);
        pg_sys::table_close(relation, pg_sys::AccessShareLock as i32);
        row
    }
}

/// Name of this session's database.
pub(crate) fn database_name() -> String {
    // SAFETY: a catalog look-up for this session's own database; NULL if it is gone.
    let name = unsafe { pg_sys::get_database_name(pg_sys::MyDatabaseId) };
    if name.is_null() {
        return String::new();
    }
    // SAFETY: a C string in the current memory context, copied at once.
    unsafe { CStr::from_ptr(name) }.to_string_lossy().into_owned()
}

/// The cluster's identity, the same on its standbys.
pub(crate) fn system_identifier() -> u64 {
    // SAFETY: reads the control data in shared memory.
    unsafe { pg_sys::GetSystemIdentifier() }
}

/// Start of the server, microseconds since the Unix epoch.
pub(crate) fn server_started() -> i64 {
    // SAFETY: a variable that the postmaster set before this process existed.
    super::clock::unix_us(unsafe { pg_sys::PgStartTime })
}

/// When the configuration file was last read, microseconds since the Unix epoch.
pub(crate) fn configuration_loaded() -> i64 {
    // SAFETY: a variable that the postmaster and reloads set.
    super::clock::unix_us(unsafe { pg_sys::PgReloadTime })
}

/// Time of the last checkpoint by the control file, microseconds since the Unix epoch; of a clean
/// shutdown, if there was no checkpoint since.
pub(crate) fn last_checkpoint() -> Option<i64> {
    let mut valid = false;
    // SAFETY: reads the control file of this data directory into memory of the current context.
    let control = unsafe { pg_sys::get_controlfile(pg_sys::DataDir, &mut valid) };
    if control.is_null() || !valid {
        return None;
    }
    // SAFETY: a whole control file, checked above.
    let seconds = unsafe { (*control).checkPointCopy.time };
    seconds.checked_mul(1_000_000)
}

/// Name of a table with its schema, as it must stand in a statement; `None` if it is gone.
pub(crate) fn relation_name(relation: pg_sys::Oid) -> Option<String> {
    // SAFETY: catalog look-ups that give NULL for what is gone; the results are C strings in the current memory
    // context.
    let (schema, name) = unsafe {
        let name = pg_sys::get_rel_name(relation);
        let schema = pg_sys::get_namespace_name(pg_sys::get_rel_namespace(relation));
        if name.is_null() || schema.is_null() {
            return None;
        }
        (CStr::from_ptr(schema).to_bytes(), CStr::from_ptr(name).to_bytes())
    };
    Some(format!("{}.{}", quoted(&super::fmgr::utf8(schema)), quoted(&super::fmgr::utf8(name))))
}

/// A name as it must stand in a statement.
pub(crate) fn quoted(name: &str) -> String {
    let Ok(name) = std::ffi::CString::new(name) else { return String::new() };
    // SAFETY: a C string; the result is it, or a copy in the current memory context, read at once.
    unsafe { CStr::from_ptr(pg_sys::quote_identifier(name.as_ptr())) }
        .to_string_lossy()
        .into_owned()
}

/// The port that this server listens on.
pub(crate) fn own_port() -> i32 {
    // SAFETY: a variable of the server, set before it starts.
    unsafe { pg_sys::PostPortNumber }
}

/// Name of a database; a dropped one is called by its number.
pub(crate) fn name_of_database(database: pg_sys::Oid) -> String {
    // SAFETY: a catalog look-up that gives NULL for a database that is gone.
    unsafe {
        let name = pg_sys::get_database_name(database);
        if name.is_null() {
            format!("oid {}", database.to_u32())
        } else {
            super::fmgr::utf8(CStr::from_ptr(name).to_bytes())
        }
    }
}
