//! Types for the parameters of normalised texts. A constant's type is lost with it, and the analyser then
//! takes the other operand's: of `current_date - $1` it makes the difference of two dates, and of `ARRAY[$1]` texts.
//! Where that leads to nothing, the types that such constants usually have are tried.

use std::ffi::CStr;

use pgrx::pg_sys;
use pgrx::pg_sys::{Node, NodeTag, SQLValueFunctionOp};

use super::{list, tree};

/// What is taken off a column of which nothing is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Guess {
    /// A number, or days.
    Integer,
    /// A span of time.
    Interval,
}

/// Gives types to parameters in a raw tree; false if there are none that could be meant.
///
/// # Safety
/// A tree that the parser made for nobody else.
pub(super) unsafe fn apply(statement: *mut Node, guess: Guess) -> bool {
    let mut changed = false;
    // SAFETY: nodes of the tree, cast by their own tags; what is put in lives as long as they.
    unsafe {
        for node in tree::raw_nodes(statement, &[NodeTag::T_A_Expr, NodeTag::T_FuncCall]) {
            changed |= match (*node).type_ {
                NodeTag::T_A_Expr => {
                    let arrays = arrays(node.cast());
                    arrays | operation(node.cast(), guess)
                }
                _ => call(node.cast()),
            };
        }
    }
    changed
}

/// Arrays of parameters alone, which the analyser takes for texts, whatever they are compared with: a parameter in their
/// place is of the type that fits.
unsafe fn arrays(expression: *mut pg_sys::A_Expr) -> bool {
    use pg_sys::A_Expr_Kind::{AEXPR_OP, AEXPR_OP_ALL, AEXPR_OP_ANY};
    // SAFETY: a node of the parser's; see `apply`.
    unsafe {
        let (left, right) = (alone_in((*expression).lexpr), alone_in((*expression).rexpr));
        if ![AEXPR_OP, AEXPR_OP_ANY, AEXPR_OP_ALL].contains(&(*expression).kind) {
            return false;
        }
        match (left, right) {
            (Some(first), None) if !(*expression).rexpr.is_null() => (*expression).lexpr = first,
            (None, Some(first)) if !(*expression).lexpr.is_null() => (*expression).rexpr = first,
            _ => return false,
        }
        true
    }
}

/// The first parameter of an array that is made of nothing else.
unsafe fn alone_in(node: *mut Node) -> Option<*mut Node> {
    // SAFETY: a node of the parser's, or NULL; cast by its own tag.
    unsafe {
        if node.is_null() || (*node).type_ != NodeTag::T_A_ArrayExpr {
            return None;
        }
        let elements = list::nodes((*node.cast::<pg_sys::A_ArrayExpr>()).elements);
        let all = elements.iter().all(|&element| is_parameter(element));
        elements.first().copied().filter(|_| all)
    }
}

unsafe fn operation(expression: *mut pg_sys::A_Expr, guess: Guess) -> bool {
    // SAFETY: a node of the parser's; see `apply`.
    unsafe {
        let (left, right) = ((*expression).lexpr, (*expression).rexpr);
        let is_operator = (*expression).kind == pg_sys::A_Expr_Kind::AEXPR_OP;
        if !is_operator || left.is_null() || !is_parameter(right) {
            return false;
        }
        let of_type = match last_name((*expression).name) {
            b"+" | b"-" => match base(left) {
                Some(known) => known,
                None if is_parameter(left) => Guess::Integer,
                None => guess,
            },
            b"*" | b"/" | b"%" if is_parameter(left) => Guess::Integer,
            _ => return false,
        };
        (*expression).rexpr = cast(right, of_type);
        true
    }
}

/// A function of constants only, such as `generate_series($1, $2)`.
unsafe fn call(call: *mut pg_sys::FuncCall) -> bool {
    // SAFETY: a node of the parser's; its list of arguments has as many cells as it says.
    unsafe {
        let arguments = list::nodes((*call).args);
        if arguments.is_empty() || !arguments.iter().all(|&argument| is_parameter(argument)) {
            return false;
        }
        for (i, argument) in arguments.into_iter().enumerate() {
            (*(*(*call).args).elements.add(i)).ptr_value = cast(argument, Guess::Integer).cast();
        }
        true
    }
}

unsafe fn cast(parameter: *mut Node, of_type: Guess) -> *mut Node {
    let oid = match of_type {
        Guess::Integer => pg_sys::INT4OID,
        Guess::Interval => pg_sys::INTERVALOID,
    };
    // SAFETY: a new node in the current memory context, as is the tree.
    unsafe {
        let cast = pg_sys::palloc0(size_of::<pg_sys::TypeCast>()).cast::<pg_sys::TypeCast>();
        (*cast).type_ = NodeTag::T_TypeCast;
        (*cast).arg = parameter;
        (*cast).typeName = pg_sys::makeTypeNameFromOid(oid, -1);
        (*cast).location = -1;
        cast.cast()
    }
}

unsafe fn is_parameter(node: *mut Node) -> bool {
    // SAFETY: a node of the parser's, or NULL.
    unsafe { !node.is_null() && (*node).type_ == NodeTag::T_ParamRef }
}

/// What is usually added to the first of several operands, if that can be told by its look.
unsafe fn base(mut node: *mut Node) -> Option<Guess> {
    // SAFETY: nodes of the parser's, cast by their own tags.
    unsafe {
        while (*node).type_ == NodeTag::T_A_Expr {
            let first = (*node.cast::<pg_sys::A_Expr>()).lexpr;
            if first.is_null() {
                return None;
            }
            node = first;
        }
        let name = match (*node).type_ {
            NodeTag::T_SQLValueFunction => {
                let which = (*node.cast::<pg_sys::SQLValueFunction>()).op;
                return match which {
                    SQLValueFunctionOp::SVFOP_CURRENT_DATE => Some(Guess::Integer),
                    _ => Some(Guess::Interval),
                };
            }
            NodeTag::T_FuncCall => last_name((*node.cast::<pg_sys::FuncCall>()).funcname),
            NodeTag::T_TypeCast => {
                let of_type = (*node.cast::<pg_sys::TypeCast>()).typeName;
                last_name((*of_type).names)
            }
            _ => return None,
        };
        match name {
            b"date" => Some(Guess::Integer),
            b"now"
            | b"clock_timestamp"
            | b"statement_timestamp"
            | b"transaction_timestamp"
            | b"date_trunc"
            | b"to_timestamp"
            | b"timestamp"
            | b"timestamptz" => Some(Guess::Interval),
            _ => None,
        }
    }
}

unsafe fn last_name<'a>(names: *mut pg_sys::List) -> &'a [u8] {
    // SAFETY: a list of the parser's String nodes, which live as long as the tree.
    unsafe {
        match list::nodes(names).last() {
            Some(&last) if (*last).type_ == NodeTag::T_String => {
                CStr::from_ptr((*last.cast::<pg_sys::String>()).sval).to_bytes()
            }
            _ => b"",
        }
    }
}
