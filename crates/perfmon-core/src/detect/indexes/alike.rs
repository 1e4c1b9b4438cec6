//! Indexes beside others that do their work: the same again, or the beginning of another one.

use std::collections::{HashMap, HashSet};

use super::scene::Scene;
use super::{DUPLICATE, Dropped, REDUNDANT, burden, drop_risk, drop_statement, way_back, words};
use crate::detect::Judgement;
use crate::facts::{Index, KeyPart};
use crate::finding::{Effort, Evidence, Finding, Severity};
use crate::threshold::Threshold;

pub(super) const SIZE_RATIO: Threshold = Threshold::new(
    "redundant_index_size_ratio",
    4.0,
    "How many times larger the wider index may be for the narrower one to be a warning: scans of a much larger one cost more.",
    "pg_perfmon",
);

const REFERENCE: &str = "PostgreSQL manual, 11.3 and 11.5";

/// One part of a key as far as queries can tell.
pub(super) type Part<'a> = (i16, &'a str, u32, &'a str, u32, bool, bool);

fn part(key: &KeyPart) -> Part<'_> {
    // A column is known by its number; its name says nothing more.
    let expression = if key.attnum == 0 { key.expression.as_str() } else { "" };
    let order = (key.descending, key.nulls_first);
    let options = key.opclass_options.as_str();
    (key.attnum, expression, key.opclass, options, key.collation, order.0, order.1)
}

fn parts(index: &Index) -> Vec<Part<'_>> {
    index.key.iter().map(part).collect()
}

/// The key as it is read backwards: every part turned round, NULLs with it.
fn backwards<'a>(parts: &[Part<'a>]) -> Vec<Part<'a>> {
    let turned = |&(n, text, class, options, collation, descending, nulls_first): &Part<'a>| {
        (n, text, class, options, collation, !descending, !nulls_first)
    };
    parts.iter().map(turned).collect()
}

/// The key in that of its two directions in which its first part ascends: a B-tree is read both ways.
fn one_way(index: &Index) -> Vec<Part<'_>> {
    let parts = parts(index);
    let down = index.method == "btree" && index.key.first().is_some_and(|part| part.descending);
    if down { backwards(&parts) } else { parts }
}

/// Whether one has every part of its key in the opposite direction of the other's.
fn is_opposite(index: &Index, other: &Index) -> bool {
    parts(index).iter().zip(parts(other)).any(|(part, other)| *part != other)
}

/// All that queries can tell of an index, besides whether its keys are unique.
pub(super) type Form<'a> = (&'a str, Vec<Part<'a>>, Vec<&'a str>, Option<&'a str>);

/// The form of an index; two of the same form serve the same queries.
pub(super) fn form(index: &Index) -> Form<'_> {
    let mut include: Vec<&str> = index.include.iter().map(String::as_str).collect();
    include.sort_unstable();
    (&index.method, one_way(index), include, index.predicate.as_deref())
}

/// What `keeper` forbids includes all that `other` forbids, and as early.
fn enforces_for(keeper: &Index, other: &Index) -> bool {
    !other.unique
        || keeper.unique
            && keeper.nulls_not_distinct == other.nulls_not_distinct
            && (keeper.immediate || !other.immediate)
}

fn candidates<'a>(scene: &Scene<'a>) -> HashMap<u32, Vec<&'a Index>> {
    let mut by_table: HashMap<u32, Vec<&Index>> = HashMap::new();
    for index in scene.judged().filter(|i| i.usable() && i.readable() && !i.key.is_empty()) {
        by_table.entry(index.table).or_default().push(index);
    }
    by_table
}

/// Reports duplicates, and returns those to be dropped, each with the one that stays.
pub(super) fn duplicates(scene: &Scene<'_>, judgement: &mut Judgement) -> Dropped {
    let mut dropped = Dropped::new();
    for (_, of_table) in candidates(scene) {
        let mut groups: HashMap<Form<'_>, Vec<&Index>> = HashMap::new();
        for index in of_table {
            groups.entry(form(index)).or_default().push(index);
        }
        for mut group in groups.into_values().filter(|group| group.len() > 1) {
            // What must stay comes first, then what forbids most, then what ascends; the name makes the
            // order stable.
            let down = |i: &Index| i.key[0].descending;
            group.sort_by_key(|i| (!i.bound(), !i.unique, !i.immediate, down(i), &i.name));
            let keeper = group[0];
            for &other in &group[1..] {
                if !other.bound() && enforces_for(keeper, other) {
                    dropped.insert(other.oid, keeper.oid);
                    judgement.add(duplicate(scene, other, keeper));
                } else if has_own_constraint(other) && has_own_constraint(keeper) {
                    judgement.add(both_enforce(scene, other, keeper));
                }
            }
        }
    }
    dropped
}

/// A constraint of its own table stands on it; of a partition, that is the parent's affair.
fn has_own_constraint(index: &Index) -> bool {
    index.parent.is_none() && index.constraints.iter().any(|c| c.kind != 'f')
}

fn duplicate<'a>(scene: &Scene<'a>, index: &'a Index, keeper: &'a Index) -> Finding {
    let (name, kept) = (words::name(&index.name), words::name(&keeper.name));
    let size = scene.bytes(index);
    let weight = size.map_or(String::new(), |b| format!(" ({})", words::size(b as f64)));
    let opposite = is_opposite(index, keeper);
    let mut finding = Finding::new(
        DUPLICATE,
        burden(scene, index),
        index.name.clone(),
        if opposite {
            format!("Index {name}{weight} is {kept} in the opposite order, and does the same")
        } else {
            format!("Index {name}{weight} is the same as {kept}")
        },
        format!("Drop {name}: queries take {kept} instead."),
        REFERENCE,
    );
    let role = match (keeper.enforces(), index.unique) {
        _ if opposite => {
            " has the same columns, each in the opposite order; a B-tree is read backwards as well as forwards"
        }
        (true, false) => {
            " beside it enforces a constraint and must stay; this one enforces nothing"
        }
        (true, true) => " beside it enforces the same",
        _ => " has the same columns, operators, order and condition",
    };
    finding.cause = Some(format!("{kept}{role}."));
    finish(&mut finding, scene, index, size);
    finding.risk = format!(
        "None for queries; one that names the index (pg_hint_plan) has to be changed.{}{}",
        drop_risk(index),
        way_back(index)
    );
    finding
}

/// What a finding about an index to be dropped says of its costs.
fn finish(finding: &mut Finding, scene: &Scene<'_>, index: &Index, size: Option<i64>) {
    finding.statement = drop_statement(index);
    finding.impact.saved_bytes = size;
    finding.effort = Effort::Low;
    let writes = scene.writes_per_hour(index.table);
    if let Some(bytes) = size {
        finding.evidence.push(Evidence::new("index_bytes", bytes, "bytes"));
    }
    if let Some(scans) = index.window_scans {
        finding.evidence.push(Evidence::new("window_scans", scans, ""));
    }
    if let Some(rows) = writes.filter(|rows| *rows >= 1.0) {
        finding.evidence.push(Evidence::new("rows_written_per_hour", rows, "rows"));
        finding.gain =
            Some(format!("{} fewer index entries to write per hour", words::number(rows.round())));
    }
}

/// Two constraints that forbid the same: which of them may go, only their owner knows.
fn both_enforce<'a>(scene: &Scene<'a>, index: &'a Index, keeper: &'a Index) -> Finding {
    let (name, kept) = (words::name(&index.name), words::name(&keeper.name));
    let mut finding = Finding::new(
        DUPLICATE,
        Severity::Info,
        index.name.clone(),
        format!("Indexes {name} and {kept} do the same, and each serves a constraint"),
        "If one constraint says all that the other does, drop the other one with ALTER TABLE ... \
         DROP CONSTRAINT, after a look at the foreign keys that refer to it.",
        REFERENCE,
    );
    finding.cause = Some("Two constraints on the same columns.".to_owned());
    if let Some(bytes) = scene.bytes(index) {
        finding.evidence.push(Evidence::new("index_bytes", bytes, "bytes"));
    }
    finding.effort = Effort::Medium;
    finding.risk = "Foreign keys and the primary key stand on just one of the two.".to_owned();
    finding
}

/// Reports indexes that are the beginning of another one, and adds them to what is to be dropped, used or
/// not: that another one does their work holds whatever the history is. One that is itself to go, as a
/// duplicate or as unused, stands in for nobody.
pub(super) fn redundant(
    scene: &Scene<'_>,
    dropped: &mut Dropped,
    unused: &HashSet<u32>,
    judgement: &mut Judgement,
) {
    for (_, mut of_table) in candidates(scene) {
        of_table.retain(|i| i.method == "btree");
        // Widest first, so that it is known of each whether it stays.
        of_table.sort_by_key(|i| {
            let width = (i.key.len(), i.include.len());
            (std::cmp::Reverse(width), &i.name)
        });
        for &index in &of_table {
            let gone = |i: &Index| dropped.contains_key(&i.oid) || unused.contains(&i.oid);
            if dropped.contains_key(&index.oid) || index.bound() || index.enforces() {
                continue;
            }
            let cover = of_table.iter().rev().find(|c| !gone(c) && covers(c, index));
            if let Some(&cover) = cover {
                dropped.insert(index.oid, cover.oid);
                judgement.add(covered(scene, index, cover));
            }
        }
    }
}

/// Whether whatever is looked up in `index` can be looked up in `cover`.
fn covers(cover: &Index, index: &Index) -> bool {
    let (wide, narrow) = (parts(cover), parts(index));
    let wider = (wide.len(), cover.include.len()) > (narrow.len(), index.include.len());
    let holds = |column: &String| {
        cover.include.contains(column)
            || cover.key.iter().any(|p| p.attnum != 0 && &p.expression == column)
    };
    cover.oid != index.oid
        && wider
        && (wide.starts_with(&narrow) || wide.starts_with(&backwards(&narrow)))
        && cover.predicate == index.predicate
        && index.include.iter().all(holds)
}

fn covered<'a>(scene: &Scene<'a>, index: &'a Index, cover: &'a Index) -> Finding {
    let (name, wider) = (words::name(&index.name), words::name(&cover.name));
    let size = scene.bytes(index);
    let ratio = match (size, scene.bytes(cover)) {
        (Some(own), Some(other)) if own > 0 => Some(other as f64 / own as f64),
        _ => None,
    };
    let limit = scene.limit(&SIZE_RATIO);
    let much_larger = ratio.is_some_and(|r| r > limit);
    let severity = if much_larger { Severity::Info } else { burden(scene, index) };
    let weight = size.map_or(String::new(), |b| format!(" ({})", words::size(b as f64)));
    let mut finding = Finding::new(
        REDUNDANT,
        severity,
        index.name.clone(),
        format!("Index {name}{weight} is the beginning of {wider}"),
        format!("Drop {name}: queries take {wider} instead."),
        REFERENCE,
    );
    finding.cause = Some(if is_opposite(index, cover) {
        format!(
            "The key of {wider} begins with the same columns, each in the opposite direction; a B-tree is read backwards as well as forwards."
        )
    } else {
        format!("The key of {wider} begins with the same columns, in the same order.")
    });
    finish(&mut finding, scene, index, size);
    if let Some(ratio) = ratio {
        let evidence = Evidence::new("wider_index_size_ratio", ratio, "");
        finding.evidence.push(if much_larger { evidence.over(limit) } else { evidence });
    }
    let slower = match ratio {
        Some(ratio) if much_larger => format!(
            "{wider} is {} times as large, so scans of many rows get slower: compare before and after.",
            words::number(ratio.round())
        ),
        _ => format!("Scans of many rows read somewhat more, as {wider} is the larger one."),
    };
    finding.risk = format!("{slower}{}{}", drop_risk(index), way_back(index));
    finding
}
