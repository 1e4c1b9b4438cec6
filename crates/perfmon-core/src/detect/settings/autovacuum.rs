//! Whether autovacuum works at all, and how fast it may where it does not keep up.

use crate::detect::Judgement;
use crate::detect::server::horizon::holder;
use crate::detect::vacuum::tables::behind;
use crate::detect::words::{count, counted, effect, list, percent, set};
use crate::facts::{Facts, Table};
use crate::finding::{Effort, Evidence, Finding, Severity};
use crate::threshold::{Threshold, Thresholds};

pub(super) const AUTOVACUUM: &str = "setting_autovacuum";
pub(super) const COST: &str = "setting_autovacuum_cost";

/// Enough for a server with solid state storage.
pub(super) const COST_LIMIT: Threshold = Threshold::new(
    "autovacuum_cost_limit",
    2_000.0,
    "cost limit of autovacuum below which it is slowed down too much where it is behind",
    "pg_perfmon: ten times the default, up to 400 MB/s of pages made dirty",
);

/// Of all transaction ids.
pub(super) const OFF_AGE_RATIO: Threshold = Threshold::ratio(
    "autovacuum_off_age_ratio",
    0.25,
    "share of all transaction ids used since the last freeze from which autovacuum that is off is \
     critical",
    "pg_perfmon: the vacuum that is forced at a tenth should have frozen long ago",
);
/// Of all rows of the database.
pub(super) const OFF_DEAD_RATIO: Threshold = Threshold::ratio(
    "autovacuum_off_dead_ratio",
    0.2,
    "share of dead rows in the database from which autovacuum that is off is critical",
    "pg_perfmon: what autovacuum lets a table come to by default",
);
/// Evidence.
pub(super) const OFF_DEAD_ROWS: Threshold = Threshold::new(
    "autovacuum_off_dead_rows_min",
    1_000_000.0,
    "dead rows in the database below which autovacuum that is off is a warning, whatever their share",
    "pg_perfmon: fewer are vacuumed in seconds",
);

pub(super) fn detect(facts: &Facts, thresholds: &Thresholds, judgement: &mut Judgement) {
    match facts.server.is_on("autovacuum") {
        None => judgement.unknown(AUTOVACUUM),
        Some(true) => {}
        Some(false) => judgement.add(off(facts, thresholds)),
    }
    if facts.tables.is_none() {
        judgement.unknown(COST);
        return;
    }
    judgement.findings.extend(slow(facts, thresholds));
}

/// Transaction ids that there are before the server refuses to give out more.
const IDS: f64 = 2_147_483_648.0 - 3_000_000.0;

/// What tells how bad it is that autovacuum is off.
struct Hurts {
    age: Option<i64>,
    /// Of all transaction ids.
    used: Option<f64>,
    /// These are a danger.
    old: bool,
    dead: f64,
    /// Of all rows.
    share: f64,
    /// These are a burden.
    full: bool,
}

impl Hurts {
    fn of(facts: &Facts, thresholds: &Thresholds) -> Self {
        let age = facts.server.horizon.as_ref().map(|horizon| horizon.xid_age);
        let used = age.map(|age| age as f64 / IDS);
        let rows = |of: fn(&Table) -> Option<u64>| {
            let counted = facts.tables.iter().flatten().filter(|t| !t.partitioned).filter_map(of);
            counted.fold(0_u64, u64::saturating_add) as f64
        };
        let (dead, live) = (rows(|t| t.dead_rows), rows(|t| t.live_rows));
        let share = dead / (dead + live).max(1.0);
        Self {
            age,
            used,
            old: used.is_some_and(|used| used >= thresholds.of(&OFF_AGE_RATIO)),
            dead,
            share,
            full: dead >= thresholds.of(&OFF_DEAD_ROWS) && share >= thresholds.of(&OFF_DEAD_RATIO),
        }
    }

    /// With the thresholds of what makes it critical.
    fn evidence(&self, facts: &Facts, thresholds: &Thresholds) -> Vec<Evidence> {
        let over = |evidence: Evidence, crossed: bool, threshold: &Threshold| {
            if crossed { evidence.over(thresholds.of(threshold)) } else { evidence }
        };
        let mut all = vec![Evidence::new("autovacuum", "off", "")];
        if let (Some(age), Some(used)) = (self.age, self.used) {
            let used = Evidence::new("xids_used_ratio", used, "ratio");
            all.push(over(used, self.old, &OFF_AGE_RATIO));
            all.push(Evidence::new("age", age, "transactions"));
        }
        if facts.tables.is_some() {
            let share = Evidence::new("dead_ratio", self.share, "ratio");
            all.push(over(share, self.full, &OFF_DEAD_RATIO));
            let rows = Evidence::new("dead_rows", self.dead as i64, "rows");
            all.push(over(rows, self.full, &OFF_DEAD_ROWS));
        }
        all
    }
}

/// Autovacuum is off: how bad that is, the age of the transaction ids and the dead rows tell.
fn off(facts: &Facts, thresholds: &Thresholds) -> Finding {
    let hurts = Hurts::of(facts, thresholds);
    let evidence = hurts.evidence(facts, thresholds);
    let Hurts { used, old, share, full, .. } = hurts;
    let severity = if old || full { Severity::Critical } else { Severity::Warning };
    let mut told = Vec::new();
    if old {
        told.push(format!("{} of all transaction ids are used", percent(used.unwrap_or(0.0))));
    }
    if full {
        told.push(format!("{} of all rows are dead", percent(share)));
    }
    let title = match told.as_slice() {
        [] => "autovacuum is off: dead rows stay, statistics age, and nothing is frozen in time"
            .to_owned(),
        told => format!("autovacuum is off, and {}", told.join(" and ")),
    };
    let remedy = format!("Set autovacuum to on. {}", effect(&facts.server, "autovacuum"));
    let mut finding = Finding::new(
        AUTOVACUUM,
        severity,
        "setting autovacuum",
        title,
        remedy,
        "PostgreSQL manual, Routine Vacuuming, The Autovacuum Daemon",
    );
    finding.cause =
        Some("Only the vacuum that is forced just before wraparound still runs.".to_owned());
    finding.evidence = evidence;
    finding.statement = Some(set(&facts.server, "autovacuum", "on"));
    finding.gain = Some("Tables keep their size, plans fit the data.".to_owned());
    finding.risk = "The first runs have much to do; they are slowed down by \
        autovacuum_vacuum_cost_delay."
        .to_owned();
    finding.effort = Effort::Low;
    finding
}

fn slow(facts: &Facts, thresholds: &Thresholds) -> Option<Finding> {
    let tables = behind(facts, thresholds);
    // Speed does not help while rows must stay.
    if tables.is_empty() || holder(facts, thresholds).is_some() {
        return None;
    }
    let number = |name: &str| facts.server.number(name);
    let own = number("autovacuum_vacuum_cost_limit").filter(|limit| *limit > 0.0);
    let limit = own.or_else(|| number("vacuum_cost_limit"))?;
    let delay = number("autovacuum_vacuum_cost_delay").filter(|delay| *delay >= 0.0)?;
    let better = thresholds.of(&COST_LIMIT);
    if limit >= better || delay == 0.0 {
        return None;
    }
    let names: Vec<String> = tables.iter().map(|t| t.name.clone()).collect();
    let mut finding = Finding::new(
        COST,
        Severity::Warning,
        "setting autovacuum_vacuum_cost_limit",
        format!(
            "Autovacuum is behind on {} and slowed down: its cost limit is {}",
            counted(tables.len() as f64, "table"),
            count(limit)
        ),
        format!(
            "Set autovacuum_vacuum_cost_limit to {better:.0}; all workers share it. A reload of \
             the configuration is enough."
        ),
        "PostgreSQL manual, Automatic Vacuuming, Cost-based Vacuum Delay",
    );
    finding.cause = Some(format!("It sleeps {delay} ms each time that it has used up its limit."));
    finding.evidence.push(Evidence::new("autovacuum_cost_limit", limit, "").over(better));
    finding.evidence.push(Evidence::new("autovacuum_cost_delay", delay, "ms"));
    finding
        .evidence
        .push(Evidence::new("tables_behind", list(&names, 5), "").out_of(tables.len() as i64));
    finding.statement =
        Some(set(&facts.server, "autovacuum_vacuum_cost_limit", &format!("{better:.0}")));
    finding.gain = Some("Autovacuum gets through its tables sooner.".to_owned());
    finding.risk = "It reads and writes more at a time.".to_owned();
    Some(finding)
}
