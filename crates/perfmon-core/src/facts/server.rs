//! The server, its settings, and the database's own counters.

/// One setting.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Setting {
    /// Name.
    pub name: String,
    /// Value in the setting's base unit, for numbers; `None` for words.
    pub number: Option<f64>,
    /// Value in words, as SHOW gives it.
    pub shown: String,
    /// Base unit: `8kB`, `ms`, …
    pub unit: Option<String>,
    /// Takes effect only at a restart.
    pub needs_restart: bool,
    /// A new value waits for a restart.
    pub pending_restart: bool,
    /// Not the built-in default.
    pub is_set: bool,
    /// How it is altered where the server's configuration does not decide, as it is set for the database or for all roles:
    /// `ALTER DATABASE app`.
    pub kept_by: Option<String>,
}

/// The server.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Server {
    /// As SHOW server_version gives it.
    pub version: String,
    /// Major version.
    pub major: u32,
    /// A standby in recovery.
    pub in_recovery: bool,
    /// Standbys that stream from it now, physical replication slots among them; `None` when unknown.
    pub standbys: Option<i64>,
    /// Started at, microseconds since the Unix epoch.
    pub started_us: i64,
    /// Settings by name.
    pub settings: Vec<Setting>,
    /// Page size, bytes.
    pub block_bytes: i64,
    /// Memory of the machine (or of its control group), bytes; `None` when unknown.
    pub memory_bytes: Option<i64>,
    /// Processors; `None` when unknown.
    pub cpus: Option<i64>,
    /// Data checksums are on.
    pub checksums: Option<bool>,
    /// Extensions of this database: name and version.
    pub extensions: Vec<(String, String)>,
    /// Extensions that could be created in this database.
    pub available_extensions: Vec<String>,
    /// The operator class `gin_trgm_ops`, with its schema, as it must be written in this database;
    /// `None` where pg_trgm is not installed.
    pub trigram_opclass: Option<String>,
    /// WAL, bytes, over the window; known in the home database only.
    pub wal_bytes: Option<u64>,
    /// WAL full-page images over the window.
    pub wal_fpi: Option<u64>,
    /// WAL records over the window.
    pub wal_records: Option<u64>,
    /// Times that WAL buffers were full.
    pub wal_buffers_full: Option<u64>,
    /// Checkpoints over the window; known in the home database only.
    pub checkpoints: Option<Checkpoints>,
    /// Runs of eviction in pg_stat_statements over the window.
    pub statement_deallocs: Option<u64>,
    /// Entries of pg_stat_statements, and its capacity.
    pub statement_entries: Option<u64>,
    /// See above.
    pub statement_capacity: Option<u64>,
    /// Highest ages over all databases.
    pub horizon: Option<Horizon>,
    /// Oldest prepared transaction, seconds.
    pub oldest_prepared_s: Option<f64>,
    /// What keeps VACUUM from removing dead rows, oldest first; `None` when it could not be read.
    pub holders: Option<Vec<Holder>>,
    /// Replication slots; `None` when they could not be read.
    pub slots: Option<Vec<Slot>>,
}

impl Server {
    /// A setting by its name.
    pub fn setting(&self, name: &str) -> Option<&Setting> {
        self.settings.iter().find(|s| s.name == name)
    }

    /// A numeric setting in its base unit.
    pub fn number(&self, name: &str) -> Option<f64> {
        self.setting(name)?.number
    }

    /// A switch.
    pub fn is_on(&self, name: &str) -> Option<bool> {
        match self.setting(name)?.shown.as_str() {
            "on" => Some(true),
            "off" => Some(false),
            _ => None,
        }
    }

    /// A size setting in bytes.
    pub fn bytes(&self, name: &str) -> Option<f64> {
        let setting = self.setting(name)?;
        let unit = match setting.unit.as_deref() {
            Some("B") | None => 1.0,
            Some("kB") => 1024.0,
            Some("MB") => 1_048_576.0,
            #[allow(clippy::cast_precision_loss)]
            Some(unit) if unit.ends_with("kB") => {
                unit.trim_end_matches("kB").parse::<f64>().ok()? * 1024.0
            }
            Some(_) => return None,
        };
        Some(setting.number? * unit)
    }
}

/// What keeps old row versions in place: the server must not remove what it may still look at.
#[derive(Debug, Clone, PartialEq)]
pub struct Holder {
    /// What it is.
    pub kind: HolderKind,
    /// Process id of a session, name of a slot or standby, identifier of a prepared transaction.
    pub name: String,
    /// Age of its transaction in seconds, where it has one.
    pub age_s: Option<f64>,
    /// Transactions since the oldest one that it may look at.
    pub xid_age: Option<i64>,
}

/// Kinds of holders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HolderKind {
    /// A session that is at work in its transaction.
    Active,
    /// A session that is idle in its transaction.
    Idle,
    /// A prepared transaction.
    Prepared,
    /// A replication slot.
    Slot,
    /// A standby that reports its oldest transaction (`hot_standby_feedback`).
    Standby,
}

/// A replication slot.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Slot {
    /// Name; it needs no quoting in a statement but that of a literal.
    pub name: String,
    /// Somebody reads from it now.
    pub active: bool,
    /// WAL kept for it, bytes.
    pub retained_bytes: Option<i64>,
}

/// Checkpoints over the window.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Checkpoints {
    /// By time.
    pub timed: u64,
    /// Asked for: by the volume of WAL, or by hand.
    pub requested: u64,
    /// Buffers written by the checkpointer.
    pub buffers: u64,
    /// Buffers written by backends, where counted.
    pub backend_buffers: Option<u64>,
    /// Time of writing, ms.
    pub write_ms: f64,
    /// Time of syncing, ms.
    pub sync_ms: f64,
}

/// How near transaction ids are to wraparound.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Horizon {
    /// The database with the oldest transaction ids, quoted where needed.
    pub database: String,
    /// The database with the oldest multixacts, quoted where needed.
    pub mxid_database: String,
    /// Transactions since its frozen horizon.
    pub xid_age: i64,
    /// Multixacts since its frozen horizon.
    pub mxid_age: i64,
    /// Transaction ids taken per second over the window, where known.
    pub xids_per_s: Option<f64>,
}

/// This database's counters over the window; `None` is unknown.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Database {
    /// Its name, quoted where needed.
    pub name: String,
    /// Commits.
    pub commits: Option<u64>,
    /// Rollbacks.
    pub rollbacks: Option<u64>,
    /// Blocks found in shared buffers.
    pub blks_hit: Option<u64>,
    /// Blocks read from outside.
    pub blks_read: Option<u64>,
    /// Temporary files.
    pub temp_files: Option<u64>,
    /// Bytes written to them.
    pub temp_bytes: Option<u64>,
    /// Deadlocks.
    pub deadlocks: Option<u64>,
    /// Checksum failures.
    pub checksum_failures: Option<u64>,
    /// Time of reading blocks, ms; `None` while track_io_timing is off.
    pub read_ms: Option<f64>,
    /// Time clients were active, ms.
    pub active_ms: Option<f64>,
    /// Time clients were idle in transaction, ms.
    pub idle_in_transaction_ms: Option<f64>,
    /// Sessions that ended in an error, were killed, or lost their client.
    pub sessions_abandoned: Option<u64>,
    /// Size, bytes.
    pub bytes: Option<i64>,
    /// Execution time of top-level statements, ms.
    pub exec_ms: Option<f64>,
    /// The ten minutes after a start of the server within the window apart: blocks read and hit in them.
    pub after_restart: Option<(u64, u64)>,
    /// The same from then on to the end of the window; `None` while these ten minutes last.
    pub warmed_up: Option<(u64, u64)>,
}
