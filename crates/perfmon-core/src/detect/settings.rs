//! Detectors of settings that endanger the data, blind the server, or contradict what was measured,
//! each with the value to set.

use super::{Detector, Judgement};
use crate::facts::Facts;
use crate::threshold::{Threshold, Thresholds};

mod autovacuum;
mod log;
mod memory;
mod planner;
mod switches;

#[cfg(test)]
mod tests;

/// The detector.
pub static DETECTOR: Detector = Detector {
    name: "settings",
    kinds: &[
        switches::FSYNC,
        switches::FULL_PAGE_WRITES,
        switches::ZERO_DAMAGED_PAGES,
        switches::IGNORE_CHECKSUM_FAILURE,
        autovacuum::AUTOVACUUM,
        switches::TRACK_COUNTS,
        switches::TRACK_ACTIVITIES,
        switches::TRACK_IO_TIMING,
        switches::PLANNER_METHODS,
        switches::PENDING_RESTART,
        memory::SHARED_BUFFERS,
        memory::CACHE_SIZE,
        memory::WORK_MEM,
        memory::MAINTENANCE,
        planner::RANDOM_PAGE_COST,
        planner::IO_CONCURRENCY,
        planner::JIT,
        autovacuum::COST,
        log::MAX_WAL_SIZE,
        log::WAL_BUFFERS,
    ],
    thresholds: THRESHOLDS,
    detect,
};

static THRESHOLDS: &[Threshold] = &[
    memory::MOST_OF_MEMORY,
    memory::CACHE_SIZE_RATIO,
    memory::SPILL_RATIO,
    memory::MIN_SPILLING,
    planner::CACHED_RATIO,
    planner::QUICK_READ_MS,
    planner::CONCURRENT_READ_MS,
    planner::STORAGE_READ_MS,
    planner::HIGH_COST,
    planner::SCANNED_ROWS,
    planner::SCANNED_TIMES,
    planner::JIT_RATIO,
    planner::JIT_MEAN_MS,
    planner::JIT_SHARE,
    planner::JIT_MIN_CALLS,
    autovacuum::COST_LIMIT,
    autovacuum::OFF_AGE_RATIO,
    autovacuum::OFF_DEAD_RATIO,
    autovacuum::OFF_DEAD_ROWS,
    log::REQUESTED_RATIO,
    log::BUFFERS_FULL,
];

fn detect(facts: &Facts, thresholds: &Thresholds, judgement: &mut Judgement) {
    if facts.server.settings.is_empty() {
        DETECTOR.kinds.iter().for_each(|kind| judgement.unknown(kind));
        return;
    }
    switches::detect(facts, judgement);
    memory::detect(facts, thresholds, judgement);
    planner::detect(facts, thresholds, judgement);
    autovacuum::detect(facts, thresholds, judgement);
    log::detect(facts, thresholds, judgement);
}
