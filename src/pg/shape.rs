//! The identity of a plan that was executed, read off the executor's state field by field: nothing here can raise,
//! allocate, or look into the catalog.

use std::ffi::CStr;

use perfmon_core::plan::shape::{Node, Part, Several, word};
use pgrx::pg_sys;
use pgrx::pg_sys::NodeTag;

use super::compat;

/// Larger plans have no identity here, and are not printed: it would take too long.
const MAX_NODES: usize = 2000;
/// Deeper ones neither.
const MAX_DEPTH: usize = 250;

/// The identity of a plan; `table` gives a word for each table that the statement names. `None` for a plan that is
/// too large, or of which nothing was left to execute.
///
/// # Safety
/// The query must have been executed, and not ended yet.
pub(super) unsafe fn identity(
    query: *mut pg_sys::QueryDesc,
    table: &mut dyn FnMut(pg_sys::Oid) -> u64,
) -> Option<i64> {
    // SAFETY: by the caller's word; a query in the executor has a plan and a state, whose lists hold what
    // their names say.
    unsafe {
        let query = &*query;
        let state = query.estate.as_ref()?;
        let plan = query.plannedstmt.as_ref()?;
        let mut walk = Walk { plan, table, nodes: 0, child: 0, whole: true, empty: false };
        let mut all = walk.part(query.planstate, 0)?;
        for subplan in cells(state.es_subplanstates) {
            if let Some(part) = walk.part(subplan.cast(), 0) {
                all = all.beside(part);
            }
        }
        // Before a table has its first part, its plan says nothing of those that come after.
        let nothing = walk.empty && all.reads_nothing();
        (walk.whole && !nothing).then(|| all.identity())
    }
}

struct Walk<'a> {
    plan: &'a pg_sys::PlannedStmt,
    table: &'a mut dyn FnMut(pg_sys::Oid) -> u64,
    nodes: usize,
    /// Where in the list of parts the last one was found.
    child: usize,
    /// Nothing was left out so far.
    whole: bool,
    /// The planner knew of a part that it gives nothing.
    empty: bool,
}

/// # Safety
/// A list of pointers, or NULL.
unsafe fn cells<'a>(list: *mut pg_sys::List) -> impl Iterator<Item = *mut std::ffi::c_void> + 'a {
    // SAFETY: a list has `length` cells from `elements` on.
    let cells: &[pg_sys::ListCell] = unsafe {
        match list.as_ref() {
            Some(list) => std::slice::from_raw_parts(list.elements, list.length as usize),
            None => &[],
        }
    };
    // SAFETY: by the caller's word they are pointers.
    cells.iter().map(|cell| unsafe { cell.ptr_value })
}

/// What TimescaleDB has in place of an Append.
const APPENDS: [&CStr; 2] = [c"ChunkAppend", c"ConstraintAwareAppend"];

/// # Safety
/// A custom node of the executor's state.
unsafe fn is_append(state: *mut pg_sys::PlanState) -> bool {
    // SAFETY: by the caller's word.
    APPENDS.contains(&unsafe { custom_name(state) })
}

/// # Safety
/// A custom node of the executor's state.
unsafe fn custom_name<'a>(state: *mut pg_sys::PlanState) -> &'a CStr {
    // SAFETY: by the caller's word; the methods and their name are as old as their library.
    unsafe {
        let methods = (*(*state).plan.cast::<pg_sys::CustomScan>()).methods.as_ref();
        let name = methods.map_or(std::ptr::null(), |methods| methods.CustomName);
        if name.is_null() { c"" } else { CStr::from_ptr(name) }
    }
}

/// Whether a Result is one that the planner made of what cannot give a row.
///
/// # Safety
/// A plan of that kind.
unsafe fn is_never(plan: *mut pg_sys::Result) -> bool {
    // SAFETY: by the caller's word; the condition is a list of expressions, and a constant of them a truth value.
    unsafe {
        cells((*plan).resconstantqual.cast()).any(|cell| {
            let constant = cell.cast::<pg_sys::Const>();
            (*constant.cast::<pg_sys::Node>()).type_ == NodeTag::T_Const
                && ((*constant).constisnull || (*constant).constvalue.value() == 0)
        })
    }
}

impl Walk<'_> {
    /// # Safety
    /// A node of the executor's state, or NULL.
    unsafe fn part(&mut self, state: *mut pg_sys::PlanState, depth: usize) -> Option<Part> {
        self.nodes += 1;
        if state.is_null() || self.nodes > MAX_NODES || depth > MAX_DEPTH {
            self.whole &= state.is_null();
            return None;
        }
        // SAFETY: by the caller's word; what a state points to is of the type that its plan's tag says.
        unsafe {
            let tag = (*(*state).plan).type_;
            match tag {
                NodeTag::T_Append => {
                    let append = &*state.cast::<pg_sys::AppendState>();
                    let count = append.as_nplans;
                    return self.several(append.appendplans, count, tag, depth);
                }
                NodeTag::T_MergeAppend => {
                    let append = &*state.cast::<pg_sys::MergeAppendState>();
                    let count = append.ms_nplans;
                    return self.several(append.mergeplans, count, tag, depth);
                }
                NodeTag::T_CustomScan if is_append(state) => return self.chunks(state, depth),
                NodeTag::T_Result => self.empty |= is_never((*state).plan.cast()),
                _ => {}
            }
            let rows = (*(*state).plan).plan_rows;
            let mut below = Some(self.describe(state, tag).gives(rows));
            let mut over = |walk: &mut Self, state| {
                if let (Some(node), Some(part)) = (below, walk.part(state, depth + 1)) {
                    below = Some(node.over(part));
                }
            };
            if !(*state).lefttree.is_null() {
                over(self, (*state).lefttree);
            }
            if !(*state).righttree.is_null() {
                over(self, (*state).righttree);
            }
            match tag {
                NodeTag::T_BitmapAnd => {
                    let and = &*state.cast::<pg_sys::BitmapAndState>();
                    (0..and.nplans as usize).for_each(|i| over(self, *and.bitmapplans.add(i)));
                }
                NodeTag::T_BitmapOr => {
                    let or = &*state.cast::<pg_sys::BitmapOrState>();
                    (0..or.nplans as usize).for_each(|i| over(self, *or.bitmapplans.add(i)));
                }
                NodeTag::T_SubqueryScan => {
                    over(self, (*state.cast::<pg_sys::SubqueryScanState>()).subplan);
                }
                NodeTag::T_CustomScan => {
                    // Nodes of extensions over the parts of a table say so by having several children.
                    let custom = (*state.cast::<pg_sys::CustomScanState>()).custom_ps;
                    let mut several = Several::default();
                    for child in cells(custom) {
                        if let Some(part) = self.part(child.cast(), depth + 1) {
                            several.add(part);
                        }
                    }
                    let all = several.done(word(b"Custom"));
                    below = below.map(|node| all.map_or(node, |all| node.over(all)));
                }
                _ => {}
            }
            below.map(Node::done)
        }
    }

    /// The parts of a table as another extension reads them: as those of an Append, which is there only where there
    /// are two or more.
    ///
    /// # Safety
    /// A custom node of the executor's state.
    unsafe fn chunks(&mut self, state: *mut pg_sys::PlanState, depth: usize) -> Option<Part> {
        let mut several = Several::default();
        // SAFETY: by the caller's word; its list holds nodes.
        unsafe {
            for child in cells((*state.cast::<pg_sys::CustomScanState>()).custom_ps) {
                if let Some(part) = self.part(child.cast(), depth + 1) {
                    several.add(part);
                }
            }
        }
        let done = several.done(kind(NodeTag::T_Append));
        self.whole &= done.is_some();
        done
    }

    /// # Safety
    /// An array of so many nodes of the executor's state.
    unsafe fn several(
        &mut self,
        states: *mut *mut pg_sys::PlanState,
        count: i32,
        tag: NodeTag,
        depth: usize,
    ) -> Option<Part> {
        let mut several = Several::default();
        for i in 0..usize::try_from(count).unwrap_or(0) {
            // SAFETY: by the caller's word.
            if let Some(part) = unsafe { self.part(*states.add(i), depth + 1) } {
                several.add(part);
            }
        }
        let done = several.done(kind(tag));
        // All parts were pruned for these parameters: that says nothing of the plan.
        self.whole &= done.is_some();
        done
    }

    /// The node without what is below it.
    ///
    /// # Safety
    /// A node of the executor's state whose plan has this tag.
    unsafe fn describe(&mut self, state: *mut pg_sys::PlanState, tag: NodeTag) -> Node {
        let node = Node::new(kind(tag));
        // SAFETY: by the caller's word.
        unsafe {
            let plan = (*state).plan;
            match tag {
                NodeTag::T_NestLoop | NodeTag::T_MergeJoin | NodeTag::T_HashJoin => {
                    node.with(u64::from((*plan.cast::<pg_sys::Join>()).jointype))
                }
                NodeTag::T_Agg => node.with(u64::from((*plan.cast::<pg_sys::Agg>()).aggstrategy)),
                NodeTag::T_SetOp => {
                    let setop = &*plan.cast::<pg_sys::SetOp>();
                    node.with(u64::from(setop.cmd)).with(u64::from(setop.strategy))
                }
                NodeTag::T_ModifyTable => {
                    let modify = &*plan.cast::<pg_sys::ModifyTable>();
                    let node = node.with(u64::from(modify.operation));
                    self.reads(node, modify.nominalRelation, std::ptr::null_mut())
                }
                NodeTag::T_CustomScan => {
                    self.scans(node.with(word(custom_name(state).to_bytes())), state)
                }
                NodeTag::T_IndexScan => {
                    let index = (*state.cast::<pg_sys::IndexScanState>()).iss_RelationDesc;
                    self.scans(columns(node, index), state)
                }
                NodeTag::T_IndexOnlyScan => {
                    let index = (*state.cast::<pg_sys::IndexOnlyScanState>()).ioss_RelationDesc;
                    self.scans(columns(node, index), state)
                }
                NodeTag::T_BitmapIndexScan => {
                    columns(node, (*state.cast::<pg_sys::BitmapIndexScanState>()).biss_RelationDesc)
                }
                NodeTag::T_SeqScan
                | NodeTag::T_SampleScan
                | NodeTag::T_BitmapHeapScan
                | NodeTag::T_TidScan
                | NodeTag::T_TidRangeScan
                | NodeTag::T_ForeignScan => self.scans(node, state),
                _ => node,
            }
        }
    }

    /// # Safety
    /// The state of a scan.
    unsafe fn scans(&mut self, node: Node, state: *mut pg_sys::PlanState) -> Node {
        // SAFETY: by the caller's word.
        unsafe {
            let relation = (*(*state).plan.cast::<pg_sys::Scan>()).scanrelid;
            self.reads(node, relation, (*state.cast::<pg_sys::ScanState>()).ss_currentRelation)
        }
    }

    /// # Safety
    /// A number in the range table, and the relation if it is open.
    unsafe fn reads(&mut self, node: Node, number: u32, open: pg_sys::Relation) -> Node {
        // SAFETY: by the caller's word; an open relation has its row of the catalog.
        unsafe {
            let Some(relation) = self.named(number) else { return node };
            let pages = open.as_ref().map_or(0, |open| (*open.rd_rel).relpages);
            node.reads((self.table)(relation), f64::from(pages))
        }
    }

    /// The table that the statement names, of which this one may be a part.
    ///
    /// # Safety
    /// A number in the range table, or 0.
    unsafe fn named(&mut self, number: u32) -> Option<pg_sys::Oid> {
        // SAFETY: by the caller's word.
        unsafe {
            let mut found = self.relation(number)?;
            let mut number = number;
            // Parts of parts, of which there are few levels.
            for _ in 0..16 {
                let Some(parent) = self.parent(number) else { break };
                let Some(relation) = self.relation(parent) else { break };
                (found, number) = (relation, parent);
            }
            Some(found)
        }
    }

    /// # Safety
    /// A number in the range table, or 0.
    unsafe fn relation(&self, number: u32) -> Option<pg_sys::Oid> {
        // SAFETY: by the caller's word; the list is one of range table entries.
        unsafe {
            let table = self.plan.rtable.as_ref()?;
            let at = usize::try_from(number).ok()?.checked_sub(1)?;
            if at >= table.length as usize {
                return None;
            }
            let entry = &*(*table.elements.add(at)).ptr_value.cast::<pg_sys::RangeTblEntry>();
            (entry.rtekind == pg_sys::RTEKind::RTE_RELATION).then_some(entry.relid)
        }
    }

    /// What this is a part of. Parts are met in about the order in which they are listed.
    ///
    /// # Safety
    /// The plan's list must be one of parts.
    unsafe fn parent(&mut self, number: u32) -> Option<u32> {
        // SAFETY: by the caller's word.
        unsafe {
            let list = self.plan.appendRelations.as_ref()?;
            let length = list.length as usize;
            for step in 0..length {
                let at = (self.child + step) % length;
                let info = (*list.elements.add(at)).ptr_value.cast::<pg_sys::AppendRelInfo>();
                if (*info).child_relid == number {
                    self.child = at;
                    return Some((*info).parent_relid);
                }
            }
            None
        }
    }
}

/// The names of an index's columns, and how it is organised.
///
/// # Safety
/// An open index, or NULL.
unsafe fn columns(node: Node, index: pg_sys::Relation) -> Node {
    // SAFETY: by the caller's word; an index has its description and its row of the catalog.
    unsafe {
        let Some(index) = index.as_ref() else { return node };
        let natts = (*index.rd_att).natts;
        let node = node.with(u64::from((*index.rd_rel).relam.to_u32()));
        (0..natts).fold(node, |node, at| {
            let name = &(*compat::attribute(index.rd_att, at)).attname;
            let name = CStr::from_ptr(name.data.as_ptr());
            node.with(word(name.to_bytes()))
        })
    }
}

/// A word for a kind of node that is the same in all versions.
fn kind(tag: NodeTag) -> u64 {
    match tag {
        NodeTag::T_Result => const { word(b"Result") },
        NodeTag::T_ProjectSet => const { word(b"ProjectSet") },
        NodeTag::T_ModifyTable => const { word(b"ModifyTable") },
        NodeTag::T_Append => const { word(b"Append") },
        NodeTag::T_MergeAppend => const { word(b"MergeAppend") },
        NodeTag::T_RecursiveUnion => const { word(b"RecursiveUnion") },
        NodeTag::T_BitmapAnd => const { word(b"BitmapAnd") },
        NodeTag::T_BitmapOr => const { word(b"BitmapOr") },
        NodeTag::T_SeqScan => const { word(b"SeqScan") },
        NodeTag::T_SampleScan => const { word(b"SampleScan") },
        NodeTag::T_IndexScan => const { word(b"IndexScan") },
        NodeTag::T_IndexOnlyScan => const { word(b"IndexOnlyScan") },
        NodeTag::T_BitmapIndexScan => const { word(b"BitmapIndexScan") },
        NodeTag::T_BitmapHeapScan => const { word(b"BitmapHeapScan") },
        NodeTag::T_TidScan => const { word(b"TidScan") },
        NodeTag::T_TidRangeScan => const { word(b"TidRangeScan") },
        NodeTag::T_SubqueryScan => const { word(b"SubqueryScan") },
        NodeTag::T_FunctionScan => const { word(b"FunctionScan") },
        NodeTag::T_ValuesScan => const { word(b"ValuesScan") },
        NodeTag::T_TableFuncScan => const { word(b"TableFuncScan") },
        NodeTag::T_CteScan => const { word(b"CteScan") },
        NodeTag::T_NamedTuplestoreScan => const { word(b"NamedTuplestoreScan") },
        NodeTag::T_WorkTableScan => const { word(b"WorkTableScan") },
        NodeTag::T_ForeignScan => const { word(b"ForeignScan") },
        NodeTag::T_CustomScan => const { word(b"CustomScan") },
        NodeTag::T_NestLoop => const { word(b"NestLoop") },
        NodeTag::T_MergeJoin => const { word(b"MergeJoin") },
        NodeTag::T_HashJoin => const { word(b"HashJoin") },
        NodeTag::T_Material => const { word(b"Material") },
        NodeTag::T_Memoize => const { word(b"Memoize") },
        NodeTag::T_Sort => const { word(b"Sort") },
        NodeTag::T_IncrementalSort => const { word(b"IncrementalSort") },
        NodeTag::T_Group => const { word(b"Group") },
        NodeTag::T_Agg => const { word(b"Agg") },
        NodeTag::T_WindowAgg => const { word(b"WindowAgg") },
        NodeTag::T_Unique => const { word(b"Unique") },
        NodeTag::T_Gather => const { word(b"Gather") },
        NodeTag::T_GatherMerge => const { word(b"GatherMerge") },
        NodeTag::T_Hash => const { word(b"Hash") },
        NodeTag::T_SetOp => const { word(b"SetOp") },
        NodeTag::T_LockRows => const { word(b"LockRows") },
        NodeTag::T_Limit => const { word(b"Limit") },
        _ => const { word(b"other") },
    }
}
