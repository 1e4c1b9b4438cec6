//! What is counted: the families of counters and their columns.
//!
//! A family is one subject of observation (statements, tables, …). Each is stored in three tables
//! (`<name>_minute`, `<name>_hour`, `<name>_day`), one row per interval, one packed column per
//! counter, so the order and the names here are those of `sql/schema/20_history.sql`, checked by a test.
//! A released family never loses or reorders a column; later counters go into the column `more`.

mod captured;
mod counted;
mod sampled;

pub use captured::*;
pub use counted::*;
pub use sampled::*;

/// How the values of several intervals become the value of a longer one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Merge {
    /// A counter: what happened adds up.
    Sum,
    /// A gauge: the last known value stands.
    Last,
    /// The worst stands.
    Max,
}

/// In place of the state of one object that nobody knows, in a row in which those of others are known.
pub const UNKNOWN: u64 = u64::MAX;

impl Merge {
    /// Puts a later value to what there is.
    pub fn add(self, into: &mut u64, value: u64) {
        *into = match self {
            Self::Sum => into.saturating_add(value),
            Self::Last if value == UNKNOWN => *into,
            Self::Last => value,
            Self::Max => value.max(*into),
        };
    }

    /// What there is where nobody said anything.
    pub fn nothing(self) -> u64 {
        if self == Self::Last { UNKNOWN } else { 0 }
    }
}

/// One packed column of a family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Column {
    /// Name of the column in the history tables.
    pub name: &'static str,
    /// How it rolls up.
    pub merge: Merge,
}

/// One subject of observation.
#[derive(Debug, PartialEq, Eq)]
pub struct Family {
    /// Stem of the history tables' names.
    pub name: &'static str,
    /// Packed columns, in order. The first is always `quality`.
    pub columns: &'static [Column],
    /// Plain `bigint` columns holding sums over the whole row, so that load panels decode nothing.
    pub totals: &'static [&'static str],
    /// Columns of bytes in a form of their own, stored behind the packed ones.
    pub raw: &'static [&'static str],
}

impl Family {
    /// The dictionary's id behind an id in a row.
    pub fn object_of(&self, id: u32) -> u32 {
        if self.has_places() { id >> 8 } else { id }
    }

    /// Whether an id is that of an object times 256, plus the place of a histogram.
    pub fn has_places(&self) -> bool {
        [&ROUTE, &POOL].iter().any(|other| other.name == self.name)
    }

    /// Whether the prior counters refer to dictionary ids.
    pub fn prior_holds_ids(&self) -> bool {
        let without =
            [&ROUTE, &FAILURE, &SCAN, &CLUSTER, &HOST, &DISK, &POOLER, &SESSION, &WAIT, &POOL];
        !without.iter().any(|other| other.name == self.name)
    }

    /// Position of a column by its name.
    pub fn position(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|c| c.name == name)
    }

    /// Name of a stored column: the packed ones, then those of a form of their own.
    pub fn stored(&self, column: usize) -> Option<&'static str> {
        let raw = || self.raw.get(column.checked_sub(self.columns.len())?).copied();
        self.columns.get(column).map(|c| c.name).or_else(raw)
    }
}

const fn sum(name: &'static str) -> Column {
    Column { name, merge: Merge::Sum }
}

const fn gauge(name: &'static str) -> Column {
    Column { name, merge: Merge::Last }
}

const fn peak(name: &'static str) -> Column {
    Column { name, merge: Merge::Max }
}

/// Quality of each object's difference: 0 exact, 1 lower bound, 2 doubtful.
const QUALITY: Column = Column { name: "quality", merge: Merge::Max };

/// All families, in the order in which a snapshot writes them.
pub static FAMILIES: [&Family; 17] = [
    &STATEMENT, &LATENCY, &RELATION, &INDEX, &DATABASE, &IO, &FAILURE, &ROUTE, &SCAN, &CLUSTER,
    &HOST, &DISK, &POOLER, &SESSION, &WAIT, &POOL, &SERVER,
];
