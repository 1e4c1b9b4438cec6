//! The server's own analysis of a statement's text: which tables and columns its names mean. Nothing is
//! planned, rewritten or run, no hook of another extension hears of it, and no lock is waited for.
//!
//! The analyser calls the input functions of types on constants. Those of types that are made of other
//! types would run the checks of domains, which are anybody's code: constants that could be read by such
//! a function are made parameters first, as pg_stat_statements does with all of them.

use std::collections::HashSet;
use std::ffi::{CStr, c_int};

use pgrx::pg_sys;
use pgrx::pg_sys::{Node, NodeTag, Oid, Query};

use super::guess::{self, Guess};
use super::{list, tree};

/// A text whose parameters have higher numbers is refused: the analyser makes room for all below.
const MOST_PARAMETERS: c_int = 100_000;
/// The server's mark of a node that stands nowhere in a text.
const NO_PLACE: c_int = -1;
/// EXPLAIN of PREPARE of …: as deep as a query may lie in its statement.
const DEEPEST: usize = 4;

/// Analyses one statement in the database's encoding; of EXPLAIN, PREPARE, DECLARE, CREATE TABLE AS and
/// COPY, the query inside, with types guessed for its parameters or not. `None` for anything else. What is wrong with the text, and a table that somebody
/// has locked, are errors.
///
/// # Safety
/// To be called in a subtransaction that is rolled back after the last use of the result, which lies in
/// the current memory context.
pub(crate) unsafe fn analyze(text: &CStr, guess: Option<Guess>) -> Option<*mut Query> {
    // SAFETY: a NUL-terminated text; the trees are walked by the tags that the parser put.
    unsafe {
        let trees = pg_sys::raw_parser(text.as_ptr(), pg_sys::RawParseMode::RAW_PARSE_DEFAULT);
        let [raw] = list::nodes(trees)[..] else { return None };
        let statement = query_in((*raw.cast::<pg_sys::RawStmt>()).stmt)?;
        if !disarm(statement) {
            return None;
        }
        forget_places(statement);
        if guess.is_some_and(|guess| !guess::apply(statement, guess)) {
            return None;
        }
        lock(statement);
        let query = transform(statement, text);
        match (*query).commandType {
            pg_sys::CmdType::CMD_UTILITY => made_table((*query).utilityStmt),
            _ => Some(query),
        }
    }
}

/// The query in a statement, however it is wrapped.
unsafe fn query_in(mut statement: *mut Node) -> Option<*mut Node> {
    for _ in 0..DEEPEST {
        if statement.is_null() {
            return None;
        }
        // SAFETY: each cast is by the node's own tag.
        statement = unsafe {
            match (*statement).type_ {
                NodeTag::T_SelectStmt
                | NodeTag::T_InsertStmt
                | NodeTag::T_UpdateStmt
                | NodeTag::T_DeleteStmt
                | NodeTag::T_MergeStmt => return Some(statement),
                NodeTag::T_PrepareStmt => (*statement.cast::<pg_sys::PrepareStmt>()).query,
                NodeTag::T_ExplainStmt => (*statement.cast::<pg_sys::ExplainStmt>()).query,
                NodeTag::T_DeclareCursorStmt => {
                    (*statement.cast::<pg_sys::DeclareCursorStmt>()).query
                }
                NodeTag::T_CreateTableAsStmt => {
                    (*statement.cast::<pg_sys::CreateTableAsStmt>()).query
                }
                NodeTag::T_CopyStmt => (*statement.cast::<pg_sys::CopyStmt>()).query,
                _ => return None,
            }
        };
    }
    None
}

/// The query of an analysed SELECT … INTO.
unsafe fn made_table(utility: *mut Node) -> Option<*mut Query> {
    // SAFETY: the cast is by the node's own tag; the analyser put an analysed query in it.
    unsafe {
        if utility.is_null() || (*utility).type_ != NodeTag::T_CreateTableAsStmt {
            return None;
        }
        let query = (*utility.cast::<pg_sys::CreateTableAsStmt>()).query;
        (!query.is_null() && (*query).type_ == NodeTag::T_Query).then_some(query.cast())
    }
}

/// Makes parameters of constants that might reach the input function of a type made of others. False if
/// the statement has more parameters than it can have come by honestly.
unsafe fn disarm(statement: *mut Node) -> bool {
    const { assert!(size_of::<pg_sys::ParamRef>() <= size_of::<pg_sys::A_Const>()) };
    // SAFETY: nodes of a tree that the parser made for us alone; one that becomes another kind has room
    // for it.
    unsafe {
        let parameters = tree::raw_nodes(statement, &[NodeTag::T_ParamRef]);
        let numbers = parameters.iter().map(|&p| (*p.cast::<pg_sys::ParamRef>()).number);
        let mut last = numbers.max().unwrap_or(0).max(0);
        for node in tree::raw_nodes(statement, &[NodeTag::T_A_Const]) {
            let constant = node.cast::<pg_sys::A_Const>();
            if (*constant).isnull || (*constant).val.node.type_ != NodeTag::T_String {
                continue;
            }
            let text = CStr::from_ptr((*constant).val.sval.sval).to_bytes();
            // What the C library takes for a blank depends on the locale, above ASCII.
            let first = text.iter().find(|b| !(b.is_ascii_whitespace() || **b == 11 || **b > 127));
            if matches!(first, Some(b'{' | b'(' | b'[')) && last < MOST_PARAMETERS {
                last += 1;
                let location = (*constant).location;
                node.cast::<pg_sys::ParamRef>().write(pg_sys::ParamRef {
                    type_: NodeTag::T_ParamRef,
                    number: last,
                    location,
                });
            }
        }
        last < MOST_PARAMETERS
    }
}

/// Takes the place in the text from parameters that no cast in the text gives a type. The analyser keeps places, and
/// gives a parameter that has none only that of a cast, so that [`has_type_in_text`] tells the two apart afterwards.
unsafe fn forget_places(statement: *mut Node) {
    // SAFETY: nodes of a tree that the parser made for us alone, cast by their own tags.
    unsafe {
        let found = tree::raw_nodes(statement, &[NodeTag::T_TypeCast, NodeTag::T_ParamRef]);
        let (casts, parameters): (Vec<_>, Vec<_>) =
            found.into_iter().partition(|node| (**node).type_ == NodeTag::T_TypeCast);
        let typed: HashSet<*mut Node> =
            casts.into_iter().map(|cast| (*cast.cast::<pg_sys::TypeCast>()).arg).collect();
        for parameter in parameters.into_iter().filter(|one| !typed.contains(one)) {
            (*parameter.cast::<pg_sys::ParamRef>()).location = NO_PLACE;
        }
    }
}

/// Whether the text itself gives a parameter its type, by a cast; of others the analyser took the type that fits
/// where they stand, which need not be that of the value.
///
/// # Safety
/// A parameter of a query that [`analyze`] gave.
pub(crate) unsafe fn has_type_in_text(parameter: *mut pg_sys::Param) -> bool {
    // SAFETY: by the caller's word.
    unsafe { (*parameter).location != NO_PLACE }
}

/// Takes the locks that the analyser is going to take, on whatever the names in the statement could mean.
/// One that is not to be had at once is an error.
unsafe fn lock(statement: *mut Node) {
    const CHANGES: [NodeTag; 4] =
        [NodeTag::T_InsertStmt, NodeTag::T_UpdateStmt, NodeTag::T_DeleteStmt, NodeTag::T_MergeStmt];
    // SAFETY: nodes of the parser's tree, cast by their own tags.
    unsafe {
        let names = tree::raw_nodes(statement, &[NodeTag::T_RangeVar]);
        let for_update = !tree::raw_nodes(statement, &[NodeTag::T_LockingClause]).is_empty();
        let mode = if for_update { pg_sys::RowShareLock } else { pg_sys::AccessShareLock };
        for name in names {
            lock_one(name.cast(), mode);
        }
        for node in tree::raw_nodes(statement, &CHANGES) {
            let target = match (*node).type_ {
                NodeTag::T_InsertStmt => (*node.cast::<pg_sys::InsertStmt>()).relation,
                NodeTag::T_UpdateStmt => (*node.cast::<pg_sys::UpdateStmt>()).relation,
                NodeTag::T_DeleteStmt => (*node.cast::<pg_sys::DeleteStmt>()).relation,
                _ => (*node.cast::<pg_sys::MergeStmt>()).relation,
            };
            lock_one(target, pg_sys::RowExclusiveLock);
        }
    }
}

unsafe fn lock_one(name: *mut pg_sys::RangeVar, mode: u32) {
    let flags = pg_sys::RVROption::RVR_MISSING_OK | pg_sys::RVROption::RVR_NOWAIT;
    let none = std::ptr::null_mut();
    // SAFETY: a name of the parser's tree; names of nothing (of a WITH, say) give no lock.
    unsafe { pg_sys::RangeVarGetRelidExtended(name, mode as c_int, flags, None, none) };
}

/// The analysis itself, without the calls of other extensions' hooks that the server puts behind it.
#[expect(ffi_unwind_calls, reason = "the call is inside pgrx's error boundary")]
unsafe fn transform(statement: *mut Node, text: &CStr) -> *mut Query {
    let mut types: *mut Oid = std::ptr::null_mut();
    let mut count: c_int = 0;
    // SAFETY: the parse state lives in the current memory context, and is used while the array and the
    // count that it points to are in place.
    unsafe {
        let raw = pg_sys::palloc0(size_of::<pg_sys::RawStmt>()).cast::<pg_sys::RawStmt>();
        (*raw).type_ = NodeTag::T_RawStmt;
        (*raw).stmt = statement;
        let state = pg_sys::make_parsestate(std::ptr::null_mut());
        (*state).p_sourcetext = text.as_ptr();
        pg_sys::ffi::pg_guard_ffi_boundary(|| {
            setup_parse_variable_parameters(state, &raw mut types, &raw mut count);
        });
        let query = pg_sys::transformTopLevelStmt(state, raw);
        pg_sys::free_parsestate(state);
        query
    }
}

unsafe extern "C-unwind" {
    // Absent from the bindings (parser/parse_param.h).
    fn setup_parse_variable_parameters(
        state: *mut pg_sys::ParseState,
        types: *mut *mut Oid,
        count: *mut c_int,
    );
}

/// Takes a lock that reading takes, if it is to be had at once.
pub(crate) fn lock_at_once(relation: Oid) -> bool {
    // SAFETY: does not wait.
    unsafe { pg_sys::ConditionalLockRelationOid(relation, pg_sys::AccessShareLock as c_int) }
}
