//! What is counted: the families of counters and their columns.
//!
//! A family is one subject of observation (statements, tables, …). Each is stored in three tables
//! (`<name>_minute`, `<name>_hour`, `<name>_day`), one row per interval, one packed column per
//! counter, so the order and the names here are those of `sql/schema/20_history.sql`, checked by a test.
//! A released family never loses or reorders a column; later counters go into the column `more`.

/// How the values of several intervals become the value of a longer one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Merge {
    /// A counter: what happened adds up.
    Sum,
    /// A gauge: the last known value stands.
    Last,
    /// The worst stands.
    Max,
}

/// One packed column of a family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Column {
    /// Name of the column in the history tables.
    pub name: &'static str,
    /// How it rolls up.
    pub merge: Merge,
}

/// One subject of observation.
#[derive(Debug, PartialEq, Eq)]
pub struct Family {
    /// Stem of the history tables' names.
    pub name: &'static str,
    /// Packed columns, in order. The first is always `quality`.
    pub columns: &'static [Column],
    /// Plain `bigint` columns holding sums over the whole row, so that load panels decode nothing.
    pub totals: &'static [&'static str],
    /// Columns of bytes in a form of their own, stored behind the packed ones.
    pub raw: &'static [&'static str],
}

impl Family {
    /// The dictionary's id behind an id in a row.
    pub fn object_of(&self, id: u32) -> u32 {
        if self.has_places() { id >> 8 } else { id }
    }

    /// Whether an id is that of an object times 256, plus the place of a histogram.
    pub fn has_places(&self) -> bool {
        [&ROUTE, &POOL].iter().any(|other| other.name == self.name)
    }

    /// Whether the prior counters refer to dictionary ids.
    pub fn prior_holds_ids(&self) -> bool {
        let without =
            [&ROUTE, &FAILURE, &SCAN, &CLUSTER, &HOST, &DISK, &POOLER, &SESSION, &WAIT, &POOL];
        !without.iter().any(|other| other.name == self.name)
    }

    /// Position of a column by its name.
    pub fn position(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|c| c.name == name)
    }

    /// Name of a stored column: the packed ones, then those of a form of their own.
    pub fn stored(&self, column: usize) -> Option<&'static str> {
        let raw = || self.raw.get(column.checked_sub(self.columns.len())?).copied();
        self.columns.get(column).map(|c| c.name).or_else(raw)
    }
}

const fn sum(name: &'static str) -> Column {
    Column { name, merge: Merge::Sum }
}

const fn gauge(name: &'static str) -> Column {
    Column { name, merge: Merge::Last }
}

/// Quality of each object's difference: 0 exact, 1 lower bound, 2 doubtful.
const QUALITY: Column = Column { name: "quality", merge: Merge::Max };

/// pg_stat_statements, one entry per (user, queryid, toplevel) of this database.
/// Times are microseconds; `exec_sq` is the sum of squared execution times in 1000 µs².
pub static STATEMENT: Family = Family {
    name: "statement",
    columns: &[
        QUALITY,
        sum("calls"),
        sum("exec_us"),
        sum("exec_sq"),
        sum("rows"),
        sum("plans"),
        sum("plan_us"),
        sum("shared_blks_hit"),
        sum("shared_blks_read"),
        sum("shared_blks_dirtied"),
        sum("shared_blks_written"),
        sum("local_blks_hit"),
        sum("local_blks_read"),
        sum("local_blks_dirtied"),
        sum("local_blks_written"),
        sum("temp_blks_read"),
        sum("temp_blks_written"),
        sum("shared_blk_read_us"),
        sum("shared_blk_write_us"),
        sum("local_blk_read_us"),
        sum("local_blk_write_us"),
        sum("temp_blk_read_us"),
        sum("temp_blk_write_us"),
        sum("wal_records"),
        sum("wal_fpi"),
        sum("wal_bytes"),
        sum("wal_buffers_full"),
        sum("jit_functions"),
        sum("jit_generation_us"),
        sum("jit_inlining_count"),
        sum("jit_inlining_us"),
        sum("jit_optimization_count"),
        sum("jit_optimization_us"),
        sum("jit_emission_count"),
        sum("jit_emission_us"),
        sum("jit_deform_count"),
        sum("jit_deform_us"),
        sum("parallel_workers_to_launch"),
        sum("parallel_workers_launched"),
    ],
    // Top-level statements only, but for the last: nested time is never added to it.
    totals: &[
        "total_calls",
        "total_exec_us",
        "total_rows",
        "total_blks_read",
        "total_wal_bytes",
        "nested_exec_us",
    ],
    raw: &[],
};

/// Execution times as the hooks counted them, under the ids of the statements' dictionary. `histograms` holds
/// packed histograms in pieces of as many bytes as `lengths` says (`crate::histogram::pack`); `overall` is the
/// sum of all that clients sent, so that a look at the whole decodes nothing else. Both begin with the same codec byte.
pub static LATENCY: Family = Family {
    name: "latency",
    columns: &[QUALITY, sum("lengths")],
    totals: &["total_calls", "nested_calls"],
    raw: &["histograms", "overall"],
};

/// Tables, materialized views and TOAST tables folded into their owners.
pub static RELATION: Family = Family {
    name: "relation",
    columns: &[
        QUALITY,
        sum("seq_scan"),
        sum("seq_tup_read"),
        sum("idx_scan"),
        sum("idx_tup_fetch"),
        sum("n_tup_ins"),
        sum("n_tup_upd"),
        sum("n_tup_del"),
        sum("n_tup_hot_upd"),
        sum("n_tup_newpage_upd"),
        gauge("n_live_tup"),
        gauge("n_dead_tup"),
        gauge("n_mod_since_analyze"),
        gauge("n_ins_since_vacuum"),
        sum("vacuum_count"),
        sum("autovacuum_count"),
        sum("analyze_count"),
        sum("autoanalyze_count"),
        sum("vacuum_us"),
        sum("autovacuum_us"),
        sum("analyze_us"),
        sum("autoanalyze_us"),
        sum("heap_blks_read"),
        sum("heap_blks_hit"),
        sum("idx_blks_read"),
        sum("idx_blks_hit"),
        sum("toast_blks_read"),
        sum("toast_blks_hit"),
        sum("tidx_blks_read"),
        sum("tidx_blks_hit"),
        gauge("table_bytes"),
        gauge("toast_bytes"),
        gauge("index_bytes"),
    ],
    totals: &[],
    raw: &[],
};

/// Indexes.
pub static INDEX: Family = Family {
    name: "index",
    columns: &[
        QUALITY,
        sum("idx_scan"),
        sum("idx_tup_read"),
        sum("idx_tup_fetch"),
        sum("idx_blks_read"),
        sum("idx_blks_hit"),
        gauge("index_bytes"),
    ],
    totals: &[],
    raw: &[],
};

/// pg_stat_database: this database's row; in the home database the rows of all databases.
pub static DATABASE: Family = Family {
    name: "database",
    columns: &[
        QUALITY,
        gauge("numbackends"),
        sum("xact_commit"),
        sum("xact_rollback"),
        sum("blks_read"),
        sum("blks_hit"),
        sum("tup_returned"),
        sum("tup_fetched"),
        sum("tup_inserted"),
        sum("tup_updated"),
        sum("tup_deleted"),
        sum("conflicts"),
        sum("temp_files"),
        sum("temp_bytes"),
        sum("deadlocks"),
        sum("checksum_failures"),
        sum("blk_read_us"),
        sum("blk_write_us"),
        sum("session_us"),
        sum("active_us"),
        sum("idle_in_transaction_us"),
        sum("sessions"),
        sum("sessions_abandoned"),
        sum("sessions_fatal"),
        sum("sessions_killed"),
        sum("parallel_workers_to_launch"),
        sum("parallel_workers_launched"),
        gauge("database_bytes"),
    ],
    totals: &[],
    raw: &[],
};

/// pg_stat_io by (backend type, object, context); kept in the home database only.
pub static IO: Family = Family {
    name: "io",
    columns: &[
        QUALITY,
        sum("reads"),
        sum("read_bytes"),
        sum("read_us"),
        sum("writes"),
        sum("write_bytes"),
        sum("write_us"),
        sum("writebacks"),
        sum("writeback_us"),
        sum("extends"),
        sum("extend_bytes"),
        sum("extend_us"),
        sum("hits"),
        sum("evictions"),
        sum("reuses"),
        sum("fsyncs"),
        sum("fsync_us"),
    ],
    totals: &[],
    raw: &[],
};

/// Failures that reached clients, and autovacuum's own cancellations, by (user, statement or table, class and
/// SQLSTATE); refused connections and the like in the home database only. `last_s` is when it happened last, seconds
/// since the Unix epoch.
pub static FAILURE: Family = Family {
    name: "failure",
    columns: &[
        QUALITY,
        sum("failures"),
        sum("lost_us"),
        Column { name: "last_s", merge: Merge::Max },
    ],
    // Top-level statements executed to their end, but for those that only begin or end transactions or set
    // something; those that failed; and those that were cancelled.
    totals: &["executions", "errors", "cancelled"],
    raw: &[],
};

/// Statements and transactions by (application, user, route). An id is that of the route times 256, plus the
/// bucket of the time (`crate::histogram`); failures stand at [`ROUTE_FAILURES`].
pub static ROUTE: Family = Family {
    name: "route",
    columns: &[QUALITY, sum("statements"), sum("transactions"), sum("errors"), sum("cancelled")],
    totals: &[],
    raw: &[],
};

/// What plans did in the executions that were looked into, by (statement, table, node and its conditions). Counts are
/// those of these executions, as `crate::capture::scan::Slot` tells them.
pub static SCAN: Family = Family {
    name: "scan",
    columns: &[
        QUALITY,
        sum("executions"),
        sum("loops"),
        sum("rows_read"),
        sum("rows_kept"),
        sum("rows_estimated"),
        sum("spills"),
        sum("spilled_bytes"),
        sum("outer_rows"),
        sum("outer_rows_estimated"),
        sum("misestimates"),
    ],
    totals: &[],
    raw: &[],
};

/// In place of a bucket, for what belongs to none.
pub const ROUTE_FAILURES: u32 = 255;

/// In place of a bucket, of routes and of the cluster: what was executed with the hooks off, of which nothing but the
/// number is known.
pub const UNCOUNTED: u32 = 254;
const _: () = assert!(crate::histogram::BUCKETS <= UNCOUNTED as usize);

/// What clients of all databases executed; kept in the home database only. An id is the bucket of the time
/// (`crate::histogram`); counts of what was tried stand at [`CLUSTER_COUNTS`].
pub static CLUSTER: Family = Family {
    name: "cluster",
    columns: &[
        QUALITY,
        sum("cached"),
        sum("read"),
        sum("executions"),
        sum("errors"),
        sum("cancelled"),
    ],
    totals: &[],
    raw: &[],
};

/// In place of a bucket, for what belongs to none.
pub const CLUSTER_COUNTS: u32 = 255;

const fn peak(name: &'static str) -> Column {
    Column { name, merge: Merge::Max }
}

/// The machine, one row (id 0); kept in the home database only. Gauges are added up once for each sample
/// (`crate::host::SAMPLED`), so that averages stay averages when rows are put together.
pub static HOST: Family = Family {
    name: "host",
    columns: &[
        QUALITY,
        sum("samples"),
        sum("cpu_user_us"),
        sum("cpu_system_us"),
        sum("cpu_steal_us"),
        sum("cpu_iowait_us"),
        sum("cpu_idle_us"),
        peak("cpu_peak_ppm"),
        sum("group_cpu_us"),
        sum("group_capacity_us"),
        sum("group_throttled_us"),
        sum("load_milli"),
        peak("load_peak_milli"),
        sum("memory_bytes"),
        sum("memory_used_bytes"),
        sum("group_memory_bytes"),
        sum("group_memory_used_bytes"),
        peak("memory_peak_ppm"),
        sum("swap_bytes"),
        sum("swap_used_bytes"),
        sum("arc_hits"),
        sum("arc_misses"),
        sum("arc_bytes"),
    ],
    totals: &[],
    raw: &[],
};

/// File systems that the server writes to, by (where it is mounted, device, what lies there); kept in the home
/// database only. `watched_us` is the time in which the device's counters were known, 0 where it has none.
pub static DISK: Family = Family {
    name: "disk",
    columns: &[
        QUALITY,
        sum("space_samples"),
        sum("size_bytes"),
        sum("used_bytes"),
        sum("available_bytes"),
        peak("used_peak_ppm"),
        sum("watched_us"),
        sum("reads"),
        sum("writes"),
        sum("read_bytes"),
        sum("write_bytes"),
        sum("read_us"),
        sum("write_us"),
        sum("busy_us"),
        peak("busy_peak_ppm"),
    ],
    totals: &[],
    raw: &[],
};

/// PgBouncers, by (pooler, database, user): a pooler's own line has neither database nor user and says whether it
/// answered, a database's has its counters, a pool's its gauges, added up once for each sample. Kept in the home database
/// only. `watched_us` is the time in which counters were known; `wait_watched_us` that in which the wait was.
pub static POOLER: Family = Family {
    name: "pooler",
    columns: &[
        QUALITY,
        sum("asked"),
        sum("answered"),
        sum("skipped"),
        sum("samples"),
        sum("clients_active"),
        sum("clients_waiting"),
        peak("clients_waiting_peak"),
        peak("max_wait_us"),
        sum("servers_active"),
        sum("servers_idle"),
        sum("servers"),
        peak("servers_peak"),
        sum("pool_size"),
        sum("watched_us"),
        sum("wait_watched_us"),
        sum("transactions"),
        sum("queries"),
        sum("transaction_us"),
        sum("query_us"),
        sum("wait_us"),
        sum("received_bytes"),
        sum("sent_bytes"),
    ],
    totals: &[],
    raw: &[],
};

/// Processes by (backend type, state, wait): sums over samples; kept in the home database only.
pub static SESSION: Family = Family {
    name: "session",
    columns: &[QUALITY, sum("sessions")],
    totals: &["samples", "sampled_us"],
    raw: &[],
};

/// Sessions at work by (database, user, statement with state and wait): sums over samples; kept in the home database
/// only.
pub static WAIT: Family = Family {
    name: "wait",
    columns: &[QUALITY, sum("sessions")],
    totals: &["samples", "sampled_us"],
    raw: &[],
};

/// Clients' sessions by (database, user, what the group is of); kept in the home database only. An id is that of the
/// group times 256, plus the place of a number of sessions (`crate::activity::spread`), where the first columns count
/// the samples that found so many; sums over samples and peaks stand at [`POOL_SUMS`].
pub static POOL: Family = Family {
    name: "pool",
    columns: &[
        QUALITY,
        sum("open_samples"),
        sum("busy_samples"),
        sum("active_samples"),
        sum("idle_samples"),
        sum("in_transaction_samples"),
        sum("active"),
        sum("idle"),
        sum("in_transaction"),
        sum("aborted"),
        sum("fastpath"),
        sum("disabled"),
        sum("starting"),
        sum("on_cpu"),
        sum("on_lock"),
        sum("on_client"),
        sum("on_io"),
        sum("opened"),
        peak("open_peak"),
        peak("busy_peak"),
        peak("active_peak"),
        peak("idle_peak"),
        peak("in_transaction_peak"),
        peak("on_lock_peak"),
        sum("load_samples"),
    ],
    totals: &["samples", "sampled_us"],
    raw: &[],
};

/// In place of a number, for what belongs to none.
pub const POOL_SUMS: u32 = 255;

/// One row of cluster totals (id 0), the snapshot's own cost and its completeness. Written with every
/// snapshot, so its rows are the list of intervals.
pub static SERVER: Family = Family {
    name: "server",
    columns: &[
        QUALITY,
        sum("wal_records"),
        sum("wal_fpi"),
        sum("wal_bytes"),
        sum("wal_buffers_full"),
        sum("wal_write"),
        sum("wal_sync"),
        sum("wal_write_us"),
        sum("wal_sync_us"),
        sum("checkpoints_timed"),
        sum("checkpoints_req"),
        sum("checkpoints_done"),
        sum("restartpoints_timed"),
        sum("restartpoints_req"),
        sum("restartpoints_done"),
        sum("checkpoint_write_us"),
        sum("checkpoint_sync_us"),
        sum("buffers_checkpoint"),
        sum("slru_written"),
        sum("buffers_clean"),
        sum("maxwritten_clean"),
        sum("buffers_backend"),
        sum("buffers_backend_fsync"),
        sum("buffers_alloc"),
        sum("statement_deallocs"),
        sum("statements_vanished"),
        gauge("statement_entries"),
        gauge("statement_capacity"),
    ],
    // Of pg_perfmon itself, and this database's client time against which statement time is complete.
    totals: &[
        "snapshots",
        "visit_cpu_us",
        "visit_wall_us",
        "visit_wal_bytes",
        "stored_bytes",
        "active_us",
        "covered_exec_us",
    ],
    raw: &[],
};

/// All families, in the order in which a snapshot writes them.
pub static FAMILIES: [&Family; 17] = [
    &STATEMENT, &LATENCY, &RELATION, &INDEX, &DATABASE, &IO, &FAILURE, &ROUTE, &SCAN, &CLUSTER,
    &HOST, &DISK, &POOLER, &SESSION, &WAIT, &POOL, &SERVER,
];
