//! What one backend remembers of the table: where it last counted each of some keys. One comparison finds an
//! entry without searching; an entry that meanwhile counts something else is noticed by its life.

use super::sample::{Pace, Passing, Sampled, Turn};
use super::table::{Entry, Key, Payload, Table};

/// Keys that can be remembered; the low bits of a key choose its slot.
const SLOTS: usize = 256;

/// One key. Two cache lines wide: what a backend keeps of a statement's runs goes into the same slot later,
/// so that one look-up finds both.
#[derive(Debug)]
#[repr(C, align(128))]
struct Slot<'a, P> {
    key: Key,
    entry: Option<&'a Entry<P>>,
    life: u32,
    turn: Turn,
}

/// The cache of one process. What every execution looks at stands in front, in one line and a word.
#[derive(Debug)]
#[repr(C)]
pub struct Cache<'a, P> {
    /// Of whom the keys were that were counted last.
    whose: u64,
    pace: Pace,
    passing: Passing,
    slots: [Slot<'a, P>; SLOTS],
}

const _: () = assert!(std::mem::offset_of!(Cache<'_, ()>, passing) + size_of::<i64>() <= 64);

impl<P: Payload> Default for Cache<'_, P> {
    fn default() -> Self {
        Self::new()
    }
}

/// A key that is remembered, found for an execution that ended.
#[derive(Debug)]
pub struct Known<'c, 'a, P> {
    /// Its entry.
    pub entry: &'a Entry<P>,
    /// Whose it is, as in [`Key`].
    pub whose: u64,
    turn: &'c mut Turn,
}

impl<P> Known<'_, '_, P> {
    /// The execution is counted.
    #[inline]
    pub fn count(self) {
        self.turn.passed();
    }
}

/// The slot of a key.
#[inline]
fn slot(key: Key) -> usize {
    key.what.wrapping_add(key.whose ^ key.kind) as usize % SLOTS
}

impl<'a, P: Payload> Cache<'a, P> {
    /// Remembers nothing; all bytes are zero.
    pub const fn new() -> Self {
        // No key is all zero where keys are looked up.
        const { assert!(Turn::NONE.is_zero()) };
        let slots = [const {
            let key = Key { what: 0, whose: 0, kind: 0 };
            Slot { key, entry: None, life: 0, turn: Turn::NONE }
        }; SLOTS];
        Self { whose: 0, pace: Pace::new(), passing: Passing::new(), slots }
    }

    /// The entry in which an execution of a key is counted, which is one less until the next that is looked into.
    #[inline]
    pub fn entry(&mut self, table: &Table<'a, P>, key: Key) -> Option<&'a Entry<P>> {
        if self.whose != key.whose {
            self.meet(key.whose);
        }
        let slot = &mut self.slots[slot(key)];
        if slot.key == key
            && let Some(entry) = slot.entry
            && entry.life() == slot.life
        {
            if slot.turn.passed() {
                self.come_up(key.what, key.kind);
            }
            return Some(entry);
        }
        self.find(table, key.what, key.whose, key.kind)
    }

    /// What [`Cache::entry`] gives for a statement of a user in the database of the last one's, if that takes no more than
    /// to remember it, and the next execution is none to be looked into. Nothing is counted yet. Cannot panic.
    #[inline]
    pub fn known(&mut self, what: u64, user: u32, kind: u64) -> Option<Known<'_, 'a, P>> {
        let whose = self.whose;
        let key = Key { what, whose, kind };
        let slot = &mut self.slots[slot(key)];
        let entry = slot.entry?;
        let known = key.user() == user
            && slot.key == key
            && entry.life() == slot.life
            && !slot.turn.is_last();
        known.then_some(Known { entry, whose, turn: &mut slot.turn })
    }

    /// Nothing is known from now on.
    #[cold]
    pub fn forget(&mut self) {
        self.meet(0);
    }

    /// Whether the next execution of a key, given by its statement and its kind, can be passed over at once. `now` is
    /// in microseconds, on any clock that all processes share. Cannot panic.
    #[inline]
    pub fn passes(&self, what: u64, kind: u64, now: i64) -> bool {
        self.passing.passes(what, kind, now)
    }

    /// Whether the next execution of a key, which was not passed over, is to be looked into.
    pub fn is_due(&mut self, table: &Table<'a, P>, key: Key, now: i64) -> bool
    where
        P: Sampled,
    {
        let slot = &mut self.slots[slot(key)];
        if slot.key != key {
            // Nothing is claimed for an execution that may fail; what is new to all is looked into now and then.
            let Some(place) = table.find(key) else { return self.pace.takes_a_new_one() };
            let entry = table.entry(place.entry);
            *slot = Slot { key, entry, life: place.life, turn: Turn::NONE };
        }
        let Some(entry) = slot.entry else { return false };
        let due = slot.turn.decide(now, entry.payload.turn(), &mut self.pace);
        self.passing.add(key.what, key.kind, now);
        due
    }

    /// Whether this is the share of executions that is looked into. Cannot panic.
    #[inline]
    pub fn has_share(&self, ratio: f64) -> bool {
        self.pace.is(ratio)
    }

    /// Looks into another share of executions from the next one on; `seed` makes processes differ.
    pub fn set_share(&mut self, ratio: f64, seed: u32) {
        self.pace.set(ratio, seed);
        self.look_again();
    }

    /// None of the executions of a key is to be looked into, for now.
    pub fn pass(&mut self, key: Key, now: i64) {
        self.passing.add(key.what, key.kind, now);
    }

    /// Looks more closely at the next execution of each key.
    pub fn look_again(&mut self) {
        self.passing = Passing::new();
    }

    /// The turns of another user's statements are others. All that is known goes by statement alone.
    #[cold]
    #[inline(never)]
    fn meet(&mut self, whose: u64) {
        self.whose = whose;
        self.look_again();
    }

    #[cold]
    #[inline(never)]
    fn come_up(&mut self, what: u64, kind: u64) {
        self.passing.remove(what, kind);
    }

    // The parts of a key, as a whole one would be written to the stack for each execution.
    #[cold]
    #[inline(never)]
    fn find(
        &mut self,
        table: &Table<'a, P>,
        what: u64,
        whose: u64,
        kind: u64,
    ) -> Option<&'a Entry<P>> {
        let key = Key { what, whose, kind };
        let place = table.place(key);
        let slot = &mut self.slots[slot(key)];
        if slot.key != key {
            // Nobody counted the executions meanwhile.
            slot.turn = Turn::NONE;
            self.passing.remove(what, kind);
        } else if slot.turn.passed() {
            self.passing.remove(what, kind);
        }
        slot.key = key;
        slot.life = place.life;
        slot.entry = table.entry(place.entry);
        slot.entry
    }
}

#[cfg(test)]
mod tests {
    use super::super::statement::{NESTED, TOPLEVEL, Times};
    use super::super::tests::Memory;
    use super::*;

    const NOW: i64 = 1_000_000_000_000;

    fn key(what: u64, user: u32) -> Key {
        Key::new(what, 5, user, TOPLEVEL)
    }

    /// Begins and ends an execution; says whether it was passed over at once, and whether it is looked into.
    fn execute<'a>(
        cache: &mut Cache<'a, Times>,
        table: &Table<'a, Times>,
        key: Key,
    ) -> (bool, bool) {
        let passed = cache.passes(key.what, key.kind, NOW);
        let due = !passed && cache.is_due(table, key, NOW);
        assert!(cache.entry(table, key).is_some_and(|entry| entry.is_of(key)));
        (passed, due)
    }

    #[test]
    fn an_execution_is_passed_over_once_its_turn_is_known() {
        let memory = Memory::<Times>::new(1000);
        let (table, mut cache) = (memory.table(), Cache::new());
        cache.set_share(1e-9, 3);
        let (one, twin) = (key(7, 10), Key { kind: NESTED, ..key(8, 10) });
        assert_eq!(slot(one), slot(twin));
        let mut run = |key| execute(&mut cache, &table, key);
        assert_eq!(run(one), (false, false), "nothing is known of the first");
        assert_eq!(run(one), (false, true), "nobody looked yet");
        assert_eq!(run(one), (true, false));
        assert_eq!(run(Key { kind: NESTED, ..one }), (false, false), "a nested one is another");
        // Both want the same slot, where nobody counts the other's executions then.
        assert_eq!(run(twin), (false, false));
        assert_eq!(run(one), (true, false));
        assert_eq!(run(one), (false, false), "it was taken out when its slot was taken");
        assert_eq!(run(one), (true, false));
        // Another user's turns are others.
        assert_eq!(run(key(99, 11)), (false, false));
        assert_eq!(run(one), (false, false));
        assert_eq!(run(one), (false, false), "the first of a user's is counted too late to know");
        assert_eq!(run(one), (true, false));
    }

    #[test]
    fn what_is_known_is_what_would_be_found() {
        let memory = Memory::<Times>::new(1000);
        let (table, mut cache) = (memory.table(), Cache::new());
        cache.set_share(0.2, 3);
        assert!(cache.known(7, 10, TOPLEVEL).is_none());
        let (mut looked_into, mut closely) = (0, 0);
        for _ in 0..20_000 {
            let one = key(7, 10);
            let passed = cache.passes(one.what, one.kind, NOW);
            looked_into += u32::from(!passed && cache.is_due(&table, one, NOW));
            match cache.known(7, 10, TOPLEVEL) {
                Some(known) => {
                    assert!(known.entry.is_of(one) && known.whose == one.whose);
                    known.count();
                }
                None => {
                    closely += 1;
                    assert!(cache.entry(&table, one).is_some_and(|entry| entry.is_of(one)));
                }
            }
        }
        assert!((3600..4400).contains(&looked_into), "{looked_into}");
        assert!(closely <= looked_into + 2, "{closely}: only where one is looked into next");
        assert!(cache.known(7, 11, TOPLEVEL).is_none(), "another user");
        assert!(cache.known(7 + 256, 10, TOPLEVEL).is_none(), "another statement");
        assert!(cache.known(7, 10, NESTED).is_none(), "a nested one");
        cache.entry(&table, key(7, 11));
        assert!(cache.known(7, 10, TOPLEVEL).is_none(), "it was another user's turn");
        assert!(cache.known(7, 11, TOPLEVEL).is_some());
        cache.forget();
        assert!(cache.known(7, 11, TOPLEVEL).is_none());
    }

    #[test]
    fn the_share_is_kept_when_others_come_between() {
        let memory = Memory::<Times>::new(1000);
        let (table, mut cache) = (memory.table(), Cache::new());
        cache.set_share(0.1, 3);
        let mut seen = 0;
        for round in 0..20_000 {
            seen += u32::from(execute(&mut cache, &table, key(7, 10)).1);
            match round % 7 {
                0 => drop(execute(&mut cache, &table, key(8, 10))),
                1 => drop(execute(&mut cache, &table, key(9, 11))),
                _ => {}
            }
        }
        assert!((1800..2200).contains(&seen), "{seen}");
    }
}
