//! What a restart of the server costs while its cache is empty.

use crate::detect::Judgement;
use crate::detect::words::{alter_system, moment, percent, with_library};
use crate::facts::Facts;
use crate::finding::{Effort, Evidence, Finding, Severity};
use crate::threshold::{Threshold, Thresholds};

pub(super) const COLD_CACHE: &str = "cold_cache";

/// In the ten minutes after a start.
pub(super) const HIT_RATIO: Threshold = Threshold::ratio(
    "cold_cache_hit_ratio",
    0.9,
    "share of blocks found below which the cache was cold after a start, and above which it is warm",
    "requirements: the warning for cache hits",
);
/// Against later.
pub(super) const DROP_RATIO: Threshold = Threshold::ratio(
    "cold_cache_drop_ratio",
    0.05,
    "by how much that share must lie below the share later on",
    "pg_perfmon: else the start is not the reason",
);
/// Evidence.
pub(super) const MIN_READS: Threshold = Threshold::new(
    "cold_cache_min_blocks",
    10_000.0,
    "blocks read after a start, and asked for later, below which nothing is said",
    "pg_perfmon: 80 MB",
);

pub(super) fn detect(facts: &Facts, thresholds: &Thresholds, judgement: &mut Judgement) {
    let libraries = facts.server.setting("shared_preload_libraries").map(|s| s.shown.as_str());
    let prewarms = libraries.is_some_and(|list| list.contains("pg_prewarm"))
        && facts.server.is_on("pg_prewarm.autoprewarm") != Some(false);
    if prewarms {
        return;
    }
    let database = &facts.database;
    let ratio = |(read, hit): (u64, u64)| {
        let (read, hit) = (read as f64, hit as f64);
        (read + hit > 0.0).then(|| hit / (read + hit))
    };
    let asked = |(read, hit): (u64, u64)| read.saturating_add(hit) as f64;
    let enough = |blocks: &(u64, u64)| asked(*blocks) >= thresholds.of(&MIN_READS);
    let then = database.after_restart.and_then(ratio);
    let later = database.warmed_up.filter(enough).and_then(ratio);
    let Some(((cold, then), later)) = database.after_restart.zip(then).zip(later) else {
        // Nobody knows what the next restart will cost before it happens, nor what the last one cost before
        // the cache has filled again: what was before it does not tell.
        judgement.unknown(COLD_CACHE);
        return;
    };
    let cold_read = cold.0 as f64;
    let warm = thresholds.of(&HIT_RATIO);
    let felt = cold_read >= thresholds.of(&MIN_READS) && then < warm && later >= warm;
    if felt && later - then >= thresholds.of(&DROP_RATIO) {
        judgement.add(report(facts, thresholds, (then, later), cold_read, libraries));
    }
}

fn report(
    facts: &Facts,
    thresholds: &Thresholds,
    (then, later): (f64, f64),
    read: f64,
    libraries: Option<&str>,
) -> Finding {
    let title = format!(
        "After the start of {} only {} of blocks were found in cache for ten minutes, {} later",
        moment(facts.server.started_us),
        percent(then),
        percent(later)
    );
    let available = facts.server.available_extensions.iter().any(|name| name == "pg_prewarm")
        || facts.server.extensions.iter().any(|(name, _)| name == "pg_prewarm");
    let remedy = if available {
        "Preload pg_prewarm: it notes what is in cache and loads it again after a restart. It \
         works from the restart after next on."
    } else {
        "Install pg_prewarm (part of PostgreSQL's contrib modules) and preload it: it notes what \
         is in cache and loads it again after a restart."
    };
    let mut finding = Finding::new(
        COLD_CACHE,
        Severity::Info,
        "server",
        title,
        remedy,
        "PostgreSQL manual, pg_prewarm",
    );
    finding.cause =
        Some("A restart empties shared buffers; statements fill them again.".to_owned());
    finding.evidence.push(
        Evidence::new("cache_hit_ratio_after_start", then, "ratio").over(thresholds.of(&HIT_RATIO)),
    );
    finding.evidence.push(Evidence::new("cache_hit_ratio_later", later, "ratio"));
    finding.evidence.push(Evidence::new("blocks_read_after_start", read as i64, "pages"));
    finding.statement = libraries.filter(|_| available).map(|libraries| {
        alter_system("shared_preload_libraries", &with_library(libraries, "pg_prewarm"), true)
    });
    finding.effort = Effort::Medium;
    finding.gain = Some("No slow minutes after a restart.".to_owned());
    finding.risk =
        "Reading the cache's contents back takes disk bandwidth just after a start.".to_owned();
    finding
}
