//! Time in which executions were timed and pg_stat_statements counted none: it was there, and told to count nothing.

use std::collections::HashSet;

use perfmon_core::family::{LATENCY, STATEMENT};
use perfmon_core::objective::KNOWN;
use perfmon_core::report::ENOUGH;
use perfmon_core::window::Level;

use super::plan::Kept;
use super::scope::Scope;
use super::times::total;
use crate::store::{latency, read};

/// Whether so many of the executions of a window fell into such intervals that what it counted does not stand for all. A few are
/// commands that it leaves out, or were read a moment later.
#[allow(clippy::cast_precision_loss)]
pub(super) fn is_untracked(scope: &Scope) -> bool {
    let scope = &scope.quietly(scope.since, scope.until);
    let segments = Kept::of(&STATEMENT, scope).segments(scope, Level::Day);
    let mut silent: HashSet<i64> = HashSet::new();
    read::frames(&scope.sources, &STATEMENT, &segments, &[], &mut |row| {
        if total(&STATEMENT, row.head, "total_calls") == Some(0) {
            silent.insert(row.head.span.until);
        }
    });
    if silent.is_empty() {
        return false;
    }
    let (mut all, mut unseen) = (0_u64, 0_u64);
    let segments = Kept::of(&LATENCY, scope).segments(scope, Level::Day);
    latency::overall(&scope.sources, &segments, &mut |head, latency| {
        let timed = latency.cached.executions().saturating_add(latency.read.executions());
        all = all.saturating_add(timed);
        if silent.contains(&head.span.until) {
            unseen = unseen.saturating_add(timed);
        }
    });
    unseen >= ENOUGH && unseen as f64 > (1.0 - KNOWN) * all as f64
}

/// Whether the server counted so few executions in a window that they may have been timed just before it.
pub(super) fn are_few(scope: &Scope) -> bool {
    let scope = &scope.quietly(scope.since, scope.until);
    let segments = Kept::of(&STATEMENT, scope).segments(scope, Level::Day);
    let mut all = 0_u64;
    read::frames(&scope.sources, &STATEMENT, &segments, &[], &mut |row| {
        all = all.saturating_add(total(&STATEMENT, row.head, "total_calls").unwrap_or(0));
    });
    (1..ENOUGH).contains(&all)
}
