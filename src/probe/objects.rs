//! Extensions, tables and indexes as the catalog describes them, so that what changed in them can be told.
//! Catalogs only are read, as of one moment; a definition is asked of the server only for what is new or
//! differs from what was seen before, for a short time, and only where nobody makes it wait.

mod catalog;
mod parts;
mod words;

use std::cell::Cell;
use std::collections::{HashMap, HashSet};

use perfmon_core::change::{Key, Kind, Object};
use pgrx::pg_sys;

use super::ProbeError;
use crate::pg::scan::Moment;
use crate::pg::{changed, clock, compat};
use catalog::Catalog;

/// Time in which definitions are read in one look; what is left then waits for the next.
const BUDGET_US: i64 = 30_000;
/// Changes with the words of definitions.
const WORDS: i32 = 2;

/// An object as it was seen: its mark, and whether its definition is known in today's words.
pub(crate) type Seen = HashMap<Key, (u64, bool)>;

/// What a look found.
pub(crate) struct Look {
    /// What is new, or may differ from what was seen.
    pub(crate) objects: Vec<Object>,
    /// What was seen and is not watched any more.
    pub(crate) left: Vec<Key>,
    /// What of that is still there.
    pub(crate) there: HashSet<Key>,
    /// Something could not be read this time.
    pub(crate) unfinished: bool,
}

/// Whose words a definition is in: this version of the server's, put together by this version of ours.
pub(crate) fn form() -> i32 {
    i32::try_from(pg_sys::PG_VERSION_NUM / 10_000).unwrap_or(0) * 100 + WORDS
}

/// What moves when any of these objects does. Temporary tables move it too.
pub(crate) fn counters() -> i64 {
    catalog::CATALOGS.iter().fold(0, |sum: i64, catalog| {
        let stats = compat::table_stats(false, *catalog).unwrap_or_default();
        sum.wrapping_add(stats.inserted).wrapping_add(stats.updated).wrapping_add(stats.deleted)
    })
}

/// What this session remembers of its last look.
#[derive(Clone, Copy)]
pub(crate) struct Sight {
    /// What had happened before.
    changes: u64,
    /// What nobody is told of.
    untold: u64,
    /// When it was kept; 0 before.
    at: i64,
}

thread_local! {
    static LAST: Cell<Option<Sight>> = const { Cell::new(None) };
}

/// Begins to notice what happens to the catalog, before a look.
pub(crate) fn begin_to_watch() -> Sight {
    LAST.set(None);
    Sight { changes: changed::count(), untold: catalog::untold(&Moment::now()), at: 0 }
}

/// What was seen is stored, as of that time, if this transaction commits.
pub(crate) fn saw(sight: Sight, at: i64) {
    LAST.set(Some(Sight { at, ..sight }));
}

/// Whether a look would find what the one did that was stored last, at that time: it was this session's, and nothing has
/// happened since. A session that has just begun does not know.
pub(crate) fn is_as_seen(at: i64) -> bool {
    LAST.get().is_some_and(|last| {
        last.at == at
            && last.changes == changed::count()
            && last.untold == catalog::untold(&Moment::now())
    })
}

/// Looks at the catalog. Counters must have been read before: what changes meanwhile then moves them again.
pub(crate) fn look(seen: &Seen) -> Result<Look, ProbeError> {
    let at = Moment::now();
    let catalog = Catalog::read(&at);
    let first = seen.is_empty();
    let mut look =
        Look { objects: Vec::new(), left: Vec::new(), there: HashSet::new(), unfinished: false };
    let watched: Vec<Object> = catalog.objects().collect();
    let keys: HashSet<Key> = watched.iter().map(Object::key).collect();
    // What was given to an extension is kept as it was seen: it did not go, and it does not come when it is taken back.
    let left = seen.keys().filter(|key| !keys.contains(*key) && !catalog.is_members(**key));
    look.left.extend(left);
    look.there.extend(look.left.iter().filter(|key| catalog.has(**key)));
    // What changed comes first: the rest was not read in time before, and can wait again.
    let differs = |object: &Object| seen.get(&object.key()).is_none_or(|s| s.0 != object.mark);
    let unread = |object: &Object| seen.get(&object.key()).is_some_and(|s| !s.1);
    let (changed, rest): (Vec<Object>, Vec<Object>) = watched.into_iter().partition(differs);
    let until = clock::steady_us() + BUDGET_US;
    for mut object in changed.into_iter().chain(rest.into_iter().filter(unread)) {
        if clock::steady_us() < until {
            object.definition = words::definition(&catalog, &object, &at);
        }
        look.unfinished |= object.definition.is_none();
        // What is new is noticed at once; what may have been altered, when it can be said how.
        let is_new = !seen.contains_key(&object.key());
        if object.definition.is_some() || is_new || first {
            if object.kind != Kind::Extension {
                object.name = catalog.qualified(object.oid);
            }
            look.objects.push(object);
        }
    }
    Ok(look)
}
