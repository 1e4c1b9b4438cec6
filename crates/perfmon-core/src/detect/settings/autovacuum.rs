//! How fast autovacuum may work, where it does not keep up.

use crate::detect::Judgement;
use crate::detect::server::horizon::holder;
use crate::detect::vacuum::tables::behind;
use crate::detect::words::{count, counted, list, set};
use crate::facts::Facts;
use crate::finding::{Evidence, Finding, Severity};
use crate::threshold::{Threshold, Thresholds};

pub(super) const COST: &str = "setting_autovacuum_cost";

/// Enough for a server with solid state storage.
pub(super) const COST_LIMIT: Threshold = Threshold::new(
    "autovacuum_cost_limit",
    2_000.0,
    "cost limit of autovacuum below which it is slowed down too much where it is behind",
    "pg_perfmon: ten times the default, up to 400 MB/s of pages made dirty",
);

pub(super) fn detect(facts: &Facts, thresholds: &Thresholds, judgement: &mut Judgement) {
    if facts.tables.is_none() {
        judgement.unknown(COST);
        return;
    }
    judgement.findings.extend(slow(facts, thresholds));
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
