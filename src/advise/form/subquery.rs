//! Subqueries in conditions that ask for more than is wanted: NOT IN, and count(*) compared with nothing.

use perfmon_core::facts::{Form, FormKind};
use pgrx::pg_sys;
use pgrx::pg_sys::{BoolExprType, Node, NodeTag, Oid, Query, SubLink, SubLinkType};

use super::{Finder, Named, mask};
use crate::advise::order::is_limited;
use crate::advise::scope::{Entry, Meaning, What, is_plain, plain};
use crate::pg::{list, tree};

impl Finder<'_> {
    /// `x NOT IN (SELECT …)`, also written `x <> ALL (SELECT …)`.
    pub(super) unsafe fn not_in(&mut self, scope: usize, node: *mut Node) {
        // SAFETY: nodes of a live query, cast by their own tags.
        unsafe {
            let Some((sublink, negated)) = sublink_of(node) else { return };
            let kind = if negated { SubLinkType::ANY_SUBLINK } else { SubLinkType::ALL_SUBLINK };
            let test = plain((*sublink).testexpr);
            if (*sublink).subLinkType != kind
                || test.is_null()
                || (*test).type_ != NodeTag::T_OpExpr
            {
                return;
            }
            let test = test.cast::<pg_sys::OpExpr>();
            let [left, _] = list::nodes((*test).args)[..] else { return };
            let equal = match negated {
                true => (*test).opno,
                false => pg_sys::get_negator((*test).opno),
            };
            let of_type = pg_sys::exprType(left);
            if equal == Oid::INVALID || self.families.strategy(equal, of_type) != Some(2) {
                return;
            }
            let known = &self.scopes.all[scope].sublinks;
            let Some(inner) =
                known.iter().find(|(one, _)| *one == sublink).map(|(_, inner)| *inner)
            else {
                return;
            };
            let query = self.scopes.all[inner].query;
            let Some(target) = list::nodes((*query).targetList).first().copied() else { return };
            let target: *mut Node = (*target.cast::<pg_sys::TargetEntry>()).expr.cast();
            let [meaning] = self.scopes.meanings(inner, target, None)[..] else { return };
            // Of what the subquery computes, nobody knows whether it may be NULL.
            let What::Column { place, attnum, .. } = meaning.what else { return };
            let inner_nullable =
                self.is_nullable(inner, &meaning) && !self.excludes_null(inner, target);
            let outer_nullable = match self.scopes.meanings(scope, left, None)[..] {
                [one] if matches!(one.what, What::Column { .. }) => {
                    self.is_nullable(scope, &one) && !self.excludes_null(scope, left)
                }
                _ => true,
            };
            let table = self.scopes.uses[place].oid.to_u32();
            let (Some(written), better) =
                (self.around(scope, node), self.not_exists(scope, sublink, equal, left, target))
            else {
                return;
            };
            self.keep(Form {
                kind: FormKind::NotIn { inner_nullable, outer_nullable },
                tables: vec![table],
                attnum,
                expression: written,
                better,
                indexable: None,
                inside: false,
            });
        }
    }

    /// Whether a column may be NULL where it comes from, or by an outer join.
    unsafe fn is_nullable(&self, scope: usize, meaning: &Meaning) -> bool {
        let What::Column { place, attnum, .. } = meaning.what else { return true };
        let Some((home, entry)) = meaning.entry else { return true };
        let by_join = self.scopes.all[home].nullable.contains(&entry);
        let index = usize::try_from(entry - 1).unwrap_or(usize::MAX);
        let is_table = matches!(self.scopes.all[home].entries.get(index), Some(Entry::Table(_)));
        // Through a subquery, it may have come by an outer join of that.
        by_join || home != scope || !is_table || !not_null(self.scopes.uses[place].oid, attnum)
    }

    /// Whether the query's own conditions leave no row in which a column is NULL.
    unsafe fn excludes_null(&self, scope: usize, column: *mut Node) -> bool {
        // SAFETY: nodes of a live query, cast by their own tags.
        unsafe {
            let column = plain(column);
            let from = (*self.scopes.all[scope].query).jointree;
            let mut all = Vec::new();
            conjoined((*from).quals, &mut all);
            let same = |node: *mut Node| pg_sys::equal(plain(node).cast(), column.cast());
            all.into_iter().any(|node| match (*node).type_ {
                NodeTag::T_NullTest => {
                    let test = node.cast::<pg_sys::NullTest>();
                    (*test).nulltesttype == pg_sys::NullTestType::IS_NOT_NULL
                        && same((*test).arg.cast())
                }
                NodeTag::T_OpExpr => {
                    let operation = node.cast::<pg_sys::OpExpr>();
                    pg_sys::op_strict((*operation).opno)
                        && list::nodes((*operation).args).into_iter().any(same)
                }
                _ => false,
            })
        }
    }

    unsafe fn not_exists(
        &self,
        scope: usize,
        sublink: *mut SubLink,
        equal: Oid,
        left: *mut Node,
        target: *mut Node,
    ) -> Option<String> {
        // SAFETY: nodes of a live query; copies are changed.
        unsafe {
            let query = (*sublink).subselect.cast::<Query>();
            if !is_plain(query) || pg_sys::contain_volatile_functions(left) {
                return None;
            }
            let query = pg_sys::copyObjectImpl(query.cast()).cast::<Query>();
            let left = pg_sys::copyObjectImpl(left.cast()).cast::<Node>();
            pg_sys::IncrementVarSublevelsUp(left, 1, 0);
            let target = pg_sys::copyObjectImpl(target.cast()).cast::<Node>();
            let collation = pg_sys::exprCollation(target);
            let condition = pg_sys::make_opclause(
                equal,
                pg_sys::BOOLOID,
                false,
                target.cast(),
                left.cast(),
                Oid::INVALID,
                collation,
            );
            // The operator was looked up with the outer value first.
            let condition = condition.cast::<pg_sys::OpExpr>();
            let commuted = pg_sys::get_commutator(equal);
            if commuted == Oid::INVALID {
                return None;
            }
            (*condition).opno = commuted;
            let from = (*query).jointree;
            (*from).quals = pg_sys::make_and_qual((*from).quals, condition.cast());
            (*query).targetList = std::ptr::null_mut();
            (*query).sortClause = std::ptr::null_mut();
            (*query).hasSubLinks |= true;
            let node = pg_sys::make_notclause(exists(query).cast()).cast();
            self.around(scope, node)
        }
    }

    /// Comparisons of count(*) whose outcome one row decides.
    pub(super) unsafe fn counted(&mut self, scope: usize) {
        // SAFETY: nodes of a live query, cast by their own tags.
        unsafe {
            let query = self.scopes.all[scope].query;
            if !(*query).hasAggs && !(*query).hasSubLinks {
                return;
            }
            for node in tree::nodes_of_query(query, &[NodeTag::T_OpExpr]) {
                let operation = node.cast::<pg_sys::OpExpr>();
                let [left, right] = list::nodes((*operation).args)[..] else { continue };
                let commuted = pg_sys::get_commutator((*operation).opno);
                for (side, operator, number) in
                    [(left, (*operation).opno, right), (right, commuted, left)]
                {
                    if operator == Oid::INVALID {
                        continue;
                    }
                    let Some((known, is_any)) = self.tells_of_one(operator, number) else {
                        continue;
                    };
                    self.count(scope, side, node, known, is_any);
                }
            }
        }
    }

    unsafe fn count(
        &mut self,
        scope: usize,
        side: *mut Node,
        node: *mut Node,
        known: bool,
        any: bool,
    ) {
        // SAFETY: nodes of a live query, cast by their own tags.
        unsafe {
            let side = plain(side);
            let (inner, query) = match (*side).type_ {
                NodeTag::T_SubLink => {
                    let sublink = side.cast::<SubLink>();
                    let sublinks = &self.scopes.all[scope].sublinks;
                    let inner = sublinks.iter().find(|(one, _)| *one == sublink);
                    let expression = (*sublink).subLinkType == SubLinkType::EXPR_SUBLINK;
                    match inner.filter(|_| expression) {
                        Some((_, inner)) => (*inner, self.scopes.all[*inner].query),
                        None => return,
                    }
                }
                NodeTag::T_Aggref => (scope, self.scopes.all[scope].query),
                _ => return,
            };
            let own = inner == scope;
            if !counts_rows(query, own.then_some(node)) {
                return;
            }
            let tables = self.tables(inner);
            if tables.is_empty() {
                return;
            }
            let Some(written) = self.around(scope, node) else { return };
            let query = pg_sys::copyObjectImpl(query.cast()).cast::<Query>();
            (*query).targetList = std::ptr::null_mut();
            (*query).sortClause = std::ptr::null_mut();
            (*query).hasAggs = false;
            let mut node: *mut Node = exists(query).cast();
            if !any {
                node = pg_sys::make_notclause(node.cast()).cast();
            }
            // It takes the place of the whole query, or that of the subquery.
            let better = self.around(scope, node);
            let better = better.map(|text| if own { format!("SELECT {text}") } else { text });
            self.keep(Form {
                kind: FormKind::Counted { known },
                tables,
                attnum: 0,
                expression: written,
                better,
                indexable: None,
                inside: false,
            });
        }
    }

    /// Whether a number of rows compared like this says only whether there are any, and which; of a parameter,
    /// where it is most likely.
    unsafe fn tells_of_one(&self, operator: Oid, number: *mut Node) -> Option<(bool, bool)> {
        // SAFETY: nodes of a live query, cast by their own tags.
        unsafe {
            let number = plain(number);
            let strategy = self.families.strategy(operator, pg_sys::INT8OID);
            let negator = pg_sys::get_negator(operator);
            let differs = strategy.is_none()
                && negator != Oid::INVALID
                && self.families.strategy(negator, pg_sys::INT8OID) == Some(2);
            if (*number).type_ == NodeTag::T_Param {
                let parameter = number.cast::<pg_sys::Param>();
                let extern_ = (*parameter).paramkind == pg_sys::ParamKind::PARAM_EXTERN;
                return (extern_ && (differs || matches!(strategy, Some(3 | 4))))
                    .then_some((false, true));
            }
            if (*number).type_ != NodeTag::T_Const {
                return None;
            }
            let value = mask::integer(number.cast())?;
            match (strategy, value) {
                (Some(4), 0) | (Some(3), 1) => Some((true, true)),
                (Some(2 | 1), 0) | (Some(0), 1) => Some((true, false)),
                (None, 0) if differs => Some((true, true)),
                _ => None,
            }
        }
    }

    /// An expression with subqueries, whose own columns are of one relation.
    unsafe fn around(&self, scope: usize, node: *mut Node) -> Option<String> {
        // SAFETY: nodes of a live query; a copy is changed.
        unsafe {
            let opens =
                |sublink: *mut Node| self.may_open((*sublink.cast::<SubLink>()).subselect.cast());
            if !tree::nodes(node, &[NodeTag::T_SubLink]).into_iter().all(opens) {
                return None;
            }
            let copy = self.mask().copy(node);
            let around = (1..).take_while(|level| self.scopes.up(scope, *level).is_some());
            if around.into_iter().any(|level| pg_sys::contain_vars_of_level(copy, level as i32)) {
                return None;
            }
            let vars = list::nodes(pg_sys::pull_vars_of_level(copy, 0));
            let vars: Vec<*mut pg_sys::Var> = vars.into_iter().map(|var| var.cast()).collect();
            let mut named = None;
            if let Some(&first) = vars.first() {
                let place = (*first).varno;
                let entry = self.scopes.rte(scope, place)?;
                if (*entry).rtekind != pg_sys::RTEKind::RTE_RELATION
                    || vars.iter().any(|var| (**var).varno != place)
                {
                    return None;
                }
                named = Some(Named { relation: (*entry).relid, alias: (*(*entry).eref).aliasname });
            }
            for var in vars {
                (*var).varno = 1;
                (*var).varnosyn = 1;
                (*var).varattnosyn = (*var).varattno;
            }
            self.deparsed(copy, named.as_ref(), false)
        }
    }
}

/// The subquery of a condition, and whether NOT stands before it.
unsafe fn sublink_of(node: *mut Node) -> Option<(*mut SubLink, bool)> {
    // SAFETY: a node of a live query, cast by its own tag.
    unsafe {
        match (*node).type_ {
            NodeTag::T_SubLink => Some((node.cast(), false)),
            NodeTag::T_BoolExpr => {
                let expression = node.cast::<pg_sys::BoolExpr>();
                let [one] = list::nodes((*expression).args)[..] else { return None };
                let one = plain(one);
                let negated = (*expression).boolop == BoolExprType::NOT_EXPR;
                (negated && (*one).type_ == NodeTag::T_SubLink).then(|| (one.cast(), true))
            }
            _ => None,
        }
    }
}

unsafe fn exists(query: *mut Query) -> *mut SubLink {
    // SAFETY: a new node in the current memory context.
    unsafe {
        let sublink = pg_sys::palloc0(size_of::<SubLink>()).cast::<SubLink>();
        (*sublink).xpr.type_ = NodeTag::T_SubLink;
        (*sublink).subLinkType = SubLinkType::EXISTS_SUBLINK;
        (*sublink).subselect = query.cast();
        (*sublink).location = -1;
        sublink
    }
}

/// Whether a query gives the number of its rows and nothing else; or what is made of that number.
unsafe fn counts_rows(query: *mut Query, whole: Option<*mut Node>) -> bool {
    // SAFETY: a live query, its nodes cast by their own tags.
    unsafe {
        let [target] = list::nodes((*query).targetList)[..] else { return false };
        let target = plain((*target.cast::<pg_sys::TargetEntry>()).expr.cast());
        let aggregates = tree::nodes(target, &[NodeTag::T_Aggref]);
        let [aggregate] = aggregates[..] else { return false };
        let call = aggregate.cast::<pg_sys::Aggref>();
        (*query).commandType == pg_sys::CmdType::CMD_SELECT
            && whole.unwrap_or(aggregate) == target
            && (*call).aggfnoid.to_u32() == pg_sys::F_COUNT_
            && (*call).aggfilter.is_null()
            && (*call).agglevelsup == 0
            && (*query).groupClause.is_null()
            && (*query).groupingSets.is_null()
            && (*query).havingQual.is_null()
            && (*query).distinctClause.is_null()
            && (*query).setOperations.is_null()
            && (*query).limitOffset.is_null()
            && !is_limited(query)
            && !(*query).hasWindowFuncs
            && !(*query).hasTargetSRFs
    }
}

/// Whether a column is declared NOT NULL.
fn not_null(table: Oid, attnum: i16) -> bool {
    // SAFETY: a look-up in the catalog cache; the row is read before it is released.
    unsafe {
        let cache = pg_sys::SysCacheIdentifier::ATTNUM as i32;
        let number = pg_sys::Datum::from(attnum);
        let tuple = pg_sys::SearchSysCache2(cache, pg_sys::Datum::from(table), number);
        if tuple.is_null() {
            return false;
        }
        let row = pg_sys::GETSTRUCT(tuple).cast::<pg_sys::FormData_pg_attribute>();
        let found = (*row).attnotnull;
        pg_sys::ReleaseSysCache(tuple);
        found
    }
}

/// What AND puts together.
unsafe fn conjoined(node: *mut Node, found: &mut Vec<*mut Node>) {
    // SAFETY: nodes of a live query, cast by their own tags.
    unsafe {
        let node = plain(node);
        if node.is_null() || pg_sys::stack_is_too_deep() {
            return;
        }
        if (*node).type_ == NodeTag::T_BoolExpr {
            let expression = node.cast::<pg_sys::BoolExpr>();
            if (*expression).boolop == BoolExprType::AND_EXPR {
                let arguments = list::nodes((*expression).args);
                return arguments.into_iter().for_each(|one| conjoined(one, found));
            }
        }
        found.push(node);
    }
}
