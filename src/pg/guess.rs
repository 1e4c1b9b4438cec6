//! Types for the parameters of normalised texts. A constant's type is lost with it, and the analyser then
//! takes the other operand's: of `current_date - $1` it makes the difference of two dates, and of `ARRAY[$1]` texts.
//! Where that leads to nothing, the types that such constants usually have are tried.

use std::collections::HashSet;
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
                    arrays | operation(node.cast(), guess) | operands(node.cast())
                }
                _ => call(node.cast()) | computed(node.cast()),
            };
        }
        let names = matched(statement);
        for node in tree::raw_nodes(statement, &[NodeTag::T_SelectStmt, NodeTag::T_RangeSubselect])
        {
            changed |= match (*node).type_ {
                NodeTag::T_SelectStmt => {
                    targets((*node.cast::<pg_sys::SelectStmt>()).targetList, &names)
                }
                _ => rows(node.cast(), &names),
            };
        }
    }
    changed
}

/// Names of columns that are matched with other columns, or reckoned with: where they are those of constants alone, these
/// are most likely numbers, and not the texts that the analyser takes them for.
unsafe fn matched<'a>(statement: *mut Node) -> HashSet<&'a [u8]> {
    let mut names = HashSet::new();
    // SAFETY: nodes of the parser's, cast by their own tags.
    unsafe {
        for node in tree::raw_nodes(statement, &[NodeTag::T_A_Expr]) {
            let expression = node.cast::<pg_sys::A_Expr>();
            let (left, right) = (column((*expression).lexpr), column((*expression).rexpr));
            match last_name((*expression).name) {
                b"=" | b"<" | b"<=" | b">" | b">=" if left.is_some() && right.is_some() => {}
                b"+" | b"-" | b"*" | b"/" | b"%" => {}
                _ => continue,
            }
            names.extend(left.into_iter().chain(right));
        }
        for node in tree::raw_nodes(statement, &[NodeTag::T_JoinExpr]) {
            for name in list::nodes((*node.cast::<pg_sys::JoinExpr>()).usingClause) {
                names.insert(CStr::from_ptr((*name.cast::<pg_sys::String>()).sval).to_bytes());
            }
        }
    }
    names
}

/// The name of a column, without its table.
unsafe fn column<'a>(node: *mut Node) -> Option<&'a [u8]> {
    // SAFETY: a node of the parser's, or NULL; cast by its own tag.
    unsafe {
        if node.is_null() || (*node).type_ != NodeTag::T_ColumnRef {
            return None;
        }
        let name = last_name((*node.cast::<pg_sys::ColumnRef>()).fields);
        (!name.is_empty()).then_some(name)
    }
}

/// Columns of a query's result that are parameters alone: `(SELECT $1 AS k) p`.
unsafe fn targets(list: *mut pg_sys::List, names: &HashSet<&[u8]>) -> bool {
    let mut changed = false;
    // SAFETY: nodes of the parser's, cast by their own tags; names are NUL-terminated.
    unsafe {
        for node in list::nodes(list) {
            if (*node).type_ != NodeTag::T_ResTarget {
                continue;
            }
            let target = node.cast::<pg_sys::ResTarget>();
            if (*target).name.is_null() || !is_parameter((*target).val) {
                continue;
            }
            if names.contains(CStr::from_ptr((*target).name).to_bytes()) {
                (*target).val = cast((*target).val, Guess::Integer);
                changed = true;
            }
        }
    }
    changed
}

/// Columns of a list of values that are parameters alone: `(VALUES ($1, $2), ($3, $4)) v(k, n)`.
unsafe fn rows(from: *mut pg_sys::RangeSubselect, names: &HashSet<&[u8]>) -> bool {
    let mut changed = false;
    // SAFETY: nodes of the parser's, cast by their own tags; a row is a list with as many cells as it says.
    unsafe {
        let (query, alias) = ((*from).subquery, (*from).alias);
        if query.is_null() || (*query).type_ != NodeTag::T_SelectStmt || alias.is_null() {
            return false;
        }
        let rows = list::nodes((*query.cast::<pg_sys::SelectStmt>()).valuesLists);
        for (i, name) in list::nodes((*alias).colnames).into_iter().enumerate() {
            let name = CStr::from_ptr((*name.cast::<pg_sys::String>()).sval).to_bytes();
            if !names.contains(name) {
                continue;
            }
            let cell = |row: &*mut Node| list::nodes(row.cast()).get(i).copied();
            if !rows.iter().all(|row| cell(row).is_some_and(|value| is_parameter(value))) {
                continue;
            }
            for row in &rows {
                retype(row.cast(), i);
                changed = true;
            }
        }
    }
    changed
}

/// Makes one element of a list, a parameter, a number.
unsafe fn retype(list: *mut pg_sys::List, i: usize) {
    // SAFETY: by the caller's word, the list has that element, and it is a node.
    unsafe {
        let cell = (*list).elements.add(i);
        (*cell).ptr_value = cast((*cell).ptr_value.cast(), Guess::Integer).cast();
    }
}

/// What is computed with is a number, whatever way it is chosen.
unsafe fn operands(expression: *mut pg_sys::A_Expr) -> bool {
    // SAFETY: a node of the parser's.
    unsafe {
        if !matches!(last_name((*expression).name), b"+" | b"-" | b"*" | b"/" | b"%") {
            return false;
        }
        let left = choice((*expression).lexpr);
        left | choice((*expression).rexpr)
    }
}

/// The same of what such functions are called with.
unsafe fn computed(call: *mut pg_sys::FuncCall) -> bool {
    // SAFETY: a node of the parser's.
    unsafe {
        if !matches!(last_name((*call).funcname), b"sum" | b"avg" | b"round" | b"abs" | b"trunc") {
            return false;
        }
        list::nodes((*call).args).into_iter().fold(false, |changed, node| choice(node) | changed)
    }
}

/// CASE, COALESCE, GREATEST and LEAST between parameters alone.
unsafe fn choice(node: *mut Node) -> bool {
    // SAFETY: nodes of the parser's, or NULL, cast by their own tags; lists have as many cells as they say.
    unsafe {
        if node.is_null() {
            return false;
        }
        let arguments = match (*node).type_ {
            NodeTag::T_CaseExpr => return case(node.cast()),
            NodeTag::T_CoalesceExpr => (*node.cast::<pg_sys::CoalesceExpr>()).args,
            NodeTag::T_MinMaxExpr => (*node.cast::<pg_sys::MinMaxExpr>()).args,
            _ => return false,
        };
        let all = list::nodes(arguments);
        if !all.iter().all(|&argument| is_parameter(argument)) {
            return false;
        }
        (0..all.len()).for_each(|i| retype(arguments, i));
        !all.is_empty()
    }
}

unsafe fn case(case: *mut pg_sys::CaseExpr) -> bool {
    // SAFETY: nodes of the parser's; the list of a CASE holds its WHENs.
    unsafe {
        let whens: Vec<*mut pg_sys::CaseWhen> =
            list::nodes((*case).args).into_iter().map(|when| when.cast()).collect();
        let last: *mut Node = (*case).defresult.cast();
        let all = whens.iter().all(|&when| is_parameter((*when).result.cast()));
        if !all || !(last.is_null() || is_parameter(last)) {
            return false;
        }
        for when in whens {
            (*when).result = cast((*when).result.cast(), Guess::Integer).cast();
        }
        if !last.is_null() {
            (*case).defresult = cast(last, Guess::Integer).cast();
        }
        true
    }
}

/// Arrays of parameters alone, which the analyser takes for texts, whatever they are compared with: a parameter in their
/// place is of the type that fits. What equals any of them, or none, is in a list of them or not: so all of them stay.
unsafe fn arrays(expression: *mut pg_sys::A_Expr) -> bool {
    use pg_sys::A_Expr_Kind::{AEXPR_IN, AEXPR_OP, AEXPR_OP_ALL, AEXPR_OP_ANY};
    // SAFETY: a node of the parser's; see `apply`.
    unsafe {
        let (left, right) = (alone_in((*expression).lexpr), alone_in((*expression).rexpr));
        let in_list = match (*expression).kind {
            AEXPR_OP_ANY => last_name((*expression).name) == b"=",
            AEXPR_OP_ALL => last_name((*expression).name) == b"<>",
            _ => false,
        };
        // A list is compared with an operator that has no schema's name before it.
        let in_list = in_list && list::nodes((*expression).name).len() == 1;
        if in_list && right.is_some() && !(*expression).lexpr.is_null() {
            let array = (*expression).rexpr.cast::<pg_sys::A_ArrayExpr>();
            (*expression).kind = AEXPR_IN;
            (*expression).rexpr = (*array).elements.cast();
            return true;
        }
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

/// A function of constants only, such as `generate_series($1, $2)` and `unnest(ARRAY[$1, $2])`.
unsafe fn call(call: *mut pg_sys::FuncCall) -> bool {
    // SAFETY: a node of the parser's; its list of arguments has as many cells as it says.
    unsafe {
        let arguments = list::nodes((*call).args);
        if let ([only], b"unnest") = (arguments.as_slice(), last_name((*call).funcname))
            && alone_in(*only).is_some()
        {
            let elements = (*only.cast::<pg_sys::A_ArrayExpr>()).elements;
            (0..list::nodes(elements).len()).for_each(|i| retype(elements, i));
            return true;
        }
        if arguments.is_empty() || !arguments.iter().all(|&argument| is_parameter(argument)) {
            return false;
        }
        (0..arguments.len()).for_each(|i| retype((*call).args, i));
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
