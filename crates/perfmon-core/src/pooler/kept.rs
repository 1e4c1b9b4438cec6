//! What is remembered of poolers until the next visit.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{Alias, Places, Shared, Stats};
use crate::pack::Corrupt;
use crate::pool::pooled::Named;

/// Transactions that wrote the options of a foreign server and of its user mapping: whoever changes them, changes these.
pub type Version = [u32; 2];

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
    /// Why it did not the last time.
    #[serde(default)]
    pub why: Option<String>,
    /// With which version of its options it was asked.
    #[serde(default)]
    pub version: Version,
    /// Its counters at that time; empty when it was not asked or did not answer.
    pub stats: BTreeMap<String, Stats>,
    /// Its databases that the server knows by another name, by the name that clients use; as it said when it last answered.
    #[serde(default)]
    pub aliases: BTreeMap<String, Alias>,
    /// Its databases that are paused or disabled; empty when it did not answer.
    #[serde(default)]
    pub stopped: BTreeSet<String>,
    /// Limits that several pools share, as it said when it last answered.
    #[serde(default)]
    pub shared: Shared,
    /// Which of the servers that it leads to are this one.
    #[serde(default)]
    pub places: Places,
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

    /// What is known of a pool, by the names that clients use: pooler, database and user.
    pub fn named(&self, names: &[String; 3]) -> Named {
        let [pooler, database, user] = names;
        let known = self.poolers.get(pooler);
        let alias = known.and_then(|known| known.aliases.get(database));
        let is_here = !alias.is_some_and(|alias| alias.is_elsewhere);
        Named {
            names: names.clone(),
            here: is_here.then(|| Alias::resolve(alias, database, user)),
            database_limit: known.and_then(|k| k.shared.databases.get(database).copied()),
            user_limit: known.and_then(|k| k.shared.users.get(user).copied()),
            is_stopped: known.is_some_and(|known| known.stopped.contains(database)),
        }
    }

    /// Whether it is to be asked now: somebody who changed its options wants to know whether they are right. A clock that
    /// was set back does not silence it for long.
    pub fn is_due(&self, name: &str, version: Version, now: i64) -> bool {
        let Some(known) = self.poolers.get(name) else { return true };
        let retry_at = known.retry_at;
        known.version != version || now >= retry_at || retry_at - now > LONGEST_US
    }
}

impl Known {
    /// What to remember of a pooler that failed now.
    #[must_use]
    pub fn failed(before: Option<&Self>, version: Version, why: String, now: i64) -> Self {
        let same = before.filter(|known| known.version == version);
        let failures = same.map_or(0, |known| known.failures).saturating_add(1);
        let retry_at = now.saturating_add(pause_us(failures));
        let same = same.cloned().unwrap_or_default();
        Self {
            failures,
            retry_at,
            why: Some(why),
            version,
            stats: BTreeMap::new(),
            stopped: BTreeSet::new(),
            ..same
        }
    }

    /// What to tell of one that is left alone.
    pub fn told(&self, name: &str) -> Option<String> {
        let why = self.why.as_ref().map_or_else(String::new, |why| format!(" ({why})"));
        let times =
            if self.failures == 1 { "once".to_owned() } else { format!("{} times", self.failures) };
        (self.failures > 0).then(|| {
            format!("PgBouncer {name} did not answer {times}{why}, and is left alone for a while")
        })
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
