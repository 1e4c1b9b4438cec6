//! Which executions are looked into. A share of all, drawn by each process for each statement, so that a frequent
//! statement has its samples whatever else runs; and of each statement at least one in so many seconds of all
//! processes together, so that a rare one has its samples too.

use std::sync::atomic::{AtomicU32, Ordering};

use super::table::Payload;

/// A statement that is executed at all is looked into once in so many seconds.
pub const EVERY_S: u32 = 10;
const EVERY_US: u64 = EVERY_S as u64 * 1_000_000;

/// When a statement was looked into last, in shared memory: seconds, never 0 once it was.
pub type Shared = AtomicU32;

/// Entries that say when they were looked into.
pub trait Sampled: Payload {
    /// When that was.
    fn turn(&self) -> &Shared;
}

/// The share of executions that this process looks into, and its dice.
#[derive(Debug)]
pub struct Pace {
    ratio: f64,
    /// The most executions that are passed over.
    most: u32,
    dice: u32,
    /// New statements that are passed over before one is looked into.
    skip: u32,
}

impl Pace {
    /// None is looked into until a share is set.
    pub const fn new() -> Self {
        Self { ratio: 0.0, most: u32::MAX, dice: 0, skip: 0 }
    }

    /// Sets the share, above 0; `seed` makes processes differ.
    #[inline]
    pub fn set(&mut self, ratio: f64, seed: u32) {
        if !self.is(ratio) {
            self.change(ratio, seed);
        }
    }

    /// Whether this is the share that was set.
    #[inline]
    #[allow(clippy::float_cmp)]
    pub fn is(&self, ratio: f64) -> bool {
        self.ratio == ratio
    }

    #[cold]
    fn change(&mut self, ratio: f64, seed: u32) {
        self.ratio = ratio;
        self.most = self.spread().ceil() as u32;
        if self.dice == 0 {
            self.dice = seed.wrapping_mul(0x9e37_79b9) | 1;
        }
        self.skip = self.draw();
    }

    /// Twice the mean number of executions between two that are looked into.
    fn spread(&self) -> f64 {
        2.0 * (1.0 / self.ratio.clamp(1e-9, 1.0) - 1.0)
    }

    fn throw(&mut self) -> f64 {
        self.dice ^= self.dice << 13;
        self.dice ^= self.dice >> 17;
        self.dice ^= self.dice << 5;
        f64::from(self.dice) / (f64::from(u32::MAX) + 1.0)
    }

    /// How many executions to pass over: from 0 to `most`, in the mean what the share says.
    fn draw(&mut self) -> u32 {
        let (far, rest) = (self.throw() * self.spread(), self.throw());
        ((far + rest) as u32).min(self.most)
    }

    /// Whether to look into an execution of a statement that nobody counted yet.
    pub fn takes_a_new_one(&mut self) -> bool {
        let due = self.skip == 0;
        self.skip = if due { self.draw() } else { self.skip - 1 };
        due
    }
}

impl Default for Pace {
    fn default() -> Self {
        Self::new()
    }
}

/// One statement's turn in one process.
#[derive(Debug, Clone, Copy)]
pub struct Turn {
    /// Executions to pass over.
    skip: u32,
    /// When the statement was known to have been looked into, microseconds.
    looked: i64,
}

impl Turn {
    /// Nothing is known.
    pub const NONE: Self = Self { skip: u32::MAX, looked: 0 };

    /// Of a statement that this process meets.
    pub fn begin(pace: &mut Pace) -> Self {
        Self { skip: pace.draw(), looked: 0 }
    }

    /// Passes over an execution, if that can be said at once.
    #[inline]
    pub fn passes(&mut self, now: i64, pace: &Pace) -> bool {
        // A clock that was set back, or a share that was raised, is looked at more closely.
        let fresh = (now.wrapping_sub(self.looked) as u64) < EVERY_US;
        if fresh && self.skip.wrapping_sub(1) < pace.most {
            self.skip -= 1;
            return true;
        }
        false
    }

    /// Whether to look into this execution.
    pub fn decide(&mut self, now: i64, shared: &Shared, pace: &mut Pace) -> bool {
        if self.skip > pace.most {
            self.skip = pace.draw();
        }
        let now_s = ((now / 1_000_000) as u32).max(1);
        let last = shared.load(Ordering::Relaxed);
        if self.skip == 0 {
            self.skip = pace.draw();
            self.looked = now;
            shared.store(now_s, Ordering::Relaxed);
            return true;
        }
        self.skip -= 1;
        let age = now_s.wrapping_sub(last);
        if last != 0 && age < EVERY_S {
            self.looked = now - i64::from(age) * 1_000_000;
            return false;
        }
        self.looked = now;
        shared.compare_exchange(last, now_s, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: i64 = 1_000_000;
    /// Any time: a clock does not begin at zero.
    const START: i64 = 1_000_000 * S;

    fn run(
        turn: &mut Turn,
        shared: &Shared,
        pace: &mut Pace,
        times: impl Iterator<Item = i64>,
    ) -> usize {
        times.filter(|now| !turn.passes(*now, pace) && turn.decide(*now, shared, pace)).count()
    }

    #[test]
    fn a_share_is_looked_into() {
        for ratio in [0.001, 0.01, 0.1, 0.5, 0.9] {
            let (mut pace, shared) = (Pace::new(), Shared::new(1_000_000));
            pace.set(ratio, 7);
            let mut turn = Turn::begin(&mut pace);
            let n = 200_000;
            let seen = run(&mut turn, &shared, &mut pace, (0..n).map(|i| START + i));
            let expected = ratio * n as f64;
            assert!(
                (seen as f64 - expected).abs() < expected.sqrt() * 6.0 + 2.0,
                "{ratio}: {seen}"
            );
        }
        let (mut pace, shared) = (Pace::new(), Shared::new(0));
        pace.set(1.0, 7);
        let mut turn = Turn::begin(&mut pace);
        assert_eq!(run(&mut turn, &shared, &mut pace, (0..1000).map(|i| START + i)), 1000);
    }

    #[test]
    fn a_rare_statement_has_its_turn() {
        let (mut pace, shared) = (Pace::new(), Shared::new(0));
        pace.set(1e-6, 3);
        let mut turn = Turn::begin(&mut pace);
        // Once a second for five minutes.
        let seen = run(&mut turn, &shared, &mut pace, (0..300).map(|i| START + i * S));
        assert_eq!(seen, 30);
        // By a new process each time.
        let each = (0..300).filter(|i| {
            let mut turn = Turn::begin(&mut pace);
            turn.decide(START + (1000 + i) * S, &shared, &mut pace)
        });
        assert_eq!(each.count(), 30);
        // Not more often when many do it at the same time.
        let mut turns = [Turn::NONE; 20].map(|_| Turn::begin(&mut pace));
        let at = START + 2000 * S;
        let both =
            turns.iter_mut().filter_map(|turn| turn.decide(at, &shared, &mut pace).then_some(()));
        assert_eq!(both.count(), 1);
    }

    #[test]
    fn a_raised_share_holds_at_once() {
        let (mut pace, shared) = (Pace::new(), Shared::new(1_000_000));
        pace.set(1e-9, 3);
        let mut turn = Turn::begin(&mut pace);
        assert_eq!(run(&mut turn, &shared, &mut pace, (0..1000).map(|i| START + i)), 0);
        pace.set(1.0, 3);
        assert_eq!(run(&mut turn, &shared, &mut pace, (0..1000).map(|i| START + i)), 1000);
        // A clock that goes back an hour does not stop it.
        pace.set(1e-9, 3);
        let back = START - 3600 * S;
        assert!(run(&mut turn, &shared, &mut pace, (0..25).map(|i| back + i * S)) >= 2);
    }

    #[test]
    fn new_statements_are_taken_by_the_share() {
        let mut pace = Pace::new();
        pace.set(0.1, 9);
        let taken = (0..10_000).filter(|_| pace.takes_a_new_one()).count();
        assert!((800..1200).contains(&taken), "{taken}");
        pace.set(1.0, 9);
        assert!((0..100).all(|_| pace.takes_a_new_one()));
    }
}
