//! How many rows the planner expected of a node, over all of its loops. Of what several processes do together, a plan says
//! what each of them was expected to do.

use perfmon_core::capture::scan::{Counts, Slot};
use pgrx::pg_sys;
use pgrx::pg_sys::{NodeTag, Plan, PlanState};

use super::rows::{self, Rows};

/// Deeper plans are not followed.
const DEEPEST: usize = 64;
/// An estimate that is off by more is wrong.
const WRONG: f64 = 10.0;
/// Part of its time that the leader spends on each worker instead of the plan, by the planner's reckoning.
const LEADER_PER_WORKER: f64 = 0.3;

/// Rows that were expected of a node in so many loops; `gather` is what stands above it and gathers the rows of several
/// processes, or NULL.
///
/// # Safety
/// Nodes of an execution that ended and was not taken down.
pub(super) unsafe fn expected(node: *mut PlanState, gather: *mut PlanState, loops: f64) -> f64 {
    // SAFETY: by the caller's word; both kinds of gathering nodes begin alike, and have their number of workers in a field.
    unsafe {
        let plan = (*node).plan;
        let each = (*plan).plan_rows;
        if gather.is_null() || !is_partial(plan, 0) {
            return each * loops;
        }
        let above = (*gather).plan;
        let planned = match (*above).type_ {
            NodeTag::T_GatherMerge => (*above.cast::<pg_sys::GatherMerge>()).num_workers,
            _ => (*above.cast::<pg_sys::Gather>()).num_workers,
        };
        let workers = match (*plan).type_ {
            NodeTag::T_SeqScan => of_table(node, planned),
            _ => planned,
        };
        let rounds = rows::given(gather).map_or(1.0, |rows| rows.loops);
        each * divisor(workers) * rounds
    }
}

/// Whether an estimate of a nested loop was wrong: what it gives, or its outer side, for each row of which the
/// inner side runs.
///
/// # Safety
/// A nested loop of an execution, what gathers above it, and whether something there may have stopped it early.
pub(super) unsafe fn is_wrong(
    node: *mut PlanState,
    (gather, cut): (*mut PlanState, bool),
    rows: &Rows,
    counts: &mut Counts,
) -> bool {
    let is_off = |estimated: f64, found: f64, loops: f64| {
        let (estimated, found) = ((estimated / loops).max(1.0), (found / loops).max(1.0));
        found > estimated * WRONG || (!cut && estimated > found * WRONG)
    };
    // SAFETY: by the caller's word.
    unsafe {
        let estimated = expected(node, gather, rows.loops);
        let mut wrong = is_off(estimated, rows.kept, rows.loops);
        let outer = (*node).lefttree;
        if !outer.is_null()
            && let Some(outer_rows) = rows::given(outer)
        {
            let estimated = expected(outer, gather, outer_rows.loops);
            counts.set(Slot::Outer, outer_rows.kept as u64);
            counts.set(Slot::OuterEstimated, estimated as u64);
            wrong |= is_off(estimated, outer_rows.kept, outer_rows.loops);
        }
        counts.set(Slot::Misestimates, wrong.into());
        wrong
    }
}

/// By how much the planner divides the rows of a plan that so many workers run, the leader besides.
fn divisor(workers: i32) -> f64 {
    let workers = f64::from(workers.max(0));
    // SAFETY: a setting is read.
    let leads = unsafe { pg_sys::parallel_leader_participation };
    let leader = if leads { (1.0 - LEADER_PER_WORKER * workers).max(0.0) } else { 0.0 };
    (workers + leader).max(1.0)
}

/// Whether each process gives only a part of a node's rows: something that the processes share is on the way down on which
/// rows come.
///
/// # Safety
/// A plan, or NULL.
unsafe fn is_partial(plan: *const Plan, depth: usize) -> bool {
    // SAFETY: by the caller's word; a plan is of the kind that its tag says.
    unsafe {
        let Some(one) = plan.as_ref().filter(|_| depth < DEEPEST) else { return false };
        if one.parallel_aware {
            return true;
        }
        let first = |list: *mut pg_sys::List| match list.as_ref() {
            Some(all) if all.length > 0 => (*all.elements).ptr_value.cast_const().cast(),
            _ => std::ptr::null(),
        };
        let below = match one.type_ {
            NodeTag::T_Append => first((*plan.cast::<pg_sys::Append>()).appendplans),
            NodeTag::T_MergeAppend => first((*plan.cast::<pg_sys::MergeAppend>()).mergeplans),
            NodeTag::T_SubqueryScan => (*plan.cast::<pg_sys::SubqueryScan>()).subplan.cast_const(),
            _ => one.lefttree.cast_const(),
        };
        is_partial(below, depth + 1)
    }
}

/// With how many workers the planner reckoned for the scan of a table, which may be fewer than those of the plan: a table
/// has one more for each time that it is three times as long.
///
/// # Safety
/// A scan of a table that is open.
unsafe fn of_table(node: *mut PlanState, most: i32) -> i32 {
    // SAFETY: by the caller's word; a relation has its row of the catalog, and the setting is read.
    unsafe {
        let relation = (*node.cast::<pg_sys::ScanState>()).ss_currentRelation.as_ref();
        let Some(relation) = relation else { return most };
        let pages = i64::from((*relation.rd_rel).relpages);
        let options = relation.rd_options.cast::<pg_sys::StdRdOptions>();
        if let Some(fixed) = options.as_ref().map(|options| options.parallel_workers)
            && fixed >= 0
        {
            return fixed.min(most);
        }
        // Nobody has looked how long it is.
        if pages <= 0 {
            return most;
        }
        let mut longer = i64::from(pg_sys::min_parallel_table_scan_size.max(1)) * 3;
        let mut workers = 1;
        while pages >= longer && workers < most {
            workers += 1;
            longer *= 3;
        }
        workers.min(most)
    }
}
