//! How many rows a node gave on and threw away in one execution, as EXPLAIN ANALYZE counts them.

use perfmon_core::capture::scan::Kind;
use pgrx::pg_sys;
use pgrx::pg_sys::{NodeTag, PlanState};

/// Rows and loops of a node; the rounds that were added up, and the one that nobody ended.
pub(super) struct Rows {
    pub(super) loops: f64,
    pub(super) kept: f64,
    pub(super) removed: f64,
}

/// Of a node of that kind; `None` if it did nothing.
///
/// # Safety
/// A node of an execution that ended and was not taken down.
pub(super) unsafe fn of(node: *mut PlanState, kind: Kind) -> Option<Rows> {
    // SAFETY: by the caller's word.
    unsafe {
        match kind {
            Kind::Conflict => conflicts(node),
            Kind::Limit => skipped(node),
            _ => given(node),
        }
    }
}

/// Rows that a node gave, and that its conditions threw away.
///
/// # Safety
/// As for [`of`].
pub(super) unsafe fn given(node: *mut PlanState) -> Option<Rows> {
    // SAFETY: by the caller's word; a node that is counted has its counters.
    let counters = unsafe { (*node).instrument.as_ref() }?;
    let running = f64::from(u8::from(counters.running));
    let rows = Rows {
        loops: counters.nloops + running,
        kept: counters.ntuples + counters.tuplecount,
        removed: counters.nfiltered1 + counters.nfiltered2,
    };
    (rows.loops > 0.0).then_some(rows)
}

/// Rows that were there already, and which the condition of ON CONFLICT DO UPDATE let be updated or did not.
///
/// # Safety
/// As for [`of`]; the node changes a table.
unsafe fn conflicts(node: *mut PlanState) -> Option<Rows> {
    // SAFETY: by the caller's word; a node that is counted has its counters.
    unsafe {
        let plan = (*node).plan.cast::<pg_sys::ModifyTable>();
        if (*plan).onConflictWhere.is_null() {
            return None;
        }
        let counters = (*node).instrument.as_ref()?;
        let removed = counters.nfiltered1;
        Some(Rows { kept: (counters.ntuples2 - removed).max(0.0), removed, ..given(node)? })
    }
}

/// Rows that came, and those of them that OFFSET left out.
///
/// # Safety
/// As for [`of`]; the node is a limit.
unsafe fn skipped(node: *mut PlanState) -> Option<Rows> {
    // SAFETY: by the caller's word; a limit has a node below it.
    unsafe {
        if (*node.cast::<pg_sys::LimitState>()).offset <= 0 || (*node).lefttree.is_null() {
            return None;
        }
        let (own, below) = (given(node)?, given((*node).lefttree)?);
        Some(Rows { removed: (below.kept - own.kept).max(0.0), ..own })
    }
}

/// Whether a node may leave its children before they are done.
///
/// # Safety
/// A plan of that kind.
pub(super) unsafe fn stops_early(plan: *mut pg_sys::Plan, tag: NodeTag) -> bool {
    match tag {
        NodeTag::T_Limit | NodeTag::T_MergeJoin => true,
        NodeTag::T_NestLoop => {
            // SAFETY: by the caller's word.
            let join = unsafe { &*plan.cast::<pg_sys::Join>() };
            join.inner_unique
                || matches!(
                    join.jointype,
                    pg_sys::JoinType::JOIN_SEMI | pg_sys::JoinType::JOIN_ANTI
                )
        }
        // As soon as its numbers are beyond those that are wanted.
        NodeTag::T_WindowAgg => {
            // SAFETY: by the caller's word.
            let window = unsafe { &*plan.cast::<pg_sys::WindowAgg>() };
            !window.runCondition.is_null()
        }
        _ => false,
    }
}
