//! Foreign keys whose referring side has no index: each delete of a row referred to, and each change of
//! its key, looks for the rows that refer to it.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::scene::Scene;
use super::{KEY_WITHOUT, cost, runnable, words};
use crate::detect::Judgement;
use crate::facts::{ForeignKey, Index, Table};
use crate::finding::{Effort, Evidence, Finding, Severity};
use crate::threshold::{Threshold, Thresholds};

pub(super) const ROWS: Threshold = Threshold::new(
    "foreign_key_index_min_rows",
    1_000.0,
    "Rows of the referring table below which it is read whole without harm.",
    "pg_perfmon: less than a millisecond",
);
pub(super) const WARNING_ROWS: Threshold = Threshold::new(
    "foreign_key_index_warning_rows",
    10_000.0,
    "Rows of the referring table from which a foreign key that is used without an index is a warning.",
    "pg_perfmon: about a millisecond for each row referred to that is deleted",
);
pub(super) const USES: Threshold = Threshold::new(
    "foreign_key_index_min_uses",
    10.0,
    "Rows referred to that were deleted, and executions that look rows up by the key, in the window, from which it is a warning.",
    "pg_perfmon",
);
pub(super) const ROWS_PER_KEY: Threshold = Threshold::new(
    "foreign_key_index_rows_per_key",
    100.0,
    "An index on one of several columns of the key serves when it leaves at most so many rows for a value.",
    "pg_perfmon: a few pages",
);

pub(super) fn look(scene: &Scene<'_>, judgement: &mut Judgement) {
    let Some(keys) = scene.facts.foreign_keys.as_deref() else {
        judgement.unknown(KEY_WITHOUT);
        return;
    };
    // Keys of the same columns want the same index.
    let mut wanted: HashMap<(u32, BTreeSet<i16>), Vec<&ForeignKey>> = HashMap::new();
    for key in keys {
        let columns = key.columns.iter().copied().collect();
        wanted.entry((key.table, columns)).or_default().push(key);
    }
    let mut writes = None;
    for ((table, _), keys) in wanted {
        let Some(table) = scene.table(table).filter(|t| !t.internal) else { continue };
        let Some(rows) = scene.rows(table) else { continue };
        if rows < scene.limit(&ROWS) || is_supported(scene, table, keys[0], &|_| true) {
            continue;
        }
        let users = writes.get_or_insert_with(|| Users::of(scene));
        judgement.add(judge(scene, table, rows, &keys, users));
    }
}

/// The foreign key that no other index than this one serves, if there is one; those that are gone count
/// for nothing.
pub(super) fn only_support(
    scene: &Scene<'_>,
    index: &Index,
    gone: &HashSet<u32>,
) -> Option<String> {
    let table = scene.table(index.table)?;
    let keys = scene.facts.foreign_keys.iter().flatten().filter(|key| key.table == table.oid);
    let mut lost = keys.filter(|key| {
        serves(scene, table, key, index)
            && !is_supported(scene, table, key, &|other| {
                other.oid != index.oid && !gone.contains(&other.oid)
            })
    });
    lost.next().map(|key| key.name.clone())
}

/// Whether the rows of a key are found by an index: by one of the table, or of each of its partitions.
fn is_supported<'a>(
    scene: &Scene<'a>,
    table: &'a Table,
    key: &ForeignKey,
    counts: &dyn Fn(&Index) -> bool,
) -> bool {
    let own = scene.indexes_of(table.oid).iter();
    if own.filter(|i| counts(i)).any(|i| serves(scene, table, key, i)) {
        return true;
    }
    let children = scene.children(table.oid);
    // A partition may number its columns differently: they are the same by name.
    let renumbered = |child: &Table| -> Option<ForeignKey> {
        let number = |name: &String| child.columns.iter().find(|c| &c.name == name);
        let columns: Option<_> =
            key.column_names.iter().map(|name| Some(number(name)?.attnum)).collect();
        Some(ForeignKey { columns: columns?, table: child.oid, ..key.clone() })
    };
    table.partitioned
        && !children.is_empty()
        && children.iter().all(|child| {
            renumbered(child).is_some_and(|key| is_supported(scene, child, &key, counts))
        })
}

/// Whether an index finds the rows of a key. One whose condition is not known is taken to.
fn serves<'a>(scene: &Scene<'a>, table: &'a Table, key: &ForeignKey, index: &Index) -> bool {
    if !index.usable() || !(index.method == "btree" || index.method == "hash") {
        return false;
    }
    let whole = match index.predicate.as_deref() {
        None | Some("") => true,
        // The value looked for is never NULL.
        Some(text) => key.column_names.iter().any(|name| text == format!("({name} IS NOT NULL)")),
    };
    let leading = index.key.iter().take(key.columns.len()).map(|part| part.attnum);
    let all: HashSet<i16> = leading.collect();
    let wanted: HashSet<i16> = key.columns.iter().copied().collect();
    whole && (all == wanted || first_narrows(scene, table, &wanted, index))
}

/// Whether its first column, one of the key's, leaves only a few rows for a value.
fn first_narrows<'a>(
    scene: &Scene<'a>,
    table: &'a Table,
    wanted: &HashSet<i16>,
    index: &Index,
) -> bool {
    let first = index.key.first().filter(|part| wanted.contains(&part.attnum));
    first.is_some_and(|first| narrows(first.distinct, scene.rows(table), scene.limits))
}

/// Whether a column of so many distinct values leaves only a few of a table's rows for each.
pub(in crate::detect) fn narrows(
    distinct: Option<f64>,
    rows: Option<f64>,
    limits: &Thresholds,
) -> bool {
    let per_value = match (distinct, rows) {
        (Some(distinct), _) if distinct < 0.0 => Some(-1.0 / distinct),
        (Some(distinct), Some(rows)) if distinct > 0.0 => Some(rows / distinct),
        _ => None,
    };
    per_value.is_some_and(|rows| rows <= limits.of(&ROWS_PER_KEY))
}

/// Executions of the window by the table and column for which they look rows up.
struct Users {
    calls: HashMap<(u32, i16), u64>,
}

impl Users {
    fn of(scene: &Scene<'_>) -> Self {
        let mut calls: HashMap<(u32, i16), u64> = HashMap::new();
        for statement in scene.facts.statements.iter().flatten().filter(|s| !s.explains()) {
            let tables = statement.shape.iter().flat_map(|shape| &shape.tables);
            let looked: HashSet<(u32, i16)> = tables
                .filter(|one| one.read)
                .flat_map(|one| one.predicates.iter().map(move |p| (one.oid, p)))
                .filter(|(_, p)| cost::looks_up(p) && p.attnum != 0)
                .map(|(table, p)| (table, p.attnum))
                .collect();
            for column in looked {
                let known = calls.entry(column).or_default();
                *known = known.saturating_add(statement.calls);
            }
        }
        Self { calls }
    }

    /// Executions that look rows up by the key: by each of its columns at least so often.
    fn by(&self, key: &ForeignKey) -> u64 {
        let of_column = |n: &i16| self.calls.get(&(key.table, *n)).copied().unwrap_or(0);
        key.columns.iter().map(of_column).min().unwrap_or(0)
    }
}

fn judge<'a>(
    scene: &Scene<'a>,
    table: &'a Table,
    rows: f64,
    keys: &[&ForeignKey],
    users: &Users,
) -> Finding {
    let key = keys[0];
    let deleted: Option<u64> = keys
        .iter()
        .filter_map(|key| scene.window(key.referenced))
        .map(|activity| activity.n_tup_del)
        .reduce(u64::saturating_add);
    let looked_up = users.by(key);
    let uses = deleted.unwrap_or(0).saturating_add(looked_up);
    let used = uses as f64 >= scene.limit(&USES) && rows >= scene.limit(&WARNING_ROWS);
    let severity = if used { Severity::Warning } else { Severity::Info };
    let (name, columns) = (words::name(&table.name), key.column_names.join(", "));
    let named = words::name(&columns);
    let mut finding = Finding::new(
        KEY_WITHOUT,
        severity,
        table.name.clone(),
        format!(
            "{name} ({}) has no index for its foreign key on {named}",
            words::amount(rows, "row")
        ),
        remedy(table, &name, &named),
        "PostgreSQL manual, 5.4.5",
    );
    finding.subject = columns.clone();
    finding.cause = Some(cause(scene, keys, deleted, looked_up));
    if !table.partitioned {
        let sql = format!("CREATE INDEX CONCURRENTLY ON {} ({columns});", table.name);
        finding.statement = runnable(sql);
    }
    finding.evidence = evidence(scene, table, rows, deleted, looked_up, used);
    if let Some(helped) = cost::of(scene, table, keys) {
        finding.impact.saved_ms_per_hour =
            Some(helped.iter().map(|one| one.saved_ms_per_hour).sum());
        finding.helped = helped;
    }
    finding.gain = Some(format!("{} fewer rows to read for each such change", words::number(rows)));
    finding.effort = if table.partitioned { Effort::Medium } else { Effort::Low };
    finding.risk = "Each index makes inserts, and updates of its columns, slower and takes space; building it reads the table twice.".to_owned();
    finding
}

fn remedy(table: &Table, name: &str, columns: &str) -> String {
    if table.partitioned {
        format!(
            "CREATE INDEX ON ONLY {name} ({columns}), then the same CONCURRENTLY on each partition, then ALTER INDEX ... ATTACH PARTITION each: so nobody has to wait."
        )
    } else {
        format!("Create an index on {columns}.")
    }
}

fn cause(scene: &Scene<'_>, keys: &[&ForeignKey], deleted: Option<u64>, looked_up: u64) -> String {
    let mut referenced: Vec<String> = keys
        .iter()
        .filter_map(|key| scene.table(key.referenced))
        .map(|table| words::name(&table.name))
        .collect();
    referenced.sort();
    referenced.dedup();
    let mut cause = format!(
        "Each delete from {}, and each change of a key there, reads the whole table to find the rows that refer to it.",
        referenced.join(" and ")
    );
    match deleted {
        Some(0) => cause.push_str(" Nothing was deleted there in the window."),
        Some(1) => cause.push_str(" 1 row was deleted there in the window."),
        Some(rows) => cause.push_str(&format!(
            " {} rows were deleted there in the window.",
            words::number(rows as f64)
        )),
        None => {}
    }
    if looked_up > 0 {
        cause.push_str(&format!(
            " {} looked rows up by it.",
            words::amount(looked_up as f64, "execution")
        ));
    }
    cause
}

fn evidence(
    scene: &Scene<'_>,
    table: &Table,
    rows: f64,
    deleted: Option<u64>,
    looked_up: u64,
    used: bool,
) -> Vec<Evidence> {
    let limit = if used { &WARNING_ROWS } else { &ROWS };
    let mut evidence =
        vec![Evidence::new("referring_rows", rows.round(), "rows").over(scene.limit(limit))];
    if let Some(deleted) = deleted {
        evidence.push(Evidence::new("referenced_rows_deleted", deleted, "rows"));
    }
    evidence.push(Evidence::new("executions_by_key", looked_up, ""));
    if let Some(activity) = scene.window(table.oid) {
        evidence.push(Evidence::new("seq_scan", activity.seq_scan, ""));
    }
    evidence
}
