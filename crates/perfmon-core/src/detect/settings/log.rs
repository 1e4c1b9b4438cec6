//! Settings of the write-ahead log: room between checkpoints, and buffers.

use crate::detect::Judgement;
use crate::detect::server::wal::{self, Pace};
use crate::detect::vacuum::tables::MIN_COVERED_MINUTES;
use crate::detect::words::{count, counted, set, setting_size, size};
use crate::facts::Facts;
use crate::finding::{Effort, Evidence, Finding, Severity};
use crate::threshold::{Threshold, Thresholds};

pub(super) const MAX_WAL_SIZE: &str = "setting_max_wal_size";
pub(super) const WAL_BUFFERS: &str = "setting_wal_buffers";

/// Checkpoints by volume over all, where they are not yet too frequent.
pub(super) const REQUESTED_RATIO: Threshold = Threshold::ratio(
    "max_wal_size_by_volume_ratio",
    0.2,
    "share of checkpoints that the volume of WAL asked for, from which max_wal_size is nearly \
     outgrown",
    "pg_perfmon",
);
/// Per second.
pub(super) const BUFFERS_FULL: Threshold = Threshold::new(
    "wal_buffers_full_per_s",
    10.0,
    "times per second that sessions had to write WAL because its buffers were full",
    "pg_perfmon: a single load of data averages less over an hour",
);

/// More was never seen to help.
const MOST_BUFFERS: f64 = 67_108_864.0;

pub(super) fn detect(facts: &Facts, thresholds: &Thresholds, judgement: &mut Judgement) {
    match Pace::of(facts) {
        None => judgement.unknown(MAX_WAL_SIZE),
        Some(pace) => {
            let over = thresholds.of(&REQUESTED_RATIO);
            let enough = pace.by_volume >= thresholds.of(&wal::MIN_REQUESTED);
            // Above, they are too frequent, which is a finding of its own with the same remedy.
            let between = (over..thresholds.of(&wal::REQUESTED_RATIO)).contains(&pace.share());
            if enough && between {
                judgement.add(outgrown(facts, &pace, over));
            }
        }
    }
    match (facts.server.wal_buffers_full, facts.window.hours()) {
        (Some(full), Some(hours)) if hours * 60.0 >= thresholds.of(&MIN_COVERED_MINUTES) => {
            let per_s = full as f64 / (hours * 3600.0);
            judgement.findings.extend(buffers(facts, thresholds, per_s));
        }
        _ => judgement.unknown(WAL_BUFFERS),
    }
}

fn outgrown(facts: &Facts, pace: &Pace, over: f64) -> Finding {
    let value = setting_size(pace.better);
    let mut finding = Finding::new(
        MAX_WAL_SIZE,
        Severity::Info,
        "setting max_wal_size",
        format!(
            "About {} of {} checkpoints came because WAL reached max_wal_size ({})",
            count(pace.by_volume),
            count(pace.all),
            size(pace.now)
        ),
        format!("Raise max_wal_size to {value}. A reload of the configuration is enough."),
        "PostgreSQL manual, WAL Configuration",
    );
    finding.cause =
        Some("In busy times more WAL is written than max_wal_size has room for.".to_owned());
    wal::pace_evidence(facts, pace, over, &mut finding);
    finding.statement = Some(set(&facts.server, "max_wal_size", &format!("'{value}'")));
    finding.gain = Some("Fewer writes of the same pages, and less WAL.".to_owned());
    finding.risk = format!(
        "pg_wal may grow to {value}, and recovery after a crash takes longer; see that the disk \
         has room."
    );
    finding
}

fn buffers(facts: &Facts, thresholds: &Thresholds, per_s: f64) -> Option<Finding> {
    let now = facts.server.bytes("wal_buffers")?;
    let over = thresholds.of(&BUFFERS_FULL);
    if per_s < over || now >= MOST_BUFFERS {
        return None;
    }
    let value = setting_size(MOST_BUFFERS);
    let mut finding = Finding::new(
        WAL_BUFFERS,
        Severity::Info,
        "setting wal_buffers",
        format!(
            "WAL buffers ({}) were full {} per second",
            size(now),
            counted(per_s.round(), "time")
        ),
        format!("Raise wal_buffers to {value}. It takes effect at the next restart of the server."),
        "PostgreSQL manual, Write Ahead Log",
    );
    finding.cause = Some(
        "Sessions write WAL themselves when its buffers are full, and wait for each other \
         meanwhile."
            .to_owned(),
    );
    finding.evidence.push(
        Evidence::new("wal_buffers_full_per_s", per_s, "")
            .over(over)
            .out_of(facts.window.intervals),
    );
    finding.evidence.push(Evidence::new("wal_buffers", now as i64, "bytes"));
    finding.statement = Some(set(&facts.server, "wal_buffers", &format!("'{value}'")));
    finding.effort = Effort::Medium;
    finding.gain = Some("Sessions that change much wait less.".to_owned());
    finding.risk = "A restart ends all connections.".to_owned();
    Some(finding)
}
