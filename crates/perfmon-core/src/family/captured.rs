//! What our own hooks count.

use super::{Family, QUALITY, peak, sum};

/// Execution times as the hooks counted them, under the ids of the statements' dictionary. `histograms` holds
/// packed histograms in pieces of as many bytes as `lengths` says (`crate::histogram::pack`); `overall` is the
/// sum of all that clients sent, so that a look at the whole decodes nothing else. Both begin with the same codec byte.
pub static LATENCY: Family = Family {
    name: "latency",
    columns: &[QUALITY, sum("lengths")],
    totals: &["total_calls", "nested_calls"],
    raw: &["histograms", "overall"],
};

/// Failures that reached clients, and autovacuum's own cancellations, by (user, statement or table, class and
/// SQLSTATE); refused connections and the like in the home database only. `last_s` is when it happened last, seconds
/// since the Unix epoch.
pub static FAILURE: Family = Family {
    name: "failure",
    columns: &[QUALITY, sum("failures"), sum("lost_us"), peak("last_s")],
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

/// In place of a bucket, for what belongs to none.
pub const ROUTE_FAILURES: u32 = 255;

/// In place of a bucket, of routes and of the cluster: what was executed with the hooks off, or without an id, of which
/// nothing but the number is known.
pub const UNCOUNTED: u32 = 254;

/// In place of a bucket, of routes: what of that had no id, so that the server's own statistics do not know it either.
pub const NAMELESS: u32 = 253;
const _: () = assert!(crate::histogram::BUCKETS <= NAMELESS as usize);

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
