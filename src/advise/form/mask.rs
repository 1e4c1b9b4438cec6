//! Copies of expressions with parameters in place of constants: what a form shows is no data. Constants that
//! are words of the language stay: units of time, names of configurations, NULL, true and false.

use std::ffi::c_int;

use pgrx::pg_sys;
use pgrx::pg_sys::{CoercionForm, Node, NodeTag, Query};

use crate::pg::{analyze, list, tree};

/// Gives numbers to the parameters that it puts.
pub(super) struct Mask {
    next: u32,
}

/// `extract` of date to interval, and `date_trunc`: their first argument is a unit.
const OF_UNITS: [u32; 10] = [
    pg_sys::F_EXTRACT_TEXT_DATE,
    pg_sys::F_EXTRACT_TEXT_TIME,
    pg_sys::F_EXTRACT_TEXT_TIMETZ,
    pg_sys::F_EXTRACT_TEXT_TIMESTAMP,
    pg_sys::F_EXTRACT_TEXT_TIMESTAMPTZ,
    pg_sys::F_EXTRACT_TEXT_INTERVAL,
    pg_sys::F_DATE_TRUNC_TEXT_TIMESTAMP,
    pg_sys::F_DATE_TRUNC_TEXT_TIMESTAMPTZ,
    pg_sys::F_DATE_TRUNC_TEXT_TIMESTAMPTZ_TEXT,
    pg_sys::F_DATE_TRUNC_TEXT_INTERVAL,
];

impl Mask {
    /// With numbers behind those of the statement's own parameters.
    pub(super) fn after(last: u32) -> Self {
        Self { next: last + 1 }
    }

    /// A copy of an expression, in which casts stand that give parameters their types.
    ///
    /// # Safety
    /// A live expression.
    pub(super) unsafe fn copy(&mut self, node: *mut Node) -> *mut Node {
        // SAFETY: by the caller's word; it is the copy that is changed.
        unsafe {
            let copy = pg_sys::copyObjectImpl(node.cast()).cast::<Node>();
            self.hide(tree::nodes(copy, &KINDS));
            tree::with_casts(copy, is_cast)
        }
    }

    unsafe fn query(&mut self, query: *mut Query) {
        // SAFETY: a query of a copy.
        unsafe {
            if pg_sys::stack_is_too_deep() {
                return;
            }
            self.hide(tree::nodes_of_query(query, &KINDS));
            for entry in list::nodes((*query).rtable) {
                let inner = (*entry.cast::<pg_sys::RangeTblEntry>()).subquery;
                if !inner.is_null() {
                    self.query(inner);
                }
            }
            for cte in list::nodes((*query).cteList) {
                self.query((*cte.cast::<pg_sys::CommonTableExpr>()).ctequery.cast());
            }
        }
    }

    unsafe fn hide(&mut self, nodes: Vec<*mut Node>) {
        // SAFETY: nodes of a copy, cast by their own tags.
        unsafe {
            let mut kept: Vec<*mut Node> = Vec::new();
            for &node in &nodes {
                match (*node).type_ {
                    NodeTag::T_FuncExpr => kept.extend(word_of(node.cast())),
                    NodeTag::T_SubLink => {
                        self.query((*node.cast::<pg_sys::SubLink>()).subselect.cast());
                    }
                    _ => {}
                }
            }
            for node in nodes {
                if (*node).type_ == NodeTag::T_Const && !kept.contains(&node) {
                    self.parameter(node.cast());
                }
            }
        }
    }

    unsafe fn parameter(&mut self, constant: *mut pg_sys::Const) {
        const { assert!(size_of::<pg_sys::Param>() <= size_of::<pg_sys::Const>()) };
        const WORDS: [pg_sys::Oid; 3] =
            [pg_sys::BOOLOID, pg_sys::REGCONFIGOID, pg_sys::REGCLASSOID];
        // SAFETY: a constant of a copy, which has room for a parameter.
        unsafe {
            if (*constant).constisnull || WORDS.contains(&(*constant).consttype) {
                return;
            }
            let parameter = pg_sys::Param {
                xpr: pg_sys::Expr { type_: NodeTag::T_Param },
                paramkind: pg_sys::ParamKind::PARAM_EXTERN,
                paramid: c_int::try_from(self.next).unwrap_or(c_int::MAX),
                paramtype: (*constant).consttype,
                paramtypmod: (*constant).consttypmod,
                paramcollid: (*constant).constcollid,
                location: A_CONSTANT,
            };
            self.next += 1;
            constant.cast::<pg_sys::Param>().write(parameter);
        }
    }
}

/// Place of a parameter that was put for a constant: its type is known, and was not written as a cast.
const A_CONSTANT: c_int = -2;

/// Whether the text has a cast of a parameter.
unsafe fn is_cast(parameter: *mut pg_sys::Param) -> bool {
    // SAFETY: a parameter of a copy.
    unsafe {
        (*parameter).paramkind == pg_sys::ParamKind::PARAM_EXTERN
            && analyze::has_type_in_text(parameter)
            && (*parameter).location != A_CONSTANT
    }
}

/// Whether the types of all values in an expression are those that it has when it is run: none is that of a parameter
/// which the analyser gave the type that fits.
///
/// # Safety
/// A live expression of the analyser, or a copy.
pub(super) unsafe fn is_certain(node: *mut Node) -> bool {
    // SAFETY: by the caller's word; cast by the nodes' own tags.
    unsafe {
        tree::nodes(node, &[NodeTag::T_Param]).into_iter().all(|parameter| {
            let parameter = parameter.cast::<pg_sys::Param>();
            (*parameter).paramkind != pg_sys::ParamKind::PARAM_EXTERN
                || analyze::has_type_in_text(parameter)
        })
    }
}

/// The type that a parameter is cast to, if a copy is that and nothing else.
///
/// # Safety
/// A copy that a mask made.
pub(super) unsafe fn cast_to(copy: *mut Node) -> Option<pg_sys::Oid> {
    // SAFETY: by the caller's word; cast by the nodes' own tags.
    unsafe {
        if (*copy).type_ != NodeTag::T_RelabelType {
            return None;
        }
        let cast = copy.cast::<pg_sys::RelabelType>();
        let written = (*cast).relabelformat == CoercionForm::COERCE_EXPLICIT_CAST;
        (written && (*(*cast).arg).type_ == NodeTag::T_Param).then_some((*cast).resulttype)
    }
}

const KINDS: [NodeTag; 3] = [NodeTag::T_Const, NodeTag::T_FuncExpr, NodeTag::T_SubLink];

/// The argument of a call that is a word of the language. A call in SQL's own words, of which the deparser
/// takes some for constants without a look, becomes a plain one.
unsafe fn word_of(call: *mut pg_sys::FuncExpr) -> Option<*mut Node> {
    // SAFETY: a call of a copy.
    unsafe {
        if OF_UNITS.contains(&(*call).funcid.to_u32()) {
            return list::nodes((*call).args).first().copied();
        }
        if (*call).funcformat == CoercionForm::COERCE_SQL_SYNTAX {
            (*call).funcformat = CoercionForm::COERCE_EXPLICIT_CALL;
        }
        None
    }
}

/// A constant of type int4 or int8.
///
/// # Safety
/// A live constant.
pub(super) unsafe fn integer(constant: *mut pg_sys::Const) -> Option<i64> {
    // SAFETY: by the caller's word.
    unsafe {
        let value = (*constant).constvalue.value();
        match (*constant).consttype {
            _ if (*constant).constisnull => None,
            pg_sys::INT4OID => Some(i64::from(value as i32)),
            pg_sys::INT8OID => Some(value as i64),
            _ => None,
        }
    }
}
