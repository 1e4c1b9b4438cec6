//! What the indexes of a table did together. The table's own counters of them are sums over those that there are now, which
//! say nothing once one went away, or passed a copy of its counters on.

use super::Difference;
use crate::frame::{Key, Reading, Together};
use std::collections::HashMap;

impl Difference {
    /// What the parts of each whole did; `None` where the sums of their counters go on as they are. `now` is the reading
    /// that the difference was made of.
    pub fn together(&self, now: &Reading) -> Option<HashMap<Key, Together>> {
        if self.baseline || now.wholes.is_empty() || (self.vanished == 0 && self.copied.is_empty())
        {
            return None;
        }
        let width = now.family.columns.len();
        let mut all: HashMap<Key, Together> = HashMap::new();
        let mut of = |i: usize, change: &mut dyn FnMut(&mut Together)| {
            if let Some(whole) = now.wholes.get(i) {
                let together = all.entry(*whole).or_default();
                together.grown.resize(width, 0);
                change(together);
            }
        };
        (0..now.keys.len()).for_each(|i| of(i, &mut |together| together.stayed += 1));
        for &i in &self.came {
            of(i, &mut |together| together.stayed = together.stayed.saturating_sub(1));
        }
        self.copied.iter().for_each(|&i| of(i, &mut |together| together.copied = true));
        for (c, column) in self.columns.iter().enumerate().skip(1) {
            for (&i, &value) in self.moved.iter().zip(column.iter().flatten()) {
                of(i, &mut |t| t.grown[c] = t.grown[c].saturating_add(value));
            }
        }
        Some(all)
    }
}
