//! What is known about one database over one window: history added up, and the catalog as it is now.
//! Plain values, filled by the judge room; what could not be read is `None` or absent, never zero.
//! Names are as the server quotes them, so that they can stand in a statement; `plain` names are not.

use crate::objective::Observed;

pub mod evidence;
pub(crate) mod expression;
pub mod failure;
pub mod form;
pub mod host;
pub mod pattern;
pub mod plan;
pub mod pooler;
pub mod predicate;
pub mod relation;
pub mod server;
pub mod session;
pub mod statement;

pub use evidence::Evidence;
pub use failure::Failures;
pub use form::{Form, FormKind, Moved, Offset, Patterned, Returned};
pub use host::{Host, HostDisk, HostRow};
pub use plan::{PlanFlip, PlanTimes};
pub use pooler::{Pool, Pooler};
pub use relation::{
    Activity, Column, Constraint, ForeignKey, Index, KeyPart, Sequence, Stored, Table,
};
pub use server::{Checkpoints, Database, Holder, HolderKind, Horizon, Server, Setting, Slot};
pub use session::Sessions;
pub use statement::{Given, Order, Predicate, Shape, Statement, TableUse, Test, Values};

/// What is known.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Facts {
    /// Now, microseconds since the Unix epoch.
    pub now_us: i64,
    /// When findings that are kept were judged last: what began and ended since was not looked at yet. `None` where that
    /// is not known, or does not matter.
    pub judged_us: Option<i64>,
    /// Transactions of this database that lasted and were over since then.
    pub lasted: Vec<session::Lasted>,
    /// What the window covers.
    pub window: Window,
    /// What history there is at all: detectors of what never happens look at it whole.
    pub history: Window,
    /// This database's counters over the window.
    pub database: Database,
    /// The server and its settings.
    pub server: Server,
    /// Statements of the window, most execution time first; `None` when statements are not recorded.
    pub statements: Option<Vec<Statement>>,
    /// Clients' sessions; `None` where no samples of them are kept.
    pub pools: Option<crate::pool::Pools>,
    /// Failures of the window; `None` when they were not counted.
    pub failures: Option<Failures>,
    /// Statements whose plan changed in the window, the last change of each; `None` when plans are not recorded.
    pub plan_flips: Option<Vec<PlanFlip>>,
    /// What plans did in the executions of the window that were looked into, what read most first; `None` when none
    /// were.
    pub evidence: Option<Vec<Evidence>>,
    /// Tables and materialized views; `None` when the catalog could not be read.
    pub tables: Option<Vec<Table>>,
    /// Indexes of these.
    pub indexes: Option<Vec<Index>>,
    /// Foreign keys between these.
    pub foreign_keys: Option<Vec<ForeignKey>>,
    /// Sequences whose position could be read.
    pub sequences: Option<Vec<Sequence>>,
    /// The objectives that were declared, with what is known for the longest of their windows of time;
    /// `None` when they could not be read.
    pub objectives: Option<Vec<Observed>>,
    /// The machine; `None` in all databases but the home database, and where it tells nothing.
    pub host: Option<Host>,
    /// Poolers; `None` in all databases but the home database.
    pub poolers: Option<Vec<Pooler>>,
    /// Sessions that were in each other's way; `None` where no samples of them are kept.
    pub sessions: Option<Sessions>,
}

/// A stretch of history.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Window {
    /// Start of what was asked for, microseconds since the Unix epoch.
    pub since_us: i64,
    /// Its end.
    pub until_us: i64,
    /// Time that recorded intervals cover; 0 means that nothing is known.
    pub covered_us: i64,
    /// Recorded intervals.
    pub intervals: i64,
}

impl Window {
    /// Covered time in hours; `None` when there is none.
    #[allow(clippy::cast_precision_loss)]
    pub fn hours(&self) -> Option<f64> {
        (self.covered_us > 0).then(|| self.covered_us as f64 / 3.6e9)
    }

    /// An amount over the window as an amount per hour.
    pub fn per_hour(&self, amount: f64) -> Option<f64> {
        self.hours().map(|hours| amount / hours)
    }
}
