//! What one visit leaves for the next beside the counters: where the clocks stood, when the rarer
//! reads were last made and what they cost. Kept in the same unlogged table as the counters, so both
//! are lost together by a crash and kept together by a clean restart.

use perfmon_core::pace::Pace;
use serde::{Deserialize, Serialize};

use crate::pg::clock;

/// Longest wait for statement texts, and the share of time that reading them may take.
const TEXTS_US: i64 = 600_000_000;
const TEXTS_SHARE: i64 = 100;
/// Least time between two readings of tables, less what a visit may be early.
const TABLES_US: i64 = 59_000_000;
/// Least and most time between two looks at file sizes, and the share of time they may take.
const SIZES_US: i64 = 300_000_000;
const SIZES_MOST_US: i64 = 3_600_000_000;
const SIZES_SHARE: i64 = 1000;
/// What a session cannot see of them at once, such as a reload that it has not followed: look this often
/// anyway.
const SETTINGS_US: i64 = 900_000_000;

/// New nodes of plans that are named in each minute, and at once after some time without any: a name takes more room in
/// the server's log than all that is told of a node in an interval.
const NAMES_A_MINUTE: i64 = 4;
const NAMES_AT_ONCE: i64 = 256;

/// The header of the prior counters.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Header {
    /// Whose counters these are: a copy of the database begins anew.
    pub(super) source: i64,
    /// End of the last interval; its wall clock may have been nudged to increase.
    pub(super) until: i64,
    /// Clocks when the counters were read.
    pub(super) wall_us: i64,
    pub(super) monotonic_us: Option<i64>,
    pub(super) boot: Option<String>,
    /// Start of the server, microseconds since the Unix epoch.
    pub(super) server_started: i64,
    /// Transactions of collectors in this database since the server started.
    pub(super) own_transactions: i64,
    pub(super) texts_at: i64,
    pub(super) texts_cost_us: i64,
    pub(super) texts_missing: bool,
    /// Names were entered since texts were read last.
    pub(super) texts_new: bool,
    pub(super) tables_at: i64,
    pub(super) sizes_at: i64,
    pub(super) sizes_cost_us: i64,
    pub(super) settings_at: i64,
    /// What was set for the database then, as one number.
    pub(super) settings_own: i64,
    pub(super) objects: Pace,
    /// Where the catalog's counters stood when names in conditions were looked up, and how often they were.
    pub(super) names_counters: i64,
    pub(super) names_turn: u64,
    /// Nodes of plans that were named lately.
    pub(super) names_spent: i64,
}

impl Header {
    /// The header as it stands now, with the rarer reads carried over.
    pub(super) fn next(&self, source: i64, wall_us: i64, server_started: i64) -> Self {
        Self {
            source,
            wall_us,
            monotonic_us: clock::monotonic_us(),
            boot: clock::boot(),
            server_started,
            ..self.clone()
        }
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Time from `before` to this header by the monotonic clock; `None` across a boot or a restart
    /// of the server, when only the wall clock can tell.
    pub(super) fn monotonic_since(&self, before: &Self) -> Option<i64> {
        if self.boot.is_none()
            || self.boot != before.boot
            || self.server_started != before.server_started
        {
            return None;
        }
        let length = self.monotonic_us? - before.monotonic_us?;
        (length >= 0).then_some(length)
    }

    /// Texts are read when some are missing, for at most a hundredth of the time, and never wait
    /// longer than ten minutes. Those that were not to be found wait as long: whatever comes to have a text is new
    /// to the counters then.
    pub(super) fn texts_due(&self, now: i64) -> bool {
        let cost = self.texts_cost_us.saturating_mul(TEXTS_SHARE);
        let pause = if self.texts_new { cost.min(TEXTS_US) } else { TEXTS_US };
        self.texts_at == 0 || now - self.texts_at >= pause || now < self.texts_at
    }

    /// Counters of tables reach the server's statistics up to a minute late, so shorter intervals of them
    /// would be noise.
    pub(super) fn tables_due(&self, now: i64) -> bool {
        now - self.tables_at >= TABLES_US || now < self.tables_at
    }

    /// Sizes are read every five minutes, or seldom enough to take a thousandth of the time.
    pub(super) fn sizes_due(&self, now: i64) -> bool {
        let pause = self.sizes_cost_us.saturating_mul(SIZES_SHARE).clamp(SIZES_US, SIZES_MOST_US);
        self.sizes_at == 0 || now - self.sizes_at >= pause || now < self.sizes_at
    }

    /// How many new nodes may be named now, so many minutes after the last visit.
    pub(super) fn names_left(&mut self, minutes: usize) -> usize {
        let regained = i64::try_from(minutes).unwrap_or(i64::MAX).saturating_mul(NAMES_A_MINUTE);
        self.names_spent = self.names_spent.saturating_sub(regained).max(0);
        usize::try_from(NAMES_AT_ONCE - self.names_spent).unwrap_or(0)
    }

    /// Settings are read after a reload or a restart, when those of the database were altered, and from time
    /// to time.
    pub(super) fn settings_due(&self, now: i64, reloaded_at: i64, own: Option<i64>) -> bool {
        self.settings_at == 0
            || reloaded_at >= self.settings_at
            || own.is_some_and(|own| own != self.settings_own)
            || now - self.settings_at >= SETTINGS_US
            || now < self.settings_at
    }
}
