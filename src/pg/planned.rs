//! What the nodes of a plan did in one execution, read field by field when it is over: rows, loops, what was thrown
//! away, what went to disk. Nothing is allocated, changed or looked up, and nothing can raise.

use perfmon_core::capture::scan::code::{Code, Stage};
use perfmon_core::capture::scan::{Counts, Kind, Slot};
use pgrx::pg_sys;
use pgrx::pg_sys::{NodeTag, PlanState};

use super::condition::{Once, Writer};
use super::counted::Counted;
use super::estimate;
use super::rows;
use super::spill;

/// More nodes of one plan are not looked at.
const MOST_NODES: usize = 4096;
/// Nodes that wait to be looked at.
const MOST_OPEN: usize = 1024;
/// Further subplans are not told apart.
const MOST_SUBPLANS: usize = 1024;
/// Tables with a lower number are the server's own.
const FIRST_OF_USERS: u32 = pg_sys::FirstNormalObjectId;

/// What a node did, and where its conditions are.
pub(crate) struct Done {
    pub(crate) kind: Kind,
    /// The table as the statement names it, the one that was read, and the index; 0 for none.
    pub(crate) relation: u32,
    pub(crate) child: u32,
    pub(crate) index: u32,
    pub(crate) counts: Counts,
    plan: *mut pg_sys::Plan,
    scan: u32,
}

impl Done {
    /// Something of the execution, and of no node.
    fn whole(kind: Kind) -> Self {
        let mut counts = Counts::default();
        counts.set(Slot::Executions, 1);
        let plan = std::ptr::null_mut();
        Self { kind, relation: 0, child: 0, index: 0, counts, plan, scan: 0 }
    }
}

/// A plan and its range table.
#[derive(Clone, Copy)]
pub(super) struct Planned {
    statement: *mut pg_sys::PlannedStmt,
    params: pg_sys::ParamListInfo,
    /// Place among the inheritance relations where the last child was found: they stand in the order of the plan.
    cursor: i32,
    /// What subqueries gave once for all rows.
    once: Once,
}

/// The nodes of [`Stack`]: too many to be cleared for each plan.
static mut OPEN: [Open; MOST_OPEN] =
    [Open(std::ptr::null_mut(), Above { cut: false, gather: std::ptr::null_mut() }); MOST_OPEN];

/// A node to be looked at, and where it stands.
#[derive(Clone, Copy)]
struct Open(*mut PlanState, Above);

/// What stands above a node.
#[derive(Clone, Copy)]
struct Above {
    /// Something that may have stopped it early.
    cut: bool,
    /// What gathers the rows of several processes; NULL where only one runs the node.
    gather: *mut PlanState,
}

/// Hands each node that tells something to `each`, and then what the execution as a whole tells. One that was left early
/// did not give all the rows that it could.
///
/// # Safety
/// An execution with row counts that ended and was not taken down.
pub(super) unsafe fn walk(
    query: *mut pg_sys::QueryDesc,
    left_early: bool,
    mut each: impl FnMut(&Done, &mut dyn FnMut(&mut Code)),
) {
    // SAFETY: by the caller's word; every node of the tree lives as long as the execution.
    unsafe {
        let root = (*query).planstate;
        let (statement, params) = ((*query).plannedstmt, (*query).params);
        let mut planned = Planned { statement, params, cursor: 0, once: Once::default() };
        let mut open = Stack { used: 0, met: [0; MOST_SUBPLANS / 64] };
        let mut counted = Counted::of(statement, params);
        open.push(root, Above { cut: left_early, gather: std::ptr::null_mut() });
        for _ in 0..MOST_NODES {
            let Some(Open(node, above)) = open.pop() else {
                if counted.asks_for_any() {
                    each(&Done::whole(Kind::Existence), &mut |_| {});
                }
                return;
            };
            counted.look((*node).plan);
            planned.once.note(node);
            if let Some(done) = planned.done(node, above) {
                each(&done, &mut |code| planned.conditions(&done, code));
            }
            open.children(node, above);
        }
    }
}

struct Stack {
    used: usize,
    /// Subplans that were met, a bit each: several expressions may share one.
    met: [u64; MOST_SUBPLANS / 64],
}

impl Stack {
    fn push(&mut self, node: *mut PlanState, above: Above) {
        if !node.is_null() && self.used < MOST_OPEN {
            // SAFETY: a variable of this process, which has one thread and walks one plan at a time.
            unsafe { (&raw mut OPEN).cast::<Open>().add(self.used).write(Open(node, above)) };
            self.used += 1;
        }
    }

    fn pop(&mut self) -> Option<Open> {
        self.used = self.used.checked_sub(1)?;
        // SAFETY: as above; what lies there was pushed.
        Some(unsafe { (&raw const OPEN).cast::<Open>().add(self.used).read() })
    }

    /// # Safety
    /// A list of nodes of an execution, or of subplans; or NULL.
    unsafe fn list(&mut self, list: *mut pg_sys::List, sub: bool, above: Above) {
        // SAFETY: by the caller's word; a list has `length` cells from `elements` on.
        unsafe {
            let Some(list) = list.as_ref() else { return };
            for i in 0..list.length.max(0) as usize {
                let cell = (*list.elements.add(i)).ptr_value;
                // A subquery of an expression may be left as soon as its result is known.
                let above = Above { cut: true, ..above };
                if !sub {
                    self.push(cell.cast(), above);
                    continue;
                }
                let state = &*cell.cast::<pg_sys::SubPlanState>();
                let id = (*state.subplan).plan_id.unsigned_abs() as usize % MOST_SUBPLANS;
                let (word, bit) = (id / 64, 1 << (id % 64));
                if self.met[word] & bit == 0 {
                    self.met[word] |= bit;
                    self.push(state.planstate, above);
                }
            }
        }
    }

    /// # Safety
    /// An array of so many nodes.
    unsafe fn array(&mut self, nodes: *mut *mut PlanState, n: i32, above: Above) {
        if nodes.is_null() {
            return;
        }
        for i in (0..n.max(0) as usize).rev() {
            // SAFETY: by the caller's word.
            self.push(unsafe { *nodes.add(i) }, above);
        }
    }

    /// # Safety
    /// A node of an execution.
    unsafe fn children(&mut self, node: *mut PlanState, above: Above) {
        // SAFETY: by the caller's word; a node is of the kind that its plan says.
        unsafe {
            let plan = (*node).plan;
            let tag = (*plan).type_;
            let mut below = Above { cut: above.cut || rows::stops_early(plan, tag), ..above };
            if matches!(tag, NodeTag::T_Gather | NodeTag::T_GatherMerge) {
                below.gather = node;
            }
            // The last that is pushed is looked at first.
            self.list((*node).subPlan, true, above);
            match tag {
                NodeTag::T_Append => {
                    let state = node.cast::<pg_sys::AppendState>();
                    self.array((*state).appendplans, (*state).as_nplans, below);
                }
                NodeTag::T_MergeAppend => {
                    let state = node.cast::<pg_sys::MergeAppendState>();
                    self.array((*state).mergeplans, (*state).ms_nplans, below);
                }
                NodeTag::T_SubqueryScan => {
                    self.push((*node.cast::<pg_sys::SubqueryScanState>()).subplan, below);
                }
                NodeTag::T_CustomScan => {
                    self.list((*node.cast::<pg_sys::CustomScanState>()).custom_ps, false, above);
                }
                _ => {}
            }
            self.push((*node).righttree, below);
            self.push((*node).lefttree, below);
            self.list((*node).initPlan, true, above);
        }
    }
}

impl Planned {
    /// What a node did, if that is worth telling.
    ///
    /// # Safety
    /// A node of this plan's execution, and what stands above it.
    unsafe fn done(&mut self, node: *mut PlanState, above: Above) -> Option<Done> {
        // SAFETY: by the caller's word.
        unsafe {
            let plan = (*node).plan;
            let kind = kind_of((*plan).type_)?;
            let rows = rows::of(node, kind)?;
            let spilled = spill::of(node);
            let whole = kind.reads_all() || is_of_whole_index(plan);
            let telling = rows.removed > rows.kept || spilled.is_some() || whole;
            // Most nodes have nothing to tell.
            if !telling && kind != Kind::NestedLoop {
                return None;
            }
            let mut counts = Counts::default();
            counts.set(Slot::Executions, 1);
            counts.set(Slot::Loops, rows.loops as u64);
            counts.set(Slot::Read, (rows.kept + rows.removed) as u64);
            counts.set(Slot::Kept, rows.kept as u64);
            counts.set(Slot::Estimated, estimate::expected(node, above.gather, rows.loops) as u64);
            if let Some(bytes) = spilled {
                counts.set(Slot::Spills, 1);
                counts.set(Slot::SpilledBytes, bytes);
            }
            let misjudged = kind == Kind::NestedLoop
                && estimate::is_wrong(node, (above.gather, above.cut), &rows, &mut counts);
            if !telling && !misjudged {
                return None;
            }
            let mut done = Done { kind, relation: 0, child: 0, index: 0, counts, plan, scan: 0 };
            if is_scan(kind) {
                done.scan = (*plan.cast::<pg_sys::Scan>()).scanrelid;
                if is_of_table(kind) {
                    (done.relation, done.child) = self.tables(node, done.scan)?;
                }
            }
            if kind == Kind::Conflict {
                let changed = plan.cast::<pg_sys::ModifyTable>();
                let first = (*changed).resultRelations.as_ref().filter(|all| all.length > 0)?;
                done.scan = u32::try_from((*first.elements).int_value).ok()?;
                let state = (*node.cast::<pg_sys::ModifyTableState>()).resultRelInfo;
                done.relation = table_of_users((*state).ri_RelationDesc)?;
                done.child = done.relation;
            }
            done.index = index_of(plan);
            Some(done)
        }
    }

    /// The table that a scan reads, and the one that the statement names for it; `None` for those of the server and
    /// those of a session.
    ///
    /// # Safety
    /// A scan of this plan's execution, and its place in the range table.
    unsafe fn tables(&mut self, node: *mut PlanState, place: u32) -> Option<(u32, u32)> {
        // SAFETY: by the caller's word; a relation that is scanned is open.
        unsafe {
            let relation = (*node.cast::<pg_sys::ScanState>()).ss_currentRelation.as_ref();
            if relation.is_none() && place == 0 {
                // A join that is made elsewhere.
                return Some((0, 0));
            }
            let child = table_of_users(relation?)?;
            Some((self.parent_of(place).unwrap_or(child), child))
        }
    }

    /// The table of which that in this place is a partition or child, as far up as the statement goes.
    ///
    /// # Safety
    /// The statement is alive.
    unsafe fn parent_of(&mut self, place: u32) -> Option<u32> {
        // SAFETY: by the caller's word.
        unsafe {
            let all = (*self.statement).appendRelations.as_ref()?;
            let (mut place, mut found) = (place, None);
            // Deeper trees of partitions are not followed.
            for _ in 0..8 {
                let Some(info) = self.above(all, place) else { break };
                let parent = (*info).parent_reloid.to_u32();
                if parent == 0 {
                    break;
                }
                found = Some(parent);
                place = (*info).parent_relid;
            }
            found
        }
    }

    /// # Safety
    /// The list of the statement's inheritance relations.
    unsafe fn above(
        &mut self,
        all: &pg_sys::List,
        place: u32,
    ) -> Option<*mut pg_sys::AppendRelInfo> {
        let n = all.length.max(0);
        for step in 0..n {
            let at = (self.cursor + step) % n;
            // SAFETY: by the caller's word.
            let info = unsafe {
                (*all.elements.add(at as usize)).ptr_value.cast::<pg_sys::AppendRelInfo>()
            };
            // SAFETY: as above.
            if unsafe { (*info).child_relid } == place {
                self.cursor = at;
                return Some(info);
            }
        }
        None
    }

    /// Writes the conditions of a node.
    ///
    /// # Safety
    /// A node of this plan's execution.
    unsafe fn conditions(&self, done: &Done, code: &mut Code) {
        // SAFETY: by the caller's word; a plan is of the kind that its tag says.
        unsafe {
            let plan = done.plan;
            let mut writer =
                Writer::new((self.statement, self.params, &self.once), plan, done.scan, code);
            match (*plan).type_ {
                NodeTag::T_IndexScan => {
                    let scan = plan.cast::<pg_sys::IndexScan>();
                    writer.stage(Stage::Index, (*scan).indexqualorig);
                }
                NodeTag::T_IndexOnlyScan => {
                    let scan = plan.cast::<pg_sys::IndexOnlyScan>();
                    writer.stage(Stage::Index, (*scan).recheckqual);
                }
                NodeTag::T_BitmapHeapScan => {
                    let scan = plan.cast::<pg_sys::BitmapHeapScan>();
                    writer.stage(Stage::Index, (*scan).bitmapqualorig);
                }
                NodeTag::T_HashJoin => {
                    let join = plan.cast::<pg_sys::HashJoin>();
                    writer.stage(Stage::Match, (*join).hashclauses);
                    writer.stage(Stage::Join, (*join).join.joinqual);
                }
                NodeTag::T_MergeJoin => {
                    let join = plan.cast::<pg_sys::MergeJoin>();
                    writer.stage(Stage::Match, (*join).mergeclauses);
                    writer.stage(Stage::Join, (*join).join.joinqual);
                }
                NodeTag::T_NestLoop => {
                    writer.stage(Stage::Join, (*plan.cast::<pg_sys::Join>()).joinqual);
                }
                NodeTag::T_Sort | NodeTag::T_IncrementalSort => {
                    let sort = &*plan.cast::<pg_sys::Sort>();
                    writer.columns(Stage::Sort, sort.sortColIdx, sort.numCols);
                }
                NodeTag::T_Agg => {
                    let agg = &*plan.cast::<pg_sys::Agg>();
                    writer.columns_below(Stage::Group, agg.grpColIdx, agg.numCols);
                }
                NodeTag::T_Result => {
                    let once = (*plan.cast::<pg_sys::Result>()).resconstantqual;
                    writer.stage(Stage::Once, once.cast());
                }
                NodeTag::T_ModifyTable => {
                    let filter = (*plan.cast::<pg_sys::ModifyTable>()).onConflictWhere;
                    writer.stage(Stage::Filter, filter.cast());
                }
                _ => {}
            }
            writer.stage(Stage::Filter, (*plan).qual);
        }
    }
}

/// A table's number; `None` for those of the server and those of a session.
///
/// # Safety
/// A relation that is open.
unsafe fn table_of_users(relation: *const pg_sys::RelationData) -> Option<u32> {
    // SAFETY: by the caller's word; it has its row of the catalog.
    unsafe {
        let number = (*relation).rd_id.to_u32();
        let session = (*(*relation).rd_rel).relpersistence as u8 == pg_sys::RELPERSISTENCE_TEMP;
        (number >= FIRST_OF_USERS && !session).then_some(number)
    }
}

/// Whether an index is gone through from one end to the other, and its rows looked at one by one: a scan of the whole
/// table in other clothes.
///
/// # Safety
/// A plan.
unsafe fn is_of_whole_index(plan: *mut pg_sys::Plan) -> bool {
    // SAFETY: by the caller's word; a plan is of the kind that its tag says.
    unsafe {
        let sought = match (*plan).type_ {
            NodeTag::T_IndexScan => (*plan.cast::<pg_sys::IndexScan>()).indexqual,
            NodeTag::T_IndexOnlyScan => (*plan.cast::<pg_sys::IndexOnlyScan>()).indexqual,
            _ => return false,
        };
        sought.is_null() && !(*plan).qual.is_null()
    }
}

/// # Safety
/// A plan.
unsafe fn index_of(plan: *mut pg_sys::Plan) -> u32 {
    // SAFETY: by the caller's word; a plan is of the kind that its tag says.
    unsafe {
        match (*plan).type_ {
            NodeTag::T_IndexScan => (*plan.cast::<pg_sys::IndexScan>()).indexid.to_u32(),
            NodeTag::T_IndexOnlyScan => (*plan.cast::<pg_sys::IndexOnlyScan>()).indexid.to_u32(),
            // That of several is none.
            NodeTag::T_BitmapHeapScan => match (*plan).lefttree.as_ref() {
                Some(below) if below.type_ == NodeTag::T_BitmapIndexScan => {
                    (*(*plan).lefttree.cast::<pg_sys::BitmapIndexScan>()).indexid.to_u32()
                }
                _ => 0,
            },
            _ => 0,
        }
    }
}

fn kind_of(tag: NodeTag) -> Option<Kind> {
    Some(match tag {
        NodeTag::T_SeqScan => Kind::SeqScan,
        NodeTag::T_SampleScan => Kind::SampleScan,
        NodeTag::T_IndexScan => Kind::IndexScan,
        NodeTag::T_IndexOnlyScan => Kind::IndexOnlyScan,
        NodeTag::T_BitmapHeapScan => Kind::BitmapScan,
        NodeTag::T_TidScan | NodeTag::T_TidRangeScan => Kind::TidScan,
        NodeTag::T_ForeignScan => Kind::ForeignScan,
        NodeTag::T_CustomScan => Kind::CustomScan,
        NodeTag::T_SubqueryScan => Kind::SubqueryScan,
        NodeTag::T_FunctionScan => Kind::FunctionScan,
        NodeTag::T_ValuesScan => Kind::ValuesScan,
        NodeTag::T_CteScan => Kind::CteScan,
        NodeTag::T_TableFuncScan | NodeTag::T_NamedTuplestoreScan | NodeTag::T_WorkTableScan => {
            Kind::OtherScan
        }
        NodeTag::T_NestLoop => Kind::NestedLoop,
        NodeTag::T_MergeJoin => Kind::MergeJoin,
        NodeTag::T_HashJoin => Kind::HashJoin,
        NodeTag::T_Agg => Kind::Aggregate,
        NodeTag::T_Group => Kind::Group,
        NodeTag::T_WindowAgg => Kind::Window,
        NodeTag::T_Result => Kind::Result,
        NodeTag::T_Gather | NodeTag::T_GatherMerge => Kind::Gather,
        NodeTag::T_Sort => Kind::Sort,
        NodeTag::T_IncrementalSort => Kind::IncrementalSort,
        NodeTag::T_Hash => Kind::Hash,
        NodeTag::T_ModifyTable => Kind::Conflict,
        NodeTag::T_Limit => Kind::Limit,
        _ => return None,
    })
}

fn is_scan(kind: Kind) -> bool {
    kind >= Kind::SeqScan && kind <= Kind::OtherScan
}

fn is_of_table(kind: Kind) -> bool {
    kind >= Kind::SeqScan && kind <= Kind::CustomScan
}
