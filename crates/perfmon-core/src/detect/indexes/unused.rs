//! Indexes that no query took over the whole history.

use std::collections::{HashMap, HashSet};

use super::scene::{Scene, entries};
use super::{Dropped, UNUSED, burden, drop_risk, drop_statement, keys, way_back, words};
use crate::detect::Judgement;
use crate::facts::{Activity, Index};
use crate::finding::{Effort, Evidence, Finding, Severity};
use crate::threshold::Threshold;

pub(super) const DAYS: Threshold = Threshold::new(
    "unused_index_days",
    7.0,
    "Days of history without a scan after which an index counts as unused; before, it is only noted.",
    "pg_perfmon: covers weekly jobs; pganalyze waits 35 days",
);
pub(super) const BYTES: Threshold = Threshold::new(
    "unused_index_bytes",
    32_768.0,
    "Size below which an unused index is not worth a word.",
    "pganalyze: 32 kB",
);
pub(super) const USES: Threshold = Threshold::new(
    "unused_index_min_table_uses",
    100.0,
    "Scans of its table and rows written to it, over the history, below which nothing is said: a table that nobody works with tells nothing.",
    "pg_perfmon",
);
pub(super) const SEEN_RATIO: Threshold = Threshold::ratio(
    "unused_index_seen_ratio",
    0.8,
    "Share of the history that an index must have been there for; one that came later is judged when it is as old as unused_index_days.",
    "pg_perfmon: tables are not read in each of the first intervals",
);

pub(super) const EACH: Threshold = Threshold::new(
    "unused_index_most_noted",
    10.0,
    "Indexes that are only not used yet, for lack of history, up to which each is a finding; more are summed up in one.",
    "pg_perfmon: a list of all indexes tells nothing",
);

const DAY_US: f64 = 86_400e6;

/// What is known of the use of an index with all its parts.
struct Use {
    /// Scans over the history.
    scans: u64,
    /// Time that the history of it covers.
    covered_us: i64,
    /// Scans since the server's statistics were reset, where known.
    total: Option<u64>,
    last_scan_us: Option<i64>,
    first_seen_us: Option<i64>,
}

/// Of a partitioned index the parts are added up; younger partitions do not make it younger.
fn use_of<'a>(scene: &Scene<'a>, index: &'a Index) -> Option<Use> {
    let leaves = scene.leaf_indexes(index);
    let scans: Option<u64> = leaves.iter().map(|i| i.history_scans).sum();
    let covered_us = leaves.iter().map(|i| i.history_covered_us).max()?;
    (covered_us > 0).then_some(Use {
        scans: scans?,
        covered_us,
        total: leaves.iter().map(|i| i.total_scans).sum(),
        last_scan_us: leaves.iter().filter_map(|i| i.last_scan_us).max(),
        first_seen_us: leaves.iter().filter_map(|i| i.first_seen_us).min(),
    })
}

/// An index that was not used.
pub(super) struct Unused {
    pub(super) index: u32,
    /// Not used for long enough to be dropped.
    pub(super) surely: bool,
    /// Only not used yet: the history is too short.
    pub(super) early: bool,
    bytes: Option<i64>,
    pub(super) finding: Finding,
}

/// Those among the indexes that are not dropped for another reason.
pub(super) fn look(scene: &Scene<'_>, dropped: &Dropped, judgement: &mut Judgement) -> Vec<Unused> {
    if scene.facts.history.covered_us == 0 || scene.facts.server.in_recovery {
        // A standby's statistics are its own, and nothing can be dropped there.
        judgement.unknown(UNUSED);
        return Vec::new();
    }
    let stands_for = stands_for(scene, dropped);
    let mut gone: HashSet<u32> = dropped.keys().copied().collect();
    let mut found = Vec::new();
    for index in scene.judged() {
        let candidate = index.usable()
            && !index.enforces()
            && !index.bound()
            && !gone.contains(&index.oid)
            && !scene.is_inherited(index.table);
        // Scans of a duplicate would be scans of the one that stays.
        let others = stands_for.get(&index.oid).map_or(Some(0), |scans| *scans);
        if !candidate || others != Some(0) {
            continue;
        }
        if let Some(unused) = judge(scene, index, &gone) {
            if unused.surely {
                gone.insert(index.oid);
            }
            found.push(unused);
        }
    }
    found
}

/// Scans of the duplicates that each index is to stand in for; `None` where these are not known.
fn stands_for(scene: &Scene<'_>, dropped: &Dropped) -> HashMap<u32, Option<u64>> {
    let mut found: HashMap<u32, Option<u64>> = HashMap::new();
    for index in scene.judged() {
        if let Some(keeper) = dropped.get(&index.oid) {
            let scans = use_of(scene, index).map(|used| used.scans);
            let sum = found.entry(*keeper).or_insert(Some(0));
            *sum = sum.zip(scans).map(|(a, b)| a.saturating_add(b));
        }
    }
    found
}

/// Adds them to the findings: each, or, where the history is too short to say more of a great many than
/// that, their number.
pub(super) fn tell(scene: &Scene<'_>, all: Vec<Unused>, judgement: &mut Judgement) {
    let (early, late): (Vec<Unused>, Vec<Unused>) = all.into_iter().partition(|u| u.early);
    late.into_iter().for_each(|unused| judgement.add(unused.finding));
    if early.len() as f64 > scene.limit(&EACH) {
        judgement.add(together(scene, &early));
    } else {
        early.into_iter().for_each(|unused| judgement.add(unused.finding));
    }
}

fn together(scene: &Scene<'_>, early: &[Unused]) -> Finding {
    const NAMED: usize = 5;
    let mut largest: Vec<&Unused> = early.iter().collect();
    largest.sort_by_key(|u| (std::cmp::Reverse(u.bytes), &u.finding.object));
    let names: Vec<String> =
        largest.iter().take(NAMED).map(|u| words::name(&u.finding.object)).collect();
    let bytes: Option<i64> = early.iter().map(|u| u.bytes).sum();
    let weight = bytes.map_or(String::new(), |b| format!(" and take {}", words::size(b as f64)));
    let days = scene.facts.history.covered_us as f64 / DAY_US;
    let mut finding = Finding::new(
        UNUSED,
        Severity::Info,
        format!("database {}", scene.facts.database.name),
        format!(
            "{} indexes were not scanned in the {} of this history{weight}",
            words::count(early.len() as f64),
            words::span(days * 86_400.0)
        ),
        format!(
            "Wait until {} of history are there: those that are not scanned by then are told one by one.",
            words::span(scene.limit(&DAYS) * 86_400.0)
        ),
        REFERENCE,
    );
    finding.cause = Some("No query of this server took them yet; the history is young.".to_owned());
    finding.evidence = vec![
        Evidence::new("indexes", early.len() as i64, "").over(scene.limit(&EACH)),
        Evidence::new("history_days", days, "days"),
        Evidence::new("largest", names.join(", "), ""),
    ];
    if let Some(bytes) = bytes {
        finding.evidence.push(Evidence::new("index_bytes", bytes, "bytes"));
    }
    finding
}

const REFERENCE: &str = "PostgreSQL manual, 28.2 (pg_stat_all_indexes)";

/// What is to be said of one.
fn judge<'a>(scene: &Scene<'a>, index: &'a Index, gone: &HashSet<u32>) -> Option<Unused> {
    let used = use_of(scene, index)?;
    let days = used.covered_us as f64 / DAY_US;
    let enough = days >= scene.limit(&DAYS);
    let seen_before = used.total.unwrap_or(0) > 0;
    if used.scans > 0 || seen_before && !enough || is_new(scene, &used) || is_recent(scene, &used) {
        return None;
    }
    let size = scene.bytes(index);
    if size.is_some_and(|bytes| (bytes as f64) < scene.limit(&BYTES)) {
        return None;
    }
    let table = scene.history(index.table)?;
    let others = scene.indexes_of(index.table).iter();
    let scanned: u64 = others.filter_map(|i| i.history_scans).sum();
    let uses =
        scanned.max(table.idx_scan).saturating_add(table.seq_scan).saturating_add(entries(&table));
    if (uses as f64) < scene.limit(&USES) {
        return None;
    }
    let key = keys::only_support(scene, index, gone);
    let severity = match key {
        None if enough => burden(scene, index),
        _ => Severity::Info,
    };
    let mut finding = written(scene, index, &used, severity, size);
    finding.evidence = evidence(scene, &used, enough, size, uses, &table);
    let surely = enough && key.is_none();
    if let Some(key) = key {
        finding.remedy = format!(
            "Keep it as long as rows of the table that the foreign key {} refers to are deleted or \
             their keys changed: without it, each such change reads the whole table. Otherwise drop it.",
            words::name(&key)
        );
    } else {
        // Whoever is told to wait is given nothing to run.
        finding.statement = drop_statement(index).filter(|_| enough);
        finding.impact.saved_bytes = size;
    }
    Some(Unused { index: index.oid, surely, early: !enough, bytes: size, finding })
}

/// Younger than the time after which it may be judged, and than most of the history.
fn is_new(scene: &Scene<'_>, used: &Use) -> bool {
    let Some(first) = used.first_seen_us else { return false };
    let age_us = scene.facts.now_us.saturating_sub(first) as f64;
    let seen_us = age_us.min(used.covered_us as f64);
    let most = scene.facts.history.covered_us as f64 * scene.limit(&SEEN_RATIO);
    age_us / DAY_US < scene.limit(&DAYS) && seen_us < most
}

/// Scanned in the last days, though not in what the history covers.
fn is_recent(scene: &Scene<'_>, used: &Use) -> bool {
    let ago = |at| scene.facts.now_us.saturating_sub(at) as f64 / DAY_US;
    used.last_scan_us.is_some_and(|at| ago(at) < scene.limit(&DAYS))
}

fn written<'a>(
    scene: &Scene<'a>,
    index: &'a Index,
    used: &Use,
    severity: Severity,
    size: Option<i64>,
) -> Finding {
    let name = words::name(&index.name);
    let days = used.covered_us as f64 / DAY_US;
    let enough = days >= scene.limit(&DAYS);
    let weight = size.map_or(String::new(), |b| format!(" and takes {}", words::size(b as f64)));
    let remedy = if enough {
        format!("Drop {name}.")
    } else {
        format!(
            "Wait until {} of history are there; if it is not scanned by then, drop it.",
            words::span(scene.limit(&DAYS) * 86_400.0)
        )
    };
    let mut finding = Finding::new(
        UNUSED,
        severity,
        index.name.clone(),
        format!("Index {name} was not scanned once in {}{weight}", words::span(days * 86_400.0)),
        remedy,
        REFERENCE,
    );
    let before = match used.total {
        Some(total) if total > 0 => format!(
            " Before this history began it was scanned {}.",
            words::amount(total as f64, "time")
        ),
        _ => String::new(),
    };
    finding.cause = Some(format!("No query of this server took it.{before}"));
    finding.effort = Effort::Low;
    finding.risk = format!(
        "What runs less often than the history reaches back may need it.{}{}{}",
        standbys(scene),
        drop_risk(index),
        way_back(index)
    );
    let writes = scene.writes_per_hour(index.table).filter(|rows| *rows >= 1.0);
    finding.gain = writes.map(|rows| {
        format!("{} fewer index entries to write per hour", words::number(rows.round()))
    });
    finding
}

/// Scans on standbys are counted there.
fn standbys(scene: &Scene<'_>) -> String {
    match scene.facts.server.standbys {
        Some(0) => String::new(),
        Some(n) => format!(
            " Scans on the {n} standby server(s) are not counted here: ask pg_stat_all_indexes there first."
        ),
        None => {
            " If there are standby servers that queries run on, their scans are not counted here."
                .to_owned()
        }
    }
}

fn evidence(
    scene: &Scene<'_>,
    used: &Use,
    enough: bool,
    size: Option<i64>,
    uses: u64,
    table: &Activity,
) -> Vec<Evidence> {
    let samples = i64::try_from(uses).unwrap_or(i64::MAX);
    let days = Evidence::new("history_days", used.covered_us as f64 / DAY_US, "days");
    let mut evidence = vec![
        Evidence::new("history_scans", used.scans, "").out_of(samples),
        if enough { days.over(scene.limit(&DAYS)) } else { days },
    ];
    if let Some(bytes) = size {
        evidence.push(Evidence::new("index_bytes", bytes, "bytes").over(scene.limit(&BYTES)));
    }
    if let Some(total) = used.total {
        evidence.push(Evidence::new("scans_since_reset", total, ""));
    }
    evidence.push(Evidence::new("rows_written", entries(table), "rows"));
    evidence
}
