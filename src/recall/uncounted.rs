//! What was executed with the hooks off, or without an id, of which nothing but the number is known: by the ends of intervals.

use std::collections::HashMap;

use perfmon_core::family::{ROUTE, UNCOUNTED};

use super::scope::Scope;
use crate::store::read::{self, Segment};

/// How much there was in each interval in which there was some.
#[derive(Debug, Default)]
pub(crate) struct Uncounted(HashMap<i64, u64>);

impl Uncounted {
    /// Of these stretches, which may be those of another family.
    pub(crate) fn of(scope: &Scope, segments: &[Segment]) -> Self {
        let mut found = Self::default();
        let columns: Vec<usize> = ROUTE.position("statements").into_iter().collect();
        read::frames(&scope.sources, &ROUTE, segments, &columns, &mut |row| {
            let Some(counts) = row.column(0) else { return };
            let own = row.ids.iter().zip(counts).filter(|(id, _)| **id & 255 == UNCOUNTED);
            let sum = own.map(|(_, count)| *count).fold(0, u64::saturating_add);
            if sum > 0 {
                let all = found.0.entry(row.head.span.until).or_default();
                *all = all.saturating_add(sum);
            }
        });
        found
    }

    /// Whether there was anything at all.
    pub(crate) fn is_any(&self) -> bool {
        !self.0.is_empty()
    }

    /// In the interval that ends then.
    pub(crate) fn at(&self, until: i64) -> u64 {
        self.0.get(&until).copied().unwrap_or(0)
    }
}
