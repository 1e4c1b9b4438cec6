//! Which executions are looked into. A share of all, drawn by each process for each statement, so that a frequent
//! statement has its samples whatever else runs; and of each statement at least one in so many seconds of all
//! processes together, so that a rare one has its samples too.

use std::sync::atomic::{AtomicU32, Ordering};

use super::table::Payload;

/// A statement that is executed at all is looked into once in so many seconds.
pub const EVERY_S: u32 = 10;

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
    /// To be given a share before it is asked. All bytes are zero.
    pub const fn new() -> Self {
        Self { ratio: 0.0, most: 0, dice: 0, skip: 0 }
    }

    /// Sets the share, above 0; `seed` makes processes differ.
    #[inline]
    pub fn set(&mut self, ratio: f64, seed: u32) {
        if !self.is(ratio) {
            self.change(ratio, seed);
        }
    }

    /// Whether this is the share that was set, to the bit.
    #[inline]
    pub fn is(&self, ratio: f64) -> bool {
        self.ratio.to_bits() == ratio.to_bits()
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
        if self.most == 0 {
            return 0;
        }
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

/// One statement's turn in one process: executions to pass over before one is looked into, counted when they end.
#[derive(Debug, Clone, Copy)]
pub struct Turn {
    /// Executions to pass over, and [`DUE`]; anything else if nothing is known.
    skip: u32,
}

/// The next execution is to be looked into. Not zero, which is what new memory holds.
const DUE: u32 = 1;

impl Turn {
    /// Nothing is known.
    pub const NONE: Self = Self { skip: 0 };

    /// Whether it is zeroes in memory.
    pub(super) const fn is_zero(self) -> bool {
        self.skip == 0
    }

    /// An execution ended. Says whether it was the last before one that is looked into.
    #[inline]
    pub fn passed(&mut self) -> bool {
        let last = self.is_last();
        self.skip = self.skip.wrapping_sub(1);
        last
    }

    /// Whether the next that ends is the last before one that is looked into.
    #[inline]
    pub(super) fn is_last(self) -> bool {
        self.skip.wrapping_sub(1) == DUE
    }

    /// Whether to look into this execution, which begins and was not passed over at once.
    pub fn decide(&mut self, now: i64, shared: &Shared, pace: &mut Pace) -> bool {
        // A share that was raised holds from now on.
        if self.skip.wrapping_sub(DUE) > pace.most {
            self.skip = DUE + pace.draw();
        }
        let now_s = ((now / 1_000_000) as u32).max(1);
        if self.skip == DUE {
            // This one, and then as many as are drawn.
            self.skip = DUE + 1 + pace.draw();
            shared.store(now_s, Ordering::Relaxed);
            return true;
        }
        let last = shared.load(Ordering::Relaxed);
        // A clock that was set back makes it long ago.
        if last != 0 && now_s.wrapping_sub(last) < EVERY_S - HOLDS_S {
            return false;
        }
        shared.compare_exchange(last, now_s, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

/// Statements that are remembered as being passed over; the low bits of their numbers choose the place.
const PLACES: usize = 64;
/// How long that holds. Then the clock that all share is asked again, in time for the next turn.
const HOLDS_S: u32 = 1;
const HOLDS_US: u64 = HOLDS_S as u64 * 1_000_000;

/// What an execution that begins is compared with: statements of which no execution is looked into, until one of them
/// has its turn or a second is over. One word and the time are all that most executions look at.
#[derive(Debug)]
#[repr(C)]
pub struct Passing {
    since: i64,
    known: [u64; PLACES],
}

impl Passing {
    /// Nothing is known.
    pub const fn new() -> Self {
        Self { since: 0, known: [0; PLACES] }
    }

    /// Statements that clients send are told from those that are nested.
    #[inline]
    fn name(what: u64, kind: u64) -> u64 {
        what ^ kind.wrapping_sub(1)
    }

    /// Whether an execution is passed over at once.
    #[inline]
    pub fn passes(&self, what: u64, kind: u64, now: i64) -> bool {
        let name = Self::name(what, kind);
        self.known[name as usize % PLACES] == name
            && (now.wrapping_sub(self.since) as u64) < HOLDS_US
    }

    /// Executions are passed over from now on.
    pub fn add(&mut self, what: u64, kind: u64, now: i64) {
        if now.wrapping_sub(self.since) as u64 >= HOLDS_US {
            *self = Self { since: now, ..Self::new() };
        }
        let name = Self::name(what, kind);
        self.known[name as usize % PLACES] = name;
    }

    /// The next execution is looked at more closely.
    pub fn remove(&mut self, what: u64, kind: u64) {
        let name = Self::name(what, kind);
        let place = &mut self.known[name as usize % PLACES];
        if *place == name {
            *place = 0;
        }
    }
}

impl Default for Passing {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: i64 = 1_000_000;
    /// Any time: a clock does not begin at zero.
    const START: i64 = 1_000_000 * S;

    /// One process, which executes one statement.
    struct Process {
        turn: Turn,
        passing: Passing,
        pace: Pace,
    }

    impl Process {
        fn new(ratio: f64, seed: u32) -> Self {
            let mut pace = Pace::new();
            pace.set(ratio, seed);
            Self { turn: Turn::NONE, passing: Passing::new(), pace }
        }

        /// Whether an execution is looked into.
        fn execute(&mut self, shared: &Shared, now: i64) -> bool {
            let mut due = false;
            if !self.passing.passes(9, 1, now) {
                due = self.turn.decide(now, shared, &mut self.pace);
                self.passing.add(9, 1, now);
            }
            if self.turn.passed() {
                self.passing.remove(9, 1);
            }
            due
        }

        fn run(&mut self, shared: &Shared, times: impl Iterator<Item = i64>) -> usize {
            times.filter(|now| self.execute(shared, *now)).count()
        }
    }

    #[test]
    fn a_share_is_looked_into() {
        for ratio in [0.001, 0.01, 0.1, 0.5, 0.9] {
            let shared = Shared::new(1_000_000);
            let n = 200_000;
            let seen = Process::new(ratio, 7).run(&shared, (0..n).map(|i| START + i));
            let expected = ratio * n as f64;
            assert!(
                (seen as f64 - expected).abs() < expected.sqrt() * 6.0 + 2.0,
                "{ratio}: {seen}"
            );
        }
        let shared = Shared::new(0);
        assert_eq!(Process::new(1.0, 7).run(&shared, (0..1000).map(|i| START + i)), 1000);
    }

    #[test]
    fn a_rare_statement_has_its_turn() {
        let shared = Shared::new(0);
        let mut process = Process::new(1e-6, 3);
        // For five minutes: once a second, a little more often, and twice a minute.
        for (from, each) in [(0, S), (1000, S * 3 / 4), (2000, 30 * S)] {
            let times = (0..300 * S / each).map(|i| START + from * S + i * each);
            let seen = process.run(&shared, times) as i64;
            let most = (300 * S / each).min(34);
            assert!((most.min(30)..=most).contains(&seen), "each {each}: {seen}");
        }
        // Never are ten seconds without, at ten thousand a second.
        let mut last = START + 2500 * S;
        for now in (0..600_000).map(|i| START + 2500 * S + i * 100) {
            if process.execute(&shared, now) {
                last = now;
            }
            assert!(now - last < i64::from(EVERY_S) * S, "{now}");
        }
        // By a new process each time.
        let each = (0..300).filter(|i| {
            let mut process = Process::new(1e-6, 5 + *i as u32);
            process.execute(&shared, START + (3000 + i) * S)
        });
        assert_eq!(each.count(), 34);
        // Not more often when many do it at the same time.
        let at = START + 4000 * S;
        let both = (0..20).filter(|i| Process::new(1e-6, 11 + i).execute(&shared, at));
        assert_eq!(both.count(), 1);
    }

    #[test]
    fn a_raised_share_holds_at_once() {
        let shared = Shared::new(1_000_000);
        let mut process = Process::new(1e-9, 3);
        assert_eq!(process.run(&shared, (0..1000).map(|i| START + i)), 0);
        process.pace.set(1.0, 3);
        process.passing = Passing::new();
        assert_eq!(process.run(&shared, (0..1000).map(|i| START + i)), 1000);
        // A clock that goes back an hour does not stop it.
        process.pace.set(1e-9, 3);
        let back = START - 3600 * S;
        assert!(process.run(&shared, (0..25).map(|i| back + i * S)) >= 2);
    }

    #[test]
    fn statements_are_told_apart() {
        let mut passing = Passing::new();
        assert!(!passing.passes(7, 1, START), "nothing is known at first");
        passing.add(7, 1, START);
        assert!(passing.passes(7, 1, START + S - 1));
        assert!(!passing.passes(7, 0, START), "a nested one is another");
        assert!(!passing.passes(7 + PLACES as u64, 1, START), "one in the same place too");
        assert!(!passing.passes(7, 1, START + S), "it holds for a second");
        assert!(!passing.passes(7, 1, START - 1), "and not before");
        passing.add(8, 1, START + S - 1);
        assert!(!passing.passes(7, 1, START + S), "from the first on");
        passing.add(8, 1, START + S);
        assert!(!passing.passes(7, 1, START + S), "then all is asked anew");
        passing.remove(7, 1);
        passing.remove(8 + PLACES as u64, 1);
        assert!(passing.passes(8, 1, START + S));
        passing.remove(8, 1);
        assert!(!passing.passes(8, 1, START + S));
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
