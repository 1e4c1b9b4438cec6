//! What one backend remembers of the table: where it last counted each of some keys. One comparison finds an
//! entry without searching; an entry that meanwhile counts something else is noticed by its life.

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
        let empty =
            Slot { key: Key { what: 0, whose: 0, kind: 0 }, place: Place { entry: 0, life: 0 } };
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
        *slot = find(table, key);
        table.entry(slot.place.entry)
    }
}

#[cold]
#[inline(never)]
fn find<P: Payload>(table: &Table<'_, P>, key: Key) -> Slot {
    Slot { key, place: table.place(key) }
}
