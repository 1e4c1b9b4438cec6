//! Whether statements are counted, and whether the counters are kept.

use crate::detect::words::{alter_system, count, counted, effect, percent, set, with_library};
use crate::detect::{Judgement, rate};
use crate::facts::Facts;
use crate::finding::{Effort, Evidence, Finding, Severity};
use crate::threshold::{Threshold, Thresholds};

pub(super) const EVICTION: &str = "statement_eviction";
pub(super) const MISSING: &str = "statement_counters_missing";

/// Runs of eviction.
pub(super) const EVICTIONS: Threshold = Threshold::new(
    "statement_evictions_per_hour",
    1.0,
    "runs of eviction from pg_stat_statements per hour: information",
    "pg_perfmon: a run loses a twentieth of the entries",
);
/// See above.
pub(super) const WARNING_EVICTIONS: Threshold = Threshold::new(
    "statement_evictions_warning_per_hour",
    6.0,
    "runs of eviction from pg_stat_statements per hour: warning",
    "pg_perfmon: three tenths of the entries in an hour",
);
/// Larger is no remedy.
pub(super) const MOST_ENTRIES: Threshold = Threshold::new(
    "statement_entries_max",
    20_000.0,
    "the most entries of pg_stat_statements that are proposed",
    "evictions among 50,000 entries were seen to stall a server for hundreds of ms",
);

/// Share of the entries that one run evicts.
const EVICTED: f64 = 0.05;
const MANUAL: &str = "PostgreSQL manual, pg_stat_statements";
const IDS: &str = "compute_query_id";
const TRACK: &str = "pg_stat_statements.track";

pub(super) fn detect(facts: &Facts, thresholds: &Thresholds, judgement: &mut Judgement) {
    let runs = facts.server.statement_deallocs;
    let per_hour = runs.and_then(|runs| rate(facts, thresholds, runs as f64));
    match (runs, facts.server.statement_capacity, per_hour) {
        (Some(runs), Some(capacity), Some(per_hour)) => {
            if runs > 1 && per_hour >= thresholds.of(&EVICTIONS) {
                judgement.add(evicted(facts, thresholds, runs as f64, capacity as f64, per_hour));
            }
        }
        _ => judgement.unknown(EVICTION),
    }
    if facts.server.settings.is_empty() {
        judgement.unknown(MISSING);
    } else {
        judgement.findings.extend(missing(facts));
    }
}

fn evicted(
    facts: &Facts,
    thresholds: &Thresholds,
    runs: f64,
    capacity: f64,
    per_hour: f64,
) -> Finding {
    let warning = per_hour >= thresholds.of(&WARNING_EVICTIONS);
    let (severity, over) = if warning {
        (Severity::Warning, thresholds.of(&WARNING_EVICTIONS))
    } else {
        (Severity::Info, thresholds.of(&EVICTIONS))
    };
    let title = format!(
        "pg_stat_statements drops entries {} per hour, {} of its {} each time",
        counted(per_hour.ceil(), "time"),
        percent(EVICTED),
        count(capacity)
    );
    // What was seen in the window, if nothing was seen twice, and room for as much again.
    let wanted = (capacity * (1.0 + EVICTED * runs)).max(capacity * 2.0);
    let most = thresholds.of(&MOST_ENTRIES);
    let value = (wanted / 1000.0).ceil() * 1000.0;
    let fits = value <= most || capacity < most / 2.0;
    let value = value.min(most);
    let remedy = if fits {
        format!(
            "Raise pg_stat_statements.max to {value:.0}, which takes a restart, and have \
             applications send parameters instead of values and lists of varying length."
        )
    } else {
        "Have applications send parameters instead of values, = ANY of an array instead of IN \
         lists of varying length, and the same names for temporary tables: more entries would not \
         help."
            .to_owned()
    };
    let mut finding = Finding::new(EVICTION, severity, "server", title, remedy, MANUAL);
    finding.cause = Some(
        "More different statements run than pg_stat_statements has room for; the least used are \
         dropped, and what they did since the last snapshot is lost."
            .to_owned(),
    );
    finding.evidence.push(
        Evidence::new("evictions_per_hour", per_hour, "").over(over).out_of(facts.window.intervals),
    );
    finding.evidence.push(Evidence::new("statement_capacity", capacity as i64, ""));
    if let Some(entries) = facts.server.statement_entries {
        finding.evidence.push(Evidence::new("statement_entries", entries, ""));
    }
    if fits {
        finding.statement =
            Some(set(&facts.server, "pg_stat_statements.max", &format!("{value:.0}")));
        finding.risk = "More entries take more shared memory, and longer to read.".to_owned();
    }
    finding.effort = if fits { Effort::Medium } else { Effort::High };
    finding.gain = Some("Statements are counted in full.".to_owned());
    finding
}

fn missing(facts: &Facts) -> Option<Finding> {
    let server = &facts.server;
    let word = |name: &str| server.setting(name).map(|s| s.shown.as_str());
    let loaded = server.setting("pg_stat_statements.max").is_some();
    let installed = server.extensions.iter().any(|(name, _)| name == "pg_stat_statements");
    let (why, remedy, statement, effort) = if !loaded {
        let libraries = word("shared_preload_libraries");
        (
            "the library pg_stat_statements is not preloaded",
            "Preload pg_stat_statements, restart the server, and create the extension in this \
             database."
                .to_owned(),
            libraries.map(|list| {
                let value = with_library(list, "pg_stat_statements");
                alter_system("shared_preload_libraries", &value, true)
            }),
            Effort::Medium,
        )
    } else if !installed {
        (
            "the extension pg_stat_statements is not in this database",
            "Create the extension.".to_owned(),
            Some("CREATE EXTENSION pg_stat_statements;".to_owned()),
            Effort::Low,
        )
    } else if word(IDS) == Some("off") {
        (
            "compute_query_id is off",
            format!("Let the server compute identifiers of statements. {}", effect(server, IDS)),
            Some(set(server, IDS, "'auto'")),
            Effort::Low,
        )
    } else if word(TRACK) == Some("none") {
        (
            "pg_stat_statements.track is none",
            format!("Count the statements of clients. {}", effect(server, TRACK)),
            Some(set(server, TRACK, "'top'")),
            Effort::Low,
        )
    } else {
        return None;
    };
    let title = format!("Statements are not counted: {why}");
    let mut finding = Finding::new(MISSING, Severity::Warning, "server", title, remedy, MANUAL);
    finding.cause =
        Some("Without counters nobody knows which statements take the time.".to_owned());
    let counted_now = facts.statements.as_ref().map_or(0, Vec::len);
    finding.evidence.push(Evidence::new("statements_counted", counted_now as i64, ""));
    finding.evidence.push(Evidence::new("reason", why, ""));
    finding.statement = statement;
    finding.effort = effort;
    finding.gain = Some("Slow statements and their causes become visible.".to_owned());
    finding.risk = "Counting takes a little of every statement's time.".to_owned();
    Some(finding)
}
