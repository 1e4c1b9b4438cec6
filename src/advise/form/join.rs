//! Tables of one FROM that no condition connects.

use std::ffi::{CStr, c_char, c_int};

use perfmon_core::facts::{Form, FormKind};
use pgrx::pg_sys;
use pgrx::pg_sys::{JoinType, Node, NodeTag, Oid, RTEKind};

use super::{Finder, conditions_of};
use crate::advise::order;
use crate::advise::scope::{Entry, is_plain, places_in, plain};
use crate::pg::{describe, fmgr, list, tree};

/// Which places of a range table are connected.
struct Parts(Vec<usize>);

impl Parts {
    fn root(&self, mut place: usize) -> usize {
        while self.0[place] != place {
            place = self.0[place];
        }
        place
    }

    fn connect(&mut self, places: &[c_int]) {
        let known = |place: &c_int| usize::try_from(*place).ok().filter(|p| *p < self.0.len());
        let places: Vec<usize> = places.iter().filter_map(known).collect();
        for pair in places.windows(2) {
            let (a, b) = (self.root(pair[0]), self.root(pair[1]));
            self.0[a] = b;
        }
    }
}

/// Oids of tables, each with a name by which its columns are called.
type Tables = Vec<(u32, String)>;

/// A table's or view's name with its schema, and the name that the statement gives it, if that is another one.
unsafe fn full_name(relation: Oid, alias: *const c_char) -> Option<String> {
    // SAFETY: look-ups in the catalogs, which give NULL for what is gone; names are NUL-terminated, and copied at once.
    unsafe {
        let name = pg_sys::get_rel_name(relation);
        let schema = pg_sys::get_namespace_name(pg_sys::get_rel_namespace(relation));
        if name.is_null() || schema.is_null() {
            return None;
        }
        let (schema, name) = (CStr::from_ptr(schema).to_owned(), CStr::from_ptr(name).to_owned());
        let full = describe::qualified(&schema, &name);
        let alias = CStr::from_ptr(alias);
        Some(match alias == name.as_c_str() {
            true => full,
            false => format!("{full} {}", describe::quoted(&alias.to_owned())),
        })
    }
}

impl Finder<'_> {
    pub(super) unsafe fn unconnected(&mut self, scope: usize) {
        // SAFETY: nodes of a live query.
        unsafe {
            let query = self.scopes.all[scope].query;
            let mut places = Vec::new();
            places_in((*query).jointree.cast(), &mut places);
            if (*query).commandType == pg_sys::CmdType::CMD_MERGE || places.len() < 2 {
                return;
            }
            let length = list::nodes((*query).rtable).len();
            let mut parts = Parts((0..=length).collect());
            deliberate((*query).jointree.cast(), &mut parts);
            let mut clauses = Vec::new();
            conditions_of((*query).jointree.cast(), &mut clauses);
            for clause in &clauses {
                parts.connect(&self.places_of(scope, *clause, 0));
            }
            let whole = |parts: &Parts| {
                let roots = places.iter().map(|place| parts.root(*place as usize));
                roots.clone().all(|root| Some(root) == roots.clone().next())
            };
            if whole(&parts) {
                return;
            }
            self.equal_values(scope, &clauses, &mut parts);
            for &place in &places {
                self.lateral(scope, place, &mut parts);
            }
            self.arms(scope, (*query).jointree.cast(), &mut parts);
            let mut groups: Vec<(usize, Vec<(u32, String)>)> = Vec::new();
            let mut items: Vec<(usize, String)> = Vec::new();
            for place in places {
                let Ok(index) = usize::try_from(place) else { continue };
                let Some((found, name)) = self.tables_at(scope, place) else { continue };
                let root = parts.root(index);
                items.push((root, name));
                match groups.iter_mut().find(|(known, _)| *known == root) {
                    Some((_, tables)) => tables.extend(found),
                    None => groups.push((root, found)),
                }
            }
            if groups.len() < 2 {
                return;
            }
            let in_order = groups.iter().flat_map(|(root, _)| {
                items.iter().filter(move |(of, _)| of == root).map(|(_, name)| name.as_str())
            });
            let names: Vec<&str> = in_order.collect();
            let parts: Vec<_> = groups.into_iter().map(|(_, tables)| tables).collect();
            self.keep(Form {
                expression: format!("FROM {}", names.join(", ")),
                tables: parts.iter().flatten().map(|(oid, _)| *oid).collect(),
                kind: FormKind::Unconnected { parts },
                attnum: 0,
                better: None,
                indexable: None,
                inside: self.scopes.all[scope].parent.is_none() && scope != 0,
                guessed: false,
            });
        }
    }

    /// The tables of a place whose rows are as many as theirs, each with the name that its columns have, and how FROM
    /// says it; `None` for what may be a single row.
    unsafe fn tables_at(&self, scope: usize, place: c_int) -> Option<(Tables, String)> {
        let index = usize::try_from(place - 1).ok()?;
        // SAFETY: an entry of a live query.
        let (alias, name) = unsafe {
            let entry = self.scopes.rte(scope, place)?;
            let alias = (*(*entry).eref).aliasname;
            let quoted = pg_sys::quote_identifier(alias);
            let quoted = fmgr::utf8(CStr::from_ptr(quoted).to_bytes());
            let name = match (*entry).rtekind {
                RTEKind::RTE_RELATION => full_name((*entry).relid, alias)?,
                _ => format!("(SELECT ...) {quoted}"),
            };
            (quoted, name)
        };
        let tables = match self.scopes.all[scope].entries.get(index)? {
            Entry::Table(one) => Some(vec![(self.scopes.uses[*one].oid.to_u32(), alias)]),
            Entry::Query(inner) => {
                let query = self.scopes.all[*inner].query;
                // SAFETY: a live query.
                let many = unsafe { is_plain(query) && !order::is_bounded(query) };
                let tables = self.tables(*inner);
                (many && !tables.is_empty())
                    .then(|| tables.into_iter().map(|oid| (oid, alias.clone())).collect())
            }
            Entry::Other => None,
        };
        tables.map(|tables| (tables, name))
    }

    /// The places of a query that an expression looks at, from so many levels below it.
    unsafe fn places_of(&self, scope: usize, node: *mut Node, levels: c_int) -> Vec<c_int> {
        let mut found = Vec::new();
        // SAFETY: nodes of a live query, cast by their own tags.
        unsafe {
            for var in list::nodes(pg_sys::pull_vars_of_level(node, levels)) {
                let var = var.cast::<pg_sys::Var>();
                let Some(entry) = self.scopes.rte(scope, (*var).varno) else { continue };
                if (*entry).rtekind != RTEKind::RTE_JOIN {
                    found.push((*var).varno);
                    continue;
                }
                let columns = list::nodes((*entry).joinaliasvars);
                let index = usize::try_from((*var).varattno - 1).ok();
                match index.and_then(|index| columns.get(index).copied()) {
                    Some(column) if !pg_sys::stack_is_too_deep() => {
                        found.extend(self.places_of(scope, column, 0));
                    }
                    // A whole row of the join.
                    _ => columns
                        .into_iter()
                        .for_each(|column| found.extend(self.places_of(scope, column, 0))),
                }
            }
        }
        found
    }

    /// Columns that are equal to one value are equal.
    unsafe fn equal_values(&self, scope: usize, clauses: &[*mut Node], parts: &mut Parts) {
        let mut values: Vec<(*mut Node, Vec<c_int>)> = Vec::new();
        // SAFETY: nodes of a live query, cast by their own tags.
        unsafe {
            for &clause in clauses {
                if (*clause).type_ != NodeTag::T_OpExpr {
                    continue;
                }
                let [left, right] = list::nodes((*clause.cast::<pg_sys::OpExpr>()).args)[..] else {
                    continue;
                };
                for (side, value) in [(left, right), (right, left)] {
                    let places = self.places_of(scope, side, 0);
                    if places.is_empty() || self.has_columns(scope, value) {
                        continue;
                    }
                    let value = plain(value);
                    match values.iter_mut().find(|(one, _)| pg_sys::equal(one.cast(), value.cast()))
                    {
                        Some((_, known)) => known.extend(places),
                        None => values.push((value, places)),
                    }
                }
            }
        }
        values.iter().for_each(|(_, places)| parts.connect(places));
    }

    /// A subquery or function that is computed for rows of others is connected with these.
    unsafe fn lateral(&self, scope: usize, place: c_int, parts: &mut Parts) {
        // SAFETY: an entry of a live query, whose members are set by its kind.
        unsafe {
            let Some(entry) = self.scopes.rte(scope, place) else { return };
            let mut places = match (*entry).rtekind {
                RTEKind::RTE_SUBQUERY => self.places_of(scope, (*entry).subquery.cast(), 1),
                RTEKind::RTE_FUNCTION => self.places_of(scope, (*entry).functions.cast(), 0),
                RTEKind::RTE_TABLEFUNC => self.places_of(scope, (*entry).tablefunc.cast(), 0),
                RTEKind::RTE_VALUES => self.places_of(scope, (*entry).values_lists.cast(), 0),
                _ => return,
            };
            if !places.is_empty() {
                places.push(place);
                parts.connect(&places);
            }
        }
    }

    /// Tables that stand in arms of one OR are connected by it.
    unsafe fn arms(&self, scope: usize, node: *mut Node, parts: &mut Parts) {
        // SAFETY: nodes of a live query.
        unsafe {
            for expression in tree::nodes(node, &[NodeTag::T_BoolExpr]) {
                let or = (*expression.cast::<pg_sys::BoolExpr>()).boolop;
                if or == pg_sys::BoolExprType::OR_EXPR {
                    parts.connect(&self.places_of(scope, expression, 0));
                }
            }
        }
    }
}

/// Joins that were written as joins of all pairs: CROSS JOIN, ON true, and outer joins.
unsafe fn deliberate(node: *mut Node, parts: &mut Parts) {
    // SAFETY: nodes of a live query, cast by their own tags.
    unsafe {
        if node.is_null() || pg_sys::stack_is_too_deep() {
            return;
        }
        match (*node).type_ {
            NodeTag::T_FromExpr => {
                let items = list::nodes((*node.cast::<pg_sys::FromExpr>()).fromlist);
                items.into_iter().for_each(|item| deliberate(item, parts));
            }
            NodeTag::T_JoinExpr => {
                let join = node.cast::<pg_sys::JoinExpr>();
                deliberate((*join).larg, parts);
                deliberate((*join).rarg, parts);
                let condition = plain((*join).quals);
                let all = condition.is_null() || (*condition).type_ == NodeTag::T_Const;
                // Nobody asks NATURAL JOIN for all pairs.
                if (*join).jointype != JoinType::JOIN_INNER || (all && !(*join).isNatural) {
                    let mut places = Vec::new();
                    places_in(node, &mut places);
                    parts.connect(&places);
                }
            }
            _ => {}
        }
    }
}
