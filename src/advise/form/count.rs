//! A number of rows compared with one that a single row decides: whether there is any would tell the same.

use perfmon_core::facts::{Form, FormKind};
use pgrx::pg_sys;
use pgrx::pg_sys::{Aggref, Node, NodeTag, Oid, Query, SubLink, SubLinkType};

use super::{Finder, mask};
use crate::advise::order::is_limited;
use crate::advise::scope::plain;
use crate::pg::{list, tree};

/// A comparison of what may be a number of rows with another number.
#[derive(Clone, Copy)]
struct Comparison {
    node: *mut Node,
    /// The side that may be a number of rows.
    side: *mut Node,
    /// The number is in the text.
    known: bool,
    /// It is true where there is a row.
    any: bool,
}

/// What has to hold of a row that is counted, besides the conditions of its query.
#[derive(Default)]
struct Counts {
    conditions: Vec<*mut Node>,
    /// It is a parameter that is counted, which may be NULL.
    given: bool,
}

impl Finder<'_> {
    /// Comparisons of numbers of rows whose outcome one row decides, or may decide: of a number that is a parameter,
    /// only executions know.
    pub(super) unsafe fn counted(&mut self, scope: usize) {
        // SAFETY: nodes of a live query, cast by their own tags.
        unsafe {
            let query = self.scopes.all[scope].query;
            if !(*query).hasAggs && !(*query).hasSubLinks {
                return;
            }
            let mut own = Vec::new();
            for comparison in self.comparisons(query) {
                match (*comparison.side).type_ {
                    NodeTag::T_SubLink => self.counted_below(scope, comparison),
                    NodeTag::T_Aggref => own.push(comparison),
                    _ => {}
                }
            }
            if !own.is_empty() {
                self.counted_here(scope, &own);
            }
        }
    }

    /// All comparisons of a query, by what they say of a number of rows.
    unsafe fn comparisons(&self, query: *mut Query) -> Vec<Comparison> {
        let mut found = Vec::new();
        // SAFETY: nodes of a live query, cast by their own tags.
        unsafe {
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
                        found.push(Comparison { node, side: plain(side), known, any });
                    }
                }
            }
        }
        found
    }

    /// The number is what a subquery gives.
    unsafe fn counted_below(&mut self, scope: usize, comparison: Comparison) {
        // SAFETY: nodes of a live query, cast by their own tags.
        unsafe {
            let sublink = comparison.side.cast::<SubLink>();
            let mut sublinks = self.scopes.all[scope].sublinks.iter();
            let Some((_, inner)) = sublinks.find(|(one, _)| *one == sublink) else { return };
            let (inner, query) = (*inner, self.scopes.all[*inner].query);
            let [target] = list::nodes((*query).targetList)[..] else { return };
            let target = plain((*target.cast::<pg_sys::TargetEntry>()).expr.cast());
            if (*sublink).subLinkType != SubLinkType::EXPR_SUBLINK
                || !is_whole(query)
                || !(*query).havingQual.is_null()
            {
                return;
            }
            let Some(counts) = self.counts(inner, target) else { return };
            let better = self.around(scope, existence(query, &counts, comparison.any, 0));
            self.tell(scope, inner, &[comparison], counts.given, better);
        }
    }

    /// The number is that of the query's own rows: a form without them takes the place of the whole query, if nothing
    /// else is made of its rows.
    unsafe fn counted_here(&mut self, scope: usize, own: &[Comparison]) {
        // SAFETY: nodes of a live query; copies are changed.
        unsafe {
            let query = self.scopes.all[scope].query;
            let aggregates = tree::nodes_of_query(query, &[NodeTag::T_Aggref]);
            if !is_whole(query) || aggregates.len() != own.len() {
                return;
            }
            let (mut given, mut others) = (false, Vec::new());
            for comparison in own {
                let Some(counts) = self.counts(scope, comparison.side) else { return };
                given |= counts.given;
                // It lies one query deeper than the rows that it looks for.
                others.push((comparison.node, existence(query, &counts, comparison.any, 1)));
            }
            let Some(whole) = without_rows(query, &others) else { return };
            let around = self.scopes.up(scope, 1).unwrap_or(scope);
            let better = self.around(around, sublink(whole, SubLinkType::EXPR_SUBLINK).cast());
            // The query itself stands without the parentheses of a subquery.
            let better =
                better.and_then(|text| Some(text.strip_prefix('(')?.strip_suffix(')')?.to_owned()));
            self.tell(scope, scope, own, given, better);
        }
    }

    unsafe fn tell(
        &mut self,
        scope: usize,
        inner: usize,
        all: &[Comparison],
        given: bool,
        better: Option<String>,
    ) {
        let tables = self.tables(inner);
        let Some(first) = all.first().filter(|_| !tables.is_empty()) else { return };
        // SAFETY: nodes of live queries.
        unsafe {
            let query = self.scopes.all[inner].query;
            // What a function does for each row would be done for fewer of them.
            if pg_sys::contain_volatile_functions(query.cast()) {
                return;
            }
            let Some(expression) = self.around(scope, first.node) else { return };
            self.keep(Form {
                kind: FormKind::Counted { known: all.iter().all(|one| one.known), given },
                tables,
                attnum: 0,
                expression,
                better,
                indexable: None,
                inside: false,
                guessed: false,
            });
        }
    }

    /// What `count(*)` or `count(value)` of a query counts; `None` for anything else.
    unsafe fn counts(&self, scope: usize, node: *mut Node) -> Option<Counts> {
        // SAFETY: a node of that query, cast by its own tag; conditions are new nodes, or copied with what they become
        // part of.
        unsafe {
            if (*node).type_ != NodeTag::T_Aggref {
                return None;
            }
            let call = node.cast::<Aggref>();
            let mut counts = Counts::default();
            counts
                .conditions
                .extend(Some((*call).aggfilter.cast()).filter(|f: &*mut Node| !f.is_null()));
            let of_values = match (*call).aggfnoid.to_u32() {
                _ if (*call).agglevelsup != 0 => return None,
                pg_sys::F_COUNT_ => return Some(counts),
                pg_sys::F_COUNT_ANY => list::nodes((*call).args),
                _ => return None,
            };
            let [value] = of_values[..] else { return None };
            let value: *mut Node = (*value.cast::<pg_sys::TargetEntry>()).expr.cast();
            let bare = plain(value);
            match (*bare).type_ {
                NodeTag::T_Const if (*bare.cast::<pg_sys::Const>()).constisnull => return None,
                NodeTag::T_Const => {}
                NodeTag::T_Param => {
                    let kind = (*bare.cast::<pg_sys::Param>()).paramkind;
                    counts.given = kind == pg_sys::ParamKind::PARAM_EXTERN;
                    if !counts.given {
                        return None;
                    }
                }
                _ if !self.may_be_null(scope, value) => {}
                // A row of NULLs is counted, and yet IS NULL.
                _ if pg_sys::type_is_rowtype(pg_sys::exprType(value)) => return None,
                _ => counts.conditions.push(is_not_null(value)),
            }
            Some(counts)
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

/// A subquery of a kind.
pub(super) unsafe fn sublink(query: *mut Query, kind: SubLinkType::Type) -> *mut SubLink {
    // SAFETY: a new node in the current memory context.
    unsafe {
        let sublink = pg_sys::palloc0(size_of::<SubLink>()).cast::<SubLink>();
        (*sublink).xpr.type_ = NodeTag::T_SubLink;
        (*sublink).subLinkType = kind;
        (*sublink).subselect = query.cast();
        (*sublink).location = -1;
        sublink
    }
}

unsafe fn is_not_null(value: *mut Node) -> *mut Node {
    // SAFETY: a new node in the current memory context.
    unsafe {
        let test = pg_sys::palloc0(size_of::<pg_sys::NullTest>()).cast::<pg_sys::NullTest>();
        (*test).xpr.type_ = NodeTag::T_NullTest;
        (*test).arg = value.cast();
        (*test).nulltesttype = pg_sys::NullTestType::IS_NOT_NULL;
        (*test).location = -1;
        test.cast()
    }
}

/// EXISTS of the rows that a query counts, or NOT EXISTS, so many queries below where the query stands.
unsafe fn existence(query: *mut Query, counts: &Counts, any: bool, below: i32) -> *mut Node {
    // SAFETY: a live query, of which a copy is changed.
    unsafe {
        let query = pg_sys::copyObjectImpl(query.cast()).cast::<Query>();
        (*query).targetList = std::ptr::null_mut();
        (*query).sortClause = std::ptr::null_mut();
        (*query).havingQual = std::ptr::null_mut();
        (*query).hasAggs = false;
        let from = (*query).jointree;
        for &condition in &counts.conditions {
            let condition = pg_sys::copyObjectImpl(condition.cast()).cast();
            (*from).quals = pg_sys::make_and_qual((*from).quals, condition);
        }
        // What it calls by name in the queries around it is further away by then.
        pg_sys::IncrementVarSublevelsUp(query.cast(), below, 1);
        let node: *mut Node = sublink(query, SubLinkType::EXISTS_SUBLINK).cast();
        if any { node } else { pg_sys::make_notclause(node.cast()).cast() }
    }
}

/// A query that gives one row without a FROM, in which others stand in place of some of its nodes. `None` if it looks
/// at rows besides.
unsafe fn without_rows(query: *mut Query, others: &[(*mut Node, *mut Node)]) -> Option<*mut Query> {
    const OF_ROWS: [NodeTag; 2] = [NodeTag::T_SubLink, NodeTag::T_GroupingFunc];
    // SAFETY: nodes of a live query; copies are changed.
    unsafe {
        let parts: [*mut Node; 2] = [(*query).targetList.cast(), (*query).havingQual];
        if parts.iter().any(|&part| !tree::nodes(part, &OF_ROWS).is_empty()) {
            return None;
        }
        let [targets, having] = parts.map(|part| tree::with_others(part, others));
        if pg_sys::contain_var_clause(targets) || pg_sys::contain_var_clause(having) {
            return None;
        }
        let rest = pg_sys::copyObjectImpl(query.cast()).cast::<Query>();
        (*rest).targetList = targets.cast();
        (*rest).jointree = pg_sys::makeFromExpr(std::ptr::null_mut(), having);
        (*rest).havingQual = std::ptr::null_mut();
        (*rest).rtable = std::ptr::null_mut();
        (*rest).cteList = std::ptr::null_mut();
        (*rest).sortClause = std::ptr::null_mut();
        (*rest).hasAggs = false;
        (*rest).hasSubLinks = true;
        Some(rest)
    }
}

/// Whether a query makes one row of all that it finds, or none, and changes nothing.
unsafe fn is_whole(query: *mut Query) -> bool {
    // SAFETY: a live query.
    unsafe {
        (*query).commandType == pg_sys::CmdType::CMD_SELECT
            && (*query).groupClause.is_null()
            && (*query).groupingSets.is_null()
            && (*query).distinctClause.is_null()
            && (*query).setOperations.is_null()
            && (*query).limitOffset.is_null()
            && !is_limited(query)
            && !(*query).hasWindowFuncs
            && !(*query).hasTargetSRFs
            && !(*query).hasModifyingCTE
    }
}
