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
use super::path::Seen;
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

/// How it complains of names that mean nothing, or nothing to this role, where they are looked up.
const MISSED_NAMES: [PgSqlErrorCode; 5] = [
    PgSqlErrorCode::ERRCODE_UNDEFINED_TABLE,
    PgSqlErrorCode::ERRCODE_UNDEFINED_COLUMN,
    PgSqlErrorCode::ERRCODE_UNDEFINED_OBJECT,
    PgSqlErrorCode::ERRCODE_INVALID_SCHEMA_NAME,
    PgSqlErrorCode::ERRCODE_INSUFFICIENT_PRIVILEGE,
];

/// A statement's text.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Text<'a> {
    /// In the database's encoding, normalised by pg_stat_statements or as it was written.
    pub(crate) query: &'a [u8],
    /// Who ran it: names mean what they mean in a new session of this role,
    pub(crate) user_name: Option<&'a str>,
    /// unless its executions read other tables of these names: those that they were seen to read, with their schemas,
    /// as SQL writes them.
    pub(crate) seen: &'a [&'a str],
}

/// What was learned of a text.
#[derive(Debug, Default)]
pub(crate) struct Looked {
    /// `None` for what the server does not understand (any more), and where somebody has locked a table.
    pub(crate) shape: Option<Shape>,
    /// Its names mean nothing, or other tables than those that its executions read.
    pub(crate) unresolved: bool,
}

impl From<Option<Shape>> for Looked {
    fn from(shape: Option<Shape>) -> Self {
        Self { shape, unresolved: false }
    }
}

/// What the server makes of these texts now. Nothing is waited for, run, logged or left behind.
pub(crate) fn shapes(statements: &[Text<'_>]) -> Vec<Looked> {
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
    fn shape(&mut self, text: &Text<'a>) -> Looked {
        pg_sys::check_for_interrupts!();
        let length = text.query.len();
        if self.stuck || length > LONGEST || self.length + length > MOST_TEXT {
            return Looked::default();
        }
        self.length += length;
        let Ok(query) = CString::new(text.query) else { return Looked::default() };
        let began = Instant::now();
        let found = self.origin(text.user_name).and_then(|origin| {
            let first = self.repaired(text.query, &query, &origin);
            self.as_it_was_read(text, &query, &origin, first)
        });
        found.unwrap_or_else(|error| self.given_up(error, began))
    }

    /// What was found along the path with which the role begins, if its executions read these tables; else what is
    /// found along the schemas of those that they read, if that fits them better.
    fn as_it_was_read(
        &self,
        text: &Text<'_>,
        query: &CStr,
        origin: &Origin,
        first: Result<Option<Shape>, CaughtError>,
    ) -> Result<Looked, CaughtError> {
        let named = match &first {
            Ok(shape) => shape.is_some(),
            // Where a function's name means nothing, a type that was guessed may be why.
            Err(error) => {
                let function = PgSqlErrorCode::ERRCODE_UNDEFINED_FUNCTION;
                code(error).is_some_and(|code| code == function || MISSED_NAMES.contains(&code))
            }
        };
        if text.seen.is_empty() || !named {
            return first.map(Looked::from);
        }
        let seen = txn::trial(|| Seen::of(text.seen))?;
        let fit = |shape: &Option<Shape>| match shape {
            Some(shape) => txn::trial(|| seen.fit(shape)).map(Some),
            None => Ok(None),
        };
        let before = first.as_ref().map_or(Ok(None), fit)?;
        if before.is_some_and(|fit| fit.missing == 0) {
            return first.map(Looked::from);
        }
        let path = txn::trial(|| seen.path(&origin.search_path))?;
        if let Some(search_path) = path.filter(|path| *path != origin.search_path) {
            let there = Origin { role: origin.role, search_path };
            match self.repaired(text.query, query, &there) {
                Ok(shape) => {
                    let better = fit(&shape)?.filter(|fit| !fit.wrong);
                    if better.is_some_and(|now| before.is_none_or(|b| now.missing < b.missing)) {
                        return Ok(shape.into());
                    }
                }
                Err(error) if parse::is_about_the_text(&error) => {}
                Err(error) => return Err(error),
            }
        }
        match before {
            Some(fit) if fit.wrong => Ok(Looked { shape: None, unresolved: true }),
            _ => first.map(Looked::from),
        }
    }

    /// A text as it stands, or mended where the server cut it.
    fn repaired(
        &self,
        text: &[u8],
        query: &CStr,
        origin: &Origin,
    ) -> Result<Option<Shape>, CaughtError> {
        match self.attempts(query, origin) {
            Err(error) if code(&error) == Some(PgSqlErrorCode::ERRCODE_SYNTAX_ERROR) => {
                let repaired = repair(text).and_then(|text| CString::new(text).ok());
                repaired.map_or(Ok(None), |text| self.attempts(&text, origin))
            }
            result => result,
        }
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
            match self.attempt(query, origin, Some(guess)) {
                // There is nothing to guess at: it stays with what was wrong.
                Ok(None) => break,
                guessed => result = guessed,
            }
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

    fn given_up(&mut self, error: CaughtError, began: Instant) -> Looked {
        if !matches!(error, CaughtError::RustPanic { .. }) && !parse::is_about_the_text(&error) {
            error.rethrow();
        }
        // Tables are refused at once; what was waited for is a catalog.
        let refused = code(&error) == Some(PgSqlErrorCode::ERRCODE_LOCK_NOT_AVAILABLE);
        let timeout = settings::lock_timeout_ms().unsigned_abs();
        self.stuck |= refused && began.elapsed() >= Duration::from_millis(timeout.into());
        let unresolved = code(&error).is_some_and(|code| MISSED_NAMES.contains(&code));
        Looked { shape: None, unresolved }
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
            offset: form::offset(&scopes, parameters),
            parameters,
            forms: form::find(&scopes, families, parameters),
            result: None,
        };
        shape.result = form::result(&scopes, families, &shape);
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
        given: one.given,
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
