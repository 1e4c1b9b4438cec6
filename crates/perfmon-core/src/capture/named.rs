//! How much of what clients executed the server's own statistics of statements tell: they count by id, and nothing of a session
//! without ids (`compute_query_id` off).

use crate::objective::KNOWN;

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

impl Named {
    /// Of `counted` executions that the server told by their ids, `timed` that the hooks did, and `uncounted`, of which they know
    /// but the number. Both are read one after the other, and without the hooks' own number the server is believed.
    #[allow(clippy::cast_precision_loss)]
    pub fn of(counted: u64, timed: u64, uncounted: u64) -> Self {
        let all = timed.saturating_add(uncounted);
        match counted {
            _ if uncounted == 0 => Self::All,
            0 => Self::Nothing,
            _ if (counted as f64) < KNOWN * all as f64 => Self::Part,
            _ => Self::All,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_id_is_missed_by_the_server_alone() {
        assert_eq!(Named::of(0, 0, 0), Named::All);
        // Not tracked, but timed: readers see that.
        assert_eq!(Named::of(0, 30, 0), Named::All);
        assert_eq!(Named::of(0, 0, 1), Named::Nothing);
        // With capture off the server counts all the same, and what begins and ends transactions besides.
        for (counted, uncounted) in [(500, 500), (1_500, 500), (420, 500)] {
            assert_eq!(Named::of(counted, 10, uncounted), Named::All);
        }
        assert_eq!(Named::of(100, 100, 100), Named::Part);
        assert_eq!(Named::of(u64::MAX, u64::MAX, u64::MAX), Named::All);
    }
}
