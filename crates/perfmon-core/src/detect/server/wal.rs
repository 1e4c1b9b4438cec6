//! Checkpoints that come because of the volume of WAL, and what that volume is made of.

use crate::detect::words::{count, effect, list, percent, set, setting_size, size, span};
use crate::detect::{Judgement, rate};
use crate::facts::Facts;
use crate::finding::{Evidence, Finding, Severity};
use crate::threshold::{Threshold, Thresholds};

pub(super) const CHECKPOINTS: &str = "checkpoints_too_frequent";
pub(super) const VOLUME: &str = "wal_volume";

/// Checkpoints by volume over all.
pub(in crate::detect) const REQUESTED_RATIO: Threshold = Threshold::ratio(
    "checkpoints_by_volume_ratio",
    0.5,
    "share of checkpoints that the volume of WAL asked for before their time",
    "postgres_exporter's rules",
);
/// Evidence.
pub(in crate::detect) const MIN_REQUESTED: Threshold = Threshold::new(
    "checkpoints_by_volume_min",
    3.0,
    "checkpoints by volume in the window below which nothing is said",
    "pg_perfmon: a single load of data asks for one or two",
);
/// Per hour.
pub(super) const VOLUME_BYTES: Threshold = Threshold::new(
    "wal_bytes_per_hour",
    5_368_709_120.0,
    "WAL per hour, if full-page images are much of it: information",
    "pg_perfmon",
);
/// See above.
pub(super) const WARNING_BYTES: Threshold = Threshold::new(
    "wal_warning_bytes_per_hour",
    21_474_836_480.0,
    "WAL per hour: information; warning if full-page images are most of it",
    "pg_perfmon",
);
/// Of the WAL.
pub(super) const IMAGES_RATIO: Threshold = Threshold::ratio(
    "wal_images_ratio",
    0.5,
    "share of full-page images in the WAL: information",
    "pg_perfmon",
);
/// See above.
pub(super) const WARNING_IMAGES_RATIO: Threshold = Threshold::ratio(
    "wal_warning_images_ratio",
    0.7,
    "share of full-page images in much WAL: warning",
    "pg_perfmon",
);

/// Room for hours busier than the average.
const MARGIN: f64 = 1.25;
const MANUAL: &str = "PostgreSQL manual, WAL Configuration";

/// What is known of checkpoints in a window.
#[derive(Debug, Clone, Copy)]
pub(in crate::detect) struct Pace {
    /// That the volume of WAL asked for; those asked for by hand are left out as far as can be told.
    pub(in crate::detect) by_volume: f64,
    pub(in crate::detect) all: f64,
    pub(in crate::detect) hours: f64,
    /// max_wal_size now, bytes.
    pub(in crate::detect) now: f64,
    /// What it should be, bytes.
    pub(in crate::detect) better: f64,
}

impl Pace {
    pub(in crate::detect) fn share(&self) -> f64 {
        if self.all > 0.0 { self.by_volume / self.all } else { 0.0 }
    }

    /// `None` when checkpoints or settings are unknown, or the window is shorter than two rounds.
    pub(in crate::detect) fn of(facts: &Facts) -> Option<Self> {
        let hours = facts.window.hours()?;
        let checkpoints = facts.server.checkpoints?;
        let timeout_s = facts.server.number("checkpoint_timeout")?;
        if hours * 3600.0 < 2.0 * timeout_s {
            return None;
        }
        let now = facts.server.bytes("max_wal_size")?;
        // The server asks for a checkpoint when WAL since the last but one would outgrow max_wal_size.
        let spread = 1.0 + facts.server.number("checkpoint_completion_target").unwrap_or(0.9);
        let requested = checkpoints.requested as f64;
        let (by_volume, wanted) = match facts.server.wal_bytes.map(|bytes| bytes as f64) {
            Some(wal) => {
                let per_s = wal / (hours * 3600.0);
                ((wal * spread / now).floor().min(requested), per_s * timeout_s * spread * MARGIN)
            }
            None => (requested, 0.0),
        };
        let gigabyte = 1_073_741_824.0;
        // An average hides bursts, so that it is doubled at least.
        let better = (wanted.max(2.0 * now) / gigabyte).ceil() * gigabyte;
        Some(Self { by_volume, all: requested + checkpoints.timed as f64, hours, now, better })
    }
}

pub(super) fn detect(facts: &Facts, thresholds: &Thresholds, judgement: &mut Judgement) {
    match Pace::of(facts) {
        None => judgement.unknown(CHECKPOINTS),
        Some(pace) => {
            let over = thresholds.of(&REQUESTED_RATIO);
            let enough = pace.by_volume >= thresholds.of(&MIN_REQUESTED);
            if enough && pace.share() >= over {
                judgement.add(too_frequent(facts, &pace, over));
            }
        }
    }
    let bytes = facts.server.wal_bytes.map(|bytes| bytes as f64);
    match bytes.and_then(|bytes| Some((bytes, rate(facts, thresholds, bytes)?))) {
        Some((bytes, per_hour)) => {
            judgement.findings.extend(volume(facts, thresholds, bytes, per_hour));
        }
        None => judgement.unknown(VOLUME),
    }
}

fn too_frequent(facts: &Facts, pace: &Pace, over: f64) -> Finding {
    let value = setting_size(pace.better);
    let title = format!(
        "A checkpoint every {}: about {} of {} came because WAL reached max_wal_size ({})",
        span(pace.hours * 3600.0 / pace.all),
        count(pace.by_volume),
        count(pace.all),
        size(pace.now)
    );
    let mut finding = Finding::new(
        CHECKPOINTS,
        Severity::Warning,
        "server",
        title,
        format!(
            "Raise max_wal_size to {value}, so that checkpoints come by checkpoint_timeout. A \
             reload of the configuration is enough."
        ),
        MANUAL,
    );
    finding.cause = Some(
        "max_wal_size is too small for the WAL written between two checkpoints; after each, the \
         first change of every page is written whole."
            .to_owned(),
    );
    pace_evidence(facts, pace, over, &mut finding);
    finding.statement = Some(set(&facts.server, "max_wal_size", &format!("'{value}'")));
    finding.gain = Some("Fewer writes of the same pages, and less WAL.".to_owned());
    finding.risk = format!(
        "pg_wal may grow to {value}, and recovery after a crash takes longer; see that the disk \
         has room."
    );
    finding
}

/// What shows how checkpoints come.
pub(in crate::detect) fn pace_evidence(
    facts: &Facts,
    pace: &Pace,
    over: f64,
    finding: &mut Finding,
) {
    finding.evidence.push(
        Evidence::new("checkpoints_by_volume_ratio", pace.share(), "ratio")
            .over(over)
            .out_of(pace.all as i64),
    );
    finding.evidence.push(Evidence::new("max_wal_size", pace.now as i64, "bytes"));
    if let Some(wal) = facts.server.wal_bytes {
        finding.evidence.push(Evidence::new("wal_bytes", wal, "bytes"));
    }
}

fn volume(facts: &Facts, thresholds: &Thresholds, bytes: f64, per_hour: f64) -> Option<Finding> {
    // Compressed images are smaller than pages: nothing is known of their share then.
    let plain = facts.server.setting("wal_compression").is_some_and(|s| s.shown == "off");
    let images = facts
        .server
        .wal_fpi
        .filter(|_| plain && bytes > 0.0)
        .map(|images| (images as f64 * facts.server.block_bytes as f64 / bytes).min(1.0));
    let above = |t: &Threshold| per_hour >= thresholds.of(t);
    let mostly = |t: &Threshold| images.is_some_and(|share| share >= thresholds.of(t));
    let (severity, over) = if above(&WARNING_BYTES) && mostly(&WARNING_IMAGES_RATIO) {
        (Severity::Warning, &WARNING_BYTES)
    } else if above(&WARNING_BYTES) {
        (Severity::Info, &WARNING_BYTES)
    } else if above(&VOLUME_BYTES) && mostly(&IMAGES_RATIO) {
        (Severity::Info, &VOLUME_BYTES)
    } else {
        return None;
    };
    let much = mostly(&IMAGES_RATIO);
    let made_of = match images {
        Some(share) if much => format!(", up to {} of it full-page images", percent(share)),
        _ => String::new(),
    };
    let title = format!("The server writes {} of WAL per hour{made_of}", size(per_hour));
    let remedy = if much {
        format!(
            "Compress full-page images, and let checkpoints come less often (max_wal_size, \
             checkpoint_timeout). {}",
            effect(&facts.server, "wal_compression")
        )
    } else {
        "See whether the statements that write most have to: fewer indexes on the tables that \
         they change, changes of whole batches, no updates that change nothing."
            .to_owned()
    };
    let mut finding = Finding::new(VOLUME, severity, "server", title, remedy, MANUAL);
    finding.evidence.push(
        Evidence::new("wal_bytes_per_hour", per_hour as i64, "bytes")
            .over(thresholds.of(over))
            .out_of(facts.window.intervals),
    );
    if let Some(share) = images {
        finding.evidence.push(Evidence::new("full_page_images_ratio", share, "ratio"));
    }
    if much {
        finding.statement = Some(set(&facts.server, "wal_compression", "on"));
        finding.risk = "Compression takes some processor time.".to_owned();
    }
    finding.gain = Some("Less to write, to archive and to send to standbys.".to_owned());
    finding.cause = Some(writers(facts, much, &mut finding.evidence));
    Some(finding)
}

/// Names the statements that write most.
fn writers(facts: &Facts, images: bool, evidence: &mut Vec<Evidence>) -> String {
    let mut top: Vec<_> = facts.statements.iter().flatten().filter(|s| s.toplevel).collect();
    top.retain(|s| s.wal_bytes > 0);
    top.sort_by_key(|s| (std::cmp::Reverse(s.wal_bytes), s.statement_id));
    top.truncate(3);
    for statement in &top {
        let metric = format!("wal bytes of statement {}", statement.statement_id);
        evidence.push(Evidence::new(metric, statement.wal_bytes, "bytes"));
    }
    let ids: Vec<String> = top.iter().map(|s| s.statement_id.to_string()).collect();
    let most = match ids.len() {
        0 => String::new(),
        n => format!(" {} {} write most of this database's.", counted_ids(n), list(&ids, 3)),
    };
    if images {
        format!("After each checkpoint, the first change of a page writes the page whole.{most}")
    } else {
        format!("Much is changed.{most}")
    }
}

fn counted_ids(n: usize) -> &'static str {
    if n == 1 { "Statement" } else { "Statements" }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::samples;
    use crate::facts::Checkpoints;

    #[test]
    fn the_value_follows_the_manuals_rule() {
        let mut facts = samples::healthy();
        let checkpoints = Checkpoints { timed: 1, requested: 30, ..Checkpoints::default() };
        facts.server.checkpoints = Some(checkpoints);
        samples::set(&mut facts, "max_wal_size", 1_024.0);
        facts.server.wal_bytes = Some(36 << 30);
        let pace = Pace::of(&facts).unwrap();
        assert_eq!(pace.by_volume, 30.0);
        // 3 GB in five minutes, 1.9 times, and a quarter more.
        assert_eq!(pace.better, 8.0 * samples::GB);
    }
}
