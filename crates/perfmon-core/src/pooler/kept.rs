//! What is remembered of poolers until the next visit.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Stats;
use crate::pack::Corrupt;

/// All poolers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// When, microseconds since the Unix epoch.
    pub at: i64,
    /// By name of the foreign server.
    pub poolers: BTreeMap<String, Known>,
}

/// One pooler.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known {
    /// How often it did not answer, one after the other.
    pub failures: u32,
    /// Not to be asked before, microseconds since the Unix epoch.
    pub retry_at: i64,
    /// Its counters at that time; empty when it was not asked or did not answer.
    pub stats: BTreeMap<String, Stats>,
}

impl Kept {
    /// As bytes.
    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// From bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, Corrupt> {
        serde_json::from_slice(bytes)
            .map_err(|e| Corrupt::new(format!("kept reading of poolers: {e}")))
    }

    /// Whether it is to be asked now. A clock that was set back does not silence it for long.
    pub fn is_due(&self, name: &str, now: i64) -> bool {
        let retry_at = self.poolers.get(name).map_or(0, |known| known.retry_at);
        now >= retry_at || retry_at - now > LONGEST_US
    }
}

const FIRST_US: i64 = 30_000_000;
const LONGEST_US: i64 = 600_000_000;

/// How long one that failed so often is left alone: the first time not at all beyond the next visit, then twice as long
/// each time, ten minutes at most.
pub fn pause_us(failures: u32) -> i64 {
    if failures < 2 {
        return 0;
    }
    FIRST_US.saturating_mul(1_i64 << (failures - 1).min(10)).min(LONGEST_US)
}
