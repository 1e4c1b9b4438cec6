//! Conditions of plans, written without their constants: columns, operators and functions by number. Trees are
//! only read, and only so deep.

use perfmon_core::capture::scan::code::{Code, Stage, Token};
use pgrx::pg_sys;
use pgrx::pg_sys::{List, Node, NodeTag};

use super::pattern;

/// Deeper trees are not followed.
const DEEPEST: usize = 12;
/// Targets of targets of … that a column is followed through.
const FURTHEST: usize = 8;

/// Results of subqueries with a higher number are not told from what other nodes give.
const MOST_RESULTS: usize = 1024;

/// Results of subqueries that are computed once, before the first row: a bit each, by the number of the parameter that
/// holds them.
#[derive(Clone, Copy)]
pub(super) struct Once([u64; MOST_RESULTS / 64]);

impl Default for Once {
    fn default() -> Self {
        Self([0; MOST_RESULTS / 64])
    }
}

impl Once {
    /// Remembers those of a node, which it and the nodes below it may look at.
    ///
    /// # Safety
    /// A node of an execution.
    pub(super) unsafe fn note(&mut self, node: *mut pg_sys::PlanState) {
        // SAFETY: by the caller's word; a list has `length` cells, of subplans or of numbers.
        unsafe {
            let Some(subplans) = (*node).initPlan.as_ref() else { return };
            for i in 0..subplans.length.max(0) as usize {
                let state = (*subplans.elements.add(i)).ptr_value.cast::<pg_sys::SubPlanState>();
                let Some(results) = (*(*state).subplan).setParam.as_ref() else { continue };
                for j in 0..results.length.max(0) as usize {
                    let number = (*results.elements.add(j)).int_value.unsigned_abs() as usize;
                    if number < MOST_RESULTS {
                        self.0[number / 64] |= 1 << (number % 64);
                    }
                }
            }
        }
    }

    fn has(&self, number: i32) -> bool {
        let number = number.unsigned_abs() as usize;
        number < MOST_RESULTS && self.0[number / 64] & 1 << (number % 64) != 0
    }
}

/// Writes the conditions of one node.
pub(super) struct Writer<'a> {
    statement: *mut pg_sys::PlannedStmt,
    params: pg_sys::ParamListInfo,
    once: &'a Once,
    plan: *mut pg_sys::Plan,
    /// Place of the table in the range table; 0 for none.
    scan: u32,
    code: &'a mut Code,
}

impl<'a> Writer<'a> {
    /// # Safety
    /// A node of the statement's plan, and the parameters that it was executed with, or NULL; all must outlive this.
    pub(super) unsafe fn new(
        (statement, params, once): (*mut pg_sys::PlannedStmt, pg_sys::ParamListInfo, &'a Once),
        plan: *mut pg_sys::Plan,
        scan: u32,
        code: &'a mut Code,
    ) -> Self {
        Self { statement, params, once, plan, scan, code }
    }

    /// All conditions of a list.
    ///
    /// # Safety
    /// A list of the node's expressions, or NULL.
    pub(super) unsafe fn stage(&mut self, stage: Stage, list: *mut List) {
        // SAFETY: by the caller's word.
        unsafe {
            let Some(list) = list.as_ref().filter(|list| list.length > 0) else { return };
            self.code.push(Token::Stage(stage));
            for i in 0..list.length as usize {
                self.expression((*list.elements.add(i)).ptr_value.cast(), 0);
            }
        }
    }

    /// What the node's results are sorted by.
    ///
    /// # Safety
    /// Numbers of targets of the node itself.
    pub(super) unsafe fn columns(&mut self, stage: Stage, numbers: *mut i16, n: i32) {
        // SAFETY: by the caller's word.
        unsafe { self.targets(stage, (*self.plan).targetlist, numbers, n) }
    }

    /// The same, of the node below.
    ///
    /// # Safety
    /// Numbers of targets of the node below.
    pub(super) unsafe fn columns_below(&mut self, stage: Stage, numbers: *mut i16, n: i32) {
        // SAFETY: by the caller's word.
        unsafe {
            if let Some(below) = (*self.plan).lefttree.as_ref() {
                self.targets(stage, below.targetlist, numbers, n);
            }
        }
    }

    /// # Safety
    /// A list of targets, and numbers of some of them.
    unsafe fn targets(&mut self, stage: Stage, targets: *mut List, numbers: *mut i16, n: i32) {
        if n <= 0 || numbers.is_null() {
            return;
        }
        self.code.push(Token::Stage(stage));
        for i in 0..n as usize {
            // SAFETY: by the caller's word.
            match unsafe { target(targets, *numbers.add(i)) } {
                // SAFETY: as above.
                Some(expression) => drop(unsafe { self.expression(expression, 0) }),
                None => self.code.push(Token::Unknown),
            }
        }
    }

    /// Writes an expression; says whether anything in it differs from row to row. What does not is a value,
    /// whatever it is made of.
    ///
    /// # Safety
    /// An expression of the node, or NULL.
    unsafe fn expression(&mut self, node: *mut Node, depth: usize) -> bool {
        if node.is_null() || depth > DEEPEST {
            self.code.push(Token::Unknown);
            return true;
        }
        // SAFETY: by the caller's word; a node is of the kind that its tag says.
        unsafe {
            match (*node).type_ {
                NodeTag::T_Var => self.column(&*node.cast(), 0),
                NodeTag::T_Const | NodeTag::T_SQLValueFunction => self.leaf(Token::Value, false),
                NodeTag::T_Param => {
                    let param = &*node.cast::<pg_sys::Param>();
                    let given = param.paramkind == pg_sys::ParamKind::PARAM_EXEC
                        && !self.once.has(param.paramid);
                    self.leaf(if given { Token::Given } else { Token::Value }, given)
                }
                NodeTag::T_OpExpr => {
                    let op = node.cast::<pg_sys::OpExpr>();
                    let n = length((*op).args);
                    if pattern::is_like((*op).opno) && n == 2 {
                        return self.like(&*op, depth);
                    }
                    self.inner(Token::Operator((*op).opno.to_u32(), n), (*op).args, depth)
                }
                NodeTag::T_DistinctExpr => {
                    let op = node.cast::<pg_sys::OpExpr>();
                    self.inner(Token::Distinct((*op).opno.to_u32()), (*op).args, depth)
                }
                NodeTag::T_ScalarArrayOpExpr => {
                    let op = &*node.cast::<pg_sys::ScalarArrayOpExpr>();
                    let oid = op.opno.to_u32();
                    let token = if op.useOr { Token::Any(oid) } else { Token::All(oid) };
                    self.inner(token, op.args, depth)
                }
                NodeTag::T_FuncExpr => self.function(&*node.cast(), depth),
                NodeTag::T_BoolExpr => {
                    let of = &*node.cast::<pg_sys::BoolExpr>();
                    let n = length(of.args);
                    let token = match of.boolop {
                        pg_sys::BoolExprType::AND_EXPR => Token::And(n),
                        pg_sys::BoolExprType::OR_EXPR => Token::Or(n),
                        _ => Token::Not,
                    };
                    self.inner(token, of.args, depth)
                }
                NodeTag::T_NullTest => {
                    let test = &*node.cast::<pg_sys::NullTest>();
                    let is = test.nulltesttype == pg_sys::NullTestType::IS_NULL;
                    let token = if is { Token::IsNull } else { Token::IsNotNull };
                    self.one(token, test.arg.cast(), depth)
                }
                NodeTag::T_BooleanTest => {
                    let test = &*node.cast::<pg_sys::BooleanTest>();
                    self.one(Token::Truth(test.booltesttype as u8), test.arg.cast(), depth)
                }
                _ => self.wrapper(node, depth),
            }
        }
    }

    /// Expressions that only change the type of another, and all that is left.
    ///
    /// # Safety
    /// As for `expression`.
    unsafe fn wrapper(&mut self, node: *mut Node, depth: usize) -> bool {
        // SAFETY: by the caller's word; a node is of the kind that its tag says.
        unsafe {
            match (*node).type_ {
                NodeTag::T_RelabelType => {
                    self.expression((*node.cast::<pg_sys::RelabelType>()).arg.cast(), depth + 1)
                }
                NodeTag::T_CollateExpr => {
                    self.expression((*node.cast::<pg_sys::CollateExpr>()).arg.cast(), depth + 1)
                }
                NodeTag::T_CoerceToDomain => {
                    let arg = (*node.cast::<pg_sys::CoerceToDomain>()).arg;
                    self.expression(arg.cast(), depth + 1)
                }
                NodeTag::T_CoerceViaIO => {
                    let cast = &*node.cast::<pg_sys::CoerceViaIO>();
                    self.one(Token::Cast(cast.resulttype.to_u32()), cast.arg.cast(), depth)
                }
                NodeTag::T_ArrayCoerceExpr => {
                    let cast = &*node.cast::<pg_sys::ArrayCoerceExpr>();
                    self.one(Token::Cast(cast.resulttype.to_u32()), cast.arg.cast(), depth)
                }
                NodeTag::T_ArrayExpr => {
                    // An array of values is a value; of others nobody asks which.
                    let mark = self.code.mark();
                    let varies = self.list((*node.cast::<pg_sys::ArrayExpr>()).elements, depth);
                    self.code.back_to(mark);
                    self.leaf(if varies { Token::Unknown } else { Token::Value }, varies)
                }
                NodeTag::T_CoalesceExpr => {
                    let args = (*node.cast::<pg_sys::CoalesceExpr>()).args;
                    self.inner(Token::Coalesce(length(args)), args, depth)
                }
                NodeTag::T_SubscriptingRef => self.element(&*node.cast(), depth),
                NodeTag::T_RowCompareExpr => self.rows(&*node.cast(), depth),
                NodeTag::T_RowExpr => {
                    let args = (*node.cast::<pg_sys::RowExpr>()).args;
                    self.inner(Token::Row(length(args)), args, depth)
                }
                NodeTag::T_SubPlan | NodeTag::T_AlternativeSubPlan => {
                    self.leaf(Token::Subquery, true)
                }
                _ => self.leaf(Token::Unknown, true),
            }
        }
    }

    /// An element of an array, or of a document.
    ///
    /// # Safety
    /// As for `expression`.
    unsafe fn element(&mut self, of: &pg_sys::SubscriptingRef, depth: usize) -> bool {
        let mark = self.code.mark();
        // SAFETY: by the caller's word.
        let n = unsafe { length(of.refupperindexpr) };
        // A part of an array, and what an assignment makes, is nothing that is compared.
        if n == 0 || n == u8::MAX || !of.reflowerindexpr.is_null() || !of.refassgnexpr.is_null() {
            return self.leaf(Token::Unknown, true);
        }
        self.code.push(Token::Element(n + 1));
        // SAFETY: by the caller's word.
        unsafe {
            let varies = self.expression(of.refexpr.cast(), depth + 1);
            let by = self.list(of.refupperindexpr, depth);
            self.settle(mark, varies || by)
        }
    }

    /// Rows compared by `<` and the like, column by column.
    ///
    /// # Safety
    /// As for `expression`.
    unsafe fn rows(&mut self, of: &pg_sys::RowCompareExpr, depth: usize) -> bool {
        // SAFETY: by the caller's word; there is an operator for each pair of columns.
        unsafe {
            let Some(operators) = of.opnos.as_ref().filter(|all| all.length > 0) else {
                return self.leaf(Token::Unknown, true);
            };
            let mark = self.code.mark();
            self.code.push(Token::Operator((*operators.elements).oid_value.to_u32(), 2));
            let left = self.inner(Token::Row(length(of.largs)), of.largs, depth + 1);
            let right = self.inner(Token::Row(length(of.rargs)), of.rargs, depth + 1);
            self.settle(mark, left || right)
        }
    }

    /// A comparison with a pattern: of one that is a value, whether it begins with a wildcard.
    ///
    /// # Safety
    /// As for `expression`; two operands.
    unsafe fn like(&mut self, op: &pg_sys::OpExpr, depth: usize) -> bool {
        let mark = self.code.mark();
        self.code.push(Token::Operator(op.opno.to_u32(), 2));
        // SAFETY: by the caller's word.
        unsafe {
            let operands = (*op.args).elements;
            let varies = self.expression((*operands).ptr_value.cast(), depth + 1);
            let before = self.code.mark();
            let pattern = (*operands.add(1)).ptr_value.cast();
            if self.expression(pattern, depth + 1) {
                return true;
            }
            if let Some(wildcard) = pattern::begins_with_wildcard(pattern, self.params, 0) {
                self.code.back_to(before);
                self.code.push(if wildcard { Token::Wildcard } else { Token::Anchored });
            }
            self.settle(mark, varies)
        }
    }

    fn leaf(&mut self, token: Token, varies: bool) -> bool {
        self.code.push(token);
        varies
    }

    /// # Safety
    /// As for `expression`.
    unsafe fn function(&mut self, of: &pg_sys::FuncExpr, depth: usize) -> bool {
        let cast = matches!(
            of.funcformat,
            pg_sys::CoercionForm::COERCE_EXPLICIT_CAST | pg_sys::CoercionForm::COERCE_IMPLICIT_CAST
        );
        // SAFETY: by the caller's word.
        unsafe {
            if cast && let Some(args) = of.args.as_ref().filter(|args| args.length > 0) {
                // Further arguments are the modifier of the type.
                let first = (*args.elements).ptr_value.cast();
                return self.one(Token::Cast(of.funcresulttype.to_u32()), first, depth);
            }
            self.inner(Token::Function(of.funcid.to_u32(), length(of.args)), of.args, depth)
        }
    }

    /// # Safety
    /// As for `expression`.
    unsafe fn one(&mut self, token: Token, operand: *mut Node, depth: usize) -> bool {
        let mark = self.code.mark();
        self.code.push(token);
        // SAFETY: by the caller's word.
        let varies = unsafe { self.expression(operand, depth + 1) };
        self.settle(mark, varies)
    }

    /// # Safety
    /// A list of expressions of the node.
    unsafe fn inner(&mut self, token: Token, operands: *mut List, depth: usize) -> bool {
        let mark = self.code.mark();
        // SAFETY: by the caller's word.
        unsafe {
            if usize::from(length(operands)) != token.operands() {
                return self.leaf(Token::Unknown, true);
            }
            self.code.push(token);
            let varies = self.list(operands, depth);
            self.settle(mark, varies)
        }
    }

    /// # Safety
    /// A list of expressions of the node.
    unsafe fn list(&mut self, list: *mut List, depth: usize) -> bool {
        let mut varies = false;
        // SAFETY: by the caller's word.
        unsafe {
            for i in 0..usize::from(length(list)) {
                varies |= self.expression((*(*list).elements.add(i)).ptr_value.cast(), depth + 1);
            }
        }
        varies
    }

    fn settle(&mut self, mark: usize, varies: bool) -> bool {
        if !varies {
            self.code.back_to(mark);
            self.code.push(Token::Value);
        }
        varies
    }

    /// A column of the table that is scanned, of another one, or of something else.
    ///
    /// # Safety
    /// A column of the node, or of a target below it.
    unsafe fn column(&mut self, var: &pg_sys::Var, steps: usize) -> bool {
        // SAFETY: by the caller's word.
        unsafe {
            let place = u32::try_from(var.varno).unwrap_or(0);
            // The row that was to be inserted has the table's own columns.
            if var.varno == pg_sys::INNER_VAR && (*self.plan).type_ == NodeTag::T_ModifyTable {
                return self.leaf(Token::Given, true);
            }
            if place != 0 && place == self.scan {
                return self.leaf(Token::Column(var.varattno), true);
            }
            let (place, number) =
                if place != 0 { (place, var.varattno) } else { (var.varnosyn, var.varattnosyn) };
            if let Some(token) = self.named(place, number) {
                return self.leaf(token, true);
            }
            // What is made of other nodes' targets is looked up there.
            let below = match var.varno {
                pg_sys::INDEX_VAR => self.indexed(),
                _ => std::ptr::null_mut(),
            };
            match target(below, var.varattno) {
                Some(found) if steps < FURTHEST && (*found).type_ == NodeTag::T_Var => {
                    self.column(&*found.cast(), steps + 1)
                }
                _ => self.leaf(Token::Unknown, true),
            }
        }
    }

    /// # Safety
    /// The statement is alive.
    unsafe fn named(&self, place: u32, number: i16) -> Option<Token> {
        // SAFETY: by the caller's word.
        unsafe {
            let entries = (*self.statement).rtable.as_ref()?;
            let at = (place as usize).checked_sub(1).filter(|at| *at < entries.length as usize)?;
            let entry = (*entries.elements.add(at)).ptr_value.cast::<pg_sys::RangeTblEntry>();
            if (*entry).rtekind != pg_sys::RTEKind::RTE_RELATION {
                return None;
            }
            let own = place == self.scan;
            let other = Token::Other((*entry).relid.to_u32(), number);
            Some(if own { Token::Column(number) } else { other })
        }
    }

    /// Columns of the index of a scan that reads nothing else.
    ///
    /// # Safety
    /// The plan is alive.
    unsafe fn indexed(&self) -> *mut List {
        // SAFETY: by the caller's word; a plan is of the kind that its tag says.
        unsafe {
            match (*self.plan).type_ {
                NodeTag::T_IndexOnlyScan => (*self.plan.cast::<pg_sys::IndexOnlyScan>()).indextlist,
                NodeTag::T_ForeignScan => (*self.plan.cast::<pg_sys::ForeignScan>()).fdw_scan_tlist,
                NodeTag::T_CustomScan => {
                    (*self.plan.cast::<pg_sys::CustomScan>()).custom_scan_tlist
                }
                _ => std::ptr::null_mut(),
            }
        }
    }
}

/// # Safety
/// A list, or NULL.
unsafe fn length(list: *mut List) -> u8 {
    // SAFETY: by the caller's word. Longer ones have no room anyway.
    unsafe { list.as_ref() }.map_or(0, |list| list.length.clamp(0, 255) as u8)
}

/// The expression of a target.
///
/// # Safety
/// A list of targets, or NULL.
unsafe fn target(targets: *mut List, number: i16) -> Option<*mut Node> {
    // SAFETY: by the caller's word.
    unsafe {
        let targets = targets.as_ref()?;
        let at = usize::try_from(number).ok()?.checked_sub(1)?;
        if at >= targets.length as usize {
            return None;
        }
        let entry = (*targets.elements.add(at)).ptr_value.cast::<pg_sys::TargetEntry>();
        Some((*entry).expr.cast())
    }
}
