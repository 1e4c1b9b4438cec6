//! What an execution compares numbers of rows with: whether these told only that there are any, or none. The text of a
//! statement does not know the number, and the plan of a prepared one does not either. Trees are only read, and only so
//! far; of a number, only whether it is 0 or 1 is looked at.

use pgrx::pg_sys;
use pgrx::pg_sys::{List, Node, NodeTag, SubLinkType};

/// Deeper expressions are not followed.
const DEEPEST: usize = 12;
/// Nor more of them in one execution.
const MOST: u32 = 4096;
/// Results of subqueries that are computed once; further ones are not told apart.
const MOST_GIVEN: usize = 16;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Sign {
    Equal,
    Differs,
    Below,
    Most,
    Least,
    Above,
}

/// Functions of the comparisons of an int8 with an int8, int4 and int2, then with the sides changed; by sign.
const COMPARISONS: [(Sign, [u32; 3], [u32; 2]); 6] = [
    (
        Sign::Equal,
        [pg_sys::F_INT8EQ, pg_sys::F_INT84EQ, pg_sys::F_INT82EQ],
        [pg_sys::F_INT48EQ, pg_sys::F_INT28EQ],
    ),
    (
        Sign::Differs,
        [pg_sys::F_INT8NE, pg_sys::F_INT84NE, pg_sys::F_INT82NE],
        [pg_sys::F_INT48NE, pg_sys::F_INT28NE],
    ),
    (
        Sign::Below,
        [pg_sys::F_INT8LT, pg_sys::F_INT84LT, pg_sys::F_INT82LT],
        [pg_sys::F_INT48LT, pg_sys::F_INT28LT],
    ),
    (
        Sign::Most,
        [pg_sys::F_INT8LE, pg_sys::F_INT84LE, pg_sys::F_INT82LE],
        [pg_sys::F_INT48LE, pg_sys::F_INT28LE],
    ),
    (
        Sign::Least,
        [pg_sys::F_INT8GE, pg_sys::F_INT84GE, pg_sys::F_INT82GE],
        [pg_sys::F_INT48GE, pg_sys::F_INT28GE],
    ),
    (
        Sign::Above,
        [pg_sys::F_INT8GT, pg_sys::F_INT84GT, pg_sys::F_INT82GT],
        [pg_sys::F_INT48GT, pg_sys::F_INT28GT],
    ),
];

impl Sign {
    fn of(function: u32) -> Option<Self> {
        let known = |(_, as_is, turned): &&(Self, [u32; 3], [u32; 2])| {
            as_is.contains(&function) || turned.contains(&function)
        };
        COMPARISONS.iter().find(known).map(|(sign, _, _)| *sign)
    }

    fn turned(self) -> Self {
        match self {
            Self::Equal | Self::Differs => self,
            Self::Below => Self::Above,
            Self::Most => Self::Least,
            Self::Least => Self::Most,
            Self::Above => Self::Below,
        }
    }

    /// Whether a number of rows that stands so to another one says whether there are any, and nothing else.
    fn tells_none_from_some(self, number: i64) -> bool {
        match self {
            Self::Below | Self::Least => number == 1,
            _ => number == 0,
        }
    }
}

/// What was seen of an execution's comparisons.
pub(super) struct Counted {
    statement: *mut pg_sys::PlannedStmt,
    params: pg_sys::ParamListInfo,
    /// Numbers of the parameters that subqueries which count rows give their results in.
    given: [i32; MOST_GIVEN],
    used: usize,
    left: u32,
    asked: bool,
    /// A number told more, or is not known.
    told_more: bool,
}

impl Counted {
    /// # Safety
    /// A statement in the executor and the parameters that it was executed with, or NULL; both must outlive this.
    pub(super) unsafe fn of(
        statement: *mut pg_sys::PlannedStmt,
        params: pg_sys::ParamListInfo,
    ) -> Self {
        Self {
            statement,
            params,
            given: [0; MOST_GIVEN],
            used: 0,
            left: MOST,
            asked: false,
            told_more: false,
        }
    }

    /// Whether all numbers of rows that were compared, and there were some, told only whether there are any.
    pub(super) fn asks_for_any(&self) -> bool {
        self.asked && !self.told_more && self.left > 0
    }

    /// Looks at the expressions of a node, which comes after those above it.
    ///
    /// # Safety
    /// A node of the statement's plan.
    pub(super) unsafe fn look(&mut self, plan: *mut pg_sys::Plan) {
        // SAFETY: by the caller's word; a plan is of the kind that its tag says.
        unsafe {
            self.note_given((*plan).initPlan);
            self.list((*plan).targetlist, 0);
            self.list((*plan).qual, 0);
            match (*plan).type_ {
                NodeTag::T_Result => {
                    let once = (*plan.cast::<pg_sys::Result>()).resconstantqual;
                    self.list(once.cast(), 0);
                }
                NodeTag::T_NestLoop | NodeTag::T_MergeJoin | NodeTag::T_HashJoin => {
                    self.list((*plan.cast::<pg_sys::Join>()).joinqual, 0);
                }
                _ => {}
            }
        }
    }

    /// # Safety
    /// A list of subplans that are computed once, or NULL.
    unsafe fn note_given(&mut self, list: *mut List) {
        // SAFETY: by the caller's word; a list has `length` cells from `elements` on.
        unsafe {
            let Some(list) = list.as_ref() else { return };
            for i in 0..list.length.max(0) as usize {
                let plan = (*list.elements.add(i)).ptr_value.cast::<pg_sys::SubPlan>();
                if let Some(parameters) = (*plan).setParam.as_ref()
                    && parameters.length == 1
                    && self.used < MOST_GIVEN
                    && self.counts(plan)
                {
                    self.given[self.used] = (*parameters.elements).int_value;
                    self.used += 1;
                }
            }
        }
    }

    /// Whether a subplan gives a number of rows.
    ///
    /// # Safety
    /// A subplan of the statement.
    unsafe fn counts(&self, plan: *mut pg_sys::SubPlan) -> bool {
        // SAFETY: by the caller's word; a target list holds entries.
        unsafe {
            let subplans = (*self.statement).subplans.as_ref();
            let at = usize::try_from((*plan).plan_id).ok().and_then(|id| id.checked_sub(1));
            let (Some(subplans), Some(at)) = (subplans, at) else { return false };
            if (*plan).subLinkType != SubLinkType::EXPR_SUBLINK || at >= subplans.length as usize {
                return false;
            }
            let top = (*subplans.elements.add(at)).ptr_value.cast::<pg_sys::Plan>();
            let Some(top) = top.as_ref() else { return false };
            let first = top.targetlist.as_ref().filter(|targets| targets.length > 0);
            first.is_some_and(|targets| {
                let entry = (*targets.elements).ptr_value.cast::<pg_sys::TargetEntry>();
                is_count((*entry).expr.cast())
            })
        }
    }

    /// # Safety
    /// A list of expressions, or NULL.
    unsafe fn list(&mut self, list: *mut List, depth: usize) {
        // SAFETY: by the caller's word; a list has `length` cells from `elements` on.
        unsafe {
            let Some(list) = list.as_ref() else { return };
            for i in 0..list.length.max(0) as usize {
                self.expression((*list.elements.add(i)).ptr_value.cast(), depth);
            }
        }
    }

    /// # Safety
    /// An expression of the plan, or NULL.
    unsafe fn expression(&mut self, node: *mut Node, depth: usize) {
        if node.is_null() || depth > DEEPEST || self.left == 0 {
            return;
        }
        self.left -= 1;
        let below = depth + 1;
        // SAFETY: by the caller's word; a node is of the kind that its tag says.
        unsafe {
            match (*node).type_ {
                NodeTag::T_TargetEntry => {
                    self.expression((*node.cast::<pg_sys::TargetEntry>()).expr.cast(), below);
                }
                NodeTag::T_OpExpr => {
                    let operation = &*node.cast::<pg_sys::OpExpr>();
                    self.comparison(operation);
                    self.list(operation.args, below);
                }
                NodeTag::T_BoolExpr => {
                    self.list((*node.cast::<pg_sys::BoolExpr>()).args, below);
                }
                NodeTag::T_FuncExpr => {
                    self.list((*node.cast::<pg_sys::FuncExpr>()).args, below);
                }
                NodeTag::T_CoalesceExpr => {
                    self.list((*node.cast::<pg_sys::CoalesceExpr>()).args, below);
                }
                NodeTag::T_CaseExpr => {
                    let case = &*node.cast::<pg_sys::CaseExpr>();
                    self.expression(case.arg.cast(), below);
                    self.list(case.args, below);
                    self.expression(case.defresult.cast(), below);
                }
                NodeTag::T_CaseWhen => {
                    let arm = &*node.cast::<pg_sys::CaseWhen>();
                    self.expression(arm.expr.cast(), below);
                    self.expression(arm.result.cast(), below);
                }
                NodeTag::T_BooleanTest => {
                    self.expression((*node.cast::<pg_sys::BooleanTest>()).arg.cast(), below);
                }
                _ => {}
            }
        }
    }

    /// # Safety
    /// An operation of the plan.
    unsafe fn comparison(&mut self, operation: &pg_sys::OpExpr) {
        // SAFETY: by the caller's word; a list has `length` cells from `elements` on.
        unsafe {
            let Some(sign) = Sign::of(operation.opfuncid.to_u32()) else { return };
            let Some(sides) = operation.args.as_ref().filter(|sides| sides.length == 2) else {
                return;
            };
            let side = |i: usize| (*sides.elements.add(i)).ptr_value.cast::<Node>();
            let (sign, number) = if self.is_number_of_rows(side(0)) {
                (sign, side(1))
            } else if self.is_number_of_rows(side(1)) {
                (sign.turned(), side(0))
            } else {
                return;
            };
            self.asked = true;
            let number = self.number(number);
            self.told_more |= number.is_none_or(|number| !sign.tells_none_from_some(number));
        }
    }

    /// # Safety
    /// An expression of the plan.
    unsafe fn is_number_of_rows(&self, node: *mut Node) -> bool {
        // SAFETY: by the caller's word; a node is of the kind that its tag says.
        unsafe {
            match (*node).type_ {
                NodeTag::T_SubPlan => self.counts(node.cast()),
                NodeTag::T_Param => {
                    let parameter = &*node.cast::<pg_sys::Param>();
                    parameter.paramkind == pg_sys::ParamKind::PARAM_EXEC
                        && self.given[..self.used].contains(&parameter.paramid)
                }
                _ => is_count(node),
            }
        }
    }

    /// A whole number that is in the plan, or that the execution was given.
    ///
    /// # Safety
    /// An expression of the plan.
    unsafe fn number(&self, node: *mut Node) -> Option<i64> {
        // SAFETY: by the caller's word; a list has as many parameters as it says. One that is fetched by somebody's
        // function is left alone.
        unsafe {
            match (*node).type_ {
                NodeTag::T_Const => {
                    let constant = &*node.cast::<pg_sys::Const>();
                    whole(constant.constvalue, constant.constisnull, constant.consttype)
                }
                NodeTag::T_Param => {
                    let of = &*node.cast::<pg_sys::Param>();
                    let all = self.params.as_ref().filter(|all| all.paramFetch.is_none())?;
                    let at = usize::try_from(of.paramid).ok()?.checked_sub(1)?;
                    let given = of.paramkind == pg_sys::ParamKind::PARAM_EXTERN;
                    if !given || at >= all.numParams.max(0) as usize {
                        return None;
                    }
                    let one = &*all.params.as_ptr().add(at);
                    whole(one.value, one.isnull, one.ptype)
                }
                _ => None,
            }
        }
    }
}

/// Whether an expression is a number of rows: count(*), or count(value).
///
/// # Safety
/// An expression of a plan.
unsafe fn is_count(node: *mut Node) -> bool {
    // SAFETY: by the caller's word; a node is of the kind that its tag says.
    unsafe {
        !node.is_null()
            && (*node).type_ == NodeTag::T_Aggref
            && matches!(
                (*node.cast::<pg_sys::Aggref>()).aggfnoid.to_u32(),
                pg_sys::F_COUNT_ | pg_sys::F_COUNT_ANY
            )
    }
}

fn whole(value: pg_sys::Datum, is_null: bool, of_type: pg_sys::Oid) -> Option<i64> {
    match of_type {
        _ if is_null => None,
        pg_sys::INT2OID => Some(i64::from(value.value() as i16)),
        pg_sys::INT4OID => Some(i64::from(value.value() as i32)),
        pg_sys::INT8OID => Some(value.value() as i64),
        _ => None,
    }
}
