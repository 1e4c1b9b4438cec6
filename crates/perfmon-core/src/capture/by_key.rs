//! Maps by the keys of the tables in shared memory.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use super::table::Key;

/// Hashes keys, which are hashes for the most part, and of which a table holds a few thousand at most: the standard
/// hasher takes longer than all else that is done with each.
#[derive(Debug, Clone, Default)]
pub struct KeyHasher(u64);

impl Hasher for KeyHasher {
    fn finish(&self) -> u64 {
        self.0 ^ self.0 >> 29
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(u64::from(*byte)));
    }

    fn write_u64(&mut self, word: u64) {
        let mixed = (self.0.rotate_left(29) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = mixed ^ mixed >> 32;
    }
}

/// A map by key, for tables with one entry for each.
pub type ByKey<T> = HashMap<Key, T, BuildHasherDefault<KeyHasher>>;
