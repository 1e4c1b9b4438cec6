//! Reads of many rows through SPI, value by value as they lie in the row: no copy and no check of a type
//! is made twice. It must never run anything but a SELECT, nor take a transaction id.

use std::ffi::CStr;

use pgrx::datum::DatumWithOid;
use pgrx::pg_sys;
use pgrx::prelude::*;

use super::{compat, fmgr};

/// One row. Columns count from 0; a column that is NULL or of another type than asked for is `None`.
pub(crate) struct Row<'a> {
    values: &'a [pg_sys::Datum],
    nulls: &'a [bool],
    types: &'a [pg_sys::Oid],
}

impl Row<'_> {
    fn datum(&self, column: usize, wanted: pg_sys::Oid) -> Option<pg_sys::Datum> {
        debug_assert_eq!(self.types.get(column), Some(&wanted), "column {column}");
        let there = self.types.get(column) == Some(&wanted) && !*self.nulls.get(column)?;
        there.then(|| self.values.get(column).copied()).flatten()
    }

    /// A `smallint`.
    pub(crate) fn int2(&self, column: usize) -> Option<i16> {
        self.datum(column, pg_sys::INT2OID).map(|d| d.value() as i16)
    }

    /// An `integer`.
    pub(crate) fn int4(&self, column: usize) -> Option<i32> {
        self.datum(column, pg_sys::INT4OID).map(|d| d.value() as i32)
    }

    /// A `bigint`.
    pub(crate) fn int8(&self, column: usize) -> Option<i64> {
        self.datum(column, pg_sys::INT8OID).map(|d| d.value() as i64)
    }

    /// A `real`.
    pub(crate) fn float4(&self, column: usize) -> Option<f32> {
        self.datum(column, pg_sys::FLOAT4OID).map(|d| f32::from_bits(d.value() as u32))
    }

    /// A `double precision`.
    pub(crate) fn float8(&self, column: usize) -> Option<f64> {
        self.datum(column, pg_sys::FLOAT8OID).map(|d| f64::from_bits(d.value() as u64))
    }

    /// An `oid`.
    pub(crate) fn oid(&self, column: usize) -> Option<u32> {
        self.datum(column, pg_sys::OIDOID).map(|d| d.value() as u32)
    }

    /// A `boolean`; false where it is NULL.
    pub(crate) fn is(&self, column: usize) -> bool {
        self.datum(column, pg_sys::BOOLOID).is_some_and(|d| d.value() & 0xFF != 0)
    }

    /// A `"char"`.
    pub(crate) fn letter(&self, column: usize) -> Option<char> {
        self.datum(column, pg_sys::CHAROID).map(|d| char::from(d.value() as u8))
    }

    /// A `text` as UTF-8; what has no counterpart there becomes U+FFFD.
    pub(crate) fn text(&self, column: usize) -> Option<String> {
        let stored = self.datum(column, pg_sys::TEXTOID)?;
        // SAFETY: a text that is not null, alive as long as the row; a copy that had to be made is
        // freed with the connection to SPI.
        unsafe {
            let plain = pg_sys::pg_detoast_datum_packed(stored.cast_mut_ptr());
            Some(fmgr::utf8(pgrx::varlena::varlena_to_byte_slice(plain)))
        }
    }

    /// A `name`, likewise.
    pub(crate) fn name(&self, column: usize) -> Option<String> {
        let stored = self.datum(column, pg_sys::NAMEOID)?;
        // SAFETY: a name that is not null, which is NUL-terminated, alive as long as the row.
        Some(fmgr::utf8(unsafe { CStr::from_ptr(stored.cast_mut_ptr()) }.to_bytes()))
    }
}

/// Runs a SELECT and lends each of its rows.
pub(crate) fn each(
    query: &str,
    arguments: &[DatumWithOid<'_>],
    mut row: impl FnMut(&Row<'_>),
) -> spi::Result<()> {
    Spi::connect(|client| {
        let rows = client.select(query, None, arguments)?;
        let count = rows.len();
        // SAFETY: set by the statement just run; lives until this connection to SPI ends.
        let Some(table) = (unsafe { pg_sys::SPI_tuptable.as_ref() }) else {
            return Ok(());
        };
        // SAFETY: SPI keeps `count` tuples there, all of this descriptor.
        let (tuples, width) =
            unsafe { (std::slice::from_raw_parts(table.vals, count), (*table.tupdesc).natts) };
        let types: Vec<pg_sys::Oid> = (0..width)
            // SAFETY: the position is within the description.
            .map(|i| unsafe { (*compat::attribute(table.tupdesc, i)).atttypid })
            .collect();
        let mut values = vec![pg_sys::Datum::null(); types.len()];
        let mut nulls = vec![true; types.len()];
        for (number, tuple) in tuples.iter().enumerate() {
            if number % 1024 == 1023 {
                pgrx::check_for_interrupts!();
            }
            // SAFETY: both buffers hold one place for each column of the description.
            unsafe {
                pg_sys::heap_deform_tuple(
                    *tuple,
                    table.tupdesc,
                    values.as_mut_ptr(),
                    nulls.as_mut_ptr(),
                );
            }
            row(&Row { values: &values, nulls: &nulls, types: &types });
        }
        Ok(())
    })
}
