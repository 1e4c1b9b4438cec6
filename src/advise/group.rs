//! By which columns and expressions of its tables a statement groups rows, or takes duplicates away: in any of its
//! queries.

use pgrx::pg_sys;

use super::clause;
use super::operator::Families;
use super::scope::{Scopes, What};
use crate::pg::list;

/// More of one table are not kept.
const MOST: usize = 64;

/// Notes them with their tables.
///
/// # Safety
/// The trees are alive.
pub(super) unsafe fn note(scopes: &mut Scopes, families: &Families) {
    for scope in 0..scopes.all.len() {
        // SAFETY: by the caller's word; both lists hold clauses that refer to targets of the query.
        unsafe {
            let query = scopes.all[scope].query;
            let (groups, distinct) = ((*query).groupClause, (*query).distinctClause);
            for clause in list::nodes(groups).into_iter().chain(list::nodes(distinct)) {
                let clause = clause.cast::<pg_sys::SortGroupClause>();
                let target = pg_sys::get_sortgroupclause_tle(clause, (*query).targetList);
                for meaning in scopes.meanings(scope, (*target).expr.cast(), None) {
                    if meaning.gathered || matches!(meaning.what, What::Unknown) {
                        continue;
                    }
                    let Some((place, key, _)) = clause::sort_key(scopes, families, scope, meaning)
                    else {
                        continue;
                    };
                    let all = &mut scopes.uses[place].group_by;
                    if all.len() < MOST && !all.contains(&key.expression) {
                        all.push(key.expression);
                    }
                }
            }
        }
    }
}
