//! What samples and the hooks told of sessions that were in each other's way, in all databases of the server.

use crate::lock::idle::Sum;

/// Whose session, and with which statement.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Who {
    /// The database, quoted where needed.
    pub database: String,
    /// The user.
    pub user: String,
    /// What the client calls itself; may be empty.
    pub application: String,
    /// The statement's id in this history, where it is known.
    pub statement_id: Option<i64>,
    /// The server's number of it, all that is known of statements of other databases.
    pub queryid: Option<i64>,
}

impl Who {
    /// The statement, as far as it is known.
    pub fn statement(&self) -> Option<String> {
        let numbered = || self.queryid.map(|id| format!("the statement of queryid {id}"));
        self.statement_id.map(|id| format!("statement {id}")).or_else(numbered)
    }
}

/// A session that waited for a lock, and one that was in its way.
#[derive(Debug, Clone, PartialEq)]
pub struct LockWait {
    /// The process that waited.
    pub process_id: i64,
    /// Since when, and when that was seen last, microseconds since the Unix epoch.
    pub began_us: i64,
    /// See above.
    pub seen_us: i64,
    /// It is over.
    pub ended: bool,
    /// The process at the head of the chain; 0 is a prepared transaction.
    pub head_process_id: i64,
    /// What the prepared transaction is called, where it is known.
    pub head_gid: Option<String>,
    /// Whose it is, and its last statement.
    pub head: Who,
    /// What it did, as pg_stat_activity calls it.
    pub head_state: String,
    /// How old its transaction was, seconds.
    pub head_transaction_s: Option<f64>,
    /// What was waited for.
    pub lock_type: String,
    /// The relation, where it is known.
    pub relation: Option<String>,
    /// Steps from the head.
    pub depth: i64,
}

/// One deadlock.
#[derive(Debug, Clone, PartialEq)]
pub struct Deadlock {
    /// When.
    pub at_us: i64,
    /// Who took part, with the relation waited for; the first was ended.
    pub members: Vec<(Who, Option<String>)>,
}

/// Idle times inside transactions after a statement.
#[derive(Debug, Clone, PartialEq)]
pub struct IdleTimes {
    /// Whose, and after which statement.
    pub who: Who,
    /// What they come to.
    pub sum: Sum,
    /// The same of the time since findings were judged last; `None` where that is not asked for.
    pub since_judged: Option<Sum>,
}

/// A transaction of this database that lasted, and is over.
#[derive(Debug, Clone, PartialEq)]
pub struct Lasted {
    /// Whose, and with which statement it was seen last.
    pub who: Who,
    /// How long it lasted, as far as it was seen, seconds.
    pub age_s: f64,
    /// It idled when it was seen last.
    pub idled: bool,
}

/// All of it over the window.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Sessions {
    /// Waits for locks.
    pub waits: Vec<LockWait>,
    /// Deadlocks.
    pub deadlocks: Vec<Deadlock>,
    /// Idle times inside transactions.
    pub idles: Vec<IdleTimes>,
}
