//! Foreign servers and the options of their user mappings, as the system catalogs keep them.

use std::ffi::{CStr, CString};

use pgrx::pg_sys;

use super::fmgr;

/// Names and values.
pub(crate) type Options = Vec<(String, String)>;

/// Options of a server, and of its mapping for a user, or else for everybody. Raises the server's own error when there is
/// no mapping. Whoever calls must see to it that nobody is shown a password.
pub(crate) fn options(server: pg_sys::Oid, user: pg_sys::Oid) -> (Options, Options) {
    // SAFETY: both look a tuple up in a cache of the server and give a copy in the current memory context, or raise an
    // error; the lists are of DefElem with strings, as the catalog's array of texts is read.
    unsafe {
        let found = pg_sys::GetForeignServer(server);
        let mapping = pg_sys::GetUserMapping(user, server);
        (list((*found).options), list((*mapping).options))
    }
}

/// # Safety
/// `options` is a list of definitions whose arguments are strings, or NIL.
unsafe fn list(options: *mut pg_sys::List) -> Options {
    // SAFETY: as the caller promises; elements and strings stay as long as the list.
    unsafe {
        let elements = pgrx::PgList::<pg_sys::DefElem>::from_pg(options);
        let text = |at: *const std::ffi::c_char| CStr::from_ptr(at).to_string_lossy().into_owned();
        let pair = |element: *mut pg_sys::DefElem| {
            (text((*element).defname), text(pg_sys::defGetString(element)))
        };
        elements.iter_ptr().map(pair).collect()
    }
}

/// The transactions that wrote the options of a server and of its mapping for a user, or else for everybody; 0 where there
/// is none. Whoever changes one of them makes another version of its row.
pub(crate) fn version(server: pg_sys::Oid, user: pg_sys::Oid) -> [u32; 2] {
    let writer = |tuple: pg_sys::HeapTuple| {
        if tuple.is_null() {
            return 0;
        }
        // SAFETY: a tuple that a cache of the server handed out, with its header; it is given back once.
        unsafe {
            let xmin = (*(*tuple).t_data).t_choice.t_heap.t_xmin;
            pg_sys::ReleaseSysCache(tuple);
            #[allow(clippy::useless_conversion)]
            xmin.into()
        }
    };
    // SAFETY: look-ups in caches of the server, by keys of the types that they have.
    let look = |user: pg_sys::Oid| unsafe {
        let cache = pg_sys::SysCacheIdentifier::USERMAPPINGUSERSERVER as i32;
        writer(pg_sys::SearchSysCache2(cache, user.into(), server.into()))
    };
    // SAFETY: the same.
    let of_server = unsafe {
        let cache = pg_sys::SysCacheIdentifier::FOREIGNSERVEROID as i32;
        writer(pg_sys::SearchSysCache1(cache, server.into()))
    };
    let own = look(user);
    [of_server, if own == 0 { look(pg_sys::Oid::INVALID) } else { own }]
}

/// The servers of a foreign data wrapper in this database, by name.
pub(crate) fn servers(wrapper: pg_sys::Oid) -> Vec<(pg_sys::Oid, String)> {
    let lock = pg_sys::AccessShareLock as pg_sys::LOCKMODE;
    let mut found = Vec::new();
    // SAFETY: a scan of a catalog as of now, under the lock of those who read it; what it finds is copied before it goes
    // on. On an error the transaction gives lock and scan back.
    unsafe {
        let relation = pg_sys::table_open(pg_sys::ForeignServerRelationId, lock);
        let (none, no_key) = (std::ptr::null_mut(), std::ptr::null_mut());
        let scan =
            pg_sys::systable_beginscan(relation, pg_sys::Oid::INVALID, false, none, 0, no_key);
        loop {
            let tuple = pg_sys::systable_getnext(scan);
            if tuple.is_null() {
                break;
            }
            let form = &*pg_sys::GETSTRUCT(tuple).cast::<pg_sys::FormData_pg_foreign_server>();
            if form.srvfdw == wrapper {
                found.push((form.oid, fmgr::name_of(&form.srvname)));
            }
        }
        pg_sys::systable_endscan(scan);
        pg_sys::table_close(relation, lock);
    }
    found.sort_by(|a, b| a.1.cmp(&b.1));
    found
}

/// The oid of a foreign data wrapper.
pub(crate) fn wrapper(name: &CStr) -> Option<pg_sys::Oid> {
    let name = CString::from(name);
    // SAFETY: looks a name up in a cache of the server.
    let oid = unsafe { pg_sys::get_foreign_data_wrapper_oid(name.as_ptr(), true) };
    (oid != pg_sys::Oid::INVALID).then_some(oid)
}
