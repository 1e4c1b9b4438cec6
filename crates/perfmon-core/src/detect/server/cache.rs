//! Whether shared buffers answer what a cache is for.

use crate::detect::Judgement;
use crate::detect::reads::Reads;
use crate::detect::words::{count, list, percent, set, setting_size, size};
use crate::facts::{Facts, Statement};
use crate::finding::{Effort, Evidence, Finding, Severity};
use crate::threshold::{Threshold, Thresholds};

pub(super) const HIT_RATIO: &str = "cache_hit_ratio";

/// Blocks found over blocks asked for.
pub(super) const INFO_RATIO: Threshold = Threshold::ratio(
    "cache_hit_info_ratio",
    0.95,
    "share of blocks found in shared buffers, below: information",
    "requirements",
);
/// See above.
pub(super) const WARNING_RATIO: Threshold = Threshold::ratio(
    "cache_hit_warning_ratio",
    0.9,
    "share of blocks found in shared buffers, below: warning",
    "requirements",
);
/// See above.
pub(super) const CRITICAL_RATIO: Threshold = Threshold::ratio(
    "cache_hit_critical_ratio",
    0.7,
    "share of blocks found in shared buffers, below, and reads cost time: critical",
    "requirements",
);
/// For so long.
pub(super) const CRITICAL_MINUTES: Threshold = Threshold::new(
    "cache_hit_critical_minutes",
    10.0,
    "recorded minutes that a critical share must have lasted",
    "requirements",
);
/// Evidence.
pub(in crate::detect) const MIN_BLOCKS: Threshold = Threshold::new(
    "cache_hit_min_blocks",
    100_000.0,
    "blocks asked for below which the share of hits says nothing",
    "pg_perfmon: 800 MB",
);
/// A few reads are no trouble, whatever their share.
pub(in crate::detect) const MIN_READS_PER_S: Threshold = Threshold::new(
    "cache_hit_min_reads_per_s",
    10.0,
    "blocks read per second below which the share of hits says nothing",
    "pg_perfmon: a single slow disk answers more",
);
/// Of the execution time.
pub(in crate::detect) const TIME_RATIO: Threshold = Threshold::ratio(
    "cache_read_time_ratio",
    0.1,
    "share of execution time spent on reads from which they are said to cost time",
    "pg_perfmon: a tenth of the time is worth an effort",
);
/// An execution that reads more, and more than a quarter of shared_buffers, is a scan of much.
pub(in crate::detect) const SCAN_BYTES: Threshold = Threshold::new(
    "cache_scan_bytes",
    33_554_432.0,
    "bytes read by one execution from which it is a large scan that no cache is meant for",
    "PostgreSQL: scans of tables over a quarter of shared_buffers do not fill them",
);

/// Share of memory that the manual gives as a start for shared_buffers.
pub(in crate::detect) const OF_MEMORY: f64 = 0.25;

pub(super) fn detect(facts: &Facts, thresholds: &Thresholds, judgement: &mut Judgement) {
    let Some(reads) = worth_judging(facts, thresholds) else {
        judgement.unknown(HIT_RATIO);
        return;
    };
    if let Some((severity, over)) = severity(facts, thresholds, &reads) {
        judgement.add(report(facts, thresholds, &reads, severity, over));
    }
}

/// The window's reads, if there are enough blocks to judge by.
pub(in crate::detect) fn worth_judging(facts: &Facts, thresholds: &Thresholds) -> Option<Reads> {
    facts.window.hours()?;
    let reads = Reads::of(facts, thresholds.of(&SCAN_BYTES))?;
    (reads.asked() >= thresholds.of(&MIN_BLOCKS)).then_some(reads)
}

/// Whether reads are many enough to be felt: more than a few a second, and more than reading a
/// database once that then stays in cache.
pub(in crate::detect) fn reads_matter(
    facts: &Facts,
    thresholds: &Thresholds,
    reads: &Reads,
) -> bool {
    let seconds = facts.window.hours().unwrap_or(0.0) * 3600.0;
    let often = (reads.read - reads.by_scans) >= thresholds.of(&MIN_READS_PER_S) * seconds;
    let cache = facts.server.bytes("shared_buffers").unwrap_or(0.0);
    let whole = facts.database.bytes.map_or(f64::MAX, |bytes| bytes as f64);
    let filling = whole <= cache && reads.read * facts.server.block_bytes as f64 <= whole;
    often && !filling
}

/// Whether reads are known to take a good part of the time, or known not to.
pub(in crate::detect) fn reads_cost(reads: &Reads, thresholds: &Thresholds) -> Option<bool> {
    reads.time_ratio().map(|share| share >= thresholds.of(&TIME_RATIO))
}

/// How bad it is, and the threshold crossed.
pub(in crate::detect) fn severity(
    facts: &Facts,
    thresholds: &Thresholds,
    reads: &Reads,
) -> Option<(Severity, f64)> {
    let ratio = reads.hit_ratio()?;
    let below = |t: &Threshold| (ratio < thresholds.of(t)).then(|| thresholds.of(t));
    let info = below(&INFO_RATIO).filter(|_| reads_matter(facts, thresholds, reads))?;
    let Some(warning) = below(&WARNING_RATIO) else { return Some((Severity::Info, info)) };
    let minutes = facts.window.hours().unwrap_or(0.0) * 60.0;
    match (reads_cost(reads, thresholds), below(&CRITICAL_RATIO)) {
        // The operating system's cache, or a quick disk, makes up for it.
        (Some(false), _) => Some((Severity::Info, warning)),
        (Some(true), Some(critical)) if minutes >= thresholds.of(&CRITICAL_MINUTES) => {
            Some((Severity::Critical, critical))
        }
        _ => Some((Severity::Warning, warning)),
    }
}

/// The value for shared_buffers in bytes, if more of it would help: a quarter of the memory, but not
/// more than there is to hold.
pub(in crate::detect) fn better_size(facts: &Facts) -> Option<f64> {
    let now = facts.server.bytes("shared_buffers")?;
    let memory = facts.server.memory_bytes? as f64;
    let quarter = memory * OF_MEMORY;
    // Other databases of the server want their part, and this one grows.
    let wanted = match facts.database.bytes.map(|bytes| bytes as f64) {
        // All of it fits already.
        Some(bytes) if bytes <= now => return None,
        Some(bytes) => (bytes * 1.5).min(quarter),
        None => quarter,
    };
    // Small steps for small databases, which would else be told to have nothing, or too much.
    let step = if wanted < 1_073_741_824.0 { 16.0 } else { 128.0 } * 1_048_576.0;
    let value = (wanted / step).floor() * step;
    (value >= now * 1.25).then_some(value)
}

/// Top-level statements that read most, and together do most of the reading.
fn readers(facts: &Facts) -> Vec<&Statement> {
    let mut all: Vec<&Statement> =
        facts.statements.iter().flatten().filter(|s| s.toplevel && s.blks_read > 0).collect();
    all.sort_by_key(|s| (std::cmp::Reverse(s.blks_read), s.statement_id));
    all.truncate(3);
    all
}

fn report(
    facts: &Facts,
    thresholds: &Thresholds,
    reads: &Reads,
    severity: Severity,
    over: f64,
) -> Finding {
    let ratio = reads.hit_ratio().unwrap_or(0.0);
    let cost = match reads.time_ratio() {
        Some(share) => format!("; reads take {} of the execution time", percent(share)),
        None => String::new(),
    };
    // The share leaves large scans out, so the count does.
    let only = if reads.by_scans > 0.0 { "Large scans left out, only" } else { "Only" };
    let title = format!(
        "{only} {} of the blocks asked for were in shared buffers, {} were read{cost}",
        percent(ratio),
        count(reads.read - reads.by_scans)
    );
    let top = readers(facts);
    let value = better_size(facts);
    let object = format!("database {}", facts.database.name);
    let remedy = remedy(&top, value);
    let mut finding = Finding::new(HIT_RATIO, severity, object, title, remedy, "requirements");
    finding.statement = value
        .map(|value| set(&facts.server, "shared_buffers", &format!("'{}'", setting_size(value))));
    finding.cause = Some(cause(facts));
    finding.evidence.push(
        Evidence::new("cache_hit_ratio", ratio, "ratio").over(over).out_of(reads.asked() as i64),
    );
    finding.evidence.push(Evidence::new("blocks_read", reads.read as i64, "pages"));
    if reads.by_scans > 0.0 {
        let scans = Evidence::new("blocks_read_by_large_scans", reads.by_scans as i64, "pages");
        finding.evidence.push(scans);
    }
    if let Some(share) = reads.time_ratio() {
        let share = Evidence::new("read_time_ratio", share, "ratio");
        let decides = severity != Severity::Info;
        finding.evidence.push(if decides { share.over(thresholds.of(&TIME_RATIO)) } else { share });
    }
    for statement in top {
        let metric = format!("blocks read by statement {}", statement.statement_id);
        finding.evidence.push(Evidence::new(metric, statement.blks_read, "pages"));
    }
    finding.share_ratio = reads.time_ratio();
    finding.effort = if value.is_some() { Effort::Medium } else { Effort::High };
    finding.gain =
        reads.time_ratio().map(|share| format!("Up to {} of the execution time.", percent(share)));
    if value.is_some() {
        finding.risk = "A restart ends all connections, and the cache starts empty.".to_owned();
    }
    finding
}

fn remedy(readers: &[&Statement], value: Option<f64>) -> String {
    let ids: Vec<String> = readers.iter().map(|s| s.statement_id.to_string()).collect();
    let who = match ids.as_slice() {
        [] => "the statements that read most".to_owned(),
        [one] => format!("statement {one}"),
        many => format!("statements {}", list(many, 3)),
    };
    let less = format!("ake {who} read less (an index, fewer rows)");
    match value {
        Some(value) => format!(
            "Raise shared_buffers to {}, which takes a restart, and m{less}.",
            setting_size(value)
        ),
        None => format!("M{less}, or give the server more memory."),
    }
}

fn cause(facts: &Facts) -> String {
    let cache = facts.server.bytes("shared_buffers");
    match (facts.database.bytes, cache) {
        (Some(bytes), Some(cache)) if bytes as f64 > cache => format!(
            "The database is {}, shared_buffers are {}: what is used does not fit.",
            size(bytes as f64),
            size(cache)
        ),
        _ => "What the statements read changes faster than the cache can keep.".to_owned(),
    }
}
