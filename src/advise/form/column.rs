//! Columns around which something stands where they are compared.

use perfmon_core::facts::{Form, FormKind};
use pgrx::pg_sys;
use pgrx::pg_sys::{CoercionForm, Node, NodeTag, Oid};

mod pattern;

pub(super) use pattern::is_pattern;

use super::each::values_of;
use super::typed::{is_bare, spelled, typed};
use super::{Finder, Mask, Named, mask};
use crate::advise::scope::{Entry, What, plain};
use crate::pg::{describe, list, tree};

/// Signs of the comparisons of a btree, by strategy.
pub(super) const SIGNS: [&str; 5] = ["<", "<=", "=", ">=", ">"];
pub(super) const EQUAL: usize = 2;

/// What is not of a single row of a table.
const NOT_OF_A_ROW: [NodeTag; 4] =
    [NodeTag::T_SubLink, NodeTag::T_Aggref, NodeTag::T_WindowFunc, NodeTag::T_GroupingFunc];

/// An expression over columns of one table.
pub(super) struct Subject {
    /// A masked copy, its columns those of the first relation of a query.
    node: *mut Node,
    named: Named,
    /// The table, and the column if it is only one.
    table: Oid,
    attnum: i16,
    column_type: Oid,
    inside: bool,
    /// What an index would be on, if one can be.
    indexable: Option<String>,
    /// No index can be on it, whatever its values are.
    unstable: bool,
}

impl Subject {
    /// The type of the first column.
    pub(super) fn column_type(&self) -> Oid {
        self.column_type
    }
}

/// What an expression over columns is compared with.
struct Compared<'a> {
    sign: usize,
    /// With any element of it, which is an array.
    any: bool,
    /// The types of all values are those that they have when it is run.
    certain: bool,
    /// As text; `None` where it looks at columns of other tables.
    value: Option<&'a str>,
    cast_to: Option<Oid>,
    other: *mut Node,
    /// Of a list, its values.
    list: Vec<*mut Node>,
}

/// Both sides of a comparison as text, the column bare.
pub(super) struct Sides {
    pub(super) column: String,
    pub(super) sign: usize,
    pub(super) value: String,
    /// It is compared with any element of it, which is an array.
    pub(super) any: bool,
    /// The types of all values are those that they have when it is run.
    pub(super) certain: bool,
    /// The value's type, and that to which its text casts a parameter.
    pub(super) of_type: Oid,
    pub(super) cast_to: Option<Oid>,
}

impl Sides {
    /// The value in a type, cast to it unless its text does that.
    pub(super) fn value_as(&self, of_type: Oid, name: &str) -> String {
        match self.cast_to == Some(of_type) {
            true => self.value.clone(),
            false => format!("({})::{name}", self.value),
        }
    }
}

impl Finder<'_> {
    /// Whether something stands around a column, here or in the view or subquery that it comes from.
    pub(super) unsafe fn is_computed(&self, scope: usize, side: *mut Node) -> bool {
        const PLAIN: [NodeTag; 4] =
            [NodeTag::T_Const, NodeTag::T_Param, NodeTag::T_RowExpr, NodeTag::T_SubLink];
        // SAFETY: a node of that query.
        unsafe {
            let side = plain(side);
            if side.is_null() || PLAIN.contains(&(*side).type_) {
                return false;
            }
            (*side).type_ != NodeTag::T_Var
                || matches!(
                    self.scopes.meanings(scope, side, None)[..],
                    [one] if matches!(one.what, What::Expression { .. })
                )
        }
    }

    /// A side of a comparison by a btree's operator, with any element of an array if it says so.
    pub(super) unsafe fn compared(
        &mut self,
        scope: usize,
        side: *mut Node,
        (operator, any): (Oid, bool),
        other: *mut Node,
    ) {
        // SAFETY: nodes of that query.
        unsafe {
            let side = plain(side);
            if !self.is_computed(scope, side) || pg_sys::contain_volatile_functions(other) {
                return;
            }
            let of_type = pg_sys::exprType(side);
            let sign = self.families.strategy(operator, of_type);
            let Some(sign) = sign.filter(|sign| !any || *sign == EQUAL) else { return };
            let mut mask = self.mask();
            let Some(subject) = self.subject(scope, side, &mut mask) else { return };
            if is_column(subject.node) {
                return;
            }
            let joined = self.has_columns(scope, other);
            let single = tree::nodes(other, &NOT_OF_A_ROW).is_empty();
            let converted = self.converted(&subject, joined);
            if !single || (joined && (any || converted.is_none())) {
                return;
            }
            let value = (!joined).then(|| mask.copy(plain(other)));
            let cast_to = value.and_then(|value| mask::cast_to(value));
            let list = value.filter(|_| any).map(|value| values_of(value)).unwrap_or_default();
            let value = value.and_then(|value| self.deparsed(value, None, false));
            let Some(text) = self.deparsed(subject.node, Some(&subject.named), false) else {
                return;
            };
            // A unit of time is a text, whatever it comes from; and a day becomes the beginning of one in this time zone
            // whether it is compared with a day or with a time.
            let of_unit = is_truncated(subject.node);
            let of_day = of_unit
                && subject.column_type == pg_sys::DATEOID
                && of_type == pg_sys::TIMESTAMPTZOID;
            let certain =
                (of_unit || mask::is_certain(subject.node)) && (of_day || mask::is_certain(other));
            let value_text = value.as_deref();
            let compared = Compared { sign, any, certain, value: value_text, cast_to, other, list };
            let Some((kind, better)) = self.rewritten(&subject, converted, &compared) else {
                return;
            };
            let shown = value.unwrap_or_else(|| "a column of another table".to_owned());
            let indexable =
                subject.indexable.clone().filter(|_| !matches!(kind, FormKind::Converted { .. }));
            let kind = match kind {
                FormKind::Computed if subject.unstable => FormKind::Unstable,
                FormKind::Computed if indexable.is_none() => FormKind::Templated,
                kind => kind,
            };
            self.keep(Form {
                kind,
                tables: vec![subject.table.to_u32()],
                attnum: subject.attnum,
                expression: match any {
                    true => format!("{text} = ANY ({shown})"),
                    false => format!("{text} {} {shown}", SIGNS[sign]),
                },
                better,
                indexable,
                inside: subject.inside,
                guessed: !certain,
            });
        }
    }

    /// What stands around the column, and the form that leaves the column alone, if there is one.
    unsafe fn rewritten(
        &self,
        subject: &Subject,
        converted: Option<FormKind>,
        compared: &Compared<'_>,
    ) -> Option<(FormKind, Option<String>)> {
        let Compared { sign, any, certain, cast_to, other, .. } = *compared;
        // SAFETY: copies of nodes of a live query.
        unsafe {
            match (converted, compared.value) {
                (Some(kind), None) => Some((kind, None)),
                (Some(kind), Some(value)) => {
                    let to = describe::type_name(subject.column_type, -1);
                    let column = self.column_text(subject);
                    let better = column.map(|c| match any {
                        true => format!("{c} = ANY (({value})::{to}[])"),
                        false => format!("{c} {} ({value})::{to}", SIGNS[sign]),
                    });
                    Some((kind, better))
                }
                (None, Some(value)) => {
                    let column = self.column_text(subject);
                    let (value, of_type) = (value.to_owned(), pg_sys::exprType(other));
                    let sides = column.map(|column| Sides {
                        column,
                        sign,
                        value,
                        any,
                        certain,
                        of_type,
                        cast_to,
                    });
                    let form = sides.and_then(|sides| {
                        let one = self.form(subject, &sides);
                        one.or_else(|| self.form_of_each(subject, &sides, &compared.list))
                    });
                    match form {
                        Some((kind, better)) => Some((kind, Some(better))),
                        None => Some((FormKind::Computed, None)),
                    }
                }
                (None, None) => None,
            }
        }
    }

    /// What a side is, in columns of one table.
    unsafe fn subject(&self, scope: usize, side: *mut Node, mask: &mut Mask) -> Option<Subject> {
        // SAFETY: a node of that query; copies are changed.
        unsafe {
            let [meaning] = self.scopes.meanings(scope, side, None)[..] else { return None };
            if meaning.gathered {
                return None;
            }
            let (at, node) = match meaning.what {
                What::Expression { scope, node } => (scope, node),
                What::Column { .. } => (scope, plain(side)),
                What::Unknown => return None,
            };
            if !tree::nodes(node, &NOT_OF_A_ROW).is_empty()
                || pg_sys::contain_volatile_functions(node)
                || pg_sys::expression_returns_set(node)
            {
                return None;
            }
            let bare = pg_sys::copyObjectImpl(node.cast()).cast::<Node>();
            let node = mask.copy(node);
            let vars = |node| list::nodes(pg_sys::pull_vars_of_level(node, 0));
            let all: Vec<*mut pg_sys::Var> = vars(node).into_iter().map(|var| var.cast()).collect();
            let around = (1..).take_while(|level| self.scopes.up(at, *level).is_some());
            if around.into_iter().any(|level| pg_sys::contain_vars_of_level(node, level as i32)) {
                return None;
            }
            let mut columns = Vec::new();
            for &var in &all {
                let [one] = self.scopes.meanings(at, var.cast(), None)[..] else { return None };
                let What::Column { place, attnum, of_type } = one.what else { return None };
                columns.push((place, attnum, of_type));
            }
            let &(place, attnum, column_type) = columns.first()?;
            if columns.iter().any(|(other, _, _)| *other != place) {
                return None;
            }
            let table = self.scopes.uses[place].oid;
            let attnum =
                if columns.iter().all(|(_, other, _)| *other == attnum) { attnum } else { 0 };
            let own = self.own_name(at, &all);
            let base: Vec<i16> = columns.iter().map(|(_, attnum, _)| *attnum).collect();
            let named = match &own {
                Some(named) => Named { ..*named },
                None => Named { relation: table, alias: pg_sys::get_rel_name(table) },
            };
            if named.alias.is_null() {
                return None;
            }
            rename(&all, &base, own.is_some());
            let bare_vars: Vec<*mut pg_sys::Var> =
                vars(bare).into_iter().map(|var| var.cast()).collect();
            rename(&bare_vars, &base, false);
            let inside = at != scope || own.is_none();
            let indexable = self.indexable(bare, table);
            let unstable = pg_sys::contain_mutable_functions(bare);
            Some(Subject { node, named, table, attnum, column_type, inside, indexable, unstable })
        }
    }

    /// The relation that columns are written as columns of, if it is one, and they are not those of a join.
    unsafe fn own_name(&self, at: usize, vars: &[*mut pg_sys::Var]) -> Option<Named> {
        // SAFETY: columns of that query.
        unsafe {
            let place = (**vars.first()?).varno;
            let entry = self.scopes.rte(at, place)?;
            let index = usize::try_from(place - 1).ok()?;
            let known = !matches!(self.scopes.all[at].entries.get(index)?, Entry::Other);
            let one = vars.iter().all(|var| (**var).varno == place);
            let is_relation = (*entry).rtekind == pg_sys::RTEKind::RTE_RELATION;
            (one && known && is_relation)
                .then(|| Named { relation: (*entry).relid, alias: (*(*entry).eref).aliasname })
        }
    }

    /// As an index would say it; `None` for what changes with settings, or holds a parameter.
    unsafe fn indexable(&self, node: *mut Node, table: Oid) -> Option<String> {
        // SAFETY: a copy over the first relation of a query.
        unsafe {
            if !tree::nodes(node, &[NodeTag::T_Param]).is_empty()
                || pg_sys::contain_mutable_functions(node)
            {
                return None;
            }
            let named = Named { relation: table, alias: c"t".as_ptr() };
            self.deparsed(node, Some(&named), true)
        }
    }

    unsafe fn column_text(&self, subject: &Subject) -> Option<String> {
        // SAFETY: a copy over the first relation of a query.
        unsafe {
            let vars = list::nodes(pg_sys::pull_vars_of_level(subject.node, 0));
            let one = vars.first().copied().filter(|_| subject.attnum > 0)?;
            self.deparsed(one, Some(&subject.named), false)
        }
    }

    /// A conversion that nobody wrote.
    unsafe fn converted(&self, subject: &Subject, joined: bool) -> Option<FormKind> {
        // SAFETY: a copy, cast by the node's own tag.
        unsafe {
            let silent = CoercionForm::COERCE_IMPLICIT_CAST;
            let argument = match (*subject.node).type_ {
                NodeTag::T_FuncExpr => {
                    let call = subject.node.cast::<pg_sys::FuncExpr>();
                    list::nodes((*call).args)
                        .first()
                        .copied()
                        .filter(|_| (*call).funcformat == silent)
                }
                NodeTag::T_CoerceViaIO => {
                    let cast = subject.node.cast::<pg_sys::CoerceViaIO>();
                    Some((*cast).arg.cast()).filter(|_| (*cast).coerceformat == silent)
                }
                _ => None,
            }?;
            if (*plain(argument)).type_ != NodeTag::T_Var {
                return None;
            }
            Some(FormKind::Converted {
                column: describe::type_name(subject.column_type, -1),
                to: describe::type_name(pg_sys::exprType(subject.node), -1),
                joined,
            })
        }
    }

    /// A form that leaves the column alone.
    pub(super) unsafe fn form(
        &self,
        subject: &Subject,
        sides: &Sides,
    ) -> Option<(FormKind, String)> {
        // SAFETY: copies, cast by their own tags.
        unsafe {
            let node = subject.node;
            match (*node).type_ {
                NodeTag::T_CoerceViaIO => {
                    let cast = &*node.cast::<pg_sys::CoerceViaIO>();
                    spelled(cast.arg.cast(), cast.resulttype, subject.column_type, sides)
                }
                NodeTag::T_FuncExpr => {
                    let call = &*node.cast::<pg_sys::FuncExpr>();
                    // Truth values have a function where other types are written and read again.
                    if call.funcid.to_u32() == pg_sys::F_TEXT_BOOL {
                        let column = list::nodes(call.args).first().copied()?;
                        return spelled(column, call.funcresulttype, subject.column_type, sides);
                    }
                    let wider = self.widened(node.cast(), subject, sides);
                    wider.or_else(|| self.called(node.cast(), sides))
                }
                _ if sides.any => None,
                NodeTag::T_OpExpr => self.shifted(node.cast(), sides),
                NodeTag::T_CoalesceExpr => {
                    let arguments = list::nodes((*node.cast::<pg_sys::CoalesceExpr>()).args);
                    let [column, default] = arguments[..] else { return None };
                    // A collation that the default brings along would be lost.
                    let collation = |node: *mut Node| pg_sys::exprCollation(node);
                    if !is_column(column)
                        || pg_sys::contain_var_clause(default)
                        || collation(column) != collation(node)
                    {
                        return None;
                    }
                    let text = self.deparsed(default, None, false)?;
                    let Sides { column, sign, value, .. } = sides;
                    // Two parameters that nothing else stands beside have no type.
                    let default = match is_bare(value) {
                        true => typed(&text, pg_sys::exprType(default)),
                        false => text,
                    };
                    let sign = SIGNS[*sign];
                    let better = format!(
                        "({column} {sign} {value} OR ({column} IS NULL AND {default} {sign} {value}))"
                    );
                    Some((FormKind::Defaulted, better))
                }
                _ => None,
            }
        }
    }
}

/// Whether an expression is a call of date_trunc.
unsafe fn is_truncated(node: *mut Node) -> bool {
    const TRUNCATE: [u32; 2] =
        [pg_sys::F_DATE_TRUNC_TEXT_TIMESTAMP, pg_sys::F_DATE_TRUNC_TEXT_TIMESTAMPTZ];
    // SAFETY: a copy, cast by its own tag.
    unsafe {
        (*node).type_ == NodeTag::T_FuncExpr
            && TRUNCATE.contains(&(*node.cast::<pg_sys::FuncExpr>()).funcid.to_u32())
    }
}

pub(super) unsafe fn is_column(node: *mut Node) -> bool {
    // SAFETY: a node of a copy.
    unsafe { (*plain(node)).type_ == NodeTag::T_Var }
}

/// Makes columns those of the first relation of a query: as they are numbered there, or in their table.
unsafe fn rename(vars: &[*mut pg_sys::Var], base: &[i16], own: bool) {
    for (&var, attnum) in vars.iter().zip(base) {
        // SAFETY: nodes of a copy.
        unsafe {
            if !own {
                (*var).varattno = *attnum;
            }
            (*var).varno = 1;
            (*var).varnosyn = 1;
            (*var).varattnosyn = (*var).varattno;
            (*var).varlevelsup = 0;
        }
    }
}
