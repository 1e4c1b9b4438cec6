//! What is kept of history: from when to when there are rows, by family and level. It must never read a packed column.

use std::cell::RefCell;
use std::collections::HashMap;

use perfmon_core::family::{FAMILIES, Family};
pub(crate) use perfmon_core::window::Extent;

use super::history::{parent_name, source_name, table_oid};
use super::period::{Level, Period};
use super::sql;

/// First and last period of a table that holds one source, by its name.
type Periods = HashMap<String, (Period, Period)>;

/// What is known of some sources.
struct Known {
    periods: Periods,
    extents: HashMap<&'static str, [Extent; 3]>,
}

thread_local! {
    /// By sources, while one and the same question is asked again and again.
    static KNOWN: RefCell<Option<HashMap<Vec<i64>, Known>>> = const { RefCell::new(None) };
}

/// Forgets what was remembered, whatever became of the work.
struct Forget;

impl Drop for Forget {
    fn drop(&mut self) {
        KNOWN.with(|known| known.take());
    }
}

/// What is kept is looked up once for all of the work: rows that others add meanwhile are not in it, and those that they
/// take away are found to be gone when they are read.
pub(crate) fn remembering<T>(work: impl FnOnce() -> T) -> T {
    if KNOWN.with_borrow(Option::is_some) {
        return work();
    }
    let _forget = Forget;
    KNOWN.set(Some(HashMap::new()));
    work()
}

/// Extents of minutes, hours and days over these sources.
pub(crate) fn extents(family: &Family, sources: &[i64], now: i64) -> [Extent; 3] {
    if KNOWN.with_borrow(Option::is_none) {
        return look(family, sources, now, &periods(&[family], sources));
    }
    // Nothing is borrowed while the server is asked.
    let known = KNOWN.with_borrow_mut(|known| known.as_mut()?.remove(sources));
    let mut known = known
        .unwrap_or_else(|| Known { periods: periods(&FAMILIES, sources), extents: HashMap::new() });
    let found = known.extents.get(family.name).copied();
    let found = found.unwrap_or_else(|| look(family, sources, now, &known.periods));
    known.extents.insert(family.name, found);
    KNOWN.with_borrow_mut(|all| all.as_mut().map(|all| all.insert(sources.to_vec(), known)));
    found
}

fn look(family: &Family, sources: &[i64], now: i64, periods: &Periods) -> [Extent; 3] {
    Level::ALL.map(|level| {
        let mut extent = Extent::default();
        for source in sources {
            let Some((first, last)) = periods.get(&source_name(family, level, *source)) else {
                continue;
            };
            let oldest = edge(family, level, *source, first.start(), first.end(), "ASC")
                .or_else(|| edge(family, level, *source, first.start(), last.end(), "ASC"));
            let near = Period::of(level, now).start();
            let newest = edge(family, level, *source, near, last.end(), "DESC")
                .or_else(|| edge(family, level, *source, first.start(), near, "DESC"));
            extent.oldest_since = min_some(extent.oldest_since, oldest.map(|(since, _)| since));
            extent.newest_until = extent.newest_until.max(newest.map(|(_, until)| until));
        }
        extent
    })
}

fn min_some(a: Option<i64>, b: Option<i64>) -> Option<i64> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

/// First and last period that sources have tables for. The catalog's index on names answers at once, for all of them in
/// one question.
fn periods(families: &[&Family], sources: &[i64]) -> Periods {
    let mut levels: HashMap<String, Level> = HashMap::new();
    for family in families {
        for source in sources {
            let of = |level| (source_name(family, level, *source), level);
            levels.extend(
                Level::ALL.map(of).into_iter().filter(|(stem, _)| table_oid(stem).is_some()),
            );
        }
    }
    if levels.is_empty() {
        return Periods::new();
    }
    let edge = |order: &str| {
        format!(
            "(SELECT c.relname::pg_catalog.text FROM pg_catalog.pg_class c
              WHERE c.relname OPERATOR(pg_catalog.>=)
                      (s.stem OPERATOR(pg_catalog.||) '_00000000')::pg_catalog.name
                  AND c.relname OPERATOR(pg_catalog.<=)
                      (s.stem OPERATOR(pg_catalog.||) '_99999999')::pg_catalog.name
                  AND c.relkind OPERATOR(pg_catalog.=) 'r'
                  AND c.relnamespace OPERATOR(pg_catalog.=) 'perfmon'::pg_catalog.regnamespace
              ORDER BY c.relname {order} LIMIT 1)"
        )
    };
    let query = format!(
        "SELECT s.stem, {}, {} FROM pg_catalog.unnest($1) s (stem)",
        edge("ASC"),
        edge("DESC")
    );
    let stems = sql::texts(levels.keys().map(|stem| Some(stem.as_str())));
    let rows = sql::read(&query, &[stems], |row| {
        let stem: String = row.get(1)?;
        let level = *levels.get(&stem)?;
        let period = |at: usize| {
            let name: String = row.get(at)?;
            Period::parse(level, name.get(stem.len() + 1..)?)
        };
        let (first, last) = (period(2)?, period(3)?);
        Some((stem, (first, last)))
    });
    rows.into_iter().flatten().collect()
}

/// The first or last row with `until` in [from, to), as (since, until).
fn edge(
    family: &Family,
    level: Level,
    source: i64,
    from: i64,
    to: i64,
    order: &str,
) -> Option<(i64, i64)> {
    sql::first(
        &format!(
            "SELECT r.since, r.until FROM perfmon.{} r
             WHERE r.source OPERATOR(pg_catalog.=) $1
                 AND r.until OPERATOR(pg_catalog.>=) $2 AND r.until OPERATOR(pg_catalog.<) $3
             ORDER BY r.until {order} LIMIT 1",
            parent_name(family, level)
        ),
        &[source.into(), sql::time(from), sql::time(to)],
        |row| Some((row.time(1)?, row.time(2)?)),
    )
}
