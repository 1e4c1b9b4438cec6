//! Thresholds that a test must set to see in seconds what a server shows in days. The only place that knows their
//! names; everything else is judged with the defaults.

/// History that is short.
pub const SHORT_HISTORY: &[(&str, f64)] = &[
    ("unused_index_days", 0.0),
    ("upkeep_covered_min_minutes", 0.0),
    ("write_heavy_index_min_hours", 0.0),
];

/// Tables that are small.
pub const SMALL_TABLES: &[(&str, f64)] = &[
    ("bloated_index_bytes", 1_048_576.0),
    ("dead_rows_min", 5_000.0),
    ("stale_statistics_changed_rows_min", 5_000.0),
    ("unused_index_min_table_uses", 10.0),
];

/// A machine that others work on: what takes a millisecond may take a hundred.
pub const BUSY_MACHINE: &[(&str, f64)] = &[("slow_lookup_mean_ms", 500.0)];
