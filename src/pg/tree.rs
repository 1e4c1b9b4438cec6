//! Walks over the server's trees. It must never change a node.

use std::ffi::{c_int, c_void};

use pgrx::pg_sys;
use pgrx::pg_sys::{CoercionForm, Node, NodeTag, Param, Query};

/// Whether a walk over a raw parse tree meets a node that `found` says yes to. Nodes of utility
/// statements end the walk with an error of the server.
///
/// # Safety
/// The tree must come from the server's raw parser. `found` must only read, and must not panic.
pub(crate) unsafe fn raw_tree_has(tree: *mut Node, found: unsafe fn(*mut Node) -> bool) -> bool {
    let mut found = found;
    // SAFETY: the boundary catches the server's errors; the frames that they skip, those of the
    // walker included, have nothing to drop. The context outlives the walk.
    unsafe {
        let context = (&raw mut found).cast();
        pg_sys::ffi::pg_guard_ffi_boundary(|| look(tree, context))
    }
}

/// All nodes of these kinds in a raw parse tree.
///
/// # Safety
/// The tree must come from the server's raw parser and hold no utility statement.
pub(crate) unsafe fn raw_nodes(tree: *mut Node, kinds: &[NodeTag]) -> Vec<*mut Node> {
    let mut sought = Sought { kinds, found: Vec::new() };
    // SAFETY: as above; the list lies outside of the frames that an error skips.
    unsafe {
        let context = (&raw mut sought).cast();
        pg_sys::ffi::pg_guard_ffi_boundary(|| collect_raw(tree, context));
    }
    sought.found
}

/// All nodes of these kinds in an analysed expression, those inside of its subqueries left out.
///
/// # Safety
/// A live tree of the analyser, or NULL.
pub(crate) unsafe fn nodes(tree: *mut Node, kinds: &[NodeTag]) -> Vec<*mut Node> {
    let mut sought = Sought { kinds, found: Vec::new() };
    // SAFETY: as above.
    unsafe {
        let context = (&raw mut sought).cast();
        pg_sys::ffi::pg_guard_ffi_boundary(|| collect(tree, context));
    }
    sought.found
}

/// The same in all expressions of a query, those inside of its subqueries left out.
///
/// # Safety
/// A live query of the analyser.
#[expect(ffi_unwind_calls, reason = "the call is inside pgrx's error boundary")]
pub(crate) unsafe fn nodes_of_query(query: *mut Query, kinds: &[NodeTag]) -> Vec<*mut Node> {
    let mut sought = Sought { kinds, found: Vec::new() };
    let flags = pg_sys::QTW_IGNORE_RC_SUBQUERIES | pg_sys::QTW_IGNORE_JOINALIASES;
    // SAFETY: as above.
    unsafe {
        let context = (&raw mut sought).cast();
        pg_sys::ffi::pg_guard_ffi_boundary(|| {
            walk_query(query, Some(collect), context, flags as c_int)
        });
    }
    sought.found
}

/// Which parameters are to stand under a cast to their type.
type Wanted = unsafe fn(*mut Param) -> bool;

/// A copy of an analysed expression, its subqueries included, in which parameters stand under a cast to their type. One
/// that is the argument of a cast that was written has that already.
///
/// # Safety
/// A live tree of the analyser. `wanted` must only read, and must not panic.
pub(crate) unsafe fn with_casts(tree: *mut Node, wanted: Wanted) -> *mut Node {
    let mut wanted = wanted;
    // SAFETY: as above.
    unsafe {
        let context = (&raw mut wanted).cast();
        pg_sys::ffi::pg_guard_ffi_boundary(|| cast_in(tree, context))
    }
}

/// A copy of an analysed expression in which other nodes stand in place of some; its subqueries are the same.
///
/// # Safety
/// A live tree of the analyser, or NULL, and nodes that live as long as the copy.
pub(crate) unsafe fn with_others(
    tree: *mut Node,
    mut others: &[(*mut Node, *mut Node)],
) -> *mut Node {
    // SAFETY: as above.
    unsafe {
        let context = (&raw mut others).cast();
        pg_sys::ffi::pg_guard_ffi_boundary(|| exchange(tree, context))
    }
}

struct Sought<'a> {
    kinds: &'a [NodeTag],
    found: Vec<*mut Node>,
}

type Found = unsafe fn(*mut Node) -> bool;

#[expect(ffi_unwind_calls, reason = "errors pass through frames that have nothing to drop")]
unsafe extern "C-unwind" fn look(node: *mut Node, context: *mut c_void) -> bool {
    if node.is_null() {
        return false;
    }
    // SAFETY: the context is what `raw_tree_has` passed; the node is one of its tree.
    unsafe { (*context.cast::<Found>())(node) || walk_raw(node, Some(look), context) }
}

#[expect(ffi_unwind_calls, reason = "errors pass through frames that have nothing to drop")]
unsafe extern "C-unwind" fn collect_raw(node: *mut Node, context: *mut c_void) -> bool {
    if node.is_null() {
        return false;
    }
    // SAFETY: the context is what `raw_nodes` passed; the node is one of its tree.
    unsafe {
        let sought = context.cast::<Sought>();
        if (*sought).kinds.contains(&(*node).type_) {
            (*sought).found.push(node);
        }
        walk_raw(node, Some(collect_raw), context)
    }
}

#[expect(ffi_unwind_calls, reason = "errors pass through frames that have nothing to drop")]
unsafe extern "C-unwind" fn collect(node: *mut Node, context: *mut c_void) -> bool {
    if node.is_null() {
        return false;
    }
    // SAFETY: the context is what the callers above passed; the node is one of their tree.
    unsafe {
        if (*node).type_ == NodeTag::T_Query {
            return false;
        }
        let sought = context.cast::<Sought>();
        if (*sought).kinds.contains(&(*node).type_) {
            (*sought).found.push(node);
        }
        walk(node, Some(collect), context)
    }
}

#[expect(ffi_unwind_calls, reason = "errors pass through frames that have nothing to drop")]
unsafe extern "C-unwind" fn cast_in(node: *mut Node, context: *mut c_void) -> *mut Node {
    if node.is_null() {
        return node;
    }
    // SAFETY: the context is what `with_casts` passed; the node is one of its tree, cast by its own tag.
    unsafe {
        if (*node).type_ == NodeTag::T_Query {
            return mutate_query(node.cast(), Some(cast_in), context, 0).cast();
        }
        let copy = mutate(node, Some(cast_in), context);
        if (*node).type_ != NodeTag::T_Param {
            uncast(copy);
            return copy;
        }
        let parameter = copy.cast::<Param>();
        if !(*context.cast::<Wanted>())(parameter) {
            return copy;
        }
        let (of_type, typmod) = ((*parameter).paramtype, (*parameter).paramtypmod);
        let written = CoercionForm::COERCE_EXPLICIT_CAST;
        make_relabel_type(copy.cast(), of_type, typmod, (*parameter).paramcollid, written).cast()
    }
}

#[expect(ffi_unwind_calls, reason = "errors pass through frames that have nothing to drop")]
unsafe extern "C-unwind" fn exchange(node: *mut Node, context: *mut c_void) -> *mut Node {
    if node.is_null() {
        return node;
    }
    // SAFETY: the context is what `with_others` passed; the node is one of its tree.
    unsafe {
        let others = *context.cast::<&[(*mut Node, *mut Node)]>();
        if let Some((_, other)) = others.iter().find(|(one, _)| *one == node) {
            return *other;
        }
        if (*node).type_ == NodeTag::T_Query {
            return node;
        }
        mutate(node, Some(exchange), context)
    }
}

/// Takes the cast from a parameter that stands in one.
///
/// # Safety
/// A node of a copy, with a list of arguments of its own.
unsafe fn uncast(node: *mut Node) {
    let written = CoercionForm::COERCE_EXPLICIT_CAST;
    // SAFETY: by the caller's word; cast by the nodes' own tags, and a list has `length` cells.
    unsafe {
        let place: *mut *mut Node = match (*node).type_ {
            NodeTag::T_FuncExpr => {
                let call = node.cast::<pg_sys::FuncExpr>();
                match (*call).args.as_ref() {
                    Some(args) if (*call).funcformat == written && args.length > 0 => {
                        (&raw mut (*args.elements).ptr_value).cast()
                    }
                    _ => return,
                }
            }
            NodeTag::T_CoerceViaIO => {
                let cast = node.cast::<pg_sys::CoerceViaIO>();
                if (*cast).coerceformat != written {
                    return;
                }
                (&raw mut (*cast).arg).cast()
            }
            _ => return,
        };
        if !(*place).is_null() && (**place).type_ == NodeTag::T_RelabelType {
            let inner = (**place.cast::<*mut pg_sys::RelabelType>()).arg;
            if (*inner).type_ == NodeTag::T_Param {
                *place = inner.cast();
            }
        }
    }
}

type Mutator = unsafe extern "C-unwind" fn(*mut Node, *mut c_void) -> *mut Node;
type Visitor = unsafe extern "C-unwind" fn(*mut Node, *mut c_void) -> bool;

unsafe extern "C-unwind" {
    // Past the bindings' wrappers: they would set up an error boundary for each node of the tree.
    #[cfg_attr(feature = "pg15", link_name = "raw_expression_tree_walker")]
    #[cfg_attr(not(feature = "pg15"), link_name = "raw_expression_tree_walker_impl")]
    fn walk_raw(node: *mut Node, walker: Option<Visitor>, context: *mut c_void) -> bool;

    #[cfg_attr(feature = "pg15", link_name = "expression_tree_walker")]
    #[cfg_attr(not(feature = "pg15"), link_name = "expression_tree_walker_impl")]
    fn walk(node: *mut Node, walker: Option<Visitor>, context: *mut c_void) -> bool;

    #[cfg_attr(feature = "pg15", link_name = "query_tree_walker")]
    #[cfg_attr(not(feature = "pg15"), link_name = "query_tree_walker_impl")]
    fn walk_query(
        query: *mut Query,
        walker: Option<Visitor>,
        context: *mut c_void,
        flags: c_int,
    ) -> bool;

    #[cfg_attr(feature = "pg15", link_name = "expression_tree_mutator")]
    #[cfg_attr(not(feature = "pg15"), link_name = "expression_tree_mutator_impl")]
    fn mutate(node: *mut Node, mutator: Option<Mutator>, context: *mut c_void) -> *mut Node;

    #[cfg_attr(feature = "pg15", link_name = "query_tree_mutator")]
    #[cfg_attr(not(feature = "pg15"), link_name = "query_tree_mutator_impl")]
    fn mutate_query(
        query: *mut Query,
        mutator: Option<Mutator>,
        context: *mut c_void,
        flags: c_int,
    ) -> *mut Query;

    #[link_name = "makeRelabelType"]
    fn make_relabel_type(
        arg: *mut pg_sys::Expr,
        of_type: pg_sys::Oid,
        typmod: i32,
        collation: pg_sys::Oid,
        format: CoercionForm::Type,
    ) -> *mut pg_sys::RelabelType;
}
