//! What sessions do, as samples of them tell: states and waits by statement, and how many connections there are by
//! pool, database and user.
//!
//! One process takes the samples and adds them up in shared memory of fixed size ([`shared::Shared`]); others read the
//! sums ([`reading`]), which never go back, and store what happened between two readings. What finds no place of its
//! own is added to "other"; sums over all are always exact.

pub mod count;
pub mod due;
pub mod extent;
pub mod group;
mod hash;
pub mod reading;
pub mod ring;
pub mod rows;
pub mod sampler;
pub mod shared;
pub mod spread;
#[cfg(test)]
mod tests;
pub mod wait;

/// What a process is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Kind {
    /// A client's session; the only kind that takes one of max_connections.
    Client = 0,
    /// Helps a session with its statement.
    Parallel = 1,
    /// A collector of pg_perfmon.
    Own = 2,
    /// Of another extension, or logical replication.
    Worker = 3,
    /// Sends WAL to a standby or a subscriber.
    WalSender = 4,
    /// Starts autovacuum's workers.
    AutovacuumLauncher = 5,
    /// Vacuums and analyzes.
    AutovacuumWorker = 6,
    /// Writes dirty buffers ahead of others.
    BackgroundWriter = 7,
    /// Writes checkpoints.
    Checkpointer = 8,
    /// Writes WAL ahead of others.
    WalWriter = 9,
    /// Archives WAL.
    Archiver = 10,
    /// Replays WAL.
    Startup = 11,
    /// Receives WAL.
    WalReceiver = 12,
    /// Summarizes WAL.
    WalSummarizer = 13,
    /// Reads and writes for others.
    IoWorker = 14,
    /// Keeps slots of a standby like those of the primary.
    SlotSync = 15,
    /// Whatever else there may be.
    Other = 16,
}

impl Kind {
    /// All of them, by their number.
    pub const ALL: [Self; 17] = [
        Self::Client,
        Self::Parallel,
        Self::Own,
        Self::Worker,
        Self::WalSender,
        Self::AutovacuumLauncher,
        Self::AutovacuumWorker,
        Self::BackgroundWriter,
        Self::Checkpointer,
        Self::WalWriter,
        Self::Archiver,
        Self::Startup,
        Self::WalReceiver,
        Self::WalSummarizer,
        Self::IoWorker,
        Self::SlotSync,
        Self::Other,
    ];

    /// By its number.
    pub fn of(number: u8) -> Self {
        Self::ALL.get(usize::from(number)).copied().unwrap_or(Self::Other)
    }

    /// As pg_stat_activity calls it, but for our own, and for workers of other libraries, which name themselves there.
    pub fn name(self) -> &'static str {
        match self {
            Self::Client => "client backend",
            Self::Parallel => "parallel worker",
            Self::Own => "pg_perfmon",
            Self::Worker => "background worker",
            Self::WalSender => "walsender",
            Self::AutovacuumLauncher => "autovacuum launcher",
            Self::AutovacuumWorker => "autovacuum worker",
            Self::BackgroundWriter => "background writer",
            Self::Checkpointer => "checkpointer",
            Self::WalWriter => "walwriter",
            Self::Archiver => "archiver",
            Self::Startup => "startup",
            Self::WalReceiver => "walreceiver",
            Self::WalSummarizer => "walsummarizer",
            Self::IoWorker => "io worker",
            Self::SlotSync => "slotsync worker",
            Self::Other => "other",
        }
    }

    /// Whether it works on a client's statement.
    pub fn is_for_client(self) -> bool {
        matches!(self, Self::Client | Self::Parallel)
    }
}

/// What a session does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum State {
    /// Says nothing: of a process that is no session, or one that still authenticates.
    Unknown = 0,
    /// Waits for its client, outside of a transaction.
    Idle = 1,
    /// Executes something.
    Active = 2,
    /// Waits for its client, inside a transaction.
    InTransaction = 3,
    /// The same after an error.
    Aborted = 4,
    /// Executes a fast-path function.
    FastPath = 5,
    /// Has track_activities switched off.
    Disabled = 6,
}

impl State {
    /// All of them, by their number.
    pub const ALL: [Self; 7] = [
        Self::Unknown,
        Self::Idle,
        Self::Active,
        Self::InTransaction,
        Self::Aborted,
        Self::FastPath,
        Self::Disabled,
    ];

    /// By its number.
    pub fn of(number: u8) -> Self {
        Self::ALL.get(usize::from(number)).copied().unwrap_or(Self::Unknown)
    }

    /// As pg_stat_activity calls it; empty where it says nothing.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unknown => "",
            Self::Idle => "idle",
            Self::Active => "active",
            Self::InTransaction => "idle in transaction",
            Self::Aborted => "idle in transaction (aborted)",
            Self::FastPath => "fastpath function call",
            Self::Disabled => "disabled",
        }
    }

    /// By its name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }

    /// Whether a client's session is inside a transaction or a statement, and so of use to nobody else.
    pub fn is_busy(self) -> bool {
        matches!(self, Self::Active | Self::InTransaction | Self::Aborted | Self::FastPath)
    }

    /// Whether it waits for its client inside a transaction.
    pub fn is_in_transaction(self) -> bool {
        matches!(self, Self::InTransaction | Self::Aborted)
    }
}

/// Bytes of an application's name, those that are not used being zero.
pub type Application = [u8; 64];

/// One process in one sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Session {
    /// Its process.
    pub pid: i32,
    /// What it is for.
    pub kind: Kind,
    /// What it does.
    pub state: State,
    /// Oid of its database; 0 is none.
    pub database: u32,
    /// Oid of its user; 0 is nobody.
    pub user: u32,
    /// What the client calls itself.
    pub application: Application,
    /// Where the client is.
    pub address: group::Address,
    /// What it waits for, as the server writes it ([`wait`]); 0 is nothing.
    pub wait: u32,
    /// Its statement, the last one if it is idle; 0 is unknown.
    pub queryid: i64,
    /// When it was started, microseconds since the Unix epoch.
    pub started: i64,
    /// When its transaction began; 0 is none.
    pub transaction: i64,
    /// Since when it is in this state; 0 is unknown.
    pub since: i64,
}

impl Session {
    /// A client that has not said yet who it is.
    pub fn starting(pid: i32, wait: u32) -> Self {
        Self {
            pid,
            kind: Kind::Client,
            state: State::Unknown,
            database: 0,
            user: 0,
            application: [0; 64],
            address: group::NO_ADDRESS,
            wait,
            queryid: 0,
            started: 0,
            transaction: 0,
            since: 0,
        }
    }

    /// Whether it is a client's of which it is not known yet whose it is.
    pub fn is_starting(&self) -> bool {
        self.kind == Kind::Client && self.user == 0
    }

    /// Whether it is doing something, or keeps others from it: a client's session inside a statement or a transaction,
    /// and any other process that does not wait for work.
    pub fn is_at_work(&self) -> bool {
        is_at_work(self.kind, self.state, wait::class(self.wait))
    }
}

/// See [`Session::is_at_work`].
pub fn is_at_work(kind: Kind, state: State, class: Option<wait::Class>) -> bool {
    use wait::Class::{Activity, Client, Extension, Timeout};
    match (kind, state) {
        (_, state) if state.is_busy() => true,
        (Kind::Client, _) | (_, State::Idle | State::Disabled) => false,
        // Processes without a state wait for work in these classes.
        _ => !matches!(class, Some(Activity | Client | Extension | Timeout)),
    }
}
