//! The shapes in which data passes between the rooms: a reading comes in from a probe, the difference
//! of two readings becomes a frame, and frames are what the store keeps.

use crate::family::Family;
use crate::pack::is_zero;
use std::collections::HashMap;

/// How far a difference can be trusted (anchors: monitoring, section 5).
#[derive(
    Debug,
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    serde::Serialize,
    serde::Deserialize,
)]
#[repr(u8)]
pub enum Quality {
    /// All that happened in the interval is counted.
    #[default]
    Exact = 0,
    /// At least this much happened; something may be missing.
    LowerBound = 1,
    /// A safe lower bound, but the object may have been evicted and reborn in between.
    Doubtful = 2,
}

/// What identifies an object among the counters of one server: (queryid, userid * 2 + toplevel) for
/// statements, (oid, 0) for relations, indexes and databases, a packed triple for pg_stat_io.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(pub u64, pub u64);

/// Which life of the counters a reading belongs to. Readings of different epochs are never subtracted.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Epoch {
    /// Everything whose change makes old values unusable, parted by slashes: system identifier, timeline,
    /// and where it matters reset time and version of the extension that counts.
    pub identity: String,
    /// When these counters began at zero, in microseconds since the Unix epoch, if the server says so.
    pub began: Option<i64>,
}

impl Epoch {
    /// Where all objects are read, and not only the own one, the identity ends so.
    pub const ALL: &str = "/all";

    /// Whether all objects are read.
    pub fn is_of_all(&self) -> bool {
        self.identity.ends_with(Self::ALL)
    }

    /// Whether values of the two may be subtracted where both have them: which objects are read may differ.
    pub fn continues(&self, earlier: &Self) -> bool {
        self.life() == earlier.life()
    }

    fn life(&self) -> &str {
        self.identity.strip_suffix(Self::ALL).unwrap_or(&self.identity)
    }

    /// The timeline: identities begin with `system/timeline`.
    pub fn timeline(&self) -> Option<&str> {
        self.identity.split('/').nth(1)?.split(' ').next()
    }
}

/// Absolute counters as a probe read them, as a structure of arrays in the order of `family.columns`
/// (the column `quality` is present but empty: a reading has none).
#[derive(Debug, Clone)]
pub struct Reading {
    /// What was read.
    pub family: &'static Family,
    /// The life of the counters at this moment.
    pub epoch: Epoch,
    /// Wall clock just before the read, microseconds since the Unix epoch.
    pub at: i64,
    /// One for each object, in any order.
    pub keys: Vec<Key>,
    /// Hash of each object's name: identity is by name, so that a rename is a new object in the
    /// dictionary though its counters go on.
    pub labels: Vec<u64>,
    /// `columns[c][i]`; an unknown column is an empty vector.
    pub columns: Vec<Vec<u64>>,
    /// Birth of each entry (pg_stat_statements 1.11 and later), microseconds since the Unix epoch.
    pub born: Option<Vec<i64>>,
    /// The server kept some objects back, as the role lacks a privilege.
    pub hides: bool,
    /// Values that can only fall during an entry's life (minimum times), in nanoseconds.
    pub floors: Vec<Vec<u64>>,
    /// Values that can only rise though they do not add up (maximum times), in nanoseconds.
    pub ceilings: Vec<Vec<u64>>,
    /// What stays as it is while counters go on, `marks[m][i]`: first when the server says that counters were reset last.
    /// None where it does not say it. Of relations, second how many indexes each has, and third what is another where its
    /// long values are kept elsewhere (0: nowhere). Of indexes, second a number of the table and the columns that it is of,
    /// and third 1 where queries do not use it, as it is being built or about to go.
    pub marks: Vec<Vec<u64>>,
    /// Of which relation each index is. None in other families.
    pub wholes: Vec<Key>,
    /// What the indexes of each relation did, where that is not the difference of their sums.
    pub parts: Option<HashMap<Key, Together>>,
    /// How often statements were executed since the prior by a count of our own, which nobody resets, in any order; none
    /// where that is not known. What it does not see is not in it; what ended just after the reading may be.
    pub executed: Vec<(Key, u64)>,
    /// How often entries were evicted so far, where entries can be.
    pub evictions: Option<u64>,
    /// Store every object, moved or not, because gauges were read anew.
    pub whole: bool,
}

impl Reading {
    /// Puts the objects in the order of their keys, once, for all who subtract, and says where each one was.
    pub fn put_in_order(&mut self) -> Vec<usize> {
        let order = order_of(&self.keys);
        if order.windows(2).all(|w| w[0] < w[1]) {
            return order;
        }
        let mut spare = Vec::with_capacity(order.len());
        let columns = self.columns.iter_mut().chain(&mut self.floors).chain(&mut self.ceilings);
        let columns = columns.chain(&mut self.marks);
        for column in columns.chain([&mut self.labels]) {
            // In most columns nothing is counted.
            if !is_zero(column) {
                spare.extend(order.iter().map(|&i| column[i]));
                std::mem::swap(column, &mut spare);
                spare.clear();
            }
        }
        if let Some(born) = &mut self.born {
            *born = order.iter().map(|&i| born[i]).collect();
        }
        if !self.wholes.is_empty() {
            self.wholes = order.iter().map(|&i| self.wholes[i]).collect();
        }
        self.keys = order.iter().map(|&i| self.keys[i]).collect();
        order
    }
}

/// Where the keys lie, in their order; of equal ones the first comes first.
pub(crate) fn order_of(keys: &[Key]) -> Vec<usize> {
    if keys.windows(2).all(|w| w[0] < w[1]) {
        return (0..keys.len()).collect();
    }
    let mut ranked: Vec<(Key, usize)> = keys.iter().copied().zip(0..).collect();
    ranked.sort_unstable();
    ranked.into_iter().map(|r| r.1).collect()
}

/// What the indexes of one relation did together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Together {
    /// How many were there before and are still there.
    pub stayed: u64,
    /// One took over the counters of another.
    pub copied: bool,
    /// What they did, in the order of their own family's columns.
    pub grown: Vec<u64>,
}

/// What one row of a history table holds: the objects that did something, and what they did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// What the columns are.
    pub family: &'static Family,
    /// Dictionary ids, strictly ascending.
    pub ids: Vec<u32>,
    /// `columns[c][i]`, in the order of `family.columns`; `None` where every value is zero or unknown.
    pub columns: Vec<Option<Vec<u64>>>,
    /// Bit c says that column c was measured: only then is `None` a zero.
    pub known: u64,
    /// In the order of `family.totals`; `None` is unknown.
    pub totals: Vec<Option<i64>>,
}

/// Flag of a row of what the hooks counted: they were off, but for sessions of those for whom they were on. Of the others the
/// number of executions is known, and what failed only as such; nothing of sessions that never began.
pub const SOME_ONLY: i16 = 8;

/// Flag of a row of what the hooks counted: errors were kept from them, but for those of some roles that have a setting of their own.
pub const SOME_HEARD: i16 = 16;

/// The time that a frame covers, and how well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// Start, microseconds since the Unix epoch.
    pub since: i64,
    /// End; the row's key.
    pub until: i64,
    /// True length by a monotonic clock where one was running throughout.
    pub length_us: i64,
    /// Of that length, the time at the start during which the database was known to be quiet.
    pub quiet_us: i64,
    /// Worst quality in the row, losses that touch no single object included.
    pub quality: Quality,
    /// Bits: 1 the length is wall time, 2 the clock had stepped back, 4 the snapshot was late, 8 ([`SOME_ONLY`]),
    /// 16 ([`SOME_HEARD`]).
    pub flags: i16,
}

/// Of an interval so long by a monotonic clock, the time at its start that was quiet until a time by the clock on the wall.
/// What is not known to be quiet is measured from the end, so that a clock which was set forward before counts as quiet only
/// what passed.
pub fn quiet_us(length_us: i64, until: i64, quiet_until: i64) -> i64 {
    let busy_us = until.saturating_sub(quiet_until).max(0);
    length_us.saturating_sub(busy_us).max(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_set_forward_makes_nothing_quiet() {
        let second = 1_000_000;
        assert_eq!(quiet_us(60 * second, 160 * second, 110 * second), 10 * second);
        assert_eq!(quiet_us(60 * second, 160 * second, 0), 0, "never known to be quiet");
        assert_eq!(quiet_us(60 * second, 160 * second, 90 * second), 0, "before it began");
        assert_eq!(quiet_us(60 * second, 160 * second, 170 * second), 60 * second);
        // Quiet for 20 s, then the clock is set an hour ahead, or before that.
        let until = 3_760 * second;
        assert_eq!(quiet_us(60 * second, until, 120 * second), 0);
        assert_eq!(quiet_us(60 * second, until, 3_720 * second), 20 * second);
    }

    #[test]
    fn a_timeline_is_told_from_what_follows_it() {
        let of = |identity: &str| {
            let epoch = Epoch { identity: identity.into(), began: None };
            epoch.timeline().map(str::to_owned)
        };
        assert_eq!(of("7123/1").as_deref(), Some("1"));
        assert_eq!(of("7123/1 reset=5 version=1.10"), of("7123/1 reset=6 version=1.10"));
        assert_ne!(of("7123/1 reset=5"), of("7123/2 reset=5"));
    }
}
