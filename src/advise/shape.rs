//! The shapes of many statements, each in a subtransaction of its own that leaves nothing behind.

use std::collections::HashMap;
use std::ffi::{CStr, CString};
use std::rc::Rc;
use std::time::{Duration, Instant};

use perfmon_core::facts::{Shape, TableUse};
use pgrx::pg_sys::Oid;
use pgrx::pg_sys::panic::CaughtError;
use pgrx::{PgSqlErrorCode, pg_sys};

use super::operator::Families;
use super::repair::repair;
use super::scope::{Scopes, Use};
use super::{clause, form, group, order};
use crate::pg::fmgr::Quiet;
use crate::pg::guess::Guess;
use crate::pg::{analyze, catalog, fmgr, parse, role, session, txn};
use crate::settings;

/// Longer texts are not looked at: the history keeps none, and trees are many times as large.
const LONGEST: usize = 64 * 1024;
/// Nor more than so much of all texts of a batch, of which the first are the most important.
const MOST_TEXT: usize = 1024 * 1024;
/// Where names are sought when nothing is set.
const BUILT_IN_PATH: &CStr = c"\"$user\", public";

/// How the analyser complains of a parameter whose type it had to make up.
const MISSED_TYPES: [PgSqlErrorCode; 5] = [
    PgSqlErrorCode::ERRCODE_UNDEFINED_FUNCTION,
    PgSqlErrorCode::ERRCODE_AMBIGUOUS_FUNCTION,
    PgSqlErrorCode::ERRCODE_DATATYPE_MISMATCH,
    PgSqlErrorCode::ERRCODE_INDETERMINATE_DATATYPE,
    PgSqlErrorCode::ERRCODE_CANNOT_COERCE,
];

/// A statement's text.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Text<'a> {
    /// In the database's encoding, normalised by pg_stat_statements or as it was written.
    pub(crate) query: &'a [u8],
    /// Who ran it: names mean what they mean in a new session of this role.
    pub(crate) user_name: Option<&'a str>,
}

/// What the server makes of these texts now; `None` for those that it does not understand (any more), or
/// whose tables somebody has locked. Nothing is waited for, run, logged or left behind.
pub(crate) fn shapes(statements: &[Text<'_>]) -> Vec<Option<Shape>> {
    let timeout = settings::lock_timeout_ms().to_string();
    session::with_settings(&[("lock_timeout", &timeout)], || {
        let _quiet = Quiet::begin();
        let mut batch = Batch::default();
        statements.iter().map(|text| batch.shape(text)).collect()
    })
}

/// As whom, and where, a statement's names are looked up.
struct Origin {
    role: Option<Oid>,
    search_path: CString,
}

#[derive(Default)]
struct Batch<'a> {
    origins: HashMap<Option<&'a str>, Rc<Origin>>,
    families: Families,
    /// Length of the texts that were looked at.
    length: usize,
    /// A lock on a catalog was not to be had, and would not be for the next statement.
    stuck: bool,
}

impl<'a> Batch<'a> {
    fn shape(&mut self, text: &Text<'a>) -> Option<Shape> {
        pg_sys::check_for_interrupts!();
        let length = text.query.len();
        if self.stuck || length > LONGEST || self.length + length > MOST_TEXT {
            return None;
        }
        self.length += length;
        let query = CString::new(text.query).ok()?;
        let began = Instant::now();
        let found =
            self.origin(text.user_name).and_then(|origin| match self.attempts(&query, &origin) {
                Err(error) if code(&error) == Some(PgSqlErrorCode::ERRCODE_SYNTAX_ERROR) => {
                    let repaired = repair(text.query).and_then(|text| CString::new(text).ok());
                    repaired.map_or(Ok(None), |text| self.attempts(&text, &origin))
                }
                result => result,
            });
        found.unwrap_or_else(|error| self.given_up(error, began))
    }

    fn origin(&mut self, user_name: Option<&'a str>) -> Result<Rc<Origin>, CaughtError> {
        if let Some(known) = self.origins.get(&user_name) {
            return Ok(Rc::clone(known));
        }
        let origin = Rc::new(txn::trial(|| origin(user_name))?);
        self.origins.insert(user_name, Rc::clone(&origin));
        Ok(origin)
    }

    /// As it stands, then with types for its parameters, if it is these that are missed.
    fn attempts(&self, query: &CStr, origin: &Origin) -> Result<Option<Shape>, CaughtError> {
        let mut result = self.attempt(query, origin, None);
        for guess in [Guess::Integer, Guess::Interval] {
            let is_missed = |error| code(error).is_some_and(|code| MISSED_TYPES.contains(&code));
            if !result.as_ref().is_err_and(is_missed) {
                break;
            }
            result = self.attempt(query, origin, Some(guess));
        }
        result
    }

    fn attempt(
        &self,
        query: &CStr,
        origin: &Origin,
        guess: Option<Guess>,
    ) -> Result<Option<Shape>, CaughtError> {
        txn::trial(|| {
            session::set_for_now(c"search_path", &origin.search_path);
            if let Some(role) = origin.role {
                session::become_for_now(role);
            }
            // SAFETY: the subtransaction is rolled back when the shape, which is ours, is known.
            unsafe { shape_of(query, guess, &self.families) }
        })
    }

    fn given_up(&mut self, error: CaughtError, began: Instant) -> Option<Shape> {
        if !matches!(error, CaughtError::RustPanic { .. }) && !parse::is_about_the_text(&error) {
            error.rethrow();
        }
        // Tables are refused at once; what was waited for is a catalog.
        let refused = code(&error) == Some(PgSqlErrorCode::ERRCODE_LOCK_NOT_AVAILABLE);
        let timeout = settings::lock_timeout_ms().unsigned_abs();
        self.stuck |= refused && began.elapsed() >= Duration::from_millis(timeout.into());
        None
    }
}

fn code(error: &CaughtError) -> Option<PgSqlErrorCode> {
    match error {
        CaughtError::PostgresError(report) | CaughtError::ErrorReport(report) => {
            Some(report.sql_error_code())
        }
        CaughtError::RustPanic { .. } => None,
    }
}

fn origin(user_name: Option<&str>) -> Origin {
    let role = user_name.and_then(role::oid_of);
    let path = role::starting_value(c"search_path", role);
    let path = path.as_deref().unwrap_or(BUILT_IN_PATH).to_bytes().trim_ascii();
    // Tables of that name in this session's own temporary schema are not what the statement meant.
    let separator: &[u8] = if path.is_empty() { b"" } else { b", " };
    let search_path = CString::new([path, separator, b"pg_temp"].concat()).unwrap_or_default();
    Origin { role, search_path }
}

unsafe fn shape_of(text: &CStr, guess: Option<Guess>, families: &Families) -> Option<Shape> {
    // SAFETY: by the caller's word, the trees are alive until the end of this function.
    unsafe {
        let query = analyze::analyze(text, guess)?;
        let mut scopes = Scopes::of(query)?;
        clause::judge(&mut scopes, families);
        order::note(&mut scopes, families);
        group::note(&mut scopes, families);
        let parameters = form::parameters(&scopes);
        let mut shape = Shape {
            bounded: order::is_bounded(query),
            aggregates: order::is_aggregated(query),
            tables: Vec::new(),
            offset: form::offset(query, parameters),
            parameters,
            forms: form::find(&scopes, families, parameters),
        };
        for one in scopes.uses {
            let one = finished(one);
            if !shape.tables.contains(&one) {
                shape.tables.push(one);
            }
        }
        Some(shape)
    }
}

fn finished(one: Use) -> TableUse {
    TableUse {
        oid: one.oid.to_u32(),
        read: one.read,
        written: one.written,
        set: one.set,
        repeated: one.repeated,
        predicates: one.conditions.into_iter().map(clause::Condition::finished).collect(),
        group_by: one.group_by,
        order_by: one.order_by,
        first_rows: one.first_rows,
    }
}

/// The operator class for patterns in GIN indexes, with its schema, as it must be written here; `None`
/// where pg_trgm is not installed.
pub(crate) fn trigram_opclass() -> Option<String> {
    let schema = catalog::extension_schema(catalog::extension(c"pg_trgm")?)?;
    // SAFETY: a look-up in the catalogs, which gives NULL for what is gone; the copies are read at once.
    unsafe {
        let name = pg_sys::get_namespace_name(schema);
        if name.is_null() {
            return None;
        }
        let quoted = pg_sys::quote_qualified_identifier(name, c"gin_trgm_ops".as_ptr());
        Some(fmgr::utf8(CStr::from_ptr(quoted).to_bytes()))
    }
}
