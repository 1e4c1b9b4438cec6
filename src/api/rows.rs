//! Rows on their way to SQL: cells by the declared column types, into the server's tuple store, so
//! that a long result does not have to fit into memory. It must never compute a value.

use pgrx::JsonB;
use pgrx::pg_sys;
use pgrx::prelude::*;

use crate::error::Error;
pub(crate) use crate::recall::cell::{Cell, to_server, to_unix};
use crate::worker;

/// The result of a set-returning function, filled row by row.
pub(crate) struct Sink {
    store: *mut pg_sys::Tuplestorestate,
    shape: pg_sys::TupleDesc,
    types: Vec<pg_sys::Oid>,
    values: Vec<pg_sys::Datum>,
    nulls: Vec<bool>,
}

impl Sink {
    /// Prepares the result of the call in progress.
    pub(crate) fn open(fcinfo: pg_sys::FunctionCallInfo) -> Self {
        worker::ask::keep_extension().unwrap_or_else(|error| error.raise());
        // SAFETY: fcinfo is that of the running call, to a function declared as RETURNS TABLE; the
        // server checks that the caller can take a materialized set, and raises an error if not.
        unsafe {
            pg_sys::InitMaterializedSRF(fcinfo, 0);
            let result = (*fcinfo).resultinfo.cast::<pg_sys::ReturnSetInfo>();
            let shape = (*result).setDesc;
            let width = usize::try_from((*shape).natts).unwrap_or(0);
            let types = (0..width).map(|i| attribute_type(shape, i)).collect();
            Self {
                store: (*result).setResult,
                shape,
                types,
                values: vec![pg_sys::Datum::from(0); width],
                nulls: vec![true; width],
            }
        }
    }

    /// Adds one row.
    pub(crate) fn put<const N: usize>(&mut self, row: [Cell; N]) -> Result<(), Error> {
        self.put_all(row)
    }

    /// Adds one row of a width known at run time only.
    pub(crate) fn put_all(&mut self, row: impl IntoIterator<Item = Cell>) -> Result<(), Error> {
        pgrx::check_for_interrupts!();
        let mut width = 0;
        for cell in row {
            let Some(kind) = self.types.get(width).copied() else {
                return Err(other_version());
            };
            let datum = datum_of(cell, kind)?;
            self.nulls[width] = datum.is_none();
            self.values[width] = datum.unwrap_or(pg_sys::Datum::from(0));
            width += 1;
        }
        if width != self.types.len() {
            return Err(other_version());
        }
        // SAFETY: store and shape are those that the server prepared for this call; both vectors have
        // the shape's width, and the values are of its types. The tuple is copied into the store.
        unsafe {
            pg_sys::tuplestore_putvalues(
                self.store,
                self.shape,
                self.values.as_mut_ptr(),
                self.nulls.as_mut_ptr(),
            );
        }
        for (kind, datum) in self.types.iter().zip(&self.values) {
            if *kind == pg_sys::TEXTOID && datum.value() != 0 {
                // SAFETY: made by this function with palloc and copied above; nobody else has it.
                unsafe { pg_sys::pfree(datum.cast_mut_ptr()) };
            }
        }
        Ok(())
    }
}

/// The function was declared with other columns than this library fills.
fn other_version() -> Error {
    Error::prerequisite("the library and the SQL objects of pg_perfmon are of different versions")
        .detail("The function was declared with other columns than the library returns.")
        .hint("Run ALTER EXTENSION pg_perfmon UPDATE, or restart the server if the library is the older.")
}

/// Type of a column of the declared result.
///
/// # Safety
/// `shape` is a valid descriptor with more than `index` columns.
unsafe fn attribute_type(shape: pg_sys::TupleDesc, index: usize) -> pg_sys::Oid {
    #[cfg(any(feature = "pg15", feature = "pg16", feature = "pg17"))]
    // SAFETY: as the caller promises.
    unsafe {
        (*(*shape).attrs.as_ptr().add(index)).atttypid
    }
    #[cfg(feature = "pg18")]
    // SAFETY: as the caller promises; the server's own macro computes the same address.
    unsafe {
        (*pg_sys::TupleDescAttr(shape, i32::try_from(index).unwrap_or(0))).atttypid
    }
}

fn datum_of(cell: Cell, kind: pg_sys::Oid) -> Result<Option<pg_sys::Datum>, Error> {
    let datum = match (cell, kind) {
        (Cell::Null, _) => return Ok(None),
        (Cell::Int(v), pg_sys::INT4OID) => {
            i32::try_from(v).map_err(|_| Error::internal("a number is too large"))?.into_datum()
        }
        (Cell::Int(v), pg_sys::INT8OID) => v.into_datum(),
        #[allow(clippy::cast_precision_loss)]
        (Cell::Int(v), pg_sys::FLOAT8OID) => (v as f64).into_datum(),
        (Cell::Float(v), pg_sys::FLOAT8OID) => v.into_datum(),
        (Cell::Bool(v), pg_sys::BOOLOID) => v.into_datum(),
        (Cell::Text(v), pg_sys::TEXTOID) => v.into_datum(),
        (Cell::Text(v), pg_sys::JSONOID) => v.into_datum(),
        (Cell::Text(v), pg_sys::JSONBOID) => serde_json::from_slice(&v.0)
            .map(JsonB)
            .map_err(|e| Error::internal("a document is not valid JSON").detail(e.to_string()))?
            .into_datum(),
        (Cell::Time(v), pg_sys::TIMESTAMPTZOID) => to_server(v).into_datum(),
        (cell, kind) => {
            let what = format!("{cell:?} does not fit a column of type {}", kind.to_u32());
            return Err(other_version().detail(what));
        }
    };
    Ok(datum)
}
