//! How near transaction ids and multixacts are to the end of what 32 bits can tell apart.

use crate::detect::Judgement;
use crate::detect::server::horizon::{describe, holder};
use crate::detect::words::{count, date, percent, span};
use crate::facts::{Facts, Table};
use crate::finding::{Effort, Evidence, Finding, Severity};
use crate::threshold::{Threshold, Thresholds};

pub(super) const WRAPAROUND: &str = "wraparound";
pub(super) const MULTIXACT: &str = "multixact_wraparound";

/// Of the ids that there are.
pub(super) const WARNING_RATIO: Threshold = Threshold::ratio(
    "wraparound_warning_ratio",
    0.5,
    "share of all transaction ids (or multixacts) used since the last freeze: warning",
    "pganalyze",
);
/// See above.
pub(super) const CRITICAL_RATIO: Threshold = Threshold::ratio(
    "wraparound_critical_ratio",
    0.8,
    "share of all transaction ids (or multixacts) used since the last freeze: critical",
    "pganalyze",
);
/// Of the age at which autovacuum must freeze.
pub(super) const FREEZE_RATIO: Threshold = Threshold::new(
    "wraparound_freeze_factor",
    2.0,
    "age over the one at which autovacuum is forced to freeze",
    "pg_perfmon: a forced freeze that works ends long before",
);
/// See above, for servers that were told to wait for long.
pub(super) const DUE_RATIO: Threshold = Threshold::new(
    "wraparound_due_factor",
    1.1,
    "age over the one at which autovacuum is forced to freeze, below which the share of ids used \
     only matters when critical",
    "pg_perfmon: the freeze has just begun",
);
/// Till the server refuses to write.
pub(super) const CRITICAL_DAYS: Threshold = Threshold::new(
    "wraparound_critical_days",
    7.0,
    "days until the server refuses to write, once over the warning: critical",
    "pg_perfmon: time to vacuum a large database",
);

/// The server refuses to give out ids when fewer than these are left, out of half of 32 bits.
const LIMIT: f64 = 2_147_483_648.0 - 3_000_000.0;
const MANUAL: &str =
    "PostgreSQL manual, Routine Vacuuming, Preventing Transaction ID Wraparound Failures";
/// Most tables named.
const MOST_TABLES: usize = 5;
/// A table of this share of its database's age is among those that make it old.
const AMONG_OLDEST: f64 = 0.8;

/// One of the two kinds of ids.
struct Ids<'a> {
    kind: &'static str,
    noun: &'static str,
    unit: &'static str,
    /// Of the oldest database.
    age: i64,
    /// That database.
    database: &'a str,
    /// Setting of the age at which autovacuum must freeze.
    setting: &'static str,
    per_second: Option<f64>,
    of_table: fn(&Table) -> Option<i64>,
}

pub(super) fn detect(facts: &Facts, thresholds: &Thresholds, judgement: &mut Judgement) {
    let Some(horizon) = &facts.server.horizon else {
        judgement.unknown(WRAPAROUND);
        judgement.unknown(MULTIXACT);
        return;
    };
    let both = [
        Ids {
            kind: WRAPAROUND,
            noun: "transaction ids",
            unit: "transactions",
            age: horizon.xid_age,
            database: &horizon.database,
            setting: "autovacuum_freeze_max_age",
            per_second: horizon.xids_per_s,
            of_table: |table| table.xid_age,
        },
        Ids {
            kind: MULTIXACT,
            noun: "multixacts",
            unit: "multixacts",
            age: horizon.mxid_age,
            database: &horizon.mxid_database,
            setting: "autovacuum_multixact_freeze_max_age",
            per_second: None,
            of_table: |table| table.mxid_age,
        },
    ];
    for ids in both {
        if let Some(finding) = look(facts, thresholds, &ids) {
            judgement.add(finding);
        }
    }
}

fn look(facts: &Facts, thresholds: &Thresholds, ids: &Ids<'_>) -> Option<Finding> {
    let age = ids.age as f64;
    let used = age / LIMIT;
    let freeze_at = facts.server.number(ids.setting);
    // Half of all ids is no trouble where autovacuum was told to wait for longer.
    let due = freeze_at.is_none_or(|at| age > at * thresholds.of(&DUE_RATIO));
    let overdue = freeze_at.is_some_and(|at| age > at * thresholds.of(&FREEZE_RATIO));
    let near = used >= thresholds.of(&WARNING_RATIO) && due;
    let left = (LIMIT - age).max(0.0);
    let left_s = ids.per_second.filter(|rate| *rate > 0.0).map(|rate| left / rate);
    let soon = left_s.is_some_and(|s| s <= thresholds.of(&CRITICAL_DAYS) * 86_400.0);
    let (severity, over) = if used >= thresholds.of(&CRITICAL_RATIO) {
        (Severity::Critical, thresholds.of(&CRITICAL_RATIO))
    } else if near {
        let severity = if soon { Severity::Critical } else { Severity::Warning };
        (severity, thresholds.of(&WARNING_RATIO))
    } else if overdue {
        (Severity::Warning, thresholds.of(&FREEZE_RATIO) * freeze_at? / LIMIT)
    } else {
        return None;
    };
    Some(report(facts, thresholds, ids, severity, &Ends { used, over, left, left_s, freeze_at }))
}

/// How far it is.
struct Ends {
    used: f64,
    over: f64,
    left: f64,
    left_s: Option<f64>,
    freeze_at: Option<f64>,
}

fn report(
    facts: &Facts,
    thresholds: &Thresholds,
    ids: &Ids<'_>,
    severity: Severity,
    ends: &Ends,
) -> Finding {
    // Beyond a few decades there is no date worth naming.
    let outage = ends.left_s.filter(|s| *s < 1e9).map(|s| facts.now_us + (s * 1e6) as i64);
    let when = match (outage, ends.left_s) {
        (Some(at), Some(s)) => {
            format!(", the server refuses to write in {} ({})", span(s), date(at))
        }
        _ => ", at 100 % the server refuses to write".to_owned(),
    };
    let title = format!(
        "Database {} has used {} of all {} since it was last frozen{when}",
        ids.database,
        percent(ends.used),
        ids.noun
    );
    let held = holder(facts, thresholds);
    let remedy = match held {
        Some(holder) => format!(
            "End {} first, which keeps rows from being frozen; then vacuum the oldest tables.",
            describe(holder)
        ),
        None => "Vacuum the oldest tables now, and find out why autovacuum does not get through \
            them: locks taken over and over, or its cost limit."
            .to_owned(),
    };
    let object = format!("database {}", ids.database);
    let mut finding = Finding::new(ids.kind, severity, object, title, remedy, MANUAL);
    finding.cause = Some(match held {
        Some(holder) => format!("Rows must stay unfrozen for {}.", describe(holder)),
        None => {
            "Autovacuum has not frozen the oldest tables, though their age forces it to.".to_owned()
        }
    });
    let age = Evidence::new("age", ids.age, ids.unit);
    finding.evidence.push(age);
    finding.evidence.push(Evidence::new("used_ratio", ends.used, "ratio").over(ends.over));
    finding.evidence.push(Evidence::new("left", ends.left as i64, ids.unit));
    if let Some(at) = ends.freeze_at {
        finding.evidence.push(Evidence::new(ids.setting, at as i64, ids.unit));
    }
    if let Some(rate) = ids.per_second {
        finding
            .evidence
            .push(Evidence::new("used_per_s", rate, ids.unit).out_of(facts.window.intervals));
    }
    finding.impact.outage_at_us = outage;
    finding.effort = Effort::Medium;
    finding.risk = "Freezing reads and writes large parts of the tables.".to_owned();
    finding.gain =
        Some(format!("{} more {} until the next time.", count(ends.used * LIMIT), ids.noun));
    oldest(facts, ids, &mut finding);
    finding
}

/// Names the tables that are about as old as their database, and vacuums them.
fn oldest(facts: &Facts, ids: &Ids<'_>, finding: &mut Finding) {
    if ids.database != facts.database.name {
        finding.remedy = format!("{} Connect to database {}.", finding.remedy, ids.database);
        return;
    }
    let mut tables: Vec<(&Table, i64)> = facts
        .tables
        .iter()
        .flatten()
        .filter_map(|table| Some((table, (ids.of_table)(table)?)))
        .filter(|(_, age)| *age as f64 >= AMONG_OLDEST * ids.age as f64)
        .collect();
    tables.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.name.cmp(&b.0.name)));
    for (table, age) in tables.iter().take(MOST_TABLES) {
        finding.evidence.push(Evidence::new(format!("age of {}", table.name), *age, ids.unit));
    }
    let vacuum = |(table, _): &(&Table, i64)| format!("VACUUM (FREEZE, VERBOSE) {};", table.name);
    let lines: Vec<String> = tables.iter().take(MOST_TABLES).map(vacuum).collect();
    let whole = || "VACUUM (FREEZE, VERBOSE);".to_owned();
    finding.statement = Some(if lines.is_empty() { whole() } else { lines.join("\n") });
}
