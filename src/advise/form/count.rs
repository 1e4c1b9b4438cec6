//! count(*) compared with a number that one row decides: whether there is any would tell the same.

use std::ffi::CStr;

use perfmon_core::facts::{Form, FormKind};
use pgrx::pg_sys;
use pgrx::pg_sys::{Node, NodeTag, Oid, Query, SubLink, SubLinkType};

use super::{Finder, mask};
use crate::advise::order::is_limited;
use crate::advise::scope::plain;
use crate::pg::{fmgr, list, tree};

/// What stands in a query for nothing: what it is called if it has no name.
const NAMELESS: &CStr = c"?column?";

/// A comparison of a number of rows with another number.
#[derive(Clone, Copy)]
struct Comparison {
    node: *mut Node,
    /// The number is in the text.
    known: bool,
    /// It is true where there is a row.
    any: bool,
}

/// Where a query counts its rows.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// The number, or what is made of it, is all that the query gives.
    Result,
    /// It decides whether the query gives its only row.
    Having,
}

impl Finder<'_> {
    /// Comparisons of count(*) whose outcome one row decides, or may decide: of a number that is a parameter, only
    /// executions know.
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
                    if let Some((known, any)) = self.tells_of_one(operator, number) {
                        self.count(scope, side, Comparison { node, known, any });
                    }
                }
            }
        }
    }

    unsafe fn count(&mut self, scope: usize, side: *mut Node, comparison: Comparison) {
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
            let Some(place) = counts_rows(query, own.then_some(comparison.node)) else { return };
            let tables = self.tables(inner);
            if tables.is_empty() {
                return;
            }
            let Some(written) = self.around(scope, comparison.node) else { return };
            let better = self.existence(scope, query, comparison.any);
            // It takes the place of the whole query, or that of the subquery.
            let better = match (own, place) {
                (false, _) => better,
                (true, Place::Result) => better.map(|text| format!("SELECT {text}")),
                (true, Place::Having) => {
                    let targets = self.targets(inner, query);
                    better.zip(targets).map(|(text, all)| format!("SELECT {all} WHERE {text}"))
                }
            };
            self.keep(Form {
                kind: FormKind::Counted { known: comparison.known },
                tables,
                attnum: 0,
                expression: written,
                better,
                indexable: None,
                inside: false,
                guessed: false,
            });
        }
    }

    /// EXISTS of the rows that a query counts, or NOT EXISTS.
    unsafe fn existence(&self, scope: usize, query: *mut Query, any: bool) -> Option<String> {
        // SAFETY: a live query, of which a copy is changed.
        unsafe {
            // What changes rows must stand at the top.
            if (*query).hasModifyingCTE {
                return None;
            }
            let query = pg_sys::copyObjectImpl(query.cast()).cast::<Query>();
            (*query).targetList = std::ptr::null_mut();
            (*query).sortClause = std::ptr::null_mut();
            (*query).havingQual = std::ptr::null_mut();
            (*query).hasAggs = false;
            let mut node: *mut Node = exists(query).cast();
            if !any {
                node = pg_sys::make_notclause(node.cast()).cast();
            }
            self.around(scope, node)
        }
    }

    /// What a query without columns in its target list gives.
    unsafe fn targets(&self, scope: usize, query: *mut Query) -> Option<String> {
        // SAFETY: nodes of a live query; names are NUL-terminated, and copied at once.
        unsafe {
            let mut mask = self.mask();
            let mut all = Vec::new();
            for target in list::nodes((*query).targetList) {
                let target = target.cast::<pg_sys::TargetEntry>();
                if self.has_columns(scope, (*target).expr.cast()) {
                    return None;
                }
                let text = self.deparsed(mask.copy((*target).expr.cast()), None, false)?;
                let name = (*target).resname;
                all.push(match name.is_null() || CStr::from_ptr(name) == NAMELESS {
                    true => text,
                    false => {
                        let quoted = CStr::from_ptr(pg_sys::quote_identifier(name)).to_bytes();
                        format!("{text} AS {}", fmgr::utf8(quoted))
                    }
                });
            }
            Some(all.join(", "))
        }
    }

    /// Whether a number of rows compared like this says only whether there are any, and which; of a parameter, whether
    /// there is a value for which it does.
    unsafe fn tells_of_one(&self, operator: Oid, number: *mut Node) -> Option<(bool, bool)> {
        // SAFETY: nodes of a live query, cast by their own tags.
        unsafe {
            let number = plain(number);
            let strategy = self.families.strategy(operator, pg_sys::INT8OID);
            let negator = pg_sys::get_negator(operator);
            let differs = strategy.is_none()
                && negator != Oid::INVALID
                && self.families.strategy(negator, pg_sys::INT8OID) == Some(2);
            // The only number below, above or at which nothing else lies than none, or all but none.
            let (alone, any) = match strategy {
                Some(0) => (1, false),
                Some(1 | 2) => (0, false),
                Some(3) => (1, true),
                Some(_) => (0, true),
                None if differs => (0, true),
                None => return None,
            };
            match (*number).type_ {
                NodeTag::T_Param => {
                    let parameter = number.cast::<pg_sys::Param>();
                    let given = (*parameter).paramkind == pg_sys::ParamKind::PARAM_EXTERN;
                    given.then_some((false, any))
                }
                NodeTag::T_Const => (mask::integer(number.cast())? == alone).then_some((true, any)),
                _ => None,
            }
        }
    }
}

pub(super) unsafe fn exists(query: *mut Query) -> *mut SubLink {
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

/// Whether a query gives the number of its rows and nothing else; or, if there is a comparison of that number, where it
/// stands.
unsafe fn counts_rows(query: *mut Query, comparison: Option<*mut Node>) -> Option<Place> {
    // SAFETY: a live query, its nodes cast by their own tags.
    unsafe {
        let targets = list::nodes((*query).targetList).into_iter();
        let targets: Vec<*mut Node> =
            targets.map(|one| plain((*one.cast::<pg_sys::TargetEntry>()).expr.cast())).collect();
        let whole = (*query).commandType == pg_sys::CmdType::CMD_SELECT
            && (*query).groupClause.is_null()
            && (*query).groupingSets.is_null()
            && (*query).distinctClause.is_null()
            && (*query).setOperations.is_null()
            && (*query).limitOffset.is_null()
            && !is_limited(query)
            && !(*query).hasWindowFuncs
            && !(*query).hasTargetSRFs;
        if !whole {
            return None;
        }
        let having = plain((*query).havingQual);
        if having.is_null() {
            let [target] = targets[..] else { return None };
            let aggregate = only_count(target)?;
            return (comparison.unwrap_or(aggregate) == target).then_some(Place::Result);
        }
        // Whatever the target list computes is computed without the rows.
        let constant = |&target: &*mut Node| {
            tree::nodes(target, &[NodeTag::T_Aggref, NodeTag::T_GroupingFunc, NodeTag::T_SubLink])
                .is_empty()
                && !pg_sys::contain_var_clause(target)
        };
        let decides = comparison == Some(having) && only_count(having).is_some();
        (decides && targets.iter().all(constant)).then_some(Place::Having)
    }
}

/// The only aggregate of an expression, if it is count(*).
unsafe fn only_count(node: *mut Node) -> Option<*mut Node> {
    // SAFETY: a node of a live query, cast by its own tag.
    unsafe {
        let aggregates = tree::nodes(node, &[NodeTag::T_Aggref]);
        let [aggregate] = aggregates[..] else { return None };
        let call = aggregate.cast::<pg_sys::Aggref>();
        let counts = (*call).aggfnoid.to_u32() == pg_sys::F_COUNT_
            && (*call).aggfilter.is_null()
            && (*call).agglevelsup == 0;
        counts.then_some(aggregate)
    }
}
