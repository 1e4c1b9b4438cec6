//! Removes names that no kept row uses, so that statements which come once and never again do not fill
//! the dictionary, and the oldest of too many changes. It must never remove a name that the prior counters still refer to, nor the one with
//! the highest id, from which new ids are counted.

use std::collections::HashMap;

use perfmon_core::capture::interval::Kept;
use perfmon_core::capture::{kept, scan};
use perfmon_core::delta::Prior;
use perfmon_core::family::{FAMILIES, Family, LATENCY, SCAN, STATEMENT};

use super::chore::{self, Note};
use super::period::{DAY_US, Level};
use super::{prior, read, source, sql};

const LOOKED: &str = "clean";
/// Below this many names the look is not worth its while.
const WORTH: i64 = 10_000;
/// Rows removed by one step.
const AT_ONCE: usize = 1_000;
/// Changes of tables and the like that are kept of a source: where they are made and dropped all day, the
/// newest. Settings and marks are few, and stay.
const CHANGES: i64 = 20_000;

/// Once a day.
pub(super) fn is_due(notes: &HashMap<String, Note>, now: i64) -> bool {
    chore::is_older(notes.get(LOOKED), now, DAY_US)
}

/// Removes up to a thousand names of one source and family, or as many changes.
pub(super) fn run(now: i64) {
    if remove_changes() >= AT_ONCE {
        return;
    }
    let own = source::own();
    for (source, name, highest) in crowded() {
        let Some(family) = FAMILIES.into_iter().find(|f| f.name == name) else {
            continue;
        };
        if Some(source) == own {
            // New rows must not refer to what goes here.
            prior::lock(true);
            // Some of these names may go.
            prior::forget(prior::NAMES);
        }
        let Some(used) = used_ids(family, source, Some(source) == own, highest) else {
            continue;
        };
        if remove(family, source, &used, highest) >= AT_ONCE {
            return;
        }
    }
    chore::note(LOOKED, now, None);
}

/// Dictionaries that are large, as (source, family, highest id).
fn crowded() -> Vec<(i64, String, i32)> {
    sql::read(
        "SELECT d.source, d.family, d.highest FROM (
             SELECT e.source, 'statement'::pg_catalog.text, pg_catalog.max(e.statement_id),
                 pg_catalog.count(*)
             FROM perfmon.statement_entry e GROUP BY e.source
             UNION ALL
             SELECT o.source, o.family, pg_catalog.max(o.object_id), pg_catalog.count(*)
             FROM perfmon.object o GROUP BY o.source, o.family
         ) d (source, family, highest, entries)
         WHERE d.entries OPERATOR(pg_catalog.>) $1
         ORDER BY d.source, d.family",
        &[WORTH.into()],
        |row| Some((row.get(1)?, row.get(2)?, row.get(3)?)),
    )
    .into_iter()
    .flatten()
    .collect()
}

/// One mark per id; `None` when not everything could be read, and so nothing may go.
fn used_ids(family: &'static Family, source: i64, is_own: bool, highest: i32) -> Option<Vec<bool>> {
    let mut used = vec![false; usize::try_from(highest).ok()?.checked_add(1)?];
    let mut mark = |ids: &[u32]| {
        for id in ids {
            if let Some(slot) = used.get_mut(family.object_of(*id) as usize) {
                *slot = true;
            }
        }
    };
    // Execution times are kept under the ids of statements.
    let times = (family.name == STATEMENT.name).then_some(&LATENCY);
    for family in [family].into_iter().chain(times) {
        for level in Level::ALL {
            if !read::ids_in_use(source, family, level, &mut mark) {
                return None;
            }
        }
    }
    let is_scan = family.name == SCAN.name;
    if is_own && (is_scan || family.prior_holds_ids()) {
        for (subject, payload) in prior::load() {
            if is_scan {
                if subject == family.name {
                    let (_, columns) = kept::from_bytes(&payload).ok()?;
                    let (_, ids) = scan::from_columns(&columns)?;
                    mark(&ids.values().map(|(_, id)| *id).collect::<Vec<u32>>());
                }
                continue;
            }
            if subject == family.name {
                mark(&Prior::decode(family, &payload).ok()?.ids);
            }
            if times.is_some_and(|times| subject == times.name) {
                mark(&Kept::decode(&payload).ok()?.ids);
            }
        }
    }
    Some(used)
}

/// Removes the oldest changes beyond those that are kept.
fn remove_changes() -> usize {
    let removed = sql::write(
        "DELETE FROM perfmon.change c
         WHERE c.ctid OPERATOR(pg_catalog.=) ANY (ARRAY(
             SELECT d.ctid FROM (
                 SELECT x.ctid, x.at, pg_catalog.row_number() OVER (
                     PARTITION BY x.source ORDER BY x.at DESC) AS place
                 FROM perfmon.change x
                 WHERE x.kind OPERATOR(pg_catalog.<>) ALL (ARRAY['setting', 'mark'])) d
             WHERE d.place OPERATOR(pg_catalog.>) $1
             ORDER BY d.at LIMIT $2))",
        &[CHANGES.into(), (AT_ONCE as i64).into()],
    );
    usize::try_from(removed).unwrap_or(usize::MAX)
}

fn remove(family: &Family, source: i64, used: &[bool], highest: i32) -> usize {
    let unused: Vec<i32> = (1..highest)
        .filter(|id| usize::try_from(*id).is_ok_and(|i| used.get(i) == Some(&false)))
        .collect();
    if unused.is_empty() {
        return 0;
    }
    // Of the ids that are not in use, most may have been removed before.
    let arguments = [source.into(), unused.into(), (AT_ONCE as i64).into()];
    if family.name != "statement" {
        let removed = sql::write(
            "DELETE FROM perfmon.object o
             WHERE o.source OPERATOR(pg_catalog.=) $1 AND o.family OPERATOR(pg_catalog.=) $4
                 AND o.object_id OPERATOR(pg_catalog.=) ANY (ARRAY(
                     SELECT x.object_id FROM perfmon.object x
                     JOIN pg_catalog.unnest($2) AS k (id)
                         ON k.id OPERATOR(pg_catalog.=) x.object_id
                     WHERE x.source OPERATOR(pg_catalog.=) $1
                         AND x.family OPERATOR(pg_catalog.=) $4
                     LIMIT $3))",
            &arguments.into_iter().chain([sql::text(family.name)]).collect::<Vec<_>>(),
        );
        return usize::try_from(removed).unwrap_or(usize::MAX);
    }
    let removed = sql::write(
        "DELETE FROM perfmon.statement_entry e
         WHERE e.source OPERATOR(pg_catalog.=) $1
             AND e.statement_id OPERATOR(pg_catalog.=) ANY (ARRAY(
                 SELECT x.statement_id FROM perfmon.statement_entry x
                 JOIN pg_catalog.unnest($2) AS k (id)
                     ON k.id OPERATOR(pg_catalog.=) x.statement_id
                 WHERE x.source OPERATOR(pg_catalog.=) $1
                 LIMIT $3))",
        &arguments,
    );
    sql::write(
        "DELETE FROM perfmon.statement_text t
         WHERE t.source OPERATOR(pg_catalog.=) $1
             AND t.queryid OPERATOR(pg_catalog.=) ANY (ARRAY(
                 SELECT x.queryid FROM perfmon.statement_text x
                 WHERE x.source OPERATOR(pg_catalog.=) $1 AND NOT EXISTS (
                     SELECT 1 FROM perfmon.statement_entry e
                     WHERE e.source OPERATOR(pg_catalog.=) $1
                         AND e.queryid OPERATOR(pg_catalog.=) x.queryid)
                 LIMIT $2))",
        &[source.into(), (AT_ONCE as i64).into()],
    );
    usize::try_from(removed).unwrap_or(usize::MAX)
}
