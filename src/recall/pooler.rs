//! What history says of poolers, row by row or added up over a window. Kept in the home database only.

use std::collections::{BTreeMap, HashMap};

use perfmon_core::family::POOLER;
use perfmon_core::frame::Span;
use perfmon_core::pooler::{Kept as Remembered, Seen};
use perfmon_core::tally::Who;
use perfmon_core::window::Level;

use super::cell::Cell;
use super::names;
use super::plan::Kept;
use super::scope::Scope;
use crate::error::Error;
use crate::pg::{catalog, session};
use crate::store::{self, read};

/// Pooler, database and user; the last are empty for what concerns all.
pub(crate) type Names = [String; 3];

/// Takes the time of a row, names, and values in the order of the family's columns.
type Take<'a> = &'a mut dyn FnMut(Span, &Names, &[Option<u64>]);

/// Rows of the window in the order of time, with names.
pub(crate) fn each(scope: &Scope, coarsest: Level, take: Take<'_>) -> Result<(), Error> {
    let segments = Kept::of(&POOLER, scope).segments(scope, coarsest);
    let names = named(scope)?;
    let columns: Vec<usize> = (0..POOLER.columns.len()).collect();
    let mut values = vec![None; columns.len()];
    read::frames(&scope.sources, &POOLER, &segments, &columns, &mut |row| {
        for (place, id) in row.ids.iter().enumerate() {
            let Some(names) = names.get(&(row.head.source, *id)) else { continue };
            for (c, value) in values.iter_mut().enumerate() {
                let zero = row.head.is_known(c).then_some(0);
                *value = row.column(c).map_or(zero, |all| all.get(place).copied());
            }
            take(row.head.span, names, &values);
        }
    });
    Ok(())
}

fn named(scope: &Scope) -> Result<HashMap<Who, Names>, Error> {
    let text = |cell: &Cell| cell.text().unwrap_or_default();
    let found = names::objects(POOLER.name, &scope.sources)?;
    Ok(found.into_iter().map(|(who, cells)| (who, [0, 1, 2].map(|i| text(&cells[i])))).collect())
}

/// Poolers, databases and pools over the window, by their names.
pub(crate) fn over(scope: &Scope) -> Result<BTreeMap<Names, Seen>, Error> {
    let mut found: BTreeMap<Names, Seen> = BTreeMap::new();
    each(scope, Level::Day, &mut |_, names, values| {
        found.entry(names.clone()).or_default().add(values);
    })?;
    Ok(found)
}

/// What poolers of this database said when they last answered. Nothing after a crash until they are asked again, and on a standby.
pub(crate) fn remembered() -> Remembered {
    let owner = catalog::extension(c"pg_perfmon").and_then(catalog::extension_owner);
    let Some(owner) = owner.filter(|_| !session::in_recovery()) else {
        return Remembered::default();
    };
    let kept = session::as_user(owner, || store::prior::one(POOLER.name));
    kept.and_then(|bytes| Remembered::decode(&bytes).ok()).unwrap_or_default()
}
