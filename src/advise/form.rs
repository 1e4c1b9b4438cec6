//! Forms in a statement that have a better one: what the tree shows of them, deparsed by the server. It must
//! never judge whether one matters, and it changes copies only.

use std::ffi::{CStr, c_int};

use perfmon_core::facts::{Form, Offset};
use pgrx::pg_sys;
use pgrx::pg_sys::{BoolExprType, Node, NodeTag, Oid, Query};

use super::operator::Families;
use super::order;
use super::scope::{Entry, Scopes, plain};
use crate::pg::{analyze, fmgr, list, parse, session, tree, txn};

mod column;
mod count;
mod each;
mod join;
mod mask;
mod null;
mod range;
mod result;
mod shift;
mod subquery;
mod typed;
mod widen;

use mask::Mask;

pub(super) use result::result;

/// More forms of one statement are not kept.
const MOST_FORMS: usize = 32;
/// Nor texts that are longer.
const LONGEST: usize = 4096;

/// All that are found. A tree that the server cannot deparse, or not without waiting, gives none.
///
/// # Safety
/// The trees are alive.
pub(super) unsafe fn find(scopes: &Scopes, families: &Families, last: u32) -> Vec<Form> {
    // SAFETY: by the caller's word; the trees are older than the subtransaction.
    unsafe {
        let mut finder = Finder { scopes, families, found: Vec::new(), last };
        let mut sought = Vec::new();
        for scope in 0..scopes.all.len() {
            finder.unconnected(scope);
            let clauses = finder.clauses(scope).into_iter();
            let clauses = clauses.filter(|&clause| finder.is_worth_a_look(scope, clause));
            sought.extend(clauses.map(|clause| (scope, clause)));
        }
        let counts = (0..scopes.all.len()).any(|scope| (*scopes.all[scope].query).hasAggs);
        if sought.is_empty() && !counts {
            return finder.found;
        }
        let found = txn::trial(|| {
            session::set_for_now(c"search_path", c"pg_catalog, pg_temp");
            let mut finder = Finder { scopes, families, found: Vec::new(), last };
            for (scope, clause) in sought {
                finder.leaf(scope, clause);
            }
            for scope in 0..scopes.all.len() {
                finder.counted(scope);
            }
            finder.found
        });
        match found {
            Ok(found) => found.into_iter().for_each(|form| finder.keep(form)),
            Err(error) if parse::is_about_the_text(&error) => {}
            Err(error) => error.rethrow(),
        }
        finder.found
    }
}

/// The highest number of a statement's parameters.
///
/// # Safety
/// The trees are alive.
pub(super) unsafe fn parameters(scopes: &Scopes) -> u32 {
    let mut last = 0;
    for scope in &scopes.all {
        // SAFETY: by the caller's word; cast by the nodes' own tags.
        unsafe {
            for node in tree::nodes_of_query(scope.query, &[NodeTag::T_Param]) {
                let parameter = node.cast::<pg_sys::Param>();
                if (*parameter).paramkind == pg_sys::ParamKind::PARAM_EXTERN {
                    last = last.max(u32::try_from((*parameter).paramid).unwrap_or(0));
                }
            }
        }
    }
    last
}

/// OFFSET of a statement with so many parameters; where its top has none, the first one of a query within it that does
/// not gather rows.
///
/// # Safety
/// The trees are alive, and older than the current subtransaction.
pub(super) unsafe fn offset(scopes: &Scopes, last: u32) -> Option<Offset> {
    (0..scopes.all.len()).find_map(|scope| {
        let query = scopes.all[scope].query;
        // SAFETY: by the caller's word.
        unsafe {
            if scope > 0 && order::is_aggregated(query) {
                return None;
            }
            let rows = skipped(query)?;
            let (expression, tables) = (limits(query, last), tables_of(scopes, scope));
            Some(Offset { rows, expression, inside: scope > 0, tables })
        }
    })
}

/// Rows that a query skips, `Some(None)` for a parameter.
unsafe fn skipped(query: *mut Query) -> Option<Option<i64>> {
    // SAFETY: cast by the node's own tag.
    unsafe {
        let mut node = plain((*query).limitOffset);
        if node.is_null() {
            return None;
        }
        // A literal is an int4, which the analyser makes an int8.
        if (*node).type_ == NodeTag::T_FuncExpr
            && let [one] = list::nodes((*node.cast::<pg_sys::FuncExpr>()).args)[..]
            && (*node.cast::<pg_sys::FuncExpr>()).funcid.to_u32() == pg_sys::F_INT8_INT4
        {
            node = plain(one);
        }
        if (*node).type_ != NodeTag::T_Const {
            return Some(None);
        }
        let constant = node.cast::<pg_sys::Const>();
        (!(*constant).constisnull).then(|| mask::integer(constant))
    }
}

/// The tables that a query reads, those of its subqueries in FROM included.
fn tables_of(scopes: &Scopes, scope: usize) -> Vec<u32> {
    let mut found = Vec::new();
    for entry in &scopes.all[scope].entries {
        match entry {
            Entry::Table(place) => found.push(scopes.uses[*place].oid.to_u32()),
            Entry::Query(inner) => found.append(&mut tables_of(scopes, *inner)),
            Entry::Other => {}
        }
    }
    found
}

/// LIMIT and OFFSET as they are written; empty where the server would have to open tables for it, or cannot say it.
unsafe fn limits(query: *mut Query, last: u32) -> String {
    // SAFETY: nodes of a live query, of which copies are deparsed; the texts are copied at once.
    unsafe {
        let limit = Some((*query).limitCount).filter(|_| order::is_limited(query));
        let all = [("LIMIT", limit), ("OFFSET", Some((*query).limitOffset))];
        let all = all.into_iter().filter_map(|(word, node)| Some((word, node?)));
        let all: Vec<_> = all.collect();
        if all.iter().any(|(_, node)| !tree::nodes(*node, &[NodeTag::T_SubLink]).is_empty()) {
            return String::new();
        }
        let found = txn::trial(|| {
            session::set_for_now(c"search_path", c"pg_catalog, pg_temp");
            let mut mask = Mask::after(last);
            let texts = all.into_iter().map(|(word, node)| {
                let none = std::ptr::null_mut();
                let text = pg_sys::deparse_expression(mask.copy(node), none, false, false);
                format!("{word} {}", fmgr::utf8(CStr::from_ptr(text).to_bytes()))
            });
            texts.collect::<Vec<_>>().join(" ")
        });
        match found {
            Ok(text) => text,
            Err(error) if parse::is_about_the_text(&error) => String::new(),
            Err(error) => error.rethrow(),
        }
    }
}

struct Finder<'a> {
    scopes: &'a Scopes,
    families: &'a Families,
    found: Vec<Form>,
    /// The highest number of the statement's parameters.
    last: u32,
}

/// A relation by which columns are named, and its name in the statement.
struct Named {
    relation: Oid,
    alias: *const std::ffi::c_char,
}

impl Finder<'_> {
    fn mask(&self) -> Mask {
        Mask::after(self.last)
    }

    fn keep(&mut self, form: Form) {
        let texts = form.expression.len() + form.better.as_ref().map_or(0, String::len);
        if self.found.len() < MOST_FORMS && texts <= LONGEST && !self.found.contains(&form) {
            self.found.push(form);
        }
    }

    /// The conditions of WHERE and ON of a query, below AND and OR: where one that is NULL is as good as
    /// one that is false.
    unsafe fn clauses(&self, scope: usize) -> Vec<*mut Node> {
        let mut found = Vec::new();
        // SAFETY: nodes of a live query.
        unsafe {
            let query = self.scopes.all[scope].query;
            if (*query).commandType != pg_sys::CmdType::CMD_MERGE {
                conditions_of((*query).jointree.cast(), &mut found);
            }
        }
        found
    }

    /// Whether a condition is more than columns compared with values: most are not.
    unsafe fn is_worth_a_look(&self, scope: usize, node: *mut Node) -> bool {
        // SAFETY: a node of that query, cast by its own tag.
        unsafe {
            match (*node).type_ {
                NodeTag::T_OpExpr => {
                    let operation = node.cast::<pg_sys::OpExpr>();
                    let sides = list::nodes((*operation).args);
                    let pattern = column::is_pattern((*operation).opno);
                    let computed = |&side: &*mut Node| self.is_computed(scope, side);
                    pattern || sides.iter().any(computed)
                }
                NodeTag::T_ScalarArrayOpExpr => {
                    let operation = node.cast::<pg_sys::ScalarArrayOpExpr>();
                    let first = list::nodes((*operation).args).first().copied();
                    (*operation).useOr && first.is_some_and(|side| self.is_computed(scope, side))
                }
                NodeTag::T_BoolExpr | NodeTag::T_SubLink => true,
                _ => false,
            }
        }
    }

    unsafe fn leaf(&mut self, scope: usize, node: *mut Node) {
        // SAFETY: a node of that query, cast by its own tag.
        unsafe {
            match (*node).type_ {
                NodeTag::T_OpExpr => {
                    let operation = node.cast::<pg_sys::OpExpr>();
                    let [left, right] = list::nodes((*operation).args)[..] else { return };
                    let operator = (*operation).opno;
                    self.pattern(scope, left, operator, right);
                    self.compared(scope, left, (operator, false), right);
                    let commuted = pg_sys::get_commutator(operator);
                    if commuted != Oid::INVALID {
                        self.compared(scope, right, (commuted, false), left);
                    }
                }
                NodeTag::T_ScalarArrayOpExpr => {
                    let operation = node.cast::<pg_sys::ScalarArrayOpExpr>();
                    let [left, right] = list::nodes((*operation).args)[..] else { return };
                    self.compared(scope, left, ((*operation).opno, true), right);
                }
                NodeTag::T_BoolExpr | NodeTag::T_SubLink => self.not_in(scope, node),
                _ => {}
            }
        }
    }

    /// Whether an expression looks at columns, of this query or of those around it.
    unsafe fn has_columns(&self, scope: usize, node: *mut Node) -> bool {
        let mut levels = 0;
        while self.scopes.up(scope, levels).is_some() {
            // SAFETY: a node of a live query.
            if unsafe { pg_sys::contain_vars_of_level(node, levels as c_int) } {
                return true;
            }
            levels += 1;
        }
        false
    }

    /// An expression whose columns, if any, are of one relation, which they name as the first of their
    /// query. `None` where the server would have to wait for it.
    unsafe fn deparsed(
        &self,
        node: *mut Node,
        named: Option<&Named>,
        brief: bool,
    ) -> Option<String> {
        // SAFETY: a copy of a live tree, and a name that lives as long; the text is copied at once.
        unsafe {
            let context = match named {
                Some(named) if !analyze::lock_at_once(named.relation) => return None,
                Some(named) => pg_sys::deparse_context_for(named.alias, named.relation),
                None => std::ptr::null_mut(),
            };
            let text = pg_sys::deparse_expression(node, context, named.is_some() && !brief, false);
            Some(fmgr::utf8(CStr::from_ptr(text).to_bytes()))
        }
    }

    /// Whether all that a query names may be opened without waiting.
    unsafe fn may_open(&self, query: *mut Query) -> bool {
        // SAFETY: a live query of the analyser.
        unsafe {
            if pg_sys::stack_is_too_deep() {
                return false;
            }
            let own = list::nodes((*query).rtable).into_iter().all(|entry| {
                let entry = entry.cast::<pg_sys::RangeTblEntry>();
                match (*entry).rtekind {
                    pg_sys::RTEKind::RTE_RELATION => analyze::lock_at_once((*entry).relid),
                    pg_sys::RTEKind::RTE_SUBQUERY => self.may_open((*entry).subquery),
                    _ => true,
                }
            });
            own && list::nodes((*query).cteList)
                .into_iter()
                .all(|cte| self.may_open((*cte.cast::<pg_sys::CommonTableExpr>()).ctequery.cast()))
                && tree::nodes_of_query(query, &[NodeTag::T_SubLink]).into_iter().all(|sublink| {
                    self.may_open((*sublink.cast::<pg_sys::SubLink>()).subselect.cast())
                })
        }
    }

    fn tables(&self, scope: usize) -> Vec<u32> {
        tables_of(self.scopes, scope)
    }
}

unsafe fn conditions_of(node: *mut Node, found: &mut Vec<*mut Node>) {
    // SAFETY: nodes of a live query, cast by their own tags.
    unsafe {
        if node.is_null() || pg_sys::stack_is_too_deep() {
            return;
        }
        match (*node).type_ {
            NodeTag::T_FromExpr => {
                let from = node.cast::<pg_sys::FromExpr>();
                for item in list::nodes((*from).fromlist) {
                    conditions_of(item, found);
                }
                parted((*from).quals, found);
            }
            NodeTag::T_JoinExpr => {
                let join = node.cast::<pg_sys::JoinExpr>();
                conditions_of((*join).larg, found);
                conditions_of((*join).rarg, found);
                parted((*join).quals, found);
            }
            _ => {}
        }
    }
}

/// What AND and OR put together.
unsafe fn parted(node: *mut Node, found: &mut Vec<*mut Node>) {
    // SAFETY: nodes of a live query, cast by their own tags.
    unsafe {
        let node = plain(node);
        if node.is_null() || pg_sys::stack_is_too_deep() {
            return;
        }
        if (*node).type_ == NodeTag::T_BoolExpr {
            let expression = node.cast::<pg_sys::BoolExpr>();
            if (*expression).boolop != BoolExprType::NOT_EXPR {
                list::nodes((*expression).args).into_iter().for_each(|one| parted(one, found));
                return;
            }
        }
        found.push(node);
    }
}
