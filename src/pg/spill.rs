//! What a sort or a hash table wrote to disk in one execution, as EXPLAIN tells it.

use pgrx::pg_sys;
use pgrx::pg_sys::{NodeTag, PlanState};

use super::raw;

/// Bytes written for want of memory, 0 where they are not known; `None` if nothing was.
///
/// # Safety
/// A node of an execution that ended and was not taken down.
pub(super) unsafe fn of(node: *mut PlanState) -> Option<u64> {
    // SAFETY: by the caller's word; a node is of the kind that its plan says.
    unsafe {
        match (*(*node).plan).type_ {
            NodeTag::T_Sort => sort(&*node.cast()),
            NodeTag::T_IncrementalSort => incremental(&*node.cast()),
            NodeTag::T_Hash => hash(&*node.cast()),
            NodeTag::T_Agg => aggregate(&*node.cast()),
            _ => None,
        }
    }
}

fn kilobytes(n: i64) -> u64 {
    u64::try_from(n).unwrap_or(0).saturating_mul(1024)
}

/// `None` of nothing.
fn some(bytes: u64) -> Option<u64> {
    (bytes > 0).then_some(bytes)
}

/// # Safety
/// As for [`of`].
unsafe fn sort(state: &pg_sys::SortState) -> Option<u64> {
    let mut bytes = 0;
    let mut add = |stats: &pg_sys::TuplesortInstrumentation| {
        if stats.spaceType == pg_sys::TuplesortSpaceType::SORT_SPACE_TYPE_DISK {
            bytes += kilobytes(stats.spaceUsed);
        }
    };
    // SAFETY: the sort is over and still there; its statistics are only fields and sizes. Those of workers were
    // copied into this process.
    unsafe {
        if state.sort_Done && !state.tuplesortstate.is_null() {
            let mut stats = std::mem::zeroed::<pg_sys::TuplesortInstrumentation>();
            raw::tuplesort_get_stats(state.tuplesortstate.cast(), &mut stats);
            add(&stats);
        }
        if let Some(shared) = state.shared_info.as_ref() {
            let workers = shared.num_workers.max(0) as usize;
            shared.sinstrument.as_slice(workers).iter().for_each(add);
        }
    }
    some(bytes)
}

/// # Safety
/// As for [`of`].
unsafe fn incremental(state: &pg_sys::IncrementalSortState) -> Option<u64> {
    let of = |info: &pg_sys::IncrementalSortInfo| {
        let kb = info.fullsortGroupInfo.totalDiskSpaceUsed;
        kilobytes(kb) + kilobytes(info.prefixsortGroupInfo.totalDiskSpaceUsed)
    };
    let mut bytes = of(&state.incsort_info);
    // SAFETY: by the caller's word.
    unsafe {
        if let Some(shared) = state.shared_info.as_ref() {
            let workers = shared.num_workers.max(0) as usize;
            bytes += shared.sinfo.as_slice(workers).iter().map(of).sum::<u64>();
        }
    }
    some(bytes)
}

/// A hash table in several batches wrote all but one of them; how much is told nowhere.
///
/// # Safety
/// As for [`of`].
unsafe fn hash(state: &pg_sys::HashState) -> Option<u64> {
    // SAFETY: by the caller's word.
    unsafe {
        let mut batches = state.hinstrument.as_ref().map_or(0, |own| own.nbatch);
        if let Some(shared) = state.shared_info.as_ref() {
            let workers = shared.num_workers.max(0) as usize;
            let all = shared.hinstrument.as_slice(workers).iter();
            batches = batches.max(all.map(|worker| worker.nbatch).max().unwrap_or(0));
        }
        (batches > 1).then_some(0)
    }
}

/// # Safety
/// As for [`of`].
unsafe fn aggregate(state: &pg_sys::AggState) -> Option<u64> {
    let hashes = [pg_sys::AggStrategy::AGG_HASHED, pg_sys::AggStrategy::AGG_MIXED];
    // SAFETY: by the caller's word.
    unsafe {
        if !hashes.contains(&(*state.ss.ps.plan.cast::<pg_sys::Agg>()).aggstrategy) {
            return None;
        }
        let mut kb = state.hash_disk_used;
        if let Some(shared) = state.shared_info.as_ref() {
            let workers = shared.num_workers.max(0) as usize;
            let all = shared.sinstrument.as_slice(workers).iter();
            kb += all.map(|worker| worker.hash_disk_used).sum::<u64>();
        }
        some(kb.saturating_mul(1024))
    }
}
