//! Text between this database's encoding and Rust's: text that only passes through is never
//! converted, so that no name or query, however encoded, can fail a report.

use pgrx::pg_sys;
use pgrx::prelude::*;

/// Text as the server holds it, in the encoding of this database.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Raw(pub(crate) Vec<u8>);

impl Raw {
    /// As UTF-8, with a mark where that is impossible.
    pub(crate) fn show(&self) -> String {
        if self.0.is_ascii() || !converts() {
            return String::from_utf8_lossy(&self.0).into_owned();
        }
        let Ok(length) = i32::try_from(self.0.len()) else { return String::new() };
        // SAFETY: text of the database's own encoding; the result is a C string in the current
        // memory context, copied at once.
        unsafe {
            let utf8 = pg_sys::pg_do_encoding_conversion(
                self.0.as_ptr().cast_mut(),
                length,
                pg_sys::GetDatabaseEncoding(),
                pg_sys::pg_enc::PG_UTF8 as i32,
            );
            // Text that needs no conversion comes back as it was, without a closing zero.
            if std::ptr::eq(utf8, self.0.as_ptr()) {
                return String::from_utf8_lossy(&self.0).into_owned();
            }
            std::ffi::CStr::from_ptr(utf8.cast()).to_string_lossy().into_owned()
        }
    }
}

/// Text that Rust made, of which every character came from this database or is ASCII.
impl From<&str> for Raw {
    fn from(text: &str) -> Self {
        if text.is_ascii() || !converts() {
            return Self(text.as_bytes().to_vec());
        }
        let Ok(length) = i32::try_from(text.len()) else { return Self(Vec::new()) };
        // SAFETY: valid UTF-8 of the length given; the result is a C string in the current memory
        // context, copied at once; what cannot be converted raises an error.
        unsafe {
            let raw = pg_sys::pg_do_encoding_conversion(
                text.as_ptr().cast_mut(),
                length,
                pg_sys::pg_enc::PG_UTF8 as i32,
                pg_sys::GetDatabaseEncoding(),
            );
            if std::ptr::eq(raw, text.as_ptr()) {
                return Self(text.as_bytes().to_vec());
            }
            Self(std::ffi::CStr::from_ptr(raw.cast()).to_bytes().to_vec())
        }
    }
}

/// Whether this database's encoding is one that differs from UTF-8 and is known.
fn converts() -> bool {
    // SAFETY: a constant of the session.
    let encoding = unsafe { pg_sys::GetDatabaseEncoding() };
    encoding != pg_sys::pg_enc::PG_UTF8 as i32 && encoding != pg_sys::pg_enc::PG_SQL_ASCII as i32
}

impl FromDatum for Raw {
    unsafe fn from_polymorphic_datum(
        datum: pg_sys::Datum,
        is_null: bool,
        oid: pg_sys::Oid,
    ) -> Option<Self> {
        // SAFETY: text and bytea have the same representation.
        unsafe { Vec::<u8>::from_polymorphic_datum(datum, is_null, oid) }.map(Self)
    }
}

impl IntoDatum for Raw {
    fn into_datum(self) -> Option<pg_sys::Datum> {
        self.0.into_datum()
    }

    fn type_oid() -> pg_sys::Oid {
        pg_sys::TEXTOID
    }
}
