//! Indexes that a command left broken: they cost what any index costs, and serve nobody.

use super::alike::form;
use super::scene::Scene;
use super::{INVALID, drop_statement, runnable, words};
use crate::detect::Judgement;
use crate::facts::{Index, Table};
use crate::finding::{Effort, Evidence, Finding, Severity};

/// Names of partitions that are told, at most.
const TOLD: usize = 5;

pub(super) fn look(scene: &Scene<'_>, judgement: &mut Judgement) {
    for index in scene.judged().filter(|i| !(i.valid && i.live || i.being_built)) {
        judgement.add(if index.partitioned {
            incomplete(scene, index)
        } else {
            broken(scene, index)
        });
    }
}

/// What is left of a REINDEX CONCURRENTLY that failed: `_ccnew` or `_ccold`, with a number where there
/// was one already.
fn leftover(index: &Index) -> Option<&'static str> {
    let name = index.name.trim_end_matches('"').trim_end_matches(|c: char| c.is_ascii_digit());
    ["_ccnew", "_ccold"].into_iter().find(|end| name.ends_with(end))
}

/// Whether a valid index on the same table does its work already.
fn replaced(scene: &Scene<'_>, index: &Index) -> bool {
    let same = |other: &Index| {
        other.oid != index.oid
            && other.usable()
            && (other.unique || !index.unique)
            && form(other) == form(index)
    };
    index.readable() && scene.indexes_of(index.table).iter().any(|other| same(other))
}

fn broken<'a>(scene: &Scene<'a>, index: &'a Index) -> Finding {
    let name = words::name(&index.name);
    let size = scene.bytes(index);
    let weight = match size.filter(|bytes| *bytes > 0) {
        Some(bytes) => format!(", takes {},", words::size(bytes as f64)),
        None => String::new(),
    };
    let (title, cause, remedy, statement) = mend(scene, index, &name);
    let mut finding = Finding::new(
        INVALID,
        Severity::Warning,
        index.name.clone(),
        format!("Index {name} is invalid{weight} and {title}"),
        remedy,
        "PostgreSQL manual, CREATE INDEX (building indexes concurrently), REINDEX",
    );
    finding.cause = Some(cause);
    finding.risk = risk(index, statement.as_deref()).to_owned();
    finding.statement = statement;
    finding.evidence = vec![
        Evidence::new("is_valid", index.valid.to_string(), ""),
        Evidence::new("is_kept_up_to_date", index.ready.to_string(), ""),
    ];
    if let Some(bytes) = size {
        finding.evidence.push(Evidence::new("index_bytes", bytes, "bytes"));
    }
    finding.effort = Effort::Low;
    finding
}

/// What it does, where it comes from, and how it is mended: in words, and as a statement.
fn mend(
    scene: &Scene<'_>,
    index: &Index,
    name: &str,
) -> (&'static str, String, String, Option<String>) {
    let title = if index.ready {
        "costs every write, but no query may use it"
    } else {
        "no query may use it"
    };
    let drop = |why: String| (title, why, format!("Drop {name}."), drop_statement(index));
    if !index.live {
        return drop("A DROP INDEX CONCURRENTLY that did not get to its end.".to_owned());
    }
    match leftover(index) {
        Some("_ccold") => {
            return drop("The old copy, left by a REINDEX CONCURRENTLY that succeeded but for the last step.".to_owned());
        }
        Some(_) => {
            return drop("The new copy, left by a REINDEX CONCURRENTLY that failed; the index itself is still there.".to_owned());
        }
        None => {}
    }
    if index.constraints.is_empty() && index.parent.is_none() && replaced(scene, index) {
        return drop(
            "Its command failed, and another index that does the same was made since.".to_owned(),
        );
    }
    let cause = if index.unique {
        "A CREATE INDEX CONCURRENTLY that failed, most often because of equal keys; it may turn away new rows all the same."
    } else {
        "A CREATE INDEX CONCURRENTLY that failed, was cancelled, or ran into a deadlock."
    };
    if index.unique && !index.bound() {
        // Building it again would fail as before, and leave one more behind.
        let again = match index.definition.as_str() {
            "" => "create it again".to_owned(),
            definition => {
                format!("create it again: {}", words::name(&super::with_partitions(definition)))
            }
        };
        let remedy = format!("Drop {name}. Once no rows with equal keys are left, {again}.");
        return (title, cause.to_owned(), remedy, drop_statement(index));
    }
    let how = if index.exclusion { "" } else { "CONCURRENTLY " };
    let first = if index.unique { "Remove the rows with equal keys, then build" } else { "Build" };
    let too_large = match index.method.as_str() {
        "btree" => {
            " Where that fails because a value is too large for a B-tree, there is no way but to drop it."
        }
        _ => "",
    };
    let remedy = format!("{first} {name} again, or drop it if nobody waits for it.{too_large}");
    let statement = runnable(format!("REINDEX INDEX {how}{};", index.name));
    (title, cause.to_owned(), remedy, statement)
}

fn risk(index: &Index, statement: Option<&str>) -> &'static str {
    let drops = statement.is_none_or(|sql| sql.starts_with("DROP"));
    if drops && index.unique && index.ready && index.live && leftover(index).is_none() {
        "Equal keys, which it may have turned away, can come in until it is made again."
    } else if drops {
        "None: nobody uses it."
    } else if index.exclusion {
        "Writers wait while an exclusion constraint's index is built; it cannot be done concurrently."
    } else {
        "Building reads the table twice, and waits for transactions that are older."
    }
}

/// An index of a partitioned table of which some partitions have no part.
fn incomplete<'a>(scene: &Scene<'a>, index: &'a Index) -> Finding {
    let name = words::name(&index.name);
    let has_part = |table: &Table| {
        scene.indexes_of(table.oid).iter().any(|i| i.parent == Some(index.oid) && i.valid)
    };
    let lacking: Vec<&str> = scene
        .children(index.table)
        .iter()
        .filter(|table| !has_part(table))
        .map(|table| table.name.as_str())
        .collect();
    let mut told: Vec<String> = lacking.iter().take(TOLD).map(|name| words::name(name)).collect();
    if lacking.len() > TOLD {
        told.push(format!("{} more", lacking.len() - TOLD));
    }
    let remedy = match told.as_slice() {
        [] => "Attach any part again (ALTER INDEX ... ATTACH PARTITION ...): the server then sees that it is whole.".to_owned(),
        told => format!(
            "On each of {} create a valid index like it, CONCURRENTLY, then ALTER INDEX {name} ATTACH PARTITION it.",
            told.join(", ")
        ),
    };
    let mut finding = Finding::new(
        INVALID,
        Severity::Info,
        index.name.clone(),
        format!("Index {name} is not complete: {} partition(s) lack their part", lacking.len()),
        remedy,
        "PostgreSQL manual, 5.11.2.2 and CREATE INDEX",
    );
    finding.cause =
        Some("It was created ON ONLY the parent, or a part of it is invalid.".to_owned());
    finding.evidence = vec![Evidence::new("partitions_without_index", lacking.len() as u64, "")];
    finding.effort = Effort::Medium;
    finding.risk = "Attaching locks the partition's index for a moment.".to_owned();
    finding
}
