//! When one plan of a statement took the place of another.
//!
//! A statement may have several plans at the same time, for different values of its parameters or in different
//! sessions: that is no flip. One plan flips to another when the second begins to be seen after the first was seen
//! last.

/// Sightings of a plan that are further apart than this (microseconds) are two stretches: quick statements are
/// looked at once a minute, and some of these looks may be missed.
pub const APART_US: i64 = 10 * 60 * 1_000_000;

/// A time in which a plan was seen again and again, microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stretch {
    /// The plan.
    pub plan: i64,
    /// When it was seen first in this stretch.
    pub since: i64,
    /// When it was seen last.
    pub until: i64,
}

impl Stretch {
    /// The stretch after a later one was read, of which the beginning may be lost, as with a restart.
    #[must_use]
    pub fn then(self, later: Self) -> Self {
        let continues = later.since.saturating_sub(self.until) <= APART_US;
        let since = if continues { self.since.min(later.since) } else { later.since };
        Self { plan: self.plan, since, until: self.until.max(later.until) }
    }
}

/// A plan that took the place of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flip {
    /// The plan before, and when it was seen last.
    pub before: i64,
    /// See above.
    pub last_before: i64,
    /// The plan after.
    pub after: i64,
    /// When it was seen first.
    pub at: i64,
}

/// The flip away from the plan that a statement is known to have, if there was one. Of several plans that came
/// after it, the one seen last counts.
pub fn flip(current: i64, stretches: &[Stretch]) -> Option<Flip> {
    let last_before = stretches.iter().find(|stretch| stretch.plan == current)?.until;
    let later = stretches.iter().filter(|s| s.plan != current && s.since > last_before);
    let next = later.max_by_key(|stretch| (stretch.until, stretch.plan))?;
    Some(Flip { before: current, last_before, after: next.plan, at: next.since })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: i64 = 60_000_000;

    fn seen(plan: i64, since: i64, until: i64) -> Stretch {
        Stretch { plan, since: since * MINUTE, until: until * MINUTE }
    }

    #[test]
    fn a_plan_that_follows_another_is_a_flip() {
        let flip = flip(1, &[seen(1, 0, 10), seen(2, 11, 15)]);
        let expected = Flip { before: 1, last_before: 10 * MINUTE, after: 2, at: 11 * MINUTE };
        assert_eq!(flip, Some(expected));
    }

    #[test]
    fn plans_at_the_same_time_are_none() {
        assert_eq!(flip(1, &[seen(1, 0, 12), seen(2, 11, 15)]), None);
        assert_eq!(flip(1, &[seen(1, 0, 12)]), None);
        assert_eq!(flip(1, &[]), None);
        // The one that took over once and the one before it now take turns.
        assert_eq!(flip(2, &[seen(1, 0, 17), seen(2, 11, 16)]), None);
    }

    #[test]
    fn one_that_comes_back_after_a_while_is_one() {
        let early = seen(1, 0, 10);
        let late = early.then(seen(1, 60, 61));
        assert_eq!(late, seen(1, 60, 61));
        assert_eq!(flip(2, &[late, seen(2, 11, 59)]).map(|flip| flip.after), Some(1));
    }

    #[test]
    fn a_stretch_goes_on_over_a_restart() {
        assert_eq!(seen(1, 0, 10).then(seen(1, 14, 20)), seen(1, 0, 20));
        assert_eq!(seen(1, 0, 10).then(seen(1, 5, 8)), seen(1, 0, 10));
        assert_eq!(flip(2, &[seen(1, 0, 10).then(seen(1, 14, 20)), seen(2, 9, 13)]), None);
    }

    #[test]
    fn of_several_the_last_counts() {
        let plans = [seen(1, 0, 10), seen(2, 11, 12), seen(3, 13, 14)];
        assert_eq!(flip(1, &plans).map(|flip| flip.after), Some(3));
    }
}
