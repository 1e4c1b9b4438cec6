//! NOT IN of a subquery, which cannot become a join; and how expressions with subqueries are deparsed.

use perfmon_core::facts::{Form, FormKind};
use pgrx::pg_sys;
use pgrx::pg_sys::{BoolExprType, Node, NodeTag, Oid, Query, SubLink, SubLinkType};

use super::count::sublink as subquery;
use super::{Finder, Named};
use crate::advise::scope::{What, is_plain, plain};
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
            // Of what the subquery computes, nobody knows whether it may be NULL.
            let meaning = self.scopes.meanings(inner, target, None).first().map(|one| one.what);
            let Some(What::Column { place, attnum, .. }) = meaning else { return };
            let inner_nullable = self.gives_null(inner, target);
            let outer_nullable = self.may_be_null(scope, left);
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
                guessed: false,
            });
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
