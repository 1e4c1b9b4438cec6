//! Names behind the small ids of history rows. An id is not given out where any source here has it, also one
//! that a restore brought: people ask by the id alone. Who hands in names in descending order of
//! time gets neighbouring ids for neighbouring magnitudes, which pack better.

use std::collections::HashMap;

use perfmon_core::family::Family;
use pgrx::prelude::*;

use super::{history, source, sql};
use crate::pg::heap;
use crate::pg::lookup::Lookup;

/// The names of one object: for a statement [user name, queryid, "t" or "f" for top level], else the
/// three names of the table `perfmon.object`.
pub(crate) type Names = [String; 3];

/// What a statement's text is known to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Text {
    pub(crate) queryid: i64,
    pub(crate) command: Option<String>,
    pub(crate) query: Option<String>,
    /// Why there is no text, when there is none.
    pub(crate) note: Option<String>,
}

/// The ids of these names, in their order; 0 for those that have none. A read.
pub(crate) fn find(family: &Family, source: i64, names: &[Names]) -> Vec<u32> {
    let mut ids = vec![0_u32; names.len()];
    if names.is_empty() {
        return ids;
    }
    let kind = kind(family);
    let few = if names.len() <= FEW { look_up(kind.as_ref(), source, names) } else { None };
    for (place, id) in few.unwrap_or_else(|| kind.find(source, names)) {
        if let Some(slot) = usize::try_from(place - 1).ok().and_then(|i| ids.get_mut(i)) {
            *slot = id;
        }
    }
    ids
}

/// The ids of these names, in their order; unknown ones are entered. The caller holds the writers' lock.
pub(crate) fn resolve(family: &Family, source: i64, names: &[Names], now: i64) -> Vec<u32> {
    let ids = find(family, source, names);
    if ids.iter().all(|id| *id != 0) {
        return ids;
    }
    enter(family, source, (names, ids), now)
}

/// Enters those of the names that have no id.
pub(crate) fn enter(
    family: &Family,
    source: i64,
    (names, mut ids): (&[Names], Vec<u32>),
    now: i64,
) -> Vec<u32> {
    let store = kind(family);
    let mut next = highest_of_all(store.as_ref(), source).checked_add(1);
    let mut fresh: HashMap<&Names, u32> = HashMap::new();
    let (mut new_names, mut new_ids) = (Vec::new(), Vec::new());
    for (name, slot) in names.iter().zip(&mut ids).filter(|(_, slot)| **slot == 0) {
        if let Some(id) = fresh.get(name) {
            *slot = *id;
            continue;
        }
        let Some(id) = next.filter(|id| i32::try_from(*id).is_ok()) else {
            ereport!(
                ERROR,
                PgSqlErrorCode::ERRCODE_PROGRAM_LIMIT_EXCEEDED,
                "this database has used up all its ids",
                "Every name ever seen takes one of two thousand million ids."
            );
        };
        *slot = id;
        next = id.checked_add(1);
        fresh.insert(name, id);
        new_names.push(name);
        new_ids.push(id as i32);
    }
    if new_names.len() <= FEW {
        let done = add(store.as_ref(), source, (&new_names, &new_ids), now);
        new_names.drain(..done);
        new_ids.drain(..done);
    }
    if !new_names.is_empty() {
        store.enter(source, &new_names, new_ids, now);
    }
    ids
}

/// So many names are looked up and entered one by one: a statement that joins them costs more than these.
const FEW: usize = 256;

/// The same as [`Kind::find`], past the executor; `None` where only SQL can.
fn look_up(kind: &dyn Kind, source: i64, names: &[Names]) -> Option<Vec<(i64, u32)>> {
    let parts = kind.parts();
    let lookup = Lookup::open(history::table_oid(parts.table)?, parts.by, &[parts.id])?;
    let mut found = Vec::with_capacity(names.len());
    for (place, name) in (1..).zip(names) {
        let mut id = None;
        if !lookup.each(&kind.key(source, name), |row| id = row.int4(0)) {
            return None;
        }
        found.extend(id.and_then(|id| u32::try_from(id).ok()).map(|id| (place, id)));
    }
    Some(found)
}

/// The highest id of any source.
fn highest_of_all(kind: &dyn Kind, own: i64) -> u32 {
    let others = source::all().into_iter().filter(|source| *source != own);
    std::iter::once(own).chain(others).map(|source| highest(kind, source)).max().unwrap_or(0)
}

/// The highest id that a source handed out so far.
fn highest(kind: &dyn Kind, source: i64) -> u32 {
    let parts = kind.parts();
    let key = kind.of_source(source);
    let by = &parts.by[..key.len()];
    let table = history::table_oid(parts.table);
    // By the primary key, which ends with the id.
    let by: Vec<&str> = by.iter().copied().chain([parts.id]).collect();
    let lookup = table.and_then(|table| Lookup::open_ordered(table, &by, key.len(), &[parts.id]));
    let mut id = None;
    if lookup.is_some_and(|lookup| lookup.last(&key, |row| id = row.int4(0))) {
        return id.and_then(|id| u32::try_from(id).ok()).unwrap_or(0);
    }
    kind.highest(source)
}

/// Enters the first of these names past the executor, and says how many.
fn add(kind: &dyn Kind, source: i64, (names, ids): (&[&Names], &[i32]), now: i64) -> usize {
    let parts = kind.parts();
    let Some(table) = history::table_oid(parts.table).filter(|_| !names.is_empty()) else {
        return 0;
    };
    let columns: Vec<&str> = parts.by.iter().copied().chain([parts.id, "first_seen"]).collect();
    let one = |(name, id): (&&Names, &i32)| {
        let mut row = kind.key(source, name);
        row.extend([(*id).into(), sql::time(now)]);
        heap::insert(table, &columns, &row)
    };
    names.iter().zip(ids).map(one).take_while(|done| *done).count()
}

fn kind(family: &Family) -> Box<dyn Kind> {
    if family.name == "statement" { Box::new(Statements) } else { Box::new(Objects(family.name)) }
}

/// Statements that never run to their end have no text in pg_stat_statements: given up after a day.
const TEXT_WAIT_US: i64 = 86_400_000_000;

/// Queryids that have an entry but no text yet, newest first. A read.
pub(crate) fn missing_texts(source: i64, most: i64, now: i64) -> Vec<i64> {
    sql::read(
        "SELECT e.queryid FROM perfmon.statement_entry e
         WHERE e.source OPERATOR(pg_catalog.=) $1
             AND e.first_seen OPERATOR(pg_catalog.>) $3 AND NOT EXISTS (
             SELECT 1 FROM perfmon.statement_text t
             WHERE t.source OPERATOR(pg_catalog.=) $1
                 AND t.queryid OPERATOR(pg_catalog.=) e.queryid)
         GROUP BY e.queryid ORDER BY pg_catalog.max(e.statement_id) DESC LIMIT $2",
        &[source.into(), most.into(), sql::time(now.saturating_sub(TEXT_WAIT_US))],
        |row| row.get(1),
    )
    .into_iter()
    .flatten()
    .collect()
}

/// Keeps texts; one that is already there stays.
pub(crate) fn enter_texts(source: i64, texts: &[Text], now: i64) {
    if texts.is_empty() {
        return;
    }
    let queryids: Vec<i64> = texts.iter().map(|t| t.queryid).collect();
    sql::write(
        "INSERT INTO perfmon.statement_text (source, queryid, command, query, note, first_seen)
         SELECT $1, k.queryid, k.command, k.query, k.note, $2
         FROM ROWS FROM (
             pg_catalog.unnest($3), pg_catalog.unnest($4), pg_catalog.unnest($5),
             pg_catalog.unnest($6)) AS k (queryid, command, query, note)
         ON CONFLICT DO NOTHING",
        &[
            source.into(),
            sql::time(now),
            queryids.into(),
            sql::texts(texts.iter().map(|t| t.command.as_deref())),
            sql::texts(texts.iter().map(|t| t.query.as_deref())),
            sql::texts(texts.iter().map(|t| t.note.as_deref())),
        ],
    );
}

/// A dictionary table: its name, the columns by which names are unique, and that of the id.
struct Parts {
    table: &'static str,
    by: &'static [&'static str],
    id: &'static str,
}

/// A dictionary table.
trait Kind {
    /// What it is made of.
    fn parts(&self) -> Parts;
    /// The values by which a name is found, and those of its beginning that all names of a source share.
    fn key(&self, source: i64, names: &Names) -> Vec<sql::Arg<'static>>;
    /// See `key`.
    fn of_source(&self, source: i64) -> Vec<sql::Arg<'static>>;
    /// Known ones of these names, as (place from 1, id).
    fn find(&self, source: i64, names: &[Names]) -> Vec<(i64, u32)>;
    /// The highest id that a source handed out so far.
    fn highest(&self, source: i64) -> u32;
    /// Enters new names.
    fn enter(&self, source: i64, names: &[&Names], ids: Vec<i32>, now: i64);
}

struct Statements;

/// A queryid as the probe wrote it; one that is no number never came from a server.
fn queryid(names: &Names) -> i64 {
    names[1].parse().unwrap_or(0)
}

impl Kind for Statements {
    fn parts(&self) -> Parts {
        let by = &["source", "queryid", "user_name", "toplevel"];
        Parts { table: "statement_entry", by, id: "statement_id" }
    }

    fn key(&self, source: i64, names: &Names) -> Vec<sql::Arg<'static>> {
        vec![source.into(), queryid(names).into(), sql::text(&names[0]), (names[2] == "t").into()]
    }

    fn of_source(&self, source: i64) -> Vec<sql::Arg<'static>> {
        vec![source.into()]
    }

    fn find(&self, source: i64, names: &[Names]) -> Vec<(i64, u32)> {
        found(
            "SELECT k.place, e.statement_id
             FROM ROWS FROM (
                 pg_catalog.unnest($2), pg_catalog.unnest($3), pg_catalog.unnest($4))
                 WITH ORDINALITY AS k (queryid, user_name, toplevel, place)
             JOIN perfmon.statement_entry e ON e.source OPERATOR(pg_catalog.=) $1
                 AND e.queryid OPERATOR(pg_catalog.=) k.queryid
                 AND e.user_name OPERATOR(pg_catalog.=) k.user_name
                 AND e.toplevel OPERATOR(pg_catalog.=) k.toplevel",
            &[
                source.into(),
                names.iter().map(queryid).collect::<Vec<i64>>().into(),
                sql::texts(names.iter().map(|n| Some(n[0].as_str()))),
                names.iter().map(|n| n[2] == "t").collect::<Vec<bool>>().into(),
            ],
        )
    }

    fn highest(&self, source: i64) -> u32 {
        highest_of(
            "SELECT pg_catalog.max(e.statement_id) FROM perfmon.statement_entry e
             WHERE e.source OPERATOR(pg_catalog.=) $1",
            &[source.into()],
        )
    }

    fn enter(&self, source: i64, names: &[&Names], ids: Vec<i32>, now: i64) {
        sql::write(
            "INSERT INTO perfmon.statement_entry
                 (source, statement_id, user_name, queryid, toplevel, first_seen)
             SELECT $1, k.statement_id, k.user_name, k.queryid, k.toplevel, $2
             FROM ROWS FROM (
                 pg_catalog.unnest($3), pg_catalog.unnest($4), pg_catalog.unnest($5),
                 pg_catalog.unnest($6)) AS k (statement_id, user_name, queryid, toplevel)",
            &[
                source.into(),
                sql::time(now),
                ids.into(),
                sql::texts(names.iter().map(|n| Some(n[0].as_str()))),
                names.iter().map(|n| queryid(n)).collect::<Vec<i64>>().into(),
                names.iter().map(|n| n[2] == "t").collect::<Vec<bool>>().into(),
            ],
        );
    }
}

/// Every other family, by its name.
struct Objects(&'static str);

impl Kind for Objects {
    fn parts(&self) -> Parts {
        let by = &["source", "family", "name1", "name2", "name3"];
        Parts { table: "object", by, id: "object_id" }
    }

    fn key(&self, source: i64, names: &Names) -> Vec<sql::Arg<'static>> {
        let mut key = self.of_source(source);
        key.extend(names.iter().map(|name| sql::text(name)));
        key
    }

    fn of_source(&self, source: i64) -> Vec<sql::Arg<'static>> {
        vec![source.into(), sql::text(self.0)]
    }

    fn find(&self, source: i64, names: &[Names]) -> Vec<(i64, u32)> {
        found(
            "SELECT k.place, o.object_id
             FROM ROWS FROM (
                 pg_catalog.unnest($3), pg_catalog.unnest($4), pg_catalog.unnest($5))
                 WITH ORDINALITY AS k (name1, name2, name3, place)
             JOIN perfmon.object o ON o.source OPERATOR(pg_catalog.=) $1
                 AND o.family OPERATOR(pg_catalog.=) $2
                 AND o.name1 OPERATOR(pg_catalog.=) k.name1
                 AND o.name2 OPERATOR(pg_catalog.=) k.name2
                 AND o.name3 OPERATOR(pg_catalog.=) k.name3",
            &[
                source.into(),
                sql::text(self.0),
                sql::texts(names.iter().map(|n| Some(n[0].as_str()))),
                sql::texts(names.iter().map(|n| Some(n[1].as_str()))),
                sql::texts(names.iter().map(|n| Some(n[2].as_str()))),
            ],
        )
    }

    fn highest(&self, source: i64) -> u32 {
        highest_of(
            "SELECT pg_catalog.max(o.object_id) FROM perfmon.object o
             WHERE o.source OPERATOR(pg_catalog.=) $1 AND o.family OPERATOR(pg_catalog.=) $2",
            &[source.into(), sql::text(self.0)],
        )
    }

    fn enter(&self, source: i64, names: &[&Names], ids: Vec<i32>, now: i64) {
        sql::write(
            "INSERT INTO perfmon.object
                 (source, family, object_id, name1, name2, name3, first_seen)
             SELECT $1, $2, k.object_id, k.name1, k.name2, k.name3, $3
             FROM ROWS FROM (
                 pg_catalog.unnest($4), pg_catalog.unnest($5), pg_catalog.unnest($6),
                 pg_catalog.unnest($7)) AS k (object_id, name1, name2, name3)",
            &[
                source.into(),
                sql::text(self.0),
                sql::time(now),
                ids.into(),
                sql::texts(names.iter().map(|n| Some(n[0].as_str()))),
                sql::texts(names.iter().map(|n| Some(n[1].as_str()))),
                sql::texts(names.iter().map(|n| Some(n[2].as_str()))),
            ],
        );
    }
}

fn found(query: &str, arguments: &[sql::Arg<'_>]) -> Vec<(i64, u32)> {
    let pair =
        |row: &sql::Row<'_>| Some((row.get::<i64>(1)?, u32::try_from(row.get::<i32>(2)?).ok()?));
    sql::read(query, arguments, pair).into_iter().flatten().collect()
}

fn highest_of(query: &str, arguments: &[sql::Arg<'_>]) -> u32 {
    let id: Option<i32> = sql::first(query, arguments, |row| row.get(1));
    id.and_then(|id| u32::try_from(id).ok()).unwrap_or(0)
}
