//! Settings of memory against what the machine has and what the window shows.

use crate::detect::Judgement;
use crate::detect::server::{cache, temp};
use crate::detect::words::{counted, effect, needs_restart, percent, set, setting_size, size};
use crate::facts::Facts;
use crate::finding::{Effort, Evidence, Finding, Severity};
use crate::threshold::{Threshold, Thresholds};

pub(super) const SHARED_BUFFERS: &str = "setting_shared_buffers";
pub(super) const CACHE_SIZE: &str = "setting_effective_cache_size";
pub(super) const WORK_MEM: &str = "setting_work_mem";
pub(super) const MAINTENANCE: &str = "setting_maintenance_work_mem";

/// shared_buffers beyond it are too much.
pub(super) const MOST_OF_MEMORY: Threshold = Threshold::ratio(
    "shared_buffers_max_ratio",
    0.5,
    "share of the memory above which shared_buffers are too large",
    "PostgreSQL manual: more than 40 % is unlikely to work better",
);
/// Of the memory.
pub(super) const CACHE_SIZE_RATIO: Threshold = Threshold::ratio(
    "effective_cache_size_min_ratio",
    0.25,
    "share of the memory below which effective_cache_size is too small for it",
    "pg_perfmon: half to three quarters are usual",
);
/// Of all bytes that statements spill.
pub(super) const SPILL_RATIO: Threshold = Threshold::ratio(
    "work_mem_spill_ratio",
    0.5,
    "share of temporary files that a larger work_mem for all would avoid",
    "pg_perfmon: below it, single statements are to be given more",
);
/// Statements that would profit.
pub(super) const MIN_SPILLING: Threshold = Threshold::new(
    "work_mem_min_statements",
    3.0,
    "statements that spill, below which work_mem is not raised for all",
    "pg_perfmon",
);

const MANUAL: &str = "PostgreSQL manual, Resource Consumption, Memory";
const MB: f64 = 1_048_576.0;
const GB: f64 = 1_073_741_824.0;

pub(super) fn detect(facts: &Facts, thresholds: &Thresholds, judgement: &mut Judgement) {
    let memory = facts.server.memory_bytes.filter(|bytes| *bytes > 0).map(|bytes| bytes as f64);
    match (memory, facts.server.bytes("shared_buffers")) {
        (Some(memory), Some(now)) if now > memory * thresholds.of(&MOST_OF_MEMORY) => {
            judgement.add(too_large(facts, thresholds, memory, now));
        }
        (Some(memory), Some(now)) => match cache::worth_judging(facts, thresholds) {
            Some(_) => judgement.findings.extend(too_small(facts, thresholds, memory, now)),
            None => judgement.unknown(SHARED_BUFFERS),
        },
        _ => judgement.unknown(SHARED_BUFFERS),
    }
    match (memory, facts.server.bytes("effective_cache_size"), facts.database.bytes) {
        (Some(memory), Some(now), Some(data)) => {
            judgement.findings.extend(cache_size(facts, thresholds, (memory, now, data as f64)));
        }
        _ => judgement.unknown(CACHE_SIZE),
    }
    match temp::spills(facts, thresholds) {
        None => judgement.unknown(WORK_MEM),
        Some(spills) => judgement.findings.extend(work_mem(facts, thresholds, &spills)),
    }
    match &facts.tables {
        None => judgement.unknown(MAINTENANCE),
        Some(_) => judgement.findings.extend(maintenance(facts)),
    }
}

/// A finding about one setting, with the value to set.
fn propose(
    facts: &Facts,
    kind: &str,
    severity: Severity,
    (name, value): (&str, &str),
    title: String,
    why: &str,
) -> Finding {
    let restart = needs_restart(&facts.server, name);
    let remedy = format!("Set {name} to {value}: {why}. {}", effect(&facts.server, name));
    let mut finding =
        Finding::new(kind, severity, format!("setting {name}"), title, remedy, MANUAL);
    finding.statement = Some(set(&facts.server, name, &format!("'{value}'")));
    finding.effort = if restart { Effort::Medium } else { Effort::Low };
    finding
}

fn too_small(facts: &Facts, thresholds: &Thresholds, memory: f64, now: f64) -> Option<Finding> {
    let reads = cache::worth_judging(facts, thresholds)?;
    let (severity, over) = cache::severity(facts, thresholds, &reads)?;
    let better = cache::better_size(facts)?;
    let ratio = reads.hit_ratio()?;
    let apart = if reads.by_scans > 0.0 { ", large scans left out" } else { "" };
    let title = format!(
        "shared_buffers are {} of {} memory, and {} of the blocks asked for were not in them{apart}",
        size(now),
        size(memory),
        percent(1.0 - ratio)
    );
    let value = setting_size(better);
    let why = "a quarter of the memory, or what the database needs if that is less";
    // What it costs is said by the finding about cache hits.
    let mut finding = propose(
        facts,
        SHARED_BUFFERS,
        severity.min(Severity::Warning),
        ("shared_buffers", &value),
        title,
        why,
    );
    finding.cause = Some("The cache is smaller than what the statements use.".to_owned());
    finding.evidence.push(
        Evidence::new("cache_hit_ratio", ratio, "ratio").over(over).out_of(reads.asked() as i64),
    );
    finding.evidence.push(Evidence::new("shared_buffers", now as i64, "bytes"));
    finding.evidence.push(Evidence::new("memory", memory as i64, "bytes"));
    if let Some(bytes) = facts.database.bytes {
        finding.evidence.push(Evidence::new("database", bytes, "bytes"));
    }
    finding.gain = Some("Fewer reads from outside.".to_owned());
    finding.risk =
        "A restart ends all connections; other programs of the machine have less memory."
            .to_owned();
    Some(finding)
}

fn too_large(facts: &Facts, thresholds: &Thresholds, memory: f64, now: f64) -> Finding {
    let better = (memory * cache::OF_MEMORY / (128.0 * MB)).floor().max(1.0) * 128.0 * MB;
    let title =
        format!("shared_buffers take {} of the memory ({})", percent(now / memory), size(memory));
    let value = setting_size(better);
    let mut finding = propose(
        facts,
        SHARED_BUFFERS,
        Severity::Info,
        ("shared_buffers", &value),
        title,
        "a quarter of the memory, so that sessions and the system's own cache have room",
    );
    finding.cause = Some(
        "Pages lie twice in memory, and little is left for sorts, hashes and sessions.".to_owned(),
    );
    finding.evidence.push(
        Evidence::new("shared_buffers_ratio", now / memory, "ratio")
            .over(thresholds.of(&MOST_OF_MEMORY)),
    );
    finding.gain = Some("No swapping, and no sessions killed for lack of memory.".to_owned());
    finding.risk = "A restart ends all connections.".to_owned();
    finding
}

fn cache_size(
    facts: &Facts,
    thresholds: &Thresholds,
    (memory, now, data): (f64, f64, f64),
) -> Option<Finding> {
    let least = memory * thresholds.of(&CACHE_SIZE_RATIO);
    // A database that fits into what the planner counts on is planned alike with more.
    let (title, over) = if now < least && data > now {
        (format!("effective_cache_size is {}, on a machine of {}", size(now), size(memory)), least)
    } else if now > memory && data > memory {
        (
            format!(
                "effective_cache_size is {}, more than the machine has ({})",
                size(now),
                size(memory)
            ),
            memory,
        )
    } else {
        return None;
    };
    let step = if memory < 4.0 * GB { 64.0 * MB } else { GB };
    let better = ((memory * 0.7) / step).floor() * step;
    let value = setting_size(better);
    let mut finding = propose(
        facts,
        CACHE_SIZE,
        Severity::Info,
        ("effective_cache_size", &value),
        title,
        "what shared_buffers and the system's cache hold together, about two thirds of the memory",
    );
    finding.cause = Some(
        if now < memory {
            "The planner takes index scans for dearer than they are, since it thinks that little \
             is cached."
        } else {
            "The planner takes index scans for cheaper than they are, since it thinks that all is \
             cached."
        }
        .to_owned(),
    );
    finding.evidence.push(Evidence::new("effective_cache_size", now as i64, "bytes").over(over));
    finding.evidence.push(Evidence::new("memory", memory as i64, "bytes"));
    finding.evidence.push(Evidence::new("database", data as i64, "bytes"));
    finding.gain = Some("Plans that fit the machine. No memory is taken by it.".to_owned());
    finding.risk = "Plans may change.".to_owned();
    Some(finding)
}

fn work_mem(facts: &Facts, thresholds: &Thresholds, spills: &[temp::Spill<'_>]) -> Option<Finding> {
    let now = facts.server.bytes("work_mem")?;
    let memory = facts.server.memory_bytes.map(|bytes| bytes as f64)?;
    let connections = facts.server.number("max_connections")?.max(1.0);
    // What every connection may take at once.
    let most = temp::power_of_two(memory / 4.0 / connections) / 2.0;
    let helped = || spills.iter().filter(|s| s.sorts() && s.need <= most && s.need > now);
    let all: f64 = spills.iter().map(|s| s.per_hour).sum();
    let avoided: f64 = helped().map(|s| s.per_hour).sum();
    let enough = helped().count() as f64 >= thresholds.of(&MIN_SPILLING);
    if !enough || avoided < all * thresholds.of(&SPILL_RATIO) {
        return None;
    }
    let need = helped().map(|s| s.need).fold(now, f64::max);
    let value = setting_size(need);
    let title = format!(
        "work_mem is {}: {} write {} per hour to temporary files for lack of it",
        size(now),
        counted(helped().count() as f64, "statement"),
        size(avoided)
    );
    let mut finding = propose(
        facts,
        WORK_MEM,
        Severity::Info,
        ("work_mem", &value),
        title,
        "enough for these statements, and no more than every connection may take at once",
    );
    finding.cause = Some("Many statements need a little more than they may take.".to_owned());
    finding.evidence.push(
        Evidence::new("temp_bytes_avoided_per_hour", avoided as i64, "bytes")
            .over(all * thresholds.of(&SPILL_RATIO)),
    );
    finding.evidence.push(Evidence::new("statements", helped().count() as i64, ""));
    finding.evidence.push(Evidence::new("max_connections", connections as i64, ""));
    finding.evidence.push(Evidence::new("memory", memory as i64, "bytes"));
    finding.gain = Some("No temporary files for them.".to_owned());
    finding.risk = format!("Each sort and hash of each session may take {value}.");
    Some(finding)
}

/// Memory of autovacuum for one dead row, before 17.
const DEAD_ROW_BYTES: f64 = 6.0;

/// Autovacuum has to go through all indexes of a table more than once, because it cannot remember all
/// dead rows.
fn maintenance(facts: &Facts) -> Option<Finding> {
    let server = &facts.server;
    let own = server.bytes("autovacuum_work_mem").filter(|bytes| *bytes > 0.0);
    let name = if own.is_some() { "autovacuum_work_mem" } else { "maintenance_work_mem" };
    let now = own.or_else(|| server.bytes("maintenance_work_mem"))?;
    let memory = server.memory_bytes.map(|bytes| bytes as f64)?;
    if server.major >= 17 {
        return None;
    }
    let dead = |t: &&crate::facts::Table| t.dead_rows.map(|rows| rows as f64 * DEAD_ROW_BYTES);
    let table = facts.tables.iter().flatten().max_by_key(|t| t.dead_rows)?;
    let need = dead(&table)?;
    let workers = server.number("autovacuum_max_workers").unwrap_or(3.0).max(1.0);
    // It never takes more than a gigabyte.
    let most = (memory / 16.0).min(GB).max(now);
    let better = temp::power_of_two(need).min(most);
    if need <= now || better < now * 1.5 {
        return None;
    }
    let value = setting_size((better / MB).floor() * MB);
    let title = format!(
        "{name} of {} is too little for the dead rows of {}: its indexes are read {}",
        size(now),
        table.name,
        counted((need / now).ceil(), "time")
    );
    let mut finding = propose(
        facts,
        MAINTENANCE,
        Severity::Info,
        (name, &value),
        title,
        "room for the dead rows of the largest table, a sixteenth of the memory at most",
    );
    finding.cause = Some(
        "VACUUM remembers dead rows in it, and goes through all indexes when it is full."
            .to_owned(),
    );
    let over = Evidence::new("dead_rows_bytes", need as i64, "bytes").over(now);
    finding.evidence.push(over);
    finding.evidence.push(Evidence::new("autovacuum_max_workers", workers as i64, ""));
    finding.evidence.push(Evidence::new("memory", memory as i64, "bytes"));
    finding.gain = Some("One pass through the indexes instead of several.".to_owned());
    finding.risk = format!("Each of {} workers of autovacuum may take it.", workers);
    Some(finding)
}
