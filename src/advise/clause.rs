//! The conditions of a statement's queries: which columns of which tables they narrow, and how. A
//! condition counts only where a scan of the table could use it: joined to all others by AND, and not on
//! the side of an outer join that is kept whole.

use std::collections::HashSet;
use std::ffi::c_int;

use perfmon_core::facts::{Order, Predicate, Test};
use pgrx::pg_sys;
use pgrx::pg_sys::{BoolExprType, JoinType, Node, NodeTag, Oid, SubLinkType};

use super::operator::{Comparison, Families};
use super::scope::{Entry, Meaning, Scopes, What, is_plain, places_in, plain};
use crate::pg::{compat, list};

mod either;
mod given;
mod operand;
mod sublink;

use either::either;
use operand::Operand;

/// More conditions on one table are not kept.
const MOST_CONDITIONS: usize = 64;

/// A condition on a table, by the number of its use.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Condition {
    pub(super) place: usize,
    pub(super) predicate: Predicate,
    below: bool,
    above: bool,
}

impl Condition {
    /// With both ends of a range put together.
    pub(super) fn finished(mut self) -> Predicate {
        if self.below && self.above {
            self.predicate.test = Test::Between;
        }
        self.predicate
    }
}

/// How a query relates to those around it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Relation {
    /// Joined: conditions that compare with tables around it count for these too.
    Joined,
    /// Tables around it are read whole, and each row is looked up in it or not.
    Excluded,
    /// Run again for each row around it.
    Repeated,
}

/// Where a condition stands.
struct Context {
    scope: usize,
    relation: Relation,
    /// The places of this query for which it counts; `None` for all.
    only: Option<Vec<c_int>>,
    /// The subquery of an IN that it belongs to.
    sublink: Option<usize>,
}

/// Goes through all conditions of a statement.
///
/// # Safety
/// The trees are alive.
pub(super) unsafe fn judge(scopes: &mut Scopes, families: &Families) {
    // SAFETY: by the caller's word.
    unsafe { Judge { scopes, families }.query(0, Relation::Repeated) }
}

/// What rows are sorted by, if it is of one table and an index could hold it; and its type.
///
/// # Safety
/// The trees are alive; the meaning is one of that query's.
pub(super) unsafe fn sort_key(
    scopes: &mut Scopes,
    families: &Families,
    scope: usize,
    meaning: Meaning,
) -> Option<(usize, Order, Oid)> {
    let context = Context { scope, relation: Relation::Joined, only: None, sublink: None };
    // SAFETY: by the caller's word.
    let operand = unsafe { Judge { scopes, families }.operand(&context, meaning)? };
    let order = Order {
        expression: operand.expression,
        attnum: operand.attnum,
        descending: false,
        nulls_first: false,
    };
    (!operand.is_useless).then_some((operand.place, order, operand.of_type))
}

struct Judge<'a> {
    scopes: &'a mut Scopes,
    families: &'a Families,
}

impl Judge<'_> {
    unsafe fn query(&mut self, scope: usize, relation: Relation) {
        // SAFETY: nodes of a live query.
        unsafe {
            if std::mem::replace(&mut self.scopes.all[scope].judged, true) {
                return;
            }
            let query = self.scopes.all[scope].query;
            let merges = (*query).commandType == pg_sys::CmdType::CMD_MERGE;
            let mut context = Context { scope, relation, only: None, sublink: None };
            self.from((*query).jointree.cast(), &context, merges);
            if merges {
                // Rows of the source that match nothing are wanted too.
                context.only = Some(vec![(*query).resultRelation]);
                self.clause(compat::merge_condition(query), &context);
            }
            for entry in self.scopes.all[scope].entries.clone() {
                if let Entry::Query(inner) = entry {
                    let joined = is_plain(self.scopes.all[inner].query);
                    let relation = if joined { Relation::Joined } else { Relation::Repeated };
                    self.query(inner, relation);
                }
            }
            for inner in self.scopes.all[scope].ctes.clone() {
                self.query(inner, Relation::Repeated);
            }
            for (_, inner) in self.scopes.all[scope].sublinks.clone() {
                self.query(inner, Relation::Repeated);
            }
        }
    }

    /// The conditions of a FROM with its WHERE; inner joins first, so that what they may leave NULL is
    /// known above them.
    unsafe fn from(&mut self, node: *mut Node, context: &Context, joins_only: bool) {
        // SAFETY: nodes of a live query, cast by their own tags.
        unsafe {
            if node.is_null() || pg_sys::stack_is_too_deep() {
                return;
            }
            match (*node).type_ {
                NodeTag::T_FromExpr => {
                    let from = node.cast::<pg_sys::FromExpr>();
                    for item in list::nodes((*from).fromlist) {
                        self.from(item, context, false);
                    }
                    if !joins_only {
                        self.clause((*from).quals, context);
                    }
                }
                NodeTag::T_JoinExpr => self.join(node.cast(), context),
                _ => {}
            }
        }
    }

    unsafe fn join(&mut self, join: *mut pg_sys::JoinExpr, context: &Context) {
        // SAFETY: a node of a live query.
        unsafe {
            self.from((*join).larg, context, false);
            self.from((*join).rarg, context, false);
            let (mut left, mut right) = (Vec::new(), Vec::new());
            places_in((*join).larg, &mut left);
            places_in((*join).rarg, &mut right);
            let only = match (*join).jointype {
                JoinType::JOIN_LEFT => Some(right),
                JoinType::JOIN_RIGHT => Some(left),
                JoinType::JOIN_FULL => {
                    left.append(&mut right);
                    self.scopes.all[context.scope].nullable.append(&mut left);
                    return;
                }
                _ => None,
            };
            let nullable = only.clone().unwrap_or_default();
            self.clause((*join).quals, &Context { only, sublink: None, ..*context });
            self.scopes.all[context.scope].nullable.extend(nullable);
        }
    }

    unsafe fn clause(&mut self, node: *mut Node, context: &Context) {
        // SAFETY: a node of that query.
        let found = unsafe { self.conditions(node, context, true) };
        for condition in found {
            self.keep(condition);
        }
    }

    fn keep(&mut self, new: Condition) {
        let all = &mut self.scopes.uses[new.place].conditions;
        let room = all.len() < MOST_CONDITIONS;
        match all.iter_mut().find(|old| old.predicate == new.predicate) {
            Some(old) => {
                old.below |= new.below;
                old.above |= new.above;
            }
            None if room => all.push(new),
            None => {}
        }
    }

    /// What an expression says of tables; `certain` while it must be true for a row to be found.
    unsafe fn conditions(
        &mut self,
        node: *mut Node,
        context: &Context,
        certain: bool,
    ) -> Vec<Condition> {
        // SAFETY: nodes of a live query, cast by their own tags.
        unsafe {
            let node = plain(node);
            if node.is_null() || pg_sys::stack_is_too_deep() {
                return Vec::new();
            }
            match (*node).type_ {
                NodeTag::T_BoolExpr => self.connected(node.cast(), context, certain),
                NodeTag::T_SubLink => self.sublink(node.cast(), context, certain),
                NodeTag::T_OpExpr => {
                    let operation = node.cast::<pg_sys::OpExpr>();
                    match list::nodes((*operation).args)[..] {
                        [left, right] => {
                            self.compared(context, left, (*operation).opno, right, node)
                        }
                        _ => self.other(context, node),
                    }
                }
                NodeTag::T_ScalarArrayOpExpr => self.any_of(node.cast(), context),
                NodeTag::T_RowCompareExpr => self.rows(node.cast(), context),
                NodeTag::T_NullTest => {
                    let test = node.cast::<pg_sys::NullTest>();
                    let is_null = (*test).nulltesttype == pg_sys::NullTestType::IS_NULL;
                    match is_null && !(*test).argisrow {
                        true => self.alone(context, (*test).arg.cast(), Test::Null, node),
                        false => self.other(context, node),
                    }
                }
                NodeTag::T_BooleanTest => {
                    use pg_sys::BoolTestType::{IS_FALSE, IS_TRUE, IS_UNKNOWN};
                    let test = node.cast::<pg_sys::BooleanTest>();
                    let argument = (*test).arg.cast();
                    match (*test).booltesttype {
                        IS_TRUE | IS_FALSE => self.alone(context, argument, Test::Equal, node),
                        IS_UNKNOWN => self.alone(context, argument, Test::Null, node),
                        _ => self.other(context, node),
                    }
                }
                NodeTag::T_Var => self.alone(context, node, Test::Equal, node),
                NodeTag::T_FuncExpr => self.called(node.cast(), context),
                _ => self.other(context, node),
            }
        }
    }

    /// Rows compared with `<` and the like, as for paging: the first column decides most.
    unsafe fn rows(
        &mut self,
        rows: *mut pg_sys::RowCompareExpr,
        context: &Context,
    ) -> Vec<Condition> {
        // SAFETY: a node of a live query; its lists are of one length.
        unsafe {
            let sides = [(*rows).largs, (*rows).rargs].map(|side| list::nodes(side));
            let operators = (*rows).opnos;
            match (sides[0].first(), sides[1].first()) {
                (Some(&left), Some(&right)) if !operators.is_null() => {
                    let first = (*(*operators).elements).oid_value;
                    self.compared(context, left, first, right, rows.cast())
                }
                _ => Vec::new(),
            }
        }
    }

    unsafe fn connected(
        &mut self,
        expression: *mut pg_sys::BoolExpr,
        context: &Context,
        certain: bool,
    ) -> Vec<Condition> {
        // SAFETY: a node of a live query; the cast is by the argument's own tag.
        unsafe {
            let arguments = list::nodes((*expression).args);
            match ((*expression).boolop, &arguments[..]) {
                (BoolExprType::AND_EXPR, all) => {
                    all.iter().flat_map(|&one| self.conditions(one, context, certain)).collect()
                }
                (BoolExprType::OR_EXPR, all) => {
                    let arms = all.iter().map(|&one| self.conditions(one, context, false));
                    let found = either(arms.collect());
                    // What no index finds still takes rows away.
                    if found.is_empty() { self.other(context, expression.cast()) } else { found }
                }
                (_, &[one]) => {
                    let one = plain(one);
                    match (*one).type_ {
                        NodeTag::T_OpExpr => self.negated(one.cast(), context),
                        NodeTag::T_Var => self.alone(context, one, Test::Equal, one),
                        NodeTag::T_SubLink => {
                            let sublink = one.cast::<pg_sys::SubLink>();
                            if (*sublink).subLinkType == SubLinkType::EXISTS_SUBLINK
                                && let Some(inner) = self.inner(context, sublink)
                            {
                                self.query(inner, Relation::Excluded);
                            }
                            Vec::new()
                        }
                        _ => self.other(context, one),
                    }
                }
                _ => Vec::new(),
            }
        }
    }

    unsafe fn negated(
        &mut self,
        operation: *mut pg_sys::OpExpr,
        context: &Context,
    ) -> Vec<Condition> {
        // SAFETY: a node of a live query.
        unsafe {
            let opposite = pg_sys::get_negator((*operation).opno);
            match list::nodes((*operation).args)[..] {
                [left, right] if opposite != Oid::INVALID => {
                    self.compared(context, left, opposite, right, operation.cast())
                }
                _ => self.other(context, operation.cast()),
            }
        }
    }

    unsafe fn any_of(
        &mut self,
        operation: *mut pg_sys::ScalarArrayOpExpr,
        context: &Context,
    ) -> Vec<Condition> {
        // SAFETY: a node of a live query.
        unsafe {
            let node = operation.cast();
            let [left, right] = list::nodes((*operation).args)[..] else { return Vec::new() };
            if !(*operation).useOr {
                return self.other(context, node);
            }
            let meanings = self.operands(context, left, right);
            if meanings.is_empty() {
                return self.other(context, node);
            }
            let operator = (*operation).opno;
            let found = meanings.into_iter().map(|operand| {
                self.given_any(&operand, operator, right);
                let single = self.comparison(&operand, operator, std::ptr::null_mut());
                let test = match single.test {
                    Test::Equal => Test::In,
                    Test::Pattern | Test::Prefix => Test::Pattern,
                    _ => Test::Other,
                };
                operand.condition(test.into())
            });
            found.collect()
        }
    }

    unsafe fn called(&mut self, call: *mut pg_sys::FuncExpr, context: &Context) -> Vec<Condition> {
        // SAFETY: a node of a live query.
        unsafe {
            let arguments = list::nodes((*call).args);
            if (*call).funcid.to_u32() == STARTS_WITH && arguments.len() == 2 {
                return self.alone(context, arguments[0], Test::Prefix, call.cast());
            }
            self.other(context, call.cast())
        }
    }

    /// One side compared with another, looked at from both.
    unsafe fn compared(
        &mut self,
        context: &Context,
        left: *mut Node,
        operator: Oid,
        right: *mut Node,
        whole: *mut Node,
    ) -> Vec<Condition> {
        // SAFETY: nodes of a live query.
        unsafe {
            let commuted = pg_sys::get_commutator(operator);
            let mut found = Vec::new();
            let mut any = false;
            for (side, operator, other) in [(left, operator, right), (right, commuted, left)] {
                for operand in self.operands(context, side, other) {
                    any = true;
                    self.given(&operand, operator, other);
                    let comparison = match operator {
                        Oid::INVALID => Test::Other.into(),
                        _ => self.comparison(&operand, operator, plain(other)),
                    };
                    found.push(operand.condition(comparison));
                }
            }
            if any { found } else { self.other(context, whole) }
        }
    }

    unsafe fn comparison(&self, operand: &Operand, operator: Oid, other: *mut Node) -> Comparison {
        if operand.is_useless {
            return Test::Other.into();
        }
        // SAFETY: a node of a live query, or NULL.
        unsafe { self.families.comparison(operator, operand.of_type, other) }
    }

    /// A test of one value that no other is compared with.
    unsafe fn alone(
        &mut self,
        context: &Context,
        value: *mut Node,
        test: Test,
        whole: *mut Node,
    ) -> Vec<Condition> {
        // SAFETY: nodes of a live query.
        let operands = unsafe { self.operands(context, value, std::ptr::null_mut()) };
        if operands.is_empty() {
            // SAFETY: as above.
            return unsafe { self.other(context, whole) };
        }
        let nullable = &self.scopes.all[context.scope].nullable;
        let found = operands.iter().filter(|operand| {
            // IS NULL above an outer join finds what the join did not.
            let by_join = operand
                .entry
                .is_some_and(|(scope, place)| scope == context.scope && nullable.contains(&place));
            test != Test::Null || !by_join
        });
        found
            .map(|operand| {
                let test = if operand.is_useless { Test::Other } else { test };
                operand.clone().condition(test.into())
            })
            .collect()
    }

    /// Something that no index helps with: noted for each column that it looks at.
    unsafe fn other(&mut self, context: &Context, node: *mut Node) -> Vec<Condition> {
        let mut seen = HashSet::new();
        // SAFETY: a node of a live query.
        let columns = unsafe { self.columns(context, node) };
        let several = columns.known.iter().any(|c| c.place != columns.known[0].place);
        columns
            .known
            .iter()
            .filter(|c| self.counts(context, c.entry) && seen.insert((c.place, c.attnum)))
            .filter_map(|column| {
                let operand = self.column(column.place, column.attnum, column.of_type)?;
                let mut condition = operand.condition(Test::Other.into());
                condition.predicate.join = several || columns.unknown;
                Some(condition)
            })
            .collect()
    }

    /// Whether a condition in this context counts for what enters the query at this place.
    fn counts(&self, context: &Context, entry: Option<(usize, c_int)>) -> bool {
        let Some((scope, place)) = entry else { return true };
        if scope == context.scope {
            return context.only.as_ref().is_none_or(|only| only.contains(&place));
        }
        context.relation == Relation::Joined || !self.scopes.is_inside(context.scope, scope)
    }
}

/// `starts_with(text, text)`, fixed in the catalogs.
const STARTS_WITH: u32 = 3696;
