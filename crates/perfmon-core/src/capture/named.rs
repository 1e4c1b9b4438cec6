//! How much of what clients executed the server's own statistics of statements tell: they count by id, and nothing of a session
//! without ids (`compute_query_id` off).

use super::route::{self, Counted, Moved, Slot, Work};
use super::table::{Payload, Table};
use crate::objective::KNOWN;

/// Why the work of a database is not known, as it is noted.
pub const NO_PLACE: &str = "this database found no place in memory for its routes, of which pg_perfmon.max_routes says how many there are";

/// What an interval's row of statements tells of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Named {
    /// All, as far as it is known.
    All,
    /// A part.
    Part,
    /// Nothing, though something was executed.
    Nothing,
}

/// How many executions the hooks know of, without what only begins or ends transactions or sets something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Executed {
    /// Timed one by one, which only those with ids are.
    pub timed: u64,
    /// With ids, but with the hooks off.
    pub untimed: u64,
    /// Of these, those that the server is meant to count.
    pub expected: u64,
    /// Without ids.
    pub nameless: u64,
}

impl Executed {
    /// What routes did. `is_meant` is asked whether the server is meant to count what a user executes with the hooks off; 0 is
    /// nobody in particular.
    pub fn of(moved: &Moved, is_meant: impl FnMut(u32) -> bool) -> Self {
        let untimed = route::untimed(moved, |_| true);
        Self {
            timed: route::executions(moved),
            untimed,
            expected: if untimed > 0 { route::untimed(moved, is_meant) } else { 0 },
            nameless: route::nameless(moved),
        }
    }
}

/// Statements executed with ids, but with the hooks off, of a database since the server started: without the rest, this is
/// quick to read.
pub fn untimed_now(table: &Table<'_, Work>, database: u32) -> u64 {
    let ours = table.all().filter(|found| match found.born {
        root if root < Work::ROOTS => root == Work::root(0),
        _ => found.key.database() == database,
    });
    ours.map(|found| found.payload.untimed()).sum()
}

/// The same of a reading.
pub fn untimed_then(counted: &[Counted]) -> u64 {
    let of = |one: &Counted, meant: Slot| {
        one.counts.iter().find(|(slot, _)| *slot == meant).map_or(0, |(_, n)| *n)
    };
    let untimed = |one: &Counted| of(one, Slot::Uncounted).saturating_sub(of(one, Slot::Nameless));
    counted.iter().map(|one| u64::from(untimed(one))).sum()
}

impl Named {
    /// Of `counted` executions that the server told by their ids, with what begins and ends transactions, and what the hooks
    /// know. Both are read one after the other, and without the hooks' own number the server is believed.
    pub fn of(counted: u64, executed: Executed) -> Self {
        let Executed { timed, untimed, expected, nameless } = executed;
        let named = timed.saturating_add(untimed);
        match counted {
            _ if expected == 0 && nameless == 0 => Self::All,
            0 => Self::Nothing,
            _ if !is_most(named, named.saturating_add(nameless)) => Self::Part,
            _ if !is_most(counted, timed.saturating_add(expected)) => Self::Part,
            _ => Self::All,
        }
    }
}

#[allow(clippy::cast_precision_loss)]
fn is_most(part: u64, all: u64) -> bool {
    part as f64 >= KNOWN * all as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_id_is_missed_by_the_server_alone() {
        let off = |timed: u64, untimed: u64| Executed {
            timed,
            untimed,
            expected: untimed,
            ..Executed::default()
        };
        let nameless =
            |timed: u64, nameless: u64| Executed { timed, nameless, ..Executed::default() };
        assert_eq!(Named::of(0, off(0, 0)), Named::All);
        // Not tracked, but timed: readers see that.
        assert_eq!(Named::of(0, off(30, 0)), Named::All);
        for executed in [off(0, 1), nameless(0, 1)] {
            assert_eq!(Named::of(0, executed), Named::Nothing);
        }
        // With capture off the server counts all the same, and what begins and ends transactions besides.
        for (counted, uncounted) in [(500, 500), (1_500, 500), (420, 500)] {
            assert_eq!(Named::of(counted, off(10, uncounted)), Named::All);
        }
        assert_eq!(Named::of(100, off(100, 100)), Named::Part);
        assert_eq!(Named::of(u64::MAX, off(u64::MAX, u64::MAX)), Named::All);
        // Who is kept from all statistics is not missed there.
        let kept = Executed { timed: 100, untimed: 900, ..Executed::default() };
        assert_eq!(Named::of(100, kept), Named::All);
    }

    #[test]
    fn what_begins_and_ends_transactions_stands_for_nothing_without_an_id() {
        let executed = Executed { timed: 100, nameless: 100, ..Executed::default() };
        assert_eq!(Named::of(300, executed), Named::Part);
        assert_eq!(Named::of(300, Executed { nameless: 20, ..executed }), Named::All);
        // What sessions with the hooks off executed has ids.
        let beside = Executed { untimed: 400, ..executed };
        assert_eq!(Named::of(700, beside), Named::All);
    }
}
