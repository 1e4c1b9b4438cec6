//! Who waits for whose lock, who leaves a transaction open, and what deadlocks were between, as samples and the hooks
//! saw them; kept in memory of fixed size until a collector has stored them.

pub mod comeback;
pub mod deadlock;
pub mod graph;
pub mod idle;
pub mod lasting;
mod records;
pub mod ring;
#[cfg(test)]
mod tests;
pub mod tracker;

use crate::activity::{Application, Kind, Session};

/// A session that takes part, as it was in a sample. Zeroes are valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct Party {
    /// Its statement, the last one if it is idle; 0 is unknown.
    pub queryid: i64,
    /// When it was started, microseconds since the Unix epoch.
    pub started: i64,
    /// When its transaction began; 0 is none.
    pub transaction: i64,
    /// Its process; 0 is a prepared transaction, which has none.
    pub pid: i32,
    /// Oid of its database; 0 is none.
    pub database: u32,
    /// Oid of its user; 0 is nobody.
    pub user: u32,
    /// A [`crate::activity::State`].
    pub state: u8,
    /// What the client calls itself.
    pub application: Application,
}

impl Party {
    /// Of a process of which nothing else is known.
    pub const fn nobody(pid: i32) -> Self {
        Self {
            queryid: 0,
            started: 0,
            transaction: 0,
            pid,
            database: 0,
            user: 0,
            state: 0,
            application: [0; 64],
        }
    }

    /// As a sample has it. What is no client's session, and has no name, is told by what it is.
    pub fn of(session: &Session) -> Self {
        let mut application = session.application;
        if session.kind != Kind::Client && application[0] == 0 {
            let kind = session.kind.name().as_bytes();
            application[..kind.len()].copy_from_slice(kind);
        }
        Self {
            queryid: session.queryid,
            started: session.started,
            transaction: session.transaction,
            pid: session.pid,
            database: session.database,
            user: session.user,
            state: session.state as u8,
            application,
        }
    }

    /// What the client calls itself.
    pub fn application_name(&self) -> String {
        application_name(&self.application)
    }
}

/// The text before the zeroes.
pub fn application_name(application: &Application) -> String {
    let used = application.iter().position(|byte| *byte == 0).unwrap_or(application.len());
    String::from_utf8_lossy(&application[..used]).into_owned()
}

/// What a lock is on. Zeroes are valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[repr(C)]
pub struct Tag {
    /// Oid of the database; 0 is none, or a shared object's.
    pub database: u32,
    /// Oid of the relation, also of that in which the awaited row is; 0 is none or unknown.
    pub relation: u32,
    /// The server's number of the kind.
    pub kind: u8,
}

/// Kinds as pg_locks.locktype names them, by the server's number.
const KINDS: [&str; 12] = [
    "relation",
    "extend",
    "frozenid",
    "page",
    "tuple",
    "transactionid",
    "virtualxid",
    "spectoken",
    "object",
    "userlock",
    "advisory",
    "applytransaction",
];

/// Of a kind that is not known.
pub const UNKNOWN_KIND: u8 = u8::MAX;

impl Tag {
    /// From the server's tag. Of what is in no relation, only the kind and the database are kept.
    pub fn of(kind: u8, fields: [u32; 2]) -> Self {
        let [database, second] = fields;
        match kind {
            0 | 1 | 3 | 4 => Self { database, relation: second, kind },
            2 | 8 | 10 => Self { database, relation: 0, kind },
            _ => Self { database: 0, relation: 0, kind },
        }
    }

    /// As pg_locks.locktype calls it.
    pub fn kind_name(self) -> &'static str {
        KINDS.get(usize::from(self.kind)).copied().unwrap_or("other")
    }
}

/// The number of the lock that ends with a transaction, for which those wait who want a row that it changed.
pub const TRANSACTION_KIND: u8 = 5;
/// The number of a row's lock.
pub const TUPLE_KIND: u8 = 4;
/// The number of the lock of a transaction that need not have an id.
pub const VIRTUAL_KIND: u8 = 6;
/// The number of a lock that means what the application says.
pub const ADVISORY_KIND: u8 = 10;

/// Modes as pg_locks.mode names them, by the server's number, of which 0 is none.
const MODES: [&str; 8] = [
    "AccessShareLock",
    "RowShareLock",
    "RowExclusiveLock",
    "ShareUpdateExclusiveLock",
    "ShareLock",
    "ShareRowExclusiveLock",
    "ExclusiveLock",
    "AccessExclusiveLock",
];

/// As pg_locks.mode calls it; `None` where there is none.
pub fn mode_name(mode: u8) -> Option<&'static str> {
    usize::from(mode).checked_sub(1).and_then(|mode| MODES.get(mode)).copied()
}
