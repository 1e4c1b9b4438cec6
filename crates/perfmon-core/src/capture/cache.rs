//! What one backend remembers of the table: where it last counted each of some keys. One comparison finds an
//! entry without searching; an entry that meanwhile counts something else is noticed by its life.

use super::sample::{Pace, Sampled, Turn};
use super::table::{Entry, Key, Payload, Place, Table};

/// Keys that can be remembered; the low bits of a key choose its slot.
const SLOTS: usize = 256;

/// One key. Two cache lines wide: what a backend keeps of a statement's runs goes into the same slot later,
/// so that one look-up finds both.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(128))]
struct Slot {
    key: Key,
    place: Place,
    turn: Turn,
}

/// The cache of one process.
#[derive(Debug)]
pub struct Cache {
    slots: [Slot; SLOTS],
}

impl Default for Cache {
    fn default() -> Self {
        Self::new()
    }
}

impl Cache {
    /// Remembers nothing; all bytes but for the places are zero.
    pub const fn new() -> Self {
        // No key is all zero where keys are looked up.
        let key = Key { what: 0, whose: 0, kind: 0 };
        let empty = Slot { key, place: Place { entry: 0, life: 0 }, turn: Turn::NONE };
        Self { slots: [empty; SLOTS] }
    }

    /// The entry in which a key is counted.
    #[inline]
    pub fn entry<'a, P: Payload>(
        &mut self,
        table: &Table<'a, P>,
        key: Key,
    ) -> Option<&'a Entry<P>> {
        let slot = &mut self.slots[key.what.wrapping_add(key.whose ^ key.kind) as usize % SLOTS];
        if slot.key == key
            && let Some(entry) = table.entry(slot.place.entry)
            && entry.life() == slot.place.life
        {
            return Some(entry);
        }
        find(table, key, slot);
        table.entry(slot.place.entry)
    }

    /// Whether the next execution of a key can be passed over at once. `now` is in microseconds, on any clock that
    /// all processes share. Cannot panic.
    #[inline]
    pub fn passes(&mut self, key: Key, now: i64, pace: &Pace) -> bool {
        let slot = &mut self.slots[key.what.wrapping_add(key.whose ^ key.kind) as usize % SLOTS];
        slot.key == key && slot.turn.passes(now, pace)
    }

    /// Whether the next execution of a key, which was not passed over, is to be looked into.
    pub fn is_due<P: Sampled>(
        &mut self,
        table: &Table<'_, P>,
        key: Key,
        now: i64,
        pace: &mut Pace,
    ) -> bool {
        let slot = &mut self.slots[key.what.wrapping_add(key.whose ^ key.kind) as usize % SLOTS];
        consider(table, key, now, pace, slot)
    }
}

#[cold]
#[inline(never)]
fn find<P: Payload>(table: &Table<'_, P>, key: Key, slot: &mut Slot) {
    let place = table.place(key);
    // Turns of the same key go on.
    let turn = if slot.key == key { slot.turn } else { Turn::NONE };
    *slot = Slot { key, place, turn };
}

#[cold]
#[inline(never)]
fn consider<P: Sampled>(
    table: &Table<'_, P>,
    key: Key,
    now: i64,
    pace: &mut Pace,
    slot: &mut Slot,
) -> bool {
    if slot.key != key {
        // Nothing is claimed for an execution that may fail; what is new to all is looked into now and then.
        let Some(place) = table.find(key) else { return pace.takes_a_new_one() };
        *slot = Slot { key, place, turn: Turn::begin(pace) };
    }
    let Some(entry) = table.entry(slot.place.entry) else { return false };
    slot.turn.decide(now, entry.payload.turn(), pace)
}
