//! In which order a statement wants the rows of a table, and whether it wants the first of them only.

use perfmon_core::facts::Order;
use pgrx::pg_sys;
use pgrx::pg_sys::{Node, NodeTag, Oid, Query};

use super::clause;
use super::operator::Families;
use super::scope::{Scopes, What, places_in, plain};
use crate::pg::list;

/// `aggsortop` in pg_aggregate, fixed in the catalogs.
const SORT_OPERATOR_COLUMN: i16 = 16;

/// Notes orders with the tables that they are orders of.
///
/// # Safety
/// The trees are alive.
pub(super) unsafe fn note(scopes: &mut Scopes, families: &Families) {
    for scope in 0..scopes.all.len() {
        // SAFETY: by the caller's word.
        unsafe {
            let query = scopes.all[scope].query;
            if (*query).commandType != pg_sys::CmdType::CMD_SELECT {
                continue;
            }
            let limited = is_limited(query);
            let found = match extreme(scopes, scope, families) {
                Some((place, order)) => Some((place, vec![order], true)),
                None => sorted(scopes, scope, families).map(|(p, order)| (p, order, limited)),
            };
            // An order of the whole result matters at the top only.
            if let Some((place, order, first_rows)) = found
                && (first_rows || scope == 0)
            {
                scopes.uses[place].order_by = order;
                scopes.uses[place].first_rows = first_rows;
            }
        }
    }
}

/// Whether a query has a LIMIT that limits.
///
/// # Safety
/// A live query.
pub(super) unsafe fn is_limited(query: *mut Query) -> bool {
    // SAFETY: cast by the node's own tag.
    unsafe {
        let limit = plain((*query).limitCount);
        if limit.is_null() {
            return false;
        }
        (*limit).type_ != NodeTag::T_Const || !(*limit.cast::<pg_sys::Const>()).constisnull
    }
}

/// ORDER BY of rows as they come from one table.
unsafe fn sorted(
    scopes: &mut Scopes,
    scope: usize,
    families: &Families,
) -> Option<(usize, Vec<Order>)> {
    // SAFETY: nodes of a live query.
    unsafe {
        let query = scopes.all[scope].query;
        let gathers = (*query).hasAggs
            || (*query).hasWindowFuncs
            || (*query).hasTargetSRFs
            || !(*query).groupClause.is_null()
            || !(*query).distinctClause.is_null()
            || !(*query).setOperations.is_null();
        let clauses = list::nodes((*query).sortClause);
        if gathers || clauses.is_empty() {
            return None;
        }
        let mut found = Vec::new();
        let mut table = None;
        for clause in clauses {
            let clause = clause.cast::<pg_sys::SortGroupClause>();
            let target = pg_sys::get_sortgroupclause_tle(clause, (*query).targetList);
            let operator = (*clause).sortop;
            let (place, mut order) =
                ordered(scopes, scope, families, (*target).expr.cast(), operator)?;
            order.nulls_first = (*clause).nulls_first;
            if *table.get_or_insert(place) != place {
                return None;
            }
            found.push(order);
        }
        table.map(|place| (place, found))
    }
}

/// An only `min` or `max` over one table: the server reads the first row of an index.
unsafe fn extreme(
    scopes: &mut Scopes,
    scope: usize,
    families: &Families,
) -> Option<(usize, Order)> {
    // SAFETY: nodes of a live query, cast by their own tags.
    unsafe {
        let query = scopes.all[scope].query;
        let [target] = list::nodes((*query).targetList)[..] else { return None };
        let mut places = Vec::new();
        places_in((*query).jointree.cast(), &mut places);
        let node: *mut Node = (*target.cast::<pg_sys::TargetEntry>()).expr.cast();
        if !(*query).groupClause.is_null()
            || !(*query).groupingSets.is_null()
            || !(*query).havingQual.is_null()
            || places.len() != 1
            || (*node).type_ != NodeTag::T_Aggref
        {
            return None;
        }
        let aggregate = node.cast::<pg_sys::Aggref>();
        let [argument] = list::nodes((*aggregate).args)[..] else { return None };
        if !(*aggregate).aggfilter.is_null() || !(*aggregate).aggorder.is_null() {
            return None;
        }
        let operator = sort_operator((*aggregate).aggfnoid)?;
        let value = (*argument.cast::<pg_sys::TargetEntry>()).expr.cast();
        let (place, mut order) = ordered(scopes, scope, families, value, operator)?;
        order.nulls_first = order.descending;
        Some((place, order))
    }
}

/// The operator whose first row is an aggregate's result, if it has one.
unsafe fn sort_operator(aggregate: Oid) -> Option<Oid> {
    // SAFETY: a look-up in the catalog cache; the row is read before it is released.
    unsafe {
        let cache = pg_sys::SysCacheIdentifier::AGGFNOID as i32;
        let tuple = pg_sys::SearchSysCache1(cache, pg_sys::Datum::from(aggregate));
        if tuple.is_null() {
            return None;
        }
        let mut is_null = false;
        let value = pg_sys::SysCacheGetAttr(cache, tuple, SORT_OPERATOR_COLUMN, &mut is_null);
        let operator = Oid::from(value.value() as u32);
        pg_sys::ReleaseSysCache(tuple);
        (!is_null && operator != Oid::INVALID).then_some(operator)
    }
}

/// What a sort is by, if an index of one table could have it in that order.
unsafe fn ordered(
    scopes: &mut Scopes,
    scope: usize,
    families: &Families,
    node: *mut Node,
    operator: Oid,
) -> Option<(usize, Order)> {
    // SAFETY: a node of a live query.
    unsafe {
        let [meaning] = scopes.meanings(scope, node, None)[..] else { return None };
        let nullable = meaning.entry.is_some_and(|(home, place)| {
            home != scope || scopes.all[home].nullable.contains(&place)
        });
        if meaning.gathered || nullable || matches!(meaning.what, What::Unknown) {
            return None;
        }
        let (place, order, of_type) = clause::sort_key(scopes, families, scope, meaning)?;
        let descending = families.descends(operator, of_type)?;
        Some((place, Order { descending, ..order }))
    }
}

/// The query whose LIMIT and aggregates are the statement's, below what only passes rows on.
///
/// # Safety
/// A live query.
pub(super) unsafe fn is_bounded(query: *mut Query) -> bool {
    // SAFETY: by the caller's word.
    unsafe {
        if (*query).commandType != pg_sys::CmdType::CMD_SELECT {
            return false;
        }
        let mut places = Vec::new();
        places_in((*query).jointree.cast(), &mut places);
        places_in((*query).setOperations, &mut places);
        let ungrouped = (*query).groupClause.is_null() && (*query).groupingSets.is_null();
        let one_row = ((*query).hasAggs && ungrouped) || places.is_empty();
        is_limited(query) || (one_row && !(*query).hasTargetSRFs)
    }
}

/// Whether rows become fewer at the top of a query.
///
/// # Safety
/// A live query.
pub(super) unsafe fn is_aggregated(query: *mut Query) -> bool {
    // SAFETY: by the caller's word.
    unsafe {
        (*query).hasAggs
            || !(*query).groupClause.is_null()
            || !(*query).groupingSets.is_null()
            || !(*query).distinctClause.is_null()
    }
}
