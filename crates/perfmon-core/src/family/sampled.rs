//! What samples tell: of the machine, of poolers, and of what processes do.

use super::{Family, QUALITY, peak, sum};

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
