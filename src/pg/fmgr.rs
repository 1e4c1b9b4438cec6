//! Calls of C functions past the executor, and readings of what they return: a set as rows of datums,
//! a name, a setting. It must never run SQL and never keep a pointer into the server's memory beyond
//! the call that made it.

use std::ffi::{CStr, CString, c_int};

use pgrx::PgMemoryContexts;
use pgrx::pg_sys;

/// Languages of functions, fixed in the catalogs since ever.
const INTERNAL_LANGUAGE: pg_sys::Oid = pg_sys::Oid::from_u32(12);
const C_LANGUAGE: pg_sys::Oid = pg_sys::Oid::from_u32(13);

/// What tells these rows from each other: the columns of a function's result.
#[derive(Debug, Clone)]
pub(crate) struct Attribute {
    pub(crate) name: String,
    pub(crate) type_oid: pg_sys::Oid,
}

/// The rows that a set-returning function put into its tuplestore.
pub(crate) struct ResultSet {
    store: *mut pg_sys::Tuplestorestate,
    slot: *mut pg_sys::TupleTableSlot,
    attributes: Vec<Attribute>,
    // Last, so that it outlives the others: all of the above live in it.
    _memory: PgMemoryContexts,
}

impl ResultSet {
    /// Number of its rows.
    pub(crate) fn len(&self) -> usize {
        // SAFETY: reads a count of a store that is ours.
        usize::try_from(unsafe { pg_sys::tuplestore_tuple_count(self.store) }).unwrap_or(0)
    }

    /// Calls a set-returning function in materialize mode. Privileges on the function are not checked:
    /// that is for the caller, who must know what the function is.
    ///
    /// # Safety
    /// `arguments` must fit the function's declared arguments. A transaction must be open.
    pub(crate) unsafe fn call(function: pg_sys::Oid, arguments: &[pg_sys::Datum]) -> Option<Self> {
        let mut memory = PgMemoryContexts::new("pg_perfmon result set");
        // SAFETY: the context was made just now and outlives everything that is put into it.
        let (store, description) =
            unsafe { memory.switch_to(|_| materialize(function, arguments)) };
        if store.is_null() || description.is_null() {
            return None;
        }
        // SAFETY: the description is the function's own, allocated in our context.
        let (slot, attributes) = unsafe {
            let slot = memory.switch_to(|_| {
                pg_sys::MakeSingleTupleTableSlot(description, &raw const pg_sys::TTSOpsMinimalTuple)
            });
            (slot, attributes(description))
        };
        Some(Self { store, slot, attributes, _memory: memory })
    }

    /// Position of a column, if the function has one of that name.
    pub(crate) fn position(&self, name: &str) -> Option<usize> {
        self.attributes.iter().position(|a| a.name == name)
    }

    /// The columns.
    pub(crate) fn attributes(&self) -> &[Attribute] {
        &self.attributes
    }

    /// The next row; what it holds by reference is gone with the row after it.
    #[expect(ffi_unwind_calls, reason = "both calls are inside pgrx's error boundary")]
    pub(crate) fn next_row(&mut self) -> Option<Row<'_>> {
        let (store, slot, wanted) = (self.store, self.slot, self.attributes.len() as c_int);
        // SAFETY: store and slot are alive and belong together; the closure has nothing to drop, and
        // one boundary serves both calls because each costs more than the work inside.
        let found = unsafe {
            pg_sys::ffi::pg_guard_ffi_boundary(|| {
                let found = tuplestore_gettupleslot(store, true, false, slot);
                if found {
                    slot_getsomeattrs_int(slot, wanted);
                }
                found
            })
        };
        if !found {
            return None;
        }
        // SAFETY: all attributes were just put into the slot's arrays, which have that length.
        unsafe {
            Some(Row {
                values: std::slice::from_raw_parts((*slot).tts_values, self.attributes.len()),
                nulls: std::slice::from_raw_parts((*slot).tts_isnull, self.attributes.len()),
            })
        }
    }
}

impl Drop for ResultSet {
    fn drop(&mut self) {
        // While an error passes, the transaction's own clean-up frees the store's file; a slot in an
        // unknown state is better left alone.
        if std::thread::panicking() {
            return;
        }
        // SAFETY: both were made by us and are used by nobody else.
        unsafe {
            pg_sys::ExecDropSingleTupleTableSlot(self.slot);
            pg_sys::tuplestore_end(self.store);
        }
    }
}

/// One row of a result set.
#[derive(Clone, Copy)]
pub(crate) struct Row<'a> {
    values: &'a [pg_sys::Datum],
    nulls: &'a [bool],
}

impl<'a> Row<'a> {
    fn datum(&self, position: usize) -> Option<pg_sys::Datum> {
        (!*self.nulls.get(position)?).then(|| self.values.get(position).copied()).flatten()
    }

    /// A bigint, or a timestamp with its microseconds.
    pub(crate) fn int8(&self, position: usize) -> Option<i64> {
        self.datum(position).map(|d| d.value() as i64)
    }

    /// An oid.
    pub(crate) fn oid(&self, position: usize) -> Option<u32> {
        self.datum(position).map(|d| d.value() as u32)
    }

    /// A boolean.
    pub(crate) fn boolean(&self, position: usize) -> Option<bool> {
        self.datum(position).map(|d| d.value() & 0xFF != 0)
    }

    /// A double precision.
    pub(crate) fn float8(&self, position: usize) -> Option<f64> {
        self.datum(position).map(|d| f64::from_bits(d.value() as u64))
    }

    /// The bytes of a text, bytea or numeric that was not compressed.
    ///
    /// # Safety
    /// The column must be of a type with a varlena header.
    pub(crate) unsafe fn bytes(&self, position: usize) -> Option<&'a [u8]> {
        let pointer = self.datum(position)?.cast_mut_ptr::<pg_sys::varlena>();
        // SAFETY: a varlena by the caller's word, valid as long as the row; functions form rows
        // uncompressed and in line, anything else is refused.
        unsafe {
            if pgrx::varlena::varatt_is_4b_c(pointer) || pgrx::varlena::varatt_is_1b_e(pointer) {
                return None;
            }
            Some(pgrx::varlena::varlena_to_byte_slice(pointer))
        }
    }
}

/// The whole part of a non-negative numeric, from the payload behind its varlena header. `None` for
/// what is negative, not a number, or too large.
pub(crate) fn numeric_to_u64(payload: &[u8]) -> Option<u64> {
    let word = |at: usize| payload.get(at..at + 2).map(|b| u16::from_ne_bytes([b[0], b[1]]));
    let header = word(0)?;
    let (negative, weight, digits) = match header & 0xC000 {
        0x8000 => {
            // Short form: sign in bit 13, a weight of seven bits in two's complement.
            let weight = i32::from(header & 0x3F) - if header & 0x40 != 0 { 64 } else { 0 };
            (header & 0x2000 != 0, weight, payload.get(2..)?)
        }
        0xC000 => return None,
        sign => (sign == 0x4000, i32::from(word(2)? as i16), payload.get(4..)?),
    };
    let count = digits.len() / 2;
    if count == 0 {
        return Some(0);
    }
    if negative {
        return None;
    }
    let mut value: u64 = 0;
    // Digits are to the base 10,000; the first stands for 10,000 to the power of `weight`.
    for place in 0..=weight.max(-1) {
        let digit = usize::try_from(place)
            .ok()
            .and_then(|p| digits.get(p * 2..p * 2 + 2))
            .map_or(0, |b| u16::from_ne_bytes([b[0], b[1]]));
        value = value.checked_mul(10_000)?.checked_add(u64::from(digit))?;
    }
    Some(value)
}

/// Calls a function that returns one row of a composite type, and hands its datums to `read`, by
/// position from 1.
///
/// # Safety
/// The function must return a composite value that is not null, and take no argument.
pub(crate) unsafe fn call_record<R>(
    function: pg_sys::Oid,
    read: impl FnOnce(&dyn Fn(i16) -> Option<i64>) -> R,
) -> R {
    let mut memory = PgMemoryContexts::new("pg_perfmon record");
    // SAFETY: see above; GetAttributeByNum finds the row's description by the type in its header,
    // which the function registered. Only by-value attributes leave the closure.
    unsafe {
        memory.switch_to(|_| {
            let (datum, is_null) = invoke(function, &[], std::ptr::null_mut());
            read(&|number| {
                if is_null {
                    return None;
                }
                let mut null = false;
                let header = datum.cast_mut_ptr::<pg_sys::HeapTupleHeaderData>();
                let value = pg_sys::GetAttributeByNum(header, number, &mut null);
                (!null).then(|| value.value() as i64)
            })
        })
    }
}

/// Calls the function with a place for a set; returns the store and the description of its rows, both
/// in the current memory context.
unsafe fn materialize(
    function: pg_sys::Oid,
    arguments: &[pg_sys::Datum],
) -> (*mut pg_sys::Tuplestorestate, pg_sys::TupleDesc) {
    // SAFETY: the expression context makes its per-query memory the current one; the struct outlives
    // the call. The arguments are the caller's promise.
    unsafe {
        let mut set = pg_sys::ReturnSetInfo {
            type_: pg_sys::NodeTag::T_ReturnSetInfo,
            econtext: pg_sys::CreateStandaloneExprContext(),
            expectedDesc: std::ptr::null_mut(),
            allowedModes: pg_sys::SetFunctionReturnMode::SFRM_Materialize as c_int,
            returnMode: pg_sys::SetFunctionReturnMode::SFRM_ValuePerCall,
            isDone: pg_sys::ExprDoneCond::ExprSingleResult,
            setResult: std::ptr::null_mut(),
            setDesc: std::ptr::null_mut(),
        };
        invoke(function, arguments, (&raw mut set).cast());
        (set.setResult, set.setDesc)
    }
}

/// The call itself, with nulls for nothing and the default collation for nobody.
#[expect(ffi_unwind_calls, reason = "the call is inside pgrx's error boundary")]
unsafe fn invoke(
    function: pg_sys::Oid,
    arguments: &[pg_sys::Datum],
    result_info: *mut pg_sys::Node,
) -> (pg_sys::Datum, bool) {
    let size = std::mem::offset_of!(pg_sys::FunctionCallInfoBaseData, args)
        + arguments.len() * size_of::<pg_sys::NullableDatum>();
    // SAFETY: the call frame is allocated with room for its arguments; both it and the function's
    // FmgrInfo live in the current memory context, through the call.
    unsafe {
        let info = pg_sys::palloc0(size_of::<pg_sys::FmgrInfo>()).cast::<pg_sys::FmgrInfo>();
        pg_sys::fmgr_info(function, info);
        let frame = pg_sys::palloc0(size).cast::<pg_sys::FunctionCallInfoBaseData>();
        (*frame).flinfo = info;
        (*frame).resultinfo = result_info;
        (*frame).nargs = arguments.len() as i16;
        let slots = (&raw mut (*frame).args).cast::<pg_sys::NullableDatum>();
        for (position, value) in arguments.iter().enumerate() {
            slots.add(position).write(pg_sys::NullableDatum { value: *value, isnull: false });
        }
        let Some(address) = (*info).fn_addr else {
            return (pg_sys::Datum::from(0), true);
        };
        let datum = pg_sys::ffi::pg_guard_ffi_boundary(|| address(frame));
        (datum, (*frame).isnull)
    }
}

unsafe fn attributes(description: pg_sys::TupleDesc) -> Vec<Attribute> {
    // SAFETY: a complete description; the accessor hides where each version keeps its attributes.
    unsafe {
        (0..(*description).natts)
            .map(|position| {
                let attribute = &*super::compat::attribute(description, position);
                Attribute { name: name_of(&attribute.attname), type_oid: attribute.atttypid }
            })
            .collect()
    }
}

/// A C function of that name and number of arguments that belongs to an extension of this database,
/// in whatever schema it lies.
pub(crate) fn member_function(
    extension: pg_sys::Oid,
    name: &CStr,
    arguments: i16,
) -> Option<pg_sys::Oid> {
    functions(name, C_LANGUAGE, arguments).into_iter().find(|&function| {
        // SAFETY: a look-up in pg_depend.
        let owner = unsafe { pg_sys::getExtensionOfObject(pg_sys::ProcedureRelationId, function) };
        owner == extension
    })
}

/// A function of the server itself, if this version has one of that name and number of arguments.
pub(crate) fn builtin_function(name: &CStr, arguments: i16) -> Option<pg_sys::Oid> {
    functions(name, INTERNAL_LANGUAGE, arguments).into_iter().next()
}

fn functions(name: &CStr, language: pg_sys::Oid, arguments: i16) -> Vec<pg_sys::Oid> {
    let none = pg_sys::Datum::from(0);
    let key = pg_sys::Datum::from(name.as_ptr());
    // SAFETY: a list of the catalog cache, of which only the fixed parts of the rows are read before
    // it is released; the name outlives the search.
    unsafe {
        let cache = pg_sys::SysCacheIdentifier::PROCNAMEARGSNSP as c_int;
        let list = pg_sys::SearchSysCacheList(cache, 1, key, none, none);
        let found = (*list)
            .members
            .as_slice((*list).n_members as usize)
            .iter()
            .map(|&member| {
                let tuple = &raw mut (*member).tuple;
                &*pg_sys::GETSTRUCT(tuple).cast::<pg_sys::FormData_pg_proc>()
            })
            .filter(|f| f.prolang == language && f.pronargs == arguments)
            .map(|f| f.oid)
            .collect();
        pg_sys::ReleaseCatCacheList(list);
        found
    }
}

/// The value of a setting as text; `None` when there is no such setting.
pub(crate) fn setting(name: &CStr) -> Option<String> {
    // SAFETY: missing_ok, and without the check of privileges, which the caller answers for; the
    // result is copied before the next call.
    unsafe {
        let value = pg_sys::GetConfigOption(name.as_ptr(), true, false);
        (!value.is_null()).then(|| CStr::from_ptr(value).to_string_lossy().into_owned())
    }
}

/// Whether a boolean setting is on.
pub(crate) fn is_on(name: &CStr) -> bool {
    setting(name).is_some_and(|value| value == "on")
}

/// Whether a library of that name is among those that the server preloads.
pub(crate) fn is_preloaded(library: &str) -> bool {
    // SAFETY: a NUL-terminated string that changes only when the server starts, or NULL.
    let list = unsafe {
        let list = pg_sys::shared_preload_libraries_string;
        if list.is_null() { c"" } else { CStr::from_ptr(list) }
    };
    list.to_string_lossy()
        .split(',')
        .map(|entry| entry.trim().trim_matches('"'))
        .map(|entry| entry.rsplit('/').next().unwrap_or(entry))
        .any(|entry| entry.strip_suffix(".so").unwrap_or(entry) == library)
}

/// A name from a catalog as UTF-8, whatever the database's encoding.
pub(crate) fn name_of(name: &pg_sys::NameData) -> String {
    // SAFETY: the server keeps names NUL-terminated within their fixed length.
    let bytes = unsafe { CStr::from_ptr(name.data.as_ptr()) }.to_bytes();
    utf8(bytes)
}

/// Bytes valid in the database's encoding as UTF-8. What has no counterpart becomes U+FFFD.
pub(crate) fn utf8(bytes: &[u8]) -> String {
    if bytes.is_ascii() {
        // Most names; and the same in every encoding that a server may use.
        return String::from_utf8_lossy(bytes).into_owned();
    }
    // SAFETY: reads a process variable.
    let encoding = unsafe { pg_sys::GetDatabaseEncoding() };
    let utf8 = pg_sys::pg_enc::PG_UTF8 as c_int;
    let convertible = encoding != utf8 && encoding != pg_sys::pg_enc::PG_SQL_ASCII as c_int;
    let Some(source) = convertible.then(|| CString::new(bytes).ok()).flatten() else {
        return String::from_utf8_lossy(bytes).into_owned();
    };
    // SAFETY: the source is NUL-terminated and outlives the call; the result is NUL-terminated when
    // a conversion took place, which is so for two different real encodings.
    unsafe {
        let converted = pg_sys::pg_do_encoding_conversion(
            source.as_ptr().cast_mut().cast(),
            bytes.len() as c_int,
            encoding,
            utf8,
        );
        CStr::from_ptr(converted.cast()).to_string_lossy().into_owned()
    }
}

/// Whether bytes are a text that this database could hold.
pub(crate) fn is_well_encoded(bytes: &[u8]) -> bool {
    let Ok(length) = c_int::try_from(bytes.len()) else {
        return false;
    };
    // SAFETY: reads the bytes given, and is told not to raise.
    unsafe {
        let encoding = pg_sys::GetDatabaseEncoding();
        let valid = pg_sys::pg_verify_mbstr(encoding, bytes.as_ptr().cast(), length, true);
        // A database without an encoding takes anything; what is not UTF-8 there cannot be shown.
        let unknown = encoding == pg_sys::pg_enc::PG_SQL_ASCII as c_int;
        valid && (!unknown || std::str::from_utf8(bytes).is_ok())
    }
}

/// Name of a role; a dropped one is called by its number.
pub(crate) fn role_name(role: pg_sys::Oid) -> String {
    // SAFETY: a catalog look-up that gives NULL for a role that is gone.
    unsafe {
        let name = pg_sys::GetUserNameFromId(role, true);
        if name.is_null() {
            format!("oid {}", role.to_u32())
        } else {
            utf8(CStr::from_ptr(name).to_bytes())
        }
    }
}

/// Name of a schema, if it is still there.
pub(crate) fn schema_name(schema: pg_sys::Oid) -> Option<String> {
    // SAFETY: a catalog look-up that gives NULL for a schema that is gone.
    unsafe {
        let name = pg_sys::get_namespace_name(schema);
        (!name.is_null()).then(|| utf8(CStr::from_ptr(name).to_bytes()))
    }
}

/// Makes the server believe that the database has no encoding, so that bytes pass unconverted; the
/// true encoding comes back when this goes, errors included.
pub(crate) struct WithoutEncoding {
    true_encoding: c_int,
}

impl WithoutEncoding {
    pub(crate) fn begin() -> Self {
        // SAFETY: SQL_ASCII is a valid server encoding, so nothing is raised.
        unsafe {
            let true_encoding = pg_sys::GetDatabaseEncoding();
            pg_sys::SetDatabaseEncoding(pg_sys::pg_enc::PG_SQL_ASCII as c_int);
            Self { true_encoding }
        }
    }
}

impl Drop for WithoutEncoding {
    fn drop(&mut self) {
        // SAFETY: the value came from the server, so it is valid and nothing is raised.
        unsafe { pg_sys::SetDatabaseEncoding(self.true_encoding) }
    }
}

/// Keeps the server from reporting anything below an error, to the log or to the client, until this
/// goes: for parsing other people's texts, whose warnings concern nobody.
pub(crate) struct Quiet {
    log: c_int,
    client: c_int,
}

impl Quiet {
    pub(crate) fn begin() -> Self {
        // SAFETY: two process variables, put back on drop; nothing reads settings in between.
        unsafe {
            let before =
                Self { log: pg_sys::log_min_messages, client: pg_sys::client_min_messages };
            pg_sys::log_min_messages = pgrx::PgLogLevel::ERROR as c_int;
            pg_sys::client_min_messages = pgrx::PgLogLevel::ERROR as c_int;
            before
        }
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        // SAFETY: as above.
        unsafe {
            pg_sys::log_min_messages = self.log;
            pg_sys::client_min_messages = self.client;
        }
    }
}

unsafe extern "C-unwind" {
    // The server's own, past the bindings' wrappers: called once per row inside one boundary.
    fn tuplestore_gettupleslot(
        state: *mut pg_sys::Tuplestorestate,
        forward: bool,
        copy: bool,
        slot: *mut pg_sys::TupleTableSlot,
    ) -> bool;
    fn slot_getsomeattrs_int(slot: *mut pg_sys::TupleTableSlot, attnum: c_int);
}
