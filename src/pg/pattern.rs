//! What a pattern begins with, from its first byte: nothing else of it is looked at, nothing is kept. Values are read
//! where they lie; what would have to be fetched or unpacked is not known.

use pgrx::pg_sys;
use pgrx::pg_sys::{Node, NodeTag, Oid};
use pgrx::varlena;

/// LIKE and ILIKE of names, text and char(n).
const LIKE: [u32; 6] = [
    pg_sys::OID_NAME_LIKE_OP,
    pg_sys::OID_TEXT_LIKE_OP,
    pg_sys::OID_BPCHAR_LIKE_OP,
    pg_sys::OID_NAME_ICLIKE_OP,
    pg_sys::OID_TEXT_ICLIKE_OP,
    pg_sys::OID_BPCHAR_ICLIKE_OP,
];
/// Functions whose result begins with what their first argument begins with: `||`, concat, and lower and upper, which
/// leave wildcards as they are.
const KEEP_THE_BEGINNING: [u32; 5] = [
    pg_sys::F_TEXTCAT,
    pg_sys::F_TEXTANYCAT,
    pg_sys::F_CONCAT,
    pg_sys::F_LOWER_TEXT,
    pg_sys::F_UPPER_TEXT,
];
/// Expressions within expressions are followed so far.
const DEEPEST: usize = 8;

/// Whether an operator compares with such a pattern.
pub(super) fn is_like(operator: Oid) -> bool {
    LIKE.contains(&operator.to_u32())
}

/// Whether a pattern begins with a wildcard; `None` where that is not known.
///
/// # Safety
/// An expression of a plan, and the parameters that it was executed with, or NULL.
pub(super) unsafe fn begins_with_wildcard(
    node: *mut Node,
    params: pg_sys::ParamListInfo,
    depth: usize,
) -> Option<bool> {
    // SAFETY: by the caller's word; a node is of the kind that its tag says, and a constant that is not null is of its
    // type.
    unsafe {
        if node.is_null() || depth > DEEPEST {
            return None;
        }
        let first = |list: *mut pg_sys::List| {
            let list = list.as_ref().filter(|list| list.length > 0)?;
            begins_with_wildcard((*list.elements).ptr_value.cast(), params, depth + 1)
        };
        match (*node).type_ {
            NodeTag::T_Const => {
                let constant = &*node.cast::<pg_sys::Const>();
                of_value(constant.constvalue, constant.constisnull, constant.consttype)
            }
            NodeTag::T_Param => of_parameter(&*node.cast(), params),
            NodeTag::T_RelabelType => {
                let arg = (*node.cast::<pg_sys::RelabelType>()).arg;
                begins_with_wildcard(arg.cast(), params, depth + 1)
            }
            NodeTag::T_CollateExpr => {
                let arg = (*node.cast::<pg_sys::CollateExpr>()).arg;
                begins_with_wildcard(arg.cast(), params, depth + 1)
            }
            NodeTag::T_OpExpr => {
                let op = &*node.cast::<pg_sys::OpExpr>();
                let keeps = KEEP_THE_BEGINNING.contains(&op.opfuncid.to_u32());
                keeps.then(|| first(op.args)).flatten()
            }
            NodeTag::T_FuncExpr => {
                let call = &*node.cast::<pg_sys::FuncExpr>();
                let keeps = KEEP_THE_BEGINNING.contains(&call.funcid.to_u32());
                keeps.then(|| first(call.args)).flatten()
            }
            _ => None,
        }
    }
}

/// # Safety
/// The parameters that a statement was executed with, or NULL.
unsafe fn of_parameter(of: &pg_sys::Param, params: pg_sys::ParamListInfo) -> Option<bool> {
    // SAFETY: by the caller's word; a list has as many parameters as it says. One that is fetched by somebody's
    // function is left alone.
    unsafe {
        let all = params.as_ref().filter(|all| all.paramFetch.is_none())?;
        let at = usize::try_from(of.paramid).ok()?.checked_sub(1)?;
        if of.paramkind != pg_sys::ParamKind::PARAM_EXTERN || at >= all.numParams.max(0) as usize {
            return None;
        }
        let one = &*all.params.as_ptr().add(at);
        of_value(one.value, one.isnull, one.ptype)
    }
}

/// # Safety
/// A value of that type, unless it is null.
unsafe fn of_value(value: pg_sys::Datum, is_null: bool, of_type: Oid) -> Option<bool> {
    if is_null || ![pg_sys::TEXTOID, pg_sys::VARCHAROID, pg_sys::BPCHAROID].contains(&of_type) {
        return None;
    }
    let stored = value.cast_mut_ptr::<pg_sys::varlena>();
    // SAFETY: a varlena by the caller's word, read only where it is whole and plain.
    unsafe {
        if stored.is_null() || varlena::varatt_is_1b_e(stored) || varlena::varatt_is_4b_c(stored) {
            return None;
        }
        // An empty pattern is the beginning of nothing, and of an expression's rest no more is known.
        match varlena::varsize_any_exhdr(stored) {
            0 => None,
            _ => Some(matches!(*varlena::vardata_any(stored) as u8, b'%' | b'_')),
        }
    }
}
