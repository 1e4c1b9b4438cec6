//! Whether the data on disk can be trusted.

use crate::detect::Judgement;
use crate::detect::words::counted;
use crate::facts::Facts;
use crate::finding::{Effort, Evidence, Finding, Severity};

pub(super) const CHECKSUM_FAILURES: &str = "checksum_failures";
pub(super) const CHECKSUMS_OFF: &str = "checksums_off";

const MANUAL: &str = "PostgreSQL manual, Data Checksums";

pub(super) fn detect(facts: &Facts, judgement: &mut Judgement) {
    match (facts.server.checksums, facts.database.checksum_failures) {
        (_, Some(failures)) if failures > 0 => judgement.add(failed(facts, failures)),
        (Some(true) | None, None) => judgement.unknown(CHECKSUM_FAILURES),
        _ => {}
    }
    match facts.server.checksums {
        None => judgement.unknown(CHECKSUMS_OFF),
        Some(false) => judgement.add(off()),
        Some(true) => {}
    }
}

fn failed(facts: &Facts, failures: u64) -> Finding {
    let mut finding = Finding::new(
        CHECKSUM_FAILURES,
        Severity::Critical,
        format!("database {}", facts.database.name),
        format!(
            "{} of a page's checksum: data on disk is damaged",
            counted(failures as f64, "failure")
        ),
        "Take a backup of what can still be read, find the pages named in the server's log, \
         restore them from a backup or a standby, and have the storage checked. Do not go on as \
         if nothing were.",
        MANUAL,
    );
    finding.cause = Some(
        "What was read from disk is not what was written: storage or memory is faulty.".to_owned(),
    );
    finding.evidence.push(
        Evidence::new("checksum_failures", failures, "").over(0.0).out_of(facts.window.intervals),
    );
    finding.effort = Effort::High;
    finding.gain = Some("No rows are lost that could still be saved.".to_owned());
    finding
}

fn off() -> Finding {
    let mut finding = Finding::new(
        CHECKSUMS_OFF,
        Severity::Info,
        "server",
        "Data checksums are off: damage by storage would go unnoticed",
        "Stop the server cleanly and run pg_checksums --enable on its data directory; on a pair, \
         the standby first.",
        MANUAL,
    );
    finding.cause = Some("The cluster was made without checksums.".to_owned());
    finding.evidence.push(Evidence::new("data_checksums", "off", ""));
    finding.effort = Effort::Medium;
    finding.gain = Some("Damaged pages are noticed when they are read.".to_owned());
    finding.risk =
        "The server is down while every page is written anew; changes of hint bits write more WAL \
         afterwards."
            .to_owned();
    finding
}
