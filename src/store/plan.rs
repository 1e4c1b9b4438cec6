//! Plans of statements and what is known of each, and plans that took the place of another. Must never judge one.

use std::collections::HashMap;

use perfmon_core::plan::flip::{Flip, Standing, Stretch};

use pgrx::pg_sys;

use super::{history, sql};
use crate::pg::lookup::{Found, Lookup};
use crate::pg::{clock, heap};

mod parts;

pub(crate) use parts::parts;

/// Plans and flips kept of a statement, and plans of a source.
pub(crate) const PLANS: usize = 10;
const FLIPS: i64 = 10;
const PLANS_IN_ALL: i64 = 5_000;

/// A plan as it stands in the table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Known {
    pub(crate) first_seen: i64,
    pub(crate) stretch: Stretch,
    /// When one of its forms was kept.
    printed_at: Option<i64>,
    /// Executions, their time, the longest, and the same of those looked at whatever they took but for the longest.
    counts: [i64; 5],
    /// Where the row lies; good for as long as the writers' lock is held, and it is not written.
    place: pg_sys::ItemPointerData,
}

impl Known {
    /// One of its forms is there.
    pub(crate) fn is_printed(&self) -> bool {
        self.printed_at.is_some()
    }
}

/// What was seen of a plan since it was written last; times in microseconds since the Unix epoch.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seen {
    pub(crate) statement_id: u32,
    pub(crate) stretch: Stretch,
    pub(crate) calls: u64,
    pub(crate) total_us: u64,
    pub(crate) max_us: u64,
    pub(crate) sampled: u64,
    pub(crate) sampled_us: u64,
}

/// A plan that was printed.
#[derive(Debug, Clone)]
pub(crate) struct Printed {
    pub(crate) statement_id: u32,
    pub(crate) plan: i64,
    pub(crate) at: i64,
    pub(crate) cost: Option<f64>,
    pub(crate) heaviest: Option<(String, f64)>,
    pub(crate) constants: bool,
    pub(crate) text: Option<String>,
    pub(crate) json: Option<String>,
}

/// So many statements are looked up one by one.
const FEW: usize = 256;

/// The plans of some statements. A read.
pub(crate) fn known(source: i64, statements: &[u32]) -> HashMap<u32, Vec<Known>> {
    look_up(source, statements).unwrap_or_else(|| known_by_query(source, statements))
}

/// Looks into a table by source and statement, each statement once; `None` where only SQL can.
fn look_into(
    table: &str,
    (source, statements): (i64, &[u32]),
    wanted: &[&str],
    mut each: impl FnMut(u32, &Found<'_>),
) -> Option<()> {
    let mut statements: Vec<u32> = statements.to_vec();
    statements.sort_unstable();
    statements.dedup();
    if statements.len() > FEW {
        return None;
    }
    let lookup = Lookup::open(history::table_oid(table)?, &["source", "statement_id"], wanted)?;
    for statement in statements {
        let Ok(id) = i32::try_from(statement) else { continue };
        if !lookup.each(&[source.into(), id.into()], |row| each(statement, row)) {
            return None;
        }
    }
    Some(())
}

fn look_up(source: i64, statements: &[u32]) -> Option<HashMap<u32, Vec<Known>>> {
    let mut all: HashMap<u32, Vec<Known>> = HashMap::new();
    let wanted = &COUNTED[2..];
    look_into("plan", (source, statements), wanted, |statement, row| {
        let time = |column: usize| row.int8(column).map(clock::unix_us);
        let one = || {
            let stretch = Stretch { plan: row.int8(0)?, since: time(2)?, until: time(3)? };
            let mut counts = [0; 5];
            for (count, column) in counts.iter_mut().zip(4..) {
                *count = row.int8(column)?;
            }
            let (first_seen, printed_at) = (time(1)?, time(9));
            Some(Known { first_seen, stretch, printed_at, counts, place: row.place() })
        };
        all.entry(statement).or_default().extend(one());
    })?;
    Some(all)
}

fn known_by_query(source: i64, statements: &[u32]) -> HashMap<u32, Vec<Known>> {
    let rows = sql::read(
        "SELECT p.statement_id, p.plan_id, p.first_seen, p.stretch_since, p.last_seen, p.printed_at,
             p.calls, p.total_us, p.max_us, p.sampled_calls, p.sampled_us, p.ctid
         FROM perfmon.plan p
         WHERE p.source OPERATOR(pg_catalog.=) $1
             AND p.statement_id OPERATOR(pg_catalog.=) ANY ($2)",
        &[source.into(), ids(statements.iter().copied()).into()],
        |row| {
            let stretch = Stretch { plan: row.get(2)?, since: row.time(4)?, until: row.time(5)? };
            let mut counts = [0; 5];
            for (count, column) in counts.iter_mut().zip(7..) {
                *count = row.get(column)?;
            }
            let (first_seen, printed_at) = (row.time(3)?, row.time(6));
            let known = Known { first_seen, stretch, printed_at, counts, place: row.get(12)? };
            Some((u32::try_from(row.get::<i32>(1)?).ok()?, known))
        },
    );
    let mut all: HashMap<u32, Vec<Known>> = HashMap::new();
    for (statement, known) in rows.into_iter().flatten() {
        all.entry(statement).or_default().push(known);
    }
    all
}

/// One of the known plans.
fn one(known: &HashMap<u32, Vec<Known>>, statement: u32, plan: i64) -> Option<&Known> {
    known.get(&statement)?.iter().find(|known| known.stretch.plan == plan)
}

/// Where the forms of some statements' plans lie.
fn forms(source: i64, statements: &[u32]) -> HashMap<(u32, i64), pg_sys::ItemPointerData> {
    let mut places = HashMap::new();
    let looked = look_into("plan_form", (source, statements), &["plan_id"], |statement, row| {
        places.extend(row.int8(0).map(|plan| ((statement, plan), row.place())));
    });
    if looked.is_some() {
        return places;
    }
    let rows = sql::read(
        "SELECT f.statement_id, f.plan_id, f.ctid FROM perfmon.plan_form f
         WHERE f.source OPERATOR(pg_catalog.=) $1
             AND f.statement_id OPERATOR(pg_catalog.=) ANY ($2)",
        &[source.into(), ids(statements.iter().copied()).into()],
        |row| Some(((u32::try_from(row.get::<i32>(1)?).ok()?, row.get(2)?), row.get(3)?)),
    );
    rows.into_iter().flatten().collect()
}

/// The plans that some statements flipped to last, and from which. A read.
pub(crate) fn flipped_to(source: i64, statements: &[u32]) -> HashMap<u32, Standing> {
    sql::read(
        "SELECT DISTINCT ON (f.statement_id) f.statement_id, f.after_plan_id, f.before_plan_id
         FROM perfmon.plan_flip f
         WHERE f.source OPERATOR(pg_catalog.=) $1
             AND f.statement_id OPERATOR(pg_catalog.=) ANY ($2)
         ORDER BY f.statement_id, f.at DESC",
        &[source.into(), ids(statements.iter().copied()).into()],
        |row| {
            let standing = Standing { plan: row.get(2)?, replaced: row.get(3) };
            Some((u32::try_from(row.get::<i32>(1)?).ok()?, standing))
        },
    )
    .into_iter()
    .flatten()
    .collect()
}

fn ids(statements: impl Iterator<Item = u32>) -> Vec<i32> {
    statements.filter_map(|id| i32::try_from(id).ok()).collect()
}

/// The columns of a plan, but for what is not known of one that was never printed.
const COUNTED: [&str; 12] = [
    "source",
    "statement_id",
    "plan_id",
    "first_seen",
    "stretch_since",
    "last_seen",
    "calls",
    "total_us",
    "max_us",
    "sampled_calls",
    "sampled_us",
    "printed_at",
];

const FORM: [&str; 9] = [
    "source",
    "statement_id",
    "plan_id",
    "cost",
    "heaviest_node",
    "heaviest_ratio",
    "has_constants",
    "plan_text",
    "plan_json",
];

/// Writes a row, in place of one that was found there. The first three columns are its key.
fn put(
    table: &str,
    columns: &[&str],
    row: &[sql::Arg<'_>],
    place: Option<pg_sys::ItemPointerData>,
) {
    let done = history::table_oid(table).is_some_and(|oid| match place {
        Some(place) => heap::replace(oid, place, columns, row),
        None => heap::insert(oid, columns, row),
    });
    if done {
        return;
    }
    let values: Vec<String> = (1..=columns.len()).map(|i| format!("${i}")).collect();
    let replaced: Vec<String> =
        columns[3..].iter().map(|column| format!("{column} = EXCLUDED.{column}")).collect();
    sql::write(
        &format!(
            "INSERT INTO perfmon.{table} ({}) VALUES ({})
             ON CONFLICT (source, statement_id, plan_id) DO UPDATE SET {}",
            columns.join(", "),
            values.join(", "),
            replaced.join(", ")
        ),
        row,
    );
}

fn put_counts(
    (source, statement): (i64, u32),
    (first_seen, stretch): (i64, Stretch),
    counts: [i64; 5],
    (printed_at, place): (Option<i64>, Option<pg_sys::ItemPointerData>),
) {
    let mut row: Vec<sql::Arg<'_>> = vec![
        source.into(),
        (statement as i32).into(),
        stretch.plan.into(),
        sql::time(first_seen),
        sql::time(stretch.since),
        sql::time(stretch.until),
    ];
    row.extend(counts.map(sql::Arg::from));
    row.push(printed_at.map_or_else(sql::no_time, sql::time));
    put("plan", &COUNTED, &row, place);
}

/// Adds what was seen to what is known of the same statements. A plan and statement may come once only.
pub(crate) fn add(source: i64, seen: &[Seen], known: &HashMap<u32, Vec<Known>>) {
    let count = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    for new in seen {
        let before = one(known, new.statement_id, new.stretch.plan);
        let mut counts = before.map_or([0; 5], |before| before.counts);
        for (place, n) in [(0, new.calls), (1, new.total_us), (3, new.sampled), (4, new.sampled_us)]
        {
            counts[place] = counts[place].saturating_add(count(n));
        }
        counts[2] = counts[2].max(count(new.max_us));
        let until = before.map_or(i64::MIN, |before| before.stretch.until).max(new.stretch.until);
        let stretch = Stretch { until, ..new.stretch };
        put_counts(
            (source, new.statement_id),
            (before.map_or(stretch.since, |before| before.first_seen), stretch),
            counts,
            (before.and_then(|before| before.printed_at), before.map(|before| before.place)),
        );
    }
}

/// Keeps the forms of plans, the newest in place of earlier ones. A plan and statement may come once only.
pub(crate) fn keep(source: i64, printed: &[Printed]) {
    if printed.is_empty() {
        return;
    }
    let statements: Vec<u32> = printed.iter().map(|printed| printed.statement_id).collect();
    let (known, forms) = (known(source, &statements), forms(source, &statements));
    for new in printed {
        let before = one(&known, new.statement_id, new.plan);
        let fresh = Stretch { plan: new.plan, since: new.at, until: new.at };
        put_counts(
            (source, new.statement_id),
            before.map_or((new.at, fresh), |before| (before.first_seen, before.stretch)),
            before.map_or([0; 5], |before| before.counts),
            (Some(new.at), before.map(|before| before.place)),
        );
        let heaviest = new.heaviest.as_ref();
        let row = [
            source.into(),
            (new.statement_id as i32).into(),
            new.plan.into(),
            new.cost.into(),
            sql::optional_text(heaviest.map(|(node, _)| node.as_str())),
            heaviest.map(|(_, ratio)| *ratio).into(),
            new.constants.into(),
            sql::optional_text(new.text.as_deref()),
            sql::json(new.json.as_deref()),
        ];
        put("plan_form", &FORM, &row, forms.get(&(new.statement_id, new.plan)).copied());
    }
}

/// Writes flips.
pub(crate) fn record(source: i64, flips: &[(u32, Flip)]) {
    for (statement, flip) in flips {
        sql::write(
            "INSERT INTO perfmon.plan_flip (source, statement_id, at, before_plan_id, after_plan_id, last_before)
             VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING",
            &[
                source.into(),
                (*statement as i32).into(),
                sql::time(flip.at),
                flip.before.into(),
                flip.after.into(),
                sql::time(flip.last_before),
            ],
        );
    }
}

/// What a plan mostly does, in words.
pub(crate) fn heaviest(source: i64, statement: u32, plan: i64) -> Option<String> {
    sql::first(
        "SELECT p.heaviest_node FROM perfmon.plan_form p
         WHERE p.source OPERATOR(pg_catalog.=) $1 AND p.statement_id OPERATOR(pg_catalog.=) $2
             AND p.plan_id OPERATOR(pg_catalog.=) $3",
        &[source.into(), (statement as i32).into(), plan.into()],
        |row| row.text(1),
    )
}

/// Removes what was seen last before a time, and of a statement with many plans or flips the oldest; of some statements
/// only, or of all. The plans of a flip stay as long as it does.
pub(crate) fn trim(source: i64, before: Option<i64>, statements: Option<&[u32]>) {
    let only: Option<Vec<i32>> = statements.map(|statements| ids(statements.iter().copied()));
    let (of, at_most) = match only {
        Some(_) => ("AND x.statement_id OPERATOR(pg_catalog.=) ANY ($4)", i64::MAX),
        None => ("AND $4::pg_catalog.int4[] IS NULL", PLANS_IN_ALL),
    };
    let limit = || before.map_or_else(sql::no_time, sql::time);
    sql::write(
        &format!("DELETE FROM perfmon.plan_flip f USING (
                 SELECT x.statement_id, x.at, pg_catalog.row_number() OVER (
                 PARTITION BY x.statement_id ORDER BY x.at DESC) AS place
             FROM perfmon.plan_flip x WHERE x.source OPERATOR(pg_catalog.=) $1 {of}) o
         WHERE f.source OPERATOR(pg_catalog.=) $1
             AND f.statement_id OPERATOR(pg_catalog.=) o.statement_id AND f.at OPERATOR(pg_catalog.=) o.at
             AND (o.place OPERATOR(pg_catalog.>) $2 OR f.at OPERATOR(pg_catalog.<) $3)"),
        &[source.into(), FLIPS.into(), limit(), only.clone().into()],
    );
    sql::write(
        &format!("WITH gone AS (DELETE FROM perfmon.plan p USING (
             SELECT x.statement_id, x.plan_id,
                 pg_catalog.row_number() OVER (
                     PARTITION BY x.statement_id ORDER BY x.last_seen DESC) AS place,
                 pg_catalog.row_number() OVER (ORDER BY x.last_seen DESC) AS place_in_all
             FROM perfmon.plan x WHERE x.source OPERATOR(pg_catalog.=) $1 {of}) o
         WHERE p.source OPERATOR(pg_catalog.=) $1
             AND p.statement_id OPERATOR(pg_catalog.=) o.statement_id
             AND p.plan_id OPERATOR(pg_catalog.=) o.plan_id
             AND (o.place_in_all OPERATOR(pg_catalog.>) $5
                 OR ((o.place OPERATOR(pg_catalog.>) $2 OR p.last_seen OPERATOR(pg_catalog.<) $3)
                     AND NOT EXISTS (
                         SELECT 1 FROM perfmon.plan_flip f
                         WHERE f.source OPERATOR(pg_catalog.=) $1
                             AND f.statement_id OPERATOR(pg_catalog.=) p.statement_id
                             AND p.plan_id OPERATOR(pg_catalog.=) ANY (ARRAY[f.before_plan_id, f.after_plan_id]))))
             RETURNING p.statement_id, p.plan_id)
         DELETE FROM perfmon.plan_form f USING gone g
         WHERE f.source OPERATOR(pg_catalog.=) $1
             AND f.statement_id OPERATOR(pg_catalog.=) g.statement_id
             AND f.plan_id OPERATOR(pg_catalog.=) g.plan_id"),
        &[source.into(), (PLANS as i64).into(), limit(), only.into(), at_most.into()],
    );
}
