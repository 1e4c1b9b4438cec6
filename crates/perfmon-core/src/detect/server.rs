//! Detectors of the server as a whole: cache, temporary files, checkpoints and WAL, transactions, what
//! is kept for whom, the state of its data, and how well it can be watched.

use super::{Detector, Judgement};
use crate::facts::Facts;
use crate::threshold::{Threshold, Thresholds};

pub(super) mod cache;
mod data;
pub mod horizon;
mod start;
pub(super) mod temp;
pub(super) mod transactions;
pub(super) mod wal;
mod watching;

#[cfg(test)]
mod tests;

/// The detector.
pub static DETECTOR: Detector = Detector {
    name: "server",
    kinds: &[
        cache::HIT_RATIO,
        temp::TEMP_FILES,
        wal::CHECKPOINTS,
        wal::VOLUME,
        start::COLD_CACHE,
        watching::EVICTION,
        watching::MISSING,
        data::CHECKSUM_FAILURES,
        data::CHECKSUMS_OFF,
        transactions::DEADLOCKS,
        transactions::ROLLBACKS,
        transactions::IDLE,
        horizon::HELD,
        horizon::PREPARED,
        horizon::SLOT,
    ],
    thresholds: THRESHOLDS,
    detect,
};

static THRESHOLDS: &[Threshold] = &[
    cache::INFO_RATIO,
    cache::WARNING_RATIO,
    cache::CRITICAL_RATIO,
    cache::CRITICAL_MINUTES,
    cache::MIN_BLOCKS,
    cache::MIN_READS_PER_S,
    cache::TIME_RATIO,
    cache::SCAN_BYTES,
    temp::INFO_BYTES,
    temp::WARNING_BYTES,
    temp::MIN_CALLS,
    temp::MIN_SHARE,
    temp::MEMORY_RATIO,
    wal::REQUESTED_RATIO,
    wal::MIN_REQUESTED,
    wal::VOLUME_BYTES,
    wal::WARNING_BYTES,
    wal::IMAGES_RATIO,
    wal::WARNING_IMAGES_RATIO,
    start::HIT_RATIO,
    start::DROP_RATIO,
    start::MIN_READS,
    watching::EVICTIONS,
    watching::WARNING_EVICTIONS,
    watching::MOST_ENTRIES,
    transactions::DEADLOCK_RATIO,
    transactions::MIN_DEADLOCKS,
    transactions::ROLLBACK_RATIO,
    transactions::MIN_TRANSACTIONS,
    transactions::IDLE_RATIO,
    transactions::IDLE_SESSIONS,
    transactions::IDLE_MS,
    transactions::IDLE_SECONDS,
    horizon::HOLDER_SECONDS,
    horizon::HOLDER_TRANSACTIONS,
    horizon::PREPARED_SECONDS,
    horizon::SLOT_BYTES,
];

fn detect(facts: &Facts, thresholds: &Thresholds, judgement: &mut Judgement) {
    cache::detect(facts, thresholds, judgement);
    temp::detect(facts, thresholds, judgement);
    wal::detect(facts, thresholds, judgement);
    start::detect(facts, thresholds, judgement);
    watching::detect(facts, thresholds, judgement);
    data::detect(facts, judgement);
    transactions::detect(facts, thresholds, judgement);
    horizon::detect(facts, thresholds, judgement);
}
