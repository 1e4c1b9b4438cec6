//! One value of a result, and the two ways in which time is counted.

use pgrx::pg_sys;

use super::words::Raw;

/// Microseconds from the Unix epoch to that of PostgreSQL.
const EPOCH_US: i64 = 946_684_800_000_000;

/// Unix time in microseconds as a server timestamp.
pub(crate) fn to_server(unix_us: i64) -> pg_sys::TimestampTz {
    unix_us.saturating_sub(EPOCH_US)
}

/// Server timestamp as Unix time in microseconds.
pub(crate) fn to_unix(stamp: pg_sys::TimestampTz) -> i64 {
    stamp.saturating_add(EPOCH_US)
}

/// One value of a result.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Cell {
    Null,
    Int(i64),
    Float(f64),
    Bool(bool),
    Text(Raw),
    /// Microseconds since the Unix epoch.
    Time(i64),
}

macro_rules! cells {
    ($($from:ty => $make:expr),* $(,)?) => {
        $(impl From<$from> for Cell {
            fn from(value: $from) -> Self {
                $make(value)
            }
        })*
    };
}

cells! {
    i32 => |v| Cell::Int(i64::from(v)),
    u32 => |v| Cell::Int(i64::from(v)),
    i64 => Cell::Int,
    u64 => |v| Cell::Int(i64::try_from(v).unwrap_or(i64::MAX)),
    f64 => |v: f64| if v.is_finite() { Cell::Float(v) } else { Cell::Null },
    bool => Cell::Bool,
    Raw => Cell::Text,
    &str => |v: &str| Cell::Text(Raw::from(v)),
}

impl<T: Into<Cell>> From<Option<T>> for Cell {
    fn from(value: Option<T>) -> Self {
        value.map_or(Cell::Null, Into::into)
    }
}
