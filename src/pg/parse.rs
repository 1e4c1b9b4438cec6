//! What kind of statement a text is, in the eyes of the server's own grammar. It must never analyse
//! or plan a text, which would look names up and may run other people's code.

use std::ffi::{CStr, CString};
use std::panic::AssertUnwindSafe;

use pgrx::pg_sys::NodeTag;
use pgrx::{PgMemoryContexts, PgTryBuilder, pg_sys};

use super::fmgr::{self, Quiet};
use super::{list, tree};

/// Texts longer than this are not parsed: the tree takes many times their size.
const LONGEST: usize = 1 << 20;

/// What a text is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Shape {
    /// A query, alone or inside PREPARE, EXPLAIN and the like; whether it still holds a string.
    Optimizable { command: String, literal: bool },
    /// CALL, with the procedure's name, quoted where needed.
    Call { procedure: String },
    /// Any other command; `open` if its kind hides no secret outside of literals.
    Utility { command: String, open: bool },
    /// Not one statement of this server's grammar.
    Unreadable,
}

/// Parses one statement, given in the database's encoding.
pub(crate) fn shape(text: &[u8]) -> Shape {
    if text.len() > LONGEST {
        return Shape::Unreadable;
    }
    let Ok(text) = CString::new(text) else {
        return Shape::Unreadable;
    };
    // SAFETY: reads a process variable, which is put back below whatever happens.
    let outside = unsafe { pg_sys::CurrentMemoryContext };
    let shape = {
        let mut memory = PgMemoryContexts::new("pg_perfmon parse");
        let _quiet = Quiet::begin();
        PgTryBuilder::new(AssertUnwindSafe(|| {
            // SAFETY: the tree lives in the context, which outlives the closure.
            unsafe { memory.switch_to(|_| shape_of(&text)) }
        }))
        .catch_others(|error| match is_about_the_text(&error) {
            true => Shape::Unreadable,
            false => error.rethrow(),
        })
        .execute()
    };
    // SAFETY: the context that was current before; the one made here is gone.
    unsafe { pg_sys::CurrentMemoryContext = outside };
    shape
}

/// Whether an error came of parsing, not of somebody wanting this process to stop or of a lack of
/// memory. The parser holds nothing that an abort would have to free.
pub(crate) fn is_about_the_text(error: &pg_sys::panic::CaughtError) -> bool {
    use pg_sys::panic::CaughtError::{ErrorReport, PostgresError};
    let (PostgresError(report) | ErrorReport(report)) = error else {
        return false;
    };
    // Two characters of six bits: the class of the SQLSTATE.
    let code = report.sql_error_code() as i32;
    let class = [code & 0x3F, (code >> 6) & 0x3F].map(|c| char::from((c as u8) + b'0'));
    ![['5', '7'], ['5', '3'], ['4', '0'], ['5', '8'], ['0', '8']].contains(&class)
}

unsafe fn shape_of(text: &CStr) -> Shape {
    // SAFETY: a NUL-terminated text; the tree is walked by the tags that the parser put.
    unsafe {
        let trees = pg_sys::raw_parser(text.as_ptr(), pg_sys::RawParseMode::RAW_PARSE_DEFAULT);
        let statements = list::nodes(trees);
        let [raw] = statements.as_slice() else {
            return match statements.first() {
                Some(&first) => Shape::Utility { command: command(first), open: false },
                None => Shape::Unreadable,
            };
        };
        let statement = (*raw.cast::<pg_sys::RawStmt>()).stmt;
        if let Some(query) = query_of(statement) {
            let command = command(statement);
            // Around an inner query there are options, which the walk does not see.
            let quoted = query != statement && text.to_bytes().contains(&b'\'');
            let literal = quoted || tree::raw_tree_has(query, is_string);
            return Shape::Optimizable { command, literal };
        }
        match (*statement).type_ {
            NodeTag::T_CallStmt => {
                let call = (*statement.cast::<pg_sys::CallStmt>()).funccall;
                Shape::Call { procedure: qualified((*call).funcname) }
            }
            _ => Shape::Utility { command: command(statement), open: is_open(statement) },
        }
    }
}

/// The query in a statement, if the server normalises such statements: the query itself, or the one
/// inside PREPARE, EXPLAIN, DECLARE and CREATE TABLE AS.
unsafe fn query_of(statement: *mut pg_sys::Node) -> Option<*mut pg_sys::Node> {
    // SAFETY: each cast is by the node's own tag.
    unsafe {
        let inner = match (*statement).type_ {
            NodeTag::T_PrepareStmt => (*statement.cast::<pg_sys::PrepareStmt>()).query,
            NodeTag::T_ExplainStmt => (*statement.cast::<pg_sys::ExplainStmt>()).query,
            NodeTag::T_DeclareCursorStmt => (*statement.cast::<pg_sys::DeclareCursorStmt>()).query,
            NodeTag::T_CreateTableAsStmt => (*statement.cast::<pg_sys::CreateTableAsStmt>()).query,
            _ => statement,
        };
        matches!(
            (*inner).type_,
            NodeTag::T_SelectStmt
                | NodeTag::T_InsertStmt
                | NodeTag::T_UpdateStmt
                | NodeTag::T_DeleteStmt
                | NodeTag::T_MergeStmt
        )
        .then_some(inner)
    }
}

/// Whether a constant is a string or bit string. Normalised texts have parameters in their place.
unsafe fn is_string(node: *mut pg_sys::Node) -> bool {
    // SAFETY: a live node; the value's tag says which member of the union is set.
    unsafe {
        if (*node).type_ != NodeTag::T_A_Const {
            return false;
        }
        let constant = node.cast::<pg_sys::A_Const>();
        !(*constant).isnull
            && matches!((*constant).val.node.type_, NodeTag::T_String | NodeTag::T_BitString)
    }
}

/// Values of settings need no quotes, so those that applications and extensions made up are secret,
/// and so is all that is set for roles, databases and the server.
unsafe fn is_open(statement: *mut pg_sys::Node) -> bool {
    // SAFETY: the cast is by the node's own tag; the parser's names are NUL-terminated or NULL.
    unsafe {
        match (*statement).type_ {
            NodeTag::T_AlterRoleSetStmt
            | NodeTag::T_AlterDatabaseSetStmt
            | NodeTag::T_AlterSystemStmt => false,
            NodeTag::T_VariableSetStmt => {
                let name = (*statement.cast::<pg_sys::VariableSetStmt>()).name;
                name.is_null() || !CStr::from_ptr(name).to_bytes().contains(&b'.')
            }
            _ => true,
        }
    }
}

/// The command tag, of the query where there is one.
unsafe fn command(statement: *mut pg_sys::Node) -> String {
    // SAFETY: tags are static strings; the cast is by the node's own tag.
    unsafe {
        if (*statement).type_ == NodeTag::T_SelectStmt
            && makes_table(statement.cast::<pg_sys::SelectStmt>())
        {
            return "SELECT INTO".to_owned();
        }
        let subject = match (*statement).type_ {
            NodeTag::T_PrepareStmt => (*statement.cast::<pg_sys::PrepareStmt>()).query,
            _ => statement,
        };
        let tag = pg_sys::GetCommandTagName(pg_sys::CreateCommandTag(subject));
        CStr::from_ptr(tag).to_string_lossy().into_owned()
    }
}

/// SELECT … INTO, whose target hangs on the leftmost part of a UNION.
unsafe fn makes_table(mut select: *mut pg_sys::SelectStmt) -> bool {
    // SAFETY: a chain of nodes of one tree, ending in NULL.
    unsafe {
        while !(*select).larg.is_null() {
            select = (*select).larg;
        }
        !(*select).intoClause.is_null()
    }
}

/// A name of several parts, each quoted where needed.
unsafe fn qualified(parts: *mut pg_sys::List) -> String {
    // SAFETY: the grammar makes a list of String nodes; the quoted copies are read at once.
    unsafe {
        list::nodes(parts)
            .into_iter()
            .map(|part| {
                let name = (*part.cast::<pg_sys::String>()).sval;
                fmgr::utf8(CStr::from_ptr(pg_sys::quote_identifier(name)).to_bytes())
            })
            .collect::<Vec<_>>()
            .join(".")
    }
}
