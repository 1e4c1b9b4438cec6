//! Hours that hold time in which the hooks were off for all: nothing is known of that, and the rest is not the whole.

use std::collections::HashMap;

use perfmon_core::family::{FAILURE, Family, ROUTE};
use perfmon_core::objective;

use super::super::scope::Scope;
use super::{Declared, Rows};
use crate::store::read::{self, Segment};

impl Rows {
    /// Takes that time out of these rows, where what pg_stat_statements counted does not tell that there was more.
    pub(super) fn leave_out_off(
        &mut self,
        scope: &Scope,
        segments: &dyn Fn(&Family) -> Vec<Segment>,
        of: &Declared,
    ) {
        let family = match of.objective.scope {
            objective::Scope::Database => &FAILURE,
            objective::Scope::Application(_) => &ROUTE,
            _ => return,
        };
        let mut known = HashMap::new();
        read::frames(&scope.sources, family, &segments(family), &[], &mut |row| {
            known.insert(row.head.span.until, row.head.span.length_us);
        });
        let mut unknown = Vec::new();
        for (until, length_us) in known {
            let row = self.0.get_mut(&until);
            unknown.extend(row.and_then(|row| row.split(length_us)));
        }
        self.0.extend(unknown.into_iter().map(|row| (row.until_us, row)));
    }
}
