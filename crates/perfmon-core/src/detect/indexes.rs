//! Index hygiene: indexes that cost more than they give, that are broken, or that are lacking. It must
//! never propose to drop what enforces a constraint, is a replica identity, clusters a table, or stands
//! in for another index that it proposes to drop.

use std::collections::{HashMap, HashSet};

use super::{Detector, Judgement, words};
use crate::facts::{Facts, Index};
use crate::finding::{Severity, WAY_BACK};
use crate::threshold::{Threshold, Thresholds};

mod alike;
mod bloat;
mod cost;
mod invalid;
mod keys;
mod scene;
mod size;
#[cfg(test)]
mod tests;
mod unused;
mod writes;

pub(super) use keys::narrows;
use scene::Scene;

/// Not scanned over the whole history.
pub const UNUSED: &str = "unused_index";
/// The same as another one.
pub const DUPLICATE: &str = "duplicate_index";
/// The beginning of another one.
pub const REDUNDANT: &str = "redundant_index";
/// Left broken by a command that failed.
pub const INVALID: &str = "invalid_index";
/// Much larger than its content.
pub const BLOATED: &str = "bloated_index";
/// A foreign key whose referring side has no index.
pub const KEY_WITHOUT: &str = "foreign_key_without_index";
/// Written far more often than it is used.
pub const WRITE_HEAVY: &str = "write_heavy_index";

/// The detector.
pub static DETECTOR: Detector = Detector {
    name: "indexes",
    kinds: &[UNUSED, DUPLICATE, REDUNDANT, INVALID, BLOATED, KEY_WITHOUT, WRITE_HEAVY],
    thresholds: THRESHOLDS,
    detect,
};

/// From here on an index that is not needed is worth a warning.
const WARNING_BYTES: Threshold = Threshold::new(
    "unneeded_index_warning_bytes",
    1_048_576.0,
    "Size from which an index that nobody needs is a warning; a smaller one is for information.",
    "pg_perfmon: less space than that is nobody's problem",
);
/// Or from here on, whatever its size.
const WARNING_WRITES: Threshold = Threshold::new(
    "unneeded_index_warning_writes_per_hour",
    10_000.0,
    "Rows written to its table per hour from which an index that nobody needs is a warning, small as it may be.",
    "pg_perfmon: each of them is an entry to be made and vacuumed",
);

static THRESHOLDS: &[Threshold] = &[
    WARNING_BYTES,
    WARNING_WRITES,
    unused::DAYS,
    unused::BYTES,
    unused::USES,
    unused::SEEN_RATIO,
    unused::EACH,
    alike::SIZE_RATIO,
    bloat::BYTES,
    bloat::WARNING_BYTES,
    bloat::RATIO,
    size::ERROR_RATIO,
    size::DISTINCT_FACTOR,
    keys::ROWS,
    keys::WARNING_ROWS,
    keys::USES,
    keys::ROWS_PER_KEY,
    cost::SCANNED_RATIO,
    writes::PER_SCAN,
    writes::ROWS,
    writes::HOURS,
    writes::BYTES,
];

/// What is to be dropped, by index, and what stands in for it.
type Dropped = HashMap<u32, u32>;

fn detect(facts: &Facts, limits: &Thresholds, judgement: &mut Judgement) {
    let Some(scene) = Scene::of(facts, limits) else {
        DETECTOR.kinds.iter().for_each(|kind| judgement.unknown(kind));
        return;
    };
    invalid::look(&scene, judgement);
    let mut dropped = alike::duplicates(&scene, judgement);
    let unused = unused::look(&scene, &dropped, judgement);
    let surely: HashSet<u32> = unused.iter().filter(|u| u.surely).map(|u| u.index).collect();
    alike::redundant(&scene, &mut dropped, &surely, judgement);
    // Whoever is to stand in for another index will be used.
    let needed: HashSet<u32> = dropped.iter().flat_map(|(gone, kept)| [*gone, *kept]).collect();
    let alone = |u: &unused::Unused| {
        !needed.contains(&u.index) || u.surely && !dropped.contains_key(&u.index)
    };
    unused::tell(&scene, unused.into_iter().filter(alone).collect(), judgement);
    // What is to go need not be mended.
    let going = |index: &Index| dropped.contains_key(&index.oid) || surely.contains(&index.oid);
    bloat::look(&scene, going, judgement);
    writes::look(&scene, going, judgement);
    keys::look(&scene, judgement);
}

/// How bad an index is that nobody needs, by its size and by what its table is written.
fn burden<'a>(scene: &Scene<'a>, index: &'a Index) -> Severity {
    let bytes = scene.bytes(index).unwrap_or(0) as f64;
    let writes = scene.writes_per_hour(index.table).unwrap_or(0.0);
    let heavy = bytes >= scene.limit(&WARNING_BYTES) || writes >= scene.limit(&WARNING_WRITES);
    if heavy { Severity::Warning } else { Severity::Info }
}

/// DROP INDEX as it must be for this index.
fn drop_statement(index: &Index) -> Option<String> {
    // The server refuses CONCURRENTLY for an index that has partitions.
    let how = if index.partitioned { "" } else { "CONCURRENTLY " };
    runnable(format!("DROP INDEX {how}{};", index.name))
}

/// A statement, unless a name in it could not be read: then it would mean something else.
fn runnable(sql: String) -> Option<String> {
    (!sql.contains(char::REPLACEMENT_CHARACTER)).then_some(sql)
}

/// How to undo a DROP, in words.
fn way_back(index: &Index) -> String {
    match index.definition.as_str() {
        "" => String::new(),
        // It would make another index.
        unread if unread.contains(char::REPLACEMENT_CHARACTER) => String::new(),
        definition => format!("{WAY_BACK}{}.", on_one_line(&with_partitions(definition))),
    }
}

/// SQL without line breaks, which means the same: within names and strings they become escapes.
fn on_one_line(sql: &str) -> String {
    if !sql.contains(char::is_control) {
        return sql.to_owned();
    }
    let mut out = String::new();
    let mut rest = sql;
    while let Some(start) = rest.find(['"', '\'']) {
        let quote = &rest[start..=start];
        // A doubled quote ends one piece and begins the next.
        let mut end = start + 1;
        while let Some(found) = rest[end..].find(quote) {
            end += found + 1;
            if !rest[end..].starts_with(quote) {
                break;
            }
            end += 1;
        }
        let (before, quoted) = (&rest[..start], &rest[start..end]);
        out.push_str(&words::name(before));
        if !quoted.contains(char::is_control) {
            out.push_str(quoted);
        } else if quote == "'" && before.ends_with('E') {
            out.extend(quoted.chars().map(|c| escaped(c, "\\u")));
        } else {
            out.push_str("U&");
            let doubled = quoted.replace('\\', "\\\\");
            out.extend(doubled.chars().map(|c| escaped(c, "\\")));
        }
        rest = &rest[end..];
    }
    out + &words::name(rest)
}

fn escaped(c: char, with: &str) -> String {
    if c.is_control() { format!("{with}{:04X}", u32::from(c)) } else { c.to_string() }
}

/// The definition of an index so that it is made on the partitions too: the server writes ON ONLY for
/// one of a partitioned table, which makes an invalid index without parts.
fn with_partitions(definition: &str) -> String {
    const ONLY: &str = " ON ONLY ";
    let unquoted = |place: &usize| definition[..*place].matches('"').count().is_multiple_of(2);
    match definition.match_indices(ONLY).map(|(place, _)| place).find(unquoted) {
        Some(place) => {
            let (head, tail) = (&definition[..place], &definition[place + ONLY.len()..]);
            format!("{head} ON {tail}")
        }
        None => definition.to_owned(),
    }
}

/// What dropping locks, in words; empty where that is nothing to speak of.
fn drop_risk(index: &Index) -> &'static str {
    if index.partitioned {
        " Dropping it locks the table and all its partitions for a moment, once running statements are done."
    } else {
        ""
    }
}
