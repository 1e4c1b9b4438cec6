//! A reading of the machine at rest until the next.

use serde::{Deserialize, Serialize};

use super::Machine;
use crate::pack::Corrupt;

/// A reading, and when it was made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Kept {
    /// When, microseconds since the Unix epoch.
    pub at: i64,
    /// What was read.
    pub machine: Machine,
}

impl Kept {
    /// As bytes.
    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// From bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, Corrupt> {
        serde_json::from_slice(bytes)
            .map_err(|e| Corrupt::new(format!("kept reading of the machine: {e}")))
    }
}
