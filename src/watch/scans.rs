//! Executions that are looked into: which ones, and what their plans did.

use perfmon_core::capture::cache::Cache;
use perfmon_core::capture::scan::{self, Code, Counts, Evidence, Kind, Slot, Subject};
use perfmon_core::capture::statement::Times;
use perfmon_core::capture::table::{Key, Table};

use crate::pg::execution::{self, Execution};
use crate::settings;

/// Nodes of one execution that are told apart; further ones count an execution each.
const MOST: usize = 128;

/// What was seen of an execution that is looked into: too much to be cleared for each.
static mut SEEN: [u64; MOST] = [0; MOST];

/// Whether an execution that begins can be passed over at once. Cannot panic.
#[inline]
pub(super) fn passes(cache: &Cache<'_, Times>, query_id: u64, kind: u64) -> bool {
    // A share that was changed holds from the next execution on.
    cache.has_share(settings::scan_sample_ratio())
        && cache.passes(query_id, kind, execution::message_at())
}

/// Whether an execution that begins, and was not passed over, is to be looked into.
pub(super) fn is_due<'a>(cache: &mut Cache<'a, Times>, table: &Table<'a, Times>, key: Key) -> bool {
    let ratio = settings::scan_sample_ratio();
    if !cache.has_share(ratio) {
        cache.set_share(ratio, execution::process());
    }
    if ratio > 0.0 {
        return cache.is_due(table, key, execution::message_at());
    }
    cache.pass(key, execution::message_at());
    false
}

/// Counts what the nodes of an execution did.
#[cold]
#[inline(never)]
pub(super) fn look(table: &Table<'_, Evidence>, execution: Execution, whose: u64, toplevel: bool) {
    let query_id = execution.query_id();
    // SAFETY: this process has one thread, and nothing in here comes back to this line.
    let Some(seen) = (unsafe { (&raw mut SEEN).as_mut() }) else { return };
    let mut used = 0;
    execution.nodes(|done, conditions| {
        let mut code = Code::EMPTY;
        conditions(&mut code);
        let subject = Subject {
            query_id,
            toplevel,
            kind: done.kind,
            relation: done.relation,
            columns_of: done.child,
            index: done.index,
            code,
        };
        let key = subject.key(whose);
        let mut counts = done.counts;
        // Partitions of a table, for instance, are one subject.
        if seen[..used].contains(&key.what) {
            counts.set(Slot::Executions, 0);
        } else if used < MOST {
            seen[used] = key.what;
            used += 1;
        }
        scan::record(table, key, &subject, &counts);
    });
    let whole = Subject {
        query_id,
        toplevel,
        kind: Kind::Execution,
        relation: 0,
        columns_of: 0,
        index: 0,
        code: Code::EMPTY,
    };
    let mut one = Counts::default();
    one.set(Slot::Executions, 1);
    // A statement of which nothing is worth telling takes no room.
    if used > 0 {
        scan::record(table, whole.key(whose), &whole, &one);
    } else {
        scan::record_known(table, whole.key(whose), &one);
    }
}
