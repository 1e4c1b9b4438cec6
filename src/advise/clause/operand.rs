//! What a side of a comparison is: a column of a table, or an expression over columns of one table, as an
//! index on it would be written.

use std::ffi::{CStr, c_int};

use super::{Comparison, Condition, Context, Judge, Meaning, Predicate, Relation, What};
use crate::pg::{analyze, fmgr, list, session, tree};
use pgrx::pg_sys;
use pgrx::pg_sys::{Node, NodeTag, Oid};

/// One side of a comparison.
#[derive(Clone)]
pub(super) struct Operand {
    pub(super) place: usize,
    pub(super) expression: String,
    pub(super) attnum: i16,
    pub(super) of_type: Oid,
    pub(super) entry: Option<(usize, c_int)>,
    /// No index can be made on it: it holds a parameter, or changes with time or settings; or it is compared
    /// with its own table.
    pub(super) is_useless: bool,
    pub(super) join: bool,
    pub(super) other: u32,
}

impl Operand {
    pub(super) fn condition(self, comparison: Comparison) -> Condition {
        let Comparison { test, below, above } = comparison;
        let Self { place, expression, attnum, join, other, .. } = self;
        let predicate = Predicate { expression, attnum, test, join, other };
        Condition { place, predicate, below, above }
    }
}

/// A column that an expression looks at.
#[derive(Clone, Copy)]
pub(super) struct Column {
    pub(super) place: usize,
    pub(super) attnum: i16,
    pub(super) of_type: Oid,
    pub(super) entry: Option<(usize, c_int)>,
}

/// All columns that an expression looks at.
#[derive(Default)]
pub(super) struct Columns {
    pub(super) known: Vec<Column>,
    /// It looks at columns of functions, of lists of values, of what subqueries compute.
    pub(super) unknown: bool,
}

impl Judge<'_> {
    /// What `side` is, where that is something of one table for which the condition counts; NULL for
    /// `other` when it is compared with nothing.
    pub(super) unsafe fn operands(
        &mut self,
        context: &Context,
        side: *mut Node,
        other: *mut Node,
    ) -> Vec<Operand> {
        // SAFETY: nodes of a live query.
        unsafe {
            let meanings = self.scopes.meanings(context.scope, side, context.sublink);
            let mut found: Vec<_> =
                meanings.into_iter().filter_map(|one| self.operand(context, one)).collect();
            if found.is_empty() || other.is_null() {
                return found;
            }
            let with = self.columns(context, other);
            let changing = pg_sys::contain_volatile_functions(other);
            for operand in &mut found {
                let place = operand.place;
                operand.is_useless |= changing || with.known.iter().any(|c| c.place == place);
                let others = || with.known.iter().filter(|c| c.place != place);
                operand.join = with.unknown || others().next().is_some();
                let mut tables = others().map(|c| self.scopes.uses[c.place].oid.to_u32());
                if let Some(first) = tables.next().filter(|_| !with.unknown)
                    && tables.all(|table| table == first)
                {
                    operand.other = first;
                }
                let around = with.known.iter().any(|c| {
                    c.entry.is_some_and(|(scope, _)| self.scopes.is_inside(context.scope, scope))
                });
                if around && context.relation == Relation::Repeated {
                    self.scopes.uses[place].repeated = true;
                }
            }
            found
        }
    }

    pub(super) unsafe fn operand(
        &mut self,
        context: &Context,
        meaning: Meaning,
    ) -> Option<Operand> {
        if !self.counts(context, meaning.entry) {
            return None;
        }
        let mut operand = match meaning.what {
            What::Unknown => return None,
            What::Column { place, attnum, of_type } => self.column(place, attnum, of_type)?,
            // SAFETY: a node of that query.
            What::Expression { scope, node } => unsafe { self.expression(context, scope, node)? },
        };
        operand.entry = meaning.entry.or(operand.entry);
        Some(operand)
    }

    pub(super) fn column(&self, place: usize, attnum: i16, of_type: Oid) -> Option<Operand> {
        // SAFETY: look-ups by oid and number, which give NULL for what is gone; the copies are read at once.
        let expression = unsafe {
            let name = pg_sys::get_attname(self.scopes.uses[place].oid, attnum, true);
            if name.is_null() {
                return None;
            }
            fmgr::utf8(CStr::from_ptr(pg_sys::quote_identifier(name)).to_bytes())
        };
        let (is_useless, join, other) = (false, false, 0);
        Some(Operand { place, expression, attnum, of_type, entry: None, is_useless, join, other })
    }

    /// An expression over columns of one table, deparsed.
    unsafe fn expression(
        &mut self,
        context: &Context,
        scope: usize,
        node: *mut Node,
    ) -> Option<Operand> {
        const NOT_OF_A_ROW: [NodeTag; 4] =
            [NodeTag::T_SubLink, NodeTag::T_Aggref, NodeTag::T_WindowFunc, NodeTag::T_GroupingFunc];
        // SAFETY: a node of a live query; the copy is changed, not the node.
        unsafe {
            if !tree::nodes(node, &NOT_OF_A_ROW).is_empty() {
                return None;
            }
            if let Some(column) = self.silently_cast(scope, node) {
                let operand = self.column(column.place, column.attnum, column.of_type)?;
                return Some(Operand { is_useless: true, entry: column.entry, ..operand });
            }
            let copy = pg_sys::copyObjectImpl(node.cast()).cast::<Node>();
            let mut found: Vec<(*mut pg_sys::Var, Column)> = Vec::new();
            for var in self.vars(scope, copy) {
                let [meaning] = self.scopes.meanings(scope, var.cast(), None)[..] else {
                    return None;
                };
                found.push((var, column_of(&meaning)?));
            }
            let (_, first) = *found.first()?;
            if found.iter().any(|(_, c)| c.place != first.place || !self.counts(context, c.entry)) {
                return None;
            }
            for (var, column) in &found {
                (**var).varno = 1;
                (**var).varattno = column.attnum;
                (**var).varlevelsup = 0;
                (**var).varnosyn = 1;
                (**var).varattnosyn = column.attnum;
            }
            let is_useless = !tree::nodes(copy, &[NodeTag::T_Param]).is_empty()
                || pg_sys::contain_mutable_functions(copy);
            let of_type = pg_sys::exprType(copy);
            let expression = self.deparsed(first.place, copy)?;
            let (place, entry) = (first.place, first.entry);
            let (join, other) = (false, 0);
            Some(Operand { place, expression, attnum: 0, of_type, entry, is_useless, join, other })
        }
    }

    /// The column that the server converts because it is compared with another type: the remedy is the right
    /// type on the other side, not an index.
    unsafe fn silently_cast(&self, scope: usize, node: *mut Node) -> Option<Column> {
        // SAFETY: a node of a live query, cast by its own tag.
        unsafe {
            if (*node).type_ != NodeTag::T_FuncExpr {
                return None;
            }
            let call = node.cast::<pg_sys::FuncExpr>();
            let silent = (*call).funcformat == pg_sys::CoercionForm::COERCE_IMPLICIT_CAST;
            let argument = list::nodes((*call).args).first().copied().filter(|_| silent)?;
            match self.scopes.meanings(scope, argument, None)[..] {
                [meaning] => column_of(&meaning),
                _ => None,
            }
        }
    }

    /// As an index would say it: names that are not the server's own with their schemas.
    unsafe fn deparsed(&self, place: usize, node: *mut Node) -> Option<String> {
        let table = self.scopes.uses[place].oid;
        // The server opens the table for the names of its columns.
        if !analyze::lock_at_once(table) {
            return None;
        }
        session::set_for_now(c"search_path", c"pg_catalog, pg_temp");
        // SAFETY: an expression over the first and only table of its context; the text is copied at once.
        unsafe {
            let context = pg_sys::deparse_context_for(c"t".as_ptr(), table);
            let text = pg_sys::deparse_expression(node, context, false, false);
            Some(fmgr::utf8(CStr::from_ptr(text).to_bytes()))
        }
    }

    /// All columns of this query and those around it that an expression looks at, its subqueries included.
    pub(super) unsafe fn columns(&self, context: &Context, node: *mut Node) -> Columns {
        let mut columns = Columns::default();
        if node.is_null() {
            return columns;
        }
        // SAFETY: a node of a live query.
        unsafe {
            let mut nodes: Vec<*mut Node> =
                self.vars(context.scope, node).into_iter().map(|var| var.cast()).collect();
            if context.sublink.is_some() {
                nodes.extend(tree::nodes(node, &[NodeTag::T_Param]));
            }
            for node in nodes {
                let is_parameter = (*node).type_ == NodeTag::T_Param;
                for meaning in self.scopes.meanings(context.scope, node, context.sublink) {
                    match (column_of(&meaning), meaning.what) {
                        (Some(column), _) => columns.known.push(column),
                        (None, What::Expression { scope, node })
                            if !is_parameter || scope != context.scope =>
                        {
                            columns.unknown |= !self.vars(scope, node).is_empty();
                        }
                        (None, What::Expression { .. }) => {}
                        (None, _) => columns.unknown = true,
                    }
                }
            }
        }
        columns
    }

    /// The nodes of columns in an expression, of this query and of those around it.
    unsafe fn vars(&self, scope: usize, node: *mut Node) -> Vec<*mut pg_sys::Var> {
        let mut found = Vec::new();
        let mut levels = 0;
        while self.scopes.up(scope, levels).is_some() {
            // SAFETY: a node of a live query.
            let vars = unsafe { list::nodes(pg_sys::pull_vars_of_level(node, levels as c_int)) };
            found.extend(vars.into_iter().map(|var| var.cast()));
            levels += 1;
        }
        found
    }
}

fn column_of(meaning: &Meaning) -> Option<Column> {
    match meaning.what {
        What::Column { place, attnum, of_type } => {
            Some(Column { place, attnum, of_type, entry: meaning.entry })
        }
        _ => None,
    }
}
