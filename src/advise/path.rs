//! Where a statement's names are looked up. A session may have set another search_path than its role begins with, and
//! nobody keeps what it was; but the tables that its executions read are known. A text whose names lead to other
//! tables of the same names is looked at again along the schemas of those.

use std::ffi::{CStr, CString};

use perfmon_core::facts::{Shape, evidence};
use pgrx::pg_sys;
use pgrx::pg_sys::Oid;

use crate::pg::catalog;

/// Tables of more schemas than that give no search_path.
const MOST_SCHEMAS: usize = 16;

/// A table that executions of a statement read.
struct Table {
    schema: String,
    name: String,
    /// Now; `None` if it is gone.
    oid: Option<Oid>,
}

/// The tables that executions of a statement read, as far as they were looked into.
pub(super) struct Seen(Vec<Table>);

/// How the tables that a text names agree with those that its executions read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fit {
    /// Tables read that the text does not name: a policy's, say, or those of a function that became part of the
    /// statement.
    pub(super) missing: usize,
    /// The text names another table of the same name instead.
    pub(super) wrong: bool,
}

impl Seen {
    /// By their names with schemas, as SQL writes them. To be called where errors are caught.
    pub(super) fn of(names: &[&str]) -> Self {
        let table = |name: &&str| {
            let (schema, name) = evidence::plain(name)?;
            let oid = oid(&schema, &name);
            Some(Table { schema, name, oid })
        };
        Self(names.iter().filter_map(table).collect())
    }

    /// How the tables of a shape agree with them.
    pub(super) fn fit(&self, shape: &Shape) -> Fit {
        let named = |table: &Table| {
            let oid = table.oid.map(|oid| oid.to_u32());
            shape.tables.iter().any(|one| Some(one.oid) == oid)
        };
        let missing: Vec<&Table> = self.0.iter().filter(|table| !named(table)).collect();
        let mut fit = Fit { missing: missing.len(), wrong: false };
        if missing.is_empty() {
            return fit;
        }
        for one in &shape.tables {
            let (oid, name) = (Oid::from(one.oid), name_of(one.oid.into()));
            let is_read = self.0.iter().any(|table| table.oid == Some(oid));
            fit.wrong |= !is_read && missing.iter().any(|table| Some(&table.name) == name.as_ref());
        }
        fit
    }

    /// A search_path by which each name means the table that was read, if there is one that the tables do not have
    /// already; behind it stands the one that the statement's role begins with.
    pub(super) fn path(&self, before: &CStr) -> Option<CString> {
        let mut schemas: Vec<&str> = Vec::new();
        for table in self.0.iter().filter(|table| table.oid.is_some()) {
            if !schemas.contains(&table.schema.as_str()) {
                schemas.push(&table.schema);
            }
        }
        if schemas.is_empty() || schemas.len() > MOST_SCHEMAS {
            return None;
        }
        let mut path: Vec<String> = Vec::new();
        while !schemas.is_empty() {
            // In a ring each name hides another one; whether that matters is seen by what comes of it.
            let free = |one: &&str| schemas.iter().all(|other| !self.hides(other, one));
            let next = schemas.iter().position(free).unwrap_or(0);
            path.push(catalog::quoted(schemas.remove(next)));
        }
        let before = before.to_bytes();
        let separator: &[u8] = if before.is_empty() { b"" } else { b", " };
        let path = [path.join(", ").as_bytes(), separator, before].concat();
        CString::new(path).ok()
    }

    /// Whether a table that was read in one schema would be hidden by one of the same name in another that was not,
    /// if that stood before it.
    fn hides(&self, of: &str, by: &str) -> bool {
        of != by
            && self.0.iter().filter(|table| table.oid.is_some() && table.schema == of).any(
                |table| {
                    let both = |other: &Table| other.schema == by && other.name == table.name;
                    oid(by, &table.name).is_some() && !self.0.iter().any(both)
                },
            )
    }
}

/// A table by its names.
fn oid(schema: &str, name: &str) -> Option<Oid> {
    let (schema, name) = (CString::new(schema).ok()?, CString::new(name).ok()?);
    // SAFETY: look-ups in the catalogs by NUL-terminated names, which give no oid for what is not there.
    let found = unsafe {
        let schema = pg_sys::get_namespace_oid(schema.as_ptr(), true);
        if schema == Oid::INVALID {
            return None;
        }
        pg_sys::get_relname_relid(name.as_ptr(), schema)
    };
    (found != Oid::INVALID).then_some(found)
}

fn name_of(table: Oid) -> Option<String> {
    // SAFETY: a look-up in the catalogs, which gives NULL for what is gone; the copy is read at once.
    unsafe {
        let name = pg_sys::get_rel_name(table);
        (!name.is_null()).then(|| crate::pg::fmgr::utf8(CStr::from_ptr(name).to_bytes()))
    }
}
