//! The store's one door to SPI: reads that take no transaction id, writes, parameters in the server's
//! own encoding. It must never build SQL from anything but names that this room made.

use std::borrow::Cow;
use std::cell::RefCell;

use pgrx::datum::DatumWithOid;
use pgrx::pg_sys::submodules::panic::ErrorReportable;
use pgrx::prelude::*;
use pgrx::spi::{OwnedPreparedStatement, SpiHeapTupleData};

use crate::pg::toast;

/// Microseconds from the Unix epoch to PostgreSQL's.
const PG_EPOCH_US: i64 = 946_684_800_000_000;

pub(super) type Arg<'a> = DatumWithOid<'a>;

/// A query and its plan.
type Planned = (&'static str, &'static OwnedPreparedStatement);

thread_local! {
    /// Plans that are kept, one for each call of [`write_again`] in the source.
    static PLANS: RefCell<Vec<Planned>> = const { RefCell::new(Vec::new()) };
}

/// A `timestamptz` from microseconds since the Unix epoch.
pub(super) fn time<'a>(us: i64) -> Arg<'a> {
    // SAFETY: a timestamptz is an i64 passed by value.
    unsafe { DatumWithOid::new(to_server(us), pg_sys::TIMESTAMPTZOID) }
}

/// Microseconds as the server counts them.
pub(super) fn to_server(us: i64) -> i64 {
    us.saturating_sub(PG_EPOCH_US)
}

/// The other way round.
pub(super) fn from_server(us: i64) -> i64 {
    us.saturating_add(PG_EPOCH_US)
}

/// A `timestamptz` that is NULL.
pub(super) fn no_time<'a>() -> Arg<'a> {
    DatumWithOid::null_oid(pg_sys::TIMESTAMPTZOID)
}

/// An `interval`.
pub(super) fn interval<'a>(value: Interval) -> Arg<'a> {
    // SAFETY: the oid is that of the value's type.
    unsafe { DatumWithOid::new(value, pg_sys::INTERVALOID) }
}

/// A `text`, in the encoding of this database.
pub(super) fn text<'a>(value: &str) -> Arg<'a> {
    // SAFETY: text and bytea have the same representation, and `in_server_encoding` gives valid bytes.
    unsafe { DatumWithOid::new(&*in_server_encoding(value), pg_sys::TEXTOID) }
}

/// A `text` that may be NULL.
pub(super) fn optional_text<'a>(value: Option<&str>) -> Arg<'a> {
    value.map_or_else(|| DatumWithOid::null_oid(pg_sys::TEXTOID), text)
}

/// A `json` that is known to be one, or NULL.
pub(super) fn json<'a>(value: Option<&str>) -> Arg<'a> {
    // SAFETY: json is kept as text.
    unsafe { DatumWithOid::new(value.map(in_server_encoding).as_deref(), pg_sys::JSONOID) }
}

/// A `timestamptz[]`.
pub(super) fn times<'a>(us: impl Iterator<Item = Option<i64>>) -> Arg<'a> {
    let stamp = |us: i64| TimestampWithTimeZone::try_from(us.saturating_sub(PG_EPOCH_US)).ok();
    us.map(|us| us.and_then(stamp)).collect::<Vec<Option<TimestampWithTimeZone>>>().into()
}

/// A `text[]`, in the encoding of this database.
pub(super) fn texts<'a, 'v>(values: impl Iterator<Item = Option<&'v str>>) -> Arg<'a> {
    let bytes: Vec<Option<Vec<u8>>> =
        values.map(|v| v.map(|v| in_server_encoding(v).into_owned())).collect();
    let mut elements: Vec<pg_sys::Datum> = Vec::with_capacity(bytes.len());
    let mut nulls: Vec<bool> = Vec::with_capacity(bytes.len());
    for value in &bytes {
        nulls.push(value.is_none());
        let datum = value.as_deref().and_then(IntoDatum::into_datum);
        elements.push(datum.unwrap_or_else(pg_sys::Datum::null));
    }
    let mut length = i32::try_from(elements.len()).unwrap_or(i32::MAX);
    let mut lower = 1_i32;
    // SAFETY: as many elements and null marks as `length` says, of type text (variable length, by
    // reference, int alignment); the array is copied into the current memory context.
    let array = unsafe {
        pg_sys::construct_md_array(
            elements.as_mut_ptr(),
            nulls.as_mut_ptr(),
            1,
            &mut length,
            &mut lower,
            pg_sys::TEXTOID,
            -1,
            false,
            pg_sys::TYPALIGN_INT as std::ffi::c_char,
        )
    };
    // SAFETY: a text[] just made.
    unsafe { DatumWithOid::new(pg_sys::Datum::from(array), pg_sys::TEXTARRAYOID) }
}

/// A `bytea` that may be NULL.
pub(super) fn bytes<'a>(value: Option<&[u8]>) -> Arg<'a> {
    // SAFETY: the oid is that of the value's type.
    unsafe { DatumWithOid::new(value, pg_sys::BYTEAOID) }
}

/// Whether any character can be kept in this database.
pub(super) fn holds_all_text() -> bool {
    // SAFETY: reads a constant of the session.
    unsafe { pg_sys::GetDatabaseEncoding() == pg_sys::pg_enc::PG_UTF8 as i32 }
}

/// What this database's encoding cannot hold is written as `\u{...}`: one odd name must not fail a
/// snapshot.
fn in_server_encoding(value: &str) -> Cow<'_, [u8]> {
    // SAFETY: reads a constant of the session.
    let encoding = unsafe { pg_sys::GetDatabaseEncoding() };
    let utf8 = pg_sys::pg_enc::PG_UTF8 as i32;
    let ascii = pg_sys::pg_enc::PG_SQL_ASCII as i32;
    let value: Cow<'_, str> =
        if value.contains('\0') { value.replace('\0', "").into() } else { value.into() };
    if value.is_ascii() || encoding == utf8 || encoding == ascii {
        return match value {
            Cow::Borrowed(s) => s.as_bytes().into(),
            Cow::Owned(s) => s.into_bytes().into(),
        };
    }
    // SAFETY: a catalog look-up, inside the transaction that every use of the store needs.
    let procedure = unsafe { pg_sys::FindDefaultConversionProc(utf8, encoding) };
    let mut out = Vec::with_capacity(value.len());
    let mut buffer = [0_u8; 4];
    for c in value.chars() {
        if c.is_ascii() {
            out.push(c as u8);
            continue;
        }
        let source = c.encode_utf8(&mut buffer);
        match converted(procedure, encoding, source) {
            Some(bytes) => out.extend_from_slice(&bytes),
            None => out.extend_from_slice(c.escape_unicode().to_string().as_bytes()),
        }
    }
    out.into()
}

/// One character in the server's encoding, if it has it.
fn converted(procedure: pg_sys::Oid, encoding: i32, source: &mut str) -> Option<Vec<u8>> {
    if procedure == pg_sys::InvalidOid {
        return None;
    }
    let length = i32::try_from(source.len()).ok()?;
    let mut target = [0_u8; 32];
    // SAFETY: source and target are valid for the lengths given; with `noError` nothing is raised for
    // characters that do not convert, and the target gets a closing zero.
    let done = unsafe {
        pg_sys::pg_do_encoding_conversion_buf(
            procedure,
            pg_sys::pg_enc::PG_UTF8 as i32,
            encoding,
            source.as_mut_ptr(),
            length,
            target.as_mut_ptr(),
            32,
            true,
        )
    };
    (done == length).then(|| target.iter().copied().take_while(|b| *b != 0).collect())
}

/// One row of a read. Columns count from 1.
pub(super) struct Row<'a>(SpiHeapTupleData<'a>);

impl Row<'_> {
    /// The value of a column, `None` when it is NULL.
    pub(super) fn get<T: IntoDatum + FromDatum>(&self, column: usize) -> Option<T> {
        self.0.get::<T>(column).unwrap_or_report()
    }

    /// A `text`. What is not valid in this database's encoding, as can be in SQL_ASCII, is replaced.
    pub(super) fn text(&self, column: usize) -> Option<String> {
        let datum = self.get::<pgrx::AnyElement>(column)?.datum();
        // SAFETY: a non-null text, which lives as long as the row; what the conversion allocates is
        // freed with the connection to SPI.
        unsafe {
            let plain = pg_sys::pg_detoast_datum_packed(datum.cast_mut_ptr());
            let bytes = pgrx::varlena::varlena_to_byte_slice(plain);
            let encoding = pg_sys::GetDatabaseEncoding();
            let utf8 = pg_sys::pg_enc::PG_UTF8 as i32;
            let ascii = pg_sys::pg_enc::PG_SQL_ASCII as i32;
            if encoding == utf8 || encoding == ascii || bytes.is_ascii() {
                return Some(String::from_utf8_lossy(bytes).into_owned());
            }
            let length = i32::try_from(bytes.len()).unwrap_or(i32::MAX);
            let converted = pg_sys::pg_server_to_any(bytes.as_ptr().cast(), length, utf8);
            Some(std::ffi::CStr::from_ptr(converted).to_string_lossy().into_owned())
        }
    }

    /// A `timestamptz` as microseconds since the Unix epoch.
    pub(super) fn time(&self, column: usize) -> Option<i64> {
        self.get::<TimestampWithTimeZone>(column)
            .map(|t| t.into_inner().saturating_add(PG_EPOCH_US))
    }
}

/// Runs a read that needs neither a transaction id nor a temporary table.
pub(super) fn read<T>(
    query: &str,
    arguments: &[Arg<'_>],
    mut each: impl FnMut(&Row<'_>) -> T,
) -> Vec<T> {
    Spi::connect(|client| {
        let rows = client.select(query, None, arguments).unwrap_or_report();
        rows.map(|row| each(&Row(row))).collect()
    })
}

/// The first row of a read.
pub(super) fn first<T>(
    query: &str,
    arguments: &[Arg<'_>],
    mut each: impl FnMut(&Row<'_>) -> Option<T>,
) -> Option<T> {
    Spi::connect(|client| {
        let mut rows = client.select(query, Some(1), arguments).unwrap_or_report();
        rows.next().and_then(|row| each(&Row(row)))
    })
}

/// Runs a write and says how many rows it touched.
pub(super) fn write(query: &str, arguments: &[Arg<'_>]) -> u64 {
    Spi::connect_mut(|client| {
        client.update(query, None, arguments).unwrap_or_report();
        // SAFETY: set by the statement just run.
        unsafe { pg_sys::SPI_processed }
    })
}

/// The same of what is written with each visit, whose plan is kept: a session that lasts then pays for it once. The
/// server makes it anew when what it stands on has changed.
pub(super) fn write_again(query: &'static str, arguments: &[Arg<'_>]) -> u64 {
    Spi::connect_mut(|client| {
        let known = PLANS.with_borrow(|plans| plans.iter().find(|(of, _)| *of == query).copied());
        let (_, plan) = known.unwrap_or_else(|| {
            let types: Vec<PgOid> =
                arguments.iter().map(|value| PgOid::from(value.oid())).collect();
            let plan = client.prepare_mut(query, &types).unwrap_or_report().keep();
            // For as long as the process: freed at its exit it would come after the server's memory.
            let made = (query, &*Box::leak(Box::new(plan)));
            PLANS.with_borrow_mut(|plans| plans.push(made));
            made
        });
        client.update(plan, None, arguments).unwrap_or_report();
        // SAFETY: set by the statement just run.
        unsafe { pg_sys::SPI_processed }
    })
}

/// Runs a write that returns rows.
pub(super) fn change<T>(
    query: &str,
    arguments: &[Arg<'_>],
    mut each: impl FnMut(&Row<'_>) -> T,
) -> Vec<T> {
    Spi::connect_mut(|client| {
        let rows = client.update(query, None, arguments).unwrap_or_report();
        rows.map(|row| each(&Row(row))).collect()
    })
}

/// One row of a scan, its packed values not yet fetched. Columns count from 0.
pub(super) struct Raw<'a> {
    values: &'a [pg_sys::Datum],
    nulls: &'a [bool],
}

impl<'a> Raw<'a> {
    pub(super) fn of(values: &'a [pg_sys::Datum], nulls: &'a [bool]) -> Self {
        Self { values, nulls }
    }

    fn datum(&self, column: usize) -> Option<pg_sys::Datum> {
        let null = *self.nulls.get(column)?;
        (!null).then(|| self.values.get(column).copied()).flatten()
    }

    /// A `bigint`.
    pub(super) fn int8(&self, column: usize) -> Option<i64> {
        self.datum(column).map(|d| d.value() as i64)
    }

    /// An `integer`.
    pub(super) fn int4(&self, column: usize) -> Option<i32> {
        self.datum(column).map(|d| d.value() as i32)
    }

    /// A `smallint`.
    pub(super) fn int2(&self, column: usize) -> Option<i16> {
        self.datum(column).map(|d| d.value() as i16)
    }

    /// A `timestamptz` as microseconds since the Unix epoch.
    pub(super) fn time(&self, column: usize) -> Option<i64> {
        self.int8(column).map(from_server)
    }

    /// Where a `bytea` lies, if out of line.
    pub(super) fn pointer(&self, column: usize) -> Option<toast::Pointer> {
        // SAFETY: a non-null bytea.
        unsafe { toast::pointer(self.datum(column)?) }
    }

    /// Lends a part of a `bytea`, which may be shorter than asked for; of what lies out of line, only that part is
    /// fetched.
    pub(super) fn with_slice<T>(
        &self,
        column: usize,
        part: std::ops::Range<usize>,
        f: impl FnOnce(&[u8]) -> T,
    ) -> Option<T> {
        let stored = self.datum(column)?.cast_mut_ptr::<pg_sys::varlena>();
        let start = i32::try_from(part.start).unwrap_or(i32::MAX);
        let length = i32::try_from(part.len()).unwrap_or(i32::MAX);
        // SAFETY: a non-null bytea of the row at hand; the slice is always a copy, which is ours to free, and `f`
        // cannot keep it.
        unsafe {
            let slice = pg_sys::pg_detoast_datum_slice(stored, start, length);
            let result = f(pgrx::varlena::varlena_to_byte_slice(slice));
            pg_sys::pfree(slice.cast());
            Some(result)
        }
    }

    /// Lends the content of a `bytea` and frees the copy at once: a window of a month would otherwise
    /// pile up tens of megabytes before the query ends.
    pub(super) fn with_bytes<T>(&self, column: usize, f: impl FnOnce(&[u8]) -> T) -> Option<T> {
        let stored = self.datum(column)?.cast_mut_ptr::<pg_sys::varlena>();
        // SAFETY: a non-null bytea of the row at hand; the copy, if one was made, is ours to free, and
        // `f` cannot keep the slice.
        unsafe {
            let plain = pg_sys::pg_detoast_datum_packed(stored);
            let result = f(pgrx::varlena::varlena_to_byte_slice(plain));
            if !std::ptr::eq(plain, stored) {
                pg_sys::pfree(plain.cast());
            }
            Some(result)
        }
    }
}

/// Runs a read over many wide rows and lends each to `each`.
pub(super) fn scan(query: &str, arguments: &[Arg<'_>], mut each: impl FnMut(&Raw<'_>)) {
    Spi::connect(|client| {
        let rows = client.select(query, None, arguments).unwrap_or_report();
        let count = rows.len();
        // SAFETY: set by the statement just run; lives until this connection to SPI ends.
        let Some(table) = (unsafe { pg_sys::SPI_tuptable.as_ref() }) else {
            return;
        };
        // SAFETY: SPI keeps `count` tuples there, all of this descriptor.
        let (tuples, columns) = unsafe {
            (std::slice::from_raw_parts(table.vals, count), (*table.tupdesc).natts as usize)
        };
        let mut values = vec![pg_sys::Datum::null(); columns];
        let mut nulls = vec![true; columns];
        for tuple in tuples {
            pgrx::check_for_interrupts!();
            // SAFETY: both buffers hold one place per column of the descriptor.
            unsafe {
                pg_sys::heap_deform_tuple(
                    *tuple,
                    table.tupdesc,
                    values.as_mut_ptr(),
                    nulls.as_mut_ptr(),
                );
            }
            each(&Raw { values: &values, nulls: &nulls });
        }
    });
}

/// Takes a lock if nobody is in the way. Never waits.
pub(super) fn try_lock(table: pg_sys::Oid, mode: u32) -> bool {
    // SAFETY: takes or refuses a lock on a relation by its oid.
    unsafe { pg_sys::ConditionalLockRelationOid(table, mode as i32) }
}

/// Takes locks one after the other, waiting for each at most as long as the session's lock_timeout; says
/// false, with none of them held, when that was not enough.
pub(super) fn wait_for_locks(tables: &[pg_sys::Oid], mode: u32) -> bool {
    // SAFETY: an internal subtransaction, ended on both paths below; memory context and resource owner
    // are put back as they were, as every use of subtransactions in the server does.
    let (context, owner) = unsafe {
        let saved = (pg_sys::CurrentMemoryContext, pg_sys::CurrentResourceOwner);
        pg_sys::BeginInternalSubTransaction(std::ptr::null());
        pg_sys::MemoryContextSwitchTo(saved.0);
        saved
    };
    let restore = move || {
        // SAFETY: both were current before the subtransaction began and outlive it.
        unsafe {
            pg_sys::MemoryContextSwitchTo(context);
            pg_sys::CurrentResourceOwner = owner;
        }
    };
    let failure = PgTryBuilder::new(std::panic::AssertUnwindSafe(|| {
        for table in tables {
            // SAFETY: waits for a heavyweight lock, interruptible; an error unwinds.
            unsafe { pg_sys::LockRelationOid(*table, mode as i32) };
        }
        None
    }))
    .catch_others(|error| Some(Box::new(error)))
    .execute();
    // SAFETY: ends the subtransaction begun above; locks of a released one pass to its parent.
    unsafe {
        match &failure {
            None => pg_sys::ReleaseCurrentSubTransaction(),
            Some(_) => pg_sys::RollbackAndReleaseCurrentSubTransaction(),
        }
    }
    restore();
    match failure {
        None => true,
        Some(error) if is_lock_timeout(&error) => false,
        Some(error) => error.rethrow(),
    }
}

fn is_lock_timeout(error: &pg_sys::panic::CaughtError) -> bool {
    use pg_sys::panic::CaughtError;
    match error {
        CaughtError::PostgresError(report) | CaughtError::ErrorReport(report) => {
            report.sql_error_code() == PgSqlErrorCode::ERRCODE_LOCK_NOT_AVAILABLE
        }
        CaughtError::RustPanic { .. } => false,
    }
}
