//! pg_stat_io, which servers from version 16 on have. It must never guess a version: what the
//! function returns decides.

use perfmon_core::family::IO;
use perfmon_core::frame::{Key, Reading};
use pgrx::pg_sys;

use super::{
    Columns, ProbeError, Probed, count, label, reading, scaled, statistics_epoch, times_io,
};
use crate::pg::fmgr::{self, ResultSet, Row};
use crate::pg::{clock, compat};

/// Columns of the family, the function's names for them, and whether they are times.
#[rustfmt::skip]
static COUNTERS: &[(&str, &str, bool)] = &[
    ("reads", "reads", false),
    ("read_us", "read_time", true),
    ("writes", "writes", false),
    ("write_us", "write_time", true),
    ("writebacks", "writebacks", false),
    ("writeback_us", "writeback_time", true),
    ("extends", "extends", false),
    ("extend_us", "extend_time", true),
    ("hits", "hits", false),
    ("evictions", "evictions", false),
    ("reuses", "reuses", false),
    ("fsyncs", "fsyncs", false),
    ("fsync_us", "fsync_time", true),
];

/// Columns of bytes, the function's names for them (18), and what they count in units of `op_bytes`
/// (16 and 17).
#[rustfmt::skip]
static BYTES: &[(&str, &str, &str)] = &[
    ("read_bytes", "read_bytes", "reads"),
    ("write_bytes", "write_bytes", "writes"),
    ("extend_bytes", "extend_bytes", "extends"),
];

/// Reads pg_stat_io; `None` on a server that has none.
pub(crate) fn io() -> Result<Option<Probed>, ProbeError> {
    let Some(function) = fmgr::builtin_function(c"pg_stat_get_io", 0) else {
        return Ok(None);
    };
    let at = clock::wall_us();
    // Before the counters: a reset in between is noticed by the next visit then.
    let reset = compat::io_reset();
    // SAFETY: the function of that name takes no argument.
    let mut set = unsafe { ResultSet::call(function, &[]) }
        .ok_or_else(|| ProbeError::unexpected("pg_stat_get_io returned no set"))?;
    let plan = Plan::of(&set)?;
    let mut names: Vec<[String; 3]> = Vec::new();
    let mut values: Vec<Vec<u64>> = vec![Vec::new(); plan.columns.len()];
    while let Some(row) = set.next_row() {
        let Some(name) = plan.name(&row) else {
            continue;
        };
        names.push(name);
        for (values, (_, from)) in values.iter_mut().zip(&plan.columns) {
            values.push(from.value(&row));
        }
    }
    let mut columns = Columns::new(&IO);
    // Times of WAL have a switch of their own.
    let timed = times_io() || fmgr::is_on(c"track_wal_io_timing");
    for (values, (name, from)) in values.into_iter().zip(&plan.columns) {
        columns.put_timing(name, values, timed || !matches!(from, From::Time(_)));
    }
    let labels: Vec<u64> =
        names.iter().map(|parts| label(parts.iter().map(String::as_str))).collect();
    let keys = labels.iter().map(|&hash| Key(hash, 0)).collect();
    let reading = Reading {
        labels,
        columns: columns.values,
        marks: vec![vec![reset; names.len()]],
        ..reading(&IO, statistics_epoch(), at, keys)
    };
    Ok(Some(Probed { reading, name: Box::new(move |i| names[i].clone()) }))
}

/// Where a value of ours comes from. NULL says that such a thing cannot happen in that row: zero.
enum From {
    Count(usize),
    Time(usize),
    Numeric(usize),
    /// A count times a size.
    Product(usize, usize),
}

impl From {
    fn value(&self, row: &Row<'_>) -> u64 {
        let integer = |at: usize| count(row.int8(at).unwrap_or(0));
        match *self {
            Self::Count(at) => integer(at),
            Self::Time(at) => scaled(row.float8(at).unwrap_or(0.0), 1e3),
            Self::Numeric(at) => {
                // SAFETY: made only for columns of that type.
                let payload = unsafe { row.bytes(at) };
                payload.and_then(fmgr::numeric_to_u64).unwrap_or(0)
            }
            Self::Product(at, size) => integer(at).saturating_mul(integer(size)),
        }
    }
}

/// How this server's columns become ours.
struct Plan {
    names: [usize; 3],
    columns: Vec<(&'static str, From)>,
}

impl Plan {
    fn of(set: &ResultSet) -> Result<Self, ProbeError> {
        let typed = |name: &str, type_oid: pg_sys::Oid| {
            set.position(name).filter(|&at| set.attributes()[at].type_oid == type_oid)
        };
        let text = |name: &str| {
            typed(name, pg_sys::TEXTOID).ok_or_else(|| {
                ProbeError::unexpected(format!("pg_stat_get_io has no column {name}"))
            })
        };
        let mut columns = Vec::new();
        for &(ours, theirs, time) in COUNTERS {
            let from = if time {
                typed(theirs, pg_sys::FLOAT8OID).map(From::Time)
            } else {
                typed(theirs, pg_sys::INT8OID).map(From::Count)
            };
            columns.extend(from.map(|from| (ours, from)));
        }
        for &(ours, theirs, counted) in BYTES {
            let product = || {
                let size = typed("op_bytes", pg_sys::INT8OID)?;
                Some(From::Product(typed(counted, pg_sys::INT8OID)?, size))
            };
            let from = typed(theirs, pg_sys::NUMERICOID).map(From::Numeric).or_else(product);
            columns.extend(from.map(|from| (ours, from)));
        }
        Ok(Self { names: [text("backend_type")?, text("object")?, text("context")?], columns })
    }

    fn name(&self, row: &Row<'_>) -> Option<[String; 3]> {
        // SAFETY: the plan takes these columns only if they are of type text.
        let text = |at| unsafe { row.bytes(at) }.map(fmgr::utf8);
        Some([text(self.names[0])?, text(self.names[1])?, text(self.names[2])?])
    }
}
