//! Poolers at the end of the window, as the home database recorded them.

use crate::pooler::{Seen, Shared};

/// A pooler that is declared.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Pooler {
    /// Name of its foreign server.
    pub name: String,
    /// Whether it answered, each time that it was asked in the window, oldest first.
    pub answers: Vec<bool>,
    /// Its databases and pools.
    pub pools: Vec<Pool>,
    /// Limits that its pools share, as it said when it last answered.
    pub shared: Shared,
}

/// A pool; a whole database where it has no user.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Pool {
    /// Database as clients call it.
    pub database: String,
    /// User.
    pub user: Option<String>,
    /// Its database was paused or disabled when the pooler was asked last.
    pub is_stopped: bool,
    /// Rows at the end of the window, oldest first: end (microseconds since the Unix epoch), and what they say.
    pub rows: Vec<(i64, Seen)>,
}
