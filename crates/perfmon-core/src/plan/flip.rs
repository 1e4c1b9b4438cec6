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

/// The plan that a statement is known to have, and the one that it took the place of, if it did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// The plan.
    pub plan: i64,
    /// See above.
    pub replaced: Option<i64>,
}

/// The flip away from the plan that a statement is known to have, if there was one. Of several plans that came
/// after it, the one seen last counts.
///
/// A plan that was replaced for less than makes a new stretch comes back unseen. So it is back once the other one was not
/// seen for so long, from when that was seen last.
pub fn flip(current: Standing, stretches: &[Stretch]) -> Option<Flip> {
    let of = |plan: i64| stretches.iter().find(|stretch| stretch.plan == plan);
    let last_before = of(current.plan)?.until;
    let flip = |after: i64, at: i64| Flip { before: current.plan, last_before, after, at };
    let later = stretches.iter().filter(|s| s.plan != current.plan && s.since > last_before);
    if let Some(next) = later.max_by_key(|stretch| (stretch.until, stretch.plan)) {
        return Some(flip(next.plan, next.since));
    }
    let old = current.replaced.and_then(of).filter(|old| old.plan != current.plan)?;
    let back = old.until.saturating_sub(last_before) > APART_US;
    back.then(|| flip(old.plan, last_before + 1))
}

/// The flip that counts: plans that say nothing of the one before are left out, as if nobody had seen them.
pub fn counting(
    current: Standing,
    mut stretches: Vec<Stretch>,
    mut says_nothing: impl FnMut(&Flip) -> bool,
) -> Option<Flip> {
    loop {
        let found = flip(current, &stretches)?;
        if !says_nothing(&found) {
            return Some(found);
        }
        stretches.retain(|stretch| stretch.plan != found.after);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: i64 = 60_000_000;

    fn seen(plan: i64, since: i64, until: i64) -> Stretch {
        Stretch { plan, since: since * MINUTE, until: until * MINUTE }
    }

    fn flip(current: i64, stretches: &[Stretch]) -> Option<Flip> {
        super::flip(Standing { plan: current, replaced: None }, stretches)
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
    fn one_that_comes_back_soon_is_one_when_the_other_stays_away() {
        let back = |last: i64, replaced| {
            super::flip(
                Standing { plan: 2, replaced },
                &[seen(1, 0, last), seen(2, 11, 14), seen(3, 0, last)],
            )
        };
        assert_eq!(back(24, Some(1)), None, "they may take turns");
        let expected = Flip { before: 2, last_before: 14 * MINUTE, after: 1, at: 14 * MINUTE + 1 };
        assert_eq!(back(25, Some(1)), Some(expected));
        assert_eq!(back(25, None), None, "plans side by side, of which one became rare");
        assert_eq!(back(25, Some(4)), None, "it is forgotten");
        assert_eq!(back(25, Some(2)), None);
    }

    #[test]
    fn plans_that_say_nothing_are_passed_over() {
        let plans = vec![seen(1, 0, 10), seen(2, 11, 12), seen(3, 13, 14)];
        let count = |silent: &[i64]| {
            let current = Standing { plan: 1, replaced: None };
            counting(current, plans.clone(), |flip| silent.contains(&flip.after))
                .map(|flip| flip.after)
        };
        assert_eq!(count(&[]), Some(3));
        assert_eq!(count(&[3]), Some(2));
        assert_eq!(count(&[2]), Some(3));
        assert_eq!(count(&[2, 3]), None);
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
