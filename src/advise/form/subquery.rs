//! NOT IN of a subquery, which cannot become a join; and how expressions with subqueries are deparsed.

use perfmon_core::facts::{Form, FormKind};
use pgrx::pg_sys;
use pgrx::pg_sys::{BoolExprType, Node, NodeTag, Oid, Query, SubLink, SubLinkType};

use super::count::sublink as subquery;
use super::{Finder, Named};
use crate::advise::scope::{What, is_plain, plain};
use crate::pg::{list, tree};

/// A column of what is sought, and the one of the subquery's result that it is compared with.
struct Pair {
    left: *mut Node,
    equal: Oid,
    target: *mut Node,
}

impl Pair {
    /// That they are equal, as a condition of the subquery.
    unsafe fn condition(&self) -> Option<*mut Node> {
        // SAFETY: nodes of a live query; copies are changed.
        unsafe {
            // The operator was looked up with the outer value first.
            let commuted = pg_sys::get_commutator(self.equal);
            if commuted == Oid::INVALID {
                return None;
            }
            let left = pg_sys::copyObjectImpl(self.left.cast()).cast::<Node>();
            pg_sys::IncrementVarSublevelsUp(left, 1, 0);
            let target = pg_sys::copyObjectImpl(self.target.cast()).cast::<Node>();
            let condition = pg_sys::make_opclause(
                commuted,
                pg_sys::BOOLOID,
                false,
                target.cast(),
                left.cast(),
                Oid::INVALID,
                pg_sys::exprCollation(target),
            );
            Some(condition.cast())
        }
    }
}

impl Finder<'_> {
    /// `x NOT IN (SELECT …)`, also written `x <> ALL (SELECT …)`, and the same of several columns.
    pub(super) unsafe fn not_in(&mut self, scope: usize, node: *mut Node) {
        // SAFETY: nodes of a live query, cast by their own tags.
        unsafe {
            let Some((sublink, negated)) = sublink_of(node) else { return };
            let kind = if negated { SubLinkType::ANY_SUBLINK } else { SubLinkType::ALL_SUBLINK };
            if (*sublink).subLinkType != kind {
                return;
            }
            let known = &self.scopes.all[scope].sublinks;
            let Some(inner) =
                known.iter().find(|(one, _)| *one == sublink).map(|(_, inner)| *inner)
            else {
                return;
            };
            let Some(pairs) = self.pairs(sublink, inner, negated) else { return };
            let Some((table, attnum)) = self.table_of(inner, &pairs) else { return };
            let inner_nullable = pairs.iter().any(|pair| self.gives_null(inner, pair.target));
            let outer_nullable = pairs.iter().any(|pair| self.may_be_null(scope, pair.left));
            let hashable = is_hashable(sublink, &pairs);
            let (Some(written), better) =
                (self.around(scope, node), self.not_exists(scope, sublink, &pairs))
            else {
                return;
            };
            self.keep(Form {
                kind: FormKind::NotIn {
                    inner_nullable,
                    outer_nullable,
                    rows: pairs.len() > 1,
                    hashable,
                },
                tables: vec![table],
                attnum,
                expression: written,
                better,
                indexable: None,
                inside: false,
                guessed: false,
            });
        }
    }

    /// What is sought and what the subquery gives, column by column; `None` unless all are compared for equality.
    unsafe fn pairs(
        &self,
        sublink: *mut SubLink,
        inner: usize,
        negated: bool,
    ) -> Option<Vec<Pair>> {
        // SAFETY: nodes of a live query, cast by their own tags.
        unsafe {
            let test = plain((*sublink).testexpr);
            if test.is_null() {
                return None;
            }
            let tests = match (*test).type_ {
                NodeTag::T_OpExpr => vec![test],
                // Of rows, all columns are equal, or any of them differs.
                NodeTag::T_BoolExpr => {
                    let row = test.cast::<pg_sys::BoolExpr>();
                    let all = if negated { BoolExprType::AND_EXPR } else { BoolExprType::OR_EXPR };
                    if (*row).boolop != all {
                        return None;
                    }
                    list::nodes((*row).args)
                }
                _ => return None,
            };
            let targets = list::nodes((*self.scopes.all[inner].query).targetList);
            let targets = targets.into_iter().map(|one| one.cast::<pg_sys::TargetEntry>());
            let targets: Vec<_> = targets.filter(|one| !(**one).resjunk).collect();
            if targets.len() != tests.len() {
                return None;
            }
            let pair = |(test, target): (*mut Node, *mut pg_sys::TargetEntry)| {
                if (*test).type_ != NodeTag::T_OpExpr {
                    return None;
                }
                let test = test.cast::<pg_sys::OpExpr>();
                let [left, _] = list::nodes((*test).args)[..] else { return None };
                let equal = match negated {
                    true => (*test).opno,
                    false => pg_sys::get_negator((*test).opno),
                };
                let of_type = pg_sys::exprType(left);
                let known =
                    equal != Oid::INVALID && self.families.strategy(equal, of_type) == Some(2);
                known.then(|| Pair { left, equal, target: (*target).expr.cast() })
            };
            tests.into_iter().zip(targets).map(pair).collect()
        }
    }

    /// The table whose columns a subquery gives, and the column if it is one; `None` where one of them is computed, as nobody
    /// knows whether it may be NULL.
    unsafe fn table_of(&self, inner: usize, pairs: &[Pair]) -> Option<(u32, i16)> {
        let mut found = None;
        for pair in pairs {
            // SAFETY: a node of that query.
            let meanings = unsafe { self.scopes.meanings(inner, pair.target, None) };
            let What::Column { place, attnum, .. } = meanings.first()?.what else { return None };
            let table = self.scopes.uses[place].oid.to_u32();
            found = match found {
                None => Some((table, attnum)),
                Some((first, _)) => Some((first, 0)),
            };
        }
        found
    }

    unsafe fn not_exists(
        &self,
        scope: usize,
        sublink: *mut SubLink,
        pairs: &[Pair],
    ) -> Option<String> {
        // SAFETY: nodes of a live query; copies are changed.
        unsafe {
            let query = (*sublink).subselect.cast::<Query>();
            let volatile = |pair: &Pair| pg_sys::contain_volatile_functions(pair.left);
            if !is_plain(query) || pairs.iter().any(volatile) {
                return None;
            }
            let query = pg_sys::copyObjectImpl(query.cast()).cast::<Query>();
            for pair in pairs {
                let from = (*query).jointree;
                (*from).quals = pg_sys::make_and_qual((*from).quals, pair.condition()?);
            }
            (*query).targetList = std::ptr::null_mut();
            (*query).sortClause = std::ptr::null_mut();
            (*query).hasSubLinks |= true;
            let exists = subquery(query, SubLinkType::EXISTS_SUBLINK);
            let node = pg_sys::make_notclause(exists.cast()).cast();
            self.around(scope, node)
        }
    }

    /// An expression with subqueries, whose own columns are of one relation.
    pub(super) unsafe fn around(&self, scope: usize, node: *mut Node) -> Option<String> {
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

/// Whether the server can keep the rows of a subquery in a hash table: not where they are others for each row outside.
unsafe fn is_hashable(sublink: *mut SubLink, pairs: &[Pair]) -> bool {
    // SAFETY: nodes of a live query.
    unsafe {
        !pg_sys::contain_vars_of_level((*sublink).subselect, 1)
            && pairs
                .iter()
                .all(|pair| pg_sys::op_hashjoinable(pair.equal, pg_sys::exprType(pair.left)))
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
