//! How often a look is taken that is worth its while only when something moved.
//!
//! A look waits for the counters to move, at least a minute, and long enough to take no more than a
//! thousandth of the time. Where the counters move for nothing, as temporary tables make them, it waits
//! longer and longer, up to four times that. Counters can be switched off, so one is taken now and then.

use serde::{Deserialize, Serialize};

/// Least time between two looks, less what a visit may be early.
const LEAST_US: i64 = 59_000_000;
/// Most time between them while something moves, and the share of time that they may take.
const MOST_US: i64 = 600_000_000;
const SHARE: i64 = 1000;
/// Without any movement, one look in this time.
const ANYWAY_US: i64 = 900_000_000;
/// How often the wait is doubled.
const DOUBLINGS: u32 = 2;

/// What is remembered of the last look.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Pace {
    /// When it was, microseconds since the Unix epoch; 0: never.
    at: i64,
    cost_us: i64,
    /// Where the counters stood before it.
    counters: i64,
    /// Looks in a row that found nothing though the counters had moved.
    in_vain: u32,
    /// Something was left for the next one.
    unfinished: bool,
}

impl Pace {
    /// Whether a look is due.
    pub fn is_due(&self, now: i64, counters: i64) -> bool {
        if self.at == 0 || now < self.at {
            return true;
        }
        let wait = self.cost_us.saturating_mul(SHARE).clamp(LEAST_US, MOST_US);
        let waited = now - self.at;
        if self.unfinished && waited >= wait {
            return true;
        }
        let moved = counters != self.counters && waited >= wait << self.in_vain.min(DOUBLINGS);
        moved || waited >= ANYWAY_US.max(wait)
    }

    /// When the last look was, microseconds since the Unix epoch; 0: never.
    pub fn last(&self) -> i64 {
        self.at
    }

    /// Notes a look: where the counters stood before it, what it cost, whether it found anything, and
    /// whether it left something for the next.
    pub fn looked(&mut self, now: i64, counters: i64, cost_us: i64, found: bool, unfinished: bool) {
        let vain = !found && !unfinished && self.at != 0 && counters != self.counters;
        let in_vain = if vain { self.in_vain.saturating_add(1) } else { 0 };
        *self = Self { at: now, cost_us, counters, in_vain, unfinished };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000;

    fn looked(cost_us: i64, found: bool, unfinished: bool) -> Pace {
        let mut pace = Pace::default();
        pace.looked(1_000 * SECOND, 7, cost_us, found, unfinished);
        pace
    }

    #[test]
    fn the_first_look_is_due_at_once() {
        assert!(Pace::default().is_due(5, 0));
    }

    #[test]
    fn movement_is_looked_into_after_a_minute_and_stillness_after_a_quarter_of_an_hour() {
        let pace = looked(1_000, true, false);
        assert!(!pace.is_due(1_058 * SECOND, 8));
        assert!(pace.is_due(1_059 * SECOND, 8));
        assert!(!pace.is_due(1_899 * SECOND, 7));
        assert!(pace.is_due(1_900 * SECOND, 7));
        assert!(pace.is_due(999 * SECOND, 7), "the clock stepped back");
        assert!(pace.is_due(1_059 * SECOND, 3), "counters that were reset have moved");
    }

    #[test]
    fn a_dear_look_is_taken_more_seldom() {
        let pace = looked(100_000, true, false);
        assert!(!pace.is_due(1_099 * SECOND, 8));
        assert!(pace.is_due(1_100 * SECOND, 8));
        let pace = looked(9_000_000, true, false);
        assert!(!pace.is_due(1_599 * SECOND, 8));
        assert!(pace.is_due(1_600 * SECOND, 8));
    }

    #[test]
    fn looks_in_vain_are_taken_more_and_more_seldom_until_one_finds_something() {
        let mut pace = looked(1_000, false, false);
        let mut now = 1_000 * SECOND;
        let mut waits = Vec::new();
        for counters in 8..12 {
            let mut wait = 0;
            while !pace.is_due(now + wait, counters) {
                wait += SECOND;
            }
            waits.push(wait / SECOND);
            now += wait;
            pace.looked(now, counters, 1_000, false, false);
        }
        assert_eq!(waits, [59, 118, 236, 236]);
        pace.looked(now, 20, 1_000, true, false);
        assert!(pace.is_due(now + 59 * SECOND, 21));
    }

    #[test]
    fn what_was_left_over_is_done_without_movement() {
        let pace = looked(1_000, false, true);
        assert!(!pace.is_due(1_058 * SECOND, 7));
        assert!(pace.is_due(1_059 * SECOND, 7));
    }
}
