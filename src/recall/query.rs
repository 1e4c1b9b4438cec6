//! Reads of plain rows, with the caller's own rights, value by value as they are. It must never write
//! nor take a transaction id.

use pgrx::datum::DatumWithOid;
use pgrx::pg_sys;
use pgrx::prelude::*;
use pgrx::spi::SpiHeapTupleDataEntry;

use super::cell::{Cell, to_server, to_unix};
use super::words::Raw;
use crate::error::Error;

/// A parameter of a query.
pub(crate) type Arg<'a> = DatumWithOid<'a>;

/// A `timestamptz` from microseconds since the Unix epoch.
pub(crate) fn time<'a>(unix_us: i64) -> Arg<'a> {
    // SAFETY: a timestamptz is a 64-bit integer passed by value.
    unsafe { DatumWithOid::new(to_server(unix_us), pg_sys::TIMESTAMPTZOID) }
}

/// All rows of a query. Columns are int2, int4, int8, float8, bool, text or timestamptz.
pub(crate) fn rows(query: &str, arguments: &[Arg<'_>]) -> Result<Vec<Vec<Cell>>, Error> {
    Spi::connect(|client| {
        let mut all = Vec::new();
        for row in client.select(query, None, arguments)? {
            let width = row.columns();
            let cells = (1..=width).map(|i| cell(row.get_datum_by_ordinal(i)?));
            all.push(cells.collect::<Result<Vec<Cell>, Error>>()?);
        }
        Ok(all)
    })
}

/// The only row of a query, if there is one.
pub(crate) fn row(query: &str, arguments: &[Arg<'_>]) -> Result<Option<Vec<Cell>>, Error> {
    Ok(rows(query, arguments)?.into_iter().next())
}

/// The only value of a query; NULL when there is none.
pub(crate) fn value(query: &str, arguments: &[Arg<'_>]) -> Result<Cell, Error> {
    let first = row(query, arguments)?.and_then(|row| row.into_iter().next());
    Ok(first.unwrap_or(Cell::Null))
}

fn cell(entry: &SpiHeapTupleDataEntry<'_>) -> Result<Cell, Error> {
    Ok(match entry.oid() {
        pg_sys::INT2OID => entry.value::<i16>()?.map(i32::from).into(),
        pg_sys::INT4OID => entry.value::<i32>()?.into(),
        pg_sys::INT8OID => entry.value::<i64>()?.into(),
        pg_sys::FLOAT8OID => entry.value::<f64>()?.into(),
        pg_sys::BOOLOID => entry.value::<bool>()?.into(),
        pg_sys::TEXTOID => entry.value::<Raw>()?.into(),
        pg_sys::TIMESTAMPTZOID => entry
            .value::<TimestampWithTimeZone>()?
            .map_or(Cell::Null, |t| Cell::Time(to_unix(t.into_inner()))),
        other => return Err(Error::internal(format!("unexpected type {}", other.to_u32()))),
    })
}

impl Cell {
    /// As a whole number.
    pub(crate) fn int(&self) -> Option<i64> {
        match self {
            Self::Int(v) | Self::Time(v) => Some(*v),
            _ => None,
        }
    }

    /// As a number.
    #[allow(clippy::cast_precision_loss)]
    pub(crate) fn float(&self) -> Option<f64> {
        match self {
            Self::Int(v) => Some(*v as f64),
            Self::Float(v) => Some(*v),
            _ => None,
        }
    }

    /// As text, to be shown.
    pub(crate) fn text(&self) -> Option<String> {
        match self {
            Self::Text(raw) => Some(raw.show()),
            _ => None,
        }
    }
}
