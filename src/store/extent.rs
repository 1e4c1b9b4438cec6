//! What is kept of history: from when to when there are rows, by family and level. It must never read a packed column.

use std::cell::RefCell;
use std::collections::HashMap;

use perfmon_core::family::{FAMILIES, Family, SERVER};
pub(crate) use perfmon_core::window::Extent;

use super::history::{parent_name, schema_oid, source_name, table_oid};
use super::leaf::Leaves;
use super::period::{Level, Period};
use super::sql;
use crate::pg::lookup::Order;
use crate::pg::named;

/// Rows without a length are the first after something, and do not come by the dozen.
const FIRST_ROWS: u32 = 3;

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
            let leaves = Leaves::of(family, level, &[*source]);
            let past_sql = |order| edge_past_sql(leaves.as_ref()?, (*first, *last), order);
            let oldest = past_sql(Order::Ascending).unwrap_or_else(|| {
                edge(family, level, *source, first.start(), first.end(), "ASC")
                    .or_else(|| edge(family, level, *source, first.start(), last.end(), "ASC"))
            });
            let newest = past_sql(Order::Descending).unwrap_or_else(|| {
                let near = Period::of(level, now).start();
                edge(family, level, *source, near, last.end(), "DESC")
                    .or_else(|| edge(family, level, *source, first.start(), near, "DESC"))
            });
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

/// First and last period that sources have tables for. The catalog's index on names answers at once.
fn periods(families: &[&Family], sources: &[i64]) -> Periods {
    let mut found = Periods::new();
    let Some(schema) = schema_oid() else { return found };
    for family in families {
        for (source, level) in sources.iter().flat_map(|s| Level::ALL.map(|level| (*s, level))) {
            let stem = source_name(family, level, source);
            if table_oid(&stem).is_none() {
                continue;
            }
            let [low, high] = ["00000000", "99999999"].map(|suffix| format!("{stem}_{suffix}"));
            let period = |name: String| Period::parse(level, name.get(stem.len() + 1..)?);
            let edges = named::first_and_last(schema, [&low, &high])
                .and_then(|(first, last)| Some((period(first)?, period(last)?)));
            if let Some(edges) = edges {
                found.insert(stem, edges);
            }
        }
    }
    found
}

/// The first or last row of these periods, as (since, until); the outer `None` where only a query can tell.
fn edge_past_sql(
    leaves: &Leaves<'_>,
    periods: (Period, Period),
    order: Order,
) -> Option<Option<(i64, i64)>> {
    let mut found = None;
    let looked = leaves.rows_at_edge(periods, order, &["since", "until"], &mut |row| {
        found = row.int8(0).zip(row.int8(1));
        false
    });
    looked.ok()?;
    Some(found.map(|(since, until)| (sql::from_server(since), sql::from_server(until))))
}

/// Whether an interval that has a length ended today or yesterday; where not, only a query can tell whether there is one.
pub(crate) fn is_measured(sources: &[i64], now: i64) -> bool {
    let today = Period::of(Level::Minute, now);
    let yesterday = Period::of(Level::Minute, today.start() - 1);
    let (mut left, mut found) = (FIRST_ROWS, false);
    let leaves = Leaves::of(&SERVER, Level::Minute, sources);
    let looked = leaves.map(|leaves| {
        leaves.rows_at_edge((yesterday, today), Order::Descending, &["length_us"], &mut |row| {
            left -= 1;
            found = row.int8(0).is_some_and(|length| length > 0);
            !found && left > 0
        })
    });
    looked.is_some_and(|looked| looked.is_ok()) && found
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
