//! Whether a column may be NULL. What is not known to be without NULLs may have them.

use pgrx::pg_sys;
use pgrx::pg_sys::{BoolExprType, Node, NodeTag};

use super::Finder;
use crate::advise::scope::{Entry, Meaning, What, plain};
use crate::pg::{column, compat, list};

impl Finder<'_> {
    /// Whether a query's result may have NULL where this expression of its target list stands.
    pub(super) unsafe fn gives_null(&self, scope: usize, target: *mut Node) -> bool {
        // SAFETY: nodes of a live query.
        unsafe {
            // A row of ROLLUP, CUBE and the like has NULLs in the columns by which it is not grouped, whatever is stored
            // in them and whatever WHERE says.
            let sets = !(*self.scopes.all[scope].query).groupingSets.is_null();
            sets || self.may_be_null(scope, target)
        }
    }

    /// Whether a column may be NULL in the rows that a query's conditions let pass.
    pub(super) unsafe fn may_be_null(&self, scope: usize, column: *mut Node) -> bool {
        // SAFETY: nodes of a live query.
        unsafe {
            match self.scopes.meanings(scope, column, None)[..] {
                [one] => self.is_nullable(scope, &one) && !self.excludes_null(scope, column),
                _ => true,
            }
        }
    }

    /// Whether a column may be NULL where it comes from, or by an outer join.
    unsafe fn is_nullable(&self, scope: usize, meaning: &Meaning) -> bool {
        let What::Column { place, attnum, .. } = meaning.what else { return true };
        let Some((home, entry)) = meaning.entry else { return true };
        let by_join = self.scopes.all[home].nullable.contains(&entry);
        let index = usize::try_from(entry - 1).unwrap_or(usize::MAX);
        let is_table = matches!(self.scopes.all[home].entries.get(index), Some(Entry::Table(_)));
        // Through a subquery, it may have come by an outer join of that, or from any of several queries.
        let table = self.scopes.uses[place].oid;
        by_join || home != scope || !is_table || !column::is_never_null(table, attnum)
    }

    /// Whether the query's own conditions leave no row in which a column is NULL.
    unsafe fn excludes_null(&self, scope: usize, column: *mut Node) -> bool {
        // SAFETY: nodes of a live query, cast by their own tags.
        unsafe {
            let column = self.ungrouped(scope, column);
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

    /// The column as WHERE calls it: after GROUP BY, the server may give it another place.
    unsafe fn ungrouped(&self, scope: usize, column: *mut Node) -> *mut Node {
        // SAFETY: nodes of a live query, cast by their own tags.
        unsafe {
            let column = plain(column);
            if (*column).type_ != NodeTag::T_Var {
                return column;
            }
            let var = column.cast::<pg_sys::Var>();
            let index = usize::try_from((*var).varattno - 1).unwrap_or(usize::MAX);
            let entry = self.scopes.rte(scope, (*var).varno).filter(|_| (*var).varlevelsup == 0);
            let under = entry.and_then(|entry| compat::grouped_expression(entry, index));
            under.map_or(column, |under| plain(under))
        }
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
